"""Settles what an interrupted update began and did not record the end of.

The CLI only warns, and leaves it to the user to look into the cloud. Here the engine looks: what a
create made is taken into the state, so that it is neither lost nor made twice; what an update or
delete came to is read. A deviation that protects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra.sandbox.engine.diff import with_secrets
from infra.sandbox.engine.ledger import Ledger
from infra.sandbox.engine.provider import Provider, ProviderError, ReadResult
from infra.sandbox.engine.providers import Providers
from infra.sandbox.engine.state import (
    Change,
    Drop,
    Operation,
    Put,
    Resource,
    Snapshot,
    Swap,
)
from infra.sandbox.engine.wire import reveal, without_secrets

Tell = Callable[[str, str, str], None]


def warning(operations: Sequence[Operation]) -> str:
    """Say which operations were interrupted, and what is done about them."""
    head = (
        f"Attempting to deploy or update resources with {len(operations)} pending operations "
        "from previous deployment."
    )
    tail = (
        "These resources are in an unknown state because the engine was interrupted while waiting "
        "for changes to these resources to complete. Each is looked up now: what was made is taken "
        "into the state, what is not there is forgotten, and what cannot be told stays pending."
    )
    lines = [f"  * {op.resource.urn}, interrupted while {op.type}" for op in operations]
    return "\n".join([head, *lines, tail])


def settle(
    snapshot: Snapshot,
    ledger: Ledger,
    providers: Providers,
    tell: Tell,
    *,
    forget_creates: bool = False,
) -> None:
    """Look up what each pending operation came to, and take it into the state."""
    found = _Found(snapshot)
    for operation in snapshot.pending_operations:
        resource = operation.resource
        if not resource.custom or resource.is_provider or not resource.provider:
            _close(ledger, operation)
        elif operation.type == "creating" and forget_creates:
            _close(ledger, operation)
            tell("warning", "the interrupted create was forgotten, as asked for", resource.urn)
        elif operation.type in {"creating", "updating", "deleting"}:
            _look_up(operation, found, snapshot, ledger, providers, tell)
        else:
            _close(ledger, operation)


def _close(ledger: Ledger, operation: Operation, *changes: Change) -> None:
    ledger.commit(ledger.begin(operation), *changes)


def _look_up(
    operation: Operation,
    found: _Found,
    snapshot: Snapshot,
    ledger: Ledger,
    providers: Providers,
    tell: Tell,
) -> None:
    resource = operation.resource
    begun = ledger.begin(operation)
    try:
        provider = providers.get(resource.provider)
        if operation.type == "creating":
            changes, said = _created(provider, resource, found)
        else:
            changes, said = _changed(provider, resource, snapshot)
    except ProviderError as error:
        ledger.fail(begun, keep=True)
        tell(
            "warning",
            f"what became of it cannot be told: {without_secrets(str(error), resource.inputs)}. "
            "It stays pending; look into the cloud, "
            "and run a refresh with --clear-pending-creates once nothing of it is there",
            resource.urn,
        )
        return
    ledger.commit(begun, *changes)
    tell("info", said, resource.urn)


class _Found:
    """What is whose: things that the state has, and creations whose things are looked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.live = snapshot.by_urn()
        # What was deleted for a replacement is not there: its id may be that of the new half.
        there = (entry for entry in snapshot.resources if not entry.pending_replacement)
        self._known = {(entry.type, entry.id) for entry in there}
        self._sought = [
            operation.resource
            for operation in snapshot.pending_operations
            if operation.type == "creating"
        ]

    def choose(self, resource: Resource, ids: Sequence[str]) -> str | None:
        """Give the one of `ids` that the creation of a resource made, if it made one.

        Of things that cannot be told apart, each of as many creations gets one. Raises
        `ProviderError` where there are more of them.
        """
        unclaimed = [id_ for id_ in ids if (resource.type, id_) not in self._known]
        alike = [other for other in self._sought if _alike(other, resource)]
        if len(unclaimed) > len(alike):
            raise ProviderError(
                f"{', '.join(unclaimed)} all look like it. Nothing was changed. Delete what is "
                "not wanted, or import the right one with the import option"
            )
        self._sought = [other for other in self._sought if other is not resource]
        if not unclaimed:
            return None
        self._known.add((resource.type, unclaimed[0]))
        return unclaimed[0]


def _alike(one: Resource, other: Resource) -> bool:
    return (one.type, one.provider, one.inputs) == (other.type, other.provider, other.inputs)


def _created(provider: Provider, resource: Resource, found: _Found) -> tuple[list[Change], str]:
    inputs = reveal(resource.inputs)
    id_ = found.choose(resource, provider.find(resource.type, resource.name, inputs))
    there = provider.read(resource.type, id_, inputs, {}) if id_ else None
    if there is None:
        return [], "the interrupted create had made nothing that is not in the state"
    made = _read_into(provider, resource, there)
    old = found.live.get(resource.urn)
    if old is None:
        changes: list[Change] = [Put(made)]
    elif old.pending_replacement:
        changes = [Put(made), Drop(old)]
    elif _alike(old, resource):
        # What it was to be is there by now: one of the two is one too many.
        changes = [Put(made.changed(delete=True))]
    else:
        changes = [Put(made), Swap(old, old.changed(delete=True))]
    return changes, f"the interrupted create had made {id_}, which is in the state now"


def _changed(
    provider: Provider, resource: Resource, snapshot: Snapshot
) -> tuple[list[Change], str]:
    entry = next(
        (e for e in snapshot.resources if e.urn == resource.urn and e.id == resource.id), None
    )
    if entry is None:
        return [], "it is not in the state any more"
    found = provider.read(entry.type, entry.id, reveal(entry.inputs), reveal(entry.outputs))
    if found is None:
        return [Drop(entry)], "it is gone from the cloud, and from the state"
    return [Swap(entry, _read_into(provider, entry, found))], "it was read into the state anew"


def _read_into(provider: Provider, resource: Resource, found: ReadResult) -> Resource:
    names = provider.secret_outputs(resource.type) | set(resource.additional_secret_outputs)
    return resource.changed(
        id=found.id,
        inputs=with_secrets(found.inputs, resource.inputs, names),
        outputs=with_secrets(found.outputs, resource.inputs, names),
    )

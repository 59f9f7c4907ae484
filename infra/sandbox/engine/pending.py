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
from infra.sandbox.engine.wire import reveal

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
    live = snapshot.by_urn()
    for operation in snapshot.pending_operations:
        resource = operation.resource
        if not resource.custom or resource.is_provider or not resource.provider:
            _close(ledger, operation)
        elif operation.type == "creating" and forget_creates:
            _close(ledger, operation)
            tell("warning", "the interrupted create was forgotten, as asked for", resource.urn)
        elif operation.type in {"creating", "updating", "deleting"}:
            _look_up(operation, live, snapshot, ledger, providers, tell)
        else:
            _close(ledger, operation)


def _close(ledger: Ledger, operation: Operation, *changes: Change) -> None:
    ledger.commit(ledger.begin(operation), *changes)


def _look_up(
    operation: Operation,
    live: dict[str, Resource],
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
            changes, said = _created(provider, resource, live.get(resource.urn))
        else:
            changes, said = _changed(provider, resource, snapshot)
    except ProviderError as error:
        ledger.fail(begun, keep=True)
        tell(
            "warning",
            f"what became of it cannot be told: {error}. It stays pending; look into the cloud, "
            "and run a refresh with --clear-pending-creates once nothing of it is there",
            resource.urn,
        )
        return
    ledger.commit(begun, *changes)
    tell("info", said, resource.urn)


def _created(
    provider: Provider, resource: Resource, old: Resource | None
) -> tuple[list[Change], str]:
    inputs = reveal(resource.inputs)
    id_ = provider.find(resource.type, resource.name, inputs)
    if id_ is None:
        return [], "the interrupted create had made nothing"
    if old is not None and old.id == id_:
        return [], f"the interrupted create is in the state already, as {id_}"
    found = provider.read(resource.type, id_, inputs, {})
    if found is None:
        return [], "the interrupted create had made nothing"
    adopted = _read_into(provider, resource, found)
    changes: list[Change] = [Put(adopted)]
    if old is not None:
        gone = old.pending_replacement
        changes.append(Drop(old) if gone else Swap(old, old.changed(delete=True)))
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

"""What the ``state`` commands do to a deployment: pure, from a snapshot to a snapshot."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace

from infra.sandbox.engine import wire
from infra.sandbox.engine.checkpoint import references
from infra.sandbox.engine.state import STACK_TYPE, Resource, Snapshot
from infra.sandbox.engine.wire import PropertyValue


class StateEditError(Exception):
    """The deployment cannot be changed as asked; the message is for the user."""


def flag(snapshot: Snapshot, urns: Sequence[str] | None, **changes: bool) -> Snapshot:
    """Set flags (``protect``, ``taint``) of the named live resources; None: of all of them."""
    live = snapshot.by_urn()
    missing = [_not_found(snapshot, urn) for urn in urns or () if urn not in live]
    if missing:
        raise StateEditError("\n".join(missing))
    chosen = set(live if urns is None else urns)
    return replace(
        snapshot,
        resources=tuple(
            entry.changed(**changes) if entry.urn in chosen and not entry.delete else entry
            for entry in snapshot.resources
        ),
    )


def delete(
    snapshot: Snapshot, urns: Sequence[str] | None, *, force: bool, target_dependents: bool
) -> tuple[Snapshot, int]:
    """Take resources out of the state (None: all) and tell how many; the cloud is left alone.

    Raises `StateEditError` for a protected resource (unless `force`), and for one that others
    depend on (unless they go with it).
    """
    if urns is None:
        return _delete_all(snapshot, force=force)
    targets = [_locate(snapshot, urn) for urn in dict.fromkeys(urns)]
    condemned = _with_dependents(snapshot, targets) if target_dependents else targets
    for entry in condemned:
        _refuse_protected(entry, force=force)
    gone = {id(entry) for entry in condemned}
    for target in targets:
        dependents = [entry for entry in _dependents(snapshot, target) if id(entry) not in gone]
        if dependents:
            listed = "".join(f' * "{entry.name}" ({entry.urn})\n' for entry in dependents)
            raise StateEditError(
                f"{target.urn} can't be safely deleted because the following resources depend on "
                f"it:\n{listed}\nDelete those resources first or pass --target-dependents."
            )
    remaining = tuple(entry for entry in snapshot.resources if id(entry) not in gone)
    return replace(snapshot, resources=remaining), len(condemned)


def _delete_all(snapshot: Snapshot, *, force: bool) -> tuple[Snapshot, int]:
    for entry in reversed(snapshot.resources):
        _refuse_protected(entry, force=force)
    return replace(snapshot, resources=()), len(snapshot.resources)


def _refuse_protected(entry: Resource, *, force: bool) -> None:
    if entry.protect and not force:
        raise StateEditError(
            f"{entry.urn} can't be safely deleted because it is protected. Re-run this command "
            "with --force to force deletion"
        )


def _locate(snapshot: Snapshot, urn: str) -> Resource:
    found = [entry for entry in snapshot.resources if entry.urn == urn]
    if not found:
        raise StateEditError(_not_found(snapshot, urn))
    live = [entry for entry in found if not entry.delete]
    if len(found) > 1 and len(live) != 1:
        raise StateEditError(
            f"Resource URN ambiguously referred to multiple resources: {urn} (ids "
            f"{', '.join(entry.id for entry in found)})"
        )
    return live[0] if live else found[0]


def _dependents(snapshot: Snapshot, target: Resource) -> list[Resource]:
    reference = f"{target.urn}::{target.id}"
    return [
        entry
        for entry in snapshot.resources
        if entry is not target
        and (
            (target.is_provider and entry.provider == reference)
            or (not target.delete and any(urn == target.urn for _, urn in references(entry)))
        )
    ]


def _with_dependents(snapshot: Snapshot, targets: Sequence[Resource]) -> list[Resource]:
    found = {id(entry): entry for entry in targets}
    queue = list(targets)
    while queue:
        for entry in _dependents(snapshot, queue.pop()):
            if id(entry) not in found:
                found[id(entry)] = entry
                queue.append(entry)
    return list(found.values())


def _not_found(snapshot: Snapshot, urn: str) -> str:
    similar = difflib.get_close_matches(urn, snapshot.by_urn(), n=3)
    suggestions = "".join(f"  {candidate}\n" for candidate in similar)
    hint = f"Did you mean:\n{suggestions}" if similar else ""
    return (
        f'No such resource "{urn}" exists in the current state\n{hint}'
        "To see the list of URNs in a stack, use `pulumi stack --show-urns`"
    )


def rename(snapshot: Snapshot, urn: str, name: str) -> Snapshot:
    """Give a resource another name, and its children's and dependents' references with it."""
    target = _locate(snapshot, urn)
    new = f"{urn.rpartition('::')[0]}::{name}" if "::" not in name else name
    if any(entry.urn == new for entry in snapshot.resources):
        raise StateEditError(
            "The chosen new urn for the state corresponds to an already existing resource"
        )
    return _rewritten(snapshot, lambda old: new if old == target.urn else old)


def rename_stack(snapshot: Snapshot, old: tuple[str, str], new: tuple[str, str]) -> Snapshot:
    """Give the stack ``(project, stack)`` another name in all its URNs."""

    def renamed(urn: str) -> str:
        if not urn.startswith(f"urn:pulumi:{old[1]}::{old[0]}::"):
            return urn
        type_, name = urn.split("::", 3)[2:]
        if type_ == STACK_TYPE:
            name = f"{new[0]}-{new[1]}"
        return f"urn:pulumi:{new[1]}::{new[0]}::{type_}::{name}"

    return _rewritten(snapshot, renamed)


def _rewritten(snapshot: Snapshot, rename_urn: Callable[[str], str]) -> Snapshot:
    def each(entry: Resource) -> Resource:
        return _rename_references(entry, lambda urn: rename_urn(urn) if urn else urn)

    return replace(
        snapshot,
        resources=tuple(each(entry) for entry in snapshot.resources),
        pending_operations=tuple(
            replace(operation, resource=each(operation.resource))
            for operation in snapshot.pending_operations
        ),
    )


def _rename_references(entry: Resource, urn: Callable[[str], str]) -> Resource:
    provider_urn, _, provider_id = entry.provider.rpartition("::")
    return entry.changed(
        urn=urn(entry.urn),
        parent=urn(entry.parent),
        provider=f"{urn(provider_urn)}::{provider_id}" if entry.provider else "",
        dependencies=tuple(map(urn, entry.dependencies)),
        property_dependencies={
            key: tuple(map(urn, urns)) for key, urns in entry.property_dependencies.items()
        },
        deleted_with=urn(entry.deleted_with),
        replace_with=tuple(map(urn, entry.replace_with)),
        aliases=tuple(map(urn, entry.aliases)),
        inputs=_rename_in_value(entry.inputs, urn),
        outputs=_rename_in_value(entry.outputs, urn),
    )


def _rename_in_value(value: PropertyValue, urn: Callable[[str], str]) -> PropertyValue:
    if isinstance(value, wire.ResourceReference):
        return replace(value, urn=urn(value.urn))
    if isinstance(value, wire.Secret):
        return wire.Secret(_rename_in_value(value.value, urn))
    if isinstance(value, dict):
        return {key: _rename_in_value(item, urn) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename_in_value(item, urn) for item in value]
    return value

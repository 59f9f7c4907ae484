"""The record of a running update: one line a step, on the disk before the cloud is touched.

A checkpoint is written once, when an update ends. Until then the journal beside it says what has
become of the deployment; `replay` turns both into the deployment as it is. Entries of the
deployment are named by *slots*: those of the checkpoint are numbered from 0 in their order, and
each `Put` of a new URN takes the next number.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.sandbox.engine.checkpoint import (
    SecretForm,
    decode_operation,
    decode_resource,
    encode_operation,
    encode_resource,
    references,
)
from infra.sandbox.engine.state import (
    Change,
    Drop,
    Operation,
    Put,
    Resource,
    Snapshot,
)
from infra.sandbox.engine.storage import storage_error, sync_directory

_FORMAT: Final = 1


class JournalError(Exception):
    """A journal cannot be read; the message is for the user."""


@dataclass(frozen=True)
class SlotChange:
    """A slot now holds `resource`, or, where that is None, nothing any more."""

    slot: int
    resource: Resource | None


@dataclass(frozen=True)
class Begun:
    """An operation is about to act on the cloud."""

    number: int
    operation: Operation


@dataclass(frozen=True)
class Ended:
    """An operation came to these changes; `number` is None where nothing had begun."""

    number: int | None
    changes: tuple[SlotChange, ...]


@dataclass(frozen=True)
class Failed:
    """An operation failed; it stays pending if its effect is unclear (`keep`)."""

    number: int
    keep: bool


Entry = Begun | Ended | Failed


def replay(base: Snapshot, entries: Iterable[Entry]) -> Snapshot:
    """Give the deployment that a checkpoint and what happened since come to."""
    table = _Table(base)
    for entry in entries:
        table.apply(entry)
    return table.snapshot()


def superseded(change: Change) -> Resource | None:
    """Give the entry that a change names as the one to go or to be changed.

    What is put along with such a change takes a slot of its own, also where that entry was put in
    the same update: the interrupted create of an earlier one is, when it has been found.
    """
    if isinstance(change, Put):
        return None
    return change.resource if isinstance(change, Drop) else change.old


class _Table:
    """The slots of a deployment while an update runs."""

    def __init__(self, base: Snapshot) -> None:
        self._base = base
        self._base_size = len(base.resources)
        self._slots: list[Resource | None] = list(base.resources)
        self._by_identity = {id(resource): slot for slot, resource in enumerate(base.resources)}
        self._by_urn: dict[str, list[int]] = {}
        for slot, resource in enumerate(base.resources):
            self._by_urn.setdefault(resource.urn, []).append(slot)
        self._put_slots: dict[str, int] = {}
        self._renamed: dict[str, str] = {}
        self._pending: dict[int, Operation] = {}
        self._taken_up: set[tuple[str, str, str]] = set()

    def apply(self, entry: Entry) -> None:
        """Take in one entry."""
        if isinstance(entry, Begun):
            self._pending[entry.number] = entry.operation
            self._taken_up.add(_key(entry.operation))
        elif isinstance(entry, Failed):
            if not entry.keep:
                self._pending.pop(entry.number, None)
        else:
            if entry.number is not None:
                self._pending.pop(entry.number, None)
            self._note_renames(entry.changes)
            for change in entry.changes:
                self._set(change)

    def resolve(self, changes: Sequence[Change]) -> tuple[SlotChange, ...]:
        """Turn changes that name entries by what they hold into changes by slot."""
        resolved: list[SlotChange] = []
        touched = {self._find(entry) for entry in map(superseded, changes) if entry}
        put_slots = dict[str, int]()
        free = len(self._slots)
        for change in changes:
            if isinstance(change, Put):
                urn = change.resource.urn
                slot = put_slots.get(urn, self._put_slots.get(urn, free))
                slot = free if slot in touched else slot
                put_slots[urn] = slot
                free = max(free, slot + 1)
                resolved.append(SlotChange(slot, change.resource))
            elif isinstance(change, Drop):
                resolved.append(SlotChange(self._find(change.resource), None))
            else:
                resolved.append(SlotChange(self._find(change.old), change.new))
        return tuple(resolved)

    def same_slot(self, resource: Resource) -> int | None:
        """Give the slot of the checkpoint that holds the very same content, if there is one."""
        for slot in self._by_urn.get(resource.urn, ()):
            if slot < self._base_size and self._base.resources[slot] == resource:
                return slot
        return None

    def _set(self, change: SlotChange) -> None:
        slot, resource = change.slot, change.resource
        if slot >= len(self._slots):
            self._slots.extend([None] * (slot + 1 - len(self._slots)))
        self._slots[slot] = resource
        if resource is None:
            return
        self._by_identity[id(resource)] = slot
        slots = self._by_urn.setdefault(resource.urn, [])
        if slot not in slots:
            slots.append(slot)
        if slot < self._base_size:
            return
        if not resource.delete:
            self._put_slots[resource.urn] = slot
        elif self._put_slots.get(resource.urn) == slot:
            del self._put_slots[resource.urn]

    def _find(self, resource: Resource) -> int:
        slot = self._by_identity.get(id(resource))
        if slot is not None and self._slots[slot] is resource:
            return slot
        held = [
            (slot, entry)
            for slot in self._by_urn.get(resource.urn, ())
            if (entry := self._slots[slot]) is not None and entry.urn == resource.urn
        ]
        # An engine may hand in a copy: what identifies an entry then is its id and its role.
        best = max(
            held,
            key=lambda pair: (pair[1].delete == resource.delete, pair[1].id == resource.id),
            default=None,
        )
        if best is None:
            raise LookupError(f"{resource.urn} is no entry of the deployment")
        return best[0]

    def _note_renames(self, changes: Sequence[SlotChange]) -> None:
        dropped = [self._slots[change.slot] for change in changes if change.resource is None]
        put = [change.resource for change in changes if change.slot >= self._base_size]
        if len(dropped) == 1 and len(put) == 1 and dropped[0] is not None and put[0] is not None:
            self._renamed[dropped[0].urn] = put[0].urn

    def snapshot(self) -> Snapshot:
        """Give the deployment: what the update put, in its order, then what remains of before."""
        put = [entry for entry in self._slots[self._base_size :] if entry is not None]
        live = {entry.urn for entry in put if not entry.delete}
        remaining = [
            entry
            for entry in self._slots[: self._base_size]
            if entry is not None and (entry.delete or entry.urn not in live)
        ]
        parents = {entry.urn: entry.parent for entry in self._base.resources}
        resources = _repaired(put, remaining, self._renamed, parents)
        return Snapshot(resources, self._pending_operations(live), self._base.metadata)

    def _pending_operations(self, live: set[str]) -> tuple[Operation, ...]:
        # What an earlier update left stays pending until it is taken up; a create ends also where
        # its resource is there.
        before = (
            operation
            for operation in self._base.pending_operations
            if _key(operation) not in self._taken_up
            and not (operation.type == "creating" and operation.resource.urn in live)
        )
        return (*before, *self._pending.values())


def _key(operation: Operation) -> tuple[str, str, str]:
    return operation.type, operation.resource.urn, operation.resource.id


def _repaired(
    put: list[Resource],
    remaining: list[Resource],
    renamed: dict[str, str],
    parents: dict[str, str],
) -> tuple[Resource, ...]:
    """Order entries, and let those that remain follow renames and forget what is gone.

    `parents`: the parent that each entry had in the checkpoint.
    """
    urns = {entry.urn for entry in (*put, *remaining)}
    names = {alias: entry.urn for entry in put for alias in entry.aliases} | renamed
    names = {old: new for old, new in names.items() if old not in urns}
    return ordered([*put, *(_rereferenced(entry, names, urns, parents) for entry in remaining)])


def _rereferenced(
    resource: Resource, names: dict[str, str], urns: set[str], parents: dict[str, str]
) -> Resource:
    if all(urn in urns for _, urn in references(resource)) and not names:
        return resource

    def kept(old: Iterable[str]) -> tuple[str, ...]:
        return tuple(urn for urn in (names.get(urn, urn) for urn in old) if urn in urns)

    parent = names.get(resource.parent, resource.parent)
    while parent and parent not in urns:
        above = parents.get(parent, "")
        parent = names.get(above, above)
    provider_urn, _, provider_id = resource.provider.rpartition("::")
    provider = resource.provider
    if provider_urn in names:
        provider = f"{names[provider_urn]}::{provider_id}"
    return resource.changed(
        parent=parent,
        provider=provider,
        dependencies=kept(resource.dependencies),
        property_dependencies={
            key: kept(old) for key, old in resource.property_dependencies.items()
        },
        deleted_with=next(iter(kept(filter(None, [resource.deleted_with]))), ""),
        replace_with=kept(resource.replace_with),
    )


def ordered(resources: Sequence[Resource]) -> tuple[Resource, ...]:
    """Put each entry after what it refers to, keeping the given order wherever that allows it."""
    by_urn = {resource.urn: resource for resource in resources if resource.delete}
    by_urn |= {resource.urn: resource for resource in resources if not resource.delete}
    result: list[Resource] = []
    done: set[int] = set()
    placed: set[str] = set()

    def needs(resource: Resource) -> Iterator[Resource]:
        provider_urn = resource.provider.rpartition("::")[0]
        for urn in (provider_urn, *(urn for _, urn in references(resource))):
            if urn != resource.urn and urn in by_urn and urn not in placed:
                yield by_urn[urn]

    for first in resources:
        stack = [(first, needs(first))]
        entered = {id(first)}
        while stack:
            resource, pending = stack[-1]
            if id(resource) in done:
                stack.pop()
                continue
            following = next((n for n in pending if id(n) not in done | entered), None)
            if following is not None:
                entered.add(id(following))
                stack.append((following, needs(following)))
                continue
            done.add(id(resource))
            placed.add(resource.urn)
            result.append(resource)
            stack.pop()
    return tuple(result)


class NullRecorder:
    """A recorder that takes nothing down: for previews."""

    def begin(self, operation: Operation) -> int:  # noqa: ARG002 - the protocol's
        """Take nothing down."""
        return 0

    def end(self, begun: int | None, *changes: Change) -> None:
        """Take nothing down."""

    def fail(self, begun: int, *, keep: bool) -> None:
        """Take nothing down."""


class FileJournal:
    """A recorder that appends to a file; a method returns when its line is safe.

    Lines that tell of the cloud are on the disk then; those that only tell that nothing changed
    are with the operating system, and share a later line's flush. Several threads share one flush.
    """

    def __init__(self, path: Path, base: Snapshot, base_digest: str, form: SecretForm) -> None:
        """Start a journal for an update of the checkpoint `base` (`base_digest`: its file's)."""
        self._path = path
        self._form = form
        self._table = _Table(base)
        self._numbers = 0
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._written = 0
        self._synced = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
            self._append({"journal": _FORMAT, "base": base_digest})
            self._sync()
            sync_directory(path.parent)
        except OSError as error:
            raise storage_error(path, error) from error

    def begin(self, operation: Operation) -> int:
        """Take down that an operation is about to act on the cloud; give its number."""
        with self._write_lock:
            self._numbers += 1
            number = self._numbers
            self._record(Begun(number, operation))
        self._flush()
        return number

    def end(self, begun: int | None, *changes: Change) -> None:
        """Take down what an operation came to."""
        with self._write_lock:
            self._record(Ended(begun, self._table.resolve(changes)))
        if begun is not None:
            self._flush()

    def fail(self, begun: int, *, keep: bool) -> None:
        """Take down that an operation failed."""
        with self._write_lock:
            self._record(Failed(begun, keep))
        self._flush()

    def snapshot(self) -> Snapshot:
        """Give the deployment as far as it is recorded."""
        with self._write_lock:
            return self._table.snapshot()

    def close(self) -> None:
        """Close the file; it stays for whoever folds it into the checkpoint."""
        self._file.close()

    def _record(self, entry: Entry) -> None:
        try:
            self._append(_encode_entry(entry, self._form, self._table))
        except OSError as error:
            raise storage_error(self._path, error) from error
        self._table.apply(entry)

    def _append(self, line: dict[str, Any]) -> None:
        content = json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        start = self._file.tell()
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError:
            # A half line must not become the beginning of the next one.
            self._file.truncate(start)
            self._file.seek(start)
            raise
        self._written += 1

    def _flush(self) -> None:
        try:
            with self._sync_lock:
                self._sync()
        except OSError as error:
            raise storage_error(self._path, error) from error

    def _sync(self) -> None:
        written = self._written
        if self._synced < written:
            os.fsync(self._file.fileno())
            self._synced = written


def recover(path: Path, base: Snapshot, base_digest: str, form: SecretForm) -> Snapshot | None:
    """Give what a journal makes of the checkpoint `base` (`base_digest`: that of its file).

    None if the journal began from another checkpoint: it has been folded into this one already.
    A last line that was cut off is left out: what it would have told had not happened yet, or is
    pending. Raises `JournalError` for any other damage.
    """
    documents = _read_lines(path)
    if not documents or documents[0].get("base") != base_digest:
        return None
    if documents[0].get("journal") != _FORMAT:
        raise JournalError(
            f"the journal {path} has the format {documents[0].get('journal')!r}, expected {_FORMAT}"
        )
    return replay(base, (_decode_entry(line, base, form) for line in documents[1:]))


def _read_lines(path: Path) -> list[Any]:
    lines = path.read_bytes().split(b"\n")
    documents: list[Any] = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            documents.append(json.loads(line))
        except ValueError as error:
            raise JournalError(
                f"line {number} of the journal {path} is damaged. Nothing was changed. Keep the "
                "file, and restore the state from its backup or start anew with `ops sandbox reset`"
            ) from error
    return documents


def _encode_entry(entry: Entry, form: SecretForm, table: _Table) -> dict[str, Any]:
    if isinstance(entry, Begun):
        return {"begin": entry.number, "operation": encode_operation(entry.operation, form)}
    if isinstance(entry, Failed):
        return {"fail": entry.number, "keep": entry.keep}
    return {
        "end": entry.number,
        "changes": [_encode_change(change, form, table) for change in entry.changes],
    }


def _encode_change(change: SlotChange, form: SecretForm, table: _Table) -> dict[str, Any]:
    if change.resource is None:
        return {"slot": change.slot}
    same = table.same_slot(change.resource)
    if same is not None:
        return {"slot": change.slot, "same": same}
    return {"slot": change.slot, "resource": encode_resource(change.resource, form)}


def _decode_entry(document: dict[str, Any], base: Snapshot, form: SecretForm) -> Entry:
    if "begin" in document:
        return Begun(document["begin"], decode_operation(document["operation"], form))
    if "fail" in document:
        return Failed(document["fail"], document["keep"])
    return Ended(
        document["end"],
        tuple(_decode_change(change, base, form) for change in document["changes"]),
    )


def _decode_change(document: dict[str, Any], base: Snapshot, form: SecretForm) -> SlotChange:
    slot = document["slot"]
    if "same" in document:
        return SlotChange(slot, base.resources[document["same"]])
    if "resource" in document:
        return SlotChange(slot, decode_resource(document["resource"], form))
    return SlotChange(slot, None)

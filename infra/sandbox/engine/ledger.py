"""The deployment while it changes: hands each change to the recorder and knows what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from infra.sandbox.engine.journal import (
    Begun,
    Ended,
    Entry,
    Failed,
    SlotChange,
    ordered,
    replay,
    superseded,
)
from infra.sandbox.engine.state import (
    Change,
    Drop,
    Operation,
    Put,
    Recorder,
    Resource,
    Snapshot,
    Swap,
)


class Ledger:
    """Takes each change down and applies it; the deployment is what `replay` makes of them all.

    A change may name an entry by any object that the entry has been since the update began; it is
    recorded by what the entry is now. Thread-safe: the records' order is the state's order.
    """

    def __init__(self, base: Snapshot, recorder: Recorder) -> None:
        self._base = base
        self._recorder = recorder
        self._lock = threading.Lock()
        self._history: list[Entry] = []
        self._held: list[Resource | None] = list(base.resources)
        self._slots = {id(entry): slot for slot, entry in enumerate(base.resources)}
        self._put_slots: dict[str, int] = {}
        self._seen: list[Resource] = []  # kept alive: no id may be given twice

    def begin(self, operation: Operation) -> int:
        """Take down that an operation is about to act; give its number."""
        number = self._recorder.begin(operation)  # several threads' records share one flush
        with self._lock:
            self._history.append(Begun(number, operation))
        return number

    def fail(self, begun: int, *, keep: bool) -> None:
        """Take down that an operation failed; `keep` it pending if its effect is unclear."""
        with self._lock:
            self._recorder.fail(begun, keep=keep)
            self._history.append(Failed(begun, keep))

    def commit(self, begun: int | None, *changes: Change) -> None:
        """Take down what an operation came to, and apply it."""
        with self._lock:
            actual = tuple(self._actual(change) for change in changes)
            touched = {self._slots[id(entry)] for entry in map(superseded, actual) if entry}
            slots = tuple(self._slot_change(change, touched) for change in actual)
            self._recorder.end(begun, *actual)
            self._history.append(Ended(begun, slots))
            for slot_change in slots:
                self._hold(slot_change)

    def snapshot(self) -> Snapshot:
        """Give the deployment as it is now."""
        with self._lock:
            history: Sequence[Entry] = tuple(self._history)
        return replay(self._base, history)

    def entries(self) -> tuple[Resource, ...]:
        """Give the entries as they are held now, each after what it needs."""
        with self._lock:
            size = len(self._base.resources)
            held = [*self._held[size:], *self._held[:size]]
        return ordered([entry for entry in held if entry is not None])

    def _actual(self, change: Change) -> Change:
        if isinstance(change, Put):
            return change
        named = change.resource if isinstance(change, Drop) else change.old
        current = self._held[self._slots[id(named)]]
        if current is None:
            raise LookupError(f"{named.urn} is gone from the deployment already")
        return Drop(current) if isinstance(change, Drop) else Swap(current, change.new)

    def _slot_change(self, change: Change, touched: set[int]) -> SlotChange:
        if isinstance(change, Drop):
            return SlotChange(self._slots[id(change.resource)], None)
        if isinstance(change, Swap):
            return SlotChange(self._slots[id(change.old)], change.new)
        slot = self._put_slots.get(change.resource.urn)
        if slot is None or slot in touched:
            slot = len(self._held)
            self._held.append(None)
        if change.resource.delete:
            self._put_slots.pop(change.resource.urn, None)
        else:
            self._put_slots[change.resource.urn] = slot
        return SlotChange(slot, change.resource)

    def _hold(self, change: SlotChange) -> None:
        before = self._held[change.slot]
        if before is not None:
            self._seen.append(before)
        self._held[change.slot] = change.resource
        if change.resource is not None:
            self._slots[id(change.resource)] = change.slot

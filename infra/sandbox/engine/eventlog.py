"""Hands an update's events on as they happen: to a gRPC server, a file, and to displays."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

Event = dict[str, Any]
Sink = Callable[[Event], None]

_GRPC: Final = "tcp://"
_DRAIN_SECONDS: Final = 10.0


class EventLog:
    """Numbers and stamps each event, and hands it to every sink. Thread-safe.

    `target` is what ``--event-log`` names: ``tcp://host:port`` or a file. `close` sends the event
    that ends a log, if it was not sent yet, and waits until the target has taken everything.
    """

    def __init__(self, target: str | None, displays: Sequence[Sink]) -> None:
        self._displays = displays
        self._lock = threading.Lock()
        self._sequence = 0
        self._ended = False
        self._writer: _GrpcWriter | _FileWriter | None = None
        if target:
            self._writer = (
                _GrpcWriter(target.removeprefix(_GRPC))
                if target.startswith(_GRPC)
                else _FileWriter(Path(target))
            )

    def emit(self, event: Event) -> None:
        """Take one event, without sequence and timestamp."""
        with self._lock:
            if self._ended:
                return
            self._ended = "cancelEvent" in event
            stamped = {"sequence": self._sequence, "timestamp": int(time.time()), **event}
            self._sequence += 1
            if self._writer is not None:
                self._writer.write(json.dumps(stamped, ensure_ascii=False))
            for display in self._displays:
                display(stamped)

    def close(self) -> None:
        """End the log."""
        self.emit({"cancelEvent": {}})
        if self._writer is not None:
            self._writer.close()


class _FileWriter:
    """Appends a line an event, for whoever follows the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _GrpcWriter:
    """Streams events to a server of Pulumi's ``Events`` service, in a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._stream, name="events", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        self._queue.put(text)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(_DRAIN_SECONDS)

    def _stream(self) -> None:
        import grpc  # slow to load
        from pulumi.runtime.proto import events_pb2, events_pb2_grpc  # slow to load

        def requests() -> Iterator[Any]:
            while (text := self._queue.get()) is not None:
                yield events_pb2.EventRequest(event=text)

        with grpc.insecure_channel(self._address) as channel:
            try:
                events_pb2_grpc.EventsStub(channel).StreamEvents(requests())
            except grpc.RpcError:
                return  # the listener is gone: the update goes on without it

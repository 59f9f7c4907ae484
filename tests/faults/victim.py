"""Runs one command of the embedded engine, and kills its own process in the middle of it.

Executed as a script: ``victim.py POINT HOME IDENTITY ARGUMENTS…`` in the project's directory. A
point is a moment at which being killed could lose something: before, half-way through and after
each line of the journal, after each answer of the cloud to a call that changed something, and
around each file that is replaced. POINT 0 kills nothing. How many points there were goes to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from infra.sandbox.engine import backend, journal, storage, store
from infra.sandbox.engine.command import EmbeddedCommand
from infra.sandbox.engine.drivers.api import Api

_READS = ("describe_", "get_", "head_", "list_", "assume_")


class Points:
    """Counts the moments, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self.passed = 0
        self._last = last
        self._lock = threading.Lock()

    def pass_by(self) -> None:
        """Pass one; the process may not."""
        with self._lock:
            self.passed += 1
            if self.passed == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


class _HalfWriting:
    """A journal's file whose lines are written in two halves."""

    def __init__(self, file: Any, points: Points) -> None:
        self._file = file
        self._points = points

    def write(self, content: bytes) -> int:
        self._points.pass_by()
        half = len(content) // 2
        written = self._file.write(content[:half]) if half else 0
        self._points.pass_by()
        return int(written) + int(self._file.write(content[half:]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _watch(points: Points) -> None:
    original_append, original_call = journal.FileJournal._append, Api.call
    original_write = storage.write_atomic

    def append(self: Any, line: dict[str, Any]) -> None:
        if not isinstance(self._file, _HalfWriting):
            self._file = _HalfWriting(self._file, points)
        original_append(self, line)
        points.pass_by()

    def call(self: Any, service: str, operation: str, *rest: Any) -> Any:
        answer = original_call(self, service, operation, *rest)
        if not operation.startswith(_READS):
            points.pass_by()
        return answer

    def write_atomic(path: Path, content: bytes) -> None:
        points.pass_by()
        original_write(path, content)
        points.pass_by()

    journal.FileJournal._append = append  # type: ignore[method-assign]
    Api.call = call  # type: ignore[method-assign,assignment]
    for module in (backend, store):
        setattr(module, "write_atomic", write_atomic)  # noqa: B010 - a name that it imported


def main() -> None:
    """Run the command that the arguments name."""
    last, home, identity, *arguments = sys.argv[1:]
    points = Points(int(last))
    _watch(points)
    command = EmbeddedCommand(Path(home), cloud_identity=identity)
    try:
        command.run(arguments, str(Path.cwd()), {}, _say, _say)
    finally:
        _say(f"passed {points.passed} points")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()

"""What an update is doing now, so that a deadline's message can say what it waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """Counts what runs and remembers what came last. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[int, str] = {}
        self._number = 0
        self._last = "start"
        self._last_at = clock()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Note that something runs, for as long as the block does."""
        with self._lock:
            self._number += 1
            number = self._number
            self._running[number] = what
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]
                self._last, self._last_at = what, self._clock()

    def silence(self) -> float:
        """Give the seconds since the last thing ended; 0 while something runs."""
        with self._lock:
            return 0.0 if self._running else self._clock() - self._last_at

    def describe(self) -> str:
        """Say what runs, or what came last."""
        with self._lock:
            if self._running:
                return "in the middle of: " + "; ".join(self._running.values())
            return f"last came: {self._last}"

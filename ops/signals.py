"""Requests to end, from a supervisor or a closed terminal: what Ctrl-C does, they do.

Without this a pipeline that is cancelled, or a container that is stopped, would end `ops` at once
and leave the Pulumi CLI in the middle of an update, without anybody who reads what it says.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

REQUESTS: Final = ("SIGTERM", "SIGHUP")
"""Signals that ask to end, where the system has them."""


def end_in_good_order() -> None:
    """Take requests to end for Ctrl-C, from now on; one that is ignored stays ignored."""
    for name in REQUESTS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Do what a terminal does at Ctrl-C: tell the processes of our group, then ourselves."""
    for pid in _children():
        try:
            if os.getpgid(pid) == os.getpgrp():  # servers that outlive us have groups of their own
                os.kill(pid, signal.SIGINT)
        except ProcessLookupError:
            continue
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)


def _children() -> Iterator[int]:
    """Give the processes that this one has started."""
    tasks = Path("/proc/self/task")
    if tasks.is_dir():
        for task in tasks.iterdir():
            try:
                found = (task / "children").read_text().split()
            except OSError:  # a thread that has ended meanwhile
                continue
            yield from map(int, found)
        return
    if pgrep := shutil.which("pgrep"):
        told = subprocess.run(  # noqa: S603 - a fixed command
            [pgrep, "-P", str(os.getpid())], capture_output=True, text=True, check=False
        )
        yield from map(int, told.stdout.split())

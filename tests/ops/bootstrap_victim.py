"""One command line in a process of its own, which may be killed at a point of its journal."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi.automation  # noqa: F401 - these are here so that every process has them already

import stacks.account
import stacks.bootstrap  # noqa: F401
from infra.sandbox import servers
from ops import journal
from ops.__main__ import run


@dataclass(frozen=True)
class Point:
    """A moment of a run: a step is begun and nothing done, or it is done and not written down."""

    step: str
    done: bool


def act(
    project: Path, home: Path, arguments: tuple[str, ...], said: Path, at: Point | None
) -> None:
    """Run a command line; what it says goes into the file `said`."""
    os.chdir(project)
    os.environ[servers.HOME_VARIABLE] = str(home)
    with said.open("w", encoding="utf-8", buffering=1) as file:
        sys.stdout = sys.stderr = file
        if at:
            _kill_at(at)
        code = run(arguments)
    os._exit(code)


def _kill_at(point: Point) -> None:
    original = journal.Journal.add

    def add(self: journal.Journal, kind: Any, **content: Any) -> None:
        here = content.get("step") == point.step
        if here and kind == "result" and point.done:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, kind, **content)
        if here and kind == "intent" and not point.done:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(journal.Journal, "add", add)  # noqa: B010

"""What reads from and writes to the operator's terminal; no other module of ops does.

Results go to stdout, progress and questions to stderr. Colours and moving lines appear only where
the stream is a terminal and `NO_COLOR` is not set.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from ops import render
from ops.render import Line
from ops.tree import UNCHANGED, ResourceChange, UpdateLog

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

HEARTBEAT_SECONDS: Final = 15.0


class Terminal:
    """The operator's end of a command."""

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        stdin: TextIO | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._stdin = stdin or sys.stdin
        self._environment = environment

    @property
    def interactive(self) -> bool:
        """Tell whether there is somebody to ask."""
        return self._stdin.isatty() and self._stderr.isatty()

    def result(self, lines: Iterable[Line]) -> None:
        """Write lines of the result."""
        self._write(self._stdout, lines)

    def text(self, text: str) -> None:
        """Write the result as it is: JSON, or lines for a shell."""
        self._stdout.write(text + "\n")
        self._stdout.flush()

    def note(self, *lines: str | Line) -> None:
        """Write about the command's progress."""
        self._write(
            self._stderr, (line if isinstance(line, Line) else Line(line) for line in lines)
        )

    def error(self, message: str) -> None:
        """Write why the command ends."""
        first, *rest = message.splitlines() or [""]
        lines = [Line(f"error: {first}", "bold red"), *(Line(f"       {line}") for line in rest)]
        self._write(self._stderr, lines)

    def ask(self, question: str) -> str:
        """Ask, and give the answer; an end of input is an empty answer."""
        self._stderr.write(question)
        self._stderr.flush()
        return self._stdin.readline().strip()

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Show that an update goes on, what it has done and what it waits for."""
        progress = Progress(self, label)
        if self._colourful(self._stderr):
            with self._live(progress):
                yield progress
        else:
            progress.plain = True
            beat = threading.Thread(target=progress.beat, daemon=True)
            beat.start()
            try:
                yield progress
            finally:
                progress.ended.set()
                beat.join()

    @contextmanager
    def _live(self, progress: Progress) -> Iterator[None]:
        from rich.live import Live
        from rich.spinner import Spinner

        spinner = Spinner("dots")
        console = self._console(self._stderr)

        def renderable() -> RenderableType:
            text = progress.text()
            spinner.update(
                text=text if len(text) < console.width - 3 else text[: console.width - 4] + "…"
            )
            return spinner

        with Live(get_renderable=renderable, console=console, refresh_per_second=8, transient=True):
            yield

    def _write(self, stream: TextIO, lines: Iterable[Line]) -> None:
        if not self._colourful(stream):
            stream.writelines(line.text + "\n" for line in lines)
            stream.flush()
            return
        from rich.text import Text

        console = self._console(stream)
        for line in lines:
            console.print(Text(line.text, style=line.style), soft_wrap=True)

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console

        # Whether it is a terminal that wants colours was decided by `_colourful` alone.
        return Console(
            file=stream,
            highlight=False,
            force_terminal=True,
            no_color=False,
            color_system="standard",
        )

    def _colourful(self, stream: TextIO) -> bool:
        return (
            stream.isatty()
            and not self._environment.get("NO_COLOR")
            and self._environment.get("TERM") != "dumb"
        )


class Progress:
    """How far an update is. Called from the SDK's threads."""

    def __init__(self, terminal: Terminal, label: str) -> None:
        self._terminal = terminal
        self._label = label
        self._log: UpdateLog | None = None
        self._done: set[str] = set()
        self.plain = False
        self.ended = threading.Event()

    def __call__(self, log: UpdateLog, change: ResourceChange) -> None:
        """Take note of an event about a resource."""
        self._log = log
        if log.dry_run:
            self._done.add(change.urn)
        elif change.status in ("done", "failed"):
            self._done.add(change.urn)
            if self.plain and (change.op not in UNCHANGED or change.status == "failed"):
                self._terminal.note(render.progress(change))

    def text(self) -> str:
        """Say in one line how far it is."""
        if self._log is None:
            return f"{self._label} …"
        running = self._log.running()
        return f"{self._label} … {render.waiting(running, len(self._done), self._log.seconds)}"

    def beat(self) -> None:
        """Say so from time to time, until it has ended."""
        while not self.ended.wait(HEARTBEAT_SECONDS):
            self._terminal.note(self.text())

"""Preview, up, refresh and destroy through the Automation API, the same in both modes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from ops.errors import (
    CancelledError,
    ExitCode,
    OpsError,
    RefusedError,
)
from ops.report import Header, UpdateReport, Verification
from ops.tree import Diagnostic, ResourceChange, UpdateLog

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace, Stack
    from pulumi.automation.events import EngineEvent

Command = Literal["preview", "up", "refresh", "destroy"]
Watch = Callable[[UpdateLog, ResourceChange], None]
"""Told of every event about a resource, while the update runs."""

_METHODS: Final[Mapping[tuple[Command, bool], str]] = {
    ("preview", True): "preview",
    ("up", True): "preview",
    ("up", False): "up",
    ("refresh", True): "preview_refresh",
    ("refresh", False): "refresh",
    ("destroy", True): "preview_destroy",
    ("destroy", False): "destroy",
}

_ENDS: Final[Mapping[str, ExitCode]] = {
    "update canceled": ExitCode.CANCELLED,
    "preview canceled": ExitCode.CANCELLED,
    "update cancelled": ExitCode.CANCELLED,
    "destroy cancelled": ExitCode.CANCELLED,
    "refresh cancelled": ExitCode.CANCELLED,
    "the deadline of": ExitCode.DEADLINE,
    "the program has done nothing for": ExitCode.DEADLINE,
}
"""What the engines say of an end that is no failure of a step."""

_SUMMARIES: Final = frozenset({"preview failed", "update failed"})
"""What the engines say after the errors that they have told already."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be asked of an update."""

    targets: tuple[str, ...] = ()
    """URNs; empty: everything."""
    target_dependents: bool = False
    refresh: bool = False
    """Read everything back from the cloud first."""
    clear_pending_creates: bool = False
    """A refresh forgets creations that were interrupted; nothing of them may be there."""
    parallel: int | None = None
    message: str | None = None
    config_file: str | None = None
    """The stack's configuration instead of its own file."""

    def arguments(self, method: str) -> dict[str, Any]:
        """Give the arguments of a method of the Automation API's stack."""
        arguments: dict[str, Any] = {"color": "never"}
        if method in ("up", "refresh", "destroy"):
            arguments["show_secrets"] = False
        if self.targets:
            arguments["target"] = list(self.targets)
            arguments["target_dependents"] = self.target_dependents
        if self.refresh and "refresh" not in method:
            arguments["refresh"] = True
        if self.clear_pending_creates and "refresh" in method:
            arguments["clear_pending_creates"] = True
        if self.parallel is not None and method != "preview_destroy":
            arguments["parallel"] = self.parallel
        if self.message:
            arguments["message"] = self.message
        if self.config_file:
            arguments["config_file"] = self.config_file
        return arguments


def run(
    stack: Stack,
    command: Command,
    *,
    header: Header,
    options: Options,
    log: UpdateLog,
    watch: Watch = lambda _log, _change: None,
    tell: Callable[[str], None] = lambda _line: None,
) -> UpdateReport:
    """Run one update, or its preview where `log.dry_run` says so, and report it.

    A failure of the engine, the program or a provider is part of the report; what else the engine
    writes to stderr goes to `tell` as it comes. Raises
    `RefusedError` where the stack is locked, `CancelledError` where the operator stopped it.
    """
    from pulumi.automation import CommandError, ConcurrentUpdateError

    def on_event(event: EngineEvent) -> None:
        change = log.take(event)
        if change is not None:
            watch(log, change)

    def on_error(line: str) -> None:
        if line and not line.startswith("error:"):
            tell(line)

    method = _METHODS[command, log.dry_run]
    error = ""
    outputs: Mapping[str, Any] = {}
    try:
        with _left_to_the_cli(header, tell):
            getattr(stack, method)(
                on_event=on_event, on_error=on_error, **options.arguments(method)
            )
        if method == "up":
            outputs = outputs_of(stack)
    except ConcurrentUpdateError as problem:
        raise RefusedError(_locked(header, error_text(problem))) from problem
    except CommandError as problem:
        error = error_text(problem) or "the engine ended without saying why"
    except KeyboardInterrupt as problem:
        raise CancelledError(_cancelled(header, log)) from problem
    return UpdateReport(
        command=command,
        header=header,
        dry_run=log.dry_run,
        result="failed" if error else "succeeded",
        resources=log.resources(),
        counts=log.counts,
        diagnostics=_diagnostics(log.diagnostics, error),
        seconds=log.seconds,
        error=error,
        outputs=outputs,
    )


@contextmanager
def _left_to_the_cli(header: Header, tell: Callable[[str], None]) -> Iterator[None]:
    """Leave Ctrl-C to the Pulumi CLI, which gets it as well and ends in good order.

    Without this the SDK would abandon a CLI that is still finishing and recording. The embedded
    engine runs in this process and is interrupted as usual.
    """
    if header.mode != "aws" or threading.current_thread() is not threading.main_thread():
        yield
        return

    # A function and not SIG_IGN, which the CLI would inherit.
    def wait(_signal: int, _frame: object) -> None:
        tell("Cancelling: waiting for pulumi to finish what it began.")

    former = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def verify(
    stack: Stack, *, header: Header, log: UpdateLog, watch: Watch = lambda _log, _change: None
) -> Verification:
    """Read every resource back from the cloud and compare it with the state; change neither."""
    report = run(stack, "refresh", header=header, options=Options(), log=log, watch=watch)
    if report.result == "failed":
        raise OpsError(
            f"What was done could not be read back: {report.error}. The update itself succeeded."
        )
    read_back = [item for item in report.resources if item.in_cloud and not item.recorded]
    return Verification(
        read=len(read_back),
        differing=tuple(change for change in read_back if change.changed),
        recorded=report.recorded,
    )


def with_verification(report: UpdateReport, verification: Verification) -> UpdateReport:
    """Give the report of an update together with what reading it back has shown."""
    return dataclasses.replace(report, verification=verification)


def with_error(report: UpdateReport, message: str) -> UpdateReport:
    """Give the report of a failed update with one more reason."""
    reason = Diagnostic(severity="error", urn="", message=message)
    return dataclasses.replace(report, diagnostics=(*report.diagnostics, reason))


def is_protected(report: UpdateReport) -> bool:
    """Tell whether something could not be deleted because the state protects it."""
    return any("because it is protected" in item.message for item in report.diagnostics)


def plan_hash(planned: UpdateReport) -> str:
    """Give what stands for the changes of a preview: others have another hash.

    16 hexadecimal digits. A secret counts as what stands in its place.
    """
    changes = [
        [change.urn, change.op, change.fingerprint, *map(dataclasses.astuple, change.changes)]
        for change in sorted(planned.resources, key=lambda change: change.urn)
        if change.changed
    ]
    header = planned.header
    said = [planned.command, header.stack, header.account_id, header.region, changes]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def exit_code(report: UpdateReport, *, detailed: bool = False) -> ExitCode:
    """Give the exit code of an update.

    A failed one that had changed something is partial: running it again continues. `detailed`:
    changes count as findings.
    """
    if report.result == "failed":
        # The CLI says it in an event of the engine's own and may leave stderr empty.
        own = (item.message for item in report.diagnostics if item.severity == "error")
        said = (report.error, *(message for message in own if message.strip() in _ENDS))
        for words, code in _ENDS.items():
            if any(words in text for text in said):
                return code
        began = not report.dry_run and any(
            change.changed and change.status == "done" for change in report.resources
        )
        return ExitCode.PARTIAL if began else ExitCode.ERROR
    if report.verification and not report.verification.holds:
        return ExitCode.FINDINGS
    return ExitCode.FINDINGS if detailed and report.changes else ExitCode.OK


def outputs_of(stack: Stack, *, show_secrets: bool = False) -> dict[str, Any]:
    """Give a stack's outputs as plain values, secrets masked unless they were asked for.

    The Automation API knows a secret only where it is a whole output: one inside of an output it
    gives in plain text. The command that it calls masks both.
    """
    workspace = cast("LocalWorkspace", stack.workspace)
    arguments = ["stack", "output", "--json", "--stack", stack.name]
    shown = ["--show-secrets"] if show_secrets else []
    answer = workspace.pulumi_command.run(
        [*arguments, *shown], workspace.work_dir, dict(workspace.env_vars)
    )
    outputs: dict[str, Any] = json.loads(answer.stdout)
    return outputs


def refusal(error: Exception) -> OpsError | None:
    """Give what an engine's refusal outside of an update means: of a lock, or of a state."""
    from pulumi.automation import CommandError, ConcurrentUpdateError

    if isinstance(error, ConcurrentUpdateError):
        return RefusedError(
            f"The stack is locked by another update. {error_text(error)}\nWait for it to end; if "
            "it certainly has died, release the lock of the stack that is named there with: "
            "ops lock release ENV --pulumi --stack environment|bootstrap|account"
        )
    return OpsError(error_text(error)) if isinstance(error, CommandError) else None


def error_text(error: Exception) -> str:
    """Give what the engine wrote to stderr, without the SDK's framing and the word `error:`."""
    _, found, stderr = str(error).partition("\n stderr: ")
    text = stderr if found else str(error)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(line.removeprefix("error: ") for line in lines if line)


def _diagnostics(diagnostics: tuple[Diagnostic, ...], error: str) -> tuple[Diagnostic, ...]:
    """Put the engine's last word with the messages, unless it says no more than they do."""
    if error and not any(error in diagnostic.message for diagnostic in diagnostics):
        diagnostics = (*diagnostics, Diagnostic(severity="error", urn="", message=error))
    telling = [item for item in diagnostics if item.message not in _SUMMARIES]
    return tuple(telling) if any(item.severity == "error" for item in telling) else diagnostics


def _locked(header: Header, details: str) -> str:
    from ops import engine_lock

    sandbox = "--sandbox " if header.mode == "sandbox" else ""
    kind = engine_lock.kind_of(header.stack)
    chosen = "" if kind == "environment" else f" --stack {kind}"
    unlock = (
        "a lock whose process has died is released by itself"
        if header.mode == "sandbox"
        else "if it certainly has died, release the lock with "
        f"{engine_lock.advice(header.mode, header.environment, kind)}"
    )
    return (
        f"The stack {header.stack} is locked by another update. Nothing was changed.\n"
        f"{details}\nWait for it to end; {unlock}, then look again: "
        f"ops {sandbox}preview {header.environment}{chosen}"
    )


def _cancelled(header: Header, log: UpdateLog) -> str:
    if log.dry_run:
        return "Cancelled. It was a preview: nothing was changed."
    done = sum(change.changed and change.status == "done" for change in log.resources())
    completed = "1 change was" if done == 1 else f"{done} changes were"
    return (
        f"Cancelled. {completed} completed and recorded in the state of {header.stack}. "
        "Run the same command again to continue."
    )

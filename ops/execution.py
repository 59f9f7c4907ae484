"""Carrying a plan out: stage by stage, every step journalled before and after.

What has been done stays written down whatever happens next; a step that was begun and not finished
is simply done again, which every action allows.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ops import plan as plans
from ops.errors import CancelledError, DeadlineError, ExitCode, OpsError
from ops.plan import Data, Plan, Step

if TYPE_CHECKING:
    from ops.access import Access
    from ops.commands import Setting
    from ops.journal import Journal
    from ops.lock import Lock
    from ops.terminal import Terminal

HEARTBEAT_SECONDS: Final = 15.0
WORKERS: Final = 32

Outcome = Literal["done", "failed", "not begun"]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """How a step went."""

    step: str
    kind: str
    target: str
    summary: str
    outcome: Outcome
    message: str = ""
    """Why it failed."""
    detail: Data = field(default_factory=dict)
    """What the action found and did, as it was journalled."""
    seconds: float = 0.0
    code: ExitCode = ExitCode.OK
    """What the failure would be as the end of a command."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an action has besides its step."""

    setting: Setting
    access: Access
    journal: Journal
    plan: Plan
    lock: Lock | None
    results: dict[str, Data]
    """Step → what its action gave, also in a former process."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set by the operator's Ctrl-C: waits end, nothing further is begun."""
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(tz=dt.UTC)

    @property
    def terminal(self) -> Terminal:
        """Where progress is told."""
        return self.setting.terminal

    def note(self, line: str) -> None:
        """Tell the operator, and write it down."""
        self.terminal.note(line)
        self.journal.add("note", text=line)

    def wait(
        self,
        what: str,
        observe: Callable[[], str],
        *,
        deadline_seconds: float,
        interval_seconds: float = 5.0,
    ) -> None:
        """Wait until `observe` gives "": it says what is still missing, and may raise.

        Says so from time to time. Raises `DeadlineError` with what was missing last,
        `CancelledError` where the operator does not want to wait.
        """
        begun = told = time.monotonic()
        while missing := observe():
            if self.lock:
                self.lock.require()  # what is looked at is often asked for again
            now = time.monotonic()
            if now - begun > deadline_seconds:
                raise DeadlineError(
                    f"{what}: not within {deadline_seconds / 60:.0f} min; the last that was seen: "
                    f"{missing}"
                )
            if now - told >= HEARTBEAT_SECONDS:
                told = now
                self.terminal.note(f"waiting {now - begun:.0f} s for {what}: {missing}")
            if self.cancelled.wait(interval_seconds):
                raise CancelledError(f"Not waited for any longer: {what} ({missing}).")


Action = Callable[[Context, Step], Data | None]
"""Does a step, whether or not it was done or begun before; gives what is worth writing down.

Raises `OpsError` or an error of botocore where it could not be done.
"""


def execute(
    plan: Plan,
    actions: Mapping[str, Action],
    context: Context,
    *,
    carry_on: bool,
) -> tuple[StepResult, ...]:
    """Carry out what of a plan is not done yet; give how every step went.

    `carry_on`: a step that fails does not shield the others; else nothing further is begun.
    Ctrl-C lets the calls that are under way end, and begins nothing further.
    """
    failed = threading.Event()
    results: dict[str, StepResult] = {}

    def do(step: Step) -> StepResult:
        if step.id in context.results:
            return _result(step, "done", detail=context.results[step.id])
        if context.cancelled.is_set() or (failed.is_set() and not carry_on):
            return _result(step, "not begun")
        result = _do(step, actions[step.action], context)
        if result.outcome == "failed":
            failed.set()
        return result

    for stage in plans.stages(plan.steps):
        with ThreadPoolExecutor(max_workers=min(WORKERS, len(stage))) as pool:
            under_way = [pool.submit(do, step) for step in stage]
            try:
                wait(under_way)
            except KeyboardInterrupt:
                context.cancelled.set()
            results |= {future.result().step: future.result() for future in under_way}
    return tuple(results[step.id] for step in plan.steps)


def _do(step: Step, action: Action, context: Context) -> StepResult:
    from botocore.exceptions import BotoCoreError, ClientError

    from ops.access import exit_code_of

    begun = time.monotonic()
    try:
        if context.lock:
            context.lock.require()
        context.journal.add("intent", step=step.id)
        detail = dict(action(context, step) or {})
    except Exception as error:  # noqa: BLE001 - what nobody thought of does not shield the rest
        known = isinstance(error, (OpsError, ClientError, BotoCoreError))
        message = said(error) if known else unexpected(error)
        context.journal.add("result", step=step.id, outcome="failed", message=message)
        context.terminal.note(f"FAILED {step.summary}: {message}")
        return _result(step, "failed", message=message, begun=begun, code=exit_code_of(error))
    context.journal.add("result", step=step.id, outcome="done", detail=detail)
    context.results[step.id] = detail
    context.terminal.note(f"done   {step.summary}")
    return _result(step, "done", detail=detail, begun=begun)


def unexpected(error: Exception) -> str:
    """Say what kind of error it was and where; what it says itself may be a secret's value."""
    if "pulumi.automation" in sys.modules:
        from ops.update import refusal

        if known := refusal(error):
            return str(known)
    if isinstance(error, OSError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"


def said(error: Exception) -> str:
    """Give an error as a journal and an operator have it, with AWS's number of the request."""
    request = getattr(error, "response", {}).get("ResponseMetadata", {}).get("RequestId", "")
    return f"{error} (request {request})" if request else str(error)


def exit_code(results: Sequence[StepResult]) -> ExitCode:
    """Give the exit code of an execution: what is left can be resumed, whatever the reason.

    The operator's Ctrl-C, a deadline and credentials that have expired keep codes of their own.
    """
    if all(result.outcome == "done" for result in results):
        return ExitCode.OK
    codes = {result.code for result in results}
    own = (ExitCode.CANCELLED, ExitCode.NOT_AUTHENTICATED, ExitCode.DEADLINE)
    return next((code for code in own if code in codes), ExitCode.PARTIAL)


def _result(
    step: Step,
    outcome: Outcome,
    *,
    message: str = "",
    begun: float | None = None,
    detail: Data | None = None,
    code: ExitCode = ExitCode.OK,
) -> StepResult:
    return StepResult(
        step=step.id,
        kind=step.kind,
        target=step.target,
        summary=step.summary,
        outcome=outcome,
        message=message,
        detail=dict(detail or {}),
        seconds=round(time.monotonic() - begun, 3) if begun is not None else 0.0,
        code=code,
    )


def request_id(answer: Mapping[str, Any]) -> str:
    """Give AWS's number of an answered request, for the journal."""
    return str(answer.get("ResponseMetadata", {}).get("RequestId", ""))

"""The anatomy of a command that acts: plan, show, agree, lock, write down, act, look again.

A command is an `Operation`: a function that plans and changes nothing, the actions its steps name,
and a verification. What goes round them is here, once.
"""

from __future__ import annotations

import datetime as dt
import importlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops import checks, engine_lock, execution, guard, journal, lock, render_run
from ops.checks import Check
from ops.errors import AuthenticationError, ExitCode, OpsError, RefusedError, UsageError
from ops.execution import Action, Context, StepResult
from ops.foundation import NoFoundationError, foundation, journal_bucket
from ops.plan import Data, Plan
from ops.render import Line
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from ops.access import Access, StackKind
    from ops.commands import Setting

OPERATIONS: Final[Mapping[str, str]] = {
    "deploy": "ops.deploy:OPERATION",
    "scale": "ops.scale:OPERATION",
    "start": "ops.start:OPERATION",
    "stop": "ops.stop:OPERATION",
    "teardown": "ops.teardown.command:OPERATION",
    "teardown bootstrap": "ops.teardown.retirement:OPERATION",
    "bootstrap": "ops.bootstrap:OPERATION",
    "bootstrap account": "ops.bootstrap:ACCOUNT",
    "backup": "ops.backup.command:OPERATION",
    "backups prune": "ops.backup.prune:OPERATION",
    "restore": "ops.restore.command:OPERATION",
    "restore rehearsal": "ops.restore.rehearsal:OPERATION",
}
"""Command → `module:name` of its `Operation`: what `ops resume` can go on with."""


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What a plan is made from."""

    setting: Setting
    access: Access
    arguments: Data
    now: dt.datetime
    unfinished: Callable[[str], list[journal.Run]]
    """A command's name → its runs on this environment since the last that finished, which did not;
    the newest first."""
    runs: Callable[[Sequence[str], str], list[journal.Run]]
    """Commands' names, and a run → their runs on this environment after that, the oldest first."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A command that acts on an environment."""

    name: str
    plan: Callable[[Planning], Plan]
    """Reads and decides; changes nothing. Raises `IncompleteError` where it cannot see all."""
    actions: Mapping[str, Action]
    verify: Callable[[Context], tuple[Check, ...]] = lambda _context: ()
    """Looks again, once all is done."""
    idle: Callable[[Access, Plan], tuple[Check, ...]] = lambda _access, _plan: ()
    """Looks round where a plan has no steps: what it finds is what the command ends with."""
    show: Callable[[Plan], list[Line]] | None = None
    """How the plan is shown, where its steps alone do not say enough."""
    carry_on: bool = False
    """A step that fails does not shield the rest."""
    by_name: bool = False
    """The environment's name has to be typed, whichever environment it is."""
    bound: bool = False
    """What nobody sees before it is done has to be named by its hash."""
    approved: bool = True
    """In production somebody else has to agree. Not so for an emergency."""
    emergency: bool = False
    """What cannot be had does not hold it up: a lock that nobody can take, journals of other
    machines that cannot be read. A lock that somebody holds does."""
    stack: StackKind = "environment"
    """Which of the environment's stacks it says that it acts on."""
    founded: bool = True
    """The bootstrap is there: its role acts, its lock is taken, its bucket has the journal. Else
    the caller acts, and lock and bucket are used if they are there."""
    undone: str = "Nothing was changed."


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a command would do, or has done."""

    command: str
    header: Header
    run: str
    """Empty where nothing was run."""
    dry_run: bool
    result: Literal["planned", "nothing to do", "succeeded", "partial"]
    plan_hash: str
    plan: Mapping[str, Any]
    steps: tuple[StepResult, ...] = ()
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the actions found out: step → detail."""
    seconds: float = 0.0
    journal: str = ""
    """Where the run is written down on this machine."""
    warnings: tuple[str, ...] = ()
    version: int = REPORT_VERSION


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What the operator said on the command line."""

    yes: bool = False
    plan_hash: str = ""
    why: str = ""
    dry_run: bool = False


Copies = Callable[[], journal.Bucket | None]
"""Gives where copies of all journals are; None: nowhere yet. Looks once."""


def perform(
    setting: Setting,
    operation: Operation,
    environment: str,
    arguments: Data,
    consent: Consent,
) -> ExitCode:
    """Run a command from its plan to its report."""
    access, _ = open_environment(setting, environment, operation.stack)
    access = _acting(operation, access)
    copies = _copies(setting, operation, access)
    planned = _plan(setting, operation, access, arguments, copies)
    if consent.dry_run or not planned.steps:
        return _show_plan(setting, operation, access, planned, dry_run=consent.dry_run)
    setting.aside(render_run.plan(planned, _shown(operation, planned)))
    _agree(setting, operation, access, planned, consent)
    run = journal.run_id(operation.name, environment, _now(), secrets.token_hex(2))
    with _locked(setting, operation, access, run) as held:
        if operation.bound:
            now = _plan(setting, operation, access, arguments, copies)
            _refuse_changed(planned, now, "the lock")
        book = journal.Journal(access.journals, run, now=_now)
        book.add(
            "begun",
            operator=lock.operator(access),
            why=consent.why,
            mode=access.mode,
            cloud=access.cloud,
            plan_hash=planned.hash,
            plan=planned.to_json(),
        )
        return _carry_out(setting, operation, access, planned, book, held, {}, copies())


def resume(setting: Setting, run: str, *, yes: bool) -> ExitCode:
    """Go on with a run that did not finish; what was agreed to is done, and nothing else."""
    environment = environment_of(run)
    operation = load(command_of(run))
    access, header = open_environment(setting, environment, operation.stack)
    access = _acting(operation, access)
    copies = _copies(setting, operation, access)
    found = journal.read(run, access.journals, copies())
    if found.is_finished:
        raise UsageError(f"The run {run} has finished: there is nothing to resume.")
    begun, planned = found.begun, found.plan
    settings = access.settings
    there = (begun["mode"], begun["cloud"], planned.account_id, planned.region)
    here = (access.mode, access.cloud, settings.account_id, settings.region)
    if there != here:
        raise RefusedError(
            f"The run {run} acted on {', '.join(there)}; this is {', '.join(here)}. "
            f"{operation.undone}"
        )
    if begun["plan_hash"] != planned.hash:
        raise RefusedError(
            f"The journal of {run} has another plan ({planned.hash}) than the one that was agreed "
            f"to ({begun['plan_hash']}). {operation.undone} Plan it again."
        )
    left = [step for step in planned.steps if step.id not in found.done]
    setting.aside(render_run.remaining(run, planned, left))
    _require_approval(operation, access, planned)
    _ask(setting, operation, header, f"go on with {run}", yes=yes)
    with _locked(setting, operation, access, run) as held:
        # Read again under the lock: the one who held it may have gone on.
        found = journal.read(run, access.journals, copies())
        if found.is_finished:
            raise UsageError(f"The run {run} has finished meanwhile: nothing was done.")
        book = journal.Journal(access.journals, run, now=_now, written=found.records)
        book.add("resumed", operator=lock.operator(access))
        return _carry_out(setting, operation, access, planned, book, held, found.done, copies())


def load(command: str) -> Operation:
    """Give a command's operation by its name."""
    module, _, name = OPERATIONS[command].partition(":")
    operation: Operation = getattr(importlib.import_module(module), name)
    return operation


def open_environment(
    setting: Setting, environment: str, kind: StackKind = "environment"
) -> tuple[Access, Header]:
    """Reach an environment, and say where that is."""
    from ops.access import require_environment

    require_environment(environment)
    access = setting.access(environment)
    header = access.header(kind)
    setting.announce(header)
    return access, header


def runs(
    access: Access, commands: Sequence[str] | None = None, since: str = ""
) -> list[journal.Run]:
    """Give all runs on an environment, the oldest first; or those of some commands, after a run.

    Raises `IncompleteError` where those of other machines cannot be listed.
    """
    return _runs(access, _bucket(access), commands, since)


def _runs(
    access: Access, bucket: journal.Bucket | None, commands: Sequence[str] | None, since: str
) -> list[journal.Run]:
    names = journal.runs(access.journals, bucket)
    asked = commands and {command.replace(" ", "-") for command in commands}
    ours = [
        name
        for name in names
        if name > since
        and name.split("-")[-2:-1] == [access.environment]
        and (asked is None or "-".join(name.split("-")[2:-2]) in asked)
    ]
    return list(journal.read_all(ours, access.journals, bucket))


def find_run(access: Access, run: str) -> journal.Run:
    """Give one run on an environment; raises `UsageError` where there is none."""
    return journal.read(run, access.journals, _bucket(access))


def _acting(operation: Operation, access: Access) -> Access:
    """Give the access with the credentials that the operation works with."""
    return access if operation.founded else replace(access, client=access.own_client)


def _plan(
    setting: Setting, operation: Operation, access: Access, arguments: Data, copies: Copies
) -> Plan:
    def unfinished(command: str) -> list[journal.Run]:
        marker = f"-{command.replace(' ', '-')}-{access.environment}-"
        names = [name for name in journal.runs(access.journals, copies()) if marker in name]
        found = journal.read_all(reversed(names), access.journals, copies())
        return list(takewhile(lambda run: not run.is_finished, found))

    return operation.plan(
        Planning(
            setting=setting,
            access=access,
            arguments=arguments,
            now=_now(),
            unfinished=unfinished,
            runs=lambda commands, since: _runs(access, copies(), commands, since),
        )
    )


def _copies(setting: Setting, operation: Operation, access: Access) -> Copies:
    """Give where the journals of all machines are; in an emergency, only if that can be read."""

    @cache
    def copies() -> journal.Bucket | None:
        try:
            bucket = _bucket(access)
            if bucket and operation.emergency:
                journal.runs(access.journals, bucket)
        except OpsError as error:
            _go_on(setting, operation, error, "with the runs that this machine knows")
            return None
        return bucket

    return copies


def _go_on(setting: Setting, operation: Operation, error: OpsError, how: str) -> None:
    """Say what an emergency does without; raise the error in any other case."""
    if not operation.emergency or isinstance(error, AuthenticationError):
        raise error
    setting.terminal.note(f"WARNING: {error}", f"Going on, since this is an emergency: {how}.")


def _show_plan(
    setting: Setting, operation: Operation, access: Access, planned: Plan, *, dry_run: bool
) -> ExitCode:
    seen = () if planned.steps else operation.idle(access, planned)
    report = RunReport(
        command=operation.name,
        header=access.header(operation.stack),
        run="",
        dry_run=dry_run,
        result="planned" if planned.steps else "nothing to do",
        plan_hash=planned.hash,
        plan=planned.to_json(),
        checks=seen,
    )
    lines = render_run.plan(planned, _shown(operation, planned))
    setting.show(report, [*lines, *checks.lines(seen)])
    return checks.exit_code(seen)


def _shown(operation: Operation, planned: Plan) -> list[Line]:
    return operation.show(planned) if operation.show else []


def _agree(
    setting: Setting,
    operation: Operation,
    access: Access,
    planned: Plan,
    consent: Consent,
) -> None:
    """Refuse or ask, before anything is taken hold of."""
    if consent.plan_hash and consent.plan_hash != planned.hash:
        raise RefusedError(
            f"The plan is another than the one that was agreed to: expected "
            f"{consent.plan_hash}, found {planned.hash}. {operation.undone} Look at it again "
            "with --dry-run, and give its hash."
        )
    if consent.yes and operation.bound and not consent.plan_hash:
        raise RefusedError(
            f"{operation.name} with --auto-approve needs the hash of the plan that is agreed to: "
            f"--plan-hash {planned.hash} is this one's. {operation.undone}"
        )
    _require_approval(operation, access, planned)
    number = len(planned.steps)
    what = f"{operation.name} {access.environment} ({number} step{'' if number == 1 else 's'})"
    _ask(setting, operation, access.header(operation.stack), what, yes=consent.yes)


def _require_approval(operation: Operation, access: Access, planned: Plan) -> None:
    """Refuse in production what nobody else has agreed to, or has so too long ago."""
    if operation.approved:
        from ops import approvals

        approvals.require(access, operation.name, planned.hash, operation.stack)


def _ask(setting: Setting, operation: Operation, header: Header, what: str, *, yes: bool) -> None:
    terminal = setting.terminal
    guard.confirm(
        header,
        what,
        yes=yes,
        ask=terminal.ask if terminal.interactive else None,
        by_name=operation.by_name or guard.needs_name(header, operation.name),
    )


def _refuse_changed(agreed: Plan, now: Plan, moment: str) -> None:
    if now.hash != agreed.hash:
        raise RefusedError(
            f"Something has changed between the plan and {moment}: the plan was {agreed.hash} and "
            f"is {now.hash}. Nothing was changed. Look at it again with --dry-run."
        )


@contextmanager
def _locked(
    setting: Setting, operation: Operation, access: Access, run: str
) -> Iterator[lock.Lock | None]:
    """Hold the environment's lock, and see that no update of Pulumi's own runs."""
    with ExitStack() as holding:
        held: lock.Lock | None = None
        try:
            if table := _lock_table(operation, access):
                own = lock.environment_lock(access, table)
                operator = lock.operator(access)
                holder = lock.Holder.this_process(run, operation.name, operator, _now())
                held = holding.enter_context(own.hold(holder))
                engine_lock.refuse_running(access)
        except OpsError as error:
            if isinstance(error, RefusedError):  # somebody else is at work
                raise
            _go_on(setting, operation, error, "without what keeps others from acting meanwhile")
        yield held


def _lock_table(operation: Operation, access: Access) -> str:
    """Give the table of the environment's lock; empty where there is none, and need not be."""
    if operation.founded:
        return foundation(access).lock_table
    return naming.lock_table(access.environment) if lock.has_table(access) else ""


def _carry_out(
    setting: Setting,
    operation: Operation,
    access: Access,
    planned: Plan,
    book: journal.Journal,
    held: lock.Lock | None,
    done: Mapping[str, Data],
    bucket: journal.Bucket | None,
) -> ExitCode:
    if bucket:
        book.mirror_to(bucket)
    context = Context(
        setting=setting,
        access=access,
        journal=book,
        plan=planned,
        lock=held,
        results=dict(done),
    )
    begun = time.monotonic()
    try:
        results = execution.execute(
            planned, operation.actions, context, carry_on=operation.carry_on
        )
        code = execution.exit_code(results)
        if code is ExitCode.PARTIAL and context.cancelled.is_set():
            code = ExitCode.CANCELLED
        seen: tuple[Check, ...] = ()
        if code is ExitCode.OK:
            seen = _verify(operation, context)
            code = checks.exit_code(seen)
        finished = all(item.outcome == "done" for item in results)
        book.add("ended", result="succeeded" if finished else "partial", code=int(code))
    finally:
        book.close()
    warnings = _warnings(book)
    report = RunReport(
        command=operation.name,
        header=access.header(operation.stack),
        run=book.run,
        dry_run=False,
        result="succeeded" if finished else "partial",
        plan_hash=planned.hash,
        plan=planned.to_json(),
        steps=results,
        checks=seen,
        facts={step: dict(detail) for step, detail in context.results.items() if detail},
        seconds=round(time.monotonic() - begun, 3),
        journal=str(book.path),
        warnings=warnings,
    )
    setting.show(report, render_run.run(report), render_run.markdown(report))
    return code


def _verify(operation: Operation, context: Context) -> tuple[Check, ...]:
    """Look again; where that fails, the run is done and not verified."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        seen = operation.verify(context)
    except (OpsError, BotoCoreError, ClientError) as error:
        seen = (
            Check(
                name="verification",
                status="unknown",
                found=execution.said(error),
                expected="what was done can be seen",
                remedy="every step is done; look at the environment again",
            ),
        )
    context.journal.add("verified", checks=[asdict(check) for check in seen])
    return seen


def _warnings(book: journal.Journal) -> tuple[str, ...]:
    if not book.unmirrored:
        return ()
    missing = f"copies in the state bucket are missing ({book.unmirrored})"
    return (f"The journal is complete in {book.path} only: {missing}.",)


def _bucket(access: Access) -> journal.Bucket | None:
    try:
        return journal_bucket(access, foundation(access))
    except NoFoundationError:
        return None


def environment_of(run: str) -> str:
    """Give the environment that a run's name tells; raises `UsageError` for what is no run."""
    environment = (run.split("-")[-2:-1] or [""])[0]
    if environment not in naming.ENVIRONMENTS:
        raise UsageError(
            f"{run!r} is no run: a run's name ends with its environment and four characters. "
            "Nothing was done. See them with: ops runs list"
        )
    return environment


def command_of(run: str) -> str:
    """Give the command that a run's name tells; raises `UsageError` where it cannot be resumed."""
    said = "-".join(run.split("-")[2:-2])
    for command in OPERATIONS:
        if command.replace(" ", "-") == said:
            return command
    raise UsageError(f"{run!r} is no run that can be resumed. Nothing was done.")


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)

"""The commands from beginning to end: say where, plan, show, ask, act, verify, show, exit code."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ops import access as accesses
from ops import guard, render
from ops.access import Access, StackKind
from ops.errors import ExitCode
from ops.render import Line
from ops.report import Header, OutputsReport, UpdateReport, to_json
from ops.stack import exported, open_stack, open_to_look, require_cli
from ops.terminal import Terminal
from ops.tree import UpdateLog

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from ops import update
    from ops.approvals import ApprovalReport
    from ops.report import Verification

Form = Literal["table", "json", "md", "junit"]
"""`junit`: for commands that check something."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every command is given: which cloud, which project, whom to talk to and how."""

    sandbox: bool
    root: Path
    terminal: Terminal
    form: Form = "table"
    closing: bool = True
    """Whether a result ends with what a rehearsal proves; the last of several does."""

    def access(self, environment: str, *, state_only: bool = False) -> Access:
        """Reach an environment in the mode that was asked for."""
        settings = accesses.load_settings(self.root, environment)
        if not self.sandbox:
            return accesses.aws(self.root, settings)
        from ops import sandbox

        return sandbox.access(self.root, settings, state_only=state_only)

    def announce(self, header: Header) -> None:
        """Say where the command acts, before it acts."""
        self.aside([render.header(header)])

    def aside(self, lines: Iterable[Line]) -> None:
        """Write what goes before the result: to stdout where people read it, else to stderr."""
        if self.form == "table":
            self.terminal.result(lines)
        else:
            self.terminal.note(*lines)

    def show(
        self,
        report: Any,
        table: Iterable[Line],
        markdown: Iterable[Line] | None = None,
        *,
        junit: str = "",
    ) -> None:
        """Write a report in the form that was asked for."""
        header: Header | None = getattr(report, "header", None)
        end = render.closing(header) if header and self.closing else ()
        if self.form == "json":
            self.terminal.text(to_json(report))
        elif self.form == "junit":
            self.terminal.text(junit)
        elif self.form == "md" and markdown is not None:
            self.terminal.result([*markdown, *end])
        elif self.form == "md":
            self.terminal.result(
                [Line("```text"), *(Line(line.text) for line in table), Line("```"), *end]
            )
        else:
            self.terminal.result([*table, *end])


class StackCommand:
    """A command on one stack of an environment; opening it says where it acts."""

    def __init__(
        self, setting: Setting, environment: str, kind: StackKind, *, diff: bool = False
    ) -> None:
        self.setting = setting
        self.kind = kind
        self.diff = diff
        accesses.require_environment(environment)
        if not setting.sandbox:
            require_cli()
        self.access = setting.access(environment)
        self.header = self.access.header(kind)
        setting.announce(self.header)

    @cached_property
    def stack(self) -> Stack:
        """The stack, opened when it is first needed."""
        return open_stack(self.access, self.kind)

    def preview(self, options: update.Options, *, detailed: bool = False) -> ExitCode:
        """Show what `up` would do; refuse what it would refuse."""
        from ops import update

        report = self._update("preview", options, dry_run=True)
        self._show(report)
        if report.result == "succeeded":
            guard.refuse_losses(report)
        return update.exit_code(report, detailed=detailed)

    def change(
        self,
        command: update.Command,
        options: update.Options,
        *,
        yes: bool,
        verify: bool = False,
        detailed: bool = False,
    ) -> tuple[UpdateReport, ExitCode]:
        """Preview, ask, act and verify; a preview that fails changes nothing."""
        from ops import program, update

        if options.clear_pending_creates:
            self._refuse_forgetting()
        previewed = program.digest(self.access.root)
        planned = self._update(command, options, dry_run=True)
        if planned.result == "failed":
            self._show(planned)
            return planned, update.exit_code(planned)
        # With --yes nobody reads the plan before it is carried out: the result shows the tree.
        tree = () if yes and not self.diff else render.tree(planned.resources, diff=self.diff)
        self.setting.aside([*tree, Line(""), *render.counts(planned), Line("")])
        if command == "up":
            guard.refuse_losses(planned)
        if self.access.mode == "aws":
            from ops import approvals

            approvals.require(self.access, command, update.plan_hash(planned), self.kind)
        self._agree(command, planned.changes, yes=yes)
        if command == "destroy":
            self._bring_home()
        program.refuse_changed(self.access, previewed)
        report = self._update(command, options, dry_run=False)
        if verify and report.result == "succeeded":
            report = update.with_verification(report, self._verify())
        self._show(report)
        return report, update.exit_code(report, detailed=detailed)

    def destroy(
        self, options: update.Options, *, yes: bool, unprotect: bool, detailed: bool = False
    ) -> ExitCode:
        """Preview, ask and delete; `unprotect` takes protection off, once that is agreed to."""
        guard.refuse_unattended_teardown(self.header)
        if unprotect:
            guard.refuse_unprotecting(self.header)
            return self._destroy_protected(options, yes=yes, detailed=detailed)
        return self.change("destroy", options, yes=yes, detailed=detailed)[1]

    def adopt(self, import_file: Path | None) -> ExitCode:
        """Look for what `up` would create and is there already; write what imports it."""
        from ops import adopt, live, update

        log = adopt.PlannedInputs()
        with (
            open_to_look(self.access, self.kind) as stack,
            self.setting.terminal.progress(f"previewing {self.header.stack}") as watch,
        ):
            planned = update.run(
                stack,
                "preview",
                header=self.header,
                options=update.Options(),
                log=log,
                watch=watch,
                tell=self.setting.terminal.note,
            )
        if planned.result == "failed":
            self._show(self._explained(planned))
            return update.exit_code(planned)
        account = live.Account(
            self.access.client, self.access.environment, self.access.settings.account_id
        )
        adoptions = adopt.plan(log.program, account)
        report = adopt.report(self.header, log.program, adoptions, import_file)
        self.setting.show(report, render.adoption(report), render.markdown_adoption(report))
        return adopt.exit_code(report)

    def _destroy_protected(self, options: update.Options, *, yes: bool, detailed: bool) -> ExitCode:
        from ops import protection, update

        held = protection.entries(self.stack, options.targets)
        guarded = protection.protected(held)
        if not guarded:
            return self.change("destroy", options, yes=yes, detailed=detailed)[1]
        # What is protected fails the engine's preview: the plan is what the state holds.
        plan = protection.deletions(held)
        tree = () if yes else render.tree(plan)
        self.setting.aside([*tree, *render.unprotecting(len(plan), len(guarded))])
        self._agree("destroy", len(plan), yes=yes)
        self._bring_home()
        # Only what is there: a destroy that is run again makes nothing that it would then delete.
        there = update.Options(targets=tuple(entry["urn"] for entry in held))
        with protection.teardown_settings(self.access, self.kind) as (stack, file):
            there = replace(there, config_file=str(file) if file else None)
            prepared = self._update("up", there, dry_run=False, stack=stack)
        if prepared.result == "failed":
            self._show(prepared)
            return update.exit_code(prepared)
        with protection.unmarked(self.stack, guarded, self.setting.terminal.note):
            return self.change("destroy", options, yes=True, detailed=detailed)[1]

    def _refuse_forgetting(self) -> None:
        """Refuse to forget creations of which something may be there: the CLI does not look."""
        from ops import pending

        deployment = exported(self.stack).get("deployment") or {}
        entries = deployment.get("resources") or ()
        pending.refuse_forgetting(self.access, entries, pending.creations(deployment))

    def _bring_home(self) -> None:
        """Take a bootstrap's state out of the bucket that goes with it."""
        if self.kind == "bootstrap":
            from ops import bootstrap_retire

            bootstrap_retire.refuse_to_strand_account(self.access)
            bootstrap_retire.bring_home(self.access)
            self.__dict__.pop("stack", None)

    def _agree(self, command: update.Command, number: int, *, yes: bool) -> None:
        terminal = self.setting.terminal
        guard.confirm(
            self.header,
            f"{command} {self.header.stack} ({number} change{'' if number == 1 else 's'})",
            yes=yes,
            ask=terminal.ask if terminal.interactive else None,
            by_name=guard.needs_name(self.header, command),
        )

    def _update(
        self,
        command: update.Command,
        options: update.Options,
        *,
        dry_run: bool,
        stack: Stack | None = None,
    ) -> UpdateReport:
        from ops import update

        stack = stack or self.stack
        label = f"previewing {command}" if dry_run and command != "preview" else command
        held = nullcontext() if dry_run else self._held(command)
        with held, self.setting.terminal.progress(f"{label} {self.header.stack}") as watch:
            report = update.run(
                stack,
                command,
                header=self.header,
                options=options,
                log=self._log(dry_run=dry_run),
                watch=watch,
                tell=self.setting.terminal.note,
            )
        return report if report.result == "succeeded" else self._explained(report)

    @contextmanager
    def _held(self, command: update.Command) -> Iterator[None]:
        """Hold the environment's lock, where its bootstrap has made one.

        Pulumi's own lock tells two updates apart, and no update from an operation of ops.
        """
        from ops import journal, lock
        from ops.foundation import NoFoundationError, foundation

        try:
            table = foundation(self.access).lock_table if self.kind == "environment" else ""
        except NoFoundationError:
            table = ""
        if not table:
            yield
            return
        now = dt.datetime.now(tz=dt.UTC)
        run = journal.run_id(command, self.access.environment, now, secrets.token_hex(2))
        holder = lock.Holder.this_process(run, command, lock.operator(self.access), now)
        with lock.environment_lock(self.access, table).hold(holder):
            yield

    def _explained(self, report: UpdateReport) -> UpdateReport:
        """Add to a failure what the engine cannot know: that its cloud ended, or our options."""
        if self.access.mode == "aws":
            return report
        from ops import sandbox, update

        reason = sandbox.cloud_is_gone(self.access)
        if report.command == "destroy" and update.is_protected(report):
            reason = "Give --unprotect to delete protected resources of the sandbox, too."
        return update.with_error(report, reason) if reason else report

    def _verify(self) -> Verification:
        from ops import update

        with self.setting.terminal.progress(f"verifying {self.header.stack}") as watch:
            log = self._log(dry_run=True)
            return update.verify(self.stack, header=self.header, log=log, watch=watch)

    def _log(self, *, dry_run: bool) -> UpdateLog:
        return update_log(self.access, dry_run=dry_run)

    def _show(self, report: UpdateReport) -> None:
        self.setting.show(
            report,
            render.update(report, diff=self.diff),
            render.markdown(report, diff=self.diff),
        )


def update_log(access: Access, *, dry_run: bool) -> UpdateLog:
    """Give the log of an update, which knows what is only recorded in the sandbox."""
    if access.mode == "aws":
        return UpdateLog(dry_run=dry_run)
    from ops.sandbox import recorded_types

    return UpdateLog(dry_run=dry_run, is_recorded=recorded_types(access))


def show_outputs(
    setting: Setting, environment: str, kind: StackKind, *, show_secrets: bool
) -> ExitCode:
    """`ops outputs`."""
    from ops.update import outputs_of

    access = setting.access(environment, state_only=True)
    header = access.header(kind)
    setting.announce(header)
    stack = open_stack(access, kind, create=False)
    outputs = outputs_of(stack, show_secrets=show_secrets)
    report = OutputsReport(header=header, outputs=outputs)
    setting.show(report, render.outputs_report(report), render.markdown_outputs(report))
    return ExitCode.OK


def setup_parameters(setting: Setting, environment: str, *, dry_run: bool, yes: bool) -> ExitCode:
    """`ops params setup`."""
    from ops.parameters import setup

    access = setting.access(environment)
    header = access.header()
    setting.announce(header)
    plan = setup.prepare(access.client, access.settings)
    planned = setup.planned(plan, header)
    terminal = setting.terminal
    if dry_run or not plan.to_create:
        setting.show(planned, render.parameters(planned), render.markdown_parameters(planned))
        return setup.exit_code(planned)
    setting.aside(render.parameters(planned))
    guard.confirm(
        header,
        f"create {len(plan.to_create)} parameters under {plan.path}",
        yes=yes,
        ask=terminal.ask if terminal.interactive else None,
        by_name=guard.needs_name(header, "params"),
    )
    report = setup.act(
        access.client,
        access.settings,
        plan,
        header,
        lambda result: terminal.note(f"{result.outcome} {result.name}"),
    )
    setting.show(report, render.parameters(report), render.markdown_parameters(report))
    return setup.exit_code(report)


def show_runs(setting: Setting, environment: str) -> ExitCode:
    """`ops runs list`."""
    from ops import operation, render_run

    access, header = operation.open_environment(setting, environment)
    found = operation.runs(access)
    report = render_run.runs_report(header, found)
    setting.show(report, render_run.runs(found))
    return ExitCode.OK


def show_run(setting: Setting, run: str) -> ExitCode:
    """`ops runs show`."""
    from ops import operation, render_run

    access, header = operation.open_environment(setting, operation.environment_of(run))
    found = operation.find_run(access, run)
    setting.show(render_run.run_record(header, found), render_run.record(found))
    return ExitCode.OK


def show_lock(setting: Setting, environment: str) -> ExitCode:
    """`ops lock status`: exit code 3 where somebody holds it."""
    from ops import locking, operation, render_run

    access, header = operation.open_environment(setting, environment)
    report = locking.status(access, header)
    setting.show(report, render_run.lock_status(report))
    return ExitCode.FINDINGS if report.held else ExitCode.OK


def release_lock(setting: Setting, environment: str, *, run: str | None, yes: bool) -> ExitCode:
    """`ops lock release`."""
    from ops import locking, operation, render_run

    access, header = operation.open_environment(setting, environment)
    report = locking.status(access, header)
    setting.aside(render_run.lock_status(report))
    terminal = setting.terminal
    locking.refuse_release(report, run, yes=yes)
    guard.confirm(
        header,
        f"release the lock of {environment}",
        yes=yes,
        ask=terminal.ask if terminal.interactive else None,
        by_name=True,
    )
    terminal.text(locking.release(access, report))
    return ExitCode.OK


def release_update(setting: Setting, environment: str, kind: StackKind, *, yes: bool) -> ExitCode:
    """`ops lock release --pulumi`: the lock of one stack, and of no other."""
    from ops import engine_lock, operation

    access, header = operation.open_environment(setting, environment, kind)
    held = engine_lock.look(access, kind)
    setting.aside(engine_lock.lines(held))
    terminal = setting.terminal
    engine_lock.refuse_release(access, held, yes=yes)
    guard.confirm(
        header,
        f"release Pulumi's lock of {held.stack}",
        yes=False,
        ask=terminal.ask if terminal.interactive else None,
        by_name=True,
    )
    terminal.text(engine_lock.release(access, kind, held))
    return ExitCode.OK


def examine(setting: Setting, environment: str) -> ExitCode:
    """`ops doctor`."""
    from ops import checks
    from ops.doctor import examination

    report = examination.examine(setting, environment)
    if report.header:
        setting.announce(report.header)
    found = report.checks
    junit = checks.junit(f"ops doctor {environment}", found)
    setting.show(report, checks.lines(found), checks.markdown(found), junit=junit)
    return examination.exit_code(report)


def approve(
    setting: Setting, environment: str, command: str, plan_hash: str, *, hours: float, reason: str
) -> ExitCode:
    """`ops approve`."""
    from ops import approvals

    access = _reached(setting, environment)
    given = approvals.give(access, command, plan_hash, hours=hours, reason=reason)
    _show_approvals(setting, approvals.report(access, "approve", given))
    return ExitCode.OK


def show_approvals(setting: Setting, environment: str) -> ExitCode:
    """`ops approvals list`."""
    from ops import approvals

    access = _reached(setting, environment)
    found, unusable = approvals.listed(access)
    _show_approvals(setting, approvals.report(access, "approvals list", found, unusable))
    return ExitCode.OK


def revoke_approval(setting: Setting, environment: str, plan_hash: str) -> ExitCode:
    """`ops approvals revoke`."""
    from ops import approvals

    access = _reached(setting, environment)
    left = approvals.revoke(access, plan_hash)
    _show_approvals(setting, approvals.report(access, "approvals revoke", left))
    return ExitCode.OK


def _show_approvals(setting: Setting, report: ApprovalReport) -> None:
    from ops import approvals

    setting.show(report, approvals.lines(report))


def _reached(setting: Setting, environment: str) -> Access:
    from ops import operation

    return operation.open_environment(setting, environment)[0]


def check_settings(setting: Setting, environment: str | None) -> ExitCode:
    """`ops settings check`; no environment stands for all."""
    from ops.settings import check

    environments = [environment] if environment else []
    today = dt.datetime.now(tz=dt.UTC).date()
    report = check(environments, setting.root, today)
    setting.show(report, render.settings(report))
    return ExitCode.OK if report.holds else ExitCode.FINDINGS


def show_sandbox(setting: Setting) -> ExitCode:
    """`ops sandbox status`."""
    from ops import sandbox

    report = sandbox.status(setting.root)
    setting.show(report, render.sandbox(report))
    return ExitCode.OK


def reset_sandbox(setting: Setting, environment: str | None, *, yes: bool) -> ExitCode:
    """`ops sandbox reset`; no environment stands for everything."""
    from ops import sandbox

    terminal = setting.terminal
    if environment is not None:
        terminal.text(sandbox.reset_environment(setting.root, environment))
        return ExitCode.OK
    if not yes:
        _agree_to_losses(setting, "forget the sandbox")
    terminal.text(sandbox.reset(setting.root))
    return ExitCode.OK


def stop_sandbox(setting: Setting, *, yes: bool) -> ExitCode:
    """`ops sandbox stop`."""
    from ops import sandbox

    if not yes:
        _agree_to_losses(setting, "stop the sandbox's cloud")
    setting.terminal.text(sandbox.stop(setting.root))
    return ExitCode.OK


def _agree_to_losses(setting: Setting, action: str) -> None:
    """Ask before what the sandbox's stacks hold is lost; not where they hold nothing."""
    from ops import sandbox

    terminal = setting.terminal
    report = sandbox.status(setting.root)
    number = sum(stack["resources"] for stack in report.stacks)
    if number:
        guard.agree(
            f"{action} in {report.home} with its {number} resources",
            yes=False,
            ask=terminal.ask if terminal.interactive else None,
        )


def configure_sandbox(setting: Setting, environment: str, request: Any) -> ExitCode:
    """`ops sandbox config`: overrides of a stack's configuration that no stack file sees."""
    from ops.overrides import apply

    access = setting.access(environment, state_only=True)
    setting.announce(access.header())
    setting.terminal.result(apply(access, request))
    return ExitCode.OK


def start_sandbox(setting: Setting, environment: str) -> ExitCode:
    """`ops sandbox start`: account, bootstrap, environment, parameters, then what was made."""
    from ops.update import Options

    terminal = setting.terminal
    accesses.require_environment(environment)
    setting = replace(setting, closing=False)
    made: list[UpdateReport] = []
    kinds: tuple[StackKind, ...] = ("account", "bootstrap", "environment")
    for kind in kinds:
        command = StackCommand(setting, environment, kind)
        report, code = command.change("up", Options(), yes=True, verify=True)
        if code is not ExitCode.OK:
            return code
        made.append(report)
        terminal.note("")
    code = setup_parameters(setting, environment, dry_run=False, yes=True)
    if code is not ExitCode.OK:
        return code
    terminal.result(render.standing(made, _endpoint(setting)))
    return ExitCode.OK


def _endpoint(setting: Setting) -> str:
    from ops import sandbox

    return sandbox.status(setting.root).endpoint

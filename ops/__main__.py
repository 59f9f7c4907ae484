# ruff: noqa: PLR0913 - a command's options are its function's arguments
"""`ops`: what operators type. The only module that parses arguments and gives exit codes.

What is slow to load is imported by the command that needs it, so that `ops --help` is quick.
"""

from __future__ import annotations

import errno
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from ops import signals
from ops.errors import ExitCode, OpsError, UsageError

try:
    import typer
except ModuleNotFoundError:
    sys.exit(
        "error: ops needs the packages of the extra `deploy`, which are not installed.\n"
        "       Nothing was run. Run `make sandbox`, or: pip install '.[deploy,sandbox]'"
    )

if TYPE_CHECKING:
    from ops.commands import Form, Setting, StackCommand
    from ops.terminal import Terminal
    from ops.update import Options

_INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt
_OWN_PACKAGES = ("components", "infra", "ops", "stacks")
_STACK_COMMANDS = (
    *("adopt", "approvals", "approve", "backup", "backups", "bootstrap", "deploy", "destroy"),
    *("doctor", "env", "lock", "outputs", "params", "preview", "refresh", "restore", "resume"),
    *("runs", "scale", "teardown", "up"),
)
"""What `--sandbox` goes before; not `start` and `stop`, which the sandbox has as well."""


def _group(help_: str) -> typer.Typer:
    return typer.Typer(
        help=help_,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


app = _group(
    "Operate the environments dev, uat and prod: on AWS, or with --sandbox rehearsed on this "
    "machine, which needs no account and no Pulumi CLI."
)
_sandbox = _group("The sandbox: a cloud and an engine on this machine.")
_settings = _group("The stack files Pulumi.ENV.yaml.")
_params = _group("The application's parameters in the Parameter Store.")
_runs = _group("What was run, by whom, and how it ended: the journal.")
_lock = _group("The lock of an environment.")
_approvals = _group("The second approvals of changes of production.")
_backups = _group("The backups of an environment.")
app.add_typer(_backups, name="backups")
app.add_typer(_runs, name="runs")
app.add_typer(_lock, name="lock")
app.add_typer(_approvals, name="approvals")
app.add_typer(_settings, name="settings")
app.add_typer(_params, name="params")
app.add_typer(_sandbox, name="sandbox")


class _Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    MD = "md"


class _ChecksForm(StrEnum):
    TABLE = "table"
    JSON = "json"
    MD = "md"
    JUNIT = "junit"


class _Kind(StrEnum):
    ENVIRONMENT = "environment"
    BOOTSTRAP = "bootstrap"
    ACCOUNT = "account"


_Environment = Annotated[str, typer.Argument(metavar="ENV", help="dev, uat or prod.")]
_OneEnvironment = Annotated[
    str | None, typer.Argument(metavar="[ENV]", help="dev, uat or prod.", show_default=False)
]
_Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name: see ops runs list.")]
_OutputOption = Annotated[
    _Form,
    typer.Option("--output", "-o", metavar="table|json|md", help="The result's form."),
]
_ChecksOption = Annotated[
    _ChecksForm,
    typer.Option("--output", "-o", metavar="table|json|md|junit", help="The result's form."),
]
_JsonOption = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
_StackOption = Annotated[
    _Kind,
    typer.Option(
        "--stack",
        metavar="environment|bootstrap|account",
        help="The environment, what outlives it, or what its account has once.",
    ),
]
_DiffOption = Annotated[bool, typer.Option("--diff", help="Show every property, old and new.")]
_DetailedOption = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 3 if there are changes.")
]
_TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", metavar="URN", help="Only this resource; repeatable."),
]
_DependentsOption = Annotated[
    bool, typer.Option("--target-dependents", help="Also what depends on the targets.")
]
_RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="Read everything back from the cloud first.")
]
_ParallelOption = Annotated[
    int | None,
    typer.Option("--parallel", "-p", min=1, metavar="N", help="So many operations at once."),
]
_YesOption = Annotated[
    bool, typer.Option("--yes", "-y", "--auto-approve", help="Do not ask: for scripts.")
]
_PlanHashOption = Annotated[
    str, typer.Option("--plan-hash", metavar="HASH", help="The plan's hash, as it is shown.")
]
_WaitOption = Annotated[
    float,
    typer.Option("--wait", min=0.0, metavar="MINUTES", help="Wait for each thing at most so long."),
]
_VerifyOption = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Read everything back afterwards.")
]


@dataclass
class _Globals:
    sandbox: bool = False
    root: Path | None = None
    debug: bool = False


@app.callback()
def _global_options(
    context: typer.Context,
    *,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Rehearse on this machine: nothing is billed.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="FOLDER", help="The project; by default found from here upward."
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    context.obj = _Globals(sandbox, root, debug)


# Stacks --------------------------------------------------------------------------------------


@app.command()
def preview(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    diff: _DiffOption = False,
    detailed_exitcode: _DetailedOption = False,
    target: _TargetOption = None,
    target_dependents: _DependentsOption = False,
    refresh: _RefreshOption = False,
    parallel: _ParallelOption = None,
) -> None:
    """Show what `up` would change; change nothing."""
    options = _options(target, parallel, dependents=target_dependents, refresh=refresh)
    command = _command(context, environment, stack, _form(output, json=json), diff=diff)
    _end(command.preview(options, detailed=detailed_exitcode))


@app.command()
def up(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    diff: _DiffOption = False,
    detailed_exitcode: _DetailedOption = False,
    target: _TargetOption = None,
    target_dependents: _DependentsOption = False,
    refresh: _RefreshOption = False,
    parallel: _ParallelOption = None,
    verify: _VerifyOption = True,
    yes: _YesOption = False,
) -> None:
    """Create and change what the program declares: preview, ask, act, verify."""
    options = _options(target, parallel, dependents=target_dependents, refresh=refresh)
    command = _command(context, environment, stack, _form(output, json=json), diff=diff)
    _end(command.change("up", options, yes=yes, verify=verify, detailed=detailed_exitcode)[1])


@app.command()
def refresh(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    diff: _DiffOption = False,
    detailed_exitcode: _DetailedOption = False,
    target: _TargetOption = None,
    target_dependents: _DependentsOption = False,
    clear_pending_creates: Annotated[
        bool,
        typer.Option(
            "--clear-pending-creates",
            help="Forget interrupted creations, once nothing of them is there.",
        ),
    ] = False,
    parallel: _ParallelOption = None,
    yes: _YesOption = False,
) -> None:
    """Bring the state in line with the cloud; change nothing in the cloud."""
    options = _options(
        target,
        parallel,
        dependents=target_dependents,
        clear_pending_creates=clear_pending_creates,
    )
    command = _command(context, environment, stack, _form(output, json=json), diff=diff)
    _end(command.change("refresh", options, yes=yes, detailed=detailed_exitcode)[1])


@app.command()
def destroy(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    diff: _DiffOption = False,
    detailed_exitcode: _DetailedOption = False,
    target: _TargetOption = None,
    target_dependents: _DependentsOption = False,
    refresh: _RefreshOption = False,
    unprotect: Annotated[
        bool,
        typer.Option("--unprotect", help="Also what is protected; in the sandbox only."),
    ] = False,
    parallel: _ParallelOption = None,
    yes: _YesOption = False,
) -> None:
    """Delete everything the stack has made; asks for the environment's name."""
    if unprotect and target_dependents:
        raise UsageError(
            "--unprotect and --target-dependents exclude each other: what is protected among the "
            "dependents would stay so. Nothing was run. Name every target, or give none."
        )
    options = _options(target, parallel, dependents=target_dependents, refresh=refresh)
    command = _command(context, environment, stack, _form(output, json=json), diff=diff)
    _end(command.destroy(options, yes=yes, unprotect=unprotect, detailed=detailed_exitcode))


@app.command()
def adopt(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    plan: Annotated[
        bool, typer.Option("--plan", help="Plan only; required, since it never does more.")
    ] = False,
    import_file: Annotated[
        Path | None,
        typer.Option(
            "--import-file",
            metavar="FILE",
            help="Write what `pulumi import --file` takes; FILE must not be there yet.",
        ),
    ] = None,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Plan the adoption of what another tool has made: find it by name, give its import ids."""
    from ops.adopt import refuse_to_apply

    refuse_to_apply(planned=plan)
    command = _command(context, environment, stack, _form(output, json=json), diff=False)
    _end(command.adopt(import_file))


@app.command()
def outputs(
    context: typer.Context,
    environment: _Environment,
    *,
    stack: _StackOption = _Kind.ENVIRONMENT,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Show secrets in plain text.")
    ] = False,
) -> None:
    """Show what a deployed stack exports."""
    from ops.commands import show_outputs

    setting = _setting(context, _form(output, json=json))
    _end(show_outputs(setting, environment, stack.value, show_secrets=show_secrets))


@app.command()
def env(context: typer.Context, environment: _Environment) -> None:
    """Print lines for a shell: eval "$(ops env dev)"; on AWS assume the deploy role, too."""
    from ops.access import load_settings
    from ops.shell import lines

    setting = _setting(context)
    access = setting.access(environment) if setting.sandbox else None
    exports, notes = lines(load_settings(setting.root, environment), access)
    setting.terminal.note(*notes)
    setting.terminal.text("\n".join(exports))


@app.command()
def version() -> None:
    """Show the versions of ops and of what it stands on."""
    from ops.terminal import Terminal
    from ops.versions import versions

    Terminal().text("\n".join(f"{name:<11} {number}" for name, number in versions().items()))


# Bootstrap -----------------------------------------------------------------------------------


@app.command()
def bootstrap(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="ENV|account", help="dev, uat or prod; or the account.")
    ],
    *,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="ENV",
            help="With account: an environment of the one that is meant, where there are several.",
        ),
    ] = None,
    move_to: Annotated[
        str | None,
        typer.Option(
            "--move-to",
            metavar="ENV",
            help="With account: keep its state in this environment's bucket from now on.",
        ),
    ] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why: it is kept.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    plan_hash: _PlanHashOption = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Make what outlives an environment, or what its account has once; keep its state there."""
    from ops import bootstrap as command
    from ops.operation import Consent

    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    if target == "account":
        _end(command.bootstrap_account(setting, environment, move_to, consent))
    if environment or move_to:
        raise UsageError(
            "--environment and --move-to go with `ops bootstrap account` only. Nothing was done."
        )
    _end(command.bootstrap(setting, target, consent))


# Runs and locks ------------------------------------------------------------------------------


@app.command()
def resume(
    context: typer.Context,
    run_: _Run,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Go on with a run that was killed, cancelled or failed: what was agreed to, nothing else."""
    from ops import operation

    _end(operation.resume(_setting(context, _form(output, json=json)), run_, yes=yes))


@_runs.command("list")
def runs_list(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """List who ran what on an environment, and what did not finish."""
    from ops.commands import show_runs

    _end(show_runs(_setting(context, _form(output, json=json)), environment))


@_runs.command("show")
def runs_show(
    context: typer.Context,
    run_: _Run,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Show everything that is written down about a run."""
    from ops.commands import show_run

    _end(show_run(_setting(context, _form(output, json=json)), run_))


@_lock.command("status")
def lock_status(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Tell who works on an environment: exits with 3 where somebody does."""
    from ops.commands import show_lock

    _end(show_lock(_setting(context, _form(output, json=json)), environment))


@_lock.command("release")
def lock_release(
    context: typer.Context,
    environment: _Environment,
    *,
    run_: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="The run that is to hold it.")
    ] = None,
    pulumi: Annotated[
        bool, typer.Option("--pulumi", help="Pulumi's own lock, which a killed update has left.")
    ] = False,
    stack: _StackOption = _Kind.ENVIRONMENT,
    yes: _YesOption = False,
) -> None:
    """Take the lock away from a run that certainly is no more; asks for the environment's name."""
    from ops.commands import release_lock, release_update

    if pulumi and run_ is not None:
        raise UsageError("Pulumi's lock is of no run: --run does not go with --pulumi.")
    if pulumi:
        _end(release_update(_setting(context), environment, stack.value, yes=yes))
    if stack is not _Kind.ENVIRONMENT:
        raise UsageError("--stack goes with --pulumi: the operators' lock is of the environment.")
    _end(release_lock(_setting(context), environment, run=run_, yes=yes))


# The doctor ----------------------------------------------------------------------------------


@app.command()
def doctor(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _ChecksOption = _ChecksForm.TABLE,
    json: _JsonOption = False,
) -> None:
    """Look at everything that a command stands on, here and in the account; change nothing."""
    from ops.commands import examine

    _end(examine(_setting(context, _checks_form(output, json=json)), environment))


# Deployments ---------------------------------------------------------------------------------


@app.command()
def deploy(
    context: typer.Context,
    environment: _Environment,
    *,
    target: Annotated[
        str,
        typer.Option("--target", metavar="all|infrastructure", help="What is to stand afterwards."),
    ] = "all",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    plan_hash: Annotated[
        str, typer.Option("--plan-hash", metavar="HASH", help="Only the plan of this hash.")
    ] = "",
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why: it is kept.")] = "",
    yes: _YesOption = False,
) -> None:
    """Examine, preview, bring up, make missing parameters, look at all of it; journalled."""
    from ops.deploy import deploy
    from ops.operation import Consent

    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    _end(deploy(_setting(context, _form(output, json=json)), environment, target, consent))


# Approvals -----------------------------------------------------------------------------------


@app.command()
def approve(
    context: typer.Context,
    environment: _Environment,
    *,
    command: Annotated[
        str, typer.Option("--command", metavar="NAME", help="What may be run: stop, up, deploy.")
    ],
    plan_hash: _PlanHashOption,
    hours: Annotated[
        float, typer.Option("--hours", metavar="N", help="How long it holds; at most 24.")
    ] = 4.0,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Agree to a plan that somebody else is to run on production, and to that one only."""
    from ops.commands import approve

    setting = _setting(context, _form(output, json=json))
    _end(approve(setting, environment, command, plan_hash, hours=hours, reason=reason))


@_approvals.command("list")
def approvals_list(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """List who has agreed to which plan, and until when."""
    from ops.commands import show_approvals

    _end(show_approvals(_setting(context, _form(output, json=json)), environment))


@_approvals.command("revoke")
def approvals_revoke(
    context: typer.Context,
    environment: _Environment,
    *,
    plan_hash: _PlanHashOption,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Take an approval back: it ends now."""
    from ops.commands import revoke_approval

    setting = _setting(context, _form(output, json=json))
    _end(revoke_approval(setting, environment, plan_hash))


# Backups and restores ------------------------------------------------------------------------


class _Part(StrEnum):
    PARAMETERS = "parameters"
    KUBERNETES = "kubernetes"
    DATABASES = "databases"


_WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why: it is kept.")]
_DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")]


@app.command()
def backup(
    context: typer.Context,
    environment: _Environment,
    *,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="kubernetes|database:NAME",
            help="Leave the cluster's objects, or a database that is lost, out on purpose; "
            "repeatable.",
        ),
    ] = None,
    why: _WhyOption = "",
    dry_run: _DryRunOption = False,
    plan_hash: _PlanHashOption = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Back up state, parameters, the cluster's objects and databases; read it back and verify."""
    from ops.backup.command import OPERATION
    from ops.backup.steps import refuse_without
    from ops.operation import Consent, perform

    left_out = sorted(set(without or ()))
    refuse_without(left_out)
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    arguments = {"without": left_out} if left_out else {}
    _end(perform(setting, OPERATION, environment, arguments, consent))


@app.command()
def restore(
    context: typer.Context,
    environment: _Environment,
    *,
    backup_: Annotated[
        str,
        typer.Option(
            "--from", metavar="BACKUP", help="Which backup, or latest: see ops backups list."
        ),
    ],
    only: Annotated[
        list[_Part] | None,
        typer.Option(
            "--only", metavar="parameters|kubernetes|databases", help="A part of it; repeatable."
        ),
    ] = None,
    database: Annotated[
        list[str] | None,
        typer.Option("--database", metavar="NAME", help="Only this database; repeatable."),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Restored databases become the live ones."),
    ] = False,
    map_namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--map-namespace", metavar="OLD=NEW", help="Restore into another namespace; repeatable."
        ),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Although a restore from it was begun: see ops runs.")
    ] = False,
    empty_database: Annotated[
        list[str] | None,
        typer.Option(
            "--empty-database",
            metavar="NAME",
            help="Make an environment again with this database new and empty; repeatable.",
        ),
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Onto a copy, checked, measured and removed.")
    ] = False,
    why: _WhyOption = "",
    dry_run: _DryRunOption = False,
    plan_hash: _PlanHashOption = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Restore what is gone, missing or other than in a backup; no live database is replaced."""
    from ops.operation import Consent, perform
    from ops.restore import command, rehearsal
    from ops.restore.steps import arguments

    given = arguments(
        backup_,
        only=[part.value for part in only or ()],
        databases=database or (),
        take_over=take_over,
        map_namespaces=map_namespace or (),
        rehearse=rehearse,
        anew=anew,
        empty_databases=empty_database or (),
    )
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    operation = rehearsal.OPERATION if rehearse else command.OPERATION
    _end(perform(setting, operation, environment, given, consent))


@_backups.command("list")
def backups_list(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """List an environment's backups: whole, verified, proven by a restore."""
    from ops.backup import listing

    _end(listing.show(_setting(context, _form(output, json=json)), environment))


@_backups.command("verify")
def backups_verify(
    context: typer.Context,
    environment: _Environment,
    backup_: Annotated[
        str | None,
        typer.Argument(metavar="[BACKUP]", help="By default the newest.", show_default=False),
    ] = None,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Read a backup back whole: checksums, decryption, snapshots and keys."""
    from ops.backup import listing

    setting = _setting(context, _form(output, json=json))
    _end(listing.verify(setting, environment, backup_))


@_backups.command("prune")
def backups_prune(
    context: typer.Context,
    environment: _Environment,
    *,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, metavar="N", help="Keep so many of the newest.")
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", min=1, metavar="DAYS", help="Only what is older."),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Also what runs that did not finish have left.")
    ] = False,
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="backup=NUMBER", help="Raise the cap."),
    ] = None,
    why: _WhyOption = "",
    dry_run: _DryRunOption = False,
    plan_hash: _PlanHashOption = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Remove old backups; never the last good one, nor a database's only snapshot."""
    from ops.backup.prune import OPERATION, raised
    from ops.operation import Consent, perform

    if keep is None and older_than is None:
        raise UsageError("Give --keep N, --older-than DAYS, or both. Nothing was removed.")
    arguments = {
        "keep": keep,
        "older_than_days": older_than,
        "incomplete": incomplete,
        "max": raised(maximum or ()),
    }
    given = {key: value for key, value in arguments.items() if value}
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    _end(perform(setting, OPERATION, environment, given, consent))


# Stop and start ------------------------------------------------------------------------------


@app.command()
def stop(
    context: typer.Context,
    environment: _Environment,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why: everybody who looks sees it.")] = "",
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="TIME", help="When it is meant to be over; nothing starts by itself."
        ),
    ] = "",
    wait: _WaitOption = 60.0,
    dry_run: _DryRunOption = False,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Stop everything that computes, at once: nodes, instances, databases. Deletes nothing."""
    from datetime import UTC, datetime

    from ops import stop as command
    from ops.access import require_environment
    from ops.operation import Consent, perform

    require_environment(environment)
    asked = command.arguments(
        environment, reason=reason, until=until, wait_minutes=wait, now=datetime.now(tz=UTC)
    )
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=reason, dry_run=dry_run)
    _end(perform(setting, command.OPERATION, environment, asked, consent))


@app.command()
def start(
    context: typer.Context,
    environment: _Environment,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    wait: _WaitOption = 60.0,
    dry_run: _DryRunOption = False,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Give a stopped environment back what ran before, exactly."""
    from ops.operation import Consent, perform
    from ops.start import OPERATION

    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=reason, dry_run=dry_run)
    _end(perform(setting, OPERATION, environment, {"wait_minutes": wait}, consent))


@app.command()
def scale(
    context: typer.Context,
    environment: _Environment,
    *,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Whose workloads.")
    ],
    replicas: Annotated[
        int | None, typer.Option("--replicas", min=0, metavar="N", help="How many each is to have.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Give back the replicas from before.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    dry_run: _DryRunOption = False,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Scale the Deployments and StatefulSets of a namespace, and back; not in production."""
    from ops import scale as command
    from ops.access import require_environment
    from ops.operation import Consent, perform

    require_environment(environment)
    asked = command.arguments(environment, namespace=namespace, replicas=replicas, restore=restore)
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=reason, dry_run=dry_run)
    _end(perform(setting, command.OPERATION, environment, asked, consent))


# Teardown ------------------------------------------------------------------------------------


class _Pods(StrEnum):
    EVICT = "evict"
    DELETE = "delete"


@app.command()
def teardown(
    context: typer.Context,
    environment: _Environment,
    *,
    bootstrap_too: Annotated[
        bool,
        typer.Option(
            "--bootstrap",
            help="When the environment is gone: also what outlives it, state and backups.",
        ),
    ] = False,
    without_cluster: Annotated[
        bool,
        typer.Option(
            "--without-cluster", help="Do not clean the cluster up: it can never be reached again."
        ),
    ] = False,
    pods: Annotated[
        _Pods,
        typer.Option(metavar="evict|delete", help="Keep disruption budgets, or do not."),
    ] = _Pods.EVICT,
    max_: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="KIND=NUMBER", help="Raise a cap; repeatable."),
    ] = None,
    why: _WhyOption = "",
    dry_run: _DryRunOption = False,
    plan_hash: _PlanHashOption = "",
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    yes: _YesOption = False,
) -> None:
    """Take an environment down whole: back up and verify, clean up, destroy, look again."""
    from ops.operation import Consent, perform
    from ops.teardown import caps, command, retirement

    raised = caps.parse(max_ or ())
    operation, arguments = (
        (retirement.OPERATION, {"max": raised})
        if bootstrap_too
        else (
            command.OPERATION,
            {"without_cluster": without_cluster, "pods": pods.value, "max": raised},
        )
    )
    setting = _setting(context, _form(output, json=json))
    consent = Consent(yes=yes, why=why, dry_run=dry_run, plan_hash=plan_hash)
    _end(perform(setting, operation, environment, arguments, consent))


# Settings and parameters ---------------------------------------------------------------------


@_settings.command("check")
def settings_check(
    context: typer.Context,
    environment: _OneEnvironment = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Check every environment.")] = False,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
) -> None:
    """Check a stack file, and how it goes with the others."""
    from ops.commands import check_settings

    if all_ == (environment is not None):
        raise UsageError("Name one environment or give --all. Nothing was checked.")
    _end(check_settings(_setting(context, _form(output, json=json)), environment))


@_params.command("setup")
def params_setup(
    context: typer.Context,
    environment: _Environment,
    *,
    output: _OutputOption = _Form.TABLE,
    json: _JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    yes: _YesOption = False,
) -> None:
    """Create the parameters that operators own and that are missing; change no other."""
    from ops.commands import setup_parameters

    setting = _setting(context, _form(output, json=json))
    _end(setup_parameters(setting, environment, dry_run=dry_run, yes=yes))


# The sandbox ---------------------------------------------------------------------------------


@_sandbox.command("start")
def sandbox_start(context: typer.Context, environment: _Environment) -> None:
    """Stand an environment up: account, bootstrap, environment, parameters; show what there is."""
    from ops.commands import start_sandbox

    _end(start_sandbox(_setting(context, sandbox=True), environment))


@_sandbox.command("status")
def sandbox_status(
    context: typer.Context, *, output: _OutputOption = _Form.TABLE, json: _JsonOption = False
) -> None:
    """Tell whether the sandbox's cloud runs, where, and which stacks there are."""
    from ops.commands import show_sandbox

    _end(show_sandbox(_setting(context, _form(output, json=json), sandbox=True)))


@_sandbox.command("stop")
def sandbox_stop(context: typer.Context, *, yes: _YesOption = False) -> None:
    """Stop the sandbox's cloud; what was in it is gone, the states stay."""
    from ops.commands import stop_sandbox

    _end(stop_sandbox(_setting(context, sandbox=True), yes=yes))


@_sandbox.command("reset")
def sandbox_reset(
    context: typer.Context, environment: _OneEnvironment = None, *, yes: _YesOption = False
) -> None:
    """Stop the cloud and forget every stack; with ENV, forget its stacks whose cloud is gone."""
    from ops.commands import reset_sandbox

    _end(reset_sandbox(_setting(context, sandbox=True), environment, yes=yes))


@_sandbox.command("config")
def sandbox_config(
    context: typer.Context,
    environment: _Environment,
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="One key.", show_default=False)
    ] = None,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="What to set it to.", show_default=False)
    ] = None,
    *,
    path: Annotated[bool, typer.Option("--path", help="KEY is a path such as a.b[0].")] = False,
    secret: Annotated[
        bool, typer.Option("--secret", help="Set a secret; its value is read from stdin.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the key.")] = False,
) -> None:
    """Show or override configuration in the sandbox alone; no stack file is written."""
    from ops.commands import configure_sandbox
    from ops.overrides import Request

    if secret:
        if key is None or value is not None:
            raise UsageError(
                "--secret needs a key and reads the value from stdin, since arguments are seen by "
                "others. Nothing was set."
            )
        value = sys.stdin.readline().rstrip("\n")
    request = Request(key=key, value=value, path=path, secret=secret, remove=remove)
    _end(configure_sandbox(_setting(context, sandbox=True), environment, request))


# What the commands share ---------------------------------------------------------------------


def _setting(
    context: typer.Context, form: _Form | _ChecksForm = _Form.TABLE, *, sandbox: bool = False
) -> Setting:
    from ops.access import find_root
    from ops.commands import Setting
    from ops.terminal import Terminal

    given: _Globals = context.obj
    return Setting(
        sandbox=sandbox or given.sandbox,
        root=find_root(given.root or Path.cwd()),
        terminal=Terminal(),
        form=cast("Form", form.value),
    )


def _command(
    context: typer.Context, environment: str, kind: _Kind, form: _Form, *, diff: bool
) -> StackCommand:
    from ops.commands import StackCommand

    return StackCommand(_setting(context, form), environment, kind.value, diff=diff)


def _options(
    targets: Sequence[str] | None,
    parallel: int | None,
    *,
    dependents: bool,
    refresh: bool = False,
    clear_pending_creates: bool = False,
) -> Options:
    from ops.update import Options

    if dependents and not targets:
        raise UsageError("--target-dependents needs a --target. Nothing was run.")
    return Options(
        targets=tuple(targets or ()),
        target_dependents=dependents,
        clear_pending_creates=clear_pending_creates,
        parallel=parallel,
        refresh=refresh,
    )


def _form(output: _Form, *, json: bool) -> _Form:
    if json and output is _Form.MD:
        raise UsageError("--json and --output md exclude each other. Nothing was run.")
    return _Form.JSON if json else output


def _checks_form(output: _ChecksForm, *, json: bool) -> _ChecksForm:
    if json and output not in (_ChecksForm.TABLE, _ChecksForm.JSON):
        raise UsageError(f"--json and --output {output} exclude each other. Nothing was run.")
    return _ChecksForm.JSON if json else output


def _end(code: ExitCode) -> None:
    raise typer.Exit(int(code))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; give its exit code. No user's mistake ends in a traceback."""
    from ops.terminal import Terminal

    try:
        app(list(arguments), prog_name="ops")
    except SystemExit as end:
        code = _exit_code(end, Terminal())
        if code == ExitCode.USAGE and (meant := _meant(arguments)):
            Terminal().note(f"Did you mean: ops {shlex.join(meant)}")
        return code
    except OpsError as error:
        from ops.access import exit_code_of

        code = exit_code_of(error)
        Terminal().error(str(error))
        if code is ExitCode.NOT_AUTHENTICATED and code is not error.exit_code:
            Terminal().note("The AWS credentials have ended. Sign in, and run it again.")
        return int(code)
    except KeyboardInterrupt:
        Terminal().error("Cancelled.")
        return int(ExitCode.CANCELLED)
    except Exception as error:  # noqa: BLE001 - the last resort: nothing ends in a traceback
        if "--debug" in arguments:
            Terminal().note(*traceback.format_exc().rstrip().splitlines())
        known = _of_engine(error)
        Terminal().error(str(known) if known else _unexpected(error))
        return int(known.exit_code if known else ExitCode.ERROR)
    return int(ExitCode.OK)


def _exit_code(end: SystemExit, terminal: Terminal) -> int:
    code = end.code if isinstance(end.code, int) else 0
    if code != _INTERRUPTED:
        return code
    terminal.error("Cancelled.")
    return int(ExitCode.CANCELLED)


def _meant(arguments: Sequence[str]) -> list[str]:
    """Give the command line that was meant, where the two words "sandbox" were mixed up."""
    commands = [name for name in arguments if name in _STACK_COMMANDS]
    if not commands:
        return []
    before = list(arguments[: arguments.index(commands[0])])
    if before == ["sandbox"] or ("--sandbox" in arguments and "--sandbox" not in before):
        rest = [word for word in arguments if word not in ("sandbox", "--sandbox")]
        return ["--sandbox", *rest]
    return []


def _of_engine(error: Exception) -> OpsError | None:
    """Give what an error of the Automation API means to an operator; None for any other."""
    if "pulumi.automation" not in sys.modules:
        return None
    from ops.update import refusal

    return refusal(error)


def _unexpected(error: Exception) -> str:
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"The disk is full{_where(error)}. What was recorded before is kept. "
                "Free some space, then run the same command again."
            )
        case OSError(strerror=str(reason)):
            return f"{reason}{_where(error)}. The command ended there."
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] not in _OWN_PACKAGES:
            return (
                f"The Python package {name!r} is not installed. Nothing more was done. "
                "Run `make sandbox`, or: pip install '.[deploy,sandbox]'"
            )
        case _:
            return (
                f"Unexpected: {type(error).__name__}: {error}\n"
                "This is a defect of ops. Put --debug before the command to see where it comes "
                "from."
            )


def _where(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


def main() -> None:
    """Run `ops`."""
    signals.end_in_good_order()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

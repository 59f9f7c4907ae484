"""`ops bootstrap`: makes what outlives an environment, and moves its state into what it made.

The stack is brought up with its state on this machine, encrypted by a passphrase. Then that state
is encrypted by the key that the stack has made, copied into the bucket that it has made, compared,
and previewed from there without the passphrase; only then is the old one removed. Each step looks
first and can be done again.

Two machines cannot bootstrap one environment at once, though there is no lock table yet: a
parameter that only one of them can create names the run that has begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import claims, engine_lock, guard, homes, moving, program, stack, update
from ops.access import load_settings, project, stack_name
from ops.checks import Check
from ops.errors import ExitCode, OpsError, RefusedError, UsageError
from ops.execution import Context
from ops.foundation import NoFoundationError, foundation, journal_bucket
from ops.operation import Consent, Operation, Planning, perform
from ops.plan import Data, Plan, Step
from ops.render import Line
from ops.tree import UpdateLog

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from infra.settings import Settings
    from ops.access import Access
    from ops.commands import Setting
    from ops.homes import Home, InlineKind
    from ops.report import UpdateReport

_NAME: Final = "bootstrap"
_ACCOUNT_NAME: Final = "bootstrap account"


def bootstrap(setting: Setting, environment: str, consent: Consent) -> ExitCode:
    """`ops bootstrap ENV`."""
    _require_cli(setting)
    code = perform(setting, OPERATION, environment, {}, consent)
    if code is ExitCode.OK and not consent.dry_run:
        setting.aside(_lines_to_write(setting, environment))
    return code


def bootstrap_account(
    setting: Setting, environment: str | None, move_to: str | None, consent: Consent
) -> ExitCode:
    """`ops bootstrap account`: `environment` says which account, where there are several.

    `move_to`: the environment whose bucket the account's state is to live in from now on.
    """
    _require_cli(setting)
    arguments = {"move_to": move_to} if move_to else {}
    return perform(setting, ACCOUNT, account_host(setting, environment), arguments, consent)


def account_host(setting: Setting, environment: str | None) -> str:
    """Give the environment in whose state bucket an account's state lives, or is to live.

    That is the one which has it, else the first in the account that has a bootstrap. Raises
    `UsageError` where there are several accounts and none is named, `RefusedError` where no
    environment of the account has a bootstrap.
    """
    settings = [load_settings(setting.root, env) for env in naming.ENVIRONMENTS]
    accounts = sorted({item.account_id for item in settings})
    if environment is None and len(accounts) > 1:
        named = "\n".join(f"    {_environments_of(settings, item)}: {item}" for item in accounts)
        raise UsageError(
            "The environments are in several accounts, and which one is meant was not said. "
            f"Nothing was done.\n{named}\nName an environment of it: "
            "ops bootstrap account --environment ENV"
        )
    access = setting.access(environment or naming.ENVIRONMENTS[0])
    found = homes.in_bucket(access, "account") or next(iter(homes.buckets(access, "account")), None)
    if found is None:
        hosts = [item.environment for item in homes.hosts(access, "account")]
        raise RefusedError(
            f"No environment of account {access.settings.account_id} has a state bucket yet, where "
            "the account's state could live. Nothing was done. Bootstrap one first: "
            f"ops bootstrap {hosts[0]}"
        )
    return found.environment


def _environments_of(settings: Iterable[Settings], account: str) -> str:
    return ", ".join(item.environment for item in settings if item.account_id == account)


# Planning ------------------------------------------------------------------------------------


def plan(planning: Planning) -> Plan:
    """Look where the state is, and give the steps that are left to have it in the bucket."""
    return _plan(planning, "bootstrap")


def plan_account(planning: Planning) -> Plan:
    """As `plan`, for the account's stack."""
    return _plan(planning, "account")


def _plan(planning: Planning, kind: InlineKind) -> Plan:
    access = planning.access
    command = _NAME if kind == "bootstrap" else _ACCOUNT_NAME
    local = homes.local(access, kind)
    remote = homes.in_bucket(access, kind)
    claim = claims.read(access) if kind == "bootstrap" else None
    if claim:
        claims.refuse_of_others(access, claim)
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = {
        "stack_file": _digest(access.root / naming.stack_file(access.environment)),
        "state": "on this machine" if local else remote.url if remote else "nowhere",
        "program": program.digest(access.root),
    }
    if planning.arguments.get("move_to"):
        steps = _rehoming_steps(access, remote, str(planning.arguments["move_to"]))
    elif local is None and remote is not None:
        report = _previewed(planning.setting, access, kind, remote)
        facts["changes"] = update.plan_hash(report)
        steps = [_update_step(access, kind, report)] if report.changes else []
        if claim:
            steps.append(_new_step("release", kind, access, "take back the claim of an ended run"))
    elif local is None and kind == "account":
        steps = [_update_step(access, kind, None)]
    else:
        if kind == "bootstrap" and (local is None or _is_empty(access, kind, local)):
            _refuse_remains(access)
        steps = _moving_steps(access, kind)
        if claim:
            notes = (f"The run {claim.run} began this and has ended; it is taken up again.",)
    return Plan(
        command=command,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=dict(planning.arguments),
        steps=tuple(replace(step, stage=number) for number, step in enumerate(steps)),
        facts=facts,
        notes=notes,
    )


def _moving_steps(access: Access, kind: InlineKind) -> list[Step]:
    what = (
        "state and backup buckets, lock table, keys, image repositories, deploy role and policies"
        if kind == "bootstrap"
        else "audit trail, budget, alarms and defaults of the account"
    )
    steps = [
        _new_step("create", kind, access, f"make, with the state on this machine: {what}"),
        _new_step("rekey", kind, access, "encrypt the state's secrets by the state key"),
        _new_step("copy", kind, access, "copy the state into the state bucket"),
        _new_step("compare", kind, access, "compare both states, their secrets decrypted"),
        _new_step(
            "prove", kind, access, "preview from the bucket without the passphrase: no change"
        ),
        _new_step("retire", kind, access, "remove the state and the passphrase from this machine"),
    ]
    if kind == "account":
        return steps
    claim = _new_step("claim", kind, access, "claim the bootstrap, so that nobody else begins one")
    return [claim, *steps, _new_step("release", kind, access, "take back the claim")]


def _rehoming_steps(access: Access, remote: Home | None, environment: str) -> list[Step]:
    if remote is None:
        raise UsageError("The account's state is in no bucket yet: there is nothing to move.")
    source = _source(access, environment)
    if source is None:
        return []
    target = _bucket_of(access, environment)
    summary = f"move the account's state from {source.environment}'s bucket to {environment}'s"
    step = _new_step("rehome", "account", access, summary)
    data = {**step.data, "environment": environment, "from": source.url, "to": target.url}
    return [replace(step, data=data)]


def _source(access: Access, environment: str) -> Home | None:
    """Give the bucket that the account's state is moved from; None where that has ended.

    One that was cut short has left it in both.
    """
    found = homes.in_buckets(access, "account")
    return next((home for home in found if home.environment != environment), None)


def _bucket_of(access: Access, environment: str) -> Home:
    for home in homes.buckets(access, "account"):
        if home.environment == environment:
            return home
    raise UsageError(
        f"{environment} has no state bucket in account {access.settings.account_id}. Nothing was "
        f"moved. Bootstrap it first: ops bootstrap {environment}"
    )


def _update_step(access: Access, kind: InlineKind, report: UpdateReport | None) -> Step:
    if report is None:
        return _new_step("update", kind, access, "make it, with its state in the state bucket")
    counts = ", ".join(f"{number} to {op}" for op, number in sorted(report.counts.items()))
    return _new_step("update", kind, access, f"bring it up to date, where its state is: {counts}")


def _new_step(action: str, kind: InlineKind, access: Access, summary: str) -> Step:
    return Step(
        id=action,
        action=action,
        kind="stack",
        target=f"{project(kind)}/{stack_name(kind, access.settings)}",
        summary=summary,
        data={"kind": kind},
    )


def _previewed(setting: Setting, access: Access, kind: InlineKind, home: Home) -> UpdateReport:
    opened = stack.open_at(access, kind, home, create=False)
    report = _run(setting, access, kind, opened, "preview")
    guard.refuse_losses(report)
    return report


def _is_empty(access: Access, kind: InlineKind, home: Home) -> bool:
    return not moving.resources(stack.exported(stack.open_at(access, kind, home, create=False)))


def _refuse_remains(access: Access) -> None:
    """Refuse to begin where a bootstrap is there whose state is not: that would be a second one."""
    found = [homes.bucket_name(home) for home in homes.buckets(access, "bootstrap")]
    if not found:
        return
    env = access.environment
    raise RefusedError(
        f"There is a state bucket of {env} already, {found[0]}, but the state of its bootstrap is "
        "neither in it nor on this machine: it was made elsewhere, and the move has not ended "
        "there. Nothing was done, since a second bucket would be made.\n"
        f"    the runs that it knows: ops runs list {env}\n"
        "On the machine where it was begun, run the same command again: it goes on. If that "
        f"machine is lost, take over what is there: ops adopt {env} --stack bootstrap --plan "
        "--import-file FILE writes what `pulumi import` needs."
    )


# Acting --------------------------------------------------------------------------------------


def _claim(context: Context, _step: Step) -> Data:
    return claims.take(context.access, context.journal.run, context.plan.command)


def _create(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    local = homes.local(access, kind)
    if local is None and homes.in_bucket(access, kind):
        return {"already": "its state is in the bucket"}
    home = local or homes.new_local(access, kind)
    report = _brought_up(context, kind, home)
    context.journal.mirror_to(journal_bucket(access, foundation(access)))
    return {"counts": dict(report.counts), "state": home.url}


def _update(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    home = homes.in_bucket(access, kind) or _host(access, kind)
    report = _brought_up(context, kind, home)
    return {"counts": dict(report.counts), "state": home.url}


def _brought_up(context: Context, kind: InlineKind, home: Home) -> UpdateReport:
    program.refuse_changed(context.access, str(context.plan.facts["program"]))
    opened = _opened(context, kind, home, create=True)
    return _run(context.setting, context.access, kind, opened, "up")


def _opened(context: Context, kind: InlineKind, home: Home, *, create: bool) -> Stack:
    """Open a stack to change it, and take away the lock that a killed run of this machine has left.

    Nobody else works on it while its state is on this machine, or the bootstrap is claimed here.
    """
    access = context.access
    opened = stack.open_at(access, kind, home, create=create)
    claim = claims.read(access) if kind == "bootstrap" else None
    if claim:
        claims.refuse_of_others(access, claim)
    if claim or home.is_local:
        engine_lock.release_dead(access, kind, opened, home, context.terminal.note)
    return opened


def _run(
    setting: Setting, access: Access, kind: InlineKind, opened: Stack, command: update.Command
) -> UpdateReport:
    """Run an update of a stack to its end; raises `OpsError` where it fails."""
    header = access.header(kind)
    with setting.terminal.progress(f"{command} {header.stack}") as watch:
        report = update.run(
            opened,
            command,
            header=header,
            options=update.Options(),
            log=UpdateLog(dry_run=command == "preview"),
            watch=watch,
            tell=setting.terminal.note,
        )
    if report.result == "failed":
        said = [item.message for item in report.diagnostics if item.severity == "error"]
        raise OpsError("\n".join(said) or report.error)
    return report


def _rekey(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    local = homes.local(access, kind)
    if local is None:
        return _moved(access, kind)
    target = _host(access, kind)
    opened = _opened(context, kind, local, create=False)
    return moving.rekey(opened, target.secrets_provider, _keep(access, kind))


def _copy(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    local = homes.local(access, kind)
    if local is None:
        return _moved(access, kind)
    target = _host(access, kind)
    source = stack.open_at(access, kind, local, create=False)
    destination = _opened(context, kind, target, create=True)
    return {"state": target.url, **moving.copy(source, destination, _keep(access, kind))}


def _compare(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    local = homes.local(access, kind)
    if local is None:
        return _moved(access, kind)
    source = stack.open_at(access, kind, local, create=False)
    destination = stack.open_at(access, kind, _host(access, kind), create=False)
    return moving.compare(source, destination)


def _prove(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    target = _host(access, kind)
    opened = stack.open_at(access, kind, target, create=False)
    report = _run(context.setting, access, kind, opened, "preview")
    if report.changes:
        counts = ", ".join(f"{number} to {op}" for op, number in sorted(report.counts.items()))
        raise OpsError(
            f"A preview from {target.url} would change something ({counts}), and just after the "
            "stack was made it should not. The state on this machine was kept. Look with: "
            f"ops preview {access.environment} --stack {kind}"
        )
    return {"state": target.url, "changes": 0}


def _retire(context: Context, step: Step) -> Data:
    kind, access = _kind(step), context.access
    local = homes.local(access, kind)
    if local is not None:
        moving.refuse_unlike(access, kind, local, _host(access, kind))
        moving.remove(access, kind, local)
    moving.forget(homes.folder_of(access, kind))
    return {"removed": local.url if local else "nothing was left"}


def _rehome(context: Context, step: Step) -> Data:
    from ops import bootstrap_retire

    access = context.access
    environment = str(step.data["environment"])
    source = _source(access, environment)
    if source is None:
        return _moved(access, "account")
    target = _bucket_of(access, environment)
    return bootstrap_retire.move_account(access, source, target)


def _release(context: Context, _step: Step) -> Data:
    return claims.release(context.access)


def _moved(access: Access, kind: InlineKind) -> Data:
    home = homes.in_bucket(access, kind)
    if home is None:
        raise OpsError(
            f"The state of {project(kind)} is neither on this machine nor in the bucket. Nothing "
            "was done. Put back what was removed, or begin anew: ops bootstrap"
        )
    return {"already": f"the state is in {home.url}"}


def _host(access: Access, kind: InlineKind) -> Home:
    """Give the bucket that a stack's state belongs into."""
    found = homes.in_bucket(access, kind) or next(iter(homes.buckets(access, kind)), None)
    if found is None:
        raise OpsError(
            f"There is no bucket {naming.state_bucket(access.environment)}-… in account "
            f"{access.settings.account_id}, though the stack was made. Nothing was moved."
        )
    return found


def _keep(access: Access, kind: InlineKind) -> Path:
    return homes.folder_of(access, kind) / "kept"


def _kind(step: Step) -> InlineKind:
    kind: InlineKind = step.data["kind"]
    return kind


# Looking again -------------------------------------------------------------------------------


def verify(context: Context) -> tuple[Check, ...]:
    """Look whether what was made is there, the state in its bucket and nothing left over."""
    kind: InlineKind = "bootstrap" if context.plan.command == _NAME else "account"
    access = context.access
    home = homes.in_bucket(access, kind)
    left = homes.local(access, kind)
    checks = [
        Check(
            name="state",
            status="ok" if home else "fail",
            found=home.url if home else "in no bucket",
            expected="in the state bucket",
        ),
        Check(
            name="this machine",
            status="fail" if left else "ok",
            found=left.url if left else "no state and no passphrase",
            expected="nothing of it",
        ),
        _stack_file_check(access, str(context.plan.facts["stack_file"])),
    ]
    if kind == "bootstrap":
        checks += [_foundation_check(access), _backend_check(access, home)]
    return tuple(checks)


def _foundation_check(access: Access) -> Check:
    try:
        found = foundation(access)
    except NoFoundationError as error:
        return Check(name="foundation", status="fail", found=str(error))
    return Check(
        name="foundation",
        status="ok",
        found=f"{found.state_bucket}, {found.backup_bucket}, {found.lock_table}",
    )


def _stack_file_check(access: Access, before: str) -> Check:
    name = naming.stack_file(access.environment)
    same = _digest(access.root / name) == before
    return Check(
        name="stack file",
        status="ok" if same else "warn",
        found=f"{name} is as it was" if same else f"{name} was changed meanwhile",
        expected="as it was: it is only ever edited by people",
        remedy="" if same else f"look at it: git diff {name}",
    )


def _backend_check(access: Access, home: Home | None) -> Check:
    said = access.settings.backend.url
    wanted = home.url if home else ""
    name = naming.stack_file(access.environment)
    if access.mode == "sandbox" or said == wanted or (said or "").startswith("https://"):
        found = said or "the sandbox needs none"
        return Check(name="backend", status="ok", found=found)
    return Check(
        name="backend",
        status="warn",
        found=f"{name} says {said or 'nothing'}",
        expected=wanted,
        remedy=f"write it under mono-repo:settings, backend, url, and commit {name}",
    )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _lines_to_write(setting: Setting, environment: str) -> Iterable[Line]:
    """Give what an operator writes into the stack file, and does next."""
    access = setting.access(environment)
    home = homes.in_bucket(access, "bootstrap")
    if home is None:
        return
    file = naming.stack_file(environment)
    yield Line("")
    if access.mode == "sandbox":
        yield Line(f"On AWS these lines would go into {file}; the sandbox needs none:", "dim")
    else:
        yield Line(f"Write into {file}, under mono-repo:settings, and commit it:")
    yield Line("    backend:")
    yield Line(f"      url: {home.url}")
    yield Line(f"      secrets_provider: {home.secrets_provider}")
    if access.mode == "sandbox":
        yield Line(f"Next: ops --sandbox up {environment}")
        return
    yield Line("Then, in a shell that may take the deploy role, once:")
    yield Line(f'    eval "$(ops env {environment})"')
    yield Line(f"    pulumi stack init {environment} --secrets-provider '{home.secrets_provider}'")
    yield Line(
        f"and commit {file} again: that has written secretsprovider and encryptedkey into it"
    )


def _require_cli(setting: Setting) -> None:
    if not setting.sandbox:
        stack.require_cli()


_ACTIONS: Final = {
    "claim": _claim,
    "create": _create,
    "rekey": _rekey,
    "copy": _copy,
    "compare": _compare,
    "prove": _prove,
    "retire": _retire,
    "release": _release,
    "update": _update,
    "rehome": _rehome,
}

OPERATION: Final = Operation(
    name=_NAME, stack="bootstrap", plan=plan, actions=_ACTIONS, verify=verify, founded=False
)
ACCOUNT: Final = Operation(
    name=_ACCOUNT_NAME,
    stack="account",
    plan=plan_account,
    actions=_ACTIONS,
    verify=verify,
    founded=False,
)

"""`ops deploy`: an environment from its settings to something that stands and was looked at.

The doctor's round and a preview make the plan; the stack is brought up, what operators own is
made where it is missing, and then everything is read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ops import guard, program, render, update
from ops.checks import Check
from ops.commands import update_log
from ops.doctor import examination
from ops.errors import (
    CancelledError,
    DeadlineError,
    ExitCode,
    IncompleteError,
    OpsError,
    PartialError,
    RefusedError,
    UsageError,
)
from ops.operation import Consent, Operation, Planning, perform
from ops.parameters import setup
from ops.plan import Data, Plan, Step
from ops.stack import open_stack
from ops.update import Options

if TYPE_CHECKING:
    from ops.access import Access
    from ops.commands import Setting
    from ops.execution import Context
    from ops.report import UpdateReport
    from stacks.outputs import EnvironmentOutputs

TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "infrastructure": ("stack",),
    "all": ("stack", "parameters"),
}
"""What can be deployed → the kinds of steps that it takes, in their order."""
_KINDS: Final[Mapping[ExitCode, type[OpsError]]] = {
    ExitCode.PARTIAL: PartialError,
    ExitCode.CANCELLED: CancelledError,
    ExitCode.DEADLINE: DeadlineError,
}
TOLERATED: Final = ("quota:", "pulumi plugins")
"""What the doctor may not know and a deployment goes on: AWS or the CLI tell it in time."""
TOLD: Final = ("cluster",)
"""What the doctor warns of and whoever agrees to a deployment has to have read."""


def require_target(target: str) -> None:
    """Raise `UsageError` for what cannot be deployed."""
    if target not in TARGETS:
        raise UsageError(
            f"There is no target {target!r}; there are {', '.join(sorted(TARGETS))}. "
            "Nothing was deployed."
        )


def plan(planning: Planning) -> Plan:
    """Examine and preview; decide what is left to be done.

    Raises `RefusedError` where the doctor found what stands in the way, or the preview loses what
    cannot be made again; `OpsError` where there is no preview.
    """
    setting, access = planning.setting, planning.access
    target = str(planning.arguments["target"])
    unknown = _examined(setting, access)
    previewed = _update(setting, access, "up", dry_run=True)
    guard.refuse_losses(previewed)
    setting.aside([*render.tree(previewed.resources), *render.counts(previewed)])
    steps = [*_stack_step(access, previewed)]
    if "parameters" in TARGETS[target]:
        steps += _parameter_step(access, stage=len(steps))
    return Plan(
        command="deploy",
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=planning.arguments,
        steps=tuple(steps),
        facts={
            "changes": update.plan_hash(previewed),
            "counts": dict(previewed.counts),
            "program": program.digest(access.root),
        },
        notes=unknown,
    )


def bring_up(context: Context, _step: Step) -> Data:
    """Bring the stack up; one that stands already stays as it is."""
    setting, access = context.setting, context.access
    program.refuse_changed(access, str(context.plan.facts["program"]))
    if any(record["kind"] == "resumed" for record in context.journal.records):
        # What was agreed to was another preview, however long ago.
        guard.refuse_losses(_update(setting, access, "up", dry_run=True))
    report = _update(setting, access, "up", dry_run=False)
    return {"counts": dict(report.counts), "seconds": round(report.seconds, 1)}


def make_parameters(context: Context, _step: Step) -> Data:
    """Create the operators' parameters that are missing; change no other."""
    access = context.access
    wanted = setup.prepare(access.client, access.settings)
    done = setup.act(
        access.client,
        access.settings,
        wanted,
        access.header(),
        lambda result: context.terminal.note(f"{result.outcome} {result.name}"),
    )
    failed = [f"{item.name}: {item.message}" for item in done.results if item.outcome == "failed"]
    if failed:
        raise PartialError("Not every parameter was made. " + "; ".join(failed))
    return {"created": [item.name for item in done.results if item.outcome == "created"]}


def verify(context: Context) -> tuple[Check, ...]:
    """Look at what stands: every resource, the outputs, and what they lead to."""
    return tuple(_verified(context))


def _verified(context: Context) -> Iterator[Check]:
    from stacks.outputs import EnvironmentOutputs, MissingOutputError

    access = context.access
    yield _read_back(context)
    exports = update.outputs_of(open_stack(access, create=False))
    try:
        outputs = EnvironmentOutputs[str].from_exports(exports)
    except MissingOutputError as error:
        yield Check(
            name="outputs",
            status="fail",
            found=str(error),
            expected="every output of an environment",
            remedy=f"ops preview {access.environment} --diff",
        )
        return
    yield Check(name="outputs", status="ok", found=f"{len(exports)} outputs")
    yield _cluster(access, outputs)
    yield from _databases(access, outputs)
    if "parameters" in TARGETS[str(context.plan.arguments["target"])]:
        yield _parameters(access)
    yield _access_keys(access, outputs)


def _read_back(context: Context) -> Check:
    access = context.access
    with context.terminal.progress(f"verifying {access.header().stack}") as watch:
        seen = update.verify(
            open_stack(access, create=False),
            header=access.header(),
            log=update_log(access, dry_run=True),
            watch=watch,
        )
    differing = ", ".join(change.name for change in seen.differing)
    recorded = f", {seen.recorded} are recorded only" if seen.recorded else ""
    return Check(
        name="resources",
        status="ok" if seen.holds else "fail",
        found=f"{seen.read} read back{recorded}" + (f"; different: {differing}" * bool(differing)),
        expected="as the state has them",
        remedy=f"ops preview {access.environment} --refresh --diff",
    )


def _cluster(access: Access, outputs: EnvironmentOutputs[str]) -> Check:
    found = access.client("eks").describe_cluster(name=outputs.cluster_name)["cluster"]
    return Check(
        name="cluster",
        status="ok" if found["status"] == "ACTIVE" else "fail",
        found=f"{outputs.cluster_name} is {found['status']}",
        expected="ACTIVE",
        remedy=f"ops doctor {access.environment}",
    )


def _databases(access: Access, outputs: EnvironmentOutputs[str]) -> Iterator[Check]:
    rds = access.client("rds")
    for name, identifier in outputs.database_identifiers.items():
        (found,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        address = found.get("Endpoint", {}).get("Address", "")
        right = address == outputs.database_addresses[name]
        status = found["DBInstanceStatus"]
        yield Check(
            name=f"database {name}",
            status="ok" if right and status == "available" else "fail",
            found=f"{identifier} is {status} at {address or 'no address'}",
            expected=f"available at {outputs.database_addresses[name]}",
            remedy=f"ops doctor {access.environment}",
        )


def _parameters(access: Access) -> Check:
    wanted = setup.prepare(access.client, access.settings)
    left = [f"{step.name}: {step.reason}" for step in (*wanted.to_create, *wanted.findings)]
    return Check(
        name="parameters",
        # A value that only a person can give is no fault of the deployment.
        status="fail" if wanted.to_create else "warn" if left else "ok",
        found="; ".join(left) or f"{len(wanted.steps)} of the operators' are there",
        expected="every parameter of the catalogue",
        remedy=f"ops params setup {access.environment}",
    )


def _access_keys(access: Access, outputs: EnvironmentOutputs[str]) -> Check:
    """Name who has no access key yet: keys never enter the state, so no update issues them."""
    secrets = access.client("secretsmanager")
    without = [
        name
        for name, arn in outputs.access_key_secret_arns.items()
        if not secrets.describe_secret(SecretId=arn).get("VersionIdsToStages")
    ]
    return Check(
        name="access keys",
        status="warn" if without else "ok",
        found=f"not issued: {', '.join(sorted(without))}" if without else "every user has one",
        expected="a key for each user who needs one",
        remedy="issue those that are needed, into their users' secrets",
    )


def _examined(setting: Setting, access: Access) -> tuple[str, ...]:
    """Refuse where something stands in the way; give what is not known, or to be thought of."""
    env = access.environment
    found = examination.examine(setting, env).checks
    if failures := [check for check in found if check.status == "fail"]:
        raise RefusedError(
            f"The doctor found what stands in the way of a deployment of {env}. "
            f"Nothing was changed.\n{_named(failures)}"
        )
    unknown = [check for check in found if check.status == "unknown"]
    if unseen := [check for check in unknown if not check.name.startswith(TOLERATED)]:
        raise IncompleteError(
            f"Whether {env} can be deployed could not be seen completely. Nothing was changed.\n"
            f"{_named(unseen)}"
        )
    told = [check for check in found if check.status == "warn" and check.name in TOLD]
    return (
        *(f"not known: {check.name}: {check.found}" for check in unknown),
        *(f"{check.name}: {check.found}. To do: {check.remedy}" for check in told),
    )


def _named(found: Sequence[Check]) -> str:
    return "\n".join(
        f"    {check.name}: {check.found}\n        to do: {check.remedy}" for check in found
    )


def _stack_step(access: Access, previewed: UpdateReport) -> Iterator[Step]:
    if not previewed.changes:
        return
    number = previewed.changes
    yield Step(
        id="stack",
        action="bring up",
        kind="stack",
        target=previewed.header.stack,
        summary=f"bring {previewed.header.stack} up ({number} change{'' if number == 1 else 's'})",
        data={"environment": access.environment},
    )


def _parameter_step(access: Access, *, stage: int) -> list[Step]:
    """Give the step that makes parameters, where some are or will be missing."""
    step = Step(
        id="parameters",
        action="make parameters",
        kind="parameters",
        target=access.environment,
        summary="create the operators' parameters that are missing",
        stage=stage,
    )
    if stage:  # their key may be among what is made first
        return [step]
    return [step] if setup.prepare(access.client, access.settings).to_create else []


def _update(
    setting: Setting, access: Access, command: update.Command, *, dry_run: bool
) -> UpdateReport:
    header = access.header()
    label = f"previewing {header.stack}" if dry_run else f"{command} {header.stack}"
    with setting.terminal.progress(label) as watch:
        report = update.run(
            open_stack(access),
            command,
            header=header,
            options=Options(),
            log=update_log(access, dry_run=dry_run),
            watch=watch,
            tell=setting.terminal.note,
        )
    if report.result == "failed":
        raise _failure(report)
    return report


def _failure(report: UpdateReport) -> OpsError:
    errors = [item.message.strip() for item in report.diagnostics if item.severity == "error"]
    said = "\n".join(f"    {message}" for message in errors or [report.error])
    if report.dry_run:
        return OpsError(f"{report.header.stack} cannot be previewed. Nothing was changed.\n{said}")
    kind = _KINDS.get(update.exit_code(report), OpsError)
    return kind(f"{report.header.stack} was not brought up:\n{said}")


OPERATION: Final = Operation(
    name="deploy",
    plan=plan,
    actions={"bring up": bring_up, "make parameters": make_parameters},
    verify=verify,
)


def deploy(setting: Setting, environment: str, target: str, consent: Consent) -> ExitCode:
    """`ops deploy`."""
    require_target(target)
    return perform(setting, OPERATION, environment, {"target": target}, consent)

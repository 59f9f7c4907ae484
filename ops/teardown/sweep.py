"""What no state deletes: the operators' parameters, and log groups that came back.

Each step deletes what the plan names and nothing else. What is not named is told by the look back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ops.errors import RefusedError
from ops.plan import Data, Step

if TYPE_CHECKING:
    from ops.execution import Context
    from ops.teardown.report import Losses

BATCH: Final = 10
"""Parameters that AWS deletes in one call."""
GONE_SECONDS: Final = 60.0
"""For how long AWS may list parameters that it has deleted."""
INTERVAL_SECONDS: Final = 5.0


def check_steps(losses: Losses, env: str, *, stage: int) -> tuple[Step, ...]:
    """Plan a look, before anything is destroyed, at what is swept when all else is gone.

    The key of a value that nobody has saved goes with the rest: then it is too late to read it.
    """
    names = sorted(item.id for item in losses.parameters)
    if not names:
        return ()
    return (
        Step(
            id="check-parameters",
            action="check-parameters",
            kind="parameters",
            target=env,
            summary=f"see that none of {len(names)} parameters was written since the backup",
            stage=stage,
            data={"region": losses.parameters[0].region, "names": names},
        ),
    )


def sweep_steps(losses: Losses, env: str, *, stage: int) -> tuple[Step, ...]:
    """Plan what is deleted when the stack is gone."""
    steps: list[Step] = []
    for region in sorted({item.region for item in losses.parameters}):
        names = sorted(item.id for item in losses.parameters if item.region == region)
        steps.append(
            Step(
                id=f"sweep-parameters:{region}",
                action="sweep-parameters",
                kind="parameters",
                target=env,
                summary=f"delete {len(names)} parameters of operators in {region}, which the "
                "backup has",
                stage=stage,
                destructive=True,
                data={"region": region, "names": names},
            )
        )
    if losses.log_groups:
        steps.append(
            Step(
                id="sweep-log-groups",
                action="sweep-log-groups",
                kind="log groups",
                target=env,
                summary=f"delete what is there of {len(losses.log_groups)} log groups: the "
                "cluster may bring its own back when it ends",
                stage=stage,
                destructive=True,
                data={"names": list(losses.log_groups)},
            )
        )
    return tuple(steps)


def check_parameters(context: Context, step: Step) -> Data:
    """See that parameters are in this run's backup as they are. Raises `RefusedError`."""
    names = list(step.data["names"])
    backup: Data = context.results.get("backup-parameters", {})
    missing = [name for name in names if name not in backup.get("names", ())]
    if missing or "backup-verify" not in context.results:
        raise RefusedError(
            f"Not in the verified backup of this run: {', '.join(missing) or 'anything'}. No "
            "parameter was deleted. Back the environment up, and plan the teardown again."
        )
    ssm = context.access.client("ssm", step.data["region"])
    _refuse_changed(ssm, names, backup.get("versions") or {}, context.access.environment)
    return {"parameters": len(names)}


def delete_parameters(context: Context, step: Step) -> Data:
    """Delete parameters by name, once each of them is seen to be in this run's backup as it is."""
    check_parameters(context, step)
    names = list(step.data["names"])
    ssm = context.access.client("ssm", step.data["region"])
    for batch in _batches(names):
        ssm.delete_parameters(Names=batch)

    def missing_still() -> str:
        left = _versions(ssm, names)
        return f"still there: {', '.join(left)}" if left else ""

    context.wait(
        "the parameters to go",
        missing_still,
        deadline_seconds=GONE_SECONDS,
        interval_seconds=INTERVAL_SECONDS,
    )
    return {"deleted": len(names)}


def delete_log_groups(context: Context, step: Step) -> Data:
    """Delete log groups by name, where they are there."""
    return {"deleted": deleted_log_groups(context, step.data["names"])}


def deleted_log_groups(context: Context, names: Iterable[str]) -> list[str]:
    """Delete log groups, and give those that were there."""
    logs = context.access.client("logs")
    deleted = []
    for name in names:
        try:
            logs.delete_log_group(logGroupName=name)
        except logs.exceptions.ResourceNotFoundException:
            continue
        deleted.append(name)
    return deleted


def _refuse_changed(
    ssm: Any, names: Sequence[str], saved: Mapping[str, int], environment: str
) -> None:
    """Refuse where a value was written since the backup: it would be lost.

    A backup of a run that an older version has begun has no versions to compare.
    """
    found = _versions(ssm, names)
    changed = [
        f"{name} has version {version}, and the backup {saved[name]}"
        for name, version in found.items()
        if name in saved and version != saved[name]
    ]
    if changed:
        raise RefusedError(
            f"Parameters were written since the backup of this run: {'; '.join(changed)}. No "
            "parameter was deleted: these values would be lost. Plan again, which backs them up: "
            f"ops teardown {environment}. Where the key of one is about to be deleted, only its "
            "value has to be kept: aws kms cancel-key-deletion, aws kms enable-key"
        )


def _versions(ssm: Any, names: Sequence[str]) -> dict[str, int]:
    """Give those of these parameters that are there, with the versions of their values."""
    return {
        item["Name"]: int(item["Version"])
        for batch in _batches(names)
        for page in ssm.get_paginator("describe_parameters").paginate(
            ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": batch}]
        )
        for item in page["Parameters"]
    }


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), BATCH):
        yield list(names[start : start + BATCH])

"""What no state deletes: the operators' parameters, and log groups that came back.

Each step deletes what the plan names and nothing else. What is not named is told by the look back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ops.errors import OpsError, RefusedError
from ops.plan import Data, Step

if TYPE_CHECKING:
    from ops.execution import Context
    from ops.teardown.report import Losses

BATCH: Final = 10
"""Parameters that AWS deletes in one call."""


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


def delete_parameters(context: Context, step: Step) -> Data:
    """Delete parameters by name, once each of them is seen to be in this run's backup."""
    names = list(step.data["names"])
    saved = set(context.results.get("backup-parameters", {}).get("names", ()))
    missing = [name for name in names if name not in saved]
    if missing or "backup-verify" not in context.results:
        raise RefusedError(
            f"Not in the verified backup of this run: {', '.join(missing) or 'anything'}. No "
            "parameter was deleted. Back the environment up, and plan the teardown again."
        )
    ssm = context.access.client("ssm", step.data["region"])
    for batch in _batches(names):
        ssm.delete_parameters(Names=batch)
    left = [name for batch in _batches(names) for name in _there(ssm, batch)]
    if left:
        raise OpsError(f"Still there after they were deleted: {', '.join(left)}.")
    return {"deleted": len(names)}


def delete_log_groups(context: Context, step: Step) -> Data:
    """Delete log groups by name, where they are there."""
    logs = context.access.client("logs")
    deleted = []
    for name in step.data["names"]:
        try:
            logs.delete_log_group(logGroupName=name)
        except logs.exceptions.ResourceNotFoundException:
            continue
        deleted.append(name)
    return {"deleted": deleted}


def _there(ssm: Any, names: Sequence[str]) -> list[str]:
    wanted = [{"Key": "Name", "Option": "Equals", "Values": list(names)}]
    pages = ssm.get_paginator("describe_parameters").paginate(ParameterFilters=wanted)
    return [item["Name"] for page in pages for item in page["Parameters"]]


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), BATCH):
        yield list(names[start : start + BATCH])

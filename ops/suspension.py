"""The record of a suspension in the Parameter Store, and what of the stack it changes.

`infra.suspension` says what is in it. Here it is read, written and removed; the stack's state is
brought in line with what a stop or a start has done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from infra import suspension as records
from infra.suspension import Running, Sizes, Suspension, SuspensionError
from ops.capacity import listing
from ops.errors import OpsError

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context
    from ops.journal import Run
    from ops.operation import Planning
    from ops.plan import Step
    from ops.protection import Entry

NAMES_A_CALL: Final = 10
RESTORING: Final = ("start", "teardown")
"""Commands after which nothing of a former stop counts any more."""


def read(access: Access) -> Suspension | None:
    """Read the record; None: the environment is not suspended.

    Raises `IncompleteError` where it cannot be read, `OpsError` where it cannot be relied on.
    """
    found = _parameters(access)
    try:
        return records.parse(access.environment, found)
    except SuspensionError as error:
        raise OpsError(str(error)) from error


def write(access: Access, suspension: Suspension) -> None:
    """Write the record, over a former one if there is one; it holds when the last page is there.

    Pages of a former one are left: they are named after another run, and say nothing.
    """
    ssm, env = access.client("ssm"), access.environment
    try:
        pages = records.parameters(env, suspension)
    except SuspensionError as error:
        raise OpsError(str(error)) from error
    for name, value in pages.items():
        ssm.put_parameter(
            Name=name,
            Value=value,
            Type="String",
            Overwrite=True,
            Description=f"What ran in {env} before it was suspended; ops start removes it",
        )


def remove(access: Access) -> None:
    """Remove the record and what is left of former ones; the first page goes first."""
    ssm = access.client("ssm")
    names = records.page_names(access.environment, _parameters(access))
    if names:
        ssm.delete_parameters(Names=names[:1])
    for begin in range(1, len(names), NAMES_A_CALL):
        ssm.delete_parameters(Names=names[begin : begin + NAMES_A_CALL])


def told(environment: str, found: Suspension, now: dt.datetime) -> str:
    """Say since when and why an environment is suspended, and whether that was meant to be over."""
    since = f"{found.since:%Y-%m-%d %H:%M} UTC"
    until = f" until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else ""
    overdue = ", which is past" if found.is_overdue(now) else ""
    return (
        f"{environment} is suspended since {since}{until}{overdue}, by {found.actor}: "
        f"{found.reason}. Start it with: ops start {environment}"
    )


def merged(observed: Running, *earlier: Running) -> Running:
    """Give what ran before, where some of it was stopped earlier; the first that knows counts.

    What was seen last comes last: a group that was stopped already is seen without nodes.
    """
    groups: dict[str, dict[str, Sizes]] = {}
    instances: dict[str, None] = {}
    databases: dict[str, None] = {}
    for running in (*earlier, observed):
        for cluster, sizes in running.node_groups.items():
            groups[cluster] = {**sizes, **groups.get(cluster, {})}
        instances |= dict.fromkeys(running.instances)
        databases |= dict.fromkeys(running.databases)
    return Running(node_groups=groups, instances=tuple(instances), databases=tuple(databases))


def interrupted(planning: Planning, command: str) -> list[Run]:
    """Give a command's runs that began something, did not finish and still matter, newest first."""
    found = [run for run in planning.unfinished(command) if _has_begun(run)]
    if not found:
        return []
    ended = [run.id for run in planning.runs(RESTORING, found[-1].id) if run.is_finished]
    return [run for run in found if run.id > max(ended, default="")]


def recorded_by(run: Run) -> Running:
    """Give what a run of `ops stop` meant to write into the record."""
    steps = [step for step in run.plan.steps if step.action == "record"]
    return running(steps[0].data["running"]) if steps else Running()


def running(said: Mapping[str, Any]) -> Running:
    """Give what ran from a plan's plain data."""
    return Running(
        node_groups={
            cluster: {name: Sizes(**sizes) for name, sizes in groups.items()}
            for cluster, groups in said["node_groups"].items()
        },
        instances=tuple(said["instances"]),
        databases=tuple(said["databases"]),
    )


def refresh(context: Context, _step: Step) -> None:
    """Read back what a stop or a start changes, so that a preview from anywhere shows nothing."""
    from ops import update
    from ops.protection import entries
    from ops.stack import open_stack
    from ops.tree import UpdateLog

    access = context.access
    stack = open_stack(access, create=False)
    targets = _targets(access.environment, entries(stack))
    if not targets:
        return
    report = update.run(
        stack,
        "refresh",
        header=access.header(),
        options=update.Options(targets=targets),
        log=UpdateLog(dry_run=False),
        tell=context.terminal.note,
    )
    if report.result != "succeeded":
        reasons = [item.message for item in report.diagnostics if item.severity == "error"]
        raise OpsError("; ".join(reasons) or report.error)


def _targets(environment: str, held: Sequence[Entry]) -> tuple[str, ...]:
    """Give the URNs of what a stop changes."""
    return tuple(entry["urn"] for entry in held if _is_changed(environment, entry))


def _is_changed(environment: str, entry: Entry) -> bool:
    if entry.get("delete"):
        return False
    name = str((entry.get("outputs") or {}).get("name") or "")
    match entry["type"]:
        case "aws:eks/nodeGroup:NodeGroup" | "aws:rds/instance:Instance":
            return True
        case "aws:cloudwatch/metricAlarm:MetricAlarm":
            return name.startswith(naming.silenced_alarms(environment))
        case "aws:cloudwatch/eventRule:EventRule":
            return name == naming.database_restop(environment)
        case _:
            return False


def _parameters(access: Access) -> dict[str, str]:
    path = naming.parameter_path(access.environment, naming.OPS_APP)
    with listing("records of suspensions"):
        pages = (
            access.client("ssm")
            .get_paginator("get_parameters_by_path")
            .paginate(Path=path, Recursive=True)
        )
        return {item["Name"]: item["Value"] for page in pages for item in page["Parameters"]}


def _has_begun(run: Run) -> bool:
    return any(record["kind"] == "intent" for record in run.records)

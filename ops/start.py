"""`ops start`: gives a suspended environment back what ran before, exactly, and looks.

The record of the suspension is taken away only when everything has settled. What has gone
meanwhile is named, and holds up nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from infra.suspension import Running, Sizes
from ops import capacity, stop, suspension
from ops.checks import Check, Status
from ops.errors import OpsError
from ops.operation import Operation, Planning
from ops.plan import Data, Plan, Step

if TYPE_CHECKING:
    from ops.access import Access
    from ops.capacity import Estate, NodeGroup, ScalingGroup
    from ops.execution import Context

WAIT_MINUTES: Final = 60.0
"""For the slowest: a database, which may have to end its stopping first."""
INTERVAL_SECONDS = 5.0

_UNLOCK, _REQUEST, _SETTLE, _TELL, _FORGET, _REFRESH = range(6)


def plan(planning: Planning) -> Plan:
    """Look at what was stopped, and plan to start it."""
    access = planning.access
    estate = capacity.observe(access)
    record = suspension.read(access)
    unfinished = suspension.interrupted(planning, "stop")
    before: Running | None = record
    if unfinished:
        before = suspension.merged(
            Running(),
            *([record] if record else []),
            *(suspension.recorded_by(run) for run in unfinished),
        )
    notes = list(_notes(access.environment, estate, before))
    planned: list[Step] = []
    if before is not None:
        planned = steps(before, estate, wait_minutes=planning.arguments["wait_minutes"])
    elif suspension.interrupted(planning, "start"):
        planned = [stop.refreshing(_REFRESH)]
    return Plan(
        command="start",
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=planning.arguments,
        steps=tuple(planned),
        notes=tuple(notes),
    )


def steps(
    before: Running, estate: Estate, *, wait_minutes: float = WAIT_MINUTES, stage: int = 0
) -> list[Step]:
    """Plan to give back what ran before; for other commands as well, with `ACTIONS`.

    `stage`: that of the first of them.
    """
    requests = [
        *_node_group_steps(before),
        *_instance_steps(before),
        *_database_steps(before),
    ]
    planned = [
        *_rule_steps(estate),
        *requests,
        *(_settling(step, wait_minutes) for step in requests),
        *_alarm_steps(estate),
    ]
    forget = Step(
        id="start:forget",
        action="start:forget",
        kind="record",
        target="suspension",
        summary="take away the record of the suspension, if all of it has settled",
        stage=_FORGET,
        data={"after": [step.id for step in planned]},
    )
    return [_later(step, stage) for step in (*planned, forget, stop.refreshing(_REFRESH))]


def _later(step: Step, stages: int) -> Step:
    return replace(step, stage=step.stage + stages)


def _rule_steps(estate: Estate) -> Iterator[Step]:
    if estate.rule == "ENABLED":
        yield Step(
            id="start:rule",
            action="start:rule",
            kind="rule",
            target="database-restop",
            summary="let databases run: the rule that keeps them stopped is disabled first",
            stage=_UNLOCK,
        )


def _node_group_steps(before: Running) -> Iterator[Step]:
    for cluster, groups in before.node_groups.items():
        for name, sizes in groups.items():
            target = f"{cluster}/{name}"
            yield Step(
                id=f"start:nodes:{target}",
                action="start:nodes",
                kind="node group",
                target=target,
                summary=f"scale node group {target} to {sizes.desired} nodes, at least "
                f"{sizes.min}, at most {sizes.max}",
                stage=_REQUEST,
                data={"cluster": cluster, "name": name, "sizes": sizes.model_dump()},
            )


def _instance_steps(before: Running) -> Iterator[Step]:
    for number, batch in enumerate(stop.batches(before.instances), start=1):
        yield Step(
            id=f"start:instances:{number}",
            action="start:instances",
            kind="batch of instances",
            target=f"{len(batch)} instances",
            summary=f"start {len(batch)} instance{'' if len(batch) == 1 else 's'}",
            stage=_REQUEST,
            data={"ids": batch},
        )


def _database_steps(before: Running) -> Iterator[Step]:
    for identifier in before.databases:
        yield Step(
            id=f"start:database:{identifier}",
            action="start:database",
            kind="database",
            target=identifier,
            summary=f"start database {identifier}",
            stage=_REQUEST,
            data={"identifier": identifier},
        )


def _alarm_steps(estate: Estate) -> Iterator[Step]:
    silent = [name for name, tells in estate.alarms.items() if not tells]
    if silent:
        yield Step(
            id="start:alarms",
            action="start:alarms",
            kind="set of alarms",
            target=f"{len(silent)} alarms",
            summary=f"let {len(silent)} alarm{'' if len(silent) == 1 else 's'} tell again",
            stage=_TELL,
            data={"names": silent},
        )


def _settling(step: Step, wait_minutes: float) -> Step:
    named = step.target if step.action == "start:instances" else f"{step.kind} {step.target}"
    return Step(
        id=step.id.replace("start:", "settle:", 1),
        action=step.action.replace("start:", "settle:", 1),
        kind=step.kind,
        target=step.target,
        summary=f"wait until {named} run{'' if step.action == 'start:instances' else 's'}",
        stage=_SETTLE,
        data={**step.data, "wait_minutes": wait_minutes},
    )


def _notes(environment: str, estate: Estate, before: Running | None) -> Iterator[str]:
    if before is None:
        yield f"{environment} is not suspended"
        return
    there = {(group.cluster, group.name) for group in estate.node_groups}
    known = {(cluster, name) for cluster, groups in before.node_groups.items() for name in groups}
    for cluster, name in sorted(known - there):
        yield f"node group {cluster}/{name} is not there any more; ops up makes what is declared"
    for cluster, name in sorted(there - known):
        yield (
            f"node group {cluster}/{name} came during the suspension: the record says nothing of "
            "it, and it stays as it is"
        )


# Actions -------------------------------------------------------------------------------------


def _rule(context: Context, _step: Step) -> None:
    capacity.set_rule(context.access, enabled=False)


def _nodes(context: Context, step: Step) -> Data:
    return {"answer": _ask_nodes(context.access, step)[0]}


def _ask_nodes(access: Access, step: Step) -> tuple[str, NodeGroup | None]:
    """Ask for the sizes from before, unless they were given back already."""
    group = capacity.node_group(access, step.data["cluster"], step.data["name"])
    if group is None or group.status == "DELETING":
        return "gone", None
    sizes = Sizes(**step.data["sizes"])
    given = (group.sizes.min, group.sizes.max) == (sizes.min, sizes.max)
    if given and group.sizes.desired:  # how many there are meanwhile is the autoscaler's business
        return "settled", group
    return capacity.resize(access, group, sizes), group


def _await_nodes(context: Context, step: Step) -> Data:
    last: list[NodeGroup | None] = [None]

    def missing() -> str:
        answer, group = _ask_nodes(context.access, step)
        last[0] = group
        if group is None:
            return ""
        if answer != "settled" or group.status == "UPDATING":
            return "EKS is at it"
        scaled = capacity.scaled(context.access, group.scaling_groups)
        if said := _give_back(context.access, scaled, Sizes(**step.data["sizes"])):
            return said
        states = [state for item in scaled for state in item.instances.values()]
        ready = sum(state == "InService" for state in states)
        if ready >= group.sizes.desired:
            return ""
        return "; ".join([f"{ready} of {group.sizes.desired} nodes are in service", *group.issues])

    _wait(context, step, f"the nodes of {step.target}", missing)
    if last[0] is None:
        context.note(f"Not started: node group {step.target} is not there any more.")
        return {"answer": "gone"}
    return {"sizes": last[0].sizes.model_dump()}


def _give_back(access: Access, scaled: Sequence[ScalingGroup], sizes: Sizes) -> str:
    """Give an Auto Scaling group back what a stop took from it without EKS; say so.

    EKS, whose sizes are those from before, changes nothing about it then. How many there are above
    the least is the autoscaler's business.
    """
    least, wanted = sum(item.min for item in scaled), sum(item.desired for item in scaled)
    if not scaled or (least >= sizes.min and (wanted or not sizes.desired)):
        return ""
    name, wanted = scaled[0].name, max(wanted or sizes.desired, sizes.min)
    refused = capacity.rescale(access, name, least=sizes.min, wanted=wanted)
    return refused or f"Auto Scaling group {name} is given back {wanted} nodes"


def _instances(context: Context, step: Step) -> None:
    _ask_instances(context.access, step.data["ids"])


def _ask_instances(access: Access, ids: list[str]) -> dict[str, str]:
    """Start those of some instances that are stopped; give why for those that are refused."""
    states = capacity.states(access, ids)
    return capacity.switch(access, "start", [id_ for id_ in ids if states.get(id_) == "stopped"])


def _await_instances(context: Context, step: Step) -> Data:
    gone: list[str] = []

    def missing() -> str:
        states = capacity.states(context.access, step.data["ids"])
        gone[:] = [
            id_
            for id_ in step.data["ids"]
            if states.get(id_, "terminated") in ("shutting-down", "terminated")
        ]
        left = [id_ for id_ in states if states[id_] != "running" and id_ not in gone]
        refused = _ask_instances(context.access, left)
        if not left:
            return ""
        why = next(iter(refused.values()), f"{left[0]} is {states[left[0]]}")
        return f"{len(left)} do not run yet, {why}"

    _wait(context, step, f"{step.target} to run", missing)
    if gone:
        context.note(f"Not started, as they are not there any more: {', '.join(gone)}.")
    return {"gone": gone}


def _database(context: Context, step: Step) -> Data:
    return {"answer": capacity.start_database(context.access, step.data["identifier"])}


def _await_database(context: Context, step: Step) -> Data:
    last = [""]

    def missing() -> str:
        last[0] = status = capacity.database_status(context.access, step.data["identifier"])
        if status in ("", "deleting", *capacity.STOPPABLE):
            return ""
        if status == "stopped":
            capacity.start_database(context.access, step.data["identifier"])
        return f"it is {status}"

    _wait(context, step, f"database {step.target} to be available", missing)
    if last[0] not in capacity.STOPPABLE:
        context.note(f"Not started: database {step.target} is not there any more.")
        return {"answer": "gone"}
    return {"status": last[0]}


def _alarms(context: Context, step: Step) -> None:
    there = capacity.alarms(context.access)
    capacity.tell(context.access, [name for name in step.data["names"] if name in there], on=True)


def _forget(context: Context, step: Step) -> None:
    left = [id_ for id_ in step.data["after"] if id_ not in context.results]
    if left:
        raise OpsError(
            f"The record of the suspension is kept, as not all of it has settled: {len(left)} "
            f"step{'' if len(left) == 1 else 's'} left, the first is {left[0]}."
        )
    suspension.remove(context.access)


def _wait(context: Context, step: Step, what: str, missing: Callable[[], str]) -> None:
    context.wait(
        what,
        missing,
        deadline_seconds=step.data["wait_minutes"] * 60,
        interval_seconds=INTERVAL_SECONDS,
    )


# Verification --------------------------------------------------------------------------------


def verify(context: Context) -> tuple[Check, ...]:
    """Look at everything again, and compare it with what ran before."""
    access = context.access
    estate = capacity.observe(access)
    there = {f"{group.cluster}/{group.name}": group for group in estate.node_groups}
    groups = [
        _node_group_check(there.get(step.target), step)
        for step in context.plan.steps
        if step.action == "start:nodes"
    ]
    silent = [name for name, tells in estate.alarms.items() if not tells]
    suspended = suspension.read(access) is not None
    return (
        *groups,
        *_instance_checks(context, estate),
        *_database_checks(context, estate),
        Check(
            name="alarms",
            status="fail" if silent else "ok",
            found=f"silent: {', '.join(silent)}" if silent else f"{len(estate.alarms)} tell",
            expected="all tell",
        ),
        Check(
            name="rule",
            status="fail" if estate.rule == "ENABLED" else "ok",
            found=estate.rule.lower() or "there is none",
            expected="disabled",
        ),
        Check(
            name="record",
            status="fail" if suspended else "ok",
            found="it is still there" if suspended else "it is gone",
            expected="it is gone",
        ),
    )


def _node_group_check(group: NodeGroup | None, step: Step) -> Check:
    name = f"node group {step.target}"
    wanted = Sizes(**step.data["sizes"])
    if group is None:
        return Check(
            name=name,
            status="warn",
            found="it is not there any more",
            expected=_size(wanted),
            remedy="run ops up, which makes what is declared",
        )
    least = sum(item.min for item in group.scaled)
    if group.scaled and least < wanted.min:
        return Check(
            name=name,
            status="fail",
            found=f"{_size(group.sizes)} at EKS; its Auto Scaling group has at least {least}",
            expected=_size(wanted),
            remedy="set its sizes again where they were changed, or run ops stop and ops start",
        )
    exact = (group.sizes.min, group.sizes.max) == (wanted.min, wanted.max)
    if exact and group.sizes.desired == wanted.desired:
        return Check(name=name, status="ok", found=_size(wanted))
    return Check(
        name=name,
        status="warn" if exact else "fail",
        found=_size(group.sizes),
        expected=_size(wanted),
        remedy="nothing, if the autoscaler decided so" if exact else "",
    )


def _instance_checks(context: Context, estate: Estate) -> Iterator[Check]:
    states = {item.id: item.state for item in estate.instances}
    for step in context.plan.steps:
        if step.action == "start:instances":
            ids = step.data["ids"]
            gone = [id_ for id_ in ids if id_ not in states]
            resting = [id_ for id_ in ids if states.get(id_, "running") != "running"]
            found = [f"{len(ids) - len(gone) - len(resting)} of {len(ids)} run"]
            found += [f"{id_} is {states[id_]}" for id_ in resting]
            found += [f"{id_} is not there any more" for id_ in gone]
            status: Status = "fail" if resting else "warn" if gone else "ok"
            yield Check(name="instances", status=status, found="; ".join(found), expected="all run")


def _database_checks(context: Context, estate: Estate) -> Iterator[Check]:
    statuses = {item.identifier: item.status for item in estate.databases}
    for step in context.plan.steps:
        if step.action == "start:database":
            found = statuses.get(step.target, "")
            status: Status = "fail" if found else "warn"
            yield Check(
                name=f"database {step.target}",
                status="ok" if found in capacity.STOPPABLE else status,
                found=found or "it is not there any more, or settings do not let it be stopped",
                expected="available",
            )


def _size(sizes: Sizes) -> str:
    return f"{sizes.desired} nodes, at least {sizes.min}, at most {sizes.max}"


ACTIONS: Final = {
    "start:rule": _rule,
    "start:nodes": _nodes,
    "start:instances": _instances,
    "start:database": _database,
    "settle:nodes": _await_nodes,
    "settle:instances": _await_instances,
    "settle:database": _await_database,
    "start:alarms": _alarms,
    "start:forget": _forget,
    "refresh": suspension.refresh,
}
"""What the steps name, for a command that starts an environment on its way."""

OPERATION: Final = Operation(
    name="start",
    plan=plan,
    actions=ACTIONS,
    verify=verify,
    carry_on=True,
    approved=False,
)

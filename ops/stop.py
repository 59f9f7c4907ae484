"""`ops stop`: an emergency stop. Nothing computes any more, and nothing is deleted.

Every request is sent at once, what ran before is written down with them, and then everything is
waited for. A part that fails does not shield the rest.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from infra import naming
from infra.suspension import LONGEST_REASON, Running, Sizes, Suspension
from ops import capacity, suspension
from ops.access import is_expired
from ops.checks import Check
from ops.errors import OpsError, RefusedError, UsageError
from ops.operation import Operation, Planning
from ops.plan import Data, Plan, Step

if TYPE_CHECKING:
    from ops.access import Access
    from ops.capacity import Estate, NodeGroup, ScalingGroup
    from ops.execution import Context

WAIT_MINUTES: Final = 60.0
"""For the slowest, a database that ends what it had begun; nodes go within 15 minutes."""
INTERVAL_SECONDS = 5.0
PATIENCE: Final = 12
"""Looks at an update of EKS's until its Auto Scaling group is set without it."""
NAMED: Final = 3
"""Of many that are alike so many are named."""
NO_REASON: Final = "no reason given"

_REQUEST, _SETTLE, _REFRESH = range(3)
_RESTING: Final = ("stopping", "stopped")
_ENDING: Final = ("shutting-down", "terminated")


def arguments(
    environment: str, *, reason: str, until: str, wait_minutes: float, now: dt.datetime
) -> Data:
    """Give what was asked for as plain data. Raises `UsageError`, `RefusedError`."""
    if len(reason) > LONGEST_REASON:
        raise UsageError(
            f"The reason has {len(reason)} characters; at most {LONGEST_REASON} are kept. "
            "Nothing was done."
        )
    moment = _until(environment, until, now) if until else None
    return {
        "reason": reason,
        "until": moment.isoformat() if moment else "",
        "wait_minutes": wait_minutes,
    }


def plan(planning: Planning) -> Plan:
    """Look at what runs, and plan to stop it."""
    access, asked = planning.access, planning.arguments
    estate = capacity.observe(access)
    record = suspension.read(access)
    unfinished = suspension.interrupted(planning, "stop")
    before = suspension.merged(
        observed(estate),
        *([record] if record else []),
        *(suspension.recorded_by(run) for run in unfinished),
    )
    return Plan(
        command="stop",
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=asked,
        steps=tuple(
            steps(
                estate,
                before,
                record,
                asked,
                again=bool(unfinished),
            )
        ),
        notes=tuple(_notes(access.environment, estate, record, planning.now)),
    )


def observed(estate: Estate) -> Running:
    """Give what runs, and what a stop stops of it."""
    groups: dict[str, dict[str, Sizes]] = {}
    for group in estate.node_groups:
        groups.setdefault(group.cluster, {})[group.name] = group.sizes
    return Running(
        node_groups=groups,
        instances=tuple(
            item.id
            for item in estate.instances
            if not item.kept and item.state in ("pending", "running")
        ),
        databases=tuple(
            item.identifier
            for item in estate.databases
            if item.status and not item.kept and item.status not in _RESTING
        ),
    )


def steps(
    estate: Estate,
    before: Running,
    record: Suspension | None,
    asked: Data,
    *,
    again: bool,
) -> list[Step]:
    """Plan a stop; `again`: a former one did not come to its end. No steps: all rests already."""
    requests = [
        *_node_group_steps(estate, again=again),
        *_instance_steps(estate),
        *_database_steps(estate),
        *_silence_steps(estate),
    ]
    new = record is None or _says_more(record, before, asked)
    if not requests and not new and not again:
        return []
    waits = [_settling(step, asked) for step in requests if step.action in _WAITED]
    return [
        *([_record_step(before, asked)] if new else []),
        *requests,
        *waits,
        refreshing(_REFRESH),
    ]


def refreshing(stage: int) -> Step:
    """Give the step that brings the stack's state in line with what was done."""
    return Step(
        id="refresh",
        action="refresh",
        kind="stack",
        target="environment",
        summary="read back into the stack's state what has changed",
        stage=stage,
    )


def batches(ids: Sequence[str]) -> list[list[str]]:
    """Divide instances into what is asked of EC2 at once."""
    size = capacity.INSTANCES_A_CALL
    return [list(ids[begin : begin + size]) for begin in range(0, len(ids), size)]


def _until(environment: str, text: str, now: dt.datetime) -> dt.datetime:
    if environment == naming.ENVIRONMENTS[-1]:
        raise RefusedError(
            f"{environment} is stopped for an emergency, whose end nobody knows: --until is for "
            "the other environments. Nothing was done."
        )
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no time: expected one like 2026-12-01T08:00 (UTC) or "
            "2026-12-01T08:00+01:00. Nothing was done."
        ) from error
    moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    if moment <= now:
        raise UsageError(f"{moment:%Y-%m-%d %H:%M} UTC is past already. Nothing was done.")
    return moment


def _says_more(record: Suspension, before: Running, asked: Data) -> bool:
    """Tell whether there is something to write that the record does not say yet."""
    known = Running(
        node_groups=record.node_groups, instances=record.instances, databases=record.databases
    )
    until = record.until.isoformat() if record.until else ""
    return (
        known != before
        or asked["reason"] not in ("", record.reason)
        or asked["until"] not in ("", until)
    )


def _record_step(before: Running, asked: Data) -> Step:
    return Step(
        id="record",
        action="record",
        kind="record",
        target="suspension",
        summary="write down what ran, for ops start and every preview",
        data={
            "running": before.model_dump(mode="json"),
            "reason": asked["reason"],
            "until": asked["until"],
        },
    )


def _node_group_steps(estate: Estate, *, again: bool) -> Iterator[Step]:
    for group in estate.node_groups:
        # Of one that was asked before the nodes may still be there.
        rests = group.is_stopped and not group.computes
        if rests and group.status != "UPDATING" and not again:
            continue
        sizes, name = group.sizes, f"{group.cluster}/{group.name}"
        yield Step(
            id=f"stop:nodes:{name}",
            action="stop-nodes",
            kind="node group",
            target=name,
            summary=f"scale node group {name} from {sizes.desired} nodes (at least {sizes.min}) "
            f"to none; at most {sizes.max} stays",
            data={
                "cluster": group.cluster,
                "name": group.name,
                "scaling_groups": list(group.scaling_groups),
            },
        )


def _instance_steps(estate: Estate) -> Iterator[Step]:
    ids = [item.id for item in estate.instances if not item.kept and item.state != "stopped"]
    for number, batch in enumerate(batches(ids), start=1):
        more = len(batch) - NAMED
        shown = ", ".join(batch[:NAMED]) + (f" and {more} more" if more > 0 else "")
        yield Step(
            id=f"stop:instances:{number}",
            action="stop-instances",
            kind="batch of instances",
            target=f"{len(batch)} instances",
            summary=f"stop {len(batch)} instance{'' if len(batch) == 1 else 's'}: {shown}",
            data={"ids": batch},
        )


def _database_steps(estate: Estate) -> Iterator[Step]:
    for item in estate.databases:
        if not item.status or item.kept or item.status == "stopped":
            continue
        yield Step(
            id=f"stop:database:{item.identifier}",
            action="stop-database",
            kind="database",
            target=item.identifier,
            summary=f"stop database {item.identifier}, which is {item.status}",
            data={"identifier": item.identifier},
        )


def _silence_steps(estate: Estate) -> Iterator[Step]:
    telling = [name for name, tells in estate.alarms.items() if tells]
    if telling:
        yield Step(
            id="silence",
            action="silence",
            kind="set of alarms",
            target=f"{len(telling)} alarms",
            summary=f"let {len(telling)} alarm{'' if len(telling) == 1 else 's'} tell nobody",
            data={"names": telling},
        )
    if estate.rule == "DISABLED":
        yield Step(
            id="restop",
            action="restop",
            kind="rule",
            target="database-restop",
            summary="keep databases stopped that AWS starts again after 7 days",
        )


def _settling(step: Step, asked: Data) -> Step:
    return Step(
        id=step.id.replace("stop:", "settle:", 1),
        action=_WAITED[step.action],
        kind=step.kind,
        target=step.target,
        summary=f"wait until {_named(step)} rest{'' if step.action == 'stop-instances' else 's'}",
        stage=_SETTLE,
        data={**step.data, "wait_minutes": asked["wait_minutes"]},
    )


def _named(step: Step) -> str:
    return step.target if step.action == "stop-instances" else f"{step.kind} {step.target}"


def _notes(
    environment: str, estate: Estate, record: Suspension | None, now: dt.datetime
) -> Iterator[str]:
    if record:
        yield suspension.told(environment, record, now)
    yield from (
        f"not stopped: instance {item.id} {item.name}".rstrip() + f" ({item.kept})"
        for item in estate.instances
        if item.kept and item.state in ("pending", "running")
    )
    yield from (
        f"not stopped: {_described(group)}. To stop it: aws autoscaling update-auto-scaling-group "
        f"--auto-scaling-group-name {group.name} --min-size 0 --desired-capacity 0"
        for group in estate.scaling_groups
        if not group.rests
    )
    yield from (
        f"this command runs on a node of {group.cluster}/{group.name}, and ends with it: run it "
        "elsewhere"
        for group in estate.node_groups
        if any(estate.here in scaled.instances for scaled in group.scaled)
    )
    yield from (
        f"not stopped: database {item.identifier} ({item.kept})"
        for item in estate.databases
        if item.kept
    )
    yield from (
        f"database {item.identifier} of the settings is not there"
        for item in estate.databases
        if not item.status
    )
    if estate.databases and not estate.rule:
        yield (
            f"there is no rule {naming.database_restop(environment)}: AWS starts a stopped "
            "database again after 7 days. Run ops up to make it"
        )


# Actions -------------------------------------------------------------------------------------


def _record(context: Context, step: Step) -> Data:
    access = context.access
    existing = suspension.read(access)
    begun = context.journal.records[0]
    until = step.data["until"] or (
        existing.until.isoformat() if existing and existing.until else ""
    )
    written = Suspension(
        run=context.journal.run,
        actor=existing.actor if existing else begun["operator"],
        reason=step.data["reason"] or (existing.reason if existing else NO_REASON),
        since=existing.since if existing else dt.datetime.fromisoformat(begun["at"]),
        until=dt.datetime.fromisoformat(until) if until else None,
        **dict(suspension.running(step.data["running"])),
    )
    if existing != written:
        suspension.write(access, written)
    return {"parameter": naming.suspension_parameter(access.environment)}


def _stop_nodes(context: Context, step: Step) -> Data:
    access = context.access
    answer, refused = _ask_eks(access, step)
    if answer not in ("busy", "refused"):
        return {"answer": answer}
    # Nobody knows how long that lasts, and nodes run on meanwhile.
    scaled = capacity.scaled(access, step.data.get("scaling_groups", ()))
    told = _take_nodes(access, scaled)
    if refused and (told or not scaled):
        raise OpsError("; ".join([f"EKS does not scale {step.target}: {refused}", *told]))
    return {"answer": answer, "set instead": [group.name for group in scaled], "told": told}


def _ask_eks(access: Access, step: Step) -> tuple[str, str]:
    """Ask EKS for no nodes; give its answer, and why it refuses.

    Raises where the credentials have ended.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return capacity.empty(access, step.data["cluster"], step.data["name"]), ""
    except (BotoCoreError, ClientError) as error:
        if is_expired(error):
            raise
        return "refused", str(error)


def _take_nodes(access: Access, scaled: Iterable[ScalingGroup]) -> list[str]:
    """Let Auto Scaling groups want no nodes; give why where they could not be set."""
    told = [
        capacity.rescale(access, group.name, least=0, wanted=0)
        for group in scaled
        if not group.rests
    ]
    return [why for why in told if why]


def _await_nodes(context: Context, step: Step) -> Data:
    access, cluster, name = context.access, step.data["cluster"], step.data["name"]
    at_it, refused = 0, ""

    def missing() -> str:
        nonlocal at_it, refused
        group = capacity.node_group(access, cluster, name)
        if group is None or group.status == "DELETING":
            return ""
        answer, refused = ("settled", "") if group.is_stopped else _ask_eks(access, step)
        updating = group.is_stopped and group.status == "UPDATING"
        at_it += updating
        said = [refused] if refused else []
        if not group.is_stopped:  # refused or busy, or an autoscaler has decided otherwise
            said.insert(0, f"{group.sizes.desired} nodes were wanted; asked again, {answer}")
        if answer in ("accepted", "gone") or (updating and at_it < PATIENCE):
            return "; ".join(said) or "EKS is at it"
        left = _left(access, group)
        # What EKS does not take is no reason to wait where nothing computes any more.
        if not left and not updating and answer != "busy":
            return ""
        return "; ".join([*said, *left]) or "EKS is at it"

    _wait(context, step, f"the nodes of {step.target} to go", missing)
    if refused:
        context.note(
            f"{step.target} has no nodes, and its Auto Scaling group wants none; EKS does not take "
            f"that over: {refused}"
        )
    return {"refused": refused} if refused else {}


def _left(access: Access, group: NodeGroup) -> list[str]:
    """Say what is left of a node group's nodes, and let its Auto Scaling groups want none."""
    scaled = capacity.scaled(access, group.scaling_groups)
    if not scaled and not group.is_stopped:
        return ["its Auto Scaling group is not there"]
    wanting = [
        f"Auto Scaling group {item.name} wanted {item.desired}, at least {item.min}"
        for item in _wanting(scaled)
    ]
    return [*wanting, *_take_nodes(access, scaled), *_nodes_left(scaled, group.issues)]


def _wanting(scaled: Iterable[ScalingGroup]) -> list[ScalingGroup]:
    return [group for group in scaled if not group.rests]


def _nodes_left(scaled: Iterable[ScalingGroup], issues: Sequence[str]) -> list[str]:
    nodes = {id_: state for group in scaled for id_, state in group.instances.items()}
    if not nodes:
        return []
    named = ", ".join(f"{id_} is {state}" for id_, state in sorted(nodes.items())[:NAMED])
    draining = any(state.startswith("Terminating") for state in nodes.values())
    hint = "; a disruption budget may hold up its pods (kubectl get pdb -A)" if draining else ""
    return [f"{len(nodes)} left, {named}{hint}", *issues]


def _stop_instances(context: Context, step: Step) -> Data:
    ids = _others(context, step)
    refused = _ask_instances(context.access, ids)
    if refused:
        raise OpsError(_refusal(refused))
    return {"asked": len(ids)}


def _others(context: Context, step: Step) -> list[str]:
    """Give a step's instances but the one that this command runs on, which planned it elsewhere."""
    here = capacity.own_id()
    if here in step.data["ids"]:
        context.note(f"Not stopped: instance {here} (this command runs on it).")
    return [id_ for id_ in step.data["ids"] if id_ != here]


def _ask_instances(access: Access, ids: Sequence[str]) -> dict[str, str]:
    """Ask for a stop of instances; give why for those that run on, and are not just starting."""
    refused = capacity.switch(access, "stop", ids)
    if not refused:
        return {}
    states = capacity.states(access, list(refused))
    return {id_: why for id_, why in refused.items() if states.get(id_) == "running"}


def _refusal(refused: Mapping[str, str]) -> str:
    return "EC2 does not stop " + "; ".join(f"{id_}: {why}" for id_, why in refused.items())


def _await_instances(context: Context, step: Step) -> None:
    refused: dict[str, str] = {}
    ids = _others(context, step)

    def missing() -> str:
        states = capacity.states(context.access, ids)
        moving = {id_: now for id_, now in states.items() if now not in ("stopped", *_ENDING)}
        asked = [id_ for id_, now in moving.items() if now != "stopping" and id_ not in refused]
        refused.update(_ask_instances(context.access, asked))
        left = [id_ for id_ in moving if id_ not in refused]
        return f"{len(left)} still, among them {left[0]}, {moving[left[0]]}" if left else ""

    _wait(context, step, f"{step.target} to stop", missing)
    if refused:
        raise OpsError(_refusal(refused))


def _stop_database(context: Context, step: Step) -> Data:
    return {"answer": capacity.stop_database(context.access, step.data["identifier"])}


def _await_database(context: Context, step: Step) -> None:
    def missing() -> str:
        status = capacity.database_status(context.access, step.data["identifier"])
        if status in ("", "stopped", "deleting"):
            return ""
        if status in capacity.STOPPABLE:
            capacity.stop_database(context.access, step.data["identifier"])
        return f"it is {status}"

    _wait(context, step, f"database {step.target} to stop", missing)


def _silence(context: Context, step: Step) -> None:
    capacity.tell(context.access, step.data["names"], on=False)


def _restop(context: Context, _step: Step) -> None:
    capacity.set_rule(context.access, enabled=True)


def _wait(context: Context, step: Step, what: str, missing: Callable[[], str]) -> None:
    context.wait(
        what,
        missing,
        deadline_seconds=step.data["wait_minutes"] * 60,
        interval_seconds=INTERVAL_SECONDS,
    )


# Verification --------------------------------------------------------------------------------


def verify(context: Context) -> tuple[Check, ...]:
    """Look at everything again."""
    access = context.access
    estate = capacity.observe(access)
    record = suspension.read(access)
    running = observed(estate)
    again = f"run ops stop {access.environment} again"
    check = partial(_check, again)
    return (
        check("record", [] if record else ["it is not there"], "what ran is written down"),
        _node_groups_check(again, estate),
        _scaling_groups_check(estate),
        check("instances", running.instances, "none runs that can be stopped"),
        check("databases", running.databases, "none runs that settings let be stopped"),
        check(
            "alarms",
            [name for name, tells in estate.alarms.items() if tells],
            f"{len(estate.alarms)} tell nobody",
        ),
        check(
            "rule",
            ["it is disabled"] if estate.rule == "DISABLED" else [],
            "databases are kept stopped" if estate.rule else "there is none",
        ),
    )


def _node_groups_check(again: str, estate: Estate) -> Check:
    name, right = "node groups", f"{len(estate.node_groups)} want no nodes"
    wanted = [
        f"{group.cluster}/{group.name} wants "
        f"{sum(item.desired for item in group.scaled) or group.sizes.desired}"
        for group in estate.node_groups
        if group.computes
    ]
    behind = [
        f"EKS says that {group.cluster}/{group.name} wants {group.sizes.desired}, at least "
        f"{group.sizes.min}; its Auto Scaling group wants none"
        for group in estate.node_groups
        if not group.computes and not group.is_stopped
    ]
    if wanted or not behind:
        return _check(again, name, wanted, right)
    return Check(
        name=name,
        status="warn",
        found="; ".join(behind),
        expected=right,
        remedy=f"when EKS takes changes of it again, {again}",
    )


def _scaling_groups_check(estate: Estate) -> Check:
    name, right = "other Auto Scaling groups", "none wants instances"
    wanting = [_described(group) for group in _wanting(estate.scaling_groups)]
    if not wanting:
        return Check(name=name, status="ok", found=right)
    return Check(
        name=name,
        status="warn",
        found="; ".join(wanting),
        expected=right,
        remedy="let them want none, if they are to be stopped: aws autoscaling "
        "update-auto-scaling-group --min-size 0 --desired-capacity 0",
    )


def _described(group: ScalingGroup) -> str:
    return f"Auto Scaling group {group.name}, which wants {group.desired} and is no node group's"


def _check(remedy: str, name: str, wrong: Iterable[str], right: str) -> Check:
    wrong = list(wrong)
    if not wrong:
        return Check(name=name, status="ok", found=right)
    return Check(name=name, status="fail", found="; ".join(wrong), expected=right, remedy=remedy)


_WAITED: Final = {
    "stop-nodes": "await-nodes",
    "stop-instances": "await-instances",
    "stop-database": "await-database",
}

OPERATION: Final = Operation(
    name="stop",
    plan=plan,
    actions={
        "record": _record,
        "stop-nodes": _stop_nodes,
        "stop-instances": _stop_instances,
        "stop-database": _stop_database,
        "silence": _silence,
        "restop": _restop,
        "await-nodes": _await_nodes,
        "await-instances": _await_instances,
        "await-database": _await_database,
        "refresh": suspension.refresh,
    },
    verify=verify,
    carry_on=True,
    by_name=True,
    approved=False,
    emergency=True,
)

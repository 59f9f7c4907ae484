"""The destroy itself: protection off by an update with a teardown's settings, then all of it.

What is deleted is what the plan names. A resource that came into the state since then stops it,
and so does a program that would change more than its protection, or a backup that is too old.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import guard, pending, protection
from ops.backup import databases
from ops.errors import CancelledError, OpsError, RefusedError
from ops.plan import Data, Step
from ops.restore import state as states
from ops.teardown import clean_up, freshness, left_behind
from ops.tree import path_segments

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from ops.access import Access
    from ops.execution import Context
    from ops.report import UpdateReport
    from ops.tree import ResourceChange
    from ops.update import Command

Entry = Mapping[str, Any]

READY_SECONDS: Final = 3600.0
"""How long is waited for a database that is in the middle of something."""
SWEEP_SECONDS: Final = 15.0
"""How often network interfaces that hold the network back are looked for while it goes."""
PREPARE: Final = "destroy-prepare"
DESTROY: Final = "destroy"
DATABASE: Final = "aws:rds/instance:Instance"
_SNAPSHOT: Final = "backup-snapshot"
_LAST_SNAPSHOT: Final = "finalSnapshotIdentifier"
_PROTECTIONS: Final = (
    "deletionProtection",
    "deletionProtectionEnabled",
    "enableDeletionProtection",
)
_FORCED: Final = frozenset(
    {"aws:route53/zone:Zone", "aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"}
)
SWITCHES: Final = frozenset(
    {*_PROTECTIONS, _LAST_SNAPSHOT, "forceDelete", "forceDestroy", "skipFinalSnapshot"}
)
"""All that a teardown's settings change of what is there."""
_SHOWN: Final = 5
"""Errors of an update that are told; all are in its output."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a stack's state says, without its secrets."""

    entries: tuple[Entry, ...] = ()
    pending: tuple[str, ...] = ()
    """URNs of operations that were begun and of which nobody knows how they ended."""
    creating: tuple[Entry, ...] = ()
    """Those of them that are creations, as resources that the state does not have."""

    @property
    def resources(self) -> list[tuple[str, str]]:
        """Give URN and id of what is in the cloud, sorted."""
        return sorted(
            (str(entry["urn"]), str(entry.get("id", "")))
            for entry in self.entries
            if in_cloud(entry)
        )


def read_state(access: Access) -> State:
    """Read the environment's state; its secrets are not decrypted for that."""
    from ops.backup.steps import exported

    deployment = json.loads(exported(access)).get("deployment") or {}
    return State(
        entries=tuple(deployment.get("resources") or ()),
        pending=tuple(
            str(operation["resource"]["urn"])
            for operation in deployment.get("pending_operations") or ()
        ),
        creating=pending.creations(deployment),
    )


def in_cloud(entry: Entry) -> bool:
    """Tell whether an entry stands for something outside of the state."""
    return bool(entry.get("custom")) and not str(entry["type"]).startswith("pulumi:")


def destroy_steps(state: State, access: Access, *, stage: int) -> tuple[Step, ...]:
    """Plan the destroy of what a state holds; nothing where it holds nothing.

    Raises `RefusedError` where something may be there of a creation that was interrupted.
    """
    if not state.entries:
        return ()
    pending.refuse_forgetting(access, state.entries, state.creating)
    env = access.environment
    resources = [list(pair) for pair in state.resources]
    vpcs = [entry["id"] for entry in state.entries if entry["type"] == "aws:ec2/vpc:Vpc"]
    marked = sorted(protection.protected(state.entries))
    steps = []
    if state.pending:
        steps.append(
            Step(
                id="destroy-reconcile",
                action="destroy-reconcile",
                kind="state",
                target=env,
                summary=f"reconcile {len(state.pending)} interrupted operations of the state with "
                "the cloud",
                stage=stage,
                data={"pending": list(state.pending)},
            )
        )
    data = {"resources": resources, "vpcs": vpcs, "protected": marked}
    return (
        *steps,
        Step(
            id=PREPARE,
            action=PREPARE,
            kind="stack",
            target=env,
            summary="take deletion protection off, and give the databases' last snapshots their "
            "names (an update with a teardown's settings)",
            stage=stage + 1,
            data=data,
        ),
        Step(
            id=DESTROY,
            action=DESTROY,
            kind="stack",
            target=env,
            summary=f"destroy the {len(resources)} resources of the stack, {len(marked)} of them "
            "protected in the state",
            stage=stage + 2,
            destructive=True,
            data=data,
        ),
    )


def is_prepared(entries: Iterable[Entry]) -> bool:
    """Tell whether what a teardown's settings take off is off, and last snapshots have names."""
    return all(_is_prepared(entry) for entry in entries if in_cloud(entry))


def _is_prepared(entry: Entry) -> bool:
    inputs = entry.get("inputs") or {}
    if any(inputs.get(name) for name in _PROTECTIONS) or entry.get("retainOnDelete"):
        return False
    if entry["type"] in _FORCED:
        return bool(inputs.get("forceDestroy"))
    return entry["type"] != DATABASE or bool(inputs.get(_LAST_SNAPSHOT))


def refuse_unsaved(state: State, steps: Iterable[Step], there: Collection[str]) -> None:
    """Refuse a plan that destroys a database of which it makes no snapshot before.

    The backup follows the settings' identifiers, the destroy follows the state. `there`: the
    identifiers of the instances that AWS has.
    """
    saved = {step.target for step in steps if step.action == _SNAPSHOT}
    unsaved = [
        f"{identifier} ({entry['urn'].rpartition('::')[2]})"
        for entry in state.entries
        if entry["type"] == DATABASE
        and (identifier := _identifier(entry)) in there
        and identifier not in saved
    ]
    if unsaved:
        raise RefusedError(
            f"The state has the database {', '.join(unsaved)}, and the backup would hold no "
            "snapshot of it: the settings name "
            f"{', '.join(sorted(saved)) or 'no database that is there'}. Nothing was changed. Put "
            "its identifier into the stack file's databases, as a restore that took it over has "
            "asked for, and plan again."
        )


def _identifier(entry: Entry) -> str:
    """Give the identifier of a database's instance, as it is and not as it shall be."""
    known = {**(entry.get("inputs") or {}), **(entry.get("outputs") or {})}
    return str(known.get("identifier", ""))


def refuse_unplanned(held: Iterable[Entry], planned: Sequence[Sequence[str]], env: str) -> None:
    """Refuse to go on where the state has what the plan does not name."""
    agreed = {(urn, id_) for urn, id_ in planned}
    new = [
        f"{entry['urn'].rpartition('::')[2]} ({entry['type']}, {entry.get('id', '')})"
        for entry in held
        if in_cloud(entry) and (entry["urn"], entry.get("id", "")) not in agreed
    ]
    if new:
        more = f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
        raise RefusedError(
            f"The state has what the plan does not: {', '.join(new[:_SHOWN])}{more}. Nobody agreed "
            "to destroy that: nothing further was destroyed. Look, and plan again: "
            f"ops teardown {env} --dry-run"
        )


# What the steps do ---------------------------------------------------------------------------


def reconcile(context: Context, _step: Step) -> Data:
    """Look what became of interrupted operations, and forget those that made nothing."""
    from ops.stack import open_stack
    from ops.update import Options

    access = context.access
    state = read_state(access)
    pending.refuse_forgetting(access, state.entries, state.creating)
    # The sandbox's engine looks itself, unless it is told to forget.
    options = Options(clear_pending_creates=access.mode == "aws")
    _run(context, open_stack(access), "refresh", options)
    left = read_state(access).pending
    if left:
        raise OpsError(
            f"Operations of the state are pending after a refresh: {', '.join(left[:_SHOWN])}. "
            "Nothing was destroyed. Look at them: pulumi refresh"
        )
    return {}


def prepare(context: Context, step: Step) -> Data:
    """Take protection off by an update of what is there; the final snapshots get their names."""
    with _way_back(context):
        held = _agreed(context, step)
        if not held:
            return {}
        freshness.refuse_old_backup(context)
        _await_databases(context, held)
        held = _without_gone(context, step, held)
        return _prepare(context, step, held, _stamp(context))


def destroy(context: Context, step: Step) -> Data:
    """Delete everything that is left of the stack; what stays is protected again."""
    from ops.stack import open_stack

    access = context.access
    with _way_back(context):
        held = _agreed(context, step)
        if not held:
            return {}
        if not _is_begun(context, step, held):
            freshness.refuse_old_backup(context)
        _await_databases(context, held)
        held = _without_gone(context, step, held)
        stamp = f"{context.now():%Y%m%d-%H%M%S}"
        if not is_prepared(held):  # somebody has brought the stack up since
            _prepare(context, step, held, stamp)
            held = _agreed(context, step)
        if spent := _spent_snapshots(access, held):
            # In the state alone: a program whose stack is half gone cannot be brought up.
            states.write(access, renamed(states.read(access), spent, stamp))
            held = _agreed(context, step)
        stack = open_stack(access)
        with protection.unmarked(
            stack, protection.protected(held), context.note, also=_protected(step)
        ):
            _delete_all(context, stack, step)
    return {"deleted": len(step.data["resources"]), "snapshots": _final_snapshots(held)}


def _agreed(context: Context, step: Step) -> tuple[Entry, ...]:
    """Give what the state has, which is no more than was agreed to lose."""
    access = context.access
    state = read_state(access)
    refuse_unplanned(state.entries, step.data["resources"], access.environment)
    pending.refuse_forgetting(access, state.entries, state.creating)
    return state.entries


def _without_gone(context: Context, step: Step, held: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Let the state forget databases that somebody has deleted: nothing can change or delete them.

    There is nothing left of them to lose, and the plan has said that none of them is backed up.
    """
    from ops.stack import open_stack
    from ops.update import Options

    access = context.access
    rds = access.client("rds")
    gone = tuple(
        str(entry["urn"])
        for entry in held
        if entry["type"] == DATABASE and databases.instance_state(rds, _identifier(entry)) is None
    )
    if not gone:
        return held
    _run(context, open_stack(access), "refresh", Options(targets=gone))
    return _agreed(context, step)


def _is_begun(context: Context, step: Step, held: Iterable[Entry]) -> bool:
    """Tell whether a former attempt has destroyed something: then only the rest can follow.

    What is gone already is nowhere but in the backup of this run, however old it is by now.
    """
    begun = [
        record
        for record in context.journal.records
        if record["kind"] == "intent" and record["step"] == step.id
    ]
    left = sum(map(in_cloud, held))
    return len(begun) > 1 and left < len(step.data["resources"])


def _protected(step: Step) -> Sequence[str]:
    """Give the URNs that were protected when it was planned."""
    found: Sequence[str] = step.data.get("protected", ())
    return found


@contextmanager
def _way_back(context: Context) -> Iterator[None]:
    """Say how to go on working with what is left, where it comes to no end."""
    try:
        yield
    except Exception:
        env = context.access.environment
        ops = "ops --sandbox" if context.access.mode == "sandbox" else "ops"
        held = any(step.action == clean_up.CLAIMS for step in context.plan.steps)
        nodes = f" The nodes are held: {clean_up.WAY_BACK}" if held else ""
        context.note(
            f"To go on with the teardown: {ops} resume {context.journal.run}. To keep {env} "
            "instead, as long as nothing of its stack was deleted: "
            f"{ops} up {env}, which brings its deletion protection back.{nodes}"
        )
        raise


def _delete_all(context: Context, stack: Stack, step: Step) -> None:
    """Destroy the stack; once more where only what the cluster has left was in the way."""
    from ops.update import Options

    sweep = functools.partial(_sweep, context, step)
    with _sweeping(context, sweep):
        try:
            _run(context, stack, "destroy", Options())
        except OpsError as error:
            # The CLI ends in good order after Ctrl-C: it is no other failure for that.
            if context.cancelled.is_set() or isinstance(error, CancelledError) or not sweep():
                raise
            if context.lock:
                context.lock.require()
            context.note("What the cluster had left in its network is gone: once more.")
            _run(context, stack, "destroy", Options())


def _sweep(context: Context, step: Step) -> list[str]:
    """Delete what the cluster has left in its network; give what it was.

    Where that cannot be looked for it is told: it is no reason to end.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    planned = {id_ for _, id_ in step.data["resources"]}
    try:
        return left_behind.sweep(context.access, list(step.data["vpcs"]), planned)
    except (BotoCoreError, ClientError) as error:
        context.note(f"What the cluster has left in its network could not be looked for: {error}")
        return []


@contextmanager
def _sweeping(context: Context, sweep: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Look for what is in the network's way while the block runs: else it waits for minutes."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SWEEP_SECONDS):
            for id_ in sweep():
                context.note(f"deleted {id_}, which the cluster has left")

    sweeper = threading.Thread(target=watch, daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        ended.set()
        sweeper.join()


def _prepare(context: Context, step: Step, held: Sequence[Entry], stamp: str) -> Data:
    """Update what protects itself with a teardown's settings; refuse a program that does more.

    The state's marks are put back, since the time for them to go is the destroy.
    """
    from ops.stack import open_stack
    from ops.update import Options

    access = context.access
    urns = to_prepare(held)
    if not urns:
        return {}
    here = open_stack(access)
    try:
        with protection.teardown_settings(access, "environment", stamp) as (stack, file):
            options = Options(targets=urns, config_file=str(file) if file else None)
            planned = _run(context, stack, "up", options, dry_run=True)
            guard.refuse_losses(planned)
            refuse_more(planned, access.environment)
            _run(context, stack, "up", options)
    finally:
        protection.protect_left(here, _protected(step), context.note)
    return {"stamp": stamp}


def to_prepare(held: Iterable[Entry]) -> tuple[str, ...]:
    """Give the URNs that a teardown's settings are for.

    The rest is not touched before it is deleted: what differs in it does not matter any more.
    """
    return tuple(
        str(entry["urn"])
        for entry in held
        if in_cloud(entry) and (entry["type"] == DATABASE or not _is_prepared(entry))
    )


def refuse_more(planned: UpdateReport, env: str) -> None:
    """Refuse an update that does more to what is there than to make it deletable."""
    more = [
        f"{change.op} {change.name}{_told(change)}"
        for change in planned.resources
        if change.custom and change.changed and not _is_switch(change)
    ]
    if more:
        raise RefusedError(
            "To take protection off, the program would do more than that: "
            f"{'; '.join(more[:_SHOWN])}. The state is not what the program declares. Nothing was "
            f"destroyed. Bring them together first: ops up {env}"
        )


def _is_switch(change: ResourceChange) -> bool:
    if change.op != "update":
        return False
    # A provider that is configured anew changes nothing in the cloud.
    return not change.in_cloud or (bool(change.changes) and _roots(change) <= SWITCHES)


def _roots(change: ResourceChange) -> set[str]:
    """Give the properties that a change is about, whatever is inside of them."""
    return {str((path_segments(item.path) or [""])[0]) for item in change.changes}


def _told(change: ResourceChange) -> str:
    more = sorted(_roots(change) - SWITCHES)
    return f" ({', '.join(more)})" if more else ""


def _run(
    context: Context, stack: Stack, command: Command, options: Any, *, dry_run: bool = False
) -> UpdateReport:
    from ops import update
    from ops.tree import UpdateLog

    label = f"{'previewing ' if dry_run else ''}{command} {context.access.environment}"
    with context.terminal.progress(label) as watch:
        report = update.run(
            stack,
            command,
            header=context.access.header(),
            options=options,
            log=UpdateLog(dry_run=dry_run),
            watch=watch,
            tell=context.terminal.note,
        )
    if report.result == "failed":
        errors = [item.message for item in report.diagnostics if item.severity == "error"]
        text = "\n".join(errors[:_SHOWN]) or report.error
        raise OpsError(f"{label} failed: {text}")
    return report


def _stamp(context: Context) -> str:
    """Give the moment at which this run first prepared: the same when it is resumed.

    The backup's snapshots are named by the moment the run began, so it is another.
    """
    first = next(
        record
        for record in context.journal.records
        if record["kind"] == "intent" and record["step"] == PREPARE
    )
    begun = dt.datetime.fromisoformat(context.journal.records[0]["at"])
    at = dt.datetime.fromisoformat(first["at"])
    if f"{at:%Y%m%d-%H%M%S}" == f"{begun:%Y%m%d-%H%M%S}":
        at += dt.timedelta(seconds=1)
    return f"{at:%Y%m%d-%H%M%S}"


def _spent_snapshots(access: Access, held: Iterable[Entry]) -> list[str]:
    """Give last snapshots that are there already while their database still is, too."""
    rds = access.client("rds")
    spent = []
    for entry in held:
        name = (entry.get("inputs") or {}).get(_LAST_SNAPSHOT)
        if entry["type"] != DATABASE or not name:
            continue
        instance = databases.instance_state(rds, _identifier(entry))
        going = instance is None or instance["DBInstanceStatus"] == "deleting"
        if not going and databases.snapshot_state(rds, str(name)):
            spent.append(str(name))
    return spent


def renamed(deployment: states.Deployment, spent: Collection[str], stamp: str) -> states.Deployment:
    """Give a state whose databases leave last snapshots of other names than those.

    The provider goes by the outputs, an update by the inputs.
    """
    result = copy.deepcopy(deployment)
    for entry in states.resources(result):
        for said in (entry.get("inputs") or {}, entry.get("outputs") or {}):
            if entry["type"] == DATABASE and said.get(_LAST_SNAPSHOT) in spent:
                said[_LAST_SNAPSHOT] = naming.database_snapshot(_identifier(entry), stamp)
    return result


def _await_databases(context: Context, held: Iterable[Entry]) -> None:
    """Wait until AWS takes requests about the databases: in the middle of a backup it does not."""
    rds = context.access.client("rds")
    for entry in held:
        if entry["type"] != DATABASE:
            continue
        identifier = _identifier(entry)
        context.wait(
            f"{identifier} to be available",
            functools.partial(_unready, rds, identifier),
            deadline_seconds=READY_SECONDS,
        )


def _unready(rds: Any, identifier: str) -> str:
    """Say what holds a database up; nothing does where it is gone, or goes already."""
    instance = databases.instance_state(rds, identifier)
    if instance is None or instance["DBInstanceStatus"] == "deleting":
        return ""
    return databases.awaited(identifier, instance, "DBInstanceStatus", *databases.READY)


def _final_snapshots(held: Iterable[Entry]) -> list[str]:
    return [
        str(entry["inputs"][_LAST_SNAPSHOT])
        for entry in held
        if entry["type"] == DATABASE and entry["inputs"].get(_LAST_SNAPSHOT)
    ]

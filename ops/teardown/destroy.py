"""The destroy itself: protection off by an update with a teardown's settings, then all of it.

What is deleted is what the plan names. A resource that came into the state since then stops it,
and so does a program that would change more than its protection.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import protection
from ops.backup import databases
from ops.errors import CancelledError, OpsError, RefusedError
from ops.plan import Data, Step

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from ops.access import Access
    from ops.execution import Context
    from ops.report import UpdateReport
    from ops.update import Command

Entry = Mapping[str, Any]

READY_SECONDS: Final = 3600.0
"""How long is waited for a database that is in the middle of something."""
SWEEP_SECONDS: Final = 15.0
"""How often network interfaces that hold the network back are looked for while it goes."""
PREPARE: Final = "destroy-prepare"
DATABASE: Final = "aws:rds/instance:Instance"
_LINGERING: Final = "aws-K8S-"
"""What the cluster's network plug-in calls its interfaces; it leaves some behind."""
_PROTECTIONS: Final = (
    "deletionProtection",
    "deletionProtectionEnabled",
    "enableDeletionProtection",
)
_FORCED: Final = frozenset(
    {"aws:route53/zone:Zone", "aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"}
)
_SHOWN: Final = 5
"""Errors of an update that are told; all are in its output."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a stack's state says, without its secrets."""

    entries: tuple[Entry, ...] = ()
    pending: tuple[str, ...] = ()
    """URNs of operations that were begun and of which nobody knows how they ended."""

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
    )


def in_cloud(entry: Entry) -> bool:
    """Tell whether an entry stands for something outside of the state."""
    return bool(entry.get("custom")) and not str(entry["type"]).startswith("pulumi:")


def destroy_steps(state: State, access: Access, *, stage: int) -> tuple[Step, ...]:
    """Plan the destroy of what a state holds; nothing where it holds nothing."""
    if not state.entries:
        return ()
    env = access.environment
    resources = [list(pair) for pair in state.resources]
    vpcs = [entry["id"] for entry in state.entries if entry["type"] == "aws:ec2/vpc:Vpc"]
    marked = sum(bool(entry.get("protect")) for entry in state.entries)
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
    data = {"resources": resources, "vpcs": vpcs}
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
            id="destroy",
            action="destroy",
            kind="stack",
            target=env,
            summary=f"destroy the {len(resources)} resources of the stack, {marked} of them "
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
    return entry["type"] != DATABASE or bool(inputs.get("finalSnapshotIdentifier"))


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

    options = Options(clear_pending_creates=True)
    _run(context, open_stack(context.access), "refresh", options)
    left = read_state(context.access).pending
    if left:
        raise OpsError(
            f"Operations of the state are pending after a refresh: {', '.join(left[:_SHOWN])}. "
            "Nothing was destroyed. Look at them: pulumi refresh"
        )
    return {}


def prepare(context: Context, step: Step) -> Data:
    """Take protection off by an update of what is there; the final snapshots get their names."""
    held = read_state(context.access).entries
    refuse_unplanned(held, step.data["resources"], context.access.environment)
    _await_databases(context, held)
    return _prepare(context, held, _stamp(context))


def destroy(context: Context, step: Step) -> Data:
    """Delete everything that is left of the stack; what stays is protected again."""
    from ops.stack import open_stack
    from ops.update import Options

    access = context.access
    held = read_state(access).entries
    refuse_unplanned(held, step.data["resources"], access.environment)
    if not held:
        return {}
    _await_databases(context, held)
    spent = _spent_snapshots(access, held)
    if spent or not is_prepared(held):
        # Somebody has brought the stack up since, or the name was used by a deletion that failed.
        _prepare(context, held, f"{context.now():%Y%m%d-%H%M%S}")
        held = read_state(access).entries
        refuse_unplanned(held, step.data["resources"], access.environment)
    stack = open_stack(access)
    vpcs = list(step.data["vpcs"])
    with (
        protection.unmarked(stack, protection.protected(held), context.note),
        _sweeping(context, vpcs),
    ):
        try:
            _run(context, stack, "destroy", Options())
        except OpsError as error:
            if isinstance(error, CancelledError) or not sweep_interfaces(access, vpcs):
                raise
            context.note("Network interfaces that held the network back are gone: once more.")
            _run(context, stack, "destroy", Options())
    return {"deleted": len(step.data["resources"]), "snapshots": _final_snapshots(held)}


def sweep_interfaces(access: Access, vpcs: Sequence[str]) -> list[str]:
    """Delete network interfaces of the cluster that nothing is attached to; give their ids.

    The network plug-in leaves them behind when a node ends, and they hold subnets and security
    groups back.
    """
    if not vpcs:
        return []
    ec2 = access.client("ec2")
    wanted = [
        {"Name": "vpc-id", "Values": list(vpcs)},
        {"Name": "status", "Values": ["available"]},
    ]
    pages = ec2.get_paginator("describe_network_interfaces").paginate(Filters=wanted)
    lingering = [
        item["NetworkInterfaceId"]
        for page in pages
        for item in page["NetworkInterfaces"]
        if is_lingering(item, naming.cluster(access.environment))
    ]
    return [id_ for id_ in lingering if _is_deleted(ec2, id_)]


def is_lingering(interface: Mapping[str, Any], cluster: str) -> bool:
    """Tell whether an interface is one that the cluster's network plug-in has left behind."""
    tags = {tag["Key"]: tag["Value"] for tag in interface.get("TagSet") or ()}
    of_plugin = str(interface.get("Description", "")).startswith(_LINGERING)
    return interface.get("Status") == "available" and (
        tags.get("cluster.k8s.amazonaws.com/name") == cluster
        or (of_plugin and "cluster.k8s.amazonaws.com/name" not in tags)
    )


def _is_deleted(ec2: Any, id_: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        ec2.delete_network_interface(NetworkInterfaceId=id_)
    except ClientError as error:
        # Meanwhile somebody else has deleted it, or a node has taken it.
        if error.response["Error"]["Code"] in (
            "InvalidNetworkInterfaceID.NotFound",
            "InvalidNetworkInterface.InUse",
            "InvalidParameterValue",
        ):
            return False
        raise
    return True


@contextmanager
def _sweeping(context: Context, vpcs: Sequence[str]) -> Iterator[None]:
    """Look for lingering interfaces while the block runs: else the network waits for minutes."""
    from botocore.exceptions import BotoCoreError, ClientError

    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(SWEEP_SECONDS):
            try:
                for id_ in sweep_interfaces(context.access, vpcs):
                    context.note(f"deleted {id_}, a network interface that the cluster has left")
            except (BotoCoreError, ClientError) as error:
                context.note(f"Lingering network interfaces could not be looked for: {error}")

    sweeper = threading.Thread(target=sweep, daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        ended.set()
        sweeper.join()


def _prepare(context: Context, held: Sequence[Entry], stamp: str) -> Data:
    """Update what is there with a teardown's settings; refuse a program that does more."""
    from ops.update import Options

    if not held:
        return {}
    urns = tuple(str(entry["urn"]) for entry in held)
    with protection.teardown_settings(context.access, "environment", stamp) as (stack, file):
        options = Options(targets=urns, config_file=str(file) if file else None)
        _refuse_more(_run(context, stack, "up", options, dry_run=True), context.access)
        _run(context, stack, "up", options)
    return {"stamp": stamp}


def _refuse_more(planned: UpdateReport, access: Access) -> None:
    more = [
        f"{change.op} {change.name}"
        for change in planned.resources
        if change.custom and change.changed and change.op != "update"
    ]
    if more:
        env = access.environment
        raise RefusedError(
            "To take protection off, the program would do more than that: "
            f"{', '.join(more[:_SHOWN])}. The state is not what the program declares. Nothing was "
            f"destroyed. Bring them together first: ops up {env}"
        )


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
        name = (entry.get("inputs") or {}).get("finalSnapshotIdentifier")
        if entry["type"] != DATABASE or not name:
            continue
        instance = databases.instance_state(rds, str(entry["inputs"].get("identifier", "")))
        going = instance is None or instance["DBInstanceStatus"] == "deleting"
        if not going and databases.snapshot_state(rds, str(name)):
            spent.append(str(name))
    return spent


def _await_databases(context: Context, held: Iterable[Entry]) -> None:
    """Wait until AWS takes requests about the databases: in the middle of a backup it does not."""
    rds = context.access.client("rds")
    for entry in held:
        if entry["type"] != DATABASE:
            continue
        identifier = str((entry.get("inputs") or {}).get("identifier", ""))
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
        str(entry["inputs"]["finalSnapshotIdentifier"])
        for entry in held
        if entry["type"] == DATABASE and entry["inputs"].get("finalSnapshotIdentifier")
    ]

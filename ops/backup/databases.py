"""The databases' part of a backup: a snapshot of each, made and awaited."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.errors import IncompleteError, OpsError, RefusedError, UsageError

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context

BACKUP_TAG: Final = "mono-repo-ops:backup"
RUN_TAG: Final = "mono-repo-ops:run"
REHEARSAL_TAG: Final = "mono-repo-ops:rehearsal-until"
"""On a copy that a rehearsal made: until when it may be there, RFC 3339."""

INTERVAL_SECONDS = 5.0
"""How often is looked at what is waited for."""
RESTORE_SECONDS: Final = 6 * 3600.0
"""How long a restored instance is waited for: the first of a large snapshot takes hours."""
READY: Final = frozenset({"available", "storage-optimization"})
"""States of an instance of which AWS makes a snapshot."""
_HOPELESS: Final = ("failed", "deleting", "incompatible-", "inaccessible-", "restore-error")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The database instances of an environment."""

    databases: Mapping[str, Mapping[str, Any]]
    """Name in settings → its instance, as RDS describes it."""
    missing: tuple[str, ...]
    """Names whose instance is not there."""
    others: tuple[Mapping[str, Any], ...]
    """Instances of the environment that settings do not name."""


def instances(rds: Any) -> dict[str, Mapping[str, Any]]:
    """Give every instance of account and region by its identifier.

    Raises `IncompleteError` where they cannot be listed to the end.
    """
    return {item["DBInstanceIdentifier"]: item for item in _pages(rds, "describe_db_instances")}


def snapshots(rds: Any) -> dict[str, Mapping[str, Any]]:
    """Give every manual snapshot of account and region by its identifier; raises likewise."""
    pages = _pages(rds, "describe_db_snapshots", SnapshotType="manual")
    return {item["DBSnapshotIdentifier"]: item for item in pages}


def find(access: Access) -> Found:
    """Find the databases that settings name, and what else is the environment's."""
    there = instances(access.client("rds"))
    wanted = {item.name: item.identifier for item in access.settings.databases}
    return Found(
        databases={name: there[id_] for name, id_ in wanted.items() if id_ in there},
        missing=tuple(name for name, id_ in wanted.items() if id_ not in there),
        others=tuple(
            item
            for id_, item in there.items()
            if id_ not in wanted.values() and is_environments(item, access.environment)
        ),
    )


def is_environments(instance: Mapping[str, Any], environment: str) -> bool:
    """Tell whether an instance carries the environment's tag."""
    return tags(instance).get("environment") == environment


def tags(described: Mapping[str, Any]) -> dict[str, str]:
    """Give the tags of an instance or a snapshot."""
    return {tag["Key"]: tag["Value"] for tag in described.get("TagList", [])}


def without(found: Found, names: Collection[str], *, started: bool = False) -> Found:
    """Leave databases out that have no snapshot to be had; `started` as for `refuse_unready`.

    Raises `UsageError` for one that settings do not name, or that can be backed up.
    """
    known = {*found.databases, *found.missing}
    if unknown := sorted(set(names) - known):
        raise UsageError(
            f"--without database:{unknown[0]}: settings name {', '.join(sorted(known)) or 'none'}. "
            "Nothing was backed up."
        )
    for name in names:
        instance = found.databases.get(name)
        if instance and not (_is_lost(instance) or (_is_stopped(instance) and not started)):
            raise UsageError(
                f"--without database:{name}: {instance['DBInstanceIdentifier']} is "
                f"{instance['DBInstanceStatus']}, so it is backed up: only what has no snapshot "
                "to be had is left out. Nothing was backed up."
            )
    return replace(
        found,
        databases={key: item for key, item in found.databases.items() if key not in names},
        missing=tuple(name for name in found.missing if name not in names),
    )


def refuse_missing(found: Found, environment: str) -> None:
    """Refuse a backup that would be whole without a database that settings name."""
    if not found.missing:
        return
    options = " ".join(f"--without database:{name}" for name in found.missing)
    raise RefusedError(
        f"The instance of a database that settings name is not there: {', '.join(found.missing)}. "
        "Nothing was backed up: a restore of such a backup would not have it. Bring it back "
        f"(ops restore {environment} --from latest), or leave it out on purpose: {options}"
    )


def _is_stopped(instance: Mapping[str, Any]) -> bool:
    return instance["DBInstanceStatus"] in ("stopped", "stopping")


def _is_lost(instance: Mapping[str, Any]) -> bool:
    return str(instance["DBInstanceStatus"]).startswith(_HOPELESS)


def refuse_unready(found: Found, *, started: bool = False) -> None:
    """Refuse what AWS makes no snapshot of: it would fail after the rest was done.

    `started`: what is stopped has been started when the snapshot is made.
    """
    stopped = [
        item["DBInstanceIdentifier"] for item in found.databases.values() if _is_stopped(item)
    ]
    if stopped and not started:
        raise RefusedError(
            f"AWS makes no snapshot of a database that is stopped: {', '.join(stopped)}. Nothing "
            "was backed up. Start it first: ops start ENV (or the instance alone)."
        )
    lost = [
        f"{item['DBInstanceIdentifier']} is {item['DBInstanceStatus']}"
        for item in found.databases.values()
        if _is_lost(item)
    ]
    if lost:
        raise RefusedError(
            f"There is no snapshot to be had of a database: {'; '.join(lost)}. Nothing was backed "
            "up. Look at its events: aws rds describe-events; to back up the rest: "
            "ops backup ENV --without database:NAME"
        )


def snapshot_state(rds: Any, snapshot: str) -> Mapping[str, Any] | None:
    """Describe a snapshot; None where there is none."""
    try:
        (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"]
    except rds.exceptions.DBSnapshotNotFoundFault:
        return None
    return dict(found)


def instance_state(rds: Any, identifier: str) -> Mapping[str, Any] | None:
    """Describe an instance; None where there is none."""
    try:
        (found,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None
    return dict(found)


def awaited(what: str, found: Mapping[str, Any] | None, field: str, *wanted: str) -> str:
    """Say what is missing until something is in one of the wanted states; empty: nothing is.

    Raises `OpsError` where it never will be.
    """
    if found is None:
        return f"{what} is not there yet"
    state = str(found[field])
    if state in wanted:
        return ""
    if state.startswith(_HOPELESS):
        raise OpsError(f"{what} is {state} and does not become {' or '.join(wanted)}.")
    percent = found.get("PercentProgress")
    return f"{what} is {state}" + (f" ({percent} %)" if percent else "")


def await_available(context: Context, identifier: str) -> None:
    """Wait until an instance is available; raises as `Context.wait` and `awaited` do."""
    rds = context.access.client("rds")
    context.wait(
        f"{identifier} to be available",
        lambda: awaited(
            identifier, instance_state(rds, identifier), "DBInstanceStatus", "available"
        ),
        deadline_seconds=RESTORE_SECONDS,
        interval_seconds=INTERVAL_SECONDS,
    )


def tag_list(given: Mapping[str, str]) -> list[dict[str, str]]:
    """Give tags as RDS takes them."""
    return [{"Key": key, "Value": value} for key, value in given.items()]


def backup_tags(access: Access, backup: str, run: str) -> list[dict[str, str]]:
    """Give the tags of a backup's snapshots."""
    return tag_list({**naming.tags(access.settings), BACKUP_TAG: backup, RUN_TAG: run})


def _pages(rds: Any, operation: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
    from botocore.exceptions import BotoCoreError, ClientError

    result = {"describe_db_instances": "DBInstances", "describe_db_snapshots": "DBSnapshots"}
    try:
        for page in rds.get_paginator(operation).paginate(**arguments):
            yield from page[result[operation]]
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"RDS did not list all {result[operation]}: {error}. Nothing was done: what cannot be "
            "seen may be what matters."
        ) from error

"""`ops backups prune`: which backups may go, decided purely, and their removal.

What is never removed, whatever is asked: the newest good backup, one that an unfinished run needs,
and one that has a database's only snapshot. Nothing is, while that good one is not seen to be good.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import checks, journal
from ops.backup import audit, databases
from ops.backup.audit import Entry
from ops.backup.manifest import MANIFEST, moment
from ops.backup.store import open_store
from ops.checks import Check
from ops.errors import ExitCode, IncompleteError, OpsError, RefusedError, UsageError
from ops.execution import Context
from ops.operation import Operation, Planning
from ops.plan import Cap, Data, Plan, Step, refuse_over_caps

if TYPE_CHECKING:
    from ops.backup.store import Store

CAPS: Final = {"backup": Cap(number=10, percent=80)}
OPTION: Final = "--max"
NEEDING: Final = ("backup", "teardown", "restore", "restore rehearsal")
"""Commands whose unfinished runs may need a backup."""
_AT_ONCE: Final = 1000
"""What S3 deletes in a call."""


def plan(planning: Planning) -> Plan:
    """Decide which backups go."""
    access, asked = planning.access, planning.arguments
    store = open_store(access)
    found = audit.entries(store)
    there = databases.snapshots(access.client("rds"))
    needed = _needed(planning, access.environment)
    names = [item.name for item in access.settings.databases]
    kept = keep(found, asked, planning.now, needed, _snapshots_of(there.values()), databases=names)
    steps = tuple(_step(item, there) for item in found if item.id not in kept)
    made = Plan(
        command=OPERATION.name,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=asked,
        steps=steps,
        notes=(
            *(f"kept: {id_}: {why}" for id_, why in sorted(kept.items())),
            "removed files can be brought back as former versions for a year, snapshots cannot",
        ),
    )
    caps = {**CAPS, **{kind: Cap(number=number) for kind, number in asked.get("max", {}).items()}}
    refuse_over_caps(made, {"backup": len(found)}, caps, option=OPTION)
    if steps:
        _refuse_unsound(store, last_good(found, names))
    return made


def _refuse_unsound(store: Store, last: Entry | None) -> None:
    """Refuse to remove anything while what is kept as the last good backup is not good."""
    if last is None:
        return
    bad = [item for item in audit.checks(store, last.id) if item.status != "ok"]
    if bad:
        said = "\n".join(f"    {item.name}: {item.found}" for item in bad)
        error = IncompleteError if checks.exit_code(bad) is ExitCode.INCOMPLETE else RefusedError
        raise error(
            f"{last.id} would be kept as the last good backup, and it is not good. Nothing was "
            f"removed.\n{said}\nHave that written down, so that another one counts: ops backups "
            f"verify {store.access.environment} {last.id}; or make a new one."
        )


def raised(texts: Sequence[str]) -> dict[str, int]:
    """Give the caps that an operator raises: `KIND=NUMBER`. Raises `UsageError`."""
    caps = {}
    for text in texts:
        kind, _, number = text.partition("=")
        if kind not in CAPS or not number.isdecimal():
            raise UsageError(
                f"{OPTION} {text}: expected KIND=NUMBER, and KIND {', '.join(CAPS)}. "
                "Nothing was removed."
            )
        caps[kind] = int(number)
    return caps


def keep(
    found: Sequence[Entry],
    asked: Mapping[str, Any],
    now: dt.datetime,
    needed: Mapping[str, str],
    snapshots: Mapping[str, frozenset[str]],
    *,
    databases: Collection[str] = (),
) -> dict[str, str]:
    """Give the backups that stay, each with the reason.

    `asked`: `keep` (how many of the newest whole ones), `older_than_days`, `incomplete`. `needed`:
    backup → the run that needs it. `snapshots`: instance → its manual snapshots that are there.
    `databases`: what settings name.
    """
    whole = [item for item in found if item.complete]
    newest = whole[max(0, len(whole) - int(asked.get("keep") or 0)) :] if asked.get("keep") else []
    kept: dict[str, str] = {}
    for item in found:
        if not item.bucket:
            kept[item.id] = "it is on this machine alone"
        elif item.complete and item in newest:
            kept[item.id] = f"one of the newest {asked['keep']}"
        elif not item.complete and not asked.get("incomplete"):
            kept[item.id] = "it is not whole; give --incomplete to remove it"
        elif not _is_older(item.id, asked.get("older_than_days"), now):
            kept[item.id] = f"not older than {asked['older_than_days']} days"
        elif item.id in needed:
            kept[item.id] = f"the unfinished run {needed[item.id]} needs it"
    last = last_good(found, databases)
    if last and last.id not in kept:
        kept[last.id] = "the last good one"
    # The newest first: of two that hold the only snapshots, the newer stays.
    for item in reversed(found):
        if item.id not in kept and (only := _only(item, found, kept, snapshots)):
            kept[item.id] = f"it has the only snapshot of {only}"
    return kept


def last_good(found: Sequence[Entry], databases: Collection[str] = ()) -> Entry | None:
    """Give the newest verified backup that has all these databases.

    Where none has them all, the newest verified one; where none was ever verified, the newest
    whole one. One that was found damaged is none of them.
    """
    whole = [item for item in found if item.complete and not item.damaged]
    verified = [item for item in whole if item.verified]
    complete = [item for item in verified if not lacking(item, databases)]
    return next(iter((complete or verified or whole)[-1:]), None)


def lacking(item: Entry, databases: Collection[str]) -> tuple[str, ...]:
    """Give the databases of which a backup has no snapshot."""
    return tuple(name for name in databases if name not in item.names)


def _only(
    item: Entry,
    found: Sequence[Entry],
    kept: Mapping[str, str],
    snapshots: Mapping[str, frozenset[str]],
) -> str:
    """Give a database that would have no snapshot left without this backup."""
    going = {name for other in found if other.id not in kept for name in other.snapshots}
    for identifier, snapshot in zip(item.databases, item.snapshots, strict=True):
        there = snapshots.get(identifier, frozenset())
        if snapshot in there and not there - going:
            return identifier
    return ""


def _is_older(id_: str, days: object, now: dt.datetime) -> bool:
    if not days:
        return True
    begun = moment(id_)
    return begun is not None and now - begun > dt.timedelta(days=float(str(days)))


def _snapshots_of(found: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    names: dict[str, frozenset[str]] = {}
    for item in found:
        if item["Status"] == "available":
            key = item["DBInstanceIdentifier"]
            names[key] = names.get(key, frozenset()) | {item["DBSnapshotIdentifier"]}
    return names


def _needed(planning: Planning, env: str) -> dict[str, str]:
    """Give the backups that unfinished runs read, or make."""
    needed: dict[str, str] = {}
    for command in NEEDING:
        for run in planning.unfinished(command):
            needed[own_backup(run, env)] = run.id
            if asked := run.plan.arguments.get("from"):
                needed[str(asked)] = run.id
    return needed


def own_backup(run: journal.Run, env: str) -> str:
    """Give the backup that a run would make, if it makes one."""
    begun = dt.datetime.fromisoformat(run.begun["at"]).astimezone(dt.UTC)
    return naming.backup(env, f"{begun:%Y%m%d-%H%M%S}")


def _step(item: Entry, there: Mapping[str, Mapping[str, Any]]) -> Step:
    tagged = [
        name
        for name, snapshot in there.items()
        if databases.tags(snapshot).get(databases.BACKUP_TAG) == item.id
    ]
    what = f"{item.files} files, {len(tagged)} snapshots" if item.complete else "not whole"
    return Step(
        id=f"prune:{item.id}",
        action="prune",
        kind="backup",
        target=item.id,
        summary=f"remove backup {item.id} ({what})",
        destructive=True,
        data={"backup": item.id, "snapshots": sorted(tagged)},
    )


def _prune(context: Context, step: Step) -> Data:
    """Remove a backup: first what makes it one, then what it holds."""
    store, backup = open_store(context.access), str(step.data["backup"])
    rds = context.access.client("rds")
    keys = _keys(store, backup)
    manifest = store.key(backup, MANIFEST)
    for batch in ([manifest] if manifest in keys else [], *_batches(keys)):
        _delete(store, batch)
    removed = [name for name in step.data["snapshots"] if _delete_snapshot(rds, name, backup)]
    shutil.rmtree(store.path(backup), ignore_errors=True)
    return {"files": len(keys), "snapshots": removed}


def _keys(store: Store, backup: str) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    pages = store.client.get_paginator("list_objects_v2").paginate(
        Bucket=store.bucket,
        Prefix=store.key(backup),
        ExpectedBucketOwner=store.access.settings.account_id,
    )
    try:
        return [item["Key"] for page in pages for item in page.get("Contents", [])]
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(f"{store.where(backup)} could not be listed: {error}.") from error


def _batches(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]


def _delete(store: Store, keys: Sequence[str]) -> None:
    if not keys:
        return
    answer = store.client.delete_objects(
        Bucket=store.bucket,
        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        ExpectedBucketOwner=store.access.settings.account_id,
    )
    if errors := answer.get("Errors"):
        first = errors[0]
        raise OpsError(
            f"{len(errors)} files could not be removed; the first, {first.get('Key')}: "
            f"{first.get('Code')} {first.get('Message')}"
        )


def _delete_snapshot(rds: Any, name: str, backup: str) -> bool:
    """Delete a snapshot, if it still is there and that backup's."""
    found = databases.snapshot_state(rds, name)
    if found is None:
        return False
    if databases.tags(found).get(databases.BACKUP_TAG) != backup:
        raise OpsError(f"The snapshot {name} is not tagged as {backup}'s: it was left alone.")
    rds.delete_db_snapshot(DBSnapshotIdentifier=name)
    return True


def verify(context: Context) -> tuple[Check, ...]:
    """Look again: what was to go is gone, and a good backup is left."""
    found = audit.entries(open_store(context.access))
    ids = {item.id for item in found}
    left = [step.target for step in context.plan.steps if step.target in ids]
    names = [item.name for item in context.access.settings.databases]
    last = last_good(found, names)
    return (
        Check(
            name="removed backups",
            status="fail" if left else "ok",
            found=f"still there: {', '.join(left)}" if left else f"{len(context.plan.steps)} gone",
            expected="all of them gone",
        ),
        Check(
            name="last good backup",
            status="ok" if last else "warn",
            found=last.id if last else "there is none",
            remedy="" if last else f"make one: ops backup {context.access.environment}",
        ),
    )


OPERATION: Final = Operation(
    name="backups prune",
    plan=plan,
    actions={"prune": _prune},
    verify=verify,
    by_name=True,
    undone="Nothing was removed.",
)

"""`ops restore --rehearse`: a restore onto a copy beside the live one, measured and cleared away.

What goes wrong in it is a finding and no failure of a step, so that the clean-up is always reached,
and a run that was killed cleans up when it is resumed. A copy that was left all the same is known
by its tag, and goes with the next rehearsal.

A finding is of the backup (`fail`) or says nothing of it (`unknown`): what was denied, out of reach
or taken by somebody else. The first is written down beside the backup as well as a success is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup import audit, contents, databases
from ops.backup.manifest import PROVEN, Manifest, Snapshot, Table
from ops.backup.proof import Contents, Proof
from ops.backup.store import open_store
from ops.checks import Check, Status
from ops.errors import CancelledError, ExitCode, OpsError, PartialError, RefusedError, UsageError
from ops.execution import Action, Context, said, unexpected
from ops.operation import Operation, Planning
from ops.plan import Data, Plan, Step
from ops.restore import actions, objects, observe, state, steps
from ops.restore.steps import Asked

if TYPE_CHECKING:
    from ops.access import Access

LIFE: Final = dt.timedelta(hours=12)
"""For how long a copy may be there."""
_OF_THE_BACKUP: Final = frozenset({"DBSnapshotNotFound"})
"""What AWS says where it is the backup that cannot be restored."""
_STAGE_CLEAN_UP: Final = 3
_NAMESPACES: Final = "mono-repo-ops-rehearsal-"
"""How the scratch namespaces begin: each run has its own, as one that is deleted goes slowly."""


def plan(planning: Planning) -> Plan:
    """Plan copies of the backup's databases, the checks, and the removal of all of it."""
    access, store = planning.access, open_store(planning.access)
    arguments = observe.named(store, planning.arguments)
    asked = Asked.of(arguments)
    broken = observe.broken_keys(access)
    if broken:
        raise RefusedError(
            "A rehearsal changes no key, and not all of them are usable: "
            + ", ".join(f"{key.arn} is {key.state}" for key in broken)
            + f". Nothing was done. A restore mends them: ops restore {access.environment}"
        )
    manifest = observe.checked_manifest(store, str(arguments["from"]))
    there = databases.instances(access.client("rds"))
    held = state.databases(state.read(access))
    chosen = chosen_databases(manifest, asked.databases)
    out = [item.name for item in manifest.databases if item not in chosen]
    left = leftovers(there, access.environment)
    return Plan(
        command=OPERATION.name,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=arguments,
        steps=(
            *(_leftover(name) for name in left),
            *(_copy(access, item, there, held) for item in chosen),
            _simple("rehearse-parameters", "decrypt the parameters in memory and compare them", 1),
            *(
                (_simple("rehearse-objects", "have the cluster judge the manifests: dry run", 1),)
                if manifest.kubernetes == "applied"
                else ()
            ),
            *(_contents(item) for item in chosen),
            _simple("clean-up", "remove the copies and the scratch namespace", _STAGE_CLEAN_UP),
            _simple("write-proof", "write the result beside the backup", _STAGE_CLEAN_UP + 1),
        ),
        facts={"backup": manifest.id},
        notes=(
            *(f"{name} was left by a former rehearsal: it goes first" for name in left),
            *((f"this proves nothing of {', '.join(out)}: left out",) if out else ()),
        ),
    )


def chosen_databases(manifest: Manifest, names: Sequence[str]) -> list[Snapshot]:
    """Give the databases that are rehearsed: those named, or all.

    Raises `UsageError` for one that is not in the backup.
    """
    kept = [item.name for item in manifest.databases]
    if unknown := sorted(set(names) - set(kept)):
        raise UsageError(
            f"The backup {manifest.id} has no database {', '.join(unknown)}; it has "
            f"{', '.join(kept) or 'none'}. Nothing was done."
        )
    return [item for item in manifest.databases if not names or item.name in names]


def leftovers(there: Mapping[str, Mapping[str, Any]], environment: str) -> list[str]:
    """Give the copies that former rehearsals have left."""
    return sorted(
        name
        for name, item in there.items()
        if databases.REHEARSAL_TAG in databases.tags(item)
        and databases.is_environments(item, environment)
        and item["DBInstanceStatus"] != "deleting"
    )


def _simple(name: str, summary: str, stage: int) -> Step:
    return Step(id=name, action=name, kind="check", target=name, summary=summary, stage=stage)


def _leftover(name: str) -> Step:
    return Step(
        id=f"leftover:{name}",
        action="leftover",
        kind="copy",
        target=name,
        summary=f"remove {name}, which a former rehearsal has left",
        stage=0,
        destructive=True,
        data={"identifier": name},
    )


def _copy(
    access: Access,
    item: Snapshot,
    there: Mapping[str, Mapping[str, Any]],
    held: Mapping[str, state.Resource],
) -> Step:
    declared = next(
        (each.identifier for each in access.settings.databases if each.name == item.name),
        item.identifier,
    )
    return Step(
        id=f"rehearse-database:{item.name}",
        action="rehearse-database",
        kind="copy",
        target=item.identifier,
        summary=f"restore {item.snapshot} onto a copy beside {declared} ({item.allocated_gb} GB)",
        stage=1,
        data={
            "name": item.name,
            "source": item.identifier,
            "snapshot": item.snapshot,
            "like": steps.common(item.name, there.get(declared), held.get(item.name)),
        },
    )


def _contents(item: Snapshot) -> Step:
    return Step(
        id=f"rehearse-contents:{item.name}",
        action="rehearse-contents",
        kind="check",
        target=item.identifier,
        summary=f"count and sum up the rows of the copy of {item.identifier}",
        stage=2,
        data={"name": item.name, "source": item.identifier},
    )


# What the steps do ---------------------------------------------------------------------------


def _finding(action: Action) -> Action:
    """Make a finding of what goes wrong: what comes after it, the clean-up above all, is done.

    Not of a lost lock, with which nothing may be cleaned up, nor of the operator's Ctrl-C: such a
    step is done again when the run is resumed, and the clean-up after it.
    """

    def done(context: Context, step: Step) -> Data:
        try:
            found = dict(action(context, step) or {})
        except (CancelledError, PartialError):
            raise
        except Exception as error:  # noqa: BLE001 - a copy that is left costs, whatever went wrong
            found = {"status": _status(error), "found": _message(error)}
        return {"status": "ok", **found, **_took(context, step)}

    return done


def _took(context: Context, step: Step) -> Data:
    """Give how long a step has taken since it was first begun, in whichever process that was."""
    records = context.journal.records
    number, first = next(
        (number, item)
        for number, item in enumerate(records)
        if item["kind"] == "intent" and item["step"] == step.id
    )
    seconds = (context.now() - dt.datetime.fromisoformat(first["at"])).total_seconds()
    paused = any(item["kind"] == "resumed" for item in records[number:])
    return {"seconds": round(seconds, 3), "paused": paused}


def _status(error: Exception) -> Status:
    """Tell whether an error is of the backup, or only of whoever looked."""
    if isinstance(error, OpsError):
        return "fail" if error.exit_code is ExitCode.ERROR else "unknown"
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return "fail" if code in _OF_THE_BACKUP else "unknown"


def _message(error: Exception) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    known = isinstance(error, (OpsError, BotoCoreError, ClientError))
    return said(error) if known else unexpected(error)


def _stamp(context: Context) -> str:
    """Give what names what a run makes: the same in every process of it."""
    begun = dt.datetime.fromisoformat(context.journal.records[0]["at"]).astimezone(dt.UTC)
    return f"{begun:%Y%m%d-%H%M%S}"


def _identifier(context: Context, source: str) -> str:
    """Give the copy's name."""
    return naming.rehearsal_database(source, _stamp(context))


def _database(context: Context, step: Step) -> Data:
    until = (context.now() + LIFE).isoformat(timespec="seconds")
    tags = {
        **naming.tags(context.access.settings),
        databases.RUN_TAG: context.journal.run,
        databases.REHEARSAL_TAG: until,
    }
    identifier = _identifier(context, step.data["source"])
    made = actions.restored(context, {**step.data, "identifier": identifier}, tags, protected=False)
    return {**made, "found": f"{identifier} became available"}


def _parameters(context: Context, _step: Step) -> Data:
    store = open_store(context.access)
    manifest = store.manifest(str(context.plan.facts["backup"]))
    kept = audit.kept_parameters(store, manifest)
    names = tuple(item.name for item in kept)
    if names != manifest.parameters:
        return {"status": "fail", "found": "other names than in the manifest"}
    return {"found": f"{len(kept)} decrypted, equal to what was backed up"}


def _objects(context: Context, _step: Step) -> Data:
    from ops.kubernetes import api_client

    store = open_store(context.access)
    manifest = store.manifest(str(context.plan.facts["backup"]))
    try:
        client = api_client(context.access)
    except OpsError as error:
        return {"status": "unknown", "found": str(error)}
    wanted = observe.wanted_objects(store, manifest, {})
    namespace = f"{_NAMESPACES}{_stamp(context)}"
    objects.make_namespace(client, namespace)
    refused = objects.refusals(client, wanted, namespace)
    if refused:
        return {"status": "fail", "found": "; ".join(refused)}
    return {"found": f"{len(wanted)} would be applied"}


def _look_into(context: Context, step: Step) -> Data:
    """Compare a copy's tables with what they held when the snapshot was taken."""
    access, rds = context.access, context.access.client("rds")
    store, name = open_store(access), str(step.data["name"])
    manifest = store.manifest(str(context.plan.facts["backup"]))
    kept = next(item for item in manifest.databases if item.name == name)
    identifier = _identifier(context, step.data["source"])
    if context.results.get(f"rehearse-database:{name}", {}).get("status") != "ok":
        return {"status": "skipped", "found": f"there is no copy {identifier} to look into"}
    declared = {item.name: item.database_name for item in access.settings.databases}
    inside = declared.get(name, kept.database_name)
    instance = databases.instance_state(rds, identifier)
    if instance is None:
        return {"status": "unknown", "found": f"the copy {identifier} is gone: somebody deleted it"}
    if not inside:
        found = f"settings name no database {name}, so it is not known which one to look into"
        return {"status": "unknown", "found": found}
    try:
        contents.refuse_unreachable(contents.address_of(instance, inside))
        address = contents.address_of(_with_password(context, identifier), inside)
        tables = contents.tables(address, access.client("secretsmanager"))
    except contents.UnreachableError as error:
        return {"status": "unknown", "found": str(error)}
    return compared(manifest, kept, tables)


def compared(manifest: Manifest, kept: Snapshot, tables: Mapping[str, Table]) -> Data:
    """Give what a look into a copy shows: a finding, and the tables that it says nothing of."""
    if other := contents.differences(kept.tables, tables):
        return {"status": "fail", "found": "; ".join(other)}
    if not kept.tables:
        what = contents.checksums_of(kept.name)
        why = next((item.why for item in manifest.not_backed_up if item.what == what), "")
        if not why:
            return {"found": "it had no tables when the snapshot was taken"}
        found = f"{len(tables)} tables read, and nothing to compare them with: {why}"
        return {"status": "unknown", "found": found}
    left = contents.uncompared(kept.tables, tables)
    number = len(kept.tables) - len(left)
    found = f"{number} of {len(kept.tables)} tables as when the snapshot was taken"
    if left:
        found += "; not compared: " + "; ".join(f"{key}: {why}" for key, why in left.items())
    # What was seen of the live database and is not of the copy is evidence that is missing.
    missed = [key for key in left if kept.tables[key].checksum]
    status: Status = "ok" if number and not missed else "unknown"
    return {"status": status, "found": found, "uncompared": left}


def _with_password(context: Context, identifier: str) -> Mapping[str, Any]:
    """Let RDS keep the copy's master password; give the instance once it does."""
    rds = context.access.client("rds")
    key = naming.databases_key_alias(context.access.environment)
    found = databases.instance_state(rds, identifier) or {}
    if not found.get("MasterUserSecret"):
        # It may make its first automated backup, and takes no change meanwhile.
        context.wait(
            f"{identifier} to take a change",
            lambda: databases.awaited(
                identifier,
                databases.instance_state(rds, identifier),
                "DBInstanceStatus",
                *databases.READY,
            ),
            deadline_seconds=actions.RESTORE_SECONDS,
            interval_seconds=databases.INTERVAL_SECONDS,
        )
        rds.modify_db_instance(
            DBInstanceIdentifier=identifier,
            ManageMasterUserPassword=True,
            MasterUserSecretKmsKeyId=context.access.client("kms").describe_key(KeyId=key)[
                "KeyMetadata"
            ]["Arn"],
            ApplyImmediately=True,
        )

    def missing() -> str:
        now = databases.instance_state(rds, identifier) or {}
        state_ = (now.get("MasterUserSecret") or {}).get("SecretStatus", "not there")
        return "" if state_ == "active" else f"its secret is {state_}"

    context.wait(
        f"the password of {identifier}",
        missing,
        deadline_seconds=1800,
        interval_seconds=databases.INTERVAL_SECONDS,
    )
    return databases.instance_state(rds, identifier) or {}


def _clean_up(context: Context, _step: Step) -> Data:
    """Remove what this run has made, whatever became of its other steps."""
    names = [
        _identifier(context, step.data["source"])
        for step in context.plan.steps
        if step.action == "rehearse-database"
    ]
    removed, wrong = [], []
    for name in names:
        try:
            if _delete(context, name):
                removed.append(name)
        except (CancelledError, PartialError):
            raise
        except Exception as error:  # noqa: BLE001 - the next one costs as well
            wrong.append(f"{name}: {_message(error)}")
    for name in removed:
        actions.deleted(context, name)
    _remove_namespaces(context)
    if wrong:
        raise OpsError(f"Not all copies could be removed: {'; '.join(wrong)}")
    return {"removed": removed}


def _leftover_gone(context: Context, step: Step) -> Data:
    name = str(step.data["identifier"])
    there = _delete(context, name)
    actions.deleted(context, name)
    return {"removed": there}


def _delete(context: Context, identifier: str) -> bool:
    """Tell a copy to go, if it is there; nothing that is not tagged as one is touched."""
    rds = context.access.client("rds")
    found = databases.instance_state(rds, identifier)
    if found is None:
        return False
    if databases.REHEARSAL_TAG not in databases.tags(found):
        raise RefusedError(f"{identifier} is not tagged as a rehearsal's copy: it was left alone.")
    if found["DBInstanceStatus"] == "creating":
        _await_made(context, identifier)
    if found["DBInstanceStatus"] != "deleting":
        rds.delete_db_instance(
            DBInstanceIdentifier=identifier,
            SkipFinalSnapshot=True,
            DeleteAutomatedBackups=True,
        )
    return True


def _await_made(context: Context, identifier: str) -> None:
    """Wait until a copy can be deleted, whether or not anything has become of it."""
    rds = context.access.client("rds")

    def missing() -> str:
        found = databases.instance_state(rds, identifier) or {}
        return "it is creating" if found.get("DBInstanceStatus") == "creating" else ""

    context.wait(
        f"{identifier} to be made, so that it can be deleted",
        missing,
        deadline_seconds=actions.RESTORE_SECONDS,
        interval_seconds=databases.INTERVAL_SECONDS,
    )


def _remove_namespaces(context: Context) -> None:
    """Delete the scratch namespace, and those that runs have left which were not resumed."""
    from ops.kubernetes import NoClusterError, UnreachableClusterError, api_client

    if not any(step.id == "rehearse-objects" for step in context.plan.steps):
        return
    try:
        client = api_client(context.access)
    except (NoClusterError, UnreachableClusterError):
        return
    for name in objects.namespaces(client, _NAMESPACES):
        objects.remove_namespace(client, name)


def _write_proof(context: Context, _step: Step) -> Data:
    """Store what is known of the backup now, where that is more than was known."""
    store, backup = open_store(context.access), str(context.plan.facts["backup"])
    proof = _proof(context, store.manifest(backup))
    if proof is None:
        tried = ", ".join(item.name for item in checks(context) if item.status == "unknown")
        return {"written": False, "because": f"it could not be restored: {tried}"}
    if not proof.supersedes(former := audit.kept_proof(store, backup)):
        known = former.said if former else ""
        return {"written": False, "because": f"more is known already: {known}", **asdict(proof)}
    store.put(backup, PROVEN, proof.to_bytes())
    return {"written": True, "said": proof.said, **asdict(proof)}


def _proof(context: Context, manifest: Manifest) -> Proof | None:
    """Give what is to be written down; None where nothing was learned of the backup."""
    found = checks(context)
    failed = tuple(item.name for item in found if item.status == "fail")
    restored = _results(context, "rehearse-database")
    needed = (*restored.values(), *_results(context, "rehearse-parameters").values())
    if not failed and any(detail.get("status") != "ok" for detail in needed):
        return None
    read = _results(context, "rehearse-contents")
    names = [item.name for item in manifest.databases]
    points = [item.created for item in manifest.databases if item.name in restored]
    return Proof(
        at=context.now().isoformat(timespec="seconds"),
        run=context.journal.run,
        result="failed" if failed else "proven",
        databases=tuple(name for name in names if name in restored),
        left_out=tuple(name for name in names if name not in restored),
        contents=_seen(found, read.values()),
        failed=failed,
        unknown=tuple(item.name for item in found if item.status == "unknown"),
        uncompared={
            f"{name} {table}": why
            for name, detail in read.items()
            for table, why in detail.get("uncompared", {}).items()
        },
        recovery_point=min(points or [manifest.created]).isoformat(timespec="seconds"),
        recovery_seconds=recovery_seconds(restored.values()),
        paused=any(detail.get("paused") for detail in restored.values()),
        checks={item.name: item.found for item in found},
    )


def _results(context: Context, action: str) -> dict[str, Data]:
    """Give what the steps of an action have found: database → detail, empty where it did not end.

    A step that is of no database is there as "".
    """
    return {
        str(step.data.get("name", "")): context.results.get(step.id, {})
        for step in context.plan.steps
        if step.action == action
    }


def _seen(found: Iterable[Check], read: Iterable[Data]) -> Contents:
    if any(detail.get("status") == "fail" for detail in read):
        return "different"
    return "equal" if all(item.status == "ok" for item in found) else "unknown"


def recovery_seconds(restored: Collection[Data]) -> float | None:
    """Give how long it took until all databases were available; None where one never was."""
    if any(detail.get("status") != "ok" for detail in restored):
        return None
    return max((float(detail["seconds"]) for detail in restored), default=0.0)


def checks(context: Context) -> list[Check]:
    """Give what the rehearsal has found, as checks."""
    found = []
    for step in context.plan.steps:
        if step.action in _REHEARSED:
            detail = context.results.get(step.id) or {
                "status": "unknown",
                "found": "it did not end, see the steps",
            }
            found.append(
                Check(
                    name=step.id.replace(":", " "),
                    status=detail["status"],
                    found=str(detail["found"]),
                    expected=step.summary,
                    remedy=_REMEDIES.get((step.action, detail["status"]), "")
                    or _REMEDIES.get(("", detail["status"]), ""),
                )
            )
    return found


def verify(context: Context) -> tuple[Check, ...]:
    """Give the findings, the measured times, what is known now, and that nothing is left."""
    access = context.access
    there = databases.instances(access.client("rds"))
    left = leftovers(there, access.environment)
    return (
        *checks(context),
        *_written(context.results["write-proof"]),
        Check(
            name="cleaned up",
            status="fail" if left else "ok",
            found=f"left: {', '.join(left)}" if left else "no copy is left",
            remedy="rehearse again: what is left goes first",
        ),
    )


def _written(proof: Data) -> Iterator[Check]:
    """Give what was measured, and what was written down beside the backup."""
    seconds = proof.get("recovery_seconds")
    if seconds is None:
        for name in ("recovery time", "recovery point"):
            yield Check(name=name, status="skipped", found="not every database was restored")
    else:
        pause = ", with the pause before the run was resumed" if proof["paused"] else ""
        found = f"{seconds:.1f} s until all databases were available{pause}"
        yield Check(name="recovery time", status="ok", found=found)
        point = f"{proof['recovery_point']}, of the oldest snapshot"
        yield Check(name="recovery point", status="ok", found=point)
    yield Check(
        name="written down",
        status="ok" if proof["written"] else "skipped",
        found=str(proof["said"] if proof["written"] else f"no: {proof['because']}"),
    )


_REMEDIES: Final[Mapping[tuple[str, str], str]] = {
    ("", "fail"): "restore from another backup, and make a new one",
    ("", "unknown"): "mend what is said, and rehearse again: it says nothing of the backup",
    ("rehearse-contents", "unknown"): "rehearse from a machine inside the VPC, with PGSSLROOTCERT "
    "naming RDS's bundle",
    ("rehearse-objects", "unknown"): "rehearse from a machine that reaches the cluster",
}
"""Action and status → what to do; without an action: of any other."""
_RESTORING: Final = ("rehearse-database", "rehearse-parameters")
"""What has to have gone well for a backup to be proven."""
_REHEARSED: Final[Mapping[str, Callable[[Context, Step], Data | None]]] = {
    "rehearse-database": _database,
    "rehearse-parameters": _parameters,
    "rehearse-objects": _objects,
    "rehearse-contents": _look_into,
}

OPERATION: Final = Operation(
    name="restore rehearsal",
    plan=plan,
    actions={
        **{name: _finding(action) for name, action in _REHEARSED.items()},
        "leftover": _leftover_gone,
        "clean-up": _clean_up,
        "write-proof": _write_proof,
    },
    verify=verify,
    carry_on=True,
    approved=False,
)

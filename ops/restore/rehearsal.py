"""`ops restore --rehearse`: a restore onto a copy beside the live one, measured and cleared away.

What goes wrong in it is a finding and no failure of a step, so that the clean-up is always reached,
and a run that was killed cleans up when it is resumed. A copy that was left all the same is known
by its tag, and goes with the next rehearsal.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup import audit, contents, databases
from ops.backup.manifest import PROVEN, Snapshot
from ops.backup.store import open_store
from ops.checks import Check
from ops.errors import CancelledError, OpsError, RefusedError
from ops.execution import Action, Context, said
from ops.operation import Operation, Planning
from ops.plan import Data, Plan, Step
from ops.restore import actions, objects, observe, state, steps
from ops.restore.steps import Asked

if TYPE_CHECKING:
    from ops.access import Access

LIFE: Final = dt.timedelta(hours=12)
"""For how long a copy may be there."""
_STAGE_CLEAN_UP: Final = 3
_NAMESPACE: Final = "mono-repo-ops-rehearsal"


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
    chosen = [
        item for item in manifest.databases if not asked.databases or item.name in asked.databases
    ]
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
        notes=tuple(f"{name} was left by a former rehearsal: it goes first" for name in left),
    )


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
    """Make a finding of what fails: what comes after it, the clean-up above all, is done."""

    def done(context: Context, step: Step) -> Data:
        from botocore.exceptions import BotoCoreError, ClientError

        begun = time.monotonic()
        try:
            found = dict(action(context, step) or {})
        except CancelledError:
            raise
        except (OpsError, BotoCoreError, ClientError) as error:
            found = {"status": "fail", "found": said(error)}
        return {"status": "ok", **found, "seconds": round(time.monotonic() - begun, 1)}

    return done


def _identifier(context: Context, source: str) -> str:
    """Give the copy's name: the same in every process of the run."""
    begun = dt.datetime.fromisoformat(context.journal.records[0]["at"]).astimezone(dt.UTC)
    return naming.rehearsal_database(source, f"{begun:%Y%m%d-%H%M%S}")


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
    from ops.kubernetes import NoClusterError, UnreachableClusterError, api_client

    store = open_store(context.access)
    manifest = store.manifest(str(context.plan.facts["backup"]))
    try:
        client = api_client(context.access)
    except (NoClusterError, UnreachableClusterError) as error:
        return {"status": "unknown", "found": str(error)}
    wanted = observe.wanted_objects(store, manifest, {})
    objects.make_namespace(client, _NAMESPACE)
    refused = objects.refusals(client, wanted, _NAMESPACE)
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
    declared = next((item for item in access.settings.databases if item.name == name), None)
    instance = databases.instance_state(rds, identifier)
    if instance is None or declared is None:
        return {"status": "fail", "found": f"there is no copy {identifier} to look into"}
    try:
        contents.refuse_unreachable(contents.address_of(instance, declared.database_name))
        address = contents.address_of(_with_password(context, identifier), declared.database_name)
        found = contents.tables(address, access.client("secretsmanager"))
    except contents.UnreachableError as error:
        return {"status": "unknown", "found": str(error)}
    other = contents.differences(kept.tables, found)
    if other:
        return {"status": "fail", "found": "; ".join(other)}
    if not kept.tables:
        return {
            "status": "unknown",
            "found": f"{len(found)} tables read; nothing was recorded to compare them with",
        }
    return {"found": f"{len(kept.tables)} tables as when the snapshot was taken"}


def _with_password(context: Context, identifier: str) -> Mapping[str, Any]:
    """Let RDS keep the copy's master password; give the instance once it does."""
    rds = context.access.client("rds")
    key = naming.databases_key_alias(context.access.environment)
    found = databases.instance_state(rds, identifier) or {}
    if not found.get("MasterUserSecret"):
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
    removed = [name for name in names if _remove(context, name)]
    _remove_namespace(context)
    return {"removed": removed}


def _leftover_gone(context: Context, step: Step) -> Data:
    return {"removed": _remove(context, str(step.data["identifier"]))}


def _remove(context: Context, identifier: str) -> bool:
    """Delete a copy, if it is there; nothing that is not tagged as one is touched."""
    rds = context.access.client("rds")
    found = databases.instance_state(rds, identifier)
    if found is None:
        return False
    if databases.REHEARSAL_TAG not in databases.tags(found):
        raise RefusedError(f"{identifier} is not tagged as a rehearsal's copy: it was left alone.")
    if found["DBInstanceStatus"] == "creating":
        context.wait(
            f"{identifier} to be made, so that it can be deleted",
            lambda: databases.awaited(
                identifier, databases.instance_state(rds, identifier), "DBInstanceStatus",
                "available",
            ),
            deadline_seconds=actions.RESTORE_SECONDS, interval_seconds=databases.INTERVAL_SECONDS,
        )  # fmt: skip
    if found["DBInstanceStatus"] != "deleting":
        rds.delete_db_instance(
            DBInstanceIdentifier=identifier,
            SkipFinalSnapshot=True,
            DeleteAutomatedBackups=True,
        )
    actions.deleted(context, identifier)
    return True


def _remove_namespace(context: Context) -> None:
    from ops.kubernetes import NoClusterError, UnreachableClusterError, api_client

    if not any(step.id == "rehearse-objects" for step in context.plan.steps):
        return
    try:
        client = api_client(context.access)
    except (NoClusterError, UnreachableClusterError):
        return
    objects.remove_namespace(client, _NAMESPACE)


def _write_proof(context: Context, _step: Step) -> Data:
    """Store that the backup was restored, if it was."""
    found = list(checks(context))
    bad = [item.name for item in found if item.status == "fail"]
    if bad:
        return {"written": False, "because": f"not proven: {', '.join(bad)}"}
    store, backup = open_store(context.access), str(context.plan.facts["backup"])
    manifest = store.manifest(backup)
    points = [item.created for item in manifest.databases] or [manifest.created]
    proof = {
        "at": context.now().isoformat(timespec="seconds"),
        "run": context.journal.run,
        "recovery_point": min(points).isoformat(timespec="seconds"),
        "recovery_seconds": recovery_seconds(context.results),
        "contents": "unknown" if any(item.status == "unknown" for item in found) else "equal",
        "checks": {item.name: item.found for item in found},
    }
    store.put(backup, PROVEN, json.dumps(proof, indent=2).encode() + b"\n")
    return {"written": True, **proof}


def recovery_seconds(results: Mapping[str, Data]) -> float:
    """Give how long the slowest database took to be available again."""
    took = [
        float(detail["seconds"])
        for name, detail in results.items()
        if name.startswith("rehearse-database:")
    ]
    return max(took, default=0.0)


def checks(context: Context) -> list[Check]:
    """Give what the rehearsal has found, as checks."""
    found = []
    for step in context.plan.steps:
        detail = context.results.get(step.id)
        if step.action in _REHEARSED and detail is not None:
            found.append(
                Check(
                    name=step.id.replace(":", " "),
                    status=detail["status"],
                    found=str(detail["found"]),
                    expected=step.summary,
                    remedy=_REMEDIES.get(detail["status"], ""),
                )
            )
    return found


def verify(context: Context) -> tuple[Check, ...]:
    """Give the findings, the measured times, and that nothing is left."""
    access = context.access
    there = databases.instances(access.client("rds"))
    left = leftovers(there, access.environment)
    proof = context.results["write-proof"]
    return (
        *checks(context),
        Check(
            name="recovery time",
            status="ok",
            found=f"{recovery_seconds(context.results):.0f} s until databases were available",
        ),
        Check(
            name="recovery point",
            status="ok" if proof["written"] else "skipped",
            found=str(proof.get("recovery_point") or proof["because"]),
        ),
        Check(
            name="cleaned up",
            status="fail" if left else "ok",
            found=f"left: {', '.join(left)}" if left else "no copy is left",
            remedy="rehearse again: what is left goes first",
        ),
    )


_REMEDIES: Final = {
    "fail": "restore from another backup, and make a new one",
    "unknown": "rehearse from a machine inside the VPC, with PGSSLROOTCERT naming RDS's bundle",
}
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

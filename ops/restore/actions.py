"""What a restore does, each step safe to repeat: it looks first, and confirms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup import audit, databases, parameters
from ops.backup.manifest import STATE
from ops.backup.parameters import Kept
from ops.backup.store import open_store, write_private
from ops.errors import OpsError, RefusedError
from ops.execution import Action, Context, request_id
from ops.parameters.store import reason
from ops.plan import Data, Step
from ops.restore import objects, observe, state, steps, updates

if TYPE_CHECKING:
    from ops.access import Access

RESTORE_SECONDS: Final = databases.RESTORE_SECONDS
KEY_SECONDS: Final = 300.0
LIFECYCLE_SUPPORT: Final = "open-source-rds-extended-support-disabled"
"""As the program has it. An instance that is restored without it is enrolled in Extended Support,
and pays for that from the end of its version's life on; no update takes it out again."""


def _rescue_key(context: Context, step: Step) -> Data:
    """Make a key usable again."""
    kms, key = context.access.client("kms"), str(step.data["key"])
    found = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    if found == "PendingDeletion":
        kms.cancel_key_deletion(KeyId=key)
    if found != "Enabled":
        kms.enable_key(KeyId=key)

    def missing() -> str:
        state_ = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        return "" if state_ == "Enabled" else f"it is {state_}"

    context.wait(
        f"key {key} to be enabled",
        missing,
        deadline_seconds=KEY_SECONDS,
        interval_seconds=databases.INTERVAL_SECONDS,
    )
    return {"was": found}


def _restore_database(context: Context, step: Step) -> Data:
    """Make an instance of a snapshot, and wait for it."""
    tags = {**naming.tags(context.access.settings), databases.RUN_TAG: context.journal.run}
    return restored(context, step.data, tags, protected=True)


def restored(
    context: Context, data: Mapping[str, Any], tags: Mapping[str, str], *, protected: bool
) -> dict[str, Any]:
    """Make an instance as `data` says, unless this run has made it; wait until it is there.

    `protected`: it is to live; else it is a copy for a while, without a standby. What could be
    changed later only in a maintenance window is given at once.
    """
    rds, identifier = context.access.client("rds"), str(data["identifier"])
    like = data["like"]
    answer: Mapping[str, Any] = {}
    found = databases.instance_state(rds, identifier)
    if found is None:
        answer = rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=identifier,
            DBSnapshotIdentifier=data["snapshot"],
            DBInstanceClass=like["instance_class"],
            DBSubnetGroupName=like["subnet_group"],
            VpcSecurityGroupIds=like["security_groups"],
            DBParameterGroupName=like["parameter_group"],
            Port=like["port"],
            PubliclyAccessible=False,
            MultiAZ=like["multi_az"] and protected,
            CACertificateIdentifier=like["certificate_authority"],
            EnableIAMDatabaseAuthentication=like["iam_authentication"],
            StorageType="gp3",
            EngineLifecycleSupport=LIFECYCLE_SUPPORT,
            CopyTagsToSnapshot=True,
            DeletionProtection=protected,
            Tags=databases.tag_list(tags),
        )
    elif databases.tags(found).get(databases.RUN_TAG) != context.journal.run:
        raise RefusedError(
            f"There is an instance {identifier} that this run has not made: it was left alone. "
            "Plan the restore again."
        )
    databases.await_available(context, identifier)
    return {"identifier": identifier, "request": request_id(answer)}


def _import_state(context: Context, step: Step) -> Data:
    """Put the backup's state in the place of an empty one, and refresh it."""
    access, store = context.access, open_store(context.access)
    if not state.in_cloud(state.read(access)):
        manifest = store.manifest(str(step.data["backup"]))
        state.write(access, state.parse(observe.audit_file(store, manifest, STATE)))
    return {"counts": updates.refresh(context)}


def _keep_state(context: Context, step: Step) -> Data:
    """Keep the state as it was before a database is taken out of it."""
    access, store = context.access, open_store(context.access)
    content = json.dumps(state.read(access)).encode()
    name = _kept_name(context)
    path = access.records / name
    write_private(path, content)
    store.put(str(step.data["backup"]), name, content)
    return {"file": str(path), "bucket": store.where(str(step.data["backup"]), name)}


def _kept_name(context: Context) -> str:
    return f"state-before-{context.journal.run}.json"


def _take_over(context: Context, step: Step) -> Data:
    """Exchange databases in the state, and bring the restored ones into the program.

    Where that fails before one was imported, what was taken out of the state is put back: without
    it an update from elsewhere would make the database again, empty.
    """
    former = _forget(context, step)
    try:
        counts = updates.bring(context, step.data["edits"], step.data["databases"])
    except Exception as error:
        _put_back(context, step, error)
        raise
    return {"counts": counts, "forgotten": former}


def _forget(context: Context, step: Step) -> list[str]:
    """Take the former databases out of the state, where they still are; no instance is touched.

    Nothing is taken out before it is known that the update can go through.
    """
    access = context.access
    found = state.read(access)
    going = {
        str(item["urn"]): str(item["identifier"])
        for item in step.data["former"]
        if _is_former(found, item)
    }
    if going:
        _refuse_unfit(context, step)
        updates.refuse_others(access, context.terminal, going, context.journal.run)
        state.write(access, state.without(found, going))
    return list(going.values())


def _is_former(found: state.Deployment, item: Mapping[str, Any]) -> bool:
    held = next((entry for entry in state.resources(found) if entry["urn"] == item["urn"]), None)
    if held is None:
        return False
    now = state.identifier(held)
    if now not in (item["identifier"], item["becomes"]):
        raise RefusedError(
            f"The state has {now} as {item['urn']}, and the plan was made when it had "
            f"{item['identifier']}. Nothing was taken out of it. Plan the restore again."
        )
    return now != str(item["becomes"])


def _refuse_unfit(context: Context, step: Step) -> None:
    """Refuse restored instances of which the program would make others at once."""
    settings, rds = context.access.settings, context.access.client("rds")
    declared = {item.name: item for item in settings.databases}
    for name, item in step.data["databases"].items():
        identifier = str(item["identifier"])
        found = databases.instance_state(rds, identifier)
        if found is None:
            raise RefusedError(
                f"The restored instance {identifier} is not there. Nothing was taken out of the "
                "state. Plan the restore again."
            )
        updates.refuse_foreign(found, settings.environment, context.journal.run)
        steps.refuse_other_owner(
            settings.environment,
            declared[name],
            f"The restored instance {identifier}",
            username=found.get("MasterUsername", ""),
            database=found.get("DBName", ""),
        )


def _put_back(context: Context, step: Step, error: Exception) -> None:
    """Put databases back into the state that were taken out of it and not exchanged."""
    access = context.access
    backup, name = str(step.data["backup"]), _kept_name(context)
    try:
        found, store = state.read(access), open_store(access)
        there = {item["urn"] for item in state.resources(found)}
        lost = {str(item["urn"]) for item in step.data["former"]} - there
        if not lost:
            return
        former = state.parse(store.fetch(backup, name))
        state.write(access, state.put_back(found, former, lost))
    except Exception as problem:  # noqa: BLE001 - whatever it is, what to do has to be said
        file = access.records / name
        raise OpsError(
            f"{error}\nWhat was taken out of the state could not be put back: {problem}. Until it "
            f"is, run no update but this one: ops resume {context.journal.run} goes on. To go back "
            f"instead: pulumi stack import --stack {access.header().stack} --file {file} (a copy "
            f"is in the backup bucket, beside {backup})"
        ) from error
    context.note("The former databases are in the state again, as they were before.")


def _update(context: Context, step: Step) -> Data:
    """Bring the stack up with its restored databases; nothing live is replaced."""
    counts = updates.bring(context, step.data["edits"], step.data["databases"])
    return {"counts": counts}


def _restore_parameters(context: Context, step: Step) -> Data:
    """Put parameters back, from an envelope that is opened in memory."""
    access, store = context.access, open_store(context.access)
    wanted = set(step.data["names"])
    kept = audit.kept_parameters(store, store.manifest(str(step.data["backup"])))
    written = [item.name for item in kept if item.name in wanted and _put(access, item)]
    return {"written": written, "same": sorted(wanted - set(written))}


def _put(access: Access, item: Kept) -> bool:
    """Give a parameter its value; tell whether that changed anything."""
    from botocore.exceptions import ClientError

    ssm = access.client("ssm")
    found = parameters.live(access, [item.name])
    if found.get(item.name) == item.value:
        return False
    request: dict[str, Any] = {
        "Name": item.name,
        "Type": item.type,
        "Description": item.description,
        "DataType": item.data_type,
        "Tier": item.tier,
    }
    if item.type == "SecureString":
        request["KeyId"] = naming.parameter_key_alias(access.environment)
    if item.pattern:
        request["AllowedPattern"] = item.pattern
    tags = databases.tag_list(naming.tags(access.settings))
    request |= {"Overwrite": True} if item.name in found else {"Tags": tags}
    try:
        ssm.put_parameter(**request, Value=item.value)
    except ClientError as error:
        # No message of AWS is known to repeat the value; if one ever does, it is not shown.
        said = reason(error).replace(item.value, "[secret]")
        raise OpsError(f"{item.name} could not be put back: {said}.") from None
    return True


def _restore_objects(context: Context, step: Step) -> Data:
    """Apply what is missing or differs in the cluster."""
    from ops.kubernetes import NoClusterError, api_client

    store = open_store(context.access)
    mapping = context.plan.arguments.get("map_namespaces") or {}
    wanted = set(step.data["names"])
    manifest = store.manifest(str(step.data["backup"]))
    chosen = [
        item
        for item in observe.wanted_objects(store, manifest, mapping)
        if objects.identity(item) in wanted
    ]
    try:
        client = api_client(context.access)
    except NoClusterError as error:
        context.note(f"objects of the cluster were not applied: {error}")
        return {"applied": 0, "left_out": str(error)}
    return {"applied": objects.apply_all(client, chosen)}


ACTIONS: Final[Mapping[str, Action]] = {
    "rescue-key": _rescue_key,
    "restore-database": _restore_database,
    "import-state": _import_state,
    "keep-state": _keep_state,
    "update": _update,
    "take-over": _take_over,
    "restore-parameters": _restore_parameters,
    "restore-objects": _restore_objects,
}


def deleted(context: Context, identifier: str) -> None:
    """Wait until an instance is gone; raises `DeadlineError`."""
    rds = context.access.client("rds")

    def left() -> str:
        found = databases.instance_state(rds, identifier)
        return "" if found is None else f"it is {found['DBInstanceStatus']}"

    context.wait(
        f"{identifier} to be gone",
        left,
        deadline_seconds=RESTORE_SECONDS,
        interval_seconds=databases.INTERVAL_SECONDS,
    )

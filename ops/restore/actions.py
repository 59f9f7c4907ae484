"""What a restore does, each step safe to repeat: it looks first, and confirms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup import audit, databases
from ops.backup.manifest import STATE
from ops.backup.parameters import Kept
from ops.backup.store import open_store, write_private
from ops.errors import OpsError, RefusedError
from ops.execution import Action, Context, request_id
from ops.parameters.store import reason
from ops.plan import Data, Step
from ops.restore import objects, observe, state, updates

if TYPE_CHECKING:
    from ops.access import Access

RESTORE_SECONDS: Final = 6 * 3600.0
"""How long a restored instance is waited for: the first of a large snapshot takes hours."""
KEY_SECONDS: Final = 300.0
_UNREADABLE: Final = frozenset({"InvalidKeyId", "KMSInvalidStateException", "DisabledException"})
"""What AWS says of a parameter whose key is of no use: it is written again."""


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
            CopyTagsToSnapshot=True,
            DeletionProtection=protected,
            Tags=databases.tag_list(tags),
        )
    elif databases.tags(found).get(databases.RUN_TAG) != context.journal.run:
        raise RefusedError(
            f"There is an instance {identifier} that this run has not made: it was left alone. "
            "Plan the restore again."
        )
    context.wait(
        f"{identifier} to be available",
        lambda: databases.awaited(
            identifier,
            databases.instance_state(rds, identifier),
            "DBInstanceStatus",
            "available",
        ),
        deadline_seconds=RESTORE_SECONDS,
        interval_seconds=databases.INTERVAL_SECONDS,
    )
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
    name = f"state-before-{context.journal.run}.json"
    path = access.records / name
    write_private(path, content)
    store.put(str(step.data["backup"]), name, content)
    return {"file": str(path), "bucket": store.where(str(step.data["backup"]), name)}


def _forget_database(context: Context, step: Step) -> Data:
    """Take a database out of the state; the instance is not touched."""
    access, urn = context.access, str(step.data["urn"])
    found = state.read(access)
    held = next((item for item in state.resources(found) if item["urn"] == urn), None)
    if held is None:
        return {"was": "not in the state"}
    now = state.identifier(held)
    if now == step.data["becomes"]:
        return {"was": "taken over already"}
    if now != step.data["identifier"]:
        raise RefusedError(
            f"The state has {now} as {urn}, and the plan was made when it had "
            f"{step.data['identifier']}. Nothing was taken out of it. Plan the restore again."
        )
    state.write(access, state.without(found, urn))
    return {"was": now}


def _update(context: Context, step: Step) -> Data:
    """Bring the stack up with the restored databases; nothing live is replaced."""
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
    live, there = _live(ssm, item.name)
    if live == item.value:
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
    request |= {"Overwrite": True} if there else {"Tags": tags}
    try:
        ssm.put_parameter(**request, Value=item.value)
    except ClientError as error:
        # No message of AWS is known to repeat the value; if one ever does, it is not shown.
        said = reason(error).replace(item.value, "[secret]")
        raise OpsError(f"{item.name} could not be put back: {said}.") from None
    return True


def _live(ssm: Any, name: str) -> tuple[str | None, bool]:
    """Give a parameter's value, and whether it is there: its key may be of no use."""
    from botocore.exceptions import ClientError

    try:
        return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]), True
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ParameterNotFound":
            return None, False
        if code in _UNREADABLE:
            return None, True
        raise


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
    "forget-database": _forget_database,
    "update": _update,
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

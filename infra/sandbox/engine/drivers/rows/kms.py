"""KMS keys and aliases."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyValue

DEFAULT_WINDOW: Final = 30


def _set_enabled(scope: Scope) -> None:
    operation = "enable_key" if scope.props.get("isEnabled", True) else "disable_key"
    scope.call(operation, {"KeyId": scope.id})


def _schedule_deletion(scope: Scope) -> None:
    """Delete a key; one that is pending deletion already is left to it."""
    window = int(scope.props.get("deletionWindowInDays") or DEFAULT_WINDOW)
    try:
        scope.call("schedule_key_deletion", {"KeyId": scope.id, "PendingWindowInDays": window})
    except ApiError as error:
        if "is pending deletion" not in str(error):
            raise


def _set_rotation(scope: Scope) -> None:
    args: dict[str, Any] = {"KeyId": scope.id}
    if not scope.props.get("enableKeyRotation"):
        scope.call("disable_key_rotation", args)
        return
    if scope.props.get("rotationPeriodInDays"):
        args["RotationPeriodInDays"] = int(scope.props["rotationPeriodInDays"])
    scope.call("enable_key_rotation", args)


def _rotation(scope: Scope) -> dict[str, Any]:
    """Read the rotation; keys that cannot rotate have none."""
    live = scope.props["$live"]
    if live.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        return {}
    return scope.call("get_key_rotation_status", {"KeyId": scope.id})


KEY: Final = Row(
    label="KMS Key",
    service="kms",
    create=Call("create_key", matching=True),
    id="out.KeyMetadata.KeyId",
    read=Call("describe_key", {"KeyId": "$id"}, "KeyMetadata"),
    also={
        "policy": Call("get_key_policy", {"KeyId": "$id", "PolicyName": "default"}, "Policy"),
        "rotation": _rotation,
    },
    gone="KeyState=='PendingDeletion'",
    delete=_schedule_deletion,
    updates=(
        Update(("enableKeyRotation", "rotationPeriodInDays"), _set_rotation, after_create=True),
        Update(("isEnabled",), _set_enabled, after_create=True),
        Update(
            ("description",),
            Call(
                "update_key_description",
                {"KeyId": "$id", "Description": lambda scope: scope.props.get("description", "")},
            ),
        ),
        Update(
            ("policy",),
            Call("put_key_policy", {"KeyId": "$id", "PolicyName": "default", "Policy": "$policy"}),
        ),
    ),
    forces=("keyUsage", "customerMasterKeySpec", "multiRegion"),
    local=("deletionWindowInDays", "bypassPolicyLockoutSafetyCheck"),
    names={"customerMasterKeySpec": "KeySpec"},
    computed=("policy", "rotationPeriodInDays"),
    defaults={
        "keyUsage": "ENCRYPT_DECRYPT",
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "multiRegion": False,
        "isEnabled": True,
        "enableKeyRotation": False,
        "deletionWindowInDays": DEFAULT_WINDOW,
        "bypassPolicyLockoutSafetyCheck": False,
    },
    json=("policy",),
    outputs=("arn", "keyId"),
    reads={
        "isEnabled": "live.Enabled",
        "enableKeyRotation": "live.rotation.KeyRotationEnabled || `false`",
        "rotationPeriodInDays": "live.rotation.RotationPeriodInDays",
    },
    tags=Tagging(
        create="Tags",
        form="tag-pairs",
        list=Call("list_resource_tags", {"KeyId": "$id"}, "Tags"),
        add=Call("tag_resource", {"KeyId": "$id", "Tags": "$added"}),
        remove=Call("untag_resource", {"KeyId": "$id", "TagKeys": "$removed"}),
    ),
    listing=Call("list_keys", {}, "Keys[].KeyId"),
)


def _key_id(value: PropertyValue) -> PropertyValue:
    """Reduce a key's ARN to its id: a target may be given as either."""
    return value.rpartition(":key/")[2] if isinstance(value, str) else value


def _alias(scope: Scope) -> dict[str, Any] | None:
    marker: dict[str, Any] = {}
    while True:
        answer = scope.call("list_aliases", marker)
        found = [entry for entry in answer["Aliases"] if entry["AliasName"] == scope.id]
        if found:
            return dict(found[0])
        if not answer.get("Truncated"):
            return None
        marker = {"Marker": answer["NextMarker"]}


def _target_arn(scope: Scope) -> str:
    key = str(scope.props["$live"]["TargetKeyId"])
    if key.startswith("arn:"):
        return key
    return f"arn:aws:kms:{scope.region}:{scope.account}:key/{key}"


ALIAS: Final = Row(
    label="KMS Alias",
    service="kms",
    create=Call("create_alias", matching=True),
    id="args.AliasName",
    read=_alias,
    delete=Call("delete_alias", {"AliasName": "$id"}),
    updates=(
        Update(
            ("targetKeyId",),
            Call("update_alias", {"AliasName": "$id", "TargetKeyId": "$targetKeyId"}),
        ),
    ),
    forces=("name", "namePrefix"),
    names={"name": "AliasName", "arn": "AliasArn"},
    computed=("namePrefix",),
    canon={"targetKeyId": _key_id},
    name=AutoName("name", prefix="alias/"),
    name_prefix="namePrefix",
    required=("targetKeyId",),
    outputs=("arn", "targetKeyArn"),
    reads={"targetKeyArn": _target_arn},
)

ROWS: Final[dict[str, Row]] = {"aws:kms/key:Key": KEY, "aws:kms/alias:Alias": ALIAS}

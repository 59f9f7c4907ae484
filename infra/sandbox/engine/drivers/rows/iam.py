"""IAM roles, policies and instance profiles."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

VERSIONS_KEPT: Final = 5


def document(value: Any) -> str:
    """Give a policy as JSON text, however the API answered it."""
    if isinstance(value, str):
        return unquote(value) if value.startswith("%7B") else value
    return json.dumps(value)


# -- roles --------------------------------------------------------------------------------------


def _set_boundary(scope: Scope) -> None:
    boundary = scope.props.get("permissionsBoundary")
    if boundary:
        args = {"RoleName": scope.id, "PermissionsBoundary": boundary}
        scope.call("put_role_permissions_boundary", args)
    else:
        scope.call("delete_role_permissions_boundary", {"RoleName": scope.id})


def _set_description(scope: Scope) -> None:
    args = {
        "RoleName": scope.id,
        "Description": scope.props.get("description") or "",
        "MaxSessionDuration": int(scope.props["maxSessionDuration"]),
    }
    scope.call("update_role", args)


def _delete_role(scope: Scope) -> None:
    role = {"RoleName": scope.id}
    for profile in scope.call("list_instance_profiles_for_role", role)["InstanceProfiles"]:
        args = {"InstanceProfileName": profile["InstanceProfileName"], **role}
        scope.call("remove_role_from_instance_profile", args)
    if scope.props.get("forceDetachPolicies"):
        for policy in scope.call("list_attached_role_policies", role)["AttachedPolicies"]:
            scope.call("detach_role_policy", {**role, "PolicyArn": policy["PolicyArn"]})
        for name in scope.call("list_role_policies", role)["PolicyNames"]:
            scope.call("delete_role_policy", {**role, "PolicyName": name})
    scope.call("delete_role", role)


ROLE: Final = Row(
    label="IAM Role",
    service="iam",
    global_=True,
    create=Call("create_role", matching=True),
    id="args.RoleName",
    read=Call("get_role", {"RoleName": "$id"}, "Role"),
    delete=_delete_role,
    updates=(
        Update(
            ("assumeRolePolicy",),
            Call(
                "update_assume_role_policy",
                {"RoleName": "$id", "PolicyDocument": "$assumeRolePolicy"},
            ),
        ),
        Update(("description", "maxSessionDuration"), _set_description),
        Update(("permissionsBoundary",), _set_boundary),
    ),
    forces=("name", "namePrefix", "path"),
    local=("forceDetachPolicies",),
    names={
        "name": "RoleName",
        "assumeRolePolicy": "AssumeRolePolicyDocument",
        "uniqueId": "RoleId",
    },
    computed=("namePrefix",),
    defaults={"path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False},
    json=("assumeRolePolicy",),
    name=AutoName("name", limit=64),
    name_prefix="namePrefix",
    required=("assumeRolePolicy",),
    outputs=("arn", "createDate", "uniqueId"),
    reads={
        "assumeRolePolicy": lambda scope: document(
            scope.props["$live"]["AssumeRolePolicyDocument"]
        ),
        "permissionsBoundary": "live.PermissionsBoundary.PermissionsBoundaryArn",
    },
    tags=Tagging(
        create="Tags",
        list=Call("list_role_tags", {"RoleName": "$id"}, "Tags"),
        add=Call("tag_role", {"RoleName": "$id", "Tags": "$added"}),
        remove=Call("untag_role", {"RoleName": "$id", "TagKeys": "$removed"}),
    ),
)


def _imported_inline(id_: str) -> PropertyMap:
    role, _, name = id_.partition(":")
    return {"role": role, "name": name}


ROLE_POLICY: Final = Row(
    label="IAM Role Policy",
    service="iam",
    global_=True,
    create=Call(
        "put_role_policy",
        {"RoleName": "$role", "PolicyName": "$name", "PolicyDocument": "$policy"},
    ),
    id="join(':', [args.RoleName, args.PolicyName])",
    read=Call("get_role_policy", {"RoleName": "$role", "PolicyName": "$name"}),
    delete=Call("delete_role_policy", {"RoleName": "$role", "PolicyName": "$name"}),
    updates=(
        Update(
            ("policy",),
            Call(
                "put_role_policy",
                {"RoleName": "$role", "PolicyName": "$name", "PolicyDocument": "$policy"},
            ),
        ),
    ),
    forces=("name", "namePrefix", "role"),
    names={"name": "PolicyName", "role": "RoleName"},
    computed=("namePrefix",),
    json=("policy",),
    name=AutoName("name", limit=128),
    name_prefix="namePrefix",
    required=("policy", "role"),
    reads={"policy": lambda scope: document(scope.props["$live"]["PolicyDocument"])},
    imported=_imported_inline,
)


# -- managed policies ---------------------------------------------------------------------------


def _new_version(scope: Scope) -> None:
    """Make a new default version; the oldest goes where there are as many as AWS keeps."""
    policy = {"PolicyArn": scope.id}
    versions = scope.call("list_policy_versions", policy)["Versions"]
    others = [version["VersionId"] for version in versions if not version["IsDefaultVersion"]]
    if len(versions) >= VERSIONS_KEPT:
        oldest = min(others, key=lambda version: int(version[1:]))
        scope.call("delete_policy_version", {**policy, "VersionId": oldest})
    args = {**policy, "PolicyDocument": scope.props["policy"], "SetAsDefault": True}
    scope.call("create_policy_version", args)


def _delete_policy(scope: Scope) -> None:
    policy = {"PolicyArn": scope.id}
    for version in scope.call("list_policy_versions", policy)["Versions"]:
        if not version["IsDefaultVersion"]:
            scope.call("delete_policy_version", {**policy, "VersionId": version["VersionId"]})
    scope.call("delete_policy", policy)


def _policy_arn(scope: Scope) -> str:
    path = scope.props.get("path") or "/"
    return f"arn:aws:iam::{scope.account}:policy{path}{scope.props['name']}"


POLICY: Final = Row(
    label="IAM Policy",
    service="iam",
    global_=True,
    create=Call("create_policy", matching=True),
    id=_policy_arn,
    read=Call("get_policy", {"PolicyArn": "$id"}, "Policy"),
    also={
        "document": Call(
            "get_policy_version",
            {"PolicyArn": "$id", "VersionId": "$live.DefaultVersionId"},
            "PolicyVersion.Document",
        )
    },
    delete=_delete_policy,
    updates=(Update(("policy",), _new_version),),
    forces=("name", "namePrefix", "path", "description"),
    local=("delayAfterPolicyCreationInMs",),
    names={"name": "PolicyName", "policy": "PolicyDocument"},
    computed=("namePrefix",),
    defaults={"path": "/"},
    json=("policy",),
    name=AutoName("name", limit=128),
    name_prefix="namePrefix",
    required=("policy",),
    outputs=("arn", "policyId"),
    reads={"policy": lambda scope: document(scope.props["$live"]["document"])},
    tags=Tagging(
        create="Tags",
        list=Call("list_policy_tags", {"PolicyArn": "$id"}, "Tags"),
        add=Call("tag_policy", {"PolicyArn": "$id", "Tags": "$added"}),
        remove=Call("untag_policy", {"PolicyArn": "$id", "TagKeys": "$removed"}),
    ),
)


def _read_attachment(scope: Scope) -> dict[str, Any] | None:
    role, policy_arn = scope.props.get("role"), scope.props.get("policyArn")
    args: dict[str, Any] = {"RoleName": role}
    while True:
        answer = scope.call("list_attached_role_policies", args)
        if any(entry["PolicyArn"] == policy_arn for entry in answer["AttachedPolicies"]):
            return {"role": role, "policyArn": policy_arn}
        if not answer.get("IsTruncated"):
            return None
        args["Marker"] = answer["Marker"]


def _imported_attachment(id_: str) -> PropertyMap:
    role, _, policy_arn = id_.partition("/")
    return {"role": role, "policyArn": policy_arn}


ROLE_POLICY_ATTACHMENT: Final = Row(
    label="IAM Role Policy Attachment",
    service="iam",
    global_=True,
    create=Call("attach_role_policy", {"RoleName": "$role", "PolicyArn": "$policyArn"}),
    id="join('/', [args.RoleName, args.PolicyArn])",
    read=_read_attachment,
    delete=Call("detach_role_policy", {"RoleName": "$role", "PolicyArn": "$policyArn"}),
    forces=("role", "policyArn"),
    required=("role", "policyArn"),
    imported=_imported_attachment,
)


# -- instance profiles --------------------------------------------------------------------------


def _set_profile_role(scope: Scope) -> None:
    profile = {"InstanceProfileName": scope.id}
    if scope.old.get("role"):
        args = {**profile, "RoleName": scope.old["role"]}
        scope.call("remove_role_from_instance_profile", args)
    if scope.props.get("role"):
        args = {**profile, "RoleName": scope.props["role"]}
        scope.call("add_role_to_instance_profile", args)


def _delete_profile(scope: Scope) -> None:
    profile = {"InstanceProfileName": scope.id}
    live = scope.call("get_instance_profile", profile)["InstanceProfile"]
    for role in live["Roles"]:
        args = {**profile, "RoleName": role["RoleName"]}
        scope.call("remove_role_from_instance_profile", args)
    scope.call("delete_instance_profile", profile)


INSTANCE_PROFILE: Final = Row(
    label="IAM Instance Profile",
    service="iam",
    global_=True,
    create=Call("create_instance_profile", matching=True),
    id="args.InstanceProfileName",
    read=Call("get_instance_profile", {"InstanceProfileName": "$id"}, "InstanceProfile"),
    delete=_delete_profile,
    updates=(Update(("role",), _set_profile_role, after_create=True),),
    forces=("name", "namePrefix", "path"),
    names={"name": "InstanceProfileName", "uniqueId": "InstanceProfileId"},
    computed=("namePrefix",),
    defaults={"path": "/"},
    name=AutoName("name", limit=128),
    name_prefix="namePrefix",
    outputs=("arn", "createDate", "uniqueId"),
    reads={"role": "live.Roles[0].RoleName"},
    tags=Tagging(
        create="Tags",
        add=Call("tag_instance_profile", {"InstanceProfileName": "$id", "Tags": "$added"}),
        remove=Call(
            "untag_instance_profile", {"InstanceProfileName": "$id", "TagKeys": "$removed"}
        ),
    ),
)

ROWS: Final[dict[str, Row]] = {
    "aws:iam/role:Role": ROLE,
    "aws:iam/rolePolicy:RolePolicy": ROLE_POLICY,
    "aws:iam/policy:Policy": POLICY,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ROLE_POLICY_ATTACHMENT,
    "aws:iam/instanceProfile:InstanceProfile": INSTANCE_PROFILE,
}

"""IAM roles, policies and instance profiles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal
from urllib.parse import unquote

from infra.sandbox.engine.drivers.row import AutoName, Call, Hook, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

VERSIONS_KEPT: Final = 5

Holder = Literal["Group", "Role"]
"""What a policy can belong to, in the words of IAM's operations."""


def document(value: Any) -> str:
    """Give a policy as JSON text, however the API answered it."""
    if isinstance(value, str):
        return unquote(value) if value.startswith("%7B") else value
    return json.dumps(value)


def pages(
    scope: Scope, operation: str, args: dict[str, Any], result: str
) -> Iterator[dict[str, Any]]:
    """Give what a list operation answers, from all of its pages."""
    while True:
        answer = scope.call(operation, args)
        yield from answer[result]
        if not answer.get("IsTruncated"):
            return
        args = {**args, "Marker": answer["Marker"]}


def set_boundary(holder: Literal["Role", "User"]) -> Hook:
    """Give what puts or takes away the boundary of a role or user."""

    def apply(scope: Scope) -> None:
        bounded = {f"{holder}Name": scope.id}
        boundary = scope.props.get("permissionsBoundary")
        if boundary:
            args = {**bounded, "PermissionsBoundary": boundary}
            scope.call(f"put_{holder.lower()}_permissions_boundary", args)
        else:
            scope.call(f"delete_{holder.lower()}_permissions_boundary", bounded)

    return apply


def inline_policy(holder: Holder) -> Row:
    """Give the row of a policy that is part of its holder."""
    key, name = holder.lower(), f"{holder}Name"
    policy = {name: f"${key}", "PolicyName": "$name"}
    put = Call(f"put_{key}_policy", {**policy, "PolicyDocument": "$policy"})

    def imported(id_: str) -> PropertyMap:
        held_by, _, policy_name = id_.partition(":")
        return {key: held_by, "name": policy_name}

    return Row(
        label=f"IAM {holder} Policy",
        service="iam",
        global_=True,
        create=put,
        id=f"join(':', [args.{name}, args.PolicyName])",
        read=Call(f"get_{key}_policy", policy),
        delete=Call(f"delete_{key}_policy", policy),
        updates=(Update(("policy",), put),),
        forces=("name", "namePrefix", key),
        names={"name": "PolicyName", key: name},
        computed=("namePrefix",),
        json=("policy",),
        name=AutoName("name", limit=128),
        name_prefix="namePrefix",
        required=("policy", key),
        reads={"policy": lambda scope: document(scope.props["$live"]["PolicyDocument"])},
        imported=imported,
    )


def policy_attachment(holder: Holder) -> Row:
    """Give the row of a managed policy's attachment to its holder."""
    key, name = holder.lower(), f"{holder}Name"
    attachment = {name: f"${key}", "PolicyArn": "$policyArn"}

    def read(scope: Scope) -> dict[str, Any] | None:
        held_by, policy_arn = scope.props.get(key), scope.props.get("policyArn")
        listed = pages(scope, f"list_attached_{key}_policies", {name: held_by}, "AttachedPolicies")
        if any(entry["PolicyArn"] == policy_arn for entry in listed):
            return {key: held_by, "policyArn": policy_arn}
        return None

    def imported(id_: str) -> PropertyMap:
        held_by, _, policy_arn = id_.partition("/")
        return {key: held_by, "policyArn": policy_arn}

    return Row(
        label=f"IAM {holder} Policy Attachment",
        service="iam",
        global_=True,
        create=Call(f"attach_{key}_policy", attachment),
        id=f"join('/', [args.{name}, args.PolicyArn])",
        read=read,
        delete=Call(f"detach_{key}_policy", attachment),
        forces=(key, "policyArn"),
        required=(key, "policyArn"),
        imported=imported,
    )


# -- roles --------------------------------------------------------------------------------------


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
        Update(("permissionsBoundary",), set_boundary("Role")),
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


ROLE_POLICY: Final = inline_policy("Role")


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


ROLE_POLICY_ATTACHMENT: Final = policy_attachment("Role")


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

"""IAM users, groups, and who is a member of what."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.drivers.rows.iam import (
    inline_policy,
    pages,
    policy_attachment,
    set_boundary,
)
from infra.sandbox.engine.wire import PropertyMap

# -- users --------------------------------------------------------------------------------------


def _delete_user(scope: Scope) -> None:
    user = {"UserName": scope.id}
    for group in list(pages(scope, "list_groups_for_user", user, "Groups")):
        scope.call("remove_user_from_group", {**user, "GroupName": group["GroupName"]})
    if scope.props.get("forceDestroy"):
        _delete_credentials(scope, user)
    scope.call("delete_user", user)


def _delete_credentials(scope: Scope, user: dict[str, Any]) -> None:
    """Delete what was made beside the program and would hold the user back."""
    for key in list(pages(scope, "list_access_keys", user, "AccessKeyMetadata")):
        scope.call("delete_access_key", {**user, "AccessKeyId": key["AccessKeyId"]})
    for key in list(pages(scope, "list_ssh_public_keys", user, "SSHPublicKeys")):
        scope.call("delete_ssh_public_key", {**user, "SSHPublicKeyId": key["SSHPublicKeyId"]})
    for certificate in list(pages(scope, "list_signing_certificates", user, "Certificates")):
        args = {**user, "CertificateId": certificate["CertificateId"]}
        scope.call("delete_signing_certificate", args)
    for device in list(pages(scope, "list_mfa_devices", user, "MFADevices")):
        serial = {"SerialNumber": device["SerialNumber"]}
        scope.call("deactivate_mfa_device", {**user, **serial})
        if device["SerialNumber"].startswith("arn:"):
            scope.call("delete_virtual_mfa_device", serial)
    try:
        scope.call("delete_login_profile", user)
    except ApiError as error:
        if not error.gone:
            raise


USER: Final = Row(
    label="IAM User",
    service="iam",
    global_=True,
    create=Call("create_user", matching=True),
    id="args.UserName",
    read=Call("get_user", {"UserName": "$id"}, "User"),
    delete=_delete_user,
    updates=(
        Update(("path",), Call("update_user", {"UserName": "$id", "NewPath": "$path"})),
        Update(("permissionsBoundary",), set_boundary("User")),
    ),
    # AWS renames a user in place; here the id is the name and stays.
    forces=("name",),
    local=("forceDestroy",),
    names={"name": "UserName", "uniqueId": "UserId"},
    defaults={"path": "/", "forceDestroy": False},
    name=AutoName("name", limit=64),
    outputs=("arn", "uniqueId"),
    volatile=("arn",),
    reads={"permissionsBoundary": "live.PermissionsBoundary.PermissionsBoundaryArn"},
    tags=Tagging(
        create="Tags",
        list=Call("list_user_tags", {"UserName": "$id"}, "Tags"),
        add=Call("tag_user", {"UserName": "$id", "Tags": "$added"}),
        remove=Call("untag_user", {"UserName": "$id", "TagKeys": "$removed"}),
    ),
)


# -- memberships --------------------------------------------------------------------------------


def _join(scope: Scope) -> str:
    user = str(scope.props["user"])
    for group in scope.props["groups"]:
        scope.call("add_user_to_group", {"UserName": user, "GroupName": group})
    return user


def _memberships(scope: Scope) -> dict[str, Any] | None:
    """Read which of the program's groups the user is in: of none, and there is no membership."""
    user = scope.props["user"]
    groups = pages(scope, "list_groups_for_user", {"UserName": user}, "Groups")
    live = {group["GroupName"] for group in groups}
    ours = [group for group in scope.props["groups"] if group in live]
    return {"user": user, "groups": ours} if ours else None


def _change_memberships(scope: Scope) -> None:
    user = scope.props["user"]
    before, after = set(scope.old["groups"]), set(scope.props["groups"])
    for group in sorted(after - before):
        scope.call("add_user_to_group", {"UserName": user, "GroupName": group})
    for group in sorted(before - after):
        scope.call("remove_user_from_group", {"UserName": user, "GroupName": group})


def _leave(scope: Scope) -> None:
    there = _memberships(scope)
    for group in there["groups"] if there else ():
        scope.call("remove_user_from_group", {"UserName": scope.props["user"], "GroupName": group})


def _imported_memberships(id_: str) -> PropertyMap:
    user, *groups = id_.split("/")
    return {"user": user, "groups": groups}


USER_GROUP_MEMBERSHIP: Final = Row(
    label="IAM User Group Membership",
    service="iam",
    global_=True,
    create=_join,
    read=_memberships,
    delete=_leave,
    updates=(Update(("groups",), _change_memberships),),
    forces=("user",),
    required=("user", "groups"),
    imported=_imported_memberships,
)


# -- groups -------------------------------------------------------------------------------------

GROUP: Final = Row(
    label="IAM Group",
    service="iam",
    global_=True,
    create=Call("create_group", matching=True),
    id="args.GroupName",
    read=Call("get_group", {"GroupName": "$id"}, "Group"),
    delete=Call("delete_group", {"GroupName": "$id"}),
    updates=(Update(("path",), Call("update_group", {"GroupName": "$id", "NewPath": "$path"})),),
    # AWS renames a group in place; here the id is the name and stays.
    forces=("name",),
    names={"name": "GroupName", "uniqueId": "GroupId"},
    defaults={"path": "/"},
    name=AutoName("name", limit=128),
    outputs=("arn", "uniqueId"),
    volatile=("arn",),
)


GROUP_POLICY: Final = inline_policy("Group")
GROUP_POLICY_ATTACHMENT: Final = policy_attachment("Group")

ROWS: Final[dict[str, Row]] = {
    "aws:iam/user:User": USER,
    "aws:iam/userGroupMembership:UserGroupMembership": USER_GROUP_MEMBERSHIP,
    "aws:iam/group:Group": GROUP,
    "aws:iam/groupPolicy:GroupPolicy": GROUP_POLICY,
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment": GROUP_POLICY_ATTACHMENT,
}

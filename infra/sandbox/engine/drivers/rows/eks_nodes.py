"""What EKS manages inside a cluster: node groups and add-ons."""

from __future__ import annotations

import time
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Update
from infra.sandbox.engine.drivers.rows.eks_access import eks_tags
from infra.sandbox.engine.wire import PropertyMap

# -- node groups --------------------------------------------------------------------------------

_GROUP: Final = {"clusterName": "$clusterName", "nodegroupName": "$nodeGroupName"}
WAIT_PAUSE: Final = 0.1
WAIT_TRIES: Final = 1200
CONFIGURATION: Final = ("labels", "nodeRepairConfig", "scalingConfig", "taints", "updateConfig")


def _taint_key(taint: PropertyMap) -> tuple[Any, Any]:
    return taint["key"], taint["effect"]


def _changed_taints(old: list[PropertyMap], new: list[PropertyMap]) -> dict[str, Any]:
    kept = {_taint_key(taint) for taint in new}
    return {
        "addOrUpdateTaints": [taint for taint in new if taint not in old],
        "removeTaints": [taint for taint in old if _taint_key(taint) not in kept],
    }


def _changed_labels(old: PropertyMap, new: PropertyMap) -> dict[str, Any]:
    return {
        "addOrUpdateLabels": {key: value for key, value in new.items() if old.get(key) != value},
        "removeLabels": [key for key in old if key not in new],
    }


def _configure(scope: Scope) -> None:
    """Say what changed: the API keeps what it is not told."""
    old, new = scope.old, scope.props
    changed = {name for name in CONFIGURATION if old.get(name) != new.get(name)}
    args: dict[str, Any] = {
        name: new[name] for name in changed - {"labels", "taints"} if new.get(name)
    }
    if "labels" in changed:
        args["labels"] = _changed_labels(old.get("labels") or {}, new.get("labels") or {})
    if "taints" in changed:
        args["taints"] = _changed_taints(old.get("taints") or [], new.get("taints") or [])
    name = {"clusterName": new["clusterName"], "nodegroupName": new["nodeGroupName"]}
    _update(scope, "update_nodegroup_config", {**name, **args})


def _replace_nodes(scope: Scope) -> None:
    """Change what the nodes run; what is not named follows the newest of its kind."""
    old, new = scope.old, scope.props
    args: dict[str, Any] = {
        "clusterName": new["clusterName"],
        "nodegroupName": new["nodeGroupName"],
        "force": bool(new.get("forceUpdateVersion")),
    }
    for name in ("version", "releaseVersion"):
        if new.get(name) and old.get(name) != new[name]:
            args[name] = new[name]
    template = new.get("launchTemplate")
    if template and old.get("launchTemplate") != template:
        args["launchTemplate"] = {
            key: template[key] for key in ("id", "name", "version") if template.get(key)
        }
    _update(scope, "update_nodegroup_version", args)


def _update(scope: Scope, operation: str, args: dict[str, Any]) -> None:
    """Start an update and wait for it: EKS takes one at a time."""
    id_ = scope.call(operation, args)["update"]["id"]
    names = {"name": args["clusterName"], "nodegroupName": args["nodegroupName"]}
    for _ in range(WAIT_TRIES):
        update = scope.call("describe_update", {**names, "updateId": id_})["update"]
        if update["status"] == "Successful":
            return
        if update["status"] != "InProgress":
            raise ApiError(f"{operation} of {names}: {update['status']}", "UpdateFailed")
        time.sleep(WAIT_PAUSE)
    raise ApiError(f"{operation} of {names} is still in progress", "Timeout")


def _resources(scope: Scope) -> list[PropertyMap]:
    live = scope.props["$live"].get("resources") or {}
    groups = [{"name": group["name"]} for group in live.get("autoScalingGroups") or []]
    found: PropertyMap = {"autoscalingGroups": groups}
    if live.get("remoteAccessSecurityGroup"):
        found["remoteAccessSecurityGroupId"] = live["remoteAccessSecurityGroup"]
    return [found]


def _imported_group(id_: str) -> PropertyMap:
    cluster, _, name = id_.partition(":")
    return {"clusterName": cluster, "nodeGroupName": name}


NODE_GROUP: Final = Row(
    label="EKS Node Group",
    service="eks",
    create=Call("create_nodegroup", matching=True),
    id="join(':', [props.clusterName, props.nodeGroupName])",
    read=Call("describe_nodegroup", _GROUP, "nodegroup"),
    gone="status=='DELETING'",
    pending="status=='CREATING' || status=='UPDATING'",
    delete=Call("delete_nodegroup", _GROUP),
    updates=(
        Update(("launchTemplate", "releaseVersion", "version"), _replace_nodes),
        Update(CONFIGURATION, _configure),
    ),
    forces=(
        "amiType",
        "capacityType",
        "clusterName",
        "diskSize",
        "instanceTypes",
        "nodeGroupName",
        "nodeGroupNamePrefix",
        "nodeRoleArn",
        "remoteAccess",
        "subnetIds",
    ),
    local=("forceUpdateVersion",),
    names={"nodeRoleArn": "nodeRole", "subnetIds": "subnets", "nodeGroupName": "nodegroupName"},
    computed=(
        "amiType",
        "capacityType",
        "instanceTypes",
        "nodeGroupNamePrefix",
        "nodeRepairConfig",
        "releaseVersion",
        "updateConfig",
        "version",
    ),
    unmanaged=("diskSize", "remoteAccess"),
    ordered=("instanceTypes",),
    name=AutoName("nodeGroupName", limit=63),
    name_prefix="nodeGroupNamePrefix",
    required=("clusterName", "nodeRoleArn", "scalingConfig", "subnetIds"),
    outputs=("arn", "resources", "status"),
    volatile=("releaseVersion",),
    reads={
        "arn": "live.nodegroupArn",
        "resources": _resources,
        "nodeGroupNamePrefix": "props.nodeGroupNamePrefix",
    },
    tags=eks_tags("arn"),
    imported=_imported_group,
)

# -- add-ons ------------------------------------------------------------------------------------

_ADDON: Final = {"clusterName": "$clusterName", "addonName": "$addonName"}


def _identities(scope: Scope) -> list[PropertyMap] | None:
    """Give the roles of an add-on's service accounts: its answer names associations alone."""
    found = []
    for arn in scope.props["$live"].get("podIdentityAssociations") or []:
        key = {
            "clusterName": scope.props["clusterName"],
            "associationId": arn.rpartition("/")[2],
        }
        association = scope.call("describe_pod_identity_association", key)["association"]
        found.append({name: association[name] for name in ("roleArn", "serviceAccount")})
    return found or None


def _imported_addon(id_: str) -> PropertyMap:
    cluster, _, addon = id_.partition(":")
    return {"clusterName": cluster, "addonName": addon}


ADDON: Final = Row(
    label="EKS Add-On",
    service="eks",
    create=Call("create_addon", {"resolveConflicts": "$resolveConflictsOnCreate"}, matching=True),
    id="join(':', [props.clusterName, props.addonName])",
    read=Call("describe_addon", _ADDON, "addon"),
    gone="status=='DELETING'",
    pending="status=='CREATING' || status=='UPDATING'",
    delete=Call("delete_addon", {**_ADDON, "preserve": "$preserve"}),
    updates=(
        Update(
            (
                "addonVersion",
                "configurationValues",
                "podIdentityAssociations",
                "serviceAccountRoleArn",
            ),
            Call(
                "update_addon",
                {
                    **_ADDON,
                    "addonVersion": "$addonVersion",
                    "configurationValues": "$configurationValues",
                    "podIdentityAssociations": lambda scope: (
                        scope.props.get("podIdentityAssociations") or []
                    ),
                    "resolveConflicts": "$resolveConflictsOnUpdate",
                    "serviceAccountRoleArn": "$serviceAccountRoleArn",
                },
            ),
        ),
    ),
    forces=("addonName", "clusterName", "namespaceConfig"),
    local=("preserve", "resolveConflictsOnCreate", "resolveConflictsOnUpdate"),
    computed=("addonVersion", "namespaceConfig"),
    json=("configurationValues",),
    required=("addonName", "clusterName"),
    allowed={
        "resolveConflictsOnCreate": ("NONE", "OVERWRITE"),
        "resolveConflictsOnUpdate": ("NONE", "OVERWRITE", "PRESERVE"),
    },
    outputs=("arn", "createdAt", "modifiedAt"),
    volatile=("modifiedAt",),
    reads={"arn": "live.addonArn", "podIdentityAssociations": _identities},
    tags=eks_tags("arn"),
    imported=_imported_addon,
)

ROWS: Final[dict[str, Row]] = {
    "aws:eks/addon:Addon": ADDON,
    "aws:eks/nodeGroup:NodeGroup": NODE_GROUP,
}

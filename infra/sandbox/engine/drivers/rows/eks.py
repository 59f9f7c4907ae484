"""EKS control planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap, PropertyValue

LOG_TYPES: Final = ("api", "audit", "authenticator", "controllerManager", "scheduler")
VPC_INPUTS: Final = (
    "subnetIds",
    "securityGroupIds",
    "endpointPrivateAccess",
    "endpointPublicAccess",
    "publicAccessCidrs",
)


def _vpc_args(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in VPC_INPUTS if given.get(key) is not None}


def _logging(types: list[str]) -> dict[str, Any]:
    """Say of every log type whether it is on: the API keeps what it is not told."""
    off = [name for name in LOG_TYPES if name not in types]
    groups = ((list(types), True), (off, False))
    return {"clusterLogging": [{"types": names, "enabled": on} for names, on in groups if names]}


def _create(scope: Scope) -> str:
    props = scope.props
    args: dict[str, Any] = {
        "name": props["name"],
        "roleArn": props["roleArn"],
        "resourcesVpcConfig": _vpc_args(props["vpcConfig"]),
        "logging": _logging(props.get("enabledClusterLogTypes") or []),
        **props["$tags"],
    }
    encryption = props.get("encryptionConfig")
    if encryption:
        provider = {"keyArn": encryption["provider"]["keyArn"]}
        entry = {"resources": list(encryption["resources"]), "provider": provider}
        args["encryptionConfig"] = [entry]
    for key in (
        "version",
        "accessConfig",
        "bootstrapSelfManagedAddons",
        "kubernetesNetworkConfig",
        "upgradePolicy",
        "zonalShiftConfig",
        "deletionProtection",
    ):
        if props.get(key) is not None:
            args[key] = props[key]
    scope.call("create_cluster", args)
    return str(props["name"])


def _configure(key: str, value: Any) -> Update:
    def run(scope: Scope) -> None:
        scope.call("update_cluster_config", {"name": scope.id, **value(scope.props)})

    return Update((key,), run)


def _set_version(scope: Scope) -> None:
    scope.call("update_cluster_version", {"name": scope.id, "version": scope.props["version"]})


def _live_vpc(scope: Scope) -> PropertyMap:
    live = scope.props["$live"]["resourcesVpcConfig"]
    keys = (*VPC_INPUTS, "clusterSecurityGroupId", "vpcId")
    return {key: live[key] for key in keys if live.get(key) is not None}


def _log_types(scope: Scope) -> list[str] | None:
    groups = scope.props["$live"].get("logging", {}).get("clusterLogging", [])
    on = [name for group in groups if group.get("enabled") for name in group.get("types", [])]
    return on or None


def _live_encryption(scope: Scope) -> PropertyMap | None:
    entries = scope.props["$live"].get("encryptionConfig") or []
    if not entries:
        return None
    provider = {"keyArn": entries[0]["provider"]["keyArn"]}
    return {"resources": list(entries[0]["resources"]), "provider": provider}


def _vpc_canon(value: PropertyValue) -> PropertyValue:
    """Leave out what EKS adds to the network configuration."""
    if not isinstance(value, dict):
        return value
    usual: dict[str, Any] = {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}
    kept = {key: value[key] for key in VPC_INPUTS if value.get(key) not in (None, [], False)}
    if value.get("endpointPublicAccess") is False:
        kept["endpointPublicAccess"] = False
    return {**usual, **kept}


def _access_canon(value: PropertyValue) -> PropertyValue:
    """Fill in EKS's defaults: its creator is an administrator unless that is switched off."""
    if not isinstance(value, dict):
        return value
    return {
        "authenticationMode": value.get("authenticationMode") or "CONFIG_MAP",
        "bootstrapClusterCreatorAdminPermissions": value.get(
            "bootstrapClusterCreatorAdminPermissions", True
        ),
    }


def _network(scope: Scope) -> PropertyMap | None:
    live = scope.props["$live"].get("kubernetesNetworkConfig") or {}
    keys = ("ipFamily", "serviceIpv4Cidr", "serviceIpv6Cidr")
    return {key: live[key] for key in keys if live.get(key)} or None


def _arn(scope: Scope) -> str:
    return f"arn:aws:eks:{scope.region}:{scope.account}:cluster/{scope.id}"


CLUSTER: Final = Row(
    label="EKS Cluster",
    service="eks",
    create=_create,
    id="props.name",
    read=Call("describe_cluster", {"name": "$id"}, "cluster"),
    gone="status=='DELETING'",
    pending="status=='CREATING' || status=='UPDATING'",
    delete=Call("delete_cluster", {"name": "$id"}),
    updates=(
        _configure(
            "vpcConfig", lambda props: {"resourcesVpcConfig": _vpc_args(props["vpcConfig"])}
        ),
        _configure(
            "enabledClusterLogTypes",
            lambda props: {"logging": _logging(props.get("enabledClusterLogTypes") or [])},
        ),
        _configure("upgradePolicy", lambda props: {"upgradePolicy": props["upgradePolicy"]}),
        _configure(
            "zonalShiftConfig", lambda props: {"zonalShiftConfig": props["zonalShiftConfig"]}
        ),
        _configure(
            "deletionProtection",
            lambda props: {"deletionProtection": bool(props.get("deletionProtection"))},
        ),
        _configure(
            "accessConfig",
            lambda props: {
                "accessConfig": {"authenticationMode": props["accessConfig"]["authenticationMode"]}
            },
        ),
        Update(("version",), _set_version),
    ),
    forces=("name", "roleArn", "encryptionConfig", "kubernetesNetworkConfig"),
    local=("bootstrapSelfManagedAddons", "defaultAddonsToRemoves", "forceUpdateVersion"),
    computed=("accessConfig", "kubernetesNetworkConfig", "version", "upgradePolicy"),
    inside={"vpcConfig": ("clusterSecurityGroupId", "vpcId")},
    defaults={
        "upgradePolicy": {"supportType": "EXTENDED"},
        "zonalShiftConfig": {"enabled": False},
        "deletionProtection": False,
        "bootstrapSelfManagedAddons": True,
    },
    canon={"vpcConfig": _vpc_canon, "accessConfig": _access_canon},
    name=AutoName("name", limit=100),
    required=("roleArn", "vpcConfig"),
    outputs=(
        "arn",
        "certificateAuthority",
        "createdAt",
        "endpoint",
        "identities",
        "platformVersion",
        "status",
    ),
    reads={
        "vpcConfig": _live_vpc,
        "enabledClusterLogTypes": _log_types,
        "encryptionConfig": _live_encryption,
        "certificateAuthority": "{data: live.certificateAuthority.data}",
        "identities": "live.identity && [{oidcs: [{issuer: live.identity.oidc.issuer}]}]",
        "accessConfig": "live.accessConfig && {authenticationMode: live.accessConfig."
        "authenticationMode, bootstrapClusterCreatorAdminPermissions: live.accessConfig."
        "bootstrapClusterCreatorAdminPermissions}",
        "kubernetesNetworkConfig": _network,
        "upgradePolicy": "live.upgradePolicy && {supportType: live.upgradePolicy.supportType}",
        "zonalShiftConfig": "live.zonalShiftConfig && {enabled: live.zonalShiftConfig.enabled}",
    },
    tags=Tagging(
        create="tags",
        form="map",
        add=Call("tag_resource", {"resourceArn": _arn, "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": _arn, "tagKeys": "$removed"}),
    ),
)


ROWS: Final[dict[str, Row]] = {"aws:eks/cluster:Cluster": CLUSTER}

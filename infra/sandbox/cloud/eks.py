"""The parts of EKS's API that moto lacks: add-ons, access entries, pod identity, updates, tags.

Each operation is a method of moto's own responses class, found through botocore's model like the
rest; what they keep lives in moto's backend object, so that moto's reset empties it too.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infra.sandbox.cloud import eks_nodes

PATHS: Final = (
    "addons",
    "addons/(?P<addonName>[^/]+)",
    "addons/(?P<addonName>[^/]+)/update",
    "node-groups/(?P<nodegroupName>[^/]+)/update-version",
    "access-entries",
    "access-entries/(?P<principalArn>.+)",
    "pod-identity-associations",
    "pod-identity-associations/(?P<associationId>[^/]+)",
    "updates",
    "updates/(?P<updateId>[^/]+)",
)
ADDON_VERSIONS: Final[Mapping[str, str]] = {
    "amazon-cloudwatch-observability": "v4.2.0-eksbuild.1",
    "aws-ebs-csi-driver": "v1.45.0-eksbuild.2",
    "coredns": "v1.12.1-eksbuild.2",
    "eks-pod-identity-agent": "v1.3.8-eksbuild.2",
    "kube-proxy": "v1.33.0-eksbuild.2",
    "metrics-server": "v0.8.0-eksbuild.1",
    "vpc-cni": "v1.19.6-eksbuild.7",
}
ADDON_NAMESPACES: Final[Mapping[str, str]] = {
    "amazon-cloudwatch-observability": "amazon-cloudwatch"
}
"""Where an add-on's service accounts are, if not in kube-system."""
# What a request says about itself, not about the thing it makes.
_REQUEST_ONLY: Final = {"clientRequestToken", "resolveConflicts", "clusterName", "name", "preserve"}

Table = dict[str, dict[str, Any]]


def install() -> None:
    """Add the operations, their routes, and what moto forgets of clusters and node groups."""
    from moto.eks import models, responses, urls

    for path in PATHS:
        urls.url_paths[f"{{0}}/clusters/(?P<name>[^/]+)/{path}$"] = urls.response.dispatch
    urls.url_paths["{0}/addons/supported-versions$"] = urls.response.dispatch
    for name, operation in _OPERATIONS.items():
        setattr(responses.EKSResponse, name, operation)
    # Node groups have no remote access unless they ask for it.
    setattr(models, "DEFAULT_REMOTE_ACCESS", None)  # noqa: B010 - moto declares a mapping
    _remember_updates_of_node_groups(responses)
    _remember_cluster_settings(responses, models)
    _tag_every_part(models)
    eks_nodes.install(responses, models)


def _table(response: Any, kind: str) -> Table:
    """Give what a cluster has of one kind; an unknown cluster is EKS's own error."""
    cluster = response.eks_backend.describe_cluster(name=_cluster_name(response))
    tables: dict[str, Table] = cluster.__dict__.setdefault("sandbox_tables", {})
    return tables.setdefault(kind, {})


def _cluster_name(response: Any) -> str:
    return str(_request(response)["name"])


def _request(response: Any) -> dict[str, Any]:
    """Give the request's members, from wherever they travelled: path, query or body."""
    query = {key: values[0] for key, values in response.querystring.items()}
    body = json.loads(response.body) if response.body else {}
    return {**query, **response.uri_match, **body}


def _settings(response: Any) -> dict[str, Any]:
    """Give what a request says about the thing itself."""
    members = _request(response).items()
    return {key: value for key, value in members if key not in _REQUEST_ONLY and value is not None}


def _arn(response: Any, kind: str, name: str) -> str:
    account, region = response.current_account, response.region
    return f"arn:aws:eks:{region}:{account}:{kind}/{_cluster_name(response)}/{name}/{uuid.uuid4()}"


def _existing(response: Any, kind: str, key: str) -> dict[str, Any]:
    found = _table(response, kind).get(key)
    if found is None:
        raise _not_found(response, f"No {kind} {key} in cluster {_cluster_name(response)}")
    return found


def _not_found(response: Any, message: str) -> Exception:
    from moto.eks.exceptions import ResourceNotFoundException

    error: Exception = ResourceNotFoundException(
        clusterName=_cluster_name(response), message=message
    )
    return error


def _in_use(response: Any, message: str) -> Exception:
    from moto.eks.exceptions import ResourceInUseException

    error: Exception = ResourceInUseException(clusterName=_cluster_name(response), message=message)
    return error


def _add(response: Any, kind: str, key: str, item: dict[str, Any]) -> dict[str, Any]:
    table = _table(response, kind)
    if key in table:
        raise _in_use(response, f"{kind} {key} already exists")
    now = time.time()
    table[key] = {"clusterName": _cluster_name(response), "createdAt": now, "modifiedAt": now}
    table[key].update({"tags": {}, **item})
    return table[key]


def _change(response: Any, kind: str, key: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    item = _existing(response, kind, key)
    item.update(changes)
    item["modifiedAt"] = time.time()
    return item


def _result(content: Mapping[str, Any]) -> Any:
    from moto.core.responses import ActionResult

    return ActionResult(dict(content))


def _update(response: Any, kind: str) -> dict[str, Any]:
    update_id = str(uuid.uuid4())
    update = {
        "id": update_id,
        "status": "Successful",
        "type": kind,
        "params": [],
        "errors": [],
        "createdAt": time.time(),
    }
    _table(response, "update")[update_id] = update
    return update


def _create_addon(response: Any) -> Any:
    item = _settings(response)
    name = item["addonName"]
    identities = item.pop("podIdentityAssociations", [])
    item.setdefault("addonVersion", ADDON_VERSIONS.get(name, "v1.0.0-eksbuild.1"))
    item.update(status="ACTIVE", health={"issues": []}, addonArn=_arn(response, "addon", name))
    addon = _add(response, "addon", name, item)
    _give_identities(response, addon, identities)
    return _result({"addon": addon})


def _give_identities(response: Any, addon: dict[str, Any], wanted: list[dict[str, str]]) -> None:
    """Make the Pod Identity associations of an add-on exactly those wanted."""
    table = _table(response, "pod identity association")
    owned = [key for key, item in table.items() if item.get("ownerArn") == addon["addonArn"]]
    for key in owned:
        del table[key]
    namespace = ADDON_NAMESPACES.get(addon["addonName"], "kube-system")
    addon["podIdentityAssociations"] = [
        _associate(response, {**identity, "namespace": namespace, "ownerArn": addon["addonArn"]})[
            "associationArn"
        ]
        for identity in wanted
    ]


def _describe_addon(response: Any) -> Any:
    return _result({"addon": _existing(response, "addon", _request(response)["addonName"])})


def _list_addons(response: Any) -> Any:
    return _result({"addons": sorted(_table(response, "addon"))})


def _update_addon(response: Any) -> Any:
    changes = _settings(response)
    identities = changes.pop("podIdentityAssociations", None)
    addon = _change(response, "addon", changes.pop("addonName"), changes)
    if identities is not None:
        _give_identities(response, addon, identities)
    return _result({"update": _update(response, "AddonUpdate")})


def _delete_addon(response: Any) -> Any:
    name = _request(response)["addonName"]
    item = _existing(response, "addon", name)
    _give_identities(response, item, [])
    del _table(response, "addon")[name]
    return _result({"addon": {**item, "status": "DELETING"}})


def _describe_addon_versions(response: Any) -> Any:
    wanted = _request(response).get("addonName")
    versions = {n: v for n, v in ADDON_VERSIONS.items() if wanted in (None, n)}
    addons = [
        {"addonName": name, "type": "networking", "addonVersions": [{"addonVersion": version}]}
        for name, version in sorted(versions.items())
    ]
    return _result({"addons": addons})


def _create_access_entry(response: Any) -> Any:
    item = _settings(response)
    principal = item["principalArn"]
    item.setdefault("type", "STANDARD")
    item.setdefault("kubernetesGroups", [])
    item.setdefault("username", principal)
    item["accessEntryArn"] = _arn(response, "access-entry", principal.rpartition("/")[2])
    return _result({"accessEntry": _add(response, "access entry", principal, item)})


def _describe_access_entry(response: Any) -> Any:
    principal = _request(response)["principalArn"]
    return _result({"accessEntry": _existing(response, "access entry", principal)})


def _list_access_entries(response: Any) -> Any:
    return _result({"accessEntries": sorted(_table(response, "access entry"))})


def _update_access_entry(response: Any) -> Any:
    changes = _settings(response)
    principal = changes.pop("principalArn")
    return _result({"accessEntry": _change(response, "access entry", principal, changes)})


def _delete_access_entry(response: Any) -> Any:
    principal = _request(response)["principalArn"]
    _existing(response, "access entry", principal)
    del _table(response, "access entry")[principal]
    _table(response, "access policies").pop(principal, None)
    return _result({})


def _policies(response: Any) -> Table:
    principal = _request(response)["principalArn"]
    _existing(response, "access entry", principal)
    return _table(response, "access policies").setdefault(principal, {})


def _associate_access_policy(response: Any) -> Any:
    params = _request(response)
    now = time.time()
    association = {
        "policyArn": params["policyArn"],
        "accessScope": params["accessScope"],
        "associatedAt": now,
        "modifiedAt": now,
    }
    _policies(response)[params["policyArn"]] = association
    answer = {"clusterName": _cluster_name(response), "principalArn": params["principalArn"]}
    return _result({**answer, "associatedAccessPolicy": association})


def _disassociate_access_policy(response: Any) -> Any:
    if _policies(response).pop(_request(response)["policyArn"], None) is None:
        raise _not_found(response, "The policy is not associated with this access entry")
    return _result({})


def _list_associated_access_policies(response: Any) -> Any:
    answer = {
        "clusterName": _cluster_name(response),
        "principalArn": _request(response)["principalArn"],
        "associatedAccessPolicies": list(_policies(response).values()),
    }
    return _result(answer)


def _create_pod_identity_association(response: Any) -> Any:
    return _result({"association": _associate(response, _settings(response))})


def _associate(response: Any, item: dict[str, Any]) -> dict[str, Any]:
    same = ("namespace", "serviceAccount")
    for other in _table(response, "pod identity association").values():
        if all(other.get(key) == item.get(key) for key in same):
            raise _in_use(response, "An association for this service account already exists")
    key = f"a-{uuid.uuid4().hex[:17]}"
    arn = _arn(response, "podidentityassociation", key).rpartition("/")[0]
    item.update(associationId=key, associationArn=arn)
    return _add(response, "pod identity association", key, item)


def _describe_pod_identity_association(response: Any) -> Any:
    key = _request(response)["associationId"]
    return _result({"association": _existing(response, "pod identity association", key)})


def _list_pod_identity_associations(response: Any) -> Any:
    wanted = {
        key: _request(response)[key]
        for key in ("namespace", "serviceAccount")
        if _request(response).get(key)
    }
    found = [
        item
        for item in _table(response, "pod identity association").values()
        if all(item.get(key) == value for key, value in wanted.items())
    ]
    return _result({"associations": found})


def _update_pod_identity_association(response: Any) -> Any:
    changes = _settings(response)
    key = changes.pop("associationId")
    return _result({"association": _change(response, "pod identity association", key, changes)})


def _delete_pod_identity_association(response: Any) -> Any:
    key = _request(response)["associationId"]
    item = _existing(response, "pod identity association", key)
    del _table(response, "pod identity association")[key]
    return _result({"association": item})


def _describe_update(response: Any) -> Any:
    update = _existing(response, "update", _request(response)["updateId"])
    group = _cluster(response).nodegroups.get(update.get("nodegroupName"))
    if group is not None:
        eks_nodes.look(group, describe=True)
    return _result({"update": update})


def _list_updates(response: Any) -> Any:
    group = _request(response).get("nodegroupName")
    found = _table(response, "update").items()
    return _result({"updateIds": sorted(i for i, u in found if u.get("nodegroupName") == group)})


def _cluster(response: Any) -> Any:
    return response.eks_backend.describe_cluster(name=_cluster_name(response))


def _update_of_nodes(response: Any, kind: str, params: Sequence[Any] = ()) -> Any:
    name = _request(response)["nodegroupName"]
    update = _update(response, kind)
    update.update(nodegroupName=name, params=list(params))
    return _result({"update": eks_nodes.begin_update(_cluster(response).nodegroups[name], update)})


def _update_cluster_version(response: Any) -> Any:
    cluster = response.eks_backend.describe_cluster(name=_cluster_name(response))
    cluster.version = _request(response)["version"]
    return _result({"update": _update(response, "VersionUpdate")})


def _update_nodegroup_version(response: Any) -> Any:
    eks_nodes.update_version(response, _request(response))
    return _update_of_nodes(response, "VersionUpdate")


_OPERATIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "create_addon": _create_addon,
    "describe_addon": _describe_addon,
    "list_addons": _list_addons,
    "update_addon": _update_addon,
    "delete_addon": _delete_addon,
    "describe_addon_versions": _describe_addon_versions,
    "create_access_entry": _create_access_entry,
    "describe_access_entry": _describe_access_entry,
    "list_access_entries": _list_access_entries,
    "update_access_entry": _update_access_entry,
    "delete_access_entry": _delete_access_entry,
    "associate_access_policy": _associate_access_policy,
    "disassociate_access_policy": _disassociate_access_policy,
    "list_associated_access_policies": _list_associated_access_policies,
    "create_pod_identity_association": _create_pod_identity_association,
    "describe_pod_identity_association": _describe_pod_identity_association,
    "list_pod_identity_associations": _list_pod_identity_associations,
    "update_pod_identity_association": _update_pod_identity_association,
    "delete_pod_identity_association": _delete_pod_identity_association,
    "describe_update": _describe_update,
    "list_updates": _list_updates,
    "update_cluster_version": _update_cluster_version,
    "update_nodegroup_version": _update_nodegroup_version,
}


def _remember_updates_of_node_groups(responses: Any) -> None:
    original = responses.EKSResponse.update_nodegroup_config

    def update_nodegroup_config(self: Any) -> Any:
        params = original(self).result["update"]["params"]
        return _update_of_nodes(self, "ConfigUpdate", params)

    responses.EKSResponse.update_nodegroup_config = update_nodegroup_config


def _remember_cluster_settings(responses: Any, models: Any) -> None:
    """Keep what a cluster is made with, give AWS's defaults for the rest, and merge updates."""
    create = responses.EKSResponse.create_cluster

    def create_cluster(self: Any) -> Any:
        answer = create(self)
        cluster = self.eks_backend.describe_cluster(name=_cluster_name(self))
        access = {
            "authenticationMode": "CONFIG_MAP",
            "bootstrapClusterCreatorAdminPermissions": True,
        }
        cluster.access_config = {**access, **(_request(self).get("accessConfig") or {})}
        cluster.upgrade_policy = _request(self).get("upgradePolicy") or {"supportType": "EXTENDED"}
        cluster.deletion_protection = bool(_request(self).get("deletionProtection"))
        cluster.zonal_shift_config = _request(self).get("zonalShiftConfig") or {"enabled": False}
        vpc = {
            "endpointPublicAccess": True,
            "endpointPrivateAccess": False,
            "publicAccessCidrs": ["0.0.0.0/0"],
            **_network_of(self, cluster),
        }
        cluster.resources_vpc_config = {**vpc, **cluster.resources_vpc_config}
        return answer

    def update_cluster_config(self: Any) -> Any:
        cluster = self.eks_backend.describe_cluster(name=_cluster_name(self))
        vpc = _request(self).get("resourcesVpcConfig")
        if vpc:
            cluster.resources_vpc_config = {**cluster.resources_vpc_config, **vpc}
        for parameter, attribute in _CLUSTER_ATTRIBUTES.items():
            if _request(self).get(parameter) is not None:
                setattr(cluster, attribute, _request(self)[parameter])
        if _request(self).get("accessConfig"):
            cluster.access_config = {**cluster.access_config, **_request(self)["accessConfig"]}
        return _result({"update": _update(self, "ConfigUpdate")})

    delete = models.EKSBackend.delete_cluster

    def delete_cluster(self: Any, name: str) -> Any:
        cluster = self.clusters.get(name)
        if getattr(cluster, "deletion_protection", False):
            from moto.eks.exceptions import InvalidRequestException

            raise InvalidRequestException(
                clusterName=name, message="Cluster has deletion protection enabled"
            )
        answer = delete(self, name)
        _delete_cluster_group(self, cluster)
        return answer

    responses.EKSResponse.create_cluster = create_cluster
    responses.EKSResponse.update_cluster_config = update_cluster_config
    models.EKSBackend.delete_cluster = delete_cluster


_CLUSTER_ATTRIBUTES: Final = {
    "logging": "logging",
    "upgradePolicy": "upgrade_policy",
    "deletionProtection": "deletion_protection",
    "zonalShiftConfig": "zonal_shift_config",
    "kubernetesNetworkConfig": "kubernetes_network_config",
    "remoteNetworkConfig": "remote_network_config",
}


def _network_of(response: Any, cluster: Any) -> dict[str, str]:
    """Give the cluster's VPC, and the security group that EKS makes in it for the cluster."""
    from moto.ec2.models import ec2_backends

    ec2 = ec2_backends[response.current_account][response.region]
    wanted = set(cluster.resources_vpc_config.get("subnetIds") or [])
    found = [zone[key] for zone in ec2.subnets.values() for key in wanted & zone.keys()]
    if not found:
        return {}
    name = f"eks-cluster-sg-{cluster.name}-{uuid.uuid4().int % 10**9}"
    description = "EKS created security group applied to ENI that is attached to EKS Control Plane"
    group = ec2.create_security_group(name, description, found[0].vpc_id)
    return {"vpcId": found[0].vpc_id, "clusterSecurityGroupId": group.id}


def _delete_cluster_group(backend: Any, cluster: Any) -> None:
    from moto.ec2.models import ec2_backends

    group_id = cluster.resources_vpc_config.get("clusterSecurityGroupId")
    if group_id:
        ec2_backends[backend.account_id][backend.region_name].delete_security_group(
            group_id=group_id
        )


def _tag_every_part(models: Any) -> None:
    """Tag node groups, add-ons, access entries and associations, as well as clusters."""
    from moto.eks.exceptions import ResourceNotFoundException

    def tags_of(backend: Any, arn: str) -> dict[str, str]:
        for cluster in backend.clusters.values():
            things = [cluster, *cluster.nodegroups.values(), *cluster.fargate_profiles.values()]
            for thing in things:
                if arn in (getattr(thing, "arn", None), getattr(thing, "fargate_profile_arn", "")):
                    found: dict[str, str] = thing.tags
                    return found
            for table in cluster.__dict__.get("sandbox_tables", {}).values():
                for item in table.values():
                    if arn in [item.get(f"{kind}Arn") for kind in _TAGGED]:
                        return dict.setdefault(item, "tags", {})
        raise ResourceNotFoundException(message=f"Resource {arn} was not found")

    def tag_resource(self: Any, resource_arn: str, tags: dict[str, str]) -> None:
        tags_of(self, resource_arn).update(tags)

    def untag_resource(self: Any, resource_arn: str, tag_keys: list[str] | str) -> None:
        for key in [tag_keys] if isinstance(tag_keys, str) else tag_keys:
            tags_of(self, resource_arn).pop(key, None)

    def list_tags_for_resource(self: Any, resource_arn: str) -> dict[str, str]:
        return tags_of(self, resource_arn)

    models.EKSBackend.tag_resource = tag_resource
    models.EKSBackend.untag_resource = untag_resource
    models.EKSBackend.list_tags_for_resource = list_tags_for_resource


_TAGGED: Final = ("addon", "accessEntry", "association")

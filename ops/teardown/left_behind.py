"""What a cluster leaves in its network, though it is gone: interfaces and security groups.

They are in no state, and hold subnets, security groups and the network itself back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.teardown.listing import tag_map

if TYPE_CHECKING:
    from ops.access import Access

_LINGERING: Final = "aws-K8S-"
"""What the cluster's network plug-in calls its interfaces."""
_IN_THE_WAY: Final = frozenset(
    {
        "DependencyViolation",
        "InvalidGroup.InUse",
        "InvalidGroup.NotFound",
        "InvalidNetworkInterface.InUse",
        "InvalidNetworkInterfaceID.NotFound",
        "InvalidParameterValue",
        "InvalidPermission.NotFound",
    }
)
"""Somebody else has deleted it, a node has taken it, or something else has to go first."""


def sweep(access: Access, vpcs: Sequence[str], planned: Collection[str]) -> list[str]:
    """Delete what the cluster has left in these networks and nothing holds; give what it was.

    `planned`: the ids of what the destroy deletes itself.
    """
    if not vpcs:
        return []
    return [*sweep_interfaces(access, vpcs), *sweep_groups(access, vpcs, planned)]


def sweep_interfaces(access: Access, vpcs: Sequence[str]) -> list[str]:
    """Delete network interfaces of the cluster that nothing is attached to; give their ids.

    The network plug-in leaves them behind when a node ends.
    """
    ec2 = access.client("ec2")
    wanted = [*_in(vpcs), {"Name": "status", "Values": ["available"]}]
    pages = ec2.get_paginator("describe_network_interfaces").paginate(Filters=wanted)
    lingering = [
        item["NetworkInterfaceId"]
        for page in pages
        for item in page["NetworkInterfaces"]
        if is_lingering(item, naming.cluster(access.environment))
    ]
    return [
        f"network interface {id_}"
        for id_ in lingering
        if _is_done(ec2.delete_network_interface, NetworkInterfaceId=id_)
    ]


def is_lingering(interface: Mapping[str, Any], cluster: str) -> bool:
    """Tell whether an interface is one that the cluster's network plug-in has left behind."""
    tags = tag_map(interface.get("TagSet") or ())
    of_plugin = str(interface.get("Description", "")).startswith(_LINGERING)
    return interface.get("Status") == "available" and (
        tags.get("cluster.k8s.amazonaws.com/name") == cluster
        or (of_plugin and "cluster.k8s.amazonaws.com/name" not in tags)
    )


def sweep_groups(access: Access, vpcs: Sequence[str], planned: Collection[str]) -> list[str]:
    """Delete security groups of the cluster's controllers, once it is gone; give what they were.

    EKS's own is left where something was still in it, those of load balancers where their
    controller ended before them.
    """
    if not _is_gone(access):
        return []
    ec2 = access.client("ec2")
    pages = ec2.get_paginator("describe_security_groups").paginate(Filters=_in(vpcs))
    left = [
        group
        for page in pages
        for group in page["SecurityGroups"]
        if group["GroupId"] not in planned and is_left(group, naming.cluster(access.environment))
    ]
    for group in left:  # those that name one another hold one another back
        _revoke(ec2, group)
    return [
        f"security group {group['GroupId']} ({group['GroupName']})"
        for group in left
        if _is_done(ec2.delete_security_group, GroupId=group["GroupId"])
    ]


def is_left(group: Mapping[str, Any], cluster: str) -> bool:
    """Tell whether a security group is one that the cluster's controllers have made."""
    tags = tag_map(group.get("Tags") or ())
    return group.get("GroupName") != "default" and (
        tags.get("aws:eks:cluster-name") == cluster
        or tags.get("elbv2.k8s.aws/cluster") == cluster
        or tags.get(f"kubernetes.io/cluster/{cluster}") == "owned"
    )


def _revoke(ec2: Any, group: Mapping[str, Any]) -> None:
    for rules, revoke in (
        (group.get("IpPermissions") or (), ec2.revoke_security_group_ingress),
        (group.get("IpPermissionsEgress") or (), ec2.revoke_security_group_egress),
    ):
        others = [rule for rule in rules if rule.get("UserIdGroupPairs")]
        if others:
            _is_done(revoke, GroupId=group["GroupId"], IpPermissions=others)


def _is_gone(access: Access) -> bool:
    eks = access.client("eks")
    try:
        eks.describe_cluster(name=naming.cluster(access.environment))
    except eks.exceptions.ResourceNotFoundException:
        return True
    return False


def _in(vpcs: Sequence[str]) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": list(vpcs)}]


def _is_done(call: Any, **arguments: Any) -> bool:
    """Ask for something that another may have done; tell whether it was this call."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in _IN_THE_WAY:
            return False
        raise
    return True

"""NodeGroup: a managed group of nodes and the launch template that says what a node is.

Nodes run the Amazon Linux 2023 that EKS calls newest when the group is made, or the release that
settings pin. Neither is looked up again: nodes are rolled when somebody changes the release, the
Kubernetes version or the template, never because AWS has published an image.

Names are made up: a change that needs another group makes it, waits until its nodes are healthy,
and only then drains the old one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pulumi import ComponentResource, Input, Output, Resource, ResourceOptions
from pulumi_aws.ec2.launch_template import LaunchTemplate
from pulumi_aws.eks.node_group import NodeGroup as EksNodeGroup

ROOT_DEVICE = "/dev/xvda"
"""Where Amazon Linux has its root volume."""
TAGGED_RESOURCES = ("instance", "network-interface", "volume")


@dataclass(frozen=True, kw_only=True)
class Taint:
    """A taint of every node of a group."""

    key: str
    value: str
    effect: Literal["NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"]


@dataclass(frozen=True, kw_only=True)
class NodeGroupSpec:
    """What the nodes of a group are, and how many."""

    name: str
    instance_types: Sequence[str]
    ami_type: str
    capacity_type: Literal["ON_DEMAND", "SPOT"]
    min_size: int
    desired_size: int
    """Nodes at first; afterwards the autoscaler decides."""
    max_size: int
    suspended: bool = False
    """Stopped: no nodes whatever the sizes say, but for the largest, and none decided elsewhere."""
    disk_gb: int
    release_version: str | None = None
    """Release of the image, as `1.36.0-20261112`; None: the newest when the group is made."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Taint] = ()


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """A node group and the cluster it joins."""

    cluster_name: Input[str]
    kubernetes_version: str
    spec: NodeGroupSpec
    node_role_arn: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_id: Input[str]
    """The cluster's own group: through it nodes and control plane reach each other."""
    after: Sequence[Resource]
    """What a node needs from its first minute, and until its last."""
    tags: Mapping[str, str]


class NodeGroup(ComponentResource):
    """Nodes that are replaced one at a time and repaired when they fail."""

    autoscaling_group_name: Output[str]
    """The Auto Scaling group behind it, which EKS names."""
    resource: EksNodeGroup
    """The node group itself, for whatever needs nodes."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:NodeGroup", name, {}, opts)
        spec = args.spec
        template = self._template(name, args)
        self.resource = EksNodeGroup(
            name,
            cluster_name=args.cluster_name,
            version=args.kubernetes_version,
            release_version=spec.release_version,
            node_role_arn=args.node_role_arn,
            subnet_ids=args.subnet_ids,
            ami_type=spec.ami_type,
            capacity_type=spec.capacity_type,
            instance_types=spec.instance_types,
            launch_template={
                "id": template.id,
                "version": template.latest_version.apply(str),
            },
            scaling_config={
                "min_size": 0 if spec.suspended else spec.min_size,
                "desired_size": 0 if spec.suspended else spec.desired_size,
                "max_size": spec.max_size,
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={"mono-repo/node-group": spec.name, **spec.labels},
            taints=[
                {"key": taint.key, "value": taint.value, "effect": taint.effect}
                for taint in spec.taints
            ],
            tags={**args.tags, "Name": f"{name}-node-group"},
            opts=ResourceOptions(
                parent=self,
                depends_on=args.after,
                # The autoscaler's business. In camel case: Python does not translate a nested
                # path, and one that fits nothing is silently ignored. But for a suspension: an
                # update that does not know yet of the stop would give the nodes back.
                ignore_changes=[] if spec.suspended else ["scalingConfig.desiredSize"],
            ),
        )
        # EKS makes exactly one Auto Scaling group for a managed node group.
        self.autoscaling_group_name = self.resource.resources[0].autoscaling_groups[0].name
        self.register_outputs({"autoscaling_group_name": self.autoscaling_group_name})

    def _template(self, name: str, args: NodeGroupArgs) -> LaunchTemplate:
        node_tags = {**args.tags, "Name": f"{name}-node"}
        return LaunchTemplate(
            name,
            description=f"Nodes of group {args.spec.name}",
            update_default_version=True,
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # Pods are one hop further away: the node's credentials stay the node's.
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "disabled",
            },
            block_device_mappings=[
                {
                    "device_name": ROOT_DEVICE,
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": args.spec.disk_gb,
                        # By the account's EBS key. A key of our own would have to name the
                        # linked role of Auto Scaling, which KMS refuses while it is not there,
                        # and a node's disk keeps nothing that outlives the node.
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            network_interfaces=[
                {
                    "device_index": 0,
                    "associate_public_ip_address": "false",
                    "delete_on_termination": "true",
                    "security_groups": [args.security_group_id],
                }
            ],
            tag_specifications=[
                {"resource_type": resource, "tags": node_tags} for resource in TAGGED_RESOURCES
            ],
            tags={**args.tags, "Name": f"{name}-node"},
            opts=ResourceOptions(parent=self),
        )

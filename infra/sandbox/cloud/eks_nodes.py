"""What stands behind a managed node group: a launch template, an Auto Scaling group, instances.

moto names an Auto Scaling group and makes none. Here, as at AWS, EKS merges the program's launch
template with its own image, makes a group tagged for the Cluster Autoscaler, sizes it with the
node group and deletes both with it. A new version replaces the instances at once: nothing drains.

An update lasts for a number of describes, of the node group or of the update: one, unless moto's
state manager is told otherwise for the model ``eks::nodegroup``. Until then no other is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

IMAGE: Final = "ami-ekslinux"
"""moto's image of an EKS node."""
RELEASE_DATE: Final = "20261112"

MODEL: Final = "eks::nodegroup"


def install(responses: Any, models: Any) -> None:
    """Put instances behind node groups, and keep what moto forgets of them."""
    _make_nodes_with_the_group(responses)
    _size_nodes_with_the_group(models)
    _delete_nodes_with_the_group(models)
    _show_what_the_autoscaler_decided(models)
    _show_updates(responses)


def begin_update(group: Any, update: dict[str, Any]) -> dict[str, Any]:
    """Let an update of a node group take its time, and give it as it is now."""
    from moto.moto_api._internal.managed_state_model import ManagedState

    group.status = "UPDATING"
    group.sandbox_state = ManagedState(MODEL, [("UPDATING", "ACTIVE")])
    group.sandbox_update = update
    update["status"] = "InProgress"
    return dict(update)


def look(group: Any, *, describe: bool) -> None:
    """Bring a node group and its last update up to date; `describe` counts as one describe."""
    state = getattr(group, "sandbox_state", None)
    if state is None:
        return
    group.status = state.status
    if group.status == "ACTIVE":
        group.sandbox_state = None
        group.sandbox_update["status"] = "Successful"
    elif describe:
        state.advance()


def refuse_while_updating(group: Any) -> None:
    """Take one update at a time, as EKS does."""
    from moto.eks.exceptions import ResourceInUseException

    look(group, describe=False)
    if group.status != "ACTIVE":
        raise ResourceInUseException(
            clusterName=group.cluster_name,
            nodegroupName=group.nodegroup_name,
            message="Nodegroup cannot be updated as it is currently not in Active State",
        )


def _show_updates(responses: Any) -> None:
    from moto.moto_api import state_manager

    state_manager.register_default_transition(MODEL, {"progression": "manual", "times": 1})
    original = responses.EKSResponse.describe_nodegroup

    def describe_nodegroup(self: Any) -> Any:
        name, cluster = self._get_param("nodegroupName"), self._get_param("name")
        group = self.eks_backend.describe_nodegroup(cluster_name=cluster, nodegroup_name=name)
        look(group, describe=True)
        return original(self)

    responses.EKSResponse.describe_nodegroup = describe_nodegroup


def update_version(response: Any, request: Mapping[str, Any]) -> None:
    """Change what nodes of a group run: Kubernetes version, image release, launch template."""
    group = response.eks_backend.describe_nodegroup(
        cluster_name=request["name"], nodegroup_name=request["nodegroupName"]
    )
    refuse_while_updating(group)
    group.version = request.get("version") or group.version
    group.release_version = request.get("releaseVersion") or release(group.version)
    if request.get("launchTemplate"):
        group.launch_template = {**(group.launch_template or {}), **request["launchTemplate"]}
    ec2, autoscaling = _backends(response.current_account, response.region)
    nodes = autoscaling.autoscaling_groups[_name(group)]
    cluster = response.eks_backend.describe_cluster(name=request["name"])
    made = nodes.ec2_launch_template.create_version(_launch_data(ec2, cluster, group), "")
    nodes.ec2_launch_template.default_version_number = made.number
    size = nodes.desired_capacity
    for wanted in (0, size):
        autoscaling.set_desired_capacity(nodes.name, wanted)


def release(version: str) -> str:
    """Give the newest image release of a Kubernetes version."""
    return f"{version}.0-{RELEASE_DATE}"


def _backends(account: str, region: str) -> tuple[Any, Any]:
    from moto.autoscaling.models import autoscaling_backends
    from moto.ec2.models import ec2_backends

    return ec2_backends[account][region], autoscaling_backends[account][region]


def _name(group: Any) -> str:
    return str(group.resources["autoScalingGroups"][0]["name"])


def _make_nodes_with_the_group(responses: Any) -> None:
    original = responses.EKSResponse.create_nodegroup

    def create_nodegroup(self: Any) -> Any:
        request = {name: self._get_param(name) for name in _NEEDED}
        _refuse_sizes(request.get("scalingConfig") or {})
        answer = original(self)
        cluster = self.eks_backend.describe_cluster(name=request["name"])
        group = cluster.nodegroups[request["nodegroupName"]]
        group.version = request.get("version") or cluster.version
        group.release_version = request.get("releaseVersion") or release(group.version)
        group.update_config = request.get("updateConfig") or {"maxUnavailable": 1}
        group.node_repair_config = request.get("nodeRepairConfig")
        group.resources = {
            "autoScalingGroups": [{"name": f"eks-{group.nodegroup_name}-{group.uuid}"}]
        }
        _make_nodes(*_backends(self.current_account, self.region), cluster, group)
        return answer

    responses.EKSResponse.create_nodegroup = create_nodegroup


_NEEDED: Final = (
    "name",
    "nodeRepairConfig",
    "nodegroupName",
    "releaseVersion",
    "scalingConfig",
    "updateConfig",
    "version",
)


def _refuse_sizes(sizes: Mapping[str, int]) -> None:
    from moto.eks.exceptions import InvalidParameterException

    least, wanted, most = (sizes.get(f"{name}Size") for name in ("min", "desired", "max"))
    if least is not None and wanted is not None and least > wanted:
        raise InvalidParameterException(
            message=f"Minimum capacity {least} can't be greater than desired size {wanted}"
        )
    if most is not None and wanted is not None and wanted > most:
        raise InvalidParameterException(
            message=f"Desired capacity {wanted} can't be greater than max size {most}"
        )


def _make_nodes(ec2: Any, autoscaling: Any, cluster: Any, group: Any) -> None:
    owned = {
        "eks:cluster-name": cluster.name,
        "eks:nodegroup-name": group.nodegroup_name,
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{cluster.name}": "owned",
        f"kubernetes.io/cluster/{cluster.name}": "owned",
    }
    template = ec2.create_launch_template(
        name=f"eks-{group.uuid}",
        description="",
        template_data=_launch_data(ec2, cluster, group),
        tag_spec={"launch-template": owned},
    )
    sizes = group.scaling_config
    autoscaling.create_auto_scaling_group(
        name=_name(group),
        availability_zones=[],
        desired_capacity=sizes["desiredSize"],
        max_size=sizes["maxSize"],
        min_size=sizes["minSize"],
        launch_config_name="",
        launch_template={"LaunchTemplateId": template.id, "Version": "$Default"},
        vpc_zone_identifier=",".join(group.subnets),
        default_cooldown=None,
        health_check_period=None,
        health_check_type=None,
        load_balancers=[],
        target_group_arns=[],
        placement_group=None,
        termination_policies=["AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"],
        tags=[
            {"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in owned.items()
        ],
        capacity_rebalance=True,
    )


def _launch_data(ec2: Any, cluster: Any, group: Any) -> dict[str, Any]:
    """Merge the program's launch template with the image, and the cluster's security group."""
    given: dict[str, Any] = {}
    if group.launch_template:
        wanted = group.launch_template
        template = ec2.get_launch_template(wanted["id"])
        given = dict(template.get_version(wanted.get("version") or "$Default").data)
    interfaces = given.pop("NetworkInterfaces", None) or [{}]
    own = cluster.resources_vpc_config.get("clusterSecurityGroupId")
    groups = interfaces[0].get("Groups") or given.get("SecurityGroupIds") or [own]
    return {
        **given,
        "ImageId": IMAGE,
        "InstanceType": group.instance_types[0],
        "SecurityGroupIds": groups,
    }


def _size_nodes_with_the_group(models: Any) -> None:
    original = models.EKSBackend.update_nodegroup_config

    def update_nodegroup_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        group = self.describe_nodegroup(kwargs["cluster_name"], kwargs["nodegroup_name"])
        sizes = {**group.scaling_config, **(kwargs.get("scaling_config") or {})}
        refuse_while_updating(group)
        _refuse_sizes(sizes)
        answer = original(self, *args, **kwargs)
        _, autoscaling = _backends(self.account_id, self.region_name)
        nodes = autoscaling.autoscaling_groups[_name(group)]
        nodes.min_size, nodes.max_size = sizes["minSize"], sizes["maxSize"]
        if nodes.desired_capacity != sizes["desiredSize"]:
            autoscaling.set_desired_capacity(nodes.name, sizes["desiredSize"])
        return answer

    models.EKSBackend.update_nodegroup_config = update_nodegroup_config


def _delete_nodes_with_the_group(models: Any) -> None:
    original = models.EKSBackend.delete_nodegroup

    def delete_nodegroup(self: Any, cluster_name: str, nodegroup_name: str) -> Any:
        group = original(self, cluster_name, nodegroup_name)
        ec2, autoscaling = _backends(self.account_id, self.region_name)
        if _name(group) in autoscaling.autoscaling_groups:
            autoscaling.delete_auto_scaling_group(_name(group))
        ec2.delete_launch_template(f"eks-{group.uuid}", None)
        return group

    models.EKSBackend.delete_nodegroup = delete_nodegroup


def _show_what_the_autoscaler_decided(models: Any) -> None:
    # The size of the Auto Scaling group is the node group's, whoever changed it.
    original = models.EKSBackend.describe_nodegroup

    def describe_nodegroup(self: Any, cluster_name: str, nodegroup_name: str) -> Any:
        group = original(self, cluster_name, nodegroup_name)
        _, autoscaling = _backends(self.account_id, self.region_name)
        nodes = autoscaling.autoscaling_groups.get(_name(group))
        if nodes is not None:
            group.scaling_config["desiredSize"] = nodes.desired_capacity
        return group

    models.EKSBackend.describe_nodegroup = describe_nodegroup

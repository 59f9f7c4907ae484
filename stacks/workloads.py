"""The nodes and what is reached through the load balancer: read from the settings. Pure."""

from __future__ import annotations

from components.load_balancer import BalancedWorkload
from components.node_group import NodeGroupSpec, Taint
from infra.settings import Settings


def node_groups(settings: Settings, *, suspended: bool) -> list[NodeGroupSpec]:
    """Return the node groups; of a suspended environment they are empty."""
    return [
        NodeGroupSpec(
            name=group.name,
            instance_types=group.instance_types,
            ami_type=group.ami_type,
            capacity_type=group.capacity,
            min_size=group.min_size,
            desired_size=group.desired_size,
            max_size=group.max_size,
            suspended=suspended,
            disk_gb=group.disk_gb,
            release_version=group.release,
            labels=group.labels,
            taints=[
                Taint(key=taint.key, value=taint.value, effect=taint.effect)
                for taint in group.taints
            ],
        )
        for group in settings.eks.node_groups
    ]


def balanced(settings: Settings) -> dict[str, BalancedWorkload]:
    """Return the workloads that have a port on the nodes: name -> where it listens."""
    return {
        workload.name: BalancedWorkload(
            node_port=workload.node_port, health_path=workload.health_path
        )
        for workload in settings.workloads
        if workload.node_port is not None
    }

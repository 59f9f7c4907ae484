"""What EKS installs into a cluster: each managed add-on's phase, configuration and identity.

Versions are pinned by settings. The network, the service proxy and the agent that hands out Pod
Identities are configured before any node joins: a node that comes up without prefix delegation
keeps its small number of addresses until it is replaced.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi import Input, ResourceOptions
from pulumi_aws.eks.addon import Addon

from components.cluster_identity import ServiceAccount

NETWORK = "vpc-cni"
VOLUMES = "aws-ebs-csi-driver"
OBSERVABILITY = "amazon-cloudwatch-observability"
BEFORE_NODES = (NETWORK, "kube-proxy", "eks-pod-identity-agent")
"""Daemon sets that a node needs from its first minute; they are active without one."""

SERVICE_ACCOUNTS: Mapping[str, ServiceAccount] = {
    NETWORK: ServiceAccount(namespace="kube-system", name="aws-node"),
    VOLUMES: ServiceAccount(namespace="kube-system", name="ebs-csi-controller-sa"),
    OBSERVABILITY: ServiceAccount(namespace="amazon-cloudwatch", name="cloudwatch-agent"),
}
"""Add-ons that call AWS, and the service account that does."""
CONTAINER_LOG_KINDS = ("application", "dataplane", "host", "performance")
"""Kinds of log that the observability add-on writes, a group each."""


def container_log_group(cluster_name: str, kind: str) -> str:
    """Return the log group that the observability add-on writes one of its kinds to."""
    return f"/aws/containerinsights/{cluster_name}/{kind}"


def configuration(addon: str, tags: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what an add-on is told beyond its defaults; None: nothing."""
    configurations: dict[str, dict[str, Any]] = {
        NETWORK: {
            "enableNetworkPolicy": "true",
            # /28 prefixes: as many pods as a node can run, with one prefix ahead of demand.
            "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
        },
        "coredns": {"autoScaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}},
        # Volumes are found, and paid for, by the environment's tags.
        VOLUMES: {"controller": {"extraVolumeTags": dict(tags)}},
        OBSERVABILITY: {
            "containerLogs": {"enabled": True},
            # Naming what is collected leaves out Application Signals, which injects itself
            # into workloads.
            "agent": {
                "config": {
                    "logs": {
                        "metrics_collected": {"kubernetes": {"enhanced_container_insights": True}}
                    }
                }
            },
        },
    }
    return configurations.get(addon)


@dataclass(frozen=True, kw_only=True)
class AddonArgs:
    """One managed add-on."""

    cluster_name: Input[str]
    addon: str
    version: str
    role_arn: Input[str] | None
    """Role of the add-on's service account, by Pod Identity; None: it does not call AWS."""
    tags: Mapping[str, str]


def install_addon(name: str, args: AddonArgs, opts: ResourceOptions) -> Addon:
    """Install a managed add-on at its pinned version.

    Conflicts are overwritten, at creation and later: the stack file is what counts, and a cluster
    that brought its own copy of the add-on hands it over.
    """
    told = configuration(args.addon, args.tags)
    identities = None
    if args.role_arn is not None:
        account = SERVICE_ACCOUNTS[args.addon]
        identities = [{"role_arn": args.role_arn, "service_account": account.name}]
    return Addon(
        name,
        cluster_name=args.cluster_name,
        addon_name=args.addon,
        addon_version=args.version,
        configuration_values=json.dumps(told, sort_keys=True) if told else None,
        pod_identity_associations=identities,
        resolve_conflicts_on_create="OVERWRITE",
        resolve_conflicts_on_update="OVERWRITE",
        tags=args.tags,
        opts=opts,
    )

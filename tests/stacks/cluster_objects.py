"""The objects in an environment's cluster, as the program makes them from the settings."""

from __future__ import annotations

from functools import cache

from pulumi import ResourceOptions
from pulumi_aws.eks.cluster import Cluster
from pulumi_kubernetes.provider import Provider

from components.rbac_bindings import RbacBindings, RbacBindingsArgs
from infra import naming
from infra.settings import Settings
from stacks import cluster_access, names
from tests.graph import Graph, provided, record
from tests.stacks.programs import settings

PARAMETER_ROLE = "arn:aws:iam::111122223333:role/mono-repo-parameter-store-access"


@cache
def cluster_graph(env: str) -> Graph:
    """Return the graph of the committed settings' cluster objects."""
    return graph_of(settings(env))


def graph_of(settings: Settings) -> Graph:
    """Return the graph of a cluster's objects under these settings."""
    return record(lambda: build(settings))


def build(settings: Settings) -> RbacBindings:
    """Make a control plane and what RbacBindings puts into it."""
    env, account = settings.environment, settings.account_id
    aws = provided()
    control_plane = Cluster(
        "cluster",
        name=naming.cluster(env),
        role_arn=f"arn:aws:iam::{account}:role/{naming.prefix(env)}-cluster",
        vpc_config={"subnet_ids": ["subnet-1", "subnet-2"]},
        opts=ResourceOptions(provider=aws),
    )
    return RbacBindings(
        "access",
        RbacBindingsArgs(
            account_id=account,
            region=settings.region,
            cluster_name=naming.cluster(env),
            kubernetes_version=settings.eks.version,
            control_plane=control_plane,
            audit_log_group_name=naming.cluster_log_group(env),
            role_prefix=naming.PROJECT,
            groups=cluster_access.people_groups(settings),
            break_glass=cluster_access.break_glass(settings),
            people_arns=[f"arn:aws:iam::{account}:user/{naming.prefix(env)}-*"],
            namespaces=cluster_access.inhabitants(settings, PARAMETER_ROLE),
            permissions_boundary_arn=names.boundary_arn(account, env),
            alarm_actions=["arn:aws:sns:us-east-1:111122223333:alarms"],
            labels=naming.CLUSTER_LABELS,
            tags=naming.tags(settings),
        ),
        ResourceOptions(providers=[aws, Provider("cluster", kubeconfig="{}")]),
    )

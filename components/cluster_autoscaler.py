"""ClusterAutoscaler: adds nodes when pods wait for room, and takes away those that stand idle.

Kubernetes' own Cluster Autoscaler (SIG Autoscaling), because it sizes the Auto Scaling groups
that are there. Those are attached to the load balancer's target groups, and are what a stop sets
to zero; Karpenter's nodes belong to no group, and outlive a teardown that does not know them.

Plain objects in `kube-system`: no chart, no controller beyond this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi import ComponentResource, Input, Output, ProviderResource, Resource, ResourceOptions
from pulumi_aws.eks.pod_identity_association import PodIdentityAssociation
from pulumi_kubernetes.apps.v1.Deployment import Deployment
from pulumi_kubernetes.core.v1.ServiceAccount import ServiceAccount as KubernetesServiceAccount
from pulumi_kubernetes.policy.v1.PodDisruptionBudget import PodDisruptionBudget
from pulumi_kubernetes.rbac.v1.ClusterRole import ClusterRole
from pulumi_kubernetes.rbac.v1.ClusterRoleBinding import ClusterRoleBinding
from pulumi_kubernetes.rbac.v1.Role import Role
from pulumi_kubernetes.rbac.v1.RoleBinding import RoleBinding

from components.cluster_identity import (
    RoleScope,
    ServiceAccount,
    autoscaler_policy,
    granted_role,
    pod_identity_trust,
)

ACCOUNT = ServiceAccount(namespace="kube-system", name="cluster-autoscaler")
IMAGE = "registry.k8s.io/autoscaling/cluster-autoscaler"
LABELS = {"app.kubernetes.io/name": "cluster-autoscaler"}
METRICS_PORT = 8085
NOBODY = 65534
REPLICAS = 2
"""One works, the other waits for its lease."""

_SEE = ["get", "list", "watch"]
CLUSTER_RULES: list[dict[str, list[str]]] = [
    {
        "api_groups": [""],
        "resources": [
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "replicationcontrollers",
            "services",
        ],
        "verbs": _SEE,
    },
    # It taints a node before it drains it.
    {"api_groups": [""], "resources": ["nodes"], "verbs": [*_SEE, "update"]},
    {"api_groups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    {"api_groups": [""], "resources": ["pods/status"], "verbs": ["update"]},
    {"api_groups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "api_groups": ["apps"],
        "resources": ["daemonsets", "replicasets", "statefulsets"],
        "verbs": _SEE,
    },
    {"api_groups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": _SEE},
    {"api_groups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _SEE},
    {
        "api_groups": ["storage.k8s.io"],
        "resources": [
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "storageclasses",
            "volumeattachments",
        ],
        "verbs": _SEE,
    },
    {
        "api_groups": ["resource.k8s.io"],
        "resources": ["deviceclasses", "resourceclaims", "resourceslices"],
        "verbs": _SEE,
    },
]
"""What it sees and does in the whole cluster."""
NAMESPACE_RULES: list[dict[str, list[str]]] = [
    {"api_groups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "api_groups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resource_names": [ACCOUNT.name],
        "verbs": ["get", "update"],
    },
    {"api_groups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
    {
        "api_groups": [""],
        "resources": ["configmaps"],
        "resource_names": ["cluster-autoscaler-status"],
        "verbs": ["delete", "get", "update"],
    },
]
"""What it keeps in its own namespace: its lease, and what it says of its state."""


@dataclass(frozen=True, kw_only=True)
class ClusterAutoscalerArgs:
    """An autoscaler for the managed node groups of one cluster."""

    scope: RoleScope
    cluster_name: Input[str]
    """The cluster's name, known when the cluster is there."""
    version: str
    """Its release, as in `v1.36.0`: the minor is the cluster's."""
    kubernetes: ProviderResource
    control_plane: Resource
    """Its objects go with the control plane: no need to delete them one by one."""
    labels: Mapping[str, str]
    """Of its objects, beside their own."""
    tags: Mapping[str, str]


class ClusterAutoscaler(ComponentResource):
    """The Cluster Autoscaler and the least it can work with, in AWS and in the cluster."""

    role_arn: Output[str]
    """Role that sizes the groups of this cluster, and of no other."""

    def __init__(
        self, name: str, args: ClusterAutoscalerArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:ClusterAutoscaler", name, {}, opts)
        self._name = name
        self._args = args
        self._in_cluster = ResourceOptions(
            parent=self, provider=args.kubernetes, deleted_with=args.control_plane
        )
        identity = self._identity()
        account = KubernetesServiceAccount(name, metadata=self._metadata(), opts=self._in_cluster)
        permissions = self._permissions()
        # A pod is given its identity when it is made, and never afterwards.
        self._deployment([identity, account, *permissions])
        PodDisruptionBudget(
            name,
            metadata=self._metadata(),
            spec={"max_unavailable": 1, "selector": {"match_labels": LABELS}},
            opts=self._in_cluster,
        )
        self.register_outputs({"role_arn": self.role_arn})

    def _metadata(self) -> dict[str, Any]:
        labels = {**self._args.labels, **LABELS}
        return {"name": ACCOUNT.name, "namespace": ACCOUNT.namespace, "labels": labels}

    def _identity(self) -> PodIdentityAssociation:
        args = self._args
        role = granted_role(
            self._name,
            args.scope,
            suffix="autoscaler",
            description=f"Cluster Autoscaler: sizes the node groups of {args.scope.cluster_name}",
            trust=pod_identity_trust(args.scope, ACCOUNT),
            policy=autoscaler_policy(args.scope),
            opts=ResourceOptions(parent=self),
        )
        self.role_arn = role.arn
        return PodIdentityAssociation(
            self._name,
            cluster_name=args.cluster_name,
            namespace=ACCOUNT.namespace,
            service_account=ACCOUNT.name,
            role_arn=role.arn,
            tags=args.tags,
            opts=ResourceOptions(parent=self),
        )

    def _permissions(self) -> list[Resource]:
        subject = {"kind": "ServiceAccount", "name": ACCOUNT.name, "namespace": ACCOUNT.namespace}
        group = "rbac.authorization.k8s.io"
        # The namespace of an object without one is the provider's business: leave it out.
        everywhere = {"name": ACCOUNT.name, "labels": {**self._args.labels, **LABELS}}
        return [
            ClusterRole(
                self._name, metadata=everywhere, rules=CLUSTER_RULES, opts=self._in_cluster
            ),
            ClusterRoleBinding(
                self._name,
                metadata=everywhere,
                role_ref={"api_group": group, "kind": "ClusterRole", "name": ACCOUNT.name},
                subjects=[subject],
                opts=self._in_cluster,
            ),
            Role(
                self._name,
                metadata=self._metadata(),
                rules=NAMESPACE_RULES,
                opts=self._in_cluster,
            ),
            RoleBinding(
                self._name,
                metadata=self._metadata(),
                role_ref={"api_group": group, "kind": "Role", "name": ACCOUNT.name},
                subjects=[subject],
                opts=self._in_cluster,
            ),
        ]

    def _deployment(self, after: list[Resource]) -> None:
        Deployment(
            self._name,
            metadata=self._metadata(),
            spec={
                "replicas": REPLICAS,
                "selector": {"match_labels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": self._pod()},
            },
            opts=ResourceOptions.merge(self._in_cluster, ResourceOptions(depends_on=after)),
        )

    def _pod(self) -> dict[str, Any]:
        return {
            "service_account_name": ACCOUNT.name,
            "priority_class_name": "system-cluster-critical",
            "node_selector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
            "topology_spread_constraints": [
                {
                    "max_skew": 1,
                    "topology_key": "kubernetes.io/hostname",
                    "when_unsatisfiable": "ScheduleAnyway",
                    "label_selector": {"match_labels": LABELS},
                }
            ],
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": NOBODY,
                "run_as_group": NOBODY,
                "fs_group": NOBODY,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
        }

    def _container(self) -> dict[str, Any]:
        scope = self._args.scope
        tags = f"k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/{scope.cluster_name}"
        return {
            "name": "cluster-autoscaler",
            "image": f"{IMAGE}:{self._args.version}",
            "command": ["./cluster-autoscaler"],
            "args": [
                "--cloud-provider=aws",
                f"--node-group-auto-discovery=asg:tag={tags}",
                "--balance-similar-node-groups",
                "--expander=least-waste",
                f"--namespace={ACCOUNT.namespace}",
                "--skip-nodes-with-system-pods=false",
                "--stderrthreshold=info",
                "--v=2",
            ],
            # Not from the instance metadata, which is out of a pod's reach.
            "env": [{"name": "AWS_REGION", "value": scope.region}],
            "ports": [{"name": "metrics", "container_port": METRICS_PORT}],
            "liveness_probe": {
                "http_get": {"path": "/health-check", "port": METRICS_PORT},
                "initial_delay_seconds": 60,
                "period_seconds": 30,
            },
            "resources": {
                "requests": {"cpu": "100m", "memory": "300Mi"},
                "limits": {"memory": "600Mi"},
            },
            "security_context": {
                "allow_privilege_escalation": False,
                "read_only_root_filesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }

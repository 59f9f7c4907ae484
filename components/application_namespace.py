"""ApplicationNamespace: a namespace and the fences around what runs in it.

Pods have to meet the Pod Security Standard, stay inside a quota, and talk to nobody but whom a
policy names. A workload's pods run under a service account of their own, which no token is
mounted for; the namespace's default one gets none either.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pulumi import ComponentResource, Input, Output, Resource, ResourceOptions
from pulumi_kubernetes.core.v1.LimitRange import LimitRange
from pulumi_kubernetes.core.v1.Namespace import Namespace
from pulumi_kubernetes.core.v1.ResourceQuota import ResourceQuota
from pulumi_kubernetes.core.v1.ServiceAccount import ServiceAccount
from pulumi_kubernetes.networking.v1.NetworkPolicy import NetworkPolicy
from pulumi_kubernetes.rbac.v1.Role import Role
from pulumi_kubernetes.rbac.v1.RoleBinding import RoleBinding

from components.kubernetes_roles import (
    API_GROUP,
    MACHINES,
    KubernetesRole,
    Rule,
    manifests,
    workload_rules,
)
from components.network_policies import Traffic, allow, allow_dns, default_deny

PodSecurity = Literal["baseline", "restricted"]
POD_SECURITY = "pod-security.kubernetes.io"
BASELINE_REASON = "mono-repo.internal/baseline-reason"
IDENTITY = "eks.amazonaws.com"
ROLLING_UPDATE_SURGE = 0.25
"""Part of a Deployment's pods that is there twice while it is rolled out: Kubernetes's default."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """An application in the namespace."""

    name: str
    deployments: Sequence[str]
    replicas: int
    """Pods of each Deployment."""
    behind_load_balancer: bool
    service_account: str
    """Workloads may share one."""
    role_arn: Input[str] | None
    """IAM role that its pods act as; None: no access to AWS."""
    traffic: Traffic


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A service account beside the workloads' own, with rights in the namespace."""

    name: str
    role: KubernetesRole
    role_arn: Input[str] | None
    """IAM role that its pods act as; None: no access to AWS."""


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """How big pods are and how many may come; CPU is in thousandths, memory and disks in binary.

    Memory is limited and CPU is not: a pod that waits for a CPU is slow, one that takes the
    memory of others kills them.
    """

    cpu_request_milli: int = 250
    memory_request_mib: int = 512
    memory_limit_mib: int = 1024
    """What a container that says nothing itself gets."""
    memory_limit_max_mib: int = 4096
    """The most that a container may ask for."""
    scale_out: int = 5
    """How many times its replicas a Deployment may be scaled to in an emergency."""
    task_pods: int = 32
    """Pods that a machine which may start any can have at once: Airflow's own default."""
    volume_gib: int = 20
    """Disk for each Deployment."""


@dataclass(frozen=True, kw_only=True)
class ApplicationNamespaceArgs:
    """A namespace, what runs in it, and who may do what there."""

    namespace: str
    kubernetes_version: str
    """Minor version that the Pod Security Standard is pinned to, as in `1.36`."""
    baseline_reason: str | None
    """Why pods need no more than the baseline standard; None: they meet the restricted one."""
    workloads: Sequence[Workload]
    machines: Sequence[Machine]
    services: Sequence[Traffic]
    """What else runs here and is talked to, such as a cache."""
    groups: Mapping[str, Input[str]]
    """Kubernetes group of people -> ClusterRole that it has in this namespace."""
    sizing: Sizing
    labels: Mapping[str, str]
    control_plane: Resource
    """The cluster: its objects go with it, and cannot be deleted when it is gone."""


class ApplicationNamespace(ComponentResource):
    """A fenced namespace with service accounts, roles and bindings."""

    namespace: Output[str]
    """Its name, known when it is there."""

    def __init__(
        self, name: str, args: ApplicationNamespaceArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:ApplicationNamespace", name, {}, opts)
        self._name = name
        self._args = args

        namespace = Namespace(
            name,
            metadata={
                "name": args.namespace,
                "labels": {**args.labels, **pod_security_labels(args)},
                **pod_security_reason(args),
            },
            opts=ResourceOptions(parent=self, deleted_with=args.control_plane),
        )
        self._inside = ResourceOptions(
            parent=self, deleted_with=args.control_plane, depends_on=[namespace]
        )
        self._fences()
        self._service_accounts()
        for workload in args.workloads:
            self._grant(workload.name, workload.service_account, workload_rules(workload.name))
        for machine in args.machines:
            self._grant(machine.name, machine.name, MACHINES[machine.role])
        for group, role in args.groups.items():
            self._bind_people(group, role)

        self.namespace = namespace.metadata["name"]
        self.register_outputs({"namespace": self.namespace})

    def _metadata(self, name: str, annotations: Mapping[str, Input[str]] | None = None) -> Any:
        return {
            "name": name,
            "namespace": self._args.namespace,
            "labels": dict(self._args.labels),
            **({"annotations": annotations} if annotations else {}),
        }

    def _fences(self) -> None:
        policies = {
            "default-deny": default_deny(),
            "allow-dns": allow_dns(),
            **{
                traffic.name: allow(traffic, self._args.namespace)
                for traffic in (
                    *(workload.traffic for workload in self._args.workloads),
                    *self._args.services,
                )
            },
        }
        for policy, spec in policies.items():
            NetworkPolicy(
                f"{self._name}-{policy}",
                metadata=self._metadata(policy),
                spec=spec,
                opts=self._inside,
            )
        ResourceQuota(
            self._name,
            metadata=self._metadata("quota"),
            spec={"hard": quota(self._args)},
            opts=self._inside,
        )
        LimitRange(
            self._name,
            metadata=self._metadata("limits"),
            spec={"limits": limits(self._args.sizing)},
            opts=self._inside,
        )

    def _service_accounts(self) -> None:
        """Make the accounts; Kubernetes makes `default` too, which this takes over."""
        identities: dict[str, Input[str] | None] = {"default": None}
        for workload in self._args.workloads:
            identities[workload.service_account] = workload.role_arn
        for account, role_arn in identities.items():
            self._service_account(account, role_arn, mount_token=False)
        for machine in self._args.machines:
            self._service_account(machine.name, machine.role_arn, mount_token=True)

    def _service_account(
        self, account: str, role_arn: Input[str] | None, *, mount_token: bool
    ) -> None:
        annotations: dict[str, Input[str]] = {}
        if role_arn is not None:
            annotations[f"{IDENTITY}/role-arn"] = role_arn
            annotations[f"{IDENTITY}/sts-regional-endpoints"] = "true"
        ServiceAccount(
            f"{self._name}-{account}",
            metadata=self._metadata(account, annotations),
            automount_service_account_token=mount_token,
            opts=self._inside,
        )

    def _grant(self, name: str, account: str, rules: Sequence[Rule]) -> None:
        """Give a service account a Role of its own."""
        Role(
            f"{self._name}-{name}",
            metadata=self._metadata(name),
            rules=manifests(rules),
            opts=self._inside,
        )
        RoleBinding(
            f"{self._name}-{name}",
            metadata=self._metadata(name),
            role_ref={"apiGroup": API_GROUP, "kind": "Role", "name": name},
            subjects=[
                {"kind": "ServiceAccount", "name": account, "namespace": self._args.namespace}
            ],
            opts=self._inside,
        )

    def _bind_people(self, group: str, cluster_role: Input[str]) -> None:
        RoleBinding(
            f"{self._name}-{group.replace(':', '-')}",
            metadata=self._metadata(group),
            role_ref={"apiGroup": API_GROUP, "kind": "ClusterRole", "name": cluster_role},
            subjects=[{"apiGroup": API_GROUP, "kind": "Group", "name": group}],
            opts=self._inside,
        )


def pod_security_labels(args: ApplicationNamespaceArgs) -> dict[str, str]:
    """Return the labels that admission reads; what is not enforced is at least warned of."""
    enforced: PodSecurity = "restricted" if args.baseline_reason is None else "baseline"
    levels = {"enforce": enforced, "audit": "restricted", "warn": "restricted"}
    version = f"v{args.kubernetes_version}"
    return {f"{POD_SECURITY}/{mode}": level for mode, level in levels.items()} | {
        f"{POD_SECURITY}/{mode}-version": version for mode in levels
    }


def pod_security_reason(args: ApplicationNamespaceArgs) -> dict[str, Any]:
    """Return the annotation that tells why less is enforced, where somebody would look for it."""
    if args.baseline_reason is None:
        return {}
    return {"annotations": {BASELINE_REASON: args.baseline_reason}}


def quota(args: ApplicationNamespaceArgs) -> dict[str, str]:
    """Return the most that the namespace may hold.

    Counted from the Deployments, each at its largest and being rolled out, and from the machines
    that start pods. No load balancer: those are resources of the program, not of a Service.
    """
    sizing = args.sizing
    largest = [
        workload.replicas * sizing.scale_out
        for workload in args.workloads
        for _ in workload.deployments
    ]
    starters = sum(1 for machine in args.machines if _starts_pods(machine))
    pods = sum(count + math.ceil(count * ROLLING_UPDATE_SURGE) for count in largest)
    pods += starters * sizing.task_pods + len(args.services)
    volumes = len(largest) + len(args.services)
    return {
        "persistentvolumeclaims": str(volumes),
        "pods": str(pods),
        "requests.cpu": cpu(pods * sizing.cpu_request_milli),
        "requests.memory": memory(pods * sizing.memory_request_mib),
        "limits.memory": memory(pods * sizing.memory_limit_mib),
        "requests.storage": f"{volumes * sizing.volume_gib}Gi",
        "services.loadbalancers": "0",
        "services.nodeports": str(sum(1 for w in args.workloads if w.behind_load_balancer)),
    }


def _starts_pods(machine: Machine) -> bool:
    return any(
        "pods" in rule.resources and "create" in rule.verbs for rule in MACHINES[machine.role]
    )


def limits(sizing: Sizing) -> list[dict[str, Any]]:
    """Return what a container gets that asks for nothing, and the most that one may ask for."""
    return [
        {
            "type": "Container",
            "defaultRequest": {
                "cpu": cpu(sizing.cpu_request_milli),
                "memory": memory(sizing.memory_request_mib),
            },
            "default": {"memory": memory(sizing.memory_limit_mib)},
            "max": {"memory": memory(sizing.memory_limit_max_mib)},
        },
        {"type": "PersistentVolumeClaim", "max": {"storage": f"{sizing.volume_gib}Gi"}},
    ]


def cpu(milli: int) -> str:
    """Return a CPU quantity as the API server writes it; any other form would show as a change."""
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def memory(mib: int) -> str:
    """Return a memory quantity as the API server writes it."""
    return f"{mib // 1024}Gi" if mib % 1024 == 0 else f"{mib}Mi"

"""What a role of the cluster may do: explicit resources and verbs, never a wildcard. Pure.

People get one of four roles in the application's namespaces, bound namespace by namespace: a right
to change things in `kube-system` would be a way to everything. Machines get less under the same
names, since nobody types into them. Nobody may escalate, bind or impersonate, ask for another
account's token, reach a node's proxy, or touch admission webhooks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

KubernetesRole = Literal["viewer", "editor", "operator", "administrator"]
"""Each may do what the one before may, and more."""

API_GROUP = "rbac.authorization.k8s.io"

READ = ("get", "list", "watch")
CHANGE = ("patch", "update")
WRITE = ("create", *CHANGE, "delete")
# A WebSocket is opened by GET, and the API server then asks for `create` as well.
CONNECT = ("create", "get")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Verbs on resources of one API group."""

    group: str = ""
    """API group; empty: the core group."""
    resources: Sequence[str]
    """Resources in the plural, subresources as `pods/log`."""
    verbs: Sequence[str]
    names: Sequence[str] = ()
    """Only the objects of these names; empty: all. Without effect on `create` and `list`."""

    def manifest(self) -> dict[str, Any]:
        """Return the rule as Kubernetes writes it, in a stable order."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": sorted(self.resources),
            "verbs": sorted(self.verbs),
        }
        return rule | ({"resourceNames": sorted(self.names)} if self.names else {})


def manifests(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Return the rules of a Role or ClusterRole."""
    return [rule.manifest() for rule in rules]


_VIEWER = (
    Rule(
        resources=[
            "configmaps", "endpoints", "events", "limitranges", "persistentvolumeclaims", "pods",
            "resourcequotas", "serviceaccounts", "services",
        ],
        verbs=READ,
    ),
    Rule(resources=["pods/log"], verbs=["get"]),
    Rule(
        group="apps",
        resources=["daemonsets", "deployments", "replicasets", "statefulsets"],
        verbs=READ,
    ),
    Rule(group="autoscaling", resources=["horizontalpodautoscalers"], verbs=READ),
    Rule(group="batch", resources=["cronjobs", "jobs"], verbs=READ),
    Rule(group="discovery.k8s.io", resources=["endpointslices"], verbs=READ),
    Rule(group="events.k8s.io", resources=["events"], verbs=READ),
    Rule(group="metrics.k8s.io", resources=["pods"], verbs=["get", "list"]),
    Rule(group="networking.k8s.io", resources=["ingresses", "networkpolicies"], verbs=READ),
    Rule(group="policy", resources=["poddisruptionbudgets"], verbs=READ),
    Rule(group=API_GROUP, resources=["rolebindings", "roles"], verbs=READ),
)  # fmt: skip
# New images, restarts and numbers of what is there; nothing that would be a new pod's template.
_EDITOR = (
    Rule(resources=["configmaps"], verbs=WRITE),
    Rule(resources=["pods"], verbs=["delete"]),
    Rule(group="apps", resources=["deployments", "statefulsets"], verbs=CHANGE),
    Rule(
        group="apps",
        resources=["deployments/scale", "statefulsets/scale"],
        verbs=["get", *CHANGE],
    ),
    Rule(group="autoscaling", resources=["horizontalpodautoscalers"], verbs=CHANGE),
)
_OPERATOR = (
    Rule(resources=["persistentvolumeclaims", "services"], verbs=WRITE),
    Rule(resources=["pods/exec", "pods/portforward"], verbs=CONNECT),
    Rule(resources=["pods/eviction"], verbs=["create"]),
    Rule(group="apps", resources=["deployments", "statefulsets"], verbs=["create", "delete"]),
    Rule(group="autoscaling", resources=["horizontalpodautoscalers"], verbs=["create", "delete"]),
    Rule(group="batch", resources=["cronjobs", "jobs"], verbs=WRITE),
    Rule(group="policy", resources=["poddisruptionbudgets"], verbs=WRITE),
)
# The only role that reads or writes secrets, starts bare pods and opens the network.
_ADMINISTRATOR = (
    Rule(resources=["limitranges", "resourcequotas", "serviceaccounts"], verbs=WRITE),
    Rule(resources=["pods"], verbs=["create", *CHANGE]),
    Rule(resources=["pods/ephemeralcontainers"], verbs=["get", *CHANGE]),
    Rule(resources=["secrets"], verbs=[*READ, *WRITE]),
    Rule(group="networking.k8s.io", resources=["networkpolicies"], verbs=WRITE),
)
PEOPLE: Mapping[KubernetesRole, Sequence[Rule]] = {
    "viewer": _VIEWER,
    "editor": (*_VIEWER, *_EDITOR),
    "operator": (*_VIEWER, *_EDITOR, *_OPERATOR),
    "administrator": (*_VIEWER, *_EDITOR, *_OPERATOR, *_ADMINISTRATOR),
}
"""What people may do in each namespace that they have the role in."""

_PODS = Rule(resources=["events", "pods"], verbs=READ)
_POD_LOGS = Rule(resources=["pods/log"], verbs=["get"])
_ROLLOUTS = Rule(group="apps", resources=["deployments"], verbs=[*READ, *CHANGE])
# Exactly what a scheduler needs that runs each task in a pod of its own.
_RUN_PODS = (
    Rule(resources=["pods"], verbs=["create", "delete", "patch"]),
    Rule(resources=["pods/exec"], verbs=CONNECT),
)
MACHINES: Mapping[KubernetesRole, Sequence[Rule]] = {
    "viewer": (_PODS, _POD_LOGS),
    "editor": (_PODS, _POD_LOGS, _ROLLOUTS),
    "operator": (_PODS, _POD_LOGS, *_RUN_PODS),
    "administrator": (_PODS, _POD_LOGS, _ROLLOUTS, *_RUN_PODS),
}
"""What a service account beside the workloads' own may do in its namespace."""

OBSERVE_CLUSTER: Sequence[Rule] = (
    Rule(resources=["namespaces", "nodes"], verbs=READ),
    Rule(group="metrics.k8s.io", resources=["nodes"], verbs=["get", "list"]),
)
"""What everybody may see of the cluster itself: whether its nodes are there and how busy."""
VIEW_CLUSTER: Sequence[Rule] = (
    *OBSERVE_CLUSTER,
    *_VIEWER,
    Rule(resources=["persistentvolumes"], verbs=READ),
    Rule(group="apiextensions.k8s.io", resources=["customresourcedefinitions"], verbs=READ),
    Rule(group="scheduling.k8s.io", resources=["priorityclasses"], verbs=READ),
    Rule(group="storage.k8s.io", resources=["storageclasses"], verbs=READ),
    Rule(group=API_GROUP, resources=["clusterrolebindings", "clusterroles"], verbs=READ),
)
"""What a role that names no namespace sees of all of them."""
MAINTAIN_CLUSTER: Sequence[Rule] = (
    *VIEW_CLUSTER,
    Rule(resources=["nodes"], verbs=["patch"]),
    Rule(resources=["pods/eviction"], verbs=["create"]),
)
"""What operators and administrators of the whole cluster may do besides: cordon and drain."""

ClusterWide = Literal["observer", "viewer", "maintainer"]
CLUSTER_WIDE: Mapping[ClusterWide, Sequence[Rule]] = {
    "observer": OBSERVE_CLUSTER,
    "viewer": VIEW_CLUSTER,
    "maintainer": MAINTAIN_CLUSTER,
}
"""What people may do outside any one namespace."""


def cluster_wide(role: KubernetesRole, namespaces: Sequence[str]) -> ClusterWide:
    """Return what a group with a role has outside namespaces; none named: the whole cluster."""
    if namespaces:
        return "observer"
    return "maintainer" if role in ("operator", "administrator") else "viewer"


def workload_rules(workload: str) -> Sequence[Rule]:
    """Return what a workload's own service account may do: read the ConfigMap of its name."""
    return (Rule(resources=["configmaps"], verbs=["get", "watch"], names=[workload]),)

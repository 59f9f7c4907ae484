"""Controls of what is inside the cluster: namespaces, roles and pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from infra.policies.checks import equals, negate
from infra.policies.model import Check, Control, Resource, Stack

_RBAC: Final = "kubernetes:rbac.authorization.k8s.io/v1"
ROLES: Final = (f"{_RBAC}:Role", f"{_RBAC}:ClusterRole")
BINDINGS: Final = (f"{_RBAC}:RoleBinding", f"{_RBAC}:ClusterRoleBinding")
NAMESPACE: Final = ("kubernetes:core/v1:Namespace",)
POLICY: Final = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ACCOUNT: Final = ("kubernetes:core/v1:ServiceAccount",)
WORKLOADS: Final = (
    "kubernetes:apps/v1:DaemonSet",
    "kubernetes:apps/v1:Deployment",
    "kubernetes:apps/v1:StatefulSet",
)
NAMESPACED: Final = (
    *ACCOUNT,
    *WORKLOADS,
    POLICY,
    f"{_RBAC}:Role",
    f"{_RBAC}:RoleBinding",
    "kubernetes:core/v1:LimitRange",
    "kubernetes:core/v1:ResourceQuota",
)
BREAK_GLASS: Final = "mono-repo:break-glass"
"""The only group that may be the cluster's administrator."""

Rule = Mapping[str, Any]


def _rules(resource: Resource) -> Iterator[Rule]:
    yield from resource.get("rules", ())


def _no_rule(wrong: Callable[[Rule], bool]) -> Check:
    return lambda resource, _: not any(wrong(rule) for rule in _rules(resource))


def _allows(resources: set[str], verbs: set[str]) -> Callable[[Rule], bool]:
    """Say whether a rule gives one of some verbs on one of some resources."""

    def wrong(rule: Rule) -> bool:
        return bool(
            set(rule.get("resources", ())) & {*resources, "*"}
            and set(rule.get("verbs", ())) & {*verbs, "*"}
        )

    return wrong


def _wildcard(rule: Rule) -> bool:
    return any("*" in rule.get(part, ()) for part in ("apiGroups", "resources", "verbs"))


def _escalates(rule: Rule) -> bool:
    return bool({"bind", "escalate", "impersonate", "*"} & set(rule.get("verbs", ())))


def _administrator_in_emergencies(resource: Resource, _: Stack) -> bool:
    if resource.get("roleRef.name") != "cluster-admin":
        return True
    subjects = [str(subject["name"]) for subject in resource.get("subjects", ())]
    return subjects == [BREAK_GLASS]


def _has_a_policy(resource: Resource, stack: Stack) -> bool:
    name = resource.get("metadata.name")
    return any(
        item.type == POLICY
        and item.get("metadata.namespace") == name
        and not item.get("spec.podSelector")
        for item in stack.resources
    )


def _admits_no_privileges(resource: Resource, _: Stack) -> bool:
    labels = resource.get("metadata.labels", {})
    return bool(labels.get("pod-security.kubernetes.io/enforce") in ("baseline", "restricted"))


def _drops_escalation(resource: Resource, _: Stack) -> bool:
    labels = resource.get("metadata.labels", {})
    return bool(labels.get("pod-security.kubernetes.io/enforce") == "restricted")


def _names_an_account(resource: Resource, _: Stack) -> bool:
    return resource.get("spec.template.spec.serviceAccountName") not in (None, "default")


def _secrets_as_files(resource: Resource, _: Stack) -> bool:
    containers = resource.get("spec.template.spec", {}).get("containers", [])
    return not any(
        "secretKeyRef" in entry.get("valueFrom", {})
        for container in containers
        for entry in container.get("env", ())
    )


CONTROLS: Final = (
    Control(
        ids=("CIS-EKS-4.1.1",),
        title="cluster-admin is the break-glass group's alone",
        types=BINDINGS,
        check=_administrator_in_emergencies,
    ),
    Control(
        ids=("CIS-EKS-4.1.2",),
        title="no role reads secrets",
        types=ROLES,
        check=_no_rule(_allows({"secrets"}, {"get", "list", "watch"})),
    ),
    Control(
        ids=("CIS-EKS-4.1.3",),
        title="no role has a wildcard",
        types=ROLES,
        check=_no_rule(_wildcard),
    ),
    Control(
        ids=("CIS-EKS-4.1.4",),
        title="no role makes pods by itself",
        types=ROLES,
        check=_no_rule(_allows({"pods"}, {"create"})),
    ),
    Control(
        ids=("CIS-EKS-4.1.5",),
        title="workloads have service accounts of their own",
        types=WORKLOADS,
        check=_names_an_account,
    ),
    Control(
        ids=("CIS-EKS-4.1.6",),
        title="service accounts' tokens are mounted where they are asked for only",
        types=ACCOUNT,
        check=equals("automountServiceAccountToken", False),
    ),
    Control(
        ids=("CIS-EKS-4.1.8",),
        title="no role binds, impersonates or escalates",
        types=ROLES,
        check=_no_rule(_escalates),
    ),
    Control(
        ids=("CIS-EKS-4.1.9",),
        title="no role makes persistent volumes",
        types=ROLES,
        check=_no_rule(_allows({"persistentvolumes"}, {"create"})),
    ),
    Control(
        ids=("CIS-EKS-4.1.10",),
        title="no role reaches through to nodes",
        types=ROLES,
        check=_no_rule(_allows({"nodes/proxy"}, {"get", "create"})),
    ),
    Control(
        ids=("CIS-EKS-4.1.11",),
        title="no role changes admission webhooks",
        types=ROLES,
        check=_no_rule(
            _allows(
                {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
                {"create", "delete", "patch", "update"},
            )
        ),
    ),
    Control(
        ids=("CIS-EKS-4.1.12",),
        title="no role makes service accounts' tokens",
        types=ROLES,
        check=_no_rule(_allows({"serviceaccounts/token"}, {"create"})),
    ),
    Control(
        ids=("CIS-EKS-4.2.1", "CIS-EKS-4.2.2", "CIS-EKS-4.2.3", "CIS-EKS-4.2.4"),
        title="namespaces refuse privileged pods and pods in their host's namespaces",
        types=NAMESPACE,
        check=_admits_no_privileges,
    ),
    Control(
        ids=("CIS-EKS-4.2.5",),
        title="namespaces refuse pods that may gain privileges",
        types=NAMESPACE,
        check=_drops_escalation,
    ),
    Control(
        ids=("CIS-EKS-4.3.2",),
        title="namespaces have a network policy for all of their pods",
        types=NAMESPACE,
        check=_has_a_policy,
    ),
    Control(
        ids=("CIS-EKS-4.4.1",),
        title="no secret is in an environment variable",
        types=WORKLOADS,
        check=_secrets_as_files,
    ),
    Control(
        ids=("CIS-EKS-4.5.1", "CIS-EKS-4.5.2"),
        title="everything is in a namespace of its own",
        types=NAMESPACED,
        check=negate(equals("metadata.namespace", None, "default")),
    ),
)

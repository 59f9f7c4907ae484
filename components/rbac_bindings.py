"""RbacBindings: who may do what in the cluster, and the way in for people.

Groups of people arrive by IAM roles, one a group, that only a person with a fresh MFA code may
assume; an access entry maps each to a Kubernetes group, under the person's own name, so that the
audit log says who. Kubernetes groups are bound to roles namespace by namespace. `cluster-admin`
belongs to one group alone, the break-glass group, whose every request raises an alarm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pulumi import ComponentResource, Input, Output, Resource, ResourceOptions, RunError
from pulumi_aws.eks.access_entry import AccessEntry
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_kubernetes.rbac.v1.ClusterRole import ClusterRole
from pulumi_kubernetes.rbac.v1.ClusterRoleBinding import ClusterRoleBinding

from components.application_namespace import (
    ApplicationNamespace,
    ApplicationNamespaceArgs,
    Machine,
    Sizing,
    Workload,
)
from components.iam_policies import Statement, account_root, policy_document
from components.kubernetes_roles import (
    API_GROUP,
    CLUSTER_WIDE,
    PEOPLE,
    KubernetesRole,
    Rule,
    cluster_wide,
    manifests,
)
from components.log_alarm import LogAlarm, alarm_on_log
from components.network_policies import Traffic

CLUSTER_ADMIN = "cluster-admin"
"""Kubernetes's own role that may do everything."""
SESSION_SECONDS = 3600
"""How long a person's access lasts; IAM knows nothing shorter."""
MFA_AGE_SECONDS = 3600
BREAK_GLASS_MFA_AGE_SECONDS = 300
METRIC_NAMESPACE = "MonoRepo/Kubernetes"
BREAK_GLASS_METRIC = "BreakGlassRequests"
ALARM_PERIOD_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class PeopleGroup:
    """A group of people and what its members may do in the cluster."""

    name: str
    kubernetes_group: str
    iam_role_name: str
    role: KubernetesRole
    namespaces: Sequence[str]
    """Where; none named: all namespaces of the application, and sight of the whole cluster."""


@dataclass(frozen=True, kw_only=True)
class BreakGlass:
    """The one group that may do everything, for when nothing else helps."""

    kubernetes_group: str
    iam_role_name: str


@dataclass(frozen=True, kw_only=True)
class Inhabitants:
    """What runs in a namespace."""

    workloads: Sequence[Workload] = field(default_factory=tuple)
    machines: Sequence[Machine] = field(default_factory=tuple)
    services: Sequence[Traffic] = field(default_factory=tuple)
    baseline_reason: str | None = None
    """Why pods cannot meet the restricted Pod Security Standard; None: they can."""


@dataclass(frozen=True, kw_only=True)
class RbacBindingsArgs:
    """Access to one cluster."""

    account_id: str
    region: str
    cluster_name: str
    kubernetes_version: str
    """Minor version, as in `1.36`."""
    control_plane: Resource
    """The cluster; objects inside it go with it."""
    audit_log_group_name: Input[str]
    """Log group of the control plane, with its audit log."""
    role_prefix: str
    """What the names of ClusterRoles begin with."""
    groups: Sequence[PeopleGroup]
    break_glass: BreakGlass
    people_arns: Sequence[str]
    """ARN patterns of the IAM users that are people; nobody else may assume their roles."""
    namespaces: Mapping[str, Inhabitants]
    """Every namespace of the application -> what runs in it."""
    permissions_boundary_arn: Input[str]
    alarm_actions: Sequence[Input[str]]
    labels: Mapping[str, str]
    """Of every object in the cluster."""
    tags: Mapping[str, str]
    sizing: Sizing = field(default_factory=Sizing)


class RbacBindings(ComponentResource):
    """Namespaces, roles and bindings of a cluster, and the IAM roles that lead to them.

    Its `opts` name both providers, AWS's and the cluster's: children get theirs from there.
    """

    role_arns: Mapping[str, Output[str]]
    """Group of people -> IAM role that its members assume."""
    break_glass_role_arn: Output[str]
    """IAM role that leads to the break-glass group."""
    namespaces: Mapping[str, Output[str]]
    """Namespace -> its name, known when it and its fences are there."""

    def __init__(
        self, name: str, args: RbacBindingsArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:RbacBindings", name, {}, opts)
        _refuse_confusion(args)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._in_cluster = ResourceOptions(parent=self, deleted_with=args.control_plane)

        roles = self._namespace_roles()
        self.namespaces = {
            namespace: self._namespace(namespace, inhabitants, roles)
            for namespace, inhabitants in args.namespaces.items()
        }
        self._cluster_wide_roles()
        self._cluster_binding(CLUSTER_ADMIN, CLUSTER_ADMIN, [args.break_glass.kubernetes_group])
        self.role_arns = {
            group.name: self._way_in(
                group.name,
                group.iam_role_name,
                group.kubernetes_group,
                MFA_AGE_SECONDS,
                f"People of the group {group.name} in the cluster {args.cluster_name}",
            )
            for group in args.groups
        }
        self.break_glass_role_arn = self._way_in(
            "break-glass",
            args.break_glass.iam_role_name,
            args.break_glass.kubernetes_group,
            BREAK_GLASS_MFA_AGE_SECONDS,
            f"Everything in the cluster {args.cluster_name}, in an emergency; raises an alarm",
        )
        self._break_glass_alarm()
        self.register_outputs(
            {
                "role_arns": self.role_arns,
                "break_glass_role_arn": self.break_glass_role_arn,
                "namespaces": self.namespaces,
            }
        )

    def _namespace_roles(self) -> dict[KubernetesRole, Output[str]]:
        """Make the roles that some group has in some namespace."""
        used = {group.role for group in self._args.groups}
        return {
            role: self._cluster_role(f"{self._args.role_prefix}-{role}", rules)
            for role, rules in PEOPLE.items()
            if role in used
        }

    def _namespace(
        self,
        namespace: str,
        inhabitants: Inhabitants,
        roles: Mapping[KubernetesRole, Output[str]],
    ) -> Output[str]:
        args = self._args
        return ApplicationNamespace(
            f"{self._name}-{namespace}",
            ApplicationNamespaceArgs(
                namespace=namespace,
                kubernetes_version=args.kubernetes_version,
                baseline_reason=inhabitants.baseline_reason,
                workloads=inhabitants.workloads,
                machines=inhabitants.machines,
                services=inhabitants.services,
                groups={
                    group.kubernetes_group: roles[group.role]
                    for group in args.groups
                    if not group.namespaces or namespace in group.namespaces
                },
                sizing=args.sizing,
                labels=args.labels,
                control_plane=args.control_plane,
            ),
            opts=self._child,
        ).namespace

    def _cluster_wide_roles(self) -> None:
        members: dict[str, list[str]] = {}
        for group in self._args.groups:
            wide = cluster_wide(group.role, group.namespaces)
            members.setdefault(wide, []).append(group.kubernetes_group)
        for wide, rules in CLUSTER_WIDE.items():
            if wide in members:
                role = f"{self._args.role_prefix}-cluster-{wide}"
                self._cluster_binding(
                    f"cluster-{wide}", self._cluster_role(role, rules), members[wide]
                )

    def _cluster_role(self, role: str, rules: Sequence[Rule]) -> Output[str]:
        return ClusterRole(
            f"{self._name}-{role}",
            metadata={"name": role, "labels": dict(self._args.labels)},
            rules=manifests(rules),
            opts=self._in_cluster,
        ).metadata["name"]

    def _cluster_binding(self, suffix: str, role: Input[str], groups: Sequence[str]) -> None:
        ClusterRoleBinding(
            f"{self._name}-{suffix}",
            metadata={
                "name": f"{self._args.role_prefix}-{suffix}",
                "labels": dict(self._args.labels),
            },
            role_ref={"apiGroup": API_GROUP, "kind": "ClusterRole", "name": role},
            subjects=[{"apiGroup": API_GROUP, "kind": "Group", "name": group} for group in groups],
            opts=self._in_cluster,
        )

    def _way_in(
        self, suffix: str, role_name: str, kubernetes_group: str, mfa_age: int, description: str
    ) -> Output[str]:
        """Make the IAM role of a group and map it into the cluster."""
        args = self._args
        role = Role(
            f"{self._name}-{suffix}",
            name=role_name,
            description=description,
            assume_role_policy=people_trust(args.account_id, args.people_arns, mfa_age),
            max_session_duration=SESSION_SECONDS,
            permissions_boundary=args.permissions_boundary_arn,
            tags=args.tags,
            opts=self._child,
        )
        RolePolicy(
            f"{self._name}-{suffix}",
            name="find-cluster",
            role=role.name,
            policy=find_cluster(args.region, args.account_id, args.cluster_name),
            opts=self._child,
        )
        AccessEntry(
            f"{self._name}-{suffix}",
            cluster_name=args.cluster_name,
            principal_arn=role.arn,
            type="STANDARD",
            kubernetes_groups=[kubernetes_group],
            user_name=f"{kubernetes_group}:{{{{SessionName}}}}",
            tags=args.tags,
            opts=ResourceOptions(parent=self, depends_on=[args.control_plane]),
        )
        return role.arn

    def _break_glass_alarm(self) -> None:
        """Tell somebody at once when the break-glass group does anything at all."""
        args = self._args
        metric = f"{BREAK_GLASS_METRIC}-{args.cluster_name}"
        alarm_on_log(
            f"{self._name}-break-glass",
            LogAlarm(
                log_group_name=args.audit_log_group_name,
                pattern=f'{{ $.user.username = "{args.break_glass.kubernetes_group}:*" }}',
                namespace=METRIC_NAMESPACE,
                metric=metric,
                description=f"Somebody acts as cluster-admin in {args.cluster_name}",
                period_seconds=ALARM_PERIOD_SECONDS,
                actions=args.alarm_actions,
                tags=args.tags,
            ),
            self._child,
        )


def people_trust(account_id: str, people_arns: Sequence[str], mfa_age_seconds: int) -> str:
    """Return the trust of a role that people assume.

    IAM decides which of them (their group's policy has to allow it too); the MFA code has to be
    fresh; and the session carries the person's own name, since that is all the audit log shows.
    """
    return policy_document(
        [
            Statement(
                sid="PeopleWithMfa",
                actions=["sts:AssumeRole"],
                principals={"AWS": [account_root(account_id)]},
                conditions={
                    "ArnLike": {"aws:PrincipalArn": people_arns},
                    "Bool": {"aws:MultiFactorAuthPresent": "true"},
                    "NumericLessThanEquals": {"aws:MultiFactorAuthAge": str(mfa_age_seconds)},
                    "StringEquals": {"sts:RoleSessionName": "${aws:username}"},
                },
            )
        ]
    )


def find_cluster(region: str, account_id: str, cluster_name: str) -> str:
    """Return the policy that lets a person find the cluster's endpoint; RBAC does the rest."""
    return policy_document(
        [
            Statement(
                actions=["eks:DescribeCluster"],
                resources=[f"arn:aws:eks:{region}:{account_id}:cluster/{cluster_name}"],
            )
        ]
    )


def _refuse_confusion(args: RbacBindingsArgs) -> None:
    """Refuse what would give somebody more, or less, than was meant."""
    for problem in _confusions(args):
        raise RunError(f"{problem} Nothing was changed.")


def _confusions(args: RbacBindingsArgs) -> Iterator[str]:
    for group in args.groups:
        if group.kubernetes_group == args.break_glass.kubernetes_group:
            yield (
                f"The group {group.name} would be the break-glass group, which may do everything. "
                "Rename the group."
            )
        missing = sorted(set(group.namespaces) - set(args.namespaces))
        if missing:
            yield (
                f"The group {group.name} is given access to {', '.join(missing)}, where nothing of "
                f"the application runs: its namespaces are {', '.join(sorted(args.namespaces))}. "
                "Correct kubernetes.access."
            )
    for namespace, inhabitants in args.namespaces.items():
        accounts = {workload.service_account for workload in inhabitants.workloads}
        machines = {machine.name for machine in inhabitants.machines}
        if "default" in accounts | machines:
            yield (
                f"The service account default of {namespace} is everybody's who names none: it "
                "can have no rights. Give the account a name."
            )
        shared = sorted(machines & {workload.name for workload in inhabitants.workloads})
        if shared:
            yield (
                f"In {namespace}, {', '.join(shared)} is a workload and a service account beside "
                "the workloads', so that both would have the same Role. Rename one of them."
            )

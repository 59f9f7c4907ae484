import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pulumi
import pytest
from pulumi import ResourceOptions
from pulumi_aws.eks.cluster import Cluster
from pulumi_kubernetes.provider import Provider

from components.application_namespace import Machine, Sizing, Workload, cpu, memory
from components.kubernetes_roles import CLUSTER_WIDE, MACHINES, PEOPLE, Rule, cluster_wide
from components.network_policies import Traffic
from components.rbac_bindings import (
    BreakGlass,
    Inhabitants,
    PeopleGroup,
    RbacBindings,
    RbacBindingsArgs,
)
from tests.graph import Graph, Node, provided, record

ACCOUNT = "111122223333"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
API = Workload(
    name="api-service",
    deployments=["api-service"],
    replicas=3,
    behind_load_balancer=True,
    service_account="api-service",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/mono-repo-parameter-store-access-dev",
    traffic=Traffic(name="api-service", labels={"app.kubernetes.io/name": "api-service"}),
)
AIRFLOW = replace(
    API,
    name="airflow",
    deployments=["airflow-webserver", "airflow-scheduler"],
    replicas=1,
    service_account="airflow",
    role_arn=None,
    traffic=Traffic(name="airflow", labels={"app.kubernetes.io/name": "airflow"}),
)
SCHEDULER = Machine(name="airflow-scheduler", role="operator", role_arn=None)
NAMESPACES = {
    "services": Inhabitants(workloads=[API]),
    "airflow": Inhabitants(workloads=[AIRFLOW], machines=[SCHEDULER]),
}
SRE = PeopleGroup(
    name="sre",
    kubernetes_group="mono-repo:sre",
    iam_role_name="mono-repo-dev-kubernetes-sre",
    role="operator",
    namespaces=[],
)
OPERATIONS = replace(
    SRE,
    name="operations",
    kubernetes_group="mono-repo:operations",
    iam_role_name="mono-repo-dev-kubernetes-operations",
    role="viewer",
    namespaces=["services"],
)
BREAK_GLASS = BreakGlass(
    kubernetes_group="mono-repo:break-glass",
    iam_role_name="mono-repo-dev-kubernetes-break-glass",
)


def build(**changes: Any) -> Graph:
    def program() -> None:
        aws = provided()
        control_plane = Cluster(
            "cluster",
            name="mono-repo-dev",
            role_arn=f"arn:aws:iam::{ACCOUNT}:role/mono-repo-dev-cluster",
            vpc_config={"subnet_ids": ["subnet-1", "subnet-2"]},
            opts=ResourceOptions(provider=aws),
        )
        args = RbacBindingsArgs(
            account_id=ACCOUNT,
            region="us-east-1",
            cluster_name="mono-repo-dev",
            kubernetes_version="1.36",
            control_plane=control_plane,
            audit_log_group_name="/aws/eks/mono-repo-dev/cluster",
            role_prefix="mono-repo",
            groups=[SRE, OPERATIONS],
            break_glass=BREAK_GLASS,
            people_arns=[f"arn:aws:iam::{ACCOUNT}:user/mono-repo-dev-*"],
            namespaces=NAMESPACES,
            permissions_boundary_arn=f"arn:aws:iam::{ACCOUNT}:policy/mono-repo-dev-boundary",
            alarm_actions=["arn:aws:sns:us-east-1:111122223333:mono-repo-dev-alarms"],
            labels={"app.kubernetes.io/managed-by": "pulumi"},
            tags={"environment": "dev"},
        )
        RbacBindings(
            "access",
            replace(args, **changes),
            ResourceOptions(providers=[aws, Provider("cluster", kubeconfig="{}")]),
        )

    return record(program)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def named(graph: Graph, kind: str, name: str) -> Node:
    """Return the cluster object of a kind with this name, whatever the program calls it."""
    found = [node for node in graph.resources(kind) if node.inputs["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {[node.label for node in found]}"
    return found[0]


def test_a_namespace_is_made_of_exactly_this(graph: Graph) -> None:
    airflow = graph.one("mono-repo:index:ApplicationNamespace", "access-airflow")
    assert [node.label for node in graph.children(airflow)] == [
        "kubernetes:core/v1:LimitRange::access-airflow",
        "kubernetes:core/v1:Namespace::access-airflow",
        "kubernetes:core/v1:ResourceQuota::access-airflow",
        "kubernetes:core/v1:ServiceAccount::access-airflow-airflow",
        "kubernetes:core/v1:ServiceAccount::access-airflow-airflow-scheduler",
        "kubernetes:core/v1:ServiceAccount::access-airflow-default",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy::access-airflow-airflow",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy::access-airflow-allow-dns",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy::access-airflow-default-deny",
        f"{RBAC}:Role::access-airflow-airflow",
        f"{RBAC}:Role::access-airflow-airflow-scheduler",
        f"{RBAC}:RoleBinding::access-airflow-airflow",
        f"{RBAC}:RoleBinding::access-airflow-airflow-scheduler",
        f"{RBAC}:RoleBinding::access-airflow-mono-repo-sre",
    ]


def test_access_is_made_of_exactly_this(graph: Graph) -> None:
    access = graph.one("mono-repo:index:RbacBindings")
    assert [node.label for node in graph.children(access)] == [
        "aws:cloudwatch/logMetricFilter:LogMetricFilter::access-break-glass",
        "aws:cloudwatch/metricAlarm:MetricAlarm::access-break-glass",
        "aws:eks/accessEntry:AccessEntry::access-break-glass",
        "aws:eks/accessEntry:AccessEntry::access-operations",
        "aws:eks/accessEntry:AccessEntry::access-sre",
        "aws:iam/role:Role::access-break-glass",
        "aws:iam/role:Role::access-operations",
        "aws:iam/role:Role::access-sre",
        "aws:iam/rolePolicy:RolePolicy::access-break-glass",
        "aws:iam/rolePolicy:RolePolicy::access-operations",
        "aws:iam/rolePolicy:RolePolicy::access-sre",
        f"{RBAC}:ClusterRole::access-mono-repo-cluster-maintainer",
        f"{RBAC}:ClusterRole::access-mono-repo-cluster-observer",
        f"{RBAC}:ClusterRole::access-mono-repo-operator",
        f"{RBAC}:ClusterRole::access-mono-repo-viewer",
        f"{RBAC}:ClusterRoleBinding::access-cluster-admin",
        f"{RBAC}:ClusterRoleBinding::access-cluster-maintainer",
        f"{RBAC}:ClusterRoleBinding::access-cluster-observer",
        "mono-repo:index:ApplicationNamespace::access-airflow",
        "mono-repo:index:ApplicationNamespace::access-services",
    ]


def test_each_resource_is_made_by_the_provider_of_its_world(graph: Graph) -> None:
    for node in graph.resources():
        if node.custom and not node.type.startswith("pulumi:providers:"):
            package = node.type.partition(":")[0]
            assert graph.provider_of(node).type == f"pulumi:providers:{package}", node.label


def test_pods_must_meet_the_restricted_standard_of_the_clusters_version(graph: Graph) -> None:
    labels = named(graph, "kubernetes:core/v1:Namespace", "services").inputs["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "v1.36"


def test_a_lower_standard_has_its_reason_on_it_and_still_warns() -> None:
    reason = "The image of the vendor runs as root"
    lowered = build(
        namespaces={
            **NAMESPACES,
            "services": replace(NAMESPACES["services"], baseline_reason=reason),
        }
    )
    metadata = named(lowered, "kubernetes:core/v1:Namespace", "services").inputs["metadata"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert metadata["labels"]["pod-security.kubernetes.io/warn"] == "restricted"
    assert metadata["annotations"] == {"mono-repo.internal/baseline-reason": reason}


def test_tokens_are_mounted_for_machines_alone(graph: Graph) -> None:
    mounted = {
        (node.inputs["metadata"]["namespace"], node.inputs["metadata"]["name"])
        for node in graph.resources("kubernetes:core/v1:ServiceAccount")
        if node.inputs["automountServiceAccountToken"]
    }
    assert mounted == {("airflow", "airflow-scheduler")}


def test_a_workloads_pods_act_as_its_iam_role(graph: Graph) -> None:
    account = named(graph, "kubernetes:core/v1:ServiceAccount", "api-service")
    assert account.inputs["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": API.role_arn,
        "eks.amazonaws.com/sts-regional-endpoints": "true",
    }


def test_workloads_may_share_a_service_account() -> None:
    twin = replace(API, name="api-batch", traffic=Traffic(name="api-batch", labels={"a": "b"}))
    graph = build(namespaces={**NAMESPACES, "services": Inhabitants(workloads=[API, twin])})
    named(graph, "kubernetes:core/v1:ServiceAccount", "api-service")
    bindings = [named(graph, f"{RBAC}:RoleBinding", name) for name in ("api-service", "api-batch")]
    assert {binding.inputs["subjects"][0]["name"] for binding in bindings} == {"api-service"}


def test_the_scheduler_runs_pods_in_its_namespace_and_nothing_else(graph: Graph) -> None:
    rules = named(graph, f"{RBAC}:Role", "airflow-scheduler").inputs["rules"]
    granted = {
        (resource, verb)
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {
        ("events", "get"), ("events", "list"), ("events", "watch"),
        ("pods", "create"), ("pods", "delete"), ("pods", "get"), ("pods", "list"),
        ("pods", "patch"), ("pods", "watch"), ("pods/exec", "create"), ("pods/exec", "get"),
        ("pods/log", "get"),
    }  # fmt: skip


def test_people_are_bound_only_where_they_were_given_access(graph: Graph) -> None:
    bound = {
        (node.inputs["metadata"]["namespace"], subject["name"], node.inputs["roleRef"]["name"])
        for node in graph.resources(f"{RBAC}:RoleBinding")
        for subject in node.inputs["subjects"]
        if subject["kind"] == "Group"
    }
    assert bound == {
        ("services", "mono-repo:sre", "mono-repo-operator"),
        ("airflow", "mono-repo:sre", "mono-repo-operator"),
        ("services", "mono-repo:operations", "mono-repo-viewer"),
    }


def test_cluster_admin_is_the_break_glass_groups_alone(graph: Graph) -> None:
    admins = {
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for node in graph.resources(f"{RBAC}:{kind}")
        if node.inputs["roleRef"]["name"] == "cluster-admin"
        for subject in node.inputs["subjects"]
    }
    assert admins == {"mono-repo:break-glass"}


def test_people_come_in_with_a_fresh_code_under_their_own_name(graph: Graph) -> None:
    for name, age in (("access-sre", "3600"), ("access-break-glass", "300")):
        role = graph.one("aws:iam/role:Role", name).inputs
        (statement,) = json.loads(role["assumeRolePolicy"])["Statement"]
        assert statement["Condition"] == {
            "ArnLike": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:user/mono-repo-dev-*"]},
            "Bool": {"aws:MultiFactorAuthPresent": "true"},
            "NumericLessThanEquals": {"aws:MultiFactorAuthAge": age},
            "StringEquals": {"sts:RoleSessionName": "${aws:username}"},
        }
        assert statement["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
        assert role["maxSessionDuration"] == 3600
        assert role["permissionsBoundary"].endswith("mono-repo-dev-boundary")


def test_iam_roles_of_people_only_find_the_cluster(graph: Graph) -> None:
    for node in graph.resources("aws:iam/rolePolicy:RolePolicy"):
        (statement,) = json.loads(node.inputs["policy"])["Statement"]
        assert statement["Action"] == ["eks:DescribeCluster"]
        assert statement["Resource"] == [f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/mono-repo-dev"]


def test_each_way_in_leads_to_one_group_and_keeps_the_persons_name(graph: Graph) -> None:
    entries = {
        node.name: node.inputs for node in graph.resources("aws:eks/accessEntry:AccessEntry")
    }
    assert entries["access-sre"]["kubernetesGroups"] == ["mono-repo:sre"]
    assert entries["access-sre"]["userName"] == "mono-repo:sre:{{SessionName}}"
    assert entries["access-break-glass"]["kubernetesGroups"] == ["mono-repo:break-glass"]
    assert {entry["type"] for entry in entries.values()} == {"STANDARD"}


def test_every_request_of_the_break_glass_group_raises_an_alarm(graph: Graph) -> None:
    measured = graph.one("aws:cloudwatch/logMetricFilter:LogMetricFilter").inputs
    alarm = graph.one("aws:cloudwatch/metricAlarm:MetricAlarm").inputs
    entry = graph.one("aws:eks/accessEntry:AccessEntry", "access-break-glass").inputs
    prefix = entry["userName"].removesuffix("{{SessionName}}")
    assert measured["pattern"] == f'{{ $.user.username = "{prefix}*" }}'
    assert measured["logGroupName"] == "/aws/eks/mono-repo-dev/cluster"
    assert alarm["metricName"] == measured["metricTransformation"]["name"]
    assert alarm["namespace"] == measured["metricTransformation"]["namespace"]
    assert (alarm["threshold"], alarm["treatMissingData"]) == (1, "notBreaching")
    assert alarm["alarmActions"]


def test_the_quota_holds_every_deployment_at_its_largest_being_rolled_out(graph: Graph) -> None:
    (quota,) = (
        node.inputs["spec"]["hard"]
        for node in graph.resources("kubernetes:core/v1:ResourceQuota")
        if node.inputs["metadata"]["namespace"] == "services"
    )
    assert quota == {
        "pods": "19",  # 3 replicas, scaled out 5 times, and a quarter more during a rollout
        "requests.cpu": "4750m",
        "requests.memory": "9728Mi",
        "limits.memory": "19Gi",
        "persistentvolumeclaims": "1",
        "requests.storage": "20Gi",
        "services.loadbalancers": "0",
        "services.nodeports": "1",
    }


def test_the_quota_of_a_scheduler_has_room_for_its_tasks() -> None:
    roomy = build(sizing=Sizing(task_pods=100))
    tight = build(sizing=Sizing(task_pods=1))
    pods = [
        int(node.inputs["spec"]["hard"]["pods"])
        for graph in (roomy, tight)
        for node in graph.resources("kubernetes:core/v1:ResourceQuota")
        if node.inputs["metadata"]["namespace"] == "airflow"
    ]
    assert pods[0] - pods[1] == 99


def test_quantities_are_written_as_the_api_server_keeps_them() -> None:
    assert (cpu(250), cpu(2000), memory(512), memory(1024)) == ("250m", "2", "512Mi", "1Gi")


def test_objects_wait_for_their_namespace(graph: Graph) -> None:
    namespace = named(graph, "kubernetes:core/v1:Namespace", "airflow")
    for node in graph.resources():
        inside = node.custom and node.type.startswith("kubernetes:")
        if inside and node.inputs["metadata"].get("namespace") == "airflow":
            assert namespace.urn in node.dependencies, node.label


def test_a_group_cannot_take_the_break_glass_groups_name() -> None:
    with pytest.raises(pulumi.RunError, match="Rename the group"):
        build(groups=[replace(SRE, kubernetes_group=BREAK_GLASS.kubernetes_group)])


def test_access_to_a_namespace_that_is_not_ours_is_refused() -> None:
    with pytest.raises(pulumi.RunError, match="given access to kube-system"):
        build(groups=[replace(OPERATIONS, namespaces=["kube-system", "services"])])


@pytest.mark.parametrize(
    "inhabitants",
    [
        Inhabitants(workloads=[replace(API, service_account="default")]),
        Inhabitants(machines=[replace(SCHEDULER, name="default")]),
    ],
)
def test_the_default_service_account_gets_no_rights(inhabitants: Inhabitants) -> None:
    with pytest.raises(pulumi.RunError, match="service account default of services"):
        build(namespaces={**NAMESPACES, "services": inhabitants})


def test_two_accounts_that_would_share_a_role_are_refused() -> None:
    clash = Inhabitants(workloads=[API], machines=[replace(SCHEDULER, name="api-service")])
    with pytest.raises(pulumi.RunError, match="api-service is a workload and a service account"):
        build(namespaces={**NAMESPACES, "services": clash})


# The rules themselves


def rights(rules: Any) -> set[tuple[str, str, str]]:
    return {
        (rule.group, resource, verb)
        for rule in rules
        for resource in rule.resources
        for verb in rule.verbs
    }


ROLES = {
    **{f"people {role}": rules for role, rules in PEOPLE.items()},
    **{f"machine {role}": rules for role, rules in MACHINES.items()},
    **{f"cluster {wide}": rules for wide, rules in CLUSTER_WIDE.items()},
}


@pytest.mark.parametrize("rules", ROLES.values(), ids=ROLES)
def test_no_role_has_a_wildcard_or_a_way_to_more(rules: list[Rule]) -> None:
    for group, resource, verb in rights(rules):
        assert "*" not in (group, resource, verb)
        assert verb not in {"bind", "escalate", "impersonate", "deletecollection"}
        assert resource not in {"nodes/proxy", "pods/proxy", "services/proxy"}
        assert resource != "serviceaccounts/token"
        assert group != "admissionregistration.k8s.io"
        if group == "rbac.authorization.k8s.io" or resource == "persistentvolumes":
            assert verb in {"get", "list", "watch"}


def test_each_role_of_people_has_what_the_one_before_has() -> None:
    for smaller, larger in pairwise(PEOPLE.values()):
        assert rights(smaller) < rights(larger)


def test_only_administrators_read_secrets_and_start_bare_pods() -> None:
    for role, rules in PEOPLE.items():
        granted = rights(rules)
        assert (("", "secrets", "get") in granted) is (role == "administrator")
        assert (("", "pods", "create") in granted) is (role == "administrator")


def test_a_viewer_changes_nothing() -> None:
    assert {verb for _, _, verb in rights(PEOPLE["viewer"])} == {"get", "list", "watch"}
    assert {verb for _, _, verb in rights(CLUSTER_WIDE["viewer"])} == {"get", "list", "watch"}


def test_machines_never_read_secrets_or_forward_ports() -> None:
    for rules in MACHINES.values():
        assert not {"secrets", "pods/portforward"} & {resource for _, resource, _ in rights(rules)}


def test_a_role_without_namespaces_sees_the_whole_cluster_and_no_more() -> None:
    assert cluster_wide("viewer", []) == "viewer"
    assert cluster_wide("administrator", []) == "maintainer"
    assert cluster_wide("administrator", ["web"]) == "observer"

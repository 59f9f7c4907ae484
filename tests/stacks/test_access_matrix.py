"""The access matrix against the objects that the program makes: both must say the same."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.settings import GroupAccess, Kubernetes, Settings
from stacks import access_matrix
from stacks.access_matrix import EVERYTHING, AccessRow, access_rows
from tests.graph import Graph
from tests.stacks.cluster_objects import cluster_graph
from tests.stacks.programs import ENVIRONMENTS, ROOT, settings

PAGE = ROOT / "docs" / "access-matrix.md"
BREAK_GLASS = "mono-repo:break-glass"
CLUSTER_ADMIN_RULES = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
"""What Kubernetes itself puts into `cluster-admin`."""
FORBIDDEN = {
    "clusterroles",
    "mutatingwebhookconfigurations",
    "nodes/proxy",
    "persistentvolumes",
    "serviceaccounts/token",
    "validatingadmissionpolicies",
    "validatingwebhookconfigurations",
}
"""What nobody but the break-glass group may change (CIS EKS 4.1.8 to 4.1.12)."""


@pytest.fixture(params=ENVIRONMENTS)
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def rows_of(env: str) -> tuple[AccessRow, ...]:
    return access_rows(settings(env))


def bound(graph: Graph) -> set[tuple[str, str | None, str, str, tuple[str, ...], str]]:
    """Return what the objects in the cluster grant, one verb at a time, as RBAC reads them."""
    rules = {
        (node.inputs["kind"], node.inputs["metadata"].get("namespace"), name(node.inputs)): (
            node.inputs["rules"]
        )
        for kind in ("Role", "ClusterRole")
        for node in graph.resources(f"kubernetes:rbac.authorization.k8s.io/v1:{kind}")
    }
    rules["ClusterRole", None, "cluster-admin"] = CLUSTER_ADMIN_RULES
    found = set()
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for node in graph.resources(f"kubernetes:rbac.authorization.k8s.io/v1:{kind}"):
            namespace = node.inputs["metadata"].get("namespace")
            reference = node.inputs["roleRef"]
            home = namespace if reference["kind"] == "Role" else None
            for rule in rules[reference["kind"], home, reference["name"]]:
                for subject in node.inputs["subjects"]:
                    found |= {
                        (subject_name(subject), namespace, *right) for right in expanded(rule)
                    }
    return found


def name(inputs: Any) -> str:
    return str(inputs["metadata"]["name"])


def subject_name(subject: Any) -> str:
    if subject["kind"] == "Group":
        return str(subject["name"])
    return f"system:serviceaccount:{subject['namespace']}:{subject['name']}"


def expanded(rule: Any) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    names = tuple(rule.get("resourceNames", ()))
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                yield group, resource, names, verb


def test_the_matrix_says_exactly_what_the_cluster_is_told(env: str) -> None:
    said = {
        (row.subject, row.namespace, row.group, row.resource, row.names, verb)
        for row in rows_of(env)
        for verb in row.verbs
    }
    assert said == bound(cluster_graph(env))


def test_a_row_is_there_once(env: str) -> None:
    keys = [
        (row.subject, row.namespace, row.group, row.resource, row.names) for row in rows_of(env)
    ]
    assert len(keys) == len(set(keys))


def test_only_the_break_glass_group_has_a_wildcard(env: str) -> None:
    wild = {
        row.subject for row in rows_of(env) if EVERYTHING in (row.group, row.resource, *row.verbs)
    }
    assert wild == {BREAK_GLASS}


def test_secrets_are_for_administrators_in_their_namespaces(env: str) -> None:
    administrators = {
        f"mono-repo:{entry.group}"
        for entry in settings(env).kubernetes.access
        if entry.role == "administrator"
    }
    readers = [row for row in rows_of(env) if row.resource == "secrets"]
    assert {row.subject for row in readers} == administrators
    assert None not in {row.namespace for row in readers}


def test_nobody_is_given_a_way_to_become_somebody_else(env: str) -> None:
    for row in rows_of(env):
        if row.subject != BREAK_GLASS:
            assert not {"bind", "escalate", "impersonate"} & set(row.verbs), row
            if row.resource in FORBIDDEN:
                assert set(row.verbs) <= {"get", "list", "watch"}, row
            assert row.resource not in {"nodes/proxy", "serviceaccounts/token"}, row


def test_outside_the_applications_namespaces_only_nodes_and_evictions_are_touched(env: str) -> None:
    changed = {
        (row.resource, verb)
        for row in rows_of(env)
        for verb in row.verbs
        if row.namespace is None
        and row.subject != BREAK_GLASS
        and verb not in {"get", "list", "watch"}
    }
    assert changed == {("nodes", "patch"), ("pods/eviction", "create")}


def test_pods_are_started_by_the_scheduler_and_by_administrators_alone(env: str) -> None:
    starters = {
        row.subject for row in rows_of(env) if row.resource == "pods" and "create" in row.verbs
    }
    administrators = {
        f"mono-repo:{entry.group}"
        for entry in settings(env).kubernetes.access
        if entry.role == "administrator"
    }
    assert starters == {"system:serviceaccount:airflow:airflow-scheduler"} | administrators


def test_what_nobody_was_given_the_group_does_not_have() -> None:
    changed = with_access(GroupAccess(group="sre", role="viewer", namespaces=("web",)))
    places = {row.namespace for row in access_rows(changed) if row.subject == "mono-repo:sre"} - {
        None
    }
    assert places == {"web"}
    assert "mono-repo:operations" not in {row.subject for row in access_rows(changed)}


def with_access(*access: GroupAccess) -> Settings:
    base = settings("dev")
    kubernetes = Kubernetes(access=access, service_accounts=base.kubernetes.service_accounts)
    return base.model_copy(update={"kubernetes": kubernetes})


def test_the_page_is_written_from_the_settings() -> None:
    written = access_matrix.page({env: settings(env) for env in ENVIRONMENTS})
    if os.environ.get("UPDATE_GOLDEN"):
        Path(PAGE).write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == written, "run `make golden` and review the change"


def test_the_page_names_every_subject(env: str) -> None:
    page = access_matrix.page({env: settings(env)})
    for row in rows_of(env):
        assert f"`{row.subject}`" in page

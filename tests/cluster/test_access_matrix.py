"""The access matrix, as a real API server that was given the program's objects decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra.sandbox.engine.provider import Provider
from stacks.access_matrix import EVERYTHING, AccessRow, access_rows
from stacks.cluster_access import namespaces
from tests.cluster.reviews import Cluster, Person
from tests.stacks.cluster_objects import cluster_graph
from tests.stacks.programs import settings

pytestmark = pytest.mark.sandbox

ENVIRONMENT = "dev"
ROWS = access_rows(settings(ENVIRONMENT))
SUBJECTS = sorted({row.subject for row in ROWS})
PLACES = [*namespaces(settings(ENVIRONMENT)), "kube-system", "default"]
BREAK_GLASS = "mono-repo:break-glass"
Right = tuple[str, str, tuple[str, ...], str]
"""API group, resource, names of objects, verb."""


@pytest.fixture(scope="module", autouse=True)
def objects(kubernetes: Provider) -> None:
    """What the program puts into the cluster, namespaces before what is in them."""
    nodes = [
        node
        for node in cluster_graph(ENVIRONMENT).resources()
        if node.custom and node.type.startswith("kubernetes:")
    ]
    for node in sorted(nodes, key=lambda node: "namespace" in node.inputs["metadata"]):
        checked = kubernetes.check(node.type, node.name, None, whole(node.inputs))
        kubernetes.create(node.type, node.name, checked.inputs)


def whole(value: Any) -> Any:
    """Return a value of the recorded graph with its numbers as the engine gives them."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: whole(item) for key, item in value.items()}
        case list():
            return [whole(item) for item in value]
    return value


def person(subject: str) -> Person:
    """Return whom the API server sees: a member of a group, or a service account."""
    if not subject.startswith("system:serviceaccount:"):
        return Person(f"{subject}:mono-repo-dev-john-smith", [subject])
    namespace = subject.split(":")[2]
    return Person(subject, ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"])


def rights(cluster: Cluster, who: Person, namespace: str) -> set[Right]:
    """Return all that the API server lets somebody do in a namespace, as it tells them itself."""
    answer = cluster.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        },
        as_=Person(who.user, [*who.groups, "system:authenticated"]),
    )
    assert answer.status == 201, answer
    assert not answer.body["status"]["incomplete"]
    return {right for rule in answer.body["status"]["resourceRules"] for right in expanded(rule)}


def expanded(rule: dict[str, Any]) -> set[Right]:
    names = tuple(rule.get("resourceNames", ()))
    return {
        (group, resource, names, verb)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def said(subject: str, namespace: str) -> set[Right]:
    """Return what the matrix says that somebody may do in a namespace."""
    return {
        (row.group, row.resource, row.names, verb)
        for row in ROWS
        if row.subject == subject and row.namespace in (None, namespace)
        for verb in row.verbs
    }


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_api_server_allows_exactly_what_the_matrix_says(subject: str, cluster: Cluster) -> None:
    for namespace in PLACES:
        everybodys = rights(cluster, Person("somebody"), namespace)
        assert rights(cluster, person(subject), namespace) - everybodys == said(subject, namespace)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_right_that_is_not_in_a_namespace_is_granted_when_it_is_asked_for(
    subject: str, cluster: Cluster
) -> None:
    """Reviews of rules leave cluster-wide objects to be read from them: these are decisions."""
    for row in ROWS:
        if row.subject == subject and row.namespace is None:
            assert _decided(cluster, row, row.verbs[0]), row


def _decided(cluster: Cluster, row: AccessRow, verb: str) -> bool:
    resource, _, subresource = row.resource.partition("/")
    return cluster.allows(
        person(row.subject), verb, resource, group=row.group, subresource=subresource
    )


@pytest.mark.parametrize(
    ("verb", "resource", "group", "subresource"),
    [
        ("get", "secrets", "", ""),
        ("list", "secrets", "", ""),
        ("create", "pods", "", ""),
        ("create", "pods", "", "exec"),
        ("create", "serviceaccounts", "", "token"),
        ("get", "nodes", "", "proxy"),
        ("create", "persistentvolumes", "", ""),
        ("escalate", "clusterroles", "rbac.authorization.k8s.io", ""),
        ("bind", "clusterroles", "rbac.authorization.k8s.io", ""),
        ("create", "clusterrolebindings", "rbac.authorization.k8s.io", ""),
        ("impersonate", "users", "", ""),
        ("create", "validatingwebhookconfigurations", "admissionregistration.k8s.io", ""),
    ],
)
def test_in_the_clusters_own_namespace_nobody_but_the_break_glass_group_can(
    verb: str, resource: str, group: str, subresource: str, cluster: Cluster
) -> None:
    may = {
        subject
        for subject in SUBJECTS
        if cluster.allows(
            person(subject),
            verb,
            resource,
            group=group,
            subresource=subresource,
            namespace="kube-system",
        )
    }
    assert may == {BREAK_GLASS}


def test_the_matrix_has_a_subject_that_may_do_everything_and_it_is_that_group() -> None:
    assert {row.subject for row in ROWS if row.resource == EVERYTHING} == {BREAK_GLASS}

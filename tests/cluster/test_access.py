"""RBAC as the API server itself decides it: by reviews, and by what a person really gets."""

from __future__ import annotations

from typing import Any

import pytest

from infra.sandbox.engine.provider import Provider
from tests.cluster.reviews import Cluster, Person

pytestmark = pytest.mark.sandbox

RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
VIEWER = Person("john-smith", ["team:sre"])
STRANGER = Person("jane-doe", ["team:other"])


@pytest.fixture(scope="module", autouse=True)
def binding(kubernetes: Provider) -> None:
    """A role that reads pods in one namespace, bound to one group by the provider."""
    declared: dict[str, dict[str, Any]] = {
        "kubernetes:core/v1:Namespace": {"metadata": {"name": "access"}},
        f"{RBAC}:Role": {
            "metadata": {"name": "viewer", "namespace": "access"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
        },
        f"{RBAC}:RoleBinding": {
            "metadata": {"name": "viewer", "namespace": "access"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "viewer",
            },
            "subjects": [
                {"kind": "Group", "name": "team:sre", "apiGroup": "rbac.authorization.k8s.io"}
            ],
        },
    }
    for type_, inputs in declared.items():
        kubernetes.create(type_, "x", kubernetes.check(type_, "x", None, inputs).inputs)


@pytest.mark.parametrize(
    ("person", "verb", "resource", "namespace", "allowed"),
    [
        (VIEWER, "list", "pods", "access", True),
        (VIEWER, "delete", "pods", "access", False),
        (VIEWER, "list", "secrets", "access", False),
        (VIEWER, "list", "pods", "default", False),
        (VIEWER, "list", "pods", "", False),
        (STRANGER, "list", "pods", "access", False),
        (Person("root", ["system:masters"]), "delete", "secrets", "", True),
    ],
)
def test_both_reviews_agree_on_who_may_do_what(
    person: Person, verb: str, resource: str, namespace: str, allowed: bool, cluster: Cluster
) -> None:
    assert cluster.allows(person, verb, resource, namespace=namespace) is allowed
    assert cluster.lets_do(person, verb, resource, namespace=namespace) is allowed


def test_a_person_gets_what_the_reviews_promise(cluster: Cluster) -> None:
    pods = "/api/v1/namespaces/access/pods"
    assert cluster.request("GET", pods, as_=VIEWER).status == 200
    refused = cluster.request("GET", pods, as_=STRANGER)
    assert refused.status == 403
    assert 'User "jane-doe" cannot list resource "pods"' in refused.body["message"]


def test_an_api_server_that_stands_alone_knows_nobody_yet(api_server: Cluster) -> None:
    assert not api_server.allows(VIEWER, "list", "pods", namespace="default")
    assert api_server.request("GET", "/version").body["gitVersion"].startswith("v1.")

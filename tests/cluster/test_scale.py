"""Scaling a namespace of a real API server, and back."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.sandbox import servers
from ops import scale
from ops.access import Access
from ops.errors import IncompleteError, UsageError
from ops.execution import Context
from ops.kubernetes import NoClusterError, api_client
from ops.plan import Step
from tests.cluster.conftest import EksCluster

pytestmark = pytest.mark.sandbox

NAMESPACE = "scaled"
POD = {"containers": [{"name": "main", "image": "example.com/main"}]}


@pytest.fixture
def access(eks_cluster: EksCluster, monkeypatch: pytest.MonkeyPatch) -> Access:
    """The environment whose cluster this is."""
    monkeypatch.setenv(servers.HOME_VARIABLE, str(eks_cluster.home))
    return cast(
        "Access",
        SimpleNamespace(
            mode="sandbox",
            environment="dev",
            root=eks_cluster.home,
            caller="",
            client=eks_cluster.client,
        ),
    )


@pytest.fixture
def api(access: Access) -> Iterator[Any]:
    """The API, with a namespace that has a Deployment of 3 and a StatefulSet of 2."""
    from kubernetes import client

    api = api_client(access)
    core: Any = client.CoreV1Api(api)
    apps: Any = client.AppsV1Api(api)
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    for kind, replicas in (("deployment", 3), ("stateful_set", 2)):
        labels = {"app": kind.replace("_", "-")}
        spec: dict[str, Any] = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": POD},
        }
        if kind == "stateful_set":
            spec["serviceName"] = labels["app"]
        body = {"metadata": {"name": labels["app"]}, "spec": spec}
        getattr(apps, f"create_namespaced_{kind}")(NAMESPACE, body)
    yield apps
    apps.delete_collection_namespaced_deployment(NAMESPACE)
    apps.delete_collection_namespaced_stateful_set(NAMESPACE)


def _do(access: Access, replicas: int | None) -> list[Step]:
    asked = {"namespace": NAMESPACE, "replicas": replicas}
    context = Context(
        setting=cast("Any", None),
        access=access,
        journal=cast("Any", None),
        plan=cast("Any", None),
        lock=None,
        results={},
    )
    steps = scale.steps(scale.observe(access, NAMESPACE), asked)
    for step in steps:
        scale.OPERATION.actions[step.action](context, step)
        scale.OPERATION.actions[step.action](context, step)
    return steps


def test_a_namespace_rests_and_gets_exactly_its_replicas_back(access: Access, api: Any) -> None:
    _do(access, 1)
    _do(access, 0)
    resting = {item.name: item for item in scale.observe(access, NAMESPACE)}
    assert {name: item.replicas for name, item in resting.items()} == {
        "deployment": 0,
        "stateful-set": 0,
    }
    assert {name: item.before for name, item in resting.items()} == {
        "deployment": 3,
        "stateful-set": 2,
    }, "the replicas from before the first of several changes are kept"

    _do(access, None)

    assert {
        item.name: (item.replicas, item.before) for item in scale.observe(access, NAMESPACE)
    } == {
        "deployment": (3, None),
        "stateful-set": (2, None),
    }
    assert _do(access, None) == []
    assert api.read_namespaced_deployment("deployment", NAMESPACE).metadata.annotations is None


def test_a_namespace_that_is_not_there_is_named_with_those_that_are(access: Access) -> None:
    with pytest.raises(UsageError, match=r"no namespace 'nowhere'.*kube-system"):
        scale.observe(access, "nowhere")


def test_without_a_cluster_or_an_answer_about_it_nothing_is_asked(access: Access) -> None:
    other = SimpleNamespace(**{**vars(access), "environment": "uat"})
    with pytest.raises(NoClusterError, match="no EKS cluster mono-repo-uat"):
        api_client(cast("Access", other))

    def unreachable(_service: str) -> Any:
        from botocore.exceptions import EndpointConnectionError

        def describe_cluster(**_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="https://eks.example.com")

        return SimpleNamespace(describe_cluster=describe_cluster)

    silent = SimpleNamespace(**{**vars(access), "client": unreachable})
    with pytest.raises(IncompleteError, match="could not be read"):
        api_client(cast("Access", silent))

"""A program's objects on a real API server, update by update, as the engine runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import clusters
from infra.sandbox.engine.command import EmbeddedCommand
from tests.cluster.conftest import EksCluster
from tests.cluster.reviews import Cluster
from tests.conformance.world import World

pytestmark = pytest.mark.sandbox

PROGRAM = """
from pulumi import ResourceOptions, export
from pulumi_kubernetes.core.v1.ConfigMap import ConfigMap
from pulumi_kubernetes.core.v1.Namespace import Namespace
from pulumi_kubernetes.core.v1.Secret import Secret
from pulumi_kubernetes.provider import Provider
from pulumi_kubernetes.rbac.v1.Role import Role

cluster = Provider("cluster", kubeconfig={kubeconfig!r}, cluster_identifier="{cluster}")
inside = ResourceOptions(provider=cluster)
namespace = Namespace("program", metadata={{"name": "program", "labels": {labels}}}, opts=inside)
metadata = {{"namespace": namespace.metadata.name}}
Role(
    "reader",
    metadata={{**metadata, "name": "reader"}},
    rules=[{{"api_groups": [""], "resources": ["pods"], "verbs": {verbs}}}],
    opts=inside,
)
Secret("token", metadata=metadata, string_data={{"token": "open sesame"}}, opts=inside)
settings = ConfigMap("settings", metadata=metadata, data={{"LOG_LEVEL": "info"}}, opts=inside)
export("settings", settings.metadata["name"])
"""
ROLE = "/apis/rbac.authorization.k8s.io/v1/namespaces/program/roles/reader"
NAMESPACE = "/api/v1/namespaces/program"


def _program(eks: EksCluster, **more: str) -> str:
    given = {"labels": '{"team": "sre"}', "verbs": '["get"]', **more}
    return PROGRAM.format(kubeconfig=eks.kubeconfig, cluster=eks.name, **given)


@pytest.fixture
def world(eks_cluster: EksCluster, cluster: Cluster, tmp_path: Path) -> Iterator[World]:
    command = EmbeddedCommand(
        eks_cluster.home, environment={**os.environ, **eks_cluster.environment}
    )
    world = World(tmp_path / "program", "objects", _program(eks_cluster), command)
    world.done("stack", "init", "dev")
    yield world
    world.run("destroy")
    world.run("stack", "rm", "dev", "--yes", "--force")


def test_a_programs_objects_stand_up_heal_lose_fields_survive_a_kill_and_go(
    world: World, eks_cluster: EksCluster, cluster: Cluster
) -> None:
    planned = world.done("preview")
    assert planned.counts["create"] == 6
    assert not cluster.is_there(NAMESPACE), "a preview makes nothing"
    made = world.done("up")
    assert made.counts == {"create": 6}
    assert not any("recorded" in said for said in made.messages("info"))
    assert set(world.done("preview", "--refresh").counts) == {"same"}
    assert "open sesame" not in str(world.resources())
    assert world.inputs("token")["stringData"] == {"token": "open sesame"}
    name = world.resource("settings")["outputs"]["metadata"]["name"]
    assert cluster.get(f"{NAMESPACE}/configmaps/{name}")["data"] == {"LOG_LEVEL": "info"}

    cluster.edit(ROLE, {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]})
    cluster.request("DELETE", f"{NAMESPACE}/configmaps/{name}")
    assert world.done("refresh").counts == {"same": 4, "update": 1, "delete": 1}
    assert world.done("up").counts == {"same": 4, "update": 1, "create": 1}
    assert cluster.get(ROLE)["rules"][0]["verbs"] == ["get"]

    server = eks_cluster.server()
    for pid in clusters._processes(Path(server.directory)).values():
        os.kill(pid, signal.SIGKILL)
    world.write(_program(eks_cluster, labels="{}", verbs='["get", "list"]'))
    assert world.done("up").counts["update"] == 2
    after = Cluster(eks_cluster.server())
    assert after.get(ROLE)["rules"][0]["verbs"] == ["get", "list"]
    assert "team" not in after.get(NAMESPACE)["metadata"]["labels"]
    assert set(world.done("preview", "--refresh").counts) == {"same"}

    assert world.done("destroy").counts == {"delete": 6}
    assert not after.is_there(NAMESPACE)


def test_an_import_takes_an_object_over_as_it_is(world: World, eks_cluster: EksCluster) -> None:
    now = Cluster(eks_cluster.server())
    made: dict[str, Any] = {"metadata": {"name": "by-hand"}, "data": {"key": "value"}}
    now.create("/api/v1/namespaces/default/configmaps", made)
    world.write(
        "from pulumi import ResourceOptions\n"
        "from pulumi_kubernetes.core.v1.ConfigMap import ConfigMap\n"
        "from pulumi_kubernetes.provider import Provider\n"
        f"cluster = Provider('cluster', kubeconfig={eks_cluster.kubeconfig!r})\n"
        "ConfigMap('taken', metadata={'name': 'by-hand', 'namespace': 'default'},"
        " data={'key': 'value'},"
        " opts=ResourceOptions(provider=cluster, import_='default/by-hand'))\n"
    )
    assert world.done("up").counts == {"create": 2, "import": 1}
    assert set(world.done("preview", "--refresh").counts) == {"same"}

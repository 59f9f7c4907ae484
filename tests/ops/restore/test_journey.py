"""The worst night, with the real program: an environment is lost and comes back from its backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import naming
from infra.sandbox import clusters, servers
from ops import kubernetes, sandbox
from ops.access import Access, load_settings
from ops.backup import cluster
from ops.backup.cluster import Manifest
from ops.restore import objects
from tests.ops.restore import world as worlds
from tests.ops.restore.world import SECRET, World

pytestmark = pytest.mark.sandbox

RESTORED = "mono-repo-dev-restored"
DECLARED: list[Manifest] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tools"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "flags", "namespace": "services"},
        "data": {"colour": "blue"},
    },
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "tools"},
        "data": {"password": "djNyeS1zM2NyZXQ="},
    },
]


@pytest.fixture
def world(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The project itself, in a sandbox with the bootstrap."""
    made = worlds.make(tmp_path, root / "__main__.py")
    monkeypatch.setenv(servers.HOME_VARIABLE, str(made.home))
    yield made
    servers.stop(made.home)


def test_an_environment_that_is_lost_comes_back_from_its_backup(world: World) -> None:
    world.run("up", "dev", "--yes", "--no-verify")
    world.run("params", "setup", "dev", "--yes")
    access = sandbox.access(world.project, load_settings(world.project, "dev"))
    with_cluster = clusters.programs() is not None
    if with_cluster:
        objects.apply_all(kubernetes.api_client(access), DECLARED)
    values = _operators(world, access)

    backup = world.backup()
    listed = world.report("backups", "list", "dev")["backups"][0]
    assert (listed["complete"], listed["databases"]) == (True, ["mono-repo-dev"])

    world.run("destroy", "dev", "--unprotect", "--yes")
    assert world.databases() == []
    # The key of what is left of the parameters goes with the environment: they are of no use.
    world.client("ssm").delete_parameters(Names=[name for name in values if name != SECRET][:10])

    restored = world.report("restore", "dev", "--from", backup, "--yes")
    assert {check["status"] for check in restored["checks"]} == {"ok", "warn"}
    assert world.databases() == [RESTORED]
    assert _operators(world, access) == values
    if with_cluster:
        found = cluster.objects(kubernetes.api_client(access))
        names = {objects.identity(item) for item in found}
        assert {objects.identity(item) for item in DECLARED} <= names
    world.say("identifier: mono-repo-dev", f"identifier: {RESTORED}")
    unchanged = world.report("preview", "dev", "--refresh", "--detailed-exitcode")
    assert {item["op"] for item in unchanged["resources"]} == {"same"}


def _operators(world: World, access: Access) -> dict[str, str]:
    """Give what operators own, with its values."""
    owned = {
        naming.parameter("dev", item.name)
        for item in access.settings.parameters.catalogue
        if item.owner == "operator"
    }
    return {name: value for name, value in world.parameters().items() if name in owned}

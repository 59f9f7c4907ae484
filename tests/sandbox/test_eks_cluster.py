"""A cluster in its network, run by the engine on the sandbox's cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import servers
from infra.sandbox.clusters import ASSETS_VARIABLE
from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.world import World
from tests.sandbox.engine.store_fakes import make_home
from tests.sandbox.listing import Account, difference

pytestmark = pytest.mark.sandbox

ACCOUNT = "111122223333"
REGION = "us-east-1"
NAME = "mono-repo-dev"
PROGRAM = Path(__file__).with_name("cluster_program.py")
NODES = "aws:eks/nodeGroup:NodeGroup::cluster-general"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A sandbox of its own: its cloud, and the clusters that are started in it."""
    made = make_home(tmp_path)
    servers.ensure_running(made, port=0)
    yield made
    servers.stop(made)


@pytest.fixture
def own_cloud(home: Path) -> servers.Cloud:
    """The cloud, which nothing else is in."""
    cloud = servers.status(home).cloud
    assert cloud is not None
    return cloud


@pytest.fixture
def account(own_cloud: servers.Cloud) -> Account:
    return Account(own_cloud, ACCOUNT, [REGION])


@pytest.fixture
def world(
    tmp_path: Path, root: Path, home: Path, own_cloud: servers.Cloud, program_python: str
) -> World:
    session = servers.assume(own_cloud, ACCOUNT, REGION)
    command = EmbeddedCommand(
        home,
        cloud_identity=own_cloud.identity,
        environment={
            **servers.environment(own_cloud, REGION, session),
            "PYTHONPATH": str(root),
        },
        python=Path(program_python),
    )
    made = World(tmp_path / "project", "clustered", PROGRAM.read_text(), command)
    made.done("stack", "init", "dev")
    return made


@pytest.fixture
def no_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record what goes into the cluster: these tests are about what is around it."""
    monkeypatch.setenv(ASSETS_VARIABLE, "")


def _changes(world: World) -> dict[str, str]:
    """What a preview after a refresh would do, resource to operation."""
    ops = world.done("preview", "--refresh").ops
    return {resource: op for resource, op in ops if op not in {"same", "refresh", "read"}}


def _outputs(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.done("stack", "output", "--json").out)
    return found


def test_a_cluster_stands_up_stays_as_it_is_heals_and_leaves_nothing(
    world: World, account: Account
) -> None:
    before = account.listing()
    world.done("up")
    assert _changes(world) == {}

    eks, scaling = account.client("eks"), account.client("autoscaling")
    group = _outputs(world)["autoscaling_group_names"]["general"]
    (nodes,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (nodes["AutoScalingGroupName"], len(nodes["Instances"])) == (group, 1)

    scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=3)
    assert _changes(world) == {}, "how many nodes there are is the autoscaler's business"

    eks.update_addon(clusterName=NAME, addonName="vpc-cni", addonVersion="v1.0.0-eksbuild.1")
    (found,) = eks.list_nodegroups(clusterName=NAME)["nodegroups"]
    eks.update_nodegroup_config(
        clusterName=NAME, nodegroupName=found, updateConfig={"maxUnavailable": 2}
    )
    eks.update_cluster_config(name=NAME, resourcesVpcConfig={"endpointPublicAccess": True})
    assert _changes(world) == {
        "aws:eks/addon:Addon::cluster-vpc-cni": "update",
        "aws:eks/cluster:Cluster::cluster-eksCluster": "update",
        NODES: "update",
    }
    world.done("up", "--refresh")
    assert _changes(world) == {}
    assert len(scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]) == 3

    _assert_what_others_stand_on_goes_last([name for name, _ in world.done("destroy").ops])
    assert difference(before, account.listing()) == {}
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def _assert_what_others_stand_on_goes_last(gone: list[str]) -> None:
    cluster = gone.index("aws:eks/cluster:Cluster::cluster-eksCluster")
    assert gone.index(NODES) < gone.index("aws:eks/addon:Addon::cluster-vpc-cni") < cluster
    groups = [name for name in gone if name.startswith("aws:cloudwatch/logGroup:LogGroup::cluster")]
    assert len(groups) == 5
    assert all(cluster < gone.index(group) for group in groups)
    grants = [name for name in gone if "rolePolicyAttachment" in name]
    assert all(gone.index(NODES) < gone.index(grant) for grant in grants)


@pytest.mark.usefixtures("no_api_server")
def test_another_disk_is_another_template_for_the_same_group_and_other_machines_are_another_group(
    world: World, account: Account
) -> None:
    world.done("up")
    eks = account.client("eks")
    (first,) = eks.list_nodegroups(clusterName=NAME)["nodegroups"]

    world.done("config", "set", "disk", "80")
    assert world.done("up").ops_of("cluster-general")[-2:] == ["update", "update"]
    group = eks.describe_nodegroup(clusterName=NAME, nodegroupName=first)["nodegroup"]
    assert group["launchTemplate"]["version"] == "2"

    world.done("config", "set", "--path", "instances[0]", "m7g.large")
    changed = [op for resource, op in world.done("up").ops if resource == NODES]
    assert changed == ["create-replacement", "replace", "delete-replaced"]
    (second,) = eks.list_nodegroups(clusterName=NAME)["nodegroups"]
    assert second != first


@pytest.mark.usefixtures("no_api_server")
def test_a_new_kubernetes_version_reaches_the_control_plane_before_the_nodes(
    world: World, account: Account
) -> None:
    world.done("up")
    world.done("config", "set", "version", "1.36")
    ops = [resource for resource, op in world.done("up").ops if op == "update"]
    assert ops.index("aws:eks/cluster:Cluster::cluster-eksCluster") < ops.index(NODES)
    eks = account.client("eks")
    (name,) = eks.list_nodegroups(clusterName=NAME)["nodegroups"]
    assert eks.describe_nodegroup(clusterName=NAME, nodegroupName=name)["nodegroup"]["version"] == (
        "1.36"
    )
    assert _changes(world) == {}

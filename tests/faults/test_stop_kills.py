"""A stop and a start in which things go wrong: nothing is lost, and the next run converges."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from ops.errors import ExitCode
from tests.faults import stoppable
from tests.faults.running import Ended
from tests.faults.stoppable import ACCOUNT, ALARMS, DATABASE, ENV, SIZES, World

pytestmark = pytest.mark.faults

STOP, START = ("stop", ENV, "--yes"), ("start", ENV, "--yes")
DELETING = ("Delete", "Terminate", "Remove", "Deregister", "Release", "Purge")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The environment that all of these tests stop and start."""
    folder = tmp_path_factory.mktemp("stoppable")
    yield stoppable.make(folder)
    servers.stop(folder / "sandbox")


@pytest.fixture
def world(made: World) -> World:
    """The environment, running."""
    made.assert_running()
    return made


@pytest.fixture
def stopped(world: World) -> World:
    """The environment, stopped."""
    ended = world.ops(*STOP)
    assert ended.code == ExitCode.OK, ended.err
    return world


def _planned(world: World, *command: str) -> list[str]:
    """Give the ids of the steps of a command, in their order."""
    plan = world.ops(*command, "--dry-run", "--json")
    assert plan.code == ExitCode.OK, plan.err
    return [step["id"] for step in plan.report["plan"]["steps"]]


def _resumed_through_kills(world: World, *command: str) -> None:
    """Kill a command before and after each of its steps; resume it each time."""
    moments = [(kind, step) for step in _planned(world, *command) for kind in ("intent", "result")]
    world.killed(*command, kill=moments[0])
    run = world.runs()[-1]
    for moment in moments[1:]:
        world.killed("resume", run, "--yes", kill=moment)
    ended = world.ops("resume", run, "--yes", "--json")
    assert ended.code == ExitCode.OK, ended.err
    assert {step["outcome"] for step in ended.report["steps"]} == {"done"}


def _started(world: World) -> Ended:
    ended = world.ops(*START, "--json")
    assert ended.code == ExitCode.OK, ended.out + ended.err
    world.assert_running()
    return ended


def test_a_stop_and_a_start_that_are_killed_around_every_step_are_resumed_to_their_end(
    world: World,
) -> None:
    _resumed_through_kills(world, *STOP)
    world.assert_stopped()
    world.assert_agreed()
    _resumed_through_kills(world, *START)
    world.assert_running()
    world.assert_agreed()


@pytest.mark.parametrize(
    "moment",
    [
        ("intent", "record"),
        ("result", "stop:nodes:mono-repo-dev/general"),
        ("intent", "settle:instances:1"),
        ("intent", "refresh"),
    ],
)
def test_after_a_kill_the_same_stop_again_keeps_the_sizes_from_before(
    moment: tuple[str, str], world: World
) -> None:
    world.killed(*STOP, kill=moment)
    again = world.ops(*STOP)
    assert again.code == ExitCode.OK, again.err
    world.assert_stopped()
    world.assert_agreed()
    _started(world)


def test_a_start_after_a_stop_that_was_killed_before_it_wrote_the_record_knows_the_sizes(
    world: World,
) -> None:
    # The record is the first step: only its journal knows what this stop would have written.
    world.killed(*STOP, kill=("intent", "record"))
    assert world.record() is None
    eks = world.client("eks")
    none = {"minSize": 0, "desiredSize": 0}
    eks.update_nodegroup_config(
        clusterName="mono-repo-dev", nodegroupName="general", scalingConfig=none
    )
    _started(world)


def test_a_killed_start_can_be_run_again(stopped: World) -> None:
    stopped.killed(*START, kill=("result", "start:database:mono-repo-dev"))
    stopped.assert_recorded()
    _started(stopped)
    stopped.assert_agreed()


def test_a_start_killed_before_its_refresh_is_made_good_by_another(stopped: World) -> None:
    stopped.killed(*START, kill=("intent", "refresh"))
    assert stopped.record() is None
    _started(stopped)
    stopped.assert_agreed()
    again = stopped.ops(*START, "--json")
    assert (again.code, again.report["result"]) == (ExitCode.OK, "nothing to do")


@pytest.mark.parametrize("fault", ["throttled", "broken"])
def test_with_three_of_ten_calls_failing_a_stop_and_a_start_succeed(
    fault: str, world: World
) -> None:
    share = {fault: 0.3}
    ended = world.ops(*STOP, **share)
    assert ended.code == ExitCode.OK, ended.err
    world.assert_stopped()
    ended = world.ops(*START, **share)
    assert ended.code == ExitCode.OK, ended.err
    world.assert_running()


@pytest.mark.parametrize(
    "api",
    [
        "eks:ListClusters",
        "eks:DescribeNodegroup",
        "ec2:DescribeInstances",
        "rds:DescribeDBInstances",
        "cloudwatch:DescribeAlarms",
        "events:DescribeRule",
        "ssm:GetParametersByPath",
    ],
)
def test_a_denied_listing_stops_the_plan_before_anything_is_changed(api: str, world: World) -> None:
    ended = world.ops(*STOP, denied=[api])
    assert ended.code == ExitCode.INCOMPLETE, ended.err
    assert "Nothing was changed" in ended.err
    world.assert_running()


def test_credentials_that_end_in_the_middle_are_said_and_the_run_goes_on_with_new_ones(
    world: World,
) -> None:
    expiring = ["eks:UpdateNodegroupConfig", "rds:StopDBInstance"]
    ended = world.ops(*STOP, "--json", expires=2, expiring=expiring)
    assert ended.code == ExitCode.NOT_AUTHENTICATED, ended.err
    run = ended.report["run"]
    # Whether the record was written by then is chance: the journal knows what belongs in it.
    resumed = world.ops("resume", run, "--yes")
    assert resumed.code == ExitCode.OK, resumed.err
    world.assert_stopped()

    ended = world.ops(*START, "--json", expires=0, expiring=["rds:StartDBInstance"])
    assert ended.code == ExitCode.NOT_AUTHENTICATED, ended.err
    world.assert_recorded()
    resumed = world.ops("resume", ended.report["run"], "--yes")
    assert resumed.code == ExitCode.OK, resumed.err
    world.assert_running()


def test_credentials_that_end_while_planning_are_said_as_such(world: World) -> None:
    ended = world.ops(*STOP, expired=["eks:*"])
    assert ended.code == ExitCode.NOT_AUTHENTICATED, ended.err
    world.assert_running()


def _hold(world: World, model: str, times: int) -> None:
    """Let things of a kind stay in a transition for so many looks."""
    import urllib.request

    cloud = servers.status(world.home).cloud
    assert cloud is not None
    body = {"model_name": model, "transition": {"progression": "manual", "times": times}}
    request = urllib.request.Request(
        f"{cloud.endpoint}/moto-api/state-manager/set-transition",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status in (200, 201)


def test_a_database_stuck_in_a_transition_meets_the_deadline_and_everything_else_is_stopped(
    world: World,
) -> None:
    rds = world.client("rds")
    rds.stop_db_instance(DBInstanceIdentifier=DATABASE)
    while world.database_statuses() != {"stopped"}:
        pass
    _hold(world, "rds::db-instance", 10_000)
    try:
        rds.start_db_instance(DBInstanceIdentifier=DATABASE)
        ended = world.ops(*STOP, "--wait", "0.01", "--json")
    finally:
        _hold(world, "rds::db-instance", 1)
    assert ended.code == ExitCode.DEADLINE, ended.err
    failed = {step["step"] for step in ended.report["steps"] if step["outcome"] == "failed"}
    assert failed == {f"settle:database:{DATABASE}"}
    assert {(low, now) for low, now, _ in world.sizes().values()} == {(0, 0)}
    assert world.instance_states(world.instances) == {"stopped"}
    world.assert_recorded()
    resumed = world.ops("resume", ended.report["run"], "--yes")
    assert resumed.code == ExitCode.OK, resumed.err
    world.assert_stopped()
    _started(world)


def test_nodes_go_while_eks_takes_no_change_and_eks_has_its_sizes_when_it_does(
    world: World,
) -> None:
    eks = world.client("eks")
    _hold(world, "eks::nodegroup", 10_000)
    try:
        eks.update_nodegroup_version(clusterName="mono-repo-dev", nodegroupName="general")
        ended = world.ops(*STOP, "--wait", "0.02", "--json")
        assert ended.code == ExitCode.DEADLINE, ended.err
        said = {step["step"]: step["message"] for step in ended.report["steps"]}
        assert "asked again, busy" in said["settle:nodes:mono-repo-dev/general"]
        assert world.nodes() == 0
    finally:
        _hold(world, "eks::nodegroup", 1)
    resumed = world.ops("resume", ended.report["run"], "--yes")
    assert resumed.code == ExitCode.OK, resumed.err
    world.assert_stopped()
    _started(world)
    assert world.nodes() == sum(now for _, now, _ in SIZES.values())


def test_what_was_deleted_by_hand_is_named_and_holds_nothing_up(stopped: World) -> None:
    eks, ec2 = stopped.client("eks"), stopped.client("ec2")
    group = eks.describe_nodegroup(clusterName="mono-repo-dev-jobs", nodegroupName="jobs")
    eks.delete_nodegroup(clusterName="mono-repo-dev-jobs", nodegroupName="jobs")
    ec2.terminate_instances(InstanceIds=[stopped.instances.pop()])

    ended = stopped.ops(*START, "--json")

    assert ended.code == ExitCode.OK, ended.err
    warned = {check["name"] for check in ended.report["checks"] if check["status"] == "warn"}
    assert warned == {"node group mono-repo-dev-jobs/jobs", "instances"}
    assert stopped.record() is None
    assert stopped.instance_states(stopped.instances) == {"running"}
    _make_again(stopped, group["nodegroup"])


def _make_again(world: World, group: dict[str, Any]) -> None:
    """Put back what the test has taken away."""
    low, now, most = SIZES[group["clusterName"], group["nodegroupName"]]
    world.client("eks").create_nodegroup(
        clusterName=group["clusterName"],
        nodegroupName=group["nodegroupName"],
        nodeRole=group["nodeRole"],
        subnets=group["subnets"],
        scalingConfig={"minSize": low, "desiredSize": now, "maxSize": most},
    )


def test_a_second_operator_is_refused_while_the_first_is_at_work(world: World) -> None:
    _hold(world, "ec2::instance", 200)
    first = world.start(*STOP, plan={})
    try:
        _await_lock(world)
        second = world.ops(*STOP)
    finally:
        _hold(world, "ec2::instance", 1)
        out, err = first.communicate(timeout=120)
    assert second.code == ExitCode.REFUSED, second.err
    assert "stop" in second.err
    assert "ops lock status dev" in second.err
    assert first.returncode == ExitCode.OK, out + err
    world.assert_stopped()
    _started(world)


def _await_lock(world: World) -> None:
    table = naming.lock_table(ENV)
    deadline = time.monotonic() + 60
    while not world.client("dynamodb").scan(TableName=table)["Items"]:
        assert time.monotonic() < deadline


def test_a_stop_is_refused_while_a_bare_pulumi_update_runs_and_says_how_to_break_in(
    world: World,
) -> None:
    with Backend(world.home, version="").lock(StackReference("mono-repo", ENV), "up"):
        ended = world.ops(*STOP)
    assert ended.code == ExitCode.REFUSED, ended.err
    assert f"pulumi cancel -s {ENV}" in ended.err
    world.assert_running()


@pytest.mark.parametrize("command", [STOP, START])
def test_a_bare_pulumi_update_that_begins_in_the_middle_is_told_and_the_run_converges(
    command: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue("world" if command == STOP else "stopped")
    _hold(world, "ec2::instance", 10_000)
    run = world.start(*command, "--json", plan={})
    try:
        _await_state(world, "stopping" if command == STOP else "pending")
        with Backend(world.home, version="").lock(StackReference("mono-repo", ENV), "up"):
            _hold(world, "ec2::instance", 1)
            out, err = run.communicate(timeout=120)
    finally:
        _hold(world, "ec2::instance", 1)
    assert run.returncode == ExitCode.PARTIAL, err
    left = [step for step in json.loads(out)["steps"] if step["outcome"] != "done"]
    assert [step["step"] for step in left] == ["refresh"]
    assert "is locked by another update" in left[0]["message"]
    assert f"process {os.getpid()}" in left[0]["message"].replace("pid", "process")
    _converges(world, json.loads(out)["run"], command)


def _await_state(world: World, state: str) -> None:
    deadline = time.monotonic() + 60
    while state not in world.instance_states(world.instances):
        assert time.monotonic() < deadline


def _converges(world: World, run: str, command: tuple[str, ...]) -> None:
    resumed = world.ops("resume", run, "--yes")
    assert resumed.code == ExitCode.OK, resumed.err
    if command == STOP:
        world.assert_stopped()
        world.assert_agreed()
        _started(world)
    world.assert_running()
    world.assert_agreed()


@pytest.mark.parametrize("command", [STOP, START])
def test_a_run_that_has_only_its_refresh_left_waits_for_who_has_begun_a_bare_pulumi_update(
    command: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue("world" if command == STOP else "stopped")
    world.killed(*command, kill=("intent", "refresh"))
    run = world.runs()[-1]
    with Backend(world.home, version="").lock(StackReference("mono-repo", ENV), "up"):
        refused = world.ops("resume", run, "--yes")
    assert refused.code == ExitCode.REFUSED, refused.err
    assert f"process {os.getpid()}" in refused.err
    _converges(world, run, command)


def test_a_stop_calls_nothing_that_deletes(world: World, tmp_path: Path) -> None:
    seen = tmp_path / "asked"
    ended = world.ops(*STOP, watch=str(seen))
    assert ended.code == ExitCode.OK, ended.err
    asked = {line.partition(":")[2] for line in seen.read_text().splitlines()}
    assert {"UpdateNodegroupConfig", "StopInstances", "StopDBInstance"} <= asked
    deleting = {action for action in asked if action.startswith(DELETING)}
    assert deleting == {"DeleteItem"}, "the lock's own item, and nothing else"
    assert world.telling().isdisjoint(ALARMS)
    assert ACCOUNT in json.dumps(world.ops("runs", "list", ENV, "--json").report)
    _started(world)

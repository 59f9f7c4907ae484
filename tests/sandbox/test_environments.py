"""Each committed environment, from nothing to nothing, as its operator would run it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept
from ops import start, stop
from ops.__main__ import run
from ops.errors import ExitCode
from tests.sandbox.listing import Account, difference

pytestmark = pytest.mark.sandbox

ACCOUNTS = {"dev": "111122223333", "uat": "444455556666", "prod": "777788889999"}
REGIONS = ("us-east-1", "us-west-2")
STACKS = ("account", "bootstrap", "environment")
"""In the order in which they need each other."""

Ops = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A sandbox with a cloud of its own."""
    folder = tmp_path / "sandbox"
    monkeypatch.setenv(servers.HOME_VARIABLE, str(folder))
    servers.ensure_running(folder, port=0)
    yield folder
    servers.stop(folder)


@pytest.fixture
def ops(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ops:
    """Runs a command line on the real project; gives its report, and checks its exit code."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for command in (start, stop):  # the sandbox's cloud takes no time
        monkeypatch.setattr(command, "INTERVAL_SECONDS", 0.05)

    def call(*arguments: str, code: ExitCode = ExitCode.OK) -> dict[str, Any]:
        capsys.readouterr()
        ended = run(("--sandbox", *arguments, "--json"))
        captured = capsys.readouterr()
        assert ended == code, captured.out[-4000:] + captured.err[-4000:]
        report: dict[str, Any] = json.loads(captured.out)
        return report

    return call


def _account(home: Path, environment: str) -> Account:
    cloud = servers.status(home).cloud
    assert cloud is not None
    return Account(cloud, ACCOUNTS[environment], REGIONS)


@pytest.mark.parametrize("environment", ACCOUNTS)
def test_an_environment_stands_up_stays_as_it_is_heals_and_leaves_nothing(
    environment: str, ops: Ops, home: Path
) -> None:
    account = _account(home, environment)
    before = account.listing()

    for stack in STACKS:
        made = ops("up", environment, "--stack", stack, "--yes")
        assert made["verification"]["differing"] == []
        assert _operations(made) == {"create"}
    operators = _set_up_parameters(ops, environment, account)

    for stack in STACKS:
        for refresh in ((), ("--refresh",)):
            preview = ("preview", environment, "--stack", stack, "--detailed-exitcode", *refresh)
            assert _operations(ops(*preview)) == {"same"}, "a second preview shows no change"

    _edits_out_of_band_are_found_and_healed(ops, environment, account)
    _edits_of_the_cluster_and_the_database_are_found_and_healed(ops, environment, account)
    _a_loss_in_the_bootstrap_is_found_and_healed(ops, environment, account)
    _what_the_autoscaler_decides_is_no_change(ops, environment, account)
    _stopped_and_started_it_agrees_with_every_preview(ops, environment, account)

    refused = ops("destroy", environment, "--yes", code=ExitCode.ERROR)
    assert any("because it is protected" in said["message"] for said in refused["diagnostics"])
    for stack in reversed(STACKS):
        gone = ops("destroy", environment, "--stack", stack, "--yes", "--unprotect")
        assert _operations(gone) == {"delete"}
        assert _resources(home, environment, stack) == ()

    left = difference(before, account.listing())
    (snapshot,) = left.pop("database snapshot")
    assert snapshot.startswith(f"mono-repo-{environment}-snapshot-")
    assert left == {"parameter": sorted(operators)}, "what operators own is theirs to delete"
    account.client("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot)
    account.client("ssm").delete_parameters(Names=sorted(operators))
    assert difference(before, account.listing()) == {}


def _set_up_parameters(ops: Ops, environment: str, account: Account) -> set[str]:
    """Make the operators' parameters; give their names, and see that a second run makes none."""
    made = ops("params", "setup", environment, "--yes")
    names = {result["name"] for result in made["results"] if result["outcome"] == "created"}
    listed = account.client("ssm").get_paginator("get_parameters_by_path")
    pages = listed.paginate(Path=naming.parameter_path(environment), Recursive=True)
    there = {item["Name"]: item for page in pages for item in page["Parameters"]}
    assert names
    assert names <= there.keys()
    assert {item["Type"] for item in there.values() if item["Name"] not in names} == {"String"}
    again = ops("params", "setup", environment, "--yes")
    assert not [result for result in again["results"] if result["outcome"] == "created"]
    return names


def _stopped_and_started_it_agrees_with_every_preview(
    ops: Ops, environment: str, account: Account
) -> None:
    seen = ("preview", environment, "--refresh", "--detailed-exitcode")
    before = _sizes(account, environment)
    ops("stop", environment, "--reason", "rehearsal", "--yes")
    assert {(low, now) for low, now, _ in _sizes(account, environment).values()} == {(0, 0)}
    assert _operations(ops(*seen)) == {"same"}
    again = ops("stop", environment, "--yes")
    assert again["result"] == "nothing to do"
    ops("start", environment, "--yes")
    assert _sizes(account, environment) == before
    assert _operations(ops(*seen)) == {"same"}


def _sizes(account: Account, environment: str) -> dict[str, tuple[int, int, int]]:
    """Give the sizes of the node groups: least, wanted and most nodes."""
    eks, cluster = account.client("eks"), naming.cluster(environment)
    found = {}
    for name in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
        group = eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
        size = group["scalingConfig"]
        found[name] = (size["minSize"], size["desiredSize"], size["maxSize"])
    return found


def _edits_out_of_band_are_found_and_healed(ops: Ops, environment: str, account: Account) -> None:
    ec2, logs = account.client("ec2"), account.client("logs")
    is_ours = [{"Name": "tag:environment", "Values": [environment]}]
    (vpc,) = ec2.describe_vpcs(Filters=is_ours)["Vpcs"]
    name = next(tag["Value"] for tag in vpc["Tags"] if tag["Key"] == "Name")
    edited = [{"Key": "Name", "Value": "edited by hand"}]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=edited)
    access_log = naming.parameter_log_group(environment)
    logs.delete_log_group(logGroupName=access_log)

    found = ops("refresh", environment, "--yes", "--detailed-exitcode", code=ExitCode.FINDINGS)
    changed = {item["type"]: item for item in found["resources"] if item["op"] == "update"}
    assert set(changed) == {"aws:ec2/vpc:Vpc"}
    properties = {item["path"]: item for item in changed["aws:ec2/vpc:Vpc"]["changes"]}
    assert properties["tags.Name"]["old"] == name
    assert properties["tags.Name"]["new"] == "edited by hand"
    gone = {item["type"] for item in found["resources"] if item["op"] == "delete"}
    assert "aws:cloudwatch/logGroup:LogGroup" in gone
    now = ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Tags"]
    assert edited[0] in now, "a refresh changes nothing in the cloud"

    ops("up", environment, "--yes")
    healed = ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Tags"]
    assert {"Key": "Name", "Value": name} in healed
    found_again = logs.describe_log_groups(logGroupNamePrefix=access_log)["logGroups"]
    assert [group["logGroupName"] for group in found_again] == [access_log]
    again = ops("preview", environment, "--refresh", "--detailed-exitcode")
    assert _operations(again) == {"same"}


def _edits_of_the_cluster_and_the_database_are_found_and_healed(
    ops: Ops, environment: str, account: Account
) -> None:
    eks, rds = account.client("eks"), account.client("rds")
    cluster, database = naming.cluster(environment), f"mono-repo-{environment}"
    eks.update_addon(clusterName=cluster, addonName="coredns", addonVersion="v1.0.0-eksbuild.1")
    rds.modify_db_instance(DBInstanceIdentifier=database, BackupRetentionPeriod=1)

    found = ops("preview", environment, "--refresh", "--detailed-exitcode", code=ExitCode.FINDINGS)
    changed = {
        item["name"]: {change["path"] for change in item["changes"]}
        for item in found["resources"]
        if item["op"] != "same"
    }
    assert changed == {
        "cluster-coredns": {"addonVersion"},
        "databases-main": {"backupRetentionPeriod"},
    }

    ops("up", environment, "--refresh", "--yes")
    assert eks.describe_addon(clusterName=cluster, addonName="coredns")["addon"][
        "addonVersion"
    ].startswith("v1.1")
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier=database)["DBInstances"]
    assert instance["BackupRetentionPeriod"] > 1
    again = ops("preview", environment, "--refresh", "--detailed-exitcode")
    assert _operations(again) == {"same"}


def _what_the_autoscaler_decides_is_no_change(ops: Ops, environment: str, account: Account) -> None:
    eks, cluster = account.client("eks"), naming.cluster(environment)
    for group in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
        sizes = eks.describe_nodegroup(clusterName=cluster, nodegroupName=group)["nodegroup"]
        grown = {"desiredSize": sizes["scalingConfig"]["maxSize"]}
        eks.update_nodegroup_config(clusterName=cluster, nodegroupName=group, scalingConfig=grown)
    again = ops("preview", environment, "--refresh", "--detailed-exitcode")
    assert _operations(again) == {"same"}


def _a_loss_in_the_bootstrap_is_found_and_healed(
    ops: Ops, environment: str, account: Account
) -> None:
    on_bootstrap = (environment, "--stack", "bootstrap")
    account.client("ecr").delete_repository(
        repositoryName=naming.repositories(environment)["airflow"]
    )
    found = ops("refresh", *on_bootstrap, "--yes", "--detailed-exitcode", code=ExitCode.FINDINGS)
    gone = {item["name"] for item in found["resources"] if item["op"] == "delete"}
    assert gone == {"bootstrap-airflow"}
    ops("up", *on_bootstrap, "--yes")
    assert _operations(ops("preview", *on_bootstrap, "--detailed-exitcode")) == {"same"}


def _operations(report: dict[str, Any]) -> set[str]:
    return {item["op"] for item in report["resources"]}


def _resources(home: Path, environment: str, stack: str) -> tuple[object, ...]:
    project, name = {
        "account": (naming.ACCOUNT_PROJECT, ACCOUNTS[environment]),
        "bootstrap": (naming.BOOTSTRAP_PROJECT, environment),
        "environment": (naming.PROJECT, environment),
    }[stack]
    state = Backend(home, version="").open(StackReference(project, name))
    snapshot = state.snapshot(Kept())
    return (*snapshot.resources, *snapshot.pending_operations)

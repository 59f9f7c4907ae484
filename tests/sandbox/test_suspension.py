"""A stop as the program sees it: the calls and the record first, then no run shows a change."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from infra import naming
from infra.sandbox import servers
from infra.sandbox.cloud import fixes_rds_states
from infra.suspension import Sizes, Suspension, page_names, parameters
from ops.__main__ import run
from ops.errors import ExitCode
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox

ENV = "dev"
ACCOUNT_ID = "111122223333"
NIGHT = dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)
CHANGED_BY_A_STOP = (
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:eks/nodeGroup:NodeGroup",
    "aws:rds/instance:Instance",
)
"""What a stop refreshes: the state says of each how it was."""

LOOKS = 8

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

    def call(*arguments: str, code: ExitCode = ExitCode.OK) -> dict[str, Any]:
        capsys.readouterr()
        ended = run(("--sandbox", *arguments, "--json"))
        captured = capsys.readouterr()
        assert ended == code, captured.out[-4000:] + captured.err[-4000:]
        report: dict[str, Any] = json.loads(captured.out)
        return report

    return call


@pytest.fixture
def account(home: Path) -> Account:
    """The environment's account."""
    cloud = servers.status(home).cloud
    assert cloud is not None
    return Account(cloud, ACCOUNT_ID, ("us-east-1",))


def test_a_stopped_environment_shows_no_change_nor_does_one_that_was_started_again(
    ops: Ops, home: Path, account: Account
) -> None:
    for stack in ("bootstrap", "environment"):
        made = ops("up", ENV, "--stack", stack, "--yes")
    urns = [item["urn"] for item in made["resources"] if item["type"] in CHANGED_BY_A_STOP]
    targets = [word for urn in urns for word in ("--target", urn)]

    sizes = _stop(account)
    unaware = ops("preview", ENV, "--detailed-exitcode", code=ExitCode.FINDINGS)
    assert {item["type"] for item in unaware["resources"] if item["op"] == "update"} == {
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:eks/nodeGroup:NodeGroup",
    }, "what is only in the record is not in the state yet"
    ops("up", ENV, "--yes")
    assert _desired(account) == dict.fromkeys(sizes, 0), "an update gives no node back"

    _a_week_passes(home)
    assert "starting" in (became := [_database(account) for _ in range(LOOKS)])
    assert became[-1] == "stopped", "what AWS starts after a week is stopped again"

    ops("refresh", ENV, "--yes", *targets)
    for refresh in ((), ("--refresh",)):
        stopped = ops("preview", ENV, "--detailed-exitcode", *refresh)
        assert {item["op"] for item in stopped["resources"]} == {"same"}
        assert "dev is suspended since 2026-11-24 02:00 UTC" in _said(stopped)

    _start(account, sizes)
    ops("refresh", ENV, "--yes", *targets)
    for refresh in ((), ("--refresh",)):
        started = ops("preview", ENV, "--detailed-exitcode", *refresh)
        assert {item["op"] for item in started["resources"]} == {"same"}
    assert "is suspended" not in _said(started)

    name = naming.suspension_parameter(ENV)
    account.client("ssm").put_parameter(Name=name, Value="{", Type="String")
    refused = ops("preview", ENV, code=ExitCode.ERROR)
    assert f"The record of dev's suspension, parameter {name}, is not usable" in _said(refused)


def _a_week_passes(home: Path) -> None:
    cloud = servers.status(home).cloud
    assert cloud is not None
    which = {"account": ACCOUNT_ID, "region": "us-east-1", "instance": f"mono-repo-{ENV}"}
    answer = urllib3.request("POST", cloud.endpoint + fixes_rds_states.RESTART_PATH, json=which)
    assert answer.status == 200, answer.data


def _stop(account: Account) -> dict[str, Sizes]:
    """Do what a stop does; give what ran before."""
    eks, rds, ssm = account.client("eks"), account.client("rds"), account.client("ssm")
    cluster, sizes = naming.cluster(ENV), {}
    for group in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
        made = eks.describe_nodegroup(clusterName=cluster, nodegroupName=group)["nodegroup"]
        config = made["scalingConfig"]
        sizes[group] = Sizes(
            min=config["minSize"], desired=config["desiredSize"], max=config["maxSize"]
        )
        _scale(account, group, Sizes(min=0, desired=0, max=config["maxSize"]))
    rds.stop_db_instance(DBInstanceIdentifier=f"mono-repo-{ENV}")
    _settled(lambda: _database(account), "stopped")
    account.client("events").enable_rule(Name=naming.database_restop(ENV))
    account.client("cloudwatch").disable_alarm_actions(AlarmNames=_silenced(account))
    record = Suspension(
        run="20261124-020000-stop-dev-0a1b",
        actor=f"arn:aws:iam::{ACCOUNT_ID}:user/mono-repo-dev-jane-doe",
        reason="costs",
        since=NIGHT,
        node_groups={cluster: sizes},
        databases=(f"mono-repo-{ENV}",),
    )
    for name, value in parameters(ENV, record).items():
        ssm.put_parameter(Name=name, Value=value, Type="String")
    return sizes


def _start(account: Account, sizes: dict[str, Sizes]) -> None:
    """Do what a start does."""
    rds, ssm = account.client("rds"), account.client("ssm")
    account.client("events").disable_rule(Name=naming.database_restop(ENV))
    for group, before in sizes.items():
        _scale(account, group, before)
    rds.start_db_instance(DBInstanceIdentifier=f"mono-repo-{ENV}")
    _settled(lambda: _database(account), "available")
    account.client("cloudwatch").enable_alarm_actions(AlarmNames=_silenced(account))
    path = naming.parameter_path(ENV, naming.OPS_APP)
    found = ssm.get_parameters_by_path(Path=path, Recursive=True)["Parameters"]
    for name in page_names(ENV, {item["Name"]: "" for item in found}):
        ssm.delete_parameter(Name=name)


def _scale(account: Account, group: str, sizes: Sizes) -> None:
    eks, names = account.client("eks"), {"clusterName": naming.cluster(ENV), "nodegroupName": group}
    config = {"minSize": sizes.min, "desiredSize": sizes.desired, "maxSize": sizes.max}
    eks.update_nodegroup_config(**names, scalingConfig=config)
    _settled(lambda: str(eks.describe_nodegroup(**names)["nodegroup"]["status"]), "ACTIVE")


def _settled(look: Callable[[], str], status: str) -> None:
    """Look until it is so: the sandbox goes on by being looked at."""
    seen = [look() for _ in range(LOOKS)]
    assert seen[-1] == status, seen


def _database(account: Account) -> str:
    found = account.client("rds").describe_db_instances(DBInstanceIdentifier=f"mono-repo-{ENV}")
    return str(found["DBInstances"][0]["DBInstanceStatus"])


def _silenced(account: Account) -> list[str]:
    pages = account.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=naming.silenced_alarms(ENV))
    return [alarm["AlarmName"] for page in found for alarm in page["MetricAlarms"]]


def _desired(account: Account) -> dict[str, int]:
    eks, cluster = account.client("eks"), naming.cluster(ENV)
    return {
        group: eks.describe_nodegroup(clusterName=cluster, nodegroupName=group)["nodegroup"][
            "scalingConfig"
        ]["desiredSize"]
        for group in eks.list_nodegroups(clusterName=cluster)["nodegroups"]
    }


def _said(report: dict[str, Any]) -> str:
    return "\n".join(said["message"] for said in report["diagnostics"])

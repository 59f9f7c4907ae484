"""A suspended environment, as its program builds it: at rest, silent, and nothing else changed."""

import datetime as dt
import json
from functools import cache
from typing import Any

import pulumi
import pytest
import yaml

from infra import naming
from infra.program import main
from infra.suspension import Sizes, Suspension, parameters
from stacks.suspension import told
from tests.graph import Graph, record
from tests.stacks.programs import ENVIRONMENTS, ROOT, environment_graph, settings

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
NODES = "aws:eks/nodeGroup:NodeGroup"
RULE = "aws:cloudwatch/eventRule:EventRule"
SINCE = dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)


def suspension(until: dt.datetime | None = None) -> Suspension:
    return Suspension(
        run="20261124-020000-stop-dev-0a1b",
        actor="arn:aws:iam::111122223333:user/mono-repo/dev/people/mono-repo-dev-jane-doe",
        reason="costs",
        since=SINCE,
        until=until,
        node_groups={"mono-repo-dev": {"general": Sizes(min=2, desired=2, max=4)}},
        databases=("mono-repo-dev",),
    )


def run(env: str, stored: dict[str, str]) -> Graph:
    text = (ROOT / f"Pulumi.{env}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)["config"]["mono-repo:settings"]
    return record(
        main, stack=env, config={"mono-repo:settings": json.dumps(config)}, parameters=stored
    )


def inputs(graph: Graph) -> dict[str, Any]:
    return {urn: node.inputs for urn, node in graph.nodes.items()}


@pytest.fixture(params=ENVIRONMENTS)
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stopped(env: str) -> Graph:
    return stopped_graph(env)


@cache
def stopped_graph(env: str) -> Graph:
    return run(env, parameters(env, suspension()))


def test_node_groups_are_empty_and_may_grow_as_far_as_ever(env: str, stopped: Graph) -> None:
    expected = {
        group.name: {"minSize": 0, "desiredSize": 0, "maxSize": group.max_size}
        for group in settings(env).eks.node_groups
    }
    found = {
        node.inputs["labels"]["mono-repo/node-group"]: node.inputs["scalingConfig"]
        for node in stopped.resources(NODES)
    }
    assert found == expected


def test_an_update_of_a_stopped_environment_gives_no_nodes_back(env: str, stopped: Graph) -> None:
    for node in stopped.resources(NODES):
        assert node.ignore_changes == (), "a state from before the stop has the nodes"
    for node in environment_graph(env).resources(NODES):
        assert node.ignore_changes == ("scalingConfig.desiredSize",)


def test_only_the_alarms_that_a_stop_silences_are_silent(env: str, stopped: Graph) -> None:
    silent = {
        node.inputs["name"]
        for node in stopped.resources(ALARM)
        if node.inputs.get("actionsEnabled") is False
    }
    named = {
        node.inputs["name"]
        for node in stopped.resources(ALARM)
        if node.inputs.get("name", "").startswith(naming.silenced_alarms(env))
    }
    assert silent == named
    assert silent
    assert naming.database_restop_alarm(env) not in silent
    awake = environment_graph(env).resources(ALARM)
    assert not [node.name for node in awake if node.inputs.get("actionsEnabled") is False]


@pytest.mark.parametrize("env", ["dev", "uat"])
def test_the_rule_that_keeps_databases_stopped_is_enabled_while_suspended(env: str) -> None:
    stopped = stopped_graph(env)
    assert stopped.one(RULE, "restop").inputs["state"] == "ENABLED"
    assert stopped.one(RULE, "restop").inputs["name"] == naming.database_restop(env)
    assert environment_graph(env).one(RULE, "restop").inputs["state"] == "DISABLED"


def test_where_no_database_may_be_stopped_there_is_nothing_that_could() -> None:
    assert not any(database.stop_on_emergency for database in settings("prod").databases)
    assert "aws:sfn/stateMachine:StateMachine" not in {
        node.type for node in environment_graph("prod").resources()
    }


def test_nothing_else_differs_while_suspended(env: str, stopped: Graph) -> None:
    running = environment_graph(env)
    assert set(stopped.nodes) == set(running.nodes)
    differing = {
        node.type
        for urn, node in stopped.nodes.items()
        if node.inputs != running.nodes[urn].inputs and node.type != "pulumi:pulumi:Stack"
    }
    rule = {RULE} if running.resources("mono-repo:index:DatabaseRestop") else set()
    assert differing == {NODES, ALARM, *rule}


def test_the_end_that_was_meant_starts_nothing() -> None:
    long_past = suspension(until=SINCE - dt.timedelta(days=300))
    overdue = run("dev", parameters("dev", long_past))
    assert inputs(overdue) == inputs(stopped_graph("dev"))
    (warning,) = [said for said in overdue.warnings if "is suspended" in said]
    assert "until 2026-01-28 02:00 UTC" in warning
    assert "That is past." in warning


def test_every_run_says_who_stopped_it_and_how_to_start_it(stopped: Graph, env: str) -> None:
    (warning,) = [said for said in stopped.warnings if "is suspended" in said]
    assert warning == told(env, suspension(), SINCE)
    assert f"{env} is suspended since 2026-11-24 02:00 UTC, by arn:aws:iam::" in warning
    assert "mono-repo-dev-jane-doe: costs. It has no nodes" in warning
    assert f"ops start {env}" in warning


def test_a_record_that_cannot_be_relied_on_ends_the_run() -> None:
    garbled = {naming.suspension_parameter("dev"): '{"version":1'}
    with pytest.raises(pulumi.RunError, match="Whether dev is stopped is not known"):
        run("dev", garbled)


def test_a_record_that_cannot_be_read_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: object) -> None:
        raise RuntimeError("AccessDeniedException: not authorized")

    monkeypatch.setattr("stacks.suspension.get_parameters_by_path", denied)
    with pytest.raises(pulumi.RunError, match="AccessDeniedException") as refusal:
        run("dev", {})
    assert "Whether dev is suspended could not be read" in str(refusal.value)
    assert "Nothing was changed." in str(refusal.value)


def test_another_environments_record_is_not_its_own() -> None:
    graph = run("dev", parameters("uat", suspension()))
    assert inputs(graph) == inputs(environment_graph("dev"))

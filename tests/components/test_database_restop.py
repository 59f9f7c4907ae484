import json
from dataclasses import replace
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.database_restop import DatabaseRestop, DatabaseRestopArgs, definition
from components.deploy_policies import workload_boundary
from tests.components.test_deploy_policies import SCOPE
from tests.graph import Graph, provided, record
from tests.policy_evaluator import Request, allows

ACCOUNT = "111122223333"
HERE = f"us-east-1:{ACCOUNT}"
TOPIC = f"arn:aws:sns:{HERE}:mono-repo-prod-alarms"
MACHINE = f"arn:aws:states:{HERE}:stateMachine:mono-repo-prod-database-restop"
ARGS = DatabaseRestopArgs(
    account_id=ACCOUNT,
    region="us-east-1",
    name="mono-repo-prod-database-restop",
    alarm_name="mono-repo-database-restop-prod",
    databases={"main": "mono-repo-prod", "reports": "mono-repo-prod-reports"},
    suspended=False,
    permissions_boundary_arn=f"arn:aws:iam::{ACCOUNT}:policy/mono-repo-prod-boundary",
    alarm_actions=[TOPIC],
    tags={"environment": "prod"},
)


def graph(args: DatabaseRestopArgs = ARGS) -> Graph:
    return record(lambda: DatabaseRestop("restop", args, ResourceOptions(providers=[provided()])))


def round_() -> dict[str, Any]:
    states: dict[str, Any] = json.loads(definition(["mono-repo-prod"]))
    return states


@pytest.mark.parametrize(("suspended", "state"), [(True, "ENABLED"), (False, "DISABLED")])
def test_rounds_are_held_while_suspended_and_at_no_other_time(
    state: str, *, suspended: bool
) -> None:
    rule = graph(replace(ARGS, suspended=suspended)).one("aws:cloudwatch/eventRule:EventRule")
    assert rule.inputs["state"] == state
    assert rule.inputs["scheduleExpression"] == "rate(30 minutes)"
    assert json.loads(rule.inputs["eventPattern"])["detail"] == {
        "EventID": ["RDS-EVENT-0088"],
        "SourceIdentifier": ["mono-repo-prod", "mono-repo-prod-reports"],
    }


def test_a_round_asks_for_each_database_by_itself() -> None:
    machine = graph().one("aws:sfn/stateMachine:StateMachine")
    states = json.loads(machine.inputs["definition"])
    assert states["States"]["EachDatabase"]["Items"] == ["mono-repo-prod", "mono-repo-prod-reports"]


def test_a_database_that_refuses_does_not_keep_the_others_running() -> None:
    one = round_()["States"]["EachDatabase"]["ItemProcessor"]["States"]
    for name in ("Stop", "Look"):
        assert [caught["ErrorEquals"] for caught in one[name]["Catch"]] == [["States.ALL"]]
    assert "Fail" not in {state["Type"] for state in one.values()}


def test_a_round_after_which_one_still_runs_has_failed() -> None:
    states = round_()["States"]
    assert states["EachDatabase"]["Next"] == "AllAtRest"
    assert states["AllAtRest"]["Default"] == "StillRunning"
    assert states["StillRunning"]["Type"] == "Fail"
    (choice,) = states["AllAtRest"]["Choices"]
    assert choice["Condition"] == (
        "{% $count($states.input[$not(status in ['stopped', 'stopping'])]) = 0 %}"
    )


def test_every_state_that_is_named_is_there() -> None:
    states = round_()
    for machine in (states, states["States"]["EachDatabase"]["ItemProcessor"]):
        named = {machine["StartAt"]}
        for state in machine["States"].values():
            named |= {state[key] for key in ("Next", "Default") if key in state}
            named |= {way["Next"] for way in (*state.get("Catch", ()), *state.get("Choices", ()))}
        assert named == set(machine["States"])


def test_a_round_is_over_long_before_the_next_begins() -> None:
    assert round_()["TimeoutSeconds"] < 30 * 60


def policy(name: str) -> str:
    text: str = graph().one("aws:iam/rolePolicy:RolePolicy", f"restop-{name}").inputs["policy"]
    return text


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("rds:StopDBInstance", "db:mono-repo-prod", True),
        ("rds:DescribeDBInstances", "db:mono-repo-prod-reports", True),
        ("rds:StopDBInstance", "db:mono-repo-prod-other", False),
        ("rds:StartDBInstance", "db:mono-repo-prod", False),
        ("rds:DeleteDBInstance", "db:mono-repo-prod", False),
    ],
)
def test_a_round_looks_and_stops_and_does_nothing_else(
    action: str, resource: str, *, allowed: bool
) -> None:
    request = Request(action=action, resource=f"arn:aws:rds:{HERE}:{resource}", context={})
    assert allows(request, [policy("round")]) is allowed
    if allowed:
        assert allows(request, [workload_boundary(SCOPE)]), "the boundary leaves it room"


def test_the_rule_begins_rounds_and_does_nothing_else() -> None:
    (statement,) = json.loads(policy("rule"))["Statement"]
    assert statement["Action"] == ["states:StartExecution"]
    (on,) = statement["Resource"]
    assert on == graph().one("aws:cloudwatch/eventTarget:EventTarget").inputs["arn"]
    start = Request(action="states:StartExecution", resource=MACHINE, context={})
    assert allows(start, [workload_boundary(SCOPE)]), "the boundary leaves it room"


@pytest.mark.parametrize(
    ("name", "service"), [("round", "states.amazonaws.com"), ("rule", "events.amazonaws.com")]
)
def test_roles_are_bounded_and_assumed_by_one_service_for_this_account(
    name: str, service: str
) -> None:
    role = graph().one("aws:iam/role:Role", f"restop-{name}")
    assert role.inputs["permissionsBoundary"] == ARGS.permissions_boundary_arn
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"Service": [service]}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


@pytest.mark.parametrize("suspended", [True, False])
def test_rounds_that_fail_or_never_begin_are_told_during_a_suspension_too(
    *, suspended: bool
) -> None:
    alarm = graph(replace(ARGS, suspended=suspended)).one("aws:cloudwatch/metricAlarm:MetricAlarm")
    counted = {
        query["metric"]["metricName"]
        for query in alarm.inputs["metricQueries"]
        if "metric" in query
    }
    assert counted == {"ExecutionsFailed", "ExecutionsTimedOut", "FailedInvocations"}
    assert alarm.inputs["alarmActions"] == [TOPIC]
    assert "actionsEnabled" not in alarm.inputs
    assert alarm.inputs["treatMissingData"] == "notBreaching"

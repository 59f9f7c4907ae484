"""How environments differ: by what their stack files say, and the runbook demands."""

import json
from pathlib import Path

import pulumi
import pytest

from stacks import environment
from tests.stacks.programs import ENVIRONMENTS, environment_graph, graph_of, settings

ROLE = "aws:iam/role:Role"


@pytest.mark.parametrize(("env", "days"), [("dev", 7), ("uat", 30), ("prod", 90)])
def test_parameter_accesses_are_kept_as_long_as_the_runbook_says(env: str, days: int) -> None:
    group = environment_graph(env).one("aws:cloudwatch/logGroup:LogGroup", "parameters-access")
    assert group.inputs["name"] == f"/aws/ssm/parameter-store/{env}/mono-repo"
    assert group.inputs["retentionInDays"] == days


@pytest.mark.parametrize(("env", "writes"), [("dev", True), ("uat", False), ("prod", False)])
def test_only_dev_writes_parameters_with_the_access_role(env: str, *, writes: bool) -> None:
    policy = environment_graph(env).one("aws:iam/rolePolicy:RolePolicy", "parameters-access")
    assert policy.inputs["name"] == "parameter-store-read-policy"
    assert ("ssm:PutParameter" in policy.inputs["policy"]) is writes


@pytest.mark.parametrize(("env", "profiles"), [("dev", 1), ("uat", 1), ("prod", 0)])
def test_production_has_no_instance_profile(env: str, profiles: int) -> None:
    graph = environment_graph(env)
    assert len(graph.resources("aws:iam/instanceProfile:InstanceProfile")) == profiles
    trust = graph.one(ROLE, "parameters-access").inputs["assumeRolePolicy"]
    assert ("ec2.amazonaws.com" in trust) is bool(profiles)
    assert ("parameter_instance_profile" in graph.exports) is bool(profiles)


@pytest.mark.parametrize(
    ("env", "cidr"), [("dev", "10.0.0.0/16"), ("uat", "10.1.0.0/16"), ("prod", "10.2.0.0/16")]
)
def test_each_environment_has_its_own_addresses(env: str, cidr: str) -> None:
    assert environment_graph(env).one("aws:ec2/vpc:Vpc").inputs["cidrBlock"] == cidr


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_subnets_span_the_zones_in_three_tiers(env: str) -> None:
    exported = environment_graph(env).exports["subnet_ids"]
    zones = set(settings(env).network.availability_zones)
    assert {tier: set(subnets) for tier, subnets in exported.items()} == {
        "public": zones,
        "private": zones,
        "database": zones,
    }


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_deploy_role_may_test_the_access_role(env: str) -> None:
    role = environment_graph(env).one(ROLE, "parameters-access")
    (operators,) = [
        statement["Principal"]["AWS"]
        for statement in json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        if statement["Sid"] == "Operators"
    ]
    assert operators == [f"arn:aws:iam::{settings(env).account_id}:role/mono-repo-{env}-deploy"]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_alarms_reach_the_recipients_of_the_stack_file(env: str) -> None:
    graph = environment_graph(env)
    subscribed = {
        node.inputs["endpoint"]
        for node in graph.resources("aws:sns/topicSubscription:TopicSubscription")
    }
    assert subscribed == set(settings(env).alarms.recipients)
    for alarm in graph.resources("aws:cloudwatch/metricAlarm:MetricAlarm"):
        assert alarm.inputs["alarmActions"] == [graph.exports["alarm_topic_arn"]], alarm.label


def test_without_a_bootstrap_nothing_is_built_and_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lookup(**_: object) -> None:
        raise Exception("couldn't find resource.")  # noqa: TRY002 - as the SDK does

    monkeypatch.setattr(environment, "get_alias", lookup)
    with pytest.raises(pulumi.RunError) as refused:
        graph_of("dev", settings("dev"))
    assert str(refused.value) == (
        "alias/mono-repo-dev-databases, the key of databases that the bootstrap of dev makes, "
        "could not be looked up (couldn't find resource). Nothing was changed. Where there is no "
        "bootstrap yet, bring it up first: ops up dev --stack bootstrap, or with the sandbox: ops "
        "sandbox start dev"
    )


def test_the_composition_stays_on_one_page(root: Path) -> None:
    lines = (root / "stacks" / "environment.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert not [line for line in lines if "if env" in line or "environment ==" in line]

import json
from dataclasses import replace
from typing import Any

import pytest
from pulumi import Output, ResourceOptions

from components.parameter_store import ParameterStore, ParameterStoreArgs, ProgramParameter
from tests.graph import Graph, provided, record

ARGS = ParameterStoreArgs(
    account_id="111122223333",
    region="us-east-1",
    path="/dev/mono-repo",
    parameters={
        "database/port": ProgramParameter(value="5432", description="Port", pattern="[0-9]+"),
        "app/region": ProgramParameter(value="us-east-1", description="Region"),
    },
    key_alias="alias/mono-repo-parameter-store-dev",
    role_name="mono-repo-parameter-store-access-dev",
    policy_name="parameter-store-read-policy",
    operator_arns=["arn:aws:iam::111122223333:role/mono-repo-dev-deploy"],
    allow_write=True,
    instance_profile=True,
    oidc_provider_arn=None,
    service_accounts=["system:serviceaccount:mono-repo-dev:mono-repo-api"],
    cross_account=[],
    permissions_boundary_arn="arn:aws:iam::111122223333:policy/mono-repo-dev-boundary",
    protect=True,
    log_group_name="/aws/ssm/parameter-store/dev/mono-repo",
    log_retention_days=7,
    log_key_arn="arn:aws:kms:us-east-1:111122223333:key/logs",
    alarm_actions=["arn:aws:sns:us-east-1:111122223333:mono-repo-dev-alarms"],
    key_deletion_window_days=30,
    tags={"environment": "dev"},
)


def build(**changes: Any) -> Graph:
    args = replace(ARGS, **changes)
    return record(
        lambda: ParameterStore("parameters", args, ResourceOptions(providers=[provided()]))
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def test_a_parameter_store_is_made_of_exactly_this(graph: Graph) -> None:
    store = graph.one("mono-repo:index:ParameterStore")
    assert [node.label for node in graph.children(store)] == [
        "aws:cloudwatch/eventRule:EventRule::parameters-changes",
        "aws:cloudwatch/eventRule:EventRule::parameters-reads",
        "aws:cloudwatch/eventTarget:EventTarget::parameters-changes",
        "aws:cloudwatch/eventTarget:EventTarget::parameters-reads",
        "aws:cloudwatch/logGroup:LogGroup::parameters-access",
        "aws:cloudwatch/logMetricFilter:LogMetricFilter::parameters-denied",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy::parameters-events",
        "aws:cloudwatch/metricAlarm:MetricAlarm::parameters-denied",
        "aws:iam/instanceProfile:InstanceProfile::parameters-access",
        "aws:iam/role:Role::parameters-access",
        "aws:iam/rolePolicy:RolePolicy::parameters-access",
        "aws:ssm/parameter:Parameter::parameters-app-region",
        "aws:ssm/parameter:Parameter::parameters-database-port",
        "mono-repo:index:EncryptionKey::parameters",
    ]
    key = graph.one("mono-repo:index:EncryptionKey")
    assert [node.type for node in graph.children(key)] == [
        "aws:kms/alias:Alias",
        "aws:kms/key:Key",
    ]


def test_names_are_those_of_the_runbook(graph: Graph) -> None:
    assert graph.one("aws:kms/alias:Alias").inputs["name"] == ARGS.key_alias
    assert graph.one("aws:iam/role:Role").inputs["name"] == ARGS.role_name
    assert graph.one("aws:iam/rolePolicy:RolePolicy").inputs["name"] == ARGS.policy_name
    assert graph.one("aws:cloudwatch/logGroup:LogGroup").inputs["name"] == ARGS.log_group_name


def test_program_owned_parameters_are_plain_strings_below_the_path(graph: Graph) -> None:
    port = graph.one("aws:ssm/parameter:Parameter", "parameters-database-port").inputs
    assert port["name"] == "/dev/mono-repo/database/port"
    assert (port["type"], port["value"], port["allowedPattern"]) == ("String", "5432", "[0-9]+")


def test_the_key_rotates_and_may_not_be_deleted(graph: Graph) -> None:
    key = graph.one("aws:kms/key:Key")
    assert key.inputs["enableKeyRotation"] is True
    assert key.inputs["deletionWindowInDays"] == 30
    assert key.protect


def test_read_events_are_asked_for_since_other_rules_do_not_see_them(graph: Graph) -> None:
    states = {
        node.name: node.inputs["state"]
        for node in graph.resources("aws:cloudwatch/eventRule:EventRule")
    }
    assert states == {
        "parameters-reads": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
        "parameters-changes": "ENABLED",
    }


def test_events_flow_only_when_the_log_group_admits_them(graph: Graph) -> None:
    permission = graph.one("aws:cloudwatch/logResourcePolicy:LogResourcePolicy")
    for target in graph.resources("aws:cloudwatch/eventTarget:EventTarget"):
        assert permission.urn in target.dependencies
        assert target.inputs["arn"].endswith("parameters-access")


def test_a_refused_read_raises_an_alarm_that_somebody_gets(graph: Graph) -> None:
    measured = graph.one("aws:cloudwatch/logMetricFilter:LogMetricFilter").inputs
    alarm = graph.one("aws:cloudwatch/metricAlarm:MetricAlarm").inputs
    assert "AccessDenied" in measured["pattern"]
    assert alarm["metricName"] == measured["metricTransformation"]["name"]
    assert alarm["namespace"] == measured["metricTransformation"]["namespace"]
    assert alarm["alarmActions"] == ARGS.alarm_actions


def test_where_no_instance_may_have_the_role_there_is_no_instance_profile() -> None:
    graph = build(instance_profile=False)
    assert graph.resources("aws:iam/instanceProfile:InstanceProfile") == []
    assert "ec2.amazonaws.com" not in graph.one("aws:iam/role:Role").inputs["assumeRolePolicy"]


def test_a_read_only_store_gives_no_write() -> None:
    assert "PutParameter" in build().one("aws:iam/rolePolicy:RolePolicy").inputs["policy"]
    read_only = build(allow_write=False).one("aws:iam/rolePolicy:RolePolicy")
    assert "PutParameter" not in read_only.inputs["policy"]


def test_a_clusters_provider_may_arrive_as_an_output() -> None:
    arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
    args = ARGS

    def program() -> None:
        provider = Output.from_input(arn)
        ParameterStore(
            "parameters",
            replace(args, oidc_provider_arn=provider),
            ResourceOptions(providers=[provided()]),
        )

    trust = json.loads(record(program).one("aws:iam/role:Role").inputs["assumeRolePolicy"])
    assert "ServiceAccounts" in {statement["Sid"] for statement in trust["Statement"]}


def test_the_store_registers_its_outputs(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:ParameterStore").urn]
    assert outputs["instance_profile_name"] == ARGS.role_name
    assert outputs["log_group_name"] == ARGS.log_group_name
    assert outputs["key_arn"] == "arn:mock:aws:kms/key:Key/parameters"

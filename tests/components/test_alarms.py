from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.alarm_rules import (
    GIB,
    AlarmRule,
    Watched,
    WatchedCluster,
    WatchedDatabase,
    WatchedLoadBalancer,
    alarm_rules,
    freeable_memory_floor,
    instance_memory_gib,
    max_connections,
)
from components.alarms import Alarms, AlarmsArgs
from tests.graph import Graph, provided, record

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
TOPIC = "arn:aws:sns:us-east-1:111122223333:mono-repo-dev-alarms"
BALANCER = WatchedLoadBalancer(
    arn_suffix="app/lb/1",
    target_group_arn_suffixes={"api-service": "targetgroup/api/1", "web-app": "targetgroup/web/1"},
    certificate_arn=None,
)
CLUSTER = WatchedCluster(
    cluster_name="mono-repo-dev",
    autoscaling_group_names={"general": "asg-general"},
    container_insights=True,
)
DATABASE = WatchedDatabase(
    identifier="mono-repo-dev", instance_class="db.t4g.medium", storage_gb=20
)
EVERYTHING = Watched(
    load_balancer=BALANCER,
    cluster=CLUSTER,
    databases={"main": DATABASE},
    nat_gateway_ids={"us-east-1a": "nat-1"},
)
ARGS = AlarmsArgs(
    name_prefix="mono-repo-dev",
    topic_arn=TOPIC,
    watched=EVERYTHING,
    notify=True,
    tags={"environment": "dev"},
)
NAMES = {
    "load-balancer-5xx",
    *(
        f"{workload}-{kind}"
        for workload in ("api-service", "web-app")
        for kind in ("5xx", "unhealthy-hosts", "no-healthy-host", "latency")
    ),
    "nodes-general-cpu",
    "nodes-general-status",
    "nodes-not-ready",
    "nodes-memory",
    "nodes-disk",
    *(
        f"database-main-{kind}"
        for kind in ("cpu", "storage", "memory", "connections", "disk-queue", "transaction-ids")
    ),
    "nat-us-east-1a-ports",
    "nat-us-east-1a-drops",
}


def build(**changes: Any) -> Graph:
    args = replace(ARGS, **changes)
    return record(lambda: Alarms("alarms", args, ResourceOptions(providers=[provided()])))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


@pytest.fixture(scope="module")
def alarms(graph: Graph) -> Mapping[str, Mapping[str, Any]]:
    return {node.name.removeprefix("alarms-"): node.inputs for node in graph.resources(ALARM)}


def rules(watched: Watched = EVERYTHING) -> dict[str, AlarmRule]:
    return {rule.name: rule for rule in alarm_rules(watched)}


def test_everything_is_watched_by_exactly_these_alarms(
    graph: Graph, alarms: Mapping[str, Any]
) -> None:
    assert set(alarms) == NAMES
    children = graph.children(graph.one("mono-repo:index:Alarms"))
    assert {node.type for node in children} == {ALARM}


def test_an_alarms_name_says_which_environment_it_is_about(alarms: Mapping[str, Any]) -> None:
    assert {alarm["name"] for alarm in alarms.values()} == {
        f"mono-repo-dev-{name}" for name in NAMES
    }


def test_the_topic_is_told_when_an_alarm_begins_and_when_it_ends(
    alarms: Mapping[str, Any],
) -> None:
    for alarm in alarms.values():
        assert alarm["alarmActions"] == alarm["okActions"] == [TOPIC]
        assert alarm["actionsEnabled"] is True
        assert alarm["tags"] == ARGS.tags


def test_a_stopped_environment_keeps_its_alarms_and_tells_nobody() -> None:
    stopped = build(notify=False).resources(ALARM)
    assert len(stopped) == len(NAMES)
    assert {node.inputs["actionsEnabled"] for node in stopped} == {False}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_alarm_says_what_to_do_first_and_what_silence_means(
    name: str, alarms: Mapping[str, Any]
) -> None:
    alarm = alarms[name]
    assert " First " in alarm["alarmDescription"]
    assert len(alarm["alarmDescription"]) <= 1024  # as much as CloudWatch takes
    assert alarm["treatMissingData"] in {"missing", "notBreaching", "breaching"}
    assert 1 <= alarm["datapointsToAlarm"] <= alarm["evaluationPeriods"]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_alarm_watches_one_series_in_one_of_the_two_ways(
    name: str, alarms: Mapping[str, Any]
) -> None:
    alarm = alarms[name]
    single = {"metricName", "namespace", "period", "dimensions"} & alarm.keys()
    if "metricQueries" in alarm:
        assert not single
        told = [query for query in alarm["metricQueries"] if query["returnData"]]
        assert [query["id"] for query in told] == ["result"]
    else:
        assert len(single) == 4
        assert len({"statistic", "extendedStatistic"} & alarm.keys()) == 1


def test_an_expression_speaks_of_the_metrics_that_come_with_it() -> None:
    for rule in alarm_rules(EVERYTHING):
        assert (rule.expression is None) == (len(rule.metrics) == 1)
        for metric in rule.metrics if rule.expression else ():
            assert metric in str(rule.expression)


def test_the_share_of_errors_is_judged_only_where_there_are_enough_requests(
    alarms: Mapping[str, Any],
) -> None:
    result, errors, requests = alarms["api-service-5xx"]["metricQueries"]
    assert result["expression"] == ("IF(requests >= 20, 100 * FILL(errors, 0) / requests, 0)")
    assert errors["metric"]["metricName"] == "HTTPCode_Target_5XX_Count"
    assert requests["metric"]["metricName"] == "RequestCount"
    assert errors["metric"]["dimensions"] == {
        "LoadBalancer": "app/lb/1",
        "TargetGroup": "targetgroup/api/1",
    }


def test_latency_is_the_95th_percentile_and_a_handful_of_requests_proves_nothing(
    alarms: Mapping[str, Any],
) -> None:
    alarm = alarms["web-app-latency"]
    assert (alarm["extendedStatistic"], alarm["evaluateLowSampleCountPercentiles"]) == (
        "p95",
        "ignore",
    )
    assert "statistic" not in alarm


def test_a_workload_without_any_node_and_a_silent_database_are_alarms(
    alarms: Mapping[str, Any],
) -> None:
    breaching = {name for name, alarm in alarms.items() if alarm["treatMissingData"] == "breaching"}
    assert breaching == {
        "api-service-no-healthy-host",
        "web-app-no-healthy-host",
        "database-main-cpu",
    }


def test_a_database_is_measured_by_its_own_size(alarms: Mapping[str, Any]) -> None:
    assert alarms["database-main-storage"]["threshold"] == 2 * GIB
    assert alarms["database-main-memory"]["threshold"] == 4 * GIB * 5 // 100
    assert alarms["database-main-connections"]["threshold"] == 450 * 80 // 100
    assert alarms["database-main-cpu"]["dimensions"] == {"DBInstanceIdentifier": "mono-repo-dev"}


def test_a_database_of_an_unknown_class_is_held_to_a_fixed_memory_and_no_connections() -> None:
    unknown = replace(DATABASE, instance_class="db.z9x.huge")
    found = rules(Watched(databases={"main": unknown}))
    assert "database-main-connections" not in found
    assert found["database-main-memory"].threshold == 256 * 1024**2


@pytest.mark.parametrize(
    ("instance_class", "memory"),
    [
        ("db.t4g.micro", 1),
        ("db.t3.large", 8),
        ("db.m7g.large", 8),
        ("db.m6gd.2xlarge", 32),
        ("db.r7g.large", 16),
        ("db.r6i.16xlarge", 512),
        ("db.m5.xlarge", 16),
        ("db.z1d.large", None),
        ("db.serverless", None),
        ("db.m7g.metal", None),
    ],
)
def test_the_memory_of_an_instance_class_is_known(
    instance_class: str, memory: float | None
) -> None:
    assert instance_memory_gib(instance_class) == memory


def test_connections_never_exceed_what_rds_allows() -> None:
    assert max_connections("db.m7g.large") == 901
    assert max_connections("db.r6i.16xlarge") == 5000
    assert freeable_memory_floor("db.r6i.16xlarge") > freeable_memory_floor("db.m7g.large")


def test_without_container_insights_ec2_still_tells_of_the_nodes() -> None:
    found = rules(Watched(cluster=replace(CLUSTER, container_insights=False)))
    assert set(found) == {"nodes-general-cpu", "nodes-general-status"}


def test_every_node_group_and_every_nat_gateway_is_watched_by_itself() -> None:
    groups = {"general": "asg-general", "batch": "asg-batch"}
    found = rules(
        Watched(
            cluster=replace(CLUSTER, autoscaling_group_names=groups),
            nat_gateway_ids={"us-east-1a": "nat-a", "us-east-1b": "nat-b"},
        )
    )
    assert {"nodes-batch-cpu", "nodes-general-cpu"} <= found.keys()
    (drops,) = {found["nat-us-east-1b-drops"].metrics["drops"].dimensions["NatGatewayId"]}
    assert drops == "nat-b"


@pytest.mark.parametrize("part", ["load_balancer", "cluster", "databases", "nat_gateway_ids"])
def test_what_an_environment_does_without_has_no_alarm(part: str) -> None:
    empty: dict[str, Any] = {part: {} if part in {"databases", "nat_gateway_ids"} else None}
    prefixes = {
        "load_balancer": ("load-balancer", "api-service", "web-app"),
        "cluster": ("nodes-",),
        "databases": ("database-",),
        "nat_gateway_ids": ("nat-",),
    }[part]
    assert set(rules(replace(EVERYTHING, **empty))) == {
        name for name in NAMES if not name.startswith(prefixes)
    }


def test_a_certificate_is_watched_where_there_is_one() -> None:
    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/c"
    found = rules(Watched(load_balancer=replace(BALANCER, certificate_arn=certificate)))
    rule = found["certificate-expiry"]
    assert rule.metrics["days"].dimensions == {"CertificateArn": certificate}
    assert (rule.comparison, rule.threshold) == ("LessThanThreshold", 30)


def test_the_alarms_register_their_arns(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:Alarms").urn]
    assert set(outputs["arns"]) == NAMES

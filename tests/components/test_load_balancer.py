import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pulumi import Resource, ResourceOptions
from pulumi_aws.eks.node_group import NodeGroup

from components.balancer_logs import balancer_log_delivery
from components.load_balancer import (
    NAME_LIMIT,
    BalancedWorkload,
    LoadBalancer,
    LoadBalancerArgs,
    target_group_label,
)
from components.private_bucket import bucket_policy
from tests.graph import Graph, Node, provided, record

CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/c"
WORKLOADS = {
    "api-service": BalancedWorkload(node_port=30080, health_path="/health"),
    "web-app": BalancedWorkload(node_port=30081, health_path="/health"),
    "airflow": BalancedWorkload(node_port=30083, health_path="/ready"),
}
ARGS = LoadBalancerArgs(
    region="us-east-1",
    vpc_id="vpc-1",
    vpc_cidr="10.0.0.0/16",
    subnet_ids={"us-east-1a": "subnet-a", "us-east-1b": "subnet-b", "us-east-1c": "subnet-c"},
    client_cidrs=["10.99.0.0/16"],
    workloads=WORKLOADS,
    domain="mono-repo.internal",
    node_security_group_id="sg-nodes",
    autoscaling_group_names={"general": "asg-general", "batch": "asg-batch"},
    certificate_arn=None,
    log_bucket="mono-repo-dev-logs-111122223333",
    deletion_protection=True,
    protect=True,
    tags={"environment": "dev"},
)

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
ATTACHMENT = "aws:autoscaling/attachment:Attachment"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
OWN_GROUP = "load-balancer-id"


def build(**changes: Any) -> Graph:
    args = replace(ARGS, **changes)
    return record(
        lambda: LoadBalancer("load-balancer", args, ResourceOptions(providers=[provided()]))
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


@pytest.fixture(scope="module")
def with_certificate() -> Graph:
    return build(certificate_arn=CERTIFICATE)


def ports(nodes: list[Node]) -> set[tuple[str, int, int]]:
    """Other side, first and last port of each rule."""
    return {
        (
            node.inputs.get("cidrIpv4") or node.inputs["referencedSecurityGroupId"],
            node.inputs["fromPort"],
            node.inputs["toPort"],
        )
        for node in nodes
        if node.inputs["ipProtocol"] == "tcp"
    }


def of_group(graph: Graph, type_: str, group: str) -> list[Node]:
    return [node for node in graph.resources(type_) if node.inputs["securityGroupId"] == group]


def test_a_load_balancer_is_made_of_exactly_this(graph: Graph) -> None:
    children = graph.children(graph.one("mono-repo:index:LoadBalancer"))
    assert Counter(node.type.rpartition(":")[2] for node in children) == {
        "LoadBalancer": 1,
        "SecurityGroup": 1,
        "SecurityGroupIngressRule": 5,
        "SecurityGroupEgressRule": 3,
        "Listener": 1,
        "TargetGroup": 3,
        "Attachment": 6,
        "ListenerRule": 3,
        "Zone": 1,
        "Record": 3,
    }


def test_a_certificate_adds_one_listener_and_the_rules_that_admit_to_it(
    graph: Graph, with_certificate: Graph
) -> None:
    labels = {node.label for node in graph.resources()}
    assert {node.label for node in with_certificate.resources()} - labels == {
        f"{LISTENER}::load-balancer-https",
        f"{INGRESS}::load-balancer-443-10.0.0.0-16",
        f"{INGRESS}::load-balancer-443-10.99.0.0-16",
    }


def test_it_is_internal_and_stands_in_every_private_subnet(graph: Graph) -> None:
    balancer = graph.one(BALANCER).inputs
    assert balancer["internal"] is True
    assert balancer["subnets"] == ["subnet-a", "subnet-b", "subnet-c"]
    assert balancer["loadBalancerType"] == "application"


def test_malformed_requests_are_dropped_and_ambiguous_ones_refused(graph: Graph) -> None:
    balancer = graph.one(BALANCER).inputs
    assert balancer["dropInvalidHeaderFields"] is True
    assert balancer["desyncMitigationMode"] == "strictest"


def test_every_request_and_connection_is_logged_where_the_bucket_admits_it(graph: Graph) -> None:
    bucket = f"arn:aws:s3:::{ARGS.log_bucket}"
    (_, statement) = json.loads(bucket_policy(bucket, [balancer_log_delivery("111122223333")]))[
        "Statement"
    ]
    assert statement["Principal"] == {"Service": ["logdelivery.elasticloadbalancing.amazonaws.com"]}
    assert statement["Action"] == ["s3:PutObject"]
    written = set()
    for kind in ("accessLogs", "connectionLogs"):
        logs = graph.one(BALANCER).inputs[kind]
        assert logs["enabled"] is True
        assert "AWSLogs" not in logs["prefix"]  # refused by AWS, which adds it
        written.add(f"arn:aws:s3:::{logs['bucket']}/{logs['prefix']}/AWSLogs/111122223333/*")
    assert written == set(statement["Resource"])


@pytest.mark.parametrize(
    ("deletion_protection", "protect", "expected"),
    [(True, True, True), (False, True, False), (True, False, False)],
)
def test_deletion_is_refused_where_settings_say_so_and_no_teardown_runs(
    deletion_protection: bool, protect: bool, expected: bool
) -> None:
    graph = build(deletion_protection=deletion_protection, protect=protect)
    assert graph.one(BALANCER).inputs["enableDeletionProtection"] is expected
    assert graph.one("aws:route53/zone:Zone").inputs["forceDestroy"] is not protect


def test_without_a_certificate_only_http_is_open_and_only_to_known_clients(graph: Graph) -> None:
    assert ports(of_group(graph, INGRESS, OWN_GROUP)) == {
        ("10.0.0.0/16", 80, 80),
        ("10.99.0.0/16", 80, 80),
    }
    (listener,) = graph.resources(LISTENER)
    assert (listener.inputs["protocol"], listener.inputs["port"]) == ("HTTP", 80)


def test_a_client_range_that_is_the_vpcs_own_is_admitted_once() -> None:
    graph = build(client_cidrs=["10.0.0.0/16"])
    assert ports(of_group(graph, INGRESS, OWN_GROUP)) == {("10.0.0.0/16", 80, 80)}


def test_with_a_certificate_https_is_served_by_modern_tls_and_http_redirects(
    with_certificate: Graph,
) -> None:
    https = with_certificate.one(LISTENER, "load-balancer-https").inputs
    assert (https["protocol"], https["port"]) == ("HTTPS", 443)
    assert https["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    assert https["certificateArn"] == CERTIFICATE
    plain = with_certificate.one(LISTENER, "load-balancer-http").inputs
    (action,) = plain["defaultActions"]
    assert action["redirect"] == {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}
    assert {port for _, port, _ in ports(of_group(with_certificate, INGRESS, OWN_GROUP))} == {
        80,
        443,
    }


@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
def test_the_listener_that_serves_has_the_rules_and_answers_404_to_the_rest(
    certificate: str | None,
) -> None:
    graph = build(certificate_arn=certificate)
    name = "load-balancer-http" if certificate is None else "load-balancer-https"
    (action,) = graph.one(LISTENER, name).inputs["defaultActions"]
    assert action["fixedResponse"]["statusCode"] == "404"
    assert {rule.inputs["listenerArn"] for rule in graph.resources(RULE)} == {
        f"arn:mock:{LISTENER}/{name}"
    }


def test_the_load_balancer_reaches_the_nodes_on_exactly_the_workloads_ports(graph: Graph) -> None:
    node_ports = {target.node_port for target in WORKLOADS.values()}
    assert ports(graph.resources(EGRESS)) == {("sg-nodes", port, port) for port in node_ports}
    assert ports(of_group(graph, INGRESS, "sg-nodes")) == {
        (OWN_GROUP, port, port) for port in node_ports
    }


def test_every_group_and_rule_says_what_it_is_for(graph: Graph) -> None:
    for type_ in (INGRESS, EGRESS, "aws:ec2/securityGroup:SecurityGroup"):
        for node in graph.resources(type_):
            assert node.inputs["description"]
            assert not node.name.startswith("sg")  # AWS refuses the auto-name


def test_a_new_port_opens_rules_of_its_own_so_that_the_old_stay_until_it_serves(
    graph: Graph,
) -> None:
    moved = {**WORKLOADS, "web-app": BalancedWorkload(node_port=30099, health_path="/health")}
    before = {
        node.urn: node.inputs for type_ in (INGRESS, EGRESS) for node in graph.resources(type_)
    }
    changed = build(workloads=moved)
    after = {
        node.urn: node.inputs for type_ in (INGRESS, EGRESS) for node in changed.resources(type_)
    }
    kept = before.keys() & after.keys()
    assert {urn.rpartition("-")[2] for urn in after.keys() - kept} == {"30099"}
    assert {urn.rpartition("-")[2] for urn in before.keys() - kept} == {"30081"}
    assert all(before[urn] == after[urn] for urn in kept)


def test_a_workload_is_reached_on_its_port_of_every_node_that_answers_200(graph: Graph) -> None:
    for workload, target in WORKLOADS.items():
        group = graph.one(TARGET_GROUP, workload).inputs
        assert (group["targetType"], group["protocol"], group["port"]) == (
            "instance",
            "HTTP",
            target.node_port,
        )
        assert group["stickiness"]["enabled"] is False
        check = group["healthCheck"]
        assert (check["path"], check["port"]) == (target.health_path, "traffic-port")
        assert check["matcher"] == "200"
        assert check["timeout"] < check["interval"]  # refused by AWS otherwise


def test_every_target_group_has_the_nodes_of_every_node_group(graph: Graph) -> None:
    joined = {
        (node.inputs["lbTargetGroupArn"].rpartition("/")[2], node.inputs["autoscalingGroupName"])
        for node in graph.resources(ATTACHMENT)
    }
    assert joined == {
        (workload, group) for workload in WORKLOADS for group in ("asg-general", "asg-batch")
    }


def test_requests_go_to_a_target_group_only_when_it_has_its_nodes(graph: Graph) -> None:
    for workload in WORKLOADS:
        attachments = {
            node.urn
            for node in graph.resources(ATTACHMENT)
            if node.name.startswith(f"load-balancer-{workload}-")
        }
        rule = graph.one(RULE, f"load-balancer-{workload}")
        assert len(attachments) == 2
        assert attachments <= set(rule.dependencies)


def test_a_replaced_node_group_takes_its_nodes_with_it_instead_of_being_detached() -> None:
    def program() -> None:
        group = NodeGroup(
            "general",
            cluster_name="c",
            node_role_arn="r",
            subnet_ids=["s"],
            scaling_config={"min_size": 1, "max_size": 1, "desired_size": 1},
            opts=ResourceOptions(provider=provided("nodes")),
        )
        groups: Mapping[str, Resource] = {"general": group}
        LoadBalancer(
            "load-balancer",
            replace(ARGS, node_groups=groups),
            ResourceOptions(providers=[provided()]),
        )

    graph = record(program)
    node_group = graph.one("aws:eks/nodeGroup:NodeGroup").urn
    assert {
        node.name.rpartition("-")[2]: node.deleted_with for node in graph.resources(ATTACHMENT)
    } == {"general": node_group, "batch": ""}


def test_each_host_name_leads_to_its_workload_and_no_two_rules_compete(graph: Graph) -> None:
    for workload in WORKLOADS:
        rule = graph.one(RULE, f"load-balancer-{workload}").inputs
        assert rule["conditions"] == [
            {"hostHeader": {"values": [f"{workload}.mono-repo.internal"]}}
        ]
        (action,) = rule["actions"]
        assert action["targetGroupArn"] == f"arn:mock:{TARGET_GROUP}/{workload}"
    priorities = [rule.inputs["priority"] for rule in graph.resources(RULE)]
    assert len(set(priorities)) == len(priorities)
    assert all(1 <= priority <= 50000 for priority in priorities)


def test_another_workload_leaves_the_rules_of_the_others_as_they_are(graph: Graph) -> None:
    more = {"aa-first": BalancedWorkload(node_port=30070, health_path="/health"), **WORKLOADS}
    grown = build(workloads=more)
    before = {node.urn: node.inputs for node in graph.resources()}
    after = {node.urn: node.inputs for node in grown.resources()}
    component = graph.one("mono-repo:index:LoadBalancer").urn
    assert {urn: after[urn] for urn in before if urn != component} == {
        urn: inputs for urn, inputs in before.items() if urn != component
    }


def test_the_workloads_have_their_names_in_a_zone_that_only_the_vpc_sees(graph: Graph) -> None:
    zone = graph.one("aws:route53/zone:Zone").inputs
    assert zone["name"] == "mono-repo.internal"
    assert zone["vpcs"] == [{"vpcId": "vpc-1", "vpcRegion": "us-east-1"}]
    records = {
        node.inputs["name"]: node.inputs for node in graph.resources("aws:route53/record:Record")
    }
    assert set(records) == {f"{workload}.mono-repo.internal" for workload in WORKLOADS}
    for inputs in records.values():
        (alias,) = inputs["aliases"]
        assert (inputs["type"], inputs["zoneId"]) == ("A", "zone-load-balancer")
        assert (alias["name"], alias["zoneId"]) == ("dns-load-balancer", "canonical-load-balancer")


@pytest.mark.parametrize(
    "workload",
    ["web-app", "a" * NAME_LIMIT, "a" * 32, "a-very-long-name-of-a-workload", "x" * 17 + "-y" * 7],
)
def test_a_target_groups_name_leaves_room_for_the_suffix_of_its_successor(workload: str) -> None:
    label = target_group_label(workload)
    assert len(f"{label}-0123456") <= 32
    assert "--" not in label
    assert not label.endswith("-")


def test_long_workload_names_that_begin_alike_get_different_target_groups() -> None:
    one, two = (target_group_label("a-very-long-name-of-a-workload" + end) for end in "xy")
    assert one != two


def test_everything_that_can_be_tagged_is(graph: Graph) -> None:
    untaggable = {ATTACHMENT, "aws:route53/record:Record"}
    for node in graph.children(graph.one("mono-repo:index:LoadBalancer")):
        assert node.type in untaggable or node.inputs["tags"] == ARGS.tags


def test_the_load_balancer_registers_its_outputs(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:LoadBalancer").urn]
    assert outputs["dns_name"] == "dns-load-balancer"
    assert outputs["arn_suffix"] == "app-load-balancer"
    assert outputs["zone_id"] == "zone-load-balancer"
    assert outputs["security_group_id"] == OWN_GROUP
    assert outputs["hostnames"]["api-service"] == "api-service.mono-repo.internal"
    assert outputs["target_group_arn_suffixes"] == {
        workload: f"targetgroup-{workload}" for workload in WORKLOADS
    }

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.network import NatMode, Network, NetworkArgs
from tests.graph import Graph, Node, provided, record

ARGS = NetworkArgs(
    account_id="111122223333",
    region="us-east-1",
    cidr="10.0.0.0/16",
    zones={"us-east-1a": 0, "us-east-1b": 1, "us-east-1c": 2},
    nat="single",
    interface_endpoints=("ec2", "ecr.api"),
    database_ports=[5432],
    client_cidrs=[],
    cluster_name="mono-repo-dev",
    flow_log_group_name="/aws/vpc/mono-repo-dev/flow-logs",
    flow_log_role_name="mono-repo-dev-flow-logs",
    flow_log_retention_days=7,
    flow_log_archive_arn="arn:aws:s3:::mono-repo-dev-logs-111122223333",
    log_key_arn="arn:aws:kms:us-east-1:111122223333:key/k",
    permissions_boundary_arn="arn:aws:iam::111122223333:policy/mono-repo-dev-boundary",
    protect=True,
    tags={"environment": "dev"},
)


def build(**changes: Any) -> Graph:
    args = replace(ARGS, **changes)
    return record(lambda: Network("network", args, ResourceOptions(providers=[provided()])))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def named(nodes: Sequence[Node]) -> list[str]:
    return [node.name for node in nodes]


def test_a_network_is_made_of_exactly_this(graph: Graph) -> None:
    children = graph.children(graph.one("mono-repo:index:Network"))
    assert Counter(node.type.rpartition(":")[2] for node in children) == {
        "Vpc": 1,
        "DefaultSecurityGroup": 1,
        "DefaultNetworkAcl": 1,
        "Subnet": 9,
        "NetworkAcl": 3,
        "InternetGateway": 1,
        "RouteTable": 5,
        "RouteTableAssociation": 9,
        "Route": 4,
        "Eip": 1,
        "NatGateway": 1,
        "VpcEndpoint": 4,
        "SecurityGroup": 1,
        "SecurityGroupIngressRule": 1,
        "LogGroup": 1,
        "Role": 1,
        "RolePolicy": 1,
        "FlowLog": 2,
    }


@pytest.mark.parametrize(
    ("nat", "gateways", "routes"), [("none", 0, 0), ("single", 1, 3), ("per-az", 3, 3)]
)
def test_the_nat_mode_decides_how_many_gateways_serve_the_zones(
    nat: NatMode, gateways: int, routes: int
) -> None:
    graph = build(nat=nat)
    out = [node for node in graph.resources("aws:ec2/route:Route") if "private" in node.name]
    assert len(graph.resources("aws:ec2/natGateway:NatGateway")) == gateways
    assert len(graph.resources("aws:ec2/eip:Eip")) == gateways
    assert len(out) == routes
    assert len({node.inputs["natGatewayId"] for node in out}) == gateways


def test_a_regional_gateway_belongs_to_the_vpc_and_brings_its_own_addresses() -> None:
    graph = build(nat="regional")
    gateway = graph.one("aws:ec2/natGateway:NatGateway")
    assert gateway.inputs["availabilityMode"] == "regional"
    assert gateway.inputs["vpcId"] == "network-id"
    assert graph.resources("aws:ec2/eip:Eip") == []


def test_each_zone_leaves_by_its_own_gateway_when_there_is_one_a_zone() -> None:
    graph = build(nat="per-az")
    for zone in ARGS.zones:
        route = graph.one("aws:ec2/route:Route", f"network-private-{zone}-internet")
        assert route.inputs["natGatewayId"] == f"network-nat-{zone}-id"


def test_no_route_leads_out_of_the_database_subnets(graph: Graph) -> None:
    tables = {
        node.inputs["routeTableId"]
        for node in graph.resources("aws:ec2/routeTableAssociation:RouteTableAssociation")
        if "database" in node.name
    }
    routes = graph.resources("aws:ec2/route:Route")
    assert tables == {"network-database-id"}
    assert not tables & {node.inputs["routeTableId"] for node in routes}


def test_no_subnet_gives_out_public_addresses_and_none_may_be_replaced(graph: Graph) -> None:
    for subnet in graph.resources("aws:ec2/subnet:Subnet"):
        assert subnet.inputs["mapPublicIpOnLaunch"] is False
        assert subnet.protect


def test_adding_a_zone_leaves_the_subnets_of_the_others_as_they_are(graph: Graph) -> None:
    def layout(found: Graph) -> dict[str, Any]:
        return {node.urn: node.inputs for node in found.resources("aws:ec2/subnet:Subnet")}

    grown = layout(build(zones={**ARGS.zones, "us-east-1d": 3}))
    before = layout(graph)
    assert {urn: grown[urn] for urn in before} == before
    assert len(grown) == len(before) + 3


def test_load_balancers_find_public_and_private_subnets_but_not_those_of_databases(
    graph: Graph,
) -> None:
    tags = {
        node.name: node.inputs["tags"]
        for node in graph.resources("aws:ec2/subnet:Subnet")
        if node.name.endswith("1a")
    }
    public, private = tags["network-public-us-east-1a"], tags["network-private-us-east-1a"]
    assert public["kubernetes.io/role/elb"] == "1"
    assert private["kubernetes.io/role/internal-elb"] == "1"
    assert private["kubernetes.io/cluster/mono-repo-dev"] == "shared"
    assert not [key for key in tags["network-database-us-east-1a"] if "kubernetes" in key]


def test_every_tier_has_an_acl_of_its_own_on_all_of_its_subnets(graph: Graph) -> None:
    for tier in ("public", "private", "database"):
        acl = graph.one("aws:ec2/networkAcl:NetworkAcl", f"network-{tier}")
        assert acl.inputs["subnetIds"] == [f"network-{tier}-{zone}-id" for zone in ARGS.zones]
        assert {"ruleNo", "action", "protocol", "cidrBlock", "fromPort", "toPort"} == set(
            acl.inputs["ingress"][0]
        )


def test_what_aws_puts_into_a_new_vpc_is_emptied(graph: Graph) -> None:
    for type_ in (
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
    ):
        assert not {"ingress", "egress", "subnetIds"} & set(graph.one(type_).inputs)


def test_endpoints_keep_aws_traffic_inside(graph: Graph) -> None:
    endpoints = {
        node.inputs["serviceName"].rpartition("us-east-1.")[2]: node.inputs
        for node in graph.resources("aws:ec2/vpcEndpoint:VpcEndpoint")
    }
    assert set(endpoints) == {"s3", "dynamodb", "ec2", "ecr.api"}
    assert len(endpoints["s3"]["routeTableIds"]) == 3
    assert endpoints["ecr.api"]["vpcEndpointType"] == "Interface"
    assert endpoints["ecr.api"]["privateDnsEnabled"] is True
    assert endpoints["ecr.api"]["subnetIds"] == [
        f"network-private-{zone}-id" for zone in ARGS.zones
    ]


def test_endpoints_answer_https_from_the_vpc_and_nothing_else(graph: Graph) -> None:
    rule = graph.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").inputs
    assert (rule["fromPort"], rule["toPort"], rule["cidrIpv4"]) == (443, 443, "10.0.0.0/16")
    assert graph.resources("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == []
    group = graph.one("aws:ec2/securityGroup:SecurityGroup")
    assert not {"ingress", "egress"} & set(group.inputs)
    assert not group.name.startswith("sg")  # AWS refuses the auto-name


def test_all_traffic_is_logged_encrypted_and_archived(graph: Graph) -> None:
    group = graph.one("aws:cloudwatch/logGroup:LogGroup").inputs
    assert (group["retentionInDays"], group["kmsKeyId"]) == (7, ARGS.log_key_arn)
    search, archive = graph.resources("aws:ec2/flowLog:FlowLog")
    assert search.inputs["trafficType"] == archive.inputs["trafficType"] == "ALL"
    assert search.inputs["logDestinationType"] == "cloud-watch-logs"
    assert archive.inputs["logDestination"] == ARGS.flow_log_archive_arn
    policy = graph.one("aws:iam/rolePolicy:RolePolicy")
    assert policy.urn in search.dependencies
    _, find = json.loads(policy.inputs["policy"])["Statement"]
    assert (find["Action"], find["Resource"]) == (["logs:DescribeLogGroups"], ["*"])


def test_without_an_archive_there_is_one_flow_log() -> None:
    assert len(build(flow_log_archive_arn=None).resources("aws:ec2/flowLog:FlowLog")) == 1


def test_the_network_registers_its_outputs(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:Network").urn]
    assert outputs["vpc_id"] == "network-id"
    assert set(outputs["subnet_ids"]) == {"public", "private", "database"}
    assert outputs["nat_public_ips"] == ["203.0.113-network-nat-us-east-1a"]
    assert outputs["nat_gateway_ids"] == {"us-east-1a": "network-nat-us-east-1a-id"}


@pytest.mark.parametrize(
    ("nat", "keys"),
    [
        ("none", []),
        ("single", ["us-east-1a"]),
        ("per-az", list(ARGS.zones)),
        ("regional", ["regional"]),
    ],
)
def test_every_nat_gateway_is_known_by_its_zone(nat: NatMode, keys: list[str]) -> None:
    graph = build(nat=nat)
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:Network").urn]
    assert sorted(outputs["nat_gateway_ids"]) == keys
    assert set(outputs["nat_gateway_ids"].values()) == {
        f"{node.name}-id" for node in graph.resources("aws:ec2/natGateway:NatGateway")
    }

"""VPCs, subnets, gateways, endpoints and flow logs."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import Call, Row, Scope, Tagging, Text, Update


def ec2_tags(resource_type: str) -> Tagging:
    """Tag an EC2 resource: with its creation, and by create_tags and delete_tags after it."""
    return Tagging(
        specification=resource_type,
        add=Call("create_tags", {"Resources": ["$id"], "Tags": "$added"}),
        remove=Call("delete_tags", {"Resources": ["$id"], "Tags": "$removed"}),
        remove_pairs=True,
    )


def adopted_tags() -> Tagging:
    """Tag an EC2 resource that was there before: only after it is taken over."""
    return dataclasses.replace(ec2_tags(""), specification="")


def arn(kind: str) -> Text:
    """Give an EC2 resource's ARN."""
    return Text(f"arn:aws:ec2:{{region}}:{{account}}:{kind}/{{id}}")


def _vpc_attribute(name: str) -> Call:
    api_name = name[0].upper() + name[1:]
    return Call("describe_vpc_attribute", {"VpcId": "$id", "Attribute": name}, f"{api_name}.Value")


def _vpc_setting(name: str) -> Update:
    api_name = name[0].upper() + name[1:]
    change = Call("modify_vpc_attribute", {"VpcId": "$id", api_name: {"Value": f"${name}"}})
    return Update((name,), change, after_create=True)


def _in_vpc(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": ["$id"]}, *more]


VPC_SETTINGS: Final = (
    "enableDnsSupport",
    "enableDnsHostnames",
    "enableNetworkAddressUsageMetrics",
)

VPC: Final = Row(
    label="EC2 VPC",
    service="ec2",
    create=Call("create_vpc", matching=True),
    id="out.Vpc.VpcId",
    read=Call("describe_vpcs", {"VpcIds": ["$id"]}, "Vpcs[0]"),
    also={
        **{name: _vpc_attribute(name) for name in VPC_SETTINGS},
        "defaultSecurityGroupId": Call(
            "describe_security_groups",
            {"Filters": _in_vpc({"Name": "group-name", "Values": ["default"]})},
            "SecurityGroups[0].GroupId",
        ),
        "mainRouteTableId": Call(
            "describe_route_tables",
            {"Filters": _in_vpc({"Name": "association.main", "Values": ["true"]})},
            "RouteTables[0].RouteTableId",
        ),
        "defaultNetworkAclId": Call(
            "describe_network_acls",
            {"Filters": _in_vpc({"Name": "default", "Values": ["true"]})},
            "NetworkAcls[0].NetworkAclId",
        ),
    },
    delete=Call("delete_vpc", {"VpcId": "$id"}),
    updates=tuple(_vpc_setting(name) for name in VPC_SETTINGS),
    forces=("cidrBlock", "instanceTenancy"),
    defaults={
        "instanceTenancy": "default",
        "enableDnsSupport": True,
        "enableDnsHostnames": False,
        "enableNetworkAddressUsageMetrics": False,
    },
    required=("cidrBlock",),
    outputs=(
        "arn",
        "ownerId",
        "dhcpOptionsId",
        "defaultSecurityGroupId",
        "defaultNetworkAclId",
        "defaultRouteTableId",
        "mainRouteTableId",
    ),
    reads={"arn": arn("vpc"), "defaultRouteTableId": "live.mainRouteTableId"},
    tags=ec2_tags("vpc"),
    listing=Call("describe_vpcs", {}, "Vpcs[].VpcId"),
)


def _subnet_setting(name: str) -> Update:
    api_name = name[0].upper() + name[1:]
    change = Call("modify_subnet_attribute", {"SubnetId": "$id", api_name: {"Value": f"${name}"}})
    return Update((name,), change, after_create=True)


SUBNET: Final = Row(
    label="EC2 Subnet",
    service="ec2",
    create=Call("create_subnet", matching=True),
    id="out.Subnet.SubnetId",
    read=Call("describe_subnets", {"SubnetIds": ["$id"]}, "Subnets[0]"),
    delete=Call("delete_subnet", {"SubnetId": "$id"}),
    updates=(
        _subnet_setting("mapPublicIpOnLaunch"),
        _subnet_setting("assignIpv6AddressOnCreation"),
    ),
    forces=("vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"),
    computed=("availabilityZone", "availabilityZoneId"),
    defaults={"mapPublicIpOnLaunch": False, "assignIpv6AddressOnCreation": False},
    required=("vpcId", "cidrBlock"),
    outputs=("arn", "ownerId"),
    reads={"arn": arn("subnet")},
    tags=ec2_tags("subnet"),
    listing=Call(
        "describe_subnets",
        {"Filters": [{"Name": "vpc-id", "Values": ["$vpcId"]}]},
        "Subnets[].SubnetId",
    ),
)


def _attach_gateway(scope: Scope) -> None:
    before, after = scope.old.get("vpcId"), scope.props.get("vpcId")
    if before:
        args = {"InternetGatewayId": scope.id, "VpcId": before}
        scope.call("detach_internet_gateway", args)
    if after:
        scope.call("attach_internet_gateway", {"InternetGatewayId": scope.id, "VpcId": after})


def _delete_gateway(scope: Scope) -> None:
    answer = scope.call("describe_internet_gateways", {"InternetGatewayIds": [scope.id]})
    for attachment in answer["InternetGateways"][0]["Attachments"]:
        args = {"InternetGatewayId": scope.id, "VpcId": attachment["VpcId"]}
        scope.call("detach_internet_gateway", args)
    scope.call("delete_internet_gateway", {"InternetGatewayId": scope.id})


INTERNET_GATEWAY: Final = Row(
    label="EC2 Internet Gateway",
    service="ec2",
    create=Call("create_internet_gateway"),
    id="out.InternetGateway.InternetGatewayId",
    read=Call("describe_internet_gateways", {"InternetGatewayIds": ["$id"]}, "InternetGateways[0]"),
    delete=_delete_gateway,
    updates=(Update(("vpcId",), _attach_gateway, after_create=True),),
    outputs=("arn", "ownerId"),
    reads={"arn": arn("internet-gateway"), "vpcId": "live.Attachments[0].VpcId"},
    tags=ec2_tags("internet-gateway"),
    listing=Call("describe_internet_gateways", {}, "InternetGateways[].InternetGatewayId"),
)

EIP: Final = Row(
    label="EC2 EIP",
    service="ec2",
    create=Call("allocate_address", {"Domain": "$domain"}, matching=True),
    id="out.AllocationId",
    read=Call("describe_addresses", {"AllocationIds": ["$id"]}, "Addresses[0]"),
    delete=Call("release_address", {"AllocationId": "$id"}),
    forces=("domain", "networkBorderGroup", "publicIpv4Pool"),
    filled={"domain": "vpc"},
    computed=("networkBorderGroup", "publicIpv4Pool"),
    outputs=("arn", "allocationId", "publicIp", "publicDns"),
    reads={
        "arn": arn("elastic-ip"),
        "allocationId": "id",
        "publicDns": lambda scope: _public_dns(scope.props["$live"]["PublicIp"], scope.region),
    },
    tags=ec2_tags("elastic-ip"),
    listing=Call("describe_addresses", {}, "Addresses[].AllocationId"),
)


def _public_dns(address: str, region: str) -> str:
    domain = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"ec2-{address.replace('.', '-')}.{domain}.amazonaws.com"


NAT_GATEWAY: Final = Row(
    label="EC2 NAT Gateway",
    service="ec2",
    create=Call("create_nat_gateway", matching=True),
    id="out.NatGateway.NatGatewayId",
    read=Call("describe_nat_gateways", {"NatGatewayIds": ["$id"]}, "NatGateways[0]"),
    gone="State=='deleted' || State=='deleting'",
    pending="State=='pending'",
    delete=Call("delete_nat_gateway", {"NatGatewayId": "$id"}),
    forces=("subnetId", "allocationId", "connectivityType", "privateIp"),
    names={"privateIp": "PrivateIpAddress"},
    computed=("privateIp",),
    defaults={"connectivityType": "public"},
    required=("subnetId",),
    outputs=("networkInterfaceId", "publicIp", "associationId"),
    reads={
        "allocationId": "live.NatGatewayAddresses[0].AllocationId",
        "privateIp": "live.NatGatewayAddresses[0].PrivateIp",
        "publicIp": "live.NatGatewayAddresses[0].PublicIp",
        "networkInterfaceId": "live.NatGatewayAddresses[0].NetworkInterfaceId",
        "associationId": "live.NatGatewayAddresses[0].AssociationId",
    },
    tags=ec2_tags("natgateway"),
    listing=Call(
        "describe_nat_gateways",
        {"Filter": [{"Name": "subnet-id", "Values": ["$subnetId"]}]},
        "NatGateways[?State!='deleted'].NatGatewayId",
    ),
)


def _endpoint_members(name: str) -> Update:
    """Add and remove what an endpoint is connected to."""
    api_name = name[0].upper() + name[1:]

    def run(scope: Scope) -> None:
        before, after = (set(state.get(name) or []) for state in (scope.old, scope.props))
        args: dict[str, Any] = {"VpcEndpointId": scope.id}
        if after - before:
            args[f"Add{api_name}"] = sorted(after - before)
        if before - after:
            args[f"Remove{api_name}"] = sorted(before - after)
        scope.call("modify_vpc_endpoint", args)

    return Update((name,), run)


def _prefix_list(scope: Scope) -> str | None:
    """Give the prefix list that routes to a gateway endpoint name."""
    if scope.props["$live"].get("VpcEndpointType") != "Gateway":
        return None
    filters = [{"Name": "prefix-list-name", "Values": [scope.props["$live"]["ServiceName"]]}]
    found = scope.call("describe_prefix_lists", {"Filters": filters})["PrefixLists"]
    return str(found[0]["PrefixListId"]) if found else None


VPC_ENDPOINT: Final = Row(
    label="EC2 VPC Endpoint",
    service="ec2",
    create=Call(
        "create_vpc_endpoint",
        {"VpcEndpointType": lambda scope: scope.props.get("vpcEndpointType") or "Gateway"},
        matching=True,
    ),
    id="out.VpcEndpoint.VpcEndpointId",
    read=Call("describe_vpc_endpoints", {"VpcEndpointIds": ["$id"]}, "VpcEndpoints[0]"),
    also={"prefixListId": _prefix_list},
    gone="State=='deleted' || State=='deleting'",
    pending="State=='pending'",
    delete=Call("delete_vpc_endpoints", {"VpcEndpointIds": ["$id"]}),
    updates=(
        _endpoint_members("routeTableIds"),
        _endpoint_members("subnetIds"),
        _endpoint_members("securityGroupIds"),
        Update(
            ("policy",),
            Call("modify_vpc_endpoint", {"VpcEndpointId": "$id", "PolicyDocument": "$policy"}),
        ),
        Update(
            ("privateDnsEnabled",),
            Call(
                "modify_vpc_endpoint",
                {"VpcEndpointId": "$id", "PrivateDnsEnabled": "$privateDnsEnabled"},
            ),
        ),
    ),
    forces=("vpcId", "serviceName", "vpcEndpointType", "ipAddressType"),
    names={"policy": "PolicyDocument"},
    computed=(
        "policy",
        "ipAddressType",
        "routeTableIds",
        "subnetIds",
        "securityGroupIds",
    ),
    defaults={"vpcEndpointType": "Gateway", "privateDnsEnabled": False},
    json=("policy",),
    required=("vpcId", "serviceName"),
    outputs=(
        "arn",
        "ownerId",
        "state",
        "networkInterfaceIds",
        "requesterManaged",
        "dnsEntries",
        "prefixListId",
    ),
    reads={
        "arn": arn("vpc-endpoint"),
        "securityGroupIds": "live.Groups[].GroupId",
        # Only interface endpoints have names of their own.
        "privateDnsEnabled": "live.VpcEndpointType == 'Interface' && live.PrivateDnsEnabled",
        "dnsEntries": "live.DnsEntries[].{dnsName: DnsName, hostedZoneId: HostedZoneId}",
    },
    tags=ec2_tags("vpc-endpoint"),
    listing=Call(
        "describe_vpc_endpoints",
        {"Filters": [{"Name": "vpc-id", "Values": ["$vpcId"]}]},
        "VpcEndpoints[].VpcEndpointId",
    ),
)

FLOW_TARGETS: Final = {
    "vpcId": "VPC",
    "subnetId": "Subnet",
    "eniId": "NetworkInterface",
    "transitGatewayId": "TransitGateway",
}


def _create_flow_log(scope: Scope) -> str:
    props = scope.props
    target = next((key for key in FLOW_TARGETS if props.get(key)), "vpcId")
    options = {
        "TrafficType": props.get("trafficType"),
        "LogDestinationType": props.get("logDestinationType"),
        "LogDestination": props.get("logDestination"),
        "DeliverLogsPermissionArn": props.get("iamRoleArn"),
        "LogFormat": props.get("logFormat"),
        "MaxAggregationInterval": props.get("maxAggregationInterval"),
    }
    args = {key: value for key, value in options.items() if value is not None}
    args.update(ResourceIds=[props[target]], ResourceType=FLOW_TARGETS[target], **props["$tags"])
    if props.get("destinationOptions"):
        given = props["destinationOptions"]
        args["DestinationOptions"] = {key[0].upper() + key[1:]: given[key] for key in given}
    answer = scope.call("create_flow_logs", args)
    if answer.get("Unsuccessful"):
        error = answer["Unsuccessful"][0]["Error"]
        code = str(error.get("Code", "Unknown"))
        text = f"operation error EC2: CreateFlowLogs, {code}: {error.get('Message', '')}"
        raise ApiError(text, code)
    return str(answer["FlowLogIds"][0])


def _flow_target(kind: str) -> str:
    prefix = {"vpcId": "vpc-", "subnetId": "subnet-", "eniId": "eni-", "transitGatewayId": "tgw-"}
    return f"live.ResourceId && starts_with(live.ResourceId, '{prefix[kind]}') && live.ResourceId || `null`"  # noqa: E501 - one expression


FLOW_LOG: Final = Row(
    label="Flow Log",
    service="ec2",
    create=_create_flow_log,
    read=Call("describe_flow_logs", {"FlowLogIds": ["$id"]}, "FlowLogs[0]"),
    delete=Call("delete_flow_logs", {"FlowLogIds": ["$id"]}),
    forces=(
        *FLOW_TARGETS,
        "trafficType",
        "logDestinationType",
        "logDestination",
        "iamRoleArn",
        "logFormat",
        "maxAggregationInterval",
        "destinationOptions",
    ),
    names={"iamRoleArn": "DeliverLogsPermissionArn"},
    computed=("logFormat", "logDestination", "destinationOptions"),
    defaults={"maxAggregationInterval": 600, "logDestinationType": "cloud-watch-logs"},
    outputs=("arn",),
    reads={
        "arn": arn("vpc-flow-log"),
        **{kind: _flow_target(kind) for kind in FLOW_TARGETS},
        "destinationOptions": "live.DestinationOptions && {fileFormat: live.DestinationOptions."
        "FileFormat, hiveCompatiblePartitions: live.DestinationOptions.HiveCompatiblePartitions,"
        " perHourPartition: live.DestinationOptions.PerHourPartition}",
    },
    tags=ec2_tags("vpc-flow-log"),
    listing=Call("describe_flow_logs", {}, "FlowLogs[].FlowLogId"),
)

ROWS: Final[dict[str, Row]] = {
    "aws:ec2/vpc:Vpc": VPC,
    "aws:ec2/subnet:Subnet": SUBNET,
    "aws:ec2/internetGateway:InternetGateway": INTERNET_GATEWAY,
    "aws:ec2/eip:Eip": EIP,
    "aws:ec2/natGateway:NatGateway": NAT_GATEWAY,
    "aws:ec2/vpcEndpoint:VpcEndpoint": VPC_ENDPOINT,
    "aws:ec2/flowLog:FlowLog": FLOW_LOG,
}

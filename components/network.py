"""Network: the VPC, its subnets over named availability zones, and every way in and out of it.

Three tiers a zone: public (NAT gateways), private (nodes, endpoints, internal load balancers) and
database, whose route table leads nowhere outside the VPC. The layout comes from `components.cidr`
and is pinned: subnets are protected, so the engine refuses a change that would replace one, and
with it everything inside, when it is previewed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.default_network_acl import DefaultNetworkAcl
from pulumi_aws.ec2.default_security_group import DefaultSecurityGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.flow_log import FlowLog
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.network_acl import NetworkAcl
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ec2.vpc_endpoint import VpcEndpoint
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.cidr import Tier, ZoneLayout, plan_subnets
from components.iam_policies import Statement, policy_document, service_trust
from components.network_acls import ANYWHERE, AclRule, acl_rules, numbered

if TYPE_CHECKING:
    from pulumi_aws.ec2._inputs import NetworkAclIngressArgsDict

NatMode = Literal["none", "single", "per-az", "regional"]
"""No way out; one gateway for all zones; one a zone; or one that AWS spreads over the zones."""
GATEWAY_ENDPOINTS = ("s3", "dynamodb")
FLOW_LOG_INTERVAL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """The shape of a network."""

    account_id: str
    region: str
    cidr: str
    zones: Mapping[str, int]
    """Zone name -> slot of the layout, 0 to 3; see `components.cidr`."""
    nat: NatMode
    interface_endpoints: Sequence[str]
    """Services reached inside the VPC, as the last part of their name: `ecr.api`, `sts`."""
    database_ports: Sequence[int]
    client_cidrs: Sequence[str]
    """Who reaches load balancers in the private subnets from outside the VPC."""
    cluster_name: str
    """Whose load balancers find the subnets by tag."""
    flow_log_group_name: str
    flow_log_role_name: str
    flow_log_retention_days: int
    flow_log_archive_arn: str | None
    """Bucket that keeps the flow logs for longer than CloudWatch does; None: no archive."""
    log_key_arn: Input[str]
    permissions_boundary_arn: Input[str] | None
    protect: bool
    """Refuse to replace a subnet, and with it everything inside; False only for a teardown."""
    tags: Mapping[str, str]


class Network(ComponentResource):
    """A VPC that reaches the internet through NAT and is reached by nobody."""

    vpc_id: Output[str]
    """The VPC."""
    cidr: str
    """Its address block."""
    subnet_ids: Mapping[Tier, Mapping[str, Output[str]]]
    """Tier -> zone name -> subnet."""
    nat_public_ips: Sequence[Output[str]]
    """Addresses that the internet sees; empty for a regional gateway, where AWS assigns them."""
    nat_gateway_ids: Mapping[str, Output[str]]
    """The zone that a NAT gateway stands in, or `regional` -> the gateway."""
    endpoint_security_group_id: Output[str]
    """Group of the interface endpoints."""

    def __init__(self, name: str, args: NetworkArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:Network", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._layout = plan_subnets(args.cidr, args.zones)

        self._vpc = Vpc(
            name,
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags(name),
            opts=self._child,
        )
        self._empty_defaults()
        self._subnets = {
            tier: {zone: self._subnet(tier, zone, layout) for zone, layout in self._layout.items()}
            for tier in Tier
        }
        self._firewalls()
        gateway = InternetGateway(
            name, vpc_id=self._vpc.id, tags=self._tags(name), opts=self._child
        )
        self.nat_public_ips = []
        self.nat_gateway_ids = {}
        private_tables = self._routes(gateway)
        self._gateway_endpoints(private_tables)
        self.endpoint_security_group_id = self._interface_endpoints()
        self._flow_logs()

        self.vpc_id = self._vpc.id
        self.cidr = args.cidr
        self.subnet_ids = {
            tier: {zone: subnet.id for zone, subnet in zones.items()}
            for tier, zones in self._subnets.items()
        }
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "cidr": self.cidr,
                "subnet_ids": {tier.value: zones for tier, zones in self.subnet_ids.items()},
                "nat_public_ips": self.nat_public_ips,
                "nat_gateway_ids": self.nat_gateway_ids,
                "endpoint_security_group_id": self.endpoint_security_group_id,
            }
        )

    def _tags(self, resource_name: str) -> dict[str, str]:
        return {**self._args.tags, "Name": f"{self._args.cluster_name}-{resource_name}"}

    def _empty_defaults(self) -> None:
        """Take everything out of what AWS puts into a new VPC: nothing is to rely on it."""
        DefaultSecurityGroup(
            f"{self._name}-default",
            vpc_id=self._vpc.id,
            tags=self._tags(f"{self._name}-default-unused"),
            opts=self._child,
        )
        DefaultNetworkAcl(
            f"{self._name}-default",
            default_network_acl_id=self._vpc.default_network_acl_id,
            tags=self._tags(f"{self._name}-default-unused"),
            # A new subnet is with it for the moment until its own ACL takes it over.
            opts=ResourceOptions(parent=self, ignore_changes=["subnetIds"]),
        )

    def _subnet(self, tier: Tier, zone: str, layout: ZoneLayout) -> Subnet:
        subnet_name = f"{self._name}-{tier}-{zone}"
        return Subnet(
            subnet_name,
            vpc_id=self._vpc.id,
            availability_zone=zone,
            cidr_block=layout.of(tier),
            map_public_ip_on_launch=False,
            tags={
                **self._tags(subnet_name),
                "tier": tier.value,
                **load_balancer_tags(tier, self._args.cluster_name),
            },
            opts=ResourceOptions(parent=self, protect=self._args.protect),
        )

    def _firewalls(self) -> None:
        private_cidrs = [layout.private for layout in self._layout.values()]
        for tier in Tier:
            rules = acl_rules(
                tier,
                vpc_cidr=self._args.cidr,
                private_cidrs=private_cidrs,
                database_ports=self._args.database_ports,
                client_cidrs=self._args.client_cidrs,
            )
            NetworkAcl(
                f"{self._name}-{tier}",
                vpc_id=self._vpc.id,
                subnet_ids=[subnet.id for subnet in self._subnets[tier].values()],
                ingress=[acl_entry(number, rule) for number, rule in numbered(rules.ingress)],
                egress=[acl_entry(number, rule) for number, rule in numbered(rules.egress)],
                tags=self._tags(f"{self._name}-{tier}"),
                opts=self._child,
            )

    def _routes(self, internet: InternetGateway) -> list[RouteTable]:
        """Make the route tables of all tiers; return the private ones."""
        public = self._route_table(f"{self._name}-public", self._subnets[Tier.PUBLIC])
        to_internet = Route(
            f"{self._name}-public-internet",
            route_table_id=public.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=internet.id,
            opts=self._child,
        )
        self._route_table(f"{self._name}-database", self._subnets[Tier.DATABASE])
        gateways = self._nat_gateways(to_internet)
        tables = []
        for zone, subnet in self._subnets[Tier.PRIVATE].items():
            table = self._route_table(f"{self._name}-private-{zone}", {zone: subnet})
            if zone in gateways:
                Route(
                    f"{self._name}-private-{zone}-internet",
                    route_table_id=table.id,
                    destination_cidr_block=ANYWHERE,
                    nat_gateway_id=gateways[zone].id,
                    opts=self._child,
                )
            tables.append(table)
        return tables

    def _route_table(self, table_name: str, subnets: Mapping[str, Subnet]) -> RouteTable:
        table = RouteTable(
            table_name, vpc_id=self._vpc.id, tags=self._tags(table_name), opts=self._child
        )
        for zone, subnet in subnets.items():
            RouteTableAssociation(
                table_name if table_name.endswith(zone) else f"{table_name}-{zone}",
                route_table_id=table.id,
                subnet_id=subnet.id,
                opts=self._child,
            )
        return table

    def _nat_gateways(self, to_internet: Route) -> dict[str, NatGateway]:
        """Make the gateways the mode asks for; return the one that serves each zone."""
        if self._args.nat == "none":
            return {}
        zones = list(self._layout)
        # A gateway needs the way to the internet from its first moment to its last.
        after = ResourceOptions(parent=self, depends_on=[to_internet])
        if self._args.nat == "regional":
            regional = NatGateway(
                f"{self._name}-regional",
                availability_mode="regional",
                vpc_id=self._vpc.id,
                tags=self._tags(f"{self._name}-regional"),
                opts=after,
            )
            self.nat_gateway_ids = {"regional": regional.id}
            return dict.fromkeys(zones, regional)
        if self._args.nat == "single":
            return dict.fromkeys(zones, self._zonal_gateway(zones[0], after))
        return {zone: self._zonal_gateway(zone, after) for zone in zones}

    def _zonal_gateway(self, zone: str, after: ResourceOptions) -> NatGateway:
        gateway_name = f"{self._name}-nat-{zone}"
        address = Eip(gateway_name, domain="vpc", tags=self._tags(gateway_name), opts=self._child)
        self.nat_public_ips = [*self.nat_public_ips, address.public_ip]
        gateway = NatGateway(
            gateway_name,
            allocation_id=address.allocation_id,
            subnet_id=self._subnets[Tier.PUBLIC][zone].id,
            tags=self._tags(gateway_name),
            opts=after,
        )
        self.nat_gateway_ids = {**self.nat_gateway_ids, zone: gateway.id}
        return gateway

    def _gateway_endpoints(self, tables: Sequence[RouteTable]) -> None:
        for service in GATEWAY_ENDPOINTS:
            VpcEndpoint(
                f"{self._name}-{service}-gateway",
                vpc_id=self._vpc.id,
                vpc_endpoint_type="Gateway",
                service_name=f"com.amazonaws.{self._args.region}.{service}",
                route_table_ids=[table.id for table in tables],
                tags=self._tags(f"{self._name}-{service}-gateway"),
                opts=self._child,
            )

    def _interface_endpoints(self) -> Output[str]:
        """Make the endpoints and the group that guards them; return the group."""
        group = SecurityGroup(
            f"{self._name}-endpoints",
            description="AWS services inside the VPC: HTTPS from its own addresses",
            vpc_id=self._vpc.id,
            tags=self._tags(f"{self._name}-endpoints"),
            opts=self._child,
        )
        SecurityGroupIngressRule(
            f"{self._name}-endpoints-https",
            security_group_id=group.id,
            description="HTTPS from the VPC",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4=self._args.cidr,
            tags=self._tags(f"{self._name}-endpoints-https"),
            opts=self._child,
        )
        for service in self._args.interface_endpoints:
            endpoint_name = f"{self._name}-{service.replace('.', '-')}"
            VpcEndpoint(
                endpoint_name,
                vpc_id=self._vpc.id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{self._args.region}.{service}",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in self._subnets[Tier.PRIVATE].values()],
                security_group_ids=[group.id],
                tags=self._tags(endpoint_name),
                opts=self._child,
            )
        return group.id

    def _flow_logs(self) -> None:
        """Record all traffic: searchable in CloudWatch, and kept in the archive where one is."""
        log_name = f"{self._name}-flow-logs"
        group = LogGroup(
            log_name,
            name=self._args.flow_log_group_name,
            retention_in_days=self._args.flow_log_retention_days,
            kms_key_id=self._args.log_key_arn,
            tags=self._args.tags,
            opts=self._child,
        )
        role = Role(
            log_name,
            name=self._args.flow_log_role_name,
            description="Writes the VPC's flow logs",
            assume_role_policy=policy_document(
                [service_trust("vpc-flow-logs.amazonaws.com", self._args.account_id)]
            ),
            permissions_boundary=self._args.permissions_boundary_arn,
            tags=self._args.tags,
            opts=self._child,
        )
        writes = RolePolicy(
            log_name,
            name="write-flow-logs",
            role=role.name,
            policy=group.arn.apply(
                lambda arn: policy_document(
                    [
                        Statement(
                            actions=[
                                "logs:CreateLogStream",
                                "logs:DescribeLogStreams",
                                "logs:PutLogEvents",
                            ],
                            resources=[arn, f"{arn}:*"],
                        ),
                        Statement(actions=["logs:DescribeLogGroups"], resources=["*"]),
                    ]
                )
            ),
            opts=self._child,
        )
        FlowLog(
            log_name,
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=FLOW_LOG_INTERVAL_SECONDS,
            tags=self._tags(log_name),
            # Without the permission the log is created and stays silent.
            opts=ResourceOptions(parent=self, depends_on=[writes]),
        )
        if self._args.flow_log_archive_arn is not None:
            FlowLog(
                f"{log_name}-archive",
                vpc_id=self._vpc.id,
                traffic_type="ALL",
                log_destination_type="s3",
                log_destination=self._args.flow_log_archive_arn,
                tags=self._tags(f"{log_name}-archive"),
                opts=self._child,
            )


def load_balancer_tags(tier: Tier, cluster_name: str) -> dict[str, str]:
    """Return the tags by which a cluster's load balancers choose among subnets."""
    roles = {Tier.PUBLIC: "elb", Tier.PRIVATE: "internal-elb"}
    if tier not in roles:
        return {}
    return {
        f"kubernetes.io/role/{roles[tier]}": "1",
        f"kubernetes.io/cluster/{cluster_name}": "shared",
    }


def acl_entry(number: int, rule: AclRule) -> "NetworkAclIngressArgsDict":
    """Return a rule as an ACL's `ingress` and `egress` take it: both have one shape."""
    entry: NetworkAclIngressArgsDict = {
        "rule_no": number,
        "action": "allow",
        "protocol": rule.protocol,
        "cidr_block": rule.cidr,
        "from_port": rule.ports[0],
        "to_port": rule.ports[1],
    }
    if rule.icmp is not None:
        entry["icmp_type"], entry["icmp_code"] = rule.icmp
    return entry

"""Controls of the network and of the load balancer."""

from __future__ import annotations

from typing import Final

from infra.policies.checks import (
    ANYWHERE,
    absent,
    anywhere,
    companion,
    either,
    equals,
    every,
    given,
    negate,
)
from infra.policies.model import Check, Control, Resource, Stack

VPC: Final = ("aws:ec2/vpc:Vpc",)
GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
ACL: Final = "aws:ec2/networkAcl:NetworkAcl"
BALANCER_TYPE: Final = ("aws:lb/loadBalancer:LoadBalancer",)
LISTENER: Final = ("aws:lb/listener:Listener",)

_ADMINISTRATION_PORTS: Final = (20, 21, 22, 3389)
_LAST_PORT: Final = 65_535.0
_WITHOUT_PORTS: Final = ("icmp", "1", "icmpv6", "58")
_TWO_ZONES: Final = 2


def _serves(service: str) -> Check:
    return lambda resource, _: str(resource.get("serviceName", "")).endswith(f".{service}")


def _closed_default(resource: Resource, _: Stack) -> bool:
    return not resource.get("ingress") and not resource.get("egress")


def _openings(resource: Resource) -> list[tuple[float, float]]:
    """Return the port ranges that a network ACL lets every address in on."""
    return [
        (0.0, _LAST_PORT)
        if rule["protocol"] in ("-1", "all")
        else (float(rule["fromPort"]), float(rule["toPort"]))
        for rule in resource.get("ingress", ())
        if rule["action"] == "allow"
        and rule["protocol"] not in _WITHOUT_PORTS
        and {rule.get("cidrBlock"), rule.get("ipv6CidrBlock")} & set(ANYWHERE)
    ]


def _no_opening_of_all_ports(resource: Resource, _: Stack) -> bool:
    return (0.0, _LAST_PORT) not in _openings(resource)


def _no_administration(resource: Resource, _: Stack) -> bool:
    return not any(
        first <= port <= last
        for first, last in _openings(resource)
        for port in _ADMINISTRATION_PORTS
    )


def _is_attached(resource: Resource, stack: Stack) -> bool:
    """Hold where something other than its own rules is made from a security group."""
    return any(item.type not in (INGRESS, EGRESS) for item in stack.dependants(resource))


_TLS: Final = every(
    equals("protocol", "HTTPS"),
    lambda resource, _: str(resource.get("sslPolicy", "")).startswith("ELBSecurityPolicy-TLS13"),
)
_REDIRECT: Final = every(
    equals("protocol", "HTTP"), equals("defaultActions.redirect.protocol", "HTTPS")
)

CONTROLS: Final = (
    Control(
        ids=("CKV2_AWS_11", "AWS-0178", "CIS-4.7", "EC2.6"),
        title="flow logs are on",
        types=VPC,
        check=companion("aws:ec2/flowLog:FlowLog"),
    ),
    Control(
        ids=("CKV2_AWS_12", "AWS-0173", "CIS-6.5", "EC2.2"),
        title="the default security group lets nothing through",
        types=VPC,
        check=companion("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", _closed_default),
    ),
    Control(
        ids=("EC2.10",),
        title="EC2's API is reached by an endpoint",
        types=VPC,
        check=companion("aws:ec2/vpcEndpoint:VpcEndpoint", _serves("ec2")),
    ),
    Control(
        ids=("CIS-6.8",),
        title="S3 is reached by an endpoint",
        types=VPC,
        check=companion("aws:ec2/vpcEndpoint:VpcEndpoint", _serves("s3")),
    ),
    Control(
        ids=("CKV_AWS_130", "AWS-0164", "EC2.15"),
        title="subnets give no public address by themselves",
        types=("aws:ec2/subnet:Subnet",),
        check=absent("mapPublicIpOnLaunch"),
    ),
    Control(
        ids=("CKV_AWS_23", "AWS-0099", "AWS-0124"),
        title="security groups and their rules say what they are for",
        types=(GROUP, INGRESS, EGRESS),
        check=given("description"),
    ),
    Control(
        ids=(
            "CKV_AWS_24", "CKV_AWS_25", "CKV_AWS_260", "CKV_AWS_277", "AWS-0107", "CIS-6.3",
            "CIS-6.4", "EC2.13", "EC2.14", "EC2.18", "EC2.19",
        ),
        title="nothing is open to every address",
        types=(INGRESS,),
        check=negate(anywhere("cidrIpv4", "cidrIpv6")),
    ),
    Control(
        ids=("CKV_AWS_382", "AWS-0104"),
        title="nothing may leave to every address on every port",
        types=(EGRESS,),
        check=negate(every(anywhere("cidrIpv4", "cidrIpv6"), equals("ipProtocol", "-1"))),
    ),
    Control(
        ids=("CKV2_AWS_5",),
        title="security groups are used",
        types=(GROUP,),
        check=_is_attached,
    ),
    Control(
        ids=("CKV_AWS_352", "AWS-0102"),
        title="network ACLs let nothing in on every port",
        types=(ACL,),
        check=every(given("ingress"), _no_opening_of_all_ports),
    ),
    Control(
        ids=(
            "CKV_AWS_229", "CKV_AWS_230", "CKV_AWS_231", "CKV_AWS_232", "AWS-0105", "CIS-6.2",
            "EC2.21",
        ),
        title="network ACLs let nothing in on ports 20, 21, 22 and 3389",
        types=(ACL,),
        check=every(given("ingress"), _no_administration),
    ),
    Control(
        ids=("CKV2_AWS_1", "EC2.16"),
        title="network ACLs are used",
        types=(ACL,),
        check=either(
            given("subnetIds"),
            companion("aws:ec2/networkAclAssociation:NetworkAclAssociation"),
        ),
    ),
)  # fmt: skip

BALANCER: Final = (
    Control(
        ids=(
            "ELB.1", "CKV_AWS_2", "CKV_AWS_103", "CKV_AWS_378", "CKV2_AWS_20", "CKV2_AWS_74",
            "AWS-0054", "AWS-0047",
        ),
        title="listeners speak TLS 1.2 or later, or send on to one that does",
        types=LISTENER,
        check=either(_TLS, _REDIRECT),
    ),
    Control(
        ids=("AWS-0053",),
        title="load balancers are internal",
        types=BALANCER_TYPE,
        check=equals("internal", True),
    ),
    Control(
        ids=("CKV_AWS_131", "AWS-0052", "ELB.4"),
        title="headers that are not valid are dropped",
        types=BALANCER_TYPE,
        check=equals("dropInvalidHeaderFields", True),
    ),
    Control(
        ids=("CKV_AWS_328", "ELB.12"),
        title="requests that could be read in two ways are refused",
        types=BALANCER_TYPE,
        check=equals("desyncMitigationMode", "defensive", "strictest"),
    ),
    Control(
        ids=("CKV_AWS_91", "CIS-4.10", "ELB.5"),
        title="requests are logged",
        types=BALANCER_TYPE,
        check=equals("accessLogs.enabled", True),
    ),
    Control(
        ids=("CKV_AWS_150", "ELB.6"),
        title="load balancers refuse to be deleted",
        types=BALANCER_TYPE,
        check=equals("enableDeletionProtection", True),
    ),
    Control(
        ids=("CKV2_AWS_28",),
        title="what is public has a firewall (WAF)",
        types=BALANCER_TYPE,
        check=either(
            equals("internal", True), companion("aws:wafv2/webAclAssociation:WebAclAssociation")
        ),
    ),
    Control(
        ids=("ELB.16",),
        title="load balancers have a firewall (WAF)",
        types=BALANCER_TYPE,
        check=companion("aws:wafv2/webAclAssociation:WebAclAssociation"),
    ),
    Control(
        ids=("ELB.13",),
        title="load balancers are in several zones",
        types=BALANCER_TYPE,
        check=lambda resource, _: len(resource.get("subnets", ())) >= _TWO_ZONES,
    ),
)  # fmt: skip

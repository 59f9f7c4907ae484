"""LoadBalancer: the internal way in to the workloads, by host name, inside the VPC.

An Application Load Balancer in the private subnets of all zones, a target group for every workload
with a fixed port on the nodes, the firewall rules between the two, and the private zone with the
workloads' names. Everything is in state: no controller in the cluster makes anything here that a
teardown would miss.

Ports change without a gap in the rules: what belongs to a port is named by it or auto-named, so
that the new is there before the old goes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi import ComponentResource, Input, Output, Resource, ResourceOptions
from pulumi_aws.autoscaling.attachment import Attachment
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.lb.listener import Listener
from pulumi_aws.lb.listener_rule import ListenerRule
from pulumi_aws.lb.load_balancer import LoadBalancer as Balancer
from pulumi_aws.lb.target_group import TargetGroup
from pulumi_aws.route53.record import Record
from pulumi_aws.route53.zone import Zone
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.balancer_logs import ACCESS_PREFIX, CONNECTION_PREFIX

if TYPE_CHECKING:
    from pulumi_aws.lb._inputs import ListenerDefaultActionArgsDict

HTTP = 80
HTTPS = 443
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
"""TLS 1.3, and of TLS 1.2 the ciphers with forward secrecy and authenticated encryption."""

IDLE_TIMEOUT_SECONDS = 60
DEREGISTRATION_SECONDS = 60
"""How long requests may finish on a node that leaves: as long as a connection may idle."""

HEALTH_INTERVAL_SECONDS = 15
HEALTH_TIMEOUT_SECONDS = 5
HEALTHY_AFTER = 2
UNHEALTHY_AFTER = 3
HEALTHY_CODE = "200"

NAME_LIMIT = 24
"""What a target group's name may have before the engine's suffix: AWS takes 32 characters."""
_DIGEST_LENGTH = 6


@dataclass(frozen=True, kw_only=True)
class BalancedWorkload:
    """A workload behind the load balancer."""

    node_port: int
    """Its fixed port on every node, 30000 to 32767; no two workloads share one."""
    health_path: str
    """What the health check asks for; anything but a 200 counts as ill."""


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """The way in, and what is behind it."""

    region: str
    vpc_id: Input[str]
    vpc_cidr: str
    subnet_ids: Mapping[str, Input[str]]
    """Zone name -> private subnet."""
    client_cidrs: Sequence[str]
    """Who may reach it beside the VPC itself."""
    workloads: Mapping[str, BalancedWorkload]
    """Workload, which is also its host name below the domain -> where it listens."""
    domain: str
    """The private zone."""
    node_security_group_id: Input[str]
    """The group that every node carries."""
    autoscaling_group_names: Mapping[str, Input[str]]
    """Node group -> its Auto Scaling group."""
    node_groups: Mapping[str, Resource] = field(default_factory=dict)
    """Node group -> the resource that its Auto Scaling group comes and goes with.

    A node group that is replaced then keeps serving until it has drained, long after the nodes of
    the new one are healthy. One that is not named here is detached as soon as the new one is
    attached, which is before its nodes passed their health checks.
    """
    certificate_arn: str | None
    """What it serves HTTPS with; None: HTTP, inside the VPC."""
    log_bucket: str
    """Bucket of access and connection logs; it must be encrypted by S3's own keys."""
    deletion_protection: bool
    """Whether AWS refuses to delete it."""
    protect: bool
    """False only for a teardown: nothing is protected, and foreign records go with the zone."""
    tags: Mapping[str, str]


class LoadBalancer(ComponentResource):
    """An internal load balancer and the names it answers to."""

    arn: Output[str]
    """The load balancer."""
    arn_suffix: Output[str]
    """What CloudWatch calls it."""
    dns_name: Output[str]
    """Its name by AWS; the workloads' own names lead there."""
    security_group_id: Output[str]
    """Its security group."""
    zone_id: Output[str]
    """The private zone."""
    hostnames: Mapping[str, str]
    """Workload -> its name inside the VPC."""
    target_group_arn_suffixes: Mapping[str, Output[str]]
    """Workload -> what CloudWatch calls its target group."""

    def __init__(
        self, name: str, args: LoadBalancerArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:LoadBalancer", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)

        group = self._security_group()
        balancer = Balancer(
            name,
            internal=True,
            load_balancer_type="application",
            ip_address_type="ipv4",
            subnets=list(args.subnet_ids.values()),
            security_groups=[group.id],
            enable_deletion_protection=args.deletion_protection and args.protect,
            drop_invalid_header_fields=True,
            desync_mitigation_mode="strictest",
            xff_header_processing_mode="append",
            enable_http2=True,
            idle_timeout=IDLE_TIMEOUT_SECONDS,
            access_logs={"bucket": args.log_bucket, "prefix": ACCESS_PREFIX, "enabled": True},
            connection_logs={
                "bucket": args.log_bucket,
                "prefix": CONNECTION_PREFIX,
                "enabled": True,
            },
            tags=args.tags,
            opts=self._child,
        )
        listener = self._listener(balancer)
        target_groups = {
            workload: self._workload(workload, listener) for workload in args.workloads
        }
        zone = self._zone(balancer)

        self.arn = balancer.arn
        self.arn_suffix = balancer.arn_suffix
        self.dns_name = balancer.dns_name
        self.security_group_id = group.id
        self.zone_id = zone.zone_id
        self.hostnames = {workload: f"{workload}.{args.domain}" for workload in args.workloads}
        self.target_group_arn_suffixes = {
            workload: target_group.arn_suffix for workload, target_group in target_groups.items()
        }
        self.register_outputs(
            {
                "arn": self.arn,
                "arn_suffix": self.arn_suffix,
                "dns_name": self.dns_name,
                "security_group_id": self.security_group_id,
                "zone_id": self.zone_id,
                "hostnames": self.hostnames,
                "target_group_arn_suffixes": self.target_group_arn_suffixes,
            }
        )

    def _security_group(self) -> SecurityGroup:
        """Admit clients to the listeners, and the load balancer to the workloads' ports."""
        args = self._args
        group = SecurityGroup(
            self._name,
            description="Internal load balancer: its clients in, the workloads on the nodes out",
            vpc_id=args.vpc_id,
            tags=args.tags,
            opts=self._child,
        )
        for port in listener_ports(args.certificate_arn):
            for cidr in dict.fromkeys([args.vpc_cidr, *args.client_cidrs]):
                SecurityGroupIngressRule(
                    f"{self._name}-{port}-{cidr.replace('/', '-')}",
                    security_group_id=group.id,
                    description=f"Clients in {cidr}",
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    cidr_ipv4=cidr,
                    tags=args.tags,
                    opts=self._child,
                )
        for workload, target in args.workloads.items():
            # Named by the port: a new port is open before the old one closes.
            rule_name = f"{self._name}-nodes-{target.node_port}"
            SecurityGroupEgressRule(
                rule_name,
                security_group_id=group.id,
                description=f"{workload} on the nodes",
                ip_protocol="tcp",
                from_port=target.node_port,
                to_port=target.node_port,
                referenced_security_group_id=args.node_security_group_id,
                tags=args.tags,
                opts=self._child,
            )
            SecurityGroupIngressRule(
                rule_name,
                security_group_id=args.node_security_group_id,
                description=f"{workload} from the load balancer",
                ip_protocol="tcp",
                from_port=target.node_port,
                to_port=target.node_port,
                referenced_security_group_id=group.id,
                tags=args.tags,
                opts=self._child,
            )
        return group

    def _listener(self, balancer: Balancer) -> Listener:
        """Make the listeners; return the one that serves. No host name leads to a 404."""
        args = self._args
        nothing_here: ListenerDefaultActionArgsDict = {
            "type": "fixed-response",
            "fixed_response": {
                "content_type": "text/plain",
                "message_body": "No workload has this host name",
                "status_code": "404",
            },
        }
        to_https: ListenerDefaultActionArgsDict = {
            "type": "redirect",
            "redirect": {"protocol": "HTTPS", "port": str(HTTPS), "status_code": "HTTP_301"},
        }
        plain = Listener(
            f"{self._name}-http",
            load_balancer_arn=balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[nothing_here if args.certificate_arn is None else to_https],
            tags=args.tags,
            opts=self._child,
        )
        if args.certificate_arn is None:
            return plain
        return Listener(
            f"{self._name}-https",
            load_balancer_arn=balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=args.certificate_arn,
            default_actions=[nothing_here],
            tags=args.tags,
            opts=self._child,
        )

    def _workload(self, workload: str, listener: Listener) -> TargetGroup:
        """Lead a host name to the workload's port on the nodes of every node group."""
        args, target = self._args, self._args.workloads[workload]
        target_group = TargetGroup(
            target_group_label(workload),
            vpc_id=args.vpc_id,
            target_type="instance",
            protocol="HTTP",
            port=target.node_port,
            deregistration_delay=DEREGISTRATION_SECONDS,
            stickiness={"type": "lb_cookie", "enabled": False},
            health_check={
                "enabled": True,
                "protocol": "HTTP",
                "port": "traffic-port",
                "path": target.health_path,
                "matcher": HEALTHY_CODE,
                "interval": HEALTH_INTERVAL_SECONDS,
                "timeout": HEALTH_TIMEOUT_SECONDS,
                "healthy_threshold": HEALTHY_AFTER,
                "unhealthy_threshold": UNHEALTHY_AFTER,
            },
            tags=args.tags,
            opts=self._child,
        )
        attachments = [
            Attachment(
                f"{self._name}-{workload}-{node_group}",
                autoscaling_group_name=autoscaling_group,
                lb_target_group_arn=target_group.arn,
                opts=ResourceOptions(parent=self, deleted_with=args.node_groups.get(node_group)),
            )
            for node_group, autoscaling_group in args.autoscaling_group_names.items()
        ]
        ListenerRule(
            f"{self._name}-{workload}",
            listener_arn=listener.arn,
            # As unique as the port is, and the same whatever other workloads come and go.
            priority=target.node_port,
            conditions=[{"host_header": {"values": [f"{workload}.{args.domain}"]}}],
            actions=[{"type": "forward", "target_group_arn": target_group.arn}],
            tags=args.tags,
            # Requests go to a target group only when it has the nodes.
            opts=ResourceOptions(parent=self, depends_on=attachments),
        )
        return target_group

    def _zone(self, balancer: Balancer) -> Zone:
        """Give the workloads their names inside the VPC."""
        args = self._args
        zone = Zone(
            self._name,
            name=args.domain,
            comment="Names of the load-balanced workloads",
            vpcs=[{"vpc_id": args.vpc_id, "vpc_region": args.region}],
            force_destroy=not args.protect,
            tags=args.tags,
            opts=self._child,
        )
        for workload in args.workloads:
            Record(
                f"{self._name}-{workload}",
                zone_id=zone.zone_id,
                name=f"{workload}.{args.domain}",
                type="A",
                aliases=[
                    {
                        "name": balancer.dns_name,
                        "zone_id": balancer.zone_id,
                        # There is nothing else to answer with when it is ill.
                        "evaluate_target_health": False,
                    }
                ],
                opts=self._child,
            )
        return zone


def listener_ports(certificate_arn: str | None) -> Sequence[int]:
    """Return where the load balancer listens; 80 only redirects where there is a certificate."""
    return (HTTP,) if certificate_arn is None else (HTTP, HTTPS)


def target_group_label(workload: str) -> str:
    """Return a name that leaves room for the suffix which lets a new group precede the old."""
    if len(workload) <= NAME_LIMIT:
        return workload
    digest = hashlib.sha256(workload.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{workload[: NAME_LIMIT - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"

"""A network, a load balancer before nodes of somebody else's, and their alarms."""

from collections.abc import Mapping

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.eks.cluster import Cluster
from pulumi_aws.eks.node_group import NodeGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.provider import Provider

from components.alarm_rules import Watched, WatchedCluster, WatchedDatabase, WatchedLoadBalancer
from components.alarms import Alarms, AlarmsArgs
from components.balancer_logs import balancer_log_delivery
from components.cidr import Tier
from components.iam_policies import policy_document, service_trust
from components.load_balancer import BalancedWorkload, LoadBalancer, LoadBalancerArgs
from components.network import Network, NetworkArgs
from components.private_bucket import PrivateBucket, PrivateBucketArgs

config = pulumi.Config()
ACCOUNT = "111122223333"
REGION = "us-east-1"
LOG_BUCKET = "mono-repo-dev-logs-111122223333"
CIDR = "10.0.0.0/16"
TAGS = {"environment": "dev"}
TRUST = policy_document([service_trust("eks.amazonaws.com", ACCOUNT)])
Ids = Mapping[str, pulumi.Output[str]]

aws = Provider("aws", region=REGION, allowed_account_ids=[ACCOUNT])
on_aws = pulumi.ResourceOptions(providers=[aws])
provided = pulumi.ResourceOptions(provider=aws)
protect = config.get_bool("protect") or False
certificate_arn = config.get("certificate")

logs = PrivateBucket(
    "logs",
    PrivateBucketArgs(
        key_arn=None,
        noncurrent_days=30,
        grants=[balancer_log_delivery(ACCOUNT)],
        physical_name=LOG_BUCKET,
        protect=False,
        tags=TAGS,
    ),
    on_aws,
)


def whole_network() -> tuple[pulumi.Output[str], Ids, Ids]:
    """Make the environment's own: give the VPC, its private subnets and its NAT gateways."""
    made = Network(
        "network",
        NetworkArgs(
            account_id=ACCOUNT,
            region=REGION,
            cidr=CIDR,
            zones={"us-east-1a": 0, "us-east-1b": 1, "us-east-1c": 2},
            nat="single",
            interface_endpoints=(),
            database_ports=[5432],
            client_cidrs=[],
            cluster_name="mono-repo-dev",
            flow_log_group_name="/aws/vpc/mono-repo-dev/flow-logs",
            flow_log_role_name="mono-repo-dev-flow-logs",
            flow_log_retention_days=7,
            flow_log_archive_arn=None,
            log_key_arn="arn:aws:kms:us-east-1:111122223333:key/logs",
            permissions_boundary_arn=None,
            protect=False,
            tags=TAGS,
        ),
        on_aws,
    )
    return made.vpc_id, made.subnet_ids[Tier.PRIVATE], made.nat_gateway_ids


def small_network() -> tuple[pulumi.Output[str], Ids, Ids]:
    """Make what a load balancer cannot do without, where the rest is not looked at."""
    vpc = Vpc("vpc", cidr_block=CIDR, tags=TAGS, opts=provided)
    subnets = {
        zone: Subnet(
            zone,
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=f"10.0.{number}.0/24",
            tags=TAGS,
            opts=provided,
        ).id
        for number, zone in enumerate(("us-east-1a", "us-east-1b"))
    }
    return vpc.id, subnets, {}


def managed_nodes(subnets: Ids, instance_type: str) -> NodeGroup:
    """Make nodes as EKS does, which are replaced when their instance type changes."""
    role = Role("nodes", assume_role_policy=TRUST, tags=TAGS, opts=provided)
    cluster = Cluster(
        "cluster",
        role_arn=role.arn,
        vpc_config={"subnet_ids": list(subnets.values())},
        tags=TAGS,
        opts=provided,
    )
    return NodeGroup(
        "general",
        cluster_name=cluster.name,
        node_role_arn=role.arn,
        subnet_ids=list(subnets.values()),
        instance_types=[instance_type],
        scaling_config={"min_size": 1, "desired_size": 1, "max_size": 1},
        tags=TAGS,
        opts=provided,
    )


vpc_id, subnet_ids, nat_gateway_ids = (
    small_network() if config.get_bool("small") else whole_network()
)
scaling_groups: Mapping[str, pulumi.Input[str]] = {"general": config.require("scaling_group")}
node_groups: Mapping[str, pulumi.Resource] = {}
if config.get("instance_type"):
    managed = managed_nodes(subnet_ids, config.require("instance_type"))
    scaling_groups = {"general": managed.resources[0].autoscaling_groups[0].name}
    node_groups = {"general": managed}
nodes = SecurityGroup("nodes", description="Nodes", vpc_id=vpc_id, tags=TAGS, opts=provided)
balancer = LoadBalancer(
    "load-balancer",
    LoadBalancerArgs(
        region=REGION,
        vpc_id=vpc_id,
        vpc_cidr=CIDR,
        subnet_ids=subnet_ids,
        client_cidrs=["10.99.0.0/16"],
        workloads={
            "api-service": BalancedWorkload(
                node_port=config.get_int("port") or 30080, health_path="/health"
            ),
            "web-app": BalancedWorkload(node_port=30081, health_path="/health"),
        },
        domain="mono-repo.internal",
        node_security_group_id=nodes.id,
        autoscaling_group_names=scaling_groups,
        node_groups=node_groups,
        certificate_arn=certificate_arn,
        log_bucket=LOG_BUCKET,
        deletion_protection=True,
        protect=protect,
        tags=TAGS,
    ),
    # The bucket is another stack's in an environment.
    pulumi.ResourceOptions(providers=[aws], depends_on=[logs]),
)
Alarms(
    "alarms",
    AlarmsArgs(
        name_prefix="mono-repo-dev",
        topic_arn="arn:aws:sns:us-east-1:111122223333:mono-repo-dev-alarms",
        watched=Watched(
            load_balancer=WatchedLoadBalancer(
                arn_suffix=balancer.arn_suffix,
                target_group_arn_suffixes=balancer.target_group_arn_suffixes,
                certificate_arn=certificate_arn,
            ),
            cluster=WatchedCluster(
                cluster_name="mono-repo-dev",
                autoscaling_group_names=scaling_groups,
                container_insights=True,
            ),
            databases={
                "main": WatchedDatabase(
                    identifier="mono-repo-dev", instance_class="db.t4g.medium", storage_gb=20
                )
            },
            nat_gateway_ids=nat_gateway_ids,
        ),
        notify=True,
        tags=TAGS,
    ),
    on_aws,
)
pulumi.export("hostnames", balancer.hostnames)
pulumi.export("arn", balancer.arn)

"""Some thirty resources of many types; its second generation updates, replaces, adds and removes.

Names are given and made up, some resources are alike in all that their program says of them.
"""

import json

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_versioning import BucketVersioning
from pulumi_aws.sns.topic import Topic
from pulumi_aws.ssm.parameter import Parameter
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

generation = pulumi.Config("mono-repo").get_int("generation") or 1
first = generation == 1
aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
on_aws = pulumi.ResourceOptions(provider=aws)
tags = {"generation": str(generation)}


class Half(pulumi.ComponentResource):
    """A network: its second generation is another one."""

    def __init__(self, name: str) -> None:
        super().__init__("mono-repo:index:Half", name, {}, pulumi.ResourceOptions(providers=[aws]))
        child = pulumi.ResourceOptions(parent=self)
        block = "10.0" if first else "10.9"
        vpc = Vpc("vpc", cidr_block=f"{block}.0.0/16", tags={"Name": "busy"}, opts=child)
        gateway = InternetGateway("gateway", vpc_id=vpc.id, opts=child)
        table = RouteTable("table", vpc_id=vpc.id, opts=child)
        Route(
            "internet",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=child,
        )
        subnets = [
            Subnet(
                f"subnet-{zone}",
                vpc_id=vpc.id,
                cidr_block=f"{block}.{number}.0/24",
                availability_zone=f"us-east-1{zone}",
                opts=child,
            )
            for number, zone in enumerate("ab")
        ]
        for zone, subnet in zip("ab", subnets, strict=True):
            RouteTableAssociation(
                f"association-{zone}", route_table_id=table.id, subnet_id=subnet.id, opts=child
            )
        # Nothing but their ids tells these two apart.
        addresses = [Eip(f"address-{number}", domain="vpc", opts=child) for number in (1, 2)]
        # An address serves one gateway at a time.
        goes_first = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        NatGateway("nat", subnet_id=subnets[0].id, allocation_id=addresses[0].id, opts=goes_first)
        group = SecurityGroup("group", vpc_id=vpc.id, description="busy", opts=child)
        for port in (443, 8080 if first else 8443):
            SecurityGroupIngressRule(
                f"port-{port}",
                security_group_id=group.id,
                cidr_ipv4=f"{block}.0.0/16",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=child,
            )
        self.vpc_id = vpc.id
        self.register_outputs({"vpc_id": vpc.id})


key = Key(
    "key",
    description="busy",
    deletion_window_in_days=7,
    enable_key_rotation=True,
    tags=tags,
    opts=on_aws,
)
Alias("key", name="alias/busy", target_key_id=key.id, opts=on_aws)
trust = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "ec2.amazonaws.com"},
        }
    ],
}
role = Role(
    "role",
    # A fixed name with another path: the old role goes before the new one is made.
    name="busy",
    path="/" if first else "/busy/",
    assume_role_policy=json.dumps(trust),
    tags=tags,
    opts=on_aws,
)
RolePolicy(
    "read",
    role=role.name,
    policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"}],
        }
    ),
    opts=on_aws,
)
bucket = Bucket("bucket", tags=tags, opts=on_aws)
BucketVersioning(
    "bucket",
    bucket=bucket.id,
    versioning_configuration={"status": "Enabled"},
    opts=on_aws,
)
Topic("topic", name="busy", kms_master_key_id=key.id, tags=tags, opts=on_aws)
# A name that changes: the new group is made before the old one goes.
LogGroup(
    "log",
    name="/busy/log" if first else "/busy/other-log",
    retention_in_days=7 if first else 30,
    opts=on_aws,
)
for number in range(4 if first else 3):
    Parameter(
        f"parameter-{number}",
        name=f"/busy/{number}",
        type="String",
        value=f"{number} of {generation}",
        opts=on_aws,
    )
if not first:
    Topic("new", opts=on_aws)
half = Half("network")
pulumi.export("vpc_id", half.vpc_id)
pulumi.export("generation", generation)

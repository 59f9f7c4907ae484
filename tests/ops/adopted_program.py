"""A program that names its resources as the runbook does; with ids, it imports those."""

import json
from typing import Any

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.dynamodb.table import Table
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ecr.repository import Repository
from pulumi_aws.iam.role import Role
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.ssm.parameter import Parameter

config = pulumi.Config("mono-repo")
ids = json.loads(config.get("ids") or "{}")
aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class Group(pulumi.ComponentResource):
    """All of them."""

    def __init__(self, name: str) -> None:
        super().__init__("mono-repo:index:Group", name, {}, pulumi.ResourceOptions(providers=[aws]))

        def opts(child: str) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, import_=ids.get(child))

        vpc = Vpc(
            "network",
            cidr_block=config.get("cidr") or "10.0.0.0/16",
            tags={"Name": "mono-repo-dev-vpc"},
            opts=opts("network"),
        )
        subnet = Subnet(
            "private-a",
            vpc_id=vpc.id,
            cidr_block="10.0.0.0/20",
            availability_zone="us-east-1a",
            tags={"Name": "mono-repo-dev-private-a"},
            opts=opts("private-a"),
        )
        table = RouteTable(
            "private", vpc_id=vpc.id, tags={"Name": "mono-repo-dev-private"}, opts=opts("private")
        )
        RouteTableAssociation(
            "private-a", subnet_id=subnet.id, route_table_id=table.id, opts=opts("association")
        )
        key = Key("parameters", description="for parameters", opts=opts("key"))
        Alias(
            "parameters",
            name="alias/mono-repo-parameter-store-dev",
            target_key_id=key.key_id,
            opts=opts("alias"),
        )
        Role(
            "access",
            name="mono-repo-parameter-store-access-dev",
            assume_role_policy=json.dumps(TRUST),
            opts=opts("access"),
        )
        Parameter(
            "host",
            name="/dev/mono-repo/database/host",
            type="String",
            value="db.internal",
            opts=opts("host"),
        )
        LogGroup(
            "log",
            name="/aws/ssm/parameter-store/dev/mono-repo",
            retention_in_days=7,
            opts=opts("log"),
        )
        Repository("image", name="mono-repo-dev-api-service", opts=opts("image"))
        Table(
            "lock",
            name="mono-repo-dev-pulumi-state-lock",
            hash_key="LockID",
            billing_mode="PAY_PER_REQUEST",
            attributes=[{"name": "LockID", "type": "S"}],
            opts=opts("lock"),
        )
        Bucket("mono-repo-dev-pulumi-state", opts=opts("mono-repo-dev-pulumi-state"))
        self.register_outputs({})


group: Any = Group("group")

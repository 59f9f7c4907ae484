"""An environment in small: databases, and a parameter that knows where one of them answers."""

from __future__ import annotations

import datetime as dt

import pulumi
from pulumi import ResourceOptions
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.ssm.parameter import Parameter

from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.iam_policies import key_for_logs
from components.rds import Rds, RdsArgs
from infra import naming
from infra.providers import home_provider
from infra.settings import parse
from stacks import databases, environment


def main() -> None:
    """Build it from the stack's settings, as the real program does."""
    config = pulumi.Config(naming.PROJECT)
    settings = parse(
        pulumi.get_stack(), config.get_object("settings"), dt.datetime.now(tz=dt.UTC).date()
    )
    env, tags = settings.environment, naming.tags(settings)
    aws = home_provider(settings)
    by_aws = ResourceOptions(provider=aws)
    keys = {
        name: EncryptionKey(
            name,
            EncryptionKeyArgs(
                account_id=settings.account_id,
                description=f"Encrypts {name}",
                alias=alias,
                deletion_window_days=7,
                users=[key_for_logs(settings.region, settings.account_id)],
                protect=False,
                tags=tags,
            ),
            ResourceOptions(providers=[aws]),
        )
        for name, alias in (
            ("logs", f"alias/{naming.prefix(env)}-logs"),
            ("parameters", naming.parameter_key_alias(env)),
        )
    }
    vpc = Vpc("network", cidr_block="10.0.0.0/16", tags=tags, opts=by_aws)
    subnets = [
        Subnet(
            f"database-{zone}",
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=f"10.0.{number}.0/24",
            tags=tags,
            opts=by_aws,
        )
        for number, zone in enumerate(settings.network.availability_zones)
    ]
    nodes = SecurityGroup("nodes", description="Stands for the nodes", vpc_id=vpc.id, opts=by_aws)
    rds = Rds(
        "databases",
        RdsArgs(
            account_id=settings.account_id,
            name_prefix=naming.prefix(env),
            vpc_id=vpc.id,
            subnet_ids=[subnet.id for subnet in subnets],
            client_security_group_id=nodes.id,
            databases=databases.databases(settings),
            database_key_arn=environment.database_key(settings, aws),
            monitoring_role_name=f"{naming.prefix(env)}-rds-monitoring",
            log_retention_days=7,
            log_key_arn=keys["logs"].arn,
            permissions_boundary_arn=None,
            protect=settings.deletion_protection,
            tags=tags,
        ),
        ResourceOptions(providers=[aws]),
    )
    Parameter(
        "database-host",
        name=naming.parameter(env, "database/host"),
        type="String",
        value=rds.instances["main"].address,
        tags=tags,
        opts=by_aws,
    )

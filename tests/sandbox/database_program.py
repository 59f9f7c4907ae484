"""A program with a network and databases, for the sandbox: nodes are a security group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
from pulumi import ResourceOptions
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.provider import Provider

from components.cidr import Tier
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.iam_policies import key_for_logs
from components.network import Network, NetworkArgs
from components.rds import Database, Rds, RdsArgs

ACCOUNT = "111122223333"
REGION = "us-east-1"
TAGS = {"environment": "dev"}
MAIN = Database(
    name="main",
    identifier="mono-repo-dev",
    engine_version="17",
    instance_class="db.t4g.medium",
    storage_gb=20,
    max_storage_gb=100,
    multi_az=False,
    backup_retention_days=7,
    backup_window="03:00-04:00",
    maintenance_window="sun:05:00-sun:06:00",
    deletion_protection=True,
    database_name="mono_repo",
    username="mono_repo_admin",
    port=5432,
    performance_insights_days=7,
    monitoring_interval_seconds=60,
    snapshot_identifier=None,
    final_snapshot_identifier=None,
)


def main() -> None:
    """Build it; the configuration's `database` changes the database, `teardown` unprotects it."""
    config = pulumi.Config()
    changes: dict[str, Any] = config.get_object("database") or {}
    if "engine_version" in changes:  # `config set` makes a number of it
        changes["engine_version"] = str(changes["engine_version"])
    protect = not config.get_bool("teardown")
    aws = Provider("aws", region=REGION)
    on_aws = ResourceOptions(providers=[aws])
    logs_key = _key("logs", on_aws)
    network = Network("network", _network(logs_key), on_aws)
    nodes = SecurityGroup(
        "nodes",
        description="Stands for the nodes",
        vpc_id=network.vpc_id,
        opts=ResourceOptions(provider=aws),
    )
    rds = Rds(
        "databases",
        RdsArgs(
            account_id=ACCOUNT,
            name_prefix="mono-repo-dev",
            vpc_id=network.vpc_id,
            subnet_ids=list(network.subnet_ids[Tier.DATABASE].values()),
            client_security_group_id=nodes.id,
            databases=[replace(MAIN, **changes)],
            database_key_arn=_key("databases", on_aws),
            monitoring_role_name="mono-repo-dev-rds-monitoring",
            log_retention_days=7,
            log_key_arn=logs_key,
            permissions_boundary_arn=None,
            protect=protect,
            tags=TAGS,
        ),
        on_aws,
    )
    made = rds.instances["main"]
    pulumi.export("address", made.address)
    pulumi.export("port", made.port)
    pulumi.export("secret", made.master_secret_arn)
    pulumi.export("id", made.resource_id)


def _key(name: str, opts: ResourceOptions) -> pulumi.Output[str]:
    args = EncryptionKeyArgs(
        account_id=ACCOUNT,
        description=f"Encrypts {name}",
        alias=f"alias/mono-repo-dev-{name}",
        deletion_window_days=7,
        users=[key_for_logs(REGION, ACCOUNT)],
        protect=False,
        tags=TAGS,
    )
    return EncryptionKey(name, args, opts).arn


def _network(logs_key: pulumi.Output[str]) -> NetworkArgs:
    return NetworkArgs(
        account_id=ACCOUNT,
        region=REGION,
        cidr="10.0.0.0/16",
        zones={"us-east-1a": 0, "us-east-1b": 1, "us-east-1c": 2},
        nat="none",
        interface_endpoints=(),
        database_ports=[5432],
        client_cidrs=[],
        cluster_name="mono-repo-dev",
        flow_log_group_name="/aws/vpc/mono-repo-dev/flow-logs",
        flow_log_role_name="mono-repo-dev-flow-logs",
        flow_log_retention_days=7,
        flow_log_archive_arn=None,
        log_key_arn=logs_key,
        permissions_boundary_arn=None,
        protect=False,
        tags=TAGS,
    )

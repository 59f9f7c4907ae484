"""A small environment that exports what a real one does: its cluster and database are there."""

import pulumi
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider

env = pulumi.get_stack()
aws = Provider("aws", region="us-east-1")
on_aws = pulumi.ResourceOptions(provider=aws)
vpc = Vpc("vpc", cidr_block="10.0.0.0/16", tags={"environment": env}, opts=on_aws)
key = Key("key", description="for parameters", deletion_window_in_days=7, opts=on_aws)
Alias("key", name=f"alias/mono-repo-parameter-store-{env}", target_key_id=key.id, opts=on_aws)

arn = "arn:aws:iam::111122223333:role/x"
for name, value in {
    "account_id": "111122223333",
    "region": "us-east-1",
    "vpc_id": vpc.id,
    "vpc_cidr": "10.0.0.0/16",
    "subnet_ids": {},
    "nat_public_ips": [],
    "endpoint_security_group_id": "sg-0",
    "cluster_name": f"mono-repo-{env}",
    "cluster_endpoint": "https://example.invalid",
    "cluster_log_group": "/aws/eks/x",
    "autoscaling_groups": {},
    "cluster_role_arns": {},
    "database_identifiers": {"main": f"mono-repo-{env}"},
    "database_addresses": {"main": pulumi.Config("mono-repo").get("address") or "nowhere"},
    "master_secret_arns": {},
    "load_balancer": "example.invalid",
    "hostnames": {},
    "user_names": {},
    "access_key_secret_arns": {},
    "parameter_path": f"/{env}/mono-repo",
    "parameter_key_arn": key.arn,
    "parameter_access_role_arn": arn,
    "parameter_log_group": "/x",
    "alarm_topic_arn": arn,
    "logs_key_arn": arn,
}.items():
    pulumi.export(name, value)

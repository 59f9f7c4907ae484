"""Resources that are kept from being deleted in each of the ways that there are."""

import json

import pulumi
from pulumi_aws.dynamodb.table import Table
from pulumi_aws.iam.role import Role
from pulumi_aws.kms.key import Key
from pulumi_aws.provider import Provider
from pulumi_aws.s3.bucket import Bucket

aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
on_aws = pulumi.ResourceOptions(provider=aws)
protect = pulumi.Config("mono-repo").require_object("settings").get("deletion_protection", True)
guarded = pulumi.ResourceOptions(provider=aws, protect=protect)
key = Key("key", description="guarded", deletion_window_in_days=7, opts=guarded)
bucket = Bucket("bucket", force_destroy=not protect, opts=guarded)
table = Table(
    "table",
    name="guarded",
    attributes=[{"name": "id", "type": "S"}],
    hash_key="id",
    billing_mode="PAY_PER_REQUEST",
    deletion_protection_enabled=protect,
    opts=guarded,
)
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
# It goes first: while it is there, so is all that it depends on.
Role(
    "role",
    name="guarded",
    assume_role_policy=json.dumps(trust),
    opts=pulumi.ResourceOptions(provider=aws, depends_on=[key, bucket, table]),
)
pulumi.export("bucket", bucket.id)

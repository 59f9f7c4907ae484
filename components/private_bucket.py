"""PrivateBucket: an S3 bucket that is versioned, encrypted, private and reached over TLS only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_aws.s3.bucket_logging import BucketLogging
from pulumi_aws.s3.bucket_notification import BucketNotification
from pulumi_aws.s3.bucket_ownership_controls import BucketOwnershipControls
from pulumi_aws.s3.bucket_policy import BucketPolicy
from pulumi_aws.s3.bucket_public_access_block import BucketPublicAccessBlock
from pulumi_aws.s3.bucket_server_side_encryption_configuration import (
    BucketServerSideEncryptionConfiguration,
)
from pulumi_aws.s3.bucket_versioning import BucketVersioning

from components.iam_policies import Statement, policy_document, tls_only

if TYPE_CHECKING:
    from pulumi_aws.s3._inputs import BucketLifecycleConfigurationRuleArgsDict

ABORT_UPLOADS_AFTER_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class PrivateBucketArgs:
    """What is kept in a bucket and for how long."""

    key_arn: Input[str] | None
    """KMS key; None takes S3's own, which a target of S3 access logs must have."""
    noncurrent_days: int
    """Days an overwritten or deleted object can be brought back."""
    protect: bool
    """Refuse to delete or replace the bucket. One that is not protected goes with its objects."""
    tags: Mapping[str, str]
    expire_days: int | None = None
    """Days after which objects are deleted; None keeps them."""
    archive_days: int | None = None
    """Days after which objects move to the archive class with instant retrieval."""
    access_log: "PrivateBucket | None" = None
    """Bucket that receives a line for every request."""
    grants: Sequence[Statement] = ()
    """What AWS services may do in the bucket; a resource that begins with `/` is an object path."""
    physical_name: str | None = None
    """None: the resource's name and a random suffix."""


class PrivateBucket(ComponentResource):
    """A bucket and all of its settings."""

    bucket: Output[str]
    """Name of the bucket."""
    arn: Output[str]
    """ARN of the bucket."""

    def __init__(
        self, name: str, args: PrivateBucketArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:PrivateBucket", name, {}, opts)
        child = ResourceOptions(parent=self)
        bucket = Bucket(
            name,
            bucket=args.physical_name,
            force_destroy=not args.protect,
            tags=args.tags,
            opts=ResourceOptions(parent=self, protect=args.protect),
        )
        private = BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        BucketOwnershipControls(
            name, bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        versioning = BucketVersioning(
            name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
                    if args.key_arn is None
                    else {"sse_algorithm": "aws:kms", "kms_master_key_id": args.key_arn},
                    "bucket_key_enabled": args.key_arn is not None,
                }
            ],
            opts=child,
        )
        # The public access block is set first: both calls at once are refused by S3.
        BucketPolicy(
            name,
            bucket=bucket.id,
            policy=bucket.arn.apply(lambda arn: bucket_policy(arn, args.grants)),
            opts=ResourceOptions(parent=self, depends_on=[private]),
        )
        # A rule about old versions is accepted before versioning is on, but does nothing.
        BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=lifecycle_rules(args),
            opts=ResourceOptions(parent=self, depends_on=[versioning]),
        )
        BucketNotification(name, bucket=bucket.id, eventbridge=True, opts=child)
        if args.access_log is not None:
            BucketLogging(
                name,
                bucket=bucket.id,
                target_bucket=args.access_log.bucket,
                target_prefix=f"s3/{name}/",
                # S3 refuses a target whose policy does not admit it yet.
                opts=ResourceOptions(parent=self, depends_on=[args.access_log]),
            )
        self.bucket = bucket.bucket
        self.arn = bucket.arn
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})


def bucket_policy(bucket_arn: str, grants: Sequence[Statement]) -> str:
    """Return the policy of a bucket: nothing without TLS, and the grants below its ARN."""
    return policy_document([tls_only(bucket_arn), *(_below(bucket_arn, item) for item in grants)])


def _below(bucket_arn: str, grant: Statement) -> Statement:
    return Statement(
        sid=grant.sid,
        effect=grant.effect,
        actions=grant.actions,
        principals=grant.principals,
        conditions=grant.conditions,
        resources=[f"{bucket_arn}{path}" for path in grant.resources] or [bucket_arn],
    )


def lifecycle_rules(args: PrivateBucketArgs) -> "list[BucketLifecycleConfigurationRuleArgsDict]":
    """Return the rules: what expires, what is archived, and unfinished uploads always."""
    rules: list[BucketLifecycleConfigurationRuleArgsDict] = [
        {
            "id": "unfinished-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {
                "days_after_initiation": ABORT_UPLOADS_AFTER_DAYS
            },
        },
        {
            "id": "old-versions",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": args.noncurrent_days},
        },
    ]
    if args.archive_days is not None:
        rules.append(
            {
                "id": "archive",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "transitions": [{"days": args.archive_days, "storage_class": "GLACIER_IR"}],
            }
        )
    if args.expire_days is not None:
        rules.append(
            {
                "id": "expire",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "expiration": {"days": args.expire_days},
            }
        )
    return rules

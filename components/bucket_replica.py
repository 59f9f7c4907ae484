"""BucketReplica: a copy of a bucket in another region, kept by S3, for the day a region is lost."""

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ProviderResource, ResourceOptions
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.s3.bucket_replication_config import BucketReplicationConfig

from components.iam_policies import Statement, policy_document
from components.private_bucket import PrivateBucket, PrivateBucketArgs


@dataclass(frozen=True, kw_only=True)
class BucketReplicaArgs:
    """What is copied, and where to."""

    source: PrivateBucket
    source_region: str
    source_key_arn: Input[str]
    replica_region: str
    replica_key_arn: Input[str]
    replica_provider: ProviderResource
    """Provider of the replica's region."""
    noncurrent_days: int
    archive_days: int | None
    """None keeps the copies in the class of the originals."""
    protect: bool
    """Refuse to delete or replace the replica."""
    tags: Mapping[str, str]


class BucketReplica(ComponentResource):
    """The replica, and the rule and the role by which S3 keeps it."""

    bucket: Output[str]
    """Name of the replica."""

    def __init__(
        self, name: str, args: BucketReplicaArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:BucketReplica", name, {}, opts)
        child = ResourceOptions(parent=self)
        replica = PrivateBucket(
            name,
            PrivateBucketArgs(
                key_arn=args.replica_key_arn,
                noncurrent_days=args.noncurrent_days,
                archive_days=args.archive_days,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=ResourceOptions(parent=self, providers=[args.replica_provider]),
        )
        role = Role(
            name,
            description=f"Copies objects to {args.replica_region}",
            assume_role_policy=replication_trust(),
            tags=args.tags,
            opts=child,
        )
        permission = RolePolicy(
            name,
            name="replicate",
            role=role.name,
            policy=Output.all(
                args.source.arn, replica.arn, args.source_key_arn, args.replica_key_arn
            ).apply(
                lambda arns: replication_policy(
                    *arns, source_region=args.source_region, replica_region=args.replica_region
                )
            ),
            opts=child,
        )
        BucketReplicationConfig(
            name,
            bucket=args.source.bucket,
            role=role.arn,
            rules=[
                {
                    "id": "everything",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "priority": 0,
                    "delete_marker_replication": {"status": "Enabled"},
                    "source_selection_criteria": {
                        "sse_kms_encrypted_objects": {"status": "Enabled"}
                    },
                    "destination": {
                        "bucket": replica.arn,
                        "storage_class": "STANDARD_IA",
                        "encryption_configuration": {"replica_kms_key_id": args.replica_key_arn},
                    },
                }
            ],
            # S3 refuses a rule unless both ends keep versions.
            opts=ResourceOptions(parent=self, depends_on=[permission, args.source, replica]),
        )
        self.bucket = replica.bucket
        self.register_outputs({"bucket": self.bucket})


def replication_trust() -> str:
    """Return who may assume the role: S3.

    AWS's trust for replication names no source account. Were the key not sent, nothing would be
    copied and nothing would say so; IAM's PassRole already keeps other accounts' buckets out.
    """
    return policy_document(
        [Statement(actions=["sts:AssumeRole"], principals={"Service": ["s3.amazonaws.com"]})]
    )


def replication_policy(
    source_arn: str,
    replica_arn: str,
    source_key_arn: str,
    replica_key_arn: str,
    *,
    source_region: str,
    replica_region: str,
) -> str:
    """Return what S3 may do to copy: read here, write there, each with the key of its region."""
    return policy_document(
        [
            Statement(
                sid="ReadSource",
                actions=["s3:GetReplicationConfiguration", "s3:ListBucket"],
                resources=[source_arn],
            ),
            Statement(
                sid="ReadVersions",
                actions=[
                    "s3:GetObjectVersionAcl",
                    "s3:GetObjectVersionForReplication",
                    "s3:GetObjectVersionTagging",
                ],
                resources=[f"{source_arn}/*"],
            ),
            Statement(
                sid="WriteReplica",
                actions=["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"],
                resources=[f"{replica_arn}/*"],
            ),
            Statement(
                sid="DecryptSource",
                actions=["kms:Decrypt"],
                resources=[source_key_arn],
                conditions={
                    "StringEquals": {"kms:ViaService": f"s3.{source_region}.amazonaws.com"}
                },
            ),
            Statement(
                sid="EncryptReplica",
                actions=["kms:Encrypt", "kms:GenerateDataKey"],
                resources=[replica_key_arn],
                conditions={
                    "StringEquals": {"kms:ViaService": f"s3.{replica_region}.amazonaws.com"}
                },
            ),
        ]
    )

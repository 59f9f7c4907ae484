"""Bootstrap: what must outlive an environment, so that it can be deployed, restored and rebuilt.

State and backup buckets with their copies in the secondary region and their access log, the
operators' lock table, the keys of state, databases, backups and images, the image repositories,
the role that every deployment assumes, and what no deployment may write: the boundaries and the
policies of groups of people and machines.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ProviderResource, ResourceOptions
from pulumi_aws.dynamodb.table import Table
from pulumi_aws.ecr.lifecycle_policy import LifecyclePolicy
from pulumi_aws.ecr.repository import Repository
from pulumi_aws.iam.policy import Policy
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from components.balancer_logs import balancer_log_delivery
from components.bucket_replica import BucketReplica, BucketReplicaArgs
from components.deploy_policies import (
    DEPLOY_AREAS,
    DeployScope,
    deploy_policies,
    deploy_trust,
    workload_boundary,
)
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.iam_policies import Statement
from components.people_policies import people_boundary
from components.private_bucket import PrivateBucket, PrivateBucketArgs

LOCK_KEY = "LockID"
LOCK_EXPIRY = "ExpiresAt"
"""The lock table's key and the attribute, in epoch seconds, after which an item is removed."""

HISTORY_DAYS = 365
BACKUP_ARCHIVE_DAYS = 90
LOG_DAYS = 400
"""A year, and the weeks until somebody asks for it."""
IMAGES_KEPT = 30
UNTAGGED_IMAGE_DAYS = 14


@dataclass(frozen=True, kw_only=True)
class BootstrapArgs:
    """The names of what is found by name, and who may deploy."""

    scope: DeployScope
    state_bucket_prefix: str
    backup_bucket_prefix: str
    """A random suffix follows both: bucket names are shared with the whole world."""
    log_bucket_name: str
    lock_table_name: str
    state_key_alias: str
    databases_key_alias: str
    backups_key_alias: str
    images_key_alias: str
    replicas_key_alias: str
    """In the secondary region."""
    secondary_provider: ProviderResource
    """Provider of the secondary region."""
    repositories: Mapping[str, str]
    """Application -> repository name."""
    deployers: Sequence[str]
    """Principals that may assume the deploy role."""
    group_policies: Mapping[str, str]
    """Group of people or machines -> the policy of its members, as JSON text."""
    key_deletion_window_days: int
    protect: bool
    """Refuse to delete or replace what holds data; False only for a teardown."""
    tags: Mapping[str, str]


class Bootstrap(ComponentResource):
    """The foundation of one environment."""

    state_bucket: Output[str]
    """Bucket of the environment's Pulumi state."""
    backup_bucket: Output[str]
    """Bucket of exports, backups and journals."""
    log_bucket: Output[str]
    """Bucket of S3's access logs and of the flow logs' archive."""
    lock_table: Output[str]
    """Table of the operators' lock."""
    key_arns: Mapping[str, Output[str]]
    """`state`, `databases`, `backups`, `images` -> KMS key."""
    repository_urls: Mapping[str, Output[str]]
    """Application -> where its images are pushed and pulled."""
    deploy_role_arn: Output[str]
    """Role that every run of the environment assumes."""
    boundary_arn: Output[str]
    """Permissions boundary that every role of the environment carries."""
    people_boundary_arn: Output[str]
    """Permissions boundary that every IAM user of the environment carries."""
    group_policy_arns: Mapping[str, Output[str]]
    """Group of people or machines -> the policy that its group is given."""

    def __init__(self, name: str, args: BootstrapArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:Bootstrap", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._kept = ResourceOptions(parent=self, protect=args.protect)

        self.key_arns = {
            purpose: self._key(purpose, alias, description)
            for purpose, alias, description in (
                ("state", args.state_key_alias, "Pulumi state, its secrets and the lock table"),
                ("databases", args.databases_key_alias, "Databases and their snapshots"),
                ("backups", args.backups_key_alias, "Exports, backups and journals"),
                ("images", args.images_key_alias, "Container images"),
            )
        }
        logs, state, backups = self._buckets()
        self._replicas(state, backups)
        table = self._lock_table()
        self.boundary_arn = self._policy(
            "boundary",
            args.scope.boundary_name,
            "The most that a role of the environment may do",
            workload_boundary(args.scope),
        )
        self.people_boundary_arn = self._policy(
            "people-boundary",
            args.scope.people_boundary_name,
            "The most that an IAM user of the environment may do",
            people_boundary(args.scope),
        )
        self.group_policy_arns = {
            group: self._policy(
                f"group-{group}",
                f"{args.scope.group_policy_prefix}{group}",
                f"What the members of {group} may do",
                document,
            )
            for group, document in args.group_policies.items()
        }
        self.deploy_role_arn = self._deploy_role(state, backups, table)
        self.repository_urls = {
            application: self._repository(application, repository)
            for application, repository in args.repositories.items()
        }
        self.state_bucket = state.bucket
        self.backup_bucket = backups.bucket
        self.log_bucket = logs.bucket
        self.lock_table = table.name
        self.register_outputs(
            {
                "state_bucket": self.state_bucket,
                "backup_bucket": self.backup_bucket,
                "log_bucket": self.log_bucket,
                "lock_table": self.lock_table,
                "key_arns": self.key_arns,
                "repository_urls": self.repository_urls,
                "deploy_role_arn": self.deploy_role_arn,
                "boundary_arn": self.boundary_arn,
                "people_boundary_arn": self.people_boundary_arn,
                "group_policy_arns": self.group_policy_arns,
            }
        )

    def _key(self, purpose: str, alias: str, description: str) -> Output[str]:
        return EncryptionKey(
            f"{self._name}-{purpose}",
            EncryptionKeyArgs(
                account_id=self._args.scope.account_id,
                description=description,
                alias=alias,
                deletion_window_days=self._args.key_deletion_window_days,
                protect=self._args.protect,
                tags=self._args.tags,
            ),
            opts=self._child,
        ).arn

    def _buckets(self) -> tuple[PrivateBucket, PrivateBucket, PrivateBucket]:
        """Make the buckets of logs, state and backups."""
        args = self._args
        logs = PrivateBucket(
            f"{args.scope.prefix}-logs",
            PrivateBucketArgs(
                key_arn=None,
                noncurrent_days=HISTORY_DAYS,
                expire_days=LOG_DAYS,
                grants=log_deliveries(args.scope),
                physical_name=args.log_bucket_name,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        )
        state = PrivateBucket(
            args.state_bucket_prefix,
            PrivateBucketArgs(
                key_arn=self.key_arns["state"],
                noncurrent_days=HISTORY_DAYS,
                access_log=logs,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        )
        backups = PrivateBucket(
            args.backup_bucket_prefix,
            PrivateBucketArgs(
                key_arn=self.key_arns["backups"],
                noncurrent_days=HISTORY_DAYS,
                archive_days=BACKUP_ARCHIVE_DAYS,
                access_log=logs,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        )
        return logs, state, backups

    def _replicas(self, state: PrivateBucket, backups: PrivateBucket) -> None:
        """Copy state and backups to the secondary region."""
        args = self._args
        home, secondary = args.scope.regions
        key = EncryptionKey(
            f"{self._name}-replicas",
            EncryptionKeyArgs(
                account_id=args.scope.account_id,
                description="Copies of state and backups",
                alias=args.replicas_key_alias,
                deletion_window_days=args.key_deletion_window_days,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=ResourceOptions(parent=self, providers=[args.secondary_provider]),
        )
        for prefix, source, purpose, archive_days in (
            (args.state_bucket_prefix, state, "state", None),
            (args.backup_bucket_prefix, backups, "backups", BACKUP_ARCHIVE_DAYS),
        ):
            BucketReplica(
                f"{prefix}-replica",
                BucketReplicaArgs(
                    source=source,
                    source_region=home,
                    source_key_arn=self.key_arns[purpose],
                    replica_region=secondary,
                    replica_key_arn=key.arn,
                    replica_provider=args.secondary_provider,
                    noncurrent_days=HISTORY_DAYS,
                    archive_days=archive_days,
                    protect=args.protect,
                    tags=args.tags,
                ),
                opts=self._child,
            )

    def _lock_table(self) -> Table:
        return Table(
            f"{self._name}-lock",
            name=self._args.lock_table_name,
            billing_mode="PAY_PER_REQUEST",
            hash_key=LOCK_KEY,
            attributes=[{"name": LOCK_KEY, "type": "S"}],
            ttl={"attribute_name": LOCK_EXPIRY, "enabled": True},
            point_in_time_recovery={"enabled": True},
            server_side_encryption={"enabled": True, "kms_key_arn": self.key_arns["state"]},
            deletion_protection_enabled=self._args.protect,
            tags=self._args.tags,
            opts=self._kept,
        )

    def _deploy_role(
        self, state: PrivateBucket, backups: PrivateBucket, table: Table
    ) -> Output[str]:
        scope = self._args.scope
        role = Role(
            f"{self._name}-deploy",
            name=scope.deploy_role_name,
            description=f"Deploys {scope.prefix}; assumed by every run",
            assume_role_policy=deploy_trust(scope, self._args.deployers),
            tags=self._args.tags,
            opts=self._child,
        )
        # The areas are plain data, so their number and names do not wait for an ARN.
        policies = Output.all(state.arn, backups.arn, table.arn).apply(
            lambda arns: deploy_policies(
                scope, state_bucket_arn=arns[0], backup_bucket_arn=arns[1], lock_table_arn=arns[2]
            )
        )
        for area in DEPLOY_AREAS:
            RolePolicyAttachment(
                f"{self._name}-deploy-{area}",
                role=role.name,
                policy_arn=self._policy(
                    f"deploy-{area}",
                    scope.deploy_policy_name(area),
                    f"What a deployment of {scope.prefix} may do: {area}",
                    policies[area],
                ),
                opts=self._child,
            )
        return role.arn

    def _policy(
        self, purpose: str, policy_name: str, description: str, document: Input[str]
    ) -> Output[str]:
        return Policy(
            f"{self._name}-{purpose}",
            name=policy_name,
            description=description,
            policy=document,
            tags=self._args.tags,
            opts=self._child,
        ).arn

    def _repository(self, application: str, repository_name: str) -> Output[str]:
        """Make an image repository that keeps what may still run."""
        repository = Repository(
            f"{self._name}-{application}",
            name=repository_name,
            force_delete=not self._args.protect,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[
                {"encryption_type": "KMS", "kms_key": self.key_arns["images"]}
            ],
            tags=self._args.tags,
            opts=self._kept,
        )
        LifecyclePolicy(
            f"{self._name}-{application}",
            repository=repository.name,
            policy=image_retention(),
            opts=self._child,
        )
        return repository.repository_url


def log_deliveries(scope: DeployScope) -> list[Statement]:
    """Return what may write into the log bucket: S3, VPC flow logs and load balancers, of ours."""
    own_account = {"StringEquals": {"aws:SourceAccount": scope.account_id}}
    return [
        Statement(
            sid="S3AccessLogs",
            actions=["s3:PutObject"],
            principals={"Service": ["logging.s3.amazonaws.com"]},
            resources=["/s3/*"],
            conditions={
                **own_account,
                "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{scope.prefix}-*"},
            },
        ),
        Statement(
            sid="FlowLogsWrite",
            actions=["s3:PutObject"],
            principals={"Service": ["delivery.logs.amazonaws.com"]},
            resources=[f"/AWSLogs/{scope.account_id}/*"],
            conditions=own_account,
        ),
        Statement(
            sid="FlowLogsCheck",
            actions=["s3:GetBucketAcl", "s3:ListBucket"],
            principals={"Service": ["delivery.logs.amazonaws.com"]},
            conditions=own_account,
        ),
        balancer_log_delivery(scope.account_id),
    ]


def image_retention() -> str:
    """Return ECR's lifecycle policy: untagged images go soon, tagged ones when many followed."""
    expire = {"type": "expire"}
    rules = [
        {
            "rulePriority": 1,
            "description": f"Untagged images go after {UNTAGGED_IMAGE_DAYS} days",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": UNTAGGED_IMAGE_DAYS,
            },
            "action": expire,
        },
        {
            "rulePriority": 2,
            "description": f"The last {IMAGES_KEPT} images stay",
            "selection": {
                "tagStatus": "any",
                "countType": "imageCountMoreThan",
                "countNumber": IMAGES_KEPT,
            },
            "action": expire,
        },
    ]
    return json.dumps({"rules": rules}, separators=(",", ":"))

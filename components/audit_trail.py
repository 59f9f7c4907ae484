"""AuditTrail: every management call in the account, kept for years, searchable, and watched.

CloudTrail writes to a bucket that keeps the evidence and to a log group that people search. The
log group is watched for what somebody has to look at. Without this trail EventBridge sees no
reads, and a parameter store's access log stays empty of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.cloudtrail.trail import Trail
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from components.audit_alarms import AUDIT_CONTROLS, AUDIT_PATTERNS
from components.iam_policies import Statement, policy_document
from components.log_alarm import LogAlarm, alarm_on_log
from components.private_bucket import PrivateBucket, PrivateBucketArgs

SERVICE = "cloudtrail.amazonaws.com"
METRIC_NAMESPACE = "MonoRepo/Audit"
ALARM_PERIOD_SECONDS = 300
ARCHIVE_DAYS = 90
"""Days after which trail files move to the archive class: incidents are looked into before."""
KEPT_DAYS = 731
"""Days a trail file is kept: two years."""
HISTORY_DAYS = 365
ACCESS_LOG_DAYS = 400


@dataclass(frozen=True, kw_only=True)
class AuditTrailArgs:
    """The names of the trail and its log group, and who is told."""

    account_id: str
    region: str
    trail_name: str
    log_group_name: str
    log_retention_days: int
    role_name: str
    """Role by which CloudTrail writes to the log group."""
    bucket_prefix: str
    access_log_bucket_prefix: str
    """A random suffix follows both: bucket names are shared with the whole world."""
    key_arn: Input[str]
    """Key of files and log group; its policy must have `key_for_trail` and `key_for_logs`."""
    alarm_actions: Sequence[Input[str]]
    protect: bool
    """Refuse to delete the evidence; False only for a teardown."""
    tags: Mapping[str, str]


class AuditTrail(ComponentResource):
    """A multi-region trail, its archive, its log group, and alarms on what it shows."""

    trail_arn: Output[str]
    """ARN of the trail."""
    bucket: Output[str]
    """Bucket of the trail's files."""
    log_group_name: Output[str]
    """Log group of the same events."""

    def __init__(
        self, name: str, args: AuditTrailArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:AuditTrail", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._kept = ResourceOptions(parent=self, protect=args.protect)

        files = self._archive()
        group = LogGroup(
            name,
            name=args.log_group_name,
            retention_in_days=args.log_retention_days,
            kms_key_id=args.key_arn,
            tags=args.tags,
            opts=self._kept,
        )
        trail = self._trail(files, group)
        self._alarms(group)
        self.trail_arn = trail.arn
        self.bucket = files.bucket
        self.log_group_name = group.name
        self.register_outputs(
            {
                "trail_arn": self.trail_arn,
                "bucket": self.bucket,
                "log_group_name": self.log_group_name,
            }
        )

    def _archive(self) -> PrivateBucket:
        """Make the bucket of the trail's files, and the log of who reads them."""
        args = self._args
        accesses = PrivateBucket(
            args.access_log_bucket_prefix,
            PrivateBucketArgs(
                key_arn=None,
                noncurrent_days=HISTORY_DAYS,
                expire_days=ACCESS_LOG_DAYS,
                grants=[access_log_delivery(args.account_id, args.bucket_prefix)],
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        )
        return PrivateBucket(
            args.bucket_prefix,
            PrivateBucketArgs(
                key_arn=args.key_arn,
                noncurrent_days=HISTORY_DAYS,
                archive_days=ARCHIVE_DAYS,
                expire_days=KEPT_DAYS,
                access_log=accesses,
                grants=trail_delivery(args.account_id, self._trail_arn()),
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        )

    def _trail_arn(self) -> str:
        """Return the trail's ARN, which is needed before there is a trail."""
        return trail_arn(self._args.region, self._args.account_id, self._args.trail_name)

    def _trail(self, files: PrivateBucket, group: LogGroup) -> Trail:
        args = self._args
        role = Role(
            f"{self._name}-logs",
            name=args.role_name,
            description=f"Writes the trail {args.trail_name} to its log group",
            assume_role_policy=delivery_trust(),
            tags=args.tags,
            opts=self._child,
        )
        policy = RolePolicy(
            f"{self._name}-logs",
            name="write-log-streams",
            role=role.name,
            policy=group.arn.apply(
                lambda arn: log_delivery(arn, region=args.region, account_id=args.account_id)
            ),
            opts=self._child,
        )
        # With no event selectors a trail records all management events, reads among them.
        return Trail(
            self._name,
            name=args.trail_name,
            s3_bucket_name=files.bucket,
            cloud_watch_logs_group_arn=group.arn.apply(lambda arn: f"{arn}:*"),
            cloud_watch_logs_role_arn=role.arn,
            kms_key_id=args.key_arn,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_log_file_validation=True,
            enable_logging=True,
            tags=args.tags,
            # CloudTrail tries both of its destinations before it makes a trail.
            opts=ResourceOptions(parent=self, protect=args.protect, depends_on=[files, policy]),
        )

    def _alarms(self, group: LogGroup) -> None:
        for metric, pattern in AUDIT_PATTERNS.items():
            alarm_on_log(
                f"{self._name}-{metric}",
                LogAlarm(
                    log_group_name=group.name,
                    pattern=pattern,
                    namespace=METRIC_NAMESPACE,
                    metric=metric,
                    description=f"The audit trail shows {metric} ({AUDIT_CONTROLS[metric]})",
                    period_seconds=ALARM_PERIOD_SECONDS,
                    actions=self._args.alarm_actions,
                    tags=self._args.tags,
                ),
                self._child,
            )


def trail_arn(region: str, account_id: str, trail_name: str) -> str:
    """Return the ARN of a trail in its home region."""
    return f"arn:aws:cloudtrail:{region}:{account_id}:trail/{trail_name}"


def key_for_trail(account_id: str, arn: str) -> list[Statement]:
    """Return the key policy's statements that let one trail encrypt, and nobody else's."""
    return [
        Statement(
            sid="TrailEncrypts",
            actions=["kms:GenerateDataKey*"],
            resources=["*"],
            principals={"Service": [SERVICE]},
            conditions={
                "StringEquals": {"aws:SourceArn": arn},
                "StringLike": {
                    "kms:EncryptionContext:aws:cloudtrail:arn": (
                        f"arn:aws:cloudtrail:*:{account_id}:trail/*"
                    )
                },
            },
        ),
        Statement(
            sid="TrailDescribes",
            actions=["kms:DescribeKey"],
            resources=["*"],
            principals={"Service": [SERVICE]},
            conditions={"StringEquals": {"aws:SourceArn": arn}},
        ),
    ]


def trail_delivery(account_id: str, arn: str) -> list[Statement]:
    """Return the bucket policy's statements that let one trail write below the account's path."""
    return [
        Statement(
            sid="TrailChecks",
            actions=["s3:GetBucketAcl"],
            principals={"Service": [SERVICE]},
            conditions={"StringEquals": {"aws:SourceArn": arn}},
        ),
        Statement(
            sid="TrailWrites",
            actions=["s3:PutObject"],
            principals={"Service": [SERVICE]},
            resources=[f"/AWSLogs/{account_id}/*"],
            conditions={
                "StringEquals": {
                    "aws:SourceArn": arn,
                    "s3:x-amz-acl": "bucket-owner-full-control",
                }
            },
        ),
    ]


def access_log_delivery(account_id: str, bucket_prefix: str) -> Statement:
    """Return the bucket policy's statement that lets S3 write the access log of our bucket."""
    return Statement(
        sid="S3AccessLogs",
        actions=["s3:PutObject"],
        principals={"Service": ["logging.s3.amazonaws.com"]},
        resources=["/s3/*"],
        conditions={
            "StringEquals": {"aws:SourceAccount": account_id},
            "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket_prefix}-*"},
        },
    )


def delivery_trust() -> str:
    """Return who may take the delivery role: CloudTrail.

    No source account is asked for: CloudTrail says none when it takes this role, as its guide
    notes.
    """
    return policy_document(
        [Statement(actions=["sts:AssumeRole"], principals={"Service": [SERVICE]})]
    )


def log_delivery(group_arn: str, *, region: str, account_id: str) -> str:
    """Return what the delivery role may do: write CloudTrail's own streams of the log group."""
    return policy_document(
        [
            Statement(
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[f"{group_arn}:log-stream:{account_id}_CloudTrail_{region}*"],
            )
        ]
    )

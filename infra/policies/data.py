"""Controls of what holds data: buckets, tables, images, databases, keys, secrets and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from infra.policies.checks import (
    absent,
    at_least,
    companion,
    denies_plain_http,
    either,
    equals,
    every,
    for_everyone,
    given,
    includes,
    negate,
    no_companion,
    no_statement,
)
from infra.policies.model import Check, Control, Resource, Stack

BUCKET: Final = ("aws:s3/bucket:Bucket",)
TABLE: Final = ("aws:dynamodb/table:Table",)
REPOSITORY: Final = ("aws:ecr/repository:Repository",)
DATABASE: Final = ("aws:rds/instance:Instance",)
KEY: Final = ("aws:kms/key:Key",)
SECRET: Final = ("aws:secretsmanager/secret:Secret",)
PARAMETER: Final = ("aws:ssm/parameter:Parameter",)
LOG_GROUP: Final = ("aws:cloudwatch/logGroup:LogGroup",)

YEAR_DAYS: Final = 365
AUTHORITIES: Final = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")
"""RDS's certificate authorities of 2024 and later."""


def _algorithm(*names: str) -> Check:
    path = "rules.applyServerSideEncryptionByDefault.sseAlgorithm"
    type_ = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    return companion(type_, equals(path, *names))


def _aborts_uploads(resource: Resource, _: Stack) -> bool:
    return any(rule.get("abortIncompleteMultipartUpload") for rule in resource.get("rules", ()))


def _forces_tls(resource: Resource, stack: Stack) -> bool:
    return _parameter(resource, stack, "rds.force_ssl") == "1"


def _logs_statements(resource: Resource, stack: Stack) -> bool:
    return (
        _parameter(resource, stack, "log_statement") is not None
        or _parameter(resource, stack, "log_min_duration_statement") is not None
    )


def _parameter(resource: Resource, stack: Stack, name: str) -> str | None:
    """Return a parameter of the group that a database uses."""
    groups = [
        item
        for item in stack.resources
        if item.type == "aws:rds/parameterGroup:ParameterGroup"
        and item.urn in resource.dependencies
    ]
    values = [
        entry["value"]
        for group in groups
        for entry in group.get("parameters", ())
        if isinstance(entry, Mapping) and entry["name"] == name
    ]
    return values[0] if values else None


STORAGE: Final = (
    Control(
        ids=(
            "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56", "CKV2_AWS_6", "AWS-0086",
            "AWS-0087", "AWS-0091", "AWS-0093", "AWS-0094", "CIS-3.1.4", "S3.2", "S3.3", "S3.8",
        ),
        title="public access is blocked in all four ways",
        types=BUCKET,
        check=companion(
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            equals("blockPublicAcls", True),
            equals("blockPublicPolicy", True),
            equals("ignorePublicAcls", True),
            equals("restrictPublicBuckets", True),
        ),
    ),
    Control(
        ids=("CIS-3.1.1", "S3.5"),
        title="requests that do not come over TLS are refused",
        types=BUCKET,
        check=companion("aws:s3/bucketPolicy:BucketPolicy", denies_plain_http),
    ),
    Control(
        ids=("CKV_AWS_21", "AWS-0090", "S3.14"),
        title="versions are kept",
        types=BUCKET,
        check=companion(
            "aws:s3/bucketVersioning:BucketVersioning",
            equals("versioningConfiguration.status", "Enabled"),
        ),
    ),
    Control(
        ids=("CIS-3.1.2", "S3.20"),
        title="a version is deleted with MFA only",
        types=BUCKET,
        check=companion(
            "aws:s3/bucketVersioning:BucketVersioning",
            equals("versioningConfiguration.mfaDelete", "Enabled"),
        ),
    ),
    Control(
        ids=("CKV_AWS_19",),
        title="objects are encrypted",
        types=BUCKET,
        check=_algorithm("aws:kms", "aws:kms:dsse", "AES256"),
    ),
    Control(
        ids=("CKV_AWS_145", "AWS-0132", "S3.17"),
        title="objects are encrypted by a key of our own",
        types=BUCKET,
        check=_algorithm("aws:kms", "aws:kms:dsse"),
    ),
    Control(
        ids=("CKV_AWS_18", "AWS-0089", "S3.9"),
        title="accesses are logged",
        types=BUCKET,
        check=companion("aws:s3/bucketLogging:BucketLogging"),
    ),
    Control(
        ids=("CKV2_AWS_61", "CKV_AWS_300", "S3.13"),
        title="old versions and uploads that were given up are removed",
        types=BUCKET,
        check=companion(
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", _aborts_uploads
        ),
    ),
    Control(
        ids=("CKV_AWS_144", "S3.7"),
        title="objects are copied to another region",
        types=BUCKET,
        check=companion("aws:s3/bucketReplicationConfig:BucketReplicationConfig"),
    ),
    Control(
        ids=("CKV2_AWS_62",),
        title="changes are told to EventBridge",
        types=BUCKET,
        check=companion("aws:s3/bucketNotification:BucketNotification"),
    ),
    Control(
        ids=("CKV_AWS_28", "AWS-0024", "DynamoDB.2"),
        title="tables can be restored to any point in time",
        types=TABLE,
        check=equals("pointInTimeRecovery.enabled", True),
    ),
    Control(
        ids=("CKV_AWS_119", "AWS-0025"),
        title="tables are encrypted by a key of our own",
        types=TABLE,
        check=given("serverSideEncryption.kmsKeyArn"),
    ),
    Control(
        ids=("DynamoDB.6",),
        title="tables refuse to be deleted",
        types=TABLE,
        check=equals("deletionProtectionEnabled", True),
    ),
    Control(
        ids=("CKV_AWS_51", "AWS-0031", "ECR.2"),
        title="an image's tag never moves",
        types=REPOSITORY,
        check=equals("imageTagMutability", "IMMUTABLE"),
    ),
    Control(
        ids=("CKV_AWS_163", "AWS-0030", "ECR.1"),
        title="images are scanned when they are pushed",
        types=REPOSITORY,
        check=equals("imageScanningConfiguration.scanOnPush", True),
    ),
    Control(
        ids=("CKV_AWS_136", "AWS-0033"),
        title="images are encrypted by a key of our own",
        types=REPOSITORY,
        check=given("encryptionConfigurations.kmsKey"),
    ),
    Control(
        ids=("CKV_AWS_32", "AWS-0032"),
        title="images are nobody else's",
        types=REPOSITORY,
        check=no_companion("aws:ecr/repositoryPolicy:RepositoryPolicy"),
    ),
    Control(
        ids=("ECR.3",),
        title="old images are removed",
        types=REPOSITORY,
        check=companion("aws:ecr/lifecyclePolicy:LifecyclePolicy"),
    ),
)  # fmt: skip
"""Where objects, items and images are kept."""

PROTECTED: Final = (
    Control(
        ids=("CKV_AWS_16", "AWS-0080", "CIS-3.2.1", "RDS.3"),
        title="storage is encrypted by a key of our own",
        types=DATABASE,
        check=every(equals("storageEncrypted", True), given("kmsKeyId")),
    ),
    Control(
        ids=("CKV_AWS_17", "AWS-0180", "CIS-3.2.3", "RDS.2"),
        title="databases have no public address",
        types=DATABASE,
        check=absent("publiclyAccessible"),
    ),
    Control(
        ids=("CKV_AWS_133", "AWS-0077", "RDS.11"),
        title="backups are kept for a week at least",
        types=DATABASE,
        check=at_least("backupRetentionPeriod", 7),
    ),
    Control(
        ids=("CKV_AWS_157", "CIS-3.2.4", "RDS.5"),
        title="a standby runs in another zone",
        types=DATABASE,
        check=equals("multiAz", True),
    ),
    Control(
        ids=("CKV_AWS_293", "AWS-0177", "RDS.8"),
        title="databases refuse to be deleted",
        types=DATABASE,
        check=equals("deletionProtection", True),
    ),
    Control(
        ids=("CKV_AWS_226", "CIS-3.2.2", "RDS.13"),
        title="minor versions are taken by themselves",
        types=DATABASE,
        check=equals("autoMinorVersionUpgrade", True),
    ),
    Control(
        ids=("CKV2_AWS_60", "RDS.17"),
        title="snapshots carry the tags",
        types=DATABASE,
        check=equals("copyTagsToSnapshot", True),
    ),
    Control(
        ids=("CKV_AWS_161", "AWS-0176", "RDS.10"),
        title="IAM may authenticate",
        types=DATABASE,
        check=equals("iamDatabaseAuthenticationEnabled", True),
    ),
    Control(
        ids=("CKV2_AWS_69", "RDS.38"),
        title="connections without TLS are refused",
        types=DATABASE,
        check=_forces_tls,
    ),
    Control(
        ids=("CKV_AWS_211",),
        title="the certificate authority is a current one",
        types=DATABASE,
        check=equals("caCertIdentifier", *AUTHORITIES),
    ),
    Control(
        ids=("CKV_AWS_129", "RDS.9", "RDS.36"),
        title="logs go to CloudWatch",
        types=DATABASE,
        check=includes("enabledCloudwatchLogsExports", "postgresql", "upgrade"),
    ),
    Control(
        ids=("CKV2_AWS_30",),
        title="statements are logged",
        types=DATABASE,
        check=_logs_statements,
    ),
    Control(
        ids=("CKV_AWS_118", "RDS.6"),
        title="enhanced monitoring is on",
        types=DATABASE,
        check=at_least("monitoringInterval", 1),
    ),
    Control(
        ids=("CKV_AWS_353", "AWS-0133"),
        title="Performance Insights is on",
        types=DATABASE,
        check=equals("performanceInsightsEnabled", True),
    ),
    Control(
        ids=("CKV_AWS_354", "AWS-0078"),
        title="Performance Insights is encrypted by a key of our own",
        types=DATABASE,
        check=either(absent("performanceInsightsEnabled"), given("performanceInsightsKmsKeyId")),
    ),
    Control(
        ids=("RDS.23",),
        title="the port is not PostgreSQL's usual one",
        types=DATABASE,
        check=negate(equals("port", 5432)),
    ),
    Control(
        ids=("RDS.25",),
        title="the master user is not called as usual",
        types=DATABASE,
        check=negate(equals("username", "admin", "postgres", "root")),
    ),
    Control(
        ids=("CKV_AWS_7", "AWS-0065", "CIS-4.6", "KMS.4"),
        title="key material is replaced every year",
        types=KEY,
        check=equals("enableKeyRotation", True),
    ),
    Control(
        ids=("CKV_AWS_33", "CKV2_AWS_64", "KMS.5"),
        title="a key's policy is our own and names its users",
        types=KEY,
        check=every(given("policy"), no_statement(for_everyone)),
    ),
    Control(
        ids=("CKV_AWS_227", "KMS.3"),
        title="keys are in use",
        types=KEY,
        check=negate(equals("isEnabled", False)),
    ),
    Control(
        ids=("CKV_AWS_149", "AWS-0098"),
        title="secrets are encrypted by a key of our own",
        types=SECRET,
        check=given("kmsKeyId"),
    ),
    Control(
        ids=("CKV_AWS_304", "CKV2_AWS_57", "SecretsManager.1", "SecretsManager.4"),
        title="secrets are rotated by Secrets Manager",
        types=SECRET,
        check=companion("aws:secretsmanager/secretRotation:SecretRotation"),
    ),
    Control(
        ids=("CKV2_AWS_34", "CKV_AWS_337"),
        title="parameters are encrypted by a key of our own",
        types=PARAMETER,
        check=every(equals("type", "SecureString"), given("keyId")),
    ),
)  # fmt: skip
"""Databases, and what keeps secrets."""

LOGS: Final = (
    Control(
        ids=("CKV_AWS_158", "AWS-0017"),
        title="log groups are encrypted by a key of our own",
        types=LOG_GROUP,
        check=given("kmsKeyId"),
    ),
    Control(
        ids=("CKV_AWS_66",),
        title="log groups say how long they keep",
        types=LOG_GROUP,
        check=at_least("retentionInDays", 1),
    ),
    Control(
        ids=("CKV_AWS_338",),
        title="logs are kept for a year",
        types=LOG_GROUP,
        check=at_least("retentionInDays", YEAR_DAYS),
    ),
)

"""Sample inputs of what an account or a region has once, and of its trail and budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tests.sandbox.sample import NEW_TAGS, TAGS, Sample

NOTIFICATION: Final = {
    "notificationType": "ACTUAL",
    "comparisonOperator": "GREATER_THAN",
    "threshold": 80,
    "thresholdType": "PERCENTAGE",
    "subscriberEmailAddresses": ["jane-doe@example.com"],
}

SAMPLES: Final[Mapping[str, Sample]] = {
    "trail-bucket": Sample(
        "aws:s3/bucket:Bucket",
        {"bucket": "sample-audit-trail", "forceDestroy": True},
        {"tags": TAGS},
    ),
    "trail-log": Sample(
        "aws:cloudwatch/logGroup:LogGroup", {"name": "sample/audit"}, {"retentionInDays": 7}
    ),
    "trail-role": Sample(
        "aws:iam/role:Role",
        {
            "name": "sample-trail",
            "assumeRolePolicy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": "sts:AssumeRole",
                            "Principal": {"Service": "cloudtrail.amazonaws.com"},
                        }
                    ],
                }
            ),
        },
        {"description": "writes"},
    ),
    "trail": Sample(
        "aws:cloudtrail/trail:Trail",
        {
            "name": "sample-trail",
            "s3BucketName": "ref:trail-bucket",
            "isMultiRegionTrail": True,
            "kmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/sample",
            "tags": TAGS,
        },
        {
            "isMultiRegionTrail": False,
            "enableLogging": False,
            "enableLogFileValidation": True,
            "cloudWatchLogsGroupArn": "ref:trail-log.arn",
            "cloudWatchLogsRoleArn": "ref:trail-role.arn",
            "eventSelectors": [{"readWriteType": "WriteOnly", "includeManagementEvents": True}],
            "tags": NEW_TAGS,
        },
        absent=("kmsKeyId",),
    ),
    "budget": Sample(
        "aws:budgets/budget:Budget",
        {
            "name": "sample-budget",
            "budgetType": "COST",
            "timeUnit": "MONTHLY",
            "limitAmount": "100",
            "limitUnit": "USD",
            "notifications": [NOTIFICATION, {**NOTIFICATION, "threshold": 100}],
            "tags": TAGS,
        },
        {
            "limitAmount": "120.5",
            "notifications": [
                {**NOTIFICATION, "threshold": 90},
                {
                    **NOTIFICATION,
                    "threshold": 100,
                    "subscriberSnsTopicArns": ["arn:aws:sns:us-east-1:111122223333:sample"],
                },
            ],
            "tags": NEW_TAGS,
        },
    ),
    "password-policy": Sample(
        "aws:iam/accountPasswordPolicy:AccountPasswordPolicy",
        {"minimumPasswordLength": 14, "requireSymbols": True, "maxPasswordAge": 90},
        {"minimumPasswordLength": 16, "requireSymbols": False, "passwordReusePrevention": 24},
    ),
    "account-public-access-block": Sample(
        "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
        {"accountId": "111122223333", "blockPublicAcls": True, "blockPublicPolicy": True},
        {"blockPublicPolicy": False, "restrictPublicBuckets": True},
    ),
    "encryption-by-default": Sample(
        "aws:ebs/encryptionByDefault:EncryptionByDefault", {"enabled": True}, {"enabled": False}
    ),
    "snapshot-block": Sample(
        "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
        {"state": "block-all-sharing"},
        {"state": "block-new-sharing"},
    ),
    "metadata-defaults": Sample(
        "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
        {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        {"httpPutResponseHopLimit": 2, "instanceMetadataTags": "enabled"},
    ),
    "analyzer": Sample(
        "aws:accessanalyzer/analyzer:Analyzer",
        {"analyzerName": "sample", "type": "ACCOUNT", "tags": TAGS},
        {"tags": NEW_TAGS},
    ),
}

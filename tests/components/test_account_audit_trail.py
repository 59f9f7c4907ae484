import json
from functools import cache

import pytest
from pulumi import ResourceOptions

from components.audit_alarms import AUDIT_CONTROLS, AUDIT_PATTERNS, PATTERN_LIMIT
from components.audit_trail import (
    AuditTrail,
    AuditTrailArgs,
    delivery_trust,
    key_for_trail,
    log_delivery,
    trail_arn,
)
from tests.graph import Graph, provided, record

ACCOUNT = "111122223333"
TRAIL = "arn:aws:cloudtrail:us-east-1:111122223333:trail/Audit"


@cache
def graph(protect: bool = True) -> Graph:
    def program() -> None:
        AuditTrail(
            "audit",
            AuditTrailArgs(
                account_id=ACCOUNT,
                region="us-east-1",
                trail_name="Audit",
                log_group_name="CloudTrail/Audit",
                log_retention_days=365,
                role_name="audit",
                bucket_prefix="audit-files",
                access_log_bucket_prefix="audit-accesses",
                key_arn="arn:key",
                alarm_actions=["arn:topic"],
                protect=protect,
                tags={"project": "mono-repo"},
            ),
            opts=ResourceOptions(providers=[provided()]),
        )

    return record(program)


def test_the_trail_records_all_regions_and_reads_and_its_files_can_be_verified() -> None:
    trail = graph().one("aws:cloudtrail/trail:Trail").inputs
    assert trail["isMultiRegionTrail"]
    assert trail["includeGlobalServiceEvents"]
    assert trail["enableLogFileValidation"]
    assert trail["enableLogging"]
    assert "eventSelectors" not in trail, "a selector would narrow what a trail records"
    assert "advancedEventSelectors" not in trail
    assert trail["kmsKeyId"] == "arn:key"


def test_the_trail_goes_to_its_bucket_and_to_the_log_group() -> None:
    trail = graph().one("aws:cloudtrail/trail:Trail").inputs
    group = graph().one("aws:cloudwatch/logGroup:LogGroup").inputs
    assert trail["s3BucketName"] == "audit-files-0000000"
    assert trail["cloudWatchLogsGroupArn"].endswith(":*"), "CloudTrail asks for its streams"
    assert group["name"] == "CloudTrail/Audit"
    assert group["retentionInDays"] == 365
    assert group["kmsKeyId"] == "arn:key"


def test_the_trail_is_made_after_all_that_lets_it_write() -> None:
    trail = graph().one("aws:cloudtrail/trail:Trail")
    assert graph().one("aws:s3/bucketPolicy:BucketPolicy", "audit-files").urn in trail.dependencies
    assert graph().one("aws:iam/rolePolicy:RolePolicy").urn in trail.dependencies


def test_files_are_archived_and_kept_for_more_than_a_year() -> None:
    rules = graph().one(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "audit-files"
    )
    by_id = {rule["id"]: rule for rule in rules.inputs["rules"]}
    assert by_id["archive"]["transitions"] == [{"days": 90, "storageClass": "GLACIER_IR"}]
    assert by_id["expire"]["expiration"]["days"] > 365


def test_only_this_trail_may_write_into_the_bucket() -> None:
    policy = graph().one("aws:s3/bucketPolicy:BucketPolicy", "audit-files").inputs["policy"]
    grants = [item for item in json.loads(policy)["Statement"] if item["Effect"] == "Allow"]
    assert {item["Sid"] for item in grants} == {"TrailChecks", "TrailWrites"}
    for item in grants:
        assert item["Principal"] == {"Service": ["cloudtrail.amazonaws.com"]}
        assert item["Condition"]["StringEquals"]["aws:SourceArn"] == TRAIL
    (writes,) = [item for item in grants if item["Sid"] == "TrailWrites"]
    assert writes["Resource"] == [f"arn:mock:aws:s3/bucket:Bucket/audit-files/AWSLogs/{ACCOUNT}/*"]


def test_who_reads_the_files_is_logged_in_another_bucket() -> None:
    logging = graph().one("aws:s3/bucketLogging:BucketLogging").inputs
    assert logging["targetBucket"] == "audit-accesses-0000000"
    policy = graph().one("aws:s3/bucketPolicy:BucketPolicy", "audit-accesses").inputs["policy"]
    assert '"aws:SourceArn":"arn:aws:s3:::audit-files-*"' in policy


def test_evidence_is_protected_until_a_teardown() -> None:
    evidence = {
        "aws:s3/bucket:Bucket",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudtrail/trail:Trail",
    }
    kept = {node.type for node in graph().resources() if node.protect}
    assert kept == evidence
    assert not any(node.protect for node in graph(protect=False).resources())


def test_only_this_trail_may_use_the_key() -> None:
    for statement in key_for_trail(ACCOUNT, TRAIL):
        assert statement.conditions["StringEquals"] == {"aws:SourceArn": TRAIL}
        assert not any("Decrypt" in action for action in statement.actions)


def test_the_delivery_role_writes_the_trails_own_streams_and_nothing_else() -> None:
    (statement,) = json.loads(log_delivery("arn:group", region="eu-west-1", account_id=ACCOUNT))[
        "Statement"
    ]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == ["arn:group:log-stream:111122223333_CloudTrail_eu-west-1*"]
    (trust,) = json.loads(delivery_trust())["Statement"]
    assert trust["Principal"] == {"Service": ["cloudtrail.amazonaws.com"]}


def test_a_trails_arn_is_that_of_its_home_region() -> None:
    assert trail_arn("us-east-1", ACCOUNT, "Audit") == TRAIL


def test_everything_security_hub_wants_watched_has_an_alarm() -> None:
    assert sorted(AUDIT_CONTROLS.values()) == sorted(f"CloudWatch.{n}" for n in range(1, 15))
    filters = graph().resources("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    counted = {node.inputs["metricTransformation"]["name"] for node in filters}
    alarms = graph().resources("aws:cloudwatch/metricAlarm:MetricAlarm")
    assert counted == {node.inputs["metricName"] for node in alarms} == set(AUDIT_PATTERNS)
    assert all(node.inputs["alarmActions"] == ["arn:topic"] for node in alarms)
    spaces = {node.inputs["metricTransformation"]["namespace"] for node in filters}
    assert spaces == {node.inputs["namespace"] for node in alarms}


@pytest.mark.parametrize("metric", AUDIT_PATTERNS)
def test_a_pattern_is_short_enough_and_its_brackets_match(metric: str) -> None:
    pattern = AUDIT_PATTERNS[metric]
    assert len(pattern) <= PATTERN_LIMIT
    assert pattern.startswith("{ (")
    assert pattern.endswith(") }")
    assert pattern.count("(") == pattern.count(")")
    assert pattern.count('"') % 2 == 0


@pytest.mark.parametrize(
    ("metric", "call"),
    [
        ("IamPolicyChanges", "DetachUserPolicy"),
        ("IamPolicyChanges", "DeletePolicyVersion"),
        ("TrailChanges", "StopLogging"),
        ("KeysDisabled", "ScheduleKeyDeletion"),
        ("BucketAccessChanges", "PutBucketAcl"),
        ("SecurityGroupChanges", "RevokeSecurityGroupEgress"),
        ("NetworkAclChanges", "ReplaceNetworkAclEntry"),
        ("GatewayChanges", "DetachInternetGateway"),
        ("RouteChanges", "DisassociateRouteTable"),
        ("VpcChanges", "RejectVpcPeeringConnection"),
        ("VpcChanges", "AttachClassicLinkVpc"),
    ],
)
def test_a_call_that_changes_access_is_counted(metric: str, call: str) -> None:
    assert f"($.eventName = {call})" in AUDIT_PATTERNS[metric]

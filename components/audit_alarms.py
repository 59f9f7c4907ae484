"""What in an audit trail somebody has to look at: one table of patterns. Pure.

The patterns are those that AWS Security Hub's controls CloudWatch.1 to CloudWatch.14 and the CIS
AWS Foundations Benchmark ask for, in CloudWatch Logs' filter language over CloudTrail's events.
"""

from collections.abc import Mapping, Sequence
from typing import Final

PATTERN_LIMIT: Final = 1024
"""Characters that CloudWatch Logs allows to a filter pattern."""


def _calls(*names: str) -> str:
    """Return a condition that holds for each of these API calls."""
    return "(" + " || ".join(f"($.eventName = {name})" for name in names) + ")"


def _all_of(*conditions: str) -> str:
    return " && ".join(conditions)


def _from(source: str, condition: str) -> str:
    """Return the condition, of one AWS service alone."""
    return _all_of(f"($.eventSource = {source}.amazonaws.com)", condition)


def _each(verbs: Sequence[str], *nouns: str) -> list[str]:
    return [f"{verb}{noun}" for noun in nouns for verb in verbs]


_CONDITIONS: Final[Mapping[str, tuple[str, str]]] = {
    "RootUse": (
        "CloudWatch.1",
        _all_of(
            '($.userIdentity.type = "Root")',
            "($.userIdentity.invokedBy NOT EXISTS)",
            '($.eventType != "AwsServiceEvent")',
        ),
    ),
    "UnauthorizedCalls": (
        "CloudWatch.2",
        _all_of(
            '(($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*"))',
            '($.sourceIPAddress != "delivery.logs.amazonaws.com")',
            '($.eventName != "HeadBucket")',
        ),
    ),
    "SignInWithoutMfa": (
        "CloudWatch.3",
        _all_of(
            '($.eventName = "ConsoleLogin")',
            '($.additionalEventData.MFAUsed != "Yes")',
            '($.userIdentity.type = "IAMUser")',
            '($.responseElements.ConsoleLogin = "Success")',
        ),
    ),
    "IamPolicyChanges": (
        "CloudWatch.4",
        _from(
            "iam",
            _calls(
                *_each(("Put", "Delete"), "GroupPolicy", "RolePolicy", "UserPolicy"),
                *_each(("Attach", "Detach"), "RolePolicy", "UserPolicy", "GroupPolicy"),
                *_each(("Create", "Delete"), "Policy", "PolicyVersion"),
            ),
        ),
    ),
    "TrailChanges": (
        "CloudWatch.5",
        _calls(
            *_each(("Create", "Update", "Delete"), "Trail"), *_each(("Start", "Stop"), "Logging")
        ),
    ),
    "FailedSignIns": (
        "CloudWatch.6",
        _all_of('($.eventName = "ConsoleLogin")', '($.errorMessage = "Failed authentication")'),
    ),
    "KeysDisabled": ("CloudWatch.7", _from("kms", _calls("DisableKey", "ScheduleKeyDeletion"))),
    "BucketAccessChanges": (
        "CloudWatch.8",
        _from(
            "s3",
            _calls(
                "PutBucketAcl",
                *_each(
                    ("Put", "Delete"),
                    "BucketPolicy",
                    "BucketCors",
                    "BucketLifecycle",
                    "BucketReplication",
                ),
            ),
        ),
    ),
    "ConfigChanges": (
        "CloudWatch.9",
        _from(
            "config",
            _calls(
                "StopConfigurationRecorder",
                "DeleteDeliveryChannel",
                "PutDeliveryChannel",
                "PutConfigurationRecorder",
            ),
        ),
    ),
    "SecurityGroupChanges": (
        "CloudWatch.10",
        _calls(
            *_each(("Authorize", "Revoke"), "SecurityGroupIngress", "SecurityGroupEgress"),
            *_each(("Create", "Delete"), "SecurityGroup"),
        ),
    ),
    "NetworkAclChanges": (
        "CloudWatch.11",
        _calls(
            *_each(("Create", "Delete"), "NetworkAcl"),
            *_each(("Create", "Delete", "Replace"), "NetworkAclEntry"),
            "ReplaceNetworkAclAssociation",
        ),
    ),
    "GatewayChanges": (
        "CloudWatch.12",
        _calls(
            *_each(("Create", "Delete"), "CustomerGateway"),
            *_each(("Attach", "Create", "Delete", "Detach"), "InternetGateway"),
        ),
    ),
    "RouteChanges": (
        "CloudWatch.13",
        _from(
            "ec2",
            _calls(
                *_each(("Create", "Delete", "Replace"), "Route"),
                *_each(("Create", "Delete"), "RouteTable"),
                "ReplaceRouteTableAssociation",
                "DisassociateRouteTable",
            ),
        ),
    ),
    "VpcChanges": (
        "CloudWatch.14",
        _calls(
            *_each(("Create", "Delete"), "Vpc"),
            "ModifyVpcAttribute",
            *_each(("Accept", "Create", "Delete", "Reject"), "VpcPeeringConnection"),
            *_each(("AttachClassicLink", "DetachClassicLink"), "Vpc"),
            *_each(("Enable", "Disable"), "VpcClassicLink"),
        ),
    ),
}

AUDIT_PATTERNS: Final[Mapping[str, str]] = {
    metric: f"{{ {condition} }}" for metric, (_, condition) in _CONDITIONS.items()
}
"""Metric -> pattern of the events that it counts."""
AUDIT_CONTROLS: Final[Mapping[str, str]] = {
    metric: control for metric, (control, _) in _CONDITIONS.items()
}
"""Metric -> Security Hub's control that asks for it."""

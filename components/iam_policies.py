"""IAM policy documents as data: statements in, one canonical JSON text out. Pure.

The text is deterministic (sorted, deduplicated, always lists), so that an unchanged policy shows
no change, and `*` as a principal cannot be written by accident.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PrincipalType = Literal["AWS", "Service", "Federated"]
Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]
"""Operator -> condition key -> value or values, as IAM writes them."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a policy. Identity policies have no principals, trust no resources."""

    actions: Sequence[str]
    resources: Sequence[str] = ()
    principals: Mapping[PrincipalType, Sequence[str]] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=dict)
    sid: str | None = None
    effect: Literal["Allow", "Deny"] = "Allow"
    everyone: bool = False
    """Principal `*`. Only a Deny may say so: it then holds for every caller."""
    all_but: bool = False
    """`actions` are those left out. Only a Deny may say so: it then holds for all others."""
    elsewhere: bool = False
    """`resources` are those left out. Only a Deny may say so: it then holds for all others."""


def policy_document(statements: Sequence[Statement]) -> str:
    """Return the JSON text of a policy made of `statements`, in their order.

    Raises ValueError for what is never meant: no statement, no action, an Allow for everyone.
    """
    if not statements:
        raise ValueError("a policy needs at least one statement")
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [_render(item) for item in statements]},
        separators=(",", ":"),
    )


def _render(statement: Statement) -> dict[str, Any]:
    if not statement.actions:
        raise ValueError(f"statement {statement.sid} has no action")
    if statement.effect == "Allow" and (
        statement.everyone or any("*" in names for names in statement.principals.values())
    ):
        raise ValueError(f"statement {statement.sid} would allow everyone: name its principals")
    if statement.effect == "Allow" and statement.all_but:
        raise ValueError(f"statement {statement.sid} would allow all others: name its actions")
    if statement.effect == "Allow" and statement.elsewhere:
        raise ValueError(f"statement {statement.sid} would allow all others: name its resources")
    rendered: dict[str, Any] = {"Sid": statement.sid} if statement.sid else {}
    rendered["Effect"] = statement.effect
    if statement.everyone:
        rendered["Principal"] = "*"
    elif statement.principals:
        rendered["Principal"] = {
            kind: _ordered(names) for kind, names in sorted(statement.principals.items())
        }
    rendered["NotAction" if statement.all_but else "Action"] = _ordered(statement.actions)
    if statement.resources:
        resource = "NotResource" if statement.elsewhere else "Resource"
        rendered[resource] = _ordered(statement.resources)
    if statement.conditions:
        rendered["Condition"] = {
            operator: {
                key: value if isinstance(value, str) else _ordered(value)
                for key, value in sorted(keys.items())
            }
            for operator, keys in sorted(statement.conditions.items())
        }
    return rendered


def _ordered(values: Sequence[str]) -> list[str]:
    return sorted(set(values))


def account_root(account_id: str) -> str:
    """Return the principal that hands a decision on to the account's own IAM policies."""
    return f"arn:aws:iam::{account_id}:root"


def service_trust(service: str, account_id: str) -> Statement:
    """Let one AWS service assume a role, on behalf of resources of this account only."""
    return Statement(
        actions=["sts:AssumeRole"],
        principals={"Service": [service]},
        conditions={"StringEquals": {"aws:SourceAccount": account_id}},
    )


def tls_only(bucket_arn: str) -> Statement:
    """Refuse every request to a bucket that does not come over TLS."""
    return Statement(
        sid="DenyInsecureTransport",
        effect="Deny",
        everyone=True,
        actions=["s3:*"],
        resources=[bucket_arn, f"{bucket_arn}/*"],
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def topic_policy(topic_arn: str, publisher: Statement) -> str:
    """Return who may publish to a topic: one publisher, over TLS."""
    return policy_document(
        [
            Statement(
                sid="DenyInsecureTransport",
                effect="Deny",
                everyone=True,
                actions=["sns:Publish"],
                resources=[topic_arn],
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
            publisher,
        ]
    )


def key_administration(account_id: str) -> Statement:
    """Leave a key to the account's IAM policies; without this nobody could ever manage it."""
    return Statement(
        sid="AccountDelegates",
        actions=["kms:*"],
        resources=["*"],
        principals={"AWS": [account_root(account_id)]},
    )


def key_for_logs(region: str, account_id: str) -> Statement:
    """Let CloudWatch Logs use a key for this account's log groups of a region, no others."""
    return Statement(
        sid="CloudWatchLogs",
        actions=[
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ],
        resources=["*"],
        principals={"Service": [f"logs.{region}.amazonaws.com"]},
        conditions={
            "ArnLike": {
                "kms:EncryptionContext:aws:logs:arn": (
                    f"arn:aws:logs:{region}:{account_id}:log-group:*"
                )
            }
        },
    )


def key_for_service(service: str, actions: Sequence[str], *, sid: str) -> Statement:
    """Let an AWS service use a key.

    No source account is asked for: a service that does not send it to KMS would fail silently.
    Whose resources the service acts for is limited by the policy of what the key encrypts.
    """
    return Statement(
        sid=sid,
        actions=actions,
        resources=["*"],
        principals={"Service": [service]},
    )

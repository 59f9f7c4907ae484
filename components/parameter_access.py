"""Who may use the parameters, and which events say that somebody did. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.iam_policies import Statement, policy_document

READ_CALLS = ("GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory")
WRITE_CALLS = ("PutParameter", "LabelParameterVersion", "UnlabelParameterVersion")
DENIED_PATTERN = '{ $.detail.errorCode = "AccessDenied*" }'
"""CloudWatch Logs filter pattern for a refused call, as it arrives from EventBridge."""


@dataclass(frozen=True, kw_only=True)
class CrossAccountPrincipal:
    """A principal of another account, and what it must show when it assumes the role."""

    arn: str
    external_id: str


@dataclass(frozen=True, kw_only=True)
class ParameterPath:
    """The parameters of one application in one environment."""

    region: str
    account_id: str
    path: str
    """As in `/dev/mono-repo`."""

    @property
    def arn(self) -> str:
        """ARN of the path, which a listing by path is checked against."""
        return f"arn:aws:ssm:{self.region}:{self.account_id}:parameter{self.path}"

    @property
    def parameter_arns(self) -> str:
        """ARN pattern of the parameters below the path."""
        return f"{self.arn}/*"


def access_policy(parameters: ParameterPath, key_arn: str, *, write: bool) -> str:
    """Return the access role's policy: read below the path, decrypt exactly that, maybe write."""
    through_ssm = {
        "StringEquals": {"kms:ViaService": f"ssm.{parameters.region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:PARAMETER_ARN": parameters.parameter_arns},
    }
    statements = [
        Statement(
            sid="ReadParameters",
            actions=[f"ssm:{call}" for call in READ_CALLS],
            resources=[parameters.arn, parameters.parameter_arns],
        ),
        Statement(
            sid="DecryptParameters",
            actions=["kms:Decrypt"],
            resources=[key_arn],
            conditions=through_ssm,
        ),
    ]
    if write:
        statements += [
            Statement(
                sid="WriteParameters",
                actions=[f"ssm:{call}" for call in WRITE_CALLS],
                resources=[parameters.parameter_arns],
            ),
            Statement(
                sid="EncryptParameters",
                actions=["kms:Encrypt", "kms:GenerateDataKey"],
                resources=[key_arn],
                conditions=through_ssm,
            ),
        ]
    return policy_document(statements)


def access_trust(
    *,
    operator_arns: Sequence[str],
    ec2: bool,
    oidc_provider_arn: str | None,
    service_accounts: Sequence[str],
    cross_account: Sequence[CrossAccountPrincipal],
) -> str:
    """Return who may assume the access role.

    `service_accounts` are subjects such as `system:serviceaccount:web:web-app`; they count once
    there is a cluster, and so an OIDC provider, to vouch for them.
    """
    statements = [
        Statement(sid="Operators", actions=["sts:AssumeRole"], principals={"AWS": operator_arns})
    ]
    if ec2:
        statements.append(
            Statement(
                sid="Instances",
                actions=["sts:AssumeRole"],
                principals={"Service": ["ec2.amazonaws.com"]},
            )
        )
    if oidc_provider_arn is not None and service_accounts:
        issuer = oidc_provider_arn.partition(":oidc-provider/")[2]
        statements.append(
            Statement(
                sid="ServiceAccounts",
                actions=["sts:AssumeRoleWithWebIdentity"],
                principals={"Federated": [oidc_provider_arn]},
                conditions={
                    "StringEquals": {
                        f"{issuer}:aud": "sts.amazonaws.com",
                        f"{issuer}:sub": service_accounts,
                    }
                },
            )
        )
    statements += [
        Statement(
            sid=f"CrossAccount{number}",
            actions=["sts:AssumeRole"],
            principals={"AWS": [principal.arn]},
            conditions={"StringEquals": {"sts:ExternalId": principal.external_id}},
        )
        for number, principal in enumerate(cross_account, start=1)
    ]
    return policy_document(statements)


def read_events(parameters: ParameterPath) -> str:
    """Return the event pattern of every read below the path, granted or refused.

    A name may be given as an ARN, and a path above this one lists what is below it, too. A
    refused call may come without its parameters: its message names the ARN.
    """
    below = {"prefix": f"{parameters.path}/"}
    named = [below, {"prefix": f"{parameters.arn}/"}]
    # After the path itself a message ends or goes on with a space: `/dev/app-two` is not meant.
    # EventBridge refuses a rule of too many wildcards, so the end is matched without one.
    refusals = [
        {"suffix": parameters.arn},
        *({"wildcard": f"*{parameters.arn}{rest}"} for rest in ("/*", " *")),
    ]
    return _pattern(
        {
            "source": ["aws.ssm"],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "eventSource": ["ssm.amazonaws.com"],
                "eventName": list(READ_CALLS),
                "$or": [
                    {"requestParameters": {"name": named}},
                    {"requestParameters": {"names": named}},
                    {"requestParameters": {"path": [*_listings(parameters.path), below]}},
                    {"errorMessage": refusals},
                ],
            },
        }
    )


def _listings(path: str) -> list[str]:
    """Return the paths whose listing includes `path`: itself and all above, `/` at an end or not.

    `/dev/app` -> `/`, `/dev`, `/dev/`, `/dev/app`; `/dev/app/` is below it already.
    """
    parts = path.strip("/").split("/")
    above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
    return ["/", *(text for parent in above for text in (parent, f"{parent}/")), path]


def change_events(parameters: ParameterPath) -> str:
    """Return the event pattern of every create, update and delete below the path."""
    return _pattern(
        {
            "source": ["aws.ssm"],
            "detail-type": ["Parameter Store Change"],
            "detail": {"name": [{"prefix": f"{parameters.path}/"}]},
        }
    )


def _pattern(pattern: dict[str, Any]) -> str:
    return json.dumps(pattern, sort_keys=True, separators=(",", ":"))


def event_delivery(log_group_arn: str, rule_arns: Sequence[str]) -> str:
    """Return the log resource policy that lets these rules, and no others, write their events."""
    services = ["delivery.logs.amazonaws.com", "events.amazonaws.com"]
    return policy_document(
        [
            Statement(
                sid="CreateStreams",
                actions=["logs:CreateLogStream"],
                principals={"Service": services},
                resources=[f"{log_group_arn}:*"],
            ),
            Statement(
                sid="PutEvents",
                actions=["logs:PutLogEvents"],
                principals={"Service": services},
                resources=[f"{log_group_arn}:*:*"],
                conditions={"ArnEquals": {"aws:SourceArn": rule_arns}},
            ),
        ]
    )

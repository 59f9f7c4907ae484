import fnmatch
import json
from functools import cache
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.github_oidc import DeployTarget, GitHubAccess, GitHubAccessArgs
from components.iam_policies import Statement, policy_document
from tests.graph import Graph, provided, record

ACCOUNT = "111122223333"
SUBJECT = "token.actions.githubusercontent.com:sub"


def target(env: str) -> DeployTarget:
    return DeployTarget(
        role_name=f"mono-repo-github-{env}-deploy",
        deploy_role_arn=f"arn:aws:iam::{ACCOUNT}:role/mono-repo-{env}-deploy",
        state_bucket_prefix=f"mono-repo-{env}-pulumi-state",
        state_key_alias=f"alias/mono-repo-{env}-pulumi-state",
        parameter_path=f"/{env}",
    )


@cache
def graph() -> Graph:
    def program() -> None:
        GitHubAccess(
            "github",
            GitHubAccessArgs(
                account_id=ACCOUNT,
                regions=("us-east-1", "us-west-2"),
                repository="company/mono-repo",
                preview_role_name="mono-repo-github-preview",
                targets={env: target(env) for env in ("dev", "uat")},
                tags={"project": "mono-repo"},
            ),
            opts=ResourceOptions(providers=[provided()]),
        )

    return record(program)


def trust(role: str) -> dict[str, Any]:
    document = graph().one("aws:iam/role:Role", role).inputs["assumeRolePolicy"]
    (statement,) = json.loads(document)["Statement"]
    return dict(statement)


def statements(*policies: str) -> list[dict[str, Any]]:
    return [
        statement
        for name in policies
        for statement in json.loads(
            graph().one("aws:iam/rolePolicy:RolePolicy", f"github-{name}").inputs["policy"]
        )["Statement"]
    ]


def allowed(action: str, *policies: str) -> list[dict[str, Any]]:
    return [
        statement
        for statement in statements(*policies)
        if statement["Effect"] == "Allow"
        and any(fnmatch.fnmatchcase(action, pattern) for pattern in statement["Action"])
    ]


def test_the_provider_has_no_thumbprint_and_one_audience() -> None:
    provider = graph().one("aws:iam/openIdConnectProvider:OpenIdConnectProvider").inputs
    assert provider["url"] == "https://token.actions.githubusercontent.com"
    assert provider["clientIdLists"] == ["sts.amazonaws.com"]
    assert "thumbprintLists" not in provider


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        ("github-preview", "repo:company/mono-repo:pull_request"),
        ("github-deploy-dev", "repo:company/mono-repo:environment:dev"),
        ("github-deploy-uat", "repo:company/mono-repo:environment:uat"),
    ],
)
def test_a_role_trusts_exactly_one_subject_of_one_repository(role: str, subject: str) -> None:
    assert trust(role)["Action"] == ["sts:AssumeRoleWithWebIdentity"]
    assert trust(role)["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            SUBJECT: subject,
        }
    }


def test_a_deploy_role_takes_its_environments_role_and_no_others() -> None:
    (assume,) = allowed("sts:AssumeRole", "deploy-dev-deploy")
    assert assume["Resource"] == [f"arn:aws:iam::{ACCOUNT}:role/mono-repo-dev-deploy"]


def test_a_deploy_role_uses_its_environments_state_alone() -> None:
    objects = allowed("s3:PutObject", "deploy-dev-deploy")
    assert [item["Resource"] for item in objects] == [
        ["arn:aws:s3:::mono-repo-dev-pulumi-state-???????/*"]
    ]
    (key,) = allowed("kms:Decrypt", "deploy-dev-deploy")
    aliases = key["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"]
    assert aliases == ["alias/mono-repo-dev-pulumi-state"]


def test_the_states_pattern_fits_the_bucket_and_not_its_copy() -> None:
    (pattern,) = allowed("s3:ListBucket", "deploy-dev-deploy")[0]["Resource"]
    assert fnmatch.fnmatchcase("arn:aws:s3:::mono-repo-dev-pulumi-state-8026f0d", pattern)
    copy = "arn:aws:s3:::mono-repo-dev-pulumi-state-replica-8026f0d"
    assert not fnmatch.fnmatchcase(copy, pattern)


@pytest.mark.parametrize(
    "action",
    [
        "s3:PutObject",
        "s3:DeleteObject",
        "iam:PassRole",
        "iam:CreateRole",
        "kms:Encrypt",
        "ssm:PutParameter",
        "ec2:RunInstances",
        "sts:AssumeRole",
        "secretsmanager:GetSecretValue",
        "dynamodb:GetItem",
        "dynamodb:Scan",
        "logs:GetLogEvents",
        "logs:FilterLogEvents",
        "ecr:BatchGetImage",
        "ec2:GetPasswordData",
    ],
)
def test_a_preview_may_neither_change_anything_nor_read_data(action: str) -> None:
    assert allowed(action, "preview-read") == []


@pytest.mark.parametrize(
    "action",
    [
        "secretsmanager:GetSecretValue",
        "secretsmanager:BatchGetSecretValue",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "logs:GetLogEvents",
        "ssm:GetParameterHistory",
        "sts:AssumeRole",
    ],
)
def test_data_is_denied_to_a_preview_whatever_else_is_granted(action: str) -> None:
    denials = [
        item
        for item in statements("preview-never")
        if item.get("Resource") == ["*"] and "Condition" not in item
    ]
    assert any(
        fnmatch.fnmatchcase(action, pattern) for item in denials for pattern in item["Action"]
    )


def test_objects_and_keys_other_than_the_states_are_denied_to_a_preview() -> None:
    by_id = {item["Sid"]: item for item in statements("preview-never")}
    assert by_id["NoObjectsButState"]["NotResource"] == [
        "arn:aws:s3:::mono-repo-dev-pulumi-state-???????/*",
        "arn:aws:s3:::mono-repo-uat-pulumi-state-???????/*",
    ]
    keys = by_id["NoSecretsButStates"]
    assert keys["Effect"] == "Deny"
    assert keys["Condition"] == {
        # Holds for a key without any alias, too.
        "ForAllValues:StringNotEquals": {
            "kms:ResourceAliases": [
                "alias/mono-repo-dev-pulumi-state",
                "alias/mono-repo-uat-pulumi-state",
            ]
        }
    }


@pytest.mark.parametrize(
    "action",
    ["ec2:DescribeVpcs", "iam:GetRole", "eks:DescribeCluster", "kms:GetKeyPolicy", "s3:GetObject"],
)
def test_a_preview_reads_how_things_are_set_up_and_the_states(action: str) -> None:
    assert allowed(action, "preview-read")


def test_roles_and_policies_are_within_what_aws_allows() -> None:
    assert sum(len(json.dumps(item)) for item in statements("preview-read", "preview-never")) < (
        10_240
    )
    for role in graph().resources("aws:iam/role:Role"):
        assert len(role.inputs["name"]) <= 64
        assert role.inputs["maxSessionDuration"] == 3600


def test_only_a_denial_may_be_for_all_resources_but_some() -> None:
    everything_else = Statement(
        sid="Rest", actions=["s3:GetObject"], resources=["arn:x"], elsewhere=True
    )
    with pytest.raises(ValueError, match="name its resources"):
        policy_document([everything_else])

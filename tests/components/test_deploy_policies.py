import json
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from components.deploy_policies import (
    DEPLOY_AREAS,
    MANAGED_POLICY_LIMIT,
    ROLE_POLICIES_LIMIT,
    DeployScope,
    deploy_policies,
    deploy_trust,
    workload_boundary,
)

ACCOUNT = "111122223333"
HERE = f"us-east-1:{ACCOUNT}"
PREFIX = "mono-repo-prod"
LOG = "log-group:/aws/ssm/parameter-store"
ACCESS = "mono-repo-parameter-store-access-prod"
SCOPE = DeployScope(
    environment="prod",
    project="mono-repo",
    account_id=ACCOUNT,
    regions=("us-east-1", "us-west-2"),
    deploy_role_name="mono-repo-prod-deploy",
    boundary_name="mono-repo-prod-boundary",
    foundation_key_aliases=["alias/mono-repo-prod-databases"],
)
POLICIES = deploy_policies(
    SCOPE,
    state_bucket_arn="arn:aws:s3:::mono-repo-prod-pulumi-state-0123456",
    backup_bucket_arn="arn:aws:s3:::mono-repo-prod-backups-0123456",
    lock_table_arn=f"arn:aws:dynamodb:{HERE}:table/mono-repo-prod-pulumi-state-lock",
)
STATEMENTS: list[dict[str, Any]] = [
    statement for text in POLICIES.values() for statement in json.loads(text)["Statement"]
]


def covering(action: str, resource: str, effect: str = "Allow") -> list[dict[str, Any]]:
    """Statements that fit an action on a resource, conditions left aside."""
    return [
        statement
        for statement in STATEMENTS
        if statement["Effect"] == effect
        and any(fnmatchcase(action, pattern) for pattern in statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
    ]


def test_the_policies_are_one_an_area_and_fit_into_a_role() -> None:
    assert tuple(POLICIES) == DEPLOY_AREAS
    assert sum(len(text) for text in POLICIES.values()) <= ROLE_POLICIES_LIMIT


def test_the_policies_fit_with_the_longest_regions_and_every_key_of_the_foundation() -> None:
    keys = ("pulumi-state", "databases", "backups", "images", "replicas")
    scope = replace(
        SCOPE,
        regions=("ap-southeast-1", "ap-northeast-1"),
        foundation_key_aliases=[f"alias/{PREFIX}-{key}" for key in keys],
    )
    policies = deploy_policies(
        scope,
        state_bucket_arn=f"arn:aws:s3:::{PREFIX}-pulumi-state-0123456",
        backup_bucket_arn=f"arn:aws:s3:::{PREFIX}-backups-0123456",
        lock_table_arn=scope.regional("dynamodb", f"table/{PREFIX}-pulumi-state-lock")[0],
    )
    assert sum(len(text) for text in policies.values()) <= ROLE_POLICIES_LIMIT


def test_nothing_is_allowed_on_everything() -> None:
    for statement in STATEMENTS:
        if statement["Effect"] == "Allow":
            assert "*" not in statement["Action"]
            if any(action.endswith(":*") for action in statement["Action"]):
                scoped = "*" not in statement["Resource"] or "Condition" in statement
                assert scoped, statement["Sid"]


@pytest.mark.parametrize(
    "action", ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:CreateUser"]
)
def test_whoever_gets_permissions_carries_the_boundary(action: str) -> None:
    kind = "user" if "User" in action else "role"
    found = covering(action, f"arn:aws:iam::{ACCOUNT}:{kind}/mono-repo-prod-new")
    assert found
    for statement in found:
        assert statement["Condition"]["StringEquals"] == {
            "iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/mono-repo-prod-boundary"
        }


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:PutRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:UpdateAssumeRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:CreatePolicyVersion", "policy/mono-repo-prod-boundary"),
        ("iam:DeleteRolePermissionsBoundary", "role/mono-repo-prod-nodes"),
        ("iam:UpdateAssumeRolePolicy", "role/mono-repo-prod-backups-replica-0123456"),
        ("iam:DeleteRolePolicy", "role/mono-repo-prod-pulumi-state-replica-0123456"),
    ],
)
def test_the_deploy_role_cannot_widen_itself_or_the_boundary(action: str, resource: str) -> None:
    assert covering(action, f"arn:aws:iam::{ACCOUNT}:{resource}", effect="Deny")


def test_the_keys_of_state_and_snapshots_cannot_be_destroyed_by_a_deployment() -> None:
    (deny,) = covering("kms:ScheduleKeyDeletion", "any-key", effect="Deny")
    assert deny["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/mono-repo-prod-databases"]}
    }


@pytest.mark.parametrize("action", ["kms:DeleteAlias", "kms:UpdateAlias"])
@pytest.mark.parametrize("region", SCOPE.regions)
def test_the_aliases_that_keep_those_keys_stay_where_they_are(action: str, region: str) -> None:
    aliases = f"arn:aws:kms:{region}:{ACCOUNT}:alias/"
    assert covering(action, f"{aliases}mono-repo-prod-databases", effect="Deny")
    assert covering(action, f"{aliases}mono-repo-prod-logs", effect="Deny") == []


@pytest.mark.parametrize("action", ["kms:TagResource", "kms:UntagResource"])
def test_a_key_that_is_tagged_as_anothers_cannot_be_tagged_as_ours(action: str) -> None:
    (deny,) = covering(action, "any-key", effect="Deny")
    assert deny["Condition"] == {
        "Null": {"aws:ResourceTag/environment": "false"},
        "StringNotEquals": {"aws:ResourceTag/environment": "prod"},
    }


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/uat/mono-repo/x"),
        ("eks:DeleteCluster", f"arn:aws:eks:{HERE}:cluster/mono-repo-uat"),
        ("rds:DeleteDBInstance", f"arn:aws:rds:{HERE}:db:mono-repo-uat"),
        ("rds:DeleteDBSnapshot", f"arn:aws:rds:{HERE}:snapshot:rds:mono-repo-uat-2026-11-24"),
        ("iam:DeleteRole", f"arn:aws:iam::{ACCOUNT}:role/somebody-else"),
        ("s3:DeleteObject", "arn:aws:s3:::mono-repo-uat-pulumi-state-0123456/x"),
        ("s3:DeleteBucket", "arn:aws:s3:::mono-repo-prod-pulumi-state-0123456"),
        ("ecr:DeleteRepository", f"arn:aws:ecr:{HERE}:repository/mono-repo-prod-x"),
        ("dynamodb:DeleteTable", f"arn:aws:dynamodb:{HERE}:table/mono-repo-prod-x"),
        ("organizations:LeaveOrganization", "*"),
    ],
)
def test_other_environments_and_the_foundation_are_out_of_reach(action: str, resource: str) -> None:
    assert covering(action, resource) == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ec2:CreateVpc", "*"),
        ("ec2:AuthorizeSecurityGroupIngress", "*"),
        ("ec2:CreateNatGateway", "*"),
        ("ec2:ReplaceNetworkAclAssociation", "*"),
        ("ec2:AllocateAddress", "*"),
        ("kms:CreateKey", "*"),
        ("ssm:PutParameter", f"arn:aws:ssm:{HERE}:parameter/prod/mono-repo/x"),
        ("ssm:AddTagsToResource", f"arn:aws:ssm:{HERE}:parameter/prod/mono-repo/x"),
        ("logs:PutRetentionPolicy", f"arn:aws:logs:{HERE}:log-group:/aws/vpc/{PREFIX}/flow-logs"),
        ("logs:PutMetricFilter", f"arn:aws:logs:{HERE}:{LOG}/prod/mono-repo"),
        ("logs:PutResourcePolicy", "*"),
        ("events:PutRule", f"arn:aws:events:{HERE}:rule/parameters-reads-0123456"),
        ("events:PutTargets", f"arn:aws:events:{HERE}:rule/parameters-reads-0123456"),
        ("cloudwatch:PutMetricAlarm", f"arn:aws:cloudwatch:{HERE}:alarm:parameters"),
        ("sns:CreateTopic", f"arn:aws:sns:{HERE}:mono-repo-prod-alarms"),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/{ACCESS}"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/mono-repo-prod-flow-logs"),
        ("iam:CreateInstanceProfile", f"arn:aws:iam::{ACCOUNT}:instance-profile/{ACCESS}"),
        ("rds:CreateDBInstance", f"arn:aws:rds:{HERE}:db:mono-repo-prod"),
        ("rds:CreateDBInstance", f"arn:aws:rds:{HERE}:og:default:postgres-16"),
        ("rds:CreateDBInstance", f"arn:aws:rds:{HERE}:pg:default.postgres16"),
        ("rds:CreateDBInstance", f"arn:aws:rds:{HERE}:subgrp:mono-repo-prod"),
        ("rds:CopyDBSnapshot", f"arn:aws:rds:{HERE}:snapshot:rds:mono-repo-prod-2026-11-24"),
        ("rds:CopyDBSnapshot", f"arn:aws:rds:{HERE}:snapshot:mono-repo-prod-snapshot-1"),
        ("sns:GetSubscriptionAttributes", "*"),
        ("sns:Unsubscribe", "*"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/mono-repo-prod-deploy"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/{ACCESS}"),
        ("eks:CreateCluster", f"arn:aws:eks:{HERE}:cluster/mono-repo-prod"),
        ("s3:PutObject", "arn:aws:s3:::mono-repo-prod-pulumi-state-0123456/.pulumi/x"),
        ("dynamodb:PutItem", f"arn:aws:dynamodb:{HERE}:table/mono-repo-prod-pulumi-state-lock"),
    ],
)  # fmt: skip
def test_what_an_environment_is_made_of_can_be_deployed(action: str, resource: str) -> None:
    assert covering(action, resource)


def test_the_deploy_role_is_assumed_by_the_named_principals_and_by_itself_only() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/ci"
    deployers, itself = json.loads(deploy_trust(SCOPE, [arn]))["Statement"]
    assert deployers["Principal"] == {"AWS": [arn]}
    assert "Condition" not in deployers
    assert itself["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
    assert itself["Condition"] == {
        "ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/mono-repo-prod-deploy"}
    }


def test_the_boundary_fits_a_managed_policy_and_leaves_identity_out() -> None:
    text = workload_boundary(SCOPE)
    assert len(text) <= MANAGED_POLICY_LIMIT
    actions = {action for item in json.loads(text)["Statement"] for action in item["Action"]}
    assert {action for action in actions if action.startswith(("iam:", "sts:", "org"))} == {
        "iam:CreateServiceLinkedRole"
    }
    assert "*" not in actions

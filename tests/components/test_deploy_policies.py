import json
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from components.deploy_policies import (
    DEPLOY_AREAS,
    MANAGED_POLICY_LIMIT,
    ROLE_ATTACHMENTS_LIMIT,
    DeployScope,
    deploy_policies,
    deploy_trust,
    workload_boundary,
)
from components.iam_policies import Statement, policy_document
from tests.policy_evaluator import Request, allows

ACCOUNT = "111122223333"
HERE = f"us-east-1:{ACCOUNT}"
PREFIX = "mono-repo-prod"
LOG = "log-group:/aws/ssm/parameter-store"
ACCESS = "mono-repo-parameter-store-access-prod"
IAM = f"arn:aws:iam::{ACCOUNT}"
LOGS = f"arn:aws:logs:{HERE}:log-group:/aws"
SECRETS = f"arn:aws:secretsmanager:{HERE}:secret"
PERSON = f"{IAM}:user/mono-repo/prod/people/mono-repo-prod-jane-doe"
SCOPE = DeployScope(
    environment="prod",
    project="mono-repo",
    account_id=ACCOUNT,
    regions=("us-east-1", "us-west-2"),
    deploy_role_name="mono-repo-prod-deploy",
    boundary_name="mono-repo-prod-boundary",
    people_boundary_name="mono-repo-prod-people-boundary",
    group_policy_prefix="mono-repo-prod-group-",
    people_path="/mono-repo/prod/people/",
    services_path="/mono-repo/prod/services/",
    audit_log_group="CloudTrail/MonoRepoAuditLogs",
    approvals_path="/prod/mono-repo-ops/approvals",
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


def deploys(action: str, resource: str, **context: str) -> bool:
    """Whether the deploy role may do it, conditions considered."""
    known = {"aws:RequestedRegion": "us-east-1", **context}
    request = Request(action=action, resource=resource, context=known)
    return allows(request, list(POLICIES.values()))


def test_the_policies_are_one_an_area_and_no_more_than_a_role_takes() -> None:
    assert tuple(POLICIES) == DEPLOY_AREAS
    assert len(DEPLOY_AREAS) <= ROLE_ATTACHMENTS_LIMIT


def test_each_policy_fits_with_the_longest_regions_and_every_key_of_the_foundation() -> None:
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
    assert max(len(text) for text in policies.values()) <= MANAGED_POLICY_LIMIT


def test_nothing_is_allowed_on_everything() -> None:
    for statement in STATEMENTS:
        if statement["Effect"] == "Allow":
            assert "*" not in statement["Action"]
            if any(action.endswith(":*") for action in statement["Action"]):
                scoped = "*" not in statement["Resource"] or "Condition" in statement
                assert scoped, statement["Sid"]


@pytest.mark.parametrize(
    ("action", "resource", "boundary"),
    [
        ("iam:CreateRole", "role/mono-repo-prod-new", "boundary"),
        ("iam:PutRolePolicy", "role/mono-repo-prod-new", "boundary"),
        ("iam:AttachRolePolicy", "role/mono-repo-prod-new", "boundary"),
        ("iam:CreateUser", "user/mono-repo/prod/people/mono-repo-prod-new", "people-boundary"),
        ("iam:CreateUser", "user/mono-repo/prod/services/mono-repo-prod-x", "people-boundary"),
    ],
)
def test_whoever_gets_permissions_carries_the_boundary(
    action: str, resource: str, boundary: str
) -> None:
    def may(**context: str) -> bool:
        return deploys(action, f"{IAM}:{resource}", **context)

    assert may(**{"iam:PermissionsBoundary": f"{IAM}:policy/mono-repo-prod-{boundary}"})
    assert not may(**{"iam:PermissionsBoundary": f"{IAM}:policy/somebody-elses"})
    assert not may()


@pytest.mark.parametrize("action", ["iam:AttachUserPolicy", "iam:PutUserPolicy"])
def test_a_user_has_no_policy_but_those_of_its_groups(action: str) -> None:
    bounded = {"iam:PermissionsBoundary": f"{IAM}:policy/mono-repo-prod-people-boundary"}
    assert not deploys(action, PERSON, **bounded)


def test_a_group_gets_no_policy_that_a_deployment_could_have_written() -> None:
    group = f"{IAM}:group/mono-repo-prod-sre"
    assert deploys(
        "iam:AttachGroupPolicy",
        group,
        **{"iam:PolicyARN": f"{IAM}:policy/mono-repo-prod-group-sre"},
    )
    for other in ("aws:policy/AdministratorAccess", f"{ACCOUNT}:policy/mono-repo-prod-boundary"):
        policy = {"iam:PolicyARN": f"arn:aws:iam::{other}"}
        assert not deploys("iam:AttachGroupPolicy", group, **policy)
    assert not deploys("iam:PutGroupPolicy", group)
    for action in ("iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"):
        assert not deploys(action, f"{IAM}:policy/mono-repo-prod-group-sre")
        assert not deploys(action, f"{IAM}:policy/mono-repo-prod-group-new")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:AttachRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:DetachRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:PassRole", "role/mono-repo-prod-deploy"),
        ("iam:CreatePolicyVersion", "policy/mono-repo-prod-deploy-keys"),
        ("iam:SetDefaultPolicyVersion", "policy/mono-repo-prod-deploy-identity"),
        ("iam:DeletePolicy", "policy/mono-repo-prod-people-boundary"),
        ("iam:CreatePolicyVersion", "policy/mono-repo-prod-people-boundary"),
        ("iam:DeleteUserPermissionsBoundary", "user/mono-repo/prod/people/mono-repo-prod-x"),
        ("iam:PutRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:UpdateAssumeRolePolicy", "role/mono-repo-prod-deploy"),
        ("iam:CreatePolicyVersion", "policy/mono-repo-prod-boundary"),
        ("iam:DeleteRolePermissionsBoundary", "role/mono-repo-prod-nodes"),
        ("iam:UpdateAssumeRolePolicy", "role/mono-repo-prod-backups-replica-0123456"),
        ("iam:DeleteRolePolicy", "role/mono-repo-prod-pulumi-state-replica-0123456"),
    ],
)
def test_the_deploy_role_cannot_widen_itself_or_the_boundary(action: str, resource: str) -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])
    request = Request(action=action, resource=f"{IAM}:{resource}")
    assert allows(request, [everything])
    assert not allows(request, [everything, *POLICIES.values()])


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
        ("iam:CreateAccessKey", f"{IAM}:user/mono-repo/uat/people/mono-repo-uat-x"),
        ("iam:CreateAccessKey", f"{IAM}:user/mono-repo-prod-made-by-hand"),
        ("iam:EnableMFADevice", PERSON),
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
        ("autoscaling:AttachLoadBalancerTargetGroups", "*"),
        ("ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/mono-repo-prod-api-service"),
        ("eks:CreateAccessEntry", f"arn:aws:eks:{HERE}:cluster/mono-repo-prod"),
        ("eks:DeletePodIdentityAssociation",
         f"arn:aws:eks:{HERE}:podidentityassociation/mono-repo-prod/a-0123"),
        ("iam:AddUserToGroup", f"{IAM}:group/mono-repo-prod-sre"),
        ("iam:CreateAccessKey", PERSON),
        ("iam:CreateOpenIDConnectProvider",
         f"{IAM}:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/X"),
        ("iam:DeactivateMFADevice", PERSON),
        ("iam:DeleteLoginProfile", PERSON),
        ("iam:DeleteVirtualMFADevice", f"{IAM}:mfa/mono-repo-prod-jane-doe"),
        ("logs:CreateLogGroup", f"{LOGS}/containerinsights/{PREFIX}/host"),
        ("logs:CreateLogGroup", f"{LOGS}/rds/instance/{PREFIX}/postgresql"),
        ("secretsmanager:CreateSecret", f"{SECRETS}:{PREFIX}-access-keys-x"),
        ("secretsmanager:CreateSecret", f"{SECRETS}:rds!db-0123-AbCdEf"),
        ("tag:GetResources", "*"),
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


@pytest.mark.parametrize(
    "action",
    [
        "autoscaling:UpdateAutoScalingGroup",
        "ec2:DeleteVpc",
        "ec2:CreateTags",
        "ec2:TerminateInstances",
        "elasticloadbalancing:DeleteLoadBalancer",
        "cloudwatch:DeleteAlarms",
    ],
)
def test_what_is_tagged_as_another_environments_is_left_alone(action: str) -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])

    def may(**tags: str) -> bool:
        request = Request(action=action, resource="any", context=tags)
        return allows(request, [everything, *POLICIES.values()])

    assert may()
    assert may(**{"aws:ResourceTag/environment": "prod"})
    assert not may(**{"aws:ResourceTag/environment": "uat"})


def test_instances_are_stopped_by_their_tag_and_nodes_scaled_by_their_cluster() -> None:
    instance = f"arn:aws:ec2:{HERE}:instance/i-0123"
    assert deploys("ec2:StopInstances", instance, **{"aws:ResourceTag/environment": "prod"})
    assert not deploys("ec2:StopInstances", instance)
    nodes = f"arn:aws:autoscaling:{HERE}:autoScalingGroup:x:autoScalingGroupName/eks-general-0"
    for cluster, may in ((PREFIX, True), ("mono-repo-uat", False)):
        tag = {"aws:ResourceTag/eks:cluster-name": cluster}
        assert deploys("autoscaling:SuspendProcesses", nodes, **tag) is may


def test_a_deployment_reads_approvals_and_gives_none() -> None:
    parameter = f"arn:aws:ssm:{HERE}:parameter/prod/mono-repo-ops"
    assert deploys("ssm:GetParameterHistory", f"{parameter}/approvals/0123")
    assert not deploys("ssm:PutParameter", f"{parameter}/approvals/0123")
    assert deploys("ssm:PutParameter", f"{parameter}/suspension")


def test_an_access_key_is_stored_and_never_read_again() -> None:
    secret = f"{SECRETS}:{PREFIX}-access-keys-jane-doe-AbCdEf"
    assert deploys("secretsmanager:PutSecretValue", secret)
    assert not deploys("secretsmanager:GetSecretValue", secret)
    assert deploys("secretsmanager:GetSecretValue", f"{SECRETS}:{PREFIX}-other-AbCdEf")


def test_the_passwords_that_rds_keeps_for_other_databases_are_not_read() -> None:
    secret = f"arn:aws:secretsmanager:{HERE}:secret:rds!db-0123-AbCdEf"
    tag = "aws:ResourceTag/aws:rds:primaryDBInstanceArn"
    for database, may in ((PREFIX, True), ("mono-repo-uat", False)):
        owner = {tag: f"arn:aws:rds:{HERE}:db:{database}"}
        assert deploys("secretsmanager:GetSecretValue", secret, **owner) is may
    assert not deploys("secretsmanager:GetSecretValue", secret)

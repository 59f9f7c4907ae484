import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args

import pytest

from components.deploy_policies import MANAGED_POLICY_LIMIT, DeployScope
from components.iam_policies import Statement, policy_document
from components.people_policies import (
    WITHOUT_MFA,
    GroupPermissions,
    ServicePermissions,
    group_policy,
    owner_only,
    people_boundary,
    self_service_policy,
    service_policy,
)
from tests.policy_evaluator import Request, allows

ACCOUNT = "111122223333"
HOME = "us-east-1"
PREFIX = "mono-repo-prod"
IAM = f"arn:aws:iam::{ACCOUNT}"
SCOPE = DeployScope(
    environment="prod",
    project="mono-repo",
    account_id=ACCOUNT,
    regions=(HOME, "us-west-2"),
    deploy_role_name=f"{PREFIX}-deploy",
    boundary_name=f"{PREFIX}-boundary",
    people_boundary_name=f"{PREFIX}-people-boundary",
    group_policy_prefix=f"{PREFIX}-group-",
    people_path="/mono-repo/prod/people/",
    services_path="/mono-repo/prod/services/",
    audit_log_group="CloudTrail/MonoRepoAuditLogs",
    approvals_path="/prod/mono-repo-ops/approvals",
    foundation_key_aliases=[f"alias/{PREFIX}-databases"],
)
LONGEST = replace(SCOPE, regions=("ap-southeast-1", "ap-northeast-1"))
BOUNDARY = people_boundary(SCOPE)
SELF = self_service_policy(SCOPE)
PEOPLE = get_args(GroupPermissions)
MACHINES = get_args(ServicePermissions)
DEPLOY_ROLE = f"{IAM}:role/{PREFIX}-deploy"
DATABASE = f"arn:aws:rds:{HOME}:{ACCOUNT}:db:{PREFIX}"
SNAPSHOT = f"arn:aws:rds:{HOME}:{ACCOUNT}:snapshot:{PREFIX}-snapshot-20261124-000000"
PARAMETERS = f"arn:aws:ssm:{HOME}:{ACCOUNT}:parameter"
LOGS = f"arn:aws:logs:{HOME}:{ACCOUNT}:log-group"
KEY = f"arn:aws:kms:{HOME}:{ACCOUNT}:key/0123"
IMAGE = f"arn:aws:ecr:{HOME}:{ACCOUNT}:repository/{PREFIX}-api-service"
NODES = f"arn:aws:eks:{HOME}:{ACCOUNT}:nodegroup/{PREFIX}/general/0123"
INSTANCE = f"arn:aws:ec2:{HOME}:{ACCOUNT}:instance/i-0123"
BACKUP = f"arn:aws:s3:::{PREFIX}-backups-0123456/2026/parameters.json"


def policy_of(kind: str, *, write_parameters: bool = False) -> str:
    """The policy of a group of people that reaches the cluster."""
    return group_policy(
        SCOPE,
        kind,  # type: ignore[arg-type]  # one of the literals
        cluster_role_arns=[f"{IAM}:role/{PREFIX}-kubernetes-{kind}"],
        write_parameters=write_parameters,
    )


def service_of(kind: str) -> str:
    """The policy of the machines of a kind."""
    return service_policy(SCOPE, kind)  # type: ignore[arg-type]  # one of the literals


def person(
    kind: str | None,
    action: str,
    resource: str = "*",
    *,
    name: str = f"{PREFIX}-jane-doe",
    mfa: bool = True,
    context: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Whether a member of a group may do it, within the boundary; `mfa` False: a bare key."""
    known = {
        "aws:username": name,
        "aws:PrincipalArn": f"{IAM}:user/mono-repo/prod/people/{name}",
        "aws:RequestedRegion": HOME,
        **({"aws:MultiFactorAuthPresent": "true"} if mfa else {}),
        **context,
    }
    policies = [SELF] if kind is None else [SELF, policy_of(kind)]
    return allows(
        Request(action=action, resource=resource, context=known), policies, boundary=BOUNDARY
    )


def machine(kind: str, action: str, resource: str = "*", **context: str) -> bool:
    """Whether a machine of a kind may do it, within the boundary; machines have no MFA."""
    name = f"{PREFIX}-{kind}-service"
    known = {
        "aws:username": name,
        "aws:PrincipalArn": f"{IAM}:user/mono-repo/prod/services/{name}",
        "aws:RequestedRegion": HOME,
        **context,
    }
    return allows(
        Request(action=action, resource=resource, context=known),
        [service_of(kind)],
        boundary=BOUNDARY,
    )


def tagged(**tags: str) -> dict[str, str]:
    return {f"aws:ResourceTag/{key.replace('_', '-')}": value for key, value in tags.items()}


OURS = tagged(environment="prod")
THEIRS = tagged(environment="uat")


def via(service: str) -> dict[str, str]:
    """What KMS sees of a call that a service makes for its caller, with a key of ours."""
    return {**OURS, "kms:ViaService": f"{service}.{HOME}.amazonaws.com"}


# -- sizes and shapes ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PEOPLE)
def test_the_policy_of_a_group_fits_with_the_longest_regions_and_names(kind: Any) -> None:
    role = f"{IAM}:role/{PREFIX}-kubernetes-{'x' * 32}"
    text = group_policy(LONGEST, kind, cluster_role_arns=[role, role + "y"], write_parameters=True)
    assert len(text) <= MANAGED_POLICY_LIMIT


@pytest.mark.parametrize("kind", MACHINES)
def test_the_policy_of_machines_fits_with_the_longest_regions(kind: Any) -> None:
    assert len(service_policy(LONGEST, kind)) <= MANAGED_POLICY_LIMIT


def test_self_service_and_the_boundary_fit_with_the_longest_regions() -> None:
    assert len(self_service_policy(LONGEST)) <= MANAGED_POLICY_LIMIT
    assert len(people_boundary(LONGEST)) <= MANAGED_POLICY_LIMIT


def documents() -> dict[str, str]:
    """Every policy that people and machines get, by a name for messages."""
    found = {"self-service": SELF, "boundary": BOUNDARY}
    found |= {kind: policy_of(kind, write_parameters=True) for kind in PEOPLE}
    return found | {kind: service_of(kind) for kind in MACHINES}


READ_ONLY = ("Describe", "Get", "List", "View", "Lookup", "Simulate", "Generate", "StopQuery")


@pytest.mark.parametrize("name", documents())
def test_nothing_but_reading_is_allowed_everywhere_and_no_service_wholly(name: str) -> None:
    for statement in json.loads(documents()[name])["Statement"]:
        if statement["Effect"] == "Deny":
            continue
        for action in statement["Action"]:
            verb = action.partition(":")[2]
            assert not verb.startswith("*"), f"{statement['Sid']} allows all of {action}"
            if statement["Resource"] == ["*"] and not any(
                "ResourceTag" in key
                for keys in statement.get("Condition", {}).values()
                for key in keys
            ):
                assert verb.startswith(READ_ONLY), f"{statement['Sid']} allows {action} anywhere"


@pytest.mark.parametrize("name", [*PEOPLE, *MACHINES, "self-service"])
def test_the_boundary_leaves_out_nothing_that_a_group_is_meant_to_have(name: str) -> None:
    """Wildcards in a group's policy stand for themselves: the boundary's must be as wide."""
    for statement in json.loads(documents()[name])["Statement"]:
        if statement["Effect"] == "Deny":
            continue
        context = {"aws:username": f"{PREFIX}-jane-doe", "aws:RequestedRegion": HOME}
        for keys in statement.get("Condition", {}).values():
            for key, values in keys.items():
                value = values if isinstance(values, str) else values[0]
                context[key] = value.replace("${aws:username}", context["aws:username"])
        for action in statement["Action"]:
            for resource in statement["Resource"]:
                asked = resource.replace("${aws:username}", context["aws:username"])
                request = Request(action=action, resource=asked, context=context)
                assert allows(request, [BOUNDARY]), f"{statement['Sid']}: {action} on {asked}"


# -- MFA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PEOPLE)
def test_without_mfa_a_person_can_only_set_up_password_and_device(kind: str) -> None:
    own = f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe"
    assert person(kind, "iam:ChangePassword", own, mfa=False)
    assert person(kind, "iam:EnableMFADevice", own, mfa=False)
    assert person(kind, "iam:CreateVirtualMFADevice", f"{IAM}:mfa/{PREFIX}-jane-doe", mfa=False)
    statements = json.loads(policy_of(kind))["Statement"] + json.loads(SELF)["Statement"]
    for statement in statements:
        for action in statement.get("Action", ()):
            if statement["Effect"] == "Allow" and action not in WITHOUT_MFA:
                for resource in statement["Resource"]:
                    assert not person(kind, action, resource, mfa=False, context=OURS), action


def test_a_long_term_key_says_nothing_about_mfa_and_a_false_answer_counts_the_same() -> None:
    log = f"{LOGS}:/aws/eks/{PREFIX}/cluster:*"
    assert not person("operations", "logs:FilterLogEvents", log, mfa=False)
    assert not person(
        "operations", "logs:FilterLogEvents", log, context={"aws:MultiFactorAuthPresent": "false"}
    )
    assert person("operations", "logs:FilterLogEvents", log)


def test_mfa_is_asked_for_whatever_group_a_person_was_put_into() -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])
    name = f"{PREFIX}-jane-doe"
    context = {
        "aws:username": name,
        "aws:PrincipalArn": f"{IAM}:user/mono-repo/prod/people/{name}",
        "aws:RequestedRegion": HOME,
    }
    request = Request(action="ec2:DescribeVpcs", context=context)
    assert not allows(request, [everything], boundary=BOUNDARY)
    with_mfa = replace(request, context={**context, "aws:MultiFactorAuthPresent": "true"})
    assert allows(with_mfa, [everything], boundary=BOUNDARY)


def test_who_found_a_password_cannot_add_a_device_beside_the_owners_or_take_it_away() -> None:
    own = f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe"
    assert not person(None, "iam:CreateVirtualMFADevice", f"{IAM}:mfa/another", mfa=False)
    assert not person(None, "iam:DeactivateMFADevice", own, mfa=False)
    passkey = {"iam:RegisterSecurityKey": "Activate"}
    assert not person(None, "iam:EnableMFADevice", own, mfa=False, context=passkey)
    assert person(None, "iam:EnableMFADevice", own, context=passkey)
    assert person(None, "iam:DeactivateMFADevice", own)


# -- self-service and secrets -------------------------------------------------------------------


@pytest.mark.parametrize(
    "action", ["iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:ChangePassword"]
)
def test_a_login_is_its_owners_alone(action: str) -> None:
    people = f"{IAM}:user/mono-repo/prod/people"
    assert person(None, action, f"{people}/{PREFIX}-jane-doe")
    assert not person(None, action, f"{people}/{PREFIX}-john-smith")


def secret(name: str) -> str:
    return f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:{PREFIX}-access-keys-{name}-AbCdEf"


@pytest.mark.parametrize("kind", PEOPLE)
def test_nobody_but_the_owner_reads_the_secret_of_a_person(kind: str) -> None:
    owned = tagged(iam_user=f"{PREFIX}-jane-doe")
    read = ("secretsmanager:GetSecretValue", secret("jane-doe"))
    assert person(kind, *read, context=owned)
    assert not person(kind, *read, name=f"{PREFIX}-john-smith", context=owned)
    assert not person(kind, *read, mfa=False, context=owned)


@pytest.mark.parametrize("kind", MACHINES)
def test_a_machine_reads_its_own_secret_and_no_others(kind: str) -> None:
    read = ("secretsmanager:GetSecretValue", secret(kind))
    assert machine(kind, *read, **tagged(iam_user=f"{PREFIX}-{kind}-service"))
    assert not machine(kind, *read, **tagged(iam_user=f"{PREFIX}-jane-doe"))
    other = f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:{PREFIX}-other-AbCdEf"
    assert not machine(kind, "secretsmanager:GetSecretValue", other, **OURS)


@pytest.mark.parametrize(
    ("caller", "reads"),
    [
        (f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe", True),
        (f"{IAM}:user/mono-repo/prod/people/{PREFIX}-john-smith", False),
        (DEPLOY_ROLE, False),
        (f"{IAM}:role/administrators", False),
    ],
)
def test_the_secrets_own_policy_keeps_even_administrators_out(caller: str, reads: bool) -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])
    request = Request(
        action="secretsmanager:GetSecretValue",
        resource=secret("jane-doe"),
        context={"aws:PrincipalArn": caller},
    )
    policy = owner_only(f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe")
    assert allows(request, [everything], resource_policy=policy) is reads


def test_the_key_of_the_secrets_opens_nothing_but_secrets_with_access_keys() -> None:
    own = {"kms:EncryptionContext:SecretARN": secret("jane-doe")}
    assert person(None, "kms:Decrypt", KEY, context={**via("secretsmanager"), **own})
    assert not person(None, "kms:Decrypt", KEY, context={**OURS, **own}), "never the key itself"
    other = {"kms:EncryptionContext:SecretARN": f"{secret('x')}".replace("access-keys", "other")}
    assert not person(None, "kms:Decrypt", KEY, context={**via("secretsmanager"), **other})


# -- groups of people ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "action", "resource", "context"),
    [
        ("OIRS", "ec2:DescribeInstances", "*", {}),
        ("OIRS", "rds:DescribeDBInstances", "*", {}),
        ("OIRS", "cloudwatch:GetMetricStatistics", "*", {}),
        ("OIRS", "logs:FilterLogEvents", f"{LOGS}:/aws/eks/{PREFIX}/cluster:*", {}),
        ("OIRS", "logs:StartQuery", f"{LOGS}:/aws/ssm/parameter-store/prod/mono-repo:*", {}),
        ("OIRS", "logs:GetLogEvents", f"{LOGS}:/aws/containerinsights/{PREFIX}/application:*", {}),
        ("OIRS", "eks:DescribeCluster", f"arn:aws:eks:{HOME}:{ACCOUNT}:cluster/{PREFIX}", {}),
        ("OIR", "ce:GetCostAndUsage", "*", {}),
        ("OIR", "ssm:GetParametersByPath", f"{PARAMETERS}/prod/mono-repo", {}),
        ("OI", "kms:Decrypt", KEY, via("ssm")),
        ("I", "ssm:PutParameter", f"{PARAMETERS}/prod/mono-repo/database/password", {}),
        ("I", "ssm:PutParameter", f"{PARAMETERS}/prod/mono-repo-ops/approvals/0123", {}),
        ("OIR", "ssm:GetParameterHistory", f"{PARAMETERS}/prod/mono-repo-ops/approvals/0123", {}),
        ("I", "sts:AssumeRole", DEPLOY_ROLE, {}),
        ("I", "ecr:PutImage", IMAGE, {}),
        ("R", "rds:RebootDBInstance", DATABASE, {}),
        ("R", "rds:StopDBInstance", DATABASE, {}),
        ("R", "rds:CreateDBSnapshot", SNAPSHOT, {}),
        ("R", "eks:UpdateNodegroupConfig", NODES, {}),
        ("R", "ec2:StopInstances", INSTANCE, OURS),
        ("R", "pi:GetResourceMetrics", f"arn:aws:pi:{HOME}:{ACCOUNT}:metrics/rds/db-X", {}),
        ("S", "logs:FilterLogEvents", f"{LOGS}:CloudTrail/MonoRepoAuditLogs:*", {}),
        ("S", "iam:GenerateCredentialReport", "*", {}),
        ("S", "iam:GetAccessKeyLastUsed", "*", {}),
        ("S", "cloudtrail:LookupEvents", "*", {}),
        ("S", "iam:DeleteAccessKey", f"{IAM}:user/mono-repo/prod/people/{PREFIX}-john-smith", {}),
        ("S", "iam:UpdateAccessKey", f"{IAM}:user/mono-repo/prod/services/{PREFIX}-cicd-service",
         {}),
        ("", "rds:DeleteDBInstance", DATABASE, {}),
        ("", "rds:DeleteDBSnapshot", SNAPSHOT, {}),
        ("", "rds:ModifyDBInstance", DATABASE, {}),
        ("", "eks:DeleteNodegroup", NODES, {}),
        ("", "ec2:TerminateInstances", INSTANCE, OURS),
        ("", "ec2:StopInstances", INSTANCE, THEIRS),
        ("", "ecr:BatchDeleteImage", IMAGE, {}),
        ("", "ssm:DeleteParameter", f"{PARAMETERS}/prod/mono-repo/database/host", {}),
        ("", "ssm:PutParameter", f"{PARAMETERS}/prod/mono-repo-ops/suspension", {}),
        ("", "ssm:GetParameter", f"{PARAMETERS}/uat/mono-repo/database/host", {}),
        ("", "kms:Decrypt", KEY, {**via("ssm"), **THEIRS}),
        ("", "kms:Decrypt", KEY, OURS),
        ("", "logs:GetLogEvents", f"{LOGS}:/aws/eks/mono-repo-uat/cluster:*", {}),
        ("", "logs:DeleteLogGroup", f"{LOGS}:/aws/eks/{PREFIX}/cluster:*", {}),
        ("", "s3:GetObject", f"arn:aws:s3:::{PREFIX}-pulumi-state-0123456/.pulumi/x", {}),
        ("", "iam:CreateUser", f"{IAM}:user/mono-repo/prod/people/{PREFIX}-new", {}),
        ("", "iam:AddUserToGroup", f"{IAM}:group/{PREFIX}-devops-engineers", {}),
        ("", "iam:CreatePolicyVersion", f"{IAM}:policy/{PREFIX}-people-boundary", {}),
        ("", "iam:CreateAccessKey", f"{IAM}:user/mono-repo/prod/people/{PREFIX}-john-smith", {}),
        ("", "iam:DeleteUserPermissionsBoundary",
         f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe", {}),
        ("", "iam:PutUserPermissionsBoundary",
         f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe", {}),
        ("", "sts:AssumeRole", f"{IAM}:role/administrators", {}),
        ("", "organizations:LeaveOrganization", "*", {}),
        ("", "ec2:DescribeInstances", "*", {"aws:RequestedRegion": "sa-east-1"}),
    ],
)  # fmt: skip
def test_each_group_may_do_its_own_work_and_nothing_beside_it(
    kinds: str, action: str, resource: str, context: dict[str, str]
) -> None:
    letters = dict(zip("OIRS", PEOPLE, strict=True))
    may = {kind for kind in PEOPLE if person(kind, action, resource, context=context)}
    assert may == {letters[letter] for letter in kinds}


@pytest.mark.parametrize("kind", PEOPLE)
def test_a_group_reaches_the_cluster_by_its_own_role(kind: str) -> None:
    for other in PEOPLE:
        role = f"{IAM}:role/{PREFIX}-kubernetes-{other}"
        assert person(kind, "sts:AssumeRole", role) is (kind == other)


def test_operations_write_parameters_only_where_the_environment_lets_them() -> None:
    request = Request(
        action="ssm:PutParameter", resource=f"{PARAMETERS}/prod/mono-repo/features/x", context={}
    )
    assert allows(request, [policy_of("operations", write_parameters=True)]) is False
    with_mfa = replace(request, context={"aws:MultiFactorAuthPresent": "true"})
    assert allows(with_mfa, [policy_of("operations", write_parameters=True)])
    assert not allows(with_mfa, [policy_of("operations", write_parameters=False)])


# -- machines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "action", "resource", "context"),
    [
        ("D", "sts:AssumeRole", DEPLOY_ROLE, {}),
        ("D", "ecr:GetAuthorizationToken", "*", {}),
        ("D", "ecr:PutImage", IMAGE, {}),
        ("M", "cloudwatch:GetMetricData", "*", {}),
        ("M", "ec2:DescribeInstances", "*", {}),
        ("ML", "logs:FilterLogEvents", f"{LOGS}:/aws/rds/instance/{PREFIX}/postgresql:*", {}),
        ("MB", "rds:DescribeDBSnapshots", "*", {}),
        ("B", "rds:CreateDBSnapshot", SNAPSHOT, {}),
        ("B", "s3:PutObject", BACKUP, {}),
        ("B", "kms:GenerateDataKey", KEY, via("s3")),
        ("B", "ssm:GetParametersByPath", f"{PARAMETERS}/prod/mono-repo", {}),
        ("", "s3:DeleteObject", BACKUP, {}),
        ("", "s3:GetObject", BACKUP, {}),
        ("", "rds:DeleteDBSnapshot", SNAPSHOT, {}),
        ("", "ssm:PutParameter", f"{PARAMETERS}/prod/mono-repo/features/x", {}),
        ("", "logs:PutLogEvents", f"{LOGS}:/aws/ssm/parameter-store/prod/mono-repo:*", {}),
        ("", "logs:FilterLogEvents", f"{LOGS}:CloudTrail/MonoRepoAuditLogs:*", {}),
        ("", "sts:AssumeRole", f"{IAM}:role/{PREFIX}-kubernetes-operations", {}),
        ("", "iam:CreateAccessKey", f"{IAM}:user/mono-repo/prod/services/{PREFIX}-cicd-service",
         {}),
        ("", "ecr:PutImage", f"arn:aws:ecr:{HOME}:{ACCOUNT}:repository/mono-repo-uat-x", {}),
    ],
)  # fmt: skip
def test_each_machine_may_do_its_own_work_and_nothing_beside_it(
    kinds: str, action: str, resource: str, context: dict[str, str]
) -> None:
    letters = dict(zip("DMBL", MACHINES, strict=True))
    may = {kind for kind in MACHINES if machine(kind, action, resource, **context)}
    assert may == {letters[letter] for letter in kinds}


def test_a_machine_of_deployment_may_become_the_deploy_role_and_push_images_only() -> None:
    allowed = {
        action
        for statement in json.loads(service_of("deployment"))["Statement"]
        for action in statement["Action"]
    }
    assert {action.partition(":")[0] for action in allowed} == {
        "ecr",
        "kms",
        "secretsmanager",
        "sts",
    }


# -- the boundary -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreateUser", f"{IAM}:user/x"),
        ("iam:AttachUserPolicy", f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe"),
        ("iam:PutGroupPolicy", f"{IAM}:group/{PREFIX}-operations"),
        ("iam:DeleteUserPermissionsBoundary", f"{IAM}:user/mono-repo/prod/people/x"),
        ("iam:CreatePolicyVersion", f"{IAM}:policy/{PREFIX}-people-boundary"),
        ("iam:PassRole", DEPLOY_ROLE),
        ("iam:CreateAccessKey", f"{IAM}:user/mono-repo/prod/services/{PREFIX}-cicd-service"),
        ("sts:AssumeRole", f"{IAM}:role/{PREFIX}-nodes"),
        ("rds:DeleteDBInstance", DATABASE),
        ("s3:GetObject", f"arn:aws:s3:::{PREFIX}-pulumi-state-0123456/x"),
        ("ssm:GetParameter", f"{PARAMETERS}/uat/mono-repo/x"),
        ("ec2:RunInstances", "*"),
    ],
)
def test_no_policy_lifts_a_person_above_the_boundary(action: str, resource: str) -> None:
    everything = policy_document([Statement(actions=["*"], resources=["*"])])
    context = {
        "aws:username": f"{PREFIX}-jane-doe",
        "aws:PrincipalArn": f"{IAM}:user/mono-repo/prod/people/{PREFIX}-jane-doe",
        "aws:RequestedRegion": HOME,
        "aws:MultiFactorAuthPresent": "true",
        **OURS,
    }
    request = Request(action=action, resource=resource, context=context)
    assert allows(request, [everything])
    assert not allows(request, [everything], boundary=BOUNDARY)


def test_allowing_all_but_some_actions_is_refused() -> None:
    with pytest.raises(ValueError, match="would allow all others"):
        policy_document([Statement(sid="Wide", actions=["s3:GetObject"], all_but=True)])

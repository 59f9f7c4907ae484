"""Permissions: what each command asks AWS for, and whether the deploy role has it.

AWS itself is asked, in three ways: dry runs of EC2's, reads that show nothing but that they are
allowed, and IAM's simulation of the role's policies. A rehearsal tests none of it. The simulation
judges an organization's policies as well, by the context that it is given and no more: what they
alone deny is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.checks import Check
from ops.doctor.questions import Question, denied

if TYPE_CHECKING:
    from ops.access import Access


@dataclass(frozen=True, kw_only=True)
class Denied:
    """An action that a simulation denies."""

    action: str
    by_organization: bool
    """The organization's policies deny it; whether the role's own allow it was not looked at."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Actions on one kind of resource."""

    actions: tuple[str, ...]
    on: str = "*"
    """ARN, with {account}, {region}, {env} and {prefix} in it."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Condition key → what the request or the resource has; `{env}` as in `on`. Region and
    principal are given with every request."""


_TAGGED: Final = {"aws:ResourceTag/environment": "{env}"}
_ALWAYS: Final = {
    "aws:RequestedRegion": "{region}",
    "aws:PrincipalArn": "{role}",
}
_PARAMETERS: Final = "arn:aws:ssm:{region}:{account}:parameter/{env}/mono-repo"

_NETWORK = Needed(
    actions=("ec2:CreateVpc", "ec2:CreateSubnet", "ec2:CreateNatGateway", "ec2:AllocateAddress"),
)
_CLUSTER = Needed(
    actions=("eks:CreateCluster", "eks:DescribeCluster", "eks:DeleteCluster"),
    on="arn:aws:eks:{region}:{account}:cluster/{prefix}",
)
_NODES = Needed(
    actions=("eks:CreateNodegroup", "eks:DescribeNodegroup", "eks:UpdateNodegroupConfig"),
    on="arn:aws:eks:{region}:{account}:nodegroup/{prefix}/general/0123",
)
_INSTANCES = Needed(
    actions=("ec2:StopInstances", "ec2:StartInstances"),
    on="arn:aws:ec2:{region}:{account}:instance/*",
    context=_TAGGED,
)
_DATABASE = Needed(
    actions=("rds:StopDBInstance", "rds:StartDBInstance"),
    on="arn:aws:rds:{region}:{account}:db:{prefix}",
)
_RECORD = Needed(
    actions=("ssm:PutParameter", "ssm:DeleteParameter", "ssm:GetParametersByPath"),
    on="arn:aws:ssm:{region}:{account}:parameter/{env}/mono-repo-ops/suspension",
)
_LOCK = Needed(
    actions=("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
    on="arn:aws:dynamodb:{region}:{account}:table/{prefix}-pulumi-state-lock",
)

NEEDED: Final[Mapping[str, Sequence[Needed]]] = {
    "preview": (
        Needed(actions=("ec2:DescribeVpcs", "ec2:DescribeInstances")),
        Needed(actions=("eks:DescribeCluster",), on=_CLUSTER.on),
        Needed(actions=("rds:DescribeDBInstances", "ssm:DescribeParameters")),
    ),
    "up": (
        _NETWORK,
        _CLUSTER,
        _NODES,
        Needed(
            actions=("rds:CreateDBInstance", "rds:ModifyDBInstance", "rds:AddTagsToResource"),
            on=_DATABASE.on,
        ),
        Needed(actions=("ssm:PutParameter", "ssm:GetParameter"), on=f"{_PARAMETERS}/database/host"),
        Needed(
            actions=("logs:CreateLogGroup",),
            on="arn:aws:logs:{region}:{account}:log-group:/aws/eks/{prefix}/cluster",
        ),
        Needed(
            actions=("iam:CreateRole", "iam:AttachRolePolicy"),
            on="arn:aws:iam::{account}:role/{prefix}-cluster",
            context={"iam:PermissionsBoundary": "arn:aws:iam::{account}:policy/{prefix}-boundary"},
        ),
        _LOCK,
    ),
    "params setup": (
        Needed(actions=("ssm:DescribeParameters",)),
        Needed(
            actions=("ssm:PutParameter", "ssm:AddTagsToResource"), on=f"{_PARAMETERS}/database/pwd"
        ),
        Needed(
            actions=("kms:DescribeKey", "kms:GenerateDataKey"),
            on="arn:aws:kms:{region}:{account}:key/0123",
            context=_TAGGED,
        ),
    ),
    "stop": (_NODES, _INSTANCES, _DATABASE, _RECORD, _LOCK),
    "start": (_NODES, _INSTANCES, _DATABASE, _RECORD, _LOCK),
    "backup": (
        Needed(
            actions=("rds:CreateDBSnapshot",),
            on="arn:aws:rds:{region}:{account}:snapshot:{prefix}-snapshot-0",
        ),
        Needed(actions=("ssm:GetParametersByPath",), on=_PARAMETERS),
        _LOCK,
    ),
    "teardown": (
        _CLUSTER,
        Needed(actions=("rds:DeleteDBInstance", "rds:CreateDBSnapshot"), on=_DATABASE.on),
        Needed(actions=("ec2:DeleteVpc", "ec2:DeleteSubnet"), context=_TAGGED),
        Needed(actions=("tag:GetResources",)),
        _LOCK,
    ),
    "restore": (
        Needed(
            actions=("rds:RestoreDBInstanceFromDBSnapshot",),
            on="arn:aws:rds:{region}:{account}:db:{prefix}-restored",
        ),
        Needed(actions=("ssm:PutParameter",), on=f"{_PARAMETERS}/database/password"),
        _LOCK,
    ),
}
"""Command → what it could not do without."""

READS: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = {
    "ec2:DescribeVpcs": ("ec2", "describe_vpcs", {"MaxResults": 5}),
    "eks:ListClusters": ("eks", "list_clusters", {"maxResults": 1}),
    "rds:DescribeDBInstances": ("rds", "describe_db_instances", {"MaxRecords": 20}),
    "elasticloadbalancing:DescribeLoadBalancers": ("elbv2", "describe_load_balancers", {}),
    "autoscaling:DescribeAutoScalingGroups": (
        "autoscaling",
        "describe_auto_scaling_groups",
        {"MaxRecords": 1},
    ),
    "ssm:DescribeParameters": ("ssm", "describe_parameters", {"MaxResults": 1}),
    "kms:ListAliases": ("kms", "list_aliases", {"Limit": 1}),
    "iam:ListRoles": ("iam", "list_roles", {"MaxItems": 1}),
    "logs:DescribeLogGroups": ("logs", "describe_log_groups", {"limit": 1}),
    "cloudwatch:DescribeAlarms": ("cloudwatch", "describe_alarms", {"MaxRecords": 1}),
    "tag:GetResources": ("resourcegroupstaggingapi", "get_resources", {"ResourcesPerPage": 1}),
    "route53:ListHostedZones": ("route53", "list_hosted_zones", {"MaxItems": "1"}),
}
"""Permission → the service, the operation and the arguments of a read that shows it."""


def questions(access: Access) -> tuple[Question, ...]:
    """Give the questions about permissions."""
    simulated = tuple(
        Question(
            name=f"permissions: {command}",
            ask=partial(simulate, access, command, needed),
        )
        for command, needed in NEEDED.items()
    )
    return (
        Question(name="permissions: reading", ask=lambda: read(access)),
        Question(name="permissions: dry runs", ask=lambda: dry_runs(access)),
        *simulated,
    )


def read(access: Access) -> Check:
    """Read a little of every service."""
    from botocore.exceptions import ClientError

    missing = []
    for permission, (service, operation, arguments) in READS.items():
        try:
            getattr(access.client(service), operation)(**arguments)
        except ClientError as error:
            if not denied(error):
                raise
            missing.append(permission)
    return Check(
        name="permissions: reading",
        # What cannot be read is not known; that it cannot be is what has to be put right.
        status="unknown" if missing else "ok",
        found=f"denied: {', '.join(missing)}" if missing else f"{len(READS)} services can be read",
        expected="every service can be read",
        remedy=f"give {', '.join(missing)}" if missing else "",
    )


def dry_runs(access: Access) -> Check:
    """Let EC2 say what it would have done."""
    from botocore.exceptions import ClientError

    refused, allowed = [], []
    for permission, call in _dry_runs(access):
        try:
            call()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "DryRunOperation":
                allowed.append(permission)
            elif denied(error):
                refused.append(permission)
            else:
                raise
    return Check(
        name="permissions: dry runs",
        status="fail" if refused else "ok",
        found=f"denied: {', '.join(refused)}" if refused else f"allowed: {', '.join(allowed)}",
        expected="allowed",
        remedy=f"bring the bootstrap up to date: ops bootstrap {access.environment}",
    )


def _dry_runs(access: Access) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give permission → a call that changes nothing; some need something that is there."""
    ec2 = access.client("ec2")
    cidr = access.settings.network.cidr
    yield "ec2:CreateVpc", partial(ec2.create_vpc, CidrBlock=str(cidr), DryRun=True)
    yield "ec2:AllocateAddress", partial(ec2.allocate_address, Domain="vpc", DryRun=True)
    ours = [{"Name": "tag:environment", "Values": [access.environment]}]
    templates = ec2.describe_launch_templates(Filters=ours)["LaunchTemplates"][:1]
    for item in templates:
        yield (
            "ec2:CreateLaunchTemplateVersion",
            partial(
                ec2.create_launch_template_version,
                LaunchTemplateId=item["LaunchTemplateId"],
                LaunchTemplateData={"EbsOptimized": True},  # EC2 takes none that says nothing
                SourceVersion="$Latest",
                DryRun=True,
            ),
        )
    live = [{"Name": "instance-state-name", "Values": ["running"]}]
    reservations = ec2.describe_instances(Filters=[*ours, *live])["Reservations"][:1]
    for reservation in reservations:
        id_ = reservation["Instances"][0]["InstanceId"]
        for permission, call in (
            ("ec2:StopInstances", ec2.stop_instances),
            ("ec2:StartInstances", ec2.start_instances),
        ):
            yield permission, partial(call, InstanceIds=[id_], DryRun=True)


def simulate(access: Access, command: str, needed: Sequence[Needed]) -> Check:
    """Ask IAM whether the deploy role's policies allow what a command needs."""
    name = f"permissions: {command}"
    if access.mode == "sandbox":
        return Check(name=name, status="skipped", found="a rehearsal tests no permission")
    denied_ = [item for need in needed for item in _denied(access, need)]
    missing = [item.action for item in denied_ if not item.by_organization]
    doubtful = [item.action for item in denied_ if item.by_organization]
    said = [f"denied: {', '.join(missing)}"] if missing else []
    if doubtful:
        said.append(
            "denied by the organization's SCP, which the simulator may judge wrongly: "
            f"{', '.join(doubtful)}"
        )
    return Check(
        name=name,
        status="fail" if missing else "warn" if doubtful else "ok",
        found="; ".join(said) or f"allowed: {sum(len(need.actions) for need in needed)} actions",
        expected=f"{naming.deploy_role(access.environment)} may do it",
        remedy=f"bring the bootstrap up to date: ops bootstrap {access.environment}"
        if missing
        else "have the SCPs of the account looked at: by their conditions they may allow it",
    )


def _denied(access: Access, need: Needed) -> list[Denied]:
    settings = access.settings
    role = naming.deploy_role_arn(settings.account_id, settings.environment)
    words = {
        "role": role,
        "account": settings.account_id,
        "region": settings.region,
        "env": settings.environment,
        "prefix": naming.prefix(settings.environment),
    }
    pages = access.client("iam").get_paginator("simulate_principal_policy")
    answers = pages.paginate(
        PolicySourceArn=role,
        ActionNames=list(need.actions),
        ResourceArns=[need.on.format_map(words)],
        ContextEntries=[
            {
                "ContextKeyName": key,
                "ContextKeyValues": [value.format_map(words)],
                "ContextKeyType": "string",
            }
            for key, value in {**_ALWAYS, **need.context}.items()
        ],
    )
    return [
        Denied(
            action=result["EvalActionName"],
            by_organization=not result.get("OrganizationsDecisionDetail", {}).get(
                "AllowedByOrganizations", True
            ),
        )
        for page in answers
        for result in page["EvaluationResults"]
        if result["EvalDecision"] != "allowed"
    ]

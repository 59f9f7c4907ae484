"""What people and machines with an IAM user may do, and the most they ever may. Pure.

Each group has one policy. People can do nothing without MFA but set up their password and their
MFA device; the boundary says so too, so it holds whatever groups they are in. Machines have no
MFA: their policies are as small as their work.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from components.deploy_policies import PUSH_IMAGES, RUN_NODES, DeployScope
from components.iam_policies import Conditions, Statement, policy_document

GroupPermissions = Literal["operations", "infrastructure", "reliability", "security"]
ServicePermissions = Literal["deployment", "monitoring", "backup", "logging"]

OWNER_TAG = "iam-user"
"""Tag of a secret that holds an access key: whose it is."""
OWNER = "${aws:username}"
"""The caller, where IAM reads a policy; empty of meaning for roles, which have no such name."""

WITHOUT_MFA = (
    "iam:ChangePassword",
    "iam:CreateVirtualMFADevice",
    "iam:DeleteVirtualMFADevice",
    "iam:EnableMFADevice",
    "iam:GetAccountPasswordPolicy",
    "iam:GetMFADevice",
    "iam:GetUser",
    "iam:ListMFADevices",
    "iam:ListVirtualMFADevices",
    "iam:ResyncMFADevice",
    "sts:GetCallerIdentity",
    "sts:GetSessionToken",
)
"""What a person has to do before there is MFA; IAM deletes no MFA device that is in use."""
NO_MFA: Conditions = {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}

INVENTORY = (
    "autoscaling:Describe*",
    "cloudwatch:Describe*",
    "cloudwatch:Get*",
    "cloudwatch:List*",
    "ec2:Describe*",
    "eks:DescribeClusterVersions",
    "eks:ListClusters",
    "elasticloadbalancing:Describe*",
    "kms:ListAliases",
    "logs:DescribeLogGroups",
    "logs:DescribeQueries",
    "logs:GetQueryResults",
    "logs:StopQuery",
    "rds:Describe*",
    "rds:ListTagsForResource",
    "ssm:DescribeParameters",
    "tag:GetResources",
)
"""Lists and metrics: nothing here shows data, and AWS scopes little of it to a resource."""
COSTS = ("budgets:ViewBudget", "ce:GetCost*", "ce:GetDimensionValues", "ce:GetTags")
AUDIT = (
    "access-analyzer:Get*",
    "access-analyzer:List*",
    "cloudtrail:Describe*",
    "cloudtrail:Get*",
    "cloudtrail:List*",
    "cloudtrail:LookupEvents",
    "config:Describe*",
    "config:Get*",
    "config:List*",
    "guardduty:Get*",
    "guardduty:List*",
    "iam:GenerateCredentialReport",
    "iam:GenerateServiceLastAccessedDetails",
    "iam:Get*",
    "iam:List*",
    "iam:Simulate*",
    "inspector2:Get*",
    "inspector2:List*",
    "kms:DescribeKey",
    "kms:GetKey*",
    "kms:List*",
    "s3:GetAccountPublicAccessBlock",
    "s3:GetBucket*",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:ListAllMyBuckets",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:ListSecrets",
    "securityhub:Describe*",
    "securityhub:Get*",
    "securityhub:List*",
    "wafv2:Get*",
    "wafv2:List*",
)
"""How the account is set up and what was done in it; no secret and no object is among it."""
READ_LOGS = (
    "logs:DescribeLogStreams",
    "logs:FilterLogEvents",
    "logs:GetLog*",
    "logs:StartLiveTail",
    "logs:StartQuery",
)
READ_CLUSTER = ("eks:AccessKubernetesApi", "eks:Describe*", "eks:List*")
READ_PARAMETERS = (
    "ssm:GetParameter",
    "ssm:GetParameterHistory",
    "ssm:GetParameters",
    "ssm:GetParametersByPath",
    "ssm:ListTagsForResource",
)
WRITE_PARAMETERS = (
    "ssm:LabelParameterVersion",
    "ssm:PutParameter",
    "ssm:UnlabelParameterVersion",
)
DATABASE_METRICS = ("pi:Describe*", "pi:Get*", "pi:List*")
SNAPSHOT_DATABASES = ("rds:AddTagsToResource", "rds:CreateDBSnapshot")
RUN_DATABASES = (
    "rds:DownloadDBLogFilePortion",
    "rds:RebootDBInstance",
    "rds:StartDBInstance",
    "rds:StopDBInstance",
)
SCALE_NODES = ("eks:UpdateNodegroupConfig",)
STORE_BACKUPS = ("s3:AbortMultipartUpload", "s3:ListBucket", "s3:PutObject")
"""Nothing is taken away: what is backed up outlives whoever backs it up."""
RUN_INSTANCES = ("ec2:RebootInstances", "ec2:StartInstances", "ec2:StopInstances")
RUN_ALARMS = (
    "cloudwatch:DisableAlarmActions",
    "cloudwatch:EnableAlarmActions",
    "cloudwatch:SetAlarmState",
)
OWN_LOGIN = (
    "iam:ChangePassword",
    "iam:CreateAccessKey",
    "iam:DeactivateMFADevice",
    "iam:DeleteAccessKey",
    "iam:EnableMFADevice",
    "iam:ResyncMFADevice",
    "iam:UpdateAccessKey",
)
SEE_OWN_LOGIN = (
    "iam:GetAccessKeyLastUsed",
    "iam:GetLoginProfile",
    "iam:GetMFADevice",
    "iam:GetUser",
    "iam:ListAccessKeys",
    "iam:ListGroupsForUser",
    "iam:ListMFADevices",
    "iam:ListUserTags",
)
OWN_DEVICE = ("iam:CreateVirtualMFADevice", "iam:DeleteVirtualMFADevice")
LOGIN_RULES = (
    "iam:GetAccountPasswordPolicy",
    "iam:GetAccountSummary",
    "iam:ListVirtualMFADevices",
)
OWN_SECRET = (
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:ListSecretVersionIds",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
)
REVOKE_KEYS = ("iam:DeleteAccessKey", "iam:UpdateAccessKey")
ASSUME = ("sts:AssumeRole", "sts:TagSession")


# -- policies of groups -------------------------------------------------------------------------


def self_service_policy(scope: DeployScope) -> str:
    """Return what every person may do: their own password, MFA device, access keys and secret.

    A virtual MFA device must be named as the user is: so nobody who only found a password or a
    key adds a second device beside the owner's.
    """
    return policy_document(
        [
            Statement(sid="LoginRules", actions=LOGIN_RULES, resources=["*"]),
            *_own_login(scope, [*OWN_LOGIN, *SEE_OWN_LOGIN]),
            *_own_secret(scope),
            *_needs_mfa(),
        ]
    )


def group_policy(
    scope: DeployScope,
    permissions: GroupPermissions,
    *,
    cluster_role_arns: Sequence[str],
    write_parameters: bool,
) -> str:
    """Return what the members of a group of people may do.

    `cluster_role_arns` are the roles that they reach the cluster by, if any. `write_parameters`
    says whether operations may change parameters; whoever manages infrastructure always may.
    """
    statements = {
        "operations": lambda: [
            *_daily_work(scope),
            *_read_parameters(scope, secure=True),
            *(_write_parameters(scope) if write_parameters else []),
        ],
        "infrastructure": lambda: [
            *_daily_work(scope),
            *_read_parameters(scope, secure=True),
            *_write_parameters(scope),
            _approve(scope),
            *_images(scope),
            _assume("Deploy", [scope.deploy_role_arn]),
        ],
        "reliability": lambda: [
            *_daily_work(scope),
            *_read_parameters(scope, secure=False),
            *_keep_running(scope),
        ],
        "security": lambda: _security(scope),
    }[permissions]()
    if cluster_role_arns:
        statements.append(_assume("Cluster", cluster_role_arns))
    return policy_document([*statements, *_needs_mfa()])


def service_policy(scope: DeployScope, permissions: ServicePermissions) -> str:
    """Return what machines of one kind may do; each also reads its own access key's secret."""
    kinds: dict[ServicePermissions, Callable[[DeployScope], list[Statement]]] = {
        "deployment": _deployment,
        "monitoring": _monitoring,
        "backup": _backup,
        "logging": _logging,
    }
    return policy_document([*kinds[permissions](scope), *_own_secret(scope)])


def _deployment(scope: DeployScope) -> list[Statement]:
    return [*_images(scope), _assume("Deploy", [scope.deploy_role_arn])]


def _monitoring(scope: DeployScope) -> list[Statement]:
    return [_inventory(scope), _read_logs(scope), _read_cluster(scope), _database_metrics(scope)]


def _backup(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="FindDatabases",
            actions=["rds:Describe*", "rds:ListTagsForResource"],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        _snapshots(scope),
        *_read_parameters(scope, secure=True),
        *_store_backups(scope),
    ]


def _logging(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="FindLogs",
            actions=[
                "logs:DescribeLogGroups",
                "logs:DescribeQueries",
                "logs:GetQueryResults",
                "logs:StopQuery",
            ],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        _read_logs(scope),
    ]


# -- the boundary -------------------------------------------------------------------------------


def people_boundary(scope: DeployScope) -> str:
    """Return the permissions boundary of people and machines: what they may do at the very most.

    It grants nothing by itself. Of IAM it leaves them their own login and the taking away of
    keys; of roles, those that are meant for people; of data, the environment's own. Regions are
    in a condition here: in every ARN they would not fit into a policy.
    """
    own_secret, _ = _own_secret(scope)
    _, of_cluster = scope.node_scaling_groups
    return policy_document(
        [
            Statement(
                sid="Look",
                actions=_widest([*INVENTORY, *COSTS, *AUDIT, "ecr:GetAuthorizationToken"]),
                resources=["*"],
            ),
            Statement(
                sid="OwnData",
                actions=[
                    *READ_CLUSTER,
                    *READ_LOGS,
                    *PUSH_IMAGES,
                    *READ_PARAMETERS,
                    *WRITE_PARAMETERS,
                    *DATABASE_METRICS,
                    *RUN_DATABASES,
                    *SNAPSHOT_DATABASES,
                    *STORE_BACKUPS,
                    *SCALE_NODES,
                ],
                resources=[
                    *_anywhere(scope, "ecr", f"repository/{scope.prefix}-*"),
                    *_anywhere(scope, "eks", f"cluster/{scope.prefix}", f"*/{scope.prefix}/*"),
                    *_anywhere(
                        scope,
                        "logs",
                        *map(_log_group, (*scope.log_groups, f"{scope.audit_log_group}*")),
                    ),
                    *_anywhere(scope, "pi", "metrics/rds/*"),
                    *_anywhere(scope, "rds", f"db:{scope.prefix}*", f"snapshot:{scope.prefix}*"),
                    *_anywhere(scope, "ssm", f"parameter/{scope.environment}/*"),
                    _backup_bucket(scope),
                ],
                conditions=scope.in_regions,
            ),
            Statement(
                sid="OwnKeys",
                actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={
                    **scope.tagged,
                    "StringLike": {"kms:ViaService": ["s3.*", "secretsmanager.*", "ssm.*"]},
                },
            ),
            Statement(
                sid="OwnInstancesAndAlarms",
                actions=[*RUN_INSTANCES, *RUN_ALARMS],
                resources=["*"],
                conditions=scope.tagged,
            ),
            Statement(sid="OwnNodes", actions=RUN_NODES, resources=["*"], conditions=of_cluster),
            *_own_login(scope, OWN_LOGIN),
            own_secret,
            _revoke_keys(scope),
            _assume(
                "MeantForPeople",
                [scope.deploy_role_arn, *scope.iam(f"role/{scope.prefix}-kubernetes-*")],
            ),
            *_needs_mfa(scope.iam(f"user{scope.people_path}*")),
        ]
    )


def owner_only(owner_arn: str) -> str:
    """Return the policy of a secret that nobody but its owner can read.

    It denies the others whatever their own policies say; it lets nobody in by itself.
    """
    return policy_document(
        [
            Statement(
                sid="OwnerOnly",
                effect="Deny",
                everyone=True,
                actions=["secretsmanager:GetSecretValue"],
                resources=["*"],
                conditions={"ArnNotEquals": {"aws:PrincipalArn": owner_arn}},
            )
        ]
    )


def _widest(actions: Sequence[str]) -> list[str]:
    """Leave out the actions that a wildcard among them covers."""
    return [
        action
        for action in actions
        if not any(fnmatchcase(action, other) for other in actions if other != action)
    ]


# -- statements ---------------------------------------------------------------------------------


def _needs_mfa(people: Sequence[str] = ()) -> list[Statement]:
    """Deny what needs MFA to whoever is without it; of `people` alone, where they are named."""
    who: Conditions = {"ArnLike": {"aws:PrincipalArn": people}} if people else {}
    return [
        Statement(
            sid="NothingWithoutMfa",
            effect="Deny",
            actions=WITHOUT_MFA,
            all_but=True,
            resources=["*"],
            conditions={**NO_MFA, **who},
        ),
        Statement(
            # It takes no name, so that a second one could be added beside the owner's.
            sid="NoSecurityKeyWithoutMfa",
            effect="Deny",
            actions=["iam:EnableMFADevice"],
            resources=["*"],
            conditions={**NO_MFA, **who, "Null": {"iam:RegisterSecurityKey": "false"}},
        ),
    ]


def _own_login(scope: DeployScope, actions: Sequence[str]) -> list[Statement]:
    return [
        Statement(
            sid="OwnLogin",
            actions=actions,
            resources=scope.iam(f"user{scope.people_path}{OWNER}"),
        ),
        Statement(sid="OwnDevice", actions=OWN_DEVICE, resources=scope.iam(f"mfa/{OWNER}")),
    ]


def _own_secret(scope: DeployScope) -> list[Statement]:
    home = scope.regions[0]
    secrets = f"arn:aws:secretsmanager:{home}:{scope.account_id}:secret:{scope.prefix}-access-keys-"
    return [
        Statement(
            sid="OwnSecret",
            actions=OWN_SECRET,
            resources=[f"{secrets}*"],
            conditions={"StringEquals": {f"aws:ResourceTag/{OWNER_TAG}": OWNER}},
        ),
        Statement(
            sid="OwnSecretsKey",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[f"arn:aws:kms:{home}:{scope.account_id}:key/*"],
            conditions={
                **_through(scope, "secretsmanager"),
                "StringLike": {"kms:EncryptionContext:SecretARN": f"{secrets}*"},
            },
        ),
    ]


def _daily_work(scope: DeployScope) -> list[Statement]:
    return [
        _inventory(scope),
        Statement(sid="Costs", actions=COSTS, resources=["*"]),
        _read_logs(scope),
        _read_cluster(scope),
    ]


def _inventory(scope: DeployScope) -> Statement:
    return Statement(
        sid="Inventory", actions=INVENTORY, resources=["*"], conditions=scope.in_regions
    )


def _read_logs(scope: DeployScope, *more: str) -> Statement:
    return Statement(sid="Logs", actions=READ_LOGS, resources=_log_groups(scope, *more))


def _read_cluster(scope: DeployScope) -> Statement:
    return Statement(sid="ReadCluster", actions=READ_CLUSTER, resources=_cluster(scope))


def _read_parameters(scope: DeployScope, *, secure: bool) -> list[Statement]:
    read = Statement(
        sid="ReadParameters",
        actions=READ_PARAMETERS,
        resources=scope.regional("ssm", f"parameter/{scope.environment}/*"),
    )
    decrypt = Statement(
        sid="DecryptParameters",
        actions=["kms:Decrypt"],
        resources=scope.regional("kms", "key/*"),
        conditions=_through(scope, "ssm"),
    )
    return [read, decrypt] if secure else [read]


def _write_parameters(scope: DeployScope) -> list[Statement]:
    """Let the application's own be written, not what operators' commands record beside them."""
    path = f"parameter/{scope.environment}/{scope.project}/*"
    return [
        Statement(
            sid="WriteParameters", actions=WRITE_PARAMETERS, resources=scope.regional("ssm", path)
        ),
        Statement(
            sid="EncryptParameters",
            actions=["kms:Encrypt", "kms:GenerateDataKey"],
            resources=scope.regional("kms", "key/*"),
            conditions=_through(scope, "ssm"),
        ),
    ]


def _approve(scope: DeployScope) -> Statement:
    """Let plans be signed off that somebody else is to run."""
    return Statement(
        sid="Approve",
        actions=["ssm:PutParameter"],
        resources=scope.regional("ssm", f"parameter{scope.approvals_path}/*"),
    )


def _images(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="RegistryLogin",
            actions=["ecr:GetAuthorizationToken"],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        Statement(sid="Images", actions=PUSH_IMAGES, resources=_repositories(scope)),
    ]


def _keep_running(scope: DeployScope) -> list[Statement]:
    """Start, stop and scale what there is, and save it first; make and delete nothing."""
    return [
        Statement(
            sid="RunDatabases",
            actions=RUN_DATABASES,
            resources=scope.regional("rds", f"db:{scope.prefix}*"),
        ),
        _snapshots(scope),
        _database_metrics(scope),
        Statement(
            sid="ScaleNodes",
            actions=SCALE_NODES,
            resources=scope.regional("eks", f"nodegroup/{scope.prefix}/*"),
        ),
        _run_nodes(scope),
        Statement(
            sid="RunInstances",
            actions=RUN_INSTANCES,
            resources=scope.regional("ec2", "instance/*"),
            conditions=scope.tagged,
        ),
        Statement(
            sid="Alarms",
            actions=RUN_ALARMS,
            resources=scope.regional("cloudwatch", "alarm:*"),
            conditions=scope.tagged,
        ),
    ]


def _security(scope: DeployScope) -> list[Statement]:
    return [
        _inventory(scope),
        Statement(sid="Audit", actions=AUDIT, resources=["*"]),
        _read_logs(scope, f"{scope.audit_log_group}*"),
        _read_cluster(scope),
        _revoke_keys(scope),
    ]


def _revoke_keys(scope: DeployScope) -> Statement:
    users = (f"user{scope.people_path}*", f"user{scope.services_path}*")
    return Statement(sid="RevokeKeys", actions=REVOKE_KEYS, resources=scope.iam(*users))


def _snapshots(scope: DeployScope) -> Statement:
    return Statement(sid="Snapshots", actions=SNAPSHOT_DATABASES, resources=_databases(scope))


def _database_metrics(scope: DeployScope) -> Statement:
    return Statement(
        sid="DatabaseMetrics",
        actions=DATABASE_METRICS,
        resources=scope.regional("pi", "metrics/rds/*"),
    )


def _run_nodes(scope: DeployScope) -> Statement:
    resources, conditions = scope.node_scaling_groups
    return Statement(sid="RunNodes", actions=RUN_NODES, resources=resources, conditions=conditions)


def _store_backups(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="StoreBackups",
            actions=STORE_BACKUPS,
            resources=[_backup_bucket(scope)],
        ),
        Statement(
            sid="EncryptBackups",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=scope.regional("kms", "key/*"),
            conditions=_through(scope, "s3"),
        ),
    ]


def _assume(sid: str, role_arns: Sequence[str]) -> Statement:
    return Statement(sid=sid, actions=ASSUME, resources=role_arns)


def _through(scope: DeployScope, *services: str) -> Conditions:
    """Use of the environment's keys by way of AWS services, never of a key itself."""
    via = [f"{service}.{region}.amazonaws.com" for service in services for region in scope.regions]
    return {
        "StringEquals": {
            "aws:ResourceTag/environment": scope.environment,
            "kms:ViaService": via,
        }
    }


def _log_groups(scope: DeployScope, *more: str) -> list[str]:
    return scope.regional("logs", *map(_log_group, (*scope.log_groups, *more)))


def _log_group(name: str) -> str:
    return f"log-group:{name}"


def _anywhere(scope: DeployScope, service: str, *resources: str) -> list[str]:
    return [f"arn:aws:{service}:*:{scope.account_id}:{resource}" for resource in resources]


def _cluster(scope: DeployScope) -> list[str]:
    return scope.regional("eks", f"cluster/{scope.prefix}", f"*/{scope.prefix}/*")


def _databases(scope: DeployScope) -> list[str]:
    return scope.regional("rds", f"db:{scope.prefix}*", f"snapshot:{scope.prefix}*")


def _repositories(scope: DeployScope) -> list[str]:
    return scope.regional("ecr", f"repository/{scope.prefix}-*")


def _backup_bucket(scope: DeployScope) -> str:
    """Return the pattern of the bucket, and of what is in it: `*` is for slashes, too."""
    return f"arn:aws:s3:::{scope.prefix}-backups-*"

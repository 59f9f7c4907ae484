"""What a deployment may do, and the most that its roles may ever do. Pure.

The deploy role manages one environment and nothing else: by name where AWS can scope by name, by
tag or region where it cannot. It can make no role and no user without a boundary, write no managed
policy, and change neither itself nor a boundary. IAM can hold nobody out of a group, so a group
gets no policy but those that were made with the foundation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.iam_policies import Conditions, Statement, account_root, policy_document

MANAGED_POLICY_LIMIT = 6_144
"""Characters that AWS allows to a managed policy."""
ROLE_ATTACHMENTS_LIMIT = 10
"""Managed policies that AWS attaches to a role, unless a quota is raised."""

DEPLOY_AREAS = (
    "network", "compute", "data", "keys", "identity", "people", "observability", "state",
)  # fmt: skip
"""What the deploy role's policies are about, one managed policy each."""
LINKED_SERVICES = (
    "autoscaling.amazonaws.com",
    "eks-nodegroup.amazonaws.com",
    "eks.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "rds.amazonaws.com",
    "spot.amazonaws.com",
)
"""AWS services whose own roles a deployment may bring about."""
PASSED_TO = (
    "ec2.amazonaws.com",
    "eks.amazonaws.com",
    "events.amazonaws.com",
    "monitoring.rds.amazonaws.com",
    "pods.eks.amazonaws.com",
    "states.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)
"""AWS services that a role of the environment may be handed to."""
ENVIRONMENT_TAG = "aws:ResourceTag/environment"
PUSH_IMAGES = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
"""Pull, look and push; images go by the repositories' own rules."""
RUN_NODES = (
    "autoscaling:ResumeProcesses",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:SuspendProcesses",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
)
"""Hold, scale and let go of nodes that EKS scales."""


@dataclass(frozen=True, kw_only=True)
class DeployScope:
    """The environment that a deploy role is for."""

    environment: str
    project: str
    account_id: str
    regions: tuple[str, str]
    """Home region, and the region for copies."""
    deploy_role_name: str
    boundary_name: str
    """Policy that caps every role of the environment."""
    people_boundary_name: str
    """Policy that caps every IAM user of the environment."""
    group_policy_prefix: str
    """What the names of the policies begin with that groups may have."""
    people_path: str
    services_path: str
    """IAM paths of people and of machines, with slashes at both ends."""
    audit_log_group: str
    """Log group of the account's audit trail."""
    approvals_path: str
    """Path of the parameters by which people approve what others run."""
    foundation_key_aliases: Sequence[str]
    """Keys that a deployment uses and must never disable, delete or re-key."""

    @property
    def prefix(self) -> str:
        """What the environment's own names begin with."""
        return f"{self.project}-{self.environment}"

    @property
    def deploy_role_arn(self) -> str:
        """ARN of the deploy role."""
        return f"arn:aws:iam::{self.account_id}:role/{self.deploy_role_name}"

    @property
    def boundary_arn(self) -> str:
        """ARN of the roles' permissions boundary."""
        return f"arn:aws:iam::{self.account_id}:policy/{self.boundary_name}"

    @property
    def people_boundary_arn(self) -> str:
        """ARN of the users' permissions boundary."""
        return f"arn:aws:iam::{self.account_id}:policy/{self.people_boundary_name}"

    @property
    def log_groups(self) -> tuple[str, ...]:
        """Patterns of the names of the environment's log groups."""
        return (
            f"/aws/containerinsights/{self.prefix}/*",
            f"/aws/eks/{self.prefix}/*",
            f"/aws/rds/instance/{self.prefix}*",
            f"/aws/ssm/parameter-store/{self.environment}/*",
            f"/aws/vpc/{self.prefix}*",
        )

    def deploy_policy_name(self, area: str) -> str:
        """Return the name of the deploy role's policy for one of `DEPLOY_AREAS`."""
        return f"{self.deploy_role_name}-{area}"

    def iam(self, *resources: str) -> list[str]:
        """Return ARNs of IAM resources of the account."""
        return [f"arn:aws:iam::{self.account_id}:{resource}" for resource in resources]

    def regional(self, service: str, *resources: str) -> list[str]:
        """Return ARNs of a service's resources in every region of the environment."""
        return [
            f"arn:aws:{service}:{region}:{self.account_id}:{resource}"
            for region in self.regions
            for resource in resources
        ]

    @property
    def in_regions(self) -> Conditions:
        """Condition for calls that AWS cannot scope to a resource."""
        return {"StringEquals": {"aws:RequestedRegion": self.regions}}

    @property
    def tagged(self) -> Conditions:
        """Condition for what is known as the environment's by its tag alone."""
        return {"StringEquals": {ENVIRONMENT_TAG: self.environment}}

    @property
    def tagged_as_others(self) -> Conditions:
        """Condition for what carries the tag of another environment."""
        return {
            "Null": {ENVIRONMENT_TAG: "false"},
            "StringNotEquals": {ENVIRONMENT_TAG: self.environment},
        }

    @property
    def node_scaling_groups(self) -> tuple[list[str], Conditions]:
        """Resources and condition for the Auto Scaling groups that EKS makes for the nodes."""
        return (
            self.regional("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*"),
            {"StringEquals": {"aws:ResourceTag/eks:cluster-name": self.prefix}},
        )


def deploy_trust(scope: DeployScope, principals: Sequence[str]) -> str:
    """Return who may assume the deploy role: the deployers, and whoever already is it.

    The state backend is reached with the caller's own credentials and the cloud through a
    provider that assumes the role: a run that starts as the role has to assume it again.
    """
    return policy_document(
        [
            Statement(
                sid="Deployers",
                actions=["sts:AssumeRole", "sts:TagSession"],
                principals={"AWS": principals},
            ),
            Statement(
                # As a condition: IAM refuses a principal that is not there yet.
                sid="Itself",
                actions=["sts:AssumeRole", "sts:TagSession"],
                principals={"AWS": [account_root(scope.account_id)]},
                conditions={"ArnEquals": {"aws:PrincipalArn": scope.deploy_role_arn}},
            ),
        ]
    )


def deploy_policies(
    scope: DeployScope, *, state_bucket_arn: str, backup_bucket_arn: str, lock_table_arn: str
) -> dict[str, str]:
    """Return the deploy role's policies: every one of `DEPLOY_AREAS` -> JSON text."""
    statements = {
        "network": _network(scope),
        "compute": _compute(scope),
        "data": _data(scope),
        "keys": _keys(scope),
        "identity": _identity(scope),
        "people": _people(scope),
        "observability": _observability(scope),
        "state": _state(state_bucket_arn, backup_bucket_arn, lock_table_arn),
    }
    return {area: policy_document(statements[area]) for area in DEPLOY_AREAS}


def _network(scope: DeployScope) -> list[Statement]:
    kinds = (
        "Address", "FlowLogs", "InternetGateway", "LaunchTemplate", "NatGateway", "NetworkAcl",
        "NetworkInterface", "Route", "SecurityGroup", "Subnet", "Tags", "Vpc",
    )  # fmt: skip
    return [
        Statement(
            sid="Network",
            # RunInstances: EKS tries a launch template with the caller's permissions.
            actions=["ec2:Describe*", "ec2:RunInstances", *(f"ec2:*{kind}*" for kind in kinds)],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        Statement(
            # Neither by name nor by region are two environments of one account told apart here.
            sid="LeaveOthers",
            effect="Deny",
            actions=["autoscaling:*", "cloudwatch:*", "ec2:*", "elasticloadbalancing:*"],
            resources=["*"],
            conditions=scope.tagged_as_others,
        ),
    ]


def _compute(scope: DeployScope) -> list[Statement]:
    node_groups, of_cluster = scope.node_scaling_groups
    return [
        Statement(
            sid="Cluster",
            actions=["eks:*"],
            resources=scope.regional(
                "eks",
                f"cluster/{scope.prefix}",
                f"cluster/{scope.prefix}-*",
                f"*/{scope.prefix}/*",
                f"*/{scope.prefix}-*/*",
            ),
        ),
        Statement(
            sid="Nodes",
            actions=[
                *RUN_NODES,
                "autoscaling:CreateOrUpdateTags",
                "autoscaling:DeleteTags",
                "autoscaling:UpdateAutoScalingGroup",
            ],
            resources=node_groups,
            conditions=of_cluster,
        ),
        Statement(
            # Also what a volume claim of the cluster leaves behind.
            sid="Instances",
            actions=[
                "ec2:DeleteSnapshot",
                "ec2:DeleteVolume",
                "ec2:RebootInstances",
                "ec2:StartInstances",
                "ec2:StopInstances",
                "ec2:TerminateInstances",
            ],
            resources=scope.regional("ec2", "instance/*", "volume/*")
            + [f"arn:aws:ec2:{region}::snapshot/*" for region in scope.regions],
            conditions=scope.tagged,
        ),
        Statement(
            sid="Images",
            actions=PUSH_IMAGES,
            resources=scope.regional("ecr", f"repository/{scope.prefix}-*"),
        ),
        Statement(
            sid="LoadBalancersAndDns",
            actions=[
                "acm:DescribeCertificate",
                "acm:ListCertificates",
                "autoscaling:AttachLoadBalancerTargetGroups",
                "autoscaling:AttachTrafficSources",
                "autoscaling:Describe*",
                "autoscaling:DetachLoadBalancerTargetGroups",
                "autoscaling:DetachTrafficSources",
                "ecr:GetAuthorizationToken",
                "eks:Describe*Versions",
                "eks:DescribeAddonConfiguration",
                "eks:ListAccessPolicies",
                "eks:ListClusters",
                "elasticloadbalancing:*",
                "wafv2:*WebACL*",
            ],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        Statement(
            # Route 53 is global: its requests carry no region of ours.
            sid="PrivateZone",
            actions=[
                "route53:AssociateVPCWithHostedZone",
                "route53:ChangeResourceRecordSets",
                "route53:ChangeTagsForResource",
                "route53:CreateHostedZone",
                "route53:DeleteHostedZone",
                "route53:DisassociateVPCFromHostedZone",
                "route53:Get*",
                "route53:List*",
                "route53:UpdateHostedZoneComment",
            ],
            resources=["*"],
        ),
    ]


def _data(scope: DeployScope) -> list[Statement]:
    env, prefix = scope.environment, scope.prefix
    return [
        Statement(
            sid="Databases",
            actions=["rds:*"],
            # Automatic snapshots are `snapshot:rds:…`. An instance that names no group of its
            # own is made and changed with AWS's default ones.
            resources=scope.regional("rds", f"*:{prefix}*", "og:default*", "pg:default*"),
        ),
        Statement(sid="FindDatabases", actions=["rds:Describe*"], resources=["*"]),
        Statement(
            sid="Parameters",
            actions=["ssm:*Parameter*", "ssm:*TagsFor*", "ssm:*TagsTo*", "ssm:*TagsFrom*"],
            resources=scope.regional("ssm", f"parameter/{env}/*"),
        ),
        Statement(
            # Whoever runs something as the role does not approve it, too.
            sid="NeverApproves",
            effect="Deny",
            actions=["ssm:PutParameter"],
            resources=scope.regional("ssm", f"parameter{scope.approvals_path}/*"),
        ),
        Statement(sid="FindParameters", actions=["ssm:DescribeParameters"], resources=["*"]),
        Statement(
            sid="Secrets",
            actions=["secretsmanager:*"],
            resources=scope.regional("secretsmanager", f"secret:{prefix}-*"),
        ),
        Statement(
            # Whoever issues a key has it once; after that it is its owner's.
            sid="NeverReadAccessKeys",
            effect="Deny",
            actions=["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"],
            resources=scope.regional("secretsmanager", f"secret:{prefix}-access-keys-*"),
        ),
        Statement(
            # RDS makes a database's password with the permissions of who asks for it.
            sid="CreateManagedPasswords",
            actions=["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
            resources=scope.regional("secretsmanager", "secret:rds!*"),
        ),
        Statement(
            # The tag is RDS's own: nobody else can set one that begins with `aws:`.
            sid="ManagedPasswords",
            actions=[
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:RotateSecret",
            ],
            resources=scope.regional("secretsmanager", "secret:rds!*"),
            conditions={
                "StringLike": {
                    "aws:ResourceTag/aws:rds:primaryDBInstanceArn": scope.regional(
                        "rds", f"db:{prefix}*"
                    )
                }
            },
        ),
    ]


def _keys(scope: DeployScope) -> list[Statement]:
    """Return what may be done with the keys that are tagged as the environment's.

    A key is made and tagged in one call, which AWS cannot scope to a key. So a key of the account
    that carries no `environment` tag, and whose policy leaves it to IAM, could be tagged as the
    environment's and then used: every key has to carry the tag.
    """
    env = scope.environment
    return [
        Statement(
            sid="CreateKeys",
            actions=["kms:CreateKey", "kms:TagResource"],
            resources=["*"],
            conditions={"StringEquals": {"aws:RequestTag/environment": env}},
        ),
        Statement(
            sid="LeaveOthersKeys",
            effect="Deny",
            actions=["kms:TagResource", "kms:UntagResource"],
            resources=["*"],
            conditions=scope.tagged_as_others,
        ),
        Statement(
            sid="OwnKeys",
            actions=["kms:*"],
            resources=scope.regional("kms", "key/*"),
            conditions=scope.tagged,
        ),
        Statement(
            # AWS may take minutes to know a new key by its tag; until then it is nobody's.
            sid="FinishNewKeys",
            actions=[
                "kms:CreateAlias",
                "kms:DescribeKey",
                "kms:EnableKeyRotation",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListResourceTags",
            ],
            resources=scope.regional("kms", "key/*"),
            conditions={"Null": {ENVIRONMENT_TAG: "true"}},
        ),
        Statement(
            sid="KeyAliases",
            actions=["kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"],
            resources=scope.regional("kms", f"alias/{scope.project}-*{env}*"),
        ),
        Statement(
            sid="KeepFoundationKeys",
            effect="Deny",
            actions=["kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"],
            resources=["*"],
            conditions={
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": scope.foundation_key_aliases}
            },
        ),
        Statement(
            # It is by their aliases that they are kept.
            sid="KeepFoundationAliases",
            effect="Deny",
            actions=["kms:DeleteAlias", "kms:UpdateAlias"],
            resources=[
                f"arn:aws:kms:*:{scope.account_id}:{alias}"
                for alias in scope.foundation_key_aliases
            ],
        ),
        Statement(sid="FindKeys", actions=["kms:ListAliases", "kms:ListKeys"], resources=["*"]),
    ]


def _identity(scope: DeployScope) -> list[Statement]:
    roles = scope.iam(f"role/{scope.prefix}-*", f"role/{scope.project}-*-{scope.environment}")
    bounded = {"StringEquals": {"iam:PermissionsBoundary": scope.boundary_arn}}
    return [
        Statement(
            sid="See",
            actions=[
                "iam:GenerateCredentialReport",
                "iam:Get*",
                "iam:List*",
                "iam:SimulatePrincipalPolicy",
                "s3:ListAllMyBuckets",
                "servicequotas:Get*",
                "tag:GetResources",
            ],
            resources=["*"],
        ),
        Statement(
            # Nothing gets permissions that the boundary does not cap.
            sid="BoundedRoles",
            actions=[
                "iam:AttachRolePolicy",
                "iam:CreateRole",
                "iam:DeleteRolePolicy",
                "iam:DetachRolePolicy",
                "iam:PutRolePermissionsBoundary",
                "iam:PutRolePolicy",
            ],
            resources=roles,
            conditions=bounded,
        ),
        Statement(
            sid="Roles",
            actions=[
                "iam:DeleteRole",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
                "iam:UpdateRoleDescription",
            ],
            resources=roles,
        ),
        Statement(
            sid="PassRoles",
            actions=["iam:PassRole"],
            resources=roles,
            conditions={"StringEquals": {"iam:PassedToService": PASSED_TO}},
        ),
        Statement(
            # Itself, where a run starts as the role; the others to test parameter access.
            sid="AssumeRoles",
            actions=["sts:AssumeRole"],
            resources=[
                scope.deploy_role_arn,
                *scope.iam(f"role/{scope.project}-*-{scope.environment}"),
            ],
        ),
        Statement(
            sid="InstanceProfilesAndProviders",
            actions=["iam:*InstanceProfile*", "iam:*OpenIDConnectProvider*"],
            resources=scope.iam(
                f"instance-profile/{scope.prefix}-*",
                f"instance-profile/{scope.project}-*-{scope.environment}",
                "oidc-provider/oidc.eks.*",
            ),
        ),
        Statement(
            sid="ServiceLinkedRoles",
            actions=["iam:CreateServiceLinkedRole"],
            resources=scope.iam("role/aws-service-role/*"),
            conditions={"StringEquals": {"iam:AWSServiceName": LINKED_SERVICES}},
        ),
        Statement(
            # Nor a policy of the foundation, its own and the boundaries among them, nor the
            # roles that copy state and backups.
            sid="NeverItself",
            effect="Deny",
            actions=[
                "iam:Attach*", "iam:Create*", "iam:Delete*", "iam:Detach*", "iam:PassRole",
                "iam:Put*", "iam:Set*", "iam:Tag*", "iam:Untag*", "iam:Update*",
            ],
            resources=[
                scope.deploy_role_arn,
                *scope.iam(f"policy/{scope.prefix}-*", f"role/{scope.prefix}-*-replica-*"),
            ],
        ),
        Statement(
            sid="NeverUnbounded",
            effect="Deny",
            actions=["iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"],
            resources=["*"],
        ),
    ]  # fmt: skip


def _people(scope: DeployScope) -> list[Statement]:
    """Return what may be done with users and groups; no policy of theirs is written here."""
    users = scope.iam(f"user{scope.people_path}*", f"user{scope.services_path}*")
    groups = scope.iam(f"group/{scope.prefix}-*")
    return [
        Statement(
            sid="BoundedUsers",
            actions=["iam:CreateUser", "iam:PutUserPermissionsBoundary"],
            resources=users,
            conditions={"StringEquals": {"iam:PermissionsBoundary": scope.people_boundary_arn}},
        ),
        Statement(
            sid="Users",
            actions=[
                "iam:*AccessKey",
                "iam:*LoginProfile",
                "iam:DeactivateMFADevice",
                "iam:DeleteSSHPublicKey",
                "iam:DeleteServiceSpecificCredential",
                "iam:DeleteSigningCertificate",
                "iam:DeleteUser",
                "iam:DeleteUserPolicy",
                "iam:DetachUserPolicy",
                "iam:TagUser",
                "iam:UntagUser",
                "iam:UpdateUser",
            ],
            resources=users,
        ),
        Statement(
            # A person's device is named as they are.
            sid="Devices",
            actions=["iam:DeleteVirtualMFADevice"],
            resources=scope.iam(f"mfa/{scope.prefix}-*"),
        ),
        Statement(
            sid="Groups",
            actions=[
                "iam:AddUserToGroup",
                "iam:CreateGroup",
                "iam:DeleteGroup",
                "iam:DeleteGroupPolicy",
                "iam:RemoveUserFromGroup",
            ],
            resources=groups,
        ),
        Statement(
            # Anybody of the account can be put into a group: IAM looks at the group alone.
            sid="GroupsGetKnownPolicies",
            actions=["iam:AttachGroupPolicy"],
            resources=groups,
            conditions={
                "ArnLike": {"iam:PolicyARN": scope.iam(f"policy/{scope.group_policy_prefix}*")}
            },
        ),
        Statement(sid="GroupsLosePolicies", actions=["iam:DetachGroupPolicy"], resources=groups),
    ]


def _observability(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="LogGroups",
            actions=["logs:*"],
            resources=scope.regional("logs", *(f"log-group:{name}" for name in scope.log_groups)),
        ),
        Statement(
            sid="LogDeliveryAndSubscriptions",
            actions=[
                "logs:*LogDelivery",
                "logs:*ResourcePolicy",
                "logs:Describe*",
                "logs:ListLogDeliveries",
                "sns:GetSubscriptionAttributes",
                "sns:Unsubscribe",
            ],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        Statement(
            sid="EventsAndAlarms",
            actions=["cloudwatch:*Alarm*", "cloudwatch:*Resource", "events:*"],
            resources=[
                *scope.regional("cloudwatch", "alarm:*"),
                *scope.regional("events", "rule/*"),
            ],
        ),
        Statement(
            sid="StateMachines",
            actions=["states:*"],
            resources=scope.regional(
                "states", f"stateMachine:{scope.prefix}-*", f"execution:{scope.prefix}-*:*"
            ),
        ),
        Statement(
            sid="CheckStateMachines",
            actions=["states:ValidateStateMachineDefinition"],
            resources=["*"],
            conditions=scope.in_regions,
        ),
        Statement(
            sid="Dashboards",
            actions=["cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"],
            resources=[f"arn:aws:cloudwatch::{scope.account_id}:dashboard/{scope.prefix}*"],
        ),
        Statement(
            sid="FindMetrics",
            actions=["cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*"],
            resources=["*"],
        ),
        Statement(
            sid="Topics",
            actions=["sns:*"],
            resources=scope.regional("sns", f"{scope.prefix}-*"),
        ),
    ]


def _state(state_bucket_arn: str, backup_bucket_arn: str, lock_table_arn: str) -> list[Statement]:
    buckets = [state_bucket_arn, backup_bucket_arn]
    return [
        Statement(
            # Whether anything is left behind: these name no resource.
            sid="ListEverything",
            actions=[
                "dynamodb:ListTables",
                "ecr:DescribeRepositories",
                "events:ListRules",
                "secretsmanager:ListSecrets",
                "sns:ListTopics",
                "states:ListStateMachines",
            ],
            resources=["*"],
        ),
        Statement(
            sid="FindObjects",
            actions=["s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:ListBucket*"],
            resources=buckets,
        ),
        Statement(
            sid="Objects",
            actions=["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject*", "s3:PutObject"],
            resources=[f"{arn}/*" for arn in buckets],
        ),
        Statement(
            sid="Lock",
            actions=[
                "dynamodb:DeleteItem",
                "dynamodb:DescribeTable",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
            ],
            resources=[lock_table_arn],
        ),
    ]


def workload_boundary(scope: DeployScope) -> str:
    """Return the permissions boundary: what roles of the environment may do at the very most.

    It grants nothing by itself. IAM is left out, so that no workload can make or widen a role,
    and data is limited to the environment's own.
    """
    env, prefix = scope.environment, scope.prefix
    return policy_document(
        [
            Statement(
                sid="OwnData",
                actions=[
                    "dynamodb:*", "logs:*", "rds-db:connect", "rds:*", "s3:*",
                    "secretsmanager:*", "sns:*", "sqs:*", "ssm:*Parameter*",
                    "states:StartExecution",
                ],
                resources=[
                    *scope.regional("dynamodb", f"table/{prefix}-*"),
                    # RDS's enhanced monitoring writes to `RDSOSMetrics`, in every account.
                    *scope.regional("logs", "log-group:/aws/*", "log-group:RDS*"),
                    *scope.regional("rds", f"*:{prefix}*"),
                    *scope.regional("rds-db", "dbuser:*"),
                    *scope.regional("secretsmanager", f"secret:{prefix}-*"),
                    *scope.regional("sns", f"{prefix}-*"),
                    *scope.regional("sqs", f"{prefix}-*"),
                    *scope.regional("ssm", f"parameter/{env}/*"),
                    *scope.regional("states", f"stateMachine:{prefix}-*"),
                    f"arn:aws:s3:::{prefix}-*",
                ],
            ),
            Statement(
                sid="OwnKeys",
                actions=[
                    "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt",
                    "kms:GenerateDataKey*", "kms:ListGrants", "kms:ReEncrypt*", "kms:RevokeGrant",
                ],
                resources=scope.regional("kms", "key/*"),
                conditions=scope.tagged,
            ),
            Statement(
                sid="ClusterAndNodes",
                actions=[
                    "autoscaling:*", "cloudwatch:*", "ec2:*", "ec2messages:*", "ecr:Batch*",
                    "ecr:Describe*", "ecr:Get*", "eks-auth:*", "eks:Describe*",
                    "elasticloadbalancing:*", "logs:DescribeLogGroups", "ssm:UpdateInstance*",
                    "ssmmessages:*", "tag:GetResources",
                ],
                resources=["*"],
                conditions=scope.in_regions,
            ),
            Statement(
                sid="LinkedRoles",
                actions=["iam:CreateServiceLinkedRole"],
                resources=scope.iam("role/aws-service-role/*"),
                conditions={"StringEquals": {"iam:AWSServiceName": LINKED_SERVICES}},
            ),
        ]
    )  # fmt: skip

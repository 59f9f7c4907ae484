"""What a deployment may do, and the most that anything it makes may ever do. Pure.

The deploy role manages one environment and nothing else: by name where AWS can scope by name, by
region where it cannot. It cannot make a role that lacks the boundary, widen the boundary, or
change itself, so it cannot grant anybody more than the boundary allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.iam_policies import Conditions, Statement, account_root, policy_document

ROLE_POLICIES_LIMIT = 10_240
"""Characters that AWS allows to all inline policies of a role together."""
MANAGED_POLICY_LIMIT = 6_144
"""Characters that AWS allows to a managed policy."""

DEPLOY_AREAS = ("network", "compute", "data", "identity", "observability", "state")
"""Names of the deploy role's inline policies."""
LINKED_SERVICES = (
    "autoscaling.amazonaws.com",
    "eks-nodegroup.amazonaws.com",
    "eks.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "rds.amazonaws.com",
)
"""AWS services whose own roles a deployment may bring about."""
PASSED_TO = (
    "ec2.amazonaws.com",
    "eks.amazonaws.com",
    "monitoring.rds.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)
"""AWS services that a role of the environment may be handed to."""


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
        """ARN of the permissions boundary."""
        return f"arn:aws:iam::{self.account_id}:policy/{self.boundary_name}"

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
    """Return the deploy role's inline policies: every one of `DEPLOY_AREAS` -> JSON text."""
    statements = {
        "network": _network(scope),
        "compute": _compute(scope),
        "data": _data(scope),
        "identity": _identity(scope),
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
        )
    ]


def _compute(scope: DeployScope) -> list[Statement]:
    return [
        Statement(
            sid="Cluster",
            actions=["eks:*"],
            resources=scope.regional(
                "eks",
                f"cluster/{scope.prefix}",
                f"*/{scope.prefix}/*",
            ),
        ),
        Statement(
            sid="LoadBalancersAndDns",
            actions=[
                "acm:DescribeCertificate",
                "acm:ListCertificates",
                "autoscaling:AttachLoadBalancerTargetGroups",
                "autoscaling:Describe*",
                "autoscaling:DetachLoadBalancerTargetGroups",
                "eks:Describe*Versions",
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
                "route53:Get*",
                "route53:List*",
            ],
            resources=["*"],
        ),
    ]


def _data(scope: DeployScope) -> list[Statement]:
    """Databases, parameters, secrets and the keys that are tagged as the environment's.

    A key is made and tagged in one call, which AWS cannot scope to a key. So a key of the account
    that carries no `environment` tag, and whose policy leaves it to IAM, could be tagged as the
    environment's and then used: every key has to carry the tag.
    """
    env, prefix = scope.environment, scope.prefix
    key_tag = "aws:ResourceTag/environment"
    tagged = {"StringEquals": {key_tag: env}}
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
        Statement(sid="FindParameters", actions=["ssm:DescribeParameters"], resources=["*"]),
        Statement(
            sid="Secrets",
            actions=["secretsmanager:*"],
            resources=scope.regional("secretsmanager", f"secret:{prefix}-*", "secret:rds!*"),
        ),
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
            conditions={"Null": {key_tag: "false"}, "StringNotEquals": {key_tag: env}},
        ),
        Statement(
            sid="OwnKeys",
            actions=["kms:*"],
            resources=scope.regional("kms", "key/*"),
            conditions=tagged,
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
        Statement(sid="See", actions=["iam:Get*", "iam:List*"], resources=["*"]),
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
            sid="BoundedUsers",
            actions=["iam:AttachUserPolicy", "iam:CreateUser", "iam:PutUserPolicy"],
            resources=scope.iam(f"user/{scope.prefix}-*"),
            conditions=bounded,
        ),
        Statement(
            sid="UsersAndGroups",
            actions=[
                "iam:*AccessKey*",
                "iam:*Group",
                "iam:*GroupPolicy",
                "iam:DeleteUser",
                "iam:DeleteUserPolicy",
                "iam:DetachUserPolicy",
                "iam:TagUser",
                "iam:UntagUser",
            ],
            resources=scope.iam(f"user/{scope.prefix}-*", f"group/{scope.prefix}-*"),
        ),
        Statement(
            sid="ServiceLinkedRoles",
            actions=["iam:CreateServiceLinkedRole"],
            resources=scope.iam("role/aws-service-role/*"),
            conditions={"StringEquals": {"iam:AWSServiceName": LINKED_SERVICES}},
        ),
        Statement(
            # Nor the roles that copy state and backups.
            sid="NeverItself",
            effect="Deny",
            actions=["iam:Attach*", "iam:Create*", "iam:Delete*", "iam:Put*", "iam:Set*",
                     "iam:Update*"],
            resources=[
                scope.deploy_role_arn,
                scope.boundary_arn,
                *scope.iam(f"role/{scope.prefix}-*-replica-*"),
            ],
        ),
        Statement(
            sid="NeverUnbounded",
            effect="Deny",
            actions=["iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"],
            resources=["*"],
        ),
    ]  # fmt: skip


def _observability(scope: DeployScope) -> list[Statement]:
    groups = (
        f"/aws/ssm/parameter-store/{scope.environment}/*",
        f"/aws/vpc/{scope.prefix}*",
        f"/aws/eks/{scope.prefix}/*",
        f"/aws/rds/instance/{scope.prefix}*",
    )
    return [
        Statement(
            sid="LogGroups",
            actions=["logs:*"],
            resources=scope.regional("logs", *(f"log-group:{group}" for group in groups)),
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
            sid="Dashboards",
            actions=[
                "cloudwatch:*Dashboard*",
                "cloudwatch:Describe*",
                "cloudwatch:Get*",
                "cloudwatch:List*",
            ],
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
            sid="FindObjects",
            actions=["s3:GetBucket*", "s3:ListBucket*"],
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
                ],
                resources=[
                    *scope.regional("dynamodb", f"table/{prefix}-*"),
                    *scope.regional("logs", "log-group:/aws/*"),
                    *scope.regional("rds", f"*:{prefix}*"),
                    *scope.regional("rds-db", "dbuser:*"),
                    *scope.regional("secretsmanager", f"secret:{prefix}-*"),
                    *scope.regional("sns", f"{prefix}-*"),
                    *scope.regional("sqs", f"{prefix}-*"),
                    *scope.regional("ssm", f"parameter/{env}/*"),
                    f"arn:aws:s3:::{prefix}-*",
                ],
            ),
            Statement(
                sid="OwnKeys",
                actions=[
                    "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt",
                    "kms:GenerateDataKey*", "kms:ReEncrypt*",
                ],
                resources=scope.regional("kms", "key/*"),
                conditions={"StringEquals": {"aws:ResourceTag/environment": env}},
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

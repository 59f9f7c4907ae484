"""Who acts for a cluster in AWS: its service role, its nodes, and single service accounts.

Service accounts use EKS Pod Identity: the role trusts one service account of one cluster, and no
node hands out credentials that its pods do not need. Every role carries the boundary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import Input, Output, Resource, ResourceOptions
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from components.iam_policies import Statement, policy_document, service_trust

CLUSTER_POLICIES = ("arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",)
NODE_POLICIES = (
    "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
)
"""What a kubelet needs: to join and to pull. The network and the disks have roles of their own,
and nobody logs in to a node."""
NETWORK_POLICIES = ("arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",)
VOLUME_POLICIES = ("arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",)


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """A Kubernetes service account."""

    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True)
class RoleScope:
    """What all roles of a cluster have in common."""

    account_id: str
    region: str
    cluster_name: str
    permissions_boundary_arn: Input[str] | None
    tags: Mapping[str, str]

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a regional resource of the account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    @property
    def cluster_arn(self) -> str:
        """ARN of the cluster: known before it is made."""
        return self.arn("eks", f"cluster/{self.cluster_name}")

    def role_name(self, suffix: str) -> str:
        """Return the name of a role: the deploy role may make those of this beginning alone."""
        return f"{self.cluster_name}-{suffix}"


@dataclass(frozen=True, kw_only=True)
class GrantedRole:
    """A role together with what makes it of use: whoever needs the role waits for its grants."""

    role: Role
    grants: Sequence[Resource]

    @property
    def arn(self) -> Output[str]:
        """ARN of the role, known when the grants are made."""
        return Output.all(self.role.arn, *(grant.urn for grant in self.grants)).apply(
            lambda values: str(values[0])
        )


def granted_role(
    name: str,
    scope: RoleScope,
    *,
    suffix: str,
    description: str,
    trust: Statement,
    opts: ResourceOptions,
    managed: Sequence[str] = (),
    policy: Input[str] | None = None,
) -> GrantedRole:
    """Make a role with AWS's `managed` policies and, where given, an inline `policy`."""
    role = Role(
        name,
        name=scope.role_name(suffix),
        description=description,
        assume_role_policy=policy_document([trust]),
        permissions_boundary=scope.permissions_boundary_arn,
        tags=scope.tags,
        opts=opts,
    )
    grants: list[Resource] = [
        RolePolicyAttachment(
            f"{name}-{arn.rpartition('/')[2]}", role=role.name, policy_arn=arn, opts=opts
        )
        for arn in managed
    ]
    if policy is not None:
        grants.append(
            RolePolicy(name, name=scope.role_name(suffix), role=role.name, policy=policy, opts=opts)
        )
    return GrantedRole(role=role, grants=grants)


def cluster_role(name: str, scope: RoleScope, opts: ResourceOptions) -> GrantedRole:
    """Make the role that EKS runs the control plane with."""
    return granted_role(
        name,
        scope,
        suffix="cluster",
        description=f"EKS runs the control plane of {scope.cluster_name}",
        trust=service_trust("eks.amazonaws.com", scope.account_id),
        managed=CLUSTER_POLICIES,
        opts=opts,
    )


def node_role(name: str, scope: RoleScope, opts: ResourceOptions) -> GrantedRole:
    """Make the role of the nodes themselves; pods cannot reach its credentials (hop limit 1)."""
    return granted_role(
        name,
        scope,
        suffix="nodes",
        description=f"Nodes of {scope.cluster_name} join it and pull images",
        # EC2 sends no source account when an instance fetches its credentials.
        trust=Statement(actions=["sts:AssumeRole"], principals={"Service": ["ec2.amazonaws.com"]}),
        managed=NODE_POLICIES,
        opts=opts,
    )


def pod_identity_trust(scope: RoleScope, account: ServiceAccount) -> Statement:
    """Trust one service account of one cluster, as EKS's session tags name them."""
    return Statement(
        actions=["sts:AssumeRole", "sts:TagSession"],
        principals={"Service": ["pods.eks.amazonaws.com"]},
        conditions={
            "StringEquals": {
                "aws:RequestTag/eks-cluster-arn": scope.cluster_arn,
                "aws:RequestTag/kubernetes-namespace": account.namespace,
                "aws:RequestTag/kubernetes-service-account": account.name,
            }
        },
    )


def volume_key_policy(key_arn: str) -> str:
    """Return what the volume driver needs to make encrypted volumes.

    EC2 opens a volume through a grant that the driver makes; it may grant to AWS services alone.
    """
    return policy_document(
        [
            Statement(
                sid="Grant",
                actions=["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
                resources=[key_arn],
                conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            ),
            Statement(
                sid="Encrypt",
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey*",
                    "kms:ReEncrypt*",
                ],
                resources=[key_arn],
            ),
        ]
    )


def observability_policy(scope: RoleScope, log_groups: Sequence[str]) -> str:
    """Return what the CloudWatch agent and Fluent Bit need: their own log groups and metrics.

    They ask for a group before they write to it. The groups are made first and deleted last, so
    that none comes back unencrypted and without retention.
    """
    groups = [scope.arn("logs", f"log-group:{group}") for group in log_groups]
    return policy_document(
        [
            Statement(
                sid="Logs",
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                resources=[*groups, *(f"{group}:*" for group in groups)],
            ),
            Statement(sid="FindLogs", actions=["logs:DescribeLogGroups"], resources=["*"]),
            Statement(
                sid="Metrics",
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": "ContainerInsights"}},
            ),
            Statement(
                sid="DescribeNodes",
                actions=["ec2:DescribeTags", "ec2:DescribeVolumes"],
                resources=["*"],
                conditions={"StringEquals": {"aws:RequestedRegion": scope.region}},
            ),
        ]
    )


def autoscaler_policy(scope: RoleScope) -> str:
    """Return what the Cluster Autoscaler needs: to see all groups, and to size this cluster's.

    EKS tags the Auto Scaling groups of managed node groups for it. A group of another cluster,
    or of none, carries another tag and cannot be touched.
    """
    return policy_document(
        [
            Statement(
                sid="See",
                actions=[
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeAutoScalingInstances",
                    "autoscaling:DescribeLaunchConfigurations",
                    "autoscaling:DescribeScalingActivities",
                    "autoscaling:DescribeTags",
                    "ec2:DescribeImages",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:GetInstanceTypesFromInstanceRequirements",
                ],
                resources=["*"],
                conditions={"StringEquals": {"aws:RequestedRegion": scope.region}},
            ),
            Statement(
                # Labels and taints of a group without nodes are known to EKS alone.
                sid="SeeEmptyNodeGroups",
                actions=["eks:DescribeNodegroup"],
                resources=[scope.arn("eks", f"nodegroup/{scope.cluster_name}/*")],
            ),
            Statement(
                sid="Size",
                actions=[
                    "autoscaling:SetDesiredCapacity",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                ],
                resources=[
                    scope.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")
                ],
                conditions={
                    "StringEquals": {
                        f"aws:ResourceTag/k8s.io/cluster-autoscaler/{scope.cluster_name}": "owned"
                    }
                },
            ),
        ]
    )

"""GitHubAccess: how GitHub Actions of one repository reach the account, without any stored key.

Two kinds of role trust GitHub's OIDC provider. The preview role, for pull requests, reads how
things are set up and the state, and no data. A deploy role, one an environment, is for jobs that
run in the GitHub environment of that name; all it may do is to assume the environment's own
deploy role and to use its state.

GitHub gives no token to pull requests from forks, and the trust names the repository.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Output, ResourceOptions
from pulumi_aws.iam.open_id_connect_provider import OpenIdConnectProvider
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from components.iam_policies import Statement, policy_document

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
SESSION_SECONDS = 3600

CONFIGURATION_READS = (
    "access-analyzer:Get*", "access-analyzer:List*", "acm:DescribeCertificate",
    "acm:ListCertificates", "acm:ListTagsForCertificate", "autoscaling:Describe*",
    "budgets:ListTagsForResource", "budgets:ViewBudget", "cloudtrail:Describe*",
    "cloudtrail:GetEventSelectors", "cloudtrail:GetInsightSelectors", "cloudtrail:GetTrail",
    "cloudtrail:GetTrailStatus", "cloudtrail:List*", "cloudwatch:Describe*", "cloudwatch:List*",
    "dynamodb:Describe*", "dynamodb:ListTables", "dynamodb:ListTagsOfResource", "ec2:Describe*",
    "ec2:GetEbsEncryptionByDefault", "ec2:GetInstanceMetadataDefaults",
    "ec2:GetSnapshotBlockPublicAccessState", "ecr:DescribeRepositories",
    "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource",
    "eks:Describe*", "eks:List*", "elasticloadbalancing:Describe*", "events:Describe*",
    "events:List*", "iam:Get*", "iam:List*", "kms:DescribeKey", "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus", "kms:List*", "logs:Describe*", "logs:ListTagsForResource",
    "rds:Describe*", "rds:ListTagsForResource", "route53:Get*", "route53:List*",
    "s3:GetAccountPublicAccessBlock", "s3:GetBucket*", "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListAllMyBuckets",
    "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy",
    "secretsmanager:ListSecrets", "sns:Get*", "sns:List*", "ssm:DescribeParameters",
    "ssm:ListTagsForResource", "states:DescribeStateMachine", "states:List*",
    "states:ValidateStateMachineDefinition", "wafv2:Get*", "wafv2:List*",
)  # fmt: skip
"""How things are set up. A read that would give data as well is not among them."""
DATA_READS = (
    "dynamodb:*Item*", "dynamodb:PartiQL*", "dynamodb:Query", "dynamodb:Scan",
    "ec2:GetConsole*", "ec2:GetPasswordData", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
    "logs:Filter*", "logs:Get*", "logs:StartQuery", "logs:Unmask", "rds:Download*",
    "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue",
    "ssm:GetParameterHistory", "sts:AssumeRole",
)  # fmt: skip
"""Data, secrets, and other roles' permissions: denied whatever else is ever granted."""


@dataclass(frozen=True, kw_only=True)
class DeployTarget:
    """An environment of the account that GitHub Actions may deploy."""

    role_name: str
    """The role of this component."""
    deploy_role_arn: str
    """The environment's own deploy role, which it may assume."""
    state_bucket_prefix: str
    """A suffix of 7 characters follows."""
    state_key_alias: str
    parameter_path: str
    """As in `/dev`: parameters that previews read; a secret among them stays encrypted."""


@dataclass(frozen=True, kw_only=True)
class GitHubAccessArgs:
    """Which repository, and what it deploys."""

    account_id: str
    regions: Sequence[str]
    repository: str
    """OWNER/REPOSITORY."""
    preview_role_name: str
    targets: Mapping[str, DeployTarget]
    """GitHub environment -> what it deploys."""
    tags: Mapping[str, str]


class GitHubAccess(ComponentResource):
    """GitHub's OIDC provider, the preview role, and a deploy role for each environment."""

    provider_arn: Output[str]
    """GitHub as an identity provider of the account."""
    preview_role_arn: Output[str]
    """Role of pull requests."""
    deploy_role_arns: Mapping[str, Output[str]]
    """GitHub environment -> role of its jobs."""

    def __init__(
        self, name: str, args: GitHubAccessArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:GitHubAccess", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)

        # No thumbprint: AWS knows GitHub's certificate authority itself.
        provider = OpenIdConnectProvider(
            name,
            url=f"https://{ISSUER}",
            client_id_lists=[AUDIENCE],
            tags=args.tags,
            opts=self._child,
        )
        self.provider_arn = provider.arn
        self.preview_role_arn = self._role(
            "preview",
            args.preview_role_name,
            "pull_request",
            f"Previews pull requests of {args.repository}; reads no data",
            {"read": preview_policy(args), "never": preview_denials(args)},
        )
        self.deploy_role_arns = {
            environment: self._role(
                f"deploy-{environment}",
                target.role_name,
                f"environment:{environment}",
                f"Starts deployments of {environment} from {args.repository}",
                {"deploy": deploy_policy(args, target)},
            )
            for environment, target in args.targets.items()
        }
        self.register_outputs(
            {
                "provider_arn": self.provider_arn,
                "preview_role_arn": self.preview_role_arn,
                "deploy_role_arns": self.deploy_role_arns,
            }
        )

    def _role(
        self,
        suffix: str,
        role_name: str,
        subject: str,
        description: str,
        policies: Mapping[str, str],
    ) -> Output[str]:
        repository = self._args.repository
        role = Role(
            f"{self._name}-{suffix}",
            name=role_name,
            description=description,
            max_session_duration=SESSION_SECONDS,
            assume_role_policy=self.provider_arn.apply(
                lambda arn: github_trust(arn, f"repo:{repository}:{subject}")
            ),
            tags=self._args.tags,
            opts=self._child,
        )
        for policy_name, policy in policies.items():
            RolePolicy(
                f"{self._name}-{suffix}-{policy_name}",
                name=policy_name,
                role=role.name,
                policy=policy,
                opts=self._child,
            )
        return role.arn


def github_trust(provider_arn: str, subject: str) -> str:
    """Return the trust in tokens that GitHub made for AWS and for exactly this subject."""
    return policy_document(
        [
            Statement(
                actions=["sts:AssumeRoleWithWebIdentity"],
                principals={"Federated": [provider_arn]},
                conditions={"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
            )
        ]
    )


def preview_policy(args: GitHubAccessArgs) -> str:
    """Return what a preview reads: how things are set up, plain parameters, and the states."""
    targets = args.targets.values()
    return policy_document(
        [
            Statement(sid="Configuration", actions=CONFIGURATION_READS, resources=["*"]),
            Statement(
                # Without the key a secret among them is refused.
                sid="PlainParameters",
                actions=["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
                resources=[
                    f"arn:aws:ssm:{region}:{args.account_id}:parameter{target.parameter_path}/*"
                    for region in args.regions
                    for target in targets
                ],
            ),
            Statement(
                sid="FindState",
                actions=["s3:ListBucket"],
                resources=[state_bucket_pattern(target) for target in targets],
            ),
            Statement(
                sid="ReadState",
                actions=["s3:GetObject"],
                resources=[f"{state_bucket_pattern(target)}/*" for target in targets],
            ),
            _state_keys(args, ["kms:Decrypt", "kms:DescribeKey"], list(targets)),
        ]
    )


def preview_denials(args: GitHubAccessArgs) -> str:
    """Return what a preview never reads, whatever is granted: data, secrets, what they hold."""
    targets = args.targets.values()
    return policy_document(
        [
            Statement(sid="NoData", effect="Deny", actions=DATA_READS, resources=["*"]),
            Statement(
                sid="NoObjectsButState",
                effect="Deny",
                actions=["s3:GetObject*"],
                resources=[f"{state_bucket_pattern(target)}/*" for target in targets],
                elsewhere=True,
            ),
            Statement(
                # Also a key that has no alias at all.
                sid="NoSecretsButStates",
                effect="Deny",
                actions=["kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                resources=["*"],
                conditions={
                    "ForAllValues:StringNotEquals": {
                        "kms:ResourceAliases": [target.state_key_alias for target in targets]
                    }
                },
            ),
        ]
    )


def deploy_policy(args: GitHubAccessArgs, target: DeployTarget) -> str:
    """Return what a deployment starts with: its environment's state, and the role that deploys."""
    bucket = state_bucket_pattern(target)
    return policy_document(
        [
            Statement(
                sid="Deploy",
                actions=["sts:AssumeRole", "sts:TagSession"],
                resources=[target.deploy_role_arn],
            ),
            Statement(
                sid="FindState",
                actions=["s3:GetBucketLocation", "s3:ListBucket"],
                resources=[bucket],
            ),
            Statement(
                sid="State",
                actions=["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                resources=[f"{bucket}/*"],
            ),
            _state_keys(
                args,
                ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
                [target],
            ),
        ]
    )


def state_bucket_pattern(target: DeployTarget) -> str:
    """Return the ARN pattern of a state bucket: its suffix and no more, so not its copy's."""
    return f"arn:aws:s3:::{target.state_bucket_prefix}-{'?' * 7}"


def _state_keys(
    args: GitHubAccessArgs, actions: Sequence[str], targets: Sequence[DeployTarget]
) -> Statement:
    return Statement(
        sid="StateKeys",
        actions=actions,
        resources=[f"arn:aws:kms:{region}:{args.account_id}:key/*" for region in args.regions],
        conditions={
            "ForAnyValue:StringEquals": {
                "kms:ResourceAliases": [target.state_key_alias for target in targets]
            }
        },
    )

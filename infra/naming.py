"""The physical names that people and commands find things by, and the tags on everything.

Pure functions and constants, one place for each name. What nobody looks up by name is named by
the engine and does not appear here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from infra.settings import Settings

PROJECT: Final = "mono-repo"
"""The Pulumi project, and the first word of every name."""
BOOTSTRAP_PROJECT: Final = "mono-repo-bootstrap"
"""The Pulumi project of the stacks that outlive an environment."""
ACCOUNT_PROJECT: Final = "mono-repo-account"
"""The Pulumi project of the stacks that exist once per account."""
APP: Final = "mono-repo"
"""The application's part of a parameter's path."""
OPS_APP: Final = "mono-repo-ops"
"""The operators' part of a parameter's path: records that are not the application's."""
Environment = Literal["dev", "uat", "prod"]
ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)
"""Every environment, in the order a change travels."""
Application = Literal[
    "api-service", "web-app", "dash-app", "airflow", "batch-jobs", "data-pipeline", "python-base"
]
APPLICATIONS: Final[tuple[Application, ...]] = get_args(Application)
"""What images are built for: one ECR repository each."""
DOMAIN: Final = "mono-repo.internal"
"""The private zone of the load-balanced workloads."""

# Once per account: these carry no environment.
AUDIT_LOG_GROUP: Final = "CloudTrail/MonoRepoAuditLogs"
AUDIT_TRAIL: Final = "MonoRepoAuditTrail"
BUDGET: Final = "MonoRepo-Monthly-Budget"
PREVIEW_ROLE: Final = "mono-repo-github-preview"
"""The role that GitHub Actions take for pull requests."""

PARAMETER_READ_POLICY: Final = "parameter-store-read-policy"
"""The inline policy of the parameter access role."""


def prefix(env: str) -> str:
    """`mono-repo-{env}`: what the names of an environment begin with."""
    return f"{PROJECT}-{env}"


def stack_file(env: str) -> str:
    """Return the file of the stack's settings, as the Pulumi CLI names it."""
    return f"Pulumi.{env}.yaml"


# Account


def github_deploy_role(env: str) -> str:
    """Return the role that GitHub Actions take in the GitHub environment of that name.

    Deploy roles manage what is called `mono-repo-{env}-*` or `mono-repo-*-{env}`: not this.
    """
    return f"{PROJECT}-github-{env}-deploy"


# Bootstrap


def deploy_role(env: str) -> str:
    """Return the IAM role that every run assumes, of people and CI alike."""
    return f"{prefix(env)}-deploy"


def deploy_role_arn(account_id: str, env: str) -> str:
    """Return the ARN of the deploy role in an account."""
    return role_arn(account_id, deploy_role(env))


def state_bucket(env: str) -> str:
    """Return what the state bucket's name begins with: a random suffix follows."""
    return f"{prefix(env)}-pulumi-state"


def backup_bucket(env: str) -> str:
    """Return what the backup bucket's name begins with: a random suffix follows."""
    return f"{prefix(env)}-backups"


def lock_table(env: str) -> str:
    """Return the DynamoDB table of the operators' lock."""
    return f"{prefix(env)}-pulumi-state-lock"


def state_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts the stack's secrets and the state bucket."""
    return f"alias/{prefix(env)}-pulumi-state"


def databases_key_alias(env: str) -> str:
    """Return the alias of the key of databases and their snapshots."""
    return f"alias/{prefix(env)}-databases"


def backups_key_alias(env: str) -> str:
    """Return the alias of the key of the backup bucket."""
    return f"alias/{prefix(env)}-backups"


def repository(env: str, application: str) -> str:
    """Return the ECR repository of one of `APPLICATIONS`."""
    return f"{prefix(env)}-{application}"


def repositories(env: str) -> dict[str, str]:
    """Application → ECR repository, for all of `APPLICATIONS`."""
    return {application: repository(env, application) for application in APPLICATIONS}


# Parameter Store


def parameter_path(env: str, app: str = APP) -> str:
    """`/{env}/{app}`: the path that an application's parameters are under."""
    return f"/{env}/{app}"


def parameter(env: str, name: str, app: str = APP) -> str:
    """Return the full name of a parameter, `/{env}/{app}/{name}`."""
    return f"{parameter_path(env, app)}/{name}"


def parameter_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts the environment's SecureStrings."""
    return f"alias/{PROJECT}-parameter-store-{env}"


def parameter_access_role(env: str) -> str:
    """Return the role (and, where set, the instance profile) that reads the parameters."""
    return f"{PROJECT}-parameter-store-access-{env}"


def parameter_log_group(env: str, app: str = APP) -> str:
    """Return the log group of every access to the application's parameters."""
    return f"/aws/ssm/parameter-store/{env}/{app}"


def suspension_parameter(env: str) -> str:
    """Return the record that says an environment is stopped; not there: it runs."""
    return parameter(env, "suspension", OPS_APP)


def bootstrap_claim(env: str) -> str:
    """Return the record of the one run that makes the environment's bootstrap."""
    return parameter(env, "bootstrap", OPS_APP)


def approvals_path(env: str) -> str:
    """Return the path that operators' sign-offs of plans are under."""
    return parameter(env, "approvals", OPS_APP)


def approval_parameter(env: str, plan_hash: str) -> str:
    """Return the parameter that holds the sign-off of a plan."""
    return f"{approvals_path(env)}/{plan_hash}"


# People and machines


def group(env: str, name: str) -> str:
    """Return an IAM group."""
    return f"{prefix(env)}-{name}"


def user(env: str, name: str) -> str:
    """Return a person's IAM user."""
    return f"{prefix(env)}-{name}"


def service_account(env: str, name: str) -> str:
    """Return a machine's IAM user: `cicd` → `mono-repo-{env}-cicd-service`."""
    return f"{prefix(env)}-{name}-service"


def people_path(env: str) -> str:
    """Return the IAM path of the environment's people."""
    return f"/{PROJECT}/{env}/people/"


def services_path(env: str) -> str:
    """Return the IAM path of the environment's machines."""
    return f"/{PROJECT}/{env}/services/"


def access_key_secret(env: str, name: str) -> str:
    """Return the Secrets Manager secret of a user's access key; `name` as in settings."""
    return f"{prefix(env)}-access-keys-{name}"


def kubernetes_group(name: str) -> str:
    """Return the Kubernetes group that the members of an IAM group arrive in."""
    return f"{PROJECT}:{name}"


BREAK_GLASS: Final = "break-glass"
"""The one group of people that may do everything in the cluster, for emergencies."""


def kubernetes_role(env: str, name: str) -> str:
    """Return the IAM role by which the members of an IAM group reach the cluster."""
    return f"{prefix(env)}-kubernetes-{name}"


CLUSTER_LABELS: Final = {
    "app.kubernetes.io/managed-by": "pulumi",
    "app.kubernetes.io/part-of": PROJECT,
}
"""The labels of everything that the program makes in the cluster."""


def workload_labels(workload: str) -> dict[str, str]:
    """Return the labels by which a workload's pods, tasks it starts included, are known.

    Its Service has to select by each of them: EKS's network policies know the address of a Service
    only where its selector has every label that the policy asks for. So there is but one.
    """
    return {"app.kubernetes.io/name": workload}


# Compute and data


def cluster(env: str) -> str:
    """Return the EKS cluster."""
    return prefix(env)


def cluster_log_group(env: str) -> str:
    """Return the log group of the control plane: EKS fixes its form."""
    return f"/aws/eks/{cluster(env)}/cluster"


def application_namespace(env: str) -> str:
    """Return the Kubernetes namespace of `mono-repo-api`."""
    return prefix(env)


def restored_database(identifier: str) -> str:
    """Return the identifier a restore gives to the new instance."""
    return f"{identifier}-restored"


def backup(env: str, stamp: str) -> str:
    """Return the name of a backup and its folder; `stamp` as of a snapshot."""
    return f"{stamp}_{env}"


def rehearsal_database(identifier: str, stamp: str) -> str:
    """Return the copy that a rehearsal of a restore makes of an instance, for a while."""
    return f"{identifier}-rehearsal-{stamp}"


def database_snapshot(identifier: str, stamp: str) -> str:
    """Return a manual snapshot of an instance; `stamp` is UTC as `20261231-235959`."""
    return f"{identifier}-snapshot-{stamp}"


def database_restop(env: str) -> str:
    """Return the rule that keeps databases stopped, enabled while the environment is suspended.

    There is none where no database has `stop_on_emergency`.
    """
    return f"{prefix(env)}-database-restop"


def silenced_alarms(env: str) -> str:
    """Return what the names of the alarms begin with that tell nobody during a suspension."""
    return f"{prefix(env)}-"


def database_restop_alarm(env: str) -> str:
    """Return the alarm of databases that do not stay stopped; none of `silenced_alarms`."""
    return f"{PROJECT}-database-restop-{env}"


def hostname(workload: str) -> str:
    """Where a load-balanced workload answers inside the VPC."""
    return f"{workload}.{DOMAIN}"


# ARNs


def role_arn(account_id: str, role: str) -> str:
    """Return the ARN of an IAM role."""
    return f"arn:aws:iam::{account_id}:role/{role}"


def account_arn(account_id: str) -> str:
    """Return the ARN that stands for an account in a trust or key policy."""
    return f"arn:aws:iam::{account_id}:root"


# Tags


def tags(settings: Settings) -> dict[str, str]:
    """Return the tags of every resource of an environment; the stack file's own come last."""
    return {
        "environment": settings.environment,
        "project": PROJECT,
        "application": APP,
        "managed-by": "pulumi",
        "owner": settings.owner,
        "cost-center": settings.cost_center,
        **settings.tags,
    }


def account_tags(settings: Settings) -> dict[str, str]:
    """Return the tags of what exists once per account.

    They tell an environment that there is none: a deploy role may use and change keys by this
    tag, and what is not tagged could be made its own.
    """
    return {**tags(settings), "environment": "account"}


RESERVED_TAGS: Final = (
    "Name",
    "environment",
    "project",
    "application",
    "managed-by",
    "owner",
    "cost-center",
)
"""What the stack file's `tags` cannot set: the program does."""


def named(tags: Mapping[str, str], name: str) -> dict[str, str]:
    """Return `tags` with the `Name` that AWS's consoles show."""
    return {**tags, "Name": name}

"""Names that one stack gives and another finds, beside those people look up (`infra.naming`)."""

from typing import Final

from infra import naming

# Bootstrap


def boundary(env: str) -> str:
    """Return the permissions boundary that every role of the environment carries."""
    return f"{naming.prefix(env)}-boundary"


def boundary_arn(account_id: str, env: str) -> str:
    """Return the ARN of the permissions boundary."""
    return f"arn:aws:iam::{account_id}:policy/{boundary(env)}"


def people_boundary(env: str) -> str:
    """Return the permissions boundary that every IAM user of the environment carries."""
    return f"{naming.prefix(env)}-people-boundary"


def people_boundary_arn(account_id: str, env: str) -> str:
    """Return the ARN of the users' permissions boundary."""
    return f"arn:aws:iam::{account_id}:policy/{people_boundary(env)}"


def people_arns(account_id: str, env: str) -> str:
    """Return the pattern of the ARNs of the environment's people."""
    return f"arn:aws:iam::{account_id}:user{naming.people_path(env)}*"


def group_policy_prefix(env: str) -> str:
    """Return what the names of the groups' policies begin with: the group's own name follows."""
    return f"{naming.prefix(env)}-group-"


def group_policy_arn(account_id: str, env: str, group: str) -> str:
    """Return the ARN of the policy of a group of people or machines."""
    return f"arn:aws:iam::{account_id}:policy/{group_policy_prefix(env)}{group}"


SELF_SERVICE: Final = "self-service"
"""The group that every person is a member of."""


def service_group(permissions: str) -> str:
    """Return the group of the machines of one kind: `backup` -> `backup-services`."""
    return f"{permissions}-services"


def log_bucket(env: str, account_id: str) -> str:
    """Return the bucket of access and flow logs, made unique by the account's number."""
    return f"{naming.prefix(env)}-logs-{account_id}"


def images_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts container images."""
    return f"alias/{naming.prefix(env)}-images"


def replicas_key_alias(env: str) -> str:
    """Return the alias of the secondary region's key for copies of state and backups."""
    return f"alias/{naming.prefix(env)}-replicas"


# Environment: the deploy role manages roles and topics by their prefix.


def logs_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts log groups and alarm messages."""
    return f"alias/{naming.prefix(env)}-logs"


def cluster_secrets_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts Kubernetes secrets."""
    return f"alias/{naming.prefix(env)}-cluster-secrets"


def cluster_volumes_key_alias(env: str) -> str:
    """Return the alias of the key of the volumes that pods claim."""
    return f"alias/{naming.prefix(env)}-cluster-volumes"


def database_monitoring_role(env: str) -> str:
    """Return the role by which RDS writes its enhanced monitoring."""
    return f"{naming.prefix(env)}-rds-monitoring"


def access_keys_key_alias(env: str) -> str:
    """Return the alias of the key that encrypts the secrets with access keys."""
    return f"alias/{naming.prefix(env)}-access-keys"


def flow_log_group(env: str) -> str:
    """Return the log group of the VPC's flow logs."""
    return f"/aws/vpc/{naming.prefix(env)}/flow-logs"


def flow_log_role(env: str) -> str:
    """Return the role that writes the flow logs."""
    return f"{naming.prefix(env)}-flow-logs"


def alarm_topic(env: str) -> str:
    """Return the topic that alarms are published to."""
    return f"{naming.prefix(env)}-alarms"


# Account: these carry no environment, and do not fit what a deploy role may manage.

AUDIT_KEY_ALIAS: Final = f"alias/{naming.PROJECT}-audit"
"""The alias of the key of the trail and of both topics."""
AUDIT_ROLE: Final = f"{naming.PROJECT}-audit-trail"
"""The role that writes the trail to its log group."""
AUDIT_BUCKET: Final = f"{naming.PROJECT}-audit-trail"
"""What the bucket of the trail's files begins with: a random suffix follows."""
AUDIT_ACCESS_BUCKET: Final = f"{naming.PROJECT}-audit-accesses"
"""What the bucket of that bucket's access log begins with: a random suffix follows."""
AUDIT_TOPIC: Final = f"{naming.PROJECT}-audit-alarms"
"""The topic of what the trail's alarms show."""
BUDGET_TOPIC: Final = f"{naming.PROJECT}-budget-alerts"
"""The topic of the budget's alerts."""
ANALYZER: Final = naming.PROJECT
"""The access analyzer of each region."""

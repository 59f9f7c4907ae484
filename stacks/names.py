"""Names that one stack gives and another finds, beside those people look up (`infra.naming`)."""

from infra import naming

# Bootstrap


def boundary(env: str) -> str:
    """Return the permissions boundary that every role of the environment carries."""
    return f"{naming.prefix(env)}-boundary"


def boundary_arn(account_id: str, env: str) -> str:
    """Return the ARN of the permissions boundary."""
    return f"arn:aws:iam::{account_id}:policy/{boundary(env)}"


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


def flow_log_group(env: str) -> str:
    """Return the log group of the VPC's flow logs."""
    return f"/aws/vpc/{naming.prefix(env)}/flow-logs"


def flow_log_role(env: str) -> str:
    """Return the role that writes the flow logs."""
    return f"{naming.prefix(env)}-flow-logs"


def alarm_topic(env: str) -> str:
    """Return the topic that alarms are published to."""
    return f"{naming.prefix(env)}-alarms"

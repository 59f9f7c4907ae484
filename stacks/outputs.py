"""What the stacks export: names and types, shared by the programs and the operators' commands.

A program fills these with Outputs (`EnvironmentOutputs[Output[str]]`); a command reads them back
as text (`EnvironmentOutputs[str]`). This module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Generic, Self, TypeVar

Text = TypeVar("Text")


class MissingOutputError(LookupError):
    """A stack does not export what was expected of it."""


@dataclass(frozen=True, kw_only=True)
class _StackOutputs(Generic[Text]):
    def to_exports(self) -> dict[str, Any]:
        """Return what the program exports, by name; what is None is not exported."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_exports(cls, exports: Mapping[str, Any]) -> Self:
        """Return the outputs of a stack that was deployed.

        `exports` holds plain values. Raises MissingOutputError with the names of what is missing.
        """
        names = {field.name for field in fields(cls)}
        required = [field.name for field in fields(cls) if field.default is MISSING]
        missing = [name for name in required if name not in exports]
        if missing:
            raise MissingOutputError(
                f"the stack does not export {', '.join(missing)}: "
                "it was never deployed, or by an older program; deploy it first"
            )
        return cls(**{name: value for name, value in exports.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class EnvironmentOutputs(_StackOutputs[Text]):
    """What an environment's stack exports."""

    account_id: str
    region: str
    vpc_id: Text
    vpc_cidr: str
    subnet_ids: Mapping[str, Mapping[str, Text]]
    """Tier (`public`, `private`, `database`) -> zone -> subnet."""
    nat_public_ips: Sequence[Text]
    endpoint_security_group_id: Text
    cluster_name: Text
    cluster_endpoint: Text
    cluster_log_group: Text
    autoscaling_groups: Mapping[str, Text]
    """Node group -> its Auto Scaling group."""
    cluster_role_arns: Mapping[str, Text]
    """Group of people, or `break-glass` -> the IAM role that leads into the cluster."""
    database_identifiers: Mapping[str, Text]
    """Database -> the live RDS instance."""
    database_addresses: Mapping[str, Text]
    """Database -> host name, without the port."""
    master_secret_arns: Mapping[str, Text]
    """Database -> the secret of its master user, which RDS rotates."""
    load_balancer: Text
    """The load balancer's DNS name by AWS."""
    hostnames: Mapping[str, str]
    """Workload -> its name inside the VPC."""
    user_names: Mapping[str, Text]
    """Person or machine -> IAM user."""
    access_key_secret_arns: Mapping[str, Text]
    """Person or machine -> the secret that holds its access key, once one is issued."""
    parameter_path: str
    parameter_key_arn: Text
    parameter_access_role_arn: Text
    parameter_instance_profile: Text | None = None
    """None where no instance may have the access role."""
    parameter_log_group: Text
    alarm_topic_arn: Text
    logs_key_arn: Text


@dataclass(frozen=True, kw_only=True)
class AccountOutputs(_StackOutputs[Text]):
    """What an account's stack exports."""

    account_id: str
    region: str
    audit_key_arn: Text
    audit_trail_arn: Text
    audit_bucket: Text
    audit_log_group: Text
    audit_topic_arn: Text
    """Where the alarms of the audit trail are published."""
    budget_topic_arn: Text
    analyzer_arn: Text
    github_provider_arn: Text | None = None
    """None, as the two below, where no repository may deploy."""
    preview_role_arn: Text | None = None
    github_role_arns: Mapping[str, Text] | None = None
    """Environment -> the role that its deployments from GitHub begin with."""


@dataclass(frozen=True, kw_only=True)
class BootstrapOutputs(_StackOutputs[Text]):
    """What a bootstrap stack exports."""

    account_id: str
    region: str
    state_bucket: Text
    backup_bucket: Text
    log_bucket: Text
    lock_table: Text
    key_arns: Mapping[str, Text]
    """`state`, `databases`, `backups`, `images` -> KMS key."""
    repository_urls: Mapping[str, Text]
    """Application -> where its images are pushed and pulled."""
    deploy_role_arn: Text
    boundary_arn: Text
    people_boundary_arn: Text
    group_policy_arns: Mapping[str, Text]
    """Group of people or machines -> the policy that its group is given."""

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
    parameter_path: str
    parameter_key_arn: Text
    parameter_access_role_arn: Text
    parameter_instance_profile: Text | None = None
    """None where no instance may have the access role."""
    parameter_log_group: Text
    alarm_topic_arn: Text
    logs_key_arn: Text


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

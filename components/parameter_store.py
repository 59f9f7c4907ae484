"""ParameterStore: an application's parameters, their key, who may use them, and the record of it.

Program-owned parameters are resources. Operator-owned ones, secrets first of all, are not: they
are made, rotated and found by path, under the key, the policies and the log of this component.

Reads reach the log group through EventBridge, which sees management events only where the account
has a trail that records them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.cloudwatch.event_rule import EventRule
from pulumi_aws.cloudwatch.event_target import EventTarget
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.cloudwatch.log_resource_policy import LogResourcePolicy
from pulumi_aws.iam.instance_profile import InstanceProfile
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.ssm.parameter import Parameter

from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.log_alarm import LogAlarm, alarm_on_log
from components.parameter_access import (
    DENIED_PATTERN,
    CrossAccountPrincipal,
    ParameterPath,
    access_policy,
    access_trust,
    change_events,
    event_delivery,
    read_events,
)

METRIC_NAMESPACE = "MonoRepo/ParameterStore"
DENIED_METRIC = "DeniedAccess"
ALARM_PERIOD_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class ProgramParameter:
    """A parameter that the program owns: plain configuration, never a secret."""

    value: Input[str]
    description: str
    pattern: str | None = None
    """Regular expression that SSM holds every value against."""


@dataclass(frozen=True, kw_only=True)
class ParameterStoreArgs:
    """Parameters of one application in one environment, and their access."""

    account_id: str
    region: str
    path: str
    """What every name begins with, as in `/dev/mono-repo`."""
    parameters: Mapping[str, ProgramParameter]
    """Name below the path -> parameter."""
    key_alias: str
    role_name: str
    """Also the name of the instance profile."""
    policy_name: str
    operator_arns: Sequence[str]
    """Roles of this account that may take the access role to test it."""
    allow_write: bool
    instance_profile: bool
    oidc_provider_arn: Input[str] | None
    """The cluster's OIDC provider; None: service accounts cannot take the role."""
    service_accounts: Sequence[str]
    cross_account: Sequence[CrossAccountPrincipal]
    permissions_boundary_arn: Input[str] | None
    log_group_name: str
    log_retention_days: int
    log_key_arn: Input[str]
    alarm_actions: Sequence[Input[str]]
    key_deletion_window_days: int
    protect: bool
    """Refuse to delete the key: without it no secret can be read; False only for a teardown."""
    tags: Mapping[str, str]


class ParameterStore(ComponentResource):
    """Parameters with a key, an access role and an access log of their own."""

    key_arn: Output[str]
    """Key of the SecureStrings."""
    access_role_arn: Output[str]
    """Role that reads, and where allowed writes, the parameters."""
    instance_profile_name: Output[str] | None
    """Instance profile with the access role; None where no instance may have it."""
    log_group_name: Output[str]
    """Every access and change."""

    def __init__(
        self, name: str, args: ParameterStoreArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:ParameterStore", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._path = ParameterPath(region=args.region, account_id=args.account_id, path=args.path)

        self.key_arn = EncryptionKey(
            name,
            EncryptionKeyArgs(
                account_id=args.account_id,
                description=f"SecureString parameters below {args.path}",
                alias=args.key_alias,
                deletion_window_days=args.key_deletion_window_days,
                protect=args.protect,
                tags=args.tags,
            ),
            opts=self._child,
        ).arn
        for parameter_name, parameter in args.parameters.items():
            self._parameter(parameter_name, parameter)
        role = self._access_role()
        self.access_role_arn = role.arn
        self.instance_profile_name = self._instance_profile(role)
        self.log_group_name = self._access_log()
        self.register_outputs(
            {
                "key_arn": self.key_arn,
                "access_role_arn": self.access_role_arn,
                "instance_profile_name": self.instance_profile_name,
                "log_group_name": self.log_group_name,
            }
        )

    def _parameter(self, parameter_name: str, parameter: ProgramParameter) -> None:
        Parameter(
            f"{self._name}-{parameter_name.replace('/', '-')}",
            name=f"{self._args.path}/{parameter_name}",
            type="String",
            value=parameter.value,
            description=parameter.description,
            allowed_pattern=parameter.pattern,
            tags=self._args.tags,
            opts=self._child,
        )

    def _access_role(self) -> Role:
        args, path = self._args, self._path
        trust = Output.from_input(args.oidc_provider_arn).apply(
            lambda provider_arn: access_trust(
                operator_arns=args.operator_arns,
                ec2=args.instance_profile,
                oidc_provider_arn=provider_arn,
                service_accounts=args.service_accounts,
                cross_account=args.cross_account,
            )
        )
        role = Role(
            f"{self._name}-access",
            name=args.role_name,
            description=f"Parameters below {args.path}",
            assume_role_policy=trust,
            permissions_boundary=args.permissions_boundary_arn,
            tags=args.tags,
            opts=self._child,
        )
        RolePolicy(
            f"{self._name}-access",
            name=args.policy_name,
            role=role.name,
            policy=self.key_arn.apply(
                lambda key_arn: access_policy(path, key_arn, write=args.allow_write)
            ),
            opts=self._child,
        )
        return role

    def _instance_profile(self, role: Role) -> Output[str] | None:
        if not self._args.instance_profile:
            return None
        return InstanceProfile(
            f"{self._name}-access",
            name=self._args.role_name,
            role=role.name,
            tags=self._args.tags,
            opts=self._child,
        ).name

    def _access_log(self) -> Output[str]:
        """Send reads and changes to the log group, and raise an alarm when one is refused."""
        group = LogGroup(
            f"{self._name}-access",
            name=self._args.log_group_name,
            retention_in_days=self._args.log_retention_days,
            kms_key_id=self._args.log_key_arn,
            tags=self._args.tags,
            opts=self._child,
        )
        reads = self._rule(
            "reads",
            f"Reads below {self._args.path}",
            read_events(self._path),
            # Read-only calls are left out by every other state.
            state="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
        )
        changes = self._rule(
            "changes", f"Changes below {self._args.path}", change_events(self._path)
        )
        delivery = LogResourcePolicy(
            f"{self._name}-events",
            policy_name=f"{self._args.role_name}-events",
            policy_document=Output.all(group.arn, reads.arn, changes.arn).apply(
                lambda arns: event_delivery(arns[0], arns[1:])
            ),
            opts=self._child,
        )
        for suffix, rule in {"reads": reads, "changes": changes}.items():
            EventTarget(
                f"{self._name}-{suffix}",
                rule=rule.name,
                arn=group.arn,
                # Events that arrive before the permission are lost.
                opts=ResourceOptions(parent=self, depends_on=[delivery]),
            )
        self._denied_access_alarm(group)
        return group.name

    def _rule(
        self, suffix: str, description: str, pattern: str, state: str = "ENABLED"
    ) -> EventRule:
        return EventRule(
            f"{self._name}-{suffix}",
            description=description,
            event_pattern=pattern,
            state=state,
            tags=self._args.tags,
            opts=self._child,
        )

    def _denied_access_alarm(self, group: LogGroup) -> None:
        metric = f"{DENIED_METRIC}{self._args.path.replace('/', '-')}"
        alarm_on_log(
            f"{self._name}-denied",
            LogAlarm(
                log_group_name=group.name,
                pattern=DENIED_PATTERN,
                namespace=METRIC_NAMESPACE,
                metric=metric,
                description=f"Somebody was refused a parameter below {self._args.path}",
                period_seconds=ALARM_PERIOD_SECONDS,
                actions=self._args.alarm_actions,
                tags=self._args.tags,
            ),
            self._child,
        )

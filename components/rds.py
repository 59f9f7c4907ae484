"""Rds: PostgreSQL instances in the database subnets, reached by the cluster's nodes alone.

An instance is known to the engine by its database's name, never by what a restore changes: the
identifier and the snapshot it came from are values of it. The identifier can be changed in place,
which renames the live instance and moves its address; `ops` refuses an update that would.

Nothing here names a final snapshot of its own accord: without a name the provider refuses to
delete an instance, and a teardown gives one that is its own (see `Database`). Changes that need a
restart wait for the maintenance window; until then a refresh shows the former value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pulumi import ComponentResource, CustomTimeouts, Input, Output, Resource, ResourceOptions
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.parameter_group import ParameterGroup
from pulumi_aws.rds.subnet_group import SubnetGroup
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from components.iam_policies import policy_document, service_trust

if TYPE_CHECKING:
    from pulumi_aws.rds._inputs import ParameterGroupParameterArgsDict

ENGINE: Final = "postgres"
LIFECYCLE_SUPPORT: Final = "open-source-rds-extended-support-disabled"
"""A version is replaced at the end of its life, and not paid for ever after."""
TIMEOUT: Final = "3h"
"""How long is waited for an instance: one that is made from a large snapshot takes longer than the
provider's own 40 minutes, and what it gave up on would have to be sorted out by hand."""
CERTIFICATE_AUTHORITY: Final = "rds-ca-rsa2048-g1"
LOG_EXPORTS: Final = ("postgresql", "upgrade")
SLOW_STATEMENT_MILLISECONDS: Final = 1000
MONITORING_POLICY_ARN: Final = (
    "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
)

PARAMETERS: Final[Mapping[str, str]] = {
    "log_connections": "1",
    "log_disconnections": "1",
    "log_min_duration_statement": str(SLOW_STATEMENT_MILLISECONDS),
    "log_statement": "ddl",
    "rds.force_ssl": "1",
}
"""What differs from the engine's defaults, or must not follow them when they change."""
STATIC_PARAMETERS: Final = frozenset({"rds.force_ssl"})
"""Those that a running server takes up at its next start."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """One PostgreSQL instance; its master password is made and kept by RDS."""

    name: str
    """Names the resources: it stays when the instance behind it is another."""
    identifier: str
    """The live instance."""
    engine_version: str
    """`17` takes the newest minor when it is made, and AWS's minors afterwards; `17.4` is exact."""
    instance_class: str
    storage_gb: int
    max_storage_gb: int
    """How far storage grows by itself, GiB; no more than `storage_gb`: it does not."""
    multi_az: bool
    backup_retention_days: int
    backup_window: str
    """UTC, `03:00-04:00`."""
    maintenance_window: str
    """UTC, `sun:05:00-sun:06:00`."""
    deletion_protection: bool
    database_name: str
    username: str
    port: int
    performance_insights_days: int
    """0: off."""
    monitoring_interval_seconds: int
    """Enhanced monitoring; 0: off."""
    snapshot_identifier: str | None
    """What the instance is first made from; changing it later changes nothing."""
    final_snapshot_identifier: str | None
    """What a deletion leaves behind. None but in a teardown: the instance cannot be deleted."""
    import_identifier: str | None = None
    """An instance that is there already and is taken over instead of another being made; given by
    a restore for one update, when the former instance is out of the state: it would be deleted."""


@dataclass(frozen=True, kw_only=True)
class RdsArgs:
    """The databases of an environment and where they are."""

    account_id: str
    name_prefix: str
    """What the names of subnet and parameter groups begin with, as in `mono-repo-dev`."""
    vpc_id: Input[str]
    subnet_ids: Sequence[Input[str]]
    """Of the database tier, in two zones or more."""
    client_security_group_id: Input[str]
    """Whose members may connect, and nobody else."""
    databases: Sequence[Database]
    database_key_arn: Input[str]
    """The key itself, not its alias: RDS answers with the key, and a key cannot be changed."""
    monitoring_role_name: str
    log_retention_days: int
    log_key_arn: Input[str]
    permissions_boundary_arn: Input[str] | None
    protect: bool
    """False takes every protection off, whatever the databases say: only for a teardown."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class DatabaseInstance:
    """What others need to know of a live instance."""

    identifier: Output[str]
    """Name of the instance, as AWS's commands take it."""
    arn: Output[str]
    """ARN of the instance."""
    resource_id: Output[str]
    """What IAM policies of database users name it by: `db-…`; a rename leaves it."""
    address: Output[str]
    """Host name, without the port."""
    port: Output[int]
    """TCP port."""
    master_secret_arn: Output[str]
    """Secrets Manager secret of the master user, which RDS rotates. Empty while RDS does not keep
    the password: of a restored instance, until the update that takes it over has made it do so."""
    security_group_id: Output[str]
    """Group that guards it."""


class Rds(ComponentResource):
    """PostgreSQL instances: encrypted, logged, backed up, and closed but to the nodes."""

    instances: Mapping[str, DatabaseInstance]
    """Database name -> its instance."""

    def __init__(self, name: str, args: RdsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:Rds", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._subnets = SubnetGroup(
            name,
            name_prefix=f"{args.name_prefix}-",
            description="Databases: no way out of the VPC",
            subnet_ids=args.subnet_ids,
            tags=args.tags,
            opts=self._child,
        )
        self._monitoring = self._monitoring_role()
        self.instances = {database.name: self._database(database) for database in args.databases}
        self.register_outputs(
            {"instances": {key: vars(found) for key, found in self.instances.items()}}
        )

    def _tags(self, resource_name: str) -> dict[str, str]:
        return {**self._args.tags, "Name": f"{self._args.name_prefix}-{resource_name}"}

    def _monitoring_role(self) -> RolePolicyAttachment | None:
        """Make the role of enhanced monitoring where a database wants it."""
        if not any(item.monitoring_interval_seconds for item in self._args.databases):
            return None
        role_name = f"{self._name}-monitoring"
        role = Role(
            role_name,
            name=self._args.monitoring_role_name,
            description="Writes the operating system's metrics of database instances",
            assume_role_policy=policy_document(
                [service_trust("monitoring.rds.amazonaws.com", self._args.account_id)]
            ),
            permissions_boundary=self._args.permissions_boundary_arn,
            tags=self._args.tags,
            opts=self._child,
        )
        self._monitoring_role_arn = role.arn
        return RolePolicyAttachment(
            role_name, role=role.name, policy_arn=MONITORING_POLICY_ARN, opts=self._child
        )

    def _database(self, database: Database) -> DatabaseInstance:
        guard = self._security_group(database)
        instance = self._instance(
            database, guard, self._parameter_group(database), self._log_groups(database)
        )
        return DatabaseInstance(
            identifier=instance.identifier,
            arn=instance.arn,
            resource_id=instance.resource_id,
            address=instance.address,
            port=instance.port,
            master_secret_arn=instance.master_user_secrets.apply(
                lambda secrets: str(secrets[0].secret_arn) if secrets else ""
            ),
            security_group_id=guard.id,
        )

    def _security_group(self, database: Database) -> SecurityGroup:
        """Make the group that lets the nodes in and nothing out."""
        group_name = f"{self._name}-{database.name}"
        group = SecurityGroup(
            group_name,
            description=f"Database {database.name}: PostgreSQL from the nodes, nothing out",
            vpc_id=self._args.vpc_id,
            tags=self._tags(group_name),
            opts=self._child,
        )
        SecurityGroupIngressRule(
            f"{group_name}-nodes",
            security_group_id=group.id,
            description="PostgreSQL from the nodes",
            ip_protocol="tcp",
            from_port=database.port,
            to_port=database.port,
            referenced_security_group_id=self._args.client_security_group_id,
            tags=self._tags(f"{group_name}-nodes"),
            opts=self._child,
        )
        return group

    def _parameter_group(self, database: Database) -> ParameterGroup:
        """Make the group of the version's family.

        Its name is made up: a major upgrade makes another one first, moves the instance, and
        deletes the one that nothing uses any more.
        """
        family = parameter_group_family(database.engine_version)
        return ParameterGroup(
            f"{self._name}-{database.name}",
            name_prefix=f"{self._args.name_prefix}-{database.name}-{family}-",
            family=family,
            description=f"Database {database.name}: TLS only, connections and slow queries logged",
            parameters=[parameter(key, value) for key, value in PARAMETERS.items()],
            tags=self._args.tags,
            opts=self._child,
        )

    def _log_groups(self, database: Database) -> list[LogGroup]:
        """Make the groups before RDS does, which would keep the logs for ever and in the clear.

        What a restored database leaves behind is the evidence of why it had to be restored: those
        logs stay for their time. Only a teardown deletes them.
        """
        return [
            LogGroup(
                f"{self._name}-{database.name}-{log}",
                name=log_group_name(database.identifier, log),
                retention_in_days=self._args.log_retention_days,
                kms_key_id=self._args.log_key_arn,
                tags=self._args.tags,
                opts=ResourceOptions(parent=self, retain_on_delete=self._args.protect),
            )
            for log in LOG_EXPORTS
        ]

    def _instance(
        self,
        database: Database,
        guard: SecurityGroup,
        parameters: ParameterGroup,
        log_groups: Sequence[LogGroup],
    ) -> Instance:
        protect = self._args.protect and database.deletion_protection
        monitored = database.monitoring_interval_seconds > 0
        insights = database.performance_insights_days > 0
        grows = database.max_storage_gb > database.storage_gb
        first: list[Resource] = [*log_groups]
        if monitored and self._monitoring:
            first.append(self._monitoring)
        return Instance(
            f"{self._name}-{database.name}",
            identifier=database.identifier,
            engine=ENGINE,
            engine_version=database.engine_version,
            engine_lifecycle_support=LIFECYCLE_SUPPORT,
            auto_minor_version_upgrade=True,
            # The version is a setting that is reviewed; nothing else raises it.
            allow_major_version_upgrade=True,
            apply_immediately=False,
            instance_class=database.instance_class,
            parameter_group_name=parameters.name,
            storage_type="gp3",
            allocated_storage=database.storage_gb,
            max_allocated_storage=database.max_storage_gb if grows else 0,
            storage_encrypted=True,
            kms_key_id=self._args.database_key_arn,
            db_name=database.database_name,
            username=database.username,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=self._args.database_key_arn,
            iam_database_authentication_enabled=True,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            db_subnet_group_name=self._subnets.name,
            vpc_security_group_ids=[guard.id],
            port=database.port,
            publicly_accessible=False,
            multi_az=database.multi_az,
            backup_retention_period=database.backup_retention_days,
            backup_window=database.backup_window,
            maintenance_window=database.maintenance_window,
            copy_tags_to_snapshot=True,
            deletion_protection=protect,
            skip_final_snapshot=False,
            final_snapshot_identifier=database.final_snapshot_identifier,
            snapshot_identifier=database.snapshot_identifier,
            enabled_cloudwatch_logs_exports=LOG_EXPORTS,
            monitoring_interval=database.monitoring_interval_seconds,
            monitoring_role_arn=self._monitoring_role_arn if monitored else None,
            performance_insights_enabled=insights,
            performance_insights_retention_period=(
                database.performance_insights_days if insights else None
            ),
            performance_insights_kms_key_id=self._args.database_key_arn if insights else None,
            tags=self._args.tags,
            opts=ResourceOptions(
                parent=self,
                protect=protect,
                depends_on=first,
                ignore_changes=["snapshotIdentifier"],
                import_=database.import_identifier,
                custom_timeouts=CustomTimeouts(create=TIMEOUT, update=TIMEOUT, delete=TIMEOUT),
            ),
        )


def parameter_group_family(engine_version: str) -> str:
    """Return the family of a PostgreSQL version's parameters: `17.4` is of `postgres17`."""
    return f"{ENGINE}{engine_version.partition('.')[0]}"


def log_group_name(identifier: str, log: str) -> str:
    """Return the log group that RDS writes one of `LOG_EXPORTS` to; RDS fixes its form."""
    return f"/aws/rds/instance/{identifier}/{log}"


def parameter(name: str, value: str) -> "ParameterGroupParameterArgsDict":
    """Return an entry of a parameter group."""
    when = "pending-reboot" if name in STATIC_PARAMETERS else "immediate"
    return {"name": name, "value": value, "apply_method": when}

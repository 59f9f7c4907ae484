"""The typed model of a stack file: every key, its meaning and its default.

Models are frozen and refuse unknown keys. What can be said of one value is said by its kind;
what relates values to each other is in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.naming import Application, Environment
from infra.settings.kinds import (
    AccountId,
    AddonVersion,
    Allowed,
    AutoscalerVersion,
    AvailabilityZone,
    BackendUrl,
    CertificateArn,
    ClientCidr,
    ControlId,
    DailyWindow,
    DatabaseIdentifier,
    Date,
    EksVersion,
    Email,
    EndpointService,
    ExternalId,
    GitHubRepository,
    HttpPath,
    InstanceClass,
    InstanceType,
    LabelKey,
    LabelValue,
    MasterUser,
    Name,
    NodePort,
    NodeRelease,
    ParameterName,
    ParameterSource,
    ParameterValue,
    PostgresVersion,
    PrincipalArn,
    Region,
    RegularExpression,
    ResourceGlob,
    Retention,
    RoleName,
    SecretsProvider,
    ServiceAccountSubject,
    ServiceCidr,
    SnapshotIdentifier,
    SqlName,
    Stamp,
    TagKey,
    TagValue,
    Text,
    VpcCidr,
    WeeklyWindow,
    Word,
)

NatMode = Literal["none", "single", "per-az", "regional"]
ParameterType = Literal["String", "SecureString"]
ParameterOwner = Literal["program", "operator"]
GeneratorKind = Literal["password", "hex", "base64", "uuid"]
GroupPermissions = Literal["operations", "infrastructure", "reliability", "security"]
ServicePermissions = Literal["deployment", "monitoring", "backup", "logging"]
KubernetesRole = Literal["viewer", "editor", "operator", "administrator"]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        arbitrary_types_allowed=False,
        hide_input_in_errors=True,
    )


class Backend(_Model):
    """Where the stack's state lives and what encrypts its secrets."""

    url: BackendUrl | None = Field(
        default=None,
        description="The state backend; absent until the bootstrap has made the bucket.",
    )
    secrets_provider: SecretsProvider = Field(description="The key of the stack's secrets.")


class Network(_Model):
    """The VPC and what leaves it."""

    cidr: VpcCidr = Field(description="The VPC's range; no other environment's may overlap it.")
    availability_zones: tuple[AvailabilityZone, ...] = Field(
        min_length=3,
        max_length=4,
        description="Zones in the order of their subnets: append, never reorder.",
    )
    nat: NatMode = Field(
        description="NAT gateways: none, one for all zones, one a zone, or a regional one."
    )
    interface_endpoints: tuple[EndpointService, ...] = Field(
        default=(), description="AWS services reached by interface endpoints; each costs per zone."
    )
    flow_log_retention_days: Retention = Field(description="How long flow logs are kept.")


class Taint(_Model):
    """A taint of a node group's nodes."""

    key: LabelKey = Field(description="The taint's key.")
    value: LabelValue = Field(default="", description="The taint's value.")
    effect: Literal["NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"] = Field(
        description="What it does, as EKS spells it."
    )


class NodeGroup(_Model):
    """A managed node group."""

    name: Name = Field(description="The group's name.")
    instance_types: tuple[InstanceType, ...] = Field(
        min_length=1, max_length=20, description="What its nodes may be, the preferred first."
    )
    ami_type: Literal["AL2023_ARM_64_STANDARD", "AL2023_x86_64_STANDARD"] = Field(
        default="AL2023_ARM_64_STANDARD",
        description="The nodes' image; it must fit the instance types.",
    )
    release: NodeRelease | None = Field(
        default=None,
        description="The image's release; absent: the newest when the group is made, then kept.",
    )
    capacity: Literal["ON_DEMAND", "SPOT"] = Field(
        default="ON_DEMAND", description="How the nodes are bought."
    )
    min_size: int = Field(ge=0, le=450, description="The fewest nodes.")
    desired_size: int = Field(
        ge=0, le=450, description="The nodes at first; afterwards the autoscaler's business."
    )
    max_size: int = Field(ge=1, le=450, description="The most nodes.")
    disk_gb: int = Field(
        default=50, ge=20, le=16384, description="Each node's encrypted gp3 disk, GiB."
    )
    labels: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Kubernetes labels of the nodes."
    )
    taints: tuple[Taint, ...] = Field(default=(), max_length=50, description="Taints of the nodes.")


class Eks(_Model):
    """The cluster; its private endpoint is always on."""

    version: EksVersion = Field(description="The control plane's Kubernetes version.")
    support_type: Literal["STANDARD", "EXTENDED"] = Field(
        default="STANDARD",
        description="After standard support: upgraded by AWS (STANDARD) or paid for (EXTENDED).",
    )
    service_cidr: ServiceCidr = Field(
        default="172.20.0.0/16", description="The range of Kubernetes services; outside every VPC."
    )
    public_access: bool = Field(
        default=False, description="Whether the endpoint is public as well."
    )
    public_access_cidrs: tuple[ClientCidr, ...] = Field(
        default=(), max_length=40, description="Who may reach the public endpoint."
    )
    log_retention_days: Retention = Field(description="How long control plane logs are kept.")
    deletion_protection: bool = Field(default=True, description="Whether AWS refuses to delete it.")
    addons: Mapping[Name, AddonVersion] = Field(
        description="Managed add-ons and their pinned versions."
    )
    cluster_autoscaler: AutoscalerVersion = Field(
        description="The Cluster Autoscaler's release; its minor version is the cluster's."
    )
    node_groups: tuple[NodeGroup, ...] = Field(min_length=1, description="Managed node groups.")


class Database(_Model):
    """A PostgreSQL instance; RDS manages its master password."""

    name: Name = Field(description="What settings and parameters call it.")
    identifier: DatabaseIdentifier = Field(
        description="The live instance; a restore changes this to the restored one."
    )
    engine_version: PostgresVersion = Field(description="PostgreSQL; a major takes its minors.")
    instance_class: InstanceClass = Field(description="The instance's class.")
    storage_gb: int = Field(ge=20, le=65536, description="Allocated gp3 storage, GiB.")
    max_storage_gb: int = Field(ge=20, le=65536, description="How far storage may grow, GiB.")
    multi_az: bool = Field(description="Whether a standby runs in another zone.")
    backup_retention_days: int = Field(ge=1, le=35, description="Days of point-in-time recovery.")
    backup_window: DailyWindow = Field(default="03:00-04:00", description="When backups are taken.")
    maintenance_window: WeeklyWindow = Field(
        default="sun:05:00-sun:06:00", description="When AWS may patch it."
    )
    deletion_protection: bool = Field(default=True, description="Whether RDS refuses to delete it.")
    database_name: SqlName = Field(default="mono_repo", description="The database inside it.")
    username: MasterUser = Field(default="mono_repo_admin", description="Its master user.")
    port: int = Field(default=5432, ge=1150, le=65535, description="Where it listens.")
    performance_insights_days: Literal[0, 7] = Field(
        default=7,
        description="Retention of Performance Insights; 0 turns it off. AWS ended longer ones.",
    )
    monitoring_interval_seconds: Literal[0, 1, 5, 10, 15, 30, 60] = Field(
        default=60, description="Enhanced monitoring's interval; 0 turns it off."
    )
    snapshot_identifier: SnapshotIdentifier | None = Field(
        default=None, description="The snapshot it is first made from; ignored afterwards."
    )
    import_identifier: DatabaseIdentifier | None = Field(
        default=None,
        description="A restored instance that is taken over: given by `ops restore` for one "
        "update, never in a stack file.",
    )
    stop_on_emergency: bool = Field(description="Whether an emergency stop stops it.")


class Generator(_Model):
    """How an operator-owned secret's value is made."""

    kind: GeneratorKind = Field(description="What it is made of.")
    length: int = Field(
        default=32,
        ge=16,
        le=512,
        description="Characters; for base64, random bytes; for a uuid, 36.",
    )


class Parameter(_Model):
    """An entry of the catalogue; it never holds a secret's value."""

    name: ParameterName = Field(description="The name under /{env}/{app}/.")
    type: ParameterType = Field(description="SecureString for secrets; operators own those.")
    owner: ParameterOwner = Field(
        description="program: a resource of the stack. operator: `ops params` makes and changes it."
    )
    category: Name = Field(description="What `ops params validate --category` selects by.")
    description: Text = Field(description="What it is for; shown by AWS.")
    value: ParameterValue | None = Field(
        default=None, description="A program-owned String's value."
    )
    source: ParameterSource | None = Field(
        default=None, description="In place of `value`: what the program derives it from."
    )
    initial: ParameterValue | None = Field(
        default=None,
        description="An operator-owned String's first value.",
    )
    generator: Generator | None = Field(
        default=None, description="How an operator-owned SecureString's values are made."
    )
    pattern: RegularExpression | None = Field(
        default=None, description="What every value must match."
    )
    rotation_days: int | None = Field(
        default=None, ge=1, le=365, description="The age at which a secret is due for rotation."
    )
    database: Name | None = Field(
        default=None, description="The database whose application user has this password."
    )
    restarts: tuple[Name, ...] = Field(
        default=(), description="Workloads that are restarted when it is rotated."
    )
    replicate: bool = Field(
        default=False, description="Whether it is copied to the secondary region."
    )

    @property
    def anchored_pattern(self) -> str | None:
        """The pattern as AWS is given it: a match of a part of the value would do for AWS."""
        return None if self.pattern is None else f"^(?:{self.pattern})$"


class TrustedPrincipal(_Model):
    """A principal of another account that may read the parameters."""

    arn: PrincipalArn = Field(description="Who.")
    external_id: ExternalId = Field(description="What it must show when it assumes the role.")


class ParameterAccess(_Model):
    """Who reads and writes parameters, and how long that is logged."""

    write: bool = Field(description="Whether the access role may write.")
    log_retention_days: Literal[7, 30, 90] = Field(description="How long accesses are logged.")
    instance_profile: bool = Field(description="Whether EC2 instances may take the role.")
    irsa_subjects: tuple[ServiceAccountSubject, ...] = Field(
        default=(), description="Kubernetes service accounts that may take the role."
    )
    cross_account: tuple[TrustedPrincipal, ...] = Field(
        default=(), description="Principals of other accounts that may take the role."
    )


class ParameterStore(_Model):
    """The parameter catalogue and its access."""

    access: ParameterAccess = Field(description="Who reads and writes.")
    catalogue: tuple[Parameter, ...] = Field(description="Every parameter of the application.")


class Group(_Model):
    """An IAM group of people."""

    name: Name = Field(description="Its name without the environment.")
    permissions: GroupPermissions = Field(description="What its members may do.")


class User(_Model):
    """A person with an IAM user."""

    name: Name = Field(description="Its name without the environment.")
    email: Email = Field(description="Where they are reached.")
    team: Name = Field(description="Their team.")
    groups: tuple[Name, ...] = Field(
        default=(), max_length=9, description="Groups they are a member of, beside self-service."
    )


class ServiceAccount(_Model):
    """A machine with an IAM user."""

    name: Name = Field(description="Its name without environment and `-service`.")
    permissions: ServicePermissions = Field(description="What it may do.")
    key_rotation_days: int = Field(
        default=90, ge=1, le=90, description="The age its key is replaced at."
    )


class GroupAccess(_Model):
    """What the members of an IAM group may do in the cluster."""

    group: Name = Field(description="The IAM group.")
    role: KubernetesRole = Field(description="What its members may do.")
    namespaces: tuple[Name, ...] = Field(
        default=(), description="Where; nowhere named means the whole cluster."
    )


class KubernetesServiceAccount(_Model):
    """A service account in the cluster that is not a workload's own."""

    name: Name = Field(description="Its name.")
    namespace: Name = Field(description="Its namespace.")
    role: KubernetesRole = Field(description="What it may do in its namespace.")


class Kubernetes(_Model):
    """Access to the cluster."""

    access: tuple[GroupAccess, ...] = Field(default=(), description="Groups of people.")
    service_accounts: tuple[KubernetesServiceAccount, ...] = Field(
        default=(), description="Service accounts beside the workloads' own."
    )


class Workload(_Model):
    """An application in the cluster."""

    name: Name = Field(description="Its name; behind the load balancer also its host name.")
    namespace: Name = Field(description="Its Kubernetes namespace.")
    application: Application = Field(description="Whose image it runs.")
    deployments: tuple[Name, ...] = Field(
        min_length=1, description="Its Deployments, the first one serving."
    )
    replicas: int = Field(ge=1, le=100, description="Pods of each Deployment.")
    port: int = Field(default=8080, ge=1, le=65535, description="Where its pods listen.")
    node_port: NodePort | None = Field(
        default=None,
        description="Its fixed port on every node; absent: not behind the load balancer.",
    )
    health_path: HttpPath = Field(default="/health", description="What the health check asks for.")
    service_account: Name = Field(description="The Kubernetes service account of its pods.")


class LoadBalancer(_Model):
    """The internal load balancer."""

    certificate_arn: CertificateArn | None = Field(
        default=None, description="The certificate it serves; absent: HTTP inside the VPC only."
    )
    client_cidrs: tuple[ClientCidr, ...] = Field(
        default=(), max_length=5, description="Who may reach it beside the VPC itself."
    )
    deletion_protection: bool = Field(default=True, description="Whether AWS refuses to delete it.")


class Budget(_Model):
    """The account's monthly budget."""

    limit_usd: int = Field(ge=1, le=10_000_000, description="US dollars a month.")
    alert_percents: tuple[int, ...] = Field(
        default=(80, 100),
        min_length=1,
        max_length=5,
        description="When to tell, percent of the limit.",
    )
    recipients: tuple[Email, ...] = Field(
        min_length=1,
        max_length=10,
        description="Whom to tell, of costs and of what the account's audit trail shows.",
    )


class Account(_Model):
    """What exists once per account; the environments of one account agree on it."""

    audit_log_retention_days: Retention = Field(
        default=365,
        description="How long the audit trail is kept for searching; its files are kept longer.",
    )
    github_repository: GitHubRepository | None = Field(
        default=None,
        description="Whose GitHub Actions may preview and deploy; absent: no repository's.",
    )


class Alarms(_Model):
    """Where alarms go."""

    recipients: tuple[Email, ...] = Field(min_length=1, max_length=10, description="Whom to tell.")


class Deployment(_Model):
    """Who may deploy, and how long a mistake can be undone."""

    trusted_principals: tuple[PrincipalArn, ...] = Field(
        default=(),
        description="Who may assume the deploy role; none named leaves it to the account's IAM.",
    )
    approver_roles: tuple[RoleName, ...] = Field(
        default=(),
        max_length=20,
        description="Roles whose sessions may run and approve what needs a second approval, beside "
        "IAM users and sessions of IAM Identity Center. Their trust policies have to force the "
        "session's name (sts:RoleSessionName) to be that of whoever takes them: else one person "
        "is two.",
    )
    key_deletion_window_days: int = Field(
        default=30, ge=7, le=30, description="Days a deleted KMS key can be brought back."
    )


class Waiver(_Model):
    """A control that does not hold, why, and until when."""

    control: ControlId = Field(description="The control.")
    resource: ResourceGlob = Field(description="The resources it does not hold for.")
    reason: Annotated[Text, Field(min_length=20), Allowed("one line of 20 characters or more")] = (
        Field(description="Why that is accepted.")
    )
    until: Date = Field(description="The last day it is accepted.")


class Settings(_Model):
    """Everything that declares how one environment differs from another."""

    environment: Environment = Field(
        description="The stack's name; it comes from the file's name, never from its content."
    )
    account_id: AccountId = Field(description="The AWS account of the environment.")
    region: Region = Field(description="Where everything is made.")
    secondary_region: Region = Field(description="Where copies for disaster recovery go.")
    owner: Word = Field(description="Who answers for it: the tag `owner`.")
    cost_center: Word = Field(description="Who pays for it: the tag `cost-center`.")
    tags: Mapping[TagKey, TagValue] = Field(
        default_factory=dict, description="Further tags on everything."
    )
    deletion_protection: bool = Field(
        default=True,
        description="Whether what holds data refuses to be deleted or replaced, by Pulumi and by "
        "AWS. False only for a teardown: buckets and repositories then go with their content.",
    )
    final_snapshot_stamp: Stamp | None = Field(
        default=None,
        description="When a teardown began: the end of the names of its databases' last snapshots.",
    )
    backend: Backend = Field(description="State and secrets of the stack.")
    deployment: Deployment = Field(default=Deployment(), description="Who may deploy.")
    network: Network = Field(description="The VPC.")
    eks: Eks = Field(description="The cluster.")
    databases: tuple[Database, ...] = Field(description="PostgreSQL instances.")
    parameters: ParameterStore = Field(description="The Parameter Store.")
    groups: tuple[Group, ...] = Field(default=(), description="IAM groups of people.")
    users: tuple[User, ...] = Field(default=(), description="People.")
    service_accounts: tuple[ServiceAccount, ...] = Field(default=(), description="Machines.")
    kubernetes: Kubernetes = Field(default=Kubernetes(), description="Access to the cluster.")
    workloads: tuple[Workload, ...] = Field(default=(), description="Applications in the cluster.")
    load_balancer: LoadBalancer = Field(
        default=LoadBalancer(), description="The internal load balancer."
    )
    budget: Budget = Field(description="The monthly budget.")
    account: Account = Field(default=Account(), description="What exists once per account.")
    alarms: Alarms = Field(description="Where alarms go.")
    waivers: tuple[Waiver, ...] = Field(default=(), description="Controls that do not hold.")

"""What the components of an environment are given: the settings, and what other components made.

`stacks.environment` says which component is wired to which; here is what of it each one takes.
"""

from __future__ import annotations

from pulumi import Input

from components.alarm_rules import Watched, WatchedCluster, WatchedDatabase, WatchedLoadBalancer
from components.alarm_topic import AlarmTopic, AlarmTopicArgs
from components.alarms import AlarmsArgs
from components.cidr import Tier
from components.cluster_addons import OBSERVABILITY
from components.database_restop import DatabaseRestopArgs
from components.eks_cluster import EksCluster, EksClusterArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.iam_policies import key_for_logs, key_for_service
from components.iam_users import IamUsersArgs
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.network import Network, NetworkArgs
from components.parameter_access import CrossAccountPrincipal
from components.parameter_store import ParameterStore, ParameterStoreArgs
from components.rbac_bindings import RbacBindingsArgs
from components.rds import Rds, RdsArgs
from infra import naming
from infra.settings import Settings
from stacks import cluster_access, databases, names, people, workloads
from stacks.catalogue import parameter_sources, program_parameters


def logs_key(settings: Settings) -> EncryptionKeyArgs:
    """Return the key of log groups and alarm messages."""
    account, region = settings.account_id, settings.region
    return EncryptionKeyArgs(
        account_id=account,
        description="Log groups and alarm messages",
        alias=names.logs_key_alias(settings.environment),
        deletion_window_days=settings.deployment.key_deletion_window_days,
        users=[
            key_for_logs(region, account),
            key_for_service(
                "cloudwatch.amazonaws.com", ["kms:Decrypt", "kms:GenerateDataKey*"], sid="Alarms"
            ),
        ],
        protect=settings.deletion_protection,
        tags=naming.tags(settings),
    )


def topic(settings: Settings, key: EncryptionKey) -> AlarmTopicArgs:
    """Return where alarms go."""
    return AlarmTopicArgs(
        account_id=settings.account_id,
        topic_name=names.alarm_topic(settings.environment),
        recipients=settings.alarms.recipients,
        key_arn=key.arn,
        tags=naming.tags(settings),
    )


def network(settings: Settings, key: EncryptionKey) -> NetworkArgs:
    """Return the VPC."""
    env, account = settings.environment, settings.account_id
    return NetworkArgs(
        account_id=account,
        region=settings.region,
        cidr=settings.network.cidr,
        zones={zone: slot for slot, zone in enumerate(settings.network.availability_zones)},
        nat=settings.network.nat,
        interface_endpoints=settings.network.interface_endpoints,
        database_ports=sorted({database.port for database in settings.databases}),
        client_cidrs=settings.load_balancer.client_cidrs,
        cluster_name=naming.cluster(env),
        flow_log_group_name=names.flow_log_group(env),
        flow_log_role_name=names.flow_log_role(env),
        flow_log_retention_days=settings.network.flow_log_retention_days,
        flow_log_archive_arn=f"arn:aws:s3:::{names.log_bucket(env, account)}",
        log_key_arn=key.arn,
        permissions_boundary_arn=names.boundary_arn(account, env),
        protect=settings.deletion_protection,
        tags=naming.tags(settings),
    )


def cluster(
    settings: Settings, network: Network, key: EncryptionKey, *, suspended: bool
) -> EksClusterArgs:
    """Return the cluster: in the private subnets, its logs under `key`."""
    env, account, eks = settings.environment, settings.account_id, settings.eks
    return EksClusterArgs(
        account_id=account,
        region=settings.region,
        cluster_name=naming.cluster(env),
        version=eks.version,
        support_type=eks.support_type,
        vpc_id=network.vpc_id,
        subnet_ids=list(network.subnet_ids[Tier.PRIVATE].values()),
        service_cidr=eks.service_cidr,
        public_access_cidrs=eks.public_access_cidrs if eks.public_access else (),
        log_group_name=naming.cluster_log_group(env),
        log_retention_days=eks.log_retention_days,
        log_key_arn=key.arn,
        secrets_key_alias=names.cluster_secrets_key_alias(env),
        volumes_key_alias=names.cluster_volumes_key_alias(env),
        key_deletion_window_days=settings.deployment.key_deletion_window_days,
        deploy_role_arn=naming.deploy_role_arn(account, env),
        permissions_boundary_arn=names.boundary_arn(account, env),
        addons=eks.addons,
        node_groups=workloads.node_groups(settings, suspended=suspended),
        cluster_autoscaler_version=eks.cluster_autoscaler,
        deletion_protection=eks.deletion_protection and settings.deletion_protection,
        protect=settings.deletion_protection,
        labels=naming.CLUSTER_LABELS,
        tags=naming.tags(settings),
    )


def rds(
    settings: Settings,
    network: Network,
    cluster: EksCluster,
    key: EncryptionKey,
    *,
    database_key_arn: Input[str],
) -> RdsArgs:
    """Return the databases: reached by the cluster's nodes, their logs under `key`."""
    env, account = settings.environment, settings.account_id
    return RdsArgs(
        account_id=account,
        name_prefix=naming.prefix(env),
        vpc_id=network.vpc_id,
        subnet_ids=list(network.subnet_ids[Tier.DATABASE].values()),
        client_security_group_id=cluster.node_security_group_id,
        databases=databases.databases(settings),
        database_key_arn=database_key_arn,
        monitoring_role_name=names.database_monitoring_role(env),
        log_retention_days=settings.eks.log_retention_days,
        log_key_arn=key.arn,
        permissions_boundary_arn=names.boundary_arn(account, env),
        protect=settings.deletion_protection,
        tags=naming.tags(settings),
    )


def restop(
    settings: Settings, rds: Rds, topic: AlarmTopic, *, suspended: bool
) -> DatabaseRestopArgs:
    """Return what keeps the databases stopped that a stop may stop."""
    env, account = settings.environment, settings.account_id
    return DatabaseRestopArgs(
        account_id=account,
        region=settings.region,
        name=naming.database_restop(env),
        alarm_name=naming.database_restop_alarm(env),
        databases={name: rds.instances[name].identifier for name in databases.stoppable(settings)},
        suspended=suspended,
        permissions_boundary_arn=names.boundary_arn(account, env),
        alarm_actions=[topic.arn],
        tags=naming.tags(settings),
    )


def parameters(
    settings: Settings,
    network: Network,
    cluster: EksCluster,
    rds: Rds,
    key: EncryptionKey,
    topic: AlarmTopic,
) -> ParameterStoreArgs:
    """Return the parameters that the program owns, and who reads all of them."""
    env, account, access = settings.environment, settings.account_id, settings.parameters.access
    sources = parameter_sources(
        settings,
        vpc_id=network.vpc_id,
        database_hosts={name: made.address for name, made in rds.instances.items()},
    )
    return ParameterStoreArgs(
        account_id=account,
        region=settings.region,
        path=naming.parameter_path(env),
        parameters=program_parameters(settings.parameters.catalogue, sources),
        key_alias=naming.parameter_key_alias(env),
        key_deletion_window_days=settings.deployment.key_deletion_window_days,
        protect=settings.deletion_protection,
        role_name=naming.parameter_access_role(env),
        policy_name=naming.PARAMETER_READ_POLICY,
        operator_arns=[naming.deploy_role_arn(account, env)],
        allow_write=access.write,
        instance_profile=access.instance_profile,
        oidc_provider_arn=cluster.oidc_provider_arn,
        service_accounts=access.irsa_subjects,
        cross_account=[
            CrossAccountPrincipal(arn=principal.arn, external_id=principal.external_id)
            for principal in access.cross_account
        ],
        permissions_boundary_arn=names.boundary_arn(account, env),
        log_group_name=naming.parameter_log_group(env),
        log_retention_days=access.log_retention_days,
        log_key_arn=key.arn,
        alarm_actions=[topic.arn],
        tags=naming.tags(settings),
    )


def users(settings: Settings) -> IamUsersArgs:
    """Return the people and the machines."""
    env, account = settings.environment, settings.account_id
    return IamUsersArgs(
        account_id=account,
        everyone=people.everyone(settings),
        groups=people.groups(settings),
        service_groups=people.service_groups(settings),
        people=people.people(settings),
        service_accounts=people.service_accounts(settings),
        people_path=naming.people_path(env),
        services_path=naming.services_path(env),
        permissions_boundary_arn=names.people_boundary_arn(account, env),
        secret_recovery_days=people.SECRET_RECOVERY_DAYS,
        key_alias=names.access_keys_key_alias(env),
        key_deletion_window_days=settings.deployment.key_deletion_window_days,
        protect=settings.deletion_protection,
        tags=naming.tags(settings),
    )


def access(
    settings: Settings, cluster: EksCluster, parameters: ParameterStore, topic: AlarmTopic
) -> RbacBindingsArgs:
    """Return who may do what in the cluster, and what runs there."""
    env, account = settings.environment, settings.account_id
    return RbacBindingsArgs(
        account_id=account,
        region=settings.region,
        cluster_name=naming.cluster(env),
        kubernetes_version=settings.eks.version,
        control_plane=cluster.control_plane,
        audit_log_group_name=cluster.log_group_name,
        role_prefix=naming.PROJECT,
        groups=cluster_access.people_groups(settings),
        break_glass=cluster_access.break_glass(settings),
        people_arns=[names.people_arns(account, env)],
        namespaces=cluster_access.inhabitants(settings, parameters.access_role_arn),
        permissions_boundary_arn=names.boundary_arn(account, env),
        alarm_actions=[topic.arn],
        labels=naming.CLUSTER_LABELS,
        tags=naming.tags(settings),
    )


def balancer(settings: Settings, network: Network, cluster: EksCluster) -> LoadBalancerArgs:
    """Return the way in: from inside the VPC to ports on the cluster's nodes."""
    return LoadBalancerArgs(
        region=settings.region,
        vpc_id=network.vpc_id,
        vpc_cidr=settings.network.cidr,
        subnet_ids=network.subnet_ids[Tier.PRIVATE],
        client_cidrs=settings.load_balancer.client_cidrs,
        workloads=workloads.balanced(settings),
        domain=naming.DOMAIN,
        node_security_group_id=cluster.node_security_group_id,
        autoscaling_group_names=cluster.autoscaling_group_names,
        node_groups=cluster.node_groups,
        certificate_arn=settings.load_balancer.certificate_arn,
        log_bucket=names.log_bucket(settings.environment, settings.account_id),
        deletion_protection=settings.load_balancer.deletion_protection,
        protect=settings.deletion_protection,
        tags=naming.tags(settings),
    )


def alarms(
    settings: Settings,
    network: Network,
    cluster: EksCluster,
    rds: Rds,
    balancer: LoadBalancer,
    topic: AlarmTopic,
    *,
    suspended: bool,
) -> AlarmsArgs:
    """Return what is watched, and who is told."""
    return AlarmsArgs(
        name_prefix=naming.prefix(settings.environment),
        topic_arn=topic.arn,
        watched=Watched(
            load_balancer=WatchedLoadBalancer(
                arn_suffix=balancer.arn_suffix,
                target_group_arn_suffixes=balancer.target_group_arn_suffixes,
                certificate_arn=settings.load_balancer.certificate_arn,
            ),
            cluster=WatchedCluster(
                cluster_name=naming.cluster(settings.environment),
                autoscaling_group_names=cluster.autoscaling_group_names,
                container_insights=OBSERVABILITY in settings.eks.addons,
            ),
            databases={
                database.name: WatchedDatabase(
                    identifier=rds.instances[database.name].identifier,
                    instance_class=database.instance_class,
                    storage_gb=database.storage_gb,
                )
                for database in settings.databases
            },
            nat_gateway_ids=network.nat_gateway_ids,
        ),
        notify=not suspended,
        tags=naming.tags(settings),
    )

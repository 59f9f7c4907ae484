"""An environment: every component of it, and how they are wired, on one page."""

from __future__ import annotations

from pulumi import InvokeOptions, Output, ResourceOptions, RunError
from pulumi_aws.kms.get_alias import get_alias
from pulumi_aws.provider import Provider

from components.alarm_topic import AlarmTopic
from components.alarms import Alarms
from components.database_restop import DatabaseRestop
from components.eks_cluster import EksCluster
from components.encryption_key import EncryptionKey
from components.iam_users import IamUsers
from components.load_balancer import LoadBalancer
from components.network import Network
from components.parameter_store import ParameterStore
from components.rbac_bindings import RbacBindings
from components.rds import Rds
from infra import naming
from infra.settings import Settings
from stacks import arguments, databases
from stacks.outputs import EnvironmentOutputs


def build(settings: Settings, aws: Provider, *, suspended: bool) -> EnvironmentOutputs[Output[str]]:
    """Build everything an environment is made of; suspended, it rests and does not page."""
    on_aws = ResourceOptions(providers=[aws])
    database_key_arn = database_key(settings, aws)

    logs_key = EncryptionKey("logs", arguments.logs_key(settings), on_aws)
    topic = AlarmTopic("alarms", arguments.topic(settings, logs_key), on_aws)
    network = Network("network", arguments.network(settings, logs_key), on_aws)
    cluster = EksCluster(
        "cluster", arguments.cluster(settings, network, logs_key, suspended=suspended), on_aws
    )
    rds = Rds(
        "databases",
        arguments.rds(settings, network, cluster, logs_key, database_key_arn=database_key_arn),
        on_aws,
    )
    if databases.stoppable(settings):
        DatabaseRestop(
            "restop", arguments.restop(settings, rds, topic, suspended=suspended), on_aws
        )
    parameters = ParameterStore(
        "parameters",
        arguments.parameters(settings, network, cluster, rds, logs_key, topic),
        on_aws,
    )
    users = IamUsers("users", arguments.users(settings), on_aws)
    access = RbacBindings(
        "access",
        arguments.access(settings, cluster, parameters, topic),
        ResourceOptions(providers=[aws, cluster.provider]),
    )
    balancer = LoadBalancer("balancer", arguments.balancer(settings, network, cluster), on_aws)
    Alarms(
        "watch",
        arguments.alarms(settings, network, cluster, rds, balancer, topic, suspended=suspended),
        on_aws,
    )

    return EnvironmentOutputs(
        account_id=settings.account_id,
        region=settings.region,
        vpc_id=network.vpc_id,
        vpc_cidr=network.cidr,
        subnet_ids={tier.value: zones for tier, zones in network.subnet_ids.items()},
        nat_public_ips=network.nat_public_ips,
        endpoint_security_group_id=network.endpoint_security_group_id,
        cluster_name=cluster.name,
        cluster_endpoint=cluster.endpoint,
        cluster_log_group=cluster.log_group_name,
        autoscaling_groups=cluster.autoscaling_group_names,
        cluster_role_arns={**access.role_arns, naming.BREAK_GLASS: access.break_glass_role_arn},
        database_identifiers={name: made.identifier for name, made in rds.instances.items()},
        database_addresses={name: made.address for name, made in rds.instances.items()},
        master_secret_arns={name: made.master_secret_arn for name, made in rds.instances.items()},
        load_balancer=balancer.dns_name,
        hostnames=balancer.hostnames,
        user_names=users.user_names,
        access_key_secret_arns=users.secret_arns,
        parameter_path=naming.parameter_path(settings.environment),
        parameter_key_arn=parameters.key_arn,
        parameter_access_role_arn=parameters.access_role_arn,
        parameter_instance_profile=parameters.instance_profile_name,
        parameter_log_group=parameters.log_group_name,
        alarm_topic_arn=topic.arn,
        logs_key_arn=logs_key.arn,
    )


def database_key(settings: Settings, aws: Provider) -> str:
    """Look up the ARN of the bootstrap's key for databases: RDS takes no alias for it.

    Raises `pulumi.RunError` where it cannot be found.
    """
    alias = naming.databases_key_alias(settings.environment)
    try:
        return get_alias(name=alias, opts=InvokeOptions(provider=aws)).target_key_arn
    except Exception as error:  # noqa: BLE001 - the SDK raises nothing more particular
        raise RunError(
            f"{alias}, the key of databases that the bootstrap of {settings.environment} makes, "
            f"could not be looked up ({str(error).rstrip('.')}). Nothing was changed. Where there "
            f"is no bootstrap yet, bring it up first: ops up {settings.environment} --stack "
            "bootstrap, or with the sandbox: ops sandbox start " + settings.environment
        ) from None

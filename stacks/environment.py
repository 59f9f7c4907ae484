"""An environment: every component of it, and how they are wired, on one page."""

from __future__ import annotations

from pulumi import Input, Output, ResourceOptions
from pulumi_aws.provider import Provider

from components.alarm_topic import AlarmTopic, AlarmTopicArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.iam_policies import key_for_logs, key_for_service
from components.network import Network, NetworkArgs
from components.parameter_access import CrossAccountPrincipal
from components.parameter_store import ParameterStore, ParameterStoreArgs
from infra import naming
from infra.settings import Settings
from stacks import names
from stacks.catalogue import parameter_sources, program_parameters
from stacks.outputs import EnvironmentOutputs

KEY_DELETION_WINDOW_DAYS = 30


def build(settings: Settings, aws: Provider) -> EnvironmentOutputs[Output[str]]:
    """Build everything an environment is made of."""
    env, account, region = settings.environment, settings.account_id, settings.region
    tags = naming.tags(settings)
    boundary = names.boundary_arn(account, env)
    on_aws = ResourceOptions(providers=[aws])

    logs_key = EncryptionKey(
        "logs",
        EncryptionKeyArgs(
            account_id=account,
            description="Log groups and alarm messages",
            alias=names.logs_key_alias(env),
            deletion_window_days=KEY_DELETION_WINDOW_DAYS,
            users=[
                key_for_logs(region, account),
                key_for_service(
                    "cloudwatch.amazonaws.com",
                    ["kms:Decrypt", "kms:GenerateDataKey*"],
                    sid="Alarms",
                ),
            ],
            protect=settings.deletion_protection,
            tags=tags,
        ),
        opts=on_aws,
    )
    alarms = AlarmTopic(
        "alarms",
        AlarmTopicArgs(
            account_id=account,
            topic_name=names.alarm_topic(env),
            recipients=settings.alarms.recipients,
            key_arn=logs_key.arn,
            tags=tags,
        ),
        opts=on_aws,
    )
    network = Network(
        "network",
        NetworkArgs(
            account_id=account,
            region=region,
            cidr=settings.network.cidr,
            zones={zone: slot for slot, zone in enumerate(settings.network.availability_zones)},
            nat=settings.network.nat,
            interface_endpoints=settings.network.interface_endpoints,
            database_ports=sorted({database.port for database in settings.databases}),
            cluster_name=naming.cluster(env),
            flow_log_group_name=names.flow_log_group(env),
            flow_log_role_name=names.flow_log_role(env),
            flow_log_retention_days=settings.network.flow_log_retention_days,
            flow_log_archive_arn=f"arn:aws:s3:::{names.log_bucket(env, account)}",
            log_key_arn=logs_key.arn,
            permissions_boundary_arn=boundary,
            protect=settings.deletion_protection,
            tags=tags,
        ),
        opts=on_aws,
    )
    sources: dict[str, Input[str]] = parameter_sources(settings, vpc_id=network.vpc_id)
    access = settings.parameters.access
    parameters = ParameterStore(
        "parameters",
        ParameterStoreArgs(
            account_id=account,
            region=region,
            path=naming.parameter_path(env),
            parameters=program_parameters(settings.parameters.catalogue, sources),
            key_alias=naming.parameter_key_alias(env),
            key_deletion_window_days=KEY_DELETION_WINDOW_DAYS,
            protect=settings.deletion_protection,
            role_name=naming.parameter_access_role(env),
            policy_name=naming.PARAMETER_READ_POLICY,
            operator_arns=[naming.deploy_role_arn(account, env)],
            allow_write=access.write,
            instance_profile=access.instance_profile,
            oidc_provider_arn=None,
            service_accounts=access.irsa_subjects,
            cross_account=[
                CrossAccountPrincipal(arn=principal.arn, external_id=principal.external_id)
                for principal in access.cross_account
            ],
            permissions_boundary_arn=boundary,
            log_group_name=naming.parameter_log_group(env),
            log_retention_days=access.log_retention_days,
            log_key_arn=logs_key.arn,
            alarm_actions=[alarms.arn],
            tags=tags,
        ),
        opts=on_aws,
    )
    return EnvironmentOutputs(
        account_id=account,
        region=region,
        vpc_id=network.vpc_id,
        vpc_cidr=network.cidr,
        subnet_ids={tier.value: zones for tier, zones in network.subnet_ids.items()},
        nat_public_ips=network.nat_public_ips,
        endpoint_security_group_id=network.endpoint_security_group_id,
        parameter_path=naming.parameter_path(env),
        parameter_key_arn=parameters.key_arn,
        parameter_access_role_arn=parameters.access_role_arn,
        parameter_instance_profile=parameters.instance_profile_name,
        parameter_log_group=parameters.log_group_name,
        alarm_topic_arn=alarms.arn,
        logs_key_arn=logs_key.arn,
    )

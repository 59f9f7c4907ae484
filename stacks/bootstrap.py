"""The bootstrap stack of an environment: the program that `ops bootstrap` runs inline."""

from __future__ import annotations

from pulumi import Output, ResourceOptions

from components.bootstrap import Bootstrap, BootstrapArgs
from components.deploy_policies import DeployScope
from components.people_policies import group_policy, self_service_policy, service_policy
from infra import naming
from infra.providers import bootstrap_provider, bootstrap_secondary_provider
from infra.settings import Group, Settings
from stacks import names
from stacks.outputs import BootstrapOutputs


def build(settings: Settings) -> BootstrapOutputs[Output[str]]:
    """Build what must outlive the environment."""
    env, account = settings.environment, settings.account_id
    scope = deploy_scope(settings)
    bootstrap = Bootstrap(
        "bootstrap",
        BootstrapArgs(
            scope=scope,
            state_bucket_prefix=naming.state_bucket(env),
            backup_bucket_prefix=naming.backup_bucket(env),
            log_bucket_name=names.log_bucket(env, account),
            lock_table_name=naming.lock_table(env),
            state_key_alias=naming.state_key_alias(env),
            databases_key_alias=naming.databases_key_alias(env),
            backups_key_alias=naming.backups_key_alias(env),
            images_key_alias=names.images_key_alias(env),
            replicas_key_alias=names.replicas_key_alias(env),
            secondary_provider=bootstrap_secondary_provider(settings),
            repositories=naming.repositories(env),
            deployers=settings.deployment.trusted_principals or [naming.account_arn(account)],
            group_policies=group_policies(settings, scope),
            key_deletion_window_days=settings.deployment.key_deletion_window_days,
            protect=settings.deletion_protection,
            tags=naming.tags(settings),
        ),
        opts=ResourceOptions(providers=[bootstrap_provider(settings)]),
    )
    return BootstrapOutputs(
        account_id=account,
        region=settings.region,
        state_bucket=bootstrap.state_bucket,
        backup_bucket=bootstrap.backup_bucket,
        log_bucket=bootstrap.log_bucket,
        lock_table=bootstrap.lock_table,
        key_arns=bootstrap.key_arns,
        repository_urls=bootstrap.repository_urls,
        deploy_role_arn=bootstrap.deploy_role_arn,
        boundary_arn=bootstrap.boundary_arn,
        people_boundary_arn=bootstrap.people_boundary_arn,
        group_policy_arns=bootstrap.group_policy_arns,
    )


def deploy_scope(settings: Settings) -> DeployScope:
    """Return what the environment's deploy role and everybody in it is limited to."""
    env = settings.environment
    return DeployScope(
        environment=env,
        project=naming.PROJECT,
        account_id=settings.account_id,
        regions=(settings.region, settings.secondary_region),
        deploy_role_name=naming.deploy_role(env),
        boundary_name=names.boundary(env),
        people_boundary_name=names.people_boundary(env),
        group_policy_prefix=names.group_policy_prefix(env),
        people_path=naming.people_path(env),
        services_path=naming.services_path(env),
        audit_log_group=naming.AUDIT_LOG_GROUP,
        approvals_path=naming.approvals_path(env),
        foundation_key_aliases=[
            naming.state_key_alias(env),
            naming.databases_key_alias(env),
            naming.backups_key_alias(env),
            names.images_key_alias(env),
            names.replicas_key_alias(env),
        ],
    )


def group_policies(settings: Settings, scope: DeployScope) -> dict[str, str]:
    """Return what each group of people and of machines may do: group -> policy as JSON text."""
    policies = {names.SELF_SERVICE: self_service_policy(scope)}
    for group in settings.groups:
        policies[group.name] = group_policy(
            scope,
            group.permissions,
            cluster_role_arns=_cluster_roles(settings, group),
            write_parameters=settings.parameters.access.write,
        )
    for permissions in sorted({machine.permissions for machine in settings.service_accounts}):
        policies[names.service_group(permissions)] = service_policy(scope, permissions)
    return policies


def _cluster_roles(settings: Settings, group: Group) -> list[str]:
    """Return the roles by which a group reaches the cluster.

    Who manages infrastructure can become the deploy role, which is the cluster's administrator:
    break-glass gives them no more, but says so in the cluster's audit log.
    """
    roles = [access.group for access in settings.kubernetes.access if access.group == group.name]
    if group.permissions == "infrastructure":
        roles.append(naming.BREAK_GLASS)
    return [
        naming.role_arn(settings.account_id, naming.kubernetes_role(settings.environment, role))
        for role in roles
    ]

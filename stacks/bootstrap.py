"""The bootstrap stack of an environment: the program that `ops bootstrap` runs inline."""

from __future__ import annotations

from pulumi import Output, ResourceOptions

from components.bootstrap import Bootstrap, BootstrapArgs
from components.deploy_policies import DeployScope
from infra import naming
from infra.providers import bootstrap_provider, bootstrap_secondary_provider
from infra.settings import Settings
from stacks import names
from stacks.outputs import BootstrapOutputs

KEY_DELETION_WINDOW_DAYS = 30


def build(settings: Settings) -> BootstrapOutputs[Output[str]]:
    """Build what must outlive the environment."""
    env, account = settings.environment, settings.account_id
    bootstrap = Bootstrap(
        "bootstrap",
        BootstrapArgs(
            scope=DeployScope(
                environment=env,
                project=naming.PROJECT,
                account_id=account,
                regions=(settings.region, settings.secondary_region),
                deploy_role_name=naming.deploy_role(env),
                boundary_name=names.boundary(env),
                foundation_key_aliases=[
                    naming.state_key_alias(env),
                    naming.databases_key_alias(env),
                    naming.backups_key_alias(env),
                    names.images_key_alias(env),
                    names.replicas_key_alias(env),
                ],
            ),
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
            key_deletion_window_days=KEY_DELETION_WINDOW_DAYS,
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
    )

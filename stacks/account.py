"""The account stack: the program that `ops up ENV --stack account` runs inline.

What exists once per account, however many environments live in it: they share the audit trail,
the budget, the account's defaults, and GitHub as an identity provider.
"""

from __future__ import annotations

from collections.abc import Sequence

from pulumi import Output, ResourceOptions

from components.account_defaults import AccountDefaults, AccountDefaultsArgs
from components.alarm_topic import AlarmTopic, AlarmTopicArgs
from components.audit_trail import AuditTrail, AuditTrailArgs, key_for_trail, trail_arn
from components.budget import MonthlyBudget, MonthlyBudgetArgs
from components.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.github_oidc import DeployTarget, GitHubAccess, GitHubAccessArgs
from components.iam_policies import key_for_logs, key_for_service
from infra import naming
from infra.providers import account_provider, account_secondary_provider
from infra.settings import Settings
from stacks import names
from stacks.outputs import AccountOutputs


def build(environments: Sequence[Settings]) -> AccountOutputs[Output[str]]:
    """Build what the environments of one account share.

    `environments` are all that live in the account; what they share, they agree on
    (`check_fleet`). Raises ValueError for environments of several accounts.
    """
    if len({settings.account_id for settings in environments}) != 1:
        raise ValueError("an account stack is made for the environments of exactly one account")
    shared = environments[0]
    account, region = shared.account_id, shared.region
    tags = naming.account_tags(shared)
    # As long as one of the environments is kept, so is the record of what was done to it.
    protect = any(settings.deletion_protection for settings in environments)
    key_window = max(settings.deployment.key_deletion_window_days for settings in environments)
    on_aws = ResourceOptions(providers=[account_provider(shared)])

    key = EncryptionKey(
        "audit",
        EncryptionKeyArgs(
            account_id=account,
            description="The audit trail, its alarms and the budget's alerts",
            alias=names.AUDIT_KEY_ALIAS,
            deletion_window_days=key_window,
            users=[
                *key_for_trail(account, trail_arn(region, account, naming.AUDIT_TRAIL)),
                key_for_logs(region, account),
                *(
                    key_for_service(
                        f"{service}.amazonaws.com",
                        ["kms:Decrypt", "kms:GenerateDataKey*"],
                        sid=sid,
                    )
                    for service, sid in (("cloudwatch", "Alarms"), ("budgets", "Budgets"))
                ),
            ],
            protect=protect,
            tags=tags,
        ),
        opts=on_aws,
    )
    alarms = AlarmTopic(
        "audit-alarms",
        AlarmTopicArgs(
            account_id=account,
            topic_name=names.AUDIT_TOPIC,
            recipients=shared.budget.recipients,
            key_arn=key.arn,
            tags=tags,
        ),
        opts=on_aws,
    )
    trail = AuditTrail(
        "audit-trail",
        AuditTrailArgs(
            account_id=account,
            region=region,
            trail_name=naming.AUDIT_TRAIL,
            log_group_name=naming.AUDIT_LOG_GROUP,
            log_retention_days=shared.account.audit_log_retention_days,
            role_name=names.AUDIT_ROLE,
            bucket_prefix=names.AUDIT_BUCKET,
            access_log_bucket_prefix=names.AUDIT_ACCESS_BUCKET,
            key_arn=key.arn,
            alarm_actions=[alarms.arn],
            protect=protect,
            tags=tags,
        ),
        opts=on_aws,
    )
    budget = MonthlyBudget(
        "budget",
        MonthlyBudgetArgs(
            account_id=account,
            budget_name=naming.BUDGET,
            limit_usd=shared.budget.limit_usd,
            alert_percents=shared.budget.alert_percents,
            recipients=shared.budget.recipients,
            topic_name=names.BUDGET_TOPIC,
            key_arn=key.arn,
            tags=tags,
        ),
        opts=on_aws,
    )
    defaults = AccountDefaults(
        "defaults",
        AccountDefaultsArgs(
            account_id=account,
            analyzer_name=names.ANALYZER,
            secondary_provider=account_secondary_provider(shared),
            tags=tags,
        ),
        opts=on_aws,
    )
    github = _github(environments, on_aws)
    return AccountOutputs(
        account_id=account,
        region=region,
        audit_key_arn=key.arn,
        audit_trail_arn=trail.trail_arn,
        audit_bucket=trail.bucket,
        audit_log_group=trail.log_group_name,
        audit_topic_arn=alarms.arn,
        budget_topic_arn=budget.topic_arn,
        analyzer_arn=defaults.analyzer_arn,
        github_provider_arn=github.provider_arn if github else None,
        preview_role_arn=github.preview_role_arn if github else None,
        github_role_arns=github.deploy_role_arns if github else None,
    )


def _github(environments: Sequence[Settings], on_aws: ResourceOptions) -> GitHubAccess | None:
    """Let a repository's GitHub Actions preview and deploy; None where none is named."""
    shared = environments[0]
    if shared.account.github_repository is None:
        return None
    return GitHubAccess(
        "github",
        GitHubAccessArgs(
            account_id=shared.account_id,
            regions=(shared.region, shared.secondary_region),
            repository=shared.account.github_repository,
            preview_role_name=naming.PREVIEW_ROLE,
            targets={
                settings.environment: DeployTarget(
                    role_name=naming.github_deploy_role(settings.environment),
                    deploy_role_arn=naming.deploy_role_arn(
                        settings.account_id, settings.environment
                    ),
                    state_bucket_prefix=naming.state_bucket(settings.environment),
                    state_key_alias=naming.state_key_alias(settings.environment),
                    parameter_path=f"/{settings.environment}",
                )
                for settings in environments
            },
            tags=naming.account_tags(shared),
        ),
        opts=on_aws,
    )

"""The people and machines of an environment: from its settings to what IamUsers takes. Pure."""

from __future__ import annotations

from components.iam_users import Person, ServiceAccount, UserGroup
from infra import naming
from infra.settings import Settings
from stacks import names

SECRET_RECOVERY_DAYS = 0
"""Nothing of an access key's secret needs to be recovered, as a key is issued anew at any time;
and whoever leaves may come back, to a name that has to be free."""


def everyone(settings: Settings) -> UserGroup:
    """Return the group that every person is a member of."""
    return _group(settings, names.SELF_SERVICE)


def groups(settings: Settings) -> list[UserGroup]:
    """Return the groups of people."""
    return [_group(settings, group.name) for group in settings.groups]


def service_groups(settings: Settings) -> list[UserGroup]:
    """Return the groups of machines, one for each kind of permissions that is used."""
    used = {account.permissions for account in settings.service_accounts}
    return [_group(settings, names.service_group(permissions)) for permissions in sorted(used)]


def people(settings: Settings) -> list[Person]:
    """Return the people."""
    env = settings.environment
    return [
        Person(
            name=user.name,
            user_name=naming.user(env, user.name),
            email=user.email,
            team=user.team,
            groups=user.groups,
            secret_name=naming.access_key_secret(env, user.name),
        )
        for user in settings.users
    ]


def service_accounts(settings: Settings) -> list[ServiceAccount]:
    """Return the machines; they are called as the runbook does: `cicd-service`."""
    env = settings.environment
    return [
        ServiceAccount(
            name=f"{account.name}-service",
            user_name=naming.service_account(env, account.name),
            group=names.service_group(account.permissions),
            secret_name=naming.access_key_secret(env, f"{account.name}-service"),
        )
        for account in settings.service_accounts
    ]


def _group(settings: Settings, name: str) -> UserGroup:
    env = settings.environment
    return UserGroup(
        name=name,
        group_name=naming.group(env, name),
        policy_arn=names.group_policy_arn(settings.account_id, env, name),
    )

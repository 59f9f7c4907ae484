"""A program with people and machines alone, shaped by its configuration."""

from __future__ import annotations

import pulumi
from pulumi_aws.provider import Provider

from components.iam_users import IamUsers, IamUsersArgs, Person, ServiceAccount, UserGroup

ACCOUNT = "888877776666"
REGION = "us-east-1"
PREFIX = "mono-repo-dev"
BOUNDARY = f"{PREFIX}-people-boundary"
GROUPS = ("self-service", "operations", "sre", "backup-services")


def policy_name(group: str) -> str:
    """Return the name of a group's policy, which is made before the program runs."""
    return f"{PREFIX}-group-{group}"


def policy_arn(name: str) -> str:
    """Return the ARN of a policy of the account."""
    return f"arn:aws:iam::{ACCOUNT}:policy/{name}"


def _group(name: str) -> UserGroup:
    return UserGroup(
        name=name, group_name=f"{PREFIX}-{name}", policy_arn=policy_arn(policy_name(name))
    )


def main() -> None:
    """Make the people that the configuration names, and one machine."""
    config = pulumi.Config()
    groups = config.get_object("groups") or ["operations"]
    users = IamUsers(
        "users",
        IamUsersArgs(
            account_id=ACCOUNT,
            everyone=_group("self-service"),
            groups=[_group("operations"), _group("sre")],
            service_groups=[_group("backup-services")],
            people=[
                Person(
                    name="jane-doe",
                    user_name=f"{PREFIX}-jane-doe",
                    email="jane.doe@company.com",
                    team="frontend",
                    groups=groups,
                    secret_name=f"{PREFIX}-access-keys-jane-doe",
                )
            ],
            service_accounts=[
                ServiceAccount(
                    name="backup-service",
                    user_name=f"{PREFIX}-backup-service",
                    group="backup-services",
                    secret_name=f"{PREFIX}-access-keys-backup-service",
                )
            ],
            people_path="/mono-repo/dev/people/",
            services_path="/mono-repo/dev/services/",
            permissions_boundary_arn=policy_arn(BOUNDARY),
            secret_recovery_days=config.get_int("recovery-days") or 0,
            key_alias=f"alias/{PREFIX}-access-keys",
            key_deletion_window_days=7,
            protect=False,
            tags={"environment": "dev", "owner": "devops"},
        ),
        opts=pulumi.ResourceOptions(
            providers=[Provider("aws", region=REGION, allowed_account_ids=[ACCOUNT])]
        ),
    )
    pulumi.export("groups", users.group_arns)
    pulumi.export("users", users.user_names)
    pulumi.export("secrets", users.secret_arns)

"""The AWS providers: each explicit, bound to one account and one region.

Nothing is left to what a shell happens to be set to: a run with another account's credentials is
refused by the provider itself. Tags are arguments of the resources, not the provider's default
tags, which show changes that are none.
"""

from __future__ import annotations

from typing import Literal

import pulumi
from pulumi_aws import ProviderAssumeRoleArgs
from pulumi_aws.provider import Provider

from infra import naming
from infra.settings import Settings

ActAs = Literal["deploy-role", "caller"]
"""As whom the environment's provider acts. A pull request's role may read, but not deploy."""


def act_as(asked: str | None, *, preview: bool) -> ActAs:
    """Decide as whom the program acts, from the configuration key `mono-repo:act-as`.

    A pull request's role may read but not assume the deploy role: its preview acts as its caller.
    Raises `pulumi.RunError` for another word, and for an update that would not be the deploy
    role's: whoever makes a cluster stays its administrator.
    """
    key = f"{naming.PROJECT}:act-as"
    match asked:
        case None | "deploy-role":
            return "deploy-role"
        case "caller" if preview:
            return "caller"
        case "caller":
            raise pulumi.RunError(
                f"{key} is caller, which only a preview may be: an update acts as the "
                "environment's deploy role. Nothing was changed. Remove the key: "
                f"pulumi config rm {key}"
            )
        case _:
            raise pulumi.RunError(
                f"{key} is {asked!r}; it may be deploy-role, or for a preview caller. "
                f"Nothing was changed. Correct the key, or remove it: pulumi config rm {key}"
            )


def home_provider(settings: Settings, act_as: ActAs = "deploy-role") -> Provider:
    """Return the environment's provider: home region, acting as the deploy role or its caller."""
    if act_as == "caller":
        return _callers("aws", settings.region, settings)
    return Provider(
        "aws",
        region=settings.region,
        allowed_account_ids=[settings.account_id],
        # Not a dict: the keys of one would reach the provider in snake case, and mean nothing.
        assume_roles=[
            ProviderAssumeRoleArgs(
                role_arn=naming.deploy_role_arn(settings.account_id, settings.environment),
                session_name=naming.prefix(settings.environment),
            )
        ],
    )


def bootstrap_provider(settings: Settings) -> Provider:
    """Return the bootstrap's provider: it makes the deploy role, so it acts as its caller."""
    return _callers("aws", settings.region, settings)


def bootstrap_secondary_provider(settings: Settings) -> Provider:
    """Return the bootstrap's provider of the region that copies go to."""
    return _callers("aws-secondary", settings.secondary_region, settings)


def account_provider(settings: Settings) -> Provider:
    """Return the account's provider: no environment's role may change what all of them share."""
    return _callers("aws", settings.region, settings)


def account_secondary_provider(settings: Settings) -> Provider:
    """Return the account's provider of the region that copies go to."""
    return _callers("aws-secondary", settings.secondary_region, settings)


def _callers(name: str, region: str, settings: Settings) -> Provider:
    """Return a provider that acts as whoever runs the program."""
    return Provider(name, region=region, allowed_account_ids=[settings.account_id])

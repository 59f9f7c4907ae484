"""The AWS providers: each explicit, bound to one account and one region.

Nothing is left to what a shell happens to be set to: a run with another account's credentials is
refused by the provider itself. Tags are arguments of the resources, not the provider's default
tags, which show changes that are none.
"""

from __future__ import annotations

from pulumi_aws import ProviderAssumeRoleArgs
from pulumi_aws.provider import Provider

from infra import naming
from infra.settings import Settings


def home_provider(settings: Settings) -> Provider:
    """Return the environment's provider: home region, acting as the deploy role."""
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
    return Provider("aws", region=settings.region, allowed_account_ids=[settings.account_id])


def bootstrap_secondary_provider(settings: Settings) -> Provider:
    """Return the bootstrap's provider of the region that copies go to."""
    return Provider(
        "aws-secondary",
        region=settings.secondary_region,
        allowed_account_ids=[settings.account_id],
    )

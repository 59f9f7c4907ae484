"""What the bootstrap of an environment has made, found by name in the environment's account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import naming
from ops.errors import IncompleteError, OpsError
from ops.journal import Bucket

if TYPE_CHECKING:
    from ops.access import Access


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What outlives the environment, as far as commands need it."""

    state_bucket: str
    backup_bucket: str
    lock_table: str


class NoFoundationError(OpsError):
    """There is no bootstrap yet, or not all of it."""


def foundation(access: Access) -> Foundation:
    """Find the bootstrap's buckets and table.

    Raises `NoFoundationError` where they are not there, `OpsError` where there are several,
    `IncompleteError` where the account's buckets cannot be listed.
    """
    env = access.environment
    names = _bucket_names(access)
    return Foundation(
        state_bucket=_one(names, naming.state_bucket(env), env),
        backup_bucket=_one(names, naming.backup_bucket(env), env),
        lock_table=naming.lock_table(env),
    )


def state_buckets(access: Access) -> list[str]:
    """Give the names of the environment's state buckets: none, one, or more than there should be.

    Raises `IncompleteError` where the account's buckets cannot be listed.
    """
    return _named(_bucket_names(access), naming.state_bucket(access.environment))


def journal_bucket(access: Access, found: Foundation) -> Bucket:
    """Give where the journals of an environment's runs are copied to."""
    return Bucket(
        client=access.client("s3"),
        name=found.state_bucket,
        account_id=access.settings.account_id,
    )


def _bucket_names(access: Access) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    prefix = naming.prefix(access.environment)
    try:
        pages = access.client("s3").get_paginator("list_buckets").paginate(Prefix=prefix)
        return [bucket["Name"] for page in pages for bucket in page.get("Buckets", [])]
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The buckets of account {access.settings.account_id} could not be listed: {error}. "
            "Nothing was done."
        ) from error


def _one(names: list[str], prefix: str, environment: str) -> str:
    found = _named(names, prefix)
    if not found:
        raise NoFoundationError(
            f"There is no bucket {prefix}-… in the account: {environment} has no bootstrap yet. "
            f"Nothing was done. Make it with: ops bootstrap {environment}"
        )
    if len(found) > 1:
        raise OpsError(
            f"There are several buckets {prefix}-…: {', '.join(found)}. Which one is the "
            "environment's cannot be told. Nothing was done. Remove what is left of a former one."
        )
    return found[0]


def _named(names: list[str], prefix: str) -> list[str]:
    # Nothing but the random end follows: the copy in the other region is called `…-replica-…`.
    return [name for name in names if re.fullmatch(f"{re.escape(prefix)}-[0-9a-z]+", name)]

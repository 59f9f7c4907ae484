"""The look back: what is still there is listed anew, and each thing is an orphan or has a reason.

It asks the cloud alone. That an engine has deleted something is no evidence that it is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ops.checks import Check
from ops.teardown import prices
from ops.teardown.listing import Inventory, Item
from ops.teardown.report import is_kept_snapshot, is_record

if TYPE_CHECKING:
    from ops.access import Access


def foundation_items(found: Inventory, access: Access) -> tuple[Item, ...]:
    """Give what of the environment's is its bootstrap's, by the names that the bootstrap gives."""
    from stacks.bootstrap import deploy_scope

    scope = deploy_scope(access.settings)
    aliases = set(scope.foundation_key_aliases)
    keys = {item.name for item in found.of("alias") if item.id in aliases}
    return tuple(item for item in found.items if _is_foundation(item, access, aliases, keys))


def _is_foundation(
    item: Item, access: Access, aliases: Collection[str], keys: Collection[str]
) -> bool:
    from infra import naming

    env = access.environment
    prefix = naming.prefix(env)
    match item.kind:
        case "bucket":
            starts = (naming.state_bucket(env), naming.backup_bucket(env), f"{prefix}-logs-")
            return item.id.startswith(starts)
        case "table":
            return item.id == naming.lock_table(env)
        case "repository":
            return item.id in naming.repositories(env).values()
        case "alias":
            return item.id in aliases
        case "key":
            return item.id in keys
        case "policy":
            return True  # a deployment can write none
        case "role":
            replica = item.id.startswith(prefix) and "-replica-" in item.id
            return item.id == naming.deploy_role(env) or replica
        case _:
            return False


def checks(
    found: Inventory,
    foundation: Sequence[Item],
    *,
    environment: str,
    kept_volumes: Collection[str] = (),
    expected: Collection[str] = (),
) -> tuple[Check, ...]:
    """Say what is still there: an orphan is a failure, what stays on purpose is told with its cost.

    `kept_volumes`: EBS volumes whose claims said that they stay. `expected`: labels of what the
    plan said it would leave alone.
    """
    base = {item.key for item in foundation}
    orphans = [
        item
        for item in found.items
        if item.key not in base and not _reason(item, environment, kept_volumes)
    ]
    retained = [item for item in found.items if item not in orphans]
    return (
        *_orphans(orphans, expected),
        *_retained(retained, base, environment, kept_volumes),
        Check(
            name="listed again",
            status="ok",
            found=f"{found.listings} listings in both regions, {found.scanned} things looked at, "
            f"{len(orphans)} left behind, {len(retained)} there on purpose",
        ),
    )


def _reason(item: Item, environment: str, kept_volumes: Collection[str]) -> str:
    """Say why something may still be there; empty: it may not."""
    if item.is_pending_deletion:
        return f"AWS deletes it on {item.raw['DeletionDate']:%Y-%m-%d}"
    if is_kept_snapshot(item):
        return "a snapshot outlives its database"
    if is_record(item, environment):
        return "a record of the operators"
    if item.kind == "volume" and item.id in kept_volumes:
        return "its claim said that it stays"
    if item.kind in ("nat gateway", "vpc endpoint") and item.raw.get("State") == "deleting":
        return "AWS is deleting it"
    return ""


def _orphans(orphans: Sequence[Item], expected: Collection[str]) -> Iterator[Check]:
    for item in orphans:
        known = " The plan said that it would be left alone." if item.label in expected else ""
        yield Check(
            name=item.label,
            status="fail",
            found=f"still there in {item.region}, about {prices.said(prices.monthly(item))}",
            expected="gone",
            remedy=f"look whose it is, and delete it.{known}",
        )
    if orphans:
        cost, unpriced = prices.total(orphans)
        yield Check(
            name="cost of what is left behind",
            status="fail",
            found=f"${cost} a month by {prices.basis()}, and {unpriced} unpriced",
            expected="$0",
        )


def _retained(
    items: Sequence[Item],
    base: Collection[tuple[str, str, str]],
    environment: str,
    kept_volumes: Collection[str],
) -> Iterator[Check]:
    others = [item for item in items if item.key not in base]
    for item in others:
        yield Check(
            name=item.label,
            status="ok",
            found=f"stays: {_reason(item, environment, kept_volumes)}; "
            f"{prices.said(prices.monthly(item))}",
        )
    kept = [item for item in items if item.key in base]
    if kept:
        cost, unpriced = prices.total(kept)
        yield Check(
            name="bootstrap",
            status="ok",
            found=f"{len(kept)} things of it stay; ${cost} a month, {unpriced} paid by use",
        )

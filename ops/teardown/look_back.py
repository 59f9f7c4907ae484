"""The look back: what is still there is listed anew, and each thing is an orphan or has a reason.

It asks the cloud alone. That an engine has deleted something is no evidence that it is gone; and
for a while AWS may go on to list what is: what is left is judged once that has had its time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ops.checks import Check
from ops.errors import CancelledError, DeadlineError
from ops.teardown import prices
from ops.teardown.listing import RETAINED, Inventory, Item
from ops.teardown.report import is_record, kept_backups

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context

SETTLE_SECONDS: Final = 300.0
"""For how long AWS may list what it has deleted."""
INTERVAL_SECONDS: Final = 30.0
"""How often it is listed again."""
_SHOWN: Final = 5


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


def settled(
    context: Context, look: Callable[[], Inventory], left: Callable[[Inventory], Sequence[Item]]
) -> Inventory:
    """List until nothing is left that should be gone, or AWS has had its time; give the last look.

    `left`: what of a look should be gone and may yet go. Ctrl-C ends the waiting, and what was seen
    last counts.
    """
    found = look()
    looks = 1

    def missing() -> str:
        nonlocal found, looks
        if looks > 1:
            found = look()
        looks += 1
        there = left(found)
        names = ", ".join(item.label for item in there[:_SHOWN])
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        return f"still listed: {names}{more}" if there else ""

    # A bootstrap takes the lock along: there is none to be held any more.
    waiting = replace(context, lock=None)
    try:
        waiting.wait(
            "AWS to list no longer what it has deleted",
            missing,
            deadline_seconds=SETTLE_SECONDS,
            interval_seconds=INTERVAL_SECONDS,
        )
    except (DeadlineError, CancelledError) as error:
        context.note(str(error))
    except KeyboardInterrupt:
        context.note("Not looked for any longer: what was listed last counts.")
    return found


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
    left = orphans(found, foundation, environment=environment, kept_volumes=kept_volumes)
    reasons = _reasons(found, environment, kept_volumes)
    return (
        *_orphans(left, expected),
        *_retained(found.items, foundation, reasons),
        Check(
            name="listed again",
            status="ok",
            found=f"{found.listings} listings in both regions, {found.scanned} things looked at, "
            f"{len(left)} left behind, {len(found.items) - len(left)} there on purpose",
        ),
    )


def orphans(
    found: Inventory,
    foundation: Sequence[Item],
    *,
    environment: str,
    kept_volumes: Collection[str] = (),
) -> list[Item]:
    """Give what is there and has no reason to be."""
    there = {item.key for item in foundation} | _reasons(found, environment, kept_volumes).keys()
    return [item for item in found.items if item.key not in there]


def _reasons(
    found: Inventory, environment: str, kept_volumes: Collection[str]
) -> dict[tuple[str, str, str], str]:
    """Say of everything that may still be there why it may."""
    backups = {item.key for item in kept_backups(found.items)}
    reasons = {
        item.key: _kept(item) if item.key in backups else _reason(item, environment, kept_volumes)
        for item in found.items
    }
    return {key: reason for key, reason in reasons.items() if reason}


def _kept(backup: Item) -> str:
    if backup.kind == RETAINED or backup.raw.get("SnapshotType") == "automated":
        return "somebody kept these backups when the instance was deleted; AWS ends them in time"
    if backup.raw.get("SnapshotType") == "awsbackup":
        return "AWS Backup keeps it, as its plan says"
    return "a snapshot outlives its database"


def _reason(item: Item, environment: str, kept_volumes: Collection[str]) -> str:
    if item.is_pending_deletion:
        return f"AWS deletes it on {item.raw['DeletionDate']:%Y-%m-%d}"
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
    foundation: Sequence[Item],
    reasons: Mapping[tuple[str, str, str], str],
) -> Iterator[Check]:
    base = {item.key for item in foundation}
    for item in items:
        if item.key in reasons and item.key not in base:
            yield Check(
                name=item.label,
                status="ok",
                found=f"stays: {reasons[item.key]}; {prices.said(prices.monthly(item))}",
            )
    kept = [item for item in items if item.key in base]
    if kept:
        cost, unpriced = prices.total(kept)
        yield Check(
            name="bootstrap",
            status="ok",
            found=f"{len(kept)} things of it stay; ${cost} a month, {unpriced} paid by use",
        )

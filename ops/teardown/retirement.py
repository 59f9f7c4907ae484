"""`ops teardown --bootstrap`: what outlives an environment goes as well, when nothing needs it.

It is a run of its own, with its own hash and confirmation, once the environment is gone. While
anything is left that one of its keys encrypts, a snapshot above all, nothing of it goes: without
the key it could never be read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ops import bootstrap_retire
from ops.checks import Check
from ops.errors import IncompleteError, OpsError, RefusedError
from ops.execution import Context
from ops.foundation import NoFoundationError
from ops.operation import Operation, Planning
from ops.plan import Plan
from ops.render import Line
from ops.teardown import caps, listing, look_back, prices, report
from ops.teardown.destroy import read_state

if TYPE_CHECKING:
    from ops.access import Access
    from ops.teardown.listing import Inventory, Item


def plan(planning: Planning) -> Plan:
    """Look that nothing needs the bootstrap any more, and give the steps that take it away."""
    access = planning.access
    env = access.environment
    found = listing.inventory(access)
    base = look_back.foundation_items(found, access)
    refuse_while_needed(found, base, env)
    _refuse_full_state(access)
    planned = Plan(
        command=OPERATION.name,
        environment=env,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=planning.arguments,
        facts={"bootstrap": [item.label for item in base]},
    )
    steps = bootstrap_retire.bootstrap_retirement_steps(access, stage=0)
    if not steps:
        return planned
    caps.refuse_counted(
        planned, [caps.kind_of_item(item) for item in base], planning.arguments.get("max") or {}
    )
    return replace(
        planned,
        steps=steps,
        notes=tuple(_notes(access, base, planning)),
    )


def refuse_while_needed(found: Inventory, base: Sequence[Item], env: str) -> None:
    """Refuse while the environment is there, or anything is that needs one of these keys."""
    kinds = ("cluster", "database", "instance", "vpc")
    there = [item.label for item in found.of(*kinds)]
    if there:
        raise RefusedError(
            f"{env} is still there: {', '.join(there)}. Nothing was changed, since its state, its "
            f"lock and its backups are in what would go. First: ops teardown {env}"
        )
    # By its alias each key is known for certain: the tagging API may leave one out.
    keys = {item.name: item.id for item in base if item.kind == "alias"}
    needing = {id_: found.encrypted.get(id_, ()) for id_ in keys}
    if any(needing.values()):
        raise RefusedError(
            "Without the bootstrap's keys this could never be read again, so nothing was changed:\n"
            + caps.needed(needing, keys)
        )


def _refuse_full_state(access: Access) -> None:
    from pulumi.automation import StackNotFoundError

    try:
        held = read_state(access).resources
    except OpsError as error:
        if isinstance(error.__cause__, StackNotFoundError):
            return  # a bootstrap that no environment was ever built on
        raise
    if held:
        raise RefusedError(
            f"The state of {access.environment} holds {len(held)} resources, and its bucket is "
            "among what would go. Nothing was changed. First: "
            f"ops teardown {access.environment}"
        )


def shown(planned: Plan) -> list[Line]:
    """Give what goes with the bootstrap as people read it."""
    if not planned.steps:
        return []
    labels = planned.facts["bootstrap"]
    return [
        Line(f"The bootstrap of {planned.environment} goes, {len(labels)} things:", "bold"),
        *(Line(f"    {label}") for label in labels),
        Line(""),
    ]


def verify(context: Context) -> tuple[Check, ...]:
    """List everything again: nothing of the environment is left, but what AWS deletes in time."""
    access = context.access
    env = access.environment
    found = look_back.settled(
        context,
        lambda: listing.inventory(access),
        lambda found: look_back.orphans(found, (), environment=env),
    )
    return look_back.checks(found, (), environment=env)


def _notes(access: Access, base: Sequence[Item], planning: Planning) -> Iterator[str]:
    yield from report.sizes(access, base, planning.now)
    try:
        backups = report.last_backups(access)
    except (IncompleteError, NoFoundationError) as error:
        yield f"what backups go with it is not known: {error}"
    else:
        yield f"every backup goes with it, the last of them: {backups.last or 'there is none'}"
    cost, unpriced = prices.total(base)
    yield f"it costs ${cost} a month by {prices.basis()}, and what is paid by use ({unpriced})"


OPERATION: Final = Operation(
    name="teardown bootstrap",
    stack="bootstrap",
    plan=plan,
    actions=bootstrap_retire.RETIREMENT_ACTIONS,
    verify=verify,
    show=shown,
    by_name=True,
    bound=True,
    founded=False,
)

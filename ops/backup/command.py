"""`ops backup`: the operation."""

from __future__ import annotations

from typing import Final

from ops.backup import steps
from ops.checks import Check
from ops.execution import Context
from ops.operation import Operation, Planning
from ops.plan import Plan


def plan(planning: Planning) -> Plan:
    """Look at what there is to back up, and plan it."""
    access, without = planning.access, tuple(planning.arguments.get("without", ()))
    seen = steps.observe(access, without)
    found = steps.steps_of(seen, access.environment, stage=0)
    return Plan(
        command=OPERATION.name,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=planning.arguments,
        steps=found,
        notes=tuple(f"not backed up: {item.what}: {item.why}" for item in seen.not_backed_up),
    )


def verify(context: Context) -> tuple[Check, ...]:
    """Say what was made; that it is good was seen when it was read back."""
    made, read = context.results["backup-manifest"], context.results["backup-verify"]
    snapshots = tuple(
        Check(
            name=f"database {detail['snapshot']['name']}",
            status="ok",
            found=f"{detail['snapshot']['snapshot']}, {detail['snapshot']['allocated_gb']} GB, "
            f"as of {detail['snapshot']['created']}",
        )
        for detail in context.results.values()
        if "snapshot" in detail
    )
    return (
        Check(
            name=f"backup {made['backup']}",
            status="ok",
            found=f"{made['bytes']} bytes in {made['folder']} and {made['bucket']}",
        ),
        Check(
            name="read back",
            status="ok",
            found=f"{read['checks']} checks of files, snapshots and keys hold",
        ),
        *snapshots,
    )


OPERATION: Final = Operation(
    name="backup",
    plan=plan,
    actions=steps.ACTIONS,
    verify=verify,
    approved=False,
    undone="Nothing was backed up.",
)

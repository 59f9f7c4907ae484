"""How old a backup may be by which things are destroyed.

A run that was cut short keeps its backup. What people have done since then is in none.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from ops.errors import RefusedError

if TYPE_CHECKING:
    from ops.execution import Context

BACKUP_HOURS: Final = 6.0
"""How long after its verification a backup may be gone by."""
VERIFIED: Final = "backup-verify"


def refuse_old_backup(context: Context) -> None:
    """Refuse to destroy what the backup of this run does not have, since it was made long ago."""
    at = _verified(context)
    env = context.access.environment
    again = (
        "Nothing further was destroyed. Plan again, which makes another backup: "
        f"ops teardown {env} --dry-run"
    )
    if at is None:
        raise RefusedError(f"This run has no backup that was read back and verified. {again}")
    hours = (context.now() - at).total_seconds() / 3600
    if hours > BACKUP_HOURS:
        raise RefusedError(
            f"The backup of this run was verified at {at:%Y-%m-%d %H:%M} UTC, {hours:.0f} hours "
            f"ago, and is good for {BACKUP_HOURS:.0f}: what was done since is not in it. {again}"
        )


def _verified(context: Context) -> dt.datetime | None:
    """Give when the backup was verified, in this process or a former one."""
    moments = [
        dt.datetime.fromisoformat(record["at"]).astimezone(dt.UTC)
        for record in context.journal.records
        if record["kind"] == "result"
        and record.get("step") == VERIFIED
        and record.get("outcome") == "done"
    ]
    return moments[-1] if moments else None

"""`ops lock status` and `ops lock release`: the locks of an environment as operators see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ops import engine_lock, lock
from ops.errors import RefusedError, UsageError
from ops.foundation import foundation
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from ops.access import Access


@dataclass(frozen=True, kw_only=True)
class LockReport:
    """Who holds which lock of an environment."""

    header: Header
    held: bool
    """Whether any of the two is held."""
    holder: Mapping[str, Any] | None
    """Of the operators' lock: run, command, operator, host, pid, process, acquired."""
    expires: str
    """When it runs out if it is not renewed, UTC; empty where nobody holds it."""
    has_run_out: bool
    """Whether the next operation takes it over by itself."""
    update: str
    """The update that holds Pulumi's own lock; empty where none does."""
    command: Literal["lock status"] = "lock status"
    version: int = REPORT_VERSION


def status(access: Access, header: Header) -> LockReport:
    """Look at both locks; change neither. Raises `IncompleteError` where one cannot be read."""
    held = _lock(access).status()
    update = "\n".join(engine_lock.running(access))
    return LockReport(
        header=header,
        held=held is not None or bool(update),
        holder=asdict(held.holder) if held else None,
        expires=held.expires.isoformat(timespec="seconds") if held else "",
        has_run_out=held.has_run_out if held else False,
        update=update,
    )


def refuse_release(report: LockReport, run: str | None, *, yes: bool) -> None:
    """Refuse to release what nobody holds, or what somebody else holds than is thought.

    Without a question, the run that holds it has to be named.
    """
    environment = report.header.environment
    if report.holder is None:
        pulumi = (
            " Pulumi's own lock is released with "
            f"{engine_lock.advice(report.header.mode, environment)}."
            if report.update
            else ""
        )
        raise UsageError(f"Nobody holds the operators' lock of {environment}.{pulumi}")
    holder = report.holder["run"]
    if run is not None and run != holder:
        raise RefusedError(f"The lock is held by {holder}, not by {run}. Nothing was released.")
    if yes and run is None:
        raise RefusedError(
            f"To release it unasked, name the run that holds it: --run {holder}. "
            "Nothing was released."
        )


def release(access: Access, report: LockReport) -> str:
    """Take the lock away from the holder that was shown; give a sentence on what was done."""
    own = _lock(access)
    held = own.status()
    if held is None or asdict(held.holder) != report.holder:
        raise RefusedError("The lock has changed hands meanwhile. Nothing was released.")
    own.break_(held)
    return (
        f"Released. The run {held.holder.run} begins no further step once it notices; "
        f"what it left is continued by: ops resume {held.holder.run}"
    )


def _lock(access: Access) -> lock.Lock:
    return lock.environment_lock(access, foundation(access).lock_table)

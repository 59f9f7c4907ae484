"""`ops backups list` and `ops backups verify`: what there is, and whether it is good."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops import checks, operation
from ops.backup import audit
from ops.backup.audit import Entry
from ops.backup.manifest import VERIFIED
from ops.backup.prune import lacking, last_good
from ops.backup.store import open_store
from ops.checks import Check
from ops.errors import ExitCode, UsageError
from ops.render import Line
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from ops.backup.store import Store
    from ops.commands import Setting

_SECONDS_OF_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class BackupsReport:
    """The backups of an environment."""

    header: Header
    backups: tuple[Entry, ...]
    command: Literal["backups list"] = "backups list"
    version: int = REPORT_VERSION


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """Whether a backup is good."""

    header: Header
    backup: str
    checks: tuple[Check, ...]
    command: Literal["backups verify"] = "backups verify"
    version: int = REPORT_VERSION


def show(setting: Setting, environment: str) -> ExitCode:
    """`ops backups list`."""
    access, header = operation.open_environment(setting, environment)
    found = tuple(audit.entries(open_store(access)))
    now = dt.datetime.now(tz=dt.UTC)
    names = [item.name for item in access.settings.databases]
    setting.show(BackupsReport(header=header, backups=found), lines(found, now, names))
    return ExitCode.OK


def verify(setting: Setting, environment: str, backup: str | None) -> ExitCode:
    """`ops backups verify`: of the newest backup, where none is named."""
    access, header = operation.open_environment(setting, environment)
    store = open_store(access)
    id_ = backup or newest(store.ids(), environment)
    seen = audit.checks(store, id_)
    told = (*seen, *audit.copies(store, id_), *_noted(store, id_, seen))
    report = VerifyReport(header=header, backup=id_, checks=told)
    setting.show(report, [Line(f"backup {id_}"), *checks.lines(told)], checks.markdown(told))
    return checks.exit_code(told)


def _noted(store: Store, backup: str, seen: Sequence[Check]) -> Iterator[Check]:
    """Write down beside a backup how it was found: the list, `latest` and pruning go by it.

    A copy on this machine says nothing of it, nor does what could not be looked at.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    found = audit.record(seen, at=dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"))
    if found is None or backup not in store.ids():
        return
    try:
        store.put(backup, VERIFIED, json.dumps(found, indent=2).encode() + b"\n")
    except (BotoCoreError, ClientError) as error:
        yield Check(
            name=store.where(backup, VERIFIED),
            status="warn",
            found=f"what was found could not be written down: {error}",
            expected="ops backups list, prune and restore --from latest go by it",
            remedy="verify again as somebody who may write to the bucket",
        )


def newest(ids: Sequence[str], environment: str) -> str:
    """Give the newest backup; raises `UsageError` where there is none."""
    if not ids:
        raise UsageError(
            f"There is no backup of {environment}. Nothing was done. Make one: "
            f"ops backup {environment}"
        )
    return ids[-1]


def lines(
    found: Sequence[Entry], now: dt.datetime, databases: Sequence[str] = ()
) -> Iterator[Line]:
    """Give the backups as people read them, the newest last; `databases`: what settings name."""
    if not found:
        yield Line("There is no backup.", "yellow")
    good = last_good(found, databases)
    for item in found:
        if not item.complete:
            yield Line(f"{item.id}  not usable: {item.problem}", "yellow")
            continue
        said = [
            f"{_age(item.created, now)} old",
            f"{item.bytes} bytes in {item.files} files",
            _verified(item),
            item.proof.said if item.proof else "restore never proven",
            "copy on this machine" if item.local else "in the bucket alone",
        ]
        mark = "  <- last good one" if item is good else ""
        yield Line(f"{item.id}  {', '.join(said)}{mark}", "" if item.verified else "yellow")
        if item.damaged:
            yield Line(f"    damaged: {item.damaged}", "bold red")
        for name in lacking(item, databases):
            yield Line(f"    has no database {name}", "yellow")
        for identifier, snapshot in zip(item.databases, item.snapshots, strict=True):
            yield Line(f"    {identifier}: {snapshot}")


def _verified(item: Entry) -> str:
    if item.damaged:
        return "found damaged"
    return f"verified {item.verified}" if item.verified else "never verified"


def _age(created: str, now: dt.datetime) -> str:
    seconds = (now - dt.datetime.fromisoformat(created)).total_seconds()
    if seconds < _SECONDS_OF_DAY:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / _SECONDS_OF_DAY:.0f} d"

"""Updates of the stack by a restore: previewed, refused where they lose anything, then run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import guard, update
from ops.backup import databases
from ops.errors import OpsError
from ops.restore import state
from ops.restore.overrides import Edits, configuration
from ops.stack import open_stack
from ops.tree import UpdateLog

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context
    from ops.report import UpdateReport


def bring(
    context: Context, edits: Edits, restored: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, int]:
    """Bring the stack to these settings; give the operations by their number.

    `restored`: database → `identifier` of its restored instance and `index` in the settings. One
    that is there and not in the state is imported, so that it is never made twice.

    Raises `RefusedError` where the plan would delete, replace or rename a live database, and
    `OpsError` where the update fails: then it can be run again.
    """
    access = context.access
    with configuration(access, {**edits, **_imports(access, restored)}) as file:
        planned = _run(context, "up", file, dry_run=True)
        guard.refuse_losses(planned)
        done = _run(context, "up", file, dry_run=False)
    return dict(done.counts)


def changes(context: Context, edits: Edits) -> UpdateReport:
    """Preview with everything read back from the cloud."""
    with configuration(context.access, edits) as file:
        return _run(context, "preview", file, dry_run=True, refresh=True)


def refresh(context: Context) -> Mapping[str, int]:
    """Bring the state in line with the cloud."""
    with configuration(context.access, {}) as file:
        return dict(_run(context, "refresh", file, dry_run=False).counts)


def _imports(access: Access, restored: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    held = state.databases(state.read(access))
    rds = access.client("rds")
    imports = {}
    for name, item in restored.items():
        identifier = str(item["identifier"])
        known = name in held and state.identifier(held[name]) == identifier
        if not known and databases.instance_state(rds, identifier):
            imports[f"databases[{item['index']}].import_identifier"] = identifier
    return imports


def _run(
    context: Context,
    command: update.Command,
    file: Path,
    *,
    dry_run: bool,
    refresh: bool = False,
) -> UpdateReport:
    access = context.access
    header = access.header()
    label = f"previewing {header.stack}" if dry_run else f"{command} {header.stack}"
    with context.terminal.progress(label) as watch:
        report = update.run(
            open_stack(access),
            command,
            header=header,
            options=update.Options(
                config_file=str(file), refresh=refresh, message=f"run {context.journal.run}"
            ),
            log=UpdateLog(dry_run=dry_run),
            watch=watch,
            tell=context.terminal.note,
        )
    if report.result == "failed":
        said = [item.message for item in report.diagnostics if item.severity == "error"]
        raise OpsError(
            "\n".join([report.error, *(text for text in said if text not in report.error)])
        )
    return report

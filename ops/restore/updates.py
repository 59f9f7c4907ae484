"""Updates of the stack by a restore: previewed, refused where they lose anything, then run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ops import guard, update
from ops.backup import databases
from ops.errors import OpsError, RefusedError
from ops.restore import state
from ops.restore.overrides import Edits, configuration
from ops.stack import open_stack
from ops.tree import UpdateLog, short_type

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context
    from ops.report import UpdateReport
    from ops.terminal import Terminal

_SHOWN: Final = 10
"""Resources that a refusal names."""


def bring(
    context: Context, edits: Edits, restored: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, int]:
    """Bring the stack to these settings; give the operations by their number.

    `restored`: database → `identifier` of its restored instance and `index` in the settings. One
    that is there and not in the state is imported, so that it is never made twice.

    Raises `RefusedError` where the plan would delete, replace or rename a live database or make one
    again that is there, and `OpsError` where the update fails: then it can be run again.
    """
    imports = _imports(context, restored)
    over = {
        f"databases[{restored[name]['index']}].import_identifier": identifier
        for name, identifier in imports.items()
    }
    with configuration(context.access, {**edits, **over}) as file:
        planned = _run(_Place.of(context), "up", file, dry_run=True)
        guard.refuse_losses(planned)
        refuse_second(planned, imports)
        done = _run(_Place.of(context), "up", file, dry_run=False)
    return dict(done.counts)


def refuse_second(planned: UpdateReport, imports: Mapping[str, str]) -> None:
    """Refuse a plan that makes an instance which is there already, instead of importing it."""
    again = [
        imports[state.database_name(change.urn)]
        for change in planned.resources
        if change.type == state.DATABASE
        and change.op == "create"
        and state.database_name(change.urn) in imports
    ]
    if again:
        raise RefusedError(
            f"The program would make {', '.join(again)}, which is there, instead of importing it. "
            "Nothing was changed. Look at what it makes of import_identifier."
        )


def changes(context: Context, edits: Edits) -> UpdateReport:
    """Preview with everything read back from the cloud."""
    with configuration(context.access, edits) as file:
        return _run(_Place.of(context), "preview", file, dry_run=True, refresh=True)


def refuse_others(access: Access, terminal: Terminal, urns: Collection[str], run: str = "") -> None:
    """Refuse to take databases out of the state where an update has more to do than bring them in.

    `urns`: theirs; what they and what depends on them would become is what the import settles.
    Nothing is changed. The cloud is not read back for it: neither does the update that follows, and
    what somebody has changed in the cloud must not hold up that a lost database comes back.

    Raises `RefusedError`, or `OpsError` where the program cannot be previewed.
    """
    settled = state.dependents(state.read(access), urns)
    with configuration(access, {}) as file:
        place = _Place(access=access, terminal=terminal, run=run)
        report = _run(place, "preview", file, dry_run=True)
    others = [
        f"    {item.op} {short_type(item.type)} {item.name}"
        for item in report.resources
        if item.custom and item.changed and item.urn not in settled
    ]
    if others:
        named = "\n".join(others[:_SHOWN])
        more = f"\n    and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        env = access.environment
        raise RefusedError(
            f"Before a database is taken over, program and state have to agree. They do not: an "
            f"update would also do this.\n{named}{more}\nNo database was taken out of the state. "
            f"Look: ops preview {env} --diff. Bring them together: ops up {env}, and not with "
            "--refresh while a database is gone: that would make it again, empty."
        )


def refresh(context: Context) -> Mapping[str, int]:
    """Bring the state in line with the cloud."""
    with configuration(context.access, {}) as file:
        return dict(_run(_Place.of(context), "refresh", file, dry_run=False).counts)


def _imports(context: Context, restored: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Give the instances that are there and not in the state, once each of them can be updated."""
    held = state.databases(state.read(context.access))
    rds = context.access.client("rds")
    imports = {}
    for name, item in restored.items():
        identifier = str(item["identifier"])
        found = databases.instance_state(rds, identifier)
        if found is None:
            continue
        if name not in held or state.identifier(held[name]) != identifier:
            refuse_foreign(found, context.access.environment, context.journal.run)
            imports[name] = identifier
        databases.await_available(context, identifier)
    return imports


def refuse_foreign(instance: Mapping[str, Any], environment: str, run: str) -> None:
    """Refuse to import an instance that neither this run nor an update of the stack has made."""
    tags = databases.tags(instance)
    if databases.is_environments(instance, environment) and tags.get(databases.RUN_TAG, run) == run:
        return
    raise RefusedError(
        f"There is an instance {instance['DBInstanceIdentifier']} that this run has not made: "
        f"environment {tags.get('environment') or 'none'}, run "
        f"{tags.get(databases.RUN_TAG) or 'none'}. It was left alone. Plan the restore again."
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an update runs, and who is told."""

    access: Access
    terminal: Terminal
    run: str

    @classmethod
    def of(cls, context: Context) -> _Place:
        return cls(access=context.access, terminal=context.terminal, run=context.journal.run)


def _run(
    place: _Place,
    command: update.Command,
    file: Path,
    *,
    dry_run: bool,
    refresh: bool = False,
) -> UpdateReport:
    access = place.access
    header = access.header()
    label = f"previewing {header.stack}" if dry_run else f"{command} {header.stack}"
    with place.terminal.progress(label) as watch:
        report = update.run(
            open_stack(access),
            command,
            header=header,
            options=update.Options(
                config_file=str(file),
                refresh=refresh,
                message=f"run {place.run}" if place.run else None,
            ),
            log=UpdateLog(dry_run=dry_run),
            watch=watch,
            tell=place.terminal.note,
        )
    if report.result == "failed":
        said = [item.message for item in report.diagnostics if item.severity == "error"]
        raise OpsError(
            "\n".join([report.error, *(text for text in said if text not in report.error)])
        )
    return report

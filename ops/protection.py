"""Protection: shown before a destroy, taken off for it alone, and put back on what is left.

Two things keep a resource from being deleted: the state's mark, and what the program asks of the
cloud (deletion protection, buckets that keep their content). The second comes off by an update
with a teardown's settings; an aborted destroy leaves that to the next `up`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ops.stack import open_stack
from ops.tree import ResourceChange

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace, Stack

    from ops.access import Access, StackKind

Entry = Mapping[str, Any]
"""A resource as an exported state has it."""


def entries(stack: Stack, only: Collection[str] = ()) -> tuple[Entry, ...]:
    """Give the resources of a stack's state, or of these URNs."""
    deployment = stack.export_stack().deployment or {}
    resources = deployment.get("resources") or []
    return tuple(entry for entry in resources if not only or entry["urn"] in only)


def deletions(held: Iterable[Entry]) -> tuple[ResourceChange, ...]:
    """Give what a destroy of these entries would delete, as a plan shows it."""
    return tuple(
        ResourceChange(
            urn=entry["urn"],
            type=entry["type"],
            name=entry["urn"].rpartition("::")[2],
            parent=entry.get("parent", ""),
            op="delete",
            status="planned",
            custom=bool(entry.get("custom")),
            protect=bool(entry.get("protect")),
        )
        for entry in held
    )


def protected(held: Iterable[Entry]) -> tuple[str, ...]:
    """Give the URNs of the entries that the state marks as protected."""
    return tuple(entry["urn"] for entry in held if entry.get("protect"))


@contextmanager
def teardown_settings(access: Access, kind: StackKind) -> Iterator[tuple[Stack, Path | None]]:
    """Give the stack as a teardown's settings make it: with `deletion_protection: false`.

    Its databases leave last snapshots, named by the moment. With it comes the configuration file
    that an update has to be given for that; None where the stack brings its settings. Neither the
    stack file nor its overrides are touched.
    """
    stamp = dt.datetime.now(tz=dt.UTC).strftime("%Y%m%d-%H%M%S")
    teardown: dict[str, bool | str] = {"deletion_protection": False, "final_snapshot_stamp": stamp}
    settings = access.settings.model_copy(update=teardown)
    stack = open_stack(replace(access, settings=settings), kind, teardown=True)
    if kind != "environment":  # an inline program is given its settings
        yield stack, None
        return
    from ops.sandbox import configuration_file

    edits = {f"settings.{key}": value for key, value in teardown.items()}
    with configuration_file(access, edits) as file:
        yield stack, file


@contextmanager
def unmarked(stack: Stack, urns: tuple[str, ...], tell: Callable[[str], None]) -> Iterator[None]:
    """Take the state's mark off these resources, and put it back on whatever is left of them.

    However the block ends, what is still in the state then is protected again; after a kill, the
    next `up` protects what the program declares as protected.
    """
    _mark(stack, "unprotect", urns)
    try:
        yield
    finally:
        left = {entry["urn"] for entry in entries(stack)}
        again = tuple(urn for urn in urns if urn in left)
        _mark(stack, "protect", again)
        if again:
            tell(f"Protected again, as they are still there: {len(again)}. Run `up` to keep them.")


def _mark(stack: Stack, verb: Literal["protect", "unprotect"], urns: tuple[str, ...]) -> None:
    if not urns:
        return
    # The Automation API has no method for this; its workspace knows the command and where it runs.
    workspace = cast("LocalWorkspace", stack.workspace)
    arguments = ["state", verb, "--yes", "--stack", stack.name, *urns]
    workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))

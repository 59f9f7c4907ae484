"""Protection: shown before a destroy, taken off for it alone, and put back on what is left.

Two things keep a resource from being deleted: the state's mark, and what the program asks of the
cloud (deletion protection, buckets that keep their content). The second comes off by an update
with a teardown's settings; an aborted destroy leaves that to the next `up`.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from infra import naming
from infra.settings import load
from ops.errors import OpsError
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
def teardown_settings(
    access: Access, kind: StackKind, stamp: str | None = None
) -> Iterator[tuple[Stack, Path | None]]:
    """Give the stack as a teardown's settings make it: with `deletion_protection: false`.

    Its databases leave last snapshots, named by `stamp` or else by the moment, UTC as
    `20261231-235959`. With it comes the configuration file that an update has to be given for
    that; None where the stack brings its settings. Neither the stack file nor its overrides are
    touched.
    """
    stamp = stamp or dt.datetime.now(tz=dt.UTC).strftime("%Y%m%d-%H%M%S")
    teardown: dict[str, bool | str] = {"deletion_protection": False, "final_snapshot_stamp": stamp}
    settings = access.settings.model_copy(update=teardown)
    stack = open_stack(replace(access, settings=settings), kind, teardown=True)
    if kind != "environment":  # an inline program is given its settings
        yield stack, None
        return
    if access.mode == "aws":
        with copied_file(access, teardown) as file:
            yield stack, file
        return
    from ops.sandbox import configuration_file

    edits = {f"settings.{key}": value for key, value in teardown.items()}
    with configuration_file(access, edits) as file:
        yield stack, file


@contextmanager
def copied_file(access: Access, values: Mapping[str, bool | str]) -> Iterator[Path]:
    """Give a copy of the stack file in which these settings are others; removed at the end."""
    name = naming.stack_file(access.environment)
    text = with_settings((access.root / name).read_text(encoding="utf-8"), values)
    access.records.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=access.records, prefix="configuration-") as folder:
        file = Path(folder) / name
        file.write_text(text, encoding="utf-8")
        changed = load(access.environment, Path(folder), dt.datetime.now(tz=dt.UTC).date())
        if any(getattr(changed, key) != value for key, value in values.items()):
            raise OpsError(
                f"A copy of {name} with a teardown's settings could not be made: its form is not "
                "the one that the Pulumi CLI writes. Nothing was destroyed."
            )
        yield file


def with_settings(text: str, values: Mapping[str, bool | str]) -> str:
    """Give a stack file's text with these settings at the top of the others, in their place."""
    lines = text.splitlines()
    start = next(
        (n for n, line in enumerate(lines) if line.strip() == f"{naming.PROJECT}:settings:"), None
    )
    if start is None:
        return text
    within = itertools.takewhile(
        lambda line: not line.strip() or _indent(line) > _indent(lines[start]), lines[start + 1 :]
    )
    section = list(within)
    depth = min((_indent(line) for line in section if line.strip()), default=0)
    kept = [
        line
        for line in section
        if not (_indent(line) == depth and line.strip().partition(":")[0] in values)
    ]
    ours = [" " * depth + f"{key}: {json.dumps(value)}" for key, value in values.items()]
    rest = lines[start + 1 + len(section) :]
    return "\n".join([*lines[: start + 1], *ours, *kept, *rest]) + "\n"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@contextmanager
def unmarked(
    stack: Stack,
    urns: tuple[str, ...],
    tell: Callable[[str], None],
    *,
    also: Collection[str] = (),
) -> Iterator[None]:
    """Take the state's mark off these resources, and put it back on whatever is left of them.

    However the block ends, what is still in the state then is protected again, and so is what
    `also` names, whose mark was taken off before; after a kill, the next `up` protects what the
    program declares as protected.
    """
    _mark(stack, "unprotect", urns)
    try:
        yield
    finally:
        if again := protect_left(stack, {*urns, *also}, tell):
            tell(f"Protected again, as they are still there: {again}. Run `up` to keep them.")


def protect_left(stack: Stack, urns: Collection[str], tell: Callable[[str], None]) -> int:
    """Mark what is left of these resources in the state as protected; give how many are.

    A state that cannot be written now is told, and does not hide why something failed before.
    """
    from pulumi.automation import CommandError

    from ops.update import error_text

    if not urns:
        return 0
    try:
        left = [entry for entry in entries(stack) if entry["urn"] in urns]
        _mark(stack, "protect", tuple(item["urn"] for item in left if not item.get("protect")))
    except CommandError as error:
        tell(
            f"{len(urns)} resources could not be protected again in the state: `up` protects "
            f"what is left of them. {error_text(error)}"
        )
        return 0
    return len(left)


def _mark(stack: Stack, verb: Literal["protect", "unprotect"], urns: tuple[str, ...]) -> None:
    if not urns:
        return
    # The Automation API has no method for this; its workspace knows the command and where it runs.
    workspace = cast("LocalWorkspace", stack.workspace)
    arguments = ["state", verb, "--yes", "--stack", stack.name, *urns]
    workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))

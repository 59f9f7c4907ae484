"""Protection in a stack's state: taken off for one destroy, and put back on what is left."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace, Stack


def protected(stack: Stack) -> tuple[str, ...]:
    """Give the URNs of the resources that the state protects from being deleted."""
    deployment = stack.export_stack().deployment or {}
    resources = deployment.get("resources") or []
    return tuple(resource["urn"] for resource in resources if resource.get("protect"))


@contextmanager
def lifted(stack: Stack, only: Collection[str] = ()) -> Iterator[tuple[str, ...]]:
    """Take protection off (of the URNs `only`, if any) and put it back on whatever is left.

    Gives the URNs. However the block ends, what is still in the state then is protected again;
    after a kill, the next `up` protects what the program declares as protected.
    """
    urns = tuple(urn for urn in protected(stack) if not only or urn in only)
    if urns:
        _mark(stack, "unprotect", urns)
    try:
        yield urns
    finally:
        deployment = stack.export_stack().deployment or {}
        left = {resource["urn"] for resource in deployment.get("resources") or []}
        again = tuple(urn for urn in urns if urn in left)
        if again:
            _mark(stack, "protect", again)


def _mark(stack: Stack, verb: Literal["protect", "unprotect"], urns: tuple[str, ...]) -> None:
    # The Automation API has no method for this; its workspace knows the command and where it runs.
    workspace = cast("LocalWorkspace", stack.workspace)
    arguments = ["state", verb, "--yes", "--stack", stack.name, *urns]
    workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))

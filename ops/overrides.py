"""The sandbox's own overrides of a stack's configuration; no stack file is ever written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.access import Access
from ops.errors import OpsError
from ops.render import Line
from ops.stack import open_stack
from ops.tree import SECRET
from ops.update import error_text

if TYPE_CHECKING:
    from pulumi.automation import ConfigValue, Stack


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked: everything, one key, a key to be set, or one whose override is taken off."""

    key: str | None = None
    value: str | None = None
    path: bool = False
    """`key` is a path such as `settings.network.nat`."""
    secret: bool = False
    remove: bool = False


def apply(access: Access, request: Request) -> Iterator[Line]:
    """Do what is asked and give what to show; raises `OpsError` for a key that is not there."""
    from pulumi.automation import CommandError

    stack = open_stack(access)
    try:
        yield from _applied(stack, request)
    except CommandError as error:
        raise OpsError(f"{error_text(error)}. Nothing was set.") from error


def _applied(stack: Stack, request: Request) -> Iterator[Line]:
    from pulumi.automation import ConfigValue

    if request.key is None:
        for key, value in sorted(stack.get_all_config().items()):
            yield _line(key, value)
    elif request.remove:
        stack.remove_config(request.key, path=request.path)
        yield Line(f"{request.key}: removed in the sandbox; the stack file is as it was")
    elif request.value is not None:
        value = ConfigValue(request.value, secret=request.secret)
        stack.set_config(request.key, value, path=request.path)
        yield Line(f"{request.key}: set in the sandbox; the stack file is as it was")
    else:
        yield _line(request.key, stack.get_config(request.key, path=request.path))


def _line(key: str, value: ConfigValue) -> Line:
    return Line(f"{key}: {SECRET if value.secret else value.value}")

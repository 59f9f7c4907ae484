"""The commands as a page: their arguments, options and exit codes, as the parser has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from ops.__main__ import app
from ops.errors import EXIT_CODE_MEANINGS

BEGIN: Final = "<!-- The rest is generated from the commands themselves by `make golden`. -->"
"""What stands before the generated part of the page."""


def reference() -> str:
    """Give the generated part of `docs/ops.md`."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    root: Any = get_command(app)
    yield "## Commands"
    yield ""
    yield "Options before the command:"
    yield ""
    yield from _parameters(root)
    yield from _commands(root, "ops")
    yield "## Exit codes"
    yield ""
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in EXIT_CODE_MEANINGS.items():
        yield f"| {int(code)} | {meaning} |"


def _commands(group: Any, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
            continue
        arguments = " ".join(
            parameter.metavar
            for parameter in command.params
            if parameter.param_type_name == "argument"
        )
        yield f"### `{prefix} {name} {arguments}".rstrip() + "`"
        yield ""
        yield inspect.cleandoc(command.help or "")
        yield ""
        yield from _parameters(command)


def _parameters(command: Any) -> Iterator[str]:
    options = [
        parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
    ]
    if not options:
        return
    yield "| option | |"
    yield "|---|---|"
    for option in options:
        names = [*option.opts, *option.secondary_opts]
        value = "" if option.is_flag else f" {option.metavar}".replace("|", "\\|")
        named = ", ".join(f"`{name}{value}`" for name in names)
        yield f"| {named} | {option.help}{_default(option)} |"
    yield ""


def _default(option: Any) -> str:
    if option.is_flag or option.default is None or not option.show_default:
        return ""
    return f" Default: {getattr(option.default, 'value', option.default)}."

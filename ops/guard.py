"""What has to be agreed to before anything is changed, and what is refused whatever is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from infra import naming
from ops.errors import CancelledError, RefusedError
from ops.report import Header, UpdateReport
from ops.tree import short_type

Ask = Callable[[str], str]

_REPLACING: Final = frozenset(
    {"replace", "create-replacement", "delete-replaced", "import-replacement"}
)
_LOSING: Final = _REPLACING | {"delete"}

LOSSES: Final = {
    "aws:rds/instance:Instance": _LOSING,
    "aws:rds/cluster:Cluster": _LOSING,
    "aws:ec2/subnet:Subnet": _REPLACING,
}
"""Type → operations that `up` never does to it: they lose data, or everything that is inside."""


NAMES: Final = {"aws:rds/instance:Instance": "identifier"}
"""Type → the property that says which live thing it is: `up` never renames that in place."""


def refuse_losses(report: UpdateReport) -> None:
    """Refuse an `up` whose plan would lose a database or what is in a subnet, or rename a database.

    A rename loses nothing, but it moves the address, cuts off whoever is connected, and is hardly
    ever what an edited identifier means: a restored instance is taken over by a restore.
    """
    losses = [change for change in report.resources if change.op in LOSSES.get(change.type, ())]
    if losses:
        named = "\n".join(
            f"    {change.op} {short_type(change.type)} {change.name}" for change in losses
        )
        raise RefusedError(
            f"The plan would lose what cannot be made again. Nothing was changed.\n{named}\n"
            "Look at the differences (ops preview --diff) and undo the change that forces this."
        )
    renames = [
        f"    {short_type(change.type)} {change.name}: {item.old} would be renamed to {item.new}"
        for change in report.resources
        if change.op == "update" and not change.refreshed
        for item in change.changes
        if item.path == NAMES.get(change.type)
    ]
    if renames:
        named = "\n".join(renames)
        raise RefusedError(
            f"The plan would rename what is live, and with it its address. Nothing was changed.\n"
            f"{named}\n"
            "Put the former name back into the settings. To go on with another instance, such as a "
            "restored one, restore: that takes it over and renames nothing."
        )


def confirm(
    header: Header, action: str, *, yes: bool, ask: Ask | None, by_name: bool = False
) -> None:
    """Ask the operator; give back only if they agree.

    `ask` is None where there is nobody to ask. `by_name`: the environment's name has to be typed.
    Raises `RefusedError` where nobody can agree, `CancelledError` where somebody does not.
    """
    where = f"{action} in account {header.account_id}"
    if not by_name or yes or ask is None:
        agree(where, yes=yes, ask=ask)
        return
    if ask(f"Type the environment's name to {where}: ") != header.environment:
        raise CancelledError(f"What was typed is not {header.environment!r}. Nothing was changed.")


def agree(action: str, *, yes: bool, ask: Ask | None) -> None:
    """Ask for a plain yes; raises as `confirm` does."""
    if yes:
        return
    if ask is None:
        raise RefusedError(
            f"To {action} needs somebody's agreement, and there is no terminal to ask at. "
            "Nothing was changed. Give --yes if that is what you want."
        )
    if ask(f"{action[0].upper()}{action[1:]}? [y/N] ").lower() not in ("y", "yes"):
        raise CancelledError("Not agreed to. Nothing was changed.")


def refuse_unattended_teardown(header: Header) -> None:
    """Refuse to destroy production on AWS: a teardown does that, with backups and an approval."""
    if header.mode == "aws" and header.environment == naming.ENVIRONMENTS[-1]:
        raise RefusedError(
            f"{header.environment} is not destroyed by this command on AWS: that needs verified "
            "backups and a second approval. Nothing was changed. Use: ops teardown "
            f"{header.environment}"
        )


def refuse_unprotecting(header: Header) -> None:
    """Refuse to take protection off on AWS: that belongs to a teardown with verified backups."""
    if header.mode == "aws":
        raise RefusedError(
            "--unprotect is for the sandbox: on AWS protection comes off in a teardown with "
            f"verified backups. Nothing was changed. Use: ops teardown {header.environment}"
        )


def needs_name(header: Header, command: str) -> bool:
    """Tell whether y/N is not enough: for a destroy, and for any change of production on AWS."""
    production = header.mode == "aws" and header.environment == naming.ENVIRONMENTS[-1]
    return command == "destroy" or production

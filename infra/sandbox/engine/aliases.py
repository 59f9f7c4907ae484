"""Aliases: under which earlier URNs a resource of the program may be known to the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.sandbox.engine.state import STACK_TYPE, make_urn, qualified_type


@dataclass(frozen=True)
class Alias:
    """One alias as a program gives it: a whole URN, or the parts that were different."""

    urn: str = ""
    name: str = ""
    type: str = ""
    project: str = ""
    stack: str = ""
    parent: str = ""
    no_parent: bool = False


@dataclass(frozen=True)
class Identity:
    """What makes up a resource's URN."""

    stack: str
    project: str
    parent: str
    type: str
    name: str

    @property
    def urn(self) -> str:
        """The URN itself."""
        return make_urn(self.stack, self.project, self.parent, self.type, self.name)


def urn_name(urn: str) -> str:
    """Give the logical name in a URN."""
    return urn.split("::", 3)[3]


def urn_type(urn: str) -> str:
    """Give the resource's own type in a URN, without its parents' types."""
    return qualified_type(urn).rsplit("$", 1)[-1]


def candidate_urns(
    identity: Identity, aliases: Iterable[Alias], renamed: Mapping[str, str]
) -> list[str]:
    """Give the URNs to look for in the state, in order and without the resource's own.

    `renamed` maps the URNs of this update's resources to the aliases under which they were found:
    a child inherits its parent's.
    """
    own = [_collapse(identity, alias, renamed) for alias in aliases]
    found = list(own)
    earlier_parent = renamed.get(identity.parent)
    if earlier_parent:
        parent_name = urn_name(identity.parent)
        found.append(
            _inherited(identity, identity.type, identity.name, parent_name, earlier_parent)
        )
        found += [
            _inherited(identity, urn_type(urn), urn_name(urn), parent_name, earlier_parent)
            for urn in own
        ]
    return [urn for urn in dict.fromkeys(found) if urn != identity.urn]


def _collapse(identity: Identity, alias: Alias, renamed: Mapping[str, str]) -> str:
    if alias.urn:
        return alias.urn
    parent = renamed.get(alias.parent, alias.parent) if alias.parent else identity.parent
    if alias.no_parent or (parent and qualified_type(parent) == STACK_TYPE):
        parent = ""
    return make_urn(
        alias.stack or identity.stack,
        alias.project or identity.project,
        parent,
        alias.type or identity.type,
        alias.name or identity.name,
    )


def _inherited(
    identity: Identity, type_: str, name: str, parent_name: str, earlier_parent: str
) -> str:
    # A child whose name begins with its parent's was renamed together with it.
    if name.startswith(parent_name):
        name = urn_name(earlier_parent) + name.removeprefix(parent_name)
    return make_urn(identity.stack, identity.project, earlier_parent, type_, name)

"""What a control is, and how a stack is judged by it. Pure.

A control says what must hold of every resource of some types. Where it does not, a waiver of the
stack file accepts that, with a reason and until a day; else it is a finding.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Protocol


class Waived(Protocol):
    """A waiver, as the stack file has it."""

    @property
    def control(self) -> str:
        """Id of the control that does not hold."""
        ...

    @property
    def resource(self) -> str:
        """Glob on `type::name`."""
        ...

    @property
    def reason(self) -> str:
        """Why that is accepted."""
        ...

    @property
    def until(self) -> dt.date:
        """The last day it is accepted."""
        ...


@dataclass(frozen=True)
class Resource:
    """One resource as the program asks for it."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    """By their names on the wire (`storageEncrypted`)."""
    dependencies: tuple[str, ...] = ()
    """URNs of what its inputs come from."""

    @property
    def label(self) -> str:
        """`type::name`, as waivers write it."""
        return f"{self.type}::{self.name}"

    def get(self, path: str, default: Any = None) -> Any:
        """Return an input by a dotted path; a list of one is looked into."""
        found: Any = self.inputs
        for part in path.split("."):
            if isinstance(found, list) and len(found) == 1:
                found = found[0]
            found = found.get(part) if isinstance(found, Mapping) else None
        return default if found is None else found


@dataclass(frozen=True)
class Stack:
    """All resources of one stack."""

    resources: Sequence[Resource]

    @cached_property
    def _companions(self) -> Mapping[tuple[str, str], Sequence[Resource]]:
        found: dict[tuple[str, str], list[Resource]] = {}
        for resource in self.resources:
            for urn in resource.dependencies:
                found.setdefault((urn, resource.type), []).append(resource)
        return found

    def companions(self, resource: Resource, type_: str) -> Sequence[Resource]:
        """Return the resources of a type that are made from `resource`."""
        return self._companions.get((resource.urn, type_), ())

    def dependants(self, resource: Resource) -> list[Resource]:
        """Return every resource that is made from `resource`."""
        return [item for item in self.resources if resource.urn in item.dependencies]


Check = Callable[[Resource, Stack], bool]


@dataclass(frozen=True, kw_only=True)
class Control:
    """One thing that must hold, and what the frameworks call it."""

    ids: tuple[str, ...]
    """Ids of checkov (`CKV_…`), trivy (`AWS-…`), CIS, CIS EKS, and FSBP (`S3.2`)."""
    title: str
    """What holds, as a sentence's end: "blocks public access four times"."""
    types: tuple[str, ...]
    check: Check


@dataclass(frozen=True)
class Finding:
    """One control, judged on one resource."""

    control: Control
    resource: Resource
    holds: bool
    waiver: Waived | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody has to act: it does not hold, and nobody has accepted that."""
        return not self.holds and self.waiver is None


def judge(
    stack: Stack, controls: Iterable[Control], waivers: Sequence[Waived] = ()
) -> list[Finding]:
    """Judge every resource of a stack by every control that is for its type."""
    by_type: dict[str, list[Resource]] = {}
    for resource in stack.resources:
        by_type.setdefault(resource.type, []).append(resource)
    return [
        _judged(control, resource, stack, waivers)
        for control in controls
        for type_ in control.types
        for resource in by_type.get(type_, ())
    ]


def _judged(
    control: Control, resource: Resource, stack: Stack, waivers: Sequence[Waived]
) -> Finding:
    if control.check(resource, stack):
        return Finding(control, resource, holds=True)
    accepted = (
        waiver
        for waiver in waivers
        if waiver.control in control.ids and fnmatchcase(resource.label, waiver.resource)
    )
    return Finding(control, resource, holds=False, waiver=next(accepted, None))

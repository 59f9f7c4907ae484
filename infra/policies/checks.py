"""The parts that controls are made of: conditions on inputs, companions and policy documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from infra.policies.model import Check, Resource, Stack

ANYWHERE: Final = ("0.0.0.0/0", "::/0")
"""Ranges that stand for every address."""
_READS: Final = (
    "BatchGet",
    "Describe",
    "Filter",
    "GenerateCredentialReport",
    "GenerateServiceLastAccessedDetails",
    "Get",
    "List",
    "Lookup",
    "Search",
    "Simulate",
    "StopQuery",
    "View",
)
"""What the actions begin with that change nothing but reports and queries of one's own."""


def given(path: str) -> Check:
    """Hold where an input is set to something."""
    return lambda resource, _: bool(resource.get(path))


def equals(path: str, *values: Any) -> Check:
    """Hold where an input is one of some values."""
    return lambda resource, _: resource.get(path) in values


def absent(path: str) -> Check:
    """Hold where an input is not set, or off."""
    return lambda resource, _: not resource.get(path)


def at_least(path: str, number: float) -> Check:
    """Hold where a number is not below another."""
    return lambda resource, _: float(resource.get(path, 0)) >= number


def includes(path: str, *items: str) -> Check:
    """Hold where a list has all of some items."""
    return lambda resource, _: set(items) <= set(resource.get(path, ()))


def every(*checks: Check) -> Check:
    """Hold where all of some checks do."""
    return lambda resource, stack: all(check(resource, stack) for check in checks)


def either(*checks: Check) -> Check:
    """Hold where one of some checks does."""
    return lambda resource, stack: any(check(resource, stack) for check in checks)


def companion(type_: str, *checks: Check) -> Check:
    """Hold where a resource of another type, made from this one, passes some checks."""
    return lambda resource, stack: any(
        every(*checks)(other, stack) for other in stack.companions(resource, type_)
    )


def no_companion(*types: str) -> Check:
    """Hold where nothing of some types is made from this one."""
    return lambda resource, stack: not any(stack.companions(resource, type_) for type_ in types)


def statements(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """Return every statement of every policy document among the inputs."""
    for value in resource.inputs.values():
        if isinstance(value, str) and value.startswith('{"Version"'):
            yield from json.loads(value)["Statement"]


def no_statement(wrong: Callable[[Mapping[str, Any]], bool]) -> Check:
    """Hold where no statement that allows something is wrong."""
    return lambda resource, _: (
        not any(wrong(item) for item in statements(resource) if item["Effect"] == "Allow")
    )


def denies_plain_http(resource: Resource, _: Stack) -> bool:
    """Hold where a policy refuses every request that does not come over TLS."""
    return any(
        item["Effect"] == "Deny"
        and item.get("Principal") == "*"
        and item.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for item in statements(resource)
    )


def for_everyone(statement: Mapping[str, Any]) -> bool:
    """Say whether a statement's principal is anybody at all."""
    principal = statement.get("Principal")
    names = principal.values() if isinstance(principal, Mapping) else [principal]
    return any(name in ("*", ["*"]) for name in names)


def every_action(statement: Mapping[str, Any]) -> bool:
    """Say whether a statement is for every action of AWS."""
    return "*" in statement["Action"]


def every_action_of_a_service(statement: Mapping[str, Any]) -> bool:
    """Say whether a statement is for every action of a service, on everything, always."""
    return _unlimited(statement) and any(action.endswith(":*") for action in statement["Action"])


def changes_anything(statement: Mapping[str, Any]) -> bool:
    """Say whether a statement is for more than reading, on everything, always."""
    return _unlimited(statement) and any(
        not action.partition(":")[2].startswith(_READS) for action in statement["Action"]
    )


def _unlimited(statement: Mapping[str, Any]) -> bool:
    return "Condition" not in statement and statement.get("Resource") in (["*"], "*")


def ranges(resource: Resource, *names: str) -> Iterable[str]:
    """Return the address ranges that some inputs name, each a text or a list."""
    for name in names:
        value = resource.get(name, [])
        yield from [value] if isinstance(value, str) else value


def anywhere(*names: str) -> Check:
    """Hold where one of the ranges in some inputs is every address."""
    return lambda resource, _: any(item in ANYWHERE for item in ranges(resource, *names))


def negate(check: Check) -> Check:
    """Hold where another check does not."""
    return lambda resource, stack: not check(resource, stack)

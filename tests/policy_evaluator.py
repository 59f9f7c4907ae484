"""Decides as IAM does, from policy documents alone: what of a request is allowed.

Covers what the project's policies use: wildcards, `NotAction`, policy variables, conditions, a
permissions boundary, and a resource's own policy inside one account. What it does not know it
refuses to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from typing import Any

Context = Mapping[str, str | Sequence[str]]
"""Condition key -> what the request carries; a key that is left out is absent."""
Statement = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: who does what to which resource, and what else AWS knows of it."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


def allows(
    request: Request,
    identity: Sequence[str],
    *,
    boundary: str | None = None,
    resource_policy: str | None = None,
) -> bool:
    """Tell whether identity policies allow a request, within a boundary and past every Deny.

    A resource's policy only takes away here: the project's grant nothing to their own account.
    """
    statements = [*_statements(identity)]
    capped = [statements] if boundary is None else [statements, [*_statements([boundary])]]
    denying = [*_statements([resource_policy])] if resource_policy else []
    every = [statement for group in (*capped, denying) for statement in group]
    if any(_applies(statement, request) for statement in every if statement["Effect"] == "Deny"):
        return False
    return all(
        any(_applies(statement, request) for statement in group if statement["Effect"] == "Allow")
        for group in capped
    )


def _fits(value: str, pattern: str) -> bool:
    return _compiled(pattern).match(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """`*` and `?` are IAM's only wildcards: brackets mean themselves."""
    return re.compile(translate(pattern.replace("[", "[[]")))


COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _fits,
    "ArnEquals": _fits,
    "ArnLike": _fits,
    "Bool": str.__eq__,
}


def _statements(documents: Sequence[str]) -> Iterator[Statement]:
    for document in documents:
        yield from json.loads(document)["Statement"]


def _applies(statement: Statement, request: Request) -> bool:
    return (
        _acts(statement, request.action)
        and _matches_any(statement["Resource"], request.resource, request.context)
        and all(
            _holds(operator, key, _listed(expected), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _acts(statement: Statement, action: str) -> bool:
    named = statement.get("Action", statement.get("NotAction"))
    found = any(_fits(action.lower(), pattern.lower()) for pattern in _listed(named))
    return found if "Action" in statement else not found


def _matches_any(patterns: Sequence[str], value: str, context: Context) -> bool:
    resolved = (_resolved(pattern, context) for pattern in _listed(patterns))
    return any(pattern is not None and _fits(value, pattern) for pattern in resolved)


def _resolved(pattern: str, context: Context) -> str | None:
    """Fill in policy variables; a pattern with a variable that has no value fits nothing."""
    for name in re.findall(r"\$\{([^}]+)\}", pattern):
        value = context.get(name)
        if not isinstance(value, str):
            return None
        pattern = pattern.replace(f"${{{name}}}", value)
    return pattern


def _holds(operator: str, key: str, expected: Sequence[str], context: Context) -> bool:
    if operator == "Null":
        return (key not in context) == (expected[0] == "true")
    if operator.startswith("ForAnyValue:"):
        return any(
            _compares(operator.removeprefix("ForAnyValue:"), value, expected, context)
            for value in _listed(context.get(key, ()))
        )
    if key not in context:
        # Negated operators hold for a key that is absent; the others need `IfExists`.
        return operator.endswith("IfExists") or "Not" in operator
    (value,) = _listed(context[key])
    return _compares(operator.removesuffix("IfExists"), value, expected, context)


def _compares(operator: str, value: str, expected: Sequence[str], context: Context) -> bool:
    negated = "Not" in operator
    compare = COMPARISONS[operator.replace("Not", "")]
    patterns = [_resolved(pattern, context) for pattern in expected]
    found = any(compare(value, pattern) for pattern in patterns if pattern is not None)
    return found != negated


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value

"""Compares what a command did with what was recorded, by the rules of ``cases/README.md``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

Json = Any

_TOKEN = re.compile(r"\$\{([a-zA-Z-]+)(\d*)\}")
_UNNUMBERED = frozenset({"ciphertext", "time", "path", "req", "provider-uuid", "salt"})
_NOT_COMPARED = frozenset({"sourcePosition", "stackTrace"})
_FORWARD = frozenset(
    {"create", "update", "same", "read", "import", "create-replacement", "import-replacement"}
)
_BACKWARD = frozenset({"delete", "delete-replaced", "discard", "discard-replaced"})


@dataclass
class Tokens:
    """What the tokens of a case (``${hex1}``, ``${vpc2}``) have turned out to stand for."""

    known: dict[str, str] = field(default_factory=dict)

    def match(self, expected: str, actual: str) -> bool:
        """Tell whether a text is the recorded one; a token that is met first is bound."""
        pattern, groups = "", dict[str, int]()
        position = 0
        for token in _TOKEN.finditer(expected):
            pattern += re.escape(expected[position : token.start()])
            position = token.end()
            name = token[1] + token[2]
            if name in self.known:
                pattern += re.escape(self.known[name])
            elif name in _UNNUMBERED:
                pattern += ".+?"
            elif name in groups:
                pattern += rf"\{groups[name]}\b"
            else:
                groups[name] = len(groups) + 1
                pattern += "(.+?)"
        found = re.fullmatch(pattern + re.escape(expected[position:]), actual, re.DOTALL)
        if found is None:
            return False
        lasting = {name: found[number] for name, number in groups.items()}
        if set(lasting.values()) & set(self.known.values()):
            return False  # two tokens never stand for the same value
        self.known.update(lasting)
        return True


def differences(expected: Json, actual: Json, tokens: Tokens, where: str = "") -> list[str]:
    """Compare JSON values leaf by leaf."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        found = []
        for key in sorted({*expected, *actual}):
            path = f"{where}.{key}"
            if key not in actual:
                found.append(f"{path}: missing, recorded {_brief(expected[key])}")
            elif key not in expected:
                found.append(f"{path}: not recorded, found {_brief(actual[key])}")
            else:
                found += differences(expected[key], actual[key], tokens, path)
        return found
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return [
            line
            for index, (one, other) in pairs
            for line in differences(one, other, tokens, f"{where}[{index}]")
        ]
    if isinstance(expected, str) and isinstance(actual, str):
        same = tokens.match(expected, actual)
    else:
        same = type(expected) is type(actual) and expected == actual
    return [] if same else [f"{where}: recorded {_brief(expected)}, found {_brief(actual)}"]


def _brief(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"


def differing_ops(expected: Iterable[Sequence[str]], actual: Iterable[Sequence[str]]) -> list[str]:
    """Compare operations as multisets."""
    recorded, found = Counter(map(tuple, expected)), Counter(map(tuple, actual))
    return [
        *(f"ops: missing {' '.join(op)}" for op in (recorded - found).elements()),
        *(f"ops: not recorded {' '.join(op)}" for op in (found - recorded).elements()),
    ]


def wrongly_ordered(
    ops: Sequence[Sequence[str]], needs: Mapping[str, AbstractSet[str]]
) -> list[str]:
    """Tell which operations come before what they need; deletes go the other way.

    `needs` maps a resource to the resources that it directly depends on.
    """
    forward = _first(ops, _FORWARD)
    backward = _first(ops, _BACKWARD)
    found = []
    for resource, needed in needs.items():
        for other in needed:
            if forward.get(resource, len(ops)) < forward.get(other, -1):
                found.append(f"order: {resource} before {other}, which it depends on")
            if backward.get(resource, -1) > backward.get(other, len(ops)):
                found.append(f"order: {other} deleted before {resource}, which depends on it")
    return found


def _first(ops: Sequence[Sequence[str]], kinds: AbstractSet[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for index, (resource, op) in enumerate(ops):
        if op in kinds:
            first.setdefault(resource, index)
    return first


def needs(state: Mapping[str, Json]) -> dict[str, set[str]]:
    """Read the direct dependencies out of a recorded state."""
    result: dict[str, set[str]] = {}
    for resource, entries in state.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            found = {entry.get("parent"), entry.get("provider"), *entry.get("dependencies", [])}
            found |= {u for urns in entry.get("propertyDependencies", {}).values() for u in urns}
            result.setdefault(resource, set()).update(found - {None, "", resource})
    return result


def comparable_entry(entry: Mapping[str, Json]) -> dict[str, Json]:
    """Leave out of a state entry what is the provider's own, and where the program stood."""
    result = {key: value for key, value in entry.items() if key != "outputsKeys"}
    for name in ("keys", "inputsKeys"):
        if name in entry:
            result[name] = sorted(
                key for key in entry[name] if key not in _NOT_COMPARED and not key.startswith("__")
            )
    for name in ("dependencies", "additionalSecretOutputs"):
        if name in entry:
            result[name] = sorted(entry[name])
    if "propertyDependencies" in entry:
        dependencies = entry["propertyDependencies"].items()
        result["propertyDependencies"] = {key: sorted(urns) for key, urns in dependencies}
    return result

"""Property values compared and merged: pure, and the same for every resource type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue, contains_unknown

Change = Literal["add", "delete", "update"]
Canon = Callable[[PropertyValue], PropertyValue]

_PLAIN_KEY: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")


def is_empty(value: PropertyValue) -> bool:
    """Tell whether a value says nothing: AWS does not tell absent from empty."""
    return value is None or value in ("", [], {})


def same_scalar(old: PropertyValue, new: PropertyValue) -> bool:
    """Compare two scalars as the wire means them: ``80`` is ``"80"``, ``True`` is ``"true"``."""
    return _text(old) == _text(new)


def _text(value: PropertyValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def json_canon(value: PropertyValue) -> PropertyValue:
    """Reduce a JSON text to what it means; text that is no JSON is left alone.

    AWS keeps neither the order of a policy's lists nor tells a list of one from its element.
    """
    if not isinstance(value, str):
        return value
    try:
        return _json_meaning(json.loads(value))
    except ValueError:
        return value


def _json_meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_meaning(item) for key, item in value.items()}
    if isinstance(value, list):
        items = sorted((_json_meaning(item) for item in value), key=_sort_key)
        return items[0] if len(items) == 1 else items
    return value


def _sort_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def join_path(path: str, key: str | int) -> str:
    """Extend a property path by a key or an index, as Pulumi writes paths."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.match(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def changes(
    old: PropertyValue, new: PropertyValue, path: str, ordered: bool = False
) -> Iterator[tuple[str, Change]]:
    """Give the paths at which two values differ, and how.

    Lists are sets, as they are nearly everywhere at AWS, unless `ordered`.
    """
    if is_empty(old) and is_empty(new):
        return
    if is_empty(old) or is_empty(new):
        yield path, "add" if is_empty(old) else "delete"
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from changes(old.get(key), new.get(key), join_path(path, key), ordered)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(old, new, path, ordered)
    elif new is UNKNOWN or not (_is_scalar(old) and _is_scalar(new) and same_scalar(old, new)):
        yield path, "update"


def _is_scalar(value: PropertyValue) -> bool:
    return not isinstance(value, Mapping | list)


def _list_changes(
    old: list[Any], new: list[Any], path: str, ordered: bool
) -> Iterator[tuple[str, Change]]:
    left = list(enumerate(old))
    right = list(enumerate(new))
    if not ordered:
        for entry in list(right):
            match = next((other for other in left if equal(other[1], entry[1])), None)
            if match is not None:
                left.remove(match)
                right.remove(entry)
    for (_, before), (index, after) in zip(left, right, strict=False):
        yield from changes(before, after, join_path(path, index), ordered)
    paired = min(len(left), len(right))
    for index, _ in left[paired:]:
        yield join_path(path, index), "delete"
    for index, _ in right[paired:]:
        yield join_path(path, index), "add"


def equal(old: PropertyValue, new: PropertyValue, ordered: bool = False) -> bool:
    """Tell whether two values mean the same; an unknown equals nothing."""
    if contains_unknown(new) or contains_unknown(old):
        return False
    return next(changes(old, new, "", ordered), None) is None


def project(live: PropertyValue, given: PropertyValue) -> PropertyValue:
    """Cut a live value down to what the given one speaks of, in its form where both agree.

    AWS answers with more than was asked for: defaults inside blocks, an order of its own.
    """
    if isinstance(live, dict) and isinstance(given, dict):
        cut = {key: project(live.get(key), item) for key, item in given.items()}
        return {key: item for key, item in cut.items() if item is not None}
    if isinstance(live, list) and isinstance(given, list):
        return _project_list(live, given)
    if type(live) is type(given) and same_scalar(live, given):
        return given
    return live


def _project_list(live: list[Any], given: list[Any]) -> list[Any]:
    rest = list(live)
    found: list[Any] = []
    for item in given:
        match = next((other for other in rest if equal(project(other, item), item)), None)
        if match is not None:
            rest.remove(match)
            found.append(item)
    for item in given:
        # What has changed is told in the words of its predecessor.
        if len(found) < len(live) and rest and not any(entry is item for entry in found):
            found.append(project(rest.pop(0), item))
    return found + rest


def merge_tags(default: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Give all tags of a resource: a provider's default ones and, above them, its own."""
    return {**default, **own}


def without_empty(properties: Mapping[str, Any]) -> PropertyMap:
    """Drop what is absent."""
    return {key: value for key, value in properties.items() if value is not None}

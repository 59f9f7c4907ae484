"""Comparing and combining property values: paths, ignoreChanges, replaceOnChanges, secrets.

Pure: plain property values in, plain property values out; nothing given is changed.
A path is Pulumi's: ``tags.Name``, ``ingress[0].port``, ``tags["a.b"]``, with ``*`` as a wildcard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from infra.sandbox.engine.provider import DiffKind, DiffResult
from infra.sandbox.engine.wire import (
    PropertyMap,
    PropertyValue,
    Secret,
    contains_secret,
    contains_unknown,
    reveal,
)

Path = tuple[str | int, ...]

WILDCARD: Final = "*"
INIT_ERROR_KEY: Final = "#initerror"
"""The path by which replaceOnChanges names a resource whose creation did not finish."""

_INVERSE: Final[Mapping[DiffKind, DiffKind]] = {
    "add": "delete",
    "add-replace": "delete-replace",
    "delete": "add",
    "delete-replace": "add-replace",
    "update": "update",
    "update-replace": "update-replace",
}
_TO_REPLACE: Final[Mapping[DiffKind, DiffKind]] = {
    "add": "add-replace",
    "delete": "delete-replace",
    "update": "update-replace",
}


class PathError(ValueError):
    """A property path that cannot be read; the message says which and why."""


def parse_path(text: str) -> Path:
    """Read a property path; ``a.b[0]["c"]`` is ``("a", "b", 0, "c")``."""
    if text.startswith("."):
        raise PathError(f"property path {text!r} must start with a name or an index")
    elements: list[str | int] = []
    position = 0
    while position < len(text):
        if text[position] == ".":
            position += 1
            if position == len(text):
                raise PathError(f"property path {text!r} must end with a name or an index")
        elif text[position] == "[":
            element, position = _parse_index(text, position)
            elements.append(element)
        else:
            end = position
            while end < len(text) and text[end] not in ".[":
                end += 1
            elements.append(text[position:end])
            position = end
    return tuple(elements)


def _parse_index(text: str, start: int) -> tuple[str | int, int]:
    """Read ``[0]``, ``[*]`` or ``["name"]`` at `start`; give it and the position behind it."""
    if text.startswith('["', start):
        return _parse_quoted(text, start)
    end = text.find("]", start)
    if end < 0:
        raise PathError(f"property path {text!r} lacks a closing bracket")
    segment = text[start + 1 : end]
    if segment == WILDCARD:
        return WILDCARD, end + 1
    try:
        return int(segment), end + 1
    except ValueError:
        raise PathError(f"property path {text!r}: {segment!r} is no array index") from None


def _parse_quoted(text: str, start: int) -> tuple[str, int]:
    key: list[str] = []
    position = start + 2
    while position < len(text) and text[position] != '"':
        if text.startswith('\\"', position):
            position += 1
        key.append(text[position])
        position += 1
    if not text.startswith('"]', position):
        raise PathError(f"property path {text!r} lacks a closing quote or bracket")
    return "".join(key), position + 2


def format_path(path: Sequence[str | int]) -> str:
    """Write a path in the form that `parse_path` reads."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        elif element.replace("_", "").isalnum() and element.isascii():
            text += f".{element}" if text else element
        else:
            escaped = element.replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def path_contains(pattern: Path, path: Path) -> bool:
    """Tell whether `path` is what `pattern` names, or lies inside it."""
    if len(path) < len(pattern):
        return False
    return all(wanted in (WILDCARD, found) for wanted, found in zip(pattern, path, strict=False))


def ignore_changes(
    inputs: PropertyMap, old_inputs: PropertyMap, paths: Iterable[str]
) -> tuple[PropertyMap, list[str]]:
    """Put the values at `paths` back to what they were; give the inputs and the paths in vain.

    A path is in vain where it leads into something that was added or removed. A path that exists
    on neither side changes nothing and is no mistake.
    """
    result: PropertyMap = copy_value(inputs)
    in_vain: list[str] = []
    for text in paths:
        try:
            path = parse_path(text)
        except PathError:
            continue
        if path and not _reset(path, old_inputs, result, secret_old=False, secret_new=False):
            in_vain.append(text)
    return result, in_vain


def copy_value(value: PropertyValue) -> PropertyValue:
    """Copy the containers of a value, so that the copy can be changed in place."""
    if isinstance(value, dict):
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    if isinstance(value, Secret):
        return Secret(copy_value(value.value))
    return value


def _reset(
    path: Path, old: PropertyValue, new: PropertyValue, *, secret_old: bool, secret_new: bool
) -> bool:
    """Set `new` at `path` to what `old` has there; False where the path leads nowhere common."""
    while isinstance(old, Secret):
        old, secret_old = old.value, True
    while isinstance(new, Secret):
        new, secret_new = new.value, True
    head, rest = path[0], path[1:]
    mark = secret_old and not secret_new
    if isinstance(head, int):
        if not rest:
            return _reset_index(head, old, new, mark=mark)
        return _descend_index(path, old, new, secret_old=secret_old, secret_new=secret_new)
    if head == WILDCARD:
        if not rest:
            return _reset_all(old, new, mark=mark)
        return _descend_all(rest, old, new, secret_old=secret_old, secret_new=secret_new)
    if not rest:
        return _reset_key(head, old, new, mark=mark)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return not isinstance(old, dict) and not isinstance(new, dict)
    if head not in new:
        return head not in old
    return _reset(rest, old.get(head), new[head], secret_old=secret_old, secret_new=secret_new)


def _marked(value: PropertyValue, *, mark: bool) -> PropertyValue:
    value = copy_value(value)
    return Secret(value) if mark and not isinstance(value, Secret) else value


def _reset_key(key: str, old: PropertyValue, new: PropertyValue, *, mark: bool) -> bool:
    if isinstance(old, dict) and key in old:
        if not isinstance(new, dict):
            return False
        new[key] = _marked(old[key], mark=mark)
    elif isinstance(new, dict):
        new.pop(key, None)
    return True


def _reset_index(index: int, old: PropertyValue, new: PropertyValue, *, mark: bool) -> bool:
    if index < 0:
        return False
    if not isinstance(old, list) or not isinstance(new, list):
        return not isinstance(old, list) and not isinstance(new, list)
    if index >= len(old) or index >= len(new):
        # Past the end of both is the same on both; past the end of one cannot be evened out.
        return index >= len(old) and index >= len(new)
    new[index] = _marked(old[index], mark=mark)
    return True


def _reset_all(old: PropertyValue, new: PropertyValue, *, mark: bool) -> bool:
    if isinstance(new, dict):
        if isinstance(old, dict):
            new.clear()
            new.update({key: _marked(value, mark=mark) for key, value in old.items()})
        return True
    if isinstance(new, list):
        if not isinstance(old, list):
            return True
        for index in range(min(len(old), len(new))):
            new[index] = _marked(old[index], mark=mark)
        return len(old) == len(new)
    return False


def _descend_index(
    path: Path, old: PropertyValue, new: PropertyValue, *, secret_old: bool, secret_new: bool
) -> bool:
    index = path[0]
    if not isinstance(index, int) or index < 0:
        return False
    if not isinstance(old, list) or not isinstance(new, list):
        return not isinstance(old, list) and not isinstance(new, list)
    if index >= len(old) or index >= len(new):
        return False
    return _reset(path[1:], old[index], new[index], secret_old=secret_old, secret_new=secret_new)


def _descend_all(
    rest: Path, old: PropertyValue, new: PropertyValue, *, secret_old: bool, secret_new: bool
) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(old[key], new.get(key)) for key in old]
        complete = all(key in new for key in old)
    elif isinstance(old, list) and isinstance(new, list):
        pairs = list(zip(old, new, strict=False))
        complete = len(old) == len(new)
    else:
        return False
    for old_item, new_item in pairs:
        if not _reset(rest, old_item, new_item, secret_old=secret_old, secret_new=secret_new):
            return False
    return complete


def replace_on_changes(
    diff: DiffResult, paths: Iterable[str], *, has_init_errors: bool = False
) -> DiffResult:
    """Turn changes at `paths` into replacements; ``#initerror`` stands for an unfinished create."""
    patterns = [parse_path(text) for text in paths]
    detailed: dict[str, DiffKind] = {}
    for text, kind in diff.detailed.items():
        forced = any(path_contains(pattern, parse_path(text)) for pattern in patterns)
        detailed[text] = _TO_REPLACE.get(kind, kind) if forced else kind
    if has_init_errors and any(path_contains(pattern, (INIT_ERROR_KEY,)) for pattern in patterns):
        detailed[INIT_ERROR_KEY] = "update-replace"
    return replace(diff, detailed=detailed)


def compare(old: PropertyMap, new: PropertyMap) -> dict[str, DiffKind]:
    """Tell how two property maps differ, path by path; secrets count by their value."""
    found: dict[str, DiffKind] = {}
    _compare((), reveal(old), reveal(new), found)
    return found


def _compare(
    path: Path, old: PropertyValue, new: PropertyValue, found: dict[str, DiffKind]
) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if key not in old:
                found[format_path((*path, key))] = "add"
            elif key not in new:
                found[format_path((*path, key))] = "delete"
            else:
                _compare((*path, key), old[key], new[key], found)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(old):
                found[format_path((*path, index))] = "add"
            elif index >= len(new):
                found[format_path((*path, index))] = "delete"
            else:
                _compare((*path, index), old[index], new[index], found)
    elif not same_value(old, new):
        found[format_path(path)] = "update"


def same_value(old: PropertyValue, new: PropertyValue) -> bool:
    """Tell whether two values are equal; an unknown equals nothing, True is not 1."""
    if contains_unknown(old) or contains_unknown(new):
        return False
    old, new = reveal(old), reveal(new)
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def invert(detailed: Mapping[str, DiffKind]) -> dict[str, DiffKind]:
    """Turn "what must change to get there" into "what has changed since"."""
    return {path: _INVERSE[kind] for path, kind in detailed.items()}


def top_level_keys(paths: Iterable[str]) -> tuple[str, ...]:
    """Give the properties that the paths lie in, each once, sorted."""
    return tuple(sorted({str(parse_path(text)[0]) for text in paths if text}))


def with_secrets(
    outputs: PropertyMap, inputs: PropertyMap, secret_names: Iterable[str]
) -> PropertyMap:
    """Wrap outputs as secret where the input of that name is, or where they are named.

    An object's members follow the members of the input's object; a list that holds a secret is
    secret as a whole. An ``id`` is never secret.
    """
    names = frozenset(secret_names)
    marked = _follow_inputs(outputs, inputs)
    return {
        key: Secret(value)
        if (key in names or isinstance(inputs.get(key), Secret))
        and not isinstance(value, Secret)
        and key != "id"
        else value
        for key, value in marked.items()
    }


def _follow_inputs(outputs: PropertyMap, inputs: PropertyMap) -> PropertyMap:
    marked: PropertyMap = {}
    for key, value in outputs.items():
        given = inputs.get(key)
        if isinstance(value, dict) and isinstance(given, dict):
            marked[key] = _follow_inputs(value, given)
        elif not isinstance(value, Secret) and contains_secret(given):
            marked[key] = Secret(value)
        else:
            marked[key] = value
    return marked


def known_only(properties: PropertyMap) -> PropertyMap:
    """Leave out the properties that are, or contain, something unknown."""
    return {key: value for key, value in properties.items() if not contains_unknown(value)}

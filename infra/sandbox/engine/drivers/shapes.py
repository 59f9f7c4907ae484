"""Property values to botocore's arguments and back: names are matched, values coerced by shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from infra.sandbox.engine.drivers.row import TagForm
from infra.sandbox.engine.provider import ProviderError

_WORDS: Final = re.compile(r"[^a-z0-9]")
_PAIRS: Final = ({"Key", "Value"}, {"TagKey", "TagValue"}, {"key", "value"})


@lru_cache(maxsize=4096)
def normal(name: str) -> str:
    """Reduce a name to what its writings share: ``cidrBlock``, ``CidrBlock``, ``cidr_block``."""
    return _WORDS.sub("", name.lower())


def member(shape: Any, name: str) -> str | None:
    """Find a structure's member for a property: the same name, or its singular or plural."""
    wanted = normal(name)
    by_name: dict[str, str] = {normal(candidate): candidate for candidate in shape.members}
    for variant in (wanted, f"{wanted}s", wanted.removesuffix("s")):
        if variant in by_name:
            return by_name[variant]
    return None


def to_api(shape: Any, value: Any) -> Any:
    """Turn a property's value into one of a botocore shape. Raises `ProviderError`."""
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, value)
    if kind == "list":
        return _list(shape, value)
    if kind == "map":
        return {key: to_api(shape.value, item) for key, item in value.items()}
    return _scalar(kind, value)


def _structure(shape: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = value[0] if value else {}
    if not isinstance(value, Mapping):
        raise ProviderError(f"{shape.name} takes an object, not a {type(value).__name__}.")
    result = {}
    for key, item in value.items():
        if item is None:
            continue
        name = member(shape, key)
        if name is None:
            raise ProviderError(
                f"The sandbox's cloud has no argument for {key} in {shape.name}."
                " Leave it out, or add it to the driver's table."
            )
        result[name] = to_api(shape.members[name], item)
    return result


def _list(shape: Any, value: Any) -> list[Any]:
    element = shape.member
    if isinstance(value, Mapping) and element.type_name == "structure":
        pair = next((names for names in _PAIRS if names <= set(element.members)), None)
        if pair is not None:
            key_name, value_name = sorted(pair)
            return [{key_name: key, value_name: str(item)} for key, item in value.items()]
    return [to_api(element, item) for item in (value if isinstance(value, list) else [value])]


def _scalar(kind: str, value: Any) -> Any:
    if kind == "string":
        if isinstance(value, bool):
            return str(value).lower()
        return json.dumps(value) if isinstance(value, list | dict) else str(value)
    if kind in {"integer", "long"}:
        return int(value)
    if kind in {"float", "double"}:
        return float(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    return value


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """Write an API's name as Pulumi does: ``KMSMasterKeyID`` becomes ``kmsMasterKeyId``."""
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", name)
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", spaced).split()
    return words[0].lower() + "".join(word[0].upper() + word[1:].lower() for word in words[1:])


def from_api(value: Any) -> Any:
    """Turn an API's answer into property values, names in camel case, tag lists as maps."""
    if isinstance(value, Mapping):
        return {camel(key): from_api(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        if value and all(isinstance(item, Mapping) and set(item) in _PAIRS for item in value):
            return tags_from_api(value)
        return [from_api(item) for item in value]
    return scalar_from_api(value)


def scalar_from_api(value: Any) -> Any:
    """Turn one scalar of an answer into a property value; times become RFC 3339."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def tags_from_api(tags: Any) -> dict[str, str]:
    """Give tags as a map, whatever form the service has; AWS's own tags are left out."""
    if not tags:
        return {}
    pairs = dict(tags) if isinstance(tags, Mapping) else dict(_pair(entry) for entry in tags)
    return {key: str(value) for key, value in pairs.items() if not key.startswith("aws:")}


def _pair(entry: Mapping[str, Any]) -> tuple[str, Any]:
    fields = {normal(key).removeprefix("tag"): value for key, value in entry.items()}
    return fields["key"], fields.get("value", "")


def tags_to_api(tags: Mapping[str, str], form: TagForm) -> Any:
    """Give tags in a service's form."""
    if form == "map":
        return dict(tags)
    key_name, value_name = _TAG_NAMES[form]
    return [{key_name: key, value_name: value} for key, value in tags.items()]


_TAG_NAMES: Final[Mapping[TagForm, tuple[str, str]]] = {
    "pairs": ("Key", "Value"),
    "lower-pairs": ("key", "value"),
    "tag-pairs": ("TagKey", "TagValue"),
}

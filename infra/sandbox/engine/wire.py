"""Property values as the engine holds them, and their form on Pulumi's gRPC wire.

A property value is JSON (``None``, ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``) plus
five kinds that JSON lacks: `UNKNOWN`, `Secret`, `ResourceReference`, `Asset` and `Archive`. On the
wire those five travel as structs with a signature key, as the SDK's ``pulumi.runtime.rpc`` writes
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from google.protobuf import struct_pb2

PropertyValue = Any
PropertyMap = dict[str, Any]

SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a published constant
ASSET_SIGNATURE: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
RESOURCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
BLINDED: Final = "[secret]"
"""What stands for a secret wherever it would be shown."""
_LEAST_SECRET: Final = 4
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class Unknown(Enum):
    """The type of `UNKNOWN`: a value that only the update itself will tell."""

    UNKNOWN = UNKNOWN_STRING

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True)
class Secret:
    """A value that is encrypted in state and masked wherever it would be shown."""

    value: PropertyValue

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True)
class ResourceReference:
    """A resource given as a value; `id` is None for a component, UNKNOWN before it is created."""

    urn: str
    id: str | Unknown | None = None
    package_version: str = ""


@dataclass(frozen=True)
class Asset:
    """A file's content; `fields` is the wire struct less its signature (text, path or uri)."""

    fields: Mapping[str, str]


@dataclass(frozen=True)
class Archive:
    """A set of files; `fields` is the wire struct less its signature (assets, path or uri)."""

    fields: Mapping[str, PropertyValue]


def decode_value(value: struct_pb2.Value) -> PropertyValue:
    """Turn one wire value into the engine's form; integral numbers become ``int``."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_STRING else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [decode_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_fields({k: decode_value(v) for k, v in value.struct_value.fields.items()})
    return None


def decode_struct(struct: struct_pb2.Struct) -> PropertyMap:
    """Turn a wire struct of properties into a property map; nulls are dropped as Pulumi does."""
    decoded = ((key, decode_value(value)) for key, value in struct.fields.items())
    return {key: value for key, value in decoded if value is not None}


def _decode_fields(fields: PropertyMap) -> PropertyValue:
    signature = fields.get(SIGNATURE_KEY)
    if not isinstance(signature, str):
        return fields
    decoder = _DECODERS.get(signature)
    return decoder(fields) if decoder else fields


def _decode_output(fields: PropertyMap) -> PropertyValue:
    # An output value's own dependencies repeat what the request's propertyDependencies say.
    value = fields.get("value", UNKNOWN)
    return Secret(value) if fields.get("secret") else value


def _without_signature(fields: PropertyMap) -> PropertyMap:
    return {key: value for key, value in fields.items() if key != SIGNATURE_KEY}


_DECODERS: Final[Mapping[str, Callable[[PropertyMap], PropertyValue]]] = {
    SECRET_SIGNATURE: lambda fields: Secret(fields.get("value")),
    RESOURCE_SIGNATURE: lambda fields: ResourceReference(
        fields["urn"], fields.get("id") or None, fields.get("packageVersion") or ""
    ),
    OUTPUT_SIGNATURE: _decode_output,
    ASSET_SIGNATURE: lambda fields: Asset(_without_signature(fields)),
    ARCHIVE_SIGNATURE: lambda fields: Archive(_without_signature(fields)),
}


def encode_struct(properties: Mapping[str, PropertyValue]) -> struct_pb2.Struct:
    """Turn a property map into a wire struct; secrets, references and unknowns keep their kind."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None:
            encode_value(value, struct.fields[key])
    return struct


def encode_value(value: PropertyValue, into: struct_pb2.Value) -> None:
    """Write one property value into a wire value."""
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif value is UNKNOWN:
        into.string_value = UNKNOWN_STRING
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, list | tuple):
        into.list_value.Clear()
        for item in value:
            encode_value(item, into.list_value.values.add())
    elif isinstance(value, Mapping):
        into.struct_value.Clear()
        for key, item in value.items():
            encode_value(item, into.struct_value.fields[key])
    else:
        encode_value(_signed(value), into)


def _signed(value: PropertyValue) -> PropertyMap:
    if isinstance(value, Secret):
        return {SIGNATURE_KEY: SECRET_SIGNATURE, "value": value.value}
    if isinstance(value, ResourceReference):
        fields: PropertyMap = {SIGNATURE_KEY: RESOURCE_SIGNATURE, "urn": value.urn}
        if value.id is not None:
            fields["id"] = value.id
        if value.package_version:
            fields["packageVersion"] = value.package_version
        return fields
    if isinstance(value, Asset):
        return {SIGNATURE_KEY: ASSET_SIGNATURE, **value.fields}
    if isinstance(value, Archive):
        return {SIGNATURE_KEY: ARCHIVE_SIGNATURE, **value.fields}
    raise TypeError(f"{type(value).__name__} is no property value")


def reveal(value: PropertyValue) -> PropertyValue:
    """Give the value with every secret's wrapping taken off; unknowns stay."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def without_secrets(text: str, *values: PropertyValue) -> str:
    """Give a text in which no string that the values hold as secret is left to read.

    Strings of fewer than four characters stay: they would be found in any text.
    """
    hidden = {string for value in values for string in _secret_strings(value, secret=False)}
    quoted = {json.dumps(string)[1:-1] for string in hidden}
    for string in sorted(hidden | quoted, key=len, reverse=True):
        text = text.replace(string, BLINDED)
    return text


def _secret_strings(value: PropertyValue, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_strings(value.value, secret=True)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secret_strings(item, secret=secret)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_strings(item, secret=secret)
    elif secret and isinstance(value, str) and len(value) >= _LEAST_SECRET:
        yield value


def contains_unknown(value: PropertyValue) -> bool:
    """Tell whether any part of the value is unknown."""
    if isinstance(value, Secret):
        return contains_unknown(value.value)
    if isinstance(value, ResourceReference):
        return value.id is UNKNOWN
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


def contains_secret(value: PropertyValue) -> bool:
    """Tell whether any part of the value is secret."""
    if isinstance(value, dict):
        return any(contains_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_secret(item) for item in value)
    return isinstance(value, Secret)

"""A stack's configuration: what its file says, and the sandbox's own overrides of it.

The sandbox writes no stack file. ``config set`` and ``config rm`` are kept as an ordered list of
`Edit`; the configuration in force, and the text that Pulumi would have left in the file, are
functions of the file's text and these edits alone.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

KeyPath = tuple[str | int, ...]
"""Where a value stands below its key; empty for the key itself."""

MASK: Final = "[secret]"

_CONTAINERS: Final = (list, dict)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_JSON_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class ConfigError(Exception):
    """A configuration cannot be read or changed as asked; the message is for the user."""


@dataclass(frozen=True)
class Ciphertext:
    """An encrypted value, in the file ``secure: <text>``."""

    text: str


ConfigValue = Any
"""A scalar, a `Ciphertext`, or a list or map of such."""

Config = dict[str, ConfigValue]
"""Fully qualified key (``mono-repo:settings``) to value."""

Decrypt = Callable[[str], str]


@dataclass(frozen=True)
class Edit:
    """One ``config set`` or ``config rm``."""

    op: Literal["set", "rm"]
    key: str
    path: KeyPath = ()
    value: ConfigValue = None

    def to_json(self) -> dict[str, Any]:
        """Give the form in which the edit is kept."""
        return {
            "op": self.op,
            "key": self.key,
            "path": list(self.path),
            "value": to_json(self.value),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Edit:
        """Read the form in which an edit is kept."""
        return cls(
            document["op"], document["key"], tuple(document["path"]), from_json(document["value"])
        )


def add_edit(edits: Sequence[Edit], edit: Edit) -> tuple[Edit, ...]:
    """Append an edit; where it only repeats the place of an earlier one, take that one's place."""
    same_key = [index for index, earlier in enumerate(edits) if earlier.key == edit.key]
    if edit.op == "set" and same_key:
        last = same_key[-1]
        if edits[last].op == "set" and edits[last].path == edit.path:
            return (*edits[:last], edit, *edits[last + 1 :])
    return (*edits, edit)


# Keys -------------------------------------------------------------------------------------------


def parse_key(text: str, project: str, *, path: bool = False) -> tuple[str, KeyPath]:
    """Read a key (``aws:region``, ``name``, with `path` also ``a.b[0]``): full key, and path."""
    head, rest = text, ""
    if path:
        match = re.search(r"[\[.]", text)
        if match is not None and match.start() > 0:
            head, rest = text[: match.start()], text[match.start() :]
    key = _qualified(head, project)
    if not path:
        return key, ()
    namespace, name = key.split(":", 1)
    first, *below = _parse_path(name + rest)
    if not isinstance(first, str) or not first:
        raise ConfigError(
            f"invalid configuration key: {text!r} does not begin with the name of a key"
        )
    return f"{namespace}:{first}", tuple(below)


def _qualified(key: str, project: str) -> str:
    match key.split(":"):
        case [name]:
            return f"{project}:{name}"
        case [namespace, name] | [namespace, "config", name]:
            return f"{namespace}:{name}"
        case _:
            raise ConfigError(
                f"invalid configuration key: could not parse {key} as a configuration key "
                "(configuration keys should be of the form `<namespace>:<name>`)"
            )


_STEP: Final = re.compile(
    r"""\[ (?: "(?P<quoted>(?:\\"|[^"])*)" | (?P<index>[0-9]+) ) \]
      | (?P<dot>\.)? (?P<name>[^.\[]+)""",
    re.VERBOSE,
)


def _parse_path(text: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (not steps and match["dot"]):
            raise ConfigError(
                f"invalid config key path: {text!r} is wrong at character {position + 1}; expected "
                'names and indices such as outer.inner[0] or ["a.b"]'
            )
        if match["index"] is not None:
            steps.append(int(match["index"]))
        elif match["quoted"] is not None:
            steps.append(match["quoted"].replace('\\"', '"'))
        else:
            steps.append(match["name"])
        position = match.end()
    return steps


def pretty_key(key: str, project: str) -> str:
    """Give a key as the user would write it: without the namespace of its own project."""
    return key.removeprefix(f"{project}:")


def _pretty_path(key: str, path: KeyPath) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return key.split(":", 1)[1] + "".join(parts)


# Reading ----------------------------------------------------------------------------------------


def read_config(text: str, project: str, file: str) -> Config:
    """Read the ``config`` section of a stack file; raises `ConfigError` naming `file`."""
    section = _load(text, file).get("config") or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{file}: 'config' must be a map from keys to values")
    return {_qualified(str(key), project): from_json(value) for key, value in section.items()}


def encryption_salt(text: str, file: str) -> str | None:
    """Give the passphrase provider's state that a stack file names for its ``secure:`` values."""
    return cast("str | None", _load(text, file).get("encryptionsalt"))


def _load(text: str, file: str) -> dict[str, Any]:
    import yaml  # slow to load

    try:
        document = yaml.load(text, Loader=_loader())  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"could not load the stack file {file}: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"could not load the stack file {file}: it is no map")
    return document


@functools.cache
def _loader() -> type[Any]:
    """Give a YAML loader that tells scalars apart as Pulumi's does (``yes`` is a string)."""
    import yaml  # slow to load

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # chosen at run time
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base class has it

    def integer(loader: Any, node: Any) -> int:
        text = loader.construct_scalar(node).replace("_", "")
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", text)
        if octal:
            return int(octal[1] + octal[2], 8)
        return int(text, 10 if _INTEGER.fullmatch(text) else 0)

    def date(loader: Any, node: Any) -> str:
        value = yaml.SafeLoader.construct_yaml_timestamp(loader, node)
        return f"{value} +0000 UTC" if hasattr(value, "hour") else f"{value} 00:00:00 +0000 UTC"

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first)
        )
    Loader.add_constructor("tag:yaml.org,2002:int", integer)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", date)
    return Loader


_FLOAT: Final = (
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TIMESTAMP: Final = (
    r"\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?"
    r"(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?"
)
_SCALARS: Final = (
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:[0-9][0-9_]*|0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+)", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("timestamp", _TIMESTAMP, "0123456789"),
    ("merge", "<<", "<"),
)


def is_plain_string(text: str) -> bool:
    """Tell whether YAML without quotes would read the text as the string that it is."""
    old_booleans = r"y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF"
    patterns = (*(pattern for _, pattern, _ in _SCALARS), old_booleans)
    return not any(re.fullmatch(pattern, text) for pattern in patterns)


def from_json(value: Any) -> ConfigValue:
    """Turn JSON or YAML data into a value: a map with the one key ``secure`` is a ciphertext."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("secure"), str):
            return Ciphertext(value["secure"])
        return {str(key): from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def to_json(value: ConfigValue) -> Any:
    """Turn a value into JSON data; ciphertexts stay encrypted."""
    if isinstance(value, Ciphertext):
        return {"secure": value.text}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def is_secret(value: ConfigValue) -> bool:
    """Tell whether any part of the value is encrypted."""
    if isinstance(value, dict):
        return any(is_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(is_secret(item) for item in value)
    return isinstance(value, Ciphertext)


def reencrypted(value: ConfigValue, again: Callable[[str], str]) -> ConfigValue:
    """Give the value with each of its ciphertexts replaced."""
    if isinstance(value, Ciphertext):
        return Ciphertext(again(value.text))
    if isinstance(value, dict):
        return {key: reencrypted(item, again) for key, item in value.items()}
    if isinstance(value, list):
        return [reencrypted(item, again) for item in value]
    return value


def is_object(value: ConfigValue) -> bool:
    """Tell whether the program gets the value as JSON text."""
    return value is None or isinstance(value, _CONTAINERS)


def plain(value: ConfigValue, decrypt: Decrypt) -> Any:
    """Give the value with its ciphertexts decrypted."""
    if isinstance(value, Ciphertext):
        return decrypt(value.text)
    if isinstance(value, dict):
        return {key: plain(item, decrypt) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, decrypt) for item in value]
    return value


def text_of(value: ConfigValue, decrypt: Decrypt) -> str:
    """Give the string that a program gets for a value."""
    revealed = plain(value, decrypt)
    return revealed if isinstance(revealed, str) else json_text(revealed)


def json_text(value: Any) -> str:
    """Give JSON in one line, as Pulumi writes it: keys in order, ``<``, ``>``, ``&`` escaped."""
    text = json.dumps(
        _whole_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return re.sub("[<>&]", lambda match: _JSON_ESCAPES[match[0]], text)


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def masked(_ciphertext: str) -> str:
    """Stand for decryption where secrets are not shown."""
    return MASK


# Editing ----------------------------------------------------------------------------------------


def effective_config(config: Config, edits: Iterable[Edit]) -> Config:
    """Give the configuration that the edits make of what the stack file says."""
    result = copy.deepcopy(config)
    for edit in edits:
        result = apply_edit(result, edit)
    return result


def apply_edit(config: Config, edit: Edit) -> Config:
    """Give the configuration after one edit; raises `ConfigError` where it does not fit."""
    result = copy.deepcopy(config)
    if edit.op == "rm":
        _remove(result, (edit.key, *edit.path), edit)
        return result
    if edit.path and not isinstance(result.get(edit.key), _CONTAINERS):
        result[edit.key] = None  # what was there is no map or list: it makes way for one
    result[edit.key] = _set(result.get(edit.key), edit.path, edit, 0)
    return result


def _set(holder: ConfigValue, path: KeyPath, edit: Edit, depth: int) -> ConfigValue:
    if not path:
        return edit.value
    step, below = path[0], path[1:]
    where = _pretty_path(edit.key, edit.path[:depth])
    if holder is None:
        holder = [None] * (step + 1) if isinstance(step, int) else {}
    if isinstance(holder, list):
        if not isinstance(step, int):
            raise ConfigError(f"could not set config: {where}: key for an array must be an int")
        if step > len(holder):
            raise ConfigError(f"could not set config: {where}[{step}]: array index out of range")
        if step == len(holder):
            holder.append(None)
        holder[step] = _set(holder[step], below, edit, depth + 1)
    elif isinstance(holder, dict):
        if not isinstance(step, str):
            raise ConfigError(f"could not set config: {where}: key for a map must be a string")
        if not below and not holder and step == "secure" and isinstance(edit.value, str):
            raise ConfigError(
                'could not set config: maps with the single key "secure" are reserved'
            )
        holder[step] = _set(holder.get(step), below, edit, depth + 1)
    else:
        expected = "an array" if isinstance(step, int) else "a map"
        raise ConfigError(f"could not set config: {where}: expected {expected}")
    return holder


def _remove(holder: ConfigValue, path: KeyPath, edit: Edit) -> None:
    step, below = path[0], path[1:]
    if not _has(holder, step):
        return
    if below:
        _remove(holder[step], below, edit)
        return
    if isinstance(holder, dict) and len(holder) == 2 and edit.path:  # noqa: PLR2004 - one is left
        left = next(key for key in holder if key != step)
        if left == "secure" and isinstance(holder[left], str):
            raise ConfigError(
                f'{_pretty_path(edit.key, edit.path)}: maps with the single key "secure" are '
                "reserved"
            )
    del holder[step]


def _has(holder: ConfigValue, step: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(step, int) and step < len(holder)
    return isinstance(holder, dict) and step in holder


def get_path(config: Config, key: str, path: KeyPath) -> tuple[bool, ConfigValue]:
    """Look a value up: whether it is there, and the value."""
    if key not in config:
        return False, None
    value = config[key]
    for step in path:
        if not _has(value, step):
            return False, None
        value = value[step]
    return True, value


def typed_value(text: str, kind: str | None, *, nested: bool) -> ConfigValue:
    """Give the value that ``config set`` makes of a text; `kind` is that of ``--type``.

    Without one, a nested ``true``, ``false`` or integer is that; the rest is a string.
    """
    if kind is None:
        return _coerced(text) if nested else text
    try:
        return _TYPES[kind](text)
    except KeyError as error:
        raise ConfigError(
            f"invalid type {kind!r}; must be one of string, int, bool, or float"
        ) from error
    except ValueError as error:
        raise ConfigError(f"the value {text!r} is no {kind}. Nothing was set") from error


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_TYPES: Final[Mapping[str, Callable[[str], ConfigValue]]] = {
    "string": str,
    "int": int,
    "float": float,
    "bool": _boolean,
}


def _coerced(text: str) -> ConfigValue:
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and not (len(text) > 1 and text[0] == "0"):
        return int(text)
    return text


# The project's own defaults ---------------------------------------------------------------------


def with_project_config(config: Config, declared: Mapping[str, Any], project: str) -> Config:
    """Add the values and defaults of the project file's ``config`` section."""
    result = dict(config)
    for name in sorted(declared):
        key = _qualified(name, project)
        spec = _declaration(declared[name], namespaced=":" in name)
        value = spec.get("default", spec.get("value"))
        if key not in result and value is not None:
            result[key] = value if isinstance(value, _CONTAINERS) else _scalar_text(value)
    return result


def check_project_config(
    config: Config, declared: Mapping[str, Any], project: str, stack: str
) -> None:
    """Raise `ConfigError` where a declared key is missing, or its value is of another type."""
    missing = [
        name for name in sorted(declared) if ":" not in name and f"{project}:{name}" not in config
    ]
    if missing:
        names = [f"'{name}'" for name in missing]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        plural = "value" if len(names) == 1 else "values"
        raise ConfigError(f"Stack '{stack}' is missing configuration {plural} {listed}")
    for name in sorted(declared):
        kind = _declaration(declared[name], namespaced=":" in name).get("type")
        value = config.get(_qualified(name, project))
        if kind is not None and not _has_type(value, str(kind)):
            raise ConfigError(
                f"Stack '{stack}' with configuration key '{name}' must be of type '{kind}'"
            )


def _declaration(value: Any, *, namespaced: bool) -> Mapping[str, Any]:
    fields = {"type", "value", "default", "description", "secret", "items"}
    if isinstance(value, Mapping) and (not namespaced or set(value) <= fields):
        return value
    return {"value" if namespaced else "default": value}


def _has_type(value: ConfigValue, kind: str) -> bool:
    if value is None or is_secret(value):
        return True
    if kind == "array":
        return isinstance(value, list)
    if isinstance(value, _CONTAINERS):
        return kind == "object"
    text = _scalar_text(value)
    if kind == "boolean":
        return text in ("true", "false")
    if kind == "integer":
        return _INTEGER.fullmatch(text) is not None
    return kind == "string"


def _scalar_text(value: ConfigValue) -> str:
    return value if isinstance(value, str) else json_text(value)

"""The text that Pulumi would have left in a stack file after the sandbox's configuration edits.

Pulumi changes only the nodes that differ, in place; but it writes the whole document anew: two
spaces of indentation, no empty lines, comments moved along, and scalars directly under ``config``
as strings.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.sandbox.engine.config import (
    Ciphertext,
    Config,
    ConfigValue,
    Edit,
    apply_edit,
    is_object,
    is_plain_string,
    json_text,
    parse_key,
    read_config,
)

_UNLIMITED_WIDTH: Final = 1_000_000


def effective_text(text: str, edits: Sequence[Edit], project: str, file: str) -> str:
    """Give the stack file's text after the edits; without any, it is the text itself."""
    if not edits:
        return text
    from ruamel.yaml.comments import CommentedMap  # slow to load

    yaml = _yaml()
    document = yaml.load(text)
    if document is None:
        document = CommentedMap()
    section = document.setdefault("config", CommentedMap())
    names = {parse_key(str(raw), project)[0]: raw for raw in section}
    before = read_config(text, project, file)
    after: Config = {key: _as_string(value) for key, value in before.items()}
    _reconcile_section(section, before, after, names)
    for edit in edits:
        before, after = after, apply_edit(after, edit)
        _reconcile_section(section, before, after, names)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return _tidy(stream.getvalue())


def _yaml() -> Any:
    from ruamel.yaml import YAML  # slow to load

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _UNLIMITED_WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None),
        lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
    )
    return yaml


def _as_string(value: ConfigValue) -> ConfigValue:
    if is_object(value) or isinstance(value, str | Ciphertext):
        return value
    return json_text(value)


def _reconcile_section(section: Any, before: Config, after: Config, names: dict[str, Any]) -> None:
    raw_before = {names.get(key, key): value for key, value in before.items()}
    raw_after = {names.get(key, key): value for key, value in after.items()}
    _reconcile_map(section, raw_before, raw_after)


def _reconcile_map(
    node: Any, before: Mapping[str, ConfigValue], after: Mapping[str, ConfigValue]
) -> None:
    for key in [key for key in node if str(key) not in after]:
        del node[key]
    keys = {str(key): key for key in node}
    for name, value in after.items():
        if name in keys:
            node[keys[name]] = _reconciled(node[keys[name]], before.get(name), value)
        else:
            node[name] = _node(value)


def _reconciled(node: Any, before: ConfigValue, after: ConfigValue) -> Any:
    if type(before) is type(after) and before == after:
        return node
    if isinstance(before, dict) and isinstance(after, dict):
        _reconcile_map(node, before, after)
        return node
    if isinstance(before, list) and isinstance(after, list):
        common = min(len(before), len(after))
        for index in range(common):
            node[index] = _reconciled(node[index], before[index], after[index])
        del node[common:]
        node.extend(_node(item) for item in after[common:])
        return node
    return _node(after, style_of=node)


def _node(value: ConfigValue, style_of: Any = None) -> Any:
    from ruamel.yaml import scalarstring  # slow to load
    from ruamel.yaml.comments import CommentedMap, CommentedSeq  # slow to load

    if isinstance(value, Ciphertext):
        return CommentedMap(secure=value.text)
    if isinstance(value, dict):
        return CommentedMap((key, _node(item)) for key, item in value.items())
    if isinstance(value, list):
        return CommentedSeq(_node(item) for item in value)
    if not isinstance(value, str):
        return value
    if isinstance(style_of, scalarstring.ScalarString):
        return type(style_of)(value)
    if "\n" in value:
        return scalarstring.LiteralScalarString(value)
    return value if is_plain_string(value) else scalarstring.DoubleQuotedScalarString(value)


def _tidy(text: str) -> str:
    """Take out empty lines, put comments at the column of what follows, or one space after."""
    verbatim, content_ends = _layout(text)
    lines = text.split("\n")
    result: list[str] = []
    indent = ""
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        stripped = line.strip()
        if number in verbatim:
            result.append(line)
        elif stripped.startswith("#"):
            result.append(indent + stripped)
        elif stripped:
            indent = line[: len(line) - len(line.lstrip())]
            end = content_ends.get(number, len(line))
            comment = line[end:].strip()
            result.append(f"{line[:end]} {comment}" if comment else line[:end].rstrip())
    return "\n".join(reversed(result)) + "\n"


def _layout(text: str) -> tuple[set[int], dict[int, int]]:
    """Tell which lines belong to scalars of several lines, and where each line's content ends."""
    import yaml  # slow to load

    verbatim: set[int] = set()
    ends: dict[int, int] = {}
    for token in yaml.scan(text):
        start, end = token.start_mark, token.end_mark
        if isinstance(token, yaml.ScalarToken) and start.line != end.line:
            verbatim.update(range(start.line + 1, end.line))
            if token.style not in ("|", ">"):
                verbatim.add(end.line)
            ends[start.line] = len(text.split("\n")[start.line])
        elif start.index != end.index:
            ends[end.line] = max(ends.get(end.line, 0), end.column)
    return verbatim, ends

"""Reads a stack file the way the Pulumi CLI does, and tells what the CLI would let pass.

YAML 1.2's core schema as the CLI's parser applies it: `yes` and `on` are text, so `ops` and the
program see the same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from infra import naming
from infra.settings.problems import SECTION, Problem, join, nearest, shown

_CONFIG: Final = "config"


class _Loader(yaml.SafeLoader):
    """Plain data only, by the core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?[0-9]+(\.[0-9]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", list("-+0123456789")),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", list("0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first
    )


def read(name: str, root: Path) -> tuple[object | None, list[Problem]]:
    """Return the settings object of a stack's file, as plain data, and what is wrong around it.

    The first is None where there is nothing to go on with; then the second says why.
    """
    file = naming.stack_file(name)
    try:
        text = (root / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, [_no_file(name, root)]
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else "no UTF-8 text"
        return None, [_whole(file, f"a file that cannot be read: {found}", "make it readable text")]
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            repeated = list(_repeated_keys(file, node, "", depth=0))
            document = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [_not_yaml(file, error)]
    return _settings_in(file, document, repeated)


def _settings_in(
    file: str, document: object, problems: list[Problem]
) -> tuple[object | None, list[Problem]]:
    config = document.get(_CONFIG) if isinstance(document, dict) else None
    if not isinstance(config, dict):
        remedy = f"write `config:` with the key {SECTION} under it"
        return None, [*problems, _whole(file, f"no `{_CONFIG}` object", remedy)]
    problems = [*problems, *_encrypted(file, config)]
    if SECTION not in config:
        guess = nearest(SECTION, (key for key in config if isinstance(key, str)))
        remedy = f"did you mean {guess} to be {SECTION}?" if guess else "add the key"
        missing = Problem(file, f"{_CONFIG}.{SECTION}", "nothing", "the settings object", remedy)
        return None, [*problems, missing]
    raw = config[SECTION]
    if not isinstance(raw, dict):
        shape = Problem(file, SECTION, shown(raw), "an object of keys", "write the settings there")
        return None, [*problems, shape]
    return raw, problems


def _encrypted(file: str, config: dict[Any, object]) -> Iterator[Problem]:
    for key, value in config.items():
        if isinstance(value, dict) and set(value) == {"secure"}:
            yield Problem(
                file,
                f"{_CONFIG}.{key}",
                "an encrypted value",
                "no secret in a stack file",
                "remove it, and keep the secret in the Parameter Store by `ops params`",
            )


def _repeated_keys(file: str, node: yaml.Node | None, path: str, depth: int) -> Iterator[Problem]:
    """Find keys that stand twice in one object: YAML's readers drop one of them in silence."""
    if depth > 64:  # noqa: PLR2004  # an alias to its own parent has no end
        return
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(file, item, f"{join(path, index)}", depth + 1)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        word = str(key.value)
        here = join(path, word)
        line = key.start_mark.line + 1
        if word in lines:
            yield Problem(
                file,
                here.removeprefix(f"{_CONFIG}.{SECTION}."),
                f"the key twice, in lines {lines[word]} and {line}",
                "each key once in an object",
                "merge the two, or remove one",
            )
        lines.setdefault(word, line)
        yield from _repeated_keys(file, value, here, depth + 1)


def _no_file(name: str, root: Path) -> Problem:
    there = sorted(path.name[7:-5] for path in root.glob("Pulumi.*.yaml"))
    guess = nearest(name, there)
    remedy = f"did you mean {guess}?" if guess else "run the command in the project's root"
    allowed = f"the stack file of one of: {', '.join(there)}" if there else "a stack file"
    return Problem(naming.stack_file(name), "the file", "no such file", allowed, remedy)


def _not_yaml(file: str, error: Exception) -> Problem:
    """Say where the text stops being YAML, without repeating it: a line may hold anything."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or "it cannot be read"
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return _whole(file, f"text that is not YAML{where}: {reason}", "correct the text there")


def _whole(file: str, found: str, remedy: str) -> Problem:
    return Problem(file, "the file", found, "a Pulumi stack file in YAML", remedy)

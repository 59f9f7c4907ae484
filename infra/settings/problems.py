"""What is wrong with a stack file, in words that say what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SECTION: Final = "mono-repo:settings"
"""The configuration key that holds all settings."""

HIDDEN: Final = "a value (not shown)"
"""Stands for what may be a secret."""

_LONGEST_SHOWN: Final = 80


@dataclass(frozen=True, order=True)
class Problem:
    """One refusal: where it is, what is there, what may be there and what to do."""

    file: str
    path: str
    found: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.path}\n"
            f"    found:   {self.found}\n"
            f"    allowed: {self.allowed}\n"
            f"    remedy:  {self.remedy}"
        )


class SettingsError(Exception):
    """A stack file cannot be used. Nothing was built or changed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        files = dict.fromkeys(problem.file for problem in self.problems)
        return "\n".join(self._of_file(file) for file in files)

    def _of_file(self, file: str) -> str:
        problems = [problem for problem in self.problems if problem.file == file]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        heading = f"{file} is not usable: {count}. Nothing was built or changed."
        return "\n".join([heading, *(f"  {problem}" for problem in problems)])


def join(path: str, step: str | int) -> str:
    """Write one step further into the data as people do: `network.availability_zones[0]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    word = step if step.isprintable() else repr(step)
    return f"{path}.{word}" if path else word


def shown(value: object) -> str:
    """Describe a value for a message: scalars literally, the rest by kind and size."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            literal = repr(value)
            return literal if len(literal) <= _LONGEST_SHOWN else f"{literal[:_LONGEST_SHOWN]}…"
        case int() | float():
            try:
                return f"the number {value}"
            except ValueError:  # Python refuses to print integers of thousands of digits
                return "a very large number"
        case Mapping():
            return f"an object of {len(value)} {'key' if len(value) == 1 else 'keys'}"
        case Sequence():
            return f"a list of {len(value)} {'item' if len(value) == 1 else 'items'}"
        case _:
            return f"a {type(value).__name__}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one was probably meant to be."""
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    folded = word.lower().replace("-", "_")
    match = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[match[0]] if match else None

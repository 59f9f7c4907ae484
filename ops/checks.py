"""Checks: what was looked at, what was found, what was expected, and what to do about it.

Doctors, verifications and audits of backups answer with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree as ET

from ops.errors import ExitCode
from ops.render import Line

Status = Literal["ok", "warn", "fail", "unknown", "skipped"]
"""`unknown`: it could not be looked at. `skipped`: it does not apply, or what it needs failed."""

_SIGNS: Final[Mapping[Status, tuple[str, str]]] = {
    "ok": ("ok", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "bold red"),
    "unknown": ("?", "bold yellow"),
    "skipped": ("-", "dim"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    status: Status
    found: str
    expected: str = ""
    remedy: str = ""
    """What to do, where something is to be done."""


def exit_code(checks: Iterable[Check]) -> ExitCode:
    """Give the exit code: what could not be looked at weighs more than what was found."""
    statuses = {check.status for check in checks}
    if "unknown" in statuses:
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if "fail" in statuses else ExitCode.OK


def lines(checks: Sequence[Check]) -> Iterator[Line]:
    """Give checks as people read them at a terminal."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        sign, style = _SIGNS[check.status]
        yield Line(f"{sign:<4}  {check.name:<{width}}  {check.found}", style)
        if check.status in ("warn", "fail", "unknown"):
            if check.expected:
                yield Line(f"      {'':<{width}}  expected: {check.expected}")
            if check.remedy:
                yield Line(f"      {'':<{width}}  to do: {check.remedy}")
    if checks:
        yield Line("")
        yield Line(summary(checks))


def summary(checks: Sequence[Check]) -> str:
    """Give how many there are of each status, in one line."""
    counts = Counter(check.status for check in checks)
    return ", ".join(f"{counts[status]} {status}" for status in _SIGNS if counts[status])


def markdown(checks: Sequence[Check]) -> Iterator[Line]:
    """Give checks as a table in Markdown."""
    yield Line("| status | check | found | expected | to do |")
    yield Line("|---|---|---|---|---|")
    for check in checks:
        cells = (check.status, check.name, check.found, check.expected, check.remedy)
        yield Line("| " + " | ".join(_cell(cell) for cell in cells) + " |")


def junit(name: str, checks: Sequence[Check]) -> str:
    """Give checks as JUnit's XML: a failure is a finding, an error could not be looked at."""
    counts = Counter(check.status for check in checks)
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(checks)),
        failures=str(counts["fail"]),
        errors=str(counts["unknown"]),
        skipped=str(counts["skipped"]),
    )
    elements = {"fail": "failure", "unknown": "error", "skipped": "skipped"}
    for check in checks:
        case = ET.SubElement(suite, "testcase", classname=name, name=check.name)
        if element := elements.get(check.status):
            said = ET.SubElement(case, element, message=check.found)
            said.text = "\n".join(
                f"{word}: {text}"
                for word, text in (("expected", check.expected), ("to do", check.remedy))
                if text
            )
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")

"""The baseline as a page: each control, where it is met, and what is accepted instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.policies.catalogue import CONTROLS, OPERATED
from infra.policies.model import Control, Finding

_HEAD: Final = """# Security baseline

Generated from the controls in `infra/policies`, judged on every resource of every committed stack
(`make golden` writes this page anew; a test holds it). Ids: checkov (`CKV_`, `CKV2_`), trivy
(`AWS-`), CIS AWS Foundations 7.0 (`CIS-`), CIS EKS 1.8 (`CIS-EKS-`), AWS Foundational Security Best
Practices (`S3.2` and the like). What does not hold is a waiver in a stack file, with its reason and
its last day; without one the tests fail.
"""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The findings of one stack."""

    environment: str
    stack: str
    """`environment`, `bootstrap` or `account`."""
    findings: Sequence[Finding]


def page(judged: Iterable[Judged]) -> str:
    """Return the page as Markdown."""
    stacks = list(judged)
    parts = [_HEAD]
    for area, controls in CONTROLS.items():
        parts += [f"## {area}", _table(controls, stacks)]
    rows = [f"| {_ids(item.ids)} | {item.title} | {item.how} |" for item in OPERATED]
    parts += [
        "## In running the account",
        "\n".join(["| Controls | What holds | How |", "|---|---|---|", *rows]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(controls: Iterable[Control], stacks: Sequence[Judged]) -> str:
    rows = ["| Controls | What holds | Where | Not where, and why |", "|---|---|---|---|"]
    for control in controls:
        found = [
            (stack, finding)
            for stack in stacks
            for finding in stack.findings
            if finding.control is control
        ]
        rows.append(
            f"| {_ids(control.ids)} | {control.title} | {_where(found)} | {_waived(found)} |"
        )
    return "\n".join(rows)


def _ids(ids: Iterable[str]) -> str:
    return ", ".join(ids)


def _where(found: Sequence[tuple[Judged, Finding]]) -> str:
    if not found:
        return "no stack has such a resource"
    counts: dict[str, dict[str, int]] = {}
    for stack, finding in found:
        if finding.holds:
            of_stack = counts.setdefault(stack.stack, {})
            of_stack[stack.environment] = of_stack.get(stack.environment, 0) + 1
    return "; ".join(f"{stack}: {_numbers(numbers)}" for stack, numbers in counts.items())


def _numbers(numbers: Mapping[str, int]) -> str:
    if len(set(numbers.values())) == 1 and len(numbers) > 1:
        return f"{next(iter(numbers.values()))} in each of {', '.join(numbers)}"
    return ", ".join(f"{number} in {environment}" for environment, number in numbers.items())


def _waived(found: Sequence[tuple[Judged, Finding]]) -> str:
    accepted: dict[tuple[str, str, str], list[str]] = {}
    for stack, finding in found:
        waiver = finding.waiver
        if waiver is not None:
            key = (waiver.resource, waiver.reason, waiver.until.isoformat())
            environments = accepted.setdefault(key, [])
            if stack.environment not in environments:
                environments.append(stack.environment)
    return "<br>".join(
        f"{', '.join(environments)}: `{resource}` until {until}: {reason}"
        for (resource, reason, until), environments in accepted.items()
    )

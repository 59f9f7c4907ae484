"""Every committed stack, judged by every control of the baseline; the page that says so."""

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from infra.policies import CONTROLS, OPERATED, Finding, Resource, Stack, judge
from infra.policies.page import Judged, page
from infra.settings import Waiver
from tests.stacks.programs import GRAPHS, kind_of, settings_of

ALL = [control for controls in CONTROLS.values() for control in controls]


@cache
def judged(stack: str) -> list[Finding]:
    resources = [
        Resource(node.urn, node.type, node.name, node.inputs, node.dependencies)
        for node in GRAPHS[stack].resources()
    ]
    return judge(Stack(resources), ALL, settings_of(stack).waivers)


@pytest.mark.parametrize("stack", sorted(GRAPHS))
def test_every_control_holds_or_is_waived(stack: str) -> None:
    found = [
        f"{finding.control.ids[0]} {finding.resource.label}: {finding.control.title}"
        for finding in judged(stack)
        if finding.is_open
    ]
    assert found == []


def test_every_waiver_is_still_needed() -> None:
    """A waiver of what holds by now would hide the day on which it stops to hold."""
    used = {
        (settings_of(stack).environment, finding.waiver.control, finding.waiver.resource)
        for stack in GRAPHS
        for finding in judged(stack)
        if isinstance(finding.waiver, Waiver)
    }
    written = {
        (settings_of(stack).environment, waiver.control, waiver.resource)
        for stack in GRAPHS
        for waiver in settings_of(stack).waivers
    }
    assert written - used == set()


def test_no_id_stands_for_two_controls() -> None:
    ids = Counter(
        id_
        for named in ([c.ids for c in ALL], [o.ids for o in OPERATED])
        for g in named
        for id_ in g
    )
    assert [id_ for id_, count in ids.items() if count > 1] == []


def test_the_page_of_the_baseline_is_up_to_date(root: Path) -> None:
    file = root / "docs" / "baseline.md"
    text = page(
        Judged(
            environment=settings_of(stack).environment,
            stack=kind_of(stack),
            findings=judged(stack),
        )
        for stack in GRAPHS
    )
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), "run `make golden` and review the difference"

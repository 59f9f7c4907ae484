"""What a start plans: exactly what ran before, in an order that no rule and no alarm undoes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.suspension import Running, Sizes
from ops import capacity, start
from ops.capacity import Estate, NodeGroup, ScalingGroup
from ops.errors import OpsError
from ops.execution import Context
from ops.plan import Step

SIZES = Sizes(min=1, desired=3, max=6)
BEFORE = Running(
    node_groups={"mono-repo-dev": {"general": SIZES}},
    instances=tuple(f"i-{number}" for number in range(150)),
    databases=("mono-repo-dev",),
)
STOPPED = Estate(alarms={"cpu": False, "disk": True}, rule="ENABLED")


def _stages(steps: list[Step]) -> dict[int, set[str]]:
    return {
        stage: {step.action for step in steps if step.stage == stage}
        for stage in sorted({step.stage for step in steps})
    }


def test_the_rule_is_disabled_first_and_the_record_goes_last() -> None:
    assert _stages(start.steps(BEFORE, STOPPED)) == {
        0: {"start:rule"},
        1: {"start:nodes", "start:instances", "start:database"},
        2: {"settle:nodes", "settle:instances", "settle:database"},
        3: {"start:alarms"},
        4: {"start:forget"},
        5: {"refresh"},
    }


def test_another_command_can_have_the_steps_after_its_own() -> None:
    steps = start.steps(BEFORE, STOPPED, stage=7)
    assert min(step.stage for step in steps) == 7
    assert {step.action for step in steps} <= set(start.ACTIONS)


def test_sizes_are_given_back_exactly_and_only_silent_alarms_are_changed() -> None:
    steps = {step.id: step for step in start.steps(BEFORE, STOPPED)}
    assert steps["start:nodes:mono-repo-dev/general"].data["sizes"] == SIZES.model_dump()
    assert [len(steps[f"start:instances:{number}"].data["ids"]) for number in (1, 2)] == [100, 50]
    assert steps["start:alarms"].data["names"] == ["cpu"]


def test_the_record_stays_while_anything_has_not_settled() -> None:
    steps = start.steps(BEFORE, STOPPED)
    forget = next(step for step in steps if step.action == "start:forget")
    done: dict[str, Any] = {step.id: {} for step in steps if step.stage < forget.stage}
    del done["settle:database:mono-repo-dev"]
    context = Context(
        setting=cast("Any", None),
        access=cast("Any", None),
        journal=cast("Any", None),
        plan=cast("Any", None),
        lock=None,
        results=done,
    )
    with pytest.raises(OpsError, match="kept, as not all of it has settled: 1 step left"):
        start.ACTIONS["start:forget"](context, forget)


@pytest.mark.parametrize(
    ("now", "answer"),
    [
        (Sizes(min=0, desired=0, max=6), "accepted"),
        (Sizes(min=1, desired=3, max=6), "settled"),
        (Sizes(min=1, desired=5, max=6), "settled"),
        (Sizes(min=1, desired=0, max=6), "accepted"),
    ],
)
def test_a_group_that_has_its_sizes_back_is_the_autoscalers_business(
    now: Sizes, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = NodeGroup(cluster="mono-repo-dev", name="general", sizes=now, status="ACTIVE")
    monkeypatch.setattr(capacity, "node_group", lambda *_: group)
    monkeypatch.setattr(capacity, "_update", lambda *_: "accepted")
    step = next(step for step in start.steps(BEFORE, STOPPED) if step.action == "start:nodes")
    assert start._ask_nodes(cast("Any", None), step)[0] == answer


@pytest.mark.parametrize(
    ("scaled", "given"),
    [
        ((0, 0), (1, 3)),
        ((0, 5), (1, 5)),
        ((1, 1), None),
        ((1, 6), None),
    ],
)
def test_what_a_stop_took_from_an_auto_scaling_group_is_given_back_where_eks_would_not(
    scaled: tuple[int, int], given: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    least, wanted = scaled
    group = NodeGroup(
        cluster="mono-repo-dev",
        name="general",
        sizes=SIZES,
        status="ACTIVE",
        scaling_groups=("eks-general",),
    )
    nodes = {f"i-{number}": "InService" for number in range(3)}
    behind = ScalingGroup(name="eks-general", min=least, desired=wanted, instances=nodes)
    asked: list[tuple[int, int]] = []

    def rescale(_access: object, _name: str, *, least: int, wanted: int) -> str:
        asked.append((least, wanted))
        return ""

    monkeypatch.setattr(capacity, "node_group", lambda *_: group)
    monkeypatch.setattr(capacity, "scaled", lambda *_: (behind,))
    monkeypatch.setattr(capacity, "rescale", rescale)
    said: list[str] = []

    def wait(_what: str, missing: Callable[[], str], **_: float) -> None:
        said.append(missing())

    context = cast("Context", SimpleNamespace(access=None, wait=wait))
    step = next(step for step in start.steps(BEFORE, STOPPED) if step.action == "settle:nodes")
    start.ACTIONS["settle:nodes"](context, step)
    assert asked == ([given] if given else [])
    assert bool(said[0]) == bool(given), "it is not settled before it was looked at again"


def test_a_group_with_less_than_its_least_behind_eks_is_no_exact_start() -> None:
    step = next(step for step in start.steps(BEFORE, STOPPED) if step.action == "start:nodes")
    behind = ScalingGroup(name="eks-general", min=0, desired=3)
    group = NodeGroup(
        cluster="mono-repo-dev", name="general", sizes=SIZES, status="ACTIVE", scaled=(behind,)
    )
    check = start._node_group_check(group, step)
    assert check.status == "fail"
    assert "its Auto Scaling group has at least 0" in check.found

"""Plans: what their hash stands for, and how much one may touch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.errors import RefusedError
from ops.plan import Cap, Plan, Step, refuse_over_caps, stages


def _step(number: int, kind: str = "instance", stage: int = 0) -> Step:
    return Step(
        id=f"{kind}:{number}",
        action="stop",
        kind=kind,
        target=f"i-{number}",
        summary=f"stop i-{number}",
        stage=stage,
        data={"region": "us-east-1"},
    )


def _plan(*steps: Step) -> Plan:
    return Plan(
        command="stop",
        environment="dev",
        account_id="111122223333",
        region="us-east-1",
        steps=steps,
        facts={"instances": ["i-1"]},
        notes=("i-9 is left alone",),
    )


def test_a_plan_read_from_a_journal_is_the_plan_that_was_agreed_to() -> None:
    plan = _plan(_step(1), _step(2, stage=1))
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).hash == plan.hash


def test_the_same_plan_has_the_same_hash_and_another_one_another() -> None:
    plan = _plan(_step(1))
    others = [
        _plan(_step(2)),
        _plan(_step(1), _step(2)),
        replace(plan, environment="prod"),
        replace(plan, account_id="777788889999"),
        replace(plan, facts={"instances": ["i-1", "i-2"]}),
        replace(plan, arguments={"reason": "cost"}),
        _plan(replace(_step(1), data={"region": "us-west-2"})),
    ]
    assert _plan(_step(1)).hash == plan.hash
    assert len({plan.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_what_is_only_told_does_not_change_the_hash() -> None:
    plan = _plan(_step(1))
    assert replace(plan, notes=("something else",)).hash == plan.hash


def test_a_plan_within_its_caps_is_let_through() -> None:
    refuse_over_caps(
        _plan(_step(1), _step(2)), {"instance": 4}, {"instance": Cap(number=2, percent=50)},
        option="--max",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ({"instance": Cap(number=1)}, "instance: 2 planned, at most 1 allowed"),
        ({"instance": Cap(number=9, percent=40)}, "instance: 2 of 4 planned, at most 40 % allowed"),
        ({"database": Cap(number=9)}, "instance: 2 planned, at most 0 allowed"),
    ],
)
def test_a_plan_above_a_cap_is_refused_whole(caps: dict[str, Cap], said: str) -> None:
    with pytest.raises(RefusedError, match="Nothing was changed") as refused:
        refuse_over_caps(_plan(_step(1), _step(2)), {"instance": 4}, caps, option="--max")
    assert said in str(refused.value)
    assert "--max KIND=NUMBER" in str(refused.value)


def test_stages_follow_their_numbers_whatever_the_order_of_the_steps() -> None:
    late, early, middle = _step(1, stage=7), _step(2, stage=0), _step(3, stage=3)
    assert stages([late, early, middle]) == [[early], [middle], [late]]

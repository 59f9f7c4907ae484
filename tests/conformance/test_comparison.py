"""The comparison itself: what it would notice, and that the recordings pass it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.conformance import recordings
from tests.conformance.comparison import (
    Tokens,
    differences,
    differing_ops,
    needs,
    wrongly_ordered,
)

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def test_a_token_stands_for_one_value_within_a_case() -> None:
    tokens = Tokens()

    assert tokens.match("data-${hex1}", "data-0a1b2c3")
    assert tokens.match("arn:${hex1}:x", "arn:0a1b2c3:x")
    assert not tokens.match("data-${hex1}", "data-fffffff")


def test_two_tokens_never_stand_for_the_same_value() -> None:
    tokens = Tokens()
    tokens.match("${vpc1}", "vpc-1")

    assert not tokens.match("${vpc2}", "vpc-1")
    assert tokens.match("${vpc2}", "vpc-2")


def test_ciphertexts_differ_each_time() -> None:
    tokens = Tokens()

    assert tokens.match("${ciphertext} ${ciphertext}", "v1:a v1:b")


def test_text_between_tokens_is_exact() -> None:
    assert not Tokens().match("a ${hex1} b", "a 0a1b2c3 c")
    assert not Tokens().match(UNKNOWN, "")


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ({"a": 1}, {}, [".a: missing, recorded 1"]),
        ({}, {"a": 1}, [".a: not recorded, found 1"]),
        ({"a": [1]}, {"a": [1, 2]}, [".a: recorded [1], found [1, 2]"]),
        ({"a": True}, {"a": 1}, [".a: recorded true, found 1"]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ['.a.b: recorded "x", found "y"']),
        ({"a": None}, {"a": None}, []),
    ],
)
def test_json_is_compared_leaf_by_leaf(expected: Any, actual: Any, found: list[str]) -> None:
    assert differences(expected, actual, Tokens()) == found


def test_operations_are_compared_with_how_often_they_occur() -> None:
    recorded = [["a", "create"], ["a", "create"], ["b", "same"]]

    assert differing_ops(recorded, [("b", "same"), ("a", "create"), ("a", "create")]) == []
    assert differing_ops(recorded, [("a", "create"), ("c", "same")]) == [
        "ops: missing a create",
        "ops: missing b same",
        "ops: not recorded c same",
    ]


def test_a_resource_comes_after_what_it_needs_and_goes_before_it() -> None:
    needed = {"second": {"first"}}

    assert wrongly_ordered([("second", "create"), ("first", "create")], needed)
    assert not wrongly_ordered([("first", "create"), ("second", "create")], needed)
    assert wrongly_ordered([("first", "delete"), ("second", "delete")], needed)
    assert not wrongly_ordered([("second", "delete"), ("first", "delete")], needed)


@pytest.mark.parametrize("case", recordings.names())
def test_the_recorded_operations_are_in_order_themselves(case: str) -> None:
    known: dict[str, set[str]] = {}
    compared = 0
    for step in recordings.steps(case):
        for resource, needed in needs(step.get("state", {})).items():
            known.setdefault(resource, set()).update(needed)
        compared += len(step.get("ops", ()))
        assert wrongly_ordered(step.get("ops", ()), known) == [], step["step"]
    assert compared


@pytest.mark.parametrize("correction", recordings.CORRECTIONS, ids=lambda c: f"{c.case} {c.step}")
def test_a_correction_changes_its_step_alone(correction: recordings.Correction) -> None:
    recorded = recordings.document(correction.case)
    corrected = recordings.steps(correction.case)

    changed = {
        before["step"]
        for before, after in zip(recorded, corrected, strict=True)
        if before != copy.deepcopy(after)
    }

    assert correction.step in changed
    assert changed == {c.step for c in recordings.CORRECTIONS if c.case == correction.case}
    assert correction.why

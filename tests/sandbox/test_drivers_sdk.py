"""The aws table against the SDK: names that the program's classes declare."""

from __future__ import annotations

import pytest

from infra.sandbox.engine.drivers.row import Row
from infra.sandbox.engine.drivers.rows import ROWS
from tests.sandbox.sdk_declarations import declared_inputs, declared_outputs, wrong_outputs


@pytest.mark.parametrize("type_", ROWS)
def test_a_row_takes_no_input_that_the_sdk_does_not_have(type_: str) -> None:
    assert ROWS[type_].inputs <= declared_inputs(type_)


@pytest.mark.parametrize("type_", ROWS)
def test_a_row_gives_no_output_that_the_sdk_does_not_have(type_: str) -> None:
    declared = declared_outputs(type_)
    assert ROWS[type_].properties - declared.keys() <= ROWS[type_].inputs


@pytest.mark.parametrize("type_", ROWS)
def test_every_name_in_a_row_is_one_of_its_properties(type_: str) -> None:
    row = ROWS[type_]
    named = {*row.names, *row.reads, *row.defaults, *row.canon, *row.filled, *row.allowed}
    named |= {*row.json, *row.ordered, *row.computed, *row.unmanaged, *row.required, *row.secret}
    named |= {*row.volatile, *([row.name.property] if row.name else [])}
    assert named <= row.properties


@pytest.mark.parametrize("type_", ROWS)
def test_an_input_has_one_way_of_being_changed(type_: str) -> None:
    row: Row = ROWS[type_]
    ways = [*row.forces, *row.local, *(name for update in row.updates for name in update.on)]
    assert len(ways) == len(set(ways))


def test_an_output_of_another_type_than_declared_is_noticed() -> None:
    outputs = {"tags": ["a list"], "cidrBlock": "10.0.0.0/16", "nonsense": 1}
    assert wrong_outputs("aws:ec2/vpc:Vpc", outputs) == {"tags": ["a list"], "nonsense": 1}

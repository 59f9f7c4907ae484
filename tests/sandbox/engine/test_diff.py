"""Property paths, ignored changes, comparisons and secrets."""

from __future__ import annotations

from typing import Any

import pytest

from infra.sandbox.engine.diff import (
    PathError,
    compare,
    format_path,
    ignore_changes,
    invert,
    known_only,
    parse_path,
    path_contains,
    replace_on_changes,
    same_value,
    top_level_keys,
    with_secrets,
)
from infra.sandbox.engine.provider import DiffResult
from infra.sandbox.engine.wire import UNKNOWN, Secret


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("root", ("root",)),
        ("root.nested", ("root", "nested")),
        ('root["nested"]', ("root", "nested")),
        ("root.array[100].x", ("root", "array", 100, "x")),
        ('root["key with \\"escaped\\" quotes"]', ("root", 'key with "escaped" quotes')),
        ('["a ."][1]', ("a .", 1)),
        ("a[*].b", ("a", "*", "b")),
        ("foo-bar", ("foo-bar",)),
    ],
)
def test_a_path_is_read_as_pulumi_reads_it(text: str, path: tuple[Any, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize("text", [".a", "a.", "a[x]", "a[1", 'a["b', 'a["b"'])
def test_a_path_that_cannot_be_read_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(PathError, match="property path"):
        parse_path(text)


@pytest.mark.parametrize("path", [("a", "b", 0), ("a.b", "c d"), ('q"q', 3, "x_1")])
def test_a_written_path_is_read_back(path: tuple[Any, ...]) -> None:
    assert parse_path(format_path(path)) == path


def test_a_wildcard_contains_any_element() -> None:
    assert path_contains(("a", "*", "c"), ("a", 3, "c", "d"))
    assert not path_contains(("a", "*", "c"), ("a", 3, "x"))
    assert not path_contains(("a", "b"), ("a",))


@pytest.mark.parametrize(
    ("path", "old", "new", "result"),
    [
        ("a", {"a": 1}, {"a": 2}, {"a": 1}),
        ("a", {}, {"a": 2}, {}),
        ("a", {"a": 1}, {}, {"a": 1}),
        ("a.b", {"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, {"a": {"b": 1, "c": 3}}),
        ("a[1]", {"a": [1, 2]}, {"a": [3, 4]}, {"a": [3, 2]}),
        ("a[*].b", {"a": [{"b": 1}]}, {"a": [{"b": 2, "c": 3}]}, {"a": [{"b": 1, "c": 3}]}),
        ("*", {"a": 1}, {"a": 2, "b": 3}, {"a": 1}),
        ("a.*", {"a": {"x": 1}}, {"a": {"x": 2, "y": 3}}, {"a": {"x": 1}}),
        ("a", {"a": Secret("s")}, {"a": "t"}, {"a": Secret("s")}),
        ("a.b", {"a": Secret({"b": 1})}, {"a": {"b": 2}}, {"a": {"b": Secret(1)}}),
        ("nosuch.deep", {"a": 1}, {"a": 2}, {"a": 2}),
    ],
)
def test_an_ignored_path_takes_its_old_value(
    path: str, old: dict[str, Any], new: dict[str, Any], result: dict[str, Any]
) -> None:
    assert ignore_changes(new, old, [path]) == (result, [])


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a[1]", {"a": [1]}, {"a": [1, 2]}),
        ("a[0].b", {"a": []}, {"a": [{"b": 1}]}),
        ("a.b.c", {"a": {"b": {"c": 1}}}, {"a": {}}),
        ("a.b", {"a": {"b": 1}}, {"a": 1}),
        ("a[*]", {"a": [1]}, {"a": [1, 2]}),
    ],
)
def test_a_path_into_what_was_added_or_removed_is_in_vain(
    path: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    result, in_vain = ignore_changes(new, old, [path])

    assert in_vain == [path]
    assert result == new


def test_ignoring_changes_leaves_what_it_was_given_alone() -> None:
    old, new = {"a": {"b": 1}}, {"a": {"b": 2}}

    ignore_changes(new, old, ["a.b"])

    assert new == {"a": {"b": 2}}


def test_a_comparison_names_each_path_that_differs() -> None:
    old = {"same": 1, "up": 1, "gone": 1, "list": [1, 2], "secret": Secret("x")}
    new = {"same": 1, "up": 2, "new": 1, "list": [1, 3, 4], "secret": "x"}

    assert compare(old, new) == {
        "up": "update",
        "gone": "delete",
        "new": "add",
        "list[1]": "update",
        "list[2]": "add",
    }


def test_an_unknown_value_is_a_change_and_true_is_not_one() -> None:
    assert compare({"a": 1}, {"a": UNKNOWN}) == {"a": "update"}
    assert not same_value(True, 1)
    assert same_value([Secret(1)], [1])


def test_replace_on_changes_reaches_into_the_path() -> None:
    diff = DiffResult({"tags.a": "add", "value": "update", "x": "delete"})

    assert replace_on_changes(diff, ["tags", "value"]).replace_keys == ("tags.a", "value")
    assert replace_on_changes(diff, ["*"]).replace_keys == ("tags.a", "value", "x")
    assert replace_on_changes(diff, ["other"]).replace_keys == ()


def test_replace_on_changes_may_name_an_unfinished_create() -> None:
    diff = replace_on_changes(DiffResult(), ["#initerror"], has_init_errors=True)

    assert diff.replace_keys == ("#initerror",)


def test_an_inverted_difference_tells_what_happened_since() -> None:
    assert invert({"a": "add", "b": "delete-replace", "c": "update"}) == {
        "a": "delete",
        "b": "add-replace",
        "c": "update",
    }


def test_top_level_keys_are_named_once() -> None:
    assert top_level_keys(["b.c", "a[0]", "b.d"]) == ("a", "b")


def test_outputs_are_secret_where_inputs_are_member_by_member() -> None:
    inputs = {"a": Secret("x"), "tags": {"s": Secret("y"), "p": "q"}, "list": ["p", Secret("z")]}
    outputs = {"a": "x", "tags": {"s": "y", "p": "q"}, "list": ["p", "z"], "id": "i", "arn": "n"}

    assert with_secrets(outputs, inputs, ["arn", "id"]) == {
        "a": Secret("x"),
        "tags": {"s": Secret("y"), "p": "q"},
        "list": Secret(["p", "z"]),
        "id": "i",
        "arn": Secret("n"),
    }


def test_what_contains_something_unknown_is_left_out() -> None:
    assert known_only({"a": 1, "b": [UNKNOWN], "c": Secret(UNKNOWN)}) == {"a": 1}

"""Decisions, without a program and without a provider."""

from __future__ import annotations

from typing import Any

import pytest

from infra.sandbox.engine.aliases import Alias
from infra.sandbox.engine.generator import (
    Base,
    Generator,
    Goal,
    RefusedError,
    Rules,
    Step,
    Targets,
)
from infra.sandbox.engine.provider import DiffResult
from infra.sandbox.engine.state import Resource
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap


def urn(name: str, type_: str = "t:t:T") -> str:
    return f"urn:pulumi:dev::p::{type_}::{name}"


def entry(name: str, **fields: Any) -> Resource:
    needs = tuple(urn(other) for other in fields.pop("needs", ()))
    arguments: dict[str, Any] = {"dependencies": needs, "id": name, "custom": True, **fields}
    return Resource(urn=urn(name), type="t:t:T", **arguments)


def generator(*entries: Resource, **rules: Any) -> Generator:
    told: list[tuple[str, str, str]] = []
    return Generator(
        Rules(stack="dev", project="p", **rules), Base(entries), lambda *what: told.append(what)
    )


def never(entry: Resource, inputs: PropertyMap) -> DiffResult:
    raise AssertionError(f"{entry.name} needs no comparison with {inputs}")


def goal(name: str, **fields: Any) -> Goal:
    arguments: dict[str, Any] = {"custom": True, **fields}
    return Goal(type="t:t:T", name=name, **arguments)


def deletes(decided: Generator) -> list[list[str]]:
    _, steps = decided.final_deletes(never)
    return [sorted(step.resource.name for step in level) for level in decided.schedule(steps)]


def test_deletes_come_in_levels_that_can_run_side_by_side() -> None:
    chain = generator(
        entry("a"),
        entry("b", needs=["a"]),
        entry("c", needs=["a"]),
        entry("d", parent=urn("b")),
        entry("alone"),
    )

    assert deletes(chain) == [["d"], ["b", "c"], ["a", "alone"]]


def test_a_resource_is_deleted_before_its_provider() -> None:
    provider = Resource(
        urn=urn("p", "pulumi:providers:t"), type="pulumi:providers:t", custom=True, id="1"
    )

    assert deletes(generator(provider, entry("a", provider=f"{provider.urn}::1"))) == [["a"], ["p"]]


def test_dependents_are_found_through_every_kind_of_dependency_in_order() -> None:
    base = Base(
        [
            entry("root"),
            entry("depends", needs=["root"]),
            entry("property", property_dependencies={"x": (urn("depends"),)}),
            entry("deleted-with", deleted_with=urn("root")),
            entry("replace-with", replace_with=(urn("root"),)),
            entry("child", parent=urn("root")),
            entry("other"),
        ]
    )
    root = base.resources[0]

    assert [e.name for e in base.dependents(root)] == [
        "depends",
        "property",
        "deleted-with",
        "replace-with",
    ]
    assert "child" in [e.name for e in base.dependents(root, children=True)]
    assert [e.name for e in base.dependents(root, {urn("depends")})] == [
        "deleted-with",
        "replace-with",
    ]


def test_only_what_its_unknown_inputs_would_replace_goes_first() -> None:
    by_value = {"value": (urn("root"),)}
    decided = generator(
        entry("root"),
        entry("named", inputs={"name": "n"}, property_dependencies={"name": (urn("root"),)}),
        entry("valued", inputs={"value": "v"}, property_dependencies=by_value),
        entry("mere", needs=["root"]),
    )
    registration = decided.open(goal("root", delete_before_replace=True))
    decided.before_diff(registration)
    seen: dict[str, PropertyMap] = {}

    def compare(resource: Resource, inputs: PropertyMap) -> DiffResult:
        seen[resource.name] = inputs
        return DiffResult({"name": "update-replace"} if "name" in inputs else {"value": "update"})

    _, diff = decided.judge(registration, DiffResult({"x": "update-replace"}), forced=False)
    steps = decided.replaced(registration, diff, None, compare)

    assert seen == {"named": {"name": UNKNOWN}, "valued": {"value": UNKNOWN}}
    assert [(step.resource.name, step.op) for step in steps] == [
        ("named", "delete-replaced"),
        ("root", "delete-replaced"),
        ("root", "replace"),
        ("root", "create-replacement"),
    ]


def test_a_protected_dependent_refuses_a_replacement_that_deletes_it_first() -> None:
    decided = generator(
        entry("root"), entry("kept", protect=True, deleted_with=urn("root")), dry_run=False
    )
    registration = decided.open(goal("root", delete_before_replace=True))
    decided.before_diff(registration)

    with pytest.raises(RefusedError, match="as part of replacing"):
        decided.replaced(registration, DiffResult({"x": "update-replace"}), None, never)


def test_a_child_needs_its_parent_first() -> None:
    with pytest.raises(RefusedError, match="could not find parent resource"):
        generator().open(goal("a", parent=urn("nowhere")))


def test_an_alias_that_two_resources_claim_is_refused() -> None:
    decided = generator(entry("old"))
    decided.open(goal("a", aliases=(Alias(name="old"),)))

    with pytest.raises(RefusedError, match="Duplicate resource alias"):
        decided.open(goal("b", aliases=(Alias(name="old"),)))


def test_the_old_urn_of_a_renamed_resource_is_not_free() -> None:
    decided = generator(entry("old"))
    decided.open(goal("new", aliases=(Alias(name="old"),)))

    with pytest.raises(RefusedError, match="conflicting with alias on resource"):
        decided.open(goal("old"))


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (urn("a"), True),
        ("urn:pulumi:dev::p::t:t:T::*", True),
        ("**::a", True),
        ("*::a", False),
        (urn("b"), False),
    ],
)
def test_targets_may_have_wildcards(pattern: str, matches: bool) -> None:
    assert (urn("a") in Targets([pattern])) is matches


def test_what_a_changed_trigger_says_is_compared_as_it_is_kept() -> None:
    decided = generator(entry("a", extra={"replacementTrigger": "v1"}))
    registration = decided.open(goal("a", trigger="v2"))

    assert decided.is_triggered(registration)
    registration.goal = goal("a", trigger="v1")
    assert not decided.is_triggered(registration)
    registration.goal = goal("a", trigger=UNKNOWN)
    with pytest.raises(RefusedError, match="replacement trigger contains unknowns"):
        decided.is_triggered(registration)


def test_what_needs_something_that_failed_is_skipped() -> None:
    decided = generator()
    decided.skipped.add(urn("bad"))

    assert decided.is_skipped(entry("after", needs=["bad"]))
    assert not decided.is_skipped(entry("other"))


def test_a_step_without_a_resource_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs a resource"):
        _ = Step(op="same").resource


def test_indexes_keep_many_resources_from_being_compared_with_each_other() -> None:
    many = [entry(f"r{i}", needs=[f"r{i - 1}"] if i else []) for i in range(3000)]

    levels = deletes(generator(*many))

    assert levels[0] == ["r2999"]
    assert len(levels) == 3000

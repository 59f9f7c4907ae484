"""Updates of a part of the stack."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import World

pytestmark = pytest.mark.conformance

CHAIN = """
a = Parameter("a", value=config.require("value"))
b = Parameter("b", value=config.require("value"), opts=ResourceOptions(depends_on=[a]))
c = Parameter("c", value=config.require("value"), opts=ResourceOptions(depends_on=[b]))
Parameter("alone", value=config.require("value"), opts=ResourceOptions(delete_before_replace=True))
"""


@pytest.fixture
def chain(world: Worlds) -> World:
    """A stack of a ← b ← c, and one resource alone, all of which are to be updated."""
    shop = world(program(CHAIN))
    shop.done("up", "-c", "value=1")
    shop.done("config", "set", "value", "2")
    return shop


def names(shop: World, op: str, *args: str) -> set[str]:
    """Run a command and give the logical names of what an operation was done with."""
    return {name.split("::")[-1] for name, done in shop.done(*args).ops if done == op}


def test_a_wildcard_targets_what_it_matches(chain: World) -> None:
    target = "urn:pulumi:dev::shop::aws:ssm/parameter:Parameter::a*"

    assert names(chain, "update", "up", "--target", target) == {"a", "alone"}


def test_targets_may_be_several(chain: World) -> None:
    targets = ["--target", chain.urn("a"), "--target", chain.urn("alone")]

    assert names(chain, "update", "up", *targets) == {"a", "alone"}


def test_target_dependents_takes_along_what_depends_on_the_target(chain: World) -> None:
    found = names(chain, "update", "up", "--target", chain.urn("b"), "--target-dependents")

    assert found == {"b", "c"}


def test_what_is_not_targeted_keeps_its_inputs_in_the_state(chain: World) -> None:
    chain.done("up", "--target", chain.urn("a"))

    values = {name: chain.inputs(name)["value"] for name in ("a", "b", "c", "alone")}

    assert values == {"a": "2", "b": "1", "c": "1", "alone": "1"}


def test_an_excluded_resource_is_left_as_it_is(chain: World) -> None:
    assert names(chain, "update", "up", "--exclude", chain.urn("alone")) == {"a", "b", "c"}
    assert chain.inputs("alone")["value"] == "1"


def test_exclude_dependents_leaves_what_depends_on_it_alone_too(chain: World) -> None:
    found = names(chain, "update", "up", "--exclude", chain.urn("b"), "--exclude-dependents")

    assert found == {"a", "alone"}


def test_a_destroy_may_exclude_something_and_keeps_what_it_needs(chain: World) -> None:
    found = names(chain, "delete", "destroy", "--exclude", chain.urn("b"))

    assert found == {"c", "alone"}
    assert sorted(chain.names()) == [
        "aws:ssm/parameter:Parameter::a",
        "aws:ssm/parameter:Parameter::b",
    ]


def test_a_destroy_of_a_target_takes_its_dependents_along_when_asked_to(chain: World) -> None:
    refused = chain.run("destroy", "--target", chain.urn("b"))
    assert not refused.ok
    assert "c' will be destroyed but was not specified in --target list." in "".join(
        refused.messages("error")
    )

    found = names(chain, "delete", "destroy", "--target", chain.urn("b"), "--target-dependents")

    assert found == {"b", "c"}


def test_a_refresh_of_a_target_reads_nothing_else(chain: World, client: Clients) -> None:
    for name in ("/a", "/alone"):
        client("ssm").put_parameter(Name=name, Value="drift", Type="String", Overwrite=True)

    ended = chain.done("refresh", "--target", chain.urn("a"))

    assert ended.ops_of("a") == ["refresh"]
    assert ended.ops_of("alone") == []
    assert chain.state_outputs("a")["value"] == "drift"
    assert chain.state_outputs("alone")["value"] == "1"


def test_an_unknown_target_is_refused_before_anything_is_changed(
    chain: World, client: Clients
) -> None:
    ended = chain.run("up", "--target", "urn:pulumi:dev::shop::shop:index:Group::nobody")

    assert not ended.ok
    assert "could not be found in the stack" in "".join(ended.messages("error"))
    assert set(parameters(client).values()) == {"1"}


def test_replace_replaces_what_has_not_changed(chain: World) -> None:
    chain.done("up")

    ended = chain.done("up", "--replace", chain.urn("alone"))

    assert set(ended.ops_of("alone")) == {"create-replacement", "replace", "delete-replaced"}
    assert ended.counts["replace"] == 1


def test_target_replace_replaces_that_alone(chain: World) -> None:
    ended = chain.done("up", "--target-replace", chain.urn("alone"))

    assert "replace" in ended.ops_of("alone")
    assert ended.counts == {"replace": 1, "same": 4}


def test_a_new_resource_is_made_when_its_future_urn_is_targeted(
    world: Worlds, client: Clients
) -> None:
    shop = world(changing(one='Parameter("a")', two='Parameter("a")\nParameter("new")'))
    shop.done("up", "-c", "step=one")
    future = f"{shop.urn('a').removesuffix('::a')}::new"

    shop.done("up", "-c", "step=two", "--target", future)

    assert parameters(client) == {"/a": "1", "/new": "1"}

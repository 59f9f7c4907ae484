"""What the cloud is really like: refreshes, and what is expected not to change."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import World

pytestmark = pytest.mark.conformance


@pytest.fixture
def drifted(world: Worlds, client: Clients) -> World:
    """A stack of two parameters; one was changed, one deleted behind its back."""
    shop = world(
        program('changed = Parameter("changed")\nParameter("gone")\nexport("v", changed.value)')
    )
    shop.done("up")
    client("ssm").put_parameter(Name="/changed", Value="drift", Type="String", Overwrite=True)
    client("ssm").delete_parameter(Name="/gone")
    return shop


def test_a_refresh_with_the_program_reads_and_makes_nothing(
    drifted: World, client: Clients
) -> None:
    ended = drifted.done("refresh", "--run-program")

    assert ended.ops_of("changed") == ["refresh", "same"]
    assert drifted.names() == ["aws:ssm/parameter:Parameter::changed"]
    assert drifted.state_outputs("changed")["value"] == "drift"
    assert parameters(client) == {"/changed": "drift"}


def test_a_preview_may_refresh_and_changes_nothing(drifted: World) -> None:
    before = drifted.resources()

    ended = drifted.done("preview", "--refresh")

    assert ended.counts == {"create": 1, "same": 1, "update": 1}
    assert drifted.resources() == before


def test_a_destroy_may_refresh_first(drifted: World, client: Clients) -> None:
    ended = drifted.done("destroy", "--refresh")

    assert ended.ops_of("gone") == ["refresh"]
    assert "delete" in ended.ops_of("changed")
    assert parameters(client) == {}


def test_a_destroy_with_the_program_deletes_what_it_declares(
    world: Worlds, client: Clients
) -> None:
    shop = world(program('Parameter("a")\nParameter("b")'))
    shop.done("up")

    ended = shop.done("destroy", "--run-program")

    assert ended.counts == {"delete": 3, "same": 3}
    assert parameters(client) == {}
    assert shop.resources() == []


def test_a_destroy_with_the_program_deletes_what_it_no_longer_declares(
    world: Worlds, client: Clients
) -> None:
    shop = world(changing(one='Parameter("a")', two="pass"))
    shop.done("up", "-c", "step=one")
    shop.done("config", "set", "step", "two")

    shop.done("destroy", "--run-program")

    assert parameters(client) == {}


def test_a_refresh_puts_the_exports_from_the_state_not_from_the_cloud(drifted: World) -> None:
    drifted.done("refresh")

    assert drifted.outputs(shown=True) == {"v": "1"}


def test_drift_of_a_tag_is_found_and_put_right(world: Worlds, client: Clients) -> None:
    shop = world(program('Parameter("p", tags={"owner": "ops"})'))
    shop.done("up")
    client("ssm").add_tags_to_resource(
        ResourceType="Parameter", ResourceId="/p", Tags=[{"Key": "owner", "Value": "someone"}]
    )

    ended = shop.done("up", "--refresh")

    assert ended.ops_of("p") == ["refresh", "update"]
    tags = client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId="/p")
    assert tags["TagList"] == [{"Key": "owner", "Value": "ops"}]


@pytest.mark.parametrize(("verb", "kind"), [("up", "update"), ("preview", "preview")])
def test_a_change_that_was_not_expected_is_an_error(verb: str, kind: str, world: Worlds) -> None:
    shop = world(program('Parameter("p")'))

    ended = shop.run(verb, "--expect-no-changes")

    assert ended.code == 7
    assert f"error: no changes were expected for {kind} but changes were proposed" in ended.err


def test_nothing_changing_is_what_was_expected(world: Worlds) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("up")

    shop.done("preview", "--expect-no-changes")
    shop.done("up", "--expect-no-changes")
    shop.done("refresh", "--expect-no-changes")


def test_what_is_made_again_under_its_name_is_as_new(world: Worlds, client: Clients) -> None:
    client("ssm").put_parameter(
        Name="/p", Value="1", Type="String", Tags=[{"Key": "owner", "Value": "someone"}]
    )
    client("ssm").delete_parameter(Name="/p")
    shop = world(program('Parameter("p")'))
    shop.done("up")

    assert shop.done("preview", "--refresh").counts == {"same": 2}

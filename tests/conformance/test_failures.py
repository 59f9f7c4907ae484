"""Updates that fail, are interrupted, or find what an earlier one left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import World

pytestmark = pytest.mark.conformance

# A name that is taken: the cloud refuses to create it a second time.
TAKEN = """
bad = Parameter("bad", "/taken")
Parameter("needs", value=bad.value)
Parameter("alone", opts=ResourceOptions(depends_on=[Parameter("first")]))
"""


@pytest.fixture
def taken(client: Clients) -> None:
    """The cloud has a parameter that the program wants to create."""
    client("ssm").put_parameter(Name="/taken", Value="theirs", Type="String")


@pytest.fixture
def goes_on(sdk_version: tuple[int, ...]) -> None:
    """Programs that are not ended by a resource that fails."""
    if sdk_version < (3, 260):
        pytest.skip("this SDK gives None for what a failed resource has: its program is stopped")


def test_what_depends_on_a_failed_resource_is_not_made(
    world: Worlds, client: Clients, taken: None
) -> None:
    shop = world(program(TAKEN))

    ended = shop.run("up")

    assert not ended.ok
    assert "/needs" not in parameters(client)
    assert "aws:ssm/parameter:Parameter::bad" not in shop.names()
    assert parameters(client)["/taken"] == "theirs"


def test_once_a_step_has_failed_no_other_is_begun(
    world: Worlds, client: Clients, taken: None
) -> None:
    shop = world(
        program(
            """
Parameter("bad", "/taken")
link = Parameter("link-0")
for n in range(1, 10):
    link = Parameter(f"link-{n}", opts=ResourceOptions(depends_on=[link]))
"""
        )
    )

    ended = shop.run("up")

    assert not ended.ok
    assert ended.messages("error")[-1] == "update failed"
    assert "/link-9" not in parameters(client)


def test_continue_on_error_makes_all_that_does_not_depend_on_it(
    world: Worlds, client: Clients, taken: None, goes_on: None
) -> None:
    shop = world(program(TAKEN))

    ended = shop.run("up", "--continue-on-error")

    assert not ended.ok
    assert set(parameters(client)) == {"/taken", "/first", "/alone"}
    assert sorted(name.split("::")[1] for name in shop.names()) == ["alone", "first"]


def test_continue_on_error_still_deletes_what_is_not_declared(
    world: Worlds, client: Clients, taken: None, goes_on: None
) -> None:
    shop = world(changing(one='Parameter("old")', two='Parameter("bad", "/taken")'))
    shop.done("up", "-c", "step=one")

    ended = shop.run("up", "-c", "step=two", "--continue-on-error")

    assert not ended.ok
    assert set(parameters(client)) == {"/taken"}


def test_a_failure_keeps_what_is_not_declared(world: Worlds, client: Clients, taken: None) -> None:
    shop = world(changing(one='Parameter("old")', two='Parameter("bad", "/taken")'))
    shop.done("up", "-c", "step=one")

    shop.run("up", "-c", "step=two")

    assert set(parameters(client)) == {"/taken", "/old"}
    assert shop.names() == ["aws:ssm/parameter:Parameter::old"]


def test_a_destroy_that_fails_somewhere_keeps_that_and_what_it_needs(
    world: Worlds, client: Clients
) -> None:
    shop = world(
        program(
            """
base = Parameter("base")
Parameter("kept", opts=ResourceOptions(depends_on=[base], protect=True))
Parameter("free")
"""
        )
    )
    shop.done("up")

    ended = shop.run("destroy", "--continue-on-error")

    assert not ended.ok
    assert set(parameters(client)) == {"/base", "/kept"}


def test_a_resource_that_was_made_but_not_as_asked_is_updated_next_time(world: Worlds) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("up")
    deployment = exported(shop)
    for resource in deployment["deployment"]["resources"]:
        if resource["urn"].endswith("::p"):
            resource["initErrors"] = ["it came up lame"]
    imported(shop, deployment)

    ended = shop.done("up")

    assert ended.ops_of("p") == ["update"]
    assert "initErrors" not in shop.resource("p")


def test_the_old_half_of_a_replacement_that_is_left_over_is_deleted(
    world: Worlds, client: Clients
) -> None:
    shop = world(program('Parameter("p", "/new")'))
    shop.done("up")
    client("ssm").put_parameter(Name="/old", Value="1", Type="String")
    deployment = exported(shop)
    resources: list[Any] = deployment["deployment"]["resources"]
    new = next(resource for resource in resources if resource["urn"].endswith("::p"))
    old = {**new, "id": "/old", "delete": True, "inputs": {**new["inputs"], "name": "/old"}}
    resources.append({**old, "outputs": {**new["outputs"], "name": "/old"}})
    imported(shop, deployment)

    ended = shop.done("up")

    assert ended.ops_of("p") == ["same", "delete-replaced"]
    assert parameters(client) == {"/new": "1"}


def test_what_was_deleted_for_a_replacement_that_never_came_is_made(
    world: Worlds, client: Clients
) -> None:
    shop = world(program('Parameter("p", opts=ResourceOptions(delete_before_replace=True))'))
    shop.done("up")
    client("ssm").delete_parameter(Name="/p")
    deployment = exported(shop)
    for resource in deployment["deployment"]["resources"]:
        if resource["urn"].endswith("::p"):
            resource["pendingReplacement"] = True
    imported(shop, deployment)

    ended = shop.done("up")

    assert ended.ops_of("p") == ["replace", "create-replacement"]
    assert parameters(client) == {"/p": "1"}
    assert "pendingReplacement" not in shop.resource("p")


def test_a_program_that_registers_nothing_more_deletes_everything_else(
    world: Worlds, client: Clients
) -> None:
    shop = world(changing(one='Parameter("a")\nParameter("b")', two='Parameter("a")'))
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two")

    assert ended.counts == {"delete": 1, "same": 2}
    assert parameters(client) == {"/a": "1"}


def exported(shop: World) -> dict[str, Any]:
    """Give a stack's whole export."""
    document: dict[str, Any] = json.loads(shop.done("stack", "export").out)
    return document


def imported(shop: World, document: dict[str, Any]) -> None:
    """Import an export into a stack."""
    (shop.directory / "state.json").write_text(json.dumps(document))
    shop.done("stack", "import", "--file", "state.json")

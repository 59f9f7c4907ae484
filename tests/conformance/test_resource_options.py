"""What each resource option does, where the recorded cases leave it open."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import short

pytestmark = pytest.mark.conformance


# Deleting ---------------------------------------------------------------------------------------


def test_what_is_retained_leaves_the_state_and_stays_in_the_cloud(
    world: Worlds, client: Clients
) -> None:
    shop = world(
        changing(one='Parameter("kept", opts=ResourceOptions(retain_on_delete=True))', two="pass")
    )
    shop.done("up", "-c", "step=one")
    assert shop.resource("kept")["retainOnDelete"] is True

    ended = shop.done("up", "-c", "step=two")

    assert ended.ops_of("kept") == ["delete"]
    assert ended.counts == {"delete": 1, "same": 1}
    assert shop.names() == []
    assert parameters(client) == {"/kept": "1"}


def test_the_old_half_of_a_replacement_is_retained_too(world: Worlds, client: Clients) -> None:
    shop = world(
        changing(
            one='Parameter("p", "/a", opts=ResourceOptions(retain_on_delete=True))',
            two='Parameter("p", "/b", opts=ResourceOptions(retain_on_delete=True))',
        )
    )
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two")

    assert ended.ops_of("p") == ["create-replacement", "replace", "delete-replaced"]
    assert parameters(client) == {"/a": "1", "/b": "1"}


def test_what_is_deleted_with_another_is_not_deleted_itself(world: Worlds, client: Clients) -> None:
    shop = world(
        program(
            """
owner = Parameter("owner")
Parameter("part", opts=ResourceOptions(deleted_with=owner))
"""
        )
    )
    shop.done("up")
    assert shop.resource("part")["deletedWith"] == shop.urn("owner")

    ended = shop.done("destroy")

    assert ended.counts == {"delete": 3}
    assert shop.names() == []
    # Nothing deleted it: a cloud that takes parts along with their owner would have.
    assert parameters(client) == {"/part": "1"}


def test_what_is_deleted_with_another_that_stays_is_deleted(world: Worlds, client: Clients) -> None:
    owner = 'owner = Parameter("owner")'
    part = 'Parameter("part", opts=ResourceOptions(deleted_with=owner))'
    shop = world(changing(one=f"{owner}\n{part}", two=owner))
    shop.done("up", "-c", "step=one")

    shop.done("up", "-c", "step=two")

    assert parameters(client) == {"/owner": "1"}


# Replacing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["value", "*"])
def test_a_change_named_in_replace_on_changes_replaces(path: str, world: Worlds) -> None:
    one, two = (
        f'Parameter("p", value="{value}", opts=ResourceOptions(replace_on_changes=["{path}"], '
        "delete_before_replace=True))"
        for value in "12"
    )
    shop = world(changing(one=one, two=two))
    shop.done("up", "-c", "step=one")
    assert shop.resource("p")["replaceOnChanges"] == [path]

    ended = shop.done("up", "-c", "step=two")

    assert ended.ops_of("p") == ["delete-replaced", "replace", "create-replacement"]
    replaced = next(
        payload["metadata"]
        for payload in ended.payloads("resourcePreEvent")
        if payload["metadata"]["op"] == "replace"
    )
    assert replaced["keys"] == ["value"]


def test_a_change_not_named_in_replace_on_changes_updates(world: Worlds) -> None:
    one, two = (
        f'Parameter("p", value="{value}", opts=ResourceOptions(replace_on_changes=["description"]))'
        for value in "12"
    )
    shop = world(changing(one=one, two=two))
    shop.done("up", "-c", "step=one")

    assert shop.done("up", "-c", "step=two").ops_of("p") == ["update"]


def test_what_depends_on_something_deleted_first_is_deleted_before_it(world: Worlds) -> None:
    text = """
first = Parameter("first", "/{name}", opts=ResourceOptions(delete_before_replace=True))
Parameter("second", first.name.apply(lambda name: name + "-2"))
"""
    shop = world(changing(one=text.format(name="a"), two=text.format(name="b")))
    shop.done("up", "-c", "step=one")

    ops = shop.done("up", "-c", "step=two").ops

    deleted = [name.split("::")[1] for name, op in ops if op == "delete-replaced"]
    assert deleted == ["second", "first"]


def test_a_changed_trigger_replaces(world: Worlds) -> None:
    one, two = (
        f'Parameter("p", opts=ResourceOptions(replacement_trigger="{value}", '
        "delete_before_replace=True))"
        for value in "12"
    )
    shop = world(changing(one=one, two=two))
    shop.done("up", "-c", "step=one")
    assert shop.done("up", "-c", "step=one").ops_of("p") == ["same"]

    ended = shop.done("up", "-c", "step=two")

    assert ended.counts["replace"] == 1


def test_what_is_replaced_with_another_follows_it(world: Worlds) -> None:
    text = """
dbr = dict(delete_before_replace=True)
lead = Parameter("lead", "/{name}", opts=ResourceOptions(**dbr))
Parameter("follower", opts=ResourceOptions(replace_with=[lead], **dbr))
"""
    shop = world(changing(one=text.format(name="a"), two=text.format(name="b")))
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two")

    assert ended.counts["replace"] == 2
    assert "replace" in ended.ops_of("follower")


def test_a_hidden_diff_is_hidden_and_still_done(world: Worlds) -> None:
    one, two = (
        f'Parameter("p", description="{value}", opts=ResourceOptions(hide_diffs=["description"]))'
        for value in ("first-text", "second-text")
    )
    shop = world(changing(one=one, two=two))
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two", "--diff")

    assert ended.ops_of("p") == ["update"]
    assert "second-text" not in ended.out
    assert shop.inputs("p")["description"] == "second-text"
    assert shop.resource("p")["hideDiff"] == [["description"]]


# Who a resource belongs to ----------------------------------------------------------------------


def test_protection_of_a_component_reaches_its_children(world: Worlds) -> None:
    shop = world(
        program(
            """
group = Group("group", ResourceOptions(protect=True))
Parameter("child", opts=ResourceOptions(parent=group))
Parameter("open", opts=ResourceOptions(parent=group, protect=False))
"""
        )
    )
    shop.done("up")

    protected = {r["urn"].split("::")[-1] for r in shop.resources() if r.get("protect")}

    assert protected == {"group", "child"}


def test_a_providers_option_reaches_a_components_grandchildren(world: Worlds) -> None:
    shop = world(
        program(
            """
west = Provider("west", region="us-west-2")
outer = Group("outer", ResourceOptions(providers=[west]))
inner = Group("inner", ResourceOptions(parent=outer))
Parameter("deep", opts=ResourceOptions(parent=inner))
Parameter("beside")
"""
        )
    )
    shop.done("up")

    deep, beside = shop.resource("deep"), shop.resource("beside")

    assert deep["provider"] == f"{shop.urn('west')}::{shop.resource('west')['id']}"
    assert deep["outputs"]["region"] == "us-west-2"
    assert beside["provider"].split("::")[-2].startswith("default")
    assert beside["outputs"]["region"] == "us-east-1"


def test_a_provider_that_is_told_beats_the_parents(world: Worlds) -> None:
    shop = world(
        program(
            """
west = Provider("west", region="us-west-2")
east = Provider("east", region="us-east-1")
group = Group("group", ResourceOptions(providers=[west]))
Parameter("child", opts=ResourceOptions(parent=group, provider=east))
"""
        )
    )
    shop.done("up")

    assert shop.resource("child")["provider"].startswith(shop.urn("east"))


def test_the_default_provider_is_configured_from_the_stack_and_is_not_counted(
    world: Worlds,
) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("config", "set", "aws:region", "us-west-2")

    ended = shop.done("up")

    [default] = [r for r in shop.resources() if r["type"] == "pulumi:providers:aws"]
    assert default["urn"].split("::")[-1].startswith("default")
    assert default["inputs"]["region"] == "us-west-2"
    assert (short(default["urn"]), "create") in ended.ops
    assert ended.counts == {"create": 2}


def test_a_disabled_default_provider_is_refused_with_the_resource_that_wanted_it(
    world: Worlds,
) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("config", "set", "--path", "pulumi:disable-default-providers[0]", "aws")

    ended = shop.run("up")

    assert not ended.ok
    assert "Default provider for 'aws' disabled." in "".join(ended.messages("error"))
    assert shop.names() == []


def test_a_provider_is_deleted_after_all_that_it_made(world: Worlds) -> None:
    shop = world(
        program(
            """
own = Provider("own", region="us-east-1")
first = Parameter("first", opts=ResourceOptions(provider=own))
Parameter("second", opts=ResourceOptions(provider=own, depends_on=[first]))
"""
        )
    )
    shop.done("up")

    deleted = [name.split("::")[-1] for name, op in shop.done("destroy").ops if op == "delete"]

    assert deleted[:3] == ["second", "first", "own"]


# Identity ---------------------------------------------------------------------------------------


def test_two_resources_of_one_urn_are_refused(world: Worlds) -> None:
    shop = world(program('Parameter("twin", "/a")\nParameter("twin", "/b")'))

    ended = shop.run("up")

    assert not ended.ok
    assert any(
        message.startswith("Duplicate resource URN '") and "try giving it a unique name" in message
        for message in ended.messages("error")
    )


def test_an_alias_of_another_type_keeps_the_resource(world: Worlds, client: Clients) -> None:
    shop = world(
        changing(
            one='Group("old")',
            two="""
class Other(ComponentResource):
    def __init__(self, logical, opts=None):
        super().__init__("shop:index:Other", logical, {}, opts)
Other("new", ResourceOptions(aliases=[pulumi.Alias(type_="shop:index:Group", name="old")]))
""",
        )
    )
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two")

    assert ended.counts == {"same": 2}
    assert shop.names() == ["shop:index:Other::new"]


def test_an_alias_by_urn_keeps_the_resource(world: Worlds) -> None:
    urn = "urn:pulumi:dev::shop::aws:ssm/parameter:Parameter::old"
    shop = world(
        changing(
            one='Parameter("old", "/p")',
            two=f'Parameter("new", "/p", opts=ResourceOptions(aliases=["{urn}"]))',
        )
    )
    shop.done("up", "-c", "step=one")

    ended = shop.done("up", "-c", "step=two")

    assert ended.ops_of("new") == ["same"]
    assert ended.counts == {"same": 2}
    assert "aliases" not in shop.resource("new")


def test_two_resources_cannot_claim_one_alias(world: Worlds) -> None:
    alias = 'ResourceOptions(aliases=[pulumi.Alias(name="old")])'
    shop = world(
        changing(
            one='Parameter("old", "/p")',
            two=f'a = Parameter("a", "/a", opts={alias})\nParameter("b", "/b", opts={alias})',
        )
    )
    shop.done("up", "-c", "step=one")

    ended = shop.run("up", "-c", "step=two")

    assert not ended.ok
    assert any("Duplicate resource alias" in message for message in ended.messages("error"))


# What goes with a resource ----------------------------------------------------------------------


def test_custom_timeouts_are_in_the_state(world: Worlds) -> None:
    shop = world(
        program(
            'Parameter("p", opts=ResourceOptions('
            'custom_timeouts=pulumi.CustomTimeouts(create="5m", delete="90s")))'
        )
    )
    shop.done("up")

    assert shop.resource("p")["customTimeouts"] == {"create": 300, "delete": 90}


def test_additional_secret_outputs_are_encrypted_and_masked(world: Worlds) -> None:
    shop = world(
        program(
            """
p = Parameter("p", value="hush", opts=ResourceOptions(additional_secret_outputs=["value"]))
export("value", p.value)
export("name", p.name)
"""
        )
    )
    shop.done("up")

    assert shop.outputs() == {"value": "[secret]", "name": "/p"}
    assert shop.outputs(shown=True)["value"] == "hush"
    assert "ciphertext" in shop.resource("p")["outputs"]["value"]
    # Only the output was asked for.
    assert shop.resource("p")["inputs"]["value"] == "hush"


def test_a_dependency_on_a_component_is_one_on_its_resources(world: Worlds) -> None:
    shop = world(
        program(
            """
group = Group("group")
Parameter("child", opts=ResourceOptions(parent=group))
Parameter("after", opts=ResourceOptions(depends_on=[group]))
"""
        )
    )
    shop.done("up")

    child: Any = shop.urn("child")
    assert child in shop.resource("after")["dependencies"]


def test_a_version_of_a_provider_is_another_default_provider(world: Worlds) -> None:
    shop = world(program('Parameter("p", opts=ResourceOptions(version="7.51.1"))'))
    shop.done("up")

    assert shop.resource("p")["provider"].split("::")[-2] == "default_7_51_1"

"""Secrets on their way from configuration and other stacks into state and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.conftest import Worlds
from tests.conformance.programs import program
from tests.conformance.world import SECRET, World

pytestmark = pytest.mark.conformance


def test_a_configuration_secret_is_told_nowhere(world: Worlds) -> None:
    shop = world(
        program(
            """
token = config.require_secret("token")
Parameter("p", description=token.apply(lambda t: "uses " + t))
export("token", token)
"""
        )
    )
    shop.done("config", "set", "--secret", "token", "s3cr3t")

    ended = shop.done("up")

    told = "\n".join([ended.out, ended.err, json.dumps(list(ended.events))])
    kept = json.dumps(shop.deployment())
    listed = shop.done("config").out + shop.done("stack", "output").out
    assert "s3cr3t" not in told + kept + listed
    assert shop.resource("p", shown=True)["inputs"]["description"] == {
        **SECRET,
        "plaintext": '"uses s3cr3t"',
    }


def test_a_secret_inside_a_map_input_is_encrypted_there(world: Worlds) -> None:
    shop = world(program('Parameter("p", tags={"open": "1", "hidden": Output.secret("hush")})'))
    shop.done("up")

    inputs = shop.resource("p")["inputs"]["tags"]

    assert inputs["open"] == "1"
    assert SECRET.items() <= inputs["hidden"].items()


def test_what_is_made_of_a_secret_is_secret_until_it_is_unwrapped(world: Worlds) -> None:
    shop = world(
        program(
            """
secret = Output.secret("hush")
export("derived", secret.apply(len))
export("joined", Output.concat("a-", secret))
export("all", Output.all(secret, 1))
export("open", Output.unsecret(secret).apply(len))
"""
        )
    )
    shop.done("up")

    assert shop.outputs() == {
        "all": "[secret]",
        "derived": "[secret]",
        "joined": "[secret]",
        "open": 4,
    }
    assert shop.outputs(shown=True)["all"] == ["hush", 1]


def test_a_secret_in_a_providers_configuration_is_encrypted(world: Worlds) -> None:
    shop = world(program('Provider("own", region="us-east-1", token=Output.secret("hush"))'))
    shop.done("up")

    assert SECRET.items() <= shop.resource("own")["inputs"]["token"].items()
    assert "hush" not in json.dumps(shop.deployment())


def test_a_change_to_a_secret_is_seen_but_not_told(world: Worlds) -> None:
    shop = world(program('Parameter("p", description=config.require_secret("token"))'))
    shop.done("config", "set", "--secret", "token", "first-secret")
    shop.done("up")
    shop.done("config", "set", "--secret", "token", "second-secret")

    ended = shop.done("preview", "--diff")

    assert ended.ops_of("p") == ["update"]
    told = ended.out + json.dumps(list(ended.events))
    assert "first-secret" not in told
    assert "second-secret" not in told


# Other stacks -----------------------------------------------------------------------------------


@pytest.fixture
def producer(world: Worlds) -> World:
    """A project whose stack exports something open and something secret."""
    made = world(
        program('export("open", {"a": 1})\nexport("hidden", Output.secret("hush"))'), "network"
    )
    made.done("up")
    return made


REFERENCE = 'other = pulumi.StackReference("organization/network/dev")\n'


def test_a_reference_reads_another_projects_outputs(world: Worlds, producer: World) -> None:
    shop = world(program(REFERENCE + 'export("a", other.require_output("open")["a"])'))
    shop.done("up")

    assert shop.outputs() == {"a": 1}


def test_a_referenced_secret_stays_secret(world: Worlds, producer: World) -> None:
    shop = world(program(REFERENCE + 'export("b", other.get_output("hidden"))'))
    shop.done("up")

    assert shop.outputs() == {"b": "[secret]"}
    assert shop.outputs(shown=True) == {"b": "hush"}


def test_output_details_tell_a_secret_from_a_value(world: Worlds, producer: World) -> None:
    shop = world(
        program(
            REFERENCE
            + """
import asyncio, json
async def details():
    found = [await other.get_output_details(name) for name in ("open", "hidden", "nothing")]
    return json.dumps([[d.value, d.secret_value] for d in found])
export("details", Output.from_input(details()))
"""
        )
    )
    shop.done("up")

    shown = shop.outputs(shown=True)["details"]
    assert (
        json.loads(shown)
        if isinstance(shown, str)
        else shown
        == [
            [{"a": 1}, None],
            [None, "hush"],
            [None, None],
        ]
    )


def test_a_reference_stands_in_the_state_as_something_read(world: Worlds, producer: World) -> None:
    shop = world(program(REFERENCE))

    ended = shop.done("up")

    reference = shop.resource("organization/network/dev")
    assert reference["type"] == "pulumi:pulumi:StackReference"
    assert reference["external"] is True
    assert SECRET.items() <= reference["outputs"]["outputs"]["hidden"].items()
    assert ended.counts == {"create": 1}


def test_a_reference_is_read_anew_each_time(world: Worlds, producer: World) -> None:
    shop = world(program(REFERENCE + 'export("open", other.get_output("open"))'))
    shop.done("up")
    producer.write(program('export("open", "changed")'))
    producer.done("up")

    shop.done("up")

    assert shop.outputs() == {"open": "changed"}


def test_no_plain_secret_is_on_the_disk(world: Worlds, producer: World, home: Path) -> None:
    assert producer.outputs(shown=True)["hidden"] == "hush"

    texts = [path.read_bytes() for path in home.rglob("*") if path.is_file()]

    assert texts
    assert not any(b"hush" in text for text in texts)

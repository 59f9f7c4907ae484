"""The decision record of deviations, and those deviations that no other test shows."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.deviations import RECORD, TABLES, Deviation
from tests.conformance.programs import program
from tests.conformance.world import SECRET, World

DEVIATIONS = tuple(itertools.chain.from_iterable(TABLES))


# The record -------------------------------------------------------------------------------------


def test_the_record_shows_every_deviation_and_no_other(root: Path) -> None:
    lines = (root / RECORD).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| Pulumi")]

    assert rows == [deviation.row for deviation in DEVIATIONS]


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.here)
def test_a_deviation_is_shown_by_a_test_that_exists(deviation: Deviation, root: Path) -> None:
    path, _, name = deviation.shown_by.partition("::")

    assert f"def {name}(" in (root / path).read_text()


# Shown here -------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_what_was_deleted_for_a_replacement_is_not_deleted_again(
    world: Worlds, client: Clients
) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("up")
    client("ssm").delete_parameter(Name="/p")
    document = json.loads(shop.done("stack", "export").out)
    for resource in document["deployment"]["resources"]:
        if resource["urn"].endswith("::p"):
            resource["pendingReplacement"] = True
    (shop.directory / "state.json").write_text(json.dumps(document))
    shop.done("stack", "import", "--file", "state.json")

    ended = shop.done("up")

    assert ended.ops_of("p") == ["replace", "create-replacement"]
    assert parameters(client) == {"/p": "1"}


@pytest.mark.conformance
def test_the_stack_file_is_not_written(world: Worlds) -> None:
    shop = world(program('export("v", config.require("colour"))'))
    file = shop.directory / "Pulumi.dev.yaml"
    text = "# ours\nconfig:\n  shop:colour: red\n"
    file.write_text(text)

    shop.done("config", "set", "colour", "blue")
    shop.done("config", "set", "--secret", "token", "hush")
    shop.done("up", "-c", "more=1")

    assert shop.outputs() == {"v": "blue"}
    assert file.read_text() == text


@pytest.mark.conformance
def test_removing_or_renaming_a_stack_leaves_its_file(world: Worlds) -> None:
    shop = world(program("pass"))
    file = shop.directory / "Pulumi.dev.yaml"
    file.write_text("config: {}\n")

    renamed = shop.done("stack", "rename", "stage")
    shop.done("stack", "rm", "--yes", "--stack", "stage")

    assert "Pulumi.dev.yaml was left as it is" in renamed.err
    assert file.read_text() == "config: {}\n"


@pytest.mark.conformance
def test_an_imported_secret_is_encrypted_with_the_stacks_own_key(world: Worlds, home: Path) -> None:
    shop = world(program('export("token", Output.secret("hush"))'))
    shop.done("up")
    document = json.loads(shop.done("stack", "export", "--show-secrets").out)
    [stack] = document["deployment"]["resources"]
    assert stack["outputs"]["token"] == {**SECRET, "plaintext": '"hush"'}
    (shop.directory / "state.json").write_text(json.dumps(document))

    shop.done("stack", "import", "--file", "state.json")

    assert shop.outputs(shown=True) == {"token": "hush"}
    assert "plaintext" not in json.dumps(shop.deployment())
    kept = shop.deployment()["secrets_providers"]["state"]["salt"]
    assert kept == json.loads((home / "passphrase.json").read_text())["encryptionsalt"]


@pytest.mark.conformance
def test_an_unchanged_secret_keeps_its_ciphertext(world: Worlds) -> None:
    shop = world(program('Parameter("p", description=Output.secret("hush"))'))
    shop.done("up")
    before = shop.resource("p")["inputs"]

    shop.done("up")

    assert shop.resource("p")["inputs"] == before


@pytest.mark.conformance
def test_an_export_of_another_project_is_not_imported(world: Worlds) -> None:
    shop, other = world(program('Parameter("p")')), world(program("pass"), "other")
    shop.done("up")
    shop.done("stack", "export", "--file", str(other.directory / "state.json"))

    ended = other.run("stack", "import", "--file", "state.json")

    assert not ended.ok
    assert "is from a different stack or project" in ended.err
    assert other.resources() == []


@pytest.mark.conformance
def test_cancel_without_an_update_says_that_there_is_none(world: Worlds) -> None:
    shop = world(program("pass"))

    ended = shop.run("cancel", "--yes")

    assert not ended.ok
    assert "no update of stack 'dev' is running" in ended.err


@pytest.mark.conformance
def test_without_its_virtual_environment_a_program_runs_with_this_interpreter(
    tmp_path: Path, home: Path
) -> None:
    text = 'import sys\nexport("python", sys.executable)'
    command = EmbeddedCommand(home, environment={})
    shop = World(tmp_path / "project", "shop", program(text), command)
    (shop.directory / "Pulumi.yaml").write_text(
        "name: shop\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
    )
    shop.done("stack", "init", "dev")
    shop.done("up")

    assert shop.outputs() == {"python": sys.executable}


@pytest.mark.conformance
def test_a_default_provider_that_no_version_is_asked_of_is_just_that(world: Worlds) -> None:
    shop = world(program('Parameter("p")'))
    shop.done("up")

    assert shop.resource("p")["provider"].split("::")[-2] == "default"

"""State, history, export and import as commands; and who may update a stack at a time."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from infra.sandbox.engine.secrets import Crypter, new_state
from tests.conformance import recordings
from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import World

pytestmark = pytest.mark.conformance

PAIR = """
first = Parameter("first")
Parameter("second", value=first.value)
"""


@pytest.fixture
def pair(world: Worlds) -> World:
    """A stack of two resources, the second of which needs the first."""
    shop = world(program(PAIR))
    shop.done("up")
    return shop


# State ------------------------------------------------------------------------------------------


def test_what_is_deleted_from_the_state_stays_in_the_cloud(pair: World, client: Clients) -> None:
    pair.done("state", "delete", pair.urn("second"), "--yes")

    assert pair.names() == ["aws:ssm/parameter:Parameter::first"]
    assert set(parameters(client)) == {"/first", "/second"}


def test_what_others_need_is_not_deleted_from_the_state(pair: World) -> None:
    urn = pair.urn("first")

    ended = pair.run("state", "delete", urn, "--yes")

    assert not ended.ok
    assert "can't be safely deleted because the following resources depend on it" in ended.err
    assert pair.urn("second") in ended.err
    assert len(pair.names()) == 2


def test_dependents_leave_the_state_together(pair: World) -> None:
    pair.done("state", "delete", pair.urn("first"), "--target-dependents", "--yes")

    assert pair.names() == []


def test_what_is_protected_leaves_the_state_by_force_only(pair: World) -> None:
    urn = pair.urn("second")
    pair.done("state", "protect", urn, "--yes")

    refused = pair.run("state", "delete", urn, "--yes")
    assert not refused.ok
    assert "can't be safely deleted because it is protected" in refused.err
    pair.done("state", "delete", urn, "--force", "--yes")

    assert pair.names() == ["aws:ssm/parameter:Parameter::first"]


def test_protecting_in_the_state_refuses_a_destroy_until_it_is_taken_back(
    pair: World, client: Clients
) -> None:
    pair.done("state", "protect", pair.urn("first"), "--yes")
    assert pair.resource("first")["protect"] is True

    assert not pair.run("destroy").ok
    assert "/first" in parameters(client)
    pair.done("state", "unprotect", pair.urn("first"), "--yes")
    pair.done("destroy")

    assert parameters(client) == {}


def test_a_resource_renamed_in_the_state_is_the_same_in_a_program_that_renamed_it(
    pair: World,
) -> None:
    pair.done("state", "rename", pair.urn("first"), "renamed", "--yes")
    pair.write(program(PAIR.replace('Parameter("first")', 'Parameter("renamed", "/first")')))

    ended = pair.done("up")

    assert ended.counts == {"same": 3}
    assert pair.resource("second")["propertyDependencies"]["value"] == [pair.urn("renamed")]


def test_a_resource_is_not_renamed_to_one_that_is_there(pair: World) -> None:
    ended = pair.run("state", "rename", pair.urn("first"), "second", "--yes")

    assert not ended.ok
    assert "corresponds to an already existing resource" in ended.err


def test_a_tainted_resource_is_replaced(world: Worlds) -> None:
    shop = world(program('Parameter("p", opts=ResourceOptions(delete_before_replace=True))'))
    shop.done("up")
    shop.done("state", "taint", shop.urn("p"), "--yes")

    ended = shop.done("up")

    assert "replace" in ended.ops_of("p")
    assert "taint" not in shop.resource("p")


# History, export, import ------------------------------------------------------------------------


def test_the_history_tells_each_update_newest_first(world: Worlds) -> None:
    shop = world(changing(one='Parameter("p")', two="raise pulumi.RunError('no')"))
    shop.done("up", "-c", "step=one", "--message", "first")
    shop.run("up", "-c", "step=two")
    shop.done("destroy")

    history = json.loads(shop.done("stack", "history", "--json").out)

    assert [(u["kind"], u["result"]) for u in history] == [
        ("destroy", "succeeded"),
        ("update", "failed"),
        ("update", "succeeded"),
    ]
    assert history[-1]["message"] == "first"
    assert history[-1]["resourceChanges"] == {"create": 2}
    assert history[-1]["config"]["shop:step"] == {"value": "one", "secret": False}


def test_a_preview_is_not_in_the_history(pair: World) -> None:
    pair.done("preview")

    assert len(json.loads(pair.done("stack", "history", "--json").out)) == 1


def test_an_export_is_imported_as_it_was(pair: World) -> None:
    before = pair.done("stack", "export", "--show-secrets").out
    pair.done("stack", "export", "--file", "state.json")
    pair.done("state", "delete", pair.urn("second"), "--yes")

    pair.done("stack", "import", "--file", "state.json")

    after = pair.done("stack", "export", "--show-secrets").out
    assert (
        json.loads(after)["deployment"]["resources"]
        == json.loads(before)["deployment"]["resources"]
    )
    assert pair.done("up").counts == {"same": 3}


def test_an_export_of_another_stack_is_not_imported(pair: World) -> None:
    pair.done("stack", "export", "--file", "state.json")
    pair.done("stack", "init", "stage")

    ended = pair.run("stack", "import", "--file", "state.json")

    assert not ended.ok
    assert pair.resources() == []


def test_an_export_with_a_resource_before_what_it_needs_is_not_imported(pair: World) -> None:
    document = json.loads(pair.done("stack", "export").out)
    document["deployment"]["resources"].reverse()
    (pair.directory / "state.json").write_text(json.dumps(document))
    before = pair.resources()

    ended = pair.run("stack", "import", "--file", "state.json")

    assert not ended.ok
    assert pair.resources() == before


@pytest.fixture
def clis_command(
    home: Path, cloud: servers.Cloud, environment: dict[str, str], program_python: str
) -> EmbeddedCommand:
    """The engine, with the passphrase that the CLI's export was encrypted with."""
    return EmbeddedCommand(
        home,
        cloud_identity=cloud.identity,
        environment={**environment, "PULUMI_CONFIG_PASSPHRASE": "theirs"},
        python=Path(program_python),
    )


def test_a_state_of_the_clis_shape_is_imported_and_then_the_same(
    tmp_path: Path, cloud: servers.Cloud, clis_command: EmbeddedCommand
) -> None:
    """The resources are those of a recorded case, as the CLI's export had them."""
    case = "01-lifecycle"
    name = recordings.project_name(case)
    shop = World(tmp_path / "project", name, recordings.program(case), clis_command)
    shop.done("stack", "init", "dev")
    shop.done("config", "set", "endpoint", cloud.endpoint)
    shop.done("config", "set", "step", "create")
    document = cli_export(name, cloud.endpoint, Crypter(new_state("theirs"), "theirs"))
    (shop.directory / "state.json").write_text(json.dumps(document))

    shop.done("stack", "import", "--file", "state.json")

    assert shop.outputs() == {"par": "/c01/a"}
    assert shop.inputs("par")["value"] == "1"
    assert shop.resource("par")["sourcePosition"] == "project:///__main__.py#7,10"
    ended = shop.done("preview")
    assert ended.counts == {"create": 2, "same": 3}
    assert ended.ops_of("par") == ["same"]


def test_an_export_that_shows_its_secrets_needs_no_passphrase(pair: World) -> None:
    document = json.loads(pair.done("stack", "export", "--show-secrets").out)
    document["deployment"]["secrets_providers"] = {
        "type": "cloud",
        "state": {"url": "awskms://alias/mono-repo-dev-pulumi-state", "encryptedkey": "x"},
    }
    (pair.directory / "state.json").write_text(json.dumps(document))

    pair.done("stack", "import", "--file", "state.json")

    assert pair.inputs("first")["value"] == "1"
    assert pair.done("up").counts == {"same": 3}


def cli_export(project: str, endpoint: str, theirs: Crypter) -> dict[str, Any]:
    """Put together what the CLI exports after the case's first update.

    The two resources that the cloud does not have are left out.
    """
    step = next(s for s in recordings.steps("01-lifecycle") if s["step"] == "create")
    state = step["state"]
    prefix = f"urn:pulumi:dev::{project}::"
    stack = f"{prefix}pulumi:pulumi:Stack::{project}-dev"
    provider = f"{prefix}pulumi:providers:aws::p"
    moment = "2026-11-20T10:11:12.123456789Z"
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "ciphertext": theirs.encrypt('"1"'),
    }
    common = {
        "created": moment,
        "modified": moment,
        "sourcePosition": "project:///__main__.py#7,10",
        "stackTrace": [{"sourcePosition": "project:///__main__.py#7,10"}],
    }
    config: dict[str, Any] = {
        "accessKey": "t",
        "endpoints": json.dumps(
            [dict.fromkeys(["ec2", "s3", "ssm", "iam", "sts", "dynamodb", "ecr", "logs"], endpoint)]
        ),
        "region": "us-east-1",
        "s3UsePathStyle": "true",
        "secretKey": "t",
        "skipCredentialsValidation": "true",
        "skipMetadataApiCheck": "true",
        "skipRegionValidation": "true",
        "skipRequestingAccountId": "true",
        "version": "7.51.1",
    }
    recorded = state["aws:ssm/parameter:Parameter::par"]
    parameter = f"{prefix}aws:ssm/parameter:Parameter::par"
    resources = [
        {
            "urn": stack,
            "custom": False,
            "type": "pulumi:pulumi:Stack",
            "outputs": {"par": "/c01/a"},
            **common,
        },
        {
            "urn": provider,
            "custom": True,
            "id": "5e0cd6f7-7cd2-4d0f-95a0-9a4b76a7ab64",
            "type": "pulumi:providers:aws",
            "inputs": {"__internal": {}, **config},
            "outputs": config,
            "parent": stack,
            "propertyDependencies": state["pulumi:providers:aws::p"]["propertyDependencies"],
            "additionalSecretOutputs": ["accessKey", "secretKey", "token"],
            **common,
        },
        {
            "urn": parameter,
            "custom": True,
            "id": recorded["id"],
            "type": "aws:ssm/parameter:Parameter",
            "inputs": {**recorded["inputs"], "value": secret},
            "outputs": {
                "__meta": '{"schema_version":"0"}',
                "arn": "arn:aws:ssm:us-east-1:123456789012:parameter/c01/a",
                "id": "/c01/a",
                "name": "/c01/a",
                "region": "us-east-1",
                "tagsAll": {},
                "type": "String",
                "value": secret,
                "version": 1,
            },
            "parent": stack,
            "provider": f"{provider}::5e0cd6f7-7cd2-4d0f-95a0-9a4b76a7ab64",
            "propertyDependencies": recorded["propertyDependencies"],
            "additionalSecretOutputs": recorded["additionalSecretOutputs"],
            **common,
        },
    ]
    return {
        "version": 3,
        "deployment": {
            "manifest": {"time": moment, "magic": "", "version": ""},
            "secrets_providers": {"type": "passphrase", "state": {"salt": theirs.state}},
            "resources": resources,
            "metadata": {},
        },
    }


def test_a_stack_with_resources_is_removed_by_force_only(pair: World) -> None:
    refused = pair.run("stack", "rm", "--yes")
    assert not refused.ok
    assert "still has resources; removal rejected" in refused.err

    pair.done("stack", "rm", "--yes", "--force")

    ended = pair.run("stack", "export", "--stack", "dev")
    assert not ended.ok
    assert "no stack named 'dev' found" in ended.err


def test_a_renamed_stack_keeps_its_resources(pair: World) -> None:
    pair.done("stack", "rename", "stage")

    assert pair.urn("first").startswith("urn:pulumi:stage::shop::")
    assert pair.done("preview").counts == {"same": 3}


def test_destroy_remove_removes_the_stack(pair: World) -> None:
    pair.done("destroy", "--remove")

    assert "no stack named" in pair.run("stack", "export", "--stack", "dev").err


# Locks and cancelling ---------------------------------------------------------------------------

WAITING = """
import pathlib, time
def wait(_):
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    Parameter("later")
Parameter("made").name.apply(wait)
"""


class Running:
    """An update that waits in its program until it is let go."""

    def __init__(self, shop: World) -> None:
        self._shop = shop
        self.ended: Any = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.ended = self._shop.run("up")

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not (self._shop.directory / "started").exists():
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        (self._shop.directory / "go").touch()
        self._thread.join()


def test_a_second_update_is_refused_with_who_runs_the_first(world: Worlds) -> None:
    shop = world(program(WAITING))

    with Running(shop) as running:
        refused = shop.run("destroy")
        refused_edit = shop.run("state", "unprotect", "--all", "--yes")

    assert refused.code != 0
    assert "the stack is currently locked by 1 lock(s)" in refused.err
    assert not refused_edit.ok
    assert running.ended.ok


def test_cancel_stops_the_running_update_which_keeps_what_it_made(
    world: Worlds, client: Clients
) -> None:
    shop = world(program(WAITING))

    with Running(shop) as running:
        shop.done("cancel", "--yes")
        deadline = time.monotonic() + 60
        while running.ended is None and time.monotonic() < deadline:
            time.sleep(0.05)

    assert not running.ended.ok
    assert set(parameters(client)) == {"/made"}
    assert shop.names() == ["aws:ssm/parameter:Parameter::made"]


def test_the_lock_is_gone_after_a_failed_update(world: Worlds, home: Path) -> None:
    shop = world(program("raise pulumi.RunError('no')"))
    assert not shop.run("up").ok

    shop.write(program("pass"))

    shop.done("up")

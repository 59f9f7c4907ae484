"""The sandbox's servers and states as an operator meets them, well or broken."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackRecord, StackReference
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.state import Resource, Snapshot
from ops.errors import ExitCode
from tests.ops.conftest import Ops
from tests.ops.events import VPC, VPC_TYPE

pytestmark = pytest.mark.sandbox

DEV = StackReference("mono-repo", "dev")
HELD = Snapshot((Resource(urn=VPC, type=VPC_TYPE, custom=True, id="vpc-1"),))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A sandbox's home whose cloud, if there is one, ends with the test."""
    folder = tmp_path / "sandbox"
    yield folder
    if folder.exists():
        servers.stop(folder)


def _state(home: Path, cloud: str | None) -> None:
    """Write a state that describes a resource of a cloud."""
    backend = Backend(home, version="v3.0.0")
    backend.create(DEV, "")
    backend.save(DEV, HELD, Kept(), "")
    backend.write_record(DEV, StackRecord(cloud=cloud))


def _end(cloud: servers.Cloud) -> None:
    os.kill(cloud.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{cloud.pid}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{cloud.pid}/cmdline").read_bytes():
            break
        time.sleep(0.01)


def test_the_first_command_starts_the_cloud_and_the_next_ones_find_the_same(
    ops: Ops, home: Path
) -> None:
    lines = ops("--sandbox", "env", "dev")
    status = json.loads(ops("sandbox", "status", "--json").out)
    assert status["running"]
    assert f"export AWS_ENDPOINT_URL={status['endpoint']}" in lines.out
    assert ops("--sandbox", "env", "dev").out.count(status["endpoint"]) == 1
    assert json.loads(ops("sandbox", "status", "--json").out)["identity"] == status["identity"]
    assert "Stopped the sandbox's cloud" in ops("sandbox", "stop").out
    assert not json.loads(ops("sandbox", "status", "--json").out)["running"]


def test_a_state_whose_cloud_has_died_is_not_used_with_a_new_cloud(ops: Ops, home: Path) -> None:
    cloud = servers.ensure_running(home)
    _state(home, cloud.identity)
    _end(cloud)

    ended = ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.REFUSED
    assert "does not answer" in ended.err
    assert "still describes 1 resources of a cloud that has ended" in ended.err
    assert "ops sandbox reset dev" in ended.err
    assert servers.status(home).state == "dead", "no new cloud was started"

    assert "Forgotten: mono-repo/dev" in ops("sandbox", "reset", "dev").out
    assert ops("--sandbox", "env", "dev").code == 0


def test_a_state_of_another_cloud_than_the_running_one_is_refused_with_both_identities(
    ops: Ops, home: Path
) -> None:
    cloud = servers.ensure_running(home)
    _state(home, "the-former-one")
    ended = ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.REFUSED
    assert "expected the-former-one" in ended.err
    assert f"found {cloud.identity}" in ended.err
    assert "(of a cloud that is gone)" in ops("sandbox", "status").out


def test_resources_in_the_running_cloud_are_not_forgotten_one_environment_at_a_time(
    ops: Ops, home: Path
) -> None:
    _state(home, servers.ensure_running(home).identity)
    ended = ops("sandbox", "reset", "dev")
    assert ended.code == ExitCode.REFUSED
    assert "ops --sandbox destroy dev" in ended.err
    assert Backend(home, version="").exists(DEV)


def test_a_reset_that_would_forget_resources_asks_and_leaves_nothing_behind(
    ops: Ops, home: Path
) -> None:
    cloud = servers.ensure_running(home)
    _state(home, cloud.identity)
    asked = ops("sandbox", "reset")
    assert asked.code == ExitCode.REFUSED
    assert "with its 1 resources" in asked.err
    assert servers.status(home).state == "running"
    assert ops("sandbox", "reset", "--yes").code == 0
    assert not home.exists()


def test_what_is_not_the_sandboxes_own_in_its_home_is_left_by_a_reset(ops: Ops, home: Path) -> None:
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    (home / ".pulumi").mkdir()
    assert ops("sandbox", "reset", "--yes").code == 0
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


def test_nothing_is_reset_while_an_update_runs(ops: Ops, home: Path) -> None:
    _state(home, None)
    with Backend(home, version="").lock(DEV, "pulumi up"):
        ended = ops("sandbox", "reset", "--yes")
    assert ended.code == ExitCode.REFUSED
    assert f"process {os.getpid()}" in ended.err
    assert Backend(home, version="").exists(DEV)


def test_a_cloud_with_resources_is_stopped_only_once_that_is_agreed_to(
    ops: Ops, home: Path
) -> None:
    _state(home, servers.ensure_running(home).identity)
    asked = ops("sandbox", "stop")
    assert asked.code == ExitCode.REFUSED
    assert "with its 1 resources" in asked.err
    with Backend(home, version="").lock(DEV, "pulumi up"):
        running = ops("sandbox", "stop", "--yes")
    assert running.code == ExitCode.REFUSED
    assert "Nothing was stopped" in running.err
    assert servers.status(home).state == "running"
    assert ops("sandbox", "stop", "--yes").code == 0
    assert servers.status(home).state == "stopped"


def test_an_update_that_has_not_yet_told_who_it_is_is_not_overlooked(ops: Ops, home: Path) -> None:
    _state(home, None)
    with Backend(home, version="").lock(DEV, "pulumi up"):
        (home / ".pulumi" / "locks" / str(DEV) / "owner.json").write_text("")
        assert ops("sandbox", "reset", "--yes").code == ExitCode.REFUSED
    assert Backend(home, version="").exists(DEV)


def test_a_busy_cloud_is_told_and_left_with_all_that_is_in_it(
    ops: Ops, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = servers.ensure_running(home)
    _state(home, cloud.identity)
    monkeypatch.setattr(servers, "HTTP_TIMEOUT", 0.1)
    os.kill(cloud.pid, signal.SIGSTOP)
    try:
        for command in (
            ("--sandbox", "env", "dev"),
            ("sandbox", "stop", "--yes"),
            ("sandbox", "reset", "--yes"),
            ("sandbox", "reset", "dev"),
        ):
            ended = ops(*command)
            assert ended.code == ExitCode.ERROR, command
            assert "does not answer within" in ended.err
            assert "nothing was done" in ended.err
    finally:
        os.kill(cloud.pid, signal.SIGCONT)
        monkeypatch.setattr(servers, "HTTP_TIMEOUT", 5.0)
    assert servers.status(home).cloud == cloud
    assert Backend(home, version="").exists(DEV)


def test_neither_a_profile_nor_an_endpoint_of_the_users_reaches_into_the_sandbox(
    ops: Ops, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "https://elsewhere")
    endpoint = servers.ensure_running(home).endpoint
    lines = ops("--sandbox", "env", "dev")
    assert f"export AWS_ENDPOINT_URL_SSM={endpoint}" in lines.out
    assert "export MONO_REPO_SANDBOX=1" in lines.out
    ended = ops("--sandbox", "params", "setup", "dev", "--yes")
    assert "Run `up` for the environment first" in ended.err


def test_a_port_that_is_taken_is_told_with_the_variable_that_chooses_another(
    ops: Ops, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MONO_REPO_SANDBOX_PORT", str(taken.getsockname()[1]))
        ended = ops("--sandbox", "env", "dev")
    assert ended.code == ExitCode.ERROR
    assert "is taken by another process" in ended.err
    assert "MONO_REPO_SANDBOX_PORT" in ended.err


def test_a_stranger_at_the_clouds_address_is_not_spoken_to(ops: Ops, home: Path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home.mkdir()
    record = {
        "pid": os.getpid(),
        "port": server.server_port,
        "endpoint": f"http://127.0.0.1:{server.server_port}",
        "identity": "ours",
        "started": "2026-12-01T00:00:00Z",
        "log": "",
    }
    (home / servers.RECORD).write_text(json.dumps(record))
    try:
        ended = ops("--sandbox", "env", "dev")
    finally:
        server.shutdown()
        server.server_close()
    assert ended.code == ExitCode.REFUSED
    assert "Another server than the recorded sandbox cloud answers" in ended.err
    assert "ops sandbox reset" in ended.err


def test_a_damaged_record_of_the_cloud_is_told_with_what_to_do(ops: Ops, home: Path) -> None:
    home.mkdir()
    (home / servers.RECORD).write_text("{")
    ended = ops("sandbox", "status")
    (home / servers.RECORD).unlink()
    assert ended.code == ExitCode.ERROR
    assert "Delete the file and start the sandbox again" in ended.err


def test_parameters_are_not_made_before_their_key_is_there(ops: Ops, home: Path) -> None:
    ended = ops("--sandbox", "params", "setup", "dev", "--yes")
    assert ended.code == ExitCode.ERROR
    assert "Run `up` for the environment first" in ended.err

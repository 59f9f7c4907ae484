"""preview, up, refresh, destroy and outputs, from the command line to the sandbox's cloud."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept
from ops.__main__ import run
from ops.errors import ExitCode
from tests.faults.conftest import await_file
from tests.ops.conftest import Ended

pytestmark = pytest.mark.sandbox

STACK = StackReference("mono-repo", "dev")
Sandbox = Callable[..., Ended]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox whose cloud serves all tests of this module."""
    folder = tmp_path_factory.mktemp("sandbox")
    servers.ensure_running(folder)
    yield folder
    servers.stop(folder)


@pytest.fixture
def small(root: Path, tmp_path: Path) -> Path:
    """A project with the committed stack files and a small program."""
    folder = tmp_path / "small"
    folder.mkdir()
    for path in root.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    shutil.copy(Path(__file__).with_name("small_program.py"), folder / "__main__.py")
    return folder


@pytest.fixture
def ops(
    home: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Sandbox]:
    """Runs a command line on the small project, and leaves no resource of the test behind."""
    monkeypatch.chdir(small)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))

    def call(*arguments: str, stdin: str = "") -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return Ended(code, captured.out, captured.err)

    yield call
    backend = Backend(home, version="")
    if backend.exists(STACK):
        call("--sandbox", "destroy", "dev", "--yes", "--unprotect")
        backend.remove(STACK, force=True)


def _client(home: Path, service: str) -> Any:
    cloud = servers.status(home).cloud
    assert cloud is not None
    credentials = servers.assume(cloud, "111122223333", "us-east-1")
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=cloud.endpoint,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
    )


def _vpcs(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _client(home, "ec2").describe_vpcs(
        Filters=[{"Name": "is-default", "Values": ["false"]}]
    )["Vpcs"]
    return found


def _json(ended: Ended) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(ended.out)
    return report


def test_an_environment_is_previewed_made_verified_seen_unchanged_and_destroyed(
    ops: Sandbox, home: Path
) -> None:
    previewed = ops("--sandbox", "preview", "dev", "--detailed-exitcode")
    assert previewed.code == ExitCode.FINDINGS
    first, *_ = previewed.out.splitlines()
    assert first.startswith("sandbox · account 111122223333 · us-east-1 · stack mono-repo/dev")
    assert "├─ aws:ec2:Vpc" in previewed.out
    assert _vpcs(home) == [], "a preview changes nothing"

    made = ops("--sandbox", "up", "dev", "--yes")
    assert made.code == 0, made.out + made.err
    assert "Verified: 3 resources read back, none differs" in made.out
    assert made.out.splitlines()[-1].startswith("A rehearsal: it proves the program")
    assert len(_vpcs(home)) == 1

    again = ops("--sandbox", "preview", "dev", "--detailed-exitcode", "--refresh")
    assert again.code == 0, again.out + again.err
    assert "6 unchanged" in again.out

    destroyed = ops("--sandbox", "destroy", "dev", "--yes")
    assert destroyed.code == 0, destroyed.out + destroyed.err
    assert _vpcs(home) == []


def test_json_is_all_that_is_on_stdout_and_tells_every_property(ops: Sandbox) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    assert ops("sandbox", "config", "dev", "name", "other").code == 0
    report = _json(ops("--sandbox", "preview", "dev", "--json"))
    assert (report["version"], report["command"]) == (1, "preview")
    (change,) = [item for item in report["resources"] if item["op"] == "update"]
    assert change["type"] == "aws:ec2/vpc:Vpc"
    (item,) = [item for item in change["changes"] if item["path"] == "tags.Name"]
    assert (item["kind"], item["old"], item["new"]) == ("update", "small", "other")
    shown = ops("--sandbox", "preview", "dev", "--diff").out
    assert "~ tags.Name: small → other" in shown


def test_a_replacement_names_the_property_that_forces_it(ops: Sandbox) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    ops("sandbox", "config", "dev", "cidr", "10.9.0.0/16")
    shown = ops("--sandbox", "preview", "dev", "--diff").out
    assert "+- " in shown
    assert "cidrBlock: 10.0.0.0/16 → 10.9.0.0/16 (forces the replacement)" in shown


def test_secret_outputs_are_masked_unless_they_are_asked_for(ops: Sandbox) -> None:
    made = ops("--sandbox", "up", "dev", "--yes")
    masked = ops("--sandbox", "outputs", "dev")
    assert "not-to-be-seen" not in made.out + made.err + masked.out
    assert "[secret]" in masked.out
    shown = _json(ops("--sandbox", "outputs", "dev", "--json", "--show-secrets"))
    assert shown["outputs"]["password"] == "not-to-be-seen"


def test_an_edit_out_of_band_is_found_by_refresh_and_healed_by_up(ops: Sandbox, home: Path) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    (vpc,) = _vpcs(home)
    name = {"Key": "Name", "Value": "edited by hand"}
    _client(home, "ec2").create_tags(Resources=[vpc["VpcId"]], Tags=[name])

    found = ops("--sandbox", "refresh", "dev", "--yes", "--detailed-exitcode", "--diff")
    assert found.code == ExitCode.FINDINGS
    assert "noted as changed" in found.out
    assert "edited by hand" in found.out
    assert _vpcs(home)[0]["Tags"] == [name], "a refresh changes nothing in the cloud"

    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    assert _vpcs(home)[0]["Tags"] == [{"Key": "Name", "Value": "small"}]


def test_a_type_that_the_sandbox_does_not_know_is_refused_before_anything_is_made(
    ops: Sandbox, home: Path
) -> None:
    ops("sandbox", "config", "dev", "unsupported", "true")
    ended = ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.ERROR
    assert "aws:nosuch/thing:Thing" in ended.out
    assert _vpcs(home) == []


def test_what_the_program_says_is_shown_without_a_traceback(ops: Sandbox) -> None:
    ops("sandbox", "config", "dev", "broken", "true")
    ended = ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.ERROR
    assert "the program says no" in ended.out
    assert "Traceback" not in ended.out


def test_without_a_terminal_nothing_is_changed_until_yes_is_given(ops: Sandbox, home: Path) -> None:
    ended = ops("--sandbox", "up", "dev", stdin="y\n")
    assert ended.code == ExitCode.REFUSED
    assert "Give --yes" in ended.err
    assert _vpcs(home) == []


def test_a_locked_stack_is_refused_and_names_who_holds_it(ops: Sandbox, home: Path) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    with Backend(home, version="").lock(STACK, "pulumi up"):
        ended = ops("--sandbox", "destroy", "dev", "--yes")
    assert ended.code == ExitCode.REFUSED
    assert f"pid {os.getpid()}" in ended.err
    assert "Nothing was changed" in ended.err
    assert len(_vpcs(home)) == 1


def test_an_interrupted_preview_ends_with_8_and_holds_no_lock(
    ops: Sandbox, root: Path, home: Path, small: Path
) -> None:
    ops("sandbox", "config", "dev", "hanging", "true")
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "--root", str(small), "--sandbox", "up", "dev", "--yes"],
        cwd=root,
        env={**os.environ, servers.HOME_VARIABLE: str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    await_file(small / "hanging", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.startswith("sandbox · account")
    assert process.returncode == ExitCode.CANCELLED, out
    assert "Traceback" not in out
    ops("sandbox", "config", "dev", "hanging", "false")
    assert ops("--sandbox", "preview", "dev").code == 0


def test_a_damaged_state_is_told_without_a_traceback_and_left_as_it_is(
    ops: Sandbox, home: Path
) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    state = home / ".pulumi" / "stacks" / "mono-repo" / "dev.json"
    content = state.read_bytes()
    state.write_bytes(content[:100])
    for command in (("--sandbox", "preview", "dev"), ("--sandbox", "outputs", "dev")):
        ended = ops(*command)
        assert ended.code == ExitCode.ERROR
        assert "cannot be read" in ended.err
        assert "defect" not in ended.err
    state.write_bytes(content)


def test_protection_is_not_taken_off_a_stack_that_is_locked(ops: Sandbox, home: Path) -> None:
    ops("sandbox", "config", "dev", "protect", "true")
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    with Backend(home, version="").lock(STACK, "pulumi up"):
        ended = ops("--sandbox", "destroy", "dev", "--yes", "--unprotect")
    assert ended.code == ExitCode.REFUSED
    assert f"pid {os.getpid()}" in ended.err
    assert _protected(home) == ["key"]


def test_a_cloud_that_ends_while_a_command_runs_is_told_with_what_to_do(
    ops: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    monkeypatch.setenv(servers.HOME_VARIABLE, str(other))
    ops("sandbox", "config", "dev", "kill", str(servers.ensure_running(other).pid))
    ended = ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.ERROR
    assert "It ended while this command ran" in ended.out
    assert "ops sandbox reset dev" in ended.out


def test_a_protected_resource_is_destroyed_only_where_that_is_asked_for(
    ops: Sandbox, home: Path
) -> None:
    ops("sandbox", "config", "dev", "protect", "true")
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    refused = ops("--sandbox", "destroy", "dev", "--yes")
    assert refused.code == ExitCode.ERROR
    assert "because it is protected" in refused.out
    assert "Give --unprotect" in refused.out
    assert len(_vpcs(home)) == 1, "nothing was deleted"
    assert ops("--sandbox", "destroy", "dev", "--unprotect").code == ExitCode.REFUSED
    assert _protected(home) == ["key"], "without an agreement the protection is back"
    assert ops("--sandbox", "destroy", "dev", "--yes", "--unprotect").code == 0
    assert _vpcs(home) == []


def _protected(home: Path) -> list[str]:
    snapshot = Backend(home, version="").open(STACK).snapshot(Kept())
    return [resource.name for resource in snapshot.resources if resource.protect]


def test_a_target_changes_nothing_else(ops: Sandbox, home: Path) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    ops("sandbox", "config", "dev", "name", "other")
    key = "urn:pulumi:dev::mono-repo::mono-repo:index:Group$aws:kms/key:Key::key"
    assert ops("--sandbox", "up", "dev", "--yes", "--target", key).code == 0
    assert _vpcs(home)[0]["Tags"] == [{"Key": "Name", "Value": "small"}]


def test_outputs_of_a_stack_that_was_never_made_say_how_to_make_it(ops: Sandbox) -> None:
    ended = ops("--sandbox", "outputs", "dev")
    assert ended.code == ExitCode.ERROR
    assert "ops sandbox start dev" in ended.err


def test_parameters_are_made_in_the_sandbox_and_stay_as_they_are(ops: Sandbox, home: Path) -> None:
    assert ops("--sandbox", "up", "dev", "--yes").code == 0
    planned = ops("--sandbox", "params", "setup", "dev", "--dry-run")
    assert (planned.code, "to create" in planned.out) == (0, True)
    made = ops("--sandbox", "params", "setup", "dev", "--yes")
    assert made.code == 0, made.out + made.err
    assert "created, verified" in made.out
    ssm = _client(home, "ssm")
    values = _values(ssm)
    assert values
    assert not [value for value in values.values() if value in made.out + made.err]
    again = ops("--sandbox", "params", "setup", "dev", "--yes")
    assert (again.code, "to create" in again.out) == (0, False)
    assert _values(ssm) == values
    ssm.delete_parameters(Names=list(values))


def _values(ssm: Any) -> dict[str, str]:
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path="/dev/mono-repo", Recursive=True, WithDecryption=True
    )
    secrets = [item for page in pages for item in page["Parameters"]]
    return {item["Name"]: item["Value"] for item in secrets if item["Type"] == "SecureString"}


def test_configuration_is_overridden_without_touching_the_stack_file(
    ops: Sandbox, small: Path
) -> None:
    before = (small / "Pulumi.dev.yaml").read_text()
    assert ops("sandbox", "config", "dev", "name", "x").code == 0
    assert ops("sandbox", "config", "dev", "token", "--secret", stdin="s3cr3t\n").code == 0
    shown = ops("sandbox", "config", "dev").out
    assert "mono-repo:name: x" in shown
    assert "mono-repo:token: [secret]" in shown
    assert "s3cr3t" not in shown
    assert ops("sandbox", "config", "dev", "name", "--remove").code == 0
    assert "mono-repo:name" not in ops("sandbox", "config", "dev").out
    assert ops("sandbox", "config", "dev", "nosuch").code == ExitCode.ERROR
    assert (small / "Pulumi.dev.yaml").read_text() == before

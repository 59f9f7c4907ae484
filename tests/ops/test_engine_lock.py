"""Pulumi's own lock: who holds it, and that no other stack's is released with it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pulumi.automation import CommandResult, ConcurrentUpdateError

from infra import naming
from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.settings import Settings
from ops import engine_lock, homes, lock, stack, update
from ops.access import Access, StackKind
from ops.errors import ExitCode, RefusedError, UsageError
from ops.tree import UpdateLog
from tests.ops.conftest import Ops
from tests.ops.doctor.test_permissions import on_aws

BUCKET = "mono-repo-dev-pulumi-state-0123abc"
CLI = """#!/bin/sh
case "$*" in
  version*) echo v3.200.0 ;;
  *export*) echo '{"version":3,"deployment":{}}' ;;
  *cancel*) shift; echo "$PWD $PULUMI_BACKEND_URL $*" >> "$CANCELLED" ;;
esac
"""


@pytest.fixture
def cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CLI in the place of Pulumi's, and what it was asked to cancel: where, in what, which."""
    folder, said = tmp_path / "bin", tmp_path / "cancelled"
    folder.mkdir()
    program = folder / "pulumi"
    program.write_text(CLI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("CANCELLED", str(said))
    said.touch()
    return said


@pytest.fixture
def access(project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Access]:
    """Dev on moto's AWS, with a bootstrap's bucket and no lock table."""
    monkeypatch.setenv("MOTO_ACCOUNT_ID", dev.account_id)
    url = f"s3://{BUCKET}?region=us-east-1"
    backend = dev.backend.model_copy(update={"url": url})
    with mock_aws():

        class Clients(dict[str, Any]):
            def __missing__(self, service: str) -> Any:
                return boto3.client(service, region_name="us-east-1")

        found = on_aws(dev.model_copy(update={"backend": backend}), project, Clients())
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield replace(
            found,
            backend=url,
            variables={"PULUMI_BACKEND_URL": url},
            records=project / ".ops",
        )


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def content(**changes: Any) -> bytes:
    """What Pulumi writes into a lock."""
    said = {
        "pid": os.getpid(),
        "username": "jane",
        "hostname": lock.host(),
        "timestamp": "2999-12-01T03:00:00.123456789+01:00",
    }
    return json.dumps({**said, **changes}).encode()


def locked(access: Access, path: str, **changes: Any) -> None:
    """Lock a stack in the bucket, as an update does."""
    key = f".pulumi/locks/organization/{path}/0f7e.json"
    access.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content(**changes))


def local(access: Access, **changes: Any) -> homes.Home:
    """Give the home of a bootstrap's state on this machine, locked as by an update."""
    home = homes.new_local(access, "bootstrap")
    assert home.folder is not None
    for path in ("stacks/mono-repo-bootstrap", "locks/organization/mono-repo-bootstrap/dev"):
        (home.folder / ".pulumi" / path).mkdir(parents=True)
    (home.folder / ".pulumi/stacks/mono-repo-bootstrap/dev.json").write_text("{}")
    lock_ = home.folder / ".pulumi/locks/organization/mono-repo-bootstrap/dev/0f7e.json"
    lock_.write_bytes(content(**changes))
    return home


def test_the_lock_of_an_environment_is_told_with_who_holds_it_and_released_in_its_bucket(
    access: Access, cancelled: Path
) -> None:
    locked(access, "mono-repo/dev", hostname="laptop", pid=4711)
    held = engine_lock.look(access, "environment")
    (said,) = held.said
    assert "jane@laptop, process 4711, since 2999-12-01T03:00:00" in said
    with pytest.raises(RefusedError, match="jane@laptop") as refused:
        engine_lock.refuse_running(access)
    assert "ops lock release dev --pulumi" in str(refused.value)
    engine_lock.release(access, "environment", held)
    (asked,) = cancelled.read_text().splitlines()
    assert asked == f"{access.root} {access.backend} cancel --yes --stack dev"


def test_the_lock_of_a_bootstrap_on_this_machine_is_released_there_and_no_environments(
    access: Access, cancelled: Path
) -> None:
    home = local(access)
    locked(access, "mono-repo/dev")
    engine_lock.release(access, "bootstrap", engine_lock.look(access, "bootstrap"))
    (asked,) = cancelled.read_text().splitlines()
    assert asked == f"{home.folder}/program {home.url} cancel --yes --stack dev"


def test_the_lock_of_an_account_is_released_where_its_state_is_by_its_own_name(
    access: Access, cancelled: Path
) -> None:
    account = access.settings.account_id
    key = f".pulumi/stacks/{naming.ACCOUNT_PROJECT}/{account}.json"
    access.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    locked(access, f"{naming.ACCOUNT_PROJECT}/{account}")
    with pytest.raises(UsageError, match="No Pulumi update"):
        engine_lock.look(access, "environment")
    engine_lock.release(access, "account", engine_lock.look(access, "account"))
    (asked,) = cancelled.read_text().splitlines()
    assert asked.endswith(f"&awssdk=v2 cancel --yes --stack {account}")
    assert asked.startswith(f"{access.records}/programs/account s3://{BUCKET}?")


def test_a_lock_that_has_changed_hands_since_it_was_shown_is_left(
    access: Access, cancelled: Path
) -> None:
    locked(access, "mono-repo/dev")
    held = engine_lock.look(access, "environment")
    locked(access, "mono-repo/dev", pid=4711)
    with pytest.raises(RefusedError, match="changed hands"):
        engine_lock.release(access, "environment", held)
    assert not cancelled.read_text()


def test_a_lock_that_was_cut_short_is_one_all_the_same(access: Access) -> None:
    key = ".pulumi/locks/organization/mono-repo/dev/0f7e.json"
    access.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b'{"pid":')
    (said,) = engine_lock.look(access, "environment").said
    assert "unknown@unknown" in said


def released(access: Access, home: homes.Home) -> list[str]:
    """Open the bootstrap's stack as a bootstrap does before it changes it; give what it says."""
    said: list[str] = []
    opened = stack.open_at(access, "bootstrap", home, create=False)
    engine_lock.release_dead(access, "bootstrap", opened, home, said.append)
    return said


def test_the_lock_that_a_killed_bootstrap_of_this_machine_has_left_is_taken_away(
    access: Access, cancelled: Path, ended: int
) -> None:
    (said,) = released(access, local(access, pid=ended))
    assert said.startswith("Took away the lock that a killed update has left: jane@")
    assert "cancel --yes --stack dev" in cancelled.read_text()


def test_so_is_one_whose_process_number_is_anothers_since_the_machine_was_started_anew(
    access: Access, cancelled: Path
) -> None:
    assert released(access, local(access, timestamp="2020-12-01T03:00:00Z"))
    assert cancelled.read_text()


@pytest.mark.parametrize("of", [{}, {"hostname": "another", "pid": 4194304}, {"pid": 0}])
def test_the_lock_of_an_update_that_may_live_is_left(
    access: Access, cancelled: Path, of: dict[str, Any]
) -> None:
    assert not released(access, local(access, **of))
    assert not cancelled.read_text()


@pytest.mark.parametrize(
    ("of", "kind", "command"),
    [
        ("mono-repo/dev", "environment", "ops lock release dev --pulumi"),
        ("mono-repo-bootstrap/dev", "bootstrap", "ops lock release dev --pulumi --stack bootstrap"),
        (
            "mono-repo-account/111122223333",
            "account",
            "ops lock release dev --pulumi --stack account",
        ),
    ],
)
def test_an_update_that_is_locked_out_is_told_the_command_for_its_own_stack(
    access: Access, of: str, kind: StackKind, command: str
) -> None:
    class Locked:
        def up(self, **_arguments: Any) -> None:
            raise ConcurrentUpdateError(CommandResult(stdout="", stderr="locked", code=255))

    stack_: Any = Locked()
    header = dataclasses.replace(access.header(kind), stack=of)
    with pytest.raises(RefusedError) as refused:
        update.run(
            stack_, "up", header=header, options=update.Options(), log=UpdateLog(dry_run=False)
        )
    message = str(refused.value)
    assert f"`{command}`" in message
    assert ("pulumi cancel" in message) is (kind == "environment"), "bare, it means that one's"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running cloud's home, with no bootstrap in it."""
    folder = tmp_path / "home"
    servers.ensure_running(folder, port=0)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(folder))
    yield folder
    servers.stop(folder)


@pytest.mark.sandbox
def test_a_lock_is_released_by_somebody_who_has_seen_who_holds_it(ops: Ops, home: Path) -> None:
    free = ops("--sandbox", "lock", "release", "dev", "--pulumi")
    assert free.code == ExitCode.USAGE
    assert "No Pulumi update holds the lock of mono-repo/dev" in free.err
    with Backend(home, version="").lock(StackReference("mono-repo", "dev"), "up"):
        unasked = ops("--sandbox", "lock", "release", "dev", "--pulumi", "--yes")
        assert unasked.code == ExitCode.REFUSED
        assert f"process {os.getpid()}" in unasked.out
        assert "not released unasked" in unasked.err
        nobody = ops("--sandbox", "lock", "release", "dev", "--pulumi")
        assert nobody.code == ExitCode.REFUSED, "there is no terminal to ask at"


@pytest.mark.parametrize(
    "arguments", [("--pulumi", "--run", "x"), ("--stack", "bootstrap")], ids=["run", "stack"]
)
def test_what_does_not_go_together_is_a_usage_error(ops: Ops, arguments: tuple[str, ...]) -> None:
    assert ops("--sandbox", "lock", "release", "dev", *arguments).code == ExitCode.USAGE

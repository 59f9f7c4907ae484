"""Backup and restore killed before and after every step: the run that is resumed finishes them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.sandbox import servers
from ops.errors import ExitCode
from ops.journal import read
from tests.ops.restore import world as worlds
from tests.ops.restore.world import FLAG, SECRET, World

pytestmark = pytest.mark.faults

RESTORED = "mono-repo-dev-restored"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small environment that stands, with what its operators own."""
    made = worlds.make(tmp_path_factory.mktemp("kills"))
    made.run("up", "dev", "--yes", "--no-verify")
    worlds.put_parameters(made)
    yield made
    servers.stop(made.home)


def killed_at_every_step(world: World, *arguments: str) -> dict[str, Any]:
    """Run a command that is killed at each of its steps in turn; give the report of its end."""
    planned = world.report(*arguments, "--dry-run")
    points = [
        f"{moment} {step['id']}"
        for step in planned["plan"]["steps"]
        for moment in ("before", "after")
    ]
    run = ""
    for point in points:
        if run:
            world.kill_at(point, "resume", run, "--yes")
        else:
            world.kill_at(point, *arguments, "--yes")
            run = world.last_run()
            _assert_not_begun_twice(world, run, *arguments)
    assert run
    return world.report("resume", run, "--yes")


def _assert_not_begun_twice(world: World, run: str, *arguments: str) -> None:
    if arguments[0] == "restore":
        said = world.run(*arguments, "--yes", code=ExitCode.REFUSED)
        assert f"ops resume {run}" in said


@pytest.mark.usefixtures("world")
class TestInTheirOrder:
    """Each goes on with what the one before has left: one environment for all."""

    backup = ""

    def test_a_backup_is_whole(self, world: World) -> None:
        ended = killed_at_every_step(world, "backup", "dev")
        TestInTheirOrder.backup = ended["facts"]["backup-manifest"]["backup"]
        assert "0 fail" not in world.run("backups", "verify", "dev", self.backup)
        snapshots = world.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        assert len(snapshots) == 1, "however often it was tried"

    def test_a_database_is_taken_over_once_and_the_old_one_stays(self, world: World) -> None:
        world.client("ssm").delete_parameter(Name=SECRET)
        ended = killed_at_every_step(world, "restore", "dev", "--from", self.backup, "--take-over")
        assert world.databases() == ["mono-repo-dev", RESTORED]
        assert world.parameters()[SECRET] == "v3ry-s3cret-value"
        assert {check["status"] for check in _checks(ended)} == {"ok", "warn"}
        world.say("identifier: mono-repo-dev", f"identifier: {RESTORED}")
        unchanged = world.report("preview", "dev", "--refresh", "--detailed-exitcode")
        assert {item["op"] for item in unchanged["resources"]} == {"same"}

    def test_an_environment_that_is_gone_comes_back_from_its_snapshot(self, world: World) -> None:
        world.remove_database("mono-repo-dev")
        world.run("destroy", "dev", "--unprotect", "--yes")
        world.client("ssm").delete_parameters(Names=[SECRET, FLAG])
        assert world.databases() == []
        said = world.run("backup", "dev", "--yes", code=ExitCode.REFUSED)
        assert "--without database:main" in said
        later = world.report("backup", "dev", "--without", "database:main", "--yes")
        assert later["facts"]["backup-manifest"]["backup"] > self.backup
        latest = ("restore", "dev", "--from", "latest")
        assert self.backup in world.run(*latest, "--dry-run"), "it has the database"
        alone = (*latest, "--only", "parameters", "--yes")
        assert "empty database" in world.run(*alone, code=ExitCode.REFUSED)
        assert world.databases() == [], "and no empty one was made"
        ended = killed_at_every_step(world, "restore", "dev", "--from", self.backup)
        assert world.databases() == [RESTORED]
        assert {check["status"] for check in _checks(ended)} == {"ok"}
        assert world.parameters()[SECRET] == "v3ry-s3cret-value"
        unchanged = world.report("preview", "dev", "--refresh", "--detailed-exitcode")
        assert {item["op"] for item in unchanged["resources"]} == {"same"}

    def test_a_rehearsal_leaves_no_copy(self, world: World) -> None:
        arguments = ("restore", "dev", "--from", self.backup, "--rehearse")
        world.kill_at("after rehearse-database:main", *arguments, "--yes")
        assert len(world.databases()) == 2, "the copy is there"
        run = world.last_run()
        world.kill_at("before clean-up", "resume", run, "--yes")
        world.kill_at("after clean-up", "resume", run, "--yes")
        ended = world.report("resume", run, "--yes", code=4)
        assert world.databases() == [RESTORED]
        # What was waited for before the kill counts, and so does the pause, which is told.
        records = read(run, world.home / ".ops" / "runs", None).records
        begun, resumed = (
            next(item["at"] for item in records if (item["kind"], item.get("step")) == wanted)
            for wanted in (("intent", "rehearse-database:main"), ("resumed", None))
        )
        passed = dt.datetime.fromisoformat(resumed) - dt.datetime.fromisoformat(begun)
        proof = ended["facts"]["write-proof"]
        assert proof["recovery_seconds"] >= passed.total_seconds()
        assert proof["paused"]

    def test_a_copy_that_nobody_resumed_goes_with_the_next_rehearsal(self, world: World) -> None:
        arguments = ("restore", "dev", "--from", self.backup, "--rehearse")
        world.kill_at("before clean-up", *arguments, "--yes")
        ended = world.report(*arguments, "--yes", code=4)
        assert [step["kind"] for step in ended["steps"]].count("copy") == 2
        assert world.databases() == [RESTORED]

    def test_a_teardown_goes_on_without_a_database_that_is_gone(self, world: World) -> None:
        world.remove_database(RESTORED)
        planned = world.report("teardown", "dev", "--dry-run")
        assert "database main is gone already: none of it is backed up" in planned["plan"]["notes"]
        world.kill_at(
            "after destroy-prepare", "teardown", "dev", "--yes", "--plan-hash", planned["plan_hash"]
        )
        ended = world.report("resume", world.last_run(), "--yes")
        assert "fail" not in {check["status"] for check in _checks(ended)}
        assert not json.loads(world.engine("stack", "export"))["deployment"].get("resources")

    def test_no_journal_holds_a_secret(self, world: World) -> None:
        for path in (world.home / ".ops" / "runs").iterdir():
            assert read(path.stem, path.parent, None).records
        for path in [*world.home.rglob("*.jsonl"), *(world.home / "backups").rglob("*")]:
            if path.is_file():
                assert b"v3ry-s3cret-value" not in path.read_bytes(), path


def _checks(report: dict[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = report["checks"]
    assert found, json.dumps(report)[:2000]
    return found

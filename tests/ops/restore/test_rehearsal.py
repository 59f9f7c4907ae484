"""A rehearsal that looks into real databases: what was backed up of them, against their copies.

The sandbox is the cloud, and real PostgreSQL servers are behind its instances: see `behind`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from infra.sandbox import servers
from ops import sandbox
from ops.__main__ import run
from ops.access import Access, load_settings
from ops.backup import audit, contents, databases, proof
from ops.backup.manifest import PROVEN, Manifest, Omission, Snapshot, Table
from ops.backup.proof import Proof
from ops.backup.store import open_store
from ops.errors import ExitCode
from ops.restore import rehearsal
from ops.teardown.report import last_backups
from tests.faults import aws_faults
from tests.ops.backup import postgres
from tests.ops.restore import world as worlds
from tests.ops.restore.behind import Behind
from tests.ops.restore.world import World

pytestmark = pytest.mark.sandbox

MAIN, REPORTS = "mono-repo-dev", "mono-repo-dev-reports"
DATABASES = {MAIN: "mono_repo", REPORTS: "reports"}
PEOPLE = (
    "CREATE TABLE people (name text PRIMARY KEY, age int)",
    "INSERT INTO people SELECT 'p' || i, i FROM generate_series(1, 500) AS i",
    "CREATE TABLE visits (at timestamptz DEFAULT now())",
    "INSERT INTO visits DEFAULT VALUES",
)
SALES = (
    "CREATE TABLE sales (day date, sum numeric)",
    "INSERT INTO sales SELECT date '2026-01-01' + i, i * 1.5 FROM generate_series(1, 300) AS i",
    "CREATE TABLE days (day date)",
    "INSERT INTO days VALUES ('2026-01-01')",
)


def made(*names: str, **changes: Any) -> Proof:
    """A proof of databases of `main` and `reports`."""
    given: dict[str, Any] = {
        "at": "2026-12-01T12:00:00+00:00",
        "run": "r",
        "result": "proven",
        "databases": names,
        "left_out": tuple({"main", "reports"} - set(names)),
        "contents": "equal",
        "uncompared": {},
        "recovery_point": "2026-12-01T11:00:00+00:00",
        "recovery_seconds": 60.0,
        "paused": False,
        "checks": {},
    }
    return Proof(**{**given, **changes})


WHOLE = made("main", "reports")
UNSEEN = replace(WHOLE, contents="unknown")
BAD = replace(WHOLE, result="failed", contents="different", failed=("rehearse-contents main",))
PART = made("main")


class Rehearsals:
    """The world, with what stands behind its databases, and a backup of it all."""

    def __init__(self, world: World, behind: Behind) -> None:
        self.world = world
        self.behind = behind
        self.backup = str(
            self.report("backup", "dev", "--yes")["facts"]["backup-manifest"]["backup"]
        )

    @property
    def access(self) -> Access:
        """What commands reach it by."""
        return sandbox.access(self.world.project, load_settings(self.world.project, "dev"))

    def said(self, *arguments: str, code: int = ExitCode.OK) -> str:
        """Run a command line in this process, where endpoints lead to the servers."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            ended = run(["--root", str(self.world.project), "--sandbox", *arguments])
        assert ended == code, f"{arguments}: {ended}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue() if "--json" in arguments else out.getvalue() + err.getvalue()

    def report(self, *arguments: str, code: int = ExitCode.OK) -> dict[str, Any]:
        """Run a command line; give its report."""
        found: dict[str, Any] = json.loads(self.said(*arguments, "--json", code=code))
        return found

    def rehearse(self, *arguments: str, code: int = ExitCode.OK) -> dict[str, dict[str, str]]:
        """Rehearse the restore, and see that no copy is left of it; give the checks by name."""
        line = ("restore", "dev", "--from", self.backup, "--rehearse", *arguments)
        done = self.report(*line, "--yes", code=code)
        assert self.world.databases() == sorted(DATABASES)
        assert self.behind.copies == {}, "servers of copies still run"
        assert {step["outcome"] for step in done["steps"]} == {"done"}
        return {check["name"]: check for check in done["checks"]}

    def know(self, proof_: Proof) -> None:
        """Let it be what a former rehearsal has shown."""
        open_store(self.access).put(self.backup, PROVEN, proof_.to_bytes())

    def proof(self) -> Proof | None:
        """Give what lies beside the backup."""
        return audit.kept_proof(open_store(self.access), self.backup)

    def entry(self) -> tuple[dict[str, Any], str]:
        """Give the backup in the list, for scripts and for people."""
        (found,) = self.report("backups", "list", "dev")["backups"]
        return found, self.said("backups", "list", "dev")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsals]:
    """An environment with two databases, backed up while one of their tables is written to."""
    with postgres.machine() as machine, pytest.MonkeyPatch.context() as patch:
        world = worlds.make(tmp_path_factory.mktemp("rehearsal"))
        worlds.add_database(world, "reports")
        world.run("up", "dev", "--yes", "--no-verify")
        worlds.put_parameters(world)
        behind = Behind(machine, world.client("secretsmanager"), DATABASES)
        described = world.client("rds").describe_db_instances()["DBInstances"]
        by_name = {item["DBInstanceIdentifier"]: item for item in described}
        behind.serve(MAIN, by_name[MAIN], *PEOPLE)
        behind.serve(REPORTS, by_name[REPORTS], *SALES)
        behind.meanwhile = {MAIN: ["INSERT INTO visits DEFAULT VALUES"]}
        behind.install(patch.setattr)
        patch.setattr(databases, "INTERVAL_SECONDS", 0.02)
        patch.setenv(servers.HOME_VARIABLE, str(world.home))
        patch.setenv(contents.CA_VARIABLE, str(machine.certificate))
        yield Rehearsals(world, behind)
        servers.stop(world.home)


@pytest.fixture
def rehearsals(module: Rehearsals) -> Rehearsals:
    """The same, with nothing damaged and nothing known of the backup."""
    module.behind.damage, module.behind.unreachable = {}, frozenset()
    module.behind.described.clear()
    store = open_store(module.access)
    store.client.delete_object(Bucket=store.bucket, Key=store.key(module.backup, PROVEN))
    return module


def failed(checks: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, check in checks.items() if check["status"] == "fail"]


def test_a_backup_records_what_the_tables_of_each_live_database_hold(
    rehearsals: Rehearsals,
) -> None:
    manifest = open_store(rehearsals.access).manifest(rehearsals.backup)
    kept = {item.name: item.tables for item in manifest.databases}
    assert {name: table.rows for name, table in kept["main"].items()} == {
        "public.people": 500,
        "public.visits": 2,
    }
    assert kept["main"]["public.people"].checksum
    assert not kept["main"]["public.visits"].checksum, "it was written to meanwhile"
    assert {name: table.rows for name, table in kept["reports"].items()} == {
        "public.days": 1,
        "public.sales": 300,
    }


def test_copies_that_hold_the_same_prove_the_backup(rehearsals: Rehearsals) -> None:
    checks = rehearsals.rehearse()
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert checks["rehearse-contents main"]["found"] == (
        "1 of 2 tables as when the snapshot was taken; not compared: public.visits: it was written "
        "to while the backup was made"
    )
    assert checks["rehearse-contents reports"]["found"].startswith("2 of 2 tables")
    assert "equal to what was backed up" in checks["rehearse-parameters"]["found"]

    manifest = open_store(rehearsals.access).manifest(rehearsals.backup)
    proof_ = rehearsals.proof()
    assert proof_
    assert proof_.whole
    assert (proof_.contents, proof_.databases) == ("equal", ("main", "reports"))
    assert list(proof_.uncompared) == ["main public.visits"]
    assert proof_.recovery_seconds
    assert proof_.recovery_seconds > 0
    oldest = min(item.created for item in manifest.databases)
    assert proof_.recovery_point == oldest.isoformat(timespec="seconds")

    entry, said = rehearsals.entry()
    assert (entry["proven"], entry["proof"]["contents"]) == (proof_.at, "equal")
    assert f"restore proven {proof_.at}, contents equal but for 1 table" in said

    # They are closed, can be deleted, and say whose they are and until when.
    assert len(rehearsals.behind.described) == 2
    for copy in rehearsals.behind.described.values():
        assert copy["PubliclyAccessible"] is False
        assert copy["DeletionProtection"] is False
        assert copy["MultiAZ"] is False
        tags = databases.tags(copy)
        assert tags[databases.RUN_TAG].endswith(rehearsals.world.last_run()[-4:])
        assert tags[databases.REHEARSAL_TAG]
        assert tags["environment"] == "dev"


def test_a_changed_row_in_a_copy_is_found_and_takes_the_place_of_an_older_proof(
    rehearsals: Rehearsals,
) -> None:
    rehearsals.know(WHOLE)
    assert rehearsals.entry()[0]["proven"] == WHOLE.at
    rehearsals.behind.damage = {MAIN: ["UPDATE people SET age = 0 WHERE name = 'p7'"]}
    checks = rehearsals.rehearse(code=ExitCode.FINDINGS)
    assert failed(checks) == ["rehearse-contents main"]
    found = checks["rehearse-contents main"]["found"]
    assert found == "public.people has other content in its 500 rows"

    entry, said = rehearsals.entry()
    assert (entry["proven"], entry["proof"]["result"]) == ("", "failed")
    assert "restore FAILED" in said
    assert "rehearse-contents main" in said
    losses = last_backups(rehearsals.access)
    assert losses.proven == ""
    assert "restore FAILED" in losses.rehearsed


def test_a_table_that_is_not_in_a_copy_is_found(rehearsals: Rehearsals) -> None:
    rehearsals.behind.damage = {REPORTS: ["DROP TABLE sales"]}
    checks = rehearsals.rehearse(code=ExitCode.FINDINGS)
    assert failed(checks) == ["rehearse-contents reports"]
    assert checks["rehearse-contents reports"]["found"] == "public.sales is missing"
    assert checks["rehearse-contents main"]["status"] == "ok"


def test_a_copy_that_cannot_be_reached_leaves_the_contents_unknown(
    rehearsals: Rehearsals,
) -> None:
    rehearsals.behind.unreachable = frozenset({REPORTS})
    checks = rehearsals.rehearse(code=ExitCode.INCOMPLETE)
    assert checks["rehearse-contents main"]["status"] == "ok"
    assert checks["rehearse-contents reports"]["status"] == "unknown"
    assert "not reachable from this machine" in checks["rehearse-contents reports"]["found"]
    entry, said = rehearsals.entry()
    assert entry["proven"]
    assert f"restore proven {entry['proven']}, contents unknown (rehearse-contents reports)" in said
    assert "contents unknown" in last_backups(rehearsals.access).proven


def test_one_database_of_two_does_not_prove_the_backup(rehearsals: Rehearsals) -> None:
    checks = rehearsals.rehearse("--database", "reports")
    assert "rehearse-contents main" not in checks
    entry, said = rehearsals.entry()
    assert entry["proven"] == ""
    assert (entry["proof"]["databases"], entry["proof"]["left_out"]) == (["reports"], ["main"])
    assert "restore of reports alone proven" in said
    losses = last_backups(rehearsals.access)
    assert losses.proven == ""
    assert "restore of reports alone proven" in losses.rehearsed


def test_a_database_that_is_not_in_the_backup_is_a_mistake(rehearsals: Rehearsals) -> None:
    line = ("restore", "dev", "--from", rehearsals.backup, "--rehearse", "--database", "mian")
    said = rehearsals.said(*line, "--yes", code=ExitCode.USAGE)
    assert "has no database mian; it has main, reports" in said
    assert rehearsals.proof() is None


def test_what_is_denied_says_nothing_of_the_backup(
    rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = "rds:RestoreDBInstanceFromDBSnapshot"
    aws_faults.install([aws_faults.always(aws_faults.DENIED, api)], monkeypatch.setattr)
    checks = rehearsals.rehearse(code=ExitCode.INCOMPLETE)
    assert checks["rehearse-database main"]["status"] == "unknown"
    assert checks["rehearse-contents main"]["status"] == "skipped"
    assert checks["recovery time"]["status"] == "skipped"
    assert rehearsals.proof() is None


def test_a_copy_that_cannot_be_removed_keeps_no_other_and_goes_when_the_run_is_resumed(
    rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([aws_faults.DENIED])

    def decide(service: str, action: str) -> aws_faults.Fault | None:
        return next(refusals, None) if (service, action) == ("rds", "DeleteDBInstance") else None

    aws_faults.install([decide], monkeypatch.setattr)
    line = ("restore", "dev", "--from", rehearsals.backup, "--rehearse", "--yes")
    done = rehearsals.report(*line, code=ExitCode.PARTIAL)
    assert len(rehearsals.world.databases()) == len(DATABASES) + 1
    ended = rehearsals.report("resume", done["run"], "--yes")
    assert rehearsals.world.databases() == sorted(DATABASES)
    assert rehearsals.behind.copies == {}
    assert {check["status"] for check in ended["checks"]} == {"ok"}


def test_the_secrets_of_the_databases_are_in_no_journal(rehearsals: Rehearsals) -> None:
    secrets = [server.password for server in rehearsals.behind.live.values()]
    for path in (rehearsals.world.home / ".ops").rglob("*.jsonl"):
        assert not [secret for secret in secrets if secret in path.read_text()], path


# What is kept of two rehearsals --------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "former", "kept"),
    [
        (PART, None, True),
        (WHOLE, PART, True),
        (PART, WHOLE, False),
        (PART, BAD, False),
        (UNSEEN, WHOLE, False),
        (UNSEEN, BAD, False),
        (WHOLE, BAD, True),
        (BAD, WHOLE, True),
        (replace(BAD, databases=("main",)), WHOLE, True),
    ],
)
def test_what_proves_less_takes_the_place_of_nothing_that_proves_more(
    new: Proof, former: Proof | None, kept: bool
) -> None:
    assert new.supersedes(former) is kept


def snapshot(**tables: Table) -> Snapshot:
    return Snapshot(
        name="main",
        identifier=MAIN,
        snapshot="s",
        arn="a",
        created=dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
        engine_version="17.7",
        allocated_gb=20,
        instance_class="db.t4g.medium",
        kms_key_id="k",
        tables=tables,
    )


def manifest(*omitted: Omission) -> Manifest:
    return Manifest(
        id="20261201-120000_dev",
        environment="dev",
        account_id="111122223333",
        region="us-east-1",
        created=dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
        run="r",
        why="",
        backups_key="k",
        databases_key="k",
        kubernetes="absent",
        files=(),
        databases=(),
        parameters=(),
        not_backed_up=omitted,
    )


SAME = Table(rows=1, checksum="1")
BUSY = Table(rows=2, checksum="")
UNREAD = Table(rows=0, checksum="", unread="permission denied")


@pytest.mark.parametrize(
    ("kept", "found", "status"),
    [
        ({"a": SAME}, {"a": SAME}, "ok"),
        ({"a": SAME, "b": BUSY}, {"a": SAME, "b": SAME}, "ok"),
        ({"a": SAME, "b": UNREAD}, {"a": SAME, "b": UNREAD}, "ok"),
        ({"a": BUSY}, {"a": SAME}, "unknown"),
        ({"a": SAME, "b": SAME}, {"a": SAME, "b": UNREAD}, "unknown"),
        ({}, {}, "ok"),
    ],
)
def test_equal_is_said_only_where_something_was_compared_and_nothing_was_missed(
    kept: dict[str, Table], found: dict[str, Table], status: str
) -> None:
    seen = rehearsal.compared(manifest(), snapshot(**kept), found)
    assert seen.get("status", "ok") == status


def test_why_there_is_nothing_to_compare_is_taken_from_the_backup() -> None:
    omitted = Omission(what=contents.checksums_of("main"), why="not reachable from this machine")
    seen = rehearsal.compared(manifest(omitted), snapshot(), {"a": SAME})
    assert seen["status"] == "unknown"
    assert "1 tables read, and nothing to compare them with: not reachable" in seen["found"]


def test_a_proof_is_read_as_it_was_written_and_anything_else_proves_nothing() -> None:
    assert proof.parse(BAD.to_bytes()) == BAD
    for content in (b"", b"{}", b'{"at": "2026-12-01T12:00:00+00:00"}'):
        assert proof.parse(content) is None

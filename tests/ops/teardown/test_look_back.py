"""The look back: orphans with their cost, what stays with its reason, and nothing assumed."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.settings import Settings
from ops import checks
from ops.commands import Setting
from ops.errors import ExitCode
from ops.execution import Context
from ops.journal import Journal
from ops.plan import Plan
from ops.teardown import look_back
from ops.teardown.listing import Inventory, Item
from ops.terminal import Terminal
from tests.ops.teardown.samples import NOON, inventory, item

BUCKET = item("bucket", "mono-repo-dev-backups-1")
SNAPSHOT = item("database snapshot", "mono-repo-dev-snapshot-1", AllocatedStorage=20)
AUTOMATED = item("database snapshot", "rds:mono-repo-dev-1", SnapshotType="automated")
DYING = item(
    "key", "k", KeyState="PendingDeletion", DeletionDate=dt.datetime(2026, 12, 31, tzinfo=dt.UTC)
)
VOLUME = item("volume", "vol-1", VolumeType="gp3", Size=10)


def _look(*items: Item, **options: object) -> tuple[checks.Check, ...]:
    return look_back.checks(inventory(*items), [BUCKET], environment="dev", **options)  # type: ignore[arg-type]


def test_what_outlives_an_environment_is_told_with_its_reason_and_no_finding() -> None:
    seen = _look(BUCKET, SNAPSHOT, DYING, item("parameter", "/dev/mono-repo-ops/approvals/x"))
    assert checks.exit_code(seen) == ExitCode.OK
    told = {check.name: check.found for check in seen}
    assert "$1.90 a month" in told["database snapshot mono-repo-dev-snapshot-1"]
    assert "AWS deletes it on 2026-12-31" in told["key k"]
    assert "1 things of it stay" in told["bootstrap"]
    assert (
        "75 listings in both regions, 100 things looked at, 0 left behind" in told["listed again"]
    )


def test_backups_that_somebody_kept_are_told_with_who_ends_them() -> None:
    retained = item("retained backup", "db-OLD", DbiResourceId="db-OLD")
    of_it = item("database snapshot", "rds:x", SnapshotType="automated", DbiResourceId="db-OLD")
    of_plan = item("database snapshot", "awsbackup:job-1", SnapshotType="awsbackup")
    seen = _look(retained, of_it, of_plan)
    assert checks.exit_code(seen) == ExitCode.OK
    told = {check.name: check.found for check in seen}
    assert "somebody kept these backups" in told["retained backup db-OLD"]
    assert "somebody kept these backups" in told["database snapshot rds:x"]
    assert "AWS Backup keeps it" in told["database snapshot awsbackup:job-1"]


def test_an_orphan_is_a_finding_with_its_monthly_cost() -> None:
    seen = _look(VOLUME, item("thing", "x"), AUTOMATED)
    assert checks.exit_code(seen) == ExitCode.FINDINGS
    failed = {check.name: check for check in seen if check.status == "fail"}
    assert "$0.80 a month" in failed["volume vol-1"].found
    assert "unpriced" in failed["thing x"].found
    assert "database snapshot rds:mono-repo-dev-1" in failed
    assert "and 1 unpriced" in failed["cost of what is left behind"].found


def test_a_volume_stays_where_its_claim_said_so_and_only_there() -> None:
    assert checks.exit_code(_look(VOLUME, kept_volumes=["vol-1"])) == ExitCode.OK
    assert checks.exit_code(_look(VOLUME, kept_volumes=["vol-2"])) == ExitCode.FINDINGS


def test_what_the_plan_said_it_would_leave_alone_is_told_as_such() -> None:
    (orphan, *_) = _look(VOLUME, expected=["volume vol-1"])
    assert "The plan said that it would be left alone" in orphan.remedy


# Looking again -------------------------------------------------------------------------------


@pytest.fixture
def context(dev: Settings, tmp_path: Path) -> Iterator[Context]:
    """Surroundings of an action, without a lock."""
    terminal = Terminal(io.StringIO(), io.StringIO(), io.StringIO())
    book = Journal(tmp_path, "20261201-120000-teardown-dev-ab12", now=lambda: NOON)
    yield Context(
        setting=Setting(sandbox=True, root=tmp_path, terminal=terminal),
        access=SimpleNamespace(settings=dev),  # type: ignore[arg-type]
        journal=book,
        plan=Plan(command="teardown", environment="dev", account_id="", region=""),
        lock=None,
        results={},
    )
    book.close()


def _settled(context: Context, *looks: Inventory) -> tuple[Inventory, int]:
    """Look until it settles; give what counts, and how often was looked."""
    coming = iter(looks)
    found = look_back.settled(
        context, lambda: next(coming), lambda found: look_back.orphans(found, [], environment="dev")
    )
    return found, len(looks) - len(list(coming))


def test_what_aws_goes_on_to_list_for_a_while_is_looked_for_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_back, "INTERVAL_SECONDS", 0)
    late, gone = inventory(VOLUME), inventory(SNAPSHOT)
    found, looks = _settled(context, late, late, gone, late)
    assert (found, looks) == (gone, 3)
    assert checks.exit_code(look_back.checks(found, [], environment="dev")) == ExitCode.OK


def test_where_nothing_is_left_it_is_looked_once(context: Context) -> None:
    assert _settled(context, inventory(SNAPSHOT), inventory(VOLUME))[1] == 1


def test_what_stays_listed_to_the_end_is_judged_as_it_was_seen_last(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_back, "SETTLE_SECONDS", 0)
    found, _ = _settled(context, *[inventory(VOLUME)] * 9)
    assert checks.exit_code(look_back.checks(found, [], environment="dev")) == ExitCode.FINDINGS
    assert "still listed: volume vol-1" in str(context.journal.records)


def test_who_presses_ctrl_c_gets_what_was_seen_last(context: Context) -> None:
    context.cancelled.set()
    found, looks = _settled(context, inventory(VOLUME), inventory())
    assert (found, looks) == (inventory(VOLUME), 1)

"""The look back: orphans with their cost, what stays with its reason, and nothing assumed."""

from __future__ import annotations

import datetime as dt

from ops import checks
from ops.errors import ExitCode
from ops.teardown import look_back
from ops.teardown.listing import Item
from tests.ops.teardown.samples import inventory, item

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

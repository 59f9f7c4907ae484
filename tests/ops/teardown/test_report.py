"""What would be lost, what stays and what is left alone: sorted, told, and steady."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from ops.plan import Plan
from ops.teardown import report
from ops.teardown.clean_up import Claim, Contents
from ops.teardown.destroy import State
from ops.teardown.listing import Item
from ops.teardown.report import Backups, Losses
from tests.ops.teardown.samples import (
    ACCOUNT,
    KEY,
    NOON,
    database,
    entry,
    inventory,
    item,
    key,
    state,
)

DATABASE = item(
    "database",
    "mono-repo-dev",
    AllocatedStorage=20,
    Engine="postgres",
    EngineVersion="17.4",
    DBInstanceStatus="available",
    LatestRestorableTime=NOON,
)
AUTOMATED = Item(
    kind="database snapshot",
    id="rds:mono-repo-dev-1",
    region="us-east-1",
    name="mono-repo-dev",
    raw={"SnapshotType": "automated", "SnapshotCreateTime": NOON - dt.timedelta(hours=9)},
)
MANUAL = item(
    "database snapshot", "mono-repo-dev-snapshot-1", SnapshotType="manual", AllocatedStorage=20
)
BUCKET = item("bucket", "mono-repo-dev-backups-1")
CLAIMS = (
    Claim(name="web/data", handle="vol-1", size="20Gi"),
    Claim(name="web/kept", handle="vol-2", size="5Gi", retained=True),
)


def _sorted(held: State, *items: Item) -> Losses:
    return report.sort_out(
        held,
        inventory(*items),
        Contents(claims=CLAIMS),
        environment="dev",
        foundation=[BUCKET],
    )


def test_each_thing_is_lost_stays_or_is_left_alone() -> None:
    stray = item("volume", "vol-9", VolumeType="gp3", Size=10)
    losses = _sorted(
        state(database(), key(deletionWindowInDays=7)),
        DATABASE,
        AUTOMATED,
        MANUAL,
        BUCKET,
        item("key", KEY),
        item("parameter", "/dev/mono-repo/database/password"),
        item("parameter", "/dev/mono-repo-ops/approvals/0123456789abcdef"),
        item("log group", "/aws/eks/mono-repo-dev/cluster"),
        item("instance", "i-1"),
        item("network interface", "eni-1"),
        stray,
    )
    facts = losses.facts()
    assert facts["databases"] == ["mono-repo-dev"]
    assert facts["parameters"] == ["/dev/mono-repo/database/password"]
    assert facts["keys"] == [["cluster-volumes", KEY, 7]]
    assert facts["log_groups"] == ["/aws/eks/mono-repo-dev/cluster"]
    assert facts["left_alone"] == ["volume vol-9"]
    assert facts["kept_volumes"] == ["vol-2"]
    assert set(facts["stays"]) == {
        "bucket mono-repo-dev-backups-1",
        "database snapshot mono-repo-dev-snapshot-1",
        "parameter /dev/mono-repo-ops/approvals/0123456789abcdef",
    }


def test_what_changes_by_itself_is_no_part_of_what_the_plan_rests_on() -> None:
    grown = replace(
        DATABASE, raw={**DATABASE.raw, "AllocatedStorage": 40, "LatestRestorableTime": 0}
    )
    first = _sorted(state(database()), DATABASE, AUTOMATED, item("instance", "i-1"))
    later = _sorted(state(database()), grown, item("instance", "i-2"), item("instance", "i-3"))
    assert first.facts() == later.facts()
    assert first.notes(NOON) != later.notes(NOON)


def test_the_notes_tell_sizes_moments_and_costs() -> None:
    losses = replace(
        _sorted(state(database(), key(deletionWindowInDays=7)), DATABASE, AUTOMATED, BUCKET),
        backups=Backups(last="20261130-120000_dev", verified="2026-11-30", proven=""),
    )
    notes = "\n".join(losses.notes(NOON))
    assert "database mono-repo-dev: 20 GiB postgres 17.4, available; goes with 1 automated" in notes
    assert "the newest of 2026-12-01 03:00 UTC" in notes
    assert "until 2026-12-01 12:00 UTC" in notes
    assert "last backup before this one: 20261130-120000_dev, verified 2026-11-30" in notes
    assert "last proven restore: never" in notes
    assert "volume of web/data: 20Gi, vol-1: is deleted; no backup has its content" in notes
    assert "volume of web/kept: 5Gi, vol-2: stays in AWS, as its reclaim policy says" in notes
    assert "AWS deletes it 7 days after, on 2026-12-08 if that is today" in notes
    assert "stays: 1 bucket; $0 a month" in notes
    assert "1 unpriced" in notes


def test_the_plan_shows_the_losses_before_its_steps() -> None:
    losses = _sorted(state(database(), entry("aws:iam/user:User", "u", "jane")), DATABASE)
    planned = Plan(
        command="teardown",
        environment="dev",
        account_id=ACCOUNT,
        region="us-east-1",
        steps=({},),  # type: ignore[arg-type]
        facts=losses.facts(),
    )
    text = "\n".join(line.text for line in report.shown(planned))
    assert "Teardown of dev: 2 resources in the state. It loses:" in text
    assert "databases (1): mono-repo-dev" in text
    assert "users, with their keys, passwords and devices (1): jane" in text

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
        home="us-east-1",
        log_groups=["/aws/eks/mono-repo-dev/*", "/aws/vpc/mono-repo-dev*"],
    )


def _node(id_: str) -> Item:
    tags = {"aws:autoscaling:groupName": "eks-main-1"}
    return Item(kind="instance", id=id_, region="us-east-1", tags=tags)


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
        _node("i-1"),
        item("network interface", "eni-1", Attachment={"InstanceId": "i-1"}),
        item("volume", "vol-root", Attachments=[{"InstanceId": "i-1"}]),
        item("volume", "vol-1"),
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
    }
    assert "stays: 1 records of the operators" in "\n".join(losses.notes(NOON))


def test_to_approve_a_plan_changes_nothing_that_it_rests_on() -> None:
    held, things = state(database()), (DATABASE, item("parameter", "/dev/mono-repo/password"))
    approval = item("parameter", "/dev/mono-repo-ops/approvals/0123456789abcdef")
    planned = Plan(
        command="teardown",
        environment="dev",
        account_id=ACCOUNT,
        region="us-east-1",
        facts=_sorted(held, *things).facts(),
    )
    approved = replace(planned, facts=_sorted(held, *things, approval).facts())
    assert approved.hash == planned.hash


def test_what_no_state_knows_is_swept_where_the_deploy_role_may_and_the_backup_is_of() -> None:
    stated = entry("aws:cloudwatch/logGroup:LogGroup", "flow", "/aws/vpc/mono-repo-dev/flow")
    losses = _sorted(
        state(stated),
        item("log group", "/aws/vpc/mono-repo-dev/flow"),
        item("log group", "/aws/eks/mono-repo-dev/cluster"),
        item("log group", "/aws/eks/mono-repo-dev/cluster", region="us-west-2"),
        item("log group", "/aws/lambda/mono-repo-dev-of-somebody"),
        item("parameter", "/dev/mono-repo/password"),
        item("parameter", "/dev/mono-repo/password", region="us-west-2"),
        item("parameter", "/dev/other-app/token"),
    )
    assert losses.log_groups == ("/aws/eks/mono-repo-dev/cluster", "/aws/vpc/mono-repo-dev/flow")
    assert [(each.id, each.region) for each in losses.parameters] == [
        ("/dev/mono-repo/password", "us-east-1")
    ]
    assert sorted((each.id, each.region) for each in losses.left_alone) == [
        ("/aws/eks/mono-repo-dev/cluster", "us-west-2"),
        ("/aws/lambda/mono-repo-dev-of-somebody", "us-east-1"),
        ("/dev/mono-repo/password", "us-west-2"),
        ("/dev/other-app/token", "us-east-1"),
    ]


def test_a_state_says_nothing_of_what_has_its_names_in_another_region() -> None:
    stated = entry("aws:cloudwatch/metricAlarm:MetricAlarm", "a", "mono-repo-dev-cpu")
    losses = _sorted(state(stated), item("alarm", "mono-repo-dev-cpu", region="us-west-2"))
    assert [each.region for each in losses.left_alone] == ["us-west-2"]


def test_what_somebody_runs_in_the_network_is_none_of_its_own_though_it_looks_like_it() -> None:
    losses = _sorted(
        state(database()),
        item("instance", "bastion"),
        item("network interface", "eni-1", Attachment={"InstanceId": "bastion"}),
        item("volume", "vol-3", Attachments=[{"InstanceId": "bastion"}]),
        item("database", "mono-repo-dev-of-somebody"),
    )
    assert losses.databases == ()
    assert {each.id for each in losses.left_alone} == {
        "bastion",
        "eni-1",
        "vol-3",
        "mono-repo-dev-of-somebody",
    }


def test_backups_that_somebody_kept_stay_and_do_not_go_with_the_database() -> None:
    retained = item("retained backup", "db-OLD", DbiResourceId="db-OLD")
    of_it = replace(AUTOMATED, id="rds:old-1", raw={**AUTOMATED.raw, "DbiResourceId": "db-OLD"})
    losses = _sorted(state(database()), DATABASE, AUTOMATED, retained, of_it)
    assert losses.automated == (AUTOMATED,)
    assert losses.stays == (retained, of_it)
    assert losses.left_alone == ()


def test_what_changes_by_itself_is_no_part_of_what_the_plan_rests_on() -> None:
    grown = replace(
        DATABASE, raw={**DATABASE.raw, "AllocatedStorage": 40, "LatestRestorableTime": 0}
    )
    first = _sorted(state(database()), DATABASE, AUTOMATED, _node("i-1"))
    later = _sorted(state(database()), grown, _node("i-2"), _node("i-3"))
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

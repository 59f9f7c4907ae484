"""What a stop plans: all that computes, once, with what ran before."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from infra.suspension import Running, Sizes, Suspension
from ops import capacity, stop, suspension
from ops.access import Access
from ops.capacity import Database, Estate, Instance, NodeGroup
from ops.errors import RefusedError, UsageError

NOW = dt.datetime(2026, 12, 1, 2, 30, tzinfo=dt.UTC)
ASKED = {"reason": "", "until": "", "wait_minutes": 60.0}
GROUP = NodeGroup(
    cluster="mono-repo-dev", name="general", sizes=Sizes(min=1, desired=3, max=6), status="ACTIVE"
)
ESTATE = Estate(
    node_groups=(GROUP,),
    instances=(Instance(id="i-1", name="runner", state="running"),),
    databases=(Database(identifier="mono-repo-dev", status="available"),),
    alarms={"mono-repo-dev-cpu": True},
    rule="DISABLED",
)
RECORD = Suspension(
    run="20261201-000000-stop-dev-0000",
    actor="arn:aws:iam::111122223333:user/jane-doe",
    reason="fire drill",
    since=NOW - dt.timedelta(hours=1),
    **dict(stop.observed(ESTATE)),
)
STOPPED = Estate(
    node_groups=(dataclasses.replace(GROUP, sizes=Sizes(min=0, desired=0, max=6)),),
    instances=(Instance(id="i-1", name="runner", state="stopped"),),
    databases=(Database(identifier="mono-repo-dev", status="stopped"),),
    alarms={"mono-repo-dev-cpu": False},
    rule="ENABLED",
)


def _actions(estate: Estate, record: Suspension | None = None, **asked: Any) -> list[str]:
    before = suspension.merged(stop.observed(estate), *([record] if record else []))
    planned = stop.steps(estate, before, record, {**ASKED, **asked}, again=False)
    return [step.action for step in planned]


def test_every_request_is_in_the_first_stage_the_record_among_them() -> None:
    planned = stop.steps(ESTATE, stop.observed(ESTATE), None, ASKED, again=False)
    stages = {stage: {step.action for step in planned if step.stage == stage} for stage in range(3)}
    assert stages == {
        0: {"record", "stop-nodes", "stop-instances", "stop-database", "silence", "restop"},
        1: {"await-nodes", "await-instances", "await-database"},
        2: {"refresh"},
    }
    assert len({step.id for step in planned}) == len(planned)


def test_what_rests_already_is_left_alone() -> None:
    assert _actions(STOPPED, RECORD) == []
    assert _actions(STOPPED) == ["record", "refresh"]


def test_a_second_stop_keeps_the_sizes_from_before_and_adds_what_came_since() -> None:
    new = dataclasses.replace(GROUP, name="new")
    estate = dataclasses.replace(STOPPED, node_groups=(*STOPPED.node_groups, new))
    before = suspension.merged(stop.observed(estate), RECORD)
    assert before.node_groups == {"mono-repo-dev": {"general": GROUP.sizes, "new": GROUP.sizes}}
    assert before.instances == ("i-1",)
    assert before.databases == ("mono-repo-dev",)
    assert _actions(estate, RECORD) == ["record", "stop-nodes", "await-nodes", "refresh"]


def test_the_record_counts_before_a_run_that_did_not_end_and_that_before_what_is_seen() -> None:
    def sizes(desired: int) -> Running:
        return Running(node_groups={"c": {"g": Sizes(min=0, desired=desired, max=9)}})

    assert suspension.merged(sizes(0), sizes(5), sizes(4)) == sizes(5)
    assert suspension.merged(sizes(0), sizes(4)) == sizes(4)


def test_a_new_reason_or_time_is_written_even_where_everything_rests() -> None:
    assert _actions(STOPPED, RECORD, reason="night") == ["record", "refresh"]
    assert _actions(STOPPED, RECORD, reason="fire drill") == []
    assert _actions(STOPPED, RECORD, until=NOW.isoformat()) == ["record", "refresh"]


def test_what_cannot_be_stopped_is_named_and_left() -> None:
    spot = Instance(id="i-2", name="", state="running", kept="a spot instance")
    replica = Database(identifier="copy", status="available", kept="a read replica of main")
    estate = Estate(instances=(spot,), databases=(replica,), rule="ENABLED")
    assert stop.observed(estate) == Running()
    assert _actions(estate) == ["record", "refresh"]
    notes = list(stop._notes("dev", estate, None, NOW))
    assert notes == [
        "not stopped: instance i-2 (a spot instance)",
        "not stopped: database copy (a read replica of main)",
    ]


def test_instances_are_stopped_in_batches() -> None:
    ids = [f"i-{number}" for number in range(250)]
    assert [len(batch) for batch in stop.batches(ids)] == [100, 100, 50]
    assert [id_ for batch in stop.batches(ids) for id_ in batch] == ids


def test_until_is_for_other_environments_than_production_and_for_the_future() -> None:
    def asked(environment: str, until: str) -> str:
        said = stop.arguments(environment, reason="", until=until, wait_minutes=1.0, now=NOW)
        return str(said["until"])

    assert asked("dev", "2026-12-01T08:00") == "2026-12-01T08:00:00+00:00"
    assert asked("uat", "2026-12-01T09:00+01:00") == "2026-12-01T08:00:00+00:00"
    with pytest.raises(RefusedError, match="prod is stopped for an emergency"):
        asked("prod", "2026-12-01T08:00")
    with pytest.raises(UsageError, match="is past already"):
        asked("dev", "2026-12-01T01:00")
    with pytest.raises(UsageError, match="is no time"):
        asked("dev", "tomorrow")


def test_a_reason_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="The reason has 501 characters"):
        stop.arguments("dev", reason="x" * 501, until="", wait_minutes=1.0, now=NOW)


class Ec2:
    """An EC2 that refuses a whole batch because of some of its instances."""

    def __init__(self, refused: Mapping[str, str], *, named: bool) -> None:
        self.refused = refused
        self.named = named
        self.stopped: set[str] = set()

    def stop_instances(self, InstanceIds: list[str]) -> None:  # noqa: N803 - boto3's name
        """Stop all of them or none."""
        wrong = [id_ for id_ in InstanceIds if id_ in self.refused]
        if wrong:
            named = " ".join(wrong) if self.named else "one of them"
            error = {"Code": self.refused[wrong[0]], "Message": f"not {named}"}
            raise ClientError({"Error": error}, "StopInstances")
        self.stopped |= set(InstanceIds)


@pytest.mark.parametrize("named", [True, False])
def test_an_instance_that_is_refused_holds_up_none_of_its_batch(named: bool) -> None:
    ids = [f"i-{number:017x}" for number in range(100)]
    refused = {ids[7]: "InvalidInstanceID.NotFound", ids[50]: "OperationNotPermitted"}
    ec2 = Ec2(refused, named=named)
    access = cast("Access", SimpleNamespace(client=lambda _service: ec2))
    assert set(capacity.switch(access, "stop", ids)) == set(refused)
    assert ec2.stopped == set(ids) - set(refused)


def test_what_is_wrong_with_all_of_a_batch_is_not_tried_again() -> None:
    ec2 = Ec2({"i-0a": "RequestLimitExceeded"}, named=True)
    access = cast("Access", SimpleNamespace(client=lambda _service: ec2))
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        capacity.switch(access, "stop", ["i-0a", "i-0b"])
    assert ec2.stopped == set()

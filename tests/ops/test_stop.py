"""What a stop plans: all that computes, once, with what ran before."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from infra.suspension import Running, Sizes, Suspension
from ops import capacity, stop, suspension
from ops.access import Access
from ops.capacity import Database, Estate, Instance, Machines, NodeGroup, ScalingGroup
from ops.errors import DeadlineError, OpsError, RefusedError, UsageError
from ops.execution import Context
from ops.plan import Step

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


def _client_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "UpdateNodegroupConfig")


class Nodes:
    """A node group at EKS, and the Auto Scaling group that decides."""

    def __init__(
        self, sizes: tuple[int, int, int], scaled: tuple[int, int], eks: list[str | None]
    ) -> None:
        self.sizes = sizes
        self.scaled = scaled
        self.eks = eks
        """How EKS answers one request for sizes after the other, the last for good; None: yes."""
        self.status = "ACTIVE"
        self.nodes = 3
        self.denied = False
        self.asked: list[str] = []

    def client(self, _service: str) -> Nodes:
        return self

    def get_paginator(self, _operation: str) -> Nodes:
        return self

    def paginate(self, AutoScalingGroupNames: list[str]) -> list[Any]:  # noqa: N803 - boto3's
        """Describe the Auto Scaling group."""
        assert AutoScalingGroupNames == ["eks-general"]
        least, wanted = self.scaled
        found = {
            "AutoScalingGroupName": "eks-general",
            "MinSize": least,
            "DesiredCapacity": wanted,
            "Instances": [
                {"InstanceId": f"i-{number}", "LifecycleState": "InService"}
                for number in range(self.nodes)
            ],
        }
        self.nodes = min(self.nodes, wanted)
        return [{"AutoScalingGroups": [found]}]

    def describe_nodegroup(self, **_: str) -> dict[str, Any]:
        least, wanted, most = self.sizes
        return {
            "nodegroup": {
                "scalingConfig": {"minSize": least, "desiredSize": wanted, "maxSize": most},
                "status": self.status,
                "resources": {"autoScalingGroups": [{"name": "eks-general"}]},
                "health": {"issues": []},
            }
        }

    def update_nodegroup_config(self, scalingConfig: Mapping[str, int], **_: str) -> None:  # noqa: N803
        """Take other sizes, and set the Auto Scaling group by them, or refuse."""
        self.asked.append("EKS")
        answer = self.eks.pop(0) if len(self.eks) > 1 else self.eks[0]
        if answer:
            raise _client_error(answer, "the group is unhealthy")
        most = scalingConfig.get("maxSize", self.sizes[2])
        self.sizes = (scalingConfig["minSize"], scalingConfig["desiredSize"], most)
        self.scaled = self.sizes[:2]

    def update_auto_scaling_group(self, **asked: Any) -> None:
        """Set the Auto Scaling group itself."""
        assert asked.pop("AutoScalingGroupName") == "eks-general"
        self.asked.append("Auto Scaling")
        if self.denied:
            raise _client_error("AccessDenied")
        self.scaled = (asked.pop("MinSize"), asked.pop("DesiredCapacity"))
        assert not asked, "the most stays"

    def context(self, looks: int = 9) -> tuple[Context, list[str]]:
        """Give a context that waits for so many looks, and what is told."""
        told: list[str] = []

        def wait(what: str, missing: Callable[[], str], **_: float) -> None:
            for _look in range(looks):
                if not (last := missing()):
                    return
                told.append(last)
            raise DeadlineError(f"{what}: {told[-1]}")

        found = SimpleNamespace(access=self, wait=wait, note=told.append)
        return cast("Context", found), told


def _step(action: str) -> Step:
    group = dataclasses.replace(GROUP, scaling_groups=("eks-general",))
    estate = dataclasses.replace(ESTATE, node_groups=(group,))
    planned = stop.steps(estate, stop.observed(estate), None, ASKED, again=False)
    return next(step for step in planned if step.action == action)


def _do(action: str, nodes: Nodes, looks: int = 9) -> tuple[Any, list[str]]:
    context, told = nodes.context(looks)
    return stop.OPERATION.actions[action](context, _step(action)), told


def test_while_eks_takes_no_change_the_auto_scaling_group_loses_its_nodes_at_once() -> None:
    nodes = Nodes((1, 3, 6), (1, 3), ["ResourceInUseException"])
    detail, _ = _do("stop-nodes", nodes)
    assert (nodes.scaled, detail["answer"]) == ((0, 0), "busy")
    assert detail["set instead"] == ["eks-general"]


def test_what_eks_refuses_for_good_is_taken_from_the_auto_scaling_group_and_told() -> None:
    nodes = Nodes((1, 3, 6), (1, 3), ["InvalidRequestException"])
    _do("stop-nodes", nodes)
    detail, told = _do("await-nodes", nodes)
    assert nodes.scaled == (0, 0)
    assert "the group is unhealthy" in detail["refused"]
    assert "EKS does not take that over" in told[-1]


def test_where_neither_can_be_set_the_request_fails_with_both_reasons() -> None:
    nodes = Nodes((1, 3, 6), (1, 3), ["InvalidRequestException"])
    nodes.denied = True
    with pytest.raises(OpsError, match=r"unhealthy.*eks-general could not be set: .*AccessDenied"):
        _do("stop-nodes", nodes)
    with pytest.raises(DeadlineError, match="could not be set"):
        _do("await-nodes", nodes)


def test_credentials_that_ended_are_no_refusal_of_eks() -> None:
    nodes = Nodes((1, 3, 6), (1, 3), ["ExpiredToken"])
    with pytest.raises(ClientError, match="ExpiredToken"):
        _do("stop-nodes", nodes)
    assert nodes.asked == ["EKS"]


def test_a_group_at_another_update_is_kept_without_nodes_and_asked_until_eks_takes_it() -> None:
    nodes = Nodes((1, 3, 6), (1, 3), [*["ResourceInUseException"] * 4, None])
    _, told = _do("await-nodes", nodes)
    assert (nodes.sizes, nodes.scaled) == ((0, 0, 6), (0, 0))
    assert nodes.asked.count("Auto Scaling") == 1
    assert "asked again, busy" in told[0]


def test_nodes_that_the_autoscaler_has_put_back_behind_eks_are_taken_again() -> None:
    nodes = Nodes((0, 0, 6), (0, 3), [None])
    _, told = _do("await-nodes", nodes)
    assert nodes.scaled == (0, 0)
    assert nodes.asked == ["Auto Scaling"]
    assert "Auto Scaling group eks-general wanted 3" in told[0]


def test_an_update_of_eks_is_left_its_time_before_its_auto_scaling_group_is_set() -> None:
    nodes = Nodes((0, 0, 6), (1, 3), [None])
    nodes.status = "UPDATING"
    with pytest.raises(DeadlineError, match="EKS is at it"):
        _do("await-nodes", nodes, looks=stop.PATIENCE - 1)
    assert nodes.asked == []
    with pytest.raises(DeadlineError, match="EKS is at it"):
        _do("await-nodes", nodes, looks=stop.PATIENCE + 3)
    assert nodes.scaled == (0, 0)


def test_a_group_whose_auto_scaling_group_wants_nodes_is_stopped_whatever_eks_says() -> None:
    scaled = ScalingGroup(name="eks-general", min=0, desired=2)
    group = dataclasses.replace(STOPPED.node_groups[0], scaled=(scaled,))
    assert _actions(dataclasses.replace(STOPPED, node_groups=(group,)), RECORD) == [
        "stop-nodes", "await-nodes", "refresh",
    ]  # fmt: skip


def _seen(groups: tuple[ScalingGroup, ...], machines: Machines) -> Estate:
    group = dataclasses.replace(GROUP, scaling_groups=("eks-general",))
    return capacity.estate("dev", (group,), groups, machines, (), {}, "")


def test_auto_scaling_groups_of_no_node_group_are_named_and_left() -> None:
    groups = (
        ScalingGroup(name="eks-general", min=1, desired=3, environment="dev"),
        ScalingGroup(name="runners", min=1, desired=2, environment="dev"),
        ScalingGroup(name="untagged", min=0, desired=1),
        ScalingGroup(name="resting", min=0, desired=0, environment="dev"),
        ScalingGroup(name="of-uat", min=1, desired=1, environment="uat"),
    )
    estate = _seen(groups, Machines(alone=(), scaled_by=frozenset({"untagged", "eks-general"})))
    notes = [note for note in stop._notes("dev", estate, None, NOW) if "Auto Scaling" in note]
    assert [note.partition(", which")[0] for note in notes] == [
        "not stopped: Auto Scaling group runners",
        "not stopped: Auto Scaling group untagged",
    ]
    assert "--auto-scaling-group-name runners --min-size 0 --desired-capacity 0" in notes[0]
    check = stop._scaling_groups_check(estate)
    assert check.status == "warn"
    assert "runners" in check.found
    assert "of-uat" not in check.found


def test_what_eks_lags_behind_in_is_a_warning_and_nodes_that_are_wanted_a_failure() -> None:
    def check(scaled: tuple[int, int]) -> str:
        least, wanted = scaled
        groups = (ScalingGroup(name="eks-general", min=least, desired=wanted),)
        estate = _seen(groups, Machines(alone=(), scaled_by=frozenset()))
        return stop._node_groups_check("run ops stop dev again", estate).status

    assert check((0, 0)) == "warn", "EKS says that it wants three"
    assert check((0, 2)) == "fail"


class Described:
    """An EC2 that has one instance of the environment."""

    def client(self, _service: str) -> Described:
        return self

    def get_paginator(self, _operation: str) -> Described:
        return self

    def paginate(self, **_: Any) -> list[Any]:
        """Describe it."""
        item = {"InstanceId": "i-0123456789abcdef0", "State": {"Name": "running"}, "Tags": []}
        return [{"Reservations": [{"Instances": [item]}]}]


def test_the_instance_that_the_command_runs_on_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = tmp_path / "board_asset_tag"
    monkeypatch.setattr(capacity, "OWN_ID", asset)
    described = SimpleNamespace(environment="dev", client=Described().client)
    access = cast("Access", described)
    assert capacity.machines(access).alone[0].kept == ""
    asset.write_text("Default string\n")
    assert capacity.machines(access).alone[0].kept == ""
    asset.write_text("i-0123456789abcdef0\n")
    found = capacity.machines(access)
    estate = _seen((), found)
    assert stop.observed(estate).instances == ()
    notes = list(stop._notes("dev", estate, None, NOW))
    assert "not stopped: instance i-0123456789abcdef0 (this command runs on it)" in notes


def test_a_run_that_goes_on_upon_one_of_its_instances_keeps_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = tmp_path / "board_asset_tag"
    asset.write_text("i-0123456789abcdef0\n")
    monkeypatch.setattr(capacity, "OWN_ID", asset)
    ids = ["i-0123456789abcdef0", "i-0123456789abcdef1"]
    machines = tuple(Instance(id=id_, name="", state="running") for id_ in ids)
    estate = dataclasses.replace(ESTATE, instances=machines)
    planned = stop.steps(estate, stop.observed(estate), None, ASKED, again=False)
    step = next(step for step in planned if step.action == "stop-instances")
    ec2, told = Ec2({}, named=True), list[str]()
    access = SimpleNamespace(client=lambda _service: ec2)
    context = cast("Context", SimpleNamespace(access=access, note=told.append))
    stop.OPERATION.actions["stop-instances"](context, step)
    assert ec2.stopped == {"i-0123456789abcdef1"}
    assert told == ["Not stopped: instance i-0123456789abcdef0 (this command runs on it)."]


def test_who_stops_the_node_that_the_command_runs_on_is_told_so() -> None:
    scaled = ScalingGroup(name="eks-general", min=1, desired=3, instances={"i-9": "InService"})
    group = dataclasses.replace(GROUP, scaled=(scaled,))
    elsewhere = Estate(node_groups=(group,), rule="ENABLED")
    assert list(stop._notes("dev", elsewhere, None, NOW)) == []
    (note,) = stop._notes("dev", dataclasses.replace(elsewhere, here="i-9"), None, NOW)
    assert "runs on a node of mono-repo-dev/general" in note

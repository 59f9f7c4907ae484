"""What is destroyed is what the plan names, once its protection is off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops import execution, guard, protection
from ops import stack as stacks
from ops.backup import databases
from ops.errors import ExitCode, OpsError, PartialError, RefusedError
from ops.plan import Step
from ops.report import UpdateReport
from ops.teardown import destroy, left_behind
from ops.tree import UpdateLog
from tests.ops.events import pre, urn
from tests.ops.teardown.runs import notes, under_way
from tests.ops.teardown.samples import database, entry, key, state
from tests.ops.test_render import HEADER

SANDBOX: Any = SimpleNamespace(environment="dev", mode="sandbox")
DATABASE = urn("aws:rds/instance:Instance", "databases-main")
STEP = Step(
    id="destroy",
    action="destroy",
    kind="stack",
    target="dev",
    summary="s",
    data={
        "resources": [list(pair) for pair in state(database(), key()).resources],
        "vpcs": ["vpc-1"],
        "protected": [database()["urn"], key()["urn"]],
    },
)


def test_what_came_into_the_state_since_the_plan_stops_it() -> None:
    agreed = [list(pair) for pair in state(database()).resources]
    destroy.refuse_unplanned([database()], agreed, "dev")
    with pytest.raises(RefusedError, match="The state has what the plan does not: cluster-volumes"):
        destroy.refuse_unplanned([database(), key()], agreed, "dev")


def test_another_thing_under_the_same_name_is_not_what_was_agreed_to() -> None:
    agreed = [list(pair) for pair in state(database()).resources]
    with pytest.raises(RefusedError, match="db-OTHER"):
        destroy.refuse_unplanned([{**database(), "id": "db-OTHER"}], agreed, "dev")


def test_what_a_former_attempt_has_destroyed_is_no_obstacle() -> None:
    agreed = [list(pair) for pair in state(database(), key()).resources]
    destroy.refuse_unplanned([key()], agreed, "dev")


@pytest.mark.parametrize(
    "held",
    [
        database(),
        database(deletionProtection=False),
        entry("aws:eks/cluster:Cluster", "c", "c", inputs={"deletionProtection": True}),
        entry(
            "aws:lb/loadBalancer:LoadBalancer", "b", "b", inputs={"enableDeletionProtection": True}
        ),
        entry("aws:dynamodb/table:Table", "t", "t", inputs={"deletionProtectionEnabled": True}),
        entry("aws:s3/bucket:Bucket", "b", "b"),
        entry("aws:route53/zone:Zone", "z", "z", inputs={"forceDestroy": False}),
        entry("aws:cloudwatch/logGroup:LogGroup", "g", "g", retainOnDelete=True),
    ],
    ids=lambda held: str(held["type"]),
)
def test_what_is_still_protected_is_prepared_first(held: dict[str, Any]) -> None:
    assert not destroy.is_prepared([held])


def test_what_is_prepared_is_not_prepared_again() -> None:
    ready = database(deletionProtection=False, finalSnapshotIdentifier="mono-repo-dev-snapshot-1")
    bucket = entry("aws:s3/bucket:Bucket", "b", "b", inputs={"forceDestroy": True})
    assert destroy.is_prepared([ready, bucket, key()])


def test_interrupted_operations_are_reconciled_before_anything_else() -> None:
    pending = destroy.State(entries=(database(),), pending=("urn:pulumi:dev::mono-repo::x::y",))
    steps = destroy.destroy_steps(pending, SANDBOX, stage=4)
    assert [(step.id, step.stage) for step in steps] == [
        ("destroy-reconcile", 4),
        ("destroy-prepare", 5),
        ("destroy", 6),
    ]
    assert steps[-1].destructive
    assert destroy.destroy_steps(state(), SANDBOX, stage=0) == ()


def test_what_is_protected_now_is_part_of_the_plan() -> None:
    unmarked = entry("aws:sns/topic:Topic", "alarms", "t")
    for step in destroy.destroy_steps(state(database(), unmarked, key()), SANDBOX, stage=0):
        assert step.data["protected"] == sorted([database()["urn"], key()["urn"]])


# Databases that a backup would not have -------------------------------------------------------


def _snapshot(identifier: str) -> Step:
    return Step(
        id="backup-snapshot:main", action="backup-snapshot", kind="snapshot", target=identifier,
        summary="s",
    )  # fmt: skip


def test_a_database_of_the_state_of_which_no_snapshot_is_made_is_not_destroyed() -> None:
    """As after a restore, until the stack file names the instance that it has taken over."""
    held = state(database(identifier="mono-repo-dev-restored"))
    there = {"mono-repo-dev", "mono-repo-dev-restored"}
    with pytest.raises(RefusedError, match=r"mono-repo-dev-restored .*no snapshot of it") as said:
        destroy.refuse_unsaved(held, [_snapshot("mono-repo-dev")], there)
    assert "the settings name mono-repo-dev." in str(said.value)
    destroy.refuse_unsaved(held, [_snapshot("mono-repo-dev-restored")], there)


def test_a_database_that_is_gone_already_needs_no_snapshot() -> None:
    destroy.refuse_unsaved(state(database()), [], {"another"})


def test_what_a_database_is_called_counts_and_not_what_it_shall_be_called() -> None:
    held = {**database(identifier="new"), "outputs": {"identifier": "mono-repo-dev"}}
    with pytest.raises(RefusedError, match="the database mono-repo-dev"):
        destroy.refuse_unsaved(state(held), [_snapshot("new")], {"mono-repo-dev"})


# Taking protection off ------------------------------------------------------------------------


def _planned(op: str, of: str, *changed: str) -> UpdateReport:
    log = UpdateLog(dry_run=True)
    log.take(
        pre(
            op,
            of,
            detailedDiff={name: {"diffKind": "update", "inputDiff": True} for name in changed},
            old=dict.fromkeys(changed, "before"),
            new=dict.fromkeys(changed, "after"),
        )
    )
    return UpdateReport(
        command="up",
        header=HEADER,
        dry_run=True,
        result="succeeded",
        resources=log.resources(),
        counts=log.counts,
        diagnostics=(),
        seconds=0,
    )


@pytest.mark.parametrize(
    ("of", "changed"),
    [
        (DATABASE, ["deletionProtection", "finalSnapshotIdentifier"]),
        (urn("aws:eks/cluster:Cluster", "cluster"), ["deletionProtection"]),
        (urn("aws:lb/loadBalancer:LoadBalancer", "balancer"), ["enableDeletionProtection"]),
        (urn("aws:route53/zone:Zone", "balancer"), ["forceDestroy"]),
        (urn("pulumi:providers:aws", "aws"), ["assumeRoles[0].sessionName"]),
    ],
)
def test_what_takes_protection_off_is_all_that_the_update_may_do(
    of: str, changed: list[str]
) -> None:
    destroy.refuse_more(_planned("update", of, *changed), "dev")


@pytest.mark.parametrize(
    ("op", "changed"),
    [
        ("update", ["deletionProtection", "engineVersion"]),
        ("update", ["tags.owner"]),
        ("update", []),
        ("replace", ["deletionProtection"]),
        ("create", []),
        ("delete", []),
    ],
)
def test_a_change_that_waits_in_the_program_is_not_made_on_the_way(
    op: str, changed: list[str]
) -> None:
    with pytest.raises(RefusedError, match=f"{op} databases-main.*ops up dev") as said:
        destroy.refuse_more(_planned(op, DATABASE, *changed), "dev")
    for name in set(changed) - destroy.SWITCHES:
        assert name.partition(".")[0] in str(said.value)


def test_only_what_protects_itself_is_updated() -> None:
    balancer = entry(
        "aws:lb/loadBalancer:LoadBalancer", "b", "b", inputs={"enableDeletionProtection": True}
    )
    secret = entry("aws:secretsmanager/secret:Secret", "s", "s")
    pod = entry("kubernetes:core/v1:Pod", "p", "p")
    ready = database(deletionProtection=False, finalSnapshotIdentifier="mono-repo-dev-snapshot-1")
    assert destroy.to_prepare([balancer, secret, pod, key()]) == (balancer["urn"],)
    assert destroy.to_prepare([ready]) == (ready["urn"],), "its last snapshot may need another name"


class Updates:
    """The stack's updates, and the state's marks, as they come."""

    def __init__(self) -> None:
        self.held = [database(), key()]
        self.done: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.swept: list[str] = []
        self.planned = _planned("update", DATABASE, "deletionProtection")
        self.instance: dict[str, str] | None = {"DBInstanceStatus": "available"}

    def run(self, _context: Any, _stack: Any, command: str, options: Any, **how: Any) -> Any:
        self.done.append(f"{command}{' (preview)' if how.get('dry_run') else ''}")
        if command == "up" and not how.get("dry_run"):
            self.held = [{**item, "protect": False} for item in self.held]
        if error := self.failing.pop(self.done[-1], None):
            raise error
        if command == "destroy":
            self.held = []
        if command == "refresh":
            self.held = [item for item in self.held if item["urn"] not in options.targets]
        return self.planned

    def mark(self, _stack: Any, verb: str, urns: Sequence[str]) -> None:
        if urns:
            self.done.append(f"{verb} {len(urns)}")
        self.held = [
            {**item, "protect": verb == "protect"} if item["urn"] in urns else item
            for item in self.held
        ]

    @property
    def marked(self) -> list[str]:
        return [item["urn"] for item in self.held if item["protect"]]


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Updates:
    made = Updates()

    @contextmanager
    def settings(*_: Any) -> Iterator[tuple[Any, None]]:
        yield object(), None

    monkeypatch.setattr(destroy, "_run", made.run)
    monkeypatch.setattr(destroy, "read_state", lambda _access: state(*made.held))
    monkeypatch.setattr(destroy, "_unready", lambda *_: "")
    monkeypatch.setattr(databases, "instance_state", lambda *_: made.instance)
    monkeypatch.setattr(destroy, "_spent_snapshots", lambda *_: [])
    monkeypatch.setattr(destroy, "is_prepared", lambda _held: True)
    monkeypatch.setattr(left_behind, "sweep", lambda *_: made.swept)
    monkeypatch.setattr(stacks, "open_stack", lambda *_: object())
    monkeypatch.setattr(protection, "teardown_settings", settings)
    monkeypatch.setattr(protection, "entries", lambda _stack: tuple(made.held))
    monkeypatch.setattr(protection, "_mark", made.mark)
    return made


@pytest.fixture
def context(tmp_path: Path) -> execution.Context:
    access = SimpleNamespace(environment="dev", mode="sandbox", client=lambda *_: None)
    return under_way(tmp_path, access, [STEP], intents=["destroy-prepare", "destroy"])


def test_between_its_preparation_and_its_destroy_the_state_is_protected(
    context: execution.Context, updates: Updates
) -> None:
    destroy.prepare(context, STEP)
    assert updates.done == ["up (preview)", "up", "protect 2"]
    destroy.destroy(context, STEP)
    assert updates.done[3:] == ["unprotect 2", "destroy"]
    assert not updates.held


@pytest.mark.parametrize("failing", ["up (preview)", "up"])
def test_where_it_cannot_be_prepared_what_was_protected_is_so_again(
    context: execution.Context, updates: Updates, failing: str
) -> None:
    updates.failing[failing] = OpsError("no")
    with pytest.raises(OpsError, match="no"):
        destroy.prepare(context, STEP)
    assert updates.marked == [database()["urn"], key()["urn"]]
    assert "ops --sandbox up dev" in notes(context)


def test_what_a_failed_destroy_leaves_is_protected_again_also_where_a_kill_took_the_marks(
    context: execution.Context, updates: Updates
) -> None:
    updates.mark(None, "unprotect", [database()["urn"], key()["urn"]])
    updates.failing["destroy"] = OpsError("no")
    with pytest.raises(OpsError, match="no"):
        destroy.destroy(context, STEP)
    assert updates.marked == [database()["urn"], key()["urn"]]
    assert "Protected again, as they are still there: 2" in notes(context)


def test_a_rename_of_the_database_is_refused_before_anything_is_updated(
    context: execution.Context, updates: Updates, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates.planned = _planned("update", DATABASE, "identifier")
    assert guard.NAMES["aws:rds/instance:Instance"] == "identifier"
    with pytest.raises(RefusedError, match="rename what is live"):
        destroy.prepare(context, STEP)
    assert "up" not in updates.done


def test_a_database_that_somebody_has_deleted_is_forgotten_before_anything_is_updated(
    context: execution.Context, updates: Updates
) -> None:
    updates.instance = None
    destroy.prepare(context, STEP)
    assert updates.done[0] == "refresh"
    assert [item["urn"] for item in updates.held] == [key()["urn"]]


# The destroy ----------------------------------------------------------------------------------


def test_what_the_cluster_left_in_the_networks_way_is_a_reason_to_try_once_more(
    context: execution.Context, updates: Updates
) -> None:
    updates.failing["destroy"] = OpsError("DependencyViolation")
    updates.swept = ["network interface eni-1"]
    destroy.destroy(context, STEP)
    assert updates.done.count("destroy") == 2


def test_ctrl_c_never_begins_a_second_destroy(context: execution.Context, updates: Updates) -> None:
    """The Pulumi CLI says that it was cancelled as it says that anything failed."""
    context.cancelled.set()
    updates.failing["destroy"] = OpsError("destroy cancelled")
    updates.swept = ["network interface eni-1"]
    with pytest.raises(OpsError, match="destroy cancelled"):
        destroy.destroy(context, STEP)
    assert updates.done.count("destroy") == 1


def test_whose_lock_was_taken_away_begins_no_second_destroy(
    context: execution.Context, updates: Updates
) -> None:
    class Lost:
        def require(self) -> None:
            raise PartialError("the lock was lost")

    updates.failing["destroy"] = OpsError("DependencyViolation")
    updates.swept = ["network interface eni-1"]
    with pytest.raises(PartialError, match="the lock was lost"):
        destroy.destroy(replace(context, lock=Lost()), STEP)  # type: ignore[arg-type]
    assert updates.done.count("destroy") == 1


def test_a_database_that_never_gets_ready_meets_its_deadline_and_the_run_goes_on_later(
    tmp_path: Path, updates: Updates, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = {"DBInstanceStatus": "modifying"}
    monkeypatch.undo()
    monkeypatch.setattr(destroy, "READY_SECONDS", -1.0)
    monkeypatch.setattr(destroy, "read_state", lambda _access: state(database(), key()))
    monkeypatch.setattr(destroy, "_prepare", lambda *_: {"stamp": "20261201-120000"})
    monkeypatch.setattr(databases, "instance_state", lambda *_: instance)
    step = replace(STEP, id=destroy.PREPARE, action=destroy.PREPARE)
    access = SimpleNamespace(environment="dev", mode="sandbox", client=lambda *_: None)
    context = under_way(tmp_path, access, [step])
    results = execution.execute(
        context.plan, {destroy.PREPARE: destroy.prepare}, context, carry_on=False
    )
    assert execution.exit_code(results) is ExitCode.DEADLINE
    assert "mono-repo-dev is modifying" in results[0].message
    assert destroy.PREPARE not in context.results

    instance["DBInstanceStatus"] = "available"
    again = execution.execute(
        context.plan, {destroy.PREPARE: destroy.prepare}, context, carry_on=False
    )
    assert execution.exit_code(again) is ExitCode.OK


def test_a_last_snapshots_name_that_is_spent_becomes_another_and_nothing_else_does() -> None:
    spent, kept = "mono-repo-dev-snapshot-1", "mono-repo-dev-snapshot-2"
    main = database(finalSnapshotIdentifier=spent)
    main["outputs"] |= {"finalSnapshotIdentifier": spent}
    other = {**database(finalSnapshotIdentifier=kept), "urn": "urn:pulumi:dev::x::y::other"}
    before = {"version": 3, "deployment": {"resources": [main, other, key()]}}
    after = destroy.renamed(before, [spent], "20261201-120000")
    found, *rest = after["deployment"]["resources"]
    wanted = "mono-repo-dev-snapshot-20261201-120000"
    for said in ("inputs", "outputs"):
        assert found[said]["finalSnapshotIdentifier"] == wanted
    assert rest == [other, key()]
    assert main["inputs"]["finalSnapshotIdentifier"] == spent, "what was read is as it was"

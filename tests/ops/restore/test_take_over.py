"""What becomes of instances and of the state when something goes wrong in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from components import rds as component
from infra import naming
from infra.settings import Settings
from ops import kubernetes
from ops.backup import databases
from ops.backup.manifest import Manifest
from ops.errors import OpsError, RefusedError
from ops.kubernetes import UnreachableClusterError
from ops.plan import Step
from ops.restore import actions, observe, state, updates
from tests.ops.restore.test_decisions import HELD, LIVE, URN, deployed, seen

if TYPE_CHECKING:
    from ops.access import Access
    from ops.backup.store import Store
    from ops.execution import Context

RESTORED = "mono-repo-dev-restored"
RUN = "20261201-120000-restore-dev-abcd"
COMMON = {
    "subnet_group": "group",
    "security_groups": ["sg-1"],
    "parameter_group": "parameters",
    "instance_class": "db.t4g.medium",
    "port": 5432,
    "multi_az": True,
    "certificate_authority": "rds-ca-rsa2048-g1",
    "iam_authentication": True,
}


class Rds:
    """RDS with one instance, which is in one status after another."""

    def __init__(
        self, *statuses: str, tags: Mapping[str, str] | None = None, more: Any = ()
    ) -> None:
        self.statuses = list(statuses)
        self.tags = databases.tag_list(
            {"environment": "dev", databases.RUN_TAG: RUN, **(tags or {})}
        )
        self.more = dict(more)
        self.asked: dict[str, Any] = {}
        self.exceptions = SimpleNamespace(DBInstanceNotFoundFault=KeyError)

    def describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:  # noqa: N803
        if not self.statuses:
            raise KeyError(DBInstanceIdentifier)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        found = {
            "DBInstanceIdentifier": DBInstanceIdentifier,
            "DBInstanceStatus": status,
            "TagList": self.tags,
            **self.more,
        }
        return {"DBInstances": [found]}

    def restore_db_instance_from_db_snapshot(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        self.statuses = ["creating", "available"]
        return {}


def context(rds: Rds, settings: Settings, records: Path = Path("records")) -> Context:
    """What an action has: it waits by looking again at once."""

    def wait(_what: str, missing: Callable[[], str], **_: Any) -> None:
        while missing():
            waited.append(True)

    waited: list[bool] = []
    access = SimpleNamespace(
        settings=settings,
        environment="dev",
        records=records,
        client=lambda _service: rds,
        header=lambda: SimpleNamespace(stack="mono-repo/dev"),
    )
    return cast(
        "Context",
        SimpleNamespace(
            access=access,
            terminal=None,
            journal=SimpleNamespace(run=RUN),
            wait=wait,
            waited=waited,
            note=lambda _line: None,
        ),
    )


@pytest.mark.parametrize("protected", [True, False])
def test_what_is_restored_is_not_enrolled_in_extended_support(
    dev: Settings, protected: bool
) -> None:
    rds = Rds()
    data = {"identifier": RESTORED, "snapshot": "s", "like": COMMON}
    actions.restored(context(rds, dev), data, naming.tags(dev), protected=protected)
    assert rds.asked["EngineLifecycleSupport"] == component.LIFECYCLE_SUPPORT


@pytest.fixture
def updated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What configuration updates run with; they do nothing."""
    ran: list[str] = []

    class File:
        def __init__(self, _access: Any, edits: Mapping[str, Any]) -> None:
            self.edits = edits

        def __enter__(self) -> str:
            return json.dumps(self.edits)

        def __exit__(self, *_: object) -> None:
            pass

    def run(_place: Any, _command: str, file: str, *, dry_run: bool, refresh: bool = False) -> Any:
        ran.append(file)
        return SimpleNamespace(resources=(), counts={})

    monkeypatch.setattr(updates, "configuration", File)
    monkeypatch.setattr(updates, "_run", run)
    return ran


@pytest.mark.parametrize("known", [True, False], ids=["in the state", "not in the state"])
def test_an_instance_that_is_still_being_made_is_waited_for(
    dev: Settings, monkeypatch: pytest.MonkeyPatch, updated: list[str], known: bool
) -> None:
    held = {**HELD, "inputs": {"identifier": RESTORED}}
    there = {"deployment": {"resources": [held] if known else []}}
    monkeypatch.setattr(state, "read", lambda _access: there)
    where = context(Rds("creating", "creating", "available"), dev)
    updates.bring(where, {}, {"main": {"identifier": RESTORED, "index": 0}})
    assert cast("Any", where).waited, "an update of what is being made is refused by RDS"
    assert ("import_identifier" in updated[0]) is not known


@pytest.mark.parametrize(
    "tags", [{"environment": "uat"}, {databases.RUN_TAG: "another"}], ids=["environment", "run"]
)
def test_what_another_has_made_is_not_imported(
    dev: Settings, monkeypatch: pytest.MonkeyPatch, updated: list[str], tags: dict[str, str]
) -> None:
    monkeypatch.setattr(state, "read", lambda _access: {"deployment": {"resources": []}})
    where = context(Rds("available", tags=tags), dev)
    with pytest.raises(RefusedError, match="this run has not made"):
        updates.bring(where, {}, {"main": {"identifier": RESTORED, "index": 0}})
    assert not updated


TAKE_OVER = Step(
    id="take-over",
    action="take-over",
    kind="stack",
    target="dev",
    summary="take over",
    data={
        "backup": "20261201-120000_dev",
        "edits": {},
        "databases": {"main": {"identifier": RESTORED, "index": 0}},
        "former": [
            {"name": "main", "urn": URN, "identifier": "mono-repo-dev", "becomes": RESTORED}
        ],
    },
)


class Stack:
    """A state that is read and written, and an update that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, writes: int = 9) -> None:
        self.former = deployed({"urn": "urn:host", "type": "", "dependencies": [URN]})
        self.now = self.former
        self.writes = writes
        kept = json.dumps(self.former).encode()
        store = SimpleNamespace(fetch=lambda _backup, _name: kept)
        monkeypatch.setattr(state, "read", lambda _access: self.now)
        monkeypatch.setattr(state, "write", self.write)
        monkeypatch.setattr(updates, "refuse_others", lambda *_: None)
        monkeypatch.setattr(updates, "bring", self.bring)
        monkeypatch.setattr(actions, "open_store", lambda _access: store)

    def write(self, _access: Any, deployment: state.Deployment) -> None:
        if not self.writes:
            raise OpsError("the bucket cannot be reached")
        self.writes -= 1
        self.now = deployment

    def bring(self, *_: Any) -> dict[str, int]:
        assert not state.databases(self.now), "the former one is out of the state"
        raise OpsError("the update failed")


def test_a_take_over_that_fails_leaves_the_state_as_it_was(
    dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(monkeypatch)
    with pytest.raises(OpsError, match="the update failed"):
        actions.ACTIONS["take-over"](context(Rds("available"), dev), TAKE_OVER)
    assert stack.now == stack.former


def test_where_the_state_cannot_be_put_back_the_command_that_does_is_named(
    dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stack(monkeypatch, writes=1)
    with pytest.raises(OpsError) as raised:
        actions.ACTIONS["take-over"](context(Rds("available"), dev), TAKE_OVER)
    said = str(raised.value)
    assert "the update failed" in said
    assert f"ops resume {RUN}" in said
    assert f"stack import --stack mono-repo/dev --file records/state-before-{RUN}.json" in said


@pytest.mark.parametrize("field", ["MasterUsername", "DBName"])
def test_the_restored_instance_is_looked_at_before_the_state_is_edited(
    dev: Settings, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    stack = Stack(monkeypatch)
    with pytest.raises(RefusedError, match="somebody, not mono_repo"):
        actions.ACTIONS["take-over"](
            context(Rds("available", more={field: "somebody"}), dev), TAKE_OVER
        )
    assert stack.now is stack.former


def test_another_instance_in_the_state_than_was_planned_with_is_left(
    dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(monkeypatch)
    changed = {**HELD, "inputs": {"identifier": "by-hand"}}
    stack.now = {"deployment": {"resources": [changed]}}
    with pytest.raises(RefusedError, match="Plan the restore again"):
        actions.ACTIONS["take-over"](context(Rds("available"), dev), TAKE_OVER)


def test_a_program_that_would_make_an_instance_again_is_not_run() -> None:
    change = SimpleNamespace(urn=URN, type=state.DATABASE, op="create")
    planned = cast("Any", SimpleNamespace(resources=(change,)))
    updates.refuse_second(planned, {})
    with pytest.raises(RefusedError, match=RESTORED):
        updates.refuse_second(planned, {"main": RESTORED})


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., observe.Seen]:
    """An environment that is there, and whose cluster this machine does not reach."""

    def refuse(_access: Any) -> None:
        raise UnreachableClusterError("It cannot be reached from here.")

    manifest: Manifest = seen().manifest.model_copy(update={"kubernetes": "applied"})
    monkeypatch.setattr(kubernetes, "api_client", refuse)
    monkeypatch.setattr(observe, "wanted_objects", lambda *_: [])
    monkeypatch.setattr(observe, "_refuse_suspended", lambda _access: None)
    monkeypatch.setattr(databases, "instances", lambda _rds: {"mono-repo-dev": LIVE})
    monkeypatch.setattr(state, "read", lambda _access: deployed())
    pages = SimpleNamespace(paginate=lambda **_: [{"logGroups": []}])
    client = SimpleNamespace(get_paginator=lambda _name: pages)
    access = cast("Access", SimpleNamespace(environment="dev", client=lambda _service: client))

    def look(*parts: Any) -> observe.Seen:
        return observe.observe(access, cast("Store", None), manifest, (), {}, parts)

    return look


def test_databases_are_restored_from_where_the_cluster_cannot_be_reached(
    unreachable: Callable[..., observe.Seen],
) -> None:
    assert unreachable("databases").situation == "there"


def test_objects_are_not_and_the_way_without_them_is_named(
    unreachable: Callable[..., observe.Seen],
) -> None:
    with pytest.raises(RefusedError, match="--only databases --only parameters"):
        unreachable("databases", "kubernetes")

"""Nothing is destroyed by a backup that was made long ago: people have worked since."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.errors import RefusedError
from ops.execution import Context
from ops.plan import Step
from ops.teardown import clean_up, destroy, freshness
from tests.ops.teardown.runs import notes, under_way
from tests.ops.teardown.samples import database, key, state

ACCESS: Any = SimpleNamespace(environment="dev", mode="aws")
CLAIMS = Step(
    id=clean_up.CLAIMS,
    action=clean_up.CLAIMS,
    kind="cluster clean-up",
    target="c",
    summary="s",
    data={"services": [], "ingresses": [], "claims": []},
)
DATA = {
    "resources": [list(pair) for pair in state(database(), key()).resources],
    "vpcs": [],
    "protected": [],
}
PREPARE = Step(
    id=destroy.PREPARE, action=destroy.PREPARE, kind="stack", target="dev", summary="s", data=DATA
)
DESTROY = Step(id="destroy", action="destroy", kind="stack", target="dev", summary="s", data=DATA)


class DestroyedError(Exception):
    """It went on to destroy."""


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would be done next says so."""

    def destroyed(*_: Any) -> Any:
        raise DestroyedError

    monkeypatch.setattr(destroy, "_await_databases", destroyed)
    monkeypatch.setattr(destroy, "read_state", lambda _access: state(database(), key()))
    monkeypatch.setattr(clean_up, "_client", lambda _context: object())
    monkeypatch.setattr(clean_up, "look", destroyed)


def _do(action: Any, context: Context, step: Step) -> str:
    with pytest.raises((DestroyedError, RefusedError)) as caught:
        action(context, step)
    return "went on" if caught.type is DestroyedError else str(caught.value)


@pytest.mark.parametrize(
    ("action", "step"),
    [
        (clean_up.delete_balancers, CLAIMS),
        (clean_up.delete_claims, CLAIMS),
        (destroy.prepare, PREPARE),
        (destroy.destroy, DESTROY),
    ],
)
def test_a_run_that_is_resumed_after_a_week_destroys_nothing_by_its_old_backup(
    tmp_path: Path, action: Any, step: Step
) -> None:
    week_old = under_way(tmp_path / "old", ACCESS, [step], verified_hours_ago=168.0)
    said = _do(action, week_old, step)
    assert "verified at 2026-11-24 12:00 UTC, 168 hours ago" in said
    assert "Nothing further was destroyed" in said
    assert "ops teardown dev --dry-run" in said
    fresh = under_way(
        tmp_path / "new", ACCESS, [step], verified_hours_ago=freshness.BACKUP_HOURS - 0.1
    )
    assert _do(action, fresh, step) == "went on"


def test_without_a_verified_backup_nothing_is_destroyed(tmp_path: Path) -> None:
    none = under_way(tmp_path, ACCESS, [DESTROY], verified_hours_ago=None)
    assert "no backup that was read back" in _do(destroy.destroy, none, DESTROY)


def test_a_destroy_that_has_deleted_something_is_finished_however_old_its_backup_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "read_state", lambda _access: state(database()))
    twice = under_way(
        tmp_path, ACCESS, [DESTROY], verified_hours_ago=168.0, intents=["destroy", "destroy"]
    )
    assert _do(destroy.destroy, twice, DESTROY) == "went on"


def test_one_that_was_begun_and_has_deleted_nothing_is_not_finished_by_an_old_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = under_way(
        tmp_path / "a", ACCESS, [DESTROY], verified_hours_ago=168.0, intents=["destroy"] * 2
    )
    assert "168 hours ago" in _do(destroy.destroy, twice, DESTROY)
    # Less in the state than was planned is no sign, as long as the destroy never ran.
    monkeypatch.setattr(destroy, "read_state", lambda _access: state(database()))
    once = under_way(
        tmp_path / "b", ACCESS, [DESTROY], verified_hours_ago=168.0, intents=["destroy"]
    )
    assert "168 hours ago" in _do(destroy.destroy, once, DESTROY)


def test_who_would_rather_keep_the_environment_is_told_how(tmp_path: Path) -> None:
    steps = [CLAIMS, PREPARE]
    context = under_way(tmp_path, ACCESS, steps, verified_hours_ago=168.0)
    _do(destroy.prepare, context, PREPARE)
    told = notes(context)
    assert "ops up dev, which brings its deletion protection back" in told
    assert f"with the teardown: ops resume {context.journal.run}" in told
    assert "kubectl uncordon" in told
    assert "cluster-autoscaler --replicas=2" in told


def test_the_autoscaler_is_given_back_as_the_program_has_it() -> None:
    from components.cluster_autoscaler import REPLICAS

    assert clean_up.AUTOSCALER_REPLICAS == REPLICAS

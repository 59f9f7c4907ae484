"""A deployment's plan: what the doctor has found, and who has to read it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ops import deploy
from ops.checks import Check
from ops.doctor import examination
from ops.errors import IncompleteError, RefusedError

SETTING: Any = SimpleNamespace()
ACCESS: Any = SimpleNamespace(environment="dev")


def found(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    """Let the doctor find this."""
    report = SimpleNamespace(checks=checks)
    monkeypatch.setattr(examination, "examine", lambda _setting, _env: report)


def test_who_agrees_to_a_first_deployment_reads_how_it_can_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    private = Check(name="cluster", status="warn", found="not made yet", remedy="make it so")
    quota = Check(name="quota: VPCs", status="unknown", found="no answer")
    clock = Check(name="clock", status="warn", found="40 s from AWS's")
    found(monkeypatch, private, quota, clock)
    assert deploy._examined(SETTING, ACCESS) == (
        "not known: quota: VPCs: no answer",
        "cluster: not made yet. To do: make it so",
    )


def test_what_fails_refuses_a_deployment_and_what_cannot_be_seen_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found(monkeypatch, Check(name="aws cli", status="fail", found="none", remedy="install it"))
    with pytest.raises(RefusedError, match="to do: install it"):
        deploy._examined(SETTING, ACCESS)
    found(monkeypatch, Check(name="backend", status="unknown", found="no answer"))
    with pytest.raises(IncompleteError, match="could not be seen completely"):
        deploy._examined(SETTING, ACCESS)

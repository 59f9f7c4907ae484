"""A teardown that is under way, as its actions are given it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ops.execution import Context
from ops.journal import Journal
from ops.plan import Plan, Step
from ops.terminal import Terminal
from tests.ops.teardown.samples import ACCOUNT, NOON


def under_way(
    folder: Path,
    access: Any,
    steps: Sequence[Step],
    *,
    verified_hours_ago: float | None = 1.0,
    now: dt.datetime = NOON,
    intents: Sequence[str] = (),
    results: Mapping[str, Mapping[str, Any]] | None = None,
) -> Context:
    """Give what an action of a teardown is given: its backup is done, and `intents` were begun."""
    moments: list[dt.datetime] = [now]
    book = Journal(folder, "20261201-060000-teardown-dev-a1b2", now=lambda: moments[-1])
    plan = Plan(
        command="teardown", environment="dev", account_id=ACCOUNT, region="us-east-1",
        steps=tuple(steps),
    )  # fmt: skip
    if verified_hours_ago is not None:
        moments.append(now - dt.timedelta(hours=verified_hours_ago))
    book.add("begun", plan=plan.to_json())
    if verified_hours_ago is not None:
        book.add("result", step="backup-verify", outcome="done", detail={})
    for step in intents:
        book.add("intent", step=step)
    moments.append(now)
    return Context(
        setting=cast("Any", SimpleNamespace(terminal=Terminal())),
        access=access,
        journal=book,
        plan=plan,
        lock=None,
        results=dict(results or {}),
        now=lambda: now,
    )


def notes(context: Context) -> str:
    """Give what an action has told."""
    told = [item["text"] for item in context.journal.records if item["kind"] == "note"]
    return "\n".join(told)

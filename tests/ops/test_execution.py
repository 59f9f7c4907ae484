"""Carrying out a plan: at once within a stage, in order between them, written down throughout."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ops import execution, journal
from ops.errors import AuthenticationError, DeadlineError, ExitCode, OpsError, PartialError
from ops.execution import Context, StepResult
from ops.journal import Journal
from ops.plan import Data, Plan, Step
from ops.terminal import Terminal

NOW = dt.datetime(2026, 12, 1, 3, 0, tzinfo=dt.UTC)
RUN = "20261201-030000-test-dev-a1b2"


class _Setting:
    terminal = Terminal()


class _LostLock:
    def require(self) -> None:
        raise PartialError("the lock was lost")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path


def _step(name: str, stage: int = 0) -> Step:
    return Step(
        id=name, action=name.rstrip("0123456789"), kind="thing", target=name,
        summary=f"do {name}", stage=stage,
    )  # fmt: skip


def _run(
    folder: Path,
    steps: list[Step],
    actions: Mapping[str, Callable[[Context, Step], Data | None]],
    *,
    carry_on: bool = False,
    done: Mapping[str, Data] | None = None,
    lock: Any = None,
) -> tuple[tuple[StepResult, ...], journal.Run]:
    plan = Plan(command="test", environment="dev", account_id="1", region="r", steps=tuple(steps))
    book = Journal(folder, RUN, now=lambda: NOW)
    book.add("begun", plan=plan.to_json())
    context = Context(
        setting=cast("Any", _Setting()), access=cast("Any", None), journal=book, plan=plan,
        lock=lock, results=dict(done or {}),
    )  # fmt: skip
    results = execution.execute(plan, actions, context, carry_on=carry_on)
    return results, journal.read(RUN, folder, None)


def _fail(_context: Context, _step: Step) -> Data | None:
    raise OpsError("it cannot be done")


def _do(_context: Context, _step: Step) -> Data | None:
    return None


def test_steps_of_a_stage_are_begun_before_any_of_them_ends(folder: Path) -> None:
    together = threading.Barrier(3, timeout=20)

    def act(_context: Context, _step: Step) -> Data:
        return {"number": together.wait()}

    results, _ = _run(folder, [_step(f"act{number}") for number in range(3)], {"act": act})
    assert {result.outcome for result in results} == {"done"}


def test_a_stage_begins_when_the_one_before_it_has_ended(folder: Path) -> None:
    order: list[str] = []

    def act(_context: Context, step: Step) -> None:
        order.append(step.id)

    _run(folder, [_step("act3", 2), _step("act1", 0), _step("act2", 1)], {"act": act})
    assert order == ["act1", "act2", "act3"]


def test_what_an_action_found_out_is_there_for_later_steps_and_in_the_journal(
    folder: Path,
) -> None:
    def see(context: Context, _step: Step) -> Data:
        return {"seen": context.results["find1"]["id"]}

    results, run = _run(
        folder, [_step("find1"), _step("see1", 1)],
        {"find": lambda _context, _step: {"id": "i-1"}, "see": see},
    )  # fmt: skip
    assert results[1].detail == {"seen": "i-1"}
    assert run.done == {"find1": {"id": "i-1"}, "see1": {"seen": "i-1"}}


def test_a_failure_ends_it_after_its_stage_and_what_was_not_begun_is_told(folder: Path) -> None:
    results, run = _run(folder, [_step("fail1"), _step("do1", 1)], {"fail": _fail, "do": _do})
    assert [result.outcome for result in results] == ["failed", "not begun"]
    assert results[0].message == "it cannot be done"
    assert "do1" not in {record.get("step") for record in run.records}
    assert execution.exit_code(results) == ExitCode.PARTIAL


def test_a_failure_does_not_shield_the_rest_where_it_may_not(folder: Path) -> None:
    results, _ = _run(
        folder, [_step("fail1"), _step("do1"), _step("do2", 1)], {"fail": _fail, "do": _do},
        carry_on=True,
    )  # fmt: skip
    assert [result.outcome for result in results] == ["failed", "done", "done"]
    assert execution.exit_code(results) == ExitCode.PARTIAL


def test_an_error_that_nobody_thought_of_does_not_shield_the_rest_and_tells_no_value(
    folder: Path,
) -> None:
    def act(_context: Context, _step: Step) -> None:
        raise ValueError("hunter2 is no number")

    results, run = _run(
        folder, [_step("act1"), _step("do1", 1)], {"act": act, "do": _do}, carry_on=True
    )
    assert [result.outcome for result in results] == ["failed", "done"]
    assert results[0].message.startswith("ValueError in test_execution.py, line ")
    assert "hunter2" not in str(run.records)


def test_what_is_done_already_is_not_done_again(folder: Path) -> None:
    results, run = _run(
        folder, [_step("fail1"), _step("do1", 1)], {"fail": _fail, "do": _do},
        done={"fail1": {"id": "i-1"}},
    )  # fmt: skip
    assert [result.outcome for result in results] == ["done", "done"]
    assert results[0].detail == {"id": "i-1"}
    assert "fail1" not in {record.get("step") for record in run.records}


def test_a_refusal_of_aws_is_kept_with_the_number_of_the_request(folder: Path) -> None:
    def refuse(_context: Context, _step: Step) -> None:
        raise ClientError(
            {
                "Error": {"Code": "AccessDenied", "Message": "no"},
                "ResponseMetadata": cast("Any", {"RequestId": "4711"}),
            },
            "StopInstances",
        )

    results, run = _run(folder, [_step("refuse1")], {"refuse": refuse})
    assert "AccessDenied" in results[0].message
    assert "(request 4711)" in run.results["refuse1"]["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DeadlineError("too long"), ExitCode.DEADLINE),
        (AuthenticationError("expired"), ExitCode.NOT_AUTHENTICATED),
        (OpsError("no"), ExitCode.PARTIAL),
    ],
)
def test_the_exit_code_says_why_something_is_left(
    folder: Path, error: OpsError, code: ExitCode
) -> None:
    def act(_context: Context, _step: Step) -> None:
        raise error

    results, _ = _run(folder, [_step("act1"), _step("do1")], {"act": act, "do": _do})
    assert execution.exit_code(results) == code


def test_nothing_is_begun_without_the_lock(folder: Path) -> None:
    results, run = _run(folder, [_step("do1")], {"do": _do}, lock=_LostLock())
    assert results[0].outcome == "failed"
    assert "the lock was lost" in results[0].message
    assert "intent" not in {record["kind"] for record in run.records}


def test_waiting_ends_when_the_lock_is_lost(folder: Path) -> None:
    class Lock:
        asked = 0

        def require(self) -> None:
            self.asked += 1
            if self.asked > 2:
                raise PartialError("the lock was lost")

    def act(context: Context, _step: Step) -> None:
        context.wait("the nodes", lambda: "all", deadline_seconds=60, interval_seconds=0)

    results, _ = _run(folder, [_step("act1")], {"act": act}, lock=Lock())
    assert results[0].message == "the lock was lost"


def test_waiting_ends_when_nothing_is_missing_any_more(folder: Path) -> None:
    missing = iter(["2 of 3", "1 of 3", ""])

    def act(context: Context, _step: Step) -> None:
        context.wait("the nodes", lambda: next(missing), deadline_seconds=60, interval_seconds=0)

    results, _ = _run(folder, [_step("act1")], {"act": act})
    assert results[0].outcome == "done"


def test_a_wait_that_is_too_long_says_what_was_missing_last(folder: Path) -> None:
    def act(context: Context, _step: Step) -> None:
        context.wait(
            "the nodes", lambda: "node i-1 drains", deadline_seconds=-1, interval_seconds=0
        )

    results, _ = _run(folder, [_step("act1")], {"act": act})
    assert results[0].outcome == "failed"
    assert "the nodes: not within" in results[0].message
    assert "node i-1 drains" in results[0].message


def test_cancelling_ends_waits_and_begins_nothing_further(folder: Path) -> None:
    def act(context: Context, _step: Step) -> None:
        context.cancelled.set()
        context.wait("the nodes", lambda: "all", deadline_seconds=60)

    results, _ = _run(folder, [_step("act1"), _step("do1", 1)], {"act": act, "do": _do})
    assert [result.outcome for result in results] == ["failed", "not begun"]
    assert execution.exit_code(results) == ExitCode.CANCELLED

"""The environment's lock: one at a time, never for ever."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from components.bootstrap import LOCK_EXPIRY, LOCK_KEY
from ops import lock as locks
from ops.errors import (
    AuthenticationError,
    IncompleteError,
    OpsError,
    PartialError,
    RefusedError,
)
from ops.lock import Holder, Lock

TABLE = "mono-repo-dev-pulumi-state-lock"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 12, 1, 3, 0, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """Three in the morning."""
    return Clock()


@pytest.fixture
def table(clock: Clock) -> Iterator[Any]:
    """The bootstrap's table, in a cloud that has the test's time."""

    def dated(parsed: dict[str, Any], **_: Any) -> None:
        headers = parsed["ResponseMetadata"]["HTTPHeaders"]
        headers["date"] = email.utils.format_datetime(clock(), usegmt=True)

    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.meta.events.register("after-call.dynamodb", dated)
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": LOCK_KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": LOCK_KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


@pytest.fixture
def lock(table: Any, clock: Clock) -> Lock:
    """The lock of dev."""
    return Lock(table, TABLE, "dev", now=clock)


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no /proc, and tells of its start as macOS does."""
    program = tmp_path / "sysctl"
    program.write_text('#!/bin/sh\n[ "$*" = "-n kern.bootsessionuuid" ] && echo 0F7E-42\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(locks, "_PROCESSES", tmp_path / "proc")


def _holder(run: str, clock: Clock, **changes: Any) -> Holder:
    return replace(Holder.this_process(run, "stop", "jane-doe", clock()), **changes)


def _elsewhere(run: str, clock: Clock) -> Holder:
    return _holder(run, clock, host="another-machine", process="another")


def test_the_table_is_the_one_that_the_bootstrap_makes() -> None:
    assert (locks.KEY, locks.EXPIRY) == (LOCK_KEY, LOCK_EXPIRY)


def test_a_second_operator_is_refused_and_told_who_is_at_work(lock: Lock, clock: Clock) -> None:
    with lock.hold(_elsewhere("run-1", clock)):
        refusal = pytest.raises(RefusedError, match="Nothing was done")
        with refusal as refused, lock.hold(_holder("run-2", clock)):
            pytest.fail("two hold it")
        assert "stop (run run-1) by jane-doe, on another-machine" in str(refused.value)
    assert lock.status() is None, "it is given back in the end"


def test_environments_have_locks_of_their_own(table: Any, lock: Lock, clock: Clock) -> None:
    prod = Lock(table, TABLE, "prod", now=clock)
    with lock.hold(_holder("run-1", clock)), prod.hold(_holder("run-2", clock)):
        assert prod.status() is not None


def test_it_is_given_back_when_the_operation_fails(lock: Lock, clock: Clock) -> None:
    with pytest.raises(OpsError), lock.hold(_holder("run-1", clock)):
        raise OpsError("the step failed")
    assert lock.status() is None


def test_one_that_was_left_behind_elsewhere_runs_out(lock: Lock, clock: Clock, table: Any) -> None:
    _leave_behind(lock, _elsewhere("run-1", clock))
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("it was still held")
    clock.pass_(locks.LEASE_SECONDS + 1)
    with lock.hold(_holder("run-2", clock)):
        held = lock.status()
        assert held is not None
        assert held.holder.run == "run-2"


def test_one_whose_process_on_this_machine_has_died_is_taken_over_at_once(
    lock: Lock, clock: Clock
) -> None:
    earlier = f"{locks._machine()}/1"
    _leave_behind(lock, _holder("run-1", clock, process=earlier))
    with lock.hold(_holder("run-2", clock)):
        held = lock.status()
        assert held is not None
        assert held.holder.run == "run-2"


def test_a_process_on_another_machine_of_the_same_name_is_not_taken_for_dead(
    lock: Lock, clock: Clock
) -> None:
    _leave_behind(lock, _holder("run-1", clock, process="another-machine/4711"))
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")


def test_a_lock_whose_answer_was_lost_on_the_way_is_ones_own(lock: Lock, clock: Clock) -> None:
    holder = _holder("run-1", clock)
    _leave_behind(lock, holder)
    with lock.hold(holder) as held:
        held.require()


def test_one_whose_process_on_this_machine_lives_is_not(lock: Lock, clock: Clock) -> None:
    _leave_behind(lock, _holder("run-1", clock, pid=os.getpid()))
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")


def test_containers_that_share_their_machines_name_do_not_take_each_other_for_dead(
    lock: Lock, clock: Clock, ended: int
) -> None:
    boot = locks._boot()
    _leave_behind(
        lock, _holder("run-1", clock, pid=ended, process=f"{boot}:pid:[4026532999]/12345")
    )
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")


def test_where_the_system_does_not_tell_whose_processes_are_seen_the_lease_decides(
    lock: Lock, clock: Clock, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_machine", lambda: "")
    _leave_behind(lock, _holder("run-1", clock, pid=ended, process="/"))
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")


def test_a_machine_without_a_folder_of_processes_sees_which_have_ended_all_the_same(
    lock: Lock, clock: Clock, ended: int, mac: None
) -> None:
    _leave_behind(lock, _holder("run-1", clock))
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")
    held = lock.status()
    assert held is not None
    lock.break_(held)
    _leave_behind(lock, _holder("run-1", clock, pid=ended))
    with lock.hold(_holder("run-2", clock)):
        assert _holder_of(lock) == "run-2"


@pytest.mark.parametrize("skew", [200, -200])
def test_whose_clock_is_wrong_neither_takes_over_what_is_held_nor_loses_what_it_holds(
    table: Any, lock: Lock, clock: Clock, skew: int
) -> None:
    wrong = Lock(table, TABLE, "dev", now=lambda: clock() + dt.timedelta(seconds=skew))
    for one, other in ((lock, wrong), (wrong, lock)):
        with one.hold(_elsewhere("run-1", clock)):
            clock.pass_(locks.LEASE_SECONDS - 10)
            with pytest.raises(RefusedError), other.hold(_holder("run-2", clock)):
                pytest.fail("two hold it")
            clock.pass_(11)
            with other.hold(_holder("run-3", clock)):
                assert _holder_of(lock) == "run-3"


def test_one_that_was_renewed_in_the_moment_before_it_is_taken_over_is_left(
    table: Any, lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_behind(lock, _elsewhere("run-1", clock))
    clock.pass_(locks.LEASE_SECONDS + 1)
    remove = table.delete_item

    def renewed_before(**asked: Any) -> Any:
        table.update_item(
            TableName=TABLE,
            Key=asked["Key"],
            UpdateExpression="SET #expiry = :expiry",
            ExpressionAttributeNames={"#expiry": locks.EXPIRY},
            ExpressionAttributeValues={":expiry": {"N": str(int(clock().timestamp()) + 120)}},
        )
        return remove(**asked)

    monkeypatch.setattr(table, "delete_item", renewed_before)
    with pytest.raises(RefusedError), lock.hold(_holder("run-2", clock)):
        pytest.fail("two hold it")
    assert _holder_of(lock) == "run-1"


def test_one_that_goes_on_is_renewed(
    lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.01)
    with lock.hold(_holder("run-1", clock)):
        before = lock.status()
        clock.pass_(60)
        assert before is not None
        _until(lambda: _expiry(lock) > before.expires)


def test_an_operation_whose_lock_was_broken_begins_nothing_further(
    lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.01)
    with lock.hold(_holder("run-1", clock)) as held:
        held.require()
        status = lock.status()
        assert status is not None
        lock.break_(status)
        with pytest.raises(PartialError, match="nothing further was begun"):
            _until_raised(held)


def test_credentials_that_end_do_not_end_the_renewal_unnoticed(
    table: Any, lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expired(**_: Any) -> None:
        raise AuthenticationError("the credentials have expired")

    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0)
    monkeypatch.setattr(table, "update_item", expired)
    with lock.hold(_holder("run-1", clock)) as held:
        _until(lambda: held._lost)
        with pytest.raises(PartialError, match="credentials have expired"):
            held.require()


def test_nothing_further_is_begun_when_a_renewal_hangs_for_longer_than_the_lease(
    lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock.hold(_holder("run-1", clock)) as held:
        held.require()
        monkeypatch.setattr(locks, "LEASE_SECONDS", -1)
        with pytest.raises(PartialError, match="it ran out"):
            held.require()


def test_what_has_changed_hands_is_not_broken(lock: Lock, clock: Clock) -> None:
    _leave_behind(lock, _elsewhere("run-1", clock))
    seen = lock.status()
    assert seen is not None
    clock.pass_(locks.LEASE_SECONDS + 1)
    with lock.hold(_holder("run-2", clock)), pytest.raises(RefusedError, match="changed hands"):
        lock.break_(seen)


def test_a_table_that_cannot_be_read_is_not_taken_for_free(table: Any, clock: Clock) -> None:
    missing = Lock(table, "no-such-table", "dev", now=clock)
    with pytest.raises(IncompleteError, match="could not be read"):
        missing.status()
    with pytest.raises(IncompleteError), missing.hold(_holder("run-1", clock)):
        pytest.fail("nothing holds it")


def test_a_table_that_cannot_be_written_holds_nothing(
    table: Any, lock: Lock, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "PutItem")

    def put_item(**_: Any) -> None:
        raise denied

    monkeypatch.setattr(table, "put_item", put_item)
    with pytest.raises(OpsError, match="could not be taken"), lock.hold(_holder("run-1", clock)):
        pytest.fail("nothing holds it")


def _leave_behind(lock: Lock, holder: Holder) -> None:
    """Take it as a process does that is then killed."""
    lock._acquire(holder)


def _holder_of(lock: Lock) -> str:
    held = lock.status()
    assert held is not None
    return held.holder.run


def _expiry(lock: Lock) -> dt.datetime:
    held = lock.status()
    assert held is not None
    return held.expires


def _until(true: Any) -> None:
    for _ in range(1_000_000):
        if true():
            return
    pytest.fail("it never came about")


def _until_raised(held: Lock) -> None:
    for _ in range(1_000_000_000):
        held.require()

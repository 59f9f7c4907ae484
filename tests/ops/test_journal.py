"""The journal: on the disk before anything else, in the bucket soon after, never lost."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops import journal
from ops.errors import AuthenticationError, IncompleteError, OpsError, UsageError
from ops.journal import Bucket, Journal
from ops.plan import Plan, Step

NOW = dt.datetime(2026, 12, 1, 3, 0, tzinfo=dt.UTC)
RUN = "20261201-030000-stop-dev-a1b2"
ACCOUNT = "123456789012"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """The state bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="state")
        yield Bucket(client=client, name="state", account_id=ACCOUNT)


def _begun(folder: Path, run: str = RUN) -> Journal:
    book = Journal(folder, run, now=lambda: NOW)
    steps = [
        Step(id=name, action="stop", kind="instance", target=name, summary=f"stop {name}")
        for name in ("one", "two")
    ]
    plan = Plan(
        command="stop", environment="dev", account_id=ACCOUNT, region="us-east-1",
        steps=tuple(steps),
    )  # fmt: skip
    book.add("begun", operator="jane-doe", why="cost", plan=plan.to_json(), plan_hash=plan.hash)
    return book


def test_what_is_added_is_on_the_disk_at_once(tmp_path: Path) -> None:
    book = _begun(tmp_path)
    book.add("intent", step="one")
    run = journal.read(RUN, tmp_path, None)  # as another process sees it, with the file still open
    assert [record["kind"] for record in run.records] == ["begun", "intent"]
    assert [record["number"] for record in run.records] == [1, 2]
    assert run.records[0]["at"] == "2026-12-01T03:00:00.000+00:00"


def test_a_step_that_was_only_begun_is_not_done(tmp_path: Path) -> None:
    book = _begun(tmp_path)
    book.add("intent", step="one")
    book.add("result", step="one", outcome="done", detail={"min": 2})
    book.add("intent", step="two")
    run = journal.read(RUN, tmp_path, None)
    assert run.done == {"one": {"min": 2}}
    assert not run.is_finished


def test_a_step_that_failed_and_then_succeeded_is_done(tmp_path: Path) -> None:
    book = _begun(tmp_path)
    book.add("result", step="one", outcome="failed", message="throttled")
    assert journal.read(RUN, tmp_path, None).done == {}
    book.add("result", step="one", outcome="done", detail={})
    assert journal.read(RUN, tmp_path, None).done == {"one": {}}


def test_a_run_that_is_resumed_is_not_finished_until_it_ends_again(tmp_path: Path) -> None:
    book = _begun(tmp_path)
    book.add("ended", result="partial")
    assert journal.read(RUN, tmp_path, None).ended == "partial"
    book.add("resumed", operator="john-smith")
    assert journal.read(RUN, tmp_path, None).ended == ""
    book.add("ended", result="succeeded")
    assert journal.read(RUN, tmp_path, None).is_finished


def test_a_line_torn_by_a_kill_was_not_written_and_the_next_goes_after_the_last_whole_one(
    tmp_path: Path,
) -> None:
    book = _begun(tmp_path)
    with book.path.open("ab") as file:
        file.write(b'{"number":2,"kind":"inte')
    torn = journal.read(RUN, tmp_path, None)
    assert [record["kind"] for record in torn.records] == ["begun"]

    again = Journal(tmp_path, RUN, now=lambda: NOW, written=torn.records)
    again.add("intent", step="one")
    assert [record["kind"] for record in journal.read(RUN, tmp_path, None).records] == [
        "begun",
        "intent",
    ]


def test_a_line_that_somebody_spoilt_is_told_and_not_skipped(tmp_path: Path) -> None:
    book = _begun(tmp_path)
    book.path.write_bytes(b"not a record\n" + book.path.read_bytes())
    with pytest.raises(OpsError, match="line 1, is no record"):
        journal.read(RUN, tmp_path, None)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    _begun(tmp_path).close()
    with pytest.raises(OpsError, match="never written over"):
        Journal(tmp_path, RUN, now=lambda: NOW)


def test_another_machine_finds_the_run_in_the_bucket(tmp_path: Path, bucket: Bucket) -> None:
    book = _begun(tmp_path / "here")
    book.mirror_to(bucket)
    book.add("result", step="one", outcome="done", detail={})
    book.close()
    assert book.unmirrored == ""

    elsewhere = tmp_path / "elsewhere"
    assert journal.runs(elsewhere, bucket) == [RUN]
    found = journal.read(RUN, elsewhere, bucket)
    assert found.done == {"one": {}}
    again = Journal(elsewhere, RUN, now=lambda: NOW, written=found.records)
    again.add("ended", result="succeeded")
    assert journal.read(RUN, elsewhere, None).is_finished


def test_records_in_the_bucket_are_added_and_never_replaced(tmp_path: Path, bucket: Bucket) -> None:
    first = json.dumps({"number": 1, "kind": "begun", "at": "before"})
    bucket.client.put_object(Bucket="state", Key=bucket.key(RUN, 1), Body=first.encode())
    book = _begun(tmp_path)
    book.mirror_to(bucket)
    book.close()
    kept = bucket.client.get_object(Bucket="state", Key=bucket.key(RUN, 1))["Body"].read()
    assert kept.decode() == first


def test_a_bucket_that_takes_nothing_delays_nobody_and_is_told(
    tmp_path: Path, bucket: Bucket
) -> None:
    book = _begun(tmp_path)
    book.mirror_to(Bucket(client=bucket.client, name="gone", account_id=ACCOUNT))
    book.add("ended", result="succeeded")
    book.close()
    assert "NoSuchBucket" in book.unmirrored
    assert journal.read(RUN, tmp_path, None).is_finished


def test_what_the_bucket_did_not_take_is_copied_with_the_next_record(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bucket.client.put_object
    refusals = [AuthenticationError("the credentials have expired")]

    def refuse_first(**asked: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return put(**asked)

    monkeypatch.setattr(bucket.client, "put_object", refuse_first)
    book = _begun(tmp_path / "here")
    book.mirror_to(bucket)
    book.add("ended", result="succeeded")
    book.close()
    assert book.unmirrored == ""
    assert journal.read(RUN, tmp_path / "elsewhere", bucket).is_finished


def test_a_run_that_was_killed_before_it_wrote_anything_hides_no_other(tmp_path: Path) -> None:
    _begun(tmp_path)
    (tmp_path / "20261201-020000-stop-dev-0000.jsonl").touch()
    found = journal.read_all(journal.runs(tmp_path, None), tmp_path, None)
    assert [run.id for run in found] == [RUN]


def test_of_two_copies_the_longer_one_counts(tmp_path: Path, bucket: Bucket) -> None:
    book = _begun(tmp_path)
    book.mirror_to(bucket)
    book.close()
    longer = Journal(tmp_path, RUN, now=lambda: NOW, written=book.records)
    longer.add("ended", result="succeeded")
    assert journal.read(RUN, tmp_path, bucket).is_finished


def test_runs_that_cannot_be_listed_are_not_taken_for_none(tmp_path: Path, bucket: Bucket) -> None:
    gone = Bucket(client=bucket.client, name="gone", account_id=ACCOUNT)
    with pytest.raises(IncompleteError, match="cannot be read"):
        journal.runs(tmp_path, gone)
    with pytest.raises(IncompleteError):
        journal.read(RUN, tmp_path, gone)


def test_a_run_that_this_machine_knows_is_read_without_the_bucket(
    tmp_path: Path, bucket: Bucket
) -> None:
    _begun(tmp_path)
    gone = Bucket(client=bucket.client, name="gone", account_id=ACCOUNT)
    assert journal.read(RUN, tmp_path, gone).command == "stop"


def test_a_run_that_nobody_knows_is_told_with_how_to_see_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ops runs list"):
        journal.read(RUN, tmp_path, None)


def test_names_of_runs_sort_by_time_and_say_what_was_run() -> None:
    early = journal.run_id("backups prune", "dev", NOW, "ffff")
    late = journal.run_id("stop", "dev", NOW + dt.timedelta(seconds=1), "0000")
    assert early == "20261201-030000-backups-prune-dev-ffff"
    assert sorted([late, early]) == [early, late]

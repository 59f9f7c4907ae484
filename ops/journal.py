"""The journal: what was asked for, planned, begun and done in one run, only ever added to.

It is a file of JSON lines on this machine, on the disk before anything is done, and the same
records one by one in the state bucket, so that another machine can go on. Records hold no secret.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ops.errors import IncompleteError, OpsError, UsageError
from ops.plan import Plan

Kind = Literal["begun", "resumed", "intent", "result", "note", "verified", "ended"]
Outcome = Literal["done", "failed"]
Record = Mapping[str, Any]
"""`number` from 1, `at` (UTC), `kind`, and what belongs to the kind."""

FLUSH_SECONDS: Final = 30.0
FOLDER: Final = "ops/runs"
"""What the keys of all records in a bucket begin with."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Where copies of journals are kept."""

    client: Any
    """A boto3 client of S3."""
    name: str
    account_id: str
    """Whose bucket it has to be."""

    def key(self, run: str, number: int | None = None) -> str:
        """Give the key of a record, or what those of a run begin with."""
        return f"{FOLDER}/{run}/" + (f"{number:06d}.json" if number is not None else "")


class Journal:
    """The journal of one run, open for adding. Safe to be used by several threads."""

    def __init__(
        self,
        folder: Path,
        run: str,
        *,
        now: Callable[[], dt.datetime],
        written: Iterable[Record] = (),
    ) -> None:
        """`written`: the records that the run has already, for one that is resumed."""
        self.run = run
        self.path = folder / f"{run}.jsonl"
        self.unmirrored = ""
        """Why copies are missing in the bucket; empty where none is."""
        self._now = now
        self._records: list[Record] = list(written)
        self._guard = threading.Lock()
        self._waiting: queue.Queue[Record | None] = queue.Queue()
        self._mirror: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)
        _restore(self.path, self._records)
        self._file = self.path.open("ab")

    @property
    def records(self) -> tuple[Record, ...]:
        """What is written so far."""
        with self._guard:
            return tuple(self._records)

    def add(self, kind: Kind, **content: Any) -> None:
        """Write one record; it is on the disk when this returns."""
        with self._guard:
            at = self._now().isoformat(timespec="milliseconds")
            record = {"number": len(self._records) + 1, "at": at, "kind": kind, **content}
            self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._records.append(record)
            if self._mirror:
                self._waiting.put(record)

    def mirror_to(self, bucket: Bucket) -> None:
        """Copy what is written and what will be to the bucket, without making anybody wait."""
        if self._mirror:
            return
        with self._guard:
            for record in self._records:
                self._waiting.put(record)
            self._mirror = threading.Thread(target=self._copy, args=(bucket,), daemon=True)
        self._mirror.start()

    def close(self) -> None:
        """Wait for the copies, for a while, and close the file."""
        if self._mirror:
            self._waiting.put(None)
            self._mirror.join(FLUSH_SECONDS)
            if self._mirror.is_alive():
                self.unmirrored = f"the bucket did not take them within {FLUSH_SECONDS:.0f} s"
        self._file.close()

    def _copy(self, bucket: Bucket) -> None:
        left: deque[Record] = deque()
        while (record := self._waiting.get()) is not None:
            left.append(record)
            self.unmirrored = self._put_in_order(bucket, left)
        self.unmirrored = self._put_in_order(bucket, left)

    def _put_in_order(self, bucket: Bucket, left: deque[Record]) -> str:
        """Copy records until one fails, and say why: what follows a gap is read by nobody."""
        try:
            while left:
                _put(bucket, self.run, left[0])
                left.popleft()
        except Exception as error:  # noqa: BLE001 - a thread that ended would tell nobody
            return str(error)
        return ""


def _put(bucket: Bucket, run: str, record: Record) -> None:
    from botocore.exceptions import ClientError

    try:
        bucket.client.put_object(
            Bucket=bucket.name,
            Key=bucket.key(run, record["number"]),
            Body=json.dumps(record, separators=(",", ":")).encode(),
            ContentType="application/json",
            ExpectedBucketOwner=bucket.account_id,
            IfNoneMatch="*",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise


def _restore(path: Path, records: list[Record]) -> None:
    """Make the file hold these records: one from elsewhere is fetched, a torn end is cut off."""
    text = b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in records)
    if path.exists() and path.read_bytes() == text:
        return
    if path.exists() and not records:
        raise OpsError(f"{path} is there already: a run's journal is never written over.")
    new = path.with_suffix(".new")
    new.write_bytes(text)
    new.replace(path)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as its journal has it."""

    id: str
    records: tuple[Record, ...]

    @property
    def begun(self) -> Record:
        """Who asked for what: operator, why, mode, cloud, environment, arguments, plan, hash."""
        return self.records[0]

    @property
    def plan(self) -> Plan:
        """What was agreed to."""
        return Plan.from_json(self.begun["plan"])

    @property
    def environment(self) -> str:
        """Which environment it acts on."""
        return str(self.begun["plan"]["environment"])

    @property
    def command(self) -> str:
        """Which command it is a run of."""
        return str(self.begun["plan"]["command"])

    @property
    def results(self) -> dict[str, Record]:
        """Step → its last result; a step that was begun only is not there."""
        return {item["step"]: item for item in self.records if item["kind"] == "result"}

    @property
    def done(self) -> dict[str, Mapping[str, Any]]:
        """Step → what its action gave, for those that are done."""
        return {
            step: item.get("detail", {})
            for step, item in self.results.items()
            if item["outcome"] == "done"
        }

    @property
    def ended(self) -> str:
        """How it ended: `succeeded`, `partial`, `failed`; empty where it was killed or goes on."""
        last = [item for item in self.records if item["kind"] in ("ended", "resumed")][-1:]
        return str(last[0].get("result", "")) if last else ""

    @property
    def is_finished(self) -> bool:
        """Tell whether there is nothing to resume."""
        return self.ended == "succeeded"


def read(run: str, folder: Path, bucket: Bucket | None) -> Run:
    """Give a run, from this machine or the bucket, whichever knows more.

    Raises `UsageError` where there is none, `IncompleteError` where its bucket cannot be read and
    this machine does not know it.
    """
    local = _local(folder / f"{run}.jsonl")
    remote: tuple[Record, ...] = ()
    if bucket:
        try:
            remote = _remote(bucket, run)
        except IncompleteError:
            if not local:
                raise
    records = local if len(local) >= len(remote) else remote
    if not records:
        where = f"{folder}" + (f" or s3://{bucket.name}/{FOLDER}" if bucket else "")
        raise UsageError(
            f"There is no run {run!r} in {where}. Nothing was done. See them with: ops runs list"
        )
    return Run(id=run, records=records)


def read_all(names: Iterable[str], folder: Path, bucket: Bucket | None) -> Iterator[Run]:
    """Read runs, one after another; one that was killed before it wrote anything is none."""
    for name in names:
        with suppress(UsageError):
            yield read(name, folder, bucket)


def runs(folder: Path, bucket: Bucket | None) -> list[str]:
    """Give the ids of all runs that this machine and the bucket know, the oldest first.

    Raises `IncompleteError` where the bucket cannot be listed.
    """
    found = {path.stem for path in folder.glob("*.jsonl")} if folder.is_dir() else set()
    if bucket:
        found |= set(_remote_ids(bucket))
    return sorted(found)


def run_id(command: str, environment: str, now: dt.datetime, suffix: str) -> str:
    """Give a run's name: it sorts by time and says what it was."""
    return f"{now:%Y%m%d-%H%M%S}-{command.replace(' ', '-')}-{environment}-{suffix}"


def _local(path: Path) -> tuple[Record, ...]:
    """Give the whole lines of a file; a torn last one was not written."""
    records: list[Record] = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise OpsError(
                    f"{path}, line {len(records) + 1}, is no record of a journal ({error}). "
                    "Nothing was done. Move the file away to go by the copy in the state bucket."
                ) from error
    return tuple(records)


def _remote(bucket: Bucket, run: str) -> tuple[Record, ...]:
    """Give the records in the bucket up to the first that is missing."""
    from botocore.exceptions import BotoCoreError, ClientError

    keys = set(_keys(bucket, bucket.key(run)))
    records: list[Record] = []
    try:
        while (key := bucket.key(run, len(records) + 1)) in keys:
            answer = bucket.client.get_object(
                Bucket=bucket.name, Key=key, ExpectedBucketOwner=bucket.account_id
            )
            records.append(json.loads(answer["Body"].read()))
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(_unreadable(bucket, error)) from error
    return tuple(records)


def _remote_ids(bucket: Bucket) -> Iterator[str]:
    """Give the runs in the bucket: they are many, and their records a hundred times as many."""
    prefix = f"{FOLDER}/"
    for page in _pages(bucket, Prefix=prefix, Delimiter="/"):
        for item in page.get("CommonPrefixes", []):
            yield item["Prefix"].removeprefix(prefix).rstrip("/")


def _keys(bucket: Bucket, prefix: str) -> Iterator[str]:
    for page in _pages(bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", []))


def _pages(bucket: Bucket, **asked: str) -> Iterator[Mapping[str, Any]]:
    from botocore.exceptions import BotoCoreError, ClientError

    pages = bucket.client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, ExpectedBucketOwner=bucket.account_id, **asked
    )
    try:
        yield from pages
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(_unreadable(bucket, error)) from error


def _unreadable(bucket: Bucket, error: Exception) -> str:
    return f"The runs in s3://{bucket.name}/{FOLDER} cannot be read: {error}. Nothing was done."

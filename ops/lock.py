"""The lock of an environment: one operation at a time, whoever runs it and wherever.

An item in the bootstrap's DynamoDB table, written on the condition that nobody else's is there. It
is held by a lease that is renewed while the operation goes on and runs out by itself after a kill;
on the machine where it was taken, a process that has died gives it up at once. Pulumi has a lock of
its own, which is looked at as well.
"""

from __future__ import annotations

import datetime as dt
import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from infra import naming
from ops.errors import IncompleteError, OpsError, PartialError, RefusedError

if TYPE_CHECKING:
    from ops.access import Access

LEASE_SECONDS: Final = 120
RENEWAL_SECONDS: Final = 30.0
KEY: Final = "LockID"
"""The table's key; its time to live is `EXPIRY`."""
EXPIRY: Final = "ExpiresAt"
_HOLDER: Final = "Holder"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds an environment's lock."""

    run: str
    command: str
    operator: str
    host: str
    pid: int
    process: str
    """Tells the process from a later one with the same number."""
    acquired: str
    """UTC."""

    @classmethod
    def this_process(cls, run: str, command: str, operator: str, now: dt.datetime) -> Self:
        """Describe this process as the holder."""
        return cls(
            run=run,
            command=command,
            operator=operator,
            host=_host(),
            pid=os.getpid(),
            process=_process(os.getpid()),
            acquired=now.isoformat(timespec="seconds"),
        )

    @property
    def has_died(self) -> bool:
        """Tell whether it certainly has: it was on this machine and is there no more.

        Machines share names, and a restart looks like another machine: then the lease decides.
        """
        return (
            self.host == _host()
            and self.process.partition("/")[0] == _boot()
            and self.process != _process(self.pid)
        )


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lock that somebody holds."""

    holder: Holder
    expires: dt.datetime

    def has_run_out(self, now: dt.datetime) -> bool:
        """Tell whether anybody may take it over."""
        return self.expires <= now or self.holder.has_died


class Lock:
    """The lock of one environment."""

    def __init__(
        self, client: Any, table: str, environment: str, *, now: Callable[[], dt.datetime]
    ) -> None:
        """`client`: a boto3 client of DynamoDB."""
        self._client = client
        self._table = table
        self._environment = environment
        self._now = now
        self._lost = ""
        self._renewed = 0.0
        """When the lease was last prolonged, by the clock that nobody sets."""

    def status(self) -> Held | None:
        """Tell who holds it. Raises `IncompleteError` where that cannot be read."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_item(
                TableName=self._table, Key=self._key(), ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise IncompleteError(
                f"Whether somebody works on {self._environment} could not be read from the lock "
                f"table {self._table}: {error}. Nothing was done."
            ) from error
        item = answer.get("Item")
        return _held(item) if item else None

    @contextmanager
    def hold(self, holder: Holder) -> Iterator[Self]:
        """Hold it while the block runs. Raises `RefusedError` where somebody else does."""
        self._acquire(holder)
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(holder, ended), daemon=True)
        renewal.start()
        try:
            yield self
        finally:
            ended.set()
            renewal.join()
            self._release(holder)

    def require(self) -> None:
        """Raise `PartialError` where the lock was lost: somebody else may be at work."""
        lost = self._lost
        if not lost and time.monotonic() - self._renewed > LEASE_SECONDS:
            lost = "it ran out, as its renewal does not come through"
        if lost:
            raise PartialError(
                f"The lock of {self._environment} was lost ({lost}): nothing further was "
                "begun, since somebody else may be at work. See: ops lock status "
                f"{self._environment}"
            )

    def break_(self, held: Held) -> None:
        """Take somebody's lock away, unless it has changed hands since it was looked at."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.delete_item(
                TableName=self._table,
                Key=self._key(),
                ConditionExpression="#holder = :holder",
                ExpressionAttributeNames={"#holder": _HOLDER},
                ExpressionAttributeValues={":holder": _map(held.holder)},
            )
        except (BotoCoreError, ClientError) as error:
            if _is_refused(error):
                raise RefusedError(
                    f"The lock of {self._environment} has changed hands meanwhile. Nothing was "
                    f"released. Look again: ops lock status {self._environment}"
                ) from error
            raise OpsError(
                f"The lock of {self._environment} could not be released: {error}."
            ) from error

    def _acquire(self, holder: Holder) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        for _ in range(2):  # once more after a dead process's lock was put aside
            try:
                self._put(holder)
            except (BotoCoreError, ClientError) as error:
                if not _is_refused(error):
                    raise OpsError(
                        f"The lock of {self._environment} in {self._table} could not be taken: "
                        f"{error}. Nothing was done."
                    ) from error
            else:
                return
            held = self.status()
            if held and held.holder == holder:  # the answer was lost, and botocore asked again
                return
            if held and not held.has_run_out(self._now()):
                raise RefusedError(_refusal(self._environment, held))
            if held:
                self.break_(held)
        raise RefusedError(
            f"The lock of {self._environment} goes from hand to hand. Nothing was done. Try again."
        )

    def _put(self, holder: Holder) -> None:
        self._renewed = time.monotonic()
        now = self._now()
        self._client.put_item(
            TableName=self._table,
            Item={**self._key(), EXPIRY: self._expiry(now), _HOLDER: _map(holder)},
            ConditionExpression="attribute_not_exists(#key) OR #expiry <= :now",
            ExpressionAttributeNames={"#key": KEY, "#expiry": EXPIRY},
            ExpressionAttributeValues={":now": {"N": str(int(now.timestamp()))}},
        )

    def _renew(self, holder: Holder, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            asked = time.monotonic()
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key(),
                    UpdateExpression="SET #expiry = :expiry",
                    ConditionExpression="#holder = :holder",
                    ExpressionAttributeNames={"#expiry": EXPIRY, "#holder": _HOLDER},
                    ExpressionAttributeValues={
                        ":expiry": self._expiry(self._now()),
                        ":holder": _map(holder),
                    },
                )
                self._renewed = asked
            except Exception as error:  # noqa: BLE001 - a thread that ended would renew no more
                # A call that failed may be made good by the next one, as long as the lease runs.
                left = LEASE_SECONDS - (time.monotonic() - self._renewed)
                if _is_refused(error) or left < RENEWAL_SECONDS:
                    self._lost = str(error)
                    return

    def _release(self, holder: Holder) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.delete_item(
                TableName=self._table,
                Key=self._key(),
                ConditionExpression="#holder = :holder",
                ExpressionAttributeNames={"#holder": _HOLDER},
                ExpressionAttributeValues={":holder": _map(holder)},
            )
        except (BotoCoreError, ClientError, OpsError) as error:
            # It is another's already, or the table went with what was destroyed, or it runs out.
            self._lost = self._lost or str(error)

    def _key(self) -> dict[str, Any]:
        return {KEY: {"S": self._environment}}

    def _expiry(self, now: dt.datetime) -> dict[str, str]:
        return {"N": str(int(now.timestamp()) + LEASE_SECONDS)}


def has_table(access: Access) -> bool:
    """Tell whether the environment's lock can be taken already.

    Raises `IncompleteError` where that cannot be seen.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = access.client("dynamodb")
    table = naming.lock_table(access.environment)
    try:
        status = client.describe_table(TableName=table)["Table"]["TableStatus"]
    except client.exceptions.ResourceNotFoundException:
        return False
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether there is a lock table {table} could not be read: {error}. Nothing was done."
        ) from error
    return bool(status == "ACTIVE")


def environment_lock(access: Access, table: str) -> Lock:
    """Give the lock of an environment."""
    return Lock(
        access.client("dynamodb"),
        table,
        access.environment,
        now=lambda: dt.datetime.now(tz=dt.UTC),
    )


def operator(access: Access) -> str:
    """Say who works: the caller as AWS knows them, else the user of this machine."""
    return access.caller or f"{getpass.getuser()}@{_host()}"


def refuse_running_update(access: Access) -> None:
    """Refuse while an update of Pulumi's own holds the lock of the environment's stack.

    Raises `RefusedError` with who holds it, `IncompleteError` where that cannot be read.
    """
    found = running_update(access)
    if found:
        env = access.environment
        raise RefusedError(
            f"A Pulumi update of {env} holds the stack's lock. Nothing was done.\n{found}\n"
            "Wait for it to end. If it certainly has died, release its lock with "
            f"`pulumi cancel -s {env}`."
        )


def running_update(access: Access) -> str:
    """Describe the update that holds Pulumi's own lock; empty where none does.

    Raises `IncompleteError` where that cannot be read.
    """
    if access.mode == "sandbox":
        from ops import sandbox

        return sandbox.running_update(access)
    where = urlsplit(access.backend)
    if where.scheme != "s3":
        return ""  # Pulumi Cloud refuses a second update itself, and there is nothing to read
    return _objects(access, where.netloc, where.path.strip("/"))


def _objects(access: Access, bucket: str, folder: str) -> str:
    """Describe the objects by which Pulumi locks a stack in a bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    from ops.access import project, stack_name

    name = f"{project('environment')}/{stack_name('environment', access.settings)}"
    path = f".pulumi/locks/organization/{name}/"
    prefix = f"{folder}/{path}" if folder else path
    try:
        answer = access.client("s3").list_objects_v2(
            Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=access.settings.account_id
        )
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether a Pulumi update runs could not be read from {access.backend}: {error}. "
            "Nothing was done."
        ) from error
    return "\n".join(
        f"    s3://{bucket}/{item['Key']} since {item['LastModified']:%Y-%m-%d %H:%M:%S} UTC"
        for item in answer.get("Contents", [])
    )


def _refusal(environment: str, held: Held) -> str:
    holder = held.holder
    return (
        f"Somebody works on {environment}. Nothing was done.\n"
        f"    {holder.command} (run {holder.run}) by {holder.operator}, "
        f"on {holder.host} since {holder.acquired}\n"
        f"It holds the lock until {held.expires:%Y-%m-%d %H:%M:%S} UTC, and longer while it runs. "
        f"Wait for it, or see: ops lock status {environment}"
    )


def _held(item: dict[str, Any]) -> Held:
    said = {name: value["S"] for name, value in item[_HOLDER]["M"].items()}
    return Held(
        holder=Holder(**{**said, "pid": int(said["pid"])}),
        expires=dt.datetime.fromtimestamp(int(item[EXPIRY]["N"]), tz=dt.UTC),
    )


def _map(holder: Holder) -> dict[str, Any]:
    return {"M": {name: {"S": str(value)} for name, value in asdict(holder).items()}}


def _is_refused(error: Exception) -> bool:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return bool(code == "ConditionalCheckFailedException")


def _host() -> str:
    return socket.gethostname()


def _boot() -> str:
    """Give which start of which machine this is; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _process(pid: int) -> str:
    """Give when a process was started and since which start of the machine; empty: not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc").is_dir() else "unknown"
    return f"{_boot()}/{fields[19]}"

"""The lock of an environment: one operation at a time, whoever runs it and wherever.

An item in the bootstrap's DynamoDB table, written on the condition that nobody else's is there. It
is held by a lease that is renewed while the operation goes on and runs out by itself after a kill,
by AWS's clock and nobody's own; on the machine where it was taken, a process that has died gives it
up at once. Pulumi has a lock of its own, which is looked at as well.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import getpass
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

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
_PROCESSES: Final = Path("/proc")
"""Where Linux tells of its processes; other systems have no such folder."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds an environment's lock."""

    run: str
    command: str
    operator: str
    host: str
    pid: int
    process: str
    """Tells the process from a later one with the same number: `machine/when it began`."""
    acquired: str
    """UTC."""

    @classmethod
    def this_process(cls, run: str, command: str, operator: str, now: dt.datetime) -> Self:
        """Describe this process as the holder."""
        return cls(
            run=run,
            command=command,
            operator=operator,
            host=host(),
            pid=os.getpid(),
            process=f"{_machine()}/{_began(os.getpid())}",
            acquired=now.isoformat(timespec="seconds"),
        )

    @property
    def has_died(self) -> bool:
        """Tell whether it certainly has: it was on this machine and is there no more.

        Machines share names, containers a machine and not its processes, and a restart looks like
        another machine: then the lease decides.
        """
        return self.host == host() and self.is_gone

    @property
    def is_gone(self) -> bool:
        """Tell whether its process has ended, where this one would see it if it had not."""
        machine, _, began = self.process.rpartition("/")
        if not machine or machine != _machine():
            return False
        now = _began(self.pid)
        return not is_there(self.pid) or bool(began and now and began != now)

    @property
    def is_before_a_restart(self) -> bool:
        """Tell whether a machine of this name was started anew since, or is another one."""
        boot = self.process.partition(":")[0].partition("/")[0]
        return self.host == host() and bool(boot and _boot()) and boot != _boot()


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lock that somebody holds."""

    holder: Holder
    expires: dt.datetime
    seen: dt.datetime
    """When that was read, by the same clock."""

    @property
    def has_run_out(self) -> bool:
        """Tell whether anybody may take it over."""
        return self.expires <= self.seen or self.holder.has_died


class Lock:
    """The lock of one environment."""

    def __init__(
        self, client: Any, table: str, environment: str, *, now: Callable[[], dt.datetime]
    ) -> None:
        """`client`: a boto3 client of DynamoDB. `now`: this machine's clock."""
        self._client = client
        self._table = table
        self._environment = environment
        self._now = now
        self._ahead = dt.timedelta()
        """How far AWS's clock is ahead of this machine's: leases are AWS's time, since a machine
        whose clock is fast would else take over what is held."""
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
        self._take_time(answer)
        item = answer.get("Item")
        return _held(item, self._time()) if item else None

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
        self._remove(held, "#holder = :holder")

    def _remove(self, held: Held, condition: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        values = {":holder": _map(held.holder), ":expiry": _seconds(held.expires)}
        names = {"#holder": _HOLDER, "#expiry": EXPIRY}
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=self._key(),
                ConditionExpression=condition,
                # DynamoDB takes no name and no value that the condition does not have.
                ExpressionAttributeNames={key: names[key] for key in names if key in condition},
                ExpressionAttributeValues={key: values[key] for key in values if key in condition},
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
        held = self.status()  # tells AWS's time as well, before anything is written by it
        if held and held.holder != holder:
            if not held.has_run_out:
                raise RefusedError(_refusal(self._environment, held))
            # Not one that was renewed since it was looked at.
            self._remove(held, "#holder = :holder AND #expiry = :expiry")
        if self._put(holder):
            return
        held = self.status()
        if held:
            raise RefusedError(_refusal(self._environment, held))
        raise RefusedError(
            f"The lock of {self._environment} goes from hand to hand. Nothing was done. Try again."
        )

    def _put(self, holder: Holder) -> bool:
        """Write it where nobody's is there, and tell whether it is ours.

        It is as well where the answer was lost on the way, and botocore asks again.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        self._renewed = time.monotonic()
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**self._key(), EXPIRY: self._expiry(), _HOLDER: _map(holder)},
                ConditionExpression="attribute_not_exists(#key) OR #holder = :holder",
                ExpressionAttributeNames={"#key": KEY, "#holder": _HOLDER},
                ExpressionAttributeValues={":holder": _map(holder)},
            )
        except (BotoCoreError, ClientError) as error:
            if _is_refused(error):
                return False
            raise OpsError(
                f"The lock of {self._environment} in {self._table} could not be taken: "
                f"{error}. Nothing was done."
            ) from error
        return True

    def _renew(self, holder: Holder, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            asked = time.monotonic()
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=self._key(),
                    UpdateExpression="SET #expiry = :expiry",
                    ConditionExpression="#holder = :holder",
                    ExpressionAttributeNames={"#expiry": EXPIRY, "#holder": _HOLDER},
                    ExpressionAttributeValues={
                        ":expiry": self._expiry(),
                        ":holder": _map(holder),
                    },
                )
                self._renewed = asked
                self._take_time(answer)
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

    def _expiry(self) -> dict[str, str]:
        return _seconds(self._time() + dt.timedelta(seconds=LEASE_SECONDS))

    def _time(self) -> dt.datetime:
        """Give AWS's time, as far as it has told; else this machine's."""
        return self._now() + self._ahead

    def _take_time(self, answer: Mapping[str, Any]) -> None:
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._ahead = email.utils.parsedate_to_datetime(said) - self._now()
        except (ValueError, TypeError):
            return  # what has not told keeps the time that was known


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
    return access.caller or f"{getpass.getuser()}@{host()}"


def _refusal(environment: str, held: Held) -> str:
    holder = held.holder
    return (
        f"Somebody works on {environment}. Nothing was done.\n"
        f"    {holder.command} (run {holder.run}) by {holder.operator}, "
        f"on {holder.host} since {holder.acquired}\n"
        f"It holds the lock until {held.expires:%Y-%m-%d %H:%M:%S} UTC, and longer while it runs. "
        f"Wait for it, or see: ops lock status {environment}"
    )


def _held(item: dict[str, Any], seen: dt.datetime) -> Held:
    said = {name: value["S"] for name, value in item[_HOLDER]["M"].items()}
    return Held(
        holder=Holder(**{**said, "pid": int(said["pid"])}),
        expires=dt.datetime.fromtimestamp(int(item[EXPIRY]["N"]), tz=dt.UTC),
        seen=seen,
    )


def _map(holder: Holder) -> dict[str, Any]:
    return {"M": {name: {"S": str(value)} for name, value in asdict(holder).items()}}


def _seconds(moment: dt.datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()))}


def _is_refused(error: Exception) -> bool:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return bool(code == "ConditionalCheckFailedException")


def host() -> str:
    """Give this machine's name, as Pulumi writes it into its locks as well."""
    return socket.gethostname()


def is_there(pid: int) -> bool:
    """Tell whether there is a process of this number, as far as this one can see."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def began(pid: int) -> dt.datetime | None:
    """Give when a process began; None where the system does not tell."""
    ticks = _began(pid)
    if not ticks:
        return None
    running = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=running)


def _machine() -> str:
    """Give which start of which machine this is, and whose processes of it are seen here.

    Containers on one machine have its name and its start in common, and may have the same numbers
    for other processes. Empty where the system does not tell.
    """
    boot = _boot()
    if not _PROCESSES.is_dir():
        return boot
    try:
        namespace = str((_PROCESSES / "self" / "ns" / "pid").readlink())
    except OSError:
        return ""
    return f"{boot}:{namespace}" if boot else ""


def _boot() -> str:
    """Give which start of which machine this is; empty where the system does not tell."""
    try:
        if _PROCESSES.is_dir():
            return (_PROCESSES / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        answer = subprocess.run(
            ["sysctl", "-n", "kern.bootsessionuuid"],  # noqa: S607 - macOS's own
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _began(pid: int) -> str:
    """Give when a process began, in ticks since the start; empty where the system does not tell."""
    try:
        text = (_PROCESSES / str(pid) / "stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]

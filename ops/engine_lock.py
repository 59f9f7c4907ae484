"""Pulumi's own lock of a stack: who holds it, and how it goes where an update has died.

A backend keeps an object for the update that works on a stack. Nothing takes away the one of an
update that was killed, and `pulumi cancel` takes away whatever it finds for the stack of the folder
that it is run in: so it is run here, for the stack that is meant and where its state is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ops import homes, lock, stack
from ops.access import project, stack_name
from ops.errors import IncompleteError, RefusedError, UsageError
from ops.foundation import NoFoundationError, foundation
from ops.render import Line

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from ops.access import Access, StackKind
    from ops.homes import Home, InlineKind

FOLDER: Final = ".pulumi/locks/organization"
"""Where a backend's locks are: Pulumi fixes it."""
TOLERANCE: Final = dt.timedelta(minutes=1)
"""A process that began so long after a lock was taken is not the one that took it."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """An update that holds a stack's lock, as far as it has told who it is."""

    place: str
    """Of the object that is the lock."""
    user: str = "unknown"
    host: str = "unknown"
    pid: int = 0
    since: str = ""

    @property
    def has_died(self) -> bool:
        """Tell whether it certainly has: it was on this machine, and its process is not there."""
        if self.host != lock.host() or self.pid <= 0:
            return False
        began, since = lock.began(self.pid), _moment(self.since)
        another = bool(began and since and began > since + TOLERANCE)
        return another or not lock.is_there(self.pid)

    def __str__(self) -> str:
        """Give it as people read it."""
        gone = "; no such process is seen on this machine" if self.has_died else ""
        return (
            f"{self.user}@{self.host}, process {self.pid}, since {self.since or 'unknown'}{gone}"
            f" ({self.place})"
        )


@dataclass(frozen=True, kw_only=True)
class Held:
    """The lock of a stack that somebody holds."""

    stack: str
    """`project/name`."""
    backend: str
    said: tuple[str, ...]
    """Who holds it; empty where the backend does not tell."""


def release_command(mode: str, environment: str, kind: StackKind) -> str:
    """Give the command that releases Pulumi's lock of a stack, and of no other."""
    sandbox = "--sandbox " if mode == "sandbox" else ""
    chosen = "" if kind == "environment" else f" --stack {kind}"
    return f"ops {sandbox}lock release {environment} --pulumi{chosen}"


def advice(mode: str, environment: str, kind: StackKind = "environment") -> str:
    """Say how the lock of an update that has died is released."""
    # Run bare in the project's folder, `pulumi cancel` means the environment's stack.
    bare = f" (bare: `pulumi cancel -s {environment}`)" if kind == "environment" else ""
    return f"`{release_command(mode, environment, kind)}`{bare}"


def kind_of(name: str) -> StackKind:
    """Give the kind of a stack by its name with its project, as a header has it."""
    kinds: tuple[StackKind, ...] = ("bootstrap", "account")
    of = name.partition("/")[0]
    return next((kind for kind in kinds if project(kind) == of), "environment")


def running(access: Access, kind: StackKind = "environment") -> tuple[str, ...]:
    """Say who holds Pulumi's lock of a stack; empty where nobody does, or none can tell.

    Raises `IncompleteError` where that cannot be read.
    """
    if kind == "environment":
        return _running(access, kind, access.backend)
    home = homes.find(access, kind)
    return _running(access, kind, home.url) if home else ()


def refuse_running(access: Access) -> None:
    """Refuse while an update of Pulumi's own holds the lock of the environment's stack.

    Raises `RefusedError` with who holds it, `IncompleteError` where that cannot be read.
    """
    if found := running(access):
        env = access.environment
        raise RefusedError(
            f"A Pulumi update of {env} holds the stack's lock. Nothing was done.\n"
            + "\n".join(found)
            + "\nWait for it to end. If it certainly has died, release its lock with "
            f"{advice(access.mode, env)}."
        )


def look(access: Access, kind: StackKind) -> Held:
    """Look who holds Pulumi's lock of a stack; raises `UsageError` where nobody does."""
    backend = _backend(access, kind)
    said = _running(access, kind, backend)
    name = f"{project(kind)}/{stack_name(kind, access.settings)}"
    if not said and not _is_secretive(backend):
        raise UsageError(
            f"No Pulumi update holds the lock of {name} in {backend}. Nothing was released."
        )
    return Held(stack=name, backend=backend, said=said)


def lines(held: Held) -> Iterator[Line]:
    """Give who holds a lock as people read it."""
    yield Line(f"Pulumi's lock of {held.stack} in {held.backend}:", "yellow")
    for item in held.said:
        yield Line(f"    {item.strip()}")
    if not held.said:
        yield Line("    who holds it is told by Pulumi Cloud's own page of the stack")


def refuse_release(access: Access, held: Held, *, yes: bool) -> None:
    """Refuse what nobody looks at, and while an operation of ops is at work."""
    if yes:
        raise RefusedError(
            f"Whether the update of {held.stack} has died is for somebody to judge who sees who "
            "holds the lock: it is not released unasked. Nothing was released. Run it at a "
            "terminal, without --yes."
        )
    env = access.environment
    try:
        table = foundation(access).lock_table
    except NoFoundationError:
        return
    operation = lock.environment_lock(access, table).status()
    if operation and not operation.has_run_out:
        holder = operation.holder
        raise RefusedError(
            f"{holder.command} (run {holder.run}) by {holder.operator} works on {env}, and the "
            "update may be its own. Nothing was released. Wait for it, or end it where it runs; "
            f"if it certainly is no more: ops lock release {env}"
        )


def release(access: Access, kind: StackKind, held: Held) -> str:
    """Release the lock that was shown; give a sentence on what was done."""
    if look(access, kind) != held:
        raise RefusedError(
            f"The lock of {held.stack} has changed hands meanwhile. Nothing was released."
        )
    _cancel(stack.open_stack(access, kind, create=False, keyed=False))
    chosen = "" if kind == "environment" else f" --stack {kind}"
    return (
        f"Released the lock of {held.stack}. What the update had begun and not recorded is told "
        f"by: ops preview {access.environment}{chosen} --refresh"
    )


def release_dead(
    access: Access, kind: InlineKind, opened: Stack, home: Home, tell: Callable[[str], None]
) -> None:
    """Take away the lock that a killed update of this machine has left, and say so.

    The caller sees to it that nobody elsewhere works on the stack. In the sandbox the engine does
    it by itself.
    """
    if access.mode == "sandbox":
        return
    held = _updates(access, kind, home.url)
    if not held or not all(update.has_died for update in held):
        return
    _cancel(opened)
    for update in held:
        tell(f"Took away the lock that a killed update has left: {update}")


def _backend(access: Access, kind: StackKind) -> str:
    if kind == "environment":
        return access.backend
    home = homes.find(access, kind)
    if home is None:
        raise UsageError(
            f"There is no state of {project(kind)} on this machine, nor in a state bucket of "
            f"account {access.settings.account_id}: there is no lock. Nothing was released."
        )
    return home.url


def _cancel(opened: Stack) -> None:
    stack.run_cli(opened, ["cancel", "--yes", "--stack", opened.name])


def _running(access: Access, kind: StackKind, backend: str) -> tuple[str, ...]:
    if access.mode == "sandbox" and not backend.startswith("s3:"):
        from ops import sandbox

        found = sandbox.running_update(access, kind, backend)
        return (found,) if found else ()
    return tuple(f"    {update}" for update in _updates(access, kind, backend))


def _is_secretive(backend: str) -> bool:
    """Tell whether a backend is one that has nothing to read: Pulumi Cloud."""
    return urlsplit(backend).scheme in ("http", "https")


def _updates(access: Access, kind: StackKind, backend: str) -> tuple[Update, ...]:
    """Read the locks of a stack. Raises `IncompleteError` where that cannot be done."""
    where = urlsplit(backend)
    path = f"{FOLDER}/{project(kind)}/{stack_name(kind, access.settings)}/"
    if where.scheme == "file":
        return tuple(_in_folder(Path(backend.removeprefix("file://")) / path))
    if where.scheme == "s3":
        folder = where.path.strip("/")
        key = f"{folder}/{path}" if folder else path
        # The deploy role is for the environment's stack: the others are worked on by oneself.
        client = access.client if kind == "environment" else access.own_client
        return tuple(_in_bucket(client("s3"), where.netloc, key, access.settings.account_id))
    return ()


def _in_folder(folder: Path) -> Iterator[Update]:
    try:
        for file in sorted(folder.glob("*.json")):
            yield _read(str(file), file.read_bytes())
    except OSError as error:
        raise IncompleteError(
            f"Whether a Pulumi update runs could not be read from {folder}: {error.strerror}. "
            "Nothing was done."
        ) from error


def _in_bucket(s3: Any, bucket: str, prefix: str, owner: str) -> Iterator[Update]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=owner)
        for item in answer.get("Contents", []):
            key = item["Key"]
            try:
                found = s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=owner)
            except s3.exceptions.NoSuchKey:
                continue  # it has ended meanwhile
            yield _read(f"s3://{bucket}/{key}", found["Body"].read())
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether a Pulumi update runs could not be read from s3://{bucket}/{prefix}: {error}. "
            "Nothing was done."
        ) from error


def _read(place: str, content: bytes) -> Update:
    """Read what an update has told of itself; one that was cut short has told nothing."""
    try:
        said: Any = json.loads(content)
        return Update(
            place=place,
            user=str(said["username"]),
            host=str(said["hostname"]),
            pid=int(said["pid"]),
            since=str(said["timestamp"]),
        )
    except (ValueError, KeyError, TypeError):
        return Update(place=place)


def _moment(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None

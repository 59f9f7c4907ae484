"""Where stacks are kept: a directory or a bucket in the layout of Pulumi's self-managed backends.

Under ``.pulumi``: ``stacks/<project>/<stack>.json`` (with ``.json.bak``),
``history/<project>/<stack>/``, ``locks/organization/<project>/<stack>/``. What belongs to this
machine alone is in the backend's own directory, whatever holds the rest: the ``.journal`` of an
update that runs, what Pulumi would write into the stack's file and which cloud the state describes
(``sandbox/<project>/<stack>.json``), and the selected stacks.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from infra.sandbox.engine import checkpoint
from infra.sandbox.engine.checkpoint import Document, Kept, SecretForm
from infra.sandbox.engine.journal import recover
from infra.sandbox.engine.state import Snapshot
from infra.sandbox.engine.storage import storage_error, write_atomic
from infra.sandbox.engine.store import (
    FOLDER,
    BucketStore,
    FileStore,
    Store,
    bucket,
    directory,
    is_other,
    lock_content,
    lock_owner,
)

ORGANIZATION: Final = "organization"

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_META: Final = b"version: 1\n"
_META_KEY: Final = "meta.yaml"
_UNKNOWN_OWNER: Final[Mapping[str, Any]] = {
    "pid": 0,
    "username": "unknown",
    "hostname": "unknown",
    "timestamp": "",
    "command": "not told",
}


class BackendError(Exception):
    """A stack cannot be used as asked; the message is for the user."""


class StackNotFoundError(BackendError):
    """There is no stack of this name."""


class LockedError(BackendError):
    """Another update of the stack is running."""


class OtherCloudError(BackendError):
    """The state describes another cloud than the one that is there."""


@dataclass(frozen=True, order=True)
class StackReference:
    """A stack's full name."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{ORGANIZATION}/{self.project}/{self.name}"


def parse_reference(text: str, project: str) -> StackReference:
    """Read ``dev``, ``<project>/dev`` or ``organization/<project>/dev``; `project` is the default.

    Raises `BackendError` for a name that Pulumi does not allow either.
    """
    match text.split("/"):
        case [name]:
            reference = StackReference(project, name)
        case [stack_project, name] | ["organization", stack_project, name]:
            reference = StackReference(stack_project, name)
        case _:
            raise BackendError(
                f"{text!r} is no stack name: expected 'dev' or '{ORGANIZATION}/{project}/dev'"
            )
    for part in (reference.project, reference.name):
        if not _NAME.fullmatch(part) or not part.strip("."):
            raise BackendError(
                f"{text!r} is not allowed: a stack name may only contain alphanumeric, hyphens, "
                "underscores, and periods, 100 of them at most"
            )
    return reference


@dataclass(frozen=True)
class StackRecord:
    """What the sandbox keeps about a stack beside its state."""

    cloud: str | None = None
    """The identity of the cloud that the state describes; None until there is one."""
    edits: Mapping[str, list[Document]] = field(default_factory=dict)
    """Configuration overrides (`config.Edit`) by stack file name."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StackState:
    """A stack's state as it lies on the disk, not yet decoded."""

    reference: StackReference
    deployment: Document
    digest: str
    journal: Path | None
    """The journal of a running or killed update, if there is one."""

    @property
    def secrets_state(self) -> str | None:
        """Give the state of the crypter that the secrets are encrypted with."""
        return checkpoint.secrets_state(self.deployment)

    @property
    def updated(self) -> str:
        """Give when the state was last written, RFC 3339."""
        return str((self.deployment.get("manifest") or {}).get("time", ""))

    def snapshot(self, form: SecretForm) -> Snapshot:
        """Decode, with what a journal has added since."""
        base = checkpoint.decode_deployment(self.deployment, form)
        if self.journal is None:
            return base
        recovered = recover(self.journal, base, self.digest, form)
        return base if recovered is None else recovered


@dataclass(frozen=True)
class Owner:
    """Who holds a stack's lock."""

    pid: int
    username: str
    hostname: str
    timestamp: str
    command: str


@dataclass(frozen=True)
class Lock:
    """A held lock; `note` tells of an earlier owner that did not end properly."""

    cancel_file: Path
    note: str | None

    def cancel_requested(self) -> bool:
        """Tell whether someone asked the update to stop."""
        return self.cancel_file.exists()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Backend:
    """The stacks of one directory or bucket."""

    def __init__(
        self,
        root: Path,
        *,
        version: str,
        now: Callable[[], str] = _now,
        store: BucketStore | None = None,
        url: str = "",
    ) -> None:
        """Open the backend; `version` (``v3.…``) and the time go into state files.

        `store`: the bucket that has the stacks; `root` then has only what is this machine's own.
        """
        self.root = root
        self.url = url or f"file://{root}"
        self._base = root / FOLDER
        self._bucket = store
        self._store: Store = store or FileStore(self._base)
        self._version = version
        self.now = now

    # Stacks -------------------------------------------------------------------------------------

    def stacks(self, project: str | None = None) -> list[StackReference]:
        """List the stacks of a project, or of all."""
        prefix = f"stacks/{project}/" if project else "stacks/"
        parts = [key.split("/") for key in self._store.keys(prefix) if key.endswith(".json")]
        return sorted(StackReference(item[1], item[2].removesuffix(".json")) for item in parts)

    def exists(self, reference: StackReference) -> bool:
        """Tell whether the stack is there."""
        return self._store.has(self._checkpoint(reference))

    def create(self, reference: StackReference, secrets_state: str) -> None:
        """Make an empty stack; raises `BackendError` if it exists."""
        if self.exists(reference):
            raise BackendError(f"stack '{reference.name}' already exists")
        if not self._store.has(_META_KEY):
            self._store.write(_META_KEY, _META)
        self._write(reference, Snapshot(), Kept(), secrets_state)

    def open(self, reference: StackReference) -> StackState:
        """Read a stack's state; raises `StackNotFoundError`."""
        content = self._store.read(self._checkpoint(reference))
        if content is None:
            raise StackNotFoundError(f"no stack named '{reference.name}' found")
        try:
            document = checkpoint.unwrap(json.loads(content), "checkpoint")
        except (ValueError, checkpoint.CheckpointError) as error:
            place = self._store.where(self._checkpoint(reference))
            raise BackendError(
                f"the state file {place} cannot be read: {error}. Nothing was changed. Its last "
                f"good version is {self._store.where(self._backup(reference))}"
            ) from error
        journal = self._journal(reference)
        return StackState(
            reference,
            document.get("latest") or {},
            hashlib.sha256(content).hexdigest(),
            journal if journal.exists() else None,
        )

    def save(
        self,
        reference: StackReference,
        snapshot: Snapshot,
        form: SecretForm,
        secrets_state: str,
    ) -> None:
        """Replace a stack's state, keeping the former as its backup; a journal is then done with.

        The caller holds the stack's lock.
        """
        key = self._checkpoint(reference)
        if self._store.has(key):
            self._store.keep(key, self._backup(reference))
        self._write(reference, snapshot, form, secrets_state)
        self._journal(reference).unlink(missing_ok=True)

    def fold(self, reference: StackReference) -> bool:
        """Bring what a killed update recorded into the state; tell whether there was anything.

        The caller holds the stack's lock.
        """
        state = self.open(reference)
        if state.journal is None:
            return False
        base = checkpoint.decode_deployment(state.deployment, Kept())
        recovered = recover(state.journal, base, state.digest, Kept())
        if recovered is None or recovered == base:
            state.journal.unlink()
            return False
        self.save(reference, recovered, Kept(), state.secrets_state or "")
        return True

    def remove(self, reference: StackReference, *, force: bool) -> None:
        """Remove a stack with its history; one that has resources only by `force`."""
        if self.open(reference).snapshot(Kept()).resources and not force:
            raise BackendError(
                f"'{reference.name}' still has resources; removal rejected. Possible actions:\n"
                f"- Make sure that '{reference.name}' is the stack that you want to destroy\n"
                "- Run `pulumi destroy` to delete the resources, then run `pulumi stack rm`\n"
                "- Run `pulumi stack rm --force` to override this error"
            )
        for key in (
            self._checkpoint(reference),
            self._backup(reference),
            *self._store.keys(self._history(reference)),
        ):
            self._store.delete(key)
        for path in (self._journal(reference), self._record(reference)):
            path.unlink(missing_ok=True)
        if self.selected(reference.project) == reference.name:
            self._selection(reference.project).unlink()

    def rename(
        self,
        old: StackReference,
        new: StackReference,
        rewrite: Callable[[Snapshot], Snapshot],
    ) -> None:
        """Give a stack another name; `rewrite` renames it in the URNs."""
        if self.exists(new):
            raise BackendError(f"a stack named {new.name} already exists")
        state = self.open(old)
        snapshot = rewrite(state.snapshot(Kept()))
        self._write(new, snapshot, Kept(), state.secrets_state or "")
        self.write_record(new, self.record(old))
        for key in self._store.keys(self._history(old)):
            self._store.keep(key, self._history(new) + key.removeprefix(self._history(old)))
        if self.selected(old.project) == old.name:
            self.select(new)
        self.remove(old, force=True)

    def journal_path(self, reference: StackReference) -> Path:
        """Give where an update's journal is to be written."""
        return self._journal(reference)

    # What is kept beside the state --------------------------------------------------------------

    def record(self, reference: StackReference) -> StackRecord:
        """Read what the sandbox keeps about a stack."""
        path = self._record(reference)
        if not path.exists():
            return StackRecord()
        try:
            return StackRecord(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise BackendError(
                f"the file {path} is damaged ({error}). Nothing was changed. It holds the stack's "
                "configuration overrides and tags: restore it, or delete it to do without them"
            ) from error

    def write_record(self, reference: StackReference, record: StackRecord) -> None:
        """Replace what the sandbox keeps about a stack."""
        content = json.dumps(asdict(record), indent=2, ensure_ascii=False)
        write_atomic(self._record(reference), content.encode() + b"\n")

    @contextlib.contextmanager
    def editing_record(self, reference: StackReference) -> Iterator[None]:
        """Let nobody else edit the stack's record meanwhile."""
        path = self._record(reference).with_suffix(".guard")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def bind_cloud(self, reference: StackReference, identity: str | None, *, empty: bool) -> None:
        """Note which cloud the state describes; raises `OtherCloudError` if it is another.

        A state without resources (`empty`) describes none, and takes the one that is there.
        """
        record = self.record(reference)
        if identity is None or record.cloud == identity:
            return
        if record.cloud is not None and not empty:
            raise OtherCloudError(
                f"the state of stack '{reference.name}' describes another cloud than the one that "
                f"is running: found {identity}, expected {record.cloud}. Nothing was done. A "
                "sandbox's cloud ends with its server: start anew with `ops sandbox reset`, or "
                "bring back the server that the state describes"
            )
        with self.editing_record(reference):
            self.write_record(reference, replace(self.record(reference), cloud=identity))

    def selected(self, project: str) -> str | None:
        """Give the name of the project's selected stack."""
        path = self._selection(project)
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    def select(self, reference: StackReference) -> None:
        """Select a stack for its project."""
        write_atomic(self._selection(reference.project), reference.name.encode() + b"\n")

    # History ------------------------------------------------------------------------------------

    def add_history(self, reference: StackReference, update: Document) -> None:
        """Take an update into the history, with a copy of the state that it led to."""
        stem = f"{reference.name}-{time.time_ns()}"
        folder = self._history(reference)
        version = len(self._updates(reference)) + 1
        content = json.dumps({**update, "version": version}, indent=4, ensure_ascii=False)
        self._store.write(f"{folder}{stem}.history.json", content.encode() + b"\n")
        self._store.keep(self._checkpoint(reference), f"{folder}{stem}.checkpoint.json")

    def history(self, reference: StackReference) -> list[Document]:
        """Give the updates, the newest first."""
        found = (self._store.read(key) for key in reversed(self._updates(reference)))
        return [json.loads(content) for content in found if content is not None]

    def _updates(self, reference: StackReference) -> list[str]:
        keys = self._store.keys(self._history(reference))
        return [key for key in keys if key.endswith(".history.json")]

    # Locks --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, reference: StackReference, command: str) -> Iterator[Lock]:
        """Hold the stack's lock; raises `LockedError` naming who holds it.

        The operating system ends the lock with its process. What a process that was killed wrote
        about itself is still there, and is told in `Lock.note`.
        """
        path = self._owner(reference)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise storage_error(path, error) from error
        with file:
            former = _read_owner(path)
            if not _flock(file.fileno(), patience_seconds=0.2):
                raise LockedError(_locked_text(reference, path, former))
            me = Owner(os.getpid(), username(), socket.gethostname(), self.now(), command)
            if former is not None and former.hostname != me.hostname:
                raise LockedError(_locked_text(reference, path, former))
            _write_owner(path, me)
            cancel = self._cancel(reference)
            cancel.unlink(missing_ok=True)
            try:
                with self._locked_in_bucket(reference, me):
                    yield Lock(cancel, _takeover_note(former) if former else None)
            finally:
                _write_owner(path, None)
                cancel.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked_in_bucket(self, reference: StackReference, me: Owner) -> Iterator[None]:
        """Hold the lock object that Pulumi's S3 backend has, where the state is in a bucket.

        One that a killed process of this machine has left is taken away.
        """
        if self._bucket is None:
            yield
            return
        folder = f"locks/{reference}/"
        for key in self._store.keys(folder):
            holder = lock_owner(self._store.read(key) or b"")
            if holder.get("hostname") != me.hostname or _is_alive(holder.get("pid")):
                raise LockedError(_object_text(reference, self._store.where(key), holder))
            self._store.delete(key)
        own = f"{folder}{uuid.uuid4()}.json"
        self._store.write(own, lock_content(me.pid, me.username, me.hostname, me.timestamp))
        try:
            yield
        finally:
            self._store.delete(own)

    def running(self, reference: StackReference) -> Owner | None:
        """Give the owner of the stack's lock, if an update is running.

        One that has not yet told who it is has the process id 0.
        """
        path = self._owner(reference)
        if not path.exists():
            return None
        with path.open("r", encoding="utf-8") as file:
            # Shared: of two that only look, neither is taken for an update.
            if _flock(file.fileno(), patience_seconds=0.2, kind=fcntl.LOCK_SH):
                return None
        unknown = Owner(0, "unknown", socket.gethostname(), self.now(), "not told yet")
        return _read_owner(path) or unknown

    def request_cancel(self, reference: StackReference) -> Owner:
        """Ask the running update to stop; raises `BackendError` where none is running.

        A lock that a process of another host left behind is removed: nothing tells if it lives.
        """
        owner = self.running(reference)
        if owner is not None:
            write_atomic(self._cancel(reference), f"{owner.pid}\n".encode())
            return owner
        for key in self._store.keys(f"locks/{reference}/") if self._bucket else ():
            holder = lock_owner(self._store.read(key) or b"")
            self._store.delete(key)
            return Owner(**{**_UNKNOWN_OWNER, **holder})
        path = self._owner(reference)
        left = _read_owner(path) if path.exists() else None
        if left is None or left.hostname == socket.gethostname():
            raise BackendError(
                f"no update of stack '{reference.name}' is running: there is nothing to cancel"
            )
        _write_owner(path, None)
        return left

    # Files --------------------------------------------------------------------------------------

    def _write(
        self, reference: StackReference, snapshot: Snapshot, form: SecretForm, secrets_state: str
    ) -> None:
        deployment = self.deployment(snapshot, form, secrets_state)
        document = checkpoint.checkpoint_document(str(reference), deployment)
        content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        self._store.write(self._checkpoint(reference), content + b"\n")

    def deployment(self, snapshot: Snapshot, form: SecretForm, secrets_state: str) -> Document:
        """Encode a snapshot as this backend's state files and exports hold it."""
        return checkpoint.encode_deployment(
            snapshot, form, secrets_state=secrets_state, time=self.now(), version=self._version
        )

    def _checkpoint(self, reference: StackReference) -> str:
        return f"stacks/{reference.project}/{reference.name}.json"

    def _backup(self, reference: StackReference) -> str:
        return f"{self._checkpoint(reference)}.bak"

    def _history(self, reference: StackReference) -> str:
        return f"history/{reference.project}/{reference.name}/"

    def _journal(self, reference: StackReference) -> Path:
        return self._base / "stacks" / reference.project / f"{reference.name}.journal"

    def _owner(self, reference: StackReference) -> Path:
        return self._base / "locks" / str(reference) / "owner.json"

    def _cancel(self, reference: StackReference) -> Path:
        return self._owner(reference).with_name("cancel")

    def _record(self, reference: StackReference) -> Path:
        return self._base / "sandbox" / reference.project / f"{reference.name}.json"

    def _selection(self, project: str) -> Path:
        return self._base / "workspaces" / project


def open_backend(
    url: str,
    home: Path,
    environment: Mapping[str, str],
    *,
    version: str,
    now: Callable[[], str] = _now,
) -> Backend:
    """Open the backend of an address, as in ``PULUMI_BACKEND_URL``; of none, the sandbox's own.

    `home` is the sandbox's. Raises `BackendError` for Pulumi Cloud and for other clouds' buckets.
    """
    if not url:
        return Backend(home, version=version, now=now)
    if is_other(url):
        raise BackendError(
            f"the sandbox has no backend {url!r}: expected file://DIRECTORY, or s3://BUCKET in the "
            "sandbox's own cloud. Nothing was done"
        )
    if url.startswith("file:"):
        return Backend(directory(url), version=version, now=now)
    name, store = bucket(url, environment)
    return Backend(home / FOLDER / "buckets" / name, version=version, now=now, store=store, url=url)


def username() -> str:
    """Give the name of who runs this; the user id where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _flock(descriptor: int, *, patience_seconds: float, kind: int = fcntl.LOCK_EX) -> bool:
    # Whoever only looks whether an update runs holds the lock too, for a moment.
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _read_owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None  # empty: nobody; half written: its owner was killed in that moment


def _write_owner(path: Path, owner: Owner | None) -> None:
    # In place, since the lock is on this very file.
    try:
        path.write_text(json.dumps(asdict(owner)) if owner else "", encoding="utf-8")
    except OSError as error:
        raise storage_error(path, error) from error


def _described(owner: Owner) -> str:
    return (
        f"created by {owner.username}@{owner.hostname} (pid {owner.pid}) at {owner.timestamp}, "
        f"running `{owner.command}`"
    )


def _locked_text(reference: StackReference, path: Path, owner: Owner | None) -> str:
    who = _described(owner) if owner else "its owner has not yet told who it is"
    return (
        "[409] Conflict: Another update is currently in progress.\n"
        f"the stack '{reference.name}' was left as it is: the stack is currently locked by 1 "
        "lock(s). Either wait for the other process(es) to end or ask it to stop with "
        f"`pulumi cancel`.\n  {path}: {who}"
    )


def _is_alive(pid: object) -> bool:
    """Tell whether another process has this number."""
    return isinstance(pid, int) and pid != os.getpid() and Path(f"/proc/{pid}").exists()


def _object_text(reference: StackReference, place: str, holder: Mapping[str, object]) -> str:
    who = "{username}@{hostname} (pid {pid}) at {timestamp}".format_map(
        {name: holder.get(name, "unknown") for name in ("username", "hostname", "pid", "timestamp")}
    )
    return (
        "[409] Conflict: Another update is currently in progress.\n"
        f"the stack '{reference.name}' was left as it is: the stack is currently locked by 1 "
        "lock(s). Either wait for the other process(es) to end or delete the lock file with "
        f"`pulumi cancel`.\n  {place}: created by {who}"
    )


def _takeover_note(owner: Owner) -> str:
    return f"took over the lock of an update that did not end: {_described(owner)}"

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.sandbox.engine.backend import (
    Backend,
    BackendError,
    LockedError,
    OtherCloudError,
    Owner,
    StackNotFoundError,
    StackReference,
    parse_reference,
)
from infra.sandbox.engine.checkpoint import Encrypted, Kept
from infra.sandbox.engine.journal import FileJournal
from infra.sandbox.engine.secrets import Crypter
from infra.sandbox.engine.state import Operation, Put, Snapshot
from infra.sandbox.engine.storage import StorageError, write_atomic
from infra.sandbox.engine.wire import Secret
from tests.sandbox.engine.store_fakes import bucket, crypter, stack_resource

DEV = StackReference("shop", "dev")


@pytest.fixture
def own(tmp_path: Path) -> Crypter:
    return crypter(tmp_path)


@pytest.fixture
def backend(tmp_path: Path, own: Crypter) -> Backend:
    backend = Backend(tmp_path / "home", version="v3.259.0")
    backend.create(DEV, own.state)
    return backend


def state_file(backend: Backend) -> Path:
    return backend.root / ".pulumi" / "stacks" / "shop" / "dev.json"


def owner_file(backend: Backend) -> Path:
    return backend.root / ".pulumi" / "locks" / "organization" / "shop" / "dev" / "owner.json"


def save(backend: Backend, own: Crypter, *names: str) -> None:
    resources = (stack_resource({"s": Secret("hush")}), *map(bucket, names))
    backend.save(DEV, Snapshot(resources), Encrypted(own), own.state)


def urn_names(backend: Backend) -> list[str]:
    return [entry.name for entry in backend.open(DEV).snapshot(Kept()).resources]


def test_the_layout_is_that_of_pulumis_file_backend(backend: Backend, own: Crypter) -> None:
    save(backend, own, "a")
    backend.add_history(DEV, {"kind": "update"})

    document = json.loads(state_file(backend).read_text())
    assert document["version"] == 3
    assert document["checkpoint"]["stack"] == "organization/shop/dev"
    assert [entry["type"] for entry in document["checkpoint"]["latest"]["resources"]] == [
        "pulumi:pulumi:Stack",
        "aws:s3/bucket:Bucket",
    ]
    assert (backend.root / ".pulumi" / "meta.yaml").read_text() == "version: 1\n"
    history = sorted((backend.root / ".pulumi" / "history" / "shop" / "dev").iterdir())
    assert [path.name.split(".", 1)[1] for path in history] == ["checkpoint.json", "history.json"]
    assert b"hush" not in state_file(backend).read_bytes()


def test_a_save_keeps_the_state_from_before_as_backup(backend: Backend, own: Crypter) -> None:
    save(backend, own, "a")
    before = state_file(backend).read_bytes()
    save(backend, own, "b")

    assert state_file(backend).with_name("dev.json.bak").read_bytes() == before
    assert urn_names(backend) == ["shop-dev", "b"]


def test_the_history_keeps_each_state_as_it_was(backend: Backend, own: Crypter) -> None:
    for name in ("a", "b"):
        save(backend, own, name)
        backend.add_history(DEV, {"kind": "update"})

    copies = sorted((backend.root / ".pulumi" / "history" / "shop" / "dev").glob("*.checkpoint*"))
    assert ["/bucket:Bucket::a" in copy.read_text() for copy in copies] == [True, False]
    assert [update["version"] for update in backend.history(DEV)] == [2, 1]


def test_a_missing_stack_is_told_in_the_clis_words(backend: Backend) -> None:
    with pytest.raises(StackNotFoundError, match="no stack named 'prod' found"):
        backend.open(StackReference("shop", "prod"))


def test_a_stack_is_not_made_twice(backend: Backend, own: Crypter) -> None:
    with pytest.raises(BackendError, match="stack 'dev' already exists"):
        backend.create(DEV, own.state)


def test_an_unreadable_state_names_its_backup(backend: Backend) -> None:
    state_file(backend).write_text("{half")

    with pytest.raises(BackendError, match=r"cannot be read.*Nothing was changed.*dev\.json\.bak"):
        backend.open(DEV)


def test_what_a_killed_update_recorded_is_seen_and_then_folded_into_the_state(
    backend: Backend, own: Crypter
) -> None:
    save(backend, own, "a")
    state = backend.open(DEV)
    form = Encrypted(own)
    base = state.snapshot(form)
    journal = FileJournal(backend.journal_path(DEV), base, state.digest, form)
    new = bucket("new", outputs={"p": Secret("hush")})
    journal.end(journal.begin(Operation(new, "creating")), Put(new))
    journal.begin(Operation(bucket("begun"), "creating"))

    assert "new" in urn_names(backend)
    assert backend.fold(DEV)
    assert not backend.journal_path(DEV).exists()
    folded = backend.open(DEV).snapshot(form)
    assert folded.by_urn()[new.urn] == new
    assert [operation.resource.name for operation in folded.pending_operations] == ["begun"]
    assert "::a" in state_file(backend).with_name("dev.json.bak").read_text()
    assert not backend.fold(DEV)


def test_a_journal_that_was_folded_before_its_removal_is_not_folded_twice(
    backend: Backend, own: Crypter
) -> None:
    state = backend.open(DEV)
    form = Encrypted(own)
    journal = FileJournal(backend.journal_path(DEV), Snapshot(), state.digest, form)
    journal.end(None, Put(stack_resource()))
    content = backend.journal_path(DEV).read_bytes()
    save(backend, own, "after")
    backend.journal_path(DEV).write_bytes(content)

    assert not backend.fold(DEV)
    assert urn_names(backend) == ["shop-dev", "after"]


def test_on_a_full_disk_the_state_from_before_is_still_there(
    backend: Backend, own: Crypter, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(backend, own, "a")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device.*nothing is lost: free some"):
        save(backend, own, "b")
    monkeypatch.undo()

    assert urn_names(backend) == ["shop-dev", "a"]
    assert not list(state_file(backend).parent.glob(".dev.json.*"))


def test_a_file_is_replaced_wholly_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")

    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_second_update_is_refused_and_told_who_runs_the_first(backend: Backend) -> None:
    with backend.lock(DEV, "pulumi up"):
        assert backend.running(DEV) is not None
        with (
            pytest.raises(LockedError) as refused,
            backend.lock(DEV, "pulumi destroy"),
        ):
            pass

    message = str(refused.value)
    assert "[409] Conflict: Another update is currently in progress." in message
    assert "the stack is currently locked by 1 lock(s)" in message
    assert f"pid {os.getpid()}" in message
    assert socket.gethostname() in message
    assert "running `pulumi up`" in message
    assert "pulumi cancel" in message
    assert backend.running(DEV) is None


def test_the_lock_of_a_killed_process_is_taken_over_with_a_note(backend: Backend) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from infra.sandbox.engine.backend import Backend, StackReference\n"
        "backend = Backend(Path(sys.argv[1]), version='v3.259.0')\n"
        "with backend.lock(StackReference('shop', 'dev'), 'pulumi up'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.run([sys.executable, "-c", script, str(backend.root)], check=False)

    assert child.returncode < 0
    with backend.lock(DEV, "pulumi up") as lock:
        assert lock.note is not None
        assert "took over the lock of an update that did not end" in lock.note
        assert "running `pulumi up`" in lock.note
    with backend.lock(DEV, "pulumi up") as lock:
        assert lock.note is None


def leave_lock_of(backend: Backend, host: str) -> None:
    with backend.lock(DEV, "pulumi up"):
        pass
    owner = Owner(1, "jane-doe", host, "2026-01-02T03:04:05Z", "pulumi up")
    owner_file(backend).write_text(json.dumps(vars(owner)))


def test_the_lock_of_another_host_is_respected_until_it_is_cancelled(backend: Backend) -> None:
    leave_lock_of(backend, "elsewhere")

    with pytest.raises(LockedError, match="jane-doe@elsewhere"), backend.lock(DEV, "pulumi up"):
        pass
    assert backend.request_cancel(DEV).hostname == "elsewhere"
    with backend.lock(DEV, "pulumi up") as lock:
        assert lock.note is None


def test_cancel_reaches_the_update_that_runs_and_no_later_one(backend: Backend) -> None:
    with backend.lock(DEV, "pulumi up") as lock:
        assert not lock.cancel_requested()
        assert backend.request_cancel(DEV).pid == os.getpid()
        assert lock.cancel_requested()
    with backend.lock(DEV, "pulumi up") as lock:
        assert not lock.cancel_requested()


def test_cancel_without_a_running_update_says_so(backend: Backend) -> None:
    with pytest.raises(BackendError, match="no update of stack 'dev' is running"):
        backend.request_cancel(DEV)


def test_a_state_refuses_another_cloud_than_its_own(backend: Backend) -> None:
    backend.bind_cloud(DEV, "cloud-1", empty=True)
    backend.bind_cloud(DEV, "cloud-1", empty=False)
    backend.bind_cloud(DEV, None, empty=False)

    with pytest.raises(OtherCloudError) as refused:
        backend.bind_cloud(DEV, "cloud-2", empty=False)

    message = str(refused.value)
    assert "found cloud-2, expected cloud-1" in message
    assert "Nothing was done" in message
    assert "ops sandbox reset" in message


def test_a_state_without_resources_takes_the_cloud_that_is_there(backend: Backend) -> None:
    backend.bind_cloud(DEV, "cloud-1", empty=True)
    backend.bind_cloud(DEV, "cloud-2", empty=True)

    assert backend.record(DEV).cloud == "cloud-2"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("dev", DEV),
        ("shop/dev", DEV),
        ("organization/shop/dev", DEV),
        ("organization/other/dev", StackReference("other", "dev")),
    ],
)
def test_stack_names_are_read_short_and_full(text: str, reference: StackReference) -> None:
    assert parse_reference(text, "shop") == reference


@pytest.mark.parametrize("text", ["", "a b", "a/b/c/d", "acme/shop/dev", "../x", "x" * 101])
def test_wrong_stack_names_are_refused(text: str) -> None:
    with pytest.raises(BackendError, match="stack name"):
        parse_reference(text, "shop")


def test_a_damaged_record_is_named(backend: Backend) -> None:
    path = backend.root / ".pulumi" / "sandbox" / "shop" / "dev.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")

    with pytest.raises(BackendError, match=r"sandbox/shop/dev\.json is damaged"):
        backend.record(DEV)

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.engine.checkpoint import Encrypted, Kept, verify
from infra.sandbox.engine.journal import FileJournal, JournalError, ordered, recover, replay
from infra.sandbox.engine.state import Drop, Operation, Put, Resource, Snapshot, Swap
from infra.sandbox.engine.storage import StorageError
from infra.sandbox.engine.wire import Secret
from tests.sandbox.engine.store_fakes import STACK_URN, bucket, stack_resource
from tests.sandbox.engine.store_fakes import crypter as make_crypter

STACK = stack_resource()
A, B, C = bucket("a"), bucket("b"), bucket("c")
BASE = Snapshot((STACK, A, B))
DIGEST = "digest-of-the-checkpoint"


@pytest.fixture
def form(tmp_path: Path) -> Encrypted:
    return Encrypted(make_crypter(tmp_path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stacks" / "dev.journal"


def start(path: Path, form: Encrypted, base: Snapshot = BASE) -> FileJournal:
    return FileJournal(path, base, DIGEST, form)


def recovered(path: Path, form: Encrypted, base: Snapshot = BASE) -> Snapshot:
    result = recover(path, base, DIGEST, form)
    assert result is not None
    return result


def names(snapshot: Snapshot) -> list[str]:
    return [entry.name + ("!" if entry.delete else "") for entry in snapshot.resources]


def test_a_journal_without_entries_leaves_the_deployment_as_it_is(
    path: Path, form: Encrypted
) -> None:
    start(path, form)

    assert recovered(path, form) == BASE


def test_what_the_update_put_comes_first_then_what_remains(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    journal.end(None, Put(STACK))
    journal.end(None, Put(C))

    assert names(recovered(path, form)) == ["shop-dev", "c", "a", "b"]


def test_a_later_put_of_a_urn_takes_the_place_of_the_earlier_one(
    path: Path, form: Encrypted
) -> None:
    journal = start(path, form)
    journal.end(None, Put(STACK))
    journal.end(None, Put(C))
    journal.end(None, Put(stack_resource({"out": 1})))

    result = recovered(path, form)
    assert names(result)[:2] == ["shop-dev", "c"]
    assert result.stack_outputs == {"out": 1}


def test_an_updated_resource_takes_the_place_of_the_one_before(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    begun = journal.begin(Operation(A, "updating"))
    changed = A.changed(outputs={"version": 2})
    journal.end(begun, Put(changed), Drop(A))

    result = recovered(path, form)
    assert [entry for entry in result.resources if entry.urn == A.urn] == [changed]
    assert result.pending_operations == ()


def test_both_halves_of_a_replacement_are_kept_until_the_old_one_is_deleted(
    path: Path, form: Encrypted
) -> None:
    journal = start(path, form)
    new = A.changed(id="a-new")
    journal.end(
        journal.begin(Operation(new, "creating")), Put(new), Swap(A, A.changed(delete=True))
    )
    assert names(recovered(path, form)) == ["shop-dev", "a", "a!", "b"]

    journal.end(journal.begin(Operation(A, "deleting")), Drop(A.changed(delete=True)))
    left = recovered(path, form)
    assert [entry.id for entry in left.resources if entry.urn == A.urn] == ["a-new"]


def test_a_dropped_resource_is_gone_and_nothing_refers_to_it(path: Path, form: Encrypted) -> None:
    dependent = bucket("d", dependencies=(A.urn,), property_dependencies={"k": (A.urn,)})
    base = Snapshot((STACK, A, dependent))
    journal = start(path, form, base)
    journal.end(journal.begin(Operation(A, "deleting")), Drop(A))

    result = recovered(path, form, base)
    assert names(result) == ["shop-dev", "d"]
    verify(result)


def test_a_refreshed_resource_stays_where_it_is(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    refreshed = A.changed(outputs={"drifted": True})
    journal.end(None, Swap(A, refreshed))
    journal.end(None, Swap(refreshed, refreshed.changed(protect=True)))

    result = recovered(path, form)
    assert names(result) == ["shop-dev", "a", "b"]
    assert result.resources[1].protect


def test_what_was_begun_and_not_ended_is_a_pending_operation(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    journal.begin(Operation(C, "creating"))

    assert recovered(path, form).pending_operations == (Operation(C, "creating"),)


@pytest.mark.parametrize(("keep", "pending"), [(True, 1), (False, 0)])
def test_a_failed_operation_stays_pending_only_where_its_effect_is_unclear(
    path: Path, form: Encrypted, keep: bool, pending: int
) -> None:
    journal = start(path, form)
    journal.fail(journal.begin(Operation(C, "creating")), keep=keep)

    assert len(recovered(path, form).pending_operations) == pending


def test_what_an_earlier_update_left_pending_is_kept_until_it_is_taken_up(
    path: Path, form: Encrypted
) -> None:
    create, update, delete = (
        Operation(C, "creating"),
        Operation(B, "updating"),
        Operation(A.changed(id="a-old"), "deleting"),
    )
    base = Snapshot((STACK, A, B), (create, update, delete))
    assert replay(base, []).pending_operations == (create, update, delete)

    journal = start(path, form, base)
    journal.end(journal.begin(create), Put(C))
    journal.begin(update)

    assert recovered(path, form, base).pending_operations == (delete, update)


def test_what_lay_below_a_resource_that_is_gone_lies_below_the_one_above_it(
    path: Path, form: Encrypted
) -> None:
    middle = bucket("middle", parent=STACK.urn)
    inner = bucket("inner", parent=middle.urn)
    leaf = bucket("leaf", parent=inner.urn)
    base = Snapshot((STACK, middle, inner, leaf))
    journal = start(path, form, base)
    journal.end(None, Drop(inner))
    journal.end(None, Drop(middle))

    result = recovered(path, form, base)
    assert result.by_urn()[leaf.urn].parent == STACK.urn
    verify(result)


def test_an_earlier_pending_create_ends_when_the_resource_is_put(
    path: Path, form: Encrypted
) -> None:
    base = Snapshot((STACK,), (Operation(C, "creating"),))
    journal = start(path, form, base)
    journal.end(journal.begin(Operation(C, "importing")), Put(C))

    assert recovered(path, form, base).pending_operations == ()


def test_what_remains_follows_a_renamed_resource(path: Path, form: Encrypted) -> None:
    child = A.changed(urn=f"{A.urn}-child", parent=B.urn, dependencies=(B.urn,))
    base = Snapshot((STACK, B, child))
    journal = start(path, form, base)
    renamed = B.changed(urn=f"{B.urn}-renamed", aliases=(B.urn,))
    journal.end(None, Put(STACK))
    journal.end(None, Put(renamed), Drop(B))

    result = recovered(path, form, base)
    assert result.by_urn()[child.urn].parent == renamed.urn
    assert result.by_urn()[child.urn].dependencies == (renamed.urn,)
    verify(result)


def test_secrets_are_encrypted_in_the_journal_and_come_back(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    secret = bucket("s", outputs={"password": Secret("hush-hush")})
    journal.end(journal.begin(Operation(secret, "creating")), Put(secret))

    assert b"hush-hush" not in path.read_bytes()
    assert recovered(path, form).by_urn()[secret.urn] == secret


def test_a_journal_can_be_folded_without_the_key(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    journal.end(None, Put(bucket("s", outputs={"password": Secret("hush")})))

    assert names(recover(path, BASE, DIGEST, Kept()) or BASE)[-1] == "b"


def test_an_unchanged_resource_costs_a_few_bytes(path: Path, form: Encrypted) -> None:
    large = bucket("large", inputs={"text": "x" * 100_000})
    base = Snapshot((STACK, large))
    journal = start(path, form, base)
    journal.end(None, Put(large.changed()), Drop(large))

    assert path.stat().st_size < 300
    assert recovered(path, form, base).by_urn()[large.urn] == large


@given(cut=st.integers(min_value=0, max_value=2_000))
def test_a_journal_cut_off_anywhere_still_tells_what_was_whole(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("cut")
    path = directory / "j"
    form = Kept()
    journal = FileJournal(path, BASE, DIGEST, form)
    for resource in (STACK, A, C):
        journal.end(journal.begin(Operation(resource, "creating")), Put(resource))
    journal.close()
    path.write_bytes(path.read_bytes()[:cut])

    result = recover(path, BASE, DIGEST, form) or BASE

    verify(result)
    assert {A.urn, B.urn, STACK_URN} <= set(result.by_urn())


def test_damage_in_the_middle_is_told_and_not_guessed_at(path: Path, form: Encrypted) -> None:
    journal = start(path, form)
    journal.end(None, Put(C))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{torn", *lines[1:]]))

    with pytest.raises(JournalError, match=r"line 2 .* is damaged. Nothing was changed"):
        recover(path, BASE, DIGEST, form)


def test_a_journal_of_another_checkpoint_has_been_folded_already(
    path: Path, form: Encrypted
) -> None:
    start(path, form).end(None, Put(C))

    assert recover(path, BASE, "digest-of-a-later-one", form) is None


class FullDisk:
    """Says that there is no space left, once it is `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)


def test_on_a_full_disk_nothing_is_begun_and_what_was_recorded_stays(
    path: Path, form: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    journal = start(path, form)
    journal.end(journal.begin(Operation(C, "creating")), Put(C))
    disk.full = True

    with pytest.raises(StorageError, match=r"No space left.*nothing is lost: free some space"):
        journal.begin(Operation(bucket("d"), "creating"))

    disk.full = False
    assert "c" in names(recovered(path, form))


def test_a_line_that_was_written_half_does_not_spoil_the_next_one(
    path: Path, form: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = start(path, form)
    real = journal._file

    class Half:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def write(self, content: bytes) -> int:
            real.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_file", Half())
    with pytest.raises(StorageError):
        journal.end(None, Put(C))
    monkeypatch.setattr(journal, "_file", real)
    journal.end(None, Put(bucket("d")))

    assert "d" in names(recovered(path, form))
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_entries_are_ordered_after_what_they_need_and_else_left_in_place() -> None:
    late = bucket("late", dependencies=(C.urn,))

    assert ordered([STACK, A, B, C]) == (STACK, A, B, C)
    assert [entry.name for entry in ordered([late, A, C, STACK])] == ["shop-dev", "c", "late", "a"]


@given(st.permutations(list(range(6))))
def test_any_order_of_a_chain_is_repaired(order: list[int]) -> None:
    chain: list[Resource] = [STACK]
    for index in range(5):
        chain.append(bucket(f"r{index}", dependencies=(chain[-1].urn,)))

    assert ordered([chain[index] for index in order]) == tuple(chain)


WRITER = """
import itertools, sys
from pathlib import Path
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.journal import FileJournal
from infra.sandbox.engine.state import Operation, Put, Snapshot
from tests.sandbox.engine.store_fakes import bucket
journal = FileJournal(Path(sys.argv[1]), Snapshot(), "digest", Kept())
for number in itertools.count():
    resource = bucket(f"r{number}", parent="")
    begun = journal.begin(Operation(resource, "creating"))
    print("begun", resource.urn, flush=True)
    journal.end(begun, Put(resource))
    print("ended", resource.urn, flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("lines", range(0, 200, 23))
def test_what_a_killed_process_was_told_is_recorded_is_in_its_journal(
    lines: int, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "journal"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().split() for _ in range(lines + 1)]
        child.kill()
        told += [line.split() for line in child.stdout if line.endswith("\n")]

    result = recover(path, Snapshot(), "digest", Kept())

    assert result is not None
    ended = {urn for what, urn in told if what == "ended"}
    begun = {urn for what, urn in told if what == "begun"}
    there = set(result.by_urn())
    pending = {operation.resource.urn for operation in result.pending_operations}
    assert ended <= there
    assert begun <= there | pending
    assert len(pending) <= 1

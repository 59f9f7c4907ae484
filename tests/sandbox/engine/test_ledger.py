"""What an update's result, its journal and a recovery from the journal come to is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.sandbox.engine.checkpoint import Shown, verify
from infra.sandbox.engine.journal import FileJournal, NullRecorder, recover
from infra.sandbox.engine.ledger import Ledger
from infra.sandbox.engine.provider import InitError, ProviderError
from infra.sandbox.engine.state import Drop, Put, Resource, Snapshot, Swap
from tests.sandbox.engine.fakes import World, lines

pytestmark = pytest.mark.sandbox

FIRST = lines(
    'a = thing("a", value="1", name="n")',
    'b = thing("b", Opts(parent=a), value=a.arn)',
    'c = thing("c", value=Output.secret("s"))',
    'thing("gone")',
    'pulumi.export("x", b.arn)',
)
CHANGES = {
    "the same": FIRST,
    "an update": FIRST.replace('"1"', '"2"'),
    "a replacement": FIRST.replace('name="n"', 'name="m"'),
    "a delete": FIRST.replace('thing("gone")', ""),
    "a rename": FIRST.replace('"a", value', '"z", Opts(aliases=[pulumi.Alias(name="a")]), value'),
    "a delete before": FIRST.replace(
        '"a", value="1", name="n"', '"a", Opts(delete_before_replace=True), value="1", name="m"'
    ),
    "an exception": FIRST + "raise ValueError()",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("failing", ["", "create m", "update n", "delete gone", "delete n"])
def test_result_journal_and_recovery_agree(tmp_path: Path, change: str, failing: str) -> None:
    world = World(tmp_path)
    world.up(FIRST)
    base = world.snapshot
    if failing:
        world.cloud.failing[failing] = ProviderError("no", maybe_done=failing == "update n")
    path = tmp_path / "journal"
    journal = FileJournal(path, base, "digest", Shown())

    result = world.up(CHANGES[change], journal=journal).result

    journal.close()
    assert result.snapshot == journal.snapshot()
    recovered = recover(path, base, "digest", Shown())
    assert recovered is not None
    assert recovered.resources == result.snapshot.resources
    assert recovered.pending_operations == result.snapshot.pending_operations
    verify(result.snapshot)


@pytest.mark.parametrize("kind", ["refresh", "destroy"])
def test_a_refresh_and_a_destroy_agree_with_their_journals(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path)
    world.up(FIRST)
    base = world.snapshot
    del world.cloud.things["gone"]
    world.cloud.things["n"]["value"] = "drifted"
    journal = FileJournal(tmp_path / "journal", base, "digest", Shown())

    result = world.update(None, kind, journal=journal).result

    journal.close()
    assert result.error is None
    assert result.snapshot == journal.snapshot()


def test_every_act_on_the_cloud_is_taken_down_before_and_after(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.up(FIRST)

    assert [operation.type for operation in run.recorder.begun] == ["creating"] * 4
    ended = [number for what, number, _ in run.recorder.records if what == "end" and number]
    assert sorted(ended) == [1, 2, 3, 4]


def test_a_failure_is_taken_down_with_whether_its_effect_is_clear(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cloud.failing["create n"] = ProviderError("refused")
    world.cloud.failing["create c"] = TimeoutError("the answer was lost")
    world.cloud.failing["create gone"] = InitError("unfinished", "gone", {})

    run = world.up(FIRST, continue_on_error=True)

    failures = {
        run.recorder.begun[number - 1].resource.name: keep
        for what, number, keep in run.recorder.records
        if what == "fail" and number
    }
    assert failures == {"a": False, "c": True}
    assert run.state["gone"].init_errors == ("unfinished",)


def entry(name: str) -> Resource:
    return Resource(urn=f"urn:pulumi:dev::p::t:t:T::{name}", type="t:t:T", custom=True, id=name)


def test_a_change_may_name_an_entry_by_what_it_was_before() -> None:
    first = entry("a")
    ledger = Ledger(Snapshot((first,)), NullRecorder())
    ledger.commit(None, Swap(first, first.changed(id="b")))
    ledger.commit(None, Swap(first, first.changed(id="c")))
    assert [resource.id for resource in ledger.snapshot().resources] == ["c"]

    ledger.commit(None, Put(entry("a")), Drop(first))

    assert [resource.id for resource in ledger.snapshot().resources] == ["a"]
    with pytest.raises(LookupError, match="gone from the deployment already"):
        ledger.commit(None, Drop(first))


def test_what_was_put_and_then_superseded_keeps_a_place_of_its_own(tmp_path: Path) -> None:
    for superseding in (
        lambda old: (Put(entry("a").changed(id="new")), Drop(old)),
        lambda old: (Put(entry("a").changed(id="new")), Swap(old, old.changed(delete=True))),
    ):
        found = entry("a")
        journal = FileJournal(tmp_path / "journal", Snapshot(), "digest", Shown())
        ledger = Ledger(Snapshot(), journal)
        ledger.commit(None, Put(found))
        ledger.commit(None, *superseding(found))
        ledger.commit(None, Put(entry("a").changed(id="newer")))
        journal.close()

        live = [resource.id for resource in ledger.snapshot().resources if not resource.delete]
        assert live == ["newer"]
        assert journal.snapshot() == ledger.snapshot()
        assert recover(tmp_path / "journal", Snapshot(), "digest", Shown()) == ledger.snapshot()


def test_what_is_put_to_be_deleted_is_not_in_the_way_of_its_like(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal", Snapshot(), "digest", Shown())
    ledger = Ledger(Snapshot(), journal)
    ledger.commit(None, Put(entry("a").changed(id="surplus", delete=True)))
    ledger.commit(None, Put(entry("a")))
    journal.close()

    assert {r.id: r.delete for r in ledger.snapshot().resources} == {"surplus": True, "a": False}
    assert journal.snapshot() == ledger.snapshot()

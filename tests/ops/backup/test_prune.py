"""Which backups may go: decided from the list of them alone."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ops.backup.audit import Entry
from ops.backup.prune import keep, last_good

NOW = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
DATABASE = "mono-repo-dev"


def entry(day: int, **changes: Any) -> Entry:
    """A whole, verified backup of a day of November."""
    given = {
        "id": f"202611{day:02}-120000_dev",
        "complete": True,
        "verified": "2026-11-30T00:00:00+00:00",
        "databases": (DATABASE,),
        "names": ("main",),
        "snapshots": (f"snapshot-{day}",),
    }
    return Entry(**{**given, **changes})


def kept(found: list[Entry], *there: str, needed: str = "", **asked: Any) -> dict[int, str]:
    """Give what stays, by its day, with the reason."""
    snapshots = {DATABASE: frozenset(there or [name for item in found for name in item.snapshots])}
    runs = {needed: "a-run"} if needed else {}
    return {int(id_[6:8]): why for id_, why in keep(found, asked, NOW, runs, snapshots).items()}


def test_the_newest_stay_and_the_others_go() -> None:
    found = [entry(day) for day in (1, 2, 3, 4)]
    assert set(kept(found, keep=2)) == {3, 4}


def test_what_is_not_old_enough_stays() -> None:
    found = [entry(day) for day in (1, 15, 28, 29)]
    assert set(kept(found, older_than_days=10)) == {28, 29}


def test_the_last_good_one_stays_however_old_it_is() -> None:
    found = [entry(1), entry(2, verified=""), entry(3, verified="")]
    assert kept(found, keep=1) == {1: "the last good one", 3: "one of the newest 1"}


def test_where_none_was_ever_verified_the_newest_whole_one_is_the_good_one() -> None:
    found = [entry(1, verified=""), entry(2, verified=""), entry(3, complete=False)]
    assert last_good(found) == found[1]


def test_the_good_one_has_every_database_that_settings_name() -> None:
    found = [entry(1), entry(2, names=(), databases=(), snapshots=()), entry(3, verified="")]
    assert last_good(found, ["main"]) == found[0]
    assert last_good(found) == found[1]
    assert last_good(found, ["main", "other"]) == found[1], "none has all: the newest verified one"


def test_what_was_found_damaged_is_no_good_one() -> None:
    found = [entry(1), entry(2, verified="", damaged="state.json"), entry(3, complete=False)]
    assert last_good(found) == found[0]
    assert last_good(found[1:]) is None


def test_a_good_one_that_has_all_databases_stays_though_others_are_newer() -> None:
    found = [entry(1), entry(2, names=(), databases=(), snapshots=())]
    snapshots = {DATABASE: frozenset({"snapshot-1", "by-hand"})}
    left = keep(found, {"keep": 1}, NOW, {}, snapshots, databases=["main"])
    assert left[found[0].id] == "the last good one"


def test_the_only_snapshot_of_a_database_stays() -> None:
    found = [entry(1), entry(2), entry(3, databases=(), snapshots=())]
    assert kept(found, keep=1) == {
        3: "one of the newest 1",
        2: f"it has the only snapshot of {DATABASE}",
    }


def test_a_snapshot_that_is_in_no_backup_counts_as_well() -> None:
    found = [entry(1), entry(3, databases=(), snapshots=())]
    assert set(kept(found, "snapshot-1", "by-hand", keep=1)) == {3}


def test_what_an_unfinished_run_needs_stays() -> None:
    found = [entry(day) for day in (1, 2, 3)]
    assert kept(found, keep=1, needed=found[0].id)[1] == "the unfinished run a-run needs it"


def test_what_is_not_whole_goes_only_when_that_is_asked_for() -> None:
    found = [entry(1, complete=False, snapshots=(), databases=()), entry(2)]
    assert "--incomplete" in kept(found, keep=1)[1]
    assert set(kept(found, keep=1, incomplete=True)) == {2}


def test_what_is_on_this_machine_alone_is_left() -> None:
    found = [entry(1, bucket=False, complete=False, snapshots=(), databases=()), entry(2)]
    assert kept(found, keep=1, incomplete=True)[1] == "it is on this machine alone"

"""The record of a suspension: what is written is what is read, or nobody relies on it."""

import datetime as dt
import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from infra.suspension import (
    LONGEST_REASON,
    PAGE_BYTES,
    Sizes,
    Suspension,
    SuspensionError,
    page_names,
    parameters,
    parse,
)

FIRST = "/dev/mono-repo-ops/suspension"
RUN = "20261124-020000-stop-dev-0a1b"
SINCE = dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)
SIZES = Sizes(min=2, desired=3, max=4)


def record(**changes: Any) -> Suspension:
    given: dict[str, Any] = {
        "run": RUN,
        "actor": "arn:aws:iam::111122223333:user/mono-repo/dev/people/mono-repo-dev-jane-doe",
        "reason": "costs",
        "since": SINCE,
        "until": SINCE + dt.timedelta(days=3),
        "node_groups": {"mono-repo-dev": {"cluster-general-0a1b2c3": SIZES}},
        "instances": ("i-0123456789abcdef0",),
        "databases": ("mono-repo-dev",),
    }
    return Suspension(**{**given, **changes})


def of_size(*, groups: int, databases: int, instances: int) -> Suspension:
    return record(
        reason="\N{PILE OF POO}" * LONGEST_REASON,
        node_groups={
            cluster: {f"cluster-general-{number:07x}": SIZES for number in range(groups)}
            for cluster in ("mono-repo-dev", "mono-repo-dev-restored")
        },
        databases=tuple(f"mono-repo-dev-database-{number}" for number in range(databases)),
        instances=tuple(f"i-{number:017x}" for number in range(instances)),
    )


def test_a_record_is_read_as_it_was_written() -> None:
    written = parameters("dev", record())
    assert list(written) == [FIRST]
    assert parse("dev", written) == record()


def test_a_record_is_plain_json_that_people_can_read_at_night() -> None:
    (text,) = parameters("dev", record()).values()
    assert json.loads(text) == {
        "version": 1,
        "run": RUN,
        "actor": "arn:aws:iam::111122223333:user/mono-repo/dev/people/mono-repo-dev-jane-doe",
        "reason": "costs",
        "since": "2026-11-24T02:00:00Z",
        "until": "2026-11-27T02:00:00Z",
        "node_groups": {
            "mono-repo-dev": {"cluster-general-0a1b2c3": {"min": 2, "desired": 3, "max": 4}}
        },
        "instances": ["i-0123456789abcdef0"],
        "databases": ["mono-repo-dev"],
        "pages": 1,
    }


def test_no_record_is_no_suspension_whatever_else_lies_beside_it() -> None:
    assert parse("dev", {}) is None
    assert parse("dev", {"/dev/mono-repo-ops/approvals/one": "{}"}) is None
    left_over = {f"{FIRST}/{RUN}/2": "{}"}
    assert parse("dev", left_over) is None, "the first page is written last"


def test_thirty_node_groups_and_twenty_databases_fit_on_one_page() -> None:
    sizes = {f"cluster-general-{number:07x}": SIZES for number in range(30)}
    names = tuple(f"mono-repo-dev-{number}" for number in range(20))
    full = record(node_groups={"mono-repo-dev": sizes}, databases=names)
    (text,) = parameters("dev", full).values()
    assert len(text.encode()) <= PAGE_BYTES


@pytest.mark.parametrize("instances", [0, 1, 100, 500, 3000])
def test_whatever_ran_fits_on_standard_parameters(instances: int) -> None:
    large = of_size(groups=30, databases=20, instances=instances)
    written = parameters("dev", large)
    assert all(len(text.encode()) <= PAGE_BYTES for text in written.values())
    assert list(written)[-1] == FIRST, "what is written before the first page says nothing yet"
    assert all(name.startswith(f"{FIRST}/{RUN}/") for name in list(written)[:-1])
    assert parse("dev", written) == large


def test_pages_of_another_run_are_no_part_of_a_record() -> None:
    former = parameters("dev", of_size(groups=30, databases=20, instances=500))
    now = parameters("dev", record(run="20261125-020000-stop-dev-2c3d"))
    both = {**former, **now}
    assert parse("dev", both) == record(run="20261125-020000-stop-dev-2c3d")
    assert page_names("dev", {**both, "/dev/mono-repo-ops/other": ""}) == sorted(both)
    assert page_names("dev", both)[0] == FIRST, "the first page is taken away first"


def test_a_record_without_one_of_its_pages_is_refused() -> None:
    written = parameters("dev", of_size(groups=30, databases=20, instances=500))
    del written[f"{FIRST}/{RUN}/3"]
    with pytest.raises(SuspensionError, match=re.escape(f"and {FIRST}/{RUN}/3 is not there")):
        parse("dev", written)


def changed(**changes: Any) -> str:
    (text,) = parameters("dev", record()).values()
    return json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the value: Invalid JSON"),
        ("stopped", "the value: Invalid JSON"),
        ("[]", "the value: Input should be an object"),
        (changed(version=2), "version: Input should be 1"),
        (changed(until="tomorrow"), "until: "),
        (changed(since="2026-11-24T02:00:00"), "since: Input should have timezone info"),
        (changed(instances="i-0123456789abcdef0"), "instances: Input should be a valid"),
        (changed(pages=0), "pages: Input should be greater than or equal to 1"),
        (changed(reasons="costs"), "reasons: Extra inputs are not permitted"),
        (
            changed(node_groups={"mono-repo-dev": {"general": {"min": -1, "desired": 0}}}),
            "equal to 0; node_groups.mono-repo-dev.general.max: Field required",
        ),
    ],
)
def test_a_garbled_record_is_neither_a_suspension_nor_none(text: str, problem: str) -> None:
    with pytest.raises(SuspensionError, match=re.escape(problem)) as refusal:
        parse("dev", {FIRST: text})
    said = str(refusal.value)
    assert f"parameter {FIRST}, is not usable" in said
    assert "Whether dev is stopped is not known, so nothing was changed." in said


def test_the_parameter_store_never_sees_double_brackets() -> None:
    bracketed = record(reason="{{ssm:secret}} and {{{x}}}")
    (text,) = parameters("dev", bracketed).values()
    assert "{{" not in text
    assert parse("dev", {FIRST: text}) == bracketed


def test_a_reason_that_does_not_fit_is_refused_before_anything_is_stopped() -> None:
    with pytest.raises(ValidationError, match="reason"):
        record(reason="x" * (LONGEST_REASON + 1))


def test_times_are_written_in_utc() -> None:
    here = dt.timezone(dt.timedelta(hours=2))
    moved = record(since=SINCE.astimezone(here), until=None)
    assert moved.since.tzinfo is dt.UTC
    assert moved.since == SINCE


@pytest.mark.parametrize(
    ("until", "overdue"),
    [
        (None, False),
        (SINCE + dt.timedelta(days=2), False),
        (SINCE + dt.timedelta(hours=1), True),
    ],
)
def test_a_suspension_is_overdue_when_it_lasts_longer_than_was_meant(
    until: dt.datetime | None, *, overdue: bool
) -> None:
    assert record(until=until).is_overdue(SINCE + dt.timedelta(days=1)) is overdue

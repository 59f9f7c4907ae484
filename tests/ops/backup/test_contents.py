"""What is in a database, read from a real PostgreSQL: the same, changed, or out of reach."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from ops.backup import contents
from ops.backup.contents import Address, UnreachableError
from ops.backup.manifest import Table
from tests.ops.backup import postgres
from tests.ops.backup.postgres import Server

pytestmark = pytest.mark.sandbox

PASSWORD = "v3ry-s3cret"
ARN = "arn:secret"


class Secrets:
    """Has the master user's secret."""

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
        assert SecretId == ARN
        return {"SecretString": json.dumps({"username": "master", "password": PASSWORD})}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with two tables."""
    with postgres.machine() as machine:
        made = machine.make("server", "master", PASSWORD)
        made.execute(
            "CREATE TABLE people (name text, age int)",
            "INSERT INTO people SELECT 'p' || i, i FROM generate_series(1, 1000) AS i",
            'CREATE SCHEMA "Odd"',
            'CREATE TABLE "Odd"."Ta ble" (x int)',
        )
        yield made


@pytest.fixture(autouse=True)
def bundle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the authority that the server is known by, where there is a server."""
    if "server" in request.fixturenames:
        certificate = request.getfixturevalue("server").certificate
        monkeypatch.setenv(contents.CA_VARIABLE, str(certificate))


def test_rows_and_checksums_are_read_of_every_table(server: Server) -> None:
    found = contents.tables(server.address(ARN), Secrets())
    assert {name: table.rows for name, table in found.items()} == {
        '"Odd"."Ta ble"': 0,
        "public.people": 1000,
    }


def test_the_order_of_rows_is_no_difference_and_one_other_value_is(server: Server) -> None:
    before = contents.tables(server.address(ARN), Secrets())
    server.execute("CREATE TABLE sorted AS SELECT * FROM people ORDER BY age DESC")
    server.execute("DROP TABLE people", "ALTER TABLE sorted RENAME TO people")
    assert contents.differences(before, contents.tables(server.address(ARN), Secrets())) == []
    server.execute("UPDATE people SET age = age + 1 WHERE name = 'p500'")
    (said,) = contents.differences(before, contents.tables(server.address(ARN), Secrets()))
    assert said == "public.people has other content in its 1000 rows"
    server.execute("UPDATE people SET age = age - 1 WHERE name = 'p500'")


def test_without_the_authoritys_certificate_nobody_logs_in(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(contents.CA_VARIABLE)
    with pytest.raises(UnreachableError, match="PGSSLROOTCERT"):
        contents.tables(server.address(ARN), Secrets())
    postgres.certify(tmp_path)
    monkeypatch.setenv(contents.CA_VARIABLE, str(tmp_path / "cert.pem"))
    with pytest.raises(UnreachableError, match="no connection") as caught:
        contents.tables(server.address(ARN), Secrets())
    assert PASSWORD not in str(caught.value)


def test_what_does_not_answer_is_not_reachable() -> None:
    address = Address(host=postgres.HOST, port=postgres.free_port(), database="d", secret_arn=ARN)
    with pytest.raises(UnreachableError, match="not reachable from this machine"):
        contents.tables(address, Secrets())
    with pytest.raises(UnreachableError, match="no address"):
        contents.tables(replace(address, host=""), Secrets())


def test_a_missing_table_and_missing_rows_are_told() -> None:
    expected = {"a": Table(rows=3, checksum="1"), "b": Table(rows=1, checksum="2")}
    found = {"a": Table(rows=2, checksum="9")}
    assert contents.differences(expected, found) == ["a has 2 rows, expected 3", "b is missing"]


def test_of_a_table_that_was_written_to_meanwhile_only_that_it_is_there_is_expected() -> None:
    before = {"a": Table(rows=3, checksum="1"), "b": Table(rows=1, checksum="2")}
    after = {"a": Table(rows=4, checksum="9"), "b": Table(rows=1, checksum="2")}
    expected = contents.quiet(before, after)
    assert contents.differences(expected, {**before, "a": Table(rows=5, checksum="7")}) == []
    assert contents.differences(expected, {"b": before["b"]}) == ["a is missing"]


def test_a_table_that_may_not_be_read_is_named_and_the_others_are_read(server: Server) -> None:
    server.execute(
        "CREATE ROLE reader LOGIN PASSWORD 'r3ader'",
        'GRANT USAGE ON SCHEMA "Odd" TO reader',
        'GRANT SELECT ON "Odd"."Ta ble" TO reader',
    )
    found = contents.read(lambda: server.connect(username="reader", password="r3ader"))
    assert found["public.people"].unread == "permission denied for table people"
    assert found['"Odd"."Ta ble"'] == Table(rows=0, checksum="0")


def test_a_view_that_holds_nothing_yet_keeps_no_table_from_being_read(server: Server) -> None:
    server.execute("CREATE MATERIALIZED VIEW ages AS SELECT age FROM people WITH NO DATA")
    try:
        found = contents.tables(server.address(ARN), Secrets())
    finally:
        server.execute("DROP MATERIALIZED VIEW ages")
    assert "has not been populated" in found["public.ages"].unread
    assert found["public.people"].rows == 1000


def test_what_is_not_come_to_in_time_is_named(server: Server) -> None:
    seconds = iter((0.0, 1.0, contents.BUDGET_SECONDS + 1.0))
    found = contents.read(server.connect, now=lambda: next(seconds))
    assert found['"Odd"."Ta ble"'].checksum
    assert found["public.people"] == Table(
        rows=0, checksum="", unread="it was not come to within 15 minutes"
    )


def test_a_table_that_takes_longer_than_there_is_time_is_left(server: Server) -> None:
    seconds = iter((0.0, 1.0, contents.BUDGET_SECONDS - 0.01))
    holder = server.connect()
    try:
        holder.cursor().execute("LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        found = contents.read(server.connect, now=lambda: next(seconds))
    finally:
        holder.close()
    assert found['"Odd"."Ta ble"'].checksum
    assert found["public.people"].unread == "canceling statement due to statement timeout"


def test_a_large_table_is_named_and_not_read(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "LARGEST_BYTES", 8192)
    found = contents.read(server.connect)
    assert found['"Odd"."Ta ble"'].checksum
    assert "it is larger than" in found["public.people"].unread


def test_a_table_that_was_read_can_be_changed_before_all_of_them_are(server: Server) -> None:
    def changed() -> float:
        if next(asked) == 2:  # the first was read, and the second is not yet
            server.execute("SET lock_timeout = '5s'", 'ALTER TABLE "Odd"."Ta ble" ADD y int')
        return 0.0

    asked = iter(range(10))
    assert contents.read(server.connect, now=changed)["public.people"].rows == 1000
    server.execute('ALTER TABLE "Odd"."Ta ble" DROP y')


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (
            ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue"),
            "AccessDenied",
        ),
        ("{}", "no username and password"),
        ("no JSON, v3ry-s3cret", "no username and password"),
    ],
)
def test_a_secret_that_cannot_be_read_makes_it_unreachable(
    server: Server, secret: Exception | str, said: str
) -> None:
    class Refusing:
        def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
            if isinstance(secret, Exception):
                raise secret
            return {"SecretString": secret}

    with pytest.raises(UnreachableError, match=said) as caught:
        contents.tables(server.address(ARN), Refusing())
    assert PASSWORD not in str(caught.value)


def test_what_was_not_read_on_either_side_is_no_difference_and_is_told() -> None:
    whole = Table(rows=1, checksum="1")
    unread = Table(rows=0, checksum="", unread="permission denied")
    busy = Table(rows=7, checksum="")
    expected, found = {"a": whole, "b": unread, "c": busy}, {"a": unread, "b": whole, "c": whole}
    assert contents.differences(expected, found) == []
    assert contents.uncompared(expected, found) == {
        "a": "in the copy: permission denied",
        "b": "permission denied",
        "c": "it was written to while the backup was made",
    }


def test_a_table_that_one_look_could_not_read_is_not_expected_to_be_equal() -> None:
    whole = Table(rows=1, checksum="1")
    unread = Table(rows=0, checksum="", unread="permission denied")
    for before, after in ((whole, unread), (unread, whole), (unread, unread)):
        assert contents.quiet({"a": before}, {"a": after})["a"].unread == "permission denied"

"""What is in a database, read from a real PostgreSQL: the same, changed, or out of reach."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pg8000.dbapi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.backup import contents
from ops.backup.contents import Address, UnreachableError
from ops.backup.manifest import Table

PASSWORD = "v3ry-s3cret"


def programs() -> Path | None:
    """Find where PostgreSQL's programs are."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in found if (path / "initdb").exists()), None)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of the tests' own, that speaks TLS alone."""

    folder: Path
    address: Address
    execute: Callable[..., None]
    """Runs statements."""


class Secrets:
    """Has the master user's secret."""

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
        assert SecretId == "arn:secret"
        return {"SecretString": json.dumps({"username": "master", "password": PASSWORD})}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with two tables."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL was found on this machine")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # It refuses to be run as root.
    owner: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    _certificate(folder)
    (folder / "password").write_text(PASSWORD)
    if owner:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "postgres")
    data, port = folder / "data", _free_port()
    subprocess.run(
        [
            *(str(found / "initdb"), "-D", str(data), "-U", "master", "-A", "scram-sha-256"),
            *("--pwfile", str(folder / "password"), "--no-sync"),
        ],
        check=True, capture_output=True, cwd=folder, **owner,
    )  # fmt: skip
    options = {
        "ssl": "on", "ssl_cert_file": folder / "cert.pem", "ssl_key_file": folder / "key.pem",
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder,
        "fsync": "off",
    }  # fmt: skip
    process = subprocess.Popen(
        [found / "postgres", "-D", data, *(f"-c{name}={value}" for name, value in options.items())],
        stderr=subprocess.DEVNULL, cwd=folder, **owner,
    )  # fmt: skip

    def execute(*statements: str) -> None:
        trusting = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        connection = pg8000.dbapi.connect(
            "master", "127.0.0.1", "postgres", port, PASSWORD, ssl_context=trusting
        )
        for statement in statements:
            connection.cursor().execute(statement)
        connection.commit()
        connection.close()

    try:
        _await_server(process, lambda: execute("SELECT 1"))
        address = Address(host="127.0.0.1", port=port, database="postgres", secret_arn="arn:secret")
        execute('CREATE TABLE people (name text, age int); CREATE SCHEMA "Odd"')
        execute('CREATE TABLE "Odd"."Ta ble" (x int)')
        execute("INSERT INTO people SELECT 'p' || i, i FROM generate_series(1, 1000) AS i")
        yield Server(folder, address, execute)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def bundle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the authority that the server is known by, where there is a server."""
    if "server" in request.fixturenames:
        folder = request.getfixturevalue("server").folder
        monkeypatch.setenv(contents.CA_VARIABLE, str(folder / "cert.pem"))


def test_rows_and_checksums_are_read_of_every_table(server: Server) -> None:
    found = contents.tables(server.address, Secrets())
    assert {name: table.rows for name, table in found.items()} == {
        '"Odd"."Ta ble"': 0,
        "public.people": 1000,
    }


def test_the_order_of_rows_is_no_difference_and_one_other_value_is(server: Server) -> None:
    before = contents.tables(server.address, Secrets())
    server.execute("CREATE TABLE sorted AS SELECT * FROM people ORDER BY age DESC")
    server.execute("DROP TABLE people", "ALTER TABLE sorted RENAME TO people")
    assert contents.differences(before, contents.tables(server.address, Secrets())) == []
    server.execute("UPDATE people SET age = age + 1 WHERE name = 'p500'")
    (said,) = contents.differences(before, contents.tables(server.address, Secrets()))
    assert said == "public.people has other content in its 1000 rows"
    server.execute("UPDATE people SET age = age - 1 WHERE name = 'p500'")


def test_without_the_authoritys_certificate_nobody_logs_in(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(contents.CA_VARIABLE)
    with pytest.raises(UnreachableError, match="PGSSLROOTCERT"):
        contents.tables(server.address, Secrets())
    _certificate(tmp_path)
    monkeypatch.setenv(contents.CA_VARIABLE, str(tmp_path / "cert.pem"))
    with pytest.raises(UnreachableError, match="no connection") as caught:
        contents.tables(server.address, Secrets())
    assert PASSWORD not in str(caught.value)


def test_what_does_not_answer_is_not_reachable() -> None:
    address = Address(host="127.0.0.1", port=_free_port(), database="d", secret_arn="arn:secret")
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


def _certificate(folder: Path) -> None:
    """Write a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "key.pem").chmod(0o600)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await_server(process: subprocess.Popen[bytes], ask: Callable[[], None]) -> None:
    """Wait until it answers: it takes connections before it takes questions."""
    deadline = time.monotonic() + 30
    while True:
        try:
            ask()
        except (OSError, pg8000.Error):
            assert process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)
        else:
            return

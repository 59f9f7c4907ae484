"""Real PostgreSQL servers of the tests' own, that speak TLS alone, as RDS's do."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pg8000.dbapi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.backup.contents import Address

HOST = "127.0.0.1"


@dataclass
class Server:
    """A server that runs."""

    data: Path
    certificate: Path
    port: int
    username: str
    password: str
    process: subprocess.Popen[bytes]

    def address(self, secret_arn: str, database: str = "postgres") -> Address:
        """Give where it answers."""
        return Address(host=HOST, port=self.port, database=database, secret_arn=secret_arn)

    def connect(self, database: str = "postgres", username: str = "", password: str = "") -> Any:
        """Log in, as the master user where nobody else is named."""
        return pg8000.dbapi.connect(
            username or self.username,
            HOST,
            database,
            self.port,
            password or self.password,
            ssl_context=ssl.create_default_context(cafile=str(self.certificate)),
        )

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each for itself."""
        connection = self.connect(database)
        try:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement)
        finally:
            connection.close()

    def change_password(self, password: str) -> None:
        """Give the master user another one."""
        self.execute(f"ALTER ROLE {self.username} PASSWORD '{password}'")
        self.password = password

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)


@dataclass
class Machine:
    """Where servers run, all known by one certificate."""

    folder: Path
    programs: Path
    owner: dict[str, Any]
    """Who runs them: PostgreSQL refuses to be run as root."""
    servers: list[Server] = field(default_factory=list)

    @property
    def certificate(self) -> Path:
        """What the servers are known by."""
        return self.folder / "cert.pem"

    def make(self, name: str, username: str, password: str) -> Server:
        """Make a server with nothing in it."""
        file = self.folder / f"{name}.password"
        file.write_text(password)
        if self.owner:
            shutil.chown(file, "postgres")
        data = self.folder / name
        self._run(
            *("initdb", "-D", data, "-U", username, "-A", "scram-sha-256"),
            *("--pwfile", file, "--no-sync", "--wal-segsize", 1),
        )
        return self.start(data, username, password)

    def start(self, data: Path, username: str, password: str) -> Server:
        """Start a server on what is in a folder."""
        (data / "pg_hba.conf").write_text(
            "".join(f"hostssl {what} all {HOST}/32 scram-sha-256\n" for what in _DATABASES)
        )
        port = free_port()
        options = {
            "ssl": "on", "ssl_cert_file": self.certificate, "ssl_key_file": self.folder / "key.pem",
            "port": port, "listen_addresses": HOST, "unix_socket_directories": self.folder,
            "fsync": "off",
        }  # fmt: skip
        process = subprocess.Popen(
            [
                self.programs / "postgres", "-D", data,
                *(f"-c{name}={value}" for name, value in options.items()),
            ],
            stderr=subprocess.DEVNULL, cwd=self.folder, **self.owner,
        )  # fmt: skip
        server = Server(data, self.certificate, port, username, password, process)
        self.servers.append(server)
        _await(server)
        return server

    def snapshot(self, server: Server, name: str) -> Path:
        """Copy what a server that runs holds now, as it lies on the disk."""
        folder = self.folder / name
        self._run(
            *("pg_basebackup", "-D", folder, "-h", HOST, "-p", server.port),
            *("-U", server.username, "--checkpoint=fast", "--no-sync"),
            PGPASSWORD=server.password,
            PGSSLMODE="verify-full",
            PGSSLROOTCERT=str(self.certificate),
        )
        return folder

    def remove(self, server: Server) -> None:
        """End a server, and forget what it held."""
        server.stop()
        self.servers.remove(server)
        shutil.rmtree(server.data)

    def copy(self, source: Path, name: str) -> Path:
        """Copy a snapshot, so that it stays as it is."""
        target = self.folder / name
        subprocess.run(["cp", "-a", source, target], check=True)
        return target

    def _run(self, program: str, *arguments: object, **variables: str) -> None:
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            check=False, capture_output=True, cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), **variables}, **self.owner,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr.decode()}"


_DATABASES = ("all", "replication")


@contextmanager
def machine() -> Iterator[Machine]:
    """Give a place for servers; skip where there is no PostgreSQL."""
    found = _programs()
    if found is None:
        pytest.skip("no PostgreSQL was found on this machine")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    certify(folder)
    if owner:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "postgres")
    made = Machine(folder, found, owner)
    try:
        yield made
    finally:
        for server in made.servers:
            server.stop()
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """Find where PostgreSQL's programs are."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []  # often a link to one of them
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in found if (path / "pg_basebackup").exists()), None)


def certify(folder: Path) -> None:
    """Write a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
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
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
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


def free_port() -> int:
    """Give a port that nothing listens at."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _await(server: Server) -> None:
    """Wait until it answers: it takes connections before it takes questions."""
    deadline = time.monotonic() + 30
    while True:
        try:
            server.execute("SELECT 1")
        except (OSError, pg8000.Error):
            assert server.process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)
        else:
            return

"""What is in a database: rows and checksums of its tables, where this machine can reach it.

Read in one transaction that can write nothing, as the master user that RDS keeps the password of,
over TLS that is verified against the bundle that `PGSSLROOTCERT` names, as libpq does. What is not
read of it is named, with the reason: it is not compared.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.backup.manifest import Table

CA_VARIABLE: Final = "PGSSLROOTCERT"
CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 300
BUDGET_SECONDS: Final = 900
"""For all tables together: while they are read, the live database keeps what is deleted in it."""
LARGEST_BYTES: Final = 2 * 1024**3
"""Tables above this are not read: that would cost the live database more than it is worth."""
_ANSWER_SECONDS: Final = STATEMENT_SECONDS + 30
"""For how long an answer is waited for: PostgreSQL is to give up first, and to say so."""

# Without their sizes: to ask for one takes the table's lock.
_TABLES: Final = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY 1
"""
_SIZE: Final = "SELECT pg_total_relation_size({oid})"
# A sum: it does not depend on the order in which rows are read, and needs no memory.
_CONTENT: Final = """
SELECT count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 16))::bit(64)::bigint::numeric), 0)
FROM {table} AS t
"""

Connect = Callable[[], Any]
"""Gives a connection of DB-API 2."""


class UnreachableError(Exception):
    """A database cannot be looked into from here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a database answers, and who may ask."""

    host: str
    port: int
    database: str
    secret_arn: str
    """Of the master user, in Secrets Manager. Empty: RDS does not keep the password."""


def checksums_of(name: str) -> str:
    """Give what a backup is said not to have where a database could not be looked into."""
    return f"checksums of the tables of {name}"


def address_of(instance: Mapping[str, Any], database: str) -> Address:
    """Give the address of an instance as RDS describes it."""
    endpoint = instance.get("Endpoint") or {}
    return Address(
        host=str(endpoint.get("Address", "")),
        port=int(endpoint.get("Port") or 0),
        database=database,
        secret_arn=str((instance.get("MasterUserSecret") or {}).get("SecretArn", "")),
    )


def refuse_unreachable(address: Address) -> None:
    """Raise `UnreachableError` where nothing answers: databases have no way out of their VPC."""
    if not address.host:
        raise UnreachableError("not reachable: it has no address")
    try:
        socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UnreachableError(
            f"not reachable from this machine: {address.host}:{address.port}: {error}"
        ) from error


def tables(address: Address, secrets: Any) -> dict[str, Table]:
    """Read what the tables hold; `secrets` is a client of Secrets Manager.

    Raises `UnreachableError` where the database cannot be looked into.
    """
    refuse_unreachable(address)
    if not address.secret_arn:
        raise UnreachableError("RDS does not keep the password of its master user")
    bundle = os.environ.get(CA_VARIABLE)
    if not bundle:
        raise UnreachableError(
            f"{CA_VARIABLE} names no bundle of RDS's certificate authorities to know it by"
        )
    username, password = _master_user(address.secret_arn, secrets)
    return read(lambda: _connect(address, bundle, username, password))


def read(connect: Connect, *, now: Callable[[], float] = time.monotonic) -> dict[str, Table]:
    """Read what the tables hold over a connection; raises `UnreachableError`.

    One that may not be read, cannot be, or was not come to in time is there with the reason alone.
    """
    try:
        connection = connect()
    except Exception as error:
        raise UnreachableError(f"no connection: {error}") from error
    deadline = now() + BUDGET_SECONDS
    try:
        cursor = connection.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        # Rows that the user may not see are an error, and not left out.
        cursor.execute("SET LOCAL row_security = off")
        cursor.execute(_TABLES)
        oids = {str(name): int(oid) for name, oid in cursor.fetchall()}
        cursor.execute("SAVEPOINT table_")
        return {name: _table(cursor, name, oid, deadline - now()) for name, oid in oids.items()}
    except Exception as error:
        raise UnreachableError(f"it could not be read: {error}") from error
    finally:
        connection.close()


def quiet(before: Mapping[str, Table], after: Mapping[str, Table]) -> dict[str, Table]:
    """Give what is certain of a snapshot that was made between two looks.

    A table that was written to meanwhile has no checksum: only that it is there can be expected.
    """
    return {
        name: table if before[name] == table else _uncertain(before[name], table)
        for name, table in after.items()
        if name in before
    }


def differences(expected: Mapping[str, Table], found: Mapping[str, Table]) -> list[str]:
    """Say how a copy differs from what its snapshot held; nothing: it does not."""
    said = []
    for name, table in expected.items():
        copy = found.get(name)
        if copy is None:
            said.append(f"{name} is missing")
        elif not (table.checksum and copy.checksum):
            continue
        elif copy.rows != table.rows:
            said.append(f"{name} has {copy.rows} rows, expected {table.rows}")
        elif copy.checksum != table.checksum:
            said.append(f"{name} has other content in its {copy.rows} rows")
    return said


def uncompared(expected: Mapping[str, Table], found: Mapping[str, Table]) -> dict[str, str]:
    """Give the tables whose rows say nothing of the snapshot, each with the reason."""
    said = {}
    for name, table in expected.items():
        copy = found.get(name)
        if not table.checksum:
            said[name] = table.unread or "it was written to while the backup was made"
        elif copy and not copy.checksum:
            said[name] = f"in the copy: {copy.unread}"
    return said


def _uncertain(before: Table, after: Table) -> Table:
    return Table(rows=after.rows, checksum="", unread=before.unread or after.unread)


def _unread(why: str) -> Table:
    return Table(rows=0, checksum="", unread=why)


def _table(cursor: Any, name: str, oid: int, seconds: float) -> Table:
    """Read one table, for no longer than there are seconds left."""
    from pg8000 import DatabaseError

    if seconds <= 0:
        return _unread(f"it was not come to within {BUDGET_SECONDS // 60} minutes")
    milliseconds = int(min(seconds, STATEMENT_SECONDS) * 1000) or 1  # 0: no limit
    try:
        cursor.execute(f"SET LOCAL statement_timeout = {milliseconds}")
        cursor.execute(_SIZE.format(oid=oid))
        (size,) = cursor.fetchone()
        if size is not None and size > LARGEST_BYTES:
            return _unread(f"it is larger than {LARGEST_BYTES // 1024**3} GiB")
        cursor.execute(_CONTENT.format(table=name))  # quoted by PostgreSQL itself
        rows, checksum = cursor.fetchone()
        return Table(rows=int(rows), checksum=str(checksum))
    except DatabaseError as error:
        return _unread(_message(error))
    finally:
        # Also of one that was read: with it goes the lock that a change of the table waits for.
        cursor.execute("ROLLBACK TO SAVEPOINT table_")


def _message(error: Exception) -> str:
    """Give what PostgreSQL says, without the fields around it."""
    fields = error.args[0] if error.args else None
    return str(fields["M"]) if isinstance(fields, dict) and "M" in fields else str(error)


def _master_user(secret_arn: str, secrets: Any) -> tuple[str, str]:
    """Give name and password; raises `UnreachableError` where they cannot be had."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        said = json.loads(secrets.get_secret_value(SecretId=secret_arn)["SecretString"])
        return str(said["username"]), str(said["password"])
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(f"its master user's secret could not be read: {error}") from error
    except (ValueError, LookupError, TypeError):
        raise UnreachableError(
            f"its master user's secret {secret_arn} holds no username and password"
        ) from None


def _connect(address: Address, bundle: str, username: str, password: str) -> Any:
    import pg8000.dbapi

    return pg8000.dbapi.connect(
        user=username,
        password=password,
        host=address.host,
        port=address.port,
        database=address.database,
        timeout=_ANSWER_SECONDS,
        ssl_context=ssl.create_default_context(cafile=bundle),
        application_name="mono-repo-ops",
    )

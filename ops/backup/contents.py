"""What is in a database: rows and checksums of its tables, where this machine can reach it.

Read in one transaction that can write nothing, as the master user that RDS keeps the password of,
over TLS that is verified against the bundle that `PGSSLROOTCERT` names, as libpq does.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.backup.manifest import Table

CA_VARIABLE: Final = "PGSSLROOTCERT"
CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 300
LARGEST_BYTES: Final = 2 * 1024**3
"""Tables above this are not read: that would cost the live database more than it is worth."""

_TABLES: Final = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
  AND pg_total_relation_size(c.oid) <= %s
ORDER BY 1
"""
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
    said = json.loads(secrets.get_secret_value(SecretId=address.secret_arn)["SecretString"])
    return read(lambda: _connect(address, bundle, said["username"], said["password"]))


def read(connect: Connect) -> dict[str, Table]:
    """Read what the tables hold over a connection; raises `UnreachableError`."""
    try:
        connection = connect()
    except Exception as error:
        raise UnreachableError(f"no connection: {error}") from error
    try:
        cursor = connection.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        cursor.execute(_TABLES, (LARGEST_BYTES,))
        names = [str(row[0]) for row in cursor.fetchall()]
        return {name: _table(cursor, name) for name in names}
    except Exception as error:
        raise UnreachableError(f"it could not be read: {error}") from error
    finally:
        connection.close()


def quiet(before: Mapping[str, Table], after: Mapping[str, Table]) -> dict[str, Table]:
    """Give what is certain of a snapshot that was made between two looks.

    A table that was written to meanwhile has no checksum: only that it is there can be expected.
    """
    return {
        name: table if before.get(name) == table else Table(rows=table.rows, checksum="")
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
        elif table.checksum and copy.rows != table.rows:
            said.append(f"{name} has {copy.rows} rows, expected {table.rows}")
        elif table.checksum and copy.checksum != table.checksum:
            said.append(f"{name} has other content in its {copy.rows} rows")
    return said


def _table(cursor: Any, name: str) -> Table:
    cursor.execute(_CONTENT.format(table=name))  # quoted by PostgreSQL itself
    rows, checksum = cursor.fetchone()
    return Table(rows=int(rows), checksum=str(checksum))


def _connect(address: Address, bundle: str, username: str, password: str) -> Any:
    import pg8000.dbapi

    return pg8000.dbapi.connect(
        user=username,
        password=password,
        host=address.host,
        port=address.port,
        database=address.database,
        timeout=STATEMENT_SECONDS,
        ssl_context=ssl.create_default_context(cafile=bundle),
        application_name="mono-repo-ops",
    )

"""Puts real PostgreSQL servers behind the instances of the sandbox's RDS, which has none.

The commands' own clients are led there: an instance's endpoint is a server's, a snapshot is a
physical copy of what the server holds at that moment, a restored instance is a server on that copy,
and where RDS takes over the master password, the server gets the one that is in the secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops import rates
from tests.ops.backup import postgres
from tests.ops.backup.postgres import Machine, Server

Statements = Mapping[str, Sequence[str]]
"""Instance → what is run in its database."""
REHEARSAL = "-rehearsal-"


@dataclass
class Behind:
    """The servers, and what is to happen to them."""

    machine: Machine
    secrets: Any
    """A client of Secrets Manager."""
    databases: Mapping[str, str]
    """Instance → the name of its database."""
    live: dict[str, Server] = field(default_factory=dict)
    copies: dict[str, Server] = field(default_factory=dict)
    """Those that run."""
    described: dict[str, Any] = field(default_factory=dict)
    """Copy → as it was last described."""
    meanwhile: Statements = field(default_factory=dict)
    """What is written while a snapshot is made."""
    damage: Statements = field(default_factory=dict)
    """What becomes of the copy of an instance, before anybody looks into it."""
    unreachable: frozenset[str] = frozenset()
    """Instances whose copies do not answer."""
    _snapshots: dict[str, Path] = field(default_factory=dict)
    _asked: dict[str, str] = field(default_factory=dict)

    def run(self, instance: str, *statements: str) -> None:
        """Run statements in an instance's database."""
        server = self.live.get(instance) or self.copies[instance]
        server.execute(*statements, database=self.databases[_source(instance)])

    def serve(self, instance: str, described: Any, *statements: str) -> None:
        """Start a server behind a live instance, which RDS has described."""
        server = self.machine.make(instance, described["MasterUsername"], "initial")
        server.execute(f'CREATE DATABASE "{self.databases[instance]}"')
        server.change_password(self._password(described))
        self.live[instance] = server
        self.run(instance, *statements)

    def install(self, patch: Callable[[Any, str, Any], None]) -> None:
        """Lead every client of RDS there that is made from now on; `patch`: as `setattr`."""
        original = rates.install

        def installed(client: Any, *rest: Any) -> Any:
            return self._lead(original(client, *rest))

        patch(rates, "install", installed)

    def _lead(self, client: Any) -> Any:
        events = client.meta.events
        if client.meta.service_model.service_name == "rds":
            events.register("provide-client-params.rds.RestoreDBInstanceFromDBSnapshot", self._ask)
            for action, done in (
                ("CreateDBSnapshot", self._snapshot),
                ("DeleteDBInstance", self._delete),
                ("DescribeDBInstances", self._describe),
                ("ModifyDBInstance", self._modify),
                ("RestoreDBInstanceFromDBSnapshot", self._restore),
            ):
                events.register(f"after-call.rds.{action}", _when_done(done))
        return client

    def _snapshot(self, answer: Any) -> None:
        made = answer["DBSnapshot"]
        name, instance = made["DBSnapshotIdentifier"], made["DBInstanceIdentifier"]
        self._snapshots[name] = self.machine.snapshot(self.live[instance], name)
        self.run(instance, *self.meanwhile.get(instance, ()))

    def _ask(self, params: Mapping[str, Any], **_: Any) -> None:
        self._asked[params["DBInstanceIdentifier"]] = params["DBSnapshotIdentifier"]

    def _restore(self, answer: Any) -> None:
        copy = answer["DBInstance"]["DBInstanceIdentifier"]
        live = self.live[_source(copy)]
        folder = self.machine.copy(self._snapshots[self._asked[copy]], copy)
        self.copies[copy] = self.machine.start(folder, live.username, live.password)
        self.run(copy, *self.damage.get(_source(copy), ()))

    def _modify(self, answer: Any) -> None:
        described = answer["DBInstance"]
        server = self.copies.get(described["DBInstanceIdentifier"])
        if server and described.get("MasterUserSecret"):
            server.change_password(self._password(described))

    def _describe(self, answer: Any) -> None:
        for item in answer["DBInstances"]:
            instance = item["DBInstanceIdentifier"]
            if REHEARSAL in instance:
                self.described[instance] = item
            server = self.live.get(instance) or self.copies.get(instance)
            if server and "Endpoint" in item:
                away = REHEARSAL in instance and _source(instance) in self.unreachable
                port = postgres.free_port() if away else server.port
                item["Endpoint"] |= {"Address": postgres.HOST, "Port": port}

    def _delete(self, answer: Any) -> None:
        if server := self.copies.pop(answer["DBInstance"]["DBInstanceIdentifier"], None):
            self.machine.remove(server)

    def _password(self, described: Any) -> str:
        arn = described["MasterUserSecret"]["SecretArn"]
        said = json.loads(self.secrets.get_secret_value(SecretId=arn)["SecretString"])
        return str(said["password"])


def _source(instance: str) -> str:
    """Give the live instance, also of a copy of it."""
    return instance.partition(REHEARSAL)[0]


def _when_done(act: Callable[[Any], None]) -> Callable[..., None]:
    def handle(http_response: Any, parsed: Any, **_: Any) -> None:
        if http_response.status_code == 200:
            act(parsed)

    return handle

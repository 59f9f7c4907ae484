"""Pieces of states, clouds and clusters for tests of decisions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ops.teardown.destroy import State
from ops.teardown.listing import Inventory, Item, encrypted

ACCOUNT = "111122223333"
CLUSTER = "mono-repo-dev"
KEY = "1111aaaa-0000-4000-8000-000000000000"
VOLUMES_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY}"
NOON = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)


def entry(type_: str, name: str, id_: str, **more: Any) -> dict[str, Any]:
    """Give a resource as a state has it."""
    return {
        "urn": f"urn:pulumi:dev::mono-repo::{type_}::{name}",
        "type": type_,
        "id": id_,
        "custom": True,
        "inputs": {},
        "outputs": {},
        **more,
    }


def database(**inputs: Any) -> dict[str, Any]:
    named = {"identifier": "mono-repo-dev", "deletionProtection": True, **inputs}
    arn = f"arn:aws:rds:us-east-1:{ACCOUNT}:db:mono-repo-dev"
    tags = {"environment": "dev"}
    return entry(
        "aws:rds/instance:Instance",
        "databases-main",
        "db-ABC",
        inputs=named,
        outputs={"arn": arn, "tags": tags},
        protect=True,
    )


def key(**inputs: Any) -> dict[str, Any]:
    return entry("aws:kms/key:Key", "cluster-volumes", KEY, inputs=inputs, protect=True)


def state(*entries: dict[str, Any]) -> State:
    return State(entries=entries)


def item(kind: str, id_: str, *, region: str = "us-east-1", **raw: Any) -> Item:
    return Item(kind=kind, id=id_, region=region, raw=raw)


def inventory(*items: Item) -> Inventory:
    return Inventory(items=items, scanned=100, listings=75, encrypted=encrypted(items))

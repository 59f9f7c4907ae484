"""What it costs a month to leave something behind: estimates from a small dated price list.

The list is data, `prices.toml`. What it does not know is unpriced, never free.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from ops.teardown.listing import Item

HOURS_A_MONTH: Final = 730
FILE: Final = Path(__file__).with_suffix(".toml")
_CLASSES: Final = {
    "database": "DBInstanceClass",
    "instance": "InstanceType",
    "volume": "VolumeType",
}
"""Kind → where AWS says which of the priced classes a thing is of."""
_CENT: Final = Decimal("0.01")
_GIBIBYTE: Final = 2**30


@cache
def price_list() -> Mapping[str, Any]:
    """Return the list as its file has it."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def monthly(item: Item) -> Decimal | None:
    """Return US dollars a month for being there, used or not; None where that is not known."""
    if item.is_pending_deletion:
        return Decimal(0)
    cost = _monthly(item, price_list())
    return None if cost is None else cost.quantize(_CENT)


def total(items: Iterable[Item]) -> tuple[Decimal, int]:
    """Return the sum of what is priced, and how many are not."""
    costs = [monthly(item) for item in items]
    priced = [cost for cost in costs if cost is not None]
    return sum(priced, Decimal(0)), len(costs) - len(priced)


def said(cost: Decimal | None) -> str:
    """Return a cost as people read it."""
    return "unpriced" if cost is None else f"${cost} a month"


def basis() -> str:
    """Return what the estimates rest on."""
    prices = price_list()
    return f"list prices of {prices['region']} as of {prices['as_of']}"


def _monthly(item: Item, prices: Mapping[str, Any]) -> Decimal | None:
    kind, raw = item.kind, item.raw
    if kind in prices["free"]["kinds"]:
        return Decimal(0)
    if kind in prices["gibibyte"]:
        return _gibibytes(item) * Decimal(prices["gibibyte"][kind])
    if kind in prices["monthly"]:
        return Decimal(prices["monthly"][kind])
    if kind in prices["hourly"]:
        return _for_hours(item, Decimal(prices["hourly"][kind]))
    price = prices.get(kind, {}).get(raw.get(_CLASSES.get(kind, "")))
    if price is None:
        return None
    match kind:
        case "volume":
            return Decimal(price) * int(raw.get("Size", 0))
        case "database":
            return _database(raw, _hours(price), Decimal(prices["database"]["storage"]))
        case _:
            return _hours(price)


def _for_hours(item: Item, price: Decimal) -> Decimal | None:
    """Return what is paid for by the hour: a gateway's balancer by use, an endpoint per zone."""
    if item.kind == "load balancer" and item.raw.get("Type") == "gateway":
        return None
    number = len(item.raw.get("SubnetIds") or ()) if item.kind == "vpc endpoint" else 1
    return price * HOURS_A_MONTH * number


def _database(raw: Mapping[str, Any], instance: Decimal, storage: Decimal) -> Decimal:
    copies = 2 if raw.get("MultiAZ") else 1
    return (instance + storage * int(raw.get("AllocatedStorage", 0))) * copies


def _gibibytes(item: Item) -> Decimal:
    raw = item.raw
    if item.kind == "log group":
        return Decimal(int(raw.get("storedBytes", 0))) / _GIBIBYTE
    return Decimal(int(raw.get("AllocatedStorage") or raw.get("VolumeSize") or 0))


def _hours(price: str) -> Decimal:
    return Decimal(price) * HOURS_A_MONTH

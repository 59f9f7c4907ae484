"""What is left behind has an estimated price, and what has none is never called free."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from ops.teardown import prices
from ops.teardown.listing import Item
from tests.ops.teardown.samples import item

PRICED = (
    (item("nat gateway", "nat-1"), "32.85"),
    (item("volume", "vol-1", VolumeType="gp3", Size=10), "0.80"),
    (item("load balancer", "a", Type="application"), "16.42"),
    (item("vpc endpoint", "vpce-1", VpcEndpointType="Gateway"), "0.00"),
    (item("vpc endpoint", "vpce-2", SubnetIds=["a", "b", "c"]), "21.90"),
    (item("database snapshot", "s", AllocatedStorage=20), "1.90"),
    (item("snapshot", "snap-1", VolumeSize=100), "5.00"),
    (item("retained backup", "db-OLD", AllocatedStorage=20), "1.90"),
    (item("instance", "i-1", InstanceType="t4g.large"), "49.06"),
    (item("database", "d", DBInstanceClass="db.t4g.medium", AllocatedStorage=20), "49.75"),
    (item("key", "k", KeyState="Enabled"), "1.00"),
    (item("key", "k", KeyState="PendingDeletion"), "0"),
    (item("log group", "g", storedBytes=2**31), "0.06"),
    (item("role", "r"), "0"),
)


@pytest.mark.parametrize(("thing", "dollars"), PRICED, ids=lambda value: str(value)[:24])
def test_a_thing_costs_so_much_a_month(thing: Item, dollars: str) -> None:
    assert prices.monthly(thing) == Decimal(dollars)


def test_two_zones_cost_a_database_twice() -> None:
    single, double = (
        item("database", "d", DBInstanceClass="db.t4g.medium", AllocatedStorage=20, MultiAZ=multi)
        for multi in (False, True)
    )
    assert prices.total([double])[0] == pytest.approx(
        prices.total([single])[0] * 2, abs=Decimal("0.02")
    )


@pytest.mark.parametrize(
    "thing",
    [
        item("bucket", "b"),
        item("instance", "i-1", InstanceType="x99.huge"),
        item("database", "d", DBInstanceClass="storage"[:3]),
        item("load balancer", "g", Type="gateway"),
        item("lambda function", "f"),
    ],
)
def test_what_the_list_does_not_know_is_unpriced(thing: Item) -> None:
    assert prices.monthly(thing) is None
    assert prices.said(prices.monthly(thing)) == "unpriced"


def test_a_total_says_how_many_it_leaves_out() -> None:
    assert prices.total([item("nat gateway", "n"), item("bucket", "b")]) == (Decimal("32.85"), 1)


def test_the_list_says_of_which_day_and_region_it_is() -> None:
    listed = prices.price_list()
    assert isinstance(listed["as_of"], dt.date)
    assert listed["region"] == "us-east-1"
    assert all(source.startswith("https://aws.amazon.com/") for source in listed["sources"])
    assert prices.basis() == f"list prices of us-east-1 as of {listed['as_of']}"

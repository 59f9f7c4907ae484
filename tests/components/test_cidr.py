from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cidr import MAX_PREFIX, MIN_PREFIX, SLOTS, Tier, plan_subnets

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d")

vpcs = st.builds(
    lambda prefix, block: str(IPv4Network((0x0A000000 + (block << (32 - prefix)), prefix))),
    st.integers(MIN_PREFIX, MAX_PREFIX),
    st.integers(0, 255),
)
zone_slots = st.permutations(range(SLOTS)).flatmap(
    lambda order: st.integers(1, SLOTS).map(lambda count: dict(zip(ZONES, order[:count])))  # noqa: B905  # the shorter one counts
)


def blocks(vpc: str, slots: dict[str, int]) -> list[IPv4Network]:
    return [
        IPv4Network(layout.of(tier))  # strict: refuses a block that is not aligned
        for layout in plan_subnets(vpc, slots).values()
        for tier in Tier
    ]


@given(vpcs, zone_slots)
def test_subnets_are_aligned_and_inside_the_vpc(vpc: str, slots: dict[str, int]) -> None:
    assert all(block.subnet_of(IPv4Network(vpc)) for block in blocks(vpc, slots))


@given(vpcs, zone_slots)
def test_no_two_subnets_overlap(vpc: str, slots: dict[str, int]) -> None:
    assert not any(one.overlaps(two) for one, two in combinations(blocks(vpc, slots), 2))


@given(vpcs, zone_slots)
def test_every_zone_gets_one_subnet_a_tier(vpc: str, slots: dict[str, int]) -> None:
    layouts = plan_subnets(vpc, slots)
    assert set(layouts) == set(slots)
    assert list(layouts) == sorted(slots, key=lambda zone: slots[zone])


@given(vpcs, zone_slots)
def test_adding_or_removing_a_zone_moves_no_other(vpc: str, slots: dict[str, int]) -> None:
    whole = plan_subnets(vpc, slots)
    for gone in slots:
        rest = {zone: slot for zone, slot in slots.items() if zone != gone}
        assert plan_subnets(vpc, rest) == {zone: whole[zone] for zone in whole if zone != gone}


@given(vpcs, zone_slots)
def test_node_subnets_are_eight_times_the_others_and_all_are_large_enough_for_aws(
    vpc: str, slots: dict[str, int]
) -> None:
    for layout in plan_subnets(vpc, slots).values():
        private = IPv4Network(layout.private)
        for small in (IPv4Network(layout.public), IPv4Network(layout.database)):
            assert private.num_addresses == 8 * small.num_addresses
            assert small.prefixlen <= 27


def test_the_order_in_which_zones_are_listed_means_nothing() -> None:
    slots = {"us-east-1a": 0, "us-east-1b": 1}
    assert plan_subnets("10.0.0.0/16", slots) == plan_subnets(
        "10.0.0.0/16", dict(reversed(slots.items()))
    )


def test_the_layout_of_a_sixteen_is_pinned() -> None:
    """These addresses are deployed: another result would replace subnets that are in use."""
    layout = plan_subnets("10.0.0.0/16", dict(zip(ZONES, range(3))))  # noqa: B905
    assert {zone: (at.private, at.public, at.database) for zone, at in layout.items()} == {
        "us-east-1a": ("10.0.0.0/19", "10.0.32.0/22", "10.0.36.0/22"),
        "us-east-1b": ("10.0.64.0/19", "10.0.96.0/22", "10.0.100.0/22"),
        "us-east-1c": ("10.0.128.0/19", "10.0.160.0/22", "10.0.164.0/22"),
    }


@pytest.mark.parametrize("vpc", ["10.0.0.0/15", "10.0.0.0/22"])
def test_a_vpc_of_an_unusable_size_is_refused_with_the_sizes_that_are(vpc: str) -> None:
    with pytest.raises(ValueError, match=r"a VPC of /16 to /21 is needed"):
        plan_subnets(vpc, {"us-east-1a": 0})


def test_a_block_with_host_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        plan_subnets("10.0.1.0/16", {"us-east-1a": 0})


def test_a_fifth_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="slots go from 0 to 3"):
        plan_subnets("10.0.0.0/16", {"us-east-1e": 4})


def test_two_zones_in_one_slot_are_refused() -> None:
    with pytest.raises(ValueError, match="share a slot"):
        plan_subnets("10.0.0.0/16", {"us-east-1a": 1, "us-east-1b": 1})

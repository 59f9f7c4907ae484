"""Subnet layout: which addresses every tier has in every availability zone. Pure arithmetic.

The VPC is cut into four equal quarters, one per *slot*, and a zone keeps the slot it was given.
So a fourth zone is added without moving the first three, and the order in which zones are listed
means nothing. Within a quarter:

    first half                     private   nodes and pods: each takes an address of the VPC
    second half, first eighth      public    load balancers and NAT gateways
    second half, second eighth     database  RDS and nothing else
    the rest                       spare     for a tier that does not exist yet

A /16 gives /19 private (8,187 usable addresses) and /22 public and database (1,019) subnets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network

SLOTS = 4
MIN_PREFIX, MAX_PREFIX = 16, 21
"""A VPC larger than /16 AWS refuses; below /21 a public subnet is too small for a load balancer,
which wants a /27."""

_QUARTER_BITS = 2
_PRIVATE_BITS = 1
_SMALL_BITS = 4


class Tier(StrEnum):
    """What a subnet is for; decides its routes, its firewall and its size."""

    PUBLIC = "public"
    PRIVATE = "private"
    DATABASE = "database"


@dataclass(frozen=True)
class ZoneLayout:
    """The subnets of one availability zone, as CIDR blocks."""

    public: str
    private: str
    database: str

    def of(self, tier: Tier) -> str:
        """Return the CIDR block of a tier."""
        return {
            Tier.PUBLIC: self.public,
            Tier.PRIVATE: self.private,
            Tier.DATABASE: self.database,
        }[tier]


def plan_subnets(vpc_cidr: str, slots: Mapping[str, int]) -> dict[str, ZoneLayout]:
    """Return the layout of every zone, keyed by the zone's name in the order of the slots.

    `slots` pins a zone's name to its quarter of the VPC, 0 to 3.
    Raises ValueError for a block that is no aligned network, one of an unusable size, a slot
    outside the four, and two zones in one slot.
    """
    vpc = IPv4Network(vpc_cidr)
    if not MIN_PREFIX <= vpc.prefixlen <= MAX_PREFIX:
        raise ValueError(
            f"{vpc_cidr} cannot hold the subnets: a VPC of /{MIN_PREFIX} to /{MAX_PREFIX} is needed"
        )
    outside = {zone: slot for zone, slot in slots.items() if not 0 <= slot < SLOTS}
    if outside:
        raise ValueError(f"slots go from 0 to {SLOTS - 1}, found {outside}")
    if len(set(slots.values())) != len(slots):
        raise ValueError(f"two zones share a slot: {dict(slots)}")
    quarters = list(vpc.subnets(_QUARTER_BITS))
    return {
        zone: _cut(quarters[slot]) for zone, slot in sorted(slots.items(), key=lambda item: item[1])
    }


def _cut(quarter: IPv4Network) -> ZoneLayout:
    private, rest = quarter.subnets(_PRIVATE_BITS)
    small = rest.subnets(_SMALL_BITS - _PRIVATE_BITS)
    return ZoneLayout(public=str(next(small)), private=str(private), database=str(next(small)))

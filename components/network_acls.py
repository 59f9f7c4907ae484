"""Network ACL rules of every subnet tier. Pure.

ACLs are stateless: an answer needs a rule of its own. Clients answer on any port above 1023, so
the return range is open, but cut around 3389: remote desktop is admitted nowhere. NAT gateways
choose source ports from 1024 to 65535, so about one connection in 64,000 falls into that cut and
has to be tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.cidr import Tier

ANYWHERE = "0.0.0.0/0"
RETURN_PORTS = ((1024, 3388), (3390, 65535))
_HTTPS = (443, 443)
_HTTP = (80, 80)
_WEB = (_HTTP, _HTTPS)
_DNS = (53, 53)
_FRAGMENTATION_NEEDED = (3, 4)
"""ICMP type and code by which a router says that a packet is too large for the way ahead."""
_STEP = 10


@dataclass(frozen=True)
class AclRule:
    """One admitted direction of traffic: protocol, the other side's block, and ports."""

    protocol: str
    cidr: str
    ports: tuple[int, int]
    """First and last; zeros for ICMP, which has none."""
    icmp: tuple[int, int] | None = None
    """Type and code, for ICMP alone."""


@dataclass(frozen=True)
class AclRules:
    """What an ACL admits; everything else is denied by the ACL itself."""

    ingress: Sequence[AclRule]
    egress: Sequence[AclRule]


def numbered(rules: Sequence[AclRule]) -> list[tuple[int, AclRule]]:
    """Return the rules numbered 100, 110, …: an incident may need one in between."""
    return [(100 + _STEP * index, rule) for index, rule in enumerate(rules)]


def acl_rules(
    tier: Tier,
    *,
    vpc_cidr: str,
    private_cidrs: Sequence[str],
    database_ports: Sequence[int],
    client_cidrs: Sequence[str] = (),
) -> AclRules:
    """Return what the ACL of a tier admits.

    public    nodes on their way out through NAT, HTTPS only, and the answers
    private   the VPC's own traffic, HTTPS to anywhere, the load balancer's clients from outside
              (`client_cidrs`), and the answers
    database  the database ports from the private subnets, and the answers; no internet

    A router's word that a packet is too large comes in from anywhere, through NAT to the nodes:
    without it a connection with large packets hangs.
    """
    too_large = _too_large(ANYWHERE)
    if tier is Tier.PUBLIC:
        return AclRules(
            ingress=[AclRule("tcp", vpc_cidr, _HTTPS), *_returns("tcp", ANYWHERE), too_large],
            egress=[
                AclRule("tcp", ANYWHERE, _HTTPS),
                *_returns("tcp", vpc_cidr),
                _too_large(vpc_cidr),
            ],
        )
    if tier is Tier.PRIVATE:
        inside = [
            AclRule("tcp", vpc_cidr, _HTTP),
            AclRule("tcp", vpc_cidr, _DNS),
            AclRule("udp", vpc_cidr, _DNS),
            *_returns("udp", vpc_cidr),
        ]
        return AclRules(
            ingress=[
                AclRule("tcp", vpc_cidr, _HTTPS),
                *inside,
                *_returns("tcp", ANYWHERE),
                too_large,
                *(AclRule("tcp", cidr, ports) for cidr in client_cidrs for ports in _WEB),
            ],
            egress=[
                AclRule("tcp", ANYWHERE, _HTTPS),
                *inside,
                *_returns("tcp", vpc_cidr),
                *(rule for cidr in client_cidrs for rule in _returns("tcp", cidr)),
            ],
        )
    return AclRules(
        ingress=[
            AclRule("tcp", cidr, (port, port)) for cidr in private_cidrs for port in database_ports
        ],
        egress=[rule for cidr in private_cidrs for rule in _returns("tcp", cidr)],
    )


def _too_large(cidr: str) -> AclRule:
    return AclRule("icmp", cidr, (0, 0), icmp=_FRAGMENTATION_NEEDED)


def _returns(protocol: str, cidr: str) -> list[AclRule]:
    return [AclRule(protocol, cidr, ports) for ports in RETURN_PORTS]

from collections.abc import Sequence

import pytest

from components.cidr import Tier
from components.network_acls import ANYWHERE, AclRule, AclRules, acl_rules, numbered

VPC = "10.0.0.0/16"
PRIVATE = ["10.0.0.0/19", "10.0.64.0/19"]


def rules(tier: Tier) -> AclRules:
    return acl_rules(tier, vpc_cidr=VPC, private_cidrs=PRIVATE, database_ports=[5432])


def admits(found: list[AclRule], port: int) -> set[str]:
    return {rule.cidr for rule in found if rule.ports[0] <= port <= rule.ports[1]}


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("port", [20, 21, 22, 3389])
def test_file_transfer_shell_and_remote_desktop_come_in_nowhere(tier: Tier, port: int) -> None:
    assert admits(list(rules(tier).ingress), port) == set()


@pytest.mark.parametrize("tier", Tier)
def test_no_rule_opens_all_ports(tier: Tier) -> None:
    both = [*rules(tier).ingress, *rules(tier).egress]
    assert all(rule.ports[1] - rule.ports[0] < 65535 - 1024 for rule in both)
    assert {rule.protocol for rule in both} <= {"tcp", "udp", "icmp"}
    assert all((rule.protocol == "icmp") == (rule.icmp is not None) for rule in both)


@pytest.mark.parametrize("port", [1024, 3388, 3390, 65535])
def test_answers_from_the_internet_reach_nodes(port: int) -> None:
    assert ANYWHERE in admits(list(rules(Tier.PRIVATE).ingress), port)
    assert ANYWHERE in admits(list(rules(Tier.PUBLIC).ingress), port)


def test_word_of_a_packet_too_large_reaches_nodes_through_nat_and_no_other_icmp_does() -> None:
    def icmp(found: Sequence[AclRule]) -> list[tuple[str, tuple[int, int] | None]]:
        return [(rule.cidr, rule.icmp) for rule in found if rule.protocol == "icmp"]

    public, private = rules(Tier.PUBLIC), rules(Tier.PRIVATE)
    assert icmp(public.ingress) == [(ANYWHERE, (3, 4))]
    assert icmp(public.egress) == [(VPC, (3, 4))]
    assert icmp(private.ingress) == [(ANYWHERE, (3, 4))]
    assert (
        icmp([*private.egress, *rules(Tier.DATABASE).ingress, *rules(Tier.DATABASE).egress]) == []
    )


def test_nodes_reach_the_internet_by_https_alone() -> None:
    outside = [rule for rule in rules(Tier.PRIVATE).egress if rule.cidr == ANYWHERE]
    assert [rule.ports for rule in outside] == [(443, 443)]


def test_clients_from_outside_reach_the_load_balancer_and_nothing_else() -> None:
    client = "192.168.0.0/24"
    for tier in Tier:
        found = acl_rules(
            tier,
            vpc_cidr=VPC,
            private_cidrs=PRIVATE,
            database_ports=[5432],
            client_cidrs=[client] * 5,
        )
        assert max(len(found.ingress), len(found.egress)) <= 20
        ports = {rule.ports for rule in found.ingress if rule.cidr == client}
        assert ports == ({(80, 80), (443, 443)} if tier is Tier.PRIVATE else set())
        answers = {rule.ports[0] for rule in found.egress if rule.cidr == client}
        assert answers == ({1024, 3390} if tier is Tier.PRIVATE else set())


def test_the_database_tier_talks_to_private_subnets_only() -> None:
    found = rules(Tier.DATABASE)
    assert {rule.cidr for rule in [*found.ingress, *found.egress]} == set(PRIVATE)
    assert {rule.ports for rule in found.ingress} == {(5432, 5432)}


@pytest.mark.parametrize("tier", Tier)
def test_an_acl_stays_within_twenty_rules_a_direction_with_four_zones(tier: Tier) -> None:
    found = acl_rules(tier, vpc_cidr=VPC, private_cidrs=["10.0.0.0/19"] * 4, database_ports=[5432])
    assert max(len(found.ingress), len(found.egress)) <= 20


def test_rules_are_numbered_with_gaps() -> None:
    found = numbered([AclRule("tcp", VPC, (443, 443)), AclRule("tcp", VPC, (80, 80))])
    assert [number for number, _ in found] == [100, 110]

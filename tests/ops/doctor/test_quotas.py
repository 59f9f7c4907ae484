"""Quotas: what is needed still, beside what is there."""

from __future__ import annotations

import pytest

from infra.settings import Settings
from ops.doctor import quotas
from ops.doctor.quotas import QUOTAS, Used, judge

BY_NAME = {quota.name: quota for quota in QUOTAS}


@pytest.mark.parametrize(
    ("used", "allowed", "status"),
    [
        (Used(all=0, ours=0), 5, "ok"),
        (Used(all=4, ours=0), 5, "ok"),
        (Used(all=5, ours=0), 5, "fail"),
        (Used(all=5, ours=1), 5, "ok"),
    ],
)
def test_only_what_is_still_to_be_made_has_to_fit(used: Used, allowed: int, status: str) -> None:
    check = judge(BY_NAME["VPCs"], need=1, used=used, allowed=allowed)
    assert check.status == status


def test_a_quota_that_is_too_small_says_how_to_ask_for_what_is_needed() -> None:
    quota = BY_NAME["vCPUs of standard on-demand instances"]
    check = judge(quota, need=8, used=Used(all=4, ours=0), allowed=5)
    assert check.found == "4 of 5 used, 8 more needed"
    assert "--service-code ec2 --quota-code L-1216C47A --desired-value 12" in check.remedy


def test_the_nodes_of_all_groups_at_their_most_are_counted(dev: Settings) -> None:
    (group,) = dev.eks.node_groups
    more = group.model_copy(update={"name": "more", "instance_types": ("m7g.xlarge", "t4g.large")})
    spot = group.model_copy(update={"name": "spot", "capacity": "SPOT"})
    eks = dev.eks.model_copy(update={"node_groups": (group, more, spot)})
    settings = dev.model_copy(update={"eks": eks})
    sizes = {"t4g.large": 2, "m7g.xlarge": 4}
    need = BY_NAME["vCPUs of standard on-demand instances"].need(settings, sizes)
    assert need == 4 * 2 + 4 * 4


@pytest.mark.parametrize(("nat", "addresses"), [("none", 0), ("single", 1), ("per-az", 3)])
def test_each_nat_gateway_has_an_address(dev: Settings, nat: str, addresses: int) -> None:
    network = dev.network.model_copy(update={"nat": nat})
    settings = dev.model_copy(update={"network": network})
    assert BY_NAME["elastic IPs"].need(settings, {}) == addresses


def test_each_quota_is_asked_for_once() -> None:
    codes = [(quota.service, quota.code) for quota in quotas.QUOTAS]
    assert len(set(codes)) == len(codes)

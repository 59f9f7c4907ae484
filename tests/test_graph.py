"""The recording monitor itself: it must notice what the SDK's own mocks let pass."""

import pulumi
import pytest
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.get_region import get_region

from tests.graph import Graph, record


def test_one_urn_registered_twice_is_refused() -> None:
    def program() -> None:
        Vpc("same", cidr_block="10.0.0.0/16")
        Vpc("same", cidr_block="10.1.0.0/16")

    with pytest.raises(Exception, match="registered twice"):
        record(program)


def test_a_lookup_in_the_cloud_is_refused() -> None:
    with pytest.raises(Exception, match="looks up aws:index/getRegion"):
        record(get_region)


def test_an_exception_inside_apply_fails_the_run() -> None:
    def program() -> None:
        Vpc("one", cidr_block="10.0.0.0/16").id.apply(lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        record(program)


def test_runs_do_not_see_each_other() -> None:
    def program() -> None:
        pulumi.export("stack", pulumi.get_stack())
        Vpc("one", cidr_block="10.0.0.0/16")

    first, second = record(program, stack="dev"), record(program, stack="uat")
    assert (first.exports, second.exports) == ({"stack": "dev"}, {"stack": "uat"})
    assert not set(first.nodes) & set(second.nodes)


def test_a_request_is_recorded_as_it_went_over_the_wire() -> None:
    graph: Graph = record(
        lambda: Vpc(
            "one",
            cidr_block="10.0.0.0/16",
            enable_dns_support=True,
            opts=pulumi.ResourceOptions(protect=True, ignore_changes=["tags"]),
        )
    )
    vpc = graph.one("aws:ec2/vpc:Vpc")
    assert vpc.inputs == {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True}
    assert vpc.protect
    assert vpc.ignore_changes == ("tags",)

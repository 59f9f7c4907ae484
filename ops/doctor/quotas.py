"""Quotas: what an environment needs of what AWS allows to an account, minus what it has already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.checks import Check
from ops.doctor.questions import Question

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access

TAGGED_AT_ONCE: Final = 20
"""How many load balancers' tags ELB tells in one call."""
STANDARD_FAMILIES: Final = "acdhimrtz"
"""First letters of the instance types that count for the vCPUs of standard instances."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """How many there are of something."""

    all: int
    ours: int
    """Of them, the environment's own."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Something that AWS counts."""

    name: str
    service: str
    code: str
    need: Callable[[Settings, Mapping[str, int]], int]
    """How many the environment has when it stands; the second says how many vCPUs a type has."""
    count: Callable[[Access], Used] | None
    """How many are there; None where the quota is of each cluster or network, not of the region."""


def questions(access: Access) -> tuple[Question, ...]:
    """Give a question for every quota."""
    return tuple(
        Question(name=f"quota: {quota.name}", ask=partial(_ask, access, quota)) for quota in QUOTAS
    )


def judge(quota: Quota, *, need: int, used: Used, allowed: float) -> Check:
    """Say whether what is still to be made fits. Pure."""
    more = max(0, need - used.ours)
    fits = used.all + more <= allowed
    return Check(
        name=f"quota: {quota.name}",
        status="ok" if fits else "fail",
        found=f"{used.all} of {allowed:.0f} used, {more} more needed"
        if quota.count
        else f"{need} of {allowed:.0f} needed",
        expected=f"at least {used.all + more}",
        remedy=f"aws service-quotas request-service-quota-increase --service-code {quota.service} "
        f"--quota-code {quota.code} --desired-value {used.all + more}",
    )


def _ask(access: Access, quota: Quota) -> Check:
    used = quota.count(access) if quota.count else Used(all=0, ours=0)
    types = {kind for group in access.settings.eks.node_groups for kind in group.instance_types}
    sizes = _vcpus(access, sorted(types)) if quota.code == VCPUS else {}
    need = quota.need(access.settings, sizes)
    return judge(quota, need=need, used=used, allowed=_allowed(access, quota))


def _allowed(access: Access, quota: Quota) -> float:
    """Give the account's quota; AWS's own default where the account's was never asked for."""
    client = access.client("service-quotas")
    asked = {"ServiceCode": quota.service, "QuotaCode": quota.code}
    try:
        answer = client.get_service_quota(**asked)
    except client.exceptions.NoSuchResourceException:
        answer = client.get_aws_default_service_quota(**asked)
    return float(answer["Quota"]["Value"])


def _vcpus(access: Access, types: Sequence[str]) -> dict[str, int]:
    pages = access.client("ec2").get_paginator("describe_instance_types")
    return {
        item["InstanceType"]: int(item["VCpuInfo"]["DefaultVCpus"])
        for page in pages.paginate(InstanceTypes=list(types))
        for item in page["InstanceTypes"]
    }


def _nodes(settings: Settings, sizes: Mapping[str, int]) -> int:
    """Give the vCPUs of all nodes at their most, each of the largest of its group's types."""
    return sum(
        group.max_size * max(sizes.get(kind, 0) for kind in group.instance_types)
        for group in settings.eks.node_groups
        if group.capacity == "ON_DEMAND"
    )


def _gateways(settings: Settings, _sizes: Mapping[str, int]) -> int:
    zones = len(settings.network.availability_zones)
    return {"none": 0, "single": 1, "per-az": zones}.get(settings.network.nat, zones)


def _listed(
    service: str, operation: str, key: str, own: Callable[[Any, Settings], bool]
) -> Callable[[Access], Used]:
    """Give a count of what an operation lists; `own` tells what is the environment's."""

    def count(access: Access) -> Used:
        items = [
            item
            for page in access.client(service).get_paginator(operation).paginate()
            for item in page[key]
        ]
        return Used(all=len(items), ours=sum(own(item, access.settings) for item in items))

    return count


def _tagged(item: Mapping[str, Any], settings: Settings) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    return tags.get("environment") == settings.environment and (
        tags.get("project", naming.PROJECT) == naming.PROJECT
    )


def _live_gateways(access: Access) -> Used:
    """Count the NAT gateways of the fullest of the environment's zones: AWS counts by zone."""
    ec2 = access.client("ec2")
    subnets = ec2.get_paginator("describe_subnets").paginate()
    zones = {
        item["SubnetId"]: item["AvailabilityZone"] for page in subnets for item in page["Subnets"]
    }
    pages = ec2.get_paginator("describe_nat_gateways").paginate()
    live = [item for page in pages for item in page["NatGateways"] if item["State"] != "deleted"]

    def of_zone(zone: str) -> Used:
        here = [item for item in live if zones.get(item["SubnetId"]) == zone]
        return Used(all=len(here), ours=sum(_tagged(item, access.settings) for item in here))

    each = map(of_zone, access.settings.network.availability_zones)
    return max(each, key=lambda used: used.all - used.ours)


def _load_balancers(access: Access) -> Used:
    client = access.client("elbv2")
    pages = client.get_paginator("describe_load_balancers").paginate()
    arns = [item["LoadBalancerArn"] for page in pages for item in page["LoadBalancers"]]
    ours = 0
    for start in range(0, len(arns), TAGGED_AT_ONCE):
        answer = client.describe_tags(ResourceArns=arns[start : start + TAGGED_AT_ONCE])
        ours += sum(_tagged(item, access.settings) for item in answer["TagDescriptions"])
    return Used(all=len(arns), ours=ours)


def _addresses(access: Access) -> Used:
    items = access.client("ec2").describe_addresses()["Addresses"]
    return Used(all=len(items), ours=sum(_tagged(item, access.settings) for item in items))


def _running_vcpus(access: Access) -> Used:
    pages = access.client("ec2").get_paginator("describe_instances")
    wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    items = [
        item
        for page in pages.paginate(Filters=wanted)
        for reservation in page["Reservations"]
        for item in reservation["Instances"]
        if item.get("InstanceLifecycle") != "spot" and item["InstanceType"][0] in STANDARD_FAMILIES
    ]
    return Used(
        all=sum(map(_cores, items)),
        ours=sum(_cores(item) for item in items if _tagged(item, access.settings)),
    )


def _cores(instance: Mapping[str, Any]) -> int:
    options = instance.get("CpuOptions", {})
    return int(options.get("CoreCount", 1)) * int(options.get("ThreadsPerCore", 1))


VCPUS: Final = "L-1216C47A"
QUOTAS: Final[Sequence[Quota]] = (
    Quota(
        name="VPCs",
        service="vpc",
        code="L-F678F1CE",
        need=lambda _settings, _sizes: 1,
        count=_listed("ec2", "describe_vpcs", "Vpcs", _tagged),
    ),
    Quota(
        name="internet gateways",
        service="vpc",
        code="L-A4707A72",
        need=lambda _settings, _sizes: 1,
        count=_listed("ec2", "describe_internet_gateways", "InternetGateways", _tagged),
    ),
    Quota(
        name="elastic IPs",
        service="ec2",
        code="L-0263D0A3",
        need=_gateways,
        count=_addresses,
    ),
    Quota(
        name="NAT gateways of a zone",
        service="vpc",
        code="L-FE5A380F",
        need=lambda settings, sizes: min(1, _gateways(settings, sizes)),
        count=_live_gateways,
    ),
    Quota(
        name="interface endpoints of a VPC",
        service="vpc",
        code="L-29B6F2EB",
        need=lambda settings, _sizes: len(settings.network.interface_endpoints),
        count=None,
    ),
    Quota(
        name="vCPUs of standard on-demand instances",
        service="ec2",
        code=VCPUS,
        need=_nodes,
        count=_running_vcpus,
    ),
    Quota(
        name="EKS clusters",
        service="eks",
        code="L-1194D53C",
        need=lambda _settings, _sizes: 1,
        count=_listed(
            "eks",
            "list_clusters",
            "clusters",
            lambda name, settings: bool(name == naming.cluster(settings.environment)),
        ),
    ),
    Quota(
        name="node groups of a cluster",
        service="eks",
        code="L-6D54EA21",
        need=lambda settings, _sizes: len(settings.eks.node_groups),
        count=None,
    ),
    Quota(
        name="nodes of a node group",
        service="eks",
        code="L-BD136A63",
        need=lambda settings, _sizes: max(group.max_size for group in settings.eks.node_groups),
        count=None,
    ),
    Quota(
        name="database instances",
        service="rds",
        code="L-7B6409FD",
        need=lambda settings, _sizes: len(settings.databases),
        count=_listed(
            "rds",
            "describe_db_instances",
            "DBInstances",
            lambda item, settings: (
                item["DBInstanceIdentifier"] in {one.identifier for one in settings.databases}
            ),
        ),
    ),
    Quota(
        name="application load balancers",
        service="elasticloadbalancing",
        code="L-53DA6B97",
        need=lambda _settings, _sizes: 1,
        count=_load_balancers,
    ),
)
"""What an environment could run out of, in the order of making it."""

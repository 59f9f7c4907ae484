"""The tagging API finds every kind of thing that AWS's finds, where it is and while it is there.

moto leaves out EKS, ECR, CloudTrail, hosted zones, rules and parts of EC2 and RDS, lists buckets of
every region, and what was deleted. As at AWS, users and roles of IAM are not to be found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

Tagged = tuple[str, str, dict[str, str]]
"""Type as the tagging API names it, ARN, tags."""

GLOBAL_REGION: Final = "us-east-1"


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _find_every_kind()
    _find_every_kind_of_network()
    _find_groups_of_databases()
    _find_rules()
    _end_pages_as_aws_does()


def _pairs(tags: Iterable[Any] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


# -- services that moto's tagging API does not know -----------------------------------------


def _find_every_kind() -> None:
    from moto.core.resource_tagging import iter_taggable_backends as known
    from moto.resourcegroupstaggingapi import models

    def iter_taggable_backends(account_id: str, region_name: str) -> Iterator[Any]:
        yield from known(account_id, region_name)
        for service, find in _FINDERS.items():
            yield _Service(service, account_id, region_name, find)

    setattr(models, "iter_taggable_backends", iter_taggable_backends)  # noqa: B010
    original = models.ResourceGroupsTaggingAPIBackend._get_resources_generator  # noqa: SLF001

    def _get_resources_generator(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # What is found is found once, whatever changes while its pages are read.
        found = [one for one in original(self, *args, **kwargs) if _is_here(self, one)]
        return iter(found)

    setattr(  # noqa: B010
        models.ResourceGroupsTaggingAPIBackend, "_get_resources_generator", _get_resources_generator
    )


def _is_here(backend: Any, found: Any) -> bool:
    """Buckets are found in their own region only."""
    if found.resource_type != "s3:bucket":
        return True
    from moto.s3.models import s3_backends

    bucket = s3_backends[backend.account_id]["aws"].buckets.get(found.arn.rpartition(":")[2])
    return bucket is not None and bucket.region_name == backend.region_name


class _Service:
    """One service of one account and region, as moto's tagging API asks for it."""

    def __init__(
        self,
        service: str,
        account_id: str,
        region_name: str,
        find: Callable[[str, str], Iterator[tuple[Tagged, Any]]],
    ) -> None:
        self._prefix = f"arn:aws:{service}:"
        self._find = partial(find, account_id, region_name)

    def iter_tagged_resources(self) -> Iterator[Any]:
        """Give what there is."""
        from moto.core.resource_tagging import TaggedResource

        for (kind, arn, tags), _ in self._find():
            yield TaggedResource(arn=arn, tags=dict(tags), resource_type=kind)

    def owns_arn(self, arn: str) -> bool:
        """Tell whether an ARN is of this service."""
        return arn.startswith(self._prefix)

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        """Tag what has an ARN."""
        self._change_of(arn)[0](tags)

    def untag_resource(self, arn: str, tag_keys: list[str]) -> None:
        """Take tags from what has an ARN."""
        self._change_of(arn)[1](tag_keys)

    def _change_of(self, arn: str) -> Any:
        return next(change for (_, found, _), change in self._find() if found == arn)


def _mapping(tags: dict[str, str]) -> tuple[Any, Any]:
    """Give what tags and what untags a mapping in place."""

    def remove(keys: list[str]) -> None:
        for key in keys:
            tags.pop(key, None)

    return tags.update, remove


_EKS_PARTS: Final = {"addon": "addon", "accessEntry": "access-entry"}


def _eks(account_id: str, region_name: str) -> Iterator[tuple[Tagged, Any]]:
    from moto.eks.models import eks_backends

    for cluster in list(eks_backends[account_id][region_name].clusters.values()):
        yield ("eks:cluster", cluster.arn, cluster.tags), _mapping(cluster.tags)
        for group in list(cluster.nodegroups.values()):
            yield ("eks:nodegroup", group.arn, group.tags), _mapping(group.tags)
        for table in list(cluster.__dict__.get("sandbox_tables", {}).values()):
            for item in list(table.values()):
                for part, kind in _EKS_PARTS.items():
                    if f"{part}Arn" in item:
                        tags = dict.setdefault(item, "tags", {})
                        yield (f"eks:{kind}", item[f"{part}Arn"], tags), _mapping(tags)
                if "associationArn" in item:
                    tags = dict.setdefault(item, "tags", {})
                    arn = item["associationArn"]
                    yield ("eks:podidentityassociation", arn, tags), _mapping(tags)


def _tagger(tagger: Any, arn: str) -> tuple[dict[str, str], Any]:
    """Give the tags that moto's tagging service keeps of an ARN, and what changes them."""
    tags = tagger.get_tag_dict_for_resource(arn)

    def add(more: dict[str, str]) -> None:
        tagger.tag_resource(arn, tagger.convert_dict_to_tags_input(more))

    def remove(keys: list[str]) -> None:
        tagger.untag_resource_using_names(arn, keys)

    return tags, (add, remove)


def _ecr(account_id: str, region_name: str) -> Iterator[tuple[Tagged, Any]]:
    from moto.ecr.models import ecr_backends

    backend = ecr_backends[account_id][region_name]
    for repository in list(backend.repositories.values()):
        tags, change = _tagger(backend.tagger, repository.arn)
        yield ("ecr:repository", repository.arn, tags), change


def _trails(account_id: str, region_name: str) -> Iterator[tuple[Tagged, Any]]:
    from moto.cloudtrail.models import cloudtrail_backends

    backend = cloudtrail_backends[account_id][region_name]
    for trail in list(backend.trails.values()):
        tags, change = _tagger(backend.tagging_service, trail.arn)
        yield ("cloudtrail:trail", trail.arn, tags), change


def _zones(account_id: str, region_name: str) -> Iterator[tuple[Tagged, Any]]:
    from moto.route53.models import route53_backends

    if region_name != GLOBAL_REGION:
        return
    backend = route53_backends[account_id]["aws"]
    for id_ in list(backend.zones):
        tags = backend.resource_tags[id_]
        yield ("route53:hostedzone", f"arn:aws:route53:::hostedzone/{id_}", tags), _mapping(tags)


_FINDERS: Final[dict[str, Callable[[str, str], Iterator[tuple[Tagged, Any]]]]] = {
    "cloudtrail": _trails,
    "ecr": _ecr,
    "eks": _eks,
    "route53": _zones,
}


# -- services that it knows in part ---------------------------------------------------------


def _find_every_kind_of_network() -> None:
    from moto.core.resource_tagging import TaggedResource
    from moto.ec2.models import EC2Backend

    original = EC2Backend.iter_tagged_resources

    def iter_tagged_resources(self: Any) -> Iterator[Any]:
        gone = {
            *(id_ for id_, one in self.nat_gateways.items() if one.state == "deleted"),
            *(one.id for one in _instances(self) if one.state == "terminated"),
            *(id_ for id_, one in self.vpc_end_points.items() if one.state == "deleted"),
        }
        for found in original(self):
            if found.arn.rpartition("/")[2] not in gone:
                found.arn = found.arn.replace(":flow-logs/", ":vpc-flow-log/")
                found.resource_type = found.resource_type.replace("flow-logs", "vpc-flow-log")
                yield found
        prefix = f"arn:{self.partition}:ec2:{self.region_name}:{self.account_id}"
        for kind, ids in _more_of_ec2(self).items():
            for id_ in ids:
                if id_ not in gone:
                    tags = dict(self.tags.get(id_, {}))
                    yield TaggedResource(f"{prefix}:{kind}/{id_}", tags, f"ec2:{kind}")

    setattr(EC2Backend, "iter_tagged_resources", iter_tagged_resources)  # noqa: B010


def _instances(ec2: Any) -> list[Any]:
    return [one for found in list(ec2.reservations.values()) for one in found.instances]


def _more_of_ec2(ec2: Any) -> dict[str, list[str]]:
    groups = [group for groups in list(ec2.groups.values()) for group in list(groups.values())]
    return {
        "dhcp-options": list(ec2.dhcp_options_sets),
        "elastic-ip": [one.allocation_id for one in ec2.addresses if one.allocation_id],
        "launch-template": list(ec2.launch_templates),
        "network-acl": list(ec2.network_acls),
        "security-group-rule": [
            rule.id for group in groups for rule in [*group.ingress_rules, *group.egress_rules]
        ],
        "vpc-endpoint": list(ec2.vpc_end_points),
    }


def _find_groups_of_databases() -> None:
    from moto.core.resource_tagging import TaggedResource
    from moto.rds.models import RDSBackend

    original = RDSBackend.iter_tagged_resources

    def iter_tagged_resources(self: Any) -> Iterator[Any]:
        yield from original(self)
        kinds = {"rds:pg": self.db_parameter_groups, "rds:subgrp": self.subnet_groups}
        for kind, groups in kinds.items():
            for group in list(groups.values()):
                yield TaggedResource(group.arn, _pairs(group.get_tags()), kind)

    setattr(RDSBackend, "iter_tagged_resources", iter_tagged_resources)  # noqa: B010


def _find_rules() -> None:
    from moto.core.resource_tagging import TaggedResource
    from moto.events.models import EventsBackend

    original = EventsBackend.iter_tagged_resources

    def iter_tagged_resources(self: Any) -> Iterator[Any]:
        yield from original(self)
        for bus in list(self.event_buses.values()):
            for rule in list(bus.rules.values()):
                tags = self.tagger.get_tag_dict_for_resource(rule.arn)
                yield TaggedResource(rule.arn, tags, "events:rule")

    setattr(EventsBackend, "iter_tagged_resources", iter_tagged_resources)  # noqa: B010


def _end_pages_as_aws_does() -> None:
    from moto.resourcegroupstaggingapi.responses import ResourceGroupsTaggingAPIResponse as Response

    original = Response.get_resources

    def get_resources(self: Any) -> Any:
        answer: Any = original(self)
        answer.result["PaginationToken"] = answer.result["PaginationToken"] or ""
        return answer

    setattr(Response, "get_resources", get_resources)  # noqa: B010

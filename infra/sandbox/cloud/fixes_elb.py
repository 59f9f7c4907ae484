"""Corrections to moto's load balancers, their names in DNS, what joins them, and their metrics."""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

LOG_DELIVERY: Final = "logdelivery.elasticloadbalancing.amazonaws.com"
MOST_TAGS: Final = 50


def install() -> None:
    """Apply the corrections to the imported moto; once a process."""
    _keep_protected_load_balancers()
    _refuse_logs_that_could_not_be_written()
    _name_internal_load_balancers_as_such()
    _tell_what_leads_to_a_target_group()
    _refuse_a_second_listener_on_a_port()
    _give_resources_as_many_tags_as_aws_does()
    _refuse_groups_that_are_not_there()
    _forget_terminated_targets()
    _refuse_records_that_are_there()
    _tell_percentiles()


def _keep_protected_load_balancers() -> None:
    from moto.elbv2.exceptions import ELBClientError
    from moto.elbv2.models import ELBv2Backend

    original = ELBv2Backend.delete_load_balancer

    def delete_load_balancer(self: Any, arn: str) -> None:
        balancer = self.load_balancers.get(arn)
        if balancer is not None and balancer.attrs.get("deletion_protection.enabled") == "true":
            raise ELBClientError(
                "OperationNotPermitted",
                f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled",
            )
        original(self, arn)

    _replace(ELBv2Backend, delete_load_balancer)


def _refuse_logs_that_could_not_be_written() -> None:
    # ELB writes a test object when logs are switched on, and refuses if it may not.
    from moto.elbv2.exceptions import ELBClientError
    from moto.elbv2.models import ELBv2Backend
    from moto.s3.models import s3_backends

    original = ELBv2Backend.modify_load_balancer_attributes

    def modify_load_balancer_attributes(self: Any, arn: str, attrs: dict[str, Any]) -> Any:
        for kind in ("access_logs", "connection_logs"):
            if attrs.get(f"{kind}.s3.enabled") == "true":
                name, prefix = attrs[f"{kind}.s3.bucket"], attrs.get(f"{kind}.s3.prefix", "")
                bucket = s3_backends[self.account_id][self.partition].buckets.get(name)
                if bucket is None:
                    raise ELBClientError(
                        "InvalidConfigurationRequest", f"S3 bucket {name} does not exist"
                    )
                folder = f"{prefix}/AWSLogs" if prefix else "AWSLogs"
                target = f"arn:{self.partition}:s3:::{name}/{folder}/{self.account_id}/test"
                if not _may_deliver(bucket.policy, target):
                    raise ELBClientError(
                        "InvalidConfigurationRequest",
                        f"Access Denied for bucket: {name}. Please check S3bucket permission",
                    )
        return original(self, arn, attrs)

    _replace(ELBv2Backend, modify_load_balancer_attributes)


def _may_deliver(policy: str | bytes | None, target: str) -> bool:
    """Tell whether a bucket's policy lets load balancers put an object, conditions aside."""
    statements = _listed(json.loads(policy)["Statement"]) if policy else []
    return any(
        statement.get("Effect") == "Allow"
        and LOG_DELIVERY in _services(statement)
        and any(fnmatch.fnmatchcase("s3:PutObject", each) for each in _listed(statement["Action"]))
        and any(fnmatch.fnmatchcase(target, each) for each in _listed(statement["Resource"]))
        for statement in statements
    )


def _services(statement: Mapping[str, Any]) -> list[Any]:
    principal = statement.get("Principal")
    return _listed(principal.get("Service")) if isinstance(principal, dict) else []


def _name_internal_load_balancers_as_such() -> None:
    from moto.elbv2.models import FakeLoadBalancer

    original = FakeLoadBalancer.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        if self.scheme == "internal":
            self.dns_name = f"internal-{self.dns_name}"

    _replace(FakeLoadBalancer, __init__)


def _tell_what_leads_to_a_target_group() -> None:
    # moto adds a load balancer at creation of a rule, twice for two, and never takes it away.
    from moto.elbv2.models import ELBv2Backend

    original = ELBv2Backend.describe_target_groups

    def describe_target_groups(self: Any, *args: Any, **kwargs: Any) -> Any:
        for target_group in self.target_groups.values():
            target_group.load_balancer_arns = [
                arn
                for arn, balancer in self.load_balancers.items()
                if any(
                    target_group.arn in self._get_target_group_arns_from(action.data)
                    for listener in balancer.listeners.values()
                    for rule in listener.rules.values()
                    for action in rule.actions
                )
            ]
        return original(self, *args, **kwargs)

    _replace(ELBv2Backend, describe_target_groups)


def _refuse_a_second_listener_on_a_port() -> None:
    # moto looks for the port among ARNs.
    from moto.elbv2.exceptions import DuplicateListenerError
    from moto.elbv2.models import ELBv2Backend

    original = ELBv2Backend.create_listener

    def create_listener(self: Any, load_balancer_arn: str, *args: Any, **kwargs: Any) -> Any:
        balancer = self.load_balancers.get(load_balancer_arn)
        port = kwargs["port"] if "port" in kwargs else args[1]
        listeners = balancer.listeners.values() if balancer is not None else ()
        if any(str(listener.port) == str(port) for listener in listeners):
            raise DuplicateListenerError
        return original(self, load_balancer_arn, *args, **kwargs)

    _replace(ELBv2Backend, create_listener)


def _give_resources_as_many_tags_as_aws_does() -> None:
    from moto.elbv2.exceptions import TooManyTagsError
    from moto.elbv2.models import ELBv2Backend

    def add_tags(self: Any, resource_arns: list[str], tags: list[dict[str, str]]) -> None:
        for arn in resource_arns:
            self._get_resource_by_arn(arn)
            there = self.tagging_service.get_tag_dict_for_resource(arn)
            if len({*there, *(tag["Key"] for tag in tags)}) > MOST_TAGS:
                raise TooManyTagsError
            self.tagging_service.tag_resource(arn, tags)

    _replace(ELBv2Backend, add_tags)


def _refuse_groups_that_are_not_there() -> None:
    # moto answers 500, which clients try again and again.
    from moto.autoscaling.exceptions import AutoscalingClientError
    from moto.autoscaling.models import AutoScalingBackend

    for name in ("attach_load_balancer_target_groups", "detach_load_balancer_target_groups"):
        original = getattr(AutoScalingBackend, name)

        def checked(self: Any, group_name: str, arns: list[str], _inner: Any = original) -> None:
            if group_name not in self.autoscaling_groups:
                raise AutoscalingClientError(
                    "ValidationError", f"AutoScalingGroup name not found - {group_name}"
                )
            _inner(self, group_name, arns)

        setattr(AutoScalingBackend, name, checked)


def _forget_terminated_targets() -> None:
    # moto tells target groups only where a client terminates, not where a group shrinks.
    from moto.ec2.models.instances import InstanceBackend
    from moto.elbv2.models import elbv2_backends

    original = InstanceBackend.terminate_instances

    def terminate_instances(self: Any, instance_ids: list[str]) -> Any:
        ended = original(self, instance_ids)
        balancing = elbv2_backends[self.account_id][self.region_name]
        balancing.notify_terminate_instances(instance_ids)
        return ended

    _replace(InstanceBackend, terminate_instances)


def _refuse_records_that_are_there() -> None:
    # moto refuses only what was once created the very same, even when it is gone since.
    from moto.route53.exceptions import ResourceRecordAlreadyExists
    from moto.route53.models import Route53Backend

    original = Route53Backend.change_resource_record_sets

    def change_resource_record_sets(self: Any, zoneid: str, change_list: list[Any]) -> None:
        zone = self.get_hosted_zone(zoneid)
        for change in change_list:
            if change["Action"] != "CREATE":
                continue
            wanted = _record_key(change["ResourceRecordSet"])
            if wanted in {(r.name.strip("."), r.type, r.set_identifier) for r in zone.rrsets}:
                raise ResourceRecordAlreadyExists(name=f"{wanted[0]}.", _type=wanted[1])
            zone.rr_changes[:] = [
                each for each in zone.rr_changes if _record_key(each["ResourceRecordSet"]) != wanted
            ]
        original(self, zoneid, change_list)

    _replace(Route53Backend, change_resource_record_sets)


def _record_key(record: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return record["Name"].strip("."), record["Type"], record.get("SetIdentifier")


def _tell_percentiles() -> None:
    # moto has none, and then cannot write its own answer.
    from moto.cloudwatch.models import Statistics

    original = Statistics.get_statistics_for_type

    def get_statistics_for_type(self: Any, stat: str) -> Any:
        match = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?|100)", stat)
        if match is None:
            return original(self, stat)
        values = sorted(self.metric_single_values_list)
        rank = math.ceil(float(match[1]) / 100 * len(values))
        return values[max(rank, 1) - 1] if values else 0

    _replace(Statistics, get_statistics_for_type)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)

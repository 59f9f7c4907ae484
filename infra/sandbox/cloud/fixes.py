"""Corrections to moto where it contradicts AWS in a way that a rehearsal trips over."""

from __future__ import annotations

import fnmatch
import json
import uuid
from collections.abc import Callable
from typing import Any


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _ignore_conditional_statements_of_bucket_policies()
    _read_log_delivery_policies_as_aws_does()
    _give_each_database_its_own_resource_id()
    _mark_changed_database_parameters()
    _keep_template_tags_out_of_launch_template_data()
    _tell_security_group_rules_from_their_descriptions()
    _change_security_group_rules_of_every_source()
    _keep_routes_of_changed_endpoints()
    _delete_what_goes_with_networks()
    _remember_icmp_codes_of_network_acls()
    _let_log_groups_change_their_key()
    _replace_metric_filters_of_the_same_name()
    _answer_event_bridge_notifications()
    _answer_replication_rules_as_they_were_put()
    _forget_tags_of_deleted_parameters()


def _ignore_conditional_statements_of_bucket_policies() -> None:
    # moto enforces bucket policies but not their conditions: "deny unless TLS" denies everything.
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    original = FakeBucket.get_permission

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return original(self, action, resource)
        document = json.loads(self.policy)
        statements = _listed(document["Statement"])
        unconditional = [entry for entry in statements if not entry.get("Condition")]
        if not unconditional:
            return PermissionResult.NEUTRAL
        from moto.iam.access_control import IAMPolicy

        judged = IAMPolicy(json.dumps({**document, "Statement": unconditional}))
        return judged.is_action_permitted(action, resource)

    _replace(FakeBucket, get_permission)


def _read_log_delivery_policies_as_aws_does() -> None:
    # moto knows one writing of them only: no other principals, the action in a list, one resource.
    from moto.s3.models import FakeBucket

    def allows(statement: dict[str, Any], target: str) -> bool:
        principal = statement.get("Principal")
        services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
        actions, resources = _listed(statement.get("Action")), _listed(statement.get("Resource"))
        return (
            statement.get("Effect") == "Allow"
            and "logging.s3.amazonaws.com" in services
            and any(fnmatch.fnmatchcase("s3:PutObject", action) for action in actions)
            and any(fnmatch.fnmatchcase(target, resource) for resource in resources)
        )

    def _log_permissions_enabled_policy(target_bucket: Any, target_prefix: str | None) -> bool:
        if not target_bucket.policy:
            return False
        statements = _listed(json.loads(target_bucket.policy)["Statement"])
        partition = target_bucket.partition
        target = f"arn:{partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"
        return any(allows(statement, target) for statement in statements)

    name = _log_permissions_enabled_policy.__name__
    setattr(FakeBucket, name, staticmethod(_log_permissions_enabled_policy))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _give_each_database_its_own_resource_id() -> None:
    from moto.rds.models import DBInstance

    original = DBInstance.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        self.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"

    _replace(DBInstance, __init__)


def _mark_changed_database_parameters() -> None:
    from moto.rds.models import DBParameterGroup

    original = DBParameterGroup.update_parameters

    def update_parameters(self: Any, new_parameters: Any) -> None:
        changed = list(new_parameters)
        original(self, changed)
        for parameter in changed:
            self.parameters[parameter["ParameterName"]]["Source"] = "user"

    _replace(DBParameterGroup, update_parameters)


def _keep_template_tags_out_of_launch_template_data() -> None:
    # Tags for the template itself are not part of what it launches with.
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    original = LaunchTemplateVersion.__init__

    def __init__(self: Any, template: Any, number: int, data: Any, *args: Any) -> None:  # noqa: N807
        if isinstance(data, dict) and "TagSpecifications" in data:
            kept = [
                entry
                for entry in data["TagSpecifications"] or []
                if entry.get("ResourceType") != "launch-template"
            ]
            rest = {key: value for key, value in data.items() if key != "TagSpecifications"}
            data = {**rest, "TagSpecifications": kept} if kept else rest
        original(self, template, number, data, *args)

    _replace(LaunchTemplateVersion, __init__)


def _tell_security_group_rules_from_their_descriptions() -> None:
    # A rule is its protocol, ports and source; what it is described as does not make it another.
    from moto.ec2.models.security_groups import SecurityGroupRule

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        return isinstance(other, SecurityGroupRule) and _rule_key(self) == _rule_key(other)

    def description(self: Any) -> str | None:
        text = self.ip_range.get("Description") or self.source_group.get("Description")
        return str(text) if text else None

    _replace(SecurityGroupRule, __eq__)
    setattr(SecurityGroupRule, "description", property(description))  # noqa: B010


def _rule_key(rule: Any) -> tuple[Any, ...]:
    ports = () if rule.ip_protocol == "-1" else (rule.from_port, rule.to_port)
    source = (rule.cidr_ipv4, rule.cidr_ipv6, rule.source_group.get("GroupId"), rule.prefix_list_id)
    return (rule.ip_protocol, *ports, *source)


def _change_security_group_rules_of_every_source() -> None:
    from moto.ec2.models.security_groups import SecurityGroupBackend

    original = SecurityGroupBackend.modify_security_group_rules

    def modify_security_group_rules(
        self: Any, group_id: str, rules: dict[str, dict[str, Any]]
    ) -> None:
        original(self, group_id, rules)
        group = self.get_security_group_by_name_or_id(group_id)
        for rule_id, wanted in rules.items():
            rule = group.get_rule(rule_id)
            note = {"Description": wanted["Description"]} if wanted.get("Description") else {}
            cidrs = (("CidrIp", "CidrIpv4"), ("CidrIpv6", "CidrIpv6"))
            ranges = {name: wanted[key] for name, key in cidrs if wanted.get(key)}
            rule.ip_range = {**ranges, **note} if ranges else {}
            rule.prefix_list_id = wanted.get("PrefixListId")
            referenced = wanted.get("ReferencedGroupId")
            owner = {"UserId": self.account_id, "GroupId": referenced}
            rule.source_group = {**owner, **note} if referenced else {}

    _replace(SecurityGroupBackend, modify_security_group_rules)


def _keep_routes_of_changed_endpoints() -> None:
    # A gateway endpoint is a route in each of its tables, also in those that it gets later.
    from moto.ec2.models.vpcs import VPCBackend
    from moto.ec2.responses.vpcs import VPCs

    original = VPCBackend.modify_vpc_endpoint
    original_response = VPCs.modify_vpc_endpoint

    def modify_vpc_endpoint(self: Any, vpc_id: str, *args: Any, **kwargs: Any) -> None:
        endpoint = self.vpc_end_points.get(vpc_id)
        before = list(endpoint.route_table_ids or []) if endpoint else []
        original(self, vpc_id, *args, **kwargs)
        prefix_list = endpoint.destination_prefix_list_id if endpoint else None
        if not prefix_list:
            return
        after = endpoint.route_table_ids or []
        for table in [table for table in after if table not in before]:
            self.create_route(
                table, None, gateway_id=vpc_id, destination_prefix_list_id=prefix_list
            )
        for table in [table for table in before if table not in after]:
            self.delete_route(table, prefix_list)

    _replace(VPCBackend, modify_vpc_endpoint)

    def change_private_dns(self: Any) -> Any:
        answer = original_response(self)
        wanted = self._get_param("PrivateDnsEnabled")
        if wanted is not None:
            endpoint = self.ec2_backend.vpc_end_points[self._get_param("VpcEndpointId")]
            endpoint.private_dns_enabled = wanted
        return answer

    setattr(VPCs, "modify_vpc_endpoint", change_private_dns)  # noqa: B010 - the name is taken


def _delete_what_goes_with_networks() -> None:
    # AWS takes a VPC's default ACL and a NAT gateway's interface along, and frees the gateway's
    # address; moto does none of it.
    from moto.ec2.models.nat_gateways import NatGatewayBackend
    from moto.ec2.models.vpcs import VPCBackend

    original_vpc = VPCBackend.delete_vpc
    original_nat = NatGatewayBackend.delete_nat_gateway

    def delete_vpc(self: Any, vpc_id: str) -> Any:
        vpc = original_vpc(self, vpc_id)
        acls = self.network_acls
        for id_ in [id_ for id_, acl in acls.items() if acl.vpc_id == vpc_id and acl.default]:
            del acls[id_]
        return vpc

    def delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
        gateway = original_nat(self, nat_gateway_id)
        for address in gateway.address_set:
            self.enis.pop(address["networkInterfaceId"], None)
            allocation = address.get("allocationId")
            for elastic in self.addresses if allocation else ():
                if elastic.allocation_id == allocation:
                    elastic.eni = elastic.association_id = None
        return gateway

    _replace(VPCBackend, delete_vpc)
    _replace(NatGatewayBackend, delete_nat_gateway)


def _remember_icmp_codes_of_network_acls() -> None:
    from moto.ec2.models import ec2_backends
    from moto.ec2.responses.network_acls import NetworkACLs

    original = NetworkACLs.create_network_acl_entry

    def create_network_acl_entry(self: Any) -> Any:
        answer = original(self)
        codes = self._get_param("IcmpTypeCode") or {}
        acl = ec2_backends[self.current_account][self.region].network_acls[
            self._get_param("NetworkAclId")
        ]
        # The entry that was just made is the last.
        acl.network_acl_entries[-1].icmp_type = codes.get("Type")
        acl.network_acl_entries[-1].icmp_code = codes.get("Code")
        return answer

    _replace(NetworkACLs, create_network_acl_entry)


def _let_log_groups_change_their_key() -> None:
    from moto.logs.responses import LogsResponse

    def associate_kms_key(self: Any) -> str:
        _log_group(self).kms_key_id = self._get_param("kmsKeyId")
        return ""

    def disassociate_kms_key(self: Any) -> str:
        _log_group(self).kms_key_id = None
        return ""

    _replace(LogsResponse, associate_kms_key)
    _replace(LogsResponse, disassociate_kms_key)


def _log_group(response: Any) -> Any:
    from moto.logs.exceptions import ResourceNotFoundException

    name = response._get_param("logGroupName")  # noqa: SLF001 - moto's handlers are written so
    group = response.logs_backend.groups.get(name)
    if group is None:
        raise ResourceNotFoundException
    return group


def _replace_metric_filters_of_the_same_name() -> None:
    from moto.logs.metric_filters import MetricFilters

    original = MetricFilters.add_filter

    def add_filter(
        self: Any, filter_name: str, filter_pattern: str, log_group_name: str, changes: Any
    ) -> None:
        key = (filter_name, log_group_name)
        self.metric_filters = [
            entry
            for entry in self.metric_filters
            if (entry["filterName"], entry["logGroupName"]) != key
        ]
        original(self, filter_name, filter_pattern, log_group_name, changes)

    _replace(MetricFilters, add_filter)


def _answer_event_bridge_notifications() -> None:
    from moto.core.responses import ActionResult
    from moto.s3.responses import S3Response

    original = S3Response.get_bucket_notification

    def get_bucket_notification(self: Any) -> Any:
        config = self.backend.get_bucket_notification_configuration(self.bucket_name)
        if config is None or config.event_bridge is None:
            return original(self)
        serialize = self.serialized

        def serialized(answer: Any) -> Any:
            return serialize(ActionResult({**answer.result, "EventBridgeConfiguration": {}}))

        self.serialized = serialized
        return original(self)

    _replace(S3Response, get_bucket_notification)


def _answer_replication_rules_as_they_were_put() -> None:
    from moto.core.responses import ActionResult
    from moto.s3.exceptions import ReplicationConfigurationNotFoundError
    from moto.s3.responses import S3Response

    def get_bucket_replication(self: Any) -> Any:
        self.data["Action"] = "GetBucketReplication"
        stored = self.backend.get_bucket_replication(self.bucket_name)
        if not stored:
            raise ReplicationConfigurationNotFoundError(bucket_name=self.bucket_name)
        rules = [{**rule, "Filter": _filter_of(rule)} for rule in stored["Rule"]]
        config = {"Role": stored["Role"], "Rules": rules}
        return self.serialized(ActionResult({"ReplicationConfiguration": config}))

    _replace(S3Response, get_bucket_replication)


def _filter_of(rule: dict[str, Any]) -> dict[str, Any]:
    """Give a rule's filter under the API's names; XML has the tags of a conjunction as ``Tag``."""
    given = {key: value or "" for key, value in (rule.get("Filter") or {}).items()}
    both = given.get("And")
    if isinstance(both, dict) and "Tag" in both:
        tags = both["Tag"] if isinstance(both["Tag"], list) else [both["Tag"]]
        rest = {key: value for key, value in both.items() if key != "Tag"}
        given["And"] = {**rest, "Tags": tags}
    return given


def _forget_tags_of_deleted_parameters() -> None:
    # A parameter that is made again under a name beginning with a slash had its old tags.
    from moto.ssm.models import SimpleSystemManagerBackend as Backend

    delete_one, delete_several = Backend.delete_parameter, Backend.delete_parameters

    def delete_parameter(self: Any, name: str) -> None:
        delete_one(self, name)
        self._resource_tags["Parameter"].pop(name, None)

    def delete_parameters(self: Any, names: list[str]) -> list[str]:
        deleted = delete_several(self, names)
        for name in deleted:
            self._resource_tags["Parameter"].pop(name, None)
        return deleted

    _replace(Backend, delete_parameter)
    _replace(Backend, delete_parameters)


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)

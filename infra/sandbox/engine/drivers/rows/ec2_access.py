"""Security groups and network ACLs, with their rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Update
from infra.sandbox.engine.drivers.rows.ec2_network import adopted_tags, arn, ec2_tags
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue

PROTOCOLS: Final = {"all": "-1", "icmp": "1", "tcp": "6", "udp": "17", "icmpv6": "58"}
PROTOCOL_NAMES: Final = {number: name for name, number in PROTOCOLS.items() if name != "all"}
ALL: Final = "-1"


def protocol_number(value: PropertyValue) -> PropertyValue:
    """Write a protocol as its number: AWS takes names and numbers for the same."""
    if value is None or value is UNKNOWN:
        return value
    return PROTOCOLS.get(str(value).lower(), str(value))


def protocol_name(value: PropertyValue) -> PropertyValue:
    """Write a protocol by its name, as EC2 answers for security groups."""
    number = protocol_number(value)
    return PROTOCOL_NAMES.get(number, number) if isinstance(number, str) else number


# -- security groups --------------------------------------------------------------------------


def permission(rule: Mapping[str, Any], own_id: str = "") -> dict[str, Any]:
    """Turn an inline rule of a security group into EC2's IpPermission."""
    result: dict[str, Any] = {"IpProtocol": protocol_name(rule.get("protocol", ALL))}
    if result["IpProtocol"] != ALL:
        result.update(FromPort=int(rule.get("fromPort", 0)), ToPort=int(rule.get("toPort", 0)))
    note = {"Description": rule["description"]} if rule.get("description") else {}
    groups = [*(rule.get("securityGroups") or []), *([own_id] if rule.get("self") else [])]
    if rule.get("sourceSecurityGroupId"):
        groups.append(rule["sourceSecurityGroupId"])
    lists = {
        "IpRanges": [{"CidrIp": cidr, **note} for cidr in rule.get("cidrBlocks") or []],
        "Ipv6Ranges": [{"CidrIpv6": cidr, **note} for cidr in rule.get("ipv6CidrBlocks") or []],
        "PrefixListIds": [{"PrefixListId": id_, **note} for id_ in rule.get("prefixListIds") or []],
        "UserIdGroupPairs": [{"GroupId": group, **note} for group in groups],
    }
    result.update({key: value for key, value in lists.items() if value})
    return result


def inline_rules(permissions: Iterable[Mapping[str, Any]], own_id: str) -> list[PropertyMap]:
    """Turn EC2's IpPermissions into inline rules, one a permission and description."""
    rules: list[PropertyMap] = []
    for entry in permissions:
        by_note: dict[str, PropertyMap] = {}
        for kind, key, field in (
            ("IpRanges", "cidrBlocks", "CidrIp"),
            ("Ipv6Ranges", "ipv6CidrBlocks", "CidrIpv6"),
            ("PrefixListIds", "prefixListIds", "PrefixListId"),
            ("UserIdGroupPairs", "securityGroups", "GroupId"),
        ):
            for source in entry.get(kind) or []:
                rule = by_note.setdefault(source.get("Description", ""), {})
                if source[field] == own_id:
                    rule["self"] = True
                else:
                    rule.setdefault(key, []).append(source[field])
        for note, rule in by_note.items():
            whole = entry["IpProtocol"] == ALL
            rule["protocol"] = entry["IpProtocol"]
            rule["fromPort"] = 0 if whole else entry.get("FromPort", 0)
            rule["toPort"] = 0 if whole else entry.get("ToPort", 0)
            if note:
                rule["description"] = note
            rules.append(rule)
    return rules


def _rules_canon(rules: PropertyValue) -> PropertyValue:
    if not isinstance(rules, list):
        return rules
    return [
        {**rule, "protocol": protocol_name(rule.get("protocol"))}
        if isinstance(rule, dict)
        else rule
        for rule in rules
    ]


def _group(scope: Scope) -> dict[str, Any]:
    answer = scope.call("describe_security_groups", {"GroupIds": [scope.id]})
    group: dict[str, Any] = answer["SecurityGroups"][0]
    return group


_LISTS: Final = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}


def _revoke_all(scope: Scope, direction: str) -> None:
    permissions = _group(scope)[_LISTS[direction]]
    if permissions:
        args = {"GroupId": scope.id, "IpPermissions": permissions}
        scope.call(f"revoke_security_group_{direction}", args)


def set_rules(scope: Scope, direction: str) -> None:
    """Make a group's inline rules of one direction exactly those given."""
    _revoke_all(scope, direction)
    wanted = [permission(rule, scope.id) for rule in scope.props.get(direction) or []]
    if wanted:
        args = {"GroupId": scope.id, "IpPermissions": wanted}
        scope.call(f"authorize_security_group_{direction}", args)


def _inline(direction: str) -> Update:
    return Update((direction,), lambda scope: set_rules(scope, direction), after_create=True)


def _create_group(scope: Scope) -> str:
    props = scope.props
    args = {
        "GroupName": props["name"],
        "Description": props["description"],
        **props["$tags"],
    }
    if props.get("vpcId"):
        args["VpcId"] = props["vpcId"]
    return str(scope.call("create_security_group", args)["GroupId"])


def _delete_group(scope: Scope) -> None:
    if scope.props.get("revokeRulesOnDelete"):
        for direction in _LISTS:
            _revoke_all(scope, direction)
    scope.call("delete_security_group", {"GroupId": scope.id})


def _live_rules(direction: str) -> Any:
    return lambda scope: inline_rules(scope.props["$live"][_LISTS[direction]], scope.id)


SECURITY_GROUP: Final = Row(
    label="Security Group",
    service="ec2",
    create=_create_group,
    read=Call("describe_security_groups", {"GroupIds": ["$id"]}, "SecurityGroups[0]"),
    delete=_delete_group,
    updates=(
        # AWS gives every group a rule that lets all out; it stays only where the program says so.
        Update((), lambda scope: _revoke_all(scope, "egress"), after_create=True),
        _inline("ingress"),
        _inline("egress"),
    ),
    forces=("name", "namePrefix", "description", "vpcId"),
    local=("revokeRulesOnDelete",),
    filled={"description": "Managed by Pulumi"},
    computed=("vpcId", "namePrefix"),
    unmanaged=("ingress", "egress"),
    canon={"ingress": _rules_canon, "egress": _rules_canon},
    defaults={"revokeRulesOnDelete": False},
    names={"name": "GroupName"},
    name=AutoName("name"),
    name_prefix="namePrefix",
    outputs=("arn", "ownerId"),
    reads={
        "arn": arn("security-group"),
        "ingress": _live_rules("ingress"),
        "egress": _live_rules("egress"),
    },
    tags=ec2_tags("security-group"),
    listing=Call(
        "describe_security_groups",
        {"Filters": [{"Name": "group-name", "Values": ["$name"]}]},
        "SecurityGroups[].GroupId",
    ),
)


def _default_group_id(scope: Scope) -> str:
    filters = [{"Name": "group-name", "Values": ["default"]}]
    if scope.props.get("vpcId"):
        filters.append({"Name": "vpc-id", "Values": [scope.props["vpcId"]]})
    answer = scope.call("describe_security_groups", {"Filters": filters})
    return str(answer["SecurityGroups"][0]["GroupId"])


def _adopt_default_group(scope: Scope) -> str:
    """Take over a VPC's default group: its rules go, those given come."""
    scope.id = _default_group_id(scope)
    for direction in _LISTS:
        set_rules(scope, direction)
    return scope.id


def _forget(scope: Scope) -> None:
    """Leave it as it is: a VPC's default cannot be deleted, and stays as it was made."""


DEFAULT_SECURITY_GROUP: Final = Row(
    label="Default Security Group",
    service="ec2",
    create=_adopt_default_group,
    id=_default_group_id,
    read=Call("describe_security_groups", {"GroupIds": ["$id"]}, "SecurityGroups[0]"),
    delete=_forget,
    updates=(
        Update(("ingress",), lambda scope: set_rules(scope, "ingress")),
        Update(("egress",), lambda scope: set_rules(scope, "egress")),
    ),
    forces=("vpcId",),
    local=("revokeRulesOnDelete",),
    computed=("vpcId",),
    canon={"ingress": _rules_canon, "egress": _rules_canon},
    defaults={"revokeRulesOnDelete": False},
    outputs=("arn", "ownerId", "name", "description"),
    names={"name": "GroupName"},
    reads={
        "arn": arn("security-group"),
        "ingress": _live_rules("ingress"),
        "egress": _live_rules("egress"),
    },
    tags=adopted_tags(),
)

_SOURCES: Final = {
    "cidrIpv4": ("IpRanges", "CidrIp"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
}


def _authorize(direction: str) -> Any:
    def run(scope: Scope) -> str:
        props = scope.props
        entry: dict[str, Any] = {"IpProtocol": protocol_name(props["ipProtocol"])}
        for key, api_name in (("fromPort", "FromPort"), ("toPort", "ToPort")):
            if props.get(key) is not None:
                entry[api_name] = int(props[key])
        for key, (kind, field) in _SOURCES.items():
            if props.get(key):
                note = {"Description": props["description"]} if props.get("description") else {}
                entry[kind] = [{field: props[key], **note}]
        args = {
            "GroupId": props["securityGroupId"],
            "IpPermissions": [entry],
            **props["$tags"],
        }
        answer = scope.call(f"authorize_security_group_{direction}", args)
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    return run


def _modify_rule(scope: Scope) -> None:
    props = scope.props
    rule: dict[str, Any] = {"IpProtocol": protocol_name(props["ipProtocol"])}
    names = {
        "fromPort": "FromPort",
        "toPort": "ToPort",
        "cidrIpv4": "CidrIpv4",
        "cidrIpv6": "CidrIpv6",
        "prefixListId": "PrefixListId",
        "referencedSecurityGroupId": "ReferencedGroupId",
        "description": "Description",
    }
    rule.update({names[key]: props[key] for key in names if props.get(key) is not None})
    if rule["IpProtocol"] == ALL:
        rule.update(FromPort=-1, ToPort=-1)
    change = {"SecurityGroupRuleId": scope.id, "SecurityGroupRule": rule}
    args = {"GroupId": props["securityGroupId"], "SecurityGroupRules": [change]}
    scope.call("modify_security_group_rules", args)


def _rule_row(direction: str) -> Row:
    return Row(
        label=f"VPC Security Group {direction.capitalize()} Rule",
        service="ec2",
        create=_authorize(direction),
        read=Call(
            "describe_security_group_rules",
            {"SecurityGroupRuleIds": ["$id"]},
            "SecurityGroupRules[0]",
        ),
        delete=Call(
            f"revoke_security_group_{direction}",
            {"GroupId": "$securityGroupId", "SecurityGroupRuleIds": ["$id"]},
        ),
        updates=(
            Update((*_SOURCES, "ipProtocol", "fromPort", "toPort", "description"), _modify_rule),
        ),
        forces=("securityGroupId",),
        required=("securityGroupId", "ipProtocol"),
        names={"securityGroupId": "GroupId"},
        canon={"ipProtocol": protocol_name},
        outputs=("arn", "securityGroupRuleId"),
        reads={
            "arn": arn("security-group-rule"),
            "referencedSecurityGroupId": "live.ReferencedGroupInfo.GroupId",
            "fromPort": lambda scope: _port(scope, "FromPort"),
            "toPort": lambda scope: _port(scope, "ToPort"),
        },
        tags=ec2_tags("security-group-rule"),
        listing=Call(
            "describe_security_group_rules",
            {"Filters": [{"Name": "group-id", "Values": ["$securityGroupId"]}]},
            f"SecurityGroupRules[?IsEgress==`{'true' if direction == 'egress' else 'false'}`]"
            ".SecurityGroupRuleId",
        ),
    )


def _port(scope: Scope, name: str) -> int | None:
    """Give a rule's port; a rule for all protocols has none, which AWS writes as -1."""
    live = scope.props["$live"]
    port = live.get(name)
    return None if port is None or live.get("IpProtocol") == ALL else int(port)


def _rule_hash(scope: Scope) -> str:
    """Name a rule by its content, since this kind of it has no id at AWS."""
    keys = ("securityGroupId", "type", *_CLASSIC_MATCH)
    text = "|".join(f"{key}={scope.props.get(key)}" for key in keys)
    return f"sgrule-{int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)}"


_CLASSIC_MATCH: Final = (
    "protocol",
    "fromPort",
    "toPort",
    "cidrBlocks",
    "ipv6CidrBlocks",
    "prefixListIds",
    "sourceSecurityGroupId",
    "self",
)


def _classic_args(scope: Scope) -> dict[str, Any]:
    group = scope.props["securityGroupId"]
    return {"GroupId": group, "IpPermissions": [permission(scope.props, group)]}


def _add_classic(scope: Scope) -> str:
    scope.call(f"authorize_security_group_{scope.props['type']}", _classic_args(scope))
    return _rule_hash(scope)


def _remove_classic(scope: Scope) -> None:
    scope.call(f"revoke_security_group_{scope.props['type']}", _classic_args(scope))


def _describe_classic(scope: Scope) -> None:
    """Change the description on each rule that EC2 made of this one."""
    group = scope.props["securityGroupId"]
    filters = [{"Name": "group-id", "Values": [group]}]
    live = scope.call("describe_security_group_rules", {"Filters": filters})["SecurityGroupRules"]
    wanted = permission(scope.props, group)
    for rule in live:
        if _is_part_of(rule, wanted, scope.props["type"] == "egress"):
            change = {
                key: rule[key]
                for key in ("IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6")
                if key in rule
            }
            if rule.get("PrefixListId"):
                change["PrefixListId"] = rule["PrefixListId"]
            if rule.get("ReferencedGroupInfo"):
                change["ReferencedGroupId"] = rule["ReferencedGroupInfo"]["GroupId"]
            change["Description"] = scope.props.get("description") or ""
            entry = {
                "SecurityGroupRuleId": rule["SecurityGroupRuleId"],
                "SecurityGroupRule": change,
            }
            args = {"GroupId": group, "SecurityGroupRules": [entry]}
            scope.call("modify_security_group_rules", args)


def _is_part_of(rule: Mapping[str, Any], wanted: Mapping[str, Any], egress: bool) -> bool:
    if rule["IsEgress"] != egress or rule["IpProtocol"] != wanted["IpProtocol"]:
        return False
    if wanted["IpProtocol"] != ALL and any(
        rule.get(key) != wanted.get(key) for key in ("FromPort", "ToPort")
    ):
        return False
    source = {
        ("IpRanges", rule.get("CidrIpv4")),
        ("Ipv6Ranges", rule.get("CidrIpv6")),
        ("PrefixListIds", rule.get("PrefixListId")),
        ("UserIdGroupPairs", (rule.get("ReferencedGroupInfo") or {}).get("GroupId")),
    }
    return bool(source & _sources(wanted))


def _sources(entry: Mapping[str, Any]) -> set[tuple[str, str]]:
    kinds = (*_SOURCES.values(),)
    return {(kind, item[field]) for kind, field in kinds for item in entry.get(kind) or []}


def _read_classic(scope: Scope) -> dict[str, Any] | None:
    """Find the rule among its group's: AWS merges rules of the same protocol and ports."""
    if not scope.props.get("securityGroupId"):
        return None
    group = scope.props["securityGroupId"]
    answer = scope.call("describe_security_groups", {"GroupIds": [group]})
    wanted = permission(scope.props, group)
    for entry in answer["SecurityGroups"][0][_LISTS[scope.props["type"]]]:
        same = all(
            entry.get(key) == wanted.get(key) for key in ("FromPort", "ToPort", "IpProtocol")
        )
        if same and _sources(wanted) <= _sources(entry):
            note = _note_of(entry, _sources(wanted))
            return {**{k: scope.props[k] for k in _CLASSIC_KEYS if k in scope.props}, **note}
    return None


def _note_of(entry: Mapping[str, Any], wanted: set[tuple[str, str]]) -> dict[str, str]:
    for kind, field in _SOURCES.values():
        for item in entry.get(kind) or []:
            if (kind, item[field]) in wanted and item.get("Description"):
                return {"description": str(item["Description"])}
    return {}


_CLASSIC_KEYS: Final = ("securityGroupId", "type", *_CLASSIC_MATCH)

SECURITY_GROUP_RULE: Final = Row(
    label="Security Group Rule",
    service="ec2",
    create=_add_classic,
    id=_rule_hash,
    read=_read_classic,
    delete=_remove_classic,
    updates=(Update(("description",), _describe_classic),),
    forces=_CLASSIC_KEYS,
    required=("securityGroupId", "type", "protocol", "fromPort", "toPort"),
    canon={"protocol": protocol_name},
    defaults={"self": False},
    allowed={"type": ("ingress", "egress")},
)


# -- network ACLs -----------------------------------------------------------------------------

_ACL_DEFAULT_RULE: Final = 32767


def _acl_entry(rule: Mapping[str, Any], egress: bool) -> dict[str, Any]:
    """Turn an ACL's inline rule into the arguments of create_network_acl_entry."""
    protocol = str(protocol_number(rule.get("protocol", ALL)))
    entry: dict[str, Any] = {
        "RuleNumber": int(rule.get("ruleNo", rule.get("ruleNumber", 0))),
        "RuleAction": str(rule.get("action", rule.get("ruleAction", ""))).lower(),
        "Protocol": protocol,
        "Egress": egress,
    }
    for key, api_name in (("cidrBlock", "CidrBlock"), ("ipv6CidrBlock", "Ipv6CidrBlock")):
        if rule.get(key):
            entry[api_name] = rule[key]
    if protocol in {PROTOCOLS["tcp"], PROTOCOLS["udp"]}:
        ports = {"From": int(rule.get("fromPort", 0)), "To": int(rule.get("toPort", 0))}
        entry["PortRange"] = ports
    if protocol in {PROTOCOLS["icmp"], PROTOCOLS["icmpv6"]}:
        codes = {"Type": int(rule.get("icmpType", 0)), "Code": int(rule.get("icmpCode", 0))}
        entry["IcmpTypeCode"] = codes
    return entry


def _acl_rule(entry: Mapping[str, Any]) -> PropertyMap:
    rule: PropertyMap = {
        "ruleNo": entry["RuleNumber"],
        "action": entry["RuleAction"],
        "protocol": entry["Protocol"],
        "fromPort": entry.get("PortRange", {}).get("From", 0),
        "toPort": entry.get("PortRange", {}).get("To", 0),
        "icmpType": entry.get("IcmpTypeCode", {}).get("Type", 0),
        "icmpCode": entry.get("IcmpTypeCode", {}).get("Code", 0),
    }
    for key, api_name in (("cidrBlock", "CidrBlock"), ("ipv6CidrBlock", "Ipv6CidrBlock")):
        if entry.get(api_name):
            rule[key] = entry[api_name]
    return rule


def _acl_rules_canon(rules: PropertyValue) -> PropertyValue:
    """Reduce ACL rules to what EC2 keeps of them: zeros are absences, ports belong to protocols."""
    if not isinstance(rules, list):
        return rules
    return [_acl_rule_canon(rule) if isinstance(rule, dict) else rule for rule in rules]


def _acl_rule_canon(rule: PropertyMap) -> PropertyMap:
    if any(value is UNKNOWN for value in rule.values()):
        return rule
    kept = {
        "protocol": protocol_number(rule.get("protocol")),
        "action": str(rule.get("action", "")).lower(),
    }
    number = kept["protocol"]
    ports = ("fromPort", "toPort") if number in {"6", "17"} else ()
    codes = ("icmpType", "icmpCode") if number in {"1", "58"} else ()
    for key in ("ruleNo", "cidrBlock", "ipv6CidrBlock", *ports, *codes):
        if rule.get(key) not in (None, "", 0):
            kept[key] = rule[key]
    return kept


def _acl(scope: Scope, id_: str) -> dict[str, Any]:
    answer = scope.call("describe_network_acls", {"NetworkAclIds": [id_]})
    acl: dict[str, Any] = answer["NetworkAcls"][0]
    return acl


def set_acl_rules(scope: Scope, direction: str) -> None:
    """Make an ACL's rules of one direction exactly those given; equal ones are left alone."""
    egress = direction == "egress"
    wanted = {
        entry["RuleNumber"]: entry
        for entry in (_acl_entry(rule, egress) for rule in scope.props.get(direction) or [])
    }
    live = {
        entry["RuleNumber"]: _acl_entry(_acl_rule(entry), egress)
        for entry in _acl(scope, scope.id)["Entries"]
        if entry["Egress"] == egress and entry["RuleNumber"] < _ACL_DEFAULT_RULE
    }
    for number, entry in live.items():
        if wanted.get(number) != entry:
            args = {"NetworkAclId": scope.id, "RuleNumber": number, "Egress": egress}
            scope.call("delete_network_acl_entry", args)
    for number, entry in wanted.items():
        if live.get(number) != entry:
            scope.call("create_network_acl_entry", {"NetworkAclId": scope.id, **entry})


def _associations(scope: Scope, subnets: Iterable[str]) -> dict[str, str]:
    """Give the ACL association of each subnet."""
    wanted = sorted(subnets)
    if not wanted:
        return {}
    filters = [{"Name": "association.subnet-id", "Values": wanted}]
    answer = scope.call("describe_network_acls", {"Filters": filters})
    return {
        association["SubnetId"]: association["NetworkAclAssociationId"]
        for acl in answer["NetworkAcls"]
        for association in acl["Associations"]
        if association["SubnetId"] in wanted
    }


def _move_subnets(scope: Scope, subnets: Iterable[str], acl_id: str) -> None:
    for association in _associations(scope, subnets).values():
        args = {"AssociationId": association, "NetworkAclId": acl_id}
        scope.call("replace_network_acl_association", args)


def _default_acl_of(scope: Scope, vpc_id: str) -> str:
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "default", "Values": ["true"]}]
    answer = scope.call("describe_network_acls", {"Filters": filters})
    return str(answer["NetworkAcls"][0]["NetworkAclId"])


def _set_acl_subnets(scope: Scope) -> None:
    """Associate exactly the subnets given; others go back to the VPC's default ACL."""
    acl = _acl(scope, scope.id)
    current = {association["SubnetId"] for association in acl["Associations"]}
    wanted = set(scope.props.get("subnetIds") or [])
    _move_subnets(scope, wanted - current, scope.id)
    if current - wanted and not acl["IsDefault"]:
        _move_subnets(scope, current - wanted, _default_acl_of(scope, acl["VpcId"]))


def _delete_acl(scope: Scope) -> None:
    acl = _acl(scope, scope.id)
    subnets = [association["SubnetId"] for association in acl["Associations"]]
    if subnets:
        _move_subnets(scope, subnets, _default_acl_of(scope, acl["VpcId"]))
    scope.call("delete_network_acl", {"NetworkAclId": scope.id})


def _live_acl_rules(direction: str) -> Any:
    egress = direction == "egress"
    return lambda scope: [
        _acl_rule(entry)
        for entry in scope.props["$live"]["Entries"]
        if entry["Egress"] == egress and entry["RuleNumber"] < _ACL_DEFAULT_RULE
    ]


_ACL_READS: Final = {
    "arn": arn("network-acl"),
    "ingress": _live_acl_rules("ingress"),
    "egress": _live_acl_rules("egress"),
    "subnetIds": "live.Associations[].SubnetId",
}
_ACL_CANON: Final = {"ingress": _acl_rules_canon, "egress": _acl_rules_canon}

NETWORK_ACL: Final = Row(
    label="EC2 Network ACL",
    service="ec2",
    create=Call("create_network_acl", {"VpcId": "$vpcId"}),
    id="out.NetworkAcl.NetworkAclId",
    read=Call("describe_network_acls", {"NetworkAclIds": ["$id"]}, "NetworkAcls[0]"),
    delete=_delete_acl,
    updates=(
        Update(("ingress",), lambda scope: set_acl_rules(scope, "ingress"), after_create=True),
        Update(("egress",), lambda scope: set_acl_rules(scope, "egress"), after_create=True),
        Update(("subnetIds",), _set_acl_subnets, after_create=True),
    ),
    forces=("vpcId",),
    # As AWS's provider has it: rules and subnets that nobody gives here may be made elsewhere.
    unmanaged=("ingress", "egress", "subnetIds"),
    canon=_ACL_CANON,
    required=("vpcId",),
    outputs=("arn", "ownerId"),
    reads=_ACL_READS,
    tags=ec2_tags("network-acl"),
    listing=Call(
        "describe_network_acls",
        {"Filters": [{"Name": "vpc-id", "Values": ["$vpcId"]}]},
        "NetworkAcls[?IsDefault==`false`].NetworkAclId",
    ),
)


def _adopt_default_acl(scope: Scope) -> str:
    """Take over a VPC's default ACL: its rules go, those given come."""
    scope.id = str(scope.props["defaultNetworkAclId"])
    for direction in ("ingress", "egress"):
        set_acl_rules(scope, direction)
    if scope.props.get("subnetIds"):
        _set_acl_subnets(scope)
    return scope.id


DEFAULT_NETWORK_ACL: Final = Row(
    label="EC2 Default Network ACL",
    service="ec2",
    create=_adopt_default_acl,
    id=lambda scope: str(scope.props["defaultNetworkAclId"]),
    read=Call("describe_network_acls", {"NetworkAclIds": ["$id"]}, "NetworkAcls[0]"),
    delete=_forget,
    updates=(
        Update(("ingress",), lambda scope: set_acl_rules(scope, "ingress")),
        Update(("egress",), lambda scope: set_acl_rules(scope, "egress")),
        Update(("subnetIds",), _set_acl_subnets),
    ),
    forces=("defaultNetworkAclId",),
    unmanaged=("subnetIds",),
    canon=_ACL_CANON,
    required=("defaultNetworkAclId",),
    outputs=("arn", "ownerId", "vpcId"),
    reads={**_ACL_READS, "defaultNetworkAclId": "id"},
    tags=adopted_tags(),
)

_RULE_FORCES: Final = (
    "networkAclId",
    "ruleNumber",
    "egress",
    "protocol",
    "ruleAction",
    "cidrBlock",
    "ipv6CidrBlock",
    "fromPort",
    "toPort",
    "icmpType",
    "icmpCode",
)


def _acl_rule_id(scope: Scope) -> str:
    keys = ("networkAclId", "ruleNumber", "egress", "protocol")
    text = "-".join(str(scope.props.get(key, "")) for key in keys)
    return f"nacl-{int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)}"


def _create_acl_rule(scope: Scope) -> str:
    entry = _acl_entry(scope.props, bool(scope.props.get("egress")))
    scope.call("create_network_acl_entry", {"NetworkAclId": scope.props["networkAclId"], **entry})
    return _acl_rule_id(scope)


def _read_acl_rule(scope: Scope) -> dict[str, Any] | None:
    if not scope.props.get("networkAclId"):
        return None
    mark = (int(scope.props["ruleNumber"]), bool(scope.props.get("egress")))
    for entry in _acl(scope, scope.props["networkAclId"])["Entries"]:
        if (entry["RuleNumber"], entry["Egress"]) == mark:
            ports, codes = entry.get("PortRange", {}), entry.get("IcmpTypeCode", {})
            return {
                **entry,
                "networkAclId": scope.props["networkAclId"],
                "FromPort": ports.get("From"),
                "ToPort": ports.get("To"),
                "IcmpType": codes.get("Type"),
                "IcmpCode": codes.get("Code"),
            }
    return None


def _delete_acl_rule(scope: Scope) -> None:
    if _read_acl_rule(scope) is None:
        return
    args = {
        "NetworkAclId": scope.props["networkAclId"],
        "RuleNumber": int(scope.props["ruleNumber"]),
        "Egress": bool(scope.props.get("egress")),
    }
    scope.call("delete_network_acl_entry", args)


def _imported_acl_rule(id_: str) -> PropertyMap:
    acl, number, protocol, egress = id_.split(":")
    return {
        "networkAclId": acl,
        "ruleNumber": int(number),
        "protocol": protocol,
        "egress": egress == "true",
    }


NETWORK_ACL_RULE: Final = Row(
    label="EC2 Network ACL Rule",
    service="ec2",
    create=_create_acl_rule,
    id=_acl_rule_id,
    read=_read_acl_rule,
    delete=_delete_acl_rule,
    forces=_RULE_FORCES,
    canon={"protocol": protocol_number},
    defaults={"egress": False},
    required=("networkAclId", "ruleNumber", "protocol", "ruleAction"),
    imported=_imported_acl_rule,
)


def _associate_acl(scope: Scope) -> str:
    subnet = scope.props["subnetId"]
    association = _associations(scope, [subnet])[subnet]
    args = {"AssociationId": association, "NetworkAclId": scope.props["networkAclId"]}
    return str(scope.call("replace_network_acl_association", args)["NewAssociationId"])


def _read_acl_association(scope: Scope) -> dict[str, Any] | None:
    subnet = scope.props.get("subnetId")
    name = "association.subnet-id" if subnet else "association.association-id"
    filters = [{"Name": name, "Values": [subnet or scope.id]}]
    for acl in scope.call("describe_network_acls", {"Filters": filters})["NetworkAcls"]:
        for association in acl["Associations"]:
            marks = (association["SubnetId"], association["NetworkAclAssociationId"])
            if (subnet or scope.id) in marks and not acl["IsDefault"]:
                return dict(association)
    return None


def _return_subnet(scope: Scope) -> None:
    acl = _acl(scope, scope.props["networkAclId"])
    _move_subnets(scope, [scope.props["subnetId"]], _default_acl_of(scope, acl["VpcId"]))


def _acl_association_ids(scope: Scope) -> list[str]:
    found = _read_acl_association(scope)
    return [str(found["NetworkAclAssociationId"])] if found else []


NETWORK_ACL_ASSOCIATION: Final = Row(
    label="EC2 Network ACL Association",
    service="ec2",
    create=_associate_acl,
    read=_read_acl_association,
    delete=_return_subnet,
    forces=("networkAclId", "subnetId"),
    required=("networkAclId", "subnetId"),
    listing=_acl_association_ids,
)

ROWS: Final[dict[str, Row]] = {
    "aws:ec2/securityGroup:SecurityGroup": SECURITY_GROUP,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": DEFAULT_SECURITY_GROUP,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule_row("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule_row("egress"),
    "aws:ec2/securityGroupRule:SecurityGroupRule": SECURITY_GROUP_RULE,
    "aws:ec2/networkAcl:NetworkAcl": NETWORK_ACL,
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl": DEFAULT_NETWORK_ACL,
    "aws:ec2/networkAclRule:NetworkAclRule": NETWORK_ACL_RULE,
    "aws:ec2/networkAclAssociation:NetworkAclAssociation": NETWORK_ACL_ASSOCIATION,
}

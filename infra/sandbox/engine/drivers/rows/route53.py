"""Route 53: zones and their records."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap, PropertyValue

OWN_RECORDS: Final = ("NS", "SOA")
"""What Route 53 itself puts at the top of a zone."""


def plain_name(value: PropertyValue) -> PropertyValue:
    """Write a name without the final dot and in lower case: to DNS it is the same."""
    return value.lower().removesuffix(".") if isinstance(value, str) else value


# -- zones ------------------------------------------------------------------------------------


def _vpc(given: Mapping[str, Any], scope: Scope) -> dict[str, str]:
    return {"VPCId": given["vpcId"], "VPCRegion": given.get("vpcRegion") or scope.region}


def _create_zone(scope: Scope) -> str:
    props = scope.props
    vpcs = props.get("vpcs") or []
    args: dict[str, Any] = {
        "Name": props["name"],
        "CallerReference": uuid.uuid4().hex,
        "HostedZoneConfig": {"Comment": props.get("comment") or "", "PrivateZone": bool(vpcs)},
    }
    if vpcs:
        args["VPC"] = _vpc(vpcs[0], scope)
    if props.get("delegationSetId"):
        args["DelegationSetId"] = props["delegationSetId"]
    scope.id = str(scope.call("create_hosted_zone", args)["HostedZone"]["Id"]).rpartition("/")[2]
    for given in vpcs[1:]:
        _associate(scope, given)
    return scope.id


def _associate(scope: Scope, given: Mapping[str, Any]) -> None:
    args = {"HostedZoneId": scope.id, "VPC": _vpc(given, scope)}
    scope.call("associate_vpc_with_hosted_zone", args)


def _update_vpcs(scope: Scope) -> None:
    """Add before removing: a private zone is never without a VPC."""
    wanted = {_key(_vpc(given, scope)): given for given in scope.props.get("vpcs") or []}
    live = scope.call("get_hosted_zone", {"Id": scope.id}).get("VPCs") or []
    there = {_key(vpc): vpc for vpc in live}
    for key in wanted.keys() - there.keys():
        _associate(scope, wanted[key])
    for key in there.keys() - wanted.keys():
        args = {"HostedZoneId": scope.id, "VPC": there[key]}
        scope.call("disassociate_vpc_from_hosted_zone", args)


def _key(vpc: Mapping[str, str]) -> tuple[str, str]:
    return vpc["VPCId"], vpc["VPCRegion"]


def _records(scope: Scope) -> list[dict[str, Any]]:
    answer = scope.call("list_resource_record_sets", {"HostedZoneId": scope.id})
    records: list[dict[str, Any]] = answer["ResourceRecordSets"]
    return records


def _delete_zone(scope: Scope) -> None:
    if scope.props.get("forceDestroy"):
        while foreign := [each for each in _records(scope) if each["Type"] not in OWN_RECORDS]:
            changes = [{"Action": "DELETE", "ResourceRecordSet": record} for record in foreign]
            args = {"HostedZoneId": scope.id, "ChangeBatch": {"Changes": changes}}
            scope.call("change_resource_record_sets", args)
    scope.call("delete_hosted_zone", {"Id": scope.id})


def _read_zone(scope: Scope) -> dict[str, Any] | None:
    answer = scope.call("get_hosted_zone", {"Id": scope.id})
    zone = answer["HostedZone"]
    servers = [
        record["Value"]
        for records in _records(scope)
        if records["Type"] == "NS" and plain_name(records["Name"]) == plain_name(zone["Name"])
        for record in records["ResourceRecords"]
    ]
    return {**zone, "$vpcs": answer.get("VPCs") or [], "$servers": sorted(servers)}


def _live_vpcs(scope: Scope) -> list[PropertyMap] | None:
    vpcs = scope.props["$live"]["$vpcs"]
    return [{"vpcId": vpc["VPCId"], "vpcRegion": vpc["VPCRegion"]} for vpc in vpcs] or None


_TAGGED: Final = {"ResourceType": "hostedzone", "ResourceId": "$id"}

ZONE: Final = Row(
    label="Route 53 Hosted Zone",
    service="route53",
    create=_create_zone,
    read=_read_zone,
    delete=_delete_zone,
    updates=(
        Update(
            ("comment",),
            lambda scope: scope.call(
                "update_hosted_zone_comment",
                {"Id": scope.id, "Comment": scope.props.get("comment") or ""},
            ),
        ),
        Update(("vpcs",), _update_vpcs),
    ),
    forces=("name", "delegationSetId"),
    local=("forceDestroy",),
    filled={"comment": "Managed by Pulumi"},
    defaults={"forceDestroy": False},
    canon={"name": plain_name},
    name=AutoName("name"),
    outputs=("arn", "zoneId", "nameServers", "primaryNameServer"),
    reads={
        "arn": lambda scope: f"arn:aws:route53:::hostedzone/{scope.id}",
        "name": lambda scope: plain_name(scope.props["$live"]["Name"]),
        "comment": "live.Config.Comment",
        "vpcs": _live_vpcs,
        "zoneId": "id",
        "nameServers": lambda scope: list(scope.props["$live"]["$servers"]),
        "primaryNameServer": lambda scope: next(iter(scope.props["$live"]["$servers"]), None),
    },
    tags=Tagging(
        list=Call("list_tags_for_resource", _TAGGED, "ResourceTagSet.Tags"),
        add=Call("change_tags_for_resource", {**_TAGGED, "AddTags": "$added"}),
        remove=Call("change_tags_for_resource", {**_TAGGED, "RemoveTagKeys": "$removed"}),
    ),
    listing=lambda scope: [
        zone["Id"].rpartition("/")[2]
        for zone in scope.call("list_hosted_zones", {})["HostedZones"]
        if plain_name(zone["Name"]) == plain_name(scope.props["name"])
    ],
    global_=True,
)

# -- records ----------------------------------------------------------------------------------


def _record_set(props: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {"Name": props["name"], "Type": props["type"]}
    if props.get("aliases"):
        (alias,) = props["aliases"]
        record["AliasTarget"] = {
            "DNSName": alias["name"],
            "HostedZoneId": alias["zoneId"],
            "EvaluateTargetHealth": bool(alias.get("evaluateTargetHealth")),
        }
    else:
        record["TTL"] = int(props.get("ttl") or 0)
        record["ResourceRecords"] = [{"Value": value} for value in props.get("records") or []]
    return record


def _change_record(scope: Scope, action: str, record: Mapping[str, Any]) -> None:
    changes = [{"Action": action, "ResourceRecordSet": dict(record)}]
    args = {"HostedZoneId": scope.props["zoneId"], "ChangeBatch": {"Changes": changes}}
    scope.call("change_resource_record_sets", args)


def _record_id(scope: Scope) -> str:
    props = scope.props
    return f"{props['zoneId']}_{plain_name(props['name'])}_{props['type']}"


def _create_record(scope: Scope) -> str:
    action = "UPSERT" if scope.props.get("allowOverwrite") else "CREATE"
    _change_record(scope, action, _record_set(scope.props))
    return _record_id(scope)


def _read_record(scope: Scope) -> dict[str, Any] | None:
    name, type_ = scope.props["name"], scope.props["type"]
    args = {
        "HostedZoneId": scope.props["zoneId"],
        "StartRecordName": name,
        "StartRecordType": type_,
        "MaxItems": "1",
    }
    for record in scope.call("list_resource_record_sets", args)["ResourceRecordSets"]:
        if plain_name(record["Name"]) == plain_name(name) and record["Type"] == type_:
            return dict(record)
    return None


def _delete_record(scope: Scope) -> None:
    """Delete what is there: Route 53 wants its present content, not what was once given."""
    live = _read_record(scope)
    if live is not None:
        _change_record(scope, "DELETE", live)


def _live_aliases(scope: Scope) -> list[PropertyMap] | None:
    alias = scope.props["$live"].get("AliasTarget")
    if not alias:
        return None
    return [
        {
            "name": plain_name(alias["DNSName"]),
            "zoneId": alias["HostedZoneId"],
            "evaluateTargetHealth": bool(alias["EvaluateTargetHealth"]),
        }
    ]


def _alias_canon(value: PropertyValue) -> PropertyValue:
    if not isinstance(value, list):
        return value
    return [
        {**alias, "name": plain_name(alias.get("name"))} if isinstance(alias, dict) else alias
        for alias in value
    ]


def _imported_record(id_: str) -> PropertyMap:
    zone, _, rest = id_.partition("_")
    name, _, type_ = rest.rpartition("_")
    return {"zoneId": zone, "name": name, "type": type_}


RECORD: Final = Row(
    label="Route 53 Record",
    service="route53",
    create=_create_record,
    id=_record_id,
    read=_read_record,
    delete=_delete_record,
    updates=(
        Update(
            ("aliases", "records", "ttl"),
            lambda scope: _change_record(scope, "UPSERT", _record_set(scope.props)),
        ),
    ),
    forces=("zoneId", "name", "type"),
    local=("allowOverwrite",),
    required=("zoneId", "name", "type"),
    defaults={"allowOverwrite": False},
    canon={"name": plain_name, "aliases": _alias_canon},
    outputs=("fqdn",),
    reads={
        "zoneId": "props.zoneId",
        "name": lambda scope: plain_name(scope.props["$live"]["Name"]),
        "fqdn": lambda scope: plain_name(scope.props["$live"]["Name"]),
        "aliases": _live_aliases,
        "records": "live.ResourceRecords[].Value",
        "ttl": "live.TTL",
    },
    imported=_imported_record,
    global_=True,
)

ROWS: Final[dict[str, Row]] = {
    "aws:route53/zone:Zone": ZONE,
    "aws:route53/record:Record": RECORD,
}

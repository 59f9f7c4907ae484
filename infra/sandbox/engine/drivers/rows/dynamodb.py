"""DynamoDB tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

ON_DEMAND: Final = "PAY_PER_REQUEST"


def _keys(props: Mapping[str, Any]) -> list[dict[str, str]]:
    keys = [{"AttributeName": props["hashKey"], "KeyType": "HASH"}]
    if props.get("rangeKey"):
        keys.append({"AttributeName": props["rangeKey"], "KeyType": "RANGE"})
    return keys


def _projection(index: Mapping[str, Any]) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index["projectionType"]}
    if index.get("nonKeyAttributes"):
        projection["NonKeyAttributes"] = list(index["nonKeyAttributes"])
    return projection


def _throughput(props: Mapping[str, Any]) -> dict[str, int]:
    return {
        "ReadCapacityUnits": int(props.get("readCapacity") or 1),
        "WriteCapacityUnits": int(props.get("writeCapacity") or 1),
    }


def _global_index(index: Mapping[str, Any], provisioned: bool) -> dict[str, Any]:
    result = {
        "IndexName": index["name"],
        "KeySchema": _keys(index),
        "Projection": _projection(index),
    }
    return {**result, "ProvisionedThroughput": _throughput(index)} if provisioned else result


def _local_index(index: Mapping[str, Any], hash_key: str) -> dict[str, Any]:
    return {
        "IndexName": index["name"],
        "KeySchema": _keys({"hashKey": hash_key, "rangeKey": index["rangeKey"]}),
        "Projection": _projection(index),
    }


def _encryption(props: Mapping[str, Any]) -> dict[str, Any]:
    """Give the key a table is encrypted with; AWS owns one where the program names none."""
    given = props.get("serverSideEncryption") or {"enabled": False}
    if not given.get("enabled"):
        return {"Enabled": False}
    key = {"KMSMasterKeyId": given["kmsKeyArn"]} if given.get("kmsKeyArn") else {}
    return {"Enabled": True, "SSEType": "KMS", **key}


def _stream(props: Mapping[str, Any]) -> dict[str, Any]:
    if not props.get("streamEnabled"):
        return {"StreamEnabled": False}
    return {"StreamEnabled": True, "StreamViewType": props["streamViewType"]}


def _create(scope: Scope) -> str:
    props = scope.props
    mode = props.get("billingMode") or "PROVISIONED"
    provisioned = mode != ON_DEMAND
    args: dict[str, Any] = {
        "TableName": props["name"],
        "BillingMode": mode,
        "KeySchema": _keys(props),
        "AttributeDefinitions": [
            {"AttributeName": entry["name"], "AttributeType": entry["type"]}
            for entry in props["attributes"]
        ],
    }
    if provisioned:
        args["ProvisionedThroughput"] = _throughput(props)
    if props.get("globalSecondaryIndexes"):
        indexes = props["globalSecondaryIndexes"]
        args["GlobalSecondaryIndexes"] = [_global_index(entry, provisioned) for entry in indexes]
    if props.get("localSecondaryIndexes"):
        indexes = props["localSecondaryIndexes"]
        args["LocalSecondaryIndexes"] = [_local_index(entry, props["hashKey"]) for entry in indexes]
    if props.get("streamEnabled"):
        args["StreamSpecification"] = _stream(props)
    if props.get("serverSideEncryption"):
        args["SSESpecification"] = _encryption(props)
    if props.get("deletionProtectionEnabled"):
        args["DeletionProtectionEnabled"] = True
    scope.call("create_table", args)
    return str(props["name"])


def _set_billing(scope: Scope) -> None:
    mode = scope.props.get("billingMode") or "PROVISIONED"
    args: dict[str, Any] = {"TableName": scope.id, "BillingMode": mode}
    if mode != ON_DEMAND:
        args["ProvisionedThroughput"] = _throughput(scope.props)
    scope.call("update_table", args)


def _set_recovery(scope: Scope) -> None:
    given = scope.props.get("pointInTimeRecovery") or {}
    settings: dict[str, Any] = {"PointInTimeRecoveryEnabled": bool(given.get("enabled"))}
    if given.get("enabled") and given.get("recoveryPeriodInDays"):
        settings["RecoveryPeriodInDays"] = int(given["recoveryPeriodInDays"])
    args = {"TableName": scope.id, "PointInTimeRecoverySpecification": settings}
    scope.call("update_continuous_backups", args)


def _set_expiry(scope: Scope) -> None:
    """Switch item expiry; DynamoDB refuses to switch off what is off, so that is left alone."""
    given, before = scope.props.get("ttl") or {}, scope.old.get("ttl") or {}
    on = bool(given.get("enabled"))
    if not on and not before.get("enabled"):
        return
    attribute = given.get("attributeName") or before.get("attributeName")
    settings = {"Enabled": on, "AttributeName": attribute}
    args = {"TableName": scope.id, "TimeToLiveSpecification": settings}
    scope.call("update_time_to_live", args)


def _set(argument: str, value: Any) -> Any:
    return lambda scope: scope.call(
        "update_table", {"TableName": scope.id, argument: value(scope.props)}
    )


def _recovery(scope: Scope) -> PropertyMap:
    live = scope.props["$live"].get("recovery") or {}
    description = live.get("PointInTimeRecoveryDescription") or {}
    on = description.get("PointInTimeRecoveryStatus") == "ENABLED"
    days = description.get("RecoveryPeriodInDays")
    return {"enabled": on, **({"recoveryPeriodInDays": int(days)} if on and days else {})}


def _expiry(scope: Scope) -> PropertyMap | None:
    live = scope.props["$live"].get("expiry") or {}
    if live.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        return None
    return {"enabled": True, "attributeName": live["AttributeName"]}


def _live_encryption(scope: Scope) -> PropertyMap | None:
    live = scope.props["$live"].get("SSEDescription") or {}
    if live.get("Status") not in {"ENABLED", "ENABLING"}:
        return None
    key = {"kmsKeyArn": live["KMSMasterKeyArn"]} if live.get("KMSMasterKeyArn") else {}
    return {"enabled": True, **key}


def _key(kind: str) -> str:
    return f"live.KeySchema[?KeyType=='{kind}'].AttributeName | [0]"


def _live_index(index: Mapping[str, Any]) -> PropertyMap:
    by_kind = {entry["KeyType"]: entry["AttributeName"] for entry in index["KeySchema"]}
    result: PropertyMap = {
        "name": index["IndexName"],
        "hashKey": by_kind["HASH"],
        "projectionType": index["Projection"]["ProjectionType"],
    }
    if "RANGE" in by_kind:
        result["rangeKey"] = by_kind["RANGE"]
    throughput = index.get("ProvisionedThroughput") or {}
    for key, name in (
        ("readCapacity", "ReadCapacityUnits"),
        ("writeCapacity", "WriteCapacityUnits"),
    ):
        if throughput.get(name):
            result[key] = int(throughput[name])
    if index["Projection"].get("NonKeyAttributes"):
        result["nonKeyAttributes"] = list(index["Projection"]["NonKeyAttributes"])
    return result


def _global_indexes(scope: Scope) -> list[PropertyMap] | None:
    live = scope.props["$live"].get("GlobalSecondaryIndexes") or []
    return [_live_index(index) for index in live] or None


def _local_indexes(scope: Scope) -> list[PropertyMap] | None:
    live = scope.props["$live"].get("LocalSecondaryIndexes") or []
    found = [_live_index(index) for index in live]
    keys = ("name", "rangeKey", "projectionType", "nonKeyAttributes")
    return [{key: entry[key] for key in keys if key in entry} for entry in found] or None


def _capacity(name: str) -> Any:
    def read(scope: Scope) -> int:
        throughput = scope.props["$live"].get("ProvisionedThroughput") or {}
        return int(throughput.get(f"{name}CapacityUnits", 0))

    return read


def _delete(scope: Scope) -> None:
    """Delete the table, unless it is protected: moto does not look at that."""
    table = scope.call("describe_table", {"TableName": scope.id})["Table"]
    if table.get("DeletionProtectionEnabled"):
        raise ApiError(
            "operation error DynamoDB: DeleteTable, ValidationException: Resource cannot be deleted"
            " as it is currently protected against deletion. Disable deletion protection first.",
            "ValidationException",
        )
    scope.call("delete_table", {"TableName": scope.id})


def _arn(scope: Scope) -> str:
    return f"arn:aws:dynamodb:{scope.region}:{scope.account}:table/{scope.id}"


TABLE: Final = Row(
    label="DynamoDB Table",
    service="dynamodb",
    create=_create,
    id="props.name",
    read=Call("describe_table", {"TableName": "$id"}, "Table"),
    also={
        "recovery": Call(
            "describe_continuous_backups", {"TableName": "$id"}, "ContinuousBackupsDescription"
        ),
        "expiry": Call("describe_time_to_live", {"TableName": "$id"}, "TimeToLiveDescription"),
    },
    gone="TableStatus=='DELETING'",
    pending="TableStatus!='ACTIVE'",
    delete=_delete,
    updates=(
        Update(("billingMode", "readCapacity", "writeCapacity"), _set_billing),
        Update(("pointInTimeRecovery",), _set_recovery, after_create=True),
        Update(("ttl",), _set_expiry, after_create=True),
        Update(("serverSideEncryption",), _set("SSESpecification", _encryption)),
        Update(("streamEnabled", "streamViewType"), _set("StreamSpecification", _stream)),
        Update(
            ("deletionProtectionEnabled",),
            _set(
                "DeletionProtectionEnabled",
                lambda props: bool(props.get("deletionProtectionEnabled")),
            ),
        ),
    ),
    forces=(
        "name",
        "hashKey",
        "rangeKey",
        "attributes",
        "globalSecondaryIndexes",
        "localSecondaryIndexes",
    ),
    computed=("readCapacity", "writeCapacity", "streamViewType"),
    defaults={
        "billingMode": "PROVISIONED",
        "deletionProtectionEnabled": False,
        "streamEnabled": False,
        "pointInTimeRecovery": {"enabled": False},
    },
    names={"name": "TableName", "arn": "TableArn", "streamArn": "LatestStreamArn"},
    name=AutoName("name"),
    required=("attributes", "hashKey"),
    outputs=("arn", "streamArn", "streamLabel"),
    reads={
        "attributes": "live.AttributeDefinitions[].{name: AttributeName, type: AttributeType}",
        "hashKey": _key("HASH"),
        "rangeKey": _key("RANGE"),
        "billingMode": "live.BillingModeSummary.BillingMode || 'PROVISIONED'",
        "pointInTimeRecovery": _recovery,
        "ttl": _expiry,
        "serverSideEncryption": _live_encryption,
        "streamEnabled": "live.StreamSpecification.StreamEnabled || `false`",
        "streamViewType": "live.StreamSpecification.StreamViewType",
        "streamLabel": "live.LatestStreamLabel",
        "globalSecondaryIndexes": _global_indexes,
        "localSecondaryIndexes": _local_indexes,
        "readCapacity": _capacity("Read"),
        "writeCapacity": _capacity("Write"),
    },
    tags=Tagging(
        list=Call("list_tags_of_resource", {"ResourceArn": "$live.TableArn"}, "Tags"),
        add=Call("tag_resource", {"ResourceArn": _arn, "Tags": "$added"}),
        remove=Call("untag_resource", {"ResourceArn": _arn, "TagKeys": "$removed"}),
    ),
)


ROWS: Final[dict[str, Row]] = {"aws:dynamodb/table:Table": TABLE}

"""CloudWatch Logs: groups, resource policies and metric filters."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Text, Update
from infra.sandbox.engine.wire import PropertyMap

GROUP_ARN: Final = "arn:aws:logs:{region}:{account}:log-group:{id}"


def _arn(scope: Scope) -> str:
    return GROUP_ARN.format(region=scope.region, account=scope.account, id=scope.id)


def _read_group(scope: Scope) -> dict[str, Any] | None:
    args: dict[str, Any] = {"logGroupNamePrefix": scope.id}
    while True:
        answer = scope.call("describe_log_groups", args)
        found = [group for group in answer["logGroups"] if group["logGroupName"] == scope.id]
        if found:
            return dict(found[0])
        if not answer.get("nextToken"):
            return None
        args["nextToken"] = answer["nextToken"]


def _set_retention(scope: Scope) -> None:
    days = int(scope.props.get("retentionInDays") or 0)
    if days:
        args = {"logGroupName": scope.id, "retentionInDays": days}
        scope.call("put_retention_policy", args)
    else:
        scope.call("delete_retention_policy", {"logGroupName": scope.id})


def _set_key(scope: Scope) -> None:
    if scope.props.get("kmsKeyId"):
        args = {"logGroupName": scope.id, "kmsKeyId": scope.props["kmsKeyId"]}
        scope.call("associate_kms_key", args)
    else:
        scope.call("disassociate_kms_key", {"logGroupName": scope.id})


def _delete_group(scope: Scope) -> None:
    if not scope.props.get("skipDestroy"):
        scope.call("delete_log_group", {"logGroupName": scope.id})


LOG_GROUP: Final = Row(
    label="CloudWatch Logs Log Group",
    service="logs",
    create=Call("create_log_group", matching=True),
    id="args.logGroupName",
    read=_read_group,
    delete=_delete_group,
    updates=(
        Update(("retentionInDays",), _set_retention, after_create=True),
        Update(("kmsKeyId",), _set_key),
    ),
    forces=("name", "namePrefix", "logGroupClass"),
    local=("skipDestroy",),
    names={"name": "logGroupName"},
    computed=("namePrefix", "logGroupClass"),
    defaults={"retentionInDays": 0, "skipDestroy": False},
    name=AutoName("name", limit=512),
    name_prefix="namePrefix",
    outputs=("arn",),
    reads={"arn": Text(GROUP_ARN), "retentionInDays": "live.retentionInDays || `0`"},
    tags=Tagging(
        create="tags",
        form="map",
        list=Call("list_tags_for_resource", {"resourceArn": _arn}, "tags"),
        add=Call("tag_resource", {"resourceArn": _arn, "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": _arn, "tagKeys": "$removed"}),
    ),
)


def _read_policy(scope: Scope) -> dict[str, Any] | None:
    answer = scope.call("describe_resource_policies", {})
    policies = answer["resourcePolicies"]
    return next((dict(entry) for entry in policies if entry["policyName"] == scope.id), None)


PUT_POLICY: Final = Call(
    "put_resource_policy", {"policyName": "$policyName", "policyDocument": "$policyDocument"}
)

LOG_RESOURCE_POLICY: Final = Row(
    label="CloudWatch Logs Resource Policy",
    service="logs",
    create=PUT_POLICY,
    id="args.policyName",
    read=_read_policy,
    delete=Call("delete_resource_policy", {"policyName": "$id"}),
    updates=(Update(("policyDocument",), PUT_POLICY),),
    forces=("policyName",),
    json=("policyDocument",),
    required=("policyName", "policyDocument"),
)


def _transformations(scope: Scope) -> list[dict[str, Any]]:
    given = scope.props["metricTransformation"]
    names = {
        "name": "metricName",
        "namespace": "metricNamespace",
        "value": "metricValue",
        "unit": "unit",
        "dimensions": "dimensions",
    }
    result: dict[str, Any] = {names[k]: given[k] for k in names if given.get(k)}
    if given.get("defaultValue") not in (None, ""):
        result["defaultValue"] = float(given["defaultValue"])
    return [result]


def _transformation(scope: Scope) -> PropertyMap:
    live = scope.props["$live"]["metricTransformations"][0]
    result = {
        "name": live["metricName"],
        "namespace": live["metricNamespace"],
        "value": live["metricValue"],
        "unit": live.get("unit", "None"),
    }
    if live.get("defaultValue") is not None:
        number = float(live["defaultValue"])
        result["defaultValue"] = str(int(number) if number.is_integer() else number)
    if live.get("dimensions"):
        result["dimensions"] = dict(live["dimensions"])
    return result


def _read_filter(scope: Scope) -> dict[str, Any] | None:
    args = {"filterNamePrefix": scope.id}
    if scope.props.get("logGroupName"):
        args["logGroupName"] = scope.props["logGroupName"]
    filters = scope.call("describe_metric_filters", args)["metricFilters"]
    return next((dict(entry) for entry in filters if entry["filterName"] == scope.id), None)


def _filter_pattern(scope: Scope) -> str:
    return str(scope.props.get("pattern") or "")


def _imported_filter(id_: str) -> PropertyMap:
    group, _, name = id_.rpartition(":")
    return {"logGroupName": group, "name": name}


PUT_FILTER: Final = Call(
    "put_metric_filter",
    {
        "logGroupName": "$logGroupName",
        "filterName": "$name",
        "filterPattern": _filter_pattern,
        "metricTransformations": _transformations,
    },
)

LOG_METRIC_FILTER: Final = Row(
    label="CloudWatch Logs Metric Filter",
    service="logs",
    create=PUT_FILTER,
    id="args.filterName",
    read=_read_filter,
    delete=Call("delete_metric_filter", {"logGroupName": "$logGroupName", "filterName": "$id"}),
    updates=(Update(("pattern", "metricTransformation"), PUT_FILTER),),
    forces=("name", "logGroupName"),
    names={"name": "filterName", "pattern": "filterPattern"},
    name=AutoName("name", limit=512),
    required=("logGroupName", "metricTransformation"),
    reads={"metricTransformation": _transformation},
    imported=_imported_filter,
)

ROWS: Final[dict[str, Row]] = {
    "aws:cloudwatch/logGroup:LogGroup": LOG_GROUP,
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": LOG_RESOURCE_POLICY,
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": LOG_METRIC_FILTER,
}

"""CloudWatch alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

PLAIN: Final = (
    "comparisonOperator",
    "evaluationPeriods",
    "threshold",
    "thresholdMetricId",
    "actionsEnabled",
    "alarmActions",
    "okActions",
    "insufficientDataActions",
    "alarmDescription",
    "datapointsToAlarm",
    "evaluateLowSampleCountPercentiles",
    "extendedStatistic",
    "metricName",
    "namespace",
    "period",
    "statistic",
    "treatMissingData",
    "unit",
)
NAMES: Final = {
    "name": "AlarmName",
    "arn": "AlarmArn",
    "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
    "okActions": "OKActions",
}
NUMBERS: Final = {"evaluationPeriods": int, "datapointsToAlarm": int, "period": int}


def _dimensions(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(values.items())]


def _dimension_map(values: Any) -> dict[str, str]:
    return {entry["Name"]: entry["Value"] for entry in values or []}


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a metric query into the API's MetricDataQuery."""
    names = {"id": "Id", "expression": "Expression", "label": "Label", "accountId": "AccountId"}
    query: dict[str, Any] = {names[key]: given[key] for key in names if given.get(key)}
    query["ReturnData"] = bool(given.get("returnData"))
    if given.get("period"):
        query["Period"] = int(given["period"])
    metric = given.get("metric")
    if metric:
        source = {"MetricName": metric["metricName"]}
        if metric.get("namespace"):
            source["Namespace"] = metric["namespace"]
        if metric.get("dimensions"):
            source["Dimensions"] = _dimensions(metric["dimensions"])
        stat = {"Metric": source, "Period": int(metric["period"]), "Stat": metric["stat"]}
        if metric.get("unit"):
            stat["Unit"] = metric["unit"]
        query["MetricStat"] = stat
    return query


def _live_query(live: Mapping[str, Any]) -> PropertyMap:
    names = {"Id": "id", "Expression": "expression", "Label": "label", "AccountId": "accountId"}
    query: PropertyMap = {names[key]: live[key] for key in names if live.get(key)}
    query["returnData"] = bool(live.get("ReturnData"))
    stat = live.get("MetricStat")
    if stat:
        metric: PropertyMap = {
            "metricName": stat["Metric"]["MetricName"],
            "period": int(stat["Period"]),
            "stat": stat["Stat"],
        }
        if stat["Metric"].get("Namespace"):
            metric["namespace"] = stat["Metric"]["Namespace"]
        if stat["Metric"].get("Dimensions"):
            metric["dimensions"] = _dimension_map(stat["Metric"]["Dimensions"])
        if stat.get("Unit"):
            metric["unit"] = stat["Unit"]
        query["metric"] = metric
    return query


def _put(scope: Scope) -> str:
    """Write the alarm as a whole, as its API has it; tags are not part of it."""
    props = scope.props
    args: dict[str, Any] = {"AlarmName": props["name"]}
    for key in PLAIN:
        value = props.get(key)
        if value in (None, "", []):
            continue
        if key in NUMBERS:
            value = int(value)
        elif key == "threshold":
            value = float(value)
        args[NAMES.get(key, key[0].upper() + key[1:])] = value
    if props.get("dimensions"):
        args["Dimensions"] = _dimensions(props["dimensions"])
    if props.get("metricQueries"):
        args["Metrics"] = [_query(query) for query in props["metricQueries"]]
    scope.call("put_metric_alarm", args)
    return str(props["name"])


def _number(scope: Scope, key: str) -> float | int | None:
    value = scope.props["$live"].get(key)
    if value is None:
        return None
    return int(value) if float(value).is_integer() else float(value)


def _arn(scope: Scope) -> str:
    return f"arn:aws:cloudwatch:{scope.region}:{scope.account}:alarm:{scope.id}"


METRIC_ALARM: Final = Row(
    label="CloudWatch Metric Alarm",
    service="cloudwatch",
    create=_put,
    id="props.name",
    read=Call("describe_alarms", {"AlarmNames": ["$id"]}, "MetricAlarms[0]"),
    delete=Call("delete_alarms", {"AlarmNames": ["$id"]}),
    updates=(Update((*PLAIN, "dimensions", "metricQueries"), _put),),
    forces=("name",),
    names=NAMES,
    computed=("evaluateLowSampleCountPercentiles",),
    defaults={"actionsEnabled": True, "treatMissingData": "missing"},
    name=AutoName("name"),
    required=("comparisonOperator", "evaluationPeriods"),
    outputs=("arn",),
    reads={
        "dimensions": lambda scope: _dimension_map(scope.props["$live"].get("Dimensions")) or None,
        "metricQueries": lambda scope: (
            [_live_query(query) for query in scope.props["$live"].get("Metrics") or []] or None
        ),
        "threshold": lambda scope: _number(scope, "Threshold"),
    },
    tags=Tagging(
        list=Call("list_tags_for_resource", {"ResourceARN": "$live.AlarmArn"}, "Tags"),
        add=Call("tag_resource", {"ResourceARN": _arn, "Tags": "$added"}),
        remove=Call("untag_resource", {"ResourceARN": _arn, "TagKeys": "$removed"}),
    ),
)


ROWS: Final[dict[str, Row]] = {"aws:cloudwatch/metricAlarm:MetricAlarm": METRIC_ALARM}

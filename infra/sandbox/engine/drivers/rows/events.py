"""EventBridge rules and targets."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

DEFAULT_BUS: Final = "default"


def _bus(scope: Scope) -> str:
    return str(scope.props.get("eventBusName") or DEFAULT_BUS)


def _rule_id(scope: Scope) -> str:
    bus, name = _bus(scope), scope.props["name"]
    return str(name) if bus == DEFAULT_BUS else f"{bus}/{name}"


def _rule_name(scope: Scope) -> str:
    return scope.id.rpartition("/")[2]


def _rule_arn(scope: Scope) -> str:
    path = scope.id if _bus(scope) != DEFAULT_BUS else _rule_name(scope)
    return f"arn:aws:events:{scope.region}:{scope.account}:rule/{path}"


def _delete_rule(scope: Scope) -> None:
    rule = {"Name": _rule_name(scope), "EventBusName": _bus(scope)}
    if scope.props.get("forceDestroy"):
        listing = {"Rule": rule["Name"], "EventBusName": rule["EventBusName"]}
        ids = [target["Id"] for target in scope.call("list_targets_by_rule", listing)["Targets"]]
        if ids:
            scope.call("remove_targets", {**listing, "Ids": ids})
    scope.call("delete_rule", rule)


PUT_RULE: Final = Call(
    "put_rule",
    {
        "Name": "$name",
        "EventBusName": "$eventBusName",
        "Description": "$description",
        "EventPattern": "$eventPattern",
        "ScheduleExpression": "$scheduleExpression",
        "RoleArn": "$roleArn",
        "State": "$state",
    },
)


def _imported_rule(id_: str) -> PropertyMap:
    bus, _, name = id_.rpartition("/")
    return {"name": name, "eventBusName": bus or DEFAULT_BUS}


EVENT_RULE: Final = Row(
    label="EventBridge Rule",
    service="events",
    create=PUT_RULE,
    id=_rule_id,
    read=Call("describe_rule", {"Name": _rule_name, "EventBusName": _bus}),
    delete=_delete_rule,
    updates=(
        Update(("description", "eventPattern", "scheduleExpression", "roleArn", "state"), PUT_RULE),
    ),
    forces=("name", "namePrefix", "eventBusName"),
    local=("forceDestroy",),
    computed=("namePrefix",),
    defaults={"eventBusName": DEFAULT_BUS, "state": "ENABLED", "forceDestroy": False},
    json=("eventPattern",),
    allowed={
        "state": ("ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"),
    },
    name=AutoName("name", limit=64),
    name_prefix="namePrefix",
    outputs=("arn",),
    imported=_imported_rule,
    tags=Tagging(
        list=Call("list_tags_for_resource", {"ResourceARN": "$live.Arn"}, "Tags"),
        add=Call("tag_resource", {"ResourceARN": _rule_arn, "Tags": "$added"}),
        remove=Call("untag_resource", {"ResourceARN": _rule_arn, "TagKeys": "$removed"}),
    ),
)

_TARGET_FIELDS: Final = {
    "arn": "Arn",
    "roleArn": "RoleArn",
    "input": "Input",
    "inputPath": "InputPath",
}


def _put_target(scope: Scope) -> str:
    props = scope.props
    target: dict[str, Any] = {
        _TARGET_FIELDS[key]: props[key] for key in _TARGET_FIELDS if props.get(key)
    }
    target["Id"] = props["targetId"]
    if props.get("inputTransformer"):
        given = props["inputTransformer"]
        transformer = {"InputTemplate": given["inputTemplate"]}
        if given.get("inputPaths"):
            transformer["InputPathsMap"] = given["inputPaths"]
        target["InputTransformer"] = transformer
    if props.get("deadLetterConfig"):
        target["DeadLetterConfig"] = {"Arn": props["deadLetterConfig"]["arn"]}
    if props.get("retryPolicy"):
        given = props["retryPolicy"]
        names = {
            "maximumEventAgeInSeconds": "MaximumEventAgeInSeconds",
            "maximumRetryAttempts": "MaximumRetryAttempts",
        }
        policy = {names[key]: int(given[key]) for key in names if given.get(key) is not None}
        target["RetryPolicy"] = policy
    args = {"Rule": props["rule"], "EventBusName": _bus(scope), "Targets": [target]}
    answer = scope.call("put_targets", args)
    if answer.get("FailedEntryCount"):
        entry = answer["FailedEntries"][0]
        code = str(entry.get("ErrorCode", "Unknown"))
        text = f"operation error EventBridge: PutTargets, {code}: {entry.get('ErrorMessage', '')}"
        raise ApiError(text, code)
    return _target_id(scope)


def _target_id(scope: Scope) -> str:
    own = f"{scope.props['rule']}-{scope.props['targetId']}"
    return own if _bus(scope) == DEFAULT_BUS else f"{_bus(scope)}-{own}"


def _read_target(scope: Scope) -> dict[str, Any] | None:
    rule, target_id = scope.props.get("rule"), scope.props.get("targetId")
    if not rule:
        return None
    args: dict[str, Any] = {"Rule": rule, "EventBusName": _bus(scope)}
    while True:
        answer = scope.call("list_targets_by_rule", args)
        for target in answer["Targets"]:
            if target["Id"] == target_id:
                return {**target, "rule": rule, "targetId": target_id, "eventBusName": _bus(scope)}
        if not answer.get("NextToken"):
            return None
        args["NextToken"] = answer["NextToken"]


def _delete_target(scope: Scope) -> None:
    args = {
        "Rule": scope.props["rule"],
        "EventBusName": _bus(scope),
        "Ids": [scope.props["targetId"]],
    }
    scope.call("remove_targets", args)


def _imported_target(id_: str) -> PropertyMap:
    parts = id_.split("/")
    bus = parts[0] if len(parts) > 2 else DEFAULT_BUS  # noqa: PLR2004 - bus, rule, target
    return {"eventBusName": bus, "rule": parts[-2], "targetId": parts[-1]}


EVENT_TARGET: Final = Row(
    label="EventBridge Target",
    service="events",
    create=_put_target,
    id=_target_id,
    read=_read_target,
    delete=_delete_target,
    updates=(
        Update(
            (*_TARGET_FIELDS, "inputTransformer", "deadLetterConfig", "retryPolicy"), _put_target
        ),
    ),
    forces=("rule", "targetId", "eventBusName"),
    local=("forceDestroy",),
    defaults={"eventBusName": DEFAULT_BUS, "forceDestroy": False},
    json=("input",),
    name=AutoName("targetId", limit=64),
    required=("arn", "rule"),
    reads={
        "inputTransformer": "live.InputTransformer && {inputPaths: live.InputTransformer."
        "InputPathsMap, inputTemplate: live.InputTransformer.InputTemplate}",
        "deadLetterConfig": "live.DeadLetterConfig && {arn: live.DeadLetterConfig.Arn}",
        "retryPolicy": "live.RetryPolicy && {maximumEventAgeInSeconds: live.RetryPolicy."
        "MaximumEventAgeInSeconds, maximumRetryAttempts: live.RetryPolicy.MaximumRetryAttempts}",
    },
    imported=_imported_target,
)

ROWS: Final[dict[str, Row]] = {
    "aws:cloudwatch/eventRule:EventRule": EVENT_RULE,
    "aws:cloudwatch/eventTarget:EventTarget": EVENT_TARGET,
}

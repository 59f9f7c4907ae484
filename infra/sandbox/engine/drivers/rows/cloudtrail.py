"""CloudTrail's trails."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update

_RENAMED: Final = {
    "name": "Name",
    "cloudWatchLogsGroupArn": "CloudWatchLogsLogGroupArn",
    "enableLogFileValidation": "EnableLogFileValidation",
}
_SETTINGS: Final = {
    **_RENAMED,
    "s3BucketName": "S3BucketName",
    "s3KeyPrefix": "S3KeyPrefix",
    "snsTopicName": "SnsTopicName",
    "includeGlobalServiceEvents": "IncludeGlobalServiceEvents",
    "isMultiRegionTrail": "IsMultiRegionTrail",
    "isOrganizationTrail": "IsOrganizationTrail",
    "cloudWatchLogsRoleArn": "CloudWatchLogsRoleArn",
    "kmsKeyId": "KmsKeyId",
}
_SELECTOR: Final = {
    "readWriteType": "ReadWriteType",
    "includeManagementEvents": "IncludeManagementEvents",
    "excludeManagementEventSources": "ExcludeManagementEventSources",
}
_ALL_MANAGEMENT_EVENTS: Final = {"ReadWriteType": "All", "IncludeManagementEvents": True}
"""What a trail records that was told nothing else."""


def _update(scope: Scope) -> None:
    args = {api: scope.props.get(key) for key, api in _SETTINGS.items()}
    # What is taken away is sent as empty: a trail keeps what a request leaves out.
    scope.call("update_trail", {key: "" if value is None else value for key, value in args.items()})


def _set_logging(scope: Scope) -> None:
    operation = "start_logging" if scope.props.get("enableLogging", True) else "stop_logging"
    scope.call(operation, {"Name": scope.id})


def _select(scope: Scope) -> None:
    given = scope.props.get("eventSelectors") or []
    selectors = [
        {api: entry[key] for key, api in _SELECTOR.items() if entry.get(key) is not None}
        for entry in given
    ]
    args = {"TrailName": scope.id, "EventSelectors": selectors or [_ALL_MANAGEMENT_EVENTS]}
    scope.call("put_event_selectors", args)


def _selectors(scope: Scope) -> list[dict[str, Any]]:
    live = scope.props["$live"]["selectors"] or []
    if live == [_ALL_MANAGEMENT_EVENTS]:
        return []
    return [{key: entry[api] for key, api in _SELECTOR.items() if entry.get(api)} for entry in live]


def _read(scope: Scope) -> dict[str, Any] | None:
    trails = scope.call("describe_trails", {"trailNameList": [scope.id]})["trailList"]
    return next((dict(trail) for trail in trails if trail["TrailARN"] == scope.id), None)


TRAIL: Final = Row(
    label="CloudTrail Trail",
    service="cloudtrail",
    create=Call("create_trail", matching=True),
    id="out.TrailARN",
    read=_read,
    also={
        "status": Call("get_trail_status", {"Name": "$id"}),
        "selectors": Call("get_event_selectors", {"TrailName": "$id"}, "EventSelectors"),
    },
    delete=Call("delete_trail", {"Name": "$id"}),
    updates=(
        Update(tuple(key for key in _SETTINGS if key != "name"), _update),
        Update(("enableLogging",), _set_logging, after_create=True),
        Update(("eventSelectors",), _select, after_create=True),
    ),
    forces=("name",),
    names=_RENAMED,
    defaults={
        "enableLogFileValidation": False,
        "enableLogging": True,
        "includeGlobalServiceEvents": True,
        "isMultiRegionTrail": False,
        "isOrganizationTrail": False,
    },
    filled={"enableLogging": True},
    name=AutoName("name", limit=128),
    required=("s3BucketName",),
    outputs=("arn", "homeRegion"),
    reads={
        "arn": "id",
        "homeRegion": "live.HomeRegion",
        "enableLogFileValidation": "live.LogFileValidationEnabled",
        "enableLogging": "live.status.IsLogging",
        "eventSelectors": _selectors,
    },
    tags=Tagging(
        create="TagsList",
        list=Call("list_tags", {"ResourceIdList": ["$id"]}, "ResourceTagList[0].TagsList"),
        add=Call("add_tags", {"ResourceId": "$id", "TagsList": "$added"}),
        remove=Call("remove_tags", {"ResourceId": "$id", "TagsList": "$removed"}),
        remove_pairs=True,
    ),
)

ROWS: Final[dict[str, Row]] = {"aws:cloudtrail/trail:Trail": TRAIL}

"""AWS Budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap, PropertyValue

_PERCENTAGE: Final = "PERCENTAGE"
_KINDS: Final = {"EMAIL": "subscriberEmailAddresses", "SNS": "subscriberSnsTopicArns"}


def _id(scope: Scope) -> str:
    return f"{scope.props.get('accountId') or scope.account}:{scope.props['name']}"


def _owner(scope: Scope) -> str:
    return (scope.id or _id(scope)).partition(":")[0]


def _name(scope: Scope) -> str:
    return scope.id.partition(":")[2]


_KEY: Final = {"AccountId": _owner, "BudgetName": _name}


def _key(scope: Scope) -> dict[str, str]:
    return {argument: part(scope) for argument, part in _KEY.items()}


def _arn(scope: Scope) -> str:
    return f"arn:aws:budgets::{_owner(scope)}:budget/{_name(scope)}"


def _budget(scope: Scope) -> dict[str, Any]:
    props = scope.props
    return {
        "BudgetName": props["name"],
        "BudgetType": props["budgetType"],
        "TimeUnit": props["timeUnit"],
        "BudgetLimit": {
            "Amount": _amount(props["limitAmount"]),
            "Unit": props["limitUnit"],
        },
    }


def _amount(value: PropertyValue) -> PropertyValue:
    """Write an amount as AWS does: `100` is `100.0`."""
    try:
        return str(float(str(value)))
    except ValueError:
        return value


def _notification(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "NotificationType": given["notificationType"],
        "ComparisonOperator": given["comparisonOperator"],
        "Threshold": float(given["threshold"]),
        "ThresholdType": given["thresholdType"],
    }


def _subscribers(given: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"SubscriptionType": kind, "Address": address}
        for kind, key in _KINDS.items()
        for address in sorted(given.get(key) or [])
    ]


def _create(scope: Scope) -> str:
    args: dict[str, Any] = {
        "AccountId": _owner(scope),
        "Budget": _budget(scope),
        "NotificationsWithSubscribers": [
            {"Notification": _notification(given), "Subscribers": _subscribers(given)}
            for given in scope.props.get("notifications") or []
        ],
    }
    args.update(scope.props["$tags"])
    scope.call("create_budget", args)
    return _id(scope)


def _update(scope: Scope) -> None:
    args = {"AccountId": _owner(scope), "NewBudget": _budget(scope)}
    scope.call("update_budget", args)


def _set_notifications(scope: Scope) -> None:
    """Take away those that are no more, make the new ones; one that changed is both."""
    before = list(scope.old.get("notifications") or [])
    after = list(scope.props.get("notifications") or [])
    for given in [entry for entry in before if entry not in after]:
        args = {**_key(scope), "Notification": _notification(given)}
        scope.call("delete_notification", args)
    for given in [entry for entry in after if entry not in before]:
        told = {"Notification": _notification(given), "Subscribers": _subscribers(given)}
        scope.call("create_notification", {**_key(scope), **told})


def _read_notifications(scope: Scope) -> list[PropertyMap]:
    answer = scope.call("describe_notifications_for_budget", _key(scope))
    return [_read_notification(scope, live) for live in answer["Notifications"]]


def _read_notification(scope: Scope, live: Mapping[str, Any]) -> PropertyMap:
    told = {
        "NotificationType": live["NotificationType"],
        "ComparisonOperator": live["ComparisonOperator"],
        "Threshold": live["Threshold"],
        "ThresholdType": live.get("ThresholdType", _PERCENTAGE),
    }
    args = {**_key(scope), "Notification": told}
    subscribers = scope.call("describe_subscribers_for_notification", args)["Subscribers"]
    found: PropertyMap = {
        "notificationType": told["NotificationType"],
        "comparisonOperator": told["ComparisonOperator"],
        "threshold": told["Threshold"],
        "thresholdType": told["ThresholdType"],
    }
    for kind, key in _KINDS.items():
        addresses = [entry["Address"] for entry in subscribers if entry["SubscriptionType"] == kind]
        if addresses:
            found[key] = sorted(addresses)
    return found


def _imported(id_: str) -> PropertyMap:
    account, _, name = id_.partition(":")
    return {"accountId": account, "name": name}


BUDGET: Final = Row(
    label="Budgets Budget",
    service="budgets",
    global_=True,
    create=_create,
    id=_id,
    read=Call("describe_budget", _KEY, "Budget"),
    also={"notifications": _read_notifications},
    delete=Call("delete_budget", _KEY),
    updates=(
        Update(("budgetType", "timeUnit", "limitAmount", "limitUnit"), _update),
        Update(("notifications",), _set_notifications),
    ),
    forces=("accountId", "name", "namePrefix"),
    computed=("accountId", "namePrefix"),
    canon={"limitAmount": _amount},
    name=AutoName("name", limit=100),
    name_prefix="namePrefix",
    required=("budgetType", "timeUnit", "limitAmount", "limitUnit"),
    outputs=("arn",),
    reads={
        "arn": _arn,
        "accountId": _owner,
        "name": "live.BudgetName",
        "limitAmount": "live.BudgetLimit.Amount",
        "limitUnit": "live.BudgetLimit.Unit",
        "notifications": "live.notifications",
    },
    tags=Tagging(
        create="ResourceTags",
        list=Call("list_tags_for_resource", {"ResourceARN": _arn}, "ResourceTags"),
        add=Call("tag_resource", {"ResourceARN": _arn, "ResourceTags": "$added"}),
        remove=Call("untag_resource", {"ResourceARN": _arn, "ResourceTagKeys": "$removed"}),
    ),
    imported=_imported,
)

ROWS: Final[dict[str, Row]] = {"aws:budgets/budget:Budget": BUDGET}

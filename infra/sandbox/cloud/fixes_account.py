"""What moto lacks, or gets wrong, of what an account has once: budgets, trails, EC2's defaults."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

MOST_NOTIFICATIONS: Final = 10
MOST_SUBSCRIBERS: Final = 11
"""Of one notification: ten addresses and a topic."""
_UNSET: Final = {
    "HttpEndpoint": "no-preference",
    "HttpPutResponseHopLimit": -1,
    "HttpTokens": "no-preference",
    "InstanceMetadataTags": "no-preference",
}


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _change_budgets()
    _keep_subscribers_of_budgets()
    _tag_budgets()
    _find_trails_by_their_arn()
    _keep_event_selectors_as_aws_does()
    _block_public_snapshots()
    _keep_metadata_defaults()


# -- budgets ------------------------------------------------------------------------------------


def _budget(response: Any) -> Any:
    from moto.budgets.exceptions import NotFoundException

    name = response._get_param("BudgetName")  # noqa: SLF001 - moto's handlers are written so
    found = response.backend.budgets[response._get_param("AccountId")].get(name)  # noqa: SLF001
    if found is None:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
    return found


def _change_budgets() -> None:
    from moto.budgets.exceptions import NotFoundException
    from moto.budgets.responses import BudgetsResponse

    def update_budget(self: Any) -> str:
        wanted = self._get_param("NewBudget")
        budgets = self.backend.budgets[self._get_param("AccountId")]
        found = budgets.get(wanted["BudgetName"])
        if found is None:
            raise NotFoundException(
                f"Unable to update budget: {wanted['BudgetName']} - the budget doesn't exist."
            )
        found.budget |= wanted
        return "{}"

    _replace(BudgetsResponse, update_budget)


def _keep_subscribers_of_budgets() -> None:
    from moto.budgets.responses import BudgetsResponse
    from moto.core.exceptions import JsonRESTError

    create_budget, create_notification = (
        BudgetsResponse.create_budget,
        BudgetsResponse.create_notification,
    )

    def describe_subscribers_for_notification(self: Any) -> str:
        from moto.budgets.exceptions import NotFoundException

        wanted = _known(self._get_param("Notification"))
        for entry in _budget(self).notifications:
            if _known(entry.details) == wanted:
                return json.dumps({"Subscribers": entry.subscribers})
        raise NotFoundException("Unable to find the notification.")

    def refuse_too_many(entries: list[Any], there: int = 0) -> None:
        if there + len(entries) > MOST_NOTIFICATIONS or any(
            not 0 < len(entry) <= MOST_SUBSCRIBERS for entry in entries
        ):
            raise JsonRESTError(
                "CreationLimitExceededException", "Too many notifications or subscribers."
            )

    def create_checked_budget(self: Any) -> str:
        wanted = self._get_param("NotificationsWithSubscribers", [])
        refuse_too_many([entry["Subscribers"] for entry in wanted])
        return str(create_budget(self))

    def create_checked_notification(self: Any) -> str:
        refuse_too_many([self._get_param("Subscribers")], len(_budget(self).notifications))
        return str(create_notification(self))

    _replace(BudgetsResponse, describe_subscribers_for_notification)
    setattr(BudgetsResponse, "create_budget", create_checked_budget)  # noqa: B010
    setattr(BudgetsResponse, "create_notification", create_checked_notification)  # noqa: B010


def _known(notification: dict[str, Any]) -> tuple[Any, ...]:
    """Give what makes a notification the same as another."""
    return (
        notification["NotificationType"],
        notification["ComparisonOperator"],
        float(notification["Threshold"]),
        notification.get("ThresholdType", "PERCENTAGE"),
    )


def _tag_budgets() -> None:
    from moto.budgets.responses import BudgetsResponse

    create = BudgetsResponse.create_budget

    def create_budget(self: Any) -> str:
        answer = create(self)
        name = self._get_param("Budget")["BudgetName"]
        budget = self.backend.budgets[self._get_param("AccountId")][name]
        budget.tags = _tags(self._get_param("ResourceTags", []))
        return str(answer)

    def tagged(response: Any) -> dict[str, str]:
        from moto.budgets.exceptions import NotFoundException

        arn = response._get_param("ResourceARN")  # noqa: SLF001
        account, name = arn.split(":", 5)[4], arn.partition("/")[2]
        found = response.backend.budgets[account].get(name)
        if found is None:
            raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
        tags: dict[str, str] = found.__dict__.setdefault("tags", {})
        return tags

    def tag_resource(self: Any) -> str:
        tagged(self).update(_tags(self._get_param("ResourceTags")))
        return "{}"

    def untag_resource(self: Any) -> str:
        tags = tagged(self)
        for key in self._get_param("ResourceTagKeys"):
            tags.pop(key, None)
        return "{}"

    def list_tags_for_resource(self: Any) -> str:
        pairs = [{"Key": key, "Value": value} for key, value in tagged(self).items()]
        return json.dumps({"ResourceTags": pairs})

    for method in (create_budget, tag_resource, untag_resource, list_tags_for_resource):
        _replace(BudgetsResponse, method)


def _tags(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Key"]: pair["Value"] for pair in pairs}


# -- trails -------------------------------------------------------------------------------------


def _find_trails_by_their_arn() -> None:
    # moto deletes by name alone, lists every trail whatever is asked for, and forgets a stop.
    from moto.cloudtrail.models import CloudTrailBackend
    from moto.cloudtrail.responses import CloudTrailResponse

    describe = CloudTrailResponse.describe_trails

    def delete_trail(self: Any, name: str) -> None:
        del self.trails[self.get_trail(name).trail_name]

    def describe_trails(self: Any) -> str:
        answer: dict[str, Any] = json.loads(describe(self))
        wanted = self._get_param("trailNameList") or []
        trails = [
            trail
            for trail in answer["trailList"]
            if not wanted or trail["TrailARN"] in wanted or trail["Name"] in wanted
        ]
        return json.dumps({"trailList": trails})

    _replace(CloudTrailBackend, delete_trail)
    _replace(CloudTrailResponse, describe_trails)


def _keep_event_selectors_as_aws_does() -> None:
    from moto.cloudtrail.models import Trail

    describe = Trail.description
    usual = [{"ReadWriteType": "All", "IncludeManagementEvents": True}]

    def get_event_selectors(self: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        # A trail that was told nothing records all management events.
        if not self.event_selectors and not self.advanced_event_selectors:
            return usual, []
        return self.event_selectors, self.advanced_event_selectors

    def description(self: Any, include_region: bool = False) -> dict[str, Any]:
        told = bool(self.event_selectors or self.advanced_event_selectors)
        custom = told and self.event_selectors != usual
        return {**describe(self, include_region), "HasCustomEventSelectors": custom}

    _replace(Trail, get_event_selectors)
    _replace(Trail, description)


# -- EC2's defaults -----------------------------------------------------------------------------


def _block_public_snapshots() -> None:
    from moto.core.responses import ActionResult
    from moto.ec2.responses.settings import Settings

    def enable_snapshot_block_public_access(self: Any) -> Any:
        self.ec2_backend.sandbox_snapshot_sharing = self._get_param("State")
        return ActionResult({"State": self._get_param("State")})

    def disable_snapshot_block_public_access(self: Any) -> Any:
        self.ec2_backend.sandbox_snapshot_sharing = "unblocked"
        return ActionResult({"State": "unblocked"})

    def get_snapshot_block_public_access_state(self: Any) -> Any:
        state = getattr(self.ec2_backend, "sandbox_snapshot_sharing", "unblocked")
        return ActionResult({"State": state, "ManagedBy": "account"})

    for method in (
        enable_snapshot_block_public_access,
        disable_snapshot_block_public_access,
        get_snapshot_block_public_access_state,
    ):
        _replace(Settings, method)


def _keep_metadata_defaults() -> None:
    from moto.core.responses import ActionResult
    from moto.ec2.responses.settings import Settings

    def modify_instance_metadata_defaults(self: Any) -> Any:
        defaults = dict(getattr(self.ec2_backend, "sandbox_metadata_defaults", {}))
        for name, unset in _UNSET.items():
            value = self._get_param(name)
            if value is not None:
                defaults[name] = int(value) if isinstance(unset, int) else value
            if defaults.get(name) == unset:
                del defaults[name]
        self.ec2_backend.sandbox_metadata_defaults = defaults
        return ActionResult({"Return": True})

    def get_instance_metadata_defaults(self: Any) -> Any:
        defaults = getattr(self.ec2_backend, "sandbox_metadata_defaults", {})
        return ActionResult({"AccountLevel": {**defaults, "ManagedBy": "account"}})

    _replace(Settings, modify_instance_metadata_defaults)
    _replace(Settings, get_instance_metadata_defaults)


def _replace(owner: type, method: Callable[..., Any]) -> None:
    """Put a method in the place of moto's own of that name."""
    setattr(owner, method.__name__, method)

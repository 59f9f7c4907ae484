"""The Parameter Store as these commands use it: list completely or not at all, create, verify."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from infra import naming
from ops.errors import IncompleteError, OpsError
from ops.parameters.generate import matching_value
from ops.parameters.plan import Existing, Plan, Step

if TYPE_CHECKING:
    from infra.settings import Settings

PERMISSIONS: Final = (
    "ssm:DescribeParameters",
    "ssm:PutParameter",
    "ssm:AddTagsToResource",
    "kms:DescribeKey",
    "kms:GenerateDataKey",
)
"""What `ops params setup` asks for: no value is ever read."""

_PAGE_SIZE: Final = 50
"""The most that AWS gives in one call, so that there are few of them to be throttled."""

ClientFactory = Callable[[str], Any]
"""A service's name → its client, in the environment's account and region."""

Outcome = Literal["to-create", "created", "kept", "failed", "differs", "needs-value"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one parameter."""

    name: str
    type: str
    outcome: Outcome
    message: str
    verified: bool = False
    """It was seen to be there, as declared, after the command had acted."""


def listed(ssm: Any, path: str) -> tuple[Existing, ...]:
    """List every parameter under a path, without values.

    Raises `IncompleteError` where any page is denied, throttled beyond retries or fails.
    """
    pages = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": [path]}],
        PaginationConfig={"PageSize": _PAGE_SIZE},
    )
    found: list[Existing] = []
    try:
        for page in pages:
            found.extend(_existing(item) for item in page["Parameters"])
    except (ClientError, BotoCoreError) as error:
        raise IncompleteError(
            f"The parameters under {path} could not be listed completely: {reason(error)}. "
            f"Seen before that: {len(found)}. Nothing was created or changed. "
            "It needs ssm:DescribeParameters; after throttling, run it again."
        ) from error
    return tuple(found)


def key_ids(kms: Any, alias: str) -> frozenset[str]:
    """Give every name of the environment's key: alias, id and ARN.

    Raises `OpsError` where it is not there or not usable: no secret is made without it.
    """
    try:
        key = kms.describe_key(KeyId=alias)["KeyMetadata"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NotFoundException":
            raise OpsError(
                f"The key {alias} is not there, so nothing was created: secrets are made under "
                "the environment's own key only. Run `up` for the environment first."
            ) from error
        raise IncompleteError(
            f"The key {alias} could not be read: {reason(error)}. Nothing was created."
        ) from error
    except BotoCoreError as error:
        raise IncompleteError(
            f"The key {alias} could not be read: {reason(error)}. Nothing was created."
        ) from error
    if key["KeyState"] != "Enabled":
        raise OpsError(
            f"The key {alias} is in state {key['KeyState']}, not Enabled: nothing was created."
        )
    return frozenset({alias, key["KeyId"], key["Arn"]})


def create(
    ssm: Any, plan: Plan, settings: Settings, report: Callable[[Result], None]
) -> tuple[Result, ...]:
    """Create what the plan says, one after the other; a failure does not stop the rest."""
    results = []
    for step in plan.steps:
        result = _created(ssm, step, plan.key_alias, settings)
        report(result)
        results.append(result)
    return tuple(results)


def verified(results: Iterable[Result], again: Iterable[Existing]) -> Iterator[Result]:
    """Compare results with a second listing; what is not seen there has failed."""
    there: Mapping[str, Existing] = {parameter.name: parameter for parameter in again}
    for result in results:
        found = there.get(result.name)
        if found and found.type == result.type:
            yield Result(
                name=result.name,
                type=result.type,
                outcome=result.outcome,
                message=result.message,
                verified=result.outcome in ("created", "kept"),
            )
        elif result.outcome in ("created", "kept"):
            yield Result(
                name=result.name,
                type=result.type,
                outcome="failed",
                message="it is not there as declared when listed again",
            )
        else:
            yield result


def reason(error: ClientError | BotoCoreError) -> str:
    """Say why AWS refused, without what was sent."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return f"{details.get('Code', 'unknown error')}: {details.get('Message', '')}".rstrip(": ")
    return str(error)


def _existing(item: Mapping[str, Any]) -> Existing:
    return Existing(
        name=item["Name"],
        type=item["Type"],
        key_id=item.get("KeyId", ""),
        version=item.get("Version", 1),
    )


def _created(ssm: Any, step: Step, key_alias: str, settings: Settings) -> Result:
    parameter = step.parameter

    def result(outcome: Outcome, message: str) -> Result:
        return Result(name=step.name, type=parameter.type, outcome=outcome, message=message)

    if step.action == "keep":
        return result("kept", step.reason)
    if step.action != "create":
        return result(step.action, step.reason)
    secure = parameter.type == "SecureString"
    request: dict[str, Any] = {
        "Name": step.name,
        "Type": parameter.type,
        "Description": parameter.description,
        "Overwrite": False,
        "Tags": [{"Key": key, "Value": value} for key, value in naming.tags(settings).items()],
    }
    if secure:
        request["KeyId"] = key_alias
    if parameter.anchored_pattern is not None:
        request["AllowedPattern"] = parameter.anchored_pattern
    try:
        value = matching_value(parameter) if secure else parameter.initial or ""
    except OpsError as error:
        return result("failed", str(error))
    try:
        ssm.put_parameter(**request, Value=value)
    except ssm.exceptions.ParameterAlreadyExists:
        return result("kept", "somebody made it meanwhile; it was left as it is")
    except (ClientError, BotoCoreError) as error:
        # No message of AWS is known to repeat the value; if one ever does, it is not shown.
        return result("failed", reason(error).replace(value, "[secret]"))
    return result("created", step.reason)

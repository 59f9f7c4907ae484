"""Parameter Store."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Hook, Row, Scope, Tagging, Update

VALUES: Final = ("value", "insecureValue", "valueWo")


def _value(scope: Scope) -> str | None:
    return next((str(scope.props[key]) for key in VALUES if scope.props.get(key) is not None), None)


PUT: Final[dict[str, str | Hook]] = {
    "Name": "$name",
    "Type": "$type",
    "Value": _value,
    "Description": "$description",
    "AllowedPattern": "$allowedPattern",
    "DataType": "$dataType",
    "KeyId": "$keyId",
    "Tier": "$tier",
}


def _overwrite(scope: Scope) -> None:
    """Write the parameter again: the API takes it as a whole, its value included."""
    args: dict[str, Any] = {
        key: scope.props.get(template[1:]) if isinstance(template, str) else template(scope)
        for key, template in PUT.items()
    }
    described = {"Description": args.pop("Description") or ""}
    given = {key: value for key, value in args.items() if value not in (None, "")}
    if scope.props.get("type") != "SecureString":
        given.pop("KeyId", None)
    scope.call("put_parameter", {**given, **described, "Overwrite": True})


def _metadata(scope: Scope) -> dict[str, Any]:
    """Read what get_parameter leaves out: description, key, tier and pattern."""
    filters = [{"Key": "Name", "Option": "Equals", "Values": [scope.id]}]
    found = scope.call("describe_parameters", {"ParameterFilters": filters})["Parameters"]
    return dict(found[0]) if found else {}


def _read_value(scope: Scope) -> str | None:
    """Give the live value, unless the program gives it under another name."""
    elsewhere = any(scope.props.get(key) is not None for key in ("insecureValue", "valueWo"))
    hidden = elsewhere and scope.props.get("value") is None
    return None if hidden else str(scope.props["$live"]["Value"])


PARAMETER: Final = Row(
    label="SSM Parameter",
    service="ssm",
    create=Call("put_parameter", {**PUT, "Overwrite": "$overwrite"}),
    id="args.Name",
    read=Call("get_parameter", {"Name": "$id", "WithDecryption": True}, "Parameter"),
    also={"metadata": _metadata},
    delete=Call("delete_parameter", {"Name": "$id"}),
    updates=(
        Update(
            (
                "value",
                "insecureValue",
                "valueWo",
                "valueWoVersion",
                "type",
                "description",
                "allowedPattern",
                "keyId",
                "tier",
            ),
            _overwrite,
        ),
    ),
    forces=("name", "dataType"),
    local=("overwrite",),
    computed=("tier", "keyId", "dataType"),
    unmanaged=("insecureValue",),
    defaults={"overwrite": False},
    secret=("value", "valueWo"),
    allowed={
        "type": ("String", "StringList", "SecureString"),
        "tier": ("Standard", "Advanced", "Intelligent-Tiering"),
    },
    name=AutoName("name", limit=2048),
    required=("type",),
    outputs=("arn", "version", "hasValueWo"),
    volatile=("version",),
    reads={
        "value": _read_value,
        "insecureValue": "live.Value",
        "description": "live.metadata.Description || `null`",
        "keyId": "live.metadata.KeyId",
        "tier": "live.metadata.Tier",
        "allowedPattern": "live.metadata.AllowedPattern",
        "hasValueWo": lambda scope: scope.props.get("valueWo") is not None,
        # Written only: never read back.
        "valueWo": "`null`",
        "valueWoVersion": "`null`",
    },
    tags=Tagging(
        list=Call(
            "list_tags_for_resource", {"ResourceType": "Parameter", "ResourceId": "$id"}, "TagList"
        ),
        add=Call(
            "add_tags_to_resource",
            {"ResourceType": "Parameter", "ResourceId": "$id", "Tags": "$added"},
        ),
        remove=Call(
            "remove_tags_from_resource",
            {"ResourceType": "Parameter", "ResourceId": "$id", "TagKeys": "$removed"},
        ),
    ),
)

ROWS: Final[dict[str, Row]] = {"aws:ssm/parameter:Parameter": PARAMETER}

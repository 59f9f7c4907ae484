"""Launch templates: a change of what they launch is a new version of the same template."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Hook, Row, Scope, Update
from infra.sandbox.engine.drivers.rows.ec2_network import arn, ec2_tags
from infra.sandbox.engine.drivers.shapes import from_api

DATA: Final[dict[str, str]] = {
    "blockDeviceMappings": "BlockDeviceMappings",
    "creditSpecification": "CreditSpecification",
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "ebsOptimized": "EbsOptimized",
    "iamInstanceProfile": "IamInstanceProfile",
    "imageId": "ImageId",
    "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    "instanceType": "InstanceType",
    "keyName": "KeyName",
    "metadataOptions": "MetadataOptions",
    "monitoring": "Monitoring",
    "networkInterfaces": "NetworkInterfaces",
    "securityGroupNames": "SecurityGroups",
    "tagSpecifications": "TagSpecifications",
    "userData": "UserData",
    "vpcSecurityGroupIds": "SecurityGroupIds",
}
"""Property -> what LaunchTemplateData calls it."""
FLAGS: Final = ("associatePublicIpAddress", "deleteOnTermination", "ebsOptimized", "encrypted")
"""Booleans that the provider takes as text, to tell false from not given."""
_NAMES: Final = {"securityGroups": "Groups"}


def _to_data(value: Any) -> Any:
    """Write a property in EC2's words: its names, tags as pairs, booleans that are booleans."""
    if isinstance(value, list):
        return [_to_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    written = {}
    for key, item in value.items():
        if key == "tags":
            written["Tags"] = [{"Key": name, "Value": text} for name, text in item.items()]
        else:
            written[_NAMES.get(key, key[0].upper() + key[1:])] = _flag(key, _to_data(item))
    return written


def _flag(key: str, value: Any) -> Any:
    return value == "true" if key in FLAGS and isinstance(value, str) else value


def _data(scope: Scope) -> dict[str, Any]:
    return {
        name: _flag(key, _to_data(scope.props[key]))
        for key, name in DATA.items()
        if scope.props.get(key) is not None
    }


def _create(scope: Scope) -> str:
    props = scope.props
    args = {
        "LaunchTemplateName": props["name"],
        "LaunchTemplateData": _data(scope),
        **props["$tags"],
    }
    if props.get("description"):
        args["VersionDescription"] = props["description"]
    answer = scope.call("create_launch_template", args)["LaunchTemplate"]
    return str(answer["LaunchTemplateId"])


def _add_version(scope: Scope) -> None:
    args: dict[str, Any] = {"LaunchTemplateId": scope.id, "LaunchTemplateData": _data(scope)}
    if scope.props.get("description"):
        args["VersionDescription"] = scope.props["description"]
    made = scope.call("create_launch_template_version", args)["LaunchTemplateVersion"]
    if scope.props.get("updateDefaultVersion"):
        _set_default(scope, made["VersionNumber"])


def _set_default(scope: Scope, version: int) -> None:
    args = {"LaunchTemplateId": scope.id, "DefaultVersion": str(version)}
    scope.call("modify_launch_template", args)


def _choose_default(scope: Scope) -> None:
    version = scope.props.get("defaultVersion")
    if version and not scope.props.get("updateDefaultVersion"):
        _set_default(scope, int(version))


def _read_data(key: str) -> Hook:
    def read(scope: Scope) -> Any:
        value = from_api(scope.props["$live"]["latest"]["LaunchTemplateData"].get(DATA[key]))
        return [_interface(item) for item in value or []] if key == "networkInterfaces" else value

    return read


def _interface(value: dict[str, Any]) -> dict[str, Any]:
    groups = value.pop("groups", None)
    return {**value, "securityGroups": groups} if groups else value


LAUNCH_TEMPLATE: Final = Row(
    label="EC2 Launch Template",
    service="ec2",
    create=_create,
    read=Call("describe_launch_templates", {"LaunchTemplateIds": ["$id"]}, "LaunchTemplates[0]"),
    also={
        "latest": Call(
            "describe_launch_template_versions",
            {"LaunchTemplateId": "$id", "Versions": lambda _: ["$Latest"]},
            "LaunchTemplateVersions[0]",
        ),
    },
    delete=Call("delete_launch_template", {"LaunchTemplateId": "$id"}),
    updates=(
        Update((*DATA, "description"), _add_version),
        Update(("defaultVersion",), _choose_default),
    ),
    forces=("name", "namePrefix"),
    local=("updateDefaultVersion",),
    computed=("defaultVersion", "namePrefix"),
    name=AutoName("name", limit=125),
    name_prefix="namePrefix",
    outputs=("arn", "latestVersion"),
    volatile=("defaultVersion", "latestVersion"),
    reads={
        "name": "live.LaunchTemplateName",
        "namePrefix": "props.namePrefix",
        "description": "live.latest.VersionDescription",
        "defaultVersion": "live.DefaultVersionNumber",
        "latestVersion": "live.LatestVersionNumber",
        "arn": arn("launch-template"),
        **{key: _read_data(key) for key in DATA},
    },
    tags=ec2_tags("launch-template"),
    listing=Call("describe_launch_templates", {}, "LaunchTemplates[].LaunchTemplateId"),
)

ROWS: Final[dict[str, Row]] = {"aws:ec2/launchTemplate:LaunchTemplate": LAUNCH_TEMPLATE}

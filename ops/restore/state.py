"""The state as a restore needs it: exported as it is, put back, and a resource taken out of it.

A database is taken out by editing an exported state: `pulumi state delete` refuses a resource that
others depend on, or forgets those as well, and they would then be made twice.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ops.backup.steps import exported
from ops.stack import open_stack

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace

    from ops.access import Access

DATABASE: Final = "aws:rds/instance:Instance"
VPC: Final = "aws:ec2/vpc:Vpc"

Deployment = dict[str, Any]
"""An exported state, with its version."""
Resource = Mapping[str, Any]


def read(access: Access) -> Deployment:
    """Export the environment's state, its secrets encrypted."""
    return parse(exported(access))


def parse(content: bytes) -> Deployment:
    """Give an exported state."""
    found: Deployment = json.loads(content)
    return found


def resources(deployment: Deployment) -> list[Resource]:
    """Give the resources of a state."""
    return list((deployment.get("deployment") or {}).get("resources") or [])


def in_cloud(deployment: Deployment) -> list[Resource]:
    """Give those that stand for a thing of a cloud."""
    return [
        item
        for item in resources(deployment)
        if item.get("custom") and not item["type"].startswith("pulumi:")
    ]


def databases(deployment: Deployment) -> dict[str, Resource]:
    """Give the database instances of a state by the end of their names: `databases-main`: main."""
    return {
        item["urn"].rpartition("::")[2].partition("-")[2]: item
        for item in resources(deployment)
        if item["type"] == DATABASE and not item.get("delete")
    }


def identifier(resource: Resource) -> str:
    """Give the identifier that a state has of a database instance."""
    known = {**resource.get("inputs", {}), **resource.get("outputs", {})}
    return str(known.get("identifier", ""))


def without(deployment: Deployment, urn: str) -> Deployment:
    """Give a state without one resource; what depended on it stays, and depends on it no more."""
    result = copy.deepcopy(deployment)
    inner = result["deployment"]
    inner["resources"] = [_freed(item, urn) for item in inner["resources"] if item["urn"] != urn]
    if pending := inner.get("pending_operations"):
        inner["pending_operations"] = [item for item in pending if item["resource"]["urn"] != urn]
    return result


def _freed(resource: dict[str, Any], urn: str) -> dict[str, Any]:
    if dependencies := resource.get("dependencies"):
        resource["dependencies"] = _less(dependencies, urn)
    if by_property := resource.get("propertyDependencies"):
        resource["propertyDependencies"] = {
            name: _less(found or [], urn) for name, found in by_property.items()
        }
    if resource.get("deletedWith") == urn:
        del resource["deletedWith"]
    return resource


def _less(urns: Iterable[str], urn: str) -> list[str]:
    return [item for item in urns if item != urn]


def write(access: Access, deployment: Deployment) -> None:
    """Put a state in the place of the environment's; nothing in the cloud changes."""
    stack = open_stack(access)
    workspace = cast("LocalWorkspace", stack.workspace)
    for file in _file(access, deployment):
        workspace.pulumi_command.run(
            ["stack", "import", "--file", str(file), "--stack", stack.name],
            workspace.work_dir,
            dict(workspace.env_vars),
        )


def _file(access: Access, deployment: Deployment) -> Iterator[Path]:
    """Give a file with the state, for its owner alone, for as long as it is needed."""
    access.records.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=access.records, suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(deployment, file)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)

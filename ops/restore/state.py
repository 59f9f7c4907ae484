"""The state as a restore needs it: exported as it is, put back, and a resource taken out of it.

A database is taken out by editing an exported state: `pulumi state delete` refuses a resource that
others depend on, or forgets those as well, and they would then be made twice.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ops.backup.steps import exported
from ops.stack import open_stack, run_cli

if TYPE_CHECKING:
    from ops.access import Access

DATABASE: Final = "aws:rds/instance:Instance"
_LINKS: Final = ("dependencies", "propertyDependencies", "deletedWith")
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
    """Give the database instances of a state by what settings call them."""
    return {
        database_name(item["urn"]): item
        for item in resources(deployment)
        if item["type"] == DATABASE and not item.get("delete")
    }


def database_name(urn: str) -> str:
    """Give which database of the settings a database instance is: `…::databases-main`: main."""
    return urn.rpartition("::")[2].partition("-")[2]


def identifier(resource: Resource) -> str:
    """Give the identifier that a state has of a database instance."""
    known = {**resource.get("inputs", {}), **resource.get("outputs", {})}
    return str(known.get("identifier", ""))


def dependents(deployment: Deployment, urns: Iterable[str]) -> frozenset[str]:
    """Give resources with all that depend on them, whatever is between."""
    found = set(urns)
    for item in resources(deployment):  # whatever something depends on comes before it
        needed = {*_dependencies(item), item.get("deletedWith")}
        if needed & found:
            found.add(item["urn"])
    return frozenset(found)


def _dependencies(resource: Resource) -> set[str]:
    by_property = resource.get("propertyDependencies") or {}
    listed = (resource.get("dependencies") or (), *(urns or () for urns in by_property.values()))
    return {urn for urns in listed for urn in urns}


def without(deployment: Deployment, urns: Collection[str]) -> Deployment:
    """Give a state without some resources; what depended on them stays, and does so no more."""
    result = copy.deepcopy(deployment)
    inner = result["deployment"]
    inner["resources"] = [
        _freed(item, urns) for item in inner["resources"] if item["urn"] not in urns
    ]
    if pending := inner.get("pending_operations"):
        inner["pending_operations"] = [
            item for item in pending if item["resource"]["urn"] not in urns
        ]
    return result


def put_back(deployment: Deployment, former: Deployment, urns: Collection[str]) -> Deployment:
    """Give a state with some resources as a former one had them; `without` took them out.

    What an update has recorded since then stays: it is true as well.
    """
    result = copy.deepcopy(deployment)
    there = result["deployment"]["resources"]
    known: set[str] = set()
    for was in resources(former):
        if was["urn"] in urns:
            places = [
                place
                for place, item in enumerate(there)
                if item["urn"] in known and not item.get("delete")
            ]
            there.insert(max(places, default=-1) + 1, copy.deepcopy(was))
        known.add(was["urn"])
    links = {(was["urn"], was.get("id")): was for was in resources(former)}
    for item in there:
        _linked(item, links.get((item["urn"], item.get("id"))), urns)
    return result


def _linked(item: dict[str, Any], was: Resource | None, urns: Collection[str]) -> None:
    """Let a resource depend on others again, where nothing else has come of it since then."""
    if was is None or _dependencies(was) - {*urns} != _dependencies(item):
        return
    item.update({field: copy.deepcopy(was[field]) for field in _LINKS if was.get(field)})


def _freed(resource: dict[str, Any], urns: Collection[str]) -> dict[str, Any]:
    if dependencies := resource.get("dependencies"):
        resource["dependencies"] = _less(dependencies, urns)
    if by_property := resource.get("propertyDependencies"):
        resource["propertyDependencies"] = {
            name: _less(found or [], urns) for name, found in by_property.items()
        }
    if resource.get("deletedWith") in urns:
        del resource["deletedWith"]
    return resource


def _less(listed: Iterable[str], urns: Collection[str]) -> list[str]:
    return [item for item in listed if item not in urns]


def write(access: Access, deployment: Deployment) -> None:
    """Put a state in the place of the environment's; nothing in the cloud changes.

    Raises `OpsError` where the engine does not take it: then the state is as it was.
    """
    stack = open_stack(access)
    for file in _file(access, deployment):
        run_cli(stack, ["stack", "import", "--file", str(file), "--stack", stack.name])


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

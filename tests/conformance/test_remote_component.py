"""A component of another package: what it registers, and what the program can do with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.sandbox import servers
from tests.conformance import recordings
from tests.conformance.conftest import Worlds
from tests.conformance.world import World

pytestmark = pytest.mark.conformance

CASE = "20-eks-cluster"
PROJECT = "eksrec"


@pytest.fixture
def cluster(world: Worlds, cloud: servers.Cloud) -> World:
    """The recorded program, not run yet."""
    made = world(recordings.program(CASE), PROJECT)
    made.done("config", "set", "endpoint", cloud.endpoint)
    return made


def described(resource: dict[str, Any]) -> dict[str, Any]:
    """Give a resource of an export as the case describes it."""
    name = resource["urn"].split("::")[-1]
    urns = {urn for urns in resource.get("propertyDependencies", {}).values() for urn in urns or ()}
    urns |= set(resource.get("dependencies", ()))
    provider = resource.get("provider", "").rpartition("::")[0]
    is_custom = resource["custom"]
    return {
        "type": resource["type"],
        "qualified_type": resource["urn"].split("::")[2],
        "name": name,
        "parent": last(resource.get("parent")),
        "custom": is_custom,
        "provider": f"{provider.split('::')[2].split('$')[-1]}::{last(provider)}"
        if provider
        else None,
        "dependencies": sorted(filter(None, map(last, urns))),
        "input_keys": sorted(key for key in resource.get("inputs", {}) if not key.startswith("__")),
        "output_keys": None if is_custom else sorted(resource.get("outputs", {})),
    }


def last(urn: str | None) -> str | None:
    """Give the logical name of a URN."""
    return urn.split("::")[-1] if urn else None


def test_the_cluster_registers_what_was_recorded(cluster: World) -> None:
    ended = cluster.done("up")

    assert {op for _, op in ended.ops} == {recordings.document(CASE)["ops_all"]}
    recorded = {entry["name"]: entry for entry in recordings.document(CASE)["resources"]}
    found = {entry["name"]: entry for entry in map(described, cluster.resources())}
    assert sorted(found) == sorted(recorded)
    different = {
        name: (recorded[name], found[name]) for name in found if found[name] != recorded[name]
    }
    assert different == {}


def test_the_cluster_is_the_same_the_next_time(cluster: World) -> None:
    made = cluster.done("up").counts["create"]

    assert cluster.done("preview").counts == {"same": made}


def test_a_method_of_the_component_is_answered(cluster: World) -> None:
    cluster.write(
        recordings.program(CASE)
        + 'pulumi.export("asked", cluster.get_kubeconfig(role_arn="arn:aws:iam::1:role/other"))\n'
    )
    cluster.done("up")

    asked = json.loads(cluster.outputs(shown=True)["asked"])
    [user] = asked["users"]
    assert "arn:aws:iam::1:role/other" in user["user"]["exec"]["args"]


def test_options_that_would_make_more_than_a_control_plane_are_refused(cluster: World) -> None:
    cluster.write(
        recordings.program(CASE).replace("create_oidc_provider=False", "create_oidc_provider=True")
    )

    ended = cluster.run("preview")

    assert not ended.ok
    assert "createOidcProvider" in "".join(ended.messages("error"))

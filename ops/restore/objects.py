"""Objects of the cluster: compared with what is there, and applied by its API server.

Server-side apply does both: a dry run gives what would be, so that nothing is compared that a
server fills in by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ops.backup import cluster
from ops.backup.cluster import Kind, Manifest
from ops.errors import OpsError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

MANAGER: Final = "mono-repo-ops-restore"
"""Whom the cluster has as the owner of restored fields."""
SERVED_SECONDS: Final = 60.0
"""How long a kind is waited for once it is defined; a cluster with several API servers takes 5."""
_PAUSE_SECONDS: Final = 0.1
_NOT_FOUND: Final = 404
_INVALID: Final = 422
_DEFINITION: Final = "CustomResourceDefinition"


def identity(manifest: Manifest) -> str:
    """Name an object: kind, and namespace and name."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    where = f"{namespace}/" if namespace else ""
    return f"{manifest['apiVersion']} {manifest['kind']} {where}{metadata['name']}"


def operators(manifests: Iterable[Manifest], mapping: Mapping[str, str]) -> list[Manifest]:
    """Give those that a restore applies, in the namespaces that they are to be in.

    The program makes its own again and EKS its own; what runs once is not run again. Older backups
    hold all of these.
    """
    return [
        _mapped(item, mapping)
        for item in manifests
        if not (cluster.is_programs(item) or cluster.is_eks(item) or cluster.is_act(item))
    ]


def _mapped(manifest: Manifest, mapping: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    if manifest["kind"] == "Namespace":
        name = mapping.get(metadata["name"], metadata["name"])
        return {**manifest, "metadata": {**metadata, "name": name}}
    namespace = metadata.get("namespace", "")
    return _beside(manifest, mapping[namespace]) if namespace in mapping else manifest


def _beside(manifest: Manifest, namespace: str) -> Manifest:
    """Give an object as it can be in a namespace beside the one that it is of.

    A node's port is had by one Service of the cluster: the other one gets a free one.
    """
    metadata = manifest["metadata"]
    if metadata["namespace"] == namespace:
        return manifest
    moved = {**manifest, "metadata": {**metadata, "namespace": namespace}}
    if (manifest["apiVersion"], manifest["kind"]) != ("v1", "Service"):
        return moved
    spec = {key: value for key, value in manifest["spec"].items() if key != "healthCheckNodePort"}
    if "ports" in spec:
        spec["ports"] = [
            {key: value for key, value in port.items() if key != "nodePort"}
            for port in spec["ports"]
        ]
    return {**moved, "spec": spec}


def lacking(client: ApiClient, manifests: Sequence[Manifest]) -> list[str]:
    """Give the objects that are missing in the cluster, or other than in the manifests."""
    served = _served(client)
    return [identity(manifest) for manifest in manifests if not is_there(client, served, manifest)]


def is_there(client: ApiClient, served: Mapping[tuple[str, str], Kind], manifest: Manifest) -> bool:
    """Tell whether applying an object would change nothing.

    One that cannot be made of what is there, since that is immutable, is another one.
    """
    from kubernetes.client.exceptions import ApiException

    kind = served.get((manifest["apiVersion"], manifest["kind"]))
    if kind is None:
        return False
    metadata = manifest["metadata"]
    path = kind.path(metadata.get("namespace", ""), metadata["name"])
    try:
        live = cluster.request(client, "GET", path)
        would_be = apply(client, kind, manifest, dry_run=True)
    except ApiException as error:
        if error.status in (_NOT_FOUND, _INVALID):
            return False
        raise OpsError(_refused(manifest, error)) from error
    return _settled(live) == _settled(would_be)


def apply_all(client: ApiClient, manifests: Sequence[Manifest]) -> int:
    """Apply objects in their order; give how many. Safe to repeat.

    What is refused holds up nothing else, and is tried once more after all the rest: it may have
    needed what comes later. Raises `OpsError` that names what was refused twice.
    """
    refused = _apply_each(client, manifests)
    again = [item for item in manifests if identity(item) in refused]
    if again and (left := _apply_each(client, again)):
        said = "\n".join(f"    {line}" for line in left.values())
        raise OpsError(
            f"{len(left)} of {len(manifests)} objects were not applied, all the others were:\n"
            f"{said}\n"
            "Install what serves a kind that is not known. What cannot be changed in place has to "
            "be deleted, if it is to be as in the backup. Then resume."
        )
    return len(manifests)


def _apply_each(client: ApiClient, manifests: Sequence[Manifest]) -> dict[str, str]:
    """Apply each object, definitions of kinds first; give those that were refused, and why."""
    served = _served(client)
    definitions = [item for item in manifests if item["kind"] == _DEFINITION]
    refused = _apply_known(client, served, definitions)
    made = [item for item in definitions if identity(item) not in refused]
    refused |= _await_served(client, made)
    for definition in made:
        if identity(definition) not in refused:
            served |= {(kind.api_version, kind.kind): kind for kind in _defined(definition)}
    others = [item for item in manifests if item["kind"] != _DEFINITION]
    return refused | _apply_known(client, served, others)


def _apply_known(
    client: ApiClient, served: Mapping[tuple[str, str], Kind], manifests: Sequence[Manifest]
) -> dict[str, str]:
    from kubernetes.client.exceptions import ApiException

    refused = {}
    for manifest in manifests:
        kind = served.get((manifest["apiVersion"], manifest["kind"]))
        if kind is None:
            refused[identity(manifest)] = _unknown(manifest)
            continue
        try:
            apply(client, kind, manifest)
        except ApiException as error:
            refused[identity(manifest)] = _refused(manifest, error)
    return refused


def _await_served(client: ApiClient, definitions: Sequence[Manifest]) -> dict[str, str]:
    """Wait until the kinds that were defined are served; give the definitions that were not, why.

    An object of a kind is refused until then.
    """
    deadline = time.monotonic() + SERVED_SECONDS
    waiting = {identity(item): item for item in definitions}
    while waiting := {name: item for name, item in waiting.items() if not _is_served(client, item)}:
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    return {
        name: f"{name} was applied, and what it defines is not served after {SERVED_SECONDS:.0f} s"
        for name in waiting
    }


def _is_served(client: ApiClient, definition: Manifest) -> bool:
    from kubernetes.client.exceptions import ApiException

    try:
        live = cluster.request(
            client, "GET", _DEFINITIONS.path(name=definition["metadata"]["name"])
        )
    except ApiException:
        return False
    conditions = (live.get("status") or {}).get("conditions") or ()
    if not any((item["type"], item["status"]) == ("Established", "True") for item in conditions):
        return False
    for kind in _defined(definition):
        try:
            cluster.request(client, "GET", kind.path(), query=[("limit", "1")])
        except ApiException as error:  # another one is no matter of time
            if error.status == _NOT_FOUND:
                return False
    return True


def _defined(definition: Manifest) -> Iterator[Kind]:
    """Give the kinds that a definition has served, one a version."""
    spec = definition["spec"]
    for version in spec["versions"]:
        if version["served"]:
            yield Kind(
                api_version=f"{spec['group']}/{version['name']}",
                kind=spec["names"]["kind"],
                plural=spec["names"]["plural"],
                namespaced=spec["scope"] == "Namespaced",
            )


def apply(client: ApiClient, kind: Kind, manifest: Manifest, *, dry_run: bool = False) -> Any:
    """Apply one object; raises `ApiException`."""
    metadata = manifest["metadata"]
    query = [("fieldManager", MANAGER), ("force", "true")]
    if dry_run:
        query.append(("dryRun", "All"))
    return cluster.request(
        client,
        "PATCH",
        kind.path(metadata.get("namespace", ""), metadata["name"]),
        query=query,
        body=json.dumps(manifest),
        content_type="application/apply-patch+yaml",
    )


def refusals(client: ApiClient, manifests: Sequence[Manifest], namespace: str) -> list[str]:
    """Give what the cluster would refuse, were it applied; namespaced objects into one namespace.

    `namespace` has to be there. Nothing is changed.
    """
    from kubernetes.client.exceptions import ApiException

    served = _served(client)
    said = []
    for manifest in manifests:
        kind = served.get((manifest["apiVersion"], manifest["kind"]))
        if kind is None:
            said.append(_unknown(manifest))
            continue
        moved = manifest
        if manifest["metadata"].get("namespace"):
            moved = _beside(manifest, namespace)
        try:
            apply(client, kind, moved, dry_run=True)
        except ApiException as error:
            said.append(_refused(manifest, error))
    return said


def _served(client: ApiClient) -> dict[tuple[str, str], Kind]:
    return {(kind.api_version, kind.kind): kind for kind in cluster.served(client)}


def _settled(live: Mapping[str, Any]) -> dict[str, Any]:
    """Give an object without what changes by itself."""
    passing = ("managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in live["metadata"].items() if key not in passing}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


def _unknown(manifest: Manifest) -> str:
    return f"{identity(manifest)}: the cluster does not know its kind, which is not installed"


def _refused(manifest: Manifest, error: Any) -> str:
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, KeyError):
        message = f"{error.status} {error.reason}"
    if manifest["kind"] == "Secret":  # a validation may repeat what it was given
        message = f"{error.status} {error.reason}"
    return f"{identity(manifest)} was refused: {message}"


def make_namespace(client: ApiClient, name: str) -> None:
    """Make a namespace to try things in, unless it is there."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    apply(client, _NAMESPACES, manifest)


def namespaces(client: ApiClient, beginning: str) -> list[str]:
    """Give the namespaces whose names begin so, without those that are being deleted."""
    found = cluster.request(client, "GET", _NAMESPACES.path())["items"]
    there = [item["metadata"] for item in found if not item["metadata"].get("deletionTimestamp")]
    return [item["name"] for item in there if item["name"].startswith(beginning)]


def remove_namespace(client: ApiClient, name: str) -> None:
    """Delete a namespace that was made to try things in; nothing was put into it."""
    from kubernetes.client.exceptions import ApiException

    try:
        cluster.request(client, "DELETE", _NAMESPACES.path(name=name))
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise OpsError(f"The namespace {name} could not be deleted: {error.reason}.") from error


_DEFINITIONS: Final = Kind(
    api_version="apiextensions.k8s.io/v1",
    kind=_DEFINITION,
    plural="customresourcedefinitions",
    namespaced=False,
)
_NAMESPACES: Final = Kind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)

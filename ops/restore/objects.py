"""Objects of the cluster: compared with what is there, and applied by its API server.

Server-side apply does both: a dry run gives what would be, so that nothing is compared that a
server fills in by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ops.backup import cluster
from ops.backup.cluster import Kind, Manifest
from ops.errors import OpsError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

MANAGER: Final = "mono-repo-ops-restore"
"""Whom the cluster has as the owner of restored fields."""
_NOT_FOUND: Final = 404


def identity(manifest: Manifest) -> str:
    """Name an object: kind, and namespace and name."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    where = f"{namespace}/" if namespace else ""
    return f"{manifest['apiVersion']} {manifest['kind']} {where}{metadata['name']}"


def operators(manifests: Iterable[Manifest], mapping: Mapping[str, str]) -> list[Manifest]:
    """Give those that the program does not make, in the namespaces that they are to be in."""
    return [_mapped(item, mapping) for item in manifests if not cluster.is_programs(item)]


def _mapped(manifest: Manifest, mapping: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    if manifest["kind"] == "Namespace":
        name = mapping.get(metadata["name"], metadata["name"])
        return {**manifest, "metadata": {**metadata, "name": name}}
    namespace = metadata.get("namespace")
    if namespace not in mapping:
        return manifest
    return {**manifest, "metadata": {**metadata, "namespace": mapping[namespace]}}


def lacking(client: ApiClient, manifests: Sequence[Manifest]) -> list[str]:
    """Give the objects that are missing in the cluster, or other than in the manifests."""
    served = _served(client)
    return [identity(manifest) for manifest in manifests if not is_there(client, served, manifest)]


def is_there(client: ApiClient, served: Mapping[tuple[str, str], Kind], manifest: Manifest) -> bool:
    """Tell whether applying an object would change nothing."""
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
        if error.status == _NOT_FOUND:
            return False
        raise OpsError(_refused(manifest, error)) from error
    return _settled(live) == _settled(would_be)


def apply_all(client: ApiClient, manifests: Sequence[Manifest]) -> int:
    """Apply objects in their order; give how many. Safe to repeat."""
    from kubernetes.client.exceptions import ApiException

    served = _served(client)
    for manifest in manifests:
        kind = served.get((manifest["apiVersion"], manifest["kind"]))
        if kind is None:  # the definition of it may just have been applied
            served = _served(client)
            kind = served.get((manifest["apiVersion"], manifest["kind"]))
        if kind is None:
            raise OpsError(
                f"The cluster does not know {identity(manifest)}: its kind is not installed. What "
                "comes before it was applied. Install what serves it, then resume."
            )
        try:
            apply(client, kind, manifest)
        except ApiException as error:
            raise OpsError(_refused(manifest, error)) from error
    return len(manifests)


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
            said.append(f"{identity(manifest)}: its kind is not installed")
            continue
        moved = manifest
        if manifest["metadata"].get("namespace"):
            moved = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
        try:
            apply(client, kind, moved, dry_run=True)
        except ApiException as error:
            said.append(_refused(manifest, error))
    return said


def _served(client: ApiClient) -> dict[tuple[str, str], Kind]:
    return {(kind.api_version, kind.kind): kind for kind in cluster.kinds(client)}


def _settled(live: Mapping[str, Any]) -> dict[str, Any]:
    """Give an object without what changes by itself."""
    passing = ("managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in live["metadata"].items() if key not in passing}
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


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


def remove_namespace(client: ApiClient, name: str) -> None:
    """Delete a namespace that was made to try things in; nothing was put into it."""
    from kubernetes.client.exceptions import ApiException

    try:
        cluster.request(client, "DELETE", _NAMESPACES.path(name=name))
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise OpsError(f"The namespace {name} could not be deleted: {error.reason}.") from error


_NAMESPACES: Final = Kind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)

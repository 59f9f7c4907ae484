"""The cluster's part of a backup: what somebody has declared there, as manifests.

Left out is what the cluster makes by itself: what has an owner, what Kubernetes and EKS bring
along, and the fields that a server fills in. A manifest can be applied as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.errors import IncompleteError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Manifest = dict[str, Any]

SYSTEM_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Where EKS and its add-ons live: of these, only what the program made is kept."""
_PAGE: Final = 250

_MADE_BY_ITSELF: Final = frozenset(
    {
        "Binding",
        "CertificateSigningRequest",
        "ComponentStatus",
        "ControllerRevision",
        "CSINode",
        "CSIStorageCapacity",
        "Endpoints",
        "EndpointSlice",
        "Event",
        "FlowSchema",
        "IPAddress",
        "Lease",
        "Node",
        "PersistentVolume",
        "PriorityLevelConfiguration",
        "ServiceCIDR",
        "VolumeAttachment",
        "APIService",
        "PodMetrics",
        "NodeMetrics",
    }
)
"""Kinds that the cluster fills by itself, or that describe machines."""
_MADE_BY_ITSELF_NAMED: Final = frozenset(
    {
        ("Namespace", "default"),
        ("ServiceAccount", "default"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("Service", "kubernetes"),
        ("PriorityClass", "system-cluster-critical"),
        ("PriorityClass", "system-node-critical"),
    }
)
_BOOTSTRAP_LABEL: Final = "kubernetes.io/bootstrapping"
_SYSTEM_PREFIXES: Final = ("system:", "eks:", "eks-", "kubeadm:")
_TOKEN_TYPES: Final = frozenset(
    {"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}
)
_SERVER_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_SERVER_ANNOTATIONS: Final = (
    "control-plane.alpha.kubernetes.io/",
    "deployment.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "pv.kubernetes.io/",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/",
)
_FIRST: Final = ("CustomResourceDefinition", "Namespace", "PriorityClass", "StorageClass")
"""What others need to be there before them."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object that a cluster's API serves."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Give where its objects are in the API."""
        root = f"/api/{self.api_version}"
        if "/" in self.api_version:
            root = f"/apis/{self.api_version}"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


def request(
    client: ApiClient,
    method: str,
    path: str,
    *,
    query: Sequence[tuple[str, str]] = (),
    body: Any = None,
    content_type: str = "application/json",
) -> Any:
    """Ask a cluster's API, whatever the kind; raises `ApiException` and urllib3's errors."""
    answer = client.call_api(
        *client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
    )
    answer.read()  # type: ignore[no-untyped-call]  # so the library has it
    return client.response_deserialize(answer, {"2XX": "object"}).data


def kinds(client: ApiClient) -> list[Kind]:
    """Give every kind that can be listed and created, each in the version its server prefers.

    Raises `IncompleteError` where the server does not tell all: an API of an add-on may be down.
    """
    versions = ["v1"]
    with _complete("the kinds of objects"):
        groups = request(client, "GET", "/apis")["groups"]
        versions += [group["preferredVersion"]["groupVersion"] for group in groups]
        return [kind for version in versions for kind in _kinds_of(client, version)]


def _kinds_of(client: ApiClient, version: str) -> Iterator[Kind]:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    for found in request(client, "GET", root)["resources"]:
        if "/" not in found["name"] and {"list", "create"} <= set(found["verbs"]):
            yield Kind(
                api_version=version,
                kind=found["kind"],
                plural=found["name"],
                namespaced=found["namespaced"],
            )


def objects(client: ApiClient) -> list[Manifest]:
    """Give everything that somebody has declared in the cluster, as it can be applied again.

    Raises `IncompleteError` where a kind cannot be listed to its end.
    """
    found: dict[tuple[str, ...], Manifest] = {}
    for kind in kinds(client):
        if kind.kind in _MADE_BY_ITSELF:
            continue
        for item in _listed(client, kind):
            manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            if is_declared(manifest):
                found[_identity(manifest)] = applicable(manifest)
    return in_order(found.values())


def _listed(client: ApiClient, kind: Kind) -> Iterator[Manifest]:
    further = ""
    while True:
        query = [("limit", str(_PAGE)), *([("continue", further)] if further else [])]
        with _complete(f"the {kind.plural}"):
            answer = request(client, "GET", kind.path(), query=query)
        yield from answer["items"]
        further = answer["metadata"].get("continue", "")
        if not further:
            return


def is_declared(manifest: Manifest) -> bool:
    """Tell whether an object was declared by somebody, and not made by the cluster itself."""
    metadata, kind = manifest["metadata"], manifest["kind"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
        return False
    if is_programs(manifest):
        return True
    return not (
        _BOOTSTRAP_LABEL in (metadata.get("labels") or {})
        or (kind, name) in _MADE_BY_ITSELF_NAMED
        or namespace in SYSTEM_NAMESPACES
        or (kind == "Namespace" and name in SYSTEM_NAMESPACES)
        or (not namespace and name.startswith(_SYSTEM_PREFIXES))
        or (namespace and kind in ("Role", "RoleBinding") and name.startswith(_SYSTEM_PREFIXES))
        or (kind == "Secret" and manifest.get("type") in _TOKEN_TYPES)
    )


def is_programs(manifest: Manifest) -> bool:
    """Tell whether the program made an object: a restore leaves it to the program."""
    labels = manifest["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in naming.CLUSTER_LABELS.items())


def applicable(manifest: Manifest) -> Manifest:
    """Give an object without what its server filled in."""
    metadata = {
        key: value for key, value in manifest["metadata"].items() if key not in _SERVER_METADATA
    }
    annotations = {
        key: value
        for key, value in (metadata.pop("annotations", None) or {}).items()
        if not key.startswith(_SERVER_ANNOTATIONS)
    }
    if annotations:
        metadata["annotations"] = annotations
    rest = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    made = {**rest, "metadata": metadata}
    if clean := _CLEANERS.get(manifest["kind"]):
        clean(made)
    return made


def _clean_namespace(manifest: Manifest) -> None:
    manifest.pop("spec", None)  # its finalizers are the server's
    labels = manifest["metadata"].get("labels") or {}
    labels.pop("kubernetes.io/metadata.name", None)


def _clean_service(manifest: Manifest) -> None:
    spec = manifest["spec"]
    if spec.get("clusterIP") != "None":
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    for field in ("healthCheckNodePort", "ipFamilies", "ipFamilyPolicy"):
        spec.pop(field, None)


def _clean_claim(manifest: Manifest) -> None:
    manifest["spec"].pop("volumeName", None)


def _clean_job(manifest: Manifest) -> None:
    spec = manifest["spec"]
    if not spec.get("manualSelector"):
        spec.pop("selector", None)
        for metadata in (manifest["metadata"], spec["template"].get("metadata") or {}):
            labels = metadata.get("labels") or {}
            for name in [name for name in labels if name.endswith(("controller-uid", "job-name"))]:
                del labels[name]


def _clean_pod(manifest: Manifest) -> None:
    manifest["spec"].pop("nodeName", None)


def _clean_account(manifest: Manifest) -> None:
    manifest.pop("secrets", None)


_CLEANERS: Final = {
    "Job": _clean_job,
    "Namespace": _clean_namespace,
    "PersistentVolumeClaim": _clean_claim,
    "Pod": _clean_pod,
    "Service": _clean_service,
    "ServiceAccount": _clean_account,
}


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Give manifests in the order in which they can be applied."""

    def rank(manifest: Manifest) -> tuple[Any, ...]:
        kind = manifest["kind"]
        first = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
        return (first, *_identity(manifest))

    return sorted(manifests, key=rank)


def files(manifests: Iterable[Manifest]) -> dict[str, bytes]:
    """Give manifests as files, one a namespace and one for the rest, secrets left out."""
    parted: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            continue
        if manifest["kind"] == "Namespace":
            # Before what is in any of them, in the order in which files are applied.
            parted.setdefault("0-cluster", []).append(manifest)
            continue
        namespace = manifest["metadata"].get("namespace")
        parted.setdefault(f"namespace-{namespace}" if namespace else "0-cluster", []).append(
            manifest
        )
    return {f"{name}.yaml": _yaml(items) for name, items in sorted(parted.items())}


def parse(content: bytes) -> list[Manifest]:
    """Give the manifests of a file."""
    import yaml

    return [item for item in yaml.safe_load_all(content) if item]


def secrets(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Give the secrets among manifests: they go into an envelope."""
    return [manifest for manifest in manifests if manifest["kind"] == "Secret"]


def _yaml(manifests: Sequence[Manifest]) -> bytes:
    import yaml

    return str(yaml.safe_dump_all(manifests, explicit_start=True, sort_keys=True)).encode()


def _identity(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = manifest["metadata"]
    group = manifest["apiVersion"].rpartition("/")[0]
    return (metadata.get("namespace", ""), group, manifest["kind"], metadata["name"])


class _complete:  # noqa: N801 - reads as a clause
    """Turn a failure to list into the refusal to go on without it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        if isinstance(error, ApiException):
            raise IncompleteError(
                f"{self._what[0].upper()}{self._what[1:]} in the cluster could not be listed: "
                f"{error.status} {error.reason}. Nothing was made of a part of them."
            ) from error
        if isinstance(error, HTTPError):
            raise IncompleteError(
                f"{self._what[0].upper()}{self._what[1:]} in the cluster could not be listed: "
                f"{error}. Nothing was made of a part of them."
            ) from error

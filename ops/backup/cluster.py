"""The cluster's part of a backup: what somebody has declared there, as manifests.

Left out is what the cluster makes by itself: what has an owner, what Kubernetes and EKS bring
along, and the fields that a server fills in. So is what is done once and no declaration: a Job or
a Pod that is applied again does again what it did. A manifest can be applied as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from infra import naming
from ops.errors import IncompleteError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Manifest = dict[str, Any]

SYSTEM_NAMESPACES: Final = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "amazon-cloudwatch"}
)
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
"""Kubernetes' own kinds that the cluster fills by itself, or that describe machines."""
_MADE_BY_EKS: Final = frozenset(
    {
        ("networking.k8s.aws", "ClusterPolicyEndpoint"),
        ("networking.k8s.aws", "PolicyEndpoint"),
        ("vpcresources.k8s.aws", "CNINode"),
    }
)
"""Group and kind of what EKS's controllers fill likewise."""
_ACTS: Final = frozenset({("", "Pod"), ("batch", "Job")})
"""Group and kind of what runs once. CronJobs are declarations, and make Jobs of their own."""
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
_EKS_MANAGER: Final = "eks"
"""As whom EKS applies its add-ons; see "Determine fields you can customize" in its user guide."""
_EKS_NAMED: Final = frozenset(
    {
        ("CSIDriver", "ebs.csi.aws.com"),
        ("MutatingWebhookConfiguration", "0500-amazon-eks-fargate-mutation.amazonaws.com"),
        (
            "MutatingWebhookConfiguration",
            "amazon-cloudwatch-observability-mutating-webhook-configuration",
        ),
        ("MutatingWebhookConfiguration", "pod-identity-webhook"),
        ("MutatingWebhookConfiguration", "vpc-resource-mutating-webhook"),
        (
            "ValidatingWebhookConfiguration",
            "amazon-cloudwatch-observability-validating-webhook-configuration",
        ),
        ("ValidatingWebhookConfiguration", "vpc-resource-validating-webhook"),
    }
)
_EKS_ROLES: Final = (
    "amazon-cloudwatch-observability-",
    "aws-node",
    "cloudwatch-agent-",
    "ebs-csi-",
    "ebs-external-",
    "ebs-metadata-labeler-",
    "metrics-server:",
    "vpc-resource-controller-",
)
"""How cluster roles and their bindings begin that EKS and its add-ons bring along."""
_EKS_GROUPS: Final = frozenset(
    {
        "cloudwatch.aws.amazon.com",
        "crd.k8s.amazonaws.com",
        "networking.k8s.aws",
        "vpcresources.k8s.aws",
    }
)
"""API groups that EKS and its add-ons define; what operators put into them is theirs."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
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
_FIRST_WITHIN: Final = (
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "Role",
    "RoleBinding",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Service",
)
"""Likewise within a namespace: what workloads need, and what holds for them, before they run."""
_LAST: Final = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
"""What judges all others: while nothing serves a webhook yet, it may refuse every one of them."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object that a cluster's API serves."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """Its API group; Kubernetes' first one has no name."""
        return self.api_version.rpartition("/")[0]

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
    """Give every kind that can be listed and created, each once.

    A kind is given in the version that its server prefers of those that have it: a group's
    preferred version need not have all of the group's kinds. Raises as `served` does.
    """
    found: dict[tuple[str, str], Kind] = {}
    for kind in served(client):
        found.setdefault((kind.group, kind.plural), kind)
    return list(found.values())


def served(client: ApiClient) -> list[Kind]:
    """Give every kind that can be listed and created, in every version, preferred ones first.

    Raises `IncompleteError` where the server does not tell all: an API of an add-on may be down.
    """
    with _complete("the kinds of objects"):
        groups = request(client, "GET", "/apis")["groups"]
        versions = ["v1", *(version for group in groups for version in _versions(group))]
        return [kind for version in versions for kind in _kinds_of(client, version)]


def _versions(group: Mapping[str, Any]) -> Iterable[str]:
    named = (group["preferredVersion"], *group["versions"])
    return dict.fromkeys(version["groupVersion"] for version in named)


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
        if _is_made_by_itself(kind) or (kind.group, kind.kind) in _ACTS:
            continue
        for item in _listed(client, kind):
            manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            if is_declared(manifest):
                found[_identity(manifest)] = applicable(manifest)
    return in_order(found.values())


def _is_made_by_itself(kind: Kind) -> bool:
    kubernetes = "." not in kind.group or kind.group.endswith(".k8s.io")
    own = kubernetes and kind.kind in _MADE_BY_ITSELF
    return own or (kind.group, kind.kind) in _MADE_BY_EKS


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
        or is_eks(manifest)
        or (not namespace and name.startswith(_SYSTEM_PREFIXES))
        or (namespace and kind in ("Role", "RoleBinding") and name.startswith(_SYSTEM_PREFIXES))
        or (kind == "Secret" and manifest.get("type") in _TOKEN_TYPES)
    )


def is_eks(manifest: Manifest) -> bool:
    """Tell whether EKS or one of its add-ons brings an object along.

    A cluster that is made anew has its own, with its own certificates: another cluster's in their
    place would let the API server trust none of its webhooks. In a backup it is told by its name:
    which manager the fields had is not kept.
    """
    metadata, kind = manifest["metadata"], manifest["kind"]
    name = metadata["name"]
    return (
        any(entry.get("manager") == _EKS_MANAGER for entry in metadata.get("managedFields") or ())
        or metadata.get("namespace") in SYSTEM_NAMESPACES
        or (kind == "Namespace" and name in SYSTEM_NAMESPACES)
        or (kind, name) in _EKS_NAMED
        or (kind in ("ClusterRole", "ClusterRoleBinding") and name.startswith(_EKS_ROLES))
        or (kind == "CustomResourceDefinition" and name.partition(".")[2] in _EKS_GROUPS)
        or (kind.endswith("WebhookConfiguration") and _is_control_planes(manifest))
    )


def _is_control_planes(manifest: Manifest) -> bool:
    """Tell whether webhooks are served beside the API server, where EKS alone can put something."""
    urls = [webhook["clientConfig"].get("url") for webhook in manifest.get("webhooks") or ()]
    return any(urlsplit(url).hostname in _LOOPBACK for url in urls if url)


def is_act(manifest: Manifest) -> bool:
    """Tell whether applying an object would run something once, whether or not it ran before."""
    return (_group(manifest), manifest["kind"]) in _ACTS


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


def _clean_account(manifest: Manifest) -> None:
    manifest.pop("secrets", None)


_CLEANERS: Final = {
    "Namespace": _clean_namespace,
    "PersistentVolumeClaim": _clean_claim,
    "Service": _clean_service,
    "ServiceAccount": _clean_account,
}


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Give manifests in the order in which they can be applied."""

    def rank(manifest: Manifest) -> tuple[Any, ...]:
        kind = manifest["kind"]
        within = _FIRST_WITHIN.index(kind) if kind in _FIRST_WITHIN else len(_FIRST_WITHIN)
        namespace, *rest = _identity(manifest)
        return (_place(kind), namespace, within, *rest)

    return sorted(manifests, key=rank)


def _place(kind: str) -> int:
    """Give where a kind comes: below 0 before the rest, above after it."""
    if kind in _FIRST:
        return _FIRST.index(kind) - len(_FIRST)
    return _LAST.index(kind) + 1 if kind in _LAST else 0


def files(manifests: Iterable[Manifest]) -> dict[str, bytes]:
    """Give manifests as files, one a namespace and two for the rest, secrets left out.

    They are named in the order in which they can be applied.
    """
    parted: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        if manifest["kind"] != "Secret":
            parted.setdefault(_file(manifest), []).append(manifest)
    return {f"{name}.yaml": _yaml(items) for name, items in sorted(parted.items())}


def _file(manifest: Manifest) -> str:
    if manifest["kind"] in _LAST:
        return "z-admission"
    namespace = manifest["metadata"].get("namespace")
    return f"namespace-{namespace}" if namespace else "0-cluster"


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
    namespace = metadata.get("namespace", "")
    return (namespace, _group(manifest), manifest["kind"], metadata["name"])


def _group(manifest: Mapping[str, Any]) -> str:
    return str(manifest["apiVersion"].rpartition("/")[0])


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

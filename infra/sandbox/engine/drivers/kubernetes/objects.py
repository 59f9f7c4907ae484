"""What the kubernetes provider decides about objects: names, differences, ids. Pure.

The rules are those of Pulumi's kubernetes provider 4 with server-side apply.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
import secrets
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from infra.sandbox.engine.drivers.values import changes
from infra.sandbox.engine.provider import (
    CheckFailure,
    CheckResult,
    DiffKind,
    DiffResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue, contains_unknown

DEFAULT_NAMESPACE: Final = "default"
AUTONAMED: Final = "pulumi.com/autonamed"
CORE_GROUP: Final = "core"

CLUSTER_SCOPED: Final = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)
"""Kubernetes' own kinds that are in no namespace: an API server tells it, a record cannot."""

_VERSION: Final = re.compile(r"v\d+((alpha|beta)\d+)?$")
_NOT_OBJECTS: Final = ("helm.sh/", "kustomize/", "yaml/")
_SET_BY_SERVER: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_NOTES_OF_OTHERS: Final = (
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
)
_CONTAINERS: Final = ("spec.containers[*]", "spec.initContainers[*]")
_CONTAINER_FIELDS: Final = (
    *("args", "command", "env", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "ports"),
    *("readinessProbe", "resources", "securityContext", "stdin", "stdinOnce"),
    *("terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices"),
    *("volumeMounts", "workingDir"),
)
_POD_FIELDS: Final = (
    *("affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks"),
    *("hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostname", "imagePullSecrets"),
    *("nodeName", "nodeSelector", "overhead", "preemptionPolicy", "priority", "priorityClassName"),
    *("readinessGates", "restartPolicy", "runtimeClassName", "schedulerName", "securityContext"),
    *("serviceAccount", "serviceAccountName", "shareProcessNamespace", "subdomain"),
    *("terminationGracePeriodSeconds", "volumes"),
)
_VOLUME_SOURCES: Final = (
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc"),
    *("flexVolume", "flocker", "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local"),
    *("nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos"),
    "vsphereVolume",
)
IDENTITY: Final = ("metadata.name", "metadata.namespace")
FORCE_NEW: Final[Mapping[str, tuple[str, ...]]] = {
    "apps/v1:DaemonSet": ("spec.selector",),
    "apps/v1:Deployment": ("spec.selector",),
    "apps/v1:StatefulSet": (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    "batch/v1:Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "rbac.authorization.k8s.io/v1:ClusterRoleBinding": ("roleRef",),
    "rbac.authorization.k8s.io/v1:RoleBinding": ("roleRef",),
    "storage.k8s.io/v1:StorageClass": ("parameters", "provisioner"),
    "v1:ConfigMap": ("binaryData", "data"),
    "v1:PersistentVolume": tuple(f"spec.{source}" for source in _VOLUME_SOURCES),
    "v1:PersistentVolumeClaim": (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    "v1:Pod": (
        *(f"spec.{field}" for field in _POD_FIELDS),
        *(f"{container}.{field}" for container in _CONTAINERS for field in _CONTAINER_FIELDS),
    ),
    "v1:ResourceQuota": ("spec.scopes",),
    "v1:Secret": ("data", "stringData", "type"),
    "v1:Service": ("spec.clusterIP",),
}
"""Properties whose change makes another object, as Pulumi's provider has them, by kind."""
MUTABLE_DATA: Final[Mapping[str, str]] = {
    "v1:ConfigMap": "enableConfigMapMutable",
    "v1:Secret": "enableSecretMutable",
}
"""The provider settings that let a kind's data be changed in place."""

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)(([eE][+-]?\d+)|[A-Za-z]{0,2})$")
_SUFFIXES: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("num", start=-3)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_QUANTITY_PARENTS: Final = frozenset(
    {
        *("capacity", "default", "defaultRequest", "hard", "limits", "max"),
        *("maxLimitRequestRatio", "min", "podFixed", "requests"),
    }
)
_QUANTITY_FIELDS: Final = frozenset({"averageValue", "divisor", "sizeLimit"})


class Kind(NamedTuple):
    """An object's kind, as its manifest says it."""

    api_version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.api_version}:{self.kind}"


def kind_of(type_: str) -> Kind:
    """Read a type token (``kubernetes:core/v1:Namespace``).

    Raises `UnsupportedTypeError` for what stands for no single whole object.
    """
    _, module, name = type_.split(":", 2)
    group, _, version = module.rpartition("/")
    if module.startswith(_NOT_OBJECTS) or not _VERSION.match(version):
        raise UnsupportedTypeError(
            f"The sandbox has no {type_}: it applies single Kubernetes objects. Nothing was"
            " changed."
        )
    if name.endswith("Patch"):
        raise UnsupportedTypeError(
            f"The sandbox has no {type_}: it applies whole objects, not patches of objects that"
            f" something else owns. Nothing was changed. Declare the {name.removesuffix('Patch')},"
            " or import it."
        )
    return Kind(version if group == CORE_GROUP else module, name)


def checked(
    type_: str, name: str, old: PropertyMap | None, inputs: PropertyMap, namespace: str = ""
) -> CheckResult:
    """Complete an object: its kind, and a name with 8 hex digits where the program gives none.

    A name that was so given stays. `namespace`: that of objects which name none.
    """
    kind = kind_of(type_)
    failures = [
        CheckFailure(key, f"{key} is {inputs[key]!r}; {type_} was to be {value!r}.")
        for key, value in (("apiVersion", kind.api_version), ("kind", kind.kind))
        if inputs.get(key, value) not in (value, UNKNOWN)
    ]
    given = inputs.get("metadata")
    metadata = dict(given) if isinstance(given, Mapping) else {}
    for key in _SET_BY_SERVER:
        metadata.pop(key, None)
    if not metadata.get("name"):
        if metadata.get("generateName"):
            failures.append(
                CheckFailure(
                    "metadata.generateName",
                    "the `.metadata.generateName` field is not supported in Server-Side Apply mode",
                )
            )
        before = (old or {}).get("metadata") or {}
        kept = before.get("name") if is_autonamed(old or {}) else None
        metadata["name"] = kept or f"{name}-{secrets.token_hex(4)}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    if namespace and not metadata.get("namespace") and kind.kind not in CLUSTER_SCOPED:
        metadata["namespace"] = namespace
    complete = {**inputs, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    return CheckResult(complete, failures)


def is_autonamed(inputs: PropertyMap) -> bool:
    """Tell whether the object's name was made up here."""
    annotations = (inputs.get("metadata") or {}).get("annotations")
    return isinstance(annotations, Mapping) and annotations.get(AUTONAMED) == "true"


def object_id(kind: Kind, inputs: PropertyMap, *, namespaced: bool | None = None) -> str:
    """Give an object's id: ``namespace/name``, or the name alone of what is in no namespace."""
    metadata = inputs.get("metadata") or {}
    name: PropertyValue = metadata.get("name") or ""
    namespace: PropertyValue = metadata.get("namespace") or DEFAULT_NAMESPACE
    if UNKNOWN in (namespace, name):
        return ""
    inside = kind.kind not in CLUSTER_SCOPED if namespaced is None else namespaced
    return f"{namespace}/{name}" if inside else str(name)


def parsed_id(id_: str) -> tuple[str, str]:
    """Give namespace (empty where there is none) and name of an id."""
    namespace, _, name = id_.rpartition("/")
    return namespace, name


def difference(
    type_: str, old: PropertyMap, new: PropertyMap, mutable: frozenset[str] = frozenset()
) -> DiffResult:
    """Compare property by property, lists in order.

    `mutable`: kinds (`MUTABLE_DATA`) whose data may be changed in place.
    """
    kind = kind_of(type_)
    before, after = _in_namespace(kind, old), _in_namespace(kind, new)
    forced = _force_new(kind, after, mutable)
    detailed: dict[str, DiffKind] = {}
    for path, change in changes(before, after, "", ordered=True):
        if change == "update" and _same_at(path, before, after):
            continue
        replaces = any(_touches(path, other) for other in forced)
        detailed[path] = f"{change}-replace" if replaces else change  # type: ignore[assignment]  # the six kinds are these
    result = DiffResult(detailed)
    # An object that keeps a name given by the program cannot stand beside its successor.
    same_place = object_id(kind, before) == object_id(kind, after) != ""
    in_the_way = bool(result.replace_keys) and not is_autonamed(new) and same_place
    return DiffResult(detailed, delete_before_replace=in_the_way)


def _in_namespace(kind: Kind, inputs: PropertyMap) -> PropertyMap:
    """Say the namespace that an object without one is in."""
    metadata = inputs.get("metadata")
    if kind.kind in CLUSTER_SCOPED or not isinstance(metadata, Mapping):
        return inputs
    return {**inputs, "metadata": {"namespace": DEFAULT_NAMESPACE, **metadata}}


def _force_new(kind: Kind, inputs: PropertyMap, mutable: frozenset[str]) -> tuple[str, ...]:
    own = FORCE_NEW.get(str(kind), ())
    if str(kind) in mutable and not inputs.get("immutable"):
        own = ("type",) if kind.kind == "Secret" else ()
    return IDENTITY + own


def _touches(path: str, forced: str) -> bool:
    """Tell whether a change at a path is one of a property, its members, or what it is part of."""
    plain = re.sub(r"\[\d+\]", "[*]", path)
    return (
        plain == forced
        or plain.startswith((f"{forced}.", f"{forced}["))
        or (forced.startswith((f"{plain}.", f"{plain}[")))
    )


def _same_at(path: str, old: PropertyMap, new: PropertyMap) -> bool:
    """Tell whether a path holds two ways to write one quantity."""
    parts = re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)', path)
    keys = [quoted or index or plain for quoted, index, plain in parts]
    if not _is_quantity(keys):
        return False
    return same_quantity(_at(old, keys), _at(new, keys))


def _at(value: PropertyValue, keys: list[str]) -> PropertyValue:
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value.get(key)
    return value


def _is_quantity(keys: list[str]) -> bool:
    if not keys or keys[0] != "spec":
        return False
    return keys[-1] in _QUANTITY_FIELDS or any(key in _QUANTITY_PARENTS for key in keys[-3:-1])


def same_quantity(one: PropertyValue, other: PropertyValue) -> bool:
    """Tell whether two values are one quantity: ``0.5`` is ``500m``, ``1Gi`` is ``1024Mi``."""
    first, second = _quantity(one), _quantity(other)
    return first is not None and first == second


def _quantity(value: PropertyValue) -> Decimal | None:
    match = _QUANTITY.match(str(value)) if isinstance(value, str | int | float) else None
    if match is None or isinstance(value, bool):
        return None
    number, suffix, exponent = match.group(1), match.group(2), match.group(3)
    try:
        if exponent:
            return Decimal(number + exponent)
        return Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else None
    except InvalidOperation:
        return None


# -- what is live, in the words of the program -----------------------------------------------------


def live_inputs(live: PropertyMap, given: PropertyMap) -> PropertyMap:
    """Cut a live object down to what the program manages; all that could be given, without inputs.

    Where the API server writes the same in another way, the program's way stays.
    """
    if not given:
        return _importable(live)
    shown = copy.copy(live)
    if "stringData" in given:
        shown["stringData"] = _texts(live.get("data") or {}, given["stringData"])
    cut = _cut(shown, given, [])
    return {key: value for key, value in cut.items() if value is not None}


def _importable(live: PropertyMap) -> PropertyMap:
    inputs = {key: value for key, value in live.items() if key != "status"}
    metadata = {
        key: value
        for key, value in (live.get("metadata") or {}).items()
        if key not in _SET_BY_SERVER
    }
    notes = metadata.get("annotations") or {}
    kept = {key: value for key, value in notes.items() if key not in _NOTES_OF_OTHERS}
    if kept:
        metadata["annotations"] = kept
    else:
        metadata.pop("annotations", None)
    return {**inputs, "metadata": metadata}


def _texts(data: Mapping[str, str], given: PropertyValue) -> PropertyValue:
    """Decode those of a Secret's values that the program gives as text."""
    if not isinstance(given, Mapping):
        return None
    found = {}
    for key in given:
        if key in data:
            with_text = base64.b64decode(data[key])
            found[key] = with_text.decode("utf-8", errors="replace")
    return found


def _cut(live: PropertyValue, given: PropertyValue, keys: list[str]) -> PropertyValue:
    if isinstance(live, Mapping) and isinstance(given, Mapping):
        return dict(_cut_members(live, given, keys))
    if isinstance(live, list) and isinstance(given, list):
        # As Pulumi's provider does it: by position, and no further than the program goes.
        pairs = zip(live, given, strict=False)
        return [_cut(one, other, [*keys, "0"]) for one, other in pairs]
    same = live == given or (
        same_quantity(live, given) if _is_quantity(keys) else _same_bytes(live, given, keys)
    )
    return given if same else live


def _cut_members(
    live: Mapping[str, Any], given: Mapping[str, Any], keys: list[str]
) -> Iterator[tuple[str, PropertyValue]]:
    for key, wanted in given.items():
        if key in live:
            yield key, _cut(live[key], wanted, [*keys, key])
        elif _is_zero(wanted):
            yield key, wanted  # the API server leaves out what says nothing


def _is_zero(value: PropertyValue) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_zero, value.values()))
    return value is None or value in ("", 0, False) or value == []


def _same_bytes(live: PropertyValue, given: PropertyValue, keys: list[str]) -> bool:
    """Tell whether two texts of a Secret's data are base64 of the same."""
    if keys[:1] != ["data"] or not (isinstance(live, str) and isinstance(given, str)):
        return False
    try:
        return base64.b64decode(live) == base64.b64decode(given)
    except (binascii.Error, ValueError):
        return False


def planned_outputs(live: PropertyMap) -> PropertyMap:
    """Give what a dry run tells, without what the real thing will have otherwise."""
    metadata = {
        key: UNKNOWN if key in ("uid", "creationTimestamp", "resourceVersion") else value
        for key, value in (live.get("metadata") or {}).items()
        if key != "managedFields"
    }
    rest = {key: value for key, value in live.items() if key != "status"}
    return {**rest, "metadata": metadata}


def is_whole(inputs: PropertyMap) -> bool:
    """Tell whether an object is known throughout, so that an API server can judge it."""
    return not contains_unknown(inputs)


def secret_outputs(type_: str) -> frozenset[str]:
    """Name the properties of a type that are always secret: a Secret's content."""
    kind = type_.rpartition(":")[2]
    return frozenset({"data", "stringData"}) if kind == "Secret" else frozenset()

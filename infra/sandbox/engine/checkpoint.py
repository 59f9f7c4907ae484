"""Pulumi's checkpoint and deployment documents (version 3), to and from `state.Snapshot`.

Field names, their order and what is left out when empty are those of Pulumi's ``ResourceV3``. A
secret stands in the document as a signed object with its value, as JSON text, encrypted or plain.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from infra.sandbox.engine import wire
from infra.sandbox.engine.secrets import Crypter, Place, provider_document, provider_state
from infra.sandbox.engine.state import Operation, OperationType, Resource, Snapshot
from infra.sandbox.engine.wire import PropertyMap, PropertyValue, Secret

Document = dict[str, Any]

FLOAT_SIGNATURE: Final = "8ad145fe-0d11-4827-bfd7-1abcbf086f5c"
MASK: Final = "[secret]"

_VERSION: Final = 3
_VERSION_WITH_FEATURES: Final = 4
_FEATURES: Final = frozenset({"taint", "replaceWith", "refreshBeforeUpdate", "hooks"})
_UNSUPPORTED_PARTS: Final = ("snippets", "extensions")


class CheckpointError(Exception):
    """A document is no deployment that this engine can hold; the message is for the user."""


class IntegrityError(CheckpointError):
    """A deployment contradicts itself: a reference leads nowhere, or a URN is there twice."""


@dataclass(frozen=True)
class Sealed:
    """A secret's content that was left encrypted, since nobody asked for it."""

    ciphertext: str


class SecretForm(Protocol):
    """How secrets stand in a document."""

    def write(self, secret: Secret, place: Place) -> Document:
        """Give the fields that follow the signature."""
        ...

    def read(self, fields: Mapping[str, Any], place: Place) -> Secret:
        """Give the secret that a document's signed object holds."""
        ...


@dataclass(frozen=True)
class Encrypted:
    """Secrets are encrypted in the document and plain in the snapshot."""

    crypter: Crypter

    def write(self, secret: Secret, place: Place) -> Document:
        """Encrypt, with the ciphertext of before where the value is that of before."""
        if isinstance(secret.value, Sealed):
            return {"ciphertext": secret.value.ciphertext}
        return {"ciphertext": self.crypter.encrypt(_plaintext(secret), place)}

    def read(self, fields: Mapping[str, Any], place: Place) -> Secret:
        """Decrypt; a document that shows its secrets is read too."""
        if "ciphertext" in fields:
            return _secret(self.crypter.decrypt(fields["ciphertext"], place), place)
        return _secret(fields.get("plaintext"), place)


@dataclass(frozen=True)
class Shown:
    """Secrets are plain in the document, for ``--show-secrets``."""

    def write(self, secret: Secret, place: Place) -> Document:
        """Show the secret."""
        if isinstance(secret.value, Sealed):
            raise CheckpointError(f"the secret at {_path(place)} was not decrypted")
        return {"plaintext": _plaintext(secret)}

    def read(self, fields: Mapping[str, Any], place: Place) -> Secret:
        """Read a secret that the document shows."""
        return _secret(fields.get("plaintext"), place)


@dataclass(frozen=True)
class Kept:
    """Secrets stay encrypted in the snapshot too: for what does not look into them."""

    def write(self, secret: Secret, place: Place) -> Document:
        """Write the ciphertext as it was read."""
        if not isinstance(secret.value, Sealed):
            raise CheckpointError(f"the secret at {_path(place)} is new and has no ciphertext")
        return {"ciphertext": secret.value.ciphertext}

    def read(self, fields: Mapping[str, Any], place: Place) -> Secret:
        """Keep the ciphertext; a secret that the document shows is read."""
        if "ciphertext" in fields:
            return Secret(Sealed(fields["ciphertext"]))
        return _secret(fields.get("plaintext"), place)


def _plaintext(secret: Secret) -> str:
    inner = encode_value(wire.reveal(secret.value), Shown(), ())
    return json.dumps(inner, separators=(",", ":"), ensure_ascii=False)


def _secret(plaintext: object, place: Place) -> Secret:
    if not isinstance(plaintext, str):
        raise CheckpointError(
            f"the secret at {_path(place)} has neither a 'ciphertext' nor a 'plaintext'"
        )
    try:
        return Secret(decode_value(json.loads(plaintext), Shown(), place))
    except ValueError as error:
        raise CheckpointError(f"the secret at {_path(place)} is not JSON") from error


def _path(place: Place) -> str:
    return "/".join(str(part) for part in place)


# Values -----------------------------------------------------------------------------------------


def encode_value(value: PropertyValue, form: SecretForm, place: Place) -> PropertyValue:
    """Turn one property value into the document's JSON."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _encode_float(value)
    if isinstance(value, list | tuple):
        return [encode_value(item, form, (*place, index)) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return encode_map(value, form, place)
    if value is wire.UNKNOWN:
        return wire.UNKNOWN_STRING
    if isinstance(value, Secret):
        return {wire.SIGNATURE_KEY: wire.SECRET_SIGNATURE, **form.write(value, place)}
    return _encode_signed(value, form, place)


def encode_map(properties: Mapping[str, PropertyValue], form: SecretForm, place: Place) -> Document:
    """Turn a property map into the document's JSON, its keys in order."""
    return {key: encode_value(properties[key], form, (*place, key)) for key in sorted(properties)}


def _encode_float(value: float) -> PropertyValue:
    if math.isfinite(value):
        return int(value) if value.is_integer() else value
    return {wire.SIGNATURE_KEY: FLOAT_SIGNATURE, "value": struct.pack(">d", value).hex()}


def _encode_signed(value: PropertyValue, form: SecretForm, place: Place) -> Document:
    if isinstance(value, wire.ResourceReference):
        fields: Document = {
            wire.SIGNATURE_KEY: wire.RESOURCE_SIGNATURE,
            "urn": value.urn,
            "packageVersion": value.package_version,
        }
        if value.id is not None:
            fields["id"] = encode_value(value.id, form, place)
        return fields
    if isinstance(value, wire.Asset):
        return {wire.SIGNATURE_KEY: wire.ASSET_SIGNATURE, **value.fields}
    if isinstance(value, wire.Archive):
        return {
            wire.SIGNATURE_KEY: wire.ARCHIVE_SIGNATURE,
            **encode_map(value.fields, form, place),
        }
    raise CheckpointError(f"{type(value).__name__} at {_path(place)} is no property value")


def decode_value(value: PropertyValue, form: SecretForm, place: Place) -> PropertyValue:
    """Turn the document's JSON into one property value."""
    if isinstance(value, str):
        return wire.UNKNOWN if value == wire.UNKNOWN_STRING else value
    if isinstance(value, list):
        return [decode_value(item, form, (*place, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    signature = value.get(wire.SIGNATURE_KEY)
    if signature == wire.SECRET_SIGNATURE:
        return form.read(value, place)
    fields = decode_map(value, form, place)
    return _decode_signed(signature, fields) if isinstance(signature, str) else fields


def decode_map(
    properties: Mapping[str, PropertyValue], form: SecretForm, place: Place
) -> PropertyMap:
    """Turn the document's JSON into a property map."""
    return {key: decode_value(item, form, (*place, key)) for key, item in properties.items()}


def _decode_signed(signature: str, fields: PropertyMap) -> PropertyValue:
    rest = {key: item for key, item in fields.items() if key != wire.SIGNATURE_KEY}
    if signature == wire.RESOURCE_SIGNATURE:
        return wire.ResourceReference(
            rest["urn"], rest.get("id") or None, rest.get("packageVersion") or ""
        )
    if signature == wire.ASSET_SIGNATURE:
        return wire.Asset(rest)
    if signature == wire.ARCHIVE_SIGNATURE:
        return wire.Archive(rest)
    if signature == FLOAT_SIGNATURE:
        return cast("float", struct.unpack(">d", bytes.fromhex(rest["value"]))[0])
    return fields


def masked(value: PropertyValue) -> PropertyValue:
    """Give the value with every secret replaced by ``[secret]``."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def plain_outputs(outputs: PropertyMap, *, show_secrets: bool) -> Document:
    """Give a stack's outputs as the JSON that a user sees."""
    shown = wire.reveal(outputs) if show_secrets else masked(outputs)
    return encode_map(shown, Shown(), ())


# Resources --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Field:
    key: str
    attribute: str
    encode: Callable[[Any], Any] = lambda value: value
    decode: Callable[[Any], Any] = lambda value: value


def _strings(value: object) -> tuple[str, ...]:
    return tuple(cast("Iterable[str]", value or ()))


def _lists(value: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {key: list(value[key]) for key in sorted(value)}


def _tuples(value: Mapping[str, Sequence[str] | None]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(urns or ()) for key, urns in value.items()}


_PROPERTIES: Final = ("inputs", "outputs")
_REQUIRED: Final = frozenset({"urn", "custom", "type"})
_FIELDS: Final = (
    _Field("urn", "urn"),
    _Field("custom", "custom"),
    _Field("delete", "delete"),
    _Field("id", "id"),
    _Field("type", "type"),
    _Field("inputs", "inputs"),
    _Field("outputs", "outputs"),
    _Field("parent", "parent"),
    _Field("protect", "protect"),
    _Field("taint", "taint"),
    _Field("external", "external"),
    _Field("dependencies", "dependencies", list, _strings),
    _Field("initErrors", "init_errors", list, _strings),
    _Field("provider", "provider"),
    _Field("propertyDependencies", "property_dependencies", _lists, _tuples),
    _Field("pendingReplacement", "pending_replacement"),
    _Field("additionalSecretOutputs", "additional_secret_outputs", list, _strings),
    _Field("aliases", "aliases", list, _strings),
    _Field("customTimeouts", "custom_timeouts"),
    _Field("importID", "import_id"),
    _Field("retainOnDelete", "retain_on_delete"),
    _Field("deletedWith", "deleted_with"),
    _Field("replaceWith", "replace_with", list, _strings),
    _Field("created", "created"),
    _Field("modified", "modified"),
    _Field("sourcePosition", "source_position"),
    _Field("stackTrace", "stack_trace", list, tuple),
    _Field("ignoreChanges", "ignore_changes", list, _strings),
    _Field(
        "hideDiff",
        "hide_diff",
        lambda paths: [list(path) for path in paths],
        lambda paths: tuple(tuple(path) for path in paths),
    ),
    _Field("replaceOnChanges", "replace_on_changes", list, _strings),
)
_KEYS: Final = frozenset(spec.key for spec in _FIELDS)


def encode_resource(resource: Resource, form: SecretForm) -> Document:
    """Turn a resource into the document's JSON."""
    document: Document = {}
    for spec in _FIELDS:
        value = getattr(resource, spec.attribute)
        if spec.key in _REQUIRED or value:
            document[spec.key] = (
                encode_map(value, form, (resource.urn, spec.key))
                if spec.key in _PROPERTIES
                else spec.encode(value)
            )
    return document | resource.extra


def decode_resource(document: Mapping[str, Any], form: SecretForm) -> Resource:
    """Turn the document's JSON into a resource; raises `CheckpointError` for what is none."""
    for key in ("urn", "type"):
        if not isinstance(document.get(key), str) or not document[key]:
            name = document.get("urn") or "a resource"
            raise CheckpointError(f"{name} lacks the required field {key!r}")
    urn = document["urn"]
    fields: dict[str, Any] = {"custom": False}
    for spec in _FIELDS:
        value = document.get(spec.key)
        if value is not None:
            fields[spec.attribute] = (
                decode_map(value, form, (urn, spec.key))
                if spec.key in _PROPERTIES
                else spec.decode(value)
            )
    if not fields["custom"] and fields.get("id"):
        raise CheckpointError(f"resource '{urn}' has 'custom' false but non-empty ID")
    extra = {key: value for key, value in document.items() if key not in _KEYS}
    return Resource(**fields, extra=extra)


def encode_operation(operation: Operation, form: SecretForm) -> Document:
    """Turn a pending operation into the document's JSON."""
    return {"resource": encode_resource(operation.resource, form), "type": operation.type}


def decode_operation(document: Mapping[str, Any], form: SecretForm) -> Operation:
    """Turn the document's JSON into a pending operation."""
    return Operation(
        decode_resource(document["resource"], form), cast("OperationType", document["type"])
    )


# Deployments ------------------------------------------------------------------------------------


def encode_deployment(
    snapshot: Snapshot, form: SecretForm, *, secrets_state: str, time: str, version: str
) -> Document:
    """Turn a snapshot into a deployment document.

    `secrets_state` is that of the crypter (`secrets.Crypter.state`), `time` RFC 3339, `version` the
    engine's with a leading ``v``.
    """
    document: Document = {
        "manifest": {"time": time, "magic": magic(version), "version": version},
        "secrets_providers": provider_document(secrets_state),
        "resources": [encode_resource(resource, form) for resource in snapshot.resources],
        "pending_operations": [
            encode_operation(operation, form) for operation in snapshot.pending_operations
        ],
    }
    document = {key: value for key, value in document.items() if value}
    return {**document, "metadata": snapshot.metadata}


def decode_deployment(deployment: Mapping[str, Any], form: SecretForm) -> Snapshot:
    """Turn a deployment document into a snapshot; raises `CheckpointError` for what is none."""
    for part in _UNSUPPORTED_PARTS:
        if deployment.get(part):
            raise CheckpointError(
                f"the deployment has '{part}', which the sandbox's engine cannot hold. It was not "
                "loaded"
            )
    try:
        return Snapshot(
            resources=tuple(
                decode_resource(item, form) for item in deployment.get("resources") or ()
            ),
            pending_operations=tuple(
                decode_operation(item, form) for item in deployment.get("pending_operations") or ()
            ),
            metadata=dict(deployment.get("metadata") or {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the deployment is malformed: {error!r}") from error


def secrets_state(deployment: Mapping[str, Any]) -> str | None:
    """Give the state of the crypter that a deployment's secrets are encrypted with.

    None where the deployment names no provider; raises `CheckpointError` for another provider.
    """
    provider = deployment.get("secrets_providers") or {}
    kind = provider.get("type")
    if not kind:
        return None
    state = provider_state(provider)
    if state is None:
        raise CheckpointError(
            f"the deployment's secrets are encrypted by the provider {kind!r}, which the sandbox "
            "does not have (it has passphrases, and keys of its own KMS). Nothing was changed. "
            "Export it again with `pulumi stack export --show-secrets`"
        )
    return state


def versioned(document_key: str, document: Document, deployment: Document) -> Document:
    """Wrap a deployment (or the checkpoint that holds it) with version and features.

    `document_key` is ``deployment`` for an export and ``checkpoint`` for a state file.
    """
    features = sorted(_features(deployment.get("resources", ())))
    wrapped: Document = {"version": _VERSION_WITH_FEATURES if features else _VERSION}
    if features:
        wrapped["features"] = features
    return {**wrapped, document_key: document}


def checkpoint_document(stack: str, deployment: Document) -> Document:
    """Give a state file's content; `stack` is ``organization/<project>/<stack>``."""
    return versioned("checkpoint", {"stack": stack, "latest": deployment}, deployment)


def unwrap(document: object, document_key: str) -> Document:
    """Give what a versioned document holds; raises `CheckpointError` for what it cannot read."""
    if not isinstance(document, dict) or not isinstance(document.get(document_key), dict):
        raise CheckpointError(
            f"this is no Pulumi {document_key}: expected a JSON object with 'version' and "
            f"'{document_key}'"
        )
    version = document.get("version")
    if version not in (_VERSION, _VERSION_WITH_FEATURES):
        raise CheckpointError(
            f"the {document_key} has version {version!r}; the sandbox reads versions 3 and 4"
        )
    unknown = sorted(set(document.get("features") or ()) - _FEATURES)
    if unknown:
        raise CheckpointError(
            f"the {document_key} needs features that the sandbox lacks: {', '.join(unknown)}"
        )
    return cast("Document", document[document_key])


def _features(resources: Iterable[Document]) -> set[str]:
    keys = {
        "taint": "taint",
        "replaceWith": "replaceWith",
        "refreshBeforeUpdate": "refreshBeforeUpdate",
        "resourceHooks": "hooks",
    }
    return {keys[key] for resource in resources for key in keys.keys() & resource.keys()}


def magic(version: str) -> str:
    """Give the manifest's checksum as Pulumi computes it."""
    return hashlib.sha256(version.encode()).hexdigest() if version else ""


def check_manifest(deployment: Mapping[str, Any]) -> None:
    """Raise `IntegrityError` if the manifest's checksum is not that of its version."""
    manifest = deployment.get("manifest") or {}
    if manifest.get("magic", "") != magic(manifest.get("version", "")):
        raise IntegrityError("magic cookie mismatch; possible tampering/corruption detected")


# Integrity --------------------------------------------------------------------------------------


def verify(snapshot: Snapshot) -> None:
    """Raise `IntegrityError` unless each resource follows what it refers to and URNs are unique."""
    seen: set[str] = set()
    providers: set[str] = set()
    live: set[str] = set()
    later = {resource.urn for resource in snapshot.resources}
    for resource in snapshot.resources:
        if resource.is_provider:
            providers.add(f"{resource.urn}::{resource.id}")
        elif (
            resource.provider
            and resource.provider not in providers
            and not resource.pending_replacement
        ):
            raise IntegrityError(
                f"resource {resource.urn} refers to unknown provider {resource.provider}"
            )
        for kind, urn in references(resource):
            if urn not in seen:
                where = "comes after it" if urn in later else "is missing"
                raise IntegrityError(f"resource {resource.urn}: its {kind} {urn} {where}")
        if not resource.delete:
            if resource.urn in live:
                raise IntegrityError(f"duplicate resource {resource.urn} (not marked for deletion)")
            live.add(resource.urn)
        seen.add(resource.urn)


def references(resource: Resource) -> Iterable[tuple[str, str]]:
    """Give what a resource refers to, apart from its provider: kind of reference, and URN."""
    if resource.parent:
        yield "parent", resource.parent
    for urn in resource.dependencies:
        yield "dependency", urn
    for key, urns in resource.property_dependencies.items():
        for urn in urns:
            yield f"property dependency (from property {key})", urn
    if resource.deleted_with:
        yield "deletedWith", resource.deleted_with
    for urn in resource.replace_with:
        yield "replaceWith", urn

"""The kubernetes provider while there is no API server: objects are recorded in state only."""

from __future__ import annotations

import secrets

from infra.sandbox.engine.drivers.values import changes
from infra.sandbox.engine.provider import (
    CheckResult,
    DiffKind,
    DiffResult,
    ReadResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue

DEFAULT_NAMESPACE = "default"
# What names an object: another of these is another object.
IDENTITY = ("apiVersion", "kind", "metadata.name", "metadata.namespace")


class RecordedKubernetes:
    """Records Kubernetes objects, and says so. Implements `provider.Provider`."""

    def check(
        self,
        type_: str,  # noqa: ARG002 - the provider protocol's signature
        name: str,
        old_inputs: PropertyMap | None,
        inputs: PropertyMap,
    ) -> CheckResult:
        """Give an object without a name the logical one with 8 hex digits, as Pulumi does."""
        metadata = dict(inputs.get("metadata") or {})
        if not metadata.get("name"):
            kept = ((old_inputs or {}).get("metadata") or {}).get("name")
            metadata["name"] = kept or f"{name}-{secrets.token_hex(4)}"
        return CheckResult({**inputs, "metadata": metadata})

    def diff(
        self,
        type_: str,  # noqa: ARG002 - the provider protocol's signature
        id_: str,  # noqa: ARG002
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,  # noqa: ARG002
        inputs: PropertyMap,
    ) -> DiffResult:
        """Compare property by property; lists are in order."""
        detailed: dict[str, DiffKind] = {}
        for path, change in changes(old_inputs, inputs, "", ordered=True):
            detailed[path] = f"{change}-replace" if path in IDENTITY else change  # type: ignore[assignment]  # the six kinds are these
        return DiffResult(detailed)

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:  # noqa: ARG002
        """Record it."""
        return object_id(inputs), dict(inputs)

    def preview_outputs(
        self,
        type_: str,  # noqa: ARG002 - the provider protocol's signature
        inputs: PropertyMap,
        old_outputs: PropertyMap | None,  # noqa: ARG002
    ) -> PropertyMap:
        """Give the inputs: what is recorded has nothing else."""
        return dict(inputs)

    def read(
        self,
        type_: str,  # noqa: ARG002 - the provider protocol's signature
        id_: str,
        inputs: PropertyMap,
        outputs: PropertyMap,
    ) -> ReadResult | None:
        """Give what was recorded; without a record there is nothing to read."""
        if not inputs and not outputs:
            return None
        return ReadResult(id_, dict(inputs), dict(outputs))

    def update(
        self,
        type_: str,  # noqa: ARG002 - the provider protocol's signature
        id_: str,  # noqa: ARG002
        old_inputs: PropertyMap,  # noqa: ARG002
        old_outputs: PropertyMap,  # noqa: ARG002
        inputs: PropertyMap,
    ) -> PropertyMap:
        """Record the new content."""
        return dict(inputs)

    def delete(self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap) -> None:
        """Nothing but the record is there; the engine drops it."""

    def find(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, ...]:  # noqa: ARG002
        """Nothing but the record can have been made."""
        return ()

    def invoke(self, token: str, args: PropertyMap) -> PropertyMap:  # noqa: ARG002
        """Refuse: there is no cluster to ask."""
        raise UnsupportedTypeError(
            f"The sandbox has no cluster to ask for {token}. Nothing was changed."
        )

    def secret_outputs(self, type_: str) -> frozenset[str]:
        """Name what is always secret: a Secret's content."""
        kind = type_.rpartition(":")[2]
        return frozenset({"data", "stringData"}) if kind == "Secret" else frozenset()

    def is_recorded(self, type_: str) -> bool:  # noqa: ARG002
        """All objects are."""
        return True


def object_id(inputs: PropertyMap) -> str:
    """Give an object's id: ``namespace/name``, as Pulumi's provider writes it."""
    metadata = inputs.get("metadata") or {}
    namespace: PropertyValue = metadata.get("namespace") or DEFAULT_NAMESPACE
    name: PropertyValue = metadata.get("name") or ""
    return f"{namespace}/{name}" if UNKNOWN not in (namespace, name) else ""

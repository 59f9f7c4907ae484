"""The kubernetes provider while there is no API server: objects are recorded in state only."""

from __future__ import annotations

from infra.sandbox.engine.drivers.kubernetes import objects
from infra.sandbox.engine.drivers.kubernetes.settings import Settings
from infra.sandbox.engine.provider import (
    CheckResult,
    DiffResult,
    ReadResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import PropertyMap


class RecordedKubernetes:
    """Records Kubernetes objects, and says so. Implements `provider.Provider`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(
        self, type_: str, name: str, old_inputs: PropertyMap | None, inputs: PropertyMap
    ) -> CheckResult:
        """Give an object without a name the logical one with 8 hex digits, as Pulumi does."""
        return objects.checked(type_, name, old_inputs, inputs, self._settings.namespace)

    def diff(
        self,
        type_: str,
        id_: str,  # noqa: ARG002 - the provider protocol's signature
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,  # noqa: ARG002
        inputs: PropertyMap,
    ) -> DiffResult:
        """Compare property by property; lists are in order."""
        return objects.difference(type_, old_inputs, inputs, self._settings.mutable)

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:  # noqa: ARG002
        """Record it."""
        return objects.object_id(objects.kind_of(type_), inputs), dict(inputs)

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
        return objects.secret_outputs(type_)

    def is_recorded(self, type_: str) -> bool:  # noqa: ARG002
        """All objects are."""
        return True

"""The seam between the engine and what it manages: what a provider is asked, and may answer.

The methods are those of Pulumi's provider protocol, cut to what an in-process provider needs.
Values are plain: the engine takes secrets' wrapping off before it asks and puts it back on what it
is told (an output is secret where the input of that name is, where `secret_outputs` says so, or
where the program asks for it). In a preview, values may be or contain `wire.UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from infra.sandbox.engine.wire import PropertyMap, PropertyValue

DiffKind = Literal["add", "add-replace", "delete", "delete-replace", "update", "update-replace"]


class ProviderError(Exception):
    """The provider refused or failed; the message is for the user, and carries no secret.

    `maybe_done` says that the effect may have happened all the same (a lost answer): the engine
    then keeps the pending operation instead of forgetting it.
    """

    def __init__(self, message: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class UnsupportedTypeError(ProviderError):
    """The embedded engine has no row for this type: refused before anything is changed."""


class InitError(ProviderError):
    """Created (or updated), but not as asked: `id` and `outputs` say what is there."""

    def __init__(self, message: str, id_: str, outputs: PropertyMap) -> None:
        super().__init__(message)
        self.id = id_
        self.outputs = outputs


@dataclass(frozen=True)
class CheckFailure:
    """One refused input; `property` is a path such as ``tags.Name``, or empty."""

    property: str
    reason: str


@dataclass(frozen=True)
class CheckResult:
    """Inputs with the provider's defaults and auto-names filled in, or why they are refused."""

    inputs: PropertyMap
    failures: Sequence[CheckFailure] = ()


@dataclass(frozen=True)
class DiffResult:
    """How new inputs differ from what was last applied.

    `detailed` maps property paths (``tags.Name``, ``ingress[0].port``) to the kind of change; a
    kind ending in ``-replace`` asks for a replacement. Empty: nothing changed.
    """

    detailed: Mapping[str, DiffKind] = field(default_factory=dict)
    delete_before_replace: bool = False

    @property
    def changes(self) -> bool:
        """Tell whether anything changed."""
        return bool(self.detailed)

    @property
    def replace_keys(self) -> tuple[str, ...]:
        """Give the paths that force a replacement."""
        return tuple(path for path, kind in self.detailed.items() if kind.endswith("-replace"))


@dataclass(frozen=True)
class ReadResult:
    """What is really there: the inputs a program would have to give, and all outputs."""

    id: str
    inputs: PropertyMap
    outputs: PropertyMap


class Provider(Protocol):
    """One configured provider (an ``aws.Provider`` or a default one). Methods are thread-safe."""

    def check(
        self, type_: str, name: str, old_inputs: PropertyMap | None, inputs: PropertyMap
    ) -> CheckResult:
        """Validate inputs and fill in defaults and auto-names (kept from `old_inputs`).

        Raises `UnsupportedTypeError` for a type that this provider has no row for.
        """
        ...

    def diff(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> DiffResult:
        """Compare checked new inputs with the old; ignoreChanges has been applied already."""
        ...

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        """Create it and wait until it is there; give its id and outputs."""
        ...

    def preview_outputs(
        self, type_: str, inputs: PropertyMap, old_outputs: PropertyMap | None
    ) -> PropertyMap:
        """Give the outputs as far as they are known without creating or updating anything."""
        ...

    def read(
        self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> ReadResult | None:
        """Read the live thing; None if it is gone. `inputs`/`outputs`: last known, or empty."""
        ...

    def update(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> PropertyMap:
        """Change it in place and give its outputs."""
        ...

    def delete(self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap) -> None:
        """Delete it and wait until it is gone; gone already is success."""
        ...

    def find(self, type_: str, name: str, inputs: PropertyMap) -> Sequence[str]:
        """Find what an interrupted `create` with these inputs may have made: ids of what is there.

        Empty: it certainly made nothing. Raises `ProviderError` where that cannot be told.
        """
        ...

    def invoke(self, token: str, args: PropertyMap) -> PropertyMap:
        """Answer a function (``aws:index/getRegion:getRegion``)."""
        ...

    def secret_outputs(self, type_: str) -> frozenset[str]:
        """Name the outputs of the type that are always secret."""
        ...

    def is_recorded(self, type_: str) -> bool:
        """Tell whether the type is only recorded in state, having no API in the sandbox."""
        ...


class ProviderRegistry(Protocol):
    """Makes configured providers; the one place where packages are known."""

    def configure(self, package: str, config: PropertyMap) -> Provider:
        """Give a provider for ``aws``, ``kubernetes``, …; `config` is its resource's inputs.

        Raises `UnsupportedTypeError` for a package that the sandbox does not know.
        """
        ...


@dataclass(frozen=True)
class Registered:
    """What a registration came to: ids and outputs are UNKNOWN where a preview cannot tell."""

    urn: str
    id: PropertyValue
    outputs: PropertyMap


class RegisterChild(Protocol):
    """Registers a child of a remote component, exactly as a program would over gRPC."""

    def __call__(
        self,
        type_: str,
        name: str,
        inputs: PropertyMap,
        *,
        custom: bool = True,
        parent: str = "",
        provider: str = "",
        property_dependencies: Mapping[str, Sequence[str]] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Registered:
        """Register and give the result; `parent` defaults to the component itself.

        `options` are RegisterResourceRequest field names (``ignoreChanges``, ``protect``, …).
        Secrets and unknowns in `inputs` keep their wrapping.
        """
        ...


@dataclass(frozen=True)
class ConstructRequest:
    """A remote component that the program asks for (``remote=True``)."""

    type: str
    name: str
    urn: str
    inputs: PropertyMap
    """Secrets and unknowns still wrapped."""
    input_dependencies: Mapping[str, Sequence[str]]
    providers: Mapping[str, str]
    """Package to ``<urn>::<id>`` of the explicit provider passed for it."""
    outputs_of: Callable[[str], PropertyMap] = field(default=lambda urn: {})  # noqa: ARG005
    """Gives the outputs of a resource that an input refers to, by its URN."""


@dataclass(frozen=True)
class ConstructResult:
    """A remote component's outputs, each with the URNs it depends on."""

    outputs: PropertyMap
    dependencies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    inner_outputs: Mapping[str, PropertyMap] = field(default_factory=dict)
    """The outputs of the components among its children, by their URNs."""


class Composer(Protocol):
    """Makes a remote component's children and outputs, as its plugin would."""

    def __call__(self, request: ConstructRequest, register: RegisterChild) -> ConstructResult:
        """Register the children and give the component's outputs."""
        ...

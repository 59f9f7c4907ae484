"""What a stack's deployment is made of: its resources, in Pulumi's own words.

The field names are those of Pulumi's checkpoint format, version 3 (``apitype.ResourceV3``), in
snake case; `infra.sandbox.engine.checkpoint` writes and reads that format.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

from infra.sandbox.engine.wire import PropertyMap

STACK_TYPE: Final = "pulumi:pulumi:Stack"
STACK_REFERENCE_TYPE: Final = "pulumi:pulumi:StackReference"
PROVIDER_TYPE_PREFIX: Final = "pulumi:providers:"

OperationType = Literal["creating", "updating", "deleting", "reading", "importing"]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One entry of a deployment. A change makes a new entry: entries are never edited."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    inputs: PropertyMap = field(default_factory=dict)
    outputs: PropertyMap = field(default_factory=dict)
    parent: str = ""
    protect: bool = False
    taint: bool = False
    external: bool = False
    """Read by the program (``get``, StackReference): never updated, never deleted."""
    delete: bool = False
    """The old half of a replacement, still to be deleted."""
    pending_replacement: bool = False
    """Deleted already for a delete-before-replace; the new half is still to be created."""
    dependencies: tuple[str, ...] = ()
    property_dependencies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    init_errors: tuple[str, ...] = ()
    provider: str = ""
    """``<provider urn>::<provider id>``; empty for components and providers."""
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    """Keys create, update, delete; seconds."""
    import_id: str = ""
    retain_on_delete: bool = False
    deleted_with: str = ""
    replace_with: tuple[str, ...] = ()
    created: str = ""
    """RFC 3339, UTC."""
    modified: str = ""
    source_position: str = ""
    stack_trace: tuple[dict[str, str], ...] = ()
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    hide_diff: tuple[tuple[str | int, ...], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of the checkpoint that this engine does not act on; kept as they were read."""

    def changed(self, **changes: Any) -> Resource:
        """Give a copy with the named fields changed."""
        return replace(self, **changes)

    @property
    def name(self) -> str:
        """The logical name: the last part of the URN."""
        return self.urn.split("::", 3)[3]

    @property
    def package(self) -> str:
        """The package that the type belongs to, for example ``aws``."""
        return package_of(self.type)

    @property
    def is_provider(self) -> bool:
        """Tell whether this is an explicit or default provider."""
        return self.type.startswith(PROVIDER_TYPE_PREFIX)


@dataclass(frozen=True)
class Operation:
    """A step that was begun and whose end the engine has not recorded."""

    resource: Resource
    type: OperationType


@dataclass(frozen=True)
class Snapshot:
    """A deployment: resources in an order in which each follows what it depends on."""

    resources: tuple[Resource, ...] = ()
    pending_operations: tuple[Operation, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def by_urn(self) -> dict[str, Resource]:
        """Index the live resources (not those pending deletion) by URN."""
        return {resource.urn: resource for resource in self.resources if not resource.delete}

    @property
    def stack_outputs(self) -> PropertyMap:
        """The stack's exports, secrets still wrapped."""
        return next((r.outputs for r in self.resources if r.type == STACK_TYPE), {})


def make_urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """Build a URN; `parent` is the parent's URN or empty."""
    parent_type = qualified_type(parent) if parent else ""
    prefix = f"{parent_type}$" if parent_type and parent_type != STACK_TYPE else ""
    return f"urn:pulumi:{stack}::{project}::{prefix}{type_}::{name}"


def qualified_type(urn: str) -> str:
    """Give the type part of a URN, with its parents' types (``a:b:C$d:e:F``)."""
    return urn.split("::", 3)[2]


def package_of(type_: str) -> str:
    """Give the package of a type; for a provider, the package that it provides."""
    if type_.startswith(PROVIDER_TYPE_PREFIX):
        return type_.removeprefix(PROVIDER_TYPE_PREFIX)
    return type_.split(":", 1)[0]


def depends_on(resource: Resource) -> frozenset[str]:
    """Give the URNs that a resource needs: parent, provider and every kind of dependency."""
    urns = {resource.parent, resource.deleted_with, provider_urn(resource.provider)}
    urns.update(resource.dependencies, resource.replace_with)
    urns.update(*resource.property_dependencies.values())
    urns.discard("")
    return frozenset(urns)


def provider_urn(reference: str) -> str:
    """Give the URN in a provider reference (``<urn>::<id>``); empty for an empty reference."""
    return reference.rpartition("::")[0]


@dataclass(frozen=True)
class Put:
    """A resource is there now: it joins the deployment, in place of its URN's earlier `Put`."""

    resource: Resource


@dataclass(frozen=True)
class Drop:
    """An entry of the deployment that was there before the update is gone from it."""

    resource: Resource


@dataclass(frozen=True)
class Swap:
    """An entry from before the update stays where it is, with other content."""

    old: Resource
    new: Resource


Change = Put | Drop | Swap


class Recorder(Protocol):
    """Takes down each step before it is begun and after it has ended, so that a kill loses none.

    Thread-safe; when a method has returned, what it took down survives the process.
    """

    def begin(self, operation: Operation) -> int:
        """Take down that an operation is about to act on the cloud; give its number."""
        ...

    def end(self, begun: int | None, *changes: Change) -> None:
        """Take down what an operation came to; `begun` is None where nothing acted (``same``)."""
        ...

    def fail(self, begun: int, *, keep: bool) -> None:
        """Take down that an operation failed; `keep` it pending if its effect is unclear."""
        ...

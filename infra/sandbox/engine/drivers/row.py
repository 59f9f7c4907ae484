"""What the driver knows of one resource type: a row of its table.

A row says which operations make, read, change and delete a thing, and what each property means.
Names and types come from botocore's service models where they are the same but for their writing
(``cidrBlock`` is ``CidrBlock``); a row says only what differs.

Every input of a row is one of: forced (a change replaces), changed by one of `updates`, or local
(a setting of this driver, such as ``forceDestroy``). An input that is none of them is refused at
check, so that nothing is ever accepted and not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from infra.sandbox.engine.drivers.values import Canon, json_canon
from infra.sandbox.engine.wire import PropertyMap

TagForm = Literal["pairs", "lower-pairs", "tag-pairs", "map"]


class Scope(Protocol):
    """What a hook sees: one resource, and the API calls of its region and account."""

    id: str
    props: PropertyMap
    """Known properties: inputs over outputs; in updates, defaults for inputs that went away."""
    old: PropertyMap
    """Inputs last applied; empty but in updates."""
    region: str

    @property
    def account(self) -> str:
        """The account that the provider's credentials belong to."""
        ...

    def call(self, operation: str, args: Mapping[str, Any], service: str = "") -> dict[str, Any]:
        """Call one API operation; a refusal is an `ApiError`."""
        ...


Hook = Callable[[Scope], Any]


@dataclass(frozen=True)
class Call:
    """One API call, with its arguments as a template.

    In `args`, ``"$name"`` is a property (or ``$id``, ``$account``, ``$region``), ``"=…"`` a
    jmespath over the properties, a callable is given the scope; what comes to None is left out.
    """

    operation: str
    args: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    """jmespath into the answer; empty is the whole answer."""
    service: str = ""
    """Empty: the row's."""
    matching: bool = False
    """Also send every property that the operation has an argument of the same name for."""
    optional: bool = False
    """A refusal that says "not there" answers None."""


@dataclass(frozen=True)
class Update:
    """What applies a change of any of the properties `on`; none: it belongs to creation alone."""

    on: tuple[str, ...]
    run: Call | Hook
    after_create: bool = False
    """Also run after creation, where one of the properties is given: create does not take it."""


@dataclass(frozen=True)
class Tagging:
    """How a type is tagged. Templates may use ``$added``, ``$removed`` and ``$tags`` (all)."""

    add: Call | Hook
    remove: Call | None = None
    list: Call | None = None
    """None: the tags are in what `read` answers, as ``Tags`` or ``tags``."""
    form: TagForm = "pairs"
    create: str = ""
    """Argument of create that takes the tags; empty: they are added after creation."""
    specification: str = ""
    """EC2's resource type for ``TagSpecifications``."""
    remove_pairs: bool = False
    """`remove` takes keys as pairs without values."""


@dataclass(frozen=True)
class AutoName:
    """How a name is made up where the program gives none: logical name, ``-``, 7 hex digits."""

    property: str
    limit: int = 255
    prefix: str = ""
    lower: bool = False


@dataclass(frozen=True)
class Text:
    """A property made from others: a format over ``id``, ``account``, ``region`` and inputs."""

    format: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One resource type."""

    label: str
    """What errors call it, in AWS's words: ``ECR Repository``."""
    service: str
    """botocore's name of the service."""
    create: Call | Hook
    """A hook gives the id; it finds the arguments that tag what it makes in ``$tags``."""
    id: str | Hook = ""
    """jmespath over ``{args, out, props}`` of the create call."""
    read: Call | Hook
    """Gives what is live, or None."""
    also: Mapping[str, Call | Hook] = field(default_factory=dict)
    """Further reads, each put under its name into what is live."""
    gone: str = ""
    """jmespath over what is live: true where it counts as deleted."""
    pending: str = ""
    """jmespath over what is live: true while it is being made."""
    delete: Call | Hook
    updates: tuple[Update, ...] = ()
    forces: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Property to the API's name for it, where the two differ in more than writing."""
    reads: Mapping[str, str | Text | Hook] = field(default_factory=dict)
    """Property to where it is: jmespath over ``{live, id, props}``, a text, or a hook on live."""
    outputs: tuple[str, ...] = ()
    """Properties that are no inputs."""
    volatile: tuple[str, ...] = ()
    """Outputs that any update may change."""
    computed: tuple[str, ...] = ()
    """Inputs that AWS chooses where the program gives none."""
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Input to the parts of it that AWS adds: in outputs, and never asked of the program."""
    unmanaged: tuple[str, ...] = ()
    """Inputs that are looked at only where the program gives them."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    filled: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that check fills in."""
    json: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    canon: Mapping[str, Canon] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    name: AutoName | None = None
    name_prefix: str = ""
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: Tagging | None = None
    imported: Callable[[str], PropertyMap] | None = None
    """Gives the properties that an import id names."""
    listing: Call | Hook | None = None
    """Ids among which an interrupted create is looked for; None: the id follows from the inputs."""
    global_: bool = False
    """The type takes no ``region``."""

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Every property that the program may give."""
        names = {*self.forces, *self.local}
        for update in self.updates:
            names.update(update.on)
        if self.tags:
            names.add("tags")
        if not self.global_:
            names.add("region")
        return frozenset(names)

    @cached_property
    def forced(self) -> frozenset[str]:
        """The inputs whose change replaces."""
        return frozenset(self.forces) | {"region"}

    @cached_property
    def properties(self) -> frozenset[str]:
        """Inputs and outputs."""
        names = self.inputs | set(self.outputs)
        return names | {"tagsAll"} if self.tags else names

    def canon_of(self, name: str) -> Canon:
        """Give what reduces a property's value to its meaning."""
        if name in self.canon:
            return self.canon[name]
        return json_canon if name in self.json else _same


def _same(value: Any) -> Any:
    return value

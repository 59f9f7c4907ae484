"""Decides which steps an update takes: what becomes of each resource, and in which order.

Pure but for its own memory of what has been decided: no provider, no program, no clock. The caller
holds one lock around every call, asks the provider in between (check, diff), and performs the
steps. The order of decisions is the registration order of the program.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from infra.sandbox.engine.aliases import Alias, Identity, candidate_urns
from infra.sandbox.engine.diff import replace_on_changes, top_level_keys
from infra.sandbox.engine.provider import DiffKind, DiffResult
from infra.sandbox.engine.state import (
    PROVIDER_TYPE_PREFIX,
    STACK_TYPE,
    Resource,
    depends_on,
    provider_urn,
)
from infra.sandbox.engine.wire import SIGNATURE_KEY, UNKNOWN, PropertyMap, PropertyValue

Op = Literal[
    "same",
    "create",
    "update",
    "delete",
    "replace",
    "create-replacement",
    "delete-replaced",
    "read",
    "read-replacement",
    "refresh",
    "discard",
    "discard-replaced",
    "remove-pending-replace",
    "import",
    "import-replacement",
]

Mode = Literal["update", "refresh", "destroy"]
"""What the program is run for; in a refresh or destroy it changes no cloud resource."""

NO_PROTECTION_HINT: Final = (
    "as it is currently marked for protection. To unprotect the resource, "
    "remove the `protect` flag from the resource in your Pulumi program and run `pulumi up`"
)


class RefusedError(Exception):
    """A step cannot be decided; the message is for the user and stands under `urn`."""

    def __init__(self, message: str, urn: str = "") -> None:
        super().__init__(message)
        self.urn = urn


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A resource as the program wants it."""

    type: str
    name: str
    custom: bool
    inputs: PropertyMap = field(default_factory=dict)
    parent: str = ""
    provider: str = ""
    protect: bool | None = None
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    delete_before_replace: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    import_id: str = ""
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)
    retain_on_delete: bool | None = None
    deleted_with: str = ""
    replace_with: tuple[str, ...] = ()
    hide_diff: tuple[tuple[str | int, ...], ...] = ()
    trigger: PropertyValue = None
    """The replacement trigger, in a form that may be kept in plain text (`comparable`)."""
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do to one resource. `old` is an entry of the state, `new` becomes one."""

    op: Op
    old: Resource | None = None
    new: Resource | None = None
    keys: tuple[str, ...] = ()
    """The properties that force a replacement."""
    detailed: Mapping[str, DiffKind] = field(default_factory=dict)
    retired: Resource | None = None
    """What `old` becomes when it stays until the end, to be deleted then."""
    pending_replacement: bool = False
    """A delete whose replacement is still to be created."""
    untargeted: bool = False
    skipped_create: bool = False
    """Would have been created, had it been targeted: not in the cloud and not in the state."""
    keeps_put: bool = False
    """`old` was put into the state by this very update."""
    goal: Goal | None = None

    @property
    def resource(self) -> Resource:
        """The resource the step is about: the new one where there is one."""
        found = self.new or self.old
        if found is None:
            raise ValueError(f"a {self.op} step needs a resource")
        return found

    @property
    def diffs(self) -> tuple[str, ...]:
        """The properties that changed."""
        return top_level_keys(self.detailed)


@dataclass
class Registration:
    """One resource on its way from the program's wish to the steps."""

    goal: Goal
    urn: str
    new: Resource
    old: Resource | None
    alias: str = ""
    recreating: bool = False
    imported: bool = False
    targeted: bool = True

    @property
    def wants_import(self) -> bool:
        """Tell whether the program names an id that is not yet this resource's."""
        if not self.goal.custom or not self.goal.import_id or self.imported:
            return False
        old = self.old
        return old is None or old.external or (old.import_id or old.id) != self.goal.import_id

    @property
    def old_inputs(self) -> PropertyMap | None:
        """The inputs that a check may take defaults from; None for a new incarnation."""
        if self.old is None or self.old.external or self.recreating:
            return None
        return self.old.inputs


class Targets:
    """URNs given on the command line; ``*`` stands for anything but a colon, ``**`` for any."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        given = tuple(patterns)
        self.constrained = bool(given)
        self.literals: set[str] = {pattern for pattern in given if "*" not in pattern}
        self._globs = [_glob(pattern) for pattern in given if "*" in pattern]

    def __contains__(self, urn: object) -> bool:
        return urn in self.literals or (
            isinstance(urn, str) and any(glob.fullmatch(urn) for glob in self._globs)
        )

    def add(self, urn: str) -> None:
        """Name one more URN."""
        self.literals.add(urn)

    def copy(self) -> Targets:
        """Give targets that can be added to without changing these."""
        clone = Targets()
        clone.constrained = self.constrained
        clone.literals = set(self.literals)
        clone._globs = list(self._globs)
        return clone


def _glob(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    forms = {"**": ".*", "*": "[^:]*"}
    return re.compile("".join(forms.get(part, re.escape(part)) for part in parts))


class Base:
    """The deployment before the update, indexed. Resources stand in dependency order."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)
        self.live = {entry.urn: entry for entry in self.resources if not entry.delete}
        self.urns = {entry.urn for entry in self.resources}
        self._positions = {id(entry): place for place, entry in enumerate(self.resources)}
        self._dependents: defaultdict[str, list[int]] = defaultdict(list)
        self._children: defaultdict[str, list[int]] = defaultdict(list)
        self._by_urn: defaultdict[str, list[int]] = defaultdict(list)
        self._companions: defaultdict[str, list[Resource]] = defaultdict(list)
        for place, entry in enumerate(self.resources):
            self._index(place, entry)

    def _index(self, place: int, entry: Resource) -> None:
        self._by_urn[entry.urn].append(place)
        for urn in depends_on(entry.changed(parent="")):
            self._dependents[urn].append(place)
        if entry.parent:
            self._children[entry.parent].append(place)
        if not entry.delete:
            for urn in {entry.deleted_with, *entry.replace_with} - {""}:
                self._companions[urn].append(entry)

    def __contains__(self, resource: Resource) -> bool:
        return id(resource) in self._positions

    def dependents(
        self, root: Resource, ignored: Collection[str] = (), *, children: bool = False
    ) -> list[Resource]:
        """Give what directly or indirectly depends on `root`, in dependency order."""
        found: set[int] = set()
        visited = {root.urn}
        frontier = [(root.urn, self._positions[id(root)])]
        while frontier:
            urn, place = frontier.pop()
            edges = [self._dependents[urn], self._children[urn] if children else []]
            for later in (later for edge in edges for later in edge[bisect_right(edge, place) :]):
                entry = self.resources[later]
                if entry.urn in ignored or later in found:
                    continue
                found.add(later)
                if entry.urn not in visited:
                    visited.add(entry.urn)
                    frontier.append((entry.urn, later))
        return [self.resources[place] for place in sorted(found)]

    def dependencies(self, resource: Resource) -> list[Resource]:
        """Give the entries that a resource directly depends on, its parent among them."""
        place = self._positions.get(id(resource), len(self.resources))
        return [
            self.resources[earlier]
            for urn in depends_on(resource)
            for earlier in self._by_urn[urn]
            if earlier < place
        ]

    def companions(self, urn: str) -> list[Resource]:
        """Give what is replaced whenever `urn` is: deletedWith and replaceWith."""
        return self._companions[urn]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the command line asks of the decisions."""

    stack: str
    project: str
    dry_run: bool = False
    mode: Mode = "update"
    targets: Targets = field(default_factory=Targets)
    target_dependents: bool = False
    excludes: Targets = field(default_factory=Targets)
    exclude_dependents: bool = False
    replace: Targets = field(default_factory=Targets)


Warn = Callable[[str, str, str], None]
"""Takes severity, message and URN of something the user should hear of."""

DiffDependent = Callable[[Resource, PropertyMap], DiffResult]
"""Compares a resource of the state with other inputs for it."""


class Generator:
    """Decides the steps of one update."""

    def __init__(self, rules: Rules, base: Base, warn: Warn) -> None:
        self.rules = rules
        self.base = base
        self.errors = False
        self._warn = warn
        self.urns: set[str] = set()
        self.replaces: set[str] = set()
        self.deletes: set[str] = set()
        """URNs deleted, or being deleted: what is deletedWith them need not be."""
        self.skipped: set[str] = set()
        """URNs that failed, or that depend on one that did: not attempted."""
        self._decided: set[str] = set()
        self._skipped_creates: set[str] = set()
        self._aliased: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        self._retired: dict[int, Resource] = {}
        self._condemned: set[int] = set()
        self._to_delete: list[Resource] = []
        self._replace_keys: dict[str, tuple[str, ...]] = {}
        self._targets = rules.targets.copy()
        self._excludes = rules.excludes.copy()

    # -- a registration, step by step ------------------------------------------------------------

    def open(self, goal: Goal) -> Registration:
        """Begin a registration: its URN, its earlier self, its future self."""
        self._check_parent(goal.parent)
        urn = self._claim(goal)
        old, alias = self._find_old(goal, urn)
        return Registration(goal=goal, urn=urn, old=old, alias=alias, new=_wanted(goal, urn, old))

    def open_read(self, goal: Goal, id_: str) -> list[Step]:
        """Decide the steps of a read (``get``, StackReference)."""
        registration = self.open(goal)
        old = registration.old
        new = registration.new.changed(
            id=id_,
            external=True,
            property_dependencies={},
            created=old.created if old else "",
            modified=old.modified if old else "",
        )
        self._decided.add(registration.urn)
        if old is not None and not old.external and old.id != id_:
            self.replaces.add(registration.urn)
            retired = self._retire(old)
            return [
                Step(op="read-replacement", old=old, new=new, retired=retired, goal=goal),
                Step(op="replace", old=old, new=new),
            ]
        if self.rules.mode == "destroy" and old is not None:
            self._to_delete.append(old)
        return [Step(op="read", old=old, new=new, goal=goal)]

    def is_skipped(self, resource: Resource) -> bool:
        """Tell whether something that the resource needs failed or was not attempted."""
        return not self.skipped.isdisjoint(depends_on(resource))

    def is_included(self, resource: Resource) -> bool:
        """Tell whether targets and excludes let the update touch a resource."""
        if resource.is_provider or resource.type == STACK_TYPE:
            return True
        if self._targets.constrained:
            return self._is_targeted(resource)
        return not (self._excludes.constrained and self._is_excluded(resource))

    def in_other_mode(self, registration: Registration) -> list[Step] | None:
        """Decide a registration of a program that is run for a refresh or a destroy.

        None where it is decided as in an update: components and providers, which have nothing in
        the cloud and may be needed by what follows.
        """
        mode, new, old = self.rules.mode, registration.new, registration.old
        if mode == "update":
            return None
        real = registration.goal.custom and not new.is_provider
        if not self._skipped_creates.isdisjoint(depends_on(new)) or (real and old is None):
            outputs = old.outputs if old else {}
            return [self._skip_create(registration.goal, new.changed(outputs=outputs))]
        if mode == "destroy" and old is not None:
            self._to_delete.append(old)
        if not real or old is None:
            return None
        self._decided.add(registration.urn)
        return [Step(op="same", old=old, new=old, goal=registration.goal, untargeted=True)]

    def before_import(self, registration: Registration) -> list[Step]:
        """Decide the steps that bring a thing that exists under this resource."""
        old, new = registration.old, registration.new
        if old is None or registration.recreating:
            return [Step(op="import", old=old, new=new, goal=registration.goal)]
        self.replaces.add(registration.urn)
        retired = self._retire(old)
        return [
            Step(
                op="import-replacement", old=old, new=new, retired=retired, goal=registration.goal
            ),
            Step(op="replace", old=old, new=new),
        ]

    def note_recreation(self, registration: Registration) -> None:
        """Notice that the resource was deleted already, for something that it depends on."""
        registration.recreating = registration.urn in self.deletes

    def is_forced(self, registration: Registration) -> bool:
        """Tell whether the command line, or a taint, asks for a replacement."""
        old = registration.old
        return registration.urn in self.rules.replace or (old is not None and old.taint)

    def before_diff(self, registration: Registration) -> list[Step] | None:
        """Decide what needs no comparison; None where the provider must compare."""
        new, old, urn = registration.new, registration.old, registration.urn
        registration.targeted = self.is_included(new)
        if registration.recreating and old is not None:
            return self._recreate(registration, old)
        if old is not None and old.external:
            self._decided.add(urn)
            retired = self._retire(old)
            goal = registration.goal
            return [
                Step(op="create-replacement", old=old, new=new, retired=retired, goal=goal),
                Step(op="replace", old=old, new=new),
            ]
        self._note_target(registration)
        if old is None:
            if not registration.targeted:
                return [self._skip_create(registration.goal, new)]
            self._decided.add(urn)
            return self._checked([Step(op="create", new=new, goal=registration.goal)])
        if not registration.targeted:
            return self._untargeted(registration.goal, old)
        return None

    def forced_key(self, registration: Registration) -> str | None:
        """Name what forces a replacement without the provider's opinion, if anything does."""
        if self.is_forced(registration):
            return "id"
        if not self.replaces.isdisjoint(registration.new.replace_with):
            return "replaceWith"
        if registration.new.deleted_with in self.replaces:
            return "deletedWith"
        return None

    def is_triggered(self, registration: Registration) -> bool:
        """Tell whether the program's replacement trigger has changed."""
        old, new = registration.old, registration.goal.trigger
        before = old.extra.get("replacementTrigger") if old else None
        if new is UNKNOWN and not self.rules.dry_run:
            raise RefusedError(
                f"replacement trigger contains unknowns for {registration.urn}", registration.urn
            )
        if isinstance(before, dict) and SIGNATURE_KEY in before:
            return False  # encrypted by another engine: what cannot be compared replaces nothing
        return new is UNKNOWN or (new is not None and before is not None and new != before)

    def judge(
        self, registration: Registration, diff: DiffResult, *, forced: bool
    ) -> tuple[Literal["same", "update", "replace", "recreate"], DiffResult]:
        """Say what a comparison comes to; protection and imports may refuse a replacement."""
        old = _required(registration.old)
        if registration.urn in self.deletes and not registration.imported:
            registration.recreating = True
            return "recreate", diff
        goal = registration.goal
        init_errors = bool(old.init_errors)
        diff = replace_on_changes(diff, goal.replace_on_changes, has_init_errors=init_errors)
        if diff.replace_keys or forced or old.pending_replacement:
            self._check_replaceable(registration, old, diff)
            self.replaces.add(registration.urn)
            return "replace", diff
        if diff.changes or init_errors:
            return "update", diff
        return "same", diff

    def recreate(self, registration: Registration) -> list[Step]:
        """Decide a registration that turned out to have been deleted meanwhile."""
        return self._recreate(registration, _required(registration.old))

    def unchanged(self, registration: Registration) -> list[Step]:
        """Decide a registration that changes nothing."""
        self._decided.add(registration.urn)
        old = _required(registration.old)
        if registration.imported:
            return []
        step = Step(op="same", old=old, new=registration.new, goal=registration.goal)
        return self._checked([step])

    def updated(self, registration: Registration, diff: DiffResult) -> list[Step]:
        """Decide a registration that changes the resource in place."""
        self._decided.add(registration.urn)
        return self._checked(
            [
                Step(
                    op="update",
                    old=registration.old,
                    new=registration.new,
                    detailed=diff.detailed,
                    keeps_put=registration.imported,
                    goal=registration.goal,
                )
            ]
        )

    def replaced(
        self,
        registration: Registration,
        diff: DiffResult,
        key: str | None,
        diff_dependent: DiffDependent,
    ) -> list[Step]:
        """Decide a registration that makes the resource anew; `key` is what forces it, if named."""
        self._decided.add(registration.urn)
        old, goal = _required(registration.old), registration.goal
        keys = top_level_keys(diff.replace_keys) or ((key,) if key else ())
        first = goal.delete_before_replace
        if first is None:
            first = diff.delete_before_replace
        replace = Step(
            op="replace", old=old, new=registration.new, keys=keys, detailed=diff.detailed
        )
        create = Step(
            op="create-replacement",
            old=old,
            new=registration.new,
            keys=keys,
            detailed=diff.detailed,
            goal=goal,
            retired=None if first or old.pending_replacement else self._retire(old),
        )
        if not first and not old.pending_replacement:
            return self._checked([create, replace])
        steps = self._delete_first(old, diff_dependent)
        return self._checked([*steps, replace, create])

    # -- at the end --------------------------------------------------------------------------------

    def unknown_targets(self, targets: Targets) -> list[str]:
        """Give the targets that neither the state nor the program knows."""
        return sorted(targets.literals - self.base.urns - self.urns)

    def remaining_refreshes(self) -> list[Resource]:
        """Give the resources that a program run for a refresh did not register."""
        return [
            entry
            for entry in self.base.resources
            if not self._is_decided(entry.urn) and self.is_included(entry)
        ]

    def final_deletes(self, diff_dependent: DiffDependent) -> tuple[list[Step], list[Step]]:
        """Decide what is deleted at the end; give the untargeted sames and the deletes.

        Deletes come in no order: `schedule` brings them into one.
        """
        allowed = self._deletable(diff_dependent)
        sames: list[Step] = []
        deletes: list[Step] = []
        for entry in self.base.resources:
            if allowed is not None and entry.urn not in allowed:
                if not self._is_decided(entry.urn):
                    sames.append(Step(op="same", old=entry, new=entry, untargeted=True))
            elif id(entry) in self._condemned:
                continue
            elif entry.delete:
                deletes.append(self._delete_replaced(entry))
            elif not self._is_decided(entry.urn):
                deletes.append(self._delete_unregistered(entry))
        deletes += [self._delete_replaced(entry) for entry in self._retired.values()]
        for entry in self._to_delete:
            if (allowed is None or entry.urn in allowed) and id(entry) not in self._condemned:
                self.deletes.add(entry.urn)
                deletes.append(Step(op="discard" if entry.external else "delete", old=entry))
        self._check_deletes(deletes)
        return sames, deletes

    def schedule(self, deletes: Sequence[Step]) -> list[list[Step]]:
        """Order deletes into levels: what depends on something goes before it."""
        by_entry = {id(step.resource): step for step in deletes}
        levels: dict[int, int] = {}
        by_urn: defaultdict[str, list[Step]] = defaultdict(list)
        for step in deletes:
            by_urn[step.resource.urn].append(step)
        found = [by_entry.get(id(self._retired.get(id(e), e))) for e in self.base.resources]
        for step in [*filter(None, found), *deletes]:
            self._level(step, by_urn, levels)
        count = max(levels.values(), default=-1) + 1
        ordered: list[list[Step]] = [[] for _ in range(count)]
        for step in deletes:
            ordered[count - 1 - levels[id(step)]].append(step)
        return ordered

    def dependencies_of(self, resource: Resource) -> set[str]:
        """Give all URNs that a resource directly or indirectly needs."""
        found: set[str] = set()
        frontier = [resource]
        while frontier:
            for urn in depends_on(frontier.pop()) - found:
                found.add(urn)
                entry = self.base.live.get(urn)
                if entry is not None:
                    frontier.append(entry)
        return found

    # -- identity ----------------------------------------------------------------------------------

    def _check_parent(self, parent: str) -> None:
        if parent and parent not in self.urns:
            raise RefusedError(f"could not find parent resource {parent}")

    def _claim(self, goal: Goal) -> str:
        urn = self._identity(goal).urn
        if urn in self.urns:
            raise RefusedError(f"Duplicate resource URN '{urn}'; try giving it a unique name", urn)
        self.urns.add(urn)
        return urn

    def _identity(self, goal: Goal) -> Identity:
        return Identity(
            stack=self.rules.stack,
            project=self.rules.project,
            parent=goal.parent,
            type=goal.type,
            name=goal.name,
        )

    def _find_old(self, goal: Goal, urn: str) -> tuple[Resource | None, str]:
        if urn in self._aliased:
            raise RefusedError(
                f"Duplicate resource URN '{urn}' conflicting with alias on resource with URN "
                f"'{self._aliased[urn]}'",
                urn,
            )
        if urn in self.base.live:
            return self.base.live[urn], ""
        for alias in candidate_urns(self._identity(goal), goal.aliases, self._renamed):
            if alias in self.base.live:
                other = alias if alias in self.urns else self._aliased.get(alias)
                if other is not None:
                    raise RefusedError(
                        f"Duplicate resource alias '{alias}' applied to resource with URN '{urn}' "
                        f"conflicting with resource with URN '{other}'",
                        urn,
                    )
                self._aliased[alias] = urn
                self._renamed[urn] = alias
                return self.base.live[alias], alias
        return None, ""

    def _is_decided(self, urn: str) -> bool:
        return self._aliased.get(urn, urn) in self._decided

    # -- targets -----------------------------------------------------------------------------------

    def _is_targeted(self, resource: Resource) -> bool:
        if resource.urn in self._targets:
            return True
        return self.rules.target_dependents and any(
            urn in self._targets for urn in depends_on(resource)
        )

    def _is_excluded(self, resource: Resource) -> bool:
        if resource.urn in self._excludes:
            return True
        return self.rules.exclude_dependents and any(
            urn in self._excludes for urn in depends_on(resource)
        )

    def _note_target(self, registration: Registration) -> None:
        if self._excludes.constrained and not registration.targeted:
            self._excludes.add(registration.urn)
        elif self._targets.constrained and self._is_targeted(registration.new):
            self._targets.add(registration.urn)

    def _skip_create(self, goal: Goal, new: Resource) -> Step:
        self._decided.add(new.urn)
        self._skipped_creates.add(new.urn)
        return Step(op="same", new=new, goal=goal, skipped_create=True)

    def _untargeted(self, goal: Goal, old: Resource) -> list[Step]:
        """Keep a resource as it is, behind whatever it needs that the program has not given."""
        steps: list[Step] = []
        self._keep(old, steps, goal)
        return steps

    def _keep(self, old: Resource, steps: list[Step], goal: Goal | None) -> None:
        if old.delete:
            return
        self.urns.add(old.urn)
        self._decided.add(old.urn)
        self._decided.add(self._aliased.get(old.urn, old.urn))
        for needed in self.base.dependencies(old):
            if not self._is_decided(needed.urn) and needed.urn not in self._decided:
                self._keep(needed, steps, None)
        steps.append(Step(op="same", old=old, new=old, untargeted=True, goal=goal))

    def _checked(self, steps: list[Step]) -> list[Step]:
        """Refuse steps that need a resource that was not created for want of being targeted."""
        if not self._skipped_creates:
            return steps
        for step in steps:
            for urn in sorted(depends_on(step.resource) & self._skipped_creates):
                self._error(
                    f"Resource '{step.resource.urn}' depends on '{urn}' which was was not "
                    "specified in --target list.",
                    step.resource.urn,
                )
                if not self.rules.dry_run:
                    raise RefusedError("")
                self._skipped_creates.discard(urn)
        return steps

    # -- replacements ------------------------------------------------------------------------------

    def _retire(self, old: Resource) -> Resource:
        retired = old.changed(delete=True)
        self._retired[id(old)] = retired
        self._condemned.add(id(old))
        return retired

    def _recreate(self, registration: Registration, old: Resource) -> list[Step]:
        urn, new = registration.urn, registration.new
        self.deletes.discard(urn)
        self.replaces.add(urn)
        self._decided.add(urn)
        keys = self._replace_keys.get(old.urn, ())
        return self._checked(
            [
                Step(op="replace", old=old, new=new),
                Step(op="create-replacement", old=old, new=new, keys=keys, goal=registration.goal),
            ]
        )

    def _check_replaceable(
        self, registration: Registration, old: Resource, diff: DiffResult
    ) -> None:
        urn = registration.urn
        if registration.new.protect and old.protect:
            message = f'unable to replace resource "{urn}"\n{NO_PROTECTION_HINT}'
            # A preview goes on, so that the change that was refused can be seen.
            if not self.rules.dry_run:
                raise RefusedError(message, urn)
            self._error(message, urn)
        if registration.goal.import_id:
            names = ", ".join(top_level_keys(diff.replace_keys))
            message = (
                "previously-imported resources that still specify an ID may not be replaced; "
                f"please remove the `import` declaration from your program (changed: {names})"
            )
            if not self.rules.dry_run:
                raise RefusedError(message, urn)
            self._warn("warning", message, urn)

    def _delete_first(self, old: Resource, diff_dependent: DiffDependent) -> list[Step]:
        """Delete a resource, and before it what must be replaced with it, dependents first."""
        steps: list[Step] = []
        known = self.base.live.get(old.urn)
        condemned = self._dependent_replacements(known, diff_dependent) if known else []
        condemned += [(entry, ()) for entry in self.base.companions(old.urn)]
        for entry, keys in reversed(condemned):
            if id(entry) in self._condemned or self._is_decided(entry.urn):
                continue
            if entry.protect:
                raise RefusedError(
                    f'unable to replace resource "{entry.urn}" as part of replacing "{old.urn}" '
                    f"{NO_PROTECTION_HINT}, or use the command:\n"
                    f"`pulumi state unprotect '{entry.urn}'`",
                    entry.urn,
                )
            self._replace_keys[entry.urn] = keys
            self._condemn(entry)
            if not entry.pending_replacement:
                steps.append(Step(op="delete-replaced", old=entry, pending_replacement=True))
        if not old.pending_replacement:
            self.deletes.add(old.urn)
            self._condemned.add(id(old))
            steps.append(Step(op="delete-replaced", old=old, pending_replacement=True))
        return steps

    def _condemn(self, entry: Resource) -> None:
        self.deletes.add(entry.urn)
        self._condemned.add(id(entry))

    def _dependent_replacements(
        self, root: Resource, diff_dependent: DiffDependent
    ) -> list[tuple[Resource, tuple[str, ...]]]:
        """Find what would be replaced too, once what it is given by `root` becomes unknown."""
        replaced = {root.urn}
        found: list[tuple[Resource, tuple[str, ...]]] = []
        for entry in self.base.dependents(root, self._decided | self.deletes):
            keys = self._requires_replacement(entry, replaced, diff_dependent)
            if keys is not None:
                replaced.add(entry.urn)
                found.append((entry, keys))
        return found

    def _requires_replacement(
        self, entry: Resource, replaced: set[str], diff_dependent: DiffDependent
    ) -> tuple[str, ...] | None:
        if not entry.custom or entry.external or entry.delete:
            return None
        if provider_urn(entry.provider) in replaced or entry.deleted_with in replaced:
            return ()
        changed = {
            key
            for key, urns in entry.property_dependencies.items()
            if key in entry.inputs and not replaced.isdisjoint(urns)
        }
        if not changed or entry.is_provider:
            return None
        inputs = {key: UNKNOWN if key in changed else v for key, v in entry.inputs.items()}
        diff = replace_on_changes(diff_dependent(entry, inputs), entry.replace_on_changes)
        return top_level_keys(diff.replace_keys) if diff.replace_keys else None

    # -- deletes -----------------------------------------------------------------------------------

    def _delete_replaced(self, entry: Resource) -> Step:
        self.deletes.add(entry.urn)
        return Step(op="discard-replaced" if entry.external else "delete-replaced", old=entry)

    def _delete_unregistered(self, entry: Resource) -> Step:
        self.deletes.add(entry.urn)
        if entry.pending_replacement:
            return Step(op="remove-pending-replace", old=entry)
        return Step(op="discard" if entry.external else "delete", old=entry)

    def _deletable(self, diff_dependent: DiffDependent) -> set[str] | None:
        """Give the URNs that may be deleted; None for all."""
        if self.rules.targets.constrained:
            return self._targets_to_delete(diff_dependent)
        if self.rules.excludes.constrained:
            return {entry.urn for entry in self.base.resources} - self._excludes_to_keep()
        return None

    def _targets_to_delete(self, diff_dependent: DiffDependent) -> set[str]:
        allowed: set[str] = set()
        for entry in self.base.resources:
            if entry.urn in self.rules.targets:
                allowed.add(entry.urn)
                allowed.update(d.urn for d in self.base.dependents(entry, children=True))
        for entry in self.base.resources:
            if entry.urn in allowed:
                found = self._dependent_replacements(entry, diff_dependent)
                allowed.update(other.urn for other, _ in found)
                allowed.update(other.urn for other in self.base.companions(entry.urn))
        return allowed

    def _excludes_to_keep(self) -> set[str]:
        kept: set[str] = set()
        frontier = [entry for entry in self.base.resources if entry.urn in self.rules.excludes]
        while frontier:
            entry = frontier.pop()
            if entry.urn in kept:
                continue
            kept.add(entry.urn)
            frontier += self.base.dependencies(entry)
            if self.rules.exclude_dependents:
                frontier += self.base.dependents(entry, children=True)
        return kept

    def _check_deletes(self, deletes: Sequence[Step]) -> None:
        if not self.rules.targets.constrained or self.rules.target_dependents:
            return
        unnamed = [
            step.resource.urn for step in deletes if step.resource.urn not in self.rules.targets
        ]
        for urn in unnamed:
            self._error(
                f"Resource '{urn}' will be destroyed but was not specified in --target list.\n"
                "Either include resource in --target list or pass --target-dependents to proceed.",
                urn,
            )
        if unnamed and not self.rules.dry_run:
            raise RefusedError("")

    def _level(self, step: Step, by_urn: Mapping[str, list[Step]], levels: dict[int, int]) -> None:
        if id(step) in levels:
            return
        needed = [
            levels.get(id(other), -1)
            for urn in depends_on(step.resource)
            for other in by_urn.get(urn, ())
            if other is not step
        ]
        levels[id(step)] = max(needed, default=-1) + 1

    def _error(self, message: str, urn: str) -> None:
        self.errors = True
        self._warn("error", message, urn)


def _required(old: Resource | None) -> Resource:
    if old is None:
        raise ValueError("a comparison needs the resource's earlier state")
    return old


def _wanted(goal: Goal, urn: str, old: Resource | None) -> Resource:
    """Give the state that a resource is to have, without what only its creation can tell."""
    extra: dict[str, object] = {}
    if goal.trigger is not None and goal.trigger is not UNKNOWN:
        extra["replacementTrigger"] = goal.trigger
    if goal.hooks:
        extra["resourceHooks"] = {name: list(names) for name, names in goal.hooks.items()}
    return Resource(
        urn=urn,
        type=goal.type,
        custom=goal.custom,
        inputs=goal.inputs,
        parent=goal.parent,
        protect=bool(goal.protect),
        dependencies=goal.dependencies,
        property_dependencies=dict(goal.property_dependencies),
        provider=goal.provider,
        additional_secret_outputs=goal.additional_secret_outputs,
        custom_timeouts=dict(goal.custom_timeouts),
        import_id=goal.import_id,
        retain_on_delete=bool(goal.retain_on_delete),
        deleted_with=goal.deleted_with,
        replace_with=goal.replace_with,
        created=old.created if old else "",
        modified=old.modified if old else "",
        ignore_changes=goal.ignore_changes,
        replace_on_changes=goal.replace_on_changes,
        hide_diff=goal.hide_diff,
        extra=extra,
    )


def is_provider_type(type_: str) -> bool:
    """Tell whether a type is that of a provider."""
    return type_.startswith(PROVIDER_TYPE_PREFIX)

"""What an update does, resource by resource, as read from Pulumi's engine events.

`UpdateLog` takes the events of one preview, update, refresh or destroy; `resources()` gives plain
data in the order of the tree. Nothing here prints.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pulumi.automation import events

SECRET = "[secret]"  # noqa: S105 - what is shown in place of one
UNKNOWN = "(not known yet)"

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a published constant
_UNKNOWNS = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string, and every kind in recent engines
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)

Status = Literal["planned", "running", "done", "failed"]

# Of several steps of one resource, the one that says most stands for it.
_PRECEDENCE = (
    "replace",
    "import-replacement",
    "create-replacement",
    "read-replacement",
    "delete-replaced",
    "discard-replaced",
    "remove-pending-replace",
)
_REPLACEMENT_STEPS = frozenset(_PRECEDENCE)
UNCHANGED = frozenset({"same", "read", "refresh"})
"""Operations that change nothing; `refresh` is one whose result is not known."""


@dataclass(frozen=True, kw_only=True)
class PropertyChange:
    """One property's change; `path` as Pulumi writes it (`tags.Name`, `ingress[0].fromPort`)."""

    path: str
    kind: Literal["add", "update", "delete"]
    replaces: bool
    """Whether this property's change makes the resource be replaced."""
    old: Any = None
    new: Any = None


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """One resource of an update."""

    urn: str
    type: str
    name: str
    parent: str
    op: str
    """A Pulumi operation: same, create, update, replace, delete, read, import, …"""
    status: Status
    custom: bool = False
    """A provider or a thing of a cloud, and not a component."""
    recorded: bool = False
    """Only recorded in state: the sandbox's cloud has no API for it."""
    protect: bool = False
    refreshed: bool = False
    """It was read back: `op` says what was found, and what the state is to learn from it."""
    replace_keys: tuple[str, ...] = ()
    changes: tuple[PropertyChange, ...] = ()
    fingerprint: str = ""
    """Stands for what a change makes of it: 16 hexadecimal digits; empty where nothing changes."""
    seconds: float | None = None
    messages: tuple[str, ...] = ()

    @property
    def in_cloud(self) -> bool:
        """Tell whether it stands for a thing of a cloud: no component, provider or stack."""
        return self.custom and not self.type.startswith("pulumi:")

    @property
    def changed(self) -> bool:
        """Tell whether this is more than an unchanged resource."""
        return self.op not in UNCHANGED or self.status == "failed"


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """A message of the engine, the program or a provider."""

    severity: Literal["error", "warning", "info"]
    urn: str
    message: str


@dataclass
class _Entry:
    op: str
    change: ResourceChange
    started: float
    steps: set[str] = field(default_factory=set)


class UpdateLog:
    """Collects the events of one update. Thread-safe: the SDK calls it from its own threads."""

    def __init__(
        self,
        *,
        dry_run: bool,
        is_recorded: Callable[[str], bool] = lambda _type: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dry_run = dry_run
        self._is_recorded = is_recorded
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._diagnostics: list[Diagnostic] = []
        self._counts: dict[str, int] = {}
        self.summarised = False

    def take(self, event: events.EngineEvent) -> ResourceChange | None:
        """Take one event; give the resource that it is about, if it is about one."""
        with self._lock:
            if event.resource_pre_event:
                return self._begin(event.resource_pre_event.metadata)
            if event.res_outputs_event:
                return self._end(event.res_outputs_event.metadata, "done")
            if event.res_op_failed_event:
                return self._end(event.res_op_failed_event.metadata, "failed")
            if event.diagnostic_event:
                self._diagnose(event.diagnostic_event)
            elif event.policy_event:
                self._policy(event.policy_event)
            elif event.summary_event:
                self.summarised = True
                changes = event.summary_event.resource_changes or {}
                self._counts = {_op(op): int(count) for op, count in changes.items()}
            return None

    @property
    def seconds(self) -> float:
        """Seconds since the update began."""
        return self._clock() - self._started

    @property
    def counts(self) -> dict[str, int]:
        """Operations and how many resources each was for; the engine's own, once it has them."""
        with self._lock:
            if self.summarised:
                return dict(self._counts)
            counts: dict[str, int] = {}
            for entry in self._entries.values():
                if entry.change.status in ("planned", "done"):
                    counts[entry.change.op] = counts.get(entry.change.op, 0) + 1
            return counts

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Messages in the order they came, without the ephemeral ones."""
        with self._lock:
            return tuple(self._diagnostics)

    def resources(self) -> tuple[ResourceChange, ...]:
        """Every resource, parents before children, siblings in the order they came."""
        with self._lock:
            return tuple(in_tree_order([entry.change for entry in self._entries.values()]))

    def running(self) -> tuple[ResourceChange, ...]:
        """Give the resources that are being changed at this moment, the longest first."""
        now = self._clock()
        with self._lock:
            entries = [
                replace(entry.change, seconds=now - entry.started)
                for entry in self._entries.values()
                if entry.change.status == "running"
                and entry.change.changed
                and entry.change.in_cloud
            ]
        return tuple(sorted(entries, key=lambda change: -(change.seconds or 0)))

    def _begin(self, metadata: events.StepEventMetadata) -> ResourceChange:
        op = _op(metadata.op)
        known = self._entries.get(metadata.urn)
        steps = {*known.steps, op} if known else {op}
        state = metadata.new or metadata.old
        custom = bool(state and state.custom)
        change = ResourceChange(
            urn=metadata.urn,
            type=metadata.type,
            name=metadata.urn.split("::", 3)[-1],
            parent=state.parent if state else "",
            op=_combined(steps),
            status="planned" if self.dry_run else "running",
            custom=custom,
            recorded=custom and self._is_recorded(metadata.type),
            protect=bool(state and state.protect),
            replace_keys=tuple(metadata.keys or ()),
            changes=tuple(_property_changes(metadata)),
            fingerprint="" if op in UNCHANGED else _fingerprint(metadata),
        )
        if known:
            change = _merged(known.change, change)
        started = known.started if known else self._clock()
        self._entries[metadata.urn] = _Entry(op, change, started, steps)
        return change

    def _end(
        self, metadata: events.StepEventMetadata, status: Literal["done", "failed"]
    ) -> ResourceChange:
        if metadata.urn not in self._entries:
            self._begin(metadata)
        entry = self._entries[metadata.urn]
        op = _op(metadata.op)
        if "refresh" in entry.steps:
            # Only the result of a refresh says what it found.
            entry.steps = {op}
            entry.change = replace(
                entry.change,
                op=op,
                refreshed=True,
                changes=tuple(_property_changes(metadata)),
            )
        if status == "failed" or not self.dry_run:
            entry.change = replace(
                entry.change, status=status, seconds=self._clock() - entry.started
            )
        return entry.change

    def _diagnose(self, event: events.DiagnosticEvent) -> None:
        message = _plain(event.message).strip()
        if event.ephemeral or not message:
            return
        severity = event.severity.removesuffix("#err")
        if severity not in ("error", "warning", "info"):
            return
        self._add(Diagnostic(severity=severity, urn=event.urn or "", message=message))  # type: ignore[arg-type]  # one of the three, just checked

    def _policy(self, event: events.PolicyEvent) -> None:
        mandatory = event.enforcement_level == "mandatory"
        self._add(
            Diagnostic(
                severity="error" if mandatory else "warning",
                urn=event.resource_urn or "",
                message=f"{event.policy_pack_name} {event.policy_name}: "
                f"{_plain(event.message).strip()}",
            )
        )

    def _add(self, diagnostic: Diagnostic) -> None:
        self._diagnostics.append(diagnostic)
        entry = self._entries.get(diagnostic.urn)
        if entry and diagnostic.severity != "info":
            entry.change = replace(
                entry.change, messages=(*entry.change.messages, diagnostic.message)
            )


def in_tree_order(changes: Sequence[ResourceChange]) -> Iterator[ResourceChange]:
    """Give parents before their children, siblings in the order given."""
    known = {change.urn for change in changes}
    children: dict[str, list[ResourceChange]] = {}
    for change in changes:
        parent = change.parent if change.parent in known and change.parent != change.urn else ""
        children.setdefault(parent, []).append(change)

    # A stack, not recursion: parents come from files that others may have written.
    pending = list(reversed(children.get("", [])))
    while pending:
        change = pending.pop()
        yield change
        pending.extend(reversed(children.get(change.urn, [])))


def shown(changes: Iterable[ResourceChange]) -> tuple[ResourceChange, ...]:
    """Give the changed resources and their ancestors, in the order given."""
    changes = tuple(changes)
    by_urn = {change.urn: change for change in changes}
    keep: set[str] = set()
    for change in changes:
        if not change.changed and not change.messages:
            continue
        urn = change.urn
        while urn in by_urn and urn not in keep:
            keep.add(urn)
            urn = by_urn[urn].parent
    return tuple(change for change in changes if change.urn in keep)


def short_type(type_: str) -> str:
    """Give a type as people write it: `aws:ec2/vpc:Vpc` → `aws:ec2:Vpc`."""
    package, _, rest = type_.partition(":")
    module, _, name = rest.rpartition(":")
    return f"{package}:{module.split('/', 1)[0]}:{name}" if module else type_


def service(type_: str) -> str:
    """Give what a type belongs to, for an inventory: `aws:ec2/vpc:Vpc` → `ec2`."""
    package, _, rest = type_.partition(":")
    module = rest.rpartition(":")[0].split("/", 1)[0]
    return module if package == "aws" and module not in ("", "index") else package


def _op(op: Any) -> str:
    return str(getattr(op, "value", op))


def _combined(steps: set[str]) -> str:
    if steps & _REPLACEMENT_STEPS:
        return "replace" if len(steps) > 1 else next(iter(steps))
    if "import" in steps:  # what is imported may be brought in line in the same update
        return "import"
    # A resource that was read back before it is changed is in the same log twice.
    changing = [step for step in steps if step not in UNCHANGED]
    return changing[0] if changing else next(iter(steps))


def _merged(earlier: ResourceChange, later: ResourceChange) -> ResourceChange:
    """Give one entry for several steps of a resource: no step hides another's details."""
    return replace(
        later,
        replace_keys=later.replace_keys or earlier.replace_keys,
        changes=later.changes or earlier.changes,
        fingerprint=later.fingerprint or earlier.fingerprint,
        messages=(*earlier.messages, *later.messages),
    )


def _fingerprint(metadata: events.StepEventMetadata) -> str:
    """Hash what is asked for; a secret counts as what is shown in its place."""
    inputs = presentable(metadata.new.inputs if metadata.new else None)
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _property_changes(metadata: events.StepEventMetadata) -> Iterator[PropertyChange]:
    if not metadata.detailed_diff:
        for key in metadata.diffs or ():
            yield _property_change(metadata, key, "update", input_diff=True)
        return
    for path, diff in metadata.detailed_diff.items():
        yield _property_change(metadata, path, diff.diff_kind.value, input_diff=diff.input_diff)


def _property_change(
    metadata: events.StepEventMetadata, path: str, kind: str, *, input_diff: bool
) -> PropertyChange:
    old = metadata.old
    new = metadata.new
    before = (old.inputs if input_diff else old.outputs or old.inputs) if old else None
    after = new.inputs if new else None
    base = kind.removesuffix("-replace")
    old_value = _at(before, path)
    if old_value is None and old:
        old_value = _at(old.outputs if input_diff else old.inputs, path)
    new_value = _at(after, path)
    if new_value is None and new and base != "delete":
        new_value = _at(new.outputs, path)
    return PropertyChange(
        path=path,
        kind=base,  # type: ignore[arg-type]  # DiffKind less its suffix
        replaces=kind != base or path in (metadata.keys or ()),
        old=None if base == "add" else presentable(old_value),
        new=None if base == "delete" else presentable(new_value),
    )


_SEGMENT = re.compile(r"""\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[]+)|\.""")


def path_segments(path: str) -> list[str | int]:
    """Split a property path: `tags["a.b"].c[0]` → `["tags", "a.b", "c", 0]`."""
    segments: list[str | int] = []
    for match in _SEGMENT.finditer(path):
        quoted, index, name = match.groups()
        if quoted is not None:
            segments.append(quoted.replace('\\"', '"'))
        elif index is not None:
            segments.append(int(index))
        elif name is not None:
            segments.append(name)
    return segments


def _at(value: Any, path: str) -> Any:
    for segment in path_segments(path):
        if _is_secret(value):
            return SECRET
        if isinstance(value, Mapping):
            value = value.get(str(segment))
        elif isinstance(value, list) and isinstance(segment, int) and segment < len(value):
            value = value[segment]
        else:
            return None
    return value


def _is_secret(value: Any) -> bool:
    return value == SECRET or (
        isinstance(value, Mapping) and value.get(_SIGNATURE) == _SECRET_SIGNATURE
    )


def is_known(value: Any) -> bool:
    """Tell whether a value of an event is there to be read: it is no unknown and no secret."""
    return presentable(value) not in (UNKNOWN, SECRET)


def presentable(value: Any) -> Any:
    """Give a value of an event as it may be shown: no secret, unknowns in words."""
    if _is_secret(value):
        return SECRET
    if isinstance(value, str):
        return UNKNOWN if value in _UNKNOWNS else value
    if isinstance(value, Mapping):
        return {key: presentable(item) for key, item in value.items() if key != _SIGNATURE}
    if isinstance(value, list | tuple):
        return [presentable(item) for item in value]
    return value


_COLOURS = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")


def _plain(text: str) -> str:
    """Take off the colour marks that the engine puts into messages."""
    return _COLOURS.sub("", text)

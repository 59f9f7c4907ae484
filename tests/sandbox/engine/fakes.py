"""A cloud in memory, its provider, and what a test needs to run updates on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.sandbox.engine.deployment import (
    UpdateContext,
    UpdateOptions,
    UpdateResult,
    run_update,
)
from infra.sandbox.engine.diff import compare, top_level_keys
from infra.sandbox.engine.program import ChildProgram, ProgramRunner
from infra.sandbox.engine.provider import (
    CheckFailure,
    CheckResult,
    Composer,
    DiffKind,
    DiffResult,
    InitError,
    Provider,
    ProviderError,
    ReadResult,
    UnsupportedTypeError,
)
from infra.sandbox.engine.state import Change, Operation, Recorder, Snapshot
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, contains_unknown

THING = "fake:index:Thing"
TIME = "2026-01-02T03:04:05Z"


class FakeCloud:
    """Things by id. A thing is named by its input `name`, or else by its logical name.

    `log` tells every act; `failing` maps "verb name" to an error; a change of `name`, and of
    whatever `replacing` names, replaces.
    """

    def __init__(self) -> None:
        self.things: dict[str, PropertyMap] = {}
        self.log: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.replacing = {"name"}
        self.delete_before_replace = False
        self.secret = frozenset[str]()
        self.recorded = frozenset[str]()
        self.before: Callable[[str], None] = lambda _: None
        self.lock = threading.Lock()

    def act(self, verb: str, name: str) -> None:
        """Note an act, and fail where the test asked for it."""
        what = f"{verb} {name}"
        self.before(what)
        with self.lock:
            self.log.append(what)
            error = self.failing.get(what)
        if error is not None:
            raise error


class FakeProvider:
    """The provider of `fake`, for one configuration."""

    def __init__(self, cloud: FakeCloud, config: PropertyMap) -> None:
        self.cloud = cloud
        self.config = config

    def check(
        self, type_: str, name: str, old_inputs: PropertyMap | None, inputs: PropertyMap
    ) -> CheckResult:
        if type_ != THING:
            raise UnsupportedTypeError(f"the sandbox has no {type_}")
        auto = (old_inputs or {}).get("auto", f"{name}-{len(self.cloud.things):07x}")
        checked = {"auto": auto, **inputs} if inputs.get("autonamed") else dict(inputs)
        if inputs.get("size") == "wrong":
            return CheckResult(checked, [CheckFailure("size", "expected a number")])
        return CheckResult(checked)

    def diff(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> DiffResult:
        del type_, id_, old_outputs
        detailed: dict[str, DiffKind] = {}
        for path, kind in compare(old_inputs, inputs).items():
            replaces = top_level_keys([path])[0] in self.cloud.replacing
            detailed[path] = "update-replace" if replaces else kind
        return DiffResult(detailed, delete_before_replace=self.cloud.delete_before_replace)

    def create(self, type_: str, name: str, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        del type_
        assert not contains_unknown(inputs), f"{name} was given something unknown"
        id_ = str(inputs.get("name", name))
        with self.cloud.lock:
            taken = id_ in self.cloud.things
        if taken:
            raise ProviderError(f"{id_} exists already")
        if isinstance(self.cloud.failing.get(f"create {id_}"), InitError):
            self.cloud.things[id_] = dict(inputs)
        self.cloud.act("create", id_)
        self.cloud.things[id_] = dict(inputs)
        return id_, self.outputs(id_)

    def preview_outputs(
        self, type_: str, inputs: PropertyMap, old_outputs: PropertyMap | None
    ) -> PropertyMap:
        del type_
        known = {"serial": UNKNOWN, "arn": UNKNOWN} if old_outputs is None else old_outputs
        return {**known, **inputs}

    def read(
        self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> ReadResult | None:
        del type_, inputs, outputs
        self.cloud.act("read", id_)
        thing = self.cloud.things.get(id_)
        return None if thing is None else ReadResult(id_, dict(thing), self.outputs(id_))

    def update(
        self,
        type_: str,
        id_: str,
        old_inputs: PropertyMap,
        old_outputs: PropertyMap,
        inputs: PropertyMap,
    ) -> PropertyMap:
        del type_, old_outputs
        self.cloud.act("update", id_)
        thing = self.cloud.things[id_]
        for key in top_level_keys(compare(old_inputs, inputs)):
            thing.pop(key, None)
            thing |= {key: inputs[key]} if key in inputs else {}
        return self.outputs(id_)

    def delete(self, type_: str, id_: str, inputs: PropertyMap, outputs: PropertyMap) -> None:
        del type_, inputs, outputs
        self.cloud.act("delete", id_)
        self.cloud.things.pop(id_, None)

    def find(self, type_: str, name: str, inputs: PropertyMap) -> Sequence[str]:
        del type_
        id_ = str(inputs.get("name", name))
        self.cloud.act("find", id_)
        return [id_] if id_ in self.cloud.things else []

    def invoke(self, token: str, args: PropertyMap) -> PropertyMap:
        self.cloud.act("invoke", token)
        return {"echo": args, "region": self.config.get("region", "nowhere")}

    def secret_outputs(self, type_: str) -> frozenset[str]:
        del type_
        return self.cloud.secret

    def is_recorded(self, type_: str) -> bool:
        return type_ in self.cloud.recorded

    def outputs(self, id_: str) -> PropertyMap:
        return {**self.cloud.things[id_], "serial": 1, "arn": f"arn:{id_}"}


class FakeRegistry:
    """Knows the package `fake` only."""

    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self.configured: list[PropertyMap] = []

    def configure(self, package: str, config: PropertyMap) -> Provider:
        if package != "fake":
            raise UnsupportedTypeError(f"the sandbox has no package {package}")
        self.configured.append(config)
        return FakeProvider(self.cloud, config)


class MemoryRecorder:
    """A recorder that keeps its records."""

    def __init__(self) -> None:
        self.begun: list[Operation] = []
        self.records: list[tuple[str, int | None, Any]] = []
        self.lock = threading.Lock()

    def begin(self, operation: Operation) -> int:
        with self.lock:
            self.begun.append(operation)
            number = len(self.begun)
            self.records.append(("begin", number, operation))
            return number

    def end(self, begun: int | None, *changes: Change) -> None:
        with self.lock:
            self.records.append(("end", begun, changes))

    def fail(self, begun: int, *, keep: bool) -> None:
        with self.lock:
            self.records.append(("fail", begun, keep))


@dataclass
class Run:
    """One update's result and what it told."""

    result: UpdateResult
    events: list[dict[str, Any]]
    recorder: MemoryRecorder

    @property
    def ops(self) -> list[tuple[str, str]]:
        """Name and operation of every step, in order; default providers left out."""
        metadata = (
            event["resourcePreEvent"]["metadata"]
            for event in self.events
            if "resourcePreEvent" in event
        )
        return [
            (data["urn"].rsplit("::", 1)[1], data["op"])
            for data in metadata
            if not data["urn"].rsplit("::", 1)[1].startswith("default")
        ]

    def op_of(self, name: str) -> list[str]:
        """Give the operations of one resource."""
        return [op for found, op in self.ops if found == name]

    def told(self, severity: str) -> list[str]:
        """Give the messages of one severity."""
        return [
            event["diagnosticEvent"]["message"].rstrip("\n")
            for event in self.events
            if "diagnosticEvent" in event and event["diagnosticEvent"]["severity"] == severity
        ]

    @property
    def state(self) -> dict[str, Any]:
        """The live resources of the state by logical name."""
        return {r.name: r for r in self.result.snapshot.resources if not r.delete}

    @property
    def counts(self) -> dict[str, int]:
        """How often each operation was done."""
        return self.result.counts


@dataclass
class World:
    """A cloud, a state, and a directory for programs."""

    directory: Path
    cloud: FakeCloud = field(default_factory=FakeCloud)
    snapshot: Snapshot = field(default_factory=Snapshot)
    config: dict[str, str] = field(default_factory=dict)
    secret_keys: frozenset[str] = frozenset()
    composers: Mapping[str, Composer] = field(default_factory=dict)
    calls: Mapping[str, Callable[[PropertyMap], PropertyMap]] = field(default_factory=dict)
    stacks: dict[str, PropertyMap] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    environment: dict[str, str] = field(default_factory=dict)

    def update(
        self,
        text: str | None,
        kind: str = "update",
        *,
        runner: ProgramRunner | None = None,
        watch: Callable[[dict[str, Any]], None] | None = None,
        journal: Recorder | None = None,
        **options: Any,
    ) -> Run:
        """Run an update with a program's text (None: no program); keep the state it comes to."""
        told: list[dict[str, Any]] = []

        def emit(event: dict[str, Any]) -> None:
            told.append(event)
            if watch is not None:
                watch(event)

        if text is not None:
            (self.directory / "__main__.py").write_text(PREFIX + text, encoding="utf-8")
            # A program that changes twice a second would be taken from its bytecode.
            environment = {"PYTHONDONTWRITEBYTECODE": "1", **self.environment}
            runner = ChildProgram(self.directory, environment=environment)
        recorder = MemoryRecorder()
        dry_run = options.pop("dry_run", kind == "preview")
        context = UpdateContext(
            organization="organization",
            project="proj",
            stack="dev",
            config=self.config,
            secret_keys=self.secret_keys,
            snapshot=self.snapshot,
            registry=FakeRegistry(self.cloud),
            composers=self.composers,
            calls=self.calls,
            recorder=journal or recorder,
            emit=emit,
            program=runner,
            stack_outputs=self._stack_outputs,
            cancelled=self.cancelled,
            now=lambda: TIME,
        )
        arguments: Any = {"deadline_seconds": 120, **options}
        result = run_update(context, UpdateOptions(kind=kind, dry_run=dry_run, **arguments))  # type: ignore[arg-type]  # the kinds are the tests' own
        if not dry_run:
            self.snapshot = result.snapshot
        return Run(result, told, recorder)

    def up(self, text: str, **options: Any) -> Run:
        """Bring the cloud to what a program says."""
        return self.update(text, **options)

    def preview(self, text: str, **options: Any) -> Run:
        """Preview a program."""
        return self.update(text, "preview", **options)

    def refresh(self, **options: Any) -> Run:
        """Refresh without a program."""
        return self.update(None, "refresh", **options)

    def destroy(self, **options: Any) -> Run:
        """Destroy without a program."""
        return self.update(None, "destroy", **options)

    def urn(self, name: str) -> str:
        """Give the URN of a resource of the state."""
        return next(r.urn for r in self.snapshot.resources if r.name == name)

    def _stack_outputs(self, name: str) -> PropertyMap:
        if name not in self.stacks:
            raise LookupError(f'unknown stack "{name}"')
        return self.stacks[name]


PREFIX = """\
import pulumi
from pulumi import Output, ResourceOptions as Opts

def thing(logical, opts=None, /, get=None, **props):
    props = {"serial": None, "arn": None, **props}
    return Thing(logical, props, opts if get is None else Opts.merge(Opts(id=get), opts))

class Thing(pulumi.CustomResource):
    serial: Output
    arn: Output
    value: Output
    name: Output
    def __init__(self, name, props, opts=None):
        super().__init__("fake:index:Thing", name, {"value": None, "name": None, **props}, opts)

class Fake(pulumi.ProviderResource):
    def __init__(self, name, props=None, opts=None):
        super().__init__("fake", name, props or {}, opts)

"""


def lines(*texts: str) -> str:
    """Join a program's lines."""
    return "\n".join(texts) + "\n"


def names(resources: Sequence[Any]) -> list[str]:
    """Give the logical names of resources."""
    return [resource.name for resource in resources]

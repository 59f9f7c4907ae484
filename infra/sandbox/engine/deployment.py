"""Runs one update of a stack: preview, up, refresh or destroy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NoReturn

from infra.sandbox.engine import events
from infra.sandbox.engine.activity import Activity
from infra.sandbox.engine.executor import (
    CancelledError,
    Executor,
    Setting,
    StepFailedError,
)
from infra.sandbox.engine.generator import (
    Base,
    Generator,
    Mode,
    RefusedError,
    Rules,
    Step,
    Targets,
)
from infra.sandbox.engine.ledger import Ledger
from infra.sandbox.engine.monitor import EngineService, Monitor, MonitorContext, serve
from infra.sandbox.engine.pending import settle, warning
from infra.sandbox.engine.program import ProgramRunner, RunRequest, RunResult
from infra.sandbox.engine.provider import Composer, ProviderError, ProviderRegistry
from infra.sandbox.engine.providers import Providers
from infra.sandbox.engine.registrar import Registrar
from infra.sandbox.engine.state import (
    Change,
    Operation,
    Recorder,
    Resource,
    Snapshot,
    Swap,
    depends_on,
)
from infra.sandbox.engine.storage import StorageError
from infra.sandbox.engine.transforms import Callbacks, ResourceHooks, delete_hooks
from infra.sandbox.engine.wire import PropertyMap

UpdateKind = Literal["update", "preview", "refresh", "destroy"]


@dataclass(frozen=True, kw_only=True)
class UpdateOptions:
    """What is asked of one update. A "preview" is an update with `dry_run`."""

    kind: UpdateKind
    dry_run: bool
    targets: tuple[str, ...] = ()
    target_dependents: bool = False
    excludes: tuple[str, ...] = ()
    exclude_dependents: bool = False
    exclude_protected: bool = False
    replace: tuple[str, ...] = ()
    refresh: bool = False
    """Refresh before an up, preview or destroy."""
    run_program: bool = False
    """Run the program in a refresh or destroy too."""
    parallel: int = 16
    continue_on_error: bool = False
    expect_no_changes: bool = False
    clear_pending_creates: bool = False
    deadline_seconds: float = 1800
    """For the whole update."""
    silence_seconds: float = 300
    """How long the program may do nothing while the engine waits for it alone."""


@dataclass(frozen=True, kw_only=True)
class UpdateContext:
    """What one update works on and with."""

    organization: str
    project: str
    stack: str
    config: Mapping[str, str]
    """Fully qualified key to string or JSON text."""
    secret_keys: frozenset[str]
    snapshot: Snapshot
    registry: ProviderRegistry
    composers: Mapping[str, Composer]
    calls: Mapping[str, Callable[[PropertyMap], PropertyMap]]
    recorder: Recorder
    """A recorder that takes nothing down in previews."""
    emit: Callable[[dict[str, Any]], None]
    """Takes one Pulumi engine event in its JSON form, without sequence and timestamp."""
    program: ProgramRunner | None
    """None for a destroy or refresh that does not run the program."""
    stack_outputs: Callable[[str], PropertyMap]
    """Full StackReference name to outputs, secrets wrapped; raises for a missing stack."""
    cancelled: threading.Event
    now: Callable[[], str]
    """The time as RFC 3339, UTC."""


@dataclass(frozen=True)
class UpdateResult:
    """What an update came to; the first line of `error` is what follows ``error: ``."""

    snapshot: Snapshot
    counts: dict[str, int] = field(default_factory=dict)
    error: str | None = None


_POLL_SECONDS: Final = 0.2
_LEAVE_SECONDS: Final = 30.0
"""How long the program, and what runs already, may take to end once the update does."""

_UNCHANGING: Final = frozenset({"same", "read", "discard", "read-replacement"})


def run_update(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
    """Run one update to its end; what went wrong is in the result, and was told as events.

    The result's snapshot is what the recorder's records come to. A preview changes nothing, and
    gives the snapshot that it began with.
    """
    started = time.monotonic()
    context.emit(events.prelude(context.config, context.secret_keys))
    update = _Update(context, options, started + options.deadline_seconds)
    try:
        update.run()
    finally:
        executor = update.executor
        failed = update.failure is not None
        context.emit(
            events.summary(
                executor.counts,
                round(time.monotonic() - started),
                planning=options.dry_run,
                maybe_corrupt=executor.maybe_corrupt,
                result="failed" if failed else "succeeded",
            )
        )
        context.emit(events.cancel())
    snapshot = context.snapshot if options.dry_run else update.ledger.snapshot()
    return UpdateResult(snapshot, dict(executor.counts), update.failure)


class _StopError(Exception):
    """The update ends here, and the user has been told why."""


class _Halting:
    """A recorder whose failure ends the update: nothing is done that cannot be taken down."""

    def __init__(self, recorder: Recorder, stop: Callable[[str], None]) -> None:
        self._recorder = recorder
        self._stop = stop

    def begin(self, operation: Operation) -> int:
        with self._stopping():
            return self._recorder.begin(operation)

    def end(self, begun: int | None, *changes: Change) -> None:
        with self._stopping():
            self._recorder.end(begun, *changes)

    def fail(self, begun: int, *, keep: bool) -> None:
        with self._stopping():
            self._recorder.fail(begun, keep=keep)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._stop(str(error))
            raise CancelledError from error


class _Update:
    """One update under way."""

    def __init__(self, context: UpdateContext, options: UpdateOptions, deadline: float) -> None:
        self.failure: str | None = None
        self._context = context
        self._options = options
        self._deadline = deadline
        self._activity = Activity()
        self._deleted: set[str] = set()
        self._stopping = threading.Event()
        self._stopped_by = ""
        self.ledger = Ledger(context.snapshot, _Halting(context.recorder, self._stop))
        self._callbacks = Callbacks()
        self._hooks = ResourceHooks(self._callbacks, self._tell, dry_run=options.dry_run)
        self._providers = Providers(context.registry, context.snapshot.resources)
        self.executor = Executor(
            Setting(
                dry_run=options.dry_run,
                counts_refreshes=options.kind == "refresh",
                emit=_in_turn(context.emit),
                now=context.now,
                stack_outputs=context.stack_outputs,
                is_stopping=self._is_stopping,
                parallel=options.parallel,
                deleted=self._deleted,
            ),
            self.ledger,
            self._providers,
            self._hooks,
            self._activity,
        )

    # -- the course of an update -------------------------------------------------------------------

    def run(self) -> None:
        """Run it; afterwards `failure` says what went wrong, if anything did."""
        watch = threading.Thread(target=self._watch, daemon=True)
        over = threading.Event()
        self._over = over
        watch.start()
        try:
            self._run_phases()
        except CancelledError:
            pass
        except (_StopError, RefusedError) as error:
            self._fail(str(error))
        except ProviderError as error:
            self.executor.tell("error", str(error))
            self._fail(str(error))
        finally:
            over.set()
            watch.join()
            self._callbacks.close()
        if self._stopped_by:
            self.executor.tell("error", self._stopped_by)
            self._fail(self._stopped_by)
        elif self.failure is None and self._options.expect_no_changes:
            self._check_unchanged()

    def _run_phases(self) -> None:
        options = self._options
        if options.exclude_protected:
            unprotected = _unprotected(self._context.snapshot.resources)
            if not unprotected:
                return
            options = replace(options, targets=unprotected, exclude_protected=False)
            self._options = options
        if options.kind == "destroy" and self._context.program is None:
            self._refuse_hooks()
        resources = self._settle_pending()
        self._check_known(Targets(options.replace), resources)
        if (options.refresh or options.kind == "refresh") and not options.run_program:
            resources = self._refresh(resources)
            if options.kind == "refresh":
                return
        generator = Generator(self._rules(), Base(resources), self.executor.tell)
        # Whoever is deletedWith a resource asks this very set.
        generator.deletes = self._deleted
        registrar = Registrar(
            generator,
            self.executor,
            refreshes=self._refreshes_program(),
            stops_at_failure=not (options.dry_run or options.continue_on_error),
        )
        if self._context.program is None:
            self._finish(generator, registrar, None)
            return
        self._run_program(self._context.program, generator, registrar)

    def _tell(self, severity: str, message: str, urn: str) -> None:
        self.executor.tell(severity, message, urn)

    def _finish(self, generator: Generator, registrar: Registrar, result: RunResult | None) -> None:
        """Do what is left once the program has registered all that it is going to."""
        executor = self.executor
        executor.recording = True
        program_failed = result is not None and result.failed
        if result is not None and result.error:
            executor.tell("error", result.error)
        if self._is_stopping():
            raise CancelledError
        some_failed = registrar.failed or executor.after_failed
        broken = program_failed or (some_failed and not self._options.continue_on_error)
        unknown = [] if program_failed else self._unknown_targets(generator)
        left_undone = not broken and self._after_program(generator)
        step_failed = registrar.step_failed or executor.after_failed
        begun_and_failed = left_undone or step_failed or generator.errors
        errored = broken or begun_and_failed or registrar.failed or bool(unknown)
        registrar.finish_stack(errored=errored)
        if not errored:
            return
        self._stop_failed(begun=begun_and_failed and not unknown)

    def _after_program(self, generator: Generator) -> bool:
        if generator.rules.mode == "refresh":
            return self._refresh_all(generator.remaining_refreshes())
        return self._delete(generator)

    def _stop_failed(self, *, begun: bool) -> NoReturn:
        """End the update for what went wrong; `begun`: a step failed, and was not just refused."""
        if begun:
            what = "preview" if self._options.dry_run else "update"
            self.executor.tell("error", f"{what} failed")
        raise _StopError(next(iter(self.executor.errors), "the program failed"))

    def _fail(self, message: str) -> None:
        if self.failure is None:
            self.failure = message.removesuffix("\n") or "update failed"

    def _check_unchanged(self) -> None:
        changed = any(n for op, n in self.executor.counts.items() if op not in _UNCHANGING)
        if changed:
            kind = self._options.kind
            self._fail(f"no changes were expected for {kind} but changes were proposed")

    # -- what an update is about -------------------------------------------------------------------

    def _rules(self) -> Rules:
        options = self._options
        mode: Mode = "update"
        if options.run_program and options.kind == "refresh":
            mode = "refresh"
        elif options.run_program and options.kind == "destroy":
            mode = "destroy"
            self.executor.recording = False
        return Rules(
            stack=self._context.stack,
            project=self._context.project,
            dry_run=options.dry_run,
            mode=mode,
            targets=Targets(options.targets),
            target_dependents=options.target_dependents,
            excludes=Targets(options.excludes),
            exclude_dependents=options.exclude_dependents,
            replace=Targets(options.replace),
        )

    def _refreshes_program(self) -> bool:
        options = self._options
        return options.run_program and (options.refresh or options.kind == "refresh")

    def _refuse_hooks(self) -> None:
        """Refuse a destroy without the program whose functions it would have to call."""
        found = False
        for resource in self._context.snapshot.resources:
            if names := delete_hooks(resource):
                found = True
                message = (
                    "Resource has delete hooks registered, but the program is not running. "
                    f"Hooks: {', '.join(names)}"
                )
                self.executor.tell("error", message, resource.urn)
        if found:
            raise _StopError(
                "You must run with the `--run-program` flag to use delete hooks during destroy."
            )

    def _check_known(self, targets: Targets, resources: Iterable[Resource]) -> None:
        unknown = sorted(targets.literals - {resource.urn for resource in resources})
        if unknown:
            self._tell_unknown(unknown)
            raise _StopError(self.executor.errors[0])

    def _unknown_targets(self, generator: Generator) -> list[str]:
        unknown = generator.unknown_targets(generator.rules.targets)
        self._tell_unknown(unknown)
        return unknown

    def _tell_unknown(self, urns: Iterable[str]) -> None:
        for urn in urns:
            hint = "" if "$" in urn else " Did you forget to escape $ in your shell?"
            self.executor.tell("error", f"Target '{urn}' could not be found in the stack.{hint}")

    # -- what an interrupted update left -----------------------------------------------------------

    def _settle_pending(self) -> tuple[Resource, ...]:
        snapshot = self._context.snapshot
        if not snapshot.pending_operations:
            return snapshot.resources
        self.executor.tell("warning", warning(snapshot.pending_operations))
        settle(
            snapshot,
            self.ledger,
            self._providers,
            self.executor.tell,
            forget_creates=self._options.clear_pending_creates,
        )
        return self.ledger.entries()

    # -- refresh -----------------------------------------------------------------------------------

    def _refresh(self, resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
        options = self._options
        for patterns in (options.targets, options.excludes):
            self._check_known(Targets(patterns), resources)
        rules = self._rules()
        chosen = list(_chosen(resources, rules))
        if self._refresh_all(chosen):
            self._stop_failed(begun=True)
        self._forget_dangling()
        return self.ledger.entries()

    def _refresh_all(self, resources: Sequence[Resource]) -> bool:
        """Refresh side by side; tell whether any failed."""
        return any(self._side_by_side(resources, self.executor.refresh))

    def _forget_dangling(self) -> None:
        """Let no resource depend on what the refresh found to be gone."""
        known: set[str] = set()
        parents: dict[str, str] = {}
        for resource in self.ledger.entries():
            known.add(resource.urn)
            parent = resource.parent
            while parent and parent not in known:
                parent = parents.get(parent, "")
            parents[resource.urn] = parent
            cleaned = _cleaned(resource, known, parent)
            if cleaned != resource:
                self.ledger.commit(None, Swap(resource, cleaned))

    # -- delete ------------------------------------------------------------------------------------

    def _delete(self, generator: Generator) -> bool:
        """Delete what is to go, level by level; tell whether anything failed."""
        try:
            sames, deletes = generator.final_deletes(self.executor.diff)
        except RefusedError:
            return True
        for step in sames:
            self.executor.tell_same(step)
        spared: set[str] = set()
        failed = False
        for level in generator.schedule(deletes):
            steps = [step for step in level if step.resource.urn not in spared]
            broken = [s for s, bad in zip(steps, self._delete_level(steps), strict=True) if bad]
            for step in broken:
                # What a resource needs stays as long as the resource does.
                spared |= generator.dependencies_of(step.resource)
            failed = failed or bool(broken)
            hard = any(not step.resource.protect for step in broken)
            if hard and not self._options.continue_on_error and not self._options.dry_run:
                break
        return failed

    def _delete_level(self, steps: Sequence[Step]) -> list[bool]:
        return self._side_by_side(steps, self.executor.run)

    def _side_by_side(self, items: Sequence[Any], act: Callable[[Any], object]) -> list[bool]:
        """Do something for each item, as many at once as allowed; tell which failed."""

        def attempt(item: Any) -> bool:
            try:
                act(item)
            except StepFailedError:
                return True
            return False

        if len(items) <= 1 or self._options.parallel <= 1:
            return [attempt(item) for item in items]
        with futures.ThreadPoolExecutor(min(self._options.parallel, len(items))) as pool:
            return list(pool.map(attempt, items))

    # -- the program -------------------------------------------------------------------------------

    def _run_program(
        self, program: ProgramRunner, generator: Generator, registrar: Registrar
    ) -> None:
        context, options = self._context, self._options
        monitor = Monitor(
            MonitorContext(
                organization=context.organization,
                project=context.project,
                stack=context.stack,
                config=context.config,
                secret_keys=context.secret_keys,
                dry_run=options.dry_run,
                parallel=options.parallel,
                composers=context.composers,
                calls=context.calls,
                registrar=registrar,
                providers=self._providers,
                callbacks=self._callbacks,
                hooks=self._hooks,
                activity=self._activity,
                tell=self.executor.tell,
            )
        )
        server, address = serve(monitor, EngineService(self.executor.tell), options.parallel)
        request = RunRequest(
            organization=context.organization,
            project=context.project,
            stack=context.stack,
            config=context.config,
            secret_keys=context.secret_keys,
            dry_run=options.dry_run,
            parallel=options.parallel,
            monitor_address=address,
            engine_address=address,
            output=self.executor.tell,
        )
        run = _ProgramRun(program, request, monitor.finished)
        try:
            self._await(monitor.finished)
            self._finish(generator, registrar, run.result)
        finally:
            monitor.released.set()
            run.leave(kill=self._stopping.is_set())
            # What is under way ends well, or stays pending in the state.
            server.stop(_LEAVE_SECONDS).wait()

    def _await(self, finished: threading.Event) -> None:
        """Wait until the program has registered everything, within its deadline for silence."""
        while not finished.wait(_POLL_SECONDS):
            if self._is_stopping():
                raise CancelledError
            if self._activity.silence() > self._options.silence_seconds:
                self._stop(
                    f"the program has done nothing for {self._options.silence_seconds:g} s and "
                    f"was ended; {self._activity.describe()}. What was done before is in the state"
                )
                raise CancelledError

    def _watch(self) -> None:
        """End the update when it is cancelled or its time is over."""
        while not self._over.wait(_POLL_SECONDS):
            if self._is_stopping():
                return
            if time.monotonic() > self._deadline:
                self._stop(
                    f"the deadline of {self._options.deadline_seconds:g} s has passed; "
                    f"{self._activity.describe()}. What was done before is in the state"
                )
                return

    def _is_stopping(self) -> bool:
        """Tell whether the update is to end: cancelled, or its time is over."""
        if self._context.cancelled.is_set():
            what = "preview" if self._options.dry_run else "update"
            self._stop(f"{what} canceled")
        return self._stopping.is_set()

    def _stop(self, reason: str) -> None:
        self._stopped_by = self._stopped_by or reason
        self._stopping.set()


class _ProgramRun:
    """A program that runs beside the engine."""

    def __init__(
        self, program: ProgramRunner, request: RunRequest, finished: threading.Event
    ) -> None:
        self.result: RunResult | None = None
        self._program = program
        self._finished = finished
        self._thread = threading.Thread(target=self._run, args=(request,), daemon=True)
        self._thread.start()

    def _run(self, request: RunRequest) -> None:
        try:
            self.result = self._program.run(request)
        finally:
            self._finished.set()

    def leave(self, *, kill: bool) -> None:
        """Wait for the program's end, and end it where it does not come."""
        self._thread.join(0 if kill else _LEAVE_SECONDS)
        if self._thread.is_alive():
            self._program.kill()
            self._thread.join(_LEAVE_SECONDS)


def _in_turn(
    emit: Callable[[dict[str, Any]], None],
) -> Callable[[dict[str, Any]], None]:
    """Give a function that hands events on one at a time."""
    lock = threading.Lock()

    def emit_one(event: dict[str, Any]) -> None:
        with lock:
            emit(event)

    return emit_one


def _unprotected(resources: Sequence[Resource]) -> tuple[str, ...]:
    """Give the URNs that are neither protected nor needed by something that is."""
    by_urn = {resource.urn: resource for resource in resources}
    kept: set[str] = set()
    frontier = [resource.urn for resource in resources if resource.protect]
    while frontier:
        urn = frontier.pop()
        if urn not in kept:
            kept.add(urn)
            if urn in by_urn:
                frontier += depends_on(by_urn[urn])
    return tuple(resource.urn for resource in resources if resource.urn not in kept)


def _chosen(resources: Iterable[Resource], rules: Rules) -> Iterable[Resource]:
    """Give the resources that targets and excludes let a refresh read."""
    targets, excludes = rules.targets.copy(), rules.excludes.copy()
    for resource in resources:
        needs = depends_on(resource)
        if excludes.constrained:
            if resource.urn in excludes:
                continue
            if rules.exclude_dependents and any(urn in excludes for urn in needs):
                excludes.add(resource.urn)
                continue
            yield resource
        elif not targets.constrained or resource.urn in targets:
            yield resource
        elif rules.target_dependents and any(urn in targets for urn in needs):
            targets.add(resource.urn)
            yield resource


def _cleaned(resource: Resource, known: set[str], parent: str) -> Resource:
    """Give a resource without references to what is not known (any more)."""
    kept = {
        key: tuple(urn for urn in urns if urn in known)
        for key, urns in resource.property_dependencies.items()
    }
    return resource.changed(
        parent=parent,
        dependencies=tuple(urn for urn in resource.dependencies if urn in known),
        property_dependencies={key: urns for key, urns in kept.items() if urns},
        deleted_with=resource.deleted_with if resource.deleted_with in known else "",
        replace_with=tuple(urn for urn in resource.replace_with if urn in known),
    )

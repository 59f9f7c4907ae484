"""Performs steps: asks the provider, takes down what came of it, and tells events."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from infra.sandbox.engine import events
from infra.sandbox.engine.activity import Activity
from infra.sandbox.engine.diff import (
    ignore_changes,
    invert,
    known_only,
    same_value,
    with_secrets,
)
from infra.sandbox.engine.generator import Step
from infra.sandbox.engine.ledger import Ledger
from infra.sandbox.engine.provider import (
    DiffResult,
    InitError,
    Provider,
    ProviderError,
    ReadResult,
)
from infra.sandbox.engine.providers import Providers, provider_config, reference
from infra.sandbox.engine.state import (
    STACK_REFERENCE_TYPE,
    Change,
    Drop,
    Operation,
    Put,
    Resource,
    Swap,
)
from infra.sandbox.engine.wire import (
    UNKNOWN_STRING,
    PropertyMap,
    Secret,
    contains_secret,
    reveal,
    without_secrets,
)

_T = TypeVar("_T")

_CREATES: Final = frozenset({"create", "create-replacement"})
_DELETES: Final = frozenset({"delete", "delete-replaced", "discard", "discard-replaced"})
_READS: Final = frozenset({"read", "read-replacement"})
_IMPORTS: Final = frozenset({"import", "import-replacement"})


class StepFailedError(Exception):
    """A step failed; the user has been told."""


class CancelledError(Exception):
    """The update is being cancelled: no further step begins."""


class ProtectedError(ProviderError):
    """A protected resource was to be deleted."""

    def __init__(self, urn: str) -> None:
        super().__init__(
            f'resource "{urn}" cannot be deleted\n'
            "because it is protected. To unprotect the resource, either remove the `protect` flag "
            "from the resource in your Pulumi program and run `pulumi up`, or use the command:\n"
            f"`pulumi state unprotect '{urn}'`"
        )


class Hooks(Protocol):
    """Runs the program's own functions before and after a step."""

    def before(self, step: Step) -> None:
        """Run what the program wants run before; raises `ProviderError` to refuse the step."""
        ...

    def after(self, step: Step) -> None:
        """Run what the program wants run after; raises `ProviderError`."""
        ...

    def retry(self, step: Step, failures: list[str]) -> bool:
        """Ask the program whether a failed step is to be tried again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all steps of an update are performed with."""

    dry_run: bool
    counts_refreshes: bool
    """In a refresh, a resource counts as what became of it."""
    emit: Callable[[dict[str, Any]], None]
    now: Callable[[], str]
    stack_outputs: Callable[[str], PropertyMap]
    is_stopping: Callable[[], bool]
    """Tells whether no further step may begin."""
    parallel: int
    deleted: Collection[str]
    """The URNs that are, or have been, deleted in this update."""


class Executor:
    """Performs the steps of one update. Thread-safe."""

    def __init__(
        self,
        setting: Setting,
        ledger: Ledger,
        providers: Providers,
        hooks: Hooks,
        activity: Activity,
    ) -> None:
        self.setting = setting
        self.ledger = ledger
        self.providers = providers
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.maybe_corrupt = False
        self.after_failed = False
        """A hook after a step has failed; the step itself is done."""
        self.recording = True
        """False while a program is run only to be destroyed: its steps leave no trace."""
        self._hooks = hooks
        self._activity = activity
        self._count_lock = threading.Lock()
        self._steps = 0
        self._slots = threading.BoundedSemaphore(max(1, setting.parallel))

    # -- telling -----------------------------------------------------------------------------------

    def tell(self, severity: str, message: str, urn: str = "") -> None:
        """Tell the user something; an error is remembered."""
        if severity == "error":
            self.errors.append(message)
        self.setting.emit(events.diagnostic(message, severity, urn))

    def begin(self, step: Step) -> None:
        """Tell that a step begins, unless the update is being cancelled."""
        if self.setting.is_stopping():
            raise CancelledError
        self.setting.emit(events.resource_pre(step, planning=self.setting.dry_run))

    def finish(self, step: Step, op: str = "", *, counted: bool | None = None) -> None:
        """Tell that a step has ended well, and count it."""
        op = op or step.op
        logical = events.is_logical(step) if counted is None else counted
        with self._count_lock:
            if logical and not _is_internal(step):
                self.counts[op] += 1
                self._steps += 1
        if self.setting.dry_run or step.resource.custom or step.op in {"delete", "refresh"}:
            self.setting.emit(events.resource_outputs(step, op, planning=self.setting.dry_run))

    def fail(self, step: Step, message: str) -> None:
        """Tell that a step has failed."""
        if self.setting.dry_run:
            message = f"Preview failed: {message}"
        self.tell("error", message, "" if _is_internal(step) else step.resource.urn)
        if not self.setting.dry_run:
            self.setting.emit(events.operation_failed(step, self._steps))

    # -- performing --------------------------------------------------------------------------------

    def run(self, step: Step) -> Resource | None:
        """Perform a step; give the resource as it is now, or None where it is gone.

        Raises `StepFailedError` once the user has been told of a failure.
        """
        self.begin(step)
        urn = step.resource.urn
        try:
            with self._activity.doing(f"{step.op} {urn}"):
                self._hooks.before(step)
                done = self._perform(step)
        except ProviderError as error:
            text = _shown(error, step.new, step.old)
            self.fail(step, text)
            raise StepFailedError(text) from error
        self.finish(done, counted=_read_counts(done) if step.op in _READS else None)
        if done.resource.custom or done.op in _DELETES:
            self.run_after(done)
        return done.new

    def run_after(self, step: Step) -> None:
        """Run the hooks after a step; a component's are run once it has its outputs."""
        try:
            self._hooks.after(step)
        except ProviderError as error:
            self.after_failed = True
            self.tell("error", str(error), step.resource.urn)

    def _perform(self, step: Step) -> Step:
        if step.op == "same":
            return self._same(step)
        if step.op == "update":
            return self._update(step)
        if step.op in _CREATES:
            return self._create(step)
        if step.op in _DELETES:
            return self._delete(step)
        if step.op in _READS:
            return self._read(step)
        if step.op in _IMPORTS:
            return self._import(step)
        if step.op == "remove-pending-replace" and step.old is not None:
            self._commit(None, Drop(step.old))
        return step

    def _same(self, step: Step) -> Step:
        old, new = step.old, step.new
        if old is None or new is None:  # a create that was not targeted
            return replace(step, old=new)
        kept = new.changed(id=old.id, outputs=old.outputs)
        if kept.is_provider and not step.untargeted:
            # What is not targeted keeps its inputs; the program's resources use the new ones.
            self.providers.ensure(kept)
        self._commit(None, Put(kept), Drop(old))
        return replace(step, new=kept)

    def _create(self, step: Step) -> Step:
        new = _needed(step.new)
        changes = _superseded(step)
        if new.is_provider:
            made = self._made(new, *self._create_provider(new))
        elif not new.custom:
            made = self._made(new, "", {})
        elif self.setting.dry_run:
            provider = self.providers.get(new.provider)
            outputs = provider.preview_outputs(new.type, reveal(new.inputs), None)
            made = new.changed(outputs=self._secured(new, outputs))
        else:
            return self._create_real(step, new, changes)
        self._commit(None, Put(made), *changes)
        return replace(step, new=made)

    def _create_real(self, step: Step, new: Resource, changes: list[Change]) -> Step:
        provider = self.providers.get(new.provider)
        self._tell_recorded(provider, new)
        begun = self.ledger.begin(Operation(new, "creating"))
        try:
            id_, outputs = self._attempt(
                step, lambda: provider.create(new.type, new.name, reveal(new.inputs))
            )
        except InitError as error:
            made = self._made(new, error.id, error.outputs)
            made = made.changed(init_errors=(_shown(error, new),))
            self._commit(begun, Put(made), *changes)
            raise
        except BaseException as error:
            self._abandon(begun, error)
            raise
        made = self._made(new, id_, outputs)
        self._commit(begun, Put(made), *changes)
        return replace(step, new=made)

    def _create_provider(self, new: Resource) -> tuple[str, PropertyMap]:
        id_ = UNKNOWN_STRING if self.setting.dry_run else str(uuid.uuid4())
        self.providers.configure(new, reference(new.changed(id=id_)))
        return id_, provider_config(new.inputs)

    def _made(self, new: Resource, id_: str, outputs: PropertyMap) -> Resource:
        now = "" if self.setting.dry_run else self.setting.now()
        secured = self._secured(new, outputs)
        return new.changed(id=id_, outputs=secured, created=now, modified=now)

    def _update(self, step: Step) -> Step:
        old, new = _needed(step.old), _needed(step.new)
        # What was imported in this very update is replaced by being put again.
        changes: list[Change] = [] if step.keeps_put else [Drop(old)]
        updated = new.changed(id=old.id, created=old.created, modified=old.modified)
        if not new.custom:
            self._commit(None, Put(updated), *changes)
            return replace(step, new=updated)
        if new.is_provider:
            self.providers.configure(updated)
            outputs: PropertyMap = provider_config(new.inputs)
        elif self.setting.dry_run:
            provider = self.providers.get(new.provider)
            outputs = provider.preview_outputs(new.type, reveal(new.inputs), reveal(old.outputs))
        else:
            return self._update_real(step, updated, changes)
        updated = updated.changed(
            outputs=self._secured(updated, outputs), modified=self._modified(old)
        )
        self._commit(None, Put(updated), *changes)
        return replace(step, new=updated)

    def _update_real(self, step: Step, updated: Resource, changes: list[Change]) -> Step:
        old = _needed(step.old)
        provider = self.providers.get(updated.provider)
        self._tell_recorded(provider, updated)
        begun = self.ledger.begin(Operation(updated, "updating"))
        try:
            outputs = self._attempt(
                step,
                lambda: provider.update(
                    old.type,
                    old.id,
                    reveal(old.inputs),
                    reveal(old.outputs),
                    reveal(updated.inputs),
                ),
            )
        except InitError as error:
            # Not what was asked for: the old inputs stay, so that the next update tries again.
            partial = updated.changed(
                inputs=old.inputs,
                outputs=self._secured(updated, error.outputs),
                init_errors=(_shown(error, updated, old),),
            )
            self._commit(begun, Put(partial), *changes)
            raise
        except BaseException as error:
            self._abandon(begun, error)
            raise
        updated = updated.changed(
            outputs=self._secured(updated, outputs), modified=self._modified(old)
        )
        self._commit(begun, Put(updated), *changes)
        return replace(step, new=updated)

    def _modified(self, old: Resource) -> str:
        return old.modified if self.setting.dry_run else self.setting.now()

    def _delete(self, step: Step) -> Step:
        old = _needed(step.old)
        if step.op == "delete" and old.protect:
            raise ProtectedError(old.urn)
        change: Change = Drop(old)
        if step.pending_replacement:
            change = Swap(old, old.changed(pending_replacement=True))
        spared = old.external or old.retain_on_delete or old.deleted_with in self.setting.deleted
        if self.setting.dry_run or spared or not old.custom or old.is_provider:
            self._commit(None, change)
            return step
        provider = self.providers.get(old.provider)
        begun = self.ledger.begin(Operation(old, "deleting"))
        try:
            self._attempt(
                step,
                lambda: provider.delete(old.type, old.id, reveal(old.inputs), reveal(old.outputs)),
            )
        except BaseException as error:
            self._abandon(begun, error)
            raise
        self._commit(begun, change)
        return step

    def _read(self, step: Step) -> Step:
        new, old = _needed(step.new), step.old
        if new.type == STACK_REFERENCE_TYPE and new.id != UNKNOWN_STRING:
            outputs = self._read_stack(new.id)
        elif new.id == UNKNOWN_STRING:
            outputs = {}
        else:
            found = self._read_live(new, new.id, reveal(new.inputs), {})
            if found is None:
                raise ProviderError(f"resource '{new.id}' does not exist")
            new = new.changed(id=found.id)
            outputs = found.outputs
        read = new.changed(outputs=self._secured(new, outputs))
        if old is not None and not same_value(old.outputs, read.outputs):
            read = read.changed(modified=self._modified(old))
        self._commit(None, Put(read), *_superseded(step))
        return replace(step, new=read)

    def _read_stack(self, name: str) -> PropertyMap:
        with asking():
            outputs = self.setting.stack_outputs(name)
        secret = sorted(key for key, value in outputs.items() if contains_secret(value))
        return {"name": name, "outputs": outputs, "secretOutputNames": secret}

    def _import(self, step: Step) -> Step:
        new = _needed(step.new)
        found = self._read_live(new, new.import_id, {}, {})
        if found is None:
            raise ProviderError(f"resource '{new.import_id}' does not exist")
        now = "" if self.setting.dry_run else self.setting.now()
        imported = new.changed(
            id=found.id,
            inputs=with_secrets(found.inputs, new.inputs, self._secret_names(new)),
            outputs=self._secured(new, found.outputs),
            created=now,
            modified=now,
        )
        self._commit(None, Put(imported), *_superseded(step))
        return replace(step, old=imported, new=imported)

    def tell_same(self, step: Step) -> None:
        """Tell that a resource was left as it is; nothing is recorded."""
        self.begin(step)
        self.finish(step)

    # -- refreshing --------------------------------------------------------------------------------

    def refresh(self, old: Resource) -> Resource | None:
        """Read what there really is into the state; None where it is gone."""
        step = Step(op="refresh", old=old, new=old)
        self.begin(step)
        if not old.custom or old.is_provider or old.pending_replacement:
            self._finish_refresh(step, "same")
            return old
        try:
            with self._activity.doing(f"refresh {old.urn}"):
                refreshed, detailed = self._refreshed(old)
        except ProviderError as error:
            text = _shown(error, old)
            self.fail(step, text)
            raise StepFailedError(text) from error
        if refreshed is None:
            self._commit(None, Drop(old))
            self._finish_refresh(replace(step, new=None), "delete")
            return None
        changed = bool(detailed)
        if old.external:
            changed = not same_value(old.outputs, refreshed.outputs)
        self._commit(None, Swap(old, refreshed))
        done = replace(step, new=refreshed, detailed=detailed)
        self._finish_refresh(done, "update" if changed else "same")
        return refreshed

    def read_half_made(self, old: Resource) -> Resource | None:
        """Read what became of a resource that was not made as asked; None where it is gone.

        Its state says what was wanted, not what was applied: compared with what is there, the next
        step applies the rest. The errors stay with it, so that there is a next step.
        """
        in_place = old.custom and not old.is_provider and not old.pending_replacement
        if not in_place or not self.recording:
            return old
        with self._activity.doing(f"read {old.urn}"):
            found, _ = self._refreshed(old)
        if found is None:
            self._commit(None, Drop(old))
            return None
        found = found.changed(init_errors=old.init_errors)
        self._commit(None, Swap(old, found))
        return found

    def _finish_refresh(self, step: Step, op: str) -> None:
        counted = self.setting.counts_refreshes
        self.finish(step, op if counted else "refresh", counted=counted)

    def _refreshed(self, old: Resource) -> tuple[Resource | None, Mapping[str, Any]]:
        if old.type == STACK_REFERENCE_TYPE:
            return old.changed(outputs=self._read_stack(old.id)), {}
        found = self._read_live(old, old.id, reveal(old.inputs), reveal(old.outputs))
        if found is None:
            return None, {}
        names = self._secret_names(old) | {
            key for key, value in old.outputs.items() if isinstance(value, Secret)
        }
        refreshed = old.changed(
            id=found.id,
            inputs=with_secrets(found.inputs, old.inputs, names),
            outputs=with_secrets(found.outputs, old.inputs, names),
            init_errors=(),
        )
        if old.external:
            return refreshed.changed(inputs=old.inputs), {}
        if not (
            same_value(old.inputs, refreshed.inputs) and same_value(old.outputs, refreshed.outputs)
        ):
            refreshed = refreshed.changed(modified=self._modified(old))
        diff = self.diff(refreshed, old.inputs, old.ignore_changes)
        return refreshed, invert(diff.detailed)

    def diff(self, old: Resource, inputs: PropertyMap, ignored: tuple[str, ...] = ()) -> DiffResult:
        """Ask the provider how other inputs would change a resource."""
        wanted, _ = ignore_changes(inputs, old.inputs, ignored)
        provider = self.providers.get(old.provider)
        with asking():
            return provider.diff(
                old.type, old.id, reveal(old.inputs), reveal(old.outputs), reveal(wanted)
            )

    # -- asking and recording ----------------------------------------------------------------------

    def _commit(self, begun: int | None, *changes: Change) -> None:
        if self.recording:
            self.ledger.commit(begun, *changes)

    def _read_live(
        self, resource: Resource, id_: str, inputs: PropertyMap, outputs: PropertyMap
    ) -> ReadResult | None:
        provider = self.providers.get(resource.provider)
        with self._slots, asking():
            return provider.read(resource.type, id_, inputs, outputs)

    def _attempt(self, step: Step, act: Callable[[], _T]) -> _T:
        failures: list[str] = []
        while True:
            try:
                with self._slots, asking():
                    return act()
            except InitError:
                raise
            except ProviderError as error:
                failures.append(str(error))
                if error.maybe_done or not self._hooks.retry(step, failures):
                    raise

    def _abandon(self, begun: int, error: BaseException) -> None:
        unclear = error.maybe_done if isinstance(error, ProviderError) else True
        self.maybe_corrupt = self.maybe_corrupt or unclear
        self.ledger.fail(begun, keep=unclear)

    def _secret_names(self, resource: Resource) -> frozenset[str]:
        names = frozenset(resource.additional_secret_outputs)
        if not resource.provider or resource.type == STACK_REFERENCE_TYPE:
            return names
        return names | self.providers.get(resource.provider).secret_outputs(resource.type)

    def _secured(self, resource: Resource, outputs: PropertyMap) -> PropertyMap:
        if not self.setting.dry_run:
            outputs = known_only(outputs)
        return with_secrets(outputs, resource.inputs, self._secret_names(resource))

    def _tell_recorded(self, provider: Provider, resource: Resource) -> None:
        if provider.is_recorded(resource.type):
            self.tell(
                "info",
                f"recorded only: the sandbox's cloud has no API for {resource.type}",
                resource.urn,
            )


@contextmanager
def asking() -> Iterator[None]:
    """Turn whatever goes wrong inside a provider into a `ProviderError`.

    What was not foreseen may have happened half-way: its effect is unclear.
    """
    try:
        yield
    except (ProviderError, CancelledError):
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        raise ProviderError(text, maybe_done=True) from error


def _shown(error: ProviderError, *resources: Resource | None) -> str:
    """Give an error's text without the secrets of the resources that it is about."""
    return without_secrets(
        str(error), *(resource.inputs for resource in resources if resource is not None)
    )


def _superseded(step: Step) -> list[Change]:
    """Say what becomes of the entry whose place a new one takes."""
    if step.old is None:
        return []
    return [Swap(step.old, step.retired) if step.retired else Drop(step.old)]


def _needed(resource: Resource | None) -> Resource:
    if resource is None:
        raise ValueError("the step lacks a resource")
    return resource


def _is_internal(step: Step) -> bool:
    """Tell whether a step is the engine's own: default providers, leftovers of replacements."""
    resource = step.resource
    default = resource.is_provider and resource.name.startswith("default")
    return default or step.op == "remove-pending-replace"


def _read_counts(step: Step) -> bool:
    """Tell whether a read counts: where it found something else than the last time."""
    if step.op != "read" or step.old is None or step.new is None:
        return False
    return not same_value(step.old.outputs, step.new.outputs)

"""Takes what a program registers through its decisions and steps, to the answer it waits for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.sandbox.engine import events
from infra.sandbox.engine.aliases import Identity
from infra.sandbox.engine.diff import compare, ignore_changes, known_only, same_value, with_secrets
from infra.sandbox.engine.executor import Executor, StepFailedError, asking
from infra.sandbox.engine.generator import (
    Generator,
    Goal,
    RefusedError,
    Registration,
    Step,
)
from infra.sandbox.engine.provider import CheckFailure, DiffResult, ProviderError
from infra.sandbox.engine.providers import provider_config, replaces_resources
from infra.sandbox.engine.state import STACK_TYPE, Put, Resource, provider_urn
from infra.sandbox.engine.wire import BLINDED, PropertyMap, contains_secret, reveal, without_secrets


@dataclass(frozen=True)
class Outcome:
    """What a registration came to.

    `failed`: it, or something that it needs, could not be done; the user has been told.
    `unknown`: it was left out for want of being targeted, so that nothing is known of it.
    """

    urn: str
    resource: Resource | None = None
    failed: bool = False
    unknown: bool = False


_Act = Callable[[], Outcome]


class Registrar:
    """Registers resources. Thread-safe: decisions are made one by one, steps run side by side."""

    def __init__(
        self,
        generator: Generator,
        executor: Executor,
        *,
        refreshes: bool = False,
        stops_at_failure: bool = False,
    ) -> None:
        """Begin; `refreshes`: each resource is read before it is decided.

        `stops_at_failure`: once a step has failed, no other is begun.
        """
        self.generator = generator
        self.failed = False
        """Something could not be done: the user has been told."""
        self.step_failed = False
        """It was begun and failed, rather than refused beforehand."""
        self._executor = executor
        self._refreshes = refreshes
        self._stops_at_failure = stops_at_failure
        self._lock = threading.Lock()
        self._news: dict[str, tuple[Resource, Step]] = {}
        self._stack_outputs: tuple[str, PropertyMap] | None = None

    def register(self, goal: Goal) -> Outcome:
        """Register a resource and do what that takes."""
        return self._answering(goal, lambda: self._register(goal))

    def read(self, goal: Goal, id_: str) -> Outcome:
        """Read a thing that the program does not own."""
        return self._answering(goal, lambda: self._read(goal, id_))

    def refuse(self, goal: Goal, message: str) -> Outcome:
        """Refuse a registration for a reason that lies outside the resource."""

        def raise_it() -> Outcome:
            raise RefusedError(message, self._urn(goal))

        return self._answering(goal, raise_it)

    def give_up(self, urn: str) -> None:
        """Take note that a component failed after it was registered."""
        with self._lock:
            self.failed = True
            self.generator.skipped.add(urn)

    def register_outputs(self, urn: str, outputs: PropertyMap) -> None:
        """Take a component's outputs; the stack's wait until the update ends."""
        with self._lock:
            if urn in self.generator.skipped:
                return
            known = self._news.get(urn)
            if known is None:
                raise RefusedError(
                    f"cannot complete a resource '{urn}' whose registration isn't pending"
                )
            if known[0].type == STACK_TYPE:
                self._stack_outputs = (urn, outputs)
                return
        self._put_outputs(urn, outputs)

    def finish_stack(self, *, errored: bool) -> None:
        """Put the stack's outputs into the state; after an error, older ones are kept."""
        if self._stack_outputs is None:
            return
        urn, outputs = self._stack_outputs
        if errored:
            old = self.generator.base.live.get(urn)
            outputs = {**(old.outputs if old else {}), **known_only(outputs)}
        self._put_outputs(urn, outputs)

    def find(self, urn: str) -> Resource | None:
        """Give a resource as this update, or else the state, knows it."""
        with self._lock:
            known = self._news.get(urn)
        return known[0] if known else self.generator.base.live.get(urn)

    def run(self, steps: Sequence[Step]) -> Resource | None:
        """Perform steps one after the other; give the resource that they come to."""
        resource: Resource | None = None
        for step in steps:
            if step.op == "replace":
                self._executor.begin(step)
                self._executor.finish(step)
                continue
            done = self._executor.run(step)
            if done is not None and step.new is not None:
                resource = done
                with self._lock:
                    self._news[done.urn] = (done, step)
        return resource

    # -- one registration --------------------------------------------------------------------------

    def _answering(self, goal: Goal, act: _Act) -> Outcome:
        urn = self._urn(goal)
        try:
            return act()
        except RefusedError as error:
            if str(error):
                self._executor.tell("error", str(error), error.urn or urn)
        except StepFailedError:
            self.step_failed = True
        except ProviderError as error:
            text = without_secrets(str(error), goal.inputs)
            self._executor.tell("error", text, urn)
        return self._left_undone(urn)

    def _register(self, goal: Goal) -> Outcome:
        with self._lock:
            registration = self.generator.open(goal)
            if self.generator.is_skipped(registration.new):
                self.generator.skipped.add(registration.urn)
                return Outcome(registration.urn, failed=True)
        self._read_first(registration)
        if self._is_over():
            return self._left_undone(registration.urn)
        with self._lock:
            steps = self.generator.in_other_mode(registration)
            self.generator.note_recreation(registration)
        if steps is None:
            if registration.wants_import:
                self._import(registration)
            steps = self._decide(registration)
        if self._is_over():
            return self._left_undone(registration.urn)
        resource = self.run(steps) or registration.old
        unknown = any(step.skipped_create for step in steps)
        return Outcome(registration.urn, resource, unknown=unknown)

    def _is_over(self) -> bool:
        return self._stops_at_failure and (self.step_failed or self._executor.after_failed)

    def _left_undone(self, urn: str) -> Outcome:
        with self._lock:
            self.failed = True
            self.generator.skipped.add(urn)
        return Outcome(urn, failed=True)

    def _read(self, goal: Goal, id_: str) -> Outcome:
        with self._lock:
            steps = self.generator.open_read(goal, id_)
            new = steps[0].resource
            if self.generator.is_skipped(new):
                self.generator.skipped.add(new.urn)
                return Outcome(new.urn, failed=True)
        if self._is_over():
            return self._left_undone(new.urn)
        return Outcome(new.urn, self.run(steps))

    def _read_first(self, registration: Registration) -> None:
        """Read what is there, where that is asked for or what was applied is not known."""
        old = registration.old
        if old is None or not self.generator.is_included(old):
            return
        if self._refreshes:
            registration.old = self._executor.refresh(old)
        elif old.init_errors:
            registration.old = self._executor.read_half_made(old)

    def _import(self, registration: Registration) -> None:
        with self._lock:
            steps = self.generator.before_import(registration)
        registration.old = self.run(steps)
        registration.imported = True

    def _decide(self, registration: Registration) -> list[Step]:
        self._check(registration)
        with self._lock:
            steps = self.generator.before_diff(registration)
            if steps is not None:
                return steps
            key = self.generator.forced_key(registration) or self._provider_key(registration)
            forced = bool(key) or self.generator.is_triggered(registration)
        diff = DiffResult() if forced else self._diff(registration)
        with self._lock:
            verdict, diff = self.generator.judge(registration, diff, forced=forced)
            if verdict == "same":
                return self.generator.unchanged(registration)
            if verdict == "update":
                return self.generator.updated(registration, diff)
            if verdict == "recreate":
                return self.generator.recreate(registration)
        if not self.generator.is_forced(registration):
            # What is made anew takes no names or defaults over from what it replaces.
            self._check_inputs(registration, registration.goal.inputs, None)
        with self._lock:
            # Which dependents must go first is one decision: they are compared under the lock.
            return self.generator.replaced(registration, diff, key, self._executor.diff)

    def _check(self, registration: Registration) -> None:
        goal, old = registration.goal, registration.old
        registration.targeted = self.generator.is_included(registration.new)
        if not registration.targeted:
            return
        inputs = goal.inputs
        if old is not None:
            inputs, in_vain = ignore_changes(inputs, old.inputs, goal.ignore_changes)
            if in_vain:
                self._executor.tell(
                    "info",
                    "cannot ignore changes in added or removed elements of the path: "
                    f'"{", ".join(in_vain)}"',
                    registration.urn,
                )
        old_inputs = registration.old_inputs
        if self.generator.is_forced(registration):
            old_inputs = None
        if old_inputs is None and not registration.imported:
            inputs = goal.inputs
        self._check_inputs(registration, inputs, old_inputs)

    def _check_inputs(
        self, registration: Registration, inputs: PropertyMap, old_inputs: PropertyMap | None
    ) -> None:
        new = registration.new
        if new.custom and not new.is_provider:
            provider = self._executor.providers.get(new.provider)
            before = None if old_inputs is None else reveal(old_inputs)
            with asking():
                result = provider.check(new.type, new.name, before, reveal(inputs))
            if result.failures:
                self._tell_failures(new, inputs, result.failures)
                raise RefusedError("")
            inputs = with_secrets(result.inputs, inputs, ())
        registration.new = new.changed(inputs=inputs)

    def _tell_failures(
        self, new: Resource, inputs: PropertyMap, failures: Sequence[CheckFailure]
    ) -> None:
        for failure in failures:
            where = f"{new.type} resource '{new.name}'"
            text = f"{where} has a problem: {failure.reason}"
            if failure.property:
                value = inputs.get(failure.property)
                shown = BLINDED if contains_secret(value) else json.dumps(value, default=str)
                text = (
                    f"{where}: property {failure.property} value {{{shown}}} has a problem: "
                    f"{failure.reason}"
                )
            self._executor.tell("error", text, new.urn)

    def _provider_key(self, registration: Registration) -> str | None:
        """Say whether a change of provider means a replacement."""
        old, new = registration.old, registration.new
        if old is None or old.provider == new.provider:
            return None
        if not old.provider or not new.provider:
            return "provider"
        before = self.generator.base.live.get(provider_urn(old.provider))
        known = self._news.get(provider_urn(new.provider))
        if before is None or known is None:
            return None
        if replaces_resources(before.package, before.inputs, known[0].inputs):
            return "provider"
        return None

    def _diff(self, registration: Registration) -> DiffResult:
        old, new = registration.old, registration.new
        if old is None:
            return DiffResult()
        if new.is_provider:
            return DiffResult(compare(provider_config(old.inputs), provider_config(new.inputs)))
        if not new.custom:
            return DiffResult(compare(old.inputs, new.inputs))
        provider = self._executor.providers.get(new.provider)
        with asking():
            return provider.diff(
                new.type, old.id, reveal(old.inputs), reveal(old.outputs), reveal(new.inputs)
            )

    # -- outputs -----------------------------------------------------------------------------------

    def _put_outputs(self, urn: str, outputs: PropertyMap) -> None:
        with self._lock:
            before, step = self._news[urn]
            dry_run = self._executor.setting.dry_run
            after = before.changed(outputs=outputs if dry_run else known_only(outputs))
            self._news[urn] = (after, step)
        left_alone = step.untargeted or step.skipped_create
        changed = _secrets_differ(before.outputs, after.outputs)
        if changed and not left_alone and self._executor.recording:
            self._executor.ledger.commit(None, Put(after))
        shown = Step(op=step.op, old=step.old, new=after)
        planning = self._executor.setting.dry_run
        self._executor.setting.emit(events.resource_outputs(shown, step.op, planning=planning))
        self._executor.run_after(shown)

    def _urn(self, goal: Goal) -> str:
        rules = self.generator.rules
        return Identity(rules.stack, rules.project, goal.parent, goal.type, goal.name).urn


def _secrets_differ(before: PropertyMap, after: PropertyMap) -> bool:
    """Tell whether outputs differ, be it only in what is secret."""
    return before != after or not same_value(before, after)

"""``preview``, ``up``, ``refresh`` and ``destroy``."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from infra.sandbox.engine import cli_config
from infra.sandbox.engine import config as configuration
from infra.sandbox.engine.backend import ORGANIZATION, StackReference, StackState
from infra.sandbox.engine.checkpoint import Encrypted, IntegrityError, plain_outputs, verify
from infra.sandbox.engine.cli_stack import stack_outputs
from infra.sandbox.engine.config import Config, is_secret
from infra.sandbox.engine.display import Digest, Progress, title
from infra.sandbox.engine.eventlog import EventLog, Sink
from infra.sandbox.engine.journal import FileJournal, NullRecorder
from infra.sandbox.engine.session import CommandFailedError, Session, watching
from infra.sandbox.engine.state import Recorder, Snapshot
from infra.sandbox.engine.wire import PropertyMap

if TYPE_CHECKING:
    from infra.sandbox.engine.deployment import UpdateContext, UpdateOptions, UpdateResult

_DEFAULT_PARALLEL: Final = 16
_NO_CHANGES: Final = "no changes were expected"
_EXIT_NO_CHANGES: Final = 7


class UnknownStackError(LookupError):
    """A StackReference names a stack that is not there."""


@dataclass(frozen=True)
class _Run:
    """One run of the engine, and what it works with."""

    session: Session
    reference: StackReference
    kind: str
    dry_run: bool
    state: StackState
    crypter_form: Encrypted
    config: Config
    plain_config: Mapping[str, str]
    cancelled: threading.Event


def preview(session: Session) -> None:
    """Show what an update would change."""
    _update(session, "update", preview_only=True)


def up(session: Session) -> None:
    """Make the cloud as the program says."""
    _update(session, "update")


def refresh(session: Session) -> None:
    """Take into the state what the cloud is really like."""
    _update(session, "refresh", preview_only=session.flag("preview_only"))


def destroy(session: Session) -> None:
    """Delete what the state holds."""
    _update(session, "destroy", preview_only=session.flag("preview_only"))
    if session.flag("remove") and not session.flag("preview_only"):
        reference = session.existing()
        with session.locked(reference):
            session.backend.remove(reference, force=False)


def _update(session: Session, kind: str, *, preview_only: bool = False) -> None:
    reference = session.existing()
    changes = not preview_only
    if changes and not (session.flag("yes") or session.flag("skip_preview")):
        raise CommandFailedError(
            "--yes or --skip-preview must be passed in to proceed when running in non-interactive "
            "mode. Nothing was changed",
            2,
        )
    if session.flag("run_program") and kind == "update" and not session.flag("refresh"):
        session.err("note: --run-program has no effect without --refresh")
    cli_config.set_for_update(session, reference)
    if not changes:
        _run(_prepared(session, reference, kind, dry_run=True, cancelled=threading.Event()))
        return
    with (
        session.locked(reference) as lock,
        _interruptible(session.err) as cancelled,
        watching(lock, cancelled),
    ):
        if not session.flag("skip_preview"):
            _run(_prepared(session, reference, kind, dry_run=True, cancelled=cancelled))
        _run(_prepared(session, reference, kind, dry_run=False, cancelled=cancelled))


def _prepared(
    session: Session,
    reference: StackReference,
    kind: str,
    *,
    dry_run: bool,
    cancelled: threading.Event,
) -> _Run:
    state = session.backend.open(reference)
    config = session.config(reference)
    if not session.flag("skip_config_validation"):
        configuration.check_project_config(
            config, session.project.config, session.project.name, reference.name
        )
    return _Run(
        session,
        reference,
        kind,
        dry_run,
        state,
        session.form(state),
        config,
        session.plain_config(reference, config),
        cancelled,
    )


def _run(run: _Run) -> None:
    session = run.session
    snapshot = run.state.snapshot(run.crypter_form)
    session.backend.bind_cloud(
        run.reference, session.engine.cloud_identity, empty=not snapshot.resources
    )
    if not session.flag("disable_integrity_checking"):
        verify(snapshot)
    progress = Progress(
        _silent if session.flag("json") else session.out,
        dry_run=run.dry_run,
        project=run.reference.project,
        stack=run.reference.name,
    )
    digest = Digest()
    as_events = session.flag("json") and not run.dry_run
    displays: list[Sink] = [progress, digest, *([_json_lines(session)] if as_events else [])]
    if not session.flag("json"):
        session.out(title(run.kind, run.reference.name, dry_run=run.dry_run))
        session.out("")
    log = EventLog(session.value("event_log"), displays)
    try:
        result = _executed(run, snapshot, log)
    finally:
        log.close()
    if session.flag("json"):
        if run.dry_run:
            session.out(json.dumps(digest.document(), indent=4, ensure_ascii=False))
    else:
        progress.finish(_shown_outputs(run, result.snapshot))
    if result.error is not None:
        code = _EXIT_NO_CHANGES if result.error.startswith(_NO_CHANGES) else 1
        # A traceback stands among the diagnostics already.
        raise CommandFailedError(result.error.split("\nTraceback", 1)[0], code)


def _executed(run: _Run, snapshot: Snapshot, log: EventLog) -> UpdateResult:
    """Run the engine; whatever happens, what it recorded ends up in the state."""
    session, backend = run.session, run.session.backend
    run_update = session.engine.run_update
    options = _options(run)
    if run.dry_run:
        return run_update(_context(run, snapshot, NullRecorder(), log), options)
    journal = FileJournal(
        backend.journal_path(run.reference), snapshot, run.state.digest, run.crypter_form
    )
    started = time.time()
    try:
        result = run_update(_context(run, snapshot, journal, log), options)
    except BaseException:
        journal.close()
        backend.fold(run.reference)
        raise
    journal.close()
    form = run.crypter_form
    backend.save(run.reference, result.snapshot, form, form.crypter.state)
    backend.add_history(run.reference, _history_entry(run, result, started))
    try:
        verify(result.snapshot)
    except IntegrityError as error:
        raise IntegrityError(
            f"the update left a state that contradicts itself: {error}. It was saved as it is, so "
            "that nothing is lost; the state from before is its backup"
        ) from error
    return result


def _context(run: _Run, snapshot: Snapshot, recorder: Recorder, log: EventLog) -> UpdateContext:
    from infra.sandbox.engine.deployment import UpdateContext

    session = run.session
    engine = session.engine
    runs_program = run.kind == "update" or session.flag("run_program")
    return UpdateContext(
        organization=ORGANIZATION,
        project=run.reference.project,
        stack=run.reference.name,
        config=run.plain_config,
        secret_keys=frozenset(key for key, value in run.config.items() if is_secret(value)),
        snapshot=snapshot,
        registry=engine.registry(session.environment),
        composers=engine.composers(),
        calls=engine.calls(),
        recorder=recorder,
        emit=log.emit,
        program=(
            engine.program(session.project, session.environment, session.value("client"))
            if runs_program
            else None
        ),
        stack_outputs=_reader_of_outputs(session),
        cancelled=run.cancelled,
        now=engine.now,
    )


def _options(run: _Run) -> UpdateOptions:
    from infra.sandbox.engine.deployment import UpdateKind, UpdateOptions

    session = run.session
    both = session.values("target_replace")
    preview_of_update = run.dry_run and run.kind == "update"
    return UpdateOptions(
        kind=cast("UpdateKind", "preview" if preview_of_update else run.kind),
        dry_run=run.dry_run,
        targets=session.values("target") + both,
        target_dependents=session.flag("target_dependents"),
        excludes=session.values("exclude"),
        exclude_dependents=session.flag("exclude_dependents"),
        exclude_protected=session.flag("exclude_protected"),
        replace=session.values("replace") + both,
        refresh=session.flag("refresh"),
        run_program=session.flag("run_program"),
        parallel=_parallel(session.value("parallel")),
        continue_on_error=session.flag("continue_on_error"),
        expect_no_changes=session.flag("expect_no_changes"),
        clear_pending_creates=session.flag("clear_pending_creates"),
    )


def _parallel(text: str | None) -> int:
    if text is None:
        return _DEFAULT_PARALLEL
    if not text.isdigit() or int(text) < 1:
        raise CommandFailedError(
            f"--parallel must be a number of at least 1, found {text!r}. Nothing was done", 2
        )
    return min(int(text), _DEFAULT_PARALLEL * 4)


def _reader_of_outputs(session: Session) -> Callable[[str], PropertyMap]:
    """Give what reads another stack's outputs for a StackReference; each stack once."""
    known: dict[str, PropertyMap] = {}

    def read(name: str) -> PropertyMap:
        if name not in known:
            reference = session.reference(name)
            if not session.backend.exists(reference):
                raise UnknownStackError(f'unknown stack "{name}"')
            state = session.backend.open(reference)
            known[name] = stack_outputs(state, session.form(state))
        return known[name]

    return read


def _shown_outputs(run: _Run, snapshot: Snapshot) -> Mapping[str, Any] | None:
    if run.dry_run or run.session.flag("suppress_outputs"):
        return None
    return plain_outputs(snapshot.stack_outputs, show_secrets=False)


def _history_entry(run: _Run, result: UpdateResult, started: float) -> dict[str, Any]:
    session = run.session
    return {
        "kind": run.kind,
        "startTime": int(started),
        "message": session.value("message") or "",
        "environment": {"exec.kind": session.value("exec_kind") or "cli"},
        "config": {key: configuration.to_json(value) for key, value in run.config.items()},
        "result": "succeeded" if result.error is None else "failed",
        "endTime": int(time.time()),
        "resourceChanges": dict(sorted(result.counts.items())),
    }


def _json_lines(session: Session) -> Sink:
    return lambda event: session.out(json.dumps(event, ensure_ascii=False))


def _silent(_line: str) -> None:
    return


@contextmanager
def _interruptible(tell: Callable[[str], None]) -> Iterator[threading.Event]:
    """Give an event that the first interrupt sets; the second one interrupts as usual."""
    cancelled = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(number: int, _frame: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()
        tell(
            f"note: {signal.Signals(number).name} received: what has begun is ended first; once "
            "more to stop at once"
        )

    for number in former:
        signal.signal(number, interrupted)
    try:
        yield cancelled
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

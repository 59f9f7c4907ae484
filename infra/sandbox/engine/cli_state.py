"""The ``state`` commands: they change what the state says, never the cloud."""

from __future__ import annotations

from collections.abc import Callable

from infra.sandbox.engine import stateedit
from infra.sandbox.engine.checkpoint import Kept, verify
from infra.sandbox.engine.session import CommandFailedError, Session
from infra.sandbox.engine.state import Snapshot


def protect(session: Session) -> None:
    """Protect resources."""
    _flag(session, "protect", "protected", value=True)


def unprotect(session: Session) -> None:
    """Allow resources to be deleted again."""
    _flag(session, "protect", "unprotected", value=False)


def taint(session: Session) -> None:
    """Have resources replaced at the next update."""
    _flag(session, "taint", "tainted", value=True)


def untaint(session: Session) -> None:
    """Take a taint back."""
    _flag(session, "taint", "untainted", value=False)


def _flag(session: Session, name: str, done: str, *, value: bool) -> None:
    urns = _urns(session)
    _edit(session, lambda snapshot: stateedit.flag(snapshot, urns, **{name: value}))
    if urns is None:
        session.out(f"All resources {done}")
    else:
        session.out(f"{len(urns)} resources {done}")


def delete(session: Session) -> None:
    """Take resources out of the state."""
    urns = _urns(session)
    count = 0

    def edit(snapshot: Snapshot) -> Snapshot:
        nonlocal count
        result, count = stateedit.delete(
            snapshot,
            urns,
            force=session.flag("force"),
            target_dependents=session.flag("target_dependents"),
        )
        return result

    _edit(session, edit)
    if urns is None:
        session.out("Resources deleted")
    else:
        session.out("Resource deleted" if count == 1 else f"{count} resources deleted")


def rename(session: Session) -> None:
    """Give a resource another name in the state."""
    urn, name = session.invocation.arguments
    _edit(session, lambda snapshot: stateedit.rename(snapshot, urn, name))
    session.out("Resource renamed")


def _urns(session: Session) -> tuple[str, ...] | None:
    """Give the URNs that the command names; None for ``--all``."""
    urns = session.invocation.arguments
    if session.flag("all"):
        if urns:
            raise CommandFailedError("cannot specify a resource URN together with --all", 2)
        return None
    if not urns:
        raise CommandFailedError("Must supply <resource URN> unless pulumi is run interactively", 2)
    return urns


def _edit(session: Session, edit: Callable[[Snapshot], Snapshot]) -> None:
    reference = session.existing()
    with session.locked(reference):
        state = session.backend.open(reference)
        result = edit(state.snapshot(Kept()))
        if not session.flag("disable_integrity_checking"):
            verify(result)
        session.backend.save(reference, result, Kept(), state.secrets_state or "")

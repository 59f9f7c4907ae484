"""The ``stack`` commands, and those that only tell something."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.sandbox.engine import config as configuration
from infra.sandbox.engine import stateedit
from infra.sandbox.engine.arguments import usage
from infra.sandbox.engine.backend import (
    ORGANIZATION,
    BackendError,
    StackReference,
    StackState,
    username,
)
from infra.sandbox.engine.checkpoint import (
    CheckpointError,
    Document,
    Encrypted,
    Kept,
    SecretForm,
    Shown,
    check_manifest,
    decode_deployment,
    decode_map,
    encode_map,
    plain_outputs,
    secrets_state,
    unwrap,
    verify,
    versioned,
)
from infra.sandbox.engine.display import one_line, pretty_json, table
from infra.sandbox.engine.secrets import KMS_SCHEME, PASSPHRASE_PROVIDER
from infra.sandbox.engine.session import CommandFailedError, Session
from infra.sandbox.engine.state import STACK_TYPE, Snapshot
from infra.sandbox.engine.storage import write_atomic
from infra.sandbox.engine.wire import PropertyMap

_PASSPHRASES: Final = ("", "default", PASSPHRASE_PROVIDER)
_DRIVERS: Final = "The sandbox's engine has its own drivers: there is nothing to install"


def show_help(session: Session) -> None:
    """Print the command's usage."""
    session.out(usage(session.invocation.command))


# Stacks -----------------------------------------------------------------------------------------


def init(session: Session) -> None:
    """Make a stack, and select it."""
    provider = session.value("secrets_provider") or ""
    _check_provider(provider)
    if not session.invocation.arguments and not session.value("stack"):
        raise CommandFailedError("missing stack name", 2)
    reference = session.chosen()
    with session.backend.lock(reference, session.command_line):
        if session.backend.exists(reference):
            raise BackendError(f"stack '{reference.name}' already exists")
        session.backend.create(reference, session.keyring.new_state(provider))
    session.backend.bind_cloud(reference, session.engine.cloud_identity, empty=True)
    if not session.flag("no_select"):
        session.backend.select(reference)


def change_secrets_provider(session: Session) -> None:
    """Encrypt a stack's secrets by another provider, or by a new key of the same one.

    Those of its configuration are the sandbox's own overrides: the stack file is not written.
    """
    provider = session.invocation.arguments[0]
    _check_provider(provider)
    reference = session.existing()
    with session.locked(reference):
        state = session.backend.open(reference)
        former, new = session.crypter(state), session.keyring.new_state(provider)
        crypter = session.keyring.crypter(new)
        snapshot = state.snapshot(Encrypted(former))
        session.reencrypt_edits(reference, former, crypter)
        session.out("Migrating old configuration and state to new secrets provider")
        session.backend.save(reference, snapshot, Encrypted(crypter), new)


def _check_provider(provider: str) -> None:
    if provider not in _PASSPHRASES and not provider.startswith(f"{KMS_SCHEME}://"):
        raise CommandFailedError(
            f"unknown secrets provider type {provider!r} (the sandbox has passphrase, and "
            f"{KMS_SCHEME}://KEY?region=REGION for a key of its own cloud). Nothing was changed"
        )


def select(session: Session) -> None:
    """Select a stack."""
    reference = session.chosen()
    if session.flag("create") and not session.backend.exists(reference):
        init(session)
        return
    session.backend.select(session.existing())


def list_stacks(session: Session) -> None:
    """List the stacks of the project, or of all."""
    everything = session.flag("all")
    project = None if everything else session.value("project") or session.project.name
    documents = [
        _summary(session, reference, full=everything)
        for reference in session.backend.stacks(project)
    ]
    if session.wants_json():
        session.out(pretty_json(documents))
        return
    rows = [
        (
            f"{document['name']}{'*' if document['current'] else ''}",
            str(document.get("lastUpdate", "n/a")),
            str(document["resourceCount"]),
        )
        for document in documents
    ]
    for line in table(("NAME", "LAST UPDATE", "RESOURCE COUNT"), rows):
        session.out(line)


def _summary(session: Session, reference: StackReference, *, full: bool) -> dict[str, Any]:
    state = session.backend.open(reference)
    document: dict[str, Any] = {
        "name": str(reference) if full else reference.name,
        "current": session.backend.selected(reference.project) == reference.name,
        "updateInProgress": session.backend.running(reference) is not None,
        "resourceCount": len(state.snapshot(Kept()).resources),
    }
    if session.backend.history(reference):
        document["lastUpdate"] = cli_time(
            datetime.fromisoformat(state.updated).replace(tzinfo=UTC).timestamp()
        )
    return document


def cli_time(seconds: float) -> str:
    """Give a time as the CLI's JSON does: UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def show(session: Session) -> None:
    """Show a stack: when it was last updated, its resources and outputs."""
    reference = session.existing()
    if session.flag("show_name"):
        session.out(reference.name)
        return
    state = session.backend.open(reference)
    snapshot = state.snapshot(Kept())
    session.out(f"Current stack is {reference.name}:")
    session.out(f"    Last updated: {state.updated}")
    session.out(f"Current stack resources ({len(snapshot.resources)}):")
    if not snapshot.resources:
        session.out("    No resources currently in this stack")
    else:
        for line in _resource_lines(session, snapshot):
            session.out(line)
    session.out("")
    _print_outputs(session, _outputs(session, state))


def _resource_lines(session: Session, snapshot: Snapshot) -> list[str]:
    lines = table(
        ("TYPE", "NAME"), [(entry.type, entry.name) for entry in snapshot.resources], "    "
    )
    result = lines[:1]
    for entry, line in zip(snapshot.resources, lines[1:], strict=True):
        result.append(line + (" (pending deletion)" if entry.delete else ""))
        if session.flag("show_urns"):
            result.append(f"      URN: {entry.urn}")
        if session.flag("show_ids") and entry.id:
            result.append(f"      ID: {entry.id}")
    return result


def remove(session: Session) -> None:
    """Remove a stack."""
    reference = session.existing()
    with session.locked(reference):
        session.backend.remove(reference, force=session.flag("force"))
    session.out(f"Stack '{reference.name}' has been removed!")


def rename(session: Session) -> None:
    """Give a stack another name; the stack file, which the sandbox does not write, keeps its."""
    old = session.existing()
    new = session.reference(session.invocation.arguments[0])

    def rewrite(snapshot: Snapshot) -> Snapshot:
        return stateedit.rename_stack(snapshot, (old.project, old.name), (new.project, new.name))

    with session.locked(old), session.backend.lock(new, session.command_line):
        session.backend.rename(old, new, rewrite)
    session.out(f"Renamed {old.name} to {new.name}")
    if session.project.stack_file(old.name).exists():
        session.err(
            f"note: {session.project.stack_file(old.name).name} was left as it is; rename it to "
            f"{session.project.stack_file(new.name).name} yourself"
        )


# Outputs, export, import ------------------------------------------------------------------------


def output(session: Session) -> None:
    """Print the stack's outputs, or one of them."""
    outputs = _outputs(session, session.backend.open(session.existing()))
    if not session.invocation.arguments:
        if session.flag("json"):
            session.out(pretty_json(outputs))
        else:
            _print_outputs(session, outputs)
        return
    name = session.invocation.arguments[0]
    if name not in outputs:
        raise CommandFailedError(f"current stack does not have output property '{name}'")
    session.out(pretty_json(outputs[name]) if session.flag("json") else one_line(outputs[name]))


def _outputs(session: Session, state: StackState) -> Document:
    shown = session.flag("show_secrets")
    form: SecretForm = session.form(state) if shown else Kept()
    return plain_outputs(stack_outputs(state, form), show_secrets=shown)


def stack_outputs(state: StackState, form: SecretForm) -> PropertyMap:
    """Give a stack's outputs, secrets wrapped; only theirs are decrypted."""
    kept = state.snapshot(Kept()).stack_outputs
    return decode_map(encode_map(kept, Kept(), (STACK_TYPE,)), form, (STACK_TYPE,))


def _print_outputs(session: Session, outputs: Document) -> None:
    session.out(f"Current stack outputs ({len(outputs)}):")
    if not outputs:
        session.out("    No output values currently in this stack")
        return
    rows = [(name, one_line(outputs[name])) for name in sorted(outputs)]
    for line in table(("OUTPUT", "VALUE"), rows, "    "):
        session.out(line)


def export(session: Session) -> None:
    """Print the stack's deployment, or write it to a file."""
    state = session.backend.open(session.existing())
    if session.flag("show_secrets"):
        snapshot = state.snapshot(session.form(state))
        form: SecretForm = Shown()
    else:
        snapshot, form = state.snapshot(Kept()), Kept()
    deployment = session.backend.deployment(
        snapshot, form, state.secrets_state or session.keyring.new_state()
    )
    text = json.dumps(versioned("deployment", deployment, deployment), indent=4, ensure_ascii=False)
    file = session.value("file")
    if file:
        write_atomic(session.directory / file, text.encode() + b"\n")
    else:
        session.out(text)


def import_(session: Session) -> None:
    """Replace the stack's state by an exported deployment."""
    file = session.value("file")
    if not file:
        raise CommandFailedError("`pulumi stack import` needs --file in the sandbox", 2)
    reference = session.existing()
    with session.locked(reference):
        state = session.backend.open(reference)
        snapshot = _imported(session, session.directory / file)
        if not session.flag("force"):
            _check_import(reference, snapshot)
        if snapshot.pending_operations:
            session.err("note: the imported state has pending operations; they were kept")
        crypter = session.crypter(state)
        session.backend.save(reference, snapshot, Encrypted(crypter), crypter.state)
    session.out("Import complete.")


def _imported(session: Session, path: Path) -> Snapshot:
    try:
        text = path.read_text(encoding="utf-8")
        deployment = unwrap(json.loads(text), "deployment")
    except OSError as error:
        raise CommandFailedError(f"could not open file: {path}: {error.strerror}") from error
    except ValueError as error:
        raise CommandFailedError(f"{path} is not JSON: {error}. Nothing was changed") from error
    check_manifest(deployment)
    # An export that shows its secrets still names their provider, but does not need it.
    its_state = secrets_state(deployment) if '"ciphertext"' in text else None
    its_state = its_state or session.keyring.new_state()
    return decode_deployment(deployment, Encrypted(session.keyring.crypter(its_state)))


def _check_import(reference: StackReference, snapshot: Snapshot) -> None:
    expected = f"urn:pulumi:{reference.name}::{reference.project}::"
    foreign = [entry.urn for entry in snapshot.resources if not entry.urn.startswith(expected)]
    if foreign:
        raise CommandFailedError(
            f"resource '{foreign[0]}' is from a different stack or project, expected {expected}… "
            f"({len(foreign)} such resources). Nothing was changed: importing this file could be "
            "dangerous; rerun with --force to proceed anyway"
        )
    try:
        verify(snapshot)
    except CheckpointError as error:
        raise CommandFailedError(
            f"state file contains errors: {error}. Nothing was changed: importing this file could "
            "be dangerous; rerun with --force to proceed anyway"
        ) from error


# History and tags -------------------------------------------------------------------------------


def history(session: Session) -> None:
    """List the stack's updates, the newest first."""
    reference = session.existing()
    updates = session.backend.history(reference)
    size = int(session.value("page_size") or 0)
    if size:
        first = (int(session.value("page") or 1) - 1) * size
        updates = updates[first : first + size]
    if session.wants_json():
        decrypt = session.decrypter(reference) if session.flag("show_secrets") else None
        session.out(pretty_json([_update_json(update, decrypt) for update in updates]))
        return
    if not updates:
        session.out("Stack has never been updated")
    for update in updates:
        session.out(f"Version: {update['version']}")
        session.out(f"UpdateKind: {update['kind']}")
        session.out(f"Status: {update['result']}")
        session.out(f"Message: {update['message']}")
        changes = ", ".join(f"{count} {op}" for op, count in update["resourceChanges"].items())
        session.out(f"Changes: {changes or 'none'}")
        session.out(f"Started: {cli_time(update['startTime'])}")
        session.out("")


def _update_json(update: Document, decrypt: configuration.Decrypt | None) -> dict[str, Any]:
    return {
        "version": update["version"],
        "kind": update["kind"],
        "startTime": cli_time(update["startTime"]),
        "message": update["message"],
        "environment": update["environment"],
        "config": {
            key: _config_json(configuration.from_json(value), decrypt)
            for key, value in update["config"].items()
        },
        "result": update["result"],
        "endTime": cli_time(update["endTime"]),
        "resourceChanges": update["resourceChanges"],
    }


def _config_json(
    value: configuration.ConfigValue, decrypt: configuration.Decrypt | None
) -> dict[str, Any]:
    secret = configuration.is_secret(value)
    if secret and decrypt is None:
        return {"secret": True}
    text = configuration.text_of(value, decrypt or configuration.masked)
    entry: dict[str, Any] = {"value": text, "secret": secret}
    if configuration.is_object(value):
        entry["objectValue"] = json.loads(text)
    return entry


def tag_list(session: Session) -> None:
    """List the stack's tags."""
    tags = session.backend.record(session.existing()).tags
    if session.wants_json():
        session.out(pretty_json(dict(sorted(tags.items()))))
        return
    for line in table(("NAME", "VALUE"), sorted(tags.items())):
        session.out(line)


def tag_get(session: Session) -> None:
    """Print one tag."""
    reference, name = session.existing(), session.invocation.arguments[0]
    tags = session.backend.record(reference).tags
    if name not in tags:
        raise CommandFailedError(f"stack tag '{name}' not found for stack '{reference.name}'")
    session.out(tags[name])


def tag_set(session: Session) -> None:
    """Set a tag."""
    name, value = session.invocation.arguments
    _change_tags(session, {name: value})


def tag_remove(session: Session) -> None:
    """Take a tag off."""
    _change_tags(session, {session.invocation.arguments[0]: None})


def _change_tags(session: Session, changes: dict[str, str | None]) -> None:
    reference = session.existing()
    with session.backend.editing_record(reference):
        record = session.backend.record(reference)
        merged = {**record.tags, **changes}
        tags = {name: value for name, value in merged.items() if value is not None}
        session.backend.write_record(reference, replace(record, tags=tags))


# What only tells something ----------------------------------------------------------------------


def cancel(session: Session) -> None:
    """Ask the running update to stop; it ends what it has begun, and no more."""
    reference = session.existing()
    owner = session.backend.request_cancel(reference)
    session.out(
        f"Asked the update of '{reference.name}' (pid {owner.pid} on {owner.hostname}) to stop"
    )


def whoami(session: Session) -> None:
    """Tell who runs this."""
    user = username()
    if session.wants_json():
        session.out(pretty_json({"user": user, "url": _url(session)}))
    else:
        session.out(user)


def _url(session: Session) -> str:
    return session.backend.url


def version(session: Session) -> None:
    """Tell which CLI's behaviour this is."""
    session.out(session.engine.version)


def about(session: Session) -> None:
    """Tell about this engine and where it keeps its state."""
    facts: dict[str, Any] = {
        "cliAbout": {"version": session.engine.version.removeprefix("v"), "embedded": True},
        "host": {"os": platform.system().lower(), "arch": platform.machine()},
        "backend": {"name": "sandbox", "url": _url(session), "user": username()},
        "cloud": session.engine.cloud_identity,
    }
    if session.wants_json():
        session.out(pretty_json(facts))
        return
    session.out("The sandbox's embedded engine, in place of the Pulumi CLI")
    for name, value in facts.items():
        session.out(f"{name}: {one_line(value)}")


def default_organization(session: Session) -> None:
    """Print the organization that stack names have without Pulumi Cloud."""
    session.out(ORGANIZATION)


def no_plugins(session: Session) -> None:
    """Tell that there are no plugins to install or remove."""
    session.out(_DRIVERS)


def list_plugins(session: Session) -> None:
    """List the plugins: none."""
    session.out("[]" if session.wants_json() else _DRIVERS)

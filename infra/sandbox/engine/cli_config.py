"""The ``config`` commands."""

from __future__ import annotations

import json

from infra.sandbox.engine import config as configuration
from infra.sandbox.engine.backend import StackReference
from infra.sandbox.engine.config import (
    Ciphertext,
    Config,
    ConfigError,
    ConfigValue,
    Edit,
    KeyPath,
    add_edit,
    is_object,
    is_secret,
    json_text,
    plain,
    pretty_key,
    text_of,
)
from infra.sandbox.engine.display import pretty_json, table
from infra.sandbox.engine.session import CommandFailedError, Session


def show(session: Session) -> None:
    """List the configuration in force."""
    reference = session.existing()
    config = session.config(reference)
    shown = session.flag("show_secrets")
    values = (
        session.plain_config(reference, config)
        if shown
        else {key: text_of(value, configuration.masked) for key, value in config.items()}
    )
    if session.wants_json():
        document = {key: _entry(config[key], values[key], shown=shown) for key in sorted(config)}
        session.out(pretty_json(document))
        return
    project = session.project.name
    rows = [(pretty_key(key, project), values[key]) for key in sorted(config)]
    for line in table(("KEY", "VALUE"), rows):
        session.out(line)


def _entry(value: ConfigValue, text: str, *, shown: bool) -> dict[str, object]:
    entry: dict[str, object] = {}
    if shown or not is_secret(value):
        entry["value"] = text
        if is_object(value):
            entry["objectValue"] = json.loads(text)
    return {**entry, "secret": is_secret(value)}


def get(session: Session) -> None:
    """Print one value, decrypted."""
    reference = session.existing()
    key, path = _key(session, session.invocation.arguments[0], path=session.flag("path"))
    config = session.config(reference)
    found, value = configuration.get_path(config, key, path)
    if not found:
        name = pretty_key(key, session.project.name)
        raise CommandFailedError(
            f"configuration key '{_shown_key(name, path)}' not found for stack '{reference.name}'"
        )
    decrypt = session.decrypter(reference) if is_secret(value) else configuration.masked
    text = session.plain_value(reference, key, value, decrypt)
    if session.wants_json():
        session.out(pretty_json(_entry(value, text, shown=True)))
    else:
        session.out(text)


def _shown_key(name: str, path: KeyPath) -> str:
    return name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _key(session: Session, text: str, *, path: bool) -> tuple[str, KeyPath]:
    return configuration.parse_key(text, session.project.name, path=path)


def set_one(session: Session) -> None:
    """Override one value."""
    name, text = session.invocation.arguments
    kinds = [
        flag
        for flag in ("secret", "plaintext", "type")
        if session.value(flag) not in (None, "False")
    ]
    if len(kinds) > 1:
        raise CommandFailedError(
            f"only one of --secret, --plaintext and --type may be given, found {kinds}", 2
        )
    reference = session.existing()
    key, path = _key(session, name, path=session.flag("path"))
    value = (
        _encrypted(session, reference, text)
        if session.flag("secret")
        else configuration.typed_value(text, session.value("type"), nested=bool(path))
    )
    _add(session, reference, [Edit("set", key, path, value)])


def set_all(session: Session) -> None:
    """Override several values; all of them, or none."""
    document = session.value("json")
    pairs = [("plaintext", pair) for pair in session.values("plaintext")]
    pairs += [("secret", pair) for pair in session.values("secret")]
    if document is not None and (pairs or session.flag("path")):
        raise CommandFailedError(
            "the --json option cannot be used with the --plaintext, --secret or --path options", 2
        )
    reference = session.existing()
    if document is not None:
        _add(session, reference, _edits_from_json(session, reference, document))
        return
    edits = []
    for kind, pair in pairs:
        name, text = _split_pair(pair)
        key, path = _key(session, name, path=session.flag("path"))
        value = (
            _encrypted(session, reference, text)
            if kind == "secret"
            else configuration.typed_value(text, None, nested=bool(path))
        )
        edits.append(Edit("set", key, path, value))
    _add(session, reference, edits)


def _split_pair(pair: str) -> tuple[str, str]:
    quote = pair[:1] if pair[:1] in ("'", '"') else ""
    name, separator, value = pair.removeprefix(quote).partition(f"{quote}=")
    if not separator:
        raise ConfigError("config value must be in the form [key]=[value]")
    return name, value


def _edits_from_json(session: Session, reference: StackReference, text: str) -> list[Edit]:
    try:
        document = json.loads(text)
        entries = dict(document.items())
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"could not parse --json argument: {error}") from error
    edits = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("value") is None:
            raise ConfigError(f'value for --json object key "{name}" is nil')
        key, _ = _key(session, name, path=False)
        value: ConfigValue = entry["value"]
        if entry.get("objectValue") is not None:
            value = json.loads(entry["value"])
        if entry.get("secret"):
            value = _encrypted_leaves(session, reference, value)
        edits.append(Edit("set", key, (), value))
    return edits


def _encrypted_leaves(
    session: Session, reference: StackReference, value: ConfigValue
) -> ConfigValue:
    if isinstance(value, dict):
        return {key: _encrypted_leaves(session, reference, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encrypted_leaves(session, reference, item) for item in value]
    return _encrypted(session, reference, value if isinstance(value, str) else json_text(value))


def _encrypted(session: Session, reference: StackReference, text: str) -> Ciphertext:
    return Ciphertext(session.crypter(session.backend.open(reference)).encrypt(text))


def _add(session: Session, reference: StackReference, added: list[Edit]) -> None:
    def change(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
        for edit in added:
            edits = add_edit(edits, edit)
        return edits

    session.change_edits(reference, change)


def remove(session: Session) -> None:
    """Take values out; what the stack file says is overridden, not changed."""
    reference = session.existing()
    edits = []
    for name in session.invocation.arguments:
        key, path = _key(session, name, path=session.flag("path"))
        edits.append(Edit("rm", key, path))
    _add(session, reference, edits)


def refresh(session: Session) -> None:
    """Go back to the configuration that the last update ran with."""
    reference = session.existing()
    history = session.backend.history(reference)
    if not history:
        raise CommandFailedError(f"no configuration exists for stack '{reference.name}'")
    last: Config = {
        key: configuration.from_json(value) for key, value in history[0]["config"].items()
    }
    file = session.file_config(reference)
    edits = [Edit("rm", key) for key in file if key not in last]
    edits += [
        Edit("set", key, (), value)
        for key, value in last.items()
        if key not in file or plain(file[key], str) != plain(value, str)
    ]
    session.change_edits(reference, lambda _: tuple(edits))
    if not session.flag("force"):
        session.out(f"refreshed configuration for stack '{reference.name}'")


def set_for_update(session: Session, reference: StackReference) -> None:
    """Take in the ``--config key=value`` of an update."""
    edits = []
    for pair in session.values("config"):
        name, text = _split_pair(pair)
        key, path = _key(session, name, path=session.flag("config_path"))
        value = configuration.typed_value(text, None, nested=bool(path))
        edits.append(Edit("set", key, path, value))
    if edits:
        _add(session, reference, edits)

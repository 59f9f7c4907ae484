"""One command's run: what it was given, and what it works on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infra.sandbox.engine import config as configuration
from infra.sandbox.engine.arguments import Invocation
from infra.sandbox.engine.backend import (
    Backend,
    Lock,
    StackNotFoundError,
    StackReference,
    StackState,
    open_backend,
    parse_reference,
)
from infra.sandbox.engine.checkpoint import Encrypted
from infra.sandbox.engine.config import Config, ConfigError, Edit
from infra.sandbox.engine.project import Project, find_project
from infra.sandbox.engine.secrets import Crypter, Keyring, SecretsError

if TYPE_CHECKING:
    from infra.sandbox.engine.deployment import UpdateContext, UpdateOptions, UpdateResult
    from infra.sandbox.engine.program import ProgramRunner
    from infra.sandbox.engine.provider import Composer, ProviderRegistry
    from infra.sandbox.engine.wire import PropertyMap

HOME_SECRETS: Final = "passphrase.json"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the commands run on; each part is made only when an update needs it."""

    home: Path
    version: str
    """With a leading ``v``; it goes into state files."""
    cloud_identity: str | None
    registry: Callable[[Mapping[str, str]], ProviderRegistry]
    composers: Callable[[], Mapping[str, Composer]]
    calls: Callable[[], Mapping[str, Callable[[PropertyMap], PropertyMap]]]
    run_update: Callable[[UpdateContext, UpdateOptions], UpdateResult]
    program: Callable[[Project, Mapping[str, str], str | None], ProgramRunner]
    """Makes the runner: project, environment, address of an inline program's host or None."""
    now: Callable[[], str]


class CommandFailedError(Exception):
    """A command ends with an error for the user, and this exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Session:
    """A command being run."""

    engine: Engine
    invocation: Invocation
    directory: Path
    environment: Mapping[str, str]
    command_line: str
    out: Callable[[str], None]
    """Takes a line for standard output."""
    err: Callable[[str], None]
    backend_url: str = ""
    """Another backend than the sandbox's own."""

    @cached_property
    def project(self) -> Project:
        """The project of the working directory."""
        return find_project(self.directory)

    @cached_property
    def backend(self) -> Backend:
        """The stacks of this sandbox, or of the backend that the command was given."""
        return open_backend(
            self.backend_url,
            self.engine.home,
            self.environment,
            version=self.engine.version,
            now=self.engine.now,
        )

    @cached_property
    def keyring(self) -> Keyring:
        """The passphrases."""
        return Keyring(self.engine.home / HOME_SECRETS, self.environment)

    def flag(self, name: str) -> bool:
        """Tell whether a flag is given."""
        return bool(getattr(self.invocation.options, name, False))

    def value(self, name: str) -> str | None:
        """Give a flag's value."""
        value = getattr(self.invocation.options, name, None)
        return None if value is None else str(value)

    def values(self, name: str) -> tuple[str, ...]:
        """Give the values of a flag that may be given several times."""
        return tuple(getattr(self.invocation.options, name, None) or ())

    def wants_json(self) -> bool:
        """Tell whether the output is to be JSON."""
        return self.flag("json") or self.value("output") == "json"

    def reference(self, name: str) -> StackReference:
        """Give the full name of a stack."""
        return parse_reference(name, self.project.name)

    def chosen(self) -> StackReference:
        """Give the stack that the command is for, whether or not it exists."""
        given = self.value("stack")
        if self.invocation.command.arguments.startswith("[stack]") and self.invocation.arguments:
            if given:
                raise CommandFailedError(
                    "only one of --stack or argument stack name may be specified, not both", 2
                )
            given = self.invocation.arguments[0]
        name = given or self.backend.selected(self.project.name)
        if not name:
            raise CommandFailedError(
                "no stack selected; please use `pulumi stack select` or `pulumi stack init` to "
                "choose one"
            )
        return self.reference(name)

    def existing(self) -> StackReference:
        """Give the stack that the command is for; raises `StackNotFoundError`."""
        reference = self.chosen()
        if not self.backend.exists(reference):
            raise StackNotFoundError(f"no stack named '{reference.name}' found")
        return reference

    @contextmanager
    def locked(self, reference: StackReference) -> Iterator[Lock]:
        """Hold a stack's lock, after whatever a killed update recorded is in its state."""
        with self.backend.lock(reference, self.command_line) as lock:
            if lock.note:
                self.err(f"note: {lock.note}")
            if self.backend.exists(reference) and self.backend.fold(reference):
                self.err(
                    f"note: an update of stack '{reference.name}' was interrupted; what it had "
                    "recorded is now in the state (the state from before is its backup)"
                )
            yield lock

    def crypter(self, state: StackState) -> Crypter:
        """Give the crypter of a stack's secrets; for a state that names none, that of new ones."""
        return self.keyring.crypter(state.secrets_state or self.keyring.new_state())

    def form(self, state: StackState) -> Encrypted:
        """Give the form of a stack's secrets when they are to be read."""
        return Encrypted(self.crypter(state))

    # Configuration ------------------------------------------------------------------------------

    def stack_file(self, reference: StackReference) -> Path:
        """Give the stack's configuration file: the one named, or the project's."""
        named = self.value("config_file")
        return self.directory / named if named else self.project.stack_file(reference.name)

    def edits(self, reference: StackReference) -> tuple[Edit, ...]:
        """Give the sandbox's overrides of the stack's configuration file."""
        kept = self.backend.record(reference).edits.get(self._file_key(reference), [])
        return tuple(Edit.from_json(document) for document in kept)

    def change_edits(
        self,
        reference: StackReference,
        change: Callable[[tuple[Edit, ...]], tuple[Edit, ...]],
    ) -> None:
        """Change the overrides; nothing is kept if the result does not fit the file."""
        with self.backend.editing_record(reference):
            edits = change(self.edits(reference))
            configuration.effective_config(self.file_config(reference), edits)
            record = self.backend.record(reference)
            kept = {
                **record.edits,
                self._file_key(reference): [edit.to_json() for edit in edits],
            }
            self.backend.write_record(reference, replace(record, edits=kept))

    def reencrypt_edits(self, reference: StackReference, former: Crypter, new: Crypter) -> None:
        """Encrypt the secrets of the stack's overrides, of whichever file, by another crypter."""

        def again(ciphertext: str) -> str:
            return new.encrypt(former.decrypt(ciphertext))

        with self.backend.editing_record(reference):
            record = self.backend.record(reference)
            edits = {
                file: [
                    replace(edit, value=configuration.reencrypted(edit.value, again)).to_json()
                    for edit in map(Edit.from_json, kept)
                ]
                for file, kept in record.edits.items()
            }
            if edits != record.edits:
                self.backend.write_record(reference, replace(record, edits=edits))

    def file_text(self, reference: StackReference) -> str:
        """Give the stack file's text; empty where there is none."""
        path = self.stack_file(reference)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def file_config(self, reference: StackReference) -> Config:
        """Give what the stack file says."""
        path = self.stack_file(reference)
        return configuration.read_config(self.file_text(reference), self.project.name, path.name)

    def config(self, reference: StackReference) -> Config:
        """Give the configuration in force: file, overrides, and the project's defaults."""
        try:
            own = configuration.effective_config(self.file_config(reference), self.edits(reference))
        except ConfigError as error:
            raise ConfigError(
                f"{error}: the sandbox's overrides (`pulumi config set`) do not fit "
                f"{self.stack_file(reference).name} any more. Nothing was done. Take the override "
                "back with `pulumi config rm`"
            ) from error
        return configuration.with_project_config(own, self.project.config, self.project.name)

    def plain_config(self, reference: StackReference, config: Config) -> dict[str, str]:
        """Give the configuration as a program gets it, decrypted."""
        decrypt = self.decrypter(reference)
        return {
            key: self.plain_value(reference, key, value, decrypt) for key, value in config.items()
        }

    def plain_value(
        self,
        reference: StackReference,
        key: str,
        value: configuration.ConfigValue,
        decrypt: configuration.Decrypt,
    ) -> str:
        """Give one value as a program gets it; raises `ConfigError` naming the key."""
        try:
            return configuration.text_of(value, decrypt)
        except SecretsError as error:
            name = configuration.pretty_key(key, self.project.name)
            raise ConfigError(
                f"the value of '{name}' in {self.stack_file(reference).name} cannot be decrypted: "
                f"{error}. Nothing was done. The sandbox reads what it encrypted itself, and what "
                "Pulumi's passphrase provider did, with PULUMI_CONFIG_PASSPHRASE set; override "
                f"the value with `pulumi config set --secret {name}`"
            ) from error

    def decrypter(self, reference: StackReference) -> configuration.Decrypt:
        """Give what decrypts the values of the overrides, and those of the file if it can."""
        own = self.crypter(self.backend.open(reference))
        salt = configuration.encryption_salt(
            self.file_text(reference), self.stack_file(reference).name
        )

        def decrypt(ciphertext: str) -> str:
            try:
                return own.decrypt(ciphertext)
            except SecretsError:
                if not salt or salt == own.state:
                    raise
                return self.keyring.crypter(salt).decrypt(ciphertext)

        return decrypt

    def _file_key(self, reference: StackReference) -> str:
        path = self.stack_file(reference)
        return path.name if path.parent == self.project.root else str(path)


@contextmanager
def watching(lock: Lock, cancelled: threading.Event) -> Iterator[None]:
    """Set `cancelled` when someone asks the holder of the lock to stop."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            if lock.cancel_requested():
                cancelled.set()
                return

    watcher = threading.Thread(target=watch, name="cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def process_environment(given: Mapping[str, str] | None) -> dict[str, str]:
    """Give the environment that commands start from."""
    return dict(os.environ if given is None else given)

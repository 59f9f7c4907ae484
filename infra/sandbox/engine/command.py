"""The embedded engine in place of the Pulumi CLI, for the Automation API.

`EmbeddedCommand` is what ``LocalWorkspaceOptions(pulumi_command=…)`` takes: every result, event
and error that the Automation API gives is then its own, and only what runs is this engine.
"""

from __future__ import annotations

import functools
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.sandbox.engine import cli_config, cli_stack, cli_state, cli_update
from infra.sandbox.engine.arguments import Command, UsageError, parse
from infra.sandbox.engine.backend import BackendError, StackNotFoundError
from infra.sandbox.engine.checkpoint import CheckpointError
from infra.sandbox.engine.config import ConfigError
from infra.sandbox.engine.journal import JournalError
from infra.sandbox.engine.project import Project, ProjectError
from infra.sandbox.engine.secrets import SecretsError
from infra.sandbox.engine.session import (
    CommandFailedError,
    Engine,
    Session,
    process_environment,
)
from infra.sandbox.engine.stateedit import StateEditError
from infra.sandbox.engine.storage import StorageError, storage_error

if TYPE_CHECKING:
    from pulumi.automation import CommandResult
    from semver import VersionInfo

    from infra.sandbox.engine.deployment import UpdateContext, UpdateOptions, UpdateResult
    from infra.sandbox.engine.program import ProgramRunner
    from infra.sandbox.engine.provider import Composer, ProviderRegistry
    from infra.sandbox.engine.wire import PropertyMap

Registry = Callable[[Mapping[str, str]], "ProviderRegistry"]
Calls = Mapping[str, Callable[["PropertyMap"], "PropertyMap"]]

VERSION: Final = (3, 259, 0)
"""The CLI whose recorded behaviour this engine follows."""

_EXIT_ERROR: Final = 1
_EXIT_USAGE: Final = 2
_EXIT_STACK_NOT_FOUND: Final = 6
_UPDATES: Final = frozenset({("preview",), ("up",), ("refresh",), ("destroy",)})

_USER_ERRORS: Final = (
    BackendError,
    CheckpointError,
    CommandFailedError,
    ConfigError,
    JournalError,
    ProjectError,
    SecretsError,
    StateEditError,
    StorageError,
    UsageError,
)

_HANDLERS: Final[Mapping[tuple[str, ...], Callable[[Session], None]]] = {
    ("about",): cli_stack.about,
    ("cancel",): cli_stack.cancel,
    ("config",): cli_config.show,
    ("config", "get"): cli_config.get,
    ("config", "refresh"): cli_config.refresh,
    ("config", "rm"): cli_config.remove,
    ("config", "rm-all"): cli_config.remove,
    ("config", "set"): cli_config.set_one,
    ("config", "set-all"): cli_config.set_all,
    ("destroy",): cli_update.destroy,
    ("install",): cli_stack.no_plugins,
    ("org", "get-default"): cli_stack.default_organization,
    ("plugin", "install"): cli_stack.no_plugins,
    ("plugin", "ls"): cli_stack.list_plugins,
    ("plugin", "rm"): cli_stack.no_plugins,
    ("preview",): cli_update.preview,
    ("refresh",): cli_update.refresh,
    ("stack",): cli_stack.show,
    ("stack", "change-secrets-provider"): cli_stack.change_secrets_provider,
    ("stack", "export"): cli_stack.export,
    ("stack", "history"): cli_stack.history,
    ("stack", "import"): cli_stack.import_,
    ("stack", "init"): cli_stack.init,
    ("stack", "ls"): cli_stack.list_stacks,
    ("stack", "output"): cli_stack.output,
    ("stack", "rename"): cli_stack.rename,
    ("stack", "rm"): cli_stack.remove,
    ("stack", "select"): cli_stack.select,
    ("stack", "tag", "get"): cli_stack.tag_get,
    ("stack", "tag", "ls"): cli_stack.tag_list,
    ("stack", "tag", "rm"): cli_stack.tag_remove,
    ("stack", "tag", "set"): cli_stack.tag_set,
    ("state", "delete"): cli_state.delete,
    ("state", "protect"): cli_state.protect,
    ("state", "rename"): cli_state.rename,
    ("state", "taint"): cli_state.taint,
    ("state", "unprotect"): cli_state.unprotect,
    ("state", "untaint"): cli_state.untaint,
    ("up",): cli_update.up,
    ("version",): cli_stack.version,
    ("whoami",): cli_stack.whoami,
}


class EmbeddedCommand:
    """Runs the CLI's commands on the embedded engine; takes the place of ``PulumiCommand``."""

    command = "pulumi (embedded)"

    def __init__(
        self,
        home: Path,
        *,
        cloud_identity: str | None = None,
        environment: Mapping[str, str] | None = None,
        python: Path | None = None,
        registry: Registry | None = None,
        composers: Mapping[str, Composer] | None = None,
        calls: Calls | None = None,
        run_update: Callable[[UpdateContext, UpdateOptions], UpdateResult] | None = None,
    ) -> None:
        """Open the sandbox whose state is under `home`.

        `cloud_identity` names the cloud that is running: a state that describes another one is
        refused. `environment` is what commands and programs start from (this process's, if None),
        `python` the interpreter that runs programs (the project's, if None).
        The rest replaces parts of the engine, which are otherwise loaded when an update needs
        them: `registry` gets a command's environment and makes providers.
        """
        self._environment = process_environment(environment)
        self._engine = Engine(
            home=home,
            version="v" + ".".join(map(str, VERSION)),
            cloud_identity=cloud_identity,
            registry=registry or functools.partial(_drivers, home),
            composers=_composers if composers is None else lambda: composers,
            calls=_calls if calls is None else lambda: calls,
            run_update=run_update or _run_update,
            program=functools.partial(_program, python),
            now=_now,
        )

    @property
    def version(self) -> VersionInfo:
        """The version that the Automation API takes this for."""
        from semver import VersionInfo

        return VersionInfo(*VERSION)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run a command as ``PulumiCommand.run`` does; raises the SDK's ``CommandError``."""
        from pulumi.automation import CommandResult

        output = _Lines(on_output)
        errors = _Lines(on_error)
        command: Command | None = None
        try:
            invocation = parse(args)
            command = invocation.command
            directory = Path(cwd) / (invocation.options.cwd or "")
            session = Session(
                engine=self._engine,
                invocation=invocation,
                directory=directory.resolve(),
                environment={**self._environment, **additional_env},
                command_line=shlex.join(("pulumi", *command.words)),
                out=output,
                err=errors,
                # What the user's shell says is meant for the CLI.
                backend_url=additional_env.get("PULUMI_BACKEND_URL", ""),
            )
            if invocation.help:
                cli_stack.show_help(session)
            else:
                _HANDLERS[command.words](session)
        except _USER_ERRORS as error:
            errors(f"error: {error}")
            result = CommandResult(output.text, errors.text, _exit_code(error))
            raise _command_error(result, command) from error
        except OSError as error:
            if error.filename is None:
                raise
            errors(f"error: {storage_error(Path(error.filename), error)}")
            result = CommandResult(output.text, errors.text, _EXIT_ERROR)
            raise _command_error(result, command) from error
        return CommandResult(output.text, errors.text, 0)


class _Lines:
    """Gathers lines, and hands each on as it comes."""

    def __init__(self, listener: Callable[[str], Any] | None) -> None:
        self._listener = listener
        self._lines: list[str] = []

    def __call__(self, text: str) -> None:
        for line in text.split("\n"):
            self._lines.append(line.rstrip())
            if self._listener is not None:
                self._listener(line.rstrip())

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


def _exit_code(error: Exception) -> int:
    if isinstance(error, CommandFailedError):
        return error.code
    if isinstance(error, StackNotFoundError):
        return _EXIT_STACK_NOT_FOUND
    return _EXIT_USAGE if isinstance(error, UsageError) else _EXIT_ERROR


def _command_error(result: CommandResult, command: Command | None) -> Exception:
    """Give the SDK's error for a result.

    The SDK tells errors apart by their text. What an update says is the cloud's words, which may
    read like one about stacks ("… stack … already exists"): only its output tells its kind.
    """
    from pulumi.automation import CommandResult
    from pulumi.automation.errors import create_command_error

    about_stack = result.stderr.startswith(("error: no stack named", "error: [409]"))
    if command is None or command.words not in _UPDATES or about_stack:
        return create_command_error(result)
    kind = type(create_command_error(CommandResult(result.stdout, "", result.code)))
    return kind(result)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _drivers(home: Path, environment: Mapping[str, str]) -> ProviderRegistry:
    from infra.sandbox.engine.drivers import registry

    return registry(environment, home)


def _composers() -> Mapping[str, Composer]:
    from infra.sandbox.engine.composers import COMPOSERS

    return COMPOSERS


def _calls() -> Calls:
    from infra.sandbox.engine.composers import CALLS

    return CALLS


def _run_update(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
    from infra.sandbox.engine.deployment import run_update

    return run_update(context, options)


def _program(
    python: Path | None, project: Project, environment: Mapping[str, str], client: str | None
) -> ProgramRunner:
    from infra.sandbox.engine.program import ChildProgram, ClientProgram

    if client:
        return ClientProgram(client)
    return ChildProgram(
        project.program_directory,
        python=python or project.python,
        root=project.root,
        environment=environment,
    )

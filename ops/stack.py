"""`open_stack`: the Automation API over the project's own Pulumi.yaml, in either mode.

Stack files are read and never written: neither `save_stack_settings` nor `stack_settings=` is
used, since the SDK drops structured values from the file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from infra import naming
from ops import homes
from ops.access import (
    PROJECT_FILE,
    Access,
    StackKind,
    account_settings,
    project,
    stack_name,
)
from ops.errors import OpsError, UsageError

if TYPE_CHECKING:
    from pulumi.automation import CommandResult, LocalWorkspace, PulumiCommand, Stack

    from ops.homes import Home, InlineKind

MINIMUM_CLI: Final = (3, 181, 0)
"""The first CLI whose refresh and destroy take an inline program."""

_PROVIDER: Final = "secretsprovider"
_KEY: Final = "encryptedkey"
_SALT: Final = "encryptionsalt"
"""What the Pulumi CLI writes into a stack file of what encrypts its state."""

_INSTALL: Final = (
    "Install the Pulumi CLI (https://www.pulumi.com/docs/install/; on macOS "
    "`brew install pulumi/tap/pulumi`, else `curl -fsSL https://get.pulumi.com | sh`), or put "
    "--sandbox before the command to rehearse with neither CLI nor account."
)


def open_stack(
    access: Access,
    kind: StackKind = "environment",
    *,
    create: bool = True,
    teardown: bool = False,
    keyed: bool = True,
) -> Stack:
    """Open an environment's stack, the one that outlives it, or that of its account.

    `teardown`: the account's stack protects nothing, whatever its environments ask for. `keyed`:
    it has to be certain what encrypts the state of an environment on AWS.
    In the sandbox a stack that is not there yet is made, empty, unless `create` says no. On AWS
    it has to be there: where its state lives, and the key of its secrets, are chosen once, when
    it is initialised. Raises `OpsError` where there is none.
    """
    from pulumi import automation

    if kind != "environment":
        home = homes.find(access, kind)
        if home is None and access.mode == "sandbox" and create:
            home = homes.embedded(access)
        if home is None:
            raise OpsError(_not_bootstrapped(access, kind))
        return open_at(access, kind, home, create=create, teardown=teardown)
    if access.mode == "aws" and access.settings.backend.url is None:
        raise UsageError(
            f"{naming.stack_file(access.environment)} does not say where the state is: backend.url "
            "is missing. Nothing was run. Write the s3:// URL of the environment's state bucket, "
            "which `ops bootstrap` prints, or the address of a Pulumi Cloud, under "
            "mono-repo:settings, backend, url."
        )
    name = stack_name(kind, access.settings)
    options = automation.LocalWorkspaceOptions(
        work_dir=str(access.root),
        env_vars={**access.variables, **access.deploying()},
        pulumi_command=_command(access),
    )
    making = create and access.mode == "sandbox"
    select = automation.create_or_select_stack if making else automation.select_stack
    try:
        stack = select(name, work_dir=options.work_dir, opts=options)
    except automation.StackNotFoundError as error:
        raise OpsError(_not_initialised(access, name)) from error
    if access.mode == "aws" and keyed:
        _require_key(access, stack)
    return stack


@contextmanager
def open_to_look(access: Access, kind: StackKind) -> Iterator[Stack]:
    """Open a stack for a preview that comes to nothing else.

    Where an inline stack is nowhere on AWS yet, an empty one is made for that long.
    """
    if kind == "environment" or access.mode == "sandbox" or homes.find(access, kind):
        yield open_stack(access, kind)
        return
    with tempfile.TemporaryDirectory(prefix="mono-repo-ops-") as folder:
        yield open_at(access, kind, homes.new_at(Path(folder) / "state"), create=True)


def open_at(
    access: Access, kind: InlineKind, home: Home, *, create: bool, teardown: bool = False
) -> Stack:
    """Open a bootstrap or account stack in one home of its state.

    `create`: where it is not there yet it is made, empty. Raises `OpsError` where there is none.
    """
    from pulumi import automation

    name = stack_name(kind, access.settings)
    options = automation.LocalWorkspaceOptions(
        work_dir=str(_work_dir(access, kind, home)),
        env_vars=homes.variables(access, home),
        pulumi_command=_command(access),
        secrets_provider=home.secrets_provider,
    )
    program = (
        _bootstrap_program(access)
        if kind == "bootstrap"
        else _account_program(access, teardown=teardown)
    )
    select = automation.create_or_select_stack if create else automation.select_stack
    try:
        stack = select(name, project_name=project(kind), program=program, opts=options)
    except automation.StackNotFoundError as error:
        raise OpsError(
            f"There is no stack {name!r} of {project(kind)} in {home.url}. Nothing was run."
        ) from error
    except automation.CommandError as error:
        raise _told(error) from error
    if not home.is_local:
        _note_key(Path(options.work_dir or "") / naming.stack_file(name), stack, home)
    return stack


def _require_key(access: Access, stack: Stack) -> None:
    """Refuse a stack file that says something else of what encrypts its state than the settings.

    The CLI would encrypt the state by that from then on; without the key beside the provider it
    makes another at each run. Where the file says nothing the CLI takes what the state says
    (`KEEPING_THE_KEY`); where that says nothing either, a passphrase, its default for a bucket.
    """
    wanted = access.settings.backend.secrets_provider
    if not wanted.startswith("awskms://"):
        return  # a Pulumi Cloud keeps the key itself
    file = naming.stack_file(access.environment)
    parts = (line.partition(":") for line in (access.root / file).read_text("utf-8").splitlines())
    said = {key: value.strip().strip("'\"") for key, _, value in parts}
    if said.get(_PROVIDER) == wanted and said.get(_KEY):
        return
    provider = (exported(stack)["deployment"] or {}).get("secrets_providers") or {}
    state = provider.get("state") or {}
    if state.get("url") == wanted:
        if not {_PROVIDER, _KEY, _SALT} & said.keys():
            return
        to_do = (
            f"The state has it. Write these lines into {file}, not indented, and commit it:\n"
            f"    {_PROVIDER}: {wanted}\n    {_KEY}: {state[_KEY]}"
        )
    else:
        to_do = (
            f"The state's secrets are encrypted by {provider.get('type') or 'nothing yet'}. In a "
            "shell that can read them:\n"
            f"    pulumi stack change-secrets-provider '{wanted}' --stack {stack.name}\n"
            f"It writes both lines into {file}; then commit it."
        )
    found = said.get(_PROVIDER) or ("a passphrase's" if said.get(_SALT) else "nothing")
    raise UsageError(
        f"{file} does not say what encrypts the state: expected {_PROVIDER} {wanted} and its "
        f"{_KEY}; found {found}{'' if said.get(_KEY) else f' and no {_KEY}'}. Nothing was run, "
        f"since the Pulumi CLI would choose by itself and write the file. {to_do}"
    )


def _note_key(file: Path, stack: Stack, home: Home) -> None:
    """See that the program's own stack file names the key of the state's secrets.

    On a machine that has never run the stack there is none, and the CLI would encrypt by a
    passphrase from then on.
    """
    if file.exists() and f"{_PROVIDER}: {home.secrets_provider}\n" in file.read_text("utf-8"):
        return
    provider = (exported(stack)["deployment"] or {}).get("secrets_providers") or {}
    state = provider.get("state") or {}
    lines = [f"{_PROVIDER}: {home.secrets_provider}"]
    if state.get("url") == home.secrets_provider:
        lines.append(f"{_KEY}: {state[_KEY]}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def exported(stack: Stack, *, show_secrets: bool = False) -> dict[str, Any]:
    """Export a stack's state; the Automation API's own method always shows the secrets."""
    shown = ["--show-secrets"] if show_secrets else []
    result = run_cli(stack, ["stack", "export", *shown, "--stack", stack.name])
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def run_cli(stack: Stack, arguments: list[str]) -> CommandResult:
    """Run a command of the CLI for which the Automation API has no method, as the stack's own."""
    from pulumi.automation import CommandError

    workspace = cast("LocalWorkspace", stack.workspace)
    try:
        return workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))
    except CommandError as error:
        raise _told(error) from error


def _told(error: Exception) -> OpsError:
    from ops.update import error_text, refusal

    return refusal(error) or OpsError(error_text(error))


def _work_dir(access: Access, kind: InlineKind, home: Home) -> Path:
    """Give the folder that an inline program runs in, the same at every run.

    What the CLI notes about the stack's secrets it writes there, and never into the stack files
    of the project. A state on this machine has other secrets than one in a bucket.
    """
    folder = home.folder / "program" if home.folder else access.records / "programs" / kind
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PROJECT_FILE
    text = f"name: {project(kind)}\nruntime: python\n"
    # Written here, because the SDK would note the current directory in it.
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return folder


def _not_bootstrapped(access: Access, kind: InlineKind) -> str:
    env = access.environment
    if access.mode == "sandbox":
        return (
            f"The sandbox has no stack {stack_name(kind, access.settings)!r} of {project(kind)} "
            f"yet: make it with `ops --sandbox bootstrap {env}` or `ops sandbox start {env}`."
        )
    make = f"ops bootstrap {env}" if kind == "bootstrap" else "ops bootstrap account"
    return (
        f"There is no state of {project(kind)} on this machine, nor in a state bucket of account "
        f"{access.settings.account_id}. Nothing was run. Make it with: {make}"
    )


def _command(access: Access) -> PulumiCommand:
    if access.mode == "sandbox":
        from ops.sandbox import embedded_command

        return embedded_command(access)
    return installed_command()


def require_cli() -> None:
    """Refuse early where the machine has no Pulumi CLI: before any question of credentials."""
    if shutil.which("pulumi") is None:
        raise OpsError(f"No `pulumi` was found on the PATH. Nothing was run. {_INSTALL}")


def installed_command() -> PulumiCommand:
    """Give the Pulumi CLI of this machine; raises `OpsError` where it cannot be used."""
    require_cli()
    from pulumi.automation import InvalidVersionError, PulumiCommand
    from semver import VersionInfo

    try:
        return PulumiCommand(version=VersionInfo(*MINIMUM_CLI))
    except OSError as error:
        raise OpsError(
            f"The `pulumi` on the PATH cannot be run ({error}). Nothing was run. {_INSTALL}"
        ) from error
    except subprocess.CalledProcessError as error:
        raise OpsError(
            f"`pulumi version` failed with exit code {error.returncode}. Nothing was run. "
            f"{_INSTALL}"
        ) from error
    except InvalidVersionError as error:
        minimum = ".".join(map(str, MINIMUM_CLI))
        raise OpsError(
            f"The installed Pulumi CLI cannot be used; {minimum} or later is needed. {error} "
            f"Nothing was run. {_INSTALL}"
        ) from error


def _bootstrap_program(access: Access) -> Callable[[], None]:
    def program() -> None:
        import pulumi

        from stacks import bootstrap

        for name, value in bootstrap.build(access.settings).to_exports().items():
            pulumi.export(name, value)

    return program


def _account_program(access: Access, *, teardown: bool) -> Callable[[], None]:
    environments = account_settings(access.root, access.settings)
    if teardown:
        environments = tuple(
            item.model_copy(update={"deletion_protection": False}) for item in environments
        )

    def program() -> None:
        import pulumi

        from stacks import account

        for name, value in account.build(environments).to_exports().items():
            pulumi.export(name, value)

    return program


def _not_initialised(access: Access, name: str) -> str:
    env = access.environment
    if access.mode == "sandbox":
        return f"The sandbox has no stack {name!r} yet: make it with `ops sandbox start {env}`."
    backend = access.settings.backend
    return (
        f"There is no stack {env!r} in the backend {backend.url}. Nothing was run. "
        "If that is the right backend, initialise the stack once:\n"
        f'    eval "$(ops env {env})"\n'
        f"    pulumi stack init {env} --secrets-provider '{backend.secrets_provider}'\n"
        f"It writes two lines into {naming.stack_file(env)}: commit them."
    )

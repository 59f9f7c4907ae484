"""`open_stack`: the Automation API over the project's own Pulumi.yaml, in either mode.

Stack files are read and never written: neither `save_stack_settings` nor `stack_settings=` is
used, since the SDK drops structured values from the file.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infra import naming
from ops.access import Access, StackKind, account_settings, project, stack_name
from ops.errors import OpsError, RefusedError, UsageError

if TYPE_CHECKING:
    from pulumi.automation import PulumiCommand, Stack

MINIMUM_CLI: Final = (3, 181, 0)
"""The first CLI whose refresh and destroy take an inline program."""

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
) -> Stack:
    """Open an environment's stack, or that of its account.

    `teardown`: the account's stack protects nothing, whatever its environments ask for.
    In the sandbox a stack that is not there yet is made, empty, unless `create` says no. On AWS
    it has to be there: where its state lives, and the key of its secrets, are chosen once, when
    it is initialised. Raises `OpsError` where there is none.
    """
    from pulumi import automation

    name = stack_name(kind, access.settings)
    if access.mode == "aws":
        _refuse_on_aws(access, kind)
    options = automation.LocalWorkspaceOptions(
        work_dir=str(_work_dir(access, kind)),
        env_vars=access.variables,
        pulumi_command=_command(access),
    )
    select = (
        automation.create_or_select_stack
        if create and access.mode == "sandbox"
        else automation.select_stack
    )
    try:
        if kind == "environment":
            return select(name, work_dir=options.work_dir, opts=options)
        program = (
            _bootstrap_program(access)
            if kind == "bootstrap"
            else _account_program(access, teardown=teardown)
        )
        return select(name, project_name=project(kind), program=program, opts=options)
    except automation.StackNotFoundError as error:
        raise OpsError(_not_initialised(access, name)) from error


def _refuse_on_aws(access: Access, kind: StackKind) -> None:
    env = access.environment
    if kind == "bootstrap":
        raise RefusedError(
            "The bootstrap stack makes the bucket that its own state is then moved into. On AWS "
            "this release of ops does not do that move yet, so nothing was run. "
            f"To rehearse it: ops --sandbox preview {env} --stack bootstrap"
        )
    if kind == "account":
        raise RefusedError(
            "Where the account stack's state lives is made by the bootstrap, as its own state's "
            "home is. On AWS this release of ops does not move them there yet, so nothing was "
            f"run. To rehearse it: ops --sandbox preview {env} --stack account"
        )
    if access.settings.backend.url is None:
        raise UsageError(
            f"{naming.stack_file(env)} does not say where the state is: backend.url is missing. "
            "Nothing was run. Write the s3:// URL of the environment's state bucket, or the "
            "address of a Pulumi Cloud, under mono-repo:settings, backend, url."
        )


def _work_dir(access: Access, kind: StackKind) -> Path:
    if kind == "environment":
        return access.root
    from ops.sandbox import inline_directory

    return inline_directory(access, kind)


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
        f"    pulumi stack init {env} --secrets-provider '{backend.secrets_provider}'"
    )

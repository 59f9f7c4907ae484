"""Lines for a shell that point `pulumi` and `aws` at an environment."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from infra import naming
from ops.access import KEEPING_THE_KEY, endpoint_variables

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access


_MARKER: Final = "MONO_REPO_SANDBOX"
"""Says that a shell was pointed at the sandbox."""

_OF_THE_SANDBOX: Final = (
    _MARKER,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
)
"""What a shell that was pointed at the sandbox has of it, besides endpoints."""


def lines(
    settings: Settings, access: Access | None, environment: Mapping[str, str] = os.environ
) -> tuple[list[str], list[str]]:
    """Give what to evaluate, and what to tell the person. `access`: the sandbox's, if it is meant.

    On AWS no credential is printed: it stays with the caller's own profile. What an earlier
    evaluation of the sandbox's lines left in the shell's `environment` is taken back.
    """
    if access is not None:
        exports = {**access.variables, _MARKER: "1"}
        notes = [
            f"# {settings.environment} in the {access.cloud}: these credentials open nothing else"
        ]
        return [_export(name, value) for name, value in sorted(exports.items())], notes
    role = naming.deploy_role_arn(settings.account_id, settings.environment)
    notes = [
        f"# {settings.environment}: account {settings.account_id}, {settings.region}",
        f"# first assume {role} in this shell, then run pulumi:",
        "# it reaches the state bucket and its key with the shell's own credentials",
        f"# secrets provider: {settings.backend.secrets_provider}",
    ]
    exports = {
        "AWS_REGION": settings.region,
        "PULUMI_STACK": settings.environment,
        **KEEPING_THE_KEY,
    }
    names = dict.fromkeys(["AWS_ENDPOINT_URL", *endpoint_variables(environment)])
    if environment.get(_MARKER):
        names |= dict.fromkeys(_OF_THE_SANDBOX)
        notes.append("# this shell had the sandbox's credentials: they are unset")
    unset = [f"unset {name}" for name in names]
    if settings.backend.url:
        exports["PULUMI_BACKEND_URL"] = settings.backend.url
    else:
        file = naming.stack_file(settings.environment)
        notes.append(f"# no backend: {file} has no backend.url yet")
        unset.append("unset PULUMI_BACKEND_URL")
    return [*unset, *(_export(name, value) for name, value in sorted(exports.items()))], notes


def _export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"

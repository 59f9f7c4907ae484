"""Lines for a shell that point `pulumi` and `aws` at an environment."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from infra import naming

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access


def lines(settings: Settings, access: Access | None) -> tuple[list[str], list[str]]:
    """Give what to evaluate, and what to tell the person. `access`: the sandbox's, if it is meant.

    On AWS no credential is printed: it stays with the caller's own profile.
    """
    if access is not None:
        exports = dict(access.variables)
        notes = [
            f"# {settings.environment} in the {access.cloud}: these credentials open nothing else"
        ]
        return [_export(name, value) for name, value in sorted(exports.items())], notes
    role = naming.deploy_role_arn(settings.account_id, settings.environment)
    notes = [
        f"# {settings.environment}: account {settings.account_id}, {settings.region}",
        f"# credentials: any profile that may assume {role}",
        f"# secrets provider: {settings.backend.secrets_provider}",
    ]
    exports = {"AWS_REGION": settings.region, "PULUMI_STACK": settings.environment}
    unset = ["unset AWS_ENDPOINT_URL"]
    if settings.backend.url:
        exports["PULUMI_BACKEND_URL"] = settings.backend.url
    else:
        file = naming.stack_file(settings.environment)
        notes.append(f"# no backend: {file} has no backend.url yet")
        unset.append("unset PULUMI_BACKEND_URL")
    return [*unset, *(_export(name, value) for name, value in sorted(exports.items()))], notes


def _export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"

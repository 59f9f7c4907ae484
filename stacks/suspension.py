"""Whether an environment is stopped: asked of the Parameter Store at each run."""

from __future__ import annotations

import datetime as dt

from pulumi import InvokeOptions, RunError, log
from pulumi_aws.provider import Provider
from pulumi_aws.ssm.get_parameters_by_path import get_parameters_by_path

from infra import naming
from infra.settings import Settings
from infra.suspension import Suspension, SuspensionError, parse


def find(settings: Settings, aws: Provider, now: dt.datetime) -> Suspension | None:
    """Read the record of the environment's suspension, and warn of it; None: it runs.

    Raises `pulumi.RunError` where it cannot be read or relied on: a run that guessed would start
    what was stopped, or stop what runs.
    """
    env = settings.environment
    path = naming.parameter_path(env, naming.OPS_APP)
    try:
        found = get_parameters_by_path(
            path=path, recursive=True, with_decryption=False, opts=InvokeOptions(provider=aws)
        )
    except Exception as error:  # noqa: BLE001 - the SDK raises nothing more particular
        raise RunError(
            f"Whether {env} is suspended could not be read from {path} in the Parameter Store "
            f"({str(error).rstrip('.')}). Nothing was changed. See what is missing with: "
            f"ops doctor {env}. Where there is no bootstrap yet, bring it up first: "
            f"ops up {env} --stack bootstrap"
        ) from None
    try:
        suspension = parse(env, dict(zip(found.names, found.values, strict=True)))
    except SuspensionError as error:
        raise RunError(str(error)) from None
    if suspension is not None:
        log.warn(told(env, suspension, now))
    return suspension


def told(env: str, suspension: Suspension, now: dt.datetime) -> str:
    """Say what somebody has to know who changes a stopped environment."""
    since = f"{suspension.since:%Y-%m-%d %H:%M} UTC"
    until = f" until {suspension.until:%Y-%m-%d %H:%M} UTC" if suspension.until else ""
    overdue = " That is past." if suspension.is_overdue(now) else ""
    return (
        f"{env} is suspended since {since}{until}, by {suspension.actor}: {suspension.reason}."
        f"{overdue} It has no nodes and its alarms tell nobody, so that changes of what runs in "
        f"the cluster wait in vain. Start it with: ops start {env}"
    )

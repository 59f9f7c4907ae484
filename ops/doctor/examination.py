"""The doctor's round: this machine first, then who is asking, then what is in the account."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ops import access as accesses
from ops import checks
from ops.checks import Check
from ops.doctor import cloud, machine, permissions, quotas
from ops.doctor.questions import Question, answers
from ops.errors import AuthenticationError, ExitCode, UsageError
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access
    from ops.commands import Setting

ACCESS_SECONDS = 30.0
"""How long it may take to learn who is asking; the sandbox's cloud may have to be started."""

_OF_THE_ACCOUNT: tuple[tuple[str, Callable[[Access], Check]], ...] = (
    ("account", cloud.account),
    ("region", cloud.region),
    ("bootstrap", cloud.bootstrap),
    ("backend", cloud.backend),
    ("secrets key", cloud.secrets_key),
    ("lock", cloud.environment_lock),
    ("pulumi lock", cloud.pulumi_lock),
    ("suspension", cloud.suspended),
    ("cluster", cloud.cluster),
)


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """What was found."""

    environment: str
    mode: Literal["aws", "sandbox"]
    header: Header | None
    """Where was looked; None where nobody could be asked."""
    checks: tuple[Check, ...]
    authenticated: bool
    command: Literal["doctor"] = "doctor"
    version: int = REPORT_VERSION


def examine(setting: Setting, environment: str) -> DoctorReport:
    """Look at everything that a command on an environment stands on; change nothing."""
    accesses.require_environment(environment)
    mode: accesses.Mode = "sandbox" if setting.sandbox else "aws"
    here = _machine(setting, environment, mode)
    try:
        settings = accesses.load_settings(setting.root, environment)
    except UsageError:
        return DoctorReport(
            environment=environment, mode=mode, header=None, checks=here, authenticated=True
        )
    variables = answers(
        [
            Question(name="endpoint", ask=lambda: machine.endpoints(mode)),
            Question(name="backend variable", ask=lambda: machine.backend_variable(mode, settings)),
            Question(
                name="secrets provider",
                ask=lambda: machine.secrets_provider(mode, settings, setting.root),
            ),
        ]
    )
    reached: list[Access] = []
    caller = answers(
        [
            Question(
                name="credentials",
                ask=lambda: _caller(setting, settings, mode, reached),
                seconds=ACCESS_SECONDS,
            )
        ]
    )
    access = reached[0] if reached else None
    return DoctorReport(
        environment=environment,
        mode=mode,
        header=access.header() if access else None,
        checks=(
            *here,
            *variables,
            *caller,
            *_clock(settings, access),
            *(_account(access) if access else _unasked()),
        ),
        authenticated=not any(check.status == "fail" for check in caller),
    )


def exit_code(report: DoctorReport) -> ExitCode:
    """Give the exit code: who is nobody has to sign in before anything else."""
    if not report.authenticated:
        return ExitCode.NOT_AUTHENTICATED
    return checks.exit_code(report.checks)


def _machine(setting: Setting, environment: str, mode: accesses.Mode) -> tuple[Check, ...]:
    root = setting.root
    return answers(
        [
            Question(name="python", ask=machine.python),
            Question(name="packages", ask=lambda: machine.packages(root)),
            Question(name="pulumi cli", ask=lambda: machine.cli(mode)),
            Question(name="pulumi plugins", ask=lambda: machine.plugins(mode)),
            Question(name="aws cli", ask=lambda: machine.aws_cli(mode)),
            Question(name="disk", ask=lambda: machine.disk(root)),
            Question(name="stack file", ask=lambda: machine.stack_file(root, environment)),
        ]
    )


def _caller(
    setting: Setting, settings: Settings, mode: accesses.Mode, reached: list[Access]
) -> Check:
    """Learn who is asking; what the other questions need is left in `reached`."""
    try:
        access = _access(setting, settings, mode)
    except AuthenticationError as error:
        return Check(
            name="credentials",
            status="fail",
            found=str(error),
            expected=f"somebody in account {settings.account_id}",
            remedy="sign in, for example `aws sso login`, or set AWS_PROFILE",
        )
    reached.append(access)
    return Check(name="credentials", status="ok", found=access.caller)


def _access(setting: Setting, settings: Settings, mode: accesses.Mode) -> Access:
    if mode == "sandbox":
        return setting.access(settings.environment)
    # What leads elsewhere has a line of its own, and hides nothing else.
    misleading = ("PULUMI_BACKEND_URL", *accesses.endpoint_variables(os.environ))
    kept = {name: value for name, value in os.environ.items() if name not in misleading}
    return accesses.aws(setting.root, settings, kept)


def _clock(settings: Settings, access: Access | None) -> tuple[Check, ...]:
    endpoint = access.variables.get("AWS_ENDPOINT_URL", "") if access else ""
    return answers(
        [Question(name="clock", ask=lambda: cloud.clock(settings.region, endpoint), seconds=10.0)]
    )


def _unasked() -> tuple[Check, ...]:
    """Give the lines of what nobody could be asked."""
    names = (*(name for name, _ in _OF_THE_ACCOUNT), "permissions", "quotas")
    return tuple(
        Check(name=name, status="skipped", found="nobody could be asked") for name in names
    )


def _account(access: Access) -> tuple[Check, ...]:
    role = answers([Question(name="deploy role", ask=lambda: cloud.deploy_role(access))])
    # Before there is such a role one looks as oneself.
    able = replace(access, client=access.own_client) if role[0].status != "ok" else access
    questions = [Question(name=name, ask=partial(ask, able)) for name, ask in _OF_THE_ACCOUNT]
    asked = (*questions, *permissions.questions(able), *quotas.questions(able))
    return (*role, *answers(asked))

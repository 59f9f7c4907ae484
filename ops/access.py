"""Where a command acts and with whose credentials: the same plain data in both modes.

`aws()` looks at AWS and refuses what is not the stack's account; `ops.sandbox.access` gives the
sandbox's counterpart.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops.errors import AuthenticationError, OpsError, RefusedError, UsageError
from ops.report import Header

if TYPE_CHECKING:
    from botocore.config import Config

    from infra.settings import Settings

Mode = Literal["aws", "sandbox"]
StackKind = Literal["environment", "bootstrap", "account"]

PROJECT_FILE: Final = "Pulumi.yaml"

_PROJECTS: Final[Mapping[StackKind, str]] = {
    "environment": naming.PROJECT,
    "bootstrap": naming.BOOTSTRAP_PROJECT,
    "account": naming.ACCOUNT_PROJECT,
}
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_INVALID: Final = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "AuthFailure",
    }
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """An environment, and what reaches it."""

    mode: Mode
    root: Path
    settings: Settings
    cloud: str
    """As `Header.cloud`."""
    caller: str
    variables: Mapping[str, str]
    """What the Pulumi CLI, or the embedded engine, and the program find in their environment."""
    client: Callable[[str], Any]
    """A service's name → its boto3 client, in the environment's account and region."""
    backend: str = ""

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.settings.environment

    def header(self, kind: StackKind = "environment") -> Header:
        """Say where a command on one of the environment's stacks acts."""
        return Header(
            mode=self.mode,
            environment=self.environment,
            stack=f"{project(kind)}/{stack_name(kind, self.settings)}",
            account_id=self.settings.account_id,
            region=self.settings.region,
            cloud=self.cloud,
            caller=self.caller,
            backend=self.backend,
        )


def project(kind: StackKind) -> str:
    """Give the Pulumi project of a kind of stack."""
    return _PROJECTS[kind]


def stack_name(kind: StackKind, settings: Settings) -> str:
    """Give the name of a stack: the environment's, or its account's, which others may share."""
    return settings.account_id if kind == "account" else settings.environment


def find_root(start: Path) -> Path:
    """Find the project: the nearest folder upward that has a Pulumi.yaml."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise UsageError(
        f"No {PROJECT_FILE} was found in {start} or above it, so there is no project to work on. "
        "Nothing was run. Change to the project's folder, or name it: ops --root FOLDER ..."
    )


def require_environment(environment: str, undone: str = "Nothing was run.") -> None:
    """Raise `UsageError` for an environment that there is not."""
    if environment not in naming.ENVIRONMENTS:
        known = ", ".join(naming.ENVIRONMENTS)
        raise UsageError(f"There is no environment {environment!r}; there are {known}. {undone}")


def load_settings(root: Path, environment: str) -> Settings:
    """Read the stack file of an environment.

    Raises `UsageError` with every problem of the file.
    """
    from infra.settings import SettingsError, load

    require_environment(environment)
    try:
        return load(environment, root, dt.datetime.now(tz=dt.UTC).date())
    except SettingsError as error:
        raise UsageError(str(error)) from error


def account_settings(root: Path, settings: Settings) -> tuple[Settings, ...]:
    """Give the settings of every environment in the account of one, which comes first.

    Raises `UsageError` where they do not agree on what the account has once, or a stack file
    cannot be read: which account it is in cannot be told then.
    """
    from infra.settings import SettingsError, check_fleet

    others = (env for env in naming.ENVIRONMENTS if env != settings.environment)
    found = [settings, *(load_settings(root, env) for env in others)]
    together = [item for item in found if item.account_id == settings.account_id]
    problems = check_fleet({item.environment: item for item in together})
    if problems:
        raise UsageError(str(SettingsError(problems)))
    return tuple(together)


def aws(root: Path, settings: Settings, environment: Mapping[str, str] = os.environ) -> Access:
    """Look at AWS with the caller's own credentials.

    Raises `AuthenticationError` where there are none, they have expired or they are another
    account's; `RefusedError` where the shell points elsewhere than at AWS or the stack's backend.
    """
    for name in endpoint_variables(environment):
        raise RefusedError(
            f"{name} is {environment[name]}: that is not AWS. Nothing was run. "
            "Unset it to work on AWS, or put --sandbox before the command to rehearse."
        )
    session = _session(settings)
    caller = _caller(session, settings)
    return Access(
        mode="aws",
        root=root,
        settings=settings,
        cloud="AWS",
        caller=caller,
        variables={"AWS_REGION": settings.region, **_backend_variables(settings, environment)},
        client=_deploying_client(session, settings),
        backend=settings.backend.url or "",
    )


def endpoint_variables(environment: Mapping[str, str]) -> list[str]:
    """Give the variables that lead all services, or single ones, elsewhere than to AWS."""
    prefix = "AWS_ENDPOINT_URL"
    return sorted(name for name, value in environment.items() if value and name.startswith(prefix))


def client_config() -> Config:
    """Give the timeouts and retries of every AWS client of these commands."""
    from botocore.config import Config

    return Config(
        connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5}
    )


def _session(settings: Settings) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session(region_name=settings.region)
    except BotoCoreError as error:  # an unknown profile, or a file that cannot be read
        raise _unauthenticated(error, "the session") from error


def _caller(session: Any, settings: Settings) -> str:
    """Ask AWS who we are; give the caller's ARN."""
    from botocore.exceptions import BotoCoreError, ClientError

    file = naming.stack_file(settings.environment)
    try:
        identity = session.client("sts", config=client_config()).get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        raise _unauthenticated(error, "sts:GetCallerIdentity") from error
    if identity["Account"] != settings.account_id:
        raise AuthenticationError(
            f"Wrong account: the credentials are those of {identity['Arn']} in account "
            f"{identity['Account']}; {file} says {settings.account_id}. Nothing was run. "
            "Use a profile of that account (AWS_PROFILE), or correct account_id in the file."
        )
    arn: str = identity["Arn"]
    return arn


def _deploying_client(session: Any, settings: Settings) -> Callable[[str], Any]:
    """Give clients that act as the environment's deploy role; it is assumed at the first use."""
    assumed: list[Any] = []

    def client(service: str) -> Any:
        if not assumed:
            assumed.append(_assumed(session, settings))
        return assumed[0].client(service, config=client_config())

    return client


def _assumed(session: Any, settings: Settings) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    role = naming.deploy_role_arn(settings.account_id, settings.environment)
    try:
        answer = session.client("sts", config=client_config()).assume_role(
            RoleArn=role, RoleSessionName="mono-repo-ops"
        )
    except (ClientError, BotoCoreError) as error:
        raise _unauthenticated(error, f"sts:AssumeRole on {role}") from error
    keys = answer["Credentials"]
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name=settings.region,
    )


def _unauthenticated(error: Exception, action: str) -> OpsError:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code in _EXPIRED:
        found = "The AWS credentials have expired"
    elif code in _INVALID:
        found = "AWS does not know these credentials"
    elif code:
        found = f"AWS refused {action} ({code})"
    elif type(error).__name__ in ("EndpointConnectionError", "ConnectTimeoutError"):
        return OpsError(f"AWS could not be reached: {error}. Nothing was run.")
    else:
        found = f"No usable AWS credentials were found ({error})"
    return AuthenticationError(
        f"{found}. Nothing was run. Sign in (for example `aws sso login`), or name a profile with "
        "AWS_PROFILE; to rehearse without an account, put --sandbox before the command."
    )


def _backend_variables(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    declared = settings.backend.url
    current = environment.get("PULUMI_BACKEND_URL")
    if declared is None:
        return {}
    if current and current.rstrip("/") != declared.rstrip("/"):
        raise RefusedError(
            f"PULUMI_BACKEND_URL is {current}, but the state of {settings.environment} is in "
            f"{declared} ({naming.stack_file(settings.environment)}). Nothing was run. "
            f'Unset it, or run: eval "$(ops env {settings.environment})"'
        )
    return {"PULUMI_BACKEND_URL": declared}

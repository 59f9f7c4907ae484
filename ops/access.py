"""Where a command acts and with whose credentials: the same plain data in both modes.

`aws()` looks at AWS and refuses what is not the stack's account; `ops.sandbox.access` gives the
sandbox's counterpart.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops.errors import AuthenticationError, ExitCode, OpsError, RefusedError, UsageError
from ops.report import Header

if TYPE_CHECKING:
    from botocore.config import Config

    from infra.settings import Settings

Mode = Literal["aws", "sandbox"]
StackKind = Literal["environment", "bootstrap", "account"]

PROJECT_FILE: Final = "Pulumi.yaml"
RECORDS: Final = ".ops"
"""The folder in the project that holds what commands on AWS write down."""

_PROJECTS: Final[Mapping[StackKind, str]] = {
    "environment": naming.PROJECT,
    "bootstrap": naming.BOOTSTRAP_PROJECT,
    "account": naming.ACCOUNT_PROJECT,
}
KEEPING_THE_KEY: Final = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
"""Has the Pulumi CLI go on with what encrypts a state, where a stack file does not say it."""
CONNECTIONS: Final = 32
"""Of one client: as many as steps are done at once."""
ATTEMPTS: Final = 8
"""Where AWS refuses three of ten requests for being too many, one in 15,000 is lost; with 5 it is
one in 400, and a stop has hundreds. The library's quota of retries outlasts such throttling."""
_LONGEST_SESSION: Final = 64
"""Characters of the name of a role's session."""
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
    client: Callable[..., Any]
    """A service's name → its boto3 client, in the environment's account and region, or in the
    region that is named as well."""
    own_client: Callable[[str], Any]
    """As `client`, with the caller's own credentials instead of the deploy role's: before there is
    such a role, and where it matters who asks."""
    records: Path
    """Where this machine keeps what commands write down."""
    deploying: Callable[[], Mapping[str, str]] = dict
    """What makes a process act as the deploy role, beside `variables`, while this one lives."""
    backend: str = ""

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.settings.environment

    @property
    def journals(self) -> Path:
        """Where the journals of runs are."""
        return self.records / "runs"

    @property
    def backups(self) -> Path:
        """Where the copies of backups are."""
        return self.records.parent / "backups"

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
        variables={
            "AWS_REGION": settings.region,
            **KEEPING_THE_KEY,
            **_backend_variables(settings, environment),
        },
        client=_clients(cache(lambda: _assumed(session, settings, caller))),
        own_client=_clients(lambda: session),
        records=root / RECORDS,
        deploying=cache(
            lambda: _deploying(_renewal(session, settings, caller), root / RECORDS, environment)
        ),
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
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )


def session_name(caller: str) -> str:
    """Give the name of a role's session that says whose it is, in the form that STS takes.

    `caller`: an ARN, or any name.
    """
    name = re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", caller.rpartition("/")[2])[:_LONGEST_SESSION]
    return name if len(name) > 1 else f"ops-{name}"


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


def clients(make: Callable[[str, str | None], Any]) -> Callable[..., Any]:
    """Give clients, each made once, that ask AWS no more often than it takes.

    `make`: a service and a region → a boto3 client. Threads may share a client, but no session.
    """
    from ops import rates

    guard = threading.Lock()
    made: dict[tuple[str, str | None], Any] = {}

    def client(service: str, region: str | None = None) -> Any:
        with guard:
            if (service, region) not in made:
                made[service, region] = rates.install(make(service, region))
            return made[service, region]

    return client


def _clients(session: Callable[[], Any]) -> Callable[..., Any]:
    """Give the clients of a session."""
    return clients(
        lambda service, region: session().client(
            service, region_name=region, config=client_config()
        )
    )


Renewal = Callable[[], dict[str, str]]
"""Gives new credentials: access_key, secret_key, token, expiry_time (ISO 8601)."""


def _renewal(session: Any, settings: Settings, caller: str) -> Renewal:
    """Give what takes the environment's deploy role, in the caller's name: so the trail has it."""
    from botocore.exceptions import BotoCoreError, ClientError

    role = naming.deploy_role_arn(settings.account_id, settings.environment)
    # Made once: threads renew, and they may share a client but no session.
    sts = session.client("sts", config=client_config())

    def renew() -> dict[str, str]:
        try:
            answer = sts.assume_role(RoleArn=role, RoleSessionName=session_name(caller))
        except (ClientError, BotoCoreError) as error:
            raise _unauthenticated(error, f"sts:AssumeRole on {role}") from error
        keys = answer["Credentials"]
        return {
            "access_key": keys["AccessKeyId"],
            "secret_key": keys["SecretAccessKey"],
            "token": keys["SessionToken"],
            "expiry_time": keys["Expiration"].isoformat(),
        }

    return renew


def _assumed(session: Any, settings: Settings, caller: str) -> Any:
    """Give a session of the environment's deploy role, renewed before it ends.

    Whoever is the role already takes it anew, which lasts longer than what is left of theirs;
    where they may not, they go on as they are.
    """
    import boto3
    import botocore.session
    from botocore.credentials import RefreshableCredentials

    renew = _renewal(session, settings, caller)
    try:
        first = renew()
    except AuthenticationError:
        if assumed_role(caller) == naming.deploy_role(settings.environment):
            return session
        raise
    credentials = RefreshableCredentials.create_from_metadata(
        first, refresh_using=renew, method="sts-assume-role"
    )
    own = botocore.session.Session()
    resolver = SimpleNamespace(load_credentials=lambda: credentials)
    own.register_component("credential_provider", resolver)
    return boto3.Session(botocore_session=own, region_name=settings.region)


def _deploying(renew: Renewal, records: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Give what makes a process act as the deploy role; nothing where the caller may not.

    Then it acts as the caller, as previews by a role that only reads do. In a container that brings
    its own credentials it acts as the deploy role like anywhere else.
    """
    from ops.credentials import serve

    try:
        renew()
    except AuthenticationError:
        return {}
    return serve(renew, records, environment)


def assumed_role(arn: str) -> str:
    """Give the role whose session an ARN is; empty where it is none."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    return rest.partition("/")[0] if kind == "assumed-role" else ""


def is_expired(error: Exception) -> bool:
    """Tell whether AWS refused a call because the credentials have ended."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return code in _EXPIRED | _INVALID


def exit_code_of(error: BaseException) -> ExitCode:
    """Give the exit code of a failure: whatever credentials that have ended hinder, it is they."""
    cause = error.__cause__ if isinstance(error, OpsError) else error
    if isinstance(cause, Exception) and is_expired(cause):
        return ExitCode.NOT_AUTHENTICATED
    return error.exit_code if isinstance(error, OpsError) else ExitCode.ERROR


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

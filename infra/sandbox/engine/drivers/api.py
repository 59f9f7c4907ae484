"""API calls to the sandbox's cloud: credentials, endpoints, clients and their errors.

Nothing here ever talks to AWS itself: without an endpoint on loopback every call is refused.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from infra.sandbox.engine.provider import ProviderError

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
CONNECT_TIMEOUT: Final = 5
READ_TIMEOUT: Final = 60
ATTEMPTS: Final = 3
RETRY_PAUSE: Final = 0.1
"""Seconds before the second attempt; doubled before each further one."""
READS: Final = re.compile(r"(describe|get|list|head|lookup)_")
THROTTLED: Final = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
GONE: Final = re.compile(r"NotFound|NoSuch|^404$|DoesNotExist|NotExist|^Unknown.*Id$")
# Endpoint keys of the provider's configuration that differ from botocore's service names.
ENDPOINT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "logs": ("logs", "cloudwatchlogs"),
    "events": ("events", "eventbridge", "cloudwatchevents"),
    "elbv2": ("elbv2", "elb"),
}
_NO_ANSWER: Final = (
    "InternalFailure: the sandbox's cloud failed on it; what failed is in its log"
    " (`ops sandbox status` names it)"
)
ROLE_ARGUMENTS: Final[Mapping[str, str]] = {
    "roleArn": "RoleArn",
    "sessionName": "RoleSessionName",
    "externalId": "ExternalId",
    "policy": "Policy",
}


def is_read(operation: str) -> bool:
    """Tell whether an operation (in snake case) only reads, so that it may be repeated."""
    return READS.match(operation) is not None


class ApiError(ProviderError):
    """An API call that was refused; `code` is AWS's error code."""

    def __init__(self, message: str, code: str, *, maybe_done: bool = False) -> None:
        super().__init__(message, maybe_done=maybe_done)
        self.code = code

    @property
    def gone(self) -> bool:
        """Tell whether the refusal means that the thing is not there."""
        return bool(GONE.search(self.code))

    @property
    def throttled(self) -> bool:
        """Tell whether the call was put off, with nothing done."""
        return self.code in THROTTLED


@dataclass(frozen=True)
class Keys:
    """Credentials of one session."""

    access_key: str
    secret_key: str
    token: str | None = None


class Api:
    """One provider's way to the cloud. Clients are made when first needed, and shared."""

    def __init__(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._config = config
        self._environment = environment
        self._lock = threading.RLock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._keys: Keys | None = None
        self._account = ""
        self.region = self._region()

    @property
    def account(self) -> str:
        """The account that the credentials belong to."""
        with self._lock:
            if not self._account:
                answer = self.call("sts", "get_caller_identity", {}, self.region)
                self._account = str(answer["Account"])
                self._refuse_other_accounts(self._account)
            return self._account

    def call(
        self, service: str, operation: str, args: Mapping[str, Any], region: str
    ) -> dict[str, Any]:
        """Call one operation (in snake case). Raises `ApiError`.

        A throttled call is made again, and so is a read whose answer was lost. What may have acted
        is not: whoever asked finds out first, lest it be done twice.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return self._call_once(service, operation, args, region)
            except ApiError as error:
                if not (error.throttled or (is_read(operation) and error.maybe_done)):
                    raise
                time.sleep(RETRY_PAUSE * 2 ** (attempt - 1))
        return self._call_once(service, operation, args, region)

    def _call_once(
        self, service: str, operation: str, args: Mapping[str, Any], region: str
    ) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        client = self._client(service, region)
        name = client.meta.method_to_api_mapping[operation]
        service_id = str(client.meta.service_model.service_id)
        where = f"operation error {service_id}: {name}"
        try:
            answer: dict[str, Any] = getattr(client, operation)(**args)
        except ClientError as error:
            raise _refused(where, error.response) from error
        except ResponseParserError as error:
            raise ApiError(f"{where}, {_NO_ANSWER}", "InternalFailure", maybe_done=True) from error
        except BotoCoreError as error:
            # What was sent may have arrived, unless it never left or was not sent at all.
            sent = type(error).__name__ not in {
                "EndpointConnectionError",
                "ConnectTimeoutError",
                "ParamValidationError",
            }
            raise ApiError(
                f"{where}, {_without_values(error)}", type(error).__name__, maybe_done=sent
            ) from error
        answer.pop("ResponseMetadata", None)
        return answer

    def argument_shape(self, service: str, operation: str, region: str) -> Any:
        """Give botocore's shape of an operation's arguments."""
        client = self._client(service, region)
        name = client.meta.method_to_api_mapping[operation]
        return client.meta.service_model.operation_model(name).input_shape

    def verify(self) -> None:
        """Refuse credentials of an account that the provider does not allow."""
        if self._config.get("allowedAccountIds") or self._config.get("forbiddenAccountIds"):
            _ = self.account

    def _refuse_other_accounts(self, account: str) -> None:
        allowed = self._config.get("allowedAccountIds")
        forbidden = self._config.get("forbiddenAccountIds") or []
        if (allowed and account not in allowed) or account in forbidden:
            raise ProviderError(f"AWS account ID not allowed: {account}")

    def _region(self) -> str:
        region = self._config.get("region")
        if isinstance(region, str) and region:
            return region
        variables = ("AWS_REGION", "AWS_DEFAULT_REGION")
        return next((self._environment[v] for v in variables if self._environment.get(v)), "")

    def _endpoint(self, service: str) -> str:
        configured = _merged(self._config.get("endpoints"))
        for key in ENDPOINT_KEYS.get(service, (service,)):
            if configured.get(key):
                return _on_loopback(str(configured[key]), f"endpoints.{key} of the aws provider")
        # A service's own variable (AWS_ENDPOINT_URL_S3) is the user's, for another cloud than this.
        if url := self._environment.get("AWS_ENDPOINT_URL"):
            return _on_loopback(url, "AWS_ENDPOINT_URL")
        raise ProviderError(
            f"The sandbox's engine has no endpoint for {service}: neither AWS_ENDPOINT_URL nor the"
            " provider's endpoints name one. It never calls AWS itself; nothing was changed."
            " Start the sandbox's cloud with `make sandbox`."
        )

    def _client(self, service: str, region: str) -> Any:
        key = (service, region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._new_client(service, region, self._session_keys())
            return self._clients[key]

    def _new_client(self, service: str, region: str, keys: Keys) -> Any:
        from botocore.config import Config

        if not region:
            raise ProviderError(
                "Missing region configuration: set `region` on the aws provider or AWS_REGION."
                " Nothing was changed."
            )
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=32,
            s3={"addressing_style": "path"},
        )
        client = _session().create_client(
            service,
            region_name=region,
            endpoint_url=self._endpoint(service),
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token,
            config=config,
        )
        client.meta.events.register_first("request-created.s3-control", _without_account)
        return client

    def _session_keys(self) -> Keys:
        if self._keys is None:
            self._keys = self._base_keys()
            for role in _role_list(self._config):
                self._keys = self._assume(role, self._keys)
        return self._keys

    def _base_keys(self) -> Keys:
        names = (
            ("accessKey", "AWS_ACCESS_KEY_ID"),
            ("secretKey", "AWS_SECRET_ACCESS_KEY"),
            ("token", "AWS_SESSION_TOKEN"),
        )
        if self._config.get("accessKey"):
            access, secret, token = (self._config.get(name) for name, _ in names)
        else:
            access, secret, token = (self._environment.get(variable) for _, variable in names)
        if not access or not secret:
            raise ProviderError(
                "No valid credential sources found: neither the aws provider nor the environment"
                " has an access key. Nothing was changed."
            )
        return Keys(access, secret, token)

    def _assume(self, role: Mapping[str, Any], keys: Keys) -> Keys:
        from botocore.exceptions import BotoCoreError, ClientError

        args = {ROLE_ARGUMENTS[key]: role[key] for key in ROLE_ARGUMENTS if role.get(key)}
        args.setdefault("RoleSessionName", "mono-repo")
        try:
            sts = self._new_client("sts", self.region, keys)
            answer = sts.assume_role(**args)["Credentials"]
        except (ClientError, BotoCoreError) as error:
            raise ProviderError(
                f"Cannot assume IAM Role {args.get('RoleArn', '(no roleArn)')}:"
                f" {_without_values(error)}. Nothing was changed."
            ) from error
        return Keys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])


def _without_account(request: Any, **_: Any) -> None:
    """Take off the account that S3 Control puts before its host: here the host is an address."""
    request.url = re.sub(r"^(https?://)\d{12}\.", r"\1", request.url)


def _merged(entries: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for entry in entries if isinstance(entries, list) else []:
        merged.update(entry)
    return merged


def _role_list(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    roles = config.get("assumeRoles") or config.get("assumeRole") or []
    entries = roles if isinstance(roles, list) else [roles]
    return [role for role in entries if role.get("roleArn")]


def _on_loopback(url: str, source: str) -> str:
    if urlsplit(url).hostname not in LOOPBACK:
        raise ProviderError(
            f"{source} is {url}, which is not on this machine. The sandbox's engine calls its own"
            " cloud only; nothing was changed."
        )
    return url


def _refused(where: str, response: Mapping[str, Any]) -> ApiError:
    error = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    code = str(error.get("Code", "Unknown"))
    if str(error.get("Message", "")).lstrip().lower().startswith("<!doctype"):
        return ApiError(f"{where}, {_NO_ANSWER}", "InternalFailure", maybe_done=True)
    status = metadata.get("HTTPStatusCode", 0)
    request = metadata.get("RequestId", "")
    message = (
        f"{where}, https response error StatusCode: {status}, RequestID: {request},"
        f" {code}: {error.get('Message', '')}"
    )
    # A server's fault leaves open whether it acted; a refusal does not.
    maybe_done = status >= 500 and code not in THROTTLED  # noqa: PLR2004 - HTTP's own limit
    return ApiError(message, code, maybe_done=maybe_done)


def _without_values(error: Exception) -> str:
    """Tell a client-side error without the values in it, which may be secret."""
    return re.sub(r"(?i)value: .*?(?=, type:|$)", "value: [not shown]", str(error))


_SESSION_LOCK: Final = threading.Lock()
_sessions: list[Any] = []


def _session() -> Any:
    """Give the process's one botocore session: its loader's cache is what makes clients cheap.

    It reads no profile and no file of the user's: the sandbox's credentials are given to it.
    """
    with _SESSION_LOCK:
        if not _sessions:
            import botocore.session

            nothing: Callable[[str], tuple[Any, ...]] = lambda path: (None, None, path, None)  # noqa: E731
            _sessions.append(
                botocore.session.Session(
                    session_vars={
                        "profile": (None, None, None, None),
                        "config_file": nothing(os.devnull),
                        "credentials_file": nothing(os.devnull),
                    }
                )
            )
        return _sessions[0]

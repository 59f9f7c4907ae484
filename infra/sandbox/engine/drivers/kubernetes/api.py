"""Requests to one API server: discovery, errors, and what may be asked again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from infra.sandbox.clusters import HOST, ApiServer
from infra.sandbox.engine.drivers.kubernetes.objects import DEFAULT_NAMESPACE, Kind
from infra.sandbox.engine.provider import ProviderError

CONNECT_TIMEOUT: Final = 5
READ_TIMEOUT: Final = 60
CONNECTIONS: Final = 16
ATTEMPTS: Final = 5
RETRY_PAUSE: Final = 0.2
"""Seconds before the second attempt; doubled before each further one."""
NOT_FOUND: Final = 404
CONFLICT: Final = 409
_BUSY: Final = (429, 503)
_REFUSED: Final = 400
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML

Json = dict[str, Any]


class ApiServerError(ProviderError):
    """The API server refused: `status` is HTTP's, `reason` Kubernetes' (``AlreadyExists``)."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class UnknownKindError(ProviderError):
    """The API server has no such kind."""


@dataclass(frozen=True)
class Resource:
    """Where a kind is served: ``apis/apps/v1``, ``deployments``."""

    prefix: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str, name: str = "", *, subresource: str = "") -> str:
        """Give the path of an object, or of all of a namespace."""
        parts = [self.prefix]
        if self.namespaced:
            parts += ["namespaces", quote(namespace or DEFAULT_NAMESPACE, safe="")]
        parts += [self.plural, quote(name, safe=""), subresource]
        return "/" + "/".join(part for part in parts if part)


class Client:
    """A way to an API server that is found again when it has moved. Thread-safe."""

    def __init__(self, locate: Callable[[], ApiServer]) -> None:
        """`locate` gives the API server, ready; it starts it where it has ended."""
        self._locate = locate
        self._lock = threading.Lock()
        self._pool: Any = None
        self._resources: dict[Kind, Resource] | None = None

    def resource(self, kind: Kind) -> Resource:
        """Tell where a kind is served. Raises `UnknownKindError`."""
        found = self._discovered().get(kind)
        if found is None:
            # It may have come since, with a CustomResourceDefinition.
            self._resources = None
            found = self._discovered().get(kind)
        if found is None:
            raise UnknownKindError(
                f"The cluster's API server serves no {kind.api_version} {kind.kind}. Nothing was"
                " changed. Check apiVersion and kind; a custom resource needs its definition first."
            )
        return found

    def namespaced_resources(self) -> list[Resource]:
        """Give all that can be in a namespace."""
        self._resources = None
        return [resource for resource in self._discovered().values() if resource.namespaced]

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | list[Json] | None = None,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send one request and give the answer. Raises `ApiServerError`.

        What certainly did nothing is sent again, and so is what may be done twice.
        """
        url = f"{path}?{urlencode(query)}" if query else path
        sent = {"Accept": JSON, "Content-Type": content_type, **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(1, ATTEMPTS + 1):
            status, answer = self._sent(method, url, data, sent)
            if status not in _BUSY or attempt == ATTEMPTS:
                break
            time.sleep(RETRY_PAUSE * 2 ** (attempt - 1))
        if status >= _REFUSED:
            raise _refused(status, answer)
        return answer

    def _sent(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Json]:
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

        pool = self._connections()
        try:
            return _answer(pool.request(method, url, body=data, headers=headers))
        except (NewConnectionError, ConnectTimeoutError):
            pool = self._connections(instead_of=pool)
        except HTTPError as error:
            if method == "POST":
                raise ProviderError(_lost(method, url, error), maybe_done=True) from error
            pool = self._connections(instead_of=pool)
        try:
            return _answer(pool.request(method, url, body=data, headers=headers))
        except HTTPError as error:
            raise ProviderError(_lost(method, url, error), maybe_done=method != "GET") from error

    def _connections(self, instead_of: Any = None) -> Any:
        with self._lock:
            if self._pool is None or self._pool is instead_of:
                self._pool = _pool(self._locate())
            return self._pool

    def _discovered(self) -> dict[Kind, Resource]:
        found = self._resources
        if found is None:
            found = {}
            for root in ("/api", "/apis"):
                told = self.request("GET", root, headers={"Accept": _DISCOVERY})
                found.update(_resources(root, told))
            self._resources = found
        return found


def _pool(server: ApiServer) -> Any:
    import urllib3

    certificate, key = server.certificates.administrator
    return urllib3.HTTPSConnectionPool(
        HOST,
        server.port,
        maxsize=CONNECTIONS,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        retries=False,
        ca_certs=str(server.certificates.authority),
        cert_file=str(certificate),
        key_file=str(key),
    )


def _answer(response: Any) -> tuple[int, Json]:
    try:
        answer = json.loads(response.data)
    except ValueError:
        answer = {"message": response.data.decode(errors="replace")}
    return int(response.status), answer if isinstance(answer, dict) else {}


def _lost(method: str, url: str, error: Exception) -> str:
    path = url.partition("?")[0]
    return f"No answer of the cluster's API server to {method} {path}: {type(error).__name__}"


def _refused(status: int, answer: Mapping[str, Any]) -> ApiServerError:
    message = str(answer.get("message") or f"HTTP status {status}")
    return ApiServerError(message, status, str(answer.get("reason") or ""))


def _resources(root: str, told: Mapping[str, Any]) -> dict[Kind, Resource]:
    found: dict[Kind, Resource] = {}
    for group in told.get("items") or []:
        name = (group.get("metadata") or {}).get("name") or ""
        for version in group.get("versions") or []:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources") or []:
                kind = (resource.get("responseKind") or {}).get("kind") or ""
                found.setdefault(
                    Kind(api_version, kind),
                    Resource(
                        prefix=f"{root.strip('/')}/{api_version}",
                        plural=resource["resource"],
                        namespaced=resource.get("scope") == "Namespaced",
                        verbs=frozenset(resource.get("verbs") or ()),
                    ),
                )
    return found

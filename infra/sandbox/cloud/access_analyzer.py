"""IAM Access Analyzer, which moto lacks: analyzers and their tags. They find nothing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any, Final

NAME: Final = "accessanalyzer"
HOST: Final = r"https?://access-analyzer\.(.+)\.amazonaws\.com"
PATHS: Final = ("analyzer", "analyzer/(?P<analyzerName>[^/]+)", "tags/(?P<resourceArn>.+)")


def install() -> None:
    """Put the service into the imported moto, where its own services are; once a process."""
    from moto import backend_index
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.core.responses import BaseResponse

    class Backend(BaseBackend):
        """The analyzers of one account and region."""

        def __init__(self, region_name: str, account_id: str) -> None:
            super().__init__(region_name, account_id)
            self.analyzers: dict[str, dict[str, Any]] = {}

        @property
        def _url_module(self) -> Any:
            return SimpleNamespace(url_bases=[HOST], url_paths=paths)

    class Response(BaseResponse):
        """The operations; moto finds them by botocore's model."""

        def __init__(self) -> None:
            super().__init__(service_name=NAME)

        @property
        def backend(self) -> Any:
            """What this request's account and region have."""
            return module.__dict__[f"{NAME}_backends"][self.current_account][self.region]

    for name, operation in _OPERATIONS.items():
        setattr(Response, name, operation)
    paths = {f"{{0}}/{path}$": Response.dispatch for path in PATHS}
    module = ModuleType(f"moto.{NAME}")
    module.__dict__[f"{NAME}_backends"] = BackendDict(Backend, NAME)
    sys.modules[module.__name__] = module
    backend_index.backend_url_patterns.append((NAME, re.compile(HOST)))


def _request(response: Any) -> dict[str, Any]:
    """Give the request's members, from wherever they travelled: path, query or body."""
    query = {key: list(values) for key, values in response.querystring.items()}
    body = json.loads(response.body) if response.body else {}
    return {**query, **response.uri_match, **body}


def _existing(response: Any) -> dict[str, Any]:
    """Give the analyzer that is meant by name, or by ARN."""
    request = _request(response)
    wanted = request.get("analyzerName") or request["resourceArn"].rpartition("/")[2]
    found: dict[str, Any] | None = response.backend.analyzers.get(wanted)
    if found is None:
        raise _error("ResourceNotFoundException", f"No analyzer {wanted} was found", 404)
    return found


def _error(code: str, message: str, status: int) -> Exception:
    from moto.core.exceptions import JsonRESTError

    error: Exception = type(code, (JsonRESTError,), {"code": status})(code, message)
    return error


def _create_analyzer(self: Any) -> str:
    request = _request(self)
    name = request["analyzerName"]
    if name in self.backend.analyzers:
        raise _error("ConflictException", f"An analyzer {name} exists already", 409)
    arn = f"arn:aws:access-analyzer:{self.region}:{self.current_account}:analyzer/{name}"
    self.backend.analyzers[name] = {
        "arn": arn,
        "name": name,
        "type": request["type"],
        "createdAt": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": "ACTIVE",
        "tags": request.get("tags") or {},
    }
    return json.dumps({"arn": arn})


def _get_analyzer(self: Any) -> str:
    return json.dumps({"analyzer": _existing(self)})


def _list_analyzers(self: Any) -> str:
    return json.dumps({"analyzers": list(self.backend.analyzers.values())})


def _delete_analyzer(self: Any) -> str:
    del self.backend.analyzers[_existing(self)["name"]]
    return "{}"


def _tag_resource(self: Any) -> str:
    _existing(self)["tags"] |= _request(self)["tags"]
    return "{}"


def _untag_resource(self: Any) -> str:
    tags = _existing(self)["tags"]
    for key in _request(self)["tagKeys"]:
        tags.pop(key, None)
    return "{}"


def _list_tags_for_resource(self: Any) -> str:
    return json.dumps({"tags": _existing(self)["tags"]})


_OPERATIONS: Final[dict[str, Callable[[Any], str]]] = {
    "create_analyzer": _create_analyzer,
    "get_analyzer": _get_analyzer,
    "list_analyzers": _list_analyzers,
    "delete_analyzer": _delete_analyzer,
    "tag_resource": _tag_resource,
    "untag_resource": _untag_resource,
    "list_tags_for_resource": _list_tags_for_resource,
}

"""Credentials for the processes that a command starts, for as long as it runs.

The Pulumi CLI and its plugins reach the state and the cloud by themselves, for longer than a role's
session lasts. They ask this process, as they would ask a container's host, and ask again before
what they have ends. No credential is written down or in an environment variable: what is, is the
token to ask with, in a file that only its user can read and that goes with the command.
"""

from __future__ import annotations

import atexit
import hmac
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from ops import credential_process
from ops.errors import OpsError

HOST: Final = "127.0.0.1"
EMPTY_CONFIGURATION: Final = "[default]\n"

_OF_A_SHELL: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
)
"""What would be taken instead, also under its former names; empty is as if it were not there."""
OF_A_CONTAINER: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
"""Where a container of ECS or CodeBuild finds its own. It comes before another address, even where
it is empty, and cannot be unset; a program that the configuration names comes before it."""


def serve(
    fetch: Callable[[], Mapping[str, str]],
    folder: Path,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Serve credentials on this machine; give the variables that lead a process to them.

    `fetch` gives access_key, secret_key, token and expiry_time (ISO 8601), or raises `OpsError`.
    `folder` is where the token and a configuration are put until this process ends; `environment`
    is what the processes find beside the variables.
    """
    token = secrets.token_urlsafe(32)
    server = ThreadingHTTPServer((HOST, 0), _handler(fetch, token))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{HOST}:{server.server_port}/"
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="aws-", dir=folder))  # for its user alone
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    configuration, file = own / "config", own / "token"
    file.touch(mode=0o600)
    file.write_text(token, encoding="ascii")
    command = ""
    if OF_A_CONTAINER in environment:
        program = [sys.executable, "-I", str(Path(credential_process.__file__)), url, str(file)]
        command = f"credential_process = {shlex.join(program)}\n"
    configuration.write_text(EMPTY_CONFIGURATION + command, encoding="utf-8")
    return {
        **dict.fromkeys(_OF_A_SHELL, ""),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        # Taken before the token itself: a pod with an identity has a file of its own.
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
        "AWS_CONFIG_FILE": str(configuration),
        "AWS_SHARED_CREDENTIALS_FILE": str(configuration),
        "AWS_PROFILE": "default",
        "AWS_DEFAULT_PROFILE": "default",
    }


def _handler(fetch: Callable[[], Mapping[str, str]], token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is http.server's
            given = self.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), token.encode()):
                self._answer(403, {"message": "This is for processes of one command only."})
                return
            try:
                found = fetch()
            except OpsError as error:
                self._answer(500, {"message": str(error)})
                return
            self._answer(
                200,
                {
                    "AccessKeyId": found["access_key"],
                    "SecretAccessKey": found["secret_key"],
                    "Token": found["token"],
                    "Expiration": found["expiry_time"].replace("+00:00", "Z"),
                },
            )

        def _answer(self, status: int, content: Mapping[str, str]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
            """Say nothing: what is asked for is nobody's business."""
            del format, args

    return Handler

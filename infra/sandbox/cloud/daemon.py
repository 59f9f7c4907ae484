"""The sandbox's cloud as one background process: moto behind werkzeug, on loopback only.

It answers two routes of its own besides AWS's: ``GET /_sandbox/identity`` tells which cloud this
is and how many requests of AWS's it has answered, ``POST /_sandbox/reset`` empties it, which makes
it another cloud with another identity.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.sandbox.cloud import eks_clusters

HOST: Final = "127.0.0.1"
IDENTITY_PATH: Final = "/_sandbox/identity"
RESET_PATH: Final = "/_sandbox/reset"

# Read by moto when its modules are imported.
MOTO_SETTINGS: Final = {
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    "MOTO_ACM_VALIDATION_WAIT": "2",
    # Without this, every account owns some 1,300 snapshots and images that nobody made.
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}

StartResponse = Callable[..., Any]
Environ = dict[str, Any]


class SandboxApplication:
    """moto's WSGI application, and the sandbox's own two routes in front of it."""

    def __init__(
        self, moto: Any, empty: Callable[[], None], announce: Callable[[str], None]
    ) -> None:
        self._moto = moto
        self._empty = empty
        self._announce = announce
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._requests = 0
        self.identity = str(uuid.uuid4())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = (environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
        if request == ("GET", IDENTITY_PATH):
            return self._tell(start_response)
        if request == ("POST", RESET_PATH):
            with self._lock:
                self._empty()
                self.identity = str(uuid.uuid4())
                self._announce(self.identity)
            return self._tell(start_response)
        self._requests = next(self._numbers)  # threads share the count, not a sum
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _tell(self, start_response: StartResponse) -> Iterable[bytes]:
        told = {"identity": self.identity, "pid": os.getpid(), "requests": self._requests}
        body = json.dumps(told).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]


def listen(port: int) -> socket.socket:
    """Bind a listening socket on loopback; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content so that no reader sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def serve(record: Path, log: Path, port: int, ready: Callable[[dict[str, object]], None]) -> None:
    """Serve until SIGTERM. `ready` is told ``{"port": …}`` or ``{"error": …}`` once.

    `record` (cloud.json) says where and which this cloud is; it is written before `ready`.
    """
    os.environ.update(MOTO_SETTINGS)
    try:
        listener = listen(port)
    except OSError as error:
        ready({"error": error.strerror or str(error), "errno": error.errno or 0})
        return
    bound = int(listener.getsockname()[1])
    os.environ["MOTO_PORT"] = str(bound)
    started = datetime.now(UTC).isoformat(timespec="seconds")

    def announce(identity: str) -> None:
        cloud = {
            "pid": os.getpid(),
            "port": bound,
            "endpoint": f"http://{HOST}:{bound}",
            "identity": identity,
            "started": started,
            "log": str(log),
        }
        write_atomically(record, json.dumps(cloud, indent=2) + "\n")

    application, server = _application(listener, announce)
    eks_clusters.install(record.parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    announce(application.identity)
    ready({"port": bound})
    server.serve_forever()


def _application(
    listener: socket.socket, announce: Callable[[str], None]
) -> tuple[SandboxApplication, Any]:
    from moto.moto_api._internal.models import moto_api_backend
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from infra.sandbox.cloud import (
        access_analyzer,
        eks,
        fixes,
        fixes_account,
        fixes_ec2,
        fixes_eks,
        fixes_elb,
        fixes_events,
        fixes_iam,
        fixes_kms,
        fixes_limits,
        fixes_operations,
        fixes_rds,
        fixes_rds_states,
        fixes_restore,
        fixes_storage,
        fixes_tagging,
    )

    class QuietHandler(MotoRequestHandler):
        """Logs only what failed inside moto."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Log a request that moto failed on."""
            if str(code).startswith("5"):
                super().log_request(code, size)

    eks.install()
    access_analyzer.install()
    fixes.install()
    fixes_account.install()
    fixes_eks.install()
    fixes_elb.install()
    fixes_iam.install()
    fixes_rds.install()
    fixes_rds_states.install()
    fixes_restore.install()
    fixes_ec2.install()
    fixes_events.install()
    fixes_kms.install()
    fixes_limits.install()
    fixes_operations.install()
    fixes_storage.install()
    fixes_tagging.install()
    moto = DomainDispatcherApplication(create_backend_app)
    application = SandboxApplication(moto, moto_api_backend.reset, announce)
    server = make_server(
        HOST,
        int(listener.getsockname()[1]),
        application,
        threaded=True,
        request_handler=QuietHandler,
        fd=listener.fileno(),
    )
    return application, server

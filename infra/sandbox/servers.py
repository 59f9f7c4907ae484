"""The sandbox's servers: start, recognise, empty and stop the cloud that stands in for AWS.

The cloud is one background process that outlives the command that started it, so that later
commands, ``aws --endpoint-url`` and tests find the same one. ``cloud.json`` in the sandbox's home
says where it is; the identity that the server itself gives over HTTP says whether it is still the
same cloud, since a process id or a port may have been taken over by something else.

Run as ``python -m infra.sandbox.servers``, this module is that background process.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from infra.sandbox import clusters
from infra.sandbox.cloud.daemon import HOST, IDENTITY_PATH, RESET_PATH, serve

if TYPE_CHECKING:
    import botocore.session

HOME_VARIABLE: Final = "MONO_REPO_SANDBOX_HOME"
PORT_VARIABLE: Final = "MONO_REPO_SANDBOX_PORT"
RECORD: Final = "cloud.json"
LOG: Final = "cloud.log"
MODULE: Final = "infra.sandbox.servers"
PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 10.0
HTTP_TIMEOUT: Final = 5.0
SERVICE_ENDPOINTS: Final = "AWS_ENDPOINT_URL_"
"""Begins the variables that lead one service elsewhere, whatever AWS_ENDPOINT_URL says."""
IGNORE_ENDPOINTS: Final = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
DUMMY_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
}


class SandboxServerError(Exception):
    """The sandbox's cloud could not be started, reached or stopped; the message says what to do."""


class _NoAnswerError(Exception):
    """Somebody listens, but gave no answer in time, or hung up."""


class PortTakenError(SandboxServerError):
    """The port that was asked for belongs to another process."""


@dataclass(frozen=True)
class Cloud:
    """A cloud's address and identity, as its record has them."""

    pid: int
    port: int
    endpoint: str
    identity: str
    started: str
    """RFC 3339, UTC."""
    log: str


@dataclass(frozen=True)
class Status:
    """What became of the recorded cloud.

    ``running``: it answers and is the recorded one. ``stopped``: nothing is recorded. ``dead``:
    recorded, but nothing answers. ``foreign``: something else answers at its address. ``silent``:
    its process lives but gave no answer in time; it may be busy, so it is left alone.
    """

    state: Literal["running", "stopped", "dead", "foreign", "silent"]
    cloud: Cloud | None
    detail: str


@dataclass(frozen=True)
class Credentials:
    """A session of one account of the sandbox's cloud."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    arn: str
    """Whose they are."""


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the sandbox's home: ``.sandbox`` in the project, or where the environment says."""
    override = environment.get(HOME_VARIABLE)
    return Path(override).expanduser().resolve() if override else PROJECT_ROOT / ".sandbox"


def status(directory: Path | None = None) -> Status:
    """Tell whether the recorded cloud is there and still the same; changes nothing."""
    directory = directory or home()
    cloud = _recorded(directory)
    if cloud is None:
        return Status("stopped", None, "no sandbox cloud is running")
    try:
        told = _identity(cloud.port)
    except _NoAnswerError:
        if _is_ours(cloud.pid, directory):
            return Status("silent", cloud, _silence(cloud))
        told = None
    if told is None:
        detail = f"the sandbox cloud at {cloud.endpoint} does not answer; its log is {cloud.log}"
        return Status("dead", cloud, detail)
    if told != cloud.identity:
        detail = f"another server than the recorded sandbox cloud answers at {cloud.endpoint}"
        return Status("foreign", cloud, detail)
    return Status("running", cloud, f"the sandbox cloud answers at {cloud.endpoint}")


def ensure_running(directory: Path | None = None, port: int | None = None) -> Cloud:
    """Give the running cloud; start one, which is empty, where there is none.

    `port`: the one to listen on (default: the environment's, else any free one). Raises
    `PortTakenError`, or `SandboxServerError` where it does not come up or is silent.
    """
    directory = directory or home()
    with _locked(directory) as lock:
        found = status(directory)
        refuse_silent(found)
        if found.state == "running" and found.cloud is not None:
            return found.cloud
        if found.state == "dead" and found.cloud is not None:
            _terminate(found.cloud, directory)
        _remove_clusters(directory)  # those of a cloud that has ended
        return _start(directory, _chosen_port(port), lock)


def stop(directory: Path | None = None) -> Status:
    """Stop the recorded cloud and its clusters and forget them; what they held is lost.

    Gives what was found before.

    A process that is not provably ours is left alone. Raises `SandboxServerError` where the cloud
    is silent: nothing tells what it is doing.
    """
    directory = directory or home()
    with _locked(directory):
        found = status(directory)
        refuse_silent(found)
        if found.cloud is not None:
            if found.state != "foreign":
                _terminate(found.cloud, directory)
            (directory / RECORD).unlink(missing_ok=True)
        _remove_clusters(directory)
        return found


def reset(directory: Path | None = None) -> Cloud:
    """Empty the running cloud; it is another cloud afterwards, with another identity.

    Raises `SandboxServerError` where none is running.
    """
    directory = directory or home()
    with _locked(directory):
        found = status(directory)
        refuse_silent(found)
        if found.state != "running" or found.cloud is None:
            raise SandboxServerError(f"Nothing was reset: {found.detail}.")
        _request("POST", found.cloud.port, RESET_PATH, timeout=60)
        _remove_clusters(directory)
        cloud = _recorded(directory)
        if cloud is None or cloud.identity == found.cloud.identity:
            raise SandboxServerError(
                f"The sandbox cloud at {found.cloud.endpoint} was asked to reset but did not"
                f" record it in {directory / RECORD}: run `ops sandbox stop`, then start again."
            )
        return cloud


def environment(
    cloud: Cloud,
    region: str,
    credentials: Credentials | None = None,
    surroundings: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Give the variables that point AWS clients at the cloud, and never at AWS itself.

    Without `credentials` the account is the cloud's default one. What `surroundings` has that
    would lead single services elsewhere is overridden.
    """
    keys = DUMMY_CREDENTIALS
    if credentials is not None:
        keys = {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        **{name: cloud.endpoint for name in surroundings if name.startswith(SERVICE_ENDPOINTS)},
        **{name: "false" for name in (IGNORE_ENDPOINTS,) if name in surroundings},
        **keys,
    }


def isolated_session() -> botocore.session.Session:
    """Give a botocore session that reads no profile and no file of the user's."""
    import botocore.session

    return botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )


def assume(
    cloud: Cloud,
    account_id: str,
    region: str,
    role: str = "sandbox-operator",
    name: str = "mono-repo-sandbox",
) -> Credentials:
    """Open a session in an account of the cloud through STS; the role need not exist.

    `name`: the session's, which tells one caller from another.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    sts = isolated_session().create_client(
        "sts",
        region_name=region,
        endpoint_url=cloud.endpoint,
        aws_access_key_id=DUMMY_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=DUMMY_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    arn = f"arn:aws:iam::{account_id}:role/{role}"
    try:
        answer = sts.assume_role(RoleArn=arn, RoleSessionName=name)
    except (BotoCoreError, ClientError) as error:
        raise SandboxServerError(
            f"No session in account {account_id} of the sandbox cloud at {cloud.endpoint}: {error}"
        ) from error
    keys = answer["Credentials"]
    return Credentials(
        keys["AccessKeyId"],
        keys["SecretAccessKey"],
        keys["SessionToken"],
        answer["AssumedRoleUser"]["Arn"],
    )


def _remove_clusters(directory: Path) -> None:
    try:
        clusters.remove_all(directory)
    except clusters.ClusterError as error:
        raise SandboxServerError(str(error)) from error


def _recorded(directory: Path) -> Cloud | None:
    try:
        fields = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        return Cloud(**{name: fields[name] for name in Cloud.__dataclass_fields__})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise SandboxServerError(
            f"{directory / RECORD} is not a record of a sandbox cloud ({error}). Nothing was"
            " changed. Delete the file and start the sandbox again."
        ) from error


def refuse_silent(found: Status) -> None:
    """Raise `SandboxServerError` for a cloud that may only be busy; it names the process."""
    if found.state == "silent" and found.cloud is not None:
        raise SandboxServerError(
            f"{found.detail[0].upper()}{found.detail[1:]}; it may be busy, so nothing was done."
            " Try again later. If it stays like this, end that process"
            f" (kill {found.cloud.pid}), which loses what is in it; its log is {found.cloud.log}."
        )


def _silence(cloud: Cloud) -> str:
    return (
        f"the sandbox cloud at {cloud.endpoint} (process {cloud.pid}) does not answer within"
        f" {HTTP_TIMEOUT:.0f} s"
    )


def _identity(port: int, timeout: float | None = None) -> str | None:
    """Ask who listens: an identity, an empty string for a stranger, None for nobody.

    Raises `_NoAnswerError` where somebody listens and says nothing.
    """
    try:
        answer = json.loads(_request("GET", port, IDENTITY_PATH, timeout or HTTP_TIMEOUT))
        return str(answer.get("identity", ""))
    except ConnectionRefusedError:
        return None
    except (ConnectionError, TimeoutError) as error:
        raise _NoAnswerError from error
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ""


def _request(method: str, port: int, path: str, timeout: float) -> bytes:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    finally:
        connection.close()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Hold the home's lock: of two that start a cloud at once, the second finds the first's."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "cloud.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _chosen_port(port: int | None) -> int:
    if port is not None:
        return port
    text = os.environ.get(PORT_VARIABLE, "0")
    if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004 - the highest port there is
        raise SandboxServerError(
            f"{PORT_VARIABLE} is {text!r}; a port number from 1 to 65535 was expected."
            " No sandbox cloud was started."
        )
    return int(text)


def _start(directory: Path, port: int, lock: int) -> Cloud:
    reader, writer = os.pipe()
    log = directory / LOG
    arguments = ["--home", str(directory), "--port", str(port), "--ready", str(writer)]
    try:
        with log.open("ab") as sink:
            # The daemon inherits the lock, and lets go of it once its record is written: were
            # this process killed now, the next start would still wait and find the cloud.
            subprocess.run(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", MODULE, *arguments, "--lock", str(lock)],
                cwd=PROJECT_ROOT,
                env=_without_aws(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                pass_fds=(writer, lock),
                check=True,
            )
        os.close(writer)
        writer = -1
        told = _read_line(reader, START_DEADLINE)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    return _started(directory, port, told, log)


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment without what is meant for AWS: the cloud is a client of nothing."""
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _read_line(descriptor: int, deadline: float) -> dict[str, Any]:
    """Read the daemon's one message; empty if it died or stayed silent."""
    readable, _, _ = select.select([descriptor], [], [], deadline)
    line = os.read(descriptor, 65536) if readable else b""
    message: dict[str, Any] = json.loads(line) if line else {}
    return message


def _started(directory: Path, port: int, told: Mapping[str, Any], log: Path) -> Cloud:
    if told.get("errno") == errno.EADDRINUSE:
        raise PortTakenError(
            f"Port {port} on {HOST} is taken by another process. No sandbox cloud was started."
            f" Free it, or set {PORT_VARIABLE} to another port (0: any free one)."
        )
    cloud = _recorded(directory)
    if "port" not in told or cloud is None or not _answers(cloud):
        reason = told.get("error") or f"it said nothing within {START_DEADLINE:.0f} s or ended"
        raise SandboxServerError(
            f"The sandbox cloud did not start: {reason}. Nothing runs. Its log is {log};"
            " is the `sandbox` extra installed?"
        )
    return cloud


def _answers(cloud: Cloud) -> bool:
    try:
        return _identity(cloud.port, START_DEADLINE) == cloud.identity
    except _NoAnswerError:
        return False


def _terminate(cloud: Cloud, directory: Path) -> None:
    """End the cloud's process if it is provably ours: its command line names this home."""
    if not _is_ours(cloud.pid, directory):
        return
    for attempt in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(cloud.pid, attempt)
        end = time.monotonic() + STOP_DEADLINE
        while time.monotonic() < end:
            if not _is_ours(cloud.pid, directory):
                return
            time.sleep(0.02)
    raise SandboxServerError(f"The sandbox cloud (process {cloud.pid}) did not end when told to.")


def _is_ours(pid: int, directory: Path) -> bool:
    command = _command_line(pid)
    return MODULE in command and str(directory) in command


def _command_line(pid: int) -> list[str]:
    """Give a process's arguments; empty where there is no such process, or only its corpse."""
    process = Path("/proc") / str(pid)
    if Path("/proc/self").exists():
        try:
            return process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    listing = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.split()


def main(arguments: list[str] | None = None) -> None:
    """Become the background process: detach, listen, and say so once on the pipe `--ready`."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready", type=int, required=True, help="descriptor to write to")
    parser.add_argument("--lock", type=int, required=True, help="descriptor that holds the lock")
    options = parser.parse_args(arguments)
    if os.fork():
        os._exit(0)  # the starter's child ends at once, so the daemon is nobody's zombie
    os.setsid()

    def ready(message: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(options.ready, json.dumps(message).encode())
        os.close(options.ready)
        os.close(options.lock)

    serve(options.home / RECORD, options.home / LOG, options.port, ready)


if __name__ == "__main__":
    main()

"""The sandbox's clusters: one etcd and one kube-apiserver for each EKS cluster of its cloud.

They are real programs, where they can be found (`programs`); they listen on loopback alone, keep
their data in the sandbox's home, and outlive the command that started them. Which processes they
are is told by their command lines, which name their directory, so that no recorded process id can
be mistaken. Nothing else of a cluster runs: no controllers, no scheduler, no nodes.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final, Literal

from infra.sandbox import certificates
from infra.sandbox.certificates import Certificates

FOLDER: Final = "clusters"
HOST: Final = "127.0.0.1"
ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
API_SERVER: Final = "kube-apiserver"
ETCD: Final = "etcd"
RECORD: Final = "cluster.json"
SERVICE_RANGE: Final = "172.20.0.0/16"
"""EKS's default range of the clusters' services."""
START_DEADLINE: Final = 90.0
END_DEADLINE: Final = 10.0
PROBE_TIMEOUT: Final = 5.0
PROBE_PAUSE: Final = 0.1
UNSEEN_LIMIT: Final = 2.0
"""Seconds for which a process that is not seen may yet be becoming its program."""
PORT_ATTEMPTS: Final = 3
_LOG_TAIL: Final = 2000
_ADDRESS_TAKEN: Final = os.strerror(errno.EADDRINUSE).lower()


class ClusterError(Exception):
    """A cluster of the sandbox could not be started, reached or ended; the message says why."""


@dataclass(frozen=True)
class Programs:
    """The programs that a cluster is made of."""

    kube_apiserver: Path
    etcd: Path


@dataclass(frozen=True, kw_only=True)
class Target:
    """An EKS cluster of the sandbox's cloud."""

    name: str
    authority: str
    """Its certificate authority's data, as EKS tells it: no two clusters have the same."""
    service_range: str = SERVICE_RANGE

    @property
    def key(self) -> str:
        """The name of its directory."""
        return key_of(self.name, self.authority)


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """A cluster's API server, as its record has it."""

    cluster: str
    """The EKS cluster's name."""
    directory: str
    port: int
    version: str
    """Of Kubernetes, such as ``v1.36.3``."""
    started: str
    """RFC 3339, UTC."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"https://{HOST}:{self.port}"

    @property
    def certificates(self) -> Certificates:
        """What a client needs to be known, and to know it."""
        return Certificates(Path(self.directory))

    @property
    def kubeconfig(self) -> Path:
        """A file with which ``kubectl`` administers the cluster."""
        return Path(self.directory) / "kubeconfig"

    @property
    def log(self) -> Path:
        """The API server's log."""
        return Path(self.directory) / f"{API_SERVER}.log"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What became of a recorded cluster.

    ``running``: its API server is ready. ``dead``: one of its processes is gone; the next use
    starts it again on its data. ``silent``: they live, but gave no answer in time.
    """

    state: Literal["running", "dead", "silent"]
    server: ApiServer
    memory: int
    """Resident bytes of its processes."""


def key_of(name: str, authority: str) -> str:
    """Give a cluster's key: a cluster that is made again under its name is another one."""
    return f"{name}-{hashlib.sha256(authority.encode()).hexdigest()[:8]}"


def programs(environment: Mapping[str, str] = os.environ) -> Programs | None:
    """Find the programs; None where no place has both.

    Where ``KUBEBUILDER_ASSETS`` is set they are there or nowhere; else they are on ``PATH``, or
    where ``make kube`` put the newest.
    """
    assets = environment.get(ASSETS_VARIABLE)
    if assets is not None:
        return _programs_in(Path(assets).expanduser().absolute()) if assets else None
    on_path = [shutil.which(name, path=environment.get("PATH")) for name in (API_SERVER, ETCD)]
    if on_path[0] and on_path[1]:
        return Programs(Path(on_path[0]), Path(on_path[1]))
    built = sorted(cache(environment).glob("*/"), key=_version_of, reverse=True)
    return next((found for path in built if (found := _programs_in(path))), None)


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the directory in which ``make kube`` keeps what it built, by version."""
    home = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "mono-repo" / "kube"


def _programs_in(directory: Path) -> Programs | None:
    found = Programs(directory / API_SERVER, directory / ETCD)
    there = all(os.access(path, os.X_OK) for path in (found.kube_apiserver, found.etcd))
    return found if there else None


def _version_of(directory: Path) -> tuple[int, ...]:
    numbers = directory.name.removeprefix("v").split(".")
    return tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else ()


def ensure(home: Path, target: Target, programs_: Programs) -> ApiServer:
    """Give a cluster's API server, ready; start it, on the data it had, where it does not run.

    Raises `ClusterError`. Of two that need it at once, the second finds the first's.
    """
    directory = home.resolve() / FOLDER / target.key
    with _locked(directory):
        found = _look(directory)
        if found is not None and found.state == "running":
            return found.server
        if found is not None and found.state == "silent":
            raise ClusterError(_silence(found.server))
        _end(directory)
        return _start(directory, target, programs_)


def known(home: Path) -> list[Status]:
    """Tell what became of every cluster; changes nothing."""
    found = (_look(directory) for directory in _directories(home))
    return [status for status in found if status is not None]


def remove(home: Path, name: str, authority: str) -> None:
    """End an EKS cluster's processes and forget what it held."""
    _remove(home.resolve() / FOLDER / key_of(name, authority))


def remove_all(home: Path) -> int:
    """End every cluster and forget what it held; give how many there were."""
    directories = _directories(home)
    for directory in directories:
        _remove(directory)
    shutil.rmtree(home / FOLDER, ignore_errors=True)
    return len(directories)


def _directories(home: Path) -> list[Path]:
    folder = home.resolve() / FOLDER
    return sorted(path for path in folder.glob("*") if path.is_dir())


def _remove(directory: Path) -> None:
    if not directory.exists():
        return
    with _locked(directory):
        _end(directory)
        shutil.rmtree(directory)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_lock_file(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_file(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lock")


# -- looking ---------------------------------------------------------------------------------------


def _look(directory: Path) -> Status | None:
    try:
        text = (directory / RECORD).read_text(encoding="utf-8")
        server = ApiServer(**json.loads(text))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise ClusterError(
            f"{directory / RECORD} is not a record of a cluster of the sandbox ({error}). Nothing"
            " was changed. Forget it with `ops sandbox reset` and start again."
        ) from error
    memory = sum(map(_resident_bytes, _processes(directory).values()))
    if _is_whole(directory) and _ready(server.port, server.certificates):
        return Status(state="running", server=server, memory=memory)
    # What gave no answer may have ended while it was asked.
    state: Literal["dead", "silent"] = "silent" if _is_whole(directory) else "dead"
    return Status(state=state, server=server, memory=memory)


def _is_whole(directory: Path) -> bool:
    return set(_processes(directory)) == {API_SERVER, ETCD}


def _silence(server: ApiServer) -> str:
    processes = " ".join(map(str, _processes(Path(server.directory)).values()))
    return (
        f"The API server of the sandbox's cluster {server.cluster} at {server.endpoint} does not"
        f" answer within {PROBE_TIMEOUT:.0f} s; it may be busy, so nothing was done. Try again"
        f" later. If it stays like this, end its processes (kill -9 {processes}): the next command"
        f" starts them again on its data. Its log is {server.log}."
    )


def _ready(port: int, files: Certificates) -> bool:
    return _get(port, files, "/readyz") is not None


def _get(port: int, files: Certificates, path: str) -> bytes | None:
    """Get a path of an API server; None where it gives no answer, or not yet."""
    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(*files.administrator)
    connection = HTTPSConnection(HOST, port, timeout=PROBE_TIMEOUT, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None  # noqa: PLR2004 - HTTP's "OK"


def _processes(directory: Path) -> dict[str, int]:
    """Give the ids of a cluster's processes, by program."""
    mark = f"={directory}/"
    found: dict[str, int] = {}
    for pid, command in _command_lines():
        if any(mark in word for word in command):
            # The shell that is about to become a program names it as well.
            names = (Path(word).name for word in command if not word.startswith("-"))
            name = next((name for name in names if name in (API_SERVER, ETCD)), None)
            if name:
                found[name] = pid
    return found


def _command_lines() -> Iterator[tuple[int, Sequence[str]]]:
    if Path("/proc/self").exists():
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                yield int(process.name), _split(process.joinpath("cmdline").read_bytes())
        return
    listing = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command.split()


def _split(command_line: bytes) -> list[str]:
    return command_line.decode(errors="replace").split("\0")


def _resident_bytes(pid: int) -> int:
    if not Path("/proc/self").exists():
        listing = subprocess.run(  # noqa: S603 - a fixed program and a number
            ["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(listing.stdout.strip() or 0) * 1024
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE")


# -- starting and ending ---------------------------------------------------------------------------


def _end(directory: Path) -> None:
    """End a cluster's processes; etcd's log makes good whatever they were at."""
    limit = time.monotonic() + END_DEADLINE
    while processes := _processes(directory):
        for pid in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > limit:
            raise ClusterError(
                f"The processes {processes} of {directory} did not end when told to."
            )
        time.sleep(0.02)
    for path in directory.glob("*.sock"):
        path.unlink()


def _start(directory: Path, target: Target, programs_: Programs) -> ApiServer:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / RECORD).unlink(missing_ok=True)
    files = certificates.ensure(directory, HOST)
    limit = time.monotonic() + START_DEADLINE
    _spawn(directory, ETCD, _etcd_command(programs_, directory))
    for _ in range(PORT_ATTEMPTS):
        port = _free_port()
        _spawn(directory, API_SERVER, _api_server_command(programs_, directory, port, target))
        version = _wait(directory, port, files, limit)
        if version:
            return _recorded(directory, target, port, version, files)
    raise ClusterError(_not_started(directory, target, "no free port was found"))


def _recorded(
    directory: Path, target: Target, port: int, version: str, files: Certificates
) -> ApiServer:
    server = ApiServer(
        cluster=target.name,
        directory=str(directory),
        port=port,
        version=version,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    server.kubeconfig.touch(mode=0o600)
    server.kubeconfig.write_text(_kubeconfig(server, files), encoding="utf-8")
    partial = directory / f"{RECORD}.new"
    partial.write_text(json.dumps(asdict(server), indent=2) + "\n", encoding="utf-8")
    partial.replace(directory / RECORD)
    return server


def _wait(directory: Path, port: int, files: Certificates, limit: float) -> str:
    """Wait until the API server is ready; give its version, or nothing if the port was taken."""
    last_seen = dict.fromkeys((API_SERVER, ETCD), time.monotonic())
    while time.monotonic() < limit:
        if _ready(port, files):
            told = json.loads(_get(port, files, "/version") or b"{}")
            return str(told.get("gitVersion") or "unknown")
        now = time.monotonic()
        last_seen |= dict.fromkeys(_processes(directory), now)
        # A process that is just becoming another program shows no command line.
        ended = {name for name, seen in last_seen.items() if now - seen > UNSEEN_LIMIT}
        if API_SERVER in ended and _ADDRESS_TAKEN in _tail(directory).lower():
            return ""
        if ended:
            _fail(directory, f"{' and '.join(sorted(ended))} ended")
        time.sleep(PROBE_PAUSE)
    return _fail(directory, f"it was not ready within {START_DEADLINE:.0f} s")


def _fail(directory: Path, reason: str) -> str:
    message = _not_started(directory, None, reason)
    _end(directory)
    raise ClusterError(message)


def _not_started(directory: Path, target: Target | None, reason: str) -> str:
    name = target.name if target else directory.name
    return (
        f"The sandbox's cluster {name} did not start: {reason}. Nothing of it runs. Its logs are"
        f" {directory}/*.log; the API server's ends with: {_tail(directory).strip()[-500:]}"
    )


def _tail(directory: Path) -> str:
    try:
        text = (directory / f"{API_SERVER}.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-_LOG_TAIL:]


def _spawn(directory: Path, name: str, command: Sequence[str]) -> None:
    """Start a background process that is nobody's child, in the cluster's directory."""
    log = directory / f"{name}.log"
    with log.open("wb") as sink:
        subprocess.run(  # noqa: S603 - the programs that were found, and our own arguments
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            cwd=directory,
            env={"PATH": os.defpath, "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            check=True,
        )


def _etcd_command(programs_: Programs, directory: Path) -> list[str]:
    # Its sockets are named relative to its directory: a socket's path must be short. The
    # addresses on TCP are only said, as it demands them: nothing listens there.
    return [
        str(programs_.etcd),
        "--name=sandbox",
        f"--data-dir={directory}/etcd",
        "--listen-client-urls=unix://etcd.sock",
        "--advertise-client-urls=http://localhost:2379",
        "--listen-peer-urls=unix://peer.sock",
        "--initial-advertise-peer-urls=http://localhost:2380",
        "--initial-cluster=sandbox=http://localhost:2380",
        "--log-level=warn",
        # What the machine itself loses in a crash is lost: a rehearsal need not wait for disks.
        "--unsafe-no-fsync",
    ]


def _api_server_command(
    programs_: Programs, directory: Path, port: int, target: Target
) -> list[str]:
    files = Certificates(directory)
    certificate, key = files.server
    return [
        str(programs_.kube_apiserver),
        "--etcd-servers=unix://etcd.sock",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={files.authority}",
        f"--service-account-key-file={files.service_accounts}",
        f"--service-account-signing-key-file={files.service_accounts}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={target.service_range}",
        "--authorization-mode=Node,RBAC",
        "--anonymous-auth=false",
        "--allow-privileged=true",  # Pod Security decides, as on EKS
        "--endpoint-reconciler-type=none",
        "--profiling=false",
    ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _kubeconfig(server: ApiServer, files: Certificates) -> str:
    def encoded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    certificate, key = files.administrator
    name = f"sandbox-{server.cluster}"
    where = {"server": server.endpoint, "certificate-authority-data": encoded(files.authority)}
    user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": where}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(config, indent=2) + "\n"

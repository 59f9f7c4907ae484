"""Runs a Pulumi program: in a child process as the CLI's host does, or where it lives already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import grpc
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

HOST: Final = Path(__file__).with_name("host.py")
EXIT_TOLD: Final = 32
"""The host's exit code for: the program failed, and the user has been told why."""

_GRACE_SECONDS: Final = 5.0
_MESSAGE_BYTES: Final = 400 << 20

Output = Callable[[str, str], None]
"""Takes a severity (``info`` or ``info#err``) and a line that the program printed."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a program is told: `config` maps fully qualified keys to strings or JSON texts."""

    organization: str
    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: frozenset[str]
    dry_run: bool
    parallel: int
    monitor_address: str
    engine_address: str
    output: Output


@dataclass(frozen=True)
class RunResult:
    """How a program ended.

    `error` is what is still to be told to the user; a program that `failed` without one has told
    it itself.
    """

    failed: bool = False
    error: str = ""


class ProgramRunner(Protocol):
    """Starts a program once, waits for its end, and can kill it."""

    def run(self, request: RunRequest) -> RunResult:
        """Run to the end."""
        ...

    def kill(self) -> None:
        """End the program now; `run` then returns."""
        ...


class ChildProgram:
    """Runs the program of a directory with a Python, as ``pulumi-language-python`` would.

    The child gets the caller's environment plus `environment`, the directory as its working
    directory and first on ``sys.path``, and the configuration in ``PULUMI_CONFIG``. It ends when
    this process does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        python: Path | None = None,
        root: Path | None = None,
        entry_point: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a run; `python` is the running interpreter unless given.

        `root` is the directory of ``Pulumi.yaml``, where it is not the program's.
        """
        self._directory = directory
        self._python = python or Path(sys.executable)
        self._root = root or directory
        self._entry_point = entry_point
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._killed = threading.Event()

    def run(self, request: RunRequest) -> RunResult:
        """Run the program to its end; what it prints goes to the request's `output`."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the project's own program
                self._command(request),
                cwd=self._directory,
                env=self._variables(request),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return RunResult(
                failed=True,
                error=f"the program in {self._directory} could not be started with "
                f"{self._python}: {error.strerror}. Nothing was changed. Is the virtual "
                "environment that Pulumi.yaml names complete?",
            )
        self._process = process
        if self._killed.is_set():
            self.kill()
        readers = [
            _reader(process.stdout, "info", request.output),
            _reader(process.stderr, "info#err", request.output),
        ]
        code = process.wait()
        for reader in readers:
            reader.join(_GRACE_SECONDS)
        return self._result(code)

    def kill(self) -> None:
        """Interrupt the program and all that it started; what does not end is killed."""
        self._killed.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        _signal(process, signal.SIGINT)
        threading.Thread(target=_kill_late, args=(process,), daemon=True).start()

    def _command(self, request: RunRequest) -> list[str]:
        arguments = {
            "monitor": request.monitor_address,
            "engine": request.engine_address,
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "root-directory": str(self._root),
            "directory": str(self._directory),
            "dry-run": str(request.dry_run).lower(),
            "parallel": str(request.parallel),
            "parent": str(os.getpid()),
        }
        options = [part for name, text in arguments.items() for part in (f"--{name}", text)]
        return [str(self._python), "-u", str(HOST), *options, self._entry_point]

    def _variables(self, request: RunRequest) -> dict[str, str]:
        variables = {**os.environ, **self._environment}
        bin_directory = self._python.parent
        if (bin_directory.parent / "pyvenv.cfg").exists():
            variables["VIRTUAL_ENV"] = str(bin_directory.parent)
            variables["PATH"] = f"{bin_directory}{os.pathsep}{variables.get('PATH', '')}"
            variables.pop("PYTHONHOME", None)
        variables["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        variables["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(sorted(request.secret_keys))
        return variables

    def _result(self, code: int) -> RunResult:
        if code == 0:
            return RunResult()
        if code == EXIT_TOLD or self._killed.is_set():
            return RunResult(failed=True)
        if code < 0:
            return RunResult(
                failed=True,
                error=f"an unhandled error occurred: program was ended by signal {-code}",
            )
        return RunResult(
            failed=True,
            error=f"an unhandled error occurred: program exited with non-zero exit code: {code}",
        )


def _reader(stream: IO[str] | None, severity: str, output: Output) -> threading.Thread:
    def read() -> None:
        for line in stream or ():
            output(severity, line.rstrip("\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (OSError, AttributeError):
        process.send_signal(number)


def _kill_late(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


class ClientProgram:
    """Runs a program that a language server at `address` holds: an inline program."""

    def __init__(self, address: str) -> None:
        """Prepare a run; `address` is what the CLI is given as ``--client``."""
        self._address = address
        self._call: Any = None
        self._killed = threading.Event()

    def run(self, request: RunRequest) -> RunResult:
        """Ask the language server to run its program, and wait for the end."""
        message = language_pb2.RunRequest(
            project=request.project,
            stack=request.stack,
            organization=request.organization,
            pwd=str(Path.cwd()),
            program=".",
            args=[request.engine_address],
            config=dict(request.config),
            configSecretKeys=sorted(request.secret_keys),
            dryRun=request.dry_run,
            parallel=request.parallel,
            monitor_address=request.monitor_address,
        )
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ]
        with grpc.insecure_channel(self._address, options=options) as channel:
            self._call = language_pb2_grpc.LanguageRuntimeStub(channel).Run.future(message)
            if self._killed.is_set():
                self._call.cancel()
            try:
                response = self._call.result()
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                return self._broken(error)
        if response.error:
            # The language server has logged it as an error already.
            return RunResult(failed=True)
        return RunResult(failed=response.bail)

    def kill(self) -> None:
        """Stop waiting for the program; it ends when the monitor no longer answers it."""
        self._killed.set()
        if self._call is not None:
            self._call.cancel()

    def _broken(self, error: Exception) -> RunResult:
        if self._killed.is_set():
            return RunResult(failed=True)
        details = error.details() if isinstance(error, grpc.RpcError) else str(error)
        return RunResult(
            failed=True, error=f"the program's language server at {self._address} failed: {details}"
        )

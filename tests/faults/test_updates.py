"""What goes wrong while an update runs: the message, the exit code, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine import backend, cli_update, storage, store
from ops.errors import ExitCode
from tests.faults.conftest import Faulty, assert_converged, await_file

pytestmark = pytest.mark.faults


def _hanging(faulty: Faulty, tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    """Start an update that has made the VPC and then waits; give it, and the VPC's id."""
    marker = tmp_path / "marker"
    faulty.configure(fault="hang", marker=marker)
    process = faulty.start("up", "dev", "--yes")
    return process, await_file(marker, process)


def test_an_interrupted_update_ends_with_8_keeps_what_it_made_and_goes_on(
    faulty: Faulty, tmp_path: Path
) -> None:
    process, vpc = _hanging(faulty, tmp_path)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.CANCELLED, said
    assert "SIGINT received: what has begun is ended first" in said
    assert "Traceback" not in said
    assert faulty.recorded() == faulty.made() == {"vpc": [vpc]}
    assert_converged(faulty)
    assert faulty.recorded()["vpc"] == [vpc]


@pytest.mark.parametrize("request_", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_taken_for_ctrl_c(
    request_: signal.Signals, faulty: Faulty, tmp_path: Path
) -> None:
    process, vpc = _hanging(faulty, tmp_path)
    process.send_signal(request_)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.CANCELLED, said
    assert "Traceback" not in said
    assert faulty.recorded() == faulty.made() == {"vpc": [vpc]}
    assert_converged(faulty)


def test_a_second_run_is_refused_while_the_first_goes_on_and_is_told_who_that_is(
    faulty: Faulty, tmp_path: Path
) -> None:
    process, vpc = _hanging(faulty, tmp_path)
    for command in (("up",), ("refresh",), ("destroy", "--unprotect")):
        refused = faulty.ops("--sandbox", command[0], "dev", "--yes", *command[1:])
        assert refused.code == ExitCode.REFUSED, refused.said
        assert f"(pid {process.pid})" in refused.said
        assert "Nothing was changed" in refused.said
    assert faulty.ops("sandbox", "reset", "--yes").code == ExitCode.REFUSED
    assert process.poll() is None, "the first one was left alone"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert faulty.made() == {"vpc": [vpc]}


def test_a_killed_update_is_told_by_the_next_command_and_continued(
    faulty: Faulty, tmp_path: Path
) -> None:
    process, vpc = _hanging(faulty, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert faulty.recorded() == faulty.made() == {"vpc": [vpc]}
    looked = faulty.ops("--sandbox", "preview", "dev")
    assert looked.code == ExitCode.OK, looked.said
    faulty.configure(fault="none")
    resumed = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert resumed.code == ExitCode.OK
    assert f"created by {backend.username()}" in resumed.said
    assert "was interrupted; what it had recorded is now in the state" in resumed.said
    assert_converged(faulty)


def test_a_cloud_that_ends_in_the_middle_is_told_and_the_state_is_not_taken_to_another(
    faulty: Faulty,
) -> None:
    faulty.configure(fault="kill cloud", cloud=faulty.cloud.pid)
    ended = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.PARTIAL, ended.said
    assert "It ended while this command ran" in ended.said
    assert "ops sandbox reset dev" in ended.said
    assert faulty.recorded().keys() == {"vpc"}, "what was made before is in the state"
    again = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert again.code == ExitCode.REFUSED
    assert "of a cloud that has ended" in again.said
    assert faulty.ops("sandbox", "reset", "dev").code == ExitCode.OK


def test_a_program_that_raises_keeps_what_it_made_and_is_told_so(faulty: Faulty) -> None:
    faulty.configure(fault="raise")
    ended = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.PARTIAL, ended.said
    assert "Program failed with an unhandled exception" in ended.said
    assert "ValueError: what nobody foresaw" in ended.said
    assert faulty.recorded() == faulty.made()
    assert faulty.recorded().keys() == {"vpc"}
    assert_converged(faulty)


def test_a_program_that_does_nothing_more_is_ended_at_its_deadline(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cli_update._options

    def impatient(run: Any) -> Any:
        return dataclasses.replace(original(run), silence_seconds=2)

    monkeypatch.setattr(cli_update, "_options", impatient)
    faulty.configure(fault="hang", marker=tmp_path / "marker")
    ended = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.DEADLINE, ended.said
    assert "the program has done nothing for 2 s and was ended; last came:" in ended.said
    assert faulty.recorded() == faulty.made()
    assert_converged(faulty)


def _full_after(number: int, original: Callable[[int], None]) -> Callable[[int], None]:
    """Give an fsync whose disk is full from its `number`-th call on."""
    calls = [0]

    def fsync(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    return fsync


@pytest.mark.parametrize("number", [1, 3, 5, 7])
def test_a_disk_that_fills_up_stops_the_update_and_loses_nothing(
    number: int, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.configure(fault="none")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_after(number, os.fsync))
        ended = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert ended.code in (ExitCode.ERROR, ExitCode.PARTIAL), ended.said
    assert "No space left on device" in ended.said
    assert "free some space, then run the command again" in ended.said
    assert "Traceback" not in ended.said
    for kind, ids in faulty.made().items():
        pending = [op.resource for op in faulty.state().pending_operations]
        unknown = set(ids) - set(faulty.recorded().get(kind, []))
        assert len(unknown) <= len(pending), "what is not in the state is being looked for"
    assert_converged(faulty)


def test_a_disk_that_is_full_at_the_end_leaves_all_of_it_in_the_journal(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.configure(fault="none")
    write = storage.write_atomic

    def full(path: Path, content: bytes) -> None:
        if path.name == "dev.json" and path.parent.parent.name == "stacks":
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise storage.storage_error(path, error)
        write(path, content)

    assert faulty.ops("--sandbox", "preview", "dev").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomic", full)
        ended = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert ended.code == ExitCode.PARTIAL, ended.said
    assert "No space left on device" in ended.said
    assert faulty.recorded() == faulty.made()
    assert faulty.made().keys() == {"vpc", "parameter"}
    assert_converged(faulty)


def test_a_virtual_environment_without_the_sdk_is_told_with_how_to_complete_it(
    faulty: Faulty,
) -> None:
    venv.create(faulty.project / ".venv", with_pip=False, symlinks=True)
    ended = faulty.ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.ERROR
    assert "The Pulumi SDK is not installed for" in ended.said
    assert str(faulty.project / ".venv") in ended.said
    assert "pip install -r requirements.txt" in ended.said
    assert faulty.made() == {}


def test_a_virtual_environment_that_cannot_run_is_told_with_its_python(faulty: Faulty) -> None:
    python = faulty.project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("not a program")
    ended = faulty.ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.ERROR
    assert "could not be started" in ended.said
    assert str(python) in ended.said
    assert "Nothing was changed" in ended.said


def test_an_sdk_that_lacks_what_the_engine_offers_is_not_a_mystery(faulty: Faulty) -> None:
    """The programs' SDK need not be the engine's: what is missing there is told by its name."""
    bin_directory = faulty.project / ".venv" / "bin"
    bin_directory.mkdir(parents=True)
    shim = faulty.project / "shim"
    (shim / "pulumi").mkdir(parents=True)
    (shim / "pulumi" / "__init__.py").write_text("raise ImportError('an SDK of another age')\n")
    python = bin_directory / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{shim}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    ended = faulty.ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.ERROR
    assert "an SDK of another age" in ended.said
    assert faulty.made() == {}

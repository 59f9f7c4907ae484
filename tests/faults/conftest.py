"""A project with a program that goes wrong, and a sandbox whose cloud it acts on."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept, verify
from infra.sandbox.engine.state import Snapshot
from ops.__main__ import run
from ops.errors import ExitCode
from tests.sandbox.listing import Account, Found, difference

ROOT = Path(__file__).resolve().parents[2]
STACK = StackReference("mono-repo", "dev")
ACCOUNT = "111122223333"


@dataclass(frozen=True)
class Ended:
    """How a command line ended, and all that it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Faulty:
    """The project, its sandbox, and the cloud as its owner sees it."""

    project: Path
    home: Path
    cloud: servers.Cloud
    account: Account
    before: Found
    ops: Callable[..., Ended]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command line in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ops", "--root", str(self.project), "--sandbox", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def configure(self, **values: object) -> None:
        """Override configuration of the program."""
        for key, value in values.items():
            assert self.ops("sandbox", "config", "dev", key, str(value)).code == 0

    def state(self) -> Snapshot:
        """Give the state, with what an interrupted update has recorded; it has to hold together."""
        snapshot = Backend(self.home, version="").open(STACK).snapshot(Kept())
        verify(snapshot)
        return snapshot

    def made(self) -> dict[str, list[str]]:
        """Give what of the program's is in the cloud."""
        now = difference(self.before, self.account.listing())
        return {kind: ids for kind, ids in now.items() if kind in {"vpc", "parameter"}}

    def recorded(self) -> dict[str, list[str]]:
        """Give what of the program's is in the state."""
        kinds = {"aws:ec2/vpc:Vpc": "vpc", "aws:ssm/parameter:Parameter": "parameter"}
        found: dict[str, list[str]] = {}
        for entry in self.state().resources:
            if entry.type in kinds:
                found.setdefault(kinds[entry.type], []).append(entry.id)
        return {kind: sorted(ids) for kind, ids in found.items()}


@pytest.fixture
def faulty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Faulty]:
    """A sandbox of the test's own, since some tests end its cloud."""
    project, home = tmp_path / "project", tmp_path / "sandbox"
    project.mkdir()
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    shutil.copy(Path(__file__).with_name("faulty_program.py"), project / "__main__.py")
    monkeypatch.chdir(project)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    cloud = servers.ensure_running(home, port=0)
    account = Account(cloud, ACCOUNT)

    def ops(*arguments: str) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        code = run(arguments)
        captured = capsys.readouterr()
        assert "defect" not in captured.err, captured.err
        return Ended(code, captured.out + captured.err)

    yield Faulty(project, home, cloud, account, account.listing(), ops)
    servers.stop(home)


def await_file(path: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a file is there, and give its content; the process is to go on meanwhile."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)
    return path.read_text()


def assert_converged(faulty: Faulty) -> None:
    """Run `up` once more: then all is there, once, and in the state."""
    faulty.configure(fault="none")
    resumed = faulty.ops("--sandbox", "up", "dev", "--yes")
    assert resumed.code == ExitCode.OK, resumed.said
    assert faulty.made() == faulty.recorded()
    assert {kind: len(ids) for kind, ids in faulty.made().items()} == {"vpc": 1, "parameter": 3}
    assert not faulty.state().pending_operations
    again = faulty.ops("--sandbox", "preview", "dev", "--refresh", "--detailed-exitcode")
    assert again.code == ExitCode.OK, again.said

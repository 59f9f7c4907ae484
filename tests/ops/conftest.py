"""What tests of the commands share."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.settings import Settings, load
from ops.__main__ import run


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


Ops = Callable[..., Ended]


@pytest.fixture
def dev(root: Path) -> Settings:
    """The committed settings of dev."""
    return load("dev", root, dt.date(2026, 12, 1))


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A copy of the project's files that commands read."""
    folder = tmp_path / "project"
    folder.mkdir()
    for path in root.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    (folder / "Pulumi.yaml").touch()
    return folder


@pytest.fixture
def ops(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ops:
    """Runs a command line in a copy of the project, with a sandbox of its own."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("MONO_REPO_SANDBOX_HOME", str(tmp_path / "sandbox"))

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call

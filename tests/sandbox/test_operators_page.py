"""The round that the operators' page describes, typed as it stands there."""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox import servers
from ops.__main__ import run
from ops.errors import ExitCode
from ops.terminal import Terminal
from tests.sandbox.listing import Account, Found, difference

pytestmark = pytest.mark.sandbox

HEADING = "## A whole round in the sandbox"
ACCOUNT = "111122223333"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A sandbox with a cloud of its own."""
    folder = tmp_path / "sandbox"
    monkeypatch.setenv(servers.HOME_VARIABLE, str(folder))
    servers.ensure_running(folder, port=0)
    yield folder
    servers.stop(folder)


def test_the_whole_round_of_the_operators_page_comes_back_to_no_change(
    root: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for path in (*root.glob("Pulumi*.yaml"), root / "__main__.py"):
        shutil.copy(path, project)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setattr(Terminal, "interactive", True)
    cloud = servers.status(home).cloud
    assert cloud is not None
    account = Account(cloud, ACCOUNT, ("us-east-1", "us-west-2"))

    before: Found = {}
    typed = 0
    for command in _commands(root / "docs" / "ops.md"):
        if command[0] != "ops":
            subprocess.run(command, cwd=project, check=True)
            continue
        _say(command, monkeypatch, capsys)
        typed += 1
        if "bootstrap" in command:
            before = account.listing()
        if "teardown" in command:
            left = difference(before, account.listing())
            assert set(left) == {"database snapshot"}, left
    assert typed > 10


def _commands(page: Path) -> list[list[str]]:
    """Give the commands of the round, without what the page says about them."""
    text = page.read_text(encoding="utf-8").partition(f"{HEADING}\n")[2]
    block = text.partition("```sh\n")[2].partition("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def _say(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Type a command, and what it asks for: y, or for some the environment's name."""
    arguments = command[1:]
    capsys.readouterr()
    answer = "dev\n" if {"restore", "stop", "teardown"} & set(arguments) else "y\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    code = run(tuple(arguments))
    said = capsys.readouterr()
    assert code == ExitCode.OK, f"{command}: {code}\n{said.out[-3000:]}\n{said.err[-3000:]}"

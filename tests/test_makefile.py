"""The Makefile's first question: is there a Python that is new enough?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make")


def _interpreter(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _make(root: Path, tmp_path: Path, *arguments: str, path: str = "") -> tuple[int, str]:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(root / "Makefile", work)
    (work / "pyproject.toml").touch()
    (work / "requirements-sandbox.txt").touch()
    assert MAKE
    ended = subprocess.run(
        [MAKE, "sandbox", *arguments],
        cwd=work,
        env={"PATH": path or os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert not (work / ".venv").exists(), "nothing is made"
    return ended.returncode, ended.stdout


def _old(folder: Path) -> Path:
    script = 'case "$1" in --version) echo "Python 3.8.18" ;; *) exit 1 ;; esac'
    return _interpreter(folder, "python3", script)


def test_an_old_python_is_refused_with_its_version_and_how_to_name_another(
    root: Path, tmp_path: Path
) -> None:
    old = _old(tmp_path / "old")
    code, said = _make(root, tmp_path, f"PYTHON={old}")
    assert code == 2
    assert f"'{old}' is not Python 3.11 or later (Python 3.8.18)" in said
    assert "Nothing was installed" in said
    assert "make PYTHON=/path/to/python3.12" in said


def test_a_python_that_is_not_there_is_refused(root: Path, tmp_path: Path) -> None:
    code, said = _make(root, tmp_path, "PYTHON=/nowhere/python3")
    assert code == 2
    assert "'/nowhere/python3' is not Python 3.11 or later" in said
    assert "Nothing was installed" in said


def test_where_only_an_old_python_is_on_the_path_it_is_named(root: Path, tmp_path: Path) -> None:
    code, said = _make(root, tmp_path, path=str(_old(tmp_path / "bin").parent))
    assert code == 2
    assert "no Python 3.11 or later was found (python3 is: Python 3.8.18)" in said
    assert "Install Python 3.11+" in said


def test_where_there_is_no_python_at_all_that_is_said(root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    code, said = _make(root, tmp_path, path=str(empty))
    assert code == 2
    assert "no Python 3.11 or later was found" in said
    assert "Traceback" not in said


def test_a_python_without_venv_is_refused_with_the_package_that_has_it(
    root: Path, tmp_path: Path
) -> None:
    script = f'case "$2" in *venv*) exit 1 ;; *) exec "{sys.executable}" "$@" ;; esac'
    bare = _interpreter(tmp_path / "bare", "python3", script)
    code, said = _make(root, tmp_path, f"PYTHON={bare}")
    assert code == 2
    assert "has no venv module" in said
    assert "apt install python3-venv" in said

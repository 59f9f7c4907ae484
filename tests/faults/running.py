"""Command lines of `ops` in processes of their own, in which things go wrong: see `ops_victim`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 300


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """The result of one with --json."""
        return json.loads(self.out)


def start(
    plan: Mapping[str, Any], *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command line; `variables` are those of its environment that differ from ours."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.ops_victim", json.dumps(plan), *arguments],
        cwd=ROOT,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    plan: Mapping[str, Any], *arguments: str, variables: Mapping[str, str] | None = None
) -> Ended:
    """Run a command line to its end; one of its own defects is none that it may have."""
    with start(plan, *arguments, variables=variables) as process:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert "defect" not in err, err
    return Ended(process.returncode, out, err)

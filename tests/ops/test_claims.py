"""The claim of a bootstrap: what takes it over, and what it keeps out."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.settings import Settings
from ops import claims, lock
from ops.access import Access
from ops.errors import RefusedError
from ops.lock import Holder
from tests.ops.doctor.test_permissions import on_aws

RUN = "20261201-030000-bootstrap-dev-ab12"


@pytest.fixture
def access(dev: Settings, tmp_path: Path) -> Iterator[Access]:
    """Dev on moto's AWS, and a machine that has written nothing down."""
    with mock_aws():
        yield on_aws(dev, tmp_path, {"ssm": boto3.client("ssm", region_name="us-east-1")})


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def claim(**changes: Any) -> Holder:
    """A claim of this process, but for what is another's."""
    now = dt.datetime(2026, 12, 1, 3, tzinfo=dt.UTC)
    return replace(Holder.this_process(RUN, "bootstrap", "jane-doe", now), **changes)


def begun_here(access: Access) -> None:
    """Leave the journal of the run on this machine."""
    access.journals.mkdir(parents=True)
    (access.journals / f"{RUN}.jsonl").touch()


def test_its_own_machine_takes_it_over_after_a_restart(access: Access) -> None:
    before = claim(process="an-earlier-start:pid:[4026531836]/4711")
    with pytest.raises(RefusedError):
        claims.refuse_of_others(access, before)
    begun_here(access)
    claims.refuse_of_others(access, before)


def test_its_own_machine_takes_it_over_by_another_name_once_its_process_is_gone(
    access: Access, ended: int
) -> None:
    begun_here(access)
    renamed = claim(host="the-name-in-another-network", pid=ended)
    claims.refuse_of_others(access, renamed)
    parent = f"{lock._machine()}/{lock._began(os.getppid())}"
    alive = replace(renamed, pid=os.getppid(), process=parent)
    with pytest.raises(RefusedError):
        claims.refuse_of_others(access, alive)


def test_a_container_with_the_same_folder_does_not_take_over_from_its_machine(
    access: Access, ended: int
) -> None:
    begun_here(access)
    elsewhere = claim(pid=ended, process=f"{lock._boot()}:pid:[4026532999]/4711")
    with pytest.raises(RefusedError):
        claims.refuse_of_others(access, elsewhere)


def test_another_machine_is_refused_and_told_how_the_run_goes_on(access: Access) -> None:
    with pytest.raises(RefusedError) as refused:
        claims.refuse_of_others(access, claim(host="another", process="another:pid:[1]/1"))
    assert f"ops resume {RUN}" in str(refused.value)
    assert "aws ssm delete-parameter --name /dev/mono-repo-ops/bootstrap" in str(refused.value)

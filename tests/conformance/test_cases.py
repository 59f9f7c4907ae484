"""Every case recorded on the real CLI, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.sandbox import servers
from tests.conformance import recordings
from tests.conformance.conftest import Worlds
from tests.conformance.replay import Replay

pytestmark = pytest.mark.conformance


@pytest.fixture
def cloud(cloud_home: Path) -> servers.Cloud:
    """An empty cloud: the recorded programs work in its default account."""
    return servers.reset(cloud_home)


@pytest.fixture
def environment(cloud: servers.Cloud) -> dict[str, str]:
    """The variables that point at the cloud's default account."""
    return servers.environment(cloud, "us-east-1")


@pytest.mark.parametrize("case", recordings.names())
def test_a_recorded_case_comes_out_as_on_the_real_cli(
    case: str, world: Worlds, home: Path, cloud: servers.Cloud
) -> None:
    made = world(recordings.program(case), recordings.project_name(case))
    found = Replay(case, made, home, cloud.endpoint).run()
    assert not found, "\n" + "\n".join(f"{case} {d.step}: {d.text}" for d in found)

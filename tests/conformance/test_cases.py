"""Every case recorded on the real CLI, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.wire import UNKNOWN_STRING
from tests.conformance import recordings
from tests.conformance.conftest import Worlds
from tests.conformance.replay import Replay

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("case", recordings.names())
def test_a_recorded_case_comes_out_as_on_the_real_cli(
    case: str,
    world: Worlds,
    home: Path,
    cloud: servers.Cloud,
    sdk_version: tuple[int, ...],
) -> None:
    made = world(recordings.program(case), recordings.project_name(case))
    found = Replay(case, made, home, cloud.endpoint).run()
    if sdk_version < (3, 272):
        # An older SDK does not say that a value which it does not know yet is a secret.
        unmarked = f'recorded "[secret]", found "{UNKNOWN_STRING}"'
        found = [difference for difference in found if not difference.text.endswith(unmarked)]
    assert not found, "\n" + "\n".join(f"{case} {d.step}: {d.text}" for d in found)

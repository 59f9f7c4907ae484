"""On AWS a teardown's settings are in a copy of the stack file, and the file stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.settings import Settings
from ops import protection
from ops.access import Access
from ops.errors import OpsError

VALUES: dict[str, bool | str] = {
    "deletion_protection": False,
    "final_snapshot_stamp": "20261201-120000",
}


@pytest.fixture
def access(project: Path, dev: Settings) -> Access:
    def nobody(*_: object) -> Any:
        raise AssertionError("AWS is not asked for that")

    return Access(
        mode="aws",
        root=project,
        settings=dev,
        cloud="AWS",
        caller="",
        variables={},
        client=nobody,
        own_client=nobody,
        records=project / ".ops",
    )


@pytest.mark.parametrize("environment", ["dev", "uat", "prod"])
def test_nothing_but_the_given_settings_differs(environment: str, root: Path) -> None:
    text = (root / f"Pulumi.{environment}.yaml").read_text(encoding="utf-8")
    before, after = yaml.safe_load(text), yaml.safe_load(protection.with_settings(text, VALUES))
    before["config"]["mono-repo:settings"] |= VALUES
    assert after == before


def test_what_the_file_says_itself_is_replaced_and_what_follows_stays() -> None:
    text = (
        "secretsprovider: awskms://x\n"
        "config:\n  mono-repo:settings:\n    deletion_protection: true\n    owner: devops\n"
        "    databases:\n      - deletion_protection: true\n  other:key: x\n"
    )
    after = yaml.safe_load(protection.with_settings(text, VALUES))
    assert after["config"]["mono-repo:settings"] == {
        **VALUES,
        "owner": "devops",
        "databases": [{"deletion_protection": True}],
    }
    assert after["config"]["other:key"] == "x"
    assert after["secretsprovider"] == "awskms://x"


def test_the_copy_is_there_for_the_update_alone(access: Access) -> None:
    file = access.root / "Pulumi.dev.yaml"
    before = file.read_bytes()
    with protection.copied_file(access, VALUES) as copy:
        assert copy != file
        assert "final_snapshot_stamp: " in copy.read_text(encoding="utf-8")
        assert copy.stat().st_mode & 0o077 == 0 or copy.parent.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    assert file.read_bytes() == before


def test_a_file_of_another_form_is_refused(access: Access) -> None:
    file = access.root / "Pulumi.dev.yaml"
    flow = yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")), default_flow_style=True)
    file.write_text(flow, encoding="utf-8")
    with (
        pytest.raises(OpsError, match="its form is not the one that the Pulumi CLI writes"),
        protection.copied_file(replace(access), VALUES),
    ):
        pass

"""A bootstrap that nothing needs goes whole, with the journals copied and nothing left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.sandbox import servers
from ops.errors import ExitCode
from tests.ops.conftest import Ops
from tests.sandbox.listing import Account, difference

pytestmark = pytest.mark.sandbox

RETIRE = ("--sandbox", "teardown", "dev", "--bootstrap")


def test_the_bootstrap_goes_and_leaves_nothing(ops: Ops, tmp_path: Path) -> None:
    home = tmp_path / "sandbox"
    cloud = servers.ensure_running(home, port=0)
    try:
        account = Account(cloud, "111122223333", ("us-east-1", "us-west-2"))
        before = account.listing()
        up = ops("--sandbox", "up", "dev", "--stack", "bootstrap", "--yes", "--no-verify")
        assert up.code == ExitCode.OK, up.err
        made = account.listing()
        bucket = next(name for name in made["bucket"] if name.startswith("mono-repo-dev-logs-"))
        for body in (b"one", b"two"):
            account.client("s3").put_object(Bucket=bucket, Key="log", Body=body)
        account.client("s3").delete_object(Bucket=bucket, Key="log")

        assert ops(*RETIRE, "--yes").code == ExitCode.REFUSED
        planned = json.loads(ops(*RETIRE, "--dry-run", "--json").out)
        assert any(label.startswith("table ") for label in planned["plan"]["facts"]["bootstrap"])
        ended = ops(*RETIRE, "--yes", "--plan-hash", planned["plan_hash"])
        assert ended.code == ExitCode.OK, ended.out + ended.err
        assert difference(before, account.listing()) == {}
        assert list((home / ".ops" / "runs").glob("*-teardown-bootstrap-dev-*.jsonl"))
    finally:
        servers.stop(home)

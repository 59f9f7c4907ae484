"""A bootstrap that nothing needs goes whole, killed or not: journals are kept, nothing is left."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from ops.errors import ExitCode
from tests.faults import running
from tests.ops.conftest import Ops
from tests.sandbox.listing import Account, Found, difference

pytestmark = pytest.mark.sandbox

RETIRE = ("--sandbox", "teardown", "dev", "--bootstrap")


def test_the_bootstrap_goes_with_all_that_is_in_it_though_it_is_killed_around_every_step(
    ops: Ops, tmp_path: Path
) -> None:
    home = tmp_path / "sandbox"
    cloud = servers.ensure_running(home, port=0)
    try:
        account = Account(cloud, "111122223333", ("us-east-1", "us-west-2"))
        before = account.listing()
        up = ops("--sandbox", "up", "dev", "--stack", "bootstrap", "--yes", "--no-verify")
        assert up.code == ExitCode.OK, up.err
        _live_in(account, account.listing())

        assert ops(*RETIRE, "--yes").code == ExitCode.REFUSED
        planned = json.loads(ops(*RETIRE, "--dry-run", "--json").out)
        assert any(label.startswith("table ") for label in planned["plan"]["facts"]["bootstrap"])
        steps = [step["id"] for step in planned["plan"]["steps"]]
        command: tuple[str, ...] = (*RETIRE, "--yes", "--plan-hash", planned["plan_hash"])
        for moment in [(kind, step) for step in steps for kind in ("intent", "result")]:
            _killed(moment, *command)
            runs = (home / ".ops" / "runs").glob("*-teardown-bootstrap-dev-*.jsonl")
            command = ("--sandbox", "resume", max(path.stem for path in runs), "--yes")
        ended = ops(*command)
        assert ended.code == ExitCode.OK, ended.out + ended.err
        assert difference(before, account.listing()) == {}
        assert list((home / ".ops" / "retired").rglob("*.json")), "its journals"
    finally:
        servers.stop(home)


def _killed(moment: tuple[str, str], *arguments: str) -> None:
    """Run a command line that is killed at a moment: see `ops_victim`."""
    ended = running.run({"kill": moment}, "--root", str(Path.cwd()), *arguments)
    assert ended.code == -signal.SIGKILL, (moment, ended.out, ended.err)


def _live_in(account: Account, made: Found) -> None:
    """Make what AWS keeps from being deleted: versions of objects, half an upload, images."""
    s3: Any = account.client("s3")
    bucket = next(name for name in made["bucket"] if name.startswith("mono-repo-dev-logs-"))
    for body in (b"one", b"two"):
        s3.put_object(Bucket=bucket, Key="log", Body=body)
    s3.delete_object(Bucket=bucket, Key="log")
    s3.create_multipart_upload(Bucket=bucket, Key="half")
    ecr: Any = account.client("ecr")
    for repository in naming.repositories("dev").values():
        ecr.put_image(
            repositoryName=repository, imageManifest=json.dumps(_IMAGE), imageTag="v1.2.3"
        )


_IMAGE = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {"mediaType": "x", "size": 1, "digest": f"sha256:{0:064x}"},
    "layers": [],
}

"""Production is taken down by two: nobody alone, and nothing but the plan that was agreed to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.sandbox import servers
from ops import sandbox
from ops.errors import ExitCode
from tests.ops.restore import world as worlds
from tests.ops.restore.world import World
from tests.sandbox.listing import Account, difference

pytestmark = pytest.mark.faults

ACCOUNT = "777788889999"
TEARDOWN = ("teardown", "prod")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A production in small."""
    made = worlds.make(tmp_path_factory.mktemp("production"), environment="prod")
    made.run("up", "prod", "--yes", "--no-verify")
    yield made
    servers.stop(made.home)


def test_production_goes_by_the_plan_that_somebody_else_has_approved(world: World) -> None:
    cloud = servers.status(world.home).cloud
    assert cloud is not None
    account = Account(cloud, ACCOUNT, ("us-east-1", "us-west-2"))
    before = account.listing()
    agreed = world.report(*TEARDOWN, "--dry-run")["plan_hash"]
    unattended = (*TEARDOWN, "--auto-approve", "--plan-hash", agreed)
    world.variables[sandbox.OPERATOR_VARIABLE] = "john-smith"

    refused = world.run(*unattended, code=ExitCode.REFUSED)
    assert "needs the approval of somebody" in refused
    assert f"approve prod --command 'teardown' --plan-hash {agreed}" in refused
    _approve(world, agreed, by="john-smith")
    assert "that is you" in world.run(*unattended, code=ExitCode.REFUSED)
    _approve(world, "0" * 16, by="jane-doe")
    assert "that is you" in world.run(*unattended, code=ExitCode.REFUSED)
    _revoke(world, agreed)
    changed = difference(before, account.listing())
    assert set(changed) <= {"parameter"}, "approvals, and nothing else"

    _approve(world, agreed, by="jane-doe")
    ended = world.report(*unattended)
    assert {check["status"] for check in ended["checks"]} == {"ok"}
    assert account.client("rds").describe_db_instances()["DBInstances"] == []


def _approve(world: World, plan_hash: str, *, by: str) -> None:
    own = world.variables[sandbox.OPERATOR_VARIABLE]
    world.variables[sandbox.OPERATOR_VARIABLE] = by
    world.run("approve", "prod", "--command", "teardown", "--plan-hash", plan_hash)
    world.variables[sandbox.OPERATOR_VARIABLE] = own


def _revoke(world: World, plan_hash: str) -> None:
    world.run("approvals", "revoke", "prod", "--plan-hash", plan_hash)

"""A deployment in which things go wrong: the next run goes on, and nothing is made twice."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from ops import lock, sandbox
from ops.errors import ExitCode
from tests.faults import running
from tests.faults.running import Ended
from tests.sandbox.listing import Account

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = {"dev": "111122223333", "prod": "777788889999"}
OPERATORS = 8
"""Parameters of the committed catalogue that operators own."""


@dataclass(frozen=True)
class World:
    """A project, its sandbox, and what stands in each account beside the stack."""

    project: Path
    home: Path
    accounts: Mapping[str, Account]

    def ops(self, *arguments: str, operator: str = "jane-doe", **plan: Any) -> Ended:
        """Run a command line in a process of its own, with faults: see `ops_victim`."""
        line = ["--root", str(self.project), "--sandbox", *arguments]
        variables = {
            servers.HOME_VARIABLE: str(self.home),
            sandbox.OPERATOR_VARIABLE: operator,
        }
        return running.run(plan, *line, variables=variables)

    def killed(self, *arguments: str, kill: tuple[str | int, str]) -> None:
        """Run a command line that is to be killed."""
        ended = self.ops(*arguments, kill=kill)
        assert ended.code == -signal.SIGKILL, (kill, ended.out + ended.err)

    def last_run(self) -> str:
        """The name of the last deployment."""
        return max(path.stem for path in (self.home / ".ops" / "runs").glob("*-deploy-*.jsonl"))

    def parameters(self, env: str) -> dict[str, int]:
        """Parameter → its version."""
        pages = self.accounts[env].client("ssm").get_paginator("describe_parameters")
        return {
            item["Name"]: item["Version"]
            for page in pages.paginate()
            for item in page["Parameters"]
            if item["Name"].startswith(f"/{env}/mono-repo/")
        }

    def vpcs(self, env: str) -> int:
        """How many VPCs of the environment there are."""
        ours = [{"Name": "tag:environment", "Values": [env]}]
        return len(self.accounts[env].client("ec2").describe_vpcs(Filters=ours)["Vpcs"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two environments that are ready to be deployed."""
    folder = tmp_path_factory.mktemp("deployable")
    project, home = folder / "project", folder / "sandbox"
    project.mkdir()
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    shutil.copy(Path(__file__).with_name("deployable_program.py"), project / "__main__.py")
    cloud = servers.ensure_running(home, port=0)
    made = World(project, home, {env: Account(cloud, id_) for env, id_ in ACCOUNTS.items()})
    for env, account in made.accounts.items():
        address = _make_surroundings(env, account)
        assert made.ops("sandbox", "config", env, "address", address).code == ExitCode.OK
    yield made
    servers.stop(home)


def _make_surroundings(env: str, account: Account) -> str:
    """Make what a bootstrap makes, a cluster and a database; give the database's address."""
    for prefix in (naming.state_bucket(env), naming.backup_bucket(env)):
        account.client("s3").create_bucket(Bucket=f"{prefix}-0123abc")
    account.client("dynamodb").create_table(
        TableName=naming.lock_table(env),
        AttributeDefinitions=[{"AttributeName": lock.KEY, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": lock.KEY, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    subnets = account.client("ec2").describe_subnets()["Subnets"][:2]
    account.client("eks").create_cluster(
        name=naming.cluster(env),
        roleArn=f"arn:aws:iam::{ACCOUNTS[env]}:role/eks",
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"] for subnet in subnets]},
    )
    rds, name = account.client("rds"), f"mono-repo-{env}"
    rds.create_db_instance(
        DBInstanceIdentifier=name,
        Engine="postgres",
        DBInstanceClass="db.t4g.medium",
        AllocatedStorage=20,
        MasterUsername="mono_repo_admin",
        MasterUserPassword="not-a-secret",
    )
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=name, WaiterConfig={"Delay": 0}
    )
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    return str(found["Endpoint"]["Address"])


def test_a_deployment_that_is_refused_denied_or_killed_is_resumed_to_its_end_and_makes_all_once(
    world: World,
) -> None:
    unknown = world.ops("deploy", "dev", "--target", "applications", "--yes")
    assert unknown.code == ExitCode.USAGE
    assert "there are all, infrastructure" in unknown.err

    denied = world.ops("deploy", "dev", "--yes", denied=["ssm:DescribeParameters"])
    assert denied.code == ExitCode.INCOMPLETE, denied.err
    assert "give ssm:DescribeParameters" in denied.err

    _hold_lock(world)
    held = world.ops("deploy", "dev", "--yes")
    assert held.code == ExitCode.REFUSED
    assert "Somebody works on dev" in held.err
    updated = world.ops("up", "dev", "--yes")
    assert updated.code == ExitCode.REFUSED
    assert "stop (run 20261124-000000-stop-dev-0123) by john-smith" in updated.err
    _release_lock(world)
    assert world.vpcs("dev") == 0

    world.killed("deploy", "dev", "--yes", kill=("intent", "stack"))
    run = world.last_run()
    # What was agreed to is brought up, and no later edit.
    program = world.project / "__main__.py"
    text = program.read_text()
    program.write_text(text.replace("10.0.0.0/16", "10.1.0.0/16"))
    edited = world.ops("resume", run, "--yes")
    assert edited.code == ExitCode.PARTIAL
    assert "The program is another than the one that was agreed to" in edited.out + edited.err
    assert world.vpcs("dev") == 0
    program.write_text(text)
    moments: tuple[tuple[str | int, str], ...] = (
        (1, "stack"),
        (1, "stack"),
        ("result", "stack"),
        ("intent", "parameters"),
        ("result", "parameters"),
    )
    for moment in moments:
        world.killed("resume", run, "--yes", kill=moment)
    ended = world.ops("resume", run, "--yes", "--json")
    assert ended.code == ExitCode.OK, ended.out + ended.err
    checks = {check["name"]: check["status"] for check in ended.report["checks"]}
    assert set(checks.values()) == {"ok"}
    assert {"resources", "outputs", "cluster", "database main", "parameters"} <= checks.keys()

    assert world.vpcs("dev") == 1
    assert list(world.parameters("dev").values()) == [1] * OPERATORS
    again = world.ops("deploy", "dev", "--yes", "--json")
    assert (again.code, again.report["result"]) == (ExitCode.OK, "nothing to do")
    seen = world.ops("preview", "dev", "--refresh", "--detailed-exitcode")
    assert seen.code == ExitCode.OK, seen.out


def test_production_is_deployed_once_somebody_else_has_agreed_to_this_very_plan(
    world: World,
) -> None:
    def deploy(**plan: Any) -> Ended:
        return world.ops("deploy", "prod", "--yes", **plan)

    def approve(operator: str, plan_hash: str) -> None:
        arguments = ("--command", "deploy", "--plan-hash", plan_hash)
        ended = world.ops("approve", "prod", *arguments, operator=operator)
        assert ended.code == ExitCode.OK, ended.err

    plan = world.ops("deploy", "prod", "--dry-run", "--json").report["plan_hash"]
    alone = deploy()
    assert alone.code == ExitCode.REFUSED
    assert f"--plan-hash {plan}" in alone.err
    approve("jane-doe", plan)
    assert "that is you" in deploy().err
    world.ops("approvals", "revoke", "prod", "--plan-hash", plan)
    approve("john-smith", "0" * 16)
    assert deploy().code == ExitCode.REFUSED
    approve("john-smith", plan)
    # The plan is another once what it would do is another.
    program = world.project / "__main__.py"
    text = program.read_text()
    program.write_text(text.replace("10.0.0.0/16", "10.1.0.0/16"))
    assert "there is none" in deploy().err
    assert world.vpcs("prod") == 0
    program.write_text(text)

    expired = deploy(expires=3, expiring=["ssm:PutParameter"])
    assert expired.code in (ExitCode.PARTIAL, ExitCode.NOT_AUTHENTICATED), expired.err
    world.ops("approvals", "revoke", "prod", "--plan-hash", plan)
    assert world.ops("resume", world.last_run(), "--yes").code == ExitCode.REFUSED
    approve("john-smith", plan)
    ended = world.ops("resume", world.last_run(), "--yes")
    assert ended.code == ExitCode.OK, ended.out + ended.err
    assert world.vpcs("prod") == 1
    assert list(world.parameters("prod").values()) == [1] * OPERATORS


def test_a_deployment_is_refused_where_the_doctor_finds_that_its_bootstrap_is_missing(
    world: World,
) -> None:
    ended = world.ops("deploy", "uat", "--yes")
    assert ended.code == ExitCode.REFUSED
    assert "to do: ops bootstrap uat" in ended.err


def _hold_lock(world: World) -> None:
    """Let somebody on another machine hold the lock."""
    now = dt.datetime.now(tz=dt.UTC)
    holder = {
        "run": "20261124-000000-stop-dev-0123",
        "command": "stop",
        "operator": "john-smith",
        "host": "elsewhere",
        "pid": "1",
        "process": "1",
        "acquired": now.isoformat(),
    }
    world.accounts["dev"].client("dynamodb").put_item(
        TableName=naming.lock_table("dev"),
        Item={
            lock.KEY: {"S": "dev"},
            lock.EXPIRY: {"N": str(int(now.timestamp()) + 600)},
            "Holder": {"M": {name: {"S": value} for name, value in holder.items()}},
        },
    )


def _release_lock(world: World) -> None:
    world.accounts["dev"].client("dynamodb").delete_item(
        TableName=naming.lock_table("dev"), Key={lock.KEY: {"S": "dev"}}
    )

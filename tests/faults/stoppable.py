"""A small environment that can be stopped: clusters, instances, databases, an alarm and a rule.

It is made with boto3, for a test that stops it many times; the stack has one alarm.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import naming
from infra.sandbox import servers
from infra.suspension import Suspension, parse
from tests.faults import running
from tests.faults.running import Ended
from tests.sandbox.listing import Account

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111122223333"
ENV = "dev"
SIZES = {
    ("mono-repo-dev", "general"): (1, 2, 4),
    ("mono-repo-dev-jobs", "jobs"): (0, 1, 3),
}
"""Cluster and node group → least, wanted and most nodes."""
DATABASE = "mono-repo-dev"
ALARMS = ("mono-repo-dev-cpu", "mono-repo-dev-declared")
WATCHING = "mono-repo-database-restop-dev"
"""The alarm that no stop silences."""


@dataclass(frozen=True)
class World:
    """A project, its sandbox, and what is in its cloud."""

    project: Path
    home: Path
    account: Account
    instances: list[str]
    """Those that a stop stops."""
    others: list[str]
    """Those that it leaves: another environment's."""

    def client(self, service: str) -> Any:
        """Give a client of the cloud's owner."""
        return self.account.client(service)

    def start(self, *arguments: str, plan: Mapping[str, Any]) -> subprocess.Popen[str]:
        """Start a command line in a process of its own, with faults: see `ops_victim`."""
        return running.start(plan, *self._line(arguments), variables=self._variables)

    def ops(self, *arguments: str, **plan: Any) -> Ended:
        """Run a command line in a process of its own."""
        return running.run(plan, *self._line(arguments), variables=self._variables)

    def _line(self, arguments: Sequence[str]) -> tuple[str, ...]:
        return ("--root", str(self.project), "--sandbox", *arguments)

    @property
    def _variables(self) -> dict[str, str]:
        return {servers.HOME_VARIABLE: str(self.home)}

    def killed(self, *arguments: str, **plan: Any) -> None:
        """Run a command line that is to be killed."""
        ended = self.ops(*arguments, **plan)
        assert ended.code == -signal.SIGKILL, (plan, ended.out + ended.err)

    def sizes(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Give the sizes of the node groups."""
        eks = self.client("eks")
        found = {}
        for cluster, name in SIZES:
            group = eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
            size = group["scalingConfig"]
            found[cluster, name] = (size["minSize"], size["desiredSize"], size["maxSize"])
        return found

    def nodes(self) -> int:
        """Give how many nodes there are."""
        found = self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        return sum(len(group["Instances"]) for group in found)

    def instance_states(self, ids: Sequence[str]) -> set[str]:
        """Give the states that some instances are in."""
        pages = self.client("ec2").describe_instances(InstanceIds=list(ids))["Reservations"]
        return {item["State"]["Name"] for page in pages for item in page["Instances"]}

    def database_statuses(self) -> set[str]:
        """Give the statuses that the databases have."""
        found = self.client("rds").describe_db_instances()["DBInstances"]
        return {item["DBInstanceStatus"] for item in found}

    def telling(self) -> set[str]:
        """Give the alarms that tell."""
        found = self.client("cloudwatch").describe_alarms()["MetricAlarms"]
        return {alarm["AlarmName"] for alarm in found if alarm["ActionsEnabled"]}

    def rule(self) -> str:
        """Give the state of the rule."""
        state: str = self.client("events").describe_rule(Name=naming.database_restop(ENV))["State"]
        return state

    def record(self) -> Suspension | None:
        """Give the record of the suspension."""
        pages = (
            self.client("ssm")
            .get_paginator("get_parameters_by_path")
            .paginate(Path=naming.parameter_path(ENV, naming.OPS_APP), Recursive=True)
        )
        return parse(
            ENV, {item["Name"]: item["Value"] for page in pages for item in page["Parameters"]}
        )

    def runs(self) -> list[str]:
        """Give the names of the runs, the oldest first."""
        return sorted(path.stem for path in (self.home / ".ops" / "runs").glob("*.jsonl"))

    def assert_stopped(self) -> None:
        """Everything rests, and the record has the sizes from before."""
        assert {(low, now) for low, now, _ in self.sizes().values()} == {(0, 0)}
        assert [most for *_, most in self.sizes().values()] == [most for *_, most in SIZES.values()]
        assert self.instance_states(self.instances) == {"stopped"}
        assert self.instance_states(self.others) == {"running"}
        assert self.database_statuses() == {"stopped"}
        assert self.telling() == {WATCHING}
        assert self.rule() == "ENABLED"
        self.assert_recorded()

    def assert_recorded(self) -> None:
        """The record has what ran before, exactly."""
        record = self.record()
        assert record is not None
        assert {
            (cluster, name): (size.min, size.desired, size.max)
            for cluster, groups in record.node_groups.items()
            for name, size in groups.items()
        } == SIZES
        assert sorted(record.instances) == sorted(self.instances)
        assert record.databases == (DATABASE,)

    def assert_running(self) -> None:
        """Everything runs as before, and nothing is recorded."""
        assert self.sizes() == SIZES
        assert self.instance_states(self.instances) == {"running"}
        assert self.database_statuses() == {"available"}
        assert self.telling() == {*ALARMS, WATCHING}
        assert self.rule() == "DISABLED"
        assert self.record() is None

    def assert_agreed(self) -> None:
        """A preview that reads everything back shows no change."""
        seen = self.ops("preview", ENV, "--refresh", "--detailed-exitcode")
        assert seen.code == 0, seen.out + seen.err


def make(folder: Path) -> World:
    """Make the environment in a sandbox of its own."""
    project, home = folder / "project", folder / "sandbox"
    project.mkdir()
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    shutil.copy(Path(__file__).with_name("stoppable_program.py"), project / "__main__.py")
    account = Account(servers.ensure_running(home, port=0), ACCOUNT)
    _make_foundation(account)
    _make_clusters(account)
    _make_database(account)
    instances = _make_instances(account, ENV, 3)
    world = World(project, home, account, instances, _make_instances(account, "uat", 1))
    _make_alarms(account)
    made = world.ops("up", ENV, "--yes")
    assert made.code == 0, made.out + made.err
    return world


def _make_foundation(account: Account) -> None:
    for prefix in (naming.state_bucket(ENV), naming.backup_bucket(ENV)):
        account.client("s3").create_bucket(Bucket=f"{prefix}-0123abc")
    account.client("dynamodb").create_table(
        TableName=naming.lock_table(ENV),
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _make_clusters(account: Account) -> None:
    eks, ec2 = account.client("eks"), account.client("ec2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    for cluster in dict.fromkeys(cluster for cluster, _ in SIZES):
        eks.create_cluster(
            name=cluster,
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/eks",
            resourcesVpcConfig={"subnetIds": subnets},
            tags={"environment": ENV},
        )
    for (cluster, name), (low, now, most) in SIZES.items():
        eks.create_nodegroup(
            clusterName=cluster,
            nodegroupName=name,
            nodeRole=f"arn:aws:iam::{ACCOUNT}:role/nodes",
            subnets=subnets,
            scalingConfig={"minSize": low, "desiredSize": now, "maxSize": most},
        )


def _make_database(account: Account) -> None:
    rds = account.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier=DATABASE,
        Engine="postgres",
        DBInstanceClass="db.t4g.medium",
        AllocatedStorage=20,
        MasterUsername="mono_repo_admin",
        MasterUserPassword="not-a-secret",
    )
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=DATABASE, WaiterConfig={"Delay": 0}
    )


def _make_instances(account: Account, environment: str, number: int) -> list[str]:
    ec2 = account.client("ec2")
    tags = [{"Key": "environment", "Value": environment}]
    made = ec2.run_instances(
        ImageId="ami-ekslinux",
        MinCount=number,
        MaxCount=number,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return [item["InstanceId"] for item in made["Instances"]]


def _make_alarms(account: Account) -> None:
    for name in (ALARMS[0], WATCHING):
        account.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Statistic="Average",
            Period=300,
            ComparisonOperator="GreaterThanThreshold",
            Threshold=90,
            EvaluationPeriods=1,
        )
    account.client("events").put_rule(
        Name=naming.database_restop(ENV), ScheduleExpression="rate(30 minutes)", State="DISABLED"
    )

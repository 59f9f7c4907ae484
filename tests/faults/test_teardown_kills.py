"""One environment, taken down: refused in every way, killed at every step, and gone in the end."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.retries.standard import ExponentialBackoff

from infra import naming
from infra.sandbox import clusters, servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.command import EmbeddedCommand
from ops import kubernetes
from ops.__main__ import run
from ops.commands import Setting
from ops.errors import ExitCode
from ops.lock import Holder, environment_lock
from ops.terminal import Terminal
from tests.faults import aws_faults, running
from tests.faults.running import Ended
from tests.sandbox.listing import Account, Found, difference

pytestmark = [pytest.mark.sandbox, pytest.mark.faults]

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111122223333"
TEARDOWN = ("--sandbox", "teardown", "dev")
CLUSTER_TAG = "kubernetes.io/cluster/mono-repo-dev"
STACK = StackReference("mono-repo", "dev")
BUSY = {"throttled": 0.3, "broken": 0.1}
"""The share of all calls that AWS refuses for being too many, or breaks, while it is taken down."""

Moment = tuple[str, str]
"""`intent` or `result`, and a step: see `ops_victim`."""


@dataclass
class World:
    """dev in a sandbox of its own, with what operators and the cluster have made besides."""

    home: Path
    account: Account
    identity: str
    """The cloud's."""
    before: Found
    """What was there before the environment: its account and its bootstrap."""
    answers: list[str] = field(default_factory=list)
    agreed: str = ""
    """The hash of the plan, as long as nothing changes."""
    steps: list[str] = field(default_factory=list)
    """Those of the plan, in the order in which they are done."""
    volume: str = ""
    """The one that a claim in the cluster has."""
    cluster: Any = None
    """The cluster's API, where there is a real one."""

    def ops(self, *arguments: str) -> Ended:
        """Run a command line here."""
        out, err, stdin = io.StringIO(), io.StringIO(), io.StringIO()
        streams = sys.stdout, sys.stderr, sys.stdin
        sys.stdout, sys.stderr, sys.stdin = out, err, stdin
        try:
            code = run(arguments)
        finally:
            sys.stdout, sys.stderr, sys.stdin = streams
        assert "defect" not in err.getvalue(), err.getvalue()
        return Ended(code, out.getvalue(), err.getvalue())

    def faulty(self, *arguments: str, **plan: Any) -> Ended:
        """Run a command line in a process in which things go wrong: see `ops_victim`."""
        return running.run(plan, *arguments)

    def killed(self, moment: tuple[str | int, str], *arguments: str) -> None:
        """Run a command line that is killed at a moment, while AWS is too busy for many calls."""
        ended = self.faulty(*arguments, kill=moment, **BUSY)
        assert ended.code == -signal.SIGKILL, (moment, ended.code, ended.out, ended.err)

    def killed_through(self, begin: Moment, end: Moment) -> None:
        """Resume the run and kill it around every step, from one moment up to another."""
        moments = [(kind, step) for step in self.steps for kind in ("intent", "result")]
        for moment in moments[moments.index(begin) : moments.index(end) + 1]:
            self.killed(moment, *self.resume)

    @property
    def resume(self) -> tuple[str, ...]:
        """The command line that goes on with the run that was begun last."""
        return ("--sandbox", "resume", self.run(), "--yes")

    @property
    def unattended(self) -> tuple[str, ...]:
        """The command line that carries out the plan that was agreed to."""
        return (*TEARDOWN, "--auto-approve", "--plan-hash", self.agreed)

    def bare(self, *arguments: str) -> None:
        """Run Pulumi's own command, as somebody would who does without `ops`."""
        command = EmbeddedCommand(self.home, cloud_identity=self.identity)
        access = Setting(sandbox=True, root=ROOT, terminal=Terminal()).access("dev")
        command.run([*arguments, "--stack", "dev"], str(ROOT), dict(access.variables))

    def plan(self, *arguments: str) -> dict[str, Any]:
        """Plan the teardown."""
        ended = self.ops(*TEARDOWN, *arguments, "--dry-run", "--json")
        assert ended.code == ExitCode.OK, ended.err
        report: dict[str, Any] = ended.report
        return report

    def run(self) -> str:
        """Give the run that was begun last."""
        return max(path.stem for path in (self.home / ".ops" / "runs").glob("*.jsonl"))

    def resources(self) -> int:
        return len(Backend(self.home, version="").open(STACK).snapshot(Kept()).resources)

    def left(self) -> dict[str, list[str]]:
        return difference(self.before, self.account.listing())

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """See that the block changes nothing, in the cloud or the state."""
        listing, resources = self.account.listing(), self.resources()
        yield
        assert self.account.listing() == listing
        assert self.resources() == resources


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A made environment; the tests of this module take it down in their order."""
    home = tmp_path_factory.mktemp("teardown") / "sandbox"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(servers.HOME_VARIABLE, str(home))
        patch.chdir(ROOT)
        cloud = servers.ensure_running(home, port=0)
        account = Account(cloud, ACCOUNT, ("us-east-1", "us-west-2"))
        made = World(home, account, cloud.identity, {})
        patch.setattr(Terminal, "interactive", property(lambda _self: bool(made.answers)))
        patch.setattr(Terminal, "ask", lambda _self, _question: made.answers.pop(0))
        for stack in ("account", "bootstrap"):
            up = made.ops("--sandbox", "up", "dev", "--stack", stack, "--yes", "--no-verify")
            assert up.code == ExitCode.OK, up.out + up.err
        made.before = account.listing()
        up = made.ops("--sandbox", "up", "dev", "--yes", "--no-verify")
        assert up.code == ExitCode.OK, up.out + up.err
        assert made.ops("--sandbox", "params", "setup", "dev", "--yes").code == ExitCode.OK
        _live_in(account)
        _deploy_into(made)
        yield made
        servers.stop(home)


def _live_in(account: Account) -> None:
    """Make what people and the cluster make, and no state knows."""
    iam, user = account.client("iam"), naming.user("dev", "jane-doe")
    iam.create_access_key(UserName=user)
    iam.create_login_profile(UserName=user, Password="Correct-Horse-9-Battery")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName=user)["VirtualMFADevice"]
    iam.enable_mfa_device(
        UserName=user,
        SerialNumber=device["SerialNumber"],
        AuthenticationCode1="123456",
        AuthenticationCode2="654321",
    )
    ec2 = account.client("ec2")
    own = [{"Name": "tag:environment", "Values": ["dev"]}]
    subnet = ec2.describe_subnets(Filters=own)["Subnets"][0]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet, Description="aws-K8S-i-0123456789")
    _make_volume(account)


def _make_volume(account: Account) -> str:
    owned = [{"Key": CLUSTER_TAG, "Value": "owned"}]
    made = account.client("ec2").create_volume(
        AvailabilityZone="us-east-1a",
        Size=10,
        VolumeType="gp3",
        TagSpecifications=[{"ResourceType": "volume", "Tags": owned}],
    )
    return str(made["VolumeId"])


def _deploy_into(world: World) -> None:
    """Make what stands for something in AWS in the cluster, where there is a real one."""
    if clusters.programs() is None:
        return
    from kubernetes.client import CoreV1Api

    access = Setting(sandbox=True, root=ROOT, terminal=Terminal()).access("dev")
    core: Any = CoreV1Api(kubernetes.api_client(access))
    world.cluster = core
    world.volume = _make_volume(world.account)
    size, name, metadata = {"storage": "10Gi"}, "pv-data", {"name": "data"}
    core.create_namespace({"metadata": {"name": "tools"}})
    ports = [{"port": 80}]
    core.create_namespaced_service(
        "tools", {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": ports}}
    )
    core.create_persistent_volume(
        {
            "metadata": {"name": name},
            "spec": {
                "capacity": size,
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": world.volume},
            },
        }
    )
    core.create_namespaced_persistent_volume_claim(
        "tools",
        {
            "metadata": metadata,
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "volumeName": name,
                "resources": {"requests": size},
            },
        },
    )
    # No controller would ever let go of them here.
    release = {"metadata": {"finalizers": None}}
    core.patch_namespaced_persistent_volume_claim("data", "tools", release)
    core.patch_persistent_volume(name, release)


# Refusals ------------------------------------------------------------------------------------


def test_the_plan_says_what_would_be_lost_and_is_the_same_each_time_it_is_made(
    world: World,
) -> None:
    with world.unchanged():
        plan = world.plan()
        world.agreed = world.plan()["plan_hash"]
    assert world.agreed == plan["plan_hash"]
    facts, notes = plan["plan"]["facts"], "\n".join(plan["plan"]["notes"])
    assert facts["databases"] == ["mono-repo-dev"]
    assert "/dev/mono-repo/database/password" in facts["parameters"]
    assert "mono-repo-dev-access-keys-jane-doe" in facts["secrets"]
    assert "mono-repo-dev-jane-doe" in facts["users"]
    assert any(label.startswith("volume ") for label in facts["left_alone"])
    assert any(label.startswith("bucket mono-repo-dev-backups-") for label in facts["stays"])
    assert "database mono-repo-dev: 20 GiB postgres" in notes
    assert "there is no earlier backup" in notes
    assert "last proven restore: never" in notes
    assert "aws kms cancel-key-deletion" in notes
    assert "a month by list prices of us-east-1" in notes


def test_another_name_than_the_environments_changes_nothing(world: World) -> None:
    with world.unchanged():
        world.answers.append("prod")
        ended = world.ops(*TEARDOWN)
    assert ended.code == ExitCode.CANCELLED
    assert "It loses:" in ended.out


def test_without_a_terminal_and_without_flags_it_is_refused(world: World) -> None:
    with world.unchanged():
        assert world.ops(*TEARDOWN).code == ExitCode.REFUSED


def test_unattended_it_needs_the_hash_of_its_plan(world: World) -> None:
    with world.unchanged():
        ended = world.ops(*TEARDOWN, "--auto-approve")
    assert ended.code == ExitCode.REFUSED
    assert f"--plan-hash {world.agreed}" in ended.err


def test_anything_that_has_changed_since_the_plan_refuses_the_run(world: World) -> None:
    ssm, name = world.account.client("ssm"), "/dev/mono-repo/late"
    ssm.put_parameter(Name=name, Value="x", Type="String")
    with world.unchanged():
        ended = world.ops(*TEARDOWN, "--auto-approve", "--plan-hash", world.agreed)
    ssm.delete_parameter(Name=name)
    assert ended.code == ExitCode.REFUSED
    assert "The plan is another than the one that was agreed to" in ended.err


def test_a_plan_that_takes_more_of_a_kind_than_it_may_is_refused_whole(world: World) -> None:
    with world.unchanged():
        ended = world.ops(*TEARDOWN, "--max", "user=2", "--dry-run")
    assert ended.code == ExitCode.REFUSED
    assert "user: 6 planned, at most 2 allowed" in ended.err
    assert world.ops(*TEARDOWN, "--max", "people=2", "--dry-run").code == ExitCode.USAGE


@pytest.mark.parametrize("api", ["iam:ListRoles", "ec2:DescribeVolumes", "rds:DescribeDBSnapshots"])
@pytest.mark.parametrize("fault", [aws_faults.DENIED, aws_faults.THROTTLED, aws_faults.BROKEN])
def test_a_listing_that_is_denied_throttled_to_the_end_or_broken_is_no_basis_for_a_plan(
    fault: aws_faults.Refusal, api: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.unchanged():
        monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
        aws_faults.install([aws_faults.always(fault, api)], monkeypatch.setattr)
        ended = world.ops(*TEARDOWN, "--dry-run")
    assert ended.code == ExitCode.INCOMPLETE, ended.err


def test_credentials_that_have_ended_are_said_as_such(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.unchanged():
        expired = aws_faults.always(aws_faults.EXPIRED, "iam:ListRoles")
        aws_faults.install([expired], monkeypatch.setattr)
        ended = world.ops(*TEARDOWN, "--dry-run")
    assert ended.code == ExitCode.NOT_AUTHENTICATED, ended.err


def test_while_a_bare_update_runs_it_is_refused_and_its_holder_is_named(world: World) -> None:
    with world.unchanged(), Backend(world.home, version="").lock(STACK, "up"):
        ended = world.ops(*world.unattended)
    assert ended.code == ExitCode.REFUSED, ended.err
    assert "pulumi cancel -s dev" in ended.err


def test_who_else_is_at_work_is_not_disturbed(world: World) -> None:
    access = Setting(sandbox=True, root=ROOT, terminal=Terminal()).access("dev")
    lock = environment_lock(access, naming.lock_table("dev"))
    other = Holder(
        run="20261201-000000-stop-dev-abcd",
        command="stop",
        operator="jane-doe",
        host="elsewhere",
        pid=1,
        process="x",
        acquired="2026-12-01T00:00:00+00:00",
    )
    with world.unchanged(), lock.hold(other):
        ended = world.ops(*TEARDOWN, "--auto-approve", "--plan-hash", world.agreed)
    assert ended.code == ExitCode.REFUSED
    assert "stop (run 20261201-000000-stop-dev-abcd) by jane-doe" in ended.err


# The teardown itself -------------------------------------------------------------------------


def test_a_suspended_environment_is_started_first(world: World) -> None:
    assert world.ops("--sandbox", "stop", "dev", "--yes").code == ExitCode.OK
    plan = world.plan()
    world.agreed = plan["plan_hash"]
    world.steps = [step["id"] for step in plan["plan"]["steps"]]
    actions = [step["action"] for step in plan["plan"]["steps"]]
    assert "start:database" in actions
    assert actions.index("start:database") < actions.index("backup-snapshot")
    assert actions.index("backup-verify") < actions.index("destroy")


def test_a_backup_that_cannot_be_verified_stops_it_before_anything_is_destroyed(
    world: World,
) -> None:
    resources = world.resources()
    world.killed(("intent", world.steps[0]), *world.unattended)
    world.killed_through(("result", world.steps[0]), ("intent", "backup-verify"))
    s3, (bucket,) = world.account.client("s3"), _backup_buckets(world)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    key = next(item["Key"] for item in listed if item["Key"].endswith("state.json"))
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=bytes([content[0] ^ 1]) + content[1:])

    ended = world.ops(*world.resume)
    assert ended.code == ExitCode.PARTIAL, ended.out + ended.err
    assert "is not good" in ended.out + ended.err
    assert world.resources() == resources
    assert world.account.client("eks").list_clusters()["clusters"] == ["mono-repo-dev"]

    s3.put_object(Bucket=bucket, Key=key, Body=content)
    world.killed(("result", "backup-verify"), *world.resume)


def test_killed_around_every_step_of_the_clean_up_it_goes_on_and_waits_for_the_volumes(
    world: World,
) -> None:
    if world.cluster is None:
        pytest.skip("no kube-apiserver was found: see make kube")
    world.killed_through(("intent", "clean-up-balancers"), ("intent", "clean-up-claims"))
    # As the driver of volumes does once the claim is gone: its object first, then the volume.
    world.cluster.delete_persistent_volume("pv-data")
    world.killed_through(("result", "clean-up-claims"), ("intent", "clean-up-gone"))
    world.account.client("ec2").delete_volume(VolumeId=world.volume)
    world.killed(("result", "clean-up-gone"), *world.resume)


def test_credentials_that_end_in_the_middle_are_said_and_it_goes_on_with_new_ones(
    world: World,
) -> None:
    resources = world.resources()
    ended = world.faulty(*world.resume, expires=0, expiring=["rds:DescribeDBInstances"])
    assert ended.code == ExitCode.NOT_AUTHENTICATED, ended.out + ended.err
    assert f"resume {world.run()}" in ended.out + ended.err
    assert world.resources() == resources


def test_a_bare_update_in_the_middle_is_waited_for_by_nobody_and_what_it_did_is_undone(
    world: World,
) -> None:
    world.killed_through(("intent", "destroy-prepare"), ("intent", "destroy"))
    with Backend(world.home, version="").lock(STACK, "up"):
        ended = world.ops(*world.resume)
    assert ended.code == ExitCode.REFUSED, ended.out + ended.err
    world.bare("up", "--yes", "--skip-preview")
    (database,) = world.account.client("rds").describe_db_instances()["DBInstances"]
    assert database["DeletionProtection"], "as the stack file has it"
    # Alarms depend on the database: it is still there, and everything is prepared once more.
    world.killed(("delete_alarms", "destroy"), *world.resume)
    _spend_the_last_snapshots_name(world)


def test_killed_while_it_destroys_it_goes_on_and_ends(world: World) -> None:
    _delete_by_hand(world)
    world.account.client("sns").create_topic(Name=f"{naming.prefix('dev')}-late")
    world.killed((100, "destroy"), *world.resume)
    assert 0 < world.resources() < 300
    world.killed(("result", "destroy"), *world.resume)
    assert world.resources() == 0
    logs = world.account.client("logs")
    if "log group" not in world.left():
        logs.create_log_group(logGroupName=naming.cluster_log_group("dev"))
    after = world.steps[world.steps.index("destroy") + 1 :]
    world.killed_through(("intent", after[0]), ("result", after[-1]))
    ended = world.faulty(*world.resume, "--json", **BUSY)
    assert ended.code == ExitCode.FINDINGS, ended.out + ended.err
    failed = {check["name"] for check in ended.report["checks"] if check["status"] == "fail"}
    assert {name.partition(" ")[0] for name in failed} == {"volume", "topic", "cost"}
    assert any("$0.80 a month" in check["found"] for check in ended.report["checks"])


def test_an_independent_listing_finds_nothing_but_what_was_said_to_stay(world: World) -> None:
    left = world.left()
    (volume,) = left.pop("volume")
    (topic,) = left.pop("topic")
    snapshots = left.pop("database snapshot")
    assert all(name.startswith("mono-repo-dev-snapshot-") for name in snapshots)
    assert left == {}
    world.account.client("ec2").delete_volume(VolumeId=volume)
    world.account.client("sns").delete_topic(TopicArn=topic)
    with world.unchanged():
        again = world.ops(*TEARDOWN, "--json")
    assert again.code == ExitCode.OK, again.err
    assert again.report["result"] == "nothing to do"


def test_the_same_names_are_free_at_once(world: World) -> None:
    for kind, service, operation_, key in (
        ("secret", "secretsmanager", "list_secrets", "SecretList"),
        ("user", "iam", "list_users", "Users"),
    ):
        options = {"IncludePlannedDeletion": True} if kind == "secret" else {}
        listed = getattr(world.account.client(service), operation_)(**options)[key]
        assert listed == [], kind


def _backup_buckets(world: World) -> list[str]:
    prefix = naming.backup_bucket("dev")
    buckets = world.account.client("s3").list_buckets()["Buckets"]
    return [
        bucket["Name"]
        for bucket in buckets
        if bucket["Name"].startswith(prefix) and "-replica-" not in bucket["Name"]
    ]


def _delete_by_hand(world: World) -> None:
    """Delete something that the state still has."""
    alarms = world.account.client("cloudwatch")
    name = alarms.describe_alarms()["MetricAlarms"][0]["AlarmName"]
    alarms.delete_alarms(AlarmNames=[name])


def _spend_the_last_snapshots_name(world: World) -> None:
    """Make a snapshot of the name that the deletion is to give its own."""
    snapshot = Backend(world.home, version="").open(STACK).snapshot(Kept())
    name = next(
        entry.inputs["finalSnapshotIdentifier"]
        for entry in snapshot.resources
        if entry.type == "aws:rds/instance:Instance"
    )
    rds = world.account.client("rds")
    rds.create_db_snapshot(DBInstanceIdentifier="mono-repo-dev", DBSnapshotIdentifier=name)
    # The sandbox's cloud goes on with a snapshot when somebody looks at it.
    rds.get_waiter("db_snapshot_available").wait(
        DBSnapshotIdentifier=name, WaiterConfig={"Delay": 0, "MaxAttempts": 10}
    )

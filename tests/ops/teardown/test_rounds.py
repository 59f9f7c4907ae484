"""A small environment in a sandbox: what there is of it, what holds it up, and what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from ops.access import Access
from ops.commands import Setting
from ops.errors import ExitCode, IncompleteError
from ops.teardown import listing
from ops.terminal import Terminal
from tests.faults import aws_faults
from tests.ops.restore import world as worlds
from tests.ops.restore.world import FLAG, SECRET, World

pytestmark = pytest.mark.sandbox

LOGS = naming.cluster_log_group("dev")
OTHER_APP = "/dev/other-app/token"
TEARDOWN = ("teardown", "dev")
TAGS = [{"Key": "environment", "Value": "dev"}]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The environment in small; the tests of this module take it down in their order."""
    made = worlds.make(tmp_path_factory.mktemp("rounds"))
    made.run("up", "dev", "--yes", "--no-verify")
    worlds.put_parameters(made)
    yield made
    servers.stop(made.home)


@pytest.fixture
def access(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Access]:
    """Reach it from this process, each time with clients of their own."""
    monkeypatch.setenv(servers.HOME_VARIABLE, str(world.home))
    return lambda: Setting(sandbox=True, root=world.project, terminal=Terminal()).access("dev")


# What there is -------------------------------------------------------------------------------


def test_what_no_name_tells_is_found_by_its_tag_whatever_service_it_is_of(
    world: World, access: Callable[[], Access]
) -> None:
    ec2, logs, alarms = (world.client(name) for name in ("ec2", "logs", "cloudwatch"))
    options = ec2.create_dhcp_options(
        DhcpConfigurations=[{"Key": "domain-name-servers", "Values": ["192.0.2.1"]}]
    )["DhcpOptions"]["DhcpOptionsId"]
    ec2.create_tags(Resources=[options], Tags=TAGS)
    logs.create_log_group(logGroupName="of-somebody", tags={"environment": "dev"})
    alarms.put_composite_alarm(AlarmName="mono-repo-dev-any", AlarmRule="ALARM(x)")

    found = {(item.kind, item.id) for item in listing.inventory(access()).items}
    assert ("log group", "of-somebody") in found
    assert ("alarm", "mono-repo-dev-any") in found
    assert {id_.partition("/")[2] for kind, id_ in found if kind.startswith("ec2 ")} == {options}

    ec2.delete_dhcp_options(DhcpOptionsId=options)
    logs.delete_log_group(logGroupName="of-somebody")
    alarms.delete_alarms(AlarmNames=["mono-repo-dev-any"])


def test_automated_backups_that_outlive_their_instance_are_found(
    world: World, access: Callable[[], Access]
) -> None:
    rds, name = world.client("rds"), "mono-repo-dev-old"
    rds.create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="x",
        MasterUserPassword="Correct-Horse-9",
        AllocatedStorage=20,
        BackupRetentionPeriod=7,
    )
    worlds.await_status(rds, name, "available")
    resource = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    assert listing.inventory(access()).of(listing.RETAINED) == []
    rds.delete_db_instance(
        DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=False
    )
    while name in world.databases():
        pass
    (retained,) = listing.inventory(access()).of(listing.RETAINED)
    assert (retained.id, retained.name) == (resource["DbiResourceId"], name)
    for snapshot in rds.describe_db_snapshots(DBInstanceIdentifier=name)["DBSnapshots"]:
        rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])


def test_what_a_key_encrypts_is_found_whosever_it_is(
    world: World, access: Callable[[], Access]
) -> None:
    ec2, alias = world.client("ec2"), naming.parameter_key_alias("dev")
    key = world.client("kms").describe_key(KeyId=alias)["KeyMetadata"]
    volume = ec2.create_volume(
        AvailabilityZone="us-east-1a", Size=1, Encrypted=True, KmsKeyId=key["Arn"]
    )["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    encrypted = listing.inventory(access()).encrypted[key["KeyId"]]
    assert {(item.kind, item.id) for item in encrypted} >= {
        ("parameter", SECRET),
        ("snapshot", snapshot),
        ("volume", volume),
    }
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.delete_volume(VolumeId=volume)


def test_a_key_that_is_gone_is_absent_and_one_that_is_denied_is_no_absence(
    access: Callable[[], Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listing.inventory(access()).of("key")
    with monkeypatch.context() as patch:
        gone = aws_faults.always(aws_faults.Refusal("NotFoundException"), "kms:DescribeKey")
        aws_faults.install([gone], patch.setattr)
        assert listing.inventory(access()).of("key") == []
    denied = aws_faults.always(aws_faults.DENIED, "kms:DescribeKey")
    aws_faults.install([denied], monkeypatch.setattr)
    with pytest.raises(IncompleteError, match="kms describe_key"):
        listing.inventory(access())


# What holds it up ----------------------------------------------------------------------------


def test_somebody_elses_secret_holds_the_key_that_encrypts_it(world: World) -> None:
    ssm, alias = world.client("ssm"), naming.parameter_key_alias("dev")
    ssm.put_parameter(Name=OTHER_APP, Value="x", Type="SecureString", KeyId=alias)
    refused = world.run(*TEARDOWN, "--dry-run", code=ExitCode.REFUSED)
    assert f"parameter {OTHER_APP} in us-east-1 needs parameters" in refused
    assert "aws ssm put-parameter --overwrite --key-id" in refused
    ssm.delete_parameter(Name=OTHER_APP)


def test_somebodys_instance_holds_the_network_that_it_is_in(world: World) -> None:
    ec2 = world.client("ec2")
    (subnet, *_) = ec2.describe_subnets(Filters=[{"Name": "tag:environment", "Values": ["dev"]}])[
        "Subnets"
    ]
    (made,) = ec2.run_instances(
        ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet["SubnetId"]
    )["Instances"]
    refused = world.run(*TEARDOWN, "--dry-run", code=ExitCode.REFUSED)
    assert f"instance {made['InstanceId']} in {subnet['VpcId']}" in refused
    assert "Nothing was changed" in refused
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


# What is left --------------------------------------------------------------------------------


def test_a_value_that_was_written_since_the_backup_is_not_deleted(world: World) -> None:
    planned = world.report(*TEARDOWN, "--dry-run")
    actions = [step["action"] for step in planned["plan"]["steps"]]
    assert actions.index("check-parameters") < actions.index("destroy-prepare")
    agreed = (*TEARDOWN, "--auto-approve", "--plan-hash", planned["plan_hash"])
    world.kill_at("before sweep-parameters:us-east-1", *agreed)

    ssm = world.client("ssm")
    ssm.put_parameter(Name=FLAG, Value="true", Type="String", Overwrite=True)
    refused = world.run("resume", world.last_run(), "--yes", code=ExitCode.PARTIAL)
    assert f"{FLAG} has version 2, and the backup 1" in refused
    left = ssm.get_parameters(Names=[FLAG, SECRET])["Parameters"]
    assert {item["Name"] for item in left} == {FLAG, SECRET}


def test_what_no_backup_can_read_any_more_is_in_that_of_the_run_that_was_cut_short(
    world: World,
) -> None:
    incomplete = world.run(*TEARDOWN, "--dry-run", code=ExitCode.INCOMPLETE)
    assert f"goes by a backup that it has made: ops resume {world.last_run()}" in incomplete
    world.client("ssm").delete_parameter(Name=SECRET)


def test_planned_again_it_is_backed_up_as_it_is_now_and_swept(world: World) -> None:
    world.client("logs").create_log_group(logGroupName=LOGS)
    planned = world.report(*TEARDOWN, "--dry-run")
    actions = [step["action"] for step in planned["plan"]["steps"]]
    assert actions[-3:] == ["backup-verify", "sweep-parameters", "sweep-log-groups"]
    ended = _teardown(world)
    assert {check["status"] for check in ended["checks"]} == {"ok"}
    assert world.parameters() == {}


def test_a_log_group_that_came_back_later_is_swept_by_the_same_command(world: World) -> None:
    logs = world.client("logs")
    logs.create_log_group(logGroupName=LOGS)
    ended = _teardown(world)
    assert [step["step"] for step in ended["steps"]] == ["sweep-log-groups"]
    assert logs.describe_log_groups(logGroupNamePrefix=LOGS)["logGroups"] == []


def test_where_nothing_is_to_do_what_no_state_knows_is_still_told(world: World) -> None:
    topic = world.client("sns").create_topic(Name=f"{naming.prefix('dev')}-late")["TopicArn"]
    told = world.report(*TEARDOWN, code=ExitCode.FINDINGS)
    assert (told["result"], told["run"]) == ("nothing to do", "")
    failed = [check["name"] for check in told["checks"] if check["status"] == "fail"]
    assert failed == [f"topic {topic}", "cost of what is left behind"]

    world.client("sns").delete_topic(TopicArn=topic)
    told = world.report(*TEARDOWN)
    assert told["result"] == "nothing to do"
    assert {check["status"] for check in told["checks"]} == {"ok"}


def _teardown(world: World) -> dict[str, Any]:
    agreed = world.report(*TEARDOWN, "--dry-run")["plan_hash"]
    ended = world.report(*TEARDOWN, "--auto-approve", "--plan-hash", agreed)
    assert ended["result"] == "succeeded", json.dumps(ended["steps"])
    return ended

"""Databases that take their time: what their states allow, and what is made of snapshots."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.sandbox import servers
from infra.sandbox.cloud import fixes_rds_states
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox

AT_ONCE = {"Delay": 0, "MaxAttempts": 10}
OWNER = "321321321321"
REGION = "us-east-1"
STOPPER = f"arn:aws:ssm:{REGION}:{OWNER}:automation-definition/AWS-StopRdsInstance:$DEFAULT"


@pytest.fixture(scope="module")
def account(cloud: servers.Cloud) -> Account:
    return Account(cloud, OWNER)


@pytest.fixture(scope="module")
def rds(account: Account) -> Any:
    return account.client("rds")


@pytest.fixture
def key(account: Account) -> str:
    return str(account.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def database(rds: Any, key: str) -> Iterator[str]:
    """An available instance, encrypted, with a managed password."""
    rds.create_db_instance(
        DBInstanceIdentifier="sample",
        DBInstanceClass="db.t4g.medium",
        Engine="postgres",
        EngineVersion="17",
        AllocatedStorage=20,
        StorageEncrypted=True,
        KmsKeyId=key,
        MasterUsername="owner",
        ManageMasterUserPassword=True,
        MultiAZ=True,
    )
    wait(rds, "db_instance_available", "sample")
    yield "sample"
    for instance in rds.describe_db_instances()["DBInstances"]:
        delete(rds, instance["DBInstanceIdentifier"])
    for snapshot in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
        rds.get_waiter("db_snapshot_available").wait(
            DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"], WaiterConfig=AT_ONCE
        )
        rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])


def wait(rds: Any, waiter: str, name: str) -> None:
    rds.get_waiter(waiter).wait(DBInstanceIdentifier=name, WaiterConfig=AT_ONCE)


def delete(rds: Any, name: str) -> None:
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    wait(rds, "db_instance_deleted", name)


def snapshot(rds: Any, name: str) -> dict[str, Any]:
    rds.create_db_snapshot(DBInstanceIdentifier="sample", DBSnapshotIdentifier=name)
    rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier=name, WaiterConfig=AT_ONCE)
    return dict(rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0])


def live(rds: Any, name: str = "sample") -> dict[str, Any]:
    return dict(rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0])


def states(rds: Any, times: int) -> list[str]:
    return [live(rds)["DBInstanceStatus"] for _ in range(times)]


def stop(rds: Any) -> None:
    rds.stop_db_instance(DBInstanceIdentifier="sample")
    assert states(rds, 2) == ["stopping", "stopped"]


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_a_database_is_stopping_before_it_is_stopped_and_starting_before_it_is_available(
    rds: Any, database: str
) -> None:
    answer = rds.stop_db_instance(DBInstanceIdentifier=database)
    assert answer["DBInstance"]["DBInstanceStatus"] == "stopping"
    assert refused(rds.start_db_instance, DBInstanceIdentifier=database) == "InvalidDBInstanceState"
    assert states(rds, 3) == ["stopping", "stopped", "stopped"]
    assert refused(rds.stop_db_instance, DBInstanceIdentifier=database) == "InvalidDBInstanceState"
    rds.start_db_instance(DBInstanceIdentifier=database)
    assert states(rds, 2) == ["starting", "available"]


def test_a_transition_can_be_held(rds: Any, database: str, cloud: servers.Cloud) -> None:
    control(
        cloud,
        "/moto-api/state-manager/set-transition",
        model_name=fixes_rds_states.INSTANCE,
        transition={"progression": "manual", "times": 1000},
    )
    rds.stop_db_instance(DBInstanceIdentifier=database)
    assert set(states(rds, 5)) == {"stopping"}
    control(
        cloud,
        "/moto-api/state-manager/unset-transition",
        model_name=fixes_rds_states.INSTANCE,
    )
    assert states(rds, 1) == ["stopped"]


def control(cloud: servers.Cloud, path: str, **body: Any) -> None:
    request = urllib.request.Request(
        f"{cloud.endpoint}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_a_stopped_database_takes_no_change_and_no_snapshot(rds: Any, database: str) -> None:
    stop(rds)
    assert {
        refused(rds.modify_db_instance, DBInstanceIdentifier=database, DeletionProtection=True),
        refused(rds.create_db_snapshot, DBInstanceIdentifier=database, DBSnapshotIdentifier="none"),
        refused(
            rds.delete_db_instance,
            DBInstanceIdentifier=database,
            FinalDBSnapshotIdentifier="none",
        ),
    } == {"InvalidDBInstanceState"}
    assert live(rds)["DBInstanceStatus"] == "stopped"


def test_a_database_backs_up_while_its_snapshot_is_made(rds: Any, database: str, key: str) -> None:
    made = rds.create_db_snapshot(
        DBInstanceIdentifier=database,
        DBSnapshotIdentifier="one",
        Tags=[{"Key": "environment", "Value": "dev"}],
    )["DBSnapshot"]
    assert (made["Status"], made["PercentProgress"]) == ("creating", 0)
    assert states(rds, 1) == ["backing-up"]
    assert refused(rds.stop_db_instance, DBInstanceIdentifier=database) == "InvalidDBInstanceState"
    restore = {"DBInstanceIdentifier": "copy", "DBSnapshotIdentifier": "one"}
    assert refused(rds.restore_db_instance_from_db_snapshot, **restore) == "InvalidDBSnapshotState"
    rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="one", WaiterConfig=AT_ONCE)
    (ready,) = rds.describe_db_snapshots(DBSnapshotIdentifier="one")["DBSnapshots"]
    assert states(rds, 1) == ["available"]
    assert ready["PercentProgress"] == 100
    assert ready["KmsKeyId"] == key
    assert ready["DbiResourceId"] == live(rds)["DbiResourceId"]
    assert ready["TagList"] == [{"Key": "environment", "Value": "dev"}]
    assert ready["OriginalSnapshotCreateTime"] <= ready["SnapshotCreateTime"]


def test_neither_a_replica_nor_its_source_is_stopped(rds: Any, database: str) -> None:
    source = live(rds)
    rds.create_db_instance_read_replica(
        DBInstanceIdentifier="replica", SourceDBInstanceIdentifier=database
    )
    wait(rds, "db_instance_available", "replica")
    for name in (database, "replica"):
        assert refused(rds.stop_db_instance, DBInstanceIdentifier=name) == "InvalidDBInstanceState"
    assert live(rds, "replica")["DbiResourceId"] != source["DbiResourceId"]
    delete(rds, "replica")
    assert live(rds)["ReadReplicaDBInstanceIdentifiers"] == []
    assert live(rds)["MasterUserSecret"]["SecretArn"] == source["MasterUserSecret"]["SecretArn"]


def test_a_deletion_takes_its_time_and_keeps_the_name_until_then(rds: Any, database: str) -> None:
    rds.delete_db_instance(DBInstanceIdentifier=database, FinalDBSnapshotIdentifier="last")
    again = {"DBInstanceIdentifier": database, "SkipFinalSnapshot": True}
    assert refused(rds.delete_db_instance, **again) == "InvalidDBInstanceState"
    made = {"DBInstanceIdentifier": database, "DBInstanceClass": "db.t4g.medium"}
    assert refused(rds.create_db_instance, Engine="postgres", **made) == "DBInstanceAlreadyExists"
    assert states(rds, 1) == ["deleting"]
    assert refused(rds.describe_db_instances, DBInstanceIdentifier=database) == "DBInstanceNotFound"
    (left,) = rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"]
    assert left["Status"] == "available"


def test_a_restore_brings_what_the_snapshot_has_and_nothing_that_was_beside_it(
    rds: Any, database: str, key: str
) -> None:
    snapshot(rds, "good")
    asked = {"DBInstanceIdentifier": "copy", "DBSnapshotIdentifier": "good"}
    managed = {**asked, "ManageMasterUserPassword": True}
    assert refused(rds.restore_db_instance_from_db_snapshot, **managed) == (
        "InvalidParameterCombination"
    )
    made = rds.restore_db_instance_from_db_snapshot(**asked)["DBInstance"]
    assert made["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in made
    assert refused(rds.modify_db_instance, DBInstanceIdentifier="copy") == "InvalidDBInstanceState"
    wait(rds, "db_instance_available", "copy")
    old, new = live(rds), live(rds, "copy")
    for same in ("AllocatedStorage", "EngineVersion", "KmsKeyId", "MasterUsername"):
        assert new[same] == old[same]
    assert new["KmsKeyId"] == key
    assert new["DbiResourceId"] != old["DbiResourceId"]
    assert (new["MultiAZ"], new["DeletionProtection"]) == (False, False)
    assert "MasterUserSecret" not in new
    rds.modify_db_instance(
        DBInstanceIdentifier="copy", ManageMasterUserPassword=True, ApplyImmediately=True
    )
    secret = live(rds, "copy")["MasterUserSecret"]["SecretArn"]
    assert secret != old["MasterUserSecret"]["SecretArn"]
    rds.modify_db_instance(
        DBInstanceIdentifier="copy", ManageMasterUserPassword=True, ApplyImmediately=True
    )
    assert live(rds, "copy")["MasterUserSecret"]["SecretArn"] == secret


def test_a_restore_to_a_point_in_time_makes_another_database(rds: Any, database: str) -> None:
    rds.restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier=database,
        TargetDBInstanceIdentifier="copy",
        UseLatestRestorableTime=True,
    )
    wait(rds, "db_instance_available", "copy")
    assert live(rds, "copy")["DbiResourceId"] != live(rds)["DbiResourceId"]
    assert "MasterUserSecret" in live(rds)


def test_a_key_that_is_pending_deletion_makes_a_restore_fail_until_it_is_enabled_again(
    rds: Any, database: str, key: str, account: Account
) -> None:
    snapshot(rds, "good")
    stop(rds)
    kms = account.client("kms")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    asked = {"DBInstanceIdentifier": "copy", "DBSnapshotIdentifier": "good"}
    no_key = "KMSKeyNotAccessibleFault"
    assert refused(rds.restore_db_instance_from_db_snapshot, **asked) == no_key
    assert refused(rds.start_db_instance, DBInstanceIdentifier=database) == no_key
    kms.cancel_key_deletion(KeyId=key)
    assert refused(rds.restore_db_instance_from_db_snapshot, **asked) == no_key
    kms.enable_key(KeyId=key)
    rds.restore_db_instance_from_db_snapshot(**asked)
    wait(rds, "db_instance_available", "copy")


def test_a_copy_of_a_snapshot_says_what_it_is_of_and_has_the_key_that_was_asked_for(
    rds: Any, database: str, account: Account
) -> None:
    original = snapshot(rds, "good")
    other = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    made = rds.copy_db_snapshot(
        SourceDBSnapshotIdentifier="good", TargetDBSnapshotIdentifier="kept", KmsKeyId=other
    )["DBSnapshot"]
    assert made["Status"] == "creating"
    assert made["KmsKeyId"] == other
    assert made["SourceDBSnapshotIdentifier"] == original["DBSnapshotArn"]
    assert made["OriginalSnapshotCreateTime"] == original["SnapshotCreateTime"]


def test_snapshots_are_listed_page_by_page(rds: Any, database: str) -> None:
    for number in range(21):
        snapshot(rds, f"snapshot-{number:02}")
    pages = rds.get_paginator("describe_db_snapshots").paginate(
        DBInstanceIdentifier=database, SnapshotType="manual", PaginationConfig={"PageSize": 20}
    )
    assert [len(page["DBSnapshots"]) for page in pages] == [20, 1]


def test_aws_starts_what_was_stopped_for_a_week_and_a_rule_stops_it_again(
    rds: Any, database: str, account: Account, cloud: servers.Cloud
) -> None:
    events = account.client("events")
    pattern = {
        "source": ["aws.rds"],
        "detail-type": ["RDS DB Instance Event"],
        "detail": {"EventID": ["RDS-EVENT-0088"], "SourceIdentifier": [database]},
    }
    events.put_rule(Name="stop-again", EventPattern=json.dumps(pattern), State="DISABLED")
    events.put_targets(
        Rule="stop-again",
        Targets=[{"Id": "stop", "Arn": STOPPER, "Input": json.dumps({"InstanceId": [database]})}],
    )
    week_passed = {"account": OWNER, "region": REGION, "instance": database}
    stop(rds)
    control(cloud, fixes_rds_states.RESTART_PATH, **week_passed)
    assert states(rds, 2) == ["starting", "available"]

    stop(rds)
    events.enable_rule(Name="stop-again")
    control(cloud, fixes_rds_states.RESTART_PATH, **week_passed)
    assert states(rds, 4)[1:] == ["stopping", "stopping", "stopped"]
    told = rds.describe_events(SourceIdentifier=database, SourceType="db-instance")["Events"]
    assert any("exceeding the maximum allowed time" in event["Message"] for event in told)
    events.remove_targets(Rule="stop-again", Ids=["stop"])
    events.delete_rule(Name="stop-again")

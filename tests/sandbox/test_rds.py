"""Databases in the sandbox: made, unchanged, changed, restored beside, and torn down."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from infra.sandbox.engine.drivers import registry
from infra.sandbox.engine.provider import Provider, ProviderError
from tests.conformance.world import World
from tests.sandbox.database_program import ACCOUNT, REGION
from tests.sandbox.engine.store_fakes import make_home
from tests.sandbox.listing import Account, difference

pytestmark = pytest.mark.sandbox

Clients = Callable[[str], Any]

INSTANCE = "aws:rds/instance:Instance"
AT_ONCE = {"Delay": 0, "MaxAttempts": 5}
SNAPSHOT = "mono-repo-dev-snapshot-20261231-235959"


@pytest.fixture
def environment(cloud: servers.Cloud) -> dict[str, str]:
    """The variables that point at the account of the program."""
    session = servers.assume(cloud, ACCOUNT, REGION)
    return servers.environment(cloud, REGION, session)


@pytest.fixture
def client(environment: dict[str, str]) -> Clients:
    """Gives a client of a service, as the account's owner has it."""

    def make(service: str) -> Any:
        return botocore.session.Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=environment["AWS_SESSION_TOKEN"],
        )

    return make


@pytest.fixture
def rds(client: Clients) -> Any:
    """The database service."""
    return client("rds")


@pytest.fixture
def world(root: Path, tmp_path: Path, cloud: servers.Cloud, environment: dict[str, str]) -> World:
    """The program's project, with a stack that was never updated."""
    program = (
        f"import sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.sandbox.database_program import main\nmain()\n"
    )
    command = EmbeddedCommand(
        make_home(tmp_path),
        cloud_identity=cloud.identity,
        environment=environment,
        python=Path(sys.executable),
    )
    made = World(tmp_path / "project", "mono-repo", program, command)
    made.done("stack", "init", "dev")
    return made


@pytest.fixture
def torn_down(world: World, rds: Any) -> Iterator[World]:
    """The same, torn down afterwards whatever happened, with its snapshot."""
    yield world
    teardown(world)
    world.done("destroy")
    rds.delete_db_snapshot(DBSnapshotIdentifier=SNAPSHOT)


def configure(world: World, **database: Any) -> None:
    for key, value in database.items():
        text = value if isinstance(value, str) else json.dumps(value)
        world.done("config", "set", "--path", f"database.{key}", text)


def teardown(world: World) -> None:
    world.done("config", "set", "teardown", "true")
    configure(world, final_snapshot_identifier=SNAPSHOT)
    world.done("up")


def snapshot(rds: Any, instance: str, name: str) -> None:
    """Make a snapshot, and wait until it can be used."""
    rds.create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=name)
    rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier=name, WaiterConfig=AT_ONCE)


def live(rds: Any, identifier: str = "mono-repo-dev") -> dict[str, Any]:
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    return dict(found)


def test_databases_stand_stay_as_they_are_and_leave_nothing_but_a_snapshot(
    world: World, rds: Any, cloud: servers.Cloud
) -> None:
    account = Account(cloud, ACCOUNT)
    before = account.listing()

    made = world.done("up")
    assert set(made.counts) == {"create"}
    outputs = world.outputs()
    assert outputs["address"].startswith("mono-repo-dev.")
    assert outputs["port"] == 5432
    assert outputs["secret"].startswith("arn:aws:secretsmanager:")
    for refresh in ((), ("--refresh",)):
        assert set(world.done("preview", *refresh).counts) == {"same"}
    assert live(rds)["EngineVersion"].startswith("17.")

    refused = world.run("destroy")
    assert not refused.ok
    assert live(rds)["DeletionProtection"] is True

    teardown(world)
    assert set(world.done("destroy").counts) == {"delete"}
    left = difference(before, account.listing())
    (snapshot,) = rds.describe_db_snapshots(DBSnapshotIdentifier=SNAPSHOT)["DBSnapshots"]
    rds.delete_db_snapshot(DBSnapshotIdentifier=SNAPSHOT)
    assert left == {"database snapshot": [SNAPSHOT]}
    assert snapshot["Encrypted"] is True


def test_an_edit_by_hand_is_found_and_healed(torn_down: World, rds: Any) -> None:
    torn_down.done("up")
    rds.modify_db_instance(
        DBInstanceIdentifier="mono-repo-dev", BackupRetentionPeriod=1, ApplyImmediately=True
    )
    group = live(rds)["DBParameterGroups"][0]["DBParameterGroupName"]
    off = {"ParameterName": "rds.force_ssl", "ParameterValue": "0", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[off])

    found = torn_down.done("preview", "--refresh")
    assert found.counts["update"] == 2
    torn_down.done("up", "--refresh")
    assert live(rds)["BackupRetentionPeriod"] == 7
    assert set(torn_down.done("preview", "--refresh").counts) == {"same"}


def test_a_major_upgrade_brings_its_parameters_and_takes_the_old_ones_away(
    torn_down: World, rds: Any
) -> None:
    torn_down.done("up")
    id_ = live(rds)["DbiResourceId"]
    configure(torn_down, engine_version="18")

    upgraded = torn_down.done("up")

    assert [op for name, op in upgraded.ops if name.startswith("aws:rds/parameterGroup")] == [
        "create-replacement",
        "replace",
        "delete-replaced",
    ]
    assert upgraded.ops_of("databases-main")[-1] != "replace"
    instance = live(rds)
    assert instance["DbiResourceId"] == id_
    assert instance["EngineVersion"].startswith("18.")
    groups = rds.describe_db_parameter_groups()["DBParameterGroups"]
    families = [one["DBParameterGroupFamily"] for one in groups if "mono-repo" in str(one)]
    assert families == ["postgres18"]
    assert set(torn_down.done("preview", "--refresh").counts) == {"same"}


def log_groups(client: Clients, prefix: str) -> list[str]:
    found = client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
    return [group["logGroupName"] for group in found]


def test_a_restored_copy_is_taken_over_without_a_replacement_and_the_old_logs_stay(
    torn_down: World, rds: Any, client: Clients
) -> None:
    torn_down.done("up")
    old = live(rds)
    snapshot(rds, "mono-repo-dev", "good")
    rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier="mono-repo-dev-restored",
        DBSnapshotIdentifier="good",
        DBInstanceClass="db.t4g.medium",
        DBSubnetGroupName=old["DBSubnetGroup"]["DBSubnetGroupName"],
    )
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier="mono-repo-dev-restored", WaiterConfig=AT_ONCE
    )
    (urn,) = [found["urn"] for found in torn_down.resources() if found["type"] == INSTANCE]
    torn_down.done("state", "unprotect", urn, "--yes")
    torn_down.done("state", "delete", urn, "--yes")
    configure(torn_down, identifier="mono-repo-dev-restored", snapshot_identifier="good")
    configure(torn_down, import_identifier="mono-repo-dev-restored")

    taken_over = torn_down.done("up")

    # What the restore could not be given is made up for at once: monitoring, the managed password.
    assert [op for name, op in taken_over.ops if name.startswith(INSTANCE)] == ["import", "update"]
    torn_down.done("config", "rm", "--path", "database.import_identifier")
    assert torn_down.outputs()["address"].startswith("mono-repo-dev-restored.")
    assert live(rds)["DbiResourceId"] == old["DbiResourceId"], "the old instance is left alone"
    assert torn_down.outputs()["secret"].startswith("arn:aws:secretsmanager:")
    assert set(torn_down.done("preview", "--refresh").counts) == {"same"}
    left = [f"/aws/rds/instance/mono-repo-dev/{log}" for log in ("postgresql", "upgrade")]
    assert log_groups(client, "/aws/rds/instance/mono-repo-dev/") == left
    for name in left:
        client("logs").delete_log_group(logGroupName=name)
    rds.modify_db_instance(DBInstanceIdentifier="mono-repo-dev", DeletionProtection=False)
    rds.delete_db_instance(DBInstanceIdentifier="mono-repo-dev", SkipFinalSnapshot=True)
    rds.get_waiter("db_instance_deleted").wait(
        DBInstanceIdentifier="mono-repo-dev", WaiterConfig=AT_ONCE
    )
    rds.delete_db_snapshot(DBSnapshotIdentifier="good")


# -- the driver -----------------------------------------------------------------------------


@pytest.fixture
def provider(environment: dict[str, str]) -> Provider:
    return registry(environment).configure("aws", {"region": REGION})


def inputs(**more: Any) -> dict[str, Any]:
    return {
        "identifier": "plain",
        "engine": "postgres",
        "engineVersion": "17",
        "instanceClass": "db.t4g.medium",
        "allocatedStorage": 20,
        "username": "plain_admin",
        "manageMasterUserPassword": True,
        **more,
    }


@pytest.fixture
def plain(provider: Provider) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """An instance with nothing about it; its id, inputs and outputs."""
    given = inputs()
    id_, outputs = provider.create(INSTANCE, "plain", given)
    yield id_, given, outputs
    provider.delete(INSTANCE, id_, {**given, "skipFinalSnapshot": True}, outputs)


Plain = tuple[str, dict[str, Any], dict[str, Any]]


def test_an_instance_is_not_deleted_without_saying_what_is_to_stay_of_it(
    provider: Provider, plain: Plain
) -> None:
    id_, given, outputs = plain
    with pytest.raises(ProviderError, match="final_snapshot_identifier is required when"):
        provider.delete(INSTANCE, id_, given, outputs)
    assert provider.read(INSTANCE, id_, given, outputs) is not None


def test_deletion_protection_refuses_and_so_does_a_snapshot_of_the_same_name(
    provider: Provider, plain: Plain, rds: Any
) -> None:
    id_, given, outputs = plain
    rds.modify_db_instance(DBInstanceIdentifier="plain", DeletionProtection=True)
    leaving = {**given, "finalSnapshotIdentifier": "plain-snapshot-1"}
    with pytest.raises(ProviderError, match="disable deletion protection"):
        provider.delete(INSTANCE, id_, leaving, outputs)
    rds.modify_db_instance(DBInstanceIdentifier="plain", DeletionProtection=False)
    snapshot(rds, "plain", "plain-snapshot-1")
    with pytest.raises(ProviderError, match="AlreadyExists"):
        provider.delete(INSTANCE, id_, leaving, outputs)
    rds.delete_db_snapshot(DBSnapshotIdentifier="plain-snapshot-1")


def test_an_instance_is_made_of_a_snapshot_with_everything_that_was_asked_for(
    provider: Provider, plain: Plain, rds: Any
) -> None:
    snapshot(rds, "plain", "plain-good")
    given = inputs(
        identifier="plain-copy",
        snapshotIdentifier="plain-good",
        backupRetentionPeriod=14,
        performanceInsightsEnabled=True,
        performanceInsightsRetentionPeriod=31,
        skipFinalSnapshot=True,
    )
    id_, outputs = provider.create(INSTANCE, "copy", given)
    live_inputs = provider.read(INSTANCE, id_, given, outputs)
    provider.delete(INSTANCE, id_, given, outputs)
    rds.delete_db_snapshot(DBSnapshotIdentifier="plain-good")
    assert id_ != plain[0]
    assert live_inputs is not None
    difference_ = provider.diff(INSTANCE, id_, live_inputs.inputs, live_inputs.outputs, given)
    assert difference_.detailed == {}


def test_a_minor_that_aws_brings_is_no_change_and_another_major_is_one(
    provider: Provider, plain: Plain
) -> None:
    id_, given, outputs = plain
    assert outputs["engineVersion"] == "17"
    assert outputs["engineVersionActual"].startswith("17.")
    assert provider.diff(INSTANCE, id_, given, outputs, given).detailed == {}
    upgraded = {**given, "engineVersion": "18"}
    assert provider.diff(INSTANCE, id_, given, outputs, upgraded).detailed == {
        "engineVersion": "update"
    }
    with pytest.raises(ProviderError, match="AllowMajorVersionUpgrade flag must be present"):
        provider.update(INSTANCE, id_, given, outputs, upgraded)


def test_storage_that_grew_as_it_may_is_no_change(
    provider: Provider, plain: Plain, rds: Any
) -> None:
    id_, given, outputs = plain
    growing = {**given, "maxAllocatedStorage": 100}
    outputs = provider.update(INSTANCE, id_, given, outputs, growing)
    rds.modify_db_instance(DBInstanceIdentifier="plain", AllocatedStorage=40)
    found = provider.read(INSTANCE, id_, growing, outputs)
    assert found is not None
    assert provider.diff(INSTANCE, id_, found.inputs, found.outputs, growing).detailed == {}


# -- the cloud ------------------------------------------------------------------------------


def test_a_managed_password_belongs_to_the_master_user(plain: Plain, client: Clients) -> None:
    (secret,) = plain[2]["masterUserSecrets"]
    value = client("secretsmanager").get_secret_value(SecretId=secret["secretArn"])
    assert json.loads(value["SecretString"])["username"] == "plain_admin"
    assert secret["secretStatus"] == "active"


@pytest.mark.parametrize(
    ("version", "family", "message"),
    [
        ("17", "postgres18", "DBParameterGroupFamily postgres17"),
        ("12", "postgres12", "Cannot find version 12 for postgres"),
        ("17.x", "postgres17", "Cannot find version 17.x for postgres"),
    ],
)
def test_what_aws_has_not_or_does_not_combine_is_refused(
    version: str, family: str, message: str, rds: Any
) -> None:
    rds.create_db_parameter_group(
        DBParameterGroupName="wrong", DBParameterGroupFamily=family, Description="Wrong"
    )
    with pytest.raises(ClientError, match=message):
        rds.create_db_instance(
            DBInstanceIdentifier="wrong",
            DBInstanceClass="db.t4g.medium",
            Engine="postgres",
            EngineVersion=version,
            DBParameterGroupName="wrong",
        )
    rds.delete_db_parameter_group(DBParameterGroupName="wrong")


def test_a_parameter_group_in_use_is_not_deleted(rds: Any, plain: Plain) -> None:
    rds.create_db_parameter_group(
        DBParameterGroupName="used", DBParameterGroupFamily="postgres17", Description="Used"
    )
    rds.modify_db_instance(DBInstanceIdentifier="plain", DBParameterGroupName="used")
    with pytest.raises(ClientError, match="still members of this parameter group"):
        rds.delete_db_parameter_group(DBParameterGroupName="used")
    rds.modify_db_instance(DBInstanceIdentifier="plain", DBParameterGroupName="default.postgres17")
    rds.delete_db_parameter_group(DBParameterGroupName="used")

"""What a backup or a restore refuses, with nothing changed, and what it gets through."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from ops.errors import ExitCode
from tests.ops.restore import world as worlds
from tests.ops.restore.world import FLAG, SECRET, World

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small environment that stands, with what its operators own."""
    made = worlds.make(tmp_path_factory.mktemp("restore"))
    made.run("up", "dev", "--yes", "--no-verify")
    worlds.put_parameters(made)
    yield made
    servers.stop(made.home)


@pytest.fixture(scope="module")
def backup(world: World) -> str:
    """A good backup, after which an operator has changed a flag."""
    made = world.backup()
    world.client("ssm").put_parameter(Name=FLAG, Value="true", Type="String", Overwrite=True)
    return made


@pytest.fixture
def bucket(world: World) -> str:
    """The backup bucket."""
    found = world.client("s3").list_buckets(Prefix=f"{naming.backup_bucket('dev')}-")["Buckets"]
    (name,) = [item["Name"] for item in found if "replica" not in item["Name"]]
    return str(name)


def refused(world: World, *arguments: str, code: int = ExitCode.REFUSED, **plan: Any) -> str:
    """Run a command line that is refused; see that nothing of the environment has changed."""
    before = (world.parameters(), world.databases(), world.snapshots())
    said = world.faulty(plan, *arguments, code=code)
    assert (world.parameters(), world.databases(), world.snapshots()) == before
    return said


def test_a_backup_holds_no_secret_in_the_clear(world: World, backup: str, bucket: str) -> None:
    folder = world.home / "backups" / backup
    for path in folder.rglob("*"):
        assert b"v3ry-s3cret" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0, path
    s3 = world.client("s3")
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"backups/{backup}/")["Contents"]:
        found = s3.get_object(Bucket=bucket, Key=item["Key"])
        assert found["ServerSideEncryption"] == "aws:kms"
        assert b"v3ry-s3cret" not in found["Body"].read()


def test_the_list_says_what_is_whole_verified_and_proven(world: World, backup: str) -> None:
    (found,) = world.report("backups", "list", "dev")["backups"]
    assert (found["id"], found["complete"], found["proven"]) == (backup, True, "")
    assert found["verified"]
    assert found["databases"] == ["mono-repo-dev"]


@pytest.mark.parametrize("file", ["state.json", "parameters.enc", "manifest.json"])
def test_one_corrupted_byte_is_found_by_its_file_and_nothing_is_restored(
    world: World, backup: str, bucket: str, file: str
) -> None:
    s3, key = world.client("s3"), f"backups/{backup}/{file}"
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    place = len(content) // 2
    damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    s3.put_object(Bucket=bucket, Key=key, Body=damaged)
    try:
        found = world.report("backups", "verify", "dev", backup, code=ExitCode.FINDINGS)
        failed = [item["name"] for item in found["checks"] if item["status"] == "fail"]
        assert any(file in name for name in failed)
        (listed,) = world.report("backups", "list", "dev")["backups"]
        assert not listed["verified"], "what verified it once counts no more"
        assert file in refused(world, "restore", "dev", "--from", backup, "--yes")
        code = ExitCode.USAGE
        refused(world, "restore", "dev", "--from", "latest", "--yes", code=code)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    world.run("backups", "verify", "dev", backup)
    (listed,) = world.report("backups", "list", "dev")["backups"]
    assert listed["verified"]
    assert not listed["damaged"]


def test_a_part_is_restored_although_another_part_of_the_backup_is_damaged(
    world: World, backup: str, bucket: str
) -> None:
    s3, key = world.client("s3"), f"backups/{backup}/state.json"
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=content + b" ")
    try:
        arguments = ("restore", "dev", "--from", backup)
        said = world.run(*arguments, "--only", "parameters", "--dry-run")
        assert FLAG in said
        refused(world, *arguments, "--only", "databases", "--yes")
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=content)


def test_a_corrupted_copy_on_this_machine_is_found_and_holds_no_restore_up(
    world: World, backup: str
) -> None:
    path = world.home / "backups" / backup / "state.json"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b" \n")
    try:
        said = world.run("backups", "verify", "dev", backup, code=ExitCode.FINDINGS)
        assert f"FAIL  {path}" in said
        assert world.report("backups", "list", "dev")["backups"][0]["verified"]
        assert "restore-database" in world.run(
            "restore", "dev", "--from", "latest", "--dry-run", "--json"
        )
    finally:
        path.write_bytes(content)


def test_what_is_in_the_bucket_under_another_name_is_no_backup(
    world: World, backup: str, bucket: str
) -> None:
    s3 = world.client("s3")
    keys = ["backups/notes/readme.txt", "backups/20261399-250000_dev/manifest.json"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"by hand")
    listed = world.report("backups", "list", "dev")["backups"]
    assert [item["id"] for item in listed] == [backup]
    world.run("backups", "prune", "dev", "--older-than", "1", "--dry-run")
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)


def test_what_cannot_be_read_is_no_finding_but_no_evidence(world: World, backup: str) -> None:
    plan = {"denied": ["s3:GetObject"]}
    said = world.faulty(plan, "backups", "verify", "dev", backup, code=ExitCode.INCOMPLETE)
    assert "AccessDenied" in said


@pytest.mark.parametrize(
    "api",
    [
        "rds:DescribeDBInstances",
        "ssm:GetParametersByPath",
        "kms:DescribeKey",
        "s3:ListBuckets",
        "eks:DescribeCluster",
    ],
)
def test_a_backup_of_what_cannot_be_seen_is_not_begun(world: World, api: str) -> None:
    said = refused(world, "backup", "dev", "--yes", code=ExitCode.INCOMPLETE, denied=[api])
    assert "AccessDenied" in said


@pytest.mark.parametrize(
    "api",
    [
        "rds:DescribeDBInstances",
        "rds:DescribeDBSnapshots",
        "ssm:GetParameters",
        "logs:DescribeLogGroups",
        "kms:Decrypt",
        "s3:GetObject",
    ],
)
def test_a_restore_of_what_cannot_be_seen_is_not_begun(world: World, backup: str, api: str) -> None:
    arguments = ("restore", "dev", "--from", backup, "--yes")
    said = refused(world, *arguments, code=ExitCode.INCOMPLETE, denied=[api])
    assert "AccessDenied" in said


def test_a_backup_that_is_not_there_is_a_mistake(world: World) -> None:
    said = refused(
        world, "restore", "dev", "--from", "20200101-000000_dev", "--yes", code=ExitCode.USAGE
    )
    assert "ops backups list dev" in said


def test_a_stopped_database_has_no_backup_and_the_way_out_is_named(world: World) -> None:
    rds = world.client("rds")
    rds.stop_db_instance(DBInstanceIdentifier="mono-repo-dev")
    try:
        assert "ops start" in refused(world, "backup", "dev", "--yes")
    finally:
        worlds.await_status(rds, "mono-repo-dev", "stopped")
        rds.start_db_instance(DBInstanceIdentifier="mono-repo-dev")
        worlds.await_status(rds, "mono-repo-dev", "available")


def test_a_suspended_environment_is_started_before_it_is_restored(
    world: World, backup: str
) -> None:
    ssm, name = world.client("ssm"), naming.suspension_parameter("dev")
    ssm.put_parameter(Name=name, Value="{}", Type="String")
    try:
        said = refused(world, "restore", "dev", "--from", backup, "--yes")
        assert "ops start dev" in said
    finally:
        ssm.delete_parameter(Name=name)


def test_of_two_operators_the_second_is_told_of_the_first(world: World, backup: str) -> None:
    expires = int(dt.datetime.now(tz=dt.UTC).timestamp()) + 600
    holder = {
        "run": "r", "command": "stop", "operator": "jane-doe", "host": "elsewhere",
        "pid": "1", "process": "p", "acquired": "now",
    }  # fmt: skip
    item = {
        "LockID": {"S": "dev"},
        "ExpiresAt": {"N": str(expires)},
        "Holder": {"M": {key: {"S": value} for key, value in holder.items()}},
    }
    dynamodb, table = world.client("dynamodb"), naming.lock_table("dev")
    dynamodb.put_item(TableName=table, Item=item)
    try:
        for arguments in (("backup", "dev"), ("restore", "dev", "--from", backup)):
            assert "jane-doe" in refused(world, *arguments, "--yes")
    finally:
        dynamodb.delete_item(TableName=table, Key={"LockID": {"S": "dev"}})


def test_a_missing_snapshot_is_found_before_anything_is_changed(world: World) -> None:
    other = world.backup()
    stamp = other.partition("_")[0]
    snapshot = naming.database_snapshot("mono-repo-dev", stamp)
    world.client("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot)
    assert snapshot in refused(world, "restore", "dev", "--from", other, "--yes")
    found = world.report("backups", "verify", "dev", other, code=ExitCode.FINDINGS)
    assert f"snapshot {snapshot}" in [
        item["name"] for item in found["checks"] if item["status"] == "fail"
    ]


def test_a_key_that_is_being_deleted_is_mended_by_the_plan_and_by_nothing_else(
    world: World, backup: str
) -> None:
    kms = world.client("kms")
    id_ = kms.describe_key(KeyId=naming.databases_key_alias("dev"))["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=id_, PendingWindowInDays=7)
    arguments = ("restore", "dev", "--from", backup, "--only", "parameters")
    said = world.run(*arguments, "--dry-run")
    assert "cancel the deletion of the databases key" in said
    assert kms.describe_key(KeyId=id_)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    world.run(*arguments, "--yes")
    assert kms.describe_key(KeyId=id_)["KeyMetadata"]["KeyState"] == "Enabled"
    assert world.parameters()[FLAG] == "false"


@pytest.mark.parametrize("named", ["a backup", "latest"])
@pytest.mark.parametrize("purpose", ["backups", "pulumi-state"])
def test_without_the_key_of_backups_or_state_the_plan_is_to_mend_it(
    world: World, backup: str, purpose: str, named: str
) -> None:
    kms = world.client("kms")
    alias = f"alias/{naming.prefix('dev')}-{purpose}"
    id_ = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=id_)
    assert alias in refused(world, "backup", "dev", "--yes")
    asked = backup if named == "a backup" else named
    # A file under a key that is disabled cannot be read, which the sandbox's bucket does not mind.
    denied = {"denied": ["s3:GetObject"]} if purpose == "backups" else {}
    said = world.faulty(denied, "restore", "dev", "--from", asked, "--yes")
    assert f"enable the {purpose.removeprefix('pulumi-')} key" in said
    assert kms.describe_key(KeyId=id_)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_name_that_was_used_once_is_not_used_again(world: World, backup: str) -> None:
    logs, group = world.client("logs"), "/aws/rds/instance/mono-repo-dev-restored/postgresql"
    logs.create_log_group(logGroupName=group)
    try:
        said = world.run("restore", "dev", "--from", backup, "--only", "databases", "--dry-run")
        assert "as mono-repo-dev-restored-2" in said
    finally:
        logs.delete_log_group(logGroupName=group)


def test_a_backup_without_a_database_that_is_lost_is_made_on_purpose_alone(world: World) -> None:
    main, lost = "identifier: mono-repo-dev", "identifier: mono-repo-dev-lost"
    assert "is backed up" in refused(
        world, "backup", "dev", "--without", "database:main", "--yes", code=ExitCode.USAGE
    )
    refused(world, "backup", "dev", "--without", "state", "--yes", code=ExitCode.USAGE)
    world.say(main, lost)
    try:
        said = refused(world, "backup", "dev", "--without", "database:main", "--yes")
        assert "The stack has the instance mono-repo-dev" in said
    finally:
        world.say(lost, main)


def test_a_state_that_was_lost_is_imported_while_its_cloud_is_there(
    world: World, backup: str
) -> None:
    before = world.databases()
    world.engine("state", "delete", "--all", "--force", "--yes")
    done = world.report("restore", "dev", "--from", backup, "--only", "databases", "--yes")
    assert [step["step"] for step in done["steps"]] == ["import-state"]
    assert {check["status"] for check in done["checks"]} == {"ok"}
    assert world.databases() == before


def test_throttled_calls_are_made_again_until_it_is_done(world: World) -> None:
    made = json.loads(world.faulty({"throttled": 0.3}, "backup", "dev", "--yes", "--json"))
    backup = made["facts"]["backup-manifest"]["backup"]
    world.client("ssm").delete_parameter(Name=SECRET)
    world.faulty({"throttled": 0.3}, "restore", "dev", "--from", backup, "--yes")
    assert world.parameters()[SECRET] == "v3ry-s3cret-value"
    world.remove_database("mono-repo-dev-restored")


def test_old_backups_go_and_the_last_good_one_stays(world: World, backup: str, bucket: str) -> None:
    good = [item for item in world.report("backups", "list", "dev")["backups"] if item["verified"]]
    assert len(good) > 1
    arguments = ("backups", "prune", "dev", "--keep", "1", "--max", "backup=5", "--yes")
    s3, key = world.client("s3"), f"backups/{good[-1]['id']}/state.json"
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=content + b" ")
    assert "is not good" in refused(world, *arguments), "what is kept has to be good"
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    world.run(*arguments)
    (left,) = world.report("backups", "list", "dev")["backups"]
    assert left["id"] == good[-1]["id"]
    assert world.snapshots() == [naming.database_snapshot("mono-repo-dev", left["id"][:15])]
    assert not (world.home / "backups" / backup).exists()


OTHER = """
import pulumi
from pulumi import ResourceTransformationResult


def other(args):
    if args.type_ == "aws:ec2/vpc:Vpc":
        args.props["tags"] = {"changed": "yes"}
    return ResourceTransformationResult(args.props, args.opts)


pulumi.runtime.register_stack_transformation(other)
"""
"""What makes another program of one, written before it."""


def held(world: World) -> Any:
    """Give the resources of the state."""
    return json.loads(world.engine("stack", "export"))["deployment"]["resources"]


def test_a_database_is_taken_over_only_where_nothing_else_would_happen(world: World) -> None:
    backup, before = world.backup(), held(world)
    file = world.project / "__main__.py"
    text = file.read_text()
    arguments = ("restore", "dev", "--from", backup, "--take-over", "--yes")
    file.write_text(OTHER + text)
    try:
        assert "Vpc network" in refused(world, *arguments)
        file.write_text(text)
        world.kill_at("before take-over", *arguments)
        file.write_text(OTHER + text)
        said = world.run("resume", world.last_run(), "--yes", code=ExitCode.PARTIAL)
        assert "Vpc network" in said
    finally:
        file.write_text(text)
    assert held(world) == before


def test_a_take_over_that_fails_puts_the_state_back_and_goes_on_when_it_is_resumed(
    world: World,
) -> None:
    """Somebody changes the program in the middle: it would make the database again."""
    run, before = world.last_run(), held(world)
    file = world.project / "__main__.py"
    text = file.read_text()
    file.write_text(text.replace("restorable_program", "replacing_program"))
    try:
        said = world.run("resume", run, "--yes", code=ExitCode.PARTIAL)
        assert "instead of importing it" in said
        assert held(world) == before
    finally:
        file.write_text(text)
    world.run("resume", run, "--yes")
    assert world.databases() == ["mono-repo-dev", "mono-repo-dev-restored"]
    (database,) = [item for item in held(world) if item["type"] == "aws:rds/instance:Instance"]
    assert database["inputs"]["identifier"] == "mono-repo-dev-restored"
    assert database["customTimeouts"] == dict.fromkeys(("create", "update", "delete"), 3 * 3600)

"""What a restore would do: decided from what was found, without a cloud."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from infra.settings import Settings
from ops.backup.manifest import Manifest, Omission, Snapshot
from ops.errors import RefusedError, UsageError
from ops.restore import state, steps
from ops.restore.observe import Key, Seen
from ops.restore.overrides import edited
from ops.restore.steps import Asked

WHEN = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
URN = "urn:pulumi:dev::mono-repo::mono-repo:index:Rds$aws:rds/instance:Instance::databases-main"
LIVE: dict[str, Any] = {
    "DBInstanceIdentifier": "mono-repo-dev",
    "DBSubnetGroup": {"DBSubnetGroupName": "group"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
    "DBParameterGroups": [{"DBParameterGroupName": "parameters"}],
    "DBInstanceClass": "db.t4g.medium",
    "Endpoint": {"Port": 5432},
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "MultiAZ": True,
}
HELD = {"urn": URN, "type": state.DATABASE, "inputs": {"identifier": "mono-repo-dev"}}


def seen(**changes: Any) -> Seen:
    """An environment that is there, with its database."""
    snapshot = Snapshot(
        name="main",
        identifier="mono-repo-dev",
        snapshot="mono-repo-dev-snapshot-20261201-120000",
        arn="arn",
        created=WHEN,
        engine_version="17.7",
        allocated_gb=int(changes.pop("allocated_gb", 20)),
        instance_class="db.t4g.medium",
        kms_key_id="key",
    )
    manifest = Manifest(
        id="20261201-120000_dev",
        environment="dev",
        account_id="111122223333",
        region="us-east-1",
        created=WHEN,
        run="run",
        why="",
        backups_key="b",
        databases_key="d",
        kubernetes="absent",
        files=(),
        databases=changes.pop("databases", (snapshot,)),
        parameters=(),
        not_backed_up=changes.pop("not_backed_up", ()),
    )
    given: dict[str, Any] = {
        "manifest": manifest,
        "situation": "there",
        "broken_keys": (),
        "instances": {"mono-repo-dev": LIVE},
        "held": {"main": HELD},
        "parameters": (),
        "objects": (),
        "cluster": "",
    }
    return Seen(**{**given, **changes})


def planned(found: Seen, settings: Settings, **asked: Any) -> list[str]:
    """Give the actions of a plan in their order."""
    made = steps.plan_steps(found, settings, Asked(**asked))
    return [step.action for step in sorted(made, key=lambda step: step.stage)]


def test_a_live_database_is_restored_beside_and_nothing_else_happens(dev: Settings) -> None:
    assert planned(seen(), dev) == ["restore-database"]


def test_it_is_taken_over_only_when_that_is_asked_for(dev: Settings) -> None:
    assert planned(seen(), dev, take_over=True) == [
        "restore-database",
        "keep-state",
        "take-over",
    ]


def test_a_database_that_is_gone_is_taken_over_without_being_asked(dev: Settings) -> None:
    outputs = {
        "dbSubnetGroupName": "group",
        "vpcSecurityGroupIds": ["sg-1"],
        "parameterGroupName": "parameters",
        "instanceClass": "db.t4g.medium",
        "port": 5432,
        "caCertIdentifier": "rds-ca-rsa2048-g1",
    }
    found = seen(instances={}, held={"main": {**HELD, "outputs": outputs}})
    assert planned(found, dev)[-1] == "take-over"


def test_no_step_is_destructive(dev: Settings) -> None:
    made = steps.plan_steps(seen(), dev, Asked(take_over=True))
    assert not [step for step in made if step.destructive]


def test_what_was_not_asked_for_is_left(dev: Settings) -> None:
    found = seen(parameters=("/dev/mono-repo/a",), objects=("v1 ConfigMap web/a",))
    assert planned(found, dev, parts=("parameters",)) == ["restore-parameters"]
    assert planned(found, dev, parts=("kubernetes",)) == ["restore-objects"]


def test_an_environment_that_is_gone_comes_up_first(dev: Settings) -> None:
    found = seen(situation="gone", instances={}, held={}, parameters=("/dev/mono-repo/a",))
    assert planned(found, dev) == ["update", "restore-parameters"]


def test_where_its_cloud_is_there_the_old_state_is_imported(dev: Settings) -> None:
    assert planned(seen(situation="state lost", held={}), dev) == ["import-state"]


def test_a_key_that_is_being_deleted_is_mended_first_and_named(dev: Settings) -> None:
    key = Key(purpose="databases", arn="arn:key", state="PendingDeletion", until="2026-12-24")
    first = steps.plan_steps(seen(broken_keys=(key,)), dev, Asked())[0]
    assert (first.action, first.stage, first.target) == ("rescue-key", 0, "arn:key")
    assert "2026-12-24" in first.summary


@pytest.mark.parametrize(
    ("declared", "taken", "name"),
    [
        ("mono-repo-dev", ["mono-repo-dev"], "mono-repo-dev-restored"),
        ("mono-repo-dev-restored", ["mono-repo-dev-restored"], "mono-repo-dev-restored-2"),
        ("mono-repo-dev-restored-2", ["mono-repo-dev-restored-2"], "mono-repo-dev-restored"),
        ("mono-repo-dev-restored", [], "mono-repo-dev-restored"),
    ],
)
def test_a_restored_instance_takes_no_name_that_is_taken(
    declared: str, taken: list[str], name: str
) -> None:
    assert steps.free_identifier(declared, taken) == name


def test_a_name_whose_log_groups_are_left_is_taken_as_well(dev: Settings) -> None:
    found = seen(used=frozenset({"mono-repo-dev", "mono-repo-dev-restored"}))
    (step,) = steps.plan_steps(found, dev, Asked())
    assert step.target == "mono-repo-dev-restored-2"


def test_a_database_that_has_grown_keeps_its_size_and_the_file_is_to_say_so(dev: Settings) -> None:
    step = steps.plan_steps(seen(allocated_gb=60), dev, Asked(take_over=True))[-1]
    lines = steps.stack_file_lines(dev, step.data["kept"])
    assert ("databases[0].storage_gb", 60, 20) in lines


def test_the_snapshot_is_no_line_of_the_stack_file(dev: Settings) -> None:
    step = steps.plan_steps(seen(), dev, Asked(take_over=True))[-1]
    assert set(step.data["kept"]) == {"databases[0].identifier"}
    assert "databases[0].snapshot_identifier" in step.data["edits"]


def test_another_major_version_is_refused_before_anything_is_done(dev: Settings) -> None:
    databases = (dev.databases[0].model_copy(update={"engine_version": "18"}),)
    with pytest.raises(RefusedError, match="Set it to 17"):
        planned(seen(), dev.model_copy(update={"databases": databases}))


def test_a_database_that_is_not_in_the_backup_is_a_mistake(dev: Settings) -> None:
    with pytest.raises(UsageError, match="no database other"):
        planned(seen(), dev, databases=("other",))


GONE: dict[str, Any] = {"situation": "gone", "instances": {}, "held": {}}


@pytest.mark.parametrize("parts", [("parameters",), ("kubernetes",), ("parameters", "kubernetes")])
def test_nothing_is_made_again_with_an_empty_database(
    dev: Settings, parts: tuple[Any, ...]
) -> None:
    with pytest.raises(RefusedError, match=r"empty database \(main: not asked for\)"):
        planned(seen(**GONE), dev, parts=parts)


def test_a_backup_without_a_database_makes_no_environment_again(dev: Settings) -> None:
    with pytest.raises(RefusedError, match="the backup has no snapshot of it"):
        planned(seen(**GONE, databases=()), dev)


def test_of_two_databases_one_alone_makes_no_environment_again(dev: Settings) -> None:
    other = dev.databases[0].model_copy(update={"name": "other", "identifier": "other"})
    two = dev.model_copy(update={"databases": (*dev.databases, other)})
    with pytest.raises(RefusedError, match="--empty-database other"):
        planned(seen(**GONE), two, databases=("main",))
    (step,) = steps.plan_steps(
        seen(**GONE), two, Asked(databases=("main",), empty_databases=("other",))
    )
    assert "new and EMPTY: other" in step.summary
    assert set(step.data["databases"]) == {"main"}


@pytest.mark.parametrize(
    ("found", "name", "why"),
    [
        (GONE, "main", "it is made from its snapshot"),
        (GONE, "nothing", "settings do not name it"),
        ({}, "main", "Only what is made again"),
    ],
)
def test_what_is_to_be_empty_has_to_be_made_new(
    dev: Settings, found: dict[str, Any], name: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        planned(seen(**found), dev, empty_databases=(name,))


def test_an_empty_database_takes_no_name_whose_log_groups_are_left(dev: Settings) -> None:
    found = seen(**GONE, databases=(), used=frozenset({"mono-repo-dev"}))
    with pytest.raises(RefusedError, match="describe-log-groups"):
        planned(found, dev, empty_databases=("main",))


@pytest.mark.parametrize("situation", ["there", "gone"])
def test_the_operator_is_told_which_database_the_backup_has_not(
    dev: Settings, situation: str
) -> None:
    lost = Omission(what="database main", why="left out on purpose")
    found = seen(situation=situation, databases=(), not_backed_up=(lost,))
    said = steps.notes(found, dev, Asked(parts=("parameters",)))
    assert "the backup has no snapshot of the database main: left out on purpose" in said


@pytest.mark.parametrize("field", ["master_username", "database_name"])
def test_what_an_instance_keeps_for_good_is_compared_first(dev: Settings, field: str) -> None:
    kept = seen().manifest.databases[0].model_copy(update={field: "somebody"})
    with pytest.raises(RefusedError, match="somebody, not mono_repo"):
        planned(seen(databases=(kept,)), dev)


def deployed(*dependents: dict[str, Any]) -> dict[str, Any]:
    """A state with a network, a database in it, and what depends on that."""
    network = {"urn": "urn:network", "type": state.VPC, "custom": True}
    database = {**HELD, "parent": "urn:network", "dependencies": ["urn:network"]}
    return {"version": 3, "deployment": {"resources": [network, database, *dependents]}}


def test_what_depends_on_a_database_is_found_through_what_is_between() -> None:
    found = deployed(
        {"urn": "urn:host", "propertyDependencies": {"value": [URN], "name": None}},
        {"urn": "urn:alarm", "dependencies": ["urn:host"]},
        {"urn": "urn:other", "dependencies": ["urn:network"]},
    )
    assert state.dependents(found, [URN]) == {URN, "urn:host", "urn:alarm"}


def test_a_database_that_is_put_back_leaves_the_state_as_it_was() -> None:
    former = deployed({"urn": "urn:host", "dependencies": [URN]})
    taken = state.without(former, [URN])
    assert state.put_back(taken, former, [URN]) == former


def test_what_was_recorded_meanwhile_stays_when_a_database_is_put_back() -> None:
    former = deployed({"urn": "urn:host", "dependencies": [URN]})
    taken = state.without(former, [URN])
    taken["deployment"]["resources"].append({"urn": "urn:new"})
    found = state.resources(state.put_back(taken, former, [URN]))
    assert [item["urn"] for item in found] == ["urn:network", URN, "urn:host", "urn:new"]


def test_taking_a_database_out_of_a_state_leaves_what_depends_on_it() -> None:
    deployment: dict[str, Any] = {
        "version": 3,
        "deployment": {
            "resources": [
                HELD,
                {
                    "urn": "urn:host",
                    "type": "aws:ssm/parameter:Parameter",
                    "dependencies": [URN, "urn:other"],
                    "propertyDependencies": {"value": [URN], "name": None},
                    "deletedWith": URN,
                },
            ],
            "pending_operations": [{"resource": HELD, "type": "updating"}],
        },
    }
    left = state.without(deployment, [URN])["deployment"]
    (host,) = left["resources"]
    assert host["dependencies"] == ["urn:other"]
    assert host["propertyDependencies"] == {"value": [], "name": []}
    assert "deletedWith" not in host
    assert left["pending_operations"] == []
    assert len(deployment["deployment"]["resources"]) == 2, "the state that was given is as it was"


def test_settings_for_one_update_leave_the_rest_of_the_file_as_it_is() -> None:
    text = (
        "config:\n  mono-repo:settings:\n    account_id: '0111'\n    databases:\n"
        "      - name: main\n        identifier: a\n"
    )
    changed = edited(text, {"databases[0].identifier": "b", "databases[0].storage_gb": 40})
    assert "account_id: '0111'" in changed
    assert "identifier: b" in changed
    assert "storage_gb: 40" in changed


@pytest.mark.parametrize("text", ["web", "=b", "a="])
def test_a_mapping_of_namespaces_says_both(text: str) -> None:
    with pytest.raises(UsageError, match="OLD=NEW"):
        steps.arguments(
            "b", only=(), databases=(), take_over=False, map_namespaces=[text], rehearse=False
        )


def test_a_rehearsal_takes_nothing_over() -> None:
    with pytest.raises(UsageError, match="--rehearse"):
        steps.arguments(
            "b", only=(), databases=(), take_over=True, map_namespaces=(), rehearse=True
        )

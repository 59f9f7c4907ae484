import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.rds import Database, Rds, RdsArgs, log_group_name, parameter_group_family
from tests.graph import Graph, Node, provided, record

INSTANCE = "aws:rds/instance:Instance"
PARAMETER_GROUP = "aws:rds/parameterGroup:ParameterGroup"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
GUARD = "aws:ec2/securityGroup:SecurityGroup"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
KEY = "arn:aws:kms:us-east-1:111122223333:key/databases"

MAIN = Database(
    name="main",
    identifier="mono-repo-dev",
    engine_version="17",
    instance_class="db.t4g.medium",
    storage_gb=20,
    max_storage_gb=100,
    multi_az=True,
    backup_retention_days=7,
    backup_window="03:00-04:00",
    maintenance_window="sun:05:00-sun:06:00",
    deletion_protection=True,
    database_name="mono_repo",
    username="mono_repo_admin",
    port=5432,
    performance_insights_days=7,
    monitoring_interval_seconds=60,
    snapshot_identifier=None,
    final_snapshot_identifier=None,
)
REPORTS = replace(
    MAIN,
    name="reports",
    identifier="mono-repo-dev-reports",
    engine_version="18.1",
    port=5433,
    multi_az=False,
    performance_insights_days=0,
    monitoring_interval_seconds=0,
)
ARGS = RdsArgs(
    account_id="111122223333",
    name_prefix="mono-repo-dev",
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b", "subnet-c"],
    client_security_group_id="sg-nodes",
    databases=[MAIN],
    database_key_arn=KEY,
    monitoring_role_name="mono-repo-dev-rds-monitoring",
    log_retention_days=30,
    log_key_arn="arn:aws:kms:us-east-1:111122223333:key/logs",
    permissions_boundary_arn="arn:aws:iam::111122223333:policy/mono-repo-dev-boundary",
    protect=True,
    tags={"environment": "dev"},
)


def build(*databases: Database, **changes: Any) -> Graph:
    args = replace(ARGS, databases=databases or [MAIN], **changes)
    return record(lambda: Rds("databases", args, ResourceOptions(providers=[provided()])))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


@pytest.fixture(scope="module")
def instance(graph: Graph) -> Node:
    return graph.one(INSTANCE)


def test_a_database_is_made_of_exactly_this(graph: Graph) -> None:
    children = graph.children(graph.one("mono-repo:index:Rds"))
    assert Counter(node.type.rpartition(":")[2] for node in children) == {
        "SubnetGroup": 1,
        "SecurityGroup": 1,
        "SecurityGroupIngressRule": 1,
        "ParameterGroup": 1,
        "LogGroup": 2,
        "Role": 1,
        "RolePolicyAttachment": 1,
        "Instance": 1,
    }


def test_a_second_database_has_everything_of_its_own_but_subnets_and_role() -> None:
    graph = build(MAIN, REPORTS)
    assert {node.name for node in graph.resources(INSTANCE)} == {
        "databases-main",
        "databases-reports",
    }
    for type_, count in {PARAMETER_GROUP: 2, GUARD: 2, RULE: 2, LOG_GROUP: 4}.items():
        assert len(graph.resources(type_)) == count
    assert len(graph.resources("aws:rds/subnetGroup:SubnetGroup")) == 1
    assert len(graph.resources("aws:iam/role:Role")) == 1
    reports = graph.one(INSTANCE, "databases-reports").inputs
    assert reports["parameterGroupName"] == "databases-reports-0000000"
    assert reports["vpcSecurityGroupIds"] == ["databases-reports-id"]
    assert graph.one(PARAMETER_GROUP, "databases-reports").inputs["family"] == "postgres18"
    assert graph.one(RULE, "databases-reports-nodes").inputs["fromPort"] == 5433


def test_no_database_is_no_more_than_a_place_for_one() -> None:
    args = replace(ARGS, databases=[])
    graph = record(lambda: Rds("databases", args, ResourceOptions(providers=[provided()])))
    children = graph.children(graph.one("mono-repo:index:Rds"))
    assert [node.type for node in children] == ["aws:rds/subnetGroup:SubnetGroup"]


def test_data_performance_data_and_master_password_are_encrypted_by_the_databases_key(
    instance: Node,
) -> None:
    inputs = instance.inputs
    assert inputs["storageEncrypted"] is True
    assert inputs["kmsKeyId"] == KEY
    assert inputs["performanceInsightsKmsKeyId"] == KEY
    assert inputs["masterUserSecretKmsKeyId"] == KEY
    assert inputs["manageMasterUserPassword"] is True
    assert not {"password", "passwordWo"} & set(inputs)


def test_only_the_nodes_reach_a_database_and_it_reaches_nobody(
    graph: Graph, instance: Node
) -> None:
    rule = graph.one(RULE).inputs
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 5432, 5432)
    assert rule["referencedSecurityGroupId"] == "sg-nodes"
    assert not {"cidrIpv4", "cidrIpv6", "prefixListId"} & set(rule)
    guard = graph.one(GUARD)
    assert not {"ingress", "egress"} & set(guard.inputs)
    assert guard.inputs["description"]
    assert not guard.name.startswith("sg")  # AWS refuses the auto-name
    assert graph.resources("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == []
    assert instance.inputs["vpcSecurityGroupIds"] == ["databases-main-id"]
    assert instance.inputs["publiclyAccessible"] is False
    subnets = graph.one("aws:rds/subnetGroup:SubnetGroup").inputs
    assert subnets["subnetIds"] == ARGS.subnet_ids
    assert instance.inputs["dbSubnetGroupName"] == "databases-0000000"


def test_tls_is_forced_and_connections_changes_and_slow_statements_are_logged(
    graph: Graph,
) -> None:
    group = graph.one(PARAMETER_GROUP).inputs
    assert {item["name"]: (item["value"], item["applyMethod"]) for item in group["parameters"]} == {
        "log_connections": ("1", "immediate"),
        "log_disconnections": ("1", "immediate"),
        "log_min_duration_statement": ("1000", "immediate"),
        "log_statement": ("ddl", "immediate"),
        "rds.force_ssl": ("1", "pending-reboot"),
    }


def test_a_database_is_backed_up_watched_logged_and_kept_up_to_date(instance: Node) -> None:
    expected = {
        "multiAz": True,
        "backupRetentionPeriod": 7,
        "backupWindow": "03:00-04:00",
        "maintenanceWindow": "sun:05:00-sun:06:00",
        "copyTagsToSnapshot": True,
        "deletionProtection": True,
        "autoMinorVersionUpgrade": True,
        "applyImmediately": False,
        "engineLifecycleSupport": "open-source-rds-extended-support-disabled",
        "iamDatabaseAuthenticationEnabled": True,
        "caCertIdentifier": "rds-ca-rsa2048-g1",
        "storageType": "gp3",
        "allocatedStorage": 20,
        "maxAllocatedStorage": 100,
        "monitoringInterval": 60,
        "performanceInsightsEnabled": True,
        "performanceInsightsRetentionPeriod": 7,
        "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    }
    assert {key: instance.inputs[key] for key in expected} == expected
    assert instance.inputs["username"] != "postgres"


def test_the_log_groups_are_made_first_encrypted_and_with_an_end(
    graph: Graph, instance: Node
) -> None:
    for log in ("postgresql", "upgrade"):
        group = graph.one(LOG_GROUP, f"databases-main-{log}")
        assert group.inputs["name"] == f"/aws/rds/instance/mono-repo-dev/{log}"
        assert group.inputs["retentionInDays"] == 30
        assert group.inputs["kmsKeyId"] == ARGS.log_key_arn
        assert group.urn in instance.dependencies


def test_the_monitoring_role_is_bounded_and_works_before_the_instance_needs_it(
    graph: Graph, instance: Node
) -> None:
    role = graph.one("aws:iam/role:Role").inputs
    assert role["name"] == "mono-repo-dev-rds-monitoring"
    assert role["permissionsBoundary"] == ARGS.permissions_boundary_arn
    (trust,) = json.loads(role["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": ["monitoring.rds.amazonaws.com"]}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}
    permission = graph.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert permission.inputs["policyArn"].endswith("/AmazonRDSEnhancedMonitoringRole")
    assert permission.urn in instance.dependencies
    assert instance.inputs["monitoringRoleArn"] == "arn:mock:aws:iam/role:Role/databases-monitoring"


def test_without_monitoring_and_insights_there_is_neither_role_nor_key_for_them() -> None:
    graph = build(REPORTS)
    assert graph.resources("aws:iam/role:Role") == []
    inputs = graph.one(INSTANCE).inputs
    assert inputs["monitoringInterval"] == 0
    assert inputs["performanceInsightsEnabled"] is False
    assert not {
        "monitoringRoleArn",
        "performanceInsightsKmsKeyId",
        "performanceInsightsRetentionPeriod",
    } & set(inputs)


def test_storage_that_may_not_grow_is_told_so() -> None:
    inputs = build(replace(MAIN, max_storage_gb=20)).one(INSTANCE).inputs
    assert (inputs["allocatedStorage"], inputs["maxAllocatedStorage"]) == (20, 0)


@pytest.mark.parametrize(
    ("protect", "deletion_protection", "expected"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_database_is_protected_where_its_settings_say_so_and_no_teardown_is_under_way(
    protect: bool, deletion_protection: bool, expected: bool
) -> None:
    database = replace(MAIN, deletion_protection=deletion_protection)
    instance = build(database, protect=protect).one(INSTANCE)
    assert (instance.protect, instance.inputs["deletionProtection"]) == (expected, expected)


def test_nothing_but_a_teardown_can_delete_a_database(instance: Node) -> None:
    # The provider refuses to delete without a snapshot's name unless it may skip the snapshot.
    assert instance.inputs["skipFinalSnapshot"] is False
    assert "finalSnapshotIdentifier" not in instance.inputs
    leaving = replace(MAIN, final_snapshot_identifier="mono-repo-dev-snapshot-20261231-235959")
    torn_down = build(leaving, protect=False).one(INSTANCE).inputs
    assert torn_down["skipFinalSnapshot"] is False
    assert torn_down["finalSnapshotIdentifier"] == "mono-repo-dev-snapshot-20261231-235959"


def test_a_restored_instance_takes_the_place_of_the_old_one_without_another_urn(
    graph: Graph,
) -> None:
    restored = build(replace(MAIN, identifier="mono-repo-dev-restored", snapshot_identifier="snap"))
    assert set(restored.nodes) == set(graph.nodes)
    instance = restored.one(INSTANCE)
    assert instance.inputs["identifier"] == "mono-repo-dev-restored"
    assert instance.ignore_changes == ("snapshotIdentifier",)
    # What else the name of an instance is in, a replacement of which would replace the instance.
    for type_ in (PARAMETER_GROUP, "aws:rds/subnetGroup:SubnetGroup", GUARD):
        assert [node.inputs for node in restored.resources(type_)] == [
            node.inputs for node in graph.resources(type_)
        ]


def test_a_major_upgrade_makes_the_new_familys_parameters_beside_the_old() -> None:
    names = [
        build(replace(MAIN, engine_version=version)).one(PARAMETER_GROUP).inputs
        for version in ("17", "18")
    ]
    assert [(group["namePrefix"], group["family"]) for group in names] == [
        ("mono-repo-dev-main-postgres17-", "postgres17"),
        ("mono-repo-dev-main-postgres18-", "postgres18"),
    ]
    assert not any("name" in group for group in names)


def test_a_minor_version_belongs_to_its_majors_family() -> None:
    assert parameter_group_family("17") == parameter_group_family("17.4") == "postgres17"


def test_a_log_group_has_the_name_that_rds_writes_to() -> None:
    assert log_group_name("db-1", "upgrade") == "/aws/rds/instance/db-1/upgrade"


def test_what_others_need_of_an_instance_is_registered(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:Rds").urn]
    assert outputs == {
        "instances": {
            "main": {
                "identifier": "mono-repo-dev",
                "arn": f"arn:mock:{INSTANCE}/databases-main",
                "resource_id": "db-databases-main",
                "address": "host-databases-main",
                "port": 5432,
                "master_secret_arn": "secret-databases-main",
                "security_group_id": "databases-main-id",
            }
        }
    }


def test_everything_that_takes_tags_is_tagged(graph: Graph) -> None:
    untaggable = {"aws:iam/rolePolicyAttachment:RolePolicyAttachment"}
    for node in graph.children(graph.one("mono-repo:index:Rds")):
        if node.type not in untaggable:
            assert node.inputs["tags"]["environment"] == "dev"

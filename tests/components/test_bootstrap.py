import json
from collections import Counter
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.bootstrap import Bootstrap, BootstrapArgs, image_retention
from components.deploy_policies import DEPLOY_AREAS, DeployScope
from components.iam_policies import Statement, policy_document
from tests.graph import Graph, Node, provided, record

REPOSITORIES = {"api-service": "mono-repo-dev-api-service", "web-app": "mono-repo-dev-web-app"}
STATE, BACKUPS = "mono-repo-dev-pulumi-state", "mono-repo-dev-backups"
LOGS = "mono-repo-dev-logs"
GROUP_POLICY = policy_document([Statement(actions=["ec2:DescribeVpcs"], resources=["*"])])


def program() -> None:
    Bootstrap(
        "bootstrap",
        BootstrapArgs(
            scope=DeployScope(
                environment="dev",
                project="mono-repo",
                account_id="111122223333",
                regions=("us-east-1", "us-west-2"),
                deploy_role_name="mono-repo-dev-deploy",
                boundary_name="mono-repo-dev-boundary",
                people_boundary_name="mono-repo-dev-people-boundary",
                group_policy_prefix="mono-repo-dev-group-",
                people_path="/mono-repo/dev/people/",
                services_path="/mono-repo/dev/services/",
                audit_log_group="CloudTrail/MonoRepoAuditLogs",
                approvals_path="/dev/mono-repo-ops/approvals",
                foundation_key_aliases=["alias/mono-repo-dev-databases"],
            ),
            state_bucket_prefix=STATE,
            backup_bucket_prefix=BACKUPS,
            log_bucket_name="mono-repo-dev-logs-111122223333",
            lock_table_name="mono-repo-dev-pulumi-state-lock",
            state_key_alias="alias/mono-repo-dev-pulumi-state",
            databases_key_alias="alias/mono-repo-dev-databases",
            backups_key_alias="alias/mono-repo-dev-backups",
            images_key_alias="alias/mono-repo-dev-images",
            replicas_key_alias="alias/mono-repo-dev-replicas",
            secondary_provider=provided("aws-secondary", "us-west-2"),
            repositories=REPOSITORIES,
            deployers=["arn:aws:iam::111122223333:root"],
            group_policies={"sre": GROUP_POLICY},
            key_deletion_window_days=30,
            protect=True,
            tags={"environment": "dev"},
        ),
        ResourceOptions(providers=[provided()]),
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return record(program, project="mono-repo-bootstrap")


def below(graph: Graph, node: Node) -> list[Node]:
    """All descendants of a node."""
    found = []
    for child in graph.children(node):
        found += [child, *below(graph, child)]
    return found


def part(graph: Graph, kind: str, name: str) -> dict[str, Any]:
    """Inputs of one of a bucket's settings."""
    return dict(graph.one(f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}", name).inputs)


def test_a_bootstrap_is_made_of_exactly_this(graph: Graph) -> None:
    children = graph.children(graph.one("mono-repo:index:Bootstrap"))
    assert Counter(node.type.rpartition(":")[2] for node in children) == {
        "EncryptionKey": 5,
        "PrivateBucket": 3,
        "BucketReplica": 2,
        "Table": 1,
        "Policy": len(DEPLOY_AREAS) + len(["boundary", "people-boundary", "group-sre"]),
        "Role": 1,
        "RolePolicyAttachment": len(DEPLOY_AREAS),
        "Repository": len(REPOSITORIES),
        "LifecyclePolicy": len(REPOSITORIES),
    }


@pytest.mark.parametrize("name", [STATE, BACKUPS])
def test_a_bucket_of_state_or_backups_is_made_of_exactly_this(graph: Graph, name: str) -> None:
    bucket = graph.one("mono-repo:index:PrivateBucket", name)
    assert [node.type.rpartition(":")[2] for node in graph.children(bucket)] == [
        "Bucket",
        "BucketLifecycleConfiguration",
        "BucketLogging",
        "BucketNotification",
        "BucketOwnershipControls",
        "BucketPolicy",
        "BucketPublicAccessBlock",
        "BucketServerSideEncryptionConfiguration",
        "BucketVersioning",
    ]


@pytest.mark.parametrize("name", [STATE, BACKUPS, LOGS, f"{STATE}-replica", f"{BACKUPS}-replica"])
def test_every_bucket_is_private_versioned_tls_only_and_cleans_up(graph: Graph, name: str) -> None:
    block = part(graph, "BucketPublicAccessBlock", name)
    assert [block[key] for key in block if key != "bucket"] == [True] * 4
    assert part(graph, "BucketOwnershipControls", name)["rule"] == {
        "objectOwnership": "BucketOwnerEnforced"
    }
    assert part(graph, "BucketVersioning", name)["versioningConfiguration"] == {"status": "Enabled"}
    assert "aws:SecureTransport" in part(graph, "BucketPolicy", name)["policy"]
    rules = {
        rule["id"]: rule for rule in part(graph, "BucketLifecycleConfiguration", name)["rules"]
    }
    assert rules["unfinished-uploads"]["abortIncompleteMultipartUpload"] == {
        "daysAfterInitiation": 7
    }
    assert rules["old-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 365}
    assert graph.one("aws:s3/bucket:Bucket", name).protect


@pytest.mark.parametrize(("name", "key"), [(STATE, "state"), (BACKUPS, "backups")])
def test_state_and_backups_are_encrypted_with_a_key_of_their_own(
    graph: Graph, name: str, key: str
) -> None:
    (rule,) = part(graph, "BucketServerSideEncryptionConfiguration", name)["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {
        "sseAlgorithm": "aws:kms",
        "kmsMasterKeyId": f"arn:mock:aws:kms/key:Key/bootstrap-{key}",
    }


def test_the_names_of_state_and_backup_buckets_end_in_a_random_suffix(graph: Graph) -> None:
    for name in (STATE, BACKUPS):
        assert "bucket" not in graph.one("aws:s3/bucket:Bucket", name).inputs
    assert graph.one("aws:s3/bucket:Bucket", LOGS).inputs["bucket"].endswith("111122223333")


def test_requests_to_state_and_backups_are_logged_into_a_bucket_that_s3_can_write(
    graph: Graph,
) -> None:
    for name in (STATE, BACKUPS):
        logging = graph.one("aws:s3/bucketLogging:BucketLogging", name)
        assert logging.inputs["targetBucket"] == "mono-repo-dev-logs-111122223333"
        assert graph.one("aws:s3/bucketPolicy:BucketPolicy", LOGS).urn in logging.dependencies
    (rule,) = part(graph, "BucketServerSideEncryptionConfiguration", LOGS)["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    policy = json.loads(part(graph, "BucketPolicy", LOGS)["policy"])
    (writer,) = [item for item in policy["Statement"] if item["Sid"] == "S3AccessLogs"]
    assert writer["Action"] == ["s3:PutObject"]
    assert writer["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}


def test_load_balancers_of_the_account_can_write_their_logs_and_nothing_else(graph: Graph) -> None:
    policy = json.loads(part(graph, "BucketPolicy", LOGS)["policy"])
    (writer,) = [item for item in policy["Statement"] if item["Sid"] == "LoadBalancerLogs"]
    assert writer["Principal"] == {"Service": ["logdelivery.elasticloadbalancing.amazonaws.com"]}
    assert writer["Action"] == ["s3:PutObject"]
    bucket = f"arn:mock:aws:s3/bucket:Bucket/{LOGS}"
    assert writer["Resource"] == [
        f"{bucket}/elb/{kind}/AWSLogs/111122223333/*" for kind in ("access", "connections")
    ]


@pytest.mark.parametrize("name", [STATE, BACKUPS])
def test_state_and_backups_are_copied_to_the_secondary_region(graph: Graph, name: str) -> None:
    config = graph.one("aws:s3/bucketReplicationConfig:BucketReplicationConfig", f"{name}-replica")
    (rule,) = config.inputs["rules"]
    assert rule["destination"]["bucket"] == f"arn:mock:aws:s3/bucket:Bucket/{name}-replica"
    assert rule["sourceSelectionCriteria"] == {"sseKmsEncryptedObjects": {"status": "Enabled"}}
    for end in (name, f"{name}-replica"):
        assert graph.one("aws:s3/bucketVersioning:BucketVersioning", end).urn in config.dependencies
    assert graph.provider_of(config).inputs["region"] == "us-east-1"


def test_copies_and_their_key_are_made_in_the_secondary_region(graph: Graph) -> None:
    elsewhere = {
        node.name
        for node in graph.resources()
        if node.custom and node.provider and "aws-secondary" in node.provider
    }
    assert elsewhere == {"bootstrap-replicas", f"{STATE}-replica", f"{BACKUPS}-replica"}


def test_the_lock_table_can_be_restored_and_not_deleted(graph: Graph) -> None:
    table = graph.one("aws:dynamodb/table:Table")
    assert table.inputs["name"] == "mono-repo-dev-pulumi-state-lock"
    assert table.inputs["pointInTimeRecovery"] == {"enabled": True}
    assert table.inputs["deletionProtectionEnabled"] is True
    assert table.inputs["serverSideEncryption"]["kmsKeyArn"].endswith("bootstrap-state")
    assert table.protect


def test_images_are_immutable_scanned_encrypted_and_expire(graph: Graph) -> None:
    for application, name in REPOSITORIES.items():
        repository = graph.one("aws:ecr/repository:Repository", f"bootstrap-{application}")
        assert repository.inputs["name"] == name
        assert repository.inputs["imageTagMutability"] == "IMMUTABLE"
        assert repository.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
        (encryption,) = repository.inputs["encryptionConfigurations"]
        assert encryption["encryptionType"] == "KMS"
        assert encryption["kmsKey"].endswith("bootstrap-images")
        assert repository.protect
    assert graph.resources("aws:ecr/repositoryPolicy:RepositoryPolicy") == []


def test_ecr_takes_rules_with_rising_priorities_of_which_the_last_is_for_any_tag() -> None:
    rules = json.loads(image_retention())["rules"]
    assert [rule["rulePriority"] for rule in rules] == [1, 2]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "any"]


def test_every_key_rotates_and_admits_its_own_account_only(graph: Graph) -> None:
    for key in graph.resources("aws:kms/key:Key"):
        assert key.inputs["enableKeyRotation"] is True
        assert key.protect
        for statement in json.loads(key.inputs["policy"])["Statement"]:
            assert statement["Principal"] == {"AWS": ["arn:aws:iam::111122223333:root"]}


def test_the_deploy_role_carries_one_policy_an_area(graph: Graph) -> None:
    role = graph.one("aws:iam/role:Role", "bootstrap-deploy")
    assert role.inputs["name"] == "mono-repo-dev-deploy"
    attached = {
        node.inputs["policyArn"].rpartition("/bootstrap-deploy-")[2]
        for node in graph.resources("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
        if node.inputs["role"] == "mono-repo-dev-deploy"
    }
    assert attached == set(DEPLOY_AREAS)
    for area in DEPLOY_AREAS:
        policy = graph.one("aws:iam/policy:Policy", f"bootstrap-deploy-{area}")
        assert policy.inputs["name"] == f"mono-repo-dev-deploy-{area}"


def test_what_a_group_may_do_is_written_with_the_foundation(graph: Graph) -> None:
    policy = graph.one("aws:iam/policy:Policy", "bootstrap-group-sre")
    assert policy.inputs["name"] == "mono-repo-dev-group-sre"
    assert policy.inputs["policy"] == GROUP_POLICY


def test_people_and_roles_have_a_boundary_each(graph: Graph) -> None:
    texts = {
        name: graph.one("aws:iam/policy:Policy", f"bootstrap-{name}").inputs["policy"]
        for name in ("boundary", "people-boundary")
    }
    assert "aws:MultiFactorAuthPresent" in texts["people-boundary"]
    assert "aws:MultiFactorAuthPresent" not in texts["boundary"]


def test_the_bootstrap_registers_its_outputs_and_so_does_each_part(graph: Graph) -> None:
    root = graph.one("mono-repo:index:Bootstrap")
    for node in [root, *below(graph, root)]:
        assert node.custom or len(graph.registered_outputs[node.urn]) == 1
    (outputs,) = graph.registered_outputs[root.urn]
    assert outputs["state_bucket"] == f"{STATE}-0000000"
    assert set(outputs["key_arns"]) == {"state", "databases", "backups", "images"}

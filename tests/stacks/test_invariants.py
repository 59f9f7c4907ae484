"""What holds for every resource of every committed stack."""

import json
from collections import Counter
from typing import Any

import pytest

from infra import naming
from infra.sandbox.engine.drivers.rows import ROWS
from infra.sandbox.engine.generator import Targets
from ops.doctor.cloud import ALL_BUT_KUBERNETES
from tests.graph import AUTO_NAMED, STACK_TYPE, Graph, Node
from tests.stacks.programs import (
    ENVIRONMENTS,
    GRAPHS,
    graph_of,
    kind_of,
    settings,
    settings_of,
)

PROVIDER = "pulumi:providers:aws"
STATEFUL = {
    "aws:cloudtrail/trail:Trail",
    "aws:eks/cluster:Cluster",
    "aws:dynamodb/table:Table",
    "aws:ec2/subnet:Subnet",
    "aws:ecr/repository:Repository",
    "aws:kms/key:Key",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
}
"""What holds data, or is addressed by all that does: never replaced or deleted in passing."""
UNTAGGABLE = {
    "aws:autoscaling/attachment:Attachment",
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
    "aws:ec2/route:Route",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy",
    "aws:route53/record:Record",
    "aws:ebs/encryptionByDefault:EncryptionByDefault",
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
    "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
    "aws:iam/group:Group",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userGroupMembership:UserGroupMembership",
    "aws:kms/alias:Alias",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketLogging:BucketLogging",
    "aws:s3/bucketNotification:BucketNotification",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sns/topicSubscription:TopicSubscription",
}
"""What AWS keeps no tags for; another type without tags fails here until it is looked up."""
PHYSICAL_NAMES = {
    "aws:budgets/budget:Budget": "name",
    "aws:cloudtrail/trail:Trail": "name",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
    "aws:eks/cluster:Cluster": "name",
    "aws:rds/instance:Instance": "identifier",
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": "policyName",
    "aws:dynamodb/table:Table": "name",
    "aws:ecr/repository:Repository": "name",
    "aws:iam/group:Group": "name",
    "aws:iam/instanceProfile:InstanceProfile": "name",
    "aws:iam/policy:Policy": "name",
    "aws:iam/role:Role": "name",
    "aws:iam/user:User": "name",
    "aws:kms/alias:Alias": "name",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "name",
    "aws:sns/topic:Topic": "name",
    "aws:ssm/parameter:Parameter": "name",
}


@pytest.fixture(params=sorted(GRAPHS), scope="module")
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(stack: str) -> Graph:
    return GRAPHS[stack]


KUBERNETES_PROVIDER = "pulumi:providers:kubernetes"
PROVIDERS = (PROVIDER, KUBERNETES_PROVIDER)
COMPONENTS = ("mono-repo:index:", "eks:index:")
"""Our own components, and the remote one of the cluster."""


def environment_of(stack: str) -> str:
    return settings_of(stack).environment


def custom(graph: Graph) -> list[Node]:
    """Neither components nor providers."""
    return [node for node in graph.resources() if node.custom and node.type not in PROVIDERS]


def cloud(graph: Graph) -> list[Node]:
    """Resources in the cloud."""
    return [node for node in custom(graph) if node.type.startswith("aws:")]


def cluster(graph: Graph) -> list[Node]:
    """Objects in the cluster."""
    return [node for node in custom(graph) if node.type.startswith("kubernetes:")]


def policies(graph: Graph) -> list[tuple[str, dict[str, Any]]]:
    """Every statement of every policy document in the graph."""
    found = []
    for node in cloud(graph):
        for value in node.inputs.values():
            if isinstance(value, str) and value.startswith('{"Version"'):
                found += [(node.label, item) for item in json.loads(value)["Statement"]]
    return found


def test_nothing_is_an_orphan(graph: Graph) -> None:
    for node in graph.resources():
        parent = graph.nodes[node.parent]
        if node.custom and node.type != PROVIDER:
            assert parent.type.startswith(COMPONENTS), node.label
        else:
            assert parent.type == STACK_TYPE or parent.type.startswith(COMPONENTS)


def test_there_is_nothing_but_in_the_cloud_and_in_the_cluster(graph: Graph) -> None:
    assert len(custom(graph)) == len(cloud(graph)) + len(cluster(graph))


def test_every_resource_names_a_provider_that_is_bound_to_the_account(
    graph: Graph, stack: str
) -> None:
    account = settings(environment_of(stack)).account_id
    for node in cloud(graph):
        allowed = graph.provider_of(node).inputs["allowedAccountIds"]
        assert json.loads(allowed) == [account], node.label


def test_every_object_of_a_cluster_names_its_provider_and_goes_with_the_cluster(
    graph: Graph,
) -> None:
    for node in cluster(graph):
        provider = graph.provider_of(node)
        assert provider.inputs["clusterIdentifier"], node.label
        assert graph.nodes[node.deleted_with].type == "aws:eks/cluster:Cluster", node.label


def test_every_object_of_a_cluster_says_whose_it_is(graph: Graph) -> None:
    for node in cluster(graph):
        labels = node.inputs["metadata"]["labels"]
        assert naming.CLUSTER_LABELS.items() <= labels.items(), node.label


def test_environments_act_as_the_deploy_role_and_all_else_as_its_caller(
    graph: Graph, stack: str
) -> None:
    env = environment_of(stack)
    for provider in graph.resources(PROVIDER):
        if kind_of(stack) != "environment":
            assert "assumeRoles" not in provider.inputs
        else:
            (assumed,) = json.loads(provider.inputs["assumeRoles"])
            assert assumed == {
                "roleArn": naming.deploy_role_arn(settings(env).account_id, env),
                "sessionName": naming.prefix(env),
            }


def test_what_holds_data_is_protected(graph: Graph) -> None:
    stateful = [node for node in cloud(graph) if node.type in STATEFUL]
    assert stateful
    assert [node.label for node in stateful if not node.protect] == []


def test_a_teardowns_settings_lift_every_protection_and_change_nothing_else(
    graph: Graph, stack: str
) -> None:
    env = environment_of(stack)
    torn = settings(env).model_copy(
        update={"deletion_protection": False, "final_snapshot_stamp": "20261231-235959"}
    )
    lifted = graph_of(stack, torn)
    assert [node.label for node in cloud(lifted) if node.protect] == []
    switches = {
        "deletionProtection",
        "deletionProtectionEnabled",
        "enableDeletionProtection",
        "finalSnapshotIdentifier",
        "forceDelete",
        "forceDestroy",
    }
    before = {node.urn: node.inputs for node in cloud(graph)}
    for node in cloud(lifted):
        changed = {
            key
            for key in {*node.inputs, *before[node.urn]}
            if node.inputs.get(key) != before[node.urn].get(key)
        }
        assert changed <= switches, node.label


def test_everything_that_can_be_tagged_carries_the_environments_tags(
    graph: Graph, stack: str
) -> None:
    ours = settings_of(stack)
    tags = naming.account_tags(ours) if kind_of(stack) == "account" else naming.tags(ours)
    expected = tags.items()
    for node in cloud(graph):
        if node.type in UNTAGGABLE:
            assert "tags" not in node.inputs, f"{node.type} takes tags after all"
        else:
            assert expected <= node.inputs.get("tags", {}).items(), node.label


def test_every_component_and_the_stack_register_their_outputs_once(graph: Graph) -> None:
    for node in graph.nodes.values():
        if not node.custom and not node.type.startswith("eks:"):
            assert len(graph.registered_outputs.get(node.urn, [])) == 1, node.label


def test_names_are_unique_in_a_stack_even_without_their_parents(graph: Graph) -> None:
    twice = [
        label for label, count in Counter(n.label for n in graph.resources()).items() if count > 1
    ]
    assert twice == []


def test_no_two_stacks_of_one_account_want_the_same_physical_name() -> None:
    """As if all environments shared one account: names that carry no environment would clash."""
    names = Counter(
        (node.type, node.inputs[PHYSICAL_NAMES[node.type]])
        for stack, graph in GRAPHS.items()
        if stack == "account-dev" or kind_of(stack) != "account"
        for node in cloud(graph)
        if node.inputs.get(PHYSICAL_NAMES.get(node.type, "")) is not None
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_what_is_named_automatically_has_a_name_that_aws_takes(graph: Graph) -> None:
    for node in cloud(graph):
        if node.type in AUTO_NAMED and AUTO_NAMED[node.type] not in node.inputs:
            assert not node.name.startswith("sg")
            assert len(node.name) + len("-0123456") <= 63


def test_parameters_begin_with_environment_and_application(graph: Graph, stack: str) -> None:
    path = naming.parameter_path(environment_of(stack))
    for node in graph.resources("aws:ssm/parameter:Parameter"):
        assert node.inputs["name"].startswith(f"{path}/")


def test_ignored_changes_are_paths_that_the_schema_knows(graph: Graph) -> None:
    """A path that it does not know, such as one in snake case, would silently ignore nothing."""
    for node in graph.resources():
        for path in node.ignore_changes:
            first, *rest = path.split(".")
            assert first in ROWS[node.type].inputs, f"{node.label}: {path}"
            value: Any = node.inputs.get(first)
            for part in rest:
                (value,) = value if isinstance(value, list) else [value]
                assert part in value, f"{node.label}: {path}"
                value = value[part]


def test_inputs_are_spelt_as_on_the_wire(graph: Graph) -> None:
    def snake(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [key for key in value if "_" in key] + [
                k for v in value.values() for k in snake(v)
            ]
        return [key for item in value for key in snake(item)] if isinstance(value, list) else []

    for node in cloud(graph):
        assert snake({k: v for k, v in node.inputs.items() if k != "tags"}) == [], node.label


def test_no_secret_is_in_the_program(graph: Graph, stack: str) -> None:
    catalogue = settings(environment_of(stack)).parameters.catalogue
    operators = {
        naming.parameter(environment_of(stack), entry.name)
        for entry in catalogue
        if entry.owner == "operator"
    }
    for node in graph.resources("aws:ssm/parameter:Parameter"):
        assert node.inputs["type"] == "String"
        assert node.inputs["name"] not in operators
    assert not [node for node in cloud(graph) if "accessKey:" in node.type]


def test_no_policy_allows_everyone_or_everything(graph: Graph) -> None:
    assert policies(graph)
    for label, statement in policies(graph):
        if statement["Effect"] == "Allow":
            assert statement.get("Principal") != "*", label
            assert "*" not in statement["Action"], label
            assert "Condition" in statement or "Resource" in statement or "Principal" in statement


def test_no_trust_is_given_to_a_bare_service_but_where_aws_knows_no_other(graph: Graph) -> None:
    """A service that acts for anybody's account could be made to act for theirs here."""
    bare = (["cloudtrail.amazonaws.com"], ["ec2.amazonaws.com"], ["s3.amazonaws.com"])
    ours = {"aws:SourceAccount", "aws:RequestTag/eks-cluster-arn"}
    for node in graph.resources("aws:iam/role:Role"):
        for statement in json.loads(node.inputs["assumeRolePolicy"])["Statement"]:
            services = statement["Principal"].get("Service", [])
            if services and services not in bare:
                assert ours & set(statement["Condition"]["StringEquals"]), node.label


@pytest.mark.parametrize(
    ("kind", "name"),
    [("aws:iam/role:Role", "boundary"), ("aws:iam/user:User", "people-boundary")],
)
def test_every_role_and_every_user_of_an_environment_carries_its_boundary(
    graph: Graph, stack: str, kind: str, name: str
) -> None:
    if kind_of(stack) != "environment":
        return
    foundation = GRAPHS[f"bootstrap-{stack}"]
    boundary = foundation.one("aws:iam/policy:Policy", f"bootstrap-{name}").inputs["name"]
    for node in graph.resources(kind):
        assert node.inputs["permissionsBoundary"].endswith(f":policy/{boundary}"), node.label


def test_a_group_is_given_a_policy_of_the_foundation(graph: Graph, stack: str) -> None:
    if kind_of(stack) != "environment":
        return
    made = {
        node.inputs["name"]
        for node in GRAPHS[f"bootstrap-{stack}"].resources("aws:iam/policy:Policy")
    }
    given = graph.resources("aws:iam/groupPolicyAttachment:GroupPolicyAttachment")
    assert given
    for node in given:
        assert node.inputs["policyArn"].rpartition("/")[2] in made, node.label


def test_every_key_rotates_and_every_log_group_is_encrypted(graph: Graph) -> None:
    assert all(node.inputs["enableKeyRotation"] for node in graph.resources("aws:kms/key:Key"))
    for group in graph.resources("aws:cloudwatch/logGroup:LogGroup"):
        assert group.inputs["kmsKeyId"].startswith("arn:"), group.label


def test_the_flow_log_archive_is_a_bucket_that_the_bootstrap_makes() -> None:
    for env in ENVIRONMENTS:
        archive = GRAPHS[env].one("aws:ec2/flowLog:FlowLog", "network-flow-logs-archive")
        bucket = GRAPHS[f"bootstrap-{env}"].one("aws:s3/bucket:Bucket", f"mono-repo-{env}-logs")
        assert archive.inputs["logDestination"] == f"arn:aws:s3:::{bucket.inputs['bucket']}"


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_what_is_made_first_is_all_but_what_is_in_the_cluster(env: str) -> None:
    graph = GRAPHS[env]
    made = Targets(ALL_BUT_KUBERNETES)
    # Providers are made in any case, and the stack itself.
    nodes = [node for node in graph.resources() if not node.type.startswith("pulumi:")]
    inside = {node.urn for node in nodes if node.type.startswith("kubernetes:")}
    assert inside
    assert {node.urn for node in nodes if node.urn not in made} == inside
    waiting = [node for node in nodes if node.urn in made and inside & set(node.dependencies)]
    assert not waiting, "nothing of AWS waits for what is in the cluster"

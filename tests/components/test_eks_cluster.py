import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pulumi import ResourceOptions

from components.eks_cluster import EksCluster, EksClusterArgs, kubeconfig
from components.node_group import NodeGroupSpec, Taint
from tests.graph import Graph, Node, provided, record

BOUNDARY = "arn:aws:iam::111122223333:policy/mono-repo-dev-boundary"
DEPLOY = "arn:aws:iam::111122223333:role/mono-repo-dev-deploy"
CLUSTER_ARN = "arn:aws:eks:us-east-1:111122223333:cluster/mono-repo-dev"
GENERAL = NodeGroupSpec(
    name="general",
    instance_types=["t4g.large"],
    ami_type="AL2023_ARM_64_STANDARD",
    capacity_type="ON_DEMAND",
    min_size=2,
    desired_size=3,
    max_size=4,
    disk_gb=50,
)
BATCH = replace(
    GENERAL,
    name="batch",
    capacity_type="SPOT",
    release_version="1.36.0-20261112",
    labels={"workload": "batch"},
    taints=[Taint(key="dedicated", value="batch", effect="NO_SCHEDULE")],
)
ARGS = EksClusterArgs(
    account_id="111122223333",
    region="us-east-1",
    cluster_name="mono-repo-dev",
    version="1.36",
    support_type="STANDARD",
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b", "subnet-c"],
    service_cidr="172.20.0.0/16",
    public_access_cidrs=(),
    log_group_name="/aws/eks/mono-repo-dev/cluster",
    log_retention_days=7,
    log_key_arn="arn:aws:kms:us-east-1:111122223333:key/logs",
    secrets_key_alias="alias/mono-repo-dev-cluster-secrets",
    volumes_key_alias="alias/mono-repo-dev-cluster-volumes",
    key_deletion_window_days=30,
    deploy_role_arn=DEPLOY,
    permissions_boundary_arn=BOUNDARY,
    addons={
        "vpc-cni": "v1.22.4-eksbuild.3",
        "kube-proxy": "v1.36.0-eksbuild.21",
        "coredns": "v1.14.3-eksbuild.16",
        "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
        "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
        "metrics-server": "v0.8.1-eksbuild.10",
        "amazon-cloudwatch-observability": "v6.2.0-eksbuild.1",
    },
    node_groups=[GENERAL],
    cluster_autoscaler_version="v1.36.1",
    deletion_protection=True,
    protect=True,
    labels={"app.kubernetes.io/part-of": "mono-repo"},
    tags={"environment": "dev"},
)
ADDON = "aws:eks/addon:Addon"
CLUSTER = "aws:eks/cluster:Cluster"
NODES = "aws:eks/nodeGroup:NodeGroup"
PROVIDER = "pulumi:providers:kubernetes"


def build(**changes: Any) -> Graph:
    args = replace(ARGS, **changes)
    return record(lambda: EksCluster("cluster", args, ResourceOptions(providers=[provided()])))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def below(graph: Graph, node: Node) -> list[Node]:
    """A node's descendants."""
    children = graph.children(node)
    return [*children, *(item for child in children for item in below(graph, child))]


def needs(graph: Graph, node: Node) -> set[str]:
    """Labels of all that has to be there before a node, through parents and components too."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if item.label in found:
            continue
        found.add(item.label)
        urns = {*item.dependencies, item.parent, item.provider.rpartition("::")[0]} - {""}
        waiting += [graph.nodes[urn] for urn in urns if urn in graph.nodes]
    return found - {node.label}


def statements(policy: str) -> dict[str, dict[str, Any]]:
    return {item.get("Sid", ""): item for item in json.loads(policy)["Statement"]}


def addon_names(nodes: Sequence[Node]) -> set[str]:
    return {node.inputs["addonName"] for node in nodes}


def test_a_cluster_is_made_of_exactly_this(graph: Graph) -> None:
    whole = below(graph, graph.one("mono-repo:index:EksCluster"))
    assert Counter(node.type for node in whole) == {
        ADDON: 7,
        "aws:cloudwatch/logGroup:LogGroup": 5,
        "aws:ec2/launchTemplate:LaunchTemplate": 1,
        CLUSTER: 1,
        NODES: 1,
        "aws:eks/podIdentityAssociation:PodIdentityAssociation": 1,
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider": 1,
        "aws:iam/role:Role": 6,
        "aws:iam/rolePolicy:RolePolicy": 3,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 5,
        "aws:kms/alias:Alias": 2,
        "aws:kms/key:Key": 2,
        "eks:index:Cluster": 1,
        "kubernetes:apps/v1:Deployment": 1,
        "kubernetes:core/v1:ServiceAccount": 1,
        "kubernetes:policy/v1:PodDisruptionBudget": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:Role": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": 1,
        "kubernetes:storage.k8s.io/v1:StorageClass": 1,
        "mono-repo:index:ClusterAutoscaler": 1,
        "mono-repo:index:EncryptionKey": 2,
        "mono-repo:index:NodeGroup": 1,
        # Ours, and the one that the remote component makes for itself.
        PROVIDER: 2,
    }


# Control plane


def test_only_the_vpc_reaches_the_endpoint_unless_ranges_are_listed(graph: Graph) -> None:
    private = graph.one(CLUSTER).inputs["vpcConfig"]
    assert private["endpointPrivateAccess"] is True
    assert private["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in private

    public = build(public_access_cidrs=["203.0.113.0/24"]).one(CLUSTER).inputs["vpcConfig"]
    assert public["endpointPrivateAccess"] is True
    assert public["endpointPublicAccess"] is True
    assert public["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_secrets_are_encrypted_by_a_key_of_the_clusters_own(graph: Graph) -> None:
    key = graph.one("aws:kms/key:Key", "cluster-secrets")
    encryption = graph.one(CLUSTER).inputs["encryptionConfig"]
    assert encryption["resources"] == ["secrets"]
    assert encryption["provider"]["keyArn"] == f"arn:mock:{key.type}/{key.name}"
    assert key.inputs["enableKeyRotation"] is True
    assert key.protect


def test_all_five_logs_go_to_a_group_that_is_there_before_and_after_the_cluster(
    graph: Graph,
) -> None:
    cluster = graph.one(CLUSTER)
    assert cluster.inputs["enabledClusterLogTypes"] == [
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    ]
    groups = graph.resources("aws:cloudwatch/logGroup:LogGroup")
    assert {group.inputs["name"] for group in groups} == {
        "/aws/eks/mono-repo-dev/cluster",
        "/aws/containerinsights/mono-repo-dev/application",
        "/aws/containerinsights/mono-repo-dev/dataplane",
        "/aws/containerinsights/mono-repo-dev/host",
        "/aws/containerinsights/mono-repo-dev/performance",
    }
    for group in groups:
        assert group.inputs["retentionInDays"] == 7
        assert group.inputs["kmsKeyId"] == ARGS.log_key_arn
        assert group.label in needs(graph, cluster)


@pytest.mark.parametrize("support", ["STANDARD", "EXTENDED"])
def test_what_happens_after_standard_support_is_said(support: str) -> None:
    cluster = build(support_type=support).one(CLUSTER)
    assert cluster.inputs["upgradePolicy"] == {"supportType": support}


def test_the_deploy_role_administers_the_cluster_because_it_makes_it(graph: Graph) -> None:
    cluster = graph.one(CLUSTER).inputs
    assert cluster["accessConfig"]["authenticationMode"] == "API"
    assert graph.resources("aws:eks/accessEntry:AccessEntry") == []
    component = graph.one("eks:index:Cluster")
    assert component.inputs["providerCredentialOpts"] == {"roleArn": DEPLOY}


def test_nothing_is_installed_or_opened_that_is_not_the_clusters_own(graph: Graph) -> None:
    component = graph.one("eks:index:Cluster").inputs
    assert component["skipDefaultNodeGroup"] is True
    assert component["createOidcProvider"] is False
    assert component["useDefaultVpcCni"] is True
    assert component["corednsAddonOptions"]["enabled"] is False
    assert component["kubeProxyAddonOptions"]["enabled"] is False
    assert graph.one(CLUSTER).inputs["bootstrapSelfManagedAddons"] is False
    assert graph.resources("aws:ec2/securityGroup:SecurityGroup") == []
    assert graph.resources("aws:ec2/securityGroupRule:SecurityGroupRule") == []


def test_the_identity_provider_needs_no_thumbprints(graph: Graph) -> None:
    provider = graph.one("aws:iam/openIdConnectProvider:OpenIdConnectProvider").inputs
    assert provider["clientIdLists"] == ["sts.amazonaws.com"]
    assert provider["url"].startswith("https://oidc.eks")
    assert "thumbprintLists" not in provider


@pytest.mark.parametrize("protect", [True, False])
def test_the_control_plane_is_protected_as_settings_say(protect: bool) -> None:
    graph = build(protect=protect, deletion_protection=protect)
    cluster = graph.one(CLUSTER)
    assert cluster.protect is protect
    assert cluster.inputs["deletionProtection"] is protect
    assert not graph.one(NODES).protect


# Roles


def test_every_role_is_bounded_and_named_so_that_the_deploy_role_may_make_it(
    graph: Graph,
) -> None:
    roles = {node.inputs["name"]: node.inputs for node in graph.resources("aws:iam/role:Role")}
    assert set(roles) == {
        "mono-repo-dev-cluster",
        "mono-repo-dev-nodes",
        "mono-repo-dev-autoscaler",
        "mono-repo-dev-vpc-cni",
        "mono-repo-dev-aws-ebs-csi-driver",
        "mono-repo-dev-amazon-cloudwatch-observability",
    }
    assert {role["permissionsBoundary"] for role in roles.values()} == {BOUNDARY}


def test_the_cluster_waits_for_what_its_role_may_do(graph: Graph) -> None:
    cluster = graph.one(CLUSTER)
    assert cluster.inputs["roleArn"] == "arn:mock:aws:iam/role:Role/cluster-cluster"
    attachment = graph.one(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "cluster-cluster-AmazonEKSClusterPolicy",
    )
    assert attachment.urn in cluster.dependencies


def test_nodes_join_and_pull_and_do_nothing_else_in_aws(graph: Graph) -> None:
    attached = {
        node.inputs["policyArn"].rpartition("/")[2]
        for node in graph.resources("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
        if node.name.startswith("cluster-nodes-")
    }
    assert attached == {"AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy"}


@pytest.mark.parametrize(
    ("role", "namespace", "account"),
    [
        ("vpc-cni", "kube-system", "aws-node"),
        ("aws-ebs-csi-driver", "kube-system", "ebs-csi-controller-sa"),
        ("amazon-cloudwatch-observability", "amazon-cloudwatch", "cloudwatch-agent"),
        ("autoscaler", "kube-system", "cluster-autoscaler"),
    ],
)
def test_a_role_of_the_cluster_trusts_one_service_account_of_it(
    graph: Graph, role: str, namespace: str, account: str
) -> None:
    inputs = graph.one("aws:iam/role:Role", f"cluster-{role}").inputs
    (trust,) = json.loads(inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": ["pods.eks.amazonaws.com"]}
    assert trust["Condition"]["StringEquals"] == {
        "aws:RequestTag/eks-cluster-arn": CLUSTER_ARN,
        "aws:RequestTag/kubernetes-namespace": namespace,
        "aws:RequestTag/kubernetes-service-account": account,
    }


def test_the_autoscaler_sizes_the_groups_of_this_cluster_alone(graph: Graph) -> None:
    policy = graph.one("aws:iam/rolePolicy:RolePolicy", "cluster-autoscaler").inputs["policy"]
    for sid, statement in statements(policy).items():
        changes = [action for action in statement["Action"] if ":Describe" not in action]
        if sid == "Size":
            assert statement["Condition"]["StringEquals"] == {
                "aws:ResourceTag/k8s.io/cluster-autoscaler/mono-repo-dev": "owned"
            }
        else:
            assert set(changes) <= {"ec2:GetInstanceTypesFromInstanceRequirements"}


def test_pod_logs_can_be_written_to_the_clusters_groups_alone(graph: Graph) -> None:
    name = "cluster-amazon-cloudwatch-observability"
    policy = graph.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"]
    written = statements(policy)["Logs"]["Resource"]
    beginning = (
        "arn:aws:logs:us-east-1:111122223333:log-group:/aws/containerinsights/mono-repo-dev/"
    )
    assert {resource.removeprefix(beginning).removesuffix(":*") for resource in written} == {
        "application",
        "dataplane",
        "host",
        "performance",
    }


# Add-ons


def test_every_addon_is_pinned_and_settled_in_favour_of_the_stack_file(graph: Graph) -> None:
    addons = graph.resources(ADDON)
    assert {node.inputs["addonName"]: node.inputs["addonVersion"] for node in addons} == ARGS.addons
    for node in addons:
        assert node.inputs["resolveConflictsOnCreate"] == "OVERWRITE"
        assert node.inputs["resolveConflictsOnUpdate"] == "OVERWRITE"


def test_the_network_is_configured_before_the_first_node_and_outlasts_the_last(
    graph: Graph,
) -> None:
    before = needs(graph, graph.one(NODES))
    early = [node for node in graph.resources(ADDON) if node.label in before]
    assert addon_names(early) == {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
    network = graph.one(ADDON, "cluster-vpc-cni").inputs
    told = json.loads(network["configurationValues"])
    assert told["enableNetworkPolicy"] == "true"
    assert told["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
    assert [item["serviceAccount"] for item in network["podIdentityAssociations"]] == ["aws-node"]


def test_addons_that_need_nodes_come_after_them(graph: Graph) -> None:
    late = [node for node in graph.resources(ADDON) if graph.one(NODES).urn in node.dependencies]
    assert addon_names(late) == {
        "coredns",
        "aws-ebs-csi-driver",
        "metrics-server",
        "amazon-cloudwatch-observability",
    }


def test_an_addon_that_nobody_knows_here_is_installed_after_the_nodes_as_it_is() -> None:
    graph = build(addons={**ARGS.addons, "snapshot-controller": "v8.3.0-eksbuild.1"})
    addon = graph.one(ADDON, "cluster-snapshot-controller")
    assert graph.one(NODES).urn in addon.dependencies
    assert not {"configurationValues", "podIdentityAssociations"} & set(addon.inputs)


# Nodes


def test_a_node_answers_tokens_alone_keeps_an_encrypted_disk_and_has_no_public_address(
    graph: Graph,
) -> None:
    template = graph.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
    (disk,) = template["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"
    assert (disk["ebs"]["volumeType"], disk["ebs"]["volumeSize"]) == ("gp3", 50)
    (interface,) = template["networkInterfaces"]
    assert interface["associatePublicIpAddress"] == "false"
    assert interface["securityGroups"] == ["sg-cluster-eksCluster"]
    assert not {"keyName", "userData", "imageId"} & set(template)
    tagged = {item["resourceType"]: item["tags"] for item in template["tagSpecifications"]}
    assert set(tagged) == {"instance", "network-interface", "volume"}
    assert all(tags["environment"] == "dev" for tags in tagged.values())


def test_nodes_are_repaired_replaced_one_by_one_and_counted_by_the_autoscaler(
    graph: Graph,
) -> None:
    group = graph.one(NODES)
    assert group.inputs["updateConfig"] == {"maxUnavailable": 1}
    assert group.inputs["nodeRepairConfig"] == {"enabled": True}
    assert group.inputs["scalingConfig"] == {"minSize": 2, "desiredSize": 3, "maxSize": 4}
    assert group.ignore_changes == ("scalingConfig.desiredSize",)
    assert "remoteAccess" not in group.inputs


def test_nodes_are_what_the_settings_say() -> None:
    graph = build(node_groups=[GENERAL, BATCH])
    batch = graph.one(NODES, "cluster-batch").inputs
    assert batch["capacityType"] == "SPOT"
    assert batch["releaseVersion"] == "1.36.0-20261112"
    assert batch["labels"] == {"mono-repo/node-group": "batch", "workload": "batch"}
    assert batch["taints"] == [{"key": "dedicated", "value": "batch", "effect": "NO_SCHEDULE"}]
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:EksCluster").urn]
    assert outputs["autoscaling_group_names"] == {
        "general": "eks-cluster-general",
        "batch": "eks-cluster-batch",
    }


def test_no_new_image_rolls_nodes_unasked(graph: Graph) -> None:
    group = graph.one(NODES).inputs
    assert group["version"] == "1.36"
    assert "releaseVersion" not in group
    assert group["launchTemplate"]["id"] == "cluster-general-id"


def test_a_replacement_does_not_wait_for_the_name_of_what_it_replaces(graph: Graph) -> None:
    assert not {"nodeGroupName", "nodeGroupNamePrefix"} & set(graph.one(NODES).inputs)
    assert "name" not in graph.one("aws:ec2/launchTemplate:LaunchTemplate").inputs


# Inside the cluster


def test_nothing_goes_into_the_cluster_before_it_can_take_it(graph: Graph) -> None:
    before = needs(graph, graph.one(PROVIDER, "cluster-kubernetes"))
    assert graph.one(NODES).label in before
    assert {node.label for node in graph.resources(ADDON)} <= before
    objects = [node for node in graph.resources() if node.type.startswith("kubernetes:")]
    assert {graph.provider_of(node).name for node in objects} == {"cluster-kubernetes"}


def test_objects_in_the_cluster_go_with_the_control_plane_and_nothing_of_aws_does(
    graph: Graph,
) -> None:
    """What AWS keeps and the state has forgotten would be in the way of the next update."""
    control_plane = graph.one(CLUSTER).urn
    inside = {node.label for node in graph.resources() if node.type.startswith("kubernetes:")}
    assert inside == {node.label for node in graph.resources() if node.deleted_with}
    assert {node.deleted_with for node in graph.resources()} == {"", control_plane}


def test_the_provider_logs_in_as_the_deploy_role_and_knows_the_cluster_by_a_fixed_name(
    graph: Graph,
) -> None:
    provider = graph.one(PROVIDER, "cluster-kubernetes").inputs
    assert provider["clusterIdentifier"] == CLUSTER_ARN
    assert provider["enableServerSideApply"] == "true"
    assert provider["deleteUnreachable"] == "false"
    (user,) = json.loads(provider["kubeconfig"])["users"]
    login = user["user"]["exec"]
    assert login["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    assert login["args"][:4] == ["eks", "get-token", "--cluster-name", "mono-repo-dev"]
    assert login["args"][login["args"].index("--role-arn") + 1] == DEPLOY


def test_a_kubeconfig_points_at_one_cluster() -> None:
    config: Any = kubeconfig(
        cluster_name="one",
        region="us-east-1",
        endpoint="https://api",
        certificate_authority="Q0E=",
        role_arn=DEPLOY,
    )
    assert config["current-context"] == "one"
    assert config["clusters"] == [
        {
            "name": "one",
            "cluster": {"server": "https://api", "certificate-authority-data": "Q0E="},
        }
    ]


def test_claimed_volumes_are_encrypted_by_a_key_that_their_driver_may_use(graph: Graph) -> None:
    key = "arn:mock:aws:kms/key:Key/cluster-volumes"
    default = graph.one("kubernetes:storage.k8s.io/v1:StorageClass").inputs
    assert default["parameters"] == {"type": "gp3", "encrypted": "true", "kmsKeyId": key}
    assert default["volumeBindingMode"] == "WaitForFirstConsumer"
    name = "cluster-aws-ebs-csi-driver"
    policy = statements(graph.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"])
    assert {tuple(item["Resource"]) for item in policy.values()} == {(key,)}
    assert policy["Grant"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


def test_the_autoscaler_finds_the_clusters_groups_by_their_tags(graph: Graph) -> None:
    deployment = graph.one("kubernetes:apps/v1:Deployment").inputs
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.k8s.io/autoscaling/cluster-autoscaler:v1.36.1"
    assert (
        "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,"
        "k8s.io/cluster-autoscaler/mono-repo-dev"
    ) in container["args"]
    assert {"name": "AWS_REGION", "value": "us-east-1"} in container["env"]


def test_the_autoscalers_pods_are_nobody_and_write_nowhere(graph: Graph) -> None:
    deployment = graph.one("kubernetes:apps/v1:Deployment").inputs
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["priorityClassName"] == "system-cluster-critical"
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}


def test_the_autoscalers_pods_wait_for_their_identity_and_permissions(graph: Graph) -> None:
    before = needs(graph, graph.one("kubernetes:apps/v1:Deployment"))
    for type_ in (
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
        "kubernetes:core/v1:ServiceAccount",
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
    ):
        assert graph.one(type_).label in before


def test_the_autoscaler_may_neither_read_secrets_nor_use_wildcards(graph: Graph) -> None:
    for kind in ("ClusterRole", "Role"):
        for rule in graph.one(f"kubernetes:rbac.authorization.k8s.io/v1:{kind}").inputs["rules"]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "secrets" not in rule["resources"]


def test_the_cluster_registers_its_outputs(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:EksCluster").urn]
    assert outputs["name"] == "mono-repo-dev"
    assert outputs["oidc_issuer"].startswith("oidc.eks")
    assert outputs["node_security_group_id"] == "sg-cluster-eksCluster"
    assert outputs["log_group_name"] == "/aws/eks/mono-repo-dev/cluster"
    assert set(outputs["container_log_group_names"]) == {
        "application",
        "dataplane",
        "host",
        "performance",
    }

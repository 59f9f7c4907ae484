"""What the sandbox's cloud adds to moto, and corrects in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

PRINCIPAL = "arn:aws:iam::111122223333:role/mono-repo-dev-deploy"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

pytestmark = pytest.mark.sandbox


def _client(service: str, variables: dict[str, str]) -> Any:
    import botocore.session

    return botocore.session.Session().create_client(
        service,
        region_name=variables["AWS_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables["AWS_SESSION_TOKEN"],
    )


@pytest.fixture
def eks(cloud_environment: dict[str, str]) -> Iterator[Any]:
    """An EKS client with a cluster named ``one``."""
    ec2 = _client("ec2", cloud_environment)
    client = _client("eks", cloud_environment)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    client.create_cluster(
        name="one",
        roleArn=PRINCIPAL,
        resourcesVpcConfig={"subnetIds": [subnet]},
        accessConfig={"authenticationMode": "API"},
    )
    yield client
    client.delete_cluster(name="one")


def test_a_cluster_keeps_how_it_is_accessed_and_has_a_security_group_of_its_own(
    eks: Any, cloud_environment: dict[str, str]
) -> None:
    cluster = eks.describe_cluster(name="one")["cluster"]
    assert cluster["accessConfig"]["authenticationMode"] == "API"
    group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    found = _client("ec2", cloud_environment).describe_security_groups(GroupIds=[group])
    assert found["SecurityGroups"][0]["GroupName"].startswith("eks-cluster-sg-one")


def test_an_update_changes_what_it_names_alone(eks: Any) -> None:
    before = eks.describe_cluster(name="one")["cluster"]["resourcesVpcConfig"]
    update = eks.update_cluster_config(
        name="one", resourcesVpcConfig={"endpointPrivateAccess": True}
    )["update"]
    assert (
        eks.describe_update(name="one", updateId=update["id"])["update"]["status"] == "Successful"
    )
    after = eks.describe_cluster(name="one")["cluster"]["resourcesVpcConfig"]
    assert after == {**before, "endpointPrivateAccess": True}


def test_an_addon_is_made_changed_and_deleted(eks: Any) -> None:
    made = eks.create_addon(clusterName="one", addonName="vpc-cni")["addon"]
    assert made["status"] == "ACTIVE"
    assert made["addonVersion"].startswith("v1.")
    eks.update_addon(clusterName="one", addonName="vpc-cni", addonVersion="v9")
    assert eks.list_addons(clusterName="one")["addons"] == ["vpc-cni"]
    found = eks.describe_addon(clusterName="one", addonName="vpc-cni")["addon"]
    assert found["addonVersion"] == "v9"
    with pytest.raises(eks.exceptions.ResourceInUseException):
        eks.create_addon(clusterName="one", addonName="vpc-cni")
    eks.delete_addon(clusterName="one", addonName="vpc-cni")
    with pytest.raises(eks.exceptions.ResourceNotFoundException):
        eks.describe_addon(clusterName="one", addonName="vpc-cni")


def test_an_access_entry_with_its_policies_is_made_changed_and_deleted(eks: Any) -> None:
    entry = {"clusterName": "one", "principalArn": PRINCIPAL}
    eks.create_access_entry(**entry, kubernetesGroups=["readers"])
    assert eks.list_access_entries(clusterName="one")["accessEntries"] == [PRINCIPAL]
    eks.associate_access_policy(**entry, policyArn=VIEW, accessScope={"type": "cluster"})
    policies = eks.list_associated_access_policies(**entry)["associatedAccessPolicies"]
    assert [policy["policyArn"] for policy in policies] == [VIEW]
    eks.update_access_entry(**entry, kubernetesGroups=["writers"])
    found = eks.describe_access_entry(**entry)["accessEntry"]
    assert found["kubernetesGroups"] == ["writers"]
    eks.disassociate_access_policy(**entry, policyArn=VIEW)
    assert eks.list_associated_access_policies(**entry)["associatedAccessPolicies"] == []
    eks.delete_access_entry(**entry)
    with pytest.raises(eks.exceptions.ResourceNotFoundException):
        eks.describe_access_entry(**entry)


def test_a_pod_identity_is_made_found_changed_and_deleted(eks: Any) -> None:
    wanted = {"clusterName": "one", "namespace": "services", "serviceAccount": "api-service"}
    made = eks.create_pod_identity_association(**wanted, roleArn=PRINCIPAL)["association"]
    key = {"clusterName": "one", "associationId": made["associationId"]}
    assert len(eks.list_pod_identity_associations(**wanted)["associations"]) == 1
    with pytest.raises(eks.exceptions.ResourceInUseException):
        eks.create_pod_identity_association(**wanted, roleArn=PRINCIPAL)
    eks.update_pod_identity_association(**key, roleArn=f"{PRINCIPAL}-2")
    found = eks.describe_pod_identity_association(**key)["association"]
    assert found["roleArn"] == f"{PRINCIPAL}-2"
    eks.delete_pod_identity_association(**key)
    assert eks.list_pod_identity_associations(clusterName="one")["associations"] == []


SIZES = {"minSize": 1, "desiredSize": 2, "maxSize": 3}


@pytest.fixture
def nodes(eks: Any) -> Iterator[Any]:
    """The Auto Scaling group's name of a node group ``general`` in cluster ``one``."""
    cluster = eks.describe_cluster(name="one")["cluster"]
    made = eks.create_nodegroup(
        clusterName="one",
        nodegroupName="general",
        nodeRole=PRINCIPAL,
        subnets=cluster["resourcesVpcConfig"]["subnetIds"],
        instanceTypes=["t4g.large"],
        scalingConfig=SIZES,
        version="1.35",
        tags={"environment": "dev"},
    )["nodegroup"]
    (group,) = made["resources"]["autoScalingGroups"]
    yield group["name"]
    eks.delete_nodegroup(clusterName="one", nodegroupName="general")


def _scaling_group(environment: dict[str, str], name: str) -> Any:
    client = _client("autoscaling", environment)
    found = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return next(iter(found["AutoScalingGroups"]), None)


def _general(eks: Any) -> Any:
    return eks.describe_nodegroup(clusterName="one", nodegroupName="general")["nodegroup"]


def test_a_node_group_has_an_auto_scaling_group_that_the_autoscaler_finds(
    nodes: str, cloud_environment: dict[str, str]
) -> None:
    group = _scaling_group(cloud_environment, nodes)
    assert nodes.startswith("eks-general-")
    assert len(group["Instances"]) == SIZES["desiredSize"]
    tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
    assert tags["k8s.io/cluster-autoscaler/enabled"] == "true"
    assert tags["k8s.io/cluster-autoscaler/one"] == "owned"
    assert tags["eks:nodegroup-name"] == "general"


def test_a_node_group_is_sized_by_eks_and_by_the_autoscaler(
    nodes: str, eks: Any, cloud_environment: dict[str, str]
) -> None:
    stopped = {"minSize": 0, "desiredSize": 0, "maxSize": 3}
    eks.update_nodegroup_config(clusterName="one", nodegroupName="general", scalingConfig=stopped)
    group = _scaling_group(cloud_environment, nodes)
    assert (group["MinSize"], group["DesiredCapacity"], group["Instances"]) == (0, 0, [])
    scaling = _client("autoscaling", cloud_environment)
    scaling.set_desired_capacity(AutoScalingGroupName=nodes, DesiredCapacity=1)
    assert _general(eks)["scalingConfig"] == {**stopped, "desiredSize": 1}


@pytest.mark.parametrize("sizes", [{"minSize": 3}, {"maxSize": 1}])
def test_sizes_that_contradict_each_other_are_refused_and_nothing_changes(
    nodes: str, eks: Any, sizes: dict[str, int], cloud_environment: dict[str, str]
) -> None:
    with pytest.raises(eks.exceptions.InvalidParameterException):
        eks.update_nodegroup_config(clusterName="one", nodegroupName="general", scalingConfig=sizes)
    assert _general(eks)["scalingConfig"] == SIZES
    assert _scaling_group(cloud_environment, nodes)["MaxSize"] == SIZES["maxSize"]


def test_a_new_version_replaces_the_instances(
    nodes: str, eks: Any, cloud_environment: dict[str, str]
) -> None:
    def instances() -> set[str]:
        group = _scaling_group(cloud_environment, nodes)
        return {instance["InstanceId"] for instance in group["Instances"]}

    before = instances()
    eks.update_nodegroup_version(clusterName="one", nodegroupName="general", version="1.36")
    assert _general(eks)["version"] == "1.36"
    assert _general(eks)["releaseVersion"].startswith("1.36.")
    assert len(instances()) == len(before)
    assert not instances() & before


def test_nothing_stays_of_a_deleted_node_group(eks: Any, cloud_environment: dict[str, str]) -> None:
    ec2 = _client("ec2", cloud_environment)

    def there() -> list[int]:
        return [
            len(ec2.describe_launch_templates()["LaunchTemplates"]),
            len(ec2.describe_network_interfaces()["NetworkInterfaces"]),
            len(ec2.describe_volumes()["Volumes"]),
        ]

    before = there()
    subnets = eks.describe_cluster(name="one")["cluster"]["resourcesVpcConfig"]["subnetIds"]
    eks.create_nodegroup(
        clusterName="one",
        nodegroupName="short",
        nodeRole=PRINCIPAL,
        subnets=subnets,
        scalingConfig=SIZES,
    )
    assert there() > before
    eks.delete_nodegroup(clusterName="one", nodegroupName="short")
    assert there() == before


def test_an_addon_brings_its_identity_and_takes_it_along(eks: Any) -> None:
    wanted = [{"serviceAccount": "cloudwatch-agent", "roleArn": PRINCIPAL}]
    name = {"clusterName": "one", "addonName": "amazon-cloudwatch-observability"}
    eks.create_addon(**name, podIdentityAssociations=wanted)
    (association,) = eks.list_pod_identity_associations(clusterName="one")["associations"]
    assert association["namespace"] == "amazon-cloudwatch"
    (arn,) = eks.describe_addon(**name)["addon"]["podIdentityAssociations"]
    assert arn.endswith(f"/{association['associationId']}")
    eks.delete_addon(**name)
    assert eks.list_pod_identity_associations(clusterName="one")["associations"] == []


def test_every_part_of_a_cluster_is_tagged_by_its_arn(nodes: str, eks: Any) -> None:
    addon = eks.create_addon(clusterName="one", addonName="coredns")["addon"]
    for arn in (_general(eks)["nodegroupArn"], addon["addonArn"]):
        eks.tag_resource(resourceArn=arn, tags={"owner": "jane-doe"})
        assert eks.list_tags_for_resource(resourceArn=arn)["tags"]["owner"] == "jane-doe"
        eks.untag_resource(resourceArn=arn, tagKeys=["owner"])
        assert "owner" not in eks.list_tags_for_resource(resourceArn=arn)["tags"]
    eks.delete_addon(clusterName="one", addonName="coredns")
    with pytest.raises(eks.exceptions.ResourceNotFoundException):
        eks.list_tags_for_resource(resourceArn=addon["addonArn"])


def test_the_key_that_comes_with_encrypted_volumes_is_awss_own(
    cloud_environment: dict[str, str],
) -> None:
    ec2, kms = _client("ec2", cloud_environment), _client("kms", cloud_environment)
    made = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, Encrypted=True)
    key = kms.describe_key(KeyId=made["KmsKeyId"])["KeyMetadata"]
    assert key["KeyManager"] == "AWS"
    ec2.delete_volume(VolumeId=made["VolumeId"])


def test_a_protected_cluster_is_not_deleted(eks: Any) -> None:
    eks.update_cluster_config(name="one", deletionProtection=True)
    with pytest.raises(eks.exceptions.InvalidRequestException):
        eks.delete_cluster(name="one")
    eks.update_cluster_config(name="one", deletionProtection=False)


def test_a_policy_that_demands_tls_does_not_lock_the_sandbox_out(
    cloud_environment: dict[str, str],
) -> None:
    s3 = _client("s3", cloud_environment)
    s3.create_bucket(Bucket="tls-only")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::tls-only/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="tls-only", Policy=policy)
    s3.put_object(Bucket="tls-only", Key="a", Body=b"x")
    assert s3.get_object(Bucket="tls-only", Key="a")["Body"].read() == b"x"


def test_a_deleted_network_leaves_nothing_behind(cloud_environment: dict[str, str]) -> None:
    ec2 = _client("ec2", cloud_environment)
    vpc = ec2.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.5.0.0/24")["Subnet"]["SubnetId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]
    ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
    ec2.release_address(AllocationId=address)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)
    of_vpc = {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}
    assert ec2.describe_network_interfaces(**of_vpc)["NetworkInterfaces"] == []
    assert ec2.describe_network_acls(**of_vpc)["NetworkAcls"] == []
    assert ec2.describe_security_groups(**of_vpc)["SecurityGroups"] == []


def test_a_log_group_changes_its_key(cloud_environment: dict[str, str]) -> None:
    logs = _client("logs", cloud_environment)
    logs.create_log_group(logGroupName="/keyed")
    logs.associate_kms_key(logGroupName="/keyed", kmsKeyId="arn:aws:kms:us-east-1:1:key/k")
    described = {"logGroupNamePrefix": "/keyed"}
    assert logs.describe_log_groups(**described)["logGroups"][0]["kmsKeyId"].endswith("key/k")
    logs.disassociate_kms_key(logGroupName="/keyed")
    assert "kmsKeyId" not in logs.describe_log_groups(**described)["logGroups"][0]
    logs.delete_log_group(logGroupName="/keyed")


def test_a_rule_that_only_its_description_tells_apart_is_the_same_rule(
    cloud_environment: dict[str, str],
) -> None:
    ec2 = _client("ec2", cloud_environment)
    group = ec2.create_security_group(GroupName="described", Description="d")["GroupId"]
    pair = {"GroupId": group, "Description": "one"}
    rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": [pair]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    of_group = {"Filters": [{"Name": "group-id", "Values": [group]}]}
    found = ec2.describe_security_group_rules(**of_group)["SecurityGroupRules"]
    assert [entry.get("Description") for entry in found if not entry["IsEgress"]] == ["one"]
    other = {**rule, "UserIdGroupPairs": [{"GroupId": group, "Description": "two"}]}
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[other])
    found = ec2.describe_security_group_rules(**of_group)["SecurityGroupRules"]
    assert [entry for entry in found if not entry["IsEgress"]] == []
    ec2.delete_security_group(GroupId=group)

"""What a cluster leaves in its network goes with it, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ops.teardown import left_behind

INTERFACE = {"Status": "available", "Description": "aws-K8S-i-0123", "TagSet": []}
CLUSTER = "mono-repo-dev"


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ec2", region_name="us-east-1")


@pytest.fixture
def vpc(ec2: Any) -> str:
    return str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])


def _access() -> Any:
    def client(service: str) -> Any:
        return boto3.client(service, region_name="us-east-1")

    return SimpleNamespace(environment="dev", client=client)


def _group(ec2: Any, vpc: str, name: str, **tags: str) -> str:
    told = [{"Key": key.replace("__", "/"), "Value": value} for key, value in tags.items()]
    made = ec2.create_security_group(
        GroupName=name,
        Description=name,
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": told}] if told else [],
    )
    return str(made["GroupId"])


def _names(ec2: Any) -> set[str]:
    return {item["GroupName"] for item in ec2.describe_security_groups()["SecurityGroups"]}


def _make_cluster() -> None:
    boto3.client("eks", region_name="us-east-1").create_cluster(
        name=CLUSTER,
        roleArn="arn:aws:iam::123456789012:role/eks",
        resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
    )


def test_only_interfaces_that_the_clusters_network_has_left_are_deleted() -> None:
    assert left_behind.is_lingering(INTERFACE, CLUSTER)
    others = [{"Key": "cluster.k8s.amazonaws.com/name", "Value": "other"}]
    for interface in (
        {**INTERFACE, "Status": "in-use"},
        {**INTERFACE, "Description": "ELB app/balancer"},
        {**INTERFACE, "TagSet": others},
    ):
        assert not left_behind.is_lingering(interface, CLUSTER)


def test_security_groups_of_its_controllers_go_once_the_cluster_is_gone(ec2: Any, vpc: str) -> None:
    owned = {f"kubernetes.io__cluster__{CLUSTER}": "owned"}
    _group(ec2, vpc, f"eks-cluster-sg-{CLUSTER}-1", **{"aws:eks:cluster-name": CLUSTER})
    frontend = _group(ec2, vpc, "k8s-web-front", **{"elbv2.k8s.aws__cluster": CLUSTER})
    backend = _group(ec2, vpc, "k8s-traffic-back", **owned)
    planned = _group(ec2, vpc, "of-the-stack", **owned)
    _group(ec2, vpc, "of-another-cluster", **{"elbv2.k8s.aws__cluster": "other"})
    _group(ec2, vpc, "of-nobody")
    elsewhere = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    _group(ec2, elsewhere, "in-another-network", **owned)
    for one, other in ((frontend, backend), (backend, frontend)):
        pair = [{"GroupId": other}]
        rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": pair}
        ec2.authorize_security_group_ingress(GroupId=one, IpPermissions=[rule])
    _make_cluster()
    before = _names(ec2)
    assert left_behind.sweep(_access(), [vpc], {planned}) == []
    assert _names(ec2) == before, "a cluster that is there needs them"

    boto3.client("eks", region_name="us-east-1").delete_cluster(name=CLUSTER)
    swept = left_behind.sweep(_access(), [vpc], {planned})
    assert [item.rpartition("(")[2].rstrip(")") for item in swept] == [
        f"eks-cluster-sg-{CLUSTER}-1",
        "k8s-web-front",
        "k8s-traffic-back",
    ]
    assert _names(ec2) == {
        "default",
        "of-the-stack",
        "of-another-cluster",
        "of-nobody",
        "in-another-network",
    }
    assert left_behind.sweep(_access(), [vpc], {planned}) == []


@pytest.mark.parametrize("code", ["DependencyViolation", "InvalidGroup.InUse"])
def test_a_group_that_something_still_has_is_left_for_the_next_time(
    ec2: Any, vpc: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    group = _group(ec2, vpc, "k8s-web", **{"elbv2.k8s.aws__cluster": CLUSTER})

    def held(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "held"}}, "DeleteSecurityGroup")

    eks = boto3.client("eks", region_name="us-east-1")
    clients = {"ec2": ec2, "eks": eks}
    access: Any = SimpleNamespace(environment="dev", client=clients.__getitem__)
    with monkeypatch.context() as patched:
        patched.setattr(ec2, "delete_security_group", held)
        assert left_behind.sweep(access, [vpc], set()) == []
    assert left_behind.sweep(access, [vpc], set()) == [f"security group {group} (k8s-web)"]


def test_without_a_network_nothing_is_looked_for() -> None:
    access: Any = SimpleNamespace(environment="dev")
    assert left_behind.sweep(access, [], set()) == []

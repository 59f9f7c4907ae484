"""No creation that was interrupted is forgotten while something of it may be there."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops import pending
from ops.errors import RefusedError
from ops.teardown import destroy

VPC = "aws:ec2/vpc:Vpc"
NAT = "aws:ec2/natGateway:NatGateway"
DATABASE = "aws:rds/instance:Instance"
CLUSTER = "aws:eks/cluster:Cluster"


def entry(type_: str, logical: str, id_: str = "", /, **inputs: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::mono-repo::{type_}::{logical}"
    found = {"urn": urn, "type": type_, "custom": True, "inputs": inputs}
    return {**found, "id": id_} if id_ else found


def access(mode: str = "aws") -> Any:
    def client(service: str, region: str = "us-east-1") -> Any:
        return boto3.client(service, region_name=region)

    settings = SimpleNamespace(account_id="123456789012", region="us-east-1")
    return SimpleNamespace(environment="dev", mode=mode, client=client, settings=settings)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


@pytest.fixture
def vpc(cloud: None) -> str:
    made = boto3.client("ec2", region_name="us-east-1").create_vpc(CidrBlock="10.0.0.0/16")
    return str(made["Vpc"]["VpcId"])


def _make_cluster() -> None:
    boto3.client("eks", region_name="us-east-1").create_cluster(
        name="mono-repo-dev",
        roleArn="arn:aws:iam::123456789012:role/eks",
        resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
    )


@pytest.mark.usefixtures("cloud")
def test_a_cluster_that_was_just_being_made_is_named_with_its_urn_and_not_forgotten() -> None:
    creating = entry(CLUSTER, "cluster-eksCluster", name="mono-repo-dev")
    assert pending.left_over(access(), (), (creating,)) == []
    _make_cluster()
    with pytest.raises(RefusedError, match="mono-repo-dev is there, and not in the state") as said:
        pending.refuse_forgetting(access(), (), (creating,))
    assert creating["urn"] in str(said.value)
    assert "`pulumi refresh` at a terminal" in str(said.value)
    assert "ops adopt dev --plan" in str(said.value)


def test_a_gateway_is_looked_for_by_its_name_in_the_states_network(vpc: str) -> None:
    ec2 = boto3.client("ec2", region_name="us-east-1")
    held = (entry(VPC, "network", vpc),)
    creating = entry(NAT, "network-nat", tags={"Name": "mono-repo-dev-nat"})
    assert pending.left_over(access(), held, (creating,)) == []
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    tags = [{"Key": "Name", "Value": "mono-repo-dev-nat"}]
    made = ec2.create_nat_gateway(
        SubnetId=subnet,
        AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"],
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}],
    )
    id_ = made["NatGateway"]["NatGatewayId"]
    (line,) = pending.left_over(access(), held, (creating,))
    assert line == f"{creating['urn']}: {id_} is there, and not in the state"
    # Made once more by a later update: then it is the state's.
    assert pending.left_over(access(), (*held, entry(NAT, "network-nat", id_)), (creating,)) == []


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    "creating",
    [
        entry("aws:kms/key:Key", "logs"),
        entry("aws:ec2/internetGateway:InternetGateway", "network", vpcId="vpc-1"),
        entry(NAT, "network-nat", tags={"Name": "mono-repo-dev-nat"}),
        entry("aws:ec2/eip:Eip", "network-nat"),
        entry("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "nodes"),
        entry("aws:imagebuilder/image:Image", "unheard-of"),
    ],
    ids=lambda creating: str(creating["type"]),
)
def test_what_cannot_be_told_by_a_name_counts_as_there(creating: dict[str, Any]) -> None:
    (line,) = pending.left_over(access(), (), (creating,))
    assert line.startswith(creating["urn"])
    assert "cannot be told" in line


@pytest.mark.usefixtures("cloud")
def test_what_is_set_by_name_was_set_again_if_the_state_has_it() -> None:
    attachment = entry("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "nodes", "id")
    assert pending.left_over(access(), (attachment,), (attachment,)) == []


def test_what_is_in_a_cluster_or_in_no_cloud_leaves_nothing() -> None:
    creating = (
        entry("kubernetes:core/v1:Namespace", "web"),
        entry("pulumi:providers:aws", "aws"),
        {**entry("mono-repo:index:Network", "network"), "custom": False},
        entry("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "network"),
    )
    assert pending.left_over(access(), (), creating) == []


@pytest.mark.usefixtures("cloud")
def test_what_was_to_be_made_elsewhere_is_looked_for_there() -> None:
    boto3.client("rds", region_name="us-west-2").create_db_instance(
        DBInstanceIdentifier="copy",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="u",
        MasterUserPassword="p" * 12,
        AllocatedStorage=20,
    )
    provider = entry("pulumi:providers:aws", "aws-copies", "1", region="us-west-2")
    creating = {**entry(DATABASE, "copy", identifier="copy"), "provider": f"{provider['urn']}::1"}
    assert pending.left_over(access(), (), (creating,)) == []
    (line,) = pending.left_over(access(), (provider,), (creating,))
    assert "copy is there" in line


@pytest.mark.usefixtures("cloud")
def test_the_sandboxs_engine_looks_itself() -> None:
    _make_cluster()
    creating = entry(CLUSTER, "cluster-eksCluster", name="mono-repo-dev")
    pending.refuse_forgetting(access("sandbox"), (), (creating,))


@pytest.mark.usefixtures("cloud")
def test_a_teardown_is_not_even_planned_while_something_may_be_there() -> None:
    _make_cluster()
    creating = entry(CLUSTER, "cluster-eksCluster", name="mono-repo-dev")
    held = destroy.State(
        entries=(entry(VPC, "network", "vpc-1"),), pending=(creating["urn"],), creating=(creating,)
    )
    with pytest.raises(RefusedError, match="Nothing was changed"):
        destroy.destroy_steps(held, access(), stage=0)


def test_only_creations_may_have_left_something() -> None:
    operations = [
        {"type": kind, "resource": {"urn": kind}}
        for kind in ("creating", "updating", "deleting", "importing", "reading")
    ]
    found = pending.creations({"pending_operations": operations})
    assert [item["urn"] for item in found] == ["creating", "importing"]
    assert pending.creations(None) == ()

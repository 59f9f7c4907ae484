"""ops adopt: what another tool has made is found by name, and its ids are those an import takes."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from ops.__main__ import run
from ops.adopt import Adoption, PlannedInputs, Program, exit_code, import_file, plan, report, steps
from ops.errors import ExitCode, UsageError
from ops.live import FINDERS, SETTINGS, Account, Wanted
from ops.report import Header
from ops.tree import UNKNOWN
from tests.ops.conftest import Ended
from tests.ops.events import VPC, pre

STACK = StackReference("mono-repo", "dev")
UNKNOWN_SIGN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
ROOT_URN = "urn:pulumi:dev::mono-repo::pulumi:pulumi:Stack::mono-repo-dev"
GROUP_URN = "urn:pulumi:dev::mono-repo::mono-repo:index:Group::group"
PROVIDER_URN = "urn:pulumi:dev::mono-repo::pulumi:providers:aws::aws"
HEADER = Header(
    mode="aws",
    environment="dev",
    stack="mono-repo/dev",
    account_id="111122223333",
    region="us-east-1",
    cloud="AWS",
)


def wanted(type_: str, logical: str = "x", /, **inputs: Any) -> Wanted:
    """Return a resource of the program's group with these inputs."""
    return Wanted(
        urn=f"urn:pulumi:dev::mono-repo::mono-repo:index:Group${type_}::{logical}",
        type=type_,
        name=logical,
        parent=GROUP_URN,
        provider=PROVIDER_URN,
        custom=True,
        inputs=inputs,
    )


ROUTE = wanted("aws:ec2/route:Route", routeTableId=UNKNOWN_SIGN, destinationCidrBlock="0.0.0.0/0")
VPC_WANTED = wanted("aws:ec2/vpc:Vpc", "network", cidrBlock="10.0.0.0/16")


def planned(*items: Wanted, client: Callable[[str], Any] | None = None) -> list[Adoption]:
    account = Account(client or _client, "dev", "111122223333")
    return list(plan(Program(wanted=list(items)), account))


def _client(service: str) -> Any:
    return boto3.client(service, region_name="us-east-1")


@pytest.fixture
def cloud() -> Iterator[None]:
    with mock_aws():
        yield


def make_vpc(name: str = "mono-repo-dev-vpc", cidr: str = "10.0.0.0/16") -> str:
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": name}]}]
    made = _client("ec2").create_vpc(CidrBlock=cidr, TagSpecifications=tags)
    return str(made["Vpc"]["VpcId"])


# What is found


@pytest.mark.usefixtures("cloud")
def test_what_is_not_there_will_be_created() -> None:
    items = [
        VPC_WANTED,
        wanted("aws:ec2/subnet:Subnet", cidrBlock="10.0.0.0/20", vpcId=UNKNOWN_SIGN),
        wanted("aws:iam/role:Role", name="mono-repo-dev-flow-logs"),
        wanted("aws:eks/cluster:Cluster", name="mono-repo-dev"),
        wanted("aws:rds/instance:Instance", identifier="mono-repo-dev"),
        wanted("aws:kms/alias:Alias", name="alias/mono-repo-dev-logs"),
        wanted("aws:ssm/parameter:Parameter", name="/dev/mono-repo/database/host"),
        wanted("aws:s3/bucket:Bucket", bucket="mono-repo-dev-logs-111122223333"),
        wanted("aws:ecr/repository:Repository", name="mono-repo-dev-airflow"),
        wanted("aws:dynamodb/table:Table", name="mono-repo-dev-pulumi-state-lock"),
        wanted("aws:secretsmanager/secret:Secret", name="mono-repo-dev-access-keys-john-smith"),
        wanted("aws:lb/loadBalancer:LoadBalancer", name="mono-repo-dev"),
        wanted("aws:lb/targetGroup:TargetGroup", name="mono-repo-dev-web-app"),
        wanted("aws:route53/zone:Zone", name="mono-repo.internal"),
        wanted("aws:budgets/budget:Budget", name="MonoRepo-Monthly-Budget"),
        wanted("aws:cloudtrail/trail:Trail", name="mono-repo"),
        wanted("aws:sns/topic:Topic", name="mono-repo-dev-alarms"),
        wanted("aws:cloudwatch/logGroup:LogGroup", name="/aws/eks/mono-repo-dev/cluster"),
        wanted("aws:iam/user:User", name="mono-repo-dev-john-smith"),
        wanted("aws:iam/group:Group", name="mono-repo-dev-operations"),
        wanted("aws:iam/policy:Policy", name="mono-repo-dev-boundary"),
    ]
    assert {adoption.outcome for adoption in planned(*items)} == {"create"}


@pytest.mark.usefixtures("cloud")
def test_a_vpc_is_known_by_its_tags_whoever_wrote_them() -> None:
    ec2 = _client("ec2")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    tags = {"Environment": "dev", "Project": "mono-repo-test", "ManagedBy": "terraform"}
    ec2.create_tags(
        Resources=[made], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
    )
    make_vpc("mono-repo-uat-vpc", "10.1.0.0/16")
    (adoption,) = planned(VPC_WANTED)
    assert (adoption.outcome, adoption.id) == ("adopt", made)


@pytest.mark.usefixtures("cloud")
def test_what_an_update_cannot_change_is_told_and_not_adopted() -> None:
    made = make_vpc(cidr="10.9.0.0/16")
    (adoption,) = planned(VPC_WANTED)
    assert adoption.outcome == "differs"
    assert adoption.id == ""
    assert adoption.message == (f"{made}: cidrBlock is 10.9.0.0/16, the program says 10.0.0.0/16")


@pytest.mark.usefixtures("cloud")
def test_of_several_that_fit_none_is_chosen() -> None:
    made = {make_vpc("mono-repo-dev"), make_vpc("mono-repo-dev-old")}
    (adoption,) = planned(VPC_WANTED)
    assert (adoption.outcome, adoption.id) == ("ambiguous", "")
    assert set(adoption.found) == made


@pytest.mark.usefixtures("cloud")
def test_of_several_the_one_that_fits_is_adopted() -> None:
    fits = make_vpc()
    make_vpc("mono-repo-dev-old", "10.9.0.0/16")
    (adoption,) = planned(VPC_WANTED)
    assert (adoption.outcome, adoption.id) == ("adopt", fits)
    assert len(adoption.found) == 2


@pytest.mark.usefixtures("cloud")
def test_subnets_are_looked_for_in_the_vpc_that_is_adopted() -> None:
    vpc, other = make_vpc(), make_vpc("somebody-elses", "10.0.0.0/16")
    ec2 = _client("ec2")
    for where in (vpc, other):
        ec2.create_subnet(VpcId=where, CidrBlock="10.0.0.0/20", AvailabilityZone="us-east-1a")
        ec2.create_subnet(VpcId=where, CidrBlock="10.0.32.0/19", AvailabilityZone="us-east-1b")
    fits = wanted(
        "aws:ec2/subnet:Subnet", "a", cidrBlock="10.0.0.0/20", availabilityZone="us-east-1a"
    )
    overlaps = wanted(
        "aws:ec2/subnet:Subnet", "b", cidrBlock="10.0.32.0/20", availabilityZone="us-east-1b"
    )
    # Whatever order the program declares them in.
    outcomes = {item.name: item for item in planned(fits, overlaps, VPC_WANTED)}
    there = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    assert outcomes["a"].id in {item["SubnetId"] for item in there}
    assert outcomes["b"].outcome == "differs"
    assert "cidrBlock is 10.0.32.0/19" in outcomes["b"].message


@pytest.mark.usefixtures("cloud")
def test_a_cluster_under_terraforms_name_is_told_of_and_not_taken_for_ours() -> None:
    _client("eks").create_cluster(
        name="mono-repo-dev-eks-dev",
        roleArn="arn:aws:iam::123456789012:role/eks",
        resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
    )
    (adoption,) = planned(wanted("aws:eks/cluster:Cluster", name="mono-repo-dev"))
    assert adoption.outcome == "differs"
    assert "name is mono-repo-dev-eks-dev" in adoption.message


@pytest.mark.usefixtures("cloud")
def test_a_bucket_is_known_by_what_comes_before_its_random_end() -> None:
    s3 = _client("s3")
    s3.create_bucket(Bucket="mono-repo-dev-pulumi-state-abc123")
    s3.create_bucket(Bucket="mono-repo-dev-terraform-state-f00")
    name = "mono-repo-dev-pulumi-state"
    (adoption,) = planned(wanted("aws:s3/bucket:Bucket", name, bucket=f"{name}-0123abc"))
    assert (adoption.outcome, adoption.id) == ("adopt", "mono-repo-dev-pulumi-state-abc123")
    s3.delete_bucket(Bucket="mono-repo-dev-pulumi-state-abc123")
    (adoption,) = planned(wanted("aws:s3/bucket:Bucket", name, bucket=f"{name}-0123abc"))
    assert adoption.outcome == "differs"
    assert adoption.found == ("mono-repo-dev-terraform-state-f00",)


@pytest.mark.usefixtures("cloud")
def test_terraforms_lock_table_is_told_of() -> None:
    _client("dynamodb").create_table(
        TableName="mono-repo-dev-terraform-state-lock",
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    (adoption,) = planned(
        wanted("aws:dynamodb/table:Table", name="mono-repo-dev-pulumi-state-lock", hashKey="LockID")
    )
    assert adoption.outcome == "differs"
    assert "name is mono-repo-dev-terraform-state-lock" in adoption.message


@pytest.mark.usefixtures("cloud")
def test_a_key_is_found_by_the_alias_that_the_program_makes_beside_it() -> None:
    kms = _client("kms")
    key, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.create_alias(AliasName="alias/mono-repo-dev-logs", TargetKeyId=key)
    kms.create_alias(AliasName="alias/other", TargetKeyId=other)
    beside = wanted("aws:kms/alias:Alias", "logs", name="alias/mono-repo-dev-logs")
    outcomes = planned(wanted("aws:kms/key:Key", "logs"), beside)
    assert [(item.outcome, item.id) for item in outcomes] == [
        ("adopt", key),
        ("adopt", "alias/mono-repo-dev-logs"),
    ]


@pytest.mark.usefixtures("cloud")
def test_a_key_that_waits_for_its_deletion_is_not_adopted() -> None:
    kms = _client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/mono-repo-dev-logs", TargetKeyId=key)
    kms.schedule_key_deletion(KeyId=key)
    beside = wanted("aws:kms/alias:Alias", "logs", name="alias/mono-repo-dev-logs")
    adoption = planned(wanted("aws:kms/key:Key", "logs"), beside)[0]
    assert adoption.outcome == "differs"
    assert "PendingDeletion" in adoption.message


@pytest.mark.usefixtures("cloud")
def test_a_database_of_another_engine_is_no_candidate() -> None:
    _client("rds").create_db_instance(
        DBInstanceIdentifier="mono-repo-dev",
        DBInstanceClass="db.t4g.micro",
        Engine="mysql",
        MasterUsername="mono_repo_admin",
        MasterUserPassword="not-a-secret-1",
        AllocatedStorage=20,
    )
    item = wanted("aws:rds/instance:Instance", identifier="mono-repo-dev", engine="postgres")
    (adoption,) = planned(item)
    assert adoption.outcome == "differs"
    assert "engine is mysql, the program says postgres" in adoption.message
    (adoption,) = planned(wanted(item.type, identifier="mono-repo-dev", engine="mysql"))
    assert (adoption.outcome, adoption.id) == ("adopt", "mono-repo-dev")


@pytest.mark.usefixtures("cloud")
def test_a_zone_is_ours_if_it_is_as_private_as_ours() -> None:
    _client("route53").create_hosted_zone(Name="mono-repo.internal", CallerReference="1")
    (adoption,) = planned(
        wanted("aws:route53/zone:Zone", name="mono-repo.internal", vpcs=[{"vpcId": UNKNOWN_SIGN}])
    )
    assert adoption.outcome == "create"


@pytest.mark.usefixtures("cloud")
def test_what_is_found_by_something_unmade_waits_for_the_next_plan() -> None:
    make_vpc()
    adoption = planned(ROUTE, VPC_WANTED)[0]
    assert adoption.outcome == "later"
    assert "routeTableId" in adoption.message


@pytest.mark.usefixtures("cloud")
def test_where_nothing_is_adopted_there_is_nothing_to_wait_for() -> None:
    assert {item.outcome for item in planned(ROUTE, VPC_WANTED)} == {"create"}


@pytest.mark.usefixtures("cloud")
def test_a_rule_of_a_security_group_is_known_by_what_it_lets_through() -> None:
    ec2 = _client("ec2")
    group, peer = (
        ec2.create_security_group(GroupName=name, Description="x", VpcId=make_vpc(name))["GroupId"]
        for name in ("nodes", "balancer")
    )
    permissions: list[dict[str, Any]] = [
        {"FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]},
        {"FromPort": 30080, "ToPort": 30080, "UserIdGroupPairs": [{"GroupId": peer}]},
    ]
    https_id, api_id = (
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{"IpProtocol": "tcp", **permission}]
        )["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        for permission in permissions
    )
    type_ = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    rule = {"securityGroupId": group, "ipProtocol": "tcp"}
    https = {**rule, "fromPort": 443.0, "toPort": 443.0}
    found = planned(
        wanted(type_, "https", **https, cidrIpv4="10.0.0.0/16"),
        wanted(type_, "wider", **https, cidrIpv4="10.0.0.0/8"),
        wanted(type_, "api", **rule, fromPort=30080, toPort=30080, referencedSecurityGroupId=peer),
    )
    assert [(item.outcome, item.id) for item in found] == [
        ("adopt", https_id),
        ("create", ""),
        ("adopt", api_id),
    ]


def test_settings_are_set_and_strange_types_are_left_to_people() -> None:
    outcomes = planned(
        wanted("aws:s3/bucketVersioning:BucketVersioning", bucket="b"),
        wanted("kubernetes:core/v1:Namespace"),
        wanted("aws:nosuch/thing:Thing"),
    )
    assert [item.outcome for item in outcomes] == ["set", "set", "unsupported"]


def test_no_type_is_found_in_two_ways() -> None:
    assert not FINDERS.keys() & SETTINGS


# What could not be looked for


class Refusing:
    """A client whose every call is refused with one error code."""

    def __init__(self, code: str) -> None:
        self.code = code

    def can_paginate(self, _operation: str) -> bool:
        return False

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**_arguments: Any) -> None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, operation)

        return call


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "InternalError"])
def test_whatever_the_refusal_it_is_told(code: str) -> None:
    (adoption,) = planned(VPC_WANTED, client=lambda _service: Refusing(code))
    assert adoption.outcome == "unknown"
    assert code in adoption.message


@pytest.mark.parametrize("type_", sorted(FINDERS))
def test_a_refused_listing_is_never_an_absence(type_: str) -> None:
    names = (
        "name", "clusterName", "nodeGroupName", "addonName", "principalArn", "namespace", "zoneId",
        "serviceAccount", "identifier", "type", "url", "loadBalancerArn", "listenerArn",
        "routeTableId", "destinationCidrBlock", "subnetId", "analyzerName", "bucket",
        "securityGroupId", "ipProtocol",
    )  # fmt: skip
    account = Account(lambda _service: Refusing("AccessDenied"), "dev", "111122223333")
    account.vpc_id = "vpc-1"
    item = wanted(type_, **dict.fromkeys(names, "x"), cidrBlock="10.0.0.0/20")
    (adoption,) = plan(Program(wanted=[item]), account)
    assert adoption.outcome == "unknown"
    assert "AccessDenied" in adoption.message


def test_an_incomplete_plan_ends_with_4_and_writes_no_file(tmp_path: Path) -> None:
    program = Program(wanted=[VPC_WANTED])
    account = Account(lambda _service: Refusing("AccessDenied"), "dev", "111122223333")
    path = tmp_path / "import.json"
    result = report(HEADER, program, plan(program, account), path)
    assert exit_code(result) is ExitCode.INCOMPLETE
    assert not path.exists()
    assert (result.file, result.steps) == ("", ())


# The file


def component(urn: str, type_: str, parent: str) -> Wanted:
    return Wanted(urn=urn, type=type_, name=urn.rpartition("::")[2], parent=parent, provider="",
                  custom=False)  # fmt: skip


def adopted(item: Wanted, id_: str) -> Adoption:
    return Adoption(urn=item.urn, type=item.type, name=item.name, outcome="adopt", id=id_)


def test_the_file_names_components_providers_and_ids_as_pulumi_import_takes_them() -> None:
    group = component(GROUP_URN, "mono-repo:index:Group", ROOT_URN)
    root = component(ROOT_URN, "pulumi:pulumi:Stack", "")
    unneeded = component(GROUP_URN + "-2", "mono-repo:index:Group", ROOT_URN)
    program = Program(wanted=[root, group, unneeded, VPC_WANTED])
    assert import_file(program, [adopted(VPC_WANTED, "vpc-1")]) == {
        "nameTable": {"pulumi:providers:aws::aws": PROVIDER_URN},
        "resources": [
            {
                "type": "mono-repo:index:Group",
                "name": "mono-repo:index:Group::group",
                "logicalName": "group",
                "component": True,
            },
            {
                "type": "aws:ec2/vpc:Vpc",
                "name": "mono-repo:index:Group$aws:ec2/vpc:Vpc::network",
                "logicalName": "network",
                "parent": "mono-repo:index:Group::group",
                "id": "vpc-1",
                "provider": "pulumi:providers:aws::aws",
            },
        ],
    }


def test_a_component_that_the_state_has_is_only_named() -> None:
    content = import_file(Program(wanted=[VPC_WANTED]), [adopted(VPC_WANTED, "vpc-1")])
    assert content["nameTable"]["mono-repo:index:Group::group"] == GROUP_URN
    assert [entry["logicalName"] for entry in content["resources"]] == ["network"]


def test_what_is_not_adopted_is_not_in_the_file() -> None:
    content = import_file(
        Program(wanted=[VPC_WANTED]),
        [Adoption(urn=VPC_WANTED.urn, type=VPC_WANTED.type, name="network", outcome="differs")],
    )
    assert content == {"nameTable": {}, "resources": []}


def test_a_new_provider_is_noted_before_the_import_and_nothing_is_lost_after_it() -> None:
    provider = Wanted(urn=PROVIDER_URN, type="pulumi:providers:aws", name="aws", parent=ROOT_URN,
                      provider="", custom=True)  # fmt: skip
    program = Program(wanted=[provider, VPC_WANTED])
    said = steps(program, [adopted(VPC_WANTED, "vpc-1")], HEADER, "plan.json")
    assert f"--target '{PROVIDER_URN}'" in said[1]
    assert "pulumi import -s dev --file plan.json" in said[2]
    assert said[-1].startswith("ops preview dev --refresh --diff")
    assert steps(program, [], HEADER, "plan.json") == []


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "import.json"
    path.write_text("mine")
    program = Program(wanted=[VPC_WANTED])
    with pytest.raises(UsageError, match="was not overwritten"):
        report(HEADER, program, (adopted(VPC_WANTED, "vpc-1"),), path)
    assert path.read_text() == "mine"


def test_a_plan_is_taken_from_the_events_of_a_preview() -> None:
    log = PlannedInputs()
    log.take(pre("create", VPC))
    log.take(pre("same", VPC.replace("network-vpc", "other")))
    assert [item.urn for item in log.program.wanted] == [VPC]
    assert len(log.program.in_state) == 1


def test_an_input_that_is_not_known_is_not_given() -> None:
    item = wanted("aws:ec2/subnet:Subnet", vpcId=UNKNOWN_SIGN, cidrBlock="10.0.0.0/20")
    assert item.given("vpcId") is None
    assert item.given("cidrBlock") == "10.0.0.0/20"
    assert UNKNOWN not in str(item.given("vpcId"))


# From the command line to the sandbox's cloud, and back by an import


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sandbox")
    servers.ensure_running(folder)
    yield folder
    servers.stop(folder)


@pytest.fixture
def ops(
    home: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Ended]]:
    """Runs a command line on a program that names its resources as the runbook does."""
    folder = tmp_path / "project"
    folder.mkdir()
    for path in root.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    shutil.copy(Path(__file__).with_name("adopted_program.py"), folder / "__main__.py")
    monkeypatch.chdir(folder)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return Ended(code, captured.out, captured.err)

    yield call
    backend = Backend(home, version="")
    if backend.exists(STACK):
        call("--sandbox", "destroy", "dev", "--yes", "--unprotect")
        backend.remove(STACK, force=True)


@pytest.fixture
def client(home: Path) -> Callable[[str], Any]:
    cloud = servers.status(home).cloud
    assert cloud is not None
    keys = servers.assume(cloud, "111122223333", "us-east-1")
    variables = servers.environment(cloud, "us-east-1", keys)
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables.get("AWS_SESSION_TOKEN"),
        region_name="us-east-1",
    )
    return lambda service: session.client(service, endpoint_url=cloud.endpoint)


def _made_by_terraform(client: Callable[[str], Any]) -> dict[str, str]:
    """Make what the program wants, with other tags; give the ids that an import takes."""
    ec2, kms = client("ec2"), client("kms")

    def tag(kind: str, name: str) -> list[dict[str, Any]]:
        tags = {"Name": name, "ManagedBy": "terraform"}
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        return [{"ResourceType": kind, "Tags": listed}]

    vpc = ec2.create_vpc(
        CidrBlock="10.0.0.0/16", TagSpecifications=tag("vpc", "mono-repo-dev-vpc")
    )["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.0.0.0/20",
        AvailabilityZone="us-east-1a",
        TagSpecifications=tag("subnet", "mono-repo-dev-private-us-east-1a"),
    )["Subnet"]["SubnetId"]
    table = ec2.create_route_table(
        VpcId=vpc, TagSpecifications=tag("route-table", "mono-repo-dev-private")
    )["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
    key = kms.create_key(Description="for parameters")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/mono-repo-parameter-store-dev", TargetKeyId=key)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    client("iam").create_role(
        RoleName="mono-repo-parameter-store-access-dev",
        AssumeRolePolicyDocument=json.dumps(trust),
    )
    client("ssm").put_parameter(
        Name="/dev/mono-repo/database/host", Value="db.internal", Type="String"
    )
    client("logs").create_log_group(logGroupName="/aws/ssm/parameter-store/dev/mono-repo")
    client("ecr").create_repository(repositoryName="mono-repo-dev-api-service")
    client("s3").create_bucket(Bucket="mono-repo-dev-terraform-state-0a1b2c")
    return {
        "network": vpc,
        "private-a": subnet,
        "private": table,
        "association": f"{subnet}/{table}",
        "key": key,
        "alias": "alias/mono-repo-parameter-store-dev",
        "access": "mono-repo-parameter-store-access-dev",
        "host": "/dev/mono-repo/database/host",
        "log": "/aws/ssm/parameter-store/dev/mono-repo",
        "image": "mono-repo-dev-api-service",
    }


@pytest.mark.sandbox
def test_what_terraform_made_is_planned_imported_and_then_nothing_is_made_again(
    ops: Callable[..., Ended], client: Callable[[str], Any], tmp_path: Path
) -> None:
    ids = _made_by_terraform(client)
    file = tmp_path / "import.json"
    ended = ops("--sandbox", "adopt", "dev", "--plan", "--import-file", str(file), "--json")
    assert ended.code == ExitCode.FINDINGS, ended.out + ended.err
    result = json.loads(ended.out)
    outcomes = {(item["type"], item["name"]): item for item in result["adoptions"]}
    by_outcome = {(key[0].rpartition(":")[2], item["outcome"]) for key, item in outcomes.items()}
    assert by_outcome == {
        ("Vpc", "adopt"),
        ("Subnet", "adopt"),
        ("RouteTable", "adopt"),
        ("RouteTableAssociation", "later"),
        ("Key", "adopt"),
        ("Alias", "adopt"),
        ("Role", "adopt"),
        ("Parameter", "adopt"),
        ("LogGroup", "adopt"),
        ("Repository", "adopt"),
        ("Table", "create"),
        ("Bucket", "differs"),
    }
    written = json.loads(file.read_text())
    planned_ids = {entry["id"] for entry in written["resources"] if "id" in entry}
    assert planned_ids == set(ids.values()) - {ids["association"]}
    assert [entry["logicalName"] for entry in written["resources"][:1]] == ["group"]

    # The same ids as the program's `import_`: what they name is taken over as it is.
    ops("sandbox", "config", "dev", "mono-repo:ids", json.dumps(ids))
    ended = ops("--sandbox", "up", "dev", "--yes", "--json")
    made = json.loads(ended.out)
    assert made["result"] == "succeeded", ended.out
    operations = {
        (change["type"].rpartition(":")[2], change["op"])
        for change in made["resources"]
        if change["custom"] and not change["type"].startswith("pulumi:")
    }
    assert {kind for kind, op in operations if op == "create"} == {"Table", "Bucket"}
    assert {op for _, op in operations} == {"create", "import"}
    vpcs = client("ec2").describe_vpcs(
        Filters=[{"Name": "tag:Name", "Values": ["mono-repo-dev-vpc"]}]
    )["Vpcs"]
    assert [vpc["VpcId"] for vpc in vpcs] == [ids["network"]]
    (alias,) = (
        item
        for item in client("kms").list_aliases()["Aliases"]
        if item["AliasName"] == ids["alias"]
    )
    assert alias["TargetKeyId"] == ids["key"]

    again = json.loads(ops("--sandbox", "adopt", "dev", "--plan", "--json").out)
    assert again["adoptions"] == []
    assert again["in_state"] > len(ids)


@pytest.mark.sandbox
def test_the_plan_reads_only(ops: Callable[..., Ended], client: Callable[[str], Any]) -> None:
    before = [client("ec2").describe_vpcs()["Vpcs"], client("s3").list_buckets()["Buckets"]]
    assert ops("--sandbox", "adopt", "dev", "--plan").code in (ExitCode.OK, ExitCode.FINDINGS)
    assert [
        client("ec2").describe_vpcs()["Vpcs"],
        client("s3").list_buckets()["Buckets"],
    ] == before


def test_without_plan_it_is_refused_with_how_adoption_is_applied(ops: Callable[..., Ended]) -> None:
    ended = ops("--sandbox", "adopt", "dev")
    assert ended.code == ExitCode.REFUSED
    assert "pulumi import --file FILE" in ended.err

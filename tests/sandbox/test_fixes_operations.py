"""What operators rely on when they stop, start and take down, where moto alone does otherwise."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.sandbox import servers
from infra.sandbox.cloud import fixes_operations
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox

OWNER = "654654654654"
ROLE = f"arn:aws:iam::{OWNER}:role/sample"


@pytest.fixture(scope="module")
def account(cloud: servers.Cloud) -> Account:
    return Account(cloud, OWNER)


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


# -- instances ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ec2(account: Account) -> Any:
    return account.client("ec2")


def run(ec2: Any, count: int, **more: Any) -> list[str]:
    image = ec2.register_image(Name=f"sample-{count}-{len(more)}")["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=count, MaxCount=count, **more)["Instances"]
    return [instance["InstanceId"] for instance in made]


def states(ec2: Any, ids: list[str]) -> list[str]:
    found = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    return [one["State"]["Name"] for each in found for one in each["Instances"]]


def test_instances_are_stopping_before_they_are_stopped_and_pending_before_they_run(
    ec2: Any,
) -> None:
    ids = run(ec2, 2)
    assert refused(ec2.stop_instances, InstanceIds=[*ids, "i-0123456789abcdef0"]) == (
        "InvalidInstanceID.NotFound"
    )
    assert states(ec2, ids) == ["running", "running"]
    ec2.stop_instances(InstanceIds=ids)
    assert refused(ec2.start_instances, InstanceIds=ids) == "IncorrectInstanceState"
    assert states(ec2, ids) == ["stopping", "stopping"]
    assert states(ec2, ids) == ["stopped", "stopped"]
    (again, _) = ec2.stop_instances(InstanceIds=ids)["StoppingInstances"]
    assert again["CurrentState"]["Name"] == "stopped"
    ec2.start_instances(InstanceIds=ids)
    assert states(ec2, ids) == ["pending", "pending"]
    assert states(ec2, ids) == ["running", "running"]
    ec2.terminate_instances(InstanceIds=ids)
    assert refused(ec2.start_instances, InstanceIds=ids) == "IncorrectInstanceState"


def test_one_spot_instance_refuses_the_stop_of_all(ec2: Any) -> None:
    plain = run(ec2, 1)
    spot = run(ec2, 1, InstanceMarketOptions={"MarketType": "spot"})
    assert refused(ec2.stop_instances, InstanceIds=[*plain, *spot]) == "UnsupportedOperation"
    assert states(ec2, plain) == ["running"]
    ec2.terminate_instances(InstanceIds=[*plain, *spot])


def test_a_lingering_interface_keeps_its_subnet_and_its_security_group(ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group, other = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("nodes", "other")
    )
    eni = ec2.create_network_interface(
        SubnetId=subnet, Groups=[group], Description="aws-K8S-i-0123456789abcdef0"
    )["NetworkInterface"]["NetworkInterfaceId"]
    assert refused(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    assert refused(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    assert refused(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=rule)
    for name in (group, other):
        ec2.delete_security_group(GroupId=name)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


# -- node groups ----------------------------------------------------------------------------


@pytest.fixture
def nodes(account: Account, ec2: Any) -> Iterator[dict[str, str]]:
    """A node group of two nodes."""
    eks = account.client("eks")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
    eks.create_cluster(
        name="one",
        roleArn=ROLE,
        resourcesVpcConfig={"subnetIds": subnets},
        logging={"clusterLogging": [{"types": ["api"], "enabled": True}]},
        tags={"environment": "dev"},
    )
    group = {"clusterName": "one", "nodegroupName": "general"}
    sizes = {"minSize": 1, "desiredSize": 2, "maxSize": 3}
    eks.create_nodegroup(
        **group, scalingConfig=sizes, subnets=subnets, nodeRole=ROLE, tags={"environment": "dev"}
    )
    yield group
    eks.delete_nodegroup(**group)
    eks.delete_cluster(name="one")


def running(ec2: Any, group: str) -> int:
    wanted = [
        {"Name": "tag:eks:nodegroup-name", "Values": [group]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    found = ec2.describe_instances(Filters=wanted)["Reservations"]
    instances = [instance for each in found for instance in each["Instances"]]
    for instance in instances:
        keys = {tag["Key"] for tag in instance["Tags"]}
        assert "aws:autoscaling:groupName" in keys
    return len(instances)


def test_a_node_group_takes_one_update_at_a_time_and_its_nodes_follow(
    nodes: dict[str, str], account: Account, ec2: Any
) -> None:
    eks, scaling = account.client("eks"), account.client("autoscaling")
    assert running(ec2, "general") == 2
    none = {"minSize": 0, "desiredSize": 0}
    update = eks.update_nodegroup_config(**nodes, scalingConfig=none)["update"]
    assert update["status"] == "InProgress"
    assert refused(eks.update_nodegroup_config, **nodes, scalingConfig=none) == (
        "ResourceInUseException"
    )
    asked = {"name": "one", "nodegroupName": "general"}
    found = [
        eks.describe_update(**asked, updateId=update["id"])["update"]["status"] for _ in range(2)
    ]
    assert found == ["InProgress", "Successful"]
    group = eks.describe_nodegroup(**nodes)["nodegroup"]
    assert group["status"] == "ACTIVE"
    assert group["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 3}
    assert running(ec2, "general") == 0
    name = group["resources"]["autoScalingGroups"][0]["name"]
    assert refused(scaling.set_desired_capacity, AutoScalingGroupName=name, DesiredCapacity=4) == (
        "ValidationError"
    )
    eks.update_nodegroup_config(**nodes, scalingConfig={"minSize": 1, "desiredSize": 2})
    statuses = [eks.describe_nodegroup(**nodes)["nodegroup"]["status"] for _ in range(2)]
    assert statuses == ["UPDATING", "ACTIVE"]
    assert running(ec2, "general") == 2


def test_the_log_group_of_a_deleted_cluster_comes_back_once(
    account: Account, ec2: Any, cloud: servers.Cloud
) -> None:
    control(cloud, "set-transition", transition={"progression": "manual", "times": 1})
    logs, eks = account.client("logs"), account.client("eks")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    logs.create_log_group(logGroupName="/aws/eks/late/cluster")
    eks.create_cluster(
        name="late",
        roleArn=ROLE,
        resourcesVpcConfig={"subnetIds": [subnet]},
        logging={"clusterLogging": [{"types": ["api"], "enabled": True}]},
    )
    eks.delete_cluster(name="late")
    logs.delete_log_group(logGroupName="/aws/eks/late/cluster")
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/eks/late/")["logGroups"]
    logs.delete_log_group(logGroupName="/aws/eks/late/cluster")
    assert not logs.describe_log_groups(logGroupNamePrefix="/aws/eks/late/")["logGroups"]
    control(cloud, "unset-transition")


def control(cloud: servers.Cloud, verb: str, **body: Any) -> None:
    request = urllib.request.Request(
        f"{cloud.endpoint}/moto-api/state-manager/{verb}",
        data=json.dumps({"model_name": fixes_operations.LAST_LOGS, **body}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


# -- keys -----------------------------------------------------------------------------------


def test_a_key_pending_deletion_is_of_no_use_until_it_is_cancelled_and_enabled(
    account: Account,
) -> None:
    kms, ssm, s3 = (account.client(name) for name in ("kms", "ssm", "s3"))
    secrets = account.client("secretsmanager")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket="of-keys-654654654654")
    encrypted = {
        "Bucket": "of-keys-654654654654",
        "Key": "one",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": key,
    }
    s3.put_object(**encrypted, Body=b"1")
    ssm.put_parameter(Name="/of/keys", Value="1", Type="SecureString", KeyId=key)
    secrets.create_secret(Name="of-keys", SecretString="1", KmsKeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)

    where = {"Bucket": encrypted["Bucket"], "Key": "one"}
    changed = {"Name": "/of/keys", "Value": "2", "Type": "SecureString", "Overwrite": True}
    assert refused(s3.put_object, **encrypted, Body=b"2") == "KMS.KMSInvalidStateException"
    assert refused(s3.get_object, **where) == "KMS.KMSInvalidStateException"
    assert refused(ssm.put_parameter, **changed, KeyId=key) == "InvalidKeyId"
    assert refused(ssm.get_parameters_by_path, Path="/of", WithDecryption=True) == "InvalidKeyId"
    assert refused(secrets.get_secret_value, SecretId="of-keys") == "DecryptionFailure"
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"1") == "KMSInvalidStateException"
    assert refused(kms.enable_key, KeyId=key) == "KMSInvalidStateException"

    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"1") == "DisabledException"
    assert refused(s3.get_object, **where) == "KMS.DisabledException"
    kms.enable_key(KeyId=key)
    assert s3.get_object(**where)["Body"].read() == b"1"
    found = ssm.get_parameters_by_path(Path="/of", WithDecryption=True)["Parameters"]
    assert [parameter["Value"] for parameter in found] == ["1"]
    assert secrets.get_secret_value(SecretId="of-keys")["SecretString"] == "1"


def test_a_secret_scheduled_for_deletion_takes_no_value(account: Account) -> None:
    secrets = account.client("secretsmanager")
    secrets.create_secret(Name="late", SecretString="1")
    secrets.delete_secret(SecretId="late", RecoveryWindowInDays=7)
    assert refused(secrets.put_secret_value, SecretId="late", SecretString="2") == (
        "InvalidRequestException"
    )


# -- parameters and alarms ------------------------------------------------------------------


def test_a_parameter_says_who_changed_it_last(account: Account) -> None:
    ssm, sts = account.client("ssm"), account.client("sts")
    caller = sts.get_caller_identity()["Arn"]
    for value in ("1", "2"):
        ssm.put_parameter(Name="/who", Value=value, Type="String", Overwrite=True)
    history = ssm.get_parameter_history(Name="/who")["Parameters"]
    assert [version["LastModifiedUser"] for version in history] == [caller, caller]
    (described,) = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": ["/who"]}])[
        "Parameters"
    ]
    assert described["LastModifiedUser"] == caller


def test_alarms_are_described_page_by_page(account: Account) -> None:
    alarms = account.client("cloudwatch")
    for number in range(101):
        alarms.put_metric_alarm(
            AlarmName=f"page-{number:03}",
            Namespace="Sample",
            MetricName="Sample",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    first = alarms.describe_alarms(AlarmNamePrefix="page-")
    assert len(first["MetricAlarms"]) == 50
    pages = alarms.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix="page-", PaginationConfig={"PageSize": 100}
    )
    assert [len(page["MetricAlarms"]) for page in pages] == [100, 1]


def test_alarms_made_of_alarms_are_told_where_they_are_asked_for(account: Account) -> None:
    alarms = account.client("cloudwatch")
    alarms.put_composite_alarm(AlarmName="of-alarms", AlarmRule='ALARM("page-000")')
    assert alarms.describe_alarms(AlarmNames=["of-alarms"])["CompositeAlarms"] == []
    asked = alarms.describe_alarms(AlarmNames=["of-alarms"], AlarmTypes=["CompositeAlarm"])
    assert [alarm["AlarmName"] for alarm in asked["CompositeAlarms"]] == ["of-alarms"]
    assert asked["MetricAlarms"] == []


def test_as_many_parameters_are_described_as_are_asked_for(account: Account) -> None:
    ssm = account.client("ssm")
    for number in range(12):
        ssm.put_parameter(Name=f"/described/{number}", Value="x", Type="String")
    under = [{"Key": "Path", "Option": "Recursive", "Values": ["/described"]}]
    pages = ssm.get_paginator("describe_parameters")
    for size, lengths in ((0, [10, 2]), (50, [12])):
        asked = {"PaginationConfig": {"PageSize": size}} if size else {}
        found = pages.paginate(ParameterFilters=under, **asked)
        assert [len(page["Parameters"]) for page in found] == lengths


# -- conditional writes ---------------------------------------------------------------------


def test_of_many_writers_who_ask_to_be_first_one_is(account: Account) -> None:
    table, s3 = account.client("dynamodb"), account.client("s3")
    table.create_table(
        TableName="locks",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3.create_bucket(Bucket="of-writers-654654654654")

    def item(number: int) -> bool:
        try:
            table.put_item(
                TableName="locks",
                Item={"k": {"S": "one"}, "by": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(k)",
            )
        except table.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def body(number: int) -> bool:
        try:
            s3.put_object(
                Bucket="of-writers-654654654654", Key="one", Body=str(number), IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(item, range(32))) == 1
        assert sum(pool.map(body, range(32))) == 1


def test_an_object_keeps_the_checksum_it_came_with_and_a_wrong_one_is_refused(
    account: Account,
) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="of-checksums-654654654654")
    right = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    where = {"Bucket": "of-checksums-654654654654", "Key": "one"}
    s3.put_object(**where, Body=b"body", ChecksumSHA256=right)
    assert s3.head_object(**where, ChecksumMode="ENABLED")["ChecksumSHA256"] == right
    assert refused(s3.put_object, **where, Body=b"bodY", ChecksumSHA256=right) == "BadDigest"
    assert s3.get_object(**where)["Body"].read() == b"body"


# -- tags -----------------------------------------------------------------------------------


def arns(account: Account, *, page: int = 100, **filters: Any) -> list[str]:
    pages = (
        account.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(**filters, PaginationConfig={"PageSize": page})
    )
    return [found["ResourceARN"] for each in pages for found in each["ResourceTagMappingList"]]


def test_the_tagging_api_finds_what_aws_finds(nodes: dict[str, str], account: Account) -> None:
    ec2, tags = account.client("ec2"), [{"Key": "environment", "Value": "dev"}]

    def specification(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags}]

    account.client("ecr").create_repository(repositoryName="found", tags=tags)
    ec2.allocate_address(Domain="vpc", TagSpecifications=specification("elastic-ip"))
    template = ec2.create_launch_template(
        LaunchTemplateName="found",
        LaunchTemplateData={"InstanceType": "t3.micro"},
        TagSpecifications=specification("launch-template"),
    )["LaunchTemplate"]["LaunchTemplateId"]
    account.client("rds").create_db_parameter_group(
        DBParameterGroupName="found",
        DBParameterGroupFamily="postgres17",
        Description="Found",
        Tags=tags,
    )
    account.client("ssm").put_parameter(Name="/found", Value="1", Type="String", Tags=tags)
    account.client("secretsmanager").create_secret(Name="found", SecretString="1", Tags=tags)
    account.client("sns").create_topic(Name="found", Tags=tags)
    account.client("sqs").create_queue(QueueName="found", tags={"environment": "dev"})
    account.client("logs").create_log_group(logGroupName="/found", tags={"environment": "dev"})
    account.client("kms").create_key(Tags=[{"TagKey": "environment", "TagValue": "dev"}])
    account.client("events").put_rule(Name="found", ScheduleExpression="rate(1 day)", Tags=tags)
    wanted: dict[str, Any] = {"TagFilters": [{"Key": "environment", "Values": ["dev", "prod"]}]}

    found = arns(account, **wanted)

    assert {arn.split(":")[2] for arn in found} >= {
        "ec2",
        "ecr",
        "eks",
        "events",
        "kms",
        "logs",
        "rds",
        "secretsmanager",
        "sns",
        "sqs",
        "ssm",
    }
    assert {arn.partition("/")[0] for arn in found if ":eks:" in arn} == {
        f"arn:aws:eks:us-east-1:{OWNER}:cluster",
        f"arn:aws:eks:us-east-1:{OWNER}:nodegroup",
    }
    assert f"arn:aws:ec2:us-east-1:{OWNER}:launch-template/{template}" in found
    assert sorted(arns(account, page=3, **wanted)) == sorted(found)
    assert arns(account, **wanted, ResourceTypeFilters=["ecr"]) == [
        f"arn:aws:ecr:us-east-1:{OWNER}:repository/found"
    ]
    both = [*wanted["TagFilters"], {"Key": "nobody-has-this"}]
    assert arns(account, TagFilters=both) == []


def test_a_bucket_is_found_in_its_own_region_only(cloud: servers.Cloud, account: Account) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="of-tags-654654654654")
    s3.put_bucket_tagging(
        Bucket="of-tags-654654654654", Tagging={"TagSet": [{"Key": "here", "Value": "yes"}]}
    )
    here: dict[str, Any] = {"TagFilters": [{"Key": "here"}]}
    assert arns(account, **here) == ["arn:aws:s3:::of-tags-654654654654"]
    elsewhere = account.client("resourcegroupstaggingapi", "eu-west-1")
    assert elsewhere.get_resources(**here)["ResourceTagMappingList"] == []

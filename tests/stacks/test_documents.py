"""Every document that AWS parses is given to a parser: a typing error would only show on apply."""

import json
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.graph import Graph
from tests.stacks.programs import GRAPHS

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "ec2.amazonaws.com"},
            }
        ],
    }
)


@pytest.fixture(params=sorted(GRAPHS))
def graph(request: pytest.FixtureRequest) -> Graph:
    return GRAPHS[request.param]


def client(service: str) -> Any:
    return boto3.client(service, region_name="us-east-1")


def real_arns(document: str) -> str:
    """Give the monitor's made-up ARNs the form that AWS checks for."""
    return document.replace("arn:mock:", "arn:aws:s3:::")


@mock_aws
def test_iam_accepts_every_policy_and_trust(graph: Graph) -> None:
    iam = client("iam")
    for number, node in enumerate(graph.resources("aws:iam/role:Role")):
        iam.create_role(
            RoleName=f"role-{number}",
            AssumeRolePolicyDocument=node.inputs["assumeRolePolicy"],
            Description=node.inputs["description"],
        )
    iam.create_role(RoleName="holder", AssumeRolePolicyDocument=TRUST)
    for number, node in enumerate(graph.resources("aws:iam/rolePolicy:RolePolicy")):
        iam.put_role_policy(
            RoleName="holder",
            PolicyName=f"policy-{number}",
            PolicyDocument=real_arns(node.inputs["policy"]),
        )
    for node in graph.resources("aws:iam/policy:Policy"):
        iam.create_policy(
            PolicyName=node.inputs["name"],
            PolicyDocument=real_arns(node.inputs["policy"]),
            Description=node.inputs["description"],
        )


@mock_aws
def test_events_accepts_every_pattern(graph: Graph) -> None:
    events = client("events")
    for node in graph.resources("aws:cloudwatch/eventRule:EventRule"):
        events.put_rule(
            Name=node.name, EventPattern=node.inputs["eventPattern"], State=node.inputs["state"]
        )


@mock_aws
def test_ecr_accepts_every_lifecycle_policy(graph: Graph) -> None:
    ecr = client("ecr")
    for number, node in enumerate(graph.resources("aws:ecr/lifecyclePolicy:LifecyclePolicy")):
        ecr.create_repository(repositoryName=f"images-{number}")
        ecr.put_lifecycle_policy(
            repositoryName=f"images-{number}", lifecyclePolicyText=node.inputs["policy"]
        )


@mock_aws
def test_ec2_accepts_every_description_and_subnet(graph: Graph) -> None:
    ec2 = client("ec2")
    for vpc in graph.resources("aws:ec2/vpc:Vpc"):
        vpc_id = ec2.create_vpc(CidrBlock=vpc.inputs["cidrBlock"])["Vpc"]["VpcId"]
        for subnet in graph.resources("aws:ec2/subnet:Subnet"):
            ec2.create_subnet(
                VpcId=vpc_id,
                CidrBlock=subnet.inputs["cidrBlock"],
                AvailabilityZone=subnet.inputs["availabilityZone"],
            )
        for group in graph.resources("aws:ec2/securityGroup:SecurityGroup"):
            ec2.create_security_group(
                GroupName=f"{group.name}-0123456",
                Description=group.inputs["description"],
                VpcId=vpc_id,
            )


@mock_aws
def test_logs_accepts_every_retention_and_resource_policy(graph: Graph) -> None:
    logs = client("logs")
    for group in graph.resources("aws:cloudwatch/logGroup:LogGroup"):
        logs.create_log_group(logGroupName=group.inputs["name"])
        logs.put_retention_policy(
            logGroupName=group.inputs["name"],
            retentionInDays=int(group.inputs["retentionInDays"]),
        )
    for node in graph.resources("aws:cloudwatch/logResourcePolicy:LogResourcePolicy"):
        logs.put_resource_policy(
            policyName=node.inputs["policyName"], policyDocument=node.inputs["policyDocument"]
        )

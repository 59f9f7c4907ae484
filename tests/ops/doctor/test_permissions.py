"""What each command needs, against what the bootstrap gives to the deploy role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.settings import Settings
from ops.access import Access
from ops.checks import Check
from ops.doctor import permissions
from ops.doctor.questions import Question, answers
from tests.components.test_deploy_policies import ACCOUNT, deploys

WORDS = {"account": ACCOUNT, "region": "us-east-1", "env": "prod", "prefix": "mono-repo-prod"}


class Pages:
    """Answers of a paginator, one page each."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def paginate(self, **asked: Any) -> list[Any]:
        return [self.answer(**asked)]


class Iam:
    """An IAM whose simulation allows everything but some actions."""

    def __init__(self, *denied: str, by_organization: tuple[str, ...] = ()) -> None:
        self.denied = (*denied, *by_organization)
        self.by_organization = by_organization
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, _operation: str) -> Pages:
        return Pages(self.simulated)

    def simulated(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "implicitDeny" if action in self.denied else "allowed",
                    "OrganizationsDecisionDetail": {
                        "AllowedByOrganizations": action not in self.by_organization
                    },
                }
                for action in asked["ActionNames"]
            ]
        }


def on_aws(settings: Settings, root: Path, clients: Mapping[str, Any]) -> Access:
    """An environment on an AWS of these clients alone."""
    return Access(
        mode="aws",
        root=root,
        settings=settings,
        cloud="AWS",
        caller="arn:aws:sts::111122223333:assumed-role/people/jane-doe",
        variables={},
        client=clients.__getitem__,
        own_client=clients.__getitem__,
        records=root,
    )


def denial(action: str) -> ClientError:
    """What AWS answers to whom it denies an action."""
    message = f"User: arn:x is not authorized to perform: {action} on resource: *"
    return ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": message}}, action.partition(":")[2]
    )


@pytest.mark.parametrize("command", permissions.NEEDED)
def test_the_deploy_role_may_do_what_a_command_is_said_to_need(command: str) -> None:
    refused = [
        action
        for need in permissions.NEEDED[command]
        for action in need.actions
        if not deploys(
            action,
            need.on.format_map(WORDS),
            **{"aws:RequestedRegion": "us-east-1"},
            **{key: value.format_map(WORDS) for key, value in need.context.items()},
        )
    ]
    assert refused == []


def test_the_deploy_role_may_ask_what_the_doctor_asks() -> None:
    asked = [
        *permissions.READS,
        "iam:ListAccountAliases",
        "iam:SimulatePrincipalPolicy",
        "servicequotas:GetServiceQuota",
        "servicequotas:GetAWSDefaultServiceQuota",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeAvailabilityZones",
        "s3:ListAllMyBuckets",
    ]
    region = {"aws:RequestedRegion": "us-east-1"}
    assert [action for action in asked if not deploys(action, "*", **region)] == []


def test_iam_is_asked_with_the_environments_own_names_and_what_it_denies_is_named(
    dev: Settings, tmp_path: Path
) -> None:
    iam = Iam("rds:StopDBInstance")
    access = on_aws(dev, tmp_path, {"iam": iam})
    check = permissions.simulate(access, "stop", permissions.NEEDED["stop"])
    assert (check.status, check.found) == ("fail", "denied: rds:StopDBInstance")
    resources = {resource for asked in iam.asked for resource in asked["ResourceArns"]}
    assert "arn:aws:rds:us-east-1:111122223333:db:mono-repo-dev" in resources
    assert {asked["PolicySourceArn"] for asked in iam.asked} == {
        "arn:aws:iam::111122223333:role/mono-repo-dev-deploy"
    }


def test_every_question_to_iam_says_which_region_and_which_role_asks(
    dev: Settings, tmp_path: Path
) -> None:
    iam = Iam()
    for command, needed in permissions.NEEDED.items():
        permissions.simulate(on_aws(dev, tmp_path, {"iam": iam}), command, needed)
    for asked in iam.asked:
        context = {
            entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in asked["ContextEntries"]
        }
        assert context["aws:RequestedRegion"] == ["us-east-1"]
        assert context["aws:PrincipalArn"] == [asked["PolicySourceArn"]]


def test_what_the_organization_alone_denies_is_a_warning_since_the_simulator_may_be_wrong(
    dev: Settings, tmp_path: Path
) -> None:
    def simulated(iam: Iam) -> Check:
        access = on_aws(dev, tmp_path, {"iam": iam})
        return permissions.simulate(access, "stop", permissions.NEEDED["stop"])

    doubtful = simulated(Iam(by_organization=("ec2:StopInstances",)))
    assert doubtful.status == "warn"
    assert doubtful.found == (
        "denied by the organization's SCP, which the simulator may judge wrongly: ec2:StopInstances"
    )
    both = simulated(Iam("rds:StopDBInstance", by_organization=("ec2:StopInstances",)))
    assert both.status == "fail"
    assert both.found.startswith("denied: rds:StopDBInstance; denied by the organization's SCP")


def test_a_rehearsal_claims_nothing_about_permissions(dev: Settings, tmp_path: Path) -> None:
    access = replace(on_aws(dev, tmp_path, {}), mode="sandbox")
    assert permissions.simulate(access, "stop", permissions.NEEDED["stop"]).status == "skipped"


def test_a_denied_read_is_unknown_with_the_permission_that_is_missing(
    dev: Settings, tmp_path: Path
) -> None:
    class Service:
        def __getattr__(self, operation: str) -> Any:
            def call(**_arguments: Any) -> None:
                if operation == "describe_db_instances":
                    raise denial("rds:DescribeDBInstances")

            return call

    class Clients(dict[str, Any]):
        def __missing__(self, _service: str) -> Service:
            return Service()

    check = permissions.read(on_aws(dev, tmp_path, Clients()))
    assert check.status == "unknown"
    assert check.remedy == "give rds:DescribeDBInstances"


def test_a_simulation_that_is_denied_itself_is_unknown_and_hides_no_other_answer(
    dev: Settings, tmp_path: Path
) -> None:
    class Denying(Iam):
        def simulated(self, **_asked: Any) -> dict[str, Any]:
            raise denial("iam:SimulatePrincipalPolicy")

    access = on_aws(dev, tmp_path, {"iam": Denying()})
    first, second = answers(
        [
            Question(
                name="permissions: stop",
                ask=lambda: permissions.simulate(access, "stop", permissions.NEEDED["stop"]),
            ),
            Question(name="other", ask=lambda: Check(name="other", status="ok", found="there")),
        ]
    )
    assert (first.status, first.remedy) == ("unknown", "give iam:SimulatePrincipalPolicy")
    assert second.status == "ok"


def test_what_a_dry_run_is_refused_is_told_from_what_it_would_do(
    dev: Settings, tmp_path: Path
) -> None:
    def raised(code: str) -> Any:
        def call(**asked: Any) -> None:
            assert asked["DryRun"]
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "X")

        return call

    class Ec2:
        create_vpc = staticmethod(raised("UnauthorizedOperation"))
        allocate_address = staticmethod(raised("DryRunOperation"))
        stop_instances = staticmethod(raised("DryRunOperation"))
        start_instances = staticmethod(raised("UnauthorizedOperation"))

        def describe_launch_templates(self, **_asked: Any) -> dict[str, Any]:
            return {"LaunchTemplates": [{"LaunchTemplateId": "lt-0123"}]}

        def create_launch_template_version(self, **asked: Any) -> None:
            raised("DryRunOperation" if asked["LaunchTemplateData"] else "MissingParameter")(
                **asked
            )

        def describe_instances(self, **_asked: Any) -> dict[str, Any]:
            return {"Reservations": [{"Instances": [{"InstanceId": "i-0123"}]}]}

    check = permissions.dry_runs(on_aws(dev, tmp_path, {"ec2": Ec2()}))
    assert check.found == "denied: ec2:CreateVpc, ec2:StartInstances"
    assert check.status == "fail"

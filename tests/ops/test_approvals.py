"""The second approval: another person's, for this very plan, and in force."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra import naming
from infra.sandbox import servers
from infra.settings import Settings, load
from ops import approvals, sandbox
from ops.access import Access
from ops.errors import ExitCode, IncompleteError, RefusedError
from tests.ops.conftest import Ended, Ops

pytestmark = pytest.mark.sandbox

PLAN = "0123456789abcdef"
OTHER_PLAN = "fedcba9876543210"

Person = Callable[[str], Access]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running cloud's home."""
    folder = tmp_path_factory.mktemp("sandbox")
    servers.ensure_running(folder, port=0)
    yield folder
    servers.stop(folder)


@pytest.fixture
def person(home: Path, root: Path, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Gives production as somebody of that name reaches it."""
    settings = load("prod", root, dt.date(2026, 12, 1))
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))

    def reach(name: str) -> Access:
        monkeypatch.setenv(sandbox.OPERATOR_VARIABLE, name)
        return sandbox.access(root, settings)

    yield reach
    ssm = reach("nobody").client("ssm")
    for plan_hash in (PLAN, OTHER_PLAN):
        ssm.delete_parameters(Names=[naming.approval_parameter("prod", plan_hash)])


def approve(ops: Ops, *more: str, plan: str = PLAN, command: str = "stop") -> Ended:
    """Approve by the command line, as whoever was reached last."""
    arguments = ("prod", "--command", command, "--plan-hash", plan, *more)
    return ops("--sandbox", "approve", *arguments)


def refused(access: Access, command: str = "stop", plan: str = PLAN) -> str:
    """Give why it is refused."""
    with pytest.raises(RefusedError) as caught:
        approvals.require(access, command, plan)
    return str(caught.value)


def test_what_productions_account_has_once_needs_an_approval_by_any_environments_name(
    person: Person, ops: Ops, root: Path, project: Path
) -> None:
    jane = person("jane-doe")
    dev = load("dev", root, dt.date(2026, 12, 1))
    file = project / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace(dev.account_id, jane.settings.account_id))
    shared = load("dev", project, dt.date(2026, 12, 1))
    by_dev = replace(jane, settings=shared, root=project)
    approvals.require(by_dev, "up", PLAN)
    with pytest.raises(RefusedError, match="approve prod"):
        approvals.require(by_dev, "up", PLAN, "account")
    person("john-smith")
    assert approve(ops, command="up").code == ExitCode.OK
    approvals.require(by_dev, "up", PLAN, "account")


def written(access: Access, **changes: str) -> None:
    """Write a sign-off that says what it likes."""
    now = dt.datetime.now(tz=dt.UTC)
    said = {
        "command": "stop",
        "plan_hash": PLAN,
        "expires": (now + dt.timedelta(hours=1)).isoformat(),
        "reason": "",
    }
    access.client("ssm").put_parameter(
        Name=naming.approval_parameter("prod", PLAN),
        Type="String",
        Value=json.dumps({**said, **changes}),
        Overwrite=True,
    )


def test_a_change_of_production_passes_once_somebody_else_has_signed_it(
    person: Person, ops: Ops
) -> None:
    jane = person("jane-doe")
    message = refused(jane)
    assert "there is none" in message
    assert f"ops --sandbox approve prod --command 'stop' --plan-hash {PLAN}" in message
    person("john-smith")
    signed = approve(ops, "--reason", "the {{change}} of tonight")
    assert signed.code == ExitCode.OK
    assert "john-smith" in signed.out
    assert "the {{change}} of tonight" in signed.out
    approvals.require(jane, "stop", PLAN)


def test_a_command_needs_no_approval_outside_of_production(person: Person, dev: Settings) -> None:
    approvals.require(replace(person("jane-doe"), settings=dev), "stop", PLAN)


def test_nobody_approves_what_they_run_themselves(person: Person, ops: Ops) -> None:
    jane = person("jane-doe")
    assert approve(ops).code == ExitCode.OK
    assert "that is you" in refused(jane)


def test_an_approval_is_for_one_plan_of_one_command(person: Person, ops: Ops) -> None:
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    jane = person("jane-doe")
    assert "there is none" in refused(jane, plan=OTHER_PLAN)
    assert "is for stop" in refused(jane, command="teardown")


def test_an_approval_ends_by_itself_whatever_it_says(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    john, jane = person("john-smith"), person("jane-doe")
    written(john, expires=(now + dt.timedelta(days=400)).isoformat())
    approvals.require(jane, "stop", PLAN)
    monkeypatch.setattr(approvals, "_now", lambda: now + dt.timedelta(hours=25))
    assert "ended at" in refused(jane)


def test_an_approval_that_was_taken_back_ends_at_once(person: Person, ops: Ops) -> None:
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    jane = person("jane-doe")
    approvals.require(jane, "stop", PLAN)
    revoked = ops("--sandbox", "approvals", "revoke", "prod", "--plan-hash", PLAN)
    assert "taken back" in revoked.out
    assert "ended at" in refused(jane)
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    approvals.require(jane, "stop", PLAN)


def test_who_signed_is_what_aws_says_and_not_what_the_sign_off_says(person: Person) -> None:
    jane = person("jane-doe")
    written(jane, signer="john-smith", LastModifiedUser="john-smith")
    assert "that is you" in refused(jane)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"expires": "tomorrow"}, "is no sign-off"),
        ({"plan_hash": OTHER_PLAN}, f"is for the plan {OTHER_PLAN}"),
    ],
)
def test_what_is_no_sign_off_approves_nothing(
    person: Person, ops: Ops, changes: dict[str, str], said: str
) -> None:
    written(person("john-smith"), **changes)
    assert said in refused(person("jane-doe"))
    assert said in ops("--sandbox", "approvals", "list", "prod").out


SSO = "assumed-role/AWSReservedSSO_Operator_0123456789abcdef"


@pytest.mark.parametrize(
    "arn",
    [
        "sts::777788889999:assumed-role/mono-repo-prod-deploy/john-smith",
        "sts::777788889999:assumed-role/Admin/john-smith",
        "sts::777788889999:assumed-role/AWSReservedSSO_Operator/john-smith",
        "sts::777788889999:federated-user/john-smith",
        "iam::777788889999:root",
        "iam::777788889999:user/mono-repo/prod/services/mono-repo-prod-cicd-service",
    ],
)
def test_who_chose_their_own_name_or_is_nobody_neither_asks_nor_approves(
    person: Person, ops: Ops, arn: str
) -> None:
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    unknown = replace(person("jane-doe"), caller=f"arn:aws:{arn}")
    assert "Run it with your own credentials" in refused(unknown)
    with pytest.raises(RefusedError, match=r"cannot approve.*deployment\.approver_roles"):
        approvals.give(unknown, "stop", PLAN, hours=1, reason="")


def test_what_somebody_signed_in_a_role_that_anybody_names_sessions_of_does_not_count(
    person: Person, home: Path
) -> None:
    jane = person("jane-doe")
    written(in_role(jane, home, "Admin", "john-smith"))
    assert "does not count" in refused(jane)


def test_a_role_whose_trust_names_its_sessions_counts_once_the_settings_list_it(
    person: Person, home: Path
) -> None:
    jane = person("jane-doe")
    written(in_role(jane, home, "Operators", "john-smith"))
    deployment = jane.settings.deployment.model_copy(update={"approver_roles": ("Operators",)})
    settings = jane.settings.model_copy(update={"deployment": deployment})
    approvals.require(replace(jane, settings=settings), "stop", PLAN)
    own = "arn:aws:sts::777788889999:assumed-role/Operators/john-smith"
    assert "that is you" in refused(replace(jane, settings=settings, caller=own))


def in_role(access: Access, home: Path, role: str, session: str) -> Access:
    """Reach the same environment in another role, under a name of one's own choice."""
    cloud = servers.status(home).cloud
    assert cloud is not None
    keys = servers.assume(cloud, access.settings.account_id, "us-east-1", role, session)
    client = boto3.client(
        "ssm",
        region_name="us-east-1",
        endpoint_url=cloud.endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
    )
    return replace(access, client=lambda _service: client, caller=keys.arn)


@pytest.mark.parametrize(
    "arn",
    [
        "iam::777788889999:user/mono-repo/prod/people/mono-repo-prod-Jane-Doe",
        "iam::777788889999:user/mono-repo/dev/people/mono-repo-dev-jane-doe",
        "iam::777788889999:user/jane.doe@company.com",
        f"sts::777788889999:{SSO}/jane-doe@company.com",
        f"sts::777788889999:{SSO}/Jane.Doe",
    ],
)
def test_one_person_is_one_however_they_sign_in(person: Person, ops: Ops, arn: str) -> None:
    jane = person("jane-doe")
    assert approve(ops).code == ExitCode.OK
    assert "that is you" in refused(replace(jane, caller=f"arn:aws:{arn}"))


def test_the_gate_of_the_ci_environment_stands_for_an_approval(person: Person) -> None:
    jane = person("jane-doe")
    role = "assumed-role/mono-repo-github-prod-deploy/run-1"
    gate = f"arn:aws:sts::{jane.settings.account_id}:{role}"
    approvals.require(replace(jane, caller=gate, own_client=jane.own_client), "stop", PLAN)


def test_a_second_signer_is_told_of_the_first(person: Person, ops: Ops) -> None:
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    person("jane-doe")
    again = approve(ops)
    assert again.code == ExitCode.REFUSED
    assert "approved already, by" in again.err


@pytest.mark.parametrize(
    ("more", "plan"), [(("--hours", "25"), PLAN), (("--hours", "0"), PLAN), ((), "../suspension")]
)
def test_what_cannot_be_an_approval_is_a_usage_error(
    person: Person, ops: Ops, more: tuple[str, ...], plan: str
) -> None:
    person("john-smith")
    ended = approve(ops, *more, plan=plan)
    assert ended.code == ExitCode.USAGE
    assert "Nothing was written" in ended.err


def test_approvals_are_listed_with_how_they_stand_to_the_caller(person: Person, ops: Ops) -> None:
    person("john-smith")
    assert approve(ops).code == ExitCode.OK
    person("jane-doe")
    assert approve(ops, plan=OTHER_PLAN).code == ExitCode.OK
    listed = json.loads(ops("--sandbox", "approvals", "list", "prod", "--json").out)
    assert listed["standings"] == {PLAN: "valid", OTHER_PLAN: "own"}


def test_sign_offs_that_cannot_be_read_stop_the_command_as_incomplete(person: Person) -> None:
    jane = person("jane-doe")

    class Denied:
        exceptions = jane.own_client("ssm").exceptions

        def get_paginator(self, _name: str) -> Any:
            answer = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(answer, "GetParameterHistory")

    with pytest.raises(IncompleteError, match="needs ssm:GetParameterHistory"):
        approvals.require(replace(jane, own_client=lambda _service: Denied()), "stop", PLAN)


def test_the_record_of_a_suspension_is_not_disturbed(person: Person, ops: Ops) -> None:
    john = person("john-smith")
    assert approve(ops).code == ExitCode.OK
    path = naming.suspension_parameter("prod").rpartition("/")[0]
    found = john.client("ssm").get_parameters_by_path(Path=path)["Parameters"]
    assert found == []

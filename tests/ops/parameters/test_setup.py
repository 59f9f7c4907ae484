"""Setting parameters up, against an in-process Parameter Store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.settings import Settings
from ops.errors import ExitCode, IncompleteError, OpsError, PartialError
from ops.parameters import setup, store
from ops.parameters.setup import SetupReport
from ops.report import to_json
from tests.ops.test_render import HEADER

ALIAS = "alias/mono-repo-parameter-store-dev"


@pytest.fixture
def aws() -> Iterator[store.ClientFactory]:
    with mock_aws():
        yield lambda service: boto3.client(service, region_name="us-east-1")


@pytest.fixture
def key(aws: store.ClientFactory) -> str:
    kms = aws("kms")
    made: str = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=ALIAS, TargetKeyId=made)
    return made


def _set_up(aws: store.ClientFactory, settings: Settings) -> SetupReport:
    plan = setup.prepare(aws, settings)
    return setup.act(aws, settings, plan, HEADER, lambda _result: None)


def _values(aws: store.ClientFactory) -> dict[str, dict[str, Any]]:
    pages = (
        aws("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path="/dev/mono-repo", Recursive=True, WithDecryption=True)
    )
    return {item["Name"]: item for page in pages for item in page["Parameters"]}


def _refusing(error_code: str, operation: str, aws: store.ClientFactory) -> store.ClientFactory:
    """A client factory whose clients refuse one operation."""

    def client(service: str) -> Any:
        made = aws(service)

        def refuse(model: Any, **_rest: Any) -> None:
            if model.name == operation:
                details = {"Error": {"Code": error_code, "Message": "not now"}}
                raise ClientError(details, operation)

        made.meta.events.register("before-call.ssm.*", refuse)
        made.meta.events.register("before-call.kms.*", refuse)
        return made

    return client


def _operators(settings: Settings) -> set[str]:
    catalogue = settings.parameters.catalogue
    return {f"/dev/mono-repo/{item.name}" for item in catalogue if item.owner == "operator"}


@pytest.mark.usefixtures("key")
def test_every_missing_parameter_is_created_under_the_environments_key_and_verified(
    aws: store.ClientFactory, dev: Settings
) -> None:
    report = _set_up(aws, dev)
    assert {result.outcome for result in report.results} == {"created"}
    assert all(result.verified for result in report.results)
    assert set(_values(aws)) == _operators(dev)
    described = store.listed(aws("ssm"), "/dev/mono-repo")
    secrets = [item for item in described if item.type == "SecureString"]
    assert secrets
    assert {item.key_id for item in secrets} == {ALIAS}
    assert setup.exit_code(report) == ExitCode.OK


@pytest.mark.usefixtures("key")
def test_a_second_run_creates_nothing_and_leaves_every_value(
    aws: store.ClientFactory, dev: Settings
) -> None:
    _set_up(aws, dev)
    before = _values(aws)
    report = _set_up(aws, dev)
    assert {result.outcome for result in report.results} == {"kept"}
    assert _values(aws) == before


@pytest.mark.usefixtures("key")
def test_no_value_is_in_the_report_or_in_anything_that_is_printed(
    aws: store.ClientFactory, dev: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    report = _set_up(aws, dev)
    shown = to_json(report) + repr(report) + "".join(capfd.readouterr())
    secrets = [item["Value"] for item in _values(aws).values() if item["Type"] == "SecureString"]
    assert not [value for value in secrets if value in shown]


@pytest.mark.usefixtures("key")
def test_secrets_are_strong_and_differ_from_each_other(
    aws: store.ClientFactory, dev: Settings
) -> None:
    _set_up(aws, dev)
    secrets = [item["Value"] for item in _values(aws).values() if item["Type"] == "SecureString"]
    assert len(set(secrets)) == len(secrets)
    assert min(len(value) for value in secrets) >= 16


@pytest.mark.usefixtures("key")
def test_parameters_carry_the_environments_tags(aws: store.ClientFactory, dev: Settings) -> None:
    report = _set_up(aws, dev)
    tags = aws("ssm").list_tags_for_resource(
        ResourceType="Parameter", ResourceId=report.results[0].name
    )["TagList"]
    assert {"Key": "environment", "Value": "dev"} in tags


def test_without_the_environments_key_nothing_is_created(
    aws: store.ClientFactory, dev: Settings
) -> None:
    with pytest.raises(OpsError, match="Run `up` for the environment first"):
        setup.prepare(aws, dev)
    assert _values(aws) == {}


def test_a_key_that_is_to_be_deleted_is_not_used(
    aws: store.ClientFactory, key: str, dev: Settings
) -> None:
    aws("kms").schedule_key_deletion(KeyId=key)
    with pytest.raises(OpsError, match="in state PendingDeletion, not Enabled"):
        setup.prepare(aws, dev)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_listing_that_is_denied_or_throttled_stops_the_plan(
    aws: store.ClientFactory, dev: Settings, code: str
) -> None:
    with pytest.raises(IncompleteError, match=code) as caught:
        setup.prepare(_refusing(code, "DescribeParameters", aws), dev)
    assert caught.value.exit_code == ExitCode.INCOMPLETE
    assert _values(aws) == {}


@pytest.mark.usefixtures("key")
def test_a_listing_that_breaks_off_after_its_first_page_stops_the_plan(
    aws: store.ClientFactory, dev: Settings
) -> None:
    ssm = aws("ssm")
    for number in range(60):
        ssm.put_parameter(Name=f"/dev/mono-repo/x/{number}", Value="v", Type="String")
    pages = 0

    def client(service: str) -> Any:
        made = aws(service)

        def second_page(**_rest: Any) -> None:
            nonlocal pages
            pages += 1
            if pages > 1:
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeParameters")

        if service == "ssm":
            made.meta.events.register("before-call.ssm.DescribeParameters", second_page)
        return made

    with pytest.raises(IncompleteError, match=r"Seen before that: [1-9]"):
        setup.prepare(client, dev)


@pytest.mark.usefixtures("key")
def test_one_that_somebody_makes_meanwhile_is_kept_as_they_made_it(
    aws: store.ClientFactory, dev: Settings
) -> None:
    plan = setup.prepare(aws, dev)
    secret = next(step for step in plan.steps if step.parameter.type == "SecureString")
    aws("ssm").put_parameter(Name=secret.name, Value="theirs", Type="SecureString", KeyId=ALIAS)
    report = setup.act(aws, dev, plan, HEADER, lambda _result: None)
    assert _values(aws)[secret.name]["Value"] == "theirs"
    assert "kept" in {result.outcome for result in report.results}


@pytest.mark.usefixtures("key")
def test_one_failure_does_not_stop_the_rest_and_the_exit_code_says_partial(
    aws: store.ClientFactory, dev: Settings
) -> None:
    plan = setup.prepare(aws, dev)
    broken = dataclasses.replace(
        plan.steps[0],
        parameter=plan.steps[0].parameter.model_copy(
            update={"generator": None, "type": "SecureString"}
        ),
    )
    report = setup.act(
        aws,
        dev,
        dataclasses.replace(plan, steps=(broken, *plan.steps[1:])),
        HEADER,
        lambda _r: None,
    )
    assert report.results[0].outcome == "failed"
    assert {result.outcome for result in report.results[1:]} == {"created"}
    assert setup.exit_code(report) == ExitCode.PARTIAL


@pytest.mark.usefixtures("key")
def test_when_every_write_is_denied_nothing_was_changed_and_that_is_an_error(
    aws: store.ClientFactory, dev: Settings
) -> None:
    plan = setup.prepare(aws, dev)
    denied = _refusing("AccessDeniedException", "PutParameter", aws)
    report = setup.act(denied, dev, plan, HEADER, lambda _result: None)
    assert {result.outcome for result in report.results} == {"failed"}
    assert "AccessDeniedException" in report.results[0].message
    assert setup.exit_code(report) == ExitCode.ERROR


@pytest.mark.usefixtures("key")
def test_what_cannot_be_listed_again_is_not_called_verified(
    aws: store.ClientFactory, dev: Settings
) -> None:
    plan = setup.prepare(aws, dev)
    deaf = _refusing("ThrottlingException", "DescribeParameters", aws)
    with pytest.raises(PartialError, match=r"were created, but .* not verified"):
        setup.act(deaf, dev, plan, HEADER, lambda _result: None)


@pytest.mark.usefixtures("key")
def test_the_plan_as_a_report_says_what_would_be_done_and_does_nothing(
    aws: store.ClientFactory, dev: Settings
) -> None:
    report = setup.planned(setup.prepare(aws, dev), HEADER)
    assert report.dry_run
    assert {result.outcome for result in report.results} == {"to-create"}
    assert _values(aws) == {}

"""The doctor's round as an operator sees it: every line, whatever is missing."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from infra import naming, suspension
from infra.sandbox import servers
from infra.settings import Settings
from ops import sandbox
from ops.access import Access
from ops.checks import Check
from ops.doctor import cloud
from ops.doctor.questions import Question, answers
from ops.errors import ExitCode
from tests.ops.conftest import Ops
from tests.ops.doctor.test_permissions import on_aws

ACCOUNT = "111122223333"


def test_a_question_that_hangs_is_unknown_and_keeps_nobody_waiting() -> None:
    released = threading.Event()

    def hang() -> Check:
        released.wait()
        return Check(name="hanging", status="ok", found="at last")

    def broken() -> Check:
        raise KeyError("no")

    try:
        hanging, fails, works = answers(
            [
                Question(name="hanging", ask=hang, seconds=0.05),
                Question(name="broken", ask=broken),
                Question(name="works", ask=lambda: Check(name="works", status="ok", found="")),
            ]
        )
    finally:
        released.set()
    assert (hanging.status, fails.status, works.status) == ("unknown", "unknown", "ok")
    assert "no answer within" in hanging.found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError(), "No usable AWS credentials"),
        (
            ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "GetCallerIdentity"),
            "have expired",
        ),
    ],
)
def test_where_nothing_is_set_up_every_other_line_is_still_there(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    class Session:
        def client(self, *_args: object, **_options: object) -> Session:
            return self

        def get_caller_identity(self) -> None:
            raise error

    monkeypatch.setattr(boto3, "Session", lambda **_options: Session())
    monkeypatch.setattr(cloud, "_headers", _dated(dt.timedelta()))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = ops("doctor", "dev", "--json")
    assert ended.code == ExitCode.NOT_AUTHENTICATED
    found = {check["name"]: check for check in json.loads(ended.out)["checks"]}
    assert said in found["credentials"]["found"]
    assert found["pulumi cli"]["status"] == "fail"
    assert found["stack file"]["status"] == found["clock"]["status"] == "ok"
    assert {found[name]["status"] for name in ("backend", "lock", "quotas")} == {"skipped"}


def test_a_stack_file_that_cannot_be_read_leaves_the_machines_lines(
    ops: Ops, project: Path
) -> None:
    (project / "Pulumi.dev.yaml").write_text("config: {")
    ended = ops("--sandbox", "doctor", "dev")
    assert ended.code == ExitCode.FINDINGS
    assert "FAIL  stack file" in ended.out
    assert "python" in ended.out


@pytest.mark.parametrize(
    ("skew", "status"), [(0, "ok"), (29, "ok"), (-40, "warn"), (299, "warn"), (-400, "fail")]
)
def test_a_clock_that_is_off_is_told_before_aws_refuses_it(
    monkeypatch: pytest.MonkeyPatch, skew: int, status: str
) -> None:
    monkeypatch.setattr(cloud, "_headers", _dated(dt.timedelta(seconds=skew)))
    assert cloud.clock("us-east-1").status == status


def _dated(skew: dt.timedelta) -> Any:
    now = dt.datetime.now(tz=dt.UTC)
    return lambda _url: {"date": email.utils.format_datetime(now + skew, usegmt=True)}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, dev: Settings, tmp_path: Path) -> Iterator[Access]:
    """Dev on moto's AWS, its state in a bucket that nobody has made yet."""
    monkeypatch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
    with mock_aws():

        class Clients(dict[str, Any]):
            def __missing__(self, service: str) -> Any:
                return boto3.client(service, region_name="us-east-1")

        access = on_aws(dev, tmp_path, Clients())
        yield replace(access, backend="s3://mono-repo-dev-pulumi-state-0123abc?region=us-east-1")


def test_the_states_bucket_has_to_be_there_versioned_and_the_bootstraps(aws: Access) -> None:
    (unreachable,) = answers([Question(name="backend", ask=lambda: cloud.backend(aws))])
    assert unreachable.status == "unknown"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="mono-repo-dev-pulumi-state-0123abc")
    found = cloud.backend(aws).found
    assert "keeps no versions" in found
    assert "no key of ours" in found
    s3.put_bucket_versioning(
        Bucket="mono-repo-dev-pulumi-state-0123abc",
        VersioningConfiguration={"Status": "Enabled"},
    )
    s3.put_bucket_encryption(
        Bucket="mono-repo-dev-pulumi-state-0123abc",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    assert cloud.backend(aws).status == "ok"
    for name in ("mono-repo-dev-pulumi-state-9999999", "mono-repo-dev-backups-0123abc"):
        s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket="mono-repo-dev-pulumi-state-0123abc")
    s3.create_bucket(Bucket="another")
    other = cloud.backend(replace(aws, backend="s3://another"))
    assert "the bootstrap made mono-repo-dev-pulumi-state-9999999" in other.found
    assert cloud.backend(replace(aws, backend="")).status == "fail"


def test_the_key_of_the_secrets_has_to_be_usable(aws: Access) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=naming.state_key_alias("dev"), TargetKeyId=key)
    assert cloud.secrets_key(aws).status == "ok"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    doomed = cloud.secrets_key(aws)
    assert doomed.status == "fail"
    assert "PendingDeletion until" in doomed.found


def test_a_stopped_environment_is_told_with_since_when_and_by_whom(aws: Access) -> None:
    now = dt.datetime.now(tz=dt.UTC).replace(microsecond=0)
    assert cloud.suspended(aws).found == "it runs"
    record = suspension.Suspension(
        run="20261124-000000-stop-dev-0123",
        actor="jane-doe",
        reason="",
        since=now - dt.timedelta(hours=2),
        until=now - dt.timedelta(hours=1),
    )
    ssm = aws.client("ssm")
    for name, value in suspension.parameters("dev", record).items():
        ssm.put_parameter(Name=name, Value=value, Type="String")
    check = cloud.suspended(aws)
    assert check.status == "warn"
    assert "by jane-doe" in check.found
    assert "that is past" in check.found
    assert check.remedy == "ops start dev"
    ssm.put_parameter(
        Name=naming.suspension_parameter("dev"), Value="stopped?", Type="String", Overwrite=True
    )
    assert cloud.suspended(aws).status == "fail"


def test_zones_that_the_region_does_not_have_are_named(aws: Access) -> None:
    assert cloud.region(aws).status == "ok"
    network = aws.settings.network.model_copy(update={"availability_zones": ("us-east-1z",)})
    settings = aws.settings.model_copy(update={"network": network})
    check = cloud.region(replace(aws, settings=settings))
    assert (check.status, check.found) == ("fail", "us-east-1 has no us-east-1z")


def test_a_private_cluster_that_does_not_answer_asks_for_a_runner_in_its_network(
    aws: Access,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"https://127.0.0.1:{closed.getsockname()[1]}"

        class Eks:
            exceptions = aws.client("eks").exceptions

            def describe_cluster(self, **_asked: Any) -> dict[str, Any]:
                return {
                    "cluster": {
                        "name": "mono-repo-dev",
                        "status": "ACTIVE",
                        "endpoint": endpoint,
                        "certificateAuthority": {"data": ""},
                        "resourcesVpcConfig": {"endpointPublicAccess": False},
                    }
                }

        check = cloud.cluster(replace(aws, client=lambda _service: Eks()))
    assert check.status == "fail"
    assert "runner inside the VPC" in check.remedy


def test_a_first_deployment_from_outside_of_the_network_is_told_how_it_can_end(
    aws: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_address_towards", lambda _range: IPv4Address("192.168.1.7"))
    check = cloud.cluster(aws)
    assert check.status == "warn"
    assert "its API will answer inside the VPC only" in check.found
    assert "eks.public_access_cidrs" in check.remedy
    assert "ops up dev --target '**aws:**'" in check.remedy


def test_a_first_deployment_that_can_reach_its_cluster_is_told_nothing(
    aws: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_address_towards", lambda _range: IPv4Address("10.0.20.7"))
    assert cloud.cluster(aws).status == "skipped"
    monkeypatch.setattr(cloud, "_address_towards", lambda _range: IPv4Address("192.168.1.7"))
    assert cloud.cluster(replace(aws, mode="sandbox")).status == "skipped"
    eks = aws.settings.eks.model_copy(update={"public_access": True})
    opened = aws.settings.model_copy(update={"eks": eks})
    assert cloud.cluster(replace(aws, settings=opened)).status == "skipped"


@pytest.mark.sandbox
def test_the_doctor_goes_his_round_in_the_sandbox_and_prints_it_in_every_form(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("sandbox")
    servers.ensure_running(home, port=0)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    monkeypatch.setenv(sandbox.OPERATOR_VARIABLE, "jane-doe")
    try:
        ended = ops("--sandbox", "doctor", "dev", "--json")
        report = json.loads(ended.out)
        found = {check["name"]: check for check in report["checks"]}
        assert ended.code == ExitCode.FINDINGS, ended.out
        assert [name for name, check in found.items() if check["status"] == "fail"] == ["bootstrap"]
        assert found["bootstrap"]["remedy"] == "ops bootstrap dev"
        assert found["credentials"]["found"].endswith("/jane-doe")
        assert not [name for name, check in found.items() if check["status"] == "unknown"]
        assert found["quota: VPCs"]["found"].endswith("1 more needed")
        suite = ET.fromstring(ops("--sandbox", "doctor", "dev", "-o", "junit").out)
        assert suite.get("failures") == "1"
        assert suite.get("tests") == str(len(found))
        assert "| fail | bootstrap |" in ops("--sandbox", "doctor", "dev", "-o", "md").out
        vpcs = sandbox_vpcs(home)
        assert len(vpcs) == 1, "a dry run makes nothing: only the account's default VPC is there"
    finally:
        servers.stop(home)


def sandbox_vpcs(home: Path) -> list[Any]:
    """The VPCs of the account in the sandbox's cloud."""
    running = servers.ensure_running(home)
    keys = servers.assume(running, ACCOUNT, "us-east-1")
    client = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=running.endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
    )
    found: list[Any] = client.describe_vpcs()["Vpcs"]
    return found

"""The account stack as an operator meets it: alone, shared, and beside a cloud that has ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra import naming
from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackRecord, StackReference
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.state import Resource, Snapshot
from infra.settings import Settings
from ops import access
from ops.access import Access
from ops.errors import ExitCode, UsageError
from tests.ops.conftest import Ops
from tests.ops.events import VPC, VPC_TYPE

DEV = "111122223333"
HELD = Snapshot((Resource(urn=VPC, type=VPC_TYPE, custom=True, id="vpc-1"),))
ON_ACCOUNT = ("--stack", "account")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A sandbox's home whose cloud, if there is one, ends with the test."""
    folder = tmp_path / "sandbox"
    yield folder
    if folder.exists():
        servers.stop(folder)


@pytest.fixture
def shared(project: Path) -> Path:
    """The project with uat in dev's account."""
    file = project / "Pulumi.uat.yaml"
    file.write_text(file.read_text().replace("444455556666", DEV))
    return project


def _state(home: Path, project: str, name: str, cloud: str) -> None:
    """Write a state that describes a resource of a cloud."""
    backend, reference = Backend(home, version="v3.0.0"), StackReference(project, name)
    backend.create(reference, "")
    backend.save(reference, HELD, Kept(), "")
    backend.write_record(reference, StackRecord(cloud=cloud))


def _names(home: Path) -> set[str]:
    return {f"{item.project}/{item.name}" for item in Backend(home, version="").stacks()}


def test_the_stack_is_named_by_the_account_and_has_a_project_of_its_own(
    project: Path, dev: Settings
) -> None:
    found = _on_aws(project, dev)
    assert found.header("account").stack == f"mono-repo-account/{DEV}"
    assert found.header("account").environment == "dev"


def _on_aws(project: Path, dev: Settings) -> Access:
    return Access(
        mode="aws",
        root=project,
        settings=dev,
        cloud="AWS",
        caller="",
        variables={},
        client=lambda service: service,
        own_client=lambda service: service,
        records=project / ".ops",
    )


def test_an_account_of_its_own_has_one_environment(project: Path, dev: Settings) -> None:
    assert [item.environment for item in access.account_settings(project, dev)] == ["dev"]


def test_a_shared_account_has_all_that_live_in_it(shared: Path, dev: Settings) -> None:
    together = access.account_settings(shared, dev)
    assert [item.environment for item in together] == ["dev", "uat"]


def test_environments_that_disagree_on_their_account_are_refused_with_file_and_key(
    shared: Path, dev: Settings
) -> None:
    file = shared / "Pulumi.uat.yaml"
    file.write_text(file.read_text().replace("limit_usd: 100", "limit_usd: 200"))
    with pytest.raises(UsageError, match=r"Pulumi\.uat\.yaml") as refused:
        access.account_settings(shared, dev)
    assert "budget" in str(refused.value)
    assert "write the same in both files" in str(refused.value)


@pytest.mark.sandbox
def test_a_shared_accounts_stack_that_is_lost_is_forgotten_with_its_environment(
    ops: Ops, home: Path, shared: Path
) -> None:
    for name in ("dev", "uat"):
        _state(home, naming.PROJECT, name, "the-former-one")
    _state(home, naming.ACCOUNT_PROJECT, DEV, "the-former-one")
    ended = ops("sandbox", "reset", "dev")
    assert ended.code == 0, ended.err
    assert f"mono-repo-account/{DEV}" in ended.out
    assert _names(home) == {"mono-repo/uat"}


@pytest.mark.sandbox
def test_a_shared_accounts_stack_that_is_there_is_left_when_another_environment_is_reset(
    ops: Ops, home: Path, shared: Path
) -> None:
    cloud = servers.ensure_running(home)
    _state(home, naming.ACCOUNT_PROJECT, DEV, cloud.identity)
    _state(home, naming.PROJECT, "uat", "the-former-one")
    ended = ops("sandbox", "reset", "uat")
    assert ended.code == 0, ended.err
    assert "Forgotten: mono-repo/uat" in ended.out
    assert f"Left, as it is still there: mono-repo-account/{DEV}" in ended.out
    assert _names(home) == {f"mono-repo-account/{DEV}"}


@pytest.mark.sandbox
def test_another_accounts_stack_has_nothing_to_do_with_an_environment(ops: Ops, home: Path) -> None:
    _state(home, naming.ACCOUNT_PROJECT, "444455556666", "the-former-one")
    _state(home, naming.PROJECT, "dev", "the-former-one")
    assert ops("sandbox", "reset", "dev").code == 0
    assert _names(home) == {"mono-repo-account/444455556666"}


@pytest.mark.sandbox
def test_a_lost_account_stack_is_not_used_with_a_new_cloud(ops: Ops, home: Path) -> None:
    cloud = servers.ensure_running(home)
    _state(home, naming.ACCOUNT_PROJECT, DEV, cloud.identity)
    os.kill(cloud.pid, signal.SIGKILL)
    ended = ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.REFUSED
    assert f"mono-repo-account/{DEV}" in ended.err
    assert "ops sandbox reset dev" in ended.err


@pytest.mark.sandbox
def test_a_shared_account_stands_up_once_stays_as_it_is_heals_and_leaves_nothing(
    ops: Ops, home: Path, shared: Path
) -> None:
    def report(*arguments: str, code: int = 0) -> dict[str, Any]:
        ended = ops("--sandbox", *arguments, *ON_ACCOUNT, "--json")
        assert ended.code == code, ended.out[-3000:] + ended.err[-3000:]
        found: dict[str, Any] = json.loads(ended.out)
        return found

    def operations(found: dict[str, Any]) -> set[str]:
        return {item["op"] for item in found["resources"]}

    for name in ("dev", "uat"):
        file = shared / f"Pulumi.{name}.yaml"
        section = "    account:\n      github_repository: company/mono-repo\n    budget:\n"
        file.write_text(file.read_text().replace("    budget:\n", section))

    made = report("up", "dev", "--yes")
    assert operations(made) == {"create"}
    assert made["verification"]["differing"] == []
    for environment in ("dev", "uat"):
        again = report("preview", environment, "--refresh", "--detailed-exitcode")
        assert operations(again) == {"same"}, "it is one stack, whichever environment is named"
    outputs = report("outputs", "uat")["outputs"]
    assert set(outputs["github_role_arns"]) == {"dev", "uat"}

    _edit_by_hand(home)
    found = report("refresh", "uat", "--yes", "--detailed-exitcode", code=ExitCode.FINDINGS)
    changed = {item["type"] for item in found["resources"] if item["op"] == "update"}
    assert changed == {
        "aws:budgets/budget:Budget",
        "aws:cloudtrail/trail:Trail",
        "aws:ebs/encryptionByDefault:EncryptionByDefault",
        "aws:iam/accountPasswordPolicy:AccountPasswordPolicy",
        "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
    }
    gone = {item["type"] for item in found["resources"] if item["op"] == "delete"}
    assert gone == {"aws:accessanalyzer/analyzer:Analyzer"}
    report("up", "dev", "--yes")
    assert _client(home, "cloudtrail").get_trail_status(Name=naming.AUDIT_TRAIL)["IsLogging"]
    assert operations(report("preview", "dev", "--refresh", "--detailed-exitcode")) == {"same"}

    protected = report("destroy", "dev", "--yes", code=ExitCode.ERROR)
    assert any("because it is protected" in said["message"] for said in protected["diagnostics"])
    assert operations(report("destroy", "dev", "--yes", "--unprotect")) == {"delete"}
    state = Backend(home, version="").open(StackReference(naming.ACCOUNT_PROJECT, DEV))
    assert state.snapshot(Kept()).resources == ()
    assert _left(home) == []


def _edit_by_hand(home: Path) -> None:
    """Change, out of band, one of each that the account has once."""
    _client(home, "cloudtrail").stop_logging(Name=naming.AUDIT_TRAIL)
    _client(home, "iam").update_account_password_policy(MinimumPasswordLength=8)
    _client(home, "ec2", "us-west-2").disable_ebs_encryption_by_default()
    _client(home, "accessanalyzer").delete_analyzer(analyzerName="mono-repo")
    limit = {"Amount": "5000", "Unit": "USD"}
    budget = {"BudgetName": naming.BUDGET, "BudgetType": "COST", "TimeUnit": "MONTHLY"}
    _client(home, "budgets").update_budget(
        AccountId=DEV, NewBudget={**budget, "BudgetLimit": limit}
    )
    control = _client(home, "s3control")
    control.meta.events.register_first("request-created", _without_account)
    control.put_public_access_block(
        AccountId=DEV, PublicAccessBlockConfiguration={"BlockPublicAcls": True}
    )


def _without_account(request: Any, **_: Any) -> None:
    """The account goes before the host, which is an address here."""
    request.url = request.url.replace(f"//{DEV}.", "//")


def _left(home: Path) -> list[object]:
    """Everything of the account's that a listing still finds."""
    iam, ec2 = _client(home, "iam"), _client(home, "ec2")
    kms = _client(home, "kms")
    keys = [kms.describe_key(KeyId=key["KeyId"]) for key in kms.list_keys()["Keys"]]
    return [
        *_client(home, "cloudtrail").describe_trails()["trailList"],
        *_client(home, "budgets").describe_budgets(AccountId=DEV)["Budgets"],
        *_client(home, "accessanalyzer").list_analyzers()["analyzers"],
        *_client(home, "logs").describe_log_groups()["logGroups"],
        *_client(home, "cloudwatch").describe_alarms()["MetricAlarms"],
        *_client(home, "sns").list_topics()["Topics"],
        *_client(home, "s3").list_buckets()["Buckets"],
        *iam.list_open_id_connect_providers()["OpenIDConnectProviderList"],
        *(role for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("mono-repo")),
        *([True] if ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] else []),
        *(
            key
            for key in keys
            if key["KeyMetadata"]["KeyManager"] == "CUSTOMER"
            and key["KeyMetadata"]["KeyState"] != "PendingDeletion"
        ),
    ]


def _client(home: Path, service: str, region: str = "us-east-1") -> Any:
    cloud = servers.status(home).cloud
    assert cloud is not None
    keys = servers.assume(cloud, DEV, region)
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=cloud.endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
    )

"""Changes of production on AWS: whose agreement they need, and to what exactly."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import servers
from infra.settings import load
from ops import access as accesses
from ops import commands, sandbox, stack
from ops.access import Access
from ops.errors import ExitCode
from tests.ops.conftest import Ops

pytestmark = pytest.mark.sandbox

PROGRAM = """
import pulumi
from pulumi_aws.ec2.vpc import Vpc
from pulumi_aws.provider import Provider

aws = Provider("aws", region="us-east-1")
Vpc("vpc", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(provider=aws))
"""


@pytest.fixture
def production(
    ops: Ops, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The project, with the sandbox's cloud and engine where AWS and the CLI would be."""
    home = tmp_path / "home"
    servers.ensure_running(home, port=0)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    (project / "__main__.py").write_text(PROGRAM)
    shutil.copy(Path(__file__).parents[2] / "Pulumi.yaml", project)
    opened = stack.open_stack

    def aws(root: Path, settings: Any) -> Access:
        return replace(sandbox.access(root, settings), mode="aws")

    def open_stack(access: Access, *rest: Any, **options: Any) -> Any:
        return opened(replace(access, mode="sandbox"), *rest, **options)

    monkeypatch.setattr(accesses, "aws", aws)
    monkeypatch.setattr(commands, "open_stack", open_stack)
    monkeypatch.setattr(commands, "require_cli", lambda: None)
    yield project
    servers.stop(home)


def test_production_changes_by_the_agreement_of_another_operator_to_these_changes_only(
    production: Path, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_(name: str) -> None:
        monkeypatch.setenv(sandbox.OPERATOR_VARIABLE, name)

    def hash_of(text: str) -> str:
        found = re.search(r"--plan-hash ([0-9a-f]{16})", text)
        assert found, text
        return found.group(1)

    as_("jane-doe")
    refused = ops("up", "prod", "--yes")
    assert refused.code == ExitCode.REFUSED
    assert "needs the approval of somebody else" in refused.err
    plan = hash_of(refused.err)
    assert hash_of(ops("up", "prod", "--yes").err) == plan

    as_("john-smith")
    assert ops("approve", "prod", "--command", "up", "--plan-hash", plan).code == ExitCode.OK

    as_("jane-doe")
    program = production / "__main__.py"
    program.write_text(PROGRAM.replace("10.0.0.0/16", "10.9.0.0/16"))
    assert hash_of(ops("up", "prod", "--yes").err) != plan
    program.write_text(PROGRAM)
    assert ops("up", "prod", "--yes").code == ExitCode.OK
    nothing = ops("preview", "prod", "--detailed-exitcode")
    assert nothing.code == ExitCode.OK, nothing.out


def test_other_environments_and_rehearsals_change_without(
    production: Path, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sandbox.OPERATOR_VARIABLE, "jane-doe")
    assert production.is_dir()
    assert ops("up", "uat", "--yes").code == ExitCode.OK
    assert ops("--sandbox", "up", "prod", "--yes").code == ExitCode.OK


def test_on_aws_an_interrupted_creation_is_not_forgotten_while_something_of_it_is_there(
    production: Path, ops: Ops
) -> None:
    """The Pulumi CLI would drop it from the state before it reads anything."""
    assert ops("up", "dev", "--yes").code == ExitCode.OK
    access = sandbox.access(production, load("dev", production, dt.date(2026, 12, 1)))
    opened = stack.open_stack(access)
    document = opened.export_stack()
    creating = {
        "urn": "urn:pulumi:dev::mono-repo::aws:ec2/vpc:Vpc::second",
        "type": "aws:ec2/vpc:Vpc",
        "custom": True,
        "inputs": {"cidrBlock": "10.1.0.0/16"},
    }
    operations = [{"resource": creating, "type": "creating"}]
    document.deployment = {**(document.deployment or {}), "pending_operations": operations}
    opened.import_stack(document)
    ec2 = access.client("ec2")
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mono-repo-dev-second"}]}]
    made = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]

    forgetting = ("refresh", "dev", "--clear-pending-creates", "--yes")
    refused = ops(*forgetting)
    assert refused.code == ExitCode.REFUSED, refused.out + refused.err
    assert f"{creating['urn']}: {made} is there, and not in the state" in refused.err
    assert (opened.export_stack().deployment or {})["pending_operations"]
    ec2.delete_vpc(VpcId=made)
    assert ops(*forgetting).code == ExitCode.OK
    assert not (opened.export_stack().deployment or {}).get("pending_operations")

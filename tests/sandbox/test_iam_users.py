"""People and machines in the sandbox: made, unchanged, changed, healed, gone without a trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.world import World
from tests.sandbox.engine.store_fakes import make_home
from tests.sandbox.listing import Account, difference
from tests.sandbox.people_program import ACCOUNT, BOUNDARY, GROUPS, PREFIX, REGION, policy_name

pytestmark = pytest.mark.sandbox

JANE = f"{PREFIX}-jane-doe"
MACHINE = f"{PREFIX}-backup-service"
ANYTHING = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["ec2:DescribeVpcs"], "Resource": ["*"]}],
    }
)


@pytest.fixture
def account(cloud: servers.Cloud) -> Iterator[Account]:
    """The program's account, with the policies that the foundation would have made."""
    made = Account(cloud, ACCOUNT, (REGION,))
    iam = made.client("iam")
    names = [BOUNDARY, *map(policy_name, GROUPS)]
    arns = [
        iam.create_policy(PolicyName=name, PolicyDocument=ANYTHING)["Policy"]["Arn"]
        for name in names
    ]
    yield made
    for arn in arns:
        iam.delete_policy(PolicyArn=arn)


@pytest.fixture
def iam(account: Account) -> Any:
    """IAM, as the account's owner has it."""
    return account.client("iam")


@pytest.fixture
def secrets(account: Account) -> Any:
    """Secrets Manager, as the account's owner has it."""
    return account.client("secretsmanager")


@pytest.fixture
def world(root: Path, tmp_path: Path, cloud: servers.Cloud, account: Account) -> Iterator[World]:
    """The program's project, taken down afterwards whatever happened."""
    session = servers.assume(cloud, ACCOUNT, REGION)
    program = (
        f"import sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.sandbox.people_program import main\nmain()\n"
    )
    command = EmbeddedCommand(
        make_home(tmp_path),
        cloud_identity=cloud.identity,
        environment=servers.environment(cloud, REGION, session),
        python=Path(sys.executable),
    )
    made = World(tmp_path / "project", "mono-repo", program, command)
    made.done("stack", "init", "dev")
    yield made
    made.run("destroy")


def groups_of(iam: Any, user: str) -> set[str]:
    found = iam.list_groups_for_user(UserName=user)["Groups"]
    return {group["GroupName"].removeprefix(f"{PREFIX}-") for group in found}


def test_people_stand_stay_as_they_are_and_leave_nothing(
    world: World, account: Account, iam: Any, secrets: Any
) -> None:
    before = account.listing()

    assert set(world.done("up").counts) == {"create"}
    for refresh in ((), ("--refresh",)):
        assert set(world.done("preview", *refresh).counts) == {"same"}

    jane = iam.get_user(UserName=JANE)["User"]
    assert jane["Path"] == "/mono-repo/dev/people/"
    assert jane["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(BOUNDARY)
    assert {"Key": "email", "Value": "jane.doe@company.com"} in jane["Tags"]
    assert groups_of(iam, JANE) == {"self-service", "operations"}
    assert groups_of(iam, MACHINE) == {"backup-services"}
    secret = secrets.describe_secret(SecretId=f"{PREFIX}-access-keys-jane-doe")
    assert {"Key": "iam-user", "Value": JANE} in secret["Tags"]
    assert "VersionIdsToStages" not in secret, "no key passes through the program"
    policy = secrets.get_resource_policy(SecretId=secret["ARN"])["ResourcePolicy"]
    assert json.loads(policy)["Statement"][0]["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": jane["Arn"]}
    }

    assert set(world.done("destroy").counts) == {"delete"}
    assert difference(before, account.listing()) == {}


def test_users_go_with_all_that_was_made_for_them_since(world: World, iam: Any) -> None:
    world.done("up")
    iam.create_access_key(UserName=JANE)
    iam.create_login_profile(UserName=JANE, Password="Correct-horse-7")
    serial = iam.create_virtual_mfa_device(VirtualMFADeviceName=JANE)["VirtualMFADevice"][
        "SerialNumber"
    ]
    iam.enable_mfa_device(
        UserName=JANE,
        SerialNumber=serial,
        AuthenticationCode1="123456",
        AuthenticationCode2="234567",
    )
    with pytest.raises(ClientError, match="DeleteConflict"):
        iam.delete_user(UserName=JANE)

    world.done("destroy")

    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_user(UserName=JANE)
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []


def test_who_moves_to_another_group_leaves_the_one_before(world: World, iam: Any) -> None:
    world.done("up")
    world.done("config", "set", "--path", "groups[0]", "sre")

    assert world.done("up").counts["update"] == 1

    assert groups_of(iam, JANE) == {"self-service", "sre"}
    assert set(world.done("preview", "--refresh").counts) == {"same"}


def test_edits_by_hand_are_found_and_healed(world: World, iam: Any, secrets: Any) -> None:
    world.done("up")
    iam.remove_user_from_group(GroupName=f"{PREFIX}-operations", UserName=JANE)
    iam.delete_user_permissions_boundary(UserName=JANE)
    iam.detach_group_policy(
        GroupName=f"{PREFIX}-sre",
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{policy_name('sre')}",
    )
    secrets.delete_resource_policy(SecretId=f"{PREFIX}-access-keys-jane-doe")

    found = world.done("preview", "--refresh")
    assert found.counts["update"] == 3
    assert found.counts["create"] == 1
    world.done("up", "--refresh")

    assert groups_of(iam, JANE) == {"self-service", "operations"}
    assert "PermissionsBoundary" in iam.get_user(UserName=JANE)["User"]
    assert set(world.done("preview", "--refresh").counts) == {"same"}


def test_a_secrets_name_comes_back_at_once_unless_it_is_to_be_recoverable(
    world: World, secrets: Any
) -> None:
    name = f"{PREFIX}-access-keys-jane-doe"
    world.done("up")
    world.done("destroy")
    world.done("config", "set", "recovery-days", "7")
    world.done("up")
    world.done("destroy")

    refused = world.run("up")

    assert not refused.ok
    assert "already scheduled for deletion" in "\n".join(refused.messages("error"))
    for secret in (name, f"{PREFIX}-access-keys-backup-service"):
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)

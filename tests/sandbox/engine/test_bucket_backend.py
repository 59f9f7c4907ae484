"""State in a bucket of the sandbox's cloud, its secrets encrypted by a key of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError, CommandResult

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox

ACCOUNT = "111122223333"
KEY = "awskms://alias/state?region=us-east-1"
STATE = ".pulumi/stacks/shop/dev.json"
LOCKS = ".pulumi/locks/organization/shop/dev/"
URN = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"


@dataclass(frozen=True)
class Shop:
    """A project whose state is in a bucket."""

    folder: Path
    home: Path
    bucket: str
    cloud: servers.Cloud
    account: Account
    variables: dict[str, str]

    def run(self, *arguments: str, url: str | None = None, **more: str) -> CommandResult:
        backend = url if url is not None else f"s3://{self.bucket}?region=us-east-1&awssdk=v2"
        environment = {**self.variables, "PULUMI_BACKEND_URL": backend, **more}
        return EmbeddedCommand(self.home).run(list(arguments), str(self.folder), environment)

    def failure(self, *arguments: str, **more: Any) -> str:
        with pytest.raises(CommandError) as caught:
            self.run(*arguments, **more)
        return str(caught.value)

    @property
    def s3(self) -> Any:
        return self.account.client("s3")

    def objects(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [item["Key"] for item in found]

    def stored(self) -> dict[str, Any]:
        body = self.s3.get_object(Bucket=self.bucket, Key=STATE)["Body"].read()
        document: dict[str, Any] = json.loads(body)["checkpoint"]["latest"]
        return document

    def load(self, secret: str) -> None:
        """Import a state whose stack exports a secret."""
        value = {
            "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
            "plaintext": json.dumps(secret),
        }
        stack = {"urn": URN, "custom": False, "type": "pulumi:pulumi:Stack"}
        resources = [{**stack, "outputs": {"secret": value}}]
        file = self.folder / "state.json"
        file.write_text(json.dumps({"version": 3, "deployment": {"resources": resources}}))
        self.run("stack", "import", "--file", "state.json", "--stack", "dev")

    def output(self, **more: Any) -> str:
        shown = self.run("stack", "output", "--json", "--show-secrets", "--stack", "dev", **more)
        return str(json.loads(shown.stdout)["secret"])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Cloud]:
    home = tmp_path_factory.mktemp("sandbox")
    cloud = servers.ensure_running(home, port=0)
    kms = Account(cloud, ACCOUNT).client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/state", TargetKeyId=key)
    yield cloud
    servers.stop(home)


@pytest.fixture
def shop(tmp_path: Path, cloud: servers.Cloud) -> Shop:
    account = Account(cloud, ACCOUNT)
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    bucket = f"state-{tmp_path.name.replace('_', '-').lower()}"[:60].rstrip("-")
    account.client("s3").create_bucket(Bucket=bucket)
    session = servers.assume(cloud, ACCOUNT, "us-east-1")
    variables = servers.environment(cloud, "us-east-1", session)
    shop = Shop(folder, tmp_path / "home", bucket, cloud, account, variables)
    shop.run("stack", "init", "dev", "--secrets-provider", KEY)
    return shop


def test_the_state_is_in_the_bucket_in_the_layout_of_the_cli(shop: Shop) -> None:
    shop.load("hush")
    assert set(shop.objects()) == {".pulumi/meta.yaml", STATE, f"{STATE}.bak"}
    assert shop.run("stack", "ls", "--json").stdout.count('"name": "dev"') == 1
    assert not (shop.home / ".pulumi" / "stacks").exists()
    shop.run("stack", "rm", "--yes", "--force", "dev")
    assert shop.objects() == [".pulumi/meta.yaml"]


def test_a_secret_is_encrypted_by_the_key_and_needs_no_passphrase(shop: Shop) -> None:
    shop.load("hush")
    provider = shop.stored()["secrets_providers"]
    assert (provider["type"], provider["state"]["url"]) == ("cloud", KEY)
    assert "hush" not in json.dumps(shop.stored())
    assert shop.output(PULUMI_CONFIG_PASSPHRASE="another") == "hush"


def test_a_key_that_may_not_be_used_is_named(shop: Shop) -> None:
    shop.load("hush")
    other = servers.assume(shop.cloud, "444455556666", "us-east-1")
    foreign = servers.environment(shop.cloud, "us-east-1", other)
    state = shop.run("stack", "export", "--stack", "dev").stdout
    (shop.folder / "copy.json").write_text(state)
    local = f"file://{shop.folder / 'local'}"
    shop.run("stack", "init", "dev", url=local)
    said = shop.failure("stack", "import", "--file", "copy.json", url=local, **foreign)
    assert f"the key {KEY} could not be used" in said


def test_the_secrets_provider_changes_there_and_back_and_the_overrides_with_it(shop: Shop) -> None:
    shop.load("hush")
    shop.run("config", "set", "--secret", "token", "quiet", "--stack", "dev")
    shop.run("stack", "change-secrets-provider", "passphrase", PULUMI_CONFIG_PASSPHRASE="p")
    assert shop.stored()["secrets_providers"]["type"] == "passphrase"
    assert shop.output(PULUMI_CONFIG_PASSPHRASE="p") == "hush"
    said = shop.failure("stack", "output", "--show-secrets", PULUMI_CONFIG_PASSPHRASE="q")
    assert "incorrect passphrase" in said
    shop.run("stack", "change-secrets-provider", KEY, PULUMI_CONFIG_PASSPHRASE="p")
    assert shop.output() == "hush"
    assert shop.run("config", "get", "token").stdout.strip() == "quiet"
    assert not list(shop.folder.glob("Pulumi.dev.yaml")), "no stack file is written"


@pytest.mark.parametrize("provider", ["gcpkms://key", "vault"])
def test_a_provider_that_the_sandbox_does_not_have_changes_nothing(
    shop: Shop, provider: str
) -> None:
    before = shop.stored()
    assert "unknown secrets provider" in shop.failure("stack", "change-secrets-provider", provider)
    assert shop.stored() == before


def _lock(shop: Shop, hostname: str, pid: int) -> None:
    holder = {"pid": pid, "username": "jane-doe", "hostname": hostname, "timestamp": "2026"}
    shop.s3.put_object(Bucket=shop.bucket, Key=f"{LOCKS}a.json", Body=json.dumps(holder).encode())


def test_the_lock_of_another_machine_is_respected_until_it_is_cancelled(shop: Shop) -> None:
    shop.load("hush")
    _lock(shop, "elsewhere", 1)
    said = shop.failure("stack", "change-secrets-provider", KEY)
    assert "[409] Conflict" in said
    assert "created by jane-doe@elsewhere (pid 1)" in said
    shop.run("cancel", "--yes", "--stack", "dev")
    shop.run("stack", "change-secrets-provider", KEY)
    assert not [key for key in shop.objects() if key.startswith(LOCKS)], "its own is gone as well"


def test_the_lock_of_a_process_of_this_machine_counts_as_long_as_it_lives(shop: Shop) -> None:
    shop.load("hush")
    _lock(shop, socket.gethostname(), os.getppid())
    assert "[409] Conflict" in shop.failure("stack", "change-secrets-provider", KEY)
    _lock(shop, socket.gethostname(), 2**22 + 1)
    shop.run("stack", "change-secrets-provider", KEY)


def test_a_backend_that_the_sandbox_does_not_have_is_refused(shop: Shop) -> None:
    said = shop.failure("stack", "ls", url="https://app.pulumi.com")
    assert "has no backend 'https://app.pulumi.com'" in said
    gone = shop.failure("stack", "ls", url="s3://not-there")
    assert "look whether the bucket is there" in gone


def test_the_backend_of_the_shell_is_meant_for_the_cli(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://app.pulumi.com")
    assert shop.run("stack", "ls", url="").stdout.count("dev") == 0

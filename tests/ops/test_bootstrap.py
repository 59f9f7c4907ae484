"""A bootstrap, killed or not: its state ends in the bucket that it made, and nowhere else."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import naming
from infra.sandbox import servers
from ops import approvals, bootstrap_retire, homes, moving, operation, sandbox
from ops.access import load_settings
from ops.commands import Setting
from ops.errors import ExitCode, OpsError
from ops.plan import Plan
from ops.terminal import Terminal
from tests.ops.bootstrap_victim import Point, act
from tests.sandbox.listing import Account, Found, difference

pytestmark = pytest.mark.sandbox

DEV_ACCOUNT = "111122223333"
STEPS = ("claim", "create", "rekey", "copy", "compare", "prove", "retire", "release")
STATE = ".pulumi/stacks/mono-repo-bootstrap/dev.json"
ACCOUNT_STATE = f".pulumi/stacks/mono-repo-account/{DEV_ACCOUNT}.json"
CLAIM = naming.bootstrap_claim("dev")

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ops.bootstrap_victim"])


@dataclass(frozen=True)
class Ended:
    """How a command line ended, and all that it said."""

    code: int
    said: str


@dataclass(frozen=True)
class World:
    """A project and a sandbox of its own."""

    project: Path
    home: Path
    account: Account
    before: Found

    def ops(self, *arguments: str, kill_at: Point | None = None) -> Ended:
        """Run a command line in a process of its own."""
        said = self.home.parent / "said"
        given = (self.project, self.home, arguments, said, kill_at)
        process = _PROCESSES.Process(target=act, args=given)
        process.start()
        process.join(180)
        assert process.exitcode is not None, said.read_text()
        return Ended(process.exitcode, said.read_text())

    def bootstrap(self, *more: str) -> Ended:
        return self.ops("--sandbox", "bootstrap", "dev", "--yes", *more)

    @property
    def s3(self) -> Any:
        return self.account.client("s3")

    def buckets(self, environment: str = "dev") -> list[str]:
        names = [item["Name"] for item in self.s3.list_buckets()["Buckets"]]
        start = naming.state_bucket(environment)
        return [name for name in names if re.fullmatch(f"{start}-[0-9a-z]+", name)]

    def objects(self, environment: str = "dev") -> set[str]:
        bucket = self.buckets(environment)[0]
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=".pulumi/").get("Contents", [])
        return {item["Key"] for item in found}

    def state(self) -> dict[str, Any]:
        answer = self.s3.get_object(Bucket=self.buckets()[0], Key=STATE)
        checkpoint: dict[str, Any] = json.loads(answer["Body"].read())
        return checkpoint

    def put_state(self, checkpoint: dict[str, Any]) -> None:
        body = json.dumps(checkpoint).encode()
        self.s3.put_object(Bucket=self.buckets()[0], Key=STATE, Body=body)

    @property
    def local(self) -> Path:
        return self.home / ".ops" / "states" / "mono-repo-bootstrap" / "dev"

    def last_run(self) -> str:
        return max(path.stem for path in (self.home / ".ops" / "runs").glob("*-bootstrap-dev-*"))

    def claims(self) -> list[str]:
        found = self.account.client("ssm").describe_parameters()["Parameters"]
        return [item["Name"] for item in found if item["Name"] == CLAIM]


def _world(root: Path, folder: Path) -> Iterator[World]:
    project, home = folder / "project", folder / "sandbox"
    project.mkdir()
    for path in root.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    account = Account(servers.ensure_running(home, port=0), DEV_ACCOUNT)
    yield World(project, home, account, account.listing())
    servers.stop(home)


@pytest.fixture(scope="module")
def killed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sandbox in which a bootstrap was killed at every point of every step but the last."""
    for world in _world(root, tmp_path_factory.mktemp("killed")):
        points = [Point(step, done) for step in STEPS for done in (False, True)]
        ended = world.ops("--sandbox", "bootstrap", "dev", "--yes", kill_at=points[0])
        assert ended.code == -signal.SIGKILL, ended.said
        for point in points[1:]:
            # By the run's name, and where most has happened by the same command as well.
            again = ("bootstrap", "dev") if point in _BY_COMMAND else ("resume", world.last_run())
            ended = world.ops("--sandbox", *again, "--yes", kill_at=point)
            assert ended.code == -signal.SIGKILL, (point, ended.said)
            if point.step in ("compare", "retire") and not point.done:
                assert (world.local / ".pulumi").is_dir(), "the old one goes last"
        yield world


_BY_COMMAND = (
    Point("rekey", done=False),
    Point("compare", done=False),
    Point("release", done=False),
)


def test_killed_at_every_point_it_ends_with_one_bucket_that_has_the_state(killed: World) -> None:
    file = (killed.project / "Pulumi.dev.yaml").read_bytes()
    ended = killed.ops("--sandbox", "resume", killed.last_run(), "--yes")
    assert ended.code == 0, ended.said
    assert len(killed.buckets()) == 1
    checkpoint = killed.state()["checkpoint"]["latest"]
    assert len(checkpoint["resources"]) > 100
    assert checkpoint["secrets_providers"]["type"] == "cloud"
    assert not killed.local.exists(), "neither the state nor the passphrase"
    assert killed.claims() == []
    assert (killed.project / "Pulumi.dev.yaml").read_bytes() == file
    assert not [key for key in killed.objects() if key.startswith(".pulumi/locks/")]
    again = killed.ops(
        "--sandbox", "preview", "dev", "--stack", "bootstrap", "--refresh", "--detailed-exitcode"
    )
    assert again.code == 0, again.said


def test_its_journal_is_in_the_bucket_and_holds_no_passphrase(killed: World) -> None:
    listed = killed.s3.list_objects_v2(Bucket=killed.buckets()[0], Prefix="ops/runs/")["Contents"]
    bodies = [
        killed.s3.get_object(Bucket=killed.buckets()[0], Key=item["Key"])["Body"].read().decode()
        for item in listed
    ]
    assert any('"kind":"ended"' in body for body in bodies)
    assert not any('passphrase":' in body for body in bodies)


def test_a_state_that_is_nowhere_is_not_made_a_second_time(killed: World) -> None:
    kept = killed.state()
    killed.s3.delete_object(Bucket=killed.buckets()[0], Key=STATE)
    ended = killed.bootstrap()
    killed.put_state(kept)
    assert ended.code == ExitCode.REFUSED, ended.said
    assert killed.buckets()[0] in ended.said
    assert "ops adopt dev --stack bootstrap --plan --import-file" in ended.said
    assert len(killed.buckets()) == 1


def test_a_claim_of_another_machine_keeps_this_one_out_and_is_named(killed: World) -> None:
    holder = {
        "run": "20261201-000000-bootstrap-dev-abcd", "command": "bootstrap", "operator": "jane-doe",
        "host": "elsewhere", "pid": 1, "process": "x", "acquired": "2026-12-01T00:00:00+00:00",
    }  # fmt: skip
    ssm = killed.account.client("ssm")
    ssm.put_parameter(Name=CLAIM, Value=json.dumps(holder), Type="String")
    ended = killed.bootstrap()
    ssm.delete_parameter(Name=CLAIM)
    assert ended.code == ExitCode.REFUSED, ended.said
    assert "by jane-doe, on elsewhere since 2026-12-01" in ended.said
    assert f"aws ssm delete-parameter --name {CLAIM}" in ended.said


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sandbox whose bootstrap was compared with a damaged copy, and then came through."""
    yield from _world(root, tmp_path_factory.mktemp("made"))


def test_a_copy_that_differs_is_refused_and_the_old_state_still_counts(made: World) -> None:
    ended = made.ops("--sandbox", "bootstrap", "dev", "--yes", kill_at=Point("compare", done=False))
    assert ended.code == -signal.SIGKILL, ended.said
    good = made.state()
    bad = json.loads(json.dumps(good))
    damaged = next(item for item in bad["checkpoint"]["latest"]["resources"] if item.get("id"))
    damaged["id"] = "another"
    made.put_state(bad)

    resumed = made.ops("--sandbox", "resume", made.last_run(), "--yes")
    assert resumed.code == ExitCode.PARTIAL, resumed.said
    assert "The old one was kept and still counts" in resumed.said
    assert f"{damaged['urn']}: id" in resumed.said
    again = made.bootstrap()
    assert again.code == ExitCode.PARTIAL, again.said
    assert "somebody has changed it since" in again.said
    assert (made.local / ".pulumi").is_dir()
    assert made.state() == bad, "nothing was written over"

    made.s3.delete_object(Bucket=made.buckets()[0], Key=STATE)
    done = made.bootstrap("--output", "json")
    assert done.code == 0, done.said
    assert made.state()["checkpoint"]["latest"]["resources"]
    assert not made.local.exists()


def test_the_second_time_there_is_nothing_to_do_and_the_lines_are_said_again(made: World) -> None:
    before = made.account.listing()
    ended = made.bootstrap()
    assert ended.code == 0, ended.said
    assert "bootstrap dev: nothing to do" in ended.said
    assert f"url: s3://{made.buckets()[0]}?region=us-east-1&awssdk=v2" in ended.said
    assert (
        "secrets_provider: awskms://alias/mono-repo-dev-pulumi-state?region=us-east-1" in ended.said
    )
    assert difference(before, made.account.listing()) == {}


def test_a_change_is_brought_up_where_the_state_is(made: World) -> None:
    file = made.project / "Pulumi.dev.yaml"
    text = file.read_text()
    file.write_text(text.replace("owner: devops", "owner: platform"))
    planned = made.bootstrap("--dry-run")
    assert "bring it up to date, where its state is" in planned.said, planned.said
    ended = made.bootstrap()
    assert ended.code == 0, ended.said
    file.write_text(text)
    tags = made.s3.get_bucket_tagging(Bucket=made.buckets()[0])["TagSet"]
    assert {"Key": "owner", "Value": "platform"} in tags
    assert made.bootstrap().code == 0


def test_production_needs_somebody_else_and_nothing_is_begun(made: World) -> None:
    account = Account(servers.ensure_running(made.home), "777788889999")
    before = account.listing()
    ended = made.ops("--sandbox", "bootstrap", "prod", "--yes")
    assert ended.code == ExitCode.REFUSED, ended.said
    assert "ops approve prod" in ended.said or "ops --sandbox approve prod" in ended.said
    assert difference(before, account.listing()) == {}


def test_with_several_accounts_the_one_that_is_meant_has_to_be_named(made: World) -> None:
    ended = made.ops("--sandbox", "bootstrap", "account", "--yes")
    assert ended.code == ExitCode.USAGE
    assert "uat: 444455556666" in ended.said
    without = made.ops("--sandbox", "bootstrap", "account", "--environment", "uat", "--yes")
    assert without.code == ExitCode.REFUSED
    assert "Bootstrap one first: ops bootstrap uat" in without.said
    done = made.ops("--sandbox", "bootstrap", "account", "--environment", "dev", "--yes")
    assert done.code == 0, done.said
    assert ACCOUNT_STATE in made.objects()
    again = made.ops("--sandbox", "bootstrap", "account", "--environment", "dev", "--yes")
    assert "bootstrap account dev: nothing to do" in again.said


@pytest.fixture(scope="module")
def together(made: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same sandbox, with the environments in one account; uat was stood up without a move."""
    project = tmp_path_factory.mktemp("together")
    for path in made.project.glob("Pulumi*.yaml"):
        text = re.sub(r'account_id: "\d{12}"', f'account_id: "{DEV_ACCOUNT}"', path.read_text())
        (project / path.name).write_text(text)
    world = World(project, made.home, made.account, made.before)
    ended = world.ops("--sandbox", "up", "uat", "--stack", "bootstrap", "--yes")
    assert ended.code == 0, ended.said
    return world


def test_a_bootstrap_that_is_there_is_found_and_its_state_moved(together: World) -> None:
    home = together.home / ".pulumi" / "stacks" / "mono-repo-bootstrap" / "uat.json"
    assert home.exists()
    ended = together.ops("--sandbox", "bootstrap", "uat", "--yes")
    assert ended.code == 0, ended.said
    assert not home.exists()
    assert ".pulumi/stacks/mono-repo-bootstrap/uat.json" in together.objects("uat")
    status = together.ops("sandbox", "status", "--json")
    stacks = {(item["project"], item["stack"]) for item in json.loads(status.said)["stacks"]}
    assert stacks >= {
        ("mono-repo-bootstrap", "dev"), ("mono-repo-bootstrap", "uat"),
        ("mono-repo-account", DEV_ACCOUNT),
    }  # fmt: skip


def test_in_one_account_its_productions_approval_is_all_that_is_asked_for(
    together: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its state can change buckets."""
    there = together.ops("--sandbox", "bootstrap", "account", "--yes")
    assert there.code == 0, there.said
    assert ACCOUNT_STATE in together.objects("dev")
    refused = together.ops(
        "--sandbox", "destroy", "dev", "--stack", "bootstrap", "--unprotect", "-y"
    )
    assert refused.code == ExitCode.REFUSED, refused.said
    assert "--move-to uat" in refused.said
    _agreed(together, monkeypatch, "--move-to", "uat")
    assert ACCOUNT_STATE in together.objects("uat")
    assert ACCOUNT_STATE not in together.objects("dev")
    preview = together.ops(
        "--sandbox", "preview", "dev", "--stack", "account", "--detailed-exitcode"
    )
    assert preview.code == 0, preview.said


def test_an_update_that_ends_while_the_accounts_state_is_moved_is_not_lost(
    together: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(servers.HOME_VARIABLE, str(together.home))
    access = sandbox.access(together.project, load_settings(together.project, "dev"))
    homes_ = {home.environment: home for home in homes.buckets(access, "account")}
    rekey = moving.rekey

    def meanwhile(*arguments: Any) -> Any:
        """Have an update end in the old bucket once its state is copied."""
        place = {"Bucket": together.buckets("uat")[0], "Key": ACCOUNT_STATE}
        state = json.loads(together.s3.get_object(**place)["Body"].read())
        updated = next(item for item in state["checkpoint"]["latest"]["resources"] if "id" in item)
        updated["outputs"]["seen"] = "by the update"
        together.s3.put_object(**place, Body=json.dumps(state).encode())
        return rekey(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(moving, "rekey", meanwhile)
        with pytest.raises(OpsError, match="The old one was kept and still counts"):
            bootstrap_retire.move_account(access, homes_["uat"], homes_["dev"])
    planned = together.ops("--sandbox", "bootstrap", "account", "--move-to", "dev", "--dry-run")
    assert "move the account's state from uat's bucket to dev's" in planned.said
    bootstrap_retire.move_account(access, homes_["uat"], homes_["dev"])
    moved = together.s3.get_object(Bucket=together.buckets("dev")[0], Key=ACCOUNT_STATE)
    assert b"by the update" in moved["Body"].read()
    assert ACCOUNT_STATE not in together.objects("uat")
    bootstrap_retire.move_account(access, homes_["dev"], homes_["uat"])


def _agreed(world: World, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Bootstrap the account, once another operator has agreed to that."""
    command = ("--sandbox", "bootstrap", "account", *more, "--yes")
    refused = world.ops(*command)
    assert refused.code == ExitCode.REFUSED, refused.said
    found = re.search("--plan-hash ([0-9a-f]{16})", refused.said)
    assert found, refused.said
    with monkeypatch.context() as patch:
        patch.setenv(servers.HOME_VARIABLE, str(world.home))
        patch.setenv(sandbox.OPERATOR_VARIABLE, "jane-doe")
        jane = sandbox.access(world.project, load_settings(world.project, "prod"))
        approvals.give(jane, "bootstrap account", found[1], hours=1, reason="")
    ended = world.ops(*command)
    assert ended.code == 0, ended.said


def test_a_retired_bootstrap_is_gone_with_its_content_and_its_journals_are_kept(
    together: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(servers.HOME_VARIABLE, str(together.home))
    bucket = together.buckets("dev")[0]

    def plan(planning: operation.Planning) -> Plan:
        settings = planning.access.settings
        return Plan(
            command="bootstrap",
            environment="dev",
            account_id=settings.account_id,
            region=settings.region,
            steps=bootstrap_retire.bootstrap_retirement_steps(planning.access, stage=0),
        )

    retiring = operation.Operation(
        name="bootstrap",
        plan=plan,
        actions=bootstrap_retire.RETIREMENT_ACTIONS,
        approved=False,
        founded=False,
    )
    setting = Setting(sandbox=True, root=together.project, terminal=Terminal())
    consent = operation.Consent(yes=True)
    assert operation.perform(setting, retiring, "dev", {}, consent) is ExitCode.OK
    assert together.buckets("dev") == []
    assert not together.local.exists()
    assert list((together.home / ".ops" / "retired" / bucket / "ops" / "runs").rglob("*.json"))
    left = {
        name
        for kind, names in difference(together.before, together.account.listing()).items()
        for name in names
        if kind != "key" and "mono-repo-dev" in name
    }
    assert left == set()
    assert operation.perform(setting, retiring, "dev", {}, consent) is ExitCode.OK, "twice"

"""The engine killed in the middle of updates, over and over: the state stays true."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept, verify
from infra.sandbox.engine.command import EmbeddedCommand
from infra.sandbox.engine.state import Snapshot
from tests.sandbox.listing import Account, Found, difference

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261201
ROUNDS = 13
"""Each kills four times: an update from nothing, its recovery, a replacing update, a destroy."""
STACK = StackReference("mono-repo", "dev")
ACCOUNT = "111122223333"

UP = ("up", "--yes", "--skip-preview", "--stack", "dev")
DESTROY = ("destroy", "--yes", "--skip-preview", "--stack", "dev")

KINDS = {
    "aws:cloudwatch/logGroup:LogGroup": "log group",
    "aws:ec2/eip:Eip": "address",
    "aws:ec2/internetGateway:InternetGateway": "internet gateway",
    "aws:ec2/natGateway:NatGateway": "nat gateway",
    "aws:ec2/routeTable:RouteTable": "route table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "route table association",
    "aws:ec2/securityGroup:SecurityGroup": "security group",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:iam/role:Role": "role",
    "aws:kms/alias:Alias": "alias",
    "aws:kms/key:Key": "key",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sns/topic:Topic": "topic",
    "aws:ssm/parameter:Parameter": "parameter",
}
"""The program's types that can be listed, and what the listing calls them."""


@dataclass(frozen=True)
class World:
    """A project, its sandbox, and the cloud as its owner sees it."""

    project: Path
    home: Path
    cloud: servers.Cloud
    account: Account
    before: Found

    @property
    def variables(self) -> dict[str, str]:
        """What points the engine at the cloud."""
        session = servers.assume(self.cloud, ACCOUNT, "us-east-1")
        return servers.environment(self.cloud, "us-east-1", session)

    def run(self, *arguments: str) -> str:
        """Run a command of the engine to its end, in this process."""
        command = EmbeddedCommand(self.home, cloud_identity=self.cloud.identity)
        return command.run(list(arguments), str(self.project), self.variables).stdout

    def run_to(self, point: int, *arguments: str) -> tuple[int, str]:
        """Run a command in a process of its own up to a point; give its end and what it said."""
        victim = [sys.executable, "-m", "tests.faults.victim", str(point), str(self.home)]
        process = subprocess.Popen(
            [*victim, self.cloud.identity, *arguments],
            cwd=self.project,
            env={**os.environ, **self.variables, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, _ = process.communicate(timeout=120)
        _assert_no_orphan(process.pid)
        return process.returncode, said

    def state(self) -> Snapshot:
        """Give the state, with what a killed update has recorded."""
        return Backend(self.home, version="").open(STACK).snapshot(Kept())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A project with the busy program, and a sandbox."""
    project, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("sandbox")
    (project / "Pulumi.yaml").write_text("name: mono-repo\nruntime: python\n")
    shutil.copy(Path(__file__).with_name("busy_program.py"), project / "__main__.py")
    cloud = servers.ensure_running(home, port=0)
    account = Account(cloud, ACCOUNT)
    world = World(project, home, cloud, account, account.listing())
    world.run("stack", "init", "dev")
    yield world
    servers.stop(home)


@pytest.fixture(scope="module")
def points(world: World) -> dict[str, int]:
    """The number of points that each kind of update passes when nothing happens to it."""
    counted = {}
    updates = (("make", 1, UP), ("change to 2", 2, UP), ("change to 1", 1, UP), ("end", 1, DESTROY))
    for name, generation, arguments in updates:
        _set_generation(world, generation)
        code, said = world.run_to(0, *arguments)
        assert code == 0, said
        counted[name] = int(said.rsplit("passed ", 1)[1].split()[0])
    assert difference(world.before, world.account.listing()) == {}
    return counted


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_engine_leaves_a_true_state_and_the_next_run_converges(
    number: int, world: World, points: dict[str, int]
) -> None:
    dice = random.Random(SEED + number)
    _set_generation(world, 1)
    _kill(world, dice.randint(1, points["make"]), *UP)
    # In every other round the program has changed before the update is taken up again.
    taken_up, then = (1, 2) if number % 2 else (2, 1)
    _set_generation(world, taken_up)
    # However much was done before: a recovery reads the state and passes every resource by.
    _kill(world, dice.randint(1, points["make"] // 3), *UP)
    world.run(*UP)
    _assert_exact(world)

    _set_generation(world, then)
    _kill(world, dice.randint(1, points[f"change to {then}"]), *UP)
    world.run(*UP)
    _assert_exact(world)
    world.run("preview", "--stack", "dev", "--refresh", "--expect-no-changes")

    _kill(world, dice.randint(1, points["end"]), *DESTROY)
    world.run(*DESTROY)
    assert (world.state().resources, world.state().pending_operations) == ((), ())
    assert difference(world.before, world.account.listing()) == {}


def _kill(world: World, point: int, *arguments: str) -> None:
    sys.stdout.write(f"{arguments[0]}: killed at point {point}\n")
    code, said = world.run_to(point, *arguments)
    assert code == -signal.SIGKILL, f"it was not killed at point {point}: {said}"
    _assert_true(world)


def _set_generation(world: World, generation: int) -> None:
    world.run("config", "set", "mono-repo:generation", str(generation), "--stack", "dev")


def _assert_true(world: World) -> None:
    """What the state has is there, and what is there the state has, or is about to look for."""
    state, now = world.state(), world.account.listing()
    verify(state)
    listed = [entry for entry in state.resources if entry.type in KINDS]
    twice = [key for key, n in Counter((e.type, e.id) for e in listed).items() if n > 1]
    assert not twice, "an id is in the state twice"
    going = {(op.resource.urn, op.resource.id) for op in state.pending_operations}
    for entry in listed:
        if entry.id not in now.get(KINDS[entry.type], ()):
            assert entry.pending_replacement or (entry.urn, entry.id) in going, entry
    begun = Counter(
        KINDS[operation.resource.type]
        for operation in state.pending_operations
        if operation.type == "creating" and operation.resource.type in KINDS
    )
    for kind, ids in difference(world.before, now).items():
        if kind in KINDS.values():
            unknown = set(ids) - {entry.id for entry in listed if KINDS[entry.type] == kind}
            assert len(unknown) <= begun[kind], f"{kind} {unknown} is lost"


def _assert_exact(world: World) -> None:
    """The cloud holds what the state does, no more and no less, and nothing is left to be done."""
    state, now = world.state(), world.account.listing()
    assert not state.pending_operations
    assert not [entry for entry in state.resources if entry.delete or entry.pending_replacement]
    assert len({entry.urn for entry in state.resources}) == len(state.resources)
    there = difference(world.before, now)
    for kind in KINDS.values():
        ids = sorted(e.id for e in state.resources if KINDS.get(e.type) == kind)
        assert ids == there.get(kind, []), kind


def _assert_no_orphan(engine: int) -> None:
    """The program that the engine ran has ended with it."""
    deadline = time.monotonic() + 10
    while orphans := _children_of_engine(engine):
        assert time.monotonic() < deadline, f"{orphans} outlived engine {engine}"
        time.sleep(0.02)


def _children_of_engine(engine: int) -> list[int]:
    sign = f"\0--parent\0{engine}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if sign in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found

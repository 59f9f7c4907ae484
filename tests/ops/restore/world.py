"""A small environment in a sandbox, with its bootstrap, that commands are run on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import naming
from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from tests.faults import running
from tests.sandbox.listing import Account

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "111122223333"
SECRET = naming.parameter("dev", "database/password")
FLAG = naming.parameter("dev", "features/new_dashboard")


@dataclass
class World:
    """The project, its sandbox, and the cloud as its owner sees it."""

    project: Path
    home: Path
    account: Account
    identity: str
    """The cloud's."""
    variables: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Give a client of a service."""
        return self.account.client(service)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command line on the sandbox to its end; give all that it said."""
        return self.faulty({}, *arguments, code=code)

    def report(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a command line; give its report."""
        found: dict[str, Any] = json.loads(self.faulty({}, *arguments, "--json", code=code))
        return found

    def faulty(self, plan: Mapping[str, Any], *arguments: str, code: int = 0) -> str:
        """Run a command line in which things go wrong, see `ops_victim`; give what it said."""
        process = self.victim(plan, *arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        return out if "--json" in arguments else out + err

    def kill_at(self, point: str, *arguments: str) -> None:
        """Run a command line that is killed at a point: `before STEP` or `after STEP`."""
        moment, _, step = point.partition(" ")
        kind = {"before": "intent", "after": "result"}[moment]
        process = self.victim({"kill": [kind, step]}, *arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, f"not killed {point}: {out}{err}"

    def victim(self, plan: Mapping[str, Any], *arguments: str) -> subprocess.Popen[str]:
        """Start a command line in a process in which things go wrong."""
        line = ("--root", str(self.project), "--sandbox", *arguments)
        return running.start(plan, *line, variables=self.variables)

    def backup(self) -> str:
        """Make a backup; give its id."""
        made = self.report("backup", "dev", "--yes")
        return str(made["facts"]["backup-manifest"]["backup"])

    def parameters(self) -> dict[str, str]:
        """Give the application's parameters with their values."""
        pages = self.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(
            Path=naming.parameter_path("dev"), Recursive=True, WithDecryption=True
        )
        return {item["Name"]: item["Value"] for page in found for item in page["Parameters"]}

    def databases(self) -> list[str]:
        """Give the identifiers of the instances."""
        found = self.client("rds").describe_db_instances()["DBInstances"]
        return sorted(item["DBInstanceIdentifier"] for item in found)

    def snapshots(self) -> list[str]:
        """Give the manual snapshots."""
        found = self.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        return sorted(item["DBSnapshotIdentifier"] for item in found)

    def last_run(self) -> str:
        """Give the newest run."""
        return max(path.stem for path in (self.home / ".ops" / "runs").iterdir())

    def engine(self, *arguments: str) -> str:
        """Run a command of the engine itself, as somebody would who does without `ops`."""
        command = EmbeddedCommand(self.home, cloud_identity=self.identity)
        return command.run([*arguments, "--stack", "dev"], str(self.project), {}).stdout

    def say(self, old: str, new: str) -> None:
        """Edit the stack file, as an operator would."""
        file = self.project / naming.stack_file("dev")
        text = file.read_text()
        assert text.count(f"{old}\n") == 1
        file.write_text(text.replace(f"{old}\n", f"{new}\n"))

    def remove_database(self, identifier: str) -> None:
        """Delete an instance by hand, and wait until it is gone."""
        rds = self.client("rds")
        rds.modify_db_instance(DBInstanceIdentifier=identifier, DeletionProtection=False)
        rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True)
        while identifier in self.databases():
            pass


def make(folder: Path, program: Path | None = None, environment: str = "dev") -> World:
    """Make a project, a sandbox and the bootstrap; the environment is not made yet."""
    project, home = folder / "project", folder / "sandbox"
    project.mkdir()
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    if program:
        shutil.copy(program, project / "__main__.py")
    else:
        (project / "__main__.py").write_text(
            "from tests.ops.restore.restorable_program import main\n\nmain()\n"
        )
    cloud = servers.ensure_running(home, port=0)
    variables = {servers.HOME_VARIABLE: str(home), "PYTHONPATH": str(ROOT)}
    world = World(project, home, Account(cloud, ACCOUNT), cloud.identity, variables)
    world.run("up", environment, "--stack", "bootstrap", "--yes", "--no-verify")
    return world


def add_database(world: World, name: str) -> None:
    """Let the stack file declare another database beside its own, like it."""
    last = "        stop_on_emergency: true"
    file = world.project / naming.stack_file("dev")
    lines = file.read_text().splitlines()
    first, end = lines.index("      - name: main"), lines.index(last) + 1
    like = "\n".join(lines[first:end])
    other = like.replace("name: main", f"name: {name}").replace(
        "identifier: mono-repo-dev", f"identifier: mono-repo-dev-{name}"
    )
    world.say(last, f"{last}\n{other}\n        database_name: {name}")


def put_parameters(world: World) -> None:
    """Make what operators own: a secret and a flag."""
    ssm = world.client("ssm")
    ssm.put_parameter(
        Name=SECRET,
        Value="v3ry-s3cret-value",
        Type="SecureString",
        KeyId=naming.parameter_key_alias("dev"),
    )
    ssm.put_parameter(Name=FLAG, Value="false", Type="String")


def await_status(rds: Any, identifier: str, status: str) -> None:
    """Look at an instance until it has a status: it changes by being looked at."""
    for _ in range(20):
        (found,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        if found["DBInstanceStatus"] == status:
            return
    raise AssertionError(f"{identifier} does not become {status}")

"""The sandbox's cloud, and projects on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.sandbox import servers
from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.world import World
from tests.sandbox.engine.store_fakes import make_home

Worlds = Callable[..., World]
Clients = Callable[[str], Any]

REGION = "us-east-1"


def parameters(client: Clients) -> dict[str, str]:
    """Give the cloud's parameters: name to value."""
    found = client("ssm").get_parameters_by_path(Path="/", Recursive=True)["Parameters"]
    return {parameter["Name"]: parameter["Value"] for parameter in found}


@pytest.fixture(scope="session")
def cloud_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of this worker's cloud, which runs."""
    home = tmp_path_factory.mktemp("conformance-cloud")
    servers.ensure_running(home, port=0)
    yield home
    servers.stop(home)


@pytest.fixture
def cloud(cloud_home: Path) -> servers.Cloud:
    """A cloud with nothing in it; in one account, since emptying takes as long as it has some."""
    return servers.reset(cloud_home)


@pytest.fixture
def environment(cloud: servers.Cloud) -> dict[str, str]:
    """The variables that point at the cloud's default account."""
    return servers.environment(cloud, REGION)


@pytest.fixture
def client(environment: dict[str, str]) -> Clients:
    """Gives a client of a service."""

    def make(service: str) -> Any:
        return botocore.session.get_session().create_client(
            service,
            region_name=REGION,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    return make


@pytest.fixture(scope="session")
def sdk_version(program_python: str) -> tuple[int, ...]:
    """The version of the SDK that programs run on."""
    code = "from importlib.metadata import version; print(version('pulumi'))"
    told = subprocess.run([program_python, "-c", code], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in told.stdout.strip().split(".")[:3])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A sandbox's home without stacks."""
    return make_home(tmp_path)


@pytest.fixture
def command(
    home: Path, cloud: servers.Cloud, environment: dict[str, str], program_python: str
) -> EmbeddedCommand:
    """The embedded engine, with the interpreter under test for programs."""
    return EmbeddedCommand(
        home,
        cloud_identity=cloud.identity,
        environment=environment,
        python=Path(program_python),
    )


@pytest.fixture
def world(tmp_path: Path, command: EmbeddedCommand) -> Worlds:
    """Makes a project from a program's text, with a stack ``dev`` that was never updated."""

    def make(program: str, project: str = "shop") -> World:
        made = World(tmp_path / "projects" / project, project, program, command)
        made.done("stack", "init", "dev")
        return made

    return make

"""The sandbox's cloud as a background process: found again, never mistaken, never orphaned."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import servers

pytestmark = pytest.mark.sandbox


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "sandbox home"
    yield directory
    record = directory / servers.RECORD
    if record.exists():
        try:
            servers.stop(directory)
        except servers.SandboxServerError:
            record.unlink()


def _record(home: Path, **fields: object) -> None:
    home.mkdir(parents=True, exist_ok=True)
    cloud = {
        "pid": 2**22 - 3,
        "port": 9,
        "endpoint": "http://127.0.0.1:9",
        "identity": "gone",
        "started": "2026-01-01T00:00:00+00:00",
        "log": "x",
        **fields,
    }
    (home / servers.RECORD).write_text(json.dumps(cloud))


def _parameters(cloud: servers.Cloud) -> list[str]:
    import botocore.session

    ssm = botocore.session.Session().create_client(
        "ssm",
        region_name="us-east-1",
        endpoint_url=cloud.endpoint,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    ssm.put_parameter(Name="/mark", Value="1", Type="String", Overwrite=True)
    return [entry["Name"] for entry in ssm.describe_parameters()["Parameters"]]


def test_where_nothing_was_started_nothing_runs(home: Path) -> None:
    assert servers.status(home).state == "stopped"


def test_a_cloud_is_started_found_again_emptied_and_stopped(home: Path) -> None:
    cloud = servers.ensure_running(home)
    assert servers.ensure_running(home) == cloud
    assert servers.status(home) == servers.Status(
        "running", cloud, f"the sandbox cloud answers at {cloud.endpoint}"
    )
    assert _parameters(cloud) == ["/mark"]

    emptied = servers.reset(home)
    assert emptied.identity != cloud.identity
    assert emptied.endpoint == cloud.endpoint
    assert servers.status(home).cloud == emptied

    assert servers.stop(home).state == "running"
    assert servers.status(home).state == "stopped"
    assert (
        not Path(f"/proc/{cloud.pid}/cmdline").exists()
        or not Path(f"/proc/{cloud.pid}/cmdline").read_bytes()
    )


def test_two_starts_at_once_give_one_cloud(home: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(servers.ensure_running, [home, home])
    assert first == second


def test_a_cloud_outlives_the_process_that_started_it(home: Path) -> None:
    script = (
        "from pathlib import Path; from infra.sandbox import servers;"
        f"print(servers.ensure_running(Path({str(home)!r})).identity)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=servers.PROJECT_ROOT,
    )
    found = servers.status(home)
    assert found.state == "running"
    assert found.cloud is not None
    assert found.cloud.identity == run.stdout.strip()


def test_a_dead_cloud_is_recognised_and_another_one_started(home: Path) -> None:
    _record(home)
    found = servers.status(home)
    assert found.state == "dead"
    assert "does not answer" in found.detail
    assert servers.ensure_running(home).identity != "gone"


def test_another_server_at_the_address_is_recognised_and_left_alone(
    home: Path, cloud: servers.Cloud
) -> None:
    _record(home, port=cloud.port, endpoint=cloud.endpoint, pid=cloud.pid)
    assert servers.status(home).state == "foreign"
    assert servers.stop(home).state == "foreign"
    assert servers.status(home).state == "stopped"
    assert servers._identity(cloud.port) == cloud.identity


def test_a_process_that_took_over_the_pid_is_not_killed(home: Path) -> None:
    _record(home, pid=os.getpid())
    servers.stop(home)
    assert servers.status(home).state == "stopped"


def test_a_taken_port_is_told_with_what_to_do(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(servers.PortTakenError) as caught:
            servers.ensure_running(home, port=port)
    assert f"Port {port} on 127.0.0.1 is taken by another process" in str(caught.value)
    assert "MONO_REPO_SANDBOX_PORT" in str(caught.value)
    assert servers.status(home).state == "stopped"


def test_a_port_that_is_none_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONO_REPO_SANDBOX_PORT", "many")
    with pytest.raises(servers.SandboxServerError, match="'many'; a port number"):
        servers.ensure_running(home)


def test_a_broken_record_is_told_and_not_overwritten(home: Path) -> None:
    home.mkdir()
    record = home / servers.RECORD
    record.write_text("{")
    with pytest.raises(servers.SandboxServerError, match="is not a record of a sandbox cloud"):
        servers.ensure_running(home)
    assert record.read_text() == "{"
    record.unlink()


def test_nothing_is_reset_where_nothing_runs(home: Path) -> None:
    with pytest.raises(servers.SandboxServerError, match="Nothing was reset"):
        servers.reset(home)


def test_the_home_is_the_projects_or_the_environments(tmp_path: Path) -> None:
    assert servers.home({}) == servers.PROJECT_ROOT / ".sandbox"
    assert servers.home({"MONO_REPO_SANDBOX_HOME": str(tmp_path)}) == tmp_path


def test_a_session_lands_in_its_account_and_the_environment_names_the_cloud(
    cloud: servers.Cloud,
) -> None:
    session = servers.assume(cloud, "777788889999", "us-east-1")
    variables = servers.environment(cloud, "us-west-2", session)
    assert variables["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert variables["AWS_REGION"] == "us-west-2"
    assert variables["AWS_SESSION_TOKEN"] == session.session_token
    assert _account(variables) == "777788889999"


def _account(variables: dict[str, str]) -> str:
    return str(_client("sts", variables).get_caller_identity()["Account"])


def _client(service: str, variables: dict[str, str]) -> Any:
    import botocore.session

    return botocore.session.Session().create_client(
        service,
        region_name=variables["AWS_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables["AWS_SESSION_TOKEN"],
    )


def test_a_cloud_that_is_busy_is_neither_ended_nor_forgotten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = servers.ensure_running(home)
    monkeypatch.setattr(servers, "HTTP_TIMEOUT", 0.1)
    os.kill(cloud.pid, signal.SIGSTOP)
    try:
        found = servers.status(home)
        assert (found.state, found.cloud) == ("silent", cloud)
        for act in (servers.ensure_running, servers.stop, servers.reset):
            with pytest.raises(servers.SandboxServerError, match="nothing was done"):
                act(home)
    finally:
        os.kill(cloud.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert servers.ensure_running(home) == cloud


def test_the_users_profile_does_not_matter(
    cloud: servers.Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "config"
    broken.write_text("[broken")
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(broken))
    assert servers.assume(cloud, "777788889999", "us-east-1").session_token


def test_what_leads_single_services_elsewhere_is_overridden(cloud: servers.Cloud) -> None:
    shell = {
        "AWS_ENDPOINT_URL_S3": "https://elsewhere",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }
    variables = servers.environment(cloud, "us-east-1", surroundings=shell)
    assert variables["AWS_ENDPOINT_URL_S3"] == cloud.endpoint
    assert variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "false"
    assert "AWS_ENDPOINT_URL_SQS" not in variables

"""API servers as background processes: found again, never two, restarted on their data."""

from __future__ import annotations

import os
import select
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.sandbox import clusters, servers
from infra.sandbox.clusters import ApiServer, Programs, Target
from infra.sandbox.engine.provider import ProviderError
from ops import render, sandbox
from tests.cluster.conftest import make_eks_cluster
from tests.cluster.reviews import Cluster

pytestmark = pytest.mark.sandbox

TARGET = Target(name="mono-repo-dev", authority="one")
NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "sandbox home"
    directory.mkdir()
    yield directory
    clusters.remove_all(directory)


def _processes(server: ApiServer) -> dict[str, int]:
    return clusters._processes(Path(server.directory))


def _kill(pid: int) -> None:
    """Kill a process, and see it end."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        ended, _, _ = select.select([process], [], [], 10)
        assert ended
    finally:
        os.close(process)


def _alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_cluster_is_started_once_shown_and_removed_without_a_trace(
    home: Path, programs: Programs
) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: clusters.ensure(home, TARGET, programs), range(2))
    assert first == second
    (status,) = clusters.known(home)
    assert (status.state, status.server) == ("running", first)
    assert first.version.startswith("v1.")
    assert 50 << 20 < status.memory < 2 << 30
    processes = _processes(first)
    assert set(processes) == {"etcd", "kube-apiserver"}

    assert clusters.remove_all(home) == 1
    assert clusters.known(home) == []
    assert not any(map(_alive, processes.values()))
    assert list(home.iterdir()) == []


def test_keys_are_readable_by_their_owner_alone(home: Path, programs: Programs) -> None:
    directory = Path(clusters.ensure(home, TARGET, programs).directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for file in [*directory.glob("*.key"), directory / "kubeconfig"]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_killed_api_server_is_noticed_and_started_again_on_its_data(
    home: Path, programs: Programs
) -> None:
    server = clusters.ensure(home, TARGET, programs)
    Cluster(server).create(NAMESPACES, {"metadata": {"name": "kept"}})
    _kill(_processes(server)["kube-apiserver"])
    assert [status.state for status in clusters.known(home)] == ["dead"]

    again = clusters.ensure(home, TARGET, programs)
    assert Cluster(again).is_there(f"{NAMESPACES}/kept")
    assert len(_processes(again)) == 2


def test_a_busy_api_server_is_left_alone_and_the_message_says_what_to_do(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = clusters.ensure(home, TARGET, programs)
    pid = _processes(server)["kube-apiserver"]
    monkeypatch.setattr(clusters, "PROBE_TIMEOUT", 0.2)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert [status.state for status in clusters.known(home)] == ["silent"]
        with pytest.raises(clusters.ClusterError, match=f"nothing was done.*kill -9.*{pid}"):
            clusters.ensure(home, TARGET, programs)
        assert _alive(pid)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_cluster_that_is_made_again_under_its_name_is_another_one(home: Path) -> None:
    assert Target(name="a", authority="one").key != Target(name="a", authority="two").key


def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    home: Path, programs: Programs, tmp_path: Path
) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho no such flag\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(clusters.ClusterError, match=r"did not start: .*no such flag"):
        clusters.ensure(home, TARGET, Programs(broken, programs.etcd))
    assert clusters._processes(home / clusters.FOLDER / TARGET.key) == {}


def test_an_api_server_ends_with_its_eks_cluster_its_cloud_and_their_reset(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = servers.ensure_running(home, port=0)
    try:
        one, two, three = (make_eks_cluster(home, cloud, name) for name in ("one", "two", "three"))
        ended = [_processes(cluster.server()) for cluster in (one, two)]
        monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
        report = sandbox.status(home)
        states = [(cluster["name"], cluster["state"]) for cluster in report.clusters]
        assert states == [("one", "running"), ("two", "running")]
        shown = [line.text for line in render.sandbox(report) if "cluster  two" in line.text]
        server = two.server()
        assert f"Kubernetes {server.version} at {server.endpoint}, running" in shown[0]

        one.client("eks").delete_cluster(name="one")
        assert [status.server.cluster for status in clusters.known(home)] == ["two"]
        servers.reset(home)
        assert clusters.known(home) == []
        with pytest.raises(ProviderError, match="three in us-east-1 does not exist"):
            three.provider().read("kubernetes:core/v1:ConfigMap", "default/a", {}, {})

        cloud = servers.status(home).cloud or cloud
        four = make_eks_cluster(home, cloud, "four")
        ended.append(_processes(four.server()))
    finally:
        servers.stop(home)
    assert clusters.known(home) == []
    assert not any(_alive(pid) for processes in ended for pid in processes.values())

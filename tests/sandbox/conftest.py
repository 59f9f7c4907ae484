"""One sandbox cloud for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.sandbox import servers


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Cloud]:
    """The sandbox's cloud, as its background process."""
    home = tmp_path_factory.mktemp("sandbox-cloud")
    yield servers.ensure_running(home, port=0)
    servers.stop(home)


@pytest.fixture(scope="session")
def cloud_environment(cloud: servers.Cloud) -> dict[str, str]:
    """The variables that point a provider at the cloud, in an account of its own."""
    session = servers.assume(cloud, "111122223333", "us-east-1")
    return servers.environment(cloud, "us-east-1", session)

"""Real API servers: one that stands alone, and one of an EKS cluster of the sandbox's cloud."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.sandbox import clusters, servers
from infra.sandbox.clusters import ApiServer, Programs, Target
from infra.sandbox.engine.composers import kubeconfig
from infra.sandbox.engine.drivers import registry
from infra.sandbox.engine.provider import Provider
from tests.cluster.reviews import Cluster

REGION = "us-east-1"
ACCOUNT = "111122223333"


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The real programs; without Go there is no way to have them."""
    found = clusters.programs()
    if found is None and shutil.which("go") is None:
        pytest.skip("no kube-apiserver and etcd were found, and no Go to build them: `make kube`")
    assert found is not None, "no kube-apiserver and etcd were found: build them with `make kube`"
    return found


@pytest.fixture(scope="session")
def api_server(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of its own, with a fresh etcd, for tests that need no cloud."""
    home = tmp_path_factory.mktemp("api-server")
    server = clusters.ensure(home, Target(name="alone", authority="alone"), programs)
    yield Cluster(server)
    clusters.remove_all(home)


@dataclass(frozen=True)
class EksCluster:
    """An EKS cluster of a sandbox's cloud."""

    home: Path
    """The sandbox's."""
    cloud: servers.Cloud
    environment: Mapping[str, str]
    """What points AWS clients at the cloud."""
    described: Mapping[str, Any]
    """As EKS describes it."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.described["name"])

    @property
    def kubeconfig(self) -> str:
        """What `aws eks update-kubeconfig` would write."""
        config = kubeconfig(
            name=self.name,
            endpoint=self.described["endpoint"],
            region=REGION,
            authority=self.described["certificateAuthority"]["data"],
            options={},
        )
        return json.dumps(config)

    @property
    def target(self) -> Target:
        """What its API server is found by."""
        authority = self.described["certificateAuthority"]["data"]
        return Target(name=self.name, authority=authority)

    def provider(self, **settings: object) -> Provider:
        """Configure the kubernetes provider for it."""
        config = {"kubeconfig": self.kubeconfig, **settings}
        return registry(self.environment, self.home).configure("kubernetes", config)

    def server(self) -> ApiServer:
        """Give its API server; it is started where it does not run."""
        programs = clusters.programs()
        assert programs is not None
        return clusters.ensure(self.home, self.target, programs)

    def client(self, service: str) -> Any:
        """Give a client of the cloud."""
        return _client(service, self.environment)


def _client(service: str, environment: Mapping[str, str]) -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment["AWS_SESSION_TOKEN"],
    )


def make_eks_cluster(home: Path, cloud: servers.Cloud, name: str) -> EksCluster:
    """Make an EKS cluster in a running cloud."""
    session = servers.assume(cloud, ACCOUNT, REGION)
    environment = servers.environment(cloud, REGION, session)
    subnets = _client("ec2", environment).describe_subnets()["Subnets"][:2]
    created = _client("eks", environment).create_cluster(
        name=name,
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/eks",
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"] for subnet in subnets]},
    )
    return EksCluster(home, cloud, environment, created["cluster"])


@pytest.fixture(scope="session")
def eks_cluster(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EksCluster]:
    """An EKS cluster in a cloud of its own."""
    home = tmp_path_factory.mktemp("sandbox")
    yield make_eks_cluster(home, servers.ensure_running(home, port=0), "mono-repo-dev")
    servers.stop(home)


@pytest.fixture
def cluster(eks_cluster: EksCluster) -> Cluster:
    """The EKS cluster's API server, wherever it is by now."""
    return Cluster(eks_cluster.server())


@pytest.fixture(scope="session")
def kubernetes(eks_cluster: EksCluster) -> Provider:
    """The kubernetes provider, configured for the EKS cluster."""
    return eks_cluster.provider()

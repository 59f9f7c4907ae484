"""From a kubeconfig to an API server: the EKS cluster is looked up, its API server started."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.sandbox import clusters
from infra.sandbox.clusters import ApiServer, ClusterError, Programs, Target
from infra.sandbox.engine.drivers.kubernetes.api import Client
from infra.sandbox.engine.drivers.kubernetes.settings import DELETE_UNREACHABLE, EksCluster
from infra.sandbox.engine.provider import ProviderError


class UnreachableError(ProviderError):
    """There is no cluster to talk to."""


class Connection:
    """One provider's way to its cluster's API server, made when it is first needed."""

    def __init__(
        self,
        cluster: EksCluster | None,
        environment: Mapping[str, str],
        home: Path,
        programs: Programs,
    ) -> None:
        self._cluster = cluster
        self._environment = environment
        self._home = home
        self._programs = programs
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def is_known(self) -> bool:
        """Tell whether the kubeconfig is known: not so before its cluster is made."""
        return self._cluster is not None

    def client(self) -> Client:
        """Give the way to the API server. Raises `UnreachableError` where the cluster is gone."""
        with self._lock:
            if self._client is None:
                self._target()
                self._client = Client(self._located)
            return self._client

    def _located(self) -> ApiServer:
        try:
            return clusters.ensure(self._home, self._target(), self._programs)
        except ClusterError as error:
            raise ProviderError(str(error)) from error

    def _target(self) -> Target:
        wanted = self._cluster
        if wanted is None:
            raise UnreachableError(
                "The kubernetes provider has no kubeconfig, and the sandbox never takes the one of"
                " whoever runs it. Nothing was changed. Give it the kubeconfig of an EKS cluster."
            )
        found = self._described(wanted)
        authority = ((found or {}).get("certificateAuthority") or {}).get("data")
        if found is None or authority != wanted.authority:
            other = "is another cluster now" if found else "does not exist"
            raise UnreachableError(
                f"configured Kubernetes cluster is unreachable: the EKS cluster {wanted.name} in"
                f" {wanted.region} {other}. If the cluster was deleted, you can remove this"
                " resource from Pulumi state by rerunning the operation with the"
                f' {DELETE_UNREACHABLE} environment variable set to "true"'
            )
        network = found.get("kubernetesNetworkConfig") or {}
        return Target(
            name=wanted.name,
            authority=wanted.authority,
            service_range=str(network.get("serviceIpv4Cidr") or clusters.SERVICE_RANGE),
        )

    def _described(self, wanted: EksCluster) -> dict[str, Any] | None:
        from infra.sandbox.engine.drivers.api import Api, ApiError

        api = Api({"region": wanted.region}, self._environment)
        try:
            answer = api.call("eks", "describe_cluster", {"name": wanted.name}, wanted.region)
        except ApiError as error:
            if error.gone:
                return None
            raise
        cluster: dict[str, Any] = answer["cluster"]
        return cluster

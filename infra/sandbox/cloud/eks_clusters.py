"""What an EKS cluster of the sandbox is besides its entry in moto: its API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.sandbox import clusters


def install(home: Path) -> None:
    """End a cluster's API server, and forget its objects, once the cluster is deleted."""
    from moto.eks import models

    delete = models.EKSBackend.delete_cluster

    def delete_cluster(self: Any, name: str) -> Any:
        cluster = self.clusters.get(name)
        answer = delete(self, name)
        clusters.remove(home, name, cluster.certificate_authority["data"])
        return answer

    models.EKSBackend.delete_cluster = delete_cluster  # type: ignore[method-assign]  # moto has no hooks

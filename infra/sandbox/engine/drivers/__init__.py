"""The providers that the sandbox's engine has in place of plugins."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from infra.sandbox.engine.drivers.config import plain_config
from infra.sandbox.engine.provider import Provider, ProviderRegistry, UnsupportedTypeError
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, reveal

PACKAGES = ("aws", "eks", "kubernetes")


class Registry:
    """Makes providers; two with the same configuration share their clients."""

    def __init__(self, environment: Mapping[str, str], home: Path | None) -> None:
        self._environment = dict(environment)
        self._home = home
        self._lock = threading.Lock()
        self._made: dict[str, Provider] = {}

    def configure(self, package: str, config: PropertyMap) -> Provider:
        """Give a provider; `config` is its resource's inputs, as the SDK or state writes them.

        Raises `UnsupportedTypeError` for an unknown package and `ProviderError` for an account
        that the configuration does not allow.
        """
        if package not in PACKAGES:
            raise UnsupportedTypeError(
                f"The sandbox's engine has no {package} provider: it knows {', '.join(PACKAGES)}."
                " Nothing was changed."
            )
        plain = plain_config(reveal(config))
        key = f"{package} {json.dumps(plain, sort_keys=True, default=_unknown)}"
        with self._lock:
            if key not in self._made:
                self._made[key] = self._provider(package, plain)
            return self._made[key]

    def _provider(self, package: str, config: PropertyMap) -> Provider:
        if package == "kubernetes":
            return self._kubernetes(config)
        # The eks package has components only; whatever else is asked of it has no row.
        from infra.sandbox.engine.drivers.aws import AwsProvider

        return AwsProvider(config if package == "aws" else {}, self._environment)

    def _kubernetes(self, config: PropertyMap) -> Provider:
        from infra.sandbox import clusters
        from infra.sandbox.engine.drivers.kubernetes import settings

        read = settings.read(config, self._environment)
        programs = clusters.programs() if self._home else None
        if self._home is None or programs is None:
            from infra.sandbox.engine.drivers.kubernetes.recorded import RecordedKubernetes

            return RecordedKubernetes(read)
        from infra.sandbox.engine.drivers.kubernetes.applied import AppliedKubernetes
        from infra.sandbox.engine.drivers.kubernetes.connection import Connection

        cluster = settings.eks_cluster(config)
        connection = Connection(cluster, self._environment, self._home, programs)
        return AppliedKubernetes(read, connection)


def _unknown(value: object) -> str:
    return repr(value) if value is UNKNOWN else str(value)


def registry(environment: Mapping[str, str], home: Path | None = None) -> ProviderRegistry:
    """Give the sandbox's providers; `environment` has the cloud's endpoint, keys and region.

    `home`: the sandbox's, where its clusters are. Without one, and where their programs are not to
    be found, Kubernetes objects are only recorded.
    """
    return Registry(environment, home)

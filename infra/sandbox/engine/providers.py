"""The configured providers of one update, by reference (``<urn>::<id>``)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from infra.sandbox.engine.diff import compare, top_level_keys
from infra.sandbox.engine.provider import (
    Provider,
    ProviderError,
    ProviderRegistry,
    UnsupportedTypeError,
)
from infra.sandbox.engine.state import Resource
from infra.sandbox.engine.wire import PropertyMap, reveal

_INTERNAL_KEY: Final = "__internal"
"""Where the CLI keeps its own notes among a provider's inputs."""

_REPLACING_CONFIG: Final[Mapping[str, tuple[str, ...]]] = {"kubernetes": ("clusterIdentifier",)}
"""By package, the configuration whose change means another world: its resources are replaced."""


def reference(resource: Resource) -> str:
    """Give the reference by which resources name this provider."""
    return f"{resource.urn}::{resource.id}"


def provider_config(inputs: PropertyMap) -> PropertyMap:
    """Give a provider's configuration, without what is not the provider's."""
    return {key: value for key, value in inputs.items() if key != _INTERNAL_KEY}


def replaces_resources(package: str, old: PropertyMap, new: PropertyMap) -> bool:
    """Tell whether resources must be replaced when they move between providers so configured."""
    changed = top_level_keys(compare(provider_config(old), provider_config(new)))
    return any(key in changed for key in _REPLACING_CONFIG.get(package, ()))


class Providers:
    """Configures providers when they are first needed, and keeps them. Thread-safe."""

    def __init__(self, registry: ProviderRegistry, known: Iterable[Resource] = ()) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._configured: dict[str, Provider | UnsupportedTypeError] = {}
        self._from_state = {reference(r): r for r in known if r.is_provider}

    def configure(self, resource: Resource, reference_: str | None = None) -> None:
        """Configure the provider that a resource stands for, anew.

        A package that the sandbox does not know is an error only when a resource needs it: remote
        components and stack references have providers that do nothing here.
        """
        key = reference_ or reference(resource)
        config: PropertyMap = reveal(provider_config(resource.inputs))
        try:
            provider: Provider | UnsupportedTypeError = self._registry.configure(
                resource.package, config
            )
        except UnsupportedTypeError as error:
            provider = error
        with self._lock:
            self._configured[key] = provider

    def ensure(self, resource: Resource) -> None:
        """Configure the provider that a resource stands for, unless it is."""
        with self._lock:
            known = reference(resource) in self._configured
        if not known:
            self.configure(resource)

    def get(self, reference_: str) -> Provider:
        """Give the provider with a reference; one of the state is configured from there."""
        with self._lock:
            provider = self._configured.get(reference_)
            resource = self._from_state.get(reference_)
        if provider is None and resource is not None:
            self.configure(resource)
            provider = self._configured[reference_]
        if provider is None:
            raise ProviderError(f"unknown provider '{reference_}'")
        if isinstance(provider, UnsupportedTypeError):
            raise provider
        return provider

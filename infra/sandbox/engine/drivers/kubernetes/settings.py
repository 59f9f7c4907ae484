"""What a kubernetes provider is configured with, and which EKS cluster its kubeconfig means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from infra.sandbox.engine.drivers.kubernetes.objects import MUTABLE_DATA
from infra.sandbox.engine.provider import ProviderError
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue

DELETE_UNREACHABLE: Final = "PULUMI_K8S_DELETE_UNREACHABLE"
_REFUSED: Final[Mapping[str, str]] = {
    "renderYamlToDirectory": "it applies objects, and writes no manifests",
    "helmReleaseSettings": "it has no Helm releases",
    "skipUpdateUnreachable": "its clusters are always reachable, or gone",
}
_IGNORED: Final = frozenset(
    {
        "alwaysRender",
        "clusterIdentifier",
        "kubeClientSettings",
        "suppressDeprecationWarnings",
        "suppressHelmHookWarnings",
        "version",
        "pluginDownloadURL",
    }
)
"""What has no effect on what is applied; the engine itself heeds ``clusterIdentifier``."""
_KNOWN: Final = _IGNORED | {
    *("cluster", "context", "deleteUnreachable", "enablePatchForce", "enableServerSideApply"),
    *("kubeconfig", "namespace", "upsertExistingObjects", *MUTABLE_DATA.values()),
}


@dataclass(frozen=True, kw_only=True)
class EksCluster:
    """The EKS cluster that a kubeconfig is for."""

    name: str
    region: str
    authority: str
    """Its certificate authority's data, in base64."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A provider's configuration."""

    namespace: str = ""
    """That of objects which name none."""
    patch_force: bool = False
    upsert: bool = False
    """Whether to take over objects that exist already."""
    delete_unreachable: bool = False
    mutable: frozenset[str] = frozenset()
    """Kinds whose data may be changed in place."""


def read(config: PropertyMap, environment: Mapping[str, str]) -> Settings:
    """Read a provider's configuration. Raises `ProviderError` for what the sandbox cannot do."""
    for key, value in config.items():
        reason = _REFUSED.get(key)
        if (reason and value not in (False, "", None)) or key not in {*_KNOWN, *_REFUSED}:
            raise _refused(f"has {key}", reason or "it does not know that setting")
    if _flag(config, "enableServerSideApply", default=True) is False:
        raise _refused("has enableServerSideApply false", "it applies on the server's side only")
    return Settings(
        namespace=str(config.get("namespace") or ""),
        patch_force=_flag(config, "enablePatchForce"),
        upsert=_flag(config, "upsertExistingObjects"),
        delete_unreachable=_flag(config, "deleteUnreachable")
        or environment.get(DELETE_UNREACHABLE, "").lower() in ("1", "true"),
        mutable=frozenset(kind for kind, key in MUTABLE_DATA.items() if _flag(config, key)),
    )


def _refused(what: str, reason: str) -> ProviderError:
    return ProviderError(
        f"The sandbox refuses a kubernetes provider that {what}: {reason}. Nothing was changed."
    )


def _flag(config: PropertyMap, key: str, *, default: bool = False) -> bool:
    value = config.get(key, default)
    return value is True or value == "true"


def eks_cluster(config: PropertyMap) -> EksCluster | None:
    """Tell which cluster a provider is for; None while its kubeconfig is not known, or missing.

    Raises `ProviderError` for one that is not of the sandbox's cloud.
    """
    given = config.get("kubeconfig")
    if given in (None, "", UNKNOWN):
        return None
    kubeconfig = _parsed(given)
    context = _named(
        kubeconfig, "contexts", config.get("context") or kubeconfig.get("current-context")
    )
    where = _named(kubeconfig, "clusters", config.get("cluster") or context.get("cluster"))
    user = _named(kubeconfig, "users", context.get("user"))
    arguments = [str(word) for word in (user.get("exec") or {}).get("args") or []]
    name, region = _after(arguments, "--cluster-name"), _after(arguments, "--region")
    authority = where.get("certificate-authority-data")
    if not (name and region and authority):
        raise _refused(
            "is for another cluster than one of its own cloud",
            "it knows a cluster by the kubeconfig's certificate-authority-data, and by a user whose"
            " token comes from `aws eks get-token --cluster-name NAME --region REGION`",
        )
    return EksCluster(name=name, region=region, authority=str(authority))


def _parsed(given: PropertyValue) -> Mapping[str, Any]:
    parsed = given
    if isinstance(given, str):
        import yaml

        try:
            parsed = yaml.safe_load(given)
        except yaml.YAMLError:
            parsed = None
    if not isinstance(parsed, Mapping):
        raise _refused("has no kubeconfig's content", "it reads no kubeconfig files")
    return parsed


def _named(kubeconfig: Mapping[str, Any], kind: str, name: object) -> Mapping[str, Any]:
    """Give a kubeconfig's entry of a name: ``clusters`` hold a ``cluster``, and so on."""
    entries: Sequence[Mapping[str, Any]] = kubeconfig.get(kind) or []
    found = next((entry for entry in entries if entry.get("name") == name), None)
    content = (found or {}).get(kind.removesuffix("s"))
    return content if isinstance(content, Mapping) else {}


def _after(words: Sequence[str], flag: str) -> str:
    return next((after for word, after in pairwise(words) if word == flag), "")

"""The way to a cluster's API on AWS: its token, and what is said where there is no way."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from infra.sandbox import certificates
from ops import kubernetes
from ops.access import Access
from ops.kubernetes import NoClusterError, UnreachableClusterError


def _access(described: dict[str, Any]) -> Access:
    eks = SimpleNamespace(describe_cluster=lambda **_: {"cluster": described})
    clients = {"eks": eks, "sts": boto3.client("sts", region_name="us-east-1")}
    return cast(
        "Access",
        SimpleNamespace(mode="aws", environment="dev", caller="", client=clients.__getitem__),
    )


def test_a_token_is_a_signed_question_who_asks_bound_to_one_cluster() -> None:
    sts = boto3.client("sts", region_name="us-east-1")
    for _ in range(2):
        kubernetes._register_header(sts)
    scheme, _, encoded = kubernetes._token(sts, "mono-repo-dev").partition(".")
    padded = encoded + "=" * (-len(encoded) % 4)
    asked = parse_qs(urlsplit(base64.urlsafe_b64decode(padded).decode()).query)
    assert scheme == "k8s-aws-v1"
    assert asked["Action"] == ["GetCallerIdentity"]
    assert asked["X-Amz-SignedHeaders"] == ["host;x-k8s-aws-id"]
    assert asked["X-Amz-Expires"] == ["60"]


@pytest.mark.parametrize(
    ("public", "said"),
    [(False, "Its endpoint is private: run this on a machine inside the VPC"), (True, "admits")],
)
def test_an_endpoint_that_is_not_reached_from_here_is_told_with_the_way_to_it(
    public: bool, said: str, tmp_path: Path
) -> None:
    authority = certificates.ensure(tmp_path, "127.0.0.1").authority
    described = {
        "name": "mono-repo-dev",
        "status": "ACTIVE",
        "endpoint": "https://127.0.0.1:1",
        "certificateAuthority": {"data": base64.b64encode(authority.read_bytes()).decode()},
        "resourcesVpcConfig": {"endpointPrivateAccess": True, "endpointPublicAccess": public},
    }
    with pytest.raises(UnreachableClusterError, match=said):
        kubernetes.api_client(_access(described))


def test_a_cluster_that_is_being_made_has_no_api_yet() -> None:
    described = {"name": "mono-repo-dev", "status": "CREATING"}
    with pytest.raises(NoClusterError, match="is CREATING and has no API yet"):
        kubernetes.api_client(_access(described))

"""A cluster's objects in a backup, and applied again: on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from infra import naming
from ops.backup import cluster
from ops.backup.cluster import Kind, Manifest
from ops.restore import objects
from tests.cluster.conftest import api_server, programs
from tests.cluster.reviews import Cluster

__all__ = ["api_server", "programs"]

NAMESPACES = Kind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)
LABELLED = {"labels": dict(naming.CLUSTER_LABELS)}


def made(kind: str, name: str, api: str = "v1", namespace: str = "", **rest: Any) -> Manifest:
    """Give an object."""
    metadata = {"name": name, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


@pytest.fixture(scope="module")
def client(api_server: Cluster) -> Iterator[ApiClient]:
    """A client of a real API server, with an operator's objects on it."""
    certificate, key = api_server.server.certificates.administrator
    configuration = Configuration(host=api_server.server.endpoint)
    configuration.ssl_ca_cert = str(api_server.server.certificates.authority)
    configuration.cert_file, configuration.key_file = str(certificate), str(key)
    with ApiClient(configuration) as found:
        objects.apply_all(found, cluster.in_order(DECLARED))
        yield found


POD = {
    "metadata": {"labels": {"app": "api"}},
    "spec": {"containers": [{"name": "api", "image": "api:1"}]},
}
DECLARED: list[Manifest] = [
    made("Deployment", "api", "apps/v1", "services", spec={
        "replicas": 2, "selector": {"matchLabels": {"app": "api"}}, "template": POD}),
    made("Service", "api", namespace="services", spec={
        "selector": {"app": "api"}, "ports": [{"port": 80}]}),
    made("ConfigMap", "flags", namespace="services", data={"colour": "blue"}),
    made("Secret", "login", namespace="services", stringData={"password": "v3ry-s3cret"}),
    made("PersistentVolumeClaim", "data", namespace="services", spec={
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
    made("Namespace", "services"),
    made("Namespace", "web", metadata=LABELLED),
    made("ConfigMap", "by-program", namespace="web", metadata=LABELLED, data={"a": "b"}),
    made("CustomResourceDefinition", "backups.example.com", "apiextensions.k8s.io/v1", spec={
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "backups", "singular": "backup", "kind": "Backup"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    }),
]  # fmt: skip
NAMES = {
    "v1 Namespace services",
    "v1 Namespace web",
    "v1 ConfigMap services/flags",
    "v1 ConfigMap web/by-program",
    "v1 Secret services/login",
    "v1 Service services/api",
    "v1 PersistentVolumeClaim services/data",
    "apps/v1 Deployment services/api",
    "apiextensions.k8s.io/v1 CustomResourceDefinition backups.example.com",
}


def named(manifests: list[Manifest], name: str) -> Manifest:
    """Give the one of a name."""
    (found,) = [item for item in manifests if objects.identity(item) == name]
    return found


def test_exactly_what_somebody_declared_is_kept(client: ApiClient) -> None:
    assert {objects.identity(item) for item in cluster.objects(client)} == NAMES


def test_nothing_is_kept_that_a_server_fills_in(client: ApiClient) -> None:
    found = cluster.objects(client)
    for item in found:
        assert "status" not in item
        assert not {"managedFields", "uid", "resourceVersion"} & item["metadata"].keys()
    assert "clusterIP" not in named(found, "v1 Service services/api")["spec"]


def test_secrets_are_in_no_file_of_manifests(client: ApiClient) -> None:
    found = cluster.objects(client)
    files = cluster.files(found)
    assert set(files) == {"0-cluster.yaml", "namespace-services.yaml", "namespace-web.yaml"}
    assert b"Secret" not in b"".join(files.values())
    (secret,) = cluster.secrets(found)
    assert objects.identity(secret) == "v1 Secret services/login"
    kept = [item for content in files.values() for item in cluster.parse(content)]
    assert cluster.in_order([*kept, secret]) == found, "as it was, from files"


def test_what_is_there_unchanged_lacks_nothing(client: ApiClient) -> None:
    wanted = objects.operators(cluster.objects(client), {})
    assert objects.lacking(client, wanted) == []


def test_what_is_missing_or_was_edited_is_put_back_and_nothing_else(client: ApiClient) -> None:
    wanted = objects.operators(cluster.objects(client), {})
    flags = Kind(api_version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
    services = Kind(api_version="v1", kind="Service", plural="services", namespaced=True)
    cluster.request(
        client, "PATCH", flags.path("services", "flags"),
        body={"data": {"colour": "red"}}, content_type="application/merge-patch+json",
    )  # fmt: skip
    cluster.request(client, "DELETE", services.path("services", "api"))
    lacking = objects.lacking(client, wanted)
    assert set(lacking) == {"v1 ConfigMap services/flags", "v1 Service services/api"}
    objects.apply_all(client, [item for item in wanted if objects.identity(item) in lacking])
    assert objects.lacking(client, wanted) == []


def test_the_programs_objects_are_left_to_it(client: ApiClient) -> None:
    wanted = {objects.identity(item) for item in objects.operators(cluster.objects(client), {})}
    assert NAMES - wanted == {"v1 Namespace web", "v1 ConfigMap web/by-program"}


def test_a_namespace_can_be_restored_as_another(client: ApiClient) -> None:
    wanted = objects.operators(cluster.objects(client), {"services": "services-copy"})
    assert objects.apply_all(client, wanted) == len(wanted)
    live = cluster.request(client, "GET", "/api/v1/namespaces/services-copy/configmaps/flags")
    assert live["data"] == {"colour": "blue"}
    cluster.request(client, "DELETE", NAMESPACES.path(name="services-copy"))


def test_a_dry_run_tells_what_would_be_refused_and_changes_nothing(client: ApiClient) -> None:
    objects.make_namespace(client, "rehearsal")
    bad = made("Service", "bad", namespace="services", spec={"ports": [{"port": 99999}]})
    unknown = made("Widget", "w", "example.org/v1", "services")
    wanted = objects.operators(cluster.objects(client), {})
    refused = objects.refusals(client, [*wanted, bad, unknown], "rehearsal")
    assert len(refused) == 2
    assert "99999" in refused[0]
    assert "not installed" in refused[1]
    listed = cluster.request(client, "GET", "/api/v1/namespaces/rehearsal/services")
    assert listed["items"] == []
    objects.remove_namespace(client, "rehearsal")


def test_a_refused_secret_is_not_repeated(client: ApiClient) -> None:
    objects.make_namespace(client, "rehearsal-2")
    bad = made("Secret", "bad", namespace="services", data={"password": "v3ry-s3cret!"})
    (said,) = objects.refusals(client, [bad], "rehearsal-2")
    assert "v3ry" not in said


@pytest.mark.parametrize(
    "found",
    [
        made("Pod", "api-1", namespace="web", metadata={"ownerReferences": [{"kind": "Job"}]}),
        made("ServiceAccount", "default", namespace="web"),
        made("ConfigMap", "kube-root-ca.crt", namespace="web"),
        made("ClusterRole", "system:node", "rbac.authorization.k8s.io/v1"),
        made("ClusterRole", "eks:addon", "rbac.authorization.k8s.io/v1"),
        made("ConfigMap", "coredns", namespace="kube-system"),
        made("Namespace", "kube-system"),
        made("Secret", "t", namespace="web", type="kubernetes.io/service-account-token"),
        made("ClusterRole", "edit", "rbac.authorization.k8s.io/v1", metadata={
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
    ],
    ids=lambda item: item["metadata"]["name"],
)  # fmt: skip
def test_what_the_cluster_makes_by_itself_is_left_out(found: Manifest) -> None:
    assert not cluster.is_declared(found)


def test_a_job_can_be_applied_again() -> None:
    labels = {"controller-uid": "x", "batch.kubernetes.io/controller-uid": "x", "app": "a"}
    spec = {"selector": {"matchLabels": {"controller-uid": "x"}},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {}}}  # fmt: skip
    clean = cluster.applicable(made("Job", "j", "batch/v1", "web", spec=spec))
    assert "selector" not in clean["spec"]
    assert json.loads(json.dumps(clean["spec"]["template"]["metadata"]["labels"])) == {"app": "a"}

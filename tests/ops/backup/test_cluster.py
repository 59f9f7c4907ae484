"""A cluster's objects in a backup, and applied again: on a real API server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException

from infra import naming
from ops.backup import cluster
from ops.backup.cluster import Kind, Manifest
from ops.errors import OpsError
from ops.restore import objects
from tests.cluster.conftest import api_server, programs
from tests.cluster.reviews import Cluster

__all__ = ["api_server", "programs"]

pytestmark = pytest.mark.sandbox

NAMESPACES = Kind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)
LABELLED = {"labels": dict(naming.CLUSTER_LABELS)}


def made(kind: str, name: str, api: str = "v1", namespace: str = "", **rest: Any) -> Manifest:
    """Give an object."""
    metadata = {"name": name, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def definition(plural: str, kind: str, *versions: str, group: str = "example.com") -> Manifest:
    """Give the definition of a kind; its first version is the stored one."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = [
        {"name": version, "served": True, "storage": version == versions[0], "schema": schema}
        for version in versions
    ]
    return made("CustomResourceDefinition", f"{plural}.{group}", "apiextensions.k8s.io/v1", spec={
        "group": group, "scope": "Namespaced", "versions": served,
        "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
    })  # fmt: skip


def webhooks(kind: str, name: str, **client: Any) -> Manifest:
    """Give the configuration of a webhook that judges what is in a namespace `judged`."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
            "resources": ["configmaps"]}  # fmt: skip
    webhook = {
        "name": "judge.example.com", "clientConfig": client, "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "judged"}},
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
    }  # fmt: skip
    return made(kind, name, "admissionregistration.k8s.io/v1", webhooks=[webhook])


@contextlib.contextmanager
def removed(client: ApiClient, manifests: Sequence[Manifest]) -> Iterator[None]:
    """Delete objects in the end: the server has no controller that empties a namespace."""
    try:
        yield
    finally:
        served = {(kind.api_version, kind.kind): kind for kind in cluster.served(client)}
        for item in reversed(manifests):
            kind, metadata = served[item["apiVersion"], item["kind"]], item["metadata"]
            with contextlib.suppress(ApiException):  # it was not made, or not anew
                path = kind.path(metadata.get("namespace", ""), metadata["name"])
                cluster.request(client, "DELETE", path)


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
    # The group prefers v1, which has no drafts.
    definition("backups", "Backup", "v1", "v1beta1"),
    definition("drafts", "Draft", "v1alpha1"),
    made("Backup", "nightly", "example.com/v1", "services", spec={"hour": 3}),
    made("Draft", "idea", "example.com/v1alpha1", "services", spec={"text": "x"}),
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
    "apiextensions.k8s.io/v1 CustomResourceDefinition drafts.example.com",
    "example.com/v1 Backup services/nightly",
    "example.com/v1alpha1 Draft services/idea",
}


def named(manifests: list[Manifest], name: str) -> Manifest:
    """Give the one of a name."""
    (found,) = [item for item in manifests if objects.identity(item) == name]
    return found


def kept(client: ApiClient) -> set[str]:
    """Give the names of what a backup would keep."""
    return {objects.identity(item) for item in cluster.objects(client)}


def test_exactly_what_somebody_declared_is_kept(client: ApiClient) -> None:
    assert kept(client) == NAMES


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
        made("Secret", "webhook-cert", namespace="amazon-cloudwatch"),
        made("ClusterRole", "aws-node", "rbac.authorization.k8s.io/v1"),
        made("ClusterRoleBinding", "ebs-csi-node-binding", "rbac.authorization.k8s.io/v1"),
        made("CSIDriver", "ebs.csi.aws.com", "storage.k8s.io/v1"),
        made("CustomResourceDefinition", "cninodes.vpcresources.k8s.aws",
             "apiextensions.k8s.io/v1"),
        webhooks("MutatingWebhookConfiguration", "pod-identity-webhook", url="https://a.example"),
        webhooks("MutatingWebhookConfiguration", "local", url="https://127.0.0.1:23443/mutate"),
        webhooks("ValidatingWebhookConfiguration", "vpc-resource-validating-webhook"),
        made("Namespace", "kube-system"),
        made("Secret", "t", namespace="web", type="kubernetes.io/service-account-token"),
        made("ClusterRole", "edit", "rbac.authorization.k8s.io/v1", metadata={
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
    ],
    ids=lambda item: item["metadata"]["name"],
)  # fmt: skip
def test_what_the_cluster_makes_by_itself_is_left_out(found: Manifest) -> None:
    assert not cluster.is_declared(found)


@pytest.mark.parametrize(
    "found",
    [
        webhooks("ValidatingWebhookConfiguration", "w", service={"name": "w", "namespace": "web"}),
        webhooks("ValidatingWebhookConfiguration", "w", url="https://policy.example.com/judge"),
        made("ClusterRole", "ebs-readers", "rbac.authorization.k8s.io/v1"),
        made("SecurityGroupPolicy", "db", "vpcresources.k8s.aws/v1beta1", "web"),
        made("CronJob", "nightly", "batch/v1", "web"),
    ],
    ids=lambda item: item["metadata"]["name"],
)
def test_what_operators_declare_is_kept_and_restored(found: Manifest) -> None:
    assert cluster.is_declared(found)
    assert objects.operators([found], {}) == [found]


@pytest.mark.parametrize(
    "old",
    [
        made("Job", "migrate", "batch/v1", "web"),
        made("Pod", "debug", namespace="web"),
        webhooks("MutatingWebhookConfiguration", "pod-identity-webhook", url="https://127.0.0.1/"),
        made("ClusterRole", "aws-node", "rbac.authorization.k8s.io/v1"),
        made("ConfigMap", "fluent-bit-config", namespace="amazon-cloudwatch"),
    ],
    ids=lambda item: item["metadata"]["name"],
)
def test_what_an_older_backup_holds_of_eks_or_of_what_ran_once_is_not_restored(
    old: Manifest,
) -> None:
    assert objects.operators([old], {}) == []


def test_what_eks_applies_is_left_out_whatever_its_name(client: ApiClient) -> None:
    roles = Kind(api_version="rbac.authorization.k8s.io/v1", kind="ClusterRole",
                 plural="clusterroles", namespaced=False)  # fmt: skip
    names = {"eks": "of-an-add-on", "kubectl": "of-an-operator"}
    applied = [made("ClusterRole", name, roles.api_version, rules=[]) for name in names.values()]
    before = kept(client)
    with removed(client, applied):
        for manager, manifest in zip(names, applied, strict=True):
            cluster.request(
                client, "PATCH", roles.path(name=names[manager]), body=json.dumps(manifest),
                query=[("fieldManager", manager)], content_type="application/apply-patch+yaml",
            )  # fmt: skip
        found = kept(client)
    assert found - before == {"rbac.authorization.k8s.io/v1 ClusterRole of-an-operator"}


def test_what_runs_once_is_not_kept(client: ApiClient) -> None:
    spec = {"containers": [{"name": "m", "image": "m:1"}], "restartPolicy": "Never"}
    once = [
        made("ServiceAccount", "default", namespace="services"),
        made("Pod", "debug", namespace="services", spec=spec),
        made("Job", "migrate", "batch/v1", "services", spec={"template": {"spec": spec}}),
    ]
    before = kept(client)
    with removed(client, once):
        objects.apply_all(client, once)
        assert kept(client) == before


def test_an_object_is_found_in_another_version_than_its_server_prefers(client: ApiClient) -> None:
    older = made("Backup", "nightly", "example.com/v1beta1", "services", spec={"hour": 3})
    assert objects.lacking(client, [older]) == []
    assert objects.lacking(client, [{**older, "spec": {"hour": 4}}]) == [objects.identity(older)]


def test_what_others_need_comes_first_and_what_judges_them_last() -> None:
    web = [
        made("Deployment", "a", "apps/v1", "web"),
        made("Service", "a", namespace="web"),
        made("RoleBinding", "a", "rbac.authorization.k8s.io/v1", "web"),
        made("ConfigMap", "a", namespace="web"),
        made("Secret", "a", namespace="web"),
        made("ServiceAccount", "a", namespace="web"),
    ]
    found = cluster.in_order([
        webhooks("MutatingWebhookConfiguration", "a"),
        made("ValidatingAdmissionPolicyBinding", "a", "admissionregistration.k8s.io/v1"),
        *web,
        made("ClusterRole", "a", "rbac.authorization.k8s.io/v1"),
        made("Namespace", "web"),
        made("CustomResourceDefinition", "a.example.com", "apiextensions.k8s.io/v1"),
    ])  # fmt: skip
    assert [item["kind"] for item in found] == [
        "CustomResourceDefinition",
        "Namespace",
        "ClusterRole",
        *(item["kind"] for item in reversed(web)),
        "ValidatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
    ]
    assert list(cluster.files(found)) == [
        "0-cluster.yaml", "namespace-web.yaml", "z-admission.yaml",
    ]  # fmt: skip


def test_a_webhook_that_nothing_serves_yet_holds_up_nothing(client: ApiClient) -> None:
    service = {"name": "judge", "namespace": "judged"}
    wanted = cluster.in_order([
        webhooks("ValidatingWebhookConfiguration", "judge", service=service),
        made("ConfigMap", "a", namespace="judged"),
        made("Namespace", "judged"),
    ])  # fmt: skip
    with removed(client, wanted):
        assert objects.apply_all(client, wanted) == 3


def test_what_is_refused_holds_up_nothing_and_is_tried_again(client: ApiClient) -> None:
    late = [made("ConfigMap", "a", namespace="late"), made("Namespace", "late")]
    bad = made("Service", "bad", namespace="services", spec={"ports": [{"port": 99999}]})
    unknown = made("Widget", "w", "example.org/v1", "services")
    with removed(client, late):
        with pytest.raises(OpsError) as raised:
            objects.apply_all(client, [bad, unknown, *late])
        assert objects.lacking(client, late) == []
    said = str(raised.value)
    assert said.startswith("2 of 4 objects were not applied, all the others were:")
    assert "v1 Service services/bad was refused: " in said
    assert "example.org/v1 Widget services/w: the cluster does not know its kind" in said


def test_what_cannot_be_changed_in_place_is_named_and_the_rest_is_restored(
    client: ApiClient,
) -> None:
    fixed = made("ConfigMap", "fixed", namespace="services", immutable=True, data={"a": "1"})
    wanted = [{**fixed, "data": {"a": "2"}}, made("ConfigMap", "b", namespace="services")]
    with removed(client, wanted):
        objects.apply_all(client, [fixed])
        assert objects.lacking(client, wanted) == [objects.identity(item) for item in wanted]
        with pytest.raises(OpsError, match=r"ConfigMap services/fixed was refused: .*immutable"):
            objects.apply_all(client, wanted)
        assert objects.lacking(client, wanted) == ["v1 ConfigMap services/fixed"]


def test_a_definition_that_is_never_served_is_named(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SERVED_SECONDS", 0.0)
    taken = definition("copies", "Backup", "v1")  # the group has a kind of that name
    with (
        removed(client, [taken]),
        pytest.raises(OpsError, match=r"copies\.example\.com was applied"),
    ):
        objects.apply_all(client, [taken])


def test_a_nodes_port_stays_with_the_service_that_has_it(client: ApiClient) -> None:
    port = {"port": 80, "nodePort": 30080}
    service = made("Service", "door", namespace="services",
                   spec={"type": "NodePort", "ports": [port]})  # fmt: skip
    copies = [made("Namespace", "copy"), *objects.operators([service], {"services": "copy"})]
    with removed(client, [*copies, service]):
        objects.apply_all(client, [service, *copies])
        assert objects.refusals(client, [service], "copy") == []
        assert objects.lacking(client, [service, *copies]) == []
        (live,) = cluster.request(client, "GET", "/api/v1/namespaces/copy/services")["items"]
    assert live["spec"]["ports"][0]["nodePort"] not in (None, 30080)


def test_a_scratch_namespace_is_found_until_it_is_deleted(client: ApiClient) -> None:
    for name in ("scratch-1", "scratch-2"):
        objects.make_namespace(client, name)
    objects.remove_namespace(client, "scratch-1")
    assert objects.namespaces(client, "scratch-") == ["scratch-2"]
    objects.remove_namespace(client, "scratch-2")
    assert objects.namespaces(client, "scratch-") == []

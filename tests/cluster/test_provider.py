"""What the kubernetes provider refuses, takes over, previews, imports and cleans up."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import clusters
from infra.sandbox.engine.drivers import registry
from infra.sandbox.engine.drivers.kubernetes import applied
from infra.sandbox.engine.provider import Provider, ProviderError, UnsupportedTypeError
from infra.sandbox.engine.wire import UNKNOWN
from tests.cluster.conftest import EksCluster
from tests.cluster.reviews import Cluster

pytestmark = pytest.mark.sandbox

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
NAMESPACE = "kubernetes:core/v1:Namespace"
SECRET = "kubernetes:core/v1:Secret"
Json = dict[str, Any]


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"


def _config_map(name: str, namespace: str = "default", **data: str) -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data or {"key": "value"}}


def _path(name: str, namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _made(provider: Provider, type_: str, inputs: Json) -> tuple[str, Json, Json]:
    checked = provider.check(type_, "logical", None, inputs).inputs
    id_, outputs = provider.create(type_, "logical", checked)
    return id_, checked, outputs


def test_what_exists_is_not_taken_over_unless_the_provider_says_so(
    eks_cluster: EksCluster, kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    cluster.create("/api/v1/namespaces/default/configmaps", _config_map(name, key="theirs"))
    with pytest.raises(ProviderError, match=r"already exists in the cluster\. Nothing was changed"):
        _made(kubernetes, CONFIG_MAP, _config_map(name, key="ours"))
    assert cluster.get(_path(name))["data"] == {"key": "theirs"}

    taking_over = eks_cluster.provider(upsertExistingObjects="true", enablePatchForce="true")
    _made(taking_over, CONFIG_MAP, _config_map(name, key="ours"))
    assert cluster.get(_path(name))["data"] == {"key": "ours"}


def test_a_field_that_a_controller_took_is_a_conflict_until_it_is_forced(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    first = {**inputs, "data": {"key": "second"}}
    outputs = kubernetes.update(CONFIG_MAP, id_, inputs, outputs, first)
    cluster.edit(_path(name), {"data": {"key": "theirs"}}, manager="some-controller")

    ours = {**inputs, "data": {"key": "third"}}
    with pytest.raises(ProviderError, match=r'some-controller.*\n.*pulumi\.com/patchForce: "true"'):
        kubernetes.update(CONFIG_MAP, id_, inputs, outputs, ours)
    assert cluster.get(_path(name))["data"] == {"key": "theirs"}

    notes = {**inputs["metadata"], "annotations": {"pulumi.com/patchForce": "true"}}
    kubernetes.update(CONFIG_MAP, id_, inputs, outputs, {**ours, "metadata": notes})
    assert cluster.get(_path(name))["data"] == {"key": "third"}


def test_an_object_has_one_field_manager_of_its_own(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    changed = {**inputs, "data": {"other": "value"}}
    after = kubernetes.update(CONFIG_MAP, id_, inputs, outputs, changed)
    managers = cluster.get(_path(name))["metadata"]["managedFields"]
    assert [(entry["manager"], entry["operation"]) for entry in managers] == [
        (outputs["__fieldManager"], "Apply")
    ]
    assert after["__fieldManager"] == outputs["__fieldManager"]
    assert cluster.get(_path(name))["data"] == {"other": "value"}, "what is not said is gone"


def test_what_others_add_to_an_object_stays(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    cluster.edit(_path(name), {"metadata": {"labels": {"added": "by-a-tool"}}}, manager="tool")
    read = kubernetes.read(CONFIG_MAP, id_, inputs, outputs)
    assert read is not None
    assert read.inputs == inputs
    kubernetes.update(CONFIG_MAP, id_, inputs, outputs, {**inputs, "data": {"key": "new"}})
    assert cluster.get(_path(name))["metadata"]["labels"] == {"added": "by-a-tool"}


def test_an_object_without_a_name_gets_one_and_keeps_it(
    kubernetes: Provider, cluster: Cluster
) -> None:
    id_, inputs, _ = _made(kubernetes, CONFIG_MAP, {"data": {"key": "value"}})
    name = id_.removeprefix("default/")
    assert name.startswith("logical-")
    assert len(name) == len("logical-") + 8
    assert cluster.is_there(_path(name))
    again = kubernetes.check(CONFIG_MAP, "logical", inputs, {"data": {"key": "other"}}).inputs
    assert again["metadata"]["name"] == name
    replaced = kubernetes.diff(CONFIG_MAP, id_, inputs, {}, again)
    assert replaced.replace_keys == ("data.key",)
    assert not replaced.delete_before_replace, "its successor has another name"


def test_an_object_is_imported_by_namespace_and_name(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    cluster.create("/api/v1/namespaces/default/configmaps", _config_map(name, key="theirs"))
    found = kubernetes.read(CONFIG_MAP, f"default/{name}", {}, {})
    assert found is not None
    assert found.inputs == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"key": "theirs"},
    }
    wanted = kubernetes.check(CONFIG_MAP, "x", None, _config_map(name, key="theirs")).inputs
    assert not kubernetes.diff(CONFIG_MAP, found.id, found.inputs, found.outputs, wanted).changes
    assert kubernetes.read(CONFIG_MAP, "default/no-such", {}, {}) is None


def test_an_interrupted_create_is_found(kubernetes: Provider, cluster: Cluster, name: str) -> None:
    inputs = kubernetes.check(CONFIG_MAP, "logical", None, _config_map(name)).inputs
    assert kubernetes.find(CONFIG_MAP, "logical", inputs) == ()
    id_, _ = kubernetes.create(CONFIG_MAP, "logical", inputs)
    assert kubernetes.find(CONFIG_MAP, "logical", inputs) == (id_,)
    theirs = kubernetes.check(CONFIG_MAP, "logical", None, _config_map(f"{name}-2")).inputs
    cluster.create("/api/v1/namespaces/default/configmaps", _config_map(f"{name}-2"))
    assert kubernetes.find(CONFIG_MAP, "logical", theirs) == ()


def test_a_property_that_the_kind_lacks_is_refused_in_preview_already(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    wrong = kubernetes.check(CONFIG_MAP, "x", None, {**_config_map(name), "dta": {}}).inputs
    with pytest.raises(ProviderError, match='unknown field "dta"'):
        kubernetes.preview_outputs(CONFIG_MAP, wrong, None)
    with pytest.raises(ProviderError, match='unknown field "dta"'):
        kubernetes.create(CONFIG_MAP, "x", wrong)
    assert not cluster.is_there(_path(name))


def test_a_preview_knows_what_the_api_server_adds_and_not_what_it_makes_up(
    kubernetes: Provider, name: str
) -> None:
    service = {
        "metadata": {"name": name},
        "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]},
    }
    type_ = "kubernetes:core/v1:Service"
    inputs = kubernetes.check(type_, "x", None, service).inputs
    planned = kubernetes.preview_outputs(type_, inputs, None)
    assert planned["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert planned["metadata"]["uid"] is UNKNOWN


def test_a_preview_of_an_update_changes_nothing(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    planned = kubernetes.preview_outputs(CONFIG_MAP, {**inputs, "data": {"key": "new"}}, outputs)
    assert planned["data"] == {"key": "new"}
    assert planned["__fieldManager"] == outputs["__fieldManager"]
    assert cluster.get(_path(name))["data"] == {"key": "value"}
    kubernetes.delete(CONFIG_MAP, id_, inputs, outputs)


def test_objects_can_be_previewed_before_their_namespace_or_cluster_is_there(
    eks_cluster: EksCluster, kubernetes: Provider, name: str
) -> None:
    inputs = kubernetes.check(CONFIG_MAP, "x", None, _config_map("a", namespace=name)).inputs
    planned = kubernetes.preview_outputs(CONFIG_MAP, inputs, None)
    assert planned["data"] == {"key": "value"}
    assert planned["metadata"]["uid"] is UNKNOWN
    unknown = registry(eks_cluster.environment, eks_cluster.home).configure(
        "kubernetes", {"kubeconfig": UNKNOWN}
    )
    assert unknown.preview_outputs(CONFIG_MAP, inputs, None) == planned


def test_an_object_waits_for_the_namespace_that_is_made_beside_it(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    beside = threading.Timer(
        0.3, cluster.create, ("/api/v1/namespaces", {"metadata": {"name": name}})
    )
    beside.start()
    _made(kubernetes, CONFIG_MAP, _config_map("a", namespace=name))
    beside.join()
    assert cluster.is_there(_path("a", name))
    kubernetes.delete(NAMESPACE, name, {}, {})


def test_a_namespace_goes_with_all_that_is_in_it(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, NAMESPACE, {"metadata": {"name": name}})
    assert id_ == name
    _made(kubernetes, CONFIG_MAP, _config_map("a", namespace=name))
    claims = f"/api/v1/namespaces/{name}/persistentvolumeclaims"
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    cluster.create(claims, {"metadata": {"name": "data"}, "spec": claim})
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/roles"
    cluster.create(roles, {"metadata": {"name": "by-hand"}, "rules": []})

    kubernetes.delete(NAMESPACE, id_, inputs, outputs)
    assert not cluster.is_there(f"/api/v1/namespaces/{name}")
    again, _, _ = _made(kubernetes, NAMESPACE, {"metadata": {"name": name}})
    assert cluster.get(claims)["items"] == [], "nothing of the old one is in the new one"
    kubernetes.delete(NAMESPACE, again, {}, {})


def test_a_foreign_finalizer_is_not_removed_and_the_message_names_it(
    kubernetes: Provider, cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    cluster.edit(_path(name), {"metadata": {"finalizers": ["example.com/backup"]}})
    monkeypatch.setattr(applied, "DELETE_DEADLINE", 0.1)
    with pytest.raises(ProviderError, match=r"still being deleted.*example\.com/backup"):
        kubernetes.delete(CONFIG_MAP, id_, inputs, outputs)
    assert cluster.is_there(_path(name))
    cluster.edit(_path(name), {"metadata": {"finalizers": None}})
    assert not cluster.is_there(_path(name))


def test_what_the_api_server_keeps_is_not_deleted(kubernetes: Provider) -> None:
    with pytest.raises(ProviderError, match="kube-system"):
        kubernetes.delete(NAMESPACE, "kube-system", {}, {})


def test_an_update_of_what_is_gone_says_what_to_do(
    kubernetes: Provider, cluster: Cluster, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    cluster.request("DELETE", _path(name))
    with pytest.raises(ProviderError, match=r"not in the cluster any more.*Run a refresh"):
        kubernetes.update(CONFIG_MAP, id_, inputs, outputs, inputs)


def test_pod_security_is_enforced(kubernetes: Provider, cluster: Cluster, name: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    cluster.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    container = {"name": "a", "image": "a", "securityContext": {"privileged": True}}
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [container]}}
    answer = cluster.request("POST", f"/api/v1/namespaces/{name}/pods", pod)
    assert answer.status == 403
    assert "violates PodSecurity" in answer.body["message"]
    kubernetes.delete(NAMESPACE, name, {}, {})


def test_patches_charts_and_other_clusters_are_refused(
    eks_cluster: EksCluster, kubernetes: Provider
) -> None:
    for type_, words in {
        "kubernetes:core/v1:NamespacePatch": "applies whole objects, not patches",
        "kubernetes:helm.sh/v3:Release": "applies single Kubernetes objects",
    }.items():
        with pytest.raises(UnsupportedTypeError, match=words):
            kubernetes.check(type_, "a", None, {"metadata": {"name": "a"}})
    for settings, words in {
        ("kubeconfig", "/home/me/.kube/config"): "reads no kubeconfig files",
        ("kubeconfig", '{"users": []}'): "another cluster than one of its own cloud",
        ("renderYamlToDirectory", "manifests"): "writes no manifests",
        ("enableServerSideApply", "false"): "on the server's side only",
        ("nonsense", "1"): "does not know that setting",
    }.items():
        with pytest.raises(ProviderError, match=words):
            eks_cluster.provider(**dict([settings]))
    bare = registry(eks_cluster.environment, eks_cluster.home).configure("kubernetes", {})
    with pytest.raises(ProviderError, match="never takes the one of whoever runs it"):
        bare.read(CONFIG_MAP, "default/a", {}, {})


def test_an_unknown_kind_is_refused_by_name(kubernetes: Provider) -> None:
    type_ = "kubernetes:example.com/v1:Widget"
    inputs = kubernetes.check(type_, "a", None, {"metadata": {"name": "a"}}).inputs
    with pytest.raises(ProviderError, match=r"serves no example\.com/v1 Widget"):
        kubernetes.create(type_, "a", inputs)
    assert kubernetes.read(type_, "default/a", inputs, {}) is None


def test_a_custom_resource_is_served_once_its_definition_is_there(
    kubernetes: Provider, cluster: Cluster
) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
    crd = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
    made = _made(kubernetes, crd, definition)
    gadget = _made(
        kubernetes, "kubernetes:example.com/v1:Gadget", {"metadata": {"name": "g"}, "size": 1}
    )
    assert cluster.get("/apis/example.com/v1/namespaces/default/gadgets/g")["size"] == 1
    kubernetes.delete("kubernetes:example.com/v1:Gadget", *gadget)
    kubernetes.delete(crd, *made)


def test_objects_of_a_cluster_that_is_gone_are_forgotten_only_when_told_to(
    eks_cluster: EksCluster, kubernetes: Provider
) -> None:
    kubeconfig = eks_cluster.kubeconfig.replace("mono-repo-dev", "no-such-cluster")
    inputs = kubernetes.check(CONFIG_MAP, "x", None, _config_map("a")).inputs
    gone = eks_cluster.provider(kubeconfig=kubeconfig)
    for act in (gone.read, gone.delete):
        with pytest.raises(ProviderError, match="no-such-cluster in us-east-1 does not exist"):
            act(CONFIG_MAP, "default/a", inputs, {})
    told = eks_cluster.provider(kubeconfig=kubeconfig, deleteUnreachable="true")
    assert told.read(CONFIG_MAP, "default/a", inputs, {}) is None
    told.delete(CONFIG_MAP, "default/a", inputs, {})


def test_an_api_server_that_is_killed_between_two_requests_is_started_again_on_its_data(
    eks_cluster: EksCluster, kubernetes: Provider, name: str
) -> None:
    id_, inputs, outputs = _made(kubernetes, CONFIG_MAP, _config_map(name))
    before = eks_cluster.server()
    for pid in clusters._processes(Path(before.directory)).values():
        os.kill(pid, signal.SIGKILL)
    changed = {**inputs, "data": {"key": "after"}}
    kubernetes.update(CONFIG_MAP, id_, inputs, outputs, changed)
    read = kubernetes.read(CONFIG_MAP, id_, changed, outputs)
    assert read is not None
    assert read.inputs == changed
    assert eks_cluster.server().port != before.port


def test_without_the_programs_objects_are_recorded_and_called_so(
    eks_cluster: EksCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not eks_cluster.provider().is_recorded(CONFIG_MAP)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert eks_cluster.provider().is_recorded(CONFIG_MAP)

"""What the kubernetes provider decides by itself: no API server is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import clusters
from infra.sandbox.engine.drivers import registry
from infra.sandbox.engine.drivers.kubernetes import objects
from infra.sandbox.engine.drivers.kubernetes.objects import Kind
from infra.sandbox.engine.provider import Provider, UnsupportedTypeError
from infra.sandbox.engine.wire import UNKNOWN

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
QUOTA = "kubernetes:core/v1:ResourceQuota"
Json = dict[str, Any]


@pytest.fixture
def recorded() -> Provider:
    """The provider where there is no API server."""
    return registry({}).configure("kubernetes", {"namespace": "web"})


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("kubernetes:core/v1:Namespace", Kind("v1", "Namespace")),
        (
            "kubernetes:rbac.authorization.k8s.io/v1:Role",
            Kind("rbac.authorization.k8s.io/v1", "Role"),
        ),
        (
            "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
            Kind("autoscaling/v2", "HorizontalPodAutoscaler"),
        ),
        ("kubernetes:example.com/v1beta1:Widget", Kind("example.com/v1beta1", "Widget")),
    ],
)
def test_a_type_token_says_api_version_and_kind(type_: str, kind: Kind) -> None:
    assert objects.kind_of(type_) == kind


@pytest.mark.parametrize(
    "type_",
    [
        "kubernetes:core/v1:NamespacePatch",
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:kustomize/v2:Directory",
        "kubernetes:yaml/v2:ConfigGroup",
    ],
)
def test_what_is_no_whole_object_is_refused(type_: str, recorded: Provider) -> None:
    with pytest.raises(UnsupportedTypeError, match="Nothing was changed"):
        recorded.check(type_, "a", None, {"metadata": {"name": "a"}})


def test_a_manifest_of_another_kind_than_its_type_is_refused(recorded: Provider) -> None:
    inputs = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}
    (failure,) = recorded.check(CONFIG_MAP, "a", None, inputs).failures
    assert failure.property == "kind"
    assert "'Secret'" in failure.reason
    assert "'ConfigMap'" in failure.reason


def test_a_name_for_the_server_to_make_up_is_refused_as_pulumi_does(recorded: Provider) -> None:
    inputs = {"metadata": {"generateName": "a-"}}
    (failure,) = recorded.check(CONFIG_MAP, "a", None, inputs).failures
    assert failure.property == "metadata.generateName"


def test_a_name_that_is_made_up_is_kept_and_marked(recorded: Provider) -> None:
    first = recorded.check(CONFIG_MAP, "settings", None, {}).inputs
    name = first["metadata"]["name"]
    assert name.startswith("settings-")
    assert first["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    again = recorded.check(CONFIG_MAP, "settings", first, {"data": {}}).inputs
    assert again["metadata"] == first["metadata"]
    named = {"metadata": {"name": "mine"}}
    before = recorded.check(CONFIG_MAP, "settings", None, named).inputs
    after = recorded.check(CONFIG_MAP, "settings", before, {}).inputs
    assert after["metadata"]["name"] != "mine", "a name that the program gave goes with it"


def test_the_providers_namespace_is_for_what_is_in_one(recorded: Provider) -> None:
    inside = recorded.check(CONFIG_MAP, "a", None, {}).inputs
    assert inside["metadata"]["namespace"] == "web"
    role = recorded.check("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "a", None, {})
    assert "namespace" not in role.inputs["metadata"]


def test_ids_have_a_namespace_only_where_objects_do() -> None:
    named: Json = {"metadata": {"name": "a"}}
    assert objects.object_id(Kind("v1", "ConfigMap"), named) == "default/a"
    assert objects.object_id(Kind("v1", "Namespace"), named) == "a"
    unknown: Json = {"metadata": {"name": "a", "namespace": UNKNOWN}}
    assert objects.object_id(Kind("v1", "ConfigMap"), unknown) == ""
    assert objects.parsed_id("web/a") == ("web", "a")
    assert objects.parsed_id("a") == ("", "a")


@pytest.mark.parametrize(
    ("type_", "old", "new", "expected"),
    [
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"a": "2"}}, {"data.a": "update-replace"}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {}}, {"data": "delete-replace"}),
        (DEPLOYMENT, {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}},
         {"spec.replicas": "update"}),
        (DEPLOYMENT, {"spec": {"selector": {"matchLabels": {"a": "1"}}}},
         {"spec": {"selector": {"matchLabels": {"a": "1", "b": "2"}}}},
         {"spec.selector.matchLabels.b": "add-replace"}),
        ("kubernetes:core/v1:Pod", {"spec": {"containers": [{"image": "a"}]}},
         {"spec": {"containers": [{"image": "b"}]}},
         {"spec.containers[0].image": "update-replace"}),
        (QUOTA, {"spec": {"hard": {"cpu": "1000m", "memory": "1024Mi"}}},
         {"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}}, {}),
        (QUOTA, {"spec": {"hard": {"requests.cpu": "500m"}}},
         {"spec": {"hard": {"requests.cpu": "0.6"}}}, {'spec.hard["requests.cpu"]': "update"}),
        (CONFIG_MAP, {"metadata": {"name": "a"}},
         {"metadata": {"name": "a", "namespace": "default"}}, {}),
    ],
)  # fmt: skip
def test_a_difference_says_where_and_whether_it_replaces(
    type_: str, old: Json, new: Json, expected: dict[str, str]
) -> None:
    assert objects.difference(type_, old, new).detailed == expected


def test_data_may_be_changed_in_place_where_the_provider_says_so() -> None:
    provider = registry({}).configure("kubernetes", {"enableConfigMapMutable": "true"})
    old: Json = {"metadata": {"name": "a"}, "data": {"a": "1"}}
    new = {**old, "data": {"a": "2"}}
    assert provider.diff(CONFIG_MAP, "a", old, {}, new).detailed == {"data.a": "update"}
    frozen = {**new, "immutable": True}
    assert provider.diff(CONFIG_MAP, "a", old, {}, frozen).replace_keys == ("data.a",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.5", "500m", True),
        ("1Gi", "1024Mi", True),
        ("1e3", "1k", True),
        ("1G", "1Gi", False),
        (2, "2", True),
        ("1m", "1M", False),
        ("one", "one", False),
        (True, 1, False),
    ],
)
def test_quantities_are_compared_by_what_they_are(one: Any, other: Any, same: bool) -> None:
    assert objects.same_quantity(one, other) is same


def test_live_inputs_are_what_the_program_manages_in_its_words() -> None:
    given: Json = {
        "metadata": {"name": "a", "labels": {"app": "a"}},
        "spec": {"ingress": [], "limits": {"cpu": "0.5"}, "ports": [{"port": 80}]},
    }
    live: Json = {
        "metadata": {"name": "a", "uid": "1", "labels": {"app": "a", "added": "b"}},
        "spec": {"limits": {"cpu": "500m"}, "ports": [{"port": 80, "protocol": "TCP"}], "x": 1},
        "status": {},
    }
    assert objects.live_inputs(live, given) == given
    live["spec"]["limits"]["cpu"] = "600m"
    del live["metadata"]["labels"]["app"]
    found = objects.live_inputs(live, given)
    assert found["spec"]["limits"] == {"cpu": "600m"}
    assert found["metadata"] == {"name": "a", "labels": {}}


def test_a_secrets_texts_are_read_from_its_data() -> None:
    given: Json = {"metadata": {"name": "a"}, "stringData": {"token": "open"}}
    live: Json = {"metadata": {"name": "a"}, "data": {"token": "b3Blbg=="}}
    assert objects.live_inputs(live, given) == given
    live["data"]["token"] = "YnkgaGFuZA=="
    assert objects.live_inputs(live, given)["stringData"] == {"token": "by hand"}
    folded: Json = {"data": {"token": "b3Bl\nbg=="}}
    assert objects.live_inputs({"data": {"token": "b3Blbg=="}}, folded) == folded


# -- programs ---------------------------------------------------------------------------------


def _put(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("")
        (directory / name).chmod(0o755)
    return directory


def test_the_programs_are_found_where_the_environment_says_on_path_or_built(
    tmp_path: Path,
) -> None:
    both = ("kube-apiserver", "etcd")
    assets = _put(tmp_path / "assets", *both)
    path = _put(tmp_path / "bin", *both)
    for version in ("v1.9.1", "v1.36.3"):
        _put(tmp_path / "cache" / "mono-repo" / "kube" / version, *both)
    _put(tmp_path / "cache" / "mono-repo" / "kube" / "v1.40.0", "etcd")  # a build that broke off
    caches = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(tmp_path)}

    def found(**more: str) -> Path | None:
        programs = clusters.programs({**caches, **more})
        assert programs is None or programs.etcd.parent == programs.kube_apiserver.parent
        return programs.etcd.parent if programs else None

    assert found(KUBEBUILDER_ASSETS=str(assets), PATH=str(path)) == assets
    assert found(PATH=str(path)) == path
    assert found() == tmp_path / "cache" / "mono-repo" / "kube" / "v1.36.3"
    assert found(KUBEBUILDER_ASSETS=str(tmp_path), PATH=str(path)) is None, "set: there or nowhere"
    assert found(XDG_CACHE_HOME=str(tmp_path)) is None

"""Every kind that the project uses, through its life on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra.sandbox.engine.provider import DiffResult, Provider, ReadResult
from tests.cluster.reviews import Cluster
from tests.cluster.samples import NAMESPACE, SAMPLES, Sample

pytestmark = pytest.mark.sandbox

each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
Json = dict[str, Any]


class Life:
    """An object's life as the engine leads it: what it keeps between the steps is its state."""

    def __init__(self, provider: Provider, sample: Sample) -> None:
        self.provider = provider
        self.type = sample.type
        checked = provider.check(sample.type, "sample", None, sample.inputs)
        assert not checked.failures
        self.inputs = checked.inputs
        self.id, self.outputs = provider.create(sample.type, "sample", self.inputs)

    def wanted(self, inputs: Json) -> Json:
        return self.provider.check(self.type, "sample", self.inputs, inputs).inputs

    def diff(self, inputs: Json) -> DiffResult:
        wanted = self.wanted(inputs)
        return self.provider.diff(self.type, self.id, self.inputs, self.outputs, wanted)

    def read(self) -> ReadResult | None:
        return self.provider.read(self.type, self.id, self.inputs, self.outputs)

    def refresh(self) -> DiffResult:
        """Read it, and tell how what is declared differs from what is there."""
        declared, found = self.inputs, self.read()
        assert found is not None
        self.inputs, self.outputs = found.inputs, found.outputs
        return self.provider.diff(self.type, self.id, found.inputs, found.outputs, declared)

    def update(self, inputs: Json) -> None:
        wanted = self.wanted(inputs)
        self.outputs = self.provider.update(self.type, self.id, self.inputs, self.outputs, wanted)
        self.inputs = wanted

    def delete(self) -> None:
        self.provider.delete(self.type, self.id, self.inputs, self.outputs)


@pytest.fixture(scope="module", autouse=True)
def namespace(kubernetes: Provider) -> Iterator[None]:
    type_ = "kubernetes:core/v1:Namespace"
    inputs = kubernetes.check(type_, "x", None, {"metadata": {"name": NAMESPACE}}).inputs
    id_, outputs = kubernetes.create(type_, "x", inputs)
    yield
    kubernetes.delete(type_, id_, inputs, outputs)


@each_sample
def test_an_object_is_made_stays_the_same_changes_heals_and_goes(
    sample: Sample, kubernetes: Provider, cluster: Cluster
) -> None:
    life = Life(kubernetes, sample)
    try:
        live = cluster.get(sample.path)
        assert life.outputs["metadata"]["uid"] == live["metadata"]["uid"]
        assert not life.refresh().changes, "a refresh right after the update shows no change"
        assert life.inputs == life.wanted(sample.inputs)

        changed = sample.update(*sample.changed)
        planned = life.diff(changed)
        assert planned.changes
        assert not planned.replace_keys
        life.update(changed)
        assert not life.refresh().changes
        assert not life.diff(changed).changes
        assert cluster.get(sample.path)["metadata"]["uid"] == live["metadata"]["uid"]

        life.update(sample.inputs)
        cluster.edit(sample.path, sample.edited)
        found = life.refresh()
        assert sample.finds in found.detailed
        life.update(sample.inputs)
        assert not life.refresh().changes, "the edit is undone"

        without = sample.update(sample.removed, None)
        assert life.diff(without).changes
        life.update(without)
        assert _at(cluster.get(sample.path), sample.removed) != _at(sample.inputs, sample.removed)
        assert not life.refresh().changes
    finally:
        life.delete()
    assert not cluster.is_there(sample.path)
    assert life.read() is None
    life.delete()  # gone already is success


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = (value or {}).get(key)
    return value


@each_sample
def test_what_cannot_be_changed_in_place_replaces_the_object(
    sample: Sample, kubernetes: Provider
) -> None:
    old = kubernetes.check(sample.type, "sample", None, sample.inputs).inputs
    for path, value in {**sample.replaced, "metadata.name": "another"}.items():
        new = kubernetes.check(sample.type, "sample", old, sample.update(path, value)).inputs
        diff = kubernetes.diff(sample.type, "", old, {}, new)
        assert any(key.startswith(path) for key in diff.replace_keys), path
        # Two of one name cannot stand side by side.
        assert diff.delete_before_replace == (path != "metadata.name")


@each_sample
def test_a_preview_asks_the_api_server_and_makes_nothing(
    sample: Sample, kubernetes: Provider, cluster: Cluster
) -> None:
    inputs = kubernetes.check(sample.type, "sample", None, sample.inputs).inputs
    outputs = kubernetes.preview_outputs(sample.type, inputs, None)
    assert outputs["metadata"]["name"] == inputs["metadata"]["name"]
    assert not cluster.is_there(sample.path)

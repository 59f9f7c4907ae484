"""Every row of the aws table, carried out on the sandbox's cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from infra.sandbox.engine.drivers import registry
from infra.sandbox.engine.drivers.rows import ROWS
from infra.sandbox.engine.provider import Provider
from tests.sandbox.driver_samples import REF, SAMPLES, Sample
from tests.sandbox.samples_lb import make_scaling_group
from tests.sandbox.sdk_declarations import wrong_outputs

Made = dict[str, tuple[str, dict[str, Any], dict[str, Any]]]

# A VPC's and a region's defaults and a bucket's suspended versioning outlast their resources.
STAY = {
    "aws:ebs/encryptionByDefault:EncryptionByDefault",
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:s3/bucketVersioning:BucketVersioning",
}

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def provider(cloud_environment: dict[str, str]) -> Provider:
    make_scaling_group(cloud_environment)
    return registry(cloud_environment).configure("aws", {"region": "us-east-1"})


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str) and value.startswith(REF):
        yield value.removeprefix(REF).partition(".")[0]


def _resolved(value: Any, made: Made) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, made) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, made) for item in value]
    if isinstance(value, str) and value.startswith(REF):
        name, _, output = value.removeprefix(REF).partition(".")
        id_, _, outputs = made[name]
        return outputs[output] if output else id_
    return value


@contextmanager
def made_samples(provider: Provider, name: str) -> Iterator[Made]:
    """Make a sample with all it needs; all of it is deleted afterwards, last made first."""
    made: Made = {}

    def make(name: str) -> None:
        if name in made:
            return
        sample = SAMPLES[name]
        for other in [*sample.needs, *_references([sample.inputs, sample.change])]:
            make(other)
        checked = provider.check(sample.type, name, None, _resolved(dict(sample.inputs), made))
        assert not checked.failures
        id_, outputs = provider.create(sample.type, name, checked.inputs)
        made[name] = (id_, checked.inputs, outputs)

    make(name)
    yield made
    for other, (id_, inputs, outputs) in reversed(made.items()):
        provider.delete(SAMPLES[other].type, id_, inputs, outputs)


def _changed(sample: Sample, inputs: dict[str, Any], made: Made) -> dict[str, Any]:
    kept = {key: value for key, value in inputs.items() if key not in sample.absent}
    return {**kept, **_resolved(dict(sample.change or {}), made)}


def test_every_row_has_a_sample() -> None:
    assert {sample.type for sample in SAMPLES.values()} == set(ROWS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_row_creates_reads_updates_and_deletes_in_the_types_that_the_sdk_declares(
    name: str, provider: Provider
) -> None:
    with made_samples(provider, name) as made:
        _round_trip(name, provider, made)


def _round_trip(name: str, provider: Provider, made: Made) -> None:
    sample = SAMPLES[name]
    id_, inputs, outputs = made[name]

    live = provider.read(sample.type, id_, inputs, outputs)
    assert live is not None
    assert live.outputs == outputs
    assert wrong_outputs(sample.type, outputs) == {}
    assert provider.diff(sample.type, id_, live.inputs, live.outputs, inputs).detailed == {}
    assert provider.diff(sample.type, id_, inputs, outputs, inputs).detailed == {}

    if sample.change is not None:
        wanted = _changed(sample, inputs, made)
        difference = provider.diff(sample.type, id_, inputs, outputs, wanted)
        assert difference.changes
        assert not difference.replace_keys
        outputs = provider.update(sample.type, id_, inputs, outputs, wanted)
        assert wrong_outputs(sample.type, outputs) == {}
        made[name] = (id_, wanted, outputs)
        live = provider.read(sample.type, id_, wanted, outputs)
        assert live is not None
        assert provider.diff(sample.type, id_, live.inputs, live.outputs, wanted).detailed == {}
        assert provider.diff(sample.type, id_, inputs, outputs, live.inputs).changes

    del made[name]
    inputs = live.inputs
    provider.delete(sample.type, id_, inputs, outputs)
    if sample.type not in STAY:
        assert provider.read(sample.type, id_, inputs, outputs) is None
    provider.delete(sample.type, id_, inputs, outputs)

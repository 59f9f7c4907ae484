"""Envelopes: what opens them, what does not, and what a damaged one says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ops.backup import envelope
from ops.backup.envelope import EnvelopeError

CONTEXT = {"environment": "dev", "backup": "20261201-120000_dev", "file": "parameters.enc"}
SECRET = b'{"password": "v3ry-s3cret"}'


@pytest.fixture
def kms() -> Iterator[Any]:
    """A KMS."""
    with mock_aws():
        yield boto3.client("kms", region_name="us-east-1")


@pytest.fixture
def key(kms: Any) -> str:
    """A key."""
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def test_what_was_sealed_is_opened_and_told_again(kms: Any, key: str) -> None:
    sealed = envelope.seal(kms, key, CONTEXT, SECRET)
    assert envelope.unseal(kms, CONTEXT, sealed.text) == (SECRET, sealed.fingerprint)


def test_nothing_plain_is_in_the_envelope_nor_in_its_fingerprint(kms: Any, key: str) -> None:
    first, second = (envelope.seal(kms, key, CONTEXT, SECRET) for _ in range(2))
    assert b"v3ry-s3cret" not in first.text
    assert first.fingerprint != second.fingerprint, "it tells nothing of the content by itself"


@pytest.mark.parametrize("field", ["content", "nonce"])
def test_a_changed_envelope_does_not_open(kms: Any, key: str, field: str) -> None:
    said = json.loads(envelope.seal(kms, key, CONTEXT, SECRET).text)
    said[field] = ("B" if said[field][0] == "A" else "A") + said[field][1:]
    with pytest.raises(EnvelopeError, match="was changed"):
        envelope.unseal(kms, CONTEXT, json.dumps(said).encode())


def test_an_envelope_of_another_backup_does_not_open(kms: Any, key: str) -> None:
    text = envelope.seal(kms, key, CONTEXT, SECRET).text
    with pytest.raises(EnvelopeError, match="it was moved"):
        envelope.unseal(kms, {**CONTEXT, "backup": "20261202-120000_dev"}, text)


def test_not_even_where_it_claims_to_be_that_ones(kms: Any, key: str) -> None:
    other = {**CONTEXT, "environment": "prod"}
    said = json.loads(envelope.seal(kms, key, CONTEXT, SECRET).text)
    said["context"] = other
    with pytest.raises(ClientError, match="InvalidCiphertext"):
        envelope.unseal(kms, other, json.dumps(said).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version": 1}', b"\x00\x01"])
def test_what_is_no_envelope_is_refused(kms: Any, text: bytes) -> None:
    with pytest.raises(EnvelopeError, match="no envelope"):
        envelope.unseal(kms, CONTEXT, text)


def test_an_envelope_of_a_later_release_is_refused_with_its_version(kms: Any, key: str) -> None:
    said = json.loads(envelope.seal(kms, key, CONTEXT, SECRET).text)
    with pytest.raises(EnvelopeError, match="of version 2"):
        envelope.unseal(kms, CONTEXT, json.dumps({**said, "version": 2}).encode())

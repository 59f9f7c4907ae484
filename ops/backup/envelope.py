"""Envelopes: secrets encrypted on this machine, under a key that only KMS can open.

A data key of the bootstrap's backups key encrypts the content (AES-256-GCM); beside it goes the
data key itself, encrypted. Both are bound to the environment, the backup and the file by KMS's
encryption context, so that an envelope opens nowhere else. Nothing plain is written anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.errors import OpsError

VERSION: Final = 1
ALGORITHM: Final = "AES-256-GCM"
_NONCE_BYTES: Final = 12


class EnvelopeError(OpsError):
    """An envelope is not one, or does not belong where it was found."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """An envelope, and what tells its content again without showing it."""

    text: bytes
    fingerprint: str
    """HMAC-SHA256 of the content under its own data key."""


def seal(kms: Any, key_id: str, context: Mapping[str, str], content: bytes) -> Sealed:
    """Encrypt `content` under a new data key of `key_id`. Raises what KMS raises."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    answer = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=dict(context))
    key: bytes = answer["Plaintext"]
    nonce = secrets.token_bytes(_NONCE_BYTES)
    said = {
        "version": VERSION,
        "algorithm": ALGORITHM,
        "key_id": answer["KeyId"],
        "context": dict(context),
        "encrypted_key": _text(answer["CiphertextBlob"]),
        "nonce": _text(nonce),
        "content": _text(AESGCM(key).encrypt(nonce, content, _bound(context))),
    }
    text = json.dumps(said, indent=2).encode() + b"\n"
    return Sealed(text=text, fingerprint=_fingerprint(key, content))


def unseal(kms: Any, context: Mapping[str, str], text: bytes) -> tuple[bytes, str]:
    """Decrypt an envelope; give its content and the content's fingerprint.

    Raises `EnvelopeError` where it is damaged or made for another place, and what KMS raises.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    said = _read(text)
    if said["context"] != dict(context):
        raise EnvelopeError(
            f"The envelope was made for {said['context']}, not for {dict(context)}: it was moved. "
            "Nothing of it was used."
        )
    key: bytes = kms.decrypt(
        CiphertextBlob=_bytes(said["encrypted_key"]),
        KeyId=said["key_id"],
        EncryptionContext=dict(context),
    )["Plaintext"]
    try:
        content = AESGCM(key).decrypt(
            _bytes(said["nonce"]), _bytes(said["content"]), _bound(context)
        )
    except InvalidTag as error:
        raise EnvelopeError(
            "The envelope's content was changed. Nothing of it was used."
        ) from error
    return content, _fingerprint(key, content)


def key_of(text: bytes) -> str:
    """Give the key that opens an envelope; raises `EnvelopeError` where it is none."""
    return str(_read(text)["key_id"])


def _read(text: bytes) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(text)
        if (said["version"], said["algorithm"]) != (VERSION, ALGORITHM):
            raise EnvelopeError(
                f"The envelope is of version {said['version']}, {said['algorithm']}; this release "
                f"of ops reads {VERSION}, {ALGORITHM}. Nothing of it was used."
            )
        return {
            name: said[name] for name in ("key_id", "context", "encrypted_key", "nonce", "content")
        }
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeError(f"It is no envelope: {error}. Nothing of it was used.") from error


def _bound(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def _fingerprint(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

"""Encryption of secrets in state and configuration, in the formats of Pulumi's own providers.

A *ciphertext* is ``v1:<nonce>:<ciphertext>`` by AES-256-GCM. A *state* says where its key is from:

- a passphrase: ``v1:<salt>:v1:<nonce>:<ciphertext>``, the salt, and the word ``pulumi`` encrypted,
  by which a wrong passphrase is told. The key is derived by PBKDF2-SHA256 with 1,000,000 rounds.
- a key of KMS: ``{"url": …, "encryptedkey": …}``, its address and the random data key, encrypted by
  it.

Binary parts are base64.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from infra.sandbox.engine.cloudapi import CloudError, client

PASSPHRASE_PROVIDER: Final = "passphrase"  # noqa: S105 - a kind, as Pulumi names it
CLOUD_PROVIDER: Final = "cloud"
KMS_SCHEME: Final = "awskms"
PASSPHRASE_VARIABLE: Final = "PULUMI_CONFIG_PASSPHRASE"  # noqa: S105 - a variable's name
PASSPHRASE_FILE_VARIABLE: Final = "PULUMI_CONFIG_PASSPHRASE_FILE"  # noqa: S105 - a variable's name

_ROUNDS: Final = 1_000_000
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_CHECK_WORD: Final = "pulumi"
_STATE_PARTS: Final = 3
_CIPHERTEXT_PARTS: Final = 3

Place = tuple[str | int, ...]
"""Where a secret stands, for example URN, ``outputs``, ``password``."""


class SecretsError(Exception):
    """A secret cannot be read, or the passphrase is not the one it was encrypted with."""


Unlock = Callable[[str], bytes]
"""A crypter's state → its key."""


class Crypter:
    """Encrypts and decrypts with the key of one state. Thread-safe; gets the key when it is used.

    A plaintext that has not changed since the same place was last read or written keeps its
    ciphertext, so that state that did not change stays the same text.
    """

    def __init__(self, state: str, passphrase: str | Unlock) -> None:
        """`passphrase`, or what else gives the key."""
        self.state = state
        self._passphrase = passphrase
        self._known: dict[Place, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._key: bytes | None = None

    def for_state(self, state: str) -> Crypter:
        """Give the crypter of another state with the same passphrase."""
        return self if state == self.state else Crypter(state, self._passphrase)

    def encrypt(self, plaintext: str, place: Place | None = None) -> str:
        """Encrypt; the ciphertext last known for this plaintext at this place is used again."""
        if place is not None:
            with self._lock:
                known = self._known.get(place)
            if known is not None and known[0] == plaintext:
                return known[1]
        ciphertext = _encrypt(self._unlocked(), plaintext)
        self._remember(place, plaintext, ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: str, place: Place | None = None) -> str:
        """Decrypt; raises `SecretsError` for another key's or a damaged ciphertext."""
        plaintext = _decrypt(self._unlocked(), ciphertext)
        self._remember(place, plaintext, ciphertext)
        return plaintext

    def _remember(self, place: Place | None, plaintext: str, ciphertext: str) -> None:
        if place is not None:
            with self._lock:
                self._known[place] = (plaintext, ciphertext)

    def _unlocked(self) -> bytes:
        if self._key is None:
            with_ = self._passphrase
            self._key = _unlock(self.state, with_) if isinstance(with_, str) else with_(self.state)
        return self._key


class Keyring:
    """Knows the passphrases (the user's, if there is one, else the sandbox's own) and the cloud."""

    def __init__(self, home_file: Path, environment: Mapping[str, str]) -> None:
        self._home_file = home_file
        self._given = _given_passphrase(environment)
        self._environment = environment
        self._crypters: dict[str, Crypter] = {}

    def new_state(self, provider: str = "") -> str:
        """Give the state for a new stack's secrets; sandbox stacks share the sandbox's own.

        `provider`: ``awskms://…`` for a key of the sandbox's cloud, else a passphrase is meant.
        """
        if provider.startswith(f"{KMS_SCHEME}:"):
            return _new_cloud_state(provider, self._environment)
        if self._given is not None:
            return _state_for(self._given)
        return home_crypter(self._home_file).state

    def crypter(self, state: str) -> Crypter:
        """Give the crypter of a state; the same one each time, and not unlocked yet."""
        if state not in self._crypters:
            if is_cloud_state(state):
                self._crypters[state] = Crypter(state, self._data_key)
            elif self._given is not None:
                self._crypters[state] = Crypter(state, self._given)
            else:
                self._crypters[state] = home_crypter(self._home_file).for_state(state)
        return self._crypters[state]

    def _data_key(self, state: str) -> bytes:
        return _data_key(state, self._environment)


def is_cloud_state(state: str) -> bool:
    """Tell whether the key of a state is one that KMS has encrypted."""
    return state.startswith("{")


def provider_document(state: str) -> dict[str, Any]:
    """Give a deployment's ``secrets_providers`` for a state."""
    if is_cloud_state(state):
        return {"type": CLOUD_PROVIDER, "state": json.loads(state)}
    return {"type": PASSPHRASE_PROVIDER, "state": {"salt": state}}


def provider_state(document: Mapping[str, Any]) -> str | None:
    """Give the state that a deployment's ``secrets_providers`` has; None for other providers'."""
    kind, state = document.get("type"), document.get("state") or {}
    if kind == PASSPHRASE_PROVIDER:
        return str(state["salt"])
    if kind == CLOUD_PROVIDER and str(state.get("url")).startswith(f"{KMS_SCHEME}:"):
        return _cloud_state(state["url"], state["encryptedkey"])
    return None


def provider_address(state: str) -> str:
    """Give how a state's provider is asked for: ``passphrase``, or the key's address."""
    return str(json.loads(state)["url"]) if is_cloud_state(state) else PASSPHRASE_PROVIDER


def _cloud_state(url: str, encrypted: str) -> str:
    return json.dumps({"url": url, "encryptedkey": encrypted})


def _new_cloud_state(url: str, environment: Mapping[str, str]) -> str:
    key, region = _key_of(url, environment)
    plain = secrets.token_bytes(_KEY_BYTES)
    with _told(url):
        sealed = client("kms", region, environment).encrypt(KeyId=key, Plaintext=plain)
    return _cloud_state(url, _base64(sealed["CiphertextBlob"]))


def _data_key(state: str, environment: Mapping[str, str]) -> bytes:
    fields = json.loads(state)
    key, region = _key_of(fields["url"], environment)
    blob = _unbase64(fields["encryptedkey"])
    with _told(fields["url"]):
        answer = client("kms", region, environment).decrypt(CiphertextBlob=blob, KeyId=key)
    plain: bytes = answer["Plaintext"]
    return plain


def _key_of(url: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Give the key (an id, an alias or an ARN) and its region."""
    parts = urlsplit(url)
    region = parse_qs(parts.query).get("region") or [environment.get("AWS_REGION", "")]
    return f"{parts.netloc}{parts.path}".strip("/"), region[0]


@contextmanager
def _told(url: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # slow to load

    try:
        yield
    except (BotoCoreError, ClientError, CloudError) as error:
        raise SecretsError(f"the key {url} could not be used: {error}") from error


def _given_passphrase(environment: Mapping[str, str]) -> str | None:
    if PASSPHRASE_VARIABLE in environment:
        return environment[PASSPHRASE_VARIABLE]
    file = environment.get(PASSPHRASE_FILE_VARIABLE)
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretsError(
            f"unable to read {PASSPHRASE_FILE_VARIABLE} ({file}): {error.strerror}"
        ) from error


@functools.cache
def _state_for(passphrase: str) -> str:
    return new_state(passphrase)  # one a process: each costs the derivation of a key


def new_state(passphrase: str) -> str:
    """Make the state of a new crypter, with a random salt."""
    salt = secrets.token_bytes(_SALT_BYTES)
    check = _encrypt(_derive(passphrase, salt), _CHECK_WORD)
    return f"v1:{_base64(salt)}:{check}"


def home_crypter(path: Path) -> Crypter:
    """Give the crypter of a sandbox's home, with the random passphrase kept in the file `path`.

    The file is made once, readable by its owner alone, and never by two processes at once.
    """
    if not path.exists():
        _create_home_file(path)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Crypter(kept["encryptionsalt"], kept["passphrase"])
    except (ValueError, KeyError, TypeError) as error:
        raise SecretsError(
            f"the sandbox's passphrase file {path} is damaged: expected JSON with 'passphrase' and "
            "'encryptionsalt'. Nothing was changed. Restore it from a backup, or start anew with "
            "`ops sandbox reset`"
        ) from error


def _create_home_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    passphrase = secrets.token_urlsafe(32)
    text = json.dumps({"passphrase": passphrase, "encryptionsalt": new_state(passphrase)})
    # mkstemp makes the file with mode 0600; a link fails where another process was first.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()


def _unlock(state: str, passphrase: str) -> bytes:
    parts = state.split(":", _STATE_PARTS - 1)
    if len(parts) != _STATE_PARTS or parts[0] != "v1":
        raise SecretsError(
            f"the secrets state {state[:12]!r}… is not of the form v1:<salt>:v1:<nonce>:<check>"
        )
    key = _derive(passphrase, _unbase64(parts[1]))
    try:
        matches = _decrypt(key, parts[2]) == _CHECK_WORD
    except SecretsError:
        matches = False
    if not matches:
        raise SecretsError(
            "incorrect passphrase: the secrets were encrypted with another one. Set "
            f"{PASSPHRASE_VARIABLE} to the passphrase of this state, or unset it to use the "
            "sandbox's own"
        )
    return key


@functools.cache
def _derive(passphrase: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, _ROUNDS, _KEY_BYTES)


def _encrypt(key: bytes, plaintext: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # slow to load

    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, plaintext.encode(), None)
    return f"v1:{_base64(nonce)}:{_base64(sealed)}"


def _decrypt(key: bytes, ciphertext: str) -> str:
    from cryptography.exceptions import InvalidTag  # slow to load
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # slow to load

    parts = ciphertext.split(":")
    if len(parts) != _CIPHERTEXT_PARTS or parts[0] != "v1":
        raise SecretsError("a ciphertext is not of the form v1:<nonce>:<ciphertext>")
    nonce = _unbase64(parts[1])
    if len(nonce) != _NONCE_BYTES:
        raise SecretsError(f"a ciphertext's nonce has {len(nonce)} bytes instead of {_NONCE_BYTES}")
    try:
        return AESGCM(key).decrypt(nonce, _unbase64(parts[2]), None).decode()
    except InvalidTag as error:
        raise SecretsError("a ciphertext was made with another key, or is damaged") from error


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SecretsError("a part of a ciphertext is not base64") from error

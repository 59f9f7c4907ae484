import json
import stat
from pathlib import Path

import pytest

from infra.sandbox.engine.secrets import (
    Crypter,
    Keyring,
    SecretsError,
    home_crypter,
    new_state,
)
from tests.sandbox.engine.store_fakes import crypter

MADE_BY_PULUMI = "v1:fozI5u6B030=:v1:F+6ZduKKd8G0/V7L:PGMFeIzwobWRKmEAzUdaQHqC5mMRIQ=="
"""The state that Pulumi made for the passphrase ``password``."""

SALT_STATE = new_state("correct horse")


def test_what_is_encrypted_is_decrypted_by_the_same_passphrase_and_state() -> None:
    ciphertext = Crypter(SALT_STATE, "correct horse").encrypt("battery staple ü")

    assert ciphertext.startswith("v1:")
    assert "battery" not in ciphertext
    assert Crypter(SALT_STATE, "correct horse").decrypt(ciphertext) == "battery staple ü"


def test_the_format_is_that_of_pulumis_passphrase_provider() -> None:
    import base64
    import hashlib

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    version, salt, check_version, nonce, check = SALT_STATE.split(":")
    key = hashlib.pbkdf2_hmac("sha256", b"correct horse", base64.b64decode(salt), 1_000_000, 32)

    assert (version, check_version) == ("v1", "v1")
    assert len(base64.b64decode(salt)) == 8
    assert AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(check), None) == b"pulumi"


def test_a_state_that_pulumi_made_is_unlocked_by_its_passphrase() -> None:
    made = Crypter(MADE_BY_PULUMI, "password")

    assert made.decrypt(made.encrypt("x")) == "x"


def test_a_wrong_passphrase_is_told_before_anything_is_encrypted_with_it() -> None:
    with pytest.raises(SecretsError, match=r"incorrect passphrase.*PULUMI_CONFIG_PASSPHRASE"):
        Crypter(SALT_STATE, "wrong").encrypt("x")


@pytest.mark.parametrize(
    "ciphertext", ["", "v1:abc", "v2:AAAA:AAAA", "v1:AAAA:AAAA", "v1:!:!", "v1:::::"]
)
def test_a_damaged_ciphertext_is_refused_with_a_reason(ciphertext: str, tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="ciphertext"):
        crypter(tmp_path).decrypt(ciphertext)


def test_an_unchanged_value_keeps_its_ciphertext_at_its_place_only(tmp_path: Path) -> None:
    own = crypter(tmp_path)
    first = own.encrypt("hush", ("urn", "outputs", "a"))

    assert own.encrypt("hush", ("urn", "outputs", "a")) == first
    assert own.encrypt("hush", ("urn", "outputs", "b")) != first
    assert own.encrypt("louder", ("urn", "outputs", "a")) != first


def test_a_value_read_from_state_keeps_the_ciphertext_it_had_there(tmp_path: Path) -> None:
    ciphertext = crypter(tmp_path).encrypt("hush")
    later = crypter(tmp_path)
    later.decrypt(ciphertext, ("urn", "inputs", "p"))

    assert later.encrypt("hush", ("urn", "inputs", "p")) == ciphertext


def test_the_home_passphrase_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "passphrase.json"
    first = home_crypter(path)
    second = home_crypter(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.state == second.state
    assert len(json.loads(path.read_text())["passphrase"]) >= 32
    assert [entry.name for entry in path.parent.iterdir()] == ["passphrase.json"]


def test_a_damaged_home_passphrase_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "passphrase.json"
    path.write_text("{}")

    with pytest.raises(SecretsError, match=r"damaged.*ops sandbox reset"):
        home_crypter(path)


def test_a_passphrase_given_in_the_environment_wins_over_the_homes(tmp_path: Path) -> None:
    given = Keyring(tmp_path / "none.json", {"PULUMI_CONFIG_PASSPHRASE": "correct horse"})

    ciphertext = given.crypter(SALT_STATE).encrypt("x")

    assert Crypter(SALT_STATE, "correct horse").decrypt(ciphertext) == "x"
    assert not (tmp_path / "none.json").exists()


def test_a_passphrase_may_be_given_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("correct horse\n")
    given = Keyring(
        tmp_path / "none.json", {"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "phrase")}
    )

    assert given.crypter(SALT_STATE).encrypt("x").startswith("v1:")


def test_a_missing_passphrase_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="nowhere"):
        Keyring(tmp_path / "k", {"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "nowhere")})

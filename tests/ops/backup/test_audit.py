"""What is written down of a backup that was read back."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ops.backup import audit
from ops.backup.manifest import STATE, File
from ops.backup.store import Store, file_of
from ops.checks import Check, Status
from tests.ops.backup.test_manifest import MANIFEST

AT = "2026-12-01T12:00:00+00:00"


def check(name: str, status: Status) -> Check:
    """A check of which only name and end count."""
    return Check(name=name, status=status, found="as it is")


def test_a_good_one_is_verified_at_that_moment() -> None:
    assert audit.record([check("state.json", "ok")], at=AT, run="r") == {"at": AT, "run": "r"}


def test_a_damaged_one_has_no_moment_and_says_what_is_wrong() -> None:
    found = audit.record([check("state.json", "fail"), check("snapshot s", "unknown")], at=AT)
    assert found == {"found_damaged": AT, "wrong": ["state.json: as it is"]}


@pytest.mark.parametrize(
    "bad", [check("state.json", "unknown"), check("key arn:aws:kms:key/d", "fail")]
)
def test_what_was_not_seen_and_a_key_that_can_be_mended_change_nothing(bad: Check) -> None:
    assert audit.record([check("manifest.json", "ok"), bad], at=AT) is None


class Keys:
    """KMS with one key, which answers with a code."""

    def __init__(self, code: str = "") -> None:
        self.code = code

    def decrypt(self, **asked: Any) -> dict[str, Any]:
        assert asked["CiphertextBlob"] == b"sealed"
        if self.code:
            error = {"Error": {"Code": self.code, "Message": "injected"}}
            raise ClientError(cast("Any", error), "Decrypt")
        return {}

    def describe_key(self, **_: Any) -> dict[str, Any]:
        return {"KeyMetadata": {"KeyState": "Enabled"}}


def looked(code: str, provider: dict[str, Any]) -> list[Check]:
    """Give the checks of a backup of which the state's secrets are under this provider."""
    content = json.dumps({"deployment": {"secrets_providers": provider}}).encode()
    file: File = file_of(STATE, content)
    manifest = MANIFEST.model_copy(update={"files": (file,)})
    store = SimpleNamespace(
        access=SimpleNamespace(environment="dev", client=lambda _service: None),
        envelopes=Keys(code),
        manifest=lambda _backup: manifest,
        fetch_checked=lambda _backup, _file: content,
        where=lambda *parts: "/".join(parts),
    )
    seen = audit.checks(cast("Store", store), MANIFEST.id)
    return [item for item in seen if "secrets in state.json" in item.name]


CLOUD = {
    "type": "cloud",
    "state": {
        "url": "awskms://alias/mono-repo-dev-pulumi-state?region=us-east-1",
        "encryptedkey": base64.b64encode(b"sealed").decode(),
    },
}


@pytest.mark.parametrize(
    ("code", "status"),
    [("", "ok"), ("DisabledException", "fail"), ("AccessDeniedException", "unknown")],
)
def test_the_key_of_the_states_secrets_is_tried(code: str, status: str) -> None:
    (found,) = looked(code, CLOUD)
    assert found.status == status
    assert "alias/mono-repo-dev-pulumi-state" in found.name


def test_a_passphrase_is_not_looked_at() -> None:
    assert looked("", {"type": "passphrase", "state": {"salt": "v1:x"}}) == []

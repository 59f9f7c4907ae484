"""A manifest: read as it was written, or not at all."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from ops.backup.manifest import File, Manifest, ManifestError, moment, parse, seal_of

MANIFEST = Manifest(
    id="20261201-120000_dev",
    environment="dev",
    account_id="111122223333",
    region="us-east-1",
    created=dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC),
    run="20261201-120000-backup-dev-abcd",
    why="before the upgrade",
    backups_key="arn:aws:kms:us-east-1:111122223333:key/b",
    databases_key="arn:aws:kms:us-east-1:111122223333:key/d",
    kubernetes="absent",
    files=(File(name="state.json", bytes=3, sha256="0" * 64),),
    databases=(),
    parameters=("/dev/mono-repo/api/version",),
    not_backed_up=(),
)


def test_it_is_read_as_it_was_written() -> None:
    content = MANIFEST.to_bytes()
    assert parse(content, seal_of(content)) == MANIFEST


def test_one_other_byte_is_noticed() -> None:
    content = MANIFEST.to_bytes()
    changed = content.replace(b'"bytes": 3', b'"bytes": 4')
    with pytest.raises(ManifestError, match="not what was written"):
        parse(changed, seal_of(content))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b'"version": 1', b'"version": 2', "version"),
        (b"state.json", b"../state.json", "files.0.name"),
        (b'"why"', b'"wherefore"', "why"),
    ],
)
def test_what_this_release_does_not_know_is_refused_by_name(
    old: bytes, new: bytes, where: str
) -> None:
    content = MANIFEST.to_bytes().replace(old, new)
    with pytest.raises(ManifestError, match=f"cannot be read: {where}"):
        parse(content, seal_of(content))


def test_no_file_is_outside_of_the_backups_folder() -> None:
    for name in ("../x", "/etc/passwd", "a/../../b"):
        with pytest.raises(ValueError, match="name"):
            File(name=name, bytes=1, sha256="0" * 64)


def test_a_manifest_of_a_former_release_is_read() -> None:
    former = MANIFEST.model_dump(mode="json")
    former["databases"] = [
        {
            "name": "main", "identifier": "mono-repo-dev", "snapshot": "s", "arn": "a",
            "created": "2026-12-01T12:00:00Z", "engine_version": "17.7", "allocated_gb": 20,
            "instance_class": "db.t4g.medium", "kms_key_id": "k",
        }
    ]  # fmt: skip
    content = json.dumps(former).encode()
    (found,) = parse(content, seal_of(content)).databases
    assert (found.master_username, found.database_name) == ("", "")


def test_the_name_of_a_backup_says_when_it_was_made() -> None:
    assert moment("20261201-120000_dev") == dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "name", ["notes", "20261399-250000_dev", "20261201_dev", "20261201-120000_dev.old", ""]
)
def test_what_has_another_name_is_no_backup(name: str) -> None:
    assert moment(name) is None

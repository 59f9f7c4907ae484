"""Where backups are: a folder on this machine, and the bootstrap's backup bucket."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup.manifest import MANIFEST, SEAL, File, Manifest, moment, parse, sha256
from ops.errors import IncompleteError, OpsError
from ops.foundation import foundation

if TYPE_CHECKING:
    from ops.access import Access

_FOLDER: Final = "backups"
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})


class MissingError(OpsError):
    """A file of a backup is not in the bucket."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """The backups of an environment."""

    access: Access
    bucket: str
    key_arn: str
    """The bootstrap's key that encrypts every file in the bucket once more."""
    client: Any
    """Of S3."""
    envelopes: Any = field(repr=False)
    """A client of KMS."""

    def key(self, backup: str, name: str = "") -> str:
        """Give the key of a file in the bucket, or what those of a backup begin with."""
        return f"{_FOLDER}/{backup}/{name}"

    def path(self, backup: str, name: str = "") -> Path:
        """Give where a file is on this machine."""
        return self.access.backups / backup / name

    def where(self, backup: str, name: str = "") -> str:
        """Give a file's address, for people."""
        return f"s3://{self.bucket}/{self.key(backup, name)}"

    def write(self, backup: str, name: str, content: bytes) -> None:
        """Write a file to both places, whole or not at all."""
        write_private(self.path(backup, name), content)
        self.put(backup, name, content)

    def put(self, backup: str, name: str, content: bytes) -> None:
        """Write a file to the bucket; S3 refuses it where it arrives changed."""
        digest = hashlib.sha256(content).digest()
        self.client.put_object(
            Bucket=self.bucket,
            Key=self.key(backup, name),
            Body=content,
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=self.key_arn,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(digest).decode("ascii"),
            ExpectedBucketOwner=self.access.settings.account_id,
        )

    def fetch(self, backup: str, name: str) -> bytes:
        """Read a file from the bucket.

        Raises `MissingError` where it is not there, `IncompleteError` where it cannot be read.
        """
        return self._get(backup, name)[0]

    def fetch_checked(self, backup: str, file: File) -> bytes:
        """Read a file that a manifest names; raises `DamagedError` where it is another."""
        content, key = self._get(backup, file.name)
        found = sha256(content)
        if found != file.sha256:
            raise DamagedError(
                f"{self.where(backup, file.name)} is damaged: its checksum is {found}, the "
                f"manifest says {file.sha256}. Nothing of it was used."
            )
        if key != self.key_arn:
            raise DamagedError(
                f"{self.where(backup, file.name)} is encrypted by {key or 'no key of KMS'}, not "
                f"by {self.key_arn}. Nothing of it was used."
            )
        return content

    def manifest(self, backup: str) -> Manifest:
        """Read a backup's manifest.

        Raises `MissingError` where the backup is not whole, `ManifestError` where it is damaged.
        """
        return parse(self.fetch(backup, MANIFEST), self.fetch(backup, SEAL))

    def ids(self) -> list[str]:
        """Give all backups in the bucket, whole or not, the oldest first.

        What has no name of a backup is none. Raises `IncompleteError` where the bucket cannot be
        listed.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket,
            Prefix=f"{_FOLDER}/",
            Delimiter="/",
            ExpectedBucketOwner=self.access.settings.account_id,
        )
        try:
            found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        except (BotoCoreError, ClientError) as error:
            raise IncompleteError(
                f"The backups in s3://{self.bucket} could not be listed: {error}. Nothing was done."
            ) from error
        names = [prefix.split("/")[1] for prefix in found]
        return sorted(name for name in names if moment(name))

    def local_ids(self) -> list[str]:
        """Give all backups on this machine, whole or not, the oldest first."""
        if not self.access.backups.is_dir():
            return []
        ending = f"_{self.access.environment}"
        return sorted(
            path.name
            for path in self.access.backups.iterdir()
            if path.name.endswith(ending) and moment(path.name)
        )

    def _get(self, backup: str, name: str) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self.client.get_object(
                Bucket=self.bucket,
                Key=self.key(backup, name),
                ExpectedBucketOwner=self.access.settings.account_id,
            )
            return answer["Body"].read(), str(answer.get("SSEKMSKeyId", ""))
        except ClientError as error:
            where = self.where(backup, name)
            if error.response["Error"]["Code"] in _MISSING:
                raise MissingError(f"{where} is not there.") from error
            raise IncompleteError(f"{where} could not be read: {error}.") from error
        except BotoCoreError as error:
            raise IncompleteError(
                f"{self.where(backup, name)} could not be read: {error}."
            ) from error


class DamagedError(OpsError):
    """A file of a backup is not what was written."""


def open_store(access: Access) -> Store:
    """Give the environment's backups.

    Raises as `foundation` does, and `IncompleteError` where the backups key cannot be seen.
    """
    kms = access.client("kms")
    return Store(
        access=access,
        bucket=foundation(access).backup_bucket,
        key_arn=str(described_key(kms, naming.backups_key_alias(access.environment))["Arn"]),
        client=access.client("s3"),
        envelopes=kms,
    )


def described_key(kms: Any, key_id: str) -> dict[str, Any]:
    """Describe a key by alias, id or ARN; raises `IncompleteError` where that is not possible."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found: dict[str, Any] = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The key {key_id} could not be seen: {error}. Nothing was done."
        ) from error
    return found


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made as 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def file_of(name: str, content: bytes, *, items: int = 0, fingerprint: str = "") -> File:
    """Describe a file for the manifest; one with a fingerprint is encrypted."""
    return File(
        name=name,
        bytes=len(content),
        sha256=sha256(content),
        items=items,
        encrypted=bool(fingerprint),
        fingerprint=fingerprint,
    )


Tell = Callable[[str], None]

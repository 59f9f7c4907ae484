"""Where a backend's files are: in a directory, or in a bucket of the sandbox's cloud.

A key is a path below Pulumi's ``.pulumi`` folder, with ``/`` between its parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from infra.sandbox.engine.cloudapi import CloudError, client
from infra.sandbox.engine.storage import StorageError, keep_copy, write_atomic

FOLDER: Final = ".pulumi"


class Store(Protocol):
    """Files that are only ever replaced whole."""

    def read(self, key: str) -> bytes | None:
        """Give a file's content; None where it is not there."""
        ...

    def has(self, key: str) -> bool:
        """Tell whether a file is there."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Replace a file; when this returns, it is kept."""
        ...

    def keep(self, key: str, copy: str) -> None:
        """Keep what a file holds now under another name."""
        ...

    def delete(self, key: str) -> None:
        """Delete a file, if it is there."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Give the keys that begin so, in order."""
        ...

    def where(self, key: str) -> str:
        """Give a file's place, for messages."""
        ...


class FileStore:
    """The files of a directory."""

    def __init__(self, base: Path) -> None:
        """Use `base`, the ``.pulumi`` folder."""
        self._base = base

    def read(self, key: str) -> bytes | None:
        """Give a file's content; None where it is not there."""
        try:
            return (self._base / key).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, key: str) -> bool:
        """Tell whether a file is there."""
        return (self._base / key).exists()

    def write(self, key: str, content: bytes) -> None:
        """Replace a file; when this returns, it is on the disk."""
        write_atomic(self._base / key, content)

    def keep(self, key: str, copy: str) -> None:
        """Keep what a file holds now under another name."""
        target = self._base / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        keep_copy(self._base / key, target)

    def delete(self, key: str) -> None:
        """Delete a file, if it is there."""
        (self._base / key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """Give the keys that begin so, in order."""
        folder, _, start = prefix.rpartition("/")
        found = (path for path in (self._base / folder).rglob("*") if path.is_file())
        below = (path.relative_to(self._base).as_posix() for path in found)
        # A file that is being written has a name with a leading dot.
        return sorted(
            key
            for key in below
            if key.startswith(f"{folder}/{start}") and not key.rpartition("/")[2].startswith(".")
        )

    def where(self, key: str) -> str:
        """Give a file's path."""
        return str(self._base / key)


class BucketStore:
    """The objects of a bucket in the sandbox's cloud, in the layout of Pulumi's S3 backend."""

    def __init__(
        self, bucket: str, folder: str, region: str, environment: Mapping[str, str]
    ) -> None:
        """`folder`: the part of the backend's address after the bucket; usually empty."""
        self._bucket = bucket
        self._prefix = f"{folder}/{FOLDER}/" if folder else f"{FOLDER}/"
        self._s3 = client("s3", region, environment)

    def read(self, key: str) -> bytes | None:
        """Give an object's content; None where it is not there."""
        with self._told(f"read {key}"):
            try:
                answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except self._s3.exceptions.NoSuchKey:
                return None
            content: bytes = answer["Body"].read()
            return content

    def has(self, key: str) -> bool:
        """Tell whether an object is there."""
        return key in self.keys(key)

    def write(self, key: str, content: bytes) -> None:
        """Replace an object."""
        with self._told(f"write {key}"):
            self._s3.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def keep(self, key: str, copy: str) -> None:
        """Keep what an object holds now under another name."""
        with self._told(f"copy {key}"):
            self._s3.copy_object(
                Bucket=self._bucket,
                Key=self._prefix + copy,
                CopySource={"Bucket": self._bucket, "Key": self._prefix + key},
            )

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        with self._told(f"delete {key}"):
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """Give the keys that begin so, in order."""
        with self._told(f"list {prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return [
                item["Key"].removeprefix(self._prefix)
                for page in pages
                for item in page.get("Contents", [])
            ]

    def where(self, key: str) -> str:
        """Give an object's address."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    @contextmanager
    def _told(self, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # slow to load

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise StorageError(
                f"cannot {action} in the bucket {self._bucket}: {error}. What was recorded before "
                "is kept, nothing is lost: look whether the bucket is there, then run it again"
            ) from error


def is_other(url: str) -> bool:
    """Tell whether an address leads to Pulumi Cloud or a store that the sandbox does not have."""
    return urlsplit(url).scheme not in ("file", "s3")


def directory(url: str) -> Path:
    """Give the directory of a ``file://`` address."""
    text = url.removeprefix("file://").partition("?")[0]
    return Path(text).expanduser()


def bucket(url: str, environment: Mapping[str, str]) -> tuple[str, BucketStore]:
    """Open the bucket of an ``s3://`` address: a name that is safe as a folder's, and the store."""
    parts = urlsplit(url)
    folder = parts.path.strip("/")
    region = (parse_qs(parts.query).get("region") or [environment.get("AWS_REGION", "")])[0]
    name = "-".join([parts.netloc, *folder.split("/")]) if folder else parts.netloc
    try:
        return name, BucketStore(parts.netloc, folder, region, environment)
    except CloudError as error:
        raise StorageError(f"cannot use {url}: {error}. Nothing was done") from error


def lock_content(pid: int, username: str, hostname: str, timestamp: str) -> bytes:
    """Give what a lock object of Pulumi's holds."""
    fields = {"pid": pid, "username": username, "hostname": hostname, "timestamp": timestamp}
    return json.dumps(fields, separators=(",", ":")).encode()


def lock_owner(content: bytes) -> dict[str, Any]:
    """Read what `lock_content` wrote; empty for what is none."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

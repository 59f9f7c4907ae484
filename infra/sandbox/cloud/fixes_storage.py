"""Writes to S3 and DynamoDB that are conditional are so for every thread, and bodies are checked.

moto looks and then writes, in as many threads as there are requests: of two that both ask to be the
first, both could be.
"""

from __future__ import annotations

import threading
from typing import Any, Final

COMPUTED: Final = ("crc32", "sha1", "sha256")
CHECKSUMS: Final = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _write_items_one_at_a_time()
    _write_objects_one_at_a_time()
    _check_bodies_against_their_checksums()
    _let_delete_markers_go()


def _one_at_a_time(owner: type, *names: str) -> None:
    lock = threading.RLock()

    def guarded(original: Any) -> Any:
        def write(self: Any, *args: Any, **kwargs: Any) -> Any:
            with lock:
                return original(self, *args, **kwargs)

        return write

    for name in names:
        setattr(owner, name, guarded(getattr(owner, name)))


def _write_items_one_at_a_time() -> None:
    from moto.dynamodb.responses import DynamoHandler

    _one_at_a_time(DynamoHandler, "put_item", "update_item", "delete_item", "transact_write_items")


def _write_objects_one_at_a_time() -> None:
    from moto.s3.responses import S3Response

    _one_at_a_time(S3Response, "put_object")


def _let_delete_markers_go() -> None:
    # Of a key whose versions are deleted, moto disposes of the content; a marker has none.
    from moto.s3.models import FakeDeleteMarker

    setattr(FakeDeleteMarker, "dispose", lambda _self: None)  # noqa: B010


def _computed(name: str, body: bytes) -> str:
    from moto.s3.utils import compute_checksum

    return compute_checksum(body, algorithm=name.upper()).decode()


def _check_bodies_against_their_checksums() -> None:
    # A checksum that comes without the name of its algorithm is neither checked nor kept by moto.
    from moto.s3.exceptions import S3ClientError
    from moto.s3.responses import S3Response

    original = S3Response._get_checksum  # noqa: SLF001 - what is corrected

    def _get_checksum(self: Any, response_headers: dict[str, Any]) -> tuple[str, str | None]:
        given = [
            (name, value)
            for name in CHECKSUMS
            if (value := self.headers.get(f"x-amz-checksum-{name}"))
        ]
        if not given:
            found: tuple[str, str | None] = original(self, response_headers)
            return found
        name, value = given[0]
        if name in COMPUTED and value != _computed(name, self.body or b""):
            raise S3ClientError(
                "BadDigest",
                f"The {name.upper()} you specified did not match the calculated checksum.",
            )
        response_headers[f"x-amz-checksum-{name}"] = value
        return name.upper(), value

    setattr(S3Response, "_get_checksum", _get_checksum)  # noqa: B010

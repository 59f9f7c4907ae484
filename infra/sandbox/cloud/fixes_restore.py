"""Corrections to moto where listing backups trips over it."""

from __future__ import annotations

import copy
from typing import Any


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    _forget_folders_of_deleted_objects()


def _forget_folders_of_deleted_objects() -> None:
    # In a versioned bucket moto goes on to list a folder whose objects are all deleted.
    from moto.s3.models import FakeDeleteMarker, S3Backend

    original = S3Backend.list_objects

    def list_objects(self: Any, bucket: Any, *args: Any, **kwargs: Any) -> Any:
        shown = copy.copy(bucket)
        shown.keys = {
            name: key for name, key in bucket.keys.items() if not isinstance(key, FakeDeleteMarker)
        }
        return original(self, shown, *args, **kwargs)

    setattr(S3Backend, "list_objects", list_objects)  # noqa: B010 - what is corrected

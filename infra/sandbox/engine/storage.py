"""Files that survive a kill, a power cut and a full disk."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


class StorageError(Exception):
    """A file could not be written; what was there before is still there."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """Say for the user why a file could not be written, and what to do."""
    reason = error.strerror or str(error)
    remedy = "check the directory's owner and permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space"
    return StorageError(
        f"cannot use {path}: {reason}. What was recorded before is kept, nothing is lost: "
        f"{remedy}, then run the command again"
    )


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file's content wholly or not at all; when this returns, it is on the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def keep_copy(source: Path, copy: Path) -> None:
    """Keep what `source` holds now under another name; `source` is only ever replaced whole."""
    temporary = copy.with_name(f".{copy.name}.new")
    if copy.exists() and copy.samefile(source):
        return  # renaming one link over another of the same file would leave both
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.replace(copy)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise storage_error(copy, error) from error
        write_atomic(copy, source.read_bytes())  # a file system without links


def sync_directory(path: Path) -> None:
    """Put a directory's entries (what was created, renamed, removed in it) on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

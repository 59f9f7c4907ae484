"""Which program it is that would be run: what was agreed to is brought up, and no later edit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ops.errors import RefusedError

if TYPE_CHECKING:
    from ops.access import Access

PACKAGES: Final = ("components", "infra", "stacks")
_NOT_OF_IT: Final = ("sandbox",)
"""Folders of these packages that no stack is made of."""
_FILES: Final = ("Pulumi*.yaml", "__main__.py", "requirements.txt")


def digest(root: Path) -> str:
    """Give what stands for a project's code, settings and locked packages: 16 hexadecimal digits.

    Packages are those that are imported here, wherever they are: stacks that outlive an
    environment are made of them in this process.
    """
    said = hashlib.sha256()
    for name, path in _files(root):
        said.update(f"{name}\0".encode())
        said.update(hashlib.sha256(path.read_bytes()).digest())
    return said.hexdigest()[:16]


def refuse_changed(access: Access, agreed: str) -> None:
    """Refuse to bring up another program than the one whose plan was agreed to."""
    found = digest(access.root)
    if found != agreed:
        raise RefusedError(
            f"The program is another than the one that was agreed to: its code, settings or "
            f"locked packages have changed (expected {agreed}, found {found}). The stack was not "
            "brought up. Plan it again with the same command, or put back what was changed."
        )


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for pattern in _FILES:
        for path in sorted(root.glob(pattern)):
            yield path.name, path
    for package in PACKAGES:
        spec = util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            for path in sorted(Path(folder).rglob("*.py")):
                name = path.relative_to(folder)
                if name.parts[0] not in _NOT_OF_IT:
                    yield f"{package}/{name.as_posix()}", path

"""The versions of what these commands are made of, found without importing any of it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata

_ABSENT = "not installed"


def versions() -> dict[str, str]:
    """Give names and versions, for people and for reports of errors."""
    return {
        "ops": _package("mono-repo"),
        "python": platform.python_version(),
        "pulumi sdk": _package("pulumi"),
        "pulumi cli": _cli(),
        "pulumi-aws": _package("pulumi-aws"),
        "boto3": _package("boto3"),
        "moto": _package("moto"),
    }


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _ABSENT


def _cli() -> str:
    path = shutil.which("pulumi")
    if path is None:
        return f"{_ABSENT} (only --sandbox works without it)"
    try:
        answer = subprocess.run(  # noqa: S603 - the user's own CLI
            [path, "version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not run: {error}"
    return answer.stdout.strip().removeprefix("v")

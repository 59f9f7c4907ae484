"""The project file, ``Pulumi.yaml``, as far as the engine acts on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_NAMES: Final = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


class ProjectError(Exception):
    """The project file is missing or wrong; the message is for the user."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project: its name, how its program is run, and the defaults of its configuration."""

    name: str
    root: Path
    """The directory of the project file."""
    runtime: str
    toolchain: str | None = None
    virtualenv: str | None = None
    main: str | None = None
    """Where the program is, relative to `root`; None for `root` itself."""
    description: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The ``config`` section as it stands in the file."""

    @property
    def program_directory(self) -> Path:
        """Give the directory that the program is run in."""
        return (self.root / self.main).resolve() if self.main else self.root

    @property
    def python(self) -> Path:
        """Give the interpreter: that of the project's virtual environment where there is one.

        Without one the running interpreter is used; the CLI would make the environment first.
        """
        if self.virtualenv:
            candidate = self.root / self.virtualenv / "bin" / "python"
            if candidate.exists():
                return candidate
        return Path(sys.executable)

    def stack_file(self, stack: str) -> Path:
        """Give the path of a stack's configuration file, whether or not it exists."""
        candidates = [self.root / f"Pulumi.{stack}{suffix}" for suffix in (".yaml", ".yml")]
        return next((path for path in candidates if path.exists()), candidates[0])


def find_project(directory: Path) -> Project:
    """Read the project file of a directory or of the nearest one above that has one."""
    for candidate in (directory, *directory.parents):
        for name in _NAMES:
            if (candidate / name).is_file():
                return read_project(candidate / name)
    raise ProjectError(
        f"no Pulumi.yaml project file found in {directory} or above it. Run the command in the "
        "project's directory"
    )


def read_project(path: Path) -> Project:
    """Read a project file; raises `ProjectError` for what is none."""
    document = _load(path)
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise ProjectError(f"{path}: project is missing a non-empty string value for 'name'")
    runtime = document.get("runtime")
    options: Mapping[str, Any] = {}
    if isinstance(runtime, Mapping):
        options = runtime.get("options") or {}
        runtime = runtime.get("name")
    if not isinstance(runtime, str) or not runtime:
        raise ProjectError(f"{path}: project is missing a 'runtime' attribute")
    if runtime != "python":
        raise ProjectError(
            f"{path}: the runtime is {runtime!r}; the sandbox's engine runs 'python' programs only"
        )
    config = document.get("config") or {}
    if not isinstance(config, Mapping):
        raise ProjectError(f"{path}: 'config' must be a map from keys to values")
    return Project(
        name=name,
        root=path.parent.resolve(),
        runtime=runtime,
        toolchain=options.get("toolchain"),
        virtualenv=options.get("virtualenv"),
        main=document.get("main"),
        description=document.get("description") or "",
        config=config,
    )


def _load(path: Path) -> Mapping[str, Any]:
    import yaml  # slow to load

    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ProjectError(f"could not load the project file {path}: {error}") from error
    if not isinstance(document, Mapping):
        raise ProjectError(f"could not load the project file {path}: it is no map")
    return document

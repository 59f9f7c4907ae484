"""What commands answer: plain data, one versioned model a command, and its JSON form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ops.tree import Diagnostic, ResourceChange

REPORT_VERSION = 1
"""Rises when a field changes its meaning or goes; new fields do not raise it."""

REHEARSAL = (
    "A rehearsal: it proves the program, the order of its steps and these commands, not AWS: "
    "no permission, quota, price or timing of AWS was tested."
)
"""The line that every result of the sandbox ends with."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Where a command acts, said before it acts."""

    mode: Literal["aws", "sandbox"]
    environment: str
    stack: str
    """`<project>/<stack>`."""
    account_id: str
    region: str
    cloud: str
    """Which cloud: `AWS`, or the sandbox's identity and address."""
    caller: str = ""
    """ARN of whoever is asking; empty where nothing is asked of the cloud."""
    backend: str = ""
    """Where the state is."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was seen when the resources were read back after an update."""

    read: int
    """Resources read back from the cloud."""
    differing: tuple[ResourceChange, ...]
    recorded: int
    """Resources that could not be read back: the sandbox's cloud has no API for them."""

    @property
    def holds(self) -> bool:
        """Tell whether everything that could be read back is as the state says."""
        return not self.differing


@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """The result of preview, up, refresh or destroy."""

    command: Literal["preview", "up", "refresh", "destroy"]
    header: Header
    dry_run: bool
    result: Literal["succeeded", "failed"]
    resources: tuple[ResourceChange, ...]
    counts: Mapping[str, int]
    """Pulumi operation → number of resources, as the engine counts them."""
    diagnostics: tuple[Diagnostic, ...]
    seconds: float
    error: str = ""
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The stack's outputs, secrets masked; empty after a dry run."""
    verification: Verification | None = None
    version: int = REPORT_VERSION

    @property
    def changes(self) -> int:
        """How many resources it changes or changed."""
        return sum(count for op, count in self.counts.items() if op not in ("same", "read"))

    @property
    def recorded(self) -> int:
        """How many of the resources are only recorded in state."""
        return sum(change.recorded for change in self.resources)


@dataclass(frozen=True, kw_only=True)
class OutputsReport:
    """The outputs of a stack."""

    header: Header
    outputs: Mapping[str, Any]
    command: Literal["outputs"] = "outputs"
    version: int = REPORT_VERSION


@dataclass(frozen=True, kw_only=True)
class SandboxReport:
    """Whether the sandbox runs, where, and what it holds."""

    running: bool
    home: str
    identity: str = ""
    endpoint: str = ""
    pid: int | None = None
    message: str = ""
    stacks: Sequence[Mapping[str, Any]] = ()
    """Each with project, stack, resources, cloud (identity that its state describes)."""
    clusters: Sequence[Mapping[str, Any]] = ()
    """Each with name, state, endpoint, version, memory (bytes), kubeconfig, log."""
    kubernetes: str = ""
    """Which API server the clusters' objects are applied to: its path, or empty (recorded)."""
    command: Literal["sandbox status"] = "sandbox status"
    version: int = REPORT_VERSION


def to_json(report: Any) -> str:
    """Give a report (a dataclass) as JSON text, with what its properties derive left out."""
    return json.dumps(dataclasses.asdict(report), indent=2, default=str)

"""ops settings check: everything that is wrong with the stack files, found without running them.

Reads files only; asks no cloud.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra import naming, version_calendar
from infra.settings import Problem, Settings, SettingsError, check_fleet, ended_waivers, load

REPORT_VERSION = 1
"""Rises when a field changes its meaning or goes; new fields do not raise it."""
ALL = "all"
"""Stands for every environment on the command line."""


@dataclass(frozen=True, kw_only=True)
class SettingsReport:
    """What was checked and what was found."""

    checked: tuple[str, ...]
    """The environments asked for."""
    usable: tuple[str, ...]
    """Those of them whose stack file a run would accept."""
    findings: tuple[Problem, ...]
    """Each with file, path, found, allowed and remedy, in the files' order."""
    command: Literal["settings check"] = "settings check"
    version: int = REPORT_VERSION

    @property
    def holds(self) -> bool:
        """Tell whether nothing was found."""
        return not self.findings


def check(envs: Sequence[str], root: Path, today: dt.date) -> SettingsReport:
    """Check the stack files of `envs` in the folder `root`, and how they go together.

    `all`, or none named, stands for every environment. What they must be apart from is every
    environment with a usable file, asked for or not. `today` decides which waivers have ended and
    which versions leave support.
    A user's mistake is a finding, never an exception.
    """
    asked = _environments(envs)
    neighbours = tuple(env for env in naming.ENVIRONMENTS if env not in asked)
    usable: dict[str, Settings] = {}
    findings: list[Problem] = []
    # Neighbours first: an overlap is then told at the file that was asked for.
    for env in (*neighbours, *asked):
        try:
            usable[env] = load(env, root, today)
        except SettingsError as error:
            findings += error.problems if env in asked else ()
        else:
            findings += _dated(usable[env], today) if env in asked else ()
    files = {naming.stack_file(env) for env in asked}
    findings += (problem for problem in check_fleet(usable) if problem.file in files)
    return SettingsReport(
        checked=asked,
        usable=tuple(env for env in asked if env in usable),
        # An old calendar is one finding, however many files were checked with it.
        findings=tuple(dict.fromkeys(findings)),
    )


def _dated(settings: Settings, today: dt.date) -> Iterator[Problem]:
    """Find what is right in itself and wrong on the day: no update is refused because of it."""
    yield from ended_waivers(settings, today)
    yield from (finding.problem for finding in version_calendar.findings(settings, today))


def _environments(envs: Sequence[str]) -> tuple[str, ...]:
    """Return each environment once; names that are none stay, to be answered."""
    if not envs or ALL in envs:
        envs = (*naming.ENVIRONMENTS, *(env for env in envs if env != ALL))
    return tuple(dict.fromkeys(envs))

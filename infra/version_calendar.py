"""The version calendar: which versions leave support, what staying would cost, what to do.

A finding is said, never enforced: no update and no recovery waits because a date has passed. The
dates and prices are data of their own, `version_calendar.toml`, with the day they were looked up.
Pure, but for reading that file; the caller says what day it is.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from infra.settings.problems import Problem, shown

if TYPE_CHECKING:
    from infra.settings import Database, Settings

NOTICE: Final = dt.timedelta(days=180)
"""How long before the end of standard support it is told: an upgrade takes planning."""
FRESH: Final = dt.timedelta(days=365)
"""How old the data may grow: AWS adds a version every four months."""
HOURS_A_MONTH: Final = 730
FILE: Final = Path(__file__).with_suffix(".toml")

Kind = Literal["ending", "extended", "ended", "unknown", "stale"]
"""Soon out of standard support; past it; past all support; not in the data; the data is old."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the calendar says of an environment."""

    kind: Kind
    file: str
    path: str
    """Where the version is set, as in `eks.version`."""
    thing: str
    """What runs it, as in `EKS cluster mono-repo-dev`; for old data, the calendar."""
    version: str
    ends: dt.date | None
    """Last day of standard support; None where the data does not say."""
    extended_usd_a_month: float | None
    """What extended support costs beside the usual price at the day's rate; None: not known."""
    message: str
    """What is, with date and price, as a sentence."""
    allowed: str
    """What would be no finding."""
    remedy: str
    """What to do, and what AWS does otherwise."""

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    @property
    def problem(self) -> Problem:
        """The same, as a finding of `ops settings check`."""
        found = f"{shown(self.version)}: {self.message}"
        return Problem(self.file, self.path, found, self.allowed, self.remedy)


@dataclass(frozen=True, kw_only=True)
class Support:
    """How long one version is supported; every date but `third_year_from` is a last day."""

    standard_until: dt.date
    extended_until: dt.date
    third_year_from: dt.date | None = None
    """From when extended support costs more; None: it always costs the same."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """What AWS has published, as of a day."""

    as_of: dt.date
    eks: Mapping[str, Support]
    eks_extra_usd_an_hour: float
    """What a cluster costs more in extended support."""
    postgresql: Mapping[str, Support]
    postgresql_usd_an_hour: float
    """Per vCPU."""
    postgresql_third_year_usd_an_hour: float


@cache
def calendar() -> Calendar:
    """Read the data that comes with this module."""
    data = tomllib.loads(FILE.read_text(encoding="utf-8"))
    eks, postgresql = data["eks"], data["postgresql"]
    return Calendar(
        as_of=data["as_of"],
        eks=_supports(eks),
        eks_extra_usd_an_hour=eks["extended_usd_an_hour"] - eks["standard_usd_an_hour"],
        postgresql=_supports(postgresql),
        postgresql_usd_an_hour=postgresql["extended_usd_an_hour"],
        postgresql_third_year_usd_an_hour=postgresql["third_year_usd_an_hour"],
    )


def _supports(section: Mapping[str, Any]) -> dict[str, Support]:
    return {version: Support(**dates) for version, dates in section["versions"].items()}


def findings(
    settings: Settings, today: dt.date, known: Calendar | None = None
) -> tuple[Finding, ...]:
    """Return what is to be said of an environment's versions on a day; `known`: other data."""
    known = known or calendar()
    return tuple(_findings(settings, today, known))


def _findings(settings: Settings, today: dt.date, known: Calendar) -> Iterator[Finding]:
    file = naming.stack_file(settings.environment)
    yield from _of_cluster(settings, today, known, file)
    for index, database in enumerate(settings.databases):
        yield from _of_database(database, index, today, known, file)
    if today - known.as_of > FRESH:
        yield _stale(known)


def _of_cluster(
    settings: Settings, today: dt.date, known: Calendar, file: str
) -> Iterator[Finding]:
    version = settings.eks.version
    price = round(known.eks_extra_usd_an_hour * HOURS_A_MONTH, 2)
    paid = settings.eks.support_type == "EXTENDED"
    about = _About(
        file=file,
        path="eks.version",
        product="EKS",
        thing=f"EKS cluster {naming.cluster(settings.environment)}",
        version=version,
        price=price,
        supports=known.eks,
    )
    steps = _steps(version, known.eks, today)
    upgrade = (
        f"Set eks.version to {steps[0]}"
        + (f", then one by one to {', '.join(steps[1:])}" if steps[1:] else "")
        + ": a control plane moves one minor version at a time."
        if steps
        else "Upgrade when EKS offers a newer version."
    )
    otherwise = (
        "Otherwise that is paid until it is upgraded, since eks.support_type is EXTENDED."
        if paid
        else "Otherwise AWS upgrades the control plane by itself, since eks.support_type is "
        "STANDARD, and the settings no longer say what runs."
    )
    yield from _judged(about, today, known, upgrade, otherwise)


def _of_database(
    database: Database, index: int, today: dt.date, known: Calendar, file: str
) -> Iterator[Finding]:
    major = database.engine_version.partition(".")[0]
    path = f"databases[{index}].engine_version"
    support = known.postgresql.get(major)
    about = _About(
        file=file,
        path=path,
        product="PostgreSQL",
        thing=f"database {database.name} ({database.identifier})",
        version=major,
        price=_extended_price(database, support, today, known),
        supports=known.postgresql,
    )
    targets = _steps(major, known.postgresql, today)
    upgrade = (
        f"Set {path} to {targets[-1]} after a rehearsal on a restored copy."
        if targets
        else "Upgrade when RDS offers a newer version."
    )
    otherwise = (
        "Extended support is turned off for it: otherwise RDS upgrades it to a supported major "
        "version by itself, with downtime, and so it does with a restored copy."
    )
    yield from _judged(about, today, known, upgrade, otherwise)


@dataclass(frozen=True, kw_only=True)
class _About:
    """What a finding is about, before the day is looked at."""

    file: str
    path: str
    product: str
    thing: str
    version: str
    price: float | None
    supports: Mapping[str, Support]

    def finding(
        self, kind: Kind, message: str, remedy: str, ends: dt.date | None = None
    ) -> Finding:
        days = NOTICE.days
        return Finding(
            kind=kind,
            file=self.file,
            path=self.path,
            thing=self.thing,
            version=self.version,
            ends=ends,
            extended_usd_a_month=self.price if ends else None,
            message=message,
            allowed=f"{self.product} with more than {days} days of standard support left",
            remedy=remedy,
        )


def _judged(
    about: _About, today: dt.date, known: Calendar, upgrade: str, otherwise: str
) -> Iterator[Finding]:
    """Judge one version by the day."""
    named = f"{about.product} {about.version} of {about.thing}"
    support = about.supports.get(about.version)
    if support is None:
        yield _unlisted(about, named, known, upgrade)
        return
    until = support.standard_until
    if today <= until:
        if until - today <= NOTICE:
            days = (until - today).days
            left = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
            message = (
                f"{named} leaves standard support on {until}, {left};{_costs(about)} until "
                f"{support.extended_until}."
            )
            yield about.finding("ending", message, f"{upgrade} {otherwise}", until)
    elif today <= support.extended_until:
        message = (
            f"{named} left standard support on {until};{_costs(about)} until "
            f"{support.extended_until}."
        )
        yield about.finding("extended", message, f"{upgrade} {otherwise}", until)
    else:
        message = (
            f"{named} left standard support on {until} and extended support on "
            f"{support.extended_until}: AWS upgrades what still runs it without asking."
        )
        yield about.finding("ended", message, upgrade, until)


def _costs(about: _About) -> str:
    if about.price is None:
        return " extended support is paid by vCPU and hour"
    return f" extended support costs {about.price:,.0f} USD a month more"


def _unlisted(about: _About, named: str, known: Calendar, upgrade: str) -> Finding:
    if _order(about.version) > max(map(_order, about.supports)):
        message = f"{named} is newer than the version calendar, which is as of {known.as_of}."
        remedy = f"When its dates are published, add them to infra/{FILE.name}."
        return about.finding("unknown", message, remedy)
    message = f"{named} is older than every version in the calendar: AWS supports it no more."
    return about.finding("ended", message, upgrade)


def _stale(known: Calendar) -> Finding:
    return Finding(
        kind="stale",
        file=f"infra/{FILE.name}",
        path="as_of",
        thing="version calendar",
        version=known.as_of.isoformat(),
        ends=None,
        extended_usd_a_month=None,
        message=f"The version calendar is as of {known.as_of}, more than a year ago: newer "
        "versions and changed dates are not in it.",
        allowed=f"a day of the last {FRESH.days}",
        remedy=f"Look the dates up at the sources that infra/{FILE.name} names, and date it anew.",
    )


def _steps(version: str, supports: Mapping[str, Support], today: dt.date) -> list[str]:
    """Return the versions up from one, to the first whose standard support lasts, or the last."""
    steps: list[str] = []
    for candidate in sorted(supports, key=_order):
        if _order(candidate) > _order(version):
            steps.append(candidate)
            if supports[candidate].standard_until - today > NOTICE:
                break
    return steps


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _extended_price(
    database: Database, support: Support | None, today: dt.date, known: Calendar
) -> float | None:
    vcpus = vcpu_count(database.instance_class)
    if vcpus is None:
        return None
    dearer = support.third_year_from if support else None
    late = dearer is not None and dearer <= today
    rate = known.postgresql_third_year_usd_an_hour if late else known.postgresql_usd_an_hour
    return round(vcpus * rate * HOURS_A_MONTH * (2 if database.multi_az else 1), 2)


_TWO_VCPUS: Final = frozenset({"micro", "small", "medium", "large"})


def vcpu_count(instance_class: str) -> int | None:
    """Return the vCPUs of an instance class, by the size in its name; None for a size unheard of.

    `db.t4g.medium` and `db.m7g.large` have 2, `xlarge` has 4, `8xlarge` 32.
    """
    size = instance_class.rpartition(".")[2]
    if size in _TWO_VCPUS:
        return 2
    times = re.fullmatch(r"(\d*)xlarge", size)
    return 4 * int(times[1] or 1) if times else None

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from infra import version_calendar
from infra.settings import Settings, load
from infra.version_calendar import Calendar, Finding, Support, calendar, findings, vcpu_count
from ops import render
from ops.settings import check

ROOT = Path(__file__).parents[2]
TODAY = dt.date(2026, 11, 23)
KNOWN = Calendar(
    as_of=TODAY,
    eks={
        "1.33": Support(standard_until=dt.date(2026, 7, 29), extended_until=dt.date(2027, 7, 29)),
        "1.34": Support(standard_until=dt.date(2026, 12, 2), extended_until=dt.date(2027, 12, 2)),
        "1.35": Support(standard_until=dt.date(2027, 3, 27), extended_until=dt.date(2028, 3, 27)),
        "1.36": Support(standard_until=dt.date(2027, 8, 2), extended_until=dt.date(2028, 8, 2)),
    },
    eks_extra_usd_an_hour=0.5,
    postgresql={
        "13": Support(
            standard_until=dt.date(2026, 2, 28),
            third_year_from=dt.date(2028, 3, 1),
            extended_until=dt.date(2029, 2, 28),
        ),
        "17": Support(
            standard_until=dt.date(2030, 2, 28),
            third_year_from=dt.date(2032, 3, 1),
            extended_until=dt.date(2033, 2, 28),
        ),
    },
    postgresql_usd_an_hour=0.1,
    postgresql_third_year_usd_an_hour=0.2,
)


def dev(*, eks: dict[str, Any] | None = None, database: dict[str, Any] | None = None) -> Settings:
    settings = load("dev", ROOT, TODAY)
    versions = {"version": "1.36", **(eks or {})}
    first = settings.databases[0].model_copy(update={"engine_version": "17", **(database or {})})
    return settings.model_copy(
        update={"eks": settings.eks.model_copy(update=versions), "databases": (first,)}
    )


def found(settings: Settings, today: dt.date = TODAY, known: Calendar = KNOWN) -> list[Finding]:
    return list(findings(settings, today, known))


def test_nothing_is_said_of_versions_with_time_left() -> None:
    assert found(dev()) == []


def test_a_version_about_to_leave_standard_support_is_said_with_day_price_and_remedy() -> None:
    (finding,) = found(dev(eks={"version": "1.34"}))
    assert (finding.kind, finding.ends) == ("ending", dt.date(2026, 12, 2))
    assert finding.extended_usd_a_month == 365
    assert str(finding) == (
        "EKS 1.34 of EKS cluster mono-repo-dev leaves standard support on 2026-12-02, in 9 days; "
        "extended support costs 365 USD a month more until 2027-12-02. Set eks.version to 1.35, "
        "then one by one to 1.36: a control plane moves one minor version at a time. Otherwise "
        "AWS upgrades the control plane by itself, since eks.support_type is STANDARD, and the "
        "settings no longer say what runs."
    )


def test_the_notice_begins_180_days_before_the_end_and_the_last_day_still_counts() -> None:
    settings, end = dev(), dt.date(2027, 8, 2)
    day = dt.timedelta(days=1)
    assert found(settings, end - 181 * day) == []
    assert [finding.kind for finding in found(settings, end - 180 * day)] == ["ending"]
    assert "on 2027-08-02, today;" in found(settings, end)[0].message
    assert [finding.kind for finding in found(settings, end + day)] == ["extended"]


def test_paying_for_extended_support_is_said_where_the_settings_choose_it() -> None:
    (finding,) = found(dev(eks={"version": "1.33", "support_type": "EXTENDED"}))
    assert finding.kind == "extended"
    assert "left standard support on 2026-07-29" in finding.message
    assert "is paid until it is upgraded, since eks.support_type is EXTENDED" in finding.remedy
    assert "1.34, then one by one to 1.35, 1.36" in finding.remedy


def test_a_version_past_all_support_is_said_to_be_upgraded_without_asking() -> None:
    (finding,) = found(dev(eks={"version": "1.33"}), dt.date(2027, 7, 30))
    assert finding.kind == "ended"
    assert "AWS upgrades what still runs it without asking" in finding.message


def test_a_version_older_than_the_data_has_ended() -> None:
    (finding,) = found(dev(eks={"version": "1.28"}))
    assert (finding.kind, finding.ends) == ("ended", None)
    assert "older than every version" in finding.message


def test_a_version_newer_than_the_data_is_said_mildly() -> None:
    (finding,) = found(dev(eks={"version": "1.37"}))
    assert (finding.kind, finding.ends, finding.extended_usd_a_month) == ("unknown", None, None)
    assert "newer than the version calendar, which is as of 2026-11-23" in finding.message
    assert "add them to infra/version_calendar.toml" in finding.remedy


@pytest.mark.parametrize(
    ("instance_class", "multi_az", "today", "price"),
    [
        ("db.t4g.medium", False, TODAY, 146),
        ("db.t4g.medium", True, TODAY, 292),
        ("db.m7g.4xlarge", False, TODAY, 1168),
        ("db.t4g.medium", False, dt.date(2028, 2, 29), 146),
        ("db.t4g.medium", False, dt.date(2028, 3, 1), 292),
    ],
)
def test_a_databases_extended_support_is_priced_by_vcpu_standby_and_year(
    instance_class: str, multi_az: bool, today: dt.date, price: float
) -> None:
    database = {
        "engine_version": "13.20",
        "instance_class": instance_class,
        "multi_az": multi_az,
    }
    finding = found(dev(database=database), today)[-1 if today == TODAY else 1]
    assert (finding.path, finding.version) == ("databases[0].engine_version", "13")
    assert finding.extended_usd_a_month == price


def test_a_databases_finding_says_which_version_to_set_and_what_rds_does_otherwise() -> None:
    (finding,) = found(dev(database={"engine_version": "13"}))
    assert finding.thing == "database main (mono-repo-dev)"
    assert "Set databases[0].engine_version to 17" in finding.remedy
    assert "otherwise RDS upgrades it" in finding.remedy


def test_a_size_that_nobody_has_heard_of_has_no_price_but_is_still_a_finding() -> None:
    database = {"engine_version": "13", "instance_class": "db.m9g.metal"}
    (finding,) = found(dev(database=database))
    assert finding.extended_usd_a_month is None
    assert "extended support is paid by vCPU and hour" in finding.message


@pytest.mark.parametrize(
    ("instance_class", "vcpus"),
    [
        ("db.t4g.micro", 2),
        ("db.m7g.large", 2),
        ("db.r6g.xlarge", 4),
        ("db.m7g.2xlarge", 8),
        ("db.r7i.48xlarge", 192),
        ("db.m7g.metal", None),
    ],
)
def test_the_size_in_an_instance_class_tells_its_vcpus(
    instance_class: str, vcpus: int | None
) -> None:
    assert vcpu_count(instance_class) == vcpus


def test_data_older_than_a_year_is_a_finding() -> None:
    settings = dev()
    a_year_on = KNOWN.as_of + version_calendar.FRESH
    kinds = [finding.kind for finding in found(settings, a_year_on)]
    assert "stale" not in kinds
    stale = found(settings, a_year_on + dt.timedelta(days=1))[-1]
    assert stale.kind == "stale"
    assert stale.file == "infra/version_calendar.toml"
    assert "as of 2026-11-23, more than a year ago" in stale.message


def test_the_data_is_dated_has_its_sources_and_every_end_comes_after_the_one_before() -> None:
    known = calendar()
    assert known.as_of >= dt.date(2026, 11, 23)
    assert known.eks_extra_usd_an_hour == pytest.approx(0.5)
    for supports in (known.eks, known.postgresql):
        ends = [support.standard_until for support in supports.values()]
        assert ends == sorted(ends)
        for support in supports.values():
            middle = support.third_year_from or support.extended_until
            assert support.standard_until < middle <= support.extended_until
    text = version_calendar.FILE.read_text()
    assert "docs.aws.amazon.com/eks" in text
    assert "docs.aws.amazon.com/AmazonRDS" in text


def test_the_data_covers_what_the_committed_environments_run() -> None:
    for env in ("dev", "uat", "prod"):
        settings = load(env, ROOT, TODAY)
        assert settings.eks.version in calendar().eks
        for database in settings.databases:
            assert database.engine_version.partition(".")[0] in calendar().postgresql


def test_the_check_of_settings_tells_what_leaves_support_and_the_file_stays_usable() -> None:
    today = dt.date(2027, 6, 1)
    report = check(["dev"], ROOT, today)
    (problem,) = report.findings
    assert (problem.file, problem.path) == ("Pulumi.dev.yaml", "eks.version")
    assert "leaves standard support on 2027-08-02, in 62 days" in problem.found
    assert problem.allowed == "EKS with more than 180 days of standard support left"
    assert not report.holds
    assert report.usable == ("dev",)


def test_old_data_is_told_once_however_many_files_are_checked() -> None:
    report = check(["all"], ROOT, dt.date(2030, 1, 1))
    assert [problem.file for problem in report.findings].count("infra/version_calendar.toml") == 1
    lines = [line.text for line in render.settings(report)]
    assert "infra/version_calendar.toml: 1 problem" in lines

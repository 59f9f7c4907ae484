"""What has to be agreed to, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops import guard
from ops.errors import CancelledError, ExitCode, RefusedError
from ops.report import UpdateReport
from ops.tree import UpdateLog
from tests.ops.events import VPC, pre, urn
from tests.ops.test_render import HEADER

PRODUCTION = replace(HEADER, mode="aws", environment="prod", stack="mono-repo/prod")
DATABASE = urn("aws:rds/instance:Instance", "main")
SUBNET = urn("aws:ec2/subnet:Subnet", "subnet-a")


def _report(op: str, of: str, **changed: tuple[str, str]) -> UpdateReport:
    log = UpdateLog(dry_run=True)
    changes = {
        "detailedDiff": {name: {"diffKind": "update", "inputDiff": True} for name in changed},
        "old": {name: old for name, (old, _) in changed.items()},
        "new": {name: new for name, (_, new) in changed.items()},
    }
    log.take(pre(op, of, **(changes if changed else {})))
    return UpdateReport(
        command="preview",
        header=HEADER,
        dry_run=True,
        result="succeeded",
        resources=log.resources(),
        counts=log.counts,
        diagnostics=(),
        seconds=0,
    )


def test_without_a_terminal_and_without_yes_nothing_is_agreed_to() -> None:
    with pytest.raises(RefusedError, match=r"Nothing was changed\. Give --yes") as caught:
        guard.confirm(HEADER, "up mono-repo/dev", yes=False, ask=None)
    assert caught.value.exit_code == ExitCode.REFUSED


def test_yes_is_not_asked_again() -> None:
    guard.confirm(HEADER, "destroy mono-repo/dev", yes=True, ask=None, by_name=True)


@pytest.mark.parametrize("answer", ["", "n", "no", "dev", "yep"])
def test_only_a_yes_is_a_yes(answer: str) -> None:
    with pytest.raises(CancelledError):
        guard.confirm(HEADER, "up", yes=False, ask=lambda _question: answer)


def test_a_yes_is_enough_for_an_up_and_the_question_names_the_account() -> None:
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return "y"

    guard.confirm(HEADER, "up mono-repo/dev", yes=False, ask=ask)
    assert questions == ["Up mono-repo/dev in account 111122223333? [y/N] "]


def test_where_the_name_has_to_be_typed_a_yes_is_not_enough() -> None:
    with pytest.raises(CancelledError, match="is not 'dev'"):
        guard.confirm(HEADER, "destroy", yes=False, ask=lambda _question: "yes", by_name=True)
    guard.confirm(HEADER, "destroy", yes=False, ask=lambda _question: "dev", by_name=True)


def test_the_name_is_asked_for_before_a_destroy_and_before_any_change_of_production() -> None:
    assert guard.needs_name(HEADER, "destroy")
    assert not guard.needs_name(HEADER, "up")
    assert guard.needs_name(PRODUCTION, "up")


def test_production_is_not_destroyed_on_aws_even_with_yes() -> None:
    with pytest.raises(RefusedError, match="second approval"):
        guard.refuse_unattended_teardown(PRODUCTION)
    guard.refuse_unattended_teardown(replace(PRODUCTION, mode="sandbox"))
    guard.refuse_unattended_teardown(replace(HEADER, mode="aws"))


def test_protection_is_not_taken_off_on_aws() -> None:
    with pytest.raises(RefusedError, match="--unprotect is for the sandbox"):
        guard.refuse_unprotecting(replace(HEADER, mode="aws"))
    guard.refuse_unprotecting(HEADER)


@pytest.mark.parametrize("op", ["replace", "delete", "import-replacement", "delete-replaced"])
def test_a_plan_that_would_lose_a_database_is_refused_and_names_it(op: str) -> None:
    with pytest.raises(RefusedError, match=f"{op} aws:rds:Instance main"):
        guard.refuse_losses(_report(op, DATABASE))


def test_a_plan_that_would_replace_a_subnet_is_refused() -> None:
    with pytest.raises(RefusedError, match="subnet-a"):
        guard.refuse_losses(_report("replace", SUBNET))


def test_a_plan_that_would_rename_a_live_database_is_refused_and_says_what_to_do() -> None:
    report = _report("update", DATABASE, identifier=("mono-repo-dev", "mono-repo-new"))
    with pytest.raises(RefusedError, match="mono-repo-dev would be renamed to mono-repo-new"):
        guard.refuse_losses(report)
    guard.refuse_losses(_report("update", DATABASE, instanceClass=("db.t4g.small", "db.m7g.large")))


def test_a_rename_that_a_refresh_has_found_is_no_plan_to_rename() -> None:
    report = _report("update", DATABASE, identifier=("mono-repo-dev", "mono-repo-new"))
    found = tuple(replace(change, refreshed=True) for change in report.resources)
    guard.refuse_losses(replace(report, resources=found))


@pytest.mark.parametrize(
    ("op", "of"), [("create", DATABASE), ("update", DATABASE), ("replace", VPC), ("delete", SUBNET)]
)
def test_other_plans_are_not_refused(op: str, of: str) -> None:
    guard.refuse_losses(_report(op, of))

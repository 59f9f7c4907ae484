"""`ops params setup`: create the operator-owned parameters of an environment that are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from infra import naming
from ops.errors import ExitCode, IncompleteError, PartialError
from ops.parameters import store
from ops.parameters.plan import Plan, plan
from ops.parameters.store import Result
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from infra.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SetupReport:
    """What was, or with `dry_run` would be, done about each parameter. It holds no value."""

    header: Header
    path: str
    key_alias: str
    dry_run: bool
    results: tuple[Result, ...]
    unknown: tuple[str, ...]
    """Names under the path that the catalogue does not declare; left alone."""
    command: Literal["params setup"] = "params setup"
    version: int = REPORT_VERSION


def prepare(client: store.ClientFactory, settings: Settings) -> Plan:
    """Read what is there and decide; change nothing.

    Raises `IncompleteError` where the listing is not complete, `OpsError` without the key.
    """
    alias = naming.parameter_key_alias(settings.environment)
    existing = store.listed(client("ssm"), naming.parameter_path(settings.environment))
    return plan(existing, settings, store.key_ids(client("kms"), alias))


def planned(plan: Plan, header: Header) -> SetupReport:
    """Give the plan as a report."""
    outcomes: dict[str, store.Outcome] = {"create": "to-create", "keep": "kept"}
    results = tuple(
        Result(
            name=step.name,
            type=step.parameter.type,
            outcome=outcomes.get(step.action) or step.action,  # type: ignore[arg-type]  # the others are named alike
            message=step.reason,
        )
        for step in plan.steps
    )
    return _report(plan, header, results, dry_run=True)


def act(
    client: store.ClientFactory,
    settings: Settings,
    plan: Plan,
    header: Header,
    watch: Callable[[Result], None],
) -> SetupReport:
    """Create what the plan says, list again and report what is there now."""
    ssm = client("ssm")
    results = store.create(ssm, plan, settings, watch)
    created = sum(result.outcome == "created" for result in results)
    if created:
        try:
            results = tuple(store.verified(results, store.listed(ssm, plan.path)))
        except IncompleteError as error:
            raise PartialError(
                f"{created} parameters were created, but listing them again failed, so they are "
                "not verified. Run the command again: it creates nothing twice."
            ) from error
    return _report(plan, header, results, dry_run=False)


def exit_code(report: SetupReport) -> ExitCode:
    """Give the exit code: failures first, then what somebody has to look at."""
    outcomes = {result.outcome for result in report.results}
    if "failed" in outcomes:
        return ExitCode.PARTIAL if "created" in outcomes else ExitCode.ERROR
    return ExitCode.FINDINGS if outcomes & {"differs", "needs-value"} else ExitCode.OK


def _report(
    plan: Plan, header: Header, results: tuple[Result, ...], *, dry_run: bool
) -> SetupReport:
    return SetupReport(
        header=header,
        path=plan.path,
        key_alias=plan.key_alias,
        dry_run=dry_run,
        results=results,
        unknown=plan.unknown,
    )

"""Plans and runs as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ops import checks
from ops import plan as plans
from ops.plan import Plan, Step
from ops.render import Line
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from ops.journal import Record, Run
    from ops.locking import LockReport
    from ops.operation import RunReport


@dataclass(frozen=True, kw_only=True)
class RunsReport:
    """The runs on an environment, the oldest first."""

    header: Header
    runs: Sequence[Mapping[str, Any]]
    """Each with run, command, began, operator, why, result, finished, steps, done."""
    command: Literal["runs list"] = "runs list"
    version: int = REPORT_VERSION


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that is written down about a run."""

    header: Header
    run: str
    finished: bool
    records: Sequence[Mapping[str, Any]]
    """As in the journal."""
    command: Literal["runs show"] = "runs show"
    version: int = REPORT_VERSION


_OUTCOMES: Final = {"done": "green", "failed": "bold red", "not begun": "yellow"}


def plan(value: Plan, shown: Sequence[Line] = ()) -> Iterator[Line]:
    """Give a plan: what the command itself says of it, then its steps, then its hash."""
    if not value.steps:
        yield Line(f"{value.command} {value.environment}: nothing to do.")
    yield from shown
    for number, stage in enumerate(plans.stages(value.steps), start=1):
        at_once = f", {len(stage)} at once" if len(stage) > 1 else ""
        yield Line(f"{number}.{at_once}" if at_once else f"{number}.", "dim")
        for step in stage:
            yield Line(f"    {step.summary}", "red" if step.destructive else "")
    for note in value.notes:
        yield Line(f"note: {note}", "yellow")
    if value.steps:
        yield Line("")
        yield Line(f"{_counts(value.steps)}; plan {value.hash}")


def remaining(run_: str, value: Plan, left: Sequence[Step]) -> Iterator[Line]:
    """Give what is left of a run."""
    done = len(value.steps) - len(left)
    yield Line(f"{run_}: {done} of {len(value.steps)} steps are done; left:")
    yield from (Line(f"    {step.summary}", "red" if step.destructive else "") for step in left)


def run(report: RunReport) -> Iterator[Line]:
    """Give how a run went."""
    for step in report.steps:
        took = f" ({step.seconds:.1f} s)" if step.seconds >= 1 else ""
        yield Line(f"{step.outcome:<9}  {step.summary}{took}", _OUTCOMES[step.outcome])
        if step.message:
            yield Line(f"           {step.message}")
    if report.checks:
        yield Line("")
        yield from checks.lines(report.checks)
    yield Line("")
    yield Line(_ending(report), "green" if report.result == "succeeded" else "bold red")
    for warning in report.warnings:
        yield Line(f"warning: {warning}", "yellow")


def markdown(report: RunReport) -> Iterator[Line]:
    """Give how a run went, in Markdown."""
    yield Line(f"**{report.command} {report.header.environment}**: {_ending(report)}")
    yield Line("")
    yield Line("| step | outcome | |")
    yield Line("|---|---|---|")
    for step in report.steps:
        yield Line(f"| {step.summary} | {step.outcome} | {step.message} |")
    if report.checks:
        yield Line("")
        yield from checks.markdown(report.checks)


def runs(found: Sequence[Run]) -> Iterator[Line]:
    """Give a list of runs, a line each."""
    if not found:
        yield Line("No run is written down.")
    for item in found:
        begun = item.begun
        ended = item.ended or "not finished"
        steps = len(item.plan.steps)
        why = f" · {begun['why']}" if begun.get("why") else ""
        yield Line(
            f"{item.id}  {ended:<12}  {len(item.done)}/{steps} steps  {begun['operator']}{why}",
            "" if item.is_finished else "yellow",
        )


def runs_report(header: Header, found: Sequence[Run]) -> RunsReport:
    """Give a list of runs as a report."""
    return RunsReport(header=header, runs=[_summary(item) for item in found])


def run_record(header: Header, item: Run) -> RunRecord:
    """Give a run as a report."""
    return RunRecord(
        header=header, run=item.id, finished=item.is_finished, records=list(item.records)
    )


def lock_status(report: LockReport) -> Iterator[Line]:
    """Give who holds the locks of an environment."""
    holder = report.holder
    if holder is None:
        yield Line("operators' lock: free")
    else:
        state = "has run out: the next operation takes it" if report.has_run_out else "held"
        yield Line(f"operators' lock: {state}", "yellow")
        yield Line(
            f"    {holder['command']} (run {holder['run']}) by {holder['operator']}, on "
            f"{holder['host']} since {holder['acquired']}, until {report.expires}"
        )
    yield Line(f"Pulumi's lock: {'held' if report.update else 'free'}")
    if report.update:
        yield Line(report.update)


def _summary(item: Run) -> dict[str, Any]:
    begun = item.begun
    return {
        "run": item.id,
        "command": item.command,
        "began": begun["at"],
        "operator": begun["operator"],
        "why": begun["why"],
        "result": item.ended or "not finished",
        "finished": item.is_finished,
        "steps": len(item.plan.steps),
        "done": len(item.done),
    }


def record(item: Run) -> Iterator[Line]:
    """Give everything that is written down about a run."""
    begun = item.begun
    yield Line(f"{item.id}: {item.command} {item.environment}", "bold")
    yield Line(f"by {begun['operator']} on {begun['mode']}, {begun['cloud']}")
    yield Line(f"why: {begun['why'] or 'not said'}")
    yield Line(f"plan {begun['plan_hash']}, {len(item.plan.steps)} steps")
    summaries = {step.id: step.summary for step in item.plan.steps}
    yield Line("")
    for entry in item.records:
        yield Line(f"{entry['at']}  {entry['kind']:<8}  {_said(entry, summaries)}".rstrip())
    yield Line("")
    if item.is_finished:
        yield Line("It has finished.")
    else:
        yield Line(f"It did not finish. Go on with: ops resume {item.id}", "yellow")


def _said(entry: Record, summaries: Mapping[str, str]) -> str:
    match entry["kind"]:
        case "intent":
            return summaries.get(str(entry["step"]), str(entry["step"]))
        case "result":
            message = f": {entry['message']}" if entry.get("message") else ""
            step = summaries.get(str(entry["step"]), str(entry["step"]))
            return f"{entry['outcome']:<6} {step}{message}"
        case "note":
            return str(entry["text"])
        case "ended":
            return str(entry["result"])
        case "resumed":
            return f"by {entry['operator']}"
        case _:
            return ""


def _ending(report: RunReport) -> str:
    sandbox = "--sandbox " if report.header.mode == "sandbox" else ""
    done = sum(step.outcome == "done" for step in report.steps)
    said = (
        f"{report.command} {report.header.environment} {report.result}: {done} of "
        f"{len(report.steps)} steps in {report.seconds:.1f} s; run {report.run}"
    )
    if report.result == "partial":
        return f"{said}. What is left is done by: ops {sandbox}resume {report.run}"
    return said


def _counts(steps: Sequence[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    number = len(steps)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{number} step{'' if number == 1 else 's'} ({kinds})"

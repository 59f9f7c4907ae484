"""Reports as people read them: lines of text for a terminal, or Markdown.

Pure: each function gives lines, with a style for those that a terminal colours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.report import (
    REHEARSAL,
    Header,
    OutputsReport,
    SandboxReport,
    UpdateReport,
    Verification,
)
from ops.tree import (
    SECRET,
    UNCHANGED,
    PropertyChange,
    ResourceChange,
    service,
    short_type,
    shown,
)

if TYPE_CHECKING:
    from ops.adopt import AdoptionReport
    from ops.parameters.setup import SetupReport
    from ops.settings import SettingsReport


@dataclass(frozen=True)
class Line:
    """One line of output; `style` is a rich style, used on terminals only."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class _Operation:
    sign: str
    style: str
    plan: str
    done: str


_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "same": _Operation("", "", "", ""),
    "create": _Operation("+", "green", "create", "created"),
    "update": _Operation("~", "yellow", "update", "updated"),
    "delete": _Operation("-", "red", "delete", "deleted"),
    "replace": _Operation("+-", "magenta", "replace", "replaced"),
    "create-replacement": _Operation("++", "magenta", "create replacement", "created replacement"),
    "delete-replaced": _Operation("--", "red", "delete original", "deleted original"),
    "read": _Operation(">", "cyan", "read", "read"),
    "read-replacement": _Operation(">>", "cyan", "read replacement", "read replacement"),
    "refresh": _Operation("~", "", "read back", "read back"),
    "discard": _Operation("<", "cyan", "forget", "forgotten"),
    "discard-replaced": _Operation("<<", "cyan", "forget original", "forgot original"),
    "remove-pending-replace": _Operation("~", "", "tidy", "tidied"),
    "import": _Operation("=", "cyan", "import", "imported"),
    "import-replacement": _Operation("=>", "magenta", "import replacement", "imported replacement"),
}

# What a refresh finds is no deed: the state learns of it, and the cloud stays as it is.
_FOUND: Final[Mapping[str, _Operation]] = {
    **_OPERATIONS,
    "update": _Operation("~", "yellow", "note as changed", "noted as changed"),
    "delete": _Operation("-", "red", "forget, being gone", "forgotten, being gone"),
}

_OUTCOMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "to-create": ("+", "green", "to create"),
    "created": ("+", "green", "created"),
    "kept": ("", "", "kept"),
    "failed": ("!", "bold red", "FAILED"),
    "differs": ("!", "yellow", "differs"),
    "needs-value": ("?", "yellow", "needs a value"),
}

_ADOPTIONS: Final[Mapping[str, str]] = {
    "adopt": "green",
    "differs": "bold red",
    "ambiguous": "bold red",
    "create": "",
    "set": "",
    "later": "yellow",
    "unsupported": "yellow",
    "unknown": "bold red",
}

_CHANGE_SIGNS: Final = {"add": "+", "update": "~", "delete": "-"}
_LONGEST_VALUE: Final = 240


def header(value: Header) -> Line:
    """Say in one line where a command acts."""
    caller = f" · as {value.caller}" if value.caller else ""
    return Line(
        f"{value.mode} · account {value.account_id} · {value.region} · stack {value.stack}"
        f" · {value.cloud}{caller}",
        "bold",
    )


def closing(value: Header) -> Iterator[Line]:
    """Say what a result in the sandbox proves and what it does not; nothing on AWS."""
    if value.mode == "sandbox":
        yield Line("")
        yield Line(REHEARSAL, "dim")


def update(report: UpdateReport, *, diff: bool = False) -> Iterator[Line]:
    """Give the tree, the messages, the counts and the outputs of an update."""
    yield from tree(report.resources, diff=diff)
    yield from _messages(report)
    if report.outputs and report.result == "succeeded":
        yield Line("")
        yield Line("Outputs:", "bold")
        yield from outputs(report.outputs)
    yield Line("")
    yield from counts(report)
    if report.verification:
        yield from verification(report.verification)


def tree(resources: Sequence[ResourceChange], *, diff: bool = False) -> Iterator[Line]:
    """Give the changed resources as a tree, with the unchanged ones that they are under."""
    visible = shown(resources)
    if not visible:
        return
    guides = dict(_guides(visible))
    widths = [
        max(len(guides[change.urn]) + len(short_type(change.type)) for change in visible),
        max(len(change.name) for change in visible),
    ]
    for change in visible:
        operation = _operation(change)
        first = f"{guides[change.urn]}{short_type(change.type)}"
        cells = f"{first:<{widths[0]}}  {change.name:<{widths[1]}}  {_status(change)}"
        style = "bold red" if change.status == "failed" else operation.style
        yield Line(f" {operation.sign:<2} {cells}".rstrip(), style)
        if diff:
            indent = " " * (5 + len(guides[change.urn]))
            yield from (_property_line(indent, item) for item in change.changes)


def unprotecting(number: int, guarded: int) -> Iterator[Line]:
    """Give how many resources a destroy is to delete, and how many of them are protected."""
    yield Line("")
    yield Line("Resources:", "bold")
    yield Line(f"    - {number} to delete", "red")
    yield Line(f"    ! {guarded} of these protected: that comes off for this command", "bold red")
    yield Line("")


def counts(report: UpdateReport) -> Iterator[Line]:
    """Give how many resources each operation is or was for, and how long it took."""
    yield Line("Resources:", "bold")
    done = not report.dry_run
    words_of = _FOUND if report.command == "refresh" else _OPERATIONS
    for op, operation in words_of.items():
        number = report.counts.get(op, 0)
        if number and op not in UNCHANGED:
            words = operation.done if done else f"to {operation.plan}"
            yield Line(f"    {operation.sign} {number} {words}", operation.style)
    failed = sum(change.status == "failed" for change in report.resources)
    if failed:
        yield Line(f"    ! {failed} FAILED", "bold red")
    unchanged = report.counts.get("same", 0)
    if unchanged or not report.changes:
        yield Line(f"    {unchanged} unchanged")
    if report.recorded:
        yield Line(
            f"    {report.recorded} of these only recorded: the sandbox's cloud has no API for them"
        )
    yield Line(f"Duration: {duration(report.seconds)}")


def verification(value: Verification) -> Iterator[Line]:
    """Say what reading everything back has shown."""
    if value.holds:
        yield Line(f"Verified: {value.read} resources read back, none differs", "green")
    else:
        yield Line(
            f"NOT verified: of {value.read} resources read back, {len(value.differing)} differ:",
            "bold red",
        )
        for change in value.differing:
            yield Line(f"    {short_type(change.type)} {change.name}: {_found(change)}", "red")
    if value.recorded:
        yield Line(f"    {value.recorded} recorded ones could not be read back")


def outputs(values: Mapping[str, Any]) -> Iterator[Line]:
    """Give a stack's outputs, one a line, nested ones indented."""
    width = max((len(key) for key in values), default=0)
    for key in sorted(values):
        value = values[key]
        if isinstance(value, Mapping | list) and value:
            yield Line(f"    {key}:")
            yield from _nested(value, "        ")
        else:
            yield Line(f"    {key + ':':<{width + 1}} {_scalar(value)}")


def outputs_report(report: OutputsReport) -> Iterator[Line]:
    """Give the outputs of a stack."""
    if not report.outputs:
        yield Line(f"The stack {report.header.stack} has no outputs: run `up` first.")
    yield from outputs(report.outputs)


def inventory(resources: Iterable[ResourceChange]) -> Iterator[Line]:
    """Count what is there by service."""
    there = [change for change in resources if change.op not in ("delete", "discard")]
    by_service = Counter(service(change.type) for change in there if change.in_cloud)
    for name, number in sorted(by_service.items()):
        yield Line(f"    {name:<18} {number:>4}")


def parameters(report: SetupReport) -> Iterator[Line]:
    """Give what was, or would be, done about each parameter; no value is known here."""
    yield Line(f"Parameters under {report.path}, secrets encrypted by {report.key_alias}")
    width = max((len(result.name) for result in report.results), default=0)
    for result in report.results:
        sign, style, words = _OUTCOMES[result.outcome]
        seen = ", verified" if result.verified and result.outcome == "created" else ""
        yield Line(
            f" {sign:<2} {result.name:<{width}}  {result.type:<12}  "
            f"{words}{seen}: {result.message}",
            style,
        )
    if not report.results:
        yield Line("    the catalogue declares none that operators own")
    numbers = Counter(_OUTCOMES[result.outcome][2] for result in report.results)
    yield Line(", ".join(f"{number} {words}" for words, number in numbers.items()) or "0")
    if report.unknown:
        yield Line(f"Not in the catalogue, left alone: {', '.join(report.unknown)}", "yellow")


def markdown_parameters(report: SetupReport) -> Iterator[Line]:
    """Give the same as a Markdown table."""
    yield Line(f"### Parameters under {report.path}")
    yield Line("")
    yield Line("| parameter | type | what | why |")
    yield Line("|---|---|---|---|")
    for result in report.results:
        words = _OUTCOMES[result.outcome][2]
        message = result.message.replace("|", "\\|")
        yield Line(f"| `{result.name}` | {result.type} | {words} | {message} |")


def adoption(report: AdoptionReport) -> Iterator[Line]:
    """Give what was found of what the program would create, and how to adopt it."""
    from ops.adopt import MEANINGS

    for outcome, number in report.counts.items():
        yield Line(f"{number} {MEANINGS[outcome]}", _ADOPTIONS[outcome])
        for item in report.adoptions:
            if item.outcome == outcome and outcome not in ("create", "set"):
                details = " · ".join(part for part in (item.id, item.message) if part)
                yield Line(f"    {short_type(item.type)}  {item.name}  {details}".rstrip())
    yield Line(f"{report.in_state} in the state already")
    if report.file:
        yield Line(f"Written: {report.file}")
    if report.steps:
        yield Line("")
        yield Line("Then:", "bold")
        yield from (Line(f"    {step}") for step in report.steps)


def markdown_adoption(report: AdoptionReport) -> Iterator[Line]:
    """Give the same as a Markdown table."""
    yield Line(f"### Adoption: {report.header.stack}")
    yield Line("")
    yield Line("| type | name | what | id | why |")
    yield Line("|---|---|---|---|---|")
    for item in report.adoptions:
        cells = (
            f"`{short_type(item.type)}`",
            item.name,
            item.outcome,
            f"`{item.id}`" if item.id else "",
            item.message,
        )
        yield Line("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if report.steps:
        yield Line("")
        yield Line("```sh")
        yield from (Line(step) for step in report.steps)
        yield Line("```")


def settings(report: SettingsReport) -> Iterator[Line]:
    """Give what is wrong with stack files, file by file, or that nothing is."""
    files = [naming.stack_file(env) for env in report.checked]
    others = (problem.file for problem in report.findings)
    for file in dict.fromkeys([*files, *others]):
        problems = [problem for problem in report.findings if problem.file == file]
        if not problems:
            yield Line(f"{file}: no problem found", "green")
            continue
        many = "" if len(problems) == 1 else "s"
        yield Line(f"{file}: {len(problems)} problem{many}", "bold red")
        for problem in problems:
            yield from (Line(f"  {line}") for line in str(problem).splitlines())


def standing(reports: Sequence[UpdateReport], endpoint: str) -> Iterator[Line]:
    """Say what stands in the sandbox and how to reach it."""
    resources = [change for report in reports for change in report.resources]
    env = reports[-1].header.environment
    yield Line("")
    yield Line(f"{env} stands in the sandbox. Resources by service:", "bold")
    yield from inventory(resources)
    yield Line("")
    yield Line("Look at it:", "bold")
    yield Line(f'    eval "$(ops --sandbox env {env})"; aws ec2 describe-vpcs    # {endpoint}')
    yield Line(f"    ops --sandbox preview {env}      # shows no change")
    yield Line(f"    ops --sandbox outputs {env}")
    yield Line(f"    ops --sandbox destroy {env} --unprotect")
    yield Line("    ops sandbox status             # also: stop, reset")
    yield from closing(reports[-1].header)


def sandbox(report: SandboxReport) -> Iterator[Line]:
    """Say whether the sandbox runs and what it holds."""
    if report.running:
        yield Line(f"The sandbox is running at {report.endpoint} (process {report.pid})", "green")
        yield Line(f"    identity {report.identity}")
    else:
        yield Line(report.message or "The sandbox is not running.")
    yield Line(f"    home     {report.home}")
    for stack in report.stacks:
        cloud = stack.get("cloud")
        lost = " (of a cloud that is gone)" if cloud and cloud != report.identity else ""
        yield Line(
            f"    stack    {stack['project']}/{stack['stack']}: "
            f"{stack['resources']} resources{lost}"
        )
    for cluster in report.clusters:
        yield Line(
            f"    cluster  {cluster['name']}: Kubernetes {cluster['version']} at"
            f" {cluster['endpoint']}, {cluster['state']}, {cluster['memory'] >> 20} MiB"
        )
        yield Line(f"             kubectl --kubeconfig {cluster['kubeconfig']}")
    if not report.kubernetes:
        yield Line(
            "    clusters have no API server here: Kubernetes objects are only recorded"
            " (`make kube` builds one)"
        )


def markdown(report: UpdateReport, *, diff: bool = False) -> Iterator[Line]:
    """Give an update as Markdown, for a pull request's comment."""
    title = report.command + (" (planned)" if report.dry_run else "")
    yield Line(f"### {title}: {report.header.stack}, {report.result}")
    yield Line("")
    yield header(report.header)
    yield Line("")
    visible = [change for change in report.resources if change.changed]
    if visible:
        yield Line("| | type | name | what |")
        yield Line("|---|---|---|---|")
        for change in visible:
            sign = _operation(change).sign
            cells = (f"`{sign}`", f"`{short_type(change.type)}`", change.name, _status(change))
            yield Line("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        yield Line("")
    if diff:
        for change in (change for change in visible if change.changes):
            yield Line(f"**{short_type(change.type)} {change.name}**")
            yield Line("```diff")
            yield from (_property_line("", item) for item in change.changes)
            yield Line("```")
    for line in (*_messages(report), *counts(report)):
        yield Line(f"- {line.text.strip()}") if line.text else line


def markdown_outputs(report: OutputsReport) -> Iterator[Line]:
    """Give a stack's outputs as a Markdown table."""
    yield Line(f"### Outputs of {report.header.stack}")
    yield Line("")
    yield Line("| output | value |")
    yield Line("|---|---|")
    for key in sorted(report.outputs):
        value = _scalar(report.outputs[key]).replace("|", "\\|")
        yield Line(f"| {key} | `{value}` |")


def progress(change: ResourceChange) -> Line:
    """Say that one resource has been dealt with."""
    operation = _operation(change)
    return Line(
        f" {operation.sign:<2} {short_type(change.type)}  {change.name}  {_status(change)}",
        "bold red" if change.status == "failed" else operation.style,
    )


def waiting(running: Sequence[ResourceChange], done: int, seconds: float) -> str:
    """Say how far an update is and what it waits for."""
    text = f"{duration(seconds)}, {done} done"
    if running:
        first = running[0]
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        text += (
            f"; waiting for {short_type(first.type)} {first.name}"
            f" ({duration(first.seconds or 0)}){more}"
        )
    return text


def duration(seconds: float) -> str:
    """Give a duration as people say it: `0.4 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:  # noqa: PLR2004 - below ten a tenth matters
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _operation(change: ResourceChange) -> _Operation:
    known = _FOUND if change.refreshed else _OPERATIONS
    # An operation that a later engine has is still shown, under its own name.
    return known.get(change.op) or _Operation("?", "", change.op, change.op)


def _status(change: ResourceChange) -> str:
    operation = _operation(change)
    if change.status == "failed":
        words = f"FAILED to {operation.plan or 'continue'}"
    elif change.status == "done":
        words = operation.done
    else:
        words = operation.plan
    notes = []
    if change.status == "done" and change.in_cloud and change.seconds and change.changed:
        notes.append(duration(change.seconds))
    if change.recorded:
        notes.append("recorded")
    if change.protect:
        notes.append("protected")
    if notes:
        words += f" ({', '.join(notes)})"
    return f"{words}{_changed_properties(change)}".strip()


def _changed_properties(change: ResourceChange) -> str:
    if not change.changes or change.op == "create":
        return ""
    tops: dict[str, str] = {}
    for item in change.changes:
        top = item.path.split(".", 1)[0].split("[", 1)[0]
        sign = _CHANGE_SIGNS[item.kind] if top == item.path else "~"
        tops[top] = sign if tops.get(top, sign) == sign else "~"
    return f"  [diff: {', '.join(f'{sign}{name}' for name, sign in tops.items())}]"


def _property_line(indent: str, change: PropertyChange) -> Line:
    sign = _CHANGE_SIGNS[change.kind]
    values = {
        "add": _scalar(change.new),
        "delete": _scalar(change.old),
        "update": f"{_scalar(change.old)} → {_scalar(change.new)}",
    }[change.kind]
    forces = " (forces the replacement)" if change.replaces else ""
    style = {"add": "green", "delete": "red", "update": "yellow"}[change.kind]
    return Line(f"{indent}{sign} {change.path}: {values}{forces}", style)


def _guides(visible: Sequence[ResourceChange]) -> Iterator[tuple[str, str]]:
    """Give each resource's tree guide (`│  ├─ `)."""
    known = {change.urn for change in visible}
    parents = {change.urn: change.parent for change in visible if change.parent in known}
    last = {parents.get(change.urn): change.urn for change in visible}
    prefixes: dict[str, str] = {}
    for change in visible:
        parent = parents.get(change.urn)
        if parent is None:
            prefixes[change.urn] = ""
            yield change.urn, ""
            continue
        is_last = last[parent] == change.urn
        prefix = prefixes[parent]
        prefixes[change.urn] = prefix + ("   " if is_last else "│  ")
        yield change.urn, prefix + ("└─ " if is_last else "├─ ")


def _messages(report: UpdateReport) -> Iterator[Line]:
    seen: set[tuple[str, str]] = set()
    for diagnostic in report.diagnostics:
        if diagnostic.severity == "info" and report.result == "succeeded":
            continue
        if (diagnostic.urn, diagnostic.message) in seen:
            continue
        if not seen:
            yield Line("")
            yield Line("Messages:", "bold")
        seen.add((diagnostic.urn, diagnostic.message))
        where = f"{_named(diagnostic.urn)}: " if diagnostic.urn else ""
        first, *rest = diagnostic.message.splitlines()
        style = {"error": "bold red", "warning": "yellow"}.get(diagnostic.severity, "")
        yield Line(f"    {diagnostic.severity}: {where}{first}", style)
        yield from (Line(f"        {line}") for line in rest)


def _named(urn: str) -> str:
    """Give what a URN names, without the types of its parents."""
    _, _, rest = urn.partition("::")
    _, _, rest = rest.partition("::")
    qualified, _, name = rest.partition("::")
    return f"{short_type(qualified.rpartition('$')[2])} {name}"


def _found(change: ResourceChange) -> str:
    if change.op == "delete":
        return "it is not there"
    paths = ", ".join(item.path for item in change.changes)
    return f"differs in {paths}" if paths else "it differs"


def _nested(value: Any, indent: str) -> Iterator[Line]:
    items = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for key, item in items:
        label = "-" if key is None else f"{key}:"
        if isinstance(item, Mapping | list) and item:
            yield Line(f"{indent}{label}")
            yield from _nested(item, indent + "    ")
        else:
            yield Line(f"{indent}{label} {_scalar(item)}")


def _scalar(value: Any) -> str:
    if value is None:
        return "(none)"
    if value == SECRET:
        return SECRET
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.replace("\n", "\\n")
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"

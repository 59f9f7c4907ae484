"""What a user reads: an update's progress and summary, its JSON digest, and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infra.sandbox.engine.checkpoint import MASK
from infra.sandbox.engine.config import json_text
from infra.sandbox.engine.state import STACK_TYPE
from infra.sandbox.engine.wire import SECRET_SIGNATURE, SIGNATURE_KEY

Event = Mapping[str, Any]
Write = Callable[[str], None]

_TITLES: Final = {
    ("update", False): "Updating",
    ("update", True): "Previewing update",
    ("refresh", False): "Refreshing",
    ("refresh", True): "Previewing refresh",
    ("destroy", False): "Destroying",
    ("destroy", True): "Previewing destroy",
}
_OPERATIONS: Final = {
    # operation: (prefix, present participle, past participle)
    "same": ("  ", "", "unchanged"),
    "create": ("+ ", "creating", "created"),
    "update": ("~ ", "updating", "updated"),
    "delete": ("- ", "deleting", "deleted"),
    "replace": ("+-", "replacing", "replaced"),
    "create-replacement": ("++", "creating replacement", "created replacement"),
    "delete-replaced": ("--", "deleting original", "deleted original"),
    "read": ("> ", "reading", "read"),
    "read-replacement": (">~", "reading replacement", "read replacement"),
    "refresh": ("~ ", "refreshing", "refreshed"),
    "discard": ("< ", "discarding", "discarded"),
    "discard-replaced": ("<<", "discarding original", "discarded original"),
    "import": ("= ", "importing", "imported"),
    "import-replacement": ("=>", "importing replacement", "imported replacement"),
    "remove-pending-replace": ("~ ", "completing replacement", "completed replacement"),
}
_QUIET: Final = frozenset({"same", "read", "read-replacement", "discard-replaced"})
_DIFF_MARKS: Final = {"add": "+", "delete": "-", "update": "~"}
_NANOSECONDS: Final = 1_000_000_000


def title(kind: str, stack: str, *, dry_run: bool) -> str:
    """Give the first line of an update's output."""
    return f"{_TITLES[kind, dry_run]} ({stack}):"


class Progress:
    """Writes an update's progress and summary as lines, like the CLI without a terminal."""

    def __init__(self, write: Write, *, dry_run: bool, project: str, stack: str) -> None:
        self._write = write
        self._dry_run = dry_run
        self._root = f"{project}-{stack}"
        self._diagnostics: dict[str, list[str]] = {}
        self._failed = 0
        self._wrote = False
        self._summary: Event = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if "resourcePreEvent" in event:
            self._began(event["resourcePreEvent"]["metadata"])
        elif "resOutputsEvent" in event:
            self._ended(event["resOutputsEvent"]["metadata"])
        elif "resOpFailedEvent" in event:
            metadata = event["resOpFailedEvent"]["metadata"]
            self._failed += 1
            self._line(metadata, f"**{_words(metadata['op'])[1] or metadata['op']} failed**")
        elif "diagnosticEvent" in event:
            self._diagnosed(event["diagnosticEvent"])
        elif "summaryEvent" in event:
            self._summary = event["summaryEvent"]

    def finish(self, outputs: Mapping[str, Any] | None) -> None:
        """Write what stands at the end; `outputs` are the stack's, already masked."""
        if self._diagnostics:
            self._headline("Diagnostics:")
        for urn, messages in self._diagnostics.items():
            self._write(f"  {self._subject(urn)}:")
            for message in messages:
                for line in message.splitlines():
                    self._write(f"    {line}")
        if outputs:
            self._headline("Outputs:")
            width = max(map(len, outputs))
            for name in sorted(outputs):
                self._write(f"    {name:<{width}}: {json.dumps(outputs[name], sort_keys=True)}")
        if self._summary:
            first, *rest = summary_lines(self._summary, dry_run=self._dry_run, failed=self._failed)
            self._headline(first)
            for line in rest:
                self._write(line)

    def _headline(self, text: str) -> None:
        if self._wrote:
            self._write("")
        self._wrote = True
        self._write(text)

    def _began(self, metadata: Event) -> None:
        if metadata["op"] not in _QUIET:
            self._line(metadata, metadata["op"] if self._dry_run else _words(metadata["op"])[1])

    def _ended(self, metadata: Event) -> None:
        if metadata["op"] not in _QUIET and not self._dry_run:
            self._line(metadata, _words(metadata["op"])[2])

    def _diagnosed(self, event: Event) -> None:
        if event.get("ephemeral") or event.get("severity") == "debug":
            return
        message = f"{event.get('prefix', '')}{event.get('message', '')}".rstrip()
        if message:
            self._diagnostics.setdefault(event.get("urn", ""), []).append(message)

    def _line(self, metadata: Event, what: str) -> None:
        prefix = _words(metadata["op"])[0]
        changed = _changed(metadata)
        self._wrote = True
        self._write(f" {prefix} {self._subject(metadata['urn'], ' ')} {what}{changed}")

    def _subject(self, urn: str, separator: str = " (") -> str:
        if not urn:
            return f"{STACK_TYPE}{separator}{self._root}{')' if separator == ' (' else ''}"
        type_, name = urn.split("::", 3)[2:]
        end = ")" if separator == " (" else ""
        return f"{type_.rsplit('$', 1)[-1]}{separator}{name}{end}"


def _words(operation: str) -> tuple[str, str, str]:
    return _OPERATIONS.get(operation, ("  ", operation, operation))


def _changed(metadata: Event) -> str:
    detailed = metadata.get("detailedDiff") or {}
    if not detailed or metadata["op"] in ("create", "delete", "same"):
        return ""
    marks = (
        f"{_DIFF_MARKS[value['diffKind'].removesuffix('-replace')]}{path}"
        + ("!" if value["diffKind"].endswith("-replace") else "")
        for path, value in sorted(detailed.items())
    )
    return f" [diff: {','.join(marks)}]"


def summary_lines(summary: Event, *, dry_run: bool, failed: int) -> list[str]:
    """Give the block of counts that ends an update."""
    changes: Mapping[str, int] = summary.get("resourceChanges") or {}
    shown = {op: count for op, count in changes.items() if count and op not in _QUIET}
    lines = ["Resources:"]
    for operation in (*_OPERATIONS, *(op for op in shown if op not in _OPERATIONS)):
        if operation in shown:
            prefix, _, done = _words(operation)
            what = f"to {operation}" if dry_run else done
            lines.append(f"    {prefix}{shown[operation]} {what}")
    pieces = [f"{sum(shown.values())} changes"] if len(shown) > 1 else []
    if changes.get("same"):
        pieces.append(f"{changes['same']} unchanged")
    if pieces:
        lines.append(f"    {'. '.join(pieces)}")
    if failed:
        lines.append(f"    {failed} errored")
    if not dry_run:
        lines += ["", f"Duration: {summary.get('durationSeconds', 0)}s"]
    return lines


class Digest:
    """Gathers a preview's events into the document that ``preview --json`` prints."""

    def __init__(self) -> None:
        self._config: Mapping[str, str] = {}
        self._steps: list[dict[str, Any]] = []
        self._refreshed: dict[str, int] = {}
        self._diagnostics: list[dict[str, Any]] = []
        self._summary: Event = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if "preludeEvent" in event:
            self._config = event["preludeEvent"].get("config") or {}
        elif "diagnosticEvent" in event:
            self._diagnosed(event["diagnosticEvent"])
        elif "resourcePreEvent" in event:
            metadata = event["resourcePreEvent"]["metadata"]
            if metadata["op"] == "refresh":
                self._refreshed[metadata["urn"]] = len(self._steps)
            if metadata["op"] not in _QUIET or metadata["type"] == STACK_TYPE:
                self._steps.append(_step(metadata))
        elif "resOutputsEvent" in event:
            metadata = event["resOutputsEvent"]["metadata"]
            at = self._refreshed.get(metadata["urn"])
            if at is not None and metadata["op"] in ("update", "delete"):
                self._steps[at] = _step(metadata)
        elif "summaryEvent" in event:
            self._summary = event["summaryEvent"]

    def _diagnosed(self, event: Event) -> None:
        if not event.get("ephemeral") and event.get("severity") != "debug":
            fields = {
                "urn": event.get("urn"),
                "message": f"{event.get('prefix', '')}{event.get('message', '')}",
                "severity": event.get("severity"),
            }
            self._diagnostics.append({key: value for key, value in fields.items() if value})

    def document(self) -> dict[str, Any]:
        """Give the digest of what was taken in."""
        fields = {
            "config": dict(self._config),
            "steps": self._steps,
            "diagnostics": self._diagnostics,
            "duration": int(self._summary.get("durationSeconds", 0)) * _NANOSECONDS or 1,
            "changeSummary": self._summary.get("resourceChanges"),
            "maybeCorrupt": self._summary.get("maybeCorrupt"),
        }
        return {key: value for key, value in fields.items() if value}


def _step(metadata: Event) -> dict[str, Any]:
    fields = {
        "op": metadata["op"],
        "urn": metadata["urn"],
        "provider": metadata.get("provider"),
        "oldState": _state(metadata.get("old")),
        "newState": _state(metadata.get("new")),
        "diffReasons": metadata.get("diffs"),
        "replaceReasons": metadata.get("keys"),
    }
    step = {key: value for key, value in fields.items() if value}
    detailed = metadata.get("detailedDiff")
    step["detailedDiff"] = (
        {
            path: {"kind": value["diffKind"], "inputDiff": value["inputDiff"]}
            for path, value in detailed.items()
        }
        if detailed
        else None
    )
    return step


_STATE_KEYS: Final = (
    *("urn", "custom", "delete", "id", "type", "inputs", "outputs", "parent", "protect", "taint"),
    *("external", "initErrors", "provider", "retainOnDelete"),
)


def _state(state: Event | None) -> dict[str, Any] | None:
    if state is None:
        return None
    shown = {key: _unsigned(state[key]) for key in _STATE_KEYS if state.get(key)}
    return {"urn": state["urn"], "custom": bool(state.get("custom")), **shown}


def _unsigned(value: Any) -> Any:
    """Show the blinded secrets of an event as ``[secret]``."""
    if isinstance(value, list):
        return [_unsigned(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
        return MASK
    return {key: _unsigned(item) for key, item in value.items()}


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Give a table's lines: columns two spaces apart, nothing after the last."""
    every = [headers, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(headers))]
    return [
        indent
        + "".join(f"{cell:<{width + 2}}" for cell, width in zip(row[:-1], widths[:-1], strict=True))
        + row[-1]
        for row in every
    ]


def one_line(value: Any) -> str:
    """Give a value as a cell of a table: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def pretty_json(value: Any) -> str:
    """Give JSON as the CLI prints it."""
    return json.dumps(value, indent=2, ensure_ascii=False)

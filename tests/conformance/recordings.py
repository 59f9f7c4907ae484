"""The recorded cases, with what the recording's own provider and recorder put into them set right.

The cases were recorded with another provider than the sandbox's drivers. Where that shows beyond
what ``cases/README.md`` exempts, a correction here says what an engine on the sandbox's drivers
must do instead, value by value, and why; everything else of the step is compared as recorded.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Json = Any
Step = Mapping[str, Json]
Place = tuple[str | int, ...]

CASES: Final = Path(__file__).with_name("cases")
ABSENT: Final = object()
"""In a correction: this is not there."""


@dataclass(frozen=True)
class Correction:
    """What a step of a case has in place of what was recorded, and why."""

    case: str
    step: str
    why: str
    values: Mapping[Place, Json]
    """Place in the step (``("state", "type::name", "inputs", "arn")``) to value or `ABSENT`."""


_PARAMETER: Final = "aws:ssm/parameter:Parameter"
_PAR: Final = f"{_PARAMETER}::par"
_REFERENCE: Final = "pulumi:pulumi:StackReference::organization/13stackref/nosuch"

_FOUND_NOTHING: Final = (
    "the recording's provider made something up for an id that is not there, so that the import "
    "went on; here, as with the real provider, the import ends with the engine's own error"
)
_AFTER_NOTHING: Final = (
    "follows from the failed import: nothing was left in the state, so this is a first import"
)
_OUTPUTS_AS_INPUTS: Final = (
    "the recording's provider gives outputs (arn, id) as inputs of an imported resource; here "
    "they are what a program has to give"
)


def _not_there(name: str) -> list[Json]:
    return [
        {"on": _PAR, "message": f"resource '{name}' does not exist"},
        {"on": "", "message": "update failed"},
    ]


CORRECTIONS: Final = (
    Correction(
        "05-import",
        "nosuch",
        _FOUND_NOTHING,
        {
            ("errors",): _not_there("/c05/zz"),
            ("failed",): [[_PAR, "import"]],
            ("state", _PAR): ABSENT,
        },
    ),
    *(
        Correction(
            "05-import",
            step,
            _AFTER_NOTHING,
            {
                ("counts",): {"import": 1, "same": 2, "update": 1},
                ("ops",): [
                    ["pulumi:pulumi:Stack", "same"],
                    ["pulumi:providers:aws::p", "same"],
                    [_PAR, "import"],
                    [_PAR, "update"],
                ],
            },
        )
        for step in ("mismatch-preview", "mismatch")
    ),
    Correction(
        "05-import",
        "occupied-unprotected",
        _FOUND_NOTHING,
        {
            ("errors",): _not_there("/c05/a"),
            ("failed",): [[_PAR, "import-replacement"]],
            # Of the two entries the first is what the failed import left.
            ("state", _PAR, 0): ABSENT,
            ("state", _PAR, 0, "delete"): ABSENT,
            ("state", _PAR, 0, "keys", 3): ABSENT,
        },
    ),
    *(
        Correction(
            case,
            step,
            _OUTPUTS_AS_INPUTS,
            {("state", name, "inputs", key): ABSENT for key in ("arn", "id")},
        )
        for case, step, name in (
            ("05-import", "occupied", _PAR),
            ("17-import-fresh", "clean", f"{_PARAMETER}::c"),
            ("17-import-fresh", "occupied", f"{_PARAMETER}::c"),
            ("17-import-fresh", "occupied-retain", f"{_PARAMETER}::c"),
        )
    ),
    Correction(
        "13-stackref",
        "missing",
        "the recorder cut the reference's type short where it names what an error is on",
        {("errors", 0, "on"): _REFERENCE},
    ),
)


def names() -> list[str]:
    """Name the recorded cases that are lists of steps."""
    return [name for name, document in _documents().items() if isinstance(document, list)]


def steps(case: str) -> list[Step]:
    """Read a case's steps, set right."""
    recorded: list[Step] = _documents()[case]
    return [_corrected(case, step) for step in recorded]


def document(case: str) -> Json:
    """Read a case as it was recorded."""
    return _documents()[case]


def program(case: str) -> str:
    """Read a case's program."""
    return (CASES / case / "program.py").read_text()


def project_name(case: str) -> str:
    """Give the name of a case's project: its folder's, without punctuation."""
    return case.replace("-", "")


def _documents() -> dict[str, Json]:
    paths = sorted(CASES.glob("*/expected.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def _corrected(case: str, step: Step) -> Step:
    corrected = dict(copy.deepcopy(dict(step)))
    for correction in CORRECTIONS:
        if (correction.case, correction.step) == (case, step["step"]):
            for place, value in correction.values.items():
                _set(corrected, place, value)
    return corrected


def _set(holder: Json, place: Place, value: Json) -> None:
    *above, last = place
    for key in above:
        holder = holder[key]
    if value is ABSENT:
        del holder[last]
        return
    # A correction of what is recorded just so would never be noticed to be out of date.
    recorded: Json = holder.get(last) if isinstance(holder, dict) else holder[last]
    assert recorded != value, f"{place} is recorded so"
    holder[last] = value

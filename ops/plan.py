"""A plan: the steps that a command would take, as plain data.

It is shown, agreed to, written down and carried out as it stands: what a step needs is in its
`data`, so that another process can go on where one was killed. No plan holds a secret.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ops.errors import RefusedError

Data = Mapping[str, Any]
"""Plain data: what JSON can say."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that is done. Doing it twice does no harm: it looks first."""

    id: str
    """Unique in its plan, and the same whenever the same is planned."""
    action: str
    """Which of the command's actions does it."""
    kind: str
    """What it touches, in the singular: `node group`, `database`."""
    target: str
    """Which one: a name or an id."""
    summary: str
    """What is done, as an operator reads it."""
    stage: int = 0
    """Steps of one stage are done at once, the stages one after another."""
    destructive: bool = False
    """Whether it takes something away that no command brings back."""
    data: Data = field(default_factory=dict)
    """What the action needs to know."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command would do, and on what evidence."""

    command: str
    environment: str
    account_id: str
    region: str
    arguments: Data = field(default_factory=dict)
    """What was asked for, beyond the environment."""
    steps: tuple[Step, ...] = ()
    facts: Data = field(default_factory=dict)
    """What the plan rests on; part of its hash, so nothing that changes by itself."""
    notes: tuple[str, ...] = ()
    """What the operator should know before agreeing; not part of the hash."""

    @property
    def hash(self) -> str:
        """What stands for the plan: another hash is another plan. 16 hexadecimal digits."""
        said = self.to_json()
        del said["notes"]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Give the plan that `to_json` described."""
        steps = tuple(Step(**step) for step in said["steps"])
        return cls(**{**said, "steps": steps, "notes": tuple(said["notes"])})


@dataclass(frozen=True, kw_only=True)
class Cap:
    """How many of a kind one plan may touch."""

    number: int
    percent: int = 100
    """Of all of the kind that are there."""


def refuse_over_caps(
    plan: Plan, totals: Mapping[str, int], caps: Mapping[str, Cap], *, option: str
) -> None:
    """Refuse the whole plan where it touches more of a kind than it may.

    `totals`: kind → how many are there. A kind that has no cap may not be touched at all: what
    nobody thought of is not destroyed. `option`: how an operator raises a cap, as in `--max`.
    """
    problems = [
        problem
        for kind, number in sorted(Counter(step.kind for step in plan.steps).items())
        if (problem := _over(kind, number, totals.get(kind, 0), caps.get(kind, Cap(number=0))))
    ]
    if problems:
        raise RefusedError(
            f"The plan of {plan.command} touches more than it may. Nothing was changed.\n"
            + "\n".join(f"    {problem}" for problem in problems)
            + f"\nIf it is right, raise the cap of each: {option} KIND=NUMBER"
        )


def _over(kind: str, number: int, total: int, cap: Cap) -> str:
    if number > cap.number:
        return f"{kind}: {number} planned, at most {cap.number} allowed"
    if total and number * 100 > total * cap.percent:
        return f"{kind}: {number} of {total} planned, at most {cap.percent} % allowed"
    return ""


def stages(steps: Sequence[Step]) -> list[list[Step]]:
    """Give the steps in the order of their stages."""
    numbers = sorted({step.stage for step in steps})
    return [[step for step in steps if step.stage == number] for number in numbers]

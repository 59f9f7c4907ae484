"""Adoption: what the program would create and what of that is there already, made by another tool.

The plan comes from a preview (never from a second list of what the program wants) and from
listings of the account; it changes neither. What is there under the same name, with the same
properties that no update can change, is given the id that `pulumi import` takes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ops.errors import ExitCode, RefusedError, UsageError
from ops.live import (
    FINDERS,
    SETTINGS,
    Account,
    Live,
    NotKnownYetError,
    NotListedError,
    Wanted,
    find,
)
from ops.report import REPORT_VERSION, Header
from ops.tree import ResourceChange, UpdateLog, is_known, path_segments

if TYPE_CHECKING:
    from pulumi.automation.events import EngineEvent

Outcome = Literal[
    "adopt", "differs", "ambiguous", "create", "set", "later", "unsupported", "unknown"
]

MEANINGS: Final[Mapping[Outcome, str]] = {
    "adopt": "is there: adopt it",
    "differs": "is there and differs: adopting it would replace it",
    "ambiguous": "several fit: choose one",
    "create": "is not there: will be created",
    "set": "will be set, whatever is set now",
    "later": "is found by what is not in the state yet: plan again when the rest is adopted",
    "unsupported": "is not looked for: look yourself",
    "unknown": "COULD NOT BE LOOKED FOR",
}

NOT_APPLIED: Final = (
    "Adoption writes to the state, which this command does not: it only plans. Nothing was "
    "changed.\nWrite the plan with `ops adopt ENV --plan --import-file FILE`, review it, then "
    "import it with `pulumi import --file FILE --protect=false --generate-code=false`."
)
"""Why there is no adopt without `--plan`."""


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """What is to be done about one resource that the program would create."""

    urn: str
    type: str
    name: str
    outcome: Outcome
    id: str = ""
    """What `pulumi import` takes; only of what is to be adopted."""
    found: tuple[str, ...] = ()
    """Ids of everything that was found under its name."""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class AdoptionReport:
    """The result of `ops adopt --plan`."""

    header: Header
    adoptions: tuple[Adoption, ...]
    in_state: int
    """Resources that the state has already."""
    file: str = ""
    """Where the import file was written; empty: nowhere."""
    steps: tuple[str, ...] = ()
    """What to run, in this order."""
    command: Literal["adopt"] = "adopt"
    version: int = REPORT_VERSION

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """Outcome -> number of resources, in the order of their meanings."""
        number = Counter(adoption.outcome for adoption in self.adoptions)
        return {outcome: number[outcome] for outcome in MEANINGS if number[outcome]}


@dataclass
class Program:
    """What a preview says that the program wants."""

    wanted: list[Wanted] = field(default_factory=list)
    """What would be created, parents before children."""
    in_state: dict[str, str] = field(default_factory=dict)
    """URN -> type of what the state has already."""


class PlannedInputs(UpdateLog):
    """The log of a preview that keeps what would be created, with its inputs."""

    def __init__(self) -> None:
        super().__init__(dry_run=True)
        self.program = Program()

    def take(self, event: EngineEvent) -> ResourceChange | None:
        """Take one event."""
        change = super().take(event)
        if change is None or not event.resource_pre_event:
            return change
        metadata = event.resource_pre_event.metadata
        if change.op != "create":
            self.program.in_state[change.urn] = change.type
        elif metadata.new is not None:
            self.program.wanted.append(
                Wanted(
                    urn=change.urn,
                    type=change.type,
                    name=change.name,
                    parent=change.parent,
                    provider=_urn(metadata.new.provider or metadata.provider or ""),
                    custom=change.custom,
                    inputs=metadata.new.inputs or {},
                )
            )
        return change


def _urn(reference: str) -> str:
    """Return a provider's URN, without the id that references to it carry."""
    return "::".join(reference.split("::")[:4])


def plan(program: Program, account: Account) -> tuple[Adoption, ...]:
    """Look for everything that the program would create; change nothing."""
    wanted = [item for item in program.wanted if _in_cloud(item)]
    found: dict[str, Adoption] = {}
    for item in sorted(wanted, key=_order):
        adoption = _adoption(item, account, wanted)
        found[item.urn] = adoption
        if item.type == "aws:ec2/vpc:Vpc" and adoption.outcome == "adopt":
            account.vpc_id = adoption.id
    if not any(adoption.outcome == "adopt" for adoption in found.values()):
        # Nothing will be known later either: it is made with what it belongs to.
        found = {urn: _made_together(adoption) for urn, adoption in found.items()}
    return tuple(found[item.urn] for item in wanted)


def _made_together(adoption: Adoption) -> Adoption:
    later = adoption.outcome == "later"
    return replace(adoption, outcome="create", message="") if later else adoption


def _in_cloud(wanted: Wanted) -> bool:
    return wanted.custom and not wanted.type.startswith("pulumi:")


def _order(wanted: Wanted) -> int:
    types = list(FINDERS)
    return types.index(wanted.type) if wanted.type in FINDERS else len(types)


def _adoption(wanted: Wanted, account: Account, others: Sequence[Wanted]) -> Adoption:
    if wanted.type in SETTINGS:
        return _decided(wanted, "set")
    if wanted.type.startswith("kubernetes:"):
        return _decided(wanted, "set", "applied to the cluster over what is there")
    if wanted.type not in FINDERS:
        return _decided(wanted, "unsupported")
    try:
        found = find(account, wanted, others)
    except NotKnownYetError as missing:
        return _decided(wanted, "later", f"{missing} is not known yet")
    except NotListedError as error:
        return _decided(wanted, "unknown", str(error))
    return _judged(wanted, found)


def _judged(wanted: Wanted, found: Sequence[Live]) -> Adoption:
    """Decide about what was found: one that fits is adopted, several are not chosen among."""
    fitting = [live for live in found if not _difference(wanted, live)]
    if not found:
        return _decided(wanted, "create")
    if len(fitting) == 1:
        return Adoption(
            urn=wanted.urn,
            type=wanted.type,
            name=wanted.name,
            outcome="adopt",
            id=fitting[0].id,
            found=tuple(live.id for live in found),
        )
    ids = tuple(live.id for live in found)
    if fitting:
        return _decided(wanted, "ambiguous", f"{len(fitting)} fit", ids)
    differences = "; ".join(f"{live.id}: {_difference(wanted, live)}" for live in found)
    return _decided(wanted, "differs", differences, ids)


def _decided(
    wanted: Wanted, outcome: Outcome, message: str = "", found: tuple[str, ...] = ()
) -> Adoption:
    return Adoption(
        urn=wanted.urn,
        type=wanted.type,
        name=wanted.name,
        outcome=outcome,
        message=message,
        found=found,
    )


def _difference(wanted: Wanted, live: Live) -> str:
    """Say what of a live thing no update could change to what is wanted; empty: nothing."""
    if live.obstacle:
        return live.obstacle
    return ", ".join(
        f"{path} is {there}, the program says {meant}"
        for path, there in live.fixed.items()
        if (meant := _input(wanted.inputs, path)) is not None
        and is_known(meant)
        and there is not None
        and _canonical(meant) != _canonical(there)
    )


def _input(inputs: Mapping[str, Any], path: str) -> Any:
    value: Any = inputs
    for segment in path_segments(path):
        if isinstance(segment, int):
            listed = isinstance(value, list) and segment < len(value)
            value = value[segment] if listed else None
        else:
            value = value.get(segment) if isinstance(value, Mapping) else None
    return value


def _canonical(value: Any) -> Any:
    """Make values comparable: events give numbers as floats, lists in any order."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list):
        return sorted(str(item) for item in value)
    return str(value)


# What pulumi import reads


def import_file(program: Program, adoptions: Iterable[Adoption]) -> dict[str, Any]:
    """Return what `pulumi import --file` takes: what is adopted, inside its components.

    Components that the state lacks are made by the import; those it has, and providers, are
    named in the table.
    """
    wanted = {item.urn: item for item in program.wanted}
    table: dict[str, str] = {}
    resources: dict[str, dict[str, Any]] = {}
    for adoption in adoptions:
        if adoption.outcome == "adopt":
            item = wanted[adoption.urn]
            for parent in reversed(list(_ancestors(item, wanted))):
                resources.setdefault(parent.urn, _entry(parent, wanted, table))
            table[_label(item.provider)] = item.provider
            resources[item.urn] = {
                **_entry(item, wanted, table),
                "id": adoption.id,
                "provider": _label(item.provider),
            }
    return {"nameTable": table, "resources": list(resources.values())}


def _ancestors(item: Wanted, wanted: Mapping[str, Wanted]) -> Iterator[Wanted]:
    """Give the components that an import has to make, the nearest first."""
    while (parent := wanted.get(item.parent)) is not None and not _is_stack(parent.urn):
        yield parent
        item = parent


def _entry(item: Wanted, wanted: Mapping[str, Wanted], table: dict[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": item.type,
        "name": _label(item.urn),
        "logicalName": item.name,
    }
    if not item.custom:
        entry["component"] = True
    if item.parent and not _is_stack(item.parent):
        entry["parent"] = _label(item.parent)
        if item.parent not in wanted:
            table[_label(item.parent)] = item.parent
    return entry


def _label(urn: str) -> str:
    """Return what a resource is called inside the file: unique, since URNs are."""
    return urn.split("::", 2)[-1]


def _is_stack(urn: str) -> bool:
    return urn.split("::")[2:3] == ["pulumi:pulumi:Stack"]


def steps(program: Program, adoptions: Sequence[Adoption], header: Header, file: str) -> list[str]:
    """Return what to run after a plan, in this order."""
    if not any(adoption.outcome == "adopt" for adoption in adoptions):
        return []
    env = header.environment
    new = {item.urn for item in program.wanted}
    adopted = {adoption.urn for adoption in adoptions if adoption.outcome == "adopt"}
    providers = {item.provider for item in program.wanted if item.urn in adopted}
    targets = " ".join(f"--target '{urn}'" for urn in sorted(providers & new))
    again = any(adoption.outcome == "later" for adoption in adoptions)
    return [
        f'eval "$(ops env {env})"',
        *([f"pulumi up -s {env} {targets}  # only notes the provider"] if targets else []),
        f"pulumi import -s {env} --file {file or 'FILE'} --protect=false --generate-code=false",
        *(
            [f"ops adopt {env} --plan --import-file NEXT-FILE  # for what was not known"]
            if again
            else []
        ),
        f"ops preview {env} --refresh --diff  # nothing may be replaced or deleted",
    ]


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the import file; it must not be there yet.

    Raises `UsageError` where it is, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2) + "\n")
    except FileExistsError as error:
        raise UsageError(
            f"{path} is there already and was not overwritten. Nothing was written. "
            "Name another file, or remove it."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} could not be written: {error.strerror}.") from error


def report(
    header: Header, program: Program, adoptions: tuple[Adoption, ...], path: Path | None
) -> AdoptionReport:
    """Report a plan, and write its import file where one is asked for and all was looked for."""
    complete = all(adoption.outcome != "unknown" for adoption in adoptions)
    if path is not None and complete:
        write(path, import_file(program, adoptions))
    file = str(path) if path is not None and complete else ""
    return AdoptionReport(
        header=header,
        adoptions=adoptions,
        in_state=sum(not type_.startswith("pulumi:") for type_ in program.in_state.values()),
        file=file,
        steps=tuple(steps(program, adoptions, header, file)) if complete else (),
    )


def exit_code(report: AdoptionReport) -> ExitCode:
    """Give the exit code of a plan: incomplete before findings, findings before success."""
    outcomes = set(report.counts)
    if "unknown" in outcomes:
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if outcomes & {"differs", "ambiguous"} else ExitCode.OK


def refuse_to_apply(*, planned: bool) -> None:
    """Refuse adoption without `--plan`."""
    if not planned:
        raise RefusedError(NOT_APPLIED)

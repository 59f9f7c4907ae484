"""From plain data to `Settings`, or to every reason why not."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from infra import naming
from infra.settings import rules
from infra.settings.describe import KEY, Kind, allowed, field_kind, kind_at, kind_of
from infra.settings.model import Settings
from infra.settings.problems import HIDDEN, SECTION, Problem, SettingsError, join, nearest, shown

Location = tuple[int | str, ...]

_DEEPEST: Final = 24
_REMEDIES: Final = {
    "missing": "add the key",
    "string_type": "write text: put it in quotes",
    "int_type": "write a whole number, without quotes",
    "bool_type": "write true or false, without quotes",
    "tuple_type": "write a list",
    "model_type": "write an object of keys",
    "dict_type": "write an object of keys",
    "date_type": 'write the date in quotes, as "2027-06-30"',
    "string_too_short": "write more",
    "string_too_long": "write less",
    "too_short": "add what is missing",
    "too_long": "remove some",
}


def parse(name: str, raw: object, today: dt.date) -> Settings:
    """Return the settings of the stack `name`, from the plain data of its settings object.

    `today` bounds how long a waiver may hold. Raises `SettingsError` with every problem found.
    """
    file = naming.stack_file(name)
    if not isinstance(raw, Mapping):
        raise SettingsError([_no_settings(file, raw)])
    problems = dict(_unreadable(file, raw, ()))
    plain = _plain(raw)
    if name not in naming.ENVIRONMENTS:
        problems["environment",] = Problem(
            file, "the stack's name", shown(name), ", ".join(naming.ENVIRONMENTS), _guess(name)
        )
    elif "environment" in plain:
        problems["environment",] = Problem(
            file,
            "environment",
            shown(plain["environment"]),
            "nothing: the stack's name says it",
            "remove the key",
        )
    settings, refusals = _validate(file, {**plain, "environment": name}, known=problems)
    environment = name if name in naming.ENVIRONMENTS else None
    complete = _completed(kind_of(Settings), {**plain, "environment": environment})
    related = list(rules.check(rules.Node(file, "", complete), today))
    # A secret that stands in the file is to be removed, whatever else is wrong with it.
    disclosed = {problem.path for problem in related if problem.found == HIDDEN}
    everything = [
        *problems.values(),
        *(problem for problem in refusals if problem.path not in disclosed),
        *related,
    ]
    if settings is None or everything:
        raise SettingsError(everything)
    return settings


def load(name: str, root: Path, today: dt.date) -> Settings:
    """Return the settings in the stack file of `name` in the folder `root`.

    Reads the file alone, as it is. Raises `SettingsError` as `parse` does, and where there is
    no such file, it is not YAML, a key stands twice in it, or it holds no settings.
    """
    from infra.settings.reading import read  # the program itself reads no YAML

    raw, problems = read(name, root)
    if raw is None:
        raise SettingsError(problems)
    try:
        settings = parse(name, raw, today)
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def check_fleet(environments: Mapping[str, Settings]) -> tuple[Problem, ...]:
    """Return what is wrong between environments that are each right by themselves."""
    return (*_overlaps(environments), *_disagreements(environments))


_SHARED: Final = (
    "region",
    "secondary_region",
    "owner",
    "cost_center",
    "tags",
    "budget",
    "account",
)
"""What the account stack is made of: there is one of each, whichever environment it is made for."""


def _disagreements(environments: Mapping[str, Settings]) -> Iterator[Problem]:
    """Environments of one account share its account stack, so they have to ask for the same."""
    for (first, one), (second, other) in itertools.combinations(environments.items(), 2):
        for key in _SHARED if one.account_id == other.account_id else ():
            value = getattr(other, key)
            if getattr(one, key) != value:
                yield Problem(
                    naming.stack_file(second),
                    key,
                    shown(value) if isinstance(value, str) else "another value",
                    f"what {naming.stack_file(first)} has, as both are in account {one.account_id}",
                    "write the same in both files: it belongs to the account, which has it once",
                )


def _overlaps(environments: Mapping[str, Settings]) -> Iterator[Problem]:
    """VPCs that overlap could never be connected."""
    for (first, one), (second, other) in itertools.combinations(environments.items(), 2):
        if IPv4Network(one.network.cidr).overlaps(IPv4Network(other.network.cidr)):
            yield Problem(
                naming.stack_file(second),
                "network.cidr",
                shown(other.network.cidr),
                f"a range apart from that of {first}, {one.network.cidr}",
                "choose another range: the two VPCs could never be connected",
            )


def _no_settings(file: str, raw: object) -> Problem:
    return Problem(
        file,
        SECTION,
        "nothing" if raw is None else f"a {type(raw).__name__}",
        "an object of keys",
        "write the environment's settings under this key",
    )


def _guess(name: str) -> str:
    guess = nearest(name, naming.ENVIRONMENTS)
    return f"did you mean {guess}?" if guess else "name one of the environments"


# Plain data


def _plain(value: Any) -> Any:
    """Copy the data with lists as tuples, as the model holds them, and unreadable parts as None."""
    return _copied(value, 0)


def _copied(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {key: _copied(item, depth + 1) for key, item in value.items() if _is_key(key)}
    if isinstance(value, list | tuple):
        return tuple(_copied(item, depth + 1) for item in value)
    return value


def _is_key(key: object) -> bool:
    return isinstance(key, str)


def _completed(kind: Kind, value: Any) -> Any:
    """Fill in the defaults of absent keys, as far as the data has the model's shape."""
    if kind.model is not None and isinstance(value, Mapping):
        fields = kind.model.model_fields
        known = {
            key: _completed(field_kind(fields[key]), item) if key in fields else item
            for key, item in value.items()
        }
        absent = {
            key: _default(field)
            for key, field in fields.items()
            if key not in value and not field.is_required()
        }
        return {**absent, **known}
    if kind.is_list and isinstance(value, tuple):
        return tuple(_completed(kind_of(kind.arguments[0]), item) for item in value)
    return value


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return default.model_dump() if isinstance(default, BaseModel) else default


def _unreadable(file: str, value: object, location: Location) -> Iterator[tuple[Location, Problem]]:
    """Find what a stack file may hold in YAML but settings cannot use."""
    if len(location) > _DEEPEST:
        found, remedy = "an object nested too deeply", "write it flat"
        yield location, Problem(file, _path(location), found, "plain settings", remedy)
    elif isinstance(value, Mapping):
        yield from _unreadable_mapping(file, value, location)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unreadable(file, item, (*location, index))
    elif isinstance(value, dt.date):
        found, remedy = "a date without quotes", f'put it in quotes: "{value.isoformat()[:10]}"'
        yield location, Problem(file, _path(location), found, "a date in quotes", remedy)


def _unreadable_mapping(
    file: str, value: Mapping[Any, object], location: Location
) -> Iterator[tuple[Location, Problem]]:
    if set(value) == {"secure"}:
        yield (
            location,
            Problem(
                file,
                _path(location) or SECTION,
                "an encrypted value",
                "plain settings: a stack file holds no secret",
                "remove it, and keep the secret in the Parameter Store by `ops params`",
            ),
        )
        return
    for key, item in value.items():
        if _is_key(key):
            yield from _unreadable(file, item, (*location, key))
        else:
            at = (*location, str(key))
            yield at, Problem(file, _path(at), shown(key), "a key that is text", "quote the key")


# The model's answers


def _validate(
    file: str, data: dict[str, Any], known: Mapping[Location, Problem]
) -> tuple[Settings | None, list[Problem]]:
    """Return the model, or the refusals that `known` does not explain already."""
    try:
        return Settings.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
    return None, [
        _translated(file, data, detail)
        for detail in _without_echoes(details)
        if not any(detail["loc"][: len(location)] == location for location in known)
    ]


def _without_echoes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Drop the missing keys that a misspelt neighbour was meant to be."""
    meant = {
        (*detail["loc"][:-1], _meant_key(detail["loc"]))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    return [
        detail for detail in details if not (detail["type"] == "missing" and detail["loc"] in meant)
    ]


def _translated(file: str, data: Mapping[str, Any], detail: ErrorDetails) -> Problem:
    location = tuple(part for part in detail["loc"] if part != KEY)
    if detail["type"] == "extra_forbidden":
        return _unknown_key(file, location)
    kind = kind_at(Settings, detail["loc"])
    is_key = KEY in detail["loc"]
    return Problem(
        file,
        _path(location),
        shown(location[-1]) if is_key else _found(data, location, detail),
        "a value the model knows" if kind is None else allowed(kind),
        _remedy(detail),
    )


def _unknown_key(file: str, location: Location) -> Problem:
    """Answer a key that the model does not know: its value may be anything, so is not shown."""
    key = location[-1]
    keys = _known_keys(location)
    guess = _meant_key(location)
    return Problem(
        file,
        _path(location),
        f"the unknown key {shown(key)}",
        f"the keys {', '.join(sorted(keys))}",
        f"did you mean {guess}?" if guess else "remove the key",
    )


def _known_keys(location: Location) -> list[str]:
    """Return the keys that the model knows beside the last one of a location."""
    parents = location[:-1]
    kind = kind_at(Settings, parents)
    model = Settings if kind is None or kind.model is None else kind.model
    return [name for name in model.model_fields if parents or name != "environment"]


def _meant_key(location: Location) -> str | None:
    return nearest(str(location[-1]), _known_keys(location))


def _found(data: Mapping[str, Any], location: Location, detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "nothing"
    return HIDDEN if _is_secret(data, location) else shown(detail["input"])


def _is_secret(data: Mapping[str, Any], location: Location) -> bool:
    """Whether a message must not repeat what stands here."""
    match location:
        case ("parameters", "catalogue", int(index), "value" | "initial", *_):
            entry = data["parameters"]["catalogue"][index]
            return bool(entry.get("type") != "String")
        case (*_, "external_id"):
            return True
        case _:
            return False


def _remedy(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "literal_error":
            guess = _nearest_choice(detail)
            return f"did you mean {guess}?" if guess else "choose one of those"
        case kind:
            return _REMEDIES.get(kind, "change it to what is allowed")


def _nearest_choice(detail: ErrorDetails) -> str | None:
    kind = kind_at(Settings, detail["loc"])
    choices: Iterable[Any] = () if kind is None else kind.arguments
    words = [choice for choice in choices if isinstance(choice, str)]
    found = detail["input"]
    return nearest(found, words) if isinstance(found, str) else None


def _path(location: Location) -> str:
    return functools.reduce(join, location, "")


def ended_waivers(settings: Settings, today: dt.date) -> tuple[Problem, ...]:
    """Find the waivers whose last day is past.

    They are findings, not refusals: no update and no recovery fails because a date has passed.
    """
    return tuple(
        Problem(
            naming.stack_file(settings.environment),
            f"waivers[{index}].until",
            shown(waiver.until.isoformat()),
            f"a day not before {today.isoformat()}",
            f"the waiver of {waiver.control} has ended: make the control hold and remove the "
            "waiver, or decide a new end",
        )
        for index, waiver in enumerate(settings.waivers)
        if waiver.until < today
    )

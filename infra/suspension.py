"""The record of a suspension: who stopped an environment, why, and what ran before. Pure.

`ops stop` writes it to the Parameter Store, where the program reads it at each run and shapes
itself by it; `ops start` restores what it says and takes it away. While there is none, the
environment runs.

A parameter holds 4 KB, an account more instances than fit. So the record has pages: the first, in
`naming.suspension_parameter`, says how many there are; the others are named after the run. Whoever
writes it writes the first page last, and takes it away first: a record is whole, or is not there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from infra import naming

VERSION: Final = 1
"""Of the record's form."""
PAGE_BYTES: Final = 4096
"""What a standard parameter takes."""
LONGEST_REASON: Final = 500
"""Characters; the longest in any script fits on the first page."""

_PAGE_COUNT_BYTES: Final = len(',"pages":999')

Utc = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(dt.UTC))]
Size = Annotated[int, Field(ge=0)]


class SuspensionError(Exception):
    """The record is there and cannot be relied on: nobody knows whether to build or to rest."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sizes(_Strict):
    """How many nodes a node group had, and might have."""

    min: Size
    desired: Size
    max: Size


class Running(_Strict):
    """What ran before it was stopped, and has to run again."""

    node_groups: Mapping[str, Mapping[str, Sizes]] = Field(default_factory=dict)
    """Cluster → node group → its sizes."""
    instances: tuple[str, ...] = ()
    """Ids of EC2 instances that no Auto Scaling group owns."""
    databases: tuple[str, ...] = ()
    """Identifiers of RDS instances."""


class Suspension(Running):
    """Why an environment is stopped, since when, and what to restore."""

    version: Literal[1] = VERSION
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]
    """The run of `ops stop` that stopped it, as its journal is called."""
    actor: Annotated[str, Field(min_length=1, max_length=500)]
    """Who ran it: an ARN."""
    reason: Annotated[str, Field(max_length=LONGEST_REASON)]
    since: Utc
    until: Utc | None = None
    """When it was meant to be over. Told when it is past; nothing starts by itself."""

    def is_overdue(self, now: dt.datetime) -> bool:
        """Tell whether it has lasted longer than was meant."""
        return self.until is not None and self.until < now


class _FirstPage(Suspension):
    pages: Annotated[int, Field(ge=1)] = 1


_Page = TypeVar("_Page", bound=Running)


def parameters(env: str, suspension: Suspension) -> dict[str, str]:
    """Return the parameters that hold a record: name → value, in the order to write them.

    They are of type String. The first page is the last: what is written before it says nothing
    yet. Raises `SuspensionError` where the first page cannot be made to fit.
    """
    about = suspension.model_dump(mode="json", exclude=set(Running.model_fields))
    pages = _pages(about, suspension)
    pages[0]["pages"] = len(pages)
    names = _names(env, suspension.run, len(pages))
    texts = {name: _text(page) for name, page in zip(names, pages, strict=True)}
    if any(len(text.encode()) > PAGE_BYTES for text in texts.values()):
        raise SuspensionError(
            f"The record of {env}'s suspension has more than {PAGE_BYTES} bytes on a page. "
            "Nothing was written. Give a shorter reason."
        )
    return dict(reversed(texts.items()))


def parse(env: str, found: Mapping[str, str]) -> Suspension | None:
    """Return the suspension of an environment; None: it runs.

    `found`: name → value of the parameters under `/{env}/mono-repo-ops`, at every depth; others
    may be among them. Raises `SuspensionError` where there is a record that is not whole and
    well-formed.
    """
    name = naming.suspension_parameter(env)
    if name not in found:
        return None
    first = _read(env, name, _FirstPage, found[name])
    names = _names(env, first.run, first.pages)
    missing = [page for page in names if page not in found]
    if missing:
        raise SuspensionError(
            _unusable(env, name, f"it has {first.pages} pages, and {missing[0]} is not there")
        )
    pages: list[Running] = [first, *(_read(env, page, Running, found[page]) for page in names[1:])]
    about = {key: getattr(first, key) for key in Suspension.model_fields}
    return Suspension(**{**about, **_together(pages)})


def page_names(env: str, found: Mapping[str, object]) -> list[str]:
    """Return which of some parameters are pages of records, whole or not, the first page first.

    It is the order to delete them in.
    """
    first = naming.suspension_parameter(env)
    return sorted(name for name in found if name == first or name.startswith(f"{first}/"))


def _names(env: str, run: str, count: int) -> list[str]:
    first = naming.suspension_parameter(env)
    return [first, *(f"{first}/{run}/{number}" for number in range(2, count + 1))]


def _pages(about: dict[str, Any], running: Running) -> list[dict[str, Any]]:
    """Spread what ran over as many pages as it takes."""
    pages = [{**about, "node_groups": {}, "instances": [], "databases": []}]
    size = _size(pages[0]) + _PAGE_COUNT_BYTES
    for key, cluster, entry in _entries(running):
        # An entry is never longer than it is alone, with its cluster's name and a comma.
        needed = _size({cluster: entry}) + 1
        if size + needed > PAGE_BYTES:
            pages.append({"node_groups": {}, "instances": [], "databases": []})
            size = _size(pages[-1])
        if key == "node_groups":
            pages[-1][key].setdefault(cluster, {}).update(entry)
        else:
            pages[-1][key].append(entry)
        size += needed
    return pages


def _entries(running: Running) -> Iterator[tuple[str, str, Any]]:
    """Yield what ran one by one: the field, for a node group its cluster, and the entry."""
    for cluster, groups in running.node_groups.items():
        for name, sizes in groups.items():
            yield "node_groups", cluster, {name: sizes.model_dump()}
    yield from (("databases", "", identifier) for identifier in running.databases)
    yield from (("instances", "", id_) for id_ in running.instances)


def _together(pages: list[Running]) -> dict[str, Any]:
    node_groups: dict[str, dict[str, Sizes]] = {}
    for page in pages:
        for cluster, groups in page.node_groups.items():
            node_groups.setdefault(cluster, {}).update(groups)
    return {
        "node_groups": node_groups,
        "instances": tuple(id_ for page in pages for id_ in page.instances),
        "databases": tuple(identifier for page in pages for identifier in page.databases),
    }


def _text(page: Mapping[str, Any]) -> str:
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
    # The Parameter Store refuses double brackets, which only text can have here.
    return text.replace("{{", "{\\u007b")


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _read(env: str, name: str, model: type[_Page], text: str) -> _Page:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'the value'}: {item['msg']}" for item in details
        ]
        raise SuspensionError(_unusable(env, name, "; ".join(problems))) from None


def _unusable(env: str, name: str, problem: str) -> str:
    return (
        f"The record of {env}'s suspension, parameter {name}, is not usable: {problem}. "
        f"Whether {env} is stopped is not known, so nothing was changed. Find the run that wrote "
        "it with `ops runs list` and put the parameter right, or delete it where the environment "
        "is known to run."
    )

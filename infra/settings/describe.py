"""What the model allows at a place, as a phrase: for error messages and the reference page."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from infra.settings.kinds import Allowed

KEY = "[key]"
"""Pydantic's mark at the end of a location for a mapping's key in place of its value."""


@dataclass(frozen=True)
class Kind:
    """A type and its constraints, unwrapped of `Annotated` and of `| None`."""

    type: Any
    constraints: tuple[object, ...]
    optional: bool

    @property
    def model(self) -> type[BaseModel] | None:
        """The model, where the value is an object with declared keys."""
        is_model = isinstance(self.type, type) and issubclass(self.type, BaseModel)
        return self.type if is_model else None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The type's arguments, such as an item's type."""
        return typing.get_args(self.type)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list of one kind of item."""
        return typing.get_origin(self.type) is tuple

    @property
    def is_mapping(self) -> bool:
        """Whether the value is an object with free keys."""
        return typing.get_origin(self.type) is Mapping


def kind_of(annotation: Any, constraints: tuple[object, ...] = ()) -> Kind:
    """Unwrap an annotation; constraints nearest to the type come first."""
    optional = False
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation, *metadata = typing.get_args(annotation)
            constraints = (*_flat(metadata), *constraints)
        elif origin in {types.UnionType, typing.Union}:
            optional = True
            annotation = next(
                part for part in typing.get_args(annotation) if part is not types.NoneType
            )
        else:
            return Kind(annotation, constraints, optional)


def _flat(metadata: list[Any]) -> Iterator[object]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def field_kind(field: FieldInfo) -> Kind:
    """Return the kind of a model's field."""
    return kind_of(field.annotation, tuple(_flat(field.metadata)))


def kind_at(model: type[BaseModel], location: tuple[int | str, ...]) -> Kind | None:
    """Return the kind the model declares at a location; None where it declares nothing."""
    kind = Kind(model, (), optional=False)
    for index, part in enumerate(location):
        if part == KEY:
            return kind
        if kind.model is not None:
            field = kind.model.model_fields.get(str(part))
            if field is None:
                return None
            kind = field_kind(field)
        elif kind.is_list:
            kind = kind_of(kind.arguments[0])
        elif kind.is_mapping:
            is_key = location[index + 1 : index + 2] == (KEY,)
            kind = kind_of(kind.arguments[0 if is_key else 1])
        else:
            return None
    return kind


def allowed(kind: Kind) -> str:
    """Say what a value of the kind may be."""
    said = [item.text for item in kind.constraints if isinstance(item, Allowed)]
    if said:
        return said[-1]
    if kind.model is not None:
        return f"an object with the keys {', '.join(sorted(kind.model.model_fields))}"
    if kind.is_list:
        item = kind_of(kind.arguments[0])
        count = _count(kind, "items")
        return f"a list{count} of objects" if item.model else f"a list{count} of: {allowed(item)}"
    if kind.is_mapping:
        key, value = (allowed(kind_of(part)) for part in kind.arguments)
        return f"an object; its keys: {key}; its values: {value}"
    if typing.get_origin(kind.type) is typing.Literal:
        return f"one of {', '.join(map(str, kind.arguments))}"
    if kind.type is bool:
        return "true or false"
    if kind.type is int:
        return f"a whole number{_range(kind)}"
    return f"text{_count(kind, 'characters')}"


def _range(kind: Kind) -> str:
    low = next((item.ge for item in kind.constraints if isinstance(item, Ge)), None)
    high = next((item.le for item in kind.constraints if isinstance(item, Le)), None)
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f" of at least {low}"
        case None, _:
            return f" of at most {high}"
        case _:
            return f" from {low} to {high}"


def _count(kind: Kind, what: str) -> str:
    low = next((item.min_length for item in kind.constraints if isinstance(item, MinLen)), 0)
    high = next((item.max_length for item in kind.constraints if isinstance(item, MaxLen)), None)
    match low, high:
        case 0, None:
            return ""
        case _, None:
            return f" of {low} or more {what}"
        case 0, _:
            return f" of up to {high} {what}"
        case _:
            return f" of {low} to {high} {what}"

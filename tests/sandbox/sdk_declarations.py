"""What the SDK's resource classes declare: the names and types that a program sees."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

sdk_types = importlib.import_module("pulumi._types")


def _sdk_class(type_: str) -> Any:
    # The class's own module: a package that was first imported by its leaves has no classes.
    _, path, name = type_.split(":")
    package, leaf = path.split("/")
    module = re.sub(r"(?<!^)([A-Z])", r"_\1", leaf).lower()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"pulumi_aws.{package}.{module}"), name)


def declared_outputs(type_: str) -> dict[str, Any]:
    """The class's outputs, in the wire's writing, with their types."""
    return dict(sdk_types.resource_types(_sdk_class(type_)))


def declared_inputs(type_: str) -> set[str]:
    """The constructor's arguments, in the wire's writing."""
    resource = _sdk_class(type_)
    arguments = list(inspect.signature(resource._internal_init).parameters)[3:-1]
    names = dict(sdk_types.resource_py_to_pulumi_names(resource))
    return {names.get(argument) or _camel(argument) for argument in arguments}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def wrong_outputs(type_: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the outputs that the class does not declare, or declares as another type."""
    declared = declared_outputs(type_)
    return {
        key: value
        for key, value in outputs.items()
        if key != "id" and not (key in declared and _fits(value, declared[key]))
    }


def _fits(value: Any, declared: Any) -> bool:
    """Tell whether the SDK can take a value as what it declares: it hangs on some others."""
    origin = typing.get_origin(declared)
    if origin is typing.Union:
        return any(_fits(value, option) for option in typing.get_args(declared))
    if declared is Any:
        return True
    if origin in (Sequence, list):
        return isinstance(value, list) and all(
            _fits(v, typing.get_args(declared)[0]) for v in value
        )
    if origin in (Mapping, dict):
        return isinstance(value, dict) and all(
            _fits(v, typing.get_args(declared)[1]) for v in value.values()
        )
    if declared is float:
        return isinstance(value, int | float)
    if declared in (str, bool, int):
        return type(value) is declared
    return isinstance(value, dict) and _fits_object(value, declared)


def _fits_object(value: dict[str, Any], declared: Any) -> bool:
    """Check a nested object's keys and types."""
    fields = dict(sdk_types.output_type_types(declared))
    return all(key in fields and _fits(item, fields[key]) for key, item in value.items())

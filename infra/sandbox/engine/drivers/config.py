"""Providers' configuration, as their resources' inputs carry it."""

from __future__ import annotations

import json

from infra.sandbox.engine.wire import PropertyMap, PropertyValue


def plain_config(inputs: PropertyMap) -> PropertyMap:
    """Undo the JSON writing in which the SDK sends every value that is no string."""
    return {key: _parsed(value) for key, value in inputs.items() if key != "__internal"}


def _parsed(value: PropertyValue) -> PropertyValue:
    if not isinstance(value, str) or not value or value[0] not in '[{tf"0123456789-':
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    # A string of digits is an account id or a name; only the SDK's own objects are JSON here.
    return parsed if isinstance(parsed, dict | list | bool) else value

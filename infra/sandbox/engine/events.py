"""Pulumi's engine events in their JSON form (``apitype.EngineEvent``), secrets blinded.

Each function gives one event without ``sequence`` and ``timestamp``, which the writer adds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from infra.sandbox.engine.generator import Step
from infra.sandbox.engine.state import Resource
from infra.sandbox.engine.wire import (
    ARCHIVE_SIGNATURE,
    ASSET_SIGNATURE,
    BLINDED,
    RESOURCE_SIGNATURE,
    SECRET_SIGNATURE,
    SIGNATURE_KEY,
    UNKNOWN,
    UNKNOWN_STRING,
    Archive,
    Asset,
    PropertyValue,
    ResourceReference,
    Secret,
    Unknown,
)

Event = dict[str, Any]

_LOGICAL: Final = frozenset(
    {"same", "create", "update", "delete", "replace", "read", "discard", "import"}
)
_STATUS_UNKNOWN: Final = 2


def is_logical(step: Step) -> bool:
    """Tell whether a step counts for itself, rather than as a part of a replacement."""
    return step.op in _LOGICAL


def prelude(config: Mapping[str, str], secret_keys: Collection[str]) -> Event:
    """Tell the configuration that an update begins with."""
    shown = {key: BLINDED if key in secret_keys else value for key, value in config.items()}
    return {"preludeEvent": {"config": shown}}


def diagnostic(message: str, severity: str, urn: str = "", *, ephemeral: bool = False) -> Event:
    """Tell the user something; severity is info, info#err, warning, error or debug."""
    payload: Event = {
        "prefix": "" if severity.startswith("info") else f"{severity}: ",
        "message": message if message.endswith("\n") else f"{message}\n",
        "color": "never",
        "severity": severity,
    }
    if urn:
        payload["urn"] = urn
    if ephemeral:
        payload["ephemeral"] = True
    return {"diagnosticEvent": payload}


def resource_pre(step: Step, *, planning: bool) -> Event:
    """Tell that a step begins."""
    return {"resourcePreEvent": {"metadata": _metadata(step, step.op), "planning": planning}}


def resource_outputs(step: Step, op: str, *, planning: bool) -> Event:
    """Tell that a step has ended, and with which outputs; `op` is what it came to."""
    return {"resOutputsEvent": {"metadata": _metadata(step, op), "planning": planning}}


def operation_failed(step: Step, steps: int) -> Event:
    """Tell that a step failed, after so many that succeeded."""
    metadata = _metadata(step, step.op)
    return {"resOpFailedEvent": {"metadata": metadata, "status": _STATUS_UNKNOWN, "steps": steps}}


def summary(
    changes: Mapping[str, int], seconds: int, *, planning: bool, maybe_corrupt: bool, result: str
) -> Event:
    """Tell what an update came to: how many resources had which operation."""
    return {
        "summaryEvent": {
            "maybeCorrupt": maybe_corrupt,
            "durationSeconds": seconds,
            "resourceChanges": dict(sorted(changes.items())),
            "PolicyPacks": {},
            "isPreview": planning,
            "result": result,
        }
    }


def cancel() -> Event:
    """Tell that no event follows."""
    return {"cancelEvent": {}}


def _metadata(step: Step, op: str) -> Event:
    resource = step.resource
    metadata: Event = {
        "op": op,
        "urn": resource.urn,
        "type": resource.type,
        "old": _state(step.old),
        "new": _state(step.new),
        "provider": resource.provider,
    }
    if step.keys:
        metadata["keys"] = list(step.keys)
    if step.detailed:
        metadata["diffs"] = list(step.diffs)
        metadata["detailedDiff"] = {
            path: {"diffKind": kind, "inputDiff": True} for path, kind in step.detailed.items()
        }
    if is_logical(step):
        metadata["logical"] = True
    return metadata


def _state(resource: Resource | None) -> Event | None:
    if resource is None:
        return None
    state: Event = {
        "type": resource.type,
        "urn": resource.urn,
        "id": resource.id,
        "parent": resource.parent,
        "inputs": blinded(resource.inputs),
        "outputs": blinded(resource.outputs),
        "provider": resource.provider,
    }
    flags = {
        "custom": resource.custom,
        "delete": resource.delete,
        "protect": resource.protect,
        "taint": resource.taint,
        "external": resource.external,
        "retainOnDelete": resource.retain_on_delete,
    }
    state.update({name: True for name, value in flags.items() if value})
    if resource.init_errors:
        state["initErrors"] = list(resource.init_errors)
    if resource.hide_diff:
        state["hideDiffs"] = [list(path) for path in resource.hide_diff]
    return state


def blinded(value: PropertyValue) -> PropertyValue:
    """Give a property value as JSON that tells no secret."""
    if isinstance(value, Secret):
        return {SIGNATURE_KEY: SECRET_SIGNATURE, "ciphertext": BLINDED}
    if isinstance(value, Unknown):
        return UNKNOWN_STRING
    if isinstance(value, dict):
        return {key: blinded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [blinded(item) for item in value]
    if isinstance(value, ResourceReference):
        id_ = UNKNOWN_STRING if value.id is UNKNOWN else value.id
        fields = {SIGNATURE_KEY: RESOURCE_SIGNATURE, "urn": value.urn, "id": id_}
        return {key: item for key, item in fields.items() if item is not None}
    if isinstance(value, Asset | Archive):
        signature = ASSET_SIGNATURE if isinstance(value, Asset) else ARCHIVE_SIGNATURE
        return {SIGNATURE_KEY: signature, **blinded(dict(value.fields))}
    return value

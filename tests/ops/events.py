"""Engine events as the SDK gives them, in a few words."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import EngineEvent

STACK = "urn:pulumi:dev::mono-repo::pulumi:pulumi:Stack::mono-repo-dev"
VPC_TYPE = "aws:ec2/vpc:Vpc"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:dev::mono-repo::{type_}::{name}"


VPC = urn(VPC_TYPE, "network-vpc")


def metadata(op: str, of: str, *, parent: str = STACK, **more: Any) -> dict[str, Any]:
    type_ = of.split("::")[2].rsplit("$", maxsplit=1)[-1]
    state = {"type": type_, "urn": of, "parent": parent, "custom": type_.startswith("aws:")}
    sides: dict[str, Any] = {}
    if op not in ("create", "create-replacement"):
        sides["old"] = {**state, "inputs": more.pop("old", {}), "protect": more.get("protect")}
    if op not in ("delete", "delete-replaced"):
        sides["new"] = {**state, "inputs": more.pop("new", {}), "protect": more.get("protect")}
    more.pop("protect", None)
    return {"op": op, "urn": of, "type": type_, "provider": "", **sides, **more}


def pre(op: str, of: str, **more: Any) -> EngineEvent:
    return EngineEvent.from_json({"resourcePreEvent": {"metadata": metadata(op, of, **more)}})


def done(op: str, of: str, **more: Any) -> EngineEvent:
    return EngineEvent.from_json({"resOutputsEvent": {"metadata": metadata(op, of, **more)}})


def failed(op: str, of: str, **more: Any) -> EngineEvent:
    return EngineEvent.from_json({"resOpFailedEvent": {"metadata": metadata(op, of, **more)}})


def says(severity: str, message: str, of: str = "", *, ephemeral: bool = False) -> EngineEvent:
    event = {"severity": severity, "message": message, "urn": of, "ephemeral": ephemeral}
    return EngineEvent.from_json({"diagnosticEvent": event})


def summary(**counts: int) -> EngineEvent:
    changes = {op.replace("_", "-"): number for op, number in counts.items()}
    return EngineEvent.from_json({"summaryEvent": {"resourceChanges": changes}})

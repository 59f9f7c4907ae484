"""What becomes of a state machine that EventBridge starts, where it stops databases.

moto runs no state machine. Here an execution does what the definition's calls of RDS would, for
each item of the Map state that they are in; nothing else of the language is carried out.
"""

from __future__ import annotations

import json
from typing import Any, Final

STOP_A_DATABASE: Final = "arn:aws:states:::aws-sdk:rds:stopDBInstance"


def execute(account: str, region: str, arn: str) -> None:
    """Run a state machine; one that is not there is as it is at AWS: nothing runs."""
    from moto.stepfunctions.models import stepfunctions_backends

    for machine in stepfunctions_backends[account][region].state_machines:
        if machine.arn == arn:
            for state in json.loads(machine.definition)["States"].values():
                _map(account, region, state)


def _map(account: str, region: str, state: dict[str, Any]) -> None:
    from moto.rds.exceptions import RDSClientError
    from moto.rds.models import rds_backends

    called = [inner.get("Resource") for inner in _inner(state)]
    for name in state.get("Items", []) if STOP_A_DATABASE in called else []:
        try:
            rds_backends[account][region].stop_db_instance(name)
        except RDSClientError:
            continue  # it is stopped already, or starts: the execution catches it


def _inner(state: dict[str, Any]) -> list[dict[str, Any]]:
    return list(state.get("ItemProcessor", {}).get("States", {}).values())

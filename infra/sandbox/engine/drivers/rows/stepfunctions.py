"""Step Functions' state machines."""

from __future__ import annotations

from typing import Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap


def _imported(id_: str) -> PropertyMap:
    return {"name": id_.rpartition(":")[2]}


STATE_MACHINE: Final = Row(
    label="SFN State Machine",
    service="stepfunctions",
    create=Call(
        "create_state_machine",
        {"name": "$name", "definition": "$definition", "roleArn": "$roleArn", "type": "$type"},
    ),
    id="out.stateMachineArn",
    read=Call("describe_state_machine", {"stateMachineArn": "$id"}),
    gone="live.status == 'DELETING'",
    delete=Call("delete_state_machine", {"stateMachineArn": "$id"}),
    updates=(
        Update(
            ("definition", "roleArn"),
            Call(
                "update_state_machine",
                {"stateMachineArn": "$id", "definition": "$definition", "roleArn": "$roleArn"},
            ),
        ),
    ),
    forces=("name", "namePrefix", "type"),
    computed=("namePrefix",),
    required=("definition", "roleArn"),
    defaults={"type": "STANDARD"},
    allowed={"type": ("STANDARD", "EXPRESS")},
    json=("definition",),
    name=AutoName("name", limit=80),
    name_prefix="namePrefix",
    outputs=("arn", "status"),
    reads={"arn": "id"},
    tags=Tagging(
        form="lower-pairs",
        create="tags",
        list=Call("list_tags_for_resource", {"resourceArn": "$id"}, "tags"),
        add=Call("tag_resource", {"resourceArn": "$id", "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": "$id", "tagKeys": "$removed"}),
    ),
    imported=_imported,
)

ROWS: Final[dict[str, Row]] = {"aws:sfn/stateMachine:StateMachine": STATE_MACHINE}

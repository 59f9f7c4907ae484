"""Secrets Manager's secrets, without their values."""

from __future__ import annotations

import json
from typing import Any, Final

from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Update

DEFAULT_WINDOW: Final = 30
DEFAULT_KEY: Final = "alias/aws/secretsmanager"


def _set_policy(scope: Scope) -> None:
    policy = scope.props.get("policy")
    if policy and json.loads(policy):
        scope.call("put_resource_policy", {"SecretId": scope.id, "ResourcePolicy": policy})
    else:
        scope.call("delete_resource_policy", {"SecretId": scope.id})


def _delete(scope: Scope) -> None:
    """Delete at once where no recovery is wanted; else the name stays blocked until then."""
    days = int(scope.props["recoveryWindowInDays"])
    how: dict[str, Any] = (
        {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
    )
    scope.call("delete_secret", {"SecretId": scope.id, **how})


SECRET: Final = Row(
    label="Secrets Manager Secret",
    service="secretsmanager",
    create=Call("create_secret", matching=True),
    id="out.ARN",
    read=Call("describe_secret", {"SecretId": "$id"}),
    also={"policy": Call("get_resource_policy", {"SecretId": "$id"}, "ResourcePolicy")},
    gone="DeletedDate != `null`",
    delete=_delete,
    updates=(
        Update(
            ("description", "kmsKeyId"),
            Call(
                "update_secret",
                {
                    "SecretId": "$id",
                    "Description": lambda scope: scope.props.get("description", ""),
                    "KmsKeyId": lambda scope: scope.props.get("kmsKeyId") or DEFAULT_KEY,
                },
            ),
        ),
        Update(("policy",), _set_policy, after_create=True),
    ),
    forces=("name", "namePrefix"),
    local=("recoveryWindowInDays", "forceOverwriteReplicaSecret"),
    names={"arn": "ARN"},
    computed=("namePrefix", "policy"),
    defaults={
        "recoveryWindowInDays": DEFAULT_WINDOW,
        "forceOverwriteReplicaSecret": False,
    },
    json=("policy",),
    name=AutoName("name", limit=512),
    name_prefix="namePrefix",
    outputs=("arn",),
    reads={"policy": "live.policy"},
    tags=Tagging(
        create="Tags",
        add=Call("tag_resource", {"SecretId": "$id", "Tags": "$added"}),
        remove=Call("untag_resource", {"SecretId": "$id", "TagKeys": "$removed"}),
    ),
    listing=Call("list_secrets", {}, "SecretList[].ARN"),
)

ROWS: Final[dict[str, Row]] = {"aws:secretsmanager/secret:Secret": SECRET}

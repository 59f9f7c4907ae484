"""What EventBridge delivers: to topics, and to runbooks and state machines that stop databases.

moto fails on a target that it does not know, and does not heed that a rule is disabled.
"""

from __future__ import annotations

import json
from typing import Any, Final

from infra.sandbox.cloud import fixes_stepfunctions

STOP_A_DATABASE: Final = "AWS-StopRdsInstance"
"""The runbook of AWS's that a rule may start, with the parameter ``InstanceId``."""


def install() -> None:
    """Apply all corrections to the imported moto; once a process."""
    from moto.events.models import Rule

    original = Rule.send_to_targets

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        if self.state != "ENABLED" or not self.event_pattern.matches_event(original_event):
            return
        for target in list(self.targets):
            if not _deliver(target, original_event):
                _send_to_one(self, original, target, original_event, transform_input)

    setattr(Rule, "send_to_targets", send_to_targets)  # noqa: B010


def _send_to_one(rule: Any, original: Any, target: Any, event: Any, transform: bool) -> None:
    import copy

    one = copy.copy(rule)
    one.targets = [target]
    original(one, event, transform)


def _deliver(target: dict[str, Any], event: Any) -> bool:
    """Deliver to a kind of target that moto does not know; whether it is one."""
    service, region, account, name = target["Arn"].split(":", 5)[2:]
    if service == "sns":
        _publish(account, region, target["Arn"], json.dumps(_input(target, event)))
        return True
    if service == "ssm" and name.startswith(f"automation-definition/{STOP_A_DATABASE}"):
        _stop_a_database(account, region, _input(target, event))
        return True
    if service == "states":
        fixes_stepfunctions.execute(account, region, target["Arn"])
        return True
    return service not in ("events", "logs", "sqs")


def _input(target: dict[str, Any], event: Any) -> Any:
    from moto.events.utils import EventTemplateParser

    if target.get("Input"):
        return json.loads(target["Input"])
    transformer = target.get("InputTransformer") or {}
    template, paths = transformer.get("InputTemplate", ""), transformer.get("InputPathsMap", {})
    return EventTemplateParser.parse(template, paths, event)


def _publish(account: str, region: str, topic: str, message: str) -> None:
    from moto.sns.models import sns_backends

    backend = sns_backends[account][region]
    if topic in backend.topics:
        backend.publish(message, arn=topic)


def _stop_a_database(account: str, region: str, parameters: dict[str, Any]) -> None:
    """Run the runbook: it stops an instance that is available, and fails on any other."""
    from moto.rds.exceptions import RDSClientError
    from moto.rds.models import rds_backends

    for name in parameters["InstanceId"]:
        try:
            rds_backends[account][region].stop_db_instance(name)
        except RDSClientError:
            continue  # the execution fails; who made the rule sees the instance running

"""DatabaseRestop: keeps stopped databases stopped, while their environment is suspended.

RDS starts an instance again when it has been stopped for 7 days. It tells of that by events, the
last of them when the instance can be stopped again, and EventBridge's rule takes that one up. But
RDS sends events on a best effort basis and asks nobody to rely on them. So the same rule, which is
enabled during a suspension alone, also begins a round every half an hour that asks RDS to stop each
database; RDS refuses it for one that is stopped already. Whatever has started a database, and
whenever, a later round stops it, and makes up for one that was missed or has failed.

A round is a state machine of a few seconds, so that none is under way when an environment is
started again, and it runs no code that would have to be kept up to date. A round after which a
database still runs has failed; when that lasts, an alarm tells, suspended or not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.cloudwatch.event_rule import EventRule
from pulumi_aws.cloudwatch.event_target import EventTarget
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.sfn.state_machine import StateMachine

from components.iam_policies import Statement, policy_document, service_trust

SCHEDULE: Final = "rate(30 minutes)"
STARTED: Final = "RDS-EVENT-0088"
"""DB instance started. The announcement, RDS-EVENT-0154, comes while it refuses to be stopped."""
ROUND_SECONDS: Final = 120
"""How long a round may take; the calls take a second each."""
FAILED_ROUNDS_AN_HOUR: Final = 2
"""All of them: a single one fails whenever a database happens to be starting."""
FAILED_HOURS: Final = 2
HOUR_SECONDS: Final = 3600
RESTING: Final = ("stopped", "stopping")


@dataclass(frozen=True, kw_only=True)
class DatabaseRestopArgs:
    """What is kept stopped, and who is told when that fails."""

    account_id: str
    region: str
    name: str
    """Of the rule, by which a stop enables it; of the state machine; what roles begin with."""
    alarm_name: str
    """Not one of the names that a stop silences: this is what watches over the stop."""
    databases: Mapping[str, Input[str]]
    """Database -> identifier of its instance; one or more."""
    suspended: bool
    """Whether the environment is stopped: the rule is enabled then, and else does nothing."""
    permissions_boundary_arn: Input[str] | None
    alarm_actions: Sequence[Input[str]]
    tags: Mapping[str, str]


class DatabaseRestop(ComponentResource):
    """A rule that is enabled while an environment is suspended, and what it sets off."""

    rule_name: Output[str]
    """The rule that a stop enables and a start disables."""

    def __init__(
        self, name: str, args: DatabaseRestopArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("mono-repo:index:DatabaseRestop", name, {}, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        self._identifiers = Output.all(*args.databases.values())
        machine = self._state_machine()
        rule = self._rule(machine)
        self._alarm(machine, rule)
        self.rule_name = rule.name
        self.register_outputs({"rule_name": self.rule_name})

    def _role(self, suffix: str, service: str, does: str, policy: Output[str]) -> Output[str]:
        """Make a role for an AWS service; its ARN is known once it is allowed what it needs."""
        name = f"{self._name}-{suffix}"
        role = Role(
            name,
            name=f"{self._args.name}-{suffix}",
            description=does,
            assume_role_policy=policy_document([service_trust(service, self._args.account_id)]),
            permissions_boundary=self._args.permissions_boundary_arn,
            tags=self._args.tags,
            opts=self._child,
        )
        allowed = RolePolicy(name, name=suffix, role=role.name, policy=policy, opts=self._child)
        return Output.all(role.arn, allowed.id).apply(lambda both: str(both[0]))

    def _state_machine(self) -> StateMachine:
        """Make what a round is."""
        args = self._args
        role_arn = self._role(
            "round",
            "states.amazonaws.com",
            "Stops databases while their environment is suspended",
            self._identifiers.apply(
                lambda identifiers: stop_policy(args.region, args.account_id, identifiers)
            ),
        )
        return StateMachine(
            self._name,
            name=args.name,
            definition=self._identifiers.apply(definition),
            role_arn=role_arn,
            tags=args.tags,
            opts=self._child,
        )

    def _rule(self, machine: StateMachine) -> EventRule:
        """Make what sets off the rounds."""
        args = self._args
        role_arn = self._role(
            "rule",
            "events.amazonaws.com",
            "Begins the rounds that stop databases",
            machine.arn.apply(start_policy),
        )
        rule = EventRule(
            self._name,
            name=args.name,
            description="Stops databases again that AWS has started; enabled while suspended",
            event_pattern=self._identifiers.apply(started),
            schedule_expression=SCHEDULE,
            state="ENABLED" if args.suspended else "DISABLED",
            tags=args.tags,
            opts=self._child,
        )
        EventTarget(
            self._name,
            rule=rule.name,
            target_id="round",
            arn=machine.arn,
            role_arn=role_arn,
            input="{}",
            # No longer than until the next round.
            retry_policy={"maximum_event_age_in_seconds": 1800, "maximum_retry_attempts": 10},
            opts=self._child,
        )
        return rule

    def _alarm(self, machine: StateMachine, rule: EventRule) -> None:
        """Tell when rounds fail for hours, or do not even begin."""
        args = self._args
        of_machine = {"StateMachineArn": machine.arn}
        metrics: dict[str, tuple[str, str, Mapping[str, Input[str]]]] = {
            "failed": ("AWS/States", "ExecutionsFailed", of_machine),
            "late": ("AWS/States", "ExecutionsTimedOut", of_machine),
            "missed": ("AWS/Events", "FailedInvocations", {"RuleName": rule.name}),
        }
        MetricAlarm(
            self._name,
            name=args.alarm_name,
            alarm_description=(
                f"A database of a suspended environment runs, and has not been stopped for "
                f"{FAILED_HOURS} hours: see the executions of state machine {args.name}"
            ),
            metric_queries=[
                {
                    "id": "all",
                    "expression": "SUM(METRICS())",
                    "label": "rounds that did not stop every database",
                    "return_data": True,
                },
                *(
                    {
                        "id": key,
                        "return_data": False,
                        "metric": {
                            "namespace": namespace,
                            "metric_name": metric,
                            "dimensions": dimensions,
                            "period": HOUR_SECONDS,
                            "stat": "Sum",
                        },
                    }
                    for key, (namespace, metric, dimensions) in metrics.items()
                ),
            ],
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=FAILED_ROUNDS_AN_HOUR,
            evaluation_periods=FAILED_HOURS,
            treat_missing_data="notBreaching",
            alarm_actions=args.alarm_actions,
            tags=args.tags,
            opts=self._child,
        )


def started(identifiers: Sequence[str]) -> str:
    """Return the events that say of one of these databases that it has been started."""
    return json.dumps(
        {
            "source": ["aws.rds"],
            "detail-type": ["RDS DB Instance Event"],
            "detail": {"EventID": [STARTED], "SourceIdentifier": list(identifiers)},
        }
    )


def definition(identifiers: Sequence[str]) -> str:
    """Return a round, in Amazon States Language: ask to stop each, and see what did not work out.

    Stopping is tried without looking first: between a look and the call a database may have
    become what it was not.
    """
    status = "$states.result.DbInstances[0].DbInstanceStatus"
    one: dict[str, Any] = {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "Stop",
        "States": {
            "Stop": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:rds:stopDBInstance",
                "Arguments": {"DbInstanceIdentifier": "{% $states.input %}"},
                "Output": {"database": "{% $states.input %}", "status": "stopping"},
                # Refused or failed, for whatever reason: one does not keep the others running.
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Output": {
                            "database": "{% $states.input %}",
                            "status": "{% $states.errorOutput.Error %}",
                        },
                        "Next": "Look",
                    }
                ],
                "End": True,
            },
            "Look": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:rds:describeDBInstances",
                "Arguments": {"DbInstanceIdentifier": "{% $states.input.database %}"},
                "Output": {
                    "database": "{% $states.input.database %}",
                    "status": f"{{% {status} %}}",
                },
                # What was refused says why; the input has it, an error would take its place.
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Output": "{% $states.input %}",
                        "Next": "Unseen",
                    }
                ],
                "End": True,
            },
            "Unseen": {"Type": "Pass", "Output": "{% $states.input %}", "End": True},
        },
    }
    resting = ", ".join(f"'{word}'" for word in RESTING)
    return json.dumps(
        {
            "Comment": "Stop every database of a suspended environment that runs",
            "QueryLanguage": "JSONata",
            "TimeoutSeconds": ROUND_SECONDS,
            "StartAt": "EachDatabase",
            "States": {
                "EachDatabase": {
                    "Type": "Map",
                    "Items": list(identifiers),
                    "ItemProcessor": one,
                    "Next": "AllAtRest",
                },
                "AllAtRest": {
                    "Type": "Choice",
                    "Choices": [
                        {
                            "Condition": (
                                f"{{% $count($states.input[$not(status in [{resting}])]) = 0 %}}"
                            ),
                            "Next": "Done",
                        }
                    ],
                    "Default": "StillRunning",
                },
                "Done": {"Type": "Succeed"},
                "StillRunning": {
                    "Type": "Fail",
                    "Error": "StillRunning",
                    "Cause": "{% $string($states.input) %}",
                },
            },
        }
    )


def stop_policy(region: str, account_id: str, identifiers: Sequence[str]) -> str:
    """Return what a round may do: look at these databases, and stop them."""
    return policy_document(
        [
            Statement(
                actions=["rds:DescribeDBInstances", "rds:StopDBInstance"],
                resources=[f"arn:aws:rds:{region}:{account_id}:db:{name}" for name in identifiers],
            )
        ]
    )


def start_policy(state_machine_arn: str) -> str:
    """Return what the rule may do: begin a round."""
    return policy_document(
        [Statement(actions=["states:StartExecution"], resources=[state_machine_arn])]
    )

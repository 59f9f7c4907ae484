"""Alarms: what is worth waking somebody for, told to the environment's topic.

What is watched and from when on it is wrong is decided in `components.alarm_rules`; refused access
to parameters is watched where it is recorded, in ParameterStore.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm

from components.alarm_rules import AlarmRule, Metric, Watched, alarm_rules

if TYPE_CHECKING:
    from pulumi_aws.cloudwatch._inputs import MetricAlarmMetricQueryArgsDict

RESULT = "result"
"""Name of the expression's own series."""


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What is watched, and who is told."""

    name_prefix: str
    """What the alarms' names begin with: a message carries the name and nothing else that says
    which environment it is about, and a stop finds the alarms by it."""
    topic_arn: Input[str]
    watched: Watched
    notify: bool
    """False while the environment is stopped on purpose: the alarms stay and tell nobody."""
    tags: Mapping[str, str]


class Alarms(ComponentResource):
    """The alarms of one environment."""

    arns: Mapping[str, Output[str]]
    """Name without the prefix -> alarm."""

    def __init__(self, name: str, args: AlarmsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("mono-repo:index:Alarms", name, {}, opts)
        child = ResourceOptions(parent=self)
        self.arns = {
            rule.name: _alarm(f"{name}-{rule.name}", rule, args, child).arn
            for rule in alarm_rules(args.watched)
        }
        self.register_outputs({"arns": self.arns})


def _alarm(
    resource_name: str, rule: AlarmRule, args: AlarmsArgs, opts: ResourceOptions
) -> MetricAlarm:
    (metric, *_) = rule.metrics.values()
    alone = rule.expression is None
    is_percentile = alone and metric.statistic.startswith("p")
    return MetricAlarm(
        resource_name,
        name=f"{args.name_prefix}-{rule.name}",
        alarm_description=rule.description,
        namespace=metric.namespace if alone else None,
        metric_name=metric.name if alone else None,
        dimensions=metric.dimensions if alone else None,
        statistic=metric.statistic if alone and not is_percentile else None,
        extended_statistic=metric.statistic if is_percentile else None,
        # A percentile of a handful of requests is the slowest of them.
        evaluate_low_sample_count_percentiles="ignore" if is_percentile else None,
        period=rule.period_seconds if alone else None,
        metric_queries=None if alone else _queries(rule),
        comparison_operator=rule.comparison,
        threshold=rule.threshold,
        evaluation_periods=rule.periods,
        datapoints_to_alarm=rule.breaching_periods,
        treat_missing_data=rule.missing,
        actions_enabled=args.notify,
        alarm_actions=[args.topic_arn],
        ok_actions=[args.topic_arn],
        tags=args.tags,
        opts=opts,
    )


def _queries(rule: AlarmRule) -> "list[MetricAlarmMetricQueryArgsDict]":
    """Return a rule's expression, which is what is judged, and the metrics it is made of."""
    result: MetricAlarmMetricQueryArgsDict = {
        "id": RESULT,
        "expression": rule.expression,
        "label": rule.name,
        "return_data": True,
    }
    return [result, *(_query(id_, metric, rule) for id_, metric in rule.metrics.items())]


def _query(id_: str, metric: Metric, rule: AlarmRule) -> "MetricAlarmMetricQueryArgsDict":
    return {
        "id": id_,
        "return_data": False,
        "metric": {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": metric.dimensions,
            "period": rule.period_seconds,
            "stat": metric.statistic,
        },
    }

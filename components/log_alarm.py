"""An alarm on the first line of a log group that matches a pattern."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import Input, ResourceOptions
from pulumi_aws.cloudwatch.log_metric_filter import LogMetricFilter
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm


@dataclass(frozen=True, kw_only=True)
class LogAlarm:
    """What is looked for, and what it means."""

    log_group_name: Input[str]
    pattern: str
    """CloudWatch Logs' filter pattern."""
    namespace: str
    metric: str
    """What the count of matching lines is called."""
    description: str
    period_seconds: int
    actions: Sequence[Input[str]]
    """What is told: ARNs."""
    tags: Mapping[str, str]


def alarm_on_log(name: str, alarm: LogAlarm, opts: ResourceOptions) -> MetricAlarm:
    """Count the lines that match, and raise the alarm at the first of a period."""
    LogMetricFilter(
        name,
        log_group_name=alarm.log_group_name,
        pattern=alarm.pattern,
        metric_transformation={
            "name": alarm.metric,
            "namespace": alarm.namespace,
            "value": "1",
            "default_value": "0",
        },
        opts=opts,
    )
    return MetricAlarm(
        name,
        alarm_description=alarm.description,
        namespace=alarm.namespace,
        metric_name=alarm.metric,
        statistic="Sum",
        period=alarm.period_seconds,
        evaluation_periods=1,
        comparison_operator="GreaterThanOrEqualToThreshold",
        threshold=1,
        treat_missing_data="notBreaching",
        alarm_actions=alarm.actions,
        tags=alarm.tags,
        opts=opts,
    )

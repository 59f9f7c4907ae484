"""An alarm that tells nobody while the environment is suspended: what a preview has to agree to."""

import pulumi
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm
from pulumi_aws.provider import Provider
from pulumi_aws.ssm.get_parameters_by_path import get_parameters_by_path

aws = Provider("aws", region="us-east-1", allowed_account_ids=["111122223333"])
record = get_parameters_by_path(
    path="/dev/mono-repo-ops", recursive=True, opts=pulumi.InvokeOptions(provider=aws)
)
MetricAlarm(
    "declared",
    name="mono-repo-dev-declared",
    namespace="AWS/EC2",
    metric_name="CPUUtilization",
    statistic="Average",
    period=300,
    comparison_operator="GreaterThanThreshold",
    threshold=90,
    evaluation_periods=1,
    actions_enabled="/dev/mono-repo-ops/suspension" not in record.names,
    opts=pulumi.ResourceOptions(provider=aws),
)

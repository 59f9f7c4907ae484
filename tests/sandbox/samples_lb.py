"""Sample inputs of load balancers, what they are attached to, and the names that lead to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import boto3

from tests.sandbox.sample import NEW_TAGS, TAGS, Sample

SCALING_GROUP: Final = "sample-nodes"
"""An Auto Scaling group that the attachment's sample joins: see `make_scaling_group`."""

LOG_POLICY: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::sample-balancer-logs/*/AWSLogs/111122223333/*",
            }
        ],
    }
)

SAMPLES: Final[Mapping[str, Sample]] = {
    "balancer-log-bucket": Sample(
        "aws:s3/bucket:Bucket",
        {"bucket": "sample-balancer-logs", "forceDestroy": True},
        {"tags": TAGS},
    ),
    "balancer-log-policy": Sample(
        "aws:s3/bucketPolicy:BucketPolicy",
        {"bucket": "ref:balancer-log-bucket", "policy": LOG_POLICY},
        {"policy": LOG_POLICY.replace("/*/", "/elb/")},
    ),
    "balancer": Sample(
        "aws:lb/loadBalancer:LoadBalancer",
        {
            "internal": True,
            "loadBalancerType": "application",
            "subnets": ["ref:subnet", "ref:subnet2"],
            "securityGroups": ["ref:group"],
            "dropInvalidHeaderFields": True,
            "desyncMitigationMode": "strictest",
            "idleTimeout": 30,
            "accessLogs": {"bucket": "ref:balancer-log-bucket", "prefix": "elb", "enabled": True},
            "connectionLogs": {
                "bucket": "ref:balancer-log-bucket",
                "prefix": "elb",
                "enabled": True,
            },
            "tags": TAGS,
        },
        {
            "subnets": ["ref:subnet2", "ref:subnet"],
            "dropInvalidHeaderFields": False,
            "idleTimeout": 60,
            "enableHttp2": False,
            "connectionLogs": {"bucket": "ref:balancer-log-bucket", "enabled": False},
            "tags": NEW_TAGS,
        },
        absent=("accessLogs",),
        needs=("balancer-log-policy",),
    ),
    "target-group": Sample(
        "aws:lb/targetGroup:TargetGroup",
        {
            "vpcId": "ref:vpc",
            "targetType": "instance",
            "protocol": "HTTP",
            "port": 30080,
            "deregistrationDelay": 60,
            "stickiness": {"type": "lb_cookie", "enabled": False},
            "healthCheck": {
                "enabled": True,
                "protocol": "HTTP",
                "port": "traffic-port",
                "path": "/health",
                "matcher": "200",
                "interval": 15,
                "timeout": 5,
                "healthyThreshold": 2,
                "unhealthyThreshold": 3,
            },
            # More than the ten that older clients could set.
            "tags": {**TAGS, **{f"tag-{number}": "x" for number in range(10)}},
        },
        {
            "deregistrationDelay": 120,
            "healthCheck": {"path": "/ready", "interval": 20, "matcher": "200-299"},
            "stickiness": {"type": "lb_cookie", "enabled": True, "cookieDuration": 600},
            "tags": NEW_TAGS,
        },
    ),
    "other-target-group": Sample(
        "aws:lb/targetGroup:TargetGroup",
        {"vpcId": "ref:vpc", "protocol": "HTTP", "port": 30081},
        {"loadBalancingAlgorithmType": "least_outstanding_requests"},
    ),
    "http-listener": Sample(
        "aws:lb/listener:Listener",
        {
            "loadBalancerArn": "ref:balancer",
            "port": 80,
            "protocol": "HTTP",
            "defaultActions": [
                {
                    "type": "fixed-response",
                    "fixedResponse": {
                        "contentType": "text/plain",
                        "messageBody": "none",
                        "statusCode": "404",
                    },
                }
            ],
            "tags": TAGS,
        },
        {
            "defaultActions": [
                {
                    "type": "redirect",
                    "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"},
                }
            ],
            "tags": NEW_TAGS,
        },
    ),
    "listener-rule": Sample(
        "aws:lb/listenerRule:ListenerRule",
        {
            "listenerArn": "ref:http-listener",
            "priority": 30080,
            "conditions": [{"hostHeader": {"values": ["api-service.mono-repo.internal"]}}],
            "actions": [{"type": "forward", "targetGroupArn": "ref:target-group"}],
            "tags": TAGS,
        },
        {
            "priority": 30081,
            "conditions": [{"hostHeader": {"values": ["web-app.mono-repo.internal"]}}],
            "actions": [{"type": "forward", "targetGroupArn": "ref:other-target-group"}],
            "tags": NEW_TAGS,
        },
    ),
    "path-rule": Sample(
        "aws:lb/listenerRule:ListenerRule",
        {
            "listenerArn": "ref:http-listener",
            "conditions": [
                {"pathPattern": {"values": ["/admin", "/admin/*"]}},
                {"sourceIp": {"values": ["10.0.0.0/8"]}},
            ],
            "actions": [
                {
                    "type": "fixed-response",
                    "fixedResponse": {"contentType": "text/plain", "statusCode": "403"},
                }
            ],
        },
        {"conditions": [{"pathPattern": {"values": ["/admin"]}}]},
    ),
    "scaling-attachment": Sample(
        "aws:autoscaling/attachment:Attachment",
        {"autoscalingGroupName": SCALING_GROUP, "lbTargetGroupArn": "ref:target-group"},
    ),
    "zone": Sample(
        "aws:route53/zone:Zone",
        {
            "name": "sample.internal",
            "vpcs": [{"vpcId": "ref:vpc", "vpcRegion": "us-east-1"}],
            "forceDestroy": True,
            "tags": TAGS,
        },
        {"comment": "Names inside the VPC", "tags": NEW_TAGS},
    ),
    "alias-record": Sample(
        "aws:route53/record:Record",
        {
            "zoneId": "ref:zone",
            "name": "api-service.sample.internal",
            "type": "A",
            "aliases": [
                {
                    "name": "ref:balancer.dnsName",
                    "zoneId": "ref:balancer.zoneId",
                    "evaluateTargetHealth": False,
                }
            ],
        },
        {
            "aliases": [
                {
                    "name": "ref:balancer.dnsName",
                    "zoneId": "ref:balancer.zoneId",
                    "evaluateTargetHealth": True,
                }
            ]
        },
    ),
    "text-record": Sample(
        "aws:route53/record:Record",
        {
            "zoneId": "ref:zone",
            "name": "note.sample.internal",
            "type": "TXT",
            "ttl": 300,
            "records": ['"one"'],
        },
        {"ttl": 60, "records": ['"one"', '"two"']},
    ),
    "percentile-alarm": Sample(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        {
            "name": "mono-repo-dev-sample-latency",
            "namespace": "AWS/ApplicationELB",
            "metricName": "TargetResponseTime",
            "dimensions": {"LoadBalancer": "app/sample/1", "TargetGroup": "targetgroup/sample/1"},
            "extendedStatistic": "p95",
            "evaluateLowSampleCountPercentiles": "ignore",
            "period": 300,
            "evaluationPeriods": 3,
            "datapointsToAlarm": 2,
            "threshold": 1.5,
            "comparisonOperator": "GreaterThanThreshold",
            "treatMissingData": "notBreaching",
            "actionsEnabled": False,
            "alarmActions": ["ref:topic"],
            "okActions": ["ref:topic"],
        },
        {"extendedStatistic": "p99", "actionsEnabled": True, "threshold": 2},
    ),
    "ratio-alarm": Sample(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        {
            "comparisonOperator": "GreaterThanThreshold",
            "evaluationPeriods": 3,
            "threshold": 5,
            "metricQueries": [
                {
                    "id": "result",
                    "expression": "100 * FILL(errors, 0) / requests",
                    "label": "errors",
                    "returnData": True,
                },
                *(
                    {
                        "id": id_,
                        "returnData": False,
                        "metric": {
                            "namespace": "AWS/ApplicationELB",
                            "metricName": metric,
                            "period": 300,
                            "stat": "Sum",
                            "dimensions": {"LoadBalancer": "app/sample/1"},
                        },
                    }
                    for id_, metric in (
                        ("errors", "HTTPCode_ELB_5XX_Count"),
                        ("requests", "RequestCount"),
                    )
                ),
            ],
        },
        {"threshold": 6, "treatMissingData": "notBreaching"},
    ),
}


def make_scaling_group(
    environment: Mapping[str, str], name: str = SCALING_GROUP, nodes: int = 0
) -> str:
    """Make an Auto Scaling group beside the engine, as EKS makes a node group's."""
    scaling = boto3.client(
        "autoscaling",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
    )
    template = f"{name}-template"
    scaling.create_launch_configuration(
        LaunchConfigurationName=template, ImageId="ami-12c6146b", InstanceType="t3.medium"
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=template,
        MinSize=nodes,
        MaxSize=nodes,
        DesiredCapacity=nodes,
        AvailabilityZones=["us-east-1a"],
    )
    return name

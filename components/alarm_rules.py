"""What is worth waking somebody for: the alarms of each part of an environment, as data. Pure.

Every rule says what is watched, from when on it is wrong, what silence of the metric means, and
what to do first. Silence (`missing`) is judged rule by rule:

`notBreaching`  the metric is written only when something happens, so no data is good news
`breaching`     the metric is always written, so no data means that its source is gone
`missing`       neither can be said: the alarm shows INSUFFICIENT_DATA and tells nobody
`ignore`        the metric is written seldom, and until then the last word holds
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pulumi import Input

Comparison = Literal[
    "GreaterThanThreshold",
    "GreaterThanOrEqualToThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
]
Missing = Literal["missing", "notBreaching", "breaching", "ignore"]

PERIOD_SECONDS = 300
DAY_SECONDS = 86400
GIB = 1024**3

# Load balancer
ERROR_PERCENT = 5
ENOUGH_REQUESTS = 20
"""Requests in a period below which the share of errors says nothing."""
BALANCER_ERRORS = 10
SLOW_SECONDS = 2
CERTIFICATE_DAYS = 30
"""ACM renews 60 days before the end: half of that was in vain."""

# Nodes
CPU_PERCENT = 80
MEMORY_PERCENT = 85
DISK_PERCENT = 80
"""At 85 the kubelet begins to delete images, at 90 to evict pods."""

# Databases
FREE_STORAGE_PERCENT = 10
FREEABLE_MEMORY_PERCENT = 5
FREEABLE_MEMORY_FLOOR_BYTES = 256 * 1024**2
"""Where the memory of the instance class is not known."""
CONNECTION_PERCENT = 80
BYTES_PER_CONNECTION = 9531392
MOST_CONNECTIONS = 5000
"""RDS for PostgreSQL: `max_connections` is LEAST(memory / 9531392, 5000)."""
QUEUED_REQUESTS = 20
TRANSACTION_IDS = 1_000_000_000
"""PostgreSQL refuses to write shortly before 2 147 million; vacuum brings the number down."""

# NAT
DROPPED_PERCENT = 0.01
"""More than this share of dropped packets is not the gateway's normal life, says AWS."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric and how a period of it is summed up."""

    namespace: str
    name: str
    dimensions: Mapping[str, Input[str]]
    statistic: str
    """`Sum`, `Average`, `Minimum`, `Maximum`, or a percentile such as `p95`."""


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    """One alarm: a metric, or an expression over several, and from when on it is wrong."""

    name: str
    """Unique in the environment."""
    description: str
    """What is wrong, and what to do first."""
    metrics: Mapping[str, Metric]
    """Name in the expression -> metric; exactly one where there is no expression."""
    expression: str | None = None
    """CloudWatch metric math over `metrics`."""
    comparison: Comparison
    threshold: float
    periods: int
    """How many are looked at."""
    breaching_periods: int
    """How many of those must be wrong."""
    period_seconds: int = PERIOD_SECONDS
    missing: Missing


@dataclass(frozen=True, kw_only=True)
class WatchedLoadBalancer:
    """A load balancer and its target groups, as CloudWatch calls them."""

    arn_suffix: Input[str]
    target_group_arn_suffixes: Mapping[str, Input[str]]
    """Workload -> target group."""
    certificate_arn: str | None
    """What it serves HTTPS with; None: there is nothing to expire."""


@dataclass(frozen=True, kw_only=True)
class WatchedCluster:
    """A cluster and its nodes."""

    cluster_name: str
    autoscaling_group_names: Mapping[str, Input[str]]
    """Node group -> Auto Scaling group."""
    container_insights: bool
    """Whether the CloudWatch observability add-on writes its metrics."""


@dataclass(frozen=True, kw_only=True)
class WatchedDatabase:
    """A PostgreSQL instance."""

    identifier: Input[str]
    instance_class: str
    storage_gb: int
    """What was allocated at first. Storage grows at a tenth left: less is left only where it
    cannot grow any more."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Everything that is watched; what an environment does without is left out."""

    load_balancer: WatchedLoadBalancer | None = None
    cluster: WatchedCluster | None = None
    databases: Mapping[str, WatchedDatabase] = field(default_factory=dict)
    """Name -> instance."""
    nat_gateway_ids: Mapping[str, Input[str]] = field(default_factory=dict)
    """Zone, or `regional` -> gateway."""


def alarm_rules(watched: Watched) -> list[AlarmRule]:
    """Return every rule for what is watched."""
    rules: list[AlarmRule] = []
    if watched.load_balancer is not None:
        rules += load_balancer_rules(watched.load_balancer)
    if watched.cluster is not None:
        rules += node_rules(watched.cluster)
    for name, database in watched.databases.items():
        rules += database_rules(name, database)
    for zone, gateway_id in watched.nat_gateway_ids.items():
        rules += nat_rules(zone, gateway_id)
    return rules


def load_balancer_rules(balancer: WatchedLoadBalancer) -> list[AlarmRule]:
    """Return what can go wrong between a client and a workload."""
    rules = [
        AlarmRule(
            name="load-balancer-5xx",
            description=(
                "The load balancer itself answers 5xx. First see which target group has no "
                "healthy host, then the elb_status_code and error_reason in its access log."
            ),
            metrics={"errors": _balancer(balancer, "HTTPCode_ELB_5XX_Count", "Sum")},
            comparison="GreaterThanOrEqualToThreshold",
            threshold=BALANCER_ERRORS,
            periods=3,
            breaching_periods=2,
            missing="notBreaching",  # counted only when there is one
        )
    ]
    for workload, target_group in balancer.target_group_arn_suffixes.items():
        rules += _workload_rules(balancer, workload, target_group)
    if balancer.certificate_arn is not None:
        rules.append(_certificate_rule(balancer.certificate_arn))
    return rules


def _workload_rules(
    balancer: WatchedLoadBalancer, workload: str, target_group: Input[str]
) -> list[AlarmRule]:
    def metric(name: str, statistic: str) -> Metric:
        return _balancer(balancer, name, statistic, target_group)

    return [
        AlarmRule(
            name=f"{workload}-5xx",
            description=(
                f"More than {ERROR_PERCENT} % of the answers of {workload} are 5xx. First read "
                "the logs of its pods, then look for what was rolled out last."
            ),
            metrics={
                "errors": metric("HTTPCode_Target_5XX_Count", "Sum"),
                "requests": metric("RequestCount", "Sum"),
            },
            # Errors are counted only when there are some; few requests prove nothing.
            expression=(f"IF(requests >= {ENOUGH_REQUESTS}, 100 * FILL(errors, 0) / requests, 0)"),
            comparison="GreaterThanThreshold",
            threshold=ERROR_PERCENT,
            periods=3,
            breaching_periods=2,
            missing="notBreaching",  # no request at all
        ),
        AlarmRule(
            name=f"{workload}-unhealthy-hosts",
            description=(
                f"Nodes fail the health check of {workload}. First see whether its pods are "
                "ready, then whether the nodes are and admit the load balancer to its port."
            ),
            metrics={"unhealthy": metric("UnHealthyHostCount", "Maximum")},
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            periods=3,
            breaching_periods=3,  # a node that joins is ill for a moment
            missing="notBreaching",  # no node is registered: the rule below says so
        ),
        AlarmRule(
            name=f"{workload}-no-healthy-host",
            description=(
                f"{workload} is down for everybody: no node passes its health check. First see "
                "whether its Deployment has ready pods, then whether there are nodes at all."
            ),
            metrics={"healthy": metric("HealthyHostCount", "Maximum")},
            comparison="LessThanThreshold",
            threshold=1,
            period_seconds=60,
            periods=5,
            breaching_periods=3,
            missing="breaching",  # written as long as one node is registered
        ),
        AlarmRule(
            name=f"{workload}-latency",
            description=(
                f"One request in twenty to {workload} waits longer than {SLOW_SECONDS} seconds. "
                "First compare with CPU of its pods and of the database, then scale out."
            ),
            metrics={"latency": metric("TargetResponseTime", "p95")},
            comparison="GreaterThanThreshold",
            threshold=SLOW_SECONDS,
            periods=3,
            breaching_periods=3,
            missing="notBreaching",  # no request
        ),
    ]


def _certificate_rule(certificate_arn: str) -> AlarmRule:
    return AlarmRule(
        name="certificate-expiry",
        description=(
            f"The load balancer's certificate ends in less than {CERTIFICATE_DAYS} days. First "
            "see in ACM why it was not renewed; an imported one has to be imported again."
        ),
        metrics={
            "days": Metric(
                namespace="AWS/CertificateManager",
                name="DaysToExpiry",
                dimensions={"CertificateArn": certificate_arn},
                statistic="Minimum",
            )
        },
        comparison="LessThanThreshold",
        threshold=CERTIFICATE_DAYS,
        period_seconds=DAY_SECONDS,
        periods=1,
        breaching_periods=1,
        missing="ignore",  # written twice a day; in between the last word holds
    )


def _balancer(
    balancer: WatchedLoadBalancer,
    name: str,
    statistic: str,
    target_group: Input[str] | None = None,
) -> Metric:
    dimensions = {"LoadBalancer": balancer.arn_suffix}
    if target_group is not None:
        dimensions["TargetGroup"] = target_group
    return Metric(
        namespace="AWS/ApplicationELB", name=name, dimensions=dimensions, statistic=statistic
    )


def node_rules(cluster: WatchedCluster) -> list[AlarmRule]:
    """Return what can go wrong with nodes: by EC2 always, by Container Insights where it is on."""
    rules: list[AlarmRule] = []
    for node_group, autoscaling_group in cluster.autoscaling_group_names.items():
        rules += _node_group_rules(node_group, autoscaling_group)
    if cluster.container_insights:
        rules += _container_insights_rules(cluster.cluster_name)
    return rules


def _node_group_rules(node_group: str, autoscaling_group: Input[str]) -> list[AlarmRule]:
    def metric(name: str, statistic: str) -> Metric:
        return Metric(
            namespace="AWS/EC2",
            name=name,
            dimensions={"AutoScalingGroupName": autoscaling_group},
            statistic=statistic,
        )

    return [
        AlarmRule(
            name=f"nodes-{node_group}-cpu",
            description=(
                f"The nodes of {node_group} are busy. First see whether the group is at its "
                "maximum, then which pods take the CPU."
            ),
            metrics={"cpu": metric("CPUUtilization", "Average")},
            comparison="GreaterThanThreshold",
            threshold=CPU_PERCENT,
            periods=3,
            breaching_periods=3,
            missing="notBreaching",  # a group may have no node
        ),
        AlarmRule(
            name=f"nodes-{node_group}-status",
            description=(
                f"EC2 reports a broken node in {node_group}. First drain it, then terminate the "
                "instance: the group replaces it."
            ),
            metrics={"failed": metric("StatusCheckFailed", "Maximum")},
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            periods=2,
            breaching_periods=2,
            missing="notBreaching",
        ),
    ]


def _container_insights_rules(cluster_name: str) -> list[AlarmRule]:
    def metric(name: str, statistic: str) -> Metric:
        return Metric(
            namespace="ContainerInsights",
            name=name,
            dimensions={"ClusterName": cluster_name},
            statistic=statistic,
        )

    return [
        AlarmRule(
            name="nodes-not-ready",
            description=(
                "A node is not ready. First describe it: its conditions name the cause; then "
                "drain and replace it."
            ),
            metrics={"failed": metric("cluster_failed_node_count", "Maximum")},
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            periods=3,
            breaching_periods=2,
            missing="missing",  # the agent is gone, or there is no node: no verdict
        ),
        AlarmRule(
            name="nodes-memory",
            description=(
                "A node has little memory left. First see which pods grow, then their limits: "
                "without them the kernel chooses what it kills."
            ),
            metrics={"memory": metric("node_memory_utilization", "Maximum")},
            comparison="GreaterThanThreshold",
            threshold=MEMORY_PERCENT,
            periods=3,
            breaching_periods=3,
            missing="missing",
        ),
        AlarmRule(
            name="nodes-disk",
            description=(
                "A node's disk is nearly full, and the kubelet will evict pods. First look for "
                "large logs and volumes of its pods, then replace the node."
            ),
            metrics={"disk": metric("node_filesystem_utilization", "Maximum")},
            comparison="GreaterThanThreshold",
            threshold=DISK_PERCENT,
            periods=2,
            breaching_periods=2,
            missing="missing",
        ),
    ]


def database_rules(name: str, database: WatchedDatabase) -> list[AlarmRule]:
    """Return what can go wrong with a PostgreSQL instance; one that is down writes no metrics."""

    def rule(
        suffix: str,
        description: str,
        metric: str,
        statistic: str,
        comparison: Comparison,
        threshold: float,
        missing: Missing = "missing",
    ) -> AlarmRule:
        return AlarmRule(
            name=f"database-{name}-{suffix}",
            description=description,
            metrics={
                "value": Metric(
                    namespace="AWS/RDS",
                    name=metric,
                    dimensions={"DBInstanceIdentifier": database.identifier},
                    statistic=statistic,
                )
            },
            comparison=comparison,
            threshold=threshold,
            periods=3,
            breaching_periods=3,
            missing=missing,
        )

    return [
        rule(
            "cpu",
            f"Database {name} is busy, or says nothing at all. First see whether it is available, "
            "then look in Performance Insights for the statements with the most load.",
            "CPUUtilization",
            "Average",
            "GreaterThanThreshold",
            CPU_PERCENT,
            "breaching",  # the one that tells of an instance that stopped unasked
        ),
        rule(
            "storage",
            f"Database {name} has little storage left, and does not grow by itself. First look "
            "for replication slots and logs that hold it, then raise max_storage_gb.",
            "FreeStorageSpace",
            "Minimum",
            "LessThanThreshold",
            database.storage_gb * GIB * FREE_STORAGE_PERCENT // 100,
        ),
        rule(
            "memory",
            f"Database {name} has little memory left. First look at the number of connections "
            "and at work_mem, then take a larger instance class.",
            "FreeableMemory",
            "Average",
            "LessThanThreshold",
            freeable_memory_floor(database.instance_class),
        ),
        *(
            [
                rule(
                    "connections",
                    f"Database {name} is running out of connections. First see in "
                    "pg_stat_activity who holds them idle, then the pools of the workloads.",
                    "DatabaseConnections",
                    "Maximum",
                    "GreaterThanThreshold",
                    most * CONNECTION_PERCENT // 100,
                )
            ]
            if (most := max_connections(database.instance_class)) is not None
            else []
        ),
        rule(
            "disk-queue",
            f"Database {name} waits for its disk. First look in Performance Insights for the "
            "statements that read most, then compare with the volume's IOPS.",
            "DiskQueueDepth",
            "Average",
            "GreaterThanThreshold",
            QUEUED_REQUESTS,
        ),
        rule(
            "transaction-ids",
            f"Database {name} uses up its transaction ids: vacuum does not keep up. First end "
            "the oldest transactions in pg_stat_activity, then vacuum the oldest tables.",
            "MaximumUsedTransactionIDs",
            "Maximum",
            "GreaterThanThreshold",
            TRANSACTION_IDS,
        ),
    ]


def instance_memory_gib(instance_class: str) -> float | None:
    """Return the memory of an RDS instance class in GiB; None where the family is not known.

    `db.t4g.medium` -> 4. AWS keeps the ratio of memory to size in every generation of a family.
    """
    match = re.fullmatch(r"db\.([a-z]+)\d[a-z0-9]*\.([a-z0-9]+)", instance_class)
    if match is None:
        return None
    family, size = match.groups()
    if family == "t":
        return {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}.get(
            size
        )
    per_large = {"m": 8, "r": 16}.get(family)
    larges = _larges(size)
    return None if per_large is None or larges is None else per_large * larges


def _larges(size: str) -> int | None:
    """Return how many times a `large` a size is: an `xlarge` is two, an `8xlarge` sixteen."""
    match = re.fullmatch(r"(\d*)(x?)large", size)
    if match is None:
        return None
    times, is_extra = match.groups()
    if not is_extra:
        return None if times else 1
    return 2 * int(times or 1)


def freeable_memory_floor(instance_class: str) -> int:
    """Return the bytes of freeable memory below which an instance is short of it."""
    memory = instance_memory_gib(instance_class)
    if memory is None:
        return FREEABLE_MEMORY_FLOOR_BYTES
    return int(memory * GIB) * FREEABLE_MEMORY_PERCENT // 100


def max_connections(instance_class: str) -> int | None:
    """Return how many connections RDS lets an instance have; None where that is not known."""
    memory = instance_memory_gib(instance_class)
    if memory is None:
        return None
    return min(int(memory * GIB) // BYTES_PER_CONNECTION, MOST_CONNECTIONS)


def nat_rules(zone: str, gateway_id: Input[str]) -> list[AlarmRule]:
    """Return what can go wrong with a NAT gateway."""

    def metric(name: str) -> Metric:
        return Metric(
            namespace="AWS/NATGateway",
            name=name,
            dimensions={"NatGatewayId": gateway_id},
            statistic="Sum",
        )

    return [
        AlarmRule(
            name=f"nat-{zone}-ports",
            description=(
                f"The NAT gateway of {zone} has no port left for one destination, and "
                "connections fail. First find in the flow logs who opens that many, then reuse "
                "connections or add an interface endpoint."
            ),
            metrics={"errors": metric("ErrorPortAllocation")},
            comparison="GreaterThanThreshold",
            threshold=0,
            periods=3,
            breaching_periods=2,
            missing="notBreaching",
        ),
        AlarmRule(
            name=f"nat-{zone}-drops",
            description=(
                f"The NAT gateway of {zone} drops packets. First look for an event in the AWS "
                "Health Dashboard, then move the zone's route to another gateway."
            ),
            metrics={
                "drops": metric("PacketsDropCount"),
                "sent": metric("PacketsInFromSource"),
                "received": metric("PacketsInFromDestination"),
            },
            expression="100 * drops / (sent + received)",
            comparison="GreaterThanThreshold",
            threshold=DROPPED_PERCENT,
            periods=3,
            breaching_periods=3,
            missing="notBreaching",  # no traffic
        ),
    ]

"""How often AWS may be asked: a token bucket for each of its APIs, shared by the whole process.

AWS refuses what comes faster than its own buckets fill, for everybody in the account and region: a
command that empties them takes the console away from whoever works beside it. So requests wait
here. What AWS refuses nevertheless, botocore asks again (`ops.access.client_config`).

The figures are those that AWS publishes:

- EC2, "Request throttling for the Amazon EC2 API": a bucket for each action, 100 tokens and 20 a
  second for one that reads, 50 and 5 for one that changes, 5 and 2 for StartInstances; besides,
  each instance takes a token of 1,000: 2 a second come back for StartInstances, 20 for
  StopInstances and TerminateInstances.
- RDS, "Request throttling for the Amazon RDS API": 300 and 12 a second, all actions together.
- CloudWatch, "CloudWatch service quotas": DescribeAlarms 9 a second, EnableAlarmActions and
  DisableAlarmActions 3.
- Parameter Store, "AWS Systems Manager endpoints and quotas": 40 a second for all that get, 3 for
  PutParameter. It takes short bursts; what it does not take is asked again.
- Tagging API 15 a second, Route 53 5 a second for all actions together, CloudTrail's LookupEvents
  2 a second, as their pages of quotas say.

EKS, Auto Scaling and others publish none: they are given EC2's rate of what reads, and for what
changes half as much. S3 and DynamoDB take more than any command asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final


@dataclass(frozen=True)
class Rate:
    """A bucket's size, and how many tokens come back a second."""

    burst: float
    per_second: float


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a request takes a token from."""

    bucket: str
    """Requests with the same bucket share it."""
    rate: Rate


READS: Final = Rate(100, 20)
WRITES: Final = Rate(100, 10)
"""For APIs whose rates AWS does not publish."""
_EC2_WRITES: Final = Rate(50, 5)
_READING: Final = ("BatchGet", "Describe", "Get", "Head", "List", "Lookup", "Search", "Simulate")

_UNLIMITED: Final = ("dynamodb", "s3")
_TOGETHER: Final[Mapping[str, Rate]] = {"rds": Rate(300, 12), "route53": Rate(5, 5)}
"""Service → the rate of all its actions together."""
_SINGLE: Final[Mapping[str, Rate]] = {
    "cloudtrail:LookupEvents": Rate(2, 2),
    "cloudwatch:DescribeAlarms": Rate(9, 9),
    "cloudwatch:DisableAlarmActions": Rate(3, 3),
    "cloudwatch:EnableAlarmActions": Rate(3, 3),
    "ec2:StartInstances": Rate(5, 2),
    "resourcegroupstaggingapi:GetResources": Rate(15, 15),
    "ssm:PutParameter": Rate(40, 3),
}
_SHARED: Final[Mapping[str, tuple[str, Rate]]] = {
    f"ssm:{name}": ("ssm:GetParameter*", Rate(40, 40))
    for name in ("GetParameter", "GetParameters", "GetParametersByPath")
}
_INSTANCES: Final[Mapping[str, Rate]] = {
    "StartInstances": Rate(1000, 2),
    "StopInstances": Rate(1000, 20),
    "TerminateInstances": Rate(1000, 20),
}
"""Action of EC2 → the rate of the instances it names."""


class Bucket:
    """A token bucket. Safe to be used by several threads; first come, first served."""

    def __init__(
        self,
        rate: Rate,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate = rate
        self._now = now
        self._sleep = sleep
        self._guard = threading.Lock()
        self._tokens = rate.burst
        self._filled = now()

    def take(self, tokens: float = 1) -> float:
        """Take tokens, and wait until they are there; give for how many seconds that was.

        They may be more than the bucket holds: then it is in debt for a while.
        """
        with self._guard:
            now = self._now()
            gained = (now - self._filled) * self.rate.per_second
            self._tokens = min(self.rate.burst, self._tokens + gained) - tokens
            self._filled = now
            seconds = max(0.0, -self._tokens / self.rate.per_second)
        if seconds:
            self._sleep(seconds)
        return seconds


class Buckets:
    """The buckets of a process, made as they are needed."""

    def __init__(self, make: Callable[[Rate], Bucket] = Bucket) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, region: str, limit: Limit, tokens: float = 1) -> float:
        """Take tokens of a region's bucket; gives for how many seconds that took."""
        with self._guard:
            key = region, limit.bucket
            bucket = self._buckets.setdefault(key, self._make(limit.rate))
        return bucket.take(tokens)


SHARED: Final = Buckets()
"""Those of this process."""


def limit_of(service: str, action: str) -> Limit | None:
    """Give what a request to AWS is limited by; `service`: as boto3 calls it. None: nothing."""
    api = f"{service}:{action}"
    if service in _UNLIMITED:
        return None
    if service in _TOGETHER:
        return Limit(bucket=service, rate=_TOGETHER[service])
    if api in _SHARED:
        bucket, rate = _SHARED[api]
        return Limit(bucket=bucket, rate=rate)
    if api in _SINGLE:
        return Limit(bucket=api, rate=_SINGLE[api])
    if action.startswith(_READING):
        return Limit(bucket=api, rate=READS)
    return Limit(bucket=api, rate=_EC2_WRITES if service == "ec2" else WRITES)


def install(client: Any, buckets: Buckets = SHARED) -> Any:
    """Let every request of a boto3 client wait for its token, also one that is asked again."""
    service = client.meta.service_model.service_name
    region = str(client.meta.region_name)
    events = client.meta.events

    def wait(operation_name: str, **_: Any) -> None:
        limit = limit_of(service, operation_name)
        if limit:
            buckets.take(region, limit)

    # Before it is signed: a signature gets old.
    events.register_first(
        f"request-created.{client.meta.service_model.service_id.hyphenize()}", wait
    )
    if service == "ec2":
        for action, rate in _INSTANCES.items():
            limit = Limit(bucket=f"ec2:{action} instances", rate=rate)
            events.register(
                f"provide-client-params.ec2.{action}", partial(_wait, buckets, region, limit)
            )
    return client


def _wait(buckets: Buckets, region: str, limit: Limit, params: Mapping[str, Any], **_: Any) -> None:
    buckets.take(region, limit, len(params.get("InstanceIds", ())))

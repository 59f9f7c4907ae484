"""Token buckets: what waits for what, and for how long."""

from __future__ import annotations

import boto3
import pytest

from ops import rates
from ops.rates import Bucket, Buckets, Rate, limit_of
from tests.faults import aws_faults


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def bucket(self, rate: Rate) -> Bucket:
        """Make a bucket of this time."""
        return Bucket(rate, now=lambda: self.now, sleep=self.sleep)


def test_a_burst_passes_and_what_follows_waits_for_the_rate() -> None:
    clock = Clock()
    bucket = clock.bucket(Rate(5, 2))
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert bucket.take() == pytest.approx(0.5)
    assert bucket.take() == pytest.approx(0.5)


def test_a_bucket_fills_again_and_never_over_its_size() -> None:
    clock = Clock()
    bucket = clock.bucket(Rate(5, 2))
    bucket.take(5)
    clock.sleep(3600)
    assert bucket.take(5) == 0.0
    assert bucket.take() > 0.0


def test_more_than_a_bucket_holds_waits_until_the_rate_has_made_it_good() -> None:
    bucket = Clock().bucket(Rate(1000, 2))
    assert bucket.take(1100) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("service", "action", "rate"),
    [
        ("ec2", "DescribeInstances", Rate(100, 20)),
        ("ec2", "StopInstances", Rate(50, 5)),
        ("ec2", "StartInstances", Rate(5, 2)),
        ("rds", "StopDBInstance", Rate(300, 12)),
        ("cloudwatch", "DisableAlarmActions", Rate(3, 3)),
        ("eks", "DescribeNodegroup", rates.READS),
        ("eks", "UpdateNodegroupConfig", rates.WRITES),
    ],
)
def test_each_api_has_the_rate_that_aws_publishes_or_a_careful_one(
    service: str, action: str, rate: Rate
) -> None:
    limit = limit_of(service, action)
    assert limit is not None
    assert limit.rate == rate


def test_actions_that_aws_counts_together_share_a_bucket_and_others_do_not() -> None:
    def bucket(service: str, action: str) -> str:
        limit = limit_of(service, action)
        assert limit is not None
        return limit.bucket

    assert bucket("rds", "StopDBInstance") == bucket("rds", "DescribeDBInstances")
    assert bucket("ssm", "GetParameters") == bucket("ssm", "GetParametersByPath")
    assert bucket("ec2", "StopInstances") != bucket("ec2", "DescribeInstances")
    assert limit_of("s3", "PutObject") is None


def test_a_client_takes_a_token_for_each_attempt_and_for_each_instance_it_names() -> None:
    clock = Clock()
    made: dict[Rate, Bucket] = {}

    def make(rate: Rate) -> Bucket:
        return made.setdefault(rate, clock.bucket(rate))

    client = boto3.client("ec2", region_name="us-east-1")
    rates.install(client, Buckets(make))
    refused = aws_faults.always(aws_faults.DENIED, "ec2:StartInstances")
    aws_faults.inject(client, [refused])
    ids = [f"i-{number:017x}" for number in range(1000)]

    for batch in (ids, ids[:4]):
        with pytest.raises(client.exceptions.ClientError):
            client.start_instances(InstanceIds=batch)

    assert clock.now == pytest.approx(2.0), "four instances more than 1,000, at 2 a second"
    assert made[Rate(5, 2)].take(5) == pytest.approx(0.5), "the second request's is not back yet"

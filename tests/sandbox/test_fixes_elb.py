"""The sandbox's load balancers, names and metrics, where moto alone would answer otherwise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.sandbox import servers
from tests.sandbox.listing import Account

pytestmark = pytest.mark.sandbox

LOGS_ON = [
    {"Key": "access_logs.s3.enabled", "Value": "true"},
    {"Key": "access_logs.s3.bucket", "Value": "nobody-has-this-bucket"},
]
NOTHING_HERE = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]


@pytest.fixture(scope="module")
def account(cloud: servers.Cloud) -> Account:
    return Account(cloud, "123123123123")


@pytest.fixture
def balancing(account: Account) -> Any:
    return account.client("elbv2")


@pytest.fixture
def balancer(account: Account, balancing: Any) -> Iterator[dict[str, Any]]:
    subnets = account.client("ec2").describe_subnets()["Subnets"][:2]
    made = balancing.create_load_balancer(
        Name="sample", Scheme="internal", Subnets=[subnet["SubnetId"] for subnet in subnets]
    )["LoadBalancers"][0]
    yield made
    balancing.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])


@pytest.fixture
def zone_id(account: Account) -> Iterator[str]:
    client = account.client("route53")
    made = client.create_hosted_zone(Name="sample.internal", CallerReference="sample")
    yield made["HostedZone"]["Id"]
    client.delete_hosted_zone(Id=made["HostedZone"]["Id"])


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_an_internal_load_balancer_says_so_in_its_name(balancer: dict[str, Any]) -> None:
    assert balancer["DNSName"].startswith("internal-sample-")


def test_logs_into_a_bucket_that_is_not_there_are_refused(
    balancing: Any, balancer: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="does not exist") as caught:
        balancing.modify_load_balancer_attributes(
            LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=LOGS_ON
        )
    assert code(caught) == "InvalidConfigurationRequest"


def test_logs_into_a_bucket_that_does_not_admit_them_are_refused(
    account: Account, balancing: Any, balancer: dict[str, Any]
) -> None:
    account.client("s3").create_bucket(Bucket="nobody-has-this-bucket")
    try:
        with pytest.raises(ClientError, match="Access Denied for bucket"):
            balancing.modify_load_balancer_attributes(
                LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=LOGS_ON
            )
    finally:
        account.client("s3").delete_bucket(Bucket="nobody-has-this-bucket")


def test_a_second_listener_on_a_port_is_refused(balancing: Any, balancer: dict[str, Any]) -> None:
    wanted = {
        "LoadBalancerArn": balancer["LoadBalancerArn"],
        "Protocol": "HTTP",
        "Port": 80,
        "DefaultActions": NOTHING_HERE,
    }
    balancing.create_listener(**wanted)
    with pytest.raises(ClientError) as caught:
        balancing.create_listener(**wanted)
    assert code(caught) == "DuplicateListener"


@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_an_auto_scaling_group_that_is_not_there_is_an_error_of_the_callers(
    verb: str, account: Account
) -> None:
    call = getattr(account.client("autoscaling"), f"{verb}_load_balancer_target_groups")
    with pytest.raises(ClientError, match="not found - nobody") as caught:
        call(AutoScalingGroupName="nobody", TargetGroupARNs=["arn:aws:x"])
    assert code(caught) == "ValidationError"


def test_a_record_is_made_once_and_again_only_after_it_was_deleted(
    account: Account, zone_id: str
) -> None:
    def change(action: str, value: str = "192.0.2.1", name: str = "one") -> None:
        record = {
            "Name": f"{name}.sample.internal",
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": value}],
        }
        account.client("route53").change_resource_record_sets(
            HostedZoneId=zone_id,
            ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
        )

    change("CREATE")
    change("CREATE", name="two")
    with pytest.raises(ClientError, match="already exists"):
        change("CREATE", "192.0.2.2")
    change("DELETE")
    change("CREATE")
    for name in ("one", "two"):
        change("DELETE", name=name)


def test_a_percentile_is_the_value_that_so_many_stay_below(account: Account) -> None:
    watching = account.client("cloudwatch")
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    watching.put_metric_data(
        Namespace="Sample",
        MetricData=[{"MetricName": "latency", "Values": list(range(1, 101)), "Timestamp": now}],
    )
    metric = {"Namespace": "Sample", "MetricName": "latency"}
    answer = watching.get_metric_data(
        MetricDataQueries=[
            {"Id": stat, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}
            for stat in ("p50", "p95", "p100")
        ],
        StartTime=now,
        EndTime=now + dt.timedelta(minutes=1),
    )
    found = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    assert found == {"p50": [50], "p95": [95], "p100": [100]}

"""How long a stop takes to see all and until AWS has taken every request, at once or one by one.

Executed as a module; prints JSON. The AWS of this measurement is in the process: an answer comes
20 ms after its request, in the wire format of its service, so that what is measured is what `ops`
adds, signing and parsing included, and no server's. The token buckets are those of `ops.rates`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from moto.core.serialize import SERIALIZERS
from moto.core.utils import get_service_model

from infra import naming
from ops import capacity, execution, rates, stop
from ops.access import CONNECTIONS, Access
from ops.execution import Context
from ops.plan import Plan

LATENCY_SECONDS = 0.02
INSTANCES, DATABASES, GROUPS = 500, 20, 30
ENV = "dev"
CLUSTERS = (naming.cluster(ENV), f"{naming.cluster(ENV)}-jobs")


class Cloud:
    """An AWS with nothing but what a stop asks of it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._params = threading.local()
        self._bodies: dict[str, tuple[dict[str, str], bytes]] = {}

    def emptied(self) -> Cloud:
        """Forget what was asked."""
        self.asked.clear()
        return self

    def client(self, service: str) -> Any:
        """Give a client whose requests end here, after signing."""
        client = boto3.client(
            service,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(max_pool_connections=CONNECTIONS),
        )
        events, model = client.meta.events, client.meta.service_model
        events.register(f"provide-client-params.{model.service_id.hyphenize()}", self._remember)

        def answer(request: Any, event_name: str, **_: Any) -> AWSResponse:
            action = event_name.rpartition(".")[2]
            with self._guard:
                self.asked[f"{service}:{action}"] += 1
            time.sleep(LATENCY_SECONDS)
            headers, body = self._body(model, service, action)
            return AWSResponse(request.url, 200, headers, _Raw(body))

        events.register(f"before-send.{model.service_id.hyphenize()}", answer)
        return client

    def _remember(self, params: Mapping[str, Any], **_: Any) -> None:
        self._params.last = dict(params)

    def _body(self, model: Any, service: str, action: str) -> tuple[dict[str, str], bytes]:
        params = self._params.last
        key = f"{service}:{action}:{json.dumps(params, sort_keys=True, default=str)}"
        with self._guard:
            if key not in self._bodies:
                operation = get_service_model(service).operation_model(action)
                class_ = SERIALIZERS[model.resolved_protocol]
                said = class_(operation).serialize(_answer(action, params))
                body = said["body"]
                self._bodies[key] = (
                    {name: str(value) for name, value in said["headers"].items()},
                    body.encode() if isinstance(body, str) else body,
                )
            return self._bodies[key]


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body


def _answer(action: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give what AWS would answer, where anybody reads it."""
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "ListClusters": lambda: {"clusters": list(CLUSTERS)},
        "DescribeCluster": lambda: {
            "cluster": {"name": params["name"], "tags": {"environment": ENV}}
        },
        "ListNodegroups": lambda: {"nodegroups": [f"group-{n}" for n in range(GROUPS)]},
        "DescribeNodegroup": lambda: {
            "nodegroup": {
                "nodegroupName": params["nodegroupName"],
                "status": "ACTIVE",
                "scalingConfig": {"minSize": 1, "desiredSize": 8, "maxSize": 12},
                "resources": {
                    "autoScalingGroups": [
                        {"name": _scaling_group(params["clusterName"], params["nodegroupName"])}
                    ]
                },
            }
        },
        "DescribeAutoScalingGroups": lambda: {"AutoScalingGroups": _scaling_groups()},
        "DescribeInstances": lambda: {"Reservations": [{"Instances": _instances()}]},
        "DescribeDBInstances": lambda: {
            "DBInstances": [
                {"DBInstanceIdentifier": name, "DBInstanceStatus": "available"}
                for name in _databases()
            ]
        },
        "DescribeAlarms": lambda: {
            "MetricAlarms": [{"AlarmName": f"{naming.prefix(ENV)}-cpu", "ActionsEnabled": True}]
        },
        "DescribeRule": lambda: {"State": "DISABLED"},
        "GetParametersByPath": lambda: {"Parameters": []},
    }
    return answers.get(action, dict)()


def _instances() -> list[dict[str, Any]]:
    tags = [{"Key": "environment", "Value": ENV}]
    return [
        {"InstanceId": f"i-{number:017x}", "State": {"Name": "running"}, "Tags": tags}
        for number in range(INSTANCES)
    ]


def _scaling_group(cluster: str, name: str) -> str:
    return f"eks-{cluster}-{name}"


def _scaling_groups() -> list[dict[str, Any]]:
    return [
        {
            "AutoScalingGroupName": _scaling_group(cluster, f"group-{number}"),
            "MinSize": 1,
            "MaxSize": 12,
            "DesiredCapacity": 8,
            "Tags": [{"Key": "eks:cluster-name", "Value": cluster}],
        }
        for cluster in CLUSTERS
        for number in range(GROUPS)
    ]


def _databases() -> list[str]:
    return [f"{naming.prefix(ENV)}-{number}" for number in range(DATABASES)]


def measure(cloud: Cloud, *, at_once: bool) -> dict[str, Any]:
    """Plan a stop and send all its requests; give seconds and calls."""
    setattr(capacity, "LISTINGS", capacity.LISTINGS if at_once else 1)  # noqa: B010
    setattr(execution, "WORKERS", execution.WORKERS if at_once else 1)  # noqa: B010
    waited = [0.0]
    buckets = rates.Buckets(lambda rate: _Watched(rate, waited))
    services = ("autoscaling", "cloudwatch", "ec2", "eks", "events", "rds", "ssm")
    clients = {name: rates.install(cloud.client(name), buckets) for name in services}
    databases = [SimpleNamespace(identifier=name, stop_on_emergency=True) for name in _databases()]
    settings = SimpleNamespace(databases=databases, environment=ENV, account_id="111122223333")
    access = cast(
        "Access", SimpleNamespace(environment=ENV, settings=settings, client=clients.__getitem__)
    )
    begun = time.monotonic()
    estate = capacity.observe(access) if at_once else _one_by_one(access)
    seen = time.monotonic() - begun
    asked = {"reason": "", "until": "", "wait_minutes": 1.0}
    steps = stop.steps(estate, stop.observed(estate), None, asked, again=False)
    requests = tuple(step for step in steps if step.stage == 0)
    plan = Plan(command="stop", environment=ENV, account_id="", region="us-east-1", steps=requests)
    results = execution.execute(plan, stop.OPERATION.actions, _context(access, plan), carry_on=True)
    seconds = time.monotonic() - begun
    assert all(result.outcome == "done" for result in results), results
    return {
        "listing": seen,
        "accepting": seconds - seen,
        "calls": sum(cloud.asked.values()),
        "most_of_one_api": cloud.asked.most_common(1)[0],
        "waited_for_tokens": waited[0],
    }


class _Watched(rates.Bucket):
    """A bucket that says for how long requests waited."""

    def __init__(self, rate: rates.Rate, waited: list[float]) -> None:
        super().__init__(rate)
        self._waited = waited

    def take(self, tokens: float = 1) -> float:
        seconds = super().take(tokens)
        self._waited[0] += seconds
        return seconds


def _one_by_one(access: Access) -> capacity.Estate:
    return capacity.estate(
        access.environment,
        capacity.node_groups(access),
        capacity.scaling_groups(access),
        capacity.machines(access),
        capacity.databases(access),
        capacity.alarms(access),
        capacity.rule(access),
    )


def _context(access: Access, plan: Plan) -> Context:
    begun = {"operator": "bench", "at": "2026-12-01T00:00:00+00:00"}
    journal = SimpleNamespace(run="bench", records=[begun], add=lambda *_, **__: None)
    setting = SimpleNamespace(terminal=SimpleNamespace(note=lambda *_: None))
    return Context(
        setting=cast("Any", setting),
        access=access,
        journal=cast("Any", journal),
        plan=plan,
        lock=None,
        results={},
    )


def main() -> None:
    """Print one of the measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--in-series", action="store_true")
    at_once = not parser.parse_args().in_series
    cloud = Cloud()
    # What is loaded and made once, here and in the measurement's AWS, belongs to no stop.
    measure(cloud, at_once=True)
    sys.stdout.write(json.dumps(measure(cloud.emptied(), at_once=at_once)) + "\n")


if __name__ == "__main__":
    main()

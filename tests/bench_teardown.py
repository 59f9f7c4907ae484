"""How long the plan of a teardown takes, and what memory, when there is much to look at.

Executed as a module, in a sandbox whose bootstrap is there; prints JSON. What the environment has
is made with boto3, and written into its state; then every call of the plan waits 20 ms before it
is sent.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import itertools
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pulumi.automation import Deployment

from ops import rates
from ops.commands import Setting
from ops.operation import Planning
from ops.stack import open_stack
from ops.teardown import command
from ops.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
ENV = "dev"
LATENCY_SECONDS = 0.02
TAGS = [{"Key": "environment", "Value": ENV}]
WORKERS = 8


def main(size: int) -> dict[str, Any]:
    """Plan the teardown of an environment of `size` resources; give the figures."""
    setting = Setting(
        sandbox=True, root=ROOT, terminal=Terminal(io.StringIO(), io.StringIO(), io.StringIO())
    )
    access = setting.access(ENV)
    entries = list(itertools.islice(_entries(), size))
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        list(pool.map(lambda entry: _make(access, entry), entries))
    stack = open_stack(access)
    stack.import_stack(Deployment(version=3, deployment=_deployment(stack, entries)))
    asked = _slow_down()
    planning = Planning(
        setting=setting,
        access=setting.access(ENV),
        arguments={"max": {"resource": size}},
        now=dt.datetime.now(tz=dt.UTC),
        unfinished=lambda _command: [],
        runs=lambda _commands, _since: [],
    )
    started = time.perf_counter()
    planned = command.plan(planning)
    seconds = time.perf_counter() - started
    step = next(step for step in planned.steps if step.action == "destroy")
    return {
        "resources": len(step.data["resources"]),
        "seconds": round(seconds, 2),
        "calls": asked[0],
        "one by one": round(asked[0] * LATENCY_SECONDS, 2),
        "peak MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "plan KiB": round(len(json.dumps(planned.to_json())) / 1024),
    }


def _entries() -> Iterator[dict[str, Any]]:
    for number in itertools.count():
        for type_, id_ in (
            ("aws:cloudwatch/metricAlarm:MetricAlarm", f"mono-repo-{ENV}-bench-{number}"),
            ("aws:cloudwatch/logGroup:LogGroup", f"/aws/vpc/mono-repo-{ENV}/bench-{number}"),
            ("aws:ssm/parameter:Parameter", f"/{ENV}/mono-repo/bench/{number}"),
        ):
            yield {
                "urn": f"urn:pulumi:{ENV}::mono-repo::{type_}::bench-{number}",
                "type": type_,
                "id": id_,
                "custom": True,
                "inputs": {},
                "outputs": {"name": id_, "tags": {"environment": ENV}},
            }


def _make(access: Any, entry: dict[str, Any]) -> None:
    id_ = entry["id"]
    match entry["type"].partition("/")[0]:
        case "aws:ssm":
            access.client("ssm").put_parameter(Name=id_, Value="x", Type="String", Tags=TAGS)
        case _ if "logGroup" in entry["type"]:
            access.client("logs").create_log_group(logGroupName=id_, tags={"environment": ENV})
        case _:
            access.client("cloudwatch").put_metric_alarm(
                AlarmName=id_,
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                MetricName="CPUUtilization",
                Namespace="AWS/EC2",
                Period=60,
                Statistic="Average",
                Threshold=1.0,
                Tags=TAGS,
            )


def _deployment(stack: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
    exported: dict[str, Any] = dict(stack.export_stack().deployment or {})
    return {**exported, "resources": entries}


def _slow_down() -> list[int]:
    """Let every call of a client that is made from now on wait; give how many there were."""
    asked, guard, original = [0], threading.Lock(), rates.install

    def wait(**_: Any) -> None:
        with guard:
            asked[0] += 1
        time.sleep(LATENCY_SECONDS)

    def install(client: Any, *rest: Any) -> Any:
        found = original(client, *rest)
        found.meta.events.register(
            f"before-send.{found.meta.service_model.service_id.hyphenize()}", wait
        )
        return found

    setattr(rates, "install", install)  # noqa: B010 - what `ops.access` calls
    return asked


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the plan of a teardown.")
    parser.add_argument("size", type=int)
    json.dump(main(parser.parse_args().size), sys.stdout)

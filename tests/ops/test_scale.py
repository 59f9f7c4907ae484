"""What scaling a namespace plans, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ops import scale
from ops.errors import RefusedError, UsageError
from ops.scale import Workload

API = Workload(kind="Deployment", name="api-service", replicas=3)
RESTING = Workload(kind="StatefulSet", name="worker", replicas=0, before=2)
SCALER = "HorizontalPodAutoscaler api-service (2 to 5)"
SCALED = Workload(kind="Deployment", name="web-app", replicas=2, autoscaler=SCALER)


def _asked(replicas: int | None) -> dict[str, Any]:
    return {"namespace": "services", "replicas": replicas}


def _planned(replicas: int | None, *workloads: Workload) -> list[tuple[str, str, int]]:
    return [
        (step.action, step.data["name"], step.data["replicas"])
        for step in scale.steps(workloads, _asked(replicas))
    ]


def test_what_has_replicas_is_scaled_and_its_pods_are_waited_for() -> None:
    assert _planned(0, API, RESTING) == [("scale", "api-service", 0), ("wait", "api-service", 0)]


def test_what_was_scaled_gets_its_replicas_back_and_nothing_else_is_touched() -> None:
    assert _planned(None, API, RESTING) == [("scale", "worker", 2)]


def test_an_autoscaler_that_would_undo_it_is_named_and_the_plan_refused() -> None:
    with pytest.raises(RefusedError, match="Deployment web-app: HorizontalPodAutoscaler"):
        scale.steps([API, SCALED], _asked(1))


def test_an_autoscaler_leaves_alone_what_has_no_replicas() -> None:
    assert ("scale", "web-app", 0) in _planned(0, SCALED)
    assert list(scale._notes([SCALED], _asked(0))) == [
        f"{SCALER} rests while Deployment web-app has no replicas"
    ]


def test_production_and_what_the_cluster_runs_on_are_refused() -> None:
    with pytest.raises(RefusedError, match="prod serves people"):
        scale.arguments("prod", namespace="services", replicas=0, restore=False)
    with pytest.raises(RefusedError, match="holds what the cluster itself runs on"):
        scale.arguments("dev", namespace="kube-system", replicas=0, restore=False)


@pytest.mark.parametrize(("replicas", "restore"), [(None, False), (0, True)])
def test_either_a_number_or_the_one_from_before_is_asked_for(
    replicas: int | None, restore: bool
) -> None:
    with pytest.raises(UsageError, match="Give --replicas NUMBER or --restore"):
        scale.arguments("dev", namespace="services", replicas=replicas, restore=restore)

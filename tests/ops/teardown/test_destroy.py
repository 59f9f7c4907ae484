"""What is destroyed is what the plan names, once its protection is off."""

from __future__ import annotations

from typing import Any

import pytest

from ops.errors import RefusedError
from ops.teardown import destroy
from tests.ops.teardown.samples import database, entry, key, state

INTERFACE = {"Status": "available", "Description": "aws-K8S-i-0123", "TagSet": []}


def test_what_came_into_the_state_since_the_plan_stops_it() -> None:
    agreed = [list(pair) for pair in state(database()).resources]
    destroy.refuse_unplanned([database()], agreed, "dev")
    with pytest.raises(RefusedError, match="The state has what the plan does not: cluster-volumes"):
        destroy.refuse_unplanned([database(), key()], agreed, "dev")


def test_another_thing_under_the_same_name_is_not_what_was_agreed_to() -> None:
    agreed = [list(pair) for pair in state(database()).resources]
    with pytest.raises(RefusedError, match="db-OTHER"):
        destroy.refuse_unplanned([{**database(), "id": "db-OTHER"}], agreed, "dev")


def test_what_a_former_attempt_has_destroyed_is_no_obstacle() -> None:
    agreed = [list(pair) for pair in state(database(), key()).resources]
    destroy.refuse_unplanned([key()], agreed, "dev")


@pytest.mark.parametrize(
    "held",
    [
        database(),
        database(deletionProtection=False),
        entry("aws:eks/cluster:Cluster", "c", "c", inputs={"deletionProtection": True}),
        entry(
            "aws:lb/loadBalancer:LoadBalancer", "b", "b", inputs={"enableDeletionProtection": True}
        ),
        entry("aws:dynamodb/table:Table", "t", "t", inputs={"deletionProtectionEnabled": True}),
        entry("aws:s3/bucket:Bucket", "b", "b"),
        entry("aws:route53/zone:Zone", "z", "z", inputs={"forceDestroy": False}),
        entry("aws:cloudwatch/logGroup:LogGroup", "g", "g", retainOnDelete=True),
    ],
    ids=lambda held: str(held["type"]),
)
def test_what_is_still_protected_is_prepared_first(held: dict[str, Any]) -> None:
    assert not destroy.is_prepared([held])


def test_what_is_prepared_is_not_prepared_again() -> None:
    ready = database(deletionProtection=False, finalSnapshotIdentifier="mono-repo-dev-snapshot-1")
    bucket = entry("aws:s3/bucket:Bucket", "b", "b", inputs={"forceDestroy": True})
    assert destroy.is_prepared([ready, bucket, key()])


def test_only_interfaces_that_the_clusters_network_has_left_are_deleted() -> None:
    assert destroy.is_lingering(INTERFACE, "mono-repo-dev")
    others = [{"Key": "cluster.k8s.amazonaws.com/name", "Value": "other"}]
    for interface in (
        {**INTERFACE, "Status": "in-use"},
        {**INTERFACE, "Description": "ELB app/balancer"},
        {**INTERFACE, "TagSet": others},
    ):
        assert not destroy.is_lingering(interface, "mono-repo-dev")


def test_interrupted_operations_are_reconciled_before_anything_else() -> None:
    pending = destroy.State(entries=(database(),), pending=("urn:pulumi:dev::mono-repo::x::y",))

    class Access:
        environment = "dev"

    steps = destroy.destroy_steps(pending, Access(), stage=4)  # type: ignore[arg-type]
    assert [(step.id, step.stage) for step in steps] == [
        ("destroy-reconcile", 4),
        ("destroy-prepare", 5),
        ("destroy", 6),
    ]
    assert steps[-1].destructive
    assert destroy.destroy_steps(state(), Access(), stage=0) == ()  # type: ignore[arg-type]

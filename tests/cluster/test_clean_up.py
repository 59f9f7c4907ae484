"""A teardown's clean-up on a real API server; the controllers of a live cluster are played here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from kubernetes import client as kubernetes
from moto import mock_aws

from ops import kubernetes as ways
from ops.errors import DeadlineError, RefusedError
from ops.plan import Step
from ops.teardown import clean_up
from tests.cluster.reviews import Cluster

NAMESPACE = "web"
NOW = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
ROUNDS = 5
"""How often something is looked at before its deadline has passed."""
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
CLUSTER_TAG = {"Key": "kubernetes.io/cluster/mono-repo-dev", "Value": "owned"}


class World:
    """A cluster with an application, and what plays its controllers."""

    def __init__(self, api: kubernetes.ApiClient) -> None:
        self.api = api
        self.core: Any = kubernetes.CoreV1Api(api)
        self.apps: Any = kubernetes.AppsV1Api(api)
        self.policy: Any = kubernetes.PolicyV1Api(api)
        self.stuck = False
        """Whether the controllers do nothing."""
        self.owner = ""
        """A controller that makes its StatefulSet's pod and claim again, whatever is scaled."""
        self.told: list[str] = []

    def look(self) -> clean_up.Contents:
        return clean_up.look(self.api)

    def steps(self, pods: clean_up.Pods = "evict") -> dict[str, Step]:
        planned = clean_up.clean_up_steps(self.look(), "dev", pods=pods, stage=0)
        return {step.id: step for step in planned}

    def run_pod(self, name: str, *volumes: dict[str, Any], **more: Any) -> None:
        """Run a pod on the node."""
        self.core.create_namespaced_pod(
            NAMESPACE,
            {
                "metadata": {"name": name, "labels": {"app": name}, **more},
                "spec": {
                    "nodeName": "node-1",
                    "containers": [{"name": "writer", "image": "writer"}],
                    "volumes": list(volumes),
                },
            },
        )

    def claim(self, name: str, volume: str = "", **more: Any) -> None:
        """Make a claim, of a volume where one is named."""
        self.core.create_namespaced_persistent_volume_claim(
            NAMESPACE,
            {
                "metadata": {"name": name, **more},
                "spec": {**CLAIM, **({"volumeName": volume} if volume else {})},
            },
        )

    def stateful_set(self) -> None:
        """Make one with a pod and its claim, as its controller does."""
        labels = {"app": "store"}
        made = self.apps.create_namespaced_stateful_set(
            NAMESPACE,
            {
                "metadata": {"name": "store"},
                "spec": {
                    "replicas": 1,
                    "serviceName": "store",
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "store", "image": "store"}]},
                    },
                    "volumeClaimTemplates": [{"metadata": {"name": "disk"}, "spec": CLAIM}],
                },
            },
        )
        self.owner = made.metadata.uid
        self.claim("disk-store-0")
        self._pod_of_store()

    def _pod_of_store(self) -> None:
        owners = [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "store", "uid": self.owner}
        ]
        volume = {"name": "disk", "persistentVolumeClaim": {"claimName": "disk-store-0"}}
        self.run_pod("store-0", volume, ownerReferences=owners)

    def _control_store(self) -> None:
        """Do what a StatefulSet's controller does: its claim comes before its pod."""
        if not self.owner:
            return
        pods = {item.metadata.name for item in self.core.list_namespaced_pod(NAMESPACE).items}
        wanted = self.apps.read_namespaced_stateful_set("store", NAMESPACE).spec.replicas
        if not wanted and "store-0" in pods:
            self.core.delete_namespaced_pod("store-0", NAMESPACE, grace_period_seconds=0)
        claims = self.core.list_namespaced_persistent_volume_claim(NAMESPACE).items
        if wanted and "disk-store-0" not in {item.metadata.name for item in claims}:
            self.claim("disk-store-0")

    def control(self) -> None:
        """Do what the controllers would: end pods, let go of what is deleted."""
        if self.stuck:
            return
        for pod in self.core.list_namespaced_pod(NAMESPACE).items:
            if pod.metadata.deletion_timestamp:
                self.core.delete_namespaced_pod(
                    pod.metadata.name, NAMESPACE, grace_period_seconds=0
                )
        release = {"metadata": {"finalizers": None}}
        for service in self.core.list_namespaced_service(NAMESPACE).items:
            if service.metadata.deletion_timestamp:
                self.core.patch_namespaced_service(service.metadata.name, NAMESPACE, release)
        used = {
            volume.persistent_volume_claim.claim_name
            for pod in self.core.list_namespaced_pod(NAMESPACE).items
            for volume in pod.spec.volumes
            if volume.persistent_volume_claim
        } | {
            f"{pod.metadata.name}-{volume.name}"
            for pod in self.core.list_namespaced_pod(NAMESPACE).items
            for volume in pod.spec.volumes
            if volume.ephemeral
        }
        for claim in self.core.list_namespaced_persistent_volume_claim(NAMESPACE).items:
            if claim.metadata.deletion_timestamp and claim.metadata.name not in used:
                name = claim.metadata.name
                self.core.patch_namespaced_persistent_volume_claim(name, NAMESPACE, release)
                volumes = {item.metadata.name for item in self.core.list_persistent_volume().items}
                if f"pv-{name}" not in volumes:
                    continue
                self.core.patch_persistent_volume(f"pv-{name}", release)
                if name != "kept":
                    self.core.delete_persistent_volume(f"pv-{name}")
        self._control_store()


@pytest.fixture
def world(api_server: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An application with a load balancer, a volume that goes, and one that stays."""
    configuration = kubernetes.Configuration(host=api_server.server.endpoint)
    files = api_server.server.certificates
    configuration.ssl_ca_cert = str(files.authority)
    configuration.cert_file, configuration.key_file = map(str, files.administrator)
    made = World(kubernetes.ApiClient(configuration))
    monkeypatch.setattr(ways, "api_client", lambda _access: made.api)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    _make(made)
    with mock_aws():
        yield made
    _remove(made)


def _make(world: World) -> None:
    core = world.core
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": "default"}})
    core.create_node({"metadata": {"name": "node-1"}})
    for name, type_ in (("balanced", "LoadBalancer"), ("inside", "ClusterIP")):
        core.create_namespaced_service(
            NAMESPACE,
            {
                "metadata": {
                    "name": name,
                    "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]
                    if type_ == "LoadBalancer"
                    else [],
                },
                "spec": {"type": type_, "ports": [{"port": 80}]},
            },
        )
    for name, policy in (("data", "Delete"), ("kept", "Retain")):
        core.create_persistent_volume(
            {
                "metadata": {"name": f"pv-{name}"},
                "spec": {
                    "capacity": {"storage": "5Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": policy,
                    "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{name}"},
                },
            }
        )
        world.claim(name, f"pv-{name}")
    world.run_pod("writer", {"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
    # A pod that does not run is evicted whatever a budget says.
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    core.patch_namespaced_pod_status("writer", NAMESPACE, {"status": ready})
    selected = {"matchLabels": {"app": "cluster-autoscaler"}}
    template = {
        "metadata": {"labels": selected["matchLabels"]},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    world.apps.create_namespaced_deployment(
        "kube-system",
        {
            "metadata": {"name": "cluster-autoscaler"},
            "spec": {"replicas": 1, "selector": selected, "template": template},
        },
    )


def _remove(world: World) -> None:
    """Leave the API server as it was: no controller empties a namespace here."""
    core = world.core
    world.stuck, world.owner = False, ""
    world.apps.delete_collection_namespaced_stateful_set(NAMESPACE)
    world.policy.delete_collection_namespaced_pod_disruption_budget(NAMESPACE)
    core.delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)
    for service in core.list_namespaced_service(NAMESPACE).items:
        core.delete_namespaced_service(service.metadata.name, NAMESPACE)
    for claim in core.list_namespaced_persistent_volume_claim(NAMESPACE).items:
        core.delete_namespaced_persistent_volume_claim(claim.metadata.name, NAMESPACE)
    world.control()
    for volume in core.list_persistent_volume().items:
        core.patch_persistent_volume(volume.metadata.name, {"metadata": {"finalizers": None}})
        core.delete_persistent_volume(volume.metadata.name)
    core.delete_namespaced_service_account("default", NAMESPACE)
    core.delete_namespace(NAMESPACE)
    core.replace_namespace_finalize(
        NAMESPACE, {"metadata": {"name": NAMESPACE}, "spec": {"finalizers": []}}
    )
    core.delete_node("node-1")
    world.apps.delete_namespaced_deployment("cluster-autoscaler", "kube-system")


def _context(world: World, round_: Callable[[], None] | None = None) -> Any:
    """Give what an action is given; waiting is looking a few times, while controllers work."""

    def wait(what: str, observe: Callable[[], str], **_waiting: object) -> None:
        missing = ""
        for _ in range(ROUNDS):
            if not (missing := observe()):
                return
            (round_ or world.control)()
        raise DeadlineError(f"{what}: {missing}")

    def client(service: str, region: str = "us-east-1") -> Any:
        return boto3.client(service, region_name=region)

    verified = {"at": NOW.isoformat(), "kind": "result", "step": "backup-verify", "outcome": "done"}
    return SimpleNamespace(
        access=SimpleNamespace(environment="dev", client=client),
        journal=SimpleNamespace(records=[verified]),
        plan=SimpleNamespace(steps=list(world.steps().values())),
        now=lambda: NOW,
        wait=wait,
        note=world.told.append,
    )


def test_what_stands_for_something_in_aws_is_found_in_every_namespace(world: World) -> None:
    found = world.look()
    assert found.services == ("web/balanced",)
    assert [(claim.name, claim.handle, claim.retained) for claim in found.claims] == [
        ("web/data", "vol-data", False),
        ("web/kept", "vol-kept", True),
    ]
    steps = world.steps()
    assert list(steps) == ["clean-up-balancers", "clean-up-claims", "clean-up-gone"]
    assert steps["clean-up-gone"].data["volumes"] == ["vol-data"]
    assert clean_up.clean_up_steps(clean_up.Contents(), "dev", pods="evict", stage=0) == ()


def test_it_is_all_gone_when_it_ends_and_doing_it_twice_does_no_harm(world: World) -> None:
    steps, context = world.steps(), _context(world)
    for _ in range(2):
        clean_up.delete_balancers(context, steps["clean-up-balancers"])
        clean_up.delete_claims(context, steps["clean-up-claims"])
    left = world.look()
    assert not left.services
    assert not left.claims
    volumes = [item.metadata.name for item in world.core.list_persistent_volume().items]
    assert volumes == ["pv-kept"], "a volume that is to be kept is left in AWS, and its object too"
    assert [item.metadata.name for item in world.core.list_namespaced_service("web").items] == [
        "inside"
    ]
    assert world.core.read_node("node-1").spec.unschedulable
    scale = world.apps.read_namespaced_deployment_scale("cluster-autoscaler", "kube-system")
    assert not scale.spec.replicas


def test_a_stuck_finalizer_is_named_and_nothing_hangs(world: World) -> None:
    world.stuck = True
    finalizer = r"service\.kubernetes\.io/load-balancer-cleanup"
    with pytest.raises(DeadlineError, match=f"web/balanced, held by its finalizer {finalizer}"):
        clean_up.delete_balancers(_context(world), world.steps()["clean-up-balancers"])


def test_a_disruption_budget_holds_until_its_deadline_unless_it_is_not_to_be_kept(
    world: World,
) -> None:
    budget = {
        "metadata": {"name": "all"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "writer"}}},
    }
    world.policy.create_namespaced_pod_disruption_budget("web", budget)
    steps = world.steps()
    with pytest.raises(DeadlineError, match="disruption budgets hold back web/writer") as refused:
        clean_up.delete_claims(_context(world), steps["clean-up-claims"])
    assert "--pods delete" in str(refused.value)
    assert "kubectl uncordon" in world.told[-1]
    deleting = world.steps("delete")["clean-up-claims"]
    clean_up.delete_claims(_context(world), deleting)
    assert not world.look().claims


def test_what_was_made_since_the_plan_is_left_alone(world: World) -> None:
    steps = world.steps()
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    world.core.create_namespaced_service("web", {"metadata": {"name": "late"}, "spec": spec})
    with pytest.raises(RefusedError, match="Service web/late"):
        clean_up.delete_balancers(_context(world), steps["clean-up-balancers"])
    assert set(world.look().services) == {"web/balanced", "web/late"}


def test_a_pod_that_has_ended_does_not_hold_its_claim_for_ever(world: World) -> None:
    """Whatever its phase: the claim's protection counts every pod that has a node."""
    world.claim("backup")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "backup"}}
    world.run_pod("job-1", volume)
    world.core.patch_namespaced_pod_status("job-1", "web", {"status": {"phase": "Succeeded"}})
    budget = {
        "metadata": {"name": "jobs"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "job-1"}}},
    }
    world.policy.create_namespaced_pod_disruption_budget("web", budget)
    clean_up.delete_claims(_context(world), world.steps()["clean-up-claims"])
    assert not world.look().claims


def test_the_claim_of_a_pods_own_volume_goes_with_it_also_where_it_came_since_the_plan(
    world: World,
) -> None:
    template = {"volumeClaimTemplate": {"spec": CLAIM}}
    steps = world.steps()
    world.run_pod("batch", {"name": "scratch", "ephemeral": template})
    pod = world.core.read_namespaced_pod("batch", "web")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "batch", "uid": pod.metadata.uid}
    world.claim("batch-scratch", ownerReferences=[owner])
    clean_up.delete_claims(_context(world), steps["clean-up-claims"])
    assert not world.look().claims
    assert not world.core.list_namespaced_pod("web").items


@pytest.mark.parametrize("pods", ["evict", "delete"])
def test_a_stateful_set_rests_before_its_claims_go_so_that_they_do_not_come_back(
    world: World, pods: clean_up.Pods
) -> None:
    world.stateful_set()
    clean_up.delete_claims(_context(world), world.steps(pods)["clean-up-claims"])
    assert not world.look().claims
    assert not world.apps.read_namespaced_stateful_set("store", "web").spec.replicas
    assert "StatefulSet web/store is scaled from 1 to 0." in world.told


def test_a_budget_is_kept_before_a_stateful_set_is_scaled(world: World) -> None:
    world.stateful_set()
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.core.patch_namespaced_pod_status("store-0", "web", {"status": ready})
    budget = {
        "metadata": {"name": "store"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "store-0"}}},
    }
    world.policy.create_namespaced_pod_disruption_budget("web", budget)
    with pytest.raises(DeadlineError, match="hold back web/store-0"):
        clean_up.delete_claims(_context(world), world.steps()["clean-up-claims"])
    assert world.apps.read_namespaced_stateful_set("store", "web").spec.replicas == 1
    claims = world.core.list_namespaced_persistent_volume_claim("web").items
    assert [item.metadata.name for item in claims if item.metadata.deletion_timestamp] == []


def test_an_empty_claim_that_an_operator_makes_again_is_told_and_waited_for_by_nobody(
    world: World,
) -> None:
    world.stateful_set()
    step = world.steps()["clean-up-claims"]

    def with_operator() -> None:
        world.apps.patch_namespaced_stateful_set_scale("store", "web", {"spec": {"replicas": 1}})
        world.control()

    clean_up.delete_claims(_context(world, with_operator), step)
    assert [claim.name for claim in world.look().claims] == ["web/disk-store-0"]
    assert any("web/disk-store-0 came back" in line for line in world.told)
    clean_up.delete_claims(_context(world, with_operator), step)


def test_a_claim_that_was_made_again_and_has_another_volume_is_nobodys_to_delete(
    world: World,
) -> None:
    step = world.steps()["clean-up-claims"]
    core = world.core
    core.delete_namespaced_pod("writer", "web", grace_period_seconds=0)
    core.delete_namespaced_persistent_volume_claim("data", "web")
    world.control()
    world.claim("data", "pv-other")
    with pytest.raises(RefusedError, match="web/data were made again since the plan"):
        clean_up.delete_claims(_context(world), step)
    assert "web/data" in {claim.name for claim in world.look().claims}
    assert not core.read_node("node-1").spec.unschedulable, "nothing is held for that"


def test_a_load_balancer_that_an_operator_makes_again_is_named(world: World) -> None:
    def with_operator() -> None:
        world.control()
        services = world.core.list_namespaced_service("web").items
        if "balanced" not in {item.metadata.name for item in services}:
            spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
            world.core.create_namespaced_service(
                "web", {"metadata": {"name": "balanced"}, "spec": spec}
            )

    step = world.steps()["clean-up-balancers"]
    with pytest.raises(DeadlineError, match=r"web/balanced, made again .* stop what makes it"):
        clean_up.delete_balancers(_context(world, with_operator), step)


def test_a_load_balancer_that_goes_while_it_is_looked_for_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS refuses to tell the tags of all where one of them is gone since it was listed."""
    elb = boto3.client("elb", "us-east-1")
    listener = {"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}
    for name in ("stays", "goes"):
        elb.create_load_balancer(
            LoadBalancerName=name,
            Listeners=[listener],
            AvailabilityZones=["us-east-1a"],
            Tags=[CLUSTER_TAG],
        )
    context = _context(world)
    asked: list[list[str]] = []

    def client(service: str, region: str = "us-east-1") -> Any:
        made = boto3.client(service, region_name=region)
        if service == "elb":
            original = made.describe_tags

            def describe_tags(LoadBalancerNames: list[str]) -> Any:  # noqa: N803
                if not asked:
                    elb.delete_load_balancer(LoadBalancerName="goes")
                asked.append(LoadBalancerNames)
                there = {
                    item["LoadBalancerName"]
                    for item in elb.describe_load_balancers()["LoadBalancerDescriptions"]
                }
                if not there.issuperset(LoadBalancerNames):
                    raise made.exceptions.ClientError(
                        {"Error": {"Code": "LoadBalancerNotFound", "Message": "gone"}},
                        "DescribeTags",
                    )
                return original(LoadBalancerNames=LoadBalancerNames)

            monkeypatch.setattr(made, "describe_tags", describe_tags)
        return made

    context.access.client = client
    assert list(clean_up.balancers_of_cluster(context.access)) == ["load balancer stays"]
    assert sorted(asked[0]) == ["goes", "stays"]


def test_hundreds_of_volumes_are_asked_for_as_many_at_once_as_aws_takes(world: World) -> None:
    asked: list[int] = []
    context = _context(world)

    class Pages:
        def paginate(self, Filters: Any) -> list[Any]:  # noqa: N803
            asked.append(len(Filters[0]["Values"]))
            return []

    context.access.client = lambda *_: SimpleNamespace(get_paginator=lambda _name: Pages())
    assert clean_up._volumes_left(context.access, [f"vol-{number}" for number in range(450)]) == []
    assert asked == [200, 200, 50]


def test_it_waits_until_aws_has_neither_volumes_nor_load_balancers(world: World) -> None:
    ec2, elb = boto3.client("ec2", "us-east-1"), boto3.client("elb", "us-east-1")
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=5)["VolumeId"]
    elb.create_load_balancer(
        LoadBalancerName="a1b2",
        Listeners=[{"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}],
        AvailabilityZones=["us-east-1a"],
        Tags=[CLUSTER_TAG],
    )
    planned = world.steps()["clean-up-gone"]
    step = Step(**{**vars(planned), "data": {"volumes": [volume]}})
    with pytest.raises(DeadlineError, match=f"still in AWS: volume {volume}, load balancer a1b2"):
        clean_up.await_gone(_context(world), step)
    assert "kubectl uncordon" in world.told[-1]

    def controllers() -> None:
        if ec2.describe_volumes()["Volumes"]:
            ec2.delete_volume(VolumeId=volume)
        elb.delete_load_balancer(LoadBalancerName="a1b2")

    clean_up.await_gone(_context(world, controllers), step)

"""A teardown's clean-up on a real API server; the controllers of a live cluster are played here."""

from __future__ import annotations

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
ROUNDS = 5
"""How often something is looked at before its deadline has passed."""
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

    def look(self) -> clean_up.Contents:
        return clean_up.look(self.api)

    def steps(self, pods: clean_up.Pods = "evict") -> dict[str, Step]:
        planned = clean_up.clean_up_steps(self.look(), "dev", pods=pods, stage=0)
        return {step.id: step for step in planned}

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
        }
        for claim in self.core.list_namespaced_persistent_volume_claim(NAMESPACE).items:
            if claim.metadata.deletion_timestamp and claim.metadata.name not in used:
                name = claim.metadata.name
                self.core.patch_namespaced_persistent_volume_claim(name, NAMESPACE, release)
                self.core.patch_persistent_volume(f"pv-{name}", release)
                if name != "kept":
                    self.core.delete_persistent_volume(f"pv-{name}")


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
        core.create_namespaced_persistent_volume_claim(
            NAMESPACE,
            {
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "volumeName": f"pv-{name}",
                    "resources": {"requests": {"storage": "5Gi"}},
                },
            },
        )
    core.create_namespaced_pod(
        NAMESPACE,
        {
            "metadata": {"name": "writer", "labels": {"app": "writer"}},
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "writer", "image": "writer"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            },
        },
    )
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
    world.stuck = False
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

    access = SimpleNamespace(environment="dev", client=client)
    return SimpleNamespace(access=access, wait=wait, note=lambda _line: None)


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

    def controllers() -> None:
        if ec2.describe_volumes()["Volumes"]:
            ec2.delete_volume(VolumeId=volume)
        elb.delete_load_balancer(LoadBalancerName="a1b2")

    clean_up.await_gone(_context(world, controllers), step)

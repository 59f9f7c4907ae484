"""Who reaches whom in the cluster: the policies of all namespaces together, read as CNIs do."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from components.cidr import plan_subnets
from infra import naming
from infra.settings import Settings
from stacks.cluster_access import cluster_services, inhabitants, namespaces
from tests.graph import Graph
from tests.stacks.cluster_objects import cluster_graph, graph_of
from tests.stacks.programs import ENVIRONMENTS, settings

POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or an address outside the cluster."""

    namespace: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    address: str = "10.0.0.5"
    """Pods have one too: of the private subnets."""


def pod(namespace: str, workload: str) -> End:
    return End(namespace, naming.workload_labels(workload))


API = pod("services", "api-service")
WEB = pod("web", "web-app")
DASH = pod("web", "dash-app")
AIRFLOW = pod("airflow", "airflow")
MONO = pod("mono-repo-dev", "mono-repo-api")
REDIS = pod("services", "redis")
STRANGER = pod("services", "somebody")
DNS = End("kube-system", {"k8s-app": "kube-dns"})
DATABASE = End(address="10.0.36.5")
NODE = End(address="10.0.1.1")
BALANCER = End(address="10.0.2.2")
INTERNET = End(address="203.0.113.7")
METADATA = End(address="169.254.169.254")


def connects(graph: Graph, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends' policies allow it."""
    return _allowed(graph, source, target, "Egress", port, protocol) and _allowed(
        graph, target, source, "Ingress", port, protocol
    )


def _allowed(graph: Graph, end: End, other: End, direction: str, port: int, protocol: str) -> bool:
    mine = [
        node.inputs["spec"]
        for node in graph.resources(POLICY)
        if node.inputs["metadata"]["namespace"] == end.namespace
        and direction in node.inputs["spec"]["policyTypes"]
        and _matches(node.inputs["spec"]["podSelector"], end.labels)
    ]
    side = "from" if direction == "Ingress" else "to"
    return not mine or any(
        _port_matches(rule, port, protocol) and any(_is_peer(peer, other) for peer in rule[side])
        for spec in mine
        for rule in spec.get(direction.lower(), [])
    )


def _matches(selector: Any, labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _port_matches(rule: Any, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        int(entry["port"]) == port and entry["protocol"] == protocol for entry in ports
    )


def _is_peer(peer: Any, end: End) -> bool:
    if "ipBlock" in peer:
        return ip_address(end.address) in ip_network(peer["ipBlock"]["cidr"])
    names = {"kubernetes.io/metadata.name": end.namespace or ""}
    return _matches(peer["namespaceSelector"], names) and _matches(peer["podSelector"], end.labels)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cluster_graph("dev")


def test_the_sample_addresses_are_where_the_network_puts_them() -> None:
    network = settings("dev").network
    first = plan_subnets(network.cidr, {network.availability_zones[0]: 0})
    layout = first[network.availability_zones[0]]
    assert ip_address(DATABASE.address) in ip_network(layout.database)
    for end in (NODE, BALANCER, API):
        assert ip_address(end.address) in ip_network(layout.private)


@pytest.mark.parametrize("source", [WEB, DASH, AIRFLOW, MONO])
def test_every_workload_that_reads_its_address_reaches_the_api(graph: Graph, source: End) -> None:
    assert connects(graph, source, API, 8080)
    assert not connects(graph, source, API, 22)


@pytest.mark.parametrize("target", [API, WEB, DASH, AIRFLOW])
def test_nodes_hand_on_what_the_load_balancer_sends(graph: Graph, target: End) -> None:
    assert connects(graph, NODE, target, 8080)


def test_a_workload_that_is_not_behind_it_is_not_reached_from_nodes(graph: Graph) -> None:
    assert not connects(graph, NODE, MONO, 8080)
    assert not connects(graph, WEB, MONO, 8080)


@pytest.mark.parametrize(
    ("source", "may"), [(API, True), (MONO, True), (AIRFLOW, True), (WEB, False), (DASH, False)]
)
def test_the_database_is_for_those_that_its_password_restarts(
    graph: Graph, source: End, may: bool
) -> None:
    assert connects(graph, source, DATABASE, 5432) is may
    assert not connects(graph, source, DATABASE, 22)


@pytest.mark.parametrize("source", [API, WEB, DASH, AIRFLOW, MONO])
def test_every_workload_resolves_names_and_reaches_aws_and_the_cache(
    graph: Graph, source: End
) -> None:
    assert connects(graph, source, DNS, 53, "UDP")
    assert connects(graph, source, DNS, 53)
    assert connects(graph, source, INTERNET, 443)
    assert connects(graph, source, REDIS, 6379)
    assert connects(graph, source, BALANCER, 80)


@pytest.mark.parametrize("source", [API, WEB, AIRFLOW, REDIS, STRANGER])
def test_nobody_reaches_the_credentials_of_the_node(graph: Graph, source: End) -> None:
    assert not connects(graph, source, METADATA, 80)


@pytest.mark.parametrize(
    "target", [API, REDIS, DATABASE, INTERNET], ids=["api", "cache", "database", "internet"]
)
def test_a_pod_that_is_no_workload_reaches_nobody(graph: Graph, target: End) -> None:
    for port in (443, 5432, 6379, 8080):
        assert not connects(graph, STRANGER, target, port)


def test_pods_of_one_workload_reach_each_other(graph: Graph) -> None:
    assert connects(graph, AIRFLOW, AIRFLOW, 8793)
    assert not connects(graph, WEB, DASH, 8793)


def test_the_internet_is_out_of_reach_where_there_is_no_nat() -> None:
    dev = settings("dev")
    network = dev.network.model_copy(update={"nat": "none"})
    graph = graph_of(dev.model_copy(update={"network": network}))
    assert not connects(graph, AIRFLOW, INTERNET, 443)
    assert connects(graph, AIRFLOW, End(address="172.20.0.1"), 443), "the API server's Service"
    assert connects(graph, AIRFLOW, End(address="10.0.1.9"), 443), "an interface endpoint"


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_namespaces_are_those_of_the_runbook(env: str) -> None:
    assert namespaces(settings(env)) == ["services", "web", "airflow", f"mono-repo-{env}"]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_pod_of_every_namespace_is_denied_by_default(env: str) -> None:
    specs = {
        node.inputs["metadata"]["namespace"]: node.inputs["spec"]
        for node in cluster_graph(env).resources(POLICY)
        if node.inputs["metadata"]["name"] == "default-deny"
    }
    assert set(specs) == set(namespaces(settings(env)))
    for spec in specs.values():
        assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_service_that_selects_by_name_alone_is_known_to_every_policy(env: str) -> None:
    """EKS lets a pod reach a Service whose selector has each label that the policy asks for."""
    asked = [
        peer["podSelector"]["matchLabels"]
        for node in cluster_graph(env).resources(POLICY)
        for rule in node.inputs["spec"].get("egress", [])
        for peer in rule["to"]
        if "podSelector" in peer
    ]
    assert {"app.kubernetes.io/name": "api-service"} in asked
    assert {tuple(labels) for labels in asked} == {("app.kubernetes.io/name",), ("k8s-app",)}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_scheduler_reads_the_database_password_as_the_rest_of_airflow_does(env: str) -> None:
    """It has an account of its own beside the workload's, which is the one that is listed."""
    annotated = {
        node.inputs["metadata"]["name"]
        for node in cluster_graph(env).resources(ACCOUNT)
        if node.inputs["metadata"]["namespace"] == "airflow"
        and "annotations" in node.inputs["metadata"]
    }
    assert annotated == {"airflow", "airflow-scheduler"}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_service_accounts_act_as_the_role_that_trusts_them(env: str) -> None:
    trusted = set(settings(env).parameters.access.irsa_subjects)
    for node in cluster_graph(env).resources(ACCOUNT):
        metadata = node.inputs["metadata"]
        subject = f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"
        annotated = "eks.amazonaws.com/role-arn" in metadata.get("annotations", {})
        assert annotated is (subject in trusted), subject


def test_a_service_that_is_a_workload_of_ours_is_no_stranger() -> None:
    dev = settings("dev")
    assert [service.name for service in cluster_services(dev)] == ["redis"]
    cache = dev.workloads[0].model_copy(update={"name": "redis", "deployments": ("redis",)})
    with_cache = dev.model_copy(update={"workloads": (*dev.workloads, cache)})
    assert cluster_services(with_cache) == []


def test_a_service_makes_its_namespace_ours() -> None:
    assert "cache" in namespaces(_with_redis_at("redis.cache.svc.cluster.local"))
    assert "cache" in inhabitants(_with_redis_at("redis.cache.svc.cluster.local"), None)


def _with_redis_at(host: str) -> Settings:
    dev = settings("dev")
    catalogue = tuple(
        entry.model_copy(update={"value": host}) if entry.name == "redis/host" else entry
        for entry in dev.parameters.catalogue
    )
    parameters = dev.parameters.model_copy(update={"catalogue": catalogue})
    return dev.model_copy(update={"parameters": parameters})

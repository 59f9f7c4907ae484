"""Who may talk to whom in the cluster, as Kubernetes NetworkPolicies. Pure.

Everything is denied first, in both directions; what is listed here is what flows. Peers in the
cluster are named by namespace and label, peers outside it by address. A pod has an address of the
VPC like the load balancer and the nodes, and a node answers for the load balancer under its own
address: a port that is open to those is therefore open to every pod too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Labels = Mapping[str, str]
Manifest = dict[str, Any]

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that Kubernetes itself puts on every namespace."""
DNS_PORT = 53
HTTPS_PORT = 443


@dataclass(frozen=True, kw_only=True)
class Pods:
    """Pods of a namespace."""

    namespace: str
    labels: Labels

    def peer(self) -> Manifest:
        """Return the pods as a peer of a policy."""
        return {
            "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: self.namespace}},
            "podSelector": {"matchLabels": dict(self.labels)},
        }


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Address blocks outside the cluster's own naming."""

    cidrs: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Traffic to or from peers on TCP ports."""

    peers: Sequence[Pods | Addresses]
    ports: Sequence[int]
    """TCP ports of the receiving side; none: every port."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the pods of one workload, chosen by label, may receive and send."""

    name: str
    labels: Labels
    ingress: Sequence[Flow] = field(default_factory=tuple)
    egress: Sequence[Flow] = field(default_factory=tuple)


CLUSTER_DNS = Pods(namespace="kube-system", labels={"k8s-app": "kube-dns"})


def default_deny() -> Manifest:
    """Return the policy that denies all pods everything that no other policy allows."""
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def allow_dns() -> Manifest:
    """Return the policy that lets all pods ask the cluster's DNS."""
    ports = [{"port": DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [CLUSTER_DNS.peer()], "ports": ports}],
    }


def allow(traffic: Traffic, namespace: str) -> Manifest:
    """Return a workload's policy; its own pods reach each other on every port."""
    itself = Flow(peers=[Pods(namespace=namespace, labels=traffic.labels)], ports=[])
    return {
        "podSelector": {"matchLabels": dict(traffic.labels)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": _rules("from", [itself, *traffic.ingress]),
        "egress": _rules("to", [itself, *traffic.egress]),
    }


def _rules(direction: Literal["from", "to"], flows: Iterable[Flow]) -> list[Manifest]:
    return [_rule(direction, flow) for flow in flows if _peers(flow)]


def _rule(direction: Literal["from", "to"], flow: Flow) -> Manifest:
    rule: Manifest = {direction: _peers(flow)}
    if flow.ports:
        rule["ports"] = [{"port": port, "protocol": "TCP"} for port in sorted(set(flow.ports))]
    return rule


def _peers(flow: Flow) -> list[Manifest]:
    peers: list[Manifest] = []
    for peer in flow.peers:
        match peer:
            case Pods():
                peers.append(peer.peer())
            case Addresses():
                peers += [{"ipBlock": {"cidr": cidr}} for cidr in peer.cidrs]
    return peers

"""What runs in the cluster, who may reach it, and what it talks to: read from the settings. Pure.

Nothing of this is said twice. A workload uses a database when it is restarted for that database's
password; it is called by the others when its address is one of their parameters; and a parameter
that names a Service of the cluster is a dependency on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from pulumi import Input

from components.application_namespace import Machine, Workload
from components.cidr import ZoneLayout, plan_subnets
from components.network_policies import HTTPS_PORT, Addresses, Flow, Pods, Traffic
from components.rbac_bindings import BreakGlass, Inhabitants, PeopleGroup
from infra import naming
from infra.settings import Settings
from infra.settings import Workload as WorkloadSettings

HTTP_PORT = 80
ANYWHERE = "0.0.0.0/0"
SERVICE_DOMAIN = ".svc.cluster.local"


@dataclass(frozen=True, kw_only=True)
class ClusterService:
    """A Service of the cluster that is no workload of ours, such as a cache."""

    name: str
    namespace: str
    port: int


def people_groups(settings: Settings) -> list[PeopleGroup]:
    """Return the groups of people that have access, and the IAM roles that they come by."""
    return [
        PeopleGroup(
            name=entry.group,
            kubernetes_group=naming.kubernetes_group(entry.group),
            iam_role_name=naming.kubernetes_role(settings.environment, entry.group),
            role=entry.role,
            namespaces=entry.namespaces,
        )
        for entry in settings.kubernetes.access
    ]


def break_glass(settings: Settings) -> BreakGlass:
    """Return the group that may do everything."""
    return BreakGlass(
        kubernetes_group=naming.kubernetes_group(naming.BREAK_GLASS),
        iam_role_name=naming.kubernetes_role(settings.environment, naming.BREAK_GLASS),
    )


def namespaces(settings: Settings) -> list[str]:
    """Return the application's namespaces, in the order of the settings."""
    names = [workload.namespace for workload in settings.workloads]
    names += [account.namespace for account in settings.kubernetes.service_accounts]
    names += [service.namespace for service in cluster_services(settings)]
    return list(dict.fromkeys(names))


def inhabitants(
    settings: Settings, parameter_role_arn: Input[str] | None
) -> dict[str, Inhabitants]:
    """Return every namespace of the application -> what runs in it.

    `parameter_role_arn` is the IAM role of the service accounts that read parameters.
    """
    readers = set(settings.parameters.access.irsa_subjects)

    def identity(namespace: str, account: str) -> Input[str] | None:
        subject = service_account_subject(namespace, account)
        return parameter_role_arn if subject in readers else None

    return {
        namespace: Inhabitants(
            workloads=[
                Workload(
                    name=workload.name,
                    deployments=workload.deployments,
                    replicas=workload.replicas,
                    behind_load_balancer=workload.node_port is not None,
                    service_account=workload.service_account,
                    role_arn=identity(namespace, workload.service_account),
                    traffic=workload_traffic(settings, workload),
                )
                for workload in settings.workloads
                if workload.namespace == namespace
            ],
            machines=[
                Machine(
                    name=account.name,
                    role=account.role,
                    role_arn=identity(namespace, account.name),
                )
                for account in settings.kubernetes.service_accounts
                if account.namespace == namespace
            ],
            services=[
                _service_traffic(settings, service)
                for service in cluster_services(settings)
                if service.namespace == namespace
            ],
        )
        for namespace in namespaces(settings)
    }


def service_account_subject(namespace: str, account: str) -> str:
    """Return what a service account is called in bindings, tokens and trust policies."""
    return f"system:serviceaccount:{namespace}:{account}"


def cluster_services(settings: Settings) -> list[ClusterService]:
    """Return the Services that parameters name: `x/host` in the cluster, at the port `x/port`."""
    values = {entry.name: entry.value for entry in settings.parameters.catalogue if entry.value}
    workloads = {(workload.name, workload.namespace) for workload in settings.workloads}
    found = []
    for name, host in values.items():
        if name.endswith("/host") and host.endswith(SERVICE_DOMAIN):
            service, _, namespace = host.removesuffix(SERVICE_DOMAIN).partition(".")
            port = values.get(f"{name.removesuffix('/host')}/port", "")
            if port.isdecimal() and (service, namespace) not in workloads:
                found.append(ClusterService(name=service, namespace=namespace, port=int(port)))
    return found


def workload_traffic(settings: Settings, workload: WorkloadSettings) -> Traffic:
    """Return what a workload's pods may receive and send."""
    return Traffic(
        name=workload.name,
        labels=naming.workload_labels(workload.name),
        ingress=list(_received(settings, workload)),
        egress=list(_sent(settings, workload)),
    )


def _received(settings: Settings, workload: WorkloadSettings) -> Iterator[Flow]:
    if workload.node_port is not None:
        # The node that the load balancer asked hands the request on under its own address.
        yield Flow(peers=[Addresses(cidrs=_private_cidrs(settings))], ports=[workload.port])
    if workload in _called(settings):
        yield Flow(peers=_pods(_others(settings, workload)), ports=[workload.port])


def _sent(settings: Settings, workload: WorkloadSettings) -> Iterator[Flow]:
    ports = _database_ports(settings, workload)
    if ports:
        yield Flow(peers=[Addresses(cidrs=_database_cidrs(settings))], ports=ports)
    for called in _called(settings):
        if called != workload:
            yield Flow(peers=_pods([called]), ports=[called.port])
    for service in cluster_services(settings):
        yield Flow(peers=[_service_pods(service)], ports=[service.port])
    if any(called.node_port is not None for called in _called(settings)):
        # By the name in the private zone, which is the load balancer's.
        yield Flow(peers=[Addresses(cidrs=_private_cidrs(settings))], ports=[HTTP_PORT, HTTPS_PORT])
    yield Flow(peers=[Addresses(cidrs=_https_cidrs(settings))], ports=[HTTPS_PORT])


def _service_traffic(settings: Settings, service: ClusterService) -> Traffic:
    return Traffic(
        name=service.name,
        labels=naming.workload_labels(service.name),
        ingress=[Flow(peers=_pods(settings.workloads), ports=[service.port])],
    )


def _called(settings: Settings) -> list[WorkloadSettings]:
    """Return the workloads whose address is a parameter: everybody who reads it may call them."""
    sources = [entry.source or "" for entry in settings.parameters.catalogue]
    named = {source.split(".")[1] for source in sources if source.startswith("workload.")}
    return [workload for workload in settings.workloads if workload.name in named]


def _others(settings: Settings, workload: WorkloadSettings) -> list[WorkloadSettings]:
    return [other for other in settings.workloads if other != workload]


def _database_ports(settings: Settings, workload: WorkloadSettings) -> list[int]:
    used = {
        entry.database
        for entry in settings.parameters.catalogue
        if workload.name in entry.restarts and entry.database is not None
    }
    return sorted({database.port for database in settings.databases if database.name in used})


def _https_cidrs(settings: Settings) -> list[str]:
    """Return where HTTPS may go: AWS's services have no addresses of their own to name."""
    if settings.network.nat != "none":
        return [ANYWHERE]
    # Interface endpoints, and the API server under the address that pods know it by.
    api_server = next(IPv4Network(settings.eks.service_cidr).hosts())
    return [settings.network.cidr, f"{api_server}/32"]


def _private_cidrs(settings: Settings) -> list[str]:
    return [layout.private for layout in _layouts(settings)]


def _database_cidrs(settings: Settings) -> list[str]:
    return [layout.database for layout in _layouts(settings)]


def _layouts(settings: Settings) -> Iterable[ZoneLayout]:
    zones = settings.network.availability_zones
    return plan_subnets(
        settings.network.cidr, {zone: slot for slot, zone in enumerate(zones)}
    ).values()


def _pods(workloads: Sequence[WorkloadSettings]) -> list[Pods]:
    return [
        Pods(namespace=workload.namespace, labels=naming.workload_labels(workload.name))
        for workload in workloads
    ]


def _service_pods(service: ClusterService) -> Pods:
    return Pods(namespace=service.namespace, labels=naming.workload_labels(service.name))

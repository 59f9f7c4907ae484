"""What the cluster has made in AWS, taken away while the cluster can still do it.

Load balancers and volumes belong to Services, Ingresses and claims: only the cluster's own
controllers delete them, and they need nodes. So those objects go first, and nothing further is
destroyed until AWS has neither the balancers nor the volumes any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops.errors import DeadlineError, OpsError, RefusedError
from ops.plan import Data, Step
from ops.teardown import freshness

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from ops.access import Access
    from ops.execution import Context

GONE_SECONDS: Final = 900.0
"""How long is waited for each of: balancers' objects, claims, and what they stand for in AWS."""
EVICTION_SECONDS: Final = 600.0
"""How long disruption budgets may hold pods back, until it is said which one does."""
PAGE: Final = 500
AUTOSCALER: Final = ("kube-system", "cluster-autoscaler")
"""What would bring new nodes for the pods that are held back."""
AUTOSCALER_REPLICAS: Final = 2
"""How many of them the program asks for."""
WAY_BACK: Final = (
    "kubectl uncordon $(kubectl get nodes -o name); kubectl -n "
    f"{AUTOSCALER[0]} scale deployment {AUTOSCALER[1]} --replicas={AUTOSCALER_REPLICAS}"
)
"""How nodes that were held are given back."""
CLAIMS: Final = "clean-up-claims"
_VOLUMES_AT_ONCE: Final = 200
"""Values that a filter of EC2 takes."""
_TAGS_AT_ONCE: Final = 20
"""Load balancers whose tags AWS gives in one call."""

Pods = Literal["evict", "delete"]
"""`evict`: disruption budgets are kept. `delete`: they are not, since all goes anyway."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a volume."""

    name: str
    """`namespace/name`."""
    volume: str = ""
    """The persistent volume; empty where none is bound."""
    handle: str = ""
    """The EBS volume's id."""
    retained: bool = False
    """Its volume stays when the claim goes: that is what its reclaim policy says."""
    size: str = ""
    """As it was asked for, `20Gi`."""
    uid: str = ""
    """What tells it from another one of its name."""
    of_pod: bool = False
    """It was made for one pod and goes with it: nothing in it outlives the pod."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What in a cluster stands for something in AWS."""

    services: tuple[str, ...] = ()
    """`namespace/name` of Services of type LoadBalancer."""
    ingresses: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    uids: Mapping[str, str] = field(default_factory=dict)
    """`kind namespace/name` → what tells a Service or an Ingress from another one of its name."""

    @property
    def names(self) -> dict[str, list[str]]:
        """Give all of them by kind."""
        return {
            "Service": list(self.services),
            "Ingress": list(self.ingresses),
            "PersistentVolumeClaim": [claim.name for claim in self.claims],
        }


def look(client: ApiClient) -> Contents:
    """List what stands for something in AWS, in all namespaces, to the end.

    Raises `OpsError` where the cluster does not tell.
    """
    from kubernetes.client import CoreV1Api, NetworkingV1Api

    core, networking = CoreV1Api(client), NetworkingV1Api(client)
    volumes = {item.metadata.name: item for item in _all(core.list_persistent_volume)}
    services = [
        item
        for item in _all(core.list_service_for_all_namespaces)
        if item.spec.type == "LoadBalancer"
    ]
    ingresses = list(_all(networking.list_ingress_for_all_namespaces))
    return Contents(
        services=tuple(sorted(map(_name, services))),
        ingresses=tuple(sorted(map(_name, ingresses))),
        uids={
            f"{kind} {_name(item)}": item.metadata.uid
            for kind, items in (("Service", services), ("Ingress", ingresses))
            for item in items
        },
        claims=tuple(
            sorted(
                (
                    _claim(item, volumes)
                    for item in _all(core.list_persistent_volume_claim_for_all_namespaces)
                ),
                key=lambda claim: claim.name,
            )
        ),
    )


def clean_up_steps(contents: Contents, env: str, *, pods: Pods, stage: int) -> tuple[Step, ...]:
    """Plan the clean-up of a cluster: nothing where nothing in it stands for anything in AWS."""
    cluster = naming.cluster(env)
    steps: list[Step] = []
    balancers = [*contents.services, *contents.ingresses]
    if balancers:
        steps.append(
            Step(
                id="clean-up-balancers",
                action="clean-up-balancers",
                kind="cluster clean-up",
                target=cluster,
                summary=f"delete what has load balancers in {cluster}: {_listed(balancers)}",
                stage=stage,
                destructive=True,
                data={"services": list(contents.services), "ingresses": list(contents.ingresses)},
            )
        )
    if contents.claims:
        claims = [claim.name for claim in contents.claims]
        handles = [item.handle for item in contents.claims if item.handle and not item.retained]
        steps.append(
            Step(
                id=CLAIMS,
                action=CLAIMS,
                kind="cluster clean-up",
                target=cluster,
                summary=f"hold the nodes of {cluster}, {pods} the pods with volumes, and delete "
                f"the claims: {_listed(claims)}",
                stage=stage + 1,
                destructive=True,
                data={
                    "claims": claims,
                    "uids": {claim.name: claim.uid for claim in contents.claims},
                    "pods": pods,
                    "volumes": handles,
                },
            )
        )
    if steps:
        steps.append(
            Step(
                id="clean-up-gone",
                action="clean-up-gone",
                kind="cluster clean-up",
                target=cluster,
                summary="wait until AWS has none of these load balancers and volumes any more",
                stage=stage + 2,
                data={
                    "volumes": [
                        item.handle for item in contents.claims if item.handle and not item.retained
                    ]
                },
            )
        )
    return tuple(steps)


# What the steps do ---------------------------------------------------------------------------


def delete_balancers(context: Context, step: Step) -> Data | None:
    """Delete Services and Ingresses that have load balancers, and wait until they are gone."""
    from kubernetes.client import CoreV1Api, NetworkingV1Api

    client = _client(context)
    if client is None:
        return None
    freshness.refuse_old_backup(context)
    core, networking = CoreV1Api(client), NetworkingV1Api(client)
    planned = {"Service": step.data["services"], "Ingress": step.data["ingresses"]}
    found = look(client)
    _refuse_unplanned(planned, replace(found, claims=()))
    for name in found.services:
        _delete(core.delete_namespaced_service, name, found.uids[f"Service {name}"])
    for name in found.ingresses:
        _delete(networking.delete_namespaced_ingress, name, found.uids[f"Ingress {name}"])

    def missing() -> str:
        return _balancers_left(core, networking, found)

    context.wait("the load balancers' objects to go", missing, deadline_seconds=GONE_SECONDS)
    return {"services": list(found.services), "ingresses": list(found.ingresses)}


def delete_claims(context: Context, step: Step) -> Data | None:
    """Delete claims and the pods that use them, and wait until both and the volumes are gone.

    The pods go first, then what would make them and their claims again, then the claims: one that
    goes while its StatefulSet is there comes back.
    """
    from kubernetes.client import CoreV1Api

    client = _client(context)
    if client is None:
        return None
    freshness.refuse_old_backup(context)
    core = CoreV1Api(client)
    claims = _planned_claims(context, step, look(client))
    names = [claim.name for claim in claims]
    with _way_back(context):
        _hold_nodes(context, client, core)
        _remove_pods(context, core, names, step.data["pods"])
        _rest_stateful_sets(context, client, core, names)
        for claim in claims:
            _delete(core.delete_namespaced_persistent_volume_claim, claim.name, claim.uid)
        _remove_pods(context, core, names, step.data["pods"])  # who came meanwhile
        gone = _Gone(
            uids={claim.uid for claim in claims}, names={*step.data["claims"]}, tell=context.note
        )
        handles = {claim.handle for claim in claims if claim.handle and not claim.retained}

        def missing() -> str:
            return gone.claims_left(core, {*handles, *step.data["volumes"]})

        context.wait("the claims and their volumes to go", missing, deadline_seconds=GONE_SECONDS)
    return {"claims": names}


def _planned_claims(context: Context, step: Step, found: Contents) -> list[Claim]:
    """Give the claims that are to go; what was made since the plan and has a volume refuses it.

    One that came back under its name and has no volume stands for nothing in AWS. Those of pods
    come and go with them.
    """
    uids = step.data.get("uids") or {}
    again = [
        item
        for item in found.claims
        if not item.of_pod and item.uid != uids.get(item.name, item.uid)
    ]
    empty = [item for item in again if not item.volume]
    for item in empty:
        context.note(_came_back(item.name))
    known = [item for item in found.claims if item not in empty]
    _refuse_unplanned(
        {"PersistentVolumeClaim": step.data["claims"]},
        Contents(claims=tuple(item for item in known if not item.of_pod)),
    )
    made_again = [item.name for item in again if item.volume]
    if made_again:
        raise RefusedError(
            f"The claims {_listed(made_again)} were made again since the plan, and have other "
            "volumes now. They were left alone, and nothing further was destroyed. Look at them, "
            f"and plan again: ops teardown {context.access.environment} --dry-run"
        )
    return known


def await_gone(context: Context, step: Step) -> None:
    """Wait until AWS has neither the volumes nor any load balancer of the cluster."""
    volumes = list(step.data["volumes"])

    def missing() -> str:
        left = [*_volumes_left(context.access, volumes), *balancers_of_cluster(context.access)]
        return f"still in AWS: {_listed(left)}" if left else ""

    held = any(other.action == CLAIMS for other in context.plan.steps)
    with _way_back(context) if held else nullcontext():
        context.wait(
            "volumes and load balancers to go in AWS", missing, deadline_seconds=GONE_SECONDS
        )


@contextmanager
def _way_back(context: Context) -> Iterator[None]:
    """Say how the nodes are given back, where it comes to no end while they are held."""
    try:
        yield
    except Exception:
        context.note(f"The nodes are held. To give them back: {WAY_BACK}")
        raise


def balancers_of_cluster(access: Access) -> Iterator[str]:
    """Yield the load balancers that the cluster's controllers have made, by their tags."""
    from ops.teardown.listing import tag_map

    cluster = naming.cluster(access.environment)
    newer, classic = access.client("elbv2"), access.client("elb")
    arns = [
        item["LoadBalancerArn"]
        for page in newer.get_paginator("describe_load_balancers").paginate()
        for item in page["LoadBalancers"]
    ]
    for item in _tags(newer, "ResourceArns", arns):
        if _is_of_cluster(tag_map(item["Tags"]), cluster):
            yield f"load balancer {item['ResourceArn'].rpartition('/')[0].rpartition('/')[2]}"
    names = [
        item["LoadBalancerName"]
        for page in classic.get_paginator("describe_load_balancers").paginate()
        for item in page["LoadBalancerDescriptions"]
    ]
    for item in _tags(classic, "LoadBalancerNames", names):
        if _is_of_cluster(tag_map(item["Tags"]), cluster):
            yield f"load balancer {item['LoadBalancerName']}"


def _tags(client: Any, argument: str, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Give the tags of load balancers; of one that has gone since it was listed there are none."""
    for batch in _batches(ids, _TAGS_AT_ONCE):
        try:
            yield from client.describe_tags(**{argument: batch})["TagDescriptions"]
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "LoadBalancerNotFound":
                raise
            # AWS does not say which one: each is asked for alone.
            if len(batch) > 1:
                for id_ in batch:
                    yield from _tags(client, argument, [id_])


def _is_of_cluster(tags: Mapping[str, str], cluster: str) -> bool:
    return (
        tags.get("elbv2.k8s.aws/cluster") == cluster or f"kubernetes.io/cluster/{cluster}" in tags
    )


def _volumes_left(access: Access, ids: Sequence[str]) -> list[str]:
    pages = access.client("ec2").get_paginator("describe_volumes")
    return [
        f"volume {item['VolumeId']}"
        for batch in _batches(ids, _VOLUMES_AT_ONCE)
        for page in pages.paginate(Filters=[{"Name": "volume-id", "Values": batch}])
        for item in page["Volumes"]
    ]


def _client(context: Context) -> ApiClient | None:
    """Give a client of the cluster; None where it is gone already, and all in it."""
    from ops.kubernetes import NoClusterError, api_client

    try:
        return api_client(context.access)
    except NoClusterError:
        context.note("The cluster is there no more: there is nothing in it to clean up.")
        return None


def _hold_nodes(context: Context, client: ApiClient, core: Any) -> None:
    """Let no pod come back: no new nodes, and nothing more on those that are there."""
    from kubernetes.client import AppsV1Api
    from kubernetes.client.exceptions import ApiException

    namespace, name = AUTOSCALER
    try:
        AppsV1Api(client).patch_namespaced_deployment_scale(
            name, namespace, {"spec": {"replicas": 0}}
        )
    except ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise _refused(error) from error
    nodes = [item.metadata.name for item in _all(core.list_node) if not item.spec.unschedulable]
    for node in nodes:
        core.patch_node(node, {"spec": {"unschedulable": True}})
    if nodes:
        context.note(f"{'/'.join(AUTOSCALER)} is scaled to 0, and cordoned are {_listed(nodes)}.")


def _rest_stateful_sets(
    context: Context, client: ApiClient, core: Any, claims: Collection[str]
) -> None:
    """Scale to 0 the StatefulSets that would make these claims again, and wait for their pods."""
    from kubernetes.client import AppsV1Api
    from kubernetes.client.exceptions import ApiException

    apps = AppsV1Api(client)
    resting = [
        item
        for item in _all(apps.list_stateful_set_for_all_namespaces)
        if any(_is_made_by(item, name) for name in claims)
    ]
    for item in resting:
        if not item.spec.replicas:
            continue
        namespace, name = item.metadata.namespace, item.metadata.name
        context.note(f"StatefulSet {_name(item)} is scaled from {item.spec.replicas} to 0.")
        try:
            apps.patch_namespaced_stateful_set_scale(name, namespace, {"spec": {"replicas": 0}})
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise _refused(error) from error
    uids = {item.metadata.uid for item in resting}

    def missing() -> str:
        left = [
            _name(pod)
            for pod in _all(core.list_pod_for_all_namespaces)
            if uids.intersection(owner.uid for owner in pod.metadata.owner_references or ())
        ]
        return f"pods of StatefulSets that end: {_listed(left)}" if left else ""

    if resting:
        context.wait("the StatefulSets' pods to end", missing, deadline_seconds=EVICTION_SECONDS)


def _is_made_by(stateful_set: Any, claim: str) -> bool:
    """Tell whether a claim is called as one that a StatefulSet makes for its pods."""
    namespace, _, name = claim.partition("/")
    return namespace == stateful_set.metadata.namespace and any(
        re.fullmatch(
            rf"{re.escape(f'{template.metadata.name}-{stateful_set.metadata.name}')}-\d+", name
        )
        for template in stateful_set.spec.volume_claim_templates or ()
    )


def _remove_pods(context: Context, core: Any, claims: Sequence[str], pods: Pods) -> None:
    """Remove the pods on nodes that use claims; a budget holds them back until the deadline."""
    from kubernetes.client import V1Eviction, V1ObjectMeta
    from kubernetes.client.exceptions import ApiException

    def missing() -> str:
        using = _users(core, claims)
        held: list[str] = []
        for pod in using:
            namespace, name = pod.metadata.namespace, pod.metadata.name
            if pod.metadata.deletion_timestamp:
                continue
            try:
                if pods == "evict" and not _has_ended(pod):
                    body = V1Eviction(metadata=V1ObjectMeta(name=name, namespace=namespace))
                    core.create_namespaced_pod_eviction(name, namespace, body)
                else:
                    core.delete_namespaced_pod(name, namespace)
            except ApiException as error:
                if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                    held.append(f"{namespace}/{name}")
                elif error.status != HTTPStatus.NOT_FOUND:
                    raise _refused(error) from error
        if held:
            return f"disruption budgets hold back {_listed(held)}"
        return f"pods that end: {_listed(list(map(_name, using)))}" if using else ""

    try:
        context.wait("pods with volumes to end", missing, deadline_seconds=EVICTION_SECONDS)
    except DeadlineError as error:
        raise DeadlineError(
            f"{error}. Loosen the disruption budgets (kubectl get pdb -A) and resume this run "
            f"within {freshness.BACKUP_HOURS:.0f} hours of its backup, or plan again with --pods "
            "delete, which does not keep them. Nothing of the environment is destroyed so far but "
            "what was cleaned up."
        ) from error


def _users(core: Any, claims: Iterable[str]) -> list[Any]:
    """List the pods on nodes that use claims; one that has ended holds its claim like any other."""
    wanted = set(claims)
    return [
        pod
        for pod in _all(core.list_pod_for_all_namespaces)
        if pod.spec.node_name and not wanted.isdisjoint(_claims_of(pod))
    ]


def _claims_of(pod: Any) -> Iterator[str]:
    """Give the claims that a pod uses, those that were made for it alone as well."""
    namespace = pod.metadata.namespace
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim:
            yield f"{namespace}/{volume.persistent_volume_claim.claim_name}"
        elif volume.ephemeral:
            yield f"{namespace}/{pod.metadata.name}-{volume.name}"


def _has_ended(pod: Any) -> bool:
    return bool(pod.status) and pod.status.phase in ("Succeeded", "Failed")


@dataclass(kw_only=True)
class _Gone:
    """What is waited for after claims were deleted, and what came back meanwhile."""

    uids: Collection[str]
    names: Collection[str]
    tell: Callable[[str], None]
    told: set[str] = field(default_factory=set)

    def claims_left(self, core: Any, handles: Collection[str]) -> str:
        """Say which claims and volumes are there; one that came back empty is told and left."""
        left = []
        for item in _all(core.list_persistent_volume_claim_for_all_namespaces):
            name = _name(item)
            if item.metadata.uid in self.uids:
                left.append(_with_finalizers("PersistentVolumeClaim", item))
            elif name not in self.names:
                continue
            elif item.spec.volume_name:
                left.append(f"{_came_back(name)} Its volume is {item.spec.volume_name}")
            elif name not in self.told:
                self.told.add(name)
                self.tell(_came_back(name))
        left += [
            _with_finalizers("PersistentVolume", item)
            for item in _all(core.list_persistent_volume)
            if _handle(item) in handles
        ]
        return _listed(left)


def _came_back(name: str) -> str:
    return (
        f"PersistentVolumeClaim {name} came back after it was deleted: something makes it again, "
        "such as an operator that owns a StatefulSet."
    )


def _balancers_left(core: Any, networking: Any, deleted: Contents) -> str:
    left = []
    for kind, listing, names in (
        ("Service", core.list_service_for_all_namespaces, deleted.services),
        ("Ingress", networking.list_ingress_for_all_namespaces, deleted.ingresses),
    ):
        for item in _all(listing):
            name = _name(item)
            if name not in names:
                continue
            if item.metadata.uid == deleted.uids[f"{kind} {name}"]:
                left.append(_with_finalizers(kind, item))
            elif kind == "Ingress" or item.spec.type == "LoadBalancer":
                left.append(
                    f"{kind} {name}, made again after it was deleted: stop what makes it, such as "
                    "an operator"
                )
    return _listed(left)


def _with_finalizers(kind: str, item: Any) -> str:
    finalizers = item.metadata.finalizers or []
    held = f", held by its finalizer {', '.join(finalizers)}" if finalizers else ""
    return f"{kind} {_name(item)}{held}"


def _refuse_unplanned(planned: Mapping[str, Sequence[str]], found: Contents) -> None:
    """Refuse what was made since the plan: nobody has agreed to lose it."""
    new = [
        f"{kind} {name}"
        for kind, names in found.names.items()
        for name in names
        if name not in planned.get(kind, ())
    ]
    if new:
        raise RefusedError(
            f"The cluster has what the plan does not know: {_listed(new)}. It was left alone, and "
            "nothing further was destroyed. Look at it, and plan again: ops teardown --dry-run"
        )


def _delete(call: Callable[..., Any], name: str, uid: str) -> None:
    """Delete one object, and no other that has come under its name meanwhile."""
    from kubernetes.client import V1DeleteOptions, V1Preconditions
    from kubernetes.client.exceptions import ApiException

    namespace, _, own = name.partition("/")
    try:
        call(own, namespace, body=V1DeleteOptions(preconditions=V1Preconditions(uid=uid)))
    except ApiException as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise _refused(error) from error


def _all(call: Callable[..., Any]) -> Iterator[Any]:
    """Yield all that a listing gives, page by page."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    following: str | None = None
    try:
        while True:
            page = call(limit=PAGE, _continue=following)
            yield from page.items
            following = page.metadata._continue  # noqa: SLF001 - the library's name for it
            if not following:
                return
    except ApiException as error:
        raise _refused(error) from error
    except HTTPError as error:
        raise OpsError(f"The cluster does not answer any more: {error}.") from error


def _refused(error: Any) -> OpsError:
    return OpsError(f"The cluster's API answered {error.status} {error.reason}: {error.body}")


def _claim(item: Any, volumes: Mapping[str, Any]) -> Claim:
    volume = volumes.get(item.spec.volume_name or "")
    requests = (item.spec.resources and item.spec.resources.requests) or {}
    return Claim(
        name=_name(item),
        volume=item.spec.volume_name or "",
        handle=_handle(volume) if volume else "",
        retained=bool(volume and volume.spec.persistent_volume_reclaim_policy == "Retain"),
        size=str(requests.get("storage", "")),
        uid=item.metadata.uid,
        of_pod=any(owner.kind == "Pod" for owner in item.metadata.owner_references or ()),
    )


def _handle(volume: Any) -> str:
    """Give the EBS volume that a persistent volume is; empty where it is none."""
    csi = volume.spec.csi
    if csi and csi.driver == "ebs.csi.aws.com":
        return str(csi.volume_handle)
    older = volume.spec.aws_elastic_block_store
    return str(older.volume_id).rpartition("/")[2] if older else ""


def _name(item: Any) -> str:
    return f"{item.metadata.namespace}/{item.metadata.name}"


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

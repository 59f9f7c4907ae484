"""`ops scale`: lets the workloads of a namespace rest, and gives their replicas back.

For environments that nobody needs at night. How many replicas an object had is kept in an
annotation on the object itself, written in the same request that changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops.checks import Check
from ops.errors import IncompleteError, OpsError, RefusedError, UsageError
from ops.kubernetes import api_client
from ops.operation import Operation, Planning
from ops.plan import Data, Plan, Step

if TYPE_CHECKING:
    from ops.access import Access
    from ops.execution import Context

BEFORE: Final = f"{naming.DOMAIN}/replicas-before"
"""The annotation that holds how many replicas an object had."""
WAIT_MINUTES: Final = 10.0
INTERVAL_SECONDS = 2.0
PAGE: Final = 200
ATTEMPTS: Final = 5
"""At changing an object that somebody else changes as well."""
_MANAGER: Final = "mono-repo-ops"
_SYSTEM: Final = "kube-"
_NOT_FOUND, _CONFLICT = 404, 409

Kind = Literal["Deployment", "StatefulSet"]
_KINDS: Final[Mapping[Kind, str]] = {
    "Deployment": "deployment",
    "StatefulSet": "stateful_set",
}
"""Kind → what the client's methods call it."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """An object with replicas."""

    kind: Kind
    name: str
    replicas: int
    before: int | None = None
    """How many it had before it was scaled; None: it was not."""
    autoscaler: str = ""
    """The HorizontalPodAutoscaler that decides about it."""


def arguments(environment: str, *, namespace: str, replicas: int | None, restore: bool) -> Data:
    """Give what was asked for as plain data. Raises `UsageError`, `RefusedError`."""
    if environment == naming.ENVIRONMENTS[-1]:
        raise RefusedError(
            f"{environment} serves people: its workloads are not scaled by this command. Nothing "
            f"was done. In an emergency: ops stop {environment}"
        )
    if namespace.startswith(_SYSTEM):
        raise RefusedError(
            f"{namespace} holds what the cluster itself runs on: it is not scaled by this command. "
            "Nothing was done."
        )
    if restore == (replicas is not None):
        raise UsageError("Give --replicas NUMBER or --restore. Nothing was done.")
    return {"namespace": namespace, "replicas": replicas}


def plan(planning: Planning) -> Plan:
    """Look at a namespace, and plan what is asked for."""
    access, asked = planning.access, planning.arguments
    workloads = observe(access, asked["namespace"])
    return Plan(
        command="scale",
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=asked,
        steps=tuple(steps(workloads, asked)),
        notes=tuple(_notes(workloads, asked)),
    )


def steps(workloads: Sequence[Workload], asked: Data) -> list[Step]:
    """Plan a change of replicas. Raises `RefusedError` where an autoscaler would undo it."""
    replicas = asked["replicas"]
    fought = [f"    {_name(item)}: {item.autoscaler}" for item in workloads if item.autoscaler]
    if replicas and fought:
        raise RefusedError(
            f"These have an autoscaler, which would change {replicas} replicas at once. Nothing "
            "was changed.\n" + "\n".join(fought) + "\nChange the autoscaler, or scale to 0: it "
            "leaves alone what has no replicas."
        )
    planned = [
        _step(item, asked["namespace"], wanted)
        for item in workloads
        if (wanted := item.before if replicas is None else replicas) is not None
        and (wanted != item.replicas or replicas is None)
    ]
    waits = [_wait_step(step) for step in planned if step.data["replicas"] == 0]
    return [*planned, *waits]


def observe(access: Access, namespace: str) -> tuple[Workload, ...]:
    """List what has replicas in a namespace.

    Raises `UsageError` where there is no such namespace, `IncompleteError` where not everything
    could be listed.
    """
    from kubernetes import client

    api = api_client(access)
    with _listing(namespace):
        core = client.CoreV1Api(api)
        names = [item.metadata.name for item in _all(core.list_namespace)]
        if namespace not in names:
            raise UsageError(
                f"There is no namespace {namespace!r} in {naming.cluster(access.environment)}; "
                f"there are {', '.join(sorted(names))}. Nothing was done."
            )
        autoscaling = client.AutoscalingV2Api(api)
        scalers = _all(partial(autoscaling.list_namespaced_horizontal_pod_autoscaler, namespace))
        targets = {
            (item.spec.scale_target_ref.kind, item.spec.scale_target_ref.name): (
                f"HorizontalPodAutoscaler {item.metadata.name} "
                f"({item.spec.min_replicas} to {item.spec.max_replicas})"
            )
            for item in scalers
        }
        apps = client.AppsV1Api(api)
        return tuple(
            _workload(kind, item, targets)
            for kind, called in _KINDS.items()
            for item in _all(partial(getattr(apps, f"list_namespaced_{called}"), namespace))
        )


def _workload(kind: Kind, item: Any, targets: Mapping[tuple[str, str], str]) -> Workload:
    name = item.metadata.name
    return Workload(
        kind=kind,
        name=name,
        replicas=item.spec.replicas,
        before=_before(item),
        autoscaler=targets.get((kind, name), ""),
    )


def _before(item: Any) -> int | None:
    said = (item.metadata.annotations or {}).get(BEFORE)
    if said is None:
        return None
    if not said.isdecimal():
        raise OpsError(
            f"The annotation {BEFORE} of {item.metadata.name} is {said!r}: expected a number. "
            "Nothing was changed. Correct it or remove it with kubectl annotate."
        )
    return int(said)


@contextmanager
def _listing(namespace: str) -> Iterator[None]:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise IncompleteError(
            f"Not everything in namespace {namespace} could be listed: {error.status} "
            f"{error.reason}. Nothing was changed."
        ) from error
    except HTTPError as error:
        raise IncompleteError(
            f"Not everything in namespace {namespace} could be listed: {error}. Nothing was "
            "changed."
        ) from error


def _all(list_: Callable[..., Any]) -> list[Any]:
    """List page by page."""
    found: list[Any] = []
    more = ""
    while True:
        page = list_(limit=PAGE, _continue=more) if more else list_(limit=PAGE)
        found += page.items
        more = page.metadata._continue or ""  # noqa: SLF001 - how the library calls `continue`
        if not more:
            return found


def _step(item: Workload, namespace: str, wanted: int) -> Step:
    return Step(
        id=f"scale:{item.kind}/{item.name}",
        action="scale",
        kind=item.kind,
        target=f"{namespace}/{item.name}",
        summary=f"scale {_name(item)} from {item.replicas} to {wanted} replicas",
        data={
            "kind": item.kind,
            "namespace": namespace,
            "name": item.name,
            "replicas": wanted,
            "restore": item.before is not None and wanted == item.before,
        },
    )


def _wait_step(step: Step) -> Step:
    return Step(
        id=step.id.replace("scale:", "wait:", 1),
        action="wait",
        kind=step.kind,
        target=step.target,
        summary=f"wait until the pods of {step.kind} {step.data['name']} are gone",
        stage=1,
        data=step.data,
    )


def _notes(workloads: Sequence[Workload], asked: Data) -> Iterator[str]:
    if not workloads:
        yield f"there is no Deployment and no StatefulSet in {asked['namespace']}"
    if asked["replicas"] is None:
        yield from (
            f"{_name(item)} was not scaled by this command, and stays as it is"
            for item in workloads
            if item.before is None
        )
        return
    yield from (
        f"{item.autoscaler} rests while {_name(item)} has no replicas"
        for item in workloads
        if item.autoscaler
    )


def _name(item: Workload) -> str:
    return f"{item.kind} {item.name}"


# Actions -------------------------------------------------------------------------------------


def _scale(context: Context, step: Step) -> Data:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    apps = client.AppsV1Api(api_client(context.access))
    for _ in range(ATTEMPTS):
        item = _read(apps, step)
        if item is None:
            context.note(f"{step.kind} {step.target} is not there any more.")
            return {"answer": "gone"}
        change = _change(item, step.data)
        if change is None:
            return {"answer": "settled"}
        patch = getattr(apps, f"patch_namespaced_{_KINDS[step.data['kind']]}")
        try:
            with _asking(step, "changed"):
                patch(step.data["name"], step.data["namespace"], change, field_manager=_MANAGER)
        except ApiException:  # a conflict: somebody has changed it since it was read
            continue
        return {"answer": "accepted"}
    raise OpsError(
        f"{step.kind} {step.target} was changed by somebody else at each of {ATTEMPTS} attempts."
    )


def _change(item: Any, data: Data) -> dict[str, Any] | None:
    """Give what to send, bound to what was read; None where it is so already."""
    before = _before(item)
    kept: str | None = str(item.spec.replicas if before is None else before)
    if data["restore"]:
        kept = None
    if item.spec.replicas == data["replicas"] and (before is None) == (kept is None):
        return None
    return {
        "metadata": {
            "annotations": {BEFORE: kept},
            "resourceVersion": item.metadata.resource_version,
        },
        "spec": {"replicas": data["replicas"]},
    }


def _read(apps: Any, step: Step) -> Any:
    """Read an object; None: it is not there."""
    from kubernetes.client.exceptions import ApiException

    read = getattr(apps, f"read_namespaced_{_KINDS[step.data['kind']]}")
    try:
        with _asking(step, "read"):
            return read(step.data["name"], step.data["namespace"])
    except ApiException:
        return None


@contextmanager
def _asking(step: Step, done: str) -> Iterator[None]:
    """Let through that an object is not there or was changed; anything else is an `OpsError`."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status in (_NOT_FOUND, _CONFLICT):
            raise
        reason = f"{error.status} {error.reason}"
        raise OpsError(f"{step.kind} {step.target} could not be {done}: {reason}.") from error
    except HTTPError as error:
        raise OpsError(f"{step.kind} {step.target} could not be {done}: {error}.") from error


def _wait(context: Context, step: Step) -> None:
    from kubernetes import client

    api = api_client(context.access)
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)

    def missing() -> str:
        item = _read(apps, step)
        if item is None:
            return ""
        namespace = step.data["namespace"]
        with _listing(namespace):
            pods = _all(
                partial(
                    core.list_namespaced_pod,
                    namespace,
                    label_selector=_selector(item.spec.selector),
                    field_selector="status.phase!=Succeeded,status.phase!=Failed",
                )
            )
        return f"{len(pods)} pods are there, such as {pods[0].metadata.name}" if pods else ""

    context.wait(
        f"the pods of {step.target} to go",
        missing,
        deadline_seconds=WAIT_MINUTES * 60,
        interval_seconds=INTERVAL_SECONDS,
    )


def _selector(selector: Any) -> str:
    """Give a label selector as requests have it."""
    parts = [f"{key}={value}" for key, value in (selector.match_labels or {}).items()]
    for item in selector.match_expressions or []:
        values = ",".join(item.values or [])
        match item.operator:
            case "In":
                parts.append(f"{item.key} in ({values})")
            case "NotIn":
                parts.append(f"{item.key} notin ({values})")
            case "Exists":
                parts.append(item.key)
            case _:
                parts.append(f"!{item.key}")
    return ",".join(parts)


def verify(context: Context) -> tuple[Check, ...]:
    """Look at the namespace again."""
    found = observe(context.access, context.plan.arguments["namespace"])
    there = {(item.kind, item.name): item for item in found}
    return tuple(
        _check(there.get((step.data["kind"], step.data["name"])), step)
        for step in context.plan.steps
        if step.action == "scale"
    )


def _check(item: Workload | None, step: Step) -> Check:
    name, wanted = f"{step.kind} {step.data['name']}", step.data["replicas"]
    if item is None:
        return Check(
            name=name, status="warn", found="it is not there any more", expected=f"{wanted}"
        )
    return Check(
        name=name,
        status="ok" if item.replicas == wanted else "fail",
        found=f"{item.replicas} replicas are asked for",
        expected=f"{wanted}",
        remedy=f"see who has changed it: kubectl -n {step.data['namespace']} describe "
        f"{step.kind.lower()} {step.data['name']}",
    )


OPERATION: Final = Operation(
    name="scale",
    plan=plan,
    actions={"scale": _scale, "wait": _wait},
    verify=verify,
    carry_on=True,
    approved=False,
)

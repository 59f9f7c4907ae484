"""`ops teardown`: an environment is taken down whole, after a backup of it was read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from infra import naming
from ops import start, suspension
from ops.backup import databases
from ops.backup import steps as backups
from ops.checks import Check
from ops.errors import RefusedError
from ops.execution import Action, Context
from ops.operation import Operation, Planning
from ops.plan import Plan, Step
from ops.teardown import caps, clean_up, destroy, listing, look_back, report, sweep
from ops.teardown.clean_up import Contents

if TYPE_CHECKING:
    from ops.access import Access

WITHOUT_CLUSTER: Final = "without_cluster"
PODS: Final = "pods"
RAISED: Final = "max"


def plan(planning: Planning) -> Plan:
    """Read the state and the whole cloud, and decide; change nothing.

    Raises `IncompleteError` where anything cannot be seen, `RefusedError` where a rule says no.
    """
    access, arguments = planning.access, planning.arguments
    env = access.environment
    state = destroy.read_state(access)
    caps.refuse_others(state, env, access.settings.account_id)
    found = listing.inventory(access)
    foundation = look_back.foundation_items(found, access)
    outside = [item for item in found.items if item not in foundation]
    caps.refuse_lost_state(state, found, outside)
    caps.refuse_needed_keys(state, found)
    contents, cluster = _cluster(access, without=bool(arguments.get(WITHOUT_CLUSTER)))
    losses = report.sort_out(state, found, contents, environment=env, foundation=foundation)
    facts = {**losses.facts(), "cluster": cluster}
    planned = Plan(
        command=OPERATION.name,
        environment=env,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=arguments,
        facts=facts,
    )
    if not (state.entries or losses.parameters):
        return planned
    caps.refuse_too_much(
        planned,
        state,
        losses,
        [*contents.services, *contents.ingresses],
        arguments.get(RAISED) or {},
    )
    return replace(
        planned,
        steps=_steps(planning, state, losses, contents),
        notes=tuple(_notes(planning, losses)),
    )


def _steps(
    planning: Planning,
    state: destroy.State,
    losses: report.Losses,
    contents: Contents,
) -> tuple[Step, ...]:
    """Give all steps in their order: start, back up, clean up, destroy, sweep."""
    access, env = planning.access, planning.access.environment
    steps = list(_start_steps(planning))
    steps += backups.backup_steps(
        planning,
        stage=_after(steps),
        without=("kubernetes",) if planning.arguments.get(WITHOUT_CLUSTER) else (),
        started=bool(steps),
    )
    steps += clean_up.clean_up_steps(
        contents, env, pods=planning.arguments.get(PODS) or "evict", stage=_after(steps)
    )
    destroy.refuse_unsaved(state, steps, databases.instances(access.client("rds")))
    steps += destroy.destroy_steps(state, access, stage=_after(steps))
    steps += sweep.sweep_steps(losses, env, stage=_after(steps))
    return tuple(steps)


def _start_steps(planning: Planning) -> tuple[Step, ...]:
    """Give what starts a suspended environment: its finalizers need nodes, its backup databases."""
    wait = {"wait_minutes": start.WAIT_MINUTES}
    return start.plan(replace(planning, arguments=wait)).steps


def _after(steps: Sequence[Step]) -> int:
    return max((step.stage for step in steps), default=-1) + 1


def _cluster(access: Access, *, without: bool) -> tuple[Contents, str]:
    """Look into the cluster; say how that went.

    Raises `UnreachableClusterError` where it is there and this machine has no way to it, unless
    the operator goes without.
    """
    from ops.kubernetes import NoClusterError, UnreachableClusterError, api_client

    if without:
        return Contents(), "left alone"
    try:
        return clean_up.look(api_client(access)), "looked into"
    except NoClusterError as error:
        return Contents(), f"nothing to look into: {error}".removesuffix(" Nothing was done.")
    except UnreachableClusterError as error:
        raise RefusedError(
            f"{error}\nWhat its load balancers and volumes are cannot be cleaned up without it, "
            "and they would stay in AWS. Run this where the cluster can be reached. If that is "
            "impossible for good, --without-cluster goes on without; what then stays behind is "
            "told by the listing at the end."
        ) from error


def _notes(planning: Planning, losses: report.Losses) -> Iterator[str]:
    """Say what the operator should know before agreeing."""
    access = planning.access
    record = suspension.read(access)
    if record:
        yield suspension.told(access.environment, record, planning.now)
        yield "it is started first: what the cluster has to delete needs nodes"
    for run in planning.unfinished(OPERATION.name)[:1]:
        yield (
            f"the teardown {run.id} did not finish; ops resume {run.id} goes on with it, and this "
            "would be another one"
        )
    if planning.arguments.get(WITHOUT_CLUSTER):
        names = [*clean_up.balancers_of_cluster(access), *_claimed_volumes(access)]
        yield (
            "the cluster is left alone: what it has made in AWS may stay behind: "
            f"{', '.join(names) or 'nothing is tagged as its own'}"
        )
    yield from replace(losses, backups=report.last_backups(access)).notes(planning.now)


def _claimed_volumes(access: Access) -> list[str]:
    """Give the volumes that the cluster has made for claims, as AWS has them tagged."""
    cluster = naming.cluster(access.environment)
    wanted = [{"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]}]
    pages = access.client("ec2").get_paginator("describe_volumes").paginate(Filters=wanted)
    return [
        f"volume {item['VolumeId']}"
        for page in pages
        for item in page["Volumes"]
        if any(tag["Key"].startswith("kubernetes.io/created-for/") for tag in item.get("Tags", ()))
    ]


def verify(context: Context) -> tuple[Check, ...]:
    """List everything again. Raises `IncompleteError` where that cannot be done to the end."""
    facts = context.plan.facts
    found = listing.inventory(context.access, facts["networks"])
    foundation = look_back.foundation_items(found, context.access)
    return look_back.checks(
        found,
        foundation,
        environment=context.access.environment,
        kept_volumes=facts["kept_volumes"],
        expected=facts["left_alone"],
    )


ACTIONS: Final[Mapping[str, Action]] = {
    **start.ACTIONS,
    **backups.ACTIONS,
    "clean-up-balancers": clean_up.delete_balancers,
    "clean-up-claims": clean_up.delete_claims,
    "clean-up-gone": clean_up.await_gone,
    "destroy-reconcile": destroy.reconcile,
    destroy.PREPARE: destroy.prepare,
    "destroy": destroy.destroy,
    "sweep-parameters": sweep.delete_parameters,
    "sweep-log-groups": sweep.delete_log_groups,
}

OPERATION: Final = Operation(
    name="teardown",
    plan=plan,
    actions=ACTIONS,
    verify=verify,
    show=report.shown,
    by_name=True,
    bound=True,
)

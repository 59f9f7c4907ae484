"""`ops teardown`: an environment is taken down whole, after a backup of it was read back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from infra import naming
from ops import start, suspension
from ops.backup import databases
from ops.backup import steps as backups
from ops.checks import Check
from ops.errors import IncompleteError, RefusedError
from ops.execution import Action, Context
from ops.operation import Operation, Planning
from ops.plan import Plan, Step
from ops.teardown import caps, clean_up, destroy, listing, look_back, report, sweep
from ops.teardown.clean_up import Contents

if TYPE_CHECKING:
    from ops.access import Access
    from ops.teardown.listing import Inventory, Item

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
    without, home = bool(arguments.get(WITHOUT_CLUSTER)), access.settings.region
    contents, cluster = _cluster(access, without=without)
    balancers = [*contents.services, *contents.ingresses]
    caps.refuse_held_networks(
        state, found, environment=env, home=home, cleaned=without or bool(balancers)
    )
    losses = report.sort_out(
        state,
        found,
        contents,
        environment=env,
        foundation=foundation,
        home=home,
        log_groups=_log_groups(access),
    )
    caps.refuse_needed_keys(state, found, losses, home=home)
    facts = {**losses.facts(), "cluster": cluster}
    facts["kept_volumes"] = sorted({*facts["kept_volumes"], *_kept_before(planning, found)})
    planned = Plan(
        command=OPERATION.name,
        environment=env,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=arguments,
        facts=facts,
    )
    if not (state.entries or losses.parameters or losses.log_groups):
        return planned
    caps.refuse_too_much(planned, state, losses, balancers, arguments.get(RAISED) or {})
    steps = _steps(planning, state, losses, contents)
    gone = tuple(f"{what} is gone already: none of it is backed up" for what in backups.lost(steps))
    return replace(planned, steps=steps, notes=(*gone, *_notes(planning, losses)))


def _steps(
    planning: Planning,
    state: destroy.State,
    losses: report.Losses,
    contents: Contents,
) -> tuple[Step, ...]:
    """Give all steps in their order: start, back up, clean up, destroy, sweep."""
    access, env = planning.access, planning.access.environment
    if not (state.entries or losses.parameters):
        # Log groups that came back: there is nothing in them that a backup would have.
        return sweep.sweep_steps(losses, env, stage=0)
    steps = list(_start_steps(planning))
    steps += _backup_steps(planning, stage=_after(steps))
    steps += clean_up.clean_up_steps(
        contents, env, pods=planning.arguments.get(PODS) or "evict", stage=_after(steps)
    )
    if state.entries:
        steps += sweep.check_steps(losses, env, stage=_after(steps))
    destroy.refuse_unsaved(state, steps, databases.instances(access.client("rds")))
    steps += destroy.destroy_steps(state, access, stage=_after(steps))
    steps += sweep.sweep_steps(losses, env, stage=_after(steps))
    return tuple(steps)


def _backup_steps(planning: Planning, *, stage: int) -> tuple[Step, ...]:
    """Give the steps of the backup.

    Raises as `backups.backup_steps` does: what a teardown that was cut short has left may not be
    readable any more, and is in the backup of that run.
    """
    without = ("kubernetes",) if planning.arguments.get(WITHOUT_CLUSTER) else ()
    try:
        return backups.backup_steps(planning, stage=stage, without=without, started=stage > 0)
    except IncompleteError as error:
        for run in planning.unfinished(OPERATION.name)[:1]:
            raise IncompleteError(
                f"{error} The teardown {run.id} did not finish, and goes by a backup that it has "
                f"made: ops resume {run.id}"
            ) from error
        raise


def _kept_before(planning: Planning, found: Inventory) -> set[str]:
    """Give the volumes that are there since an earlier teardown said that they stay."""
    runs = planning.runs([OPERATION.name], "")
    kept = {volume for run in runs for volume in run.plan.facts.get("kept_volumes", ())}
    return kept & {item.id for item in found.of("volume")}


def _log_groups(access: Access) -> Sequence[str]:
    """Give the patterns of the names of log groups that the deploy role may delete."""
    from stacks.bootstrap import deploy_scope

    return deploy_scope(access.settings).log_groups


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
    """List everything again, until AWS lists nothing more that is gone.

    Raises `IncompleteError` where that cannot be done to the end.
    """
    access, facts = context.access, context.plan.facts
    swept = {
        name
        for step in context.plan.steps
        if step.action == "sweep-log-groups"
        for name in step.data["names"]
    }

    def left(found: Inventory) -> list[Item]:
        there = [item for item in _orphans(found) if item.label not in facts["left_alone"]]
        late = [item.id for item in there if item.kind == "log group" and item.id in swept]
        for name in sweep.deleted_log_groups(context, late):
            context.note(f"deleted {name}, which had come back")
        return there

    def _orphans(found: Inventory) -> list[Item]:
        return look_back.orphans(
            found,
            look_back.foundation_items(found, access),
            environment=access.environment,
            kept_volumes=facts["kept_volumes"],
        )

    found = look_back.settled(context, lambda: listing.inventory(access, facts["networks"]), left)
    return _checks(access, found, facts["kept_volumes"], facts["left_alone"])


def still_there(access: Access, planned: Plan) -> tuple[Check, ...]:
    """Say what is there although there is nothing to do: what no state knows is left alone."""
    facts = planned.facts
    return _checks(access, listing.inventory(access), facts["kept_volumes"], facts["left_alone"])


def _checks(
    access: Access, found: Inventory, kept_volumes: Collection[str], expected: Collection[str]
) -> tuple[Check, ...]:
    return look_back.checks(
        found,
        look_back.foundation_items(found, access),
        environment=access.environment,
        kept_volumes=kept_volumes,
        expected=expected,
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
    "check-parameters": sweep.check_parameters,
    "sweep-parameters": sweep.delete_parameters,
    "sweep-log-groups": sweep.delete_log_groups,
}

OPERATION: Final = Operation(
    name="teardown",
    plan=plan,
    actions=ACTIONS,
    verify=verify,
    idle=still_there,
    show=report.shown,
    by_name=True,
    bound=True,
)

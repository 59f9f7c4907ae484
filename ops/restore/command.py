"""`ops restore`: the operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup import audit, databases
from ops.backup.manifest import STATE
from ops.backup.store import open_store
from ops.checks import Check
from ops.errors import RefusedError
from ops.execution import Context
from ops.operation import Operation, Planning
from ops.plan import Data, Plan
from ops.restore import actions, objects, observe, steps, updates
from ops.restore.steps import Asked

if TYPE_CHECKING:
    from ops.access import Access
    from ops.backup.manifest import Manifest
    from ops.backup.store import Store


def plan(planning: Planning) -> Plan:
    """Look at backup, state and cloud, and decide."""
    access, store = planning.access, open_store(planning.access)
    broken = observe.broken_keys(access)
    if any(key.purpose in ("backups", "state") for key in broken):
        return _keys_alone(planning, broken)
    arguments = observe.named(store, planning.arguments)
    _refuse_unfinished(planning, arguments)
    asked = Asked.of(arguments)
    manifest = observe.checked_manifest(
        store,
        str(arguments["from"]),
        repaired=tuple(key.arn for key in broken),
        parts=asked.parts,
        names=asked.databases,
    )
    mapping = arguments.get("map_namespaces") or {}
    seen = observe.observe(access, store, manifest, broken, mapping, asked.parts)
    planned = steps.plan_steps(seen, access.settings, asked, _resources(manifest))
    for step in planned:
        if step.action == "take-over":
            urns = [item["urn"] for item in step.data["former"]]
            updates.refuse_others(access, planning.setting.terminal, urns)
    return Plan(
        command=OPERATION.name,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=arguments,
        steps=planned,
        facts={"situation": seen.situation, "backup": manifest.id},
        notes=(
            *_latest(observe.passed_over(store, planning.arguments, manifest.id), manifest),
            *steps.notes(seen, access.settings, asked),
            *_ports(seen, asked, mapping),
        ),
    )


def _resources(manifest: Manifest) -> int:
    """Give how many resources the backup's state has."""
    file = manifest.file(STATE)
    return file.items if file else 0


def _latest(newer: Sequence[str], manifest: Manifest) -> Iterator[str]:
    """Say that the last good backup is not the newest one."""
    if newer:
        yield (
            f"the last good backup is {manifest.id}; newer ones were found damaged, are not "
            f"verified or lack a database: {', '.join(newer)} (ops backups list "
            f"{manifest.environment})"
        )


def _ports(seen: observe.Seen, asked: Asked, mapping: Mapping[str, str]) -> Iterator[str]:
    """Say what is other in a namespace that is restored as another."""
    if mapping and seen.objects and "kubernetes" in asked.parts:
        yield (
            f"Services in {', '.join(sorted(mapping.values()))} get nodes' ports that are free: "
            "those that they had may be in use"
        )


def _refuse_unfinished(planning: Planning, arguments: Data) -> None:
    """Refuse to begin anew what a run has begun: it knows what is its own."""
    backup = arguments["from"]
    if arguments.get("anew"):
        return
    for run in planning.unfinished(OPERATION.name):
        if run.plan.facts and run.plan.arguments.get("from") == backup:
            raise RefusedError(
                f"A restore from {backup} was begun and did not finish: {run.id}. Nothing was "
                f"changed. Go on with it: ops resume {run.id}; or give --anew to plan another, "
                "which leaves alone what that one has made."
            )


def _keys_alone(planning: Planning, broken: tuple[observe.Key, ...]) -> Plan:
    """Plan to make the keys usable: before that nobody can read what the backup holds."""
    access = planning.access
    return Plan(
        command=OPERATION.name,
        environment=access.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        arguments=planning.arguments,
        steps=steps.key_steps(broken),
        notes=(
            "backup or state cannot be read while its key is not usable: this mends keys alone",
            "the same command then plans the restore",
        ),
    )


def verify(context: Context) -> tuple[Check, ...]:
    """Look again at everything that was restored, and at the stack as a whole."""
    access, plan_ = context.access, context.plan
    if not plan_.facts:
        return (Check(name="keys", status="ok", found="usable; run the same command again"),)
    store = open_store(access)
    manifest = store.manifest(str(plan_.facts["backup"]))
    kept: dict[str, Any] = {}
    for step in plan_.steps:
        kept |= step.data.get("kept", {})
    return (
        *_databases(context),
        *_parameters(context, store, manifest),
        *_objects(context, store, manifest),
        _stack(context, kept),
        *_stack_file(access, kept),
    )


def _databases(context: Context) -> Iterator[Check]:
    rds = context.access.client("rds")
    made: dict[str, None] = {}
    for step in context.plan.steps:
        made |= dict.fromkeys(
            item["identifier"] for item in step.data.get("databases", {}).values()
        )
        if step.action == "restore-database":
            made[step.data["identifier"]] = None
    for name in made:
        found = databases.instance_state(rds, name)
        status = found["DBInstanceStatus"] if found else "not there"
        yield Check(
            name=f"database {name}",
            status="ok" if status in databases.READY else "fail",
            found=status,
            expected="available",
        )
    for step in context.plan.steps:
        for item in step.data.get("former", ()):
            yield _left(rds, str(item["identifier"]))


def _left(rds: Any, identifier: str) -> Check:
    found = databases.instance_state(rds, identifier)
    if found is None:
        return Check(name=f"former {identifier}", status="ok", found="it was not there any more")
    return Check(
        name=f"former {identifier}",
        status="warn",
        found=f"{found['DBInstanceStatus']}, in no stack: nothing of it was changed",
        expected="deleted, once nobody needs it",
        remedy=f"aws rds delete-db-instance --db-instance-identifier {identifier} "
        f"--final-db-snapshot-identifier {identifier}-last (its deletion protection comes first)",
    )


def _parameters(context: Context, store: Store, manifest: Manifest) -> Iterator[Check]:
    step = next((item for item in context.plan.steps if item.id == "restore-parameters"), None)
    if step is None:
        return
    names = set(step.data["names"])
    kept = [item for item in audit.kept_parameters(store, manifest) if item.name in names]
    ssm = context.access.client("ssm")
    other = [
        item.name
        for item in kept
        if ssm.get_parameter(Name=item.name, WithDecryption=True)["Parameter"]["Value"]
        != item.value
    ]
    yield Check(
        name="parameters",
        status="fail" if other else "ok",
        found=f"other than in the backup: {', '.join(other)}" if other else f"{len(kept)} equal",
        expected="as in the backup",
    )


def _objects(context: Context, store: Store, manifest: Manifest) -> Iterator[Check]:
    from ops.kubernetes import api_client

    done = context.results.get("restore-objects", {})
    if not done:
        return
    if done.get("left_out"):
        yield Check(name="objects", status="skipped", found=str(done["left_out"]))
        return
    mapping = context.plan.arguments.get("map_namespaces") or {}
    wanted = observe.wanted_objects(store, manifest, mapping)
    lacking = objects.lacking(api_client(context.access), wanted)
    yield Check(
        name="objects",
        status="fail" if lacking else "ok",
        found=f"missing or other: {', '.join(lacking)}" if lacking else f"{len(wanted)} there",
        expected="as in the backup",
    )


def _stack(context: Context, kept: dict[str, Any]) -> Check:
    """Preview with what the stack file says in the end: that is what a colleague will see."""
    report = updates.changes(context, kept)
    changed = [f"{item.op} {item.name}" for item in report.resources if item.changed]
    return Check(
        name="preview --refresh",
        status="fail" if changed else "ok",
        found=", ".join(changed) if changed else f"no change in {len(report.resources)} resources",
        expected="no change",
        remedy=f"ops preview {context.access.environment} --refresh --diff",
    )


def _stack_file(access: Access, kept: dict[str, Any]) -> Iterator[Check]:
    file = naming.stack_file(access.environment)
    for path, value, now in steps.stack_file_lines(access.settings, kept):
        yield Check(
            name=f"{file}, {path}",
            status="warn",
            found=str(now),
            expected=f"{value}, before anybody runs an update",
            remedy=f"write {value} there and commit it",
        )


OPERATION: Final = Operation(
    name="restore",
    plan=plan,
    actions=actions.ACTIONS,
    verify=verify,
    by_name=True,
)

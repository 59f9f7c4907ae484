"""The steps of a backup: a backup is made by them, and so is the first part of a teardown.

Which backup a run makes follows from the moment it began, as its journal has it, so that a plan
stays the same however often it is made, and a run that is resumed goes on with its own backup.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from infra import naming
from ops import versions
from ops.backup import audit, cluster, contents, databases, envelope, parameters
from ops.backup.manifest import (
    KUBERNETES,
    KUBERNETES_SECRETS,
    MANIFEST,
    PARAMETERS,
    SEAL,
    STATE,
    VERIFIED,
    VERSIONS,
    ClusterMode,
    File,
    Manifest,
    Omission,
    Snapshot,
    Table,
    seal_of,
)
from ops.backup.store import Store, described_key, file_of, open_store, write_private
from ops.errors import OpsError, RefusedError, UsageError
from ops.execution import Action, Context
from ops.plan import Data, Step
from ops.stack import open_stack

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace

    from ops.access import Access
    from ops.operation import Planning

SNAPSHOT_SECONDS: Final = 6 * 3600.0
"""How long a snapshot is waited for: the first of a large database takes hours."""
STAGES: Final = 3
"""How many stages the steps take."""
_SNAPSHOT: Final = "backup-snapshot"
_MANIFEST: Final = "backup-manifest"
_DATABASE: Final = "database:"
_LOST: Final = "settings name it, and its instance is not there"
_FILES: Final = ("backup-state", "backup-parameters", "backup-kubernetes", "backup-settings")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What there is to back up."""

    databases: databases.Found
    kubernetes: ClusterMode
    not_backed_up: tuple[Omission, ...]


def backup_id(context: Context) -> str:
    """Give the name of the backup that a run makes: the same in every process of the run."""
    begun = dt.datetime.fromisoformat(context.journal.records[0]["at"]).astimezone(dt.UTC)
    return naming.backup(context.access.environment, f"{begun:%Y%m%d-%H%M%S}")


def observe(
    access: Access, without: Sequence[str] = (), *, started: bool = False, lost: bool = False
) -> Seen:
    """Look at what there is to back up.

    `without`: what is left out on purpose, `kubernetes` or `database:NAME`. `started`: what is
    stopped has been started when the backup begins. `lost`: a database whose instance is not there
    any more does not hold the rest up.

    Raises `IncompleteError` where something cannot be seen, `RefusedError` where a database has no
    snapshot to be had, or is not there.
    """
    refuse_unusable_keys(access)
    parameters.read(access)  # now, and not when half of the rest is done
    left_out = left_out_databases(without)
    everything = databases.find(access)
    _refuse_renamed(access, everything)
    found = databases.without(everything, left_out, started=started)
    databases.refuse_unready(found, started=started)
    if not lost:
        databases.refuse_missing(found, access.environment)
    mode, omitted = _cluster_mode(access, without)
    purposely = (
        Omission(what=f"database {name}", why=f"left out on purpose: --without database:{name}")
        for name in left_out
    )
    missing = (Omission(what=f"database {name}", why=_LOST) for name in found.missing)
    others = (
        Omission(
            what=f"database instance {item['DBInstanceIdentifier']}",
            why="settings do not name it: it was left by a restore, or made by hand",
        )
        for item in found.others
    )
    never = _never(access)
    return Seen(
        databases=found,
        kubernetes=mode,
        not_backed_up=(*omitted, *purposely, *missing, *others, *never),
    )


def left_out_databases(without: Sequence[str]) -> tuple[str, ...]:
    """Give the databases that are left out on purpose, of `database:NAME`."""
    return tuple(
        dict.fromkeys(
            item.removeprefix(_DATABASE) for item in without if item.startswith(_DATABASE)
        )
    )


def refuse_without(without: Sequence[str]) -> None:
    """Raise `UsageError` for what a backup cannot be without."""
    for item in without:
        if item != KUBERNETES and not (item.startswith(_DATABASE) and item != _DATABASE):
            raise UsageError(
                f"--without {item}: expected kubernetes, or database:NAME of a database that has "
                "no snapshot to be had. State, parameters and databases are what a backup is for. "
                "Nothing was backed up."
            )


def _refuse_renamed(access: Access, found: databases.Found) -> None:
    """Refuse where the stack has another instance than settings say: it would not be backed up."""
    from ops.restore import state

    if not found.missing:
        return
    held = state.databases(state.read(access))
    live = {str(item["DBInstanceIdentifier"]) for item in found.others}
    for name in found.missing:
        identifier = state.identifier(held[name]) if name in held else ""
        if identifier in live:
            raise RefusedError(
                f"The stack has the instance {identifier} as the database {name}, and "
                f"{naming.stack_file(access.environment)} says another one. Nothing was backed up: "
                f"it would not be in the backup. Write identifier: {identifier} there and commit "
                "it."
            )


def refuse_unusable_keys(access: Access) -> None:
    """Refuse to begin where nothing could be encrypted.

    Raises `RefusedError`, or `IncompleteError` where the bootstrap's keys cannot be seen.
    """
    for alias in (
        naming.backups_key_alias(access.environment),
        naming.databases_key_alias(access.environment),
        naming.state_key_alias(access.environment),
    ):
        found = described_key(access.client("kms"), alias)
        if found["KeyState"] != "Enabled":
            raise RefusedError(
                f"The key {alias} is {found['KeyState']}, so a backup could not be encrypted, or "
                "not be restored. Nothing was backed up. Mend it: aws kms cancel-key-deletion, "
                f"aws kms enable-key --key-id {found['Arn']}"
            )


def _never(access: Access) -> tuple[Omission, ...]:
    """Say what no backup holds."""
    region = access.settings.region
    return (
        Omission(
            what="content of persistent volumes",
            why="manifests hold the claims, not what is in the volumes",
        ),
        Omission(
            what="container images",
            why="they are in the bootstrap's repositories, which outlive the environment",
        ),
        Omission(
            what="access keys of users",
            why="only who issued one ever had it: `ops users` issues new ones",
        ),
        Omission(
            what="objects that EKS and its add-ons make: in "
            f"{', '.join(sorted(cluster.SYSTEM_NAMESPACES))}; their webhooks, roles, definitions",
            why="every cluster has its own, with its own certificates",
        ),
        Omission(
            what="Jobs, and Pods that nothing owns",
            why="applied again they would do again what they did; CronJobs are kept",
        ),
        Omission(
            what="snapshots in another region",
            why=f"they are in {region} alone; only files are copied, and what is encrypted in the "
            f"copies opens by the keys in {region}",
        ),
    )


def backup_steps(
    planning: Planning, *, stage: int = 0, without: Sequence[str] = (), started: bool = False
) -> tuple[Step, ...]:
    """Give the steps of a backup that is made before what it holds is taken down.

    They take `STAGES` stages, from `stage` on. `started`: steps before them start what is stopped.
    Of a database that is gone already there is nothing to back up: see `lost`.

    Raises as `observe` does.
    """
    seen = observe(planning.access, without, started=started, lost=True)
    return steps_of(seen, planning.access.environment, stage=stage)


def lost(steps: Sequence[Step]) -> tuple[str, ...]:
    """Give the databases of which steps make no snapshot, since their instances are gone."""
    return tuple(
        item["what"]
        for step in steps
        for item in step.data.get("not_backed_up", ())
        if item["why"] == _LOST
    )


def steps_of(seen: Seen, env: str, *, stage: int) -> tuple[Step, ...]:
    """Give the steps that back up what was seen."""
    snapshots = tuple(
        Step(
            id=f"{_SNAPSHOT}:{name}",
            action=_SNAPSHOT,
            kind="snapshot",
            target=instance["DBInstanceIdentifier"],
            summary=f"snapshot database {instance['DBInstanceIdentifier']}"
            f" ({instance['AllocatedStorage']} GB)",
            stage=stage,
            data={"name": name, "identifier": instance["DBInstanceIdentifier"]},
        )
        for name, instance in sorted(seen.databases.databases.items())
    )
    files = [
        ("backup-state", "export the stack's state, its secrets encrypted as they are"),
        ("backup-parameters", "read every parameter and encrypt them on this machine"),
        ("backup-settings", f"keep {naming.stack_file(env)} and the versions in use"),
    ]
    if seen.kubernetes == "applied":
        files.append(("backup-kubernetes", "write the cluster's objects as manifests"))
    return (
        *snapshots,
        *(
            Step(id=id_, action=id_, kind="backup file", target=env, summary=summary, stage=stage)
            for id_, summary in files
        ),
        Step(
            id=_MANIFEST,
            action=_MANIFEST,
            kind="backup file",
            target=env,
            summary="write the manifest of all that, last, here and in the backup bucket",
            stage=stage + 1,
            data={
                "kubernetes": seen.kubernetes,
                "not_backed_up": [item.model_dump() for item in seen.not_backed_up],
            },
        ),
        Step(
            id="backup-verify",
            action="backup-verify",
            kind="backup file",
            target=env,
            summary="read the backup back from the bucket and verify it",
            stage=stage + 2,
        ),
    )


# What the steps do ---------------------------------------------------------------------------


def _snapshot(context: Context, step: Step) -> Data:
    """Make a database's snapshot, and wait for it."""
    access, backup = context.access, backup_id(context)
    rds, identifier = access.client("rds"), str(step.data["identifier"])
    name = naming.database_snapshot(identifier, backup.partition("_")[0])
    before: dict[str, Table] = {}
    unread = "its snapshot was being made already when the run went on"
    if databases.snapshot_state(rds, name) is None:
        context.wait(
            f"{identifier} to be available",
            lambda: databases.awaited(
                identifier,
                databases.instance_state(rds, identifier),
                "DBInstanceStatus",
                *databases.READY,
            ),
            deadline_seconds=SNAPSHOT_SECONDS,
            interval_seconds=databases.INTERVAL_SECONDS,
        )
        before, unread = _tables(access, rds, str(step.data["name"]), identifier)
        rds.create_db_snapshot(
            DBInstanceIdentifier=identifier,
            DBSnapshotIdentifier=name,
            Tags=databases.backup_tags(access, backup, context.journal.run),
        )
    context.wait(
        f"snapshot {name}",
        lambda: databases.awaited(name, databases.snapshot_state(rds, name), "Status", "available"),
        deadline_seconds=SNAPSHOT_SECONDS,
        interval_seconds=databases.INTERVAL_SECONDS,
    )
    after, unread = (
        _tables(access, rds, str(step.data["name"]), identifier) if before else ({}, unread)
    )
    made = databases.snapshot_state(rds, name)
    instance = databases.instance_state(rds, identifier)
    if made is None or instance is None:
        raise OpsError(f"{identifier} or its snapshot {name} is gone: somebody deleted it.")
    described = Snapshot(
        name=str(step.data["name"]),
        identifier=identifier,
        snapshot=name,
        arn=made["DBSnapshotArn"],
        created=made["SnapshotCreateTime"],
        engine_version=made["EngineVersion"],
        allocated_gb=int(made["AllocatedStorage"]),
        instance_class=instance["DBInstanceClass"],
        kms_key_id=made.get("KmsKeyId", ""),
        tables=contents.quiet(before, after),
        master_username=instance.get("MasterUsername", ""),
        database_name=instance.get("DBName", ""),
    )
    return {"snapshot": described.model_dump(mode="json"), "unread": unread}


def _tables(access: Access, rds: Any, name: str, identifier: str) -> tuple[dict[str, Table], str]:
    """Look into a database; where that is not possible, say why."""
    declared = next(item for item in access.settings.databases if item.name == name)
    instance = databases.instance_state(rds, identifier) or {}
    address = contents.address_of(instance, declared.database_name)
    try:
        return contents.tables(address, access.client("secretsmanager")), ""
    except contents.UnreachableError as error:
        return {}, str(error)


def _state(context: Context, _step: Step) -> Data:
    deployment = exported(context.access)
    resources = (json.loads(deployment).get("deployment") or {}).get("resources") or []
    return _written(context, STATE, deployment, items=len(resources))


def exported(access: Access) -> bytes:
    """Export the environment's state; its secrets stay encrypted by the secrets provider.

    The Automation API's own export would decrypt them.
    """
    stack = open_stack(access, create=False)
    workspace = cast("LocalWorkspace", stack.workspace)
    answer = workspace.pulumi_command.run(
        ["stack", "export", "--stack", stack.name],
        workspace.work_dir,
        dict(workspace.env_vars),
    )
    return answer.stdout.encode()


def _parameters(context: Context, _step: Step) -> Data:
    kept = parameters.read(context.access)
    done = _sealed(context, PARAMETERS, parameters.write(kept), items=len(kept))
    names = [item.name for item in kept]
    return {**done, "names": names, "versions": {item.name: item.version for item in kept}}


def _kubernetes(context: Context, _step: Step) -> Data:
    from ops.kubernetes import api_client

    manifests = cluster.objects(api_client(context.access))
    secrets = cluster.secrets(manifests)
    sealed = _sealed(context, KUBERNETES_SECRETS, json.dumps(secrets).encode(), items=len(secrets))
    files = list(sealed["files"])
    for name, content in cluster.files(manifests).items():
        items = len(cluster.parse(content))
        files += _written(context, f"{KUBERNETES}/{name}", content, items=items)["files"]
    return {"files": files}


def _settings(context: Context, _step: Step) -> Data:
    file = naming.stack_file(context.access.environment)
    content = (context.access.root / file).read_bytes()
    numbers = json.dumps(versions.versions(), indent=2).encode() + b"\n"
    return {
        "files": [
            *_written(context, file, content)["files"],
            *_written(context, VERSIONS, numbers)["files"],
        ]
    }


def _manifest(context: Context, step: Step) -> Data:
    """Write down what the backup holds: from now on it is one."""
    store = open_store(context.access)
    access, backup = context.access, backup_id(context)
    begun = context.journal.records[0]
    files = [
        File.model_validate(file)
        for id_ in _FILES
        for file in context.results.get(id_, {}).get("files", [])
    ]
    snapshots = {
        id_: detail for id_, detail in sorted(context.results.items()) if id_.startswith(_SNAPSHOT)
    }
    unread = tuple(
        Omission(what=contents.checksums_of(detail["snapshot"]["name"]), why=detail["unread"])
        for detail in snapshots.values()
        if detail["unread"]
    )
    whole = Manifest(
        id=backup,
        environment=access.settings.environment,
        account_id=access.settings.account_id,
        region=access.settings.region,
        created=dt.datetime.fromisoformat(begun["at"]),
        run=context.journal.run,
        why=str(begun.get("why", "")),
        backups_key=store.key_arn,
        databases_key=databases_key(access),
        kubernetes=step.data["kubernetes"],
        files=tuple(sorted(files, key=lambda file: file.name)),
        databases=tuple(
            Snapshot.model_validate_json(json.dumps(detail["snapshot"]))
            for detail in snapshots.values()
        ),
        parameters=tuple(context.results["backup-parameters"]["names"]),
        not_backed_up=(
            *(Omission.model_validate(item) for item in step.data["not_backed_up"]),
            *unread,
        ),
    )
    _complete_locally(store, whole)
    content = whole.to_bytes()
    store.write(backup, SEAL, seal_of(content))
    store.write(backup, MANIFEST, content)
    return {
        "backup": backup,
        "folder": str(store.path(backup)),
        "bucket": store.where(backup),
        "bytes": whole.size,
    }


def _complete_locally(store: Store, whole: Manifest) -> None:
    """Fetch what another machine has written, where a run goes on on this one."""
    for file in whole.files:
        path = store.path(whole.id, file.name)
        if not path.exists():
            write_private(path, store.fetch_checked(whole.id, file))


def databases_key(access: Access) -> str:
    """Give the ARN of the bootstrap's key of databases."""
    alias = naming.databases_key_alias(access.environment)
    return str(described_key(access.client("kms"), alias)["Arn"])


def _verify(context: Context, _step: Step) -> Data:
    """Read the backup back; raises `OpsError` with everything that is wrong with it."""
    store, backup = open_store(context.access), backup_id(context)
    seen = (*audit.checks(store, backup), *audit.copies(store, backup))
    wrong = [f"{check.name}: {check.found}" for check in seen if check.status != "ok"]
    if wrong:
        raise OpsError(
            f"The backup {backup} was written and is not good:\n"
            + "\n".join(f"    {line}" for line in wrong)
        )
    at = context.now().isoformat(timespec="seconds")
    verified = audit.record(seen, at=at, run=context.journal.run)
    store.write(backup, VERIFIED, json.dumps(verified, indent=2).encode() + b"\n")
    return {"backup": backup, "checks": len(seen)}


ACTIONS: Final[Mapping[str, Action]] = {
    _SNAPSHOT: _snapshot,
    "backup-state": _state,
    "backup-parameters": _parameters,
    "backup-kubernetes": _kubernetes,
    "backup-settings": _settings,
    _MANIFEST: _manifest,
    "backup-verify": _verify,
}
"""Action → what does it, for the plan of a backup and of whatever begins with one."""


def _written(context: Context, name: str, content: bytes, *, items: int = 0) -> dict[str, Any]:
    open_store(context.access).write(backup_id(context), name, content)
    return {"files": [file_of(name, content, items=items).model_dump()]}


def _sealed(context: Context, name: str, content: bytes, *, items: int) -> dict[str, Any]:
    """Encrypt what is secret, and write only that; its fingerprint tells it again."""
    store, backup = open_store(context.access), backup_id(context)
    bound = envelope_context(context.access.environment, backup, name)
    sealed = envelope.seal(store.envelopes, store.key_arn, bound, content)
    store.write(backup, name, sealed.text)
    file = file_of(name, sealed.text, items=items, fingerprint=sealed.fingerprint)
    return {"files": [file.model_dump()]}


def envelope_context(environment: str, backup: str, name: str) -> dict[str, str]:
    """Give what an envelope of a backup is bound to."""
    return {"environment": environment, "backup": backup, "file": name}


def _cluster_mode(
    access: Access, without: Sequence[str]
) -> tuple[ClusterMode, tuple[Omission, ...]]:
    from ops.kubernetes import NoClusterError, api_client

    what = "objects of the cluster"
    if KUBERNETES in without:
        return "absent", (Omission(what=what, why="left out on purpose: --without kubernetes"),)
    try:
        api_client(access)
    except NoClusterError as error:
        return "absent", (Omission(what=what, why=str(error)),)
    return "applied", ()

"""What a restore would do: decided purely, from what was found and what was asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.backup.manifest import PARTS, Manifest, Part, Snapshot
from ops.errors import RefusedError, UsageError
from ops.plan import Step
from ops.restore import state
from ops.restore.observe import Key, Seen
from ops.restore.overrides import Edits

if TYPE_CHECKING:
    from infra.settings import Database, Settings


def arguments(
    backup: str,
    *,
    only: Sequence[str],
    databases: Sequence[str],
    take_over: bool,
    map_namespaces: Sequence[str],
    rehearse: bool,
    anew: bool = False,
    empty_databases: Sequence[str] = (),
) -> dict[str, Any]:
    """Give what was asked for as a plan has it. Raises `UsageError` for what does not go."""
    if rehearse and (only or take_over or map_namespaces or empty_databases):
        raise UsageError(
            "--rehearse restores everything onto a copy: it takes no --only, --take-over, "
            "--map-namespace or --empty-database. Nothing was run."
        )
    pairs = [text.partition("=") for text in map_namespaces]
    if wrong := [f"{old}{sign}{new}" for old, sign, new in pairs if not (old and new)]:
        raise UsageError(f"--map-namespace {wrong[0]}: expected OLD=NEW. Nothing was run.")
    given = {
        "from": backup,
        "only": list(only),
        "databases": list(databases),
        "take_over": take_over,
        "map_namespaces": {old: new for old, _, new in pairs},
        "anew": anew,
        "empty_databases": sorted(set(empty_databases)),
    }
    return {key: value for key, value in given.items() if value}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the operator wants restored."""

    parts: tuple[Part, ...] = PARTS
    databases: tuple[str, ...] = ()
    """Their names in settings; none: all of the backup."""
    take_over: bool = False
    """Restored databases take the place of live ones in the program."""
    empty_databases: tuple[str, ...] = ()
    """Those that an environment is made again with although there is nothing to make them from."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Asked:
        """Give what a plan's arguments ask for."""
        return cls(
            parts=tuple(arguments.get("only") or PARTS),
            databases=tuple(arguments.get("databases") or ()),
            take_over=bool(arguments.get("take_over")),
            empty_databases=tuple(arguments.get("empty_databases") or ()),
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """A database that is restored, and how."""

    snapshot: Snapshot
    index: int
    """Its place in the stack file."""
    identifier: str
    """The instance that is made."""
    declared: str
    """The instance that the stack file names."""
    takes_over: bool
    live: bool
    """Whether the instance that the stack file names is there."""
    storage_gb: int
    """What the stack file has to say; no instance becomes smaller."""
    grows: bool
    """Whether that is more than it says."""

    @property
    def kept(self) -> Edits:
        """What the stack file says afterwards."""
        edits: dict[str, str | int] = {f"databases[{self.index}].identifier": self.identifier}
        if self.grows:
            edits[f"databases[{self.index}].storage_gb"] = self.storage_gb
        return edits

    @property
    def once(self) -> Edits:
        """What is said for one update alone."""
        return {f"databases[{self.index}].snapshot_identifier": self.snapshot.snapshot}


def targets(seen: Seen, settings: Settings, asked: Asked) -> tuple[Target, ...]:
    """Decide which databases are restored, and into what.

    Raises `UsageError` for one that is not in the backup, `RefusedError` for one that does not fit
    the settings.
    """
    if "databases" not in asked.parts:
        return ()
    kept = {item.name: item for item in seen.manifest.databases}
    unknown = sorted(set(asked.databases) - kept.keys())
    if unknown:
        raise UsageError(
            f"The backup {seen.manifest.id} has no database {', '.join(unknown)}; it has "
            f"{', '.join(kept) or 'none'}. Nothing was changed."
        )
    return tuple(
        _target(seen, settings, kept[item.name], index, asked)
        for index, item in enumerate(settings.databases)
        if item.name in kept and (not asked.databases or item.name in asked.databases)
    )


def _target(seen: Seen, settings: Settings, snapshot: Snapshot, index: int, asked: Asked) -> Target:
    declared = settings.databases[index]
    wanted, found = (
        text.partition(".")[0] for text in (declared.engine_version, snapshot.engine_version)
    )
    if wanted != found:
        raise RefusedError(
            f"The snapshot {snapshot.snapshot} is of PostgreSQL {snapshot.engine_version}, and "
            f"{naming.stack_file(settings.environment)} says {declared.engine_version} for "
            f"{declared.name}. Nothing was changed. Set it to {found} for the restore, and upgrade "
            "afterwards."
        )
    refuse_other_owner(
        settings.environment,
        declared,
        f"The snapshot {snapshot.snapshot}",
        username=snapshot.master_username,
        database=snapshot.database_name,
    )
    live = declared.identifier in seen.instances
    return Target(
        snapshot=snapshot,
        index=index,
        identifier=free_identifier(declared.identifier, {*seen.instances, *seen.used}),
        declared=declared.identifier,
        takes_over=asked.take_over or not live,
        live=live,
        storage_gb=max(declared.storage_gb, snapshot.allocated_gb),
        grows=snapshot.allocated_gb > declared.storage_gb,
    )


def refuse_other_owner(
    env: str, declared: Database, what: str, *, username: str, database: str
) -> None:
    """Refuse what has another master user or database inside than settings say.

    Neither can be changed: the program would make another instance in its place. What is not known
    is empty.
    """
    file = naming.stack_file(env)
    for setting, found, wanted in (
        ("username", username, declared.username),
        ("database_name", database, declared.database_name),
    ):
        if found and found != wanted:
            raise RefusedError(
                f"{what} is of another {setting} than {declared.name} in {file}: {found}, not "
                f"{wanted}. An instance keeps that for good: the program would make another one. "
                f"Nothing was taken over. Write {setting}: {found} there first."
            )


def free_identifier(identifier: str, taken: Iterable[str]) -> str:
    """Give the name of a restored instance: `…-restored`, or with a number where that is taken.

    One that was used once is taken as well: its log groups outlive the instance, and an update that
    makes them again fails.
    """
    first = naming.restored_database(re.sub(r"-restored(-[0-9]+)?$", "", identifier))
    there = set(taken)
    number, name = 1, first
    while name in there:
        number += 1
        name = f"{first}-{number}"
    return name


def plan_steps(
    seen: Seen, settings: Settings, asked: Asked, resource_count: int = 0
) -> tuple[Step, ...]:
    """Give the steps of a restore in their order."""
    chosen = targets(seen, settings, asked)
    env, backup = settings.environment, seen.manifest.id
    if asked.empty_databases and seen.situation != "gone":
        raise UsageError(
            f"--empty-database: {_SITUATIONS[seen.situation]}. Only what is made again can be made "
            "empty. Nothing was changed."
        )
    steps = list(key_steps(seen.broken_keys))
    match seen.situation:
        case "gone":
            refuse_empty(seen, settings, asked, chosen)
            steps.append(_bring_up(env, backup, chosen, asked.empty_databases))
        case "state lost":
            steps.append(_import_state(env, backup, resource_count))
        case "there":
            steps += _database_steps(seen, env, chosen)
    if "parameters" in asked.parts and seen.parameters:
        steps.append(_parameters(env, backup, seen.parameters))
    if "kubernetes" in asked.parts and seen.objects:
        steps.append(_objects(env, backup, seen.objects))
    return tuple(steps)


def refuse_empty(seen: Seen, settings: Settings, asked: Asked, chosen: Sequence[Target]) -> None:
    """Refuse to make an environment again with an empty database that nobody asked for.

    Raises `UsageError` where one is asked for that cannot be empty.
    """
    env, restored = settings.environment, {target.snapshot.name for target in chosen}
    declared = {item.name: item.identifier for item in settings.databases}
    if wrong := [name for name in asked.empty_databases if name not in declared.keys() - restored]:
        why = "it is made from its snapshot" if wrong[0] in declared else "settings do not name it"
        raise UsageError(f"--empty-database {wrong[0]}: {why}. Nothing was changed.")
    left = [name for name in declared if name not in {*restored, *asked.empty_databases}]
    if left:
        kept = {item.name for item in seen.manifest.databases}
        why = "; ".join(
            f"{name}: " + ("not asked for" if name in kept else "the backup has no snapshot of it")
            for name in left
        )
        options = " ".join(f"--empty-database {name}" for name in left)
        raise RefusedError(
            f"{env} is gone, and would be made again with an empty database ({why}). Nothing was "
            "changed. Restore it as well (without --only and --database), or from a backup that "
            f"has it (ops backups list {env}). If it is to be new and empty: {options}"
        )
    used = [declared[name] for name in asked.empty_databases if declared[name] in seen.used]
    if used:
        raise RefusedError(
            f"The instance {used[0]} was there once, and its log groups still are: making them "
            f"again would fail. Nothing was changed. Delete them (aws logs describe-log-groups "
            f"--log-group-name-prefix /aws/rds/instance/{used[0]}/), or give it another identifier "
            f"in {naming.stack_file(env)}."
        )


def key_steps(broken: Sequence[Key]) -> tuple[Step, ...]:
    """Give the steps that make keys usable again."""
    return tuple(
        Step(
            id=f"rescue-key:{key.purpose}",
            action="rescue-key",
            kind="key",
            target=key.arn,
            summary=f"cancel the deletion of the {key.purpose} key, due {key.until}, and enable it"
            if key.until
            else f"enable the {key.purpose} key, which is {key.state}",
            stage=0,
            data={"key": key.arn},
        )
        for key in broken
    )


def edits_of(chosen: Sequence[Target], *, once: bool) -> dict[str, str | int]:
    """Give what settings say of restored databases: in the end, or `once` for the update."""
    edits: dict[str, str | int] = {}
    for target in chosen:
        edits |= target.kept
        if once:
            edits |= target.once
    return edits


def _update_data(backup: str, chosen: Sequence[Target]) -> dict[str, Any]:
    return {
        "backup": backup,
        "edits": edits_of(chosen, once=True),
        "kept": edits_of(chosen, once=False),
        "databases": {
            target.snapshot.name: {"identifier": target.identifier, "index": target.index}
            for target in chosen
        },
    }


def _bring_up(env: str, backup: str, chosen: Sequence[Target], empty: Sequence[str]) -> Step:
    said = ", ".join(f"{item.snapshot.snapshot} as {item.identifier}" for item in chosen) or "none"
    new = f"; new and EMPTY: {', '.join(empty)}" if empty else ""
    return Step(
        id="bring-up",
        action="update",
        kind="stack",
        target=env,
        summary=f"bring the stack up, its databases from their snapshots: {said}{new}",
        stage=1,
        data=_update_data(backup, chosen),
    )


def _import_state(env: str, backup: str, number: int) -> Step:
    return Step(
        id="import-state",
        action="import-state",
        kind="stack",
        target=env,
        summary=f"import the backup's state, whose cloud is still there ({number} resources), "
        "and refresh it",
        stage=1,
        data={"backup": backup},
    )


def _database_steps(seen: Seen, env: str, chosen: Sequence[Target]) -> list[Step]:
    taken = [target for target in chosen if target.takes_over]
    steps = [_restore_beside(seen, target) for target in chosen]
    if not taken:
        return steps
    steps.append(
        Step(
            id="keep-state",
            action="keep-state",
            kind="stack",
            target=env,
            summary="keep a copy of the state as it is, here and in the backup bucket",
            stage=2,
            data={"backup": seen.manifest.id},
        )
    )
    steps.append(_take_over(seen, env, taken))
    return steps


def _take_over(seen: Seen, env: str, taken: Sequence[Target]) -> Step:
    """Plan the exchange in the state and the update that goes with it: either both, or neither."""
    former = [
        {
            "name": target.snapshot.name,
            "urn": seen.held[target.snapshot.name]["urn"],
            "identifier": state.identifier(seen.held[target.snapshot.name]),
            "becomes": target.identifier,
        }
        for target in taken
        if target.snapshot.name in seen.held
    ]
    named = ", ".join(target.identifier for target in taken)
    out = ", ".join(item["identifier"] for item in former)
    leaving = f"take {out} out of the state, which stays as it is, and " if former else ""
    return Step(
        id="take-over",
        action="take-over",
        kind="stack",
        target=env,
        summary=f"{leaving}bring {named} into the program: import and update, nothing replaced",
        stage=3,
        data={**_update_data(seen.manifest.id, taken), "former": former},
    )


def _restore_beside(seen: Seen, target: Target) -> Step:
    return Step(
        id=f"restore-database:{target.snapshot.name}",
        action="restore-database",
        kind="database",
        target=target.identifier,
        summary=f"restore {target.snapshot.snapshot} beside {target.declared}, as "
        f"{target.identifier}",
        stage=1,
        data={
            "name": target.snapshot.name,
            "identifier": target.identifier,
            "snapshot": target.snapshot.snapshot,
            "like": common(
                target.snapshot.name,
                seen.instances.get(target.declared),
                seen.held.get(target.snapshot.name),
            ),
        },
    )


def common(
    name: str, live: Mapping[str, Any] | None, held: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give what a restored instance has in common with the one it stands beside.

    It is read from that instance, as RDS describes it; where it is gone, from what the state has.
    """
    if live:
        port = (live.get("Endpoint") or {}).get("Port") or live.get("DbInstancePort") or 0
        return {
            "subnet_group": live["DBSubnetGroup"]["DBSubnetGroupName"],
            "security_groups": [group["VpcSecurityGroupId"] for group in live["VpcSecurityGroups"]],
            "parameter_group": live["DBParameterGroups"][0]["DBParameterGroupName"],
            "instance_class": live["DBInstanceClass"],
            "port": int(port),
            "multi_az": bool(live.get("MultiAZ")),
            "certificate_authority": live["CACertificateIdentifier"],
            "iam_authentication": bool(live.get("IAMDatabaseAuthenticationEnabled")),
        }
    outputs = (held or {}).get("outputs", {})
    if not outputs:
        raise RefusedError(
            f"Neither a live instance nor the state says which network the database {name} belongs "
            "to. Nothing was changed. Bring the stack up first."
        )
    return {
        "subnet_group": outputs["dbSubnetGroupName"],
        "security_groups": list(outputs["vpcSecurityGroupIds"]),
        "parameter_group": outputs["parameterGroupName"],
        "instance_class": outputs["instanceClass"],
        "port": int(outputs["port"]),
        "multi_az": bool(outputs.get("multiAz")),
        "certificate_authority": outputs["caCertIdentifier"],
        "iam_authentication": bool(outputs.get("iamDatabaseAuthenticationEnabled")),
    }


def _parameters(env: str, backup: str, names: Sequence[str]) -> Step:
    return Step(
        id="restore-parameters",
        action="restore-parameters",
        kind="parameter",
        target=naming.parameter_path(env),
        summary=f"put {len(names)} parameters back that operators own: {', '.join(names)}",
        stage=5,
        data={"backup": backup, "names": list(names)},
    )


def _objects(env: str, backup: str, names: Sequence[str]) -> Step:
    return Step(
        id="restore-objects",
        action="restore-objects",
        kind="object",
        target=naming.cluster(env),
        summary=f"apply {len(names)} objects to the cluster: {_some(names)}",
        stage=6,
        data={"backup": backup, "names": list(names)},
    )


def _some(names: Sequence[str], limit: int = 10) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def notes(seen: Seen, settings: Settings, asked: Asked) -> tuple[str, ...]:
    """Say what the operator should know before agreeing."""
    env, manifest = settings.environment, seen.manifest
    chosen = targets(seen, settings, asked)
    said = [f"{_SITUATIONS[seen.situation]}; the data is of {_points(manifest)}"]
    omitted = {item.what: item.why for item in manifest.not_backed_up}
    kept = {item.name for item in manifest.databases}
    said += [
        f"the backup has no snapshot of the database {item.name}: "
        + omitted.get(f"database {item.name}", "settings did not name it then")
        for item in settings.databases
        if item.name not in kept
    ]
    if seen.cluster and "kubernetes" in asked.parts:
        said.append(f"objects of the cluster are left out: {seen.cluster}")
    if naming.suspension_parameter(env) in manifest.parameters:
        said.append(f"{env} was suspended when it was backed up; it is restored running")
    for target in chosen:
        if target.live and target.takes_over:
            said.append(f"{target.declared} is left as it is, and costs, until somebody deletes it")
        if seen.situation == "there" and not target.takes_over:
            said.append(
                f"{target.declared} stays the live one; --take-over brings {target.identifier} "
                "into the program in its place"
            )
    return tuple(said)


def _points(manifest: Manifest) -> str:
    moments = [item.created for item in manifest.databases] or [manifest.created]
    return f"{min(moments):%Y-%m-%d %H:%M:%S} UTC"


_SITUATIONS: Final = {
    "gone": "the environment is gone: it is made again",
    "state lost": "the stack knows of nothing, and the cloud is as the backup's state says",
    "there": "the environment is there: what is missing or differs is put back",
}


def stack_file_lines(settings: Settings, kept: Edits) -> list[tuple[str, str | int, str | int]]:
    """Give what the stack file has to say and does not: path, value, and what it says."""
    said = []
    for path, value in kept.items():
        found = re.fullmatch(r"databases\[(\d+)\]\.(\w+)", path)
        if found is None:
            continue
        now = getattr(settings.databases[int(found[1])], found[2])
        if now != value:
            said.append((path, value, now))
    return said

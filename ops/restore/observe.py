"""What a restore finds: the backup, the state, the cloud. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops import checks
from ops.backup import audit, databases, parameters
from ops.backup.manifest import PARTS, STATE, Manifest, Part
from ops.backup.prune import last_good
from ops.backup.store import DamagedError, MissingError, Store, described_key
from ops.errors import ExitCode, IncompleteError, OpsError, RefusedError, UsageError
from ops.plan import Data
from ops.restore import objects, state

if TYPE_CHECKING:
    from ops.access import Access
    from ops.backup.cluster import Manifest as Object

Situation = Literal["gone", "state lost", "there"]
"""`gone`: neither state nor cloud. `state lost`: the cloud is as the backup's state says, and the
stack knows nothing of it. `there`: the stack has resources."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key that is needed and is not usable."""

    purpose: str
    arn: str
    state: str
    until: str
    """When it is deleted for good; empty where it is only disabled."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is there."""

    manifest: Manifest
    situation: Situation
    broken_keys: tuple[Key, ...]
    instances: Mapping[str, Mapping[str, Any]]
    held: Mapping[str, state.Resource]
    """Database → its instance in the state."""
    parameters: tuple[str, ...]
    """Operator-owned parameters that are missing or have another value."""
    objects: tuple[str, ...]
    """Objects in the cluster that are missing or differ."""
    cluster: str
    """Why objects are left out; empty where they are not."""
    used: frozenset[str] = frozenset()
    """Identifiers of instances whose log groups are there: of each, whether or not it still is."""


_LOG_GROUPS: Final = "/aws/rds/instance/"
"""What the names of instances' log groups begin with: RDS fixes it."""
LATEST: Final = "latest"
"""Stands for the last good backup where a backup is to be named."""


def named(store: Store, arguments: Data) -> Data:
    """Give the arguments with the backup's own name, where they ask for the latest.

    Raises `UsageError` where there is none.
    """
    if arguments["from"] != LATEST:
        return arguments
    names = [item.name for item in store.access.settings.databases]
    good = last_good(tuple(audit.entries(store)), names)
    if good is None:
        raise UsageError(
            f"There is no whole backup of {store.access.environment}. Nothing was done. "
            f"See: ops backups list {store.access.environment}"
        )
    return {**arguments, "from": good.id}


def passed_over(store: Store, asked: Data, chosen: str) -> tuple[str, ...]:
    """Give the backups that are newer than the one that was chosen as the latest good one."""
    return tuple(id_ for id_ in store.ids() if asked["from"] == LATEST and id_ > chosen)


def broken_keys(access: Access) -> tuple[Key, ...]:
    """Give the bootstrap's keys that a restore needs and that are disabled or being deleted.

    Raises `IncompleteError` where they cannot be seen.
    """
    env, kms = access.environment, access.client("kms")
    found = []
    for purpose, alias in (
        ("backups", naming.backups_key_alias(env)),
        ("databases", naming.databases_key_alias(env)),
        ("state", naming.state_key_alias(env)),
    ):
        key = described_key(kms, alias)
        if key["KeyState"] != "Enabled":
            until = key.get("DeletionDate")
            found.append(
                Key(
                    purpose=purpose,
                    arn=key["Arn"],
                    state=key["KeyState"],
                    until=f"{until:%Y-%m-%d}" if until else "",
                )
            )
    return tuple(found)


def checked_manifest(
    store: Store,
    backup: str,
    *,
    repaired: tuple[str, ...] = (),
    parts: Sequence[Part] = PARTS,
    names: Sequence[str] = (),
) -> Manifest:
    """Give the manifest of a backup of which everything is good that is to be restored.

    `repaired`: keys that the plan makes usable first. `parts`, and `names` of databases: what is
    asked for; what is wrong with the rest, or with a copy on this machine, is no reason.

    Raises `RefusedError` with everything that is wrong, `IncompleteError` where it cannot all be
    seen, `UsageError` where there is none.
    """
    env = store.access.environment
    try:
        manifest = store.manifest(backup)
    except MissingError as error:
        raise UsageError(
            f"There is no whole backup {backup} of {env}: {error} Nothing was changed. See: "
            f"ops backups list {env}"
        ) from error
    except IncompleteError as error:
        raise IncompleteError(f"{error} Nothing was changed.") from error
    except OpsError as error:
        raise RefusedError(
            f"The backup {backup} is not good: {error} Nothing was changed."
        ) from error
    here = (env, store.access.settings.account_id, store.access.settings.region)
    made = (manifest.environment, manifest.account_id, manifest.region)
    if made != here:
        raise RefusedError(
            f"The backup {backup} is of {', '.join(made)}; this is {', '.join(here)}. Nothing was "
            "changed."
        )
    expected = {f"key {arn}" for arn in repaired}
    bad = [
        item
        for item in audit.checks(store, backup, parts, names)
        if item.status != "ok" and item.name not in expected
    ]
    if bad:
        said = "\n".join(f"    {item.name}: {item.found}" for item in bad)
        error_ = IncompleteError if checks.exit_code(bad) is ExitCode.INCOMPLETE else RefusedError
        raise error_(
            f"The backup {backup} is not good. Nothing was changed.\n{said}\n"
            f"Take another one: ops backups list {env}"
        )
    return manifest


def observe(
    access: Access,
    store: Store,
    manifest: Manifest,
    broken: tuple[Key, ...],
    mapping: Mapping[str, str],
    parts: Sequence[Part] = PARTS,
) -> Seen:
    """Look at state and cloud, and there at what is asked for alone.

    Raises `IncompleteError`, or `RefusedError` for a half of state or cloud.
    """
    found = state.read(access)
    instances = databases.instances(access.client("rds"))
    situation = _situation(access, store, manifest, found, instances)
    if situation == "there":
        _refuse_suspended(access)
    lacking, cluster = (
        _lacking_objects(access, store, manifest, mapping, gone=situation == "gone")
        if "kubernetes" in parts
        else ((), "")
    )
    return Seen(
        manifest=manifest,
        situation=situation,
        broken_keys=broken,
        instances=instances,
        held=state.databases(found),
        parameters=_parameters(access, store, manifest, compare=situation != "gone")
        if "parameters" in parts
        else (),
        objects=lacking,
        cluster=cluster,
        used=_used(access),
    )


def _used(access: Access) -> frozenset[str]:
    """Give the identifiers that instances have had, as their log groups say."""
    from botocore.exceptions import BotoCoreError, ClientError

    pages = access.client("logs").get_paginator("describe_log_groups")
    try:
        return frozenset(
            group["logGroupName"].removeprefix(_LOG_GROUPS).partition("/")[0]
            for page in pages.paginate(logGroupNamePrefix=_LOG_GROUPS)
            for group in page["logGroups"]
        )
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The log groups of databases could not be listed: {error}. Nothing was changed."
        ) from error


def _situation(
    access: Access,
    store: Store,
    manifest: Manifest,
    found: state.Deployment,
    instances: Mapping[str, Any],
) -> Situation:
    if state.in_cloud(found):
        return "there"
    former = state.parse(audit_file(store, manifest, STATE))
    left, missing = _surviving(access, former, manifest, instances)
    if not left:
        return "gone"
    if not missing:
        return "state lost"
    raise RefusedError(
        f"The stack {access.environment} is empty, and of what the backup's state describes a "
        f"part is still there: {', '.join(left)}; not there: {', '.join(missing)}. Nothing was "
        "changed: neither the old state nor a new environment would be true. Remove what is left, "
        "or make the rest, then restore."
    )


def _surviving(
    access: Access,
    former: state.Deployment,
    manifest: Manifest,
    instances: Mapping[str, Any],
) -> tuple[list[str], list[str]]:
    """Ask the cloud for what cannot be mistaken: networks by their ids, databases by theirs."""
    from botocore.exceptions import BotoCoreError, ClientError

    vpcs = [item["id"] for item in state.in_cloud(former) if item["type"] == state.VPC]
    try:
        pages = access.client("ec2").get_paginator("describe_vpcs").paginate()
        there = {vpc["VpcId"] for page in pages for vpc in page["Vpcs"]}
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The networks of the account could not be listed: {error}. Nothing was changed."
        ) from error
    looked = {f"network {id_}": id_ in there for id_ in vpcs}
    looked |= {
        f"database {item.identifier}": item.identifier in instances for item in manifest.databases
    }
    left = [name for name, is_there in looked.items() if is_there]
    return left, [name for name in looked if name not in left]


def audit_file(store: Store, manifest: Manifest, name: str) -> bytes:
    """Fetch a file of a backup that its manifest names."""
    file = manifest.file(name)
    if file is None:
        raise RefusedError(f"The backup {manifest.id} has no {name}. Nothing was changed.")
    try:
        return store.fetch_checked(manifest.id, file)
    except (MissingError, DamagedError) as error:
        raise RefusedError(
            f"The backup {manifest.id} is not good: {error} Nothing was changed."
        ) from error


def operators_parameters(
    access: Access, kept: tuple[parameters.Kept, ...]
) -> tuple[parameters.Kept, ...]:
    """Give those that the program does not make: they are the operators' to restore."""
    env = access.environment
    programs = {
        naming.parameter(env, item.name)
        for item in access.settings.parameters.catalogue
        if item.owner == "program"
    }
    application = f"{naming.parameter_path(env)}/"
    return tuple(
        item for item in kept if item.name.startswith(application) and item.name not in programs
    )


def _parameters(
    access: Access, store: Store, manifest: Manifest, *, compare: bool
) -> tuple[str, ...]:
    kept = operators_parameters(access, audit.kept_parameters(store, manifest))
    if not compare:
        return tuple(item.name for item in kept)
    live = parameters.live(access, [item.name for item in kept])
    return tuple(item.name for item in kept if live.get(item.name) != item.value)


def _lacking_objects(
    access: Access, store: Store, manifest: Manifest, mapping: Mapping[str, str], *, gone: bool
) -> tuple[tuple[str, ...], str]:
    """Give the objects that are missing or differ, or why none are looked for."""
    from ops.kubernetes import NoClusterError, UnreachableClusterError, api_client

    if manifest.kubernetes == "absent":
        return (), "the backup has none of the cluster"
    wanted = wanted_objects(store, manifest, mapping)
    if gone:  # the cluster is made anew, and gets every one of them
        return tuple(objects.identity(item) for item in wanted), ""
    try:
        client = api_client(access)
    except NoClusterError as error:
        return (), str(error)
    except UnreachableClusterError as error:
        raise RefusedError(
            f"{error}\nThe cluster's objects could not be compared with the backup's, and nothing "
            "was changed. The rest can be restored from here: give --only databases --only "
            "parameters."
        ) from error
    return tuple(objects.lacking(client, wanted)), ""


def wanted_objects(store: Store, manifest: Manifest, mapping: Mapping[str, str]) -> list[Object]:
    """Give the objects of a backup that a restore applies."""
    return objects.operators(audit.kept_objects(store, manifest), mapping)


def _refuse_suspended(access: Access) -> None:
    env = access.environment
    ssm, name = access.client("ssm"), naming.suspension_parameter(env)
    try:
        ssm.get_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        return
    raise RefusedError(
        f"{env} is suspended (parameter {name}): a restore needs nodes and databases that run. "
        f"Nothing was changed. Start it first: ops start {env}"
    )

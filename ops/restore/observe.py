"""What a restore finds: the backup, the state, the cloud. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops import checks
from ops.backup import audit, databases, parameters
from ops.backup.manifest import STATE, Manifest
from ops.backup.prune import last_good
from ops.backup.store import MissingError, Store, described_key
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


LATEST: Final = "latest"
"""Stands for the last good backup where a backup is to be named."""


def named(store: Store, arguments: Data) -> Data:
    """Give the arguments with the backup's own name, where they ask for the latest.

    Raises `UsageError` where there is none.
    """
    if arguments["from"] != LATEST:
        return arguments
    good = last_good(tuple(audit.entries(store)))
    if good is None:
        raise UsageError(
            f"There is no whole backup of {store.access.environment}. Nothing was done. "
            f"See: ops backups list {store.access.environment}"
        )
    return {**arguments, "from": good.id}


def broken_keys(access: Access) -> tuple[Key, ...]:
    """Give the bootstrap's keys that a restore needs and that are disabled or being deleted.

    Raises `IncompleteError` where they cannot be seen.
    """
    env, kms = access.environment, access.client("kms")
    found = []
    for purpose, alias in (
        ("backups", naming.backups_key_alias(env)),
        ("databases", naming.databases_key_alias(env)),
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


def checked_manifest(store: Store, backup: str, *, repaired: tuple[str, ...] = ()) -> Manifest:
    """Give the manifest of a backup of which every part is good.

    `repaired`: keys that the plan makes usable first. Raises `RefusedError` with everything that
    is wrong, `IncompleteError` where it cannot all be seen, `UsageError` where there is none.
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
        for item in audit.checks(store, backup)
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
) -> Seen:
    """Look at state and cloud. Raises `IncompleteError`, or `RefusedError` for a half of either."""
    found = state.read(access)
    instances = databases.instances(access.client("rds"))
    situation = _situation(access, store, manifest, found, instances)
    if situation == "there":
        _refuse_suspended(access)
    lacking, cluster = (
        (_declared(store, manifest, mapping), _left_out(manifest))
        if situation == "gone"
        else _objects(access, store, manifest, mapping)
    )
    return Seen(
        manifest=manifest,
        situation=situation,
        broken_keys=broken,
        instances=instances,
        held=state.databases(found),
        parameters=_parameters(access, store, manifest, compare=situation != "gone"),
        objects=lacking,
        cluster=cluster,
    )


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
    return store.fetch_checked(manifest.id, file)


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
    live = {item.name: item.value for item in parameters.read(access)}
    return tuple(item.name for item in kept if live.get(item.name) != item.value)


def _objects(
    access: Access, store: Store, manifest: Manifest, mapping: Mapping[str, str]
) -> tuple[tuple[str, ...], str]:
    from ops.kubernetes import NoClusterError, api_client

    if manifest.kubernetes == "absent":
        return (), _left_out(manifest)
    try:
        client = api_client(access)
    except NoClusterError as error:
        return (), str(error)
    return tuple(objects.lacking(client, wanted_objects(store, manifest, mapping))), ""


def _declared(store: Store, manifest: Manifest, mapping: Mapping[str, str]) -> tuple[str, ...]:
    """Give every object that a restore applies to a cluster that is made anew."""
    return tuple(objects.identity(item) for item in wanted_objects(store, manifest, mapping))


def _left_out(manifest: Manifest) -> str:
    return "the backup has none of the cluster" if manifest.kubernetes == "absent" else ""


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

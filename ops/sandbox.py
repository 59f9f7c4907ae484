"""Sandbox mode: the cloud and the engine that need no account and no CLI.

The only module of ops that knows `infra.sandbox`.
"""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from infra import naming
from infra.sandbox import clusters, servers
from infra.sandbox.engine.backend import Backend, BackendError, StackReference, open_backend
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.session import HOME_SECRETS
from infra.sandbox.engine.state import package_of
from infra.sandbox.engine.storage import StorageError
from ops import homes
from ops.access import (
    RECORDS,
    Access,
    StackKind,
    client_config,
    clients,
    load_settings,
    project,
    require_environment,
    session_name,
    stack_name,
)
from ops.errors import OpsError, RefusedError, UsageError
from ops.report import SandboxReport

if TYPE_CHECKING:
    from pulumi.automation import PulumiCommand

    from infra.settings import Settings

_CONFIGURATION_FOLDER: Final = "configuration"
_OWN_FOLDERS: Final = (
    ".pulumi",
    _CONFIGURATION_FOLDER,
    clusters.FOLDER,
    RECORDS,
    "backups",
)
OPERATOR_VARIABLE: Final = "MONO_REPO_SANDBOX_OPERATOR"
"""Says who works in the sandbox, so that two operators can be rehearsed."""
_OPERATORS_ROLE: Final = "AWSReservedSSO_SandboxOperator_0123456789abcdef"
"""People reach the sandbox as Identity Center lets them into an account, by their names."""
_OWN_FILES: Final = (servers.RECORD, servers.LOG, "cloud.lock", HOME_SECRETS)


def home(root: Path) -> Path:
    """Give the sandbox's home: `.sandbox` in the project, or where the environment says."""
    return servers.home() if os.environ.get(servers.HOME_VARIABLE) else root / ".sandbox"


def access(root: Path, settings: Settings, *, state_only: bool = False) -> Access:
    """Reach the sandbox's cloud as an operator of the environment's account; start it if needed.

    `state_only`: only the state is looked at, so no cloud has to be there. Raises `RefusedError`
    where the environment's state describes another cloud than the one that is there.
    """
    folder = home(root)
    if not state_only:
        return _reach(root, settings, _cloud(folder, settings))
    found = servers.status(folder)
    if found.state == "running" and found.cloud:
        return _reach(root, settings, found.cloud)
    label = _label(found.cloud) if found.cloud else "sandbox, not running"
    return _access(root, settings, label, {}, _no_client)


def _reach(root: Path, settings: Settings, cloud: servers.Cloud) -> Access:
    try:
        credentials = servers.assume(
            cloud,
            settings.account_id,
            settings.region,
            role=_OPERATORS_ROLE,
            name=session_name(_operator()),
        )
    except servers.SandboxServerError as error:
        raise OpsError(str(error)) from error
    variables = servers.environment(cloud, settings.region, credentials)
    return _access(
        root, settings, _label(cloud), variables, _client(variables), caller=credentials.arn
    )


def embedded_command(access: Access) -> PulumiCommand:
    """Give the embedded engine, which the Automation API takes for the Pulumi CLI."""
    from infra.sandbox.engine.command import EmbeddedCommand

    folder = home(access.root)
    cloud = servers.status(folder).cloud
    command = EmbeddedCommand(folder, cloud_identity=cloud.identity if cloud else None)
    # It has what the Automation API uses of a PulumiCommand, and starts no process to be one.
    return cast("PulumiCommand", command)


def api_server(access: Access, cluster: Mapping[str, Any]) -> clusters.ApiServer | None:
    """Give the API server of an EKS cluster, started if needed; None where no program is one.

    `cluster`: as EKS describes it.
    """
    programs = clusters.programs()
    if programs is None:
        return None
    network = cluster.get("kubernetesNetworkConfig") or {}
    target = clusters.Target(
        name=str(cluster["name"]),
        authority=str(cluster["certificateAuthority"]["data"]),
        service_range=str(network.get("serviceIpv4Cidr") or clusters.SERVICE_RANGE),
    )
    try:
        return clusters.ensure(home(access.root), target, programs)
    except clusters.ClusterError as error:
        raise OpsError(str(error)) from error


def running_api_server(root: Path, cluster: str) -> clusters.ApiServer | None:
    """Give the API server of a cluster that runs already; None where none does."""
    try:
        found = clusters.known(home(root))
    except clusters.ClusterError as error:
        raise OpsError(str(error)) from error
    running = [item.server for item in found if item.state == "running"]
    return next((server for server in running if server.cluster == cluster), None)


@contextmanager
def configuration_file(access: Access, settings: Mapping[str, bool | str | int]) -> Iterator[Path]:
    """Give a file with the environment's configuration in force, and these settings over it.

    `settings`: a key's path in the project's configuration → value. The file is the caller's
    alone, and is removed at the end.
    """
    from infra.sandbox.engine.config import ConfigError, Edit, parse_key
    from infra.sandbox.engine.stackfile import effective_text

    name = naming.stack_file(access.environment)
    home_ = home(access.root)
    try:
        record = _backend(home_).record(StackReference(naming.PROJECT, access.environment))
        kept = [Edit.from_json(edit) for edit in record.edits.get(name, [])]
        ours = [
            Edit("set", *parse_key(key, naming.PROJECT, path=True), value)
            for key, value in settings.items()
        ]
        source = (access.root / name).read_text(encoding="utf-8")
        text = effective_text(source, [*kept, *ours], naming.PROJECT, name)
    except (BackendError, ConfigError) as error:
        raise OpsError(f"{_sentence(str(error))} Nothing was done.") from error
    folder = home_ / _CONFIGURATION_FOLDER
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=f"{access.environment}-", suffix=".yaml", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def running_update(access: Access, kind: StackKind, backend: str) -> str:
    """Say who is updating a stack whose state is in a folder; empty where nobody is."""
    reference = StackReference(project(kind), stack_name(kind, access.settings))
    opened = open_backend(backend, home(access.root), access.variables, version="")
    owner = opened.running(reference)
    return f"    {owner.command} by {owner.username}, process {owner.pid}" if owner else ""


def recorded_types(access: Access) -> Callable[[str], bool]:
    """Give the test whether a type is only recorded in state, having no API in the sandbox."""
    from infra.sandbox.engine.drivers import registry
    from infra.sandbox.engine.provider import ProviderError

    providers = registry(access.variables, home(access.root))

    @cache
    def is_recorded(type_: str) -> bool:
        try:
            return providers.configure(package_of(type_), {}).is_recorded(type_)
        except ProviderError:
            return False  # a package that the sandbox does not know is the engine's to refuse

    return is_recorded


def cloud_is_gone(access: Access) -> str:
    """Say why the cloud that a command began with answers no more; empty if it does."""
    found = _status(home(access.root))
    if found.state == "running":
        return ""
    if found.state == "silent":
        return f"{_sentence(found.detail)} It may be busy: look with `ops sandbox status`."
    return (
        f"{_sentence(found.detail)} It ended while this command ran, and what was in it is gone. "
        f"Start again with `ops sandbox reset {access.environment}`."
    )


def status(root: Path) -> SandboxReport:
    """Tell whether the cloud runs, and which stacks there are; change nothing."""
    folder = home(root)
    found = _status(folder)
    running = found.state == "running"
    cloud = found.cloud
    programs = clusters.programs()
    return SandboxReport(
        running=running,
        home=str(folder),
        identity=cloud.identity if cloud and running else "",
        endpoint=cloud.endpoint if cloud and running else "",
        pid=cloud.pid if cloud and running else None,
        message="" if running else _sentence(found.detail),
        stacks=[
            _described(backend, stack)
            for backend in (_backend(folder), *_half_moved(folder))
            for stack in backend.stacks()
        ]
        + [_described(*moved) for moved in (_moved(root, cloud) if cloud and running else ())],
        clusters=_clusters(folder),
        kubernetes=str(programs.kube_apiserver) if programs else "",
    )


def _clusters(folder: Path) -> list[dict[str, Any]]:
    try:
        found = clusters.known(folder)
    except clusters.ClusterError as error:
        raise OpsError(str(error)) from error
    return [
        {
            "name": status.server.cluster,
            "state": status.state,
            "endpoint": status.server.endpoint,
            "version": status.server.version,
            "memory": status.memory,
            "kubeconfig": str(status.server.kubeconfig),
            "log": str(status.server.log),
        }
        for status in found
    ]


def stop(root: Path) -> str:
    """Stop the cloud; give a sentence on what was done. What the cloud held is lost.

    Raises `RefusedError` while an update runs.
    """
    folder = home(root)
    if not folder.exists():
        return f"There is no sandbox in {folder}: nothing was stopped."
    _refuse_running(folder, _backend(folder).stacks(), "stopped")
    try:
        found = servers.stop(folder)
    except servers.SandboxServerError as error:
        raise OpsError(str(error)) from error
    if found.state == "running" and found.cloud:
        return (
            f"Stopped the sandbox's cloud (process {found.cloud.pid}); what was in it is gone. "
            "States that describe it are kept until `ops sandbox reset`."
        )
    return f"Nothing had to be stopped: {found.detail}."


def reset(root: Path) -> str:
    """Stop the cloud and forget every stack; give a sentence on what was done."""
    folder = home(root)
    if not folder.exists():
        return f"There is no sandbox in {folder}: nothing had to be reset."
    _refuse_running(folder, _backend(folder).stacks(), "reset")
    stopped = stop(root)
    for name in _OWN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    # A home that somebody else put something into is left.
    if not any(folder.iterdir()):
        folder.rmdir()
    return f"{stopped.split(';', 1)[0].rstrip('.')}. Every stack of the sandbox was forgotten."


def reset_environment(root: Path, environment: str) -> str:
    """Forget an environment's stacks whose cloud is gone; give a sentence on what was done.

    So is its account's, which other environments may share; one that is still there is left.
    Raises `RefusedError` for an environment's own stack whose resources are still there.
    """
    require_environment(environment, "Nothing was reset.")
    folder = home(root)
    stacks = list(_stacks_of(folder, load_settings(root, environment)))
    _refuse_running(folder, stacks, "reset")
    found = _status(folder)
    _refuse_silent(found)
    alive = found.cloud.identity if found.cloud and found.state == "running" else None
    there = [
        stack
        for stack in stacks
        if alive and _resources(folder, stack) and _cloud_of(folder, stack) == alive
    ]
    for stack in there:
        if stack.project != naming.ACCOUNT_PROJECT:
            raise RefusedError(
                f"The resources of {stack.project}/{stack.name} are in the running cloud: "
                "forgetting them would leave them behind. Nothing was reset. Remove them with "
                f"`ops --sandbox destroy {environment} --unprotect`, or reset the whole sandbox: "
                "`ops sandbox reset`"
            )
    lost = [stack for stack in stacks if stack not in there]
    for stack in lost:
        _backend(folder).remove(stack, force=True)
    lost += _forget_half_moved(folder, load_settings(root, environment), alive)
    kept = f" Left, as it is still there: {_names(there)}." if there else ""
    if not lost:
        return f"The sandbox has no stack {environment} to forget.{kept}"
    names = ", ".join(f"{stack.project}/{stack.name}" for stack in lost)
    return f"Forgotten: {names}.{kept}"


def _forget_half_moved(folder: Path, settings: Settings, alive: str | None) -> list[StackReference]:
    """Remove the states of a bootstrap that was killed in a cloud which has ended since."""
    ours = {
        StackReference(project(kind), stack_name(kind, settings)) for kind in get_args(StackKind)
    }
    lost = [
        (backend, stack)
        for backend in _half_moved(folder)
        for stack in backend.stacks()
        if stack in ours and (alive is None or backend.record(stack).cloud != alive)
    ]
    for backend, _ in lost:
        shutil.rmtree(backend.root, ignore_errors=True)
    return [stack for _, stack in lost]


def _cloud(folder: Path, settings: Settings) -> servers.Cloud:
    """Give the running cloud; start one unless the environment's state describes one that ended."""
    environment = settings.environment
    found = _status(folder)
    _refuse_silent(found)
    held = [stack for stack in _stacks_of(folder, settings) if _resources(folder, stack)]
    if found.state == "foreign":
        raise RefusedError(
            f"{_sentence(found.detail)} Nothing was run, and that server was left alone. "
            "Forget the recorded cloud with `ops sandbox reset` and start again."
        )
    if found.state != "running" and held:
        raise RefusedError(_lost(found, folder, held, environment))
    try:
        cloud = servers.ensure_running(folder)
    except servers.SandboxServerError as error:
        raise OpsError(str(error)) from error
    other = [stack for stack in held if _cloud_of(folder, stack) not in (None, cloud.identity)]
    if other:
        raise RefusedError(
            f"The state of {_names(other)} describes another cloud than the one that is running: "
            f"expected {_cloud_of(folder, other[0])}, found {cloud.identity}. Nothing was run. "
            "The sandbox's cloud keeps everything in memory, so what the state describes is gone; "
            f"forget it with `ops sandbox reset {environment}` and start again."
        )
    return cloud


def _lost(found: servers.Status, folder: Path, held: list[StackReference], environment: str) -> str:
    number = sum(_resources(folder, stack) for stack in held)
    log = f" Its log is {found.cloud.log}." if found.cloud else ""
    return (
        f"{_sentence(found.detail)} The state of {_names(held)} still describes {number} "
        "resources of a cloud that has ended with its server, which kept them in memory. "
        f"Nothing was run.{log} Forget them with `ops sandbox reset {environment}` and start again."
    )


def _status(folder: Path) -> servers.Status:
    try:
        return servers.status(folder)
    except servers.SandboxServerError as error:
        raise OpsError(str(error)) from error


def _access(
    root: Path,
    settings: Settings,
    label: str,
    variables: dict[str, str],
    client: Callable[..., Any],
    *,
    caller: str = "",
) -> Access:
    return Access(
        mode="sandbox",
        root=root,
        settings=settings,
        cloud=label,
        caller=caller,
        variables=variables,
        client=client,
        own_client=client,
        records=home(root) / RECORDS,
        backend=f"file://{home(root)}",
    )


def _client(variables: dict[str, str]) -> Callable[..., Any]:
    @cache
    def session() -> Any:
        import boto3

        return boto3.Session(
            botocore_session=servers.isolated_session(),
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=variables["AWS_SESSION_TOKEN"],
            region_name=variables["AWS_REGION"],
        )

    def make(service: str, region: str | None) -> Any:
        return session().client(
            service,
            region_name=region,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            config=client_config(),
        )

    return clients(make)


def _operator() -> str:
    """Give who works: as the environment says, else the user of this machine."""
    try:
        return os.environ.get(OPERATOR_VARIABLE) or getpass.getuser()
    except (KeyError, OSError):  # a user that has no name, as in some containers
        return f"user-{os.getuid()}"


def _no_client(service: str) -> Any:
    raise OpsError(
        f"The sandbox's cloud is not running, and without its {service} nothing can be looked up. "
        "Nothing was run. Any other command on an environment starts it."
    )


def _label(cloud: servers.Cloud) -> str:
    return f"sandbox {cloud.identity[:8]} at {cloud.endpoint}"


def _backend(folder: Path) -> Backend:
    return Backend(folder, version="")


def _stacks_of(folder: Path, settings: Settings) -> Iterator[StackReference]:
    """Give the environment's stacks, and its account's."""
    ours = {
        StackReference(project(kind), stack_name(kind, settings)) for kind in get_args(StackKind)
    }
    return (stack for stack in _backend(folder).stacks() if stack in ours)


def _resources(folder: Path, stack: StackReference) -> int:
    try:
        # What a killed update has recorded counts as well.
        return len(_backend(folder).open(stack).snapshot(Kept()).resources)
    except BackendError as error:
        raise OpsError(_sentence(str(error))) from error


def _cloud_of(folder: Path, stack: StackReference) -> str | None:
    try:
        return _backend(folder).record(stack).cloud
    except BackendError as error:
        raise OpsError(_sentence(str(error))) from error


def _described(backend: Backend, stack: StackReference) -> dict[str, Any]:
    try:
        return {
            "project": stack.project,
            "stack": stack.name,
            "resources": len(backend.open(stack).snapshot(Kept()).resources),
            "cloud": backend.record(stack).cloud,
        }
    except (BackendError, StorageError) as error:
        raise OpsError(_sentence(str(error))) from error


def _half_moved(folder: Path) -> Iterator[Backend]:
    """Give the backends of states that a bootstrap has not moved into its bucket yet."""
    for path in sorted((folder / RECORDS / homes.FOLDER).glob("*/*")):
        yield Backend(path, version="")


def _moved(root: Path, cloud: servers.Cloud) -> Iterator[tuple[Backend, StackReference]]:
    """Give the stacks whose state is in the buckets of the running cloud."""
    seen = set()
    for environment in naming.ENVIRONMENTS:
        try:
            settings = load_settings(root, environment)
            access = _reach(root, settings, cloud)
            found = {
                kind: homes.in_bucket(access, kind)
                for kind in get_args(homes.InlineKind)
                if homes.local(access, kind) is None
            }
        except UsageError:
            continue  # which account a stack file means cannot be told while it is broken
        for kind, place in found.items():
            stack = StackReference(project(kind), stack_name(kind, settings))
            if place and (place.url, stack) not in seen:
                seen.add((place.url, stack))
                yield open_backend(place.url, home(root), access.variables, version=""), stack


def _refuse_silent(found: servers.Status) -> None:
    try:
        servers.refuse_silent(found)
    except servers.SandboxServerError as error:
        raise OpsError(str(error)) from error


def _refuse_running(folder: Path, stacks: list[StackReference], done: str) -> None:
    for stack in stacks:
        owner = _backend(folder).running(stack)
        if owner is not None:
            raise RefusedError(
                f"An update of {stack.project}/{stack.name} is running (process {owner.pid}, "
                f"`{owner.command}`). Nothing was {done}. Wait for it to end."
            )


def _names(stacks: list[StackReference]) -> str:
    return " and ".join(f"{stack.project}/{stack.name}" for stack in stacks)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."

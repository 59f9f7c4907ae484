"""A project, a home and an engine that does as it is told: for tests of the commands."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pulumi.automation import CommandResult

from infra.sandbox.engine.command import EmbeddedCommand
from infra.sandbox.engine.deployment import UpdateContext, UpdateOptions, UpdateResult
from infra.sandbox.engine.provider import Provider
from infra.sandbox.engine.secrets import Crypter, home_crypter
from infra.sandbox.engine.state import STACK_TYPE, Put, Resource, Snapshot, make_urn
from infra.sandbox.engine.wire import PropertyMap

PROJECT = "shop"
STACK_URN = make_urn("dev", PROJECT, "", STACK_TYPE, "shop-dev")

Engine = Callable[[UpdateContext, UpdateOptions], UpdateResult]


@functools.cache
def _home_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "passphrase.json"
        home_crypter(path)
        return path.read_bytes()


def make_home(directory: Path) -> Path:
    """Make a sandbox home whose passphrase all tests share: its key is derived once."""
    home = directory / "home"
    home.mkdir()
    (home / "passphrase.json").write_bytes(_home_file())
    return home


def crypter(directory: Path) -> Crypter:
    """Give a crypter with a key of its own state, derived once for all tests."""
    path = directory / "passphrase.json"
    path.write_bytes(_home_file())
    return home_crypter(path)


def make_project(directory: Path, stack_file: str = "", config: str = "") -> Path:
    """Make a project named ``shop`` with a stack file for ``dev``."""
    root = directory / "project"
    root.mkdir()
    (root / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n{config}")
    if stack_file:
        (root / "Pulumi.dev.yaml").write_text(stack_file)
    return root


def no_drivers(_environment: Mapping[str, str]) -> Drivers:
    """Give a registry for engines that make nothing."""
    return Drivers()


class Drivers:
    """A registry without a package."""

    def configure(self, package: str, config: PropertyMap) -> Provider:
        """Refuse."""
        raise AssertionError(f"nobody asked for {package} with {config}")


def stack_resource(outputs: PropertyMap | None = None) -> Resource:
    """Give the root resource of the stack ``dev``."""
    return Resource(urn=STACK_URN, type=STACK_TYPE, custom=False, outputs=outputs or {})


def bucket(name: str, **fields: object) -> Resource:
    """Give a custom resource under the stack."""
    type_ = "aws:s3/bucket:Bucket"
    resource = Resource(
        urn=make_urn("dev", PROJECT, STACK_URN, type_, name),
        type=type_,
        custom=True,
        id=f"{name}-id",
        parent=STACK_URN,
    )
    return resource.changed(**fields)


def puts(*resources: Resource, error: str | None = None) -> Engine:
    """Give an engine that ends with exactly these resources."""

    def run_update(context: UpdateContext, options: UpdateOptions) -> UpdateResult:
        counts = {"create": len(resources)}
        summary = {"resourceChanges": counts, "durationSeconds": 1, "maybeCorrupt": False}
        context.emit({"preludeEvent": {"config": dict(context.config)}})
        if not options.dry_run:
            for resource in resources:
                context.recorder.end(None, Put(resource))
        context.emit({"summaryEvent": {**summary, "PolicyPacks": {}}})
        after = context.snapshot if options.dry_run else Snapshot(resources)
        return UpdateResult(after, counts, error)

    return run_update


class Cli:
    """Runs command lines in a project, as a user would."""

    def __init__(
        self,
        home: Path,
        project: Path,
        engine: Engine | None = None,
        *,
        cloud: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.project = project
        self.command = EmbeddedCommand(
            home,
            cloud_identity=cloud,
            environment=environment or {},
            registry=no_drivers,
            composers={},
            calls={},
            run_update=engine or puts(stack_resource()),
        )

    def __call__(self, *args: str) -> str:
        return self.run(*args).stdout

    def run(self, *args: str) -> CommandResult:
        """Run a command line and give all of its result."""
        return self.command.run(list(args), str(self.project), {})

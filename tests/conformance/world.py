"""A project with its own sandbox state, driven by command lines as a user would drive it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi.automation import CommandError

from infra.sandbox.engine.command import EmbeddedCommand

Json = Any
Op = tuple[str, str]
"""A resource as ``type::name``, and what is done with it."""

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""What marks a secret in a state file."""

STACK_TYPE = "pulumi:pulumi:Stack"
UPDATES = frozenset({"preview", "up", "refresh", "destroy"})


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    events: Sequence[dict[str, Json]] = ()

    @property
    def ok(self) -> bool:
        return self.code == 0

    def payloads(self, kind: str) -> Iterator[dict[str, Json]]:
        """Give the events of a kind, such as ``resourcePreEvent``."""
        return (event[kind] for event in self.events if kind in event)

    @property
    def ops(self) -> list[Op]:
        """What was begun, in the order in which it was."""
        begun = (payload["metadata"] for payload in self.payloads("resourcePreEvent"))
        return [(short(metadata["urn"]), metadata["op"]) for metadata in begun]

    @property
    def counts(self) -> dict[str, int]:
        """The summary's count of each operation."""
        summaries = list(self.payloads("summaryEvent"))
        return dict(summaries[-1]["resourceChanges"]) if summaries else {}

    def diagnostics(self, severity: str) -> list[dict[str, Json]]:
        """Give the diagnostics of a severity, such as ``error``."""
        found = self.payloads("diagnosticEvent")
        return [payload for payload in found if payload["severity"] == severity]

    def messages(self, severity: str) -> list[str]:
        """Give the texts of the diagnostics of a severity."""
        return [payload["message"].strip() for payload in self.diagnostics(severity)]

    def ops_of(self, name: str) -> list[str]:
        """Give what was done with the resource of a logical name."""
        return [op for resource, op in self.ops if resource.split("::")[-1] == name]


def short(urn: str) -> str:
    """Give a URN as ``type::name``; the stack's own as its type."""
    _, _, qualified, name = urn.split("::", 3)
    type_ = qualified.rsplit("$", 1)[-1]
    return type_ if type_ == STACK_TYPE else f"{type_}::{name}"


def revealed(value: Json) -> Json:
    """Take the wrapping off the secrets of an export that shows them."""
    if isinstance(value, dict):
        if SECRET.items() <= value.items():
            return json.loads(value["plaintext"])
        return {key: revealed(item) for key, item in value.items()}
    return [revealed(item) for item in value] if isinstance(value, list) else value


class World:
    """A project, its stack ``dev``, and the embedded command that works on them."""

    def __init__(
        self, directory: Path, project: str, program: str, command: EmbeddedCommand
    ) -> None:
        self.project = project
        self.command = command
        self.directory = directory
        self._runs = 0
        directory.mkdir(parents=True)
        (directory / "Pulumi.yaml").write_text(f"name: {project}\nruntime: python\n")
        self.write(program)

    def write(self, program: str) -> None:
        """Change the program."""
        (self.directory / "__main__.py").write_text(program)

    def run(self, *args: str) -> Ended:
        """Run a command line; an update also gives its events."""
        extra: list[str] = []
        log = self.directory.with_name(f"{self.directory.name}.events-{self._runs}")
        if args[0] in UPDATES:
            self._runs += 1
            extra = ["--event-log", str(log)]
            if args[0] != "preview" and "--preview-only" not in args:
                extra += ["--yes", "--skip-preview"]
        out: list[str] = []
        err: list[str] = []
        code = 0
        try:
            self.command.run(
                [*args, *extra], str(self.directory), {}, on_output=out.append, on_error=err.append
            )
        except CommandError as error:
            code = _exit_code(error)
        return Ended(code, "\n".join(out), "\n".join(err), _events(log))

    def done(self, *args: str) -> Ended:
        """Run a command line that must succeed."""
        ended = self.run(*args)
        assert ended.ok, f"{args} ended with {ended.code}: {ended.err}"
        return ended

    def deployment(self, *, shown: bool = False) -> dict[str, Json]:
        """Give the exported deployment."""
        flags = ["--show-secrets"] if shown else []
        deployment: dict[str, Json] = json.loads(self.done("stack", "export", *flags).out)
        return dict(deployment["deployment"])

    def resources(self, *, shown: bool = False) -> list[dict[str, Json]]:
        """Give the resources of the state, as the export has them."""
        return list(self.deployment(shown=shown).get("resources", []))

    def resource(self, name: str, *, shown: bool = False) -> dict[str, Json]:
        """Give the one resource of a logical name."""
        found = [r for r in self.resources(shown=shown) if r["urn"].split("::")[-1] == name]
        assert len(found) == 1, f"{len(found)} resources named {name!r}"
        return found[0]

    def inputs(self, name: str) -> dict[str, Json]:
        """Give a resource's inputs in the state, decrypted."""
        inputs: dict[str, Json] = revealed(self.resource(name, shown=True)["inputs"])
        return inputs

    def state_outputs(self, name: str) -> dict[str, Json]:
        """Give a resource's outputs in the state, decrypted."""
        outputs: dict[str, Json] = revealed(self.resource(name, shown=True)["outputs"])
        return outputs

    def names(self) -> list[str]:
        """Give the state's resources as ``type::name``, without the stack and the providers."""
        return [
            short(resource["urn"])
            for resource in self.resources()
            if not resource["type"].startswith(("pulumi:pulumi:Stack", "pulumi:providers:"))
        ]

    def urn(self, name: str) -> str:
        """Give the URN of the one resource of a logical name."""
        return str(self.resource(name)["urn"])

    def outputs(self, *, shown: bool = False) -> dict[str, Json]:
        """Give the stack's outputs."""
        flags = ["--show-secrets"] if shown else []
        outputs: dict[str, Json] = json.loads(self.done("stack", "output", "--json", *flags).out)
        return outputs


def _exit_code(error: CommandError) -> int:
    found = re.search(r"code: (-?\d+)", str(error))
    return int(found[1]) if found else 1


def _events(log: Path) -> list[dict[str, Json]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]

"""Does again, step by step, what a recorded case did, and tells what came out differently."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.config import Edit
from infra.sandbox.engine.stackfile import effective_text
from tests.conformance.comparison import (
    Tokens,
    comparable_entry,
    differences,
    differing_ops,
    needs,
    wrongly_ordered,
)
from tests.conformance.recordings import Step, steps
from tests.conformance.world import SECRET, Ended, World, short

Json = Any

_REFERENCE = re.compile(r"\$\{urn:(.*?)\}(?=$|\s)")
# A salt of the passphrase provider's form: nothing in the file is encrypted with it.
_SALT = "v1:AAAAAAAAAAA=:v1:AAAAAAAAAAAAAAAA:AAAA"


@dataclass(frozen=True)
class Difference:
    """One thing that came out otherwise than recorded."""

    step: str
    text: str


@dataclass
class Replay:
    """A case being done again in a world of its own."""

    case: str
    world: World
    home: Path
    endpoint: str
    tokens: Tokens = field(default_factory=Tokens)
    stack: str = "dev"
    needs: dict[str, set[str]] = field(default_factory=dict)

    def run(self) -> list[Difference]:
        """Run every step of the case; a difference does not end it."""
        self.tokens.known["endpoint"] = self.endpoint
        self.world.done("config", "set", "endpoint", self.endpoint)
        return [
            Difference(str(step["step"]), text)
            for step in steps(self.case)
            for text in self._differences(step)
        ]

    def _differences(self, step: Step) -> list[str]:
        kinds: Mapping[str, Callable[[Step], Iterator[str]]] = {
            "api": self._api,
            "cli": self._cli,
            "file16": self._file,
        }
        return list(kinds.get(step["command"], self._update)(step))

    # -- kinds of steps ----------------------------------------------------------------------------

    def _api(self, step: Step) -> Iterator[str]:
        """Call the cloud out of band."""
        call = step["call"]
        client = botocore.session.get_session().create_client(
            call["service"],
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id="t",
            aws_secret_access_key="t",
        )
        observed: dict[str, Json] = {"exit_ok": True}
        try:
            answer = getattr(client, call["method"])(**call["args"])
        except ClientError as error:
            observed = {"exit_ok": False, "error": str(error)}
        else:
            if "result" in step:
                observed["result"] = answer["Parameter"]["Value"]
        yield from self._compare(step, observed, "exit_ok", "result", "error")

    def _file(self, step: Step) -> Iterator[str]:
        """Write the stack file by hand."""
        text = step["text"].replace("${salt}", _SALT)
        (self.world.directory / step["path"]).write_text(text)
        # The file that the recorder replaced is, here, the sandbox's overrides.
        self.world.done("config", "rm", "endpoint")
        yield from ()

    def _cli(self, step: Step) -> Iterator[str]:
        """Run a command that is no update."""
        ended = self.world.run(*self._arguments(step))
        if step["args"][:2] == ["stack", "init"]:
            self.stack = step["args"][2]
        observed: dict[str, Json] = {"exit_ok": ended.ok, "stdout": ended.out}
        if "stdout_json" in step:
            observed["stdout_json"] = json.loads(ended.out)
        observed["stderr"] = ended.err
        yield from self._compare(step, observed, "exit_ok", "stdout", "stdout_json", "stderr")
        if "file_after" in step:
            yield from self._compare(step, {"file_after": self._stack_file()}, "file_after")
        yield from self._state(step)

    def _update(self, step: Step) -> Iterator[str]:
        """Run a preview, up, refresh or destroy."""
        self.world.done("config", "set", "step", step.get("variant", step["step"]))
        ended = self.world.run(step["command"], *self._arguments(step), "--parallel", "1")
        yield from self._compare(step, {"exit_ok": ended.ok}, "exit_ok")
        if step["exit_ok"]:
            yield from self._compare(step, {"counts": ended.counts}, "counts")
            yield from differing_ops(step["ops"], ended.ops)
        yield from self._told(step, ended)
        yield from self._diffs(step, ended)
        yield from self._state(step)
        yield from wrongly_ordered(ended.ops, self.needs)
        yield from self._outputs(step)
        if "preview_json" in step:
            yield from self._preview_json(step, ended)

    # -- what is compared --------------------------------------------------------------------------

    def _compare(self, step: Step, observed: Mapping[str, Json], *names: str) -> Iterator[str]:
        for name in names:
            if name in step:
                yield from differences(step[name], observed.get(name), self.tokens, name)

    def _told(self, step: Step, ended: Ended) -> Iterator[str]:
        for name, severity in (("errors", "error"), ("warnings", "warning")):
            recorded = [_comparable_message(entry) for entry in step.get(name, ())]
            told = [
                _comparable_message({"on": _on(entry), "message": entry["message"]})
                for entry in ended.diagnostics(severity)
            ]
            yield from self._told_all(_once(recorded), _once(told), name)
        failed = [
            [short(entry["metadata"]["urn"]), entry["metadata"]["op"]]
            for entry in ended.payloads("resOpFailedEvent")
        ]
        yield from differences(step.get("failed", []), failed, self.tokens, "failed")
        if step.get("stderr_last"):
            last = ended.err.splitlines()[-1] if ended.err else ""
            yield from differences(step["stderr_last"], last, self.tokens, "stderr_last")

    def _told_all(
        self, recorded: list[tuple[str, str]], told: list[tuple[str, str]], name: str
    ) -> Iterator[str]:
        left = list(told)
        for on, message in recorded:
            same = [m for m in left if m[0] == on and self.tokens.match(message, m[1])]
            if same:
                left.remove(same[0])
            else:
                yield f"{name}: missing, on {on or 'nothing'}: {message}"
        for on, message in left:
            yield f"{name}: not recorded, on {on or 'nothing'}: {message}"

    def _diffs(self, step: Step, ended: Ended) -> Iterator[str]:
        if not step["exit_ok"]:
            return
        inputs: dict[str, set[str]] = {}
        observed: dict[str, dict[str, Json]] = {}
        for payload in ended.payloads("resourcePreEvent"):
            metadata = payload["metadata"]
            resource = short(metadata["urn"])
            for side in ("old", "new"):
                inputs.setdefault(resource, set()).update((metadata[side] or {}).get("inputs", {}))
            entry = {"replaceKeys": metadata.get("keys"), "diffs": metadata.get("diffs")}
            if any(entry.values()):
                observed.setdefault(resource, {})[metadata["op"]] = entry
        recorded = step.get("diffs", {})
        for resource in sorted({*recorded, *observed}):
            known = inputs.get(resource, set())
            one = _comparable_diffs(recorded.get(resource, {}), known)
            other = _comparable_diffs(observed.get(resource, {}), known)
            yield from differences(one, other, self.tokens, f"diffs.{resource}")

    def _state(self, step: Step) -> Iterator[str]:
        if "state" not in step:
            return
        recorded = {key: _comparable_entries(value) for key, value in step["state"].items()}
        found: dict[str, list[Json]] = {}
        for resource in self.world.resources():
            found.setdefault(short(resource["urn"]), []).append(
                comparable_entry(observed_entry(resource))
            )
        yield from differences(recorded, found, self.tokens, "state")
        for name, needed in needs(step["state"]).items():
            self.needs.setdefault(name, set()).update(needed)

    def _outputs(self, step: Step) -> Iterator[str]:
        for name, shown in (("outputs_masked", False), ("outputs_shown", True)):
            if name in step:
                observed = self.world.outputs(shown=shown)
                yield from differences(step[name], observed, self.tokens, name)

    def _preview_json(self, step: Step, ended: Ended) -> Iterator[str]:
        document = json.loads(ended.out)
        yield from differences(
            step["preview_json_keys"], sorted(document), self.tokens, "preview_json_keys"
        )
        yield from differences(
            step["preview_json_summary"],
            document["changeSummary"],
            self.tokens,
            "preview_json_summary",
        )
        observed = []
        for entry, planned in zip(step["preview_json"], document["steps"], strict=False):
            state = planned["newState"]
            parts = {"newInputs": state.get("inputs", {}), "newOutputs": state.get("outputs", {})}
            observed.append(
                {
                    "op": planned["op"],
                    "on": short(planned["urn"]),
                    **{key: "..." if entry[key] == "..." else parts[key] for key in parts},
                }
            )
        yield from differences(step["preview_json"], observed, self.tokens, "preview_json")

    # -- helpers -----------------------------------------------------------------------------------

    def _arguments(self, step: Step) -> list[str]:
        return [self._argument(text) for text in step.get("args", ())]

    def _argument(self, text: str) -> str:
        text = text.replace("${endpoint}", self.endpoint)
        found = _REFERENCE.search(text)
        if found is None:
            return text
        urns = [str(resource["urn"]) for resource in self.world.resources()]
        return next(urn for urn in urns if short(urn) == found[1])

    def _stack_file(self) -> str:
        """Give the text that the recorded file is compared with: see the deviations."""
        file = self.world.directory / f"Pulumi.{self.stack}.yaml"
        reference = StackReference(self.world.project, self.stack)
        kept = Backend(self.home, version="", now=str).record(reference).edits[file.name]
        edits = [Edit.from_json(document) for document in kept]
        text = effective_text(file.read_text(), edits, self.world.project, file.name)
        return text.replace(_SALT, "${salt}")


def observed_entry(resource: Mapping[str, Json]) -> dict[str, Json]:
    """Give a resource of an export in the form in which the cases were recorded."""
    type_, custom = resource["type"], resource["custom"]
    entry: dict[str, Json] = {"custom": custom}
    for name in ("delete", "external", "protect", "retainOnDelete", "importID", "ignoreChanges"):
        if name in resource:
            entry[name] = resource[name]
    if "additionalSecretOutputs" in resource:
        entry["additionalSecretOutputs"] = resource["additionalSecretOutputs"]
    if resource.get("parent"):
        entry["parent"] = short(resource["parent"])
    if resource.get("provider"):
        entry["provider"] = short(resource["provider"].rpartition("::")[0])
    if "dependencies" in resource:
        entry["dependencies"] = [short(urn) for urn in resource["dependencies"]]
    if "propertyDependencies" in resource:
        entry["propertyDependencies"] = {
            key: [short(urn) for urn in urns or ()]
            for key, urns in resource["propertyDependencies"].items()
        }
    qualified = resource["urn"].split("::")[2]
    if qualified != type_:
        entry["qualifiedType"] = qualified
    entry["keys"] = list(resource)
    return {**entry, **_observed_values(resource)}


def _observed_values(resource: Mapping[str, Json]) -> dict[str, Json]:
    inputs, outputs = resource.get("inputs", {}), resource.get("outputs", {})
    if not resource["custom"]:
        return {"inputs": inputs, "outputs": outputs}
    if resource["type"].startswith("pulumi:providers:"):
        return {"id": resource["id"], "inputsKeys": list(inputs)}
    secret = {
        key: value
        for key, value in outputs.items()
        if isinstance(value, dict) and SECRET.items() <= value.items()
    }
    return {"id": resource.get("id"), "inputs": inputs, "secretOutputs": secret}


def _comparable_entries(value: Json) -> list[Json]:
    entries = value if isinstance(value, list) else [value]
    return [comparable_entry(entry) for entry in entries]


def _comparable_diffs(diffs: Mapping[str, Json], inputs: set[str]) -> dict[str, Json]:
    """Keep of a diff what was decided on inputs: the provider adds outputs that will change."""
    result = {}
    for op, diff in diffs.items():
        kept = {
            name: sorted(set(diff.get(name) or ()) & inputs) for name in ("replaceKeys", "diffs")
        }
        if any(kept.values()):
            result[op] = kept
    return result


def _on(diagnostic: Mapping[str, Json]) -> str:
    return short(diagnostic["urn"]) if diagnostic.get("urn") else ""


def _comparable_message(entry: Mapping[str, Json]) -> tuple[str, str]:
    """Give what a diagnostic is on, and the part of its text that is not the provider's own.

    Of AWS's errors that is what AWS said, of a traceback its first and last line: the frames
    between are those of the host and of the SDK that is installed.
    """
    message = entry["message"].strip()
    if "\nTraceback (most recent call last):\n" in message:
        first, *_, last = message.splitlines()
        message = f"{first}\n{last}"
    said = re.search(r"(\w+Exception|An error occurred \((\w+)\).*?operation): (.*)", message)
    if said:
        message = f"{said[2] or said[1]}: {said[3].rstrip(':')}"
    return entry["on"], message


def _once(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out repetitions: the recorded provider logs what it then fails with."""
    return list(dict.fromkeys(messages))

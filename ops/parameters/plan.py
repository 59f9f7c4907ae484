"""What setting up an environment's parameters would do: pure, and it holds no value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from infra import naming

if TYPE_CHECKING:
    from infra.settings import Parameter, Settings

Action = Literal["create", "keep", "differs", "needs-value"]
"""`differs`: it is there, but not as declared. `needs-value`: only a person can give its value."""


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A parameter that is there, as listed: its value is not read."""

    name: str
    type: str
    key_id: str = ""
    """The key of a SecureString, as an alias, an id or an ARN."""
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done about one parameter of the catalogue."""

    name: str
    """The whole name, `/{env}/{app}/{name}`."""
    action: Action
    reason: str
    parameter: Parameter


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done about every operator-owned parameter, in the catalogue's order."""

    path: str
    key_alias: str
    steps: tuple[Step, ...]
    unknown: tuple[str, ...] = ()
    """Names under the path that the catalogue does not declare; they are left alone."""

    @property
    def to_create(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action == "create")

    @property
    def findings(self) -> tuple[Step, ...]:
        """The steps that somebody has to look at."""
        return tuple(step for step in self.steps if step.action in ("differs", "needs-value"))


def plan(existing: Iterable[Existing], settings: Settings, key_ids: Iterable[str] = ()) -> Plan:
    """Decide what to create. `existing` has to be complete; `key_ids` are the names of the key."""
    env = settings.environment
    there: Mapping[str, Existing] = {parameter.name: parameter for parameter in existing}
    key_alias = naming.parameter_key_alias(env)
    keys = frozenset({key_alias, *key_ids})
    catalogue = settings.parameters.catalogue
    names = {naming.parameter(env, parameter.name) for parameter in catalogue}
    return Plan(
        path=naming.parameter_path(env),
        key_alias=key_alias,
        steps=tuple(
            _step(parameter, naming.parameter(env, parameter.name), there, keys)
            for parameter in catalogue
            if parameter.owner == "operator"
        ),
        unknown=tuple(sorted(name for name in there if name not in names)),
    )


def _step(
    parameter: Parameter, name: str, there: Mapping[str, Existing], keys: frozenset[str]
) -> Step:
    found = there.get(name)
    action: Action
    if found is None:
        action, reason = _missing(parameter)
    elif found.type != parameter.type:
        action, reason = "differs", f"it is a {found.type}, declared is a {parameter.type}"
    elif parameter.type == "SecureString" and found.key_id not in keys:
        action = "differs"
        reason = f"it is encrypted by {found.key_id or 'an unknown key'}, not by the environment's"
    else:
        action, reason = "keep", f"it is there (version {found.version})"
    return Step(name=name, action=action, reason=reason, parameter=parameter)


def _missing(parameter: Parameter) -> tuple[Action, str]:
    if parameter.type == "SecureString" and parameter.generator is not None:
        return "create", f"a generated value ({_described(parameter)})"
    if parameter.type == "String" and parameter.initial is not None:
        return "create", "the stack file's initial value"
    return "needs-value", "it is not there, and only a person can give its value"


def _described(parameter: Parameter) -> str:
    generator = parameter.generator
    if generator is None or generator.kind == "uuid":
        return "uuid"
    unit = "random bytes" if generator.kind == "base64" else "characters"
    return f"{generator.kind}, {generator.length} {unit}"

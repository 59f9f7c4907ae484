"""The gRPC services that a program speaks to: ResourceMonitor and Engine.

Translates requests into goals and outcomes into answers; what becomes of a resource is the
registrar's business. Works with the messages of older SDKs: a field they lack is empty.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from pulumi.runtime.proto import (
    callback_pb2,
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

from infra.sandbox.engine import transforms
from infra.sandbox.engine.activity import Activity
from infra.sandbox.engine.aliases import Alias, urn_type
from infra.sandbox.engine.diff import PathError, known_only, parse_path
from infra.sandbox.engine.executor import CancelledError, asking
from infra.sandbox.engine.generator import Goal, RefusedError, is_provider_type
from infra.sandbox.engine.provider import (
    Composer,
    ConstructRequest,
    ProviderError,
    Registered,
    UnsupportedTypeError,
)
from infra.sandbox.engine.providers import Providers, reference
from infra.sandbox.engine.registrar import Outcome, Registrar
from infra.sandbox.engine.state import PROVIDER_TYPE_PREFIX, package_of, provider_urn
from infra.sandbox.engine.wire import (
    UNKNOWN,
    UNKNOWN_STRING,
    PropertyMap,
    PropertyValue,
    ResourceReference,
    contains_secret,
    contains_unknown,
    decode_struct,
    decode_value,
    encode_struct,
    reveal,
)

Call = Callable[[PropertyMap], PropertyMap]

_FEATURES: Final[Mapping[str, str]] = {
    "secrets": "SECRETS",
    "resourceReferences": "RESOURCE_REFERENCES",
    "outputValues": "OUTPUT_VALUES",
    "aliasSpecs": "ALIAS_SPECS",
    "replacementTrigger": "REPLACEMENT_TRIGGER",
    "deletedWith": "DELETED_WITH",
    "replaceWith": "REPLACE_WITH",
    "transforms": "TRANSFORMS",
    "invokeTransforms": "INVOKE_TRANSFORMS",
    "parameterization": "PARAMETERIZATION",
    "resourceHooks": "RESOURCE_HOOKS",
    "errorHooks": "ERROR_HOOKS",
}
"""What this monitor can do: the name asked for by older SDKs, and the newer enumeration's."""

_UNNAMED_FEATURES: Final = ("INVOKE_DEPENDS_ON", "INVOKE_PARENT")
_FEATURE_PREFIX: Final = "RESOURCE_MONITOR_FEATURE_"
_GET_RESOURCE: Final = "pulumi:pulumi:getResource"
_DENY_KEY: Final = "pulumi:disable-default-providers"
_SPARE_THREADS: Final = 32
_TOLD: Final = "the engine has told why"
"""Marks an error that the program will raise, and log, for one that was told already."""
_SEVERITIES: Final = {1: "info", 2: "warning", 3: "error"}
_HOOK_NAMES: Final[Mapping[str, str]] = {
    "before_create": "BeforeCreate",
    "after_create": "AfterCreate",
    "before_update": "BeforeUpdate",
    "after_update": "AfterUpdate",
    "before_delete": "BeforeDelete",
    "after_delete": "AfterDelete",
    "on_error": "OnError",
}


@dataclass(frozen=True, kw_only=True)
class MonitorContext:
    """What the monitor serves with."""

    organization: str
    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: frozenset[str]
    dry_run: bool
    parallel: int
    composers: Mapping[str, Composer]
    calls: Mapping[str, Call]
    registrar: Registrar
    providers: Providers
    callbacks: transforms.Callbacks
    hooks: transforms.ResourceHooks
    activity: Activity
    tell: Callable[[str, str, str], None]


@dataclass
class _Memory:
    """What earlier registrations mean for later ones."""

    goals: dict[str, Goal] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    transforms: dict[str, list[callback_pb2.Callback]] = field(default_factory=dict)
    component_providers: dict[str, dict[str, str]] = field(default_factory=dict)
    unresolved: set[str] = field(default_factory=set)
    """URNs that a preview knows no id of, and what they are children of."""


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """Serves one run of a program."""

    def __init__(self, context: MonitorContext) -> None:
        self.finished = threading.Event()
        """Set once the program has registered all that it is going to."""
        self.released = threading.Event()
        """Set once the program may end: nothing needs its callbacks any more."""
        self._context = context
        self._lock = threading.RLock()
        self._memory = _Memory()
        self._stack_transforms: list[callback_pb2.Callback] = []
        self._invoke_transforms: list[callback_pb2.Callback] = []
        self._default_providers: dict[str, str] = {}
        self._packages: dict[str, resource_pb2.RegisterPackageRequest] = {}
        self._takes_unknown = context.dry_run
        """An SDK that does not ask for GetDeploymentInfo takes what a failed resource would have
        given for None, and goes on: it must be stopped by an error."""

    # -- the protocol ------------------------------------------------------------------------------

    def SupportsFeature(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Tell whether the monitor can do something, by its older name."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Tell a newer SDK everything about the run at once."""
        self._takes_unknown = True
        known = dict(resource_pb2.ResourceMonitorFeature.items())
        names = [_FEATURE_PREFIX + name for name in (*_FEATURES.values(), *_UNNAMED_FEATURES)]
        return resource_pb2.DeploymentInfo(
            organization=self._context.organization,
            project=self._context.project,
            stack=self._context.stack,
            config=dict(self._context.config),
            configSecretKeys=sorted(self._context.secret_keys),
            dryRun=self._context.dry_run,
            parallel=self._context.parallel,
            supportedFeatures=[known[name] for name in names if name in known],
        )

    def RegisterPackage(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Remember a package that registrations will refer to."""
        reference_ = str(uuid.uuid5(uuid.NAMESPACE_URL, request.SerializeToString().hex()))
        with self._lock:
            self._packages[reference_] = request
        return resource_pb2.RegisterPackageResponse(ref=reference_)

    def RegisterStackTransform(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Take a transform of all later registrations."""
        with self._lock:
            self._stack_transforms.append(request)
        return empty_pb2.Empty()

    def RegisterStackInvokeTransform(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Take a transform of all later invokes."""
        with self._lock:
            self._invoke_transforms.append(request)
        return empty_pb2.Empty()

    def RegisterResourceHook(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take a function to run around steps."""
        with _answering(context):
            self._context.hooks.register(request)
        return empty_pb2.Empty()

    def RegisterErrorHook(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Take a function that decides whether a failed step is tried again."""
        self._context.hooks.register_error(request.name, request.callback)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Hold the program until nothing needs its callbacks any more."""
        self.finished.set()
        self.released.wait()
        return empty_pb2.Empty()

    def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Register a resource or a component."""
        what = f"the registration of {request.type} '{request.name}'"
        with self._context.activity.doing(what), _answering(context):
            return self._answer(request, self.register(request), context)

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take a component's outputs."""
        what = f"the outputs of {request.urn}"
        with self._context.activity.doing(what), _answering(context):
            self._context.registrar.register_outputs(request.urn, decode_struct(request.outputs))
        return empty_pb2.Empty()

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Read a thing that the program does not own."""
        what = f"the read of {request.type} '{request.name}'"
        with self._context.activity.doing(what), _answering(context):
            outcome = self._read(request)
            if outcome.failed or outcome.resource is None:
                _abort(context, grpc.StatusCode.INTERNAL, f"resource read failed; {_TOLD}")
            outputs = encode_struct(outcome.resource.outputs)
            return resource_pb2.ReadResourceResponse(urn=outcome.urn, properties=outputs)

    def ExistsResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tell whether a thing exists, without taking it into the state."""
        with self._context.activity.doing(f"whether {request.id} exists"), _answering(context):
            provider = self._provider_of(
                request.type, request.provider, request.parent, request.version
            )
            properties: PropertyMap = reveal(decode_struct(request.properties))
            with asking():
                found = self._context.providers.get(provider).read(
                    request.type, request.id, properties, {}
                )
        return resource_pb2.ExistsResourceResponse(exists=found is not None)  # type: ignore[attr-defined, unused-ignore]  # newer SDKs only

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer a function."""
        with self._context.activity.doing(f"the function {request.tok}"), _answering(context):
            with self._lock:
                chain = list(self._invoke_transforms)
            request = transforms.transform_invoke(request, self._context.callbacks, chain)
            result = self._invoke(request)
            if result is None:
                return _unknown_result()
            response = resource_pb2.ResourceInvokeResponse()
            getattr(response, "return").CopyFrom(encode_struct(result))
            return response

    def Call(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer a method of a component."""
        with self._context.activity.doing(f"the method {request.tok}"), _answering(context):
            call = self._context.calls.get(request.tok)
            if call is None:
                reason = f"the sandbox has no method {request.tok}. Nothing was changed"
                failure = provider_pb2.CheckFailure(property="", reason=reason)
                return provider_pb2.CallResponse(failures=[failure])
            arguments = decode_struct(request.args)
            own = arguments.get("__self__")
            with asking():
                result = call(self._resolved(arguments))
            dependencies = {own.urn} if isinstance(own, ResourceReference) else set()
            for item in request.argDependencies.values():
                dependencies.update(item.urns)
            response = provider_pb2.CallResponse()
            getattr(response, "return").CopyFrom(encode_struct(result))
            for key in result:
                response.returnDependencies[key].urns.extend(sorted(dependencies))
            return response

    # -- registrations -----------------------------------------------------------------------------

    def register(self, request: Any) -> tuple[Outcome, Mapping[str, Sequence[str]]]:
        """Register what a request asks for; give the outcome and a component's dependencies."""
        request = self._inherited(request)
        with self._lock:
            chain = [*request.transforms, *self._transforms_of(request.parent)]
            chain += self._stack_transforms
        own_transforms = list(request.transforms)
        request = transforms.transform_request(request, self._context.callbacks, chain)
        providers = self._providers_for(request)
        try:
            provider = self._own_provider(request)
            goal = self._goal(request, provider)
        except (PathError, ProviderError) as error:
            plain = Goal(
                type=request.type, name=request.name, custom=request.custom, parent=request.parent
            )
            return self._context.registrar.refuse(plain, str(error)), {}
        if request.remote:
            outcome, dependencies = self._construct(goal, providers)
        else:
            outcome, dependencies = self._context.registrar.register(goal), {}
        self._remember(goal, outcome, own_transforms, providers)
        return outcome, dependencies

    def _inherited(self, request: Any) -> Any:
        """Give a child what its parent says for it, where it says nothing itself."""
        merged = resource_pb2.RegisterResourceRequest()
        merged.CopyFrom(request)
        for urn in merged.aliasURNs:
            merged.aliases.add().urn = urn
        merged.ClearField("aliasURNs")
        with self._lock:
            parent = self._memory.goals.get(merged.parent)
        if parent is None:
            return merged
        if not merged.deletedWith:
            merged.deletedWith = parent.deleted_with
        if not merged.HasField("protect") and parent.protect is not None:
            merged.protect = parent.protect
        if not merged.HasField("retainOnDelete") and parent.retain_on_delete is not None:
            merged.retainOnDelete = parent.retain_on_delete
        same_package = parent.provider and urn_type(provider_urn(parent.provider)) == (
            PROVIDER_TYPE_PREFIX + package_of(merged.type)
        )
        if not merged.provider and merged.custom and same_package:
            merged.provider = parent.provider
        return merged

    def _transforms_of(self, parent: str) -> list[callback_pb2.Callback]:
        found: list[callback_pb2.Callback] = []
        while parent:
            found += self._memory.transforms.get(parent, [])
            parent = self._memory.parents.get(parent, "")
        return found

    def _providers_for(self, request: Any) -> dict[str, str]:
        """Give the providers that a component hands to its children, by package."""
        with self._lock:
            inherited = self._memory.component_providers.get(request.parent, {})
        own = dict(request.providers)
        return own if request.custom else {**inherited, **own}

    def _own_provider(self, request: Any) -> str:
        if is_provider_type(request.type) or not (request.custom or request.remote):
            return ""
        given = request.provider or request.providers.get(package_of(request.type), "")
        package = self._packages.get(request.packageRef)
        version = package.version if package else request.version
        return self._provider_of(request.type, given, request.parent, version)

    def _provider_of(self, token: str, given: str, parent: str, version: str) -> str:
        """Give the reference of the provider that serves a type or function."""
        if given:
            return given
        package = package_of(token)
        with self._lock:
            inherited = self._memory.component_providers.get(parent, {}).get(package)
        return inherited or self._default_provider(package, version, token)

    def _default_provider(self, package: str, version: str, token: str) -> str:
        if package != "pulumi" and self._denies_default(package):
            raise ProviderError(
                f"Default provider for '{package}' disabled. '{token}' must use an explicit "
                "provider."
            )
        name = "_".join(["default", *_version_parts(version)])
        with self._lock:
            known = self._default_providers.get(f"{package}/{name}")
            if known is None:
                outcome = self._context.registrar.register(self._default_goal(package, version))
                if outcome.resource is None:
                    raise ProviderError(f"the default provider for '{package}' failed")
                known = reference(outcome.resource)
                self._default_providers[f"{package}/{name}"] = known
            return known

    def _default_goal(self, package: str, version: str) -> Goal:
        inputs: PropertyMap = {
            key.partition(":")[2]: value
            for key, value in self._context.config.items()
            if key.partition(":")[0] == package and package != "pulumi"
        }
        if version:
            inputs["version"] = version
        return Goal(
            type=PROVIDER_TYPE_PREFIX + package,
            name="_".join(["default", *_version_parts(version)]),
            custom=True,
            inputs=inputs,
        )

    def _denies_default(self, package: str) -> bool:
        text = self._context.config.get(_DENY_KEY, "")
        if not text:
            return False
        try:
            denied = json.loads(text)
        except ValueError as error:
            raise ProviderError(f"Failed to parse {text}: {error}") from None
        if not isinstance(denied, list) or not all(isinstance(item, str) for item in denied):
            raise ProviderError(f"{_DENY_KEY} must be a list of strings, found {text}")
        return any(item.strip() in {"*", package} for item in denied)

    def _goal(self, request: Any, provider: str) -> Goal:
        inputs = decode_struct(request.object)
        property_dependencies = _property_dependencies(request, inputs)
        if is_provider_type(request.type) and request.version:
            inputs.setdefault("version", request.version)
        defined = request.deleteBeforeReplaceDefined or request.deleteBeforeReplace
        return Goal(
            type=request.type,
            name=request.name,
            custom=request.custom,
            inputs=inputs,
            parent=request.parent,
            provider="" if not request.custom else provider,
            protect=request.protect if request.HasField("protect") else None,
            dependencies=tuple(dict.fromkeys(request.dependencies)),
            property_dependencies=property_dependencies,
            delete_before_replace=request.deleteBeforeReplace if defined else None,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=_paths_checked(request.replaceOnChanges),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            aliases=tuple(_alias(alias) for alias in request.aliases),
            import_id=request.importId,
            custom_timeouts=_timeouts(request.customTimeouts),
            retain_on_delete=(
                request.retainOnDelete if request.HasField("retainOnDelete") else None
            ),
            deleted_with=request.deletedWith,
            replace_with=tuple(_optional(request, "replace_with", ())),
            hide_diff=tuple(parse_path(path) for path in _optional(request, "hideDiffs", ())),
            trigger=_trigger(request),
            hooks=_hook_names(request),
        )

    def _remember(
        self,
        goal: Goal,
        outcome: Outcome,
        own_transforms: list[callback_pb2.Callback],
        providers: dict[str, str],
    ) -> None:
        with self._lock:
            memory, urn = self._memory, outcome.urn
            memory.goals[urn] = goal
            memory.parents[urn] = goal.parent
            if own_transforms:
                memory.transforms[urn] = own_transforms
            if not goal.custom:
                memory.component_providers.setdefault(urn, providers)
            resource = outcome.resource
            if goal.custom and (resource is None or resource.id in {"", UNKNOWN_STRING}):
                while urn and urn not in memory.unresolved:
                    memory.unresolved.add(urn)
                    urn = memory.parents.get(urn, "")

    def _answer(
        self, request: Any, result: tuple[Outcome, Mapping[str, Sequence[str]]], context: Any
    ) -> Any:
        outcome, dependencies = result
        if outcome.failed and not (request.supportsResultReporting and self._takes_unknown):
            _abort(context, grpc.StatusCode.INTERNAL, f"resource registration failed; {_TOLD}")
        resource = outcome.resource
        response: Any = resource_pb2.RegisterResourceResponse(urn=outcome.urn)
        if outcome.failed:
            response.result = resource_pb2.Result.FAIL
        elif resource is not None:
            outputs = resource.outputs if request.custom or request.remote else {}
            if not request.supportsPartialValues:
                outputs = known_only(outputs)
            response.object.CopyFrom(encode_struct(outputs))
            response.id = resource.id
            for key, urns in dependencies.items():
                response.propertyDependencies[key].urns.extend(urns)
        if "unknown" in response.DESCRIPTOR.fields_by_name:
            response.unknown = outcome.unknown or outcome.failed
        return response

    # -- remote components -------------------------------------------------------------------------

    def _construct(
        self, goal: Goal, providers: dict[str, str]
    ) -> tuple[Outcome, Mapping[str, Sequence[str]]]:
        composer = self._context.composers.get(goal.type)
        if composer is None:
            message = (
                f"the sandbox cannot make the remote component {goal.type}; it knows "
                f"{', '.join(sorted(self._context.composers)) or 'none'}"
            )
            return self._context.registrar.refuse(goal, message), {}
        outcome = self._context.registrar.register(goal)
        if outcome.failed or outcome.resource is None:
            return outcome, {}
        urn = outcome.urn
        with self._lock:
            self._memory.goals[urn] = goal
            self._memory.parents[urn] = goal.parent
            self._memory.component_providers[urn] = providers
        construct = ConstructRequest(
            type=goal.type,
            name=goal.name,
            urn=urn,
            inputs=goal.inputs,
            input_dependencies=goal.property_dependencies,
            providers=providers,
            outputs_of=self._outputs_of,
        )
        try:
            with asking():
                result = composer(construct, _Children(self, urn))
        except _ChildFailedError:
            return self._fail_component(urn), {}
        except ProviderError as error:
            self._context.tell("error", str(error), urn)
            return self._fail_component(urn), {}
        for inner, outputs in result.inner_outputs.items():
            self._context.registrar.register_outputs(inner, outputs)
        self._context.registrar.register_outputs(urn, result.outputs)
        return Outcome(urn, outcome.resource.changed(outputs=result.outputs)), result.dependencies

    def _fail_component(self, urn: str) -> Outcome:
        self._context.registrar.give_up(urn)
        return Outcome(urn, failed=True)

    # -- reads, invokes, calls ---------------------------------------------------------------------

    def _read(self, request: Any) -> Outcome:
        inputs = decode_struct(request.properties)
        goal = Goal(
            type=request.type,
            name=request.name,
            custom=True,
            inputs=inputs,
            parent=request.parent,
            dependencies=tuple(dict.fromkeys(request.dependencies)),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
        )
        try:
            provider = self._provider_of(
                request.type, request.provider, request.parent, request.version
            )
        except ProviderError as error:
            return self._context.registrar.refuse(goal, str(error))
        return self._context.registrar.read(replace(goal, provider=provider), request.id)

    def _invoke(self, request: Any) -> PropertyMap | None:
        """Answer a function; None where a preview cannot know the answer."""
        arguments = decode_struct(request.args)
        parent = _optional(request, "parent", "")
        provider = self._provider_of(request.tok, request.provider, parent, request.version)
        if contains_unknown(arguments):
            return None
        with self._lock:
            if not self._memory.unresolved.isdisjoint(_optional(request, "dependsOn", ())):
                return None
        if request.tok == _GET_RESOURCE:
            return self._get_resource(str(arguments.get("urn", "")))
        try:
            with asking():
                return self._context.providers.get(provider).invoke(request.tok, reveal(arguments))
        except ProviderError as error:
            raise ProviderError(
                f"invocation of {request.tok} returned an error: {error}"
            ) from error

    def _get_resource(self, urn: str) -> PropertyMap:
        resource = self._context.registrar.find(urn)
        if resource is None:
            raise ProviderError(f"unknown resource {urn}")
        return {"urn": urn, "id": resource.id, "state": resource.outputs}

    def _resolved(self, arguments: PropertyMap) -> PropertyMap:
        """Give a method's arguments with ``__self__`` as its component's URN and outputs."""
        own = arguments.get("__self__")
        if not isinstance(own, ResourceReference):
            return arguments
        return {**arguments, "__self__": {"urn": own.urn, **self._outputs_of(own.urn)}}

    def _outputs_of(self, urn: str) -> PropertyMap:
        resource = self._context.registrar.find(urn)
        return resource.outputs if resource else {}


class _ChildFailedError(ProviderError):
    """A child of a remote component failed; the user has been told."""


class _Children:
    """Registers the children of a remote component as a program would."""

    def __init__(self, monitor: Monitor, component: str) -> None:
        self._monitor = monitor
        self._component = component

    def __call__(
        self,
        type_: str,
        name: str,
        inputs: PropertyMap,
        *,
        custom: bool = True,
        parent: str = "",
        provider: str = "",
        property_dependencies: Mapping[str, Sequence[str]] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Registered:
        """Register one child; raises where it, or what it needs, failed."""
        request: Any = resource_pb2.RegisterResourceRequest(
            type=type_,
            name=name,
            custom=custom,
            parent=parent or self._component,
            provider=provider,
            object=encode_struct(inputs),
        )
        for key, urns in (property_dependencies or {}).items():
            request.propertyDependencies[key].urns.extend(urns)
        _set_options(request, options or {})
        dependencies = {urn for item in request.propertyDependencies.values() for urn in item.urns}
        request.dependencies.extend(sorted(dependencies - set(request.dependencies)))
        outcome, _ = self._monitor.register(request)
        resource = outcome.resource
        if outcome.failed or resource is None:
            raise _ChildFailedError(f"{outcome.urn} failed")
        id_ = resource.id
        if custom and id_ in {"", UNKNOWN_STRING}:
            return Registered(outcome.urn, UNKNOWN, resource.outputs)
        return Registered(outcome.urn, id_, resource.outputs)


def _set_options(request: Any, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if isinstance(value, Message):
            getattr(request, name).CopyFrom(value)
        elif isinstance(value, Mapping):
            getattr(request, name).update(value)
        elif isinstance(value, list | tuple):
            getattr(request, name).extend(value)
        else:
            setattr(request, name, value)


def _optional(message: Any, name: str, default: Any) -> Any:
    """Give a field that an older SDK's messages lack."""
    return getattr(message, name, default)


def _property_dependencies(request: Any, inputs: PropertyMap) -> dict[str, tuple[str, ...]]:
    given = {key: set(item.urns) for key, item in request.propertyDependencies.items()}
    everything = set() if given or request.remote else set(request.dependencies)
    found: dict[str, tuple[str, ...]] = {}
    for key in {**inputs, **given}:
        urns = given.get(key, everything)
        if key in request.object.fields:
            urns = urns | set(transforms.output_dependencies(request.object.fields[key]))
        found[key] = tuple(sorted(urns))
    return found


def _paths_checked(paths: Iterable[str]) -> tuple[str, ...]:
    checked = tuple(paths)
    for path in checked:
        parse_path(path)
    return checked


def _alias(alias: Any) -> Alias:
    if alias.WhichOneof("alias") == "urn":
        return Alias(urn=alias.urn)
    spec = alias.spec
    return Alias(
        name=spec.name,
        type=spec.type,
        project=spec.project,
        stack=spec.stack,
        parent=spec.parentUrn,
        no_parent=spec.noParent,
    )


def _timeouts(timeouts: Any) -> dict[str, float]:
    given = {name: getattr(timeouts, name, "") for name in ("create", "update", "delete")}
    return {name: _seconds(text) for name, text in given.items() if text}


_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}


def _seconds(text: str) -> float:
    """Read a duration as Go writes it: ``1h30m``, ``90s``."""
    total, number, unit = 0.0, "", ""
    for character in f"{text} ":
        if unit and not character.isalpha():
            if unit not in _UNITS or not number:
                raise PathError(f"unable to parse customTimeout value {text!r}")
            total += float(number) * _UNITS[unit]
            number, unit = "", ""
        if character.isalpha():
            unit += character
        elif character != " ":
            number += character
    if number:
        raise PathError(f"unable to parse customTimeout value {text!r}: the unit is missing")
    return total


def _trigger(request: Any) -> PropertyValue:
    """Give the replacement trigger as it may stand in the state: a secret one as a digest."""
    if "replacement_trigger" not in request.DESCRIPTOR.fields_by_name:
        return None
    if not request.HasField("replacement_trigger"):
        return None
    value = decode_value(request.replacement_trigger)
    if contains_unknown(value):
        return UNKNOWN
    if contains_secret(value):
        text = json.dumps(reveal(value), sort_keys=True, default=str)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return value


def _hook_names(request: Any) -> dict[str, tuple[str, ...]]:
    if "hooks" not in request.DESCRIPTOR.fields_by_name or not request.HasField("hooks"):
        return {}
    found = {
        name: tuple(getattr(request.hooks, field_, ())) for field_, name in _HOOK_NAMES.items()
    }
    return {name: names for name, names in found.items() if names}


def _version_parts(version: str) -> list[str]:
    for separator in ".-+":
        version = version.replace(separator, " ")
    return version.split()


def _unknown_result() -> Any:
    if "unknown" in resource_pb2.ResourceInvokeResponse.DESCRIPTOR.fields_by_name:
        return resource_pb2.ResourceInvokeResponse(unknown=True)
    return resource_pb2.ResourceInvokeResponse()


# -- answering -------------------------------------------------------------------------------------


class _answering:  # noqa: N801 - used like a function
    """Turns what goes wrong into the gRPC status that the SDK expects."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CancelledError):
            # The SDK takes this for the engine's end, and says nothing.
            _abort(self._context, grpc.StatusCode.UNAVAILABLE, "resource monitor shut down")
        if isinstance(error, ProviderError | RefusedError | UnsupportedTypeError):
            _abort(self._context, grpc.StatusCode.UNKNOWN, str(error))


def _abort(context: Any, code: Any, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("abort always raises")


class EngineService(engine_pb2_grpc.EngineServicer):
    """Takes what a program logs, and its root resource."""

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell
        self._root = ""

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Tell the user what the program logs; debug messages are left out."""
        severity = _SEVERITIES.get(request.severity)
        repeated = severity == "error" and _TOLD in request.message
        if severity and not request.ephemeral and not repeated:
            self._tell(severity, request.message, request.urn)
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Give the URN of the stack's resource."""
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def SetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Take the URN of the stack's resource."""
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def StartDebugging(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Take note of a debugger; the engine has no use for it."""
        return empty_pb2.Empty()

    def RequirePulumiVersion(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Accept what the program requires of the CLI: the sandbox has none."""
        return engine_pb2.RequirePulumiVersionResponse()


def serve(monitor: Monitor, engine: EngineService, parallel: int) -> tuple[Any, str]:
    """Serve both on a free local port; give the server and its address."""
    # The SDK has four calls for each degree of parallelism under way, and waits for every one.
    threads = futures.ThreadPoolExecutor(max_workers=max(parallel, 1) * 4 + _SPARE_THREADS)
    server = grpc.server(threads, options=transforms.CHANNEL_OPTIONS)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    if port == 0:
        raise OSError("no free local port for the engine's gRPC server")
    server.start()
    return server, f"127.0.0.1:{port}"

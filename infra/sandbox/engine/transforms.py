"""Calls into the program: transforms of registrations and invokes, and resource hooks.

A program that uses them serves callbacks; the engine dials it, with a deadline on each call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc, resource_pb2

from infra.sandbox.engine.generator import Step
from infra.sandbox.engine.provider import ProviderError
from infra.sandbox.engine.state import Resource
from infra.sandbox.engine.wire import (
    OUTPUT_SIGNATURE,
    SECRET_SIGNATURE,
    SIGNATURE_KEY,
    UNKNOWN_STRING,
    PropertyMap,
    encode_struct,
)

CALLBACK_SECONDS: Final = 300.0
MESSAGE_BYTES: Final = 400 << 20
CHANNEL_OPTIONS: Final = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
]
_MAX_RETRIES: Final = 100


class CallbackError(ProviderError):
    """A function of the program failed, or did not answer."""


class Callbacks:
    """Dials the callback servers of the program, one channel each. Thread-safe."""

    def __init__(self, seconds: float = CALLBACK_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._channels: dict[str, Any] = {}

    def call(self, callback: callback_pb2.Callback, request: Message, purpose: str) -> bytes:
        """Call one function of the program; give its answer, still serialized."""
        message = callback_pb2.CallbackInvokeRequest(
            token=callback.token, request=request.SerializeToString()
        )
        stub = callback_pb2_grpc.CallbacksStub(self._channel(callback.target))
        try:
            response = stub.Invoke(message, timeout=self._seconds)
        except grpc.RpcError as error:
            reason = error.details()
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = f"no answer within {self._seconds:g} s"
            raise CallbackError(f"{purpose} failed: {reason}") from error
        answer: bytes = response.response
        return answer

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def _channel(self, target: str) -> Any:
        with self._lock:
            if target not in self._channels:
                self._channels[target] = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
            return self._channels[target]


# -- transforms ------------------------------------------------------------------------------------


def transform_request(
    request: resource_pb2.RegisterResourceRequest,
    callbacks: Callbacks,
    transforms: Iterable[callback_pb2.Callback],
) -> resource_pb2.RegisterResourceRequest:
    """Let the transforms change a registration; give the one they come to."""
    chain = list(transforms)
    if not chain:
        return request
    properties = _with_output_values(request)
    options = _options(request)
    for transform in chain:
        answer = callbacks.call(
            transform,
            resource_pb2.TransformRequest(
                type=request.type,
                name=request.name,
                custom=request.custom,
                parent=request.parent,
                properties=properties,
                options=options,
            ),
            f"the transform of {request.type} '{request.name}'",
        )
        response = resource_pb2.TransformResponse.FromString(answer)
        properties = response.properties
        # A transform that gives no options leaves them as they are.
        if response.HasField("options"):
            options = response.options
    return _transformed(request, properties, options)


def _options(request: Any) -> resource_pb2.TransformResourceOptions:
    options: Any = resource_pb2.TransformResourceOptions()
    for source, target in _LISTS + _SCALARS:
        if source in _names_of(request) and target in _names_of(options):
            _copy(request, source, options, target)
    for source, target in _OPTIONAL:
        if source in _names_of(request) and request.HasField(source):
            _copy(request, source, options, target)
    options.providers.update(request.providers)
    if request.deleteBeforeReplaceDefined or request.deleteBeforeReplace:
        options.delete_before_replace = request.deleteBeforeReplace
    result: resource_pb2.TransformResourceOptions = options
    return result


# Field names of RegisterResourceRequest and of TransformResourceOptions. An older SDK's stubs may
# lack one: such an option passes by the transforms.
_LISTS: Final = (
    ("dependencies", "depends_on"),
    ("ignoreChanges", "ignore_changes"),
    ("replaceOnChanges", "replace_on_changes"),
    ("aliases", "aliases"),
    ("additionalSecretOutputs", "additional_secret_outputs"),
    ("hideDiffs", "hide_diff"),
    ("replace_with", "replace_with"),
)
_SCALARS: Final = (
    ("version", "version"),
    ("provider", "provider"),
    ("pluginDownloadURL", "plugin_download_url"),
    ("deletedWith", "deleted_with"),
    ("importId", "import"),
)
_OPTIONAL: Final = (
    ("protect", "protect"),
    ("retainOnDelete", "retain_on_delete"),
    ("customTimeouts", "custom_timeouts"),
    ("hooks", "hooks"),
    ("replacement_trigger", "replacement_trigger"),
)


def _names_of(message: Any) -> Any:
    return message.DESCRIPTOR.fields_by_name


def _copy(source: Any, name: str, target: Any, as_name: str) -> None:
    value = getattr(source, name)
    if isinstance(value, Message):
        getattr(target, as_name).CopyFrom(value)
    elif isinstance(value, str | bool):
        setattr(target, as_name, value)
    else:
        getattr(target, as_name).extend(value)


def _transformed(
    request: resource_pb2.RegisterResourceRequest, properties: struct_pb2.Struct, options: Any
) -> resource_pb2.RegisterResourceRequest:
    result: Any = resource_pb2.RegisterResourceRequest()
    result.CopyFrom(request)
    result.object.CopyFrom(properties)
    for target, source in _LISTS + _SCALARS:
        if target in _names_of(result) and source in _names_of(options):
            result.ClearField(target)
            _copy(options, source, result, target)
    for target, source in _OPTIONAL:
        if target in _names_of(result) and source in _names_of(options):
            result.ClearField(target)
            if options.HasField(source):
                _copy(options, source, result, target)
    result.deleteBeforeReplaceDefined = options.HasField("delete_before_replace")
    result.deleteBeforeReplace = options.delete_before_replace
    result.providers.clear()
    result.providers.update(options.providers)
    _carry_dependencies(result, properties, options.depends_on)
    carried: resource_pb2.RegisterResourceRequest = result
    return carried


def _carry_dependencies(
    result: resource_pb2.RegisterResourceRequest,
    properties: struct_pb2.Struct,
    depends_on: Iterable[str],
) -> None:
    before = {key: set(deps.urns) for key, deps in result.propertyDependencies.items()}
    result.propertyDependencies.clear()
    everything = set(depends_on)
    for key, value in properties.fields.items():
        urns = set(output_dependencies(value)) or before.get(key, set())
        result.propertyDependencies[key].urns.extend(sorted(urns))
        everything |= urns
    result.ClearField("dependencies")
    result.dependencies.extend(sorted(everything))


def _with_output_values(request: resource_pb2.RegisterResourceRequest) -> struct_pb2.Struct:
    """Give the properties as the program sees them: Outputs where secret, unknown or dependent."""
    struct = struct_pb2.Struct()
    for key, value in request.object.fields.items():
        dependencies = (
            list(request.propertyDependencies[key].urns)
            if (key in request.propertyDependencies)
            else []
        )
        struct.fields[key].CopyFrom(_as_output(value, dependencies))
    return struct


def _as_output(value: struct_pb2.Value, dependencies: list[str]) -> struct_pb2.Value:
    kind = value.WhichOneof("kind")
    if kind == "string_value" and value.string_value == UNKNOWN_STRING:
        return _output(None, secret=False, dependencies=dependencies)
    if kind == "struct_value":
        fields = value.struct_value.fields
        signature = fields[SIGNATURE_KEY].string_value if SIGNATURE_KEY in fields else ""
        if signature == SECRET_SIGNATURE:
            inner = fields["value"]
            unknown = inner.string_value == UNKNOWN_STRING
            return _output(None if unknown else inner, secret=True, dependencies=dependencies)
        if not signature:
            result = struct_pb2.Value()
            result.struct_value.SetInParent()
            for key, item in fields.items():
                result.struct_value.fields[key].CopyFrom(_as_output(item, dependencies))
            return result
    if kind == "list_value":
        result = struct_pb2.Value()
        result.list_value.SetInParent()
        result.list_value.values.extend(
            _as_output(item, dependencies) for item in value.list_value.values
        )
        return result
    return value


def _output(
    value: struct_pb2.Value | None, *, secret: bool, dependencies: list[str]
) -> struct_pb2.Value:
    result = struct_pb2.Value()
    fields = result.struct_value.fields
    fields[SIGNATURE_KEY].string_value = OUTPUT_SIGNATURE
    if value is not None:
        fields["value"].CopyFrom(value)
    fields["secret"].bool_value = secret
    if dependencies:
        fields["dependencies"].list_value.values.extend(
            struct_pb2.Value(string_value=urn) for urn in dependencies
        )
    return result


def output_dependencies(value: struct_pb2.Value) -> Iterator[str]:
    """Give the URNs that the output values in a wire value depend on."""
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        for item in value.list_value.values:
            yield from output_dependencies(item)
    elif kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE_KEY in fields and fields[SIGNATURE_KEY].string_value == OUTPUT_SIGNATURE:
            if "dependencies" in fields:
                for item in fields["dependencies"].list_value.values:
                    yield item.string_value
            if "value" in fields:
                yield from output_dependencies(fields["value"])
        else:
            for item in fields.values():
                yield from output_dependencies(item)


def transform_invoke(
    request: resource_pb2.ResourceInvokeRequest,
    callbacks: Callbacks,
    transforms: Iterable[callback_pb2.Callback],
) -> resource_pb2.ResourceInvokeRequest:
    """Let the transforms change an invoke; give the one they come to."""
    result = resource_pb2.ResourceInvokeRequest()
    result.CopyFrom(request)
    for transform in transforms:
        answer = callbacks.call(
            transform,
            resource_pb2.TransformInvokeRequest(
                token=result.tok,
                args=result.args,
                options=resource_pb2.TransformInvokeOptions(
                    provider=result.provider,
                    version=result.version,
                    plugin_download_url=result.pluginDownloadURL,
                ),
            ),
            f"the transform of the function {result.tok}",
        )
        response = resource_pb2.TransformInvokeResponse.FromString(answer)
        result.args.CopyFrom(response.args)
        if response.HasField("options"):
            result.provider = response.options.provider
            result.version = response.options.version
            result.pluginDownloadURL = response.options.plugin_download_url
    return result


# -- hooks -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hook:
    callback: callback_pb2.Callback
    on_dry_run: bool = False
    ignore_errors: bool = False


class ResourceHooks:
    """Runs the program's hooks around steps. Thread-safe."""

    def __init__(
        self, callbacks: Callbacks, tell: Callable[[str, str, str], None], *, dry_run: bool
    ) -> None:
        """Begin; `tell` takes severity, message and URN."""
        self._callbacks = callbacks
        self._tell = tell
        self._dry_run = dry_run
        self._hooks: dict[str, _Hook] = {}
        self._error_hooks: dict[str, _Hook] = {}

    def register(self, request: resource_pb2.RegisterResourceHookRequest) -> None:
        """Take a hook that resources will name."""
        if request.name in self._hooks:
            raise CallbackError(f"the resource hook {request.name!r} is registered twice")
        ignore_errors = getattr(request, "ignore_errors", False)
        self._hooks[request.name] = _Hook(request.callback, request.on_dry_run, ignore_errors)

    def register_error(self, name: str, callback: callback_pb2.Callback) -> None:
        """Take a hook that decides whether a failed step is tried again."""
        self._error_hooks[name] = _Hook(callback)

    def before(self, step: Step) -> None:
        """Run the hooks before a step; one that fails fails the step."""
        self._run(step, "before")

    def after(self, step: Step) -> None:
        """Run the hooks after a step."""
        self._run(step, "after")

    def retry(self, step: Step, failures: list[str]) -> bool:
        """Ask the error hooks whether to try again; never more than 100 times."""
        names = _names(step.resource, "OnError")
        if len(failures) > _MAX_RETRIES:
            return False
        answers = [self._asks_retry(name, step, failures) for name in names]
        return any(answers)

    def _asks_retry(self, name: str, step: Step, failures: list[str]) -> bool:
        hook = self._error_hooks.get(name)
        if hook is None:
            raise CallbackError(f"the error hook {name!r} was not registered by the program")
        request = resource_pb2.ErrorHookRequest(
            failed_operation=_operation(step) or step.op, errors=list(reversed(failures))
        )
        _fill(request, step, after=False)
        answer = self._callbacks.call(hook.callback, request, f"the error hook {name!r}")
        response = resource_pb2.ErrorHookResponse.FromString(answer)
        if response.error:
            raise CallbackError(f"the error hook {name!r} failed: {response.error}")
        return bool(response.retry)

    def _run(self, step: Step, moment: str) -> None:
        operation = _operation(step)
        if not operation:
            return
        kind = f"{moment.capitalize()}{operation.capitalize()}"
        for name in _names(step.resource, kind):
            hook = self._hooks.get(name)
            if hook is None:
                raise CallbackError(f'hook "{name}" was not registered')
            if self._dry_run and not hook.on_dry_run:
                continue
            request = resource_pb2.ResourceHookRequest()
            _fill(request, step, after=moment == "after")
            answer = self._callbacks.call(hook.callback, request, f"the hook {name!r}")
            response = resource_pb2.ResourceHookResponse.FromString(answer)
            if response.error and hook.ignore_errors:
                message = f'{kind} hook "{name}" failed: {response.error}'
                self._tell("warning", message, step.resource.urn)
            elif response.error:
                raise CallbackError(f'{moment} hook "{name}" failed: {response.error}')


def delete_hooks(resource: Resource) -> list[str]:
    """Name the hooks that a delete of the resource needs the program for."""
    return [*_names(resource, "BeforeDelete"), *_names(resource, "AfterDelete")]


def _operation(step: Step) -> str:
    if step.op in {"create", "create-replacement"}:
        return "create"
    if step.op in {"delete", "delete-replaced"}:
        return "delete"
    return "update" if step.op == "update" else ""


def _names(resource: Resource, moment: str) -> list[str]:
    hooks: Mapping[str, list[str]] = resource.extra.get("resourceHooks") or {}
    return list(hooks.get(moment, ()))


def _fill(request: Any, step: Step, *, after: bool) -> None:
    resource = step.resource
    request.urn, request.id = resource.urn, resource.id
    request.name, request.type = resource.name, resource.type
    new = step.new if _operation(step) != "delete" else None
    values: dict[str, PropertyMap | None] = {
        "new_inputs": new.inputs if new else None,
        "old_inputs": step.old.inputs if step.old else None,
        "new_outputs": new.outputs if new and after else None,
        "old_outputs": step.old.outputs if step.old else None,
    }
    for name, properties in values.items():
        if properties is not None and name in _names_of(request):
            getattr(request, name).CopyFrom(encode_struct(properties))

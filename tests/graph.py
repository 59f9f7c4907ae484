"""Runs a Pulumi program in this process and records the whole resource graph it registers.

The SDK's own mocks hide what matters here: they accept one URN twice and keep no request. This
monitor records every request as it went over the wire. All that is private in the SDK is touched
in this file alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from google.protobuf import empty_pb2
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import configure, set_root_resource
from pulumi.runtime.stack import run_in_stack

from infra.sandbox.engine import wire
from infra.sandbox.engine.composers import COMPOSERS
from infra.sandbox.engine.provider import ConstructRequest, Registered

STACK_TYPE = "pulumi:pulumi:Stack"
AUTO_NAMED = {
    "aws:cloudwatch/eventRule:EventRule": "name",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "name",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
    "aws:ec2/launchTemplate:LaunchTemplate": "name",
    "aws:ec2/securityGroup:SecurityGroup": "name",
    "aws:eks/nodeGroup:NodeGroup": "nodeGroupName",
    "aws:iam/role:Role": "name",
    "aws:lb/loadBalancer:LoadBalancer": "name",
    "aws:lb/targetGroup:TargetGroup": "name",
    "aws:rds/parameterGroup:ParameterGroup": "name",
    "aws:rds/subnetGroup:SubnetGroup": "name",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sfn/stateMachine:StateMachine": "name",
    "aws:sns/topic:Topic": "name",
}
"""Type -> the input that the provider fills from the logical name when it is left out."""

COMPUTED: dict[str, dict[str, Any]] = {
    "aws:ec2/eip:Eip": {"allocationId": "eipalloc", "publicIp": "203.0.113"},
    "aws:ec2/vpc:Vpc": {"defaultNetworkAclId": "acl"},
    "aws:ecr/repository:Repository": {"repositoryUrl": "registry/repository"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": "1"},
    "aws:eks/cluster:Cluster": {
        "certificateAuthority": {"data": "authority"},
        "endpoint": "https://api",
        "vpcConfig": {"clusterSecurityGroupId": "sg"},
        "identities": [{"oidcs": [{"issuer": "https://oidc.eks/id"}]}],
    },
    "aws:eks/nodeGroup:NodeGroup": {"resources": [{"autoscalingGroups": [{"name": "eks"}]}]},
    "aws:kms/key:Key": {"keyId": "key"},
    "aws:lb/loadBalancer:LoadBalancer": {
        "arnSuffix": "app",
        "dnsName": "dns",
        "zoneId": "canonical",
    },
    "aws:lb/targetGroup:TargetGroup": {"arnSuffix": "targetgroup"},
    "aws:route53/zone:Zone": {"zoneId": "zone"},
    "aws:rds/instance:Instance": {
        "address": "host",
        "masterUserSecrets": [{"secretArn": "secret"}],
        "resourceId": "db",
    },
}
"""Type -> outputs that only the provider knows; the resource's name is put behind each."""

LOOKED_UP: dict[str, dict[str, Any]] = {
    "aws:kms/getAlias:getAlias": {"id": "alias", "targetKeyArn": "arn:mock:key"},
}
"""Function -> what it answers; the name that was looked up is put behind each."""
PARAMETERS_BY_PATH = "aws:ssm/getParametersByPath:getParametersByPath"


@dataclass(frozen=True)
class Node:
    """One registered resource, as the engine would see it."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    """Inputs by their names on the wire, secrets in plain; an Output's value where it is known."""
    secret_inputs: frozenset[str]
    """Names of the inputs that travel as secrets."""
    custom: bool
    provider: str
    protect: bool
    dependencies: tuple[str, ...]
    ignore_changes: tuple[str, ...]
    deleted_with: str
    """URN of the resource that it goes with, and is not deleted by itself."""
    aliases: int

    @property
    def label(self) -> str:
        """`type::name`, unique but for the parents."""
        return f"{self.type}::{self.name}"


@dataclass
class Graph:
    """Everything a program registered, said and exported."""

    nodes: dict[str, Node] = field(default_factory=dict)
    registered_outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """URN -> each time outputs were registered."""
    warnings: list[str] = field(default_factory=list)

    @property
    def exports(self) -> dict[str, Any]:
        """What the stack exports."""
        (stack,) = [urn for urn, node in self.nodes.items() if node.type == STACK_TYPE]
        return self.registered_outputs[stack][-1]

    def resources(self, type_: str | None = None) -> list[Node]:
        """Return all nodes but the stack, or those of one type, by label."""
        return sorted(
            (
                node
                for node in self.nodes.values()
                if node.type != STACK_TYPE and type_ in (None, node.type)
            ),
            key=lambda node: node.label,
        )

    def one(self, type_: str, name: str | None = None) -> Node:
        """Return the only node of a type, or of a type and a name."""
        found = [node for node in self.resources(type_) if name in (None, node.name)]
        assert len(found) == 1, f"{type_} {name}: {[node.label for node in found]}"
        return found[0]

    def children(self, parent: Node) -> list[Node]:
        """Return the direct children of a node, by label."""
        return [node for node in self.resources() if node.parent == parent.urn]

    def provider_of(self, node: Node) -> Node:
        """Return the provider resource that a node was registered with."""
        assert node.provider, f"{node.label} has no explicit provider"
        return self.nodes[node.provider.rpartition("::")[0]]


def _named_after(name: str, prefix: Any) -> Any:
    """Put a resource's name behind every text of an output."""
    if isinstance(prefix, list):
        return [_named_after(name, item) for item in prefix]
    if isinstance(prefix, dict):
        return {key: _named_after(name, item) for key, item in prefix.items()}
    return f"{prefix}-{name}"


class _Mocks(mocks.Mocks):
    def __init__(self, parameters: Mapping[str, str]) -> None:
        super().__init__()
        self._parameters = parameters

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return None, {}
        state = dict(args.inputs)
        if args.typ in AUTO_NAMED:
            state.setdefault(AUTO_NAMED[args.typ], f"{args.name}-0000000")
        for output, prefix in COMPUTED.get(args.typ, {}).items():
            made = _named_after(args.name, prefix)
            given = state.get(output)
            # What is added to an input stands beside what the program gives of it.
            state[output] = {**given, **made} if isinstance(given, dict) else made
        state.setdefault("arn", f"arn:mock:{args.typ}/{args.name}")
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Answer for what another stack or a command has made; the rest the program must know."""
        if args.token == PARAMETERS_BY_PATH:
            below = f"{args.args['path']}/"
            found = {
                name: text for name, text in self._parameters.items() if name.startswith(below)
            }
            return {"names": list(found), "values": list(found.values())}, []
        assert args.token in LOOKED_UP, f"the program looks up {args.token}"
        name = args.args["name"]
        answer = {key: _named_after(name, value) for key, value in LOOKED_UP[args.token].items()}
        return answer, []


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph, parameters: Mapping[str, str]) -> None:
        super().__init__(_Mocks(parameters))
        self.graph = graph

    def RegisterResource(  # noqa: N802  # the name of the call on the wire
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        given = request
        if request.remote:
            # The SDK would look up what an argument refers to, and wait for this very thread.
            request = resource_pb2.RegisterResourceRequest()
            request.CopyFrom(given)
            for key, value in wire.decode_struct(given.object).items():
                if isinstance(value, wire.ResourceReference):
                    del request.object.fields[key]
        answer = super().RegisterResource
        response: resource_pb2.RegisterResourceResponse = answer(request)  # type: ignore[no-untyped-call]  # untyped in the SDK
        assert response.urn not in self.graph.nodes, f"registered twice: {response.urn}"
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
        self.graph.nodes[response.urn] = Node(
            urn=response.urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            inputs={name: rpc.unwrap_rpc_secret(value) for name, value in inputs.items()},
            secret_inputs=frozenset(k for k, v in inputs.items() if rpc.is_rpc_secret(v)),
            custom=request.custom,
            provider=request.provider,
            protect=request.protect,
            dependencies=tuple(sorted(request.dependencies)),
            ignore_changes=tuple(request.ignoreChanges),
            deleted_with=request.deletedWith,
            aliases=len(request.aliases),
        )
        return self._compose(given, response) if given.remote else response

    def _compose(
        self,
        request: resource_pb2.RegisterResourceRequest,
        response: resource_pb2.RegisterResourceResponse,
    ) -> resource_pb2.RegisterResourceResponse:
        """Register what a remote component makes, as the sandbox's engine would."""
        construct = ConstructRequest(
            type=request.type,
            name=request.name,
            urn=response.urn,
            inputs=wire.decode_struct(request.object),
            input_dependencies={
                key: tuple(item.urns) for key, item in request.propertyDependencies.items()
            },
            providers=dict(request.providers),
            outputs_of=lambda urn: dict(self.resources[urn].state),
        )
        result = COMPOSERS[request.type](construct, _Children(self, request, response.urn))
        composed = resource_pb2.RegisterResourceResponse(
            urn=response.urn, object=wire.encode_struct(result.outputs)
        )
        for key, urns in result.dependencies.items():
            composed.propertyDependencies[key].urns.extend(urns)
        return composed

    def RegisterResourceOutputs(  # noqa: N802
        self, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> empty_pb2.Empty:
        outputs = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        self.graph.registered_outputs.setdefault(request.urn, []).append(outputs)
        return empty_pb2.Empty()


class _Children:
    """Registers the children of a remote component; `protect` is inherited, as by the engine."""

    def __init__(
        self, monitor: _Monitor, component: resource_pb2.RegisterResourceRequest, urn: str
    ) -> None:
        self._monitor = monitor
        self._component = component
        self._urn = urn

    def __call__(
        self,
        type_: str,
        name: str,
        inputs: dict[str, Any],
        *,
        custom: bool = True,
        parent: str = "",
        provider: str = "",
        property_dependencies: Mapping[str, Sequence[str]] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Registered:
        given = options or {}
        urns = {urn for many in (property_dependencies or {}).values() for urn in many}
        response = self._monitor.RegisterResource(
            resource_pb2.RegisterResourceRequest(
                type=type_,
                name=name,
                custom=custom,
                parent=parent or self._urn,
                provider=provider,
                object=wire.encode_struct(inputs),
                dependencies=sorted(urns | set(given.get("dependencies", ()))),
                ignoreChanges=given.get("ignoreChanges", ()),
                protect=self._component.protect,
            )
        )
        return Registered(response.urn, response.id, wire.decode_struct(response.object))


class _Engine(mocks.MockEngine):
    def __init__(self, graph: Graph) -> None:
        super().__init__(None)
        self.graph = graph

    def Log(self, request: Any) -> None:  # noqa: N802
        if request.severity >= 2:  # warnings and errors
            self.graph.warnings.append(request.message)


def record(
    program: Callable[[], object],
    *,
    project: str = "mono-repo",
    stack: str = "dev",
    config: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    preview: bool = False,
) -> Graph:
    """Run `program` as the body of a stack and return what it registered.

    `config` is what the CLI would pass: full key -> text, objects as JSON. `parameters` is what is
    in the Parameter Store: name -> value. Exceptions of the program, those inside `apply`
    included, are raised here.
    """
    graph = Graph()

    def body() -> None:
        program()

    async def run() -> None:
        await run_in_stack(body)

    monitor = _Monitor(graph, parameters or {})
    _configure(monitor, project=project, stack=stack, preview=preview)
    set_all_config(dict(config or {}))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # A failure is raised here; the SDK's own futures would each log it again, when collected.
    loop.set_exception_handler(lambda _loop, _context: None)
    try:
        loop.run_until_complete(run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        _forget_stack()
        set_all_config({})
    return graph


def _configure(monitor: _Monitor, *, project: str, stack: str, preview: bool) -> None:
    features = monitor.GetDeploymentInfo(None)  # type: ignore[no-untyped-call]  # untyped in the SDK
    configure(
        mocks.MockSettings(  # type: ignore[no-untyped-call]  # untyped in the SDK
            monitor=monitor,
            monitor_features=set(features.supportedFeatures),
            engine=_Engine(monitor.graph),
            project=project,
            stack=stack,
            dry_run=preview,
            organization="organization",
            callbacks=None,
        )
    )
    _forget_stack()


def _forget_stack() -> None:
    """Let another stack begin in this process."""
    set_root_resource(None)  # type: ignore[arg-type]  # the SDK has no other way


def provided(name: str = "aws", region: str = "us-east-1") -> pulumi.ProviderResource:
    """Return an explicit AWS provider for the test of a component."""
    from pulumi_aws.provider import Provider  # costs start-up where unused

    return Provider(name, region=region)

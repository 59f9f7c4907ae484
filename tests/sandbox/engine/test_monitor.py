"""What the monitor does beyond registering: transforms, hooks, functions, remote components."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine.provider import (
    ConstructRequest,
    ConstructResult,
    ProviderError,
    RegisterChild,
)
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, ResourceReference, Secret
from tests.sandbox.engine.fakes import THING, World, lines

pytestmark = pytest.mark.sandbox


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# -- transforms ------------------------------------------------------------------------------------


def test_a_stack_transform_changes_properties_and_options_of_every_resource(world: World) -> None:
    run = world.up(
        lines(
            "def tag(args):",
            "    opts = Opts.merge(args.opts, Opts(protect=True, ignore_changes=['value']))",
            "    props = {**args.props, 'tags': {'by': 'transform'}}",
            "    return pulumi.ResourceTransformResult(props=props, opts=opts)",
            "pulumi.runtime.register_resource_transform(tag)",
            'a = thing("a", value="1")',
            'b = thing("b", value=a.arn)',
        )
    )

    assert run.result.error is None, run.told("error")
    assert world.cloud.things["b"] == {"value": "arn:a", "tags": {"by": "transform"}}
    assert run.state["b"].protect
    assert run.state["b"].ignore_changes == ("value",)
    assert run.state["b"].dependencies == (run.state["a"].urn,)


def test_a_components_transform_reaches_its_children_and_keeps_secrets(world: World) -> None:
    run = world.up(
        lines(
            "def add(args):",
            "    if args.type_ != 'fake:index:Thing':",
            "        return None",
            "    return pulumi.ResourceTransformResult({**args.props, 'extra': 'x'}, args.opts)",
            'c = pulumi.ComponentResource("t:t:C", "c", {}, Opts(transforms=[add]))',
            'thing("a", Opts(parent=c), value=Output.secret("hush"))',
            'thing("outside")',
        )
    )

    assert run.result.error is None, run.told("error")
    assert run.state["a"].inputs == {"value": Secret("hush"), "extra": "x"}
    assert run.state["outside"].inputs == {}


def test_a_transform_sees_what_a_preview_does_not_know_as_an_output(world: World) -> None:
    run = world.preview(
        lines(
            "def look(args):",
            "    assert args.props.get('value') is None or isinstance(args.props['value'], Output)",
            "    return pulumi.ResourceTransformResult(args.props, args.opts)",
            'a = thing("a")',
            'thing("b", Opts(transforms=[look]), value=a.arn)',
        )
    )

    assert run.result.error is None, run.told("error")
    assert run.counts == {"create": 3}


def test_a_failing_transform_fails_the_resource_and_says_why(world: World) -> None:
    run = world.up(
        lines(
            "def fail(args):",
            "    raise ValueError('no such tag')",
            'thing("a", Opts(transforms=[fail]))',
        )
    )

    assert run.result.error is not None
    assert any("no such tag" in message for message in run.told("error"))
    assert world.cloud.things == {}


def test_an_invoke_transform_changes_a_functions_arguments(world: World) -> None:
    run = world.up(
        lines(
            "def change(args):",
            "    new = {**args.args, 'more': 'x'}",
            "    return pulumi.InvokeTransformResult(new, args.opts)",
            "pulumi.runtime.register_invoke_transform(change)",
            'r = pulumi.runtime.invoke("fake:index:get", {"a": "b"}).value',
            'pulumi.export("echo", r["echo"])',
        )
    )

    assert run.result.error is None, run.told("error")
    assert world.snapshot.stack_outputs == {"echo": {"a": "b", "more": "x"}}


# -- hooks -----------------------------------------------------------------------------------------


def test_hooks_run_around_a_create_with_what_is_known_then(world: World) -> None:
    run = world.up(
        lines(
            "def hook(args):",
            "    print('hook', args.name, args.new_inputs['value'], args.new_outputs is not None)",
            "before = pulumi.ResourceHook('before', hook)",
            "after = pulumi.ResourceHook('after', hook)",
            "hooks = pulumi.ResourceHookBinding(before_create=[before], after_create=[after])",
            'thing("a", Opts(hooks=hooks), value="v")',
        )
    )

    assert run.result.error is None, run.told("error")
    assert run.told("info") == ["hook a v True", "hook a v True"] or run.told("info") == [
        "hook a v False",
        "hook a v True",
    ]


def test_a_failing_before_hook_keeps_the_resource_from_being_made(world: World) -> None:
    run = world.up(
        lines(
            "def hook(args):",
            "    raise ValueError('not on a Friday')",
            "before = pulumi.ResourceHook('before', hook)",
            'thing("a", Opts(hooks=pulumi.ResourceHookBinding(before_create=[before])))',
        )
    )

    assert run.result.error == 'before hook "before" failed: not on a Friday'
    assert world.cloud.things == {}


def test_a_delete_hook_runs_while_the_program_waits(world: World) -> None:
    program = lines(
        "def hook(args):",
        "    print('deleting', args.name)",
        "gone = pulumi.ResourceHook('gone', hook)",
    )
    make = 'thing("a", Opts(hooks=pulumi.ResourceHookBinding(before_delete=[gone])))'
    world.up(program + make)

    run = world.up(program)

    assert run.result.error is None, run.told("error")
    assert run.told("info") == ["deleting a"]


# -- functions and methods -------------------------------------------------------------------------


def test_a_function_is_answered_by_the_default_provider(world: World) -> None:
    world.config = {"fake:region": "south"}

    run = world.up(
        'pulumi.export("r", pulumi.runtime.invoke("fake:index:get", {}).value["region"])'
    )

    assert run.result.error is None, run.told("error")
    assert world.snapshot.stack_outputs == {"r": "south"}


def test_a_failing_function_names_itself(world: World) -> None:
    world.cloud.failing["invoke fake:index:get"] = ProviderError("no such thing")

    run = world.up('pulumi.runtime.invoke("fake:index:get", {})')

    assert run.result.error is not None
    message = "invocation of fake:index:get returned an error: no such thing"
    assert any(message in text for text in run.told("error"))


# -- remote components -----------------------------------------------------------------------------

CLUSTER = lines(
    "class Cluster(pulumi.ComponentResource):",
    "    endpoint: Output",
    "    control: Output",
    "    def __init__(self, name, props, opts=None):",
    "        names = {'endpoint': None, 'control': None}",
    "        super().__init__('kit:index:Cluster', name, {**props, **names}, opts, remote=True)",
)


def compose(request: ConstructRequest, register: RegisterChild) -> ConstructResult:
    inner = register("kit:index:Inner", f"{request.name}-inner", {}, custom=False)
    made = register(
        THING,
        f"{request.name}-control",
        {"value": request.inputs["size"]},
        parent=inner.urn,
        property_dependencies={"value": request.input_dependencies.get("size", ())},
        options={"ignoreChanges": ["tags"], "protect": True},
    )
    endpoint = made.outputs.get("arn", UNKNOWN)
    return ConstructResult(
        {"endpoint": Secret(endpoint), "control": ResourceReference(made.urn, made.id)},
        {"endpoint": [made.urn], "control": [made.urn]},
    )


def test_a_remote_components_children_are_registered_under_it(world: World) -> None:
    world.composers = {"kit:index:Cluster": compose}
    program = CLUSTER + lines(
        'size = thing("size", value="3")',
        'c = Cluster("c", {"size": size.value})',
        'pulumi.export("endpoint", c.endpoint)',
        'thing("user", value=c.endpoint)',
    )

    assert world.preview(program).result.error is None
    run = world.up(program)

    assert run.result.error is None, run.told("error")
    control = run.state["c-control"]
    assert control.parent == run.state["c-inner"].urn
    assert control.protect
    assert control.ignore_changes == ("tags",)
    assert control.dependencies == (run.state["size"].urn,)
    assert run.state["c"].inputs == {"size": "3"}
    assert world.snapshot.stack_outputs == {"endpoint": Secret("arn:c-control")}
    assert control.urn in run.state["user"].dependencies
    assert world.up(program).counts == {"same": 6}


def test_a_provider_given_to_a_remote_component_reaches_its_children(world: World) -> None:
    world.composers = {"kit:index:Cluster": compose}

    run = world.up(
        CLUSTER + 'p = Fake("p")\nCluster("c", {"size": "1"}, Opts(providers={"fake": p}))'
    )

    assert run.result.error is None, run.told("error")
    assert run.state["c-control"].provider.startswith(run.state["p"].urn)


def test_a_failing_child_fails_the_component_and_what_needs_it(world: World) -> None:
    world.composers = {"kit:index:Cluster": compose}
    world.cloud.failing["create c-control"] = ProviderError("quota exceeded")

    declared = 'c = Cluster("c", {"size": "1"})\nthing("user", value=c.endpoint)\nthing("other")'
    run = world.up(CLUSTER + declared, continue_on_error=True)

    assert run.result.error == "quota exceeded"
    assert set(world.cloud.things) == {"other"}


def test_an_unknown_remote_component_is_refused(world: World) -> None:
    run = world.preview(CLUSTER + 'Cluster("c", {})')

    assert run.result.error == (
        "the sandbox cannot make the remote component kit:index:Cluster; it knows none"
    )


def test_a_method_is_answered_with_its_components_outputs_at_hand(world: World) -> None:
    world.composers = {"kit:index:Cluster": compose}
    seen: list[Mapping[str, Any]] = []

    def describe(arguments: PropertyMap) -> PropertyMap:
        seen.append(arguments)
        return {"result": "described"}

    world.calls = {"kit:index:Cluster/describe": describe}
    run = world.up(
        CLUSTER
        + lines(
            'c = Cluster("c", {"size": "1"})',
            "args = {'__self__': c, 'how': 'short'}",
            'r = pulumi.runtime.call("kit:index:Cluster/describe", args, res=c)',
            'pulumi.export("r", r.apply(lambda found: found["result"]))',
        )
    )

    assert run.result.error is None, run.told("error")
    assert world.snapshot.stack_outputs["r"] == "described"
    assert seen[0]["how"] == "short"
    assert seen[0]["__self__"]["endpoint"] == Secret("arn:c-control")


def test_a_method_the_sandbox_lacks_is_an_error(world: World) -> None:
    world.composers = {"kit:index:Cluster": compose}

    run = world.up(
        CLUSTER
        + lines(
            'c = Cluster("c", {"size": "1"})',
            'pulumi.export("r", pulumi.runtime.call("kit:index:Cluster/x", {}, res=c))',
        )
    )

    assert any("the sandbox has no method kit:index:Cluster/x" in m for m in run.told("error"))


def test_what_the_sandbox_only_records_is_shown_so(world: World) -> None:
    world.cloud.recorded = frozenset({THING})

    run = world.up('thing("a")')

    assert run.told("info") == [f"recorded only: the sandbox's cloud has no API for {THING}"]

"""Transforms of resources, invokes and the whole stack, and hooks around operations."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import changing, program
from tests.conformance.world import World

pytestmark = pytest.mark.conformance

TAGGING = """
def tag(args):
    if args.type_ != "aws:ssm/parameter:Parameter":
        return None
    return pulumi.ResourceTransformResult(
        {**args.props, "tags": {**args.props.get("tags", {}), NAME: args.name}}, args.opts
    )
"""


# Transforms -------------------------------------------------------------------------------------


def test_a_stack_transform_reaches_every_resource(world: Worlds) -> None:
    shop = world(
        program(
            TAGGING.replace("NAME", '"name"')
            + """
pulumi.runtime.register_resource_transform(tag)
group = Group("group")
Parameter("a")
Parameter("b", opts=ResourceOptions(parent=group))
"""
        )
    )
    shop.done("up")

    assert shop.resource("a")["inputs"]["tags"] == {"name": "a"}
    assert shop.resource("b")["inputs"]["tags"] == {"name": "b"}


def test_a_resources_transform_reaches_it_and_its_children_only(world: Worlds) -> None:
    shop = world(
        program(
            TAGGING.replace("NAME", '"name"')
            + """
class Open(ComponentResource):
    def __init__(self, logical, opts=None):
        super().__init__("shop:index:Open", logical, {}, opts)
group = Open("group", ResourceOptions(transforms=[tag]))
Parameter("inside", opts=ResourceOptions(parent=group))
Parameter("outside")
"""
        )
    )
    shop.done("up")

    assert shop.resource("inside")["inputs"]["tags"] == {"name": "inside"}
    assert "tags" not in shop.resource("outside")["inputs"]


def test_own_transforms_run_before_the_parents_and_those_before_the_stacks(world: Worlds) -> None:
    shop = world(
        program(
            """
def appending(letter):
    def transform(args):
        if args.type_ != "aws:ssm/parameter:Parameter":
            return None
        return pulumi.ResourceTransformResult(
            {**args.props, "value": args.props["value"] + letter}, args.opts
        )
    return transform
pulumi.runtime.register_resource_transform(appending("s"))
group = Group("group", ResourceOptions(transforms=[appending("p")]))
Parameter("p", value="", opts=ResourceOptions(parent=group, transforms=[appending("o")]))
"""
        )
    )
    shop.done("up")

    assert shop.inputs("p")["value"] == "ops"


def test_a_transform_can_change_options(world: Worlds) -> None:
    shop = world(
        program(
            """
def guard(args):
    return pulumi.ResourceTransformResult(
        args.props, ResourceOptions.merge(args.opts, ResourceOptions(protect=True))
    )
Parameter("p", opts=ResourceOptions(transforms=[guard]))
"""
        )
    )
    shop.done("up")

    assert shop.resource("p")["protect"] is True


def test_a_transform_sees_outputs_and_keeps_their_dependencies(world: Worlds) -> None:
    shop = world(
        program(
            """
def shout(args):
    if args.name != "second":
        return None
    value = Output.from_input(args.props["value"]).apply(str.upper)
    return pulumi.ResourceTransformResult({**args.props, "value": value}, args.opts)
pulumi.runtime.register_resource_transform(shout)
first = Parameter("first", value="abc")
Parameter("second", value=first.value)
"""
        )
    )
    shop.done("up")

    second = shop.resource("second")
    assert shop.inputs("second")["value"] == "ABC"
    assert second["propertyDependencies"]["value"] == [shop.urn("first")]


def test_a_transform_that_fails_is_told_and_nothing_is_made(world: Worlds, client: Clients) -> None:
    shop = world(
        program(
            """
def broken(args):
    raise ValueError("no such luck")
Parameter("p", opts=ResourceOptions(transforms=[broken]))
"""
        )
    )

    ended = shop.run("up")

    assert not ended.ok
    assert "no such luck" in "".join(ended.messages("error"))
    assert parameters(client) == {}


def test_an_invoke_transform_changes_what_is_asked(world: Worlds, client: Clients) -> None:
    client("ssm").put_parameter(Name="/there", Value="found", Type="String")
    shop = world(
        program(
            """
def elsewhere(args):
    return pulumi.InvokeTransformResult({**args.args, "name": "/there"}, args.opts)
pulumi.runtime.register_invoke_transform(elsewhere)
token = "aws:ssm/getParameter:getParameter"
export("value", pulumi.runtime.invoke_output(token, {"name": "/nowhere"}).apply(
    lambda result: result["value"]))
"""
        )
    )
    shop.done("up")

    assert shop.outputs(shown=True) == {"value": "found"}


def test_an_older_transformation_in_the_program_still_works(world: Worlds) -> None:
    shop = world(
        program(
            """
def renamed(args):
    return pulumi.ResourceTransformationResult({**args.props, "value": "changed"}, args.opts)
Parameter("p", opts=ResourceOptions(transformations=[renamed]))
"""
        )
    )
    shop.done("up")

    assert shop.inputs("p")["value"] == "changed"


# Hooks ------------------------------------------------------------------------------------------

HOOKED = """
def noting(hook):
    def note(args):
        seen = (args.old_inputs, args.new_inputs, args.new_outputs)
        texts = [str(dict(values)["description"] if values else None) for values in seen]
        with open("hooks.txt", "a") as file:
            file.write(" ".join([hook, args.name, *texts]) + chr(10))
    return pulumi.ResourceHook(hook, note)
hooks = pulumi.ResourceHookBinding(**{hook: [noting(hook)] for hook in HOOKS})
Parameter("p", description=TEXT, opts=ResourceOptions(hooks=hooks))
"""


def hooked(*hooks: str, text: str = "1") -> str:
    """Give a program whose resource ``p`` has a hook of each kind, which takes notes."""
    return HOOKED.replace("HOOKS", repr(hooks)).replace("TEXT", repr(text))


def hooks_run(shop: World) -> list[str]:
    """Give what the hooks have noted."""
    return (shop.directory / "hooks.txt").read_text().splitlines()


def test_hooks_run_around_a_create_with_what_is_known_then(world: Worlds) -> None:
    shop = world(program(hooked("before_create", "after_create")))

    shop.done("preview")
    assert not (shop.directory / "hooks.txt").exists()
    shop.done("up")

    assert hooks_run(shop) == [
        "before_create p None 1 None",
        "after_create p None 1 1",
    ]


def test_hooks_run_around_an_update_with_old_and_new(world: Worlds) -> None:
    shop = world(
        changing(
            one=hooked("before_update", "after_update"),
            two=hooked("before_update", "after_update", text="2"),
        )
    )
    shop.done("up", "-c", "step=one")
    shop.done("up", "-c", "step=two")

    assert hooks_run(shop) == [
        "before_update p 1 2 None",
        "after_update p 1 2 2",
    ]


def test_a_before_hook_that_fails_keeps_the_resource_from_being_made(
    world: Worlds, client: Clients
) -> None:
    shop = world(
        program(
            """
def refuse(args):
    raise ValueError("not today")
hook = pulumi.ResourceHook("refuse", refuse)
Parameter("p", opts=ResourceOptions(hooks=pulumi.ResourceHookBinding(before_create=[hook])))
"""
        )
    )

    ended = shop.run("up")

    assert not ended.ok
    assert "not today" in "".join(ended.messages("error"))
    assert parameters(client) == {}
    assert shop.names() == []


AFTERWARDS = """
def complain(args):
    raise ValueError("too late")
hook = pulumi.ResourceHook("complain", complain)
made = Parameter("p", opts=ResourceOptions(hooks=pulumi.ResourceHookBinding(after_create=[hook])))
Parameter("needs", opts=ResourceOptions(depends_on=[made]))
"""


def test_an_after_hook_that_fails_fails_the_update_but_not_the_resource(world: Worlds) -> None:
    shop = world(program(AFTERWARDS))

    ended = shop.run("up")

    assert not ended.ok
    assert ended.messages("error")[0].startswith('after hook "complain" failed: ')
    assert shop.names() == ["aws:ssm/parameter:Parameter::p"]


def test_a_failing_hook_whose_errors_are_to_be_ignored_is_a_warning(
    world: Worlds, sdk_version: tuple[int, ...]
) -> None:
    if sdk_version < (3, 272):
        pytest.skip("this SDK's hooks cannot ignore errors")
    shop = world(
        program(
            AFTERWARDS.replace(
                '"complain", complain',
                '"complain", complain, pulumi.ResourceHookOptions(ignore_errors=True)',
            )
        )
    )

    ended = shop.done("up")

    [warning] = [message for message in ended.messages("warning") if "complain" in message]
    assert warning.startswith('AfterCreate hook "complain" failed: ')
    assert len(shop.names()) == 2


def test_hooks_are_in_the_state_under_pulumis_names(world: Worlds) -> None:
    shop = world(program(hooked("before_create", "after_delete")))
    shop.done("up")

    assert shop.resource("p")["resourceHooks"] == {
        "AfterDelete": ["after_delete"],
        "BeforeCreate": ["before_create"],
    }


def test_a_hook_may_run_in_previews(world: Worlds) -> None:
    shop = world(
        program(
            hooked("before_create").replace(
                "note)", "note, pulumi.ResourceHookOptions(on_dry_run=True))"
            )
        )
    )
    shop.done("preview")

    assert hooks_run(shop) == ["before_create p None 1 None"]


def test_a_components_after_hook_sees_its_outputs(world: Worlds) -> None:
    shop = world(
        program(
            """
def note(args):
    with open("hooks.txt", "a") as file:
        file.write(args.name + " " + str(dict(args.new_outputs)["size"]))
hook = pulumi.ResourceHook("note", note)
binding = pulumi.ResourceHookBinding(after_create=[hook])
Group("group", ResourceOptions(hooks=binding)).register_outputs({"size": "3"})
"""
        )
    )
    shop.done("up")

    assert hooks_run(shop) == ["group 3"]


def test_a_delete_hook_needs_the_program(world: Worlds, client: Clients) -> None:
    shop = world(program(hooked("before_delete")))
    shop.done("up")

    ended = shop.run("destroy")

    assert not ended.ok
    assert ended.messages("error")[0] == (
        "Resource has delete hooks registered, but the program is not running. Hooks: before_delete"
    )
    assert "--run-program" in ended.err
    assert parameters(client) == {"/p": "1"}
    shop.done("destroy", "--run-program")
    assert hooks_run(shop) == ["before_delete p 1 None None"]

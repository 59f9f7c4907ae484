"""The Automation API, as it comes, over the embedded engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest
from pulumi import automation as auto
from pulumi.automation import events

from infra.sandbox.engine.command import EmbeddedCommand
from tests.conformance.conftest import Clients, Worlds, parameters
from tests.conformance.programs import program

pytestmark = pytest.mark.conformance

Stacks = Callable[[str], auto.Stack]


@pytest.fixture
def opened(world: Worlds, command: EmbeddedCommand) -> Stacks:
    """Opens the stack of a program's text through the Automation API."""

    def open_stack(text: str) -> auto.Stack:
        made = world(program(text))
        options = auto.LocalWorkspaceOptions(pulumi_command=command)  # type: ignore[arg-type]  # by shape
        return auto.select_stack("dev", work_dir=str(made.directory), opts=options)

    return open_stack


PROGRAM = """
p = Parameter("p", description=config.require_secret("token"))
export("name", p.name)
export("token", config.require_secret("token"))
export("size", config.require_int("size"))
"""


def test_a_stack_goes_through_its_whole_life(opened: Stacks, client: Clients) -> None:
    stack = opened(PROGRAM)
    stack.set_all_config(
        {"token": auto.ConfigValue("hush", secret=True), "size": auto.ConfigValue("3")}
    )

    assert stack.preview().change_summary == {auto.OpType.CREATE: 2}
    made = stack.up(message="first")
    assert made.summary.resource_changes == {"create": 2}
    assert made.summary.message == "first"
    assert {name: (o.value, o.secret) for name, o in made.outputs.items()} == {
        "name": ("/p", False),
        "token": ("hush", True),
        "size": (3, False),
    }
    assert stack.preview(expect_no_changes=True).change_summary == {auto.OpType.SAME: 2}
    client("ssm").delete_parameter(Name="/p")
    assert stack.preview_refresh().change_summary == {auto.OpType.SAME: 1, auto.OpType.DELETE: 1}
    assert stack.refresh().summary.resource_changes == {"delete": 1, "same": 1}
    assert stack.up().summary.resource_changes == {"create": 1, "same": 1}
    assert stack.destroy().summary.resource_changes == {"delete": 2}
    assert [u.kind for u in stack.history()] == ["destroy", "update", "refresh", "update"]
    assert parameters(client) == {}


def test_events_come_in_the_order_in_which_things_happen(opened: Stacks) -> None:
    stack = opened('a = Parameter("a")\nParameter("b", opts=ResourceOptions(depends_on=[a]))')
    seen: list[events.EngineEvent] = []

    stack.up(on_event=seen.append)

    numbers = [event.sequence for event in seen]
    assert numbers == sorted(numbers)
    assert seen[0].prelude_event
    assert seen[-1].cancel_event or seen[-1].summary_event
    told = []
    for event in seen:
        if event.resource_pre_event:
            told.append(("begin", event.resource_pre_event.metadata.urn.split("::")[-1]))
        elif event.res_outputs_event:
            told.append(("end", event.res_outputs_event.metadata.urn.split("::")[-1]))
    assert told.index(("end", "a")) < told.index(("begin", "b"))


def test_a_failure_is_the_apis_own_error_with_the_resource_in_it(
    opened: Stacks, client: Clients
) -> None:
    client("ssm").put_parameter(Name="/taken", Value="theirs", Type="String")
    stack = opened('Parameter("bad", "/taken")')

    with pytest.raises(auto.CommandError, match="ParameterAlreadyExists"):
        stack.up()

    assert [update.result for update in stack.history()] == ["failed"]


def test_an_inline_program_works_on_the_same_cloud(
    command: EmbeddedCommand, tmp_path: Path, client: Clients
) -> None:
    def inline() -> None:
        pulumi.CustomResource(  # a resource of a type that no class of the SDK is needed for
            "aws:ssm/parameter:Parameter", "p", {"name": "/p", "type": "String", "value": "1"}
        )

    (tmp_path / "inline").mkdir()
    options = auto.LocalWorkspaceOptions(
        work_dir=str(tmp_path / "inline"),
        pulumi_command=command,  # type: ignore[arg-type]  # by shape
    )
    stack = auto.create_stack("dev", project_name="boot", program=inline, opts=options)

    stack.up()

    assert parameters(client) == {"/p": "1"}

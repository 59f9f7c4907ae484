"""The commands with the real engine: programs that need no driver."""

from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation as auto

from infra.sandbox.engine.command import EmbeddedCommand
from tests.sandbox.engine.store_fakes import make_home, make_project, no_drivers

pytestmark = pytest.mark.sandbox

PROGRAM = """
import pulumi

config = pulumi.Config()
pulumi.export("colour", config.require("colour"))
pulumi.export("token", config.require_secret("token"))
pulumi.export("sizes", config.require_object("sizes"))
if config.get_bool("fail"):
    raise pulumi.RunError("as it was asked to")
"""


@pytest.fixture
def command(tmp_path: Path) -> EmbeddedCommand:
    return EmbeddedCommand(make_home(tmp_path), registry=no_drivers, composers={}, calls={})


@pytest.fixture
def stack(tmp_path: Path, command: EmbeddedCommand) -> auto.Stack:
    project = make_project(tmp_path, "config:\n  shop:colour: red\n  shop:sizes: [1, 2.5]\n")
    (project / "__main__.py").write_text(PROGRAM)
    options = auto.LocalWorkspaceOptions(pulumi_command=command)  # type: ignore[arg-type] # by shape
    stack = auto.create_stack("dev", work_dir=str(project), opts=options)
    stack.set_config("token", auto.ConfigValue("hush", secret=True))
    return stack


def values(outputs: auto.OutputMap) -> dict[str, Any]:
    return {name: (output.value, output.secret) for name, output in outputs.items()}


def test_a_program_gets_its_configuration_and_exports_outputs(stack: auto.Stack) -> None:
    result = stack.up()

    assert values(result.outputs) == {
        "colour": ("red", False),
        "token": ("hush", True),
        "sizes": ([1, 2.5], False),
    }
    assert result.summary.resource_changes == {"create": 1}
    assert stack.preview().change_summary == {"same": 1}
    assert stack.destroy().summary.resource_changes == {"delete": 1}
    deployment = stack.export_stack().deployment
    assert deployment is not None
    assert "resources" not in deployment


def test_a_program_that_fails_keeps_the_outputs_from_before(stack: auto.Stack) -> None:
    stack.up()
    stack.set_config("fail", auto.ConfigValue("true"))

    with pytest.raises(auto.CommandError, match="as it was asked to"):
        stack.up()

    assert values(stack.outputs())["colour"] == ("red", False)
    assert [update.result for update in stack.history()] == ["failed", "succeeded"]


def test_an_inline_program_runs_where_it_is(command: EmbeddedCommand, tmp_path: Path) -> None:
    ran: list[str] = []

    def program() -> None:
        ran.append(pulumi.get_stack())
        pulumi.export("secret", pulumi.Output.secret("hush"))

    options = auto.LocalWorkspaceOptions(
        work_dir=str(tmp_path / "inline"),
        pulumi_command=command,  # type: ignore[arg-type] # by shape
    )
    (tmp_path / "inline").mkdir()
    stack = auto.create_stack("dev", project_name="boot", program=program, opts=options)

    assert values(stack.up().outputs) == {"secret": ("hush", True)}
    assert ran == ["dev"]

import subprocess
import sys
from pathlib import Path

import pytest

from stacks.outputs import EnvironmentOutputs, MissingOutputError
from tests.stacks.programs import ENVIRONMENTS, environment_graph


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_commands_read_back_what_an_environment_exports(env: str) -> None:
    exports = environment_graph(env).exports
    outputs = EnvironmentOutputs[str].from_exports(exports)
    assert outputs.to_exports() == exports
    assert outputs.parameter_path == f"/{env}/mono-repo"


def test_a_stack_that_was_never_deployed_is_named_as_such() -> None:
    with pytest.raises(MissingOutputError, match=r"does not export .*vpc_id.*deploy it first"):
        EnvironmentOutputs[str].from_exports({})


def test_exports_of_a_newer_program_are_passed_over() -> None:
    exports = {**environment_graph("dev").exports, "brand_new": "x"}
    assert EnvironmentOutputs[str].from_exports(exports).region == "us-east-1"


def test_what_does_not_exist_is_left_out_of_the_exports_and_reads_as_none() -> None:
    exports = environment_graph("prod").exports
    assert "parameter_instance_profile" not in exports
    assert EnvironmentOutputs[str].from_exports(exports).parameter_instance_profile is None


def test_reading_outputs_imports_neither_pulumi_nor_boto3(root: Path) -> None:
    code = (
        "import stacks.outputs, sys;"
        "sys.exit(any(name in sys.modules for name in ('pulumi', 'boto3', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0

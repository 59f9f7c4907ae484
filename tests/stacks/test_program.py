"""The program's entry, as the CLI runs it: from configuration text to exports."""

import json
import runpy
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from infra.program import main
from tests.graph import record
from tests.stacks.programs import environment_graph

KEY = "mono-repo:settings"


def committed(root: Path, env: str) -> dict[str, Any]:
    text = (root / f"Pulumi.{env}.yaml").read_text(encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)["config"][KEY]
    return settings


@pytest.mark.parametrize("env", ["dev", "uat", "prod"])
def test_a_stack_file_becomes_the_environment_and_its_exports(root: Path, env: str) -> None:
    graph = record(main, stack=env, config={KEY: json.dumps(committed(root, env))})
    assert graph.exports == environment_graph(env).exports
    assert set(graph.nodes) == set(environment_graph(env).nodes)


def test_a_preview_registers_what_an_update_does(root: Path) -> None:
    config = {KEY: json.dumps(committed(root, "dev"))}
    assert set(record(main, config=config, preview=True).nodes) == set(
        environment_graph("dev").nodes
    )


def test_a_version_out_of_support_is_warned_of_and_stops_nothing(root: Path) -> None:
    settings = committed(root, "dev")
    settings["databases"][0]["engine_version"] = "13"
    graph = record(main, config={KEY: json.dumps(settings)})
    (warning,) = [said for said in graph.warnings if "standard support" in said]
    assert warning.startswith("Pulumi.dev.yaml: PostgreSQL 13 of database main (mono-repo-dev)")
    assert set(graph.nodes) == set(environment_graph("dev").nodes)


def test_the_root_is_the_entry_point(root: Path) -> None:
    config = {KEY: json.dumps(committed(root, "dev"))}
    graph = record(lambda: runpy.run_path(str(root / "__main__.py")), config=config)
    assert graph.exports["account_id"] == "111122223333"


def test_refused_settings_end_the_run_before_anything_is_registered(root: Path) -> None:
    settings = committed(root, "dev")
    settings["regoin"] = settings.pop("region")
    with pytest.raises(pulumi.RunError, match=r"Pulumi\.dev\.yaml") as refusal:
        record(main, config={KEY: json.dumps(settings)})
    assert "did you mean region?" in str(refusal.value)
    assert "Nothing was built" in str(refusal.value)


def test_a_stack_without_settings_is_told_what_to_write() -> None:
    with pytest.raises(pulumi.RunError, match="write the environment's settings under this key"):
        record(main)


def test_the_program_stays_a_frame(root: Path) -> None:
    body = (root / "infra" / "program.py").read_text(encoding="utf-8").partition("def main")[2]
    assert len(body.splitlines()) <= 20

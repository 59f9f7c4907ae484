"""As whom a program acts: the deploy role, and in a preview, where asked for, its caller."""

import json
from pathlib import Path

import pulumi
import pytest
import yaml

from infra.program import main
from infra.providers import act_as
from tests.graph import record


def configuration(root: Path, acting: str) -> dict[str, str]:
    text = (root / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)["config"]["mono-repo:settings"]
    return {"mono-repo:settings": json.dumps(settings), "mono-repo:act-as": acting}


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize("asked", [None, "deploy-role"])
def test_a_run_acts_as_the_deploy_role_unless_told_otherwise(
    asked: str | None, preview: bool
) -> None:
    assert act_as(asked, preview=preview) == "deploy-role"


def test_a_preview_may_act_as_its_caller() -> None:
    assert act_as("caller", preview=True) == "caller"


def test_an_update_as_its_caller_is_refused_with_the_line_that_takes_it_back() -> None:
    with pytest.raises(pulumi.RunError, match="only a preview may be") as refused:
        act_as("caller", preview=False)
    assert "Nothing was changed" in str(refused.value)
    assert "pulumi config rm mono-repo:act-as" in str(refused.value)


def test_another_word_is_refused_in_a_preview_too() -> None:
    with pytest.raises(pulumi.RunError, match="'admin'; it may be deploy-role"):
        act_as("admin", preview=True)


def test_a_pull_requests_preview_assumes_no_role_and_is_bound_to_the_account(root: Path) -> None:
    graph = record(main, config=configuration(root, "caller"), preview=True)
    provider = graph.one("pulumi:providers:aws", "aws").inputs
    assert "assumeRoles" not in provider
    assert json.loads(provider["allowedAccountIds"]) == ["111122223333"]


def test_an_update_that_is_refused_registers_nothing(root: Path) -> None:
    with pytest.raises(pulumi.RunError, match="only a preview may be"):
        record(main, config=configuration(root, "caller"))

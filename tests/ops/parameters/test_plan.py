"""The plan of a set-up, decided from the catalogue and a listing."""

from __future__ import annotations

from infra.settings import Generator, Parameter, ParameterStore, Settings
from ops.parameters.plan import Existing, Plan, plan

ALIAS = "alias/mono-repo-parameter-store-dev"
SECRET = Parameter(
    name="api/secret_key",
    type="SecureString",
    owner="operator",
    category="api",
    description="A key",
    generator=Generator(kind="hex", length=64),
)
FLAG = Parameter(
    name="features/beta",
    type="String",
    owner="operator",
    category="features",
    description="A flag",
    initial="off",
)
HOST = Parameter(
    name="database/host",
    type="String",
    owner="program",
    category="database",
    description="A host",
    value="db.internal",
)


def _plan(settings: Settings, *existing: Existing, catalogue: tuple[Parameter, ...]) -> Plan:
    store = ParameterStore(access=settings.parameters.access, catalogue=catalogue)
    return plan(existing, settings.model_copy(update={"parameters": store}), {"key-1"})


def _there(name: str, type_: str = "SecureString", key: str = ALIAS) -> Existing:
    return Existing(name=f"/dev/mono-repo/{name}", type=type_, key_id=key)


def test_what_is_missing_is_created_and_the_programs_own_is_left_to_the_program(
    dev: Settings,
) -> None:
    decided = _plan(dev, catalogue=(SECRET, HOST, FLAG))
    assert [(step.name, step.action) for step in decided.steps] == [
        ("/dev/mono-repo/api/secret_key", "create"),
        ("/dev/mono-repo/features/beta", "create"),
    ]
    assert "hex, 64 characters" in decided.steps[0].reason


def test_what_is_there_is_kept_whatever_the_stack_file_says_of_its_first_value(
    dev: Settings,
) -> None:
    there = (_there("api/secret_key"), _there("features/beta", "String", ""))
    decided = _plan(dev, *there, catalogue=(SECRET, FLAG))
    assert [step.action for step in decided.steps] == ["keep", "keep"]
    assert decided.to_create == ()


def test_the_key_is_known_by_its_alias_and_by_its_id(dev: Settings) -> None:
    decided = _plan(dev, _there("api/secret_key", key="key-1"), catalogue=(SECRET,))
    assert decided.steps[0].action == "keep"


def test_a_secret_under_another_key_or_in_plain_text_is_a_finding_and_is_not_touched(
    dev: Settings,
) -> None:
    foreign = _plan(dev, _there("api/secret_key", key="alias/aws/ssm"), catalogue=(SECRET,))
    assert "encrypted by alias/aws/ssm" in foreign.findings[0].reason
    plain = _plan(dev, _there("api/secret_key", "String", ""), catalogue=(SECRET,))
    assert plain.findings[0].reason == "it is a String, declared is a SecureString"
    assert plain.to_create == foreign.to_create == ()


def test_a_value_that_only_a_person_can_give_is_asked_for_and_not_invented(dev: Settings) -> None:
    unset = FLAG.model_copy(update={"initial": None})
    assert _plan(dev, catalogue=(unset,)).steps[0].action == "needs-value"
    secret = SECRET.model_copy(update={"generator": None})
    assert _plan(dev, catalogue=(secret,)).steps[0].action == "needs-value"


def test_what_the_catalogue_does_not_know_is_named(dev: Settings) -> None:
    decided = _plan(dev, _there("old/thing"), catalogue=(SECRET,))
    assert decided.unknown == ("/dev/mono-repo/old/thing",)


def test_a_plan_holds_no_value(dev: Settings) -> None:
    assert "value" not in set(Plan.__dataclass_fields__)

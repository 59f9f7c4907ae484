"""The anatomy of a command that acts, from its plan to the journal, against the sandbox's cloud."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from components.bootstrap import LOCK_KEY
from infra import naming
from infra.sandbox import servers
from ops import lock as locks
from ops import operation as operations
from ops.__main__ import run
from ops.checks import Check
from ops.commands import Setting
from ops.errors import ExitCode, OpsError, RefusedError
from ops.execution import Context
from ops.operation import Consent, Operation, Planning
from ops.plan import Plan, Step
from ops.terminal import Terminal
from tests.faults import aws_faults

pytestmark = pytest.mark.sandbox

PATH = "/dev/mono-repo-ops/test"
CONSENT = Consent(yes=True, why="a test")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox whose cloud has what a bootstrap of dev makes, as far as runs need it."""
    folder = tmp_path_factory.mktemp("sandbox")
    cloud = servers.ensure_running(folder, port=0)
    s3, dynamodb = (_client(cloud, service) for service in ("s3", "dynamodb"))
    for prefix in (naming.state_bucket("dev"), naming.backup_bucket("dev")):
        s3.create_bucket(Bucket=f"{prefix}-0a1b2c3")
        s3.create_bucket(Bucket=f"{prefix}-replica-0a1b2c3")
    dynamodb.create_table(
        TableName=naming.lock_table("dev"),
        KeySchema=[{"AttributeName": LOCK_KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": LOCK_KEY, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield folder
    servers.stop(folder)


@pytest.fixture
def client(home: Path) -> Callable[[str], Any]:
    """Clients of the account's owner."""
    cloud = servers.status(home).cloud
    assert cloud is not None
    return lambda service: _client(cloud, service)


@pytest.fixture
def setting(
    home: Path,
    project: Path,
    client: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Setting]:
    """The commands' surroundings; no parameter of the test is left behind."""
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setitem(operations.OPERATIONS, "test", f"{__name__}:OPERATION")
    _FAULTS.clear()
    yield Setting(sandbox=True, root=project, terminal=Terminal(), form="json")
    for name in _made(client):
        client("ssm").delete_parameter(Name=name)


_FAULTS: set[str] = set()
"""Steps that fail."""


def perform(
    setting: Setting,
    operation: Operation,
    environment: str,
    arguments: dict[str, Any],
    consent: Consent,
) -> ExitCode:
    """Run a command with the streams of the test."""
    setting = dataclasses.replace(setting, terminal=Terminal())
    return operations.perform(setting, operation, environment, arguments, consent)


def _plan(planning: Planning) -> Plan:
    names = planning.arguments.get("names", ["one", "two", "three"])
    there = planning.access.client("ssm").get_parameters_by_path(Path=PATH)["Parameters"]
    return Plan(
        command="test",
        environment=planning.access.environment,
        account_id=planning.access.settings.account_id,
        region=planning.access.settings.region,
        arguments=planning.arguments,
        facts={"there": sorted(item["Name"] for item in there)},
        steps=tuple(
            Step(
                id=name, action="make", kind="parameter", target=name, summary=f"make {name}",
                stage=stage,
            )
            for stage, name in enumerate(names)
            if f"{PATH}/{name}" not in {item["Name"] for item in there}
        ),
    )  # fmt: skip


def _make(context: Context, step: Step) -> dict[str, Any]:
    if step.id in _FAULTS:
        raise OpsError("the step fails")
    answer = context.access.client("ssm").put_parameter(
        Name=f"{PATH}/{step.target}", Value="1", Type="String", Overwrite=True
    )
    return {"version": answer["Version"]}


def _verify(context: Context) -> tuple[Check, ...]:
    answer = context.access.client("ssm").get_parameters_by_path(Path=PATH)
    number = len(answer["Parameters"])
    return (
        Check(
            name="parameters",
            status="ok" if number == 3 else "fail",
            found=str(number),
            expected="3",
        ),
    )


OPERATION = Operation(
    name="test", plan=_plan, actions={"make": _make}, verify=_verify, approved=False
)


def test_a_plan_is_shown_and_nothing_is_done(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = perform(setting, OPERATION, "dev", {}, Consent(dry_run=True))
    report = json.loads(capsys.readouterr().out)
    assert code == ExitCode.OK
    assert (report["result"], report["run"]) == ("planned", "")
    assert [step["summary"] for step in report["plan"]["steps"]] == [
        "make one",
        "make two",
        "make three",
    ]
    assert _made(client) == []


def test_it_acts_verifies_and_tells(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = perform(setting, OPERATION, "dev", {}, CONSENT)
    report = json.loads(capsys.readouterr().out)
    assert code == ExitCode.OK
    assert report["result"] == "succeeded"
    assert [check["status"] for check in report["checks"]] == ["ok"]
    assert len(_made(client)) == 3

    shown = _ops("runs", "show", report["run"], capsys=capsys)
    assert shown["finished"]
    assert [record["kind"] for record in shown["records"]] == [
        "begun", *["intent", "result"] * 3, "verified", "ended",
    ]  # fmt: skip
    begun = shown["records"][0]
    assert (begun["why"], begun["plan_hash"]) == ("a test", report["plan_hash"])
    keys = client("s3").list_objects_v2(
        Bucket=f"{naming.state_bucket('dev')}-0a1b2c3", Prefix=f"ops/runs/{report['run']}/"
    )
    assert keys["KeyCount"] == len(shown["records"]), "the state bucket has every record, too"
    assert _held(client) is None


def test_nothing_to_do_is_no_run(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    perform(setting, OPERATION, "dev", {}, CONSENT)
    capsys.readouterr()
    assert perform(setting, OPERATION, "dev", {}, CONSENT) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["result"] == "nothing to do"


def test_what_is_found_where_nothing_is_to_do_is_told_and_has_its_exit_code(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    left = Check(name="left", status="fail", found="something")
    operation = dataclasses.replace(OPERATION, idle=lambda _access, _plan: (left,))
    planned = perform(setting, operation, "dev", {}, Consent(dry_run=True))
    assert planned == ExitCode.OK, "what is to do comes first"
    perform(setting, OPERATION, "dev", {}, CONSENT)
    capsys.readouterr()
    assert perform(setting, operation, "dev", {}, CONSENT) == ExitCode.FINDINGS
    report = json.loads(capsys.readouterr().out)
    assert (report["result"], report["run"]) == ("nothing to do", "")
    assert [check["name"] for check in report["checks"]] == ["left"]


def test_what_verification_finds_has_its_exit_code(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perform(setting, OPERATION, "dev", {"names": ["one"]}, CONSENT) == ExitCode.FINDINGS
    report = json.loads(capsys.readouterr().out)
    assert (report["result"], report["checks"][0]["found"]) == ("succeeded", "1")


def test_a_run_that_failed_halfway_is_resumed_with_what_is_left(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _FAULTS.add("two")
    assert perform(setting, OPERATION, "dev", {}, CONSENT) == ExitCode.PARTIAL
    failed = json.loads(capsys.readouterr().out)
    assert [step["outcome"] for step in failed["steps"]] == ["done", "failed", "not begun"]
    listed = _ops("runs", "list", "dev", capsys=capsys)
    assert [item["result"] for item in listed["runs"] if item["run"] == failed["run"]] == [
        "partial"
    ]

    _FAULTS.clear()
    resumed = _ops("resume", failed["run"], "--yes", capsys=capsys)
    assert [step["outcome"] for step in resumed["steps"]] == ["done"] * 3
    versions = client("ssm").get_parameters_by_path(Path=PATH)["Parameters"]
    assert {item["Version"] for item in versions} == {1}, "nothing was done twice"
    _ops("resume", failed["run"], "--yes", code=ExitCode.USAGE, capsys=capsys)


def test_a_run_is_resumed_on_another_machine(
    setting: Setting,
    client: Callable[[str], Any],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _FAULTS.add("two")
    perform(setting, OPERATION, "dev", {}, CONSENT)
    failed = json.loads(capsys.readouterr().out)
    Path(failed["journal"]).unlink()
    _FAULTS.clear()
    assert _ops("resume", failed["run"], "--yes", capsys=capsys)["result"] == "succeeded"
    assert len(_made(client)) == 3


def test_a_second_operator_is_refused_while_the_first_is_at_work(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lock = _lock(client)
    with lock.hold(_somebody()):
        with pytest.raises(RefusedError, match="by jane-doe"):
            perform(setting, OPERATION, "dev", {}, CONSENT)
        held = _ops("lock", "status", "dev", code=ExitCode.FINDINGS, capsys=capsys)
        assert held["holder"]["operator"] == "jane-doe"
    assert _made(client) == []
    assert not _ops("lock", "status", "dev", capsys=capsys)["held"]


def test_an_emergency_goes_on_without_a_lock_and_journals_that_cannot_be_had(
    setting: Setting,
    client: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emergency = dataclasses.replace(OPERATION, emergency=True)
    with _lock(client).hold(_somebody()), pytest.raises(RefusedError, match="by jane-doe"):
        perform(setting, emergency, "dev", {}, CONSENT)
    for api in ("s3:ListBuckets", "dynamodb:PutItem"):
        with monkeypatch.context() as patch:
            aws_faults.install([aws_faults.always(aws_faults.DENIED, api)], patch.setattr)
            with pytest.raises(OpsError, match="Nothing was done"):
                perform(setting, OPERATION, "dev", {}, CONSENT)
            assert _made(client) == []
    capsys.readouterr()

    denied = aws_faults.always(aws_faults.DENIED, "s3:*", "dynamodb:*")
    aws_faults.install([denied], monkeypatch.setattr)
    assert perform(setting, emergency, "dev", {}, CONSENT) == ExitCode.OK
    said = capsys.readouterr()
    assert len(_made(client)) == 3
    assert "Going on, since this is an emergency: with the runs that this machine knows" in said.err
    assert "without what keeps others from acting meanwhile" in said.err
    assert Path(json.loads(said.out)["journal"]).exists()


def test_a_lock_is_released_for_the_run_that_is_named(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with _lock(client).hold(_somebody()):
        for arguments in (("--yes",), ("--yes", "--run", "another-run"), ()):
            code = run(("--sandbox", "lock", "release", "dev", *arguments))
            assert code == ExitCode.REFUSED
            assert "Nothing was" in capsys.readouterr().err
        assert run(("--sandbox", "lock", "release", "dev", "--yes", "--run", "run-1")) == 0
        assert "Released" in capsys.readouterr().out
        assert _held(client) is None
    assert run(("--sandbox", "lock", "release", "dev", "--yes")) == ExitCode.USAGE


def test_a_script_has_to_name_the_plan_that_it_agrees_to(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bound = dataclasses.replace(OPERATION, bound=True)
    with pytest.raises(RefusedError, match="--plan-hash") as refused:
        perform(setting, bound, "dev", {}, CONSENT)
    planned = perform(setting, bound, "dev", {}, Consent(dry_run=True))
    assert planned == ExitCode.OK
    plan_hash = json.loads(capsys.readouterr().out)["plan_hash"]
    assert plan_hash in str(refused.value)

    client("ssm").put_parameter(Name=f"{PATH}/another", Value="1", Type="String")
    with pytest.raises(RefusedError, match="another than the one"):
        perform(setting, bound, "dev", {}, Consent(yes=True, plan_hash=plan_hash))
    assert _made(client) == [f"{PATH}/another"], "nothing was done"
    client("ssm").delete_parameter(Name=f"{PATH}/another")
    assert perform(setting, bound, "dev", {}, Consent(yes=True, plan_hash=plan_hash)) == 0


def test_nobody_to_ask_and_no_agreement_is_a_refusal(
    setting: Setting, client: Callable[[str], Any]
) -> None:
    with pytest.raises(RefusedError, match="no terminal"):
        perform(setting, OPERATION, "dev", {}, Consent())
    assert _made(client) == []


def test_a_run_of_another_cloud_is_not_resumed(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    _FAULTS.add("one")
    perform(setting, OPERATION, "dev", {}, CONSENT)
    path = Path(json.loads(capsys.readouterr().out)["journal"])
    path.write_text(path.read_text().replace("sandbox ", "another sandbox ", 1))
    renamed = path.with_name(path.name.replace("-test-dev-", "-test-dev-f"))
    path.rename(renamed)
    assert run(("--sandbox", "resume", renamed.stem, "--yes")) == ExitCode.REFUSED
    assert "acted on sandbox, another sandbox" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nonsense", "20261201-030000-test-nowhere-a1b2"])
def test_what_is_no_run_is_told_with_how_to_see_them(
    setting: Setting, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("--sandbox", "resume", name)) == ExitCode.USAGE
    assert "ops runs list" in capsys.readouterr().err


def test_an_environment_without_bootstrap_is_told_to_make_one(
    setting: Setting, client: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("--sandbox", "lock", "status", "uat")) == ExitCode.ERROR
    assert "ops bootstrap uat" in capsys.readouterr().err


def _ops(
    *arguments: str, capsys: pytest.CaptureFixture[str], code: ExitCode = ExitCode.OK
) -> dict[str, Any]:
    capsys.readouterr()
    ended = run(("--sandbox", *arguments, "--json"))
    captured = capsys.readouterr()
    assert ended == code, captured.err
    said: dict[str, Any] = json.loads(captured.out) if captured.out else {}
    return said


def _client(cloud: servers.Cloud, service: str) -> Any:
    session = servers.assume(cloud, "111122223333", "us-east-1")
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=cloud.endpoint,
        aws_access_key_id=session.access_key_id,
        aws_secret_access_key=session.secret_access_key,
        aws_session_token=session.session_token,
    )


def _made(client: Callable[[str], Any]) -> list[str]:
    found = client("ssm").get_parameters_by_path(Path=PATH)["Parameters"]
    return sorted(item["Name"] for item in found)


def _lock(client: Callable[[str], Any]) -> locks.Lock:
    return locks.Lock(client("dynamodb"), naming.lock_table("dev"), "dev", now=operations._now)


def _held(client: Callable[[str], Any]) -> locks.Held | None:
    return _lock(client).status()


def _somebody() -> locks.Holder:
    holder = locks.Holder.this_process("run-1", "stop", "jane-doe", operations._now())
    return dataclasses.replace(holder, host="another-machine")

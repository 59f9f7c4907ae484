"""Destroying what is protected: only once it is agreed to, and all of it comes back otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError, CommandResult

from infra.sandbox import servers
from infra.sandbox.engine.backend import Backend, StackReference
from infra.sandbox.engine.checkpoint import Kept
from infra.sandbox.engine.state import Resource
from ops import protection
from ops.__main__ import run
from ops.errors import AuthenticationError, ExitCode
from ops.terminal import Terminal
from tests.ops.conftest import Ended
from tests.sandbox.listing import Account, Found, difference

pytestmark = pytest.mark.sandbox

DESTROY = ("--sandbox", "destroy", "dev", "--unprotect")
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@dataclass(frozen=True)
class Guarded:
    """The project's stack, made, with an object in its bucket."""

    home: Path
    account: Account
    before: Found
    ops: Callable[..., Ended]
    answers: list[str]

    @property
    def state_file(self) -> Path:
        return self.home / ".pulumi" / "stacks" / "mono-repo" / "dev.json"

    def resources(self) -> dict[str, Resource]:
        state = Backend(self.home, version="").open(StackReference("mono-repo", "dev"))
        return {entry.name: entry for entry in state.snapshot(Kept()).resources}

    def left(self) -> dict[str, list[str]]:
        return difference(self.before, self.account.listing())

    def is_table_protected(self) -> bool:
        table = self.account.client("dynamodb").describe_table(TableName="guarded")["Table"]
        return bool(table["DeletionProtectionEnabled"])


@pytest.fixture
def guarded(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Guarded]:
    """A made stack, and an operator who types `answers`."""
    project, home = tmp_path / "project", tmp_path / "sandbox"
    project.mkdir()
    for path in root.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    shutil.copy(Path(__file__).with_name("guarded_program.py"), project / "__main__.py")
    monkeypatch.chdir(project)
    monkeypatch.setenv(servers.HOME_VARIABLE, str(home))
    answers: list[str] = []
    monkeypatch.setattr(Terminal, "interactive", property(lambda _self: bool(answers)))
    monkeypatch.setattr(Terminal, "ask", lambda self, question: _answer(self, question, answers))

    def ops(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    account = Account(servers.ensure_running(home, port=0), "111122223333")
    before = account.listing()
    made = ops("--sandbox", "up", "dev", "--yes")
    assert made.code == 0, made.out + made.err
    stack = Guarded(home, account, before, ops, answers)
    bucket = stack.resources()["bucket"].id
    account.client("s3").put_object(Bucket=bucket, Key="content", Body=b"x")
    yield stack
    servers.stop(home)


def _answer(terminal: Terminal, question: str, answers: list[str]) -> str:
    terminal.note(question)
    return answers.pop(0)


def test_the_plan_names_what_is_protected_and_another_name_than_the_environments_changes_nothing(
    guarded: Guarded,
) -> None:
    before = guarded.state_file.read_bytes()
    guarded.answers.append("prod")
    ended = guarded.ops(*DESTROY)
    assert ended.code == ExitCode.CANCELLED
    assert "6 to delete" in ended.out
    assert "3 of these protected: that comes off for this command" in ended.out
    assert "aws:kms:Key" in ended.out
    assert "Type the environment's name to destroy mono-repo/dev (6 changes)" in ended.err
    assert guarded.state_file.read_bytes() == before, "not even for a moment"
    assert guarded.is_table_protected()


def test_once_the_name_is_typed_all_of_it_goes_with_its_content(guarded: Guarded) -> None:
    guarded.answers.append("dev")
    ended = guarded.ops(*DESTROY)
    assert ended.code == 0, ended.out + ended.err
    assert guarded.left() == {}
    assert guarded.resources() == {}


def test_what_a_failed_destroy_leaves_is_protected_again_and_kept_by_the_next_up(
    guarded: Guarded,
) -> None:
    guarded.account.client("iam").attach_role_policy(RoleName="guarded", PolicyArn=READ_ONLY)
    guarded.answers.append("dev")
    ended = guarded.ops(*DESTROY)
    assert ended.code in (ExitCode.ERROR, ExitCode.PARTIAL), ended.out
    assert "FAILED to delete" in ended.out
    assert "Protected again, as they are still there: 3. Run `up` to keep them." in ended.err
    marked = {name for name, entry in guarded.resources().items() if entry.protect}
    assert marked == {"key", "bucket", "table"}
    guarded.account.client("iam").detach_role_policy(RoleName="guarded", PolicyArn=READ_ONLY)

    assert guarded.ops("--sandbox", "up", "dev", "--yes").code == 0
    assert guarded.is_table_protected()
    assert not guarded.resources()["bucket"].inputs.get("forceDestroy")
    again = guarded.ops("--sandbox", "preview", "dev", "--refresh", "--detailed-exitcode")
    assert again.code == 0, again.out


def test_a_state_that_cannot_be_written_does_not_hide_why_something_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(_stack: Any, verb: str, _urns: Any) -> None:
        if verb == "unprotect":
            return
        raise CommandError(CommandResult(stdout="", stderr="error: it is locked", code=255))

    entry = {"urn": "urn:1", "protect": False}
    monkeypatch.setattr(protection, "entries", lambda _stack: (entry,))
    monkeypatch.setattr(protection, "_mark", locked)
    told: list[str] = []
    stack: Any = None
    with (
        pytest.raises(AuthenticationError, match="expired"),
        protection.unmarked(stack, (), told.append, also=["urn:1"]),
    ):
        raise AuthenticationError("expired")
    (line,) = told
    assert "could not be protected again in the state: `up` protects what is left" in line
    assert "it is locked" in line


def test_without_anybody_to_ask_nothing_is_unprotected(guarded: Guarded) -> None:
    before = guarded.state_file.read_bytes()
    ended = guarded.ops(*DESTROY)
    assert ended.code == ExitCode.REFUSED
    assert "Give --yes" in ended.err
    assert guarded.state_file.read_bytes() == before


def test_neither_the_stack_file_nor_an_override_of_the_protection_is_changed(
    guarded: Guarded,
) -> None:
    key = "mono-repo:settings.deletion_protection"
    assert guarded.ops("sandbox", "config", "dev", key, "true", "--path").code == 0
    overrides = guarded.ops("sandbox", "config", "dev").out
    file = Path("Pulumi.dev.yaml").read_bytes()
    guarded.answers.append("dev")
    ended = guarded.ops(*DESTROY)
    assert ended.code == 0, ended.out + ended.err
    assert guarded.ops("sandbox", "config", "dev").out == overrides
    assert '"deletion_protection":true' in overrides.replace(" ", "")
    assert Path("Pulumi.dev.yaml").read_bytes() == file
    assert list((guarded.home / "configuration").iterdir()) == []

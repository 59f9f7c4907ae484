"""Whole command lines, as far as they need neither the engine nor a cloud."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.__main__ import run
from ops.errors import EXIT_CODE_MEANINGS, ExitCode
from ops.reference import BEGIN, reference
from ops.render import Line
from ops.terminal import Progress, Terminal
from ops.tree import UpdateLog
from tests.ops.conftest import Ops
from tests.ops.events import VPC, done, pre

PAGE = Path("docs/ops.md")


def _python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("module", ["ops.__main__", "ops.parameters"])
def test_neither_help_nor_the_applications_side_imports_pulumi(root: Path, module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = set(_python(root, "-c", code).stdout.split())
    assert module in loaded
    assert not loaded & {"pulumi", "boto3", "botocore", "pydantic", "rich", "moto", "yaml"}


def test_help_is_printed_without_importing_pulumi_or_boto3(root: Path) -> None:
    code = (
        "import sys; from ops.__main__ import run; code = run(['--help']); "
        "print(*sys.modules); sys.exit(code)"
    )
    ended = _python(root, "-c", code)
    assert ended.returncode == 0
    assert "preview" in ended.stdout
    assert not set(ended.stdout.split()) & {"pulumi", "boto3", "botocore", "pydantic", "rich"}


def test_the_modules_of_a_parameter_set_up_need_no_pulumi(root: Path) -> None:
    code = "import sys, ops.parameters.setup; print(*sys.modules)"
    assert "pulumi" not in _python(root, "-c", code).stdout.split()


def test_without_a_command_the_help_is_shown(ops: Ops) -> None:
    assert "Commands:" in "".join((ended := ops()).out + ended.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("up",),
        ("nonsense",),
        ("preview", "dev", "--nonsense"),
        ("preview", "dev", "--parallel", "0"),
        ("preview", "dev", "--output", "xml"),
        ("--sandbox", "preview", "dev", "--json", "--output", "md"),
        ("--sandbox", "preview", "dev", "--target-dependents"),
        ("--sandbox", "preview", "staging"),
        ("sandbox", "start", "staging"),
        ("sandbox", "reset", "staging"),
        ("sandbox", "config", "dev", "key", "value", "--secret"),
        ("settings", "check"),
        ("settings", "check", "dev", "--all"),
        ("--root", "/", "settings", "check", "dev"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_runs_nothing(
    ops: Ops, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ended = ops(*arguments)
    assert ended.code == ExitCode.USAGE
    assert "Error" in ended.err or "error" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "sandbox").exists()


def test_settings_that_are_right_are_said_to_be(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is right today leaves support one day, and is tested with a day of its own.
    monkeypatch.setattr("infra.version_calendar.findings", lambda *_: ())
    ended = ops("settings", "check", "--all")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"Pulumi.{env}.yaml: no problem found" for env in ("dev", "uat", "prod")
    ]


def test_wrong_settings_are_findings_with_what_was_found_and_the_remedy(
    ops: Ops, project: Path
) -> None:
    file = project / "Pulumi.uat.yaml"
    file.write_text(file.read_text().replace('"444455556666"', '"44445555666"', 1))
    ended = ops("settings", "check", "uat")
    assert ended.code == ExitCode.FINDINGS
    assert "found:   '44445555666'" in ended.out
    assert "remedy:" in ended.out
    report = json.loads(ops("settings", "check", "uat", "--json").out)
    assert (report["version"], report["command"]) == (1, "settings check")
    assert report["findings"][0]["path"].endswith("account_id")


def test_a_version_out_of_support_is_a_finding_that_says_what_to_set(
    ops: Ops, project: Path
) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace('engine_version: "17"', 'engine_version: "13"', 1))
    ended = ops("settings", "check", "dev")
    assert ended.code == ExitCode.FINDINGS
    assert "of database main (mono-repo-dev) left standard support on 2026-02-28" in ended.out
    assert "Set databases[0].engine_version to " in ended.out


def test_without_a_cli_the_user_is_told_of_the_cli_before_credentials(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = ops("up", "dev", "--yes")
    assert ended.code == ExitCode.ERROR
    assert "No `pulumi` was found" in ended.err
    assert "--sandbox" in ended.err


def test_lines_for_a_shell_point_it_at_the_environment_and_print_no_credential(ops: Ops) -> None:
    ended = ops("env", "prod")
    assert ended.code == 0
    assert "export AWS_REGION=us-east-1" in ended.out
    assert "export PULUMI_STACK=prod" in ended.out
    assert "arn:aws:iam::777788889999:role/mono-repo-prod-deploy" in ended.err
    assert "ACCESS_KEY" not in ended.out


def test_a_shell_that_was_pointed_at_the_sandbox_is_pointed_away_from_it(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost")
    monkeypatch.delenv("MONO_REPO_SANDBOX", raising=False)
    own = ops("env", "dev")
    assert {"unset AWS_ENDPOINT_URL", "unset AWS_ENDPOINT_URL_S3"} <= set(own.out.splitlines())
    assert "AWS_SESSION_TOKEN" not in own.out, "credentials of one's own are left alone"
    monkeypatch.setenv("MONO_REPO_SANDBOX", "1")
    ended = ops("env", "dev")
    assert {
        "unset MONO_REPO_SANDBOX",
        "unset AWS_ACCESS_KEY_ID",
        "unset AWS_SECRET_ACCESS_KEY",
        "unset AWS_SESSION_TOKEN",
        "unset AWS_EC2_METADATA_DISABLED",
    } <= set(ended.out.splitlines())
    assert "role/mono-repo-dev-deploy in this shell, then run pulumi" in ended.err


def test_what_depends_on_a_target_is_not_unprotected_and_that_is_told_first(ops: Ops) -> None:
    ended = ops(
        *("--sandbox", "destroy", "dev", "--unprotect"),
        *("--target", "urn", "--target-dependents"),
    )
    assert ended.code == ExitCode.USAGE
    assert "exclude each other" in ended.err
    assert ended.out == ""


def test_the_backend_of_the_stack_file_is_among_the_lines(ops: Ops, project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    url = "s3://mono-repo-dev-pulumi-state-abc?region=us-east-1"
    text = file.read_text().replace("    backend:\n", f"    backend:\n      url: {url}\n", 1)
    file.write_text(text)
    assert f"export PULUMI_BACKEND_URL='{url}'" in ops("env", "dev").out


def test_versions_name_the_cli_that_is_not_there(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = ops("version")
    assert ended.code == 0
    assert "pulumi cli  not installed (only --sandbox works without it)" in ended.out


def test_a_sandbox_that_was_never_started_is_said_not_to_run_and_is_not_made(
    ops: Ops, tmp_path: Path
) -> None:
    ended = ops("sandbox", "status")
    assert ended.code == 0
    assert "No sandbox cloud is running" in ended.out
    assert json.loads(ops("sandbox", "status", "--json").out)["running"] is False
    for command in ("stop", "reset"):
        assert ops("sandbox", command).code == 0
    assert not (tmp_path / "sandbox").exists()


def _raise(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("ops.versions.versions", fail)


def test_a_defect_of_ops_is_short_and_says_how_to_get_the_traceback(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raise(monkeypatch, ZeroDivisionError("x"))
    ended = ops("version")
    assert ended.code == ExitCode.ERROR
    assert "Unexpected: ZeroDivisionError: x" in ended.err
    assert "--debug" in ended.err
    assert "Traceback" not in ended.err
    assert "Traceback" in ops("--debug", "version").err


def test_a_full_disk_is_told_as_such(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/state.json"))
    ended = ops("version")
    assert ended.code == ExitCode.ERROR
    assert "The disk is full (/state.json)" in ended.err


def test_a_package_that_is_missing_is_told_with_how_to_install_it(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raise(monkeypatch, ModuleNotFoundError("No module named 'moto'", name="moto"))
    ended = ops("version")
    assert ended.code == ExitCode.ERROR
    assert "'moto' is not installed" in ended.err


def test_an_interrupt_exits_with_8(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, KeyboardInterrupt())
    ended = ops("version")
    assert (ended.code, ended.err) == (ExitCode.CANCELLED, "error: Cancelled.\n")


def test_an_old_python_is_told_in_words_that_it_can_parse(root: Path) -> None:
    source = (root / "ops" / "__init__.py").read_text()
    old = "import sys\nsys.version_info = (3, 8, 18)\n" + source
    ended = _python(root, "-c", old)
    assert ended.returncode == 1
    assert "ops needs Python 3.11 or later; this is Python 3.8" in ended.stderr
    assert "Traceback" not in ended.stderr
    # What Python 2 and 3.5 cannot parse would be a syntax error before it could say anything.
    assert not [word for word in ('f"', "f'", ":=", "annotations") if word in source]


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_and_no_color_turns_them_off() -> None:
    line = Line("created", "green")
    screen, silent, file = _Screen(), _Screen(), io.StringIO()
    Terminal(screen, screen, environment={"TERM": "xterm"}).result([line])
    Terminal(silent, silent, environment={"TERM": "xterm", "NO_COLOR": "1"}).result([line])
    Terminal(file, file, environment={"TERM": "xterm"}).result([line])
    assert "\x1b[" in screen.getvalue()
    assert silent.getvalue() == file.getvalue() == "created\n"


def test_text_that_looks_like_markup_is_printed_as_it_is() -> None:
    screen = _Screen()
    Terminal(screen, screen, environment={"TERM": "xterm"}).result([Line("[bold]x[/bold]")])
    assert "[bold]x[/bold]" in screen.getvalue()


def test_without_a_terminal_each_change_is_one_line_and_nothing_is_asked() -> None:
    errors = io.StringIO()
    terminal = Terminal(io.StringIO(), errors, io.StringIO())
    log = UpdateLog(dry_run=False)
    with terminal.progress("up") as progress:
        for event in (pre("create", VPC), done("create", VPC)):
            change = log.take(event)
            assert change is not None
            progress(log, change)
    assert not terminal.interactive
    assert len(errors.getvalue().splitlines()) == 1
    assert "aws:ec2:Vpc  network-vpc  created" in errors.getvalue()


def test_progress_says_what_is_waited_for() -> None:
    progress = Progress(Terminal(), "up mono-repo/dev")
    assert progress.text() == "up mono-repo/dev …"
    log = UpdateLog(dry_run=False, clock=iter(range(0, 1000, 10)).__next__)
    change = log.take(pre("create", VPC))
    assert change is not None
    progress(log, change)
    assert "0 done; waiting for aws:ec2:Vpc network-vpc" in progress.text()


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)


def test_the_page_of_the_commands_is_what_the_commands_say(root: Path) -> None:
    page = root / PAGE
    written, _, _ = page.read_text().partition(BEGIN)
    expected = f"{written}{BEGIN}\n\n{reference()}"
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(expected)
    assert page.read_text() == expected, "run `make golden` and review the difference"


def test_run_gives_the_code_of_the_help() -> None:
    assert run(["--help"]) == 0

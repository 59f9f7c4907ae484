"""Whole command lines on AWS that cannot go on: the message, the exit code, and nothing run."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from ops.errors import ExitCode
from tests.ops.conftest import Ops

BACKEND = "s3://mono-repo-dev-pulumi-state-abc?region=us-east-1"
COMMANDS = (("preview", "dev"), ("up", "dev", "--yes"), ("destroy", "dev", "--yes"))


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` on the PATH that notes what it is asked, and does nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    asked.touch()
    _install(folder, f'echo "$@" >> {asked}\necho v3.259.0\n')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return asked


def _install(folder: Path, script: str) -> None:
    program = folder / "pulumi"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)


class _Sts:
    """A session whose STS refuses."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def client(self, _service: str, **_options: object) -> _Sts:
        return self

    def get_caller_identity(self) -> None:
        raise self.error


def _expired() -> ClientError:
    return ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "GetCallerIdentity")


@pytest.mark.parametrize("command", COMMANDS)
@mock_aws
def test_the_wrong_account_exits_with_6_and_the_cli_is_not_asked(
    command: tuple[str, ...], ops: Ops, cli: Path
) -> None:
    ended = ops(*command)
    assert ended.code == ExitCode.NOT_AUTHENTICATED
    assert "123456789012" in ended.err
    assert "111122223333" in ended.err
    assert cli.read_text() == ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "words"),
    [(NoCredentialsError(), "No usable AWS credentials"), (_expired(), "have expired")],
    ids=["none", "expired"],
)
def test_no_or_expired_credentials_exit_with_6_and_name_the_sandbox(
    command: tuple[str, ...],
    error: Exception,
    words: str,
    ops: Ops,
    cli: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(boto3, "Session", lambda **_options: _Sts(error))
    ended = ops(*command)
    assert ended.code == ExitCode.NOT_AUTHENTICATED
    assert words in ended.err
    assert "--sandbox" in ended.err
    assert cli.read_text() == ""


@mock_aws
def test_a_cli_that_is_too_old_exits_with_1_and_both_versions(
    ops: Ops, cli: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    _state_in(project, BACKEND)
    _install(cli.parent / "bin", "echo v3.100.0\n")
    ended = ops("preview", "dev")
    assert ended.code == ExitCode.ERROR
    assert "3.181.0 or later is needed" in ended.err
    assert "3.100.0" in ended.err
    assert "Nothing was run" in ended.err


@mock_aws
def test_a_shell_that_points_at_another_backend_exits_with_5(
    ops: Ops, cli: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file://~")
    _state_in(project, BACKEND)
    ended = ops("preview", "dev")
    assert ended.code == ExitCode.REFUSED
    assert "file://~" in ended.err
    assert "Nothing was run" in ended.err
    assert cli.read_text() == ""


def _state_in(project: Path, url: str) -> None:
    file = project / "Pulumi.dev.yaml"
    text = file.read_text().replace("    backend:\n", f"    backend:\n      url: {url}\n", 1)
    file.write_text(text)


@pytest.mark.parametrize("mode", [(), ("--sandbox",)])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("config:\n\tmono-repo:settings: {}\n", "Pulumi.dev.yaml"),
        ("", "Pulumi.dev.yaml"),
        ("- a list\n", "Pulumi.dev.yaml"),
        ("config:\n  mono-repo:settings: text\n", "Pulumi.dev.yaml"),
        ("config:\n  mono-repo:settings:\n    acount_id: '1'\n", "account_id"),
    ],
    ids=["tab", "empty", "list", "text", "misspelt"],
)
def test_a_stack_file_that_is_none_exits_with_2_and_names_the_file(
    mode: tuple[str, ...], content: str, words: str, ops: Ops, cli: Path, project: Path
) -> None:
    (project / "Pulumi.dev.yaml").write_text(content)
    ended = ops(*mode, "preview", "dev")
    assert ended.code == ExitCode.USAGE
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert cli.read_text() == ""


def test_a_stack_file_that_is_missing_exits_with_2_and_names_it(ops: Ops, project: Path) -> None:
    (project / "Pulumi.dev.yaml").unlink()
    ended = ops("--sandbox", "preview", "dev")
    assert ended.code == ExitCode.USAGE
    assert "Pulumi.dev.yaml" in ended.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("preview", "dev", "--sandbox"), "ops --sandbox preview dev"),
        (("sandbox", "up", "dev", "--yes"), "ops --sandbox up dev --yes"),
        (("params", "setup", "dev", "--sandbox"), "ops --sandbox params setup dev"),
    ],
)
def test_who_mixes_up_the_two_ways_of_saying_sandbox_is_told_what_to_type(
    typed: tuple[str, ...], meant: str, ops: Ops, tmp_path: Path
) -> None:
    ended = ops(*typed)
    assert ended.code == ExitCode.USAGE
    assert f"Did you mean: {meant}\n" in ended.err
    assert not (tmp_path / "sandbox").exists()


def test_another_mistake_is_not_taken_for_that_one(ops: Ops) -> None:
    assert "Did you mean" not in ops("--sandbox", "preview", "dev", "--nonsense").err
    assert "Did you mean" not in ops("sandbox", "nonsense").err

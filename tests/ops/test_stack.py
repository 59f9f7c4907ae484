"""Opening a stack: what has to be there first."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from infra.settings import Settings
from ops import stack
from ops.access import Access
from ops.errors import OpsError, UsageError


@pytest.fixture
def on_aws(project: Path, dev: Settings) -> Access:
    return Access(
        mode="aws",
        root=project,
        settings=dev,
        cloud="AWS",
        caller="",
        variables={"PULUMI_BACKEND_URL": "s3://mono-repo-dev-pulumi-state-abc"},
        client=lambda service: service,
        own_client=lambda service: service,
        records=project / ".ops",
    )


def _with_backend(access: Access) -> Access:
    backend = access.settings.backend.model_copy(update={"url": "s3://state-of-dev"})
    settings = access.settings.model_copy(update={"backend": backend})
    return Access(**{**access.__dict__, "settings": settings})


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder.mkdir()
    program = folder / "pulumi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_without_a_cli_the_message_says_how_to_install_it_and_that_there_is_a_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpsError, match=r"Install the Pulumi CLI .*--sandbox"):
        stack.installed_command()


def test_a_cli_that_is_too_old_is_refused_with_both_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(tmp_path / "bin", monkeypatch, "echo v3.100.0")
    with pytest.raises(OpsError, match=r"3\.181\.0 or later is needed.*3\.100\.0"):
        stack.installed_command()


def test_a_cli_that_fails_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install(tmp_path / "bin", monkeypatch, "exit 3")
    with pytest.raises(OpsError, match="failed with exit code 3"):
        stack.installed_command()


def test_a_stack_that_the_backend_does_not_have_is_told_with_the_line_that_makes_it(
    on_aws: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = (
        'case "$*" in *version*) echo v3.259.0 ;; '
        "*) echo \"error: no stack named 'dev' found\" >&2; exit 6 ;; esac"
    )
    _install(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(OpsError) as caught:
        stack.open_stack(_with_backend(on_aws))
    assert "s3://state-of-dev" in str(caught.value)
    assert "pulumi stack init dev --secrets-provider 'awskms://" in str(caught.value)


def test_without_a_backend_in_the_stack_file_nothing_is_run_on_aws(on_aws: Access) -> None:
    with pytest.raises(UsageError, match=r"backend\.url is missing"):
        stack.open_stack(on_aws)


class _EmptyAccount:
    """S3 of an account that has no bucket."""

    def get_paginator(self, _operation: str) -> _EmptyAccount:
        return self

    def paginate(self, **_arguments: str) -> list[dict[str, list[str]]]:
        return [{}]


def test_before_the_bootstrap_its_stack_is_told_with_the_command_that_makes_it(
    on_aws: Access,
) -> None:
    access = dataclasses.replace(on_aws, own_client=lambda _service: _EmptyAccount())
    with pytest.raises(OpsError, match=r"Nothing was run\. Make it with: ops bootstrap dev"):
        stack.open_stack(_with_backend(access), "bootstrap")
    with pytest.raises(OpsError, match=r"Make it with: ops bootstrap account"):
        stack.open_stack(_with_backend(access), "account")

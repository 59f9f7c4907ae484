"""Opening a stack: what has to be there first."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    assert "commit them" in str(caught.value)


KEY = "awskms://alias/mono-repo-dev-pulumi-state?region=us-east-1"
WITH_KEY = f"secretsprovider: {KEY}\nencryptedkey: AQICAHh+made/up==\n"


def _install_with_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch, provider: Mapping[str, object] | None
) -> None:
    """Install a CLI whose backend has the stack; `provider`: what encrypts its state."""
    state = folder.with_name("state.json")
    deployment: dict[str, Any] = {"secrets_providers": provider, "resources": []}
    state.write_text(json.dumps({"version": 3, "deployment": deployment}))
    asked = folder.with_name("asked")
    script = (
        f'echo "$*" >> {asked}\n'
        f'case "$*" in *version*) echo v3.259.0 ;; *"stack export"*) cat {state} ;; esac'
    )
    _install(folder, monkeypatch, script)


def test_a_stack_file_that_says_what_encrypts_its_state_is_opened_and_not_written(
    on_aws: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = on_aws.root / "Pulumi.dev.yaml"
    file.write_text(WITH_KEY + file.read_text())
    before = file.read_text()
    _install_with_state(tmp_path / "bin", monkeypatch, None)
    assert stack.open_stack(_with_backend(on_aws)).name == "dev"
    assert file.read_text() == before


@pytest.mark.parametrize(
    "lines",
    [
        f"secretsprovider: {KEY}\n",
        f"encryptedkey: AQICAHh+made/up==\nnested:\n  secretsprovider: {KEY}\n",
        "encryptionsalt: v1:c2FsdA==:v1:made:up\n",
        "secretsprovider: awskms://alias/another?region=us-east-1\nencryptedkey: AQIC==\n",
    ],
)
def test_a_stack_file_that_says_otherwise_what_encrypts_its_state_is_refused_with_the_lines(
    lines: str, on_aws: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = on_aws.root / "Pulumi.dev.yaml"
    file.write_text(lines + file.read_text())
    before = file.read_text()
    provider = {"type": "cloud", "state": {"url": KEY, "encryptedkey": "AQICAHh+made/up=="}}
    _install_with_state(tmp_path / "bin", monkeypatch, provider)
    with pytest.raises(UsageError, match="Nothing was run") as caught:
        stack.open_stack(_with_backend(on_aws))
    assert f"    secretsprovider: {KEY}\n    encryptedkey: AQICAHh+made/up==" in str(caught.value)
    assert file.read_text() == before
    assert "--show-secrets" not in (tmp_path / "asked").read_text()


def test_a_stack_file_that_says_nothing_goes_by_the_state(
    on_aws: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = {"type": "cloud", "state": {"url": KEY, "encryptedkey": "AQICAHh+made/up=="}}
    _install_with_state(tmp_path / "bin", monkeypatch, provider)
    opened = stack.open_stack(_with_backend(on_aws))
    assert opened.name == "dev"


@pytest.mark.parametrize("provider", [None, {"type": "passphrase", "state": {"salt": "v1:x"}}])
def test_a_state_that_something_else_encrypts_is_told_with_the_command_that_puts_it_right(
    provider: Mapping[str, object] | None,
    on_aws: Access,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    _install_with_state(tmp_path / "bin", monkeypatch, provider)
    with pytest.raises(UsageError, match="passphrase" if provider else "nothing yet") as caught:
        stack.open_stack(_with_backend(on_aws))
    assert f"pulumi stack change-secrets-provider '{KEY}' --stack dev" in str(caught.value)


def test_a_pulumi_cloud_keeps_the_key_itself(
    on_aws: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    update = {"url": "https://api.pulumi.com", "secrets_provider": "default"}
    backend = on_aws.settings.backend.model_copy(update=update)
    settings = on_aws.settings.model_copy(update={"backend": backend})
    _install_with_state(tmp_path / "bin", monkeypatch, None)
    assert stack.open_stack(dataclasses.replace(on_aws, settings=settings)).name == "dev"


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

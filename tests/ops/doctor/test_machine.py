"""What the doctor finds on the machine itself."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from infra.settings import Settings
from ops.doctor import machine


@pytest.mark.parametrize(
    ("version", "status"), [("3.10.14", "fail"), ("3.11.0", "ok"), ("3.14.1", "ok")]
)
def test_an_interpreter_that_is_too_old_is_told(version: str, status: str) -> None:
    assert machine.python(version).status == status


def test_packages_that_are_missing_fail_and_others_than_pinned_warn(tmp_path: Path) -> None:
    pinned = f"boto3=={metadata.version('boto3')} \\\n    --hash=sha256:0\n"
    file = tmp_path / "requirements.txt"
    file.write_text(pinned)
    assert machine.packages(tmp_path).status == "ok"
    file.write_text(f"{pinned}typer==0.0.1\nonly-elsewhere==1.0 ; sys_platform == 'win32' \\\n")
    warned = machine.packages(tmp_path)
    assert warned.status == "warn"
    assert "(pinned 0.0.1)" in warned.found
    file.write_text(f"{pinned}no-such-package==1.0\n")
    missing = machine.packages(tmp_path)
    assert missing.status == "fail"
    assert "no-such-package not installed" in missing.found


@pytest.mark.parametrize(
    ("answer", "status"), [("v3.272.0", "ok"), ("v3.180.9", "fail"), ("dev build", "fail")]
)
def test_the_cli_that_is_installed_is_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: str
) -> None:
    program = tmp_path / "pulumi"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check = machine.cli("aws")
    assert check.status == status
    assert answer in check.found


def test_a_machine_without_a_cli_is_told_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.cli("aws").status == "fail"
    assert machine.plugins("aws").status == "skipped"
    assert machine.cli("sandbox").status == "skipped"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("aws-cli/2.31.0 Python/3.13.7 Linux/6.8 exe/x86_64", "ok"),
        ("aws-cli/1.16.156 Python/3.7.4 Darwin/18.7.0 botocore/1.12.146", "ok"),
        ("aws-cli/1.16.155 Python/3.7.4 Darwin/18.7.0 botocore/1.12.145", "fail"),
        ("aws 2.31.0 by somebody else", "fail"),
    ],
)
def test_an_aws_cli_that_gives_no_token_for_a_cluster_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: str
) -> None:
    program = tmp_path / "aws"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check = machine.aws_cli("aws")
    assert check.status == status
    assert answer in check.found


def test_a_machine_without_an_aws_cli_fails_and_a_rehearsal_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.aws_cli("aws").found == "no `aws` on the PATH"
    assert machine.aws_cli("aws").status == "fail"
    assert machine.aws_cli("sandbox").status == "skipped"


def test_a_stack_file_has_to_name_the_key_of_the_states_secrets_for_the_cli(
    project: Path, dev: Settings
) -> None:
    assert machine.secrets_provider("aws", dev, project).status == "skipped", "no backend yet"
    url = "s3://mono-repo-dev-pulumi-state-0123abc?region=us-east-1"
    backend = dev.backend.model_copy(update={"url": url})
    settings = dev.model_copy(update={"backend": backend})
    assert machine.secrets_provider("sandbox", settings, project).status == "skipped"
    silent = machine.secrets_provider("aws", settings, project)
    assert silent.status == "warn", "the state says it"
    assert silent.found == "Pulumi.dev.yaml says nothing, with no encryptedkey"
    file = project / "Pulumi.dev.yaml"
    text = file.read_text()
    wanted = settings.backend.secrets_provider
    file.write_text(f"secretsprovider: {wanted}\nencryptedkey: AQICAHi=\n{text}")
    assert machine.secrets_provider("aws", settings, project).status == "ok"
    file.write_text(f"secretsprovider: awskms://alias/another\nencryptedkey: AQICAHi=\n{text}")
    other = machine.secrets_provider("aws", settings, project)
    assert (other.status, other.expected.split(",")[0]) == ("fail", f"secretsprovider: {wanted}")
    cloud = settings.backend.model_copy(update={"secrets_provider": "default"})
    settings = settings.model_copy(update={"backend": cloud})
    assert machine.secrets_provider("aws", settings, project).status == "skipped"


def test_plugins_of_other_versions_than_the_program_asks_for_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version("pulumi-aws")
    listed = (
        f'[{{"name":"aws","kind":"resource","version":"{version}"}},'
        '{"name":"kubernetes","kind":"resource","version":"0.0.1"}]'
    )
    program = tmp_path / "pulumi"
    program.write_text(f"#!/bin/sh\necho '{listed}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check = machine.plugins("aws")
    assert check.status == "warn"
    assert "kubernetes" in check.found
    assert f"aws {version}" not in check.found
    assert check.remedy.startswith("pulumi install")


def test_a_disk_that_is_nearly_full_is_told_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.disk_usage(tmp_path)
    for free, status in ((10 * 1024**3, "ok"), (1024**3, "warn"), (1024**2, "fail")):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _path, free=free: found._replace(free=free)
        )
        assert machine.disk(tmp_path).status == status


def test_a_stack_file_that_cannot_be_used_fails_with_where_and_what(project: Path) -> None:
    today = dt.date(2026, 12, 1)
    assert machine.stack_file(project, "dev", today).status == "ok"
    file = project / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("us-east-1", "us-yeast", 1))
    check = machine.stack_file(project, "dev", today)
    assert check.status == "fail"
    assert "us-yeast" in check.found
    assert check.remedy == "ops settings check dev"


def test_an_endpoint_or_a_backend_that_leads_elsewhere_fails(dev: Settings) -> None:
    elsewhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "PULUMI_BACKEND_URL": "file://~"}
    assert machine.endpoints("aws", elsewhere).status == "fail"
    assert machine.endpoints("aws", {}).status == "ok"
    assert machine.backend_variable("aws", dev, elsewhere).status == "fail"
    assert machine.backend_variable("aws", dev, {}).status == "ok"

"""What is looked at on this machine, with no cloud."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import settings as stack_files
from ops.access import endpoint_variables
from ops.checks import Check, Status
from ops.stack import MINIMUM_CLI

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Mode

MINIMUM_PYTHON: Final = (3, 11)
MINIMUM_AWS_CLI: Final = (1, 16, 156)
"""The first that gives tokens for a cluster, `aws eks get-token`."""
PLUGINS: Final = ("aws", "eks", "kubernetes")
"""The Pulumi packages whose plugins the program needs."""
FREE_BYTES: Final = 2 * 1024**3
"""What plugins, states and backups want on the disk."""
LEAST_FREE_BYTES: Final = 256 * 1024**2
REQUIREMENTS: Final = "requirements.txt"

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(;[^\\]*)?")
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_SHOWN: Final = 4


def python(version: str = platform.python_version()) -> Check:
    """Check the interpreter."""
    first, second = version.split(".")[:2]
    return Check(
        name="python",
        status="ok" if (int(first), int(second)) >= MINIMUM_PYTHON else "fail",
        found=version,
        expected=f"{'.'.join(map(str, MINIMUM_PYTHON))} or later",
        remedy="install a newer Python and make the environment anew: make sandbox",
    )


def packages(root: Path) -> Check:
    """Check that what is installed is what the project pins."""
    pinned = _pinned(root / REQUIREMENTS)
    if not pinned:
        return Check(name="packages", status="skipped", found=f"no {REQUIREMENTS} in the project")
    wrong = {
        name: (_installed(name), version)
        for name, version in pinned.items()
        if _installed(name) != version
    }
    absent = [name for name, (installed, _) in wrong.items() if not installed]
    if not wrong:
        return Check(name="packages", status="ok", found=f"all {len(pinned)} as pinned")
    described = [
        f"{name} {installed or 'not installed'} (pinned {version})"
        for name, (installed, version) in wrong.items()
    ]
    more = f" and {len(described) - _SHOWN} more" if len(described) > _SHOWN else ""
    return Check(
        name="packages",
        status="fail" if absent else "warn",
        found=", ".join(described[:_SHOWN]) + more,
        expected=f"what {REQUIREMENTS} pins",
        remedy=f"pip install --require-hashes -r {REQUIREMENTS}",
    )


def cli(mode: Mode) -> Check:
    """Check the Pulumi CLI."""
    minimum = ".".join(map(str, MINIMUM_CLI))
    if mode == "sandbox":
        return Check(name="pulumi cli", status="skipped", found="the embedded engine stands in")
    path = shutil.which("pulumi")
    expected, remedy = f"{minimum} or later", "https://www.pulumi.com/docs/install/"
    if path is None:
        found = "no `pulumi` on the PATH"
        return Check(
            name="pulumi cli", status="fail", found=found, expected=expected, remedy=remedy
        )
    answer = _run(path, "version")
    version = _VERSION.search(answer)
    new_enough = version is not None and tuple(map(int, version.groups())) >= MINIMUM_CLI
    return Check(
        name="pulumi cli",
        status="ok" if new_enough else "fail",
        found=f"{answer.strip()} ({path})",
        expected=expected,
        remedy=remedy,
    )


def aws_cli(mode: Mode) -> Check:
    """Check AWS's own CLI, which signs the program, kubectl and ops in to a cluster."""
    name = "aws cli"
    if mode == "sandbox":
        return Check(name=name, status="skipped", found="the sandbox's clusters need none")
    path = shutil.which("aws")
    answer = _run(path, "--version") if path else ""
    version = _VERSION.search(answer.partition("aws-cli/")[2])
    usable = version is not None and tuple(map(int, version.groups())) >= MINIMUM_AWS_CLI
    return Check(
        name=name,
        status="ok" if usable else "fail",
        found=f"{answer.strip()} ({path})" if path else "no `aws` on the PATH",
        expected=f"{'.'.join(map(str, MINIMUM_AWS_CLI))} or later, for `aws eks get-token`",
        remedy="https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    )


def plugins(mode: Mode) -> Check:
    """Check that the plugins are there in the versions that the program will ask for."""
    if mode == "sandbox" or shutil.which("pulumi") is None:
        why = "the embedded engine needs none" if mode == "sandbox" else "no Pulumi CLI"
        return Check(name="pulumi plugins", status="skipped", found=why)
    listed = json.loads(_run(str(shutil.which("pulumi")), "plugin", "ls", "--json") or "[]")
    return _plugins(listed, {name: _installed(f"pulumi-{name}") for name in PLUGINS})


def _plugins(listed: Sequence[Mapping[str, Any]], needed: Mapping[str, str]) -> Check:
    there = {
        (item.get("name"), str(item.get("version", "")).removeprefix("v"))
        for item in listed
        if item.get("kind") == "resource"
    }
    missing = [
        f"{name} {version}" for name, version in needed.items() if (name, version) not in there
    ]
    return Check(
        name="pulumi plugins",
        status="warn" if missing else "ok",
        found=f"missing: {', '.join(missing)}" if missing else "as the program asks for",
        expected=", ".join(f"{name} {version}" for name, version in needed.items()),
        remedy="pulumi install (else the next update downloads them)",
    )


def stack_file(root: Path, environment: str, today: dt.date | None = None) -> Check:
    """Check the stack file, and how it goes with the others."""
    day = today or dt.datetime.now(tz=dt.UTC).date()
    report = stack_files.check([environment], root, day)
    file = naming.stack_file(environment)
    if report.holds:
        return Check(name="stack file", status="ok", found=f"{file} is usable")
    first, *more = report.findings
    others = f" (and {len(more)} more)" if more else ""
    return Check(
        name="stack file",
        status="warn" if environment in report.usable else "fail",
        found=f"{first.path}: {first.found}{others}",
        expected=first.allowed,
        remedy=f"ops settings check {environment}",
    )


def secrets_provider(mode: Mode, settings: Settings, root: Path) -> Check:
    """Check that the stack file names the key of the state's secrets, as the settings have it.

    Where it says nothing, `ops` has the CLI go by the state; a bare `pulumi` takes a passphrase.
    """
    name, wanted = "secrets provider", settings.backend.secrets_provider
    if mode == "sandbox" or settings.backend.url is None or not wanted.startswith("awskms://"):
        why = (
            "a passphrase of the sandbox's"
            if mode == "sandbox"
            else "there is no backend yet"
            if settings.backend.url is None
            else "Pulumi Cloud keeps the key"
        )
        return Check(name=name, status="skipped", found=why)
    file = naming.stack_file(settings.environment)
    lines = (root / file).read_text(encoding="utf-8").splitlines()
    said = {key: value.strip(" '\"") for key, _, value in (line.partition(":") for line in lines)}
    found, key = said.get("secretsprovider", ""), said.get("encryptedkey", "")
    silent: Status = "fail" if found or key or "encryptionsalt" in said else "warn"
    return Check(
        name=name,
        status="ok" if found == wanted and key else silent,
        found=f"{file} says {found or 'nothing'}{'' if key else ', with no encryptedkey'}",
        expected=f"secretsprovider: {wanted}, and the encryptedkey that goes with it",
        remedy="commit the two lines that `pulumi stack init` wrote into it; "
        f"ops preview {settings.environment} says which they are",
    )


def disk(root: Path) -> Check:
    """Check the space that is left for journals, backups and plugins."""
    free = shutil.disk_usage(root).free
    status: Status = "ok" if free >= FREE_BYTES else "warn" if free >= LEAST_FREE_BYTES else "fail"
    return Check(
        name="disk",
        status=status,
        found=f"{free / 1024**3:.1f} GiB free",
        expected=f"{FREE_BYTES / 1024**3:.0f} GiB",
        remedy="free some space: a full disk stops a run in its middle",
    )


def endpoints(mode: Mode, environment: Mapping[str, str] = os.environ) -> Check:
    """Check that nothing leads elsewhere than to AWS."""
    if mode == "sandbox":
        return Check(name="endpoint", status="skipped", found="the sandbox's own cloud")
    elsewhere = [f"{name}={environment[name]}" for name in endpoint_variables(environment)]
    return Check(
        name="endpoint",
        status="fail" if elsewhere else "ok",
        found=", ".join(elsewhere) or "AWS",
        expected="AWS",
        remedy="unset it, or put --sandbox before the command",
    )


def backend_variable(
    mode: Mode, settings: Settings, environment: Mapping[str, str] = os.environ
) -> Check:
    """Check that a shell's backend is the stack file's."""
    current, declared = environment.get("PULUMI_BACKEND_URL", ""), settings.backend.url or ""
    name = "backend variable"
    if mode == "sandbox" or not current:
        return Check(name=name, status="ok", found="PULUMI_BACKEND_URL is not in the way")
    return Check(
        name=name,
        status="ok" if current.rstrip("/") == declared.rstrip("/") else "fail",
        found=current,
        expected=declared or "not set: the stack file has no backend yet",
        remedy=f'unset PULUMI_BACKEND_URL, or: eval "$(ops env {settings.environment})"',
    )


def _pinned(file: Path) -> dict[str, str]:
    """Give name → version of the packages that every machine needs."""
    if not file.is_file():
        return {}
    found = (_PINNED.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    # What is for some machines only, as its marker says, may be missing here.
    return {match.group(1): match.group(2) for match in found if match and not match.group(3)}


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _run(path: str, *arguments: str) -> str:
    answer = subprocess.run(  # noqa: S603 - the user's own CLI
        [path, *arguments], capture_output=True, text=True, timeout=15, check=False
    )
    return answer.stdout if answer.returncode == 0 else answer.stderr

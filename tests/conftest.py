"""What every test shares: credentials that open nothing, and options of the suites."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports boto3: no test may find the credentials of whoever runs it.
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_SESSION_TOKEN="testing",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    NO_COLOR="1",
)
for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "PULUMI_BACKEND_URL"):
    os.environ.pop(name, None)

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("mono-repo", deadline=None)
hypothesis.settings.load_profile("mono-repo")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--program-python",
        default=sys.executable,
        help="the interpreter that runs Pulumi programs in the conformance suite",
    )


@pytest.fixture(scope="session")
def program_python(request: pytest.FixtureRequest) -> str:
    """The interpreter whose SDK the conformance programs run on."""
    # Programs run in directories of their own. Not resolved: a venv's Python is a link.
    return str(Path(request.config.getoption("--program-python")).absolute())


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's own root."""
    return ROOT

"""Where a command acts, and what it refuses to act on."""

from __future__ import annotations

import datetime as dt
import os
import stat
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore import credentials
from botocore.credentials import ContainerProvider
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError
from moto import mock_aws
from moto.sts.models import STSBackend

from infra.settings import Settings
from ops import access
from ops.errors import AuthenticationError, OpsError, RefusedError, UsageError


class _Sts:
    """An STS that answers as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def client(self, _service: str, **_options: object) -> _Sts:
        return self

    def get_caller_identity(self) -> None:
        raise self.error


def _refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(boto3, "Session", lambda **_options: _Sts(error))


def _client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "GetCallerIdentity")


def test_the_project_is_found_from_a_folder_below_it(project: Path) -> None:
    below = project / "a" / "b"
    below.mkdir(parents=True)
    assert access.find_root(below) == project


def test_outside_of_a_project_the_message_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ops --root FOLDER"):
        access.find_root(tmp_path)


def test_an_unknown_environment_is_refused_with_the_known_ones(project: Path) -> None:
    with pytest.raises(UsageError, match="'production'; there are dev, uat, prod"):
        access.load_settings(project, "production")


def test_a_stack_file_that_is_not_usable_is_a_usage_error_with_its_problems(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("us-east-1", "us-yeast", 1))
    with pytest.raises(UsageError, match=r"Pulumi.dev.yaml is not usable") as caught:
        access.load_settings(project, "dev")
    assert "us-yeast" in str(caught.value)


@mock_aws
def test_the_wrong_account_is_refused_with_the_one_found_and_the_one_expected(
    project: Path, dev: Settings
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        access.aws(project, dev, {})
    assert "123456789012" in str(caught.value)
    assert "111122223333" in str(caught.value)


@mock_aws
def test_the_right_account_shows_who_is_asking(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    found = access.aws(project, dev, {})
    assert found.mode == "aws"
    assert found.caller.startswith("arn:aws:sts::111122223333:")
    assert found.header("bootstrap").stack == "mono-repo-bootstrap/dev"


def test_no_credentials_are_told_apart_from_expired_ones(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refusing(monkeypatch, NoCredentialsError())
    with pytest.raises(AuthenticationError, match="No usable AWS credentials"):
        access.aws(project, dev, {})
    _refusing(monkeypatch, _client_error("ExpiredToken"))
    with pytest.raises(AuthenticationError, match="have expired") as caught:
        access.aws(project, dev, {})
    assert "--sandbox" in str(caught.value)


def test_credentials_that_aws_does_not_know_and_a_denied_call_are_authentication_errors(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, found in (("InvalidClientTokenId", "does not know"), ("AccessDenied", "refused")):
        _refusing(monkeypatch, _client_error(code))
        with pytest.raises(AuthenticationError, match=found):
            access.aws(project, dev, {})


def test_an_aws_that_cannot_be_reached_is_no_authentication_error(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import EndpointConnectionError

    _refusing(monkeypatch, EndpointConnectionError(endpoint_url="https://sts"))
    with pytest.raises(OpsError, match="could not be reached") as caught:
        access.aws(project, dev, {})
    assert not isinstance(caught.value, AuthenticationError)


def test_a_shell_that_points_at_another_endpoint_is_not_taken_for_aws(
    project: Path, dev: Settings
) -> None:
    with pytest.raises(RefusedError, match=r"AWS_ENDPOINT_URL is http://127\.0\.0\.1:5000"):
        access.aws(project, dev, {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"})


def _with_backend(settings: Settings, url: str) -> Settings:
    backend = settings.backend.model_copy(update={"url": url})
    return settings.model_copy(update={"backend": backend})


@mock_aws
def test_another_backend_than_the_stack_files_is_refused(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    settings = _with_backend(dev, "s3://mono-repo-dev-pulumi-state-abc?region=us-east-1")
    with pytest.raises(RefusedError, match=r'eval "\$\(ops env dev\)"'):
        access.aws(project, settings, {"PULUMI_BACKEND_URL": "file://~"})


@mock_aws
def test_the_stack_files_backend_is_given_to_the_cli(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    url = "s3://mono-repo-dev-pulumi-state-abc?region=us-east-1"
    variables = access.aws(project, _with_backend(dev, url), {}).variables
    assert variables["PULUMI_BACKEND_URL"] == url
    assert variables["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] == "true"


@mock_aws
def test_changes_are_made_as_the_deploy_role(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    identity = access.aws(project, dev, {}).client("sts").get_caller_identity()
    assert "assumed-role/mono-repo-dev-deploy/" in identity["Arn"]


@mock_aws
def test_the_deploy_role_carries_the_name_of_whoever_took_it(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    _sign_in(monkeypatch, "jane.doe@example.com")
    found = access.aws(project, dev, {})
    identity = found.client("sts").get_caller_identity()["Arn"]
    assert identity.endswith("assumed-role/mono-repo-dev-deploy/jane.doe@example.com")
    assert found.own_client("sts").get_caller_identity()["Arn"] == found.caller


def _sign_in(monkeypatch: pytest.MonkeyPatch, name: str, role: str = "people") -> None:
    """Have the credentials of a role's session."""
    answer = boto3.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::111122223333:role/{role}", RoleSessionName=name
    )
    keys = answer["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        ("arn:aws:iam::111122223333:user/mono-repo/dev/people/jane-doe", "jane-doe"),
        ("arn:aws:iam::111122223333:root", "arn-aws-iam--111122223333-root"),
        ("j", "ops-j"),
        ("x" * 80, "x" * 64),
        ("Jane Doe/Jörg", "J-rg"),
    ],
)
def test_whatever_a_caller_is_called_sts_takes_the_sessions_name(caller: str, name: str) -> None:
    assert access.session_name(caller) == name


@mock_aws
def test_credentials_of_the_role_are_renewed_before_they_end(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    found = access.aws(project, dev, {})
    s3 = found.client("s3")
    keys = set()
    for hours in (0, 1):
        later = dt.datetime.now(tz=dt.UTC) + dt.timedelta(hours=hours)
        monkeypatch.setattr(credentials, "_local_now", lambda later=later: later)
        held = s3._request_signer._credentials
        held._time_fetcher = credentials._local_now
        keys.add(held.get_frozen_credentials().access_key)
    assert len(keys) == 2


def _refuse_to_assume(monkeypatch: pytest.MonkeyPatch) -> None:
    def assume(*_args: object, **_options: object) -> None:
        raise _client_error("AccessDenied")

    monkeypatch.setattr(STSBackend, "assume_role", assume)


@mock_aws
def test_whoever_is_the_role_already_and_may_not_take_it_again_goes_on_as_they_are(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    _sign_in(monkeypatch, "jane-doe", "mono-repo-dev-deploy")
    _refuse_to_assume(monkeypatch)
    found = access.aws(project, dev, {})
    assert found.client("sts").get_caller_identity()["Arn"] == found.caller


@mock_aws
def test_the_processes_of_a_command_act_as_the_deploy_role_and_ask_anew_when_it_ends(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    variables = access.aws(project, dev, {}).deploying()
    secret = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert not any(variables[name] for name in secret | {"AWS_ACCESS_KEY", "AWS_SECRET_KEY"})
    first, second = (ContainerProvider(environ=variables).load() for _ in range(2))
    assert first.access_key != second.access_key
    assert first.token
    assert not first.refresh_needed()
    guessed = project / "guessed"
    guessed.write_text("guessed")
    wrong = {**variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(guessed)}
    with pytest.raises(CredentialRetrievalError):
        ContainerProvider(environ=wrong).load()
    identity = boto3.client(
        "sts",
        aws_access_key_id=first.access_key,
        aws_secret_access_key=first.secret_key,
        aws_session_token=first.token,
    ).get_caller_identity()
    assert "assumed-role/mono-repo-dev-deploy/" in identity["Arn"]
    found = subprocess.run(
        [sys.executable, "-c", "import boto3; print(boto3.Session().get_credentials().method)"],
        env={**os.environ, **_SHELL, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "container-role", found.stderr


_SHELL = {"AWS_PROFILE": "somebodys", "AWS_DEFAULT_PROFILE": "anothers", "AWS_ACCESS_KEY": "legacy"}


@mock_aws
def test_in_a_pod_with_an_identity_the_processes_act_as_the_deploy_role_all_the_same(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    theirs = project / "eks-pod-identity-token"
    theirs.write_text("a token of the pod's")
    pod = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(theirs),
    }
    variables = access.aws(project, dev, pod).deploying()
    found = ContainerProvider(environ={**pod, **variables}).load()
    assert _role_of(found) == "mono-repo-dev-deploy"
    assert theirs.read_text() == "a token of the pod's"
    file = Path(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def _role_of(found: credentials.Credentials) -> str:
    """Give the role whose credentials these are."""
    sts = boto3.client(
        "sts",
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.token,
    )
    return access.assumed_role(sts.get_caller_identity()["Arn"])


@mock_aws
def test_a_container_whose_own_address_comes_first_is_led_by_the_configuration(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    task = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/of-the-task"}
    variables = access.aws(project, dev, task).deploying()
    text = Path(variables["AWS_CONFIG_FILE"]).read_text()
    assert variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] not in text, "it would be an argument"
    ask = (
        "import boto3; found = boto3.Session().get_credentials(); "
        "print(found.method, *found.get_frozen_credentials())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, **task, **_SHELL, "http_proxy": "http://127.0.0.1:9", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    method, *keys = ended.stdout.split()
    assert method == "custom-process", ended.stderr
    assert _role_of(credentials.Credentials(*keys)) == "mono-repo-dev-deploy"


def test_what_leads_processes_to_credentials_is_gone_when_the_command_ends(tmp_path: Path) -> None:
    serve = (
        "import sys; from pathlib import Path; from ops.credentials import serve; "
        "found = serve(dict, Path(sys.argv[1])); "
        "print(Path(found['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']).is_file())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", serve, str(tmp_path / "records")],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == "True"
    assert list((tmp_path / "records").iterdir()) == []


@mock_aws
def test_who_may_not_take_the_role_lets_processes_act_as_themselves(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    _refuse_to_assume(monkeypatch)
    assert access.aws(project, dev, {}).deploying() == {}


def test_a_service_with_another_endpoint_is_not_taken_for_aws(project: Path, dev: Settings) -> None:
    with pytest.raises(RefusedError, match="AWS_ENDPOINT_URL_S3 is http://localhost"):
        access.aws(project, dev, {"AWS_ENDPOINT_URL_S3": "http://localhost"})


def test_a_profile_that_is_not_there_and_a_broken_file_are_authentication_errors(
    project: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(AuthenticationError, match="nosuch"):
        access.aws(project, dev, {})
    monkeypatch.delenv("AWS_PROFILE")
    file.write_text("[broken")
    with pytest.raises(AuthenticationError, match="parse"):
        access.aws(project, dev, {})

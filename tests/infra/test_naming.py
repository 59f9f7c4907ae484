"""Names that people and commands find things by."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from infra import naming
from infra.settings import load

ROOT = Path(__file__).parents[2]
LONGEST = "a" + "b" * 31
"""The longest name that settings accept."""


def test_the_names_that_the_runbook_uses_are_the_ones_that_are_made() -> None:
    assert naming.cluster("dev") == "mono-repo-dev"
    assert naming.cluster_log_group("dev") == "/aws/eks/mono-repo-dev/cluster"
    assert naming.parameter("dev", "database/host") == "/dev/mono-repo/database/host"
    assert naming.parameter_key_alias("prod") == "alias/mono-repo-parameter-store-prod"
    assert naming.parameter_access_role("uat") == "mono-repo-parameter-store-access-uat"
    assert naming.PARAMETER_READ_POLICY == "parameter-store-read-policy"
    assert naming.parameter_log_group("prod") == "/aws/ssm/parameter-store/prod/mono-repo"
    assert naming.lock_table("dev") == "mono-repo-dev-pulumi-state-lock"
    assert naming.state_bucket("dev") == "mono-repo-dev-pulumi-state"
    assert naming.user("dev", "john-smith") == "mono-repo-dev-john-smith"
    assert naming.group("dev", "operations") == "mono-repo-dev-operations"
    assert naming.service_account("dev", "cicd") == "mono-repo-dev-cicd-service"
    assert naming.access_key_secret("dev", "john-smith") == ("mono-repo-dev-access-keys-john-smith")
    assert naming.restored_database("mono-repo-dev") == "mono-repo-dev-restored"
    assert naming.database_snapshot("mono-repo-dev", "20261231-235959") == (
        "mono-repo-dev-snapshot-20261231-235959"
    )
    assert naming.hostname("api-service") == "api-service.mono-repo.internal"
    assert naming.AUDIT_LOG_GROUP == "CloudTrail/MonoRepoAuditLogs"
    assert naming.BUDGET == "MonoRepo-Monthly-Budget"


def test_each_application_has_a_repository_of_its_environment() -> None:
    assert list(naming.repositories("uat").values()) == [
        "mono-repo-uat-api-service",
        "mono-repo-uat-web-app",
        "mono-repo-uat-dash-app",
        "mono-repo-uat-airflow",
        "mono-repo-uat-batch-jobs",
        "mono-repo-uat-data-pipeline",
        "mono-repo-uat-python-base",
    ]


def test_the_bootstraps_names_are_those_that_an_environment_looks_for() -> None:
    assert naming.deploy_role_arn("111122223333", "dev") == (
        "arn:aws:iam::111122223333:role/mono-repo-dev-deploy"
    )
    assert naming.state_key_alias("dev") == "alias/mono-repo-dev-pulumi-state"
    assert naming.databases_key_alias("dev") == "alias/mono-repo-dev-databases"
    assert naming.backups_key_alias("dev") == "alias/mono-repo-dev-backups"
    assert naming.suspension_parameter("dev") == "/dev/mono-repo-ops/suspension"
    assert naming.stack_file("dev") == "Pulumi.dev.yaml"


@pytest.mark.parametrize("env", naming.ENVIRONMENTS)
def test_the_longest_names_stay_within_what_aws_takes(env: str) -> None:
    iam = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
    for name in (
        naming.user(env, LONGEST),
        naming.service_account(env, LONGEST),
        naming.deploy_role(env),
        naming.parameter_access_role(env),
    ):
        assert iam.fullmatch(name), name
    assert re.fullmatch(r"[\w+=,.@-]{1,128}", naming.group(env, LONGEST), re.ASCII)
    random_suffix = 8  # a dash and seven digits
    for bucket in (naming.state_bucket(env), naming.backup_bucket(env)):
        assert re.fullmatch(rf"[a-z0-9][a-z0-9-]{{2,{62 - random_suffix}}}", bucket)
    for repository in naming.repositories(env).values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._/-]{1,255}", repository)
    for alias in (
        naming.state_key_alias(env),
        naming.databases_key_alias(env),
        naming.backups_key_alias(env),
        naming.parameter_key_alias(env),
    ):
        assert re.fullmatch(r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}", alias)
    for log_group in (
        naming.cluster_log_group(env),
        naming.parameter_log_group(env),
    ):
        assert re.fullmatch(r"[A-Za-z0-9_/.#-]{1,512}", log_group)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", naming.lock_table(env))
    assert re.fullmatch(r"[A-Za-z0-9/_+=.@-]{1,512}", naming.access_key_secret(env, LONGEST))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", naming.cluster(env))
    assert len(naming.hostname(LONGEST).split(".")[0]) <= 63


def test_environments_never_share_a_name() -> None:
    functions = (
        naming.deploy_role, naming.state_bucket, naming.backup_bucket, naming.lock_table,
        naming.state_key_alias, naming.databases_key_alias, naming.backups_key_alias,
        naming.parameter_key_alias, naming.parameter_access_role,
        naming.parameter_log_group, naming.parameter_path, naming.suspension_parameter,
        naming.cluster, naming.cluster_log_group, naming.application_namespace,
        naming.stack_file, naming.database_restop, naming.database_restop_alarm,
        naming.silenced_alarms,
    )  # fmt: skip
    for function in functions:
        assert len({function(env) for env in naming.ENVIRONMENTS}) == 3, function.__name__


def test_a_stop_does_not_silence_what_watches_over_it() -> None:
    for env in naming.ENVIRONMENTS:
        assert not naming.database_restop_alarm(env).startswith(naming.silenced_alarms(env))


def test_everything_is_tagged_with_who_owns_and_who_pays() -> None:
    settings = load("dev", ROOT, dt.date(2026, 11, 23))
    tags = naming.tags(settings.model_copy(update={"tags": {"data-class": "internal"}}))
    assert tags == {
        "environment": "dev",
        "project": "mono-repo",
        "application": "mono-repo",
        "managed-by": "pulumi",
        "owner": "devops",
        "cost-center": "mono-repo",
        "data-class": "internal",
    }
    assert {*naming.tags(settings), "Name"} == set(naming.RESERVED_TAGS)


def test_a_name_tag_is_added_to_a_copy() -> None:
    tags = {"environment": "dev"}
    assert naming.named(tags, "mono-repo-dev-a") == {
        "environment": "dev",
        "Name": "mono-repo-dev-a",
    }
    assert tags == {"environment": "dev"}

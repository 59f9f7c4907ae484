"""Whose something is: by its tags, its name, and the network it is in; and never by half a list."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ops.teardown.listing import Item, belongs, is_named


@pytest.mark.parametrize(
    "name",
    [
        "mono-repo-dev",
        "mono-repo-dev-cluster",
        "mono-repo-parameter-store-access-dev",
        "/dev/mono-repo/database/password",
        "/aws/eks/mono-repo-dev/cluster",
        "/aws/ssm/parameter-store/dev/mono-repo",
        "/aws/rds/instance/mono-repo-dev/postgresql",
        "alias/mono-repo-dev-logs",
        "alias/mono-repo-parameter-store-dev",
        "arn:aws:sns:us-east-1:111122223333:mono-repo-dev-alarms",
    ],
)
def test_names_of_the_environment_are_known(name: str) -> None:
    assert is_named(name, "dev")
    assert not is_named(name, "uat")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "CloudTrail/MonoRepoAuditLogs",
        "MonoRepoAuditTrail",
        "mono-repo-audit-trail",
        "mono-repo-developers",
        "mono-repo-github-preview",
        "mono-repo-github-dev-deploy",
        "mono-repo-uat-cluster",
        "/devices/x",
    ],
)
def test_names_of_others_are_nobodys_of_the_environment(name: str) -> None:
    assert not is_named(name, "dev")


@pytest.mark.parametrize(
    "tags",
    [
        {"environment": "dev"},
        {"kubernetes.io/cluster/mono-repo-dev": "owned"},
        {"elbv2.k8s.aws/cluster": "mono-repo-dev"},
        {"aws:eks:cluster-name": "mono-repo-dev"},
        {"aws:rds:primaryDBInstanceArn": "arn:aws:rds:us-east-1:1:db:mono-repo-dev"},
    ],
)
def test_tags_say_whose_it_is(tags: Mapping[str, str]) -> None:
    found = Item(kind="volume", id="vol-1", region="us-east-1", tags=tags)
    assert belongs(found, "dev")
    assert not belongs(found, "uat")


def test_a_tag_weighs_more_than_a_name() -> None:
    tagged = Item(
        kind="bucket", id="mono-repo-dev-x", region="global", tags={"environment": "account"}
    )
    assert not belongs(tagged, "dev")

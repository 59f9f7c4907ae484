"""What a stack file means, and every reason to refuse one."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from infra import naming
from infra.settings import (
    Problem,
    Settings,
    SettingsError,
    check_fleet,
    ended_waivers,
    load,
    parse,
    reference,
)
from infra.settings.kinds import CLOUDWATCH_RETENTION_DAYS
from infra.settings.reading import read
from ops.settings import check

ROOT = Path(__file__).parents[2]
TODAY = dt.date(2026, 11, 23)
ABSENT = object()

Data = dict[str, Any]


def committed(env: str = "dev") -> Data:
    """The plain data of a committed stack file, free to change."""
    raw, problems = read(env, ROOT)
    assert problems == []
    assert isinstance(raw, dict)
    return copy.deepcopy(raw)


def put(data: Data, path: str, value: object) -> None:
    """Set `network.availability_zones[0]` and the like; ABSENT removes the key."""
    steps = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
    place: Any = data
    for step in steps[:-1]:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value is ABSENT:
        del place[steps[-1]]
    elif isinstance(place, list) and steps[-1] == len(place):
        place.append(value)
    else:
        place[steps[-1]] = value


def refusals(data: object, name: str = "dev", today: dt.date = TODAY) -> tuple[Problem, ...]:
    """Every problem of the data; none where it is accepted."""
    try:
        parse(name, data, today)
    except SettingsError as error:
        return error.problems
    return ()


def changed(*changes: tuple[str, object]) -> tuple[Problem, ...]:
    """Every problem of the dev file after some changes."""
    data = committed()
    for path, value in changes:
        put(data, path, value)
    return refusals(data)


def entry(data: Data, name: str) -> Data:
    """The catalogue's entry of that name."""
    return next(item for item in data["parameters"]["catalogue"] if item["name"] == name)


# What the committed files say


@pytest.mark.parametrize("env", naming.ENVIRONMENTS)
def test_a_committed_stack_file_is_usable(env: str) -> None:
    settings = load(env, ROOT, TODAY)
    assert settings.environment == env


def test_the_three_environments_are_as_the_runbook_sets_them() -> None:
    dev, uat, prod = (load(env, ROOT, TODAY) for env in naming.ENVIRONMENTS)
    assert [one.account_id for one in (dev, uat, prod)] == [
        "111122223333",
        "444455556666",
        "777788889999",
    ]
    assert [one.network.cidr for one in (dev, uat, prod)] == [
        "10.0.0.0/16",
        "10.1.0.0/16",
        "10.2.0.0/16",
    ]
    access = [one.parameters.access for one in (dev, uat, prod)]
    assert [one.write for one in access] == [True, False, False]
    assert [one.log_retention_days for one in access] == [7, 30, 90]
    assert [one.instance_profile for one in access] == [True, True, False]
    assert prod.parameters.access.irsa_subjects
    for one in (dev, uat, prod):
        assert (one.region, one.secondary_region) == ("us-east-1", "us-west-2")
        assert one.network.availability_zones == ("us-east-1a", "us-east-1b", "us-east-1c")
        assert {group.name for group in one.groups} == {
            "operations",
            "devops-engineers",
            "sre",
            "security",
        }
        assert [account.name for account in one.service_accounts] == [
            "cicd",
            "monitoring",
            "backup",
            "logging",
        ]
        assert {
            workload.name: workload.namespace for workload in one.workloads if workload.node_port
        } == {"api-service": "services", "web-app": "web", "dash-app": "web", "airflow": "airflow"}
        assert not one.eks.public_access
        assert one.budget.limit_usd == 100


def test_all_environments_have_the_same_parameters() -> None:
    catalogues = [
        [(one.name, one.type, one.owner) for one in load(env, ROOT, TODAY).parameters.catalogue]
        for env in naming.ENVIRONMENTS
    ]
    assert catalogues[0] == catalogues[1] == catalogues[2]


@pytest.mark.parametrize("env", naming.ENVIRONMENTS)
def test_no_committed_catalogue_holds_a_secret_value(env: str) -> None:
    for parameter in load(env, ROOT, TODAY).parameters.catalogue:
        if parameter.type == "SecureString":
            assert parameter.owner == "operator"
            assert parameter.generator is not None
            assert parameter.value is parameter.initial is None
    assert "secure:" not in (ROOT / naming.stack_file(env)).read_text()


@pytest.mark.parametrize("env", naming.ENVIRONMENTS)
def test_a_committed_stack_file_has_the_form_the_cli_writes(env: str) -> None:
    """`pulumi config set` drops blank lines and indents by two: an edit shows one line."""
    lines = (ROOT / naming.stack_file(env)).read_text().splitlines()
    assert all(line.strip() and line == line.rstrip() for line in lines)
    assert all((len(line) - len(line.lstrip())) % 2 == 0 for line in lines)


def test_settings_cannot_be_changed() -> None:
    settings = load("dev", ROOT, TODAY)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.network.nat = "none"


def test_the_file_and_the_programs_json_mean_the_same() -> None:
    """The CLI hands the settings to the program as JSON."""
    raw = committed("prod")
    assert parse("prod", json.loads(json.dumps(raw)), TODAY) == load("prod", ROOT, TODAY)


# How a refusal is told


def test_all_errors_are_told_at_once_and_relations_are_checked_beside_broken_values() -> None:
    problems = changed(
        ("account_id", "12"),
        ("network.nat", "sngle"),
        ("network.availability_zones[1]", "us-west-2b"),
        ("eks.node_groups[0].disk_gb", "big"),
        ("eks.node_groups[0].min_size", 9),
        ("users[0].groups", ["opperations"]),
        ("users[0].email", "nobody"),
        ("databases", "none"),
    )
    assert {problem.path for problem in problems} >= {
        "account_id",
        "network.nat",
        "network.availability_zones[1]",
        "eks.node_groups[0].disk_gb",
        "eks.node_groups[0].min_size",
        "users[0].groups[0]",
        "users[0].email",
        "databases",
    }


def test_a_refusal_names_file_path_found_allowed_and_remedy() -> None:
    (problem,) = changed(("account_id", 111122223333))
    assert problem == Problem(
        file="Pulumi.dev.yaml",
        path="account_id",
        found="the number 111122223333",
        allowed="12 digits, in quotes",
        remedy="write text: put it in quotes",
    )


def test_the_error_lists_every_problem_and_says_that_nothing_was_done() -> None:
    data = committed()
    data["network"]["nat"] = "sngle"
    data["acount_id"] = data.pop("account_id")
    with pytest.raises(SettingsError) as caught:
        parse("dev", data, TODAY)
    assert str(caught.value) == (
        "Pulumi.dev.yaml is not usable: 2 problems. Nothing was built or changed.\n"
        "  network.nat\n"
        "    found:   'sngle'\n"
        "    allowed: one of none, single, per-az, regional\n"
        "    remedy:  did you mean single?\n"
        "  acount_id\n"
        "    found:   the unknown key 'acount_id'\n"
        "    allowed: the keys account, account_id, alarms, backend, budget, cost_center, "
        "databases, deletion_protection, deployment, eks, final_snapshot_stamp, groups, "
        "kubernetes, load_balancer, network, owner, parameters, region, secondary_region, "
        "service_accounts, tags, users, waivers, workloads\n"
        "    remedy:  did you mean account_id?"
    )


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("netwrok", "network"),
        ("network.availabilty_zones", "availability_zones"),
        ("eks.node-groups", "node_groups"),
        ("eks.node_groups[0].minSize", "min_size"),
        ("parameters.catalogue[0].categorie", "category"),
        ("load_balancer.certificate", "certificate_arn"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_nearest_name(path: str, nearest: str) -> None:
    problem = next(problem for problem in changed((path, 1)) if problem.path == path)
    assert problem.remedy == f"did you mean {nearest}?"


def test_a_teardown_names_its_last_snapshots_and_nothing_else_does() -> None:
    (unnamed,) = changed(("deletion_protection", False))
    assert unnamed.path == "final_snapshot_stamp"
    (named,) = changed(("final_snapshot_stamp", "20261231-235959"))
    assert named.path == "final_snapshot_stamp"
    data = committed()
    data |= {"deletion_protection": False, "final_snapshot_stamp": "20261231-235959"}
    assert parse("dev", data, TODAY).final_snapshot_stamp == "20261231-235959"


@pytest.mark.parametrize("name", ["break-glass", "self-service", "backup-services"])
def test_a_group_is_not_called_as_one_of_the_programs_own(name: str) -> None:
    problem = next(p for p in changed(("groups[0].name", name)) if p.path == "groups[0].name")
    assert "the program makes groups that are called so" in problem.remedy


def test_an_unknown_key_like_no_other_is_to_be_removed() -> None:
    (problem,) = changed(("zzzz", 1))
    assert problem.remedy == "remove the key"
    assert "environment" not in problem.allowed.replace(",", "").split()


def test_a_misspelt_environment_is_answered_with_the_nearest_name() -> None:
    data = committed()
    (problem,) = refusals(data, name="prd")
    assert (problem.file, problem.found) == ("Pulumi.prd.yaml", "'prd'")
    assert problem.allowed == "dev, uat, prod"
    assert problem.remedy == "did you mean prod?"


def test_the_content_cannot_say_which_environment_it_is() -> None:
    (problem,) = changed(("environment", "prod"))
    assert (problem.path, problem.remedy) == ("environment", "remove the key")


@pytest.mark.parametrize("raw", [None, 3, "text", ["a"]])
def test_settings_that_are_no_object_are_refused(raw: object) -> None:
    (problem,) = refusals(raw)
    assert problem.path == "mono-repo:settings"
    assert problem.allowed == "an object of keys"


def test_an_empty_file_is_told_every_key_it_needs() -> None:
    missing = {problem.path for problem in refusals({}) if problem.found == "nothing"}
    assert missing == {
        name
        for name, field in Settings.model_fields.items()
        if field.is_required() and name != "environment"
    }


def test_values_of_secrets_are_never_repeated_in_a_message() -> None:
    secret = "correct-horse-battery-staple"
    data = committed()
    password = entry(data, "database/password")
    password["value"] = secret
    password["initial"] = [secret]
    password["pasword"] = secret
    data["password"] = {"deep": secret}
    data["parameters"]["access"]["cross_account"] = [
        {"arn": "arn:aws:iam::999988887777:role/reader", "external_id": f"{secret} "}
    ]
    data["parameters"]["catalogue"][0]["type"] = "Sekret"
    data["parameters"]["catalogue"][0]["value"] = [secret]
    with pytest.raises(SettingsError) as caught:
        parse("dev", data, TODAY)
    assert secret not in str(caught.value)
    assert secret not in repr(caught.value.problems)
    assert len(caught.value.problems) >= 7


def test_an_encrypted_value_is_refused_and_the_parameter_store_named() -> None:
    (problem,) = changed(("owner", {"secure": "v1:abc:def"}))
    assert problem.path == "owner"
    assert problem.found == "an encrypted value"
    assert "ops params" in problem.remedy
    assert refusals({"secure": "v1:abc:def"})[0].found == "an encrypted value"


# One value at a time


@pytest.mark.parametrize(
    ("path", "value", "remedy"),
    [
        ("account_id", "1234", "write all 12 digits"),
        ("account_id", "١١١١٢٢٢٢٣٣٣٣", "write all 12 digits"),
        ("region", "useast1", "us-east-1"),
        ("owner", "", "short plain name"),
        ("owner", True, "put it in quotes"),
        ("tags", {"aws:x": "y"}, "AWS reserves"),
        ("tags", {"Name": "y"}, "remove it"),
        ("tags", {"team": 3}, "put it in quotes"),
        ("tags", [], "write an object of keys"),
        ("backend.url", "mono-repo-dev-pulumi-state-abc", "bootstrap printed"),
        ("backend.url", "s3://mono-repo-prod-pulumi-state-abc", "this environment's bootstrap"),
        ("backend.secrets_provider", "passphrase", "awskms://"),
        (
            "backend.secrets_provider",
            "awskms://alias/mono-repo-prod-pulumi-state?region=us-east-1",
            "this is the key of prod",
        ),
        ("deployment.trusted_principals", ["me"], "whole ARN"),
        ("deployment.approver_roles", ["role/operator"], "neither path nor ARN"),
        ("account.github_repository", "mono-repo", "write owner and repository"),
        ("account.github_repository", "https://github.com/company/mono-repo", "write owner"),
        ("account.audit_log_retention_days", 366, "CloudWatch Logs knows"),
        ("deployment.key_deletion_window_days", 3, "what is allowed"),
        ("network.cidr", "10.0.0.0/22", "too small: use a prefix of /20 or less"),
        ("network.cidr", "10.0.0.0/15", "too large for AWS"),
        ("network.cidr", "10.0.1.0/16", "write 10.0.0.0/16"),
        ("network.cidr", "11.0.0.0/16", "use a range inside 10.0.0.0/8"),
        ("network.cidr", "ten", "write an IPv4 range"),
        ("network.cidr", "172.20.0.0/16", "could not reach one of the two"),
        ("network.availability_zones", ["us-east-1a", "us-east-1b"], "add what is missing"),
        ("network.availability_zones", [f"us-east-1{zone}" for zone in "abcde"], "remove some"),
        ("network.availability_zones[0]", "us-east-1", "us-east-1a"),
        ("network.availability_zones[0]", "us-west-2a", "a zone of the region"),
        ("network.availability_zones[0]", "us-east-1b", "remove or rename"),
        ("network.nat", True, "choose one of those"),
        ("network.interface_endpoints", ["com.amazonaws/ecr"], "short name"),
        ("network.interface_endpoints", ["ec2", "ec2"], "remove or rename"),
        ("network.interface_endpoints", ["s3"], "cost nothing"),
        ("network.flow_log_retention_days", 8, "CloudWatch Logs knows"),
        ("network.flow_log_retention_days", 0, "CloudWatch Logs knows"),
        ("secondary_region", "us-east-1", "choose two"),
        ("eks.version", 1.36, "put it in quotes"),
        ("eks.version", "1.36.2", "minor version"),
        ("eks.support_type", "EXTENDET", "did you mean EXTENDED?"),
        ("eks.service_cidr", "10.0.128.0/20", "choose another range"),
        ("eks.service_cidr", "172.20.0.0/28", "too small"),
        ("eks.public_access", "yes", "true or false"),
        ("eks.public_access", True, "set public_access to false"),
        ("eks.public_access_cidrs", ["203.0.113.0/24"], "open public access"),
        ("eks.public_access_cidrs", ["0.0.0.0/0"], "much of the internet"),
        ("eks.public_access_cidrs", ["128.0.0.0/1"], "much of the internet"),
        ("eks.log_retention_days", 100, "CloudWatch Logs knows"),
        ("eks.addons", {"vpc-cni": "latest"}, "pin the whole version"),
        ("eks.addons", {"VPC": "v1.22.4-eksbuild.3"}, "lower-case"),
        ("eks.addons", {"vpc-cni": "v1.22.4-eksbuild.3"}, "no node would become ready"),
        ("eks.cluster_autoscaler", "1.36.1", "whole release"),
        ("eks.cluster_autoscaler", "v1.35.0", "choose the same minor version"),
        ("eks.node_groups[0].release", "latest", "copy the release from EKS"),
        ("eks.node_groups", [], "add what is missing"),
        ("eks.node_groups[0].instance_types", [], "add what is missing"),
        ("eks.node_groups[0].instance_types", ["large"], "instance type such as"),
        ("eks.node_groups[0].instance_types", ["m7i.large"], "other architecture"),
        ("eks.node_groups[0].ami_type", "AL2_ARM_64", "did you mean"),
        ("eks.node_groups[0].min_size", 3, "min_size ≤ desired_size"),
        ("eks.node_groups[0].desired_size", 5, "min_size ≤ desired_size"),
        ("eks.node_groups[0].max_size", 0, "what is allowed"),
        ("eks.node_groups[0].labels", {"a": "b c"}, "label value"),
        ("eks.node_groups[0].labels", {"-a": "b"}, "label key"),
        ("eks.node_groups[0].taints", [{"key": "a", "effect": "NoSchedule"}], "NO_SCHEDULE?"),
        ("databases[0].identifier", "mono-repo-prod", "rename it"),
        ("databases[0].identifier", "Mono", "lower-case"),
        ("databases[0].engine_version", "seventeen", "PostgreSQL version"),
        ("databases[0].instance_class", "t4g.medium", "db.t4g.medium"),
        ("databases[0].storage_gb", 5, "what is allowed"),
        ("databases[0].max_storage_gb", 19, "raise it"),
        ("databases[0].max_storage_gb", 21, "raise it"),
        ("databases[0].backup_retention_days", 0, "what is allowed"),
        ("databases[0].backup_window", "25:00-26:00", "write UTC"),
        ("databases[0].backup_window", "05:30-06:30", "move one of the two"),
        ("databases[0].backup_window", "23:50-00:10", "make it longer"),
        ("databases[0].maintenance_window", "sun:02:00-sun:03:30", "move one of the two"),
        ("databases[0].maintenance_window", "sunday", "write UTC"),
        ("databases[0].username", "postgres", "everybody tries this name"),
        ("databases[0].database_name", "mono-repo", "lower-case"),
        ("databases[0].performance_insights_days", 372, "choose one of those"),
        ("databases[0].snapshot_identifier", "a b", "copy the snapshot's identifier"),
        ("parameters.access.log_retention_days", 14, "choose one of those"),
        ("parameters.access.irsa_subjects", ["system:serviceaccount:*:*"], "without wildcards"),
        ("parameters.catalogue[0].name", "/dev/mono-repo/a", "the part after"),
        ("parameters.catalogue[0].name", "/uat/mono-repo/a", "the part after"),
        ("parameters.catalogue[0].name", "aws/key", "AWS reserves"),
        ("parameters.catalogue[0].name", "SSM-key", "AWS reserves"),
        ("parameters.catalogue[0].name", "a//b", "single /"),
        ("parameters.catalogue[0].name", "a b", "letters, digits"),
        ("parameters.catalogue[0].name", "database/port", "remove or rename"),
        ("parameters.catalogue[0].type", "SecureStrong", "did you mean SecureString?"),
        ("parameters.catalogue[0].source", "database.main.password", "a source that"),
        ("parameters.catalogue[0].source", "database.mian.host", "did you mean main?"),
        ("parameters.catalogue[0].source", "workload.nothing.url", "declare nothing"),
        ("parameters.catalogue[0].pattern", "(", "correct the regular expression"),
        ("parameters.catalogue[0].value", "x", "remove one of the two"),
        ("parameters.catalogue[0].source", ABSENT, "give one of the two"),
        ("parameters.catalogue[0].initial", "x", "remove it"),
        ("parameters.catalogue[2].initial", "LOUD", "correct value or pattern"),
        ("parameters.catalogue[2].initial", ABSENT, "give one"),
        ("parameters.catalogue[2].initial", "{{x}}", "refuses it"),
        ("parameters.catalogue[2].source", "region", "remove it"),
        ("groups[0].permissions", "root", "choose one of those"),
        ("groups[0].name", "sre", "remove or rename"),
        ("groups[0].name", "Operations", "lower-case"),
        ("groups[0].name", "a--b", "single dashes"),
        ("users[0].name", "jane-doe", "remove or rename"),
        ("users[0].name", "cicd-service", "the IAM users would be one"),
        ("users[0].name", "John Smith", "lower-case"),
        ("users[0].email", "john at company", "e-mail"),
        ("users[0].email", "jane.doe@company.com", "remove or rename"),
        ("users[0].groups", ["operation"], "did you mean operations?"),
        ("users[0].groups", ["sre", "sre"], "remove or rename"),
        ("service_accounts[0].name", "backup", "remove or rename"),
        ("service_accounts[0].key_rotation_days", 91, "what is allowed"),
        ("kubernetes.access[0].group", "everyone", "declare it in groups"),
        ("kubernetes.access[0].group", "sre", "remove or rename"),
        ("kubernetes.access[0].role", "cluster-admin", "choose one of those"),
        (
            "kubernetes.service_accounts[0]",
            {"name": "airflow", "namespace": "airflow", "role": "viewer"},
            "remove or rename",
        ),
        ("workloads[0].node_port", 8080, "what is allowed"),
        ("workloads[0].node_port", 32768, "what is allowed"),
        ("workloads[0].node_port", 30081, "remove or rename"),
        ("workloads[0].name", "web-app", "remove or rename"),
        ("workloads[0].namespace", "default", "a namespace of its own"),
        ("workloads[0].namespace", "kube-system", "a namespace of its own"),
        ("workloads[0].application", "api-servise", "did you mean api-service?"),
        ("workloads[0].health_path", "health", "begin with /"),
        ("load_balancer.certificate_arn", "arn:aws:acm:x", "from ACM"),
        (
            "load_balancer.certificate_arn",
            "arn:aws:acm:us-west-2:111122223333:certificate/12345678-1234-1234-1234-123456789012",
            "only its own account's and region's",
        ),
        ("load_balancer.client_cidrs", ["0.0.0.0/0"], "name the ranges"),
        ("budget.limit_usd", 99.5, "whole number"),
        ("budget.limit_usd", 0, "what is allowed"),
        ("budget.alert_percents", [0], "a percentage of the limit"),
        ("budget.alert_percents", [80, 80], "remove or rename"),
        ("budget.recipients", [], "add what is missing"),
        ("alarms.recipients", ["a@b.example", "a@b.example"], "remove or rename"),
        ("waivers[0].reason", ABSENT, "add the key"),
        ("waivers[0].reason", "because", "add what is missing"),
        ("waivers[0].reason", "", "one line of text"),
        ("waivers[0].until", ABSENT, "add the key"),
        ("waivers[0].until", "2027-02-30", "a date of the calendar"),
        ("waivers[0].until", "2999-12-31", "choose an earlier end"),
        ("waivers[0].until", 20270101, "in quotes"),
        ("waivers[0].until", dt.date(2027, 6, 30), 'put it in quotes: "2027-06-30"'),
        ("waivers[0].control", "?", "a control's id"),
        ("waivers[0].resource", "", "TYPE::NAME"),
    ],
)
def test_a_wrong_value_is_refused_with_its_remedy(path: str, value: object, remedy: str) -> None:
    problems = changed((path, value))
    assert any(remedy in problem.remedy for problem in problems), problems
    assert all(problem.file == "Pulumi.dev.yaml" for problem in problems)
    assert all(problem.found and problem.allowed and problem.remedy for problem in problems)


@pytest.mark.parametrize(
    "change",
    [
        ("network.availability_zones", [f"us-east-1{zone}" for zone in "abcd"]),
        ("network.nat", "regional"),
        ("network.cidr", "10.0.0.0/20"),
        ("deployment.trusted_principals", ["arn:aws:iam::999988887777:role/ci/runner"]),
        ("account", {"github_repository": "company/mono-repo"}),
        ("backend.url", "s3://mono-repo-dev-pulumi-state-1a2b3c4?region=us-east-1"),
        ("backend.url", "https://api.pulumi.com"),
        ("databases", [{**committed()["databases"][0], "snapshot_identifier": "rds:x-2026-1"}]),
        ("databases[0].identifier", "mono-repo-dev-restored"),
        ("databases[0].maintenance_window", "sat:23:30-sun:00:30"),
        ("tags", {"data-class": "internal"}),
        ("waivers[0].until", "2026-11-23"),
        ("waivers", []),
        ("users", []),
        (
            "load_balancer.certificate_arn",
            "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012",
        ),
        ("eks.node_groups[0].taints", [{"key": "a", "value": "b", "effect": "NO_SCHEDULE"}]),
    ],
)
def test_what_is_allowed_is_accepted(change: tuple[str, object]) -> None:
    assert changed(change) == ()


def test_public_access_with_named_ranges_is_accepted() -> None:
    assert (
        changed(("eks.public_access", True), ("eks.public_access_cidrs", ["203.0.113.0/24"])) == ()
    )


@pytest.mark.parametrize(
    "section",
    ["databases", "users", "groups", "service_accounts", "workloads", "eks.node_groups", "waivers"],
)
def test_an_entry_that_stands_twice_is_refused_and_the_first_is_named(section: str) -> None:
    data = committed()
    entries: Any = data
    for step in section.split("."):
        entries = entries[step]
    entries.append(copy.deepcopy(entries[0]))
    last = len(entries) - 1
    problems = refusals(data)
    key = "control" if section == "waivers" else "name"
    told = next(problem for problem in problems if problem.path == f"{section}[{last}].{key}")
    assert f"{section}[0].{key}" in told.remedy


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("value", "hunter2", "treat it as disclosed"),
        ("initial", "hunter2", "treat it as disclosed"),
        ("source", "region", "remove it"),
        ("owner", "program", "readable in its state"),
        ("generator", None, "no secret has a default"),
        ("database", "mian", "did you mean main?"),
        ("restarts", ["api"], "declare it in workloads"),
    ],
)
def test_a_secret_is_generated_and_owned_by_operators(key: str, value: object, told: str) -> None:
    data = committed()
    entry(data, "database/password")[key] = value
    (problem,) = refusals(data)
    assert told in problem.remedy
    assert "hunter2" not in str(problem)


def test_a_uuid_has_the_length_of_a_uuid() -> None:
    data = committed()
    entry(data, "api/secret_key")["generator"]["length"] = 20
    (problem,) = refusals(data)
    assert problem.allowed == "36 for a uuid"


@pytest.mark.parametrize("principal", ["arn:aws:iam::111122223333:role/own", "nobody"])
def test_only_other_accounts_are_let_in_as_such(principal: str) -> None:
    readers = [{"arn": principal, "external_id": "agreed-with-them"}]
    problems = changed(("parameters.access.cross_account", readers))
    assert [problem.path for problem in problems] == ["parameters.access.cross_account[0].arn"]


def test_a_cross_account_reader_without_an_external_id_is_refused() -> None:
    readers = [{"arn": "arn:aws:iam::999988887777:role/reader"}]
    (problem,) = changed(("parameters.access.cross_account", readers))
    assert problem.path == "parameters.access.cross_account[0].external_id"


def test_a_waiver_ends_with_its_last_day_and_blocks_no_run() -> None:
    data = committed()
    data["waivers"] = [{**data["waivers"][0], "until": "2026-12-31"}]
    assert refusals(data, today=dt.date(2027, 1, 1)) == ()
    settings = parse("dev", data, TODAY)
    assert ended_waivers(settings, dt.date(2026, 12, 31)) == ()
    (problem,) = ended_waivers(settings, dt.date(2027, 1, 1))
    assert (problem.file, problem.path) == ("Pulumi.dev.yaml", "waivers[0].until")
    assert problem.allowed == "a day not before 2027-01-01"


def test_a_waiver_that_nobody_would_look_at_again_is_refused() -> None:
    (problem,) = changed(("waivers[0].until", "2028-11-24"))
    assert problem.allowed == "a day not after 2028-11-23"


# Environments beside each other


PIPELINE = "arn:aws:iam::111122223333:role/mono-repo-github-dev-deploy"


@pytest.mark.parametrize("principal", [PIPELINE, "arn:aws:iam::111122223333:root"])
def test_named_deployers_that_let_the_repository_in_are_accepted(principal: str) -> None:
    account = ("account", {"github_repository": "company/mono-repo"})
    assert changed(account, ("deployment.trusted_principals", [principal])) == ()


def test_named_deployers_that_lock_the_repository_out_are_refused_with_the_role_to_add() -> None:
    account = ("account", {"github_repository": "company/mono-repo"})
    somebody = ("deployment.trusted_principals", ["arn:aws:iam::111122223333:role/somebody"])
    (problem,) = changed(account, somebody)
    assert problem.path == "deployment.trusted_principals"
    assert PIPELINE in problem.allowed
    assert changed(somebody) == (), "without a repository nobody is locked out"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("region", "us-west-2"),
        ("secondary_region", "eu-west-1"),
        ("owner", "platform"),
        ("cost_center", "another"),
        ("tags", {"data-class": "internal"}),
        ("budget.limit_usd", 200),
        ("budget.recipients", ["jane-doe@company.com"]),
        ("account.audit_log_retention_days", 90),
        ("account.github_repository", "company/mono-repo"),
    ],
)
def test_environments_of_one_account_agree_on_what_the_account_has_once(
    path: str, value: object
) -> None:
    data = committed("uat")
    put(data, path, value)
    if path == "region":
        zones = [f"us-west-2{zone}" for zone in "abc"]
        put(data, "network.availability_zones", zones)
        put(data, "secondary_region", "us-east-1")
    apart = parse("uat", data, TODAY)
    dev = parse("dev", committed(), TODAY)
    assert check_fleet({"dev": dev, "uat": apart}) == (), "they are in accounts of their own"

    shared = apart.model_copy(update={"account_id": dev.account_id})
    problems = check_fleet({"dev": dev, "uat": shared})
    assert {problem.file for problem in problems} == {"Pulumi.uat.yaml"}
    assert path.partition(".")[0] in {problem.path for problem in problems}
    for problem in problems:
        assert "Pulumi.dev.yaml" in problem.allowed
        assert "write the same in both files" in problem.remedy


def test_environments_whose_ranges_overlap_are_refused_by_name() -> None:
    dev = load("dev", ROOT, TODAY)
    data = committed("uat")
    data["network"]["cidr"] = "10.0.16.0/20"
    (problem,) = check_fleet({"dev": dev, "uat": parse("uat", data, TODAY)})
    assert (problem.file, problem.path) == ("Pulumi.uat.yaml", "network.cidr")
    assert problem.allowed == "a range apart from that of dev, 10.0.0.0/16"


@trials(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=2**20 - 1), st.integers(16, 20)),
        min_size=2,
        max_size=3,
    )
)
def test_fleet_problems_are_exactly_the_overlapping_pairs(blocks: list[tuple[int, int]]) -> None:
    base = load("dev", ROOT, TODAY)
    networks = [
        IPv4Network((int.from_bytes(bytes([10, 0, 0, 0])) + (offset << 4), size), strict=False)
        for offset, size in blocks
    ]
    fleet: dict[str, Settings] = {
        env: base.model_copy(
            update={"network": base.network.model_copy(update={"cidr": str(network)})}
        )
        for env, network in zip(naming.ENVIRONMENTS, networks, strict=False)
    }
    overlapping = sum(
        one.overlaps(other) for index, one in enumerate(networks) for other in networks[index + 1 :]
    )
    assert len(check_fleet(fleet)) == overlapping


# Any input


def json_like() -> st.SearchStrategy[Any]:
    """Anything YAML can hold, and some things it cannot."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.dates()
        | st.binary(max_size=4)
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4)
        ),
        max_leaves=12,
    )


@trials(deadline=None)
@given(json_like())
def test_junk_is_refused_and_never_breaks_the_parser(junk: object) -> None:
    problems = refusals(junk)
    assert problems
    assert all(isinstance(str(problem), str) for problem in problems)


def places(value: object, path: str = "") -> Iterator[str]:
    """Every path in the data."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}.{key}" if path else key
            yield here
            yield from places(item, here)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{path}[{index}]"
            yield from places(item, f"{path}[{index}]")


PLACES = sorted(path for path in places(committed()) if "eks.addons." not in path)


@trials(deadline=None)
@given(st.sampled_from(PLACES), json_like())
def test_junk_anywhere_in_a_file_is_refused_or_accepted_and_never_breaks_the_parser(
    path: str, junk: object
) -> None:
    for problem in changed((path, junk)):
        assert problem.file == "Pulumi.dev.yaml"
        assert problem.remedy


@trials(deadline=None)
@given(st.lists(st.sampled_from(PLACES), unique=True, min_size=1, max_size=6))
def test_each_broken_place_is_told_whatever_else_is_broken(paths: list[str]) -> None:
    """No value is an encrypted one: breaking several places tells of every outermost one."""
    outermost = [
        path
        for path in paths
        if not any(path != other and path.startswith((f"{other}.", f"{other}[")) for other in paths)
    ]
    told = {problem.path for problem in changed(*((path, {"secure": "x"}) for path in outermost))}
    assert set(outermost) <= told


def test_an_object_without_end_is_refused() -> None:
    data = committed()
    data["tags"] = data
    assert any(problem.found == "an object nested too deeply" for problem in refusals(data))


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    (problem,) = changed(("budget.limit_usd", 10**6000))
    assert problem.found == "a very large number"


@trials(deadline=None)
@given(st.integers(min_value=-10, max_value=4000))
def test_the_retentions_accepted_are_those_of_cloudwatch(days: int) -> None:
    accepted = changed(("network.flow_log_retention_days", days)) == ()
    assert accepted == (days in CLOUDWATCH_RETENTION_DAYS)


# Reading a file


@pytest.fixture
def stack(tmp_path: Path) -> Callable[[str], tuple[Problem, ...]]:
    """Write a text as dev's stack file and return what is wrong with it."""

    def problems(text: str) -> tuple[Problem, ...]:
        (tmp_path / "Pulumi.dev.yaml").write_text(text)
        try:
            load("dev", tmp_path, TODAY)
        except SettingsError as error:
            return error.problems
        return ()

    return problems


Stack = Callable[[str], tuple[Problem, ...]]


def test_a_missing_file_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text("")
    with pytest.raises(SettingsError) as caught:
        load("prd", tmp_path, TODAY)
    (problem,) = caught.value.problems
    assert problem.found == "no such file"
    assert problem.allowed == "the stack file of one of: prod"
    assert problem.remedy == "did you mean prod?"


def test_a_missing_file_in_another_folder_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="run the command in the project's root"):
        load("dev", tmp_path, TODAY)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        load("dev", tmp_path, TODAY)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load("dev", tmp_path, TODAY)


def test_text_that_is_not_yaml_is_told_by_line_and_not_repeated(stack: Stack) -> None:
    (problem,) = stack("config:\n  a: hunter2: b\n")
    assert "line 2, column" in problem.found
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("text", ["", "name: x\n", "config: 3\n", "- a\n", "config:\n"])
def test_a_file_without_configuration_is_refused(stack: Stack, text: str) -> None:
    (problem,) = stack(text)
    assert problem.found == "no `config` object"


def test_a_misspelt_settings_key_is_told(stack: Stack) -> None:
    (problem,) = stack("config:\n  mono-repo:setings: {}\n")
    assert problem.path == "config.mono-repo:settings"
    assert "did you mean mono-repo:setings to be mono-repo:settings?" in problem.remedy


def test_keys_that_stand_twice_are_told_with_their_lines_beside_all_else(stack: Stack) -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    twice = text.replace(
        "    region: us-east-1\n", "    region: us-east-1\n    region: eu-west-1\n"
    )
    twice = twice.replace("      nat: single\n", "      nat: single\n      nat: sngle\n")
    problems = stack(twice)
    repeated = {problem.path: problem.found for problem in problems if "twice" in problem.found}
    assert set(repeated) == {"region", "network.nat"}
    assert re.fullmatch(r"the key twice, in lines \d+ and \d+", repeated["region"])
    assert any(problem.found == "'sngle'" for problem in problems)


def test_a_repeated_key_alone_makes_a_file_unusable(stack: Stack) -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    (problem,) = stack(text.replace("      nat: single\n", "      nat: single\n      nat: none\n"))
    assert problem.path == "network.nat"


def test_an_encrypted_value_beside_the_settings_is_refused(stack: Stack) -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    (problem,) = stack(text + "  mono-repo:token:\n    secure: v1:abc\n")
    assert (problem.path, problem.found) == ("config.mono-repo:token", "an encrypted value")


@pytest.mark.parametrize("word", ["yes", "on", "No", "y"])
def test_words_that_the_cli_reads_as_text_are_text_here_too(stack: Stack, word: str) -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    (problem,) = stack(text.replace("multi_az: false", f"multi_az: {word}"))
    assert problem.found == repr(word)
    assert problem.remedy == "write true or false, without quotes"


def test_a_date_without_quotes_is_refused_as_it_would_reach_the_program_as_a_time(
    stack: Stack,
) -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    problems = stack(text.replace('until: "2027-11-30"', "until: 2027-11-30"))
    assert {problem.found for problem in problems} == {"a date without quotes"}


@pytest.mark.parametrize(
    "text",
    ["config: &a\n  x: *a\n", "config: !!python/object:os.system {}\n", "a: 1\n---\nb: 2\n",
     "config: {[a]: b}\n", "config: {? {a: b} : c}\n", "\tconfig: 1\n"],
)  # fmt: skip
def test_hostile_yaml_is_refused_without_harm(stack: Stack, text: str) -> None:
    assert stack(text)


@trials(deadline=None)
@given(st.text())
def test_any_text_is_refused_and_never_breaks_the_reader(text: str) -> None:

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "Pulumi.dev.yaml"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(SettingsError):
            load("dev", Path(folder), TODAY)


# ops settings check


def copied(folder: Path, **changes: Callable[[str], str]) -> Path:
    """Copy the stack files into a folder, some changed."""
    for env in naming.ENVIRONMENTS:
        text = (ROOT / naming.stack_file(env)).read_text()
        change = changes.get(env)
        (folder / naming.stack_file(env)).write_text(change(text) if change else text)
    return folder


@pytest.mark.parametrize("envs", [[], ["all"], ["dev"], ["prod", "dev", "prod"]])
def test_the_committed_files_pass_the_check(envs: list[str]) -> None:
    report = check(envs, ROOT, TODAY)
    assert report.holds
    expected = tuple(dict.fromkeys(envs)) if envs not in ([], ["all"]) else naming.ENVIRONMENTS
    assert report.checked == report.usable == expected


def test_a_check_of_all_tells_the_problems_of_every_file(tmp_path: Path) -> None:
    root = copied(
        tmp_path,
        dev=lambda text: text.replace("nat: single", "nat: sngle"),
        prod=lambda text: text.replace('"777788889999"', '"7"'),
    )
    report = check(["all"], root, TODAY)
    assert not report.holds
    assert report.usable == ("uat",)
    assert [(finding.file, finding.path) for finding in report.findings] == [
        ("Pulumi.dev.yaml", "network.nat"),
        ("Pulumi.prod.yaml", "account_id"),
    ]


def test_a_check_of_one_leaves_the_others_problems_alone(tmp_path: Path) -> None:
    root = copied(tmp_path, dev=lambda text: text.replace("nat: single", "nat: sngle"))
    assert check(["uat"], root, TODAY).holds


@pytest.mark.parametrize("env", ["dev", "uat"])
def test_an_overlap_is_told_at_the_file_that_was_asked_for(tmp_path: Path, env: str) -> None:
    root = copied(tmp_path, uat=lambda text: text.replace("10.1.0.0/16", "10.0.0.0/16"))
    (finding,) = check([env], root, TODAY).findings
    assert (finding.file, finding.path) == (naming.stack_file(env), "network.cidr")


def test_a_name_that_is_no_environment_is_a_finding(tmp_path: Path) -> None:
    report = check(["prd"], copied(tmp_path), TODAY)
    (finding,) = report.findings
    assert (finding.found, finding.remedy) == ("no such file", "did you mean prod?")
    assert report.usable == ()


def test_an_ended_waiver_is_a_finding() -> None:
    report = check(["dev"], ROOT, dt.date(2028, 1, 1))
    ended = [finding for finding in report.findings if finding.path.startswith("waivers[")]
    assert ended
    assert all("has ended" in finding.remedy for finding in ended)
    assert report.usable == ("dev",)


# The reference page


def test_the_reference_page_is_what_the_model_says() -> None:
    page = ROOT / "docs" / "settings.md"
    assert page.read_text() == reference(), "write it anew: infra.settings.reference()"


def test_the_reference_page_has_every_key_with_a_meaning() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 4
        assert all(cells), row

"""The account stack in both layouts: an account each, and one account for all."""

import fnmatch
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pulumi
import pytest

from infra import naming
from infra.settings import Settings, check_fleet
from stacks import account, names
from stacks.outputs import AccountOutputs
from tests.graph import Graph, record
from tests.stacks.programs import ENVIRONMENTS, graph_of, settings
from tests.stacks.test_invariants import PHYSICAL_NAMES

REPOSITORY = "company/mono-repo"


def account_graph(environments: Sequence[Settings]) -> Graph:
    def program() -> None:
        for name, value in account.build(environments).to_exports().items():
            pulumi.export(name, value)

    return record(program, project=naming.ACCOUNT_PROJECT, stack=environments[0].account_id)


def deployed_from_github(environment: Settings) -> Settings:
    changed = environment.account.model_copy(update={"github_repository": REPOSITORY})
    return environment.model_copy(update={"account": changed})


@cache
def one_account() -> tuple[Settings, ...]:
    """All environments as they would be in dev's account."""
    home = {"account_id": settings("dev").account_id}
    return tuple(
        deployed_from_github(settings(env).model_copy(update=home)) for env in ENVIRONMENTS
    )


@cache
def shared_graph() -> Graph:
    return account_graph(one_account())


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_each_account_has_a_trail_a_budget_and_its_defaults(env: str) -> None:
    graph = account_graph([settings(env)])
    assert graph.one("aws:cloudtrail/trail:Trail").inputs["name"] == naming.AUDIT_TRAIL
    group = graph.one("aws:cloudwatch/logGroup:LogGroup").inputs
    assert group["name"] == "CloudTrail/MonoRepoAuditLogs"
    budget = graph.one("aws:budgets/budget:Budget").inputs
    assert (budget["name"], budget["limitAmount"]) == ("MonoRepo-Monthly-Budget", "100")
    graph.one("aws:iam/accountPasswordPolicy:AccountPasswordPolicy")
    graph.one("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock")


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_without_a_repository_nothing_trusts_github(env: str) -> None:
    graph = account_graph([settings(env)])
    assert graph.resources("aws:iam/openIdConnectProvider:OpenIdConnectProvider") == []
    assert "preview_role_arn" not in graph.exports
    for role in graph.resources("aws:iam/role:Role"):
        assert "githubusercontent" not in role.inputs["assumeRolePolicy"]


def test_an_account_of_one_environment_deploys_that_environment_alone() -> None:
    graph = account_graph([deployed_from_github(settings("uat"))])
    roles = {node.inputs["name"] for node in graph.resources("aws:iam/role:Role")}
    assert roles == {names.AUDIT_ROLE, naming.PREVIEW_ROLE, "mono-repo-github-uat-deploy"}


def test_a_shared_account_has_everything_once_and_a_deploy_role_for_each_environment() -> None:
    graph = shared_graph()
    graph.one("aws:cloudtrail/trail:Trail")
    graph.one("aws:budgets/budget:Budget")
    graph.one("aws:iam/openIdConnectProvider:OpenIdConnectProvider")
    for env in ENVIRONMENTS:
        role = graph.one("aws:iam/role:Role", f"github-deploy-{env}")
        assert role.inputs["name"] == naming.github_deploy_role(env)
        policy = graph.one("aws:iam/rolePolicy:RolePolicy", f"github-deploy-{env}-deploy")
        others = [other for other in ENVIRONMENTS if other != env]
        assert naming.deploy_role(env) in policy.inputs["policy"]
        assert not [other for other in others if f"-{other}-" in policy.inputs["policy"]]


def test_a_shared_account_is_the_same_whichever_environment_it_is_made_for() -> None:
    other = account_graph(tuple(reversed(one_account())))
    inputs = {node.label: dict(node.inputs) for node in other.resources()}
    assert inputs == {node.label: dict(node.inputs) for node in shared_graph().resources()}


def test_the_committed_environments_could_share_an_account() -> None:
    assert check_fleet({item.environment: item for item in one_account()}) == ()


def test_an_account_stack_is_not_made_of_several_accounts() -> None:
    with pytest.raises(ValueError, match="exactly one account"):
        account.build([settings("dev"), settings("prod")])


def test_no_two_stacks_of_a_shared_account_want_the_same_physical_name() -> None:
    graphs = [shared_graph()]
    for item in one_account():
        graphs += [
            graph_of(item.environment, item),
            graph_of(f"bootstrap-{item.environment}", item),
        ]
    wanted = Counter(
        (
            node.type,
            graph.provider_of(node).inputs["region"],
            node.inputs[PHYSICAL_NAMES[node.type]],
        )
        for graph in graphs
        for node in graph.resources()
        if node.inputs.get(PHYSICAL_NAMES.get(node.type, "")) is not None
    )
    assert [name for name, count in wanted.items() if count > 1] == []


def test_names_without_an_environment_are_made_by_the_account_stack_alone() -> None:
    ours = {
        str(node.inputs[PHYSICAL_NAMES[node.type]])
        for node in shared_graph().resources()
        if node.inputs.get(PHYSICAL_NAMES.get(node.type, "")) is not None
    }
    assert {naming.AUDIT_LOG_GROUP, naming.AUDIT_TRAIL, naming.BUDGET} <= ours
    for item in one_account():
        for stack in (item.environment, f"bootstrap-{item.environment}"):
            made = {
                str(node.inputs[PHYSICAL_NAMES[node.type]])
                for node in graph_of(stack, item).resources()
                if node.inputs.get(PHYSICAL_NAMES.get(node.type, "")) is not None
            }
            assert made & ours == set()


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_no_deploy_role_manages_or_takes_the_accounts_roles(env: str) -> None:
    ours = [
        naming.role_arn(settings(env).account_id, node.inputs["name"])
        for node in shared_graph().resources("aws:iam/role:Role")
    ]
    managed = [
        (statement["Sid"], pattern)
        for node in graph_of(f"bootstrap-{env}", settings(env)).resources()
        if node.type in ("aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy")
        for statement in json.loads(node.inputs["policy"])["Statement"]
        if statement["Effect"] == "Allow"
        for pattern in statement.get("Resource", [])
        if ":role/" in pattern
    ]
    assert managed
    for sid, pattern in managed:
        reached = [arn for arn in ours if fnmatch.fnmatchcase(arn, pattern)]
        assert reached == [], f"{sid} of {naming.deploy_role(env)}"
    assert env not in names.AUDIT_KEY_ALIAS


def test_what_the_account_has_is_tagged_as_no_environments() -> None:
    for node in shared_graph().resources():
        if "tags" in node.inputs:
            assert node.inputs["tags"]["environment"] == "account", node.label


def test_the_account_acts_as_its_caller_in_both_regions() -> None:
    providers = shared_graph().resources("pulumi:providers:aws")
    assert {node.inputs["region"] for node in providers} == {"us-east-1", "us-west-2"}
    assert not [node for node in providers if "assumeRoles" in node.inputs]


def test_evidence_stays_while_one_environment_of_the_account_is_protected() -> None:
    first, *rest = one_account()
    open_ = first.model_copy(update={"deletion_protection": False})
    assert account_graph([open_, *rest]).one("aws:cloudtrail/trail:Trail").protect
    assert not account_graph([open_]).one("aws:cloudtrail/trail:Trail").protect


def test_commands_read_back_what_the_stack_exports() -> None:
    outputs = AccountOutputs[str].from_exports(shared_graph().exports)
    assert outputs.audit_log_group == naming.AUDIT_LOG_GROUP
    assert outputs.audit_bucket == "mono-repo-audit-trail-0000000"
    assert outputs.github_role_arns is not None
    assert set(outputs.github_role_arns) == set(ENVIRONMENTS)

import pytest

from infra import naming
from stacks import bootstrap
from stacks.outputs import BootstrapOutputs
from tests.graph import record
from tests.stacks.programs import ENVIRONMENTS, bootstrap_graph, settings


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_each_application_has_a_repository(env: str) -> None:
    names = {
        node.inputs["name"]
        for node in bootstrap_graph(env).resources("aws:ecr/repository:Repository")
    }
    assert names == {
        f"mono-repo-{env}-{application}"
        for application in (
            "api-service",
            "web-app",
            "dash-app",
            "airflow",
            "batch-jobs",
            "data-pipeline",
            "python-base",
        )
    }


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_keys_are_found_by_the_aliases_that_others_use(env: str) -> None:
    aliases = {
        node.inputs["name"] for node in bootstrap_graph(env).resources("aws:kms/alias:Alias")
    }
    assert aliases >= {
        naming.state_key_alias(env),
        naming.databases_key_alias(env),
        naming.backups_key_alias(env),
    }
    assert naming.state_key_alias(env) in settings(env).backend.secrets_provider


def test_the_deploy_role_is_left_to_the_accounts_iam_where_nobody_is_named() -> None:
    role = bootstrap_graph("dev").one("aws:iam/role:Role", "bootstrap-deploy")
    assert '"AWS":["arn:aws:iam::111122223333:root"]' in role.inputs["assumeRolePolicy"]


def test_named_principals_alone_may_assume_the_deploy_role() -> None:
    ci = "arn:aws:iam::111122223333:role/ci"
    deployment = settings("dev").deployment.model_copy(update={"trusted_principals": (ci,)})
    changed = settings("dev").model_copy(update={"deployment": deployment})
    graph = record(lambda: bootstrap.build(changed), project=naming.BOOTSTRAP_PROJECT)
    trust = graph.one("aws:iam/role:Role", "bootstrap-deploy").inputs["assumeRolePolicy"]
    assert f'"AWS":["{ci}"]' in trust


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_commands_read_back_what_the_stack_exports(env: str) -> None:
    outputs = BootstrapOutputs[str].from_exports(bootstrap_graph(env).exports)
    assert outputs.state_bucket == f"mono-repo-{env}-pulumi-state-0000000"
    assert outputs.lock_table == f"mono-repo-{env}-pulumi-state-lock"

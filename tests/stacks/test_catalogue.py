import pytest

from infra.settings import Parameter
from stacks.catalogue import parameter_sources, program_parameters
from tests.stacks.programs import ENVIRONMENTS, environment_graph, settings


def parameters(env: str) -> dict[str, object]:
    return {
        node.inputs["name"]: node.inputs["value"]
        for node in environment_graph(env).resources("aws:ssm/parameter:Parameter")
    }


def test_derived_parameters_have_the_values_of_what_they_are_derived_from() -> None:
    found = parameters("dev")
    assert found["/dev/mono-repo/app/environment"] == "dev"
    assert found["/dev/mono-repo/app/region"] == "us-east-1"
    assert found["/dev/mono-repo/database/host"] == "host-databases-main"
    assert found["/dev/mono-repo/database/port"] == "5432"
    assert found["/dev/mono-repo/database/name"] == "mono_repo"
    assert found["/dev/mono-repo/api/url"] == "http://api-service.mono-repo.internal"


def test_a_pattern_holds_for_the_whole_value() -> None:
    port = Parameter(
        name="database/port",
        type="String",
        owner="program",
        category="database",
        description="Port",
        value="5432",
        pattern="1|[0-9]{4}",
    )
    assert program_parameters([port], {})["database/port"].pattern == "^(?:1|[0-9]{4})$"


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_what_operators_own_is_no_resource(env: str) -> None:
    names = set(parameters(env))
    for entry in settings(env).parameters.catalogue:
        if entry.owner == "operator":
            assert f"/{env}/mono-repo/{entry.name}" not in names


def test_a_workload_is_reached_by_https_once_there_is_a_certificate() -> None:
    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/" + "0" * 36
    balancer = settings("dev").load_balancer.model_copy(update={"certificate_arn": certificate})
    changed = settings("dev").model_copy(update={"load_balancer": balancer})
    sources = parameter_sources(changed, vpc_id="vpc-1", database_hosts={"main": "host"})
    assert sources["workload.web-app.url"] == "https://web-app.mono-repo.internal"

import json
from collections import Counter

import pytest
from pulumi import ResourceOptions

from components.iam_users import IamUsers, IamUsersArgs, Person, ServiceAccount, UserGroup
from tests.graph import Graph, Node, provided, record

PREFIX = "mono-repo-dev"
BOUNDARY = f"arn:aws:iam::111122223333:policy/{PREFIX}-people-boundary"
USER = "aws:iam/user:User"
SECRET = "aws:secretsmanager/secret:Secret"
MEMBERSHIP = "aws:iam/userGroupMembership:UserGroupMembership"


def group(name: str) -> UserGroup:
    return UserGroup(
        name=name,
        group_name=f"{PREFIX}-{name}",
        policy_arn=f"arn:aws:iam::111122223333:policy/{PREFIX}-group-{name}",
    )


def person(name: str, *groups: str) -> Person:
    return Person(
        name=name,
        user_name=f"{PREFIX}-{name}",
        email=f"{name.replace('-', '.')}@company.com",
        team="backend",
        groups=groups,
        secret_name=f"{PREFIX}-access-keys-{name}",
    )


def program() -> None:
    IamUsers(
        "users",
        IamUsersArgs(
            account_id="111122223333",
            everyone=group("self-service"),
            groups=[group("operations"), group("sre")],
            service_groups=[group("deployment-services")],
            people=[person("john-smith", "operations", "sre"), person("jane-doe")],
            service_accounts=[
                ServiceAccount(
                    name="cicd-service",
                    user_name=f"{PREFIX}-cicd-service",
                    group="deployment-services",
                    secret_name=f"{PREFIX}-access-keys-cicd-service",
                )
            ],
            people_path="/mono-repo/dev/people/",
            services_path="/mono-repo/dev/services/",
            permissions_boundary_arn=BOUNDARY,
            secret_recovery_days=0,
            key_alias=f"alias/{PREFIX}-access-keys",
            key_deletion_window_days=30,
            protect=True,
            tags={"environment": "dev", "owner": "devops"},
        ),
        ResourceOptions(providers=[provided()]),
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return record(program)


def kind(node: Node) -> str:
    return node.type.rpartition(":")[2]


def test_people_and_machines_are_made_of_exactly_this(graph: Graph) -> None:
    children = graph.children(graph.one("mono-repo:index:IamUsers"))
    assert Counter(map(kind, children)) == {
        "EncryptionKey": 1,
        "Group": 4,
        "GroupPolicyAttachment": 4,
        "User": 3,
        "UserGroupMembership": 3,
        "Secret": 3,
    }


def test_no_access_key_no_password_and_no_secret_value_passes_through_the_program(
    graph: Graph,
) -> None:
    kinds = {kind(node) for node in graph.resources()}
    assert kinds.isdisjoint({"AccessKey", "UserLoginProfile", "SecretVersion"})


def test_every_user_carries_the_boundary_and_goes_with_its_credentials(graph: Graph) -> None:
    for user in graph.resources(USER):
        assert user.inputs["permissionsBoundary"] == BOUNDARY
        assert user.inputs["forceDestroy"] is True
        assert user.inputs["tags"]["environment"] == "dev"


def test_people_and_machines_are_told_apart_by_their_paths(graph: Graph) -> None:
    paths = {user.inputs["name"]: user.inputs["path"] for user in graph.resources(USER)}
    assert paths == {
        f"{PREFIX}-john-smith": "/mono-repo/dev/people/",
        f"{PREFIX}-jane-doe": "/mono-repo/dev/people/",
        f"{PREFIX}-cicd-service": "/mono-repo/dev/services/",
    }


def test_a_person_is_known_by_mail_and_team(graph: Graph) -> None:
    tags = graph.one(USER, "users-john-smith").inputs["tags"]
    assert tags["email"] == "john.smith@company.com"
    assert tags["team"] == "backend"


def test_permissions_come_by_groups_alone(graph: Graph) -> None:
    kinds = {kind(node) for node in graph.resources()}
    assert kinds.isdisjoint({"UserPolicy", "UserPolicyAttachment", "GroupPolicy", "Policy"})
    attached = {
        node.inputs["group"]: node.inputs["policyArn"].rpartition("/")[2]
        for node in graph.resources("aws:iam/groupPolicyAttachment:GroupPolicyAttachment")
    }
    assert attached == {
        f"{PREFIX}-{name}": f"{PREFIX}-group-{name}"
        for name in ("self-service", "operations", "sre", "deployment-services")
    }


def test_every_person_is_in_the_group_for_everyone_and_machines_are_not(graph: Graph) -> None:
    members = {
        node.inputs["user"].removeprefix(f"{PREFIX}-"): [
            name.removeprefix(f"{PREFIX}-") for name in node.inputs["groups"]
        ]
        for node in graph.resources(MEMBERSHIP)
    }
    assert members == {
        "john-smith": ["self-service", "operations", "sre"],
        "jane-doe": ["self-service"],
        "cicd-service": ["deployment-services"],
    }


def test_a_group_is_left_before_it_or_the_user_goes(graph: Graph) -> None:
    for node in graph.resources(MEMBERSHIP):
        wanted = {graph.one(USER, node.name).urn}
        names = set(node.inputs["groups"])
        wanted |= {
            one.urn for one in graph.resources("aws:iam/group:Group") if one.inputs["name"] in names
        }
        assert wanted <= set(node.dependencies)


def test_a_secret_is_encrypted_tagged_with_its_owner_and_free_to_be_named_again(
    graph: Graph,
) -> None:
    key = graph.one("aws:kms/key:Key")
    assert key.protect
    for node in graph.resources(SECRET):
        owner = graph.one(USER, node.name).inputs["name"]
        assert node.inputs["kmsKeyId"] == f"arn:mock:aws:kms/key:Key/{key.name}"
        assert node.inputs["tags"]["iam-user"] == owner
        assert node.inputs["tags"]["owner"] == "devops"
        assert node.inputs["recoveryWindowInDays"] == 0
        assert not node.protect


@pytest.mark.parametrize("name", ["john-smith", "jane-doe", "cicd-service"])
def test_a_secret_is_denied_to_everybody_but_its_owner(graph: Graph, name: str) -> None:
    (statement,) = json.loads(graph.one(SECRET, f"users-{name}").inputs["policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == ["secretsmanager:GetSecretValue"]
    assert statement["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": f"arn:mock:{USER}/users-{name}"}
    }


def test_the_outputs_name_who_and_what_there_is(graph: Graph) -> None:
    (outputs,) = graph.registered_outputs[graph.one("mono-repo:index:IamUsers").urn]
    assert set(outputs["group_arns"]) == {"operations", "sre"}
    assert outputs["user_names"] == {
        name: f"{PREFIX}-{name}" for name in ("john-smith", "jane-doe", "cicd-service")
    }
    assert set(outputs["user_arns"]) == set(outputs["secret_arns"]) == set(outputs["user_names"])
    assert set(outputs) == {"group_arns", "user_names", "user_arns", "secret_arns", "key_arn"}

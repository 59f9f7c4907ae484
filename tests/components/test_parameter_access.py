import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from components.parameter_access import (
    CrossAccountPrincipal,
    ParameterPath,
    access_policy,
    access_trust,
    change_events,
    event_delivery,
    read_events,
)

PATH = ParameterPath(region="us-east-1", account_id="111122223333", path="/dev/mono-repo")
BELOW = "arn:aws:ssm:us-east-1:111122223333:parameter/dev/mono-repo/*"
KEY = "arn:aws:kms:us-east-1:111122223333:key/k"
PROVIDER = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"


def statements(document: str) -> dict[str, dict[str, Any]]:
    return {item["Sid"]: item for item in json.loads(document)["Statement"]}


def trust(**changes: Any) -> dict[str, dict[str, Any]]:
    defaults: dict[str, Any] = {
        "operator_arns": ["arn:aws:iam::111122223333:role/mono-repo-dev-deploy"],
        "ec2": False,
        "oidc_provider_arn": None,
        "service_accounts": ["system:serviceaccount:mono-repo-dev:mono-repo-api"],
        "cross_account": [],
    }
    return statements(access_trust(**(defaults | changes)))


def test_reading_is_allowed_below_the_path_and_never_writing() -> None:
    found = statements(access_policy(PATH, KEY, write=False))
    assert set(found) == {"ReadParameters", "DecryptParameters"}
    assert found["ReadParameters"]["Resource"] == [BELOW.removesuffix("/*"), BELOW]
    assert all(action.startswith("ssm:Get") for action in found["ReadParameters"]["Action"])


def test_the_key_decrypts_only_these_parameters_and_only_through_ssm() -> None:
    conditions = statements(access_policy(PATH, KEY, write=False))["DecryptParameters"]["Condition"]
    assert conditions == {
        "StringEquals": {"kms:ViaService": "ssm.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:PARAMETER_ARN": BELOW},
    }


def test_where_writing_is_allowed_it_is_below_the_path_and_includes_no_delete() -> None:
    write = statements(access_policy(PATH, KEY, write=True))["WriteParameters"]
    assert "ssm:PutParameter" in write["Action"]
    assert write["Resource"] == [BELOW]
    assert not [action for action in write["Action"] if "Delete" in action]


def test_instances_may_take_the_role_only_where_there_is_an_instance_profile() -> None:
    assert "Instances" not in trust()
    assert trust(ec2=True)["Instances"]["Principal"] == {"Service": ["ec2.amazonaws.com"]}


def test_service_accounts_are_trusted_by_subject_and_audience_once_there_is_a_provider() -> None:
    assert "ServiceAccounts" not in trust()
    found = trust(oidc_provider_arn=PROVIDER)["ServiceAccounts"]
    issuer = "oidc.eks.us-east-1.amazonaws.com/id/ABC"
    assert found["Principal"] == {"Federated": [PROVIDER]}
    assert found["Condition"]["StringEquals"] == {
        f"{issuer}:aud": "sts.amazonaws.com",
        f"{issuer}:sub": ["system:serviceaccount:mono-repo-dev:mono-repo-api"],
    }


def test_a_provider_without_service_accounts_lets_nobody_in() -> None:
    assert "ServiceAccounts" not in trust(oidc_provider_arn=PROVIDER, service_accounts=[])


def test_another_account_must_show_its_external_id() -> None:
    reader = CrossAccountPrincipal(
        arn="arn:aws:iam::999900001111:role/reader", external_id="agreed-between-us"
    )
    found = trust(cross_account=[reader])["CrossAccount1"]
    assert found["Principal"] == {"AWS": [reader.arn]}
    assert found["Condition"] == {"StringEquals": {"sts:ExternalId": "agreed-between-us"}}


def test_reads_are_recognised_by_name_names_path_and_by_a_refusals_message() -> None:
    pattern = json.loads(read_events(PATH))
    assert pattern["detail-type"] == ["AWS API Call via CloudTrail"]
    assert set(pattern["detail"]["eventName"]) >= {"GetParameter", "GetParametersByPath"}
    below = {"prefix": "/dev/mono-repo/"}
    named = [below, {"prefix": f"{PATH.arn}/"}]
    name, names, path, _ = pattern["detail"]["$or"]
    assert name == {"requestParameters": {"name": named}}
    assert names == {"requestParameters": {"names": named}}
    assert path == {"requestParameters": {"path": ["/", "/dev", "/dev/", "/dev/mono-repo", below]}}


@pytest.mark.parametrize(
    ("resource", "counts"),
    [
        ("/dev/mono-repo/api/key because no policy allows it", True),
        ("/dev/mono-repo because no policy allows it", True),
        ("/dev/mono-repo", True),
        ("/dev/mono-repo-ops/suspension because no policy allows it", False),
        ("/dev/mono-repo-ops", False),
    ],
)
def test_a_refusal_counts_where_its_message_names_this_path(resource: str, counts: bool) -> None:
    (*_, refused) = json.loads(read_events(PATH))["detail"]["$or"]
    message = (
        "User: arn:aws:iam::111122223333:user/x is not authorized to perform: ssm:GetParameter "
        f"on resource: arn:aws:ssm:us-east-1:111122223333:parameter{resource}"
    )
    wildcards = [item.get("wildcard") or f"*{item['suffix']}" for item in refused["errorMessage"]]
    assert any(fnmatchcase(message, wildcard) for wildcard in wildcards) is counts


def test_an_event_pattern_fits_what_eventbridge_takes() -> None:
    assert len(read_events(PATH)) <= 2048


def test_changes_of_another_application_do_not_count() -> None:
    assert json.loads(change_events(PATH))["detail"] == {"name": [{"prefix": "/dev/mono-repo/"}]}


def test_only_the_two_rules_may_write_into_the_log() -> None:
    found = statements(event_delivery("arn:log-group", ["arn:rule/reads", "arn:rule/changes"]))
    assert found["PutEvents"]["Resource"] == ["arn:log-group:*:*"]
    assert found["PutEvents"]["Condition"]["ArnEquals"] == {
        "aws:SourceArn": ["arn:rule/changes", "arn:rule/reads"]
    }

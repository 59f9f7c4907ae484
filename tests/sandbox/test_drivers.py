"""The aws and kubernetes drivers: decisions, errors, accounts, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import servers
from infra.sandbox.engine.drivers import api, registry
from infra.sandbox.engine.drivers.values import changes, join_path, json_canon, project
from infra.sandbox.engine.provider import (
    DiffResult,
    InitError,
    Provider,
    ProviderError,
    UnsupportedTypeError,
)
from infra.sandbox.engine.wire import UNKNOWN
from tests.sandbox.test_drivers_rows import made_samples

PARAMETER = "aws:ssm/parameter:Parameter"
VPC = "aws:ec2/vpc:Vpc"
TABLE = "aws:dynamodb/table:Table"
BUCKET = "aws:s3/bucket:Bucket"
ROLE = "aws:iam/role:Role"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
REPOSITORY = "aws:ecr/repository:Repository"
NOWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture
def offline() -> Provider:
    """A provider whose cloud is not there: enough to decide."""
    return registry(NOWHERE).configure("aws", {})


@pytest.fixture
def provider(cloud_environment: dict[str, str]) -> Provider:
    return registry(cloud_environment).configure("aws", {"region": "us-east-1"})


def diff(
    provider: Provider, type_: str, old: dict[str, Any], new: dict[str, Any]
) -> dict[str, str]:
    return dict(provider.diff(type_, "id", old, old, new).detailed)


# -- check ------------------------------------------------------------------------------------


def test_a_type_without_a_row_is_refused_and_the_message_says_that_nothing_was_changed(
    offline: Provider,
) -> None:
    with pytest.raises(
        UnsupportedTypeError, match=r"no row for aws:lex/bot:Bot.*Nothing was changed"
    ):
        offline.check("aws:lex/bot:Bot", "b", None, {})


def test_an_input_that_no_operation_would_apply_is_refused(offline: Provider) -> None:
    checked = offline.check(VPC, "v", None, {"cidrBlock": "10.0.0.0/16", "ipv4IpamPoolId": "p"})
    assert [failure.reason for failure in checked.failures] == [
        (
            f"the sandbox's engine cannot apply ipv4IpamPoolId of {VPC}: its row does not know it."
            " Examine values at 'v.ipv4IpamPoolId'."
        )
    ]


def test_a_wrong_parameter_type_is_refused_in_the_words_of_the_real_provider(
    offline: Provider,
) -> None:
    checked = offline.check(PARAMETER, "ind", None, {"name": "/a", "type": "Wrong", "value": "1"})
    assert checked.failures[0].reason == (
        'expected type to be one of ["String" "StringList" "SecureString"], got Wrong.'
        " Examine values at 'ind.type'."
    )


def test_a_missing_required_input_is_refused(offline: Provider) -> None:
    checked = offline.check(PARAMETER, "p", None, {"value": "1"})
    assert 'The argument "type" is required' in checked.failures[0].reason


def test_an_auto_name_is_the_logical_name_and_7_hex_digits_and_is_kept(offline: Provider) -> None:
    first = offline.check(ROLE, "role", None, {"assumeRolePolicy": "{}"}).inputs
    again = offline.check(ROLE, "role", first, {"assumeRolePolicy": "{}"}).inputs
    assert first["name"].startswith("role-")
    assert len(first["name"].removeprefix("role-")) == 7
    assert set(first["name"].removeprefix("role-")) <= set("0123456789abcdef")
    assert again["name"] == first["name"]


def test_a_name_prefix_is_the_start_of_the_name(offline: Provider) -> None:
    inputs = offline.check(
        ROLE, "role", None, {"assumeRolePolicy": "{}", "namePrefix": "x-"}
    ).inputs
    assert inputs["name"].startswith("x-")


def test_a_long_logical_name_is_cut_to_what_aws_takes(offline: Provider) -> None:
    assert len(offline.check(BUCKET, "b" * 80, None, {}).inputs["bucket"]) == 63


def test_an_alias_name_gets_its_prefix(offline: Provider) -> None:
    inputs = offline.check("aws:kms/alias:Alias", "key", None, {"targetKeyId": "k"}).inputs
    assert inputs["name"].startswith("alias/key-")


# -- diff -------------------------------------------------------------------------------------


def test_a_tag_is_told_by_its_own_path(offline: Provider) -> None:
    old = {"cidrBlock": "10.0.0.0/16", "tags": {"Name": "a", "x": "1", "a.b": "1"}}
    new = {"cidrBlock": "10.0.0.0/16", "tags": {"Name": "b", "y": "2", "a.b": "2"}}
    assert diff(offline, VPC, old, new) == {
        "tags.Name": "update",
        "tags.x": "delete",
        'tags["a.b"]': "update",
        "tags.y": "add",
    }


def test_a_nested_property_is_told_by_its_path(offline: Provider) -> None:
    old = {"name": "t", "pointInTimeRecovery": {"enabled": False}}
    new = {"name": "t", "pointInTimeRecovery": {"enabled": True}}
    assert diff(offline, TABLE, old, new) == {"pointInTimeRecovery.enabled": "update"}


def test_a_property_that_cannot_change_in_place_replaces(offline: Provider) -> None:
    result = offline.diff(
        VPC, "vpc-1", {"cidrBlock": "10.0.0.0/16"}, {}, {"cidrBlock": "10.1.0.0/16"}
    )
    assert result.detailed == {"cidrBlock": "update-replace"}
    assert result.replace_keys == ("cidrBlock",)


def test_an_unknown_value_updates_or_replaces_as_its_property_does(offline: Provider) -> None:
    old = {"vpcId": "vpc-1", "cidrBlock": "10.0.0.0/24", "tags": {"a": "1"}}
    new = {"vpcId": UNKNOWN, "cidrBlock": "10.0.0.0/24", "tags": {"a": UNKNOWN}}
    assert diff(offline, "aws:ec2/subnet:Subnet", old, new) == {
        "tags.a": "update",
        "vpcId": "update-replace",
    }


def test_policies_that_mean_the_same_are_no_change(offline: Provider) -> None:
    one = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["a", "b"], "Resource": ["*"]}],
    }
    two = {
        "Statement": {"Resource": "*", "Action": ["b", "a"], "Effect": "Allow"},
        "Version": "2012-10-17",
    }
    old = {"name": "p", "policy": json.dumps(one)}
    new = {"name": "p", "policy": json.dumps(two, indent=2)}
    assert diff(offline, "aws:iam/policy:Policy", old, new) == {}
    changed = {"name": "p", "policy": json.dumps(one).replace("Allow", "Deny")}
    assert diff(offline, "aws:iam/policy:Policy", old, changed) == {"policy": "update"}


def test_a_default_written_out_is_no_change(offline: Provider) -> None:
    old = {"cidrBlock": "10.0.0.0/16"}
    new = {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True, "instanceTenancy": "default"}
    assert diff(offline, VPC, old, new) == {}
    assert diff(offline, VPC, old, {**new, "enableDnsSupport": False}) == {
        "enableDnsSupport": "add"
    }


def test_numbers_and_booleans_as_text_are_no_change(offline: Provider) -> None:
    old = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "securityGroupId": "sg-1"}
    new = {"ipProtocol": "6", "fromPort": "443", "toPort": 443.0, "securityGroupId": "sg-1"}
    assert (
        diff(offline, "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", old, new) == {}
    )


def test_the_order_of_a_set_is_no_change_and_a_new_member_is_told_alone(offline: Provider) -> None:
    type_ = "aws:ec2/vpcEndpoint:VpcEndpoint"
    old = {"vpcId": "v", "serviceName": "s", "subnetIds": ["a", "b"]}
    assert diff(offline, type_, old, {**old, "subnetIds": ["b", "a"]}) == {}
    assert diff(offline, type_, old, {**old, "subnetIds": ["c", "b", "a"]}) == {
        "subnetIds[0]": "add"
    }


def test_what_aws_chose_is_no_change_when_the_program_leaves_it_out(offline: Provider) -> None:
    old = {"vpcId": "v", "cidrBlock": "10.0.0.0/24", "availabilityZone": "us-east-1a"}
    new = {"vpcId": "v", "cidrBlock": "10.0.0.0/24"}
    assert diff(offline, "aws:ec2/subnet:Subnet", old, new) == {}


def test_a_replacement_that_keeps_its_given_name_deletes_first(offline: Provider) -> None:
    old = {"name": "fixed", "assumeRolePolicy": "{}", "path": "/"}
    result: DiffResult = offline.diff(ROLE, "fixed", old, {}, {**old, "path": "/x/"})
    assert result.delete_before_replace
    made_up = {**old, "name": "role-0123abc"}
    assert not offline.diff(
        ROLE, "r", made_up, {}, {**made_up, "path": "/x/"}
    ).delete_before_replace


# -- preview ----------------------------------------------------------------------------------


def test_a_preview_of_a_creation_knows_the_inputs_and_nothing_that_aws_makes_up(
    offline: Provider,
) -> None:
    outputs = offline.preview_outputs(VPC, {"cidrBlock": "10.0.0.0/16"}, None)
    assert outputs["cidrBlock"] == "10.0.0.0/16"
    assert outputs["arn"] is UNKNOWN
    assert outputs["defaultSecurityGroupId"] is UNKNOWN


def test_a_preview_of_an_update_keeps_what_does_not_change(offline: Provider) -> None:
    old = {"name": "/a", "type": "String", "value": "1", "arn": "arn", "version": 1, "id": "/a"}
    inputs = {"name": "/a", "type": "String", "value": "2"}
    outputs = offline.preview_outputs(PARAMETER, inputs, {**old, "description": "gone"})
    assert outputs["arn"] == "arn"
    assert outputs["value"] == "2"
    assert outputs["version"] is UNKNOWN
    assert "description" not in outputs


def test_deciding_loads_no_api_client(tmp_path: Path) -> None:
    script = f"""
        import sys
        from infra.sandbox.engine.drivers import registry
        provider = registry({NOWHERE!r}).configure("aws", {{"region": "us-east-1"}})
        inputs = provider.check({VPC!r}, "v", None, {{"cidrBlock": "10.0.0.0/16"}}).inputs
        provider.preview_outputs({VPC!r}, inputs, None)
        assert not provider.diff({VPC!r}, "vpc-1", inputs, inputs, inputs).changes
        print([name for name in ("botocore", "boto3", "moto", "pulumi") if name in sys.modules])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=servers.PROJECT_ROOT,
    )
    assert run.stdout.strip() == "[]"


def test_a_parameters_value_is_always_secret(offline: Provider) -> None:
    assert offline.secret_outputs(PARAMETER) == {"value", "valueWo"}
    assert offline.secret_outputs(VPC) == frozenset()


# -- accounts and endpoints -------------------------------------------------------------------


def test_another_account_than_the_allowed_ones_is_refused(
    cloud_environment: dict[str, str],
) -> None:
    providers = registry(cloud_environment)
    config = {"region": "us-east-1", "allowedAccountIds": '["444455556666"]'}
    with pytest.raises(ProviderError, match="AWS account ID not allowed: 111122223333"):
        providers.configure("aws", config)
    providers.configure("aws", {**config, "allowedAccountIds": '["111122223333"]'})


def test_an_assumed_role_acts_in_its_own_account(cloud_environment: dict[str, str]) -> None:
    roles = json.dumps([{"roleArn": "arn:aws:iam::777788889999:role/mono-repo-prod-deploy"}])
    config = {"region": "us-east-1", "assumeRoles": roles, "allowedAccountIds": '["777788889999"]'}
    other = registry(cloud_environment).configure("aws", config)
    identity = other.invoke("aws:index/getCallerIdentity:getCallerIdentity", {})
    assert identity["accountId"] == "777788889999"


def test_an_endpoint_beyond_this_machine_is_refused() -> None:
    away = registry({**NOWHERE, "AWS_ENDPOINT_URL": "https://ssm.us-east-1.amazonaws.com"})
    with pytest.raises(ProviderError, match="not on this machine"):
        away.configure("aws", {}).read(PARAMETER, "/a", {}, {})


def test_an_endpoint_of_one_service_in_the_environment_is_not_followed(
    offline: Provider,
) -> None:
    away = registry({**NOWHERE, "AWS_ENDPOINT_URL_SSM": "https://ssm.us-east-1.amazonaws.com"})
    with pytest.raises(ProviderError, match=NOWHERE["AWS_ENDPOINT_URL"]):
        away.configure("aws", {}).read(PARAMETER, "/a", {}, {})


def test_without_an_endpoint_nothing_is_called() -> None:
    bare = {key: value for key, value in NOWHERE.items() if key != "AWS_ENDPOINT_URL"}
    with pytest.raises(ProviderError, match="It never calls AWS itself"):
        registry(bare).configure("aws", {}).read(PARAMETER, "/a", {}, {})


def test_the_users_own_profile_is_not_looked_at(
    cloud_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")
    provider = registry(cloud_environment).configure("aws", {"region": "us-east-1"})
    assert provider.read(PARAMETER, "/nothing", {}, {}) is None


def test_a_package_that_the_sandbox_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedTypeError, match="no gcp provider"):
        registry(NOWHERE).configure("gcp", {})


def test_a_dead_cloud_is_told_and_leaves_no_doubt_about_the_effect(offline: Provider) -> None:
    inputs = {"name": "/a", "type": "String", "value": "hidden"}
    with pytest.raises(ProviderError, match="Could not connect") as caught:
        offline.create(PARAMETER, "p", inputs)
    assert not caught.value.maybe_done


class Answering:
    """A cloud that answers SSM's operations with what a test sets; `calls` are their names."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                answering.calls.append(operation)
                answers = answering.answers[operation]
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                content = json.dumps(body).encode()
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.provider = registry({**NOWHERE, "AWS_ENDPOINT_URL": url}).configure("aws", {})


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(api, "RETRY_PAUSE", 0)
    cloud = Answering()
    threading.Thread(target=cloud.server.serve_forever, daemon=True).start()
    yield cloud
    cloud.server.shutdown()
    cloud.server.server_close()


PLAIN = {"name": "/a", "type": "String", "value": "v"}
FAULT = (500, {"__type": "InternalServerError", "message": "lost"})
THROTTLED = (400, {"__type": "ThrottlingException", "message": "slow down"})
REFUSED = (400, {"__type": "ValidationException", "message": "no"})


def test_a_write_whose_answer_is_lost_is_not_made_again(answering: Answering) -> None:
    answering.answers = {"PutParameter": [FAULT]}
    with pytest.raises(ProviderError) as caught:
        answering.provider.create(PARAMETER, "p", PLAIN)
    assert caught.value.maybe_done
    assert answering.calls == ["PutParameter"]


def test_a_read_whose_answer_is_lost_is_made_again(answering: Answering) -> None:
    answering.answers = {
        "GetParameter": [FAULT, FAULT, (400, {"__type": "ParameterNotFound", "message": ""})]
    }
    assert answering.provider.read(PARAMETER, "/a", PLAIN, {}) is None
    assert answering.calls == ["GetParameter"] * 3


def test_a_throttled_write_is_made_again_a_few_times(answering: Answering) -> None:
    answering.answers = {"PutParameter": [THROTTLED]}
    with pytest.raises(ProviderError, match="slow down") as caught:
        answering.provider.create(PARAMETER, "p", PLAIN)
    assert not caught.value.maybe_done
    assert answering.calls == ["PutParameter"] * 3


def test_an_update_that_fails_half_way_is_told_apart_from_one_that_did_nothing(
    answering: Answering,
) -> None:
    wanted = {**PLAIN, "value": "w", "tags": {"k": "v"}}
    answering.answers = {
        "PutParameter": [(200, {"Version": 2})],
        "AddTagsToResource": [REFUSED],
        "GetParameter": [REFUSED],
    }
    with pytest.raises(InitError, match="AddTagsToResource") as caught:
        answering.provider.update(PARAMETER, "/a", PLAIN, {"version": 1}, wanted)
    assert (caught.value.id, caught.value.outputs) == ("/a", {"version": 1})

    answering.answers["PutParameter"] = [REFUSED]
    with pytest.raises(ProviderError) as caught_whole:
        answering.provider.update(PARAMETER, "/a", PLAIN, {"version": 1}, wanted)
    assert not isinstance(caught_whole.value, InitError)


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_a_refusal_names_the_operation_the_code_and_the_resource(provider: Provider) -> None:
    with made_samples(provider, "repository") as made, pytest.raises(ProviderError) as caught:
        provider.create(REPOSITORY, "again", made["repository"][1])
    text = str(caught.value)
    assert text.startswith(
        "creating ECR Repository (mono-repo-dev-sample): operation error ECR: CreateRepository,"
    )
    assert "RepositoryAlreadyExistsException" in text
    assert not caught.value.maybe_done


@pytest.mark.sandbox
def test_no_error_shows_a_secret_value(provider: Provider) -> None:
    inputs = {"name": "aws-reserved", "type": "String", "value": ["s3cr3t-value"]}
    with pytest.raises(ProviderError) as caught:
        provider.create(PARAMETER, "p", {**inputs, "value": "s3cr3t-value" * 1000})
    assert "s3cr3t-value" not in str(caught.value)


@pytest.mark.sandbox
def test_a_creation_that_fails_half_way_keeps_what_was_made(provider: Provider) -> None:
    inputs = {
        "name": "half-made",
        "description": "x",
        "ingress": [{"protocol": "tcp", "fromPort": 1, "toPort": 1, "cidrBlocks": ["nonsense"]}],
    }
    with pytest.raises(InitError) as caught:
        provider.create(GROUP, "g", inputs)
    assert provider.read(GROUP, caught.value.id, {"name": "half-made"}, {}) is not None
    provider.delete(GROUP, caught.value.id, {}, {})


@pytest.mark.sandbox
def test_a_change_that_needs_a_replacement_is_never_applied_in_place(provider: Provider) -> None:
    with made_samples(provider, "vpc") as made:
        id_, inputs, outputs = made["vpc"]
        with pytest.raises(ProviderError, match="cannot change cidrBlock in place"):
            provider.update(VPC, id_, inputs, outputs, {**inputs, "cidrBlock": "10.1.0.0/16"})


# -- reading ----------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_an_import_tells_the_inputs_that_a_program_would_have_to_give(provider: Provider) -> None:
    with made_samples(provider, "parameter"):
        live = provider.read(PARAMETER, "/dev/app/one", {}, {})
    assert live is not None
    assert {key: live.inputs[key] for key in ("name", "type", "value", "tags")} == {
        "name": "/dev/app/one",
        "type": "String",
        "value": "1",
        "tags": {"environment": "dev", "Name": "one"},
    }


@pytest.mark.sandbox
def test_a_change_out_of_band_is_read_and_told_by_property(
    provider: Provider, cloud: servers.Cloud
) -> None:
    with made_samples(provider, "key") as made:
        id_, inputs, outputs = made["key"]
        other = provider.update(
            "aws:kms/key:Key", id_, inputs, outputs, {**inputs, "tags": {"stray": "1"}}
        )
        live = provider.read("aws:kms/key:Key", id_, inputs, outputs)
        assert live is not None
        assert other["tags"] == live.outputs["tags"] == {"stray": "1"}
        found = provider.diff("aws:kms/key:Key", id_, live.inputs, live.outputs, inputs).detailed
    assert found == {"tags.stray": "delete", "tags.environment": "add", "tags.Name": "add"}


@pytest.mark.sandbox
def test_a_setting_that_nobody_gave_is_drift_once_it_is_not_the_default(provider: Provider) -> None:
    with made_samples(provider, "bare-acl") as made:
        id_, inputs, outputs = made["vpc"]
        provider.update(VPC, id_, inputs, outputs, {**inputs, "enableDnsSupport": False})
        live = provider.read(VPC, id_, inputs, outputs)
        assert live is not None
        found = provider.diff(VPC, id_, live.inputs, live.outputs, inputs).detailed
    assert found == {"enableDnsSupport": "delete"}


@pytest.mark.sandbox
def test_a_change_of_tags_leaves_a_parameters_value_alone(provider: Provider) -> None:
    with made_samples(provider, "parameter") as made:
        id_, inputs, outputs = made["parameter"]
        operators = {**inputs, "value": "operator"}
        outputs = provider.update(PARAMETER, id_, inputs, outputs, operators)
        after = provider.update(PARAMETER, id_, inputs, outputs, {**inputs, "tags": {"t": "2"}})
    assert after["value"] == "operator"


@pytest.mark.sandbox
def test_default_tags_of_the_provider_are_on_every_resource(
    cloud_environment: dict[str, str],
) -> None:
    config = {"region": "us-east-1", "defaultTags": json.dumps({"tags": {"project": "mono-repo"}})}
    provider = registry(cloud_environment).configure("aws", config)
    with made_samples(provider, "topic") as made:
        id_, inputs, outputs = made["topic"]
        assert outputs["tagsAll"] == {**inputs["tags"], "project": "mono-repo"}
        assert outputs["tags"] == inputs["tags"]
        assert not provider.diff("aws:sns/topic:Topic", id_, inputs, outputs, inputs).changes


# -- deleting ---------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_a_bucket_with_objects_is_deleted_only_where_the_program_forces_it(
    provider: Provider, cloud_environment: dict[str, str]
) -> None:
    inputs = {"bucket": "full-bucket"}
    id_, outputs = provider.create(BUCKET, "b", inputs)
    _client("s3", cloud_environment).put_object(Bucket=id_, Key="a", Body=b"x")
    with pytest.raises(ProviderError, match="BucketNotEmpty"):
        provider.delete(BUCKET, id_, inputs, outputs)
    provider.delete(BUCKET, id_, {**inputs, "forceDestroy": True}, outputs)
    assert provider.read(BUCKET, id_, inputs, outputs) is None


@pytest.mark.sandbox
def test_a_protected_table_is_not_deleted(provider: Provider) -> None:
    inputs = {
        "name": "protected",
        "hashKey": "k",
        "billingMode": "PAY_PER_REQUEST",
        "attributes": [{"name": "k", "type": "S"}],
        "deletionProtectionEnabled": True,
    }
    id_, outputs = provider.create(TABLE, "t", inputs)
    with pytest.raises(ProviderError, match="protected against deletion"):
        provider.delete(TABLE, id_, inputs, outputs)
    open_ = {**inputs, "deletionProtectionEnabled": False}
    provider.delete(TABLE, id_, open_, provider.update(TABLE, id_, inputs, outputs, open_))


@pytest.mark.sandbox
def test_a_deleted_key_waits_as_long_as_the_program_says(
    provider: Provider, cloud_environment: dict[str, str]
) -> None:
    inputs = {"deletionWindowInDays": 7}
    id_, outputs = provider.create("aws:kms/key:Key", "k", inputs)
    provider.delete("aws:kms/key:Key", id_, inputs, outputs)
    key = _client("kms", cloud_environment).describe_key(KeyId=id_)["KeyMetadata"]
    assert key["KeyState"] == "PendingDeletion"
    assert 6 <= (key["DeletionDate"] - key["CreationDate"]).days <= 7


# -- interrupted creations --------------------------------------------------------------------


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "name",
    [
        "vpc",
        "subnet",
        "key",
        "bucket",
        "role",
        "parameter",
        "group",
        "ingress",
        "flow-log",
        "route",
        "balancer",
        "listener-rule",
        "zone",
    ],
)
def test_what_an_interrupted_creation_made_is_found(name: str, provider: Provider) -> None:
    with made_samples(provider, name) as made:
        id_, inputs, _ = made[name]
        type_ = _type_of(name)
        assert provider.find(type_, name, inputs) == (id_,)


@pytest.mark.sandbox
@pytest.mark.parametrize("name", ["vpc", "bucket", "parameter", "role"])
def test_what_an_interrupted_creation_did_not_make_is_not_found(
    name: str, provider: Provider
) -> None:
    with made_samples(provider, name) as made:
        _, inputs, _ = made[name]
    assert provider.find(_type_of(name), name, inputs) == ()


@pytest.mark.sandbox
def test_all_that_look_like_an_interrupted_creation_are_found(provider: Provider) -> None:
    inputs = {"cidrBlock": "10.77.0.0/16"}
    made = [provider.create(VPC, name, inputs) for name in ("one", "two")]
    assert sorted(provider.find(VPC, "one", inputs)) == sorted(id_ for id_, _ in made)
    for id_, outputs in made:
        provider.delete(VPC, id_, inputs, outputs)


@pytest.mark.sandbox
def test_what_was_given_at_creation_tells_one_rule_of_a_group_from_another(
    provider: Provider,
) -> None:
    with made_samples(provider, "ingress") as made:
        _, inputs, _ = made["ingress"]
        other = {**inputs, "fromPort": 9999, "toPort": 9999}
        assert provider.find(_type_of("ingress"), "other", other) == ()


@pytest.mark.sandbox
def test_what_was_given_and_is_not_there_any_more_is_read_as_not_there(
    provider: Provider, cloud_environment: dict[str, str]
) -> None:
    with made_samples(provider, "gateway") as made:
        id_, inputs, outputs = made["gateway"]
        arguments = {"InternetGatewayId": id_, "VpcId": inputs["vpcId"]}
        _client("ec2", cloud_environment).detach_internet_gateway(**arguments)
        found = provider.read(_type_of("gateway"), id_, inputs, outputs)
        assert found is not None
        assert "vpcId" not in found.inputs
        provider.update(_type_of("gateway"), id_, found.inputs, found.outputs, inputs)


# -- functions --------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_parameters_under_a_path_that_is_not_there_are_none(provider: Provider) -> None:
    args = {"path": "/dev/mono-repo-ops/suspension"}
    assert provider.invoke("aws:ssm/getParametersByPath:getParametersByPath", args)["names"] == []


@pytest.mark.sandbox
def test_the_zones_of_a_region_are_named(provider: Provider) -> None:
    zones = provider.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", {})
    assert zones["names"][:3] == ["us-east-1a", "us-east-1b", "us-east-1c"]


@pytest.mark.sandbox
def test_an_alias_that_is_not_there_is_an_error(provider: Provider) -> None:
    with pytest.raises(ProviderError, match=r"alias/none.*another stack"):
        provider.invoke("aws:kms/getAlias:getAlias", {"name": "alias/none"})


@pytest.mark.sandbox
def test_an_alias_tells_its_key(provider: Provider) -> None:
    with made_samples(provider, "alias") as made:
        found = provider.invoke("aws:kms/getAlias:getAlias", {"name": "alias/sample"})
        assert found["targetKeyId"] == made["key"][0]
        assert found["targetKeyArn"] == made["key"][2]["arn"]


def test_a_policy_document_is_written_without_any_api(offline: Provider) -> None:
    statement = {
        "effect": "Deny",
        "actions": ["s3:*"],
        "resources": ["a", "b"],
        "principals": [{"type": "AWS", "identifiers": ["1", "2"]}],
        "conditions": [{"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]}],
    }
    answer = offline.invoke(
        "aws:iam/getPolicyDocument:getPolicyDocument", {"statements": [statement]}
    )
    assert json.loads(answer["json"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": {"AWS": ["2", "1"]},
                "Action": "s3:*",
                "Resource": ["b", "a"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def test_an_unknown_function_is_refused(offline: Provider) -> None:
    with pytest.raises(UnsupportedTypeError, match="cannot answer the function aws:lex"):
        offline.invoke("aws:lex/getBot:getBot", {})


# -- kubernetes -------------------------------------------------------------------------------


def test_a_kubernetes_object_is_recorded_under_its_namespace_and_name() -> None:
    provider = registry(NOWHERE).configure("kubernetes", {"kubeconfig": "{}"})
    inputs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "web"},
    }
    type_ = "kubernetes:core/v1:ConfigMap"
    assert provider.create(type_, "a", inputs) == ("web/a", inputs)
    assert provider.is_recorded(type_)
    assert provider.read(type_, "web/a", inputs, inputs) is not None


def test_a_kubernetes_object_of_another_name_is_another_object() -> None:
    provider = registry(NOWHERE).configure("kubernetes", {})
    old = {"metadata": {"name": "a"}, "data": {"x": "1"}}
    new = {"metadata": {"name": "b"}, "data": {"x": "2"}}
    found = provider.diff("kubernetes:core/v1:ConfigMap", "default/a", old, old, new)
    assert found.detailed == {"metadata.name": "update-replace", "data.x": "update-replace"}


def test_a_kubernetes_secret_is_secret() -> None:
    provider = registry(NOWHERE).configure("kubernetes", {})
    assert provider.secret_outputs("kubernetes:core/v1:Secret") == {"data", "stringData"}


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {}, [("p", "delete")]),
        ({"a": 1, "b": 1}, {"b": 2}, [("p.a", "delete"), ("p.b", "update")]),
        ([1, 2], [2, 3], [("p[1]", "update")]),
        (None, "", []),
        ("x", {"a": 1}, [("p", "update")]),
    ],
)
def test_changes_are_told_by_path(old: Any, new: Any, expected: list[tuple[str, str]]) -> None:
    assert list(changes(old, new, "p")) == expected


def test_a_list_in_order_is_compared_in_order() -> None:
    assert list(changes([1, 2], [2, 1], "p", ordered=True)) == [
        ("p[0]", "update"),
        ("p[1]", "update"),
    ]


def test_a_live_block_is_cut_to_what_the_program_speaks_of() -> None:
    assert project({"a": 1, "extra": True}, {"a": 2}) == {"a": 1}
    assert project([{"n": "x", "d": 1}, {"n": "y"}], [{"n": "y"}, {"n": "x"}]) == [
        {"n": "y"},
        {"n": "x"},
    ]


def test_text_that_is_no_json_is_left_alone() -> None:
    assert json_canon("not json") == "not json"


def test_a_key_with_a_dot_is_quoted_in_a_path() -> None:
    assert join_path("tags", "kubernetes.io/role") == 'tags["kubernetes.io/role"]'


def _type_of(name: str) -> str:
    from tests.sandbox.driver_samples import SAMPLES

    return SAMPLES[name].type


def _client(service: str, environment: dict[str, str]) -> Any:
    import botocore.session

    return botocore.session.Session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment["AWS_SESSION_TOKEN"],
    )

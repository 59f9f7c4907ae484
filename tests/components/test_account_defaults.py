from functools import cache

from pulumi import ResourceOptions

from components.account_defaults import AccountDefaults, AccountDefaultsArgs
from tests.graph import Graph, Node, provided, record

PER_REGION = (
    "aws:accessanalyzer/analyzer:Analyzer",
    "aws:ebs/encryptionByDefault:EncryptionByDefault",
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
    "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
)


@cache
def graph() -> Graph:
    def program() -> None:
        AccountDefaults(
            "defaults",
            AccountDefaultsArgs(
                account_id="111122223333",
                analyzer_name="mono-repo",
                secondary_provider=provided("secondary", "us-west-2"),
                tags={"project": "mono-repo"},
            ),
            opts=ResourceOptions(providers=[provided()]),
        )

    return record(program)


def _region(node: Node) -> str:
    return str(graph().provider_of(node).inputs["region"])


def test_passwords_are_as_long_mixed_fresh_and_new_as_cis_asks() -> None:
    policy = graph().one("aws:iam/accountPasswordPolicy:AccountPasswordPolicy").inputs
    assert policy["minimumPasswordLength"] >= 14
    assert policy["passwordReusePrevention"] == 24
    assert policy["maxPasswordAge"] <= 90
    for kind in ("LowercaseCharacters", "UppercaseCharacters", "Numbers", "Symbols"):
        assert policy[f"require{kind}"]


def test_a_password_that_ran_out_can_still_be_changed_by_its_owner() -> None:
    policy = graph().one("aws:iam/accountPasswordPolicy:AccountPasswordPolicy").inputs
    assert policy["allowUsersToChangePassword"]
    assert not policy["hardExpiry"]


def test_no_bucket_of_the_account_can_be_made_public() -> None:
    block = graph().one("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock").inputs
    assert block["accountId"] == "111122223333"
    assert {value for key, value in block.items() if key != "accountId"} == {True}
    assert len(block) == 5


def test_each_region_has_its_own_defaults_and_analyzer() -> None:
    for type_ in PER_REGION:
        assert {_region(node) for node in graph().resources(type_)} == {"us-east-1", "us-west-2"}


def test_disks_are_encrypted_snapshots_private_and_metadata_asks_for_a_token() -> None:
    for node in graph().resources("aws:ebs/encryptionByDefault:EncryptionByDefault"):
        assert node.inputs["enabled"]
    for node in graph().resources("aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess"):
        assert node.inputs["state"] == "block-all-sharing"
    for node in graph().resources("aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults"):
        assert node.inputs["httpTokens"] == "required"
        assert node.inputs["httpPutResponseHopLimit"] == 1


def test_the_analyzer_looks_for_what_is_shared_outside_of_the_account() -> None:
    for node in graph().resources("aws:accessanalyzer/analyzer:Analyzer"):
        assert node.inputs["type"] == "ACCOUNT"

"""What an account or one of its regions has once, and the region's access analyzers."""

from __future__ import annotations

from typing import Any, Final

from infra.sandbox.engine.drivers.row import Call, Row, Scope, Tagging, Update
from infra.sandbox.engine.wire import PropertyMap

ONLY_POLICY_ID: Final = "iam-account-password-policy"
NO_PREFERENCE: Final = "no-preference"
SHARING_ALLOWED: Final = "unblocked"


def _region(scope: Scope) -> str:
    return scope.region


# -- the account --------------------------------------------------------------------------------

_PUT_PASSWORDS: Final = Call("update_account_password_policy", matching=True)

PASSWORD_POLICY: Final = Row(
    label="IAM Account Password Policy",
    service="iam",
    global_=True,
    create=_PUT_PASSWORDS,
    id=lambda _scope: ONLY_POLICY_ID,
    read=Call("get_account_password_policy", {}, "PasswordPolicy"),
    delete=Call("delete_account_password_policy"),
    updates=(
        Update(
            (
                "allowUsersToChangePassword",
                "hardExpiry",
                "maxPasswordAge",
                "minimumPasswordLength",
                "passwordReusePrevention",
                "requireLowercaseCharacters",
                "requireNumbers",
                "requireSymbols",
                "requireUppercaseCharacters",
            ),
            _PUT_PASSWORDS,
        ),
    ),
    computed=("hardExpiry", "maxPasswordAge", "passwordReusePrevention"),
    filled={"allowUsersToChangePassword": True},
    defaults={
        "allowUsersToChangePassword": True,
        "minimumPasswordLength": 6,
        "requireLowercaseCharacters": False,
        "requireNumbers": False,
        "requireSymbols": False,
        "requireUppercaseCharacters": False,
    },
    outputs=("expirePasswords",),
    volatile=("expirePasswords",),
)

_BLOCKS: Final = (
    "blockPublicAcls",
    "blockPublicPolicy",
    "ignorePublicAcls",
    "restrictPublicBuckets",
)


def _owner(scope: Scope) -> str:
    return str(scope.props.get("accountId") or scope.account)


def _put_block(scope: Scope) -> str:
    block = {key[0].upper() + key[1:]: bool(scope.props.get(key)) for key in _BLOCKS}
    args = {"AccountId": _owner(scope), "PublicAccessBlockConfiguration": block}
    scope.call("put_public_access_block", args)
    return _owner(scope)


def _imported_block(id_: str) -> PropertyMap:
    return {"accountId": id_}


PUBLIC_ACCESS_BLOCK: Final = Row(
    label="S3 Account Public Access Block",
    service="s3control",
    global_=True,
    create=_put_block,
    id=_owner,
    read=Call("get_public_access_block", {"AccountId": "$id"}, "PublicAccessBlockConfiguration"),
    delete=Call("delete_public_access_block", {"AccountId": "$id"}),
    updates=(Update(_BLOCKS, _put_block),),
    forces=("accountId",),
    computed=("accountId",),
    defaults=dict.fromkeys(_BLOCKS, False),
    reads={"accountId": "id"},
    imported=_imported_block,
)

# -- a region -----------------------------------------------------------------------------------


def _set_encryption(scope: Scope) -> str:
    verb = "enable" if scope.props.get("enabled", True) else "disable"
    scope.call(f"{verb}_ebs_encryption_by_default", {})
    return scope.region


ENCRYPTION_BY_DEFAULT: Final = Row(
    label="EBS Encryption By Default",
    service="ec2",
    create=_set_encryption,
    id=_region,
    read=Call("get_ebs_encryption_by_default"),
    delete=Call("disable_ebs_encryption_by_default"),
    updates=(Update(("enabled",), _set_encryption),),
    defaults={"enabled": True},
    reads={"enabled": "live.EbsEncryptionByDefault"},
)


def _block_sharing(scope: Scope) -> str:
    state = scope.props["state"]
    if state == SHARING_ALLOWED:
        scope.call("disable_snapshot_block_public_access", {})
    else:
        scope.call("enable_snapshot_block_public_access", {"State": state})
    return scope.region


SNAPSHOT_BLOCK: Final = Row(
    label="EBS Snapshot Block Public Access",
    service="ec2",
    create=_block_sharing,
    id=_region,
    read=Call("get_snapshot_block_public_access_state"),
    delete=Call("disable_snapshot_block_public_access"),
    updates=(Update(("state",), _block_sharing),),
    required=("state",),
    reads={"state": "live.State"},
    allowed={"state": ("block-all-sharing", "block-new-sharing", SHARING_ALLOWED)},
)

_METADATA: Final = {
    "httpEndpoint": NO_PREFERENCE,
    "httpPutResponseHopLimit": -1,
    "httpTokens": NO_PREFERENCE,
    "instanceMetadataTags": NO_PREFERENCE,
}
_PUT_METADATA: Final = Call("modify_instance_metadata_defaults", matching=True)


def _live_default(key: str) -> Any:
    """Give what the region says of a property; what it does not mention it has no wish for."""
    name = key[0].upper() + key[1:]
    return lambda scope: scope.props["$live"].get(name, _METADATA[key])


METADATA_DEFAULTS: Final = Row(
    label="EC2 Instance Metadata Defaults",
    service="ec2",
    create=_PUT_METADATA,
    id=_region,
    read=Call("get_instance_metadata_defaults", {}, "AccountLevel"),
    gone="!(HttpEndpoint || HttpPutResponseHopLimit || HttpTokens || InstanceMetadataTags)",
    delete=Call(
        "modify_instance_metadata_defaults",
        {key[0].upper() + key[1:]: value for key, value in _METADATA.items()},
    ),
    updates=(Update(tuple(_METADATA), _PUT_METADATA),),
    defaults=_METADATA,
    reads={key: _live_default(key) for key in _METADATA},
)

ANALYZER: Final = Row(
    label="IAM Access Analyzer Analyzer",
    service="accessanalyzer",
    create=Call("create_analyzer", matching=True),
    id="args.analyzerName",
    read=Call("get_analyzer", {"analyzerName": "$id"}, "analyzer"),
    delete=Call("delete_analyzer", {"analyzerName": "$id"}),
    forces=("analyzerName", "type"),
    defaults={"type": "ACCOUNT"},
    filled={"type": "ACCOUNT"},
    required=("analyzerName",),
    outputs=("arn",),
    reads={"analyzerName": "live.name"},
    allowed={"type": ("ACCOUNT", "ACCOUNT_UNUSED_ACCESS")},
    tags=Tagging(
        form="map",
        create="tags",
        add=Call("tag_resource", {"resourceArn": "$arn", "tags": "$added"}),
        remove=Call("untag_resource", {"resourceArn": "$arn", "tagKeys": "$removed"}),
    ),
)

ROWS: Final[dict[str, Row]] = {
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy": PASSWORD_POLICY,
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": PUBLIC_ACCESS_BLOCK,
    "aws:ebs/encryptionByDefault:EncryptionByDefault": ENCRYPTION_BY_DEFAULT,
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess": SNAPSHOT_BLOCK,
    "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults": METADATA_DEFAULTS,
    "aws:accessanalyzer/analyzer:Analyzer": ANALYZER,
}

"""S3 buckets and their settings, each a resource of its own with the bucket's name as id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Text, Update
from infra.sandbox.engine.wire import PropertyMap

HOSTED_ZONES: Final = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-central-1": "Z21DNDUVLTQW6Q",
}
BATCH: Final = 1000


# -- buckets ------------------------------------------------------------------------------------


def _create_bucket(scope: Scope) -> str:
    """Make a bucket; one that is there already is refused, though S3 answers its owner with yes."""
    name = str(scope.props["bucket"])
    if _exists(scope, name):
        raise ApiError(
            "operation error S3: CreateBucket, https response error StatusCode: 409,"
            " BucketAlreadyOwnedByYou: the bucket is there already",
            "BucketAlreadyOwnedByYou",
        )
    args: dict[str, Any] = {"Bucket": name}
    if scope.region != "us-east-1":
        args["CreateBucketConfiguration"] = {"LocationConstraint": scope.region}
    if scope.props.get("objectLockEnabled"):
        args["ObjectLockEnabledForBucket"] = True
    scope.call("create_bucket", args)
    return name


def _exists(scope: Scope, name: str) -> bool:
    try:
        scope.call("head_bucket", {"Bucket": name})
    except ApiError as error:
        if error.gone:
            return False
        raise
    return True


def _object_lock(scope: Scope) -> bool:
    try:
        answer = scope.call("get_object_lock_configuration", {"Bucket": scope.id})
    except ApiError as error:
        if error.gone or error.code == "ObjectLockConfigurationNotFoundError":
            return False
        raise
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def _delete_bucket(scope: Scope) -> None:
    if scope.props.get("forceDestroy"):
        _empty(scope)
    scope.call("delete_bucket", {"Bucket": scope.id})


def _empty(scope: Scope) -> None:
    """Delete every version and delete marker."""
    while True:
        answer = scope.call("list_object_versions", {"Bucket": scope.id, "MaxKeys": BATCH})
        entries = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
        if not entries:
            return
        objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        args = {"Bucket": scope.id, "Delete": {"Objects": objects, "Quiet": True}}
        refused = scope.call("delete_objects", args).get("Errors")
        if refused:
            code = str(refused[0].get("Code", "Unknown"))
            text = f"operation error S3: DeleteObjects, {code}: {refused[0].get('Message', '')}"
            raise ApiError(text, code)


def _set_tags(scope: Scope) -> None:
    tags = scope.props["$tags"]
    if tags:
        args = {"Bucket": scope.id, "Tagging": {"TagSet": tags}}
        scope.call("put_bucket_tagging", args)
    else:
        scope.call("delete_bucket_tagging", {"Bucket": scope.id})


def _bucket_prefix(scope: Scope) -> None:
    """Nothing to read: a prefix is only how a name was made up."""


BUCKET: Final = Row(
    label="S3 Bucket",
    service="s3",
    create=_create_bucket,
    id="props.bucket",
    read=Call("head_bucket", {"Bucket": "$id"}),
    also={"objectLock": _object_lock},
    delete=_delete_bucket,
    forces=("bucket", "bucketPrefix", "objectLockEnabled"),
    local=("forceDestroy",),
    computed=("bucketPrefix",),
    defaults={"forceDestroy": False, "objectLockEnabled": False},
    name=AutoName("bucket", limit=63, lower=True),
    name_prefix="bucketPrefix",
    outputs=(
        "arn",
        "bucketDomainName",
        "bucketRegionalDomainName",
        "bucketRegion",
        "hostedZoneId",
    ),
    reads={
        "bucket": "id",
        "bucketPrefix": _bucket_prefix,
        "arn": Text("arn:aws:s3:::{id}"),
        "bucketDomainName": Text("{id}.s3.amazonaws.com"),
        "bucketRegionalDomainName": Text("{id}.s3.{region}.amazonaws.com"),
        "bucketRegion": Text("{region}"),
        "hostedZoneId": lambda scope: HOSTED_ZONES.get(scope.region),
        "objectLockEnabled": "live.objectLock",
    },
    tags=Tagging(
        list=Call("get_bucket_tagging", {"Bucket": "$id"}, "TagSet", optional=True),
        add=_set_tags,
    ),
)


# -- settings -----------------------------------------------------------------------------------


def of_bucket(id_: str) -> PropertyMap:
    """Give the bucket that an import id of a bucket's setting names."""
    return {"bucket": id_.partition(",")[0]}


PUT_VERSIONING: Final = Call(
    "put_bucket_versioning",
    {
        "Bucket": "$bucket",
        "MFA": "$mfa",
        "VersioningConfiguration": {
            "Status": "=versioningConfiguration.status != 'Disabled' &&"
            " versioningConfiguration.status || `null`",
            "MFADelete": "=versioningConfiguration.mfaDelete",
        },
    },
)

BUCKET_VERSIONING: Final = Row(
    label="S3 Bucket Versioning",
    service="s3",
    create=PUT_VERSIONING,
    id="props.bucket",
    read=Call("get_bucket_versioning", {"Bucket": "$id"}),
    gone="Status==`null`",
    delete=Call(
        "put_bucket_versioning",
        {"Bucket": "$id", "VersioningConfiguration": {"Status": "Suspended"}},
    ),
    updates=(Update(("versioningConfiguration", "mfa"), PUT_VERSIONING),),
    forces=("bucket", "expectedBucketOwner"),
    required=("bucket", "versioningConfiguration"),
    reads={
        "bucket": "id",
        "versioningConfiguration": "{status: live.Status, mfaDelete: live.MFADelete}",
    },
    imported=of_bucket,
)

PUT_ENCRYPTION: Final = Call(
    "put_bucket_encryption",
    {
        "Bucket": "$bucket",
        "ServerSideEncryptionConfiguration": {
            "Rules": "=rules[].{ApplyServerSideEncryptionByDefault:"
            " applyServerSideEncryptionByDefault && {SSEAlgorithm:"
            " applyServerSideEncryptionByDefault.sseAlgorithm, KMSMasterKeyID:"
            " applyServerSideEncryptionByDefault.kmsMasterKeyId},"
            " BucketKeyEnabled: bucketKeyEnabled}"
        },
    },
)


BUCKET_ENCRYPTION: Final = Row(
    label="S3 Bucket Server-side Encryption Configuration",
    service="s3",
    create=PUT_ENCRYPTION,
    id="props.bucket",
    read=Call("get_bucket_encryption", {"Bucket": "$id"}, "ServerSideEncryptionConfiguration"),
    delete=Call("delete_bucket_encryption", {"Bucket": "$id"}),
    updates=(Update(("rules",), PUT_ENCRYPTION),),
    forces=("bucket", "expectedBucketOwner"),
    required=("bucket", "rules"),
    reads={
        "bucket": "id",
        "rules": "live.Rules[].{applyServerSideEncryptionByDefault:"
        " ApplyServerSideEncryptionByDefault && {sseAlgorithm:"
        " ApplyServerSideEncryptionByDefault.SSEAlgorithm, kmsMasterKeyId:"
        " ApplyServerSideEncryptionByDefault.KMSMasterKeyID}, bucketKeyEnabled: BucketKeyEnabled}",
    },
    imported=of_bucket,
)

_BLOCKS: Final = (
    "blockPublicAcls",
    "blockPublicPolicy",
    "ignorePublicAcls",
    "restrictPublicBuckets",
)


def _put_access_block(scope: Scope) -> str:
    settings = {
        name[0].upper() + name[1:]: str(scope.props.get(name, False)).lower() == "true"
        for name in _BLOCKS
    }
    bucket = str(scope.props["bucket"])
    args = {"Bucket": bucket, "PublicAccessBlockConfiguration": settings}
    scope.call("put_public_access_block", args)
    return bucket


def _delete_access_block(scope: Scope) -> None:
    if not scope.props.get("skipDestroy"):
        scope.call("delete_public_access_block", {"Bucket": scope.id})


BUCKET_PUBLIC_ACCESS_BLOCK: Final = Row(
    label="S3 Bucket Public Access Block",
    service="s3",
    create=_put_access_block,
    id="props.bucket",
    read=Call("get_public_access_block", {"Bucket": "$id"}, "PublicAccessBlockConfiguration"),
    delete=_delete_access_block,
    updates=(Update(_BLOCKS, _put_access_block),),
    forces=("bucket",),
    local=("skipDestroy",),
    defaults={**dict.fromkeys(_BLOCKS, False)},
    required=("bucket",),
    reads={"bucket": "id"},
    imported=of_bucket,
)

PUT_OWNERSHIP: Final = Call(
    "put_bucket_ownership_controls",
    {
        "Bucket": "$bucket",
        "OwnershipControls": {"Rules": "=[{ObjectOwnership: rule.objectOwnership}]"},
    },
)

BUCKET_OWNERSHIP_CONTROLS: Final = Row(
    label="S3 Bucket Ownership Controls",
    service="s3",
    create=PUT_OWNERSHIP,
    id="props.bucket",
    read=Call("get_bucket_ownership_controls", {"Bucket": "$id"}, "OwnershipControls"),
    delete=Call("delete_bucket_ownership_controls", {"Bucket": "$id"}),
    updates=(Update(("rule",), PUT_OWNERSHIP),),
    forces=("bucket",),
    required=("bucket", "rule"),
    reads={"bucket": "id", "rule": "{objectOwnership: live.Rules[0].ObjectOwnership}"},
    imported=of_bucket,
)

PUT_POLICY: Final = Call("put_bucket_policy", {"Bucket": "$bucket", "Policy": "$policy"})

BUCKET_POLICY: Final = Row(
    label="S3 Bucket Policy",
    service="s3",
    create=PUT_POLICY,
    id="props.bucket",
    read=Call("get_bucket_policy", {"Bucket": "$id"}),
    delete=Call("delete_bucket_policy", {"Bucket": "$id"}),
    updates=(Update(("policy",), PUT_POLICY),),
    forces=("bucket",),
    json=("policy",),
    required=("bucket", "policy"),
    reads={"bucket": "id"},
    imported=of_bucket,
)


def _put_logging(scope: Scope) -> str:
    props = scope.props
    target = {"TargetBucket": props["targetBucket"], "TargetPrefix": props.get("targetPrefix", "")}
    bucket = str(props["bucket"])
    args = {"Bucket": bucket, "BucketLoggingStatus": {"LoggingEnabled": target}}
    scope.call("put_bucket_logging", args)
    return bucket


def _stop_logging(scope: Scope) -> None:
    scope.call("put_bucket_logging", {"Bucket": scope.id, "BucketLoggingStatus": {}})


BUCKET_LOGGING: Final = Row(
    label="S3 Bucket Logging",
    service="s3",
    create=_put_logging,
    id="props.bucket",
    read=Call("get_bucket_logging", {"Bucket": "$id"}, "LoggingEnabled"),
    delete=_stop_logging,
    updates=(Update(("targetBucket", "targetPrefix"), _put_logging),),
    forces=("bucket", "expectedBucketOwner"),
    required=("bucket", "targetBucket"),
    reads={"bucket": "id"},
    imported=of_bucket,
)

_NOTIFIED: Final = {
    "topics": ("TopicConfigurations", "TopicArn", "topicArn"),
    "queues": ("QueueConfigurations", "QueueArn", "queueArn"),
    "lambdaFunctions": (
        "LambdaFunctionConfigurations",
        "LambdaFunctionArn",
        "lambdaFunctionArn",
    ),
}


def _notification(entry: Mapping[str, Any], api_arn: str, arn: str) -> dict[str, Any]:
    result: dict[str, Any] = {api_arn: entry[arn], "Events": list(entry["events"])}
    if entry.get("id"):
        result["Id"] = entry["id"]
    filters = (("prefix", "filterPrefix"), ("suffix", "filterSuffix"))
    rules = [{"Name": name, "Value": entry[key]} for name, key in filters if entry.get(key)]
    if rules:
        result["Filter"] = {"Key": {"FilterRules": rules}}
    return result


def _live_notification(entry: Mapping[str, Any], api_arn: str, arn: str) -> PropertyMap:
    result: PropertyMap = {arn: entry[api_arn], "events": list(entry["Events"])}
    if entry.get("Id"):
        result["id"] = entry["Id"]
    for rule in entry.get("Filter", {}).get("Key", {}).get("FilterRules", []):
        result[f"filter{str(rule['Name']).capitalize()}"] = rule["Value"]
    return result


def _put_notification(scope: Scope) -> str:
    config: dict[str, Any] = {}
    for key, (api_name, api_arn, arn) in _NOTIFIED.items():
        entries = scope.props.get(key) or []
        if entries:
            config[api_name] = [_notification(entry, api_arn, arn) for entry in entries]
    if scope.props.get("eventbridge"):
        config["EventBridgeConfiguration"] = {}
    bucket = str(scope.props["bucket"])
    args = {"Bucket": bucket, "NotificationConfiguration": config}
    scope.call("put_bucket_notification_configuration", args)
    return bucket


def _no_notification(scope: Scope) -> None:
    args = {"Bucket": scope.id, "NotificationConfiguration": {}}
    scope.call("put_bucket_notification_configuration", args)


def _read_notification(scope: Scope) -> dict[str, Any] | None:
    """Give the configuration; a bucket that notifies nobody has none."""
    answer = scope.call("get_bucket_notification_configuration", {"Bucket": scope.id})
    kinds = (*(api_name for api_name, _, _ in _NOTIFIED.values()), "EventBridgeConfiguration")
    return answer if any(answer.get(kind) is not None for kind in kinds) else None


def _live_notifications(key: str) -> Any:
    api_name, api_arn, arn = _NOTIFIED[key]
    return lambda scope: (
        [
            _live_notification(entry, api_arn, arn)
            for entry in scope.props["$live"].get(api_name) or []
        ]
        or None
    )


BUCKET_NOTIFICATION: Final = Row(
    label="S3 Bucket Notification",
    service="s3",
    create=_put_notification,
    id="props.bucket",
    read=_read_notification,
    delete=_no_notification,
    updates=(Update((*_NOTIFIED, "eventbridge"), _put_notification),),
    forces=("bucket",),
    defaults={"eventbridge": False},
    required=("bucket",),
    reads={
        "bucket": "id",
        **{key: _live_notifications(key) for key in _NOTIFIED},
        "eventbridge": "live.EventBridgeConfiguration != `null`",
    },
    imported=of_bucket,
)

ROWS: Final[dict[str, Row]] = {
    "aws:s3/bucket:Bucket": BUCKET,
    "aws:s3/bucketVersioning:BucketVersioning": BUCKET_VERSIONING,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        BUCKET_ENCRYPTION
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": BUCKET_PUBLIC_ACCESS_BLOCK,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": BUCKET_OWNERSHIP_CONTROLS,
    "aws:s3/bucketPolicy:BucketPolicy": BUCKET_POLICY,
    "aws:s3/bucketLogging:BucketLogging": BUCKET_LOGGING,
    "aws:s3/bucketNotification:BucketNotification": BUCKET_NOTIFICATION,
}

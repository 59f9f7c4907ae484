"""S3 rule sets: what a bucket keeps how long, and what it copies where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.row import Call, Row, Scope, Update
from infra.sandbox.engine.drivers.rows.s3 import of_bucket
from infra.sandbox.engine.drivers.shapes import from_api
from infra.sandbox.engine.wire import UNKNOWN, PropertyMap, PropertyValue

LIFECYCLE_NAMES: Final = {
    "id": "ID",
    "status": "Status",
    "expiration": "Expiration",
    "transitions": "Transitions",
    "noncurrentVersionExpiration": "NoncurrentVersionExpiration",
    "noncurrentVersionTransitions": "NoncurrentVersionTransitions",
    "abortIncompleteMultipartUpload": "AbortIncompleteMultipartUpload",
}


def _api_names(value: Any) -> Any:
    """Write nested property names as S3 does: their first letter is large."""
    if isinstance(value, Mapping):
        return {key[0].upper() + key[1:]: _api_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_api_names(item) for item in value]
    return value


def _filter(given: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    """Turn a rule's filter into S3's; no filter means everything."""
    if not given:
        return {"Prefix": prefix}
    result: dict[str, Any] = {}
    for key, value in given.items():
        if key == "and":
            both = dict(value)
            tags = both.pop("tags", None) or {}
            result["And"] = _api_names(both)
            if tags:
                pairs = [{"Key": name, "Value": text} for name, text in tags.items()]
                result["And"]["Tags"] = pairs
        elif value not in (None, ""):
            result[key[0].upper() + key[1:]] = _api_names(value)
    return result or {"Prefix": prefix}


def _live_filter(live: Mapping[str, Any] | None) -> PropertyMap | None:
    """Turn S3's filter into a rule's; everything means no filter."""
    if not live or live == {"Prefix": ""}:
        return None
    found: PropertyMap = from_api({key: item for key, item in live.items() if key != "Tag"})
    if live.get("Tag"):
        found["tag"] = {"key": live["Tag"]["Key"], "value": live["Tag"]["Value"]}
    return found


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    result = {
        api_name: _api_names(rule[key])
        for key, api_name in LIFECYCLE_NAMES.items()
        if rule.get(key)
    }
    result["Filter"] = _filter(rule.get("filter"), rule.get("prefix") or "")
    return result


def _live_lifecycle_rule(live: Mapping[str, Any]) -> PropertyMap:
    rule = {key: from_api(live[name]) for key, name in LIFECYCLE_NAMES.items() if live.get(name)}
    found = _live_filter(live.get("Filter"))
    if found:
        rule["filter"] = found
    return rule


def _put_lifecycle(scope: Scope) -> str:
    bucket = str(scope.props["bucket"])
    rules = [_lifecycle_rule(rule) for rule in scope.props.get("rules") or []]
    args = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": rules}}
    scope.call("put_bucket_lifecycle_configuration", args)
    return bucket


def _read_lifecycle(scope: Scope) -> dict[str, Any] | None:
    answer = scope.call("get_bucket_lifecycle_configuration", {"Bucket": scope.id})
    return {"rules": [_live_lifecycle_rule(rule) for rule in answer["Rules"]]}


def _rules_canon(rules: PropertyValue) -> PropertyValue:
    """Reduce rules to what S3 keeps of them: a filter for everything is no filter."""
    if not isinstance(rules, list):
        return rules
    return [_rule_canon(rule) if isinstance(rule, dict) else rule for rule in rules]


def _rule_canon(rule: PropertyMap) -> PropertyMap:
    filter_ = rule.get("filter")
    if filter_ is None or filter_ is UNKNOWN:
        return rule
    if isinstance(filter_, dict) and not any(filter_.values()):
        return {key: value for key, value in rule.items() if key != "filter"}
    return rule


BUCKET_LIFECYCLE: Final = Row(
    label="S3 Bucket Lifecycle Configuration",
    service="s3",
    create=_put_lifecycle,
    id="props.bucket",
    read=_read_lifecycle,
    delete=Call("delete_bucket_lifecycle", {"Bucket": "$id"}),
    updates=(Update(("rules",), _put_lifecycle),),
    forces=("bucket", "expectedBucketOwner"),
    canon={"rules": _rules_canon},
    required=("bucket", "rules"),
    reads={"bucket": "id", "rules": lambda scope: scope.props["$live"]["rules"]},
    imported=of_bucket,
)

REPLICATION_NAMES: Final = {
    "id": "ID",
    "status": "Status",
    "priority": "Priority",
    "deleteMarkerReplication": "DeleteMarkerReplication",
    "sourceSelectionCriteria": "SourceSelectionCriteria",
    "existingObjectReplication": "ExistingObjectReplication",
}


def _replication_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    result = {
        api_name: _api_names(rule[key])
        for key, api_name in REPLICATION_NAMES.items()
        if rule.get(key) is not None
    }
    given = dict(rule["destination"])
    encryption = given.pop("encryptionConfiguration", None)
    destination = _api_names(given)
    if encryption:
        key_id = encryption["replicaKmsKeyId"]
        destination["EncryptionConfiguration"] = {"ReplicaKmsKeyID": key_id}
    return {
        **result,
        "Destination": destination,
        "Filter": _filter(rule.get("filter"), rule.get("prefix") or ""),
    }


def _live_replication_rule(live: Mapping[str, Any]) -> PropertyMap:
    names = {**REPLICATION_NAMES, "destination": "Destination"}
    rule = {key: from_api(live[name]) for key, name in names.items() if name in live}
    found = _live_filter(live.get("Filter"))
    if found:
        rule["filter"] = found
    return rule


def _put_replication(scope: Scope) -> str:
    bucket = str(scope.props["bucket"])
    rules = [_replication_rule(rule) for rule in scope.props["rules"]]
    config = {"Role": scope.props["role"], "Rules": rules}
    args: dict[str, Any] = {"Bucket": bucket, "ReplicationConfiguration": config}
    scope.call("put_bucket_replication", args)
    return bucket


def _read_replication(scope: Scope) -> dict[str, Any] | None:
    answer = scope.call("get_bucket_replication", {"Bucket": scope.id})
    config = answer["ReplicationConfiguration"]
    rules = [_live_replication_rule(rule) for rule in config["Rules"]]
    return {"role": config["Role"], "rules": rules}


BUCKET_REPLICATION: Final = Row(
    label="S3 Bucket Replication Configuration",
    service="s3",
    create=_put_replication,
    id="props.bucket",
    read=_read_replication,
    delete=Call("delete_bucket_replication", {"Bucket": "$id"}),
    updates=(Update(("role", "rules"), _put_replication),),
    forces=("bucket",),
    canon={"rules": _rules_canon},
    required=("bucket", "role", "rules"),
    reads={"bucket": "id", "rules": lambda scope: scope.props["$live"]["rules"]},
    imported=of_bucket,
)

ROWS: Final[dict[str, Row]] = {
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": BUCKET_LIFECYCLE,
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": BUCKET_REPLICATION,
}

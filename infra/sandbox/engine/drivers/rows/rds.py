"""RDS instances and the subnet and parameter groups they are made in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.api import ApiError
from infra.sandbox.engine.drivers.row import AutoName, Call, Row, Scope, Tagging, Text, Update
from infra.sandbox.engine.drivers.values import is_empty
from infra.sandbox.engine.wire import PropertyMap, PropertyValue

RESOURCE_ID: Final = re.compile(r"db-[A-Z0-9]{26}")
PARAMETERS_A_CALL: Final = 20
WAIT_PAUSE: Final = 0.1
WAIT_TRIES: Final = 1200

# -- instances ----------------------------------------------------------------------------------

_BOTH: Final = {
    "allocatedStorage": "AllocatedStorage",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "backupWindow": "PreferredBackupWindow",
    "caCertIdentifier": "CACertificateIdentifier",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "deletionProtection": "DeletionProtection",
    "engineLifecycleSupport": "EngineLifecycleSupport",
    "engineVersion": "EngineVersion",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "instanceClass": "DBInstanceClass",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "manageMasterUserPassword": "ManageMasterUserPassword",
    "masterUserSecretKmsKeyId": "MasterUserSecretKmsKeyId",
    "maxAllocatedStorage": "MaxAllocatedStorage",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "multiAz": "MultiAZ",
    "parameterGroupName": "DBParameterGroupName",
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "performanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "publiclyAccessible": "PubliclyAccessible",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
CREATED: Final = {
    **_BOTH,
    "availabilityZone": "AvailabilityZone",
    "dbName": "DBName",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "engine": "Engine",
    "identifier": "DBInstanceIdentifier",
    "kmsKeyId": "KmsKeyId",
    "port": "Port",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}
MODIFIED: Final = {**_BOTH, "identifier": "NewDBInstanceIdentifier", "port": "DBPortNumber"}
# The snapshot brings these along.
OF_SNAPSHOT: Final = frozenset({"dbName", "engine", "kmsKeyId", "storageEncrypted", "username"})
# A restore takes no others; the rest is changed when the instance is there.
RESTORED: Final = frozenset(
    {
        "autoMinorVersionUpgrade",
        "availabilityZone",
        "caCertIdentifier",
        "copyTagsToSnapshot",
        "dbSubnetGroupName",
        "deletionProtection",
        "enabledCloudwatchLogsExports",
        "engineLifecycleSupport",
        "iamDatabaseAuthenticationEnabled",
        "identifier",
        "instanceClass",
        "multiAz",
        "parameterGroupName",
        "port",
        "publiclyAccessible",
        "storageType",
        "vpcSecurityGroupIds",
    }
)


def _arguments(
    props: PropertyMap, names: Mapping[str, str], given: Iterable[str]
) -> dict[str, Any]:
    """Give the API's arguments for the properties of `given` that have a value."""
    return {
        names[name]: _whole(props[name])
        for name in given
        if name in names and not is_empty(props.get(name))
    }


def _whole(value: PropertyValue) -> PropertyValue:
    return int(value) if isinstance(value, float) else value


def _create_instance(scope: Scope) -> str:
    props = scope.props
    if props.get("snapshotIdentifier"):
        return _restore(scope)
    args = _arguments(props, CREATED, CREATED)
    if not props.get("maxAllocatedStorage"):
        args.pop("MaxAllocatedStorage", None)
    answer = scope.call("create_db_instance", {**args, **props["$tags"]})
    return str(answer["DBInstance"]["DbiResourceId"])


def _restore(scope: Scope) -> str:
    props = scope.props
    args = _arguments(props, CREATED, RESTORED)
    args["DBSnapshotIdentifier"] = props["snapshotIdentifier"]
    answer = scope.call("restore_db_instance_from_db_snapshot", {**args, **props["$tags"]})
    later = MODIFIED.keys() - RESTORED - OF_SNAPSHOT - {"engineVersion"}
    changes = {name: value for name, value in props.items() if name in later}
    _wait_while(scope, args["DBInstanceIdentifier"], "creating")
    _modify(scope, {**props, "$live": answer["DBInstance"]}, changes)
    return str(answer["DBInstance"]["DbiResourceId"])


def _wait_while(scope: Scope, name: str, status: str) -> None:
    """Wait until an instance has another status, or is gone."""
    for _ in range(WAIT_TRIES):
        try:
            found = scope.call("describe_db_instances", {"DBInstanceIdentifier": name})
        except ApiError as error:
            if error.gone:
                return
            raise
        if found["DBInstances"][0]["DBInstanceStatus"] != status:
            return
        time.sleep(WAIT_PAUSE)
    raise ApiError(f"DB instance {name} is still {status}", "Timeout")


def _modify(scope: Scope, props: PropertyMap, changed: Iterable[str]) -> None:
    """Change an instance in one call, as the real provider does."""
    args: dict[str, Any] = _arguments(props, MODIFIED, changed)
    if "MaxAllocatedStorage" in args and not args["MaxAllocatedStorage"]:
        # RDS knows no 0: growing no further than now is what turns growing off.
        args["MaxAllocatedStorage"] = _whole(props["allocatedStorage"])
    if "EngineVersion" in args and props.get("allowMajorVersionUpgrade"):
        args["AllowMajorVersionUpgrade"] = True
    if args.keys() & {"PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"}:
        args.setdefault("EnablePerformanceInsights", bool(props.get("performanceInsightsEnabled")))
    if "MasterUserSecretKmsKeyId" in args:
        args["ManageMasterUserPassword"] = True
    exports = "enabledCloudwatchLogsExports"
    if exports in changed:
        live, wanted = set(scope.old.get(exports) or ()), set(props.get(exports) or ())
        args["CloudwatchLogsExportConfiguration"] = {
            "EnableLogTypes": sorted(wanted - live),
            "DisableLogTypes": sorted(live - wanted),
        }
    if args:
        name = props["$live"]["DBInstanceIdentifier"]
        args["ApplyImmediately"] = bool(props.get("applyImmediately"))
        scope.call("modify_db_instance", {"DBInstanceIdentifier": name, **args})


def _update_instance(scope: Scope) -> None:
    live = _instance(scope)
    if live is None:
        raise ApiError(f"DBInstanceNotFound: DBInstance {scope.id} not found", "DBInstanceNotFound")
    changed = [
        name
        for name in INSTANCE_CHANGES
        if scope.old.get(name, INSTANCE_DEFAULTS.get(name)) != scope.props.get(name)
    ]
    _modify(scope, {**scope.props, "$live": live}, changed)


def _instance(scope: Scope) -> dict[str, Any] | None:
    """Find an instance by what stays when it is renamed; by its name for an import."""
    id_ = str(scope.props.get("resourceId") or scope.id)
    if RESOURCE_ID.fullmatch(id_):
        args: dict[str, Any] = {"Filters": [{"Name": "dbi-resource-id", "Values": [id_]}]}
    else:
        args = {"DBInstanceIdentifier": id_}
    found = scope.call("describe_db_instances", args)["DBInstances"]
    return dict(found[0]) if found else None


def _candidates(scope: Scope) -> list[str]:
    """Find what an interrupted creation may have left."""
    try:
        args = {"DBInstanceIdentifier": scope.props["identifier"]}
        found = scope.call("describe_db_instances", args)["DBInstances"]
    except ApiError as error:
        if error.gone:
            return []
        raise
    return [str(instance["DbiResourceId"]) for instance in found]


def _delete_instance(scope: Scope) -> None:
    """Delete an instance as the real provider does: never without saying what is to stay of it."""
    live = _instance(scope)
    if live is None:
        return
    args: dict[str, Any] = {
        "DBInstanceIdentifier": live["DBInstanceIdentifier"],
        "DeleteAutomatedBackups": bool(scope.props.get("deleteAutomatedBackups")),
        "SkipFinalSnapshot": bool(scope.props.get("skipFinalSnapshot")),
    }
    if not args["SkipFinalSnapshot"]:
        snapshot = scope.props.get("finalSnapshotIdentifier")
        if not snapshot:
            raise ApiError(
                "final_snapshot_identifier is required when skip_final_snapshot is false",
                "MissingFinalSnapshotIdentifier",
            )
        args["FinalDBSnapshotIdentifier"] = snapshot
    if live["DBInstanceStatus"] != "deleting":
        scope.call("delete_db_instance", args)
    _wait_while(scope, live["DBInstanceIdentifier"], "deleting")


def _engine_version(scope: Scope) -> str:
    """Give the version as asked for while the live one is of it: `17` is any minor of 17."""
    live = str(scope.props["$live"]["EngineVersion"])
    given = scope.props.get("engineVersion")
    return str(given) if given and f"{live}.".startswith(f"{given}.") else live


def _allocated_storage(scope: Scope) -> int:
    """Give the storage as asked for when RDS has made it grow, as it may."""
    live = int(scope.props["$live"]["AllocatedStorage"])
    given = int(scope.props.get("allocatedStorage") or live)
    may_grow_to = int(scope.props.get("maxAllocatedStorage") or 0)
    return given if given < live <= may_grow_to else live


def _snapshot(scope: Scope) -> PropertyValue:
    """Give what the instance was made from; RDS does not tell."""
    return scope.props.get("snapshotIdentifier")


def _insights(name: str) -> Any:
    def read(scope: Scope) -> Any:
        live = scope.props["$live"]
        return live.get(name) if live.get("PerformanceInsightsEnabled") else None

    return read


def _instance_arn(scope: Scope) -> str:
    return f"arn:aws:rds:{scope.region}:{scope.account}:db:{scope.props['identifier']}"


INSTANCE_CHANGES: Final = (*MODIFIED, "enabledCloudwatchLogsExports")
INSTANCE_DEFAULTS: Final[PropertyMap] = {
    "applyImmediately": False,
    "autoMinorVersionUpgrade": True,
    "copyTagsToSnapshot": False,
    "deleteAutomatedBackups": True,
    "deletionProtection": False,
    "iamDatabaseAuthenticationEnabled": False,
    "manageMasterUserPassword": False,
    "maxAllocatedStorage": 0,
    "monitoringInterval": 0,
    "performanceInsightsEnabled": False,
    "publiclyAccessible": False,
    "skipFinalSnapshot": False,
    "storageEncrypted": False,
}

INSTANCE: Final = Row(
    label="RDS DB Instance",
    service="rds",
    create=_create_instance,
    read=_instance,
    delete=_delete_instance,
    gone="DBInstanceStatus=='deleting'",
    pending="contains(['creating', 'modifying', 'renaming'], DBInstanceStatus)"
    " || MasterUserSecret.SecretStatus=='creating'",
    updates=(Update(INSTANCE_CHANGES, _update_instance),),
    forces=(
        "availabilityZone",
        "dbName",
        "engine",
        "kmsKeyId",
        "snapshotIdentifier",
        "storageEncrypted",
        "username",
    ),
    local=(
        "allowMajorVersionUpgrade",
        "applyImmediately",
        "deleteAutomatedBackups",
        "finalSnapshotIdentifier",
        "skipFinalSnapshot",
    ),
    required=("instanceClass",),
    computed=(
        "allocatedStorage",
        "availabilityZone",
        "backupRetentionPeriod",
        "backupWindow",
        "caCertIdentifier",
        "dbName",
        "dbSubnetGroupName",
        "engine",
        "engineLifecycleSupport",
        "engineVersion",
        "kmsKeyId",
        "maintenanceWindow",
        "masterUserSecretKmsKeyId",
        "monitoringRoleArn",
        "multiAz",
        "parameterGroupName",
        "performanceInsightsKmsKeyId",
        "performanceInsightsRetentionPeriod",
        "port",
        "snapshotIdentifier",
        "storageType",
        "username",
        "vpcSecurityGroupIds",
    ),
    defaults=INSTANCE_DEFAULTS,
    name=AutoName("identifier", limit=63, lower=True),
    outputs=(
        "address",
        "arn",
        "endpoint",
        "engineVersionActual",
        "masterUserSecrets",
        "resourceId",
        "status",
    ),
    volatile=("engineVersionActual", "status"),
    names={
        "arn": "DBInstanceArn",
        "backupWindow": "PreferredBackupWindow",
        "caCertIdentifier": "CACertificateIdentifier",
        "identifier": "DBInstanceIdentifier",
        "instanceClass": "DBInstanceClass",
        "maintenanceWindow": "PreferredMaintenanceWindow",
        "resourceId": "DbiResourceId",
        "status": "DBInstanceStatus",
        "username": "MasterUsername",
    },
    reads={
        "address": "live.Endpoint.Address",
        "allocatedStorage": _allocated_storage,
        "dbSubnetGroupName": "live.DBSubnetGroup.DBSubnetGroupName",
        "endpoint": "live.Endpoint && join(':', [live.Endpoint.Address,"
        " to_string(live.Endpoint.Port)])",
        "engineVersion": _engine_version,
        "engineVersionActual": "live.EngineVersion",
        "manageMasterUserPassword": "live.MasterUserSecret != `null`",
        "masterUserSecretKmsKeyId": "live.MasterUserSecret.KmsKeyId",
        "masterUserSecrets": "live.MasterUserSecret && [{kmsKeyId: live.MasterUserSecret.KmsKeyId,"
        " secretArn: live.MasterUserSecret.SecretArn,"
        " secretStatus: live.MasterUserSecret.SecretStatus}] || `[]`",
        "maxAllocatedStorage": "live.MaxAllocatedStorage || `0`",
        "parameterGroupName": "live.DBParameterGroups[0].DBParameterGroupName",
        "performanceInsightsEnabled": "live.PerformanceInsightsEnabled || `false`",
        "performanceInsightsKmsKeyId": _insights("PerformanceInsightsKMSKeyId"),
        "performanceInsightsRetentionPeriod": _insights("PerformanceInsightsRetentionPeriod"),
        "port": "live.Endpoint.Port",
        "snapshotIdentifier": _snapshot,
        "vpcSecurityGroupIds": "live.VpcSecurityGroups[].VpcSecurityGroupId",
    },
    listing=_candidates,
    tags=Tagging(
        create="Tags",
        list=Call("list_tags_for_resource", {"ResourceName": "$live.DBInstanceArn"}, "TagList"),
        add=Call("add_tags_to_resource", {"ResourceName": _instance_arn, "Tags": "$added"}),
        remove=Call(
            "remove_tags_from_resource", {"ResourceName": _instance_arn, "TagKeys": "$removed"}
        ),
    ),
)


# -- groups -------------------------------------------------------------------------------------


def _group_tags(kind: str) -> Tagging:
    def arn(scope: Scope) -> str:
        return f"arn:aws:rds:{scope.region}:{scope.account}:{kind}:{scope.id}"

    return Tagging(
        create="Tags",
        list=Call("list_tags_for_resource", {"ResourceName": arn}, "TagList"),
        add=Call("add_tags_to_resource", {"ResourceName": arn, "Tags": "$added"}),
        remove=Call("remove_tags_from_resource", {"ResourceName": arn, "TagKeys": "$removed"}),
    )


def _no_prefix(scope: Scope) -> PropertyValue:
    """Give back how the name was made up: AWS does not know."""
    return scope.props.get("namePrefix")


SUBNET_GROUP: Final = Row(
    label="RDS DB Subnet Group",
    service="rds",
    create=Call(
        "create_db_subnet_group",
        {
            "DBSubnetGroupName": "$name",
            "DBSubnetGroupDescription": "$description",
            "SubnetIds": "$subnetIds",
        },
    ),
    id="props.name",
    read=Call("describe_db_subnet_groups", {"DBSubnetGroupName": "$id"}, "DBSubnetGroups[0]"),
    delete=Call("delete_db_subnet_group", {"DBSubnetGroupName": "$id"}),
    updates=(
        Update(
            ("subnetIds", "description"),
            Call(
                "modify_db_subnet_group",
                {
                    "DBSubnetGroupName": "$id",
                    "DBSubnetGroupDescription": "$description",
                    "SubnetIds": "$subnetIds",
                },
            ),
        ),
    ),
    forces=("name", "namePrefix"),
    required=("subnetIds",),
    computed=("namePrefix",),
    filled={"description": "Managed by Pulumi"},
    name=AutoName("name", lower=True),
    name_prefix="namePrefix",
    outputs=("arn", "vpcId"),
    names={"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription"},
    reads={
        "arn": Text("arn:aws:rds:{region}:{account}:subgrp:{id}"),
        "namePrefix": _no_prefix,
        "subnetIds": "live.Subnets[].SubnetIdentifier",
    },
    tags=_group_tags("subgrp"),
)


def _create_parameter_group(scope: Scope) -> str:
    props = scope.props
    name = str(props["name"])
    args = {
        "DBParameterGroupName": name,
        "DBParameterGroupFamily": props["family"],
        "Description": props["description"],
    }
    scope.call("create_db_parameter_group", {**args, **props["$tags"]})
    return name


def _set_parameters(scope: Scope) -> None:
    """Set what is new or changed, and put back to the engine's defaults what is gone."""
    before, after = _by_name(scope.old), _by_name(scope.props)
    changed = [item for name, item in after.items() if before.get(name) != item]
    gone = [item for name, item in before.items() if name not in after]
    for operation, items in (
        ("modify_db_parameter_group", changed),
        ("reset_db_parameter_group", gone),
    ):
        for start in range(0, len(items), PARAMETERS_A_CALL):
            chunk = items[start : start + PARAMETERS_A_CALL]
            scope.call(operation, {"DBParameterGroupName": scope.id, "Parameters": chunk})


def _by_name(props: PropertyMap) -> dict[str, dict[str, str]]:
    return {
        item["name"]: {
            "ParameterName": item["name"],
            "ParameterValue": item["value"],
            "ApplyMethod": item["applyMethod"],
        }
        for item in _with_method(props.get("parameters")) or ()
    }


def _with_method(parameters: Any) -> Any:
    if not isinstance(parameters, list):
        return parameters
    return [
        {"applyMethod": "immediate", **item} if isinstance(item, dict) else item
        for item in parameters
    ]


PARAMETER_GROUP: Final = Row(
    label="RDS DB Parameter Group",
    service="rds",
    create=_create_parameter_group,
    id="props.name",
    read=Call(
        "describe_db_parameter_groups", {"DBParameterGroupName": "$id"}, "DBParameterGroups[0]"
    ),
    also={
        "parameters": Call(
            "describe_db_parameters",
            {"DBParameterGroupName": "$id", "Source": "user"},
            "Parameters",
        )
    },
    delete=Call("delete_db_parameter_group", {"DBParameterGroupName": "$id"}),
    updates=(Update(("parameters",), _set_parameters, after_create=True),),
    forces=("name", "namePrefix", "family", "description"),
    required=("family",),
    computed=("namePrefix",),
    filled={"description": "Managed by Pulumi"},
    canon={"parameters": _with_method},
    name=AutoName("name", lower=True),
    name_prefix="namePrefix",
    outputs=("arn",),
    names={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily"},
    reads={
        "arn": Text("arn:aws:rds:{region}:{account}:pg:{id}"),
        "namePrefix": _no_prefix,
        "parameters": "live.parameters[?Source=='user']"
        ".{name: ParameterName, value: ParameterValue, applyMethod: ApplyMethod}",
    },
    tags=_group_tags("pg"),
)

ROWS: Final[dict[str, Row]] = {
    "aws:rds/instance:Instance": INSTANCE,
    "aws:rds/parameterGroup:ParameterGroup": PARAMETER_GROUP,
    "aws:rds/subnetGroup:SubnetGroup": SUBNET_GROUP,
}

"""The aws functions that programs call: what they ask is read from the sandbox's cloud."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from infra.sandbox.engine.drivers.api import Api, ApiError
from infra.sandbox.engine.drivers.shapes import tags_from_api
from infra.sandbox.engine.provider import ProviderError, UnsupportedTypeError
from infra.sandbox.engine.wire import PropertyMap

REGION_NAMES: Final[Mapping[str, str]] = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "eu-west-1": "Europe (Ireland)",
    "eu-central-1": "Europe (Frankfurt)",
}

Function = Callable[[Api, PropertyMap], PropertyMap]


def invoke(api: Api, token: str, args: PropertyMap) -> PropertyMap:
    """Answer one function. Raises `UnsupportedTypeError` for one that is not in the table."""
    function = FUNCTIONS.get(token)
    if function is None:
        raise UnsupportedTypeError(
            f"The sandbox's engine cannot answer the function {token}. Nothing was changed."
            " Leave it out of the sandbox, or add it to infra/sandbox/engine/drivers/invokes.py."
        )
    try:
        return function(api, args)
    except ApiError as error:
        raise ProviderError(f"invocation of {token} returned an error: {error}") from None


def _region(api: Api, args: PropertyMap) -> str:
    return str(args.get("region") or api.region)


def _caller_identity(api: Api, args: PropertyMap) -> PropertyMap:
    answer = api.call("sts", "get_caller_identity", {}, _region(api, args))
    account = answer["Account"]
    return {"accountId": account, "arn": answer["Arn"], "userId": answer["UserId"], "id": account}


def _get_region(api: Api, args: PropertyMap) -> PropertyMap:
    name = str(args.get("region") or args.get("name") or args.get("id") or api.region)
    return {
        "id": name,
        "name": name,
        "region": name,
        "description": REGION_NAMES.get(name, name),
        "endpoint": f"ec2.{name}.amazonaws.com",
    }


def _partition(api: Api, args: PropertyMap) -> PropertyMap:  # noqa: ARG001 - all answer alike
    return {
        "id": "aws",
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    }


def _filters(args: PropertyMap) -> list[dict[str, Any]]:
    given = args.get("filters") or []
    return [{"Name": entry["name"], "Values": entry["values"]} for entry in given]


def _availability_zones(api: Api, args: PropertyMap) -> PropertyMap:
    request: dict[str, Any] = {"Filters": _filters(args)} if args.get("filters") else {}
    region = _region(api, args)
    zones = api.call("ec2", "describe_availability_zones", request, region)["AvailabilityZones"]
    excluded = {*(args.get("excludeNames") or []), *(args.get("excludeZoneIds") or [])}
    kept = [
        zone
        for zone in sorted(zones, key=lambda zone: str(zone["ZoneName"]))
        if zone["ZoneName"] not in excluded
        and zone["ZoneId"] not in excluded
        and args.get("state") in (None, zone["State"])
    ]
    return {
        **args,
        "id": region,
        "region": region,
        "names": [zone["ZoneName"] for zone in kept],
        "zoneIds": [zone["ZoneId"] for zone in kept],
        "groupNames": sorted({zone.get("GroupName") or region for zone in kept}),
    }


# -- policy documents ---------------------------------------------------------------------------


def _one_or_many(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _principals(entries: list[PropertyMap]) -> Any:
    by_type: dict[str, list[str]] = {}
    for entry in entries:
        by_type.setdefault(entry["type"], []).extend(entry["identifiers"])
    if by_type == {"*": ["*"]}:
        return "*"
    return {kind: _one_or_many(sorted(ids, reverse=True)) for kind, ids in by_type.items()}


def _conditions(entries: list[PropertyMap]) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for entry in entries:
        result.setdefault(entry["test"], {})[entry["variable"]] = _one_or_many(entry["values"])
    return result


def _statement(given: PropertyMap) -> dict[str, Any]:
    statement: dict[str, Any] = {}
    if given.get("sid"):
        statement["Sid"] = given["sid"]
    statement["Effect"] = given.get("effect") or "Allow"
    for key, name in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(key):
            statement[name] = _principals(given[key])
    for key, name in (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    ):
        if given.get(key):
            statement[name] = _one_or_many(sorted(given[key], reverse=True))
    if given.get("conditions"):
        statement["Condition"] = _conditions(given["conditions"])
    return statement


def policy_document(args: PropertyMap) -> PropertyMap:
    """Write a policy from its statements. Pure.

    A statement of an overriding document takes the place of one with the same ``sid``.
    """
    sources = [json.loads(text) for text in args.get("sourcePolicyDocuments") or []]
    statements = [entry for source in sources for entry in _listed(source)]
    statements += [_statement(entry) for entry in args.get("statements") or []]
    for text in args.get("overridePolicyDocuments") or []:
        for entry in _listed(json.loads(text)):
            same = [e for e in statements if entry.get("Sid") and e.get("Sid") == entry["Sid"]]
            statements = [e for e in statements if e not in same] + [entry]
    document: dict[str, Any] = {"Version": args.get("version") or "2012-10-17"}
    if args.get("policyId"):
        document["Id"] = args["policyId"]
    document["Statement"] = statements
    text = json.dumps(document, indent=2)
    return {
        **args,
        "id": str(zlib.crc32(text.encode())),
        "json": text,
        "minifiedJson": json.dumps(document, separators=(",", ":")),
    }


def _listed(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    statements = document.get("Statement") or []
    return [statements] if isinstance(statements, dict) else list(statements)


def _policy_document(api: Api, args: PropertyMap) -> PropertyMap:  # noqa: ARG001 - no API in it
    return policy_document(args)


# -- parameters and keys ------------------------------------------------------------------------


def _parameter(api: Api, args: PropertyMap) -> PropertyMap:
    request = {"Name": args["name"], "WithDecryption": args.get("withDecryption", True)}
    found = api.call("ssm", "get_parameter", request, _region(api, args))["Parameter"]
    plain = {} if found["Type"] == "SecureString" else {"insecureValue": found["Value"]}
    return {
        **args,
        **plain,
        "id": found["Name"],
        "arn": found["ARN"],
        "type": found["Type"],
        "value": found["Value"],
        "version": found["Version"],
        "region": _region(api, args),
        "withDecryption": request["WithDecryption"],
    }


def _parameters_by_path(api: Api, args: PropertyMap) -> PropertyMap:
    decrypt = args.get("withDecryption", True)
    request: dict[str, Any] = {
        "Path": args["path"],
        "Recursive": bool(args.get("recursive")),
        "WithDecryption": decrypt,
    }
    found: list[dict[str, Any]] = []
    while True:
        answer = api.call("ssm", "get_parameters_by_path", request, _region(api, args))
        found += answer["Parameters"]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return {
        **args,
        "id": args["path"],
        "region": _region(api, args),
        "withDecryption": decrypt,
        "arns": [entry["ARN"] for entry in found],
        "names": [entry["Name"] for entry in found],
        "types": [entry["Type"] for entry in found],
        "values": [entry["Value"] for entry in found],
    }


def _alias(api: Api, args: PropertyMap) -> PropertyMap:
    region = _region(api, args)
    request: dict[str, Any] = {}
    while True:
        answer = api.call("kms", "list_aliases", request, region)
        for entry in answer["Aliases"]:
            if entry["AliasName"] == args["name"]:
                key = api.call("kms", "describe_key", {"KeyId": entry["TargetKeyId"]}, region)
                return {
                    **args,
                    "id": entry["AliasArn"],
                    "arn": entry["AliasArn"],
                    "region": region,
                    "targetKeyId": entry["TargetKeyId"],
                    "targetKeyArn": key["KeyMetadata"]["Arn"],
                }
        if not answer.get("Truncated"):
            raise ProviderError(
                f"reading KMS Alias ({args['name']}): couldn't find resource. It is made by"
                " another stack: bring that up first."
            )
        request = {"Marker": answer["NextMarker"]}


def _key(api: Api, args: PropertyMap) -> PropertyMap:
    request = {"KeyId": args["keyId"]}
    found = api.call("kms", "describe_key", request, _region(api, args))["KeyMetadata"]
    return {
        **args,
        "id": found["KeyId"],
        "arn": found["Arn"],
        "awsAccountId": found["AWSAccountId"],
        "creationDate": found["CreationDate"].isoformat(),
        "customerMasterKeySpec": found.get("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"),
        "keySpec": found.get("KeySpec", "SYMMETRIC_DEFAULT"),
        "description": found.get("Description", ""),
        "enabled": bool(found["Enabled"]),
        "keyManager": found.get("KeyManager", "CUSTOMER"),
        "keyState": found["KeyState"],
        "keyUsage": found["KeyUsage"],
        "multiRegion": bool(found.get("MultiRegion")),
        "origin": found.get("Origin", "AWS_KMS"),
        "region": _region(api, args),
    }


# -- things that other stacks made --------------------------------------------------------------


def _role(api: Api, args: PropertyMap) -> PropertyMap:
    found = api.call("iam", "get_role", {"RoleName": args["name"]}, _region(api, args))["Role"]
    document = found["AssumeRolePolicyDocument"]
    boundary = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
    return {
        **args,
        "id": found["RoleName"],
        "arn": found["Arn"],
        "assumeRolePolicy": document if isinstance(document, str) else json.dumps(document),
        "createDate": found["CreateDate"].isoformat(),
        "description": found.get("Description", ""),
        "maxSessionDuration": found.get("MaxSessionDuration", 3600),
        "path": found["Path"],
        "permissionsBoundary": boundary,
        "uniqueId": found["RoleId"],
        "tags": tags_from_api(found.get("Tags")),
    }


def _prefix_list(api: Api, args: PropertyMap) -> PropertyMap:
    filters = _filters(args)
    if args.get("name"):
        filters.append({"Name": "prefix-list-name", "Values": [args["name"]]})
    request: dict[str, Any] = {"Filters": filters} if filters else {}
    if args.get("prefixListId"):
        request["PrefixListIds"] = [args["prefixListId"]]
    found = api.call("ec2", "describe_prefix_lists", request, _region(api, args))["PrefixLists"]
    if len(found) != 1:
        raise ProviderError(f"{len(found)} prefix lists match; exactly one was expected.")
    return {
        **args,
        "id": found[0]["PrefixListId"],
        "prefixListId": found[0]["PrefixListId"],
        "name": found[0]["PrefixListName"],
        "cidrBlocks": found[0].get("Cidrs", []),
        "region": _region(api, args),
    }


FUNCTIONS: Final[Mapping[str, Function]] = {
    "aws:ec2/getPrefixList:getPrefixList": _prefix_list,
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
    "aws:iam/getRole:getRole": _role,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _availability_zones,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getRegion:getRegion": _get_region,
    "aws:kms/getAlias:getAlias": _alias,
    "aws:kms/getKey:getKey": _key,
    "aws:ssm/getParameter:getParameter": _parameter,
    "aws:ssm/getParametersByPath:getParametersByPath": _parameters_by_path,
}

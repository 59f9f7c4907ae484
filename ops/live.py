"""What there is in the account, found by the names in a program's own inputs.

One finder a resource type: from the inputs of what a program would create to what is there under
that name, with the id that `pulumi import` takes and the properties that no update can change. A
finder lists completely or raises: a listing that was denied is never an absence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_network
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra import naming
from ops.parameters.store import ClientFactory, reason
from ops.tree import is_known

ABSENT: Final = frozenset(
    {
        "404",
        "DBInstanceNotFound",
        "DBInstanceNotFoundFault",
        "DBParameterGroupNotFound",
        "DBParameterGroupNotFoundFault",
        "DBSubnetGroupNotFoundFault",
        "InvalidLaunchTemplateName.NotFoundException",
        "LoadBalancerNotFound",
        "NoSuchBucket",
        "NoSuchEntity",
        "NotFound",
        "NotFoundException",
        "RepositoryNotFoundException",
        "ResourceNotFoundException",
        "TargetGroupNotFound",
    }
)
"""AWS's error codes for a name that nothing has."""


class NotListedError(Exception):
    """AWS would not say what is there."""


class NotKnownYetError(Exception):
    """What a resource is found by is made by another one that is not in the state yet."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A resource that the program would create."""

    urn: str
    type: str
    name: str
    """The program's name for it."""
    parent: str
    """URN."""
    provider: str
    """URN; empty for a component."""
    custom: bool
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """As the program gives them; what is not known yet is Pulumi's sign for it."""

    def given(self, name: str) -> Any:
        """Return an input that is known, or None."""
        value = self.inputs.get(name)
        return value if is_known(value) else None

    def needed(self, name: str) -> str:
        """Return an input that it cannot be found without.

        Raises `NotKnownYetError` where another resource gives it.
        """
        if name in self.inputs and not is_known(self.inputs[name]):
            raise NotKnownYetError(name)
        return str(self.inputs.get(name) or "")


@dataclass(frozen=True, kw_only=True)
class Live:
    """Something that is there."""

    id: str
    """What `pulumi import` takes."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Input -> value as it is; another value would replace the resource."""
    obstacle: str = ""
    """Why it cannot be adopted whatever its properties are."""


class Account:
    """The account's listings, each made once."""

    def __init__(self, client: ClientFactory, environment: str, account_id: str) -> None:
        self.environment = environment
        self.account_id = account_id
        self.vpc_id: str | None = None
        """The VPC that is adopted: what is inside one is looked for there."""
        self._client = cache(client)
        self._cache: dict[Any, list[Any]] = {}

    def listed(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return all that an operation lists under `key`, every page; nothing where it is absent.

        Raises `NotListedError` for any other error.
        """
        question = (service, operation, repr(sorted(arguments.items())))
        if question not in self._cache:
            self._cache[question] = list(self._pages(service, operation, key, arguments))
        return self._cache[question]

    def _pages(
        self, service: str, operation: str, key: str, arguments: Mapping[str, Any]
    ) -> Iterator[Any]:
        try:
            client = self._client(service)
            if client.can_paginate(operation):
                pages = client.get_paginator(operation).paginate(**arguments)
            else:
                pages = [getattr(client, operation)(**arguments)]
            for page in pages:
                found = page.get(key) or []
                yield from found if isinstance(found, list) else [found]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ABSENT:
                raise NotListedError(f"{service} {operation}: {reason(error)}") from error
        except BotoCoreError as error:
            raise NotListedError(f"{service} {operation}: {reason(error)}") from error

    def in_vpc(self, operation: str, key: str) -> list[Any]:
        """Return what EC2 lists in the adopted VPC; nothing where none is adopted."""
        if self.vpc_id is None:
            return []
        filters = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        # One operation alone calls it otherwise.
        argument = "Filter" if operation == "describe_nat_gateways" else "Filters"
        return self.listed("ec2", operation, key, **{argument: filters})


Finder = Callable[[Account, Wanted, Sequence[Wanted]], Iterable[Live]]
"""The account, what is wanted, and all that is wanted with it -> what is there under its name."""


def find(account: Account, wanted: Wanted, others: Sequence[Wanted]) -> list[Live]:
    """Return what is there under a resource's name.

    Raises `NotListedError` and `NotKnownYetError`; KeyError for a type without a finder.
    """
    return list(FINDERS[wanted.type](account, wanted, others))


def tags_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Return EC2's tags of an item."""
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags") or ()}


def is_ours(tags: Mapping[str, str], environment: str) -> bool:
    """Tell whether tags say that something is the environment's, whoever has made it."""
    lower = {key.lower(): value for key, value in tags.items()}
    named = lower.get("name", "").startswith(naming.prefix(environment))
    project = lower.get("project", "").startswith(naming.PROJECT)
    return named or (project and lower.get("environment") == environment)


# EC2


def _vpc(account: Account, _wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    for item in account.listed("ec2", "describe_vpcs", "Vpcs"):
        if is_ours(tags_of(item), account.environment):
            yield Live(id=item["VpcId"], fixed={"cidrBlock": item["CidrBlock"]})


def _subnet(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    """Find subnets of the same addresses; one that only overlaps would be in the way."""
    block = ip_network(wanted.needed("cidrBlock"))
    for item in account.in_vpc("describe_subnets", "Subnets"):
        if ip_network(item["CidrBlock"]).overlaps(block):
            fixed = {
                "cidrBlock": item["CidrBlock"],
                "availabilityZone": item["AvailabilityZone"],
            }
            yield Live(id=item["SubnetId"], fixed=fixed)


def _internet_gateway(
    account: Account, _wanted: Wanted, _others: Sequence[Wanted]
) -> Iterator[Live]:
    for item in account.listed("ec2", "describe_internet_gateways", "InternetGateways"):
        attached = {attachment["VpcId"] for attachment in item.get("Attachments", ())}
        if account.vpc_id in attached:
            yield Live(id=item["InternetGatewayId"])


def _named(operation: str, key: str, id_: str) -> Finder:
    """Find things of the adopted VPC by their `Name`."""

    def finder(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
        name = _name_tag(wanted)
        for item in account.in_vpc(operation, key):
            if name and tags_of(item).get("Name") == name and item.get("State") != "deleted":
                yield Live(id=item[id_])

    return finder


def _address(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = _name_tag(wanted)
    for item in account.listed("ec2", "describe_addresses", "Addresses"):
        if name and tags_of(item).get("Name") == name:
            yield Live(id=item["AllocationId"])


def _security_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    for item in account.in_vpc("describe_security_groups", "SecurityGroups"):
        if _is_called(wanted, "name", item["GroupName"]):
            yield Live(id=item["GroupId"], fixed={"description": item["Description"]})


def _default_security_group(
    account: Account, _wanted: Wanted, _others: Sequence[Wanted]
) -> Iterator[Live]:
    for item in account.in_vpc("describe_security_groups", "SecurityGroups"):
        if item["GroupName"] == "default":
            yield Live(id=item["GroupId"])


def _default_network_acl(
    account: Account, _wanted: Wanted, _others: Sequence[Wanted]
) -> Iterator[Live]:
    for item in account.in_vpc("describe_network_acls", "NetworkAcls"):
        if item["IsDefault"]:
            yield Live(id=item["NetworkAclId"])


def _vpc_endpoint(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    for item in account.in_vpc("describe_vpc_endpoints", "VpcEndpoints"):
        if item["ServiceName"] == wanted.given("serviceName"):
            fixed = {
                "serviceName": item["ServiceName"],
                "vpcEndpointType": item["VpcEndpointType"],
            }
            yield Live(id=item["VpcEndpointId"], fixed=fixed)


def _flow_log(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    for item in account.listed("ec2", "describe_flow_logs", "FlowLogs"):
        kind = wanted.given("logDestinationType") or "cloud-watch-logs"
        if item["ResourceId"] == account.vpc_id and item["LogDestinationType"] == kind:
            fixed = {"logDestinationType": kind, "trafficType": item["TrafficType"]}
            yield Live(id=item["FlowLogId"], fixed=fixed)


def _launch_template(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    for item in account.listed("ec2", "describe_launch_templates", "LaunchTemplates"):
        if _is_called(wanted, "name", item["LaunchTemplateName"]):
            yield Live(id=item["LaunchTemplateId"])


def _route(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    table, target = wanted.needed("routeTableId"), wanted.needed("destinationCidrBlock")
    for item in account.listed(
        "ec2", "describe_route_tables", "RouteTables", RouteTableIds=[table]
    ):
        for route in item["Routes"]:
            if route.get("DestinationCidrBlock") == target:
                yield Live(id=f"{table}_{target}")


def _route_table_association(
    account: Account, wanted: Wanted, _others: Sequence[Wanted]
) -> Iterator[Live]:
    subnet, table = wanted.needed("subnetId"), wanted.needed("routeTableId")
    filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
    for item in account.listed("ec2", "describe_route_tables", "RouteTables", Filters=filters):
        there = item["RouteTableId"]
        yield Live(
            id=f"{subnet}/{there}",
            obstacle="" if there == table else f"the subnet has the route table {there}",
        )


def _security_group_rule(*, egress: bool) -> Finder:
    """Find a rule of a security group by what it lets through."""

    def finder(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
        group = wanted.needed("securityGroupId")
        peers = {
            "CidrIpv4": wanted.needed("cidrIpv4"),
            "PrefixListId": wanted.needed("prefixListId"),
            "ReferencedGroupInfo": wanted.needed("referencedSecurityGroupId"),
        }
        filters = [{"Name": "group-id", "Values": [group]}]
        for item in account.listed(
            "ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=filters
        ):
            there = {
                **{key: item.get(key) or "" for key in peers},
                "ReferencedGroupInfo": (item.get("ReferencedGroupInfo") or {}).get("GroupId", ""),
            }
            same = item["IsEgress"] == egress and there == peers
            if same and _ports(item) == _wanted_ports(wanted):
                yield Live(id=item["SecurityGroupRuleId"])

    return finder


def _ports(item: Mapping[str, Any]) -> tuple[str, int | None, int | None]:
    protocol = str(item["IpProtocol"])
    if protocol == "-1":  # every protocol: the ports mean nothing
        return protocol, None, None
    return protocol, _number(item.get("FromPort")), _number(item.get("ToPort"))


def _wanted_ports(wanted: Wanted) -> tuple[str, int | None, int | None]:
    return _ports(
        {
            "IpProtocol": wanted.needed("ipProtocol"),
            "FromPort": wanted.given("fromPort"),
            "ToPort": wanted.given("toPort"),
        }
    )


def _name_tag(wanted: Wanted) -> str:
    return str((wanted.given("tags") or {}).get("Name", ""))


# EKS and RDS


def _cluster(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for candidate in (name, f"{name}-eks-{account.environment}"):
        for item in account.listed("eks", "describe_cluster", "cluster", name=candidate):
            network = item.get("kubernetesNetworkConfig") or {}
            yield Live(
                id=item["name"],
                fixed={
                    "name": item["name"],
                    "roleArn": item["roleArn"],
                    "kubernetesNetworkConfig.serviceIpv4Cidr": network.get("serviceIpv4Cidr"),
                },
            )


def _node_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    cluster, name = wanted.needed("clusterName"), wanted.needed("nodeGroupName")
    for item in account.listed(
        "eks", "describe_nodegroup", "nodegroup", clusterName=cluster, nodegroupName=name
    ):
        fixed = {
            "amiType": item.get("amiType"),
            "capacityType": item.get("capacityType"),
            "instanceTypes": item.get("instanceTypes"),
            "nodeRoleArn": item.get("nodeRole"),
        }
        yield Live(id=f"{cluster}:{name}", fixed=fixed)


def _addon(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    cluster, name = wanted.needed("clusterName"), wanted.needed("addonName")
    for _ in account.listed("eks", "describe_addon", "addon", clusterName=cluster, addonName=name):
        yield Live(id=f"{cluster}:{name}")


def _access_entry(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    cluster, principal = wanted.needed("clusterName"), wanted.needed("principalArn")
    for item in account.listed(
        "eks", "describe_access_entry", "accessEntry", clusterName=cluster, principalArn=principal
    ):
        yield Live(id=f"{cluster}:{principal}", fixed={"type": item.get("type")})


def _pod_identity(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    cluster = wanted.needed("clusterName")
    for item in account.listed(
        "eks",
        "list_pod_identity_associations",
        "associations",
        clusterName=cluster,
        namespace=wanted.needed("namespace"),
        serviceAccount=wanted.needed("serviceAccount"),
    ):
        yield Live(id=f"{cluster},{item['associationId']}")


def _database(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    identifier = wanted.needed("identifier")
    for item in account.listed(
        "rds", "describe_db_instances", "DBInstances", DBInstanceIdentifier=identifier
    ):
        yield Live(
            id=identifier,
            fixed={
                "engine": item["Engine"],
                "dbName": item.get("DBName"),
                "username": item.get("MasterUsername"),
                "storageEncrypted": item.get("StorageEncrypted"),
                "kmsKeyId": item.get("KmsKeyId"),
                "dbSubnetGroupName": (item.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            },
        )


def _subnet_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    if name:
        for item in account.listed(
            "rds", "describe_db_subnet_groups", "DBSubnetGroups", DBSubnetGroupName=name
        ):
            yield Live(id=name, fixed={"name": item["DBSubnetGroupName"]})


def _parameter_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    if name:
        for item in account.listed(
            "rds", "describe_db_parameter_groups", "DBParameterGroups", DBParameterGroupName=name
        ):
            fixed = {
                "family": item["DBParameterGroupFamily"],
                "description": item["Description"],
            }
            yield Live(id=name, fixed=fixed)


# Keys, parameters, secrets, tables, buckets, images


def _alias(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("kms", "list_aliases", "Aliases"):
        if item["AliasName"] == name:
            yield Live(id=name)


def _key(account: Account, wanted: Wanted, others: Sequence[Wanted]) -> Iterator[Live]:
    """Find a key by the alias that the program makes beside it: keys have no names."""
    names = {
        other.given("name")
        for other in others
        if other.type == "aws:kms/alias:Alias" and other.parent == wanted.parent
    }
    for item in account.listed("kms", "list_aliases", "Aliases"):
        if item["AliasName"] in names and item.get("TargetKeyId"):
            yield from _described_key(account, item["TargetKeyId"])


def _described_key(account: Account, key_id: str) -> Iterator[Live]:
    for item in account.listed("kms", "describe_key", "KeyMetadata", KeyId=key_id):
        usable = item["KeyState"] == "Enabled"
        yield Live(
            id=key_id,
            fixed={
                "customerMasterKeySpec": item.get("KeySpec"),
                "keyUsage": item.get("KeyUsage"),
                "multiRegion": item.get("MultiRegion"),
            },
            obstacle="" if usable else f"its state is {item['KeyState']}",
        )


def _parameter(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    by_name = [{"Key": "Name", "Values": [name]}]
    for item in account.listed(
        "ssm", "describe_parameters", "Parameters", ParameterFilters=by_name
    ):
        yield Live(id=name, fixed={"type": item["Type"], "dataType": item.get("DataType")})


def _secret(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("secretsmanager", "describe_secret", "ARN", SecretId=name):
        deleted = account.listed("secretsmanager", "describe_secret", "DeletedDate", SecretId=name)
        yield Live(id=item, obstacle="it is scheduled for deletion" if deleted else "")


def _table(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for candidate in (name, _terraforms(name)):
        for item in account.listed("dynamodb", "describe_table", "Table", TableName=candidate):
            keys = {key["KeyType"]: key["AttributeName"] for key in item["KeySchema"]}
            fixed = {
                "name": item["TableName"],
                "hashKey": keys.get("HASH"),
                "rangeKey": keys.get("RANGE"),
            }
            yield Live(id=item["TableName"], fixed=fixed)


def _bucket(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    """Find a bucket; where Pulumi makes up the end of its name, by what comes before."""
    former = _terraforms(wanted.name)
    for item in account.listed("s3", "list_buckets", "Buckets"):
        there = item["Name"]
        if _is_called(wanted, "bucket", there):
            yield Live(id=there)
        elif former != wanted.name and there.startswith(f"{former}-"):
            yield Live(id=there, fixed={"bucket": there})


def _is_called(wanted: Wanted, key: str, there: str) -> bool:
    """Tell whether a name is the wanted one, or would be, but for its random end."""
    name = str(wanted.given(key) or "")
    random_end = re.fullmatch(rf"{re.escape(wanted.name)}-[0-9a-f]{{7}}", name)
    return there.startswith(f"{wanted.name}-") if random_end else there == name


def _terraforms(name: str) -> str:
    """Return what Terraform's state was kept in where ours is in `name`."""
    return name.replace("pulumi-state", "terraform-state")


def _repository(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed(
        "ecr", "describe_repositories", "repositories", repositoryNames=[name]
    ):
        encryption = item.get("encryptionConfiguration") or {}
        fixed = {"encryptionConfigurations[0].encryptionType": encryption.get("encryptionType")}
        yield Live(id=name, fixed=fixed)


# IAM


def _iam(operation: str, key: str, argument: str, path: str = "path") -> Finder:
    """Find what IAM knows by its name."""

    def finder(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
        name = wanted.needed("name")
        if name:
            for item in account.listed("iam", operation, key, **{argument: name}):
                yield Live(id=name, fixed={path: item["Path"]} if path else {})

    return finder


def _policy(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("iam", "list_policies", "Policies", Scope="Local"):
        if item["PolicyName"] == name:
            fixed = {"path": item["Path"], "description": item.get("Description")}
            yield Live(id=item["Arn"], fixed=fixed)


def _oidc_provider(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    issuer = wanted.needed("url").removeprefix("https://")
    for item in account.listed(
        "iam", "list_open_id_connect_providers", "OpenIDConnectProviderList"
    ):
        if item["Arn"].partition(":oidc-provider/")[2] == issuer:
            yield Live(id=item["Arn"])


# Load balancers, names, logs, messages, costs


def _load_balancer(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("elbv2", "describe_load_balancers", "LoadBalancers", Names=[name]):
        fixed = {
            "loadBalancerType": item.get("Type"),
            "internal": item.get("Scheme") == "internal",
        }
        yield Live(id=item["LoadBalancerArn"], fixed=fixed)


def _target_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("elbv2", "describe_target_groups", "TargetGroups", Names=[name]):
        fixed = {
            "port": item.get("Port"),
            "protocol": item.get("Protocol"),
            "targetType": item.get("TargetType"),
            "vpcId": item.get("VpcId"),
        }
        yield Live(id=item["TargetGroupArn"], fixed=fixed)


def _listener(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    balancer = wanted.needed("loadBalancerArn")
    for item in account.listed(
        "elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer
    ):
        if item["Port"] == _number(wanted.given("port")):
            yield Live(id=item["ListenerArn"])


def _listener_rule(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    listener = wanted.needed("listenerArn")
    for item in account.listed("elbv2", "describe_rules", "Rules", ListenerArn=listener):
        if _number(item["Priority"]) == _number(wanted.given("priority")):
            yield Live(id=item["RuleArn"])


def _zone(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name").rstrip(".")
    private = bool(wanted.inputs.get("vpcs"))
    for item in account.listed("route53", "list_hosted_zones", "HostedZones"):
        same_kind = bool(item["Config"].get("PrivateZone")) == private
        if item["Name"].rstrip(".") == name and same_kind:
            yield Live(id=item["Id"].removeprefix("/hostedzone/"))


def _record(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    zone, kind = wanted.needed("zoneId"), wanted.needed("type")
    name = wanted.needed("name").rstrip(".")
    for item in account.listed(
        "route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone
    ):
        if item["Name"].rstrip(".") == name and item["Type"] == kind:
            yield Live(id=f"{zone}_{name}_{kind}")


def _log_group(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name):
        if item["logGroupName"] == name:
            yield Live(id=name)


def _topic(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("sns", "list_topics", "Topics"):
        if item["TopicArn"].rpartition(":")[2] == name:
            yield Live(id=item["TopicArn"])


def _budget(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed(
        "budgets", "describe_budgets", "Budgets", AccountId=account.account_id
    ):
        if item["BudgetName"] == name:
            yield Live(
                id=f"{account.account_id}:{name}", fixed={"budgetType": item.get("BudgetType")}
            )


def _trail(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("name")
    for item in account.listed("cloudtrail", "describe_trails", "trailList"):
        if item["Name"] == name:
            yield Live(id=item["TrailARN"])


def _analyzer(account: Account, wanted: Wanted, _others: Sequence[Wanted]) -> Iterator[Live]:
    name = wanted.needed("analyzerName")
    for item in account.listed("accessanalyzer", "list_analyzers", "analyzers"):
        if item["name"] == name:
            yield Live(id=name, fixed={"type": item.get("type")})


def _number(value: Any) -> int | None:
    """Return a number, which events give as a float or a text; None for `default`."""
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return None


FINDERS: Final[Mapping[str, Finder]] = {
    "aws:ec2/vpc:Vpc": _vpc,  # first: what is inside is looked for in the one that is found
    "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl": _default_network_acl,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _default_security_group,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/flowLog:FlowLog": _flow_log,
    "aws:ec2/internetGateway:InternetGateway": _internet_gateway,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:ec2/natGateway:NatGateway": _named("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    "aws:ec2/networkAcl:NetworkAcl": _named("describe_network_acls", "NetworkAcls", "NetworkAclId"),
    "aws:ec2/route:Route": _route,
    "aws:ec2/routeTable:RouteTable": _named("describe_route_tables", "RouteTables", "RouteTableId"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _route_table_association,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:ec2/subnet:Subnet": _subnet,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _vpc_endpoint,
    "aws:eks/accessEntry:AccessEntry": _access_entry,
    "aws:eks/addon:Addon": _addon,
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": _pod_identity,
    "aws:rds/instance:Instance": _database,
    "aws:rds/parameterGroup:ParameterGroup": _parameter_group,
    "aws:rds/subnetGroup:SubnetGroup": _subnet_group,
    "aws:kms/alias:Alias": _alias,
    "aws:kms/key:Key": _key,
    "aws:ssm/parameter:Parameter": _parameter,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:dynamodb/table:Table": _table,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:ecr/repository:Repository": _repository,
    "aws:iam/group:Group": _iam("get_group", "Group", "GroupName", path=""),
    "aws:iam/instanceProfile:InstanceProfile": _iam(
        "get_instance_profile", "InstanceProfile", "InstanceProfileName"
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _oidc_provider,
    "aws:iam/policy:Policy": _policy,
    "aws:iam/role:Role": _iam("get_role", "Role", "RoleName"),
    "aws:iam/user:User": _iam("get_user", "User", "UserName", path=""),
    "aws:lb/listener:Listener": _listener,
    "aws:lb/listenerRule:ListenerRule": _listener_rule,
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer,
    "aws:lb/targetGroup:TargetGroup": _target_group,
    "aws:route53/record:Record": _record,
    "aws:route53/zone:Zone": _zone,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:sns/topic:Topic": _topic,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _security_group_rule(egress=True),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _security_group_rule(egress=False),
    "aws:budgets/budget:Budget": _budget,
    "aws:cloudtrail/trail:Trail": _trail,
    "aws:accessanalyzer/analyzer:Analyzer": _analyzer,
}
"""Type -> how it is found, in the order of looking."""

SETTINGS: Final = frozenset(
    {
        "aws:autoscaling/attachment:Attachment",
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/logMetricFilter:LogMetricFilter",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ebs/encryptionByDefault:EncryptionByDefault",
        "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
        "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        "aws:iam/accountPasswordPolicy:AccountPasswordPolicy",
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userGroupMembership:UserGroupMembership",
        "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketLogging:BucketLogging",
        "aws:s3/bucketNotification:BucketNotification",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:sns/topicSubscription:TopicSubscription",
    }
)
"""Types that AWS creates by a put: creating one sets it, whether or not it was set before."""

"""What there is of an environment in its account, asked of every service in both regions.

It looks at the cloud alone, never at a state: what is ours is told by tags, names and the network
it is in. The tagging API is asked as well, for what no service listed here knows of. A listing is
complete or it raises: what was denied is never an absence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.errors import IncompleteError

if TYPE_CHECKING:
    from ops.access import Access

WORKERS: Final = 16
GLOBAL: Final = "global"
"""The region of what is in none."""
RETAINED: Final = "retained backup"
"""The kind of an instance's automated backups that somebody kept when they deleted it."""
_BATCH: Final = 10
"""Hosted zones whose tags Route 53 gives in one call."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is there."""

    kind: str
    id: str
    """Unique among its kind in its region."""
    region: str
    name: str = ""
    """What people call it, where that is not its id."""
    arn: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """As AWS describes it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from everything else."""
        return self.kind, self.region, self.id

    @property
    def label(self) -> str:
        """What it is, as people read it."""
        name = f" ({self.name})" if self.name and self.name != self.id else ""
        return f"{self.kind} {self.id}{name}"

    @property
    def is_pending_deletion(self) -> bool:
        """Tell whether AWS deletes it on a day that is fixed already: a key."""
        return self.raw.get("KeyState") == "PendingDeletion"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything that is the environment's, and how much was looked at to find it."""

    items: tuple[Item, ...]
    scanned: int
    """Things that were looked at, others' included."""
    listings: int
    encrypted: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    """Key's id → what nobody could read without it, others' things included."""

    def of(self, *kinds: str) -> list[Item]:
        """Give those of some kinds."""
        return [item for item in self.items if item.kind in kinds]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A listing of one kind of thing."""

    kind: str
    service: str
    operation: str
    items: str
    """JMESPath to the things in a page; what is gone already is left out here."""
    id: str
    """JMESPath to a thing's id; `@`: it is the id."""
    name: str = ""
    arn: str = ""
    """JMESPath to the ARN."""
    resource: str = ""
    """What an ARN calls it before a slash and the id, where AWS gives no ARN."""
    tags: str = ""
    """JMESPath to the tags, in any of AWS's forms."""
    vpc: str = ""
    """JMESPath to the VPC that it is in."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    page: int = 0
    """Things that AWS gives at once, where it gives fewer unless it is asked for more."""


def _ec2(kind: str, operation: str, items: str, id_: str, type_: str, vpc: str = "") -> Source:
    return Source(
        kind=kind,
        service="ec2",
        operation=operation,
        items=items,
        id=id_,
        resource=type_,
        tags="Tags || TagSet",
        vpc=vpc,
    )


_INSTANCES: Final = "Reservations[].Instances[] | [?State.Name!='terminated']"
_REGIONAL: Final = (
    _ec2("vpc", "describe_vpcs", "Vpcs", "VpcId", "vpc", "VpcId"),
    _ec2("subnet", "describe_subnets", "Subnets", "SubnetId", "subnet", "VpcId"),
    _ec2(
        "route table",
        "describe_route_tables",
        "RouteTables[?!(Associations[?Main])]",
        "RouteTableId",
        "route-table",
        "VpcId",
    ),
    _ec2(
        "internet gateway",
        "describe_internet_gateways",
        "InternetGateways",
        "InternetGatewayId",
        "internet-gateway",
        "Attachments[0].VpcId",
    ),
    _ec2("address", "describe_addresses", "Addresses", "AllocationId", "elastic-ip"),
    _ec2(
        "nat gateway",
        "describe_nat_gateways",
        "NatGateways[?State!='deleted']",
        "NatGatewayId",
        "natgateway",
        "VpcId",
    ),
    _ec2(
        "network acl",
        "describe_network_acls",
        "NetworkAcls[?!IsDefault]",
        "NetworkAclId",
        "network-acl",
        "VpcId",
    ),
    _ec2(
        "security group",
        "describe_security_groups",
        "SecurityGroups[?GroupName!='default']",
        "GroupId",
        "security-group",
        "VpcId",
    ),
    _ec2(
        "vpc endpoint",
        "describe_vpc_endpoints",
        "VpcEndpoints[?State!='deleted']",
        "VpcEndpointId",
        "vpc-endpoint",
        "VpcId",
    ),
    _ec2("flow log", "describe_flow_logs", "FlowLogs", "FlowLogId", "vpc-flow-log", "ResourceId"),
    _ec2(
        "network interface",
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        "network-interface",
        "VpcId",
    ),
    _ec2("volume", "describe_volumes", "Volumes[?State!='deleting']", "VolumeId", "volume"),
    _ec2(
        "launch template",
        "describe_launch_templates",
        "LaunchTemplates",
        "LaunchTemplateId",
        "launch-template",
    ),
    _ec2("instance", "describe_instances", _INSTANCES, "InstanceId", "instance", "VpcId"),
    Source(
        kind="snapshot",
        service="ec2",
        operation="describe_snapshots",
        items="Snapshots",
        id="SnapshotId",
        resource="snapshot",
        tags="Tags",
        arguments={"OwnerIds": ["self"]},
        page=1000,
    ),
    Source(
        kind="auto scaling group",
        service="autoscaling",
        operation="describe_auto_scaling_groups",
        items="AutoScalingGroups",
        id="AutoScalingGroupName",
        arn="AutoScalingGroupARN",
        tags="Tags",
        page=100,
    ),
    Source(
        kind="load balancer",
        service="elbv2",
        operation="describe_load_balancers",
        items="LoadBalancers",
        id="LoadBalancerName",
        arn="LoadBalancerArn",
        vpc="VpcId",
    ),
    Source(
        kind="classic load balancer",
        service="elb",
        operation="describe_load_balancers",
        items="LoadBalancerDescriptions",
        id="LoadBalancerName",
        resource="loadbalancer",
        vpc="VPCId",
    ),
    Source(
        kind="target group",
        service="elbv2",
        operation="describe_target_groups",
        items="TargetGroups",
        id="TargetGroupName",
        arn="TargetGroupArn",
        vpc="VpcId",
    ),
    Source(
        kind="database",
        service="rds",
        operation="describe_db_instances",
        items="DBInstances",
        id="DBInstanceIdentifier",
        arn="DBInstanceArn",
        tags="TagList",
        vpc="DBSubnetGroup.VpcId",
    ),
    *(
        Source(
            kind="database snapshot",
            service="rds",
            operation="describe_db_snapshots",
            items="DBSnapshots",
            id="DBSnapshotIdentifier",
            name="DBInstanceIdentifier",
            arn="DBSnapshotArn",
            tags="TagList",
            arguments=arguments,
        )
        # Unless they are asked for, AWS does not tell those of AWS Backup.
        for arguments in ({}, {"SnapshotType": "awsbackup"})
    ),
    Source(
        kind=RETAINED,
        service="rds",
        operation="describe_db_instance_automated_backups",
        items="DBInstanceAutomatedBackups[?Status!='active' && Status!='creating']",
        id="DbiResourceId",
        name="DBInstanceIdentifier",
    ),
    Source(
        kind="database subnet group",
        service="rds",
        operation="describe_db_subnet_groups",
        items="DBSubnetGroups",
        id="DBSubnetGroupName",
        arn="DBSubnetGroupArn",
        vpc="VpcId",
    ),
    Source(
        kind="database parameter group",
        service="rds",
        operation="describe_db_parameter_groups",
        items="DBParameterGroups",
        id="DBParameterGroupName",
        arn="DBParameterGroupArn",
    ),
    Source(
        kind="cluster",
        service="eks",
        operation="list_clusters",
        items="clusters",
        id="@",
        resource="cluster",
    ),
    Source(
        kind="log group",
        service="logs",
        operation="describe_log_groups",
        items="logGroups",
        id="logGroupName",
        arn="logGroupArn || arn",
        page=50,
    ),
    Source(
        kind="alarm",
        service="cloudwatch",
        operation="describe_alarms",
        items="[MetricAlarms, CompositeAlarms][][]",
        id="AlarmName",
        arn="AlarmArn",
        arguments={"AlarmTypes": ["CompositeAlarm", "MetricAlarm"]},
        page=100,
    ),
    Source(
        kind="event rule",
        service="events",
        operation="list_rules",
        items="Rules",
        id="Name",
        arn="Arn",
    ),
    Source(
        kind="state machine",
        service="stepfunctions",
        operation="list_state_machines",
        items="stateMachines",
        id="name",
        arn="stateMachineArn",
    ),
    Source(
        kind="topic",
        service="sns",
        operation="list_topics",
        items="Topics",
        id="TopicArn",
        arn="TopicArn",
    ),
    Source(
        kind="secret",
        service="secretsmanager",
        operation="list_secrets",
        items="SecretList",
        id="Name",
        arn="ARN",
        tags="Tags",
    ),
    Source(
        kind="table",
        service="dynamodb",
        operation="list_tables",
        items="TableNames",
        id="@",
        resource="table",
    ),
    Source(
        kind="alias",
        service="kms",
        operation="list_aliases",
        items="Aliases[?TargetKeyId]",
        id="AliasName",
        name="TargetKeyId",
        arn="AliasArn",
        page=100,
    ),
)
_GLOBAL: Final = (
    Source(kind="bucket", service="s3", operation="list_buckets", items="Buckets", id="Name"),
    Source(
        kind="hosted zone",
        service="route53",
        operation="list_hosted_zones",
        items="HostedZones",
        id="Id",
        name="Name",
    ),
    Source(
        kind="role",
        service="iam",
        operation="list_roles",
        items="Roles",
        id="RoleName",
        arn="Arn",
    ),
    Source(
        kind="user", service="iam", operation="list_users", items="Users", id="UserName", arn="Arn"
    ),
    Source(
        kind="group",
        service="iam",
        operation="list_groups",
        items="Groups",
        id="GroupName",
        arn="Arn",
    ),
    Source(
        kind="policy",
        service="iam",
        operation="list_policies",
        items="Policies",
        id="PolicyName",
        arn="Arn",
        arguments={"Scope": "Local"},
    ),
    Source(
        kind="instance profile",
        service="iam",
        operation="list_instance_profiles",
        items="InstanceProfiles",
        id="InstanceProfileName",
        arn="Arn",
    ),
    Source(
        kind="oidc provider",
        service="iam",
        operation="list_open_id_connect_providers",
        items="OpenIDConnectProviderList",
        id="Arn",
        arn="Arn",
    ),
)
_SERVICES: Final = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
"""A client's name → the service's in ARNs, where they differ."""
_LISTED_HERE: Final = frozenset(
    {
        "autoscaling",
        "cloudwatch:alarm",
        "dynamodb:table",
        *(f"ec2:{source.resource}" for source in _REGIONAL if source.service == "ec2"),
        # It goes with its group.
        "ec2:security-group-rule",
        "ecr:repository",
        "eks",
        "elasticloadbalancing",
        "events:rule",
        "iam",
        "kms",
        "logs:log-group",
        "rds:auto-backup",
        "rds:db",
        "rds:pg",
        "rds:snapshot",
        "rds:subgrp",
        "route53:hostedzone",
        "s3",
        "secretsmanager:secret",
        "sns",
        "ssm:parameter",
        "states:stateMachine",
    }
)
"""Services, or kinds of theirs, whose own listing is believed: the tagging API goes on for a while
to name what is deleted."""
_ENCRYPTED: Final = {
    "database": "KmsKeyId",
    "database snapshot": "KmsKeyId",
    "log group": "kmsKeyId",
    "parameter": "KeyId",
    RETAINED: "KmsKeyId",
    "secret": "KmsKeyId",
    "snapshot": "KmsKeyId",
    "volume": "KmsKeyId",
}
"""Kind → where AWS says which key encrypts a thing: by id, by ARN or by an alias."""


class _Lister:
    """The listings of one account."""

    def __init__(self, access: Access) -> None:
        self.env = access.environment
        self.account_id = access.settings.account_id
        self.home = access.settings.region
        self.client: Callable[[str, str], Any] = cache(access.client)

    def pages(
        self, service: str, region: str, operation: str, page: int = 0, **arguments: Any
    ) -> Iterator[Any]:
        """Give every page of a listing. Raises `IncompleteError`."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = self.home if region == GLOBAL else region
        try:
            client = self.client(service, where)
            if client.can_paginate(operation):
                sizes = {"PaginationConfig": {"PageSize": page}} if page else {}
                yield from client.get_paginator(operation).paginate(**arguments, **sizes)
            else:
                yield getattr(client, operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise IncompleteError(
                f"What is there could not be listed completely: {service} {operation} in {where}: "
                f"{error}. Nothing was destroyed on such a basis. It needs the deploy role's "
                "permission to list; after throttling, run it again."
            ) from error

    def items(self, source: Source, region: str) -> list[Item]:
        """Give all that a source lists, others' included."""
        pages = self.pages(
            source.service, region, source.operation, source.page, **source.arguments
        )
        return [
            self._item(source, raw, region)
            for page in pages
            for raw in _search(source.items, page) or []
        ]

    def _item(self, source: Source, raw: Any, region: str) -> Item:
        id_ = str(_search(source.id, raw))
        name = _search(source.name, raw) if source.name else ""
        tags = tag_map(_search(source.tags, raw)) if source.tags else {}
        described = dict(raw) if isinstance(raw, Mapping) else {}
        if source.vpc:
            described["_vpc"] = _search(source.vpc, raw)
        return Item(
            kind=source.kind,
            id=id_,
            region=region,
            name=str(name or tags.get("Name", "")),
            arn=self._arn(source, raw, region, id_),
            tags=tags,
            raw=described,
        )

    def _arn(self, source: Source, raw: Any, region: str, id_: str) -> str:
        """Give the ARN by which the tagging API names a thing."""
        if source.arn:
            # Of a log group AWS also has a form that means the streams in it.
            return str(_search(source.arn, raw) or "").removesuffix(":*")
        if source.service == "s3":
            return f"arn:aws:s3:::{id_}"
        if not source.resource:
            return ""
        service = _SERVICES.get(source.service, source.service)
        return f"arn:aws:{service}:{region}:{self.account_id}:{source.resource}/{id_}"

    def tagged(self, region: str) -> dict[str, dict[str, str]]:
        """Give ARN → tags of what carries a tag of the environment or its cluster."""
        cluster = naming.cluster(self.env)
        filters: list[dict[str, Any]] = [
            {"Key": "environment", "Values": [self.env]},
            {"Key": f"kubernetes.io/cluster/{cluster}"},
            {"Key": "elbv2.k8s.aws/cluster", "Values": [cluster]},
        ]
        return {
            mapping["ResourceARN"]: tag_map(mapping["Tags"])
            for wanted in filters
            for page in self.pages(
                "resourcegroupstaggingapi", region, "get_resources", 100, TagFilters=[wanted]
            )
            for mapping in page["ResourceTagMappingList"]
        }

    def parameters(self, region: str) -> list[Item]:
        """Give the parameters under the environment's path."""
        under = [{"Key": "Path", "Option": "Recursive", "Values": [f"/{self.env}"]}]
        return [
            Item(kind="parameter", id=raw["Name"], region=region, raw=raw)
            for page in self.pages("ssm", region, "describe_parameters", 50, ParameterFilters=under)
            for raw in page["Parameters"]
        ]

    def repositories(self) -> list[Item]:
        """Give the account's image repositories."""
        return [
            Item(
                kind="repository",
                id=raw["repositoryName"],
                region=self.home,
                arn=raw["repositoryArn"],
                raw=raw,
            )
            for page in self.pages("ecr", self.home, "describe_repositories")
            for raw in page["repositories"]
        ]

    def tag_lookups(self, items: Sequence[Item]) -> Iterator[Callable[[], list[Item]]]:
        """Yield what gives items together with the tags that their own listing leaves out."""
        zones = [item for item in items if item.kind == "hosted zone"]
        for start in range(0, len(zones), _BATCH):
            yield _bound(self._zones, zones[start : start + _BATCH])
        for item in items:
            if item.kind == "event rule":
                yield _bound(self._rule, item)
            elif item.kind == "oidc provider":
                yield _bound(self._provider, item)

    def _zones(self, zones: Sequence[Item]) -> list[Item]:
        ids = [zone.id.rpartition("/")[2] for zone in zones]
        (page,) = self.pages(
            "route53", GLOBAL, "list_tags_for_resources", ResourceType="hostedzone", ResourceIds=ids
        )
        tags = {item["ResourceId"]: tag_map(item["Tags"]) for item in page["ResourceTagSets"]}
        return [_tagged(zone, tags.get(id_, {})) for zone, id_ in zip(zones, ids, strict=True)]

    def _rule(self, rule: Item) -> list[Item]:
        (page,) = self.pages("events", rule.region, "list_tags_for_resource", ResourceARN=rule.arn)
        return [_tagged(rule, tag_map(page["Tags"]))]

    def _provider(self, provider: Item) -> list[Item]:
        pages = self.pages(
            "iam", GLOBAL, "list_open_id_connect_provider_tags",
            OpenIDConnectProviderArn=provider.arn,
        )  # fmt: skip
        return [_tagged(provider, tag_map([tag for page in pages for tag in page["Tags"]]))]

    def key(self, arn: str) -> list[Item]:
        """Describe a key; nothing where it is gone: the tagging API goes on to name it."""
        region = arn.split(":")[3]
        try:
            (page,) = self.pages("kms", region, "describe_key", KeyId=arn)
        except IncompleteError as error:
            code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if code == "NotFoundException":
                return []
            raise
        raw = page["KeyMetadata"]
        return [Item(kind="key", id=raw["KeyId"], region=region, arn=arn, raw=raw)]


def inventory(access: Access, networks: Collection[str] = ()) -> Inventory:
    """List everything of an environment, in its home region and the one of its copies.

    `networks`: VPCs that were its own; what is in one still is, though the VPC has gone.

    Raises `IncompleteError` where any listing is denied, throttled beyond the retries or fails.
    """
    lister = _Lister(access)
    settings = access.settings
    regions = (settings.region, settings.secondary_region)
    asked: list[Callable[[], list[Item]]] = [
        *(_bound(lister.items, source, region) for region in regions for source in _REGIONAL),
        *(_bound(lister.items, source, GLOBAL) for source in _GLOBAL),
        *(_bound(lister.parameters, region) for region in regions),
        lister.repositories,
    ]
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        tagging = [pool.submit(lister.tagged, region) for region in regions]
        listed = [pool.submit(ask) for ask in asked]
        tags = {arn: found for future in tagging for arn, found in future.result().items()}
        arns = sorted(arn for arn in tags if ":kms:" in arn and ":key/" in arn)
        keys = [pool.submit(lister.key, arn) for arn in arns]
        found = {item.key: item for future in listed for item in future.result()}
        lookups = [pool.submit(ask) for ask in lister.tag_lookups(list(found.values()))]
        found |= {item.key: item for future in (*lookups, *keys) for item in future.result()}
    everything = list(found.values())
    ours = _ours(settings.environment, everything, tags, networks)
    return Inventory(
        items=tuple(sorted(ours, key=lambda item: item.key)),
        scanned=len(everything),
        listings=len(asked) + len(tagging),
        encrypted=encrypted(everything),
    )


def encrypted(items: Collection[Item]) -> dict[str, list[Item]]:
    """Give the id of each key together with what it encrypts."""
    aliases = {(item.region, item.id): item.name for item in items if item.kind == "alias"}
    found: dict[str, list[Item]] = {}
    for item in items:
        name = str(item.raw.get(_ENCRYPTED.get(item.kind, ""), "")).rpartition(":")[2]
        is_alias = name.startswith("alias/")
        key = aliases.get((item.region, name), "") if is_alias else name.rpartition("/")[2]
        if key:
            found.setdefault(key, []).append(item)
    return found


def _ours(
    env: str,
    items: Sequence[Item],
    tags: Mapping[str, Mapping[str, str]],
    networks: Collection[str],
) -> Iterator[Item]:
    items = [_tagged(item, tags[item.arn]) if item.arn in tags else item for item in items]
    vpcs = {item.id for item in items if item.kind == "vpc" and belongs(item, env)} | {*networks}
    for item in items:
        if belongs(item, env) or item.raw.get("_vpc") in vpcs:
            yield item
    for arn, found in tags.items():
        _, _, service, region, _, resource = arn.split(":", 5)
        type_ = re.split(r"[/:]", resource)[0]
        if not {service, f"{service}:{type_}"} & _LISTED_HERE:
            yield Item(
                kind=f"{service} {type_}", id=arn, region=region or GLOBAL, arn=arn, tags=found
            )


def belongs(item: Item, env: str) -> bool:
    """Tell whether something is an environment's, by its tags and else by its name."""
    cluster = naming.cluster(env)
    tags = item.tags
    if "environment" in tags:
        return tags["environment"] == env
    if is_of_cluster(item, cluster):
        return True
    database = tags.get("aws:rds:primaryDBInstanceArn", "").rpartition(":")[2]
    return is_named(item.id, env) or is_named(item.name, env) or is_named(database, env)


def is_of_cluster(item: Item, cluster: str) -> bool:
    """Tell whether a cluster has something, by the tags that EKS and its controllers put on."""
    names = ("elbv2.k8s.aws/cluster", "eks:cluster-name", "aws:eks:cluster-name")
    return f"kubernetes.io/cluster/{cluster}" in item.tags or cluster in map(item.tags.get, names)


def is_named(name: str, env: str) -> bool:
    """Tell whether a name is one of an environment's: of its prefix, its path or its suffix."""
    prefix = naming.prefix(env)
    log_group = naming.parameter_log_group(env)
    if name == log_group or name.startswith((f"/{env}/", f"{log_group}/")):
        return True
    return any(
        part == prefix
        or part.startswith(f"{prefix}-")
        or (part.startswith(f"{naming.PROJECT}-") and part.endswith(f"-{env}"))
        for part in re.split(r"[/:]", name)
    )


def tag_map(tags: Any) -> dict[str, str]:
    """Give tags in AWS's forms as a mapping."""
    return {str(tag.get("Key")): str(tag.get("Value", "")) for tag in tags or ()}


def _tagged(item: Item, tags: Mapping[str, str]) -> Item:
    return Item(
        kind=item.kind,
        id=item.id,
        region=item.region,
        name=item.name or tags.get("Name", ""),
        arn=item.arn,
        tags={**item.tags, **tags},
        raw=item.raw,
    )


def _bound(call: Callable[..., list[Item]], *arguments: Any) -> Callable[[], list[Item]]:
    return lambda: call(*arguments)


@cache
def _compiled(path: str) -> Any:
    import jmespath

    return jmespath.compile(path)


def _search(path: str, value: Any) -> Any:
    return _compiled(path).search(value)

"""What an environment computes with, looked at and asked of AWS: nodes, instances, databases.

Nothing here deletes or terminates anything: sizes are set, and what can be started again is
stopped. A request may be made twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from infra import naming
from infra.suspension import Sizes
from ops.access import is_expired
from ops.errors import AuthenticationError, IncompleteError

if TYPE_CHECKING:
    from ops.access import Access

INSTANCES_A_CALL: Final = 100
"""A batch that AWS takes as one, and whose failure is soon narrowed down."""
ALARMS_A_CALL: Final = 100
LISTINGS: Final = 32
"""Calls at once while looking."""
STOPPABLE: Final = ("available", "storage-optimization")
"""Statuses of a database in which RDS takes a request to stop it."""

Answer = Literal["settled", "accepted", "busy", "gone"]
"""settled: nothing had to be asked. busy: AWS takes the request later; ask again."""
OWN_ID: Final = Path("/sys/devices/virtual/dmi/id/board_asset_tag")
"""Where an instance of the Nitro system reads its own id, without asking anybody."""

_OF_ONE: Final = (
    "IncorrectInstanceState",
    "IncorrectSpotRequestState",
    "InsufficientInstanceCapacity",
    "InvalidInstanceID",
    "OperationNotPermitted",
    "UnauthorizedOperation",
    "UnsupportedOperation",
)
"""What EC2 refuses a whole batch with because of one of its instances."""
_SCALING_GROUP: Final = "aws:autoscaling:groupName"
_INSTANCE_ID: Final = re.compile(r"i-[0-9a-f]{8,17}")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class ScalingGroup:
    """An Auto Scaling group: what decides in the end how many instances there are."""

    name: str
    min: int
    desired: int
    environment: str = ""
    """What its tag says."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Id → its state in the group."""

    @property
    def rests(self) -> bool:
        """Tell whether it wants no instances."""
        return self.min == 0 and self.desired == 0


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """A managed node group."""

    cluster: str
    name: str
    sizes: Sizes
    status: str
    scaling_groups: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    """What EKS says is wrong with it."""
    scaled: tuple[ScalingGroup, ...] = ()
    """Its Auto Scaling groups as they are, where they were looked at as well."""

    @property
    def is_stopped(self) -> bool:
        """Tell whether EKS is asked for no nodes."""
        return self.sizes.min == 0 and self.sizes.desired == 0

    @property
    def computes(self) -> bool:
        """Tell whether nodes are wanted: its Auto Scaling groups know best, EKS may lag behind."""
        if not self.scaled:
            return not self.is_stopped
        return not all(group.rests for group in self.scaled)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance of the environment that no Auto Scaling group owns."""

    id: str
    name: str
    state: str
    kept: str = ""
    """Why it cannot be stopped; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """An RDS instance that settings let an emergency stop."""

    identifier: str
    status: str
    """Empty where it is not there."""
    kept: str = ""
    """Why it cannot be stopped; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class Estate:
    """What there is, as it was seen."""

    node_groups: tuple[NodeGroup, ...] = ()
    scaling_groups: tuple[ScalingGroup, ...] = ()
    """Those of the environment that are no node group's: no stop and no start touches them."""
    instances: tuple[Instance, ...] = ()
    here: str = ""
    """The instance that this command runs on; empty: none, or none that can be told."""
    databases: tuple[Database, ...] = ()
    alarms: Mapping[str, bool] = field(default_factory=dict)
    """Name → whether it tells anybody."""
    rule: str = ""
    """ENABLED or DISABLED: what keeps databases stopped; empty where there is none."""

    def to_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        said = asdict(self)
        said["node_groups"] = [
            {**asdict(group), "sizes": group.sizes.model_dump()} for group in self.node_groups
        ]
        return said


@contextmanager
def listing(what: str) -> Iterator[None]:
    """Turn what hinders a listing into the end of the plan: what is not seen is not decided on."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if is_expired(error):
            raise AuthenticationError(
                f"The AWS credentials ended while {what} were listed. Nothing was changed. Sign "
                "in again."
            ) from error
        raise IncompleteError(
            f"Not all {what} could be listed: {error}. Nothing was changed, since what is not "
            "seen cannot be decided on."
        ) from error


def observe(access: Access) -> Estate:
    """Look at everything that a stop and a start are about; change nothing.

    Raises `IncompleteError` where anything of it cannot be seen.
    """
    looks: list[Callable[[Access], Any]] = [
        node_groups,
        scaling_groups,
        machines,
        databases,
        alarms,
        rule,
    ]
    with ThreadPoolExecutor(max_workers=len(looks)) as pool:
        seen = [future.result() for future in [pool.submit(look, access) for look in looks]]
    return estate(access.environment, *seen)


def estate(
    environment: str,
    groups: Sequence[NodeGroup],
    scaling: Sequence[ScalingGroup],
    found: Machines,
    data: Sequence[Database],
    watching: Mapping[str, bool],
    restop: str,
) -> Estate:
    """Put together what was seen: which Auto Scaling group is whose."""
    by_name = {group.name: group for group in scaling}
    known = {name for group in groups for name in group.scaling_groups}
    others = [
        group
        for group in scaling
        if group.name not in known
        and (group.environment == environment or group.name in found.scaled_by)
    ]
    return Estate(
        node_groups=tuple(
            replace(
                group,
                scaled=tuple(by_name[name] for name in group.scaling_groups if name in by_name),
            )
            for group in groups
        ),
        scaling_groups=tuple(others),
        instances=found.alone,
        here=found.here,
        databases=tuple(data),
        alarms=watching,
        rule=restop,
    )


# Node groups ---------------------------------------------------------------------------------


def node_groups(access: Access) -> tuple[NodeGroup, ...]:
    """List the managed node groups of the environment's clusters."""
    with listing("node groups"):
        listed = _at_once(lambda cluster: _names(access, cluster), _candidates(access))
        names = [pair for pairs in listed for pair in pairs]
        found = _at_once(lambda pair: node_group(access, *pair), names)
    return tuple(group for group in found if group is not None)


def node_group(access: Access, cluster: str, name: str) -> NodeGroup | None:
    """Look at a node group; None: it is not there."""
    from botocore.exceptions import ClientError

    try:
        said = access.client("eks").describe_nodegroup(clusterName=cluster, nodegroupName=name)
    except ClientError as error:
        if _code(error) == "ResourceNotFoundException":
            return None
        raise
    group = said["nodegroup"]
    sizes = group["scalingConfig"]
    return NodeGroup(
        cluster=cluster,
        name=name,
        sizes=Sizes(min=sizes["minSize"], desired=sizes["desiredSize"], max=sizes["maxSize"]),
        status=group["status"],
        scaling_groups=tuple(
            item["name"] for item in (group.get("resources") or {}).get("autoScalingGroups", [])
        ),
        issues=tuple(
            f"{issue['code']}: {issue['message']}"
            for issue in (group.get("health") or {}).get("issues", [])
        ),
    )


def empty(access: Access, cluster: str, name: str) -> Answer:
    """Ask EKS for no nodes, without looking first: in an emergency that is a call too many."""
    return _update(access, cluster, name, {"minSize": 0, "desiredSize": 0})


def resize(access: Access, group: NodeGroup, sizes: Sizes) -> Answer:
    """Ask EKS for other sizes of a node group."""
    if group.sizes == sizes:
        return "settled"
    wanted = {"minSize": sizes.min, "desiredSize": sizes.desired, "maxSize": sizes.max}
    return _update(access, group.cluster, group.name, wanted)


def _update(access: Access, cluster: str, name: str, scaling: Mapping[str, int]) -> Answer:
    from botocore.exceptions import ClientError

    try:
        access.client("eks").update_nodegroup_config(
            clusterName=cluster, nodegroupName=name, scalingConfig=scaling
        )
    except ClientError as error:
        if _code(error) == "ResourceInUseException":
            return "busy"
        if _code(error) == "ResourceNotFoundException":
            return "gone"
        if _code(error).startswith("Invalid") and _has(access, cluster, name, scaling):
            return "settled"
        raise
    return "accepted"


def _has(access: Access, cluster: str, name: str, scaling: Mapping[str, int]) -> bool:
    """Tell whether a node group has these sizes already, which EKS may refuse to be asked for."""
    group = node_group(access, cluster, name)
    if group is None:
        return False
    sizes = group.sizes
    now = {"minSize": sizes.min, "desiredSize": sizes.desired, "maxSize": sizes.max}
    return all(now[key] == value for key, value in scaling.items())


def _candidates(access: Access) -> list[str]:
    """List the clusters that may be the environment's: its own, and others called after it."""
    own = naming.cluster(access.environment)
    pages = access.client("eks").get_paginator("list_clusters").paginate()
    names = [name for page in pages for name in page["clusters"]]
    return [name for name in names if name == own or name.startswith(f"{own}-")]


def _names(access: Access, cluster: str) -> list[tuple[str, str]]:
    """List the node groups of a cluster; none where it is not tagged as the environment's."""
    eks = access.client("eks")
    if cluster != naming.cluster(access.environment):
        tags = eks.describe_cluster(name=cluster)["cluster"].get("tags", {})
        if tags.get("environment") != access.environment:
            return []
    pages = eks.get_paginator("list_nodegroups").paginate(clusterName=cluster)
    return [(cluster, name) for page in pages for name in page["nodegroups"]]


# Auto Scaling groups -------------------------------------------------------------------------


def scaling_groups(access: Access) -> tuple[ScalingGroup, ...]:
    """List the region's Auto Scaling groups."""
    with listing("Auto Scaling groups"):
        return tuple(_described_groups(access))


def scaled(access: Access, names: Sequence[str]) -> tuple[ScalingGroup, ...]:
    """Look at the Auto Scaling groups with these names that are there."""
    if not names:
        return ()  # no names at all would be all of them
    return tuple(_described_groups(access, AutoScalingGroupNames=list(names)))


def _described_groups(access: Access, **asked: Any) -> Iterator[ScalingGroup]:
    pages = access.client("autoscaling").get_paginator("describe_auto_scaling_groups")
    for page in pages.paginate(**asked):
        for item in page["AutoScalingGroups"]:
            yield ScalingGroup(
                name=item["AutoScalingGroupName"],
                min=item["MinSize"],
                desired=item["DesiredCapacity"],
                environment=_tags(item).get("environment", ""),
                instances={
                    instance["InstanceId"]: instance["LifecycleState"]
                    for instance in item.get("Instances", [])
                },
            )


def rescale(access: Access, name: str, *, least: int, wanted: int) -> str:
    """Set the sizes of a node group's Auto Scaling group itself, but for the most; give why not.

    For where EKS does not do it: when that is next asked for sizes, it sets those. Raises where
    the credentials have ended.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        access.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=least, DesiredCapacity=wanted
        )
    except (BotoCoreError, ClientError) as error:
        if is_expired(error):
            raise
        return f"Auto Scaling group {name} could not be set: {error}"
    return ""


# Instances -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The environment's instances that are not gone."""

    alone: tuple[Instance, ...]
    """Those that no Auto Scaling group owns."""
    scaled_by: frozenset[str]
    """The Auto Scaling groups that own the others."""
    here: str = ""
    """As in `Estate`."""


def machines(access: Access) -> Machines:
    """List the environment's instances."""
    filters = [
        {"Name": "tag:environment", "Values": [access.environment]},
        {
            "Name": "instance-state-name",
            "Values": ["pending", "running", "stopping", "stopped"],
        },
    ]
    with listing("instances"):
        found = list(_described_instances(access, filters))
    here = own_id()
    return Machines(
        alone=tuple(_instance(item, here) for item in found if _SCALING_GROUP not in _tags(item)),
        scaled_by=frozenset(
            name for item in found if (name := _tags(item).get(_SCALING_GROUP, ""))
        ),
        here=here,
    )


def own_id() -> str:
    """Give the id of the instance that this command runs on; empty: it runs on none, or unknown."""
    try:
        said = OWN_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return said if _INSTANCE_ID.fullmatch(said) else ""


def states(access: Access, ids: Sequence[str]) -> dict[str, str]:
    """Give the states of instances; one that is not there any more is left out."""
    filters = [{"Name": "instance-id", "Values": list(ids)}]
    return {
        item["InstanceId"]: item["State"]["Name"] for item in _described_instances(access, filters)
    }


def switch(access: Access, verb: Literal["start", "stop"], ids: Sequence[str]) -> dict[str, str]:
    """Ask EC2 to start or stop instances; give why for those that it refuses.

    One that it refuses holds up none of the others.
    """
    from botocore.exceptions import ClientError

    if not ids:
        return {}
    ec2 = access.client("ec2")
    try:
        getattr(ec2, f"{verb}_instances")(InstanceIds=list(ids))
    except ClientError as error:
        if not _code(error).startswith(_OF_ONE):
            raise
        if len(ids) == 1:
            return {ids[0]: str(error)}
        named = set(re.findall(r"\bi-[0-9a-f]+\b", str(error))) & set(ids)
        parts = _parts(ids, named)
        refused: dict[str, str] = {}
        for part in parts:
            refused |= switch(access, verb, part)
        return refused
    return {}


def _parts(ids: Sequence[str], named: set[str]) -> list[list[str]]:
    """Divide a refused batch: those that the refusal names one by one, or else in halves."""
    if named:
        rest = [id_ for id_ in ids if id_ not in named]
        return [rest, *([id_] for id_ in ids if id_ in named)]
    middle = len(ids) // 2
    return [list(ids[:middle]), list(ids[middle:])]


def _described_instances(
    access: Access, filters: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    pages = access.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    for page in pages:
        for reservation in page["Reservations"]:
            yield from reservation["Instances"]


def _instance(item: Mapping[str, Any], own: str) -> Instance:
    kept = ""
    if item["InstanceId"] == own:
        kept = "this command runs on it"
    elif item.get("InstanceLifecycle") == "spot":
        kept = "a spot instance, which stopping may end"
    elif item.get("RootDeviceType") == "instance-store":
        kept = "its root is in the instance store, which cannot be stopped"
    return Instance(
        id=item["InstanceId"],
        name=_tags(item).get("Name", ""),
        state=item["State"]["Name"],
        kept=kept,
    )


def _tags(item: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


# Databases -----------------------------------------------------------------------------------


def databases(access: Access) -> tuple[Database, ...]:
    """List the databases that settings let a stop stop, whether or not they are there."""
    wanted = [item.identifier for item in access.settings.databases if item.stop_on_emergency]
    if not wanted:
        return ()
    with listing("databases"):
        pages = access.client("rds").get_paginator("describe_db_instances").paginate()
        found = {
            item["DBInstanceIdentifier"]: item for page in pages for item in page["DBInstances"]
        }
    return tuple(
        _database(found[name]) if name in found else Database(identifier=name, status="")
        for name in wanted
    )


def database_status(access: Access, identifier: str) -> str:
    """Give the status of a database; empty: it is not there."""
    from botocore.exceptions import ClientError

    try:
        said = access.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)
    except ClientError as error:
        if _code(error).startswith("DBInstanceNotFound"):
            return ""
        raise
    return str(said["DBInstances"][0]["DBInstanceStatus"])


def stop_database(access: Access, identifier: str) -> Answer:
    """Ask RDS to stop a database; it takes that when nothing else is under way."""
    return _switch_database(access, identifier, "stop", settled=("stopped", "stopping"))


def start_database(access: Access, identifier: str) -> Answer:
    """Ask RDS to start a database; it takes that when it is stopped."""
    return _switch_database(access, identifier, "start", settled=("available", "starting"))


def _switch_database(
    access: Access,
    identifier: str,
    verb: Literal["start", "stop"],
    *,
    settled: Sequence[str],
) -> Answer:
    from botocore.exceptions import ClientError

    try:
        getattr(access.client("rds"), f"{verb}_db_instance")(DBInstanceIdentifier=identifier)
    except ClientError as error:
        if _code(error).startswith("DBInstanceNotFound"):
            return "gone"
        if not _code(error).startswith("InvalidDBInstanceState"):
            raise
        return "settled" if database_status(access, identifier) in settled else "busy"
    return "accepted"


def _database(item: Mapping[str, Any]) -> Database:
    kept = ""
    if item.get("ReadReplicaSourceDBInstanceIdentifier"):
        kept = f"a read replica of {item['ReadReplicaSourceDBInstanceIdentifier']}"
    elif item.get("ReadReplicaDBInstanceIdentifiers"):
        kept = f"it has read replicas: {', '.join(item['ReadReplicaDBInstanceIdentifiers'])}"
    elif item.get("DBClusterIdentifier"):
        kept = f"a member of the cluster {item['DBClusterIdentifier']}"
    return Database(
        identifier=item["DBInstanceIdentifier"], status=item["DBInstanceStatus"], kept=kept
    )


# Alarms and the rule -------------------------------------------------------------------------


def alarms(access: Access) -> dict[str, bool]:
    """List the alarms that are silent during a suspension: name → whether they tell anybody."""
    with listing("alarms"):
        pages = (
            access.client("cloudwatch")
            .get_paginator("describe_alarms")
            .paginate(
                AlarmNamePrefix=naming.silenced_alarms(access.environment),
                AlarmTypes=["MetricAlarm"],
            )
        )
        return {
            alarm["AlarmName"]: bool(alarm["ActionsEnabled"])
            for page in pages
            for alarm in page["MetricAlarms"]
        }


def tell(access: Access, names: Sequence[str], *, on: bool) -> None:
    """Let alarms tell, or not."""
    client = access.client("cloudwatch")
    change = client.enable_alarm_actions if on else client.disable_alarm_actions
    for begin in range(0, len(names), ALARMS_A_CALL):
        change(AlarmNames=list(names[begin : begin + ALARMS_A_CALL]))


def rule(access: Access) -> str:
    """Give the state of the rule that keeps databases stopped; empty: there is none."""
    from botocore.exceptions import ClientError

    with listing("rules"):
        try:
            said = access.client("events").describe_rule(
                Name=naming.database_restop(access.environment)
            )
        except ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                return ""
            raise
    return str(said["State"])


def set_rule(access: Access, *, enabled: bool) -> None:
    """Enable or disable the rule that keeps databases stopped."""
    client = access.client("events")
    change = client.enable_rule if enabled else client.disable_rule
    change(Name=naming.database_restop(access.environment))


def _at_once(look: Callable[[T], R], items: Sequence[T]) -> list[R]:
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(LISTINGS, len(items))) as pool:
        return list(pool.map(look, items))


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))

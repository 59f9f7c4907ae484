"""What a teardown would lose, what it would leave, and what is nobody's: told before it is done.

Pure, but for `gather`, which asks. What changes by itself, such as sizes and moments, is told and
is no part of what the plan rests on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.render import Line
from ops.teardown import prices
from ops.teardown.clean_up import Claim, Contents
from ops.teardown.destroy import State, in_cloud
from ops.teardown.left_behind import is_left, is_lingering
from ops.teardown.listing import GLOBAL, RETAINED, Inventory, Item

if TYPE_CHECKING:
    from ops.access import Access
    from ops.plan import Plan

_KEY: Final = "aws:kms/key:Key"
_LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"
_USER: Final = "aws:iam/user:User"
_SECRET_TYPE: Final = "aws:secretsmanager/secret:Secret"  # noqa: S105 - no password
_DEFAULT_WINDOW: Final = 30
"""Days after which AWS deletes a key where nothing else is said."""
_LISTED: Final = 12
_SERVED: Final = frozenset(
    {
        "api_gateway_managed",
        "aws_codestar_connections_managed",
        "efs",
        "global_accelerator_managed",
        "iot_rules_managed",
        "lambda",
        "quicksight",
        "transit_gateway",
    }
)
"""Interfaces that AWS manages for services of which an environment has nothing."""


@dataclass(frozen=True, kw_only=True)
class Backups:
    """What of earlier backups counts."""

    last: str = ""
    """The newest whole one; empty: there is none."""
    verified: str = ""
    proven: str = ""
    """What is known of the last one that was restored onto copies, all of it; empty: none was."""
    rehearsed: str = ""
    """What the last rehearsal has shown, where it is another."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What there is, sorted by what becomes of it."""

    environment: str
    databases: tuple[Item, ...] = ()
    automated: tuple[Item, ...] = ()
    """Automated snapshots, which go with their instance."""
    backups: Backups = Backups()
    parameters: tuple[Item, ...] = ()
    """Those that operators own, and no state knows."""
    program_parameters: int = 0
    records: int = 0
    """Parameters by which operators keep records. No part of the facts: to approve makes one."""
    secrets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    keys: tuple[tuple[str, str, int], ...] = ()
    """Name, id and days until it is deleted."""
    log_groups: tuple[str, ...] = ()
    """Of the state, and others where its own resources write to."""
    stays: tuple[Item, ...] = ()
    left_alone: tuple[Item, ...] = ()
    """The environment's, but of no state: nobody has said that it may go."""
    networks: tuple[str, ...] = ()
    """The VPCs that go."""
    types: Mapping[str, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Give what the plan rests on: nothing that changes by itself."""
        return {
            "databases": [item.id for item in self.databases],
            "parameters": [item.id for item in self.parameters],
            "program_parameters": self.program_parameters,
            "secrets": list(self.secrets),
            "users": list(self.users),
            "claims": [claim.name for claim in self.claims],
            "kept_volumes": [item.handle for item in self.claims if item.retained],
            "keys": [list(key) for key in self.keys],
            "log_groups": list(self.log_groups),
            "stays": [item.label for item in self.stays],
            "left_alone": [item.label for item in self.left_alone],
            "networks": list(self.networks),
            "types": dict(self.types),
        }

    def notes(self, now: dt.datetime) -> tuple[str, ...]:
        """Give what the operator should know besides: sizes, moments and costs."""
        return tuple(self._notes(now))

    def _notes(self, now: dt.datetime) -> Iterator[str]:
        yield from (_database(item, self.automated) for item in self.databases)
        if self.databases:
            last = self.backups.last
            yield (
                f"last backup before this one: {last}, verified {self.backups.verified or 'never'}"
                if last
                else "there is no earlier backup"
            )
            yield f"last proven restore: {self.backups.proven or 'never'}"
            if self.backups.rehearsed:
                yield f"last rehearsal: {self.backups.rehearsed}"
        for claim in self.claims:
            fate = "stays in AWS, as its reclaim policy says" if claim.retained else "is deleted"
            volume = claim.handle or claim.volume or "no volume"
            yield (
                f"volume of {claim.name}: {claim.size or 'size unknown'}, {volume}: {fate}; no "
                "backup has its content"
            )
        for name, id_, days in self.keys:
            yield (
                f"key {name} ({id_}): AWS deletes it {days} days after, on "
                f"{now + dt.timedelta(days=days):%Y-%m-%d} if that is today; until then: "
                f"aws kms cancel-key-deletion --key-id {id_}"
            )
        yield from _staying(self.stays)
        if self.records:
            yield f"stays: {self.records} records of the operators, such as approvals; free"
        if self.left_alone:
            cost, unpriced = prices.total(self.left_alone)
            yield (
                f"left alone, since no state knows it: {_names(self.left_alone)}; "
                f"${cost} a month, {unpriced} unpriced"
            )


def sort_out(
    state: State,
    found: Inventory,
    contents: Contents,
    *,
    environment: str,
    foundation: Iterable[Item],
    home: str,
    log_groups: Sequence[str],
) -> Losses:
    """Sort what there is by what a teardown makes of it.

    What no state knows is swept in the `home` region alone, which backup and state are of, and of
    log groups only those whose names match one of the patterns that the deploy role is limited to.
    """
    known = names_of(state)
    of_foundation = {item.key for item in foundation}
    outside = [item for item in found.items if not is_known(item, known, home)]
    base = tuple(item for item in found.items if item.key in of_foundation)
    kept = kept_backups(found.items)
    records = [item for item in found.items if is_record(item, environment)]
    parameters = tuple(
        item
        for item in outside
        if item.kind == "parameter"
        and item.region == home
        and item.id.startswith(f"{naming.parameter_path(environment)}/")
    )
    groups = [
        item
        for item in outside
        if item.kind == "log group"
        and item.region == home
        and any(fnmatchcase(item.id, pattern) for pattern in log_groups)
    ]
    stated = [str(entry["id"]) for entry in state.entries if entry["type"] == _LOG_GROUP]
    taken = {item.key for item in (*base, *kept, *records, *parameters, *groups)}
    taken |= derived(found.items, environment)
    going = {claim.handle for claim in contents.claims if not claim.retained}
    return Losses(
        environment=environment,
        databases=tuple(item for item in found.of("database") if is_known(item, known, home)),
        automated=tuple(item for item in found.of("database snapshot") if item not in kept),
        parameters=parameters,
        program_parameters=sum(is_known(item, known, home) for item in found.of("parameter")),
        records=len(records),
        secrets=_named(state, _SECRET_TYPE),
        users=_named(state, _USER),
        claims=contents.claims,
        keys=tuple(
            sorted(
                (
                    str(entry["urn"]).rpartition("::")[2],
                    str(entry["id"]),
                    int((entry.get("inputs") or {}).get("deletionWindowInDays", _DEFAULT_WINDOW)),
                )
                for entry in state.entries
                if entry["type"] == _KEY
            )
        ),
        log_groups=tuple(sorted({*stated, *(item.id for item in groups)})),
        stays=(*base, *kept),
        left_alone=tuple(
            item
            for item in outside
            if item.key not in taken
            and not (item.kind == "volume" and item.id in going)
            and not item.is_pending_deletion
        ),
        networks=tuple(item.id for item in found.of("vpc")),
        types=_types(state),
    )


def kept_backups(items: Sequence[Item]) -> list[Item]:
    """Give what outlives databases: snapshots, and automated backups that somebody kept."""
    retained = {item.id for item in items if item.kind == RETAINED}
    return [
        item
        for item in items
        if item.kind == RETAINED
        or is_kept_snapshot(item)
        or (item.kind == "database snapshot" and item.raw.get("DbiResourceId") in retained)
    ]


def is_kept_snapshot(item: Item) -> bool:
    """Tell whether an item is a snapshot that outlives its database."""
    return item.kind == "database snapshot" and item.raw.get("SnapshotType") != "automated"


def is_record(item: Item, environment: str) -> bool:
    """Tell whether an item is a record of the operators', such as a sign-off."""
    path = naming.parameter_path(environment, naming.OPS_APP)
    return item.kind == "parameter" and item.id.startswith(f"{path}/")


def derived(items: Sequence[Item], environment: str) -> frozenset[tuple[str, str, str]]:
    """Give the keys of what comes and goes with what is in the state, made by AWS itself."""
    cluster = naming.cluster(environment)
    nodes = {item.id for item in items if item.kind == "instance" and is_node(item)}
    return frozenset(item.key for item in items if _is_derived(item, cluster, nodes))


def is_node(instance: Item) -> bool:
    """Tell whether an instance is one that a group of nodes has made, and ends."""
    return bool({"aws:autoscaling:groupName", "eks:cluster-name"} & instance.tags.keys())


def _is_derived(item: Item, cluster: str, nodes: Collection[str]) -> bool:
    raw = item.raw
    match item.kind:
        case "auto scaling group":
            found = True
        case "instance":
            found = item.id in nodes
        case "network interface":
            managed = bool(raw.get("RequesterManaged")) and raw.get("InterfaceType") not in _SERVED
            of_node = (raw.get("Attachment") or {}).get("InstanceId") in nodes
            found = managed or of_node or is_lingering(raw, cluster)
        case "volume":
            attached = raw.get("Attachments") or ()
            found = any(attachment.get("InstanceId") in nodes for attachment in attached)
        case "security group":
            own = f"eks-cluster-sg-{cluster}-"
            found = is_left(raw, cluster) or str(raw.get("GroupName", "")).startswith(own)
        case "launch template":
            found = str(raw.get("LaunchTemplateName", "")).startswith("eks-")
        case "secret":
            found = item.id.startswith("rds!")
        case "database snapshot":
            found = not is_kept_snapshot(item)
        case _:
            found = False
    return found


def is_known(item: Item, known: frozenset[str], home: str) -> bool:
    """Tell whether a state of the `home` region names an item, by ARN, and there by id or name.

    In another region something else may have the same name.
    """
    if item.region not in (home, GLOBAL):
        return item.arn in known
    return bool({item.id, item.arn, item.id.rpartition("/")[2], item.id.strip("/")} & known)


def names_of(state: State) -> frozenset[str]:
    """Give the words by which a state names what it knows: ids, ARNs and names."""
    words: set[str] = set()
    for entry in state.entries:
        outputs = entry.get("outputs") or {}
        candidates = (entry.get("id"), outputs.get("arn"), outputs.get("name"))
        words.update(word for word in candidates if isinstance(word, str) and word)
        if entry["type"] == "aws:rds/instance:Instance":
            words.add(str((entry.get("inputs") or {}).get("identifier", "")))
    return frozenset(words - {""})


def _named(state: State, type_: str) -> tuple[str, ...]:
    return tuple(
        sorted(
            str((entry.get("outputs") or {}).get("name") or entry["id"])
            for entry in state.entries
            if entry["type"] == type_
        )
    )


def _types(state: State) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in state.entries:
        if in_cloud(entry):
            counts[entry["type"]] = counts.get(entry["type"], 0) + 1
    return dict(sorted(counts.items()))


def _database(item: Item, automated: Sequence[Item]) -> str:
    raw = item.raw
    own = [snapshot for snapshot in automated if snapshot.name == item.id]
    made = [
        snapshot.raw["SnapshotCreateTime"]
        for snapshot in own
        if "SnapshotCreateTime" in snapshot.raw
    ]
    restorable = raw.get("LatestRestorableTime")
    back = f"to any moment until {_moment(restorable)}" if restorable else "to no moment of its own"
    newest = f", the newest of {_moment(max(made))}" if made else ""
    return (
        f"database {item.id}: {raw.get('AllocatedStorage', '?')} GiB {raw.get('Engine', '')} "
        f"{raw.get('EngineVersion', '')}, {raw.get('DBInstanceStatus', '')}; goes with "
        f"{len(own)} automated backups{newest}, and can be restored {back} until it goes; a last "
        "snapshot stays"
    )


def _staying(items: Sequence[Item]) -> Iterator[str]:
    if not items:
        return
    cost, unpriced = prices.total(items)
    yield (
        f"stays: {_names(items)}; ${cost} a month by {prices.basis()}, {unpriced} unpriced "
        "(paid by use)"
    )


def _names(items: Sequence[Item]) -> str:
    by_kind: dict[str, int] = {}
    for item in items:
        by_kind[item.kind] = by_kind.get(item.kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(by_kind.items()))


def _moment(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, dt.datetime) else str(value)


# Asking --------------------------------------------------------------------------------------


def last_backups(access: Access) -> Backups:
    """Give what earlier backups there are. Raises `IncompleteError` where that cannot be read."""
    from ops.backup.audit import entries
    from ops.backup.store import open_store

    whole = [entry for entry in entries(open_store(access)) if entry.complete]
    rehearsals = sorted((item.proof.at, item.id, item.proof) for item in whole if item.proof)
    proven = [f"{proof.said} ({id_})" for _, id_, proof in rehearsals if proof.whole][-1:]
    rehearsed = [f"{proof.said} ({id_})" for _, id_, proof in rehearsals][-1:]
    return Backups(
        last=whole[-1].id if whole else "",
        verified=whole[-1].verified if whole else "",
        proven="".join(proven),
        rehearsed="".join(rehearsed) if rehearsed != proven else "",
    )


def sizes(access: Access, items: Sequence[Item], now: dt.datetime) -> tuple[str, ...]:
    """Say how much is in buckets and repositories; what is not measured yet is unknown."""
    return (
        *(_bucket_size(access, item, now) for item in items if item.kind == "bucket"),
        *(_images(access, item) for item in items if item.kind == "repository"),
    )


def _bucket_size(access: Access, bucket: Item, now: dt.datetime) -> str:
    cloudwatch = access.client("cloudwatch")

    def newest(metric: str, storage: str) -> float | None:
        answer = cloudwatch.get_metric_statistics(
            Namespace="AWS/S3",
            MetricName=metric,
            Dimensions=[
                {"Name": "BucketName", "Value": bucket.id},
                {"Name": "StorageType", "Value": storage},
            ],
            StartTime=now - dt.timedelta(days=3),
            EndTime=now,
            Period=86_400,
            Statistics=["Average"],
        )
        points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return float(points[-1]["Average"]) if points else None

    number, size = (
        newest("NumberOfObjects", "AllStorageTypes"),
        newest("BucketSizeBytes", "StandardStorage"),
    )
    if number is None or size is None:
        return f"bucket {bucket.id}: how much is in it has not been measured yet; all versions go"
    return f"bucket {bucket.id}: {number:.0f} objects, {size:.0f} bytes; all versions go"


def _images(access: Access, repository: Item) -> str:
    pages = (
        access.client("ecr").get_paginator("describe_images").paginate(repositoryName=repository.id)
    )
    images = [image for page in pages for image in page["imageDetails"]]
    total = sum(int(image.get("imageSizeInBytes", 0)) for image in images)
    return f"repository {repository.id}: {len(images)} images, {total} bytes"


# Showing -------------------------------------------------------------------------------------

_WORDS: Final = (
    ("databases", "databases"),
    ("claims", "claims of volumes"),
    ("parameters", "parameters of operators"),
    ("secrets", "secrets, deleted at once"),
    ("users", "users, with their keys, passwords and devices"),
    ("log_groups", "log groups"),
)


def shown(plan: Plan) -> list[Line]:
    """Give the data-loss report of a plan as people read it."""
    facts = plan.facts
    if not plan.steps:
        return []
    total = sum(facts["types"].values())
    lines = [
        Line(f"Teardown of {plan.environment}: {total} resources in the state. It loses:", "bold")
    ]
    for key, words in _WORDS:
        names = list(facts[key])
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            lines.append(Line(f"    {words} ({len(names)}): {', '.join(names[:_LISTED])}{more}"))
    keys = facts["keys"]
    if keys:
        lines.append(Line(f"    keys ({len(keys)}): {', '.join(name for name, _, _ in keys)}"))
    lines.append(Line(f"It leaves {len(facts['stays'])} things that outlive it.", "bold"))
    lines.append(Line(""))
    return lines

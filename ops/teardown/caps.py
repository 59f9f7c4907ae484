"""How much one teardown may take with it, and what it may never touch: decided purely.

The caps are on by default, and above what an environment has. A plan that reaches one is refused
whole; an operator who means it raises that cap by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from infra import naming
from ops.errors import RefusedError, UsageError
from ops.plan import Cap, Plan, Step, refuse_over_caps
from ops.teardown.destroy import State, in_cloud
from ops.teardown.listing import RETAINED, Inventory, Item, is_of_cluster, tag_map
from ops.teardown.report import Losses, derived, is_known, is_node, names_of

OPTION: Final = "--max"
KINDS: Final[Mapping[str, str]] = {
    "aws:dynamodb/table:Table": "table",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ecr/repository:Repository": "repository",
    "aws:eks/cluster:Cluster": "cluster",
    "aws:iam/user:User": "user",
    "aws:kms/key:Key": "key",
    "aws:rds/cluster:Cluster": "database",
    "aws:rds/instance:Instance": "database",
    "aws:route53/zone:Zone": "zone",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:s3/bucketV2:BucketV2": "bucket",
    "aws:secretsmanager/secret:Secret": "secret",
}
"""Resource type → what a cap calls it; the others are `resource`."""
CAPS: Final[Mapping[str, Cap]] = {
    "balancer": Cap(number=10),
    "bucket": Cap(number=6),
    "claim": Cap(number=30),
    "cluster": Cap(number=1),
    "database": Cap(number=3),
    "key": Cap(number=12),
    # Of all that goes: more than half that no state knows is a wrong state, not an environment.
    "outside": Cap(number=300, percent=50),
    "repository": Cap(number=10),
    "resource": Cap(number=1500),
    "secret": Cap(number=100),
    "table": Cap(number=2),
    "user": Cap(number=60),
    "vpc": Cap(number=1),
    "zone": Cap(number=2),
}
"""What a cap calls it → how many of it one teardown may take."""
_ARN: Final = re.compile(r"arn:[^:]*:[^:]*:[^:]*:(?P<account>[^:]*):")
_PROVIDER: Final = "pulumi:providers:aws"
_BALANCERS: Final = ("load balancer", "classic load balancer")
_HOLDING: Final = (
    *_BALANCERS,
    "database",
    "instance",
    "internet gateway",
    "nat gateway",
    "network acl",
    "network interface",
    "route table",
    "security group",
    "subnet",
    "vpc endpoint",
)
"""Kinds of things that keep AWS from deleting the network that they are in."""
_ENDING: Final = ("deleted", "deleting", "failed", "shutting-down")
_OTHER_KEY: Final[Mapping[str, str]] = {
    "database": "restore a snapshot of it that was copied under another key, or delete it",
    "database snapshot": "copy it under another key (aws rds copy-db-snapshot --kms-key-id) and "
    "delete it",
    "log group": "export what is still needed of it, and delete it",
    "parameter": "write it again under another key (aws ssm put-parameter --overwrite --key-id), "
    "or delete it",
    RETAINED: "restore it and copy that under another key, or delete it "
    "(aws rds delete-db-instance-automated-backup --dbi-resource-id)",
    "secret": "give it another key (aws secretsmanager update-secret --kms-key-id), or delete it",
    "snapshot": "copy it under another key (aws ec2 copy-snapshot --encrypted --kms-key-id) and "
    "delete it",
    "volume": "make one under another key of a snapshot of it, and delete it; that of a claim goes "
    "with the claim where its persistent volume's reclaim policy is Delete",
}
"""Kind → how it is made independent of a key."""


def refuse_too_much(
    plan: Plan, state: State, losses: Losses, balancers: Iterable[str], raised: Mapping[str, int]
) -> None:
    """Refuse the whole plan where it takes more of a kind than it may."""
    touched = [
        *(_kind(str(entry["type"])) for entry in state.entries if in_cloud(entry)),
        *("outside" for _ in losses.parameters),
        *("claim" for _ in losses.claims),
        *("balancer" for _ in balancers),
    ]
    # After a destroy that went through nothing is in the state, and all that is left is outside.
    totals = {"outside": len(touched)} if state.entries else {}
    refuse_counted(plan, touched, raised, totals)


def refuse_counted(
    plan: Plan,
    touched: Iterable[str],
    raised: Mapping[str, int],
    totals: Mapping[str, int] | None = None,
) -> None:
    """Refuse a plan that touches these, an entry each, where one cap is passed."""
    counted = Plan(
        command=plan.command,
        environment=plan.environment,
        account_id=plan.account_id,
        region=plan.region,
        steps=tuple(
            Step(id=str(number), action="", kind=kind, target="", summary="")
            for number, kind in enumerate(touched)
        ),
    )
    caps = {**CAPS, **{kind: Cap(number=number) for kind, number in raised.items()}}
    refuse_over_caps(counted, totals or {}, caps, option=OPTION)


def kind_of_item(item: Item) -> str:
    """Give what a cap calls something that was listed."""
    return item.kind if item.kind in CAPS else "resource"


def parse(given: Iterable[str]) -> dict[str, int]:
    """Give the caps that an operator raises: `KIND=NUMBER`. Raises `UsageError`."""
    raised: dict[str, int] = {}
    for text in given:
        kind, _, number = text.partition("=")
        if kind not in CAPS or not number.isdigit():
            raise UsageError(
                f"{OPTION} {text}: expected KIND=NUMBER, and KIND one of {', '.join(CAPS)}. "
                "Nothing was changed."
            )
        raised[kind] = int(number)
    return raised


def refuse_others(state: State, environment: str, account_id: str) -> None:
    """Refuse a state that describes another account, or things of another environment."""
    accounts = sorted(_accounts(state) - {account_id, "aws", ""})
    if accounts:
        raise RefusedError(
            f"The state describes account {', '.join(accounts)}, and the stack file says "
            f"{account_id}. Nothing was changed. It is the wrong state, or the wrong file: one of "
            "them has to be put right first."
        )
    others = [
        f"{str(entry['urn']).rpartition('::')[2]} is tagged as {tag}"
        for entry in state.entries
        if (tag := _environment_tag(entry)) not in ("", environment)
    ]
    if others:
        raise RefusedError(
            f"The state of {environment} has what is another environment's: "
            f"{'; '.join(others[:5])}. Nothing was changed. Take it out of the state, or put its "
            "tag right."
        )


def refuse_lost_state(state: State, found: Inventory, known: Iterable[Item]) -> None:
    """Refuse to go by a state that is empty while the environment is there."""
    left = [item.label for item in known if item.kind in ("cluster", "database", "vpc")]
    if not state.entries and left:
        raise RefusedError(
            f"The state holds nothing, and there is {', '.join(left)} ({found.scanned} things were "
            "looked at). Nothing was changed, since only what a state knows is destroyed. Bring "
            "the state back from a backup: ops backups list"
        )


def refuse_needed_keys(state: State, found: Inventory, losses: Losses, *, home: str) -> None:
    """Refuse to delete a key while anything that stays is encrypted by it, whosever it is."""
    keys = {
        str(entry["id"]): str(entry["urn"]).rpartition("::")[2]
        for entry in state.entries
        if entry["type"] == "aws:kms/key:Key"
    }
    known = names_of(state)
    swept = {item.key for item in losses.parameters}
    swept |= {("log group", home, name) for name in losses.log_groups}
    volumes = {claim.handle for claim in losses.claims if not claim.retained}
    nodes = {item.id for item in found.of("instance") if is_node(item)}

    def stays(item: Item) -> bool:
        if item.kind == RETAINED:
            return True
        if item.kind == "volume" and (item.id in volumes or _ends_with(item, nodes)):
            return False
        with_database = item.id.startswith("rds!") or item.raw.get("SnapshotType") == "automated"
        return not (with_database or item.key in swept or is_known(item, known, home))

    needing = {id_: [item for item in found.encrypted.get(id_, ()) if stays(item)] for id_ in keys}
    if any(needing.values()):
        raise RefusedError(
            "A key that would go is still needed to read what stays. Nothing was changed.\n"
            + needed(needing, keys)
        )


def needed(needing: Mapping[str, Iterable[Item]], keys: Mapping[str, str]) -> str:
    """Say what needs which key, and what to do about it; `keys`: id → name."""
    pairs = [(item, id_) for id_, items in sorted(needing.items()) for item in items]
    lines = [
        f"    {item.label} in {item.region} needs {keys[id_]} ({id_})"
        for item, id_ in sorted(pairs, key=lambda pair: pair[0].key)
    ]
    kinds = sorted({item.kind for item, _ in pairs})
    return "\n".join(
        [
            *lines,
            "Make each independent of the key, or delete it, and plan again:",
            *(f"    {kind}: {_OTHER_KEY[kind]}" for kind in kinds),
        ]
    )


def _ends_with(volume: Item, nodes: Collection[str]) -> bool:
    """Tell whether AWS deletes a volume together with one of these instances."""
    return any(
        attachment.get("InstanceId") in nodes and attachment.get("DeleteOnTermination")
        for attachment in volume.raw.get("Attachments") or ()
    )


def refuse_held_networks(
    state: State, found: Inventory, *, environment: str, home: str, cleaned: bool
) -> None:
    """Refuse while something that no state knows keeps a network of the state from going.

    `cleaned`: what the cluster's controllers have made goes before, or stays by agreement.
    """
    networks = {str(item["id"]) for item in state.entries if item["type"] == "aws:ec2/vpc:Vpc"}
    cluster, known = naming.cluster(environment), names_of(state)
    made = derived(found.items, environment)
    held = [
        item
        for item in found.of(*_HOLDING)
        if item.raw.get("_vpc") in networks
        and item.key not in made
        and not is_known(item, known, home)
        and not _is_ending(item)
        and not (cleaned and item.kind in _BALANCERS and is_of_cluster(item, cluster))
    ]
    # An instance's own interfaces go with it.
    instances = {item.id for item in held if item.kind == "instance"}
    lines = [
        f"    {item.label} in {item.raw['_vpc']}{_described(item)}"
        for item in held
        if (item.raw.get("Attachment") or {}).get("InstanceId") not in instances
    ]
    if lines:
        raise RefusedError(
            "What the state does not know is in a network that would go. AWS would keep the "
            "network for it, after everything else was destroyed. Nothing was changed.\n"
            + "\n".join(lines)
            + "\nLook whose each is, and move it elsewhere or delete it (after a snapshot, where "
            "it holds data); what the program declares is taken into the state: ops adopt "
            f"{environment} --plan. Then plan again."
        )


def _is_ending(item: Item) -> bool:
    state = item.raw.get("State")
    name = state.get("Name") if isinstance(state, Mapping) else state
    return name in _ENDING or item.raw.get("DBInstanceStatus") == "deleting"


def _described(item: Item) -> str:
    text = item.raw.get("Description") or item.raw.get("ServiceName") or item.raw.get("GroupName")
    return f": {text}" if text else ""


def _kind(type_: str) -> str:
    return KINDS.get(type_, "resource")


def _accounts(state: State) -> set[str]:
    """Give the accounts that a state is about: by its ARNs, and what its providers are bound to."""
    found: set[str] = set()
    for entry in state.entries:
        outputs = entry.get("outputs") or {}
        arn = outputs.get("arn")
        if isinstance(arn, str) and (match := _ARN.match(arn)):
            found.add(match["account"])
        if entry["type"] == _PROVIDER:
            found |= set(_allowed(entry))
    return found


def _allowed(entry: Mapping[str, Any]) -> list[str]:
    allowed = (entry.get("inputs") or {}).get("allowedAccountIds") or []
    return list(json.loads(allowed)) if isinstance(allowed, str) else list(allowed)


def _environment_tag(entry: Mapping[str, Any]) -> str:
    tags = (entry.get("outputs") or {}).get("tags")
    if isinstance(tags, list):
        tags = tag_map(tags)
    return str(tags.get("environment", "")) if isinstance(tags, Mapping) else ""

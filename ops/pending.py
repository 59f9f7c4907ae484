"""Creations that were interrupted: what may be there of them, so that none is forgotten unseen.

`pulumi refresh --clear-pending-creates` drops them all from the state before it reads anything.
What one of them has made would then be in no state: never deleted, billed, and in the way of what
it is in. The sandbox's engine looks itself when it settles them; on AWS it is looked here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ops.errors import RefusedError

if TYPE_CHECKING:
    from ops.access import Access
    from ops.live import Account, Wanted

Entry = Mapping[str, Any]
"""A resource as an exported state has it."""

_CREATING: Final = frozenset({"creating", "importing"})
_VPC: Final = "aws:ec2/vpc:Vpc"
_NOTHING_OF_THEIR_OWN: Final = frozenset(
    {
        "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    }
)
"""Types whose creation makes nothing: they are there with what they belong to."""
_FOUND_LATER: Final = frozenset({"aws:ec2/internetGateway:InternetGateway", "aws:kms/key:Key"})
"""Types that are found by what is only done after they are made: by an alias, an attachment."""
_BY_NAME_TAG: Final = frozenset(
    {
        "aws:ec2/eip:Eip",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/networkAcl:NetworkAcl",
        "aws:ec2/routeTable:RouteTable",
    }
)
_IN_VPC: Final = frozenset(
    {
        "aws:ec2/flowLog:FlowLog",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/networkAcl:NetworkAcl",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
    }
)
"""Types that are looked for in the network that the state has."""


def creations(deployment: Mapping[str, Any] | None) -> tuple[Entry, ...]:
    """Give the resources whose creation a state has as begun and not as ended."""
    operations = (deployment or {}).get("pending_operations") or ()
    return tuple(item["resource"] for item in operations if item["type"] in _CREATING)


def refuse_forgetting(access: Access, entries: Sequence[Entry], creating: Sequence[Entry]) -> None:
    """Refuse where something may be there of interrupted creations, on AWS."""
    if access.mode != "aws":
        return
    left = left_over(access, entries, creating)
    if left:
        env = access.environment
        raise RefusedError(
            "Creations were interrupted, and something of them is there or may be:\n"
            + "\n".join(f"    {line}" for line in left)
            + "\nThe Pulumi CLI would forget them unseen, and what they have made would never be "
            "deleted. Nothing was changed. Settle each first: `pulumi refresh` at a terminal "
            f'(after eval "$(ops env {env})") asks about every one, and takes the id of what is '
            f"there; `pulumi import` brings it into the state as well. `ops adopt {env} --plan` "
            "looks for things by their names."
        )


def left_over(access: Access, entries: Sequence[Entry], creating: Sequence[Entry]) -> list[str]:
    """Say what interrupted creations may have left in AWS, by URN; empty: there is nothing.

    What is in a cluster is left out: it goes with the cluster, or is applied over what is there.
    """
    held = {str(entry["urn"]) for entry in entries}
    known = {(entry["type"], entry.get("id")) for entry in entries}
    lines = []
    for entry in creating:
        if not _is_aws(entry) or entry["type"] in _NOTHING_OF_THEIR_OWN:
            continue
        if seen := _seen(access, entries, entry, known, is_held=str(entry["urn"]) in held):
            lines.append(f"{entry['urn']}: {seen}")
    return lines


def _is_aws(entry: Entry) -> bool:
    return bool(entry.get("custom")) and str(entry["type"]).startswith("aws:")


def _seen(
    access: Access,
    entries: Sequence[Entry],
    entry: Entry,
    known: Collection[tuple[Any, Any]],
    *,
    is_held: bool,
) -> str:
    """Say what is there of one creation, or that it cannot be told; empty: nothing is."""
    from ops.live import FINDERS, SETTINGS, NotKnownYetError, NotListedError, find

    kind, inputs = str(entry["type"]), entry.get("inputs") or {}
    if kind in SETTINGS:
        # Whoever has set it since has set the same.
        return "" if is_held else "whether it was set cannot be told by its name"
    account = _account(access, entries, entry)
    named = bool((inputs.get("tags") or {}).get("Name"))
    if (
        kind not in FINDERS
        or kind in _FOUND_LATER
        or (kind in _BY_NAME_TAG and not named)
        or (kind in _IN_VPC and account.vpc_id is None)
    ):
        return "whether anything is there cannot be told by its name"
    try:
        found = [live.id for live in find(account, _wanted(entry), ())]
    except (NotListedError, NotKnownYetError) as error:
        return f"it could not be looked for ({error})"
    new = [id_ for id_ in found if (kind, id_) not in known]
    return f"{', '.join(new)} is there, and not in the state" if new else ""


def _account(access: Access, entries: Sequence[Entry], entry: Entry) -> Account:
    """Give the listings of where the creation was to be made."""
    from ops.live import Account

    region = _region(entries, entry) or access.settings.region
    account = Account(
        partial(access.client, region=region), access.environment, access.settings.account_id
    )
    vpcs = {str(item["id"]) for item in entries if item["type"] == _VPC and item.get("id")}
    account.vpc_id = (entry.get("inputs") or {}).get("vpcId") or (
        vpcs.pop() if len(vpcs) == 1 else None
    )
    return account


def _region(entries: Sequence[Entry], entry: Entry) -> str:
    """Give the region that a resource or its provider names; empty: the environment's."""
    own = (entry.get("inputs") or {}).get("region")
    urn = _urn(str(entry.get("provider") or ""))
    by_urn = {item["urn"]: item for item in entries}
    provider = (by_urn.get(urn, {}).get("inputs") or {}).get("region")
    return str(own or provider or "")


def _urn(reference: str) -> str:
    """Give a provider's URN, without the id that references to it carry."""
    return "::".join(reference.split("::")[:4])


def _wanted(entry: Entry) -> Wanted:
    from ops.live import Wanted

    return Wanted(
        urn=str(entry["urn"]),
        type=str(entry["type"]),
        name=str(entry["urn"]).rpartition("::")[2],
        parent=str(entry.get("parent") or ""),
        provider=_urn(str(entry.get("provider") or "")),
        custom=True,
        inputs=entry.get("inputs") or {},
    )

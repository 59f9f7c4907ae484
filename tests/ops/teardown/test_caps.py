"""What a teardown is refused, whatever is agreed to: too much, others' things, needed keys.

And networks that something nobody agreed to lose would keep from going.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ops.errors import RefusedError, UsageError
from ops.plan import Plan
from ops.teardown import caps
from ops.teardown.clean_up import Claim
from ops.teardown.listing import RETAINED, Item
from ops.teardown.report import Losses
from tests.ops.teardown.samples import (
    ACCOUNT,
    CLUSTER,
    KEY,
    VOLUMES_KEY,
    database,
    entry,
    inventory,
    item,
    key,
    state,
)

PLAN = Plan(command="teardown", environment="dev", account_id=ACCOUNT, region="us-east-1")
NOTHING = Losses(environment="dev")


def _refuse(entries: list[dict[str, Any]], losses: Losses = NOTHING, **raised: int) -> None:
    caps.refuse_too_much(PLAN, state(*entries), losses, [], raised)


def test_an_ordinary_environment_is_within_the_caps() -> None:
    _refuse([database(), key(), *(entry("aws:iam/user:User", f"u{n}", f"u{n}") for n in range(9))])


def test_more_databases_than_an_environment_has_refuse_the_whole_plan() -> None:
    with pytest.raises(RefusedError, match="database: 4 planned, at most 3 allowed") as refused:
        _refuse([database() for _ in range(4)])
    assert "Nothing was changed" in str(refused.value)
    assert "--max KIND=NUMBER" in str(refused.value)
    _refuse([database() for _ in range(4)], database=4)


def test_more_than_half_that_no_state_knows_is_a_wrong_state() -> None:
    losses = Losses(
        environment="dev", parameters=tuple(item("parameter", f"/dev/{n}") for n in range(3))
    )
    with pytest.raises(RefusedError, match=r"outside: 3 of 5 planned, at most 50 % allowed"):
        _refuse([database(), key()], losses)
    _refuse([database(), key()], losses, outside=3)
    _refuse([], losses)


def test_claims_and_what_the_operator_raises_are_counted() -> None:
    losses = Losses(environment="dev", claims=tuple(Claim(name=f"a/{n}") for n in range(31)))
    with pytest.raises(RefusedError, match="claim: 31 planned"):
        _refuse([database()], losses)


@pytest.mark.parametrize("text", ["database", "database=many", "people=3", "=3", "database=-1"])
def test_a_cap_that_cannot_be_read_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError, match="expected KIND=NUMBER"):
        caps.parse([text])


def test_caps_are_raised_by_kind() -> None:
    assert caps.parse(["database=4", "resource=2000"]) == {"database": 4, "resource": 2000}


def test_a_state_of_another_account_is_refused() -> None:
    with pytest.raises(RefusedError, match=f"describes account {ACCOUNT}, and the stack file says"):
        caps.refuse_others(state(database()), "dev", "444455556666")
    bound = entry(
        "pulumi:providers:aws", "aws", "p", inputs={"allowedAccountIds": '["777788889999"]'}
    )
    with pytest.raises(RefusedError, match="describes account 777788889999"):
        caps.refuse_others(state(bound), "dev", ACCOUNT)
    caps.refuse_others(state(database()), "dev", ACCOUNT)


def test_what_is_tagged_as_another_environments_is_refused() -> None:
    with pytest.raises(RefusedError, match="databases-main is tagged as dev"):
        caps.refuse_others(state(database()), "uat", ACCOUNT)


def test_an_empty_state_is_not_believed_while_a_database_is_there() -> None:
    there = item("database", "mono-repo-dev")
    with pytest.raises(RefusedError, match="The state holds nothing, and there is database"):
        caps.refuse_lost_state(state(), inventory(there), [there])
    caps.refuse_lost_state(state(database()), inventory(there), [there])
    caps.refuse_lost_state(state(), inventory(), [item("parameter", "/dev/x")])


# Keys ----------------------------------------------------------------------------------------

ALIAS = Item(kind="alias", id="alias/mono-repo-dev-volumes", region="us-east-1", name=KEY)
NODE = Item(kind="instance", id="i-1", region="us-east-1", tags={"eks:cluster-name": CLUSTER})


def _needed(*items: Item, losses: Losses = NOTHING) -> None:
    caps.refuse_needed_keys(state(key()), inventory(ALIAS, NODE, *items), losses, home="us-east-1")


def _attached(*, goes: bool) -> Item:
    to_node = {"InstanceId": "i-1", "DeleteOnTermination": goes}
    return item("volume", "vol-1", KmsKeyId=VOLUMES_KEY, Attachments=[to_node])


@pytest.mark.parametrize(
    "thing",
    [
        item("snapshot", "made-by-hand", KmsKeyId=VOLUMES_KEY),
        item("volume", "vol-1", KmsKeyId=VOLUMES_KEY),
        _attached(goes=False),
        item("database snapshot", "x", SnapshotType="manual", KmsKeyId=VOLUMES_KEY),
        item("database snapshot", "y", SnapshotType="awsbackup", KmsKeyId=VOLUMES_KEY),
        item("database", "somebody-elses", KmsKeyId=VOLUMES_KEY),
        item(RETAINED, "db-OLD", KmsKeyId=VOLUMES_KEY),
        item("parameter", "/dev/other-app/token", KeyId="alias/mono-repo-dev-volumes"),
        item("parameter", "/dev/other-app/token", KeyId=KEY),
        item("secret", "of-somebody", KmsKeyId=f"arn:aws:kms:us-east-1:{ACCOUNT}:{ALIAS.id}"),
        item("log group", "/ours", kmsKeyId=VOLUMES_KEY),
    ],
    ids=lambda thing: str(thing.label),
)
def test_a_key_stays_while_anything_that_stays_is_encrypted_by_it_whosever_it_is(
    thing: Item,
) -> None:
    with pytest.raises(RefusedError) as refused:
        _needed(thing)
    said = str(refused.value)
    assert f"{thing.label} in us-east-1 needs cluster-volumes ({KEY})" in said
    assert "Nothing was changed" in said
    assert f"\n    {thing.kind}: " in said, "what to do about it"
    caps.refuse_needed_keys(state(), inventory(thing), NOTHING, home="us-east-1")


def test_what_goes_itself_holds_no_key_back() -> None:
    swept = item("parameter", "/dev/mono-repo/password", KeyId=VOLUMES_KEY)
    losses = Losses(
        environment="dev",
        parameters=(swept,),
        log_groups=("/aws/eks/mono-repo-dev/cluster",),
        claims=(Claim(name="web/data", handle="vol-2"),),
    )
    _needed(
        swept,
        _attached(goes=True),
        item("volume", "vol-2", KmsKeyId=VOLUMES_KEY),
        item("volume", "vol-3"),
        item("log group", "/aws/eks/mono-repo-dev/cluster", kmsKeyId=VOLUMES_KEY),
        item("secret", "rds!db-1", KmsKeyId=VOLUMES_KEY),
        item("database snapshot", "rds:x", SnapshotType="automated", KmsKeyId=VOLUMES_KEY),
        item("snapshot", "snap-1", KmsKeyId=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/another"),
        losses=losses,
    )


def test_a_claims_volume_that_is_to_stay_keeps_its_key_unless_another_encrypts_it() -> None:
    losses = Losses(
        environment="dev", claims=(Claim(name="web/kept", handle="vol-2", retained=True),)
    )
    with pytest.raises(RefusedError, match="volume vol-2 in us-east-1 needs cluster-volumes"):
        _needed(item("volume", "vol-2", KmsKeyId=VOLUMES_KEY), losses=losses)
    _needed(item("volume", "vol-2", KmsKeyId="another"), losses=losses)
    _needed(item("volume", "vol-2"), losses=losses)


# Networks ------------------------------------------------------------------------------------

NETWORK = entry("aws:ec2/vpc:Vpc", "network", "vpc-1")
OWN = {"elbv2.k8s.aws/cluster": CLUSTER}
LINGERING: dict[str, Any] = {"Description": "aws-K8S-i-0123456789", "Status": "available"}


def _inside(kind: str, id_: str = "x", tags: Mapping[str, str] | None = None, **raw: Any) -> Item:
    return Item(
        kind=kind, id=id_, region="us-east-1", tags=tags or {}, raw={"_vpc": "vpc-1", **raw}
    )


def _hold(*items: Item, held: Sequence[dict[str, Any]] = (NETWORK,), cleaned: bool = True) -> None:
    caps.refuse_held_networks(
        state(*held),
        inventory(NODE, *items),
        environment="dev",
        home="us-east-1",
        cleaned=cleaned,
    )


@pytest.mark.parametrize(
    "thing",
    [
        _inside("database", "somebody-elses"),
        _inside("instance", "bastion"),
        _inside("load balancer", "by-hand", Type="application"),
        _inside("classic load balancer", "by-hand"),
        _inside("vpc endpoint", "vpce-1", State="available", ServiceName="s3"),
        _inside("nat gateway", "nat-1", State="available"),
        _inside("network interface", "eni-1", Status="available"),
        _inside("network interface", "eni-1", RequesterManaged=True, InterfaceType="lambda"),
        _inside("network interface", "eni-1", Attachment={"InstanceId": "elsewhere"}),
        _inside("security group", "sg-1", GroupName="by-hand"),
        _inside("subnet", "subnet-1"),
    ],
    ids=lambda thing: str(thing.label),
)
def test_what_no_state_knows_in_a_network_that_goes_is_refused_before_anything_else_goes(
    thing: Item,
) -> None:
    with pytest.raises(RefusedError) as refused:
        _hold(thing)
    assert f"{thing.label} in vpc-1" in str(refused.value)
    assert "Nothing was changed" in str(refused.value)
    _hold(thing, held=[NETWORK, entry("aws:any/thing:Thing", "thing", thing.id)])
    _hold(thing, held=[])  # its network is gone already


@pytest.mark.parametrize(
    "thing",
    [
        _inside("instance", "i-2", {"aws:autoscaling:groupName": "eks-main"}),
        _inside("instance", "i-2", State={"Name": "shutting-down"}),
        _inside("database", "d", DBInstanceStatus="deleting"),
        _inside("vpc endpoint", "vpce-1", State="deleting"),
        _inside("nat gateway", "nat-1", State="deleted"),
        _inside("network interface", "eni-1", Attachment={"InstanceId": "i-1"}, Status="in-use"),
        _inside("network interface", "eni-1", RequesterManaged=True, Description="Amazon EKS x"),
        _inside("network interface", "eni-1", **LINGERING),
        _inside("security group", "sg-1", GroupName=f"eks-cluster-sg-{CLUSTER}-1"),
        _inside(
            "security group",
            "sg-1",
            GroupName="k8s-web-1",
            Tags=[{"Key": key_, "Value": value} for key_, value in OWN.items()],
        ),
        _inside("load balancer", "k8s-web", OWN),
        _inside("classic load balancer", "a1", {f"kubernetes.io/cluster/{CLUSTER}": "owned"}),
    ],
    ids=lambda thing: f"{thing.label} {dict(thing.tags) or dict(thing.raw)}",
)
def test_what_comes_and_goes_with_the_environment_holds_no_network(thing: Item) -> None:
    _hold(thing)


def test_a_balancer_that_no_controller_would_delete_any_more_is_refused() -> None:
    with pytest.raises(RefusedError, match="load balancer k8s-web in vpc-1"):
        _hold(_inside("load balancer", "k8s-web", OWN), cleaned=False)


def test_an_instance_is_told_once_and_not_again_for_its_interfaces() -> None:
    interface = _inside("network interface", "eni-9", Attachment={"InstanceId": "bastion"})
    with pytest.raises(RefusedError, match="instance bastion") as refused:
        _hold(_inside("instance", "bastion"), interface)
    assert "eni-9" not in str(refused.value)

"""The bootstrap goes only when nothing needs it any more: no environment, and nothing encrypted."""

from __future__ import annotations

import pytest

from ops.errors import RefusedError
from ops.teardown import retirement
from ops.teardown.listing import RETAINED, Item
from ops.teardown.retirement import refuse_while_needed
from tests.ops.teardown.samples import KEY, VOLUMES_KEY, inventory, item

ALIAS = Item(kind="alias", id="alias/mono-repo-dev-databases", region="us-east-1", name=KEY)
BASE = [ALIAS, item("bucket", "mono-repo-dev-backups-1")]


@pytest.mark.parametrize("kind", ["cluster", "database", "instance", "vpc"])
def test_an_environment_that_is_there_keeps_its_bootstrap(kind: str) -> None:
    with pytest.raises(
        RefusedError, match=f"dev is still there: {kind} x.*First: ops teardown dev"
    ):
        refuse_while_needed(inventory(*BASE, item(kind, "x")), BASE, "dev")


@pytest.mark.parametrize("kind", ["database snapshot", "snapshot", "volume", RETAINED])
def test_what_could_not_be_read_without_a_key_keeps_it_though_nobody_lists_the_key(
    kind: str,
) -> None:
    needing = item(kind, "last", KmsKeyId=VOLUMES_KEY)
    with pytest.raises(RefusedError, match="could never be read again") as refused:
        refuse_while_needed(inventory(*BASE, needing), BASE, "dev")
    assert f"{kind} last in us-east-1 needs alias/mono-repo-dev-databases" in str(refused.value)


def test_a_snapshot_under_another_key_keeps_nothing() -> None:
    other = item("database snapshot", "last", KmsKeyId="arn:aws:kms:us-east-1:1:key/other")
    refuse_while_needed(inventory(*BASE, other), BASE, "dev")


def test_it_is_agreed_to_by_name_by_hash_and_in_production_by_two() -> None:
    operation = retirement.OPERATION
    assert operation.by_name
    assert operation.bound
    assert operation.approved

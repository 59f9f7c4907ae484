"""What a teardown is refused, whatever is agreed to: too much, others' things, needed keys."""

from __future__ import annotations

from typing import Any

import pytest

from ops.errors import RefusedError, UsageError
from ops.plan import Plan
from ops.teardown import caps
from ops.teardown.clean_up import Claim
from ops.teardown.report import Losses
from tests.ops.teardown.samples import (
    ACCOUNT,
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


def test_a_key_stays_while_a_snapshot_needs_it() -> None:
    kept = item("snapshot", "snap-1", KmsKeyId=VOLUMES_KEY)
    with pytest.raises(RefusedError, match="snapshot snap-1 needs cluster-volumes"):
        caps.refuse_needed_keys(state(key()), inventory(kept))
    caps.refuse_needed_keys(state(), inventory(kept))
    going = item("database snapshot", "rds:x", SnapshotType="automated", KmsKeyId=VOLUMES_KEY)
    caps.refuse_needed_keys(state(key()), inventory(going))

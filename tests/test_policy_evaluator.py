"""The evaluator that least privilege is proved with, on what IAM's reference says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.policy_evaluator import Request, allows


def document(*statements: dict[str, Any]) -> str:
    filled = [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"], **one} for one in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": filled})


ANYTHING = document({})
READ = Request(action="s3:GetObject", resource="arn:aws:s3:::b/k", context={"who": "jane-doe"})


def test_what_no_statement_allows_is_denied() -> None:
    assert not allows(READ, [])
    assert not allows(READ, [document({"Action": ["s3:PutObject"]})])


def test_a_deny_wins_over_every_allow() -> None:
    assert not allows(READ, [ANYTHING, document({"Effect": "Deny", "Action": ["s3:Get*"]})])


def test_actions_know_no_case_and_resources_do() -> None:
    assert allows(READ, [document({"Action": ["S3:getobject"]})])
    assert not allows(READ, [document({"Resource": ["arn:aws:s3:::B/*"]})])


def test_not_action_is_every_other_action() -> None:
    statement = {"Effect": "Deny", "NotAction": ["s3:GetObject"], "Resource": ["*"]}
    denying = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert allows(READ, [ANYTHING, denying])
    assert not allows(Request(action="s3:PutObject"), [ANYTHING, denying])


def test_a_boundary_and_a_policy_both_have_to_allow() -> None:
    assert allows(READ, [ANYTHING], boundary=ANYTHING)
    assert not allows(READ, [ANYTHING], boundary=document({"Action": ["ec2:*"]}))
    assert not allows(READ, [document({"Action": ["ec2:*"]})], boundary=ANYTHING)


def test_a_resources_own_policy_takes_away() -> None:
    denying = document({"Effect": "Deny"})
    assert not allows(READ, [ANYTHING], resource_policy=denying)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"who": "jane-doe"}}, True),
        ({"StringEquals": {"who": ["john-smith", "jane-doe"]}}, True),
        ({"StringEquals": {"who": "jane-*"}}, False),
        ({"StringLike": {"who": "jane-*"}}, True),
        ({"StringNotEquals": {"who": ["john-smith", "jane-doe"]}}, False),
        ({"StringNotEquals": {"absent": "x"}}, True),
        ({"StringEquals": {"absent": "x"}}, False),
        ({"StringEqualsIfExists": {"absent": "x"}}, True),
        ({"BoolIfExists": {"absent": "false"}}, True),
        ({"Bool": {"absent": "false"}}, False),
        ({"Null": {"absent": "true"}}, True),
        ({"Null": {"who": "true"}}, False),
        ({"Null": {"who": "false"}, "StringEquals": {"who": "john-smith"}}, False),
        ({"ForAnyValue:StringEquals": {"many": ["b", "z"]}}, True),
        ({"ForAnyValue:StringEquals": {"absent": ["b"]}}, False),
    ],
)
def test_conditions_hold_as_iam_reads_them(condition: dict[str, Any], holds: bool) -> None:
    request = Request(action="s3:GetObject", context={"who": "jane-doe", "many": ["a", "b"]})
    assert allows(request, [document({"Condition": condition})]) is holds


def test_a_variable_is_the_callers_value_and_fits_nothing_without_one() -> None:
    own = document({"Resource": ["arn:aws:s3:::b/${who}/*"]})
    resource = "arn:aws:s3:::b/jane-doe/k"
    assert allows(Request(action="x:y", resource=resource, context={"who": "jane-doe"}), [own])
    assert not allows(Request(action="x:y", resource=resource, context={"who": "x"}), [own])
    assert not allows(Request(action="x:y", resource=resource), [own])


def test_an_operator_that_it_does_not_know_is_not_judged() -> None:
    with pytest.raises(KeyError):
        allows(READ, [document({"Condition": {"DateGreaterThan": {"who": "2027-01-01"}}})])

import json

import pytest

from components.iam_policies import (
    Statement,
    key_administration,
    key_for_logs,
    key_for_service,
    policy_document,
    service_trust,
    tls_only,
)


def test_one_policy_has_one_text_whatever_the_order_it_was_written_in() -> None:
    one = Statement(
        actions=["s3:PutObject", "s3:GetObject"],
        resources=["b", "a"],
        conditions={"StringEquals": {"y": ["2", "1"], "x": "0"}},
    )
    two = Statement(
        actions=["s3:GetObject", "s3:PutObject", "s3:GetObject"],
        resources=["a", "b"],
        conditions={"StringEquals": {"x": "0", "y": ["1", "2"]}},
    )
    assert policy_document([one]) == policy_document([two])


def test_actions_and_resources_are_lists_even_when_there_is_one() -> None:
    (statement,) = json.loads(policy_document([Statement(actions=["a:b"], resources=["c"])]))[
        "Statement"
    ]
    assert statement == {"Effect": "Allow", "Action": ["a:b"], "Resource": ["c"]}


def test_allowing_everyone_is_refused() -> None:
    with pytest.raises(ValueError, match="would allow everyone"):
        policy_document([Statement(sid="Open", actions=["s3:GetObject"], everyone=True)])
    with pytest.raises(ValueError, match="would allow everyone"):
        policy_document([Statement(actions=["s3:GetObject"], principals={"AWS": ["*"]})])


def test_an_empty_policy_and_a_statement_without_action_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one statement"):
        policy_document([])
    with pytest.raises(ValueError, match="Idle has no action"):
        policy_document([Statement(sid="Idle", actions=[])])


def test_a_bucket_is_denied_to_everyone_without_tls() -> None:
    (statement,) = json.loads(policy_document([tls_only("arn:aws:s3:::b")]))["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_service_acts_for_its_own_account_only() -> None:
    (statement,) = json.loads(
        policy_document([service_trust("vpc-flow-logs.amazonaws.com", "111122223333")])
    )["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}


def test_a_key_is_administered_by_the_account_and_used_by_logs_in_their_own_context() -> None:
    document = json.loads(
        policy_document(
            [key_administration("111122223333"), key_for_logs("us-east-1", "111122223333")]
        )
    )
    account, logs = document["Statement"]
    assert account["Principal"] == {"AWS": ["arn:aws:iam::111122223333:root"]}
    assert logs["Principal"] == {"Service": ["logs.us-east-1.amazonaws.com"]}
    assert logs["Condition"]["ArnLike"] == {
        "kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:us-east-1:111122223333:log-group:*"
    }


def test_a_service_that_names_no_account_to_kms_can_still_use_a_key() -> None:
    statement = key_for_service("cloudwatch.amazonaws.com", ["kms:Decrypt"], sid="Alarms")
    (rendered,) = json.loads(policy_document([statement]))["Statement"]
    assert rendered["Principal"] == {"Service": ["cloudwatch.amazonaws.com"]}
    assert "Condition" not in rendered

"""Sample inputs of IAM users and groups, and of secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tests.sandbox.sample import NEW_TAGS, TAGS, Sample


def _allow(action: str) -> str:
    statement = {"Effect": "Allow", "Action": [action], "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _owner_only(arn: str) -> str:
    statement = {
        "Sid": "OwnerOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["secretsmanager:GetSecretValue"],
        "Resource": "*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


SAMPLES: Final[Mapping[str, Sample]] = {
    "user": Sample(
        "aws:iam/user:User",
        {
            "name": "sample-jane-doe",
            "path": "/sample/people/",
            "permissionsBoundary": "ref:boundary",
            "forceDestroy": True,
            "tags": TAGS,
        },
        {"path": "/sample/others/", "tags": NEW_TAGS},
        absent=("permissionsBoundary",),
    ),
    "people": Sample("aws:iam/group:Group", {"name": "sample-people"}, {"path": "/sample/"}),
    "operators": Sample("aws:iam/group:Group", {"name": "sample-operators"}, {"path": "/x/"}),
    "membership": Sample(
        "aws:iam/userGroupMembership:UserGroupMembership",
        {"user": "ref:user", "groups": ["ref:people"]},
        {"groups": ["ref:operators"]},
    ),
    "group-policy": Sample(
        "aws:iam/groupPolicy:GroupPolicy",
        {"name": "look", "group": "ref:people", "policy": _allow("ec2:DescribeVpcs")},
        {"policy": _allow("ec2:DescribeSubnets")},
    ),
    "group-policy-attachment": Sample(
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        {"group": "ref:people", "policyArn": "ref:boundary"},
    ),
    "secret": Sample(
        "aws:secretsmanager/secret:Secret",
        {
            "name": "sample-access-keys-jane-doe",
            "description": "Access key of jane-doe",
            "kmsKeyId": "ref:key.arn",
            "policy": _owner_only("arn:aws:iam::111122223333:user/jane-doe"),
            "recoveryWindowInDays": 0,
            "tags": TAGS,
        },
        {
            "policy": _owner_only("arn:aws:iam::111122223333:user/john-smith"),
            "tags": NEW_TAGS,
        },
        absent=("description", "kmsKeyId"),
    ),
}

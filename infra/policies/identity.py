"""Controls of who may do what."""

from __future__ import annotations

import json
from typing import Final

from infra.policies.checks import (
    at_least,
    changes_anything,
    equals,
    every,
    every_action,
    every_action_of_a_service,
    for_everyone,
    no_companion,
    no_statement,
    statements,
)
from infra.policies.model import Control, Resource, Stack

USER: Final = ("aws:iam/user:User",)
PEOPLE: Final = ("aws:iam/group:Group",)
ROLE: Final = ("aws:iam/role:Role",)
PERMISSIONS: Final = (
    "aws:iam/policy:Policy",
    "aws:iam/groupPolicy:GroupPolicy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
)
PASSWORDS: Final = ("aws:iam/accountPasswordPolicy:AccountPasswordPolicy",)
WITHOUT_MFA: Final = "aws:MultiFactorAuthPresent"
GITHUB: Final = "token.actions.githubusercontent.com"

PASSWORD_LENGTH: Final = 14
PASSWORDS_REMEMBERED: Final = 24


def _needs_mfa(resource: Resource, stack: Stack) -> bool:
    """Hold where a group of people, or of machines without a password, is refused without MFA."""
    if "people" not in str(resource.get("path", "")):
        return True
    attached = [
        item
        for item in stack.dependants(resource)
        if item.type in (*PERMISSIONS, "aws:iam/groupPolicyAttachment:GroupPolicyAttachment")
    ]
    policies = [
        policy
        for item in attached
        for policy in (item, *(p for p in stack.resources if p.urn in item.dependencies))
    ]
    return any(
        statement["Effect"] == "Deny" and WITHOUT_MFA in json.dumps(statement.get("Condition", {}))
        for policy in policies
        for statement in statements(policy)
    )


def _names_a_subject(resource: Resource, _: Stack) -> bool:
    """Hold where GitHub's tokens are taken from a named repository only."""
    for statement in statements(resource):
        if GITHUB not in json.dumps(statement.get("Principal", {})):
            continue
        subjects = [
            value
            for condition in statement.get("Condition", {}).values()
            for key, value in condition.items()
            if key == f"{GITHUB}:sub"
        ]
        texts = [
            text for value in subjects for text in ([value] if isinstance(value, str) else value)
        ]
        if not texts or any(not text.startswith("repo:") or "*" in text for text in texts):
            return False
    return True


CONTROLS: Final = (
    Control(
        ids=("CKV_AWS_40", "AWS-0143", "CIS-2.13", "IAM.2"),
        title="users have permissions through groups only",
        types=USER,
        check=no_companion(
            "aws:iam/userPolicy:UserPolicy",
            "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        ),
    ),
    Control(
        ids=("CKV_AWS_273", "CIS-2.19"),
        title="people sign in by single sign-on",
        types=USER,
        check=lambda *_: False,
    ),
    Control(
        ids=("AWS-0123", "CIS-2.10", "IAM.5", "IAM.19"),
        title="without MFA a person may only set MFA up",
        types=PEOPLE,
        check=_needs_mfa,
    ),
    Control(
        ids=("CKV_AWS_62", "CKV_AWS_63", "CKV_AWS_274", "CIS-2.14", "IAM.1"),
        title="no policy allows every action",
        types=PERMISSIONS,
        check=no_statement(every_action),
    ),
    Control(
        ids=("AWS-0345", "IAM.21"),
        title="no policy allows every action of a service on everything",
        types=PERMISSIONS,
        check=no_statement(every_action_of_a_service),
    ),
    Control(
        ids=(
            "CKV_AWS_286", "CKV_AWS_287", "CKV_AWS_288", "CKV_AWS_289", "CKV_AWS_290",
            "CKV_AWS_355", "AWS-0342",
        ),
        title="what changes things is limited to resources or by a condition",
        types=PERMISSIONS,
        check=no_statement(changes_anything),
    ),
    Control(
        ids=("CKV_AWS_60", "CKV_AWS_61"),
        title="roles name who may take them",
        types=ROLE,
        check=no_statement(for_everyone),
    ),
    Control(
        ids=("CKV_AWS_358", "CKV_AWS_393"),
        title="GitHub's tokens are taken from one repository's runs only",
        types=ROLE,
        check=_names_a_subject,
    ),
    Control(
        ids=("CKV_AWS_10", "AWS-0063", "CIS-2.8"),
        title=f"passwords have {PASSWORD_LENGTH} characters or more",
        types=PASSWORDS,
        check=at_least("minimumPasswordLength", PASSWORD_LENGTH),
    ),
    Control(
        ids=("CKV_AWS_13", "AWS-0056", "CIS-2.9"),
        title=f"the last {PASSWORDS_REMEMBERED} passwords are not taken again",
        types=PASSWORDS,
        check=at_least("passwordReusePrevention", PASSWORDS_REMEMBERED),
    ),
    Control(
        ids=("CKV_AWS_9", "CKV_AWS_11", "CKV_AWS_12", "CKV_AWS_14", "CKV_AWS_15", "IAM.7"),
        title="passwords mix all kinds of characters and last 90 days",
        types=PASSWORDS,
        check=every(
            equals("requireLowercaseCharacters", True),
            equals("requireUppercaseCharacters", True),
            equals("requireNumbers", True),
            equals("requireSymbols", True),
            lambda resource, _: 1 <= resource.get("maxPasswordAge", 0) <= 90,  # noqa: PLR2004
        ),
    ),
)  # fmt: skip

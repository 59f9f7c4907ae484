"""Controls that no resource can show: how they are met in running the account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Operated:
    """A matter of operation: its ids, what holds, and what sees to it."""

    ids: tuple[str, ...]
    title: str
    how: str


OPERATED: Final = (
    Operated(
        ("CIS-2.12", "AWS-0146", "IAM.3"),
        "access keys are replaced within 90 days",
        "no key is made by the program; `key_rotation_days` of a stack file's service accounts is "
        "90 at most",
    ),
    Operated(
        ("CIS-2.11", "AWS-0166", "IAM.22"),
        "credentials that nobody uses for 45 days are disabled",
        "seen in IAM's credential report, which the groups of operators and security may read",
    ),
    Operated(
        ("SecretsManager.2", "SecretsManager.3"),
        "rotations succeed, and no secret is left unused",
        "the databases' master secrets are rotated by RDS; the secrets of access keys hold nothing "
        "until a key is issued",
    ),
    Operated(
        ("CKV_AWS_339", "EKS.2"),
        "the cluster's version is supported",
        "the version calendar warns in previews and in `ops settings check` before support ends",
    ),
)

"""What a sample of a resource type is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

REF: Final = "ref:"
"""A value ``ref:NAME`` is the id of another sample, ``ref:NAME.output`` one of its outputs."""

TRUST: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "ec2.amazonaws.com"},
            }
        ],
    }
)


@dataclass(frozen=True)
class Sample:
    """One type's inputs, and those of an update; `change` None: the type only replaces."""

    type: str
    inputs: Mapping[str, Any]
    change: Mapping[str, Any] | None = None
    absent: tuple[str, ...] = ()
    """Inputs that the change takes away."""
    needs: tuple[str, ...] = field(default=())


TAGS: Final = {"environment": "dev", "Name": "one"}
NEW_TAGS: Final = {"environment": "dev", "owner": "jane-doe"}

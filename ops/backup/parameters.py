"""The Parameter Store's part of a backup: every parameter with its value, in memory alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from infra import naming
from ops.errors import IncompleteError
from ops.parameters.store import reason

if TYPE_CHECKING:
    from ops.access import Access


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A parameter as a backup keeps it. It is a secret as a whole: only an envelope holds it."""

    name: str
    type: str
    value: str = field(repr=False)
    key_id: str = ""
    description: str = ""
    pattern: str = ""
    """What AWS makes every value match; empty: nothing."""
    tier: str = "Standard"
    data_type: str = "text"


def read(access: Access) -> tuple[Kept, ...]:
    """Read every parameter of the application, and the record of a suspension.

    Raises `IncompleteError` where one cannot be listed or read: a part of them is no backup.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    env, ssm = access.environment, access.client("ssm")
    suspension = naming.suspension_parameter(env)
    found: list[Kept] = []
    try:
        for path in (naming.parameter_path(env), naming.parameter_path(env, naming.OPS_APP)):
            about = _described(ssm, path)
            values = _values(ssm, path)
            if about.keys() != values.keys():
                changed = ", ".join(sorted(about.keys() ^ values.keys()))
                raise IncompleteError(
                    f"The parameters under {path} change while they are read: {changed}. They "
                    "were not backed up. Run it again."
                )
            found += [_kept(about[name], value) for name, value in values.items()]
    except (ClientError, BotoCoreError) as error:
        raise IncompleteError(
            f"The parameters of {env} could not be read completely: {reason(error)}. They were "
            "not backed up. It needs ssm:DescribeParameters, ssm:GetParametersByPath and "
            "kms:Decrypt."
        ) from error
    application = f"{naming.parameter_path(env)}/"
    ours = (application, suspension)
    return tuple(sorted((item for item in found if item.name.startswith(ours)), key=_name))


def write(kept: Sequence[Kept]) -> bytes:
    """Give parameters as the content of an envelope."""
    return json.dumps([asdict(item) for item in kept], ensure_ascii=False).encode()


def parse(content: bytes) -> tuple[Kept, ...]:
    """Give the parameters of an envelope's content."""
    return tuple(Kept(**item) for item in json.loads(content))


def _described(ssm: Any, path: str) -> dict[str, Mapping[str, Any]]:
    pages = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": [path]}],
        PaginationConfig={"PageSize": 50},
    )
    return {item["Name"]: item for page in pages for item in page["Parameters"]}


def _values(ssm: Any, path: str) -> dict[str, str]:
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=True, WithDecryption=True
    )
    return {item["Name"]: item["Value"] for page in pages for item in page["Parameters"]}


def _kept(about: Mapping[str, Any], value: str) -> Kept:
    return Kept(
        name=about["Name"],
        type=about["Type"],
        value=value,
        key_id=about.get("KeyId", ""),
        description=about.get("Description", ""),
        pattern=about.get("AllowedPattern", ""),
        tier=about.get("Tier", "Standard"),
        data_type=about.get("DataType", "text"),
    )


def _name(item: Kept) -> str:
    return item.name

"""The Parameter Store's part of a backup: every parameter with its value, in memory alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops.errors import IncompleteError
from ops.parameters.store import reason

if TYPE_CHECKING:
    from ops.access import Access

UNREADABLE: Final = frozenset({"InvalidKeyId", "KMSInvalidStateException", "DisabledException"})
"""What AWS says of a parameter whose key is of no use: a restore writes it again."""
_AT_ONCE: Final = 10
"""What SSM gives in a call by name."""


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
    version: int = field(default=0, compare=False)
    """Of the value, as AWS counts; what is made again begins anew, so no backup has it."""


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
            found += [_kept(about[name], valued) for name, valued in values.items()]
    except (ClientError, BotoCoreError) as error:
        raise IncompleteError(
            f"The parameters of {env} could not be read completely: {reason(error)}. They were "
            "not backed up. It needs ssm:DescribeParameters, ssm:GetParametersByPath and "
            "kms:Decrypt."
        ) from error
    application = f"{naming.parameter_path(env)}/"
    ours = (application, suspension)
    return tuple(sorted((item for item in found if item.name.startswith(ours)), key=_name))


def live(access: Access, names: Sequence[str]) -> dict[str, str | None]:
    """Give those of these parameters that are there; None where its key is of no use.

    Raises `IncompleteError` where one cannot be read for another reason.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    ssm = access.client("ssm")
    found: dict[str, str | None] = {}
    try:
        for start in range(0, len(names), _AT_ONCE):
            found |= _live(ssm, names[start : start + _AT_ONCE])
    except (ClientError, BotoCoreError) as error:
        raise IncompleteError(
            f"The parameters of {access.environment} could not be compared with the backup's: "
            f"{reason(error)}. They were not restored. It needs ssm:GetParameters and kms:Decrypt."
        ) from error
    return found


def _live(ssm: Any, names: Sequence[str]) -> dict[str, str | None]:
    """Read some together; where one of them spoils that, each by itself."""
    from botocore.exceptions import ClientError

    try:
        answer = ssm.get_parameters(Names=list(names), WithDecryption=True)
    except ClientError as error:
        if error.response["Error"]["Code"] not in UNREADABLE:
            raise
        if len(names) == 1:
            return {names[0]: None}
        return {name: value for one in names for name, value in _live(ssm, [one]).items()}
    return {item["Name"]: item["Value"] for item in answer["Parameters"]}


def write(kept: Sequence[Kept]) -> bytes:
    """Give parameters as the content of an envelope."""
    said = [asdict(item) for item in kept]
    for item in said:
        del item["version"]
    return json.dumps(said, ensure_ascii=False).encode()


def parse(content: bytes) -> tuple[Kept, ...]:
    """Give the parameters of an envelope's content."""
    return tuple(Kept(**item) for item in json.loads(content))


def _described(ssm: Any, path: str) -> dict[str, Mapping[str, Any]]:
    pages = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": [path]}],
        PaginationConfig={"PageSize": 50},
    )
    return {item["Name"]: item for page in pages for item in page["Parameters"]}


def _values(ssm: Any, path: str) -> dict[str, Mapping[str, Any]]:
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=True, WithDecryption=True
    )
    return {item["Name"]: item for page in pages for item in page["Parameters"]}


def _kept(about: Mapping[str, Any], valued: Mapping[str, Any]) -> Kept:
    return Kept(
        name=about["Name"],
        type=about["Type"],
        value=valued["Value"],
        key_id=about.get("KeyId", ""),
        description=about.get("Description", ""),
        pattern=about.get("AllowedPattern", ""),
        tier=about.get("Tier", "Standard"),
        data_type=about.get("DataType", "text"),
        version=int(valued["Version"]),
    )


def _name(item: Kept) -> str:
    return item.name

"""What a backup says of itself: its files, its databases' snapshots, and what it does not hold."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from infra import naming
from ops.errors import OpsError

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
"""Written last: a folder without one is no backup."""
SEAL: Final = "manifest.sha256"
"""The manifest's own checksum, written just before it, as `sha256sum --check` reads it."""
STATE: Final = "state.json"
PARAMETERS: Final = "parameters.enc"
KUBERNETES: Final = "kubernetes"
"""The folder of manifests, for `kubectl apply --recursive -f`."""
KUBERNETES_SECRETS: Final = "kubernetes-secrets.enc"
VERSIONS: Final = "versions.json"
VERIFIED: Final = "verified.json"
"""Beside the backup: when it was last read back whole, or what was found to be wrong with it."""
PROVEN: Final = "proven.json"
"""Beside the backup: when it was last restored onto a copy."""
BESIDE: Final = frozenset({MANIFEST, SEAL, VERIFIED, PROVEN})
"""What the manifest cannot hold the checksums of."""

Part = Literal["parameters", "kubernetes", "databases"]
PARTS: Final[tuple[Part, ...]] = ("parameters", "kubernetes", "databases")
"""What can be restored by itself."""

_PART: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_ID: Final = r"^[0-9]{8}-[0-9]{6}_[a-z]+$"

ClusterMode = Literal["applied", "absent"]
"""`absent`: there is no Kubernetes API, so there are no manifests."""


class ManifestError(OpsError):
    """A manifest cannot be read: the backup cannot be relied on."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class File(_Model):
    """A file of a backup."""

    name: Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*$")]
    """Its path in the backup's folder, never out of it."""
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    items: Annotated[int, Field(ge=0)] = 0
    """How many things it holds: resources, parameters, objects."""
    encrypted: bool = False
    fingerprint: str = ""
    """Of an encrypted file: what tells its content again."""


class Table(_Model):
    """What a table of a database held when its snapshot was taken."""

    rows: int
    checksum: str
    """Of all rows, whatever their order. Empty: the table was written to meanwhile, or not read."""
    unread: str = ""
    """Why it was not read; empty: it was."""


class Snapshot(_Model):
    """A database, and the snapshot that holds it."""

    name: str
    """As settings call it."""
    identifier: str
    """The instance it was taken of."""
    snapshot: str
    arn: str
    created: AwareDatetime
    """The moment that a restore brings back."""
    engine_version: str
    allocated_gb: int
    instance_class: str
    kms_key_id: str
    tables: dict[str, Table] = Field(default_factory=dict)
    """Schema and table → what it held; empty where the database could not be reached."""
    master_username: str = ""
    """What an instance that is made of it has for good; empty: it was not written down."""
    database_name: str = ""
    """The same of the database inside."""


class Omission(_Model):
    """Something that is not in the backup."""

    what: str
    why: str


class Manifest(_Model):
    """A whole backup."""

    version: Literal[1] = VERSION
    id: Annotated[str, Field(pattern=_ID)]
    environment: naming.Environment
    account_id: str
    region: str
    created: AwareDatetime
    """When the run began that made it."""
    run: str
    why: str
    backups_key: str
    databases_key: str
    """ARNs of the bootstrap's keys that it needs."""
    kubernetes: ClusterMode
    files: tuple[File, ...]
    databases: tuple[Snapshot, ...]
    parameters: tuple[str, ...]
    """Their names."""
    not_backed_up: tuple[Omission, ...]

    def file(self, name: str) -> File | None:
        """Give a file by its name."""
        return next((file for file in self.files if file.name == name), None)

    @property
    def size(self) -> int:
        """How many bytes its files have together."""
        return sum(file.bytes for file in self.files)

    def to_bytes(self) -> bytes:
        """Give it as it is written."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def moment(id_: str) -> dt.datetime | None:
    """Give when a backup was begun, as its name says; None for what is no name of a backup."""
    if not re.fullmatch(_ID, id_):
        return None
    try:
        return dt.datetime.strptime(f"{id_.partition('_')[0]}+0000", "%Y%m%d-%H%M%S%z")
    except ValueError:
        return None


def parse(content: bytes, seal: bytes) -> Manifest:
    """Read a manifest; raises `ManifestError` where it is not what was written."""
    if seal.split()[:1] != [sha256(content).encode()]:
        raise ManifestError(
            f"{MANIFEST} is not what was written: its checksum is not the one in {SEAL}. "
            "Nothing of the backup was used."
        )
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(
            f"{MANIFEST} cannot be read: {where}: {first['msg']}. Nothing of the backup was used; "
            "another release of ops may have written it."
        ) from error


def seal_of(content: bytes) -> bytes:
    """Give what `SEAL` holds of a manifest."""
    return f"{sha256(content)}  {MANIFEST}\n".encode()


def sha256(content: bytes) -> str:
    """Give a checksum as it is written."""
    return hashlib.sha256(content).hexdigest()

"""Where the state of a bootstrap or account stack lives, found by looking.

A bootstrap's state begins in a directory on one machine, encrypted by a passphrase that never
leaves it, and is moved into the bucket that it made, encrypted by the key that it made. As long as
there is a state on this machine, the move has not ended and that is the one that counts. The
account's state lives in the state bucket of one of the account's environments.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from infra import naming
from ops.access import account_settings, project, stack_name
from ops.errors import IncompleteError, OpsError
from ops.foundation import state_buckets

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access, StackKind

InlineKind = Literal["bootstrap", "account"]

PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of a file and of a provider
FOLDER: Final = "states"
"""Where the states on this machine are, among its records."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A backend that holds, or is to hold, a stack's state."""

    url: str
    secrets_provider: str
    """What encrypts its secrets, as `pulumi stack init --secrets-provider` takes it."""
    environment: str = ""
    """Whose state bucket it is; empty: it is on this machine."""
    folder: Path | None = None
    """What goes with the state, where that is on this machine and was made by ops."""
    passphrase: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Tell whether it is on this machine."""
        return not self.environment

    @property
    def variables(self) -> dict[str, str]:
        """What the Pulumi CLI, or the embedded engine, finds in its environment.

        No passphrase of the shell's is ever taken for the state's: in a bucket it has none.
        """
        if self.is_local and self.folder is None:
            return {"PULUMI_BACKEND_URL": self.url}
        return {
            "PULUMI_BACKEND_URL": self.url,
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase or "",
            "PULUMI_CONFIG_PASSPHRASE_FILE": "",
        }


def find(access: Access, kind: InlineKind) -> Home | None:
    """Find where a stack's state is; None where it is nowhere that can be seen from here.

    Raises `IncompleteError` where the account's buckets cannot be looked into.
    """
    return local(access, kind) or in_bucket(access, kind)


def local(access: Access, kind: InlineKind) -> Home | None:
    """Give the home of a state on this machine; None where there is none."""
    folder = folder_of(access, kind)
    if _has_state(folder, access, kind):
        return _of_folder(folder, _read_passphrase(folder))
    if access.mode == "sandbox":
        own = embedded(access)
        if own.folder is None and _has_state(Path(own.url.removeprefix("file://")), access, kind):
            return own
    return None


def embedded(access: Access) -> Home:
    """Give the sandbox's own backend, which has a passphrase of its own."""
    return Home(url=access.backend, secrets_provider=PASSPHRASE)


def new_local(access: Access, kind: InlineKind) -> Home:
    """Give the home for a state on this machine, with a random passphrase; made if needed."""
    return new_at(folder_of(access, kind))


def new_at(folder: Path) -> Home:
    """As `new_local`, in another folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / PASSPHRASE
    if not file.exists():
        partial = folder / f"{PASSPHRASE}.new"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as text:
            text.write(secrets.token_urlsafe(32))
            text.flush()
            os.fsync(text.fileno())
        partial.replace(file)
    return _of_folder(folder, _read_passphrase(folder))


def folder_of(access: Access, kind: InlineKind) -> Path:
    """Give the folder of a stack's state on this machine."""
    return access.records / FOLDER / project(kind) / stack_name(kind, access.settings)


def in_bucket(access: Access, kind: InlineKind) -> Home | None:
    """Find a stack's state in the state buckets that may have it; None where none has."""
    return next(in_buckets(access, kind), None)


def in_buckets(access: Access, kind: InlineKind) -> Iterator[Home]:
    """Find every state bucket that has a stack's state: two while it is moved between them."""
    return (home for home in buckets(access, kind) if _bucket_has_state(access, kind, home))


def buckets(access: Access, kind: InlineKind) -> list[Home]:
    """Give the buckets that may hold a stack's state, the one that is meant for it first."""
    found = []
    for settings in hosts(access, kind):
        names = state_buckets(replace(access, settings=settings, client=access.own_client))
        if len(names) > 1:
            raise OpsError(
                f"There are several state buckets of {settings.environment}: {', '.join(names)}. "
                "Which one is the environment's cannot be told. Nothing was done. Remove what is "
                "left of a former one."
            )
        found += [of_bucket(settings, name) for name in names]
    return found


def hosts(access: Access, kind: InlineKind) -> list[Settings]:
    """Give the environments whose bucket may hold a stack's state, in the order of preference."""
    if kind == "bootstrap":
        return [access.settings]
    together = account_settings(access.root, access.settings)
    return sorted(together, key=lambda item: naming.ENVIRONMENTS.index(item.environment))


def of_bucket(settings: Settings, bucket: str) -> Home:
    """Give the home that an environment's state bucket is."""
    return Home(
        url=bucket_url(bucket, settings.region),
        secrets_provider=key_address(settings),
        environment=settings.environment,
    )


def bucket_url(bucket: str, region: str) -> str:
    """Give the address of a state bucket, for every CLI that is supported."""
    return f"s3://{bucket}?region={region}&awssdk=v2"


def key_address(settings: Settings) -> str:
    """Give the address of the key that encrypts the secrets of states in the bucket."""
    said = settings.backend.secrets_provider
    if said.startswith("awskms://"):
        return said
    return f"awskms://{naming.state_key_alias(settings.environment)}?region={settings.region}"


def bucket_name(home: Home) -> str:
    """Give the bucket of an address."""
    return home.url.removeprefix("s3://").partition("?")[0].partition("/")[0]


def variables(access: Access, home: Home) -> Mapping[str, str]:
    """Give what a command on the stack finds in its environment."""
    return {**access.variables, **home.variables}


def _of_folder(folder: Path, passphrase: str) -> Home:
    return Home(
        url=f"file://{folder}",
        secrets_provider=PASSPHRASE,
        folder=folder,
        passphrase=passphrase,
    )


def _read_passphrase(folder: Path) -> str:
    file = folder / PASSPHRASE
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise OpsError(
            f"The passphrase of the state in {folder} cannot be read ({error.strerror}). Nothing "
            f"was done. Put {file} back: without it what is secret in the state cannot be read."
        ) from error


def _has_state(root: Path, access: Access, kind: StackKind) -> bool:
    folder = root / ".pulumi" / "stacks" / project(kind)
    name = stack_name(kind, access.settings)
    return any((folder / f"{name}.json{end}").is_file() for end in ("", ".gz", ".zst"))


def _bucket_has_state(access: Access, kind: StackKind, home: Home) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = bucket_name(home)
    key = f".pulumi/stacks/{project(kind)}/{stack_name(kind, access.settings)}.json"
    try:
        answer = access.own_client("s3").list_objects_v2(
            Bucket=bucket, Prefix=key, ExpectedBucketOwner=access.settings.account_id
        )
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether s3://{bucket} holds the state of {project(kind)} could not be read: {error}. "
            "Nothing was done."
        ) from error
    found = {item["Key"] for item in answer.get("Contents", [])}
    return bool(found & {f"{key}{end}" for end in ("", ".gz", ".zst")})

"""Looking at backups: whether one is whole, unchanged, and can still be opened."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.backup import cluster, databases, envelope, parameters
from ops.backup.manifest import (
    KUBERNETES,
    KUBERNETES_SECRETS,
    MANIFEST,
    PARAMETERS,
    PARTS,
    PROVEN,
    STATE,
    VERIFIED,
    File,
    Manifest,
    ManifestError,
    Part,
    Snapshot,
)
from ops.backup.proof import Proof, parse
from ops.backup.store import DamagedError, MissingError, Store, described_key
from ops.checks import Check
from ops.errors import IncompleteError, OpsError

_UNUSABLE: Final = frozenset({"DisabledException", "KMSInvalidStateException", "NotFoundException"})
"""What KMS says of a key that opens nothing."""
_KEY: Final = "key "
"""What the names of checks of keys begin with."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A backup in the list of them."""

    id: str
    complete: bool
    problem: str = ""
    """Why it is none, or not usable."""
    created: str = ""
    bytes: int = 0
    files: int = 0
    databases: tuple[str, ...] = ()
    """Instances of which it has a snapshot."""
    snapshots: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The same databases, as settings call them."""
    verified: str = ""
    """When it was last read back whole; empty: never, or it was not when it was last read."""
    damaged: str = ""
    """What was wrong with it when it was last read back; empty: nothing."""
    proven: str = ""
    """When all of it was last restored onto copies, and nothing was wrong; empty: never."""
    proof: Proof | None = None
    """What its last rehearsal has shown; None: there was none."""
    local: bool = False
    """Whether a copy of it is on this machine."""
    bucket: bool = True


def entries(store: Store) -> list[Entry]:
    """Give every backup of the environment, the oldest first.

    Raises `IncompleteError` where the bucket cannot be listed or read.
    """
    local, remote = set(store.local_ids()), set(store.ids())
    return [
        _entry(store, id_, local=id_ in local, remote=id_ in remote)
        for id_ in sorted(local | remote)
    ]


def _entry(store: Store, id_: str, *, local: bool, remote: bool) -> Entry:
    if not remote:
        problem = "it is on this machine alone"
        return Entry(id=id_, complete=False, problem=problem, local=True, bucket=False)
    try:
        manifest = store.manifest(id_)
    except (MissingError, ManifestError) as error:
        missing = "it has no manifest: its run did not finish"
        problem = missing if isinstance(error, MissingError) else str(error)
        return Entry(id=id_, complete=False, problem=problem, local=local)
    verified = _beside(store, id_, VERIFIED)
    proof = kept_proof(store, id_)
    return Entry(
        id=id_,
        complete=True,
        created=manifest.created.isoformat(timespec="seconds"),
        bytes=manifest.size,
        files=len(manifest.files),
        databases=tuple(item.identifier for item in manifest.databases),
        snapshots=tuple(item.snapshot for item in manifest.databases),
        names=tuple(item.name for item in manifest.databases),
        verified=str(verified.get("at", "")),
        damaged=", ".join(map(str, verified.get("wrong", ()))),
        proven=proof.at if proof and proof.whole else "",
        proof=proof,
        local=local,
    )


def kept_proof(store: Store, id_: str) -> Proof | None:
    """Give what the last rehearsal of a backup has shown; None where there is nothing to read."""
    try:
        return parse(store.fetch(id_, PROVEN))
    except MissingError:
        return None


def _beside(store: Store, id_: str, name: str) -> Mapping[str, Any]:
    """Give what was written down beside a backup; nothing where it cannot be read."""
    try:
        found = json.loads(store.fetch(id_, name))
    except (MissingError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def checks(
    store: Store,
    backup: str,
    parts: Sequence[Part] = PARTS,
    names: Collection[str] = (),
) -> tuple[Check, ...]:
    """Look at everything that a restore of these parts of a backup needs; change nothing.

    `names`: databases, where not all of them are meant. Copies on this machine are not among what
    is needed: see `copies`.
    """
    manifest_check, manifest = _manifest(store, backup)
    if manifest is None:
        return (manifest_check,)
    files = [file for file in manifest.files if _is_needed(file, parts)]
    with_databases = "databases" in parts
    snapshots = [item for item in manifest.databases if not names or item.name in names]
    return (
        manifest_check,
        *(_remote(store, manifest, file) for file in files),
        *_opened(store, manifest, files),
        *(_snapshot(store, manifest, item) for item in snapshots if with_databases),
        *_keys(store, manifest, with_databases=with_databases),
        *(_state_secrets(store, manifest) if with_databases else ()),
    )


def _is_needed(file: File, parts: Sequence[Part]) -> bool:
    """Tell whether a restore of these parts reads a file."""
    if set(PARTS) <= set(parts):
        return True
    if file.name == PARAMETERS:
        return "parameters" in parts
    if file.name == KUBERNETES_SECRETS or file.name.startswith(f"{KUBERNETES}/"):
        return "kubernetes" in parts
    return file.name == STATE and "databases" in parts


def record(seen: Sequence[Check], *, at: str, run: str = "") -> Mapping[str, Any] | None:
    """Give what is written down of a backup that was read back; None where nothing was shown.

    A key that is not usable is mended, and all backups need it: it makes none worse than another.
    One that is not good says no moment: whatever looks for one finds it not verified.
    """
    bad = [check for check in seen if check.status != "ok"]
    wrong = [
        f"{check.name}: {check.found}"
        for check in bad
        if check.status != "unknown" and not check.name.startswith(_KEY)
    ]
    if wrong:
        return {"found_damaged": at, "wrong": wrong}
    if bad:
        return None
    return {"at": at, "run": run} if run else {"at": at}


def _manifest(store: Store, backup: str) -> tuple[Check, Manifest | None]:
    name = store.where(backup, MANIFEST)
    try:
        manifest = store.manifest(backup)
    except IncompleteError as error:
        return _unknown(name, error), None
    except (MissingError, ManifestError) as error:
        return _fail(name, str(error), "the manifest as it was written"), None
    if (manifest.id, manifest.environment) != (backup, store.access.environment):
        found = f"it is that of {manifest.id} of {manifest.environment}"
        return _fail(name, found, f"{backup} of {store.access.environment}"), None
    return Check(name=name, status="ok", found="whole and unchanged"), manifest


def _remote(store: Store, manifest: Manifest, file: File) -> Check:
    name = store.where(manifest.id, file.name)
    try:
        store.fetch_checked(manifest.id, file)
    except IncompleteError as error:
        return _unknown(name, error)
    except (MissingError, DamagedError) as error:
        return _fail(name, str(error), f"{file.bytes} bytes, sha256 {file.sha256}")
    return Check(name=name, status="ok", found=f"{file.bytes} bytes, unchanged")


def copies(store: Store, backup: str) -> Iterator[Check]:
    """Look at the copies on this machine, where there are any: no restore reads them."""
    if not store.path(backup).is_dir():
        return
    manifest = _manifest(store, backup)[1]
    if manifest is None:
        return
    for file in manifest.files:
        path = store.path(manifest.id, file.name)
        name = str(path)
        if not path.is_file():
            yield _fail(name, "it is not there", "a copy of what is in the bucket")
        elif (found := _sum(path.read_bytes())) != file.sha256:
            yield _fail(name, f"it is damaged: its checksum is {found}", f"sha256 {file.sha256}")
        else:
            yield Check(name=name, status="ok", found=f"{file.bytes} bytes, unchanged")


def _opened(store: Store, manifest: Manifest, files: Sequence[File]) -> Iterator[Check]:
    """Decrypt what is encrypted, in memory."""
    for file in files:
        if not file.encrypted:
            continue
        name = f"{file.name} decrypted"
        try:
            content = unsealed(store, manifest, file.name)
        except IncompleteError as error:
            yield _unknown(name, error)
        except OpsError as error:
            yield _fail(name, str(error), "what was encrypted")
        else:
            yield _content(manifest, file, name, content)


def _content(manifest: Manifest, file: File, name: str, content: bytes) -> Check:
    items = json.loads(content)
    if file.name == PARAMETERS:
        names = tuple(item.name for item in parameters.parse(content))
        if names != manifest.parameters:
            return _fail(name, f"{len(names)} others", f"{len(manifest.parameters)} parameters")
    return Check(name=name, status="ok", found=f"{len(items)} found, as they were")


def unsealed(store: Store, manifest: Manifest, name: str) -> bytes:
    """Fetch and decrypt an encrypted file, in memory.

    Raises `OpsError` where it is damaged, `IncompleteError` where it cannot be read or opened.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    file = manifest.file(name)
    if file is None:
        raise MissingError(f"The backup {manifest.id} has no {name}.")
    bound = {"environment": manifest.environment, "backup": manifest.id, "file": name}
    text = store.fetch_checked(manifest.id, file)
    try:
        content, fingerprint = envelope.unseal(store.envelopes, bound, text)
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(f"{name} could not be decrypted: {error}.") from error
    if fingerprint != file.fingerprint:
        raise DamagedError(f"{name} holds other content than was written. Nothing of it was used.")
    return content


def kept_parameters(store: Store, manifest: Manifest) -> tuple[parameters.Kept, ...]:
    """Give the parameters of a backup with their values; raises as `unsealed` does."""
    return parameters.parse(unsealed(store, manifest, PARAMETERS))


def kept_objects(store: Store, manifest: Manifest) -> list[cluster.Manifest]:
    """Give the cluster's objects of a backup, in the order to apply them; raises likewise."""
    if manifest.kubernetes == "absent":
        return []
    found = [
        item
        for file in manifest.files
        if file.name.startswith("kubernetes/")
        for item in cluster.parse(store.fetch_checked(manifest.id, file))
    ]
    return cluster.in_order([*found, *json.loads(unsealed(store, manifest, KUBERNETES_SECRETS))])


def _snapshot(store: Store, manifest: Manifest, kept: Snapshot) -> Check:
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"snapshot {kept.snapshot}"
    try:
        found = databases.snapshot_state(store.access.client("rds"), kept.snapshot)
    except (BotoCoreError, ClientError) as error:
        return _unknown(name, error)
    if found is None:
        return _fail(name, "it is not there", f"the snapshot of {kept.identifier}")
    if found["Status"] != "available":
        return _fail(name, str(found["Status"]), "available")
    key = found.get("KmsKeyId", "")
    if key != manifest.databases_key:
        return _fail(
            name, f"encrypted by {key or 'no key'}", f"the bootstrap's {manifest.databases_key}"
        )
    said = f"available, {found['AllocatedStorage']} GB, PostgreSQL {found['EngineVersion']}"
    return Check(name=name, status="ok", found=said)


def _state_secrets(store: Store, manifest: Manifest) -> Iterator[Check]:
    """Open the data key of the state's secrets, where a key of KMS has sealed it.

    Without it no update goes on with that state. A passphrase is not looked at.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        content = store.fetch_checked(manifest.id, _state_file(manifest))
        deployment = json.loads(content).get("deployment") or {}
    except (OpsError, ValueError):
        return  # the file's own check says so
    provider = deployment.get("secrets_providers") or {}
    kept = provider.get("state") or {}
    if not str(kept.get("url", "")).startswith("awskms:"):
        return
    name = f"{_KEY}{kept['url']} of the secrets in {STATE}"
    try:
        store.envelopes.decrypt(CiphertextBlob=base64.b64decode(kept["encryptedkey"]))
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNUSABLE:
            yield _fail(name, str(error), "it can be opened")
        else:
            yield _unknown(name, error)
    except (BotoCoreError, ValueError) as error:
        yield _unknown(name, error)
    else:
        yield Check(name=name, status="ok", found="the data key opens")


def _state_file(manifest: Manifest) -> File:
    file = manifest.file(STATE)
    if file is None:
        raise MissingError(f"The backup {manifest.id} has no {STATE}.")
    return file


def _keys(store: Store, manifest: Manifest, *, with_databases: bool) -> Iterator[Check]:
    keys = (manifest.backups_key, *((manifest.databases_key,) if with_databases else ()))
    for key in dict.fromkeys(keys):
        try:
            found = described_key(store.envelopes, key)
        except IncompleteError as error:
            yield _unknown(f"{_KEY}{key}", error)
            continue
        yield _key(key, found)


def _key(key: str, found: dict[str, Any]) -> Check:
    state = str(found["KeyState"])
    if state == "Enabled":
        return Check(name=f"{_KEY}{key}", status="ok", found="enabled")
    until = found.get("DeletionDate")
    said = f"{state}, deleted on {until:%Y-%m-%d}" if until else state
    return Check(
        name=f"{_KEY}{key}",
        status="fail",
        found=said,
        expected="Enabled: without it the backup cannot be opened",
        remedy=f"aws kms cancel-key-deletion --key-id {key} && aws kms enable-key --key-id {key}",
    )


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fail(name: str, found: str, expected: str) -> Check:
    remedy = "restore from another backup, and make a new one: ops backup ENV"
    return Check(name=name, status="fail", found=found, expected=expected, remedy=remedy)


def _unknown(name: str, error: Exception) -> Check:
    return Check(
        name=name,
        status="unknown",
        found=str(error),
        expected="it can be read",
        remedy="look at the permissions of whoever asks, then verify again",
    )

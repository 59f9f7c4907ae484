"""Moving a stack's state from one backend into another, so that it is never in doubt which counts.

What is compared are the states with their secrets decrypted, in memory alone. What is kept on the
disk meanwhile is encrypted, or a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from infra import naming
from ops import stack as stacks
from ops.errors import OpsError

if TYPE_CHECKING:
    from pulumi.automation import LocalWorkspace, Stack

    from ops.access import Access
    from ops.homes import Home, InlineKind
    from ops.plan import Data

State = Mapping[str, Any]
"""A deployment as it is exported."""

_SHOWN: Final = 10
_BEFORE: Final = "before.json"
_COPIED: Final = "copied.sha256"


def rekey(stack: Stack, provider: str, keep: Path) -> Data:
    """Encrypt a state's secrets by another provider; what was before is kept in a folder."""
    before = stacks.exported(stack)
    if provider_of(before) == provider:
        return {"already": provider}
    workspace = cast("LocalWorkspace", stack.workspace)
    _keep(keep / _BEFORE, json.dumps(before).encode())
    file = Path(workspace.work_dir) / naming.stack_file(stack.name)
    if file.exists():
        _keep(keep / file.name, file.read_bytes())
    stacks.run_cli(stack, ["stack", "change-secrets-provider", provider, "--stack", stack.name])
    after = provider_of(stacks.exported(stack))
    if after != provider:
        raise OpsError(
            f"The state's secrets are still encrypted by {after or 'nothing'}; expected {provider}."
            " Nothing was moved. Run the same command again."
        )
    return {"secrets_provider": provider, "before": str(keep / _BEFORE)}


def copy(source: Stack, destination: Stack, keep: Path) -> Data:
    """Import one stack's state into another backend's, unless it is there already.

    Raises `OpsError` where the destination holds something else than what was copied there before.
    """
    old = stacks.exported(source, show_secrets=True)
    new = stacks.exported(destination, show_secrets=True)
    digest = digest_of(old)
    if digest_of(new) == digest:
        return {"already": "the same state", "sha256": digest}
    refuse_foreign(new, keep)
    note_copied(keep, old)
    load(destination, stacks.exported(source), keep)
    return {"resources": len(resources(old)), "sha256": digest}


def refuse_foreign(held: State, keep: Path) -> None:
    """Refuse to write over a state that is not what was copied there before."""
    if not resources(held):
        return
    copied = keep / _COPIED
    if copied.exists() and copied.read_text(encoding="utf-8") == digest_of(held):
        return
    raise OpsError(
        f"The state in the bucket has {len(resources(held))} resources and is neither the one on "
        "this machine nor what was copied from it: somebody has changed it since. Nothing was "
        "copied, both were kept. If the one on this machine is right, delete the other's object "
        "from the bucket, which keeps its versions; if the one in the bucket is, move the folder "
        f"{keep.parent} away. Then run the same command again."
    )


def note_copied(keep: Path, state: State) -> None:
    """Note what the other backend holds, by which it is known again."""
    _write(keep / _COPIED, digest_of(state).encode())


def load(destination: Stack, state: State, keep: Path) -> None:
    """Import an exported state, its secrets encrypted; a copy of it is kept."""
    file = keep / "state.json"
    _write(file, json.dumps(state).encode())
    arguments = ["stack", "import", "--file", str(file), "--stack", destination.name]
    stacks.run_cli(destination, arguments)


def compare(source: Stack, destination: Stack) -> Data:
    """Compare two states, their secrets decrypted; raises `OpsError` where they differ."""
    old = stacks.exported(source, show_secrets=True)
    new = stacks.exported(destination, show_secrets=True)
    refuse_differences(old, new)
    if provider_of(old) != provider_of(new):
        raise OpsError(
            f"The state in the bucket is encrypted by {provider_of(new) or 'nothing'}; expected "
            f"{provider_of(old)}. The state on this machine was kept."
        )
    return {"resources": len(resources(new)), "sha256": digest_of(new)}


def refuse_differences(old: State, new: State) -> None:
    """Raise `OpsError` where a copy is not what was copied."""
    found = list(differences(old, new))
    if found:
        more = f"\n    and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        named = "\n".join(f"    {item}" for item in found[:_SHOWN])
        raise OpsError(
            "The copy of the state is not what was copied. The old one was kept and still counts:"
            f"\n{named}{more}\nRun the same command again: it copies anew, or says what to do."
        )


def refuse_unlike(access: Access, kind: InlineKind, local: Home, target: Home) -> None:
    """Compare once more, right before the old state goes; raises `OpsError`."""
    source = stacks.open_at(access, kind, local, create=False)
    compare(source, stacks.open_at(access, kind, target, create=False))


def remove(access: Access, kind: InlineKind, local: Home) -> None:
    """Remove a stack's state from this machine, and nothing of what it describes."""
    if local.folder is None:
        stack = stacks.open_at(access, kind, local, create=False)
        stacks.run_cli(stack, ["stack", "rm", "--yes", "--force", "--preserve-config", stack.name])
        return
    # In one move: from then on it is the state in the bucket that counts.
    gone = local.folder / "removed"
    shutil.rmtree(gone, ignore_errors=True)
    (local.folder / ".pulumi").rename(gone)


def forget(folder: Path) -> None:
    """Remove the passphrase and the copies that were kept with a state."""
    shutil.rmtree(folder, ignore_errors=True)


def provider_of(state: State) -> str:
    """Give what a state's secrets are encrypted by: a key's address, or the provider's kind."""
    provider = (state.get("deployment") or {}).get("secrets_providers") or {}
    return str((provider.get("state") or {}).get("url") or provider.get("type") or "")


def resources(state: State) -> list[Mapping[str, Any]]:
    """Give the resources of a state."""
    return list((state.get("deployment") or {}).get("resources") or [])


def digest_of(state: State) -> str:
    """Give what stands for a state's content, whatever encrypts it."""
    text = json.dumps(_content(state), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: State, new: State) -> Iterator[str]:
    """Say in what two states differ, without saying any value."""
    nothing: Mapping[str, Any] = {}
    pairs = zip_longest(resources(old), resources(new), fillvalue=nothing)
    for one, other in pairs:
        if one == other:
            continue
        urn = one.get("urn") or other.get("urn")
        if one.get("urn") != other.get("urn"):
            yield f"{urn}: {'missing' if not other else 'not at the same place'}"
            continue
        fields = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        yield f"{urn}: {', '.join(fields)}"
    if _content(old)["pending"] != _content(new)["pending"]:
        yield "the operations that are under way"


def _content(state: State) -> dict[str, Any]:
    deployment = state.get("deployment") or {}
    return {
        "resources": deployment.get("resources") or [],
        "pending": deployment.get("pending_operations") or [],
    }


def _keep(file: Path, content: bytes) -> None:
    """Write a file and its checksum, unless it was kept before."""
    if not file.exists():
        checksum = file.with_name(f"{file.name}.sha256")
        _write(checksum, f"{hashlib.sha256(content).hexdigest()}  {file.name}\n".encode())
        _write(file, content)


def _write(file: Path, content: bytes) -> None:
    """Replace a file as a whole, for the user alone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)

"""Retiring a bootstrap: what outlives an environment goes as well, once somebody asks for that.

A stack must not delete the bucket that its own state is in: the state is brought back to this
machine first, as it was before it was moved. The journals go with the bucket, and are copied out
of it before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from infra import naming
from ops import homes, moving, protection, stack, update
from ops.errors import IncompleteError, OpsError, RefusedError
from ops.execution import Action, Context
from ops.journal import FOLDER as JOURNALS
from ops.plan import Data, Step
from ops.tree import UpdateLog

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi.automation import Stack

    from ops.access import Access
    from ops.homes import Home

_BUCKET: Final = "aws:s3/bucket:Bucket"
_BATCH: Final = 1000
"""How many versions of objects S3 deletes by one call."""


def bootstrap_retirement_steps(access: Access, *, stage: int) -> tuple[Step, ...]:
    """Give the steps that take an environment's bootstrap away, the first one at a stage.

    The environment itself is to be gone by then. The last step removes the lock table, too: no
    other may follow it. Empty where there is no bootstrap. Raises `RefusedError` where the state of
    the account's stack would go with it.
    """
    home = homes.find(access, "bootstrap")
    if home is None:
        return ()
    refuse_to_strand_account(access)
    env = access.environment
    told = (
        ("bootstrap-journals", "copy the journals of its runs to this machine", False),
        ("bootstrap-home", "bring the bootstrap's state back to this machine", False),
        ("bootstrap-release", "take the protection off its buckets, table and keys", False),
        ("bootstrap-empty", "empty its buckets: state, backups, logs and their copies", True),
        (
            "bootstrap-destroy",
            "delete the bootstrap: buckets, images, lock table, roles; schedule its keys' deletion",
            True,
        ),
    )
    return tuple(
        Step(
            id=name,
            action=name,
            kind="bootstrap",
            target=naming.prefix(env),
            summary=summary,
            stage=stage + number,
            destructive=destructive,
        )
        for number, (name, summary, destructive) in enumerate(told)
    )


def bring_home(access: Access) -> Data:
    """Move the state of the bootstrap from its bucket back to this machine, and check it.

    It is put together aside: only when it is whole does it count. Raises `OpsError` where it
    differs from the one in the bucket.
    """
    local = homes.local(access, "bootstrap")
    if local:
        return {"already": local.url}
    remote = homes.in_bucket(access, "bootstrap")
    if remote is None:
        return {"already": "there is no state of a bootstrap"}
    folder = homes.folder_of(access, "bootstrap")
    aside = folder.with_name(f"{folder.name}.returning")
    shutil.rmtree(aside, ignore_errors=True)
    there = stack.open_at(access, "bootstrap", remote, create=False)
    before = stack.exported(there, show_secrets=True)
    # Made with the key of the bucket's, since a passphrase is changed into another one at a
    # terminal only.
    made = replace(homes.new_at(aside), secrets_provider=remote.secrets_provider)
    here = stack.open_at(access, "bootstrap", made, create=True)
    moving.load(here, stack.exported(there), aside / "kept")
    moving.rekey(here, homes.PASSPHRASE, aside / "kept")
    after = stack.exported(here, show_secrets=True)
    moving.refuse_differences(before, after)
    moving.note_copied(aside / "kept", before)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return {"state": f"file://{folder}", "resources": len(moving.resources(after))}


def refuse_to_strand_account(access: Access) -> None:
    """Refuse while the state of the account's stack is in this environment's bucket."""
    home = homes.in_bucket(access, "account")
    if home is None or home.environment != access.environment:
        return
    held = moving.resources(stack.exported(stack.open_at(access, "account", home, create=False)))
    if not held:
        return
    others = [
        other.environment
        for other in homes.buckets(access, "account")
        if other.environment != access.environment
    ]
    env = access.environment
    remedy = (
        f"Move it to {others[0]}'s bucket first: ops bootstrap account --environment {env}"
        f" --move-to {others[0]}"
        if others
        else f"The audit trail, the budget and the rest of the account go first: ops destroy {env} "
        "--stack account"
    )
    raise RefusedError(
        f"The state of the account's stack ({len(held)} resources) is in the state bucket of {env}"
        f" and would be lost with it. Nothing was changed. {remedy}"
    )


def move_account(access: Access, source: Home, target: Home) -> Data:
    """Move the account's state from one environment's bucket into another's."""
    keep = homes.folder_of(access, "account") / "kept"
    there = stack.open_at(access, "account", source, create=False)
    before, sealed = stack.exported(there, show_secrets=True), stack.exported(there)
    here = stack.open_at(access, "account", target, create=True)
    held = stack.exported(here, show_secrets=True)
    if moving.digest_of(held) != moving.digest_of(before):
        moving.refuse_foreign(held, keep)
        moving.note_copied(keep, before)
        moving.load(here, sealed, keep)
    moving.rekey(here, target.secrets_provider, keep)
    # Exported anew: an update of the source may have ended since.
    moving.refuse_differences(
        stack.exported(there, show_secrets=True), stack.exported(here, show_secrets=True)
    )
    moving.remove(access, "account", source)
    moving.forget(homes.folder_of(access, "account"))
    return {"state": target.url, "resources": len(moving.resources(before))}


def _journals(context: Context, _step: Step) -> Data:
    """Copy every record of every run out of the bucket that will be deleted."""
    from botocore.exceptions import BotoCoreError, ClientError

    access = context.access
    found = homes.buckets(access, "bootstrap")
    if not found:
        return {"already": "there is no bucket"}
    bucket = homes.bucket_name(found[0])
    client = access.own_client("s3")
    folder = access.records / "retired" / bucket
    owner = {"Bucket": bucket, "ExpectedBucketOwner": access.settings.account_id}
    number = 0
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Prefix=f"{JOURNALS}/", **owner)
        for page in pages:
            for item in page.get("Contents", []):
                body = client.get_object(Key=item["Key"], **owner)["Body"].read()
                _save(folder / item["Key"], body)
                number += 1
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The journals in s3://{bucket} could not be copied: {error}. Nothing was deleted."
        ) from error
    return {"copied": number, "folder": str(folder)}


def _home(context: Context, _step: Step) -> Data:
    return bring_home(context.access)


def _release(context: Context, _step: Step) -> Data:
    """Make deletable what protects itself, by the program and in the state."""
    access = context.access
    if homes.find(access, "bootstrap") is None:
        return {"already": "there is no bootstrap"}
    with protection.teardown_settings(access, "bootstrap") as (opened, _):
        held = protection.entries(opened)
        only = tuple(entry["urn"] for entry in held)
        if only:
            # What is there and nothing else: a destroy that is run again makes nothing new.
            _run(context, opened, "up", update.Options(targets=only))
        marked = protection.protected(protection.entries(opened))
        if marked:
            arguments = ["state", "unprotect", "--yes", "--stack", opened.name, *marked]
            stack.run_cli(opened, arguments)
    return {"protected before": len(marked)}


def _empty(context: Context, _step: Step) -> Data:
    access = context.access
    home = homes.local(access, "bootstrap")
    if home is None:
        return {"already": "there is no state of a bootstrap on this machine"}
    opened = stack.open_at(access, "bootstrap", home, create=False)
    emptied = {}
    for entry in moving.resources(stack.exported(opened)):
        if entry["type"] == _BUCKET and entry.get("id"):
            region = str(entry.get("outputs", {}).get("region") or access.settings.region)
            emptied[str(entry["id"])] = _emptied(context, str(entry["id"]), region)
    return {"versions deleted": emptied}


def _emptied(context: Context, bucket: str, region: str) -> int:
    """Delete every version of every object; give how many there were."""
    client = context.access.client("s3", region)
    owner = {"Bucket": bucket, "ExpectedBucketOwner": context.access.settings.account_id}
    number = 0
    try:
        for batch in _versions(client, owner):
            answer = client.delete_objects(Delete={"Objects": batch, "Quiet": True}, **owner)
            if errors := answer.get("Errors"):
                raise OpsError(
                    f"{len(errors)} objects of {bucket} could not be deleted; the first: "
                    f"{errors[0]['Key']} ({errors[0]['Code']})."
                )
            number += len(batch)
    except client.exceptions.NoSuchBucket:
        return number
    if number:
        context.note(f"emptied {bucket}: {number} versions of objects")
    return number


def _versions(client: Any, owner: Mapping[str, str]) -> Iterator[list[dict[str, str]]]:
    pages = client.get_paginator("list_object_versions").paginate(
        PaginationConfig={"PageSize": _BATCH}, **owner
    )
    for page in pages:
        items = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if items:
            yield [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]


def _destroy(context: Context, _step: Step) -> Data:
    """Destroy the stack, then forget its state: nothing may come after, the lock is gone."""
    access = context.access
    home = homes.local(access, "bootstrap")
    if home is None:
        return {"already": "there is no bootstrap"}
    opened = stack.open_at(access, "bootstrap", home, create=False)
    number = len(moving.resources(stack.exported(opened)))
    _run(context, opened, "destroy", update.Options())
    if left := moving.resources(stack.exported(opened)):
        raise OpsError(f"{len(left)} resources of the bootstrap are still in its state.")
    moving.remove(access, "bootstrap", home)
    moving.forget(homes.folder_of(access, "bootstrap"))
    return {"deleted": number}


def _run(context: Context, opened: Stack, command: update.Command, options: update.Options) -> None:
    header = context.access.header("bootstrap")
    with context.terminal.progress(f"{command} {header.stack}") as watch:
        report = update.run(
            opened,
            command,
            header=header,
            options=options,
            log=UpdateLog(dry_run=False),
            watch=watch,
            tell=context.terminal.note,
        )
    if report.result == "failed":
        said = [item.message for item in report.diagnostics if item.severity == "error"]
        raise OpsError("\n".join(said) or report.error)


def _save(file: Path, content: bytes) -> None:
    json.loads(content)  # a record that cannot be read is told now, not when it is needed
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.new")
    partial.write_bytes(content)
    partial.replace(file)


RETIREMENT_ACTIONS: Final[Mapping[str, Action]] = {
    "bootstrap-journals": _journals,
    "bootstrap-home": _home,
    "bootstrap-release": _release,
    "bootstrap-empty": _empty,
    "bootstrap-destroy": _destroy,
}

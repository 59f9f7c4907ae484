"""The claim of a bootstrap: who makes it, before there is a table to lock.

It is a parameter of the Parameter Store, which only one of several can create. A run that was
killed leaves it; on its own machine, which has its journal, the next run takes it over, also after
a restart. Elsewhere it keeps others out.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from infra import naming
from ops import lock
from ops.errors import IncompleteError, OpsError, RefusedError
from ops.lock import Holder

if TYPE_CHECKING:
    from ops.access import Access
    from ops.plan import Data


def read(access: Access) -> Holder | None:
    """Tell who has claimed the bootstrap.

    Raises `IncompleteError` where that cannot be read, `OpsError` for what is no claim.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    ssm = access.own_client("ssm")
    name = naming.bootstrap_claim(access.environment)
    try:
        value = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether somebody bootstraps {access.environment} could not be read from {name}: "
            f"{error}. Nothing was done. It needs ssm:GetParameter."
        ) from error
    try:
        return Holder(**json.loads(value))
    except (ValueError, TypeError) as error:
        raise OpsError(
            f"{name} is no claim of a bootstrap ({error}). Nothing was done. If nobody bootstraps "
            f"{access.environment}, remove it: {_removal(access)}"
        ) from error


def refuse_of_others(access: Access, claim: Holder) -> None:
    """Refuse while the claim is another run's that may go on."""
    if has_ended(access, claim) or _is_ours(claim):
        return
    env = access.environment
    raise RefusedError(
        f"Somebody bootstraps {env}. Nothing was done.\n"
        f"    {claim.command} (run {claim.run}) by {claim.operator}, on {claim.host} since "
        f"{claim.acquired}, process {claim.pid}\n"
        "Wait for it. If it has ended without finishing, go on with it where it was begun, since "
        f"the state is on that machine: ops resume {claim.run}\n"
        "Only if that machine is lost, remove the claim:\n"
        f"    {_removal(access)}"
    )


def has_ended(access: Access, claim: Holder) -> bool:
    """Tell whether the run that has claimed it certainly has ended.

    Machines change their names, so it is the run's journal that says that it was here.
    """
    here = (access.journals / f"{claim.run}.jsonl").is_file()
    return claim.has_died or (here and (claim.is_gone or claim.is_before_a_restart))


def take(access: Access, run: str, command: str) -> Data:
    """Claim the bootstrap for this process; raises `RefusedError` where somebody else has."""
    from botocore.exceptions import BotoCoreError, ClientError

    ssm = access.own_client("ssm")
    name = naming.bootstrap_claim(access.environment)
    found = read(access)
    if found:
        refuse_of_others(access, found)
        if _is_ours(found):
            return {"claim": name}
        release(access)
    now = dt.datetime.now(tz=dt.UTC)
    holder = Holder.this_process(run, command, lock.operator(access), now)
    try:
        ssm.put_parameter(
            Name=name,
            Value=json.dumps(asdict(holder)),
            Type="String",
            Description="The run that bootstraps the environment; removed when it has ended",
            Overwrite=False,
            Tags=[
                {"Key": key, "Value": value} for key, value in naming.tags(access.settings).items()
            ],
        )
    except ssm.exceptions.ParameterAlreadyExists as error:
        raise RefusedError(
            f"Somebody else has just begun to bootstrap {access.environment}. Nothing was done. "
            "Run the same command again to see who."
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise OpsError(
            f"The bootstrap of {access.environment} could not be claimed: {error}. Nothing was "
            "done. It needs ssm:PutParameter and ssm:AddTagsToResource."
        ) from error
    return {"claim": name}


def release(access: Access) -> Data:
    """Take the claim back, if it is there."""
    ssm = access.own_client("ssm")
    name = naming.bootstrap_claim(access.environment)
    try:
        ssm.delete_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        return {"already": f"{name} is not there"}
    return {"removed": name}


def _is_ours(claim: Holder) -> bool:
    now = dt.datetime.now(tz=dt.UTC)
    own = Holder.this_process("", "", "", now)
    return (claim.host, claim.pid, claim.process) == (own.host, own.pid, own.process)


def _removal(access: Access) -> str:
    name = naming.bootstrap_claim(access.environment)
    return f"aws ssm delete-parameter --name {name} --region {access.settings.region}"

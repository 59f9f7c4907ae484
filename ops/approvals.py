"""The second approval: in production somebody else has agreed to the very plan that is run.

A sign-off is a parameter named after the plan's hash. Who gave it is what AWS itself has written
down about the parameter's last change, never what the parameter says. That tells who somebody is
where they did not choose the name themselves: whoever takes a role names its session. It needs no
bootstrap, so that it guards the first one as well.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from infra import naming
from ops.access import account_settings, assumed_role
from ops.errors import IncompleteError, OpsError, RefusedError, UsageError
from ops.render import Line
from ops.report import REPORT_VERSION, Header

if TYPE_CHECKING:
    from infra.settings import Settings
    from ops.access import Access, StackKind

DEFAULT_HOURS: Final = 4.0
LONGEST_HOURS: Final = 24.0
HASH: Final = re.compile(r"[0-9a-f]{16}")
"""What a plan's hash looks like."""
LONGEST_REASON: Final = 500
"""Characters."""
_OF_IDENTITY_CENTER: Final = re.compile(r"AWSReservedSSO_.+_[0-9a-f]{16}")
"""Roles whose sessions IAM Identity Center opens, and names after its users."""
_TOLD: Final = (
    "Sign in as an IAM user or by IAM Identity Center, or take a role of deployment.approver_roles "
    "in the stack file: of any other, whoever takes it chooses the session's name."
)

Standing = Literal["valid", "expired", "own", "unusable"]
"""`own`: it is the caller's, and another's is needed. `unusable`: it says nothing clear."""


class UnusableError(OpsError):
    """The parameter is there and is no sign-off."""


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A sign-off as it is found."""

    plan_hash: str
    command: str
    signer: str
    """ARN, as AWS attests it."""
    signed: dt.datetime
    expires: dt.datetime
    reason: str = ""

    def has_expired(self, now: dt.datetime) -> bool:
        """Tell whether it is over, or was given for longer than one may be."""
        longest = self.signed + dt.timedelta(hours=LONGEST_HOURS, minutes=1)
        return now >= min(self.expires, longest)


@dataclass(frozen=True, kw_only=True)
class ApprovalReport:
    """The sign-offs of an environment's plans, or the one that was given or taken back."""

    header: Header
    command: Literal["approve", "approvals list", "approvals revoke"]
    approvals: tuple[Approval, ...]
    standings: Mapping[str, str]
    """Plan's hash → how it stands."""
    unusable: Mapping[str, str]
    """Plan's hash → why its parameter is no sign-off."""
    version: int = REPORT_VERSION


def require(access: Access, command: str, plan_hash: str, kind: StackKind = "environment") -> None:
    """Refuse a change of production that nobody else has agreed to; elsewhere let it pass.

    What production's account has once is production's, whichever environment's name it is changed
    by. The gate of the CI environment counts as somebody else. Raises `RefusedError` with what to
    do, `IncompleteError` where sign-offs cannot be read.
    """
    if kind == "account":
        access = _most_protected(access)
    env = access.environment
    if env != naming.ENVIRONMENTS[-1] or is_gate(access):
        return
    if not person(access.caller, access.settings):
        raise RefusedError(
            f"{command} {env} needs a second approval, and who asks for it cannot be told from "
            f"{access.caller or 'nobody'}. Nothing was changed. Run it with your own credentials. "
            f"{_TOLD}"
        )
    try:
        problem = _problem(find(access, plan_hash), access, command, _now())
    except UnusableError as error:
        problem = str(error)
    if problem:
        raise RefusedError(_missing(access, command, plan_hash, problem))


def _most_protected(access: Access) -> Access:
    """Give the access to the last environment, in the order of changes, of the same account."""
    together = account_settings(access.root, access.settings)
    last = max(together, key=lambda item: naming.ENVIRONMENTS.index(item.environment))
    return replace(access, settings=last)


def is_gate(access: Access) -> bool:
    """Tell whether the caller is the CI environment's role, which its reviewers let in."""
    return assumed_role(access.caller) == naming.github_deploy_role(access.environment)


def person(arn: str, settings: Settings) -> str:
    """Give who an ARN is of, the same whichever way they signed in; empty where it does not tell.

    A person's IAM user has the environment before its name, and Identity Center's users may have
    a domain after it.
    """
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    name = rest.rpartition("/")[2]
    if kind == "user":
        if any(f"/{rest}".startswith(naming.services_path(env)) for env in naming.ENVIRONMENTS):
            return ""  # a machine's: whoever has its key
        for env in naming.ENVIRONMENTS:
            name = name.removeprefix(naming.user(env, ""))
    elif not _has_named_sessions(assumed_role(arn), settings):
        return ""
    return re.sub(r"[^a-z0-9]", "", name.partition("@")[0].casefold())


def _has_named_sessions(role: str, settings: Settings) -> bool:
    """Tell whether somebody else than who takes a role chooses its session's name."""
    env = settings.environment
    if role in (naming.deploy_role(env), naming.github_deploy_role(env)):
        return False
    listed = role in settings.deployment.approver_roles
    return listed or _OF_IDENTITY_CENTER.fullmatch(role) is not None


def find(access: Access, plan_hash: str) -> Approval | None:
    """Give the sign-off of a plan; None where there is none.

    Raises `IncompleteError` where it cannot be read, `UnusableError` where it says nothing clear.
    """
    name = naming.approval_parameter(access.environment, plan_hash)
    ssm = access.own_client("ssm")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Value and author of one version, from one answer.
        pages = ssm.get_paginator("get_parameter_history").paginate(Name=name)
        versions = [item for page in pages for item in page["Parameters"]]
    except ssm.exceptions.ParameterNotFound:
        return None
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"Whether somebody has approved the plan {plan_hash} could not be read from {name}: "
            f"{error}. Nothing was changed. It needs ssm:GetParameterHistory."
        ) from error
    return _read(plan_hash, max(versions, key=lambda item: int(item["Version"])))


def give(
    access: Access, command: str, plan_hash: str, *, hours: float, reason: str
) -> tuple[Approval, ...]:
    """Sign a plan off as the caller; give the sign-off as AWS has it.

    Raises `UsageError` for what cannot be one, `RefusedError` where another's is in force or the
    caller cannot be told.
    """
    _check(plan_hash, hours, reason)
    env = access.environment
    settings = access.settings
    caller = person(access.caller, settings)
    if not caller:
        raise RefusedError(
            f"{access.caller or 'Nobody'} cannot approve: who that is cannot be told. Nothing was "
            f"written. {_TOLD}"
        )
    there = _usable(access, plan_hash)
    now = _now()
    signer = person(there.signer, settings) if there else ""
    if there and signer not in ("", caller) and not there.has_expired(now):
        raise RefusedError(
            f"The plan {plan_hash} is approved already, by {there.signer} until "
            f"{_moment(there.expires)}. Nothing was written."
        )
    expires = now + dt.timedelta(hours=hours)
    _write(access, command, plan_hash, expires, reason)
    written = find(access, plan_hash)
    if written is None or person(written.signer, settings) != caller:
        found = written.signer if written else "nobody"
        raise OpsError(
            f"The sign-off of {plan_hash} was written, and AWS says that {found} did, not "
            f"{access.caller}. It does not count. Look: ops approvals list {env}"
        )
    return (written,)


def listed(access: Access) -> tuple[tuple[Approval, ...], dict[str, str]]:
    """Give all sign-offs of an environment, and why what is none is none.

    Raises `IncompleteError` where they cannot be listed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    path = naming.approvals_path(access.environment)
    try:
        pages = (
            access.own_client("ssm")
            .get_paginator("describe_parameters")
            .paginate(ParameterFilters=[{"Key": "Path", "Option": "OneLevel", "Values": [path]}])
        )
        names = sorted(item["Name"] for page in pages for item in page["Parameters"])
    except (BotoCoreError, ClientError) as error:
        raise IncompleteError(
            f"The sign-offs under {path} could not be listed: {error}. "
            "It needs ssm:DescribeParameters."
        ) from error
    found: list[Approval] = []
    unusable: dict[str, str] = {}
    for plan_hash in (name.rpartition("/")[2] for name in names):
        try:
            found += [item for item in (find(access, plan_hash),) if item]
        except UnusableError as error:
            unusable[plan_hash] = str(error)
    return tuple(found), unusable


def revoke(access: Access, plan_hash: str) -> tuple[Approval, ...]:
    """Take a sign-off back, whoever gave it: what is left says that it has ended.

    Gives what is left; empty where there was none.
    """
    _check(plan_hash, DEFAULT_HOURS, "")
    found = find(access, plan_hash)
    if found is None:
        return ()
    _write(access, found.command, plan_hash, _now(), f"taken back; was: {found.reason}"[:500])
    left = find(access, plan_hash)
    return (left,) if left else ()


def standing(approval: Approval, caller: str, settings: Settings, now: dt.datetime) -> Standing:
    """Say how a sign-off stands to the caller."""
    if approval.has_expired(now):
        return "expired"
    signer = person(approval.signer, settings)
    if not signer:
        return "unusable"
    return "own" if signer == person(caller, settings) else "valid"


def report(
    access: Access,
    command: Literal["approve", "approvals list", "approvals revoke"],
    approvals: Sequence[Approval],
    unusable: Mapping[str, str] | None = None,
) -> ApprovalReport:
    """Give sign-offs as an answer."""
    now = _now()
    return ApprovalReport(
        header=access.header(),
        command=command,
        approvals=tuple(approvals),
        standings={
            item.plan_hash: standing(item, access.caller, access.settings, now)
            for item in approvals
        },
        unusable=dict(unusable or {}),
    )


def lines(value: ApprovalReport) -> Iterator[Line]:
    """Give sign-offs as people read them."""
    for item in value.approvals:
        reason = f" · {item.reason}" if item.reason else ""
        yield Line(
            f"{item.plan_hash}  {value.standings[item.plan_hash]:<8}  {item.command}  by "
            f"{item.signer}, until {_moment(item.expires)}{reason}"
        )
    for plan_hash, why in value.unusable.items():
        yield Line(f"{plan_hash}  unusable  {why}", "yellow")
    if not value.approvals and not value.unusable:
        yield Line("There is no approval.")


def _problem(found: Approval | None, access: Access, command: str, now: dt.datetime) -> str:
    if found is None:
        return "there is none"
    match standing(found, access.caller, access.settings, now):
        case "expired":
            return f"the one by {found.signer} ended at {_moment(found.expires)}"
        case "unusable":
            return f"the one by {found.signer} does not count: who that is cannot be told"
        case "own":
            return f"the one that is there is by {found.signer}: that is you"
        case _ if found.command != command:
            return f"the one by {found.signer} is for {found.command}"
        case _:
            return ""


def _missing(access: Access, command: str, plan_hash: str, problem: str) -> str:
    env = access.environment
    sandbox = "--sandbox " if access.mode == "sandbox" else ""
    return (
        f"{command} {env} needs the approval of somebody else for the plan {plan_hash}: {problem}. "
        "Nothing was changed. Somebody else looks at the same plan and runs:\n"
        f"    ops {sandbox}approve {env} --command '{command}' --plan-hash {plan_hash}"
    )


def _usable(access: Access, plan_hash: str) -> Approval | None:
    try:
        return find(access, plan_hash)
    except UnusableError:
        return None  # what says nothing clear is written over


def _write(access: Access, command: str, plan_hash: str, expires: dt.datetime, reason: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    name = naming.approval_parameter(access.environment, plan_hash)
    said = {
        "command": command,
        "plan_hash": plan_hash,
        "expires": expires.isoformat(timespec="seconds"),
        "reason": reason,
    }
    text = json.dumps(said, ensure_ascii=False).replace("{{", "{\\u007b")
    try:
        access.own_client("ssm").put_parameter(Name=name, Type="String", Value=text, Overwrite=True)
    except (BotoCoreError, ClientError) as error:
        raise OpsError(
            f"The sign-off {name} could not be written: {error}. The plan is not approved. "
            "It needs ssm:PutParameter."
        ) from error


def _read(plan_hash: str, version: Mapping[str, Any]) -> Approval:
    try:
        said = json.loads(version["Value"])
        expires = dt.datetime.fromisoformat(said["expires"]).astimezone(dt.UTC)
        found = Approval(
            plan_hash=str(said["plan_hash"]),
            command=str(said["command"]),
            signer=str(version.get("LastModifiedUser", "")),
            signed=version["LastModifiedDate"].astimezone(dt.UTC),
            expires=expires,
            reason=str(said.get("reason", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableError(
            f"what is there is no sign-off ({type(error).__name__}: {error})"
        ) from None
    if found.plan_hash != plan_hash:
        raise UnusableError(f"what is there is for the plan {found.plan_hash}")
    return found


def _check(plan_hash: str, hours: float, reason: str) -> None:
    problem = ""
    if not HASH.fullmatch(plan_hash):
        problem = f"{plan_hash!r} is no plan's hash: 16 hexadecimal digits, as --dry-run shows it"
    elif not 0 < hours <= LONGEST_HOURS:
        problem = f"An approval lasts up to {LONGEST_HOURS:.0f} hours, not {hours:g}"
    elif len(reason) > LONGEST_REASON:
        problem = f"A reason has up to {LONGEST_REASON} characters, not {len(reason)}"
    if problem:
        raise UsageError(f"{problem}. Nothing was written.")


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)

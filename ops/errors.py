"""Every way in which a command ends, and the exit code of each."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script can tell from a command's end; `docs/ops.md` explains each."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FINDINGS = 3
    INCOMPLETE = 4
    REFUSED = 5
    NOT_AUTHENTICATED = 6
    PARTIAL = 7
    CANCELLED = 8
    DEADLINE = 9


EXIT_CODE_MEANINGS = {
    ExitCode.OK: "success",
    ExitCode.ERROR: "it failed, and nothing was changed",
    ExitCode.USAGE: "the command line or a stack file cannot be used; nothing was run",
    ExitCode.FINDINGS: "it worked and found something: changes, drift or a difference",
    ExitCode.INCOMPLETE: "what is there could not be listed completely; nothing was changed",
    ExitCode.REFUSED: "refused by a safety rule: no confirmation, a lock, another backend or cloud",
    ExitCode.NOT_AUTHENTICATED: "no or expired credentials, or those of another account",
    ExitCode.PARTIAL: "some of it was done and is recorded; running it again continues",
    ExitCode.CANCELLED: "cancelled by the operator",
    ExitCode.DEADLINE: "a deadline passed",
}


class OpsError(Exception):
    """The command cannot go on.

    The message says what was found, what was expected, what did not happen and what to do. It is
    shown without a traceback.
    """

    exit_code = ExitCode.ERROR


class UsageError(OpsError):
    """The command line, the directory or a stack file cannot be used."""

    exit_code = ExitCode.USAGE


class IncompleteError(OpsError):
    """A listing was denied, throttled or cut short: there is no basis for a plan."""

    exit_code = ExitCode.INCOMPLETE


class RefusedError(OpsError):
    """A safety rule says no."""

    exit_code = ExitCode.REFUSED


class AuthenticationError(OpsError):
    """No credentials, expired ones, or those of another account."""

    exit_code = ExitCode.NOT_AUTHENTICATED


class PartialError(OpsError):
    """Some steps were done, some not; doing it again continues."""

    exit_code = ExitCode.PARTIAL


class CancelledError(OpsError):
    """The operator stopped it."""

    exit_code = ExitCode.CANCELLED


class DeadlineError(OpsError):
    """It took longer than it may."""

    exit_code = ExitCode.DEADLINE

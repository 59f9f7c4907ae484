"""Questions that are asked at once, each with a deadline of its own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ops.checks import Check
from ops.errors import IncompleteError, OpsError

SECONDS: Final = 20.0
_ACTION: Final = re.compile(r"perform: ([a-z0-9-]+:[A-Za-z0-9]+)")
_DENIED: Final = re.compile(r"AccessDenied|Unauthorized|Forbidden|^403$")


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something to look at."""

    name: str
    ask: Callable[[], Check | Sequence[Check]]
    """May raise: an error of ops is a finding, what was denied or did not answer is unknown."""
    seconds: float = SECONDS
    """How long it may take."""


def answers(questions: Sequence[Question]) -> tuple[Check, ...]:
    """Ask all at once; give the answers in the questions' order.

    One that does not answer in time is unknown, and keeps nobody waiting.
    """
    found: dict[int, tuple[Check, ...]] = {}

    def ask(number: int, question: Question) -> None:
        found[number] = _answer(question)

    begun = time.monotonic()
    threads = [
        threading.Thread(target=ask, args=(number, question), daemon=True)
        for number, question in enumerate(questions)
    ]
    for thread in threads:
        thread.start()
    for thread, question in zip(threads, questions, strict=True):
        thread.join(max(0.0, begun + question.seconds - time.monotonic()))
    return tuple(
        check
        for number, question in enumerate(questions)
        for check in found.get(number) or (_unanswered(question),)
    )


def denied(error: Exception) -> bool:
    """Tell whether AWS refused a call for want of a permission."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return bool(_DENIED.search(str(code)))


def action(error: Exception) -> str:
    """Give the permission that AWS missed, as far as it says."""
    named = _ACTION.search(str(error))
    return named.group(1) if named else str(getattr(error, "operation_name", "the call"))


def _answer(question: Question) -> tuple[Check, ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = question.ask()
    except IncompleteError as error:
        return (_unknown(question.name, str(error), "give the permission, or try again"),)
    except OpsError as error:
        return (Check(name=question.name, status="fail", found=str(error)),)
    except ClientError as error:
        remedy = f"give {action(error)}" if denied(error) else "try again"
        return (_unknown(question.name, str(error), remedy),)
    except (BotoCoreError, OSError) as error:
        return (_unknown(question.name, str(error), "look at the network, then try again"),)
    except Exception as error:  # noqa: BLE001 - one question does not take the others down
        said = f"{type(error).__name__}: {error}"
        return (_unknown(question.name, said, "this is a defect of ops: report it"),)
    return (answer,) if isinstance(answer, Check) else tuple(answer)


def _unanswered(question: Question) -> Check:
    return _unknown(
        question.name,
        f"no answer within {question.seconds:.0f} s",
        "look at the network, then try again",
    )


def _unknown(name: str, found: str, remedy: str) -> Check:
    return Check(
        name=name, status="unknown", found=found, expected="it can be looked at", remedy=remedy
    )

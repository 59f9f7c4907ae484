"""Runs one command line of `ops` in a process in which things go wrong.

Executed as a module: ``ops_victim PLAN ARGUMENTS…``, where PLAN is JSON:

- ``kill``: ``[kind, step]``, where to end the process: ``["intent", "record"]`` after it is written
  down that a step begins, before anything of it is done; ``["result", "record"]`` when it is done,
  before that is written down. A number instead of the kind: at that change of the cloud by the
  engine, while the step is under way; another word: at the engine's first such call, as boto3
  names it.
- ``throttled`` and ``broken``: the share of AWS calls that are refused for being too many, or end
  in 500s and timeouts. They are tried again at once.
- ``denied``, ``expired``: APIs that are refused, as ``["eks:ListClusters"]``.
- ``expires``: number of calls of ``expiring`` (all where it is not given) after which credentials
  have ended.
- ``watch``: a file that every API that was asked is written to.

Steps of a stage are done one after another, so that a kill is where it was asked for.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from botocore.retries.standard import ExponentialBackoff

from infra.sandbox.engine.drivers.api import Api
from ops import execution, journal, start, stop
from ops.__main__ import run
from ops.backup import databases
from ops.teardown import look_back, sweep
from tests.faults import aws_faults
from tests.faults.aws_faults import Decide

SEED = 20261201
INTERVAL_SECONDS = 0.05
READS = ("describe_", "get_", "head_", "list_", "assume_")


def _kill_at(kind: str, step: str) -> None:
    original = journal.Journal.add

    def add(self: Any, added: Any, **content: Any) -> None:
        here = (added, content.get("step")) == (kind, step)
        if here and kind == "result":
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, added, **content)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(journal.Journal, "add", add)  # noqa: B010 - a method


def _kill_while(moment: int | str, step: str) -> None:
    original_add, original_call = journal.Journal.add, Api.call
    under_way = threading.Event()
    changes = itertools.count(1)

    def add(self: Any, added: Any, **content: Any) -> None:
        original_add(self, added, **content)
        if (added, content.get("step")) == ("intent", step):
            under_way.set()

    def call(self: Any, service: str, operation: str, *rest: Any) -> Any:
        answer = original_call(self, service, operation, *rest)
        is_change = under_way.is_set() and not operation.startswith(READS)
        if is_change and moment in (next(changes), operation):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(journal.Journal, "add", add)  # noqa: B010 - a method
    Api.call = call  # type: ignore[method-assign,assignment]


def _decisions(plan: dict[str, Any]) -> list[Decide]:
    found: list[Decide] = []
    if plan.get("denied"):
        found.append(aws_faults.always(aws_faults.DENIED, *plan["denied"]))
    if plan.get("expired"):
        found.append(aws_faults.always(aws_faults.EXPIRED, *plan["expired"]))
    if "expires" in plan:
        apis = plan.get("expiring", ())
        found.append(aws_faults.after(plan["expires"], aws_faults.EXPIRED, *apis))
    if plan.get("throttled"):
        found.append(aws_faults.throttled(plan["throttled"], SEED))
    if plan.get("broken"):
        found.append(aws_faults.broken(plan["broken"], SEED))
    return found


def main() -> None:
    """Run the command line that the arguments name."""
    plan: dict[str, Any] = json.loads(sys.argv[1])
    watch = aws_faults.Watch()
    aws_faults.install([watch, *_decisions(plan)], setattr)
    for module in (databases, look_back, start, stop, sweep):
        setattr(module, "INTERVAL_SECONDS", INTERVAL_SECONDS)  # noqa: B010 - a constant
    # Nothing that is gone is listed here for any longer.
    setattr(look_back, "SETTLE_SECONDS", 0)  # noqa: B010 - a constant
    if plan.get("kill"):
        setattr(execution, "WORKERS", 1)  # noqa: B010 - a constant
        kind, step = plan["kill"]
        kill = _kill_at if kind in ("intent", "result") else _kill_while
        kill(kind, step)
    if plan.get("throttled") or plan.get("broken"):
        setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)  # noqa: B010 - a method
    code = run(sys.argv[2:])
    if plan.get("watch"):
        Path(plan["watch"]).write_text("\n".join(watch.asked))
    sys.exit(code)


if __name__ == "__main__":
    main()

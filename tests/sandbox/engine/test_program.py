"""How a program is run, and how it may end."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from infra.sandbox.engine.program import ChildProgram, ClientProgram
from tests.sandbox.engine.fakes import World, lines

pytestmark = pytest.mark.sandbox


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_program_sees_its_directory_arguments_and_configuration(world: World) -> None:
    world.config = {"proj:size": "3"}
    (world.directory / "beside.py").write_text("HERE = 'beside'\n", encoding="utf-8")

    run = world.up(
        lines(
            "import os, sys, json",
            "import beside",
            'pulumi.export("cwd", os.getcwd())',
            'pulumi.export("argv", sys.argv)',
            'pulumi.export("size", pulumi.Config().require_int("size"))',
            'pulumi.export("beside", beside.HERE)',
            'pulumi.export("name", [pulumi.get_organization(), pulumi.get_project(), '
            "pulumi.get_stack()])",
            'pulumi.export("main", __name__)',
            'pulumi.export("engine", [p for p in sys.path if p.endswith("sandbox/engine")])',
        )
    )

    assert run.result.error is None, run.told("error")
    assert world.snapshot.stack_outputs == {
        "cwd": str(world.directory),
        "argv": ["."],
        "size": 3,
        "beside": "beside",
        "name": ["organization", "proj", "dev"],
        "main": "__main__",
        "engine": [],
    }


def test_what_a_program_prints_and_logs_is_told(world: World) -> None:
    run = world.up(
        lines(
            "import sys",
            "print('to stdout')",
            "print('to stderr', file=sys.stderr)",
            "pulumi.log.info('an info')",
            "pulumi.log.warn('a warning')",
        )
    )

    assert run.result.error is None
    assert set(run.told("info")) == {"to stdout", "an info"}
    assert run.told("info#err") == ["to stderr"]
    assert run.told("warning") == ["a warning"]


def test_an_exception_keeps_what_was_made_and_deletes_nothing(world: World) -> None:
    world.up(lines('thing("old")', 'pulumi.export("kept", "yes")'))

    run = world.up(lines('thing("before")', "raise ValueError('boom from the program')"))

    assert run.result.error is not None
    assert run.result.error.startswith("Program failed with an unhandled exception:\nTraceback")
    assert run.result.error.endswith("ValueError: boom from the program")
    assert "runpy" not in run.result.error
    assert set(world.cloud.things) == {"old", "before"}
    assert world.snapshot.stack_outputs == {"kept": "yes"}
    assert len(run.told("error")) == 1


def test_a_run_error_is_told_without_a_traceback(world: World) -> None:
    run = world.up("raise pulumi.RunError('a friendly message')")

    assert run.told("error") == [
        "a friendly message",
        "an unhandled error occurred: program exited with non-zero exit code: 1",
    ]
    assert run.result.error == "a friendly message"


def test_a_missing_configuration_value_says_how_to_set_it(world: World) -> None:
    run = world.up('pulumi.Config().require("nosuchkey")')

    assert run.result.error is not None
    assert run.result.error.startswith("Missing required configuration variable 'proj:nosuchkey'")


def test_a_directory_without_a_program_is_an_error(world: World) -> None:
    run = world.update(None, runner=ChildProgram(world.directory))

    assert run.result.error is not None
    assert run.result.error.startswith("unable to find main python program `__main__.py` in")


def test_a_python_that_is_not_there_is_an_error(world: World) -> None:
    runner = ChildProgram(world.directory, python=world.directory / "nowhere" / "python")

    run = world.update(None, runner=runner)

    assert run.result.error is not None
    assert "could not be started" in run.result.error
    assert "Nothing was changed" in run.result.error


def test_a_program_that_exits_on_its_own_is_a_failure(world: World) -> None:
    run = world.up("import os; os._exit(3)")

    assert run.result.error == (
        "an unhandled error occurred: program exited with non-zero exit code: 3"
    )


STUCK = lines("import time", 'thing("a").arn.apply(lambda _: time.sleep(600))')


def test_a_silent_program_is_ended_and_the_message_says_what_came_last(world: World) -> None:
    run = world.up(STUCK, silence_seconds=2)

    assert run.result.error is not None
    assert run.result.error.startswith("the program has done nothing for 2 s and was ended")
    assert "last came: the " in run.result.error
    assert "a" in run.state


def test_a_deadline_ends_the_update(world: World) -> None:
    run = world.up(STUCK, deadline_seconds=0.5)

    assert run.result.error is not None
    assert run.result.error.startswith("the deadline of 0.5 s has passed")
    assert world.snapshot.pending_operations == ()


def test_a_cancelled_update_finishes_the_step_it_is_in_and_begins_no_other(world: World) -> None:
    def cancel(what: str) -> None:
        if what == "create a":
            world.cancelled.set()

    world.cloud.before = cancel

    run = world.up(lines('a = thing("a")', 'thing("b", value=a.arn)'))

    assert run.result.error == "update canceled"
    assert "a" in run.state
    assert "b" not in world.cloud.things
    assert world.snapshot.pending_operations == ()


def test_a_program_ends_with_the_engine(world: World, tmp_path: Path) -> None:
    """An engine that is killed leaves no program behind."""
    import signal
    import subprocess

    seen = tmp_path / "pid"
    (world.directory / "__main__.py").write_text(
        f"import os, time\nopen({str(seen)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
        encoding="utf-8",
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(world.directory)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    child = int(engine.stdout.readline())
    engine.send_signal(signal.SIGKILL)
    engine.wait()

    assert _ends(child)


ENGINE = """
import sys, threading, time, json
from pathlib import Path
from infra.sandbox.engine.program import ChildProgram, RunRequest
directory = Path(sys.argv[1])
program = ChildProgram(directory)
request = RunRequest(organization="o", project="p", stack="s", config={}, secret_keys=frozenset(),
    dry_run=True, parallel=1, monitor_address="127.0.0.1:1", engine_address="127.0.0.1:1",
    output=lambda severity, line: None)
threading.Thread(target=program.run, args=(request,), daemon=True).start()
while program._process is None:
    time.sleep(0.01)
print(program._process.pid, flush=True)
time.sleep(600)
"""


def _ends(pid: int) -> bool:
    for _ in range(2000):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state[0] == "Z":
            return True
        threading.Event().wait(0.01)
    return False


def test_an_inline_program_runs_where_it_is(world: World) -> None:
    from concurrent import futures

    import grpc
    import pulumi

    def inline() -> None:
        pulumi.export("where", os.getpid())

    server = grpc.server(futures.ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(inline), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        run = world.update(None, runner=ClientProgram(f"127.0.0.1:{port}"))
    finally:
        server.stop(None)

    assert run.result.error is None, run.told("error")
    assert world.snapshot.stack_outputs == {"where": os.getpid()}


def test_events_are_what_the_sdk_reads(world: World) -> None:
    from pulumi.automation.events import EngineEvent

    told: list[dict[str, Any]] = []
    world.up('thing("a", value=Output.secret("hush"))', watch=told.append)

    for number, event in enumerate(told):
        parsed = EngineEvent.from_json({"sequence": number, "timestamp": 0, **event})
        assert json.dumps(event)
        if "resourcePreEvent" in event:
            assert parsed.resource_pre_event is not None
    assert list(told[0]) == ["preludeEvent"]
    assert list(told[-2]) == ["summaryEvent"]
    assert list(told[-1]) == ["cancelEvent"]

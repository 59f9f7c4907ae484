"""Runs one Pulumi program in this process, as the CLI's Python language host does.

Executed as a script by the *program's* Python, which may have another Pulumi SDK than the engine:
it imports nothing but the standard library and that SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import inspect
import logging
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# The engine's directory must not be importable by the program.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

EXIT_TOLD = 32
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the program that the arguments name; give the exit code."""
    arguments = _arguments()
    _end_with(arguments.parent)
    try:
        import pulumi
        import pulumi.runtime
    except ImportError:
        traceback.print_exc()
        print(  # noqa: T201 - the engine shows what the program prints
            f"The Pulumi SDK is not installed for {sys.executable}. Nothing was changed. "
            "Run `pip install -r requirements.txt` in the program's virtual environment.",
            file=sys.stderr,
        )
        return 1
    pulumi.runtime.set_all_config(
        pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env()
    )
    pulumi.runtime.configure(_settings(arguments))
    os.chdir(arguments.directory)
    sys.argv = [arguments.program]
    sys.path.insert(0, arguments.directory)
    return _run(arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a Pulumi program.")
    for name in ("monitor", "engine", "project", "stack", "organization", "root-directory"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--dry-run", choices=("true", "false"), required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process to end with")
    parser.add_argument("program")
    return parser.parse_args()


def _end_with(parent: int) -> None:
    """End this process when the engine's ends, however it ends."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # Where the kernel does not tell: an orphan is given to another parent.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _settings(arguments: argparse.Namespace) -> Any:
    from pulumi.runtime import Settings

    values = {
        "monitor": arguments.monitor,
        "engine": arguments.engine,
        "project": arguments.project,
        "stack": arguments.stack,
        "parallel": arguments.parallel,
        "dry_run": arguments.dry_run == "true",
        "organization": arguments.organization,
        "root_directory": arguments.root_directory,
    }
    known = inspect.signature(Settings.__init__).parameters
    return Settings(**{name: value for name, value in values.items() if name in known})


def _run(arguments: argparse.Namespace) -> int:
    from pulumi import RunError, log
    from pulumi.runtime import run_in_stack

    program = Path(arguments.program)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(arguments.parallel, 1) * 4)
    loop.set_default_executor(executor)
    # Outputs that nobody awaits are usual in a program that ends early; asyncio would complain.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        if not _exists(program):
            log.error(f"unable to find main python program `__main__.py` in `{program.resolve()}`")
            return EXIT_TOLD
        # An older SDK takes what its function returns for something to await: give it None.
        loop.run_until_complete(run_in_stack(lambda: _execute(arguments.program)))
    except RunError as error:
        log.error(str(error))
        return 1
    except KeyboardInterrupt:
        return EXIT_TOLD  # the engine ends the program, and says why
    except Exception:  # noqa: BLE001 - whatever the program raises is the user's to read
        log.error("Program failed with an unhandled exception:\n" + _user_traceback(program))
        return EXIT_TOLD
    else:
        return 0
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()


def _execute(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def _exists(program: Path) -> bool:
    return (program / "__main__.py").is_file() if program.is_dir() else program.is_file()


def _user_traceback(program: Path) -> str:
    """Format the exception in flight from the program's own first frame on."""
    main_file = (program / "__main__.py" if program.is_dir() else program).resolve()
    frames = traceback.extract_tb(sys.exc_info()[2])
    for index, frame in enumerate(frames):
        if Path(frame.filename).resolve() == main_file:
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


if __name__ == "__main__":
    sys.exit(main())

"""Figures of the project, measured as a user would see them: `make bench`.

Whole processes are timed from outside; memory is the peak of the process and everything it
started, sampled from /proc. Nothing here decides: targets are printed beside what was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
OPS = (sys.executable, "-m", "ops")
SAMPLE_SECONDS = 0.02
DEADLINE_SECONDS = 900
SIZES = (150, 600, 1500)
TEARDOWN_SIZE = 1500


@dataclass(frozen=True)
class Run:
    """One finished command."""

    seconds: float
    peak_mib: float
    output: str


def main() -> None:
    """Print every figure as a row of a table."""
    parser = argparse.ArgumentParser(description="Measure the project.")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="synthetic stacks")
    arguments = parser.parse_args()
    row("figure", "measured", "target")
    row("---", "---", "---")
    start_up()
    stops()
    with sandbox() as cloud:
        environments(cloud)
        for size in arguments.sizes:
            synthetic(cloud, size)
    with sandbox() as cloud:
        teardown(cloud, TEARDOWN_SIZE)


def row(*cells: str) -> None:
    """Print one row as it is known: a run takes minutes."""
    print("| " + " | ".join(cells) + " |", flush=True)  # noqa: T201 - the output of the command


def start_up() -> None:
    """Measure `ops --help`, and see that it loads nothing heavy."""
    seconds = [run([*OPS, "--help"]).seconds for _ in range(5)]
    loaded = run(
        [
            sys.executable,
            "-c",
            "import sys, ops.__main__; print(sorted({'pulumi', 'boto3'} & set(sys.modules)))",
        ]
    ).output.strip()
    row("ops --help", f"{statistics.median(seconds):.2f} s (median of 5)", "< 0.25 s")
    row("of pulumi and boto3 it imports", loaded, "[]")


def stops() -> None:
    """Measure how soon a stop's requests are accepted: 500 instances, 60 groups, 20 databases."""
    at_once, series = (
        [run([sys.executable, "-m", "tests.bench_stop", *option]) for _ in range(3)]
        for option in ((), ("--in-series",))
    )
    found, beside = ([json.loads(done.output) for done in runs] for runs in (at_once, series))
    for key, what, target in (
        ("listing", "seen", ""),
        ("accepting", "accepted by AWS after the confirmation", ">= 8 times faster"),
    ):
        seconds, other = (
            statistics.median(item[key] for item in items) for items in (found, beside)
        )
        row(
            f"stop of 500 instances, 60 node groups, 20 databases: {what}",
            f"{seconds:.2f} s; in series {other:.2f} s: {other / seconds:.1f} times",
            target,
        )
    waited = statistics.median(item["waited_for_tokens"] for item in found)
    api, number = found[0]["most_of_one_api"]
    row(
        "its calls, most of one API, waiting for tokens, memory",
        f"{found[0]['calls']}, {number} {api}, {waited:.1f} s, "
        f"{max(done.peak_mib for done in at_once):.0f} MiB",
        "",
    )


def environments(cloud: Cloud) -> None:
    """Measure the project's own stacks."""
    for env in ("prod", "dev"):
        figure(f"up {env} --stack account", cloud, ["up", env, "--stack", "account", "--yes"])
        figure(f"up {env} --stack bootstrap", cloud, ["up", env, "--stack", "bootstrap", "--yes"])
    figure("preview prod, nothing there yet", cloud, ["preview", "prod"], "< 8 s, < 350 MiB")
    figure("up dev", cloud, ["up", "dev", "--yes"], "< 60 s")
    figure("preview dev, no change", cloud, ["preview", "dev"], "< 4 s")
    figure("refresh dev, no change", cloud, ["refresh", "dev", "--yes"])


def figure(name: str, cloud: Cloud, arguments: Sequence[str], target: str = "") -> None:
    """Run an ops command in the sandbox and print its row."""
    before = cloud.calls()
    done = run([*OPS, "--sandbox", *arguments, "--json"], cloud)
    total = sum(json.loads(done.output).get("counts", {}).values())
    row(name, told(done, cloud.calls() - before, total), target)


def told(done: Run, calls: int, resources: int) -> str:
    """Put a run into words; calls are those that reached the cloud."""
    share = f" ({calls / resources:.1f} a resource)" if resources else ""
    return f"{done.seconds:.1f} s, {done.peak_mib:.0f} MiB, {calls} calls{share}"


def synthetic(cloud: Cloud, size: int) -> None:
    """Measure a made-up stack through the engine alone."""
    for label, kind in {
        "preview": "preview",
        "up": "up",
        "unchanged preview": "preview",
        "destroy": "destroy",
    }.items():
        before = cloud.calls()
        done = run([sys.executable, "-m", "tests.bench_engine", kind, str(size)], cloud)
        row(
            f"{size} made-up resources: {label}",
            f"{told(done, cloud.calls() - before, size)}, {1000 * done.seconds / size:.0f} ms each",
            "",
        )


def teardown(cloud: Cloud, size: int) -> None:
    """Measure the plan of a teardown: the whole cloud listed, 20 ms added to each call."""
    run([*OPS, "--sandbox", "up", "dev", "--stack", "bootstrap", "--yes"], cloud)
    done = run([sys.executable, "-m", "tests.bench_teardown", str(size)], cloud)
    found = json.loads(done.output)
    row(
        f"plan of a teardown of {found['resources']} resources",
        f"{found['seconds']} s, {found['peak MiB']} MiB, {found['calls']} calls, which take "
        f"{found['one by one']} s one by one; the plan has {found['plan KiB']} KiB",
        "",
    )


def run(command: Sequence[str], cloud: Cloud | None = None) -> Run:
    """Run a command to its end; raises CalledProcessError if it fails."""
    environment = {**os.environ, **(cloud.environment if cloud else {})}
    started = time.perf_counter()
    with subprocess.Popen(
        list(command),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        peak = sampled_peak(process)
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
        seconds = time.perf_counter() - started
    if process.returncode != 0:
        sys.stderr.write(errors)
        raise subprocess.CalledProcessError(process.returncode, list(command), output, errors)
    return Run(seconds, peak(), output)


def sampled_peak(process: subprocess.Popen[str]) -> Callable[[], float]:
    """Watch the memory of a process and its descendants; the result gives the peak in MiB."""
    peaks = [0.0]

    def watch() -> None:
        while process.poll() is None:
            peaks[0] = max(peaks[0], tree_mib(process.pid))
            time.sleep(SAMPLE_SECONDS)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def peak() -> float:
        thread.join()
        return peaks[0]

    return peak


def tree_mib(pid: int) -> float:
    """Add up the resident memory of a process and its descendants, in MiB."""
    total, pending = 0, [pid]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path(f"/proc/{current}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{current}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
    return total / 2**20


class Cloud:
    """The sandbox of this measurement: in a home of its own, gone at the end."""

    def __init__(self, home: Path) -> None:
        self.environment = {"MONO_REPO_SANDBOX_HOME": str(home), "NO_COLOR": "1"}
        self._record = home / "cloud.json"

    def calls(self) -> int:
        """Count the requests that the cloud has answered so far."""
        if not self._record.exists():
            return 0
        endpoint = urlsplit(json.loads(self._record.read_text())["endpoint"])
        connection = http.client.HTTPConnection(str(endpoint.hostname), endpoint.port, timeout=10)
        try:
            connection.request("GET", "/_sandbox/identity")
            return int(json.loads(connection.getresponse().read())["requests"])
        finally:
            connection.close()


@contextlib.contextmanager
def sandbox() -> Iterator[Cloud]:
    """Give a sandbox in a folder that is removed with it."""
    with tempfile.TemporaryDirectory(prefix="mono-repo-bench-") as folder:
        cloud = Cloud(Path(folder) / "sandbox")
        try:
            yield cloud
        finally:
            run([*OPS, "sandbox", "stop", "--yes"], cloud)


if __name__ == "__main__":
    main()

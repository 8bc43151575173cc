"""What looking costs: `tap` and `snapshot` during a run at full rate, by alternation.

    python -m tests.bench.observe_bench [--rounds 30] [--only tap,snapshot]

A round has windows without anybody looking and, between them, one with a `tap` of a busy lane that
prints what it gets, one in which a client that is connected asks for a snapshot, and one in which
the program `byteorctl snapshot` is started; the ratio of a window to the mean of its two neighbours
counts. Beside each stands a program that looks at nothing and takes the CPU for as long: what that
takes is the machine's doing. First with a CPU for those who look (the run has the other), then with
both CPUs taken by the run: then who looks takes CPU time, whatever it reads.

A verdict needs the whole 95 % confidence interval of the median on one side of what is wanted.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from byteorctl.address import resolve
from byteorctl.client import Client
from byteord.regions.reader import RunReader
from tests.bench.candidates import two_cpus
from tests.bench.graph_runs import GraphShape
from tests.bench.method import alternated, median_interval, summarise
from tests.bench.native import BenchError
from tests.bench.runs import DaemonUnderTest
from tests.support.poll import until

ROUNDS = 30
WINDOW_MS = 500.0
SHOWN_TIMEOUT_S = 10.0
KEEP = 0.98
"""Looking may take less than 2 % of the throughput."""
SAID = {
    "busy": "(looks at nothing, like tap)",
    "short": "(looks at nothing, like byteorctl)",
    "nothing": "(the noise)",
}
LANE = "l0"
WARM_UP_MESSAGES = 1_000_000
KINDS = ("tap", "snapshot", "byteorctl", "busy", "short", "nothing")
SHAPE = GraphShape("chain", 1, fuse="always")


class Observed:
    """A run at full rate with a tap that can be held and let go. Use `observed`."""

    def __init__(
        self,
        daemon: DaemonUnderTest,
        directory: Path,
        tap: subprocess.Popen[str],
        busy: subprocess.Popen[str],
        client: Client,
    ) -> None:
        """Take what `observed` has started."""
        self._busy = busy
        self._client = client
        self._program_s = 0.0
        self.daemon = daemon
        self.run_id = directory.name
        self.shown = 0
        self._reader = RunReader(str(directory))
        self._sinks = [r.index for r in self._reader.plan.roles if r.name in SHAPE.sinks]
        self._tap = tap
        self._counter = threading.Thread(target=self._count, daemon=True)
        self._counter.start()
        until(lambda: self.moved() > WARM_UP_MESSAGES, 30, "the run is at full rate")
        until(lambda: self.shown > 0, 30, "the tap shows messages")

    def _count(self) -> None:
        for _line in self._tap.stdout or ():
            self.shown += 1

    def close(self) -> None:
        """End the tap, and read what it still has to say."""
        self._tap.kill()
        self._counter.join()
        self._reader.close()

    def moved(self) -> int:
        """Return how many messages the slowest sink has."""
        roles = self._reader.read()["roles"]
        return min(int(roles[sink]["received"]) for sink in self._sinks)

    def hold(self, kind: str) -> None:
        """Let the tap, or who is busy, go on; or stop them: a stopped tap's stream waits."""
        for name, process in (("tap", self._tap), ("busy", self._busy)):
            os.kill(process.pid, signal.SIGCONT if kind == name else signal.SIGSTOP)

    def look(self, kind: str) -> None:
        """Do what a window of this kind does once; the tap and who is busy are there already."""
        if kind == "snapshot":
            for _chunk in self._client.snapshot_run(self.run_id, timeout_s=10.0):
                pass
        elif kind == "byteorctl":
            before = _children_cpu_s()
            self.daemon.ctl("snapshot", self.run_id)
            self._program_s = _children_cpu_s() - before
        elif kind == "short":
            burn = f"import time\nwhile time.process_time() < {self._program_s}: pass"
            subprocess.run([sys.executable, "-c", burn], check=True)

    def window(self, ms: float, kind: str = "nothing") -> float:
        """Return the rate of the run over a window; BenchError when nobody looked as told."""
        self.hold(kind)
        threading.Event().wait(0.05)
        shown, begin, before = self.shown, time.perf_counter(), self.moved()
        self.look(kind)
        threading.Event().wait(max(0.0, ms / 1e3 - (time.perf_counter() - begin)))
        if kind == "tap":  # it looks ten times a second: a short window lasts until it has
            self._until_shown(shown)
        return (self.moved() - before) / (time.perf_counter() - begin)

    def _until_shown(self, shown: int) -> None:
        try:
            until(lambda: self.shown > shown, SHOWN_TIMEOUT_S, "the tap shows messages")
        except AssertionError as error:
            message = "the tap showed nothing during its window"
            raise BenchError(message) from error


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def observed(run_cpus: tuple[int, int], observers: set[int]) -> Iterator[Observed]:
    """Start a daemon and a run on `run_cpus`; everything else, this process too, on `observers`."""
    with ExitStack() as stack:
        before = os.sched_getaffinity(0)
        stack.callback(os.sched_setaffinity, 0, before)
        daemon = stack.enter_context(DaemonUnderTest())
        directory = daemon.start("observed", SHAPE, run_cpus)
        for process in (0, daemon.process.pid):
            for task in os.listdir(f"/proc/{process or os.getpid()}/task"):
                os.sched_setaffinity(int(task), observers)
        command = [sys.executable, "-m", "byteorctl", "--address", daemon.process.address]
        tap = subprocess.Popen(
            [*command, "tap", directory.name, LANE], stdout=subprocess.PIPE, text=True
        )
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], text=True)
        for child in (tap, busy):
            stack.enter_context(child)
            stack.callback(child.kill)
        client = stack.enter_context(Client(resolve(daemon.process.address)))
        run = Observed(daemon, directory, tap, busy, client)
        stack.callback(run.close)
        yield run


def measure(
    run: Observed, rounds: int, ms: float = WINDOW_MS, kinds: Sequence[str] = KINDS
) -> dict[str, list[float]]:
    """Return the ratios of the windows of each kind to their neighbours."""
    return alternated(partial(run.window, ms), kinds, rounds)


def report(title: str, ratios: dict[str, list[float]]) -> None:
    """Print a line for each kind: median, spread, interval of the median, verdict."""
    for kind, found in ratios.items():
        middle = summarise(found)
        if middle is None:
            continue
        low, high = median_interval(found)
        verdict = "REACHED" if low >= KEEP else "MISSED" if high < KEEP else "not resolved"
        said = SAID.get(kind, f"want >= {KEEP}: {verdict}")
        spread = f"{middle.p50:.3f} [{middle.p10:.3f} {middle.p90:.3f}]"
        interval = f"95 % of the median {low:.3f} to {high:.3f}, {middle.count} windows"
        print(f"{title:26} {kind:9} {spread} of its neighbours; {interval}  {said}", flush=True)


def main(argv: list[str]) -> int:
    """Measure with a CPU for who looks, and without; print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.observe_bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of windows")
    parser.add_argument("--cpus", choices=("spare", "both"), help="only with a spare CPU, or none")
    options = parser.parse_args(argv)
    first, second = two_cpus()
    cases = {
        "spare": ("a CPU for those who look", (first, first), {second}),
        "both": ("the run has both CPUs", (first, second), {first, second}),
    }
    for name, (title, cpus, observers) in cases.items():
        if options.cpus in (None, name):
            with observed(cpus, observers) as run:
                report(title, measure(run, options.rounds, kinds=options.only.split(",")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

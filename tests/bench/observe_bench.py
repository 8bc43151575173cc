"""What looking costs: `tap` and `snapshot` during a run at full rate, by alternation.

    python -m tests.bench.observe_bench [--rounds 15]

A round has windows without anybody looking and, between them, one with a `tap` of a busy lane that
prints what it gets, and one in which `snapshot` is called; the ratio of a window to the mean of its
two neighbours counts. In a fourth kind a program that looks at nothing is as busy: what that takes
is the machine's doing. First with a CPU for those who look (the run has the other), then with both
CPUs taken by the run: then who looks takes CPU time, whatever it reads.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from byteord.regions.reader import RunReader
from tests.bench.candidates import two_cpus
from tests.bench.graph_runs import GraphShape
from tests.bench.method import Summary, summarise
from tests.bench.native import BenchError
from tests.bench.runs import DaemonUnderTest
from tests.support.poll import until

ROUNDS = 15
WINDOW_MS = 400.0
KEEP = 0.98
"""Looking may take less than 2 % of the throughput."""
SAID = {"busy": "(looks at nothing)", "nothing": "(the noise)"}
LANE = "l0"
WARM_UP_MESSAGES = 1_000_000
KINDS = ("tap", "snapshot", "busy", "nothing")
SHAPE = GraphShape("chain", 1, fuse="always")


class Observed:
    """A run at full rate with a tap that can be held and let go. Use `observed`."""

    def __init__(
        self,
        daemon: DaemonUnderTest,
        directory: Path,
        tap: subprocess.Popen[str],
        busy: subprocess.Popen[str],
    ) -> None:
        """Take what `observed` has started."""
        self._busy = busy
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

    def window(self, ms: float, kind: str = "nothing") -> float:
        """Return the rate of the run over a window; BenchError when nobody looked as told."""
        self.hold(kind)
        threading.Event().wait(0.05)
        shown, begin, before = self.shown, time.perf_counter(), self.moved()
        if kind == "snapshot":
            self.daemon.ctl("snapshot", self.run_id)
        threading.Event().wait(max(0.0, ms / 1e3 - (time.perf_counter() - begin)))
        rate = (self.moved() - before) / (time.perf_counter() - begin)
        if kind == "tap" and self.shown == shown:
            message = "the tap showed nothing during its window"
            raise BenchError(message)
        return rate


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
        run = Observed(daemon, directory, tap, busy)
        stack.callback(run.close)
        yield run


def measure(run: Observed, rounds: int, ms: float = WINDOW_MS) -> dict[str, Summary | None]:
    """Return the ratios of the windows of each kind to their neighbours."""
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    before = run.window(ms)
    for number in range(rounds * len(ratios)):
        kind = list(ratios)[number % len(ratios)]
        looked = run.window(ms, kind)
        after = run.window(ms)
        ratios[kind].append(2 * looked / (before + after))
        before = after
    return {kind: summarise(found) for kind, found in ratios.items()}


def main(argv: list[str]) -> int:
    """Measure with a CPU for who looks, and without; print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.observe_bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(argv)
    first, second = two_cpus()
    for title, cpus, observers in (
        ("a CPU for those who look", (first, first), {second}),
        ("the run has both CPUs", (first, second), {first, second}),
    ):
        with observed(cpus, observers) as run:
            for kind, found in measure(run, options.rounds).items():
                if found is None:
                    continue
                verdict = "reached" if found.p50 >= KEEP else "missed"
                said = SAID.get(kind, f"want > {KEEP}: {verdict.upper()}")
                spread = f"{found.p50:.3f} [{found.p10:.3f} {found.p90:.3f}]"
                print(f"{title:26} {kind:9} {spread} of its neighbours  {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a stopped lossy consumer costs its siblings on a fan-out: their rate, by alternation.

    python -m tests.bench.lossy_bench [--rounds 20] [--ms 1000]

Windows in which everybody runs alternate with windows in which the worker of the lossy consumer
is stopped (SIGSTOP); the ratio of such a window's rate to the mean of its two neighbours counts.
Beside it stand windows in which nothing is done: the noise. First with source and siblings fused on
one CPU and the lossy consumer on the other; then with a process for each role on two CPUs, where
siblings gain what the stopped one leaves. At the end missed and taken must be all that was
published.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from byteord.regions.reader import RunReader
from tests.bench.candidates import two_cpus
from tests.bench.graph_runs import CAPACITY, GraphShape
from tests.bench.method import alternated, median_interval, summarise
from tests.bench.native import BenchError
from tests.bench.runs import SLOT_BYTES, DaemonUnderTest
from tests.support.poll import until

ROUNDS, WINDOW_MS = 20, 1000.0
KEEP = 0.98
SIBLINGS = 2
WARM_UP_MESSAGES = 200_000
KINDS = ("stopped", "nothing")
CASES = {"siblings fused, a CPU each side": "always", "a process for each role": "never"}


@dataclass(frozen=True, slots=True)
class LossyFanout(GraphShape):
    """A fan-out whose last consumer is lossy."""

    @property
    def lossy(self) -> str:
        """Return the name of that consumer."""
        return self.sinks[-1]

    def _lanes(self) -> str:
        return (
            f'[[lanes]]\nname = "a"\nkind = "fanout_broadcast"\nlossy = ["{self.lossy}"]\n'
            f'capacity = {CAPACITY}\nslot_bytes = {SLOT_BYTES}\non_full = "block"\n'
        )


class Fanout:
    """A running fan-out whose lossy consumer can be stopped. Use `fanout`."""

    def __init__(self, daemon: DaemonUnderTest, directory: Path, shape: LossyFanout) -> None:
        """Wait until all of it is at work."""
        self._daemon = daemon
        self._run = directory.name
        self._reader = RunReader(str(directory))
        self._shape = shape
        until(lambda: self._least() > WARM_UP_MESSAGES, 60, "all consumers have had their share")
        self._pid = self._roles()[shape.lossy]["pid"]

    def _roles(self) -> dict[str, dict[str, int]]:
        return {role["name"]: role for role in self._reader.read()["roles"]}

    def _least(self) -> int:
        roles = self._roles()
        return min(int(roles[name]["received"]) for name in self._shape.sinks)

    def _moved(self) -> int:
        roles = self._roles()
        names = [name for name in self._shape.sinks if name != self._shape.lossy]
        return min(int(roles[name]["received"]) for name in names)

    def window(self, ms: float, kind: str = "nothing") -> float:
        """Return the rate of the slowest sibling over a window."""
        if kind == "stopped":
            os.kill(self._pid, signal.SIGSTOP)
        try:
            threading.Event().wait(0.05)
            begin, before = time.perf_counter(), self._moved()
            threading.Event().wait(ms / 1e3)
            return (self._moved() - before) / (time.perf_counter() - begin)
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def account(self) -> tuple[int, int, int]:
        """Drain the run; return (published, taken, missed) of the lossy consumer.

        BenchError when they do not add up.
        """
        self._daemon.ctl("stop", self._run)
        lane = self._reader.read_lanes()[0]
        self._reader.close()
        mine = next(each for each in lane["consumers"] if each["role"] == self._shape.lossy)
        found = int(lane["published"]), int(mine["consumed"]), int(mine["missed"])
        if found[0] != found[1] + found[2]:
            message = f"published {found[0]}, but taken {found[1]} and missed {found[2]}"
            raise BenchError(message)
        return found


@contextmanager
def fanout(fuse: str) -> Iterator[Fanout]:
    """Start a daemon and the run; both are ended afterwards."""
    shape = LossyFanout("fanout", SIBLINGS + 1, fuse=fuse)
    with DaemonUnderTest() as daemon:
        yield Fanout(daemon, daemon.start("lossy", shape, two_cpus()), shape)


def measure(run: Fanout, rounds: int, ms: float) -> dict[str, list[float]]:
    """Return the ratios of the windows of each kind to their neighbours."""
    return alternated(partial(run.window, ms), KINDS, rounds)


def report(title: str, ratios: dict[str, list[float]], account: tuple[int, int, int]) -> None:
    """Print a line for each kind, and the account."""
    for kind, found in ratios.items():
        middle = summarise(found)
        if middle is None:
            continue
        low, high = median_interval(found)
        verdict = "REACHED" if low >= KEEP else "MISSED" if high < KEEP else "not resolved"
        said = f"want >= {KEEP}: {verdict}" if kind == "stopped" else "(the noise)"
        spread = f"{middle.p50:.3f} [{middle.p10:.3f} {middle.p90:.3f}]"
        interval = f"95 % of the median {low:.3f} to {high:.3f}, {middle.count} windows"
        print(f"{title:32} {kind:8} {spread} of its neighbours; {interval}  {said}", flush=True)
    published, taken, missed = account
    print(f"{title:32} published {published:,} = taken {taken:,} + missed {missed:,}", flush=True)


def main(argv: list[str]) -> int:
    """Measure both cases and print their lines."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lossy_bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--ms", type=float, default=WINDOW_MS, help="length of a window")
    options = parser.parse_args(argv)
    for title, fuse in CASES.items():
        with fanout(fuse) as run:
            ratios = measure(run, options.rounds, options.ms)
            report(title, ratios, run.account())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""byteor as users run it: generator, stages, discard under a real daemon, everything on.

Each shape is a run of its own that lives as long as the bench. Its workers are stopped (SIGSTOP)
while others measure and while the probe sits on their CPUs; a sample wakes them for its time and
reads their counters and histograms from outside, as `status` does.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from byteord.regions.reader import RunReader
from tests.bench.native import BenchError
from tests.bench.priority import NICE, weigh_session
from tests.support.daemon import DaemonProcess
from tests.support.poll import until

START_TIMEOUT_S = 30.0
SETTLE_TIMEOUT_S = 0.4
LATENCY_TIME_FACTOR = 5
BURSTS_US_MAX = 20_000_000
"""Real-time CPU a worker may use in all; then the kernel ends it, come what may."""
CPUS = 2
WARM_UP_MESSAGES = 1000
PAYLOAD_BYTES = 48
SLOT_BYTES = 64
DIAMOND = ((), (), (0, 1))
BOUNDS_NS = (*range(0, 2000, 5), *range(2000, 100_000, 100))
"""Where the latency histogram is read: its own buckets are wider than 5 ns from 320 ns on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One run to measure."""

    capacity: int = 4096
    stages: int = 1
    max_batch: int = 256
    at_once: int = 0
    """Messages that the generator makes, then publishes together; 0 as many as there is room."""
    rate: int = 0
    """Messages a second, 0 as fast as possible."""
    wait: str = "spin"
    fuse: str = "never"
    key: str = "rate"
    """What is read: the last role's `rate`, or the first stage's `latency`."""

    depends: tuple[tuple[int, ...], ...] = ()
    """For each stage those that it follows; without it they are a chain."""

    @property
    def roles(self) -> int:
        """Return how many roles want a CPU."""
        return 2 + self.stages

    @property
    def sinks(self) -> list[str]:
        """Return the names of its egress endpoints."""
        return ["sink"]

    @property
    def copies(self) -> int:
        """Return how often each message arrives there."""
        return 1

    def spec(self, name: str) -> str:
        """Return the spec."""
        return spec_text(name, self)

    def deployment(self, cpus: tuple[int, int], count: int) -> str:
        """Return the deployment; `count` messages, 0: endless."""
        return deployment_text(self, cpus, count)


class Measured(Protocol):
    """A pipeline that can be measured as a run."""

    @property
    def key(self) -> str:
        """Return what is read: `rate` at the sinks, or the first stage's `latency`."""
        ...

    @property
    def roles(self) -> int:
        """Return how many roles want a CPU."""
        ...

    @property
    def sinks(self) -> list[str]:
        """Return the egress endpoints; the one that is furthest behind counts."""
        ...

    @property
    def copies(self) -> int:
        """Return how often each message arrives at one sink."""
        ...

    def spec(self, name: str) -> str:
        """Return the spec."""
        ...

    def deployment(self, cpus: tuple[int, int], count: int) -> str:
        """Return the deployment; `count` messages from each source, 0: endless."""
        ...


WORKERS_TEXT = (
    '[tuning]\nwait = "{wait}"\nfuse = "{fuse}"\npin = {cpus}\n'
    "[limits]\nmax_batch = {batch}\n[failure]\nstage_timeout_s = 600\n"
)
SHAPES = {
    "run.handover": Shape(rate=100_000, key="latency"),
    "run.single.256k": Shape(at_once=1),
    "run.single.4m": Shape(capacity=65536, at_once=1),
    "run.batch.256k": Shape(),
    "run.batch.4m": Shape(capacity=65536),
    "run.chain3.single": Shape(stages=3, at_once=1, wait="backoff"),
    "run.chain3.batch": Shape(stages=3, wait="backoff"),
    "run.chain3.fused": Shape(stages=3, fuse="always"),
    "run.diamond.apart.single": Shape(stages=3, depends=DIAMOND, at_once=1, wait="backoff"),
    "run.diamond.apart.batch": Shape(stages=3, depends=DIAMOND, wait="backoff"),
    "run.diamond.fused.single": Shape(stages=3, depends=DIAMOND, at_once=1, fuse="always"),
    "run.diamond.fused.batch": Shape(stages=3, depends=DIAMOND, fuse="always"),
}


def spec_text(name: str, shape: Shape) -> str:
    """Return the spec of a shape: identities, in a chain unless it says otherwise."""
    depends = shape.depends or [(i - 1,) if i else () for i in range(shape.stages)]
    stages = "".join(
        f'[[stages]]\nname = "s{index}"\nstage = "identity"\n'
        + (f"depends_on = {list(before)}\n" if before else "source = true\n" if index else "")
        for index, before in enumerate(depends)
    )
    ends = "".join(
        f'[[endpoints]]\nname = "{end}"\nkind = "{kind}"\n'
        for end, kind in (("source", "ingress"), ("sink", "egress"))
    )
    ring = f"[ring]\ncapacity = {shape.capacity}\nslot_bytes = {SLOT_BYTES}\n"
    return f'version = 1\nname = "{name}"\nmodel = "single_ring"\n{ring}{stages}{ends}'


def deployment_text(shape: Shape, cpus: tuple[int, int], count: int = 0) -> str:
    """Return the deployment: a generator (`count` 0: endless), a discard, pinned workers."""
    return (
        'version = 1\nenvironment = "dev"\n'
        f'[adapters.source]\nkind = "generator"\nsize = {PAYLOAD_BYTES}\ncount = {count}\n'
        f'rate = {shape.rate}\nat_once = {shape.at_once}\n[adapters.sink]\nkind = "discard"\n'
    ) + WORKERS_TEXT.format(
        wait=shape.wait, fuse=shape.fuse, cpus=[*dict.fromkeys(cpus)], batch=shape.max_batch
    )


class DaemonUnderTest:
    """A private daemon with its own regions. Use in a `with` block."""

    def __init__(self) -> None:
        """Start it."""
        self.process = DaemonProcess()
        self.process.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it and everything it started."""
        self.process.close()

    def ctl(self, *arguments: str) -> str:
        """Run byteorctl against it and return what it printed."""
        command = [sys.executable, "-m", "byteorctl", "--address", self.process.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            message = f"byteorctl {' '.join(arguments)}: exit {done.returncode}: {done.stderr}"
            raise BenchError(message)
        return done.stdout

    def start(self, name: str, shape: Measured, cpus: tuple[int, int], count: int = 0) -> Path:
        """Start a run and return the directory of its regions."""
        directory = self.process.directory / name
        directory.mkdir()
        (directory / "spec.toml").write_text(shape.spec(name.replace(".", "-")))
        (directory / "deployment.toml").write_text(shape.deployment(cpus, count))
        before = set(self.process.run_directories())
        self.ctl("run", "--detach", str(directory / "spec.toml"))
        [found] = set(self.process.run_directories()) - before
        return found


class RunGuest:
    """One running shape, stopped between samples. Use in a `with` block."""

    def __init__(
        self, daemon: DaemonUnderTest, name: str, shape: Measured, cpus: tuple[int, int]
    ) -> None:
        """Start the run, let it warm up, stop its workers."""
        self._shape = shape
        self._daemon = daemon
        self._stack = ExitStack()
        self._reader = RunReader(str(daemon.start(name, shape, cpus)))
        roles = self._reader.plan.roles
        self._stage = next((role.index for role in roles if role.kind == "stage"), -1)
        self._sinks = [role.index for role in roles if role.name in shape.sinks]
        self._pids: list[int] = []

        def warm() -> bool:
            roles = self._reader.read()["roles"]
            self._pids = sorted({role["pid"] for role in roles if role["pid"]})
            return bool(min(role["received"] for role in roles) >= WARM_UP_MESSAGES)

        until(warm, START_TIMEOUT_S, f"{name} moves messages")
        self._signal(signal.SIGSTOP)
        for pid in self._pids:
            resource.prlimit(pid, resource.RLIMIT_RTTIME, (BURSTS_US_MAX, BURSTS_US_MAX))
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, pid, NICE)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the workers go on, so that they can be ended in order."""
        self._signal(signal.SIGCONT)
        self._reader.close()

    def _burst(self, *, on: bool) -> None:
        """Put workers above everything else on their CPUs, and this process above them.

        Only where there is a CPU for each: others would starve each other. RLIMIT_RTTIME bounds
        what is left behind should this process die in the middle.
        """
        if len(self._pids) > CPUS:
            return
        policy, priority = (os.SCHED_FIFO, 10) if on else (os.SCHED_OTHER, 0)
        with suppress(PermissionError, ProcessLookupError):
            for task in (
                int(name) for pid in self._pids for name in os.listdir(f"/proc/{pid}/task")
            ):
                os.sched_setscheduler(task, policy, os.sched_param(priority))
            os.sched_setscheduler(0, policy, os.sched_param(priority + 1 if on else 0))

    def _weigh(self, nice: int) -> None:
        """Weigh the workers' sessions; for a sample only, or whoever is to end them would wait."""
        for pid in self._pids:
            weigh_session(pid, nice)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def roles(self) -> int:
        """Return how many roles the run has."""
        return self._shape.roles

    @property
    def workers(self) -> int:
        """Return how many processes share the two CPUs."""
        return len(self._pids)

    def drained(self) -> dict[str, dict[str, Any]]:
        """Stop the sources, let everything flow out, and return the final counters by role."""
        self._signal(signal.SIGCONT)
        self._daemon.ctl("stop", Path(self._reader.directory).name)
        return {role["name"]: role for role in self._reader.read()["roles"]}

    def _moved(self) -> tuple[float, float]:
        roles = self._reader.read()["roles"]
        received = min(roles[sink]["received"] for sink in self._sinks)
        return time.perf_counter(), received / self._shape.copies

    def _aged(self) -> list[int]:
        counts, _, _ = self._reader.histogram(self._stage, "latency", BOUNDS_NS)
        return counts

    def sample(self, ms: float) -> dict[str, float]:
        """Run for `ms` milliseconds and return what the run's own counters and histograms say."""
        self._burst(on=True)
        self._weigh(NICE)
        self._signal(signal.SIGCONT)
        try:
            return self._ages(ms / 1e3) if self._shape.key == "latency" else self._rate(ms / 1e3)
        finally:
            self._signal(signal.SIGSTOP)
            self._weigh(0)
            self._burst(on=False)

    def _rate(self, seconds: float) -> dict[str, float]:
        threading.Event().wait(seconds / 4)
        begin, before = self._moved()
        threading.Event().wait(seconds)
        end, after = self._moved()
        if after == before:
            message = f"a run moved nothing in {seconds * 1e3:.0f} ms"
            raise BenchError(message)
        return {"rate": (after - before) / (end - begin)}

    def _ages(self, seconds: float) -> dict[str, float]:
        """Return ages over a longer time, so that looking, which takes CPU, is no part of p99.

        A generator with a rate first makes up for the time it was stopped.
        """
        deadline = time.perf_counter() + SETTLE_TIMEOUT_S
        settled = False
        while not settled and time.perf_counter() < deadline:
            before = self._aged()
            threading.Event().wait(seconds / 4)
            settled = ages(before, self._aged())["p50_ns"] > 0
        before = self._aged()
        threading.Event().wait(seconds * LATENCY_TIME_FACTOR)
        found = ages(before, self._aged())
        if found["p50_ns"] == 0:
            message = f"most messages were older than {BOUNDS_NS[-1] / 1e3:.0f} us"
            raise BenchError(message)
        return found


def ages(before: list[int], after: list[int]) -> dict[str, float]:
    """Return p50 and p99 of what was added to a histogram over BOUNDS_NS; 0 when beyond."""
    added = [late - early for early, late in zip(before, after, strict=True)]
    total = added[-1] or 1
    found = {}
    for key, share in (("p50_ns", 0.5), ("p99_ns", 0.99)):
        index = next((i for i, count in enumerate(added) if count >= total * share), 0)
        found[key] = float(BOUNDS_NS[index])
    return found

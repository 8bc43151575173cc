"""Everything that can be measured, by name, and how a round over all of it runs.

A native candidate runs inside the pair server, probes and all. A guest (JVM, Python, the workers of
a real run) stands still while the server probes the same two CPUs right before and right after its
sample.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Self

from tests.bench.client_links import CLIENT_LINKS, CLIENT_PINGS
from tests.bench.crowd import CROWD_NAMES, Crowd, build_crowd
from tests.bench.disruptor import PAIR_SHAPES, SHAPES, Disruptor
from tests.bench.graph_runs import graph_shapes
from tests.bench.method import Round, Sample
from tests.bench.native import BenchError, NativePair, build_pair
from tests.bench.python_links import LINKS, PINGS
from tests.bench.python_pairs import PythonPair, PythonPing
from tests.bench.runs import SHAPES as RUN_SHAPES
from tests.bench.runs import DaemonUnderTest, Measured, RunGuest

Sampler = Callable[[float], Sample]
GUEST_MS_FACTOR = 2.0
REST_FACTOR = 1.0
REST_S_MIN = 0.01


class Bench:
    """All candidates that work here; `missing` says why others do not. Use in a `with` block."""

    def __init__(
        self,
        directory: Path,
        cpus: tuple[int, int],
        *,
        wanted: str = "",
        sides: str = "process",
        together: bool = False,
    ) -> None:
        """Build and start what has `wanted`, or one of several with commas, in its name.

        `together`: shapes of more than two sides run on the first CPU alone, all sides of them.
        The native pair itself must work.
        """
        self.missing: dict[str, str] = {}
        self.samplers: dict[str, Sampler] = {}
        self.processes: dict[str, str] = {}
        """Of real runs with more roles than CPUs: how they share them."""
        self._wanted = wanted
        self._cpus = cpus
        self._together = together
        self._crowd_cpus = (cpus[0], cpus[0]) if together else cpus
        self._stack = ExitStack()
        self._rounds = 0
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self.pair = self._stack.enter_context(NativePair(build_pair(directory), cpus, sides))
            self.fifo = self.pair.uses_fifo()
            self._add_native()
            self._add_disruptor(directory)
            self._add_crowd(directory)
            self._add_python()
            self._add_runs()
            undo.pop_all()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every guest and the native pair."""
        self._stack.close()

    def wants(self, name: str) -> bool:
        """Tell whether a candidate was asked for."""
        return any(part in name for part in self._wanted.split(","))

    def add_guest(self, name: str, sample: Callable[[float], dict[str, float]]) -> None:
        """Add a candidate that runs in processes of its own, pinned to the same two CPUs."""
        self.samplers[name] = partial(self._guest_sample, name, sample)

    def _guest_sample(
        self, name: str, sample: Callable[[float], dict[str, float]], ms: float
    ) -> Sample:
        before = self.pair.probe()
        values = sample(ms * GUEST_MS_FACTOR)
        return Sample(name, before, self.pair.probe(), values)

    def _add_native(self) -> None:
        for name in self.pair.names():
            if self.wants(name):
                self.samplers[name] = partial(self.pair.sample, name)

    def _add_disruptor(self, directory: Path) -> None:
        names = {
            f"disruptor.{shape}": shape
            for shape in SHAPES
            if self.wants(f"disruptor.{shape}") and not (self._together and shape in PAIR_SHAPES)
        }
        if not names:
            return
        try:
            disruptor = self._stack.enter_context(Disruptor(directory, self._crowd_cpus))
        except BenchError as error:
            self.missing["disruptor"] = str(error)
            return
        disruptor.warm_up(names.values(), 30)
        for name, shape in names.items():
            self.add_guest(name, partial(disruptor.sample, shape))

    def _add_crowd(self, directory: Path) -> None:
        if not any(self.wants(name) for name in CROWD_NAMES):
            return
        crowd = self._stack.enter_context(Crowd(build_crowd(directory), self._crowd_cpus))
        for name, what in CROWD_NAMES.items():
            if what[0] in crowd.queues and self.wants(name):
                self.add_guest(name, partial(crowd.sample, what))
            elif self.wants(name):
                self.missing[name] = "its header is not installed"

    def _add_python(self) -> None:
        for name, link in {**LINKS, **CLIENT_LINKS}.items():
            self._add_guest_of(name, partial(PythonPair, name, link, self._cpus))
        for name, ping in {**PINGS, **CLIENT_PINGS}.items():
            self._add_guest_of(f"{name}.ping", partial(PythonPing, name, ping, self._cpus))

    def _add_runs(self) -> None:
        shapes: dict[str, Measured] = {**RUN_SHAPES, **graph_shapes()}
        if not any(self.wants(name) for name in shapes):
            return
        daemon = self._stack.enter_context(DaemonUnderTest())
        for name, shape in shapes.items():
            crowded = name.startswith("graph.") or shape.roles > len(self._cpus)
            cpus = self._crowd_cpus if crowded else self._cpus
            self._add_guest_of(name, partial(RunGuest, daemon, name, shape, cpus))

    def _add_guest_of(
        self, name: str, make: Callable[[], PythonPair | PythonPing | RunGuest]
    ) -> None:
        if not self.wants(name):
            return
        try:
            guest = make()
        except BenchError as error:
            self.missing[name] = str(error)
            return
        self._stack.enter_context(guest)
        self.add_guest(name, guest.sample)
        if isinstance(guest, RunGuest) and guest.roles > len(self._cpus):
            where = ", on one CPU" if self._together else ""
            self.processes[name] = f"{guest.roles} roles, {guest.workers} processes{where}"

    def round(self, ms: float, order: Random) -> Round:
        """Sample every candidate once, in a new order, with a rest after each."""
        names = list(self.samplers)
        order.shuffle(names)
        found: Round = {}
        self._rounds += 1
        for name in names:
            try:
                found[name] = self.samplers[name](ms)
            except BenchError as error:
                self.missing[name] = f"round {self._rounds}: {error}"
            rest(ms)
        return found


def rest(ms: float) -> None:
    """Leave the machine to others for as long as the burst took."""
    threading.Event().wait(max(REST_S_MIN, ms * REST_FACTOR / 1e3))


def two_cpus() -> tuple[int, int]:
    """Return the first two CPUs this process may use; BenchError when there is one."""
    allowed: Iterable[int] = sorted(os.sched_getaffinity(0))
    first, *others = allowed
    if not others:
        message = f"the bench needs two CPUs: this process may use CPU {first} only (see taskset)"
        raise BenchError(message)
    return first, others[0]

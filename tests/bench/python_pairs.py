"""Two pinned Python processes over a link: one-way rate and round trips.

Both are forked before the first sample and block on a command pipe between samples.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from tests.bench.native import BenchError
from tests.bench.python_links import JOINED, MESSAGE_BYTES, Link, OneByOne, opened

FORK = multiprocessing.get_context("fork")
FIRST_COUNT = 2000
FIRST_TRIPS = 200
ANSWER_TIMEOUT_S = 60.0
TRIP_COUNT_MAX = 20000
BURST_US_MAX = 5_000_000
PING_MESSAGE = bytes(MESSAGE_BYTES)


class Sides:
    """Forked processes on a link or two, ended before the links. Use in a `with` block."""

    def __init__(self, name: str) -> None:
        """Start with nothing."""
        self.name = name
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End both processes, then the links."""
        self.stack.close()

    def fork(self, main: Callable[..., None], cpu: int, *arguments: object) -> Connection:
        """Start a side on a CPU and return the end to command it by."""
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=main, args=(cpu, theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
        self.stack.callback(process.join)
        self.stack.callback(process.kill)
        return ours

    def answer(self, connection: Connection) -> Any:
        """Return what a side has to say; BenchError when it is gone, or silent for too long."""
        try:
            if connection.poll(ANSWER_TIMEOUT_S):
                return connection.recv()
        except EOFError:
            message = f"{self.name}: a side ended"
            raise BenchError(message) from None
        message = f"{self.name}: no answer within {ANSWER_TIMEOUT_S:.0f} s"
        raise BenchError(message)


class PythonPair(Sides):
    """Sender and receiver of one link, one way."""

    def __init__(self, name: str, factory: Callable[[], Link], cpus: tuple[int, int]) -> None:
        """Fork both sides and take a first, unreported sample to learn the rate."""
        super().__init__(name)
        with ExitStack() as undo:
            undo.callback(self.stack.close)
            link = self.stack.enter_context(opened(name, factory))
            self._receiver = self.fork(receiver_main, cpus[1], link)
            self._sender = self.fork(sender_main, cpus[0], link)
            self._rate = self._run(FIRST_COUNT)
            undo.pop_all()

    def _run(self, count: int) -> float:
        self._receiver.send(count)
        self._sender.send(count)
        begin = self.answer(self._sender)
        end, total = self.answer(self._receiver)
        if total != count * MESSAGE_BYTES:
            message = f"{self.name}: {total} bytes arrived of {count * MESSAGE_BYTES}"
            raise BenchError(message)
        return float(count / (end - begin))

    def sample(self, ms: float) -> dict[str, float]:
        """Send for about `ms` milliseconds; return the rate in messages per second."""
        self._rate = self._run(max(JOINED, int(self._rate * ms / 1e3)))
        return {"rate": self._rate}


class PythonPing(Sides):
    """A message there and back over two links of a kind."""

    def __init__(self, name: str, factory: Callable[[], OneByOne], cpus: tuple[int, int]) -> None:
        """Fork the side that answers and the one that asks."""
        super().__init__(name)
        with ExitStack() as undo:
            undo.callback(self.stack.close)
            there = self.stack.enter_context(opened(name, factory))
            back = self.stack.enter_context(opened(name, factory))
            self._echo = self.fork(echo_main, cpus[1], there, back)
            self._asker = self.fork(ping_main, cpus[0], there, back)
            self._trips_per_s = self._run(FIRST_TRIPS)[2]
            undo.pop_all()

    def _run(self, count: int) -> tuple[float, float, float]:
        self._echo.send(count)
        self._asker.send(count)
        median, p99, seconds = self.answer(self._asker)
        self.answer(self._echo)
        return median, p99, count / seconds

    def sample(self, ms: float) -> dict[str, float]:
        """Ping for about `ms` milliseconds; return half the round trip, p50 and p99 in ns."""
        count = min(TRIP_COUNT_MAX, max(100, int(self._trips_per_s * ms / 1e3)))
        median, p99, self._trips_per_s = self._run(count)
        return {"p50_ns": median / 2, "p99_ns": p99 / 2}


def _settle(cpu: int) -> None:
    """Pin this side, and put it above others for its short samples; it blocks in between.

    The kernel ends a side that takes more than BURST_US_MAX at a stretch: a peer that is gone must
    not stop the machine.
    """
    os.sched_setaffinity(0, {cpu})
    resource.setrlimit(resource.RLIMIT_RTTIME, (BURST_US_MAX, BURST_US_MAX))
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def sender_main(cpu: int, control: Connection, link: Link) -> None:
    """Send as many as told, again and again; answer with the time of the first."""
    _settle(cpu)
    send = link.sender()
    while count := control.recv():
        begin = time.perf_counter()
        send(count)
        control.send(begin)


def receiver_main(cpu: int, control: Connection, link: Link) -> None:
    """Receive as many as told; answer with the time of the last and the bytes seen."""
    _settle(cpu)
    receive = link.receiver()
    while count := control.recv():
        total = receive(count)
        control.send((time.perf_counter(), total))


def echo_main(cpu: int, control: Connection, there: OneByOne, back: OneByOne) -> None:
    """Answer each message with one."""
    _settle(cpu)
    get, put = there.open_get(), back.open_put()
    while count := control.recv():
        for _ in range(count):
            put(get())
        control.send(count)


def ping_main(cpu: int, control: Connection, there: OneByOne, back: OneByOne) -> None:
    """Ask and wait for the answer; report median and p99 of the round trips, and the time taken."""
    _settle(cpu)
    get, put, clock = back.open_get(), there.open_put(), time.perf_counter_ns
    while count := control.recv():
        trips = []
        first = last = clock()
        for _ in range(count):
            put(PING_MESSAGE)
            get()
            now = clock()
            trips.append(now - last)
            last = now
        trips.sort()
        control.send((trips[count // 2], trips[int(count * 0.99)], (last - first) / 1e9))

"""The shim's side of tuning: hears what workers asked for, reads back what they got, lets them go.

Owns the socket by which a worker reports once, before its loop, and the decision whether a run
that must not begin degraded begins. What is read back, and how it is judged, is `byteord.tuning`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Mapping
from functools import partial

from byteord.deployment.plan import RunPlan
from byteord.tuning.monitor import Monitor

REPORT_BYTES_MAX = 64 << 10
GO = b"go"


class TuningWatch:
    """Tuning of the workers of one run."""

    def __init__(self, directory: str, plan: RunPlan, selector: selectors.BaseSelector) -> None:
        """Know no worker yet; the shim itself goes to the CPUs that are left to everything else."""
        self.monitor = Monitor(directory, plan)
        self.strict = plan.tuning.strict
        self.released = not self.strict
        self._selector = selector
        self._waiting: dict[int, socket.socket] = {}
        self._news = False
        if plan.tuning.housekeeping:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, plan.tuning.housekeeping)

    def open(self, worker: int) -> socket.socket:
        """Return the end of a fresh socket that the worker reports on; the caller closes it."""
        self._close(worker)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._waiting[worker] = ours
        self._selector.register(ours, selectors.EVENT_READ, partial(self._heard, worker))
        return theirs

    def look(self, pids: Mapping[int, int]) -> bool:
        """Read back if it is time; tell whether anything changed."""
        news, self._news = self._news, False
        return self.monitor.look(pids, now=news)

    def refusal(self) -> str:
        """Let workers go that wait to be told, once all have been read back.

        Return why they are not let go: the run must not begin like this.
        """
        if self.released or not self.monitor.complete:
            return ""
        short = self.monitor.shortfalls()
        if short:
            self.dismiss()
            return (
                f"profile {self.monitor.plan.tuning.profile} is not honoured by this host: "
                f"{'; '.join(short)}; mend that, or set tuning.allow_degraded = true"
            )
        self.released = True
        for worker in list(self._waiting):
            self._go(worker)
        return ""

    def dismiss(self) -> None:
        """Tell workers that still wait that there is nothing to begin."""
        if not self.released:
            for worker in list(self._waiting):
                self._close(worker)

    def _heard(self, worker: int) -> None:
        packet = b""
        with contextlib.suppress(OSError):
            packet = self._waiting[worker].recv(REPORT_BYTES_MAX)
        if packet:
            with contextlib.suppress(ValueError):
                self.monitor.heard(worker, json.loads(packet))
                self._news = True
        if not packet:
            self._close(worker)
        elif self.strict and self.released:
            self._go(worker)

    def _go(self, worker: int) -> None:
        with contextlib.suppress(OSError):
            self._waiting[worker].send(GO)
        self._close(worker)

    def _close(self, worker: int) -> None:
        ours = self._waiting.pop(worker, None)
        if ours is not None:
            self._selector.unregister(ours)
            ours.close()

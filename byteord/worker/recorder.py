"""The recorder of a run: a process that takes what units hand over and keeps it on disk.

Owns the journals and digests of one run's capture. It is off the critical path: a unit never waits
for it but where the deployment says so. Exit codes: 0 everything was dealt with; 1 it cannot go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from byteord._cext import capture as tapes
from byteord._cext.control import Control
from byteord._cext.journal import JournalWriter
from byteord.deployment.capture import CapturePlan, TapePlan
from byteord.deployment.plan import RunPlan
from byteord.deployment.ports import tape_rings
from byteord.errors import ByteorError
from byteord.regions.captures import (
    keeps_messages,
    recovered,
    run_directory,
    stream_directory,
    write_json,
)
from byteord.regions.journals import segment_path
from byteord.worker.aside import Aside, sync
from byteord.worker.overrun import Overrun, Reading, reading

EXIT_OK, EXIT_FAILED = 0, 1
PR_SET_NAME = 15
STEP_BYTES = 1 << 20
"""One piece of a stream is written while the next one is computed, be it of another stream."""
CHECKPOINT = 4096
"""Messages between two checkpoints of a digest, until there are too many of them."""
CHECKPOINTS_MAX = 512
_PACE_S, _IDLE_MAX_S = 0.004, 0.016
"""Between two looks at tapes that are far from full: each look takes a CPU from somebody."""
_FULL_S = 0.02
_REST_S = 0.002
"""Of one that is overrun, after a piece of each stream: there are gaps anyway, and what it does
takes caches and memory bandwidth from the run even where it has a CPU of its own."""
_REPORT_S = 1.0
NICE = 15
"""Where the run does not wait for the recorder, it is not to take the CPU from it either."""


@dataclass(slots=True)
class Stream:
    """One tape and what is kept of it."""

    plan: TapePlan
    drain: tapes.Drain
    journal: JournalWriter | None
    checkpoints: list[tuple[int, str]] = field(default_factory=list)
    every: int = CHECKPOINT
    given_up: str = ""

    @property
    def digests(self) -> bool:
        """Tell whether it has a digest."""
        return self.plan.stream == "out"

    @property
    def is_behind(self) -> bool:
        """Tell whether so much waits on the tape that it could be full before the next look."""
        stats = self.drain.stats()
        return bool(stats["lag_bytes"] * 4 > stats["tape_bytes"])

    def step(self, unix_ns: int) -> int:
        """Deal with what is there; returns the outcome of `Drain.step`.

        All streams get as much at a time: one whose turn ended at a checkpoint would fall behind.
        """
        if self.given_up:
            self.drain.give_up(0)
            return tapes.NOTHING
        outcome, left, until = tapes.CHECKPOINT, STEP_BYTES, self.drain.tail + STEP_BYTES
        while outcome == tapes.CHECKPOINT and left > 0:
            outcome = self.drain.step(left, unix_ns)
            if outcome == tapes.CHECKPOINT:
                self._checkpoint()
            left = until - self.drain.tail
        if outcome == tapes.NONSENSE:
            self.given_up = "what a worker handed over cannot be"
        stopped = outcome in {tapes.CHECKPOINT, tapes.NOTHING}
        return tapes.SOME if stopped and left < STEP_BYTES else outcome

    def _checkpoint(self) -> None:
        self.checkpoints.append(self.drain.digest())
        if len(self.checkpoints) > CHECKPOINTS_MAX:
            self.every *= 2
            self.checkpoints = [each for each in self.checkpoints if each[0] % self.every == 0]
        self.drain.stop_at(self.checkpoints[-1][0] // self.every * self.every + self.every)

    @property
    def kept(self) -> JournalWriter | None:
        """Return the journal that takes what is kept; None: nothing is, or no more."""
        return None if self.drain.failed else self.journal

    def fail(self, error_number: int) -> None:
        """Keep nothing more: a sync failed, and the next one would not say so."""
        if not self.drain.failed:
            self.drain.fail(error_number)
            name = f"{self.plan.stream}/{self.plan.name}"
            sys.stderr.write(f"recorder: {name}: sync: {os.strerror(error_number)}\n")
            sys.stderr.flush()

    def report(self) -> dict[str, Any]:
        """Return the digest so far."""
        stats = self.drain.stats()
        count, digest = self.drain.digest()
        return {
            "count": count,
            "sha256": digest,
            "checkpoints": list(self.checkpoints),
            "lost": stats["lost"],
            "gaps": stats["gaps"],
        }


Syncs = list[tuple[Stream, list[int]]]
Reports = list[tuple[Path, dict[str, Any]]]


class Recorder:
    """All streams of one run."""

    def __init__(self, plan: RunPlan, capture: CapturePlan, *, ring_fds: list[int]) -> None:
        """Open every stream where the last recorder left it; ByteorError, OSError, ValueError."""
        self.plan, self.capture = plan, capture
        self.directory = run_directory(capture, plan.run_id)
        self._aside = Aside()
        self._failed: SimpleQueue[tuple[Stream, int]] = SimpleQueue()
        self._synced = self._reported = time.monotonic()
        self.streams = [
            self._open(tape, ring_fds[ring])
            for tape, ring in zip(capture.tapes, tape_rings(plan), strict=True)
        ]
        self._overrun = Overrun(self._reading())

    def _open(self, tape: TapePlan, ring_fd: int) -> Stream:
        journal, sequence, position = None, 0, 0
        if keeps_messages(self.capture, tape):
            journal, sequence, position = self._open_journal(tape)
        drain = tapes.Drain(
            ring_fd,
            journal=journal,
            sequence=sequence,
            appended=position,
            sample_every=max(self.capture.sample_every, 1) if tape.stream == "in" else 1,
            digests=tape.stream == "out",
            choices=tape.stream == "choices",
            waits=self.capture.on_full == "wait",
        )
        stream = Stream(tape, drain, journal)
        if stream.digests:
            drain.stop_at(drain.digest()[0] // CHECKPOINT * CHECKPOINT + CHECKPOINT)
        return stream

    def _open_journal(self, tape: TapePlan) -> tuple[JournalWriter, int, int]:
        capture, where = self.capture, stream_directory(self.capture, self.plan.run_id, tape)
        found, position, end = recovered(where)
        last = capture.keep == "last" and tape.stream == "in"
        writer = JournalWriter(
            str(where),
            segments=found.segments,
            base=0,
            segment_bytes=capture.segment_bytes,
            retention_bytes=capture.retention_bytes,
            retention_ns=capture.last_time_s * 1_000_000_000 if last else 0,
            retention_frames=capture.last_messages if last else 0,
            sync=capture.sync,
            sync_interval_ns=capture.sync_interval_ms * 1_000_000,
            durable=True,
            staged=True,
        )
        if end is not None:
            writer.resume(*end)
        return writer, found.next_sequence, position

    def run(self, finish_fd: int) -> None:
        """Go on until `finish_fd` is at its end and every tape is empty."""
        idle_s, finishing = _PACE_S / 2, False
        while True:
            outcomes = {stream.step(time.time_ns()) for stream in self.streams}
            self._look_aside()
            if finishing and not outcomes & {tapes.SOME, tapes.WAITS}:
                return
            idle_s = _PACE_S if tapes.SOME in outcomes else min(idle_s * 2, _IDLE_MAX_S)
            pause = self._pause(outcomes, idle_s, finishing=finishing)
            if finishing:
                time.sleep(pause)
            elif pause:
                finishing = bool(select.select([finish_fd], [], [], pause)[0])

    def _pause(self, outcomes: set[int], idle_s: float, *, finishing: bool) -> float:
        """Return for how long not to look at the tapes; 0: they have to be looked at again."""
        if tapes.SOME in outcomes:
            if finishing:
                return 0.0
            if any(stream.is_behind for stream in self.streams):
                return _REST_S if self._is_overrun() else 0.0
        return _FULL_S if tapes.WAITS in outcomes else idle_s

    def _is_overrun(self) -> bool:
        if self.capture.on_full == "degrade" and self._overrun.due(time.monotonic()):
            self._overrun.judge(self._reading())
        return self._overrun.is_so

    def _reading(self) -> Reading:
        stats = [stream.drain.stats() for stream in self.streams]
        return reading(time.monotonic(), time.thread_time(), stats)

    def finish(self, entered: dict[int, int]) -> None:
        """Everything has been handed over: say how many messages each role had, write the ends."""
        self._aside.end()
        self._tell_failed()
        for stream in self.streams:
            stream.drain.end(entered.get(stream.plan.role, 0) if stream.plan.counted else 0)
            written = stream.drain.segment_file
            if written is not None:
                where = stream_directory(self.capture, self.plan.run_id, stream.plan)
                os.truncate(segment_path(where, written[0]), written[1])  # what was kept free
        if self.capture.sync != "none":
            self._sync(self._to_sync())
        self._tell_failed()
        self._write(self._reports())

    # --- beside the recording

    def _look_aside(self) -> None:
        """See what failed beside the recording, and begin there what is due."""
        if not self._aside.idle:
            return
        self._tell_failed()
        now, syncs, reports = time.monotonic(), [], []
        due = now - self._synced >= self.capture.sync_interval_ms / 1000
        if due and self.capture.sync == "interval":
            syncs, self._synced = self._to_sync(), now
        if now - self._reported > _REPORT_S:
            reports, self._reported = self._reports(), now
        if syncs or reports:
            self._aside.do(lambda: self._deal_with(syncs, reports))

    def _deal_with(self, syncs: Syncs, reports: Reports) -> None:
        self._sync(syncs)
        self._write(reports)

    def _tell_failed(self) -> None:
        while not self._failed.empty():
            stream, error_number = self._failed.get()
            stream.fail(error_number)

    def _to_sync(self) -> Syncs:
        open_ones = [(each, each.kept.to_sync()) for each in self.streams if each.kept is not None]
        return [(stream, descriptors) for stream, descriptors in open_ones if descriptors]

    def _sync(self, syncs: Syncs) -> None:
        for stream, descriptors in syncs:
            if error_number := sync(descriptors):
                self._failed.put((stream, error_number))

    def _reports(self) -> Reports:
        where = self.directory / "out"
        digested = (each for each in self.streams if each.digests)
        return [(where / f"{each.plan.name}.json", each.report()) for each in digested]

    def _write(self, reports: Reports) -> None:
        for path, content in reports:
            with contextlib.suppress(OSError):  # a full disk: the next one says more
                write_json(path, content)


def run_recorder(plan: RunPlan, *, control_fd: int, ring_fds: list[int], finish_fd: int) -> int:
    """Be the recorder; return the exit code."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"byteor-record", 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if plan.capture is None:
        return EXIT_OK
    if plan.capture.on_full == "degrade":
        _give_way()
    try:
        recorder = Recorder(plan, plan.capture, ring_fds=ring_fds)
        recorder.run(finish_fd)
        control = Control(control_fd, False)
        recorder.finish({role.index: _received(control, role.index) for role in plan.roles})
    except (ByteorError, OSError, ValueError) as error:
        text = error.message if isinstance(error, ByteorError) else str(error)
        sys.stderr.write(f"recorder: {text}\n")
        sys.stderr.flush()
        return EXIT_FAILED
    return EXIT_OK


def _give_way() -> None:
    """Take the CPU time that the run leaves, and never interrupt who is at work when waking up.

    Something is left even where the run wants every CPU, about 3 % of each. With nice 19 it is half
    of that, and with SCHED_IDLE next to nothing: then others on the machine count for more than the
    recorder, and a run that is slow enough to be recorded whole has gaps.
    """
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _received(control: Any, role: int) -> int:
    return int(control.role(role)["received"])

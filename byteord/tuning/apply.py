"""What a worker asks of the kernel for itself, in three steps: `enter`, `settle`, `begin`.

Nothing here raises or judges: a refusal is noted in the kernel's own words, and what came of it is
read back from outside (`byteord.tuning.readback`). Must not run on a hot path.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from byteord.deployment.plan import TuningPlan
from byteord.tuning.topology import cgroup2_mount, read_rights

PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
MCL_CURRENT, MCL_FUTURE = 1, 2
MADV_HUGEPAGE, MADV_POPULATE_WRITE, MADV_COLLAPSE = 14, 23, 25
HUGE_BYTES = 2 << 20
DMA_LATENCY = "/dev/cpu_dma_latency"
_TRIES, _AGAIN_S = 40, 0.005
POLICIES = {"other": os.SCHED_OTHER, "fifo": os.SCHED_FIFO, "rr": os.SCHED_RR}

Mapping = tuple[int, int]
"""Address and bytes of a region in this process."""


@dataclass(slots=True)
class Outcome:
    """What the kernel refused, by knob, and what only this process can see of itself."""

    refused: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)
    """Descriptors that must stay open while the worker lives."""

    def note(self, knob: str, error: OSError | int, more: str = "") -> None:
        """Record a refusal: the kernel's code and words, and what was done instead."""
        number = error if isinstance(error, int) else error.errno or 0
        name = errno.errorcode.get(number, str(number))
        self.refused[knob] = f"{name}: {os.strerror(number)}{more}"


def enter(plan: TuningPlan, cpus: Sequence[int]) -> Outcome:
    """Take the worker's place: partition, CPUs, timer slack, wake-up latency."""
    done = Outcome()
    if plan.partition:
        _enter_partition(plan.partition, done)
    if cpus:
        _set_affinity(cpus, done)
    libc = _libc()
    if libc.prctl(PR_SET_TIMERSLACK, plan.timer_slack_ns, 0, 0, 0):
        done.note("timer_slack", ctypes.get_errno())
    done.seen["timer_slack"] = str(libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0))
    done.seen["nice"] = str(os.getpriority(os.PRIO_PROCESS, 0))
    if plan.cpu_dma_latency_us >= 0:
        _hold_latency(plan.cpu_dma_latency_us, done)
    return done


def settle(plan: TuningPlan, mappings: Sequence[Mapping], done: Outcome) -> None:
    """Make the mapped regions resident: huge pages, every page touched, memory locked."""
    done.seen["regions"] = ",".join(f"{address:x}" for address, _ in mappings)
    if plan.huge_pages:
        _ask_huge(mappings, done)
    if plan.prefault:
        _advise("prefault", mappings, MADV_POPULATE_WRITE, done)
    if plan.mlock:
        _lock(mappings, done)


def begin(plan: TuningPlan, done: Outcome) -> None:
    """Give the calling thread its scheduling policy: the last thing before its loop.

    Children and further threads begin with the ordinary policy.
    """
    if plan.sched == "other":
        return
    policy = POLICIES[plan.sched] | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(plan.priority))
    except OSError as error:
        limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        done.note("scheduler", error, f"; RLIMIT_RTPRIO is {limit}")
        done.refused["priority"] = done.refused["scheduler"]


def pin_thread(cpus: Sequence[int]) -> None:
    """Put the calling thread on its CPUs, as far as it may; what came of it is read back."""
    if cpus:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter_partition(path: str, done: Outcome) -> None:
    procs = Path(cgroup2_mount() or "/sys/fs/cgroup", path.lstrip("/"), "cgroup.procs")
    try:
        procs.write_text("0")
    except OSError as error:
        done.note("partition", error)


def _set_affinity(cpus: Sequence[int], done: Outcome) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        done.note("affinity", error)


def _hold_latency(latency_us: int, done: Outcome) -> None:
    """Ask for a bound on wake-up latency; the kernel keeps it while the descriptor is open."""
    try:
        descriptor = os.open(DMA_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        done.note("cpu_dma_latency", error)
        return
    try:
        os.write(descriptor, struct.pack("=i", latency_us))
    except OSError as error:
        os.close(descriptor)
        done.note("cpu_dma_latency", error)
        return
    done.held.append(descriptor)


def _ask_huge(mappings: Sequence[Mapping], done: Outcome) -> None:
    """Ask for huge pages, and for what is there already to be put together into them."""
    large = [(address, size // HUGE_BYTES * HUGE_BYTES) for address, size in mappings]
    large = [(address, size) for address, size in large if size]
    done.seen["huge_kb"] = str(sum(size for _, size in large) // 1024)
    _advise("huge_pages", large, MADV_HUGEPAGE, done)
    _advise("huge_pages", large, MADV_COLLAPSE, done)


def _advise(knob: str, mappings: Sequence[Mapping], advice: int, done: Outcome) -> None:
    """Give advice about mappings, again while another worker has hold of the same pages."""
    libc = _libc()
    for address, size in mappings:
        number = errno.EAGAIN
        for _ in range(_TRIES):
            failed = libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)
            number = ctypes.get_errno() if failed else 0
            if number != errno.EAGAIN:
                break
            time.sleep(_AGAIN_S)
        if number:
            done.note(knob, number)


def _lock(mappings: Sequence[Mapping], done: Outcome) -> None:
    """Lock everything; where a limit forbids that, everything that is there, else the regions.

    With a limit, memory mapped later is left out: its allocation would fail instead.
    """
    libc, rights = _libc(), read_rights()
    free = rights.ipc_lock or rights.memlock_bytes < 0
    if libc.mlockall(MCL_CURRENT | (MCL_FUTURE if free else 0)) == 0:
        if not free:
            done.refused["memory_lock"] = (
                f"RLIMIT_MEMLOCK is {rights.memlock_bytes} bytes: what is mapped later stays "
                "unlocked"
            )
        return
    number = ctypes.get_errno()
    regions = [
        libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) for address, size in mappings
    ]
    what = "nothing is locked" if all(regions) else "the regions alone are locked"
    if any(regions) and not all(regions):
        what = "some of the regions are locked"
    done.note("memory_lock", number, f"; RLIMIT_MEMLOCK is {rights.memlock_bytes} bytes; {what}")

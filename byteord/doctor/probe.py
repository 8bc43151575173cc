"""`python -m byteord.doctor.probe`: measures in a process of its own, JSON in and out.

Owns the native probe: threads that spin and sleep on the CPUs that it is told, and files that it
removes. A process of its own, so that no affinity, fault or crash of a probe reaches the daemon.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byteord._cext import probe, region
from byteord.doctor.attribute import percentile
from byteord.doctor.checks.interrupts import table
from byteord.doctor.checks.measured import BUDGET_NS
from byteord.doctor.kernel import LiveKernel
from byteord.doctor.look import Look
from byteord.regions.clock import clock_mult, membarrier_available
from byteord.tuning.root import HostRoot

JITTER_NS = 1_000_000_000
THRESHOLD_NS = 1_000
"""Shorter gaps are the clock's own and the cache's."""
HAND_OVER_NS = 200_000_000
PAIRS_MAX = 6
POSTS = 120
PAUSE_NS = {"backoff": 3_000_000, "park": 2_000_000}
SLEEP_NS_MAX = {"backoff": 1_000_000, "park": 10_000_000}
TIMER_NS, TIMERS = 200_000, 500
TOUCH_BYTES = 16 << 20
FSYNC_TIMES, FSYNC_S_MAX, FSYNC_BYTES = 100, 1.5, 4096


def measure(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return every measurement that could be made, and why the others could not."""
    mult = clock_mult()
    left_out: dict[str, str] = dict(wanted.get("left_out", {}))
    found: dict[str, Any] = {"left_out": left_out}
    cpus, pairs = wanted["cpus"], wanted["pairs"][:PAIRS_MAX]

    def take(name: str, make: Callable[[], Any]) -> None:
        try:
            found[name] = make()
        except (OSError, ValueError) as error:
            left_out[name] = f"the kernel refused: {error}"

    take("clock", lambda: probe.clock_cost(mult))
    take("faults", lambda: _touch(wanted["regions"], mult))
    if "jitter" not in left_out:
        take("jitter", lambda: _jitter(cpus, mult))
    if "hand_over" not in left_out:
        take("hand_over", lambda: [_hand_over(one, other, mult) for one, other in pairs])
    take("wake", lambda: _wake(pairs[0] if pairs and "jitter" not in left_out else (-1, -1), mult))
    take("fsync", lambda: _fsync(wanted["state_dir"]))
    return found


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    buckets = found["buckets"]
    shares = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
    return {**found, **{name: percentile(buckets, share) for name, share in shares.items()}}


def _jitter(cpus: Sequence[int], mult: int) -> list[dict[str, Any]]:
    before = _interrupts()
    found = probe.jitter(
        cpus, window_ns=JITTER_NS, threshold_ns=THRESHOLD_NS, budget_ns=BUDGET_NS, mult=mult
    )
    after = _interrupts()
    for each in found:
        cpu = each["cpu"]
        each["interrupts"] = {
            name: counts[cpu] - before[name][cpu]
            for name, counts in after.items()
            if name in before and cpu < len(counts) and counts[cpu] > before[name][cpu]
        }
    return [_summary(each) for each in found if not each["error"]]


def _interrupts() -> dict[str, list[int]]:
    look = Look(HostRoot(), LiveKernel())
    return {name: counts for name, (counts, _) in table(look, "/proc/interrupts").items()}


def _hand_over(left: int, right: int, mult: int) -> dict[str, Any]:
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("there", "back")]
    ident = {
        "pid": os.getpid(),
        "start_ticks": 0,
        "membarrier": membarrier_available(),
        "spec_sha256": bytes(32),
        "run_id": "probe",
        "boot_id": "",
    }
    try:
        for file in files:
            region.create_ring(
                file, capacity=1024, slot_bytes=64, cells=1, ident=ident, clock=region.Clock(mult)
            )
        found = probe.hand_over(files[0], files[1], left, right, window_ns=HAND_OVER_NS, mult=mult)
    finally:
        for file in files:
            os.close(file)
    return {"from": left, "to": right, **_summary(found)}


def _wake(pair: Sequence[int], mult: int) -> dict[str, Any]:
    found = {
        kind: _summary(
            probe.wake(
                kind,
                sleep_ns_max=SLEEP_NS_MAX[kind],
                poster_cpu=pair[0],
                waiter_cpu=pair[1],
                posts=POSTS,
                pause_ns=PAUSE_NS[kind],
                mult=mult,
            )
        )
        for kind in probe.WAITS
    }
    late = probe.timer(pair[1], sleep_ns=TIMER_NS, times=TIMERS, mult=mult)
    return {**found, "timer": _summary(late)}


def _touch(regions: str, mult: int) -> dict[str, Any]:
    with tempfile.TemporaryFile(dir=regions) as file:
        os.posix_fallocate(file.fileno(), 0, TOUCH_BYTES)
        return probe.touch(file.fileno(), TOUCH_BYTES, mult)


def _fsync(directory: str) -> dict[str, Any]:
    block = os.urandom(FSYNC_BYTES)
    times: list[float] = []
    end = time.monotonic() + FSYNC_S_MAX
    with tempfile.TemporaryFile(dir=directory) as file:
        while len(times) < FSYNC_TIMES and time.monotonic() < end:
            start = time.perf_counter()
            os.pwrite(file.fileno(), block, len(times) * FSYNC_BYTES)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    return {
        "count": len(times),
        "p50_us": times[len(times) // 2],
        "p99_us": times[min(len(times) - 1, len(times) * 99 // 100)],
        "longest_us": times[-1],
        "directory": directory,
    }


def main() -> int:
    """Read a request, write what was measured."""
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the run's clock and wake-ups can rely on here; measured once per process."""

from __future__ import annotations

import functools
from pathlib import Path

from byteord._cext import region


@functools.cache
def membarrier_available() -> bool:
    """Tell whether the kernel has global expedited membarriers."""
    return bool(region.membarrier_available())


def clock_mult(root: str = "/") -> int:
    """Return nanoseconds per TSC tick (32 fractional bits), 0 where the kernel distrusts the TSC.

    `root` stands in for `/` when looking at `/sys` and `/proc`. Takes 20 ms, once.
    """
    return _measured(root)


@functools.cache
def _measured(root: str) -> int:
    try:
        sources = Path(
            root, "sys/devices/system/clocksource/clocksource0/available_clocksource"
        ).read_text()
        flags = Path(root, "proc/cpuinfo").read_text()
    except OSError:
        return 0
    if "tsc" not in sources.split() or "constant_tsc" not in flags or "nonstop_tsc" not in flags:
        return 0
    return int(region.calibrate_clock(20))

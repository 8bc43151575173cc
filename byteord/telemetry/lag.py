"""How late the event loop is, and whether supervision completes its steps.

A daemon that cannot keep its own time, or never finishes what it began with a run, is not well, and
must not tell systemd that it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from byteord.telemetry.systemd import Notifier

PERIOD_S = 0.1
LAG_S_MAX = 1.0
"""Above this no watchdog ping is sent until a whole ping period passed without."""


class LoopWatch:
    """Measures the loop's lag; pings systemd while that is bounded and nothing is stuck."""

    def __init__(
        self, notifier: Notifier, log: FilteringBoundLogger, stuck: Callable[[], str]
    ) -> None:
        self._notifier = notifier
        self._log = log
        self._stuck = stuck
        self._ping_s = notifier.watchdog_s / 3
        self._pinged_at = 0.0
        self._lag_s_worst = 0.0
        self.lag_s = 0.0
        """Latest lag, seconds."""
        self.lag_s_max = 0.0
        """Largest lag since the start, seconds."""

    async def run(self) -> None:
        """Measure until cancelled."""
        now = time.monotonic()
        while True:
            due = now + PERIOD_S
            await asyncio.sleep(due - time.monotonic())
            now = time.monotonic()
            self.step(now - due, now)

    def step(self, lag_s: float, now_s: float) -> None:
        """Take one measurement, and ping if a ping is due and the loop was well since the last."""
        self.lag_s = max(0.0, lag_s)
        self.lag_s_max = max(self.lag_s_max, self.lag_s)
        self._lag_s_worst = max(self._lag_s_worst, self.lag_s)
        if self.lag_s > LAG_S_MAX:
            self._log.warning("loop.lagged", lag_s=round(self.lag_s, 3), lag_s_max=LAG_S_MAX)
        if not self._ping_s or now_s - self._pinged_at < self._ping_s:
            return
        stuck = self._stuck()
        if stuck:
            self._log.error("supervision.stuck", what=stuck)
        elif self._lag_s_worst <= LAG_S_MAX:
            self._notifier.watchdog()
        self._pinged_at = now_s
        self._lag_s_worst = 0.0

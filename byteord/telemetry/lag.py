"""How late the event loop is.

A daemon that cannot keep its own time is not well, and must not tell systemd that it is.
"""

from __future__ import annotations

import asyncio
import time

from structlog.typing import FilteringBoundLogger

from byteord.telemetry.systemd import Notifier

PERIOD_S = 0.1
LAG_S_MAX = 1.0
"""Above this no watchdog ping is sent until a whole ping period passed without."""


class LoopWatch:
    """Measures the lag of the running loop, and pings systemd while it is bounded."""

    def __init__(self, notifier: Notifier, log: FilteringBoundLogger) -> None:
        self._notifier = notifier
        self._log = log
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
        if self._lag_s_worst <= LAG_S_MAX:
            self._notifier.watchdog()
        self._pinged_at = now_s
        self._lag_s_worst = 0.0

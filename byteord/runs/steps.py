"""The steps of supervision: starting and putting away runs, each a task, and whether they complete.

Owns the tasks and the pulse that the daemon's watchdog asks for. A run's worker that is stuck is no
matter of this: the run's own policy ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PULSE_S = 1.0
PULSE_S_MAX = 30.0
"""A pulse that takes longer finds the threads on which runs are put away all stuck."""
STEP_S_MAX = 180.0
"""Starting and putting away are bounded by their own deadlines, well below this."""


class Steps:
    """What supervision is at, each with the time since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is under way, and supervision is well."""
        self._clock = clock
        self._tasks: dict[asyncio.Task[Any], float] = {}
        self._pulsed_at = clock()

    def spawn(self, work: Coroutine[Any, Any, T], what: str) -> asyncio.Task[T]:
        """Run a step as a task of this name."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._tasks[task] = self._clock()
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    async def finish(self, timeout_s: float) -> None:
        """Let what is under way come to its end, within reason."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """Pulse until cancelled."""
        while True:
            await asyncio.sleep(PULSE_S)
            await self.pulse()

    async def pulse(self) -> None:
        """Go once through what every step needs: the loop, and a thread of its pool."""
        await asyncio.to_thread(_nothing)
        self._pulsed_at = self._clock()

    def stuck(self) -> str:
        """Return what of supervision does not complete, in words; empty while all is well."""
        now = self._clock()
        if now - self._pulsed_at > PULSE_S_MAX:
            return f"no thread has been free for {now - self._pulsed_at:.0f} s"
        since, what = min(
            ((since, task.get_name()) for task, since in self._tasks.items()), default=(now, "")
        )
        return f"{what} for {now - since:.0f} s" if now - since > STEP_S_MAX else ""


def _nothing() -> None:
    """Show that a thread was free."""

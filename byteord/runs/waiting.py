"""Waiting with a deadline, and what is said of a run that did not make it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from byteord.runs.live import LiveRun


async def within(waiting: Awaitable[Any], timeout_s: float) -> bool:
    """Wait at most so long; tell whether it came."""
    try:
        await asyncio.wait_for(waiting, timeout_s)
    except TimeoutError:
        return False
    return True


def not_started(run: LiveRun, timeout_s: float) -> str:
    """Return which roles of a run are still starting after its time was over."""
    starting = [role.name for role in run.view().roles if role.state == "starting"]
    what = f"the run {run.id} ({run.name}) did not start within {timeout_s:g} s"
    return f"{what}; roles still starting: {starting}"

"""Supervision says which of its steps does not complete."""

from __future__ import annotations

import asyncio

from byteord.runs.steps import PULSE_S_MAX, STEP_S_MAX, Steps


def test_a_step_that_takes_too_long_is_named_until_it_completes() -> None:
    """The oldest step beyond its bound is what is stuck; nothing is, once it has ended."""

    async def work() -> None:
        now = [1000.0]
        steps = Steps(lambda: now[0])
        go_on = asyncio.Event()
        task = steps.spawn(go_on.wait(), "putting away r1")
        now[0] += PULSE_S_MAX
        assert steps.stuck() == ""
        await steps.pulse()
        now[0] += STEP_S_MAX
        await steps.pulse()
        assert steps.stuck() == f"putting away r1 for {PULSE_S_MAX + STEP_S_MAX:.0f} s"
        go_on.set()
        await task
        assert steps.stuck() == ""
        await steps.finish(1.0)

    asyncio.run(work())


def test_a_pool_without_a_free_thread_is_found() -> None:
    """A pulse that does not come back is told from one that does."""

    async def work() -> None:
        now = [1000.0]
        steps = Steps(lambda: now[0])
        now[0] += PULSE_S_MAX + 1
        assert "no thread has been free for 31 s" in steps.stuck()
        await steps.pulse()
        assert steps.stuck() == ""

    asyncio.run(work())

"""Following a lane of a live run: batches of its messages as they pass, and what was skipped.

Owns the pace: it looks often, gives what it found, and never asks the run to wait. Outside `dev`
payloads are told by digest only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from byteord.regions.tap import LaneTap, TappedMessage
from byteord.runs.live import LiveRun

LOOK_S = 0.005
IDLE_S = 0.02
BATCH_MAX = 256


@dataclass(frozen=True, slots=True)
class TapFilter:
    """Which messages are wanted: all, or those that contain these bytes; `limit` 0: no end."""

    contains: bytes = b""
    limit: int = 0


@dataclass(frozen=True, slots=True)
class TapBatch:
    """Messages that passed; `missed` and `filtered` are totals since the tap began."""

    messages: tuple[TappedMessage, ...]
    missed: int
    filtered: int
    digests: bool
    """Payloads are SHA-256 digests: the run's environment shows no payload."""
    ended: bool = False


async def follow(run: LiveRun, lane: str, wanted: TapFilter) -> AsyncGenerator[TapBatch, None]:
    """Yield batches until the lane or the run has ended, or enough were seen.

    The first one is empty: it says that the tap is open. Raises NotFoundError, RegionError.
    """
    tap = await asyncio.to_thread(LaneTap, run.directory, run.plan, lane)
    digests = run.plan.environment != "dev"
    left, filtered = wanted.limit, 0
    try:
        yield TapBatch((), 0, 0, digests)
        while True:
            over = run.ended.is_set() or tap.ended
            found = tap.take(BATCH_MAX)
            kept = [each for each in found if wanted.contains in each.payload]
            filtered += len(found) - len(kept)
            if wanted.limit:
                kept = kept[:left]
                left -= len(kept)
            over = over or (wanted.limit > 0 and left == 0)
            if kept or over:
                shown = tuple(map(_digest, kept)) if digests else tuple(kept)
                yield TapBatch(shown, tap.missed, filtered, digests, ended=over)
            if over:
                return
            await asyncio.sleep(LOOK_S if found else IDLE_S)
    finally:
        tap.close()


def _digest(message: TappedMessage) -> TappedMessage:
    return replace(message, payload=hashlib.sha256(message.payload).digest())

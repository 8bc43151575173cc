"""Following a lane of a live run: batches of its messages as they pass, and what was skipped.

Owns the pace: it looks on a timer, gives a sample that people can read, and never asks the run to
wait. What it costs is bounded by what it looks at, not by a low priority: who waits at a low one
for a CPU may hold the interpreter's lock, and then the whole daemon waits with it. Messages go
through the data protection rules of the run before anything else is done with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from byteord.capture.guarding import Guarding
from byteord.regions.tap import LaneTap, TappedMessage
from byteord.runs.live import LiveRun

LOOK_S = 0.1
SAY_S = 1.0
"""So often the totals are told although there is nothing to show."""
RATE = 200
"""Messages a second that a tap shows: more than anybody reads. As many at once after a pause."""
BYTES_RATE = 1 << 20
"""Bytes a second that a tap copies out of its rings, whole slots."""
SEARCH = 8
"""With a filter so many times as many are looked at: only those that match cost their way out."""


@dataclass(frozen=True, slots=True)
class TapFilter:
    """Which messages are wanted: all, or those that contain these bytes.

    `limit` 0: no end; `timeout_s` 0: for as long as the lane lasts.
    """

    contains: bytes = b""
    limit: int = 0
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TapBatch:
    """Messages that passed; `missed` and `filtered` are totals since the tap began."""

    messages: tuple[TappedMessage, ...]
    missed: int
    filtered: int
    digests: bool
    """Payloads are SHA-256 digests: no payload may be seen here, or not by whoever asks."""
    withheld: int = 0
    """Messages that fit no schema of the data protection rules, since the tap began."""
    ended: bool = False
    timed_out: bool = False
    """It ended since its time was over."""


@dataclass(frozen=True, slots=True)
class TapView:
    """How messages are shown: as digests or not, and through which rules."""

    digests: bool = False
    guarding: Guarding | None = None


class Pace:
    """How much may pass: `rate` a second, and at once what one second allows."""

    def __init__(self, rate: int, now: float) -> None:
        """Begin with a whole second's worth."""
        self._rate = rate
        self._left = float(rate)
        self._then = now

    def room(self, now: float) -> int:
        """Return how much may pass now; 0 or less: none."""
        self._left = min(self._rate, self._left + self._rate * (now - self._then))
        self._then = now
        return int(self._left)

    def spend(self, amount: int) -> None:
        """Let so much pass; what is more than the room is paid for by waiting longer."""
        self._left -= amount


class Sampler:
    """One tap's looks, within its pace."""

    def __init__(
        self, tap: LaneTap, wanted: TapFilter, now: float, *, guarding: Guarding | None = None
    ) -> None:
        """Begin to look; `now` in seconds of any clock that does not go back."""
        self._guarded, self._guard = guarding is not None, guarding.open() if guarding else None
        self.withheld = 0
        factor = SEARCH if wanted.contains else 1
        self._tap, self._wanted = tap, wanted
        self._looks, self._shows = Pace(RATE * factor, now), Pace(RATE, now)
        self._bytes = Pace(BYTES_RATE * factor, now)
        self._left = wanted.limit
        self._passed_over = 0
        self.filtered = 0

    @property
    def missed(self) -> int:
        """Messages that were not looked at, and those that matched but were too many."""
        return self._tap.missed + self._passed_over

    @property
    def satisfied(self) -> bool:
        """As many as were wanted have been seen."""
        return self._wanted.limit > 0 and self._left <= 0

    def look(self, now: float) -> list[TappedMessage]:
        """Return what there is to show; RegionError when a ring is gone."""
        slot, most = self._tap.slot_bytes, self._bytes.room(now)
        room, shows = self._looks.room(now), self._shows.room(now)
        # A slot of more bytes than a second allows is shown all the same, and paid for after it.
        limit = min(room, max(1, most // slot)) if most > 0 else 0
        if limit <= 0:
            return []
        looked, missed = self._tap.looked, self._tap.missed
        found = self._tap.take(limit)
        copied = self._tap.looked - looked - (self._tap.missed - missed)
        self._looks.spend(copied)
        self._bytes.spend(copied * slot)
        return self._kept(self._seen(found), shows)

    def _seen(self, found: list[TappedMessage]) -> list[TappedMessage]:
        """Return messages through the rules, before anything is sought in them."""
        if not self._guarded:
            return found
        view = self._guard.view if self._guard is not None else lambda _: None
        pairs = [(each, view(each.payload)) for each in found]
        seen = [replace(each, payload=left) for each, left in pairs if left is not None]
        self.withheld += len(found) - len(seen)
        return seen

    def _kept(self, found: list[TappedMessage], shows: int) -> list[TappedMessage]:
        kept = [each for each in found if self._wanted.contains in each.payload]
        self.filtered += len(found) - len(kept)
        if self._wanted.limit:
            kept = kept[: self._left]
        shown = kept[: max(0, shows)]
        self._passed_over += len(kept) - len(shown)
        self._shows.spend(len(shown))
        self._left -= len(shown)
        return shown


async def follow(
    run: LiveRun,
    lane: str,
    wanted: TapFilter,
    view: TapView,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[TapBatch, None]:
    """Yield batches until the lane or the run has ended, enough were seen, or the time is over.

    The first one is empty: it says that the tap is open. Raises NotFoundError, RegionError.
    """
    tap = await asyncio.to_thread(LaneTap, run.directory, run.plan, lane)
    digests, said = view.digests, clock()
    sampler = Sampler(tap, wanted, said, guarding=view.guarding)
    until = said + (wanted.timeout_s or math.inf)
    try:
        yield TapBatch((), 0, 0, digests)
        while True:
            ended = run.ended.is_set() or tap.ended
            now = clock()
            found = sampler.look(now)
            late = now >= until and not ended and not sampler.satisfied
            if (ended or late) and not sampler.satisfied:
                tap.skip_rest()
            over = ended or late or sampler.satisfied
            if found or over or now >= said + SAY_S:
                said = now
                shown = tuple(map(_digest, found)) if digests else tuple(found)
                totals = (sampler.missed, sampler.filtered, digests, sampler.withheld)
                yield TapBatch(shown, *totals, ended=over, timed_out=late)
            if over:
                return
            await asyncio.sleep(max(0.0, min(LOOK_S, until - now)))
    finally:
        tap.close()


def _digest(message: TappedMessage) -> TappedMessage:
    return replace(message, payload=hashlib.sha256(message.payload).digest())

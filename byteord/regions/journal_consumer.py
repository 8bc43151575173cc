"""A journal lane read message by message while its run writes it, by whoever may read its files.

Owns what was read and what retention took first. It plays no endpoint, holds nobody up and writes
nothing: any number of them read the same journal. Must not need a daemon.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from byteord._cext.client import ClosedError
from byteord.deployment.plan import LanePlan, RunPlan
from byteord.errors import RegionError
from byteord.regions.journal_view import BEGIN, Frame, JournalView, Mark, behind
from byteord.regions.journals import segment_path

PAUSE_S_MIN, PAUSE_S_MAX = 0.0005, 0.01
"""Between two looks at a journal that has nothing new: doubling."""
BATCH = 256
_FINISH = 3
"""From this command of the shim on, nobody is restarted."""
_OVER = frozenset({"ended", "failed", "stopped"})


class JournalConsumer:
    """One journal of a run, from a sequence on. Sequences are the run's own count, from 0.

    Use in a `with` block, or `close` it. What the run has committed is seen; a message is seen
    once, whole and in order, also over kills of its writer.
    """

    def __init__(self, directory: str, plan: RunPlan, lane: LanePlan, *, since: int | None) -> None:
        """Begin with sequence `since`; None: with what is written from now on. RegionError."""
        self._view: JournalView | None = JournalView(directory, plan, lane)
        here = self._view.committed()
        self._at = here if since is None else Mark(since, 0, 0)
        self._writers = plan.units[self._view.unit].roles
        self.missed = 0
        """Messages that retention took before they could be read."""
        self.ended = False
        """The run has ended the lane, and everything was read or missed."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the journal."""
        self.close()

    def close(self) -> None:
        """Let go of the journal; doing so twice is harmless."""
        self._view = None

    @property
    def position(self) -> int:
        """Sequence of the next message: where another consumer goes on (`since`)."""
        return self._at.position

    def take(self, timeout_s: float | None = None) -> bytes | None:
        """Return the next message; None at the end (see `ended`) or after `timeout_s` seconds."""
        found = self.take_many(1, timeout_s)
        return found[0] if found else None

    def take_many(self, most: int, timeout_s: float | None = None) -> list[bytes]:
        """Return up to `most` messages that are there; waits for the first as `take` does.

        Nothing more comes either once a run that was stopped or has failed is over. RegionError
        when a segment cannot be read, or holds no whole frame where one was committed.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        pause = PAUSE_S_MIN
        self._open()
        while most > 0 and not self.ended:
            over = self._is_over()  # first: what is committed before it was, is found below
            if found := self._at_hand(most):
                return [frame[-1] for frame in found]
            if over or (until is not None and time.monotonic() >= until):
                break
            time.sleep(pause)  # a reader that writes nothing cannot ask to be woken
            pause = min(pause * 2, PAUSE_S_MAX)
        return []

    def __iter__(self) -> Iterator[bytes]:
        """Yield messages until the end of the lane, or of its run."""
        while found := self.take_many(BATCH):
            yield from found

    def _open(self) -> JournalView:
        if self._view is None:
            message = "the journal consumer is closed: attach again"
            raise ClosedError(message)
        if self._view.lost:
            message = "a page of the journal's index is gone; the run is lost"
            raise RegionError(message, reason="REGION_LOST")
        return self._view

    def _is_over(self) -> bool:
        """Tell whether the run was stopped or has failed, and its writer of the journal is over."""
        view = self._open()
        told = view.control.command(view.unit) >= _FINISH
        if not told and view.control.run()["failed_role"] is None:
            return False
        return all(view.control.state(role) in _OVER for role in self._writers)

    def _at_hand(self, most: int) -> list[Frame]:
        """Return what is committed from the position on; note the end, and what is gone."""
        view, found = self._open(), list[Frame]()
        here, end, base = view.committed(), view.end_sequence, view.base
        last = min(here.position, end)
        while base is not None and len(found) < most and self._at.position < last:
            try:
                found += self._step(view, base, last, most - len(found))
            except RegionError:
                if found:
                    break  # these first; the next call says it
                raise
        if end < here.position and self._at.position >= end:
            self._at, self.ended = Mark(max(self._at.position, end + 1), 0, 0), True
        return found

    def _step(self, view: JournalView, base: int, last: int, most: int) -> list[Frame]:
        """Return what one read gives, or look for the next place."""
        if not self._at.offset:
            self._find(view, base, last)
            return []
        frames = view.frames(self._at, min(most, last - self._at.position)) or []
        for frame in frames:
            self._at = behind(self._at, frame, base)
        if not frames:
            self._at = _next(view, self._at, base)
        return frames

    def _find(self, view: JournalView, base: int, last: int) -> None:
        """Find the place of the position; what retention took before it could be read is missed."""
        wanted, ids = base + self._at.position, view.segments()
        before = [number for number in ids if number <= wanted]
        if not before:  # none at all: the journal went with its run
            oldest = min([*ids, base + last])
            self.missed += oldest - wanted
            self._at = Mark(oldest - base, oldest, BEGIN if oldest in ids else 0)
            return
        at = Mark(before[-1] - base, before[-1], BEGIN)
        while at.position < self._at.position:
            frames = view.frames(at, self._at.position - at.position)
            for frame in frames or ():
                at = behind(at, frame, base)
            if not frames:
                _next(view, at, base)  # it is damaged, or was taken in between: look again
                return
        self._at = at


def _next(view: JournalView, at: Mark, base: int) -> Mark:
    """Return the place behind a segment that has no more frames; unknown when retention took it.

    RegionError (JOURNAL_CORRUPT) when it should have more: these were committed.
    """
    sequence, path = base + at.position, segment_path(view.directory, at.segment)
    if sequence in view.segments():
        return Mark(at.position, sequence, BEGIN)
    if path.exists():
        message = (
            f"journal segment {path}: no whole frame at offset {at.offset}, where sequence "
            f"{sequence} was committed; it was damaged from outside: restore it"
        )
        raise RegionError(message, reason="JOURNAL_CORRUPT")
    return Mark(at.position, 0, 0)

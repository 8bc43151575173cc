"""Live messages of a journal lane, for somebody who looks: read from its segments as they grow.

Owns where the next look begins: behind what was committed at the last one, so that nothing has to
be searched. It writes nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from byteord.deployment.plan import LanePlan, RunPlan
from byteord.regions.journal_view import BEGIN, JournalView, Mark, behind

_Message = tuple[int, int, int, int, bytes]


class JournalTap(JournalView):
    """One journal, read from its last committed frame on; looked at as a `Tap` of a ring is."""

    def __init__(self, directory: str, plan: RunPlan, lane: LanePlan) -> None:
        """Attach; RegionError when the index or the control region is not sound."""
        super().__init__(directory, plan, lane)
        self.missed = 0
        self._at = self.committed()

    @property
    def position(self) -> int:
        """Sequence of the next message to look at."""
        return self._at.position

    @property
    def waiting(self) -> int:
        """Messages committed after the last one taken, an end with them."""
        return self.committed().position - self._at.position

    def skip(self, sequences: int) -> None:
        """Pass over messages on purpose; they count as missed."""
        here = self.committed()
        self.missed += sequences
        self._at = Mark(self._at.position + sequences, here.segment, here.offset)

    def take(self, _cells: Iterable[int], limit: int) -> list[_Message]:
        """Return up to `limit` messages after the last one: (sequence, time_ns, type, 0, payload).

        What was committed meanwhile and is more than that is passed over, and counts as missed: so
        does what retention took first. RegionError when a segment cannot be read.
        """
        here, at, base = self.committed(), self._at, self.base
        if here.position == at.position or base is None:
            return []
        if not at.offset:
            at = Mark(at.position, base, BEGIN)
        found: list[_Message] = []
        while len(found) < limit and at.position < here.position:
            frames = self.frames(at, min(limit - len(found), here.position - at.position))
            for frame in frames or ():
                sequence, _, kind, time_ns, payload = frame
                found.append((sequence - base, time_ns, kind, 0, payload))
                at = behind(at, frame, base)
            if not frames:
                following = [each for each in self.segments() if each > at.segment]
                if not following or following[0] > here.segment:
                    break
                at = Mark(following[0] - base, following[0], BEGIN)
        begin, end = self._at.position, self.end_sequence
        self.missed += here.position - begin - len(found) - (begin <= end < here.position)
        self._at = here
        return found

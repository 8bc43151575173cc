"""Whether a recorder is overrun: by far more than it could take with a CPU of its own.

Pure: it is told what came and what was lost, and looks at no clock. What it must not do is take a
recorder that fell behind for one that is overrun, since it would never catch up again: so it goes
by the CPU time that a message took, not by how many were taken while it rested or waited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOPELESS = 2
"""So many times what a whole CPU could take."""
WINDOW_S = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a recorder was at some time."""

    at_s: float
    cpu_s: float
    streams: tuple[tuple[int, int], ...]
    """Of each: position in the stream, and how many messages before it were lost."""


class Overrun:
    """The judgement on the last window."""

    def __init__(self, first: Reading) -> None:
        """Begin; nobody is overrun yet."""
        self._last, self.is_so = first, False

    def due(self, at_s: float) -> bool:
        """Tell whether the window is over."""
        return at_s - self._last.at_s >= WINDOW_S

    def judge(self, now: Reading) -> None:
        """Judge the window that ends now."""
        before, self._last = self._last, now
        wall_s, cpu_s = now.at_s - before.at_s, now.cpu_s - before.cpu_s
        self.is_so = any(
            _hopeless(came=seen - seen_before, lost=lost - lost_before, share=cpu_s / wall_s)
            for (seen, lost), (seen_before, lost_before) in zip(
                now.streams, before.streams, strict=True
            )
        )


def _hopeless(*, came: int, lost: int, share: float) -> bool:
    """Tell whether a CPU takes less than half of what came; a `share` of one took the rest."""
    return lost > 0 and came * share > HOPELESS * (came - lost)


def reading(at_s: float, cpu_s: float, stats: Sequence[dict[str, int]]) -> Reading:
    """Return what `Drain.stats` of all streams say."""
    return Reading(at_s, cpu_s, tuple((each["seen"], each["lost"]) for each in stats))

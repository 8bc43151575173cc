"""Live messages of one lane, for somebody who looks: copied from its rings, at no cost to them.

Owns which slots may be looked at: those that nobody changes in place any more. It writes nothing
and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from byteord._cext.tap import Tap
from byteord.deployment.plan import RunPlan
from byteord.deployment.ports import journal_lanes
from byteord.errors import NotFoundError, RegionError
from byteord.regions.journal_tap import JournalTap
from byteord.regions.journal_view import attach_tap

DROPPED, END = 0x01, 0x10
NO_SEQUENCE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TappedMessage:
    """One message as its slot held it; `stripe` tells the rings of one lane apart."""

    stripe: int
    sequence: int
    time_ns: int
    """Ingress time, the run's clock."""
    type: int
    payload: bytes


class LaneTap:
    """The rings of one lane, from now on. Use as a context manager's object: `close` it."""

    def __init__(self, directory: str, plan: RunPlan, lane: str) -> None:
        """Attach; raises NotFoundError for a lane that the plan does not have, RegionError."""
        self._taps: list[Tap | JournalTap] = []
        self._changers: tuple[int, ...] = ()
        if journals := [each for each in journal_lanes(plan) if each.name == lane]:
            self._taps.append(JournalTap(directory, plan, journals[0]))
        else:
            rings = _rings_of(plan, lane)
            self._changers = _last_changers(plan, lane, rings[0])
            self._taps += [attach_tap(Path(directory, plan.rings[ring].file)) for ring in rings]
        self._begin = sum(tap.position for tap in self._taps)
        self._turn = 0

    @property
    def missed(self) -> int:
        """Messages that were gone before they could be copied, or passed over on purpose."""
        return sum(tap.missed for tap in self._taps)

    @property
    def ended(self) -> bool:
        """Every ring has ended and nothing is left to look at."""
        return all(
            tap.end_sequence != NO_SEQUENCE and tap.position > tap.end_sequence
            for tap in self._taps
        )

    @property
    def slot_bytes(self) -> int:
        """What a look at one message copies, at most."""
        return max(tap.slot_bytes for tap in self._taps)

    @property
    def looked(self) -> int:
        """Messages that were looked at or missed, of all rings, since the tap began."""
        return sum(tap.position for tap in self._taps) - self._begin

    def take(self, limit: int) -> list[TappedMessage]:
        """Look at up to `limit` messages of all rings; RegionError when a ring is gone.

        Those that a stage dropped and an empty end are looked at, but not returned.
        """
        found: list[TappedMessage] = []
        left, rings = limit, len(self._taps)
        self._turn += 1
        for turn in range(rings):
            stripe = (self._turn + turn) % rings
            tap = self._taps[stripe]
            before = tap.position
            # Every ring has its part; what the first ones leave is for the last.
            part = min(left, max(1, left // (rings - turn)))
            if part == 0:
                break
            for sequence, time_ns, kind, flags, payload in tap.take(self._changers, part):
                if not flags & DROPPED and (payload or not flags & END):
                    found.append(TappedMessage(stripe, sequence, time_ns, kind, payload))
            left -= min(left, tap.position - before)
            if tap.lost:
                raise RegionError("a page of the lane's region is gone", reason="REGION_LOST")
        return found

    def skip_rest(self) -> None:
        """Pass over what was published and not looked at: it counts as missed."""
        for tap in self._taps:
            waiting = tap.waiting
            has_end = tap.position <= tap.end_sequence < tap.position + waiting
            tap.skip(waiting - has_end)

    def close(self) -> None:
        """Let go of the rings."""
        self._taps.clear()


def _rings_of(plan: RunPlan, lane: str) -> Sequence[int]:
    if not plan.lanes:
        names = [ring.file for ring in plan.rings]
        if lane in names:
            return (names.index(lane),)
        raise _unknown(lane, names)
    for each in plan.lanes:
        if each.name == lane:
            return each.rings
    raise _unknown(lane, [each.name for each in plan.lanes])


def _unknown(lane: str, names: Sequence[str]) -> NotFoundError:
    return NotFoundError(f"no lane {lane!r}; there are {', '.join(names)}", reason="LANE_NOT_FOUND")


def _last_changers(plan: RunPlan, lane: str, ring: int) -> tuple[int, ...]:
    """Return the cells of stages that change messages in place: look only after all of them."""
    changers = (
        role
        for role in plan.roles
        if role.kind == "stage" and (role.mutates or role.drops or role.resizes)
    )
    if not plan.lanes:
        return tuple(role.cell for role in changers if role.shard in (-1, ring))
    return tuple(
        role.rx[0].cell
        for role in changers
        if role.in_place and plan.lanes[role.rx[0].lane].name == lane
    )

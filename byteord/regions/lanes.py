"""Lanes as observers see them: depth, what was published, consumed and lost, and who holds whom.

All of it is arithmetic on sequences that lie in the regions; nothing here guesses. Pure: from a
plan and what was read to plain rows, for snapshots, status, metrics and whoever watches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.deployment.plan import LanePlan, RolePlan, RunPlan
from byteord.deployment.ports import (
    RX_LOST,
    TX_LOST,
    RxPort,
    TxPort,
    UnitPorts,
    lane_rings,
)
from byteord.regions.waits import RoleInput, wait_text

Words = Mapping[int, Sequence[int]]
"""By unit, what `Control.words` says."""


class LaneView:
    """What is known of all lanes of a run at one moment."""

    def __init__(
        self,
        plan: RunPlan,
        ports: Sequence[UnitPorts],
        rings: Sequence[Mapping[str, Any]],
        words: Words,
    ) -> None:
        """Keep the plan, the ports of each unit, the rings as read and the units' words."""
        self.plan = plan
        self.rings = rings
        self._rx: dict[tuple[int, int], tuple[RxPort, Sequence[int]]] = {}
        self._tx: dict[int, tuple[TxPort, Sequence[int]]] = {}
        for index, unit in enumerate(ports):
            for rx in unit.rx:
                self._rx[rx.role, rx.ring] = (rx, words[index])
            for tx in unit.tx:
                self._tx[tx.ring] = (tx, words[index])

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each lane, in the order of the plan."""
        return [self._row(lane) for lane in self.plan.lanes]

    def role_progress(self, role: RolePlan) -> tuple[int, int]:
        """Return a role's next sequence, over all it reads, and how many messages wait for it."""
        if not role.rx:
            return sum(self._published(self.plan.lanes[tx.lane]) for tx in role.tx), 0
        taken = behind = 0
        for rx in role.rx:
            for ring in lane_rings(self.plan, self.plan.lanes[rx.lane]):
                position = self._position(role.index, rx.cell, ring)
                taken += position
                behind += self._behind(ring, position)
        return taken, behind

    def inputs(self, role: RolePlan) -> list[RoleInput]:
        """Return the rings that a role reads, in the order of its lanes."""
        found: list[RoleInput] = []
        for rx in role.rx:
            lane = self.plan.lanes[rx.lane]
            for ring in lane_rings(self.plan, lane):
                position = self._position(role.index, rx.cell, ring)
                port, _ = self._rx.get((role.index, ring), (None, ()))
                found.append(
                    RoleInput(
                        lane.name,
                        ring,
                        waiting=self._behind(ring, position),
                        ended=bool(self._is_past_end(ring, position + 1)),
                        timed=port is not None and port.monotone,
                    )
                )
        return found

    def _row(self, lane: LanePlan) -> dict[str, Any]:
        consumers = [self._consumer(lane, each.role, each.cell) for each in lane.consumers]
        gating = [each for each in consumers if not each["lossy"]]
        depth = [self._depth(ring) for ring in lane_rings(self.plan, lane)]
        full = [ring for ring in lane_rings(self.plan, lane) if self._is_full(ring)]
        slowest = max(gating, key=lambda each: each["lag_slots"], default=None)
        lost = [self._lost(ring) for ring in lane_rings(self.plan, lane)]
        return {
            "index": lane.index,
            "name": lane.name,
            "kind": lane.kind,
            "on_full": lane.on_full,
            "capacity": lane.capacity,
            "slot_bytes": lane.slot_bytes,
            "stripes": len(lane_rings(self.plan, lane)),
            "rings": list(lane.rings),
            "depth": sum(depth),
            "published": self._published(lane),
            "consumed": min((each["consumed"] for each in consumers), default=0),
            "dropped": {reason: sum(each[reason] for each in lost) for reason in TX_LOST},
            "overruns": sum(each["missed"] for each in consumers),
            "nonsense": sum(each["nonsense"] for each in consumers),
            "full": bool(full),
            "held_by": slowest["role"] if full and slowest else "",
            "held_lag_slots": slowest["lag_slots"] if full and slowest else 0,
            "ended": bool(lane_rings(self.plan, lane))
            and all(
                self.rings[ring]["end_sequence"] is not None for ring in lane_rings(self.plan, lane)
            ),
            "producers": [self.plan.roles[role].name for role in lane.producers],
            "consumers": consumers,
        }

    def _consumer(self, lane: LanePlan, role: int, cell: int) -> dict[str, Any]:
        positions = {ring: self._position(role, cell, ring) for ring in lane_rings(self.plan, lane)}
        consumed = sum(
            position - self._is_past_end(ring, position) for ring, position in positions.items()
        )
        lost = dict.fromkeys(RX_LOST, 0)
        for ring in lane_rings(self.plan, lane):
            for reason, count in self._missed(role, ring).items():
                lost[reason] += count
        return {
            "role": self.plan.roles[role].name,
            "lossy": cell < 0,
            "consumed": consumed - sum(lost.values()),
            "lag_slots": sum(self._behind(ring, at) for ring, at in positions.items()),
            **lost,
        }

    def _missed(self, role: int, ring: int) -> dict[str, int]:
        if (role, ring) not in self._rx:
            return {}
        port, words = self._rx[role, ring]
        return {reason: words[port.word + offset] for offset, reason in enumerate(RX_LOST, 1)}

    def _position(self, role: int, cell: int, ring: int) -> int:
        if cell >= 0:
            return int(self.rings[ring]["cells"][cell])
        port, words = self._rx.get((role, ring), (None, ()))
        return int(words[port.word]) if port else 0

    def _is_past_end(self, ring: int, position: int) -> int:
        end = self.rings[ring]["end_sequence"]
        return int(end is not None and position > end)

    def _behind(self, ring: int, position: int) -> int:
        """Messages that wait; the end slot is none."""
        state = self.rings[ring]
        end = state["end_sequence"]
        published: int = state["cursor"] if end is None else min(state["cursor"], end)
        return max(published - position, 0)

    def _depth(self, ring: int) -> int:
        return self._behind(
            ring, min(self.rings[ring]["cells"], default=self.rings[ring]["cursor"])
        )

    def _is_full(self, ring: int) -> bool:
        """No room for what its producer would write next."""
        state = self.rings[ring]
        port, _ = self._tx.get(ring, (None, ()))
        if not state["cells"]:
            return False
        most = self.plan.roles[port.role].outputs_max if port else 1
        taken = state["cursor"] - min(state["cells"], default=state["cursor"])
        return bool(taken > state["capacity"] - most)

    def _published(self, lane: LanePlan) -> int:
        return sum(
            self.rings[ring]["cursor"] - self._is_past_end(ring, self.rings[ring]["cursor"])
            for ring in lane_rings(self.plan, lane)
        )

    def _lost(self, ring: int) -> dict[str, int]:
        port, words = self._tx.get(ring, (None, ()))
        if port is not None and port.journal:
            return dict.fromkeys(TX_LOST, 0)
        if port is None:
            return {reason: self.rings[ring]["dropped"][reason] for reason in TX_LOST}
        return {reason: words[port.word + offset] for offset, reason in enumerate(TX_LOST, 1)}


def holds(
    plan: RunPlan,
    lanes: Sequence[Mapping[str, Any]],
    waits: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return by role name what holds it back: a lane with no room, and the consumer to blame.

    A fact from the sequences. `waits` are the merges that wait for a lane, as `Waits.find` says.
    `root` is where the chain ends: the role that nothing else holds, or, where roles wait for each
    other in a circle, one of that circle.
    """
    found: dict[str, dict[str, Any]] = {}
    for role in plan.roles:
        for tx in (*role.tx, *((role.dead_letter,) if role.dead_letter else ())):
            lane = lanes[tx.lane]
            if lane["full"] and lane["on_full"] == "block" and role.name not in found:
                found[role.name] = {
                    "lane": lane["name"],
                    "by": lane["held_by"],
                    "lag_slots": lane["held_lag_slots"],
                }
    found = {**(waits or {}), **found}
    for held in found.values():
        root, passed = held["by"], set[str]()
        while root in found and root not in passed:
            passed.add(root)
            root = found[root]["by"]
        held["root"] = root
    return found


def hold_text(role: str, held: Mapping[str, Any]) -> str:
    """Say in one sentence what holds a role back."""
    if "silent_ns" in held:
        return wait_text(role, held)
    return (
        f"`{role}` is held by lane `{held['lane']}`, full because `{held['by']}` is "
        f"{held['lag_slots']:,} behind"
    )

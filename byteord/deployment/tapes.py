"""Which streams of a run are recorded, and which role hands each over.

Pure. How they are handed over is `capture.h` of the native sources.
"""

from __future__ import annotations

from byteord.deployment.capture import TapePlan
from byteord.deployment.plan import LanePlan, RolePlan, RunPlan
from byteord.deployment.ports import is_graph_unit, lane_rings, monotone_lanes, unit_ports

_CLIENT = "client"
_ONE_EACH = 2


def tapes_of(plan: RunPlan) -> tuple[TapePlan, ...]:
    """Return the streams of a run: what enters, what leaves, and what roles are free to choose."""
    tapes = _Tapes(plan)
    found: list[TapePlan] = []
    for role in plan.roles:
        if role.kind == "ingress":
            found += tapes.ingress(role)
        if role.kind == "egress":
            found += tapes.egress(role)
    choosers = [role for role in plan.roles if role.adapter != _CLIENT and tapes.chooses(role)]
    return (*found, *(tapes.make("choices", role, role, "choices") for role in choosers))


class _Tapes:
    """The streams of one plan."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._where = {
            role: (unit, member) for unit in plan.units for member, role in enumerate(unit.roles)
        }

    def make(
        self, stream: str, role: RolePlan, at: RolePlan, kind: str, *, ports: int = 0
    ) -> TapePlan:
        """Return the tape of a stream of `role` that `at` hands over."""
        unit, member = self._where[at.index]
        file = f"tape-{stream}-{role.name}"
        return TapePlan(file, stream, role.name, role.index, unit.index, member, kind, ports)

    def ingress(self, role: RolePlan) -> list[TapePlan]:
        """Return the tape of an ingress; what a client publishes is handed over by who takes it."""
        if role.adapter != _CLIENT:
            return [self.make("in", role, role, "in")]
        if self._plan.model != "lane_graph":
            return [self.make("in", role, self._first_taker(), "follow")]
        lane = self._plan.lanes[role.tx[0].lane]
        taker = self._plan.roles[lane.consumers[0].role]
        if taker.adapter == _CLIENT:
            return []
        return [self.make("in", role, taker, "lane", ports=self._ports(role, taker, lane))]

    def egress(self, role: RolePlan) -> list[TapePlan]:
        """Return the tape of an egress; what a client takes is handed over by who publishes it.

        Nothing where that is not one role, or the client may lose some of it.
        """
        if role.adapter != _CLIENT:
            return [self.make("out", role, role, "out")]
        if self._plan.model != "lane_graph":
            last = self._last_stages()
            alone = len(last) == 1 and len(self._plan.rings) == 1
            return [self.make("out", role, last[0], "offer")] if alone else []
        rx = role.rx[0]
        lane = self._plan.lanes[rx.lane]
        rings = lane_rings(self._plan, lane)
        if rx.lossy or rx.depends or lane.journal or len(role.rx) + len(rings) > _ONE_EACH:
            return []
        writer = self._plan.roles[lane.producers[0]]
        if writer.adapter == _CLIENT:
            return []
        ports = unit_ports(self._plan, self._where[writer.index][0]).tx
        mine = sum(
            1 << index
            for index, port in enumerate(ports)
            if port.role == writer.index and port.ring == rings[0]
        )
        return [self.make("out", role, writer, "offer", ports=mine)]

    def _last_stages(self) -> list[RolePlan]:
        """Return the stages of a SingleRing that no other follows."""
        stages = [role for role in self._plan.roles if role.kind == "stage"]
        followed = {cell for role in stages for cell in role.depends}
        return [role for role in stages if role.cell not in followed]

    def _first_taker(self) -> RolePlan:
        """Return the stage of a SingleRing that sees a message before any changes it."""
        first = [role for role in self._plan.roles if role.kind == "stage" and not role.depends]
        return next((role for role in first if role.mutates), first[0])

    def _ports(self, role: RolePlan, taker: RolePlan, lane: LanePlan) -> int:
        """Return which ports of the taker's unit read the rings that a client fills."""
        tx = role.tx[0]
        rings = lane_rings(self._plan, lane)[tx.stripe : tx.stripe + tx.stripes]
        ports = unit_ports(self._plan, self._where[taker.index][0]).rx
        return sum(
            1 << index
            for index, port in enumerate(ports)
            if port.role == taker.index and port.ring in rings
        )

    def chooses(self, role: RolePlan) -> bool:
        """Tell whether what a role does depends on more than the messages that it takes."""
        if role.kind == "stage" and ":" in role.stage:
            return True  # it sees the clock, and where its batches end
        if not is_graph_unit(self._plan, self._where[role.index][0]):
            return False
        lanes = [self._plan.lanes[rx.lane] for rx in role.rx]
        rings = sum(len(lane_rings(self._plan, lane)) for lane in lanes)
        writes = [*role.tx, *((role.dead_letter,) if role.dead_letter else ())]
        order = monotone_lanes(self._plan)
        by_time = role.mode == "ordered" and all(order.get(rx.lane, False) for rx in role.rx)
        return (
            (rings > 1 and not by_time)
            or any(rx.lossy for rx in role.rx)
            or any(lane.journal is not None for lane in lanes)
            or role.mode == "work_queue"
            or any(self._drops(self._plan.lanes[tx.lane]) for tx in writes)
        )

    def _drops(self, lane: LanePlan) -> bool:
        return lane.on_full == "drop" and lane.journal is None

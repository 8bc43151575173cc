"""Which roles of a graph choose freely, and have to be told in a replay what the run did. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from byteord.deployment.plan import LanePlan, RolePlan, RunPlan
from byteord.deployment.ports import monotone_lanes


def free_roles(plan: RunPlan, directed: Collection[str] = ()) -> list[str]:
    """Return the names of roles whose choices are given neither by their input nor by a record.

    A merge that is not `ordered`, or has an input that comes in no order, a consumer of several
    producers, a `work_queue`, who writes to a lane that drops, and a lossy reader are told what to
    do if they are among `directed`; a reader that is lossy in the replay's own plan never is.
    """
    in_order = monotone_lanes(plan) if plan.model == "lane_graph" else {}
    return [
        role.name
        for role in plan.roles
        if any(port.lossy for port in role.rx)
        or (role.name not in directed and _chooses(plan, role, in_order))
    ]


def _chooses(plan: RunPlan, role: RolePlan, in_order: Mapping[int, bool]) -> bool:
    if role.kind == "router" and role.mode == "work_queue" and len(role.tx) > 1:
        return True
    read = [plan.lanes[port.lane] for port in role.rx]
    inputs = sum(max(len(lane.rings), 1) for lane in read)
    by_time = role.mode == "ordered" and all(in_order.get(port.lane, False) for port in role.rx)
    if inputs > 1 and not by_time:
        return True
    written = [*role.tx, *((role.dead_letter,) if role.dead_letter else ())]
    return any(_drops(plan.lanes[port.lane]) for port in written)


def _drops(lane: LanePlan) -> bool:
    return lane.on_full == "drop" and lane.journal is None

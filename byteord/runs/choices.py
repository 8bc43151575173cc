"""Which roles of a graph choose freely: what a replay has to be told to do as the run did. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from byteord.deployment.plan import LanePlan, RolePlan, RunPlan


def free_roles(plan: RunPlan) -> Sequence[str]:
    """Return the names of roles whose choices are not given by their input, in the plan's order.

    A merge that is not `ordered`, a consumer of several producers, a `work_queue`, and who writes
    to a lane that drops, or reads one without gating it.
    """
    return [role.name for role in plan.roles if _chooses(plan, role)]


def _chooses(plan: RunPlan, role: RolePlan) -> bool:
    if role.kind == "router" and role.mode == "work_queue" and len(role.tx) > 1:
        return True
    if role.kind == "merge" and role.mode != "ordered" and len(role.rx) > 1:
        return True
    read = [plan.lanes[port.lane] for port in role.rx]
    written = [plan.lanes[port.lane] for port in role.tx]
    return (
        any(len(lane.rings) > 1 for lane in read)
        or any(port.lossy for port in role.rx)
        or any(map(_drops, written))
    )


def _drops(lane: LanePlan) -> bool:
    return lane.on_full == "drop"

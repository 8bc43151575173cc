"""Which threads of a run a unit has to wake once it has published something. Pure."""

from __future__ import annotations

from byteord.deployment.plan import RunPlan, UnitPlan


def doorbells(plan: RunPlan, unit: UnitPlan, leader: int) -> list[int]:
    """Return the units to wake.

    The leaders of all other threads that share a ring with this unit.
    """
    mine = _conduits(plan, unit)
    found = []
    for worker in plan.workers:
        for thread in worker.threads:
            others = {each for index in thread for each in _conduits(plan, plan.units[index])}
            if thread[0] != leader and (mine & others or -1 in mine or -1 in others):
                found.append(thread[0])
    return found


def _conduits(plan: RunPlan, unit: UnitPlan) -> set[int]:
    """Return what a unit reads and writes: lanes of a LaneGraph, else rings, -1 for all."""
    roles = [plan.roles[role] for role in unit.roles]
    if plan.model != "lane_graph":
        return {role.shard for role in roles}
    dead = {role.dead_letter.lane for role in roles if role.dead_letter is not None}
    read = {rx.lane for role in roles for rx in role.rx}
    return dead | read | {tx.lane for role in roles for tx in role.tx}

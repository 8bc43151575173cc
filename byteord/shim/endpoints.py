"""What a shim does for clients that play endpoints, and what it says of a run that does not drain.

Owns no state: all of it is read from the plan and the regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.deployment.plan import RolePlan, RunPlan
from byteord.regions.lanes import hold_text
from byteord.regions.reader import RunReader
from byteord.regions.waits import open_inputs as open_client_inputs

STREAM = "stream"
"""Kind of the adapter that a client of the run feeds or takes through the daemon."""


def clients(plan: RunPlan, kind: str) -> list[RolePlan]:
    """Return the endpoints of a direction that processes of the user's own play."""
    return [role for role in plan.roles if role.kind == kind and role.adapter == "client"]


def streams(plan: RunPlan, roles: Sequence[int], kind: str) -> bool:
    """Tell whether one of these roles takes the run's stream of a direction."""
    mine = [plan.roles[role] for role in roles if plan.roles[role].kind == kind]
    if plan.model != "lane_graph":
        return bool(mine)
    return any(role.adapter == STREAM for role in mine)


def open_inputs(plan: RunPlan, rings: Sequence[Any]) -> bool:
    """Tell whether some ring that clients write has not ended."""
    return any(
        rings[ring].read()["end_sequence"] is None
        for role in clients(plan, "ingress")
        for ring in input_rings(plan, role)
    )


def input_rings(plan: RunPlan, role: RolePlan) -> list[int]:
    """Return the rings that the clients of an ingress write, one per publisher."""
    if plan.model != "lane_graph":
        return list(range(len(plan.rings)))
    return [
        plan.lanes[tx.lane].rings[stripe]
        for tx in role.tx
        for stripe in range(tx.stripe, tx.stripe + tx.stripes)
    ]


def outputs_taken(plan: RunPlan, rings: Sequence[Any]) -> bool:
    """Tell whether every client that is an egress, and not a lossy one, has taken everything."""
    for role in clients(plan, "egress"):
        places = [(ring, role.cell) for ring in range(len(plan.rings))]
        if plan.model == "lane_graph":
            places = [
                (ring, rx.cell)
                for rx in role.rx
                for ring in plan.lanes[rx.lane].rings
                if not rx.lossy
            ]
        for ring, cell in places:
            state = rings[ring].read()
            if state["end_sequence"] is None or state["cells"][cell] <= state["end_sequence"]:
                return False
    return True


def stuck(directory: str, over: frozenset[str]) -> tuple[int, str]:
    """Return who is to blame for a run that does not drain, and say what is stuck where.

    That is the role at the end of the first chain of full lanes, else the first with messages
    waiting. Of a LaneGraph: which roles are held or have messages waiting, and what lanes hold;
    where none has, and of a SingleRing, which roles have not ended.
    """
    reader = RunReader(directory)
    try:
        read = reader.read()
    finally:
        reader.close()
    left = [role for role in read["roles"] if role["state"] not in over]
    left = [role for role in left if role["stage"] != "client"]
    graph = reader.plan.model == "lane_graph"
    waiting = [r for r in left if graph and (r["lag_slots"] or r["name"] in read["held"])]
    roots = [read["held"][r["name"]]["root"] for r in waiting if r["name"] in read["held"]]
    names = [*roots, *(role["name"] for role in waiting), *open_client_inputs(read)]
    names += [role["name"] for role in left]
    blamed = next((role["index"] for role in read["roles"] if role["name"] in names[:1]), 0)
    return blamed, _stuck_text(read, waiting, left)


def _stuck_text(
    read: Mapping[str, Any],
    waiting: Sequence[Mapping[str, Any]],
    left: Sequence[Mapping[str, Any]],
) -> str:
    said = [
        hold_text(role["name"], read["held"][role["name"]])
        if role["name"] in read["held"]
        else f"{role['name']} is {role['state']} with {role['lag_slots']} messages waiting"
        for role in waiting
    ]
    said += open_client_inputs(read).values()
    if not said:
        said = [f"{role['name']} is {role['state']}" for role in left]
    said += [
        f"lane {each['name']} holds {each['depth']}" for each in read["lanes"] if each["depth"]
    ]
    return "; ".join(said) or "a client has not taken everything"


def blocked_for_good(plan: RunPlan, unit: int, states: Sequence[str], over: frozenset[str]) -> bool:
    """Tell whether a unit waits for room in a lane whose reader has gone."""
    roles = [plan.roles[role] for role in plan.units[unit].roles]
    if not any(states[role.index] == "blocked" for role in roles):
        return False
    lanes = {tx.lane for role in roles for tx in role.tx}
    return any(states[each.role] in over for lane in lanes for each in plan.lanes[lane].consumers)

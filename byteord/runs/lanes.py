"""Lanes of a run as they are shown, for either model: a ring of a SingleRing run is a lane too.

Pure; from what `RunReader.read` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord.deployment.plan import RunPlan
from byteord.regions.lanes import hold_text
from byteord.runs.view import LaneConsumerView, LaneStatusView

RING_KIND = "sequenced_slots"


def lane_views(plan: RunPlan, read: Mapping[str, Any] | None) -> tuple[LaneStatusView, ...]:
    """Return the lanes as read; none before anything was read."""
    if read is None:
        return ()
    if plan.lanes:
        return tuple(_lane(row) for row in read["lanes"])
    return tuple(_ring(plan, ring) for ring in read["rings"])


def held_texts(plan: RunPlan, read: Mapping[str, Any]) -> dict[str, str]:
    """Return by role name what holds it back, in words."""
    if plan.lanes:
        return {name: hold_text(name, held) for name, held in read["held"].items()}
    found = {}
    for ring in read["rings"]:
        held_by = ring["held_by"]
        if not ring["full"] or not held_by:
            continue
        lag = max((cell["lag_slots"] for cell in ring["cells"]), default=0)
        for role in _producers(plan, ring["index"]):
            held = {"lane": ring["file"], "by": held_by, "lag_slots": lag}
            found[role] = hold_text(role, held)
    return found


def _lane(row: Mapping[str, Any]) -> LaneStatusView:
    return LaneStatusView(
        name=row["name"],
        kind=row["kind"],
        on_full=row["on_full"],
        capacity=row["capacity"],
        depth=row["depth"],
        published=row["published"],
        consumed=row["consumed"],
        dropped={reason: count for reason, count in row["dropped"].items() if count},
        overruns=row["overruns"],
        full=row["full"],
        held_by=row["held_by"],
        stripes=row["stripes"],
        producers=tuple(row["producers"]),
        consumers=tuple(
            LaneConsumerView(
                each["role"],
                each["lossy"],
                each["consumed"],
                each["lag_slots"],
                each["missed"],
                each["nonsense"],
            )
            for each in row["consumers"]
        ),
    )


def _ring(plan: RunPlan, ring: Mapping[str, Any]) -> LaneStatusView:
    depth = max(0, ring["cursor"] - ring["minimum_gating_sequence"])
    return LaneStatusView(
        name=ring["file"],
        kind=RING_KIND,
        capacity=ring["capacity"],
        depth=depth,
        published=ring["cursor"],
        consumed=ring["minimum_gating_sequence"],
        full=ring["full"],
        held_by=ring["held_by"] if ring["full"] else "",
        producers=_producers(plan, ring["index"]),
        consumers=tuple(
            LaneConsumerView(
                cell["role"] or f"cell-{cell['cell']}",
                consumed=cell["sequence"],
                lag_slots=cell["lag_slots"],
            )
            for cell in ring["cells"]
        ),
    )


def _producers(plan: RunPlan, ring: int) -> tuple[str, ...]:
    return tuple(
        role.name for role in plan.roles if role.kind == "ingress" and role.shard in (-1, ring)
    )

"""The rings of a SingleRing run as lanes, so that both models are watched alike.

Pure; from what `RunReader.read` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord.regions.lanes import hold_text
from byteord.runs.view import ConsumerView, HoldView, LaneStatusView

RING_KIND = "sequenced_slots"


def ring_lanes(read: Mapping[str, Any]) -> tuple[LaneStatusView, ...]:
    """Return one lane for each ring, by the name of its region."""
    return tuple(_lane(read, ring) for ring in read["rings"])


def ring_holds(read: Mapping[str, Any]) -> tuple[HoldView, ...]:
    """Return which ingress roles a full ring holds back, and because of whom."""
    return tuple(
        _hold(role, ring)
        for ring in read["rings"]
        if ring["full"] and ring["held_by"]
        for role in _producers(read, ring["index"])
    )


def _hold(role: str, ring: Mapping[str, Any]) -> HoldView:
    lag = max((cell["lag_slots"] for cell in ring["cells"]), default=0)
    held = {"lane": ring["file"], "by": ring["held_by"], "lag_slots": lag}
    return HoldView(
        role, ring["file"], ring["held_by"], lag, ring["held_by"], hold_text(role, held)
    )


def _lane(read: Mapping[str, Any], ring: Mapping[str, Any]) -> LaneStatusView:
    return LaneStatusView(
        name=ring["file"],
        kind=RING_KIND,
        capacity=ring["capacity"],
        slot_bytes=ring["slot_bytes"],
        depth=max(0, ring["cursor"] - ring["minimum_gating_sequence"]),
        published=_messages(ring, ring["cursor"]),
        consumed=_messages(ring, ring["minimum_gating_sequence"]),
        full=bool(ring["full"] and ring["held_by"]),
        held_by=ring["held_by"] if ring["full"] else "",
        producers=_producers(read, ring["index"]),
        consumers=tuple(
            ConsumerView(
                cell["role"] or f"cell-{cell['cell']}",
                consumed=_messages(ring, cell["sequence"]),
                lag_slots=cell["lag_slots"],
            )
            for cell in ring["cells"]
        ),
    )


def _messages(ring: Mapping[str, Any], sequence: int) -> int:
    """Messages before `sequence`: the end slot is none."""
    end = ring["end_sequence"]
    return sequence - (end is not None and sequence > end)


def _producers(read: Mapping[str, Any], ring: int) -> tuple[str, ...]:
    return tuple(
        role["name"]
        for role in read["roles"]
        if role["kind"] == "ingress" and role["ring"] in (-1, ring)
    )

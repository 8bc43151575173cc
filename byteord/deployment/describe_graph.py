"""What `describe` prints of a LaneGraph, after defaults and lowering. Pure."""

from __future__ import annotations

from typing import Any

from byteord.deployment.model import Deployment
from byteord.spec.lane_model import GraphRole, Journal, Lane, LaneGraph, RoleKind
from byteord.spec.model import SLOT_HEADER_BYTES, EndpointKind


def describe_lanes(graph: LaneGraph, deployment: Deployment) -> list[dict[str, Any]]:
    """Return every lane with who writes and reads it."""
    return [_lane(graph, lane, deployment) for lane in graph.lanes]


def _lane(graph: LaneGraph, lane: Lane, deployment: Deployment) -> dict[str, Any]:
    ends = [end for end in graph.endpoints if end.lane == lane.name]
    writers = [role.name for role in graph.roles if lane.name in (*role.tx, role.dead_letter)]
    readers = [role.name for role in graph.roles if lane.name in role.rx]
    said: dict[str, Any] = {
        "name": lane.name,
        "kind": str(lane.kind),
        "capacity": lane.capacity,
        "slot_bytes": lane.slot_bytes,
        "message_bytes_max": lane.slot_bytes - SLOT_HEADER_BYTES,
        "on_full": "" if lane.journal is not None else str(lane.on_full),
        "publishers_max": lane.publishers_max,
        "producers": [e.name for e in ends if e.kind is EndpointKind.INGRESS] + writers,
        "consumers": readers + [e.name for e in ends if e.kind is EndpointKind.EGRESS],
        "lossy": list(lane.lossy),
        "journal": None,
    }
    if lane.journal is not None:
        said["journal"] = _journal(lane.name, lane.journal, deployment)
    return said


def _journal(name: str, journal: Journal, deployment: Deployment) -> dict[str, Any]:
    return {
        "durable": journal.durable,
        "directory": deployment.journals.get(name, ""),
        "segment_bytes": journal.segment_bytes,
        "retention_bytes": journal.retention_bytes,
        "retention_s": journal.retention_s,
        "sync": str(journal.sync) if journal.durable else "",
        "sync_interval_ms": journal.sync_interval_ms if journal.durable else 0,
    }


def describe_wiring(graph: LaneGraph) -> list[dict[str, Any]]:
    """Return every role with the lanes that it reads and writes."""
    return [_wiring(role) for role in graph.roles]


def _wiring(role: GraphRole) -> dict[str, Any]:
    return {
        "name": role.name,
        "kind": str(role.kind),
        "rx": list(role.rx),
        "tx": list(role.tx),
        "mode": role.mode,
        "key": {"offset": role.key.offset, "length": role.key.length} if role.key else None,
        "depends_on": list(role.depends_on),
        "in_place": role.in_place,
        "outputs_max": role.outputs_max,
        "dead_letter": role.dead_letter,
    }


def describe_inserted(graph: LaneGraph) -> list[dict[str, Any]]:
    """Return what lowering inserted, and why."""
    return [{"what": each.what, "name": each.name, "why": each.why} for each in graph.inserted]


def graph_notes(graph: LaneGraph) -> list[str]:
    """Return what a reader of the description should know of the graph."""
    mingled = mingled_lanes(graph)
    merges = [role for role in graph.roles if role.kind is RoleKind.MERGE]
    return [_merge_note(role, [name for name in role.rx if name in mingled]) for role in merges]


def _merge_note(role: GraphRole, mingled: list[str]) -> str:
    if role.mode != "ordered":
        return f"{role.name} merges {role.mode}: its order depends on how the run goes"
    if not mingled:
        return f"{role.name} merges by ingress time: its order is the same in every run"
    return (
        f"{role.name} merges by ingress time, but {', '.join(mingled)} may come in another order: "
        "what is late there is not waited for, and the order depends on how the run goes"
    )


def mingled_lanes(graph: LaneGraph) -> set[str]:
    """Return the lanes whose messages may come in another order than that of their ingress times.

    Whoever brings several rings together by arrival makes such a lane, and it stays so downstream;
    a merge by time of lanes in order makes none.
    """
    rings = {lane.name: lane.publishers_max for lane in graph.lanes}
    found: set[str] = set()
    before = -1
    while len(found) != before:  # a step further along the graph each time
        before = len(found)
        for role in graph.roles:
            several = sum(rings[name] for name in role.rx) > 1 and role.mode != "ordered"
            if role.rx != role.tx and (several or not found.isdisjoint(role.rx)):
                found.update(role.tx, [role.dead_letter] if role.dead_letter else [])
    return found

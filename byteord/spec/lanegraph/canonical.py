"""The canonical keys and values of a LaneGraph document, as it was written: lowered nowhere.

Every default is spelled out; keys that a kind does not have are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec.canonical import FlatDocument, put_array, put_computation, put_range
from byteord.spec.keys import VERSION
from byteord.spec.lane_model import (
    GraphRole,
    Journal,
    Lane,
    LaneEndpoint,
    LaneKind,
    RoleKind,
    Sync,
)
from byteord.spec.lanegraph.keys import JOURNAL_KEYS
from byteord.spec.model import CAPACITY_DEFAULT, SLOT_BYTES_DEFAULT, ByteRange, Model, Stage

_CONNECTION_KEYS = (
    "to",
    "name",
    "route",
    "merge",
    "capacity",
    "slot_bytes",
    "on_full",
    *JOURNAL_KEYS,
)


def head(rows: Mapping[str, Any]) -> FlatDocument:
    """Return the keys that stand before lanes and roles, or before a plan."""
    flat: FlatDocument = {
        "version": VERSION,
        "name": rows["name"],
        "model": str(Model.LANE_GRAPH),
        "on_full": rows["on_full"],
    }
    put_array(flat, "allow_lanes", sorted(set(rows["allow_lanes"])))
    return flat


def put_endpoints(flat: FlatDocument, endpoints: Sequence[LaneEndpoint], *, bound: bool) -> None:
    """Put endpoints into a flat document, with their lanes where the author wrote them."""
    for index, end in enumerate(endpoints):
        flat[f"endpoints.{index}.name"] = end.name
        flat[f"endpoints.{index}.kind"] = str(end.kind)
        if bound:
            flat[f"endpoints.{index}.lane"] = end.lane


def put_lane(flat: FlatDocument, prefix: str, lane: Lane) -> None:
    """Put a lane into a flat document."""
    flat[f"{prefix}.name"] = lane.name
    flat[f"{prefix}.kind"] = str(lane.kind)
    flat[f"{prefix}.slot_bytes"] = lane.slot_bytes
    if lane.journal is not None:
        _put_journal(flat, prefix, lane.journal)
        return
    flat[f"{prefix}.capacity"] = lane.capacity
    flat[f"{prefix}.on_full"] = str(lane.on_full)
    if lane.kind is LaneKind.EVENTS:
        flat[f"{prefix}.publishers_max"] = lane.publishers_max
    if lane.kind is LaneKind.FANOUT_BROADCAST:
        put_array(flat, f"{prefix}.lossy", sorted(set(lane.lossy)))


def _put_journal(flat: FlatDocument, prefix: str, journal: Journal) -> None:
    flat[f"{prefix}.durable"] = journal.durable
    flat[f"{prefix}.segment_bytes"] = journal.segment_bytes
    flat[f"{prefix}.retention_bytes"] = journal.retention_bytes
    flat[f"{prefix}.retention_s"] = journal.retention_s
    if journal.durable:
        flat[f"{prefix}.sync"] = str(journal.sync)
        if journal.sync is Sync.INTERVAL:
            flat[f"{prefix}.sync_interval_ms"] = journal.sync_interval_ms


def put_role(flat: FlatDocument, prefix: str, role: GraphRole) -> None:
    """Put a role into a flat document."""
    flat[f"{prefix}.name"] = role.name
    flat[f"{prefix}.kind"] = str(role.kind)
    put_array(flat, f"{prefix}.rx", role.rx)
    put_array(flat, f"{prefix}.tx", role.tx)
    if role.mode:
        flat[f"{prefix}.mode"] = role.mode
    if role.key is not None:
        put_range(flat, f"{prefix}.key", role.key)
    if role.kind is RoleKind.STAGE and role.stage is not None:
        put_computation(flat, prefix, role.stage)
        put_array(flat, f"{prefix}.depends_on", role.depends_on)
        put_letters(flat, prefix, role.outputs_max, role.dead_letter)


def put_letters(flat: FlatDocument, prefix: str, outputs_max: int, dead_letter: str) -> None:
    """Put how many messages a stage makes, and where those go that it fails on."""
    flat[f"{prefix}.outputs_max"] = outputs_max
    if dead_letter:
        flat[f"{prefix}.dead_letter"] = dead_letter


def put_plan(flat: FlatDocument, plan: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Put the shorthand into a flat document."""
    flat["plan.capacity"] = plan["capacity"] or CAPACITY_DEFAULT
    flat["plan.slot_bytes"] = plan["slot_bytes"] or SLOT_BYTES_DEFAULT
    for index, (row, stage) in enumerate(zip(plan["stages"], stages, strict=True)):
        prefix = f"plan.stages.{index}"
        flat[f"{prefix}.name"] = stage.name
        put_computation(flat, prefix, stage)
        put_letters(flat, prefix, row["outputs_max"] or 1, row["dead_letter"] or "")
    for index, row in enumerate(plan["connections"]):
        _put_connection(flat, f"plan.connections.{index}", row)


def _put_connection(flat: FlatDocument, prefix: str, row: Mapping[str, Any]) -> None:
    """Put a connection; what it leaves unsaid may be said by one that shares its lane."""
    flat[f"{prefix}.from"] = row["from"]
    flat[f"{prefix}.intent"] = row["intent"]
    flat.update({f"{prefix}.{key}": row[key] for key in _CONNECTION_KEYS if row[key] is not None})
    if row["intent"] == "broadcast":
        flat[f"{prefix}.lossy"] = bool(row["lossy"])
    if row["key"] is not None:
        put_range(flat, f"{prefix}.key", ByteRange(*row["key"]))

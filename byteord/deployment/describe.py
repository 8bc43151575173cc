"""A run as understood, after defaults: what `describe` prints.

Pure. Where roles are placed is the plan's to say (`byteord.runs.plan`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from byteord.deployment import describe_graph
from byteord.deployment.capture import Capture
from byteord.deployment.memory import estimate_memory, workers_of
from byteord.deployment.model import SLEEP_NS_MAX, Adapter, Deployment, Wait
from byteord.spec.lane_model import LaneEndpoint, LaneGraph
from byteord.spec.model import SLOT_HEADER_BYTES, ByteRange, Endpoint, Spec, Stage
from byteord.spec.stage_key import parse_key

WAKE_UP = {
    Wait.SPIN: "about 0.1 microseconds on a CPU of its own; each waiting worker keeps its CPU busy",
    Wait.BACKOFF: "about 0.1 microseconds while messages keep coming; after a pause up to "
    f"{SLEEP_NS_MAX[Wait.BACKOFF] // 1000} microseconds, as sleeps double to that bound",
    Wait.PARK: "10 to 50 microseconds, a futex wake-up; waiting workers use no CPU",
}
"""Expected cost of waking a waiting role, by wait strategy."""


def describe(spec: Spec | LaneGraph, deployment: Deployment) -> dict[str, Any]:
    """Return the run as a JSON-ready object.

    Every limit, default and capability, memory and wake-up cost.
    """
    memory = estimate_memory(spec, deployment)
    return {
        "name": spec.name,
        "model": str(spec.model),
        "spec_sha256": spec.sha256,
        "deployment_sha256": deployment.sha256,
        "environment": str(deployment.environment),
        "seed": deployment.seed,
        **_topology(spec, deployment),
        "workers_min": workers_of(spec, deployment),
        "memory": {
            "rings_bytes": memory.rings_bytes,
            "control_bytes": memory.control_bytes,
            "state_bytes": memory.state_bytes,
            "total_bytes": memory.total_bytes,
        },
        "wait": {
            "strategy": str(deployment.tuning.wait),
            "wake_up": WAKE_UP[deployment.tuning.wait],
            "sleep_ns_max": 0
            if deployment.tuning.wait is Wait.SPIN
            else SLEEP_NS_MAX[deployment.tuning.wait],
        },
        "tuning": {
            key: list(value) if isinstance(value, tuple) else value
            for key in deployment.tuning.__slots__
            for value in (getattr(deployment.tuning, key),)
        },
        "groups": {group.name: list(group.roles) for group in deployment.groups},
        "failure": {
            key: str(value) if key == "policy" else value
            for key in deployment.failure.__slots__
            for value in (getattr(deployment.failure, key),)
        },
        "limits": {
            "max_batch": deployment.limits.max_batch,
            "undo_bytes": deployment.limits.undo_bytes,
            "message_bytes_max": _slot_bytes_max(spec) - SLOT_HEADER_BYTES,
        },
        "capture": _capture(deployment.capture),
        "capabilities": sorted({effect for stage in spec.stages for effect in stage.effects or ()}),
        "notes": _notes(spec),
    }


def _capture(capture: Capture) -> dict[str, Any]:
    """Return how runs are recorded; nothing where they are not."""
    return asdict(capture) if capture.on else {}


def _slot_bytes_max(spec: Spec | LaneGraph) -> int:
    if isinstance(spec, LaneGraph):
        return max(lane.slot_bytes for lane in spec.lanes)
    return spec.ring.slot_bytes


def _topology(spec: Spec | LaneGraph, deployment: Deployment) -> dict[str, Any]:
    if isinstance(spec, LaneGraph):
        return _graph(spec, deployment)
    return _whole_ring(spec, deployment)


def _whole_ring(spec: Spec, deployment: Deployment) -> dict[str, Any]:
    follows = [
        [spec.stages[ref].name for ref in stage.depends_on] or [spec.ingress.name]
        for stage in spec.stages
    ]
    return {
        "ring": _ring(spec),
        "stages": [_stage(index, stage, follows[index]) for index, stage in enumerate(spec.stages)],
        "endpoints": [
            _endpoint(spec.ingress, deployment.adapters.get(spec.ingress.name)),
            _endpoint(spec.egress, deployment.adapters.get(spec.egress.name)),
        ],
    }


def _graph(graph: LaneGraph, deployment: Deployment) -> dict[str, Any]:
    sources = {role.stage.name: list(role.rx) for role in graph.roles if role.stage is not None}
    return {
        "on_full": str(graph.on_full),
        "allow_lanes": [str(kind) for kind in graph.allow_lanes],
        "lanes": describe_graph.describe_lanes(graph, deployment),
        "wiring": describe_graph.describe_wiring(graph),
        "inserted": describe_graph.describe_inserted(graph),
        "stages": [
            _stage(index, stage, sources[stage.name]) for index, stage in enumerate(graph.stages)
        ],
        "endpoints": [
            {**_endpoint(end, deployment.adapters.get(end.name)), "lane": end.lane}
            for end in graph.endpoints
        ],
    }


def _ring(spec: Spec) -> dict[str, Any]:
    ring = spec.ring
    return {
        "capacity": ring.capacity,
        "slot_bytes": ring.slot_bytes,
        "message_bytes_max": ring.slot_bytes - SLOT_HEADER_BYTES,
        "producer": ring.producer,
        "scheduling": ring.scheduling,
        "shards": ring.shards,
        "ordering": str(ring.ordering),
        "shard_key": _range(ring.shard_key) if ring.shard_key else None,
    }


def _range(item: ByteRange) -> dict[str, int]:
    return {"offset": item.offset, "length": item.length}


def _stage(index: int, stage: Stage, follows: list[str]) -> dict[str, Any]:
    return {
        "index": index,
        "name": stage.name,
        "stage": stage.stage,
        "kind": parse_key(stage.stage).kind,
        "follows": follows,
        "config": dict(stage.config),
        "mutates": [_range(item) for item in stage.mutates],
        "drops": stage.drops,
        "resizes": stage.resizes,
        "state": str(stage.state),
        "state_bytes": stage.state_bytes,
        "deterministic": stage.deterministic,
        "side_effecting": stage.effects is None or bool(stage.effects),
        "effects": None if stage.effects is None else list(stage.effects),
        "digest": stage.digest,
    }


def _endpoint(endpoint: Endpoint | LaneEndpoint, adapter: Adapter | None) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "kind": str(endpoint.kind),
        "adapter": adapter.kind if adapter else "",
        "options": dict(adapter.options) if adapter else {},
    }


def _notes(spec: Spec | LaneGraph) -> list[str]:
    notes = describe_graph.graph_notes(spec) if isinstance(spec, LaneGraph) else [_release(spec)]
    notes.extend(
        _stage_notes(stage)
        for stage in spec.stages
        if stage.effects is None or stage.state == "private"
    )
    return notes


def _release(spec: Spec) -> str:
    return (
        f"the final stage, {spec.stages[-1].name}, is the release boundary: the egress runs in "
        "its worker"
        if spec.ring.shards == 1
        else "with several shards the egress is a role of its own and writes in ingress-time order"
    )


def _stage_notes(stage: Stage) -> str:
    words = []
    if stage.effects is None:
        words.append("declares no effects and counts as side-effecting")
    if stage.state == "private":
        words.append("keeps private state: the death of its worker stops the run")
    return f"{stage.name} {' and '.join(words)}"

"""How much a run will take: shared memory and workers, before any plan is made.

Pure formulas; the plan (`byteord.runs.plan`) has the exact placement.
"""

from __future__ import annotations

from dataclasses import dataclass

from byteord.deployment.capture import tapes_bytes
from byteord.deployment.confinement import confines, effect_free
from byteord.deployment.fusion import staff, take_turns, unite
from byteord.deployment.lane_plan import lay_out
from byteord.deployment.model import CLIENT, Deployment, FailurePolicy, Fuse
from byteord.deployment.plan import STATE_DOUBLE_BYTES_MAX
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import SLOT_HEADER_BYTES, Spec, Stage

REGION_HEADER_BYTES = 4096
ROLE_BYTES = 80 << 10
"""Control, histograms, commit records and error log of one role, rounded up."""
_ENTRY_BYTES = 64
"""Header and padding of one save in an undo area, rounded up."""
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Memory:
    """Shared memory of a run, an upper estimate."""

    rings_bytes: int
    """Rings and journals."""
    control_bytes: int
    state_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return the sum."""
        return self.rings_bytes + self.control_bytes + self.state_bytes


def estimate_memory(spec: Spec | LaneGraph, deployment: Deployment) -> Memory:
    """Return the shared memory that rings, control region and stage state take, in bytes."""
    if isinstance(spec, LaneGraph):
        return _graph_memory(spec, deployment)
    tapes = tapes_bytes(deployment.capture, ends=2, roles=len(spec.stages) * spec.ring.shards)
    ring, shards = spec.ring, spec.ring.shards
    per_ring = ring.capacity * ring.slot_bytes + REGION_HEADER_BYTES * 2
    roles = 2 + len(spec.stages) * shards
    undo = sum(_undo_bytes(spec, stage, deployment) for stage in spec.stages) * shards
    state = sum(_pages(stage.state_bytes) * 2 for stage in spec.stages) * shards
    return Memory(per_ring * shards + tapes, REGION_HEADER_BYTES + roles * ROLE_BYTES + undo, state)


def _graph_memory(graph: LaneGraph, deployment: Deployment) -> Memory:
    layout = lay_out(graph, deployment)
    rings = sum(ring.capacity * ring.slot_bytes + REGION_HEADER_BYTES * 2 for ring in layout.rings)
    rings += tapes_bytes(deployment.capture, ends=len(graph.endpoints), roles=len(layout.roles))
    kept = [lane.journal for lane in layout.lanes if lane.journal is not None]
    rings += sum(
        journal.retention_bytes + REGION_HEADER_BYTES for journal in kept if not journal.durable
    )
    changing = [
        role
        for role in layout.roles
        if role.in_place and (role.mutates or role.drops or role.resizes)
    ]
    large = [role for role in layout.roles if role.state_bytes > STATE_DOUBLE_BYTES_MAX]
    undo = (len(changing) + len(large)) * deployment.limits.undo_bytes
    undo += sum(role.state_bytes for role in large)
    state = sum(_pages(role.state_bytes) * 2 for role in layout.roles)
    control = REGION_HEADER_BYTES + len(layout.roles) * ROLE_BYTES + undo
    return Memory(rings, control, state)


def _undo_bytes(spec: Spec, stage: Stage, deployment: Deployment) -> int:
    """Return the most that saves of a batch take: changed bytes, headers, touched large state."""
    limits, payload = deployment.limits, spec.ring.slot_bytes - SLOT_HEADER_BYTES
    changed = sum(item.length or max(payload - item.offset, 0) for item in stage.mutates)
    changes = bool(stage.mutates) or stage.drops or stage.resizes
    changes = changes or deployment.failure.policy is FailurePolicy.SKIP
    entry = changed + _ENTRY_BYTES
    batch = min(limits.max_batch, spec.ring.capacity) * entry
    saves = min(batch, max(limits.undo_bytes, entry)) if changes else 0
    large = stage.state_bytes > STATE_DOUBLE_BYTES_MAX
    return saves + (max(limits.undo_bytes, stage.state_bytes + _ENTRY_BYTES) if large else 0)


def _pages(size: int) -> int:
    return (size + _PAGE - 1) // _PAGE * _PAGE


def workers_of(spec: Spec | LaneGraph, deployment: Deployment) -> int:
    """Return the fewest worker processes that the run can have with this way of fusing."""
    if isinstance(spec, LaneGraph):
        layout, tuning = lay_out(spec, deployment), deployment.tuning
        fuse = tuning.fuse is not Fuse.NEVER
        units = unite(layout.roles, layout.lanes, deployment, fuse=fuse, notes=[])
        shared = deployment.groups
        turns = take_turns(units, layout.roles, layout.lanes, shared, threads_max=int(fuse))
        return len(staff(units, layout.roles, shared, single_process=False, threads=turns))
    shards = spec.ring.shards
    ingress = deployment.adapters.get(spec.ingress.name)
    egress = deployment.adapters.get(spec.egress.name)
    ingress_hosted = ingress is None or ingress.kind != CLIENT
    apart = confines(deployment) and effect_free(spec.stages[-1])
    egress_alone = (shards > 1 or apart) and (egress is None or egress.kind != CLIENT)
    python = [stage.stage.startswith("python:") for stage in spec.stages]
    if deployment.tuning.fuse is Fuse.NEVER:
        groups = len(python)
    else:
        pairs = zip(python, [True, *python], strict=False)
        groups = sum(1 for is_python, after_python in pairs if is_python or after_python)
    skips = deployment.failure.policy is FailurePolicy.SKIP
    joins = deployment.tuning.fuse is not Fuse.NEVER and shards == 1 and not skips
    joined = joins and ingress_hosted and not python[0]
    return ingress_hosted + groups * shards + egress_alone - joined

"""How much a run will take: shared memory and workers, before any plan is made.

Pure formulas; the plan (`byteord.runs.plan`) has the exact placement.
"""

from __future__ import annotations

from dataclasses import dataclass

from byteord.deployment.model import Deployment, Fuse
from byteord.spec.model import Spec

REGION_HEADER_BYTES = 4096
ROLE_BYTES = 64 << 10
"""Control, histograms, commit records and error log of one role, rounded up."""
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Memory:
    """Shared memory of a run, an upper estimate."""

    rings_bytes: int
    control_bytes: int
    state_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return the sum."""
        return self.rings_bytes + self.control_bytes + self.state_bytes


def estimate_memory(spec: Spec, deployment: Deployment) -> Memory:
    """Return the shared memory that rings, control region and stage state take, in bytes."""
    ring, shards = spec.ring, spec.ring.shards
    per_ring = ring.capacity * ring.slot_bytes + REGION_HEADER_BYTES * 2
    roles = roles_of(spec)
    changers = (
        sum(1 for stage in spec.stages if stage.mutates or stage.drops or stage.resizes) * shards
    )
    control = REGION_HEADER_BYTES + roles * ROLE_BYTES + changers * deployment.limits.undo_bytes
    state = sum(_pages(stage.state_bytes) * 2 for stage in spec.stages) * shards
    return Memory(per_ring * shards, control, state)


def _pages(size: int) -> int:
    return (size + _PAGE - 1) // _PAGE * _PAGE


def roles_of(spec: Spec) -> int:
    """Return the roles of a run.

    Ingress, every stage in every shard, and an egress of its own with several shards.
    """
    return 1 + len(spec.stages) * spec.ring.shards + (1 if spec.ring.shards > 1 else 0)


def workers_of(spec: Spec, deployment: Deployment) -> int:
    """Return the fewest worker processes that the run can have with this way of fusing."""
    if deployment.tuning.fuse is Fuse.NEVER:
        return roles_of(spec)
    python = [stage.stage.startswith("python:") for stage in spec.stages]
    native_groups = sum(
        1 for index, is_python in enumerate(python) if not is_python and index and python[index - 1]
    )
    ends = 1 + (1 if spec.ring.shards > 1 else 0)
    return ends + (sum(python) + native_groups) * spec.ring.shards

"""The plan of a run: what a shim starts, written once by the daemon, then only read.

A plan is plain data (JSON in `plan.json` of the run directory). It must not hold secrets.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True)
class RingPlan:
    """One ring region."""

    file: str
    capacity: int
    slot_bytes: int
    cells: int
    """Gating cells: one per stage, plus one where the egress is a role or a client of its own."""


@dataclass(frozen=True, slots=True)
class RolePlan:
    """One place in the graph that runs."""

    index: int
    name: str
    """Unique in the run: the endpoint's or stage's name, `#SHARD` added when there are several."""
    kind: str
    """`ingress`, `stage` or `egress`."""
    shard: int
    """Ring it works on; -1: all of them."""
    cell: int
    """Its gating cell; -1: the producer, or an egress inside the final stage's worker."""
    depends: tuple[int, ...] = ()
    """Cells it follows; empty: the producer."""
    stage: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    mutates: tuple[tuple[int, int], ...] = ()
    drops: bool = False
    resizes: bool = False
    state: str = "stateless"
    state_bytes: int = 0
    digest: str = ""
    adapter: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_python(self) -> bool:
        """Tell whether the role runs Python code on its hot path."""
        return self.stage.startswith("python:")


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """Roles that are called in turn over one batch and commit as one."""

    index: int
    roles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One process; each inner tuple of `threads` holds the units of one thread."""

    index: int
    name: str
    threads: tuple[tuple[int, ...], ...]
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that shim and workers need to know."""

    version: int
    run_id: str
    name: str
    spec_sha256: str
    deployment_sha256: str
    environment: str
    mode: str
    """`processes`, or `single_process` for `run --sp`."""
    rings: tuple[RingPlan, ...]
    roles: tuple[RolePlan, ...]
    units: tuple[UnitPlan, ...]
    workers: tuple[WorkerPlan, ...]
    shard_key: tuple[int, int] | None
    wait: str
    sleep_ns_max: int
    max_batch: int
    undo_bytes: int
    failure_policy: str
    restarts_max: int
    restart_window_s: int
    restart_backoff_ms: int
    stage_timeout_s: int
    drain_timeout_s: int
    code_dirs: tuple[str, ...]
    read_dirs: tuple[str, ...]
    write_dirs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Why the plan is as it is, for `describe`."""

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """Read a plan back; raise ValueError for another version."""
        raw = json.loads(text)
        if raw.get("version") != PLAN_VERSION:
            seen = raw.get("version")
            message = f"plan version {seen!r}: this byteor reads version {PLAN_VERSION}"
            raise ValueError(message)
        raw["rings"] = tuple(RingPlan(**ring) for ring in raw["rings"])
        raw["roles"] = tuple(_role(role) for role in raw["roles"])
        raw["units"] = tuple(UnitPlan(unit["index"], tuple(unit["roles"])) for unit in raw["units"])
        raw["workers"] = tuple(_worker(worker) for worker in raw["workers"])
        raw["shard_key"] = tuple(raw["shard_key"]) if raw["shard_key"] else None
        for key in ("code_dirs", "read_dirs", "write_dirs", "notes"):
            raw[key] = tuple(raw[key])
        return cls(**raw)


def _role(raw: dict[str, Any]) -> RolePlan:
    raw["depends"] = tuple(raw["depends"])
    raw["mutates"] = tuple((offset, length) for offset, length in raw["mutates"])
    return RolePlan(**raw)


def _worker(raw: dict[str, Any]) -> WorkerPlan:
    threads = tuple(tuple(thread) for thread in raw["threads"])
    return WorkerPlan(raw["index"], raw["name"], threads, tuple(raw["cpus"]))

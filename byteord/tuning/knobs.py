"""The knobs of a worker: what was requested, what is in force, and on what evidence.

Owns the values and their JSON form, which the shim writes and the daemon reads. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

APPLIED, DEGRADED, FAILED = "applied", "degraded", "failed"
STATES = (APPLIED, DEGRADED, FAILED)

KNOBS = (
    "affinity",
    "isolation",
    "partition",
    "scheduler",
    "priority",
    "memory_lock",
    "prefault",
    "huge_pages",
    "timer_slack",
    "cpu_dma_latency",
)
"""In the order in which they are shown."""

REPORT_FILE = "tuning.json"
"""In the run directory: the last report of the shim."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob of one worker.

    `applied`: read back as requested. `degraded`: the kernel refused it, or somebody changed it,
    and the worker runs without. `failed`: what is in force cannot be read back.
    """

    knob: str
    requested: str
    applied: str
    state: str = APPLIED
    reason: str = ""
    """The kernel's own words where it refused; empty when applied."""
    evidence: str = ""
    """Path and value read back."""
    fix: str = ""
    since_unix_ns: int = 0
    """When `state` or `applied` last changed."""


def to_json(knob: Knob) -> dict[str, Any]:
    """Return a knob as plain data."""
    return asdict(knob)


def from_json(raw: Mapping[str, Any]) -> Knob:
    """Return the knob of plain data; KeyError, TypeError or ValueError for anything else."""
    texts = ("knob", "requested", "applied", "state", "reason", "evidence", "fix")
    return Knob(**{key: str(raw[key]) for key in texts}, since_unix_ns=int(raw["since_unix_ns"]))

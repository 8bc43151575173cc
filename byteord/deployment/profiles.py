"""The tuning profiles: what each asks for where the deployment says nothing else.

Pure. A profile is a request; whether the host honours it is `byteord.tuning`'s to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byteord.deployment.model import Environment, Fuse, Sched, Tuning, Wait
from byteord.spec.findings import Collector

DEFAULT, LOW_LATENCY, ISOLATED_CORE = "default", "low-latency", "isolated-core"

PROFILES: Mapping[str, Tuning] = {
    DEFAULT: Tuning(),
    LOW_LATENCY: Tuning(LOW_LATENCY, wait=Wait.SPIN, pin="balanced", mlock=True, cpu_dma_latency=0),
    ISOLATED_CORE: Tuning(
        ISOLATED_CORE,
        wait=Wait.SPIN,
        pin="balanced",
        mlock=True,
        prefault=True,
        cpu_dma_latency=0,
    ),
}

_WORDS = {"wait": Wait, "fuse": Fuse, "sched": Sched}


def resolve(typed: Mapping[str, Any]) -> Tuning:
    """Return the tuning of a typed `[tuning]` table: what it says, else what its profile asks."""
    base = PROFILES[typed["profile"]]
    said: dict[str, Any] = {
        key: _WORDS[key](value) if key in _WORDS else value
        for key, value in typed.items()
        if value is not None
    }
    return replace(base, **said)


def strict(tuning: Tuning, environment: Environment) -> bool:
    """Tell whether a run that the host does not fully honour must not start."""
    loose = environment is Environment.DEV or tuning.allow_degraded
    return tuning.profile == ISOLATED_CORE and not loose


def check_priority(typed: Mapping[str, Any], found: Collector) -> None:
    """Report a real-time policy without its priority, and a priority that nothing uses."""
    tuning = resolve(typed)
    if tuning.realtime and not tuning.priority:
        found.add(
            "DEPLOYMENT_PRIORITY_MISSING",
            ("tuning", "priority"),
            seen=f'nothing, with sched = "{tuning.sched}"',
            wanted="a priority from 1 to 99",
            fix="add priority, for example 50: above what may wait for the run, below the "
            "kernel's own threads",
        )
    elif tuning.priority and not tuning.realtime:
        found.add(
            "DEPLOYMENT_PRIORITY_UNUSED",
            ("tuning", "priority"),
            seen=f'{tuning.priority}, with sched = "other"',
            wanted='sched = "fifo" or "rr", which have priorities',
            fix="delete priority, or choose one of those policies",
        )

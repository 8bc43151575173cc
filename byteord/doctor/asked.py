"""From a profile, or a plan, to what the host is asked for. Pure."""

from __future__ import annotations

from byteord.deployment.model import Deployment, HostFacts, Tuning
from byteord.deployment.plan import RunPlan
from byteord.deployment.profiles import ISOLATED_CORE, PROFILES
from byteord.doctor.model import Asked, Daemon
from byteord.errors import InvalidArgumentError
from byteord.tuning.placement import place
from byteord.tuning.plan import busy_threads, hand_overs

NETWORK_KINDS = frozenset({"udp", "tcp", "pcap"})
BUSY = 2
"""Workers of the smallest pipeline with a hand-over: one fills the ring, one empties it."""


def profile_tuning(profile: str) -> Tuning:
    """Return the tuning of a profile; raises InvalidArgumentError for one that does not exist."""
    if profile not in PROFILES:
        raise InvalidArgumentError(
            f"profile: seen {profile!r}; wanted one of {', '.join(PROFILES)}",
            reason="PROFILE_UNKNOWN",
        )
    return PROFILES[profile]


def asked_of_profile(profile: str, host: HostFacts, daemon: Daemon) -> Asked:
    """Return what two busy workers with a profile would ask of a host."""
    tuning = profile_tuning(profile)
    layout = host.layout
    pin = tuning.pin
    places = place(BUSY, {(0, 1)}, pin, layout, isolated=profile == ISOLATED_CORE)
    cpus = tuple(sorted(places.cpus or places.shared or layout.allowed))
    pair = (places.cpus[0], places.cpus[1]) if len(places.cpus) == BUSY else None
    if pair is None and len(layout.allowed) >= BUSY:
        pair = (layout.allowed[0], layout.allowed[1])
    return Asked(
        profile=profile,
        topology=layout,
        cpus=cpus,
        pairs=(pair,) if pair else (),
        busy=BUSY,
        wait=str(tuning.wait),
        sched=str(tuning.sched),
        priority=tuning.priority,
        mlock=tuning.mlock,
        huge_pages=tuning.huge_pages,
        network=True,
        daemon=daemon,
    )


def asked_of_plan(
    plan: RunPlan,
    deployment: Deployment,
    host: HostFacts,
    *,
    profile: str,
    memory_bytes: int,
    daemon: Daemon,
) -> Asked:
    """Return what a planned run asks of a host, looked at with the eyes of `profile`."""
    tuning = deployment.tuning
    layout = host.layout
    threads = busy_threads(plan.workers)
    where = [plan.workers[worker].cpus_of(thread) for worker, thread in threads]
    cpus = tuple(sorted({cpu for each in where for cpu in each})) or layout.allowed
    pairs = {
        (where[one][0], where[other][0])
        for one, other in hand_overs(plan, threads)
        if len(where[one]) == 1 and len(where[other]) == 1
    }
    return Asked(
        profile=profile,
        topology=layout,
        cpus=cpus,
        pairs=tuple(sorted(pairs)),
        busy=len(threads),
        wait=str(tuning.wait),
        sched=str(tuning.sched),
        priority=tuning.priority,
        mlock=tuning.mlock,
        huge_pages=tuning.huge_pages,
        memory_bytes=memory_bytes,
        named=True,
        network=any(adapter.kind in NETWORK_KINDS for adapter in deployment.adapters.values()),
        receive_buffer_bytes=max(map(_receive_buffer, deployment.adapters.values()), default=0),
        daemon=daemon,
    )


def _receive_buffer(adapter: object) -> int:
    options = getattr(adapter, "options", {})
    size = options.get("receive_buffer", 0)
    return size if isinstance(size, int) else 0

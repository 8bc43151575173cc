"""What the host has against what a run asks for: CPUs and memory."""

from __future__ import annotations

from collections.abc import Iterable

from byteord.deployment.confinement import effect_free
from byteord.deployment.memory import estimate_memory, workers_of
from byteord.deployment.model import Deployment, Environment, HostFacts, Wait
from byteord.deployment.topology import cpu_list
from byteord.spec.findings import Collector, Path, Severity
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import Spec, Stage

_PIN = ("tuning", "pin")


def check_cpus(pin: object, host: HostFacts, found: Collector) -> None:
    """Report CPUs of a pin list that are missing, not allowed to the daemon, or listed twice."""
    if not isinstance(pin, tuple):
        return
    for index, cpu in enumerate(pin):
        path = (*_PIN, str(index))
        if cpu not in host.cpus_online:
            found.add(
                "HOST_CPU_MISSING",
                path,
                seen=f"CPU {cpu}",
                wanted=f"one of the {len(host.cpus_online)} CPUs of this host: "
                f"{cpu_list(host.cpus_online)}",
                fix="choose CPUs that exist and are online",
            )
        elif cpu not in host.cpus_allowed:
            found.add(
                "HOST_CPU_NOT_ALLOWED",
                path,
                seen=f"CPU {cpu}",
                wanted=f"a CPU that the daemon may use: {cpu_list(host.cpus_allowed)}",
                fix="choose one of those, or widen the daemon's CPU set",
            )
        elif cpu in pin[:index]:
            found.add(
                "HOST_CPU_TWICE",
                path,
                seen=f"CPU {cpu} again",
                wanted="each CPU once",
                fix="delete the second one",
                severity=Severity.WARNING,
            )


def check_confinement(
    stages: Iterable[tuple[Path, Stage]],
    environment: Environment,
    host: HostFacts,
    found: Collector,
) -> None:
    """Report stages that are declared effect-free on a host that cannot hold them to it."""
    if host.confinement:
        return
    for path, stage in stages:
        if effect_free(stage):
            found.add(
                "HOST_NOT_CONFINING",
                (*path, "effects"),
                seen="a kernel without seccomp filters",
                wanted="one that confines what is declared effect-free",
                fix="run it on a kernel with CONFIG_SECCOMP_FILTER; in dev it runs unconfined",
                severity=Severity.NOTE if environment is Environment.DEV else Severity.ERROR,
            )


def check_spinning(
    spec: Spec | LaneGraph, deployment: Deployment, host: HostFacts, found: Collector
) -> None:
    """Report more spinning workers than CPUs: they would starve each other for good.

    Also real-time ones that spin on every CPU, which would leave none to stop them from.
    """
    tuning = deployment.tuning
    if tuning.wait is not Wait.SPIN:
        return
    cpus = len(set(tuning.pin)) if isinstance(tuning.pin, tuple) else len(host.cpus_allowed)
    if tuning.pin == "physical":
        cpus = len([core for core in host.physical_cores if set(core) & set(host.cpus_allowed)])
    workers = workers_of(spec, deployment)
    if workers > cpus:
        found.add(
            "HOST_SPIN_OVERCOMMIT",
            ("tuning", "wait"),
            seen=f"{workers} spinning workers on {cpus} CPUs",
            wanted='a CPU for each worker with wait = "spin"',
            fix='write wait = "backoff", or fuse = "always", or share workers by groups',
        )
    elif tuning.realtime and workers >= len(host.cpus_online):
        found.add(
            "HOST_REALTIME_EVERYWHERE",
            ("tuning", "sched"),
            seen=f'{workers} spinning workers with sched = "{tuning.sched}" on a host of '
            f"{len(host.cpus_online)} CPUs",
            wanted="a CPU that is left to everything else",
            fix='write sched = "other" or wait = "backoff", or fuse = "always", or share workers '
            "by groups",
        )


def check_memory(
    spec: Spec | LaneGraph, deployment: Deployment, host: HostFacts, found: Collector
) -> None:
    """Report shared memory that the host does not have free."""
    memory = estimate_memory(spec, deployment)
    if memory.total_bytes > host.shm_free_bytes:
        found.add(
            "HOST_SHM_FULL",
            seen=f"{host.shm_free_bytes} bytes free",
            wanted=f"{memory.total_bytes} bytes of shared memory for this run",
            fix="end other runs, enlarge the tmpfs, or lower capacity, slot_bytes or shards",
        )
    elif memory.total_bytes > host.memory_available_bytes:
        found.add(
            "HOST_MEMORY_LOW",
            seen=f"{host.memory_available_bytes} bytes of memory available",
            wanted=f"{memory.total_bytes} bytes for this run",
            fix="end other programs, or lower capacity, slot_bytes or shards",
        )

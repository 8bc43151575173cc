"""CPUs of a host, and what the kernel grants there, as values.

Owns the shape of what `byteord.tuning.topology` reads; it must not read anything itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CAP_IPC_LOCK, CAP_SYS_NICE = 14, 23
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Cpu:
    """One online CPU."""

    number: int
    core: int
    """Lowest CPU of its physical core: equal for siblings."""
    cache: int
    """Lowest CPU that shares its last-level cache."""
    node: int
    """NUMA node."""
    rank: int = 0
    """0: of the fastest class of cores of this host; higher: slower (efficiency cores)."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A cgroup-v2 cpuset partition of type `isolated` that processes can be moved into."""

    path: str
    """Below the mount point of cgroup2, with a leading `/`."""
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs of a host and which of them may be used how."""

    cpus: tuple[Cpu, ...] = ()
    """Online ones, by number."""
    allowed: tuple[int, ...] = ()
    """Online CPUs that this process may run on."""
    isolated: tuple[int, ...] = ()
    """CPUs that the scheduler leaves alone: `isolcpus=`, or an isolated cpuset partition."""
    offline: tuple[int, ...] = ()
    partitions: tuple[Partition, ...] = ()

    @property
    def has_siblings(self) -> bool:
        """Tell whether some physical core has more than one online CPU."""
        return len({cpu.core for cpu in self.cpus}) < len(self.cpus)


@dataclass(frozen=True, slots=True)
class Rights:
    """What limits and capabilities allow; -1 stands for unlimited."""

    rtprio_max: int = 0
    memlock_bytes: int = UNLIMITED
    sys_nice: bool = False
    ipc_lock: bool = False
    dma_latency: bool = False
    """`/dev/cpu_dma_latency` can be written."""
    shmem_huge: str = ""
    """Chosen word of `/sys/kernel/mm/transparent_hugepage/shmem_enabled`; empty: not there."""

    @property
    def realtime_max(self) -> int:
        """Return the highest real-time priority that may be asked for; 0: none."""
        return 99 if self.sys_nice else self.rtprio_max


def flat_topology(cores: Iterable[Iterable[int]], allowed: Iterable[int]) -> Topology:
    """Return a topology of one node and one cache from physical cores alone."""
    groups = [tuple(core) for core in cores]
    first = min((cpu for core in groups for cpu in core), default=0)
    cpus = [Cpu(cpu, min(core), first, 0) for core in groups for cpu in core]
    return Topology(tuple(sorted(cpus, key=lambda cpu: cpu.number)), tuple(allowed))


def cpu_list(cpus: tuple[int, ...]) -> str:
    """Return CPU numbers as people write them: `0-3,6`."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][-1:] = [parts[-1][-1], cpu] if len(parts[-1]) == 1 else [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)

"""Facts of this host that planning and validation need. Reads, never changes."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from byteord._cext.confine import has_seccomp, landlock_abi
from byteord.deployment.model import HostFacts
from byteord.deployment.topology import Topology
from byteord.regions.clock import clock_mult, membarrier_available
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_rights, read_topology


def read_host(
    regions_root: str = "/dev/shm",  # noqa: S108 - shared memory, not a temporary directory
    *,
    root: str = "/",
    allowed: tuple[int, ...] | None = None,
) -> HostFacts:
    """Return the facts.

    `root` stands in for `/` when looking at `/sys` and `/proc`, `allowed` for the CPUs that this
    process may use.
    """
    beneath = HostRoot(root)
    topology = read_topology(beneath, allowed=allowed)
    return HostFacts(
        cpus_online=tuple(cpu.number for cpu in topology.cpus),
        cpus_allowed=topology.allowed,
        physical_cores=_cores(topology),
        shm_free_bytes=_free_bytes(regions_root),
        memory_available_bytes=_available_bytes(Path(root, "proc/meminfo")),
        membarrier=membarrier_available(),
        clock="tsc" if clock_mult(root) else "monotonic",
        confinement=read_confinement(),
        topology=topology,
        rights=read_rights(beneath),
    )


def read_confinement() -> str:
    """Return what this kernel has to confine code with; empty: it cannot."""
    if not has_seccomp():
        return ""
    abi = landlock_abi()
    return f"seccomp, landlock {abi}" if abi else "seccomp, no landlock: reading is not confined"


def _cores(topology: Topology) -> tuple[tuple[int, ...], ...]:
    cores: dict[int, list[int]] = defaultdict(list)
    for cpu in topology.cpus:
        if cpu.number in topology.allowed:
            cores[cpu.core].append(cpu.number)
    return tuple(tuple(group) for group in cores.values())


def _free_bytes(directory: str) -> int:
    try:
        info = os.statvfs(directory)
    except OSError:
        return 0
    return info.f_bavail * info.f_frsize


def _available_bytes(path: Path) -> int:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0

"""Facts of this host that planning and validation need. Reads, never changes."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from byteord.deployment.model import HostFacts
from byteord.regions.clock import clock_mult, membarrier_available


def read_host(
    regions_root: str = "/dev/shm",  # noqa: S108 - shared memory, not a temporary directory
    *,
    root: str = "/",
) -> HostFacts:
    """Return the facts; `root` stands in for `/` when looking at `/sys` and `/proc`."""
    online = _cpu_list(Path(root, "sys/devices/system/cpu/online"), os.cpu_count() or 1)
    allowed = tuple(sorted(os.sched_getaffinity(0)))
    return HostFacts(
        cpus_online=online,
        cpus_allowed=allowed,
        physical_cores=_cores(Path(root, "sys/devices/system/cpu"), allowed),
        shm_free_bytes=_free_bytes(regions_root),
        memory_available_bytes=_available_bytes(Path(root, "proc/meminfo")),
        membarrier=membarrier_available(),
        clock="tsc" if clock_mult(root) else "monotonic",
    )


def _cpu_list(path: Path, count: int) -> tuple[int, ...]:
    try:
        return parse_cpu_list(path.read_text())
    except (OSError, ValueError):
        return tuple(range(count))


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read the kernel's list form, `0-3,8`."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def _cores(directory: Path, allowed: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    cores: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for cpu in allowed:
        siblings = _cpu_list(directory / f"cpu{cpu}/topology/thread_siblings_list", 0) or (cpu,)
        cores[siblings].append(cpu)
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

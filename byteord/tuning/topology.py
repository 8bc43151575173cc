"""CPUs, caches, nodes, isolation and rights of this host, as the kernel shows them.

Reads `/proc` and `/sys` beneath a root that tests replace; changes nothing and never raises for
what is not there: a virtual machine or a container shows little.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from byteord.deployment.topology import (
    CAP_IPC_LOCK,
    CAP_SYS_NICE,
    UNLIMITED,
    Cpu,
    Partition,
    Rights,
    Topology,
)

_CPUS = "sys/devices/system/cpu"
_SHMEM_HUGE = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
_CGROUPS_SEEN_MAX = 512
_DIGITS_MAX = 5
_CGROUP_DEPTH_MAX = 4


def read_topology(root: str = "/", *, allowed: tuple[int, ...] | None = None) -> Topology:
    """Return the CPUs; `allowed` stands in for this process's own affinity."""
    mine = tuple(sorted(os.sched_getaffinity(0))) if allowed is None else allowed
    online = cpu_list_of(Path(root, _CPUS, "online")) or mine
    mount = cgroup2_mount(root)
    partitions = isolated_partitions(root, mount) if mount else ()
    isolated = set(cpu_list_of(Path(root, _CPUS, "isolated")))
    if mount:
        isolated |= set(cpu_list_of(Path(root, mount.lstrip("/"), "cpuset.cpus.isolated")))
    for partition in partitions:
        isolated |= set(partition.cpus)
    return Topology(
        cpus=_cpus(root, online),
        allowed=tuple(cpu for cpu in mine if cpu in online),
        isolated=tuple(sorted(isolated & set(online))),
        offline=cpu_list_of(Path(root, _CPUS, "offline")),
        partitions=partitions,
    )


def read_rights(root: str = "/") -> Rights:
    """Return what limits and capabilities of this process allow."""
    status = _text(Path(root, "proc/self/status"))
    found = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    effective = int(found[0], 16) if found else 0
    priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    memory = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    huge = _text(Path(root, _SHMEM_HUGE))
    return Rights(
        rtprio_max=99 if priority == resource.RLIM_INFINITY else min(priority, 99),
        memlock_bytes=UNLIMITED if memory == resource.RLIM_INFINITY else memory,
        sys_nice=bool(effective >> CAP_SYS_NICE & 1),
        ipc_lock=bool(effective >> CAP_IPC_LOCK & 1),
        dma_latency=os.access(Path(root, "dev/cpu_dma_latency"), os.R_OK | os.W_OK),
        shmem_huge=huge.partition("[")[2].partition("]")[0],
    )


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read the kernel's list form, `0-3,8`; ValueError for anything else but nothing."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        if len(first) > _DIGITS_MAX or len(last) > _DIGITS_MAX:
            message = f"{part[:40]!r} is no range of CPUs"
            raise ValueError(message)
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def cpu_list_of(path: Path) -> tuple[int, ...]:
    """Return the CPUs that a file lists; none when it is absent or no list."""
    try:
        return parse_cpu_list(_text(path))
    except ValueError:
        return ()


def cgroup2_mount(root: str = "/") -> str:
    """Return where the unified cgroup hierarchy is mounted; empty: nowhere."""
    for line in _text(Path(root, "proc/self/mountinfo")).splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] == "cgroup2":
            return fields.split(" ")[4]
    return ""


def isolated_partitions(root: str, mount: str) -> tuple[Partition, ...]:
    """Return the valid isolated partitions that this process may move others into."""
    top = str(Path(root, mount.lstrip("/")))
    found = []
    for seen, (directory, children, _) in enumerate(os.walk(top)):
        below = directory[len(top) :]
        if below.count("/") >= _CGROUP_DEPTH_MAX or seen >= _CGROUPS_SEEN_MAX:
            children.clear()
        children.sort()
        state = _text(Path(directory, "cpuset.cpus.partition")).strip()
        cpus = cpu_list_of(Path(directory, "cpuset.cpus.effective"))
        if state == "isolated" and cpus and os.access(Path(directory, "cgroup.procs"), os.W_OK):
            found.append(Partition(below, cpus))
    return tuple(found)


def _cpus(root: str, online: tuple[int, ...]) -> tuple[Cpu, ...]:
    nodes = _nodes(root)
    capacity = {cpu: _capacity(root, cpu) for cpu in online}
    ranks = {size: rank for rank, size in enumerate(sorted(set(capacity.values()), reverse=True))}
    atoms = set(cpu_list_of(Path(root, "sys/devices/cpu_atom/cpus")))
    return tuple(
        Cpu(
            number=cpu,
            core=_lowest(root, cpu, "topology/thread_siblings_list", online),
            cache=_last_cache(root, cpu, online),
            node=nodes.get(cpu, 0),
            rank=ranks[capacity[cpu]] + (cpu in atoms),
        )
        for cpu in online
    )


def _lowest(root: str, cpu: int, name: str, online: tuple[int, ...]) -> int:
    shared = cpu_list_of(Path(root, _CPUS, f"cpu{cpu}", name))
    return min((each for each in shared if each in online), default=cpu)


def _last_cache(root: str, cpu: int, online: tuple[int, ...]) -> int:
    levels = []
    for index in range(8):
        directory = Path(root, _CPUS, f"cpu{cpu}/cache/index{index}")
        level = _text(directory / "level").strip()
        if level.isdigit():
            name = f"cache/index{index}/shared_cpu_list"
            levels.append((int(level), _lowest(root, cpu, name, online)))
    return max(levels)[1] if levels else _lowest(root, cpu, "topology/package_cpus_list", online)


def _capacity(root: str, cpu: int) -> int:
    text = _text(Path(root, _CPUS, f"cpu{cpu}/cpu_capacity")).strip()
    return int(text) if text.isdigit() else 1024


def _nodes(root: str) -> dict[int, int]:
    top = Path(root, "sys/devices/system/node")
    found = {}
    for directory in sorted(top.glob("node[0-9]*")):
        for cpu in cpu_list_of(directory / "cpulist"):
            found[cpu] = int(directory.name.removeprefix("node"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""

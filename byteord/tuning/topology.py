"""CPUs, caches, nodes, isolation and rights of this host, as the kernel shows them.

Reads through a `HostRoot`; changes nothing and never raises for what is not there: a virtual
machine or a container shows little.
"""

from __future__ import annotations

import os
import resource

from byteord.deployment.topology import (
    CAP_IPC_LOCK,
    CAP_SYS_NICE,
    UNLIMITED,
    Cpu,
    Partition,
    Rights,
    Topology,
)
from byteord.tuning.root import HostRoot

HERE = HostRoot()
_CPUS = "/sys/devices/system/cpu"
_SHMEM_HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_CGROUPS_SEEN_MAX = 512
_DIGITS_MAX = 5
_CGROUP_DEPTH_MAX = 4


def read_topology(root: HostRoot = HERE, *, allowed: tuple[int, ...] | None = None) -> Topology:
    """Return the CPUs; `allowed` stands in for this process's own affinity."""
    mine = tuple(sorted(os.sched_getaffinity(0))) if allowed is None else allowed
    online = cpu_list_of(root, f"{_CPUS}/online") or mine
    mount = cgroup2_mount(root)
    partitions = isolated_partitions(root, mount) if mount else ()
    isolated = set(cpu_list_of(root, f"{_CPUS}/isolated"))
    if mount:
        isolated |= set(cpu_list_of(root, f"{mount}/cpuset.cpus.isolated"))
    for partition in partitions:
        isolated |= set(partition.cpus)
    return Topology(
        cpus=_cpus(root, online),
        allowed=tuple(cpu for cpu in mine if cpu in online),
        isolated=tuple(sorted(isolated & set(online))),
        offline=cpu_list_of(root, f"{_CPUS}/offline"),
        partitions=partitions,
    )


def read_rights(root: HostRoot = HERE) -> Rights:
    """Return what limits and capabilities of this process allow."""
    status = root.text("/proc/self/status") or ""
    found = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    effective = int(found[0], 16) if found else 0
    priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    memory = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    huge = root.text(_SHMEM_HUGE) or ""
    return Rights(
        rtprio_max=99 if priority == resource.RLIM_INFINITY else min(priority, 99),
        memlock_bytes=UNLIMITED if memory == resource.RLIM_INFINITY else memory,
        sys_nice=bool(effective >> CAP_SYS_NICE & 1),
        ipc_lock=bool(effective >> CAP_IPC_LOCK & 1),
        dma_latency=root.writable("/dev/cpu_dma_latency"),
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


def cpu_list_of(root: HostRoot, name: str) -> tuple[int, ...]:
    """Return the CPUs that a file lists; none when it is absent or no list."""
    try:
        return parse_cpu_list(root.text(name) or "")
    except ValueError:
        return ()


def cgroup2_mount(root: HostRoot = HERE) -> str:
    """Return where the unified cgroup hierarchy is mounted; empty: nowhere."""
    for line in (root.text("/proc/self/mountinfo") or "").splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] == "cgroup2":
            return fields.split(" ")[4]
    return ""


def isolated_partitions(root: HostRoot, mount: str) -> tuple[Partition, ...]:
    """Return the valid isolated partitions that this process may move others into."""
    top = root.path(mount)
    found = []
    for seen, (directory, children, _) in enumerate(os.walk(top)):
        below = directory[len(top) :]
        if below.count("/") >= _CGROUP_DEPTH_MAX or seen >= _CGROUPS_SEEN_MAX:
            children.clear()
        children.sort()
        name = f"{mount}{below}"
        state = (root.text(f"{name}/cpuset.cpus.partition") or "").strip()
        cpus = cpu_list_of(root, f"{name}/cpuset.cpus.effective")
        if state == "isolated" and cpus and root.writable(f"{name}/cgroup.procs"):
            found.append(Partition(below, cpus))
    return tuple(found)


def _cpus(root: HostRoot, online: tuple[int, ...]) -> tuple[Cpu, ...]:
    nodes = _nodes(root)
    capacity = {cpu: _capacity(root, cpu) for cpu in online}
    ranks = {size: rank for rank, size in enumerate(sorted(set(capacity.values()), reverse=True))}
    atoms = set(cpu_list_of(root, "/sys/devices/cpu_atom/cpus"))
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


def _lowest(root: HostRoot, cpu: int, name: str, online: tuple[int, ...]) -> int:
    shared = cpu_list_of(root, f"{_CPUS}/cpu{cpu}/{name}")
    return min((each for each in shared if each in online), default=cpu)


def _last_cache(root: HostRoot, cpu: int, online: tuple[int, ...]) -> int:
    levels = []
    for index in range(8):
        level = (root.text(f"{_CPUS}/cpu{cpu}/cache/index{index}/level") or "").strip()
        if level.isdigit():
            name = f"cache/index{index}/shared_cpu_list"
            levels.append((int(level), _lowest(root, cpu, name, online)))
    return max(levels)[1] if levels else _lowest(root, cpu, "topology/package_cpus_list", online)


def _capacity(root: HostRoot, cpu: int) -> int:
    text = (root.text(f"{_CPUS}/cpu{cpu}/cpu_capacity") or "").strip()
    return int(text) if text.isdigit() else 1024


def _nodes(root: HostRoot) -> dict[int, int]:
    found = {}
    for name in root.names("/sys/devices/system/node/node[0-9]*"):
        for cpu in cpu_list_of(root, f"{name}/cpulist"):
            found[cpu] = int(name.rpartition("node")[2])
    return found

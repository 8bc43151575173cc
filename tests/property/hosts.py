"""Invented hosts: topologies as values, and the same as trees of `/sys` and `/proc`."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from byteord.deployment.topology import Cpu, Partition, Topology, cpu_list

CPUS_MAX = 256


@st.composite
def topologies(draw: st.DrawFn, cpus_max: int = CPUS_MAX) -> Topology:
    """Draw a host of 1 to 256 CPUs.

    Several nodes and caches, siblings numbered apart or side by side, efficiency cores, CPUs that
    are offline, isolated, in a partition, or not allowed.
    """
    nodes = draw(st.sampled_from((1, 1, 2, 4)))
    caches = draw(st.integers(1, 4))
    threads = draw(st.sampled_from((1, 2, 2, 4)))
    cores = draw(st.integers(1, max(1, cpus_max // (nodes * caches * threads))))
    apart = draw(st.booleans())
    slow_from = draw(st.sampled_from((1.0, 1.0, 0.5)))
    total = nodes * caches * cores
    cpus = []
    for core in range(total):
        numbers = [
            core + turn * total if apart else core * threads + turn for turn in range(threads)
        ]
        group = core // cores
        first = group * cores if apart else group * cores * threads
        rank = int(core >= total * slow_from)
        cpus += [Cpu(number, numbers[0], first, group // caches, rank) for number in numbers]
    everything = sorted(cpu.number for cpu in cpus)
    online = draw(_subset(everything))
    allowed = draw(_subset(online))
    isolated = draw(st.one_of(st.just(()), _subset(online)))
    parts = (Partition("/p", tuple(isolated)),) if isolated and draw(st.booleans()) else ()
    return Topology(
        cpus=tuple(sorted((c for c in cpus if c.number in set(online)), key=lambda c: c.number)),
        allowed=tuple(allowed),
        isolated=tuple(isolated),
        offline=tuple(sorted(set(everything) - set(online))),
        partitions=parts,
    )


def _subset(of: list[int]) -> st.SearchStrategy[list[int]]:
    """Draw all, a stretch, or a random part: never nothing."""
    stretch = st.tuples(st.integers(0, len(of) - 1), st.integers(1, len(of))).map(
        lambda ends: of[ends[0] : ends[0] + ends[1]]
    )
    part = st.sets(st.sampled_from(of), min_size=1, max_size=min(len(of), 24)).map(sorted)
    return st.one_of(st.just(of), stretch, part)


def write_tree(root: Path, host: Topology) -> None:
    """Write the files by which the kernel would show these CPUs (not rights, nor partitions)."""
    top = root / "sys/devices/system/cpu"
    _write(top / "online", cpu_list(tuple(cpu.number for cpu in host.cpus)))
    _write(top / "offline", cpu_list(host.offline))
    _write(top / "isolated", cpu_list(host.isolated))
    for cpu in host.cpus:
        mine = top / f"cpu{cpu.number}"
        _write(mine / "topology/thread_siblings_list", _same(host, core=cpu.core))
        _write(mine / "cache/index0/level", "1")
        _write(mine / "cache/index0/shared_cpu_list", _same(host, core=cpu.core))
        _write(mine / "cache/index3/level", "3")
        _write(mine / "cache/index3/shared_cpu_list", _same(host, cache=cpu.cache))
        _write(mine / "cpu_capacity", str(1024 >> cpu.rank))
    for node in {cpu.node for cpu in host.cpus}:
        _write(root / f"sys/devices/system/node/node{node}/cpulist", _same(host, node=node))


def _same(host: Topology, **fields: int) -> str:
    return cpu_list(
        tuple(
            cpu.number
            for cpu in host.cpus
            if all(getattr(cpu, name) == value for name, value in fields.items())
        )
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")

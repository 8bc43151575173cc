"""Which busy thread runs on which CPU. Pure: the same question always has the same answer.

Physical cores come first and their siblings last; the first core of the host and of each node is
left to everything else while others will do; neighbours of a hand-over come close together. Never
two threads on one CPU: where there are too few, all get the same set and the kernel shares it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from byteord.deployment.topology import Cpu, Topology

SAME_CORE, SAME_CACHE, SAME_NODE, FAR = 0, 1, 3, 10
"""Cost of a hand-over between two CPUs, in cache-line trips within one last-level cache."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where threads run."""

    cpus: tuple[int, ...] = ()
    """One per thread, all different; empty: none has a CPU of its own."""
    shared: tuple[int, ...] = ()
    """The set that all threads get when there are more of them than CPUs."""
    housekeeping: tuple[int, ...] = ()
    """Allowed CPUs on which no thread was placed."""
    usable: int = 0
    """CPUs that could be chosen from."""


Edges = Collection[tuple[int, int]]
"""Pairs of threads that hand messages over, by index."""


def place(
    threads: int, edges: Edges, pin: str | tuple[int, ...], host: Topology, *, isolated: bool
) -> Places:
    """Return the place of each thread.

    Args:
        threads: how many busy ones there are.
        edges: who hands over to whom.
        pin: `none`, `balanced`, `physical`, or the CPUs in order.
        host: the CPUs.
        isolated: isolated CPUs are to be taken first, and partitions may be entered.
    """
    if pin == "none" or not threads:
        return Places()
    tiers = _listed(pin, host) if isinstance(pin, tuple) else _tiers(host, pin, isolated=isolated)
    usable = [cpu for tier in tiers for cpu in tier]
    free = usable_cpus(host, isolated=isolated)
    if len(usable) < threads:
        shared = tuple(sorted(cpu.number for cpu in usable))
        return Places((), shared, _rest(free, shared), len(usable))
    if isinstance(pin, tuple):
        chosen = [cpu.number for cpu in usable[:threads]]
    else:
        chosen = _arrange(threads, edges, _enough(tiers, threads), noisy=_noisy(usable))
    return Places(tuple(chosen), (), _rest(free, chosen), len(usable))


def usable_cpus(host: Topology, *, isolated: bool) -> frozenset[int]:
    """Return the CPUs that workers may be put on: the allowed ones, and those of partitions."""
    allowed = set(host.allowed)
    if isolated:
        allowed |= {cpu for partition in host.partitions for cpu in partition.cpus}
    return frozenset(allowed & {cpu.number for cpu in host.cpus})


def distance(one: Cpu, other: Cpu) -> int:
    """Return what a hand-over between two CPUs costs."""
    if one.core == other.core:
        return SAME_CORE
    if one.cache == other.cache:
        return SAME_CACHE
    return SAME_NODE if one.node == other.node else FAR


def _rest(free: Iterable[int], taken: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(free) - set(taken)))


def _listed(pin: tuple[int, ...], host: Topology) -> list[list[Cpu]]:
    known = {cpu.number: cpu for cpu in host.cpus}
    allowed = usable_cpus(host, isolated=True)
    return [[known[cpu] for cpu in dict.fromkeys(pin) if cpu in allowed]]


def _tiers(host: Topology, pin: str, *, isolated: bool) -> list[list[Cpu]]:
    """Return CPUs in groups, each to be touched only when those before it do not suffice."""
    usable = usable_cpus(host, isolated=isolated)
    alone = set(host.isolated) if isolated else set()
    cpus = [cpu for cpu in host.cpus if cpu.number in usable]
    kept = _housekeeping_cores([cpu for cpu in cpus if cpu.number not in alone])
    siblings = _siblings(cpus)
    tiers: dict[tuple[bool, int, int, int], list[Cpu]] = {}
    for cpu in cpus:
        if siblings[cpu.number] and pin == "physical":
            continue
        key = (cpu.number not in alone, siblings[cpu.number], kept.get(cpu.core, 0), cpu.rank)
        tiers.setdefault(key, []).append(cpu)
    return [tiers[key] for key in sorted(tiers)]


def _siblings(cpus: Sequence[Cpu]) -> dict[int, int]:
    """Return for each CPU how many of its core come before it."""
    seen: Counter[int] = Counter()
    turns = {}
    for cpu in sorted(cpus, key=lambda cpu: cpu.number):
        turns[cpu.number] = seen[cpu.core]
        seen[cpu.core] += 1
    return turns


def _housekeeping_cores(cpus: Sequence[Cpu]) -> dict[int, int]:
    """Return cores to be left free, 2 for the host's first and 1 for each other node's.

    Of the slowest class where there are several: that is what such cores are for.
    """
    slowest = max((cpu.rank for cpu in cpus), default=0)
    kept: dict[int, int] = {}
    nodes: set[int] = set()
    for cpu in sorted(cpus, key=lambda cpu: cpu.number):
        if cpu.rank == slowest and cpu.node not in nodes:
            nodes.add(cpu.node)
            kept[cpu.core] = 1 if kept else 2
    return kept


def _enough(tiers: list[list[Cpu]], threads: int) -> list[list[Cpu]]:
    taken: list[list[Cpu]] = []
    for tier in tiers:
        taken.append(tier)
        if sum(map(len, taken)) >= threads:
            break
    return taken


def _arrange(
    threads: int, edges: Edges, tiers: list[list[Cpu]], *, noisy: Collection[tuple[int, int]]
) -> list[int]:
    """Give each thread in turn the free CPU that is nearest to its placed neighbours."""
    tier_of = {cpu.number: index for index, tier in enumerate(tiers) for cpu in tier}
    free = [cpu for tier in tiers for cpu in tier]
    home = _home(free, threads, noisy)
    placed: list[Cpu] = []
    for thread in range(threads):
        near = [placed[other] for other in _neighbours(thread, edges) if other < thread]
        anchors = near or placed[-1:] or [home]
        best = min(
            free,
            key=lambda cpu: (
                tier_of[cpu.number],
                sum(distance(cpu, anchor) for anchor in anchors),
                distance(cpu, home),
                cpu.number,
            ),
        )
        free.remove(best)
        placed.append(best)
    return [cpu.number for cpu in placed]


def _neighbours(thread: int, edges: Edges) -> list[int]:
    both = {b for a, b in edges if a == thread} | {a for a, b in edges if b == thread}
    return sorted(both - {thread})


def _home(free: list[Cpu], threads: int, noisy: Collection[tuple[int, int]]) -> Cpu:
    """Return the first CPU of the smallest last-level cache that holds all, else of the largest.

    `noisy` caches, which have a core that is left to everything else, are taken last.
    """
    groups: dict[tuple[int, int], list[Cpu]] = {}
    for cpu in free:
        groups.setdefault((cpu.node, cpu.cache), []).append(cpu)
    fits = [group for group in groups.values() if len(group) >= threads]
    if fits:
        group = min(fits, key=lambda group: (_key(group) in noisy, len(group), group[0].number))
    else:
        group = min(groups.values(), key=lambda group: (-len(group), group[0].number))
    return min(group, key=lambda cpu: cpu.number)


def _noisy(cpus: Iterable[Cpu]) -> set[tuple[int, int]]:
    """Return node and last-level cache of the first core of each node."""
    first: dict[int, Cpu] = {}
    for cpu in sorted(cpus, key=lambda cpu: cpu.number):
        first.setdefault(cpu.node, cpu)
    return {(cpu.node, cpu.cache) for cpu in first.values()}


def _key(group: list[Cpu]) -> tuple[int, int]:
    return group[0].node, group[0].cache

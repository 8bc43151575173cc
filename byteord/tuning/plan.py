"""From (plan of a run, tuning, host facts) to the same plan with its workers placed and tuned.

Pure. It works on roles, units and workers of any model; which of them there are is
`byteord.runs.plan`'s to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from byteord.deployment.model import HostFacts, Tuning
from byteord.deployment.plan import RolePlan, RunPlan, TuningPlan, WorkerPlan
from byteord.deployment.profiles import ISOLATED_CORE
from byteord.deployment.topology import Partition, Topology, cpu_list
from byteord.tuning.placement import SAME_CORE, Places, distance, place

Thread = tuple[int, int]
"""A worker of the plan, and a thread of it."""


def tuned(plan: RunPlan, tuning: Tuning, host: HostFacts, *, strict: bool = False) -> RunPlan:
    """Return the plan with CPUs for its workers, what they ask of the kernel, and why."""
    isolated = tuning.profile == ISOLATED_CORE
    threads = busy_threads(plan.workers)
    places = place(
        len(threads), hand_overs(plan, threads), tuning.pin, host.layout, isolated=isolated
    )
    workers = tuple(_placed(worker, threads, places) for worker in plan.workers)
    partition = _partition(places, host.layout) if isolated else None
    asked = TuningPlan(
        profile=tuning.profile,
        sched=str(tuning.sched),
        priority=tuning.priority,
        mlock=tuning.mlock,
        prefault=tuning.prefault,
        huge_pages=tuning.huge_pages,
        cpu_dma_latency_us=tuning.cpu_dma_latency,
        isolated=isolated,
        partition=partition.path if partition else "",
        strict=strict,
        housekeeping=places.housekeeping if places.cpus or places.shared else (),
    )
    notes = (*plan.notes, *_notes(tuning, threads, places, host.layout))
    return replace(plan, workers=workers, tuning=asked, notes=notes)


def busy_threads(workers: Sequence[WorkerPlan]) -> list[Thread]:
    """Return the threads that run loops, in the order in which they are placed."""
    return [(worker.index, thread) for worker in workers for thread in range(len(worker.threads))]


def hand_overs(plan: RunPlan, threads: Sequence[Thread]) -> set[tuple[int, int]]:
    """Return the pairs of threads, by index, between which messages pass."""
    where: dict[int, int] = {}
    for index, (worker, thread) in enumerate(threads):
        for unit in plan.workers[worker].threads[thread]:
            where.update(dict.fromkeys(plan.units[unit].roles, index))
    pairs = set()
    for role in plan.roles:
        for before in _before(role, plan.roles):
            giver, taker = where.get(before.index), where.get(role.index)
            if giver is not None and taker is not None and giver != taker:
                pairs.add((giver, taker))
    return pairs


def _before(role: RolePlan, roles: Sequence[RolePlan]) -> list[RolePlan]:
    """Return the roles that hand over to this one."""
    if role.rx:
        read = {rx.lane for rx in role.rx}
        return [other for other in roles if read & {tx.lane for tx in other.tx}]
    if role.kind == "ingress" or role.cell < 0:
        return []
    same = [other for other in roles if role.shard < 0 or other.shard in (role.shard, -1)]
    if role.depends:
        return [other for other in same if other.cell in role.depends and other is not role]
    return [other for other in roles if other.kind == "ingress"]


def _placed(worker: WorkerPlan, threads: Sequence[Thread], places: Places) -> WorkerPlan:
    if places.cpus:
        mine = [
            cpu
            for cpu, (index, _) in zip(places.cpus, threads, strict=True)
            if index == worker.index
        ]
        return replace(worker, cpus=tuple(mine))
    return replace(worker, cpus=places.shared)


def _partition(places: Places, host: Topology) -> Partition | None:
    """Return the partition that holds every chosen CPU; None: the CPUs lie elsewhere."""
    chosen = set(places.cpus or places.shared)
    for partition in host.partitions:
        if chosen and chosen <= set(partition.cpus):
            return partition
    return None


def _notes(tuning: Tuning, threads: Sequence[Thread], places: Places, host: Topology) -> list[str]:
    if places.shared:
        crowd = f"{len(threads)} busy threads share {places.usable} CPUs"
        return [f"pin = {_pin_text(tuning.pin)}: {crowd}, {cpu_list(places.shared)}"]
    if not places.cpus:
        return []
    notes = [f"pin = {_pin_text(tuning.pin)}: CPUs {', '.join(map(str, places.cpus))}"]
    left = cpu_list(places.housekeeping)
    notes.append(f"left to everything else: {f'CPUs {left}' if left else 'no allowed CPU'}")
    notes += _sibling_notes(places, host)
    return notes


def _sibling_notes(places: Places, host: Topology) -> list[str]:
    cpus = {cpu.number: cpu for cpu in host.cpus}
    pairs = [
        f"{one} and {other}"
        for index, one in enumerate(places.cpus)
        for other in places.cpus[index + 1 :]
        if distance(cpus[one], cpus[other]) == SAME_CORE
    ]
    if pairs:
        return [f"too few physical cores: CPUs {', '.join(pairs)} are siblings of one core"]
    taken = {cpus[cpu].core for cpu in places.cpus}
    idle = [cpu.number for cpu in host.cpus if cpu.core in taken and cpu.number not in places.cpus]
    return [f"siblings {cpu_list(tuple(idle))} of busy cores are to stay idle"] if idle else []


def _pin_text(pin: str | tuple[int, ...]) -> str:
    return pin if isinstance(pin, str) else cpu_list(pin)

"""Tuned plans: what a run gets on a given host, and what the host falls short of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings

from byteord.deployment.model import HostFacts, Tuning
from byteord.deployment.plan import RolePlan, RunPlan, RxPlan, TxPlan, UnitPlan, WorkerPlan
from byteord.deployment.profiles import PROFILES
from byteord.deployment.topology import Cpu, Partition, Rights, Topology
from byteord.tuning.forecast import lookouts, tuning_description
from byteord.tuning.plan import busy_threads, hand_overs, tuned
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology
from tests.property.hosts import topologies, write_tree
from tests.support.run import make_test_plan, spec_text

TWO_NODES = Topology(
    cpus=tuple(Cpu(n, n % 16, n % 16 // 4 * 4, n % 16 // 8) for n in range(32)),
    allowed=tuple(range(32)),
)
"""Two nodes of two caches of four cores; CPU n and n + 16 are siblings."""

CHAIN = spec_text(
    '[[stages]]\nname = "a"\nstage = "identity"\n[[stages]]\nname = "b"\nstage = "identity"\n'
    "depends_on = [0]\n"
)
GENERATED = '[adapters.in]\nkind = "generator"\n[adapters.out]\nkind = "discard"\n'


def host_of(topology: Topology, **rights: Any) -> HostFacts:
    """Return facts around a topology."""
    return HostFacts(
        cpus_online=tuple(cpu.number for cpu in topology.cpus),
        cpus_allowed=topology.allowed,
        physical_cores=(),
        shm_free_bytes=1 << 30,
        memory_available_bytes=1 << 30,
        membarrier=True,
        clock="tsc",
        topology=topology,
        rights=Rights(**rights),
    )


def chain_plan() -> RunPlan:
    """Return the plan of a chain of two stages, each role but the egress with its worker."""
    return make_test_plan(CHAIN, f'{GENERATED}[tuning]\nfuse = "never"\n')


@settings(max_examples=8, deadline=None)
@given(topologies(cpus_max=24))
def test_a_topology_is_read_back_from_the_files_that_show_it(host: Topology) -> None:
    """Cores, caches, nodes, classes, offline and isolated CPUs all come from the kernel's files."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write_tree(Path(name), host)
        seen = read_topology(HostRoot(name), allowed=host.allowed)
    assert replace(seen, partitions=()) == replace(_as_shown(host), partitions=())


def _as_shown(host: Topology) -> Topology:
    """A group is named by its lowest online CPU, a class by its place among those online."""
    ranks = sorted({cpu.rank for cpu in host.cpus})
    core: dict[int, int] = {}
    cache: dict[int, int] = {}
    for cpu in host.cpus:
        core[cpu.core] = min(core.get(cpu.core, cpu.number), cpu.number)
        cache[cpu.cache] = min(cache.get(cpu.cache, cpu.number), cpu.number)
    cpus = (
        replace(c, core=core[c.core], cache=cache[c.cache], rank=ranks.index(c.rank))
        for c in host.cpus
    )
    return replace(host, cpus=tuple(cpus))


def test_a_chain_runs_on_neighbouring_cores_of_one_cache() -> None:
    """Three workers take three cores of one cache, not the host's first, and no sibling."""
    plan = tuned(chain_plan(), PROFILES["low-latency"], host_of(TWO_NODES))
    assert [worker.cpus for worker in plan.workers] == [(4,), (5,), (6,)]
    assert plan.tuning.mlock
    assert 0 in plan.tuning.housekeeping
    assert any("siblings 20-22 of busy cores" in note for note in plan.notes)
    assert RunPlan.from_json(plan.to_json()) == plan


def test_default_pins_nothing_and_asks_nothing() -> None:
    """Without a profile the kernel places workers as it likes."""
    plan = tuned(chain_plan(), Tuning(), host_of(TWO_NODES))
    assert all(worker.cpus == () for worker in plan.workers)
    assert not lookouts(plan, host_of(TWO_NODES), 0)


def test_threads_of_a_single_process_get_a_cpu_each() -> None:
    """With all roles in one process each of its threads has its own CPU."""
    plan = make_test_plan(CHAIN, f'{GENERATED}[tuning]\nfuse = "never"\n', single_process=True)
    worker = tuned(plan, PROFILES["low-latency"], host_of(TWO_NODES)).workers[0]
    assert [worker.cpus_of(thread) for thread in range(3)] == [(4,), (5,), (6,)]


def test_isolated_core_takes_the_partition_that_holds_its_cpus() -> None:
    """Workers enter an isolated cpuset partition, whose CPUs the daemon itself may not use."""
    apart = (8, 9, 10, 11)
    host = replace(
        TWO_NODES,
        allowed=tuple(range(8)),
        isolated=apart,
        partitions=(Partition("/byteor.slice/fast", apart),),
    )
    plan = tuned(chain_plan(), PROFILES["isolated-core"], host_of(host))
    assert [worker.cpus for worker in plan.workers] == [(8,), (9,), (10,)]
    assert plan.tuning.partition == "/byteor.slice/fast"
    assert not [each for each in lookouts(plan, host_of(host), 0) if each.knob == "isolation"]


def test_a_weak_host_is_named_knob_by_knob() -> None:
    """Everything that the host will not honour is told before anything runs, with its fix."""
    tuning = replace(
        PROFILES["isolated-core"],
        sched=type(PROFILES["default"].sched).FIFO,
        priority=50,
        huge_pages=True,
    )
    host = host_of(TWO_NODES, memlock_bytes=65536, rtprio_max=10, shmem_huge="deny")
    found = lookouts(tuned(chain_plan(), tuning, host), host, 1 << 20)
    knobs = {each.knob for each in found}
    assert knobs == {"isolation", "scheduler", "memory_lock", "cpu_dma_latency", "huge_pages"}
    assert all(each.fix and each.seen for each in found)
    strong = host_of(TWO_NODES, sys_nice=True, ipc_lock=True, dma_latency=True, shmem_huge="advise")
    again = lookouts(tuned(chain_plan(), tuning, strong), strong, 1 << 20)
    assert [each.knob for each in again] == ["isolation"]


def test_hand_overs_are_found_in_rings_and_lanes() -> None:
    """Who gives to whom follows the cells of a ring, and the lanes of a graph."""
    plan = chain_plan()
    assert hand_overs(plan, busy_threads(plan.workers)) == {(0, 1), (1, 2)}
    roles = (
        RolePlan(0, "in", "ingress", 0, -1, adapter="udp", tx=(TxPlan(0, 0),)),
        RolePlan(1, "split", "router", 0, -1, rx=(RxPlan(0, 0),), tx=(TxPlan(1, 1), TxPlan(2, 2))),
        RolePlan(2, "left", "stage", 0, -1, rx=(RxPlan(1, 0),)),
        RolePlan(3, "right", "stage", 0, -1, rx=(RxPlan(2, 0),)),
    )
    graph = replace(
        plan,
        roles=roles,
        units=tuple(UnitPlan(index, (index,)) for index in range(4)),
        workers=tuple(
            WorkerPlan(index, role.name, ((index,),)) for index, role in enumerate(roles)
        ),
    )
    assert hand_overs(graph, busy_threads(graph.workers)) == {(0, 1), (1, 2), (1, 3)}
    placed = tuned(graph, PROFILES["low-latency"], host_of(TWO_NODES))
    assert [worker.cpus for worker in placed.workers] == [(4,), (5,), (6,), (7,)]


def test_the_description_shows_each_worker_with_its_place() -> None:
    """`describe --host` says core, cache and node of every CPU it gives away."""
    host = host_of(TWO_NODES)
    said: Any = tuning_description(tuned(chain_plan(), PROFILES["low-latency"], host), host, 0)
    assert said["placement"][0]["where"] == ["CPU 4: core 4, cache 4, node 0"]
    assert said["host"]["nodes"] == 2
    assert [each["knob"] for each in said["falls_short"]] == ["cpu_dma_latency"]

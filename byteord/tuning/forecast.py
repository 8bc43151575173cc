"""What a host will not honour of a plan, as far as it shows before anything runs. Pure.

What it then did honour is read back from the running workers (`byteord.tuning.readback`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from byteord.deployment.model import HostFacts
from byteord.deployment.plan import RunPlan, TuningPlan
from byteord.deployment.topology import Cpu, Topology, cpu_list
from byteord.errors import WrongStateError
from byteord.tuning.fixes import DMA_FIX, HUGE_FIX, MEMLOCK_FIX, REALTIME_FIX, isolation_fix
from byteord.tuning.placement import usable_cpus
from byteord.tuning.plan import busy_threads


@dataclass(frozen=True, slots=True)
class Lookout:
    """Something that the host will not honour as things stand."""

    knob: str
    seen: str
    fix: str


def lookouts(plan: RunPlan, host: HostFacts, memory_bytes: int) -> tuple[Lookout, ...]:
    """Return what this host will not honour of a tuned plan, as far as it can be told before.

    `memory_bytes` is the shared memory of the run.
    """
    found = [
        *_cpu_lookouts(plan, host.layout),
        *_right_lookouts(plan.tuning, host, memory_bytes),
    ]
    return tuple(found)


def refuse_degraded(plan: RunPlan, host: HostFacts, memory_bytes: int) -> None:
    """Raise WrongStateError (TUNING_DEGRADED) for a strict plan that this host will not honour."""
    short = lookouts(plan, host, memory_bytes) if plan.tuning.strict else ()
    if short:
        said = "; ".join(f"{each.knob}: {each.seen} ({each.fix})" for each in short)
        raise WrongStateError(
            f"profile {plan.tuning.profile} is not honoured by this host: {said}; mend that, or "
            "set tuning.allow_degraded = true",
            reason="TUNING_DEGRADED",
            details={"knobs": ",".join(each.knob for each in short)},
        )


def _cpu_lookouts(plan: RunPlan, host: Topology) -> list[Lookout]:
    cpus = {cpu for worker in plan.workers for cpu in worker.cpus}
    found = []
    crowded = len(cpus) < len(busy_threads(plan.workers))
    if cpus and crowded:
        found.append(
            Lookout(
                "affinity",
                f"{len(busy_threads(plan.workers))} busy threads on {len(cpus)} CPUs",
                'fuse roles (fuse = "always"), use fewer shards, or give the daemon more CPUs',
            )
        )
    bare = sorted(cpus - set(host.isolated))
    if plan.tuning.isolated and (bare or not cpus):
        found.append(
            Lookout(
                "isolation",
                f"CPUs {cpu_list(tuple(bare))} are not isolated" if cpus else "no CPU is pinned",
                isolation_fix(tuple(bare)),
            )
        )
    return found


def _right_lookouts(tuning: TuningPlan, host: HostFacts, memory_bytes: int) -> list[Lookout]:
    rights, found = host.rights, []
    if tuning.sched != "other" and rights.realtime_max < tuning.priority:
        found.append(
            Lookout(
                "scheduler",
                f"real-time priority {rights.realtime_max} at most, without CAP_SYS_NICE",
                REALTIME_FIX.format(tuning.priority),
            )
        )
    limited = not rights.ipc_lock and rights.memlock_bytes >= 0
    if tuning.mlock and limited:
        found.append(
            Lookout(
                "memory_lock",
                f"at most {rights.memlock_bytes} bytes may be locked, without CAP_IPC_LOCK; the "
                f"regions alone have {memory_bytes}",
                MEMLOCK_FIX,
            )
        )
    if tuning.cpu_dma_latency_us >= 0 and not rights.dma_latency:
        found.append(Lookout("cpu_dma_latency", "/dev/cpu_dma_latency cannot be written", DMA_FIX))
    if tuning.huge_pages and rights.shmem_huge in ("", "deny"):
        seen = f"shmem_enabled is {rights.shmem_huge or 'not there'}"
        found.append(Lookout("huge_pages", seen, HUGE_FIX))
    return found


def chosen_cpus(plan: RunPlan, host: Topology) -> list[Cpu]:
    """Return the CPUs that a plan puts workers on, in their order."""
    known = {cpu.number: cpu for cpu in host.cpus}
    return [known[cpu] for worker in plan.workers for cpu in worker.cpus if cpu in known]


def tuning_description(plan: RunPlan, host: HostFacts, memory_bytes: int) -> dict[str, object]:
    """Return what `describe --host` prints: the host, each worker's place, and what falls short."""
    topology = host.layout
    return {
        "host": {
            "cpus_online": cpu_list(tuple(cpu.number for cpu in topology.cpus)),
            "cpus_offline": cpu_list(topology.offline),
            "cpus_allowed": cpu_list(topology.allowed),
            "cpus_isolated": cpu_list(topology.isolated),
            "cpus_usable": cpu_list(tuple(usable_cpus(topology, isolated=plan.tuning.isolated))),
            "physical_cores": len({cpu.core for cpu in topology.cpus}),
            "siblings": topology.has_siblings,
            "caches": len({(cpu.node, cpu.cache) for cpu in topology.cpus}),
            "nodes": len({cpu.node for cpu in topology.cpus}),
            "partitions": {part.path: cpu_list(part.cpus) for part in topology.partitions},
        },
        "placement": [
            {
                "worker": worker.name,
                "cpus": cpu_list(worker.cpus) or "any",
                "where": [
                    f"CPU {cpu.number}: core {cpu.core}, cache {cpu.cache}, node {cpu.node}"
                    for cpu in chosen_cpus(replace(plan, workers=(worker,)), topology)
                ],
            }
            for worker in plan.workers
        ],
        "housekeeping": cpu_list(plan.tuning.housekeeping) or "not planned",
        "asked": _asked(plan.tuning),
        "falls_short": [
            {"knob": each.knob, "seen": each.seen, "fix": each.fix}
            for each in lookouts(plan, host, memory_bytes)
        ],
    }


def _asked(tuning: TuningPlan) -> dict[str, object]:
    return {
        "profile": tuning.profile,
        "sched": tuning.sched,
        "priority": tuning.priority,
        "mlock": tuning.mlock,
        "prefault": tuning.prefault,
        "huge_pages": tuning.huge_pages,
        "timer_slack_ns": tuning.timer_slack_ns,
        "cpu_dma_latency_us": tuning.cpu_dma_latency_us,
        "partition": tuning.partition,
        "strict": tuning.strict,
    }

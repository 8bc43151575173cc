"""The next step for each shortfall: words only, so that plan, report and page say the same."""

from __future__ import annotations

from byteord.deployment.topology import cpu_list

REALTIME_FIX = "LimitRTPRIO={} or CAP_SYS_NICE for the daemon (systemd: AmbientCapabilities=)"
MEMLOCK_FIX = "LimitMEMLOCK=infinity or CAP_IPC_LOCK for the daemon"
DMA_FIX = (
    "let the daemon's user write /dev/cpu_dma_latency (a udev rule), or set cpu_dma_latency = -1"
)
HUGE_FIX = (
    "write advise to /sys/kernel/mm/transparent_hugepage/shmem_enabled, and make regions of 2 MiB "
    "or more"
)


def isolation_fix(cpus: tuple[int, ...]) -> str:
    """Say how CPUs are isolated."""
    listed = cpu_list(cpus) or "LIST"
    return (
        f"boot with isolcpus=managed_irq,domain,{listed} nohz_full={listed} rcu_nocbs={listed}, "
        "or make an isolated cpuset partition of them that the daemon may use"
    )

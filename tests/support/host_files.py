"""What the files of captured hosts hold: tables for `tests.support.host_trees`.

The contents have the form that kernel 6.1 to 6.12 gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Files = dict[str, str | None]
"""Text by name below the root; None: not there."""
LINK = "link to "
WORKERS_PID, DAEMON_PID = 4242, 4000
CPU = "sys/devices/system/cpu/"
NET = "sys/class/net/eth0/"
MOUNTS = """\
22 1 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
24 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
25 24 0:22 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw{shm}
26 22 0:23 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw
"""
FLAGS = "fpu tsc msr constant_tsc nonstop_tsc sse4_2 avx2 tsc_deadline_timer"
CGROUP = "sys/fs/cgroup/system.slice/byteord.service/"


def _stat(pid: int, name: str, *, state: str = "S", flags: int = 0, cpu: int = 0) -> str:
    fields = [state, "1", "1", "1", "0", "-1", str(flags), "50", "0", "2", "0", *["0"] * 25]
    return f"{pid} ({name}) {' '.join(fields)} {cpu} 0 0 0 0 0 0\n"


def _status(allowed: str, *, locked: int = 0, cap: str = "0000000000000000") -> str:
    return (
        f"Name:\tx\nVmLck:\t{locked:8d} kB\nVmSwap:\t       0 kB\nCapEff:\t{cap}\n"
        f"Cpus_allowed_list:\t{allowed}\nvoluntary_ctxt_switches:\t9\n"
        "nonvoluntary_ctxt_switches:\t3\n"
    )


def _limits(memlock: str, rtprio: str, files: str) -> str:
    rows = {
        "Max core file size": "0",
        "Max processes": "127000",
        "Max open files": files,
        "Max locked memory": memlock,
        "Max realtime priority": rtprio,
    }
    head = "Limit                     Soft Limit           Hard Limit           Units     \n"
    return head + "".join(f"{name:<26}{value:<21}{value:<21}\n" for name, value in rows.items())


def _counts(rows: Mapping[str, str], cpus: int) -> str:
    head = "            " + "".join(f"CPU{cpu:<8}" for cpu in range(cpus))
    lines = []
    for name, rest in rows.items():
        counts = "".join(f"{100 * (cpu + 1):>10} " for cpu in range(cpus))
        lines.append(f"{name:>4}: {counts} {rest}")
    return "\n".join([head, *lines]) + "\n"


UNTUNED: Files = {
    "proc/version": "Linux version 6.8.0-41-generic (gcc) #41 SMP PREEMPT_DYNAMIC\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/nvme0n1p2 ro quiet\n",
    "proc/cpuinfo": f"processor\t: 0\nmodel name\t: Xeon\nflags\t\t: {FLAGS}\n",
    "proc/meminfo": "MemTotal: 65536000 kB\nMemAvailable: 60000000 kB\n"
    "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/swap.img file 8388604 0 -2\n",
    "proc/stat": "cpu  100 0 100 9000 0 0 0 0 0 0\ncpu0 10 0 10 900 0 0 0 0 0 0\n",
    "proc/interrupts": _counts(
        {"0": "IO-APIC 2-edge timer", "40": "PCI-MSI 1 nvme0q1", "LOC": "Local timer"}, 8
    ),
    "proc/softirqs": _counts({"TIMER": "", "RCU": ""}, 8),
    "proc/self/status": _status("0-7"),
    "proc/self/limits": _limits("8388608", "0", "1024"),
    "proc/self/mountinfo": MOUNTS.format(shm=""),
    "proc/self/cgroup": "0::/system.slice/byteord.service\n",
    "proc/self/maps": "55d0-55d1 r-xp 00000000 fd:01 1 /usr/bin/python3\n",
    "proc/self/oom_score_adj": "0\n",
    "proc/self/coredump_filter": "00000033\n",
    "proc/pressure/cpu": "some avg10=0.00 avg60=3.20 avg300=1.00 total=9\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.41 avg300=0.00 total=5\n",
    "proc/1/status": _status("0-7"),
    "proc/1/stat": _stat(1, "systemd"),
    "proc/1/task/1/stat": _stat(1, "systemd"),
    "proc/1/comm": "systemd\n",
    "proc/20/status": _status("0-7"),
    "proc/20/stat": _stat(20, "kcompactd0", flags=0x00200040, cpu=2),
    "proc/20/comm": "kcompactd0\n",
    "proc/21/status": _status("2"),
    "proc/21/stat": _stat(21, "ksoftirqd/2", flags=0x04208040, cpu=2),
    "proc/21/comm": "ksoftirqd/2\n",
    "proc/900/comm": "irqbalance\n",
    "proc/900/stat": _stat(900, "irqbalance"),
    "proc/901/comm": "backup\n",
    "proc/901/stat": _stat(901, "backup", state="R", cpu=3),
    "proc/901/task/901/stat": _stat(901, "backup", state="R", cpu=3),
    f"proc/{WORKERS_PID}/comm": "byteor-w0\n",
    f"proc/{WORKERS_PID}/stat": _stat(WORKERS_PID, "byteor-w0", state="R", cpu=2),
    f"proc/{WORKERS_PID}/status": _status("2-3"),
    f"proc/{WORKERS_PID}/task/{WORKERS_PID}/stat": _stat(
        WORKERS_PID, "byteor-w0", state="R", cpu=2
    ),
    f"proc/{WORKERS_PID}/task/{WORKERS_PID}/status": _status("2-3"),
    f"proc/{WORKERS_PID}/maps": "7f00-7f10 rw-s 0 00:16 5 /dev/shm/byteor-0/r1/ring0\n",
    f"proc/{WORKERS_PID}/numa_maps": "7f00 default file=/dev/shm/byteor-0/r1/ring0 N0=64\n",
    "proc/irq/default_smp_affinity": "ff\n",
    "proc/irq/0/effective_affinity_list": "0\n",
    "proc/irq/40/effective_affinity_list": "2\n",
    "proc/net/snmp": "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n"
    "Udp: 100 0 0 100 0\n",
    "proc/net/igmp": "Idx\tDevice\n1\tlo\n\t\t\t\t010000E0     1\n",
    "boot/config-6.8.0-41-generic": "CONFIG_CPUSETS=y\nCONFIG_NO_HZ_FULL=y\n"
    "CONFIG_RCU_NOCB_CPU=y\nCONFIG_CPU_ISOLATION=y\n",
    "etc/default/grub": 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
    "etc/default/irqbalance": "#IRQBALANCE_BANNED_CPULIST=\n",
    "dev/cpu_dma_latency": "",
    "run/byteor/byteord.lock": f"{DAEMON_PID}\n",
    f"proc/{DAEMON_PID}/comm": "byteord\n",
    CGROUP + "memory.max": "max\n",
    CGROUP + "memory.swap.max": "max\n",
    CGROUP + "memory.events": "low 0\nhigh 2\nmax 0\noom 0\noom_kill 0\n",
    CGROUP + "cpu.stat": "usage_usec 9\nnr_periods 10\nnr_throttled 4\n",
    CGROUP + "cpu.max": "50000 100000\n",
    CGROUP + "pids.max": "40\n",
    CGROUP + "cpuset.mems.effective": "0\n",
    CGROUP + "cgroup.procs": f"{DAEMON_PID}\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "sys/fs/cgroup/cgroup.subtree_control": "cpu memory pids\n",
    "sys/fs/resctrl/schemata": "L3:0=fff\n",
    "sys/firmware/acpi/platform_profile": "balanced\n",
    "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
    "sys/class/dmi/id/product_name": "PowerEdge R650\n",
    "sys/kernel/rcu_normal": "0\n",
    "sys/kernel/rcu_expedited": "0\n",
    "sys/kernel/mm/ksm/run": "1\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "[always] defer defer+madvise madvise never\n",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never]\n",
    "sys/kernel/mm/transparent_hugepage/khugepaged/defrag": "1\n",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "sys/module/pcie_aspm/parameters/policy": "[default] performance powersave\n",
    "sys/module/workqueue/parameters/power_efficient": "Y\n",
    "sys/devices/virtual/workqueue/cpumask": "ff\n",
    "sys/devices/virtual/workqueue/writeback/cpumask": "ff\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm\n",
    "sys/devices/system/machinecheck/machinecheck0/ignore_ce": "0\n",
    "sys/devices/system/machinecheck/machinecheck0/check_interval": "300\n",
    "sys/devices/system/edac/mc/mc0/ce_count": "0\n",
    "sys/devices/system/node/node0/cpulist": "0-7\n",
    "sys/block/nvme0n1/queue/scheduler": "none [mq-deadline]\n",
    "sys/block/nvme0n1/queue/write_cache": "write back\n",
    "sys/block/nvme0n1/queue/rotational": "0\n",
    NET + "device/numa_node": "1\n",
    NET + "mtu": "1500\n",
    NET + "statistics/rx_dropped": "0\n",
    NET + "statistics/rx_missed_errors": "0\n",
    CPU + "online": "0-7\n",
    CPU + "offline": "\n",
    CPU + "isolated": "\n",
    CPU + "nohz_full": "(null)\n",
    CPU + "smt/active": "1\n",
    CPU + "vulnerabilities/mds": "Mitigation: Clear CPU buffers\n",
    CPU + "vulnerabilities/old_microcode": "Vulnerable\n",
    CPU + "intel_pstate/min_perf_pct": "20\n",
    CPU + "intel_pstate/no_turbo": "0\n",
    CPU + "cpuidle/current_driver": "intel_idle\n",
}

UNTUNED_KERNEL: dict[str, Any] = {
    "release": "6.8.0-41-generic",
    "machine": "x86_64",
    "affinity": list(range(8)),
    "limits": {},
    "space": {"/dev/shm": [16 << 20, 16 << 20, 0, 0], "/var/lib/byteor": [9 << 30] * 4},
    "modes": {
        "/dev/shm/byteor-0": [1000, 0o755, False],
        "/run/byteor": [0, 0o755, False],
        "/etc/byteor/byteord.toml": [1000, 0o666, False],
    },
    "clock": [5, 0x40, 16_000_000, 16_000_000],
    "resolution_ns": 4_000_000,
    "schedulers": {str(WORKERS_PID): [0, 0]},
    "environ": {"LD_PRELOAD": "/usr/lib/libjemalloc.so"},
    "uid": 0,
    "now": 1_790_000_000.0,
    "tools": {
        "dmesg": "tsc: Marking TSC unstable due to clocksource watchdog\n"
        "x86/split lock detection: #AC: split_lock trap\n",
        "systemctl show -p NeedDaemonReload,LoadState byteord.service": "NeedDaemonReload=yes\n"
        "LoadState=loaded\n",
        "systemd-analyze security --no-pager byteord.service": "→ Overall exposure level for "
        "byteord.service: 9.2 UNSAFE 😨\n",
        "systemctl is-enabled fstrim.timer": "disabled\n",
        "ethtool -c eth0": "Adaptive RX: on\nrx-usecs: 50\n",
        "systemd-detect-virt": "none\n",
    },
}
UNTUNED_SYSCTLS = {
    "kernel/osrelease": "6.8.0-41-generic",
    "kernel/hostname": "plain",
    "kernel/nmi_watchdog": "1",
    "kernel/watchdog_cpumask": "0-7",
    "kernel/hung_task_timeout_secs": "120",
    "kernel/tainted": "0",
    "kernel/split_lock_mitigate": "1",
    "kernel/timer_migration": "1",
    "kernel/numa_balancing": "1",
    "kernel/sched_rt_runtime_us": "950000",
    "kernel/sched_autogroup_enabled": "1",
    "kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P",
    "kernel/perf_event_paranoid": "2",
    "kernel/io_uring_disabled": "0",
    "fs/nr_open": "1048576",
    "fs/aio-max-nr": "65536",
    "vm/swappiness": "60",
    "vm/zone_reclaim_mode": "1",
    "vm/compaction_proactiveness": "20",
    "vm/stat_interval": "1",
    "vm/dirty_bytes": "0",
    "vm/dirty_background_bytes": "0",
    "vm/dirty_ratio": "20",
    "vm/dirty_background_ratio": "10",
    "vm/max_map_count": "30000",
    "net/core/rmem_max": "212992",
    "net/core/wmem_max": "212992",
    "net/core/netdev_max_backlog": "1000",
    "net/core/somaxconn": "4096",
    "net/core/busy_poll": "0",
    "net/core/busy_read": "0",
    "net/ipv4/tcp_max_syn_backlog": "1024",
    "net/ipv4/conf/all/rp_filter": "1",
}
TUNED_SYSCTLS = {
    "kernel/nmi_watchdog": "0",
    "kernel/hung_task_timeout_secs": "600",
    "kernel/timer_migration": "0",
    "kernel/numa_balancing": "0",
    "kernel/sched_rt_runtime_us": "-1",
    "kernel/sched_autogroup_enabled": "0",
    "kernel/core_pattern": "core",
    "vm/swappiness": "10",
    "vm/zone_reclaim_mode": "0",
    "vm/compaction_proactiveness": "0",
    "vm/stat_interval": "10",
    "vm/dirty_bytes": "268435456",
    "vm/dirty_background_bytes": "67108864",
    "vm/max_map_count": "262144",
    "net/core/rmem_max": "8388608",
    "net/core/wmem_max": "8388608",
    "net/core/netdev_max_backlog": "4096",
    "net/core/busy_poll": "50",
    "net/core/busy_read": "50",
    "net/ipv4/tcp_max_syn_backlog": "4096",
    "net/ipv4/conf/all/rp_filter": "2",
}


REST, BOTH = "0-1", "2-3"
ARGUMENTS = (
    f"isolcpus=managed_irq,domain,{BOTH} nohz_full={BOTH} rcu_nocbs={BOTH} irqaffinity={REST} "
    "skew_tick=1 tsc=reliable nosmt rcutree.nohz_full_patience_delay=1000 mce=ignore_ce"
)
TUNED: Files = {
    "proc/cmdline": f"BOOT_IMAGE=/vmlinuz root=/dev/nvme0n1p2 ro {ARGUMENTS}\n",
    "etc/default/grub": f'GRUB_CMDLINE_LINUX_DEFAULT="{ARGUMENTS}"\n',
    "etc/default/irqbalance": f"IRQBALANCE_BANNED_CPULIST={BOTH}\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/self/status": _status("0-3", cap="0000000000804000"),
    "proc/self/limits": _limits("unlimited", "99", "65536"),
    "proc/self/mountinfo": MOUNTS.format(shm=",noswap"),
    "proc/self/oom_score_adj": "-500\n",
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    "proc/1/status": _status(REST),
    "proc/20/status": _status(REST),
    "proc/901/stat": _stat(901, "backup", state="R", cpu=1),
    "proc/901/task/901/stat": _stat(901, "backup", state="R", cpu=1),
    f"proc/{WORKERS_PID}/status": _status(BOTH, locked=70000),
    f"proc/{WORKERS_PID}/fd/9": LINK + "/dev/cpu_dma_latency",
    "proc/irq/default_smp_affinity": "3\n",
    "proc/irq/40/effective_affinity_list": "1\n",
    CGROUP + "memory.swap.max": "0\n",
    CGROUP + "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    CGROUP + "cpu.stat": "usage_usec 9\nnr_periods 0\nnr_throttled 0\n",
    CGROUP + "cpu.max": "max 100000\n",
    CGROUP + "pids.max": "max\n",
    "sys/fs/cgroup/cgroup.subtree_control": "cpuset cpu memory pids\n",
    "sys/fs/cgroup/byteor/cpuset.cpus.partition": "isolated\n",
    "sys/fs/cgroup/byteor/cpuset.cpus.effective": "2-3\n",
    "sys/fs/cgroup/byteor/cpuset.cpus.exclusive.effective": "2-3\n",
    "sys/fs/cgroup/byteor/cgroup.procs": "",
    "sys/fs/cgroup/cpuset.cpus.isolated": "2-3\n",
    "sys/firmware/acpi/platform_profile": "performance\n",
    "sys/kernel/rcu_normal": "1\n",
    "sys/kernel/mm/ksm/run": "0\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never\n",
    "sys/module/pcie_aspm/parameters/policy": "default [performance] powersave\n",
    "sys/module/workqueue/parameters/power_efficient": "N\n",
    "sys/module/rcutree/parameters/nohz_full_patience_delay": "1000\n",
    "sys/devices/virtual/workqueue/cpumask": "3\n",
    "sys/devices/virtual/workqueue/writeback/cpumask": "3\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/devices/system/machinecheck/machinecheck0/ignore_ce": "1\n",
    "sys/devices/system/node/node0/cpulist": "0-3\n",
    "sys/block/nvme0n1/queue/scheduler": "[none] mq-deadline\n",
    NET + "device/numa_node": "0\n",
    CPU + "online": "0-3\n",
    CPU + "offline": "4-7\n",
    CPU + "isolated": "2-3\n",
    CPU + "nohz_full": "2-3\n",
    CPU + "smt/active": "0\n",
    CPU + "vulnerabilities/old_microcode": "Not affected\n",
    CPU + "intel_pstate/min_perf_pct": "100\n",
}
TUNED_KERNEL: dict[str, Any] = {
    "affinity": [0, 1, 2, 3],
    "space": {"/dev/shm": [32 << 30, 32 << 30, 9, 9], "/var/lib/byteor": [99 << 30] * 4},
    "modes": {
        "/dev/shm/byteor-0": [0, 0o700, False],
        "/run/byteor": [0, 0o750, False],
        "/etc/byteor/byteord.toml": [0, 0o644, False],
    },
    "clock": [0, 0x2001, 900, 120],
    "resolution_ns": 1,
    "schedulers": {str(WORKERS_PID): [1, 50]},
    "environ": {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "30000000"},
}
TUNED_TOOLS = {
    "dmesg": "tsc: Refined TSC clocksource calibration: 2593.907 MHz\n",
    "systemctl show -p NeedDaemonReload,LoadState byteord.service": "NeedDaemonReload=no\n"
    "LoadState=loaded\n",
    "systemd-analyze security --no-pager byteord.service": "→ Overall exposure level for "
    "byteord.service: 1.1 OK 🙂\n",
    "systemctl is-enabled fstrim.timer": "enabled\n",
    "ethtool -c eth0": "Adaptive RX: off\nrx-usecs: 0\n",
}


def sysctl_files(table: Mapping[str, str]) -> Files:
    """Return the files of sysctl keys."""
    return {f"proc/sys/{name}": f"{value}\n" for name, value in table.items()}


def cpu_files(cpu: int, siblings: str) -> Files:
    """Return the files of one CPU."""
    base = f"{CPU}cpu{cpu}/"
    return {
        base + "topology/thread_siblings_list": f"{siblings}\n",
        base + "cache/index3/level": "3\n",
        base + "cache/index3/shared_cpu_list": "0-1,4-5\n" if cpu % 4 < 2 else "2,6\n",
        base + "cpufreq/scaling_governor": "schedutil\n",
        base + "cpufreq/energy_performance_preference": "balance_performance\n",
        base + "power/pm_qos_resume_latency_us": "0\n",
        base + "cpuidle/state0/name": "POLL\n",
        base + "cpuidle/state0/latency": "0\n",
        base + "cpuidle/state0/disable": "0\n",
        base + "cpuidle/state3/name": "C6\n",
        base + "cpuidle/state3/latency": "133\n",
        base + "cpuidle/state3/disable": "0\n",
        base + "thermal_throttle/core_throttle_count": "0\n",
    }

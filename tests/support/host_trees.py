"""Captured hosts: trees of `/proc`, `/sys` and `/etc` as six kinds of machine show them.

Each is written from the tables of `tests.support.host_files`; variants are the differences.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from byteord.doctor.model import Asked, Daemon
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology
from tests.support.host_files import (
    CGROUP,
    CPU,
    FLAGS,
    LINK,
    MOUNTS,
    NET,
    TUNED,
    TUNED_KERNEL,
    TUNED_SYSCTLS,
    TUNED_TOOLS,
    UNTUNED,
    UNTUNED_KERNEL,
    UNTUNED_SYSCTLS,
    WORKERS_PID,
    Files,
    cpu_files,
    sysctl_files,
)

__all__ = ["CGROUP", "CPU", "KINDS", "NET", "WORKERS_PID", "asked_of", "write_tree"]


def untuned() -> tuple[Files, dict[str, Any]]:
    """Return a server of four cores and eight threads as a distribution leaves it."""
    files = UNTUNED | sysctl_files(UNTUNED_SYSCTLS)
    for queue in range(4):
        files[NET + f"queues/rx-{queue}/rps_cpus"] = "ff\n" if queue else "00\n"
    for cpu in range(8):
        files |= cpu_files(cpu, f"{cpu % 4},{cpu % 4 + 4}")
    return files, copy.deepcopy(UNTUNED_KERNEL)


def tuned() -> tuple[Files, dict[str, Any]]:
    """Return the same server tuned by the book for workers on CPUs 2 and 3."""
    files, kernel = untuned()
    files |= TUNED | sysctl_files(TUNED_SYSCTLS)
    for queue in range(4):
        files[NET + f"queues/rx-{queue}/rps_cpus"] = "3\n" if queue < 2 else None
    for cpu in (2, 3):
        base = f"{CPU}cpu{cpu}/"
        files |= {
            base + "cache/index3/shared_cpu_list": "2-3\n",
            base + "cpufreq/scaling_governor": "performance\n",
            base + "cpufreq/energy_performance_preference": "performance\n",
            base + "power/pm_qos_resume_latency_us": "n/a\n",
            base + "cpuidle/state3/disable": "1\n",
        }
    tools = {**kernel["tools"], **TUNED_TOOLS}
    return files, {**kernel, **TUNED_KERNEL, "tools": tools}


_HARDWARE = (
    "cpufreq/", "cpuidle/", "thermal_throttle/", "intel_pstate/", "sys/firmware/",
    "sys/devices/system/edac", "machinecheck", "sys/fs/resctrl", "smt/", "boot/", "etc/default/",
    "nohz_full", "nvme", "device/numa_node", "lockdown",
)  # fmt: skip


def _without(files: Files, *parts: str) -> Files:
    return {name: text for name, text in files.items() if not any(p in name for p in parts)}


def virtual_machine() -> tuple[Files, dict[str, Any]]:
    """Return a guest under KVM: no power files, kvm-clock, stolen time to be seen."""
    files, kernel = untuned()
    files = _without(files, *_HARDWARE)
    files |= {
        "proc/cpuinfo": f"model name\t: KVM\nflags\t\t: {FLAGS} hypervisor\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock\n",
        "sys/class/dmi/id/sys_vendor": "QEMU\n",
        CPU + "cpuidle/current_driver": "haltpoll\n",
        "sys/block/vda/queue/scheduler": "[none] mq-deadline\n",
        "sys/block/vda/queue/rotational": "1\n",
        "sys/block/vda/queue/write_cache": "write through\n",
    }
    kernel["tools"] = {"systemd-detect-virt": "kvm\n", "dmesg": "Booting paravirtualized kernel\n"}
    return files, kernel


def container() -> tuple[Files, dict[str, Any]]:
    """Return a container: overlay as root, a CPU quota, no tools, little of `/sys`."""
    files, kernel = virtual_machine()
    gone = (
        "sys/kernel/",
        "sys/module/",
        "sys/block",
        "dev/",
        "run/",
        "proc/irq",
        "proc/2",
        "proc/9",
    )
    files = {name: text for name, text in files.items() if not name.startswith(gone)}
    files |= {
        ".dockerenv": "",
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "1 0 0:50 / / rw,relatime - overlay overlay rw\n"
        "2 1 0:51 / /dev/shm rw,nosuid,nodev,noexec - tmpfs shm rw,size=65536k\n"
        "3 1 0:52 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/memory.max": "536870912\n",
        "sys/fs/cgroup/pids.max": "max\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 1\nnr_throttled 0\n",
        "sys/fs/cgroup/cpuset.mems.effective": "0\n",
        "sys/fs/cgroup/cgroup.procs": "1\n",
    }
    kernel["tools"] = {}
    kernel["affinity"] = [0, 1]
    kernel.pop("clock")
    return files, kernel


def hybrid_cgroups() -> tuple[Files, dict[str, Any]]:
    """Return the tuned server under a hybrid cgroup hierarchy."""
    files, kernel = tuned()
    files = {name: text for name, text in files.items() if not name.startswith("sys/fs/cgroup")}
    files |= {
        "proc/self/mountinfo": MOUNTS.format(shm=",noswap").replace(
            "/sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw",
            "/sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
            "27 22 0:24 / /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset",
        ),
        "proc/self/cgroup": "4:cpuset:/\n0::/system.slice/byteord.service\n",
        "sys/fs/cgroup/unified/system.slice/byteord.service/cgroup.procs": "1\n",
        "sys/fs/cgroup/unified/system.slice/byteord.service/cpu.stat": "usage_usec 1\n",
    }
    return files, kernel


def half_missing() -> tuple[Files, dict[str, Any]]:
    """Return the untuned server with half of its files gone, and nothing known of its kernel."""
    files, kernel = untuned()
    kept = {name: text for name, text in files.items() if zlib.crc32(name.encode()) % 2}
    return kept, {"release": kernel["release"], "machine": "x86_64"}


KINDS: Mapping[str, Callable[[], tuple[Files, dict[str, Any]]]] = {
    "tuned": tuned,
    "untuned": untuned,
    "virtual machine": virtual_machine,
    "container": container,
    "hybrid cgroups": hybrid_cgroups,
    "half missing": half_missing,
}


def write_tree(top: Path, files: Files, kernel: Mapping[str, Any]) -> str:
    """Write a captured host and return where."""
    for name, text in files.items():
        if text is not None:
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith(LINK):
                path.symlink_to(text.removeprefix(LINK))
            else:
                path.write_text(text)
    (top / "kernel.json").write_text(json.dumps(kernel))
    return str(top)


def asked_of(tree: str, profile: str = "isolated-core", **more: Any) -> Asked:
    """Return a request for two real-time workers on CPUs 2 and 3 of a tree."""
    kernel = json.loads(Path(tree, "kernel.json").read_text())
    wish: dict[str, Any] = {
        "profile": profile,
        "topology": read_topology(HostRoot(tree), allowed=tuple(kernel.get("affinity", range(8)))),
        "cpus": (2, 3),
        "pairs": ((2, 3),),
        "busy": 2,
        "wait": "spin",
        "sched": "fifo",
        "priority": 50,
        "memory_bytes": 64 << 20,
        "named": True,
        "network": True,
        "daemon": Daemon(
            environment="prod",
            state_dir="/var/lib/byteor",
            runtime_dir="/run/byteor",
            socket="/run/byteor/byteord.sock",
            config="/etc/byteor/byteord.toml",
            metrics_address="0.0.0.0:9469" if "untuned" in tree else "127.0.0.1:9469",
            runs=("r1",),
            workers=(WORKERS_PID,),
        ),
    }
    return Asked(**{**wish, **more})

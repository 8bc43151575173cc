"""Doctor on this very machine, against what `cat` and the shell say of the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from byteord.doctor.model import Asked, Daemon, Report, State
from byteord.doctor.registry import CHECKS
from byteord.doctor.run import run_checks
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology

VM, KERNEL, CPU = "/proc/sys/vm", "/proc/sys/kernel", "/sys/devices/system/cpu"
THP = "/sys/kernel/mm/transparent_hugepage"
WORD = r"grep -o '\[[^]]*\]' {} | tr -d '[]'"
"""The chosen word of a file that shows them all."""
LIMIT = "grep '^{}' /proc/self/limits | sed 's/^{} *//' | cut -d' ' -f1"

SHELL = {
    "K01": f"cat {KERNEL}/osrelease",
    "K02": "grep -o 'PREEMPT[A-Z_]*' /proc/version | head -1",
    "K03": "grep -oE '(isolcpus|nohz_full|rcu_nocbs|irqaffinity)=[^ ]*' /proc/cmdline | xargs"
    " | grep . || echo none of them",
    "K05": f"echo nmi_watchdog $(cat {KERNEL}/nmi_watchdog)",
    "K06": f"cat {KERNEL}/hung_task_timeout_secs",
    "K07": "grep -o 'skew_tick=[^ ]*' /proc/cmdline || echo absent",
    "K09": "for name in CPUSETS NO_HZ_FULL RCU_NOCB_CPU CPU_ISOLATION; do"
    " zgrep -q ^CONFIG_$name=y /proc/config.gz || printf ', CONFIG_%s' $name; done"
    " | sed 's/^, /without /' | grep . || echo all four",
    "K10": "echo rcu_normal $(cat /sys/kernel/rcu_normal), rcu_expedited"
    " $(cat /sys/kernel/rcu_expedited)",
    "C01": f"echo online $(cat {CPU}/online)",
    "C05": f"echo isolated $(grep . {CPU}/isolated || echo none)",
    "C06": f"echo nohz_full $(grep '[0-9]' {CPU}/nohz_full || echo none)",
    "C17": f"echo split_lock_mitigate $(cat {KERNEL}/split_lock_mitigate)",
    "P01": f"echo $(cat {CPU}/cpu0/cpufreq/scaling_governor) on 0",
    "P07": f"echo $(cat {CPU}/cpu0/power/pm_qos_resume_latency_us) on 0",
    "P08": "cat /sys/firmware/acpi/platform_profile",
    "P09": WORD.format("/sys/module/pcie_aspm/parameters/policy"),
    "P11": "cat /sys/module/workqueue/parameters/power_efficient",
    "T01": "cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
    "T02": "for flag in constant_tsc nonstop_tsc; do grep -qw $flag /proc/cpuinfo ||"
    " printf ', %s' $flag; done | sed 's/^, /without /' | grep . || echo both",
    "T06": f"cat {KERNEL}/timer_migration",
    "M01": f"echo limit $({LIMIT.format('Max locked memory', 'Max locked memory')})",
    "M03": WORD.format(f"{THP}/enabled"),
    "M05": WORD.format(f"{THP}/shmem_enabled"),
    "M06": "cat /sys/kernel/mm/ksm/run",
    "M08": f"cat {VM}/swappiness",
    "M09": f"cat {KERNEL}/numa_balancing",
    "M10": f"cat {VM}/zone_reclaim_mode",
    "M11": "echo $(grep HugePages_Free /proc/meminfo | tr -dc 0-9) free, none asked for",
    "M12": f"cat {VM}/compaction_proactiveness",
    "M16": f"cat {VM}/stat_interval",
    "M18": f"cat {VM}/max_map_count",
    "I03": "cat /proc/irq/default_smp_affinity",
    "I06": "echo $(cat /sys/devices/virtual/workqueue/cpumask),"
    " $(cat /sys/devices/virtual/workqueue/writeback/cpumask)",
    "S01": f"echo limit $({LIMIT.format('Max realtime priority', 'Max realtime priority')})",
    "S03": f"cat {KERNEL}/sched_rt_runtime_us",
    "S04": f"cat {KERNEL}/sched_autogroup_enabled",
    "S05": LIMIT.format("Max open files", "Max open files"),
    "S10": f"cat {KERNEL}/perf_event_paranoid",
    "G07": "cat /sys/fs/cgroup$(grep ^0:: /proc/self/cgroup | cut -c4-)/memory.swap.max",
    "G11": "grep Cpus_allowed_list /proc/1/status | cut -f2",
    "N01": "echo rmem_max $(cat /proc/sys/net/core/rmem_max),"
    " wmem_max $(cat /proc/sys/net/core/wmem_max)",
    "N03": "echo busy_poll $(cat /proc/sys/net/core/busy_poll),"
    " busy_read $(cat /proc/sys/net/core/busy_read)",
    "D01": "echo /dev/shm: $(stat -f -c %T /dev/shm)",
    "D13": "echo aio-max-nr $(cat /proc/sys/fs/aio-max-nr),"
    f" io_uring_disabled $(cat {KERNEL}/io_uring_disabled)",
}
BEGINS = {"M01", "M18", "S01", "S03"}
"""What the shell says is the beginning of what is observed; the rest is this process's own."""
MOVING = ("/proc/pressure", "/proc/stat", "/proc/meminfo", "/proc/net", "/proc/interrupts")
"""Files that change from one read to the next: what is there must still be a number."""


@pytest.fixture(scope="module")
def report() -> Report:
    """Run every check once, as for two workers on CPU 0."""
    asked = Asked(
        profile="isolated-core",
        topology=read_topology(),
        cpus=(0,),
        busy=2,
        network=True,
        daemon=Daemon(state_dir="/var/lib", private=True),
    )
    return run_checks(CHECKS, asked, HostRoot())


def test_evidence_is_what_cat_says(report: Report) -> None:
    """Every value that a check names as evidence is in the file that it names, read again."""
    seen = 0
    for result in report.checks:
        for evidence in result.evidence:
            moving = evidence.path.startswith(MOVING) or "/task/" in evidence.path
            if not evidence.value or moving:
                continue
            done = subprocess.run(["cat", evidence.path], capture_output=True, check=False)
            text = done.stdout.decode(errors="replace")
            lines = text.splitlines() if evidence.key else [text]
            same = [
                line
                for line in lines
                if line.startswith(evidence.key)
                and line[len(evidence.key) :].strip(": \t=\n") == evidence.value
            ]
            assert same, (result.code, evidence, text[:200])
            seen += 1
    assert seen > 30


def test_what_is_observed_is_what_the_shell_says(report: Report) -> None:
    """What checks observe is what the shell makes of the same files, by another way."""
    compared = 0
    for result in report.checks:
        line = SHELL.get(result.code)
        if line is None or result.state in {State.SKIPPED, State.UNKNOWN}:
            continue
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        said = done.stdout.strip()
        if result.code in BEGINS:
            assert result.observed.startswith(said), (result.code, result.observed, said)
        else:
            assert result.observed == said, (result.code, result.observed, said)
        compared += 1
    assert compared > 20


def test_it_is_quick(report: Report) -> None:
    """All checks side by side answer within two seconds, those that look twice included."""
    assert report.seconds < 2.0
    late = [each.code for each in report.checks if each.reason == "it did not answer in time"]
    assert not late


UNPRIVILEGED = """
import json, os, resource
from byteord.doctor.model import Asked, Daemon
from byteord.doctor.registry import CHECKS
from byteord.doctor.run import run_checks
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology

asked = Asked(
    profile="isolated-core", topology=read_topology(), cpus=(0,), busy=2, sched="fifo",
    priority=50, memory_bytes=64 << 20, named=True,
    daemon=Daemon(state_dir="/var/lib", private=True),
)
run_checks(CHECKS, asked, HostRoot())
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
found = run_checks(CHECKS, asked, HostRoot()).checks
print(json.dumps({each.code: [each.state, each.reason] for each in found}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_user_is_told_what_is_missing() -> None:
    """Without rights nothing crashes: what cannot be had fails, what cannot be seen says why."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(CHECKS)
    assert found["M01"][0] == State.FAILED
    assert found["S01"] == [State.FAILED, "fifo 50 cannot be had"]
    assert found["P06"][0] in (State.UNKNOWN, State.SKIPPED, State.OK)
    for state, reason in found.values():
        assert reason or state not in (State.UNKNOWN, State.SKIPPED)

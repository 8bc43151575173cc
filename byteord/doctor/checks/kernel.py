"""K: kernel and boot."""

from __future__ import annotations

import re
import shlex

from byteord.deployment.profiles import ISOLATED_CORE
from byteord.doctor.look import Look, parse_cpus, shared
from byteord.doctor.model import (
    EVERY,
    ISOLATED,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import boot, check, command, sysctl, sysfs

CMDLINE = "/proc/cmdline"
_ISOLATION = ("isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity")
_KERNEL = "/proc/sys/kernel/"
_WATCHED = (*_ISOLATION, "skew_tick", "tsc", "nosmt", "idle", "intel_idle.max_cstate", "preempt")
_CONFIG = ("CONFIG_CPUSETS", "CONFIG_NO_HZ_FULL", "CONFIG_RCU_NOCB_CPU", "CONFIG_CPU_ISOLATION")


def boot_arguments(look: Look) -> dict[str, str]:
    """Return the boot arguments by name; the last of a name wins, as in the kernel."""
    text = look.text(CMDLINE)
    return _split(text)


def _split(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return dict(word.partition("=")[::2] for word in words)


def listed_cpus(value: str) -> tuple[int, ...]:
    """Return the CPUs of a boot argument, whose flags come first: `managed_irq,domain,2-3`."""
    numbers = [part for part in value.split(",") if part[:1].isdigit()]
    return parse_cpus(",".join(numbers), CMDLINE)


def version_of(release: str) -> tuple[int, int]:
    """Return major and minor of a kernel release; raises UnknownError for anything else."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found:
        raise UnknownError(f"uname says {release!r}, no release of a kernel")
    return int(found[1]), int(found[2])


@check(
    "K01",
    "kernel release",
    "uname; /proc/sys/kernel/osrelease",
    "5.15 or later; 6.1 or later for isolated partitions",
    "upgrade the kernel",
    profiles=EVERY,
    reference="kernel: admin-guide/cgroup-v2 (cpuset.cpus.partition)",
)
def _release(look: Look, asked: Asked) -> Verdict:
    release = look.maybe("/proc/sys/kernel/osrelease") or look.kernel.uname()[0]
    version = version_of(look.kernel.uname()[0] or release)
    if version < (5, 15):
        return failed(release, "older than byteor is tested on")
    low = asked.profile == ISOLATED_CORE and version < (6, 1)
    return judge(not low, release, "isolated cpuset partitions need 6.1")


@check(
    "K02",
    "preemption model",
    "/proc/version, /sys/kernel/debug/sched/preempt",
    "reported; full or RT gives the shortest wake-ups",
    "boot with preempt=full where wake-ups matter",
    profiles=(),
    reference="kernel: admin-guide/kernel-parameters (preempt=)",
)
def _preemption(look: Look, _: Asked) -> Verdict:
    if look.maybe("/sys/kernel/realtime") == "1":
        return good("PREEMPT_RT")
    mode = look.maybe("/sys/kernel/debug/sched/preempt")
    found = re.search(r"PREEMPT\w*", look.text("/proc/version"))
    model = found[0] if found else "none compiled in"
    return good(f"{model}: {mode}" if mode else model)


@check(
    "K03",
    "isolation arguments cover the workers",
    "/proc/cmdline; cpuset.cpus.isolated",
    "isolcpus, nohz_full and rcu_nocbs cover the workers' CPUs and no others",
    "boot with the isolation arguments, or make an isolated cpuset partition",
    remedies=boot(
        "isolcpus=managed_irq,domain,{cpus}",
        "nohz_full={cpus}",
        "rcu_nocbs={cpus}",
        "irqaffinity={rest}",
    ),
    profiles=ISOLATED,
    reference="kernel: admin-guide/cpu-isolation; tuned: cpu-partitioning",
)
def _isolation(look: Look, asked: Asked) -> Verdict:
    arguments = boot_arguments(look)
    present = {name: arguments[name] for name in _ISOLATION if name in arguments}
    observed = " ".join(f"{name}={value}" for name, value in present.items())
    dynamic = set(asked.topology.isolated) >= set(asked.cpus) and bool(asked.cpus)
    needed = {"nohz_full", "rcu_nocbs"} | (set() if dynamic else {"isolcpus"})
    short = []
    for name in sorted(needed):
        cpus = listed_cpus(present.get(name, ""))
        if not set(asked.cpus) <= set(cpus):
            short.append(f"{name} misses workers' CPUs")
    if shared(listed_cpus(present.get("irqaffinity", "")), asked.cpus):
        short.append("irqaffinity names workers' CPUs")
    return judge(not short, observed or "none of them", "; ".join(short))


@check(
    "K04",
    "no boot change is pending",
    "/etc/default/grub, /etc/kernel/cmdline; /proc/cmdline",
    "what the boot loader was told is what the kernel got",
    "update the boot loader's configuration and reboot",
    remedies=command("update-grub && systemctl reboot"),
    reference="rpk: ballast and boot tuners compare the same way",
)
def _pending(look: Look, _: Asked) -> Verdict:
    running = boot_arguments(look)
    told: dict[str, str] = {}
    grub = look.maybe("/etc/default/grub") or ""
    for line in grub.splitlines():
        if line.startswith("GRUB_CMDLINE_LINUX"):
            told |= _split(line.partition("=")[2].strip().strip("\"'"))
    told |= _split(look.maybe("/etc/kernel/cmdline") or "")
    if not grub and not told:
        raise SkippedError("no boot loader configuration that this check reads is here")
    differ = [name for name in _WATCHED if told.get(name) != running.get(name)]
    said = ", ".join(f"{name}: configured {told.get(name)}" for name in differ)
    return judge(not differ, said or "equal", "the next boot differs from this one")


@check(
    "K05",
    "lockup watchdogs keep off the workers",
    "/proc/sys/kernel/{nmi_watchdog,watchdog_cpumask}",
    "nmi_watchdog 0, or a watchdog_cpumask without the workers' CPUs",
    "turn the NMI watchdog off",
    remedies=sysctl("kernel.nmi_watchdog", "0"),
    reference="kernel: admin-guide/lockup-watchdogs; tuned: realtime",
)
def _watchdog(look: Look, asked: Asked) -> Verdict:
    nmi = look.number(_KERNEL + "nmi_watchdog")
    if not nmi:
        return good("nmi_watchdog 0")
    mask = look.maybe(_KERNEL + "watchdog_cpumask") or ""
    on = shared(parse_cpus(mask, "watchdog_cpumask"), asked.cpus)
    return judge(not on, f"nmi_watchdog {nmi}, mask {mask or 'unknown'}", "it ticks on workers")


@check(
    "K06",
    "hung-task timeout",
    "/proc/sys/kernel/hung_task_timeout_secs",
    "0 or at least 600",
    "look for hung tasks less often",
    remedies=sysctl("kernel.hung_task_timeout_secs", "600"),
    reference="tuned: cpu-partitioning; kernel: admin-guide/sysctl/kernel",
)
def _hung(look: Look, _: Asked) -> Verdict:
    seconds = look.number(_KERNEL + "hung_task_timeout_secs")
    return judge(seconds == 0 or seconds >= 600, seconds, "khungtaskd scans every task")  # noqa: PLR2004


@check(
    "K07",
    "timer ticks are skewed",
    CMDLINE,
    "skew_tick=1",
    "boot with skew_tick=1, so that CPUs do not take jiffies' lock at one moment",
    remedies=boot("skew_tick=1"),
    reference="tuned: realtime, cpu-partitioning",
)
def _skew(look: Look, _: Asked) -> Verdict:
    value = boot_arguments(look).get("skew_tick", "")
    return judge(value == "1", f"skew_tick={value}" if value else "absent")


@check(
    "K08",
    "the TSC needs no boot argument",
    CMDLINE + "; clocksource0/current_clocksource",
    "tsc=reliable, or a kernel that uses the TSC anyway",
    "boot with tsc=reliable on hardware whose TSC is known to be good",
    remedies=boot("tsc=reliable"),
    reference="tuned: realtime; kernel: admin-guide/kernel-parameters (tsc=)",
)
def _tsc_argument(look: Look, _: Asked) -> Verdict:
    if "x86" not in look.kernel.uname()[1]:
        raise SkippedError("not an x86 machine")
    value = boot_arguments(look).get("tsc", "")
    source = look.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    observed = f"tsc={value}" if value else f"absent, clocksource {source}"
    trusted = source in ("tsc", "kvm-clock")
    return judge(value in ("reliable", "nowatchdog") or trusted, observed)


@check(
    "K09",
    "kernel configuration",
    "/proc/config.gz or /boot/config-*",
    "CPUSETS, NO_HZ_FULL, RCU_NOCB_CPU and CPU_ISOLATION compiled in",
    "use a kernel that has them",
    profiles=ISOLATED,
    reference="kernel: admin-guide/cpu-isolation",
)
def _config(look: Look, _: Asked) -> Verdict:
    text = look.unpacked("/proc/config.gz")
    if text is None:
        text = look.quiet(f"/boot/config-{look.kernel.uname()[0]}")
        if text is None:
            raise SkippedError("neither /proc/config.gz nor /boot/config-RELEASE is here")
        look.saw(f"/boot/config-{look.kernel.uname()[0]}")
    absent = [name for name in _CONFIG if f"{name}=y" not in text.splitlines()]
    return judge(not absent, "all four" if not absent else "without " + ", ".join(absent))


@check(
    "K10",
    "RCU grace periods are not expedited",
    "/sys/kernel/rcu_normal, /sys/kernel/rcu_expedited",
    "rcu_normal 1, or rcu_expedited 0 with rcupdate.rcu_normal_after_boot",
    "let RCU wait instead of interrupting every CPU",
    remedies=sysfs("/sys/kernel/rcu_normal", "1"),
    profiles=ISOLATED,
    reference="kernel: RCU/Design; tuned: realtime (rcupdate.rcu_normal_after_boot=1)",
)
def _rcu(look: Look, _: Asked) -> Verdict:
    normal = look.number("/sys/kernel/rcu_normal")
    expedited = look.number("/sys/kernel/rcu_expedited")
    after = boot_arguments(look).get("rcupdate.rcu_normal_after_boot", "0")
    right = normal == 1 or (expedited == 0 and after == "1")
    return judge(right, f"rcu_normal {normal}, rcu_expedited {expedited}")


@check(
    "K11",
    "RCU is patient with tickless CPUs",
    "/sys/module/rcutree/parameters/nohz_full_patience_delay",
    "1000 where nohz_full is used",
    "boot with rcutree.nohz_full_patience_delay=1000",
    remedies=boot("rcutree.nohz_full_patience_delay=1000"),
    profiles=ISOLATED,
    reference="kernel: admin-guide/kernel-parameters (rcutree.nohz_full_patience_delay)",
)
def _patience(look: Look, _: Asked) -> Verdict:
    if "nohz_full" not in boot_arguments(look):
        raise SkippedError("nohz_full is not used")
    delay = look.number("/sys/module/rcutree/parameters/nohz_full_patience_delay")
    return judge(delay >= 1000, delay)  # noqa: PLR2004


@check(
    "K12",
    "mitigations and microcode",
    "/sys/devices/system/cpu/vulnerabilities/*",
    "reported; no old_microcode",
    "update firmware or microcode",
    profiles=EVERY,
    reference="kernel: admin-guide/hw-vuln",
)
def _vulnerable(look: Look, _: Asked) -> Verdict:
    found = look.values("/sys/devices/system/cpu/vulnerabilities/*")
    bare = [name.rpartition("/")[2] for name, said in found.items() if said[:10] == "Vulnerable"]
    for name in bare:
        look.saw(f"/sys/devices/system/cpu/vulnerabilities/{name}")
    observed = f"{len(found)} known, vulnerable: {', '.join(bare) or 'none'}"
    return bad(observed, "microcode is old") if "old_microcode" in bare else good(observed)


@check(
    "K13",
    "taint and lockdown",
    "/proc/sys/kernel/tainted, /sys/kernel/security/lockdown",
    "reported",
    "look up the taint bits before trusting a measurement",
    profiles=(),
    reference="kernel: admin-guide/tainted-kernels",
)
def _taint(look: Look, _: Asked) -> Verdict:
    tainted = look.number("/proc/sys/kernel/tainted")
    lockdown = look.maybe("/sys/kernel/security/lockdown")
    return good(f"tainted {tainted}" + (f", lockdown {lockdown}" if lockdown else ""))
